"""The lists of services and of models: one row per component, worst first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from tandem import against, bins, slo, stepped, wording
from tandem.config import Component
from tandem.intervals import Span, overlap, union
from tandem.measure import Answer, Measures
from tandem.records import DAY, HOUR, Histogram
from tandem.shown import STATES, Cell, Change, Half, State, Window, worst

CELLS = 90
"""Cells of a strip at most."""
POINTS = 30
"""Points of the small line of a row at most."""
LOOK_BACK = 28 * DAY
"""How long before the end of the window the last change is looked for."""
Attained = Literal["unseen", "quiet", "met", "missed", "far"]
"""What a stretch of time was: nothing was seen of it, seen but nothing happened, or how its objectives fared.

"far" is missed so badly that the factor of a page rule was exceeded, with enough bad events to say so.
"""
ORDER: tuple[Attained, ...] = ("unseen", "quiet", "met", "missed", "far")
MET, MISSED, FAR = map(ORDER.index, ("met", "missed", "far"))
TRENDS: Mapping[str, tuple[str, ...]] = {
    "service": ("latency", "request_success", "availability", "build_success"),
    "model": ("outcome", "error", "drift"),
}
"""The signal of the small line by kind of component: the first that was measured."""


@dataclass(frozen=True, slots=True)
class Trend:
    """The small line of a row: p95 or a share per step; `number` of `signal` is what `text` says of all the window."""

    signal: str
    objective: str
    number: str
    title: str
    text: str
    points: tuple[float | None, ...]
    target: float | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A component: its state, the objective that stands worst, a strip of what was attained, its line, its last change.

    `cell` is the one of the worst objective, else of the first signal; None where nothing is measured. `objectives`
    is how many it has, `troubled` how many of them are breached or at risk.
    """

    component: str
    kind: Literal["service", "model"]
    product: str
    version: str
    state: State
    cell: Cell | None
    objectives: int
    troubled: int
    strip: tuple[Attained, ...]
    trend: Trend | None
    change: Change | None


@dataclass(frozen=True, slots=True)
class Lists:
    """A list of components of one side, worst first; `counts` has every state, before any filter.

    `step` is the seconds of a cell of the strips; the first one begins at the window's start moved down to the step.
    """

    window: Window
    as_of: int
    now: int
    newest: int | None
    step: int
    rows: tuple[Listed, ...]
    counts: Mapping[State, int]
    late: tuple[str, ...] = ()
    compared: Window | None = None


Drawn = Callable[[Measures, Answer], Cell]
Changes = Callable[[Window, Sequence[str]], Sequence[Change]]


