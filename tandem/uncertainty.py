"""How far a measure of quality may lie from the truth, from the same counts and sums: 95 % intervals.

A ratio has Wilson's (`slo.wilson`). None where nothing honest can be said, never an interval of no width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

from tandem.bins import MISSING, bounds
from tandem.records import Confusion, Histogram, Moments
from tandem.slo import Z95, wilson

if TYPE_CHECKING:
    from tandem.quality import Counts

Interval = tuple[float, float]
CELLS = 144
"""Most cells of a confusion matrix that are left out one by one."""


def f1(tp: int, fp: int, fn: int) -> Interval | None:
    """Interval of F1: it rises with TP / (TP + FP + FN) alone, 2j / (1 + j), whose Wilson interval it takes."""
    found = wilson(tp, tp + fp + fn)
    if found is None:
        return None
    low, high = found
    return 2 * low / (1 + low), 2 * high / (1 + high)


def mean_of_rates(rates: Sequence[Counts]) -> Interval | None:
    """Interval of the plain mean of independent ratios, such as balanced accuracy; None where one is not defined.

    Newcombe's (1998) hybrid of their Wilson intervals for a sum.
    """
    if not rates or not all(n for _, n in rates):
        return None
    centre = sum(k / n for k, n in rates) / len(rates)
    down = up = 0.0
    for k, n in rates:
        low, high = wilson(k, n) or (0.0, 1.0)
        down += (k / n - low) ** 2
        up += (high - k / n) ** 2
    return max(0.0, centre - math.sqrt(down) / len(rates)), min(1.0, centre + math.sqrt(up) / len(rates))


def jackknife(
    confusion: Confusion, measures: Callable[[Confusion], Sequence[float | None]], least: Sequence[float]
) -> tuple[Interval | None, ...]:
    """Intervals of any measures of a confusion matrix, each between its `least` and 1.

    Tukey's (1958) jackknife: leave out one prediction at a time; those of one cell are alike. None where a measure
    without one of them is not defined, where nothing varies, or over CELLS cells.
    """
    cells = {key: count for key, count in confusion.cells.items() if count}
    n, found = sum(cells.values()), measures(confusion)
    if n < 2 or len(cells) > CELLS:
        return (None,) * len(found)
    left = [(count, measures(Confusion({**cells, key: count - 1}))) for key, count in cells.items()]
    return tuple(
        _around(value, [(count, some[place]) for count, some in left], n, least[place])
        for place, value in enumerate(found)
    )


def _around(value: float | None, left: Sequence[tuple[int, float | None]], n: int, least: float) -> Interval | None:
    known = [(count, without) for count, without in left if without is not None]
    if value is None or len(known) < len(left):
        return None
    mean = sum(count * without for count, without in known) / n
    variance = (n - 1) / n * sum(count * (without - mean) ** 2 for count, without in known)
    if variance <= 1e-24:
        return None
    half = Z95 * math.sqrt(variance)
    return max(least, value - half), min(1.0, value + half)


def of_mean(moments: Moments) -> Interval | None:
    """Interval of a mean by the central limit: ± 1.96 standard errors from n, sum and squares, unit of the values.

    None for fewer than two values or where all are equal.
    """
    if moments.n < 2:
        return None
    quantum = Fraction(10) ** -moments.digits
    mean = moments.sum * quantum / moments.n
    variance = (moments.squares * quantum**2 - moments.n * mean**2) / (moments.n - 1)
    if variance <= 0:
        return None
    half = Z95 * math.sqrt(variance / moments.n)
    return float(mean) - half, float(mean) + half


def of_rmse(error: Moments, errors: Histogram) -> Interval | None:
    """Interval of RMSE: that of the mean square, whose own spread is read from the error's bins.

    None for fewer than two errors, without sums per bin, or where all squares are equal.
    """
    if error.n < 2 or errors.layout.digits is None:
        return None
    quantum = Fraction(10) ** -error.digits
    square = float(error.squares * quantum**2 / error.n)
    fourth = sum(n * _fourth(errors, place, n) for place, n in errors.counts.items() if n and place != MISSING)
    variance = fourth / error.n - square**2
    if variance <= 0:
        return None
    half = Z95 * math.sqrt(variance / error.n)
    return math.sqrt(max(0.0, square - half)), math.sqrt(square + half)


def _fourth(errors: Histogram, place: int, n: int) -> float:
    """The mean fourth power in a bin: around its exact mean as if even; in one around 0, at most its outer edge's."""
    low, high = bounds(errors.layout, place)
    inside = math.isfinite(low) and math.isfinite(high)
    if low < 0 < high:
        return max(-low, high) ** 4 if inside else 0.0
    mean = float(errors.sums.get(place, 0) * Fraction(10) ** -(errors.layout.digits or 0) / n)
    return mean**4 + (mean**2 * (high - low) ** 2 / 2 if inside else 0.0)
