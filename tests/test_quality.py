"""Model quality against scikit-learn on the raw rows."""

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from tandem import bins, quality, scores, uncertainty
from tandem.bins import MISSING, Layout
from tandem.records import Confusion, Histogram, Moments


def confusion(actual, predicted) -> Confusion:
    return Confusion(dict(Counter(zip(actual, predicted, strict=True))))


def scored(values) -> Histogram:
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
    found = scores.roc_auc(scored(given[~y]), scored(given[y]))
    exact = metrics.roc_auc_score(y, given)
    assert abs(found.value - exact) <= found.bound
    assert found.bound < 0.02
    assert math.isclose(found.value, exact, abs_tol=0.002)


def test_auc_and_ece_need_labels_and_leave_missing_out():
    layout = Layout(edges=(0.5,), digits=2)
    empty = Histogram(layout, {MISSING: 5}, {})
    some = Histogram(layout, {0: 1, 1: 1, MISSING: 9}, {0: 20, 1: 80})
    assert scores.roc_auc(empty, some) is None
    assert scores.ece(empty, empty) is None
    assert scores.roc_auc(some, some) == scores.Auc(0.5, 0.25)
    assert math.isclose(scores.ece(empty, some), 0.5)
    assert scores.ece(Histogram(Layout(edges=(0.5,)), {0: 1}, {}), some) is None


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


def test_business_value():
    values = {("1", "0"): Fraction(-50), ("1", "1"): Fraction("12.5")}
    assert quality.business_value(Confusion({("1", "0"): 2, ("1", "1"): 4, ("0", "0"): 9}), values) == -50


@settings(deadline=None)
@given(many)
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_classes_and_averages_agree_with_scikit_learn(pairs):
    actual, predicted = zip(*pairs, strict=True)
    names = sorted({*actual, *predicted})
    theirs = metrics.precision_recall_fscore_support(actual, predicted, labels=names, zero_division=0)
    for one, *row in zip(quality.per_class(confusion(actual, predicted)), *theirs, strict=True):
        mine = [k / n if n else 0.0 for k, n in (one.precision, one.recall)] + [one.f1 or 0.0, one.support]
        assert mine == pytest.approx(row)
        matrix = metrics.confusion_matrix([a == one.name for a in actual], [p == one.name for p in predicted],
                                          labels=[False, True])  # fmt: skip
        assert [[one.tn, one.fp], [one.fn, one.tp]] == matrix.tolist()
    for one in quality.averages(confusion(actual, predicted)):
        theirs = metrics.precision_recall_fscore_support(
            actual, predicted, labels=names, average=one.averaging, zero_division=0
        )
        assert (one.precision, one.recall, one.f1) == pytest.approx(theirs[:3])


def test_mape_agrees_with_scikit_learn_and_counts_what_it_leaves_out():
    true, predicted = np.array([10.0, 20, 0, 40]), np.array([12.0, 18, 3, 40])
    e, some = predicted - true, true != 0
    relative = moments(np.abs(e[some] / true[some]))
    found = quality.regression(moments(e), moments(np.abs(e)), moments(true, 6), relative)
    assert math.isclose(found.mape, metrics.mean_absolute_percentage_error(true[some], predicted[some]), abs_tol=1e-9)
    assert found.left_out == 1
    nothing = quality.regression(moments([1]), moments([1]), moments([0]), Moments())
    assert (nothing.mape, nothing.left_out) == (None, 1)
    untold = quality.regression(moments([1]), moments([1]), moments([0]))
    assert (untold.mape, untold.left_out) == (None, None)


@pytest.mark.parametrize("seed", range(4))
def test_calibration_agrees_with_the_raw_rows(seed):
    r = np.random.default_rng(seed)
    s = r.random(5000)
    y = r.random(5000) < s**1.5
    curve = scores.calibration(scored(s[~y]), scored(s[y]), 10)
    assert 5 <= len(curve) <= 10
    assert sum(point.n for point in curve) == 5000
    for point in curve:
        mine = (s >= point.low) & (s < point.high)
        assert (point.n, point.positives) == (mine.sum(), y[mine].sum())
        assert math.isclose(point.score, s[mine].mean(), abs_tol=1e-9)
        assert point.interval[0] <= point.share <= point.interval[1]


