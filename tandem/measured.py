"""Every measure of a model's quality with its interval or bound, from what was counted of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from tandem import bins, quality, scores, uncertainty
from tandem.counted import Counted
from tandem.modelled import ClassRow, Interval, Measure, Unit
from tandem.quality import Counts, OneClass
from tandem.records import Confusion, Moments
from tandem.slo import wilson

WILSON = "Wilson, 95 %"
TWO_WILSON = "Newcombe's hybrid of Wilson intervals, 95 %"
JACKKNIFE = "jackknife, 95 %"
CENTRAL = "central limit, 95 %"
TITLES: Mapping[str, str] = {
    "accuracy": "Accuracy", "precision": "Precision", "recall": "Recall", "fpr": "False positive rate",
    "fnr": "False negative rate", "balanced_accuracy": "Balanced accuracy", "f1": "F1", "mcc": "MCC",
    "macro_precision": "Macro precision", "macro_recall": "Macro recall", "macro_f1": "Macro F1",
    "micro_f1": "Micro F1", "weighted_precision": "Weighted precision", "weighted_recall": "Weighted recall",
    "weighted_f1": "Weighted F1", "roc_auc": "ROC AUC", "brier": "Brier score", "log_loss": "Log loss",
    "ece": "Calibration error (ECE)", "mae": "Mean absolute error", "rmse": "RMSE", "bias": "Bias", "mape": "MAPE",
    "r2": "R²", "value": "Business value",
}  # fmt: skip
LABELLED = "labelled predictions"
FEW = "no interval: too few, too many classes, or all alike"


@dataclass(frozen=True)
class Worth:
    """What one prediction of each (actual, predicted) cell is worth, in `currency`; a cell left out is worth 0."""

    currency: str
    cells: Mapping[tuple[str, str], Fraction]


def measures(found: Counted, worth: Worth | None = None) -> tuple[Measure, ...]:
    """All that the task of a model has, in the order of a reader: what is right first, then how far the scores are."""
    if found.task == "regression":
        return tuple(_regression(found))
    made = list(_classes(found)) if found.confusion.cells else []
    if found.task == "binary":
        made += _scored(found)
    if worth is not None and found.confusion.cells:
        made.append(_worth(found.confusion, worth))
    return tuple(made)


def classes(confusion: Confusion) -> tuple[ClassRow, ...]:
    """Every class that occurs against all others."""
    return tuple(
        ClassRow(one.name, one.precision, wilson(*one.precision), one.recall, wilson(*one.recall), one.f1,
                 uncertainty.f1(one.tp, one.fp, one.fn))
        for one in quality.per_class(confusion)
    )  # fmt: skip


def _made(
    name: str, value: float | None, unit: Unit, n: int, of: str, interval: Interval | None = None, how: str = "",
    good: int | None = None,
) -> Measure:  # fmt: skip
    return Measure(name, TITLES[name], value, unit, n, of, interval, how, good)


def _ratio(name: str, counts: Counts, of: str) -> Measure:
    good, n = counts
    how = WILSON if n else f"not defined: there are no {of}"
    return _made(name, good / n if n else None, "share", n, of, wilson(good, n), how, good if n else None)


def _classes(found: Counted) -> Iterator[Measure]:
    confusion = found.confusion
    every = quality.per_class(confusion)
    n = sum(one.support for one in every)
    yield _ratio("accuracy", (sum(one.tp for one in every), n), LABELLED)
    if found.task == "binary":
        mine = next((one for one in every if one.name == found.positive), OneClass(found.positive, 0, 0, 0, n))
        yield from _binary(confusion, mine, n)
    else:
        yield from _several(confusion, every, n)


def _binary(confusion: Confusion, one: OneClass, n: int) -> Iterator[Measure]:
    rates = (("precision", one.precision, f"predicted {one.name}"), ("recall", one.recall, f"truly {one.name}"),
             ("fpr", one.fpr, f"truly not {one.name}"), ("fnr", one.fnr, f"truly {one.name}"))  # fmt: skip
    for name, counts, of in rates:
        yield _ratio(name, counts, of)
    summary = quality.classification(confusion, one.name)
    how = TWO_WILSON if summary.balanced_accuracy is not None else "not defined: one class never occurs"
    yield _made("balanced_accuracy", summary.balanced_accuracy, "share", n, LABELLED,
                uncertainty.mean_of_rates((one.recall, one.specificity)), how)  # fmt: skip
    yield _made("f1", summary.f1, "score", one.tp + one.fp + one.fn, f"predicted or truly {one.name}",
                uncertainty.f1(one.tp, one.fp, one.fn), "from the Wilson interval of TP/(TP+FP+FN), 95 %")  # fmt: skip
    yield _matthews(confusion, summary.mcc, n, one.name)


def _matthews(confusion: Confusion, value: float | None, n: int, positive: str | None) -> Measure:
    (interval,) = uncertainty.jackknife(confusion, lambda some: (quality.classification(some, positive).mcc,), (-1.0,))
    how = "not defined: one class only" if value is None else JACKKNIFE if interval else FEW
    return _made("mcc", value, "score", n, LABELLED, interval, how)


def _several(confusion: Confusion, every: tuple[OneClass, ...], n: int) -> Iterator[Measure]:
    """Averages are always named: macro (every class alike), micro (every prediction alike), weighted (by support)."""
    macro, micro, weighted = quality.averages(confusion)
    right = sum(one.tp for one in every)
    as_accuracy = f"{WILSON}; equal to accuracy"
    summary = quality.classification(confusion)
    f1_macro, f1_weighted, mcc = uncertainty.jackknife(confusion, _left_out, (0.0, 0.0, -1.0))
    yield _hybrid("macro_precision", macro.precision, [one.precision for one in every], n)
    yield _hybrid("macro_recall", macro.recall, [one.recall for one in every], n)
    yield _jackknifed("macro_f1", macro.f1, n, f1_macro)
    yield _made("micro_f1", micro.f1, "share", n, LABELLED, wilson(right, n), as_accuracy, right)
    yield _made("weighted_precision", weighted.precision, "share", n, LABELLED, None, "weighted by support")
    yield _made("weighted_recall", weighted.recall, "share", n, LABELLED, wilson(right, n), as_accuracy, right)
    yield _jackknifed("weighted_f1", weighted.f1, n, f1_weighted)
    yield _hybrid("balanced_accuracy", summary.balanced_accuracy, [one.recall for one in every if one.support], n)
    yield _jackknifed("mcc", summary.mcc, n, mcc)


def _left_out(some: Confusion) -> tuple[float | None, ...]:
    """The measures whose intervals come from leaving predictions out."""
    means = {one.averaging: one.f1 for one in quality.averages(some)}
    return means.get("macro"), means.get("weighted"), quality.classification(some).mcc


def _hybrid(name: str, value: float | None, rates: list[Counts], n: int) -> Measure:
    interval = uncertainty.mean_of_rates(rates)
    how = TWO_WILSON if interval else "no interval: a class was never predicted, or never occurs"
    return _made(name, value, "share", n, LABELLED, interval, how)


def _jackknifed(name: str, value: float | None, n: int, interval: Interval | None) -> Measure:
    how = "not defined: one class only" if value is None else JACKKNIFE if interval else FEW
    return _made(name, value, "score", n, LABELLED, interval, how)


def _scored(found: Counted) -> Iterator[Measure]:
    sides = found.sides
    if sides is not None:
        auc = scores.roc_auc(*sides)
        n = bins.total(sides[0]) + bins.total(sides[1])
        if n:
            bounded = f"DeLong, 95 %, with ± {auc.bound:.2g} for ties inside bins" if auc else ""
            how = bounded or "not defined: one class has no score"
            yield _made("roc_auc", auc.value if auc else None, "score", n, "labelled scores",
                        scores.auc_interval(*sides), how)  # fmt: skip
    for name, unit in (("brier", "score"), ("log_loss", "nats")):
        moments = found.losses.get(name)
        if moments is not None and moments.n:
            yield _mean(name, moments, "nats" if unit == "nats" else "score", "labelled scores")
    error = scores.ece(*sides) if sides is not None else None
    if error is not None and sides is not None:
        chance = scores.ece_by_chance(*sides) or 0.0
        how = f"a perfectly calibrated model would show about {chance:.2g} by chance"
        yield _made("ece", error, "score", n, "labelled scores", None, how)


def _mean(name: str, moments: Moments, unit: Unit, of: str) -> Measure:
    interval = uncertainty.of_mean(moments)
    return _made(name, quality.mean(moments), unit, moments.n, of, interval,
                 CENTRAL if interval else FEW)  # fmt: skip


def _regression(found: Counted) -> Iterator[Measure]:
    error, absolute, target = (found.errors.get(name, Moments()) for name in ("error", "absolute", "target"))
    if not error.n:
        return
    summary = quality.regression(error, absolute, target, found.relative)
    yield _mean("mae", absolute, "target", LABELLED)
    interval = uncertainty.of_rmse(error, found.error) if found.error is not None else None
    how = f"{CENTRAL}, its spread from the bins of the error" if interval else FEW
    yield _made("rmse", summary.rmse, "target", error.n, LABELLED, interval, how)
    yield _mean("bias", error, "target", LABELLED)
    yield from _relative(found, summary)
    yield _made("r2", summary.r2, "number", error.n, LABELLED, None,
                "" if summary.r2 is not None else "not defined: the true values do not vary")  # fmt: skip


def _relative(found: Counted, summary: quality.Regression) -> Iterator[Measure]:
    if summary.left_out is None:
        return
    relative = found.relative or Moments()
    left = f"{summary.left_out:,} with a true value of 0 left out".replace(",", "\u202f")
    if not relative.n:
        yield _made("mape", None, "share", 0, "true values other than 0", None, f"not defined: {left}")
        return
    one = _mean("mape", relative, "share", "true values other than 0")
    how = f"{one.how}; {left}" if summary.left_out else one.how
    yield _made("mape", one.value, "share", one.n, one.of, one.interval, how)


def _worth(confusion: Confusion, worth: Worth) -> Measure:
    n = sum(confusion.cells.values())
    value = float(quality.business_value(confusion, worth.cells))
    per = _per_prediction(confusion, worth)
    interval = None if per is None else (per[0] * n, per[1] * n)
    how = CENTRAL if interval else "every prediction is worth the same"
    return Measure("value", f"Business value, {worth.currency}", value, "money", n, LABELLED, interval, how)


def _per_prediction(confusion: Confusion, worth: Worth) -> Interval | None:
    """Interval of the mean worth of one prediction."""
    digits = 6
    each = [(count, round(worth.cells.get(cell, Fraction(0)) * 10**digits)) for cell, count in confusion.cells.items()]
    return uncertainty.of_mean(
        Moments(sum(count for count, _ in each), sum(count * one for count, one in each),
                sum(count * one * one for count, one in each), digits)
    )  # fmt: skip
