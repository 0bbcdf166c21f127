"""Bin layouts: how a quantity is cut into bins, so that histograms merge by addition."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from tandem.records import Histogram

MISSING = -32768
"""Bin of absent and non-finite values; counted apart, outside every distance and quantile."""
OTHER = -32767
"""Bin of every category after the first `CATEGORIES`."""
ZERO = -32766
"""Bin of an exponential layout that holds the values around zero."""
CATEGORIES = 100
"""How many categories of a feature keep a bin of their own."""

LayoutKind = Literal["edges", "exponential", "categories"]
Exact = Fraction | Decimal | float | int | str
"""A number that is compared as it is written: 0.3 is three tenths."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The bins of a histogram; part of a series' identity.

    `edges`: bin i holds the values with exactly i edges at or below them (closed="left": edges[i-1] <= v < edges[i]),
    or strictly below them (closed="right", as Prometheus' `le`); bin 0 lies below the first edge, bin len(edges) is
    open above. All edges are finite; +Inf is the open last bin.
    `exponential`: bin i holds base**(i-1) < v <= base**i with base = 2**(2**-schema); ZERO holds the values around 0.
    `categories`: bin i holds values[i]; OTHER holds the rest.
    `digits`: sums per bin are whole multiples of 10**-digits; None where the source states no sums per bin.
    `approximate`: the counts come from a sketch or another binning, not from the values.
    """

    kind: LayoutKind = "edges"
    edges: tuple[float, ...] = ()
    closed: Literal["left", "right"] = "left"
    schema: int = 0
    values: tuple[str, ...] = ()
    digits: int | None = None
    unit: str = ""
    approximate: bool = False


_DURATION_UNITS = ("s", "ms")
_LARGEST_POWER = 300
_SEEN = 20
"""At most this many distinct numbers get a bin each."""
_PERMILLE = (1, 5, 10, *range(50, 1000, 50), 990, 995, 999)

DURATION = Layout(
    edges=(
        0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.075,
        0.1, 0.125, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.5,
        10.0, 15.0, 20.0, 25.0, 30.0, 40.0, 45.0, 60.0, 75.0, 90.0, 120.0, 150.0, 180.0, 240.0, 300.0, 420.0, 600.0,
        900.0, 1200.0, 1800.0, 2700.0, 3600.0, 5400.0, 7200.0, 10800.0, 14400.0, 21600.0, 43200.0, 86400.0, 172800.0,
        259200.0, 604800.0, 1209600.0, 2592000.0,
    ),
    closed="right",
    digits=6,
    unit="s",
)  # fmt: skip
"""Durations in seconds from 1 ms to 30 days, on marks people use as thresholds; sums in microseconds."""

# Rounded, so that every machine's exp() gives the same layout.
SCORE = Layout(
    edges=tuple(float(f"{1 / (1 + math.exp(-12 * step / 74)):.9e}") for step in range(-74, 75)),
    digits=12,
    unit="probability",
)
"""150 bins of equal width in the logit of a score, -12 to 12: fine near 0 and 1, where rare events live."""


class NoSharedEdge(ValueError):
    """Histograms whose layouts have no finite edge in common cannot be merged exactly."""


@dataclass(frozen=True, slots=True)
class Merged:
    """The merge of histograms; `coarsened` when some layout had bins that the others could not tell apart."""

    histogram: Histogram
    coarsened: bool


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile read from bins: `value` linear between the edges `low` and `high` of its bin, which bound it.

    In an open bin `value` is the bin's finite edge: at least it (`open_above`) or at most it (`open_below`).
    """

    value: float
    low: float
    high: float
    open_above: bool = False
    open_below: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """How many of `total` lie at or below a threshold: certainly `low`, possibly `high`; `good` is `low`."""

    good: int
    total: int
    low: int
    high: int


def total(h: Histogram) -> int:
    """How many values were counted; missing ones are left out."""
    return sum(n for place, n in h.counts.items() if place != MISSING)


def columns(layout: Layout) -> tuple[int, ...]:
    """The bins of a layout in order, MISSING left out; of categories OTHER comes last.

    Raises ValueError for an exponential layout, whose bins have no end.
    """
    if layout.kind == "exponential":
        raise ValueError("an exponential layout has no fixed list of bins")
    if layout.kind == "categories":
        return (*range(len(layout.values)), OTHER)
    return tuple(range(len(layout.edges) + 1))


def bounds(layout: Layout, place: int) -> tuple[float, float]:
    """The two edges of a bin, infinite where it is open; durations and exponential bins begin at 0.

    Raises ValueError for categories and for the bin of missing values.
    """
    if layout.kind == "categories" or place == MISSING:
        raise ValueError(f"bin {place} of {layout.kind} has no edges")
    if layout.kind == "exponential":
        return _exponential_bounds(layout.schema, place)
    edges = layout.edges
    bottom = 0.0 if edges and edges[0] > 0 and layout.unit in _DURATION_UNITS else -math.inf
    low = edges[place - 1] if place > 0 else bottom
    return low, edges[place] if place < len(edges) else math.inf


def _exponential_bounds(schema: int, place: int) -> tuple[float, float]:
    if place == ZERO:
        return 0.0, 0.0
    return _power(place - 1, schema), _power(place, schema)


def _power(place: int, schema: int) -> float:
    try:
        return float(2.0 ** (place * 2.0**-schema))
    except OverflowError:
        return math.inf


def add(a: Histogram, b: Histogram) -> Histogram:
    """The sum of two histograms, on the edges they share where their layouts differ.

    Raises NoSharedEdge.
    """
    return merge((a, b)).histogram


def merge(histograms: Iterable[Histogram]) -> Merged:
    """The sum of at least one histogram: equal layouts add, others merge exactly on what they share.

    Edges: on the finite edges all have. Exponential: on the lowest schema. Categories: by value; where a layout
    without some value has counted `other`, that value's count is a lower bound and the merge is `coarsened`.
    Sums go to the finest quantum; they are dropped when a layout has none. Raises NoSharedEdge.
    """
    by_layout: dict[Layout, Histogram] = {}
    for histogram in histograms:
        before = by_layout.get(histogram.layout)
        by_layout[histogram.layout] = histogram if before is None else before + histogram
    if not by_layout:
        raise ValueError("nothing to merge")
    layouts = list(by_layout)
    if len(layouts) == 1:
        return Merged(by_layout[layouts[0]], coarsened=False)
    shared = _shared(layouts)
    pieces = [_onto(histogram, shared) for histogram in by_layout.values()]
    whole = pieces[0]
    for piece in pieces[1:]:
        whole = whole + piece
    return Merged(whole, coarsened=_coarsened(by_layout.values(), shared))


def aligned(a: Histogram, b: Histogram) -> tuple[Histogram, Histogram]:
    """Both histograms on the finest layout they share, as `merge` would add them. Raises NoSharedEdge."""
    if a.layout == b.layout:
        return a, b
    shared = _shared((a.layout, b.layout))
    return _onto(a, shared), _onto(b, shared)


def _shared(layouts: Sequence[Layout]) -> Layout:
    """The finest layout that every one of `layouts` can be read on."""
    first = layouts[0]
    if any(other.kind != first.kind for other in layouts):
        raise NoSharedEdge(f"bins of different kinds do not merge: {', '.join(sorted({one.kind for one in layouts}))}")
    units = {one.unit for one in layouts if one.unit}
    if len(units) > 1:
        raise NoSharedEdge(f"histograms in different units do not merge: {', '.join(sorted(units))}")
    known = [one.digits for one in layouts if one.digits is not None]
    return replace(
        first,
        edges=_shared_edges(layouts) if first.kind == "edges" else (),
        schema=min(one.schema for one in layouts),
        values=_all_values(layouts),
        digits=max(known) if len(known) == len(layouts) else None,
        unit=units.pop() if units else "",
        approximate=any(one.approximate for one in layouts),
    )


def _shared_edges(layouts: Sequence[Layout]) -> tuple[float, ...]:
    if any(one.closed != layouts[0].closed for one in layouts):
        raise NoSharedEdge("bins closed on the left and bins closed on the right do not merge")
    edges = set(layouts[0].edges).intersection(*(one.edges for one in layouts[1:]))
    if not edges and any(one.edges for one in layouts):
        raise NoSharedEdge("the histograms have no bin edge in common, so they cannot be merged exactly")
    return tuple(sorted(edges))


def _all_values(layouts: Sequence[Layout]) -> tuple[str, ...]:
    if all(one.values == layouts[0].values for one in layouts):
        return layouts[0].values
    return tuple(sorted({value for one in layouts for value in one.values}))


def _coarsened(histograms: Iterable[Histogram], shared: Layout) -> bool:
    if shared.kind == "categories":
        return any(OTHER in one.counts and set(one.layout.values) != set(shared.values) for one in histograms)
    return any(one.layout.edges != shared.edges or one.layout.schema != shared.schema for one in histograms)


def _onto(h: Histogram, layout: Layout) -> Histogram:
    """`h` on a layout that it can be read on exactly."""
    place = _places(h.layout, layout)
    counts: dict[int, int] = {}
    for key, n in h.counts.items():
        counts[place(key)] = counts.get(place(key), 0) + n
    sums: dict[int, int] = {}
    if layout.digits is not None and h.layout.digits is not None:
        scale = 10 ** (layout.digits - h.layout.digits)
        for key, amount in h.sums.items():
            sums[place(key)] = sums.get(place(key), 0) + amount * scale
    return replace(h, layout=layout, counts=counts, sums=sums)


def _places(old: Layout, new: Layout) -> Callable[[int], int]:
    """Where each bin of `old` lies in `new`."""
    if old.kind == "edges":
        kept = set(new.edges)
        steps = list(accumulate((edge in kept for edge in old.edges), initial=0))
        return lambda place: place if place == MISSING else steps[place]
    if old.kind == "exponential":
        step = 2 ** (old.schema - new.schema)
        return lambda place: place if place in (MISSING, ZERO) else -(-place // step)
    at = {value: index for index, value in enumerate(new.values)}
    return lambda place: place if place in (MISSING, OTHER) else at[old.values[place]]


def quantile(h: Histogram, q: float) -> Quantile | None:
    """The value below which a share `q` of the values lies; None when nothing was counted.

    The first bin whose cumulative count reaches q*N, linear inside. Unit as the values. Raises ValueError for
    categories.
    """
    rank = Fraction(str(q)) * total(h)
    seen = 0
    for place in sorted(key for key, n in h.counts.items() if n and key != MISSING):
        n = h.counts[place]
        if seen + n >= rank:
            return _inside(bounds(h.layout, place), float((rank - seen) / n))
        seen += n
    return None


def _inside(edges: tuple[float, float], share: float) -> Quantile:
    low, high = edges
    if math.isinf(high):
        return Quantile(low, low, high, open_above=True)
    if math.isinf(low):
        return Quantile(high, low, high, open_below=True)
    return Quantile(min(low + (high - low) * share, high), low, high)


def share_below(h: Histogram, threshold: Exact) -> Share:
    """How many values lie at or below `threshold` (unit of the values), exact when it is an edge.

    In a layout closed on the left an edge itself belongs to the bin above it: there it is the count below.
    """
    limit = _exact(threshold)
    low = high = 0
    known = _sides(h.layout, limit, "below")
    for place, n in h.counts.items():
        side = known.get(place)
        if side is None:
            side = known[place] = _below(h.layout, place, limit)
        low += n if side[0] else 0
        high += n if side[1] else 0
    return Share(good=low, total=total(h), low=low, high=high)


def _below(layout: Layout, place: int, limit: Fraction | float) -> tuple[bool, bool]:
    """Whether all of a bin lies at or below `limit`, and whether any of it may."""
    if place == MISSING:
        return False, False
    begin, end = (_exact(edge) for edge in bounds(layout, place))
    # The bottom bin of durations begins at 0 and holds it.
    reaches = begin <= limit if layout.kind == "edges" and place == 0 else begin < limit
    return end <= limit, end <= limit or reaches


def share_within(h: Histogram, tolerance: Exact) -> Share:
    """How many values lie between -tolerance and tolerance (unit of the values), exact when both are edges.

    An edge itself belongs to the bin that its layout puts it in.
    """
    limit = _exact(tolerance)
    low = high = 0
    known = _sides(h.layout, limit, "within")
    for place, n in h.counts.items():
        side = known.get(place)
        if side is None:
            side = known[place] = _within(h.layout, place, limit)
        low += n if side[0] else 0
        high += n if side[1] else 0
    return Share(good=low, total=total(h), low=low, high=high)


def _within(layout: Layout, place: int, limit: Fraction | float) -> tuple[bool, bool]:
    """Whether all of a bin lies between -limit and limit, and whether any of it may."""
    if place == MISSING:
        return False, False
    begin, end = (_exact(edge) for edge in bounds(layout, place))
    return begin >= -limit and end <= limit, begin < limit and end > -limit


@lru_cache(maxsize=1024)
def _sides(layout: Layout, limit: Fraction | float, way: str) -> dict[int, tuple[bool, bool]]:
    """What is known of each bin already: fractions are compared once per bin, not once per histogram."""
    del layout, limit, way
    return {}


def _exact(number: Exact) -> Fraction | float:
    """The number as it is written; infinities stay floats."""
    if isinstance(number, Fraction):
        return number
    return float(number) if str(number).lstrip("+-").lower() in ("inf", "infinity") else Fraction(str(number))


def digits_of(largest: float) -> int:
    """Digits of the quantum 10**-digits that splits the largest magnitude into at most 10**12 parts."""
    if largest == 0:
        return 12
    if not math.isfinite(largest):
        raise ValueError(f"the largest magnitude must be a finite number, not {largest}")
    magnitude = Decimal(repr(abs(float(largest))))
    above = magnitude.adjusted() + (magnitude != Decimal(1).scaleb(magnitude.adjusted()))
    return min(12 - above, _LARGEST_POWER)


def feature_layout(values: np.ndarray[Any, Any]) -> Layout:
    """The layout of a numeric feature, made from its finite values; other values are ignored.

    At most 20 distinct numbers get a bin each (a constant's ends one quantum above it); else 20 bins of equal share
    and the outer .001, .005 and .01 of both tails, exact by sorting. Without a finite value: one open bin.
    """
    finite = np.asarray(values, dtype=np.float64)
    ordered = np.sort(finite[np.isfinite(finite)]) + 0.0
    return ordered_layout(ordered) if ordered.size else Layout(digits=12)


def ordered_layout(ordered: np.ndarray[Any, Any]) -> Layout:
    """The `feature_layout` of finite values that are in order already, none of them -0.0; at least one."""
    digits = digits_of(max(abs(float(ordered[0])), abs(float(ordered[-1]))))
    distinct = _distinct(ordered)
    if distinct.size > _SEEN:
        distinct = _distinct(ordered[np.asarray(_PERMILLE) * ordered.size // 1000])
    edges = distinct.tolist()
    if len(edges) == 1:
        # A constant needs an end too, or whatever rises above it would share its bin.
        edges.append(edges[0] + float(f"1e{-digits}"))
    return Layout(edges=tuple(edges), digits=digits)


def _distinct(ordered: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.asarray(ordered[np.append(True, ordered[1:] != ordered[:-1])])


def error_layout(largest: float) -> Layout:
    """Signed bins of a regression error in the unit of the target, on round marks.

    Ten bins per decade on either side of a middle bin, from five decades below the largest error seen to one above.
    """
    top = Decimal(repr(abs(float(largest)) or 1.0)).adjusted()
    marks = (Decimal(10), Decimal(12), Decimal(15), 20, 25, 30, 40, 50, 60, 80)
    positive = [float(Decimal(mark).scaleb(power - 1)) for power in range(top - 4, top + 2) for mark in marks]
    edges = tuple(-edge for edge in reversed(positive)) + tuple(positive)
    return Layout(edges=edges, closed="right", digits=digits_of(largest), unit="target")


def quanta(values: np.ndarray[Any, Any], digits: int) -> np.ndarray[Any, Any]:
    """Values as whole quanta of 10**-digits, half to even; non-finite ones are 0.

    int64, or Python ints in an object array where one is too large for it.
    """
    scale = float(f"1e{abs(digits)}")
    finite = np.where(np.isfinite(values), values, 0.0)
    with np.errstate(over="ignore"):
        whole = np.rint(finite * scale if digits >= 0 else finite / scale)
    if whole.size and float(np.abs(whole).max()) >= 2.0**63:
        return np.array([_whole(*pair, digits) for pair in zip(finite, whole, strict=True)], dtype=object)
    return whole.astype(np.int64)


def _whole(value: float, product: float, digits: int) -> int:
    return int(product) if math.isfinite(product) else round(Fraction(float(value)) * 10**digits)


def codes(layout: Layout, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The bin of each value (int64): the reference against which faster ways are tested.

    Raises ValueError for a negative value in an exponential layout.
    """
    if layout.kind == "categories":
        at = {value: index for index, value in enumerate(layout.values)}
        return np.array([_category(value, at) for value in values.tolist()], dtype=np.int64)
    numbers = np.asarray(values, dtype=np.float64)
    finite = np.isfinite(numbers)
    given = np.where(finite, numbers, 0.0)
    if layout.kind == "exponential":
        found = np.array([_exponential_bin(value, layout.schema) for value in given.tolist()], dtype=np.int64)
    else:
        side: Literal["left", "right"] = "right" if layout.closed == "left" else "left"
        found = np.searchsorted(np.asarray(layout.edges, dtype=np.float64), given, side=side).astype(np.int64)
    return np.where(finite, found, MISSING)


def _category(value: object, at: Mapping[str, int]) -> int:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    return at.get(str(value), OTHER)


def _exponential_bin(value: float, schema: int) -> int:
    if value < 0:
        raise ValueError(f"an exponential layout holds no negative values, not even {value}")
    if value == 0:
        return ZERO
    place = math.ceil(math.log2(value) * 2.0**schema)
    # log2 may land on the wrong side of a border: the border itself decides.
    place += value > _power(place, schema)
    return place - (value <= _power(place - 1, schema))
