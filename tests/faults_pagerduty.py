"""An account's place in the fault matrix: incidents over two pages, a log, one that was resolved late, maintenance."""

from __future__ import annotations

from dataclasses import replace

from connectors import pagerduty
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.pagerduty_server import Account
from tests.replay import Answer, Asked

NOW = 1_794_990_000


def small_account() -> Account:
    account = Account(token=faults.TOKEN, now=NOW)
    account.trigger("POLD", NOW - 90_000)
    for number in range(130):
        at = NOW - 28_000 + number * 200
        account.trigger(f"P{number:03}", at, "PCHECK" if number % 3 else "PCART")
        if number % 2:
            account.acknowledge(f"P{number:03}", at + 30)
            account.resolve(f"P{number:03}", at + 90)
    account.resolve("POLD", NOW - 5000)
    account.maintain("WNOW", NOW - 600, NOW + 600)
    account.maintain("WOLD", NOW - 9000, NOW - 8000, "PCHECK", "PCART")
    return account


def config(url: str) -> pagerduty.Config:
    common = Common("pagerduty", "on-call", token_env=faults.TOKEN_ENV)
    return pagerduty.Config(common, url=url, account="acme")


def _rows(answer: Answer) -> str:
    body = answer.body if isinstance(answer.body, dict) else {}
    return next((name for name, value in body.items() if isinstance(value, list)), "")


def missing(asked: Asked, good: Answer) -> Answer:
    """Rows left out of a list that states how many there are."""
    name = _rows(good)
    return replace(good, body={**good.body, name: good.body[name][:-1]}) if name else good


def reordered(asked: Asked, good: Answer) -> Answer:
    name = _rows(good)
    return replace(good, body={**good.body, name: good.body[name][::-1]}) if name else good


def looping(asked: Asked, good: Answer) -> Answer:
    """A list that says there is always one more page."""
    return replace(good, body={**good.body, "more": True}) if _rows(good) else good


def repeated(asked: Asked, good: Answer) -> Answer:
    name = _rows(good)
    return replace(good, body={**good.body, name: good.body[name] * 2}) if name else good


@faults.register("pagerduty")
def case() -> faults.Case:
    still = Event("incident", "POLD", NOW - 90_000, outcome="open")
    return faults.Case(
        module=pagerduty,
        config=config,
        answer=small_account().answer,
        pull=Pull(NOW - 30_000, NOW, NOW, open=(still,), first=True),
        paging={"missing rows": missing, "reordered": reordered, "looping": looping, "repeated": repeated},
    )