def width(window: Window, most: int) -> int:
    """Seconds of a step that cuts a window into at most `most`: whole buckets, hours or days, as it is kept."""
    span = window.until - window.since
    unit = next((one for one in (300, HOUR) if span <= most * one * (12 if one == 300 else 24)), DAY)
    return max(-(-span // (most * unit)), 1) * unit


def lists(
    measures: Measures, components: Sequence[Component], drawn: Drawn, changes: Changes,
    compare: Window | Half | None = None,
) -> tuple[int, tuple[Listed, ...]]:  # fmt: skip
    """Seconds of a cell of the strips, and the rows of some components, worst first."""
    names = [one.name for one in components]
    answers = measures.answers(measures.asked(names))
    cells = [drawn(measures, answer) for answer in answers]
    mine: dict[str, list[int]] = {name: [] for name in names}
    for place, answer in enumerate(answers):
        mine[answer.asked.component].append(place)
    step = width(measures.window, CELLS)
    strips = _strips(measures, {name: [answers[i] for i in places] for name, places in mine.items()}, step)
    trends = _trends(measures, components, {name: [(answers[i], cells[i]) for i in mine[name]] for name in names})
    last = _last(measures, names, changes)
    worsts = {name: _worst([cells[i] for i in places]) for name, places in mine.items()}
    then = _then(measures, compare, {name: (answers[i], cells[i]) for name, places in mine.items()
                                     for i in places if cells[i] is worsts[name]})  # fmt: skip
    rows = [
        _row(one, [cells[i] for i in mine[one.name]], then.get(one.name, worsts[one.name]), strips[one.name],
             trends.get(one.name), last.get(one.name))
        for one in components
    ]  # fmt: skip
    return step, tuple(sorted(rows, key=_rank))


def counts(rows: Sequence[Listed]) -> dict[State, int]:
    """How many components are in each state."""
    return {state: sum(row.state == state for row in rows) for state in STATES}


def _row(
    one: Component, cells: Sequence[Cell], shown: Cell | None, strip: tuple[Attained, ...], trend: Trend | None,
    change: Change | None,
) -> Listed:  # fmt: skip
    judged = [cell.state for cell in cells if cell.objective is not None]
    return Listed(
        component=one.name, kind=one.kind, product=one.product,
        version=next((cell.version for cell in cells if cell.version), ""), state=worst(judged), cell=shown,
        objectives=len(judged), troubled=sum(state in ("breached", "at risk") for state in judged), strip=strip,
        trend=trend, change=change,
    )  # fmt: skip


def _rank(row: Listed) -> tuple[int, float, str]:
    """Worst state first, and among equals the one with the least budget left."""
    objective = row.cell.objective if row.cell else None
    left = objective.budget_left if objective and objective.budget_left is not None else 1.0
    return STATES.index(row.state), left, row.component


def _worst(cells: Sequence[Cell]) -> Cell | None:
    """The cell of the objective that stands worst, least budget first; without objectives the first that is known."""
    aimed = [cell for cell in cells if cell.objective is not None]
    if not aimed:
        return next((cell for cell in cells if cell.total), cells[0] if cells else None)

    def rank(cell: Cell) -> tuple[int, float]:
        left = cell.objective.budget_left if cell.objective else None
        return STATES.index(cell.state), 1.0 if left is None else left

    return min(aimed, key=rank)


def _then(
    measures: Measures, compare: Window | Half | None, shown: Mapping[str, tuple[Answer, Cell]]
) -> dict[str, Cell | None]:
    """The shown cells with what they were over another window."""
    keyed = {(name, ""): answer for name, (answer, _) in shown.items()}
    then = against.earlier(measures, compare, keyed)
    if then is None:
        return {}
    return {name: then.cell((name, ""), cell, answer) for name, (answer, cell) in shown.items()}


# -- strips


def _strips(measures: Measures, answers: Mapping[str, Sequence[Answer]], step: int) -> dict[str, tuple[Attained, ...]]:
    """What each component attained in each step of the window: the worst of its objectives."""
    aimed = [(name, answer) for name, some in answers.items() for answer in some
             if answer.asked.target is not None and answer.seen]  # fmt: skip
    found = stepped.counts(measures, [([answer], step) for _, answer in aimed])
    first = measures.window.since // step * step
    starts = range(first, measures.window.until, step)
    codes: dict[str, list[int]] = {name: [0] * len(starts) for name in answers}
    for (name, answer), cells in zip(aimed, found, strict=True):
        assert answer.asked.target is not None, "only what has a target is asked"
        limits = _limits(answer.asked.target)
        wide = max(answer.asked.signal.width, step)
        mine = codes[name]
        for place, start in enumerate(starts):
            good, total = cells.get(start // wide * wide if wide > step else start, (0, 0))
            if total and (code := _attained(total - good, total, limits)) > mine[place]:
                mine[place] = code
    for name, mine in codes.items():
        seen = _seen(measures, answers[name])
        for place, start in enumerate(starts):
            if not mine[place] and overlap(seen, start, start + step):
                mine[place] = 1
    return {name: tuple(ORDER[code] for code in mine) for name, mine in codes.items()}


Limits = tuple[int, int, int, int]
"""Numerator and denominator of the share of bad that the target allows, and of that above which a page rule pages."""


@lru_cache(maxsize=256)
def _limits(target: Fraction) -> Limits:
    allowed = 1 - target
    factor = max(slo.reachable_factor(target, rule.factor) for rule in slo.factors() if rule.severity == "page")
    return allowed.numerator, allowed.denominator, (allowed * factor).numerator, (allowed * factor).denominator


def _attained(bad: int, total: int, limits: Limits) -> int:
    above, of, far, far_of = limits
    if bad * of <= total * above:
        return MET
    return FAR if bad >= slo.EVIDENCE and bad * far_of > total * far else MISSED


def _seen(measures: Measures, answers: Sequence[Answer]) -> list[Span]:
    """When any source of a component's objectives was looking."""
    since, until = measures.window.since, measures.window.until
    names = {
        (kept.placed.source, answer.asked.component, answer.asked.signal.name)
        for answer in answers
        if answer.asked.target is not None
        for kept in measures.counting(answer)
    }
    return union(span for name in names for span in measures.coverage_of(*name, since, until))


# -- small lines


def _trends(
    measures: Measures, components: Sequence[Component], answers: Mapping[str, Sequence[tuple[Answer, Cell]]]
) -> dict[str, Trend]:
    chosen = {one.name: pair for one in components if (pair := _chosen(one, answers[one.name])) is not None}
    step = width(measures.window, POINTS)
    timed = {name: pair for name, pair in chosen.items() if pair[1].measure == "p95"}
    percentiles = _percentiles(measures, {name: answer for name, (answer, _) in timed.items()}, step)
    shares = {name: pair for name, pair in chosen.items() if name not in timed}
    points = stepped.shares(
        measures, [([answer], max(step, answer.asked.signal.width)) for answer, _ in shares.values()]
    )
    drawn = percentiles | dict(zip(shares, points, strict=True))
    return {name: _trend(answer, cell, drawn[name]) for name, (answer, cell) in chosen.items()}


def _chosen(one: Component, answers: Sequence[tuple[Answer, Cell]]) -> tuple[Answer, Cell] | None:
    """The first signal of the order in which lines are drawn that has a number in the window."""
    known = {answer.asked.signal.name: (answer, cell) for answer, cell in reversed(answers) if answer.total}
    return next((known[signal] for signal in TRENDS[one.kind] if signal in known), None)


def _trend(answer: Answer, cell: Cell, points: tuple[float | None, ...]) -> Trend:
    timed = cell.measure == "p95"
    objective = cell.objective
    aim = (objective.threshold if timed else objective.target) if objective else None
    text = cell.text
    if not timed and answer.good is not None and answer.total:
        text = wording.percent(answer.good, answer.total)
    number = "p95" if timed else "value"
    title = "p95" if timed else cell.measure if cell.measure not in ("", "share", "count") else cell.title
    return Trend(cell.signal, objective.name if objective else "", number, title, text, points, aim)


def _percentiles(
    measures: Measures, answers: Mapping[str, Answer], step: int
) -> dict[str, tuple[float | None, ...]]:  # fmt: skip
    """The 95th percentile of each component per step, read in one statement."""
    places: dict[tuple[str, int], int] = {}
    groups: dict[int, int] = {}
    kept_of = {}
    for name, answer in answers.items():
        for kept in measures.counting(answer):
            groups[kept.id] = places.setdefault((name, kept.layout), len(places))
            kept_of[groups[kept.id]] = kept
    if not groups:
        return {}
    parts: dict[tuple[int, int], dict[int, tuple[int, int]]] = {}
    for group, start, place, n, total in measures.reader.steps(
        "histogram", groups, measures.window.since, measures.window.until, step
    ):
        parts.setdefault((group, start), {})[place] = (n, total)
    names = {place: name for (name, _), place in places.items()}
    found: dict[tuple[str, int], list[Histogram]] = {}
    for (group, start), merge in parts.items():
        value = measures.value("histogram", kept_of[group], merge)
        assert isinstance(value, Histogram)
        found.setdefault((names[group], start), []).append(value)
    starts = range(measures.window.since // step * step, measures.window.until, step)
    return {name: tuple(_p95(found.get((name, start), [])) for start in starts) for name in answers}


def _p95(some: Sequence[Histogram]) -> float | None:
    if not some:
        return None
    found = bins.quantile(some[0] if len(some) == 1 else bins.merge(some).histogram, 0.95)
    return found.value if found else None


# -- changes

CHANGING = (
    "deployment",
    "rollback",
    "promotion",
    "config",
    "infrastructure",
    "release",
    "data_version",
    "schema_change",
)


def _last(measures: Measures, names: Sequence[str], changes: Changes) -> dict[str, Change]:
    """The newest change to each component, up to the end of the window."""
    since = min(measures.window.since, measures.window.until - LOOK_BACK)
    found: dict[str, Change] = {}
    for change in changes(Window(since, measures.window.until), names):
        if change.kind in CHANGING and change.ts < measures.window.until:
            for name in change.components:
                found[name] = change
    return found
