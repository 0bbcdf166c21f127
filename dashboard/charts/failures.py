"""What failed, as bars over time."""

from __future__ import annotations

from datetime import tzinfo

from dashboard.charts.axes import axis, first, layout, shrunk, target_line
from dashboard.charts.figure import BAD, COLOURS, Figure
from tandem.shown import Line, Window


def failure_bars(line: Line, window: Window, step: int, zone: tzinfo, *, narrow: bool = False) -> Figure:
    """Share that failed, as bars; bars over what the target allows stand out, and the limit is drawn."""
    begin = first(window, line.step or step)
    points, wide = shrunk(line.points, line.step or step, 36 if narrow else 72)
    bad = [None if value is None else round(1 - value, 6) for value in points]
    limit = None if line.target is None else round(1 - line.target, 9)
    colours = [
        BAD if limit is not None and value is not None and value > limit else COLOURS[line.side] for value in bad
    ]
    figure_layout = layout(window, zone, 240, narrow=narrow, ticked=4)
    seen = [value for value in bad if value is not None]
    top = max([*seen, (limit or 0) * 1.4, 0.0001]) * 1.1
    figure_layout["yaxis"] = axis(range=[0, top], tickformat=".1%" if top > 0.004 else ".2%")
    if limit is not None:
        figure_layout["shapes"].append({**target_line(limit, "y"), "layer": "above"})
    trace = {
        "type": "bar", "x0": (begin + wide // 2) * 1000, "dx": wide * 1000, "y": bad,
        "marker": {"color": colours, "line": {"width": 0}}, "hovertemplate": "%{y:.3%} failed<extra></extra>",
    }  # fmt: skip
    return {"data": [trace], "layout": figure_layout}
