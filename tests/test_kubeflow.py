"""Kubeflow Pipelines: runs and their attempts, what changes later, what is asked for, and who may see it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import _kubeflow_server, kubeflow
from tandem import collect, times
from tandem.config import Source
from tandem.connect import Common, Pull, SourceDown, SourceRefused
from tandem.records import DAY, HOUR, Event, Fact, Page, Sample, bucket_of
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import faults
from tests.kubeflow_server import DIGEST, Kubeflow, matrix
from tests.replay import Answer, serve

NOW = times.iso("2026-11-20T12:00:00Z")
A = "a" * 40


@pytest.fixture
def server() -> Kubeflow:
    return Kubeflow()


@pytest.fixture
def url(server: Kubeflow) -> Iterator[str]:
    with serve(server.answer) as running:
        yield running.url


def configured(url: str = "https://kubeflow.example.com/pipeline", **more: Any) -> kubeflow.Config:
    common = Common("kubeflow", "kfp", component=("fraud",), **more.pop("common", {}))
    return kubeflow.Config(common, url=url, **more)


def pulled(config: kubeflow.Config, since: int = NOW - 30 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(kubeflow.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def again(config: kubeflow.Config, before: list[Page], until: int, **more: Any) -> list[Page]:
    """The next pull after five minutes, with ten minutes of overlap."""
    still = tuple(event for event in events(before) if event.outcome == "open")
    known = {page.slice.name: page.slice.digest for page in before if page.slice}
    asked = {"first": False, "state": state(before), "open": still, "taken": known.get, **more}
    return pulled(config, until - 900, until, **asked)


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def samples(pages: list[Page]) -> list[Sample]:
    return [one for page in pages for one in page.records if isinstance(one, Sample)]


def facts(pages: list[Page]) -> list[Fact]:
    return [one for page in pages for one in page.records if isinstance(one, Fact)]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def paths(server: Kubeflow, since: int = 0) -> list[str]:
    """What was asked for, ids left out; which time a list is bound by is told."""
    found = []
    for one in server.asked[since:]:
        path = re.sub(r"\w+-\d{6}", "*", one.path.removeprefix("/apis/v2beta1/"))
        bound = json.loads(dict(one.query).get("filter", '{"predicates":[{"key":""}]}'))["predicates"][0]["key"]
        found.append(f"{path}?{bound}" if bound else path)
    return found


# -- what a run says


def test_a_run_is_a_training_with_what_it_states(server: Kubeflow, url: str) -> None:
    source = f"https://git.example.com/acme/fraud/tree/{A}/pipelines"
    pipeline = server.pipeline(images=(f"registry.example.com/train@{DIGEST}",), source=source)
    run = server.done(NOW - 9000, experiment=server.experiment(), pipeline=pipeline, name="nightly 7",
                      parameters={"lr": 0.1, "epochs": 10, "layers": [64, 32], "kind": "gbm"})  # fmt: skip
    run["plugins_output"] = {"mlflow": {"entries": {"root_run_id": {"value": "8f3c"}}, "state": "PLUGIN_SUCCEEDED"}}
    imported = server.task(run, "importer", NOW - 8990, kind="IMPORTER")
    raw = server.artifact(imported, "Dataset", "raw", NOW - 8990, uri="s3://lake/raw", metadata={"version": "v42"})
    prepare = server.task(run, "prepare", NOW - 8900)
    server.linked(prepare, raw, "raw", "inputs")
    clean = server.artifact(prepare, "Dataset", "clean", NOW - 8840, uri="s3://work/clean")
    train = server.task(run, "train", NOW - 8800)
    server.linked(train, clean, "clean", "inputs")
    server.artifact(train, "Model", "model", NOW - 8700, uri=f"oci://registry.example.com/fraud@{DIGEST}")
    (found,) = events(pulled(configured(url, web="https://kubeflow.example.com/_/pipeline/")))
    assert (found.kind, found.key, found.run, found.outcome) == ("training", run["run_id"], run["run_id"], "good")
    assert (found.ts, found.started, found.ended) == (NOW - 9000, NOW - 8990, NOW - 8390)
    assert (found.commit, found.data_version, found.digest, found.version) == (A, "v42", DIGEST, "")
    assert (found.trigger, found.actor, found.title) == ("manual", "", "nightly 7")
    assert found.url == f"https://kubeflow.example.com/_/pipeline/#/runs/details/{run['run_id']}"
    assert dict(found.labels) == {
        "pipeline": "fraud-train", "pipeline_version": "fraud-train v1", "experiment": "nightly",
        "namespace": "ml-team", "status": "SUCCEEDED", "param.lr": "0.1", "param.epochs": "10",
        "param.layers": "[64, 32]", "param.kind": "gbm", "inputs": "1", "input.1": "s3://lake/raw",
        "input.1.version": "v42", "outputs": "2", "output.1": f"oci://registry.example.com/fraud@{DIGEST}",
        "output.1.version": DIGEST, "output.2": "s3://work/clean",
        "image": f"registry.example.com/train@{DIGEST}", "plugin.mlflow.root_run_id": "8f3c",
    }  # fmt: skip


def test_what_is_not_stated_stays_unknown(server: Kubeflow, url: str) -> None:
    """A tag is no image to come back to, a branch no commit, a data set without a version none."""
    source = "https://git.example.com/acme/fraud/tree/main"
    pipeline = server.pipeline(images=("python:3.11", f"r/x@{DIGEST}"), source=source)
    run = server.done(NOW - 9000, pipeline=pipeline, recurring_run_id="recurring-7")
    server.artifact(server.task(run, "importer", NOW - 8990, kind="IMPORTER"), "Dataset", "raw", NOW, uri="s3://lake")
    (found,) = events(pulled(configured(url), until=NOW + 1))
    assert (found.commit, found.data_version, found.digest, found.trigger) == ("", "", "", "schedule")
    labels = dict(found.labels)
    assert labels["images"] == f"python:3.11, r/x@{DIGEST}"
    assert (labels["recurring_run"], labels["input.1"]) == ("recurring-7", "s3://lake")
    assert {"image", "input.1.version"}.isdisjoint(labels)


def test_a_parameter_states_the_version_of_data_where_no_data_set_does(server: Kubeflow, url: str) -> None:
    server.done(NOW - 9000, parameters={"data_version": "2026-11-01"})
    assert [e.data_version for e in events(pulled(configured(url)))] == ["2026-11-01"]


@pytest.mark.parametrize(
    ("word", "outcome"),
    [(word, what) for word, what in kubeflow.ABOUT.status.items() if word.isupper()] + [("EXPLODED", "excluded")],
)
def test_every_state_has_an_outcome(server: Kubeflow, url: str, word: str, outcome: str) -> None:
    run = server.to(server.run(NOW - 9000), NOW - 8990, "RUNNING")
    server.to(run, NOW - 8000, word)
    pages = pulled(configured(url))
    assert [e.outcome for e in events(pages)] == [outcome]
    assert any("unknown" in reason for reason in reasons(pages)) is (word == "EXPLODED")
    if word == "EXPLODED":
        assert [e.outcome for e in events(pulled(configured(url, common={"status": {word: "bad"}})))] == ["bad"]


def test_an_end_in_1970_is_none_and_a_run_without_a_state_goes_on(server: Kubeflow, url: str) -> None:
    server.to(server.run(NOW - 9000), NOW - 8990, "RUNNING")
    del server.run(NOW - 8000)["state"]
    assert [(e.outcome, e.ended) for e in events(pulled(configured(url)))] == 2 * [("open", None)]


def test_a_run_that_the_server_cannot_read_is_counted_and_the_rest_lands(server: Kubeflow, url: str) -> None:
    broken = server.run(NOW - 9000)
    server.done(NOW - 8000)
    config = configured(url)

    def answer(run: Any) -> Any:
        return {"run_id": run["run_id"], "error": {"code": 13, "message": "cannot read"}}

    shown = server._shown
    server._shown = lambda run, full=False: answer(run) if run is broken else shown(run, full)  # type: ignore[method-assign]
    pages = pulled(config)
    assert [e.outcome for e in events(pages)] == ["good"]
    assert reasons(pages) == {"the server says that it cannot read a run": 1}


# -- attempts, and what changes later


def test_a_retried_run_is_another_attempt_and_its_bucket_changes_once(
    server: Kubeflow, url: str, tmp_path: Path
) -> None:
    created = bucket_of(NOW - 5000)
    run = server.done(created, "FAILED", lasted=100)
    config, seen = configured(url), []
    with open_store(tmp_path / "t.duckdb") as store:
        for turn in range(4):
            if turn == 1:
                server.retry(run, NOW + 100)
            if turn == 2:
                server.to(run, NOW + 400, "SUCCEEDED")
            outcome = collect.pull(store, Source(config.common, kubeflow, config), NOW + 300 * turn, since=None)
            assert not outcome.error
            reader = Reader(store)
            groups = {kept.id: 0 for kept in reader.series(signal="training_success")}
            steps = reader.steps("ratio", groups, NOW - DAY, NOW + HOUR, 300)
            seen.append([(ts, int(good), int(total)) for _, ts, good, total in steps if total])
        told = [(e.attempt, e.outcome, e.started, e.ended) for _, e in reader.events(0, 1 << 40)]
        ids = [kept.id for kept in reader.series(signal="training_duration")]
        [[lasted]] = reader.totals("histogram", ids, [(0, NOW + DAY)]).values()
    # The second pull's window ends before the retry: it shows from the third on.
    assert seen[0] == [(created, 0, 1)]
    assert seen[2:] == 2 * [[(created, 1, 1)]]
    assert sorted(told) == [
        (1, "bad", created + 10, created + 110), (2, "good", NOW + 100, NOW + 400),
    ]  # fmt: skip
    assert lasted
    assert sum(int(cell[0]) for cell in lasted.values()) == 2  # 100 s and 300 s, each once


def test_a_retry_that_is_over_between_two_pulls_is_found_by_when_it_ended(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9 * DAY, "FAILED")
    config = configured(url)
    first = pulled(config)
    server.to(server.retry(run, NOW + 10), NOW + 60, "SUCCEEDED")
    second = again(config, first, NOW + 300)
    assert [(e.attempt, e.outcome, e.ended) for e in events(second)] == [
        (1, "bad", NOW - 9 * DAY + 610), (2, "good", NOW + 60),
    ]  # fmt: skip
    assert events(again(config, second, NOW + 600)) == []


def test_a_retry_of_which_the_history_tells_nothing_restates_the_run(server: Kubeflow, url: str) -> None:
    run = server.done(NOW - 9000, "FAILED")
    config = configured(url)
    first = pulled(config)
    run["state_history"] = []
    server.to(run, NOW + 60, "SUCCEEDED")
    (was,), (now,) = events(first), events(again(config, first, NOW + 300))
    assert (was.attempt, was.outcome, now.attempt, now.outcome, now.ended) == (1, "bad", 1, "good", NOW + 60)
    assert now.revision > was.revision


def test_what_ends_at_or_after_until_is_open_and_what_is_created_then_is_left(server: Kubeflow, url: str) -> None:
    server.done(NOW - 610, "FAILED")
    server.done(NOW + 10)
    config = configured(url)
    first = pulled(config)
    assert [(e.outcome, e.ts, e.ended) for e in events(first)] == [("open", NOW - 610, None)]
    second = again(config, first, NOW + 1)
    assert [(e.outcome, e.ended) for e in events(second)] == [("bad", NOW)]


def test_a_run_that_goes_on_is_asked_for_by_its_id_and_its_end_is_told(server: Kubeflow, url: str) -> None:
    run = server.to(server.run(NOW - 20 * DAY), NOW - 20 * DAY, "RUNNING")
    config = configured(url)
    first = pulled(config)
    server.to(run, NOW - 2000, "SUCCEEDED")  # told late: it ended before the window of the next pull
    second = again(config, first, NOW + 300)
    assert [(e.outcome, e.ended) for e in events(second)] == [("good", NOW - 2000)]
    assert events(again(config, second, NOW + 600)) == []


def test_a_run_that_was_deleted_while_it_went_on_is_excluded(server: Kubeflow, url: str) -> None:
    server.to(server.run(NOW - 9000), NOW - 8990, "RUNNING")
    config = configured(url)
    first = pulled(config)
    server.runs.clear()
    second = again(config, first, NOW + 300)
    assert [(e.outcome, e.key) for e in events(second)] == [("excluded", events(first)[0].key)]
    assert list(reasons(second)) == ["a run that went on was deleted and is excluded"]


# -- what is asked for


def test_a_second_pull_asks_for_two_lists_and_what_goes_on_and_a_sweep_for_no_detail(
    server: Kubeflow, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    keys: dict[str, Any] = {"experiment": server.experiment(), "pipeline": server.pipeline()}
    for number in range(205):
        server.done(NOW - 20_000 + 30 * number, **keys)
    for number in range(3):
        server.to(server.run(NOW - 30_000 + number, **keys), NOW - 29_000, "RUNNING")
    config = configured(url)
    first = pulled(config)
    asked = paths(server)
    assert asked.count("runs?created_at") == 2
    assert {name: asked.count(name) for name in ("experiments/*", "pipelines/*", "pipelines/*/versions/*")} == {
        "experiments/*": 1, "pipelines/*": 1, "pipelines/*/versions/*": 1}  # fmt: skip
    assert asked.count("runs/*") == 205
    assert [e.ts for e in events(first)] == sorted(e.ts for e in events(first))
    before = len(server.asked)
    second = again(config, first, NOW + 300)
    made = paths(server, before)
    assert sorted(made) == ["runs/*"] * 3 + ["runs?created_at", "runs?finished_at"]
    assert [e.outcome for e in events(second)] == ["open"] * 3
    before = len(server.asked)
    swept = again(config, second, NOW + 600, sweep=True, open=())
    assert sorted(set(paths(server, before))) == ["experiments/*", "pipelines/*", "pipelines/*/versions/*",
                                                 "runs?created_at", "runs?finished_at"]  # fmt: skip
    assert len(json.dumps(state(swept))) < 1 << 20
    with capsys.disabled():
        print(f"\nsecond pull of 205 runs, 3 of them open: {len(made)} requests; the fewest possible are 4")


def test_what_is_remembered_stays_below_a_mebibyte() -> None:
    memory = _kubeflow_server.Memory("s", 0)
    memory.known = {f"{n:036}": "0123456789" for n in range(20_000)}
    memory.names = {f"v:{n:036}": ["name" * 20, A, ["registry.example.com/image" * 4] * 20] for n in range(2_000)}
    assert len(json.dumps(memory.plain())) < 1 << 20
    assert len(memory.plain()["known"]) == 10_000
    assert list(memory.plain()["names"])[-1].endswith("1999")


def test_only_chosen_pipelines_and_experiments_are_read(server: Kubeflow, url: str) -> None:
    nightly, other = server.experiment("nightly"), server.experiment("try-out")
    fraud, scratch = server.pipeline("fraud-train"), server.pipeline("fraud-scratch")
    kept = server.done(NOW - 9000, experiment=nightly, pipeline=fraud)
    server.done(NOW - 8000, experiment=other, pipeline=fraud)
    server.done(NOW - 7000, experiment=nightly, pipeline=scratch)
    server.done(NOW - 6000, experiment=nightly)
    config = configured(url, pipelines=("fraud-*",), experiments=("nightly",), ignore=("*-scratch",))
    first = pulled(config)
    assert [e.key for e in events(first)] == [kept["run_id"]]
    assert paths(server).count("runs/*") == 1
    again(config, first, NOW + 300, sweep=True)
    assert paths(server).count("runs/*") == 1


def test_a_list_that_lacks_a_run_is_asked_for_again_and_given_up_if_it_goes_on(server: Kubeflow, url: str) -> None:
    for number in range(3):
        server.done(NOW - 9000 + number)
    good, lacking = server._listed, [1]

    def listed(query: dict[str, str]) -> Answer:
        answer = good(query)
        if lacking and lacking.pop() is not None:
            answer.body["runs"].pop(1)
        return answer

    server._listed = listed  # type: ignore[method-assign]
    assert len(events(pulled(configured(url)))) == 3
    lacking.extend([1] * 10)
    with pytest.raises(SourceDown, match=r"gives 2 of 3 runs"):
        pulled(configured(url))


def test_a_page_that_leads_to_itself_is_given_up(server: Kubeflow, url: str) -> None:
    server.done(NOW - 9000)
    good = server._listed

    def listed(query: dict[str, str]) -> Answer:
        answer = good({name: value for name, value in query.items() if name != "page_token"})
        return Answer({**answer.body, "next_page_token": "again"})

    server._listed = listed  # type: ignore[method-assign]
    with pytest.raises(SourceDown, match="same page again and again"):
        pulled(configured(url))


# -- who may see it


def test_a_profile_is_named_where_there_are_several_users(server: Kubeflow, url: str) -> None:
    server.multi_user = True
    mine, other = server.experiment(namespace="ml-team"), server.experiment(namespace="others")
    run = server.done(NOW - 9000, experiment=mine)
    server.done(NOW - 9000, experiment=other)
    with pytest.raises(SourceRefused, match="empty namespace in multi-user mode"):
        pulled(configured(url))
    assert [e.key for e in events(pulled(configured(url, namespace="ml-team")))] == [run["run_id"]]


def test_a_cookie_logs_in_and_a_login_page_says_so(server: Kubeflow, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    server.cookie = "oauth2_proxy_kubeflow=s3cret-cookie"
    server.done(NOW - 9000)
    monkeypatch.setenv("KFP", "s3cret-cookie")
    config = configured(url, cookie="oauth2_proxy_kubeflow", common={"token_env": "KFP"})
    assert [e.outcome for e in events(pulled(config))] == ["good"]
    with pytest.raises(SourceRefused, match="login page"):
        pulled(configured(url))


def test_a_planted_token_is_found_nowhere(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither from a server that repeats it in data and refusals, nor from a pull that breaks off."""
    caplog.set_level("DEBUG")
    server, said = Kubeflow(token=faults.TOKEN), []
    run = server.done(NOW - 9000, name=f"run of {faults.TOKEN}", parameters={"key": faults.TOKEN})
    server.artifact(server.task(run, "t", NOW - 8900), "Dataset", "d", NOW - 8900, uri=f"s3://{faults.TOKEN}/x")
    echo = Answer({"error": f"no {faults.TOKEN}", "message": f"Bearer {faults.TOKEN}"}, 403)
    with faults.virtual():
        for route in (server.answer, lambda asked: echo, server.answer):
            with open_store(tmp_path / "t.duckdb") as store, serve(route) as running:
                config = configured(running.url, common={"token_env": faults.TOKEN_ENV})
                outcome = collect.pull(store, Source(config.common, kubeflow, config), NOW, since=NOW - DAY)
                said.append(repr(outcome))
                assert bool(outcome.error) is (route != server.answer)
    out, err = capfd.readouterr()
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert faults.TOKEN.encode() not in stored
    assert not [text for text in (*said, out, err, caplog.text) if faults.TOKEN in text]


def test_hostile_names_stay_data(server: Kubeflow, url: str) -> None:
    name = '<script>alert(1)</script>";--\n../..\u202e'
    pipeline = server.pipeline(name)
    run = server.done(NOW - 9000, experiment=server.experiment(name), pipeline=pipeline, name=name,
                      parameters={name: name})  # fmt: skip
    task = server.task(run, name, NOW - 8900)
    server.artifact(task, "Metric", name, NOW - 8900, number_value=0.5)
    server.artifact(task, "ClassificationMetric", name, NOW - 8900, metadata=matrix([name, "b"], [[1, 0], [0, 1]]))
    pages = pulled(configured(url))
    (event,), (sample,), (fact,) = events(pages), samples(pages), facts(pages)
    assert (event.title, dict(event.labels)["pipeline"], dict(event.labels)[f"param.{name}"]) == (name, name, name)
    assert (sample.series.name, dict(sample.series.labels)["task"]) == (name, name)
    assert dict(fact.series.labels)["metrics"] == name


def test_without_an_address_it_says_what_to_do() -> None:
    with pytest.raises(SourceRefused, match=r'set url = .* for the source "kfp"\.'):
        pulled(configured(""))
