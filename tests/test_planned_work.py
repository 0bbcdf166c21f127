"""Maintenance that PagerDuty or Statuspage tells of leaves both counts of what the probe sees, and says so."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import pagerduty, probe, statuspage
from tandem import collect, connect, report
from tandem.config import Component, Config, Objective, Source
from tandem.connect import Common, Rule
from tandem.report import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.pagerduty_server import Account
from tests.replay import Answer, Asked, Route, serve
from tests.statuspage_server import StatusPage

END = fakes.NOW
SINCE = END - 1800
EVERY = 150
DOWN = (SINCE + 600, SINCE + 1200)
"""Ten minutes of planned work, in which every look fails."""
MAP = (Rule(("shop",), {"service": "Checkout"}), Rule(("shop",), {"component": "Checkout*"}))


def looking(url: str) -> Source:
    common = Common("probe", "uptime", every=EVERY)
    given = probe.Config(common, check=(probe.Check("shop", url, timeout=5.0),))
    return Source(common, connect.load("probe"), given)


def told_by_pagerduty(url: str) -> Source:
    common = Common("pagerduty", "planned", map=MAP)
    return Source(common, connect.load("pagerduty"), pagerduty.Config(common, url=url))


def told_by_statuspage(url: str) -> Source:
    common = Common("statuspage", "planned", map=MAP)
    return Source(common, connect.load("statuspage"), statuspage.Config(common, url=url))


def account(now: int, planned: bool) -> Route:
    found = Account(now=now)
    found.maintain("W1", *DOWN, "PCHECK" if planned else "PCART")
    return found.answer


def page(now: int, planned: bool) -> Route:
    found = StatusPage()
    found.schedule("m1", SINCE - 9000, DOWN[0] - 120, DOWN[1] + 600, "Checkout API" if planned else "Search")
    found.update("m1", DOWN[0], "in_progress")
    if now >= DOWN[1]:
        found.update("m1", DOWN[1], "completed")
    return found.answer


def shown(store: Store, folder: Path, sources: list[Source], now: int) -> tuple[dict[str, Any], dict[str, Any]]:
    config: Config = fakes.config(
        folder, *sources, components=[Component("shop", product="shop")],
        objectives=[Objective("shop", "availability", Fraction(9, 10), window="1h")],
    )  # fmt: skip
    context = SimpleNamespace(config=config, store=store, now=lambda: now)
    answer = report.show(context, "shop", Window(SINCE, now), now=now)
    return answer, next(one for one in answer["signals"] if one["signal"] == "availability")


@pytest.mark.parametrize("planned", [True, False], ids=["ours", "of something else"])
@pytest.mark.parametrize(
    ("source", "route"), [(told_by_pagerduty, account), (told_by_statuspage, page)], ids=["pagerduty", "statuspage"]
)
def test_planned_work_leaves_both_counts_while_it_goes_on_and_after(
    tmp_path: Path, source: Callable[[str], Source], route: Callable[[int, bool], Route], planned: bool
) -> None:
    """Seen after 15 minutes, in the middle of the work, and at the end: 4 bad looks are shown and do not count."""
    now = SINCE

    def answer(_: Asked) -> Answer:
        return Answer("ok", 503 if DOWN[0] <= now < DOWN[1] else 200)

    with (
        serve(answer) as target,
        serve(lambda asked: route(now, planned)(asked)) as telling,
        open_store(tmp_path / "tandem.duckdb") as store,
    ):
        sources = [looking(target.url), source(telling.url)]
        for middle, bad in ((SINCE + 900, 2), (END, 4)):
            for now in range(now, middle, EVERY):  # noqa: B020 - the clock that the servers see
                assert collect.pull(store, sources[0], now).error == ""
            now = middle
            assert collect.pull(store, sources[1], now).error == ""
            told, found = shown(store, tmp_path, sources, now)
            looks = (now - SINCE) // EVERY
            assert (found["good"], found["total"]) == (looks - bad, looks), "what was seen stays"
            counted = (looks - bad, looks - bad) if planned else (looks - bad, looks)
            assert (found["objective"]["good"], found["objective"]["total"]) == counted
            assert found["corrected"] == (bad * EVERY if planned else 0)
            assert [one["source"] for one in told["corrections"]] == (["planned"] if planned else [])
