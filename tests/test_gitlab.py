"""GitLab: attempts of pipelines, tries of jobs, tests in the end, deployments; paging by change; files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import _http, gitlab
from connectors._files import item
from connectors._gitlab import Objects
from tandem import collect, connect, flaky, times
from tandem.cli import main
from tandem.config import Source, parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, Event, Fact, Page, Ratio, bucket_of
from tandem.store import happenings
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import faults
from tests.gitlab_server import Project, sha
from tests.replay import Answer, serve

HERE = Path(__file__).parent / "payloads" / "gitlab"
NOW = times.iso("2026-11-20T12:00:00Z")


@pytest.fixture
def project() -> Project:
    return Project()


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with serve(project.answer) as server:
        yield server.url


def configured(url: str = gitlab.SERVER, **more: Any) -> gitlab.Config:
    common = Common("gitlab", "ci", component=("checkout",), **more.pop("common", {}))
    return gitlab.Config(common, url=url, **{"projects": ("acme/checkout",), **more})


def pulled(config: gitlab.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(gitlab.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def again(config: gitlab.Config, before: list[Page], since: int, until: int, **more: Any) -> list[Page]:
    still = tuple(event for event in events(before) if event.outcome == "open")
    return pulled(config, since, until, first=False, state=state(before), **{"open": still, **more})


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def facts(pages: list[Page]) -> list[tuple[int, Ratio]]:
    return [(one.ts, one.value) for page in pages for one in page.records if isinstance(one, Fact)]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def gaps(pages: list[Page]) -> list[str]:
    return [gap.reason for page in pages for gap in page.gaps]


def parsed(path: Path, config: gitlab.Config | None = None, **given: Any) -> list[Page]:
    one = item(path, Given(**given))
    assert gitlab.recognise(one)
    return list(gitlab.parse(one, config or configured(projects=())))


def ids(store: Store, signal: str) -> list[int]:
    return [kept.id for kept in Reader(store).series(signal=signal)]


def counted(store: Store, signal: str) -> dict[int, tuple[int, int]]:
    """(good, total) of a signal by bucket, as the store has it."""
    groups = dict.fromkeys(ids(store, signal), 0)
    return {
        ts: (int(good), int(total)) for _, ts, good, total in Reader(store).steps("ratio", groups, NOW - DAY, NOW, 300)
    }


def asked(project: Project, since: int = 0) -> list[str]:
    return [one.path.rpartition("acme%2Fcheckout/")[2] for one in project.asked[since:]]


# -- pipelines and their attempts


def test_a_pipeline_is_a_build_with_its_waiting_and_the_time_its_jobs_ran(project: Project, url: str) -> None:
    created = NOW - 5000
    project.pipeline(7, created)
    project.job(7, "compile", created, created + 30, 100, stage="build")
    project.job(7, "unit", created, created + 130, 60)
    project.job(7, "lint", created, created + 140, 20)
    project.job(7, "publish", created, created + 4000, 50, stage="deploy")  # a manual job, an hour later
    (build,) = events(pulled(configured(url)))
    assert (build.key, build.attempt, build.outcome, build.ts) == ("7", 1, "good", created)
    # 100 + 60 (20 of them at the same time) + 50: waiting for somebody is not running
    assert (build.started, build.ended) == (created + 30, created + 30 + 100 + 60 + 50)
    assert (build.commit, build.trigger, build.actor, build.title) == (sha(7), "push", "ada", "main")
    assert dict(build.labels) == {
        "project": "acme/checkout", "ref": "main", "source": "push", "status": "success", "workflow": "acme/checkout",
    }  # fmt: skip
    assert project.asked[0].path == "/api/v4/projects/acme%2Fcheckout/pipelines"


def test_a_retry_reopens_the_pipeline_as_another_attempt_and_nothing_counts_twice(project: Project, url: str) -> None:
    created = NOW - 5000
    project.pipeline(7, created, "failed")
    project.job(7, "unit", created, created + 10, 60, "failed")
    project.job(7, "deploy", created, None, 0, "skipped", stage="deploy")
    config = configured(url)
    first = pulled(config)
    assert [(e.attempt, e.outcome, e.ended) for e in events(first)] == [(1, "bad", created + 70)]

    # Retried: while it runs it is open again, and what the first attempt was stays.
    project.job(7, "unit", NOW + 100, NOW + 110, 50, "running")
    project.touch(7, NOW + 110, "running")
    second = again(config, first, NOW - 600, NOW + 120)
    assert [(e.attempt, e.outcome, e.ended) for e in events(second)] == [
        (1, "bad", created + 70), (2, "open", None),
    ]  # fmt: skip

    project.jobs[7][-1].update(status="success", finished_at=times.text(NOW + 160))
    project.jobs[7][1].update(
        status="success", started_at=times.text(NOW + 165), finished_at=times.text(NOW + 195), queued_duration=3.0
    )
    project.touch(7, NOW + 195, "success")
    third = again(config, second, NOW - 480, NOW + 300)
    assert [(e.attempt, e.outcome, e.started, e.ended) for e in events(third)] == [
        (1, "bad", created + 10, created + 70), (2, "good", NOW + 110, NOW + 110 + 50 + 30),
    ]  # fmt: skip
    assert {e.ts for e in events(third)} == {created}


def test_the_bucket_of_a_retried_pipeline_changes_and_is_counted_once(
    project: Project, url: str, tmp_path: Path
) -> None:
    created = bucket_of(NOW - 5000)
    project.run(7, created, "failed")
    project.suite(7, "unit", 8, ("test_pay", "test_send"))
    config = configured(url)
    seen = []
    with open_store(tmp_path / "t.duckdb") as store:
        for turn in range(2):
            if turn:
                project.job(7, "unit", NOW + 100, NOW + 110, 50)
                project.suite(7, "unit", 10)
                project.touch(7, NOW + 170, "success")
            outcome = collect.pull(store, Source(config.common, gitlab, config), NOW + 300 * turn, since=NOW - DAY)
            assert not outcome.error
            seen.append({signal: counted(store, signal) for signal in ("build_success", "test_success")})
        [(kept, lasted)] = Reader(store).totals("histogram", ids(store, "build_duration"), [(0, NOW + 900)]).items()
        reader, span = Reader(store), (NOW - DAY, NOW + 900)
        told = happenings.suite_runs(reader, ["checkout"], *span)
        runs = {("ci", suite): [(ts, key, commit) for _, _, key, ts, commit in told] for _, suite, *_ in told}
        named = [("ci", event) for _, event in happenings.troubled_tests(reader, ["checkout"], *span)]
        built = [("ci", event) for _, event in happenings.mixed_builds(reader, ["checkout"], *span)]
    assert [(one.name, one.flakes) for one in flaky.tests(named, runs, *span)] == [
        ("C.test_pay", 1),
        ("C.test_send", 1),
    ]
    assert [(one.name, one.seconds) for one in flaky.builds(built, {}, *span)] == [("acme/checkout", 60.0)]
    assert seen == [
        {"build_success": {created: (0, 1)}, "test_success": {created: (8, 10)}},
        {"build_success": {created: (1, 1)}, "test_success": {created: (10, 10)}},
    ]
    assert kept
    assert [sum(int(cell[0]) for cell in one.values()) for one in lasted] == [2]  # 60 s and 50 s, each once


@pytest.mark.parametrize(
    ("tries", "attempts"),
    [
        ([(0, 10, 60), (70, 75, 60)], 1),  # by itself, at once
        ([(0, 10, 60), (81, 90, 60)], 2),
        ([(0, 10, 60), (81, 90, 60), (400, 410, 20)], 3),
        ([(0, 10, 60), (81, 90, 60), (82, 91, 60)], 2),
    ],
)
def test_only_a_retry_of_a_pipeline_at_rest_is_another_attempt(
    project: Project, url: str, tries: list[tuple[int, int, int]], attempts: int
) -> None:
    project.pipeline(7, NOW - 5000)
    for made, started, lasted in tries:
        project.job(7, "unit", NOW - 5000 + made, NOW - 5000 + started, lasted, "failed")
    assert [e.attempt for e in events(pulled(configured(url)))] == list(range(1, attempts + 1))


def test_a_retry_while_another_job_runs_is_no_other_attempt(project: Project, url: str) -> None:
    project.pipeline(7, NOW - 5000)
    project.job(7, "slow", NOW - 5000, NOW - 4990, 900)
    project.job(7, "unit", NOW - 5000, NOW - 4990, 60, "failed")
    project.job(7, "unit", NOW - 4800, NOW - 4790, 60)
    (build,) = events(pulled(configured(url)))
    assert (build.outcome, build.ended) == ("good", NOW - 4990 + 900)


def test_an_earlier_attempt_is_judged_without_the_jobs_that_may_fail(project: Project, url: str) -> None:
    project.pipeline(7, NOW - 5000)
    project.job(7, "unit", NOW - 5000, NOW - 4990, 60)
    project.job(7, "lint", NOW - 5000, NOW - 4990, 60, "failed", may_fail=True)
    project.job(7, "lint", NOW - 3000, NOW - 2990, 60, may_fail=True)
    assert [e.outcome for e in events(pulled(configured(url)))] == ["good", "good"]
    project.jobs[7][0]["status"] = "canceled"
    assert [e.outcome for e in events(pulled(configured(url)))] == ["excluded", "good"]


def test_children_are_builds_of_their_own_unless_they_are_left_out(project: Project, url: str) -> None:
    project.run(1, NOW - 5000)
    project.run(2, NOW - 4900, "failed", source="parent_pipeline")
    found = events(pulled(configured(url)))
    assert [(e.key, e.trigger) for e in found] == [("1", "push"), ("2", "parent_pipeline")]
    assert [e.key for e in events(pulled(configured(url, children=False)))] == ["1"]


def test_refs_are_chosen_by_globs(project: Project, url: str) -> None:
    project.run(1, NOW - 5000, ref="main")
    project.run(2, NOW - 4000, ref="release/1.2")
    project.run(3, NOW - 3000, ref="feature/x")
    found = events(pulled(configured(url, refs=("main", "release/*"))))
    assert [e.key for e in found] == ["1", "2"]


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(project: Project, url: str) -> None:
    for number, word in enumerate(gitlab.ABOUT.status, 1):
        project.pipeline(number, NOW - 9000 + number, word)
    project.pipeline(99, NOW - 500, "exploded")
    pages = pulled(configured(url, tests=False))
    found = {int(e.key): e.outcome for e in events(pages)}
    assert [found[number] for number in range(1, len(gitlab.ABOUT.status) + 1)] == list(gitlab.ABOUT.status.values())
    assert found[99] == "excluded"
    assert sum(count for reason, count in reasons(pages).items() if '"exploded"' in reason) == 1
    own = configured(url, common={"status": {"exploded": "bad", "success": "excluded"}})
    assert {e.key: e.outcome for e in events(pulled(own))}["99"] == "bad"
    assert {e.key: e.outcome for e in events(pulled(own))}["1"] == "excluded"


# -- jobs


def test_jobs_in_place_of_pipelines_with_every_try_and_the_time_it_queued(project: Project, url: str) -> None:
    created = NOW - 5000
    project.pipeline(7, created)
    project.job(7, "compile", created, created + 30, 100, stage="build", queued=28.0)
    project.job(7, "unit", created, created + 200, 60, "failed", queued=12.0)
    project.job(7, "unit", created + 500, created + 510, 40, queued=9.0)
    found = events(pulled(configured(url, builds="jobs", tests=False)))
    assert [(e.key, e.attempt, e.outcome, e.started, e.ended) for e in found] == [
        ("7/build/compile", 1, "good", created + 30, created + 130),
        ("7/test/unit", 1, "bad", created + 200, created + 260),
        ("7/test/unit", 2, "good", created + 510, created + 550),
    ]  # fmt: skip
    # A job waits for a runner since the stage before it ended, not since the pipeline was made.
    assert [e.ts for e in found] == [created + 2, created + 188, created + 188]
    assert dict(found[1].labels)["job"] == "unit"
    assert {e.commit for e in found} == {sha(7)}


def test_a_job_that_never_started_counts_without_a_duration(project: Project, url: str) -> None:
    project.pipeline(7, NOW - 5000, "failed")
    project.job(7, "unit", NOW - 5000, None, 0, "failed", queued=None)
    (job,) = events(pulled(configured(url, builds="jobs", tests=False)))
    assert (job.outcome, job.ts, job.started, job.ended) == ("bad", NOW - 5000, None, NOW - 5000)
    (build,) = events(pulled(configured(url, tests=False)))
    assert (build.outcome, build.started, build.ended) == ("bad", None, None)


# -- tests


def test_tests_count_as_they_ended_and_each_attempt_names_what_failed(project: Project, url: str) -> None:
    created = NOW - 5000
    project.run(7, created, "failed")
    project.suite(7, "unit", 8, ("test_pay",), skipped=2)
    project.suite(7, "e2e", 3)
    config = configured(url)
    first = pulled(config)
    assert facts(first) == [(bucket_of(created), Ratio(11, 12))]
    red = {e.key: e for e in events(first, "test_run")}
    assert {(e.outcome, dict(e.labels).get("test")) for e in red.values()} == {
        ("good", None), ("bad", None), ("bad", "C.test_pay"),
    }  # fmt: skip
    assert dict(red["7/1:unit"].labels) == {
        "project": "acme/checkout", "ref": "main", "suite": "unit", "tests": "9", "failed": "1", "skipped": "2",
    }  # fmt: skip
    named = next(e for e in red.values() if "test" in dict(e.labels))
    assert dict(named.labels) | {"of": "7/1:unit", "result": "failed", "lost": "1.500"} == dict(named.labels)

    project.job(7, "unit", NOW + 10, NOW + 20, 60)
    project.suite(7, "unit", 9, skipped=2)
    project.touch(7, NOW + 100, "success")
    second = again(config, first, NOW - 600, NOW + 300)
    assert facts(second) == [(bucket_of(created), Ratio(12, 12))]
    assert [(e.key, e.outcome, e.commit) for e in events(second, "test_run")] == [
        ("7/2:e2e", "good", sha(7)), ("7/2:unit", "good", sha(7)),
    ]  # fmt: skip
    pieces = [page.slice for page in (*first, *second) if page.slice]
    assert len({one.name for one in pieces}) == 1
    assert len({one.digest for one in pieces}) == 2


def test_no_more_is_asked_of_tests_than_is_needed(project: Project, url: str) -> None:
    project.run(1, NOW - 5000)
    project.run(2, NOW - 4000)
    project.run(3, NOW - 3000, "running")
    project.suite(2, "unit", 3, ("test_pay",))
    pulled(configured(url))
    assert [one for one in asked(project) if "test" in one] == [
        "pipelines/1/test_report_summary", "pipelines/2/test_report_summary", "pipelines/2/test_report",
    ]  # fmt: skip


def test_a_report_that_is_summed_up_late_is_found_by_the_next_pull(project: Project, url: str) -> None:
    project.run(1, NOW - 100)
    project.run(2, NOW - 500)
    config = configured(url)
    first = pulled(config)
    assert facts(first) == []
    project.suite(1, "unit", 3)
    made = len(project.asked)
    second = again(config, first, NOW - 600, NOW + 300)
    assert facts(second) == [(bucket_of(NOW - 100), Ratio(3, 3))]
    assert not [one for one in asked(project, made) if one.startswith("pipelines/2")]
    made = len(project.asked)
    again(config, second, NOW - 300, NOW + 600)
    assert not [one for one in asked(project, made) if one.startswith("pipelines/")]


# -- deployments and releases


def test_deployments_and_releases(project: Project, url: str) -> None:
    project.deploy(1, NOW - 5000)
    project.deploy(2, NOW - 4000, "failed", environment="staging")
    project.deploy(3, NOW - 100, "running")
    project.release("v1.0", NOW - 3000)
    config = configured(url)
    pages = pulled(config)
    good, bad, still = events(pages, "deployment")
    assert (good.outcome, good.started, good.ended, good.commit) == ("good", NOW - 4990, NOW - 4960, sha("main"))
    assert (good.version, good.environment, good.actor) == ("main", "production", "grace")
    assert (bad.outcome, bad.environment, dict(bad.labels)["environment"]) == ("bad", "staging", "staging")
    assert (still.outcome, still.ended) == ("open", None)
    (release,) = events(pages, "release")
    assert (release.key, release.version, release.ts, release.commit) == (
        "acme/checkout/v1.0", "v1.0", NOW - 3000, sha("v1.0"),
    )  # fmt: skip
    project.deploy(3, NOW - 100, "success", lasted=120)
    (done,) = events(again(config, pages, NOW - 600, NOW + 300), "deployment")
    assert (done.key, done.outcome, done.ended) == ("3", "good", NOW + 30)


# -- lists that change while they are read, and requests


def test_what_changes_while_a_list_is_read_hides_nothing(project: Project, url: str) -> None:
    for number in range(1, 351):
        project.pipeline(number, NOW - 9000 + 10 * number, "skipped")
    # After the first page pipelines that were listed change: by page numbers others would slip through.
    project.before[2] = lambda: [project.touch(number, NOW - 100 + number) for number in range(1, 40)]
    found = events(pulled(configured(url)))
    assert {int(e.key) for e in found} == set(range(1, 351))


def test_many_changes_of_one_second_are_paged_through(project: Project, url: str) -> None:
    for number in range(1, 321):
        project.pipeline(number, NOW - 5000 + (number > 310), "skipped")
    assert len({e.key for e in events(pulled(configured(url)))}) == 320


def test_lists_without_a_total_and_beyond_the_highest_offset_are_read_whole(project: Project, url: str) -> None:
    project.totals = 100
    for number in range(1, 951):
        project.pipeline(number, NOW - 90_000 + 60 * number, "skipped")
    made = len(events(pulled(configured(url))))
    assert made == 950
    assert all(int(dict(one.query).get("page", "1")) <= 2 for one in project.asked)


def test_a_list_shorter_than_its_total_is_read_again_and_then_a_gap(project: Project, url: str) -> None:
    project.run(1, NOW - 100)
    real = project.answer

    def lying(asked: Any) -> Answer:
        good = real(asked)
        if asked.path.endswith("/pipelines") and "source" not in dict(asked.query):
            return replace(good, headers={**good.headers, "X-Total": "5"})
        return good

    with serve(lying) as server:
        pages = pulled(configured(server.url), since=NOW - 3000)
    assert gaps(pages) == ["GitLab says 5 pipelines and lists 1"]
    assert pages[-1].covered == []


def test_a_second_pull_makes_the_fewest_requests(
    project: Project, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(1, 151):
        project.run(number, NOW - 20 * DAY + number * 600, "success" if number % 7 else "failed")
    project.run(900, NOW - 300)
    project.run(901, NOW - 200, "running")
    project.deploy(1, NOW - 200, "running")
    project.release("v1", NOW - DAY)
    config = configured(url)
    first = pulled(config)
    made = len(project.asked)
    second = again(config, first, NOW - 600, NOW + 300)
    lists = ["pipelines", "pipelines", "deployments", "releases"]
    print(f"second pull: {len(project.asked) - made} requests, fewest possible {len(lists)}")
    assert asked(project, made) == lists
    assert events(second, "build") == []

    project.touch(901, NOW + 310, "success")
    made = len(project.asked)
    third = again(config, second, NOW - 300, NOW + 600)
    assert asked(project, made) == [
        "pipelines", "pipelines/901/jobs", "pipelines/901/test_report_summary", *lists[1:],
    ]  # fmt: skip
    assert [(e.key, e.outcome) for e in events(third, "build")] == [("901", "good")]

    made = len(project.asked)
    swept = again(config, third, NOW, NOW + 900, sweep=True)
    assert sorted(set(asked(project, made))) == ["deployments", "pipelines", "releases"]
    assert gaps(swept) == []
    assert "fewest possible 4" in capsys.readouterr().out


def test_the_sweep_finds_what_was_deleted_while_it_was_open(project: Project, url: str) -> None:
    project.run(1, NOW - 5000, "running")
    project.deploy(1, NOW - 5000, "running")
    config = configured(url)
    first = pulled(config)
    project.pipelines.clear()
    project.deployments.clear()
    still = tuple(e for e in events(first) if e.outcome == "open")
    assert events(again(config, first, NOW - 600, NOW, open=still)) == []
    swept = again(config, first, NOW - 600, NOW, open=still, sweep=True)
    assert [(e.kind, e.key, e.outcome) for e in events(swept)] == [
        ("build", "1", "excluded"), ("deployment", "1", "excluded"),
    ]  # fmt: skip


def test_a_pull_that_was_cut_goes_on_where_it_stood(project: Project, url: str) -> None:
    for number in range(1, 251):
        project.run(number, NOW - 90_000 + number * 100)
    config, pull = configured(url), Pull(NOW - 90 * DAY, NOW, NOW, first=True)
    begun: list[Page] = []
    for page in gitlab.fetch(config, pull):
        begun.append(page)
        if len(events(begun)) > 100:
            break
    made = len(project.asked)
    rest = list(gitlab.fetch(config, replace(pull, since=pull.since + 60, state=state(begun))))
    assert {e.key for e in events([*begun, *rest])} == {str(number) for number in range(1, 251)}
    # Of what was committed before the cut nothing is asked for again, and the list begins where it ended.
    jobs = [one for one in asked(project, made) if one.endswith("/jobs")]
    assert len(jobs) == 250 - len(state(begun)["known"])


def test_losing_the_state_costs_requests_and_changes_no_event(project: Project, url: str) -> None:
    project.run(1, NOW - 3000, "failed")
    project.deploy(1, NOW - 2000)
    whole = events(pulled(configured(url)))
    assert events(pulled(configured(url), since=NOW - 6000, first=False)) == whole


def test_what_is_older_than_the_first_pull_stays_out(project: Project, url: str) -> None:
    project.run(1, NOW - 20 * DAY, "failed")
    project.job(1, "unit", NOW - 1000, NOW - 990)
    project.touch(1, NOW - 900, "success")
    assert events(pulled(configured(url), since=NOW - 5 * DAY)) == []


def test_what_changes_at_or_after_until_is_left_for_the_next_pull(project: Project, url: str) -> None:
    project.run(1, NOW - 70, lasted=60)
    config = configured(url)
    first = pulled(config)
    assert events(first) == []
    assert [e.key for e in events(again(config, first, NOW - 600, NOW + 300))] == ["1"]


def test_the_state_stays_small(project: Project, url: str) -> None:
    for number in range(1, 501):
        project.pipeline(1_900_000_000 + number, NOW - 90_000 + number * 60, "skipped")
    per_one = len(json.dumps(state(pulled(configured(url))))) / 500
    assert gitlab.KNOWN * per_one < 1 << 20


# -- limits, refusals, secrets


def test_a_rate_limit_waits_as_it_is_told(project: Project, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    project.run(1, NOW - 5000)
    project.refusals = [
        Answer("Retry later", 429, {"Retry-After": "13"}),
        Answer("Retry later", 429, {"RateLimit-Remaining": "0", "RateLimit-Reset": str(NOW + 77)}),
    ]
    assert len(events(pulled(configured(url)))) == 1
    assert waits == [13, 77]


def test_what_is_switched_off_is_left_out_with_a_remark(project: Project, url: str) -> None:
    project.deploy(1, NOW - 5000)
    project.off = {"pipelines"}
    pages = pulled(configured(url))
    assert [e.kind for e in events(pages)] == ["deployment"]
    assert [reason for reason in reasons(pages) if reason.startswith("pipelines is switched off")]
    project.off = {"pipelines", "deployments", "releases"}
    with pytest.raises(SourceRefused, match=r"scope read_api and the role Reporter\.$"):
        pulled(configured(url))


def test_an_unknown_project_and_no_project_say_what_to_do(url: str) -> None:
    with pytest.raises(SourceRefused, match='finds no project "acme/other"; check projects'):
        pulled(configured(url, projects=("acme/other",)))
    with pytest.raises(SourceRefused, match='set projects = \\["group/name"\\]'):
        pulled(configured(url, projects=()))


def test_a_server_below_a_path_and_a_number_for_a_project(project: Project, url: str) -> None:
    project.run(1, NOW - 5000)
    (build,) = events(pulled(configured(f"{url}/api/v4/", projects=("17",))))
    assert dict(build.labels)["project"] == "acme/checkout"
    below = configured("https://corp.example.com/gitlab")
    told = json.loads(json.dumps(project.pipelines[1]).replace("gitlab.example.com/", "corp.example.com/gitlab/"))
    objects = Objects(below)
    objects.add(told)
    assert dict(objects.events()[0].labels)["project"] == "acme/checkout"


def test_a_planted_token_is_found_nowhere(
    project: Project, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    project.token = faults.TOKEN
    project.run(1, NOW - 5000)
    project.pipelines[1]["name"] = f"echo {faults.TOKEN}"
    config = configured("", common={"token_env": faults.TOKEN_ENV})
    echo = Answer({"message": f"401 bad {faults.TOKEN}"}, 401)
    said = ""
    with faults.virtual(), open_store(tmp_path / "t.duckdb") as store:
        for turn, route in enumerate((project.answer, lambda asked: echo)):
            with serve(route) as server:
                given = replace(config, url=server.url)
                said += repr(
                    collect.pull(store, Source(given.common, gitlab, given), NOW + turn * 300, since=NOW - DAY)
                )
    assert "bad ***" in said
    out, err = capfd.readouterr()
    assert not [place for place in (said, out, err, caplog.text) if faults.TOKEN in place]
    assert not [one for one in tmp_path.rglob("*") if one.is_file() and faults.TOKEN.encode() in one.read_bytes()]


def test_hostile_names_stay_data(project: Project, url: str) -> None:
    nasty = "<script>'; DROP TABLE x;--\u202e|`${x}"
    project.run(1, NOW - 5000, ref=nasty)
    project.jobs[1][0]["name"] = nasty
    project.suite(1, nasty, 1, (nasty,))
    found = events(pulled(configured(url)))
    assert dict(found[0].labels)["ref"] == nasty
    assert f"C.{nasty}" in {dict(e.labels).get("test") for e in found}


# -- files


def test_a_dump_of_the_api_gives_the_very_events_of_a_pull(project: Project, url: str, tmp_path: Path) -> None:
    project.run(1, NOW - 5000, "failed")
    project.job(1, "unit", NOW - 3000, NOW - 2990)
    project.touch(1, NOW - 2900, "success")
    project.run(2, NOW - 2000, "running")
    project.deploy(1, NOW - 1500)
    project.release("v1", NOW - 1000)
    whole = events(pulled(configured(url)))
    folder = tmp_path / "export"
    folder.mkdir()
    for name, rows in {
        "pipelines": list(project.pipelines.values()),
        "jobs": project.jobs[1] + project.jobs[2],
        "deployments": list(project.deployments.values()),
        "releases": project.releases,
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(rows))
    told = events(parsed(folder))
    assert [replace(e, revision=0) for e in told] == [replace(e, revision=0) for e in whole]
    assert [e.attempt for e in told if e.key == "1" and e.kind == "build"] == [1, 2]
    # What a file tells never outranks what the server told of the same moment.
    assert all(one.revision <= other.revision for one, other in zip(told, whole, strict=True))
    jobs = events(parsed(folder, configured(projects=(), builds="jobs")), "build")
    assert [(e.key, e.attempt) for e in jobs] == [("1/test/unit", 1), ("1/test/unit", 2), ("2/test/unit", 1)]


def test_pipelines_of_glab_alone_and_whole() -> None:
    done, running = events(parsed(HERE / "pipelines.json"))
    assert (done.key, done.outcome, done.started, done.ended) == ("812003", "good", None, None)
    assert (running.outcome, running.title) == ("open", "Change request")
    assert dict(done.labels)["project"] == "acme/shop/checkout"
    (whole,) = events(parsed(HERE / "pipeline.json"))
    created = times.iso("2026-11-03T02:00:00Z")
    assert (whole.outcome, whole.ts, whole.started, whole.ended) == ("bad", created, created + 20, created + 370)


def test_jobs_of_a_file_count_as_jobs_and_without_their_pipeline_are_no_builds() -> None:
    assert events(parsed(HERE / "jobs.json")) == []
    assert list(reasons(parsed(HERE / "jobs.json"))) == [
        "jobs of pipelines that are not in the same file or folder are not counted"
    ]
    found = events(parsed(HERE / "jobs.json", configured(projects=(), builds="jobs")))
    assert {(e.key.partition("/")[2], e.attempt, e.outcome) for e in found} == {
        ("build/compile", 1, "good"), ("test/lint", 1, "bad"), ("test/unit", 1, "bad"), ("test/unit", 2, "good"),
    }  # fmt: skip


def test_webhooks_in_any_order_and_repeated_give_the_attempts(tmp_path: Path) -> None:
    lines = (HERE / "webhooks.jsonl").read_text().splitlines()
    found = events(parsed(HERE / "webhooks.jsonl"))
    begun = times.iso("2026-11-02T10:00:00Z")
    assert [(e.kind, e.attempt, e.outcome) for e in found] == [
        ("build", 1, "bad"), ("build", 2, "good"), ("deployment", 1, "good"), ("release", 1, "good"),
    ]  # fmt: skip
    assert [(e.started, e.ended) for e in found[:2]] == [
        (begun + 30, begun + 30 + 60 + 80), (begun + 4160, begun + 4230),
    ]  # fmt: skip
    deployed = found[2]
    assert (deployed.ts, deployed.ended) == (begun + 4810, begun + 4925)
    assert deployed.commit == "5f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d"
    shuffled = tmp_path / "b.jsonl"
    shuffled.write_text("\n".join([*lines[::-1], *lines[2:]]))
    assert events(parsed(shuffled)) == found
    assert reasons(parsed(HERE / "webhooks.jsonl")) == {"deliveries of other events are not counted": 1}


def test_a_report_alone_counts_at_its_time_once(tmp_path: Path) -> None:
    at = times.iso("2026-11-02T11:00:00Z")
    pages = parsed(HERE / "test_report.json", at=at)
    assert facts(pages) == [(at, Ratio(2, 4))]
    assert reasons(pages) == {}
    copy = tmp_path / "copy.json"
    copy.write_bytes((HERE / "test_report.json").read_bytes())
    assert [page.slice for page in parsed(copy, at=at)] == [page.slice for page in pages]
    assert list(reasons(parsed(HERE / "test_report.json"))) == [
        "a test report holds no time; the time of the file's last change is taken"
    ]


def test_other_projects_are_left_out_and_counted() -> None:
    pages = parsed(HERE / "pipelines.json", configured(projects=("acme/other",)))
    assert events(pages) == []
    assert reasons(pages) == {"objects of other projects than those that are configured are left out": 2}
    ours = item(HERE / "pipelines.json", Given())
    assert gitlab.belongs(ours, configured(projects=("acme/shop/checkout",)))
    assert not gitlab.belongs(ours, configured(projects=("acme/other",)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"created_at": "2026-11-02T10:00:00"}, "has no offset"),
        ({"created_at": None}, "an object has no created_at"),
        ({"created_at": "0001-01-01T00:00:00Z"}, "an object has no created_at"),
        ({"id": "7"}, "an object has no id"),
        ({"updated_at": "yesterday"}, "is not an ISO 8601 time"),
    ],
)
def test_an_object_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = json.loads((HERE / "pipelines.json").read_text())
    path = tmp_path / "pipelines.json"
    path.write_text(json.dumps([{**rows[0], **change}, rows[1], 17]))
    pages = parsed(path)
    assert [e.key for e in events(pages)] == ["812009"]
    assert any(reason in said for said in reasons(pages))


@pytest.mark.parametrize("text", ["[]", "{}", '{"tag_name": "x"}', "<html>", '[{"name": "a", "stage": "b"}]', ""])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert not gitlab.recognise(item(path, Given()))


def test_files_are_imported_under_either_name_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "gitlab_ci"\nname = "ci"\nprojects = ["acme/shop/checkout"]\ncomponent = "checkout"\n'
    )
    for paths in ([HERE], [HERE], [HERE / "webhooks.jsonl", HERE / "pipelines.json"]):
        done = CliRunner().invoke(main, ["import", *map(str, paths)])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        told = [one for _, one in Reader(store).events(0, 1 << 40)]
    assert sorted((e.kind, e.key, e.attempt, e.outcome) for e in told) == [
        ("build", "812003", 1, "bad"),
        ("build", "812003", 2, "good"),
        ("build", "812009", 1, "open"),
        ("build", "812050", 1, "bad"),
        ("deployment", "4101", 1, "good"),
        ("deployment", "4102", 1, "open"),
        ("release", "acme/shop/checkout/v1.4.0", 1, "good"),
    ]


# -- what it says of itself


def test_scope_is_the_server_and_the_projects() -> None:
    assert gitlab.scope(configured(projects=("Acme/B", "acme/a"))) == "gitlab.com/acme/b,acme/a"
    assert gitlab.scope(configured("file:exports")) == "gitlab.com/acme/checkout"
    assert gitlab.scope(configured("https://git.corp/gitlab/")) == "git.corp/gitlab/acme/checkout"
    assert gitlab.scope(configured("https://git.corp/api/v4")) == "git.corp/acme/checkout"


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", gitlab.ABOUT.example, flags=re.M) if uncommented else gitlab.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.projects == ("acme/checkout",)
    assert source.config.builds == ("jobs" if uncommented else "pipelines")


def test_its_aliases_load_it() -> None:
    assert {connect.canonical(name) for name in ("gitlab", *gitlab.ABOUT.aliases)} == {"gitlab"}
