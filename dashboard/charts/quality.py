"""A measure of a model over time, with the versions that served."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard.charts.axes import layout, share_axis, target_line
from dashboard.charts.figure import INK, MODEL, Figure
from dashboard.charts.line import line_traces
from dashboard.text import px
from tandem.shown import Line, Served, Window


def quality_lines(
    line: Line,
    served: Sequence[Served],
    promoted: Sequence[tuple[str, int]],
    window: Window,
    step: int,
    zone: tzinfo,
    *,
    narrow: bool = False,
) -> Figure:
    """A share over time with its target, a band for each version that served, and lines where one was promoted."""
    figure_layout = layout(window, zone, 260, narrow=narrow, left=84)
    figure_layout["margin"]["t"] = 24
    figure_layout["yaxis"] = share_axis(line.points, line.target)
    if line.target is not None:
        figure_layout["shapes"].append(target_line(line.target, "y"))
    names = [(one.version, max(one.since, window.since)) for one in served if one.version][-12:]
    figure_layout["shapes"] += _version_bands([one for one in served if one.version][-12:], window)
    for _, ts in [one for one in promoted if window.since < one[1] < window.until][-8:]:
        figure_layout["shapes"].append({
            "type": "line", "x0": ts * 1000, "x1": ts * 1000, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": MODEL, "width": 1, "dash": "dot"}, "layer": "below",
        })  # fmt: skip
    if not names:
        names = [one for one in promoted if window.since < one[1] < window.until][-8:]
    figure_layout["annotations"] += _version_names(names, window, 0.2 if narrow else 0.08)
    return {"data": line_traces(line, window, step, "y"), "layout": figure_layout}


def _version_bands(served: Sequence[Served], window: Window) -> list[Figure]:
    return [
        {
            "type": "rect", "x0": max(one.since, window.since) * 1000, "x1": min(one.until, window.until) * 1000,
            "yref": "paper", "y0": 0, "y1": 1, "layer": "below", "line": {"width": 0},
            "fillcolor": "rgba(188,90,149,.11)" if place % 2 else "rgba(188,90,149,.04)",
        }
        for place, one in enumerate(served)
    ]  # fmt: skip


def _version_names(names: Sequence[tuple[str, int]], window: Window, apart: float) -> list[Figure]:
    """Names above the plot where versions begin, as far as there is room between them."""
    found: list[Figure] = []
    last = -1.0
    for name, ts in names:
        at = (ts - window.since) / (window.until - window.since)
        if at - last > apart:
            found.append({
                "x": ts * 1000, "xref": "x", "yref": "paper", "y": 1, "yanchor": "bottom", "text": px(name, 24),
                "showarrow": False, "font": {"size": 11, "color": INK}, "xanchor": "right" if at > 0.9 else "left",
            })  # fmt: skip
            last = at
    return found
