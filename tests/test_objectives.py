"""Objectives of every kind, through the whole engine, against sums over the records that were given."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tandem import collect, explained, explaining, printed, report, slo, standing
from tandem.bins import Layout
from tandem.config import Component, Objective
from tandem.measure import Answer, Measures, verdict
from tandem.objectives import Correction, OwnRule
from tandem.records import BUCKET, DAY, HOUR, Confusion, Covered, Event, Fact, Histogram, Page, Ratio, Series
from tandem.shown import Window
from tandem.store.file import Store
from tandem.store.read import Reader
from tests import fakes
from tests.fakes import NOW

PARTS = (Component("api", "service", "shop"), Component("judge", "model", "shop"))
LATENCY = Layout(edges=(0.1, 0.3, 1.0), closed="right", unit="s", digits=6)
T99, T999 = Fraction("0.99"), Fraction("0.999")
SEEN = Covered(NOW - 400 * DAY, NOW)


class Shop:
    """A store with what was said, and objectives of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder / "tandem.duckdb")
        self.config = fakes.config(folder, components=PARTS)

    def say(self, *records: Any, covered: Sequence[Covered] = (SEEN,), name: str = "fake", **common: Any) -> None:
        speaking = fakes.source(fakes.saying([Page(records, covered=covered)]), name=name, scope=name, **common)
        known = [one for one in self.config.sources if one.name != name]
        self.config = replace(self.config, sources=(*known, speaking))
        outcome = collect.pull(self.store, speaking, NOW)
        assert not outcome.error, outcome.error

    def answers(self, *objectives: Objective, end: int = NOW, now: int = NOW, **config: Any) -> list[Answer]:
        self.config = replace(self.config, objectives=objectives, **config)
        measures = Measures(Reader(self.store), self.config, Window(end - DAY, end), now)
        asked = measures.asked([one.name for one in PARTS])
        found = measures.answers(asked)
        return [one for one in found if one.asked.objective is not None]

    def answer(self, objective: Objective, **more: Any) -> Answer:
        [found] = self.answers(objective, **more)
        return found

    def shown(self, component: str, now: int = NOW) -> dict[str, Any]:
        told = report.show(self, component, Window(now - DAY, now), now=now)
        return {one["signal"]: one for one in told["signals"]} | {"": told}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    yield made
    made.store.close()


def requests(ts: int, good: int, total: int, component: str = "api", signal: str = "request_success") -> Fact:
    return Fact(Series(signal, component=component), ts, Ratio(good, total))


def spread(chance: random.Random, since: int, until: int, every: int = HOUR, **names: Any) -> list[Fact]:
    facts = []
    for ts in range(since, until, every):
        total = chance.randrange(1, 200)
        facts.append(requests(ts, total - chance.randrange(min(total, 4)), total, **names))
    return facts


def summed(facts: Sequence[Fact], wanted: Callable[[int], bool]) -> tuple[int, int]:
    mine = [fact.value for fact in facts if wanted(fact.ts)]
    return sum(one.good for one in mine), sum(one.total for one in mine)


def aim(signal: str = "request_success", target: Fraction = T99, component: str = "api", **more: Any) -> Objective:
    return Objective(component, signal, target, **more)


# -- windows of the calendar


@pytest.mark.parametrize(("period", "zone"), [
    ("day", "Europe/Berlin"), ("week", "America/New_York"), ("month", "Asia/Kolkata"), ("quarter", "UTC"),
    ("year", "UTC"),
])  # fmt: skip
def test_a_calendar_window_is_the_period_so_far_by_the_clocks_of_its_zone(shop: Shop, period: str, zone: str) -> None:
    facts = spread(random.Random(1), NOW - 390 * DAY, NOW, 7 * HOUR)
    shop.say(*facts)
    found = shop.answer(aim(window=period, timezone=zone, expected=1_000_000))
    here = datetime.fromtimestamp(NOW - 1, ZoneInfo(zone))  # Monday, 2026-09-21
    first = {"day": here, "week": here, "month": here.replace(day=1), "quarter": here.replace(month=7, day=1),
             "year": here.replace(month=1, day=1)}[period]  # fmt: skip
    begin = int(first.replace(hour=0, minute=0, second=0, microsecond=0).timestamp())
    good, total = summed(facts, lambda ts: ts >= begin)
    assert found.objective == (good, total)
    shown = standing.objective(found)
    assert shown.budget_left == float(1 - Fraction(total - good) / (Fraction(1_000_000) * (1 - T99)))
    assert (shown.since, shown.calendar, shown.expected) == (begin, period, 1_000_000)


