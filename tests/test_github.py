"""GitHub: attempts, status histories, caps, re-runs, few requests; files and pulls say the same."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _http, github
from connectors._files import item
from tandem import connect, times
from tandem.config import parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, Event, Page
from tests.github_server import Repository, serving

HERE = Path(__file__).parent / "payloads" / "github"
NOW = times.iso("2026-11-20T12:00:00Z")


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def url(repository: Repository) -> Iterator[str]:
    with serving(repository) as base:
        yield base


def configured(url: str = "", **more: Any) -> github.Config:
    common = Common("github", "ci", status=more.pop("status", {}))
    return github.Config(common, repository=more.pop("repository", "acme/checkout"), url=url or github.API, **more)


def pulled(config: github.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(github.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def events(pages: list[Page]) -> list[Event]:
    return [record for page in pages for record in page.records]


def state(pages: list[Page]) -> Any:
    """The last state, as it comes back out of the store."""
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def parsed(path: Path, config: github.Config | None = None) -> list[Page]:
    return list(github.parse(item(path, Given()), config or configured()))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def written(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(document) for document in documents))
    return path


# -- one pull


def test_every_attempt_of_a_run_is_an_event_of_the_same_creation(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 3 * DAY, "failure", lasted=100)
    repository.rerun(1, NOW - 2 * DAY, "failure", lasted=50)
    repository.rerun(1, NOW - DAY, "success", lasted=70)
    found = events(pulled(configured(url)))
    assert [(e.key, e.attempt, e.outcome, e.ts) for e in found] == [
        ("1", 1, "bad", NOW - 3 * DAY), ("1", 2, "bad", NOW - 3 * DAY), ("1", 3, "good", NOW - 3 * DAY),
    ]  # fmt: skip
    assert [(e.started, e.ended) for e in found] == [
        (None, NOW - 3 * DAY + 100), (NOW - 2 * DAY, NOW - 2 * DAY + 50), (NOW - DAY, NOW - DAY + 70),
    ]  # fmt: skip
    assert [e.actor for e in found] == ["ada", "grace", "grace"]
    assert dict(found[0].labels) == {
        "repository": "acme/checkout", "workflow": "CI", "branch": "main", "event": "push", "conclusion": "failure",
    }  # fmt: skip


def test_a_later_inactive_never_changes_how_a_deployment_ended(repository: Repository, url: str) -> None:
    for number, states in enumerate(
        (["in_progress", "success", "inactive"], ["queued", "failure", "success"], ["pending"]), 1
    ):
        repository.deploy(number, NOW - 1000, ref=f"v{number}")
        for at, word in enumerate(states):
            repository.status(number, NOW - 900 + 10 * at, word)
    good, bad, still = events(pulled(configured(url)))
    assert (good.outcome, good.started, good.ended) == ("good", NOW - 900, NOW - 890)
    assert (bad.outcome, bad.started, bad.ended) == ("bad", None, NOW - 890)
    assert (still.outcome, still.ended) == ("open", None)
    assert (good.version, good.environment, dict(good.labels)["conclusion"]) == ("v1", "production", "success")


def test_releases_are_published_ones(repository: Repository, url: str) -> None:
    repository.release(1, NOW - DAY, "v1.0")
    repository.release(2, None, "v1.1")
    pages = pulled(configured(url))
    (release,) = events(pages)
    assert (release.kind, release.version, release.ts, release.title) == ("release", "v1.0", NOW - DAY, "Release v1.0")
    assert reasons(pages) == {"draft releases are not counted": 1}


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(
    repository: Repository, url: str
) -> None:
    for number, (word, outcome) in enumerate(github.ABOUT.status.items(), 1):
        repository.run(number, NOW - 9000 + number, word if outcome != "open" else None)
        if outcome == "open":
            repository.runs[number][0]["status"] = word
    repository.run(99, NOW - 500, "exploded")
    pages = pulled(configured(url))
    found = {int(e.key): e.outcome for e in events(pages)}
    assert [found[number] for number in range(1, len(github.ABOUT.status) + 1)] == list(github.ABOUT.status.values())
    assert found[99] == "excluded"
    assert sum(count for reason, count in reasons(pages).items() if '"exploded"' in reason) == 1
    own = events(pulled(configured(url, status={"exploded": "bad", "success": "excluded"})))
    assert {e.key: e.outcome for e in own}["99"] == "bad"
    assert {e.key: e.outcome for e in own}["1"] == "excluded"


# -- caps, paging, inserts


def test_windows_over_the_cap_are_halved_and_every_run_is_found_once(repository: Repository, url: str) -> None:
    for number in range(1, 3501):
        repository.run(number, NOW - 80 * DAY + number * 37)
    pages = pulled(configured(url))
    found = events(pages)
    assert [int(e.key) for e in found] == list(range(1, 3501))
    assert max(len(page.records) for page in pages) < 1000
    assert all(page.covered is None for page in pages)


def test_422_of_a_too_large_list_is_halved_too(repository: Repository, url: str) -> None:
    for number in range(1, 1301):
        repository.run(number, NOW - 10_000 + number)
    repository.too_many = 400
    assert len(events(pulled(configured(url), since=NOW - 20_000))) == 1300
    assert 422 in repository.served


def test_more_than_the_cap_in_one_second_is_a_gap(repository: Repository, url: str) -> None:
    for number in range(1, 1102):
        repository.run(number, NOW - 100)
    pages = pulled(configured(url), since=NOW - 3000)
    assert len(events(pages)) == 1000
    assert [(gap.since, gap.until) for page in pages for gap in page.gaps] == [(NOW - 100, NOW - 99)]
    assert [(c.since, c.until) for c in pages[-1].covered or ()] == [(NOW - 3000, NOW - 100), (NOW - 99, NOW)]


def test_runs_inserted_and_deleted_in_mid_walk_lose_nothing(repository: Repository, url: str) -> None:
    for number in range(1, 351):
        repository.run(number, NOW - 5000 + number)
    repository.before[3] = lambda: [repository.run(900 + n, NOW - 10 + n) for n in range(3)]  # type: ignore[func-returns-value]
    assert len(events(pulled(configured(url), since=NOW - 6000))) == 353
    repository.before[len(repository.asked) + 2] = lambda: repository.runs.pop(900)
    found = events(pulled(configured(url), since=NOW - 6000))
    assert {int(e.key) for e in found} >= {*range(1, 351), 901, 902}


def test_a_list_shorter_than_its_total_is_a_gap(
    repository: Repository, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository.run(1, NOW - 100)
    real = repository._runs

    def lying(query: dict[str, str], whole: str) -> Any:
        status, headers, body = real(query, whole)
        return status, headers, {**body, "total_count": 5}

    monkeypatch.setattr(repository, "_runs", lying)
    pages = pulled(configured(url), since=NOW - 3000)
    assert [gap.reason for page in pages for gap in page.gaps] == ["GitHub says 5 runs and lists 1"]
    assert pages[-1].covered == ()


# -- what changes later


def test_a_second_pull_makes_the_fewest_requests(
    repository: Repository, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 301):
        repository.run(number, NOW - 20 * DAY + number * 600, "success" if number % 7 else "failure")
    repository.run(500, NOW - 7200, None)
    for number in range(1, 41):
        repository.deploy(number, NOW - 20 * DAY + number * 3600)
        repository.status(number, NOW - 20 * DAY + number * 3600 + 60, "success")
    repository.deploy(50, NOW - 7200)
    repository.status(50, NOW - 7100, "in_progress")
    repository.release(1, NOW - DAY, "v1")
    first = pulled(configured(url))
    still = tuple(e for e in events(first) if e.outcome == "open")
    assert {(e.kind, e.key) for e in still} == {("build", "500"), ("deployment", "50")}

    made = len(repository.asked)
    quiet = pulled(configured(url), NOW - 900, NOW + 300, first=False, state=state(first), open=still)
    asked = [target.partition("?")[0].rpartition("checkout/")[2] for target in repository.asked[made:]]
    fewest = ["actions/runs", "actions/runs/500", "deployments", "deployments/50/statuses", "releases"]
    print(f"second pull: {len(asked)} requests, fewest possible {len(fewest)}")
    assert sorted(asked) == fewest
    assert repository.served[made:].count(304) == 3

    repository.finish(500, NOW + 400, "success")
    repository.status(50, NOW + 410, "success")
    made = len(repository.asked)
    third = pulled(configured(url), NOW - 600, NOW + 600, first=False, state=state(quiet), open=still)
    assert {(e.kind, e.key, e.outcome) for e in events(third)} == {
        ("build", "500", "good"), ("deployment", "50", "good"),
    }  # fmt: skip
    assert len(repository.asked) - made == 6  # the deployment itself too: its statuses changed

    made = len(repository.asked)
    fourth = pulled(configured(url), NOW - 300, NOW + 900, first=False, state=state(third))
    assert events(fourth) == []
    assert len(repository.asked) - made == 3
    assert "fewest possible 5" in capsys.readouterr().out


def test_a_rerun_of_an_old_run_is_found_by_the_sweep_with_one_list(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 20 * DAY, "failure")
    repository.run(2, NOW - 19 * DAY, "success")
    repository.run(3, NOW - 40 * DAY, "failure")
    first = pulled(configured(url))
    repository.rerun(1, NOW + 100, "success")
    later = {"since": NOW - 600, "until": NOW + 600, "first": False, "state": state(first)}
    assert events(pulled(configured(url), **later)) == []
    repository.asked.clear()
    swept = pulled(configured(url), **later, sweep=True)
    changed = [e for e in events(swept) if e.key == "1"]
    assert [(e.attempt, e.outcome, e.ts) for e in changed] == [(2, "good", NOW - 20 * DAY)]
    assert {e.key for e in events(swept)} == {"1", "2"}
    assert not [target for target in repository.asked if "attempts" in target]


def test_a_sweep_never_reaches_before_the_first_pull(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 20 * DAY)
    first = pulled(configured(url), since=NOW - 5 * DAY)
    swept = pulled(configured(url), since=NOW - 600, first=False, sweep=True, state=state(first))
    assert events(first) == events(swept) == []


def test_losing_the_state_costs_requests_and_changes_no_event(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 3000, "failure")
    repository.rerun(1, NOW - 2000, "success")
    repository.deploy(1, NOW - 1500)
    repository.status(1, NOW - 1400, "success")
    kept = state(pulled(configured(url)))
    with_state = events(pulled(configured(url), since=NOW - 6000, first=False, state=kept))
    without = events(pulled(configured(url), since=NOW - 6000, first=False))
    assert [(e.key, e.attempt) for e in with_state] == [("1", 2)]
    assert [e for e in without if e in with_state] == with_state
    assert len(without) == 3


def test_a_pull_that_was_cut_goes_on_where_it_stood(repository: Repository, url: str) -> None:
    for number in range(1, 2501):
        repository.run(number, NOW - 80 * DAY + number * 100)
    config, pull = configured(url), Pull(NOW - 90 * DAY, NOW, NOW, first=True)
    begun: list[Page] = []
    for page in github.fetch(config, pull):
        begun.append(page)
        if len(events(begun)) > 1000:
            break
    rest = list(github.fetch(config, replace(pull, state=state(begun))))
    keys = [e.key for e in events(begun)] + [e.key for e in events(rest)]
    assert sorted(keys, key=int) == [str(number) for number in range(1, 2501)]


def test_what_ends_at_or_after_until_is_still_open(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 100, "success", lasted=100)
    repository.run(2, NOW, "success")
    repository.deploy(1, NOW - 100)
    repository.status(1, NOW - 50, "in_progress")
    repository.status(1, NOW, "success")
    first = pulled(configured(url))
    assert [(e.kind, e.key, e.outcome, e.ended) for e in events(first)] == [
        ("build", "1", "open", None), ("deployment", "1", "open", None),
    ]  # fmt: skip
    second = pulled(configured(url), NOW - 900, NOW + 300, first=False, state=state(first), open=tuple(events(first)))
    done = {(e.kind, e.key): e for e in events(second)}
    assert {key: e.outcome for key, e in done.items()} == {
        ("build", "1"): "good", ("build", "2"): "good", ("deployment", "1"): "good",
    }  # fmt: skip
    assert all(done[e.kind, e.key].revision > e.revision for e in events(first))


def test_an_open_run_that_was_deleted_is_not_asked_for_again(repository: Repository, url: str) -> None:
    repository.run(1, NOW - 5000, None)
    first = pulled(configured(url))
    repository.runs.clear()
    second = pulled(configured(url), NOW - 900, NOW, first=False, state=state(first), open=tuple(events(first)))
    assert [(e.key, e.outcome) for e in events(second)] == [("1", "excluded")]
    assert reasons(second) == {"an open build is no longer there and is excluded": 1}


# -- limits and refusals


def test_a_used_up_rate_limit_waits_until_its_reset(
    repository: Repository, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    repository.run(1, NOW - 100)
    repository.refusals = [
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(NOW + 77)}),
        (429, {"Retry-After": "13"}),
    ]
    assert len(events(pulled(configured(url)))) == 1
    assert waits == [77, 13]


def test_a_pull_without_a_repository_says_what_to_set() -> None:
    with pytest.raises(SourceRefused, match='set repository = "owner/name"'):
        pulled(configured(repository=""))


def test_the_state_stays_small(repository: Repository, url: str) -> None:
    for number in range(1, 2001):
        repository.run(30_000_000_000 + number, NOW - 10 * DAY + number * 60)
    kept = state(pulled(configured(url)))
    per_run = len(json.dumps(kept)) / 2000
    most = github.RUNS_KNOWN * per_run + github.DEPLOYMENTS_KNOWN * 45 + github.TAGS_KNOWN * 260
    assert most < 1 << 20


# -- files


def test_a_dump_of_the_api_gives_the_very_events_of_a_pull(repository: Repository, url: str, tmp_path: Path) -> None:
    for number in range(1, 151):
        repository.run(number, NOW - 9000 + number, "success" if number % 3 else "failure")
    repository.rerun(5, NOW - 800, "success")
    repository.run(900, NOW - 20, None)
    repository.deploy(1, NOW - 5000)
    for at, word in enumerate(("queued", "in_progress", "success")):
        repository.status(1, NOW - 4000 + at, word)
    repository.release(1, NOW - DAY, "v1")
    whole = events(pulled(configured(url)))

    pages = [repository._runs({"per_page": "100", "page": str(page)}, "")[2] for page in (1, 2)]
    folder = tmp_path / "export"
    folder.mkdir()
    written(folder / "runs.json", *pages, repository.runs[5][0])
    written(folder / "deployments.json", list(repository.deployments.values()))
    written(folder / "deployment_1_statuses.json", repository.statuses[1])
    written(folder / "releases.json", repository.releases)
    assert github.recognise(item(folder, Given()))
    assert sorted(events(parsed(folder)), key=repr) == sorted(whole, key=repr)

    # Later statuses that decide nothing leave the event as it was.
    repository.status(1, NOW - 10, "inactive")
    assert [e for e in events(pulled(configured(url))) if e.kind == "deployment"] == [
        e for e in whole if e.kind == "deployment"
    ]


def test_gh_run_list_says_the_same_and_gives_way_to_the_api(repository: Repository, url: str, tmp_path: Path) -> None:
    repository.run(1, NOW - 5000, "failure")
    repository.rerun(1, NOW - 4000, "success")
    row = repository.runs[1][-1]
    names = {"id": "databaseId", "run_attempt": "attempt", "run_started_at": "startedAt", "created_at": "createdAt"}
    names |= {"updated_at": "updatedAt", "head_branch": "headBranch", "head_sha": "headSha", "html_url": "url"}
    names |= {"display_title": "displayTitle", "name": "workflowName"}
    names |= {same: same for same in ("event", "status", "conclusion")}
    exported = {theirs: row[ours] for ours, theirs in names.items()}
    (reduced,) = events(parsed(written(tmp_path / "runs.json", [exported])))
    full = next(e for e in events(pulled(configured(url))) if e.attempt == 2)
    assert reduced == replace(full, actor="", revision=full.revision - 1)


def test_the_hand_written_export_of_gh(tmp_path: Path) -> None:
    assert github.recognise(item(HERE / "gh_run_list.json", Given()))
    done, running = events(parsed(HERE / "gh_run_list.json"))
    assert (done.key, done.attempt, done.outcome) == ("7001", 2, "good")
    assert (done.started, done.ended) == (times.iso("2026-11-02T10:00:00Z"), times.iso("2026-11-02T10:04:00Z"))
    assert (running.outcome, running.started, running.ended) == ("open", None, None)
    assert dict(done.labels)["repository"] == "acme/checkout"
    rows = json.loads((HERE / "gh_run_list.json").read_text())
    short = parsed(written(tmp_path / "short.json", [{k: v for k, v in rows[0].items() if k != "attempt"}, rows[1]]))
    assert len(events(short)) == 1
    assert reasons(short) == {"a run lacks attempt; add it to the fields of gh run list --json": 1}


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("openapi_runs.json", ["build"]),
        ("openapi_run_attempt.json", ["build"]),
        ("openapi_deployments.json", ["deployment"]),
        ("openapi_deployment_statuses.json", []),
        ("openapi_releases.json", ["release"]),
        ("webhook_workflow_run.json", ["build"] * 2),
        ("webhook_deployment.json", ["deployment"]),
        ("webhook_deployment_status.json", ["deployment"]),
        ("webhook_release.json", ["release"]),
        ("webhook_workflow_job.json", []),
    ],
)
def test_published_examples(name: str, kinds: list[str]) -> None:
    given = item(HERE / name, Given())
    assert github.recognise(given)
    found = events(list(github.parse(given, configured(repository=""))))
    assert [e.kind for e in found] == kinds
    assert all(dict(e.labels)["repository"].count("/") == 1 for e in found)


def test_jobs_are_not_recognised_and_their_deliveries_are_remarked() -> None:
    assert not github.recognise(item(HERE / "openapi_jobs.json", Given()))
    assert reasons(parsed(HERE / "webhook_workflow_job.json")) == {
        "workflow_job deliveries are not counted: runs hold their outcome": 4
    }


def test_other_peoples_repositories_are_left_out_and_counted() -> None:
    pages = parsed(HERE / "webhook_release.json", configured(repository="acme/checkout"))
    assert events(pages) == []
    assert reasons(pages) == {'objects of another repository than "acme/checkout" are left out': 4}
    ours = item(HERE / "gh_run_list.json", Given())
    assert github.belongs(ours, configured())
    assert not github.belongs(ours, configured(repository="acme/payments"))


def deliveries(repository: Repository) -> list[dict[str, Any]]:
    """What GitHub would have sent for the repository's deployments and runs."""
    where = {"repository": {"full_name": repository.name}}
    found: list[dict[str, Any]] = []
    for number, deployment in repository.deployments.items():
        found.append({"action": "created", "deployment": deployment, **where})
        for status in reversed(repository.statuses[number]):
            found.append({"action": "created", "deployment_status": status, "deployment": deployment, **where})
    for attempts in repository.runs.values():
        for attempt in attempts:
            queued = {**attempt, "status": "queued", "conclusion": None, "updated_at": attempt["run_started_at"]}
            found.append({"action": "requested", "workflow_run": queued, **where})
            found.append({"action": "completed", "workflow_run": attempt, **where})
    return found


