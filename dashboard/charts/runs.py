"""Builds or training runs per step: passed below, failed hatched on top."""

from __future__ import annotations

from datetime import tzinfo

from dashboard.charts.axes import axis, first, layout
from dashboard.charts.figure import BAD, COLOURS, Figure
from tandem.delivered import Runs
from tandem.shown import Side, Window


def run_bars(runs: Runs, side: Side, window: Window, zone: tzinfo, *, narrow: bool = False) -> Figure:
    """How many passed and how many failed in each step; failed ones differ by their hatch, not only by colour."""
    begin = (first(window, runs.step) + runs.step // 2) * 1000
    figure_layout = layout(window, zone, 210, narrow=narrow, ticked=4 if narrow else 6)
    top = max([good + bad for good, bad in zip(runs.good, runs.bad, strict=True)] or [1])
    figure_layout["yaxis"] = axis(range=[0, max(top, 1) * 1.12], tickformat="d", nticks=4 if top > 3 else top + 1)
    figure_layout["barmode"] = "stack"
    at = {"type": "bar", "x0": begin, "dx": runs.step * 1000}
    passed = {**at, "y": list(runs.good), "name": "passed", "marker": {"color": COLOURS[side], "line": {"width": 0}},
              "hovertemplate": "%{y} passed<extra></extra>"}  # fmt: skip
    hatch = {"shape": "/", "fillmode": "overlay", "size": 5, "solidity": 0.35, "fgcolor": "rgba(255,255,255,.75)"}
    failed = {**at, "y": list(runs.bad), "name": "failed", "hovertemplate": "%{y} failed<extra></extra>",
              "marker": {"color": BAD, "line": {"width": 0}, "pattern": hatch}}  # fmt: skip
    return {"data": [passed, failed], "layout": figure_layout}
