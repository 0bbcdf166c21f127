"""The probe's place in the fault matrix: to it a fault is a result, of the one target that had it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any
from unittest import mock

from connectors import probe
from tandem.connect import Common, Pull
from tandem.records import Page
from tests import faults
from tests.replay import Answer, Asked

NOW = 1_794_990_000
MEANS = {
    "delay": "slow first byte",
    "trickle": "slow body",
    "reset": "reset",
    "cut body": "reset",
    "wrong length": "reset",
    "shorter length": "wrong text",
    "garbage": "wrong text",
    "429 seconds": "wrong status",
    "429 date": "wrong status",
    "429 reset": "wrong status",
    "500": "wrong status",
    "503 html": "wrong status",
    "redirect same": "redirect loop",
    "html": "wrong text",
    "redirect other": "redirected away",
    "gzip bomb": "wrong text",
    "token echo": "wrong status",
    "not a number": "wrong text",
    "down": "wrong status",
}


def good(asked: Asked) -> Answer:
    return Answer(f"{'':30}all is fine")


def config(url: str) -> probe.Config:
    checks = [probe.Check(f"c{n}", f"{url}/{n}", timeout=0.8, expect_text="fine") for n in range(6)]
    return probe.Config(Common("probe", "uptime", every=30), check=tuple(checks))


def one_by_one(config: probe.Config, pull: Pull) -> Iterator[Page]:
    """Requests in an order, so that the n-th is one of them."""
    with mock.patch.object(probe, "AT_ONCE", 1):
        yield from probe.fetch(config, pull)


def measured(records: Mapping[Any, Any]) -> Mapping[str, int]:
    told: Counter[str] = Counter()
    for record in records.values():
        if record.series.segment.startswith("result="):
            told[record.series.segment.removeprefix("result=")] += record.value.total
    return told


@faults.register("probe")
def case() -> faults.Case:
    module = SimpleNamespace(fetch=one_by_one)
    return faults.Case(module, config, good, Pull(NOW - 600, NOW, NOW), measured=measured, means=MEANS)
