"""CircleCI: re-runs as attempts, what they take over, approvals, tests and flakes, lists without a time filter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _circleci_server, _http, circleci
from tandem import collect, connect, times
from tandem.config import Source
from tandem.connect import Common, Pull, SourceRefused
from tandem.records import DAY, HOUR, Event, Fact, Page, Ratio, Sample, bucket_of
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import faults
from tests.circleci_server import Circle, key, sha
from tests.replay import Answer, Asked, serve

NOW = times.iso("2026-11-20T12:00:00Z")
SLUG = "gh/acme/checkout"


@pytest.fixture
def circle() -> Circle:
    return Circle()


@pytest.fixture
def url(circle: Circle) -> Iterator[str]:
    with serve(circle.answer) as server:
        yield server.url


def configured(url: str = circleci.SERVER, **more: Any) -> circleci.Config:
    common = Common("circleci", "ci", component=("checkout",), **more.pop("common", {}))
    return circleci.Config(common, url=url, **{"project": SLUG, **more})


def pulled(config: circleci.Config, since: int = NOW - 30 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(circleci.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def again(config: circleci.Config, before: list[Page], until: int, **more: Any) -> list[Page]:
    """The next pull, ten minutes of overlap back."""
    still = tuple(event for event in events(before) if event.outcome == "open")
    last = more.pop("last", until - 300)
    return pulled(config, last - 600, until, **{"first": False, "state": state(before), "open": still, **more})


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def ratios(pages: list[Page]) -> dict[str, Ratio]:
    return {one.series.signal: one.value for page in pages for one in page.records
            if isinstance(one, Fact) and isinstance(one.value, Ratio)}  # fmt: skip


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def paths(circle: Circle, since: int = 0) -> list[str]:
    """What was asked for, ids left out."""
    return [re.sub(r"[0-9a-f-]{36}", "*", one.path.removeprefix("/api/v2/")) for one in circle.asked[since:]]


LIST = f"project/{SLUG}/pipeline"


# -- workflows and their re-runs


def test_a_workflow_is_a_build_and_waiting_for_an_approval_is_no_work(circle: Circle, url: str) -> None:
    created = NOW - 9000
    circle.pipeline(7, created)
    run = circle.workflow(7, created + 3)
    built = circle.job(run, "compile", created + 30, 100)
    unit = circle.job(run, "unit", created + 130, 60, needs=(built,))
    circle.job(run, "lint", created + 140, 20, needs=(built,))
    hold = circle.approval(run, "hold", "success", (unit,))
    circle.job(run, "deploy", created + 4000, 50, needs=(hold,))
    circle.end(run, created + 4050)
    build, approval = events(pulled(configured(url)))
    assert (build.key, build.attempt, build.outcome) == (f"{key(('pipeline', 7))}/build", 1, "good")
    assert (build.ts, build.started) == (created + 3, created + 30)
    assert build.ended == created + 30 + 100 + 60 + 50  # lint ran beside unit; the hour of waiting is no work
    assert (build.commit, build.trigger, build.actor, build.title) == (sha(7), "webhook", "ada", "Change 7")
    assert dict(build.labels) == {
        "project": SLUG, "workflow": "build", "branch": "main", "trigger": "webhook", "status": "success",
    }  # fmt: skip
    assert build.url.endswith(f"/pipelines/{SLUG}/7/workflows/{run['id']}")
    assert (approval.kind, approval.outcome, approval.actor) == ("approval", "good", key("grace"))
    assert (approval.ts, approval.ended) == (created + 190, created + 4000)
    assert circle.asked[0].path == f"/api/v2/{LIST}"


def test_a_rerun_from_failed_is_another_attempt_and_what_it_takes_over_ran_once(circle: Circle, url: str) -> None:
    created = NOW - 9000
    circle.pipeline(7, created)
    first = circle.workflow(7, created)
    built = circle.job(first, "compile", created + 10, 100)
    hold = circle.approval(first, "hold", "success", (built,))
    unit = circle.job(first, "unit", created + 600, 60, "failed", (hold,))
    circle.results(unit, 8, ("test_pay", "test_send"))
    circle.end(first, created + 660, "failed")
    config = configured(url)
    before = pulled(config)
    assert [(e.attempt, e.outcome, e.ended) for e in events(before, "build")] == [(1, "bad", created + 10 + 100 + 60)]
    assert ratios(before) == {"test_success": Ratio(8, 10), "flaky": Ratio(10, 10)}

    second = circle.rerun(first, NOW + 100)
    last = circle.job(second, "unit", NOW + 110, None, "running", (hold,))
    going = again(config, before, NOW + 300)
    assert [(e.kind, e.attempt, e.outcome, e.ended) for e in events(going) if e.kind == "build"] == [
        ("build", 1, "bad", created + 170), ("build", 2, "open", None),
    ]  # fmt: skip
    assert ratios(going) == {}, "while it runs the tests stand as they were"

    last |= {"status": "success", "stopped_at": times.text(NOW + 150)}
    circle.results(last, 8, ("test_gone",), test_pay="success", test_send="success")
    circle.end(second, NOW + 400, "success")
    done = again(config, going, NOW + 600)
    (one, two), (approved,) = events(done, "build"), events(done, "approval")
    assert (one, two.attempt, two.outcome, two.ts) == (events(before, "build")[0], 2, "good", created)
    assert (two.started, two.ended) == (NOW + 110, NOW + 150), "compile and its approval were taken over"
    assert (approved.ts, approved.ended) == (created + 110, created + 600)
    # of eleven tests one failed in the end, and two that had failed on this commit passed
    assert ratios(done) == {"test_success": Ratio(10, 11), "flaky": Ratio(9, 11)}
    assert [(e.key, e.outcome) for e in events(done, "test_run") if "test" not in dict(e.labels)] == [
        (f"{SLUG}#102", "bad"), (f"{SLUG}#103", "bad"),
    ]  # fmt: skip


def test_the_bucket_of_a_rerun_workflow_changes_and_is_counted_once(circle: Circle, url: str, tmp_path: Path) -> None:
    created = bucket_of(NOW - 5000)
    first = circle.run(7, created, "failed")
    circle.results(circle.jobs[first["id"]][0], 8, ("test_pay",))
    config, seen = configured(url), []
    with open_store(tmp_path / "t.duckdb") as store:
        for turn in range(3):
            if turn == 1:
                second = circle.rerun(first, NOW + 100)
                circle.results(circle.job(second, "unit", NOW + 110, 50), 8, test_pay="success")
                circle.end(second, NOW + 160)
            outcome = collect.pull(store, Source(config.common, circleci, config), NOW + 300 * turn, since=NOW - DAY)
            assert not outcome.error
            reader = Reader(store)
            told = {}
            for signal in ("build_success", "test_success", "flaky"):
                groups = {one.id: 0 for one in reader.series(signal=signal)}
                [(_, ts, good, total)] = reader.steps("ratio", groups, NOW - DAY, NOW + HOUR, 300)
                told[signal] = (ts, int(good), int(total))
            seen.append(told)
        ids = [one.id for one in reader.series(signal="build_duration")]
        [[lasted]] = reader.totals("histogram", ids, [(0, NOW + HOUR)]).values()
    assert seen == [
        {"build_success": (created, 0, 1), "test_success": (created, 8, 9), "flaky": (created, 9, 9)},
        *2 * [{"build_success": (created, 1, 1), "test_success": (created, 9, 9), "flaky": (created, 8, 9)}],
    ]
    assert lasted
    assert sum(int(cell[0]) for cell in lasted.values()) == 2  # 60 s and 50 s, each once


def test_reruns_from_start_and_automatic_ones_count_up_and_other_names_are_other_builds(
    circle: Circle, url: str
) -> None:
    circle.pipeline(7, NOW - 9000)
    circle.end(circle.workflow(7, NOW - 9000, name="build", tag="setup"), NOW - 8990)
    run = circle.workflow(7, NOW - 8900)
    circle.job(run, "unit", NOW - 8890, 50, "failed")
    circle.end(run, NOW - 8840, "failed")
    for number, status in enumerate(("failed", "success"), 1):
        run = circle.rerun(run, NOW - 8900 + 1000 * number, from_failed=False)
        circle.job(run, "unit", NOW - 8890 + 1000 * number, 50, status)
        circle.end(run, NOW - 8840 + 1000 * number, status)
    circle.end(circle.workflow(7, NOW - 8900, name="docs"), NOW - 8899, "not_run")
    found = [(e.key.partition("/")[2], e.attempt, e.outcome) for e in events(pulled(configured(url)))]
    assert found == [
        ("build#setup", 1, "good"), ("build", 1, "bad"), ("build", 2, "bad"), ("build", 3, "good"),
        ("docs", 1, "excluded"),
    ]  # fmt: skip


def test_what_a_rerun_took_over_is_known_by_its_time_where_the_first_jobs_are_gone(circle: Circle, url: str) -> None:
    circle.pipeline(7, NOW - 9000)
    first = circle.workflow(7, NOW - 9000)
    circle.job(first, "compile", NOW - 8990, 100)
    circle.end(first, NOW - 8800, "failed")
    second = circle.rerun(first, NOW - 5000)
    circle.job(second, "unit", NOW - 4990, 50)
    circle.end(second, NOW - 4940)
    third = circle.rerun(second, NOW - 4000, from_failed=False)
    circle.end(third, NOW - 3990, "error")
    del circle.jobs[first["id"]]
    pages = pulled(configured(url))
    assert [(e.outcome, e.started, e.ended) for e in events(pages, "build")] == [
        ("bad", None, NOW - 8800), ("good", NOW - 4990, NOW - 4940), ("bad", NOW - 4000, NOW - 3990),
    ]  # fmt: skip
    assert reasons(pages) == {"the jobs of a workflow are no longer there": 1}


def test_what_is_older_than_the_first_pull_stays_out(circle: Circle, url: str) -> None:
    old = circle.run(1, NOW - 5 * DAY, "failed")
    config = configured(url)
    first = pulled(config, since=NOW - 2 * DAY)
    circle.end(circle.rerun(old, NOW + 10), NOW + 20)
    assert events([*first, *again(config, first, NOW + 300, sweep=True)]) == []


def test_a_rerun_is_seen_at_once_within_a_day_of_the_failure_and_later_by_the_sweep(circle: Circle, url: str) -> None:
    fresh = circle.run(7, NOW - HOUR, "failed")
    old = circle.run(6, NOW - 3 * DAY, "failed")
    passed = circle.run(8, NOW - HOUR)
    config = configured(url)
    first = pulled(config)
    for run in (fresh, old, passed):
        circle.end(circle.rerun(run, NOW + 10), NOW + 20)
    second = again(config, first, NOW + 300)
    assert [(e.key, e.attempt) for e in events(second)] == [(f"{key(('pipeline', 7))}/build", n) for n in (1, 2)]
    swept = again(config, second, NOW + 600, sweep=True)
    assert {(e.key, e.attempt) for e in events(swept)} == {
        (f"{key(('pipeline', number))}/build", n) for number in (6, 8) for n in (1, 2)
    }
    assert events(again(config, swept, NOW + 900, sweep=True)) == []


def test_a_wrong_configuration_is_a_build_that_failed_without_a_duration(circle: Circle, url: str) -> None:
    circle.pipeline(7, NOW - 900, state="errored", errors=[{"type": "config", "message": "No such job: unti"}])
    (build,) = events(pulled(configured(url)))
    assert (build.outcome, build.ended, build.title, build.ts) == ("bad", None, "No such job: unti", NOW - 900)
    assert dict(build.labels)["status"] == "errored"


def test_a_pipeline_without_workflows_yet_is_looked_at_again(circle: Circle, url: str) -> None:
    circle.pipeline(7, NOW - 1000, state="setup-pending")
    config = configured(url)
    first = pulled(config)
    assert events(first) == []
    circle.end(circle.workflow(7, NOW + 10), NOW + 60)
    assert [e.outcome for e in events(again(config, first, NOW + 300))] == ["good"]


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(circle: Circle, url: str) -> None:
    words = [word for word in circleci.ABOUT.status if word not in ("errored", "failure", "skipped")]
    for number, word in enumerate([*words, "exploded"], 1):
        circle.pipeline(number, NOW - 9000 + number)
        circle.workflow(number, NOW - 9000 + number, word)
    pages = pulled(configured(url))
    expected = [circleci.ABOUT.status[word] for word in words]
    assert [e.outcome for e in events(pages)] == [*expected, "excluded"]
    assert [count for reason, count in reasons(pages).items() if '"exploded" is unknown' in reason] == [1]
    own = configured(url, common={"status": {"exploded": "bad"}})
    assert events(pulled(own))[-1].outcome == "bad"


def test_branches_and_workflows_are_chosen_by_globs(circle: Circle, url: str) -> None:
    circle.run(1, NOW - 5000)
    circle.run(2, NOW - 4000, branch="release/1.2")
    circle.run(3, NOW - 3000, branch="feature/x")
    circle.end(circle.workflow(2, NOW - 3900, name="docs"), NOW - 3800)
    made = len(circle.asked)
    found = events(pulled(configured(url, branches=("main", "release/*"), workflows=("b*",), tests=False)))
    assert [dict(e.labels)["branch"] for e in found] == ["main", "release/1.2"]
    assert len(circle.asked) - made == 1 + 2 + 2, "nothing is asked of what does not count"


# -- lists, and requests


def test_a_second_pull_makes_the_fewest_requests(circle: Circle, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(1, 151):
        circle.run(number, NOW - 20 * DAY + number * 600, "success" if number % 7 else "failed")
    circle.run(151, NOW - 200)
    circle.pipeline(152, NOW - 100)
    going = circle.workflow(152, NOW - 100)
    job = circle.job(going, "unit", NOW - 90, None, "running")
    config = configured(url)
    first = pulled(config)
    assert len(events(first, "build")) == 152
    made = len(circle.asked)
    second = again(config, first, NOW + 300)
    # one page of pipelines; two of them lie in the overlap, and one of these goes on
    assert paths(circle, made) == [LIST, "pipeline/*/workflow", "pipeline/*/workflow", "workflow/*/job"]
    print(f"second pull: {len(circle.asked) - made} requests, fewest possible 4")
    job |= {"status": "success", "stopped_at": times.text(NOW + 310)}
    circle.end(going, NOW + 310)
    made = len(circle.asked)
    third = again(config, second, NOW + 1500)
    assert paths(circle, made) == [LIST, "pipeline/*/workflow", "workflow/*/job", f"project/{SLUG}/252/tests"]
    assert [(e.outcome, e.ended) for e in events(third)] == [("good", NOW + 310)]
    made = len(circle.asked)
    quiet = again(config, third, NOW + 1800)
    assert (paths(circle, made), events(quiet)) == ([LIST], [])
    made = len(circle.asked)
    swept = again(config, quiet, NOW + 3000, sweep=True)
    assert events(swept) == []
    assert set(paths(circle, made)) == {LIST, "pipeline/*/workflow"}, "of what did not change no job is read"
    assert "fewest possible 4" in capsys.readouterr().out


def test_only_the_pages_that_reach_back_far_enough_are_read(circle: Circle, url: str) -> None:
    for number in range(1, 101):
        circle.pipeline(number, NOW - 100 * HOUR + number * HOUR, branch="x")
    pulled(configured(url, branches=("main",)), since=NOW - 30 * HOUR)
    assert paths(circle) == [LIST] * 2


def test_a_number_that_the_list_lacks_is_looked_for_once_and_remarked(circle: Circle, url: str) -> None:
    for number in (1, 2, 4, 5):
        circle.run(number, NOW - 5000 + number)
    config = configured(url, tests=False)
    first = pulled(config)
    assert paths(circle).count(LIST) == 2
    assert [count for reason, count in reasons(first).items() if "numbers of pipelines are missing" in reason] == [1]
    made = len(circle.asked)
    assert reasons(again(config, first, NOW + 300)) == {}
    assert paths(circle, made).count(LIST) == 1


def test_a_pull_that_was_cut_goes_on_where_it_stood(circle: Circle, url: str) -> None:
    for number in range(1, 61):
        circle.run(number, NOW - 90_000 + number * 100)
    config, pull = configured(url), Pull(NOW - 90 * DAY, NOW, NOW, first=True)
    begun: list[Page] = []
    for page in circleci.fetch(config, pull):
        begun.append(page)
        if len(events(begun)) >= 25:
            break
    made = len(circle.asked)
    rest = list(circleci.fetch(config, replace(pull, since=pull.since + 60, state=state(begun))))
    assert len({e.key for e in events([*begun, *rest])}) == 60
    assert len([one for one in paths(circle, made) if one.endswith("/workflow")]) == 60 - 25


def test_losing_the_state_costs_requests_and_changes_nothing(circle: Circle, url: str) -> None:
    first = circle.run(1, NOW - 3000, "failed")
    circle.end(circle.rerun(first, NOW - 2000), NOW - 1900)
    circle.run(2, NOW - 1000)
    whole = events(pulled(configured(url)))
    assert events(pulled(configured(url), since=NOW - 6000, first=False)) == whole


def test_what_is_open_and_no_longer_there_is_excluded(circle: Circle, url: str) -> None:
    circle.pipeline(7, NOW - 9000)
    run = circle.workflow(7, NOW - 9000, "on_hold")
    circle.approval(run, "hold", "on_hold")
    circle.pipeline(8, NOW - 8000)
    circle.workflow(8, NOW - 8000)
    config = configured(url)
    first = pulled(config)
    assert {(e.kind, e.outcome) for e in events(first)} == {("build", "open"), ("approval", "open")}
    del circle.pipelines[0], circle.workflows[run["pipeline_id"]]
    known = state(first)
    known["watch"] = {}
    lost = again(config, first, NOW + 300, state=known)
    assert {(e.kind, e.outcome) for e in events(lost) if e.outcome != "open"} == {
        ("build", "excluded"), ("approval", "excluded"),
    }  # fmt: skip
    assert [e.key.partition("/")[0] for e in events(lost) if e.outcome == "open"] == [key(("pipeline", 8))]


def test_what_ends_at_or_after_until_is_open_and_what_begins_then_is_left(circle: Circle, url: str) -> None:
    run = circle.run(1, NOW - 70, lasted=60)
    circle.results(circle.jobs[run["id"]][0], 3)
    circle.run(2, NOW)
    config = configured(url)
    first = pulled(config)
    assert [(e.outcome, e.ended) for e in events(first)] == [("open", None)]
    second = again(config, first, NOW + 300)
    assert [(e.kind, e.outcome, e.ended) for e in events(second)] == [
        ("build", "good", NOW), ("test_run", "good", None), ("build", "good", NOW + 70),
    ]  # fmt: skip


def test_the_state_stays_small(circle: Circle, url: str) -> None:
    for number in range(1, 201):
        circle.run(number, NOW - 20_000 + number * 60, "failed")
    told = state(pulled(configured(url, tests=False)))
    sizes = {name: len(json.dumps(told[name])) / len(told[name]) for name in ("known", "watch")}
    bound = _circleci_server.KNOWN * sizes["known"] + _circleci_server.WATCHED * (sizes["watch"] + 600)
    assert bound < 1 << 20


# -- limits, refusals, secrets


def test_a_rate_limit_waits_as_it_is_told(circle: Circle, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    circle.run(1, NOW - 5000)
    circle.refusals = [Answer({"message": "Too many requests"}, 429, {"Retry-After": "13"})]
    assert len(events(pulled(configured(url)))) == 1
    assert waits == [13]


def test_an_unknown_project_and_no_project_say_what_to_do(url: str) -> None:
    with pytest.raises(SourceRefused, match='finds no project "gh/acme/other"; check project'):
        pulled(configured(url, project="gh/acme/other"))
    with pytest.raises(SourceRefused, match='set project = "gh/organization/repository"'):
        pulled(configured(url, project=""))
    with serve(lambda asked: Answer({"ok": True})) as server, pytest.raises(SourceRefused, match="CircleCI server"):
        pulled(configured(server.url))


def test_a_planted_token_is_found_nowhere(
    circle: Circle, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    circle.token = faults.TOKEN
    run = circle.run(1, NOW - 5000, "failed")
    circle.results(circle.jobs[run["id"]][0], 1, (f"test_{faults.TOKEN}",))
    config = configured("", common={"token_env": faults.TOKEN_ENV})
    asking = lambda url: replace(config, url=url)  # noqa: E731
    said = faults.echoed(circleci, asking, circle.answer, tmp_path, NOW, NOW - DAY)
    assert "the token was refused" in said
    out, err = capfd.readouterr()
    assert not [place for place in (said, out, err, caplog.text) if faults.TOKEN in place]
    assert not [one for one in tmp_path.rglob("*") if one.is_file() and faults.TOKEN.encode() in one.read_bytes()]


def test_hostile_names_stay_data(circle: Circle, url: str) -> None:
    nasty = "<script>'; DROP TABLE x;--\u202e|`${x}/../"
    circle.pipeline(1, NOW - 900, branch=nasty)
    run = circle.workflow(1, NOW - 900, name=nasty)
    circle.results(circle.job(run, nasty, NOW - 890, status="failed"), 1, (nasty,))
    circle.end(run, NOW - 800, "failed")
    found = events(pulled(configured(url)))
    assert {"branch": nasty, "workflow": nasty}.items() <= dict(found[0].labels).items()
    assert f"pay.{nasty}" in {dict(e.labels).get("test") for e in found}


def test_insights_are_samples_once_a_day_and_only_where_they_are_wanted(circle: Circle, url: str) -> None:
    circle.insights = {
        "flaky": {"flaky_tests": [{}] * 3, "total_flaky_tests": 3},
        "workflows": [{"name": "build", "window_end": times.text(NOW - HOUR), "metrics": {"total_credits_used": 812}}],
    }
    found = [one for page in pulled(configured(url, insights=True), sweep=True) for one in page.records]
    told = [(one.series.name, dict(one.series.labels).get("workflow"), one.ts, one.value) for one in found
            if isinstance(one, Sample)]  # fmt: skip
    assert told == [("flaky tests (insights)", None, NOW - 1, 3.0),
                    ("credits of 7 days (insights)", "build", NOW - HOUR, 812.0)]  # fmt: skip
    made = len(circle.asked)
    pulled(configured(url, insights=True))
    pulled(configured(url), sweep=True)
    assert paths(circle, made) == [LIST, LIST]


# -- what it says of itself


def test_scope_is_the_server_and_the_project() -> None:
    for project in ("gh/Acme/Checkout", "github/acme/checkout", "gh/acme/checkout/"):
        assert circleci.scope(configured(project=project)) == "circleci.com/gh/acme/checkout"
    assert circleci.scope(configured("file:exports")) == "circleci.com/gh/acme/checkout"
    assert circleci.scope(configured("https://ci.corp/")) == "ci.corp/gh/acme/checkout"


def test_its_aliases_load_it() -> None:
    assert {connect.canonical(name) for name in ("circleci", *circleci.ABOUT.aliases)} == {"circleci"}


def test_the_server_of_these_tests_refuses_a_token_for_a_page_that_it_did_not_give(circle: Circle) -> None:
    asked = Asked("GET", f"/api/v2/{LIST}", (("page-token", "2"),))
    assert circle.answer(asked).status == 400
