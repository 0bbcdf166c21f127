"""What the evidence clause costs, against the measured table and against a slow simulation of one break at a time."""

import random
from fractions import Fraction

import pytest

from tandem import price, slo

T99 = Fraction("0.99")
PAGES = slo.factors(30 * 86400)[:2]
UNSEEN = None


@pytest.mark.parametrize(
    ("rate", "total", "partial"),
    [
        (0.1, (35, 230), (115, UNSEEN)),
        (0.5, (15, 45), (40, 155)),
        (1, (10, 25), (35, 70)),
        (5, (10, 10), (30, 30)),
    ],
)
def test_the_measured_table(rate, total, partial):
    """Median minutes without and with the clause; two simulations of the table differ by one bucket, or 10 at 150."""
    for failing, expected in ((1.0, total), (0.3, partial)):
        for evidence, minutes in zip((0, 5), expected, strict=True):
            found = price.delay(rate, failing, T99, PAGES, evidence, runs=2000)
            if minutes is UNSEEN:
                assert found is None
            else:
                assert found is not None
                assert abs(found / 60 - minutes) <= max(5, 0.05 * minutes), (rate, failing, evidence, found / 60)


def watched(chance, rate, failing, evidence):
    """One break, event by event: buckets until a page, by the words of the rule."""

    def bucket(share):
        n, left = 0, chance.expovariate(1)
        while left < rate:
            n, left = n + 1, left + chance.expovariate(1)
        return n, sum(chance.random() < share for _ in range(n))

    seen = [bucket(0.01) for _ in range(72)]
    for after in range(1, 289):
        seen.append(bucket(failing))
        for long, short, factor in ((12, 1, 14.4), (72, 6, 6)):
            (n, k), (m, j) = ([sum(part) for part in zip(*seen[-width:], strict=True)] for width in (long, short))
            if k >= evidence and n and m and k / n > factor * 0.01 and j / m > factor * 0.01:
                return after
    return 289


@pytest.mark.parametrize(("rate", "failing"), [(0.7, 1.0), (2, 0.3)])
def test_it_is_the_median_of_breaks_watched_one_by_one(rate, failing):
    chance = random.Random(5)
    runs = sorted(watched(chance, rate, failing, 5) for _ in range(151))
    low, high = runs[60], runs[90]  # the middle 40 of 151 hold the median
    assert low - 1 <= price.delay(rate, failing, T99, PAGES, 5) / 300 <= high + 1


def test_what_never_pages_has_no_price_and_no_traffic_none_either():
    assert price.noticed(0, T99, PAGES) is None
    assert price.noticed(1, T99, slo.factors()[2:]) is None, "only tickets"


def test_the_sentence_says_minutes_then_hours_then_that_it_may_go_unseen():
    said = [price.noticed(rate, T99, PAGES).sentence for rate in (0.5, 0.1, 0.01)]
    assert said[0] == "a full outage is noticed after about 45 min"
    assert said[1].endswith("about 3.8 h")
    assert said[2] == "so little happens that a full outage may raise no page within a day"


def test_a_stricter_clause_never_notices_earlier():
    delays = [price.delay(1.0, 1.0, T99, PAGES, evidence) for evidence in (0, 5, 10, 20)]
    assert delays == sorted(delays)
    assert delays[0] < delays[-1]


def test_the_excess_form_sees_a_partial_break_that_the_reachable_factors_do_not():
    """Target 90 %: 5 times is half of all failing; above a base of 6.8 %, 5.6 times is 24.7 % failing."""
    low = Fraction("0.9")
    assert price.delay(20, 0.3, low, slo.in_force(low)[:2], 5) is None
    seen = price.delay(20, 0.3, low, slo.factors()[:2], 5, Fraction("0.068"))
    assert seen is not None
    assert 4 <= seen / 3600 <= 6  # 30 % over the long window of 6 h, from 10 % before: 0.735 of it is needed
