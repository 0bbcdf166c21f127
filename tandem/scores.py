"""What the score histograms of a binary classifier say: ROC AUC, calibration, and quality at any threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from tandem.bins import MISSING, Layout, aligned, bounds, total
from tandem.slo import Z95, wilson

if TYPE_CHECKING:
    from tandem.records import Histogram

Span = tuple[int, int]
"""A count that the bins do not tell apart: certainly the first, possibly the second."""


@dataclass(frozen=True, slots=True)
class Auc:
    """Area under the ROC curve from bins: the exact value lies within `value` ± `bound` (ties inside bins)."""

    value: float
    bound: float


@dataclass(frozen=True, slots=True)
class Point:
    """Some scores of a calibration curve: `positives` of `n` were positive, their mean score was `score`.

    Scores in [low, high); `interval` is Wilson's of the observed share.
    """

    low: float
    high: float
    score: float
    positives: int
    n: int
    interval: tuple[float, float]

    @property
    def share(self) -> float:
        """The observed share of positives."""
        return self.positives / self.n


@dataclass(frozen=True, slots=True)
class WhatIf:
    """Counts if every score at or above `threshold` were called positive; exact where it is an edge of the bins.

    Each count is (certainly, possibly); `flagged` is of all `scored` predictions, labelled or not.
    """

    threshold: float
    tp: Span
    fp: Span
    positives: int
    negatives: int
    flagged: Span
    scored: int

    @property
    def exact(self) -> bool:
        """Whether no score lies in the bin that the threshold cuts."""
        return all(low == high for low, high in (self.tp, self.fp, self.flagged))

    def recall(self) -> tuple[float, float] | None:
        """Least and greatest recall; None without positives."""
        return _shares(self.tp, self.positives)

    def fpr(self) -> tuple[float, float] | None:
        """Least and greatest false positive rate; None without negatives."""
        return _shares(self.fp, self.negatives)

    def volume(self) -> tuple[float, float] | None:
        """Least and greatest share of predictions that would be flagged; None without scores."""
        return _shares(self.flagged, self.scored)

    def precision(self) -> tuple[float, float] | None:
        """Least and greatest precision; None where no labelled prediction can be flagged."""
        if not self.tp[1] + self.fp[1]:
            return None
        low = self.tp[0] / (self.tp[0] + self.fp[1]) if self.tp[0] + self.fp[1] else 0.0
        high = self.tp[1] / (self.tp[1] + self.fp[0]) if self.tp[1] + self.fp[0] else 1.0
        return low, high


def _shares(span: Span, whole: int) -> tuple[float, float] | None:
    return (span[0] / whole, span[1] / whole) if whole else None


def roc_auc(negative: Histogram, positive: Histogram) -> Auc | None:
    """ROC AUC from the scores of both classes: (pairs in the right order + ½ ties) / pairs, ± ½ ties / pairs.

    None while a class is empty. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    pairs = total(negative) * total(positive)
    if not pairs:
        return None
    below = twice = ties = 0
    for place in _places(negative, positive):
        here, there = negative.counts.get(place, 0), positive.counts.get(place, 0)
        twice += there * (2 * below + here)
        ties += there * here
        below += here
    return Auc(twice / (2 * pairs), ties / (2 * pairs))


def auc_interval(negative: Histogram, positive: Histogram) -> tuple[float, float] | None:
    """95 % interval of the ROC AUC: DeLong's (1988) from the placements in bins, widened by the bound of the ties.

    None with fewer than two of a class, or where no placement varies: then the data cannot tell. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    found = roc_auc(negative, positive)
    n, p = total(negative), total(positive)
    if found is None or n < 2 or p < 2:
        return None
    variance = _placement(positive, negative, found.value) / p + _placement(negative, positive, 1 - found.value) / n
    if variance <= 0:
        return None
    half = Z95 * math.sqrt(variance) + found.bound
    return max(0.0, found.value - half), min(1.0, found.value + half)


def _placement(mine: Histogram, other: Histogram, mean: float) -> float:
    """Sample variance, over `mine`, of the share of `other` that lies below (a tie counts half)."""
    whole, below, squares = total(other), 0, 0.0
    for place in _places(mine, other):
        here = other.counts.get(place, 0)
        squares += mine.counts.get(place, 0) * ((below + here / 2) / whole - mean) ** 2
        below += here
    return squares / (total(mine) - 1)


def _places(*histograms: Histogram) -> list[int]:
    return sorted({place for one in histograms for place in one.counts} - {MISSING})


def ece(negative: Histogram, positive: Histogram) -> float | None:
    """Expected calibration error over the score bins: sum of abs(sum of scores - positives) / N.

    None without labels or without sums per bin. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    n = total(negative) + total(positive)
    sums = _sums(negative, positive)
    if sums is None or not n:
        return None
    apart = (abs(sums[place] - positive.counts.get(place, 0)) for place in _places(negative, positive))
    return float(sum(apart, Fraction(0)) / n)