def test_webhooks_in_any_order_and_repeated_give_the_same(repository: Repository, tmp_path: Path) -> None:
    repository.run(1, NOW - 5000, "failure")
    repository.rerun(1, NOW - 4000, "success")
    repository.deploy(1, NOW - 5000)
    for at, word in enumerate(("in_progress", "success", "inactive")):
        repository.status(1, NOW - 4000 + at, word)
    sent = deliveries(repository)
    straight, shuffled = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"
    straight.write_text("\n".join(json.dumps(one) for one in sent))
    shuffled.write_bytes(gzip.compress("\n".join(json.dumps(one) for one in [*sent[::-1], *sent[3:]]).encode()))
    assert github.recognise(item(shuffled, Given()))
    found = events(parsed(straight))
    assert found == events(parsed(shuffled))
    assert [(e.kind, e.attempt, e.outcome) for e in found] == [
        ("build", 1, "bad"), ("build", 2, "good"), ("deployment", 1, "good"),
    ]  # fmt: skip
    envelope = written(tmp_path / "c.json", *({"id": n, "event": "x", "request": {"headers": {}, "payload": one}}
                                              for n, one in enumerate(sent)))  # fmt: skip
    assert events(parsed(envelope)) == found


def test_part_of_a_history_never_outranks_the_whole_of_it(repository: Repository, url: str, tmp_path: Path) -> None:
    repository.deploy(1, NOW - 5000)
    for at, word in enumerate(("in_progress", "success", "in_progress", "failure", "inactive")):
        repository.status(1, NOW - 4000 + at, word)
    (whole,) = events(pulled(configured(url)))
    sent = deliveries(repository)
    for part in range(1, len(sent)):
        for found in events(parsed(written(tmp_path / "part.json", *sent[part : part + 1]))):
            assert found.revision < whole.revision
    (full,) = events(parsed(written(tmp_path / "full.json", *sent)))
    assert full == replace(whole, revision=whole.revision - 1)
    lone = parsed(written(tmp_path / "lone.json", sent[-1]))
    assert events(lone) == []
    assert list(reasons(lone)) == ["a deployment is known by a last status that says nothing of its result"]


