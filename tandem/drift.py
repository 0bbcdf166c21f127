"""Drift between two histograms: distances, their noise floors, and one rule for the verdict.

Measures: PSI (Lewis 1994), Jensen-Shannon distance in base 2, Hellinger, total variation, L-infinity,
Kolmogorov-Smirnov, normed Wasserstein, chi-square.
Many features at once: Benjamini-Hochberg (1995).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from tandem.bins import MISSING, ZERO, Layout, aligned, bounds, columns, total
from tandem.chances import benjamini_hochberg as benjamini_hochberg
from tandem.chances import chi_square_95 as chi_square_95
from tandem.chances import chi_square_sf as chi_square_sf
from tandem.chances import kolmogorov as kolmogorov

if TYPE_CHECKING:
    from tandem.records import Histogram

Array = np.ndarray[Any, Any]
Judgement = Literal["drift", "no drift", "above noise, small", "not enough data"]
Severity = Literal["none", "moderate", "major"]

MODERATE = 0.1
"""Effect above which there is drift."""
MAJOR = 0.25
"""Effect above which drift is major."""

NO_DRIFT, DRIFT, NOT_ENOUGH = 1, 0, -1
"""What `hours` answers: good, bad, left out."""

_DRAWS = 1000
_AT = math.floor(0.95 * (_DRAWS - 1))
_SEED = 20260401
_HEAVIEST = 0.45
"""Shape of the heaviest tail whose variance is still estimated (at 0.5 it is infinite)."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a current histogram lies from a reference; None where a measure has no meaning or nothing was counted.

    `effect` is the measure that decides: JS distance for categories, normed Wasserstein (in reference standard
    deviations) for numbers, JS distance for a number that was constant in the reference. `noise_floor` is the 95 %
    value of `effect` when nothing changed. `p`: chi-square for categories, asymptotic two-sample KS for numbers.
    `bound`: how much larger than `ks` the KS distance of the values themselves can be. `wasserstein_bound`: how far
    from `wasserstein` the normed Wasserstein distance of the values can lie, whatever they are inside their bins;
    None where an open bin keeps no sum.
    """

    type: Literal["number", "category"]
    n_reference: int
    n_current: int
    psi: float | None = None
    js: float | None = None
    ks: float | None = None
    wasserstein: float | None = None
    chi_square_p: float | None = None
    p: float | None = None
    effect: float | None = None
    noise_floor: float | None = None
    bound: float | None = None
    wasserstein_bound: float | None = None
    hellinger: float | None = None
    total_variation: float | None = None
    l_infinity: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class _Shape:
    """A reference cut into columns: counts, and where the mass of each column lies.

    `grid` has the bounds of the columns (None for categories); `means` the mean of each column where sums are kept.
    `opened` says whether the first and the last column have no end. `deviation` is the population standard deviation,
    `within` the part of its square that lies inside the columns.
    """

    counts: Array
    grid: Array | None
    means: Array | None
    scale: float
    opened: tuple[bool, bool]
    deviation: float
    within: float

    def roughness(self) -> float:
        """The noise floor of normed Wasserstein at 1/n + 1/m = 1."""
        assert self.grid is not None
        at = (self.grid[:-1] + self.grid[1:]) / 2 if self.means is None else self.means
        return _roughness(self.counts, at, self.deviation)


def compare(reference: Histogram, current: Histogram, deviation: float | None = None, tail: float = 1.0) -> Comparison:
    """All measures between two histograms, on the bins they share; missing values are left out.

    `deviation`: the reference's population standard deviation where it is known; else it is read from the bins, and
    corrected by `tail` (see `deviation` and `tail_of`). Raises NoSharedEdge.
    """
    reference, current = aligned(reference, current)
    places = _columns(reference, current)
    kind: Literal["number", "category"] = "category" if reference.layout.kind == "categories" else "number"
    n, m = total(reference), total(current)
    if not n or not m:
        return Comparison(kind, n, m)
    shape = _shape(reference, places, deviation, tail)
    counts, sums = _row(current.counts, places), _row(current.sums, places)
    p, q = _smoothed(shape.counts, counts)
    effect, floor = _effect(shape, counts, sums)
    ks, bound = (None, None) if kind == "category" else _ks(shape.counts, counts[0])
    moved = None if kind == "category" or shape.deviation == 0 else float(effect[0])
    chi_square_p = _chi_square_p(shape.counts, counts[0])
    return Comparison(
        type=kind,
        n_reference=n,
        n_current=m,
        psi=float(_psi(p, q)[0]),
        js=float(_js(p, q)[0]),
        ks=ks,
        wasserstein=moved,
        chi_square_p=chi_square_p,
        p=chi_square_p if ks is None else kolmogorov(ks * math.sqrt(n * m / (n + m))),
        effect=float(effect[0]),
        noise_floor=float(floor[0]),
        bound=bound,
        wasserstein_bound=None if moved is None else _wasserstein_bound(shape, counts[0], sums[0], moved),
        hellinger=math.sqrt(float(((np.sqrt(p) - np.sqrt(q)) ** 2).sum()) / 2),
        total_variation=float(np.abs(p - q).sum()) / 2,
        l_infinity=float(np.abs(p - q).max()),
    )


def deviation(h: Histogram, tail: float = 1.0) -> float | None:
    """The population standard deviation as the bins tell it; None for categories and where nothing was counted.

    Between the bins' means it is exact. Inside them the values are taken as uniform, in an open bin as a generalised
    Pareto tail, which is within 2 % unless a tail is so heavy that its largest values make most of the variance.
    `tail` corrects what lies inside the bins (see `tail_of`).
    """
    if h.layout.kind == "categories" or not total(h):
        return None
    return _shape(h, _columns(h, h), None, tail).deviation


def tail_of(h: Histogram, exact: float) -> float:
    """How many times the variance that `deviation` reads inside the bins of `h` its true deviation `exact` makes.

    Another histogram on these bins whose deviation nobody knows has about the same shape inside them.
    """
    shape = _shape(h, _columns(h, h))
    inner = shape.within
    outer = exact**2 - (shape.deviation**2 - inner)
    return outer / inner if inner > 0 and outer > 0 else 1.0


def hours(
    reference: Histogram, counts: Array, sums: Array, threshold: float = MODERATE, deviation: float | None = None
) -> Array:
    """The verdict of many current histograms at once, as `compare` and `verdict` would give one by one (int8).

    `counts` and `sums` have one row per hour and one column per bin of the reference's layout, in the order of
    `bins.columns` (missing values excluded). Answers NO_DRIFT (which includes "above noise, small"), DRIFT or
    NOT_ENOUGH per row.
    """
    effect, floor = effects(reference, counts, sums, deviation)
    drifted = np.where((effect > threshold) & (effect > floor), DRIFT, NO_DRIFT)
    return np.where(np.isnan(effect) | (floor > threshold), NOT_ENOUGH, drifted).astype(np.int8)


def effects(reference: Histogram, counts: Array, sums: Array, deviation: float | None = None) -> tuple[Array, Array]:
    """Effect and noise floor of many current histograms at once, rows as in `hours`; NaN where nothing was counted."""
    shape = _shape(reference, columns(reference.layout), deviation)
    counts, sums = np.asarray(counts, dtype=np.float64), np.asarray(sums, dtype=np.float64)
    effect, floor = np.full(len(counts), np.nan), np.full(len(counts), np.nan)
    seen = counts.sum(axis=1) > 0
    if shape.counts.any() and seen.any():
        effect[seen], floor[seen] = _effect(shape, counts[seen], sums[seen])
    return effect, floor


def verdict(effect: float | None, floor: float | None, threshold: float = MODERATE) -> Judgement:
    """Drift needs an effect above the threshold and above the noise floor."""
    if effect is None or floor is None or floor > threshold:
        return "not enough data"
    if effect > threshold and effect > floor:
        return "drift"
    return "above noise, small" if effect > floor else "no drift"


def severity(effect: float | None, moderate: float = MODERATE, major: float = MAJOR) -> Severity:
    """How large an effect is."""
    if effect is None or effect <= moderate:
        return "none"
    return "major" if effect > major else "moderate"


def judge(comparisons: Sequence[Comparison], threshold: float = MODERATE) -> list[tuple[Judgement, Severity]]:
    """The verdict and severity of each feature of one call, in order.

    A feature drifts only if its p-value also stands among all of them (Benjamini-Hochberg at 5 %).
    """
    standing = benjamini_hochberg([one.p for one in comparisons])
    found: list[tuple[Judgement, Severity]] = []
    for one, stands in zip(comparisons, standing, strict=True):
        said = verdict(one.effect, one.noise_floor, threshold)
        if said == "drift" and not stands:
            said = "no drift"
        found.append((said, severity(one.effect, threshold) if said == "drift" else "none"))
    return found


def psi_floor(n: int, m: int, bins: int) -> float:
    """95 % value of PSI between two samples of n and m values of one population."""
    return chi_square_95(bins - 1) * (1 / n + 1 / m)


def js_floor(n: int, m: int, bins: int) -> float:
    """95 % value of the JS distance (base 2) between two samples of one population."""
    return math.sqrt(psi_floor(n, m, bins) / (8 * math.log(2)))


def ks_floor(n: int, m: int) -> float:
    """Safe 95 % value of the KS distance between two samples of one population."""
    return 1.358099 * math.sqrt(1 / n + 1 / m)


def wasserstein_floor(reference: Histogram, m: int) -> float | None:
    """95 % value of the normed Wasserstein distance of m more values of the reference's population.

    About 2.1 * sqrt(1/n + 1/m) for a normal shape. None for a reference that is empty or constant.
    """
    n = total(reference)
    if not n or not m:
        return None
    shape = _shape(reference, _columns(reference, reference))
    return shape.roughness() * math.sqrt(1 / n + 1 / m) if shape.deviation else None


def _columns(a: Histogram, b: Histogram) -> tuple[int, ...]:
    """The bins of two histograms of one layout, in order; of an exponential one all from the lowest to the highest."""
    if a.layout.kind != "exponential":
        return columns(a.layout)
    places = {place for h in (a, b) for place, n in h.counts.items() if n and place != MISSING}
    powers = sorted(places - {ZERO})
    zero = (ZERO,) if ZERO in places else ()
    return zero + (tuple(range(powers[0], powers[-1] + 1)) if powers else ())


def _row(values: Any, places: tuple[int, ...]) -> Array:
    return np.array([[float(values.get(place, 0)) for place in places]])


def _shape(reference: Histogram, places: tuple[int, ...], known: float | None = None, tail: float = 1.0) -> _Shape:
    layout = reference.layout
    counts = _row(reference.counts, places)[0]
    if layout.kind == "categories" or not counts.any():
        return _Shape(counts, None, None, 1.0, (False, False), 0.0, 0.0)
    grid, opened = _grid(layout, places)
    scale = 1.0 if layout.digits is None else float(f"1e{-layout.digits}")
    means = None
    middles = (grid[:-1] + grid[1:]) / 2
    if layout.digits is not None:
        sums = _row(reference.sums, places)[0]
        means = np.where(counts > 0, sums / np.maximum(counts, 1) * scale, middles)
    at = middles if means is None else means
    between, within = _variances(counts / counts.sum(), at, grid, opened)
    deviation = math.sqrt(max(between + tail * within, 0.0)) if known is None else known
    return _Shape(counts, grid, means, scale, opened, deviation, within)


@lru_cache(maxsize=1024)
def _grid(layout: Layout, places: tuple[int, ...]) -> tuple[Array, tuple[bool, bool]]:
    """The bounds of consecutive columns, and whether the outer ones are open.

    An open bin has no width, the bin of zeros reaches to the next one.
    """
    lows, highs = zip(*(bounds(layout, place) for place in places), strict=True)
    grid = np.array([*lows, highs[-1]], dtype=np.float64)
    opened = math.isinf(lows[0]), math.isinf(highs[-1])
    finite = grid[np.isfinite(grid)]
    if not finite.size:
        return np.zeros_like(grid), opened
    return np.clip(grid, finite[0], finite[-1]), opened


def _variances(shares: Array, means: Array, grid: Array, opened: tuple[bool, bool]) -> tuple[float, float]:
    """The variance between the columns' means, exactly, and that within them by their edges and means.

    (b - mean) * (mean - a) / 3 is that of a uniform bin, and 0 where all values are one edge.
    """
    within = np.maximum((grid[1:] - means) * (means - grid[:-1]), 0.0) / 3
    if len(shares) == 1 and all(opened):
        return 0.0, 0.0
    if opened[0]:
        within[0] = _tail_variance(shares[::-1], -means[::-1], -grid[::-1])
    if opened[1]:
        within[-1] = _tail_variance(shares, means, grid)
    centre = float(shares @ means)
    return float(shares @ (means - centre) ** 2), float(shares @ within)


def _tail_variance(shares: Array, means: Array, grid: Array) -> float:
    """Variance in the open last column, as of a generalised Pareto tail.

    Its shape comes from how the mean excess grows from two edges below to the last edge.
    """
    excess = float(means[-1] - grid[-1])
    if shares[-1] == 0 or excess <= 0 or len(shares) < 4:
        return max(excess, 0.0) ** 2
    mass = shares[-3:]
    wider = float(mass @ means[-3:] / mass.sum()) - float(grid[-4])
    slope = (excess - wider) / float(grid[-2] - grid[-4])
    shape = min(max(slope, -0.5) / (1 + max(slope, -0.5)), _HEAVIEST)
    return excess**2 / (1 - 2 * shape)


@cache
def _normals(columns: int) -> Array:
    return np.random.default_rng(_SEED).standard_normal((_DRAWS, columns)).T.copy()


def _roughness(counts: Array, means: Array, deviation: float) -> float:
    """95 % value of normed Wasserstein under no change, times sqrt(1 / (1/n + 1/m)).

    The difference of two empirical distributions is a Brownian bridge over the shares; seeded draws of it. Never
    below 1.96, because the distance is at least the difference of the means.
    """
    if deviation == 0:
        return 0.0
    filled = counts > 0
    shares, at = counts[filled] / counts.sum(), means[filled]
    walk = np.cumsum(_normals(len(shares)) * np.sqrt(shares)[:, None], axis=0)
    bridge = walk[:-1] - np.cumsum(shares)[:-1, None] * walk[-1]
    areas = np.diff(at) @ np.abs(bridge)
    low, high = np.partition(areas, (_AT, _AT + 1))[_AT : _AT + 2]
    return max(float(low + (high - low) * (0.95 * (_DRAWS - 1) - _AT)) / deviation, 1.959964)


def _smoothed(reference: Array, counts: Array) -> tuple[Array, Array]:
    """Shares of both sides per row; where a bin is empty on one side, every bin of both gets half a value first.

    Bins that are empty on both sides are no bins.
    """
    filled = (counts > 0) | (reference > 0)
    holes = (filled & ((counts == 0) | (reference == 0))).any(axis=1, keepdims=True)
    extra = np.where(holes & filled, 0.5, 0.0)
    p, q = reference + extra, counts + extra
    return p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)


def _psi(p: Array, q: Array) -> Array:
    ratio = np.divide(q, p, out=np.ones_like(p), where=p > 0)
    return np.asarray(((q - p) * np.log(ratio)).sum(axis=1))


def _js(p: Array, q: Array) -> Array:
    middle = (p + q) / 2
    divergence = (_entropic(p, middle) + _entropic(q, middle)) / 2
    return np.sqrt(np.maximum(divergence, 0.0))


def _entropic(p: Array, q: Array) -> Array:
    ratio = np.divide(p, q, out=np.ones_like(p), where=p > 0)
    return np.asarray((p * np.log2(ratio)).sum(axis=1))


def _effect(shape: _Shape, counts: Array, sums: Array) -> tuple[Array, Array]:
    """The deciding measure and its noise floor, per row of current counts."""
    noise = 1 / shape.counts.sum() + 1 / counts.sum(axis=1)
    if shape.deviation > 0:
        return _wasserstein(shape, counts, sums) / shape.deviation, shape.roughness() * np.sqrt(noise)
    filled = ((counts > 0) | (shape.counts > 0)).sum(axis=1)
    points = np.array([chi_square_95(number - 1) for number in filled.tolist()])
    return _js(*_smoothed(shape.counts, counts)), np.sqrt(points * noise / (8 * math.log(2)))


def _wasserstein(shape: _Shape, counts: Array, sums: Array) -> Array:
    """Area between the two cumulative distributions, in the unit of the values, per row."""
    p, q = shape.counts / shape.counts.sum(), counts / counts.sum(axis=1, keepdims=True)
    if shape.means is None:
        return _area_on_grid(shape, p, q)
    means = np.where(counts > 0, sums / np.maximum(counts, 1) * shape.scale, shape.means)
    return np.asarray(_areas(shape, p, q, means).sum(axis=1))


def _areas(shape: _Shape, p: Array, q: Array, means: Array) -> Array:
    """What each bin adds to the area, per row, where the means inside are known.

    The integral of the difference is known exactly in a bin with two ends: it is the area, unless the distributions
    cross inside. In an open bin all mass is taken to lie at its mean.
    """
    assert shape.grid is not None
    assert shape.means is not None
    apart = np.cumsum(p - q, axis=1) - (p - q)
    high, width = shape.grid[1:], np.diff(shape.grid)
    areas = np.abs(apart * width + p * (high - shape.means) - q * (high - means))
    for place, edge in zip((0, -1), (shape.grid[1], shape.grid[-2]), strict=True):
        if shape.opened[place]:
            mine, theirs = np.abs(shape.means[place] - edge), np.abs(means[:, place] - edge)
            near, far = np.abs(p[place] - q[:, place]), np.where(theirs > mine, q[:, place], p[place])
            areas[:, place] = near * np.minimum(mine, theirs) + far * np.abs(mine - theirs)
    return np.asarray(areas)


def _area_on_grid(shape: _Shape, p: Array, q: Array) -> Array:
    """The area where only counts are known: both distributions rise in straight lines inside the bins."""
    assert shape.grid is not None
    apart = np.cumsum(p - q, axis=1)
    left = np.concatenate([np.zeros((len(apart), 1)), apart[:, :-1]], axis=1)
    crossing = left * apart < 0
    sizes = np.abs(left) + np.abs(apart)
    squares = np.divide(left**2 + apart**2, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    return np.asarray((np.where(crossing, squares, sizes) / 2 * np.diff(shape.grid)).sum(axis=1))


def _wasserstein_bound(shape: _Shape, counts: Array, sums: Array, found: float) -> float | None:
    """How far the normed Wasserstein distance of the values can lie from `found`.

    Inside a bin both distributions only rise: their difference has a known integral (its absolute value is the least
    that the bin can add), and known extremes (the most).
    """
    assert shape.grid is not None
    p, q = shape.counts / shape.counts.sum(), counts / counts.sum()
    width, apart = np.diff(shape.grid), np.cumsum(p - q) - (p - q)
    high, low = apart + p, apart - q
    most = np.maximum(np.abs(high), np.abs(low)) * width
    least = np.where((high < 0) | (low > 0), np.minimum(np.abs(high), np.abs(low)), 0.0) * width
    ends = [place for place in (0, -1) if shape.opened[place]]
    if shape.means is None:
        if any(p[end] or q[end] for end in ends):
            return None
    else:
        means = np.where(counts > 0, sums / np.maximum(counts, 1) * shape.scale, shape.means)
        least = _areas(shape, p, q[None, :], means[None, :])[0]
        most = np.minimum(most, _most(shape, p, q, means, apart))
        for end, edge in zip((0, -1), (shape.grid[1], shape.grid[-2]), strict=True):
            if end in ends:
                mine, theirs = p[end] * abs(shape.means[end] - edge), q[end] * abs(means[end] - edge)
                least[end], most[end] = abs(mine - theirs), mine + theirs
    return max(found - float(least.sum()) / shape.deviation, float(most.sum()) / shape.deviation - found, 0.0)


def _most(shape: _Shape, p: Array, q: Array, means: Array, apart: Array) -> Array:
    """The most that each bin with two ends adds: what mass at the means would add, and how far it can lie from them."""
    assert shape.grid is not None
    assert shape.means is not None
    low, high = shape.grid[:-1], shape.grid[1:]
    width = np.where(high > low, high - low, 1.0)
    spread = sum(share * 2 * np.maximum((high - mean) * (mean - low), 0.0) / width
                 for share, mean in ((p, shape.means), (q, means)))  # fmt: skip
    first, second = np.minimum(shape.means, means), np.maximum(shape.means, means)
    inner = np.where(shape.means <= means, apart + p, apart - q)
    atoms = np.abs(apart) * (first - low) + np.abs(inner) * (second - first) + np.abs(apart + p - q) * (high - second)
    return np.asarray(atoms + spread)


def _ks(reference: Array, current: Array) -> tuple[float, float]:
    """The largest distance of the cumulative shares at the bins' edges, and how much larger it can be inside a bin."""
    f, g = (np.concatenate([[0.0], np.cumsum(side)]) / side.sum() for side in (reference, current))
    distance = float(np.abs(f - g).max())
    inside = float(np.maximum(f[1:] - g[:-1], g[1:] - f[:-1]).max())
    return distance, max(inside - distance, 0.0)


def _chi_square_p(reference: Array, current: Array) -> float:
    """The p-value of the 2 x B table, without continuity correction."""
    filled = (reference + current) > 0
    table = np.array([reference[filled], current[filled]])
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0) / table.sum()
    return chi_square_sf(float(((table - expected) ** 2 / expected).sum()), int(filled.sum()) - 1)
