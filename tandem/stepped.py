"""Share of good per step of a window, for many cards and lines at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import gcd
from operator import add
from typing import Any

from tandem.measure import Answer, Measures
from tandem.records import BUCKET, HOUR
from tandem.store.read import tier_of

Ask = tuple[Sequence[Answer], int]
"""Answers whose counts add up, and the width of a step in seconds."""
Share = tuple[float | None, ...]


@dataclass
class _Part:
    """What is read in one statement: its series, each in one group, and what every group is counted for."""

    groups: dict[int, int] = field(default_factory=dict)
    members: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    """For each series the (ask, meaning) that it is counted for."""
    steps: dict[int, int] = field(default_factory=dict)
    """The width of a step of each ask."""


def shares(measures: Measures, asks: Sequence[Ask]) -> list[Share]:
    """For each ask its share of good per step of the window; None where nothing was seen."""
    found = counts(measures, asks)
    return [_points(measures, step, cells) for (_, step), cells in zip(asks, found, strict=True)]


def counts(measures: Measures, asks: Sequence[Ask]) -> list[dict[int, tuple[int, int]]]:
    """For each ask good and total by the start of the step, where anything was seen.

    Steps lie on the absolute grid. What is kept in the same tier is read in one statement.
    """
    meanings: list[tuple[Answer, int]] = []
    counted: list[dict[int, tuple[int, int]]] = [{} for _ in asks]
    for (kind, _), part in _parts(measures, asks, meanings).items():
        if kind == "ratio":
            _ratios(measures, part, counted)
            continue
        for ask, meaning, start, merge in _merges(measures, kind, part):
            found = _counts(measures, kind, meanings[meaning], merge)
            if found:
                good, total = counted[ask].get(start, (0, 0))
                counted[ask][start] = good + int(found[0]), total + int(found[1])
    return counted


def _ratios(measures: Measures, part: _Part, counted: list[dict[int, tuple[int, int]]]) -> None:
    """Add up good and total of ratios, which need no merge before they are counted."""
    since = {ask: measures.window.since // step * step for ask, step in part.steps.items()}
    members = {group: [(since[ask], part.steps[ask], counted[ask]) for ask, _ in part.members[one]]
               for one, group in part.groups.items()}  # fmt: skip
    for group, start, good, total in measures.reader.steps(
        "ratio", part.groups, min(since.values()), measures.window.until, gcd(*part.steps.values())
    ):
        for low, step, mine in members[group]:
            if start >= low:
                at = start // step * step
                before = mine.get(at)
                mine[at] = (good, total) if before is None else (before[0] + good, before[1] + total)


def _points(measures: Measures, step: int, cells: Mapping[int, tuple[int, int]]) -> Share:
    starts = range(measures.window.since // step * step, measures.window.until, step)
    return tuple(cells[t][0] / cells[t][1] if t in cells and cells[t][1] else None for t in starts)


def _parts(measures: Measures, asks: Sequence[Ask], meanings: list[tuple[Answer, int]]) -> dict[tuple[str, int], _Part]:
    """The statements by (kind, tier); fills `meanings` with what the counts of a group mean."""
    parts: dict[tuple[str, int], _Part] = {}
    numbers: dict[Any, int] = {}
    for ask, (answers, width) in enumerate(asks):
        for answer in answers:
            finest = HOUR if answer.asked.signal.width == HOUR else BUCKET
            step = max(width, finest)
            kind = answer.asked.signal.kind
            part = parts.setdefault((kind, tier_of(step, finest)), _Part())
            part.steps[ask] = step
            for kept in measures.counting(answer):
                key = _meaning(answer, kept.layout)
                if key not in numbers:
                    numbers[key] = len(meanings)
                    meanings.append((answer, kept.layout))
                part.members.setdefault(kept.id, []).append((ask, numbers[key]))
    for part in parts.values():
        distinct: dict[tuple[tuple[int, int], ...], int] = {}
        part.groups = {one: distinct.setdefault(tuple(some), len(distinct)) for one, some in part.members.items()}
    return parts


def _meaning(answer: Answer, layout: int) -> Any:
    """Equal where counts may be added before they are judged good or bad."""
    asked = answer.asked
    if asked.signal.kind == "ratio" or (asked.signal.kind == "confusion" and asked.measure == ""):
        return asked.signal.kind
    if asked.signal.kind == "histogram":
        return layout, asked.threshold, asked.signal.good
    return asked.signal.kind, asked.component, asked.measure, asked.objective.class_ if asked.objective else ""


def _merges(measures: Measures, kind: str, part: _Part) -> Iterable[tuple[int, int, int, Any]]:
    """(ask, meaning, start of step, merge) of one statement of histograms or confusions."""
    since = {ask: measures.window.since // step * step for ask, step in part.steps.items()}
    rows = measures.reader.steps(kind, part.groups, min(since.values()), measures.window.until,
                                 gcd(*part.steps.values()))  # fmt: skip
    members = {group: [(ask, meaning, since[ask], part.steps[ask]) for ask, meaning in part.members[one]]
               for one, group in part.groups.items()}  # fmt: skip
    merges: dict[tuple[int, int, int], dict[Any, tuple[int, ...]]] = {}
    for row in rows:
        key, values = (row[2], row[3:]) if kind == "histogram" else (row[2:-1], row[-1:])
        for ask, meaning, low, step in members[row[0]]:
            if row[1] >= low:
                merge = merges.setdefault((ask, meaning, row[1] // step * step), {})
                before = merge.get(key)
                merge[key] = values if before is None else tuple(map(add, before, values))
    for (ask, meaning, start), merge in merges.items():
        yield ask, meaning, start, merge


def _counts(measures: Measures, kind: str, meaning: tuple[Answer, int], merge: Any) -> tuple[int, int] | None:
    answer, layout = meaning
    kept = next(one for one in measures.counting(answer) if one.layout == layout)
    return measures.counts(answer.asked, measures.value(kind, kept, merge))
