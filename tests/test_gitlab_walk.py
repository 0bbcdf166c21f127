"""Jobs of many GitLab pipelines from one list: the same events as pipeline by pipeline, for far fewer requests."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import gitlab
from connectors._gitlab_walk import SLACK, may_report, together
from tandem import times
from tandem.connect import Pull, SourceDown
from tandem.records import DAY, Event, Page
from tests.faults import virtual
from tests.gitlab_server import Project
from tests.replay import Answer, serve
from tests.test_gitlab import NOW, again, asked, configured, events, facts, pulled

PLAIN = [{"file_type": "trace", "size": 9, "filename": "job.log", "file_format": None}]
JUNIT = [{"file_type": "junit", "size": 9, "filename": "junit.xml.gz", "file_format": "gzip"}]


def busy(count: int = 130, seed: int = 5) -> Project:
    """Pipelines of ten days with retries, failures, reports, jobs that never ran, and a few that still run."""
    dice, project = random.Random(seed), Project()
    for number in range(1, count + 1):
        created = NOW - 10 * DAY + number * (10 * DAY // (count + 1))
        status = dice.choice([*["success"] * 6, *["failed"] * 3, "canceled", "skipped", "running"])
        project.pipeline(number, created, status)
        for place, name in enumerate(("image", "unit", "e2e")[: dice.randint(1, 3) if number % 25 else 0]):
            word = "failed" if status == "failed" and name != "image" else "success"
            one = project.job(number, name, created, created + 5 + 80 * place, dice.randint(20, 70), word)
            one["artifacts"] = JUNIT if name == "unit" and number % 3 == 0 else PLAIN
        if number % 3 == 0:
            project.suite(number, "unit", 5, ("test_pay",) if status == "failed" else ())
    for number in range(7, count, 20):
        if project.jobs[number] and project.pipelines[number]["status"] != "running":
            again = project.job(number, "unit", NOW - DAY + number, NOW - DAY + number + 9, 30)
            again["artifacts"] = JUNIT if number % 3 == 0 else PLAIN
    return project


@pytest.fixture
def project() -> Project:
    return busy()


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pipelines are many here."""
    monkeypatch.setattr(gitlab, "MANY", 30)


@pytest.fixture
def url(project: Project) -> Iterator[str]:
    with serve(project.answer) as server:
        yield server.url


def told(pages: list[Page]) -> list[Event]:
    return sorted(events(pages), key=lambda one: (one.kind, one.key, one.attempt))


