"""How an error budget went over the window, what was asked of a service, and when nobody was looking."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from tandem import lists, stepped
from tandem.intervals import Span, overlap, subtract, union
from tandem.measure import Answer, Measures
from tandem.records import BUCKET, HOUR
from tandem.shown import Window

STEPS = 1000
"""Steps of a budget's own window and the page's together, at most."""
ASKED = ("request_success", "availability")
"""What says how much was asked of a service: the first that was counted."""


@dataclass(frozen=True, slots=True)
class Curve:
    """Budget left at the end of each step: over the objective's window that ended there, or since its period began.

    `label` says which ("rolling 28d", "month so far"); the last point is the budget as it stands. None where nothing
    was counted.
    """

    objective: str
    label: str
    step: int
    first: int
    points: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """How many were asked per step, and how many of them failed; None where nothing was seen."""

    signal: str
    what: str
    step: int
    first: int
    total: tuple[int | None, ...]
    bad: tuple[int | None, ...]


def curves(measures: Measures, answers: Sequence[Answer]) -> tuple[Curve, ...]:
    """The budget of every objective that counts what happened; those that count slices of time have none drawn."""
    aimed = [one for one in answers if one.asked.target is not None and one.objective and not one.slices]
    groups: dict[int, list[Answer]] = {}
    for answer in aimed:
        groups.setdefault(_back(measures, answer), []).append(answer)
    found = {id(answer): curve for back, some in groups.items() for answer, curve in _together(measures, some, back)}
    return tuple(found[id(answer)] for answer in aimed)


def _back(measures: Measures, answer: Answer) -> int:
    """How far before the page's window a budget looks, in seconds."""
    looks = answer.looks
    return max(measures.window.since - looks.since, 0) if looks.before is not None else looks.length


def _together(measures: Measures, answers: Sequence[Answer], back: int) -> list[tuple[Answer, Curve]]:
    """Curves that look back equally far, read together."""
    window = measures.window
    finest = -(-(window.until - window.since + back) // (STEPS * BUCKET)) * BUCKET
    # Whole hours are read from the tier of hours, which has a twelfth of the rows.
    step = max(lists.width(window, lists.CELLS), finest if finest <= HOUR // 2 else -(-finest // HOUR) * HOUR)
    first = window.since // step * step
    over = Window(first - back, window.until)
    wide = Measures(measures.reader, measures.config, over, measures.now, measures.filters)
    counted = stepped.counts(wide, [([answer], step) for answer in answers])
    return [(answer, _curve(measures, answer, counts, step, first))
            for answer, counts in zip(answers, counted, strict=True)]  # fmt: skip


def _curve(measures: Measures, answer: Answer, counts: Mapping[int, tuple[int, int]], step: int, first: int) -> Curve:
    out = measures.left_out(answer.asked.component, answer.asked.signal.name)
    kept = sorted((start, *pair) for start, pair in counts.items() if not overlap(out, start, start + step))
    starts = [start for start, _, _ in kept]
    bad = [0, *accumulate(total - good for _, good, total in kept)]
    all_ = [0, *accumulate(total for _, _, total in kept)]
    target, looks = answer.asked.target, answer.looks
    assert target is not None, "only what has a target has a budget"
    calendar = looks.before is not None
    points: list[float | None] = []
    for end in range(first + step, measures.window.until + step, step):
        low = bisect_left(starts, looks.since if calendar else end - looks.length)
        high = bisect_left(starts, end)
        total = all_[high] - all_[low]
        budget = float(1 - target) * (answer.expected if calendar and answer.expected else total)
        seen = total and (not calendar or end > looks.since)
        points.append(1 - (bad[high] - bad[low]) / budget if seen and budget else None)
    name, label = _named(answer)
    if points:
        points[-1] = _as_it_stands(answer)
    return Curve(name, label, step, first, tuple(points))


def _named(answer: Answer) -> tuple[str, str]:
    asked, given = answer.asked, answer.asked.objective
    name = (given.name if given else "") or f"{asked.component} {asked.measure or asked.signal.name}"
    if given is not None and given.calendar:
        return name, f"this {given.calendar} so far"
    return name, f"rolling {given.window if given else '28d'}"


def _as_it_stands(answer: Answer) -> float | None:
    good, total = answer.objective or (0, 0)
    target = answer.asked.target
    assert target is not None, "only what has a target has a budget"
    budget = (1 - target) * (answer.expected if answer.expected is not None else total)
    return float(1 - (total - good) / budget) if budget else None


def asked(measures: Measures, answers: Sequence[Answer], step: int) -> Asked | None:
    """How much was asked of a service; None where neither requests nor checks were counted."""
    known = {answer.asked.signal.name: answer for answer in answers if answer.total}
    answer = next((known[signal] for signal in ASKED if signal in known), None)
    if answer is None:
        return None
    counts = stepped.counts(measures, [([answer], step)])[0]
    first = measures.window.since // step * step
    starts = range(first, measures.window.until, step)
    found = [counts.get(start) for start in starts]
    signal = answer.asked.signal.name
    return Asked(
        signal, "requests" if signal == "request_success" else "checks", step, first,
        tuple(pair[1] if pair else None for pair in found),
        tuple(pair[1] - pair[0] if pair else None for pair in found),
    )  # fmt: skip


def unseen(measures: Measures, answers: Sequence[Answer]) -> dict[str, tuple[Span, ...]]:
    """For each signal the stretches of the window, up to now, that none of its sources vouches for."""
    since, until = measures.window.since, min(measures.window.until, measures.now)
    found: dict[str, tuple[Span, ...]] = {}
    for answer in answers:
        signal = answer.asked.signal.name
        sources = {kept.placed.source for kept in measures.series(answer.asked.component, signal)}
        if signal in found or not sources:
            continue
        seen: list[Span] = []
        for source in sources:
            seen += measures.coverage_of(source, answer.asked.component, signal, since, until)
        found[signal] = tuple(span for span in subtract([(since, until)], union(seen)) if span[1] - span[0] >= BUCKET)
    return found
