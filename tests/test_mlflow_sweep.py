"""MLflow: histories of many runs at once, and the sweep over runs that were read before: its bound and its lag."""

from __future__ import annotations

from typing import Any

import pytest

from connectors import _mlflow_server, _mlflow_walk
from tests import mlflow_pulls
from tests.mlflow_pulls import FOREST, LOGREG, NOW, SGD, events, findings, pull, records, samples, state
from tests.mlflow_replay import Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server

BULK = "/ajax-api/2.0/mlflow/metrics/get-history-bulk"
START = 1795248200000
DAY = 86400


def runs_named(count: int) -> list[str]:
    return [f"{number:032x}" for number in range(count)]


def add_runs(replay: Replay, count: int) -> list[str]:
    """Runs of one metric with three points each."""
    names = runs_named(count)
    for number, run in enumerate(names):
        replay.add_run(run, START + number * 1000, end=START + number * 1000 + 500)
        for step in range(3):
            replay.log(run, "loss", 1.0 / (step + 1), START + number * 1000 + step, step)
    return names


# Histories of many runs at once


def test_one_request_asks_for_a_metric_of_all_runs(replay: Replay, server: Running) -> None:
    names = add_runs(replay, 40)
    pages = pull(server)
    asked = [told for told in replay.calls("get-history-bulk") if told["metric_key"] == "loss"]
    assert [sorted(told["run_id"]) for told in asked] == [sorted(names)]
    assert not [told for told in replay.calls("get-history") if told["metric_key"] == "loss"]
    assert len(samples(pages, "loss")) == 120


def test_a_server_that_does_not_know_it_is_asked_once(replay: Replay, server: Running) -> None:
    add_runs(replay, 5)
    whole = records(pull(server))
    replay.bulk = False
    replay.asked.clear()
    assert records(pull(server)) == whole
    assert len(replay.calls("get-history-bulk")) == 1
    assert len([told for told in replay.calls("get-history") if told["metric_key"] == "loss"]) == 5


