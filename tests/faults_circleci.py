"""A small project in the fault matrix: pipelines over two pages, a re-run, an approval, tests, a wrong config."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import circleci
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.circleci_server import Circle, key
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_project() -> Circle:
    circle = Circle(token=faults.TOKEN)
    for number in range(1, 22):
        circle.pipeline(number, NOW - 30_000 + number * 60, branch="other")
    circle.pipeline(22, NOW - 9000)
    first = circle.workflow(22, NOW - 9000)
    built = circle.job(first, "compile", NOW - 8990)
    circle.results(circle.job(first, "unit", NOW - 8900, 30, "failed", (built,)), 3, ("test_pay",))
    circle.end(first, NOW - 8870, "failed")
    again = circle.rerun(first, NOW - 8000)
    unit = circle.job(again, "unit", NOW - 7990, 30, "success", (built,))
    circle.results(unit, 3, test_pay="success")
    hold = circle.approval(again, "hold", "success", (unit,))
    circle.job(again, "deploy", NOW - 7000, 40, "success", (hold,))
    circle.end(again, NOW - 6960)
    circle.pipeline(23, NOW - 500, state="errored", errors=[{"type": "config", "message": "No such job: unti"}])
    return circle


def config(url: str) -> circleci.Config:
    common = Common("circleci", "ci", token_env=faults.TOKEN_ENV)
    return circleci.Config(common, url=url, project="gh/acme/checkout", branches=("main",))


def _rows(good: Answer, change: Any) -> Answer:
    if not isinstance(good.body, dict) or "items" not in good.body:
        return good
    return replace(good, body={**good.body, "items": change(good.body["items"])})


def missing(asked: Asked, good: Answer) -> Answer:
    """Pipelines left out of the list, whose numbers are a chain."""
    return _rows(good, lambda rows: rows[:1] + rows[2:]) if asked.path.endswith("/pipeline") else good


def looping(asked: Asked, good: Answer) -> Answer:
    """A list that leads back to where it came from."""
    here = dict(asked.query).get("page-token", "-")
    return replace(good, body={**good.body, "next_page_token": here}) if "items" in good.body else good


@faults.register("circleci")
def case() -> faults.Case:
    still = Event("build", f"{key('gone')}/build", NOW - 90_000, outcome="open")
    return faults.Case(
        module=circleci,
        config=config,
        answer=small_project().answer,
        pull=Pull(NOW - 40_000, NOW, NOW, open=(still,), first=True, sweep=True),
        paging={
            "missing rows": missing,
            "looping": looping,
            "reordered": lambda asked, good: _rows(good, lambda rows: rows[::-1]),
            "repeated": lambda asked, good: _rows(good, lambda rows: rows * 2),
        },
    )
