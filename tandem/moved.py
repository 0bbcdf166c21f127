"""Labels and answers of two sides of a model: label drift, and concept drift where answers get worse alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tandem import drift, drift_row, wording
from tandem.bins import Layout
from tandem.records import Confusion, Histogram, Moments, merged
from tandem.shown import FeatureDrift
from tandem.slo import Z95, newcombe

if TYPE_CHECKING:
    from tandem.apart import Side

JUDGED = 0.5
"""Share of the features that must have rows enough before it is said that none of them moved."""


def confusion(side: Side) -> Confusion:
    """Labelled predictions of a side per (actual, predicted)."""
    measures, component = side.measures, side.component
    rows = measures.merges("confusion", component, "outcome", measures.series(component, "outcome"))
    parts = [measures.value("confusion", kept, cells) for kept, cells in rows]
    return merged(Confusion({}), [part for part in parts if isinstance(part, Confusion)])


def moments(side: Side, name: str) -> Moments:
    """Moments of a regression: of its "target", or of its "absolute" errors."""
    measures, component = side.measures, side.component
    rows = measures.merges("moments", component, "error", measures.series(component, "error", name))
    parts = [measures.value("moments", kept, cells) for kept, cells in rows]
    return merged(Moments(), [part for part in parts if isinstance(part, Moments)])


def labels(current: Side, reference: Side) -> tuple[FeatureDrift, drift.Comparison] | None:
    """The row of the labels; None for a model that has none on either side."""
    was, there = classes(current, reference)
    if was.layout.values:
        one = drift.compare(was, there)
        reason = drift_row.why(one) or _still(current)
        return drift_row.row(drift_row.LABEL, "label drift", one, was, there, reason), one
    now_target, then_target = moments(current, "target"), moments(reference, "target")
    if not now_target.n and not then_target.n:
        return None
    return _numbers(then_target, now_target)


def _actual(found: Confusion) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (actual, _), n in found.cells.items():
        counts[actual] = counts.get(actual, 0) + n
    return counts


def classes(current: Side, reference: Side) -> tuple[Histogram, Histogram]:
    """How often each class was the label, in the reference and on the current side."""
    then, now = _actual(confusion(reference)), _actual(confusion(current))
    layout = Layout(kind="categories", values=tuple(sorted({*then, *now})))
    place = {value: index for index, value in enumerate(layout.values)}
    was, there = (Histogram(layout, {place[value]: n for value, n in side.items()}, {}) for side in (then, now))
    return was, there


def _still(side: Side) -> str:
    """What to know of labels that are not all there yet."""
    mature = side.measures.mature(side.component)
    if mature < side.measures.window.until:
        return "labels of the newest predictions are still arriving"
    return ""


def _numbers(then: Moments, now: Moments) -> tuple[FeatureDrift, drift.Comparison]:
    one = drift.Comparison("number", then.n, now.n)
    told = " and ".join(f"{_mean(side):.4g} ± {_deviation(side):.3g} {name}"
                        for side, name in ((then, "in the reference"), (now, "in the window")) if side.n)  # fmt: skip
    reason = f"of a regression's labels only mean and deviation are kept: {told}"
    empty = Histogram(Layout(), {}, {})
    return drift_row.row(drift_row.LABEL, "label drift", one, empty, empty, reason), one


def _mean(side: Moments) -> float:
    return side.sum / side.n * 10.0**-side.digits


def _deviation(side: Moments) -> float:
    return math.sqrt(max(side.n * side.squares - side.sum**2, 0)) / side.n * 10.0**-side.digits


# -- concept drift


def concept(current: Side, reference: Side, rows: Sequence[FeatureDrift]) -> str:
    """A sentence where the model answers worse beyond its interval while its features hold; "" without the evidence."""
    features = [row for row in rows if row.drift == "data drift"]
    judged = [row for row in features if row.verdict != "not enough data"]
    if not judged or len(judged) < JUDGED * len(features) or any(row.verdict == "drift" for row in judged):
        return ""
    worse = _less_right(current, reference) or _further_off(current, reference)
    if not worse:
        return ""
    left = len(features) - len(judged)
    beside = f" ({left} more have too few rows)" if left else ""
    held = "its feature's data hold" if len(judged) == 1 else f"the data of its {len(judged)} features hold"
    return f"Concept drift: {worse} while {held}{beside}: what the labels are for the same data has changed."


def _less_right(current: Side, reference: Side) -> str:
    (k1, n1), (k0, n0) = (_right(confusion(side)) for side in (current, reference))
    interval = newcombe(k1, n1, k0, n0) if n0 and n1 else None
    if interval is None or interval[1] >= 0:
        return ""
    change = 100 * (k1 / n1 - k0 / n0)
    low, high = (100 * value for value in interval)
    return (
        f"accuracy fell from {wording.percent(k0, n0)} to {wording.percent(k1, n1)} ({change:.2f} points, "
        f"95 % interval {low:.2f} to {high:.2f})"
    )


def _right(found: Confusion) -> tuple[int, int]:
    return sum(n for (actual, said), n in found.cells.items() if actual == said), sum(found.cells.values())


def _further_off(current: Side, reference: Side) -> str:
    now, then = moments(current, "absolute"), moments(reference, "absolute")
    if now.n < 2 or then.n < 2:
        return ""
    change = _mean(now) - _mean(then)
    half = Z95 * math.sqrt(_deviation(now) ** 2 / now.n + _deviation(then) ** 2 / then.n)
    if change - half <= 0:
        return ""
    return (
        f"the mean absolute error rose from {_mean(then):.4g} to {_mean(now):.4g} (by {change:.3g}, "
        f"95 % interval {change - half:.3g} to {change + half:.3g})"
    )
