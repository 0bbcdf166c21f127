"""A model's drift step by step, one feature as it was and as it is, and which version served when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isinf

import numpy as np

from tandem import apart, bins, drift, drift_row
from tandem.apart import Key, Pair
from tandem.measure import Measures
from tandem.records import HOUR, Histogram
from tandem.shown import Distribution, Drifts, FeatureDrift, Half, Served, Unreadable
from tandem.store.read import step_for
from tandem.store.references import Reference

CELLS = 60
"""Columns of the drift map, at most."""
ENOUGH = 450
"""Rows that a cell of the map needs on average, so that its noise floor lies under the threshold."""
KEYS: Mapping[str, Key] = {drift_row.PREDICTION: ("prediction", ""), drift_row.SCORE: ("score", "")}
"""What the rows are kept under that are no features."""


def against_stored(measures: Measures, component: str) -> Pair | None:
    """The window of `measures` and the stored reference; None where there is none, or nothing to compare."""
    filters = measures.filters
    current = Half("window", measures.window, filters.version, filters.segment, filters.stage, filters.environment)
    try:
        return apart.pair(measures.reader, measures.config, component, current, None, measures.now)
    except Unreadable:
        return None


def by_step(found: Pair, drifts: Drifts, step: int) -> Drifts:
    """The rows of features and predictions with their effect per step, each at least `step` seconds wide."""
    most = max((row.n_current for row in drifts.rows), default=0)
    window = found.current.measures.window
    step = max(HOUR, step, step_for(window.since, window.until, max(1, min(CELLS, most // ENOUGH))))
    keys = {row.feature: key for row in drifts.rows if (key := key_of(row.feature)) in found.references}
    effects = _steps(found, list(keys.values()), step)
    rows = [replace(row, daily=effects[keys[row.feature]], step=step) if row.feature in keys else row
            for row in drifts.rows]  # fmt: skip
    return replace(drifts, rows=tuple(rows))


def key_of(feature: str) -> Key:
    """The signal and name under which a row's histograms are kept."""
    return KEYS.get(feature, ("feature", feature))


def _steps(found: Pair, keys: Sequence[Key], step: int) -> dict[Key, tuple[float | None, ...]]:
    """The effect of each step against the stored reference, all read at once; None without rows enough to tell."""
    measures = found.current.measures
    window = measures.window
    groups = {kept.id: place for place, key in enumerate(keys)
              for kept in measures.counted(found.current.component, *key)
              if kept.layout == found.references[key].layout}  # fmt: skip
    cells: list[list[tuple[int, int, int, int]]] = [[] for _ in keys]
    for place, *cell in measures.reader.steps("histogram", groups, window.since, window.until, step):
        cells[place].append((int(cell[0]), int(cell[1]), int(cell[2]), int(cell[3])))
    starts = range(window.since // step * step, window.until, step)
    return {key: _effects(found.references[key], some, starts) for key, some in zip(keys, cells, strict=True)}


def _effects(
    reference: Reference, cells: Sequence[tuple[int, int, int, int]], starts: range
) -> tuple[float | None, ...]:
    column = {place: at for at, place in enumerate(bins.columns(reference.histogram.layout))}
    counts, sums = np.zeros((2, len(starts), len(column)))
    for start, place, n, total in cells:
        if place in column:
            at = (start - starts.start) // starts.step, column[place]
            counts[at], sums[at] = n, total
    effect, floor = drift.effects(reference.histogram, counts, sums, reference.deviation)
    return tuple(None if np.isnan(one) or limit > drift.MODERATE else float(one)
                 for one, limit in zip(effect, floor, strict=True))  # fmt: skip


# -- one feature as it was and as it is

BARS = 24
"""Bins that are told apart; the rarest categories of more are added up."""


def distribution(found: Pair | None, rows: Sequence[FeatureDrift], chosen: str = "") -> Distribution | None:
    """The chosen row, or the first that has anything to show, on both sides; None where there is none."""
    if found is None:
        return None
    drawn = [row for row in rows if row.feature != drift_row.LABEL and (row.n_reference or row.n_current)]
    one = next((row for row in rows if row.feature == chosen), drawn[0] if drawn else None)
    if one is None:
        return None
    now, before = apart.both(found, key_of(one.feature)) if one.feature != drift_row.LABEL else apart.labels(found)
    return pictured(one.feature, one.type, before, now)


def pictured(feature: str, kind: str, before: Histogram, now: Histogram) -> Distribution:
    """Two histograms of one layout, bar by bar."""
    places = _shown_places(before, now)
    was, there = bins.total(before), bins.total(now)
    return Distribution(
        feature=feature, type=kind, labels=tuple(label for label, _ in places),
        reference=tuple(_share(before, some, was) for _, some in places),
        current=tuple(_share(now, some, there) for _, some in places), n_reference=was, n_current=there,
        missing_reference=before.counts.get(bins.MISSING, 0), missing_current=now.counts.get(bins.MISSING, 0),
    )  # fmt: skip


def _share(histogram: Histogram, places: Sequence[int], total: int) -> float:
    return sum(histogram.counts.get(place, 0) for place in places) / total if total else 0.0


def _shown_places(before: Histogram, now: Histogram) -> list[tuple[str, list[int]]]:
    """Each bar's label and the bins that it adds up: numbers in their order, categories by how many there were."""
    layout = before.layout
    used = {place for one in (before, now) for place, n in one.counts.items() if n} - {bins.MISSING}
    if layout.kind != "categories":
        every = sorted(used)
        wide = -(-len(every) // BARS) if len(every) > 2 * BARS else 1
        some = [every[at : at + wide] for at in range(0, len(every), wide)]
        return [(_number_label(layout, places[-1]), places) for places in some]
    ranked = sorted(used - {bins.OTHER}, key=lambda place: -(before.counts.get(place, 0) + now.counts.get(place, 0)))
    rest = [*ranked[BARS:], *(used & {bins.OTHER})]
    return [(layout.values[place], [place]) for place in ranked[:BARS]] + ([("other", rest)] if rest else [])


def _number_label(layout: bins.Layout, place: int) -> str:
    low, high = bins.bounds(layout, place)
    if isinf(high):
        return f"> {low:.4g}" if layout.closed == "right" else f"≥ {low:.4g}"
    return f"≤ {high:.4g}" if layout.closed == "right" else f"< {high:.4g}"


SERVED = 96
"""Steps in which the version that answered most is told apart."""


def served(measures: Measures, component: str) -> tuple[Served, ...]:
    """Which version answered most predictions in each step of the window, neighbouring steps of one version joined."""
    some = measures.series(component, "volume")
    names = sorted({kept.placed.version for kept in some})
    groups = {kept.id: names.index(kept.placed.version) for kept in some}
    step = step_for(measures.window.since, measures.window.until, SERVED)
    most: dict[int, tuple[int, str]] = {}
    for group, start, *_, total in measures.reader.steps("ratio", groups, measures.window.since,
                                                         measures.window.until, step):  # fmt: skip
        if total:
            most[start] = max(most.get(start, (0, "")), (int(total), names[group]))
    found: list[Served] = []
    for start, (_, version) in sorted(most.items()):
        if found and found[-1].version == version:
            found[-1] = Served(version, found[-1].since, start + step)
        else:
            found.append(Served(version, start, start + step))
    return tuple(found)
