"""DVC: metrics and plots in every form that they are kept in, and files that are broken or hostile."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tandem import collect, connect
from tandem.config import Source
from tandem.records import Confusion, Fact, Page, Ratio, Sample
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.pipelines import NOW, T0, begun, configured, pulled, put, said, told
from tests.repositories import Work

pytestmark = [pytest.mark.live, pytest.mark.skipif(not shutil.which("git"), reason="git is not installed")]


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return begun(tmp_path / "work")


def values(work: Work, **files: str) -> list[Page]:
    put(work, T0 + 500, "forms", **files)
    return pulled(configured(work.path), since=T0 + 400)


def test_metrics_in_every_form_and_counts_that_follow_from_them(work: Work) -> None:
    yaml = "metrics: [a.yaml, b.toml, 'm_${item}.json', whole.json, report.json]\n"
    row = {"precision": 1.0, "recall": 1.0, "f1-score": 1.0, "support": 2}
    report = {"a": row, "b": row, "accuracy": 1.0, "macro avg": {**row, "support": 4}}
    pages = values(work, dvc_DOT_yaml=yaml, a_DOT_yaml="auc: 0.75\n", b_DOT_toml="[deep]\nrmse = 2\n",
                   m_x_DOT_json='{"accuracy": 0.75, "n": 8, "bad": NaN}', whole_DOT_json="0.5",
                   report_DOT_json=json.dumps(report), other_DOT_json='{"accuracy": 1}')  # fmt: skip
    found = {(one.series.name, one.value) for one in told(pages, Sample)}
    assert {("auc", 0.75), ("deep.rmse", 2.0), ("accuracy", 0.75), ("whole", 0.5)} <= found
    assert not [name for name, _ in found if "support" in name or name in ("n", "bad")]
    assert {dict(one.series.labels)["file"] for one in told(pages, Sample)} == {
        "a.yaml", "b.toml", "m_x.json", "whole.json", "report.json",
    }  # fmt: skip
    facts = {one.series.signal: one.value for one in told(pages, Fact)}
    assert facts == {"correct": Ratio(6, 8), "outcome": Confusion({("a", "a"): 2, ("b", "b"): 2})}


@pytest.mark.parametrize(
    ("plot", "text", "expected"),
    [
        ("- p.csv: {template: confusion, x: truth, y: guess}", "truth,guess\nA,B\nA,A\n",
         {("A", "B"): 1, ("A", "A"): 1}),
        ("- p.csv: {template: confusion, x: predicted, y: truth}", "truth,predicted\nA,B\n", {("A", "B"): 1}),
        ("- all: {template: confusion_normalized, x: t, y: {p.csv: g}}", "t,g\nA,B\n,B\n", {("A", "B"): 1}),
        ("- p.csv", "actual,predicted\n1,1\n", {("1", "1"): 1}),
        ("- p.csv: {template: confusion, x: nothing, y: guess}", "truth,guess\nA,B\n", {}),
        ("- p.csv: {template: scatter, x: a, y: b}", "a,b\n1,2\n", {}),
    ],
)  # fmt: skip
def test_plots_of_classes(work: Work, plot: str, text: str, expected: dict[tuple[str, str], int]) -> None:
    pages = values(work, dvc_DOT_yaml=f"plots:\n{plot}\n", p_DOT_csv=text)
    assert [one.value for one in told(pages, Fact)] == ([Confusion(expected)] if expected else [])
    assert told(pages, Sample) == []


def test_plots_by_step(work: Work) -> None:
    yaml = "plots: [h.csv, {one.tsv: {x: it, y: [b]}}, {fpr.csv: {x: fpr, y: tpr}}]\n"
    pages = values(work, dvc_DOT_yaml=yaml, h_DOT_csv="epoch,loss,acc\n1,0.5,0.1\n2,nan,0.2\n",
                   one_DOT_tsv="it\ta\tb\n10\t1\t2\n", fpr_DOT_csv="fpr,tpr\n0.25,1\n")  # fmt: skip
    assert sorted((one.series.name, one.step, one.value) for one in told(pages, Sample)) == [
        ("h.acc", 1, 0.1), ("h.acc", 2, 0.2), ("h.loss", 1, 0.5), ("one.b", 10, 2.0),
    ]  # fmt: skip
    assert "h.csv holds values that are no finite number" in said(pages)


def test_broken_and_hostile_files_stay_data(work: Work, tmp_path: Path) -> None:
    hostile = "<script>'; DROP TABLE sample; --"
    put(work, T0 + 100, hostile, dvc_DOT_yaml="metrics: [m.json, cut.json, empty.json]\nstages: [1, {x: 2}]\n",
        m_DOT_json=json.dumps({hostile: 1.5}), cut_DOT_json='{"a": ', empty_DOT_json='{"a": "b"}',
        dvc_DOT_lock="<<<<<<< HEAD\nstages:\n=======\n", x_DOT_dvc="outs: 7\n")  # fmt: skip
    (work.path / "a\nb.json").write_text("{}")
    work.commit(T0 + 150)
    put(
        work,
        T0 + 200,
        "odd",
        dvc_DOT_lock="stages:\n  train:\n    deps: [1, {path: x}, {md5: 3, path: y}]\n    outs: x\n",
    )
    config = configured(work.path)
    with open_store(tmp_path / "t.duckdb") as store:
        outcome = collect.pull(store, Source(config.common, connect.load("dvc"), config), NOW)
        names = store.cursor().execute("SELECT DISTINCT name FROM series WHERE signal = 'sample'").fetchall()
        kinds = [one.kind for _, one in Reader(store).events(0, 1 << 40)]
    assert not outcome.error
    remarks = " | ".join(outcome.remarks)
    for words in ("dvc.lock is no YAML that can be read", "cut.json is passed over: it is cut off",
                  "empty.json is passed over: it holds no metric", "name holds a control character"):  # fmt: skip
        assert words in remarks
    assert names == [(hostile,)]
    assert kinds == ["training"]
