"""Two sides number by number, against scipy, the terms' own example, and the raw rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tandem import bins, comparing, report
from tandem.compared import Comparison, Difference, Value
from tandem.records import HOUR, Event, Fact, Page, Ratio, Series
from tandem.shown import Half, Unreadable, Window
from tests import fakes, two_sides
from tests.two_sides import BEGIN, END, Rows

MIDDLE = BEGIN + 6 * HOUR
FIRST, SECOND = Window(BEGIN, MIDDLE), Window(MIDDLE, END)


@pytest.fixture(scope="module")
def raw() -> Rows:
    return two_sides.rows(20_000)


def slow(n: int, seed: int, scale: float) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(math.log(0.2), 0.4, n) * scale


def service() -> Iterator[Any]:
    """The terms' example, 80 of 200 against 40 of 200; requests that got slower; a deployment between."""
    for ts, good, scale, seed in ((MIDDLE, 80, 1.5, 1), (BEGIN, 40, 1.0, 2)):
        yield Fact(Series("request_success", component="shop"), ts, Ratio(good, 200))
        yield Fact(Series("availability", component="shop"), ts, Ratio(999, 1000))
        took = two_sides.of_numbers(bins.DURATION, slow(5000, seed, scale))
        yield Fact(Series("latency", component="shop"), ts, took)
    few = two_sides.of_numbers(bins.DURATION, np.array([60.0, 70.0, 80.0]))
    for ts in (BEGIN, MIDDLE):
        yield Fact(Series("deploy_duration", component="shop"), ts, few)
    for segment, counts in (
        ("region=eu", ((MIDDLE, 30, 40), (BEGIN, 30, 60))),
        ("region=us", ((MIDDLE, 50, 160), (BEGIN, 10, 140))),
    ):
        for ts, good, total in counts:
            yield Fact(Series("request_success", component="shop", segment=segment), ts, Ratio(good, total))
    yield Event("deployment", "d1", MIDDLE - 60, components=("shop",), title="shop 2", environment="production")


@pytest.fixture(scope="module")
def context(raw: Rows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    reference = raw.between(BEGIN, MIDDLE)
    known = two_sides.layouts(reference)
    page = Page((*two_sides.baselines(reference, known, BEGIN, MIDDLE), *two_sides.facts(raw, known), *service()))
    found = two_sides.stored(tmp_path_factory.mktemp("compared"), [page])
    yield found
    found.store.close()


def asked(context: Any, other: Half, window: Window = SECOND, **more: Any) -> Comparison:
    return report.compare(context, window, other, now=fakes.NOW, **more)


def row(found: Comparison, title: str, measure: str = "", component: str = "") -> Difference:
    [one] = [one for one in found.rows if (one.title, component or one.component) == (title, one.component)
             and measure in ("", one.measure)]  # fmt: skip
    return one


BEFORE = Half("window", FIRST)


def test_a_ratio_has_newcombes_interval_as_the_terms_give_it(context: Any) -> None:
    one = row(asked(context, BEFORE), "Errors")
    assert (one.a.value, one.b.value, one.a.n, one.b.n) == (0.4, 0.2, 200, 200)
    assert one.change == pytest.approx(0.2)
    assert one.relative == pytest.approx(1.0)
    assert one.interval == pytest.approx((0.110671, 0.285080), abs=5e-7)
    assert (one.certain, one.verdict) == (True, "better")


def test_what_did_not_change_is_no_difference(context: Any) -> None:
    one = row(asked(context, BEFORE), "Uptime")
    assert (one.change, one.evidence, one.certain, one.verdict) == (0, 0, False, "no difference to be seen")


@pytest.mark.parametrize(("measure", "q"), [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)])
def test_a_percentile_has_the_bounds_of_its_order_statistics(context: Any, measure: str, q: float) -> None:
    one = row(asked(context, BEFORE), "Latency", measure)
    now, then = slow(5000, 1, 1.5), slow(5000, 2, 1.0)
    for side, values in ((one.a, now), (one.b, then)):
        assert side.interval is not None
        spread = 1.959964 * math.sqrt(q * (1 - q) / 5000)
        low, high = np.quantile(values, [q - spread, q + spread])
        assert side.interval[0] <= low
        assert side.interval[1] >= high
        assert side.interval[0] <= side.value <= side.interval[1]
    assert one.interval is not None
    assert one.interval[0] <= np.quantile(now, q) - np.quantile(then, q) <= one.interval[1]
    assert one.verdict == "worse"


