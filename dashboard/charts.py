"""Charts that are explored: plain Plotly dicts, built from arrays, in mid-tones that read on both themes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import plotly.graph_objects as go

from dashboard import text
from dashboard.text import px
from tandem.shown import Band, Change, Distribution, FeatureDrift, Line, Served, Window

Figure = dict[str, Any]

SYSTEM, MODEL, RISK, BAD, GREY = "#3B7DE8", "#BC5A95", "#D08A00", "#E0561F", "#7C8595"
GRID, BANDS, INK = "rgba(128,136,150,.2)", "rgba(128,136,150,.08)", "#757D8B"
COLOURS: Mapping[str, str] = {"system": SYSTEM, "model": MODEL}
LANES = ("Incident", "Drift", "Model", "Deploy", "Build")
MARKS: Mapping[str, tuple[str, str]] = {
    "Incident": ("square", BAD),
    "Drift": ("diamond", MODEL),
    "Model": ("star", MODEL),
    "Deploy": ("triangle-up", SYSTEM),
    "Build": ("circle", SYSTEM),
}
WIDE, PHONE = 1180, 270
"""Plotting width in pixels that labels are placed for; what is wider only gains room."""
MOST = 600
"""Points of a line; a plot is never narrower than a pixel per point on the screens we draw for."""
STEPS = (300, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400, 172800, 604800, 1209600, 2592000, 7776000, 31536000)
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False, "showAxisDragHandles": False}


class RawFigure(go.Figure):  # type: ignore[misc]
    """A figure whose dict is ready; skips Plotly's validation, nothing else of go.Figure works."""

    def __init__(self, figure: Figure) -> None:
        object.__setattr__(self, "_ready", figure)

    def to_dict(self) -> Figure:
        """The dict as it is."""
        ready: Figure = object.__getattribute__(self, "_ready")
        return ready

    def __repr__(self) -> str:
        return "RawFigure"


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


