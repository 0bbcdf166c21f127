"""One log of predictions told by every source of rows: the same facts, bins and answers, whatever it lies in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import delta, predictions, s3
from tests import faults, faults_s3
from tests.faults_s3 import KEY
from tests.lakes import Lake
from tests.replay import serve
from tests.s3_server import NEW, S3
from tests.test_delta import COLUMNS, days
from tests.test_delta import config as table
from tests.test_predictions import FULL, Shelf, as_csv, as_json, config, in_this_process, log, reference, write

__all__ = ["in_this_process"]

GIVEN: dict[str, Any] = {**FULL, "features": ("amount", "age", "items", "card", "member", "day")}
Rows = list[dict[str, Any]]


@pytest.fixture(scope="module")
def rows() -> Rows:
    return [{**row, "day": str(row["ts"].date())} for row in log(2000, seed=4, span=3 * 86400)]


def files(folder: Path, rows: Rows, suffix: str) -> None:
    """A file per day."""
    folder.mkdir()
    for day, some in days(rows).items():
        path = folder / f"{day}.{suffix}"
        if suffix == "parquet":
            write(path, some)
        else:
            path.write_text(as_csv(some) if suffix == "csv" else as_json(some))


def from_files(suffix: str) -> Callable[[Path, Rows], Shelf]:
    def told(folder: Path, rows: Rows) -> Shelf:
        files(folder / "log", rows, suffix)
        shelf = Shelf()
        return shelf.take(predictions.fetch(config(folder / "log", path=f"*.{suffix}", **GIVEN), shelf.pull()))

    return told


def from_delta(folder: Path, rows: Rows) -> Shelf:
    lake = Lake(folder / "t", COLUMNS, ["day"])
    lake.create(*(lake.add(some, day=day) for day, some in days(rows).items()))
    shelf = Shelf()
    return shelf.take(delta.fetch(table(lake.folder, **GIVEN), shelf.pull()))


def from_delta_with_merge(folder: Path, rows: Rows) -> Shelf:
    """Predictions first; the labels of each day in a MERGE of its own, and an OPTIMIZE between."""
    lake = Lake(folder / "t", COLUMNS, ["day"])
    bare = [{**row, "label": None} for row in rows]
    added = {day: [lake.add(some[::2], day=day), lake.add(some[1::2], day=day)] for day, some in days(bare).items()}
    lake.create(*(one for pair in added.values() for one in pair))
    shelf, source = Shelf(), table(lake.folder, **GIVEN)
    for day, some in days(rows).items():
        shelf.take(delta.fetch(source, shelf.pull()))
        whole = lake.add([{**row, "label": None} for row in some], day=day, change=False)
        lake.commit(*(lake.remove(one, change=False) for one in added[day]), whole, operation="OPTIMIZE")
        lake.commit(lake.remove(whole), lake.add(some, day=day), operation="MERGE")
    return shelf.take(delta.fetch(source, shelf.pull()))


@contextmanager
def bucket_of(folder: Path) -> Iterator[str]:
    bucket = S3(key=KEY)
    for number, path in enumerate(sorted(one for one in folder.rglob("*") if one.is_file())):
        bucket.put(f"logs/fraud/{path.relative_to(folder).as_posix()}", path.read_bytes(), NEW + 60 * number)
    with serve(bucket.answer) as server:
        yield server.url


def from_s3(form: str, make: Callable[[Path, Rows], Shelf], below: str) -> Callable[[Path, Rows], Shelf]:
    def told(folder: Path, rows: Rows) -> Shelf:
        make(folder, rows)
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in GIVEN.items()}
        settings |= {"task": "binary", "id": "id", "time": "ts", "prediction": "predicted"}
        settings["segments"] = [one if isinstance(one, str) else list(one) for one in GIVEN["segments"]]
        with bucket_of(folder / below) as url:
            source = replace(
                faults_s3.config(url), prefix="logs/fraud/", format=form, settings=settings, cache=folder / "cache",
                common=replace(config(folder).common, connector="s3"),
            )  # fmt: skip
            shelf = Shelf()
            return shelf.take(s3.fetch(source, shelf.pull()))

    return told


SOURCES: dict[str, Callable[[Path, Rows], Shelf]] = {
    "CSV": from_files("csv"),
    "JSON Lines": from_files("jsonl"),
    "Delta": from_delta,
    "Delta, labels by MERGE": from_delta_with_merge,
    "S3, Parquet": from_s3("predictions", from_files("parquet"), "log"),
    "S3, CSV": from_s3("predictions", from_files("csv"), "log"),
    "S3, Delta": from_s3("delta", from_delta_with_merge, "t"),
}


@pytest.fixture(scope="module")
def parquet(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    return from_files("parquet")(tmp_path_factory.mktemp("parquet"), rows)


def test_parquet_gives_what_the_slow_reference_does(parquet: Shelf, rows: Rows) -> None:
    assert parquet.total() == reference(rows, parquet, list(GIVEN["features"]))


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_source_of_the_same_rows_says_the_same(
    name: str, parquet: Shelf, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TANDEM_TEST_ACCESS_KEY", KEY)
    monkeypatch.setenv(faults.TOKEN_ENV, faults.TOKEN)
    shelf = SOURCES[name](tmp_path, rows)
    assert not shelf.findings
    assert shelf.layouts == parquet.layouts
    assert shelf.total() == parquet.total()
    assert not shelf.events
