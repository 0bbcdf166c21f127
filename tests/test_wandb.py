"""Weights & Biases' API: runs and what changes later, histories, histograms, aliases, requests, and what it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from connectors import _http, wandb
from tandem import collect, connect
from tandem import report as report_of
from tandem.config import Source, load
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import Event, Fact, Page, Sample
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.faults import virtual
from tests.faults_wandb import config
from tests.replay import Server, serve
from tests.wandb_server import KEY, T0, WandB

NOW = T0 + 40_000
STATES = {
    "finished": "good", "failed": "bad", "crashed": "bad", "killed": "excluded", "preempted": "excluded",
    "preempting": "open", "running": "open", "pending": "open",
}  # fmt: skip


@pytest.fixture
def wb() -> WandB:
    return WandB()


@pytest.fixture
def server(wb: WandB) -> Iterator[Server]:
    with mock.patch.dict(os.environ, {"WANDB_KEY": KEY}), serve(wb.answer) as running:
        yield running


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def given(server: Server, **keys: Any) -> wandb.Config:
    return config(server.url, token_env="WANDB_KEY", **keys)


def fetched(server: Server, state: Any = None, now: int = NOW, since: int = T0, **more: Any) -> list[Page]:
    keys = more.pop("keys", {})
    first = state is None and not more.get("sweep")
    asked = Pull(since, now, now, state=state, **{"first": first, **more})
    return list(wandb.fetch(given(server, **keys), asked))


def told(pages: list[Page], kind: type, what: str = "") -> list[Any]:
    found = [one for page in pages for one in page.records if isinstance(one, kind)]
    return [one for one in found if not what or one.kind == what] if kind is Event else found


def trainings(pages: list[Page]) -> dict[str, Event]:
    return {one.key: one for one in told(pages, Event, "training")}


def values(pages: list[Page], name: str) -> list[tuple[str, int, float]]:
    return [(one.run, one.step, one.value) for one in told(pages, Sample) if one.series.name == name]


def said(pages: list[Page]) -> str:
    return " | ".join(f"{one.kind}: {one.reason} x{one.count}" for page in pages for one in page.findings)


def state_of(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def pulled(store: Store, server: Server, now: int = NOW, **keys: Any) -> None:
    one = given(server, **keys)
    outcome = collect.pull(store, Source(one.common, connect.load("wandb"), one), now, since=keys.pop("since", None))
    assert not outcome.error, outcome.error


# -- runs


def test_a_run_is_a_training_with_what_it_used_and_made(wb: WandB, server: Server) -> None:
    run = wb.add("4f2a", T0 + 100, group="nightly", job="train", title="gbm <b>7</b>", sweep="s1", commit="c0ffee" * 6,
                 tags=("a", "b"),
                 config={"lr": 0.1, "tree": {"depth": 3}, "_wandb": {"python_version": "3.11.7"}})  # fmt: skip
    run.log(T0 + 200, loss=0.5, val__accuracy=0.75)
    run.log(T0 + 260, loss=0.25, val__accuracy=0.8)
    wb.version("claims", T0 + 50, kind="raw-data")
    run.inputs.append(wb.collections["claims"][0])
    wb.version("fraud", T0 + 250, "4f2a")
    event = trainings(fetched(server))["4f2a"]
    assert (event.ts, event.started, event.ended, event.outcome) == (T0 + 100, T0 + 100, T0 + 260, "good")
    assert (event.version, event.run, event.commit, event.actor) == ("v0", "4f2a", "c0ffee" * 6, "ada")
    assert (event.data_version, event.digest, event.trigger) == ("0" * 32, "0" * 32, "sweep")
    assert event.title == "gbm <b>7</b>", "untrusted text stays as it is"
    assert event.url == f"{server.url}/acme/claims/runs/4f2a"
    assert dict(event.labels) == {
        "entity": "acme", "project": "claims", "group": "nightly", "job_type": "train", "run_name": "gbm <b>7</b>",
        "sweep": "s1", "model": "fraud", "param.lr": "0.1", "param.tree.depth": "3", "input.1": "claims:v0",
        "output.1": "fraud:v0", "tags": "a,b", "state": "finished", "python": "3.11.7",
    }  # fmt: skip


def test_data_that_runs_used_or_made_is_told_once(wb: WandB, server: Server) -> None:
    wb.add("prepare", T0 + 10)
    wb.version("claims", T0 + 50, "prepare", kind="dataset")
    for name in ("a", "b"):
        wb.add(name, T0 + 100).inputs.append(wb.collections["claims"][0])
    pages = fetched(server)
    [event] = told(pages, Event, "data_version")
    assert (event.key, event.ts, event.run, event.digest) == ("claims:v0", T0 + 50, "prepare", "0" * 32)
    assert event.data_version == trainings(pages)["a"].data_version == trainings(pages)["b"].data_version
    assert event.url == f"{server.url}/acme/claims/artifacts/dataset/claims/v0"
    assert dict(event.labels)["dataset"] == "claims"


@pytest.mark.parametrize("state", [*STATES, "hibernating"])
def test_every_state_has_its_outcome_and_an_unknown_one_is_left_out(wb: WandB, server: Server, state: str) -> None:
    wb.add("r", T0 + 100, state=state, heard=T0 + 200)
    pages = fetched(server)
    event = trainings(pages)["r"]
    assert event.outcome == STATES.get(state, "excluded")
    assert event.ended == (None if event.outcome == "open" else T0 + 200)
    assert ('the status "hibernating" is unknown' in said(pages)) is (state not in STATES)
    assert set(STATES) < set(wandb.ABOUT.status)


def test_a_state_may_be_given_another_meaning(wb: WandB, server: Server) -> None:
    wb.add("r", T0 + 100, state="killed", heard=T0 + 200)
    one = given(server)
    one = replace(one, common=replace(one.common, status={"killed": "bad"}))
    assert [event.outcome for event in told(list(wandb.fetch(one, Pull(T0, NOW, NOW))), Event)] == ["bad"]


def test_of_too_many_artifacts_no_data_version_is_made(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0 + 100, config={"data_version": "claims-42"})
    assert trainings(fetched(server))["r"].data_version == "claims-42"
    for number in range(21):
        wb.version("claims", T0 + number, kind="dataset")
    run.inputs += wb.collections["claims"]
    pages = fetched(server)
    assert trainings(pages)["r"].data_version == ""
    assert "more than 20 artifacts" in said(pages)


def test_samples_have_their_own_times_steps_and_stages(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0, summary={"test_auc": 0.91, "loss": 0.1, "deep": {"f1": 0.9}, "nan": "NaN", "note": "x",
                                   "_runtime": 9, "best": {"f1": 0.4}})  # fmt: skip
    run.log(T0 + 10.25, loss=0.5, flag=True, text="hello", deep={"f1": 0.25}, odd="NaN", gradients__layer=1.0)
    run.log(T0 + 20.5, loss=float("inf"), val_loss=3)
    run.rows.append({"loss": 7.0, "_step": 2})
    pages = fetched(server)
    found = {(one.series.name, one.series.stage): (one.ts, one.value, one.step) for one in told(pages, Sample)}
    assert found == {
        ("loss", "training"): (T0 + 10.25, 0.5, 0), ("deep.f1", "training"): (T0 + 10.25, 0.25, 0),
        ("val_loss", "evaluation"): (T0 + 20.5, 3.0, 1), ("test_auc", "evaluation"): (T0 + 20, 0.91, 2),
        ("best.f1", "training"): (T0 + 20, 0.4, 2),
    }  # fmt: skip
    assert {one.run for one in told(pages, Sample)} == {"r"}
    for reason in ('"loss" that is no finite number', '"odd" that', '"nan" that', "a row of a history without a time"):
        assert reason in said(pages)


def test_a_long_history_is_read_whole_though_the_server_samples(wb: WandB, server: Server) -> None:
    dense, sparse = wb.add("dense", T0), wb.add("sparse", T0 + 1)
    for step in range(2_345):
        dense.log(T0 + step, loss=float(step))
    for number in range(1_500):  # crowded at first, then far apart
        sparse.log(T0 + number, step=number if number < 1_100 else 1_100 + (number - 1_100) * 997, loss=float(number))
    pages = fetched(server)
    for run in (dense, sparse):
        got = [(step, value) for name, step, value in values(pages, "loss") if name == run.name]
        assert got == [(row["_step"], row["loss"]) for row in run.rows]
    assert not said(pages)
    assert wb.queries.count("History") <= 3 + 18, "a thousand steps at a time would be 400"


def test_pages_are_walked_and_a_cap_of_the_server_is_no_loss(wb: WandB, server: Server) -> None:
    wb.per_page = 7
    made = {wb.add(f"r{number}", T0 + number).name for number in range(60)}
    assert set(trainings(fetched(server))) == made
    assert wb.queries.count("Runs") == 9


# -- what changes later


def test_a_second_pull_asks_for_what_moved_only(wb: WandB, server: Server) -> None:
    for number in range(30):
        wb.add(f"r{number}", T0 + number).log(T0 + 100 + number, loss=0.5)
    running = wb.add("live", T0 + 500, state="running")
    running.log(T0 + 600, loss=0.9)
    first = fetched(server)
    asked = len(wb.queries)
    assert wb.queries.count("History") == 31
    running.log(NOW + 100, loss=0.8)
    pages = fetched(server, state_of(first), NOW + 300, NOW - 600, open=(trainings(first)["live"],))
    second = wb.queries[asked:]
    print(f"requests: first pull {asked}, second {len(second)}, fewest possible 3")
    assert second == ["Collections", "Runs", "History"]
    assert [value for _, _, value in values(pages, "loss")] == [0.9, 0.8]
    quiet = len(wb.queries)
    fetched(server, state_of(pages), NOW + 600, NOW - 300, open=(trainings(first)["live"],))
    assert wb.queries[quiet:] == ["Collections", "Runs"], "nothing was logged: no history is asked for"


def test_a_run_that_stops_breathing_is_found_though_no_heartbeat_moves(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0 + 100, state="running", heard=T0 + 300)
    first = fetched(server)
    run.state = "crashed"
    pages = fetched(server, state_of(first), NOW + 300, NOW - 600, open=tuple(trainings(first).values()))
    event = trainings(pages)["r"]
    assert (event.outcome, event.ended) == ("bad", T0 + 300)
    assert event.revision > trainings(first)["r"].revision


def test_a_resumed_run_counts_once_and_where_it_ends_in_the_end(wb: WandB, server: Server, store: Store) -> None:
    run = wb.add("r", T0 + 3_900, state="failed", heard=T0 + 4_000)
    other = wb.add("other", T0 + 200, heard=T0 + 300)

    def counted() -> dict[int, tuple[int, int]]:
        rows = store.cursor().execute(
            "SELECT f.ts, sum(good)::INT, sum(total)::INT FROM ratio f JOIN series s ON s.id = f.series "
            "WHERE s.signal = 'training_success' GROUP BY f.ts HAVING sum(total) <> 0"
        )
        return {int(ts): (good, total) for ts, good, total in rows.fetchall()}

    pulled(store, server)
    assert counted() == {T0: (1, 1), T0 + 3_900: (0, 1)}
    run.state, run.heard = "running", NOW + 100
    pulled(store, server, NOW + 300)
    assert counted() == {T0: (1, 1)}, "it has not ended after all"
    run.state, run.heard = "finished", NOW + 400
    other.summary["test_auc"] = 0.5  # no change of its outcome
    pulled(store, server, NOW + 900)
    assert counted() == {T0: (1, 1), T0 + 3_900: (1, 1)}


def test_an_edit_of_an_old_run_is_found_by_the_sweep(wb: WandB, server: Server, store: Store) -> None:
    run = wb.add("r", T0 + 100, heard=T0 + 200, summary={"test_auc": 0.9})
    pulled(store, server)
    run.summary, run.title = {"test_auc": 0.7}, "renamed"

    def auc() -> list[tuple[int, float]]:
        rows = store.cursor().execute(
            "SELECT p.ts, arg_max(p.value, p.load_id)::DOUBLE FROM sample p GROUP BY p.ts, p.run, p.step ORDER BY ALL"
        )
        return rows.fetchall()

    pulled(store, server, NOW + 3_600)
    assert auc() == [(T0 + 200, 0.9)], "no heartbeat tells of it"
    pulled(store, server, NOW + 90_000)
    assert auc() == [(T0 + 200, 0.7)], "the same value of the same run, corrected"
    [event] = [one for _, one in Reader(store).events(T0, NOW, components=["m"], newest=True)]
    assert event.title == "renamed"


def test_a_sweep_asks_again_for_no_history_that_did_not_grow(wb: WandB, server: Server) -> None:
    for number in range(20):
        wb.add(f"r{number}", T0 + number).log(T0 + 100 + number, loss=0.5)
    first = fetched(server)
    before = len(wb.queries)
    swept = fetched(server, state_of(first), NOW + 86_400, NOW, sweep=True)
    assert len(trainings(swept)) == 20
    assert wb.queries[before:] == ["Collections", "Runs"]
    print(f"sweep: 20 runs, {len(wb.queries) - before} requests; an edit is seen at most a day late, for 30 days")


def test_an_offline_run_that_is_synced_late_is_found_by_the_sweep(wb: WandB, server: Server) -> None:
    first = fetched(server)
    wb.add("late", T0 + 100).log(T0 + 200, loss=0.5)
    quiet = fetched(server, state_of(first), NOW + 300, NOW - 600)
    assert not trainings(quiet), "its last sign of life lies before the last pull"
    swept = fetched(server, state_of(quiet), NOW + 86_400, NOW, sweep=True)
    assert (set(trainings(swept)), values(swept, "loss")) == ({"late"}, [("late", 0, 0.5)])


def test_what_is_not_yet_waits_for_the_pull_that_may_know_it(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0 + 100)
    run.log(T0 + 200, loss=0.5)
    run.log(T0 + 400, loss=0.25)
    wb.add("later", T0 + 350)
    first = fetched(server, now=T0 + 300)
    assert trainings(first)["r"].outcome == "open"
    assert "later" not in trainings(first)
    assert [value for _, _, value in values(first, "loss")] == [0.5]
    second = fetched(server, state_of(first), T0 + 600, T0)
    assert trainings(second)["r"].outcome == "good"
    assert [value for _, _, value in values(second, "loss")] == [0.5, 0.25]


def test_a_rewound_run_is_read_anew_and_it_is_said(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0, state="running")
    for step in range(5):
        run.log(T0 + 10 + step, loss=float(step))
    first = fetched(server)
    run.rows, run.heard = run.rows[:2], NOW
    run.log(NOW, loss=9.0)
    pages = fetched(server, state_of(first), NOW + 300, NOW - 600)
    assert [value for _, _, value in values(pages, "loss")] == [0.0, 1.0, 9.0]
    assert "shorter than it was" in said(pages)


# -- histograms


def bins(*counts: int, edges: tuple[float, ...] = (0.0, 0.5, 1.0)) -> dict[str, Any]:
    return {"_type": "histogram", "bins": list(edges), "values": list(counts)}


def test_histograms_are_counted_by_the_hour_each_slice_once(wb: WandB, server: Server, store: Store) -> None:
    run = wb.add("r", T0, state="running")
    run.log(T0 + 10, preds=bins(3, 1), val_preds=bins(1, 1))
    run.log(T0 + 20, preds=bins(2, 2))
    run.log(
        T0 + 3_700, preds={"_type": "histogram", "packedBins": {"min": 0, "size": 0.5, "count": 2}, "values": [5, 0]}
    )

    def counted() -> list[tuple[str, str, int, int, int]]:
        rows = store.cursor().execute(
            "SELECT s.name, s.stage, f.ts, f.bin, sum(n)::INT FROM histogram_hour f JOIN series s ON s.id = f.series "
            "WHERE s.signal = 'feature' GROUP BY ALL HAVING sum(n) <> 0 ORDER BY ALL"
        )
        return [(str(a), str(b), int(c), int(d), int(e)) for a, b, c, d, e in rows.fetchall()]

    first = [("preds", "training", T0, 1, 5), ("preds", "training", T0, 2, 3), ("preds", "training", T0 + 3600, 1, 5),
             ("val_preds", "evaluation", T0, 1, 1), ("val_preds", "evaluation", T0, 2, 1)]  # fmt: skip
    pulled(store, server)
    assert counted() == first
    pulled(store, server, NOW + 100)
    assert counted() == first, "nothing counts twice"
    run.log(NOW + 200, preds=bins(0, 7))
    pulled(store, server, NOW + 400)
    hour = (NOW + 200) // 3600 * 3600
    assert counted() == sorted([*first, ("preds", "training", hour, 2, 7)])


def test_other_bins_are_put_onto_the_first_and_the_price_is_said(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0)
    run.log(T0 + 10, preds=bins(4, 4))
    run.log(T0 + 4_000, preds=bins(10, 0, 0, 10, edges=(0.0, 0.25, 0.5, 0.75, 1.0)), weird=bins(1, -1))
    run.log(T0 + 4_010, weird={"_type": "histogram", "bins": [0, 1], "values": [1, 2, 3]}, image={"_type": "image"})
    first = fetched(server, now=T0 + 3_000)
    pages = fetched(server, state_of(first), NOW, T0)
    facts = {one.ts: one.value for one in told(pages, Fact) if one.series.name == "preds"}
    assert dict(facts[T0].counts) == {1: 4, 2: 4}
    assert dict(facts[T0 + 3_600].counts) == {1: 10, 2: 10}, "0.5 is an edge of both"
    assert facts[T0].layout == facts[T0 + 3_600].layout, "they add"
    assert "preds is put onto other bins" in said(pages)
    assert "reject: a histogram that contradicts itself x2" in said(pages)


def test_predictions_and_gradients(wb: WandB, server: Server) -> None:
    run = wb.add("r", T0)
    run.log(T0 + 10, preds=bins(4, 4), gradients__w=bins(1, 1))
    facts = told(fetched(server, keys={"prediction": "preds"}), Fact)
    assert [(one.series.signal, one.series.name) for one in facts] == [("prediction", "")]


# -- models


def test_a_promotion_lies_between_two_looks(wb: WandB, server: Server) -> None:
    wb.add("r1", T0 + 10)
    wb.version("fraud", T0 + 100, "r1", ["production", "latest"])
    wb.version("fraud", T0 + 200)
    first = fetched(server)
    [seen] = told(first, Event, "promotion")
    assert (seen.ts, seen.ts_latest, seen.version, seen.run) == (T0 + 100, NOW, "v0", "r1")
    assert [one.key for one in told(first, Event, "release")] == ["fraud/v0", "fraud/v1"]
    assert told(fetched(server), Event, "promotion") == [seen], "the same event after the state was lost"
    wb.move("fraud", "production", 1)
    moved = fetched(server, state_of(first), NOW + 300, NOW - 600)
    [event] = told(moved, Event, "promotion")
    assert (event.ts, event.ts_latest, event.version, event.digest) == (NOW, NOW + 300, "v1", f"{1:032x}")
    assert dict(event.labels) == {
        "entity": "acme", "project": "claims", "model": "fraud", "alias": "production", "from": "v0"}  # fmt: skip
    assert not told(moved, Event, "release"), "they are told once"
    wb.move("fraud", "production", None)
    gone = fetched(server, state_of(moved), NOW + 600, NOW - 300)
    [event] = told(gone, Event, "promotion")
    assert (event.ts, event.ts_latest, event.version) == (NOW + 300, NOW + 600, "")
    assert dict(event.labels)["removed"] == "v1"
    assert not told(fetched(server, state_of(gone), NOW + 900, NOW), Event, "promotion")


def test_an_alias_on_an_old_version_is_seen_by_the_sweep(wb: WandB, server: Server) -> None:
    for number in range(120):
        wb.version("fraud", T0 + number)
    wb.move("fraud", "stable", 3)
    first = fetched(server)
    [seen] = told(first, Event, "promotion")
    assert (seen.version, seen.ts) == ("v3", T0 + 3)
    wb.move("fraud", "stable", 4)
    before = len(wb.queries)
    quiet = fetched(server, state_of(first), NOW + 300, NOW - 600)
    assert not told(quiet, Event, "promotion")
    assert wb.queries[before:] == ["Collections", "Runs"], "older versions are not listed at each pull"
    swept = fetched(server, state_of(quiet), NOW + 86_400, NOW, sweep=True)
    [event] = told(swept, Event, "promotion")
    assert (event.ts, event.ts_latest, event.version) == (NOW, NOW + 86_400, "v4")


def test_models_may_be_registered_elsewhere(wb: WandB, server: Server) -> None:
    wb.registry = ("acme-org", "wandb-registry-model")
    wb.add("r1", T0 + 10)
    wb.version("fraud", T0 + 100, "r1")
    wb.move("fraud", "production", 0)
    # An artifact bears the aliases of every collection that it is linked to.
    home = {"name": "fraud", "project": {"name": "elsewhere", "entity": {"name": "acme"}}}
    wb.collections["fraud"][0]["aliases"].append({"alias": "other", "artifactCollection": home})
    pages = fetched(server, keys={"registry": "acme-org/wandb-registry-model"})
    assert [dict(one.labels)["alias"] for one in told(pages, Event, "promotion")] == ["production"]
    assert trainings(pages)["r1"].version == "v0", "W&B ties them by the artifact"
    assert not told(fetched(server), Event, "promotion"), "the project itself has none"


# -- refusals


def test_refusals_are_one_sentence_that_says_what_to_do(wb: WandB, server: Server) -> None:
    wb.add("r", T0)
    cases = [
        ({"project": "nothing"}, "W&B has no project acme/nothing that this key may read"),
        ({"entity": ""}, 'set entity = "…" and project = "…"'),
        ({"registry": "only-one"}, 'should be "ENTITY/PROJECT"'),
    ]
    for keys, words in cases:
        with pytest.raises(SourceRefused, match=words.replace("(", r"\(")):
            fetched(server, keys=keys)
    with mock.patch.dict(os.environ, {"WANDB_KEY": "x" * 40}), pytest.raises(SourceRefused, match="token was refused"):
        fetched(server)


def test_a_rate_limit_is_waited_for_as_asked(wb: WandB) -> None:
    wb.add("r", T0)
    wb.limited = 2
    with virtual() as clock, serve(wb.answer) as server, mock.patch.dict(os.environ, {"WANDB_KEY": KEY}):
        assert set(trainings(fetched(server))) == {"r"}
    assert clock.slept == [3.0, 3.0]


def test_a_list_that_lacks_a_run_is_no_whole_list(wb: WandB, server: Server) -> None:
    for number in range(5):
        wb.add(f"r{number}", T0 + number)
    whole = wb.paged
    wb.paged = lambda nodes, *rest: whole(nodes[:-1] if "state" in (nodes or [{}])[0] else nodes, *rest)  # type: ignore[method-assign]
    with pytest.raises(SourceDown, match="5 runs and gave 4"):
        fetched(server)


def test_answers_that_are_too_large_are_asked_for_in_pieces(wb: WandB, server: Server) -> None:
    for number in range(9):
        run = wb.add(f"r{number}", T0 + number, config={"text": "x" * 9_000})
        for step in range(12):
            run.log(T0 + 100 + step, loss=float(step), note="y" * 3_000)
    with mock.patch.object(_http, "LIMITS", replace(_http.LIMITS, bytes=25_000)):
        pages = fetched(server)
    assert set(trainings(pages)) == set(wb.runs)
    assert sorted(values(pages, "loss")) == sorted((name, n, float(n)) for name in wb.runs for n in range(12))


# -- what it may not do


def test_offline_numbers_enter_no_objective_of_production(wb: WandB, server: Server, tmp_path: Path) -> None:
    run = wb.add("r", T0 + 100)
    for step in range(50):
        run.log(T0 + 200 + step, correct=1.0, accuracy=0.99, valid_rows=bins(50, 50), preds=bins(50, 50))
    (tmp_path / "tandem.toml").write_text(f"""
store = "tandem.duckdb"
[[component]]
name = "fraud"
kind = "model"
[[objective]]
component = "fraud"
signal = "correct"
target = 0.9
[[objective]]
component = "fraud"
signal = "valid_rows"
target = 0.9
[[source]]
connector = "wandb"
name = "experiments"
url = "{server.url}"
entity = "acme"
project = "claims"
token_env = "WANDB_KEY"
component = "fraud"
prediction = "preds"
""")
    one = load(tmp_path / "tandem.toml")
    with open_store(one.store) as store:
        assert not collect.pull(store, one.sources[0], NOW).error
        context = SimpleNamespace(config=one, store=store)
        rows = report_of.show(context, "fraud", Window(T0, NOW), now=NOW)["signals"]
        measured = {row["signal"] for row in rows if row["total"]}
        assert measured <= {"training_success", "training_duration"}, "nothing of production was measured"
        assert [row["state"] for row in rows if row["objective"]] == ["unknown"] * 2
        assert len(Reader(store).samples("fraud", 0, 1 << 40)) == 2
