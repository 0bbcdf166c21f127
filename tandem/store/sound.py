"""Whether a store agrees with itself: tiers with each other, facts with the ledger."""

from __future__ import annotations

from collections.abc import Iterator

from tandem.records import BUCKET, DAY, HOUR
from tandem.store.file import Store
from tandem.store.tables import KINDS, TIERS, Kind

STORM = 10_000
"""Rejected records of one source and reason that are worth a word."""


def faults(store: Store) -> list[str]:
    """One sentence for everything that is wrong; [] for a sound store."""
    return [*_ledger(store), *_tiers(store), *_rejects(store)]


def _ledger(store: Store) -> Iterator[str]:
    cursor = store.cursor()
    row = cursor.execute("SELECT count(*), coalesce(max(load_id), 0), count(DISTINCT load_id) FROM load").fetchone()
    if row and not row[0] == row[1] == row[2]:
        yield f"The ledger counts {row[0]} loads but its newest is {row[1]}; restore the store or build it again."
    for kind in KINDS:
        for suffix in TIERS.values():
            found = cursor.execute(
                f"SELECT count(*) FROM {kind}{suffix} WHERE load_id NOT IN (SELECT load_id FROM load)"
            ).fetchone()
            if found and found[0]:
                yield f"{found[0]} rows of {kind}{suffix} belong to no load; restore the store or build it again."


def _tiers(store: Store) -> Iterator[str]:
    """Hours are the sums of the finest rows, and days the sums of hours, as far as they are closed."""
    closed = store.names.closed(store.version())
    for kind in KINDS.values():
        for fine, coarse, condition in (
            (BUCKET, HOUR, f"s.width = {BUCKET}"), (HOUR, DAY, "true"),
        ):  # fmt: skip
            unequal = _unequal(store, kind, fine, coarse, closed.get(coarse), condition)
            if unequal:
                yield (f"{unequal} sums of {kind.name}{TIERS[coarse]} differ from what they are made of; "
                       "restore the store or build it again.")  # fmt: skip


def _unequal(store: Store, kind: Kind, fine: int, coarse: int, closed: int | None, condition: str) -> int:
    values = ", ".join(f"sum({name} * sign)::HUGEINT AS {name}" for name, _ in kind.values)
    wrong = " OR ".join(f"{name} <> 0" for name, _ in kind.values)
    columns = f"series, ts{kind.key_list}, {kind.value_list}"
    sql = f"""
    SELECT count(*) FROM (
        SELECT series, start{kind.key_list}, {values} FROM (
            SELECT {columns}, ts - ts % {coarse} AS start, 1 AS sign FROM {kind.name}{TIERS[fine]}
            WHERE ts < coalesce(?, ts)
            UNION ALL SELECT {columns}, ts AS start, -1 AS sign FROM {kind.name}{TIERS[coarse]})
        JOIN series s ON s.id = series WHERE {condition} GROUP BY series, start{kind.key_list})
    WHERE {wrong}"""
    row = store.cursor().execute(sql, [closed]).fetchone()
    return int(row[0]) if row else 0


def _rejects(store: Store) -> Iterator[str]:
    rows = store.cursor().execute(
        "SELECT p.name, r.reason, r.n FROM reject r JOIN (SELECT source, arg_max(name, ended) AS name FROM pull "
        "GROUP BY source) p USING (source) WHERE r.kind = 'reject' AND r.n >= ? ORDER BY r.n DESC",
        [STORM],
    ).fetchall()  # fmt: skip
    for name, reason, n in rows:
        yield f"{n} records of {name} could not be counted ({reason}); see `tandem sources`."
