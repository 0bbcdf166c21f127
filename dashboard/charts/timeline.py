"""One axis of time: lines of shares above, the lanes of the changes below."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.charts.axes import axis, layout, share_axis, target_line
from dashboard.charts.figure import BAD, BANDS, INK, MODEL, SYSTEM, Figure
from dashboard.charts.line import line_traces
from dashboard.text import px
from tandem.reviews import Moment
from tandem.shown import Change, Line, Window

LANES = ("Incident", "Drift", "Model", "Deploy", "Build")
MARKS: Mapping[str, tuple[str, str]] = {
    "Incident": ("square", BAD),
    "Drift": ("diamond", MODEL),
    "Model": ("star", MODEL),
    "Deploy": ("triangle-up", SYSTEM),
    "Build": ("circle", SYSTEM),
}
TINTS = {
    "incident": ("rgba(224,86,31,.11)", "rgba(224,86,31,.40)"),
    "maintenance": ("rgba(124,133,149,.14)", "rgba(124,133,149,.40)"),
}
"""Across all parts, and in the lane."""
MARKED = 8
"""Moments that are drawn; all are on the Review page."""
FLAGS = 36
"""Pixels above the plot in which moments are named."""
WIDE, PHONE = 1180, 270
"""Plotting width in pixels that labels are placed for; what is wider only gains room."""


def timeline(
    lines: Sequence[Line], changes: Sequence[Change], window: Window, step: int, zone: tzinfo, *, narrow: bool = False,
    moments: Sequence[Moment] = (),
) -> Figure:  # fmt: skip
    """One x axis over stacked parts: up to two lines of shares, and the lanes of the changes; moments across all."""
    shown = lines[:2]
    domains = {2: ((0.77, 0.96), (0.455, 0.665)), 1: ((0.5, 0.95),), 0: ()}[len(shown)]
    lanes_top = {2: 0.37, 1: 0.4, 0: 0.93}[len(shown)]
    height = {2: 440, 1: 340, 0: 200}[len(shown)]
    figure_layout = layout(window, zone, height, narrow=narrow)
    figure_layout["xaxis"]["anchor"] = "y"
    figure_layout["yaxis"] = _lane_axis(lanes_top)
    data: list[Figure] = []
    for i, (line, domain) in enumerate(zip(shown, domains, strict=True)):
        name = f"y{i + 2}"
        data += line_traces(line, window, step, name)
        figure_layout[f"yaxis{i + 2}"] = share_axis(line.points, line.target, domain=list(domain), anchor="x", nticks=3)
        if line.target is not None:
            figure_layout["shapes"].append(target_line(line.target, name))
        aim = f" · target {text.target(line.target)}" if line.target is not None else ""
        figure_layout["annotations"].append(_heading(f"{px(line.title)}{aim}", domain[1]))
    zone_text = text.zone_name(window.until, zone)
    figure_layout["annotations"].append(_heading(f"Changes · {px(zone_text)}", lanes_top))
    parts = ((0, lanes_top), *domains)
    figure_layout["shapes"] += _lane_bands() + _incidents(changes, window) + _takeovers(changes, window, parts)
    data += _lane_traces(changes, window)
    marked = [one for one in moments if one.since < window.until and one.until > window.since][:MARKED]
    if marked:
        figure_layout["margin"]["t"] += FLAGS
        figure_layout["height"] += FLAGS
    figure_layout["shapes"] += [_marked(one, window) for one in marked]
    figure_layout["annotations"] += [_flag(one, window, place) for place, one in enumerate(marked)]
    figure_layout["annotations"] += labels(changes, window, PHONE if narrow else WIDE)
    return {"data": data, "layout": figure_layout}


def _marked(one: Moment, window: Window) -> Figure:
    """The stretch of a moment, as a frame that leaves what is drawn in it alone."""
    return {
        "type": "rect", "xref": "x", "x0": max(one.since, window.since) * 1000,
        "x1": min(one.until, window.until) * 1000, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": INK, "width": 1, "dash": "dot"},
        "fillcolor": "rgba(0,0,0,0)", "layer": "below",
    }  # fmt: skip


def _flag(one: Moment, window: Window, place: int) -> Figure:
    """The name of a moment above its stretch; neighbours stand on two heights."""
    return {
        "xref": "x", "x": max(one.since, window.since) * 1000, "xanchor": "left", "yref": "paper", "y": 1,
        "yanchor": "bottom", "yshift": 6 + 13 * (place % 2), "text": f"⚑ {px(one.name, 28)}", "showarrow": False,
        "font": {"size": 11, "color": INK},
    }  # fmt: skip


def _heading(words: str, top: float) -> Figure:
    return {
        "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": top, "yanchor": "bottom", "yshift": 3,
        "text": f"<b>{words}</b>", "showarrow": False, "font": {"size": 12, "color": INK},
    }  # fmt: skip


def _lane_axis(top: float) -> Figure:
    return axis(
        domain=[0, top], range=[-0.5, len(LANES) - 0.5], tickmode="array", showgrid=False, anchor="x",
        tickvals=[len(LANES) - 1 - i for i in range(len(LANES))], ticktext=list(LANES),
    )  # fmt: skip


def _lane(change: Change) -> int:
    return len(LANES) - 1 - LANES.index(change.lane)


def _lane_bands() -> list[Figure]:
    return [
        {
            "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": i - 0.5, "y1": i + 0.5,
            "fillcolor": BANDS, "line": {"width": 0}, "layer": "below",
        }
        for i in range(0, len(LANES), 2)
    ]  # fmt: skip


def _incidents(changes: Sequence[Change], window: Window) -> list[Figure]:
    """The newest twelve incidents and planned works: a bar in their lane, and a tint across all parts.

    What went on all the time tints nothing: it would tell no time from another.
    """
    found = [c for c in changes if c.lane == "Incident" and (c.ended is None or c.ended > c.ts)][-12:]
    shapes = []
    for one in found:
        x0, x1 = max(one.ts, window.since), min(window.until if one.ended is None else one.ended, window.until)
        tint, bar = TINTS["maintenance" if one.kind == "maintenance" else "incident"]
        place, ends = _lane(one), {"type": "rect", "x0": x0 * 1000, "x1": x1 * 1000, "line": {"width": 0}}
        shapes.append(ends | {"yref": "y", "y0": place - 0.22, "y1": place + 0.22, "fillcolor": bar, "layer": "below"})
        if x1 - x0 < window.until - window.since:
            shapes.append(ends | {"yref": "paper", "y0": 0, "y1": 0.96, "fillcolor": tint, "layer": "below"})
    return shapes


def _takeovers(changes: Sequence[Change], window: Window, parts: Sequence[tuple[float, float]]) -> list[Figure]:
    """The newest twelve promotions as lines through every part, broken where the parts have their headings."""
    found = [c for c in changes if c.kind == "promotion" and window.since <= c.ts < window.until][-12:]
    return [
        {
            "type": "line", "x0": c.ts * 1000, "x1": c.ts * 1000, "yref": "paper", "y0": low, "y1": high,
            "line": {"color": MODEL, "width": 1, "dash": "dot"}, "layer": "below",
        }
        for c in found
        for low, high in parts
    ]  # fmt: skip


def _lane_traces(changes: Sequence[Change], window: Window) -> list[Figure]:
    groups: dict[tuple[str, bool], list[Change]] = {}
    for change in changes:
        if change.lane in LANES and _drawn(change, window):
            groups.setdefault((change.lane, change.outcome == "bad"), []).append(change)
    traces = []
    for (lane, bad), found in groups.items():
        symbol, colour = MARKS[lane]
        if bad and lane in ("Build", "Deploy"):
            symbol, colour = "x", BAD
        traces.append({
            "type": "scatter",
            "mode": "markers",
            "x": [max(change.ts, window.since) * 1000 for change in found],
            "y": [_lane(change) for change in found],
            "yaxis": "y",
            "marker": {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 0}},
            "text": [_hover(change) for change in found],
            "hovertemplate": "%{text}<extra></extra>",
            "cliponaxis": False,
        })  # fmt: skip
    return traces


def _drawn(change: Change, window: Window) -> bool:
    """Whether a change lies in the window, or is an incident that began before and reaches into it."""
    if change.lane == "Incident" and change.ts < window.since:
        return (change.ended or window.until) > window.since
    return window.since <= change.ts < window.until


def _hover(change: Change) -> str:
    about = px(label(change, 90))
    how = "" if change.outcome == "good" else f", {px(change.outcome)}"
    return f"{px(change.kind)}{how}: {about}"


def label(change: Change, limit: int) -> str:
    """What a mark is called, raw and cut to `limit`."""
    said = change.title or " ".join((*change.components[:1], change.version)).strip() or change.kind
    return said if len(said) <= limit else said[: limit - 1] + "…"


def labels(changes: Sequence[Change], window: Window, width: int) -> list[Figure]:
    """Names of marks, placed greedily: left of the mark, else right, else none; marks and event lines are obstacles."""
    span = window.until - window.since
    scale = width / span
    limit = 34 if width > 600 else 16
    inside = [c for c in changes if c.lane in LANES and _drawn(c, window)]
    lines = [(c.ts - window.since) * scale for c in inside if c.kind == "promotion"]
    edges = [(max(c.ts, window.since) - window.since) * scale for c in inside if c.lane == "Incident"]
    placed = []
    for lane in LANES:
        here = sorted((c for c in inside if c.lane == lane), key=lambda c: c.ts)
        if lane == "Build":
            here = [c for c in here if c.outcome == "bad"] if len(here) > 12 else here
        marks = [(max(c.ts, window.since) - window.since) * scale for c in inside if c.lane == lane]
        taken = [(x - 8, x + 8) for x in marks]
        walls = [(x - 2, x + 2) for x in (*lines, *(edges if lane != "Incident" else ()))]
        for change in reversed(here):
            begun = max(change.ts, window.since)
            x = (begun - window.since) * scale
            own = [box for box in (*taken, *walls) if not box[0] <= x <= box[1]]
            found = _fit(change, x, width, limit, own)
            if found:
                words, side, box = found
                taken.append(box)
                placed.append(_label(change, begun, words, side))
    return placed[:60]


def _fit(
    change: Change, x: float, width: int, limit: int, taken: Sequence[tuple[float, float]]
) -> tuple[str, str, tuple[float, float]] | None:
    """The longest of three texts that fits beside the mark, where it is anchored, and the pixels it takes."""
    for most in (limit, 20, 12):
        words = label(change, min(most, limit))
        room = len(words) * 6.4 + 6
        for side, box in (("right", (x - 9 - room, x - 9)), ("left", (x + 9, x + 9 + room))):
            if box[0] >= 0 and box[1] <= width and not any(a < box[1] and b > box[0] for a, b in taken):
                return words, side, box
    return None


def _label(change: Change, ts: int, words: str, side: str) -> Figure:
    return {
        "x": ts * 1000, "y": _lane(change), "xref": "x", "yref": "y", "text": px(words), "showarrow": False,
        "xanchor": side, "xshift": -9 if side == "right" else 9, "font": {"size": 11, "color": INK},
    }  # fmt: skip
