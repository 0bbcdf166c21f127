"""MLflow: counts of evaluations from artifacts and metrics, against scikit-learn and the rows themselves."""

from __future__ import annotations

import io
import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import classification_report, confusion_matrix

from connectors._mlflow_counts import USUAL, Columns, counted, prefix_of
from tandem import collect
from tandem import report as report_of
from tandem.config import load
from tandem.records import Confusion, Fact, Page, Ratio
from tandem.shown import Window
from tandem.store.file import open_store
from tests import mlflow_pulls
from tests.mlflow_pulls import DATABASE, FOREST, LOGREG, NOW, events, facts, findings, parsed, pull, samples, state
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server

WROTE = PAYLOADS / "evaluating"
START = 1795248200000
EVALUATION, MODEL = "e" * 32, "m-afb71bfe89e94a458d678e6e3a03c436"
TABLE = "*eval_results_table.json"
FOUR = {"true_negatives": 38, "false_positives": 1, "false_negatives": 18, "true_positives": 112}


def wrote(name: str) -> bytes:
    return (WROTE / name).read_bytes()


def rows_of(name: str, actual: str, predicted: str) -> Counter[tuple[str, str]]:
    told = json.loads(wrote(name))
    one, other = told["columns"].index(actual), told["columns"].index(predicted)
    return Counter((str(row[one]), str(row[other])) for row in told["data"])


def cells(found: list[Fact]) -> dict[tuple[str, str], int]:
    (fact,) = found
    assert isinstance(fact.value, Confusion)
    return dict(fact.value.cells)


def count(name: str, data: bytes, **more: Any) -> dict[tuple[str, str], int] | tuple[int, int] | list[str]:
    """What one file counts: cells, right ones and all, or why nothing."""
    found = counted([(name, data)], more.pop("latest", {}), Columns(**more), 1_000_000)
    one = next(iter(found.found.values()), None)
    return found.remarks if one is None else dict(one.cells) if one.cells else one.correct or []


HALVES = b"positive_class,true_negatives,false_positives,false_negatives,true_positives\na,0.5,1,1,1\n"


