"""Latency: its distribution over time, and its percentiles."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.charts.axes import MOST, axis, first, layout, target_line
from dashboard.charts.figure import INK, SYSTEM, Figure
from dashboard.charts.line import lonely
from dashboard.text import px
from tandem.shown import Band, Window


def latency_map(band: Band, window: Window, zone: tzinfo, threshold: float | None, *, narrow: bool = False) -> Figure:
    """Share of requests per bin of the histogram over time; one hue whose alpha rises."""
    counts, step = _coarser(band.counts, band.step, 48 if narrow else 160)
    low, high = _used_bins(counts)
    edges = band.edges
    names = [_bin_name(edges, i) for i in range(low, high + 1)]
    totals = [sum(column) or None for column in counts]
    z = [
        [None if total is None else round(column[i] / total, 4) for column, total in zip(counts, totals, strict=True)]
        for i in range(low, high + 1)
    ]
    figure_layout = layout(window, zone, 300, narrow=narrow, left=84)
    figure_layout["margin"]["r"] = 40
    figure_layout["yaxis"] = axis(
        tickmode="array",
        tickvals=list(range(len(names))),
        ticktext=names,
        showgrid=False,
        range=[-0.5, len(names) - 0.5],
    )
    figure_layout["hovermode"] = "closest"
    if threshold is not None and edges:
        at = sum(edge < threshold for edge in edges) - low + (0.5 if threshold in edges else 0.0)
        if -0.5 <= at <= len(names) - 0.5:
            figure_layout["shapes"].append({**target_line(at, "y"), "layer": "above"})
    trace = {
        "type": "heatmap",
        "x0": (first(window, band.step) + step // 2) * 1000,
        "dx": step * 1000,
        "z": z,
        "colorscale": [[0, "rgba(59,125,232,.03)"], [0.5, "rgba(59,125,232,.5)"], [1, "rgba(59,125,232,1)"]],
        "showscale": False,
        "zmin": 0,
        "xgap": 0,
        "ygap": 1,
        "hoverongaps": False,
        "text": [[name] * len(totals) for name in names],
        "hovertemplate": "%{x}<br>%{text}: %{z:.1%}<extra></extra>",
    }
    return {"data": [trace], "layout": figure_layout}


def _coarser(columns: Sequence[Sequence[int]], step: int, most: int) -> tuple[list[list[int]], int]:
    every = max(-(-len(columns) // most), 1)
    width = max((len(column) for column in columns), default=0)
    merged = []
    for start in range(0, len(columns), every):
        seen = [column for column in columns[start : start + every] if column]
        merged.append([sum(bins) for bins in zip(*seen, strict=True)] if seen else [0] * width)
    return merged, step * every


def _used_bins(columns: Sequence[Sequence[int]]) -> tuple[int, int]:
    used = [i for column in columns for i, number in enumerate(column) if number]
    return (min(used), max(used)) if used else (0, 0)


def _bin_name(edges: Sequence[float], i: int) -> str:
    if not edges:
        return "all"
    if i == 0:
        return f"≤ {text.edge(edges[0])}"
    if i == len(edges):
        return f"> {text.edge(edges[-1])}"
    return f"≤ {text.edge(edges[i])}"


def percentiles(band: Band, window: Window, zone: tzinfo, threshold: float | None, *, narrow: bool = False) -> Figure:
    """p50, p95 and p99 over time, named at the ends of their lines."""
    figure_layout = layout(window, zone, 240, narrow=narrow, left=84)
    figure_layout["margin"]["r"] = 40
    data = []
    top = threshold or 0.0
    for name, values in band.quantiles.items():
        every = max(-(-len(values) // MOST), 1)
        thin = [None if value is None else round(value, 6) for value in values[::every]]
        seen = [value for value in thin if value is not None]
        if not seen:
            continue
        top = max(top, *seen)
        style = {"color": SYSTEM, "width": 2 if name == "p95" else 1.2, "dash": "dot" if name == "p99" else "solid"}
        data.append({
            "type": "scatter",
            "mode": "lines+markers" if lonely(thin) else "lines",
            "x0": (first(window, band.step) + band.step * every // 2) * 1000,
            "dx": band.step * every * 1000,
            "y": thin,
            "name": px(name),
            "line": style,
            "marker": {"size": 4},
            "hovertemplate": f"%{{y:.3~s}}s<extra>{px(name)}</extra>",
        })  # fmt: skip
        figure_layout["annotations"].append({
            "xref": "paper", "x": 1, "xanchor": "left", "xshift": 4, "y": seen[-1], "yref": "y", "text": px(name),
            "showarrow": False, "font": {"size": 12, "color": INK},
        })  # fmt: skip
    figure_layout["yaxis"] = seconds_axis(top)
    _spread(figure_layout["annotations"], (top * 1.08 or 1) / 14)
    if threshold is not None:
        figure_layout["shapes"].append(target_line(threshold, "y"))
    return {"data": data, "layout": figure_layout}


def seconds_axis(top: float) -> Figure:
    """An axis of durations from 0, with round ticks in the unit that reads best."""
    tick = _nice(top * 1.08)
    values = [tick * i for i in range(int(top * 1.08 / tick) + 2)]
    return axis(range=[0, top * 1.08 or 1], tickmode="array", tickvals=values, ticktext=[text.edge(v) for v in values])


def _spread(notes: list[Figure], least: float) -> None:
    """Push labels at line ends apart so that they do not touch."""
    last = None
    for one in sorted(notes, key=lambda note: note["y"]):
        if last is not None and one["y"] - last < least:
            one["y"] = last + least
        last = one["y"]


def _nice(top: float) -> float:
    """A round tick distance that cuts `top` into three or four."""
    if top <= 0:
        return 1.0
    rough = top / 4
    power = (
        10.0 ** len(str(int(rough))) / 10
        if rough >= 1
        else 10.0 ** -next(i for i in range(1, 12) if rough * 10**i >= 1)
    )
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
