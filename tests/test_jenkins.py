"""Jenkins: builds, branches, tests and stages; the discarder, recreated jobs, open builds, few requests; files."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import _http, jenkins, junit
from connectors._files import item
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source, parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, Event, Fact, Page, Ratio, bucket_of
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import faults
from tests.jenkins_server import FOLDER, MANY, Jenkins
from tests.replay import Answer, serve

HERE = Path(__file__).parent / "payloads" / "jenkins"
BUILD = HERE / "jobs/shop/jobs/checkout/branches/main/builds/41"
NOW = times.iso("2026-11-20T12:00:00Z")


@pytest.fixture
def server() -> Jenkins:
    return Jenkins(login="tandem:secret-token")


@pytest.fixture
def url(server: Jenkins, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("TANDEM_TEST_JENKINS", "secret-token")
    with serve(server.answer) as running:
        yield running.url


def configured(url: str = "https://jenkins.example.com", **more: Any) -> jenkins.Config:
    common = {"component": ("shop",), "token_env": "TANDEM_TEST_JENKINS", **more.pop("common", {})}
    return jenkins.Config(Common("jenkins", "ci", **common), url=url, user="tandem", **more)


def pulled(config: jenkins.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(jenkins.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def again(config: jenkins.Config, before: list[Page], since: int, until: int, **more: Any) -> list[Page]:
    still = tuple(event for event in events(before) if event.outcome == "open")
    return pulled(config, since, until, **{"first": False, "state": state(before), "open": still, **more})


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return sorted((one for one in found if not kind or one.kind == kind), key=lambda one: (one.ts, one.key))


def facts(pages: list[Page]) -> list[tuple[int, Ratio]]:
    return [(one.ts, one.value) for page in pages for one in page.records if isinstance(one, Fact)]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def gaps(pages: list[Page]) -> list[tuple[int, int, str]]:
    return [(gap.since, gap.until, gap.component) for page in pages for gap in page.gaps]


def parsed(path: Path, config: jenkins.Config | None = None, **given: Any) -> list[Page]:
    one = item(path, Given(**given))
    assert jenkins.recognise(one)
    return list(jenkins.parse(one, config or configured()))


def asked(server: Jenkins, since: int = 0) -> list[str]:
    return [one.path for one in server.asked[since:]]


# -- one pull


def test_a_build_waits_runs_and_ends(server: Jenkins, url: str) -> None:
    at = NOW - 5000
    server.build("nightly", 7, at, lasted=90, waited=12, branch="release")
    (build,) = events(pulled(configured(url)))
    assert build.key == f"nightly#7@{at}"
    # `timestamp` is when it left the queue: it was made before by as long as it waited.
    assert (build.ts, build.started, build.ended) == (at - 12 + 0, at, at + 90)
    assert (build.outcome, build.actor, build.trigger) == ("good", "ada", "Started by user Ada")
    assert dict(build.labels) == {"job": "nightly", "branch": "release", "result": "SUCCESS"}
    assert re.fullmatch("[0-9a-f]{40}", build.commit)
    expected = "Basic " + base64.b64encode(b"tandem:secret-token").decode()
    assert {one.headers["authorization"] for one in server.asked} == {expected}
    assert {one.method for one in server.asked} == {"GET"}


def test_without_the_plugin_the_waiting_is_unknown_and_the_duration_is_not(server: Jenkins, url: str) -> None:
    server.build("nightly", 7, NOW - 5000, lasted=90, waited=None)
    (build,) = events(pulled(configured(url)))
    assert (build.ts, build.started, build.ended) == (NOW - 5000, None, NOW - 4910)


def test_folders_branches_and_deep_ones_are_found_and_chosen_by_globs(server: Jenkins, url: str) -> None:
    server.folders = {"shop": FOLDER, "shop/checkout": MANY, "a": FOLDER}
    deep = "a"
    for letter in "bcdefgh":
        deep += f"/{letter}"
        server.folders[deep] = FOLDER
    for number, job in enumerate(("nightly", "shop/checkout/main", "shop/checkout/feature%2Fx", f"{deep}/leaf"), 1):
        server.build(job, number, NOW - 5000 + number)
    found = [dict(e.labels) for e in events(pulled(configured(url)))]
    assert [(one["job"], one["branch"]) for one in found] == [
        ("nightly", "main"), ("shop/checkout", "main"), ("shop/checkout", "feature/x"), (f"{deep}/leaf", "main"),
    ]  # fmt: skip
    some = events(pulled(configured(url, jobs=("shop/checkout/feature/*", "a/*"))))
    assert [dict(e.labels)["job"] for e in some] == ["shop/checkout", f"{deep}/leaf"]
    none = pulled(configured(url, jobs=("other",)))
    assert reasons(none) == {"no job has a name that jobs allows": 1}


def test_every_result_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(server: Jenkins, url: str) -> None:
    for number, word in enumerate(jenkins.ABOUT.status, 1):
        server.build("nightly", number, NOW - 9000 + 100 * number, None if word == "RUNNING" else word)
    server.build("nightly", 99, NOW - 500, "EXPLODED")
    pages = pulled(configured(url))
    found = [e.outcome for e in events(pages, "build")]
    assert found == [*jenkins.ABOUT.status.values(), "excluded"]
    assert sum(count for reason, count in reasons(pages).items() if '"EXPLODED"' in reason) == 1
    own = events(pulled(configured(url, common={"status": {"UNSTABLE": "bad", "EXPLODED": "bad"}})), "build")
    assert [e.outcome for e in own if dict(e.labels).get("result") in ("UNSTABLE", "EXPLODED")] == ["bad", "bad"]


def test_an_unstable_build_is_good_and_its_tests_are_bad(server: Jenkins, url: str) -> None:
    at = NOW - 5000
    server.build("nightly", 7, at, "UNSTABLE")
    server.tested("nightly", 7, 8, ("test_pay",), skipped=3)
    server.build("nightly", 8, at + 600)
    server.tested("nightly", 8, 9)
    pages = pulled(configured(url))
    assert [e.outcome for e in events(pages, "build")] == ["good", "good"]
    assert sorted(facts(pages)) == [(bucket_of(at - 5), Ratio(8, 9)), (bucket_of(at + 595), Ratio(9, 9))]
    runs = events(pages, "test_run")
    assert [(e.outcome, dict(e.labels).get("test"), dict(e.labels).get("lost")) for e in runs] == [
        ("bad", None, None), ("bad", "C.test_pay", "1.500"), ("good", None, None),
    ]  # fmt: skip
    assert {dict(e.labels)["suite"] for e in runs} == {"nightly"}
    # The counts come with the list: only where tests failed their names are asked for.
    assert [path for path in asked(server) if "testReport" in path] == ["/job/nightly/7/testReport/api/json"]
    assert facts(pulled(configured(url, tests=False))) == []


def test_stages_are_in_the_labels_of_bad_builds_or_of_all(server: Jenkins, url: str) -> None:
    server.build("nightly", 7, NOW - 5000, "FAILURE")
    server.stages["nightly#7"] = [("Build", "SUCCESS"), ("Test", "FAILED"), ("Deploy", "NOT_EXECUTED")]
    server.build("nightly", 8, NOW - 4000)
    server.stages["nightly#8"] = [("Build", "SUCCESS")]
    red, green = [dict(e.labels) for e in events(pulled(configured(url)))]
    assert (red["stages"], red["failed_stage"]) == ("Build, Test, Deploy", "Test")
    assert "stages" not in green
    every = [dict(e.labels) for e in events(pulled(configured(url, stages="all")))]
    assert [(one["stages"], one.get("failed_stage")) for one in every] == [
        ("Build, Test, Deploy", "Test"), ("Build", None),
    ]  # fmt: skip
    server.plugin = False
    server.build("nightly", 9, NOW - 3000, "FAILURE")
    made = len(server.asked)
    pages = pulled(configured(url))
    assert reasons(pages) == {"stages are not told: the plugin Pipeline: REST API is not installed": 1}
    assert len([path for path in asked(server, made) if "wfapi" in path]) == 1


# -- what changes later


def test_a_result_while_it_still_builds_is_no_end(server: Jenkins, url: str) -> None:
    one = server.build("nightly", 7, NOW - 500, "SUCCESS", building=True)
    config = configured(url)
    first = pulled(config)
    assert [(e.outcome, e.ended) for e in events(first)] == [("open", None)]
    one.update(building=False, result="FAILURE", duration=610_000)
    second = again(config, first, NOW - 600, NOW + 300)
    assert [(e.key, e.outcome, e.ended) for e in events(second)] == [(f"nightly#7@{NOW - 500}", "bad", NOW + 110)]
    assert events(second)[0].revision > events(first)[0].revision


def test_a_result_that_was_corrected_is_found_by_the_sweep_and_counts_once(
    server: Jenkins, url: str, tmp_path: Path
) -> None:
    at = bucket_of(NOW - 5000)
    server.build("nightly", 7, at, "FAILURE", waited=0)
    server.tested("nightly", 7, 8, ("test_pay",))
    config = configured(url)
    seen = []
    with open_store(tmp_path / "t.duckdb") as store:
        for turn, now in enumerate((NOW, NOW + DAY)):
            if turn:
                server.one("nightly", 7)["result"] = "SUCCESS"
                server.tested("nightly", 7, 9)
            assert not collect.pull(store, Source(config.common, jenkins, config), now).error
            reader, told = Reader(store), {}
            for signal in ("build_success", "test_success"):
                groups = {kept.id: 0 for kept in reader.series(signal=signal)}
                told[signal] = reader.steps("ratio", groups, at - DAY, at + DAY, 300)
            seen.append(told)
    assert seen == [
        {"build_success": [(0, at, 0, 1)], "test_success": [(0, at, 8, 9)]},
        {"build_success": [(0, at, 1, 1)], "test_success": [(0, at, 9, 9)]},
    ]


def test_what_the_discarder_removed_is_a_gap_and_nothing_is_retracted(server: Jenkins, url: str) -> None:
    for number in range(1, 21):
        server.build("nightly", number, NOW - 50_000 + number * 1000)
    config = configured(url)
    first = pulled(config)
    assert len(events(first)) == 20
    assert gaps(first) == []
    for number in range(21, 40):
        server.build("nightly", number, NOW + number * 10)
    server.discard("nightly", 5)
    second = again(config, first, NOW - 600, NOW + 1000)
    assert [e.key.partition("@")[0] for e in events(second)] == [f"nightly#{n}" for n in range(35, 40)]
    assert gaps(second) == [(NOW - 600, NOW + 350, "shop")]
    assert second[-1].covered is not None
    assert [(one.since, one.until, one.component) for one in second[-1].covered] == [(NOW + 350, NOW + 1000, "shop")]

    fresh = pulled(config, since=NOW - 90 * DAY, until=NOW + 1000)
    assert gaps(fresh) == [(NOW - 90 * DAY, NOW + 350, "shop")]


def test_a_gap_of_one_job_is_none_of_another_component(server: Jenkins, url: str) -> None:
    server.build("a/x", 9, NOW - 1000)
    server.build("b", 1, NOW - 1000)
    server.folders = {"a": FOLDER}
    rules = tuple(connect.Rule((name,), {"job": glob}) for name, glob in (("one", "a/*"), ("two", "b")))
    pages = pulled(configured(url, common={"component": (), "map": rules}), since=NOW - 5000)
    assert gaps(pages) == [(NOW - 5000, NOW - 1000, "one")]
    assert [(one.since, one.until, one.component) for one in pages[-1].covered or ()] == [
        (NOW - 1000, NOW, "one"), (NOW - 5000, NOW, "two"),
    ]  # fmt: skip


def test_a_job_that_was_made_again_begins_at_one_and_hides_nothing(server: Jenkins, url: str) -> None:
    for number in range(1, 6):
        server.build("nightly", number, NOW - 50_000 + number * 1000)
    config = configured(url)
    first = pulled(config)
    server.jobs["nightly"] = []
    for number in range(1, 4):
        server.build("nightly", number, NOW + number)
    second = again(config, first, NOW - 600, NOW + 600)
    assert [e.key for e in events(second)] == [f"nightly#{n}@{NOW + n}" for n in range(1, 4)]
    assert gaps(second) == []
    assert not {e.key for e in events(first)} & {e.key for e in events(second)}


def test_an_open_build_that_vanished_is_excluded(server: Jenkins, url: str) -> None:
    server.build("nightly", 7, NOW - 500, None)
    config = configured(url)
    first = pulled(config)
    del server.jobs["nightly"]
    second = again(config, first, NOW - 600, NOW + 300)
    assert [(e.key, e.outcome) for e in events(second)] == [(f"nightly#7@{NOW - 500}", "excluded")]
    assert reasons(second)["a running build is no longer there and is excluded"] == 1


def test_what_ends_at_or_after_until_still_runs(server: Jenkins, url: str) -> None:
    server.build("nightly", 7, NOW - 50, lasted=100)
    server.build("nightly", 8, NOW + 10)
    config = configured(url)
    first = pulled(config)
    assert [(e.outcome, e.ended) for e in events(first)] == [("open", None)]
    second = again(config, first, NOW - 600, NOW + 600)
    assert [(e.outcome, e.ended) for e in events(second)] == [("good", NOW + 50), ("good", NOW + 70)]


# -- lists and requests


def test_builds_that_come_and_go_while_they_are_read_hide_nothing(server: Jenkins, url: str) -> None:
    for number in range(1, 351):
        server.build("nightly", number, NOW - 50_000 + number * 100)
    server.before[3] = lambda: [server.build("nightly", 351 + n, NOW - 50 + n, None) for n in range(3)]
    found = {e.key.partition("@")[0] for e in events(pulled(configured(url)))}
    assert found >= {f"nightly#{number}" for number in range(1, 351)}
    server.before[len(server.asked) + 3] = lambda: server.jobs["nightly"].__delitem__(slice(5, 9))
    found = {e.key.partition("@")[0] for e in events(pulled(configured(url)))}
    assert found >= {f"nightly#{number}" for number in range(1, 345)}


def test_a_second_pull_makes_the_fewest_requests(server: Jenkins, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    server.folders = {"shop": FOLDER}
    for job in ("nightly", "shop/a", "shop/b"):
        for number in range(1, 151):
            server.build(job, number, NOW - 150_000 + number * 900, "SUCCESS" if number % 7 else "FAILURE")
    server.build("shop/b", 151, NOW - 100, None)
    config = configured(url)
    first = pulled(config)
    made = len(server.asked)
    quiet = again(config, first, NOW - 600, NOW + 300)
    print(f"second pull: {len(server.asked) - made} requests, fewest possible 2")
    assert asked(server, made) == ["/api/json", "/job/shop/job/b/151/api/json"]

    server.build("nightly", 151, NOW + 310)
    server.one("shop/b", 151).update(building=False, result="SUCCESS", duration=300_000)
    made = len(server.asked)
    third = again(config, first, NOW - 300, NOW + 600, state=state(quiet))
    assert asked(server, made) == ["/api/json", "/job/nightly/api/json", "/job/shop/job/b/151/api/json"]
    assert {(e.key.partition("@")[0], e.outcome) for e in events(third)} == {
        ("nightly#151", "good"), ("shop/b#151", "good"),
    }  # fmt: skip

    made = len(server.asked)
    again(config, third, NOW, NOW + 900, sweep=True)
    assert not [path for path in asked(server, made) if "wfapi" in path]  # no unchanged build is asked for its stages
    assert "fewest possible 2" in capsys.readouterr().out


def test_a_pull_that_was_cut_reads_no_finished_job_again(server: Jenkins, url: str) -> None:
    for job in ("a", "b", "c"):
        for number in range(1, 11):
            server.build(job, number, NOW - 50_000 + number * 100)
    config, pull = configured(url), Pull(NOW - DAY, NOW, NOW, first=True)
    begun: list[Page] = []
    for page in jenkins.fetch(config, pull):
        begun.append(page)
        if len(events(begun)) > 15:
            break
    made = len(server.asked)
    rest = list(jenkins.fetch(config, replace(pull, state=state(begun))))
    assert len({e.key for e in events([*begun, *rest])}) == 30
    assert asked(server, made) == ["/api/json", "/job/b/api/json", "/job/c/api/json"]


def test_losing_the_state_costs_requests_and_changes_no_event(server: Jenkins, url: str) -> None:
    server.build("nightly", 1, NOW - 3000, "FAILURE")
    assert events(pulled(configured(url), since=NOW - 6000, first=False)) == events(pulled(configured(url)))


def test_the_state_stays_small() -> None:
    one = {f"shop/checkout/feature%2Fsomething-long#{10_000 + n}@{NOW + n}": "good SUCCESS" for n in range(100)}
    assert jenkins.KNOWN * len(json.dumps(one)) / 100 < 0.8 * (1 << 20)


# -- refusals and secrets


def test_a_login_page_and_a_server_that_starts_say_what_they_are(
    server: Jenkins, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.build("nightly", 1, NOW - 3000)
    monkeypatch.setenv("TANDEM_TEST_JENKINS", "other")
    with pytest.raises(SourceRefused, match="the token was refused; check the environment variable"):
        pulled(configured(url))
    monkeypatch.setenv("TANDEM_TEST_JENKINS", "secret-token")
    waits: list[float] = []
    monkeypatch.setattr(_http, "REAL", _http.Clock(now=lambda: float(NOW), sleep=waits.append, random=lambda: 1.0))
    server.refusals = [Answer("<html>Please wait while Jenkins is getting ready</html>", 503)]
    assert len(events(pulled(configured(url)))) == 1
    assert len(waits) == 1


def test_neither_the_token_nor_the_login_is_found_anywhere(
    server: Jenkins, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    server.login = f"tandem:{faults.TOKEN}"
    login = base64.b64encode(server.login.encode()).decode()
    server.build("nightly", 1, NOW - 5000)["displayName"] = f"echo {faults.TOKEN} {login}"
    config = configured("", common={"token_env": faults.TOKEN_ENV})
    said = ""
    with faults.virtual(), open_store(tmp_path / "t.duckdb") as store:
        for turn, echo in enumerate((None, faults.TOKEN, login)):
            refused = Answer({"message": f"401 bad {echo}"}, 401)
            with serve(server.answer if echo is None else lambda asked, refused=refused: refused) as running:
                given = replace(config, url=running.url)
                source = Source(given.common, jenkins, given)
                said += repr(collect.pull(store, source, NOW + turn * 300, since=NOW - DAY))
        title = Reader(store).events(0, 1 << 40)[0][1].title
    assert title == "nightly echo *** ***"
    assert said.count("bad ***") == 2
    out, err = capfd.readouterr()
    files = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    for secret in (faults.TOKEN, login):
        assert not [place for place in (said, out, err, caplog.text) if secret in place]
        assert secret.encode() not in files


def test_hostile_names_stay_data(server: Jenkins, url: str) -> None:
    nasty = "<script>'; DROP TABLE x;--\u202e|`${x}#7@9"
    server.build("nightly", 1, NOW - 5000, "FAILURE", branch=nasty)
    server.tested("nightly", 1, 1, (nasty,))
    server.stages["nightly#1"] = [(nasty, "FAILED")]
    found = events(pulled(configured(url)))
    assert dict(found[0].labels)["branch"] == nasty
    assert dict(found[0].labels)["failed_stage"] == nasty
    assert f"C.{nasty}" in {dict(e.labels).get("test") for e in found}


# -- files


def test_the_folder_of_a_build_tells_it_with_its_tests() -> None:
    pages = parsed(BUILD)
    left = times.iso("2026-11-02T10:00:00Z")
    build, run, failed = (*events(pages, "build"), *events(pages, "test_run"))
    assert build.key == f"shop/checkout/main#41@{left}"
    # 1.1 of XML, a control character in it, a result of the execution that is not the build's
    assert (build.outcome, dict(build.labels)["result"]) == ("good", "UNSTABLE")
    assert (build.ts, build.started, build.ended) == (left - 4, left, left + 184)
    assert (build.commit, build.actor) == ("5f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d", "ada")
    assert (dict(build.labels)["job"], dict(build.labels)["branch"]) == ("shop/checkout", "main")
    assert facts(pages) == [(bucket_of(left - 4), Ratio(2, 3))]
    assert (run.outcome, failed.outcome, dict(failed.labels)["test"]) == ("bad", "bad", "tests.cart.test_pay")
    (alone,) = events(parsed(HERE / "jobs/nightly/builds/7/build.xml"))
    assert (alone.outcome, alone.started, alone.ended) == ("bad", None, alone.ts + 61)
    assert alone.key == f"nightly#7@{alone.ts}"


def test_what_a_file_tells_is_what_the_server_tells(server: Jenkins, url: str) -> None:
    left = times.iso("2026-11-02T10:00:00Z")
    server.folders = {"shop": FOLDER, "shop/checkout": MANY}
    one = server.build("shop/checkout/main", 41, left, "UNSTABLE", lasted=184, waited=4)
    one["duration"], one["actions"][-1]["queuingDurationMillis"] = 184_500, 4200
    one["actions"][2]["lastBuiltRevision"]["SHA1"] = "5f1c2d3e4a5b6c7d8e9f0a1b2c3d4e5f6a7b8c9d"
    (pulled_one,) = events(pulled(configured(url, stages="none")))
    (file_one,) = events(parsed(BUILD), "build")
    assert replace(file_one, url="", trigger="") == replace(pulled_one, url="", trigger="")


def test_a_test_result_alone_counts_at_its_time_and_is_no_junit() -> None:
    path = BUILD / "junitResult.xml"
    assert not junit.recognise(item(path, Given()))
    at = times.iso("2026-11-02T10:01:30Z")
    pages = parsed(path, at=at)
    assert facts(pages) == [(bucket_of(at), Ratio(2, 3))]
    assert list(reasons(parsed(path))) == ["test results hold no time; the time of the file's last change is taken"]


def test_saved_answers_of_the_api() -> None:
    done, aborted, running = events(parsed(HERE / "job_api.json"), "build")
    assert [e.outcome for e in (done, aborted, running)] == ["good", "excluded", "open"]
    assert (done.ts, done.started, done.ended) == (1793613598, 1793613600, 1793613690)
    assert dict(done.labels) == {"job": "shop/payments", "branch": "main", "result": "SUCCESS"}
    assert facts(parsed(HERE / "job_api.json")) == [(bucket_of(1793613598), Ratio(20, 20))]


def test_other_jobs_are_left_out_and_counted() -> None:
    pages = parsed(HERE / "job_api.json", configured(jobs=("shop/other",)))
    assert events(pages) == []
    assert list(reasons(pages).values()) == [3]
    assert jenkins.belongs(item(BUILD, Given()), configured(jobs=("shop/*",)))
    assert not jenkins.belongs(item(BUILD, Given()), configured(jobs=("nightly",)))
    assert not jenkins.belongs(item(HERE / "job_api.json", Given()), configured(jobs=("nightly",)))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"number": 0}, "a build has no number"),
        ({"timestamp": 0}, "a build has no timestamp"),
        ({"timestamp": 12}, "a build has no timestamp"),
        ({"url": None}, "a build has no url, which says what it is of"),
    ],
)
def test_a_build_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    told = json.loads((HERE / "job_api.json").read_text())
    told["allBuilds"][1].update(change)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(told))
    pages = parsed(path)
    assert len(events(pages, "build")) == 2
    assert reasons(pages) == {reason: 1}


def test_a_build_xml_that_lies_anywhere_or_is_cut_is_refused_with_one_sentence(tmp_path: Path) -> None:
    text = (BUILD / "build.xml").read_bytes()
    loose = tmp_path / "build.xml"
    loose.write_bytes(text)
    assert list(reasons(parsed(loose))) == ["a build.xml does not lie in JOB/builds/NUMBER, which says what it is of"]
    cut = tmp_path / "x" / "builds" / "3" / "build.xml"
    cut.parent.mkdir(parents=True)
    cut.write_bytes(text[:1200])
    with pytest.raises(SourceRefused, match=r"build\.xml line \d+ is not well-formed XML"):
        parsed(cut)
    cut.write_bytes(b"<?xml version='1.1'?><!DOCTYPE x [<!ENTITY a 'b'>]><build><timestamp>1</timestamp></build>")
    with pytest.raises(SourceRefused):
        list(jenkins.parse(item(cut, Given()), configured()))


@pytest.mark.parametrize(
    "text", ["{}", "[]", "<project name='ant'><target/></project>", "<testsuite/>", '{"_class": "hudson.model.Hudson"}']
)
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "build.xml"
    path.write_text(text)
    assert not jenkins.recognise(item(path, Given()))


def test_a_home_is_imported_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "jenkins"\nname = "ci"\nurl = "file:none"\ncomponent = "shop"\n'
    )
    for _ in range(2):
        done = CliRunner().invoke(main, ["import", str(HERE / "jobs"), str(HERE / "job_api.json")])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        reader = Reader(store)
        told = [one for _, one in reader.events(0, 1 << 40) if one.kind == "build"]
        groups = {kept.id: 0 for kept in reader.series(signal="test_success")}
        tests = reader.steps("ratio", groups, 1793600000, 1793700000, 300)
    assert sorted(e.key.partition("@")[0] for e in told) == [
        "nightly#7", "shop/checkout/main#41", "shop/payments#11", "shop/payments#12", "shop/payments#13",
    ]  # fmt: skip
    assert sum(good for *_, good, _ in tests) == 22
    assert sum(total for *_, total in tests) == 23


# -- what it says of itself


def test_scope_is_the_server_and_the_jobs() -> None:
    assert jenkins.scope(configured("https://CI.corp/jenkins/", jobs=("b", "a"))) == "ci.corp/jenkins#a,b"
    assert jenkins.scope(configured("file:exports")) == "file:exports#"


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", jenkins.ABOUT.example, flags=re.M) if uncommented else jenkins.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.jobs == ("shop/*",)
    assert source.config.stages == ("all" if uncommented else "bad")


def test_its_name_loads_it() -> None:
    assert {connect.canonical(name) for name in ("jenkins", *jenkins.ABOUT.aliases)} == {"jenkins"}
