"""The same predictions from Parquet, CSV, Delta and S3: CPU per row beside a plain scan of the columns, and memory.

Run: python -m tests.benchmarks.rows [--rows 1000000] [--only Parquet --only S3 ..] [--rounds 3]

The log: one file (or partition) per day for seven days; id, time, version, country, score, prediction, label, five
numeric and two categorical features. The floor is one DuckDB pass that adds up or counts every column of the very files
(CSV: read as text, what is summed is cast). Beside it stands a whole first pull in a process of its own: ids, bins,
counting, the reading process, imports; for S3 also listing, fetching and keeping copies, from a server in another
process, whose CPU is its own. Memory is the most that was resident: of the caller, and of the process that reads.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from connectors import delta, predictions, s3
from tandem import child
from tandem.connect import Common, Pull
from tests.benchmarks.summarise import START, cpu, most_memory
from tests.lakes import Lake
from tests.replay import Answer, Asked, serve
from tests.s3_server import NEW, S3

DAYS = 7
GROUP = 122_880
NUMBERS = tuple(f"f{number}" for number in range(5))
WORDS = ("c0", "c1")
GIVEN: dict[str, Any] = {
    "task": "binary", "id": "id", "time": "ts", "prediction": "predicted", "score": "score", "label": "label",
    "version": "version", "segments": ("country",), "features": (*NUMBERS, *WORDS),
}  # fmt: skip
COLUMNS = {"id": "string", "ts": "timestamp", "version": "string", "country": "string", "score": "double",
           "predicted": "long", "label": "long", **dict.fromkeys(NUMBERS, "double"), **dict.fromkeys(WORDS, "string"),
           "day": "string"}  # fmt: skip
FORMS = ("Parquet", "CSV", "Delta", "S3")
LONG = Pull(since=0, until=2**33, now=2**33)


def piece(random: np.random.Generator, begin: int, n: int, rows: int) -> pa.Table:
    """Some consecutive rows."""
    label = random.random(n) < 0.2
    score = 1 / (1 + np.exp(-(random.standard_normal(n) + np.where(label, 0.8, -0.8))))
    seconds = START + np.arange(begin, begin + n) * (DAYS * 86_400 / rows)
    columns = {
        "id": pa.array([f"{number:012x}" for number in range(begin, begin + n)]),
        "ts": pa.array((seconds * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC")),
        "version": pa.array(np.where(random.random(n) < 0.5, "7", "8")),
        "country": pa.array(random.choice(["DE", "FR", "IT"], n)),
        "score": pa.array(score),
        "predicted": pa.array((score > 0.5).astype(np.int64)),
        "label": pa.array(label.astype(np.int64), mask=random.random(n) < 0.3),
    }
    for name in NUMBERS:
        columns[name] = pa.array(random.lognormal(0, 0.6, n), mask=random.random(n) < 0.02)
    for name in WORDS:
        columns[name] = pa.array(random.choice([f"value-{one}" for one in range(8)], n), mask=random.random(n) < 0.01)
    return pa.table(columns)


def write(folder: Path, rows: int, forms: tuple[str, ...]) -> None:
    """The log in every form, the same rows in each."""
    random = np.random.default_rng(7)
    each = rows // DAYS
    lake = Lake(folder / "Delta", COLUMNS, ["day"])
    added = []
    for name in ("Parquet", "CSV"):
        (folder / name).mkdir()
    for day in range(DAYS):
        end = rows if day == DAYS - 1 else (day + 1) * each
        path = folder / "Parquet" / f"day-{day}.parquet"
        csv = pacsv.CSVWriter(path.parent.parent / "CSV" / f"day-{day}.csv", piece(random, 0, 1, rows).schema)
        with pq.ParquetWriter(path, piece(random, 0, 1, rows).schema) as parquet, csv:
            for begin in range(day * each, end, GROUP):
                table = piece(random, begin, min(GROUP, end - begin), rows)
                parquet.write_table(table, row_group_size=GROUP)
                if "CSV" in forms:
                    csv.write_table(table)
        place = folder / "Delta" / f"day={day}" / "a.parquet"
        place.parent.mkdir()
        os.link(path, place)
        added.append(lake.said(f"day={day}/a.parquet", end - day * each, {"day": day}))
    lake.create(*added)


def floor(folder: Path, form: str) -> float:
    """CPU seconds of one DuckDB pass over the columns."""
    numeric = {*NUMBERS, "score", "predicted", "label"}
    names = [name for name in COLUMNS if name != "day"]
    if form == "CSV":
        source = f"read_csv('{folder}/CSV/*.csv', all_varchar = true)"
        terms = [f'sum(CAST("{name}" AS DOUBLE))' if name in numeric else f'count("{name}")' for name in names]
    else:
        source = f"read_parquet('{folder}/{'Delta/*' if form == 'Delta' else 'Parquet'}/*.parquet')"
        terms = [f'sum("{name}")' if name in numeric else f'count("{name}")' for name in names]
    begin = cpu()
    with duckdb.connect() as connection:
        connection.execute("SET threads = 2")
        connection.execute(f"SELECT {', '.join(terms)} FROM {source}").fetchall()
    return cpu() - begin


def pages_of(form: str, folder: Path, url: str) -> Iterator[Any]:
    """A first pull of the log in one of its forms."""
    common = Common(connector=form.lower(), name="bench", component=("model",), folder=folder)
    if form == "Delta":
        return delta.fetch(delta.Config(common=common, path="Delta", **GIVEN), LONG)
    if form == "S3":
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in GIVEN.items()}
        source = s3.Config(common, bucket="ml-logs", prefix="log/", format="predictions", settings=settings,
                           endpoint=url, credentials="none", cache=folder / "copies")  # fmt: skip
        return s3.fetch(source, LONG)
    return predictions.fetch(predictions.Config(common=common, path=form, **GIVEN), LONG)


def pull(form: str, folder: Path, url: str) -> None:
    """Make a first pull, and print what it took."""
    peak = 0.0
    original = child.Child.close

    def close(self: child.Child) -> None:
        nonlocal peak
        if self._process is not None and self._process.poll() is None:
            peak = max(peak, most_memory(self._process.pid))
        original(self)

    child.Child.close = close  # type: ignore[method-assign]
    cells = counted = 0
    for page in pages_of(form, folder, url):
        for one in page.records:
            cells += len(one.columns["ts"]) if hasattr(one, "columns") else 0
            if hasattr(one, "columns") and one.kind == "ratio":
                total = [n for n, of in enumerate(one.series) if (of.signal, of.segment) == ("volume", "")]
                counted += int(one.columns["total"][np.isin(one.columns["series"], total)].sum())
        assert not [finding for finding in page.findings if finding.kind == "reject"], page.findings
    theirs = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = cpu() + theirs.ru_utime + theirs.ru_stime
    print(json.dumps({"cpu": took, "child": peak, "caller": most_memory(os.getpid()), "cells": cells, "rows": counted}))


def bucket(folder: Path) -> None:
    """Serve the Parquet files as a bucket, until somebody ends this process."""
    store = S3()
    for number, path in enumerate(sorted((folder / "Parquet").iterdir())):
        store.put(f"log/{path.name}", b"", NEW + 86_400 * number, etag=f"{number:032x}-2")

    def answer(asked: Asked) -> Answer:
        name = asked.path.rpartition("/")[2]
        if name.endswith(".parquet"):  # only what is asked for is in memory
            begin, _, end = asked.headers.get("range", "bytes=0-").removeprefix("bytes=").partition("-")
            with (folder / "Parquet" / name).open("rb") as opened:
                opened.seek(int(begin))
                data = opened.read(int(end) + 1 - int(begin) if end else -1)
            return Answer(data, 206 if end else 200)
        told = store.answer(asked)
        text = told.body
        for path in (folder / "Parquet").iterdir():
            head, found, rest = text.partition(f"<Key>log/{path.name}</Key>")
            text = head + found + rest.replace("<Size>0<", f"<Size>{path.stat().st_size}<", 1)
        return Answer(text, 200, told.headers)

    with serve(answer) as server:
        print(server.url, flush=True)
        sys.stdin.read()


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a bucket in a process of its own."""
    command = [sys.executable, "-m", "tests.benchmarks.rows", "--bucket", str(folder)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield server.stdout.readline().strip()
    finally:
        server.kill()
        server.communicate()


def measure(form: str, folder: Path, rows: int, rounds: int, url: str) -> None:
    """Print floor and pull of one form."""
    floors = statistics.median(floor(folder, form) for _ in range(rounds + 1))
    command = [sys.executable, "-m", "tests.benchmarks.rows", "--pull", form, "--folder", str(folder), "--url", url]
    told = []
    for _ in range(rounds):
        subprocess.run(["rm", "-rf", str(folder / "copies")], check=True)
        told.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    assert {one["rows"] for one in told} == {rows}, told
    took = statistics.median(one["cpu"] for one in told)
    caller, reader = (max(one[name] for one in told) for name in ("caller", "child"))
    print(f"{form:8} {rows:>11,} rows   scan {floors / rows * 1e6:5.2f} us/row   pull {took / rows * 1e6:5.2f} us/row"
          f"   {took / floors:4.1f}x   caller {caller:4.0f} MB   reader {reader:4.0f} MB", flush=True)  # fmt: skip


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", action="append", choices=FORMS)
    parser.add_argument("--pull", choices=FORMS)
    parser.add_argument("--bucket", type=Path)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url", default="")
    given = parser.parse_args()
    if given.pull:
        pull(given.pull, given.folder, given.url)
        return
    if given.bucket:
        bucket(given.bucket)
        return
    begin = time.monotonic()
    forms = tuple(given.only or FORMS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(folder, given.rows, forms)
        with serving(folder) as url:
            for form in forms:
                measure(form, folder, given.rows, given.rounds, url)
    print(f"took {time.monotonic() - begin:.0f} s; other work on this computer inflates times, less the ratios")


if __name__ == "__main__":
    main()
