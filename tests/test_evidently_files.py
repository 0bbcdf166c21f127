"""The evidently connector by files: reports, suites and workspaces of 0.4 to 0.7, with and without a time."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import evidently
from connectors._evidently import contents_of, head_of
from connectors._evidently_old import METHODS
from connectors._files import item
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Given, Pull, SourceRefused
from tandem.records import Fact, Ratio, Sample
from tandem.store.file import Store, open_store
from tests.evidently_pulls import NOW, PAYLOADS, T1, config, events, of, parsed, remarks, values
from tests.evidently_server import PROJECT


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "t.duckdb") as opened:
        yield opened


def test_every_file_is_recognised_by_this_connector_alone() -> None:
    expected = {"ui_projects.json": False, "ui_reports.json": False, "ui_data_series_batch.json": False,
                "metadata.json": False, "PROVENANCE.md": False}  # fmt: skip
    modules = [connect.load(name) for name in connect.names() if name != "evidently"]
    for path in sorted(one for one in PAYLOADS.rglob("*") if one.is_file()):
        one = item(path, Given())
        assert evidently.recognise(one) is expected.get(path.name, True), path
        assert not [module for module in modules if module.recognise(one)], path
    assert evidently.recognise(item(PAYLOADS / "workspace", Given()))
    assert evidently.recognise(item(PAYLOADS / "old_workspace", Given()))
    assert not evidently.recognise(
        item(PAYLOADS, Given()).child("data_drift__json.json").path.parent and item(PAYLOADS.parent / "mlflow", Given())
    )


def test_a_report_without_a_time_takes_the_files_and_counts_once(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "summary.json"
    shutil.copy(PAYLOADS / "data_summary__json.json", path)
    given = config()
    source = Source(given.common, connect.load("evidently"), given)
    for number, at in enumerate((T1, T1 + 7200)):  # as after a copy without its time
        os.utime(path, (at, at))
        outcome = collect.import_item(store, source, item(path, Given()), NOW + number)
        assert "the file says no time" in str(outcome.remarks)
    found = store.cursor().execute(
        "SELECT r.ts, sum(r.good), sum(r.total) FROM ratio r JOIN series s ON s.id = r.series "
        "WHERE s.signal = 'valid_rows' AND s.name = '' GROUP BY r.ts HAVING sum(r.total) > 0"
    ).fetchall()  # fmt: skip
    assert found == [(T1 + 7200, 277, 289)]
    pages = parsed(path, at=T1 + 60)
    assert {one.ts for one in of(pages, Sample)} == {T1 + 60}
    assert "no time" not in remarks(pages)


def test_a_workspace_is_read_as_it_grows(tmp_path: Path) -> None:
    """A file that is still being written is left for the next pull; what was read is not read again."""
    folder = tmp_path / "ws" / PROJECT / "snapshots"
    shutil.copytree(PAYLOADS / "workspace" / PROJECT, folder.parent)
    [_, second] = sorted(folder.iterdir())
    whole = second.read_bytes()
    second.write_bytes(whole[: len(whole) // 2])
    own = config(path=tmp_path / "ws", projects=("claim-*",))
    pages = list(evidently.fetch(own, Pull(0, NOW, NOW, first=True)))
    assert {one.ts for one in of(pages, Sample)} == {T1 + 3600}
    assert "perhaps cut off" in remarks(pages)
    second.write_bytes(whole)
    more = list(evidently.fetch(own, Pull(0, NOW, NOW, state=json.loads(json.dumps(pages[-1].state)))))
    assert {one.ts for one in of(more, Sample)} == {T1 + 3 * 3600}
    assert [(one.since, one.until) for one in more[-1].covered or ()] == [(T1 + 3600, T1 + 3 * 3600 + 300)]
    assert not of(list(evidently.fetch(own, Pull(0, NOW, NOW, state=more[-1].state))), Sample)
    assert not of(list(evidently.fetch(config(path=tmp_path, projects=("x",)), Pull(0, NOW, NOW))), Sample)


def test_the_forms_of_0_4_to_0_6_say_the_same(tmp_path: Path) -> None:
    """Report and snapshot of one run agree; the suite's rounded scores do not stand above the exact ones."""
    report, snapshot = parsed(PAYLOADS / "old_report.json"), parsed(PAYLOADS / "old_workspace")
    raw = {one["metric"]: one["result"] for one in json.loads((PAYLOADS / "old_report.json").read_text())["metrics"]}
    columns = raw["DataDriftTable"]["drift_by_columns"]
    assert len(columns) == 5
    for found in (values(report), values(snapshot)):
        for name, one in columns.items():
            head = f"drift[{name}] {one['stattest_name']} {METHODS[one['stattest_name']]}"
            assert (found[head], found[f"{head} verdict"]) == (one["drift_score"], float(one["drift_detected"]))
        assert found["f1"] == raw["ClassificationQualityMetric"]["current"]["f1"]
    assert {repr(one.value) for one in of(report, Fact)} == {repr(one.value) for one in of(snapshot, Fact)}
    [valid] = [one.value for one in of(report, Fact) if one.series == of(report, Fact)[-1].series]
    current = raw["DatasetMissingValuesMetric"]["current"]
    assert valid == Ratio(400 - current["number_of_rows_with_missing_values"], 400)
    assert [one.outcome for one in events(snapshot, "validation")] == ["bad"]
    suite = json.loads((PAYLOADS / "old_suite.json").read_text())
    assert suite["summary"]["failed_tests"] == int(dict(events(snapshot, "validation")[0].labels)["failed"])
    early = {"metrics": [{"id": "1", "metric_id": "ValueDrift(column=a, b,method=psi,threshold=0.1)", "value": 0.2}]}
    assert [one.said for one in contents_of(early).judgements.values()] == ["a, b (psi 0.2 >= 0.1)"]