def test_the_interval_of_percentiles_holds_the_truth_nearly_always() -> None:
    dice = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        sides = [two_sides.of_numbers(bins.DURATION, dice.lognormal(math.log(0.2), 0.4, 1000)) for _ in range(2)]
        interval = comparing.of_difference(*(comparing._quantile(one, 0.95) for one in sides))
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]
    assert held >= 190, "the bins' edges make it wider than 95 %, never narrower"


def test_a_handful_has_no_interval_of_a_percentile(context: Any) -> None:
    one = row(asked(context, BEFORE), "Deploy duration", "p95")
    assert (one.a.n, one.interval, one.verdict) == (3, None, "")
    assert one.how.startswith("too few")


def test_a_measure_of_a_model_is_that_of_its_rows_on_both_sides(context: Any, raw: Rows) -> None:
    found = asked(context, BEFORE, component="scorer")
    now, then = raw.between(MIDDLE, END), raw.between(BEGIN, MIDDLE)
    one = row(found, "Accuracy")
    rates = [float((side.actual == side.predicted).mean()) for side in (now, then)]
    assert (one.a.value, one.b.value) == pytest.approx(tuple(rates))
    assert one.change == pytest.approx(rates[0] - rates[1])
    assert (one.a.n, one.b.n) == (now.ts.size, then.ts.size)
    volume = row(found, "Volume")
    assert volume.a.value == pytest.approx(now.ts.size / 6)
    assert (volume.interval, volume.certain) == (None, False)
    assert not [one for one in found.rows if one.title in ("False negative rate", "Micro F1")], "say nothing twice"


def test_the_most_evidence_comes_first_and_what_cannot_be_told_last(context: Any) -> None:
    rows = asked(context, BEFORE).rows
    assert [one.evidence for one in rows] == sorted((one.evidence for one in rows), reverse=True)
    assert rows[0].title == "Latency"
    certain = [one.certain for one in rows if one.interval is not None]
    assert certain == sorted(certain, reverse=True), "what is certain has more evidence than what is not"


def test_two_versions_and_two_segments_are_two_sides(context: Any, raw: Rows) -> None:
    part = raw.between(MIDDLE, END)
    found = asked(context, Half("version", version="7"), component="scorer", version="8")
    assert (found.a.version, found.b.version, found.b.window) == ("8", "7", SECOND)
    assert (row(found, "Accuracy").a.n, row(found, "Accuracy").b.n) == (
        int((part.version == "8").sum()), int((part.version == "7").sum()))  # fmt: skip
    assert found.versions == ("7", "8")
    found = asked(context, Half("segment", segment="country=DE"), component="scorer", segment="country=FR")
    assert row(found, "Accuracy").a.n == int((part.country == "FR").sum())
    assert found.segments == ("country=DE", "country=FR")
    assert found.mixed == {}


def test_a_model_brings_its_drift_and_the_chosen_row(context: Any) -> None:
    found = asked(context, BEFORE, component="scorer", feature="card")
    assert found.drifts is not None
    assert found.drifts == report.drift(context, "scorer", Half(window=SECOND), BEFORE, now=fakes.NOW)
    assert found.distribution is not None
    assert found.distribution.feature == "card"
    assert asked(context, BEFORE).drifts is None, "of all components there is no one drift"


