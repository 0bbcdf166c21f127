"""MLflow, against what a real server 3.17.2 answered and wrote."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from connectors import _http, mlflow
from connectors._mlflow_folder import Folder
from tandem.connect import Pull, SourceRefused, load
from tandem.records import EVENT_KINDS, Finding
from tests import mlflow_pulls
from tests.mlflow_pulls import (
    DATABASE,
    LOGREG,
    NOW,
    SGD,
    config,
    events,
    findings,
    pull,
    samples,
)
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server


# The replay tells what the real server told


@pytest.mark.parametrize("name", ["runs_search_page1", "runs_search_page2"])
def test_the_replayed_server_answers_as_the_captured_one(replay: Replay, name: str) -> None:
    told = json.loads((PAYLOADS / f"{name}.json").read_text())
    _, answer = replay.answer("/api/2.0/mlflow/runs/search", told["_request"]["json"])
    captured = told["body"]["runs"]
    assert [run["info"] for run in answer["runs"]] == [run["info"] for run in captured]
    for ours, theirs in zip(answer["runs"], captured, strict=True):
        assert {k: sorted(map(str, v)) for k, v in ours["data"].items()} == {
            k: sorted(map(str, v)) for k, v in theirs["data"].items()
        }
    assert answer.get("next_page_token") == told["body"].get("next_page_token")


@pytest.mark.parametrize("name", ["metric_history_late", "metric_history_max", "metric_history_nan"])
def test_the_replayed_histories_are_the_captured_ones(replay: Replay, name: str) -> None:
    told = json.loads((PAYLOADS / f"{name}.json").read_text())
    assert replay.answer("/api/2.0/mlflow/metrics/get-history", told["_request"]["params"]) == (200, told["body"])


# What a pull gives


def test_runs_become_training_events(server: Running) -> None:
    runs = events(pull(server), "training")
    assert len(runs) == 9
    one = runs[SGD]
    assert (one.ts, one.started, one.ended, one.outcome) == (1795248092, 1795248092, 1795248110, "good")
    assert (one.run, one.version, one.data_version, one.actor, one.title) == (SGD, "3", "a8651205", "ci", "train-sgd")
    assert dict(one.labels) == {
        "experiment": "claim-triage",
        "input.1": "claims-train@a8651205",
        "model": "claim-triage",
        "run_name": "train-sgd",
        "param.algo": "sgd",
        "param.test_size": "0.3",
    }
    assert one.url == f"{server.url}/#/experiments/2/runs/{SGD}"
    assert {run.title: run.outcome for run in runs.values() if run.title == "train-broken"} == {"train-broken": "bad"}
    child = next(run for run in runs.values() if run.title == "child")
    assert dict(child.labels)["parent"] == next(run.key for run in runs.values() if run.title == "parent")


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("FINISHED", "good"), ("FAILED", "bad"), ("KILLED", "excluded"), ("RUNNING", "open"), ("SCHEDULED", "open")],
)
def test_every_status_has_an_outcome(replay: Replay, server: Running, status: str, outcome: str) -> None:
    replay.add_run("a" * 32, 1795248200000, status)
    pages = pull(server)
    assert events(pages, "training")["a" * 32].outcome == outcome
    assert not [f for f in findings(pages) if "status" in f.reason]


def test_an_unknown_status_is_left_out_and_said(replay: Replay, server: Running) -> None:
    replay.add_run("a" * 32, 1795248200000, "PAUSED")
    pages = pull(server)
    assert events(pages, "training")["a" * 32].outcome == "excluded"
    assert Finding("remark", 'unknown status "PAUSED", left out', f"run {'a' * 32}") in findings(pages)


def test_a_finished_state_beats_a_running_one_of_the_same_second(replay: Replay, server: Running) -> None:
    replay.add_run("a" * 32, 1795248200000, "RUNNING")
    running = events(pull(server), "training")["a" * 32]
    replay.runs["a" * 32] |= {"status": "FINISHED", "end_time": 1795248200900}
    finished = events(pull(server), "training")["a" * 32]
    assert finished.revision > running.revision
    assert running.ended is None and finished.ended == 1795248200


def test_commit_and_data_version_come_from_tags_where_there_is_no_data_set(replay: Replay, server: Running) -> None:
    replay.add_run("a" * 32, 1795248200000)
    replay.tags += [
        {"run_uuid": "a" * 32, "key": "mlflow.source.git.commit", "value": "c0ffee"},
        {"run_uuid": "a" * 32, "key": "data_version", "value": "2026-11"},
    ]
    replay.add_version("claim-risk", "2", "a" * 32, 1795248201000)
    pages = pull(server)
    for event in (events(pages, "training")["a" * 32], events(pages, "release")["claim-risk/2"]):
        assert (event.commit, event.data_version, event.version) == ("c0ffee", "2026-11", "2")


def test_versions_become_releases_with_what_they_were_made_of(server: Running) -> None:
    releases = events(pull(server), "release")
    assert sorted(releases) == ["claim-risk/1", "claim-triage/1", "claim-triage/2", "claim-triage/3"]
    third = releases["claim-triage/3"]
    assert (third.ts, third.revision, third.version, third.run) == (1795248109, 1795248113, "3", SGD)
    assert (third.data_version, third.outcome) == ("a8651205", "good")
    assert dict(third.labels) == {"model": "claim-triage", "stage": "Staging"}
    assert third.url == f"{server.url}/#/models/claim-triage/versions/3"


def test_histories_become_samples_of_their_stage(server: Running) -> None:
    pages = pull(server)
    told = json.loads((PAYLOADS / "metric_history_nomax.json").read_text())["body"]["metrics"]
    assert [(s.ts, s.value, s.step) for s in samples(pages, "val_accuracy", SGD)] == [
        (point["timestamp"] / 1000, point["value"], point["step"]) for point in told
    ]
    assert {(s.series.name, s.series.stage) for s in samples(pages, run=SGD)} == {
        ("val_accuracy", "evaluation"),
        ("val_log_loss", "evaluation"),
        ("accuracy", "training"),
        ("f1", "training"),
        ("roc_auc", "training"),
    }
    assert {s.series.version for s in samples(pages, run=SGD)} == {"3"}
    with sqlite3.connect(f"file:{DATABASE}?immutable=1", uri=True) as base:
        (count,) = base.execute("SELECT count(*) FROM metrics WHERE NOT is_nan AND value < 1e308").fetchone()
    assert len(samples(pages)) == count


@pytest.mark.parametrize(
    ("key", "stage"),
    [
        ("val_loss", "evaluation"),
        ("val/loss", "evaluation"),
        ("Validation.loss", "evaluation"),
        ("eval/holdout/f1", "evaluation"),
        ("test_accuracy", "evaluation"),
        ("value_at_risk", "training"),
        ("tested", "training"),
        ("train/val_ratio", "training"),
        ("loss", "training"),
    ],
)
def test_the_stage_of_a_metric_is_told_by_its_first_word(replay: Replay, server: Running, key: str, stage: str) -> None:
    replay.log(LOGREG, key, 0.5, 1795248040000)
    assert [s.series.stage for s in samples(pull(server), key)] == [stage]


def test_config_names_the_metrics_of_stage_evaluation(server: Running) -> None:
    asked = Pull(since=0, until=NOW, now=NOW, first=True)
    pages = list(mlflow.fetch(config(server.url, evaluation=("prod_*",)), asked))
    assert {s.series.name for s in samples(pages) if s.series.stage == "evaluation"} == {"prod_accuracy_30d"}


def test_no_finite_number_is_rejected_and_counted(server: Running) -> None:
    pages = pull(server)
    assert not samples(pages, "diverged") and not samples(pages, "grad_norm")
    said = [f for f in findings(pages) if f.kind == "reject"]
    assert [(f.where.partition('"')[2], f.count) for f in said] == [('diverged"', 1), ('grad_norm"', 1)]


@pytest.mark.parametrize("at", [0, 1_795_248_000, -1, 10**18])
def test_a_metric_without_a_time_is_rejected(replay: Replay, server: Running, at: int) -> None:
    replay.log(LOGREG, "odd", 0.5, at)
    pages = pull(server)
    assert not samples(pages, "odd")
    assert [f.reason for f in findings(pages) if "odd" in f.where] == ["a metric without a time"]


def test_filters_choose_models_experiments_and_metrics(server: Running) -> None:
    pages = pull(server, models=("claim-risk",), experiments=("claim-t*",), metrics=("f1",))
    assert set(events(pages, "release")) == {"claim-risk/1"} and not events(pages, "promotion")
    assert {dict(e.labels)["experiment"] for e in events(pages, "training").values()} == {"claim-triage"}
    assert {s.series.name for s in samples(pages)} == {"f1"}
    none = pull(server, models=("nothing",), experiments=("nothing",))
    assert [f.reason for f in findings(none)] == [
        "no experiment matches nothing",
        "no registered model matches nothing",
    ]


# The module as a connector


def test_scope_is_the_server_or_folder_and_its_filters(tmp_path: Path) -> None:
    assert mlflow.scope(config("HTTP://Example.com:5000/")) == mlflow.scope(config("http://example.com:5000"))
    assert mlflow.scope(config("http://h/a")) != mlflow.scope(config("http://h/b"))
    assert mlflow.scope(config("http://h", models=("a",))) == "http://h models=a"
    assert mlflow.scope(config(f"file:{tmp_path}")) == str(tmp_path)


def test_the_module_is_a_whole_connector() -> None:
    assert load("mlflow") is mlflow
    assert set(mlflow.ABOUT.events) <= set(EVENT_KINDS)
    assert mlflow.ABOUT.reads and mlflow.ABOUT.example and mlflow.ABOUT.files


def test_a_basic_token_is_sent_as_such(replay: Replay, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    real = _http.open_client

    def spy(*args: Any, **kwargs: Any) -> Any:
        seen.append(kwargs["token_prefix"])
        return real(*args, **kwargs)

    monkeypatch.setattr(mlflow, "open_client", spy)
    list(mlflow.fetch(config(server.url, auth="basic"), Pull(since=0, until=NOW, now=NOW)))
    assert seen == ["Basic "]


def test_a_source_without_a_url_is_said() -> None:
    with pytest.raises(SourceRefused, match="has no url"):
        pull("")


def test_an_empty_folder_object_reads_nothing(tmp_path: Path) -> None:
    assert Folder(tmp_path).runs() == [] and Folder(tmp_path).models() == []
