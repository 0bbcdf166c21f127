"""Distributions that a source knows at some points only, put onto the bins of a feature.

A sketch says of some values which share of all values lies below and up to each. Between two of them the share is
taken to rise in a straight line, so a count below an edge is off by at most the share that lies between the values
on either side of the edge, and the rank error of the sketch itself; `Sketch.doubt` says how much that is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from connectors._said import Said
from tandem.bins import CATEGORIES, MISSING, OTHER, Layout, digits_of, merge, quanta, total
from tandem.connect import Pull
from tandem.place import series_of
from tandem.records import Baseline, Histogram, Series

Array = np.ndarray[Any, Any]

ENOUGH = 1_000
"""Values from which the bins of a feature stay."""
REFERENCE = 7 * 86_400
"""Seconds from the first of the profiles that the bins and the reference of a feature are made of."""
FEW = 41
"""Points of a sketch that become edges themselves; of more, the usual quantiles do."""
POINTS = 512
"""Points of a sketch that are kept."""
_PERMILLE = (1, 5, 10, *range(50, 1000, 50), 990, 995, 999)


class Contradiction(ValueError):
    """A distribution that cannot be: shares that fall, counts below 0, bounds the wrong way round."""


@dataclass(frozen=True, eq=False)
class Sketch:
    """How n finite values lie: at each of `values` (ascending) the share of them `below` it and `upto` it.

    `most` is the largest share below, `least` the smallest share up to each value that the source's words allow;
    `error` is how far any share may be off because the source itself is a sketch.
    """

    n: int
    values: Array
    below: Array
    upto: Array
    most: Array
    least: Array
    error: float = 0.0

    def share_below(self, at: Array) -> Array:
        """The share of the values below each of `at`."""
        place = np.searchsorted(self.values, at, side="left")
        inside = np.clip(place, 0, len(self.values) - 1)
        low, high = self.values[np.maximum(inside - 1, 0)], self.values[inside]
        begin = np.where(inside > 0, self.upto[np.maximum(inside - 1, 0)], 0.0)
        width = np.where(high > low, high - low, 1.0)
        part = np.where(inside > 0, np.clip((at - low) / width, 0.0, 1.0), 1.0)
        risen = np.where(at >= high, self.below[inside], begin + (self.below[inside] - begin) * part)
        return np.where(at <= self.values[0], 0.0, np.where(place == len(self.values), 1.0, risen))

    def share_upto(self, at: Array) -> Array:
        """The share of the values at or below each of `at`."""
        return self.share_below(np.nextafter(at, np.inf))

    def doubt(self, at: Array) -> Array:
        """How far each of `share_below` may be off."""
        place = np.searchsorted(self.values, at, side="left")
        known = (place > 0) & (place < len(self.values))
        least = np.where(place > 0, self.least[np.clip(place - 1, 0, None)], 0.0)
        most = self.most[np.clip(place, None, len(self.values) - 1)]
        share = self.share_below(at)
        apart = np.maximum(np.maximum(share - least, most - share), 0.0)
        return np.where(known, np.minimum(apart + self.error, 1.0), 0.0)

    def sum_below(self, at: Array) -> Array:
        """The mean of all values times the share, of the values below each of `at` only."""
        steps = np.concatenate([[self.values[0]], (self.values[1:] + self.values[:-1]) / 2])
        rises = np.concatenate([[self.below[0]], self.below[1:] - self.upto[:-1]])
        atoms = (self.upto - self.below) * self.values
        up_to = np.cumsum(steps * rises + atoms)
        place = np.searchsorted(self.values, at, side="left")
        before = np.where(place > 0, up_to[np.maximum(place - 1, 0)], 0.0)
        begin = np.where(place > 0, self.upto[np.maximum(place - 1, 0)], 0.0)
        inside = (place > 0) & (place < len(self.values))
        middle = (self.values[np.clip(place - 1, 0, None)] + at) / 2
        return before + np.where(inside, (self.share_below(at) - begin) * middle, 0.0)

    def quantile(self, shares: Array) -> Array:
        """The smallest value that each of `shares` of the values lie at or below."""
        place = np.clip(np.searchsorted(self.upto, shares, side="left"), 0, len(self.values) - 1)
        low, high = self.values[np.maximum(place - 1, 0)], self.values[place]
        begin = self.upto[np.maximum(place - 1, 0)]
        width = np.where(self.below[place] > begin, self.below[place] - begin, 1.0)
        part = np.clip((shares - begin) / width, 0.0, 1.0)
        rising = (place > 0) & (shares < self.below[place])
        return np.where(rising, low + (high - low) * part, high)

    def thinned(self) -> Sketch:
        """The same with at most POINTS of its points; what lies between them stays bounded."""
        if len(self.values) <= POINTS:
            return self
        ranks = np.linspace(0.0, 1.0, POINTS)
        keep = np.unique(np.clip(np.searchsorted(self.upto, ranks), 0, len(self.values) - 1))
        keep = np.union1d(keep, [0, len(self.values) - 1])
        return replace(self, values=self.values[keep], below=self.below[keep], upto=self.upto[keep],
                       most=self.most[keep], least=self.least[keep])  # fmt: skip


# -- from what sources say


def of_quantiles(n: int, quantiles: Sequence[tuple[float, float]], error: float = 0.0) -> Sketch:
    """From (share, value) pairs with the least (share 0) and the greatest value (share 1).

    Where several shares have one value it is taken to reach half-way to the shares on either side.
    Raises Contradiction.
    """
    pairs = sorted(quantiles)
    shares, given = np.array([p for p, _ in pairs]), np.array([value for _, value in pairs], dtype=np.float64)
    _check(n, given)
    values, first, count = np.unique(given, return_index=True, return_counts=True)
    most, least = shares[first], shares[first + count - 1]
    before = np.concatenate([[0.0], least[:-1]])
    after = np.concatenate([most[1:], [1.0]])
    several = count > 1
    below = np.where(several & (first > 0), (before + most) / 2, most)
    upto = np.where(several & (first + count < len(given)), (least + after) / 2, least)
    below[0], upto[-1] = 0.0, 1.0
    return Sketch(n, values, below, upto, most, least, error)


def of_buckets(buckets: Sequence[tuple[float, float, float]], error: float = 0.0, n: int | None = None) -> Sketch:
    """From (lower, upper, count) of neighbouring buckets, each with its lower end and the last with both.

    Raises Contradiction.
    """
    table = np.array(sorted(buckets), dtype=np.float64).reshape(-1, 3)
    counts = table[:, 2]
    count = float(counts.sum())
    edges = np.concatenate([table[:1, 0], table[:, 1]])
    _check(round(count), edges)
    if (counts < 0).any() or not np.allclose(table[1:, 0], table[:-1, 1], rtol=1e-9, atol=1e-12):
        raise Contradiction("its buckets do not follow one another")
    shares = np.concatenate([[0.0], np.cumsum(counts) / count])
    values, first, several = np.unique(edges, return_index=True, return_counts=True)
    below, upto = shares[first], shares[first + several - 1]
    return Sketch(round(count) if n is None else n, values, below, upto, below, upto, error)


def of_items(n: int, items: Sequence[tuple[float, float]], error: float) -> Sketch:
    """From the (value, weight) pairs that a sketch has kept of n values. Raises Contradiction."""
    table = np.array(sorted(items), dtype=np.float64).reshape(-1, 2)
    _check(n, table[:, 0])
    values, first = np.unique(table[:, 0], return_index=True)
    weights = np.add.reduceat(table[:, 1], first)
    upto = np.cumsum(weights) / weights.sum()
    below = np.concatenate([[0.0], upto[:-1]])
    return Sketch(n, values, below, upto, below, upto, error).thinned()


def of_shares(n: int, values: Sequence[float], below: Sequence[float], upto: Sequence[float], error: float) -> Sketch:
    """From the shares below and up to each of some values, the least and the greatest among them.

    Raises Contradiction.
    """
    at, low, high = (np.array(one, dtype=np.float64) for one in (values, below, upto))
    _check(n, at)
    steps = np.column_stack([low, high]).ravel()
    if len(low) != len(at) or len(high) != len(at) or (np.diff(at) <= 0).any() or (np.diff(steps) < -1e-9).any():
        raise Contradiction("its shares do not rise with its values")
    steps = np.clip(np.maximum.accumulate(steps), 0.0, 1.0)
    low, high = steps[::2].copy(), steps[1::2].copy()
    low[0], high[-1] = 0.0, 1.0
    return Sketch(n, at, low, high, low, high, error).thinned()


def _check(n: int, values: Array) -> None:
    if n <= 0 or not len(values):
        raise Contradiction("it counts no value")
    if not np.isfinite(values).all():
        raise Contradiction("it holds what is no finite number")
    if (np.diff(values) < 0).any():
        raise Contradiction("its values fall where their shares rise")


def mixed(sketches: Sequence[Sketch]) -> Sketch:
    """All values of several sketches together."""
    if len(sketches) == 1:
        return sketches[0]
    count = sum(one.n for one in sketches)
    at = np.unique(np.concatenate([one.values for one in sketches]))
    below = sum(one.n / count * one.share_below(at) for one in sketches)
    upto = sum(one.n / count * one.share_upto(at) for one in sketches)
    low, high = np.asarray(below), np.asarray(upto)
    return Sketch(count, at, low, high, low, high, max(one.error for one in sketches)).thinned()


# -- onto bins


def layout_of(sketch: Sketch) -> Layout:
    """Bins for a feature, marked approximate: where the sketch has its points, of many at the usual quantiles."""
    at = sketch.values
    if len(at) > FEW:
        at = np.unique(sketch.quantile(np.array(_PERMILLE) / 1000))
    digits = digits_of(float(np.abs(sketch.values).max()))
    edges = [float(one) + 0.0 for one in at]
    if len(edges) == 1:
        edges.append(edges[0] + float(f"1e{-digits}"))
    return Layout(edges=tuple(edges), digits=digits, approximate=True)


def onto(sketch: Sketch, layout: Layout, missing: int = 0) -> Histogram:
    """The values on bins with edges: every count is rounded so that the counts below each edge are right to a half."""
    edges = np.array(layout.edges, dtype=np.float64)
    shares = np.concatenate([[0.0], sketch.share_below(edges), [1.0]])
    counts = np.diff(np.rint(shares * sketch.n)).astype(np.int64)
    found = {place: int(n) for place, n in enumerate(counts.tolist()) if n}
    sums: dict[int, int] = {}
    if layout.digits is not None:
        means = _means(sketch, edges, shares)
        amounts = quanta(counts * means, layout.digits)
        sums = {place: int(amounts[place]) for place in found if int(amounts[place])}
    if missing:
        found[MISSING] = missing
    return Histogram(layout, found, sums)


def _means(sketch: Sketch, edges: Array, shares: Array) -> Array:
    """The mean of the values in each bin, never outside of it."""
    whole = sketch.sum_below(np.nextafter(sketch.values[-1:], np.inf))[0]
    sums = np.diff(np.concatenate([[0.0], sketch.sum_below(edges), [whole]]))
    mass = np.diff(shares)
    low = np.concatenate([[min(float(sketch.values[0]), float(edges[0]))], edges])
    high = np.concatenate([edges, [max(float(sketch.values[-1]), float(edges[-1]))]])
    middle = (low + high) / 2
    return np.clip(np.where(mass > 0, sums / np.where(mass > 0, mass, 1.0), middle), low, high)


# -- which bins


@dataclass
class Rebinning:
    """The bins of one pull's features: those in force, or made of what the first profiles say."""

    pull: Pull
    said: Said
    common: Any
    made: dict[tuple[str, str, str], Layout] = field(default_factory=dict)
    provisional: bool = False
    """Whether some feature has too few values for bins that stay."""
    worst: dict[str, float] = field(default_factory=dict)
    settled: set[tuple[str, str, str]] = field(default_factory=set)
    """Features whose bins were made of enough values in this pull."""

    def learn(self, series: Series, sketches: Sequence[Sketch], since: int, until: int) -> Baseline | None:
        """Make the bins of a feature that has none from its first sketches; its reference where they are enough."""
        if not sketches or self._known(series) is not None:
            return None
        whole = mixed([one.thinned() for one in sketches])
        layout = self.made[self._key(series)] = layout_of(whole)
        if whole.n < ENOUGH:
            self.provisional = True
            return None
        self.settled.add(self._key(series))
        return Baseline(replace(series, version="", segment="", stage="production"), onto(whole, layout), since, until)

    def learn_texts(self, series: Series, histograms: Sequence[Histogram], since: int, until: int) -> Baseline | None:
        """The reference of a feature that has none and holds texts, once there are enough of them."""
        key = self._key(series)
        if not histograms or not key[0] or self.pull.layout(*key) is not None:
            return None
        whole = merge(histograms).histogram
        if total(whole) < ENOUGH:
            return None
        return Baseline(replace(series, version="", segment="", stage="production"), whole, since, until)

    def histogram(self, series: Series, sketch: Sketch, missing: int = 0) -> Histogram:
        """A sketch on the feature's bins, marked approximate; what that may cost is remembered."""
        layout = self._known(series)
        if layout is None:
            layout = self.made[self._key(series)] = layout_of(sketch)
            self.provisional = True
        doubt = float(sketch.doubt(np.array(layout.edges)).max(initial=0.0))
        self.worst[series.name] = max(self.worst.get(series.name, 0.0), doubt)
        return onto(sketch, layout, missing)

    def remark(self) -> None:
        """Say of all features how far a count below an edge may be off."""
        for name, doubt in sorted(self.worst.items()):
            self.said.remark(
                f"{name or 'the prediction'} is put onto other bins than its source's: a count below an edge may be "
                f"off by up to {doubt:.1%} of the values"
            )

    def _known(self, series: Series) -> Layout | None:
        key = self._key(series)
        if key not in self.made and key[0]:
            found = self.pull.layout(*key)
            if found is not None and found.kind == "edges" and found.closed == "left":
                self.made[key] = replace(found, approximate=True)
        return self.made.get(key)

    def _key(self, series: Series) -> tuple[str, str, str]:
        placed = series_of(series, self.common)
        return (placed[0].component if placed else "", series.signal, series.name)


def categories(counts: Mapping[str, int], missing: int, other: int, approximate: bool) -> Histogram:
    """Counts by value, with what is missing and what is left of them."""
    ranked = sorted(counts, key=lambda value: (-counts[value], value))
    kept = tuple(sorted(ranked[:CATEGORIES]))
    rest = other + sum(counts[value] for value in ranked[CATEGORIES:])
    found = {place: counts[value] for place, value in enumerate(kept) if counts[value]}
    if rest:
        found[OTHER] = rest
    if missing:
        found[MISSING] = missing
    return Histogram(Layout("categories", values=kept, approximate=approximate), found, {})
