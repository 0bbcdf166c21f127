"""The sklearn connector: counts had back from reports, against scikit-learn's own confusion matrix; files and cards."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from connectors import sklearn as connector
from connectors._files import item
from connectors._model_card import number_of, table_of
from connectors._sklearn import counts, of_metrics, of_report
from tandem import collect, connect, exported
from tandem import report as report_of
from tandem.config import Source, load
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Confusion, Event, Fact, Page, Ratio, Sample
from tandem.shown import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.fakes import config as configuration

PAYLOADS = Path(__file__).parent / "payloads" / "sklearn"
NOW = 1_795_300_000


def config(path: Path | None = None, **more: Any) -> connector.Config:
    common = Common("sklearn", "evaluations", **{"component": ("fraud",), **more.pop("common", {})})
    return connector.Config(common, path=path, **more)


def parsed(path: Path, at: int | None = NOW, **more: Any) -> list[Page]:
    return list(connector.parse(item(path, Given(at=at)), config(**more)))


def told(pages: list[Page], kind: type) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def values(pages: list[Page]) -> dict[str, float]:
    return {one.series.name: one.value for one in told(pages, Sample)}


def write(path: Path, document: Any, when: int = NOW - 600) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    os.utime(path, (when, when))
    return path


def report(actual: Any, predicted: Any, **more: Any) -> dict[str, Any]:
    told_of: dict[str, Any] = classification_report(actual, predicted, output_dict=True, zero_division=0, **more)
    return told_of


def cells(actual: Any, predicted: Any, labels: list[Any]) -> dict[tuple[str, str], int]:
    matrix = confusion_matrix(actual, predicted, labels=labels)
    return {
        (str(a), str(b)): int(matrix[i, j]) for i, a in enumerate(labels) for j, b in enumerate(labels) if matrix[i, j]
    }


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def pulled(store: Store, given: connector.Config, now: int = NOW) -> collect.Outcome:
    outcome = collect.pull(store, Source(given.common, connect.load("sklearn"), given), now)
    assert not outcome.error, outcome.error
    return outcome


def counted(store: Store) -> tuple[int, int]:
    """Right ones and all, of every outcome in the store."""
    [row] = store.cursor().execute(
        "SELECT coalesce(sum(n) FILTER (actual = predicted), 0), coalesce(sum(n), 0) FROM confusion"
    ).fetchall()  # fmt: skip
    return int(row[0]), int(row[1])


# -- counts of a report


def test_the_captured_files() -> None:
    pages = parsed(PAYLOADS / "classification_report.json")
    [fact] = told(pages, Fact)
    assert fact.value == Confusion({("negative", "negative"): 72, ("negative", "positive"): 4,
                                    ("positive", "negative"): 1, ("positive", "positive"): 113})  # fmt: skip
    assert (fact.series.signal, fact.series.stage, fact.ts) == ("outcome", "evaluation", NOW // 300 * 300)
    assert values(pages)["macro avg f1-score"] == 0.9723989656875562
    [fact] = told(parsed(PAYLOADS / "metrics.json"), Fact)
    assert fact.value == Confusion({("0", "0"): 72, ("0", "1"): 4, ("1", "0"): 1, ("1", "1"): 113})
    subset = parsed(PAYLOADS / "classification_report_subset_labels.json")
    assert not told(subset, Fact)
    assert values(subset)["micro avg precision"] == 0.75
    assert "some of the classes" in said(subset)
    assert values(parsed(PAYLOADS / "model_card_README.md")) == {
        "accuracy": 0.9736842105263158,
        "f1": 0.9783549783549783,
    }
    for one in told(parsed(PAYLOADS / "classification_report.json"), Event):
        assert (one.kind, one.outcome) == ("validation", "excluded"), "nobody said what it has to reach"


@pytest.mark.filterwarnings("ignore:A single label was found")
def test_two_classes_are_had_back_as_scikit_learn_counts_them() -> None:
    chance = np.random.default_rng(1)
    for n in [1, 2, 3, 10, 57, 1000, 20_000]:
        for rate in (0.0, 0.02, 0.5, 1.0):
            actual = chance.integers(0, 2, n)
            predicted = np.where(chance.random(n) < rate, 1 - actual, actual)
            labels = sorted(set(actual) | set(predicted))
            assert of_report(report(actual, predicted)).cells == cells(actual, predicted, labels), (n, rate)


def tables(right: list[int], supports: list[int], taken: list[int | None]) -> int:
    """How many tables have these sums, by trying all."""
    size, found = len(right), 0
    places = [(i, j) for i in range(size) for j in range(size) if i != j]
    missed = [s - r for s, r in zip(supports, right, strict=True)]
    for guess in itertools.product(*(range(missed[i] + 1) for i, _ in places)):
        rows, columns = [0] * size, [0] * size
        for (i, j), n in zip(places, guess, strict=True):
            rows[i] += n
            columns[j] += n
        found += rows == missed and all(t is None or r + c == t for r, c, t in zip(right, columns, taken, strict=True))
    return found


def test_of_three_classes_a_table_is_told_where_it_is_the_only_one() -> None:
    chance = np.random.default_rng(2)
    exact = several = 0
    for _ in range(150):
        matrix = chance.integers(0, 3, (3, 3)) * (chance.random((3, 3)) < 0.6)
        actual = np.repeat(np.arange(3), matrix.sum(1))
        predicted = np.concatenate([np.repeat(np.arange(3), row) for row in matrix])
        if len(set(actual) | set(predicted)) < 3 or matrix.sum() == 0:
            continue
        found = of_report(report(actual, predicted))
        assert found.correct == (int(np.trace(matrix)), int(matrix.sum()))
        taken = [int(n) if matrix[i, i] else None for i, n in enumerate(matrix.sum(0))]
        fitting = tables([int(n) for n in np.diag(matrix)], [int(n) for n in matrix.sum(1)], taken)
        if found.cells is None:
            several += fitting > 1
            assert fitting > 1, f"{matrix} is the only table"
        else:
            exact += 1
            assert (fitting, found.cells) == (1, cells(actual, predicted, [0, 1, 2]))
    assert exact > 20
    assert several > 10


def test_of_several_tables_none_is_made_up_and_the_right_ones_are_counted(tmp_path: Path) -> None:
    actual = [0] * 10 + [1] * 10 + [2] * 10
    predicted = [0] * 6 + [1, 1, 2, 2] + [1] * 6 + [0, 0, 2, 2] + [2] * 6 + [0, 0, 1, 1]
    pages = parsed(write(tmp_path / "report.json", report(actual, predicted)))
    [fact] = told(pages, Fact)
    assert (fact.series.signal, fact.series.stage, fact.value) == ("correct", "evaluation", Ratio(18, 30))
    assert "what was taken for what does not follow" in said(pages)


def test_reports_that_do_not_add_up_count_no_classes() -> None:
    actual, predicted = [0, 0, 1, 1, 1], [0, 1, 1, 1, 0]
    weighted = of_report(report(actual, predicted, sample_weight=[0.3, 1, 2.5, 1, 1]))
    assert (weighted.cells, weighted.correct) == (None, None)
    hidden = of_report(
        report(["accuracy" if one else "b" for one in actual], ["accuracy" if one else "b" for one in predicted])
    )
    assert (hidden.cells, hidden.correct) == (None, (3, 5)), "a class that is named like a key of the report"
    average = of_report(
        report(["macro avg" if one else "b" for one in actual], ["macro avg" if one else "b" for one in predicted])
    )
    assert average.cells is None
    labels = np.array([[1, 0], [1, 1], [0, 1]])
    several = of_report(report(labels, labels))
    assert (several.cells, several.correct) == (None, None)
    assert several.values["samples avg precision"] == 1.0
    told_wrong = report(actual, predicted)
    told_wrong["0"]["recall"] = 1.0
    assert of_report(told_wrong).cells is None
    assert counts([3], [3], [3]).tolist() == [[3]]
    assert counts([1, 1], [2, 2], [5, 1]) is None


# -- files of metrics


def test_a_confusion_matrix_needs_its_labels() -> None:
    matrix = {"confusion_matrix": [[5, 1], [2, 7]], "roc_auc": 0.9}
    found = of_metrics(matrix, ())
    assert found.cells is None
    assert "set labels" in found.remarks[0]
    assert of_metrics(matrix, ("no", "yes")).cells == {
        ("no", "no"): 5,
        ("no", "yes"): 1,
        ("yes", "no"): 2,
        ("yes", "yes"): 7,
    }
    assert of_metrics({**matrix, "labels": [0.0, 1.0]}, ("no", "yes")).cells == {
        ("0", "0"): 5, ("0", "1"): 1, ("1", "0"): 2, ("1", "1"): 7}  # fmt: skip
    for wrong in ([[0.5, 0.5], [0.1, 0.9]], [[1, 2]], [[1, 2], [3]], "x"):
        assert of_metrics({"confusion_matrix": wrong}, ("no", "yes")).cells is None
    assert of_metrics({**matrix, "labels": [0, 0]}, ()).cells is None


def test_accuracy_with_a_number_of_rows_is_a_derived_ratio() -> None:
    assert of_metrics({"accuracy": 0.9106263, "n_samples": 1421}, ()).correct == (1294, 1421)
    assert of_metrics({"accuracy": float(np.float32(1294 / 1421)), "n_samples": 1421}, ()).correct == (1294, 1421)
    off = of_metrics({"accuracy": 0.9, "n_samples": 1421}, ())
    assert off.correct is None
    assert "no whole number" in off.remarks[0]
    assert of_metrics({"accuracy": 0.9}, ()).correct is None, "a number without its n stays a sample"
    assert of_metrics({"accuracy": 91.0, "n_samples": 100}, ()).correct is None
    nested = of_metrics({"test": {"f1": 0.5, "flag": True}, "names": ["a"], "n_samples": 7}, ())
    assert nested.values == {"test.f1": 0.5}
    embedded = of_metrics({"classification_report": report([0, 1, 1], [0, 1, 0]), "auc": 0.7}, ())
    assert embedded.cells == {("0", "0"): 1, ("1", "0"): 1, ("1", "1"): 1}
    assert embedded.values == {"auc": 0.7}


def test_what_a_validation_has_to_reach(tmp_path: Path) -> None:
    path = write(
        tmp_path / "metrics.json", {"accuracy": 0.93, "roc_auc": 0.8, "confusion_matrix": [[1]], "labels": ["a"]}
    )
    for bounds, outcome in (
        ({"accuracy": 0.9}, "good"),
        ({"accuracy": 0.9, "roc_auc": 0.85}, "bad"),
        ({"f1": 0.1}, "bad"),
    ):
        [event] = told(parsed(path, at_least=bounds, version="7"), Event)
        assert (event.outcome, event.version) == (outcome, "7")
    assert "f1 is not told, not 0.1" in event.title


# -- files over time


def test_a_file_counts_once_and_what_is_written_anew_is_another_evaluation(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "ev" / "v1" / "report.json"
    write(path, report([0, 0, 1, 1], [0, 1, 1, 1]))
    pulled(store, config(tmp_path / "ev"))
    assert counted(store) == (3, 4)
    os.utime(path, (NOW - 30, NOW - 30))
    pulled(store, config(tmp_path / "ev"), NOW + 300)
    assert counted(store) == (3, 4), "touched, but the same"
    write(path, report([0, 0, 1, 1, 1], [0, 0, 1, 1, 1]), NOW + 400)
    pulled(store, config(tmp_path / "ev"), NOW + 600)
    assert counted(store) == (8, 9)
    write(tmp_path / "ev" / "v2" / "report.json", path.read_text(), NOW + 700)
    pulled(store, config(tmp_path / "ev"), NOW + 900)
    assert counted(store) == (13, 14), "another version may score the same"
    path.unlink()
    pulled(store, config(tmp_path / "ev"), NOW + 1200)
    assert counted(store) == (13, 14)
    pulled(store, config(tmp_path / "ev", version="9"), NOW + 1500)
    series = [one.placed for one in Reader(store).series(component="fraud", signal="outcome")]
    assert "9" in {one.version for one in series}
    assert {one.stage for one in series} == {"evaluation"}, "never production's"
    write(tmp_path / "ev" / "later.json", report([0, 1], [0, 1]), NOW + 9000)
    pulled(store, config(tmp_path / "ev", version="9"), NOW + 1800)
    assert not [1 for one in store.cursor().execute("SELECT ts FROM confusion").fetchall() if one[0] > NOW + 1800]


def test_a_report_and_metrics_of_one_evaluation_count_once(store: Store, tmp_path: Path) -> None:
    for name in ("classification_report.json", "metrics.json", "model_card_README.md", "model.skops"):
        os.utime(shutil.copy(PAYLOADS / name, tmp_path), (NOW - 600, NOW - 600))
    outcome = pulled(store, config(tmp_path, version="7"))
    assert counted(store) == (185, 190)
    assert any("they count once" in one for one in outcome.remarks)
    pulled(store, config(tmp_path, version="7"), NOW + 300)
    assert counted(store) == (185, 190)
    events = [one for _, one in Reader(store).events(0, 1 << 40, components=["fraud"])]
    [release] = [one for one in events if one.kind == "release"]
    assert release.digest
    assert {one.digest for one in events if one.kind == "validation"} == {release.digest}, "evaluations of that model"
    assert dict(release.labels)["estimator"].endswith("LogisticRegression")


def test_import_by_the_command_line(store: Store, tmp_path: Path) -> None:
    shutil.copy(PAYLOADS / "classification_report.json", tmp_path)
    shutil.copy(PAYLOADS / "metrics.json", tmp_path)
    given = Given(component="fraud", at=NOW - 900)
    for _ in range(2):
        for found in exported.recognise([tmp_path], configuration(tmp_path), given, None):
            if found.source is not None and found.item is not None:
                assert not collect.import_item(store, found.source, found.item, NOW).error
    assert counted(store) == (185, 190)
    assert store.cursor().execute("SELECT DISTINCT ts FROM confusion").fetchall() == [((NOW - 900) // 300 * 300,)]


def test_an_archive_tells_its_evaluations_apart(tmp_path: Path) -> None:
    for version in ("v1", "v2"):
        write(tmp_path / "ev" / version / "report.json", report([0, 1], [0, 1]))
    packed = Path(shutil.make_archive(str(tmp_path / "ev"), "zip", tmp_path / "ev"))
    found = [one.item for one in exported.recognise([packed], configuration(tmp_path), Given(component="fraud"), None)]
    runs = {
        one.run for each in found if each is not None for one in told(list(connector.parse(each, config())), Sample)
    }
    assert runs == {"ev.zip/v1/report", "ev.zip/v2/report"}


# -- cards and models


def test_the_front_matter_of_a_card() -> None:
    pages = parsed(PAYLOADS / "model_card_front" / "README.md")
    assert values(pages) == {
        "invented claims test accuracy": 0.9321, "invented claims test F1 (macro)": 0.87,
        "invented claims test roc_auc": 0.96,
    }  # fmt: skip
    assert 'writes "± 0.01" behind a number' in said(pages)
    assert 'the metric "latency" of a card is no number' in said(pages)


@pytest.mark.parametrize(
    ("written", "number"),
    [("20.0 ± 1.2", 20.0), ("91%", 91.0), (0.5, 0.5), ("1e-3", 0.001), ("fast", None), (None, None), ([1], None),
     (True, None), ("1 2", None), ("0.5 +/- 0.1", 0.5)],
)  # fmt: skip
def test_numbers_as_people_write_them(written: Any, number: float | None) -> None:
    assert number_of(written)[0] == number


def test_tables_of_evaluation_results_end_with_their_section() -> None:
    table = "## Evaluation Results\n\n| Metric | Value |\n|:-:|:-:|\n| a | 1 |\n| b | x |\n"
    card = f"# Model description\n{table}# Next\n| c | 2 |\n"
    assert [(one.metric, one.value) for one in table_of(card)] == [("a", 1.0), ("b", None)]


def test_a_model_is_never_loaded(tmp_path: Path) -> None:
    pages = parsed(PAYLOADS / "model.skops")
    [event] = told(pages, Event)
    assert (event.kind, event.title, len(event.digest)) == ("release", "LogisticRegression", 64)
    assert dict(event.labels)["estimator"] == "sklearn.linear_model._logistic.LogisticRegression"
    with zipfile.ZipFile(tmp_path / "evil.skops", "w") as archive:
        archive.writestr("schema.json", '{"__class__": "system", "__module__": "os", "__loader__": "ReduceNode"}')
    with pytest.raises(SourceRefused, match="no model saved by skops"):
        parsed(tmp_path / "evil.skops")
    (tmp_path / "model.pkl").write_bytes(b"cos\nsystem\n(S'touch /tmp/owned'\ntR.")
    assert not connector.recognise(item(tmp_path / "model.pkl", Given()))
    found = list(connector.fetch(config(tmp_path), Pull(0, 1 << 40, 1 << 40)))
    assert not told(found, Event)


def test_every_payload_is_recognised_by_nobody_else() -> None:
    loaded = {name: connect.load(name) for name in connect.names()}
    for path in sorted(PAYLOADS.rglob("*")):
        if path.is_file() and path.name not in ("PROVENANCE.md", "classification_report.txt"):
            one = item(path, Given())
            assert [name for name, module in loaded.items() if module.recognise(one)] == ["sklearn"], path


@pytest.mark.parametrize("text", ["", "{}", '{"accuracy": 1}', "# Readme\n", "---\ntitle: x\n---\n", "[1]", "\x80"])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    assert not connector.recognise(item(write(tmp_path / "some", text), Given()))


def test_broken_files_and_names_from_outside(store: Store, tmp_path: Path) -> None:
    hostile = "<script>alert(1)</script>'; DROP TABLE sample; --\u202e"
    write(tmp_path / "ev" / "good report.json", report([hostile, "b"], [hostile, "b"]))
    write(tmp_path / "ev" / "report cut.json", '{"a": {"precision": 1.0, "recall"')
    write(tmp_path / "ev" / "metrics.json", '{"name": "x"}')
    write(tmp_path / "ev" / "README.md", "---\nlibrary_name: sklearn\nmodel-index: [\n---\n")
    write(tmp_path / "ev" / "package.json", '{"version": 3}')
    outcome = pulled(store, config(tmp_path / "ev"))
    assert counted(store) == (2, 2)
    assert store.cursor().execute("SELECT DISTINCT actual FROM confusion ORDER BY 1").fetchall() == [(hostile,), ("b",)]
    said_of = " | ".join(outcome.remarks)
    for words in ("report cut.json", "metrics.json holds no metric", "README.md is no YAML"):
        assert words in said_of
    assert "package.json" not in said_of
    with pytest.raises(SourceRefused, match="set path"):
        list(connector.fetch(config(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(connector.fetch(config(tmp_path / "nowhere"), Pull(0, NOW, NOW)))


def test_an_evaluation_enters_no_objective_of_production(tmp_path: Path) -> None:
    write(tmp_path / "ev" / "report.json", report([0] * 50 + [1] * 50, [0] * 50 + [1] * 50), NOW - 600)
    several = report([0] * 9 + [1] * 9 + [2] * 9, [0, 1, 2] * 9)
    write(tmp_path / "ev" / "several.json", several, NOW - 600)
    (tmp_path / "tandem.toml").write_text(f"""
