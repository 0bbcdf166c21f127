"""CPU per row of taking 100,000 rows into a store, beside a plain INSERT of the same columns.

Run: python -m tests.benchmarks.ingest [--rows N] [--rounds N]

Each round writes into new files: the rows as Batches in pieces of 20,000 (what connectors with many rows say), the rows
as single Facts (what the others say), and the same columns by one plain INSERT from Arrow into one table without tiers,
loads or comparison. Then once more with a batch of which half is there already and the other half is restated. Commit
and checkpoint are included; user and system time of the whole process, all threads; medians.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa

from tandem.records import BUCKET, Batch, Covered, Fact, Ratio, Series
from tandem.store.file import open_store
from tandem.store.load import Piece
from tandem.store.read import Reader
from tandem.store.write import Writer
from tests.fakes import NOW

SERIES = 100
PIECE = 20_000


def cpu(work: Callable[[], object]) -> float:
    """Seconds of user and system time that the whole process spent on it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def columns(rows: int, corrected: int = 0) -> dict[str, np.ndarray]:
    """Rows of 100 series in time order; every second one, if asked, with other counts."""
    random = np.random.default_rng(11)
    total = random.integers(1, 1000, rows)
    total = total + np.where(np.arange(rows) % 2 == 0, corrected, 0)
    ts = NOW - (rows // SERIES + 1) * BUCKET + np.arange(rows) // SERIES * BUCKET
    return {
        "series": np.arange(rows) % SERIES,
        "ts": ts.astype(np.int64),
        "good": total - total % 7 // 6,
        "total": total,
    }


def batches(given: dict[str, np.ndarray]) -> list[Piece]:
    """The rows as connectors with many rows say them."""
    series = tuple(Series("availability", component=f"service-{n:03}") for n in range(SERIES))
    rows = len(given["ts"])
    return [
        Piece([Batch("ratio", series, (None,) * SERIES, {name: part[i : i + PIECE] for name, part in given.items()})],
              covered=[Covered(int(given["ts"][0]), NOW)])
        for i in range(0, rows, PIECE)
    ]  # fmt: skip


def facts(given: dict[str, np.ndarray]) -> list[Piece]:
    """The rows one by one."""
    series = [Series("availability", component=f"service-{n:03}") for n in range(SERIES)]
    rows = zip(*(given[name].tolist() for name in ("series", "ts", "good", "total")), strict=True)
    said = [Fact(series[number], ts, Ratio(good, total)) for number, ts, good, total in rows]
    return [Piece(said[i : i + PIECE], covered=[Covered(said[0].ts, NOW)]) for i in range(0, len(said), PIECE)]


def write(path: Path, pieces: list[Piece], expected: int) -> None:
    """A pull in one transaction, closed and so checkpointed."""
    with open_store(path) as store:
        writer = Writer(store, "fake", "bench", NOW)
        writer.commit(pieces)
        writer.close()
        reader = Reader(store)
        merges = reader.totals("ratio", [kept.id for kept in reader.series()], [(NOW - 10**7, NOW)])
        assert sum(total for [(_, total)] in merges.values()) == expected, "the store holds other numbers"


def plain(path: Path, given: dict[str, np.ndarray]) -> None:
    """One INSERT from Arrow."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("CREATE TABLE ratio (series BIGINT, ts BIGINT, good BIGINT, total BIGINT)")
        connection.register("arriving", pa.table(given))
        connection.execute("INSERT INTO ratio SELECT * FROM arriving")
        connection.unregister("arriving")
        connection.execute("CHECKPOINT")


def works(base: Path, new: dict[str, np.ndarray], restated: dict[str, np.ndarray]) -> dict[str, Callable[[], object]]:
    """What a round measures, in its order."""
    sums = [int(one["total"].sum()) for one in (new, restated)]
    return {
        "open and close a new store": lambda: write(base / "empty.duckdb", [], 0),
        "plain INSERT, one table": lambda: plain(base / "plain.duckdb", new),
        "Batches, new": lambda: write(base / "a.duckdb", batches(new), sums[0]),
        "Batches, half restated": lambda: write(base / "a.duckdb", batches(restated), sums[1]),
        "Facts, new": lambda: write(base / "b.duckdb", facts(new), sums[0]),
        "Facts, half restated": lambda: write(base / "b.duckdb", facts(restated), sums[1]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    new, restated = columns(given.rows), columns(given.rows, corrected=14)
    spent: dict[str, list[float]] = {}
    for number in range(given.rounds + 1):
        with tempfile.TemporaryDirectory() as folder:
            for name, work in works(Path(folder), new, restated).items():
                seconds = cpu(work)
                if number:
                    spent.setdefault(name, []).append(seconds)
    print(f"{given.rows:,} rows, {given.rounds} rounds; CPU us per row, three tiers and the check of the sums included")
    floor = statistics.median(spent["plain INSERT, one table"])
    for name, some in spent.items():
        middle = statistics.median(some)
        print(f"{name:28} {1e6 * middle / given.rows:6.2f}   least {1e6 * min(some) / given.rows:6.2f}"
              f"   {middle / floor:5.1f} x plain")  # fmt: skip


if __name__ == "__main__":
    main()
