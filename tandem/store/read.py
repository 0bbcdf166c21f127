"""Reading: merges over windows and steps, on every tier, as of any load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.intervals import Span, union
from tandem.records import BUCKET, DAY, HOUR, Event
from tandem.store.file import Placed, Store
from tandem.store.tables import KINDS, TIERS, Kind
from tandem.store.write import event_of

STEPS = (300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600, 604800)
"""Widths that a chart's step may have, in seconds; each is a multiple of the tier it is read from."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One series of the store."""

    id: int
    placed: Placed
    layout: int


def step_for(since: int, until: int, points: int) -> int:
    """The smallest step that cuts [since, until) into at most `points`."""
    return next((step for step in STEPS if (until - since) <= step * points), STEPS[-1])


def pieces(since: int, until: int, finest: int) -> list[tuple[int, int, int]]:
    """(tier, since, until) that together are [since, until): coarse inside, fine at the ragged edges."""
    found: list[tuple[int, int, int]] = []
    low, high = since, until
    edges: list[tuple[int, int, int]] = []
    for tier in (width for width in TIERS if width >= finest):
        coarser = next((width for width in TIERS if width > tier), None)
        if coarser is None:
            found.append((tier, low, high))
            break
        up, down = -(-low // coarser) * coarser, high // coarser * coarser
        if up >= down:
            found.append((tier, low, high))
            break
        edges += [(tier, low, up), (tier, down, high)]
        low, high = up, down
    return [piece for piece in edges + found if piece[2] > piece[1]]


class Reader:
    """Reads one store as of one load; cheap to make, belongs to one thread."""

    def __init__(self, store: Store, as_of: int | None = None) -> None:
        self.store = store
        self.latest = store.version()
        self.as_of = self.latest if as_of is None else as_of
        self.cursor = store.cursor()

    def series(self, **wanted: object) -> list[Kept]:
        """Every series whose fields equal the wanted ones; a tuple, list or set means any of them."""
        names = self.store.names
        tests = [(field, value if isinstance(value, (set, tuple, list, frozenset)) else (value,))
                 for field, value in wanted.items()]  # fmt: skip
        return [
            Kept(number, placed, layout)
            for (placed, layout), number in list(names.series.items())
            if all(getattr(placed, field) in values for field, values in tests)
        ]

    def totals(
        self, kind: str, ids: Sequence[int], windows: Sequence[Span], finest: int = BUCKET
    ) -> dict[int, list[Any]]:
        """For each series a list with one merge per window.

        A merge is a tuple of the values (ratio, moments), or {key: values} for summaries with keys; None where the
        series has no row in the window.
        """
        if not ids or not windows:
            return {}
        table = KINDS[kind]
        sql, bound = _totals(table, ids, windows, finest, self.as_of)
        found: dict[int, list[Any]] = {}
        width = len(table.values)
        for row in self.cursor.execute(sql, bound).fetchall():
            series, keys, values = row[0], row[1 : 1 + len(table.keys)], row[1 + len(table.keys) :]
            merges = found.setdefault(series, [None] * len(windows))
            for place in range(len(windows)):
                cell = tuple(values[place * width : (place + 1) * width])
                if any(value for value in cell):
                    if not table.keys:
                        merges[place] = cell
                    else:
                        merges[place] = merges[place] or {}
                        merges[place][keys[0] if len(keys) == 1 else keys] = cell
        return found

    def steps(
        self, kind: str, groups: Mapping[int, int], since: int, until: int, step: int, finest: int = BUCKET
    ) -> list[tuple[Any, ...]]:
        """(group, start of step, keys.., values..) of series merged by group; steps on the absolute grid."""
        if not groups:
            return []
        table = KINDS[kind]
        tier = max(width for width in TIERS if (width <= max(step, finest) and step % width == 0) or width == finest)
        begin = since // step * step
        sql = (
            "WITH member AS (SELECT unnest(?::INTEGER[]) AS series, unnest(?::INTEGER[]) AS grp) "
            f"SELECT grp, ts - ts % {step} AS start{table.key_list}, {table.sums} FROM {kind}{TIERS[tier]} "
            "JOIN member USING (series) WHERE ts >= ? AND ts < ? AND load_id <= ? "
            f"GROUP BY grp, start{table.key_list} ORDER BY start"
        )
        bound: list[Any] = [list(groups), list(groups.values()), begin, until, self.as_of]
        return self.cursor.execute(sql, bound).fetchall()

    def coverage(self, source: int, component: str, signal: str, since: int, until: int) -> list[Span]:
        """What the source vouches for having seen of a component's signal inside [since, until)."""
        rows = self.cursor.execute(
            "SELECT greatest(since, ?), least(until, ?) FROM coverage WHERE source = ? AND component IN ('', ?) "
            "AND signal IN ('', ?) AND until > ? AND since < ? AND load_id <= ?",
            [since, until, source, component, signal, since, until, self.as_of],
        ).fetchall()
        return union(rows)

    def all_coverage(self, since: int, until: int) -> dict[tuple[int, str, str], list[Span]]:
        """Coverage of every (source, component, signal) inside [since, until); "" means all of the source's."""
        rows = self.cursor.execute(
            "SELECT source, component, signal, greatest(since, ?), least(until, ?) FROM coverage "
            "WHERE until > ? AND since < ? AND load_id <= ?",
            [since, until, since, until, self.as_of],
        ).fetchall()
        found: dict[tuple[int, str, str], list[Span]] = {}
        for source, component, signal, low, high in rows:
            found.setdefault((source, component, signal), []).append((low, high))
        return {key: union(spans) for key, spans in found.items()}

    def gaps(self, source: int, since: int, until: int) -> list[tuple[str, str, int, int, str]]:
        """(component, signal, since, until, reason) of what a source could not see."""
        return self.cursor.execute(
            "SELECT component, signal, since, until, reason FROM gap WHERE source = ? AND until > ? AND since < ? "
            "AND load_id <= ? ORDER BY since",
            [source, since, until, self.as_of],
        ).fetchall()

    def events(
        self, since: int, until: int, *, components: Sequence[str] = (), environment: str = "",
        kinds: Sequence[str] = (),
    ) -> list[tuple[int, Event]]:  # fmt: skip
        """(source, event) of every event that overlaps [since, until), the newest revision of each, oldest first."""
        rows = self.cursor.execute(
            """
            WITH newest AS (SELECT source, kind, key, attempt, max(load_id) AS load_id FROM event
                            WHERE load_id <= $as_of GROUP BY source, kind, key, attempt)
            SELECT e.source, e.content FROM event e JOIN newest USING (source, kind, key, attempt, load_id)
            WHERE e.ts < $until AND e.until >= $since AND e.content <> ''
              AND (len($components::VARCHAR[]) = 0 OR list_has_any(e.components, $components::VARCHAR[]))
              AND ($environment = '' OR e.environment = $environment)
              AND (len($kinds::VARCHAR[]) = 0 OR list_contains($kinds::VARCHAR[], e.kind))
            ORDER BY e.ts, e.kind, e.key, e.attempt""",
            {"as_of": self.as_of, "since": since, "until": until, "components": list(components),
             "environment": environment, "kinds": list(kinds)},
        ).fetchall()  # fmt: skip
        return [(source, event_of(text)) for source, text in rows]

    def samples(self, component: str, since: int, until: int) -> list[tuple[Placed, float, str, int, float]]:
        """(series, ts, run, step, value): the newest sample per name and run whose time or arrival is in the window."""
        ids = {kept.id: kept.placed for kept in self.series(component=component, signal="sample")}
        rows = self.cursor.execute(
            """
            WITH known AS (SELECT s.series, s.ts, s.micros, s.run, s.step, arg_max(s.value, s.load_id) AS value,
                                  max(l.committed) AS arrived
                           FROM sample s JOIN load l ON l.load_id = s.load_id
                           WHERE s.load_id <= $as_of AND list_contains($ids::INTEGER[], s.series) GROUP BY ALL)
            SELECT series, ts, micros, run, step, value FROM known
            WHERE (ts >= $since AND ts < $until) OR (arrived >= $since AND arrived < $until)
            QUALIFY row_number() OVER (PARTITION BY series, run ORDER BY step DESC, ts DESC, micros DESC) = 1
            ORDER BY ts, series, run""",
            {"as_of": self.as_of, "ids": list(ids), "since": since, "until": until},
        ).fetchall()
        return [
            (ids[series], ts + micros / 1e6, run, step, float(value)) for series, ts, micros, run, step, value in rows
        ]

    def newest(self) -> dict[int, int]:
        """End of the newest bucket or event of each source."""
        tables = [f"{kind}{TIERS[DAY]}" for kind in KINDS]
        days = " UNION ALL ".join(f"SELECT series, max(ts) AS ts FROM {table} WHERE load_id <= $as_of GROUP BY series"
                                  for table in tables)  # fmt: skip
        last_day = self.cursor.execute(
            f"SELECT s.source, max(d.ts) FROM ({days}) d JOIN series s ON s.id = d.series "
            "WHERE s.signal <> 'drift' GROUP BY s.source",
            {"as_of": self.as_of},
        ).fetchall()
        found: dict[int, int] = {}
        for source, day in last_day:
            found[source] = max(self._newest_in(source, day), found.get(source, 0))
        for source, ts in self.cursor.execute(
            "SELECT source, max(until) FROM event WHERE load_id <= ? AND content <> '' GROUP BY source", [self.as_of]
        ).fetchall():
            found[source] = max(found.get(source, 0), ts)
        return found

    def _newest_in(self, source: int, day: int) -> int:
        fine = " UNION ALL ".join(
            f"SELECT max(ts) + {width} AS ts FROM {kind}{TIERS[width]} WHERE ts >= $day AND load_id <= $as_of "
            "AND series IN (SELECT id FROM series WHERE source = $source AND signal <> 'drift')"
            for kind in KINDS
            for width in (BUCKET,)
        )
        row = self.cursor.execute(
            f"SELECT max(ts) FROM ({fine})", {"day": day, "as_of": self.as_of, "source": source}
        ).fetchone()
        return int(row[0]) if row and row[0] is not None else day + HOUR

    def sources(self) -> dict[int, tuple[str, str]]:
        """(connector, scope) of every source by number."""
        return {number: key for key, number in self.store.names.sources.items()}

    def pulls(self, source: int, n: int = 1) -> list[tuple[str, int, str, str, int, int]]:
        """(name, ended, outcome, said, pages, rows) of the newest pulls."""
        return self.cursor.execute(
            "SELECT name, ended, outcome, said, pages, rows FROM pull WHERE source = ? ORDER BY ended DESC, "
            "load_id DESC LIMIT ?",
            [source, n],
        ).fetchall()

    def rejects(self, source: int) -> list[tuple[str, str, str, int]]:
        """(kind, reason, place, n) of what could not be counted, or was counted with a remark."""
        return self.cursor.execute(
            "SELECT kind, reason, place, n FROM reject WHERE source = ? ORDER BY n DESC, reason, place LIMIT 200",
            [source],
        ).fetchall()

    def baseline(self, component: str, signal: str, name: str) -> tuple[int, dict[int, int], dict[int, int]] | None:
        """(layout, counts, sums) of the reference in force as of this load."""
        row = self.cursor.execute(
            "SELECT layout, bins, counts, sums FROM baseline WHERE component = ? AND signal = ? AND name = ? "
            "AND load_id <= ? ORDER BY load_id DESC LIMIT 1",
            [component, signal, name, self.as_of],
        ).fetchone()
        if row is None:
            return None
        layout, bins, counts, sums = row
        return layout, dict(zip(bins, counts, strict=True)), dict(zip(bins, map(int, sums), strict=True))

    def digest(self) -> str:
        """A hash of everything counted, by names and not by numbers; equal for stores that say the same."""
        return _digest(self)


def _totals(table: Kind, ids: Sequence[int], windows: Sequence[Span], finest: int, as_of: int) -> tuple[str, list[Any]]:
    parts, bound = [], []
    for tier in (width for width in TIERS if width >= finest):
        spans = [[p for p in pieces(since, until, finest) if p[0] == tier] for since, until in windows]
        every = [piece for some in spans for piece in some]
        if not every:
            continue
        columns = []
        for place, some in enumerate(spans):
            condition = " OR ".join("(ts >= ? AND ts < ?)" for _ in some) or "false"
            for value, sql in table.values:
                columns.append(f"coalesce(sum({value}) FILTER (WHERE {condition}), 0)::{sql} AS {value}_{place}")
                bound += [bound_ for _, low, high in some for bound_ in (low, high)]
        parts.append(
            f"SELECT series{table.key_list}, {', '.join(columns)} FROM {table.name}{TIERS[tier]} "
            "WHERE ts >= ? AND ts < ? AND load_id <= ? AND series IN (SELECT unnest(?::INTEGER[])) "
            f"GROUP BY series{table.key_list}"
        )
        bound += [min(low for _, low, _ in every), max(high for _, _, high in every), as_of, list(ids)]
    names = [f"{value}_{place}" for place in range(len(windows)) for value, _ in table.values]
    sums = ", ".join(f"sum({name})::HUGEINT AS {name}" for name in names)
    if not parts:
        return f"SELECT 0{table.key_list.replace(', ', ', NULL AS ')}, {', '.join('0' for _ in names)} WHERE false", []
    return (
        f"SELECT series{table.key_list}, {sums} FROM ({' UNION ALL '.join(parts)}) GROUP BY series{table.key_list}",
        bound,
    )


def _digest(reader: Reader) -> str:
    named = (
        "SELECT src.connector, src.scope, s.component, s.signal, s.name, s.version, s.segment, s.environment, s.stage, "
        "l.spec, f.ts, {keys} {sums} FROM {table} f JOIN series s ON s.id = f.series JOIN source src ON src.id = s.source "
        "LEFT JOIN layout l ON l.id = s.layout {extra} WHERE f.load_id <= ? GROUP BY ALL HAVING {nonzero} ORDER BY ALL"
    )
    state = hashlib.sha256()
    for kind in KINDS.values():
        for suffix in TIERS.values():
            keys = "".join(f"f.{name}, " for name, _ in kind.keys)
            extra = ""
            if kind.name == "histogram":
                keys = "coalesce(c.value, f.bin::VARCHAR), "
                extra = "LEFT JOIN category c ON c.layout = s.layout AND c.bin = f.bin"
            sql = named.format(
                keys=keys, sums=kind.sums, table=f"{kind.name}{suffix}", extra=extra, nonzero=kind.nonzero
            )
            for row in reader.cursor.execute(sql, [reader.as_of]).fetchall():
                state.update(repr((kind.name + suffix, row)).encode())
    for source, event in reader.events(-(1 << 62), 1 << 62):
        state.update(repr((reader.sources()[source], event)).encode())
    rows = reader.cursor.execute(
        "SELECT s.component, s.name, s.version, s.stage, p.ts, p.micros, p.run, p.step, arg_max(p.value, p.load_id) "
        "FROM sample p JOIN series s ON s.id = p.series WHERE p.load_id <= ? GROUP BY ALL ORDER BY ALL",
        [reader.as_of],
    ).fetchall()
    state.update(json.dumps(rows).encode())
    for key, spans in sorted(reader.all_coverage(-(1 << 62), 1 << 62).items()):
        state.update(repr((reader.sources()[key[0]], key[1:], spans)).encode())
    return state.hexdigest()
