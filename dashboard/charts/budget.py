"""What is left of an error budget over time."""

from __future__ import annotations

from datetime import tzinfo

from dashboard.charts.axes import axis, layout
from dashboard.charts.figure import COLOURS, GREY, INK, Figure
from dashboard.charts.line import lonely
from dashboard.text import px
from tandem.curves import Curve
from tandem.shown import Side, Window


def budget_curve(curve: Curve, side: Side, window: Window, zone: tzinfo, *, narrow: bool = False) -> Figure:
    """Budget left at the end of each step, the line where it is spent, and what lies below it tinted."""
    figure = layout(window, zone, 190, narrow=narrow, ticked=4)
    points = [None if value is None else round(value, 6) for value in curve.points]
    seen = [value for value in points if value is not None] or [0.0]
    low, high = min(0.0, *seen), max(1.0 if max(seen) > 0.5 else max(seen) * 1.6, 0.05)
    pad = (high - low) * 0.06
    figure["margin"]["t"] = 20
    figure["yaxis"] = axis(range=[low - pad, high + pad], tickformat=".0%", hoverformat=".2%")
    figure["shapes"].append({
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": 0, "y1": 0,
        "line": {"color": GREY, "width": 1.4},
    })  # fmt: skip
    if low < 0:
        figure["shapes"].append({
            "type": "rect", "xref": "paper", "x0": 0, "x1": 1, "yref": "y", "y0": low - pad, "y1": 0,
            "fillcolor": "rgba(224,86,31,.09)", "line": {"width": 0}, "layer": "below",
        })  # fmt: skip
    figure["annotations"].append({
        "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": 1, "yanchor": "bottom", "yshift": 2,
        "text": f"{px(curve.label)}", "showarrow": False, "font": {"size": 12, "color": INK},
    })  # fmt: skip
    colour = COLOURS[side]
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if lonely(points) else "lines",
        "x0": (curve.first + curve.step) * 1000,
        "dx": curve.step * 1000,
        "y": points,
        "line": {"color": colour, "width": 2, "shape": "hv"},
        "marker": {"size": 5, "color": colour},
        "connectgaps": False,
        "hovertemplate": "%{y:.2%} left<extra></extra>",
    }
    return {"data": [trace], "layout": figure}
