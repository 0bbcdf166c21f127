"""The tables of the summaries as data, and the statements that are made of them once."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.records import BUCKET, DAY, HOUR

TIERS = {BUCKET: "", HOUR: "_hour", DAY: "_day"}
"""Suffix of the table of each tier, by bucket width in seconds."""
COARSE = (HOUR, DAY)
"""The tiers that are made of finer ones, the finer first."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One summary: its keys inside a bucket and its values, with their SQL types."""

    name: str
    keys: tuple[tuple[str, str], ...]
    values: tuple[tuple[str, str], ...]

    @property
    def key_list(self) -> str:
        """The keys as ", a, b", or "" where there are none."""
        return "".join(f", {name}" for name, _ in self.keys)

    @property
    def value_list(self) -> str:
        """The values as "a, b"."""
        return ", ".join(name for name, _ in self.values)

    @property
    def sums(self) -> str:
        """The values added up, cast back to their types."""
        return ", ".join(f"sum({name})::{sql} AS {name}" for name, sql in self.values)

    @property
    def negated(self) -> str:
        """The values with the other sign."""
        return ", ".join(f"-{name} AS {name}" for name, _ in self.values)

    @property
    def nonzero(self) -> str:
        """A HAVING condition: at least one value is not 0."""
        return " OR ".join(f"sum({name}) <> 0" for name, _ in self.values)

    @property
    def columns(self) -> str:
        """Keys and values with their types, for CREATE TABLE."""
        return "".join(f", {name} {sql}" for name, sql in (*self.keys, *self.values))


KINDS = {
    kind.name: kind
    for kind in (
        Kind("ratio", (), (("good", "BIGINT"), ("total", "BIGINT"))),
        Kind("histogram", (("bin", "SMALLINT"),), (("n", "BIGINT"), ("sum", "HUGEINT"))),
        Kind("confusion", (("actual", "VARCHAR"), ("predicted", "VARCHAR")), (("n", "BIGINT"),)),
        Kind("moments", (), (("n", "BIGINT"), ("sum", "HUGEINT"), ("squares", "HUGEINT"))),
    )
}


def create_tables() -> list[str]:
    """CREATE statements of every summary in every tier."""
    return [
        f"CREATE TABLE {kind.name}{suffix} (series INTEGER, ts BIGINT, slice INTEGER{kind.columns}, load_id BIGINT)"
        for kind in KINDS.values()
        for suffix in TIERS.values()
    ]


def create_staging(kind: Kind) -> list[str]:
    """CREATE statements of a writer's temporary tables of one summary."""
    return [
        empty_staged(kind),
        empty_delta(kind),
        f"CREATE TEMP TABLE seen_{kind.name} (series INTEGER, ts BIGINT, print UBIGINT)",
    ]


def empty_staged(kind: Kind) -> str:
    """Make the table of what arrives anew: rows deleted from a table in memory would keep their place in it."""
    columns = f"fact BIGINT, series INTEGER, ts BIGINT, slice INTEGER{kind.columns}"
    return f"CREATE OR REPLACE TEMP TABLE staged_{kind.name} ({columns})"


def empty_delta(kind: Kind) -> str:
    """Make the table of differences anew."""
    return f"CREATE OR REPLACE TEMP TABLE delta_{kind.name} (series INTEGER, ts BIGINT, slice INTEGER{kind.columns})"


def fingerprints(kind: Kind) -> str:
    """One number per staged fact of the bucket way, equal for equal content."""
    every = ", ".join(name for name, _ in (*kind.keys, *kind.values))
    return (
        f"CREATE OR REPLACE TEMP TABLE print_{kind.name} AS SELECT fact, series, ts, bit_xor(hash({every})) AS print "
        f"FROM staged_{kind.name} WHERE slice = 0 AND fact >= 0 GROUP BY fact, series, ts"
    )


def conflicts(kind: Kind) -> str:
    """The (series, ts) for which one pull said two different things."""
    return (
        f"SELECT series, ts FROM (SELECT series, ts, print FROM print_{kind.name} "
        f"UNION ALL SELECT series, ts, print FROM seen_{kind.name} SEMI JOIN print_{kind.name} USING (series, ts)) "
        "GROUP BY series, ts HAVING count(DISTINCT print) > 1"
    )


def bucket_delta(kind: Kind, width: int) -> str:
    """Fill delta with new - current of every staged bucket of this width that this pull has not written yet.

    `current` takes all layouts of the series, so that a bucket that came with another layout before is taken back.
    """
    name, keys = kind.name, kind.key_list
    return f"""
    INSERT INTO delta_{name}
    WITH first AS (SELECT p.series, p.ts, min(fact) AS fact FROM print_{name} p
                   JOIN series ON series.id = p.series AND series.width = {width}
                   ANTI JOIN seen_{name} seen ON seen.series = p.series AND seen.ts = p.ts GROUP BY p.series, p.ts),
    fresh AS (SELECT s.* FROM staged_{name} s JOIN first USING (series, ts, fact) WHERE s.slice = 0),
    touched AS (SELECT DISTINCT base, ts FROM first JOIN series ON series.id = first.series),
    reach AS (SELECT min(ts) AS low, max(ts) AS high FROM touched),
    current AS (SELECT f.series, f.ts{_of("f", kind)}, {kind.sums} FROM {name}{TIERS[width]} f
                JOIN series ON series.id = f.series JOIN touched t ON t.base = series.base AND t.ts = f.ts
                ANTI JOIN seen_{name} seen ON seen.series = f.series AND seen.ts = f.ts
                WHERE f.slice = 0 AND f.ts >= (SELECT low FROM reach) AND f.ts <= (SELECT high FROM reach)
                GROUP BY f.series, f.ts{_of("f", kind)})
    SELECT series, ts, 0{keys}, {kind.sums} FROM (
        SELECT series, ts{keys}, {kind.value_list} FROM fresh
        UNION ALL SELECT series, ts{keys}, {kind.negated} FROM current)
    GROUP BY series, ts{keys} HAVING {kind.nonzero}"""


