"""The arithmetic of scraped series: increases of counters and histograms per bucket, and what was really seen.

The rule: the increase between two neighbouring samples belongs to the later one's bucket; a series' first sample
counts nothing; a fall is a reset and counts the new value; nothing is bridged over more than BRIDGE seconds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from tandem.bins import ZERO, Layout
from tandem.intervals import union
from tandem.records import BUCKET

BRIDGE = 600
"""Seconds over which an increase between two samples still counts."""
_WHOLE = 1e-9
"""Relative distance to a whole number within which a difference of floats is that number."""
_SCHEMAS = range(-4, 9)

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Native:
    """One sample of a native histogram: counts by bin of `schema`, and the width of the zero bin.

    `schema` is None while no bin but the one around zero was filled.
    """

    count: int
    schema: int | None
    bins: Mapping[int, int]
    threshold: float = 0.0


@dataclass(frozen=True)
class Scraped:
    """One series as stored: labels with `__name__`, times in epoch milliseconds, ascending, and a value for each."""

    labels: Mapping[str, str]
    times: Array
    values: Array
    natives: Sequence[Native] = ()


Grown = tuple[int, Layout, dict[int, int] | None]
"""(bucket, layout, counts per bin); None where the samples are no counts, so that the bucket cannot be known."""


def scraped(labels: Mapping[str, str], times: Sequence[int] | Array, values: Sequence[float] | Array) -> Scraped:
    """A series of numbers in order of time; repeated times keep the last value, NaN (also "stale") is no sample."""
    at, said = np.asarray(times, dtype=np.int64), np.asarray(values, dtype=np.float64)
    if at.size > 1 and not bool((at[1:] > at[:-1]).all()):
        order = np.argsort(at, kind="stable")
        at, said = at[order], said[order]
        last = np.append(at[1:] != at[:-1], True)
        at, said = at[last], said[last]
    there = ~np.isnan(said)
    return Scraped(labels, at[there], said[there])


def buckets(times: Array) -> Array:
    """The bucket of each time, epoch seconds."""
    return np.asarray(times // (BUCKET * 1000) * BUCKET, dtype=np.int64)


def increases(times: Array, values: Array) -> tuple[Array, Array, Array]:
    """(bucket, increase, broken) of every sample that has a neighbour to count from.

    `broken` marks increases that are no whole numbers, and negative or infinite counters; their increase is 0.
    """
    if times.size < 2:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64), np.empty(0, dtype=np.bool_)
    before, after = values[:-1], values[1:]
    near = np.diff(times) <= BRIDGE * 1000
    grown, broken = _whole(np.where(after >= before, after - before, after)[near], np.maximum(before, after)[near])
    return buckets(times[1:][near]), grown, broken


def _whole(grown: Array, scale: Array) -> tuple[Array, Array]:
    fine = np.isfinite(grown) & (grown >= 0) & (scale < 2.0**53)
    whole = np.rint(np.where(fine, grown, 0.0))
    fine &= np.abs(np.where(fine, grown, 0.0) - whole) <= _WHOLE * np.maximum(np.where(fine, scale, 1.0), 1.0)
    return np.where(fine, whole, 0.0).astype(np.int64), ~fine


def summed(at: Array, amounts: Array) -> dict[int, int]:
    """Bucket -> sum."""
    found, where = np.unique(at, return_inverse=True)
    total = np.zeros(found.size, dtype=np.int64)
    np.add.at(total, where, amounts)
    return dict(zip(found.tolist(), total.tolist(), strict=True))


def classic(series: Mapping[float, Scraped]) -> Iterator[Grown]:
    """What a classic histogram counted, given its series by upper edge.

    The bounds are compared together, so that a restart is seen even where one of them did not fall. Where the set of
    bounds changes, the increase counts on the bounds both have. Raises ValueError without +Inf.
    """
    edges = sorted(series)
    if not edges or edges[-1] != math.inf:
        raise ValueError("a histogram lacks its +Inf bucket")
    times = np.unique(np.concatenate([series[edge].times for edge in edges]))
    table = np.full((times.size, len(edges)), np.nan)
    for column, edge in enumerate(edges):
        table[np.searchsorted(times, series[edge].times), column] = series[edge].values
    whole = ~np.isnan(table[:, -1])
    times, table = times[whole], table[whole]
    there = ~np.isnan(table)
    borders = np.flatnonzero((there[1:] != there[:-1]).any(axis=1)) + 1 if times.size else np.empty(0, dtype=np.int64)
    for begin, end in pairwise([0, *borders.tolist(), times.size]):
        yield from _steady(times[begin:end], table[begin:end][:, there[begin]], _finite(edges, there[begin]))
        if end < times.size:
            yield from _changed(times[end - 1 : end + 1], table[end - 1 : end + 1], edges)


def _finite(edges: Sequence[float], there: Array) -> tuple[float, ...]:
    return tuple(edge for edge, is_there in zip(edges, there, strict=True) if is_there and math.isfinite(edge))


def _steady(times: Array, table: Array, edges: tuple[float, ...]) -> Iterator[Grown]:
    """The increases of neighbouring rows with the same bounds."""
    if times.size < 2:
        return
    before, after = table[:-1], table[1:]
    fell: Array = np.asarray((after < before).any(axis=1))
    grown = np.where(fell[:, None], after, after - before)
    near = np.diff(times) <= BRIDGE * 1000
    at = buckets(times[1:][near])
    each, broken = _whole(grown[near], np.maximum(before, after)[near])
    found, where = np.unique(at, return_inverse=True)
    total = np.zeros((found.size, table.shape[1]), dtype=np.int64)
    np.add.at(total, where, each)
    counts = np.diff(total, axis=1, prepend=0)
    unknown: Array = np.asarray((counts < 0).any(axis=1))
    unknown[where[broken.any(axis=1)]] = True
    layout = Layout(edges=edges, closed="right", unit="s")
    for bucket, row, is_unknown in zip(found.tolist(), counts.tolist(), unknown.tolist(), strict=True):
        yield bucket, layout, None if is_unknown else {place: n for place, n in enumerate(row) if n}


def _changed(times: Array, table: Array, edges: Sequence[float]) -> Iterator[Grown]:
    """The increase between two neighbouring rows with different bounds."""
    there = ~np.isnan(table)
    shared = there[0] & there[1]
    if bool((table[1][shared] < table[0][shared]).any()):
        fresh = np.vstack([np.zeros(int(there[1].sum())), table[1][there[1]]])
        yield from _steady(times, fresh, _finite(edges, there[1]))
    elif shared[:-1].any():
        yield from _steady(times, table[:, shared], _finite(edges, shared))


def native(times: Array, samples: Sequence[Native]) -> Iterator[Grown]:
    """(bucket, layout, counts per bin) of each increase of a native histogram."""
    places = buckets(times)
    for i in range(1, len(samples)):
        if times[i] - times[i - 1] > BRIDGE * 1000:
            continue
        schema, counts = _grown(samples[i - 1], samples[i])
        if counts:
            yield int(places[i]), Layout(kind="exponential", schema=schema, unit="s"), counts


def _grown(before: Native, after: Native) -> tuple[int, dict[int, int]]:
    known = [one.schema for one in (before, after) if one.schema is not None]
    if after.count < before.count or not known:
        return after.schema or 0, dict(after.bins)
    schema = min(known)
    old = _coarser(_widened(before, after.threshold), before.schema, schema)
    new = _coarser(after.bins, after.schema, schema)
    counts = {place: n - old.get(place, 0) for place, n in new.items() if n != old.get(place, 0)}
    if any(n < 0 for n in counts.values()) or any(place not in new for place in old):
        return after.schema or 0, dict(after.bins)
    return schema, counts


def _widened(sample: Native, threshold: float) -> dict[int, int]:
    """Its bins after the bin around zero grew to `threshold`: what lies inside it is counted there."""
    if sample.schema is None or threshold <= sample.threshold:
        return dict(sample.bins)
    found: dict[int, int] = {}
    for place, n in sample.bins.items():
        inside = place != ZERO and 2.0 ** (place * 2.0**-sample.schema) <= threshold * (1 + 1e-12)
        found[ZERO if inside else place] = found.get(ZERO if inside else place, 0) + n
    return found


def _coarser(bins: Mapping[int, int], schema: int | None, wanted: int) -> dict[int, int]:
    if schema is None or schema == wanted:
        return dict(bins)
    step = 2 ** (schema - wanted)
    found: dict[int, int] = {}
    for place, n in bins.items():
        key = place if place == ZERO else -(-place // step)
        found[key] = found.get(key, 0) + n
    return found


def native_of(told: Mapping[str, Any]) -> Native:
    """A native histogram of the API's JSON, {"count", "sum", "buckets": [[rule, low, high, count], ...]}.

    Raises ValueError for negative values, custom bounds and counts that are no whole numbers.
    """
    bins: dict[int, int] = {}
    schema: int | None = None
    threshold = 0.0
    for rule, low, high, n in told.get("buckets") or ():
        bottom, top, count = float(low), float(high), _count(n)
        if int(rule) == 3 or bottom <= 0 <= top:
            threshold, place = max(threshold, top), ZERO
        elif bottom < 0:
            raise ValueError("a native histogram holds negative values")
        else:
            own, place = _place(bottom, top)
            if schema not in (None, own):
                raise ValueError("a native histogram has custom bounds")
            schema = own
        bins[place] = bins.get(place, 0) + count
    return Native(_count(told["count"]), schema, bins, threshold)


def _count(text: Any) -> int:
    value = float(text)
    if not math.isfinite(value) or value < 0 or value != math.floor(value):
        raise ValueError("a native histogram's count is no whole number")
    return int(value)


def _place(low: float, high: float) -> tuple[int, int]:
    """(schema, bin) of the bounds base**(bin-1) and base**bin, where base is 2**(2**-schema)."""
    if not math.isfinite(high) or high <= low:
        raise ValueError("a native histogram has custom bounds")
    width = math.log2(high) - math.log2(low)
    schema = round(-math.log2(width))
    place = math.log2(high) * 2.0**schema
    if schema not in _SCHEMAS or abs(width * 2.0**schema - 1) > 1e-6 or abs(place - round(place)) > 1e-6:
        raise ValueError("a native histogram has custom bounds")
    return schema, round(place)


def seen(times: Array, interval: float | None, *, counter: bool, since: int) -> list[tuple[int, int]]:
    """The stretches [since, until) that the samples from `since` (epoch seconds) on vouch for.

    A sample vouches back to its neighbour when that is at most twice the scrape interval away (a counter: BRIDGE, for
    the increase is known), else for one interval; a counter's first sample and one behind a longer silence vouch for
    nothing, because they count nothing. `interval` None: the median gap.
    """
    if not times.size:
        return []
    gaps = np.diff(times) / 1000
    usual = interval or (float(np.median(gaps)) if gaps.size else 0.0)
    longest = float(BRIDGE) if counter else 2 * usual
    back = np.concatenate([[0.0 if counter else usual], np.where(gaps <= longest, gaps, 0.0 if counter else usual)])
    begins = (times - np.rint(back * 1000).astype(np.int64)) // 1000
    own = times >= since * 1000
    return union(zip(begins[own].tolist(), (times[own] // 1000).tolist(), strict=True))
