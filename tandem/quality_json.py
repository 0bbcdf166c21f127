"""The key `quality` of `tandem show --json`: the fixed keys, then everything else that is known of a model."""

from __future__ import annotations

from typing import Any

from tandem import fairness, judged, measured, quality, scores, slo, times
from tandem.counted import Counted, counted
from tandem.measure import Measures
from tandem.modelled import Calibration, ClassRow, Fair, Labels, Measure, Modelled

FIXED = ("accuracy", "precision", "recall", "f1", "averaging", "roc_auc", "mae", "rmse", "bias", "r2")
MORE = ("balanced_accuracy", "fpr", "fnr", "mcc", "weighted_f1", "brier", "log_loss", "ece", "mape")
_AVERAGED = {"precision": "macro_precision", "recall": "macro_recall", "f1": "macro_f1"}


def answer(
    measures: Measures, component: str, found: Counted | None = None, model: Modelled | None = None
) -> dict[str, Any]:
    """The quality of a model over the window; null where something cannot be computed, never 0."""
    found = found or counted(measures, component)
    worth = judged.worth_of(measures, component)
    made = {one.name: one for one in (model.measures if model else measured.measures(found, worth))}
    labels = model.labels if model else judged.labels(measures, found)
    macro = found.task == "multiclass" and bool(found.confusion.cells)
    named = {name: made.get(_AVERAGED.get(name, name) if macro else name) for name in (*FIXED, *MORE)}
    return {
        "task": found.task,
        "predictions": found.volume.total or None,
        "labels": found.labelled,
        "label_coverage": found.coverage.good / found.coverage.total if found.coverage.total else None,
        **{name: one.value if one is not None else None for name, one in named.items()},
        "averaging": "macro" if macro else None,
        "roc_auc": _auc(found),
        "positive": found.positive if found.task == "binary" else None,
        "mape_left_out": _left_out(found),
        "value": _worth(made.get("value"), worth),
        "intervals": {name: _interval(one) for name, one in named.items() if one is not None and one.interval},
        "label_maturity": _labels(labels, found),
        "classes": [_class(one) for one in measured.classes(found.confusion)],
        "averages": [
            {"averaging": one.averaging, "precision": one.precision, "recall": one.recall, "f1": one.f1}
            for one in quality.averages(found.confusion)
        ],
        "segments": _segments(found),
        "calibration": _calibration(model.calibration if model else judged.calibration(found)),
        "fairness": [row for one in (model.fairness if model else judged.fair(measures, found)) for row in _fair(one)],
    }


def _interval(one: Measure) -> dict[str, Any]:
    low, high = one.interval or (None, None)
    return {"low": low, "high": high, "n": one.n, "of": one.of, "method": one.how}


def _auc(found: Counted) -> dict[str, Any] | None:
    auc = scores.roc_auc(*found.sides) if found.task == "binary" and found.sides is not None else None
    return {"value": auc.value, "bound": auc.bound} if auc else None


def _left_out(found: Counted) -> int | None:
    error, relative = found.errors.get("error"), found.relative
    return error.n - relative.n if error is not None and relative is not None else None


def _worth(one: Measure | None, worth: measured.Worth | None) -> dict[str, Any] | None:
    if one is None or worth is None:
        return None
    low, high = one.interval or (None, None)
    return {"amount": one.value, "currency": worth.currency, "low": low, "high": high, "n": one.n}


def _labels(labels: Labels, found: Counted) -> dict[str, Any] | None:
    if not found.coverage.total:
        return None
    return {
        "mature_until": times.text(labels.mature),
        "plateau": labels.plateau,
        "by_age": [{"from_hours": low // 3600, "to_hours": high // 3600, "labels": good, "predictions": total,
                    "coverage": good / total} for low, high, good, total in labels.by_age],
        "age_seconds": dict(labels.ages) if labels.ages else None,
        "age_labels": labels.aged,
    }  # fmt: skip


def _class(one: ClassRow) -> dict[str, Any]:
    return {
        "class": one.name, "support": one.recall[1], "predicted": one.precision[1], "right": one.recall[0],
        "precision": _of(one.precision), "precision_interval": _ends(one.precision_interval),
        "recall": _of(one.recall), "recall_interval": _ends(one.recall_interval),
        "f1": one.f1, "f1_interval": _ends(one.f1_interval),
    }  # fmt: skip


def _of(counts: tuple[int, int]) -> float | None:
    return counts[0] / counts[1] if counts[1] else None


def _ends(interval: tuple[float, float] | None) -> list[float] | None:
    return list(interval) if interval else None


def _segments(found: Counted) -> list[dict[str, Any]]:
    rows = []
    for segment, confusion in sorted(found.segments.items()):
        right = sum(n for (actual, predicted), n in confusion.cells.items() if actual == predicted)
        total = sum(confusion.cells.values())
        rows.append({"segment": segment, "good": right, "total": total, "accuracy": _of((right, total)),
                     "interval": _ends(slo.wilson(right, total))})  # fmt: skip
    return rows


def _calibration(curve: Calibration | None) -> list[dict[str, Any]]:
    return [{"score": one.score, "share": one.share, "positives": one.positives, "n": one.n,
             "interval": list(one.interval)} for one in (curve.points if curve else ())]  # fmt: skip


def _fair(one: Fair) -> list[dict[str, Any]]:
    return [
        {
            "column": one.column, "class": one.positive, "gap": gap.name, "rate": fairness.NAMES[gap.name],
            "value": gap.value, "ratio": gap.ratio, "interval": list(gap.interval), "p": gap.p,
            "high": {"group": gap.high, "count": gap.counts[0][0], "of": gap.counts[0][1]},
            "low": {"group": gap.low, "count": gap.counts[1][0], "of": gap.counts[1][1]},
            "verdict": "gap" if stands else "not enough data",
            "groups": [{"group": rate.group, "count": rate.counts[0], "of": rate.counts[1], "rate": rate.value,
                        "interval": list(rate.interval)} for rate in gap.groups],
            "sure": None if gap.sure is None else {"high": gap.sure.high, "low": gap.sure.low,
                                                   "value": gap.sure.value, "interval": list(gap.sure.interval)},
        }
        for gap, stands in zip(one.gaps, one.stands, strict=True)
    ]  # fmt: skip
