"""The sample company's deployments, pipelines, cluster and infrastructure: collected, they come to what was planted."""

from __future__ import annotations

import gzip
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tandem import collect, config, lanes, report
from tandem.bins import DURATION
from tandem.measure import Filters, Measures
from tandem.report import Window
from tandem.store.file import open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
START, END = (int(TRUTH[name].timestamp()) for name in ("start", "end"))
WHOLE = Window(START, END)
NEW = ("argocd", "git", "gitlab", "kubernetes", "terraform")
SOURCES = (
    "github-checkout-api", "github-search-api", "github-auth-api", "github-payments-gateway", "github-eta-api",
    "gitlab-reco-api", "argo", "cluster", "infrastructure", "history-auth-api",
)  # fmt: skip


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A store of those sources as they stand when the exports end; a second pull of each changes nothing."""
    found = config.load(HERE / "tandem.toml")
    found = replace(found, sources=tuple(one for one in found.sources if one.name in SOURCES))
    assert len(found.sources) == len(SOURCES)
    with open_store(tmp_path_factory.mktemp("company") / "tandem.duckdb") as store:
        for now in (END, END + 60):
            for source in found.sources:
                told = collect.pull(store, source, now)
                assert not told.failed, told
                assert not told.rejected, told
        yield SimpleNamespace(config=found, store=store)


def shown(company: Any, component: str) -> dict[str, Any]:
    return report.show(company, component, WHOLE, now=END)


def lane(company: Any, *kinds: str) -> list[Any]:
    measures = Measures(Reader(company.store), company.config, WHOLE, END, Filters())
    names = [one.name for one in company.config.components]
    return [one for one in lanes.changed(measures, WHOLE, names, "production") if one.kind in kinds]


def ratio(company: Any, component: str, signal: str) -> tuple[int, int]:
    [mine] = [one for one in shown(company, component)["signals"] if one["signal"] == signal]
    return mine["good"], mine["total"]


def packed(name: str) -> Any:
    return json.loads(gzip.decompress((FILES / name).read_bytes()))


def deployed(repository: str) -> list[dict[str, Any]]:
    """GitHub's deployments, each with the state that its statuses ended in."""
    found = packed(f"github/{repository}/deployments.json.gz")
    return [{**one, "ended": max(one["statuses"], key=lambda status: status["id"])["state"]} for one in found]


@pytest.mark.parametrize("true", TRUTH["twice_told"], ids=lambda one: one["component"])
def test_what_github_and_argo_cd_both_told_is_one_change_each(company: Any, true: Mapping[str, Any]) -> None:
    told = deployed(true["component"])
    applications = json.loads((FILES / "argocd" / "requests.jsonl").read_text())["body"]["items"]
    [mine] = [one for one in applications if one["metadata"]["name"] == true["component"]]
    synced = mine["status"]["history"]
    assert (len(told), len(synced)) == (true["github"], true["argo"]), "the files hold what was planted"
    good = [one for one in told if one["ended"] == "success"]
    assert sorted(one["revision"] for one in synced) == sorted(one["sha"] for one in good)

    answer = shown(company, true["component"])["delivery"]
    assert len(answer["changes"]) == true["changes"]
    seen = [tuple(one["source"] for one in change["seen_by"]) for change in answer["changes"]]
    assert sum(len(some) == 2 for some in seen) == len(synced)
    assert set(seen) == {tuple(true["sources"]), (true["sources"][0],)}
    assert answer["metrics"]["frequency"]["n"] == len(good), "each that ran counts once"
    drawn = [one for one in lane(company, "deployment", "rollback") if true["component"] in one.components]
    assert len(drawn) == true["changes"]
    assert sum(one.source == ", ".join(true["sources"]) for one in drawn) == len(synced)
    assert sum(one.kind == "rollback" for one in drawn) == true["rollbacks"]
    assert ratio(company, true["component"], "deploy_success")[1] == true["github"], "not both sources"


def test_deployments_that_one_source_told_stay_one(company: Any) -> None:
    for name in ("auth-api", "payments-gateway", "eta-api"):
        answer = shown(company, name)["delivery"]
        assert answer["metrics"]["frequency"]["n"] == sum(one["ended"] == "success" for one in deployed(name)), name


