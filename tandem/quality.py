"""Model quality from counts and sums; names and values are scikit-learn's."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tandem.records import Confusion, Moments

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
class Regression:
    """Quality of a regressor over `n` labelled predictions, in the unit of the target; error = predicted - true."""

    n: int
    mae: float | None = None
    rmse: float | None = None
    bias: float | None = None
    r2: float | None = None
    mape: float | None = None
    """Of the predictions whose true value is not 0, as a share of it; None where none is, or nobody counted."""
    left_out: int | None = None
    """Labelled predictions that MAPE leaves out, because their true value is 0 or next to it."""


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
class OneClass:
    """Counts of one class against all others; each rate as (have it, of), for its share and its Wilson interval."""

    name: str
    tp: int
    fp: int
    fn: int
    tn: int

    @property
    def support(self) -> int:
        """How many truly are of the class."""
        return self.tp + self.fn

    @property
    def precision(self) -> Counts:
        """Right ones of those predicted to be of the class."""
        return self.tp, self.tp + self.fp

    @property
    def recall(self) -> Counts:
        """Right ones of those that truly are (TPR)."""
        return self.tp, self.tp + self.fn

    @property
    def fpr(self) -> Counts:
        """Wrongly predicted of those that are not."""
        return self.fp, self.fp + self.tn

    @property
    def fnr(self) -> Counts:
        """Missed of those that truly are."""
        return self.fn, self.tp + self.fn

    @property
    def specificity(self) -> Counts:
        """Rightly not predicted of those that are not (TNR)."""
        return self.tn, self.fp + self.tn

    @property
    def f1(self) -> float | None:
        """2TP / (2TP + FP + FN); None where the class neither is nor is predicted."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn)


@dataclass(frozen=True, slots=True)
class Average:
    """Precision, recall and F1 over all classes that occur, a class without a rate counting 0 (zero_division=0)."""

    averaging: Literal["macro", "micro", "weighted"]
    precision: float
    recall: float
    f1: float


def classification(confusion: Confusion, positive: str | None = None) -> Classification:
    """Accuracy and the rest from counts per (actual, predicted) class; binary for `positive`, macro without."""
    classes = per_class(confusion)
    n = sum(confusion.cells.values())
    if not n:
        return Classification(0, None if positive is not None else "macro")
    right = sum(one.tp for one in classes)
    if positive is not None:
        mine = next((one for one in classes if one.name == positive), None)
        return _binary(mine or OneClass(positive, 0, 0, 0, n), right, n)
    return _macro(classes, right, n)


def per_class(confusion: Confusion) -> tuple[OneClass, ...]:
    """Every class that occurs, against all others, in the order of their names."""
    right: dict[str, int] = {}
    actual: dict[str, int] = {}
    predicted: dict[str, int] = {}
    for (truth, said), count in confusion.cells.items():
        if count:
            actual[truth] = actual.get(truth, 0) + count
            predicted[said] = predicted.get(said, 0) + count
            right[truth] = right.get(truth, 0) + (count if truth == said else 0)
    n = sum(actual.values())
    found = []
    for name in sorted({*actual, *predicted}):
        tp, of, named = right.get(name, 0), actual.get(name, 0), predicted.get(name, 0)
        found.append(OneClass(name, tp, named - tp, of - tp, n - of - named + tp))
    return tuple(found)


def averages(confusion: Confusion) -> tuple[Average, ...]:
    """Macro, micro and weighted averages over the classes; empty without labels.

    Macro: every class alike; micro: every prediction alike, all three equal accuracy; weighted: by support.
    """
    classes = per_class(confusion)
    n = sum(one.support for one in classes)
    if not n:
        return ()
    rows = [(_rate(one.precision), _rate(one.recall), one.f1 or 0.0, one.support) for one in classes]
    macro = (sum(row[place] for row in rows) / len(rows) for place in range(3))
    weighted = (sum(row[place] * row[3] for row in rows) / n for place in range(3))
    right = sum(one.tp for one in classes) / n
    return Average("macro", *macro), Average("micro", right, right, right), Average("weighted", *weighted)


def _rate(counts: Counts) -> float:
    return counts[0] / counts[1] if counts[1] else 0.0


def _binary(one: OneClass, right: int, n: int) -> Classification:
    tpr, fpr = _share(*one.recall), _share(*one.fpr)
    rest = OneClass("", one.tn, one.fn, one.fp, one.tp)
    return Classification(
        n=n,
        averaging=None,
        accuracy=right / n,
        precision=_share(*one.precision),
        recall=tpr,
        f1=one.f1,
        weighted_f1=_weighted_f1((one, rest), n),
        mcc=_mcc((one, rest), one.tp + one.tn, n),
        balanced_accuracy=None if tpr is None or fpr is None else (tpr + 1 - fpr) / 2,
        fpr=fpr,
        fnr=_share(*one.fnr),
    )


def _macro(classes: Sequence[OneClass], right: int, n: int) -> Classification:
    def mean_of(rate: Callable[[OneClass], Counts]) -> float:
        return sum(_rate(rate(one)) for one in classes) / len(classes)

    seen = [one.tp / one.support for one in classes if one.support]
    return Classification(
        n=n,
        averaging="macro",
        accuracy=right / n,
        precision=mean_of(lambda one: one.precision),
        recall=mean_of(lambda one: one.recall),
        f1=sum(one.f1 or 0.0 for one in classes) / len(classes),
        weighted_f1=_weighted_f1(classes, n),
        mcc=_mcc(classes, right, n),
        balanced_accuracy=sum(seen) / len(seen),
        fpr=mean_of(lambda one: one.fpr),
        fnr=1 - sum(seen) / len(seen),
    )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _weighted_f1(classes: Sequence[OneClass], n: int) -> float:
    return sum((one.f1 or 0.0) * one.support for one in classes) / n


def _mcc(classes: Sequence[OneClass], right: int, n: int) -> float | None:
    """Matthews correlation for any number of classes (Gorodkin 2004)."""
    actual = [one.support for one in classes]
    predicted = [one.tp + one.fp for one in classes]
    above = right * n - sum(a * p for a, p in zip(actual, predicted, strict=True))
    below = (n * n - sum(p * p for p in predicted)) * (n * n - sum(a * a for a in actual))
    return above / math.sqrt(below) if below else None


def mean(moments: Moments) -> float | None:
    """Sum / n in the unit of the values; None for n = 0."""
    return float(_sum(moments) / moments.n) if moments.n else None


def brier(moments: Moments) -> float | None:
    """Brier score, mean of (score - outcome)²; `moments` are of these squares."""
    return mean(moments)


def log_loss(moments: Moments) -> float | None:
    """Log loss in nats, mean of -ln(probability of the truth); `moments` are of these."""
    return mean(moments)


def regression(error: Moments, absolute: Moments, target: Moments, relative: Moments | None = None) -> Regression:
    """MAE, RMSE, bias, R² and MAPE from the moments of e = predicted - true, abs(e), the true values and abs(e / true).

    `relative` has only the predictions whose true value is not 0; None where the source does not state it.
    """
    n = error.n
    if not n:
        return Regression(0)
    return Regression(
        n=n,
        mae=mean(absolute),
        rmse=math.sqrt(_squares(error) / n),
        bias=mean(error),
        r2=_r2(error, target),
        mape=mean(relative) if relative is not None else None,
        left_out=n - relative.n if relative is not None else None,
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