def test_filters_and_switches_hold_for_files_too(repository: Repository, tmp_path: Path) -> None:
    repository.run(1, NOW - 100)
    repository.run(2, NOW - 90)
    repository.runs[2][0].update(name="Nightly", path=".github/workflows/nightly.yml@main", head_branch="dev")
    file = written(
        tmp_path / "runs.json", {"total_count": 2, "workflow_runs": [repository.runs[1][0], repository.runs[2][0]]}
    )
    assert [e.key for e in events(parsed(file, configured(workflows=("night*.yml",))))] == ["2"]
    assert [e.key for e in events(parsed(file, configured(branches=("main",))))] == ["1"]
    releases = HERE / "openapi_releases.json"
    assert events(parsed(releases, configured(repository="", releases=False))) == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"created_at": "2026-11-02T10:00:00"}, "has no offset"),
        ({"created_at": None}, "an object has no created_at"),
        ({"created_at": "0001-01-01T00:00:00Z"}, "an object has no created_at"),
        ({"id": "7"}, "an object has no id"),
        ({"run_attempt": 0}, "a run has no run_attempt"),
        ({"updated_at": "yesterday"}, "is not an ISO 8601 time"),
    ],
)
def test_an_object_that_cannot_be_counted_is_named_and_the_rest_lands(
    repository: Repository, tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    repository.run(1, NOW - 100)
    repository.run(2, NOW - 90)
    broken = {**repository.runs[1][0], **change}
    pages = parsed(written(tmp_path / "runs.json", [broken, repository.runs[2][0], 17]))
    assert [e.key for e in events(pages)] == ["2"]
    assert any(reason in said for said in reasons(pages))


def test_a_cut_file_is_refused_with_one_sentence(tmp_path: Path) -> None:
    cut = tmp_path / "runs.json"
    cut.write_bytes((HERE / "openapi_runs.json").read_bytes()[:5000])
    with pytest.raises(SourceRefused, match=r"runs\.json line \d+ is not JSON"):
        parsed(cut)


def test_an_end_before_the_start_is_no_end(repository: Repository, tmp_path: Path) -> None:
    repository.run(1, NOW - 100, "success", lasted=-50)
    (event,) = events(parsed(written(tmp_path / "runs.json", [repository.runs[1][0]])))
    assert (event.outcome, event.ended) == ("good", None)


@pytest.mark.parametrize("text", ["[]", "{}", '{"tag_name": "x"}', "<html>", "run_attempt", '[{"name": "a"}]', ""])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert not github.recognise(item(path, Given()))


# -- what it says of itself


def test_scope_is_the_host_and_the_repository() -> None:
    assert github.scope(configured(repository="Acme/Checkout")) == "api.github.com/acme/checkout"
    assert github.scope(configured("file:exports")) == "api.github.com/acme/checkout"
    assert github.scope(configured("https://ghe.corp/api/v3")) == "ghe.corp/acme/checkout"


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", github.ABOUT.example, flags=re.M) if uncommented else github.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.repository == "acme/checkout"
    assert source.config.workflows == (("CI", "release*") if uncommented else ())


def test_its_aliases_load_it() -> None:
    assert {connect.canonical(name) for name in ("github", *github.ABOUT.aliases)} == {"github"}