def test_the_pipelines_of_the_team_on_gitlab(company: Any) -> None:
    [true] = TRUTH["pipelines"]
    rows, jobs, made = (packed(f"gitlab/reco-api/{name}.json.gz") for name in ("pipelines", "jobs", "deployments"))
    assert (len(rows), len(jobs), len(made)) == (true["pipelines"], true["jobs"], true["deployments"])
    assert len({one["id"] for one in jobs}) == len(jobs)
    words = [one["status"] for one in rows]
    passed = words.count("success")
    assert ratio(company, "reco-api", "build_success") == (passed, passed + words.count("failed"))
    answer = shown(company, "reco-api")["delivery"]
    assert answer["metrics"]["frequency"]["n"] == sum(one["status"] == "success" for one in made)
    assert not (FILES / "github" / "reco-api").exists()


def test_caches_that_were_killed_are_restarts_at_their_times(company: Any) -> None:
    found = lane(company, "restart")
    assert [(one.ts, one.components, one.outcome) for one in found] == [
        (int(one["at"].timestamp()), (one["component"],), "bad") for one in TRUTH["restart"]
    ]
    [event] = [one for one in TRUTH["event"] if one["key"] == "out-of-memory"]
    assert all(event["cause"] in one.title for one in found)
    assert len(found) == event["restarts"]


def test_applies_are_changes_of_infrastructure_and_find_what_was_changed_by_hand(company: Any) -> None:
    found = lane(company, "infrastructure")
    applied = [one for one in found if one.ended is not None]
    assert [(one.ts, one.components[0], one.outcome) for one in applied] == [
        (int(one["start"].timestamp()), one["component"], one["outcome"])
        for one in sorted(TRUTH["apply"], key=lambda one: one["start"])
    ]
    [event] = [one for one in TRUTH["event"] if one["key"] == "changed-by-hand"]
    [drift] = [one for one in found if one not in applied]
    assert event["start"].timestamp() < drift.ts < event["end"].timestamp()
    assert drift.title == f"{event['drifted']} of {event['resources']} resources drifted"
    delivered = {one["component"] for one in TRUTH["apply"]}
    assert all(shown(company, one)["delivery"]["metrics"]["fail_rate"]["n"] < 50 for one in delivered), (
        "none a deployment"
    )


def test_lead_times_are_those_of_the_log(company: Any) -> None:
    [true] = TRUTH["history"]
    fields = gzip.decompress((FILES / "git/auth-api/git-log.z.gz").read_bytes()).decode().split("\0")[:-1]
    commits = {fields[at]: (int(fields[at + 2]), int(fields[at + 3])) for at in range(0, len(fields), 7)}
    lines = gzip.decompress((FILES / "git/auth-api/git-tags.txt.gz").read_bytes()).decode().splitlines()
    tags = sorted((int(one.split("\x1f")[4]), one.split("\x1f")[3]) for one in lines)
    assert (len(commits), len(tags)) == (true["commits"], true["releases"])
    order = sorted(commits, key=lambda one: (commits[one][1], one))
    released, seconds = 0, []
    for place, (ts, commit) in enumerate(tags):
        upto = order.index(commit) + 1
        if place:
            seconds += [ts - commits[one][0] for one in order[released:upto]]
        released = max(released, upto)
    [mine] = [one for one in shown(company, "auth-api")["signals"] if one["signal"] == "lead_time"]
    assert mine["total"] == len(seconds)
    edges = np.array(DURATION.edges)
    for name, q in (("p50", 50), ("p95", 95)):
        said, exact = mine["quantiles"][name], np.percentile(seconds, q)
        assert np.searchsorted(edges, said) == np.searchsorted(edges, exact), f"{name}: {said} and {exact} in one bin"
    told = shown(company, "auth-api")["delivery"]["metrics"]["lead_time"]
    assert dict(told["known_by"]).get("commit", 0) > 0.8 * told["n"], (
        "most deployments know when their commit was written"
    )


def test_every_source_says_what_it_read(company: Any) -> None:
    """Two kinds of source: exports, and recorded answers that each look asks for again."""
    states = {one.name: one for one in report.sources(company, WHOLE, now=END).sources}
    assert set(states) == set(SOURCES)
    assert {one.connector for one in states.values()} == {
        "github", "gitlab", "argocd", "kubernetes", "terraform", "git",
    }  # fmt: skip
    assert all(one.newest for one in states.values())
    assert sum(path.stat().st_size for folder in NEW for path in (FILES / folder).rglob("*")) < 1_000_000
