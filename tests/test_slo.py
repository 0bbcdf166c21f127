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
    assert slo.judge(T99, 989, 1000, {}) == slo.Verdict(
        "breached", "11 bad of 1,000: 10 % more than the budget allows", "overspent"
    )
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
    assert verdict.why == words


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
    standard = slo.in_force(low, how="standard")
    assert [float(rule.factor) for rule in standard] == [5.6, 2.8, float(Fraction(14, 15))]
    assert "last 6 hours" in slo.judge(low, 99_000, 100_000, everything, rules=standard).reason
    (sentence,) = slo.refused(low)
    assert "above 13.44" in sentence
    assert "at most 10 times the budget even when everything fails, 1 / (1 - 0.9)" in sentence
    assert 'factors = "reachable" lets it fire at 5' in sentence
    assert "base = 0.068" in sentence
    assert slo.refused(T999) == ()


def test_a_target_that_makes_a_rule_unreachable_takes_the_reachable_factors_unless_told_otherwise():
    """Half of everything failing: 0.5 / (1 - 0.9) = 5 times; 5.6 comes down to it, 2.8 and 14/15 stay."""
    low, half = Fraction("0.9"), {3600: (499, 1000), 300: (49, 100)}
    assert [rule.factor for rule in slo.in_force(low)] == [5, 5, Fraction("2.8"), Fraction(14, 15)]
    assert slo.in_force(Fraction("0.95")) == slo.factors()  # all can fire: nothing is changed
    asked = slo.in_force(Fraction("0.95"), how="reachable")
    assert [rule.factor for rule in asked] == [10, Fraction("5.6"), Fraction("2.8"), Fraction(14, 15)]
    assert slo.judge(low, 99_000, 100_000, half).state == "breached"
    assert slo.judge(low, 99_000, 100_000, {3600: (500, 1000), 300: (49, 100)}).state == "ok", "not above, but at it"
    assert slo.judge(low, 99_000, 100_000, half, rules=slo.in_force(low, how="standard")).state == "ok"


def test_the_base_that_is_offered_brings_the_factor_back_to_half_of_all_failing():
    for target in ("0.9", "0.8", "0.92"):
        exact = Fraction(target)
        base = slo.offered_base(exact, Fraction("13.44"))
        assert slo.excess_burn(50, 100, exact, base) >= Fraction("13.44")
        assert slo.excess_burn(50, 100, exact, base - Fraction(1, 1000)) < Fraction("13.44")
        assert slo.refused(exact, base=base) == ()
    assert slo.offered_base(T999, Fraction("13.44")) is None


def test_the_excess_form_judges_only_what_exceeds_the_accepted_ratio():
    """Target 90 %, base 6 %: 13.44 times needs an error ratio above .06 + 13.44 * .04 = 59.76 %."""
    low, base = Fraction("0.9"), Fraction("0.06")
    for bad, state in ((5976, "ok"), (5977, "breached")):
        found = slo.judge(low, 99_000, 100_000, {3600: (10_000 - bad, 10_000), 300: (0, 100)}, base=base)
        assert found.state == state
    assert "above the accepted 6 %" in found.reason
    assert slo.judge(low, 99_000, 100_000, {86400: (83, 100), 7200: (83, 100)}, base=base).state == "ok"  # 2.75 times
    assert slo.judge(low, 99_000, 100_000, {86400: (82, 100), 7200: (82, 100)}, base=base).state == "at risk"


def test_the_budget_of_a_calendar_window_is_fixed_and_only_falls():
    """600,000 expected in a month at 99.9 %: 600 events, whatever has come so far."""
    left = [
        slo.budget_left(seen - bad, seen, T999, 600_000)
        for seen, bad in ((0, 0), (10, 1), (10_000, 60), (700_000, 900))
    ]
    assert left == [1, Fraction(599, 600), Fraction(9, 10), Fraction(-1, 2)]
    assert slo.events_left(9_940, 10_000, T999, 600_000) == 540
    assert slo.judge(T999, 9_940, 10_000, {}, expected=600_000).state == "ok"  # of 10 allowed so far 60 are spent
    over = slo.judge(T999, 699_100, 700_000, {}, expected=600_000)
    assert (over.state, over.why) == ("breached", "overspent")
    assert over.reason == "900 bad of 600,000 expected: 50 % more than the budget allows"


def test_over_a_short_window_no_rule_fires_on_a_budget_that_lasts():
    """10 % of a week's budget in 3 days is a burn of 0.233: at such a rate three quarters of it would be left."""
    assert [rule.factor for rule in slo.factors(7 * 86400)] == [
        Fraction("3.36"), Fraction("1.4"), slo.LOWEST, slo.LOWEST,
    ]  # fmt: skip
    looks = dict.fromkeys(slo.BURN_WINDOWS.values(), (9950, 10_000))  # half of what may fail does
    assert slo.judge(T99, 99_500, 100_000, looks, window=86400).state == "ok"
    assert min(rule.factor for rule in slo.factors()) == slo.LOWEST


def test_look_backs_are_named_alike_everywhere():
    assert {slo.look_back(seconds): seconds for seconds in slo.BURN_WINDOWS.values()} == slo.BURN_WINDOWS
    assert [slo.spoken(seconds) for seconds in (300, 3600, 5400, 86400, 345_600)] == [
        "5 minutes", "hour", "90 minutes", "day", "4 days"]  # fmt: skip


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
    """60 runs of 30 days of 5-minute buckets, Poisson traffic of 0.1 to 20 events per bucket, truth at 99 %."""
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

    measured = {  # events per bucket: without the clause (low, high), with it
        0.1: ((0.8 * 8, 1.2 * 8), 0), 0.5: ((0.8 * 22, 1.2 * 23), 0.03), 1: ((0.8 * 7, 1.2 * 8), 0.4),
        2: ((0.5, 1.4), 0.04), 5: ((0, 0.3), 0), 20: ((0, 0.2), 0),
    }  # fmt: skip
    for mean, ((low, high), clause) in measured.items():
        assert low <= onsets(mean, 0) <= high, mean
        assert abs(onsets(mean, slo.EVIDENCE) - clause) <= 0.25, mean  # of 60 runs: 3 standard deviations of 0.4