def saved(array: np.ndarray[Any, Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, np.array([[len]], dtype=object) if array.dtype == object else array, allow_pickle=True)
    return file.getvalue()


def header(shape: tuple[int, int]) -> bytes:
    """An array without its numbers."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": "<i8", "fortran_order": False, "shape": shape})
    return file.getvalue()


# The files


@pytest.mark.parametrize(
    ("name", "file", "actual", "predicted"),
    [
        ("eval_results_table.json", "binary_eval_results_table.json", "target", "outputs"),
        ("holdout_eval_results_table.json", "holdout_eval_results_table.json", "label", "predicted"),
        ("predictions.json", "predictions.json", "actual", "predicted"),
    ],
)
def test_rows_that_mlflow_wrote_are_counted(name: str, file: str, actual: str, predicted: str) -> None:
    assert count(name, wrote(file)) == rows_of(file, actual, predicted)


@pytest.mark.parametrize("file", ["confusion_matrix.json", "confusion_matrix.csv", "classification_report.json"])
def test_a_matrix_and_a_report_count_as_the_rows_they_are_of(file: str) -> None:
    assert count(file, wrote(file)) == rows_of("predictions.json", "actual", "predicted")


def test_an_array_counts_where_its_classes_are_set() -> None:
    data = wrote("confusion_matrix.npy")
    assert count("confusion_matrix.npy", data, classes=("0", "1")) == rows_of("predictions.json", "actual", "predicted")
    (said,) = count("confusion_matrix.npy", data)
    assert "set classes" in str(said)


def test_the_metrics_of_each_class_count_how_many_were_right() -> None:
    """The rows of the same evaluation lie in the table: three classes, and several tables of counts would fit."""
    rows = rows_of("holdout_eval_results_table.json", "label", "predicted")
    right = sum(n for (one, other), n in rows.items() if one == other)
    assert count("per_class_metrics.csv", wrote("per_class_metrics.csv")) == (right, sum(rows.values()))


@pytest.mark.parametrize("seed", range(4))
def test_the_metrics_of_each_class_give_the_table_where_only_one_fits(seed: int) -> None:
    random = np.random.default_rng(seed)
    actual = random.choice(["a", "b", "c"], 200)
    guess = np.where(random.random(200) < 0.1, "a", actual)
    table = confusion_matrix(actual, guess, labels=["a", "b", "c"])
    lines = ["positive_class,true_negatives,false_positives,false_negatives,true_positives"]
    for i, name in enumerate("abc"):
        tp, fn, fp = table[i, i], table[i].sum() - table[i, i], table[:, i].sum() - table[i, i]
        lines.append(f"{name},{200 - tp - fn - fp},{fp},{fn},{tp}")
    expected = {("abc"[i], "abc"[j]): int(table[i, j]) for i in range(3) for j in range(3) if table[i, j]}
    assert count("per_class_metrics.csv", "\n".join(lines).encode()) == expected


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("eval_results_table.json", b'{"columns": ["a"], "data": [[1]]}', "set actual and predicted"),
        ("eval_results_table.json", b'{"columns": ["actual", "predi', "cut off"),
        ("confusion_matrix.json", b'{"labels": [0, 1], "matrix": [[0.5, 0.5], [0.1, 0.9]]}', "shares"),
        ("confusion_matrix.json", b'{"labels": [0, 1], "matrix": [[1, 2, 3]]}', "wide"),
        ("confusion_matrix.csv", b"\xff\xfe\x00", "no sound table"),
        ("per_class_metrics.csv", HALVES, "whole numbers"),
        ("confusion_matrix.npy", saved(np.array([[object()]], dtype=object)), "no array of counts"),
        ("confusion_matrix.npy", header((99_999_999, 99_999_999)), "no array of counts"),
        ("confusion_matrix.npy", header((2, 2)), "no array of counts"),
        ("confusion_matrix.npy", b"PK\x03\x04", "no array of counts"),
        ("anything.json", b"[1, 2", "cut off"),
        ("anything.json", b'"text"', "no counts"),
    ],
)  # fmt: skip
def test_what_counts_nothing_says_why(name: str, data: bytes, said: str) -> None:
    assert said in str(count(name, data))


def test_rows_of_numbers_are_no_classes() -> None:
    rows = json.dumps({"columns": ["target", "outputs"], "data": [[1, 2], [2, 2]]}).encode()
    assert count("eval_results_table.json", rows) == {("1", "2"): 1, ("2", "2"): 1}
    assert "numbers" in str(count("eval_results_table.json", rows, latest={"mean_squared_error": 0.5}))
    floats = json.dumps({"columns": ["target", "outputs"], "data": [[1.5, 2.25]]}).encode()
    assert "numbers" in str(count("eval_results_table.json", floats))
    many = json.dumps({"columns": ["target", "outputs"], "data": [[f"text {n}", "x"] for n in range(200)]}).encode()
    assert "more than 100 classes" in str(count("eval_results_table.json", many))


def test_rows_without_a_class_are_left_out_and_said() -> None:
    data = json.dumps({"columns": ["actual", "predicted"], "data": [[1, 1], [None, 1], [1, ""], [0]]}).encode()
    found = counted([("predictions.json", data)], {}, Columns(), 1_000)
    assert dict(found.found[""].cells or {}) == {("1", "1"): 1}
    assert found.remarks == ["rows without an actual or a predicted class are left out"]


def test_one_evaluation_counts_once_by_what_says_most_of_it() -> None:
    """The report, the matrix and the rows are of one evaluation; the copy in a folder of its own is too."""
    rows = rows_of("predictions.json", "actual", "predicted")
    files = [("classification_report.json", wrote("classification_report.json")),
             ("evaluation/confusion_matrix.csv", wrote("confusion_matrix.csv")),
             ("predictions.json", wrote("predictions.json"))]  # fmt: skip
    for given in (files, files[::-1]):
        found = counted(given, dict(FOUR), Columns(), 1_000_000)
        assert {prefix: dict(one.cells or {}) for prefix, one in found.found.items()} == {"": dict(rows)}


def test_evaluations_of_other_data_count_by_themselves() -> None:
    binary, holdout = wrote("binary_eval_results_table.json"), wrote("holdout_eval_results_table.json")
    found = counted([("train_eval_results_table.json", binary), ("holdout_eval_results_table.json", holdout),
                     ("per_class_metrics.csv", wrote("per_class_metrics.csv"))], {}, Columns(), 1_000_000)  # fmt: skip
    assert {prefix: one.kind for prefix, one in found.found.items()} == {"train": "rows", "holdout": "rows"}


def test_what_contradicts_is_said() -> None:
    found = counted(
        [("predictions.json", wrote("predictions.json"))], {**FOUR, "true_positives": 111}, Columns(), 10**6
    )
    assert found.found[""].kind == "rows" and "count differently" in found.remarks[0]


@pytest.mark.parametrize(
    ("path", "prefix"),
    [
        ("eval_results_table.json", ""),
        ("holdout_eval_results_table.json", "holdout"),
        ("eval/test/confusion_matrix.npy", "eval/test"),
        ("eval/x_per_class_metrics.csv", "eval/x"),
        ("other.json", "other"),
    ],
)
def test_an_evaluation_is_called_by_what_stands_before_the_usual_name(path: str, prefix: str) -> None:
    assert prefix_of(path) == prefix


def test_four_metrics_count_two_classes() -> None:
    def four(latest: dict[str, float], *classes: str) -> dict[str, Any]:
        return {k: dict(v.cells or {}) for k, v in counted([], latest, Columns(classes=classes), 1).found.items()}

    named = {("negative", "negative"): 38, ("negative", "positive"): 1, ("positive", "negative"): 18,
             ("positive", "positive"): 112}  # fmt: skip
    assert four({**FOUR, "example_count": 169}) == {"": named}
    assert four({f"holdout_{key}": n for key, n in FOUR.items()}) == {"holdout": named}
    assert four(dict(FOUR), "0", "1")[""] == rows_of("binary_eval_results_table.json", "target", "outputs")
    assert four({**FOUR, "example_count": 500}) == {}, "weighted"
    assert four({**FOUR, "true_positives": 1.5}) == {}
    assert four({key: n for key, n in FOUR.items() if key != "false_positives"}) == {}


def test_a_report_that_scikit_learn_writes_today_is_counted() -> None:
    random = np.random.default_rng(5)
    actual = random.integers(0, 2, 300)
    guess = np.where(random.random(300) < 0.2, 1 - actual, actual)
    report = json.dumps(classification_report(actual, guess, output_dict=True)).encode()
    table = confusion_matrix(actual, guess)
    assert count("classification_report.json", report) == {
        (str(i), str(j)): int(table[i, j]) for i in range(2) for j in range(2)
    }


# From a server and a folder


@pytest.fixture
def evaluated(replay: Replay) -> Replay:
    replay.add_evaluation(EVALUATION, MODEL, START, {**FOUR, "example_count": 169, "accuracy_score": 0.8876})
    replay.put(EVALUATION, "eval_results_table.json", wrote("binary_eval_results_table.json"))
    replay.put(EVALUATION, "confusion_matrix.png", b"\x89PNG")
    return replay


def test_without_artifacts_no_file_is_asked_for(evaluated: Replay, server: Running) -> None:
    pages = pull(server)
    assert cells(facts(pages)) == {("negative", "negative"): 38, ("negative", "positive"): 1,
                                   ("positive", "negative"): 18, ("positive", "positive"): 112}  # fmt: skip
    assert not [path for path, _ in evaluated.asked if "artifacts" in path]


def test_an_evaluation_is_of_the_version_that_it_evaluated(evaluated: Replay, server: Running) -> None:
    pages = pull(server, artifacts=(TABLE,))
    (fact,) = facts(pages)
    assert cells([fact]) == rows_of("binary_eval_results_table.json", "target", "outputs")
    assert (fact.series.signal, fact.series.stage, fact.series.version) == ("outcome", "evaluation", "2")
    assert dict(fact.series.labels)["model"] == "claim-triage"
    assert fact.ts == (START // 1000 + 3) // 300 * 300
    asked = [(path, told.get("run_id")) for path, told in evaluated.asked if "artifacts" in path]
    assert asked.count(("/api/2.0/mlflow/artifacts/list", EVALUATION)) == 1
    downloads = [path for path, _ in asked if "mlflow-artifacts" in path]
    assert downloads == [f"/api/2.0/mlflow-artifacts/artifacts/2/{EVALUATION}/artifacts/eval_results_table.json"]
    assert {s.series.stage for s in samples(pages, run=EVALUATION)} == {"evaluation"}


def test_files_that_the_server_keeps_elsewhere_come_through_it(evaluated: Replay, server: Running) -> None:
    evaluated.runs[EVALUATION]["artifact_uri"] = "s3://bucket/2/evaluation"
    (fact,) = facts(pull(server, artifacts=(TABLE,)))
    assert cells([fact]) == rows_of("binary_eval_results_table.json", "target", "outputs")
    assert [asked["path"] for asked in evaluated.calls("/get-artifact")] == ["eval_results_table.json"]


def test_a_folder_is_listed_only_where_a_glob_leads_into_it(replay: Replay, server: Running) -> None:
    replay.put(FOREST, "evaluation/confusion_matrix.json", wrote("confusion_matrix.json"))
    replay.put(FOREST, "model/data/confusion_matrix.json", wrote("confusion_matrix.json"))
    pages = pull(server, artifacts=("evaluation/*confusion_matrix.json",))
    (fact,) = facts(pages)
    assert dict(fact.series.labels)["evaluation"] == "evaluation"
    listed = [asked.get("path", "") for asked in replay.calls("artifacts/list") if asked["run_id"] == FOREST]
    assert listed == ["", "evaluation"]


def test_a_large_artifact_is_not_downloaded_and_said(evaluated: Replay, server: Running) -> None:
    pages = pull(server, artifacts=(TABLE,), max_artifact=1_000)
    assert not [path for path, _ in evaluated.asked if "mlflow-artifacts" in path]
    assert [f.reason for f in findings(pages) if "larger than" in f.reason] == [
        "eval_results_table.json counts nothing: it is larger than 1,000 bytes (max_artifact)"
    ]
    assert ("negative", "negative") in cells(facts(pages)), "its metrics still count"


def test_more_files_than_are_read_are_said(evaluated: Replay, server: Running) -> None:
    for number in range(30):
        evaluated.put(EVALUATION, f"{number:02d}_eval_results_table.json", wrote("binary_eval_results_table.json"))
    pages = pull(server, artifacts=(TABLE,))
    assert len([path for path, _ in evaluated.asked if "mlflow-artifacts" in path]) == 20
    assert [f.reason for f in findings(pages) if "more than 20" in f.reason] == ["more than 20 artifacts of a run"]


def test_a_file_that_went_between_list_and_download_counts_nothing(evaluated: Replay, server: Running) -> None:
    def listed_only(path: str, asked: dict[str, Any]) -> Any:
        if "/mlflow-artifacts/" in path:
            evaluated.files.clear()

    evaluated.before = listed_only
    assert ("negative", "negative") in cells(facts(pull(server, artifacts=(TABLE,))))


def test_a_file_that_is_shorter_than_it_was_listed_is_asked_for_again(evaluated: Replay, server: Running) -> None:
    cut = iter([wrote("binary_eval_results_table.json")[:3_000]])
    evaluated.before = lambda path, asked: next(cut, None) if "/mlflow-artifacts/" in path else None
    found = facts(pull(server, artifacts=(TABLE,)))
    assert cells(found) == rows_of("binary_eval_results_table.json", "target", "outputs")
    assert len([path for path, _ in evaluated.asked if "/mlflow-artifacts/" in path]) == 2


def taken(pages: list[Page]) -> dict[str, str]:
    return {page.slice.name: page.slice.digest for page in pages if page.slice}


def test_a_second_pull_asks_for_no_artifact_of_an_unchanged_run(evaluated: Replay, server: Running) -> None:
    first = pull(server, artifacts=(TABLE,))
    evaluated.asked.clear()
    second = pull(server, NOW + 300, state(first), artifacts=(TABLE,), taken=taken(first).get)
    assert not facts(second) and not [path for path, _ in evaluated.asked if "artifacts" in path]


def test_an_evaluation_that_changes_replaces_what_it_counted(evaluated: Replay, server: Running) -> None:
    first = pull(server, artifacts=(TABLE,))
    told = json.loads(wrote("binary_eval_results_table.json"))
    told["data"] = told["data"][:50]
    evaluated.put(EVALUATION, "eval_results_table.json", json.dumps(told).encode())
    quiet = pull(server, NOW + 300, state(first), artifacts=(TABLE,), taken=taken(first).get)
    assert not facts(quiet), "an artifact has no time: nothing tells of its change"
    swept = pull(server, NOW + 600, state(quiet), artifacts=(TABLE,), taken=taken(first).get, sweep=True)
    assert sum(cells(facts(swept)).values()) == 50
    assert taken(swept).keys() == taken(first).keys() and taken(swept) != taken(first)
    again = pull(server, NOW + 900, state(swept), artifacts=(TABLE,), taken=taken(swept).get, sweep=True)
    assert not facts(again), "the same counts are told once"
    evaluated.files.clear()
    evaluated.metrics = [m for m in evaluated.metrics if m["run_uuid"] != EVALUATION]
    gone = pull(server, NOW + 1200, state(again), artifacts=(TABLE,), taken=taken(swept).get, sweep=True)
    assert not facts(gone) and taken(gone) == {f"evaluation:{EVALUATION}": "none"}


def test_a_running_evaluation_is_read_when_it_is_over(evaluated: Replay, server: Running) -> None:
    evaluated.runs[EVALUATION] |= {"status": "RUNNING", "end_time": None}
    first = pull(server, artifacts=(TABLE,))
    assert not evaluated.calls(f"{EVALUATION}/artifacts/eval_results_table.json")
    evaluated.runs[EVALUATION] |= {"status": "FINISHED", "end_time": START + 3_000}
    second = pull(server, NOW + 300, state(first), artifacts=(TABLE,), taken=taken(first).get)
    assert cells(facts(second)) == rows_of("binary_eval_results_table.json", "target", "outputs")


def test_a_folder_counts_the_same_without_being_asked(evaluated: Replay, server: Running, tmp_path: Path) -> None:
    evaluated.put(LOGREG, "confusion_matrix.json", wrote("confusion_matrix.json"))
    evaluated.write_folder(tmp_path)
    ours = {(f.series.version, repr(f.value)) for f in facts(parsed(tmp_path))}
    assert ours == {(f.series.version, repr(f.value)) for f in facts(pull(server, artifacts=USUAL))}
    assert len(ours) == 2
    assert not facts(parsed(DATABASE)), "a database holds no files"


def test_a_link_in_a_folder_of_artifacts_is_not_followed(evaluated: Replay, tmp_path: Path) -> None:
    evaluated.files.clear()
    evaluated.metrics = [m for m in evaluated.metrics if m["run_uuid"] != EVALUATION]
    root = tmp_path / "mlruns"
    evaluated.write_folder(root)
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "confusion_matrix.json").write_bytes(wrote("confusion_matrix.json"))
    (root / "2" / EVALUATION / "artifacts").symlink_to(secret)
    (root / "2" / LOGREG / "artifacts").mkdir()
    (root / "2" / LOGREG / "artifacts" / "confusion_matrix.json").symlink_to(secret / "confusion_matrix.json")
    assert not facts(parsed(root))


def test_of_classes_that_cannot_be_told_apart_the_right_ones_count(evaluated: Replay, server: Running) -> None:
    evaluated.put(FOREST, "per_class_metrics.csv", wrote("per_class_metrics.csv"))
    found = {f.series.signal: f.value for f in facts(pull(server, artifacts=("per_class_metrics.csv",)))}
    rows = rows_of("holdout_eval_results_table.json", "label", "predicted")
    assert found["correct"] == Ratio(sum(n for (one, other), n in rows.items() if one == other), 150)


def test_runs_that_evaluate_are_no_trainings(evaluated: Replay, server: Running) -> None:
    pages = pull(server)
    assert EVALUATION not in events(pages, "training") and EVALUATION in events(pages, "validation")


def test_what_evaluations_count_enters_no_objective_of_production(
    evaluated: Replay, server: Running, tmp_path: Path
) -> None:
    """The counts of evaluations are many and bad; those of production are not there at all."""
    evaluated.put(FOREST, "per_class_metrics.csv", wrote("per_class_metrics.csv"))
    (tmp_path / "tandem.toml").write_text(f"""
store = "tandem.duckdb"
[[component]]
name = "triage"
kind = "model"
[[objective]]
component = "triage"
signal = "accuracy"
target = 0.99
[[objective]]
component = "triage"
signal = "correct"
target = 0.99
[[source]]
connector = "mlflow"
name = "registry"
url = "{server.url}"
artifacts = ["*eval_results_table.json", "per_class_metrics.csv"]
component = "triage"
""")
    given = load(tmp_path / "tandem.toml")
    counts = rows_of("binary_eval_results_table.json", "target", "outputs")
    right = sum(n for (one, other), n in counts.items() if one == other)
    with open_store(given.store) as store:
        for now in (NOW, NOW + 300, NOW + 2 * 86_400):
            assert not collect.pull(store, given.sources[0], now).error
            context = SimpleNamespace(config=given, store=store)
            window = Window(NOW - 86_400, now)
            rows = report_of.show(context, "triage", window, now=now)["signals"]
            judged = [row["state"] for row in rows if row["objective"]]
            assert len(judged) >= 2 and set(judged) == {"unknown"}
            told = {row["signal"] for row in rows if row["total"]}
            assert not told & {"outcome", "correct", "accuracy"}, "nothing of production was measured"
            offline = report_of.show(context, "triage", window, stage="evaluation", now=now)["signals"]
            found = {row["signal"]: (row["good"], row["total"]) for row in offline if row["total"]}
            assert found["outcome"] == (right, sum(counts.values())), "and it is counted once, however often it is read"
            assert found["correct"][1] == 150
        told = json.loads(wrote("binary_eval_results_table.json"))
        told["data"] = told["data"][:50]
        evaluated.put(EVALUATION, "eval_results_table.json", json.dumps(told).encode())
        assert not collect.pull(store, given.sources[0], NOW + 4 * 86_400).error
        window = Window(NOW - 86_400, NOW + 4 * 86_400)
        changed = report_of.show(context, "triage", window, stage="evaluation", now=window.until)["signals"]
        assert [row["total"] for row in changed if row["signal"] == "outcome"] == [50], "in place of what it was"