store = "tandem.duckdb"
[[component]]
name = "fraud"
kind = "model"
[[objective]]
component = "fraud"
signal = "accuracy"
target = 0.9
[[objective]]
component = "fraud"
signal = "correct"
target = 0.9
[[source]]
connector = "sklearn"
name = "evaluations"
path = "{tmp_path / "ev"}"
component = "fraud"
""")
    given = load(tmp_path / "tandem.toml")
    with open_store(given.store) as store:
        assert not collect.pull(store, given.sources[0], NOW).error
        context = SimpleNamespace(config=given, store=store)
        rows = report_of.show(context, "fraud", Window(NOW - 86_400, NOW), now=NOW)["signals"]
        assert not [row for row in rows if row["total"]], "nothing of production was measured"
        assert [row["state"] for row in rows if row["objective"]] == ["unknown"] * 2
        offline = report_of.show(context, "fraud", Window(NOW - 86_400, NOW), stage="evaluation", now=NOW)["signals"]
        assert {row["signal"]: (row["good"], row["total"]) for row in offline if row["total"]} == {
            "outcome": (100, 100), "correct": (9, 27)}  # fmt: skip


# -- what a file of metrics states of itself


FIELDS = {"time": "evaluated_at", "run": "run_id", "version": "model.version", "commit": "git.commit"}
STATED = {
    "evaluated_at": "2026-11-08T04:50:00+01:00", "run_id": "0a1b", "model": {"version": 12},
    "git": {"commit": "c0ffee"}, "accuracy": 0.9, "n_samples": 10,
}  # fmt: skip


def test_a_file_that_says_when_it_was_and_of_what(tmp_path: Path) -> None:
    pages = parsed(write(tmp_path / "holdout.json", STATED), at=None, fields=FIELDS, at_least={"accuracy": 0.95})
    [event] = told(pages, Event)
    assert (event.ts, event.run, event.version, event.commit) == (1_794_109_800, "0a1b", "12", "c0ffee")
    assert (event.outcome, event.data_version, event.digest) == ("bad", "", "")
    [fact] = told(pages, Fact)
    assert (fact.series.version, fact.series.stage, fact.value) == ("12", "evaluation", Ratio(9, 10))
    [sample] = told(pages, Sample)
    assert (sample.series.name, sample.run, sample.ts) == ("accuracy", "0a1b", 1_794_109_800)
    assert "no file says when" not in said(pages)
    [given] = told(parsed(tmp_path / "holdout.json", fields=FIELDS), Event)
    assert given.ts == NOW, "--at wins"


def test_a_stated_time_that_is_none_leaves_the_time_of_the_file(tmp_path: Path) -> None:
    for wrong in ("yesterday", "0001-01-01T00:00:00Z", "2026-11-08T04:50:00"):
        path = write(tmp_path / "holdout.json", {**STATED, "evaluated_at": wrong})
        pages = parsed(path, at=None, fields=FIELDS)
        assert [one.ts for one in told(pages, Event)] == [NOW - 600], wrong
        assert "cannot be used" in said(pages)
    path = write(tmp_path / "holdout.json", {**STATED, "evaluated_at": "2026-11-08T04:50:00"})
    berlin = parsed(path, at=None, fields=FIELDS, common={"timezone": "Europe/Berlin"})
    assert [one.ts for one in told(berlin, Event)] == [1_794_109_800]


def test_an_evaluation_that_is_still_to_come_waits(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "metrics.json", STATED, when=1_794_000_000)
    pulled(store, config(tmp_path, fields=FIELDS), 1_794_109_800)
    assert counted(store) == (0, 0)
    kinds = store.cursor().execute("SELECT count(*) FROM event WHERE kind = 'validation'").fetchone()
    assert kinds == (0,)
    pulled(store, config(tmp_path, fields=FIELDS), 1_794_110_000)
    pulled(store, config(tmp_path, fields=FIELDS), 1_794_111_000)
    kinds = store.cursor().execute("SELECT count(*) FROM event WHERE kind = 'validation'").fetchone()
    assert kinds == (1,)


def test_a_field_that_nobody_knows_is_named(tmp_path: Path) -> None:
    write(tmp_path / "metrics.json", STATED)
    with pytest.raises(SourceRefused, match='fields knows no "when"'):
        list(connector.fetch(config(tmp_path, fields={"when": "evaluated_at"}), Pull(0, NOW, NOW)))