def test_of_an_answer_that_may_be_cut_nothing_is_used(
    replay: Replay, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_runs(replay, 5)
    whole = records(pull(server))
    monkeypatch.setattr(_mlflow_server, "_POINTS", 14)  # the 15 points of all five are cut
    replay.asked.clear()
    assert records(pull(server)) == whole
    assert len([told for told in replay.calls("get-history") if told["metric_key"] == "loss"]) == 5


def test_a_history_that_the_common_answer_lacks_is_asked_for_alone(replay: Replay, server: Running) -> None:
    """Servers are known to leave out rows of it."""
    first, *_ = add_runs(replay, 3)

    def eaten(path: str, asked: dict[str, Any]) -> Any:
        if path != BULK or asked["metric_key"] != "loss":
            return None
        told = replay._history_bulk(asked)["metrics"]
        return {"metrics": [one for one in told if not (one["run_id"] == first and one["step"] == 2)]}

    replay.before = eaten
    pages = pull(server)
    assert [s.step for s in samples(pages, "loss", first)] == [0, 1, 2]
    assert [told["run_id"] for told in replay.calls("get-history") if told["metric_key"] == "loss"] == [first]


@pytest.mark.parametrize("told", [{"metrics": "x"}, {"metrics": [{"run_id": "other"}, 3]}, [], {}])
def test_an_odd_common_answer_changes_nothing(replay: Replay, server: Running, told: Any) -> None:
    whole = records(pull(server))
    replay.before = lambda path, asked: told if path == BULK else None
    assert records(pull(server)) == whole


def test_long_histories_are_not_held_together(replay: Replay, server: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    add_runs(replay, 4)
    whole = records(pull(server))
    monkeypatch.setattr(_mlflow_server, "_TOGETHER", 6)  # two runs of three points
    replay.asked.clear()
    assert records(pull(server)) == whole
    asked = [told["run_id"] for told in replay.calls("get-history-bulk") if told["metric_key"] == "loss"]
    assert max(map(len, asked)) == 2


# What a sweep finds


def sweep(server: Running, number: int, pages: Any) -> Any:
    now = NOW + number * DAY
    return pull(server, now, state(pages), since=now - 300, sweep=True)


def test_a_sweep_reads_no_more_histories_than_its_bound(
    replay: Replay, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value logged below the newest one is found when its run's turn comes: after runs / bound sweeps at most."""
    names = add_runs(replay, 10)
    replay.experiments[1]["lifecycle_stage"] = "deleted"
    monkeypatch.setattr(_mlflow_walk, "SWEPT", 4)
    pages = pull(server)
    known = list(state(pages)["runs"])
    for run in names:
        replay.log(run, "loss", 0.9, START + 400, 0)
    found: set[str] = set()
    replay.bulk = False
    for number in range(1, -(-len(known) // 4) + 1):
        replay.asked.clear()
        pages = sweep(server, number, pages)
        read = {told["run_id"] for told in replay.calls("get-history")}
        assert len(read) <= 4
        found |= {s.run for s in samples(pages, "loss") if s.value == 0.9}
    assert found == set(names)


def test_what_the_list_of_runs_shows_is_found_by_the_next_sweep(
    replay: Replay, server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_mlflow_walk, "SWEPT", 0)
    first = pull(server)
    later = NOW + 20 * DAY
    replay.runs[LOGREG]["name"] = "renamed"
    replay.params.append({"run_uuid": SGD, "key": "added", "value": "1"})
    replay.log("e46052547d8b446eba870b2959aba1eb", "late", 0.5, (later - 500) * 1000)
    quiet = pull(server, later, state(first), since=later - 300)
    assert LOGREG not in events(quiet, "training")
    swept = pull(server, later + 300, state(quiet), since=later, sweep=True)
    found = events(swept, "training")
    assert set(found) == {LOGREG, SGD, "e46052547d8b446eba870b2959aba1eb"}
    assert found[LOGREG].title == "renamed" and dict(found[SGD].labels)["param.added"] == "1"
    assert [s.value for s in samples(swept, "late")] == [0.5]


def test_a_deleted_run_stays_and_a_restored_one_counts_once(replay: Replay, server: Running) -> None:
    first = pull(server, first=True)
    replay.runs[LOGREG]["lifecycle_stage"] = "deleted"
    gone = sweep(server, 1, first)
    assert LOGREG not in events(gone, "training"), "nothing takes it back"
    replay.runs[LOGREG]["lifecycle_stage"] = "active"
    back = sweep(server, 2, gone)
    assert events(back, "training")[LOGREG] == events(first, "training")[LOGREG]
    assert set(samples(back, run=LOGREG)) == set(samples(first, run=LOGREG))


def test_a_run_that_was_deleted_at_the_first_pull_is_found_when_it_is_restored(replay: Replay, server: Running) -> None:
    replay.runs[LOGREG]["lifecycle_stage"] = "deleted"
    first = pull(server)
    replay.runs[LOGREG]["lifecycle_stage"] = "active"
    assert LOGREG in events(sweep(server, 10, first), "training")


def test_runs_that_are_too_old_for_the_sweep_are_forgotten(replay: Replay, server: Running) -> None:
    first = pull(server)
    assert LOGREG in state(first)["runs"]
    later = pull(server, NOW + 40 * DAY, state(first), since=NOW + 40 * DAY - 300, sweep=True)
    of_versions = {row["run_id"] for row in replay.versions}
    assert set(state(later)["runs"]) == of_versions, "these are looked at by every sweep, for their versions"


def test_a_pull_makes_as_few_requests_as_it_can(
    replay: Replay, server: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three lists of the registry, runs under an alias, runs of the last day; histories only of what is new."""
    add_runs(replay, 250)
    first = pull(server)
    one = len(replay.asked)
    replay.asked.clear()
    again = pull(server, NOW + 300, state(first))
    two = len(replay.asked)
    fewest = 3 + 1 + 2
    print(f"first pull {one} requests, second {two}, fewest possible {fewest} (259 runs, two pages)")
    assert two == fewest
    assert not samples(again) and not events(again, "training")
    assert not [f for f in findings(again) if f.kind == "reject"]
    assert FOREST in events(first, "training")
