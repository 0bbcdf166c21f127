"""How histograms lie in the file: a row per bin, a column per bin, a list by position, a list trimmed.

Run: python -m tests.benchmarks.layout [--components N] [--days N] [--rounds N]

Each layout in a file of its own, measured after its checkpoint: signed counts, epoch seconds, load_id, 3 % signed
corrections, `load_id <= as_of` in every query. Merges of all components to steps, of all to one row each, and of one
component to steps; answers are compared before they are timed. User and system time, all threads, medians.

What the figures say (README.md has them): up to 40 bins a column per bin merges 2 to 4 times faster than a row per bin
and is a third to a half smaller; at 150 bins of which a fifth is filled both merge alike over all components, and rows
are faster for one; lists are small but merge slower than either, trimmed ones by far. So columns win on speed and
bytes where every histogram has the same few bins. The store keeps a row per bin all the same, because its layouts
differ: every `le` set of a Prometheus, exponential schemas without end, 20 bins of a feature, 150 of a score, up to 102
categories. Columns would need a table for each or padding to the widest (where their lead is gone), and a correction of
one bin would rewrite them all. What rows cost is bounded by the tiers, which long windows read instead.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

BUCKET = 300
STEPS = 360
CASES = ((18, 50), (18, 100), (40, 30), (40, 70), (150, 20))
"""Bins of a layout, and the percentage of them that a bucket fills."""


def cpu(work: Callable[[], Any]) -> tuple[float, Any]:
    """Milliseconds of user and system time that the whole process spent on it, and its answer."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    found = work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime), found


class Layout:
    """A table of histograms, and the same three questions asked of it."""

    def __init__(self, name: str, make: str, merge: str) -> None:
        self.name = name
        self.make = make
        self.merge = merge


def layouts(bins: int) -> list[Layout]:
    """The four ways; `raw` is (series, ts, h, load_id) with a dense list."""
    columns = ", ".join(f"h[{place + 1}] AS b{place}" for place in range(bins))
    sums = ", ".join(f"sum(b{place})::BIGINT" for place in range(bins))
    parts = ", ".join(f"sum(h[{place + 1}])::BIGINT" for place in range(bins))
    trimmed = ", ".join(f"coalesce(sum(h[{place + 2} - first]) FILTER ({place + 2} - first > 0), 0)::BIGINT"
                        for place in range(bins))  # fmt: skip
    return [
        Layout("row per bin", "SELECT series, ts, (bin - 1)::SMALLINT AS bin, h[bin] AS n, load_id FROM raw, "
               f"range(1, {bins + 1}) r(bin) WHERE h[bin] <> 0 ORDER BY load_id, ts, series",
               "SELECT {group}, bin, sum(n)::BIGINT FROM stored WHERE {where} GROUP BY ALL"),
        Layout("column per bin", f"SELECT series, ts, {columns}, load_id FROM raw",
               f"SELECT {{group}}, {sums} FROM stored WHERE {{where}} GROUP BY ALL"),
        Layout("list by position", "SELECT series, ts, h, load_id FROM raw",
               f"SELECT {{group}}, {parts} FROM stored WHERE {{where}} GROUP BY ALL"),
        Layout("list trimmed", "SELECT series, ts, list_position(list_transform(h, lambda x: x <> 0), true)::SMALLINT "
               f"AS first, h[list_position(list_transform(h, lambda x: x <> 0), true):{bins} + 1 - list_position("
               "list_reverse(list_transform(h, lambda x: x <> 0)), true)] AS h, load_id FROM raw",
               f"SELECT {{group}}, {trimmed} FROM stored WHERE {{where}} GROUP BY ALL"),
    ]  # fmt: skip


def prepare(folder: Path, components: int, days: int, bins: int, filled: int) -> None:
    """The raw rows of one case as Parquet; 3 % of the buckets corrected by a later load."""
    low, high = bins * (100 - filled) // 200, bins - bins * (100 - filled) // 200
    value = f"CASE WHEN b > {low} AND b <= {high} THEN 1 + (hash(s, t, b) % 40)::BIGINT ELSE 0 END"
    with duckdb.connect() as con:
        con.execute(
            f"COPY (SELECT s::INTEGER AS series, t AS ts, list_transform(range(1, {bins + 1}), lambda b: {value}) "
            f"AS h, 1::BIGINT AS load_id FROM range(0, {days * 86400}, {BUCKET}) a(t), range({components}) c(s) "
            f"UNION ALL SELECT s, t, list_transform(range(1, {bins + 1}), lambda b: "
            f"CASE WHEN b = {(low + high) // 2} THEN -1 ELSE 0 END::BIGINT), 2 "
            f"FROM range(0, {days * 86400}, {BUCKET}) a(t), range({components}) c(s) WHERE hash(s, t) % 100 < 3 "
            f"ORDER BY load_id, ts, series) TO '{folder / 'raw.parquet'}'"
        )


def case(folder: Path, components: int, days: int, bins: int, filled: int, rounds: int) -> None:
    """Print the figures of one case."""
    prepare(folder, components, days, bins, filled)
    histograms = components * days * 86400 // BUCKET
    step = -(-days * 86400 // STEPS // BUCKET) * BUCKET
    questions = {
        "all, steps": (f"ts // {step}", "load_id <= 2"), "all, one each": ("series", "load_id <= 2"),
        "one, steps": (f"ts // {step}", "load_id <= 2 AND series = 7"),
    }  # fmt: skip
    print(f"\n{bins} bins, {filled} % filled, {histograms:,} histograms")
    print(f"{'':18}{'B each':>8}{'us in':>8}" + "".join(f"{name + ' ms':>18}" for name in questions))
    answers: dict[str, Any] = {}
    for one in layouts(bins):
        path = folder / "one.duckdb"
        path.unlink(missing_ok=True)
        with duckdb.connect(str(path)) as con:
            con.execute(f"CREATE TEMP TABLE raw AS SELECT * FROM '{folder / 'raw.parquet'}'")

            def store(con: Any = con, sql: str = one.make) -> None:
                con.execute(f"CREATE TABLE stored AS {sql}")
                con.execute("CHECKPOINT")

            spent, _ = cpu(store)
            con.execute("DROP TABLE raw")
            figures = []
            for name, (group, where) in questions.items():
                sql = one.merge.format(group=group, where=where)
                some = [cpu(lambda con=con, sql=sql: con.execute(sql).fetchall()) for _ in range(rounds)]
                figures.append(statistics.median(milliseconds for milliseconds, _ in some))
                found = dense(some[0][1], bins, one.name)
                assert answers.setdefault(name, found) == found, f"{one.name} answers otherwise: {name}"
        size = path.stat().st_size / histograms
        print(f"{one.name:18}{size:8.1f}{1000 * spent / histograms:8.1f}" + "".join(f"{one:18.1f}" for one in figures))


def dense(rows: list[tuple[Any, ...]], bins: int, name: str) -> dict[int, list[int]]:
    """The answer as one list of counts per group."""
    if name != "row per bin":
        return {row[0]: [int(n or 0) for n in row[1:]] for row in rows}
    found: dict[int, list[int]] = {}
    for group, place, n in rows:
        found.setdefault(group, [0] * bins)[place] = int(n)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--days", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for bins, filled in CASES:
            case(Path(folder), given.components, given.days, bins, filled, given.rounds)


if __name__ == "__main__":
    main()
