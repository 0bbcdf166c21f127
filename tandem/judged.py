"""A model over a window: quality by version over time, scores, labels, fairness, runs and volume, read together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

from tandem import bins, fairness, faulty, measured, scores, slo, uncertainty
from tandem.bins import MISSING
from tandem.counted import Counted, added, counted
from tandem.measure import LABEL_STEP, Asked, Measures
from tandem.modelled import Calibration, ErrorBars, Fair, Labels, Modelled, Run, ScoreBars, Trace, Traced, Unit, Volume
from tandem.quality import mean
from tandem.records import Event, Histogram, Moments, Value
from tandem.segmented import columns_of
from tandem.store.file import Kept
from tandem.store.read import step_for

BARS = 30
"""Bars of a score distribution; the bins of a score are joined by fives."""
ERRORS = 40
"""Bars of a distribution of errors, at most."""
POINTS = 96
"""Steps of quality over time, at most."""
FEWEST = 6
PER_POINT = 40
"""Labelled predictions that a step of one version holds on average."""
VERSIONS = 6
"""Versions that are traced one by one: those with most labelled predictions."""
CLASSES = 12
"""Classes whose fairness is looked at: the commonest."""
RUNS = 12
AGES = (0, 6, 12, 24, 48, 72, 120, 168, 336, 504, 672)
"""Hours between which label coverage is told by the age of the prediction."""


def modelled(measures: Measures, component: str, found: Counted | None = None) -> Modelled:
    """All of the model's page that is about the model itself."""
    found = found or counted(measures, component)
    worth = worth_of(measures, component)
    return Modelled(
        task=found.task,
        positive=found.positive,
        measures=measured.measures(found, worth),
        classes=measured.classes(found.confusion),
        labels=labels(measures, found),
        trace=trace(measures, found),
        scores=bars(found),
        calibration=calibration(found),
        thresholds=thresholds(found),
        fairness=fair(measures, found),
        quality=faulty.quality(measures, component, found),
        runs=runs(measures, component),
        volume=volume(measures, component),
        currency=worth.currency if worth else "",
        errors=errors(measures, found),
    )


def worth_of(measures: Measures, component: str) -> measured.Worth | None:
    """What the configuration says that predictions of a model are worth; None where it says nothing."""
    mine = next((one for one in measures.components if one.name == component), None)
    if mine is None or not mine.worth:
        return None
    return measured.Worth(mine.currency, {(one.actual, one.predicted): one.value for one in mine.worth})


# -- labels


def labels(measures: Measures, found: Counted) -> Labels:
    """How far labels have come, by the age of their predictions."""
    steps = measures.label_steps(found.component)
    labelled, predictions = found.labelled, found.coverage.total or found.volume.total
    mature = measures.mature(found.component)
    ripe = [(good, total) for start, good, total in steps if start < mature]
    good, total = (sum(pair[place] for pair in ripe) for place in (0, 1))
    return Labels(
        labelled=labelled,
        predictions=predictions,
        interval=slo.wilson(labelled, predictions) if labelled <= predictions else None,
        mature=mature,
        plateau=good / total if total else None,
        by_age=_by_age(steps, min(measures.end, measures.now)),
        ages=_ages(found.ages),
        aged=bins.total(found.ages) if found.ages is not None else 0,
    )


def _by_age(steps: Sequence[tuple[int, int, int]], now: int) -> tuple[tuple[int, int, int, int], ...]:
    rows = []
    for low, high in pairwise(AGES):
        inside = [(good, total) for start, good, total in steps
                  if low * 3600 <= now - min(now, start + LABEL_STEP) < high * 3600]  # fmt: skip
        total = sum(n for _, n in inside)
        if total:
            rows.append((low * 3600, high * 3600, sum(good for good, _ in inside), total))
    return tuple(rows)


