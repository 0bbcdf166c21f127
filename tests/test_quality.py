"""Model quality and fairness against scikit-learn on the raw rows."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tandem import bins, quality
from tandem.bins import MISSING, Layout
from tandem.records import Confusion, Histogram, Moments


def confusion(actual, predicted) -> Confusion:
    return Confusion(dict(Counter(zip(actual, predicted, strict=True))))


def scores(values) -> Histogram:
    places, amounts = bins.codes(bins.SCORE, values), bins.quanta(values, 12)
    sums: dict[int, int] = {}
    for place, amount in zip(places.tolist(), amounts.tolist(), strict=True):
        sums[place] = sums.get(place, 0) + amount
    return Histogram(bins.SCORE, dict(Counter(places.tolist())), sums)


def moments(values, digits=9) -> Moments:
    whole = bins.quanta(np.asarray(values, dtype=float), digits).tolist()
    return Moments(len(whole), sum(whole), sum(one * one for one in whole), digits)


pytestmark = pytest.mark.filterwarnings("ignore:A single label was found")

labels = st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("ab")), min_size=1, max_size=40)
many = st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), min_size=1, max_size=60)


@settings(deadline=None)
@given(labels)
def test_binary_agrees_with_scikit_learn_and_undefined_is_none(pairs):
    actual, predicted = zip(*pairs, strict=True)
    found = quality.classification(confusion(actual, predicted), "a")
    assert found.averaging is None
    given = {"pos_label": "a", "zero_division": np.nan}
    for mine, theirs in (
        (found.precision, metrics.precision_score(actual, predicted, **given)),
        (found.recall, metrics.recall_score(actual, predicted, **given)),
        (found.f1, metrics.f1_score(actual, predicted, **given)),
    ):
        assert (mine is None and math.isnan(theirs)) or math.isclose(mine, theirs)
    assert math.isclose(found.accuracy, metrics.accuracy_score(actual, predicted))
    assert math.isclose(found.mcc or 0.0, metrics.matthews_corrcoef(actual, predicted), abs_tol=1e-12)
    if set(actual) == {"a", "b"}:
        assert math.isclose(found.balanced_accuracy, metrics.balanced_accuracy_score(actual, predicted))
    else:
        assert found.balanced_accuracy is None


@settings(deadline=None)
@given(many)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_macro_agrees_with_scikit_learn(pairs):
    actual, predicted = zip(*pairs, strict=True)
    found = quality.classification(confusion(actual, predicted))
    assert found.averaging == "macro"
    macro = {"average": "macro", "zero_division": 0}
    assert math.isclose(found.precision, metrics.precision_score(actual, predicted, **macro))
    assert math.isclose(found.recall, metrics.recall_score(actual, predicted, **macro))
    assert math.isclose(found.f1, metrics.f1_score(actual, predicted, **macro))
    assert math.isclose(found.weighted_f1, metrics.f1_score(actual, predicted, average="weighted", zero_division=0))
    assert math.isclose(found.accuracy, metrics.f1_score(actual, predicted, average="micro"))
    assert math.isclose(found.mcc or 0.0, metrics.matthews_corrcoef(actual, predicted), abs_tol=1e-12)
    assert math.isclose(found.balanced_accuracy, metrics.balanced_accuracy_score(actual, predicted))


def test_no_labels_and_an_unknown_positive_class():
    assert quality.classification(Confusion({}), "a") == quality.Classification(0, None)
    found = quality.classification(Confusion({("a", "a"): 3}), "never")
    assert (found.accuracy, found.precision, found.recall, found.fpr) == (1, None, None, 0)


@pytest.mark.parametrize(("rate", "centre"), [(0.3, 0.0), (0.026, -4.0), (0.0005, -9.0)])
def test_auc_lies_within_its_bound_and_near(rate, centre):
    r = np.random.default_rng(6)
    y = r.random(60_000) < rate
    given = 1 / (1 + np.exp(-(centre + 1.5 * r.normal(size=y.size) + 2 * y)))
    found = quality.roc_auc(scores(given[~y]), scores(given[y]))
    exact = metrics.roc_auc_score(y, given)
    assert abs(found.value - exact) <= found.bound
    assert found.bound < 0.02
    assert math.isclose(found.value, exact, abs_tol=0.002)


def test_auc_and_ece_need_labels_and_leave_missing_out():
    layout = Layout(edges=(0.5,), digits=2)
    empty = Histogram(layout, {MISSING: 5}, {})
    some = Histogram(layout, {0: 1, 1: 1, MISSING: 9}, {0: 20, 1: 80})
    assert quality.roc_auc(empty, some) is None
    assert quality.ece(empty, empty) is None
    assert quality.roc_auc(some, some) == quality.Auc(0.5, 0.25)
    assert math.isclose(quality.ece(empty, some), 0.5)
    assert quality.ece(Histogram(Layout(edges=(0.5,)), {0: 1}, {}), some) is None


def test_losses_and_regression_agree_with_scikit_learn():
    r = np.random.default_rng(8)
    y, s = r.random(2000) < 0.3, r.random(2000)
    assert math.isclose(quality.brier(moments((s - y) ** 2)), metrics.brier_score_loss(y, s), abs_tol=1e-8)
    assert math.isclose(quality.log_loss(moments(-np.log(np.where(y, s, 1 - s)))), metrics.log_loss(y, s), abs_tol=1e-8)
    true = r.normal(1e4, 5, 2000)
    predicted = true + r.normal(0.5, 2, 2000)
    e = predicted - true
    found = quality.regression(moments(e), moments(np.abs(e)), moments(true, 6))
    assert math.isclose(found.mae, metrics.mean_absolute_error(true, predicted), abs_tol=1e-8)
    assert math.isclose(found.rmse, metrics.root_mean_squared_error(true, predicted), abs_tol=1e-8)
    assert math.isclose(found.r2, metrics.r2_score(true, predicted), abs_tol=1e-7)
    assert math.isclose(found.bias, e.mean(), abs_tol=1e-8)


def test_regression_without_labels_or_spread():
    assert quality.regression(Moments(), Moments(), Moments()) == quality.Regression(0)
    assert quality.regression(moments([1]), moments([1]), moments([5])).r2 is None
    assert quality.regression(moments([1]), moments([1]), Moments()).r2 is None


counts = st.integers(0, 50).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
sides = st.dictionaries(st.sampled_from("abcd"), counts)


@settings(deadline=None)
@given(sides, sides)
def test_the_parts_of_a_change_are_the_change(before, after):
    found = quality.mix(before, after)
    totals = [(sum(k for k, _ in side.values()), sum(n for _, n in side.values())) for side in (before, after)]
    if not totals[0][1] or not totals[1][1]:
        assert found is None
    else:
        assert found.change == Fraction(*totals[1]) - Fraction(*totals[0])


def test_a_segment_on_one_side_only_is_mix():
    found = quality.mix({"a": (9, 10)}, {"a": (9, 10), "b": (1, 10)})
    assert (found.mix, found.within, found.interaction) == (Fraction(-4, 10), 0, 0)


def test_fairness_needs_two_groups_and_is_certain_only_without_0():
    one = Confusion({("1", "1"): 6, ("1", "0"): 2})
    assert quality.fairness({"A": one}, "1") == {}
    gaps = quality.fairness({"A": one, "B": Confusion({("1", "1"): 3, ("1", "0"): 3})}, "1")
    gap = gaps["equal_opportunity_difference"]
    assert (gap.value, gap.high, gap.low, gap.counts, gap.certain) == (0.25, "A", "B", ((6, 8), (3, 6)), False)
    assert "equalized_odds_difference" not in gaps


def test_more_groups_widen_the_interval():
    a, b = Confusion({("1", "1"): 80, ("1", "0"): 20}), Confusion({("1", "1"): 50, ("1", "0"): 50})
    two = quality.fairness({"A": a, "B": b}, "1")["equal_opportunity_difference"]
    three = quality.fairness({"A": a, "B": b, "C": a}, "1")["equal_opportunity_difference"]
    assert three.value == two.value
    assert three.interval[0] < two.interval[0]


def test_business_value():
    values = {("1", "0"): Fraction(-50), ("1", "1"): Fraction("12.5")}
    assert quality.business_value(Confusion({("1", "0"): 2, ("1", "1"): 4, ("0", "0"): 9}), values) == -50
