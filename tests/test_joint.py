"""What a service and its model promise together: answered, in time, and right."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem import collect, joint, metrics, report
from tandem.bins import Layout
from tandem.config import Component, Objective
from tandem.objectives import Product
from tandem.records import DAY, Confusion, Covered, Fact, Histogram, Page, Ratio, Series
from tandem.shown import Window
from tandem.store.file import Store
from tests import fakes
from tests.fakes import NOW

LATENCY = Layout(edges=(0.1, 0.3, 1.0), closed="right", unit="s", digits=6)
SHOP = (Component("api", "service", "shop"), Component("judge", "model", "shop", depends_on=("api",)))
shares = st.lists(st.fractions(0, 1), min_size=1, max_size=4)


def test_the_example_of_two_halves() -> None:
    """0.2 % and 1 %: 1.198 % if independent, 1 % to 1.2 % whatever the dependence."""
    assert joint.failure([Fraction("0.002"), Fraction("0.01")]) == (
        Fraction("0.01198"), Fraction("0.01"), Fraction("0.012"),
    )  # fmt: skip


@given(parts=shares)
def test_independence_lies_between_the_bounds_and_the_parts_make_up_all(parts: list[Fraction]) -> None:
    whole, low, high = joint.failure(parts)
    assert low <= whole <= high <= 1
    found = joint.spent(parts)
    assert (found is None) == (sum(parts) == 0)
    if found is not None:
        assert sum(found) == 1
        assert all(0 <= one <= 1 for one in found)


def test_the_bounds_hold_for_any_dependence() -> None:
    """Draws of two conditions that fail together, apart, or as they come."""
    chance = random.Random(4)
    for way in ("together", "apart", "as they come"):
        rows = []
        for _ in range(40_000):
            u = chance.random()
            first = u < 0.1
            second = {"together": u < 0.25, "apart": 0.1 <= u < 0.35, "as they come": chance.random() < 0.25}[way]
            rows.append((first, second))
        e1, e2 = (Fraction(sum(row[place] for row in rows), len(rows)) for place in (0, 1))
        failed = Fraction(sum(any(row) for row in rows), len(rows))
        whole, low, high = joint.failure([e1, e2])
        assert low <= failed <= high
        if way == "as they come":
            assert abs(failed - whole) < Fraction(1, 100)


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Any]:
    """100,000 requests with 200 failed, 1,000 timed with 10 late, and 4,000 labels with 40 wrong."""
    late = Histogram(LATENCY, {0: 500, 1: 490, 2: 10}, {})
    records = [
        Fact(Series("request_success", component="api"), NOW - 600, Ratio(99_800, 100_000)),
        Fact(Series("availability", component="api"), NOW - 600, Ratio(1, 10)),
        Fact(Series("latency", component="api"), NOW - 600, late),
        Fact(Series("outcome", component="judge"), NOW - 600, Confusion({("1", "1"): 3_960, ("1", "0"): 40})),
    ]
    page = Page(records, covered=[Covered(NOW - 40 * DAY, NOW)])
    given = fakes.config(tmp_path, fakes.source(fakes.saying([page])), components=SHOP)
    given = replace(given, promises=(Product("shop", Fraction("0.95")),))
    with Store(tmp_path / "tandem.duckdb") as store:
        [outcome] = collect.sync(store, given, NOW)
        assert not outcome.error
        yield SimpleNamespace(config=given, store=store)


def row(context: Any) -> Any:
    [one] = report.overview(context, Window(NOW - DAY, NOW), now=NOW).rows
    return one


def test_answered_in_time_and_right(context: Any) -> None:
    found = row(context).joint
    failure = 1 - Fraction(998, 1000) * Fraction(99, 100) * Fraction(99, 100)
    assert found.failure == float(failure)
    assert (found.low, found.high) == (0.01, 0.022)
    assert found.budget_left == float(1 - failure / Fraction("0.05"))
    assert (found.left_low, found.left_high) == (pytest.approx(0.56), pytest.approx(0.8))
    said = {part.says: (part.half, part.signal, part.good, part.total) for part in found.parts}
    assert said == {
        "answered": ("service", "request_success", 99_800, 100_000), "in time": ("service", "latency", 990, 1_000),
        "right": ("model", "outcome", 3_960, 4_000),
    }  # fmt: skip
    assert (found.state, found.why, found.stated, found.target) == ("ok", "within target", True, 0.95)


def test_which_half_spent_it_adds_up_to_all_of_it(context: Any) -> None:
    found = row(context).joint
    assert found.service_spent == float(Fraction(12, 22))  # 0.2 % and 1 % of 2.2 %
    assert found.service_spent + found.model_spent == 1
    assert sum(part.spent for part in found.parts) == pytest.approx(1, abs=1e-15)
    assert "of it by api" in found.reason


def test_without_a_stated_target_it_is_what_the_parts_promise_together(context: Any) -> None:
    context.config = replace(context.config, promises=())
    found = row(context).joint
    assert (found.target, found.stated) == (float(Fraction("0.999") * Fraction("0.99") * Fraction("0.9")), False)


def test_a_half_that_is_silent_makes_it_unknown_and_says_which(context: Any) -> None:
    quiet = replace(context.config, components=(*SHOP[:1], Component("judge", "model", "shop")),
                    objectives=(Objective("judge", "accuracy", Fraction("0.9"), window="5m"),))  # fmt: skip
    context.config = quiet
    found = row(context).joint
    assert (found.state, found.why, found.failure, found.service_spent) == ("unknown", "not applicable", None, None)
    assert "different windows" in found.reason
    context.config = replace(quiet, objectives=(Objective("judge", "recall", Fraction("0.9"), class_="0"),))
    assert row(context).joint is None, "recall of a class does not say how many answers are right"


def test_no_labels_yet_is_not_a_half_that_holds(context: Any, tmp_path: Path) -> None:
    records = [Fact(Series("request_success", component="api"), NOW - 600, Ratio(10, 10)),
               Fact(Series("volume", component="judge"), NOW - 600, Ratio(50, 50)),
               Fact(Series("outcome", component="judge"), NOW - 60 * DAY, Confusion({("1", "1"): 5}))]  # fmt: skip
    page = Page(records, covered=[Covered(NOW - 61 * DAY, NOW)])
    known = fakes.config(tmp_path, fakes.source(fakes.saying([page])), components=SHOP)
    with Store(tmp_path / "other.duckdb") as store:
        assert not collect.sync(store, known, NOW)[0].error
        [one] = report.overview(SimpleNamespace(config=known, store=store), Window(NOW - DAY, NOW), now=NOW).rows
    assert (one.joint.state, one.joint.why) == ("unknown", "no labels yet")
    assert one.joint.reason.endswith("(judge outcome)")


def test_metrics_tell_of_each_pair_once(context: Any) -> None:
    told = report.listing(context, Window(NOW - DAY, NOW), now=NOW)
    sources = report.sources(context, Window(NOW - DAY, NOW), now=NOW)
    lines = [line for line in metrics.exposition(1, sources, told, NOW).splitlines() if "product_budget" in line]
    pair = '{product="shop",service="api",model="judge"}'
    assert lines[2:] == [f"tandem_product_budget_left_ratio{pair} {row(context).joint.budget_left}"]


def test_pages_and_json_say_the_same_of_both(context: Any) -> None:
    shown = row(context).joint
    for name in ("api", "judge"):
        detail = report.detail(context, name, Window(NOW - DAY, NOW), now=NOW)
        assert detail.joint == (shown,)
        told = report.show(context, name, Window(NOW - DAY, NOW), now=NOW)
        assert told["joint"] == [joint.json(shown)]