@pytest.mark.parametrize("text", ['{"metrics": 3}', "[]", '{"metrics": [{"metric_name": "Accuracy()"', "{}"])
def test_what_is_no_report_is_refused_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(SourceRefused) as refused:
        parsed(path)
    assert re.fullmatch(r"x\.json .*\.", str(refused.value))


KEYS = (
    "metrics", "tests", "metric_results", "suite", "summary", "config", "type", "value", "values", "count",
    "counts", "share", "column", "method", "threshold", "metric", "result", "current", "current_matrix",
    "labels", "widget", "drift_by_columns", "params", "data", "metric_value_location", "timestamp", "tags",
    "metadata", "metric_name", "z", "x", "y", "status", "id", "mean", "std", "conf_matrix", "test_results",
    "parameters", "features",
)  # fmt: skip
WORDS = ("evidently:metric_v2:ValueDrift", "evidently:metric_v2:RowCount", "DataDriftTable", "heatmap", "psi", "FAIL",
         "evidently:metric_v2:MissingValueCount", "ClassificationConfusionMatrix", "GroupByMetric", "")  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=25,
)


@settings(max_examples=100, deadline=None)
@given(document=st.dictionaries(st.sampled_from(KEYS), ODD, min_size=1, max_size=6))
def test_whatever_stands_in_a_report_it_is_read_or_refused(document: Any) -> None:
    """Values of any kind in any place: nothing else than ValueError comes out, and only whole counts and numbers."""
    try:
        found = contents_of(document)
    except ValueError:
        return
    head_of(document)
    assert all(isinstance(one, float) and math.isfinite(one) for one in found.numbers.values())
    assert all(one.value is None or math.isfinite(one.value) for one in found.judgements.values())
    assert found.rows is None or found.rows >= 0
    assert all(isinstance(n, int) and n >= 0 for n in (found.confusion or {}).values())


def test_a_workspace_in_an_archive_is_read_where_it_lies(tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "ws"), "zip", PAYLOADS / "workspace"))
    pages, folder = parsed(archive), parsed(PAYLOADS / "workspace")
    assert {repr(one) for one in of(pages, Sample)} == {repr(one) for one in of(folder, Sample)}
    assert {dict(one.series.labels)["project"] for one in of(pages, Fact)} == {"claim-risk"}


def test_a_folder_of_saved_reports_is_one_source_of_files(store: Store, tmp_path: Path) -> None:
    """By `url = "file:DIR"` the reports of a folder are read together: what drifts in two of them begins once."""
    folder = tmp_path / "reports"
    folder.mkdir()
    for hour, name in enumerate(("data_drift__json.json", "drift_with_tests__json.json")):
        shutil.copy(PAYLOADS / name, folder / name)
        os.utime(folder / name, (T1 + hour * 3600, T1 + hour * 3600))
    given = config(url=f"file:{folder}")
    source = Source(given.common, connect.load("evidently"), given)
    for number in range(2):
        outcome = collect.pull(store, source, NOW + number)
        assert (outcome.error, outcome.rejected) == ("", 0)
    found = store.cursor().execute("SELECT kind, ts, outcome FROM event ORDER BY ts, kind").fetchall()
    assert found == [("drift", T1, "bad"), ("validation", T1 + 3600, "bad")]
