"""Summarising a prediction log against a plain scan of the same columns, and against Evidently.

Run: python -m tests.benchmarks.summarise [--large] [--evidently] [--rounds N]

The log: 20 numeric and 5 categorical features with missing values, score, label, version and a segment; random
doubles, which hardly compress. The floor is one DuckDB pass that adds up or counts every column. Floor and summary
take turns in one process; what is compared is CPU time, and the median ratio is the figure. The whole of a first pull
(reading ids, making bins, counting) and its memory are measured in a process of its own.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors import _prediction_reading as reading
from connectors import predictions
from tandem import child, summarise
from tandem.connect import Common, Pull
from tandem.records import Series

START = 1_790_000_000 // 3600 * 3600
GROUP = 122_880
FEATURES = tuple([f"f{number:02}" for number in range(20)] + [f"c{number}" for number in range(5)])


def write_log(path: Path, rows: int, days: float) -> None:
    """A log in time order, a row group at a time."""
    random = np.random.default_rng(7)
    writer = None
    for begin in range(0, rows, GROUP):
        n = min(GROUP, rows - begin)
        table = _table(random, begin, n, START + np.arange(begin, begin + n) * (days * 86400 / rows))
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=GROUP)
    assert writer is not None
    writer.close()


def _table(random: np.random.Generator, begin: int, n: int, seconds: np.ndarray) -> pa.Table:
    label = random.random(n) < 0.2
    score = 1 / (1 + np.exp(-(random.standard_normal(n) + np.where(label, 0.8, -0.8))))
    columns: dict[str, pa.Array] = {
        "id": pa.array([f"{number:012x}" for number in range(begin, begin + n)]),
        "ts": pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
        "version": pa.array(np.where(random.random(n) < 0.5, "7", "8")),
        "country": pa.array(random.choice(["DE", "FR", "IT"], n)),
        "score": pa.array(score),
        "predicted": pa.array((score > 0.5).astype(np.int64)),
        "label": pa.array(label.astype(np.int64), mask=random.random(n) < 0.3),
    }
    for number in range(20):
        values = random.lognormal(0, 0.6, n) if number % 2 else random.standard_normal(n)
        columns[f"f{number:02}"] = pa.array(values, mask=random.random(n) < 0.02 * (number % 3))
    for number in range(5):
        names = [f"value-{one}" for one in range(4 + 3 * number)]
        columns[f"c{number}"] = pa.array(random.choice(names, n), mask=random.random(n) < 0.01)
    return pa.table(columns)


def config(path: Path) -> predictions.Config:
    """The source of the log."""
    common = Common(connector="predictions", name="bench", component=("model",), folder=path.parent)
    return predictions.Config(
        common=common, path=path.name, task="binary", id="id", time="ts", prediction="predicted", score="score",
        label="label", version="version", segments=("country",), features=FEATURES,
    )  # fmt: skip


def cpu() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def floor(path: Path, *, ids: bool) -> float:
    """CPU seconds of one DuckDB pass over the columns."""
    names = [name for name in pq.read_schema(path).names if ids or name != "id"]
    numeric = {name for name in names if name[0] == "f" or name in ("score", "predicted", "label")}
    terms = ", ".join(f'sum("{name}")' if name in numeric else f'count("{name}")' for name in names)
    begin = cpu()
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"SELECT {terms} FROM read_parquet('{path}')").fetchall()
    return cpu() - begin


class _Here:
    """The child's functions in this process, so that CPU is measured without a second process."""

    def ask(self, call: str, given: object, arrays: object = None, seconds: int = 0) -> object:
        module, _, name = call.partition(":")
        function = getattr(importlib.import_module(module), name)
        return function(json.loads(json.dumps(given)), arrays or {})


def prepared(path: Path) -> tuple[summarise.Spec, np.ndarray, np.ndarray]:
    """What a pull knows when it begins to count: layouts, labels, rows left out."""
    caught: list[tuple[summarise.Spec, np.ndarray, np.ndarray]] = []

    def catch(_: object, __: object, spec: summarise.Spec, ___: object, left_out: np.ndarray, labels: np.ndarray):
        caught.append((spec, left_out, labels))
        return iter(())

    original = reading.summarise
    reading.summarise = catch  # type: ignore[assignment]
    try:
        list(predictions.fetch(config(path), Pull(since=0, until=2**33, now=2**33)))
    finally:
        reading.summarise = original
    return caught[0]


