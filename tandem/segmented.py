"""Segments by the columns they are of, and what they say of a change: mix or real, for any ratio of any component."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from tandem import bins, mixing
from tandem.counted import margins
from tandem.measure import Asked, Measures
from tandem.quality import Counts
from tandem.records import Histogram, Value
from tandem.shown import Mixed

V = TypeVar("V")
BETWEEN = " × "
"""Between the columns of a margin that has several."""


def columns_of(measures: Measures, component: str, segments: Mapping[str, V]) -> dict[str, dict[str, V]]:
    """What is known per segment, by column and then by its value."""
    known = _margins(measures, component)
    found: dict[str, dict[str, V]] = {}
    for segment, value in sorted(segments.items()):
        column, group = split(segment, known)
        found.setdefault(column, {})[group] = value
    return found


def split(segment: str, known: Iterable[tuple[str, ...]] = ()) -> tuple[str, str]:
    """The column of a segment and its value; of several columns ("a=x,b=y") as the configuration names them."""
    for columns in sorted(known, key=len, reverse=True):
        values = _values(segment, columns)
        if values is not None:
            return BETWEEN.join(columns), ", ".join(values)
    column, _, value = segment.partition("=")
    return column, value


def _values(segment: str, columns: Sequence[str]) -> list[str] | None:
    marks = [f"{',' if place else ''}{column}=" for place, column in enumerate(columns)]
    if not segment.startswith(marks[0]):
        return None
    rest, values = segment[len(marks[0]) :], []
    for mark in marks[1:]:
        value, there, rest = rest.partition(mark)
        if not there:
            return None
        values.append(value)
    return [*values, rest]


def _margins(measures: Measures, component: str) -> list[tuple[str, ...]]:
    """The segments that the configuration cuts a component's numbers by."""
    return [tuple(margin) for source in measures.config.sources if component in source.common.component
            for margin in getattr(source.config, "margins", ())]  # fmt: skip


# -- mix or real


def mixed(now: Measures, then: Measures, asked: Asked) -> tuple[Mixed, ...]:
    """Mix or real of the change of a ratio from `then` to `now`, once for each column that cuts it.

    Any signal that is good out of total and has segments: a service's requests as a model's predictions. The columns
    whose segments moved by themselves come first. Empty where nothing is cut, or a side is empty.
    """
    before, after = (_sides(one, asked) for one in (then, now))
    whole = before.pop("", (0, 0)), after.pop("", (0, 0))
    columns = [columns_of(now, asked.component, side) for side in (before, after)]
    found = [
        mixing.mixed(column, columns[0].get(column, {}), columns[1].get(column, {}), whole)
        for column in sorted({*columns[0], *columns[1]})
    ]
    return tuple(sorted((one for one in found if one is not None), key=lambda one: -abs(one.within + one.interaction)))


def _sides(measures: Measures, asked: Asked) -> dict[str, Counts]:
    """(good, total) of every segment, and of the whole under ""."""
    kind, signal = asked.signal.kind, asked.signal.name
    wanted = [kept for kept in margins(measures, asked.component, signal) if not kept.placed.name]
    parts: dict[str, list[Value]] = {}
    for kept, merge in measures.merges(kind, asked.component, signal, wanted):
        parts.setdefault(kept.placed.segment, []).append(measures.value(kind, kept, merge))
    counts = {segment: measures.counts(asked, _sum(some)) for segment, some in parts.items()}
    return {segment: pair for segment, pair in counts.items() if pair is not None}


def _sum(parts: Sequence[Value]) -> Value:
    if isinstance(parts[0], Histogram):
        return bins.merge([one for one in parts if isinstance(one, Histogram)]).histogram
    total = parts[0]
    for one in parts[1:]:
        total = total + one  # type: ignore[operator]
    return total
