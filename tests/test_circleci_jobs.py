"""CircleCI's jobs: approvals, and the tests of every attempt with what is flaky in them."""

from __future__ import annotations

import pytest

from tandem.records import Ratio
from tests.circleci_server import Circle
from tests.test_circleci import NOW, SLUG, circle, configured, events, paths, pulled, ratios, reasons, url

__all__ = ["circle", "url"]


# -- approvals


@pytest.mark.parametrize(
    ("hold", "flow", "outcome"),
    [("on_hold", "on_hold", "open"), ("canceled", "canceled", "excluded"), ("on_hold", "canceled", "excluded"),
     ("blocked", "failed", None), ("success", "running", "good")],
)  # fmt: skip
def test_approvals(circle: Circle, url: str, hold: str, flow: str, outcome: str | None) -> None:
    circle.pipeline(7, NOW - 900)
    run = circle.workflow(7, NOW - 900)
    built = circle.job(run, "compile", NOW - 890, 50)
    circle.approval(run, "hold", hold, (built,))
    circle.end(run, NOW - 100, flow)
    run["stopped_at"] = None if flow in ("on_hold", "running") else run["stopped_at"]
    found = events(pulled(configured(url)), "approval")
    assert [(e.outcome, e.ts, e.ended) for e in found] == ([(outcome, NOW - 840, None)] if outcome else [])
    assert events(pulled(configured(url, approvals=False)), "approval") == []


# -- tests


def test_a_test_that_is_tried_again_in_its_job_is_flaky_where_the_job_passed(circle: Circle, url: str) -> None:
    run = circle.run(7, NOW - 900)
    circle.results(circle.jobs[run["id"]][0], 3, ("test_pay",), 2, test_slow="success")
    rows = circle.tests[101]
    rows += [{**row, "result": "success"} for row in rows if row["name"] == "test_pay"]
    pages = pulled(configured(url))
    assert ratios(pages) == {"test_success": Ratio(5, 5), "flaky": Ratio(4, 5)}
    (whole, named) = events(pages, "test_run")
    told = dict(whole.labels)
    assert (whole.outcome, told["tests"], told["failed"], told["flaky"], told["skipped"]) == (
        "good",
        "5",
        "0",
        "1",
        "2",
    )
    assert {"test": "pay.test_pay", "result": "flaky", "lost": "1.500", "of": whole.key}.items() <= dict(
        named.labels
    ).items()
    circle.jobs[run["id"]][0]["status"] = "failed"
    assert ratios(pulled(configured(url))) == {"test_success": Ratio(4, 5), "flaky": Ratio(5, 5)}


def test_a_rerun_of_failed_tests_only_leaves_the_others_as_they_were(circle: Circle, url: str) -> None:
    first = circle.run(7, NOW - 9000, "failed")
    circle.results(circle.jobs[first["id"]][0], 8, ("test_pay", "test_send"), 1)
    second = circle.rerun(first, NOW - 8000)
    circle.results(circle.job(second, "unit", NOW - 7990, 9, "failed"), 0, ("test_send",), test_pay="success")
    circle.end(second, NOW - 7900, "failed")
    config = configured(url)
    assert ratios(pulled(config)) == {"test_success": Ratio(9, 10), "flaky": Ratio(9, 10)}
    third = circle.rerun(second, NOW - 7000)
    circle.results(circle.job(third, "unit", NOW - 6990, 9), 0, skipped_0="skipped", test_send="success")
    circle.end(third, NOW - 6900)
    assert ratios(pulled(config)) == {"test_success": Ratio(10, 10), "flaky": Ratio(8, 10)}


def test_a_test_that_passed_and_then_failed_on_one_commit_is_flaky_too(circle: Circle, url: str) -> None:
    first = circle.run(7, NOW - 9000, "failed")
    circle.results(circle.jobs[first["id"]][0], 1)
    second = circle.rerun(first, NOW - 8000, from_failed=False)
    circle.results(circle.job(second, "unit", NOW - 7990, 9, "failed"), 0, ("test_0",))
    circle.end(second, NOW - 7900, "failed")
    assert ratios(pulled(configured(url))) == {"test_success": Ratio(0, 1), "flaky": Ratio(0, 1)}


def test_tests_are_asked_of_jobs_that_ended_in_decided_workflows_over_all_their_pages(circle: Circle, url: str) -> None:
    run = circle.run(7, NOW - 900)
    job = circle.jobs[run["id"]][0]
    circle.results(job, 45, tuple(f"bad_{n}" for n in range(25)))
    circle.job(run, "lint", NOW - 800)
    circle.end(circle.workflow(7, NOW - 700, name="stopped"), NOW - 600, "canceled")
    circle.workflow(7, NOW - 500, name="going")
    pages = pulled(configured(url))
    assert ratios(pages)["test_success"] == Ratio(45, 70)
    assert [one for one in paths(circle) if "tests" in one] == [f"project/{SLUG}/101/tests"] * 4 + [
        f"project/{SLUG}/102/tests"
    ]
    assert len(events(pages, "test_run")) == 1 + 20
    assert any("20 tests that failed are named" in reason for reason in reasons(pages))
    made = len(circle.asked)
    pulled(configured(url, test_jobs=("l*",)))
    assert [one for one in paths(circle, made) if "tests" in one] == [f"project/{SLUG}/102/tests"]
