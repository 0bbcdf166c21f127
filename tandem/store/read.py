"""Reading: merges over windows and steps, on every tier, as of any load."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

from tandem.intervals import Span, overlap, union
from tandem.records import BUCKET, DAY, HOUR, Event
from tandem.store.file import Kept, Placed, Store
from tandem.store.rows import event_of
from tandem.store.tables import KINDS, TIERS, Kind

STEPS = (300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 345600, 604800)
"""Widths that a chart's step may have, in seconds; each is a multiple of the tier it is read from."""


FOREVER = 1 << 62
"""Seconds beyond every bucket."""
Ends = tuple[int, int, int]
"""Ends of the newest bucket, hour and event of a source."""


def step_for(since: int, until: int, points: int) -> int:
    """The smallest step that cuts [since, until) into at most `points`; whole weeks where no step of STEPS does."""
    span = until - since
    return next((step for step in STEPS if span <= step * points), -(-span // (points * STEPS[-1])) * STEPS[-1])


def tier_of(step: int, finest: int) -> int:
    """The coarsest tier from which steps of that width can be read."""
    return max(width for width in TIERS if (width <= max(step, finest) and step % width == 0) or width == finest)


def pieces(since: int, until: int, finest: int, closed: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """(tier, since, until) that together are [since, until): coarse inside and as far as closed, fine at the edges."""
    found: list[tuple[int, int, int]] = []
    low, high = since, until
    edges: list[tuple[int, int, int]] = []
    for tier in (width for width in TIERS if width >= finest):
        coarser = next((width for width in TIERS if width > tier), None)
        if coarser is None:
            found.append((tier, low, high))
            break
        up, down = -(-low // coarser) * coarser, min(high // coarser * coarser, closed.get(coarser, low))
        if up >= down:
            found.append((tier, low, high))
            break
        edges += [(tier, low, up), (tier, down, high)]
        low, high = up, down
    return [piece for piece in edges + found if piece[2] > piece[1]]


def layers(since: int, until: int, tier: int, finest: int, closed: Mapping[int, int]) -> list[tuple[int, int, int]]:
    """(tier, since, until) that together are [since, until): `tier` as far as it is closed, then finer ones."""
    found = []
    for width in sorted((one for one in TIERS if finest <= one <= tier), reverse=True):
        end = until if width == finest else min(until // width * width, closed.get(width, since))
        if end > since:
            found.append((width, since, end))
            since = end
    return found


class Reader:
    """Reads one store as of one load; cheap to make, belongs to one thread."""

    def __init__(self, store: Store, as_of: int | None = None) -> None:
        self.store = store
        self.latest = store.version()
        self.as_of = self.latest if as_of is None else as_of
        self.cursor = store.cursor()
        self.closed = store.names.closed(self.as_of)

    def series(self, **wanted: object) -> list[Kept]:
        """Every series whose fields equal the wanted ones; a tuple, list or set means any of them."""
        tests = [(field, value if isinstance(value, (set, tuple, list, frozenset)) else (value,))
                 for field, value in wanted.items()]  # fmt: skip
        known, component = self.store.known(), wanted.get("component")
        some = known.by_component.get(component, []) if isinstance(component, str) else known.all
        return [kept for kept in some
                if all(getattr(kept.placed, field) in values for field, values in tests)]  # fmt: skip

    def by_signal(self, environment: str, stage: str, segment: str) -> Mapping[tuple[str, str], list[Kept]]:
        """The series of each (component, signal) in one environment, stage and segment."""
        return self.store.known().by_signal.get((environment, stage, segment), {})

    def signals(self) -> Mapping[str, set[str]]:
        """The signals of each component, in every environment and stage."""
        return dict(self.store.known().signals)

    def totals(
        self, kind: str, ids: Sequence[int], windows: Sequence[Span], finest: int = BUCKET
    ) -> dict[int, list[Any]]:
        """For each series a list with one merge per window.

        A merge is a tuple of the values (ratio, moments), or {key: values} for summaries with keys; None where the
        series has no row in the window. Of series with hour buckets the whole hours inside a window count.
        """
        wide = [one for one in ids if self.store.names.widths[one] > finest]
        if wide:
            narrow = [one for one in ids if self.store.names.widths[one] <= finest]
            whole = [(-(-since // HOUR) * HOUR, until // HOUR * HOUR) for since, until in windows]
            return {**self.totals(kind, narrow, windows, finest), **self.totals(kind, wide, whole, HOUR)}
        parts = cut(windows)
        if not ids or not parts:
            return {}
        table = KINDS[kind]
        tiers = list(_tiers_read(table, parts, finest, self.closed))
        # One statement: what is planned together costs less than what is planned apart.
        bound = [self.as_of, list(ids)] * len(tiers)
        rows = self.cursor.execute(" UNION ALL ".join(tiers), bound).fetchall()
        runs = [_run(parts, *window) for window in windows]
        return _keyed(rows, table, runs, len(parts)) if table.keys else _plain(rows, table, runs, len(parts))

    def steps(self, kind: str, groups: Mapping[int, int], since: int, until: int, step: int) -> list[tuple[Any, ...]]:
        """(group, start of step, keys.., values..) of series merged by group; steps on the absolute grid."""
        return self.stretches(kind, groups, [(since, until)], step)

    def stretches(
        self, kind: str, groups: Mapping[int, int], spans: Sequence[Span], step: int
    ) -> list[tuple[Any, ...]]:
        """As `steps`, of several disjoint stretches in one read; each begins on the grid of the step."""
        table = KINDS[kind]
        parts: list[str] = []
        bound: list[Any] = []
        for width, mine in self._by_width(groups).items():
            ranges: dict[int, list[str]] = {}
            for since, until in spans:
                for tier, low, high in layers(since // step * step, until, tier_of(step, width), width, self.closed):
                    ranges.setdefault(tier, []).append(f"(ts >= {low} AND ts < {high})")
            for tier, wanted in ranges.items():
                parts.append(
                    f"SELECT grp, ts{table.key_list}, {table.value_list} FROM {kind}{TIERS[tier]} JOIN (SELECT "
                    "unnest(?::INTEGER[]) AS series, unnest(?::INTEGER[]) AS grp) USING (series) "
                    f"WHERE ({' OR '.join(wanted)}) AND load_id <= ?"
                )
                bound += [list(mine), list(mine.values()), self.as_of]
        if not parts:
            return []
        sql = (
            f"SELECT grp, (ts // {step}) * {step} AS start{table.key_list}, {table.sums} FROM "
            f"({' UNION ALL '.join(parts)}) GROUP BY grp, ts // {step}{table.key_list} ORDER BY start"
        )
        return self.cursor.execute(sql, bound).fetchall()

    def _by_width(self, groups: Mapping[int, int]) -> dict[int, dict[int, int]]:
        """The groups by the width of their series' buckets: the finest tier that holds them."""
        found: dict[int, dict[int, int]] = {}
        for series, group in groups.items():
            found.setdefault(self.store.names.widths[series], {})[series] = group
        return found

    def all_coverage(self, since: int, until: int) -> dict[tuple[int, str, str], list[Span]]:
        """Coverage of every (source, component, signal) inside [since, until); "" means all of the source's."""
        found = {key: overlap(spans, since, until) for key, spans in self._covered().items()}
        return {key: spans for key, spans in found.items() if spans}

    def _covered(self) -> Mapping[tuple[int, str, str], list[Span]]:
        """All that is covered as of this load; of the newest load it is kept, and later loads only add to it."""
        begin, known = self.store.covered
        if begin > self.as_of or self.as_of < self.latest:
            begin, known = 0, {}
        if begin < self.as_of:
            fresh = self._joined(begin)
            known = {**known, **{key: union([*known.get(key, []), *spans]) for key, spans in fresh.items()}}
        if self.as_of == self.latest:
            self.store.covered = (self.as_of, known)
        return known

    def _joined(self, after: int) -> dict[tuple[int, str, str], list[Span]]:
        """What the loads after `after` cover; each pull adds a stretch, so those that touch are joined in the store."""
        rows = self.cursor.execute(
            """
            WITH inside AS (SELECT source, component, signal, since, until FROM coverage
                            WHERE load_id > $after AND load_id <= $as_of),
            begun AS (SELECT *, since > max(until) OVER before AS fresh FROM inside
                      WINDOW before AS (PARTITION BY source, component, signal ORDER BY since, until
                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)),
            island AS (SELECT *, count(*) FILTER (WHERE coalesce(fresh, true)) OVER
                              (PARTITION BY source, component, signal ORDER BY since, until
                               ROWS UNBOUNDED PRECEDING) AS number FROM begun)
            SELECT source, component, signal, min(since), max(until) FROM island
            GROUP BY source, component, signal, number ORDER BY source, component, signal, min(since)""",
            {"after": after, "as_of": self.as_of},
        ).fetchall()
        found: dict[tuple[int, str, str], list[Span]] = {}
        for source, component, signal, low, high in rows:
            found.setdefault((source, component, signal), []).append((low, high))
        return found

    def gaps(self, source: int, since: int, until: int) -> list[tuple[str, str, int, int, str]]:
        """(component, signal, since, until, reason) of what a source could not see."""
        return self.cursor.execute(
            "SELECT component, signal, since, until, reason FROM gap WHERE source = ? AND until > ? AND since < ? "
            "AND load_id <= ? ORDER BY since",
            [source, since, until, self.as_of],
        ).fetchall()

    def events(
        self, since: int, until: int, *, components: Sequence[str] = (), environment: str = "",
        kinds: Sequence[str] = (), newest: bool = False,
    ) -> list[tuple[int, Event]]:  # fmt: skip
        """(source, event) of every event that overlaps [since, until), the newest revision of each, oldest first.

        What is open has not ended. `newest`: of the attempts of one object the last one only.
        """
        rows = self.cursor.execute(
            """
            WITH newest AS (SELECT source, kind, key, attempt, max(load_id) AS load_id FROM event
                            WHERE load_id <= $as_of GROUP BY source, kind, key, attempt),
            last AS (SELECT e.* FROM event e JOIN newest USING (source, kind, key, attempt, load_id)
                     WHERE e.content <> ''
                     QUALIFY NOT $last OR e.attempt = max(e.attempt) OVER (PARTITION BY e.source, e.kind, e.key))
            SELECT e.source, e.content FROM last e
            WHERE e.ts < $until AND (e.until >= $since OR e.outcome = 'open')
              AND (len($components::VARCHAR[]) = 0 OR list_has_any(e.components, $components::VARCHAR[]))
              AND ($environment = '' OR e.environment = $environment)
              AND (len($kinds::VARCHAR[]) = 0 OR list_contains($kinds::VARCHAR[], e.kind))
            ORDER BY e.ts, e.kind, e.key, e.attempt""",
            {"as_of": self.as_of, "since": since, "until": until, "components": list(components),
             "environment": environment, "kinds": list(kinds), "last": newest},
        ).fetchall()  # fmt: skip
        return [(source, event_of(text)) for source, text in rows]

    def samples(
        self, component: str, since: int, until: int, order: Sequence[int] = ()
    ) -> list[tuple[Placed, float, str, int, float]]:
        """(series, ts, run, step, value): the newest sample per name and run whose time or arrival is in the window.

        Of a run that two sources know, the first in `order` says it; a run that got its version later counts once.
        """
        places = {number: place for place, number in enumerate(order)}
        ids = {kept.id: kept.placed for kept in self.series(component=component, signal="sample")}
        rows = self.cursor.execute(
            """
            WITH known AS (SELECT s.series, s.ts, s.micros, s.run, s.step, arg_max(s.value, s.load_id) AS value,
                                  max(l.committed) AS arrived, max(s.load_id) AS load_id
                           FROM sample s JOIN load l ON l.load_id = s.load_id
                           WHERE s.load_id <= $as_of AND list_contains($ids::INTEGER[], s.series)
                           GROUP BY ALL HAVING arg_max(s.value, s.load_id) <> ''),
            placed AS (SELECT unnest($ids::INTEGER[]) AS series, unnest($names::VARCHAR[]) AS name,
                              unnest($places::INTEGER[]) AS place)
            SELECT series, ts, micros, run, step, value FROM known JOIN placed USING (series)
            WHERE (ts >= $since AND ts < $until) OR (arrived >= $since AND arrived < $until)
            QUALIFY row_number() OVER (
                PARTITION BY name, run ORDER BY place, step DESC, ts DESC, micros DESC, load_id DESC, series DESC) = 1
            ORDER BY ts, name, run""",
            {
                "as_of": self.as_of,
                "ids": list(ids),
                "since": since,
                "until": until,
                "names": [placed.name for placed in ids.values()],
                "places": [places.get(placed.source, 0) for placed in ids.values()],
            },
        ).fetchall()
        return [
            (ids[series], ts + micros / 1e6, run, step, float(value)) for series, ts, micros, run, step, value in rows
        ]

    def newest(self) -> dict[int, int]:
        """End of the newest bucket or event of each source; an hour counts to its end where no finer bucket tells."""
        since, known = self.store.newest
        if since > self.as_of or self.as_of < self.latest:
            since, known = 0, {}
        if since < self.as_of:
            known = self._newest(since, known)
        if self.as_of == self.latest:
            self.store.newest = (self.as_of, known)
        return {
            source: max(buckets if buckets > hours - HOUR else hours, events)
            for source, (buckets, hours, events) in known.items()
        }

    def _newest(self, since: int, known: Mapping[int, Ends]) -> dict[int, Ends]:
        """The ends of each source's newest bucket, hour and event, of which those before load `since` are known."""
        loads = f"load_id > {since} AND load_id <= {self.as_of}"
        floor = "" if since else f"AND ts >= {self._last_days(loads)}"
        parts = [
            f"SELECT series.source, {place} AS place, max(ts) + {width} AS ts FROM (SELECT series, max(ts) AS ts "
            f"FROM {kind}{TIERS[width]} WHERE {loads} {floor} GROUP BY series) f JOIN series ON series.id = f.series "
            f"AND series.width = {width} AND series.signal <> 'drift' GROUP BY series.source"
            for kind in KINDS
            for place, width in enumerate((BUCKET, HOUR))
        ]
        parts.append(f"SELECT source, 2, max(until) FROM event WHERE {loads} AND content <> '' GROUP BY source")
        found = {source: list(ends) for source, ends in known.items()}
        for source, place, ts in self.cursor.execute(" UNION ALL ".join(parts)).fetchall():
            ends = found.setdefault(source, [0, 0, 0])
            ends[place] = max(ends[place], ts)
        return {source: (ends[0], ends[1], ends[2]) for source, ends in found.items()}

    def _last_days(self, loads: str) -> int:
        """The day from which every source's newest bucket and hour are found."""
        days = " UNION ALL ".join(f"SELECT series, max(ts) AS ts FROM {kind}{TIERS[DAY]} WHERE {loads} GROUP BY series"
                                  for kind in KINDS)  # fmt: skip
        row = self.cursor.execute(
            f"SELECT min(ts) FROM (SELECT max(d.ts) AS ts FROM ({days}) d JOIN series ON series.id = d.series "
            "WHERE series.signal <> 'drift' GROUP BY series.source, series.width)"
        ).fetchone()
        return int(row[0]) if row and row[0] is not None else 0

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

    def counted(self, components: Sequence[str]) -> set[str]:
        """Those of the components of which anything is counted, and not all of it taken back."""
        mine = "(SELECT id FROM series WHERE list_contains($components::VARCHAR[], component))"
        since = {DAY: -FOREVER, HOUR: self.closed.get(DAY, -FOREVER), BUCKET: self.closed.get(HOUR, -FOREVER)}
        parts = [
            f"SELECT series FROM ({self._all_of(kind, since, mine)}) GROUP BY series{kind.key_list} "
            f"HAVING {kind.nonzero}"
            for kind in KINDS.values()
        ]
        parts.append(
            f"SELECT series FROM sample WHERE load_id <= $as_of AND series IN {mine} "
            "GROUP BY series, ts, micros, run, step HAVING arg_max(value, load_id) <> ''"
        )
        rows = self.cursor.execute(
            f"SELECT DISTINCT component FROM series WHERE id IN ({' UNION ALL '.join(parts)})",
            {"as_of": self.as_of, "components": list(components)},
        ).fetchall()
        return {name for (name,) in rows}

    @staticmethod
    def _all_of(kind: Kind, since: Mapping[int, int], mine: str) -> str:
        """Every row of some series once, from the coarsest tier that holds it."""
        return " UNION ALL ".join(
            f"SELECT series{kind.key_list}, {kind.value_list} FROM {kind.name}{TIERS[tier]} "
            f"WHERE load_id <= $as_of AND ts >= {low} AND series IN {mine}"
            for tier, low in since.items()
        )

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


def cut(windows: Sequence[Span]) -> list[Span]:
    """The disjoint pieces of which every window is made, in order."""
    marks = sorted({mark for window in windows for mark in window})
    return [(low, high) for low, high in pairwise(marks)
            if any(low >= since and high <= until for since, until in windows)]  # fmt: skip


def _tiers_read(table: Kind, parts: Sequence[Span], finest: int, closed: Mapping[int, int]) -> Iterator[str]:
    """A query per tier, (series, part, keys.., values..): each stretch is read once, from its coarsest tier."""
    split = [(place, *piece) for place, (since, until) in enumerate(parts)
             for piece in pieces(since, until, finest, closed)]  # fmt: skip
    for width, suffix in TIERS.items():
        mine = sorted((low, high, place) for place, tier, low, high in split if tier == width)
        if not mine:
            continue
        where = " OR ".join(
            f"(ts >= {low} AND ts < {high})" for low, high in union((low, high) for low, high, _ in mine)
        )
        ends = {place: high for _, high, place in mine}  # only rows of the stretches are read: the last end is enough
        part = "".join(f"WHEN ts < {high} THEN {place} " for place, high in ends.items())
        yield (
            f"SELECT series, CASE {part}END AS part{table.key_list}, {table.sums} FROM {table.name}{suffix} "
            f"WHERE ({where}) AND load_id <= ? AND series IN (SELECT unnest(?::INTEGER[])) "
            f"GROUP BY series, part{table.key_list}"
        )


def _run(parts: Sequence[Span], since: int, until: int) -> tuple[int, int]:
    """The places of the parts that together are [since, until): from the first, to before the second."""
    inside = [place for place, (low, high) in enumerate(parts) if low >= since and high <= until]
    return (inside[0], inside[-1] + 1) if inside else (0, 0)


def _plain(rows: Sequence[tuple[Any, ...]], table: Kind, runs: Sequence[Span], parts: int) -> dict[int, list[Any]]:
    """One merge per window of summaries without keys."""
    return {series: _windows(columns, runs) for series, columns in _columns(rows, 1, len(table.values), parts).items()}


def _keyed(rows: Sequence[tuple[Any, ...]], table: Kind, runs: Sequence[Span], parts: int) -> dict[int, list[Any]]:
    """One {key: values} per window of summaries with keys."""
    width = len(table.keys)
    arranged = [(row[0], row[2] if width == 1 else row[2 : 2 + width], row[1], *row[2 + width :]) for row in rows]
    found: dict[int, list[Any]] = {}
    for (series, key), columns in _columns(arranged, 2, len(table.values), parts).items():
        merges = found.setdefault(series, [None] * len(runs))
        for place, added in enumerate(_windows(columns, runs)):
            if added is not None:
                merges[place] = merges[place] or {}
                merges[place][key] = added
    return found


def _columns(rows: Sequence[tuple[Any, ...]], keys: int, values: int, parts: int) -> dict[Any, list[list[int]]]:
    """For each key the sum of each value before each part, and before the end; rows are (key.., part, values..)."""
    found: dict[Any, list[list[int]]] = {}
    for row in rows:
        key = row[0] if keys == 1 else row[:keys]
        columns = found.get(key)
        if columns is None:
            columns = found[key] = [[0] * (parts + 1) for _ in range(values)]
        for column, value in zip(columns, row[keys + 1 :], strict=True):
            column[row[keys] + 1] += value
    return {key: [list(accumulate(column)) for column in columns] for key, columns in found.items()}


def _windows(columns: Sequence[Sequence[int]], runs: Sequence[Span]) -> list[tuple[int, ...] | None]:
    """The sums of each run of parts; None where all are 0."""
    each = [[column[high] - column[low] for low, high in runs] for column in columns]
    return [merge if any(merge) else None for merge in zip(*each, strict=True)]


def _digest(reader: Reader) -> str:
    named = (
        "SELECT src.connector, src.scope, s.component, s.signal, s.name, s.version, s.segment, s.environment, s.stage, "
        "l.spec, f.ts, {keys} {sums} FROM {table} f JOIN series s ON s.id = f.series "
        "JOIN source src ON src.id = s.source "
        "LEFT JOIN layout l ON l.id = s.layout {extra} WHERE f.load_id <= ? AND s.width = {width} "
        "GROUP BY ALL HAVING {nonzero} ORDER BY ALL"
    )
    state = hashlib.sha256()
    for kind in KINDS.values():
        for width, suffix in ((BUCKET, ""), (HOUR, TIERS[HOUR])):
            keys = "".join(f"f.{name}, " for name, _ in kind.keys)
            extra = ""
            if kind.name == "histogram":
                keys = "coalesce(c.value, f.bin::VARCHAR), "
                extra = "LEFT JOIN category c ON c.layout = s.layout AND c.bin = f.bin"
            sql = named.format(
                keys=keys,
                sums=kind.sums,
                table=f"{kind.name}{suffix}",
                extra=extra,
                nonzero=kind.nonzero,
                width=width,
            )
            for row in reader.cursor.execute(sql, [reader.as_of]).fetchall():
                state.update(repr((kind.name + suffix, row)).encode())
    for source, event in reader.events(-FOREVER, FOREVER):
        state.update(repr((reader.sources()[source], event)).encode())
    rows = reader.cursor.execute(
        "SELECT s.component, s.name, s.version, s.stage, p.ts, p.micros, p.run, p.step, arg_max(p.value, p.load_id) "
        "FROM sample p JOIN series s ON s.id = p.series WHERE p.load_id <= ? GROUP BY ALL "
        "HAVING arg_max(p.value, p.load_id) <> '' ORDER BY ALL",
        [reader.as_of],
    ).fetchall()
    state.update(json.dumps(rows).encode())
    for key, spans in sorted(reader.all_coverage(-FOREVER, FOREVER).items()):
        state.update(repr((reader.sources()[key[0]], key[1:], spans)).encode())
    return state.hexdigest()
