"""The page of one component: its objectives, latency, drift, quality, versions and what happened to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tandem import (
    against,
    apart,
    bins,
    cards,
    curves,
    drifting,
    joint,
    judged,
    lanes,
    lines,
    quality_json,
    segmented,
    shows,
    slo,
    stepped,
    whose,
)  # fmt: skip
from tandem.config import Component
from tandem.counted import Counted, counted
from tandem.joint import Joint
from tandem.measure import Answer, Measures
from tandem.records import Histogram
from tandem.shown import Band, Cell, Detail, Half, Line, Mixed, Window, worst
from tandem.store.read import step_for


def answer(measures: Measures, component: Component, compare: Window | Half | None, feature: str) -> Detail:
    """Everything the page of one component shows; raises Unreadable for an unknown one.

    With `compare`, what each cell was over that window; `feature` is the one whose distribution is shown.
    """
    window, name, environment = measures.window, component.name, measures.filters.environment
    step = step_for(window.since, window.until, lines.POINTS)
    answers, joints = _with_joints(measures, name)
    cells, drawn = _component_cells(measures, answers, compare)
    stored = drifting.against_stored(measures, name) if component.kind == "model" else None
    drifts = drifting.by_step(stored, apart.drifts(stored), step) if stored else None
    rows = drifts.rows if drifts else ()
    partners = tuple(one.name for one in measures.components if one.product == component.product and one.name != name)
    changes = lanes.changed(measures, window, [name, *partners], environment)
    found = counted(measures, name) if component.kind == "model" else None
    model = judged.modelled(measures, name, found) if found else None
    return Detail(
        component=name, kind=component.kind, product=component.product, state=worst(cards.judged(cells)), window=window,
        as_of=measures.reader.as_of, step=step, now=measures.now, newest=measures.newest_end(),
        cells=cells, latency=_band(measures, name, step_for(window.since, window.until, lines.POINTS // 2)),
        lines=drawn,
        partners=partners, changes=tuple(changes[: lanes.CHANGES]),
        features=rows, drifts=drifts, confusion=found.confusion.cells if found else {},
        segments=_segments(found), quality=quality_json.answer(measures, name, found, model) if found else None,
        versions=tuple(shows.versions(measures, name)), samples=tuple(shows.samples(measures, name)),
        compared=against.window_of(window, compare), distribution=drifting.distribution(stored, rows, feature),
        served=drifting.served(measures, name) if component.kind == "model" else (),
        model=model, mixed=_mixed(measures, answers, compare),
        joint=joints,
        corrections=measures.left_out_of([name]), curves=curves.curves(measures, answers),
        asked=curves.asked(measures, answers, step) if component.kind == "service" else None,
        unseen=curves.unseen(measures, answers),
        whose=whose.whose(measures, name, answers, rows) if component.kind == "model" else None,
    )  # fmt: skip


def _mixed(
    measures: Measures, answers: Sequence[Answer], compare: Window | Half | None
) -> Mapping[str, tuple[Mixed, ...]]:
    """Mix or real of every ratio of a component that segments cut, by signal; nothing without a comparison."""
    if compare is None:
        return {}
    then = against.other(measures, compare)
    first = {answer.asked.signal.name: answer.asked for answer in reversed(answers) if answer.good is not None}
    found = {signal: segmented.mixed(measures, then, one) for signal, one in first.items()}
    return {signal: some for signal, some in found.items() if some}


def _with_joints(measures: Measures, component: str) -> tuple[list[Answer], tuple[Joint, ...]]:
    """All that is asked of a component, and what it promises together with others, read together where it can be."""
    whole = measures.whole()
    mine = measures.asked([component])
    if whole is not measures:
        return measures.answers(mine), joint.of_components(whole, [component])[component]
    answers = measures.answers([*mine, *joint.asked(measures, [component], [component])])
    return answers[: len(mine)], joint.of_components(measures, [component], answers)[component]


def _component_cells(
    measures: Measures, answers: Sequence[Answer], compare: Window | Half | None
) -> tuple[tuple[Cell, ...], tuple[Line, ...]]:
    """One cell per objective with its sparkline and what it was over the other window, and its line; read together."""
    planned = _component_lines(measures, answers)
    asks = [
        *(lines.sparked(measures, [answer]) for answer in answers),
        *(([answer], line.step) for line, answer in planned),
    ]
    sparks = stepped.shares(measures, asks)
    drawn = tuple(lines.with_points(measures, line, [answer], points)
                  for (line, answer), points in zip(planned, sparks[len(answers) :], strict=True))  # fmt: skip
    cells = [cards.cell(measures, answer, spark if answer.good is not None else ())
             for answer, spark in zip(answers, sparks, strict=False)]  # fmt: skip
    return _against(measures, answers, cells, compare), drawn


def _against(
    measures: Measures, answers: Sequence[Answer], cells: Sequence[Cell], compare: Window | Half | None
) -> tuple[Cell, ...]:
    """The cells of a component with what they were over the other window."""
    then = against.earlier(measures, compare, {(str(place), ""): answer for place, answer in enumerate(answers)})
    if then is None:
        return tuple(cells)
    before = list(then.answers.values())
    olds = stepped.shares(then.measures, [lines.sparked(then.measures, [answer]) for answer in before])
    return tuple(replace(cell, compared=against.compared(now, old, spark if old.good is not None else ()))
                 for cell, now, old, spark in zip(cells, answers, before, olds, strict=True))  # fmt: skip


def _component_lines(measures: Measures, answers: Sequence[Answer]) -> list[tuple[Line, Answer]]:
    """The lines of a component, still without points, and the answer that each is drawn from."""
    return [(lines.line_for(measures, answer.asked.signal.title, float(answer.asked.target), [answer]), answer)
            for answer in answers if answer.asked.target is not None and answer.seen]  # fmt: skip


def _band(measures: Measures, component: str, step: int) -> Band | None:
    series = measures.counted(component, "latency")
    if not series:
        return None
    rows = measures.reader.steps("histogram", {kept.id: kept.layout for kept in series}, measures.window.since,
                                 measures.window.until, step)  # fmt: skip
    layouts = {kept.layout: kept for kept in series}
    parts: dict[int, dict[int, dict[int, tuple[int, int]]]] = {}
    for layout, start, place, n, total in rows:
        parts.setdefault(start, {}).setdefault(layout, {})[place] = (n, total)
    merged = {
        start: bins.merge([_histogram(measures, layouts[layout], cells) for layout, cells in some.items()]).histogram
        for start, some in parts.items()
    }
    starts = range(measures.window.since // step * step, measures.window.until, step)
    edges = _common_edges(merged.values())
    quantiles = {
        name: tuple(_quantile(merged[start], q) if start in merged else None for start in starts)
        for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    empty = (0,) * (len(edges) + 1)
    counts = tuple(
        tuple(merged[start].counts.get(place, 0) for place in range(len(edges) + 1))
        if start in merged and merged[start].layout.edges == edges
        else empty
        for start in starts
    )
    return Band(step, edges, counts, quantiles)


def _histogram(measures: Measures, kept: Any, cells: Mapping[int, tuple[int, int]]) -> Histogram:
    found = measures.value("histogram", kept, cells)
    assert isinstance(found, Histogram)
    return found


def _common_edges(histograms: Iterable[Histogram]) -> tuple[float, ...]:
    layouts = [one.layout.edges for one in histograms if one.layout.kind == "edges"]
    return max(set(layouts), key=layouts.count) if layouts else ()


def _quantile(histogram: Histogram, q: float) -> float | None:
    found = bins.quantile(histogram, q)
    return found.value if found else None


def _segments(found: Counted | None) -> tuple[tuple[str, int, int, tuple[float, float] | None], ...]:
    """Accuracy of every segment, the worst first."""
    rows = []
    for segment, confusion in (found.segments if found else {}).items():
        good = sum(n for (actual, predicted), n in confusion.cells.items() if actual == predicted)
        total = sum(confusion.cells.values())
        rows.append((segment, good, total, slo.wilson(good, total)))
    return tuple(sorted(rows, key=lambda row: row[1] / row[2] if row[2] else 1.0))
