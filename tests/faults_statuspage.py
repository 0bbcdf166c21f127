"""A page's place in the fault matrix: both lists full enough to matter, an open incident that is listed no more."""

from __future__ import annotations

from dataclasses import replace

from connectors import statuspage
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.replay import Answer, Asked
from tests.statuspage_server import StatusPage

NOW = 1_794_990_000


def small_page() -> StatusPage:
    page = StatusPage()
    page.open("old", NOW - 900_000, "Checkout")
    for number in range(55):
        page.open(f"i{number}", NOW - 80_000 + number * 1000, "Checkout" if number % 2 else "Cart")
        if number % 5:
            page.update(f"i{number}", NOW - 79_000 + number * 1000, "resolved")
    page.schedule("m1", NOW - 50_000, NOW - 9000, NOW - 8000, "Checkout")
    page.update("m1", NOW - 8990, "in_progress")
    page.update("m1", NOW - 8100, "completed")
    page.schedule("m2", NOW - 50_000, NOW - 300, NOW + 900, "Cart")
    page.update("m2", NOW - 290, "in_progress")
    return page


def config(url: str) -> statuspage.Config:
    common = Common("statuspage", "status", component=("shop",), token_env=faults.TOKEN_ENV)
    return statuspage.Config(common, url=url)


def _rows(answer: Answer) -> str:
    return next((name for name, value in answer.body.items() if isinstance(value, list)), "")


def reordered(asked: Asked, good: Answer) -> Answer:
    name = _rows(good)
    return replace(good, body={**good.body, name: good.body[name][::-1]})


def repeated(asked: Asked, good: Answer) -> Answer:
    name = _rows(good)
    return replace(good, body={**good.body, name: good.body[name] * 2})


def another(asked: Asked, good: Answer) -> Answer:
    """JSON of something else."""
    return Answer({"page": {"name": "Acme"}, "items": []})


@faults.register("statuspage")
def case() -> faults.Case:
    still = Event("incident", "old", NOW - 900_000, outcome="open", components=("shop",))
    return faults.Case(
        module=statuspage,
        config=config,
        answer=small_page().answer,
        pull=Pull(NOW - 100_000, NOW, NOW, open=(still,), first=True),
        paging={"reordered": reordered, "repeated": repeated, "something else": another},
    )
