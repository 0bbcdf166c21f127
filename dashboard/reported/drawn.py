"""Charts of a report as SVG that needs no script: lines with their target over the lanes of the changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo
from itertools import pairwise

from dashboard import text
from dashboard.text import hx
from tandem.shown import Change, Line, Window

WIDE, LEFT, TALL, LANE = 960, 92, 92, 22
"""Pixels: of the whole, before the plot, of one line, of one lane."""
LANES = ("Incident", "Drift", "Model", "Deploy", "Build")
SIDES = {"Incident": "both", "Drift": "model", "Model": "model", "Deploy": "system", "Build": "system"}
SHAPES = {
    "Incident": "M-4 -4H4V4H-4Z", "Drift": "M0 -5 5 0 0 5-5 0Z", "Model": "M0 -5 1.5 -1.5 5 -1.5 2 1 3 5 0 2.6 -3 5 "
    "-2 1 -5 -1.5 -1.5 -1.5Z", "Deploy": "M0 -5 5 4H-5Z", "Build": "M-3 0A3 3 0 1 0 3 0A3 3 0 1 0 -3 0Z",
}  # fmt: skip


def over_time(lines: Sequence[Line], changes: Sequence[Change], window: Window, zone: tzinfo) -> str:
    """Lines of shares one below the other, and under them every change of the window in its lane."""
    top, parts = 0, []
    for line in lines:
        parts.append(f'<g transform="translate(0 {top})">{_line(line, window)}</g>')
        top += TALL + 30
    lanes = [lane for lane in LANES if any(change.lane == lane for change in changes)]
    for lane in lanes:
        mine = [change for change in changes if change.lane == lane]
        parts.append(f'<g transform="translate(0 {top})">{_lane(lane, mine, window, zone)}</g>')
        top += LANE
    parts.append(_axis(window, zone, top))
    alt = f"{' and '.join(line.title for line in lines) or 'No line'} over time, with {len(changes)} changes in lanes"
    return (
        f'<svg class="q-chart" viewBox="0 0 {WIDE} {top + 22}" role="img" aria-label="{hx(alt, 400)}">'
        f"{''.join(parts)}</svg>"
    )


def _x(ts: float, window: Window) -> float:
    share = (ts - window.since) / max(window.until - window.since, 1)
    return round(LEFT + min(max(share, 0), 1) * (WIDE - LEFT - 6), 1)


def _line(line: Line, window: Window) -> str:
    seen = [point for point in line.points if point is not None]
    scale = [*seen, line.target] if line.target is not None else seen
    low, high = min(scale), max(scale)
    if high == low:
        low, high = low - 0.005, high + 0.005
    aim = f" · target {text.target(line.target)}" if line.target is not None else ""
    marks = "".join(
        f'<text x="{LEFT - 6}" y="{place}" text-anchor="end">{hx(text.share(value))}</text>'
        for value, place in ((high, 24), (low, 16 + TALL))
    )
    target = ""
    if line.target is not None:
        y = _y(line.target, low, high)
        target = f'<path class="q-target" d="M{LEFT} {y}H{WIDE - 6}"/>'
    drawn = "".join(f'<path class="q-line x-{line.side}" d="{path}"/>' for path in _paths(line, window, low, high))
    return f'<text class="q-title" x="{LEFT}" y="10">{hx(line.title)}{hx(aim)}</text>{marks}{target}{drawn}'


def _y(value: float, low: float, high: float) -> float:
    return round(20 + (high - value) / (high - low) * (TALL - 8), 1)


def _paths(line: Line, window: Window, low: float, high: float) -> list[str]:
    """One path for each stretch without a gap; a lonely point is a short dash."""
    first = window.since // line.step * line.step if line.step else window.since
    places = [
        None if point is None else (_x(first + (i + 0.5) * line.step, window), _y(point, low, high))
        for i, point in enumerate(line.points)
    ]
    paths: list[list[str]] = []
    for before, here in pairwise([None, *places]):
        if here is None:
            continue
        if before is None:
            paths.append([f"M{here[0]:g} {here[1]:g}h1"])
        paths[-1].append(f"L{here[0]:g} {here[1]:g}")
    return ["".join(parts) for parts in paths]


def _lane(lane: str, changes: Sequence[Change], window: Window, zone: tzinfo) -> str:
    marks = []
    for change in changes:
        bad = " q-bad" if change.outcome == "bad" and lane != "Drift" else ""
        said = f"{text.moment(change.ts, zone)} {', '.join(change.components[:3])} {change.title}"
        bar = ""
        if change.ended is not None and change.kind in ("incident", "maintenance"):
            left, right = _x(change.ts, window), _x(change.ended, window)
            bar = f'<rect class="q-span" x="{left:g}" y="4" width="{max(right - left, 1):g}" height="{LANE - 8}"/>'
        marks.append(
            f'<g class="x-{SIDES[lane]}{bad}"><title>{hx(said, 300)}</title>{bar}'
            f'<path class="q-mark" transform="translate({_x(change.ts, window):g} {LANE // 2})" '
            f'd="{SHAPES[lane]}"/></g>'
        )
    name = f'<text x="{LEFT - 6}" y="{LANE // 2 + 4}" text-anchor="end">{lane}</text>'
    return f'<path class="q-rule" d="M{LEFT} {LANE // 2}H{WIDE - 6}"/>{name}{"".join(marks)}'


def _axis(window: Window, zone: tzinfo, top: int) -> str:
    days = window.until - window.since > 2 * 86400
    ticks = []
    for part in range(5):
        ts = window.since + (window.until - window.since) * part // 4
        anchor = "start" if part == 0 else "end" if part == 4 else "middle"
        said = text.day(ts, zone) if days else text.clock(ts, zone)
        ticks.append(f'<text x="{_x(ts, window):g}" y="{top + 16}" text-anchor="{anchor}">{hx(said)}</text>')
    ticks.append(
        f'<text x="{LEFT - 6}" y="{top + 16}" text-anchor="end">{hx(text.zone_name(window.until, zone))}</text>'
    )
    return f'<path class="q-rule" d="M{LEFT} {top + 2}H{WIDE - 6}"/>{"".join(ticks)}'
