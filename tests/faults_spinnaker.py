"""A small application's place in the fault matrix: a search over two pages, a rollback, a restart, tasks, one gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import spinnaker
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.replay import Answer, Asked
from tests.spinnaker_server import Gate

NOW = 1_794_990_000


def small() -> Gate:
    gate = Gate(token=faults.TOKEN)
    gate.deploy(NOW - 29_000)
    for number in range(99):  # nothing is deployed in them: they only fill the first page
        gate.pipeline(NOW - 28_000 + number * 60, "SUCCEEDED")
    failed = gate.pipeline(NOW - 9000)
    broken = gate.stage(failed, "deploy", NOW - 8990, NOW - 8900, "TERMINAL")
    gate.stage(failed, "rollbackCluster", NOW - 8890, NOW - 8860, parent=broken)
    gate.end(failed, NOW - 8860, "TERMINAL")
    gate.restart(gate.deploy(NOW - 7000, "TERMINAL"), 1, NOW - 500)
    by_hand = gate.task(NOW - 4000, "Rollback Server Group: cart-v041")
    gate.stage(by_hand, "rollbackServerGroup", NOW - 3999, NOW - 3950)
    gate.end(by_hand, NOW - 3950)
    return gate


def config(url: str) -> spinnaker.Config:
    common = Common("spinnaker", "spin", token_env=faults.TOKEN_ENV)
    return spinnaker.Config(common, url=url, applications=("cart",))


def _rows(good: Answer, change: Any) -> Answer:
    return replace(good, body=change(good.body)) if isinstance(good.body, list) else good


def missing(asked: Asked, good: Answer) -> Answer:
    """The last row of a full page is not on the next one: something moved."""
    begin = dict(asked.query).get("startIndex", "0")
    return _rows(good, lambda rows: rows[1:]) if begin != "0" else good


@faults.register("spinnaker")
def case() -> faults.Case:
    gate = small()
    gone = Event("deployment", "01GONE/01STAGE", NOW - 90_000, outcome="open")
    return faults.Case(
        module=spinnaker,
        config=config,
        answer=gate.answer,
        pull=Pull(NOW - 30_000, NOW, NOW, open=(gone,), first=True, sweep=True),
        paging={
            "missing rows": missing,
            "reordered": lambda asked, good: _rows(good, lambda rows: rows[::-1]),
            "repeated": lambda asked, good: _rows(good, lambda rows: rows * 2),
        },
    )
