"""Exports of Arize: predictions whose actuals come late, in the same window exported again."""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from connectors import arize
from connectors._files import item as item_at
from tandem import connect
from tandem.connect import Common, Given, Rule, SourceRefused
from tests.test_predictions import FAR, Shelf, in_this_process

__all__ = ["in_this_process"]

PAYLOADS = Path(__file__).parent / "payloads" / "arize"
BARE, AGAIN = "export_1_without_actuals.csv", "export_2_the_window_again.csv"


def config(folder: Path, common: dict[str, Any] | None = None, **given: Any) -> arize.Config:
    own = Common("arize", "exports", folder=folder, **({"component": ("fraud",)} | (common or {})))
    return arize.Config(**{"common": own, "path": "*", "model_id": "fraud-v", "task": "binary", **given})


def pulled(folder: Path, shelf: Shelf | None = None, keep: bool = True, **given: Any) -> Shelf:
    shelf = shelf or Shelf()
    return shelf.take(arize.fetch(config(folder, **given), shelf.pull(FAR, keep=keep)))


def rows_of(name: str) -> list[dict[str, str]]:
    with (PAYLOADS / name).open(newline="") as opened:
        return list(csv.DictReader(opened))


def cells(shelf: Shelf) -> Counter[tuple[str, str, str]]:
    """(version, actual, predicted) counts."""
    found: Counter[tuple[str, str, str]] = Counter()
    for key, values in shelf.total().items():
        if key[0] == "outcome" and key[3] == "":
            found[key[2], key[5], key[6]] += values[0]
    return found


def wanted(rows: list[dict[str, str]]) -> Counter[tuple[str, str, str]]:
    known = [row for row in rows if row.get("actual_label")]
    return Counter((row["model_version"], row["actual_label"], row["prediction_label"]) for row in known)


def volume(shelf: Shelf) -> int:
    return sum(values[1] for key, values in shelf.total().items() if key[0] == "volume" and key[3] == "")


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("name", ["export_0.csv", BARE, AGAIN])
def test_late_actuals_come_with_the_window_again(tmp_path: Path, keep: bool, name: str) -> None:
    """Under its own name, under another, and under one that sorts before: the end is the same."""
    shutil.copy(PAYLOADS / BARE, tmp_path / BARE)
    shelf = pulled(tmp_path)
    assert (volume(shelf), cells(shelf)) == (120, Counter())
    shutil.copy(PAYLOADS / AGAIN, tmp_path / name)
    pulled(tmp_path, shelf, keep)
    assert volume(shelf) == 120
    assert cells(shelf) == wanted(rows_of(AGAIN))
    assert cells(pulled(tmp_path)) == cells(shelf), "as if all had come at once"
    assert sum(cells(shelf).values()) == 90


def test_parquet_gives_the_same_and_tags_and_shap_values_are_no_features(tmp_path: Path) -> None:
    (tmp_path / "csv").mkdir()
    (tmp_path / "parquet").mkdir()
    shutil.copy(PAYLOADS / AGAIN, tmp_path / "csv")
    options = pacsv.ConvertOptions(strings_can_be_null=True, column_types={"model_version": pa.string()})
    pq.write_table(pacsv.read_csv(PAYLOADS / AGAIN, convert_options=options), tmp_path / "parquet" / "a.parquet")
    one, two = pulled(tmp_path / "csv"), pulled(tmp_path / "parquet")
    assert one.total() == two.total()
    assert {key[1] for key in one.total() if key[0] == "feature"} == {"amount", "country"}
    assert any(key[0] == "score" for key in one.total())


def test_a_regression_reads_scores(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(
        "prediction_id,prediction_ts,prediction_score,actual_score\na,1793491200,2.5,2.0\nb,1793491201,1.0,\n"
    )
    shelf = pulled(tmp_path, task="regression")
    [moments] = [values for key, values in shelf.total().items() if key[:2] == ("error", "absolute")]
    assert moments[0] == 1
    assert volume(shelf) == 2


def test_rows_of_another_model_or_of_training_are_left_out(tmp_path: Path) -> None:
    head = "prediction_id,prediction_ts,prediction_label,model_id,environment\n"
    (tmp_path / "good.csv").write_text(head + "a,1793491200,1,fraud-v,PRODUCTION\n")
    (tmp_path / "other.csv").write_text(head + "b,1793491200,1,claims,PRODUCTION\n")
    (tmp_path / "train.csv").write_text(head + "c,1793491200,1,fraud-v,TRAINING\n")
    shelf = pulled(tmp_path)
    assert volume(shelf) == 1
    assert sorted(one.reason for one in shelf.findings) == [
        'other.csv holds rows of other models than "fraud-v" ("claims"); export one alone.',
        'train.csv holds rows of other environments than "production" ("TRAINING"); export one alone.',
    ]


def test_the_model_is_found_by_its_name_in_arize(tmp_path: Path) -> None:
    shutil.copy(PAYLOADS / AGAIN, tmp_path)
    rules = (Rule(("claims",), {"model_id": "claims-*"}), Rule(("fraud",), {"model_id": "fraud-*"}, "staging"))
    made = config(tmp_path, {"component": (), "map": rules})
    assert {batch.series[0].component for batch in _batches(made)} == {"fraud"}
    found = config(tmp_path, {"component": (), "discover": True})
    assert {batch.series[0].component for batch in _batches(found)} == {"fraud-v"}
    with pytest.raises(SourceRefused, match=r"needs one component = .NAME., or a \[\[source.map\]\]"):
        list(arize.fetch(config(tmp_path, {"component": ()}), Shelf().pull(FAR)))


def _batches(made: arize.Config) -> list[Any]:
    return [one for page in arize.fetch(made, Shelf().pull(FAR)) for one in page.records if hasattr(one, "columns")]


def test_written_times_are_read_where_the_source_says_so(tmp_path: Path) -> None:
    head = "prediction_id,prediction_ts,prediction_label\n"
    (tmp_path / "a.csv").write_text(head + "a,2026-11-01T00:00:00Z,1\n")
    assert volume(pulled(tmp_path, time_unit="text")) == 1
    assert volume(pulled(tmp_path)) == 0


def test_a_column_that_is_not_there_is_said(tmp_path: Path) -> None:
    shutil.copy(PAYLOADS / AGAIN, tmp_path)
    shelf = pulled(tmp_path, version="release")
    assert [one.reason.partition(";")[0] for one in shelf.findings] == [f'{AGAIN} has no column "release"']


@pytest.mark.parametrize("name", [BARE, AGAIN])
def test_every_payload_is_recognised_by_nobody_else(name: str) -> None:
    told = item_at(PAYLOADS / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["arize"]


def test_import_takes_the_name_of_the_component(tmp_path: Path) -> None:
    told = item_at(PAYLOADS / AGAIN, Given())
    made = arize.configure(told, Common("arize", "import", component=("fraud",)))
    assert (made.task, made.model_id) == ("binary", "fraud")
    assert arize.belongs(told, made)
    assert cells(Shelf().take(arize.parse(told, made))) == wanted(rows_of(AGAIN))
    with pytest.raises(SourceRefused, match="import it with --component NAME"):
        arize.configure(told, Common("arize", "import"))
    shutil.copy(PAYLOADS / BARE, tmp_path)
    both = replace(config(tmp_path), path=BARE)
    shelf = Shelf().take(arize.parse_with(told, both, Shelf().pull(FAR)))
    assert volume(shelf) == 120, "an imported export joins those of its source"
