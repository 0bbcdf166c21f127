"""Data drift of a model's features over a window, against the reference that their bins were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tandem import bins, drift
from tandem.measure import Measures
from tandem.records import HOUR, Histogram
from tandem.shown import FeatureDrift
from tandem.store.read import step_for

CELLS = 60
"""Columns of the drift map, at most."""
ENOUGH = 450
"""Rows that a cell of the map needs on average, so that its noise floor lies under the threshold."""


def feature_drift(measures: Measures, component: str, step: int) -> tuple[FeatureDrift, ...]:
    """One row per feature: the window against the reference, all features judged together, worst first."""
    names = [name for name in measures.names(component, "feature") if name]
    references = {name: found for name in names if (found := _reference(measures, component, name)) is not None}
    current = {name: _current(measures, component, name, layout) for name, (layout, _) in references.items()}
    step = max(HOUR, step, _step(measures, max((bins.total(one) for one in current.values()), default=0)))
    compared = {name: drift.compare(reference, current[name]) for name, (_, reference) in references.items()}
    judged = dict(zip(compared, drift.judge(list(compared.values())), strict=True))
    rows = []
    for name, one in compared.items():
        verdict, severity = judged[name]
        rows.append(
            FeatureDrift(
                feature=name, type=one.type, n_reference=one.n_reference, n_current=one.n_current,
                psi=one.psi, js=one.js, ks=one.ks, wasserstein=one.wasserstein,
                noise_floor=one.noise_floor, verdict=verdict, severity=severity,
                daily=_by_step(measures, component, name, references[name], step), step=step,
            )
        )  # fmt: skip
    return tuple(sorted(rows, key=lambda row: -((row.wasserstein if row.type == "number" else row.js) or 0.0)))


def _step(measures: Measures, rows: int) -> int:
    since, until = measures.window.since, measures.window.until
    return step_for(since, until, max(1, min(CELLS, rows // ENOUGH)))


def _reference(measures: Measures, component: str, name: str) -> tuple[int, Histogram] | None:
    found = measures.reader.baseline(component, "feature", name)
    if found is None:
        return None
    layout, counts, sums = found
    return layout, Histogram(measures.reader.store.names.layout(layout), counts, sums)


def _current(measures: Measures, component: str, name: str, layout: int) -> Histogram:
    series = [kept for kept in measures.series(component, "feature", name) if kept.layout == layout]
    window = (measures.window.since // HOUR * HOUR, -(-measures.window.until // HOUR) * HOUR)
    merges = measures.reader.totals("histogram", [kept.id for kept in series], [window], HOUR)
    return _added(measures, layout, [cells for [cells] in merges.values() if cells])


def _added(measures: Measures, layout: int, parts: Sequence[Mapping[int, tuple[int, int]]]) -> Histogram:
    counts: dict[int, int] = {}
    sums: dict[int, int] = {}
    for cells in parts:
        for place, (n, total) in cells.items():
            counts[place] = counts.get(place, 0) + int(n)
            sums[place] = sums.get(place, 0) + int(total)
    return Histogram(measures.reader.store.names.layout(layout), counts, sums)


def _by_step(
    measures: Measures, component: str, name: str, reference: tuple[int, Histogram], step: int
) -> tuple[float | None, ...]:
    layout, histogram = reference
    groups = {kept.id: 0 for kept in measures.series(component, "feature", name) if kept.layout == layout}
    rows = measures.reader.steps("histogram", groups, measures.window.since, measures.window.until, step, HOUR)
    parts: dict[int, dict[int, tuple[int, int]]] = {}
    for _, start, place, n, total in rows:
        parts.setdefault(start, {})[place] = (n, total)
    starts = range(measures.window.since // step * step, measures.window.until, step)
    found = []
    for start in starts:
        now = _added(measures, layout, [parts[start]]) if start in parts else None
        found.append(None if now is None else _certain(drift.compare(histogram, now)))
    return tuple(found)


def _certain(found: drift.Comparison) -> float | None:
    """The effect, where there are rows enough to tell it from noise."""
    floor = found.noise_floor
    return found.effect if floor is not None and floor <= drift.MODERATE else None
