"""Objectives that count time: slices of which each is good or bad as a whole, and hours of fairness.

A slice in which nothing happened is neither good nor bad, one that a correction touches is left out.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from tandem import counting, fairness
from tandem.counting import Asked
from tandem.intervals import Span, overlap
from tandem.records import DAY, HOUR, Confusion, Ratio, Value
from tandem.slo import Verdict

if TYPE_CHECKING:
    from tandem.measure import Answer, Measures

Slices = Mapping[int, bool]
"""Whether each measured slice was good, by its beginning."""


def count(measures: Measures, answer: Answer) -> None:
    """Put counted slices in the place of what happened in them: in the objective's window and every look-back."""
    one = answer.asked
    assert one.objective is not None, "only an objective counts slices"
    width = width_of(one)
    edge = answer.edge = measures.edge(one) // width * width
    begin = min(answer.looks.since, measures.window.since, edge - max(answer.looks.burns)) // DAY * DAY
    fair = one.signal.name == "fairness"
    found = measured(measures, one, begin)
    out = measures.left_out(one.component, one.signal.name)
    over = _counter({start: good for start, good in found.items() if not overlap(out, start, start + width)}, width)
    answer.slices = width
    answer.objective = over(answer.looks.since, edge if fair else measures.end)
    answer.burns = {seconds: over(edge - seconds, edge) for seconds in answer.looks.burns}
    answer.judged = over(measures.window.since, measures.window.until)
    answer.bound = answer.objective_bound = None
    if one.objective.calendar:
        answer.expected = answer.looks.length // width
    if fair:
        _fair(measures, answer, _counter(found, width)(measures.window.since, measures.window.until))


def width_of(one: Asked) -> int:
    """The width in seconds of the slices of an objective that counts them."""
    return (one.objective.slice_seconds if one.objective is not None else 0) or HOUR


def measured(measures: Measures, one: Asked, begin: int) -> dict[int, bool]:
    """Every measured slice from `begin`, a UTC midnight, to the end of what is asked: whether it was good."""
    fair = one.signal.name == "fairness"
    return _fair_hours(measures, one, begin) if fair else _slices(measures, one, begin, width_of(one))


def _counter(slices: Slices, width: int) -> Callable[[int, int], tuple[int, int]]:
    """Good and total of the whole slices inside any stretch."""
    starts = sorted(slices)
    good = [0, *accumulate(slices[start] for start in starts)]

    def over(since: int, until: int) -> tuple[int, int]:
        first, last = bisect_left(starts, since), bisect_right(starts, until - width)
        return (good[last] - good[first], last - first) if last > first else (0, 0)

    return over


# -- slices of what happened


def _slices(measures: Measures, one: Asked, begin: int, width: int) -> dict[int, bool]:
    assert one.objective is not None
    limit = one.objective.slice_target or Fraction(1)
    found = {}
    for start, value in _merged(measures, one, begin, width).items():
        good, total = measures.counts(one, value) or (0, 0)
        if total:
            found[start] = good * limit.denominator >= limit.numerator * total
    return found