def test_a_calendar_budget_begins_whole_and_only_falls(shop: Shop) -> None:
    """Hour by hour through a month in which good days follow bad ones; a rolling budget would rise again."""
    zone = ZoneInfo("Europe/Berlin")
    begin = int(datetime(2026, 9, 1, tzinfo=zone).timestamp())
    facts = [requests(ts, 50 if (ts - begin) < 2 * DAY else 100, 100) for ts in range(begin, NOW, 6 * HOUR)]
    shop.say(*facts)
    monthly = aim(window="month", timezone="Europe/Berlin", expected=12_000)
    lefts = [standing.objective(shop.answer(monthly, end=end)).budget_left for end in range(begin + 300, NOW, 9 * HOUR)]
    assert lefts == sorted(lefts, reverse=True)
    assert lefts[0] == float(1 - Fraction(50, 120))
    assert lefts[-1] == float(1 - Fraction(8 * 50, 120))


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2025-10-26", 25), ("2026-06-01", 24)])
def test_a_day_on_which_the_clocks_change(shop: Shop, day: str, hours: int) -> None:
    zone = ZoneInfo("Europe/Berlin")
    begin = int(datetime.fromisoformat(day).replace(tzinfo=zone).timestamp())
    end = begin + hours * HOUR
    shop.say(*(requests(ts, 9, 10) for ts in range(begin - DAY, begin + 2 * DAY, BUCKET)),
             covered=[Covered(begin - 9 * DAY, begin + 9 * DAY)])  # fmt: skip
    found = shop.answer(aim(window="day", timezone="Europe/Berlin", expected=9), end=end, now=end)
    assert found.objective == (9 * 12 * hours, 10 * 12 * hours)
    assert found.looks.length == hours * HOUR
    assert found.looks.before == (begin - 24 * HOUR, begin)


def test_what_to_expect_is_what_the_period_before_had(shop: Shop) -> None:
    """August had 3,100 in 31 days, all of them seen: September, of 30 days, may expect 3,000."""
    august = int(datetime(2026, 8, 1, tzinfo=ZoneInfo("UTC")).timestamp())
    shop.say(*(requests(ts, 100, 100) for ts in range(august, august + 31 * DAY, DAY)), requests(NOW - 300, 5, 10))
    found = shop.answer(aim(window="month", timezone="UTC"))
    assert found.expected == 3_000
    assert standing.objective(found).budget_left == float(1 - Fraction(5, 30))
    assert standing.objective(found).events_left == 25


def test_what_left_the_period_before_is_not_missing_from_what_to_expect(shop: Shop) -> None:
    """Ten days of August leave: 2,100 in the 21 days that count are 3,000 in 30."""
    august = int(datetime(2026, 8, 1, tzinfo=ZoneInfo("UTC")).timestamp())
    shop.say(*(requests(august + n * DAY, 100, 100) for n in range(31)), requests(NOW - 300, 5, 10))
    gone = replace(AGREED, from_=august, to=august + 10 * DAY)
    assert shop.answer(aim(window="month", timezone="UTC"), corrections=(gone,)).expected == 3_000


def test_a_calendar_budget_is_gone_as_bad_ones_come(shop: Shop) -> None:
    """600 may fail in the month; 60 did, 30 of them in the last hour: the other 540 last 18 hours."""
    shop.say(requests(NOW - 5 * DAY, 970, 1000), requests(NOW - HOUR, 470, 500))
    shown = standing.objective(shop.answer(aim(target=T999, window="month", timezone="UTC", expected=600_000)))
    assert (shown.events_left, shown.exhausts_in, shown.exhausts_over) == (540.0, 18 * 3600.0, "1h")
    gone = standing.objective(shop.answer(aim(target=T999, window="month", timezone="UTC", expected=50_000)))
    assert (gone.budget_left, gone.exhausts_in) == (pytest.approx(-0.2), 0.0)


def test_a_first_period_has_the_budget_of_what_came_so_far_and_says_so(shop: Shop) -> None:
    shop.say(requests(NOW - 300, 995, 1000), covered=[Covered(NOW - 5 * DAY, NOW)])
    found = shop.answer(aim(window="month", timezone="UTC"))
    shown = standing.objective(found)
    assert (shown.expected, shown.budget_left) == (None, 0.5)
    assert any("Nothing says how much to expect of a month" in one for one in shown.remarks)


def test_a_window_longer_than_what_there_is_says_how_much_was_seen(shop: Shop) -> None:
    shop.say(requests(NOW - 300, 99, 100), covered=[Covered(NOW - 3 * DAY, NOW)])
    found = shop.answer(aim(window="300d"))
    assert found.objective == (99, 100)
    assert found.objective_coverage == pytest.approx(0.01)


def test_a_window_longer_than_28_days_is_covered_by_all_that_was_seen(shop: Shop) -> None:
    facts = spread(random.Random(2), NOW - 120 * DAY, NOW, DAY)
    shop.say(*facts)
    found = shop.answer(aim(window="90d"))
    assert (found.objective, found.objective_coverage) == (summed(facts, lambda ts: ts >= NOW - 90 * DAY), 1.0)


# -- slices of time


