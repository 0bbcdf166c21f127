"""What all charts share: margins, ticks of time, axes of shares, and how many points a line may have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from dashboard.charts.figure import GREY, GRID, INK, Figure
from tandem.shown import Window

MOST = 600
"""Points of a line; a plot is never narrower than a pixel per point on the screens we draw for."""
STEPS = (300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000)


def ticks(since: int, until: int, zone: tzinfo, most: int) -> tuple[list[int], list[str]]:
    """Tick times in epoch milliseconds and their texts: round local times, the day where it changes, at most `most`."""
    step = next((step for step in STEPS if (until - since) / step <= most), STEPS[-1])
    first = datetime.fromtimestamp(since, zone)
    midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + timedelta(seconds=(first - midnight).total_seconds() // step * step)
    values, texts, last_day = [], [], None
    while at.timestamp() <= until:
        if at.timestamp() >= since:
            values.append(int(at.timestamp()) * 1000)
            label = f"{at:%H:%M}" if step < 86400 else f"{at.day} {at:%b}"
            if step < 86400 and at.date() != last_day:
                label += f"<br>{at.day} {at:%b}"
            texts.append(label)
            last_day = at.date()
        at += timedelta(seconds=step)
    return values, texts


def layout(window: Window, zone: tzinfo, height: int, *, narrow: bool, left: int = 64, ticked: int = 0) -> Figure:
    """What all charts over time share: one set of margins, one x axis, box selection over time."""
    values, texts = ticks(window.since, window.until, zone, ticked or (4 if narrow else 10))
    return {
        "height": height,
        "margin": {"l": 60 if narrow else left, "r": 22, "t": 8, "b": 42, "autoexpand": False},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "dragmode": "select",
        "selectdirection": "h",
        "hovermode": "x",
        "hoverlabel": {"align": "left"},
        "bargap": 0.15,
        "xaxis": {
            "type": "date",
            "range": [window.since * 1000, window.until * 1000],
            "tickmode": "array",
            "tickvals": values,
            "ticktext": texts,
            "tickfont": {"color": INK, "size": 12},
            "showgrid": False,
            "zeroline": False,
            "automargin": False,
            "ticklabeloverflow": "allow",
            "showspikes": True,
            "spikemode": "across",
            "spikethickness": 1,
            "spikedash": "dot",
            "spikecolor": GREY,
            "fixedrange": False,
            "hoverformat": "%e %b %H:%M UTC",
            "ticks": "outside",
            "ticklen": 4,
            "tickcolor": GRID,
        },
        "yaxis": axis(),
        "shapes": [],
        "annotations": [],
    }


def dated(figure: Figure) -> Figure:
    """The figure with its times along x as UTC text; Plotly takes a number for a time of the reader's own zone."""
    drawn = figure["layout"]
    x = drawn.get("xaxis", {})
    if x.get("type") != "date":
        return figure
    placed = {name: [_dated(one, ("x", "x0", "x1")) if one.get("xref") == "x" else one for one in drawn[name]]
              for name in ("shapes", "annotations") if name in drawn}  # fmt: skip
    return {
        **figure,
        "data": [_dated(one, ("x", "x0")) for one in figure["data"]],
        "layout": {**drawn, **placed, "xaxis": _dated(x, ("range", "tickvals"))},
    }


def _dated(held: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {**held, **{name: _utc(held[name]) for name in names if name in held}}


def _utc(value: Any) -> Any:
    """Epoch milliseconds, or many of them, as Plotly writes dates; anything else as it is."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return datetime.fromtimestamp(value / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if isinstance(value, str) or not isinstance(value, Iterable):
        return value
    return [_utc(one) for one in value]


def axis(**more: Any) -> Figure:
    """A y axis: fixed, a quiet grid, no automatic margin."""
    return {
        "fixedrange": True,
        "automargin": False,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": False,
        "tickfont": {"color": INK, "size": 12},
        "nticks": 4,
        "hoverformat": ".4~g",
        **more,
    }


def first(window: Window, step: int) -> int:
    """Where the first step begins: on the grid of the step, at or before the window."""
    return window.since // step * step


def shrunk(values: Sequence[float | None], step: int, most: int = MOST) -> tuple[list[float | None], int]:
    """At most `most` points: the worst (lowest) of neighbouring steps, so that no dip is lost; and the new step."""
    every = max(-(-len(values) // most), 1)
    if every == 1:
        return list(values), step
    worst = []
    for start in range(0, len(values), every):
        seen = [value for value in values[start : start + every] if value is not None]
        worst.append(min(seen) if seen else None)
    return worst, step * every


def share_axis(values: Iterable[float | None], target: float | None, **more: Any) -> Figure:
    """An axis for shares near 1: focused on what is there and the target, in per cent, never above 100."""
    seen = [value for value in values if value is not None] or [1.0]
    scale = [*seen, target] if target is not None else seen
    low, high = min(scale), max(scale)
    pad = max((high - low) * 0.18, 0.0005)
    low, high = max(low - pad, 0.0 if low >= 0 else low), min(high + pad, 1.0 + pad * 0.4)
    span = high - low
    form = ".0%" if span > 0.03 else ".1%" if span > 0.003 else ".2%"
    return axis(range=[round(low, 6), round(high, 6)], tickformat=form, hoverformat=".3%", **more)


def target_line(target: float, yaxis: str) -> Figure:
    """A dashed line across the plot at a target."""
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": yaxis, "y0": target, "y1": target,
        "line": {"color": GREY, "width": 1, "dash": "dash"}, "layer": "below",
    }  # fmt: skip
