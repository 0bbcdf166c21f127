"""Lines of the timeline and sparklines: which answers each is drawn from, and how wide its steps are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from tandem import against, stepped
from tandem.measure import Answer, Measures
from tandem.shown import Line
from tandem.stepped import Share
from tandem.store.read import step_for

POINTS = 288
"""Points of a line on the timeline."""
FEWEST = 6
"""Points that a line of a model has at least."""
PER_POINT = 25
"""Labelled predictions that a point of a model's line holds on average."""


def timeline(measures: Measures, answers: Mapping[tuple[str, str], Answer]) -> list[tuple[Line, list[Answer]]]:
    """The lines of the timeline, still without points, and the answers that they are drawn from."""
    found: list[tuple[Line, list[Answer]]] = []
    for title, side, names in (
        ("Good requests", "system", ("request_success",)), ("Checks answered", "system", ("availability",)),
        ("Correct predictions", "model", ("outcome",)), ("Predictions within tolerance", "model", ("error",)),
    ):  # fmt: skip
        some = [answer for (_, signal), answer in answers.items() if signal in names and answer.seen]
        if some and not any(line.side == side for line, _ in found):
            targets = {answer.asked.target for answer in some}
            target = float(next(iter(targets)) or 0) if len(targets) == 1 and None not in targets else None
            found.append((line_for(measures, title, target, some), some))
    return found


def line_for(measures: Measures, title: str, target: float | None, answers: Sequence[Answer]) -> Line:
    """A line without points; a model's steps are wide enough to hold some labelled predictions each."""
    side, points = answers[0].asked.signal.side, POINTS
    if side == "model":
        points = max(FEWEST, min(POINTS, sum(answer.total or 0 for answer in answers) // PER_POINT))
    return Line(title, side, target, (), step=step_for(measures.window.since, measures.window.until, points))


def with_points(measures: Measures, line: Line, answers: Sequence[Answer], points: Share) -> Line:
    """The line with its points, those marked behind which labels still come."""
    return replace(line, points=points, immature=_immature(measures, answers, line.step, len(points)))


def _immature(measures: Measures, answers: Sequence[Answer], step: int, points: int) -> tuple[bool, ...]:
    if answers[0].asked.signal.side != "model":
        return ()
    edge = min(measures.mature(answer.asked.component) for answer in answers)
    first = measures.window.since // step * step
    return tuple(first + place * step >= edge for place in range(points))


def sparked(measures: Measures, answers: Sequence[Answer]) -> stepped.Ask:
    """The points of a sparkline over some answers."""
    return answers, against.spark_step(measures.window, answers)