def test_the_example_of_a_month_of_slices(shop: Shop) -> None:
    """8,640 slices of 5 minutes, 7 of them bad, at 99.9 %: 81.018519 % of the budget is spent."""
    bad = set(random.Random(3).sample(range(8640), 7))
    begin = NOW - 30 * DAY
    shop.say(*(requests(begin + n * 300, 10 if n not in bad else 8, 10) for n in range(8640)))
    found = shop.answer(aim(target=T999, window="30d", slice="5m", slice_target=Fraction("0.9")))
    assert found.objective == (8633, 8640)
    shown = standing.objective(found)
    assert pytest.approx(0.99918981, abs=5e-9) == 8633 / 8640
    assert 1 - shown.budget_left == pytest.approx(0.81018519, abs=5e-9)
    assert (shown.slices, found.good, found.total) == (300, 2880 - 2 * sum(n >= 8352 for n in bad), 2880)


def test_slices_of_latency_are_those_of_the_records(shop: Shop) -> None:
    chance, facts = random.Random(4), []
    for ts in range(NOW - 6 * DAY, NOW, BUCKET):
        if chance.randrange(3):
            facts.append(Fact(Series("latency", component="api"), ts,
                              Histogram(LATENCY, {place: chance.randrange(6) for place in range(4)}, {})))  # fmt: skip
    shop.say(*facts)
    found = shop.answer(aim("latency", window="5d", threshold=Fraction("0.3"), slice="15m",
                            slice_target=Fraction("0.55")))  # fmt: skip
    slices: dict[int, list[int]] = {}
    for fact in facts:
        mine = slices.setdefault(fact.ts // 900 * 900, [0, 0])
        mine[0] += fact.value.counts[0] + fact.value.counts[1]
        mine[1] += sum(fact.value.counts.values())

    def over(since: int) -> tuple[int, int]:
        inside = [(good, total) for ts, (good, total) in slices.items() if total and ts >= since and ts + 900 <= NOW]
        return sum(Fraction(*one) >= Fraction("0.55") for one in inside), len(inside)

    assert found.objective == over(NOW - 5 * DAY)
    assert found.burns == {seconds: over(NOW - seconds) for seconds in slo.BURN_WINDOWS.values()}
    assert 0 < found.objective[0] < found.objective[1] < 480, "some slices are bad, and in some nothing happened"
    said = standing.objective(found).remarks
    assert said == ("Counted in steps of 15 minutes, which rules with a short window of 5m cannot see.",)


def test_a_slice_that_is_not_over_yet_is_not_counted(shop: Shop) -> None:
    hour = NOW // HOUR * HOUR
    assert hour < NOW - 300
    shop.say(*(requests(ts, 9, 10) for ts in range(hour - 5 * HOUR, NOW, BUCKET)))
    found = shop.answer(aim(window="1d", slice="1h", slice_target=Fraction("0.8")))
    assert (found.objective, found.burns[3600], found.burns[21600]) == ((5, 5), (1, 1), (5, 5))
    assert found.edge == hour, "look-backs hold whole slices"


def test_slices_of_a_calendar_window_have_a_budget_of_time(shop: Shop) -> None:
    """30 days of 5 minutes at 99.9 %: 8.64 slices, 43.2 minutes."""
    shop.say(requests(NOW - 600, 0, 10))
    found = shop.answer(aim(target=T999, window="month", timezone="UTC", slice="5m", slice_target=Fraction(1)))
    assert (found.expected, found.objective) == (8640, (0, 1))
    left = standing.objective(found).events_left
    assert left == pytest.approx(8.64 - 1)
    assert (left + 1) * 300 == pytest.approx(43.2 * 60)


# -- what leaves both counts


AGREED = Correction(("api",), NOW - 2 * HOUR - 100, NOW - HOUR + 100, "Ada", "the database moved", "2026-09-18")


def every(good: int = 9) -> list[Fact]:
    return [requests(ts, good, 10) for ts in range(NOW - 2 * DAY, NOW, BUCKET)]


def test_a_correction_leaves_good_and_total_in_whole_buckets_and_the_raw_numbers_stay(shop: Shop) -> None:
    shop.say(*every())
    plain = shop.answer(aim(window="7d"))
    found = shop.answer(aim(window="7d"), corrections=(AGREED,))
    out = 14  # from 2 h 5 min to 55 minutes ago, the grid outwards
    assert plain.objective == (9 * 576, 10 * 576)
    assert found.objective == (9 * (576 - out), 10 * (576 - out))
    assert found.burns[3600] == (9 * 11, 10 * 11)
    assert found.burns[21600] == (9 * (72 - out), 10 * (72 - out))
    assert (found.good, found.total, found.judged) == (9 * 288, 10 * 288, (9 * (288 - out), 10 * (288 - out)))
    assert (found.corrected, found.left_out) == (out * 300, out * 300)


def test_coverage_leaves_out_what_was_corrected_above_and_below(shop: Shop) -> None:
    """Of 7 days 3.5 were seen; a day that was seen and one that was not leave: 2.5 of 5."""
    shop.say(requests(NOW - 300, 1, 1), covered=[Covered(NOW - 84 * HOUR, NOW)])
    gone = [replace(AGREED, from_=NOW - back * DAY, to=NOW - (back - 1) * DAY) for back in (1, 6)]
    found = shop.answer(aim(window="7d"), corrections=tuple(gone))
    assert found.objective_coverage == 0.5
    assert shop.answer(aim(window="7d"), corrections=()).objective_coverage == 0.5


@pytest.mark.parametrize("other", [
    replace(AGREED, component=("judge",)), replace(AGREED, signal=("latency",)), replace(AGREED, environment="staging"),
    replace(AGREED, from_=NOW - 20 * DAY, to=NOW - 19 * DAY),
])  # fmt: skip
def test_a_correction_of_something_else_changes_nothing(shop: Shop, other: Correction) -> None:
    shop.say(*every())
    found = shop.answer(aim(window="7d"), corrections=(other,))
    assert (found.objective, found.corrected) == ((9 * 576, 10 * 576), 0)


def maintenance(**more: Any) -> Event:
    given: dict[str, Any] = {"ts": NOW - 3 * HOUR, "ended": NOW - HOUR, "components": ("api",), "actor": "Ada"}
    return Event("maintenance", "m-1", title="disks", **(given | more))


@pytest.mark.parametrize(("event", "hours"), [
    (maintenance(), 2), (maintenance(started=NOW - 2 * HOUR), 1), (maintenance(ended=None, outcome="open"), 3),
    (maintenance(outcome="excluded"), 0), (maintenance(ended=None), 0), (maintenance(components=("judge",)), 0),
    (maintenance(environment="staging"), 0), (maintenance(ended=NOW + DAY), 3),
])  # fmt: skip
def test_maintenance_leaves_the_counts_while_it_lasts(shop: Shop, event: Event, hours: int) -> None:
    """An open one lasts until now; a cancelled one, or one whose end nobody knows, leaves nothing out."""
    shop.say(*every(), event)
    found = shop.answer(aim(window="7d"))
    assert found.objective == (9 * (576 - 12 * hours), 10 * (576 - 12 * hours))


@pytest.mark.parametrize(("file", "source", "counts"), [
    ("leave out", "", False), ("count", "", True), ("leave out", "count", True), ("count", "leave out", False),
])  # fmt: skip
def test_a_team_may_say_that_maintenance_counts(shop: Shop, file: str, source: str, counts: bool) -> None:
    shop.say(*every(), maintenance(), maintenance_time=source)
    found = shop.answer(aim(window="7d"), maintenance=file)
    assert found.objective[1] == 10 * (576 if counts else 552)


def test_corrections_are_seen_with_who_agreed_and_why(shop: Shop) -> None:
    shop.say(*every(), maintenance())
    shop.config = replace(shop.config, objectives=(aim(window="7d"),), corrections=(AGREED,))
    told = shop.shown("api")
    both = [(one["origin"], one["author"], one["reason"], one["agreed"]) for one in told[""]["corrections"]]
    assert both == [("maintenance", "Ada", "disks", ""), ("agreed", "Ada", "the database moved", "2026-09-18")]
    signal = told["request_success"]
    assert (signal["corrected"], signal["objective"]["corrected"]) == (25 * 300, 25 * 300), "they overlap"
    assert signal["total"] == 2880, "what was counted stays readable"
    detail = report.detail(shop, "api", Window(NOW - DAY, NOW), now=NOW)
    assert [one.origin for one in detail.corrections] == ["maintenance", "agreed"]
    [cell] = detail.cells
    assert (cell.corrected, cell.objective.corrected) == (25 * 300, 25 * 300)


def test_a_window_that_is_all_corrected_is_unknown_for_that_reason(shop: Shop) -> None:
    shop.say(*every())
    found = shop.answer(aim(window="1d"), corrections=(replace(AGREED, from_=NOW - 2 * DAY, to=NOW + DAY),))
    assert (verdict(found).state, verdict(found).why, found.objective) == ("unknown", "corrected", (0, 0))


def test_slices_and_a_window_that_is_checked_leave_it_out_too(shop: Shop) -> None:
    shop.say(*every())
    sliced = aim(window="1d", slice="5m", slice_target=Fraction("0.95"))
    assert shop.answer(sliced, corrections=(AGREED,)).objective == (0, 288 - 14)
    shop.config = replace(shop.config, objectives=(aim(window="7d"),))
    [checked] = report.check(shop, ["api"], Window(NOW - 3 * HOUR, NOW), now=NOW).objectives
    assert (checked.good, checked.total, checked.corrected) == (9 * 22, 10 * 22, 14 * 300)


# -- measures of the confusion, tolerance, thresholds


def confusion(ts: int = NOW - 600, **cells: int) -> Fact:
    given = {
        ("fraud" if name[0] == "f" else "fine", "fraud" if name[1] == "f" else "fine"): n for name, n in cells.items()
    }
    return Fact(Series("outcome", component="judge"), ts, Confusion(given))


@pytest.mark.parametrize(("measure", "name", "expected"), [
    ("recall", "fraud", (80, 120)), ("precision", "fraud", (80, 100)), ("f1", "fraud", (160, 220)),
    ("accuracy", "", (940, 1000)), ("accuracy", "fraud", (940, 1000)), ("recall", "fine", (860, 880)),
    ("precision", "fine", (860, 900)), ("f1", "fine", (1720, 1780)),
])  # fmt: skip
def test_measures_of_a_class_by_their_own_good_and_total(
    shop: Shop, measure: str, name: str, expected: tuple[int, int]
) -> None:
    """TP 80, FP 20, FN 40, TN 860."""
    shop.say(confusion(ff=80, nf=20, fn=40, nn=860))
    found = shop.answer(aim(measure, component="judge", class_=name))
    assert found.objective == found.burns[3600] == (found.good, found.total) == expected


def test_one_class_of_three_against_the_rest(shop: Shop) -> None:
    rows = {
        ("a", "a"): 50,
        ("a", "b"): 5,
        ("a", "c"): 5,
        ("b", "a"): 10,
        ("b", "b"): 30,
        ("c", "b"): 10,
        ("c", "c"): 90,
    }
    shop.say(Fact(Series("outcome", component="judge"), NOW - 600, Confusion(rows)))
    counts = {name: shop.answer(aim(measure, component="judge", class_=one)).objective
              for name, measure, one in (("recall a", "recall", "a"), ("precision b", "precision", "b"),
                                         ("accuracy c", "accuracy", "c"))}  # fmt: skip
    assert counts == {"recall a": (50, 60), "precision b": (30, 45), "accuracy c": (185, 200)}
    plain = shop.answer(aim("recall", component="judge"))
    assert (verdict(plain).state, verdict(plain).why) == ("unknown", "not applicable")
    assert "name one by class, such as 'a'" in verdict(plain).reason
    unseen = shop.answer(aim("recall", component="judge", class_="d"))
    assert (verdict(unseen).why, unseen.objective) == ("no traffic", (0, 0))
    assert "nothing of the class 'd' was seen; seen are 'a', 'b', 'c'" in verdict(unseen).reason


def test_a_threshold_between_edges_is_answered_with_its_bound(shop: Shop) -> None:
    shop.say(Fact(Series("latency", component="api"), NOW - 600, Histogram(LATENCY, {0: 900, 1: 60, 2: 30, 3: 10}, {})))
    shop.config = replace(
        shop.config, objectives=(aim("latency", threshold=Fraction("0.25"), target=Fraction("0.95")),)
    )
    told = shop.shown("api")["latency"]
    assert (told["good"], told["total"], told["bound"], told["objective"]["bound"]) == (
        900,
        1000,
        [900, 960],
        [900, 960],
    )
    assert told["state"] == "breached", "what certainly lies under it counts"
    [said] = told["objective"]["remarks"]
    assert said.startswith("250 ms is no edge of its histogram: 900 certainly lie within it, and up to 960 may")
    shop.config = replace(shop.config, objectives=(aim("latency", threshold=Fraction("0.3")),))
    assert shop.shown("api")["latency"]["bound"] is None


def test_regression_within_a_tolerance_whatever_the_true_value(shop: Shop) -> None:
    """Errors of predictions of 0 count like any other: the tolerance is in the unit of the target."""
    layout = Layout(edges=(-8.0, -2.0, 2.0, 8.0), digits=6)
    shop.say(
        Fact(Series("error", component="judge"), NOW - 600, Histogram(layout, {0: 3, 1: 10, 2: 70, 3: 9, 4: 8}, {}))
    )
    found = shop.answer(aim("error", Fraction("0.8"), "judge", tolerance=Fraction(8)))
    assert found.objective == (89, 100)


@pytest.mark.parametrize("signal", ["drift", "freshness", "label_coverage", "training_success", "valid_rows",
                                    "validation_success", "in_sync", "certificate", "test_success"])  # fmt: skip
def test_every_ratio_takes_an_objective_as_it_is(shop: Shop, signal: str) -> None:
    hour = NOW // HOUR * HOUR - 5 * HOUR
    shop.say(requests(hour, 45, 50, "judge", signal))
    found = shop.answer(aim(signal, Fraction("0.85"), "judge"))
    assert found.objective == (45, 50)
    assert standing.objective(found).budget_left == float(1 - Fraction(5, 50) / Fraction("0.15"))


# -- fairness


def groups(ts: int, first: tuple[int, int], second: tuple[int, int]) -> list[Fact]:
    """Selected of all in two countries, half of each truly so."""
    facts = []
    for name, (k, n) in (
        ("country=DE", first),
        ("country=FR", second),
        ("", (first[0] + second[0], first[1] + second[1])),
    ):
        cells = {("1", "1"): k // 2, ("0", "1"): k - k // 2, ("1", "0"): (n - k) // 2, ("0", "0"): n - k - (n - k) // 2}
        facts.append(Fact(Series("outcome", component="judge", segment=name), ts, Confusion(cells)))
    return facts


FAIR = aim("fairness", Fraction("0.5"), "judge", segment="country", gap="demographic_parity_difference",
           bound=Fraction("0.1"), window="7d")  # fmt: skip


def test_fair_hours_of_all_that_can_be_told(shop: Shop) -> None:
    day = NOW // DAY * DAY
    shop.say(
        *groups(day - 3 * DAY, (400, 1000), (390, 1000)),  # 1 point apart, ± 4: fair
        *groups(day - 3 * DAY + HOUR, (400, 1000), (250, 1000)),  # 15 points, certain: unfair
        *groups(day - 2 * DAY, (6, 8), (3, 6)),  # 25 points, -21 to 61: not enough, and not enough that day
        *groups(day - DAY, (60, 100), (55, 100)),  # 5 points ± 13.6: too wide by itself
        *groups(day - DAY + HOUR, (500, 1000), (500, 1000)),  # fair, and makes its day fair
    )
    found = shop.answer(FAIR)
    assert found.objective == (3, 4)
    assert verdict(found).state in ("ok", "at risk")
    assert [one for one in standing.objective(found).remarks if one.startswith("Counted in steps of hour")]
    stricter = shop.answer(replace(FAIR, bound=Fraction("0.2")))
    assert stricter.objective[0] >= 4, "15 points are within 20"


@pytest.mark.parametrize(("column", "why", "said"), [
    ("plan", "not applicable", "no groups of 'plan' to compare"),
    ("country", "not enough evidence", "no hour or day has"),
])  # fmt: skip
def test_fairness_that_cannot_be_told_is_unknown_and_never_red(shop: Shop, column: str, why: str, said: str) -> None:
    shop.say(*groups(NOW - 5 * HOUR, (6, 8), (3, 6)))
    found = shop.answer(replace(FAIR, segment=column))
    assert (found.objective, verdict(found).state, verdict(found).why) == ((0, 0), "unknown", why)
    assert said in verdict(found).reason


# -- rules, base, price


def test_an_imported_objective_keeps_rules_and_look_backs_of_its_own(shop: Shop) -> None:
    """Pyrra's: 14 over 1 h and 5 min, 1 over 4 days and 6 hours."""
    rules = (OwnRule("page", "1h", "5m", Fraction(14)), OwnRule("ticket", "4d", "6h", Fraction(1)))
    shop.say(*(requests(ts, 86, 100) for ts in range(NOW - HOUR, NOW, BUCKET)),
             *(requests(ts, 100, 100) for ts in range(NOW - 4 * DAY, NOW - HOUR, 4 * HOUR)))  # fmt: skip
    found = shop.answer(aim(rule=rules, window="28d"))
    shown = standing.objective(found)
    assert (shown.burn["1h"], verdict(found).why) == (14.0, "overspent"), "exactly 14 does not fire"
    assert [(one.long, one.short, one.factor, one.fires) for one in shown.rules] == [
        ("1h", "5m", 14.0, False), ("4d", "6h", 1.0, True)]  # fmt: skip
    assert shown.burn["4d"] == float(Fraction(168, 3600) / Fraction("0.01"))
    assert set(shown.burn) == {*slo.BURN_WINDOWS, "4d"}


def test_an_accepted_error_ratio_makes_burn_that_of_the_excess(shop: Shop) -> None:
    shop.say(*(requests(ts, 80, 100) for ts in range(NOW - HOUR, NOW, BUCKET)))
    found = shop.answer(aim(target=Fraction("0.9"), base=Fraction("0.06")))
    shown = standing.objective(found)
    assert (shown.base, shown.burn["1h"], shown.rules[0].factor) == (0.06, 3.5, 13.44)
    assert shown.remarks == ()
    assert shop.answer(aim(target=Fraction("0.9"))).objective == found.objective, "the budget itself is the same"


def test_a_page_of_the_excess_needs_more_than_its_factor_above_the_base(shop: Shop) -> None:
    """13.44 times above 6 % is 59.76 % failing; the plain burn rate of 62 % is only 6.2."""
    shop.say(requests(NOW - 20 * DAY, 10**6, 10**6), requests(NOW - HOUR, 380, 1000), requests(NOW - 300, 38, 100))
    found = shop.answer(aim(target=Fraction("0.9"), base=Fraction("0.06")))
    assert (verdict(found).state, verdict(found).why) == ("breached", "burning")
    assert "above the accepted 6 %" in verdict(found).reason
    assert [one.fires for one in standing.objective(found).rules][:1] == [True]
    plain = shop.answer(aim(target=Fraction("0.9"), factors="standard"))
    assert [one.fires for one in standing.objective(plain).rules][:1] == [True], "5.6 times over 6 hours"
    assert standing.objective(plain).rules[0].long == "6h"


def test_a_catalog_default_takes_reachable_factors_and_says_so(shop: Shop) -> None:
    shop.say(confusion(ff=80, nf=20, fn=40, nn=860))
    told = shop.shown("judge")["outcome"]["objective"]
    assert [one["factor"] for one in told["rules"]] == [5.0, 5.0, 2.8, pytest.approx(14 / 15)]
    [said] = told["remarks"]
    assert "would need a burn rate above 13.44, but a target of 90 % burns at most 10 times the budget" in said
    assert "it fires at 5 instead" in said
    assert "base = 0.068" in said


def test_the_price_stands_beside_objectives_with_little_traffic_only(shop: Shop) -> None:
    """Half an event in 5 minutes: a full outage is noticed after about 45 minutes; ten: no price."""
    window = {"window": "7d", "target": T99}
    for every_, per, expected in ((600, 1, 45 * 60), (300, 10, None)):
        shop.say(*(requests(ts, per, per) for ts in range(NOW - 7 * DAY, NOW, every_)))
        noticed = standing.objective(shop.answer(aim(**window))).noticed
        assert (noticed and noticed.total) == (expected and pytest.approx(expected, abs=300))
        if noticed:
            assert noticed.sentence.startswith("a full outage is noticed after about 4")


def test_when_the_budget_is_gone(shop: Shop) -> None:
    """130 bad of 200,000 at 99.9 % leave 35 %; burning 14.4 times in the last hour, it is gone in 17.5 hours."""
    shop.say(requests(NOW - 20 * DAY, 200_000 - 2500 - 94, 200_000 - 2500), requests(NOW - HOUR, 2464, 2500))
    found = standing.objective(shop.answer(aim(target=T999, window="30d")))
    assert (found.budget_left, found.events_left, found.burn["1h"]) == (0.35, 70.0, 14.4)
    assert (found.exhausts_in, found.exhausts_over) == (17.5 * 3600, "1h")
    calm = standing.objective(shop.answer(aim(target=T999, window="30d"), end=NOW - 5 * DAY))
    assert (calm.exhausts_in, calm.exhausts_over) == (None, ""), "nothing burns"


# -- states that are not one another


def test_silence_has_a_reason_of_its_own_on_screen_and_in_json(shop: Shop) -> None:
    hour = Covered(NOW - 30 * DAY, NOW)
    shop.say(requests(NOW - 40 * DAY, 1, 1), requests(NOW - 40 * DAY, 1, 1, signal="availability"),
             requests(NOW - 300, 50, 50, "judge", "volume"), requests(NOW - 300, 10, 10, "judge", "freshness"),
             Fact(Series("outcome", component="judge"), NOW - 40 * DAY, Confusion({("1", "1"): 1})),
             requests(NOW - 300, 1, 1, signal="in_sync"), covered=[hour])  # fmt: skip
    shop.say(requests(NOW - 20 * DAY, 99, 99, signal="test_success"), covered=[Covered(NOW - 30 * DAY, NOW - 19 * DAY)],
             name="late")  # fmt: skip
    shop.config = replace(shop.config, objectives=(
        aim(window="7d"), aim("certificate", window="7d"), aim("accuracy", component="judge"),
        aim("freshness", component="judge"), aim("test_success", window="7d"),
        aim("f1", component="judge", class_="x", name="of x"),
    ))  # fmt: skip
    api, judge = shop.shown("api"), shop.shown("judge")
    why = {name: (one["state"], one["why"]) for name, one in (api | judge).items() if name}
    assert why == {
        "request_success": ("unknown", "no traffic"), "availability": ("unknown", "no traffic"),
        "certificate": ("unknown", "not measured"), "test_success": ("unknown", "not measured"),
        "in_sync": ("unknown", "no objective"), "outcome": ("unknown", "no labels yet"),
        "freshness": ("unknown", "not enough evidence"), "volume": ("unknown", "no objective"),
    }  # fmt: skip
    for one in (api | judge).values():
        if "reason" in one:
            assert one["reason"].startswith(one["why"]) or one["why"] == "no objective"
    cells = report.detail(shop, "api", Window(NOW - DAY, NOW), now=NOW).cells
    assert {cell.signal: cell.why for cell in cells} == {name: one["why"] for name, one in api.items() if name}


def test_an_alert_is_frozen_and_not_cleared_when_its_source_falls_silent(shop: Shop) -> None:
    facts = [requests(ts, 40, 100) for ts in range(NOW - 2 * DAY, NOW - 5 * HOUR, BUCKET)]
    shop.say(*facts, requests(NOW - 25 * DAY, 10**6, 10**6), covered=[Covered(NOW - 30 * DAY, NOW - 5 * HOUR)])
    found = shop.answer(aim(target=Fraction("0.9"), window="28d"))
    assert found.stale
    assert found.burns[3600] == (480, 1200), "the last hour that was seen"
    assert (verdict(found).state, verdict(found).why) == ("breached", "burning")
    assert found.objective == (10**6 + 40 * len(facts), 10**6 + 100 * len(facts))


@pytest.mark.parametrize("seconds", [1, 120, 299])
def test_a_bucket_that_is_being_filled_clears_no_rule(shop: Shop, seconds: int) -> None:
    """Two minutes into a bucket of which nothing came yet, the last 5 minutes are those before it."""
    now = NOW + seconds
    shop.say(*(requests(ts, 40, 100) for ts in range(NOW - 2 * DAY, NOW, BUCKET)), covered=[
        Covered(NOW - 30 * DAY, now)])  # fmt: skip
    found = shop.answer(aim(target=Fraction("0.9")), end=now, now=now)
    assert (found.burns[300], found.burns[3600]) == ((40, 100), (480, 1200))
    assert standing.objective(found).burn_until == NOW
    assert verdict(found).why == "burning"


def test_look_backs_of_what_is_counted_by_the_hour_hold_whole_hours(shop: Shop) -> None:
    hour = NOW // HOUR * HOUR
    assert hour < NOW, "the moment lies inside an hour"
    shop.say(*(requests(hour - n * HOUR, 9, 10, "judge", "drift") for n in range(1, 60)))
    found = shop.answer(aim("drift", component="judge"))
    assert [found.burns[seconds][1] for seconds in (300, 3600, 21600, 86400)] == [0, 10, 60, 240]
    assert found.edge == hour


# -- both sides alike


def test_the_same_counts_of_a_service_and_of_a_model_give_bit_equal_results(tmp_path: Path) -> None:
    """Request success and valid rows, target for target: every number, state, reason and rule is the same."""
    chance = random.Random(8)
    names = [(f"svc{n}", f"mdl{n}") for n in range(12)]
    parts = [Component(one, kind, "p") for pair in names for one, kind in zip(pair, ("service", "model"), strict=True)]
    facts, objectives = [], []
    for service, model in names:
        target = Fraction(chance.randrange(5000, 9999), 10_000)
        more = chance.choice([
            {}, {"window": "month", "timezone": "UTC"}, {"slice": "1h", "slice_target": Fraction(1, 2)},
            {"base": (1 - target) / 3}, {"factors": "reachable"},
        ])  # fmt: skip
        rate = chance.random() * float(1 - target) * 4
        for ts in range(NOW - 40 * DAY, NOW, chance.choice([HOUR, 3 * HOUR, DAY])):
            total = chance.randrange(1, 4000)
            good = total - sum(chance.random() < rate for _ in range(min(total, 60))) * (total // 60 or 1)
            for name, signal in ((service, "request_success"), (model, "valid_rows")):
                facts.append(requests(ts, good, total, name, signal))
        objectives += [aim("request_success", target, service, name="x", **more),
                       aim("valid_rows", target, model, name="x", **more)]  # fmt: skip
    known = fakes.config(tmp_path, fakes.source(fakes.saying([Page(facts, covered=[SEEN])])), components=parts,
                         objectives=objectives)  # fmt: skip
    with Store(tmp_path / "both.duckdb") as store:
        assert not collect.sync(store, known, NOW)[0].error
        measures = Measures(Reader(store), known, Window(NOW - 3 * DAY, NOW), NOW)
        found = {one.asked.component: one for one in measures.answers(measures.asked([one.name for one in parts]))}
    states = set()
    for service, model in names:
        assert standing.objective(found[service]) == standing.objective(found[model])
        assert verdict(found[service]) == verdict(found[model])
        assert found[service].coverage == found[model].coverage
        states.add(verdict(found[service]).state)
    assert len(states) > 1, "not all of them are alike"


def test_the_command_prints_what_left_and_what_is_promised_together(shop: Shop) -> None:
    shop.say(*every(), confusion(nn=60), maintenance())
    shop.config = replace(shop.config, corrections=(AGREED,))
    told = printed.shown([report.show(shop, "api", Window(NOW - DAY, NOW), now=NOW)]).splitlines()
    [left] = [line for line in told if "the database moved" in line]
    assert (left.split()[2], left.split()[3]) == ("agreed", "Ada")
    [together] = [line for line in told if line.startswith("shop  ")]
    assert together.split()[1] == "judge"
    assert "10 %" in together, "that of the service failed, nothing of the model"
    assert "100 % of it by api" in together


@pytest.mark.parametrize(("more", "numbers"), [
    ({"window": "month", "timezone": "UTC", "expected": 60_000}, ("budget_left", "events_left")),
    ({"base": Fraction("0.004")}, (explained.BURN + "1h", explained.BURN + "6h")),
    ({"rule": (OwnRule("ticket", "4d", "6h", Fraction(1)),)}, (explained.BURN + "4d", "budget_left")),
])  # fmt: skip
def test_the_arithmetic_that_explains_a_number_gives_it(
    shop: Shop, more: dict[str, Any], numbers: tuple[str, ...]
) -> None:
    shop.say(
        requests(NOW - 2 * DAY, 4_000, 4_020), requests(NOW - 2 * HOUR, 990, 1_000), requests(NOW - HOUR, 494, 500)
    )
    shop.config = replace(shop.config, objectives=(aim(**more),))
    question = explained.Question(Window(NOW - DAY, NOW), shop.store.version())
    for name in numbers:
        number = explaining.Number(component="api", signal="request_success", number=name)
        found = report.explain(shop, number, question, now=NOW)
        written = found.counts.translate(str.maketrans({"÷": "/", "−": "-", "×": "*", "\u202f": None}))
        assert set(written) <= set("0123456789.+-*/() ")
        assert eval(written) == pytest.approx(found.value, rel=1e-12), (name, written)
