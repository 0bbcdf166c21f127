"""Columns of Delta tables: mapped, renamed, widened, beside the files, from another table; and how they changed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests import lakes
from tests.lakes import Lake
from tests.test_delta import FEW, counts, few, pulled, two_days
from tests.test_predictions import in_this_process

__all__ = ["in_this_process"]


# -- columns


@pytest.mark.parametrize("mode", ["name", "id"])
def test_mapped_columns_are_found_and_a_renamed_one_stays_one(tmp_path: Path, mode: str) -> None:
    rows = few(30)
    lake = Lake(tmp_path / "t", FEW, ["day"], minReaderVersion=2, minWriterVersion=5)
    numbers = {name: number for number, name in enumerate(FEW, 1)}
    told = {
        name: {"delta.columnMapping.id": n, "delta.columnMapping.physicalName": f"col-{n}"}
        for name, n in numbers.items()
    }
    held = {name: f"col-{n}" if mode == "name" else f"other-{n}" for name, n in numbers.items()}
    arrays, fields = [], []
    for name in ("id", "ts", "predicted"):  # no label: a column that came later
        fields.append(pa.field(held[name], lakes.TYPES[FEW[name]], metadata={"PARQUET:field_id": str(numbers[name])}))
        arrays.append(pa.array([row[name] for row in rows], fields[-1].type))
    pq.write_table(pa.table(arrays, pa.schema(fields)), lake.folder / "a.parquet")
    lake.by = ["day"]
    lake.commit({"protocol": lake.protocol}, lake.metadata(told, delta__columnMapping__mode=mode),
                lake.said("a.parquet", 30, {"col-5": "1"}))  # fmt: skip
    shelf = pulled(lake, segments=("day",), features=("day",))
    assert counts(shelf) == (0, 30)
    assert sum(v[1] for k, v in shelf.total().items() if k[0] == "volume" and k[3] == "day=1") == 30
    assert {key[1] for key in shelf.total() if key[0] == "feature"} == {"day"}
    lake.columns = {"key" if name == "id" else name: kind for name, kind in FEW.items()}
    renamed = {"key" if name == "id" else name: of for name, of in told.items()}
    lake.commit(lake.metadata(renamed, delta__columnMapping__mode=mode))
    assert counts(pulled(lake, shelf, id="key")) == (0, 30)
    assert [one.title for one in shelf.events.values()] == ["column id: named id became named key"]


def test_columns_that_come_go_and_widen_are_dated_by_their_commit(tmp_path: Path) -> None:
    lake, *_ = two_days(tmp_path / "t")
    lake.columns |= {"amount": "integer", "device": "string"}
    lake.commit(lake.metadata())
    shelf = pulled(lake)
    at = lakes.BEGIN // 1000
    lake.columns["amount"] = "long"
    del lake.columns["device"]
    lake.commit(lake.metadata())
    lake.commit(lake.metadata(delta__appendOnly="false"))  # the same columns
    for keep in (True, True, False):
        pulled(lake, shelf, keep=keep)
    told = sorted(
        (one.title, one.ts, one.ts_latest, dict(one.labels)["table_version"]) for one in shelf.events.values()
    )
    assert told == [
        ("column amount: appeared", at + 60, at + 60, "1"),
        ("column amount: integer became long", at + 120, at + 120, "2"),
        ("column device: appeared", at + 60, at + 60, "1"),
        ("column device: vanished", at + 120, at + 120, "2"),
    ]


def test_a_column_that_changed_in_a_log_that_is_gone_has_an_interval(tmp_path: Path) -> None:
    lake, one, two = two_days(tmp_path / "t")
    shelf = pulled(lake)
    lake.columns["amount"] = "double"
    lake.commit(lake.metadata()).commit(lake.add(few(5, "z"), day="1"))
    lake.checkpoint([one, two], clean=False)
    lake.log(f"{0:020}.json").unlink()
    lake.log(f"{1:020}.json").unlink()
    pulled(lake, shelf)
    (event,) = shelf.events.values()
    at = lakes.BEGIN // 1000
    assert (event.title, event.ts, event.ts_latest) == ("column amount: appeared", at, at + 120)


def test_values_beside_the_files_are_versions_segments_and_features(tmp_path: Path) -> None:
    columns = {**FEW, "country": "string", "weight": "double", "batch": "integer", "sure": "boolean"}
    lake = Lake(tmp_path / "t", columns, ["country", "weight", "batch", "sure"])
    rows = few(2500)
    lake.create(lake.add(rows[:1500], country="DE", weight=1.5, batch=3, sure="true"),
                lake.add(rows[1500:], name="null.parquet", country=None, weight="", batch=4, sure=None))  # fmt: skip
    shelf = pulled(lake, segments=("country",), features=("weight", "batch", "sure"))
    volume: Counter[str] = Counter()
    for key, values in shelf.total().items():
        volume[key[3]] += values[1] if key[0] == "volume" else 0
    assert volume == {"": 2500, "country=DE": 1500, "country=(missing)": 1000}
    missing = sum(v[1] for k, v in shelf.total().items() if k[:2] == ("valid_rows", "weight:missing") and k[3] == "")
    assert missing == 1000
    kinds = {name: shelf.layouts["model", "feature", name].kind for name in ("weight", "batch", "sure")}
    assert kinds == {"weight": "edges", "batch": "edges", "sure": "categories"}


def test_times_of_old_spark_and_without_zone(tmp_path: Path) -> None:
    rows = few(30)
    for name, kind in (("old", "timestamp"), ("local", "timestamp_ntz")):
        lake = Lake(tmp_path / name, {**FEW, "ts": kind}, minReaderVersion=3, readerFeatures=["timestampNtz"])
        naive = [{**row, "ts": row["ts"].replace(tzinfo=None)} for row in rows] if kind == "timestamp_ntz" else rows
        added = lake.add(naive, name="a.parquet")
        if name == "old":
            table = pq.read_table(lake.folder / "a.parquet")
            pq.write_table(table, lake.folder / "a.parquet", use_deprecated_int96_timestamps=True)
        lake.create(added)
        shelf = pulled(lake)
        assert counts(shelf) == ((0, 30) if name == "old" else (0, 0))
        if name == "local":
            assert "a time without offset; write the offset or set timezone" in shelf.findings[0].reason


def test_labels_may_be_another_table(tmp_path: Path) -> None:
    lake, *_ = two_days(tmp_path / "t")
    labels = Lake(tmp_path / "labels", {"id": "string", "label": "long"})
    labels.create(labels.add([{"id": f"p{n}", "label": 1} for n in range(12)]))
    shelf = pulled(lake, labels="labels")
    assert counts(shelf) == (12, 50)
    labels.commit(labels.add([{"id": f"q{n}", "label": 0} for n in range(20)]))
    assert counts(pulled(lake, shelf, labels="labels")) == (32, 50)