def _ages(found: Histogram | None) -> dict[str, float] | None:
    if found is None or not bins.total(found):
        return None
    quantiles = {name: bins.quantile(found, q) for name, q in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
    return {name: one.value for name, one in quantiles.items() if one is not None}


# -- quality over time


@dataclass(frozen=True)
class _Way:
    """What is traced: the signal, its kind, and the title, unit and target of what is read from it."""

    kind: str
    signal: str
    name: str
    title: str
    unit: Unit
    measure: str


def trace(measures: Measures, found: Counted) -> Trace | None:
    """Quality by version over time; None without a label in the window."""
    way = _way(measures, found)
    labelled = sum(found.confusion.cells.values()) or found.errors.get("error", Moments()).n
    series = measures.counted(found.component, way.signal, way.name)
    if not labelled or not series:
        return None
    asked = _asked(measures, found.component, way)
    window, versions = measures.window, len({kept.placed.version for kept in series})
    points = max(FEWEST, min(POINTS, labelled // (PER_POINT * min(versions, VERSIONS))))
    step = step_for(window.since, window.until, points)
    starts = range(window.since // step * step, window.until, step)
    values = _values(measures, way.kind, series, step)
    traced = [_traced(version, [values.get((version, start), []) for start in starts], measures, asked)
              for version in sorted({kept.placed.version for kept in series})]  # fmt: skip
    most = sorted((one for one in traced if any(one.n)), key=lambda one: (-sum(one.n), one.version))[:VERSIONS]
    edge = measures.mature(found.component)
    return Trace(
        title=way.title, unit=way.unit, target=float(asked.target) if asked.target is not None else None, step=step,
        versions=tuple(sorted(most, key=lambda one: (len(one.version), one.version))),
        immature=tuple(start + step > edge for start in starts), measure=way.measure,
    )  # fmt: skip


def _values(measures: Measures, kind: str, series: Sequence[Kept], step: int) -> dict[tuple[str, int], list[Value]]:
    """What each version counted in each step, one value per layout."""
    alike = {(kept.placed.version, kept.layout): kept for kept in series}
    places = list(alike)
    groups = {kept.id: places.index((kept.placed.version, kept.layout)) for kept in series}
    merges: dict[tuple[int, int], dict[Any, Any]] = {}
    for place, start, *row in measures.reader.steps(kind, groups, measures.window.since, measures.window.until, step):
        key, values = {"confusion": (tuple(row[:2]), row[2:]), "histogram": (row[0], row[1:])}.get(kind, (None, row))
        merges.setdefault((place, int(start)), {})[key] = values
    found: dict[tuple[str, int], list[Value]] = {}
    for (place, start), merge in merges.items():
        value = measures.value(kind, alike[places[place]], merge[None] if kind == "moments" else merge)
        found.setdefault((places[place][0], start), []).append(value)
    return found


def _way(measures: Measures, found: Counted) -> _Way:
    if found.task != "regression":
        return _Way("confusion", "outcome", "", "Accuracy", "share", "accuracy")
    tolerance = any(one.component == found.component and one.signal == "error" and one.tolerance is not None
                    for one in measures.config.objectives)  # fmt: skip
    if tolerance:
        return _Way("histogram", "error", "", "Within tolerance", "share", "within")
    return _Way("moments", "error", "absolute", "Mean absolute error", "target", "mae")


def _asked(measures: Measures, component: str, way: _Way) -> Asked:
    """The first objective on what is traced, or none."""
    some = measures.asked([component], [way.signal])
    plain = [one for one in some if one.measure in ("", "accuracy")]
    one = (plain or some)[0]
    return one if plain and way.kind != "moments" else replace(one, target=None, measure="")


def _traced(version: str, steps: Sequence[Sequence[Value]], measures: Measures, asked: Asked) -> Traced:
    points = [_point(some, measures, asked) for some in steps]
    values, lows, highs, n = zip(*points, strict=True)
    return Traced(version, tuple(values), tuple(lows), tuple(highs), tuple(n))


def _point(
    some: Sequence[Value], measures: Measures, asked: Asked
) -> tuple[float | None, float | None, float | None, int]:
    """(value, low, high, n) of one step."""
    if some and isinstance(some[0], Moments):
        moments = added([one for one in some if isinstance(one, Moments)])
        low, high = uncertainty.of_mean(moments) or (None, None)
        return mean(moments), low, high, moments.n
    counts = [pair for one in some if (pair := measures.counts(asked, one)) is not None]
    good, total = sum(k for k, _ in counts), sum(n for _, n in counts)
    interval = slo.wilson(good, total)
    return (good / total, *interval, total) if interval else (None, None, None, 0)


# -- scores


def bars(found: Counted) -> ScoreBars | None:
    """The score distribution of each class; None without a score."""
    if not found.scores:
        return None
    layout = next(iter(found.scores.values())).layout
    if layout.kind != "edges" or not layout.edges:
        return None
    every = max(1, -(-(len(layout.edges) + 1) // BARS))
    places = [range(low, min(low + every, len(layout.edges) + 1)) for low in range(0, len(layout.edges) + 1, every)]
    edges = (0.0, *(layout.edges[one.stop - 1] for one in places[:-1]), 1.0)
    shown = []
    for name, one in sorted(found.scores.items(), key=lambda pair: (pair[0] == "", pair[0])):
        n = bins.total(one) if one.layout == layout else 0
        if n:
            shown.append((name, n, tuple(sum(one.counts.get(place, 0) for place in some) / n for some in places)))
    missing = sum(one.counts.get(MISSING, 0) for one in found.scores.values())
    return ScoreBars(edges, tuple(shown), missing, found.positive) if shown or missing else None


def errors(measures: Measures, found: Counted) -> ErrorBars | None:
    """The errors of a regression between their outermost bins that hold any; None without a labelled prediction."""
    n = bins.total(found.error) if found.error is not None else 0
    if found.error is None or not n or found.error.layout.kind != "edges":
        return None
    layout = found.error.layout
    used = [place for place, count in found.error.counts.items() if count and place != MISSING]
    low, high = max(min(used), 1), min(max(used), len(layout.edges) - 1)
    every = max(1, -(-(high - low + 1) // ERRORS))
    groups = [range(begin, min(begin + every, high + 1)) for begin in range(low, high + 1, every)]
    shares = [sum(found.error.counts.get(place, 0) for place in some) for some in groups]
    shares[0] += found.error.counts.get(0, 0)
    shares[-1] += found.error.counts.get(len(layout.edges), 0)
    edges = (layout.edges[low - 1], *(layout.edges[some.stop - 1] for some in groups))
    tolerance = next((float(one.tolerance) for one in measures.config.objectives if one.component == found.component
                      and one.signal == "error" and one.tolerance is not None), None)  # fmt: skip
    return ErrorBars(edges, tuple(one / n for one in shares), n, tolerance)


def calibration(found: Counted) -> Calibration | None:
    """The calibration curve of a binary classifier; None without a labelled score."""
    sides = found.sides if found.task == "binary" else None
    points = scores.calibration(*sides) if sides is not None else ()
    if sides is None or not points:
        return None
    return Calibration(points, scores.ece(*sides), scores.ece_by_chance(*sides))


def thresholds(found: Counted) -> tuple[scores.WhatIf, ...]:
    """What every threshold that the bins answer exactly would do, from low to high; empty without labelled scores."""
    sides = found.sides if found.task == "binary" else None
    if sides is None or not bins.total(sides[0]) + bins.total(sides[1]):
        return ()
    rest = found.scores.get("")
    made = (scores.at_threshold(*sides, rest, edge) for edge in scores.thresholds(sides[0].layout))
    return tuple(one for one in made if one is not None)


# -- fairness


def fair(measures: Measures, found: Counted) -> tuple[Fair, ...]:
    """Fairness gaps of every segment column, and of every class of a model with several; corrected all together."""
    if found.task not in ("binary", "multiclass") or not found.segments:
        return ()
    asked = [(column, positive, fairness.fairness(groups, positive))
             for column, groups in columns_of(measures, found.component, found.segments).items()
             for positive in _classes(found)]  # fmt: skip
    asked = [one for one in asked if one[2]]
    stands = iter(fairness.standing([gap for *_, gaps in asked for gap in gaps.values()]))
    return tuple(
        Fair(column, positive, tuple(gaps.values()), tuple(next(stands) for _ in gaps))
        for column, positive, gaps in asked
    )


def _classes(found: Counted) -> list[str]:
    if found.task == "binary":
        return [found.positive]
    weight: dict[str, int] = {}
    for (actual, _), count in found.confusion.cells.items():
        weight[actual] = weight.get(actual, 0) + count
    return sorted(sorted(weight, key=lambda name: (-weight[name], name))[:CLASSES])


# -- runs and volume


def runs(measures: Measures, component: str) -> tuple[Run, ...]:
    """The newest training runs up to the end of the window, newest first."""
    known = measures.reader.events(0, measures.end, components=[component], kinds=["training"],
                                   environment=measures.filters.environment, newest=True)  # fmt: skip
    first: dict[str, tuple[int, Event]] = {}
    for source, event in sorted(known, key=lambda pair: measures.rank(pair[0])):
        first.setdefault(event.run or event.key, (source, event))
    newest = sorted(first.values(), key=lambda pair: (-pair[1].ts, pair[1].key))
    mine = [pair for pair in newest if measures.filters.version in ("", pair[1].version)]
    return tuple(_run(measures, *pair) for pair in mine[:RUNS])


def _run(measures: Measures, source: int, event: Event) -> Run:
    return Run(
        key=event.run or event.key, title=event.title, started=event.started or event.ts, ended=event.ended,
        outcome=event.outcome, version=event.version, commit=event.commit, data_version=event.data_version,
        source=measures.source_name(source), url=event.url,
    )  # fmt: skip


def volume(measures: Measures, component: str) -> Volume | None:
    """Predictions per step, by version; None without any."""
    series = measures.counted(component, "volume")
    versions = sorted({kept.placed.version for kept in series}, key=lambda text: (len(text), text))
    window = measures.window
    step = step_for(window.since, window.until, POINTS)
    groups = {kept.id: versions.index(kept.placed.version) for kept in series}
    counts: dict[tuple[int, int], int] = {}
    for place, start, _, total in measures.reader.steps("ratio", groups, window.since, window.until, step):
        counts[place, start] = int(total)
    starts = range(window.since // step * step, window.until, step)
    shown = tuple((version, tuple(counts.get((place, start), 0) for start in starts))
                  for place, version in enumerate(versions))  # fmt: skip
    shown = tuple(pair for pair in shown if any(pair[1]))
    return Volume(step, shown) if shown else None