def test_mix_or_real_of_a_service_adds_up_to_the_change(context: Any) -> None:
    found = asked(context, BEFORE, component="shop")
    [one] = found.mixed["request_success"]
    assert one.column == "region"
    assert one.change == pytest.approx(80 / 200 - 40 / 200)
    assert one.mix + one.within + one.interaction == pytest.approx(one.change, abs=1e-12)
    # By hand: shares .3 .7 before and .2 .8 after, rates .5 and 1/14 before, .75 and .3125 after.
    assert one.mix == pytest.approx(-0.1 * 0.5 + 0.1 / 14)
    assert one.within == pytest.approx(0.3 * 0.25 + 0.7 * (0.3125 - 1 / 14))


def test_changes_are_offered_and_the_chosen_one_is_named(context: Any) -> None:
    found = asked(context, BEFORE, component="shop", change="deployment/d1")
    assert [one.key for one in found.changes] == ["d1"]
    assert found.change is not None
    assert found.change.title == "shop 2"
    assert asked(context, BEFORE, component="shop", change="deployment/other").change is None


def test_sides_that_share_rows_say_so(context: Any) -> None:
    assert asked(context, BEFORE).remarks == ()
    [said] = [one for one in asked(context, Half("window", Window(MIDDLE - HOUR, END))).remarks if "share" in one]
    assert said.startswith("A and B share rows")
    assert asked(context, Half("window", SECOND)).remarks == ("A and B are the same numbers.",)
    assert not [one for one in asked(context, Half("version", version="7"), component="scorer", version="8").remarks
                if "share" in one]  # fmt: skip


def test_one_side_alone_is_no_difference(context: Any) -> None:
    found = asked(context, Half("window", Window(BEGIN - 72 * HOUR, BEGIN - 48 * HOUR)), component="scorer")
    one = row(found, "Accuracy")
    assert one.a.value is not None
    assert (one.b.value, one.change, one.interval, one.certain) == (None, None, None, False)
    assert one.how == "nothing was counted in B"
    assert any("lies before the first data" in said for said in found.remarks)


def test_a_segment_with_one_row_is_not_certain_of_anything(tmp_path: Path) -> None:
    facts = [Fact(Series("request_success", component="shop", segment=segment), MIDDLE, Ratio(good, total))
             for segment, good, total in (("k=a", 0, 1), ("k=b", 990, 1000), ("", 990, 1001))]  # fmt: skip
    context = two_sides.stored(tmp_path, [Page(tuple(facts))])
    found = asked(context, Half("segment", segment="k=b"), segment="k=a")
    one = row(found, "Errors")
    assert (one.a.n, one.b.n) == (1, 1000)
    assert one.change == pytest.approx(-0.99)
    assert one.interval is not None
    assert one.interval[1] > -0.3, "one failed request says little"
    context.store.close()


def test_an_unknown_component_is_a_sentence(context: Any) -> None:
    with pytest.raises(Unreadable, match="there is no such component"):
        asked(context, BEFORE, component="nobody")


def test_the_hybrid_of_two_intervals_is_newcombes_for_any_measure() -> None:
    a, b = Value(0.4, 200, (0.334, 0.469)), Value(0.2, 200, (0.15, 0.26))
    low, high = comparing.of_difference(a, b) or (0, 0)
    assert low == pytest.approx(0.2 - math.hypot(0.4 - 0.334, 0.26 - 0.2))
    assert high == pytest.approx(0.2 + math.hypot(0.469 - 0.4, 0.2 - 0.15))
    assert comparing.of_difference(a, Value(0.2, 3)) is None


def test_every_page_compares_with_another_version(context: Any) -> None:
    beside = Half("version", version="7")
    found = report.detail(context, "scorer", SECOND, version="8", compare=beside, now=fakes.NOW)
    cell = next(one for one in found.cells if one.signal == "outcome")
    plain = asked(context, beside, component="scorer", version="8")
    assert cell.compared is not None
    assert cell.compared.change == pytest.approx(row(plain, "Accuracy").change)
    assert found.compared == SECOND
    assert report.overview(context, SECOND, compare=beside, now=fakes.NOW).compared == SECOND
