"""Two stores into their union: of what both say the later pull counts, and whatever the order, the end is the same.

What a store says is a value under a key with a stamp, the time of the pull that said it last: the whole of a series in
a bucket, an attempt of an event, a slice, a sample, a reference. Of two values the one with the later stamp counts, and
between equal stamps the greater text, so that merging is commutative, associative and idempotent. What is taken over is
appended under loads that keep their stamps; what stood before can still be read as of its load. Ratios that follow from
events are made anew of the events of both. What people keep (answers, moments, reviews) has revisions of its own: it is
joined row by row, as is every table that is not named here.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from tandem.bins import MISSING
from tandem.intervals import Span, subtract, union
from tandem.records import BUCKET, HOUR, Event
from tandem.store.file import Store
from tandem.store.load import Load
from tandem.store.naming import Names
from tandem.store.other import Other
from tandem.store.rows import event_of, insert
from tandem.store.tables import COARSE, KINDS, TIERS, Kind
from tandem.store.write import Writer, roll_back

PIECE = re.compile(r"(.*)@\d+")
"""A slice that is a piece of a file, from the byte after the "@"; its digest begins with the byte of its end."""
RULED = frozenset(
    {"meta", "load", "closed", "source", "layout", "category", "baseline", "margin", "series", "slice", "slice_load",
     "sample", "event", "coverage", "gap", "state", "pull", "reject"}
)  # fmt: skip
"""The tables that are merged in a way of their own, beside those of the summaries."""


def merge(other: Store, mine: Store, now: int) -> int:
    """Take everything that `other` says, and later than `mine` does, into `mine`, in one transaction; rows written.

    The same again writes nothing.
    """
    one = Merge(other, mine, now)
    one.run()
    return one.rows


@dataclass(frozen=True)
class _Pieces:
    """All slices of one group as one store has them: one slice, or the pieces that a file was read in."""

    reach: int
    stamp: int
    digests: tuple[tuple[str, str], ...]
    numbers: tuple[int, ...]

    @property
    def rank(self) -> tuple[int, int, tuple[tuple[str, str], ...]]:
        """A file only grows: who read further has all that the other has."""
        return self.reach, self.stamp, self.digests


class Merge:
    """One merge, from its first statement to its last."""

    def __init__(self, other: Store, mine: Store, now: int) -> None:
        self.other = other
        self.mine = mine
        self.rows = 0
        self.loads: dict[tuple[int, int], int] = {}
        """The new load of each (source, stamp)."""
        first = min(other.names.sources, key=other.names.sources.__getitem__, default=None)
        self.writer = Writer(mine, *first, now) if first else None
        self.cursor = self.writer.cursor if self.writer else mine.new_cursor()
        self.first = 0
        self.closed: dict[int, int] = {}
        self.followed: set[int] = set()
        """Sources of which pieces of files were taken over."""

    def run(self) -> None:
        """Take over all at once, or nothing where anything fails."""
        with self.mine.writing():
            self.first = self.mine.version() + 1
            self.closed = self.mine.names.closed(self.first)
            self.cursor.execute("BEGIN")
            try:
                self.theirs = Other(self.other, self.mine, self.cursor)
                self._everything()
                self.cursor.execute("COMMIT")
            except BaseException:
                roll_back(self.cursor)
                raise
            finally:
                self.mine.reload()
                self.cursor.close()

    def _everything(self) -> None:
        for kind in KINDS.values():
            for width in (BUCKET, HOUR):
                self._facts(kind, width)
        self._slices()
        self._samples()
        self._events()
        self._references()
        self._coverage()
        self._sources()
        self._rest()
        self._ledger()

    # -- loads

    def _load(self, source: int, stamp: int) -> int:
        """The load under which is written what a source said at that time."""
        return self.loads.setdefault((source, stamp), self.first + len(self.loads))

    def _numbered(self, table: str) -> bool:
        """Make `their_load` of every (source, stamp) of a table; whether there is any."""
        pairs = self.cursor.execute(f"SELECT DISTINCT source, stamp FROM {table} ORDER BY stamp, source").fetchall()
        rows = [(source, stamp, self._load(source, stamp)) for source, stamp in pairs]
        self.theirs.table("their_load", "source INTEGER, stamp BIGINT, load_id BIGINT", rows)
        return bool(rows)

    def _ledger(self) -> None:
        insert(self.cursor, "load", [(number, str(uuid.uuid4()), source, stamp, 0, self.rows)
                                     for (source, stamp), number in self.loads.items()])  # fmt: skip

    # -- buckets

    def _facts(self, kind: Kind, width: int) -> None:
        """Of every bucket of a series the value that was said later, whole, whatever its bins were."""
        if not self.theirs.facts(kind, width):
            return
        run = self.cursor.execute
        mine = (
            f"FROM {kind.name}{TIERS[width]} f JOIN series s ON s.id = f.series JOIN their_stamp t ON t.base = s.base "
            "AND t.ts = f.ts LEFT JOIN load l ON l.load_id = f.load_id WHERE f.slice = 0 GROUP BY"
        )
        keys = f"s.base, f.series, f.ts, f.slice{_of(kind)}"
        run(f"CREATE OR REPLACE TEMP TABLE own AS SELECT {keys}, {kind.sums} {mine} {keys} HAVING {kind.nonzero}")
        run("CREATE OR REPLACE TEMP TABLE own_stamp AS SELECT s.base, f.ts, max(coalesce(l.committed, 0)) AS stamp "
            f"{mine} s.base, f.ts")  # fmt: skip
        run(f"""
            CREATE OR REPLACE TEMP TABLE taken AS
            WITH t AS ({_prints(kind, "theirs")}), o AS ({_prints(kind, "own")})
            SELECT base, ts, their_stamp.source, their_stamp.stamp, 0 AS slice,
                   coalesce(t.print, '') <> coalesce(o.print, '') AS differs
            FROM their_stamp LEFT JOIN t USING (base, ts) LEFT JOIN own_stamp USING (base, ts)
            LEFT JOIN o USING (base, ts)
            WHERE own_stamp.stamp IS NULL OR their_stamp.stamp > own_stamp.stamp
               OR (their_stamp.stamp = own_stamp.stamp AND coalesce(t.print, '') > coalesce(o.print, ''))""")
        if not self._numbered("taken"):
            return
        run(f"""
            CREATE OR REPLACE TEMP TABLE change AS
            WITH k AS (SELECT base, ts, load_id FROM taken JOIN their_load USING (source, stamp) WHERE differs)
            SELECT series, ts, slice{kind.key_list}, {kind.sums}, load_id FROM (
                SELECT series, ts, slice{kind.key_list}, {kind.value_list}, load_id FROM theirs JOIN k USING (base, ts)
                UNION ALL
                SELECT series, ts, slice{kind.key_list}, {kind.negated}, load_id FROM own JOIN k USING (base, ts))
            GROUP BY series, ts, slice{kind.key_list}, load_id HAVING {kind.nonzero}""")
        if kind.name == "ratio":
            self._total_drift()
        self._append(kind, width)
        self._confirm(kind, width)

    def _confirm(self, kind: Kind, width: int) -> None:
        """A row of nothing where they said the same later, or took back what was never known here: it has the stamp."""
        empty = "".join(f", {MISSING}" if sql == "SMALLINT" else ", ''" for _, sql in kind.keys)
        self._counted(
            f"INSERT INTO {kind.name}{TIERS[width]} SELECT base, ts, 0{empty}{', 0' * len(kind.values)}, load_id "
            "FROM taken JOIN their_load USING (source, stamp) WHERE NOT differs"
        )

    def _total_drift(self) -> None:
        """What the drift of a feature changes by changes the sum over the features as well."""
        found = self.cursor.execute(
            "SELECT DISTINCT c.series FROM change c JOIN series s ON s.id = c.series WHERE s.signal = 'drift'"
        ).fetchall()
        self.theirs.table("drift_total", "series INTEGER, total INTEGER",
                          [(number, self.theirs.total(number)) for (number,) in found])  # fmt: skip
        self.theirs.names.flush()
        self.cursor.execute(
            "INSERT INTO change SELECT total, ts, slice, sum(g)::BIGINT, sum(n)::BIGINT, load_id FROM ("
            "SELECT d.total, c.ts, c.slice, c.good AS g, c.total AS n, c.load_id FROM change c "
            "JOIN drift_total d USING (series)) GROUP BY total, ts, slice, load_id"
        )

    def _append(self, kind: Kind, width: int) -> None:
        """Append what changes to its own tier, and to the coarser ones as far as they are closed."""
        self._counted(f"INSERT INTO {kind.name}{TIERS[width]} SELECT series, ts, slice{kind.key_list}, "
                      f"{kind.value_list}, load_id FROM change ORDER BY ts, series")  # fmt: skip
        for tier in COARSE:
            until = self.closed.get(tier)
            if tier > width and until is not None:
                self.cursor.execute(
                    f"INSERT INTO {kind.name}{TIERS[tier]} SELECT series, ts - ts % {tier} AS start, 0{kind.key_list}, "
                    f"{kind.sums}, load_id FROM change WHERE ts < ? GROUP BY series, start{kind.key_list}, load_id "
                    f"HAVING {kind.nonzero}",
                    [until],
                )

    def _counted(self, sql: str) -> None:
        [(rows,)] = self.cursor.execute(sql).fetchall()
        self.rows += int(rows)

    # -- slices

    def _slices(self) -> None:
        """Of every slice, or file that was read in pieces, one side as a whole: pieces of both would overlap."""
        theirs = _grouped([(self.theirs.sources[source], *rest) for source, *rest in self.theirs.rows(_SLICES)])
        own = _grouped(self.cursor.execute(_SLICES).fetchall())
        taken = {key: one for key, one in theirs.items() if key not in own or one.rank > own[key].rank}
        self.followed = {source for (source, group), one in taken.items() if one.reach}
        if not taken:
            return
        slices: list[tuple[Any, ...]] = []
        told: list[tuple[Any, ...]] = []
        numbers: list[tuple[int, int]] = []
        back: list[tuple[int, int]] = []
        for (source, group), one in taken.items():
            load = self._load(source, one.stamp)
            former = own.get((source, group))
            left = {name for name, _ in former.digests} if former else set()
            for (name, digest), old in zip(one.digests, one.numbers, strict=True):
                known = self.mine.names.slices.find(self.cursor, source, name)
                number = self.mine.names.slices.tell(source, name, digest, known[0] if known else None)
                slices += [] if known else [(number, source, name)]
                told.append((number, digest, load))
                numbers.append((old, number))
                left.discard(name)
            for name in sorted(left):
                known = self.mine.names.slices.find(self.cursor, source, name)
                assert known is not None, "it was read from here"
                told.append((self.mine.names.slices.tell(source, name, "", known[0]), "", load))
            back += [(number, load) for number in (former.numbers if former else ())]
        insert(self.cursor, "slice", slices)
        insert(self.cursor, "slice_load", told)
        self.rows += len(told)
        loads = {number: load for number, _, load in told}
        self.theirs.table("slice_number", "old INTEGER, id INTEGER, load_id BIGINT",
                          [(old, number, loads[number]) for old, number in numbers])  # fmt: skip
        self.theirs.table("slice_back", "id INTEGER, load_id BIGINT", back)
        for kind in KINDS.values():
            for width in (BUCKET, HOUR):
                self._sliced(kind, width, [old for old, _ in numbers], [number for number, _ in back])

    def _sliced(self, kind: Kind, width: int, slices: list[int], back: list[int]) -> None:
        if not self.theirs.sliced(kind, width, slices) and not back:
            return
        self.cursor.execute(f"""
            CREATE OR REPLACE TEMP TABLE change AS
            SELECT series, ts, slice{kind.key_list}, {kind.sums}, load_id FROM (
                SELECT t.series, t.ts, n.id AS slice{"".join(f", t.{name}" for name, _ in kind.keys)},
                       {", ".join(f"t.{name}" for name, _ in kind.values)}, n.load_id
                FROM theirs t JOIN slice_number n ON n.old = t.slice
                UNION ALL
                SELECT f.series, f.ts, f.slice{_of(kind)}, {", ".join(f"-f.{name}" for name, _ in kind.values)},
                       b.load_id FROM {kind.name}{TIERS[width]} f JOIN slice_back b ON b.id = f.slice
                JOIN series s ON s.id = f.series AND s.width = {width})
            GROUP BY series, ts, slice{kind.key_list}, load_id HAVING {kind.nonzero}""")
        self._append(kind, width)

    # -- samples, events, references

    def _samples(self) -> None:
        known = {row[:5]: row[5:] for row in self.cursor.execute(_SAMPLES).fetchall()}
        rows = []
        for series, ts, micros, run, step, value, stamp in self.theirs.rows(_SAMPLES):
            number = self.theirs.series[series]
            before = known.get((number, ts, micros, run, step))
            if before is None or (stamp, value) > (before[1], before[0]):
                source = self._source_of(number)
                rows.append((number, ts, micros, run, step, value, self._load(source, stamp)))
        insert(self.cursor, "sample", rows)
        self.rows += len(rows)

    def _source_of(self, series: int) -> int:
        if not hasattr(self, "_placed"):
            self._placed = {number: placed.source for (placed, _), number in self.mine.names.series.items()}
        return self._placed[series]

    def _events(self) -> None:
        """Of every attempt the highest revision, and of equal ones the later pull; what follows is made anew."""
        known = {row[:4]: row[4:] for row in self.cursor.execute(_EVENTS).fetchall()}
        rows: dict[int, list[tuple[Any, ...]]] = {}
        for (
            source,
            kind,
            key,
            attempt,
            revision,
            ts,
            until,
            components,
            environment,
            outcome,
            text,
            stamp,
        ) in self.theirs.rows(_EVENTS):
            number = self.theirs.sources[source]
            before = known.get((number, kind, key, attempt))
            if before is None or (revision, stamp, text) > (before[0], before[7], before[6]):
                rows.setdefault(number, []).append((number, kind, key, attempt, revision, ts, until, components,
                                                    environment, outcome, text, self._load(number, stamp)))  # fmt: skip
        for source, some in sorted(rows.items()):
            self._changed(source, some)

    def _changed(self, source: int, rows: list[tuple[Any, ...]]) -> None:
        """Write events of a source, and take what followed from them before for what follows now."""
        assert self.writer is not None, "a source is there"
        self.writer.source = source
        load = Load(self.writer)
        load.names = Names(self.mine, self.cursor, source)
        load.id = max(row[-1] for row in rows)
        before = load.stored({(row[1], row[2]) for row in rows})
        insert(self.cursor, "event", rows)
        after: dict[tuple[str, str], dict[int, Event]] = {}
        for _, kind, key, attempt, *_rest, text, _ in rows:
            attempts = after.setdefault((kind, key), dict(before.get((kind, key), {})))
            attempts.pop(attempt, None)
            if text:
                attempts[attempt] = event_of(text)
        load.follow([(list(before.get(one, {}).values()), list(now.values())) for one, now in after.items()])
        self.rows += len(rows) + load.rows

    def _references(self) -> None:
        """Of every reference of a feature the later one, with the bins that it stands in."""
        known = {row[:3]: self._reference(row[3:], {}) for row in self.cursor.execute(_REFERENCES).fetchall()}
        moved = {(layout, old): place for layout, old, place in self.theirs.bins}
        for component, signal, name, layout, *rest in self.theirs.rows(_REFERENCES):
            places = {old: place for (of, old), place in moved.items() if of == layout}
            number = self.theirs.layouts[layout]
            told = self._reference((number, *rest), places)
            if (component, signal, name) in known and known[component, signal, name] >= told:
                continue
            stamp, _, since, until, cells, squares = told
            load = self._load(self.theirs.sources[self._first_source(component)], stamp)
            bins, counts, sums = ([cell[place] for cell in cells] for place in range(3))
            self.cursor.execute(
                "INSERT INTO baseline VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?::VARCHAR[]::HUGEINT[], ?, ?::VARCHAR::HUGEINT)",
                [
                    component,
                    signal,
                    name,
                    number,
                    since,
                    until,
                    bins,
                    counts,
                    list(map(str, sums)),
                    load,
                    squares or None,
                ],
            )
            self.rows += 1

    def _reference(self, row: Sequence[Any], places: Mapping[int, int]) -> tuple[Any, ...]:
        """A reference under the numbers of this store, the later one the greater; `places` says where its bins are."""
        layout, since, until, bins, counts, sums, squares, stamp = row
        cells = sorted(zip([places.get(one, one) for one in bins], counts, map(int, sums), strict=True))
        return stamp, self.mine.names.layout_specs[layout], since, until, cells, squares or ""

    def _first_source(self, component: str) -> int:
        """A source of theirs that told of a component: a reference does not say whose it is."""
        found = (placed.source for placed, _ in self.other.names.series if placed.component == component)
        return next(found, next(iter(self.theirs.sources)))

    # -- coverage, sources, and the rest

    def _coverage(self) -> None:
        """All that either vouches for, and every gap."""
        known: dict[tuple[int, str, str], list[Span]] = {}
        for source, component, signal, since, until in self.cursor.execute(_COVERAGE).fetchall():
            known.setdefault((source, component, signal), []).append((since, until))
        newest = {self.theirs.sources[source]: stamp for source, stamp in self.theirs.rows(_NEWEST)}
        fresh: dict[tuple[int, str, str], list[Span]] = {}
        for source, component, signal, since, until in self.theirs.rows(_COVERAGE):
            fresh.setdefault((self.theirs.sources[source], component, signal), []).append((since, until))
        rows = [(*key, since, until, self._load(key[0], newest.get(key[0], 0))) for key, spans in fresh.items()
                for since, until in subtract(union(spans), union(known.get(key, ())))]  # fmt: skip
        insert(self.cursor, "coverage", rows)
        gaps = set(self.cursor.execute(_GAPS).fetchall())
        told = sorted({(self.theirs.sources[source], *rest) for source, *rest in self.theirs.rows(_GAPS)} - gaps)
        insert(self.cursor, "gap", [(*row, self._load(row[0], newest.get(row[0], 0))) for row in told])
        self.rows += len(rows) + len(told)

    def _sources(self) -> None:
        """Where a source goes on: as here where it is known here, but after their pieces where those were taken.

        To read a stretch again changes nothing; to go on before pieces of a file that are counted already would.
        """
        known = {source for (source,) in self.cursor.execute("SELECT source FROM state").fetchall()}
        for source, *state, _ in self.theirs.rows("SELECT * FROM state"):
            number = self.theirs.sources[source]
            if number in known and number not in self.followed:
                continue
            self.cursor.execute("DELETE FROM state WHERE source = ?", [number])
            self.cursor.execute("INSERT INTO state VALUES (?, ?, ?, ?, ?, ?)", [number, *state, self.first - 1])
        pulls = set(self.cursor.execute(_PULLS).fetchall())
        told = sorted({(self.theirs.sources[source], *rest) for source, *rest in self.theirs.rows(_PULLS)} - pulls)
        insert(self.cursor, "pull", [(*row, self.first - 1) for row in told])
        rejects = {row[0] for row in self.cursor.execute("SELECT DISTINCT source FROM reject").fetchall()}
        insert(self.cursor, "reject", [(self.theirs.sources[source], *rest)
                                       for source, *rest in self.theirs.rows("SELECT * FROM reject")
                                       if self.theirs.sources[source] not in rejects])  # fmt: skip

    def _rest(self) -> None:
        """Row by row what no rule here is about, such as what people keep, revision by revision."""
        summaries = {f"{kind}{suffix}" for kind in KINDS for suffix in TIERS.values()}
        mine, theirs = _tables(self.cursor), _tables(self.theirs.other)
        for table in sorted(mine.keys() & theirs.keys() - RULED - summaries):
            told = ", ".join(f'"{one}"' for one in mine[table])
            self.cursor.register("arriving", self.theirs.other.sql(f"SELECT {told} FROM {table}").to_arrow_table())
            self._counted(f"INSERT INTO {table} ({told}) SELECT {told} FROM arriving EXCEPT SELECT {told} FROM {table}")
            self.cursor.unregister("arriving")


_SLICES = (
    "SELECT s.source, s.name, s.id, arg_max(d.digest, d.load_id), max(coalesce(l.committed, 0)) FROM slice s "
    "JOIN slice_load d ON d.slice = s.id LEFT JOIN load l ON l.load_id = d.load_id GROUP BY s.source, s.name, s.id"
)
_SAMPLES = (
    "SELECT p.series, p.ts, p.micros, p.run, p.step, arg_max(p.value, p.load_id), max(coalesce(l.committed, 0)) "
    "FROM sample p LEFT JOIN load l ON l.load_id = p.load_id GROUP BY p.series, p.ts, p.micros, p.run, p.step"
)
_EVENTS = (
    "SELECT e.source, e.kind, e.key, e.attempt, arg_max(e.revision, e.load_id), arg_max(e.ts, e.load_id), "
    "arg_max(e.until, e.load_id), arg_max(e.components, e.load_id), arg_max(e.environment, e.load_id), "
    "arg_max(e.outcome, e.load_id), arg_max(e.content, e.load_id), max(coalesce(l.committed, 0)) FROM event e "
    "LEFT JOIN load l ON l.load_id = e.load_id GROUP BY e.source, e.kind, e.key, e.attempt"
)
_REFERENCES = (
    "SELECT b.component, b.signal, b.name, b.layout, b.since, b.until, b.bins, b.counts, b.sums::VARCHAR[], "
    "b.squares::VARCHAR, coalesce(l.committed, 0) FROM baseline b LEFT JOIN load l ON l.load_id = b.load_id "
    "QUALIFY row_number() OVER (PARTITION BY b.component, b.signal, b.name ORDER BY b.load_id DESC) = 1"
)
_COVERAGE = "SELECT source, component, signal, since, until FROM coverage"
_GAPS = "SELECT source, component, signal, since, until, reason FROM gap"
_NEWEST = "SELECT source, max(committed) FROM load GROUP BY source"
_PULLS = "SELECT source, name, started, ended, outcome, said, pages, rows FROM pull"


def _of(kind: Kind) -> str:
    return "".join(f", f.{name}" for name, _ in kind.keys)


def _prints(kind: Kind, cells: str) -> str:
    """One text per bucket of a series, equal for equal values under whatever numbers; "" is never one of them."""
    keys = "".join(", coalesce(c.value, x.bin::VARCHAR)" if name == "bin" else f", x.{name}::VARCHAR"
                   for name, _ in kind.keys)  # fmt: skip
    category = "LEFT JOIN category c ON c.layout = s.layout AND c.bin = x.bin" if "bin" in dict(kind.keys) else ""
    values = "".join(f", x.{name}::VARCHAR" for name, _ in kind.values)
    cell = f"concat_ws(chr(31), coalesce(y.spec, ''){keys}{values})"
    return (
        f"SELECT x.base, x.ts, md5(string_agg({cell}, chr(30) ORDER BY {cell})) AS print FROM {cells} x "
        f"JOIN series s ON s.id = x.series LEFT JOIN layout y ON y.id = s.layout {category} GROUP BY x.base, x.ts"
    )


def _grouped(rows: list[tuple[Any, ...]]) -> dict[tuple[int, str], _Pieces]:
    """The slices of a store by (source, group): those of one file together; one that was taken back is none."""
    found: dict[tuple[int, str], list[tuple[str, str, int, int]]] = {}
    for source, name, number, digest, stamp in rows:
        piece = PIECE.fullmatch(name) if digest.partition(":")[0].isdigit() or not digest else None
        found.setdefault((source, piece.group(1) if piece else name), []).append((name, digest, number, stamp))
    return {key: _pieces(sorted(some)) for key, some in found.items()}


def _pieces(some: list[tuple[str, str, int, int]]) -> _Pieces:
    told = [one for one in some if one[1]]
    ends = [int(digest.partition(":")[0]) for name, digest, *_ in told
            if PIECE.fullmatch(name) and digest.partition(":")[0].isdigit()]  # fmt: skip
    stamp = max(stamp for *_, stamp in some)
    digests, numbers = tuple((name, digest) for name, digest, *_ in told), tuple(number for _, _, number, _ in told)
    return _Pieces(max(ends, default=0), stamp, digests, numbers)


def _tables(cursor: Any) -> dict[str, list[str]]:
    """The columns of every table of the attached store."""
    rows = cursor.execute(
        "SELECT table_name, column_name FROM duckdb_columns() WHERE database_name = 'store' AND schema_name = 'main' "
        "AND NOT internal ORDER BY table_name, column_index"
    ).fetchall()
    return {name: [column for _, column in some] for name, some in groupby(rows, key=lambda row: row[0])}
