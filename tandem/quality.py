"""Model quality and fairness from counts and sums; names and values are scikit-learn's and Fairlearn's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

from tandem.bins import MISSING, aligned, total
from tandem.slo import newcombe

if TYPE_CHECKING:
    from tandem.records import Confusion, Histogram, Moments

Counts = tuple[int, int]
"""(good, total) of a segment."""


@dataclass(frozen=True, slots=True)
class Classification:
    """Quality of a classifier over `n` labelled predictions; None where a measure is not defined.

    Without `averaging`: of the positive class. With averaging "macro": the mean over the classes that occur, a class
    that was never predicted counting 0 in precision (scikit-learn's zero_division=0). Accuracy is also micro F1.
    """

    n: int
    averaging: Literal["macro"] | None
    accuracy: float | None = None
    precision: float | None = None
    recall: float | None = None
    f1: float | None = None
    weighted_f1: float | None = None
    mcc: float | None = None
    balanced_accuracy: float | None = None
    fpr: float | None = None
    fnr: float | None = None


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve from bins: the exact value lies within `value` ± `bound` (ties inside bins)."""

    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Regression:
    """Quality of a regressor over `n` labelled predictions, in the unit of the target; error = predicted - true."""

    n: int
    mae: float | None = None
    rmse: float | None = None
    bias: float | None = None
    r2: float | None = None


@dataclass(frozen=True, slots=True)
class Mix:
    """The exact parts of a change of a ratio: `mix` + `within` + `interaction` = `change`."""

    mix: Fraction
    within: Fraction
    interaction: Fraction

    @property
    def change(self) -> Fraction:
        """The whole change of the ratio."""
        return self.mix + self.within + self.interaction


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of a rate between groups, and the two groups that make it.

    `counts` has (with, of) for `high` and `low`; `interval` is Newcombe's, 95 % over all pairs of groups (Bonferroni).
    `certain` is False where it includes 0: not enough data, never red. `ratio` is low / high.
    """

    name: str
    value: float
    ratio: float | None
    high: str
    low: str
    counts: tuple[Counts, Counts]
    interval: tuple[float, float]
    certain: bool


@dataclass(frozen=True, slots=True)
class _Cells:
    """Counts of one class against all others."""

    tp: int
    fp: int
    fn: int
    tn: int


def classification(confusion: Confusion, positive: str | None = None) -> Classification:
    """Accuracy and the rest from counts per (actual, predicted) class; binary for `positive`, macro without."""
    cells = confusion.cells
    n = sum(cells.values())
    if not n:
        return Classification(0, None if positive is not None else "macro")
    right = sum(count for (actual, predicted), count in cells.items() if actual == predicted)
    classes = sorted({name for pair, count in cells.items() if count for name in pair})
    per_class = {name: _against_rest(confusion, name) for name in classes}
    if positive is not None:
        return _binary(per_class.get(positive) or _Cells(0, 0, 0, n), right, n)
    return _macro(list(per_class.values()), right, n)


def _against_rest(confusion: Confusion, name: str) -> _Cells:
    tp = fp = fn = tn = 0
    for (actual, predicted), count in confusion.cells.items():
        tp += count if actual == name == predicted else 0
        fp += count if predicted == name != actual else 0
        fn += count if actual == name != predicted else 0
        tn += count if name not in (actual, predicted) else 0
    return _Cells(tp, fp, fn, tn)


def _binary(one: _Cells, right: int, n: int) -> Classification:
    tpr, fpr = _share(one.tp, one.tp + one.fn), _share(one.fp, one.fp + one.tn)
    rest = _Cells(one.tn, one.fn, one.fp, one.tp)
    return Classification(
        n=n,
        averaging=None,
        accuracy=right / n,
        precision=_share(one.tp, one.tp + one.fp),
        recall=tpr,
        f1=_f1(one),
        weighted_f1=_weighted_f1([one, rest], n),
        mcc=_mcc([one, rest], one.tp + one.tn, n),
        balanced_accuracy=None if tpr is None or fpr is None else (tpr + 1 - fpr) / 2,
        fpr=fpr,
        fnr=_share(one.fn, one.tp + one.fn),
    )


def _macro(classes: list[_Cells], right: int, n: int) -> Classification:
    def mean(rate: Callable[[_Cells], float | None]) -> float:
        return sum(rate(one) or 0.0 for one in classes) / len(classes)

    seen = [one.tp / (one.tp + one.fn) for one in classes if one.tp + one.fn]
    recall = mean(lambda one: _share(one.tp, one.tp + one.fn))
    return Classification(
        n=n,
        averaging="macro",
        accuracy=right / n,
        precision=mean(lambda one: _share(one.tp, one.tp + one.fp)),
        recall=recall,
        f1=mean(_f1),
        weighted_f1=_weighted_f1(classes, n),
        mcc=_mcc(classes, right, n),
        balanced_accuracy=sum(seen) / len(seen),
        fpr=mean(lambda one: _share(one.fp, one.fp + one.tn)),
        fnr=1 - sum(seen) / len(seen),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _f1(one: _Cells) -> float | None:
    return _share(2 * one.tp, 2 * one.tp + one.fp + one.fn)


def _weighted_f1(classes: list[_Cells], n: int) -> float:
    return sum((_f1(one) or 0.0) * (one.tp + one.fn) for one in classes) / n


def _mcc(classes: list[_Cells], right: int, n: int) -> float | None:
    """Matthews correlation for any number of classes (Gorodkin 2004)."""
    actual = [one.tp + one.fn for one in classes]
    predicted = [one.tp + one.fp for one in classes]
    above = right * n - sum(a * p for a, p in zip(actual, predicted, strict=True))
    below = (n * n - sum(p * p for p in predicted)) * (n * n - sum(a * a for a in actual))
    return above / math.sqrt(below) if below else None


def roc_auc(negative: Histogram, positive: Histogram) -> Auc | None:
    """ROC AUC from the scores of both classes: (pairs in the right order + ½ ties) / pairs, ± ½ ties / pairs.

    None while a class is empty. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    pairs = total(negative) * total(positive)
    if not pairs:
        return None
    below = twice = ties = 0
    for place in sorted({*negative.counts, *positive.counts} - {MISSING}):
        here, there = negative.counts.get(place, 0), positive.counts.get(place, 0)
        twice += there * (2 * below + here)
        ties += there * here
        below += here
    return Auc(twice / (2 * pairs), ties / (2 * pairs))


def ece(negative: Histogram, positive: Histogram) -> float | None:
    """Expected calibration error over the score bins: sum of abs(sum of scores - positives) / N.

    None without labels or without sums per bin. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    digits, n = positive.layout.digits, total(negative) + total(positive)
    if digits is None or not n:
        return None
    quantum = Fraction(10) ** -digits
    places = {*negative.counts, *positive.counts} - {MISSING}
    apart = (
        abs((negative.sums.get(p, 0) + positive.sums.get(p, 0)) * quantum - positive.counts.get(p, 0)) for p in places
    )
    return float(sum(apart) / n)


def mean(moments: Moments) -> float | None:
    """Sum / n in the unit of the values; None for n = 0."""
    return float(_sum(moments) / moments.n) if moments.n else None


def brier(moments: Moments) -> float | None:
    """Brier score, mean of (score - outcome)²; `moments` are of these squares."""
    return mean(moments)


def log_loss(moments: Moments) -> float | None:
    """Log loss in nats, mean of -ln(probability of the truth); `moments` are of these."""
    return mean(moments)


def regression(error: Moments, absolute: Moments, target: Moments) -> Regression:
    """MAE, RMSE, bias and R² from the moments of e = predicted - true, abs(e) and the true values."""
    n = error.n
    if not n:
        return Regression(0)
    return Regression(
        n=n,
        mae=mean(absolute),
        rmse=math.sqrt(_squares(error) / n),
        bias=mean(error),
        r2=_r2(error, target),
    )


def _r2(error: Moments, target: Moments) -> float | None:
    if target.n != error.n:
        return None
    spread = _squares(target) - _sum(target) ** 2 / target.n
    return float(1 - _squares(error) / spread) if spread > 0 else None


def _sum(moments: Moments) -> Fraction:
    return moments.sum * Fraction(10) ** -moments.digits


def _squares(moments: Moments) -> Fraction:
    return moments.squares * Fraction(10) ** (-2 * moments.digits)


def mix(before: Mapping[str, Counts], after: Mapping[str, Counts]) -> Mix | None:
    """Whether a ratio changed because the segments' shares changed, or because the segments did.

    (good, total) per segment on both sides. mix = Σ (w1 - w0)·r0, within = Σ w0·(r1 - r0), interaction =
    Σ (w1 - w0)(r1 - r0). A segment that is on one side only is all mix. None when a side is empty.
    """
    n0, n1 = sum(n for _, n in before.values()), sum(n for _, n in after.values())
    if not n0 or not n1:
        return None
    parts = [Fraction(0)] * 3
    for segment in sorted({*before, *after}):
        (k0, t0), (k1, t1) = before.get(segment, (0, 0)), after.get(segment, (0, 0))
        if not t0 and not t1:
            continue
        w0, w1 = Fraction(t0, n0), Fraction(t1, n1)
        r0 = Fraction(k0, t0) if t0 else Fraction(k1, t1)
        r1 = Fraction(k1, t1) if t1 else r0
        for index, part in enumerate(((w1 - w0) * r0, w0 * (r1 - r0), (w1 - w0) * (r1 - r0))):
            parts[index] += part
    return Mix(*parts)


def business_value(confusion: Confusion, values: Mapping[tuple[str, str], Fraction]) -> Fraction:
    """Sum of count times value over the cells of a confusion matrix, in the currency of `values`."""
    return sum((count * values.get(cell, Fraction(0)) for cell, count in confusion.cells.items()), Fraction(0))


def fairness(groups: Mapping[str, Confusion], positive: str) -> dict[str, Gap]:
    """The fairness gaps between groups by their Fairlearn names; a gap with fewer than two groups to compare is absent.

    `demographic_parity_difference` of selection rates (its `ratio` is the demographic parity ratio),
    `equal_opportunity_difference` of true positive rates, `false_positive_difference`, `equalized_odds_difference`
    (the larger of the last two), `predictive_parity_difference` of precisions.
    """
    cells = {name: _against_rest(confusion, positive) for name, confusion in groups.items()}
    rates: dict[str, Callable[[_Cells], Counts]] = {
        "demographic_parity_difference": lambda one: (one.tp + one.fp, one.tp + one.fp + one.fn + one.tn),
        "equal_opportunity_difference": lambda one: (one.tp, one.tp + one.fn),
        "false_positive_difference": lambda one: (one.fp, one.fp + one.tn),
        "predictive_parity_difference": lambda one: (one.tp, one.tp + one.fp),
    }
    found = {name: _gap(name, {group: rate(one) for group, one in cells.items()}) for name, rate in rates.items()}
    gaps = {name: gap for name, gap in found.items() if gap is not None}
    odds = [gaps[name] for name in ("equal_opportunity_difference", "false_positive_difference") if name in gaps]
    if len(odds) == 2:
        gaps["equalized_odds_difference"] = max(odds, key=lambda gap: gap.value)
    return gaps


def _gap(name: str, rates: Mapping[str, Counts]) -> Gap | None:
    known = {group: (k, n) for group, (k, n) in rates.items() if n}
    if len(known) < 2:
        return None
    ordered = sorted(known, key=lambda group: (Fraction(*known[group]), group))
    low, high = ordered[0], ordered[-1]
    pairs = len(list(combinations(known, 2)))
    interval = newcombe(*known[high], *known[low], z=NormalDist().inv_cdf(1 - 0.025 / pairs))
    assert interval is not None
    top, bottom = Fraction(*known[high]), Fraction(*known[low])
    return Gap(
        name=name,
        value=float(top - bottom),
        ratio=float(bottom / top) if top else None,
        high=high,
        low=low,
        counts=(known[high], known[low]),
        interval=interval,
        certain=interval[0] > 0,
    )