def _merged(measures: Measures, one: Asked, begin: int, width: int) -> dict[int, Value]:
    """The merge of every slice, each bucket from the source that counts for it."""
    owned = measures.owned(one, begin, measures.end)
    step = width if len(owned) < 2 else one.signal.width
    parts: dict[int, dict[int, dict[Any, list[int]]]] = {}
    kept_of: dict[int, Any] = {}
    for number, spans in owned.items():
        mine = [kept for kept in measures.series(one.component, one.signal.name) if kept.placed.source == number]
        kept_of |= {kept.layout: kept for kept in mine}
        rows = measures.reader.steps(
            one.signal.kind, {kept.id: kept.layout for kept in mine}, begin, measures.end, step
        )
        for layout, start, *rest in rows:
            if len(owned) < 2 or _inside(spans, start):
                cells = parts.setdefault(start // width * width, {}).setdefault(layout, {})
                _add(cells, one.signal.kind, rest)
    return {
        start: value for start, layouts in parts.items()
        if (value := _value(measures, one.signal.kind, kept_of, layouts)) is not None
    }  # fmt: skip


def _inside(spans: Sequence[Span], start: int) -> bool:
    place = bisect_right(spans, (start, 1 << 62)) - 1
    return place >= 0 and start < spans[place][1]


def _add(cells: dict[Any, list[int]], kind: str, row: Sequence[Any]) -> None:
    """Add one row of steps under its key: a bin, a pair of classes, or none."""
    keys = {"histogram": 1, "confusion": 2}.get(kind, 0)
    key: Any = row[0] if keys == 1 else tuple(row[:keys])
    before = cells.get(key)
    values = [int(value) for value in row[keys:]]
    cells[key] = values if before is None else [a + b for a, b in zip(before, values, strict=True)]


def _value(
    measures: Measures, kind: str, kept_of: Mapping[int, Any], layouts: Mapping[int, Mapping[Any, list[int]]]
) -> Value | None:
    merges = ((kept_of[layout], cells[()] if kind in ("ratio", "moments") else cells)
              for layout, cells in layouts.items())  # fmt: skip
    return counting.added(measures.value(kind, kept, merge) for kept, merge in merges)


# -- fairness


def _fair(measures: Measures, answer: Answer, page: tuple[int, int]) -> None:
    """The share of fair hours as the number of the page's window, and why there may be none."""
    one = answer.asked
    assert one.objective is not None
    answer.good, answer.total = page
    answer.value, answer.seen = Ratio(*page), False  # no line is drawn of it: its steps are not stored
    source = _source(measures, one)
    answer.source, answer.stale = source, measures.late(source)
    outcome = Asked(one.component, measures.config.signals["outcome"], None, None, None, 0, "")
    answer.coverage = measures.coverage(outcome, measures.window.since, measures.window.until, raw=True)
    answer.judged_coverage = measures.coverage(outcome, measures.window.since, measures.window.until)
    answer.objective_coverage = measures.coverage(outcome, answer.looks.since, measures.end)
    answer.labels = not measures.series(one.component, "volume")
    if (answer.objective or (0, 0))[1]:
        return
    column = one.objective.segment
    groups = {kept.placed.segment for kept in _groups(measures, one)}
    if measures.series(one.component, "outcome") and len(groups) < 2:
        said = f"not applicable: the labelled predictions have {len(groups) or 'no'} groups of {column!r} to compare"
        answer.instead = Verdict("unknown", said.replace("1 groups", "1 group"), "not applicable")
    elif groups and answer.objective_coverage:
        said = "not enough evidence: no hour or day has labels enough in two groups to tell a gap from chance"
        answer.instead = Verdict("unknown", said, "not enough evidence")


def _groups(measures: Measures, one: Asked) -> list[Any]:
    """The series of the groups of one column, those of the source that counts."""
    assert one.objective is not None
    filters = measures.filters
    found = measures.reader.series(component=one.component, signal="outcome", stage=filters.stage,
                                   environment=filters.environment)  # fmt: skip
    mine = [kept for kept in found if kept.placed.segment.startswith(f"{one.objective.segment}=")
            and "," not in kept.placed.segment and filters.version in ("", kept.placed.version)]  # fmt: skip
    first = min((kept.placed.source for kept in mine), key=measures.rank, default=0)
    return [kept for kept in mine if kept.placed.source == first]


def _source(measures: Measures, one: Asked) -> int:
    return next((kept.placed.source for kept in _groups(measures, one)), 0)


def _fair_hours(measures: Measures, one: Asked, begin: int) -> dict[int, bool]:
    """Every hour that can be told: fair or not; one with too little is judged with its whole UTC day."""
    mine = _groups(measures, one)
    names = sorted({kept.placed.segment for kept in mine})
    groups = {kept.id: names.index(kept.placed.segment) for kept in mine}
    hours: dict[int, dict[str, Confusion]] = {}
    days: dict[int, dict[str, Confusion]] = {}
    for group, start, actual, predicted, n in measures.reader.steps("confusion", groups, begin, measures.end, HOUR):
        cell = Confusion({(actual, predicted): int(n)})
        for ts, some in ((start, hours), (start // DAY * DAY, days)):
            at = some.setdefault(ts, {})
            at[names[group]] = at.get(names[group], Confusion({})) + cell
    whole: Any = counting.added(part for some in days.values() for part in some.values()) or Confusion({})
    positive = measures.positive(one.component, whole)
    by_day = {ts: judged(one, some, positive) for ts, some in days.items()}
    found = {}
    for ts, hour in hours.items():
        by_hour = judged(one, hour, positive)
        verdict = by_hour if by_hour is not None else by_day[ts // DAY * DAY]
        if verdict is not None:
            found[ts] = verdict
    return found


def judged(one: Asked, groups: Mapping[str, Confusion], positive: str) -> bool | None:
    """Whether a gap is within its bound; None where there is too little to tell.

    It is too large when it exceeds the bound and its interval is free of 0, and within when it does not exceed it and
    half its interval is no wider than the bound: a wider one could hide a gap of twice the bound.
    """
    objective = one.objective
    assert objective is not None
    assert objective.bound is not None
    gap = fairness.fairness(groups, positive).get(objective.gap)
    if gap is None:
        return None
    high, low = (Fraction(*counts) for counts in gap.counts)
    if high - low > objective.bound:
        return False if gap.certain else None
    narrow = (gap.interval[1] - gap.interval[0]) / 2 <= float(objective.bound)
    return True if narrow else None
