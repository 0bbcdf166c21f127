"""Data drift of a model's features over a window, against the reference that their bins were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isinf

from tandem import bins, drift
from tandem.measure import Measures
from tandem.records import HOUR, Histogram
from tandem.shown import Distribution, FeatureDrift, Served
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
    series = [kept for kept in measures.counted(component, "feature", name) if kept.layout == layout]
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
    groups = {kept.id: 0 for kept in measures.counted(component, "feature", name) if kept.layout == layout}
    rows = measures.reader.steps("histogram", groups, measures.window.since, measures.window.until, step)
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


# -- one feature as it was and as it is

BARS = 24
"""Bins that are told apart; the rarest categories of more are added up."""


def distribution(
    measures: Measures, component: str, features: Sequence[FeatureDrift], chosen: str = ""
) -> Distribution | None:
    """The chosen feature, or the first of `features`, beside its reference; None where there is none."""
    found = next((one for one in features if one.feature == chosen), features[0] if features else None)
    reference = _reference(measures, component, found.feature) if found else None
    if found is None or reference is None:
        return None
    layout, before = reference
    now = _current(measures, component, found.feature, layout)
    places = _shown_places(before, now)
    was, there = bins.total(before), bins.total(now)
    return Distribution(
        feature=found.feature, type=found.type, labels=tuple(label for label, _ in places),
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
        return [(_number_label(layout, place), [place]) for place in sorted(used)]
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