def test_ece_stands_beside_what_chance_alone_would_show():
    r = np.random.default_rng(3)
    found, chance = [], []
    for _ in range(60):
        s = r.random(400)
        y = r.random(400) < s  # calibrated perfectly
        found.append(scores.ece(scored(s[~y]), scored(s[y])))
        chance.append(scores.ece_by_chance(scored(s[~y]), scored(s[y])))
    assert np.mean(chance) == pytest.approx(np.mean(found), rel=0.15)
    assert scores.ece_by_chance(Histogram(bins.SCORE, {}, {}), Histogram(bins.SCORE, {}, {})) is None


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=80), st.floats(0.001, 0.999))
def test_a_threshold_is_bounded_by_its_bin_and_exact_on_an_edge(rows, threshold):
    s, y = (np.array(column) for column in zip(*rows, strict=True))
    edge = min(bins.SCORE.edges, key=lambda one: abs(one - threshold))
    for asked in (threshold, edge):
        said = s >= asked
        found = scores.at_threshold(scored(s[~y]), scored(s[y]), scored(s), asked)
        assert found.tp[0] <= (said & y).sum() <= found.tp[1]
        assert found.fp[0] <= (said & ~y).sum() <= found.fp[1]
        assert found.flagged[0] <= 2 * said.sum() <= found.flagged[1]
        for mine, theirs in (
            (found.precision(), metrics.precision_score(y, said, zero_division=np.nan)),
            (found.recall(), metrics.recall_score(y, said, zero_division=np.nan)),
        ):
            if mine is not None and not math.isnan(theirs):
                assert mine[0] - 1e-12 <= theirs <= mine[1] + 1e-12
        if asked == edge:
            assert found.exact
            assert found.tp == ((said & y).sum(),) * 2
    assert scores.at_threshold(scored(s[:0]), scored(s[:0]), None, 0.5) is None


def matthews(one: Confusion):
    return (quality.classification(one, "1").mcc,)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """Drawn 400 times from a known classifier; 95 % intervals must hold its true measures about that often."""
    r = np.random.default_rng(12)
    cells = [("1", "1"), ("0", "1"), ("1", "0"), ("0", "0")]
    shares = np.array([0.12, 0.05, 0.06, 0.77])
    truth = quality.classification(Confusion(dict(zip(cells, (shares * 10**6).astype(int).tolist(), strict=True))), "1")
    held = Counter()
    for counts in r.multinomial(400, shares, 400).tolist():
        drawn = Confusion(dict(zip(cells, counts, strict=True)))
        tp, fp, fn, tn = counts
        found = {
            "f1": uncertainty.f1(tp, fp, fn),
            "balanced_accuracy": uncertainty.mean_of_rates([(tp, tp + fn), (tn, fp + tn)]),
            "mcc": uncertainty.jackknife(drawn, matthews, (-1.0,))[0],
        }
        for name, (low, high) in found.items():
            held[name] += low <= getattr(truth, name) <= high
    assert all(0.92 <= count / 400 <= 0.985 for count in held.values()), held


def test_intervals_of_means_hold_the_truth_as_often_as_they_say():
    r = np.random.default_rng(13)
    layout = bins.error_layout(10)
    held = Counter()
    for _ in range(300):
        e = r.normal(0.5, 2, 400)
        places, amounts = bins.codes(layout, e), bins.quanta(e, layout.digits)
        sums: dict[int, int] = {}
        for place, amount in zip(places.tolist(), amounts.tolist(), strict=True):
            sums[place] = sums.get(place, 0) + amount
        low, high = uncertainty.of_mean(moments(e))
        held["bias"] += low <= 0.5 <= high
        low, high = uncertainty.of_rmse(moments(e), Histogram(layout, dict(Counter(places.tolist())), sums))
        held["rmse"] += low <= math.sqrt(4.25) <= high
    assert all(0.905 <= count / 300 <= 0.985 for count in held.values()), held


def test_the_interval_of_auc_holds_the_truth_as_often_as_it_says():
    r = np.random.default_rng(14)
    logistic = lambda x: 1 / (1 + np.exp(-x))  # noqa: E731 - two lines of arithmetic
    true = metrics.roc_auc_score(np.repeat([0, 1], 10**5), logistic(np.concatenate(
        [r.normal(0, 1, 10**5), r.normal(1, 1, 10**5)])))  # fmt: skip
    held = 0
    for _ in range(300):
        low, high = scores.auc_interval(scored(logistic(r.normal(0, 1, 80))), scored(logistic(r.normal(1, 1, 40))))
        held += low <= true <= high
    assert 0.92 <= held / 300 <= 0.99


def test_nothing_is_certain_where_nothing_varies():
    right = Confusion({("1", "1"): 10, ("0", "0"): 10})
    assert uncertainty.jackknife(right, matthews, (-1.0,)) == (None,)
    assert uncertainty.f1(0, 0, 0) is None
    assert uncertainty.f1(10, 0, 0)[0] < 0.9
    assert uncertainty.mean_of_rates([(3, 3), (0, 0)]) is None
    assert uncertainty.of_mean(moments([2, 2, 2])) is None
    assert uncertainty.of_mean(moments([2])) is None
    assert scores.auc_interval(scored(np.array([0.1])), scored(np.array([0.9, 0.8]))) is None
    assert scores.auc_interval(scored(np.array([0.1, 0.1])), scored(np.array([0.9, 0.9]))) is None