def remember(kind: Kind) -> str:
    """Note what this pull has written, so that a repeat is a repeat and another value a conflict."""
    return (
        f"INSERT INTO seen_{kind.name} SELECT series, ts, min(print) FROM print_{kind.name} "
        f"ANTI JOIN seen_{kind.name} USING (series, ts) GROUP BY series, ts"
    )


def slice_delta(kind: Kind, width: int) -> str:
    """Fill delta with new - current of the slices in `restated`; other staged slices are only added to."""
    name, keys = kind.name, kind.key_list
    return f"""
    INSERT INTO delta_{name}
    WITH mine AS (SELECT id FROM series WHERE width = {width}),
    current AS (SELECT series, ts, slice{keys}, {kind.sums} FROM {name}{TIERS[width]} f
                WHERE slice IN (SELECT slice FROM restated) AND series IN (SELECT id FROM mine)
                GROUP BY series, ts, slice{keys})
    SELECT series, ts, slice{keys}, {kind.sums} FROM (
        SELECT series, ts, slice{keys}, {kind.value_list} FROM staged_{name}
        WHERE slice <> 0 AND series IN (SELECT id FROM mine)
        UNION ALL SELECT series, ts, slice{keys}, {kind.negated} FROM current)
    GROUP BY series, ts, slice{keys} HAVING {kind.nonzero}"""


def added_delta(kind: Kind, width: int) -> str:
    """Fill delta with staged rows of `fact = -1`: differences that are known already."""
    return (
        f"INSERT INTO delta_{kind.name} SELECT series, ts, 0{kind.key_list}, {kind.sums} FROM staged_{kind.name} s "
        f"WHERE fact = -1 AND series IN (SELECT id FROM series WHERE width = {width}) "
        f"GROUP BY series, ts{kind.key_list} HAVING {kind.nonzero}"
    )


def back_delta(kind: Kind, width: int) -> str:
    """Fill delta with what takes the keys in `rejected` back to what they were before load `?`."""
    name = kind.name
    negated = ", ".join(f"-sum({value})::{sql}" for value, sql in kind.values)
    return f"""
    INSERT INTO delta_{name}
    SELECT f.series, f.ts, 0{_of("f", kind)}, {negated} FROM {name}{TIERS[width]} f
    JOIN rejected USING (series, ts) WHERE f.slice = 0 AND f.load_id > ?
      AND f.series IN (SELECT id FROM series WHERE width = {width})
    GROUP BY f.series, f.ts{_of("f", kind)} HAVING {kind.nonzero}"""


def unsaid(kind: Kind, width: int) -> str:
    """What a source has in the buckets that this pull has not told: source, first and last start, signal twice,
    and the signals that are left out.
    """
    name = kind.name
    return f"""
    SELECT f.series, f.ts{_of("f", kind)}, {kind.sums} FROM {name}{TIERS[width]} f
    JOIN series s ON s.id = f.series AND s.width = {width} AND s.source = ?
    ANTI JOIN seen_{name} seen ON seen.series = f.series AND seen.ts = f.ts
    WHERE f.slice = 0 AND f.ts >= ? AND f.ts <= ? AND (? = '' OR s.signal = ?) AND NOT list_contains(?, s.signal)
    GROUP BY f.series, f.ts{_of("f", kind)} HAVING {kind.nonzero}"""


def append(kind: Kind, width: int) -> str:
    """Append the deltas of `width` to their own tier with their load; there each is a row already."""
    return (
        f"INSERT INTO {kind.name}{TIERS[width]} SELECT series, ts, slice{kind.key_list}, {kind.value_list}, ?::BIGINT "
        f"FROM delta_{kind.name} ORDER BY ts, series"
    )


def append_new(kind: Kind, width: int) -> str:
    """Append the rows of `arriving`, all of one width and of slices never counted before, to their own tier."""
    return (
        f"INSERT INTO {kind.name}{TIERS[width]} SELECT series, ts, slice{kind.key_list}, {kind.value_list}, ?::BIGINT "
        "FROM arriving"
    )


def correct(kind: Kind, rows: str, tier: int) -> str:
    """Append the sums of the table `rows` to what of a coarse tier is closed: load, end of what is closed.

    Slices are told apart in a series' own tier only: nothing is ever taken back by them anywhere else.
    """
    return _summed(kind, rows, tier, "ts < ?")


def close(kind: Kind, tier: int) -> str:
    """Append to a coarse tier what the next finer one holds: load, from, until."""
    finer = max(width for width in TIERS if width < tier)
    return _summed(kind, f"{kind.name}{TIERS[finer]}", tier, "ts >= ? AND ts < ?")


def _summed(kind: Kind, rows: str, tier: int, condition: str) -> str:
    name, keys = kind.name, kind.key_list
    return (
        f"INSERT INTO {name}{TIERS[tier]} SELECT series, ts - ts % {tier} AS start, 0{keys}, {kind.sums}, ?::BIGINT "
        f"FROM {rows} WHERE {condition} GROUP BY series, start{keys} HAVING {kind.nonzero} ORDER BY start, series"
    )


def _of(alias: str, kind: Kind) -> str:
    return "".join(f", {alias}.{name}" for name, _ in kind.keys)
