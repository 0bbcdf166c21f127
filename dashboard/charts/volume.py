"""How many predictions each version made, over time."""

from __future__ import annotations

from datetime import tzinfo

from dashboard.charts.axes import axis, first, layout
from dashboard.charts.figure import GREY, MODEL, Figure
from dashboard.text import px
from tandem.modelled import Volume
from tandem.shown import Window

SHADES = (MODEL, GREY, "rgba(188,90,149,.45)", "rgba(124,133,149,.45)", "rgba(188,90,149,.25)", "rgba(124,133,149,.25)")


def volume_bars(found: Volume, window: Window, zone: tzinfo, *, narrow: bool = False) -> Figure:
    """Bars of predictions per step, the newest version at the bottom, older ones stacked upon it."""
    figure_layout = layout(window, zone, 190, narrow=narrow, left=84)
    figure_layout["barmode"] = "stack"
    figure_layout["bargap"] = 0.08
    figure_layout["yaxis"] = axis(rangemode="tozero", tickformat="~s", nticks=3)
    begin = (first(window, found.step) + found.step // 2) * 1000
    data = [
        {
            "type": "bar", "x0": begin, "dx": found.step * 1000, "y": list(counts),
            "marker": {"color": SHADES[place % len(SHADES)], "line": {"width": 0}},
            "hovertemplate": f"%{{y:,}} predictions<extra>{px(f'version {version}' if version else 'all')}</extra>",
        }
        for place, (version, counts) in enumerate(reversed(found.versions))
    ]  # fmt: skip
    return {"data": data, "layout": figure_layout}