def line_traces(line: Line, window: Window, step: int, yaxis: str) -> list[Figure]:
    """A line of shares, its immature part dotted, with markers where a point has no neighbour."""
    begin = first(window, line.step or step)
    points, wide = shrunk(line.points, line.step or step)
    soft = _immature(line, len(points))
    rounded = [None if value is None else round(value, 6) for value in points]
    colour = COLOURS[line.side]
    base = {
        "type": "scatter",
        "mode": "lines+markers" if _lonely(rounded) else "lines",
        "x0": (begin + wide // 2) * 1000,
        "dx": wide * 1000,
        "yaxis": yaxis,
        "name": px(line.title),
        "connectgaps": False,
        "hovertemplate": f"%{{y:.3%}}<extra>{px(line.title)}</extra>",
        "marker": {"size": 5, "color": colour},
    }
    cut = next((i for i, is_soft in enumerate(soft) if is_soft), len(rounded))
    traces = [{**base, "y": rounded[: cut + 1], "line": {"color": colour, "width": 1.8}}]
    if cut < len(rounded):
        tail = [None] * cut + rounded[cut:]
        still = f"%{{y:.3%}}, labels still arriving<extra>{px(line.title)}</extra>"
        traces.append(
            {**base, "y": tail, "line": {"color": colour, "width": 1.8, "dash": "dot"}, "hovertemplate": still}
        )
    return traces


def _immature(line: Line, length: int) -> list[bool]:
    every = max(-(-len(line.points) // max(length, 1)), 1)
    return [any(line.immature[i * every : (i + 1) * every]) for i in range(length)] if line.immature else []


def _lonely(points: Sequence[float | None]) -> bool:
    """Whether some point has no neighbour to draw a line to."""
    padded = [None, *points, None]
    return any(
        b is not None and a is None and c is None for a, b, c in zip(padded, padded[1:], padded[2:], strict=False)
    )


def _aim(target: float, yaxis: str) -> Figure:
    return {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "yref": yaxis, "y0": target, "y1": target,
        "line": {"color": GREY, "width": 1, "dash": "dash"}, "layer": "below",
    }  # fmt: skip


def timeline(
    lines: Sequence[Line], changes: Sequence[Change], window: Window, step: int, zone: tzinfo, *, narrow: bool = False
) -> Figure:
    """One x axis over stacked parts: up to two lines of shares, and the lanes of the changes."""
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
            figure_layout["shapes"].append(_aim(line.target, name))
        aim = f" · target {text.target(line.target)}" if line.target is not None else ""
        figure_layout["annotations"].append(_heading(f"{px(line.title)}{aim}", domain[1]))
    zone_text = text.zone_name(window.until, zone)
    figure_layout["annotations"].append(_heading(f"Changes · {px(zone_text)}", lanes_top))
    parts = ((0, lanes_top), *domains)
    figure_layout["shapes"] += _lane_bands() + _incidents(changes, window) + _takeovers(changes, window, parts)
    data += _lane_traces(changes, window)
    figure_layout["annotations"] += labels(changes, window, PHONE if narrow else WIDE)
    return {"data": data, "layout": figure_layout}


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
    """The newest twelve incidents as rectangles across all parts."""
    found = [c for c in changes if c.lane == "Incident" and (c.ended is None or c.ended > c.ts)][-12:]
    return [
        {
            "type": "rect", "x0": max(c.ts, window.since) * 1000, "yref": "paper", "y0": 0, "y1": 0.96,
            "x1": (window.until if c.ended is None else min(c.ended, window.until)) * 1000,
            "fillcolor": "rgba(224,86,31,.11)", "line": {"width": 0}, "layer": "below",
        }
        for c in found
    ]  # fmt: skip


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
        if change.lane in LANES and window.since <= change.ts < window.until:
            groups.setdefault((change.lane, change.outcome == "bad"), []).append(change)
    traces = []
    for (lane, bad), found in groups.items():
        symbol, colour = MARKS[lane]
        if bad and lane in ("Build", "Deploy"):
            symbol, colour = "x", BAD
        traces.append({
            "type": "scatter",
            "mode": "markers",
            "x": [change.ts * 1000 for change in found],
            "y": [_lane(change) for change in found],
            "yaxis": "y",
            "marker": {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 0}},
            "text": [_hover(change) for change in found],
            "hovertemplate": "%{text}<extra></extra>",
            "cliponaxis": False,
        })  # fmt: skip
    return traces


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
    inside = [c for c in changes if c.lane in LANES and window.since <= c.ts < window.until]
    lines = [(c.ts - window.since) * scale for c in inside if c.kind == "promotion"]
    edges = [(max(c.ts, window.since) - window.since) * scale for c in inside if c.lane == "Incident"]
    placed = []
    for lane in LANES:
        here = sorted((c for c in inside if c.lane == lane), key=lambda c: c.ts)
        if lane == "Build":
            here = [c for c in here if c.outcome == "bad"] if len(here) > 12 else here
        taken = [
            ((c.ts - window.since) * scale - 8, (c.ts - window.since) * scale + 8) for c in inside if c.lane == lane
        ]
        walls = [(x - 2, x + 2) for x in (*lines, *(edges if lane != "Incident" else ()))]
        for change in reversed(here):
            x = (change.ts - window.since) * scale
            own = [box for box in (*taken, *walls) if not box[0] <= x <= box[1]]
            found = _fit(change, x, width, limit, own)
            if found:
                words, side, box = found
                taken.append(box)
                placed.append(_label(change, words, side))
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


def _label(change: Change, words: str, side: str) -> Figure:
    return {
        "x": change.ts * 1000, "y": _lane(change), "xref": "x", "yref": "y", "text": px(words), "showarrow": False,
        "xanchor": side, "xshift": -9 if side == "right" else 9, "font": {"size": 11, "color": INK},
    }  # fmt: skip


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
            figure_layout["shapes"].append({**_aim(at, "y"), "layer": "above"})
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
            "mode": "lines+markers" if _lonely(thin) else "lines",
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
    tick = _nice(top * 1.08)
    values = [tick * i for i in range(int(top * 1.08 / tick) + 2)]
    figure_layout["yaxis"] = axis(
        range=[0, top * 1.08 or 1], tickmode="array", tickvals=values, ticktext=[text.edge(v) for v in values]
    )
    _spread(figure_layout["annotations"], (top * 1.08 or 1) / 14)
    if threshold is not None:
        figure_layout["shapes"].append(_aim(threshold, "y"))
    return {"data": data, "layout": figure_layout}


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


def failures(line: Line, window: Window, step: int, zone: tzinfo, *, narrow: bool = False) -> Figure:
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
        figure_layout["shapes"].append({**_aim(limit, "y"), "layer": "above"})
    trace = {
        "type": "bar", "x0": (begin + wide // 2) * 1000, "dx": wide * 1000, "y": bad,
        "marker": {"color": colours, "line": {"width": 0}}, "hovertemplate": "%{y:.3%} failed<extra></extra>",
    }  # fmt: skip
    return {"data": [trace], "layout": figure_layout}


def quality(
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
        figure_layout["shapes"].append(_aim(line.target, "y"))
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


def distribution(found: Distribution, *, narrow: bool = False) -> Figure:
    """The reference and the current share of every bin, side by side."""
    cut = 8 if narrow else 12
    names = [label if len(label) <= cut else label[: cut - 1] + "…" for label in found.labels]
    places = list(range(len(names)))
    every = max(-(-len(names) // (6 if narrow else 12)), 1) if found.type != "category" else 1
    slanted = len(names) // every > (5 if narrow else 9)
    traces = [
        {
            "type": "bar", "x": places, "y": [round(share, 6) for share in shares], "name": name,
            "marker": {"color": colour, "line": {"width": 0}},
            "customdata": [px(label) for label in found.labels],
            "hovertemplate": f"%{{customdata}}<br>{name}: %{{y:.1%}}<extra></extra>",
        }
        for name, shares, colour in (
            ("reference", found.reference, "rgba(124,133,149,.55)"), ("this window", found.current, MODEL),
        )
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": {
            "height": 250 if slanted else 230,
            "margin": {"l": 48, "r": 10, "t": 8, "b": 62 if slanted else 34, "autoexpand": False},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "dragmode": False,
            "barmode": "group",
            "bargap": 0.25,
            "bargroupgap": 0.05,
            "hovermode": "closest",
            "xaxis": axis(
                tickmode="array", tickvals=places[::every], ticktext=[px(name) for name in names[::every]],
                tickangle=-40 if slanted else 0, showgrid=False, range=[-0.6, len(names) - 0.4],
            ),
            "yaxis": axis(tickformat=".0%", rangemode="tozero"),
        },
    }  # fmt: skip


def drift_map(features: Sequence[FeatureDrift], window: Window, zone: tzinfo, *, narrow: bool = False) -> Figure:
    """Effect per feature and step against the reference; what was not seen is hatched, not pale."""
    shown = [one for one in features if any(value is not None for value in one.daily)][: 10 if narrow else 16]
    length = max((len(one.daily) for one in shown), default=0)
    names = [
        one.feature if len(one.feature) <= (12 if narrow else 18) else one.feature[: 11 if narrow else 17] + "…"
        for one in shown
    ]
    width = next((one.step for one in shown if one.step), (window.until - window.since) // max(length, 1)) or 300
    begin = first(window, width)
    figure_layout = layout(window, zone, 76 + 26 * max(len(shown), 1), narrow=narrow, left=130)
    figure_layout["margin"]["l"] = 92 if narrow else 130
    figure_layout["margin"]["r"] = 58
    figure_layout["hovermode"] = "closest"
    figure_layout["yaxis"] = axis(
        tickmode="array", tickvals=list(range(len(shown))), ticktext=[px(name) for name in names],
        showgrid=False, range=[len(shown) - 0.5, -0.5],
    )  # fmt: skip
    z = [[None if v is None else round(min(v, 9.0), 4) for v in one.daily] for one in shown]
    marks_each = max(round(width * (24 if narrow else 60) / (window.until - window.since)), 1)
    unseen = [
        (begin + (j + (k + 0.5) / marks_each) * width, i)
        for i, row in enumerate(z)
        for j, value in enumerate(row)
        if value is None
        for k in range(marks_each)
    ]
    top = 0.35
    trace = {
        "type": "heatmap",
        "x0": (begin + width / 2) * 1000,
        "dx": width * 1000,
        "z": z,
        "zmin": 0,
        "zmax": top,
        "text": [[px(one.feature)] * length for one in shown],
        "hovertemplate": "%{text}<br>%{x}: %{z:.3f}<extra></extra>",
        "hoverongaps": False,
        "xgap": 0,
        "ygap": 2,
        "colorscale": [
            [0, "rgba(188,90,149,.05)"],
            [0.1 / top, "rgba(188,90,149,.2)"],
            [0.1 / top, "rgba(208,138,0,.45)"],
            [0.2 / top, "rgba(208,138,0,.85)"],
            [0.2 / top, "rgba(224,86,31,.78)"],
            [1, "rgba(224,86,31,1)"],
        ],
        "colorbar": {
            "thickness": 8,
            "len": 1,
            "x": 1.01,
            "xpad": 0,
            "outlinewidth": 0,
            "tickvals": [0, 0.1, 0.2, top],
            "ticktext": ["0", "0.1 ▲", "0.2 ◆", "0.35"],
            "tickfont": {"size": 11, "color": INK},
        },
    }
    marks = {
        "type": "scatter", "mode": "markers",
        "x": [ts * 1000 for ts, _ in unseen[:MOST]], "y": [i for _, i in unseen[:MOST]],
        "marker": {"symbol": "line-ne", "size": 7, "line": {"width": 1, "color": "rgba(124,133,149,.55)"}},
        "hovertemplate": "not enough rows<extra></extra>",
    }  # fmt: skip
    return {"data": [trace, marks], "layout": figure_layout}


def segments(
    found: Sequence[tuple[str, int, int, tuple[float, float] | None]], target: float | None, *, narrow: bool = False
) -> Figure:
    """Accuracy by segment: the share as a dot, its Wilson interval as a bar, the target as a line."""
    shown = found[:16]
    known = [(i, good / total, interval) for i, (_, good, total, interval) in enumerate(shown) if total]
    ends = [end for _, value, interval in known for end in (interval or (value, value))]
    ends += [target] if target is not None else []
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = max((high - low) * 0.06, 0.002)
    under = [target is not None and interval is not None and interval[1] < target for _, _, interval in known]
    names = [name or "All" for name, *_ in shown]
    cut = 14 if narrow else 22
    trace = {
        "type": "scatter",
        "mode": "markers",
        "x": [round(value, 6) for _, value, _ in known],
        "y": [i for i, *_ in known],
        "marker": {
            "size": 9,
            "symbol": ["diamond" if bad else "circle" for bad in under],
            "color": [BAD if bad else MODEL for bad in under],
        },
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [round((interval or (0, value))[1] - value, 6) for _, value, interval in known],
            "arrayminus": [round(value - (interval or (value, 0))[0], 6) for _, value, interval in known],
            "color": GREY,
            "thickness": 1.4,
            "width": 4,
        },
        "text": [f"{px(names[i])}: {text.count(shown[i][1])} of {text.count(shown[i][2])}" for i, *_ in known],
        "hovertemplate": "%{text}, %{x:.2%}<extra></extra>",
    }
    shapes = []
    if target is not None:
        shapes.append({
            "type": "line", "x0": target, "x1": target, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": GREY, "width": 1, "dash": "dash"}, "layer": "below",
        })  # fmt: skip
    return {
        "data": [trace],
        "layout": {
            "height": 60 + 28 * max(len(shown), 2),
            "margin": {"l": 100 if narrow else 150, "r": 14, "t": 6, "b": 34, "autoexpand": False},
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "showlegend": False,
            "dragmode": False,
            "xaxis": axis(
                range=[low - pad, min(high + pad, 1.01)], tickformat=".0%" if high - low > 0.04 else ".1%", nticks=5
            ),
            "yaxis": axis(
                tickmode="array",
                tickvals=list(range(len(shown))),
                ticktext=[px(name if len(name) <= cut else name[: cut - 1] + "…") for name in names],
                range=[len(shown) - 0.5, -0.5],
            ),
            "shapes": shapes,
        },
    }


def chosen(selection: Any, window: Window, bucket: int = 300) -> tuple[int, int] | None:
    """The window of a box selection, ends moved outwards to whole buckets; None if nothing changes."""
    boxes = getattr(getattr(selection, "selection", None), "box", None) or ()
    if not boxes or len(boxes[0].get("x") or ()) < 2:
        return None
    ends = sorted(_stamp(end) for end in (boxes[0]["x"][0], boxes[0]["x"][-1]))
    since = max(int(ends[0] // bucket * bucket), window.since)
    until = min(int(-(-ends[1] // bucket) * bucket), window.until)
    if until <= since or (since, until) == (window.since, window.until):
        return None
    return since, until


def _stamp(end: Any) -> float:
    if isinstance(end, int | float):
        return float(end) / 1000
    return datetime.fromisoformat(str(end).replace(" ", "T")).replace(tzinfo=UTC).timestamp()
