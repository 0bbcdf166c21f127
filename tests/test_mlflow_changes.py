"""MLflow: what changes after it was read, and how its lists are paged."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import mlflow
from connectors._mlflow_moves import State
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import Event
from tests import mlflow_pulls
from tests.mlflow_pulls import (
    DATABASE,
    FOREST,
    LOGREG,
    NOW,
    SEEN,
    SGD,
    config,
    events,
    findings,
    parsed,
    pull,
    records,
    samples,
    state,
)
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server


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
    assert records(first, without=SEEN) | records(second, without=SEEN) >= records(pull(server), without=SEEN)
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
    replay.before = lambda path, asked: {} if "get-history" in path and asked["metric_key"] == "f1" else None
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


def counting(found: set[Any]) -> set[Any]:
    """What counts of them: of one data version the first run that read it."""
    first: dict[str, Event] = {}
    for one in found:
        if isinstance(one, Event) and one.kind == "data_version":
            first[one.key] = max(one, first.get(one.key, one), key=lambda event: event.revision)
    return {one for one in found if not (isinstance(one, Event) and one.kind == "data_version")} | set(first.values())


def test_a_pull_that_was_killed_goes_on_from_any_page(replay: Replay, server: Running) -> None:
    replay.cap = 2
    pages = pull(server, first=True)
    whole = records(pages)
    assert len(pages) > 4
    for number in range(1, len(pages)):
        known = state(pages[:number])
        rest = pull(server, NOW + 300, known)
        again = {r for r in records(rest) if not (isinstance(r, Event) and r.kind == "promotion")}
        assert counting(records(pages[:number]) | again) == counting(whole)


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
    many = State(NOW, NOW, {}, frozenset(), {f"{n:032d}": "0" * 12 for n in range(50_000)}).json()
    assert len(json.dumps(many)) < 2**20
    assert f"{49_999:032d}" in many["runs"]
