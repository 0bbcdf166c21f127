"""What tasks of Kubeflow Pipelines measured: metrics, counted matrices, validations; old and new API of artifacts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix

from tandem import collect
from tandem import report as report_of
from tandem.config import load
from tandem.records import Confusion
from tandem.shown import Window
from tandem.store.file import open_store
from tests.kubeflow_server import Kubeflow, matrix
from tests.replay import serve
from tests.test_kubeflow import NOW, again, configured, events, facts, paths, pulled, reasons, samples, state

CLASSES = ["ham", "spam", "other"]


@pytest.fixture
def server() -> Kubeflow:
    return Kubeflow()


@pytest.fixture
def url(server: Kubeflow) -> Iterator[str]:
    with serve(server.answer) as running:
        yield running.url


def judged(seed: int, n: int = 400) -> tuple[list[str], list[str]]:
    """Actual and predicted classes of n rows, about four in five right."""
    dice = np.random.default_rng(seed)
    actual = dice.choice(CLASSES, n, p=(0.5, 0.3, 0.2))
    predicted = np.where(dice.random(n) < 0.8, actual, dice.choice(CLASSES, n))
    return actual.tolist(), predicted.tolist()


def evaluated(server: Kubeflow, at: int, rows: tuple[list[str], list[str]], **more: Any) -> Any:
    """A run whose task writes the matrix that scikit-learn counts."""
    run = server.done(at - 500, lasted=600, **more)
    task = server.task(run, "evaluate", at - 60)
    counts = confusion_matrix(*rows, labels=CLASSES).tolist()
    server.artifact(task, "ClassificationMetric", "cm", at, metadata=matrix(CLASSES, counts))
    server.artifact(task, "Metric", "accuracy", at, "metrics", number_value=accuracy_score(*rows))
    return run


# -- metrics


def test_a_metric_is_a_sample_of_its_run_and_stage(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000, experiment=server.experiment(), pipeline=server.pipeline())
    train = server.task(run, "train", NOW - 8900)
    for name, value in (("loss", 0.25), ("val_accuracy", 0.9), ("zero", 0.0)):
        server.artifact(train, "Metric", name, NOW - 8800, "metrics", number_value=value, metadata={name: value})
    server.artifact(server.task(run, "evaluate", NOW - 8700), "Metric", "f1", NOW - 8600, "metrics", number_value=0.8)
    found = samples(pulled(configured(url)))
    assert {(s.series.name, s.value, s.series.stage, s.ts, s.run) for s in found} == {
        ("loss", 0.25, "training", NOW - 8800, run["run_id"]),
        ("val_accuracy", 0.9, "evaluation", NOW - 8800, run["run_id"]),
        ("zero", 0.0, "training", NOW - 8800, run["run_id"]),
        ("f1", 0.8, "evaluation", NOW - 8600, run["run_id"]),
    }  # fmt: skip
    assert dict(found[0].series.labels) == {
        "pipeline": "fraud-train", "experiment": "nightly", "namespace": "ml-team", "task": "train"}  # fmt: skip


def test_stages_are_a_choice(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000)
    for task, name in (("fit", "holdout-auc"), ("fit", "loss"), ("evaluate", "train-auc")):
        server.artifact(server.task(run, task, NOW - 8900), "Metric", name, NOW - 8800, number_value=0.5)
    own = configured(url, evaluation=("*/holdout-*", "evaluate/*"), training=())
    assert {s.series.name: s.series.stage for s in samples(pulled(own))} == {
        "holdout-auc": "evaluation", "loss": "training", "train-auc": "evaluation"}  # fmt: skip


def test_a_metric_that_is_no_finite_number_is_rejected(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000)
    task = server.task(run, "train", NOW - 8900)
    for name, value in (("a", "NaN"), ("b", "Infinity"), ("c", True), ("good", 1)):
        server.artifact(task, "Metric", name, NOW - 8800, number_value=value)
    pages = pulled(configured(url))
    assert [(s.series.name, s.value) for s in samples(pages)] == [("good", 1.0)]
    assert sorted(reasons(pages)) == [f'the metric "{name}" is no finite number' for name in "abc"]


def test_what_came_from_the_cache_belongs_to_the_run_that_made_it(server: Kubeflow, url: str) -> None:
    rows = judged(1)
    made = evaluated(server, NOW - 9000, rows)
    reusing = server.done(NOW - 5000)
    again_ = server.task(reusing, "evaluate", NOW - 4900, "CACHED")
    for group in server.tasks[made["run_id"]][0]["outputs"]["artifacts"]:
        for one in group["artifacts"]:
            server.linked(again_, one, group["artifact_key"])
    pages = pulled(configured(url))
    assert {s.run for s in samples(pages)} == {made["run_id"]}
    assert sum(sum(fact.value.cells.values()) for fact in facts(pages) if isinstance(fact.value, Confusion)) == 400


def test_a_task_that_holds_others_repeats_what_they_made_and_counts_nothing(server: Kubeflow, url: str) -> None:
    rows = judged(2)
    run = evaluated(server, NOW - 9000, rows)
    (inner,) = server.tasks[run["run_id"]]
    outer = server.task(run, "root", NOW - 9400, kind="ROOT")
    server.tasks[run["run_id"]].reverse()  # the outer one is listed first
    for group in inner["outputs"]["artifacts"]:
        for one in group["artifacts"]:
            server.linked(outer, one, group["artifact_key"])
    pages = pulled(configured(url))
    assert [dict(fact.series.labels)["task"] for fact in facts(pages)] == ["evaluate"]
    assert [dict(s.series.labels)["task"] for s in samples(pages)] == ["evaluate"]


# -- counted matrices


def test_a_matrix_is_what_scikit_learn_counted_its_rows_the_actual_classes(server: Kubeflow, url: str) -> None:
    actual, predicted = judged(3)
    evaluated(server, NOW - 9000, (actual, predicted))
    (fact,) = facts(pulled(configured(url)))
    assert isinstance(fact.value, Confusion)
    pairs = list(zip(actual, predicted, strict=True))
    assert fact.value.cells == {pair: pairs.count(pair) for pair in set(pairs)}
    assert (fact.series.signal, fact.series.stage, fact.ts) == ("outcome", "evaluation", (NOW - 9000) // 300 * 300)


def test_a_matrix_as_ml_metadata_wraps_it_and_with_counts_as_doubles(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000)
    bare = matrix(["a", "b"], [[5.0, 1.0], [2.0, 7.0]])
    wrapped = {"confusionMatrix": {"struct": bare["confusionMatrix"]}}
    server.artifact(server.task(run, "test", NOW - 8900), "ClassificationMetric", "cm", NOW - 8800, metadata=wrapped)
    (fact,) = facts(pulled(configured(url)))
    assert fact.value == Confusion({("a", "a"): 5, ("a", "b"): 1, ("b", "a"): 2, ("b", "b"): 7})


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (matrix(["a", "b"], [[0.9, 0.1], [0.2, 0.8]]), "holds no counts"),
        (matrix(["a", "b"], [[9, -1], [2, 8]]), "holds no counts"),
        (matrix(["a", "b"], [[9, 1, 0], [2, 8]]), "holds no counts"),
        (matrix(["a", "b"], [[9, 1]]), "other rows than classes"),
        (matrix(["a", "a"], [[9, 1], [2, 8]]), "other rows than classes"),
    ],
)
def test_a_matrix_that_holds_no_counts_is_left_out_and_named(
    server: Kubeflow, url: str, given: dict[str, Any], reason: str
) -> None:
    run = server.done(NOW - 9000)
    task = server.task(run, "evaluate", NOW - 8900)
    server.artifact(task, "ClassificationMetric", "cm", NOW - 8800, metadata=given)
    curve = {"confidenceMetrics": [{"confidenceThreshold": 0.5, "recall": 0.9, "falsePositiveRate": 0.1}]}
    server.artifact(task, "ClassificationMetric", "roc", NOW - 8800, metadata=curve)
    pages = pulled(configured(url))
    assert facts(pages) == []
    assert [said for said in reasons(pages) if reason in said] == list(reasons(pages))


def test_a_matrix_of_slices_counts_by_segment(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000)
    slices = [{"slice": name, "sliceClassificationMetrics": matrix(["a", "b"], rows)}
              for name, rows in (("new customers", [[5, 1], [0, 4]]), ("old", [[1, 0], [0, 1]]))]  # fmt: skip
    server.artifact(server.task(run, "evaluate", NOW - 8900), "SlicedClassificationMetric", "cm", NOW - 8800,
                    metadata={"evaluationSlices": slices})  # fmt: skip
    found = {fact.series.segment: fact.value for fact in facts(pulled(configured(url)))}
    assert found == {
        "slice=new customers": Confusion({("a", "a"): 5, ("a", "b"): 1, ("b", "b"): 4}),
        "slice=old": Confusion({("a", "a"): 1, ("b", "b"): 1}),
    }  # fmt: skip


def test_matrices_of_training_data_are_of_their_own_stage(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000)
    task = server.task(run, "fit", NOW - 8900)
    for name in ("train_cm", "test_cm"):
        given = matrix(["a", "b"], [[5, 1], [0, 4]])
        server.artifact(task, "ClassificationMetric", name, NOW - 8800, metadata=given)
    assert sorted((dict(f.series.labels)["metrics"], f.series.stage) for f in facts(pulled(configured(url)))) == [
        ("test_cm", "evaluation"), ("train_cm", "training")]  # fmt: skip


CONFIG = """
store = "tandem.duckdb"
[[component]]
name = "fraud"
kind = "model"
[[objective]]
component = "fraud"
signal = "outcome"
target = 0.9
[[source]]
connector = "kfp"
name = "pipelines"
url = "{url}"
component = "fraud"
"""


def test_evaluations_add_a_retried_one_replaces_itself_and_none_enters_an_objective_of_production(
    server: Kubeflow, url: str, tmp_path: Path
) -> None:
    first, second, better = judged(4), judged(5), judged(6, 300)
    at = NOW // 300 * 300 - 3000
    evaluated(server, at + 10, first)
    run = evaluated(server, at + 20, second)
    (tmp_path / "tandem.toml").write_text(CONFIG.format(url=url))
    given = load(tmp_path / "tandem.toml")

    def offline(now: int) -> tuple[int, int]:
        context = SimpleNamespace(config=given, store=store)
        shown = report_of.show(context, "fraud", Window(at - 86_400, now), stage="evaluation", now=now)["signals"]
        [row] = [row for row in shown if row["signal"] == "outcome" and row["total"]]
        return row["good"], row["total"]

    def right(*some: tuple[list[str], list[str]]) -> tuple[int, int]:
        pairs = [pair for actual, predicted in some for pair in zip(actual, predicted, strict=True)]
        return sum(a == b for a, b in pairs), len(pairs)

    with open_store(given.store) as store:
        assert not collect.pull(store, given.sources[0], NOW).error
        assert offline(NOW) == right(first, second)
        server.retry(run, NOW + 10)
        assert not collect.pull(store, given.sources[0], NOW + 300).error
        assert offline(NOW + 300) == right(first, second)  # nothing is taken back while it goes on
        server.tasks[run["run_id"]].clear()
        task = server.task(run, "evaluate", NOW + 300)
        counts = confusion_matrix(*better, labels=CLASSES).tolist()
        server.artifact(task, "ClassificationMetric", "cm", NOW + 360, metadata=matrix(CLASSES, counts))
        server.to(run, NOW + 400, "SUCCEEDED")
        for turn in (2, 3):
            assert not collect.pull(store, given.sources[0], NOW + 300 * turn).error
            assert offline(NOW + 300 * turn) == right(first, better)
        context = SimpleNamespace(config=given, store=store)
        rows = report_of.show(context, "fraud", Window(at - 86_400, NOW + 900), now=NOW + 900)["signals"]
        production = [row for row in rows if row["signal"] == "outcome"]
        assert not [row for row in production if row["total"]], "nothing of production was measured"
        assert [row["state"] for row in rows if row["objective"] and row["signal"] == "outcome"] == ["unknown"]


def test_counts_stay_while_a_run_is_retried_and_where_its_tasks_are_not_told(server: Kubeflow, url: str) -> None:
    run = evaluated(server, NOW - 9000, judged(9))
    config = configured(url)
    first = pulled(config)
    server.retry(run, NOW + 10)
    second = again(config, first, NOW + 300, sweep=True)
    assert [(e.attempt, e.outcome) for e in events(second)] == [(1, "good"), (2, "open")]
    server.to(run, NOW + 310, "SUCCEEDED")
    known = {page.slice.name: page.slice.digest for page in first if page.slice}
    server.tasks[run["run_id"]].clear()  # as of a run that is deleted between the list and its details
    third = again(config, second, NOW + 600, taken=known.get)
    assert [(e.attempt, e.outcome) for e in events(third)] == [(1, "good"), (2, "good")]
    assert [page for page in (*second, *third) if page.slice] == []


# -- validations


def test_a_validation_is_a_task_that_says_so_by_its_name(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000, "FAILED", pipeline=server.pipeline(source="https://x/commit/" + "b" * 40))
    states = {"validate-data": "SUCCEEDED", "model-validation": "FAILED", "validate-schema": "CACHED",
              "validate-late": "SKIPPED", "train": "FAILED", "validate-data-driver": "SUCCEEDED"}  # fmt: skip
    for number, (name, word) in enumerate(states.items()):
        server.task(run, name, NOW - 8900 + number, word)
    found = {dict(e.labels)["task"]: e for e in events(pulled(configured(url)), "validation")}
    assert {name: e.outcome for name, e in found.items()} == {
        "validate-data": "good", "model-validation": "bad", "validate-schema": "excluded", "validate-late": "excluded",
    }  # fmt: skip
    one = found["model-validation"]
    assert (one.run, one.commit, one.ts, one.ended) == (run["run_id"], "b" * 40, NOW - 8899, NOW - 8839)
    own = configured(url, validations=("train",))
    assert [e.outcome for e in events(pulled(own), "validation")] == ["bad"]


# -- the older APIs


def test_a_server_that_keeps_metrics_in_ml_metadata_says_so_and_tells_the_rest(server: Kubeflow, url: str) -> None:
    server.tells = "no"
    run = server.done(NOW - 9000, "FAILED")
    server.task(run, "validate-data", NOW - 8900, failed=2)
    server.artifact(server.task(run, "train", NOW - 8800), "Metric", "loss", NOW - 8700, number_value=1)
    config = configured(url)
    first = pulled(config)
    assert [(e.kind, e.attempt, e.outcome) for e in events(first)] == [
        ("training", 1, "bad"), ("validation", 3, "good")]  # fmt: skip
    assert samples(first) == []
    assert list(reasons(first)) == ["this server keeps metrics in ML Metadata, where its API does not tell them"]
    assert paths(server) == ["runs?created_at", "artifacts"]
    server.done(NOW + 10 - 700)
    second = again(config, first, NOW + 300)
    assert reasons(second) == {}  # it is asked again by the daily sweep
    assert paths(server, 2) == ["runs?created_at", "runs?finished_at"]


def test_a_validation_that_a_retry_replaced_goes_on_no_more(server: Kubeflow, url: str) -> None:
    server.tells = "no"
    run = server.to(server.run(NOW - 9000), NOW - 8990, "RUNNING")
    first_try = server.task(run, "validate-data", NOW - 8900, "RUNNING")
    config = configured(url)
    first = pulled(config)
    assert [(e.kind, e.outcome) for e in events(first)] == [("training", "open"), ("validation", "open")]
    server.tasks[run["run_id"]] = []
    server.task(run, "validate-data", NOW + 10)
    server.to(run, NOW + 90, "SUCCEEDED")
    second = again(config, first, NOW + 300)
    assert {e.key.rpartition("/")[2] == first_try["task_id"]: e.outcome for e in events(second, "validation")} == {
        True: "excluded", False: "good"}  # fmt: skip


def test_of_very_many_artifacts_the_rest_is_counted(server: Kubeflow, url: str) -> None:
    server.tells = "ids"
    task = server.task(server.done(NOW - 9000), "train", NOW - 8900)
    for number in range(103):
        server.artifact(task, "Metric", f"m{number}", NOW - 8800, number_value=number)
    pages = pulled(configured(url))
    assert len(samples(pages)) == 100
    assert reasons(pages) == {"a run made more than 100 artifacts; the others are not read": 3}


def test_artifacts_asked_for_by_their_ids_say_what_those_told_with_the_run_say(server: Kubeflow, url: str) -> None:
    run = evaluated(server, NOW - 9000, judged(7))
    server.artifact(server.task(run, "train", NOW - 9500), "Dataset", "clean", NOW - 9400, uri="s3://work/clean")
    new = pulled(configured(url))
    server.tells = "ids"
    before = len(server.asked)
    old = pulled(configured(url))
    assert paths(server, before) == ["runs?created_at", "artifacts", "runs/*", *3 * ["artifacts/*"]]
    assert samples(old) == samples(new)
    assert facts(old) == facts(new)
    assert len(facts(old)) == len(samples(old)) == 1
    assert dict(events(old)[0].labels)["output.1"] == "s3://work/clean"


def test_what_is_counted_is_told_before_it_is_remembered(server: Kubeflow, url: str) -> None:
    """A pull that breaks off between the two reads it again."""
    evaluated(server, NOW - 9000, judged(8))
    pages = pulled(configured(url))
    [counted] = [place for place, page in enumerate(pages) if page.slice]
    assert pages[counted].state is None
    assert state(pages)["known"]
    assert counted < min(place for place, page in enumerate(pages) if page.state is not None)