def test_both_ways_tell_the_same_and_one_asks_for_little(
    project: Project, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = pulled(configured(url))
    few = len(project.asked)
    lists = [one for one in asked(project) if one.startswith("jobs")]
    project.asked.clear()
    monkeypatch.setattr(gitlab, "MANY", 10**6)
    apart = pulled(configured(url))
    assert told(together) == told(apart)
    assert sorted(facts(together)) == sorted(facts(apart))
    assert len(told(together)) > len(project.pipelines), "some are tried again, some have tests"
    assert lists
    finished = [one for one in project.pipelines.values() if one["status"] in ("success", "failed")]
    unfinished = sum(one["status"] in ("running", "canceled") for one in project.pipelines.values())
    without = sum(not project.jobs[one["id"]] for one in finished)
    reported = sum(any(job["artifacts"] is JUNIT for job in project.jobs[one["id"]]) for one in finished)
    failed = sum(any(suite["failed_count"] for suite in project.reports.get(one["id"], ())) for one in finished)
    assert len(lists) <= -(-len(project.every) // 100) + 1
    # Those without a job are asked for by themselves, and whether they have tests.
    assert few <= 3 + len(lists) + unfinished + 2 * without + reported + failed + 5
    assert few < len(project.asked) / 2


def test_the_next_pull_asks_for_what_changed_only(project: Project, url: str) -> None:
    first = pulled(configured(url))
    project.asked.clear()
    changed = next(number for number in range(60, 130) if project.pipelines[number]["status"] == "failed"
                   and project.jobs[number])  # fmt: skip
    project.job(changed, project.jobs[changed][-1]["name"], NOW + 60, NOW + 70, 30)
    project.touch(changed, NOW + 100, "success")
    second = again(configured(url), first, NOW - 600, NOW + 300)
    assert [one for one in events(first) if one.kind == "build"]
    builds = [one for one in events(second) if one.kind == "build" and one.outcome != "open"]
    assert {one.key for one in builds} == {str(changed)}
    assert max(builds, key=lambda one: one.attempt).outcome == "good"
    assert not [one for one in asked(project) if one.startswith("jobs")]


@pytest.mark.parametrize("broken", [6, 9, 40])
def test_a_pull_that_is_cut_goes_on_where_it_was_and_loses_nothing(project: Project, url: str, broken: int) -> None:
    whole = told(pulled(configured(url)))
    project.asked.clear()
    project.before[broken] = lambda: project.refusals.extend([Answer("broken", 500)] * 20)
    first: list[Page] = []
    reading = gitlab.fetch(configured(url), Pull(NOW - 90 * DAY, NOW, NOW, first=True))
    with virtual(), pytest.raises(SourceDown):
        first.extend(reading)
    project.refusals.clear()
    kept = [page.state for page in first if page.state is not None]
    project.asked.clear()
    rest = pulled(configured(url), state=kept[-1] if kept else None, first=not kept)
    mine = {(one.kind, one.key, one.attempt): one for one in [*events(first), *events(rest)]}
    assert sorted(mine.values(), key=lambda one: (one.kind, one.key, one.attempt)) == whole


def test_where_the_list_is_not_answered_each_is_asked_for(project: Project, url: str) -> None:
    whole = told(pulled(configured(url)))
    project.off.add("jobs")
    assert told(pulled(configured(url))) == whole


def test_jobs_in_place_of_pipelines_never_come_from_the_list(project: Project, url: str) -> None:
    pulled(configured(url, builds="jobs"))
    assert not [one for one in asked(project) if one.startswith("jobs")]


def test_children_may_report_in_their_parents_place(project: Project, url: str) -> None:
    pulled(configured(url))
    without = sum("test_report_summary" in one for one in asked(project))
    project.asked.clear()
    project.run(9000, NOW - 5000, source="parent_pipeline")
    pulled(configured(url))
    finished = sum(one["status"] in ("success", "failed") for one in project.pipelines.values())
    assert without < finished - 1
    assert sum("test_report_summary" in one for one in asked(project)) == finished


def test_what_may_have_a_report() -> None:
    assert not may_report([{"artifacts": PLAIN}, {"artifacts": []}], NOW)
    assert may_report([{"artifacts": PLAIN}, {"artifacts": JUNIT}], NOW)
    assert may_report([{"artifacts": PLAIN, "artifacts_expire_at": times.text(NOW - 5)}], NOW), "they are gone by now"
    assert not may_report([{"artifacts": PLAIN, "artifacts_expire_at": times.text(NOW + 5)}], NOW)
    assert not may_report([{"artifacts": PLAIN, "artifacts_expire_at": None}], NOW)
    assert may_report([{"artifacts": [], "erased_at": times.text(NOW)}], NOW)
    assert may_report([{"name": "unit"}], NOW), "an old server lists none"
    assert may_report([], NOW)
    assert may_report([{"artifacts": PLAIN, "artifacts_expire_at": "soon"}], NOW)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), st.integers(0, 3)), max_size=40), st.integers(1, 7))
def test_each_is_told_once_with_all_its_jobs(some: list[tuple[int, int, int]], size: int) -> None:
    """Pipelines made minutes apart; their jobs, and tries long after, in the order of their making."""
    created = {str(number): NOW + minutes * 600 for number, (minutes, _, _) in enumerate(some)}
    jobs = [(created[str(number)] + place, number) for number, (_, n, _) in enumerate(some) for place in range(n)]
    jobs += [(created[str(number)] + 90_000 + place, number) for number, (_, n, m) in enumerate(some)
             for place in range(m) if n]  # fmt: skip
    rows = [{"id": place, "created_at": times.text(ts), "pipeline": {"id": number}}
            for place, (ts, number) in enumerate(sorted(jobs))][::-1]  # fmt: skip
    pages = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
    found: dict[str, list[int]] = {}
    read = 0

    def reading() -> Iterator[list[dict[str, object]]]:
        nonlocal read
        for page in pages:
            read += 1
            yield page

    for group in together(reading(), created):
        assert not found.keys() & group.keys()
        found |= {key: sorted(row["id"] for row in mine) for key, mine in group.items()}
    for key, mine in found.items():
        assert mine == sorted(row["id"] for row in rows if str(row["pipeline"]["id"]) == key)
    left = created.keys() - found.keys()
    assert not left or read < len(pages) or len(left) <= read, "those left are fewer than the pages they would cost"


def test_an_old_one_among_new_ones_is_not_walked_to() -> None:
    """A thousand pages lie between: asking for the old one by itself is cheaper."""
    created = {**{str(number): NOW - number for number in range(10)}, "old": NOW - 900 * DAY}
    read = []

    def pages() -> Iterator[list[dict[str, object]]]:
        for number in range(1000):
            read.append(number)
            at = times.text(NOW - number * DAY)
            yield [{"id": 5000 - number, "created_at": at, "pipeline": {"id": number if number < 10 else 77}}]

    found = {key for group in together(pages(), created) for key in group}
    assert found == created.keys() - {"old"}
    assert len(read) < 10
    assert SLACK < DAY