def summary(path: Path, spec: summarise.Spec, left_out: np.ndarray, labels: np.ndarray) -> tuple[float, int]:
    """CPU seconds of the whole summary with its facts as columns, and how many cells it gave."""
    begin = cpu()
    cells = 0
    for batch in summarise.summarise(_Here(), path, spec, Series("", component="m"), left_out, labels):  # type: ignore[arg-type]
        cells += len(batch.columns["ts"])
    return cpu() - begin, cells


def compare(path: Path, rows: int, rounds: int) -> None:
    """Print floor and summary side by side."""
    spec, left_out, labels = prepared(path)
    floors, summaries, ratios, cells = [], [], [], 0
    for number in range(rounds + 1):
        one = floor(path, ids=False)
        two, cells = summary(path, spec, left_out, labels)
        if number:  # the first round warms up
            floors.append(one)
            summaries.append(two)
            ratios.append(two / one)
    with_ids = statistics.median(floor(path, ids=True) for _ in range(3))
    size = path.stat().st_size / 1e6
    print(f"{rows:>11,} rows, {size:,.0f} MB, {cells:,} filled cells")
    print(f"  scan floor (columns of the summary)     {statistics.median(floors):8.3f} CPU s")
    print(f"  summary, exact sums per bin             {statistics.median(summaries):8.3f} CPU s"
          f"   {statistics.median(ratios):.2f}x the floor  (target 2x, reach 3x)")  # fmt: skip
    whole = first_pull(path)
    print(f"  scan floor with ids                     {with_ids:8.3f} CPU s")
    print(f"  first pull: ids, bins, counting, pages  {whole['cpu']:8.3f} CPU s   {whole['cpu'] / with_ids:.2f}x"
          "  (child process started and imports included)")  # fmt: skip
    print(f"  peak memory: reader {whole['child']:.0f} MB, caller {whole['caller']:.0f} MB")


def first_pull(path: Path) -> dict[str, float]:
    """CPU and peak memory of a first pull in a process of its own, with the child it starts."""
    command = [sys.executable, "-m", "tests.benchmarks.summarise", "--pull", str(path)]
    return dict(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))


def most_memory(process: int) -> float:
    """MB; the system's own count (ru_maxrss) would begin with what the starting process held."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1e3


def pull(path: Path) -> None:
    """Make a first pull and print what it took."""
    before = cpu()
    peak = 0.0
    original = child.Child.close

    def close(self: child.Child) -> None:
        nonlocal peak
        if self._process is not None and self._process.poll() is None:
            peak = max(peak, most_memory(self._process.pid))
        original(self)

    child.Child.close = close  # type: ignore[method-assign]
    for _ in predictions.fetch(config(path), Pull(since=0, until=2**33, now=2**33)):
        pass
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = cpu() - before + theirs.ru_utime + theirs.ru_stime
    print(json.dumps({"cpu": took, "child": peak, "caller": most_memory(os.getpid())}))


EVIDENTLY = """
import resource, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
from evidently import Report
from evidently.presets import DataDriftPreset
columns = sys.argv[2].split(",")
frame = pd.read_parquet(sys.argv[1], columns=columns)
half = len(frame) // 2
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
begin = cpu()
Report([DataDriftPreset()]).run(frame.iloc[half:], frame.iloc[:half])
print(cpu() - begin)
"""


def against_evidently(path: Path, ours: float) -> None:
    """Print Evidently's compute step beside our whole summary, reading included."""
    from tests.environments import environment

    python = environment("evidently", ["evidently==0.7.23", "pandas<3", "pyarrow"])
    command = [str(python), "-c", EVIDENTLY, str(path), ",".join(FEATURES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "DO_NOT_TRACK": "1"})
    theirs = float(done.stdout.split()[-1])
    print(f"  Evidently 0.7.23 DataDriftPreset, compute step only {theirs:8.2f} CPU s"
          f"   {theirs / ours:.1f}x ours (first pull, whole; reach 25x)")  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--large", action="store_true", help="10 million rows too")
    parser.add_argument("--evidently", action="store_true", help="compare with Evidently in an environment of its own")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pull", type=Path)
    given = parser.parse_args()
    if given.pull:
        pull(given.pull)
        return
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        for rows, days in [(1_000_000, 1.0), *([(10_000_000, 7.0)] if given.large else [])]:
            path = Path(folder) / f"log-{rows}.parquet"
            write_log(path, rows, days)
            compare(path, rows, given.rounds if rows == 1_000_000 else 3)
            if given.evidently and rows == 1_000_000:
                against_evidently(path, first_pull(path)["cpu"])
    print(f"took {time.monotonic() - begin:.0f} s; other work on this computer inflates times, less the ratios")


if __name__ == "__main__":
    main()