def ece_by_chance(negative: Histogram, positive: Histogram) -> float | None:
    """The ECE that a perfectly calibrated model would show on average with so many labels in these bins.

    Normal approximation of each bin's binomial: Σ sqrt(2/π · n·s·(1-s)) / N at its mean score s, at most what the bin
    can show. None as for `ece`.
    """
    negative, positive = aligned(negative, positive)
    n = total(negative) + total(positive)
    sums = _sums(negative, positive)
    if sums is None or not n:
        return None
    apart = 0.0
    for place in _places(negative, positive):
        here = negative.counts.get(place, 0) + positive.counts.get(place, 0)
        s = min(max(float(sums[place]) / here, 0.0), 1.0) if here else 0.0
        apart += min(math.sqrt(2 / math.pi * here * s * (1 - s)), 2 * here * s * (1 - s))
    return apart / n


def _sums(negative: Histogram, positive: Histogram) -> dict[int, Fraction] | None:
    """The sum of the scores in each bin; None where the source states none."""
    digits = positive.layout.digits
    if digits is None:
        return None
    quantum = Fraction(10) ** -digits
    return {place: (negative.sums.get(place, 0) + positive.sums.get(place, 0)) * quantum
            for place in _places(negative, positive)}  # fmt: skip


def calibration(negative: Histogram, positive: Histogram, most: int = 10) -> tuple[Point, ...]:
    """The calibration curve: neighbouring bins joined to at most `most` points of about equally many predictions.

    Empty without labels or without sums per bin. Raises NoSharedEdge.
    """
    negative, positive = aligned(negative, positive)
    sums = _sums(negative, positive)
    whole = total(negative) + total(positive)
    if sums is None or not whole:
        return ()
    found: list[Point] = []
    group: list[int] = []
    seen = done = 0
    places = [one for one in _places(negative, positive) if negative.counts.get(one, 0) + positive.counts.get(one, 0)]
    for place in places:
        group.append(place)
        seen += negative.counts.get(place, 0) + positive.counts.get(place, 0)
        if (seen - done) * most >= whole or place == places[-1]:
            found.append(_point(group, negative, positive, sums))
            group, done = [], seen
    return tuple(found)


def _point(group: Sequence[int], negative: Histogram, positive: Histogram, sums: Mapping[int, Fraction]) -> Point:
    k = sum(positive.counts.get(place, 0) for place in group)
    n = k + sum(negative.counts.get(place, 0) for place in group)
    low, high = bounds(positive.layout, group[0])[0], bounds(positive.layout, group[-1])[1]
    interval = wilson(k, n)
    assert interval is not None
    score = float(sum((sums[place] for place in group), Fraction(0)) / n)
    return Point(max(low, 0.0), min(high, 1.0), score, k, n, interval)


def at_threshold(
    negative: Histogram, positive: Histogram, unlabelled: Histogram | None, threshold: float
) -> WhatIf | None:
    """What a threshold would do; None without any score. Raises NoSharedEdge."""
    negative, positive = aligned(negative, positive)
    p, n = total(positive), total(negative)
    others = total(unlabelled) if unlabelled is not None else 0
    if not p + n + others:
        return None
    tp, fp = _above(positive, threshold), _above(negative, threshold)
    rest = _above(unlabelled, threshold) if unlabelled is not None else (0, 0)
    flagged = (tp[0] + fp[0] + rest[0], tp[1] + fp[1] + rest[1])
    return WhatIf(threshold, tp, fp, p, n, flagged, p + n + others)


def _above(histogram: Histogram, threshold: float) -> Span:
    """How many scores lie at or above a threshold: certainly, and possibly."""
    surely = possibly = 0
    for place, n in histogram.counts.items():
        if place == MISSING:
            continue
        low, high = bounds(histogram.layout, place)
        surely += n if low >= threshold else 0
        reaches = high > threshold if histogram.layout.closed == "left" else high >= threshold
        possibly += n if reaches else 0
    return surely, possibly


def thresholds(layout: Layout) -> tuple[float, ...]:
    """The thresholds that the bins answer exactly: their edges."""
    return layout.edges
