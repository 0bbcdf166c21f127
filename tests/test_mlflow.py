"""MLflow, against what a real server 3.17.2 answered and wrote."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, _http, mlflow
from connectors._mlflow_files import Folder, yaml_pairs
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused, load
from tandem.records import EVENT_KINDS, Event, Finding, Page, Sample
from tests.mlflow_replay import PAYLOADS, Replay, Running

LOGREG, FOREST, SGD = (
    "30117c8bafeb4b34806733e03d2dd2f3",
    "998b4dc702d447bebdc289d024453253",
    "54c9dbd1efee469f8ddedb36090b639a",
)
NOW = 1795250000
DATABASE = PAYLOADS / "mlflow_min.db"


@pytest.fixture
def replay() -> Replay:
    return Replay()


@pytest.fixture
def server(replay: Replay) -> Iterator[Running]:
    with Running(replay) as running:
        yield running


def config(url: str = "", **changes: Any) -> mlflow.Config:
    return mlflow.Config(Common("mlflow", "registry"), url=url, **changes)


def pull(server: Running | str, now: int = NOW, state: Any = None, **changes: Any) -> list[Page]:
    url = server if isinstance(server, str) else server.url
    own = {key: changes.pop(key) for key in ("models", "experiments", "metrics", "max_points") if key in changes}
    asked = Pull(since=now - 90 * 86400, until=now, now=now, state=state, **changes)
    return list(mlflow.fetch(config(url, **own), asked))


def parsed(path: Path, given: Given | None = None, **changes: Any) -> list[Page]:
    item = _files.item(path, given or Given())
    assert mlflow.recognise(item)
    return list(mlflow.parse(item, config(**changes)))


def events(pages: list[Page], kind: str) -> dict[str, Event]:
    return {r.key: r for page in pages for r in page.records if isinstance(r, Event) and r.kind == kind}


def samples(pages: list[Page], name: str = "", run: str = "") -> list[Sample]:
    found = [r for page in pages for r in page.records if isinstance(r, Sample)]
    return [s for s in found if name in ("", s.series.name) and run in ("", s.run)]


def findings(pages: list[Page]) -> list[Finding]:
    return [finding for page in pages for finding in page.findings]


def records(pages: list[Page], *, without: str = "") -> set[Any]:
    return {r for page in pages for r in page.records if not (isinstance(r, Event) and r.kind == without)}


def state(pages: list[Page]) -> Any:
    """The last state, as it comes back out of the store."""
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


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


# Aliases


def test_the_first_sight_of_an_alias_has_the_interval_since_its_version_was_made(server: Running) -> None:
    (seen,) = events(pull(server), "promotion").values()
    assert seen.key == "claim-triage@champion:2:1795248091"
    assert (seen.ts, seen.ts_latest, seen.version, seen.run) == (1795248091, NOW, "2", FOREST)
    assert dict(seen.labels) == {"model": "claim-triage", "alias": "champion"}


def test_a_move_lies_between_two_pulls(replay: Replay, server: Running) -> None:
    before = json.loads((PAYLOADS / "registered_model_get__before_alias_move.json").read_text())
    after = json.loads((PAYLOADS / "registered_model_get__after_alias_move.json").read_text())

    def aliases(told: Any) -> dict[str, str]:
        return {alias["alias"]: alias["version"] for alias in told["registered_model"]["aliases"]}

    replay.aliases["claim-triage"] = aliases(before)
    first = pull(server)
    replay.aliases["claim-triage"] = aliases(after)
    second = pull(server, NOW + 300, state(first))
    moves = events(second, "promotion")
    champion = moves[f"claim-triage@champion:2:{NOW}"]
    assert (champion.ts, champion.ts_latest, dict(champion.labels)["from"]) == (NOW, NOW + 300, "1")
    gone = moves[f"claim-triage@challenger::{NOW}"]
    assert (gone.version, dict(gone.labels)["removed"]) == ("", aliases(before)["challenger"])
    assert not events(pull(server, NOW + 600, state(second)), "promotion")


def test_a_move_back_is_an_event_of_its_own(replay: Replay, server: Running) -> None:
    pages = pull(server)
    keys = set(events(pages, "promotion"))
    for step, version in enumerate(("3", "2", "3"), 1):
        replay.aliases["claim-triage"]["champion"] = version
        pages = pull(server, NOW + 300 * step, state(pages))
        keys |= set(events(pages, "promotion"))
    assert len(keys) == 4


def test_a_promotion_seen_to_happen_is_the_same_event_when_the_state_is_lost(replay: Replay, server: Running) -> None:
    first = pull(server)
    replay.add_version("claim-triage", "4", SGD, (NOW + 100) * 1000)
    second = pull(server, NOW + 300, state(first))
    replay.aliases["claim-triage"]["champion"] = "4"
    (moved,) = events(pull(server, NOW + 600, state(second)), "promotion").values()
    assert (moved.ts, moved.ts_latest) == (NOW + 300, NOW + 600)
    (again,) = events(pull(server, NOW + 900), "promotion").values()
    assert again.key == moved.key and again.revision < moved.revision, "known better already"


def test_of_two_looks_at_one_promotion_the_tighter_interval_counts(server: Running, tmp_path: Path) -> None:
    exported = tmp_path / "mlflow.db"
    exported.write_bytes(DATABASE.read_bytes())
    os.utime(exported, (NOW - 600, NOW - 600))
    (imported,) = events(parsed(exported), "promotion").values()
    (pulled,) = events(pull(server), "promotion").values()
    assert imported.key == pulled.key
    assert imported.ts_latest == NOW - 600 and imported.revision > pulled.revision


def test_an_alias_of_a_version_made_between_two_requests_waits(replay: Replay, server: Running) -> None:
    first = pull(server)
    replay.aliases["claim-triage"]["champion"] = "4"
    second = pull(server, NOW + 300, state(first))
    assert not events(second, "promotion")
    replay.add_version("claim-triage", "4", SGD, (NOW + 200) * 1000)
    (moved,) = events(pull(server, NOW + 600, state(second)), "promotion").values()
    assert (moved.ts, moved.ts_latest, dict(moved.labels)["from"]) == (NOW + 300, NOW + 600, "2")


# What changes later


def test_pulling_twice_gives_equal_records(server: Running) -> None:
    assert records(pull(server, first=True)) == records(pull(server, first=True))


def test_a_second_pull_reads_no_unchanged_history(replay: Replay, server: Running) -> None:
    first = pull(server)
    replay.asked.clear()
    second = pull(server, NOW + 300, state(first))
    assert [path.rpartition("mlflow/")[2] for path, _ in replay.asked] == [
        "experiments/search",
        "registered-models/search",
        "model-versions/search",
        "runs/search",
        "runs/search",
    ]
    assert not samples(second)


def test_a_metric_logged_late_is_found_at_the_next_pull(replay: Replay, server: Running) -> None:
    first = pull(server)
    replay.asked.clear()
    replay.log(LOGREG, "prod_accuracy_30d", 0.87, (NOW + 100) * 1000, 31)
    second = pull(server, NOW + 300, state(first))
    assert {s.run for s in samples(second)} == {LOGREG}
    assert [s.value for s in samples(second, "prod_accuracy_30d")] == [0.88, 0.91, 0.87]
    assert {asked["run_id"] for asked in replay.calls("get-history")} == {LOGREG}


def test_a_late_metric_of_an_old_run_under_an_alias_is_found_at_once(replay: Replay, server: Running) -> None:
    later = NOW + 20 * 86400
    first = pull(server)
    replay.log(FOREST, "prod_accuracy_30d", 0.87, (later - 50) * 1000)
    replay.log(LOGREG, "prod_accuracy_30d", 0.80, (later - 50) * 1000, 40)
    recent = Pull(since=later - 300, until=later, now=later, state=state(first))
    second = list(mlflow.fetch(config(server.url), recent))
    assert {s.run for s in samples(second)} == {FOREST}
    swept = list(mlflow.fetch(config(server.url), replace(recent, state=state(second), sweep=True)))
    assert 0.80 in [s.value for s in samples(swept, "prod_accuracy_30d", LOGREG)]


def test_a_back_dated_metric_below_the_newest_is_found_by_the_sweep(replay: Replay, server: Running) -> None:
    first = pull(server)
    replay.log(LOGREG, "prod_accuracy_30d", 0.89, 1795161712000, 28)
    second = pull(server, NOW + 300, state(first))
    assert not samples(second)
    swept = pull(server, NOW + 600, state(second), sweep=True)
    assert 0.89 in [s.value for s in samples(swept, "prod_accuracy_30d", LOGREG)]


def test_a_run_last_seen_open_is_read_again_however_old(replay: Replay, server: Running) -> None:
    replay.add_run("a" * 32, 1795248200000, "RUNNING")
    first = pull(server)
    later = NOW + 20 * 86400
    replay.runs["a" * 32] |= {"status": "FAILED", "end_time": (later - 60) * 1000}
    still_open = tuple(e for e in events(first, "training").values() if e.outcome == "open")
    asked = Pull(since=later - 300, until=later, now=later, state=state(first), open=still_open)
    assert events(list(mlflow.fetch(config(server.url), asked)), "training")["a" * 32].outcome == "bad"


def test_a_version_registered_later_names_its_old_run_again(replay: Replay, server: Running) -> None:
    first = pull(server)
    later = NOW + 20 * 86400
    failed = "e46052547d8b446eba870b2959aba1eb"
    replay.add_version("claim-triage", "4", failed, (later - 100) * 1000)
    asked = Pull(since=later - 300, until=later, now=later, state=state(first))
    pages = list(mlflow.fetch(config(server.url), asked))
    assert events(pages, "training")[failed].version == "4"
    assert {s.series.version for s in samples(pages, run=failed)} == {"4"}
    assert list(events(pages, "release")) == ["claim-triage/4"]


def test_nothing_at_or_after_until_is_told_and_all_of_it_later(replay: Replay, server: Running) -> None:
    until = 1795248092
    first = list(mlflow.fetch(config(server.url), Pull(since=0, until=until, now=until, first=True)))
    assert max(r.ts for r in records(first)) < until
    cut = events(first, "training")[FOREST]
    assert (cut.outcome, cut.ended) == ("open", None)
    asked = Pull(since=until - 300, until=NOW, now=NOW, state=state(first), open=(cut,))
    second = list(mlflow.fetch(config(server.url), asked))
    assert records(first, without="promotion") | records(second, without="promotion") >= records(
        pull(server), without="promotion"
    )
    assert events(second, "training")[FOREST].revision > cut.revision


# Paging


def test_every_page_size_gives_the_same(replay: Replay, server: Running) -> None:
    whole = records(pull(server))
    for cap in (1, 2, 3, 5):
        replay.cap = cap
        assert records(pull(server)) == whole


def test_runs_of_one_millisecond_are_paged_by_token(replay: Replay, server: Running) -> None:
    for number in range(7):
        replay.add_run(f"{number:032d}", 1795248200000)
    replay.cap = 3
    assert len(events(pull(server), "training")) == 16


def test_a_run_deleted_between_two_pages_hides_no_other(replay: Replay, server: Running) -> None:
    replay.cap = 3
    oldest = min(replay.runs.values(), key=lambda run: run["start_time"])

    def delete(path: str, asked: dict[str, Any]) -> None:
        if len([1 for call in replay.calls("runs/search") if "start_time" in call["filter"]]) == 2:
            oldest["lifecycle_stage"] = "deleted"

    replay.before = delete
    assert len(events(pull(server), "training")) == 9


@pytest.mark.parametrize("name", ["experiments/search", "registered-models/search", "get-history", "runs/search"])
def test_a_page_that_comes_again_and_again_is_no_endless_loop(replay: Replay, server: Running, name: str) -> None:
    def stuck(path: str, asked: dict[str, Any]) -> Any:
        if not path.endswith(name):
            return None
        replay.before, asked = (lambda path, asked: None), dict(asked)
        _, told = replay.answer(path, asked)
        replay.before = stuck
        return {**told, "next_page_token": "eyJvZmZzZXQiOiAxfQ=="}

    replay.before = stuck
    with pytest.raises(SourceDown, match="again and again"):
        pull(server)


def test_every_request_says_how_much_it_takes(replay: Replay, server: Running) -> None:
    pull(server)
    assert all("max_results" in asked for _, asked in replay.asked)


def test_a_history_that_lacks_its_newest_point_is_read_again(replay: Replay, server: Running) -> None:
    replay.before = lambda path, asked: {} if path.endswith("get-history") and asked["metric_key"] == "f1" else None
    first = pull(server)
    assert any("lacks its newest point" in f.reason for f in findings(first))
    assert len(samples(first, "f1", FOREST)) == 1
    replay.before = lambda path, asked: None
    assert samples(pull(server, NOW + 300, state(first)), "f1", FOREST)


def test_a_very_long_history_is_cut_and_said(replay: Replay, server: Running, tmp_path: Path) -> None:
    replay.write_folder(tmp_path)
    for pages in (pull(server, max_points=5), parsed(DATABASE, max_points=5), parsed(tmp_path, max_points=5)):
        assert len(samples(pages, "val_accuracy", SGD)) == 5
        assert [f.where for f in findings(pages) if "max_points" in f.reason and "accuracy" in f.where] == [
            f'run {SGD}, metric "val_accuracy"'
        ]


def test_a_pull_that_was_killed_goes_on_from_any_page(replay: Replay, server: Running) -> None:
    replay.cap = 2
    pages = pull(server, first=True)
    whole = records(pages)
    assert len(pages) > 4
    for number in range(1, len(pages)):
        known = state(pages[:number])
        rest = pull(server, NOW + 300, known)
        again = {r for r in records(rest) if not (isinstance(r, Event) and r.kind == "promotion")}
        assert records(pages[:number]) | again == whole


def test_an_answer_that_is_not_mlflows_is_said(replay: Replay, server: Running) -> None:
    replay.before = lambda path, asked: [1, 2]
    with pytest.raises(SourceDown, match="check that the url is that of an MLflow server"):
        pull(server)


def test_a_login_page_is_refused(replay: Replay, server: Running) -> None:
    replay.before = lambda path, asked: "<!doctype html><html><form>"
    with pytest.raises(SourceRefused, match="login page"):
        pull(server)


def test_a_wrong_address_is_refused(server: Running) -> None:
    with pytest.raises(SourceRefused, match="404; check the url"):
        pull(server.url + "/somewhere")


@pytest.mark.parametrize("broken", [{}, {"info": 3}, {"info": {"run_id": "x"}}, {"data": {"metrics": "x"}}])
def test_a_broken_run_is_rejected_and_the_rest_lands(replay: Replay, server: Running, broken: Any) -> None:
    def spoiled(path: str, asked: dict[str, Any]) -> Any:
        if not path.endswith("runs/search") or "IN" in asked["filter"]:
            return None
        return {"runs": [broken, replay.run(replay.runs[SGD])]}

    replay.before = spoiled
    pages = pull(server)
    assert SGD in events(pages, "training")
    assert broken.get("info") == {"run_id": "x"} or any("without an id" in f.reason for f in findings(pages))


def test_the_state_of_many_runs_stays_below_a_megabyte() -> None:
    many = mlflow._State(NOW, NOW, {}, frozenset(), {f"{n:032d}": "0" * 12 for n in range(50_000)}).json()
    assert len(json.dumps(many)) < 2**20
    assert f"{49_999:032d}" in many["runs"]


# Files


def test_a_database_gives_what_the_server_gives(server: Running) -> None:
    pages = parsed(DATABASE, url=server.url)
    assert records(pages, without="promotion") == records(pull(server), without="promotion")


def test_a_folder_gives_what_the_server_gives(replay: Replay, server: Running, tmp_path: Path) -> None:
    replay.write_folder(tmp_path / "mlruns")
    pages = parsed(tmp_path / "mlruns", url=server.url)
    assert records(pages, without="promotion") == records(pull(server), without="promotion")
    assert records(pages) == records(parsed(tmp_path, url=server.url))


def test_the_file_store_of_the_real_program_is_read(tmp_path: Path) -> None:
    with tarfile.open(PAYLOADS / "mlruns_filestore.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    pages = parsed(tmp_path / "mlruns")
    (run,) = events(pages, "training").values()
    assert (run.outcome, run.version, run.title, run.ts) == ("good", "1", "r1", 1795248228)
    assert dict(run.labels) == {"experiment": "demo", "model": "demo-model", "param.lr": "0.1", "run_name": "r1"}
    assert [(s.value, s.step, s.ts) for s in samples(pages)] == [
        (0.8, 0, 1795248228.806),
        (0.8200000000000001, 1, 1795248228.807),
        (0.8400000000000001, 2, 1795248228.807),
        (0.8600000000000001, 3, 1795248228.808),
        (0.88, 4, 1795248228.809),
    ]
    (seen,) = events(pages, "promotion").values()
    # The file store says when the model was last touched, and moving an alias touches it.
    assert (seen.key, seen.ts_latest) == ("demo-model@champion:1:1795248228", 1795248229)
    assert [f.where for f in findings(pages)] == [f'run {run.key}, metric "nanm"']


def test_keys_with_slashes_and_what_was_deleted(replay: Replay, tmp_path: Path) -> None:
    replay.log(LOGREG, "val/deep/er", 0.5, 1795248040000)
    replay.runs[FOREST]["lifecycle_stage"] = "deleted"
    replay.experiments[1]["lifecycle_stage"] = "deleted"
    replay.write_folder(tmp_path)
    (tmp_path / "2" / "models" / "m-1").mkdir(parents=True)
    (tmp_path / "2" / "models" / "m-1" / "meta.yaml").write_text("model_id: m-1\n")
    (tmp_path / ".trash").mkdir()
    (tmp_path / "1").rename(tmp_path / ".trash" / "1")
    pages = parsed(tmp_path)
    assert [s.series.stage for s in samples(pages, "val/deep/er")] == ["evaluation"]
    assert FOREST not in events(pages, "training")
    assert {dict(e.labels)["experiment"] for e in events(pages, "training").values()} == {"claim-triage"}


def test_links_out_of_the_folder_are_not_followed(replay: Replay, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1795248040000 0.5 0\n")
    replay.write_folder(tmp_path / "mlruns")
    place = tmp_path / "mlruns" / "2" / LOGREG
    (place / "metrics" / "stolen").symlink_to(tmp_path / "secret")
    (place / "params" / "stolen").symlink_to(tmp_path / "secret")
    pages = parsed(tmp_path / "mlruns")
    assert not samples(pages, "stolen")
    assert "param.stolen" not in dict(events(pages, "training")[LOGREG].labels)


@pytest.mark.parametrize("pack", [gzip.compress], ids=["gzip"])
def test_a_compressed_database_is_read(tmp_path: Path, pack: Any) -> None:
    packed = tmp_path / "mlflow.db.gz"
    packed.write_bytes(pack(DATABASE.read_bytes()))
    assert records(parsed(packed), without="promotion") == records(parsed(DATABASE), without="promotion")


def test_the_oldest_known_columns_are_enough(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with sqlite3.connect(old) as base:
        base.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);"
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time BIGINT, end_time BIGINT,"
            " lifecycle_stage TEXT, experiment_id INTEGER);"
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);"
            "INSERT INTO experiments VALUES (1, 'old', 'active');"
            "INSERT INTO runs VALUES ('r', 'one', 'FINISHED', 1600000000000, 1600000060000, 'active', 1);"
            "INSERT INTO metrics VALUES ('auc', 0.7, 1600000030000, 'r');"
        )
    pages = parsed(old)
    assert [(s.value, s.step) for s in samples(pages)] == [(0.7, 0)]
    assert events(pages, "training")["r"].ended == 1600000060


def test_deleted_versions_and_prompts_are_left_out(tmp_path: Path) -> None:
    changed = tmp_path / "mlflow.db"
    changed.write_bytes(DATABASE.read_bytes())
    with sqlite3.connect(changed) as base:
        base.execute("UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 3")
        base.execute("CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT)")
        base.execute("INSERT INTO registered_model_tags VALUES ('mlflow.prompt.is_prompt', 'true', 'claim-risk')")
    assert sorted(events(parsed(changed), "release")) == ["claim-triage/1", "claim-triage/2"]


def test_a_database_of_something_else_is_not_recognised(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE runs (id INTEGER)")
    item = _files.item(other, Given())
    assert not mlflow.recognise(item)
    with pytest.raises(SourceRefused, match="not one of an MLflow server"):
        list(mlflow.parse(item, config()))


def test_a_view_in_place_of_a_table_is_not_run(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.db"
    with sqlite3.connect(hostile) as base:
        base.execute("CREATE TABLE metrics (run_uuid TEXT)")
        base.execute(
            "CREATE VIEW runs AS WITH RECURSIVE n(run_uuid) AS (SELECT 1 UNION ALL SELECT run_uuid + 1 FROM n)"
            " SELECT run_uuid, 1 AS experiment_id FROM n"
        )
    assert not mlflow.recognise(_files.item(hostile, Given()))


def test_a_cut_off_database_is_one_sentence(tmp_path: Path) -> None:
    cut = tmp_path / "cut.db"
    cut.write_bytes(DATABASE.read_bytes()[:40_000])
    with pytest.raises(SourceRefused, match=r"cut\.db is no sound sqlite database .*export it again"):
        list(mlflow.parse(_files.item(cut, Given()), config()))


@pytest.mark.parametrize("line", ["garbage", "1795248040000", "1795248040000 x 0", "\x00" * 20_000, "9" * 5_000])
def test_a_broken_line_of_a_metric_is_rejected_and_the_rest_lands(replay: Replay, tmp_path: Path, line: str) -> None:
    replay.write_folder(tmp_path)
    place = tmp_path / "2" / LOGREG / "metrics" / "f1"
    place.write_text(f"{line}\n1795248041000 0.5 {10**30}\n1795248042000 0.25 7")
    pages = parsed(tmp_path)
    assert [(s.value, s.step) for s in samples(pages, "f1", LOGREG)] == [(0.5, 0), (0.25, 7)]
    assert [f for f in findings(pages) if f.kind == "reject" and LOGREG in f.where]


def test_a_file_that_may_not_be_read_is_said(replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay.write_folder(tmp_path)
    real = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "f1":
            raise PermissionError
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceRefused, match="f1 cannot be read; check its permissions"):
        parsed(tmp_path)


def test_text_that_is_not_utf8_lands(tmp_path: Path) -> None:
    odd = tmp_path / "mlflow.db"
    odd.write_bytes(DATABASE.read_bytes())
    with sqlite3.connect(odd) as base:
        base.execute("UPDATE runs SET name = CAST(x'6dfc6c' AS TEXT) WHERE run_uuid = ?", (SGD,))
    assert events(parsed(odd), "training")[SGD].title == "m\N{REPLACEMENT CHARACTER}l"


def test_reading_leaves_the_file_and_its_folder_alone(tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(DATABASE.read_bytes())
    parsed(copy)
    assert copy.read_bytes() == DATABASE.read_bytes() and list(tmp_path.iterdir()) == [copy]


def test_the_time_of_an_import_is_the_files_or_the_given_one(tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(DATABASE.read_bytes())
    os.utime(copy, (1_700_000_000, 1_700_000_000))
    (old,) = events(parsed(copy), "promotion").values()
    assert old.ts_latest == 1795248113, "never before the newest time in the file"
    (given,) = events(parsed(copy, Given(at=NOW + 5)), "promotion").values()
    assert given.ts_latest == NOW + 5


def test_yaml_as_the_file_store_writes_it() -> None:
    text = (
        "name: a plain text that is long enough to be folded by the writer because it is\n"
        "  wider than eighty columns\n"
        "run_name: 'it''s: quoted'\n"
        'other: "tab\\t\\u00e4 \\x41"\n'
        "end_time: null\n"
        "tags: {}\n"
        "aliases:\n"
        "  champion: '1'\n"
        "status: 3\n"
    )
    assert yaml_pairs(text) == {
        "name": "a plain text that is long enough to be folded by the writer because it is wider than eighty columns",
        "run_name": "it's: quoted",
        "other": "tab\t\u00e4 A",
        "status": "3",
    }


def test_recorded_requests_are_answered(tmp_path: Path, replay: Replay, server: Running) -> None:
    expected = pull(server)
    lines = []
    for path, asked in list(replay.asked):
        _, told = replay.answer(path, asked)
        post = path.endswith("runs/search")
        query = [] if post else [[key, str(value)] for key, value in asked.items()]
        lines.append(json.dumps({"method": "POST" if post else "GET", "path": path, "query": query, "body": told}))
    (tmp_path / "requests.jsonl").write_text("\n".join(lines))
    bare = {replace(r, url="") if isinstance(r, Event) else r for r in records(expected)}
    assert records(pull(f"file:{tmp_path}")) == bare


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
