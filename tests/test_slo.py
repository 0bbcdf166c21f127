"""Objectives: the state in every case, and what is exact."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tandem import slo

T999 = Fraction("0.999")
T99 = Fraction("0.99")
MONTH = 30 * 86400


def quiet(**given):
    return slo.judge(T99, 990, 1000, {}, **given)


@pytest.mark.parametrize("target", ["1", "1.0", 1, 0, "0", "-0.1", "1.2", 99.9])
def test_a_target_outside_0_to_1_is_refused_with_a_sentence(target):
    with pytest.raises(ValueError, match=r"must lie between 0 and 1.*0\.999 for 99\.9 %"):
        slo.target_of(target)


def test_a_target_is_what_is_written():
    assert slo.target_of(0.999) == slo.target_of("0.999") == T999


def test_every_rule_has_its_burn_windows():
    lengths = set(slo.BURN_WINDOWS.values())
    assert all({rule.long, rule.short} <= lengths and rule.short * 12 == rule.long for rule in slo.factors())
    assert {"5m", "1h", "6h", "3d"} <= set(slo.BURN_WINDOWS)


def test_a_page_needs_both_windows_strictly_above_the_factor():
    at, above = (2500 - 36, 2500), (2500 - 37, 2500)
    short = (180, 210)
    own = (10**6 - 100, 10**6)
    assert slo.judge(T999, *own, {3600: at, 300: short}, window=MONTH).state == "ok"
    assert slo.judge(T999, *own, {3600: above, 300: short}, window=MONTH).state == "breached"
    assert slo.judge(T999, *own, {3600: above, 300: (210, 210)}, window=MONTH).state == "ok"
    assert slo.judge(T999, *own, {3600: above}, window=MONTH).state == "ok"
    assert slo.judge(T999, *own, {3600: above, 300: (0, 0)}, window=MONTH).state == "ok"


def test_a_page_on_little_evidence_is_only_at_risk():
    own, short = (9990, 10000), (0, 1)
    four = slo.judge(T99, *own, {3600: (6, 10), 300: short})
    five = slo.judge(T99, *own, {3600: (5, 10), 300: short})
    assert (four.state, five.state) == ("at risk", "breached")
    assert "only 4 bad of 10" in four.reason


def test_a_ticket_is_at_risk_and_only_with_evidence():
    own = (9990, 10000)
    assert slo.judge(T99, *own, {86400: (90, 100), 7200: (5, 10)}).state == "at risk"
    assert slo.judge(T99, *own, {86400: (36, 40), 7200: (5, 10)}).state == "ok"


def test_a_page_comes_before_an_empty_budget_and_a_ticket():
    verdict = slo.judge(T99, 900, 1000, {3600: (50, 100), 300: (5, 10), 86400: (50, 100), 7200: (5, 10)})
    assert verdict.state == "breached"
    assert "last hour" in verdict.reason


def test_budget_states():
    assert slo.judge(T99, 990, 1000, {}).state == "at risk"  # 0 % left
    assert slo.judge(T99, 989, 1000, {}) == slo.Verdict("breached", "11 bad of 1,000: 10 % more than the budget allows")
    assert slo.judge(T99, 991, 1000, {}).state == "ok"  # exactly 10 % left
    assert slo.judge(T99, 9909, 10000, {}).state == "at risk"  # 9 % left


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "no traffic"),
        ({"coverage": 0.0}, "not measured"),
        ({"stale": True}, "stale"),
        ({"labels": False}, "no labels yet"),
    ],
)
def test_silence_is_unknown_with_its_reason(given, words):
    verdict = slo.judge(T99, 0, 0, {}, **given)
    assert verdict.state == "unknown"
    assert verdict.reason.startswith(words)


def test_a_budget_of_less_than_one_event_cannot_be_judged():
    assert slo.judge(T99, 99, 99, {}).state == "unknown"
    assert slo.judge(T99, 99, 99, {}).reason == "not enough evidence: 99 seen, a target of 99 % needs 100 or more"
    assert slo.judge(T99, 100, 100, {}).state == "ok"


def test_staleness_clears_nothing_and_hides_ok():
    assert slo.judge(T99, 1000, 1000, {}, stale=True).reason.startswith("stale")
    assert slo.judge(T99, 980, 1000, {}, stale=True).state == "breached"


def test_an_unreachable_rule_never_fires_and_says_why():
    low = Fraction("0.9")
    everything = dict.fromkeys(slo.BURN_WINDOWS.values(), (0, 1000))
    assert "last 6 hours" in slo.judge(low, 99_000, 100_000, everything).reason
    (sentence,) = slo.refused(low)
    assert "13.44" in sentence
    assert "at most 10 times" in sentence
    assert slo.refused(T99) == ()


def test_what_is_not_all_is_never_shown_as_100_percent():
    assert slo.percent(Fraction(9996, 10000)) == "99.96 %"
    assert slo.percent(Fraction(1)) == "100 %"
    assert slo.percent(Fraction(-5, 4)) == "-125 %"


def test_nothing_counted_is_none():
    assert slo.budget_left(0, 0, T99) is None
    assert slo.burn(0, 0, T99) is None
    assert slo.wilson(0, 0) is None
    assert slo.newcombe(1, 2, 0, 0) is None
    assert slo.exhausts_in(Fraction(1), Fraction(0)) is None
    assert slo.exhausts_in(Fraction(-1), Fraction(2)) == 0


ratios = st.integers(0, 10**6).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total)))
targets = st.integers(1, 9999).map(lambda n: Fraction(n, 10000))


@settings(deadline=None)
@given(a=ratios, b=ratios, target=targets)
def test_events_left_adds_over_any_split(a, b, target):
    whole = (a[0] + b[0], a[1] + b[1])
    assert slo.events_left(*whole, target) == slo.events_left(*a, target) + slo.events_left(*b, target)
    left = slo.budget_left(*whole, target)
    if left is not None:
        assert left * (1 - target) * whole[1] == slo.events_left(*whole, target)


@settings(deadline=None)
@given(ratio=ratios, target=targets)
def test_burn_never_exceeds_the_largest(ratio, target):
    rate = slo.burn(*ratio, target)
    assert rate is None or 0 <= rate <= slo.largest_burn(target)


@settings(deadline=None)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy(pair):
    expected = binomtest(*pair).proportion_ci(method="wilson")
    low, high = slo.wilson(*pair)
    assert math.isclose(low, expected.low, abs_tol=1e-6)
    assert math.isclose(high, expected.high, abs_tol=1e-6)


@pytest.mark.slow
def test_false_pages_of_a_service_exactly_at_its_target():
    """60 runs of 30 days of 5-minute buckets, Poisson 0.1, 0.5 and 1 event per bucket, truth at 99 %."""
    numbers = np.random.default_rng(7)

    def onsets(mean: float, evidence: int) -> float:
        total = numbers.poisson(mean, (60, 30 * 288))
        bad = numbers.binomial(total, 0.01)
        fires = np.zeros(total.shape, dtype=bool)
        for rule in slo.factors(MONTH)[:2]:
            over = np.ones(total.shape, dtype=bool)
            for seconds in (rule.long, rule.short):
                n, k = (_rolling(one, seconds // 300) for one in (total, bad))
                over &= k * 100 > float(rule.factor) * n
            fires |= over & (_rolling(bad, rule.long // 300) >= evidence)
        return float((fires[:, 1:] & ~fires[:, :-1]).sum() / 60)

    def _rolling(counts, width):
        sums = np.cumsum(np.pad(counts, ((0, 0), (width, 0))), axis=1)
        return sums[:, width:] - sums[:, :-width]

    assert 0.8 * 8 <= onsets(0.1, 0) <= 1.2 * 8
    assert 0.8 * 22 <= onsets(0.5, 0) <= 1.2 * 23
    assert 0.8 * 7 <= onsets(1, 0) <= 1.2 * 8
    assert onsets(0.5, slo.EVIDENCE) <= 0.3
