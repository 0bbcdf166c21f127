"""Which version of a model had the traffic from when, as its predictions say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tandem import intervals
from tandem.intervals import Span
from tandem.measure import Measures
from tandem.records import BUCKET, DAY, HOUR, Event
from tandem.store.file import Kept

LEADING = (2, 3)
"""A version serves from the first of two hours in a row in which it answers this share of the predictions."""


def starts(
    measures: Measures, components: Sequence[str], since: int, until: int
) -> dict[str, list[tuple[str, Event]]]:  # fmt: skip
    """When each version of each model took the traffic; the first one known was there before, and is excluded.

    A version serves from the first of two hours in a row in which it answers at least two thirds of the predictions.
    """
    some = [kept for name in components for kept in measures.counted(name, "volume") if kept.placed.version]
    groups = {kept.id: place for place, kept in enumerate(some)}
    days = _hours(measures, some, groups, [(since, until)], DAY)
    stretches = intervals.union(span for mine in days.values() for span in _unsettled(mine))
    hours = _hours(measures, some, groups, stretches, HOUR)
    turns = {name: _takeovers(mine) for name, mine in hours.items()}
    around = intervals.union((hour - HOUR, hour + HOUR) for mine in turns.values() for _, hour in mine[1:])
    fine = _hours(measures, some, groups, around, BUCKET)
    found: dict[str, list[tuple[str, Event]]] = {name: [] for name in components}
    for name, mine in turns.items():
        source = measures.source_name(next(kept.placed.source for kept in some if kept.placed.component == name))
        for place, (version, hour) in enumerate(mine):
            start = _minute(fine.get(name, {}), version, hour) if place else hour
            event = _took_over(name, version, start, measures)
            found[name].append((source, event if place else replace(event, outcome="excluded")))
    return found


Hours = dict[int, dict[str, int]]
"""Predictions of each version by the start of the step."""


def _hours(
    measures: Measures, some: Sequence[Kept], groups: Mapping[int, int], stretches: Sequence[Span], step: int
) -> dict[str, Hours]:  # fmt: skip
    found: dict[str, Hours] = {}
    for group, start, *_, total in measures.reader.stretches("ratio", groups, stretches, step):
        if total:
            placed = some[group].placed
            mine = found.setdefault(placed.component, {}).setdefault(int(start), {})
            mine[placed.version] = mine.get(placed.version, 0) + int(total)
    return found


def _unsettled(days: Hours) -> list[Span]:
    """The stretches of whole days around each in which more than one version, or another than before, answered."""
    found: list[Span] = []
    before: set[str] = set()
    for start in sorted(days):
        if set(days[start]) != before or len(days[start]) > 1:
            found.append((start - DAY, start + 2 * DAY))
        before = set(days[start])
    return found


def _takeovers(hours: Hours) -> list[tuple[str, int]]:
    """(version, hour) of the version that served first, and of each that took the traffic from another."""
    found: list[tuple[str, int]] = []
    serving, candidate = "", ("", 0)
    for start in sorted(hours):
        leader = _leader(hours[start])
        if leader in ("", serving):
            candidate = ("", 0)
        elif candidate[0] != leader:
            candidate = (leader, start)
        else:
            found.append(candidate)
            serving, candidate = leader, ("", 0)
    return found


def _leader(counts: Mapping[str, int]) -> str:
    """The version that answered enough of these predictions to serve; "" for none."""
    best = max(counts, key=lambda version: (counts[version], version))
    return best if counts[best] * LEADING[1] >= LEADING[0] * sum(counts.values()) else ""


def _minute(buckets: Hours, version: str, hour: int) -> int:
    """The bucket from which a version led without a break, in the hour before or in that hour itself."""
    fine = [start for start in buckets if hour - HOUR <= start < hour + HOUR]
    others = [start for start in fine if _leader(buckets[start]) != version]
    return min((start for start in fine if start > max(others, default=hour - HOUR - 1)), default=hour)


def _took_over(component: str, version: str, start: int, measures: Measures) -> Event:
    return Event(
        "promotion", f"serving:{component}:{version}:{start}", start, components=(component,),
        environment=measures.filters.environment, version=version, title=f"{component}: version {version} serves",
    )  # fmt: skip
