"""Quality by version over time: a line and its interval for each version, hollow where labels still come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.charts.axes import axis, first, layout, share_axis, target_line
from dashboard.charts.figure import GREY, INK, MODEL, Figure
from dashboard.text import px
from tandem.modelled import Trace, Traced
from tandem.shown import Served, Window
from tandem.whose import Estimated

DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
"""Versions are told apart by the dash of their line, the newest solid, and by their name at its end."""
SYMBOLS = ("circle", "square", "triangle-up", "diamond", "cross", "x")
FILLS = ("rgba(188,90,149,.16)", "rgba(124,133,149,.18)")


def trace_lines(
    trace: Trace, served: Sequence[Served], promoted: Sequence[tuple[str, int]], window: Window, zone: tzinfo, *,
    narrow: bool = False, estimated: Sequence[Estimated] = (),
) -> Figure:  # fmt: skip
    """Every version over time with its 95 % band, the target, lines where a version was promoted, and estimates."""
    figure_layout = layout(window, zone, 300, narrow=narrow, left=84)
    figure_layout["margin"]["t"] = 26
    shown = list(reversed(trace.versions))  # the newest first
    shares = trace.unit == "share"
    ends = [*_ends(shown, trace), *(value for one in estimated for _, value in one.points)]
    figure_layout["yaxis"] = share_axis(ends, trace.target) if shares else _amounts(ends)
    if trace.target is not None:
        figure_layout["shapes"].append(target_line(trace.target, "y"))
    for _, ts in [one for one in promoted if window.since < one[1] < window.until][-8:]:
        figure_layout["shapes"].append({
            "type": "line", "x0": ts * 1000, "x1": ts * 1000, "yref": "paper", "y0": 0, "y1": 1,
            "line": {"color": MODEL, "width": 1, "dash": "dot"}, "layer": "below",
        })  # fmt: skip
    data: list[Figure] = [_guessed(one, trace) for one in estimated]
    for place, one in enumerate(shown):
        data += _version(one, place, trace, window)
    figure_layout["annotations"] += _names(shown, trace, window, narrow, served)
    return {"data": data, "layout": figure_layout}


def _ends(shown: Sequence[Traced], trace: Trace) -> list[float]:
    """What the axis must hold: all values, and the intervals that rest on enough labels to say something."""
    most = max((n for one in shown for n in one.n), default=0)
    ends = [value for one in shown for value in one.values if value is not None]
    for one in shown:
        for low, high, n, soft in zip(one.lows, one.highs, one.n, trace.immature, strict=True):
            if low is not None and high is not None and not soft and 4 * n >= most:
                ends += [low, high]
    return ends


def _amounts(ends: Sequence[float]) -> Figure:
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    pad = (high - low) * 0.15 or abs(high) * 0.1 or 1.0
    return axis(range=[min(max(low - pad, 0.0), low), high + pad])


def _x(trace: Trace, window: Window, place: int) -> int:
    return (first(window, trace.step) + place * trace.step + trace.step // 2) * 1000


def _version(one: Traced, place: int, trace: Trace, window: Window) -> list[Figure]:
    """The band of a version, its line, and its points: full, or hollow where labels still come."""
    colour, fill = (MODEL, FILLS[0]) if place == 0 else (GREY, FILLS[1])
    there = [i for i, value in enumerate(one.values) if value is not None]
    xs = [_x(trace, window, i) for i in there]
    rounded = [None if value is None else round(value, 6) for value in one.values]
    soft = [trace.immature[i] for i in there]
    named = f"version {one.version}" if one.version else trace.title
    shape = ".2%" if trace.unit == "share" else ".4~g"
    band = [_band(run, one, trace, window, fill) for run in _runs(there, one)]
    line = {
        "type": "scatter", "mode": "lines", "x0": _x(trace, window, 0), "dx": trace.step * 1000, "y": rounded,
        "connectgaps": False, "line": {"color": colour, "width": 1.6, "dash": DASHES[place % len(DASHES)]},
        "hoverinfo": "skip",
    }  # fmt: skip
    points = {
        "type": "scatter", "mode": "markers", "x": xs, "y": [rounded[i] for i in there],
        "marker": {
            "size": 6 if len(there) < 60 else 4.5, "color": colour,
            "symbol": [f"{SYMBOLS[place % len(SYMBOLS)]}{'-open' if hollow else ''}" for hollow in soft],
            "line": {"width": 1.4, "color": colour},
        },
        "text": [_said(one, i, trace) for i in there], "cliponaxis": False,
        "hovertemplate": f"%{{y:{shape}}}, %{{text}}<extra>{px(named)}</extra>",
    }  # fmt: skip
    return [*band, line, points]


def _guessed(one: Estimated, trace: Trace) -> Figure:
    """What a tool estimates without labels: dots of their own, never joined to what was counted."""
    shape = ".2%" if trace.unit == "share" else ".4~g"
    version = f", version {one.version}" if one.version else ""
    return {
        "type": "scatter", "mode": "lines+markers", "x": [round(ts * 1000) for ts, _ in one.points],
        "y": [round(value, 6) for _, value in one.points], "line": {"color": GREY, "width": 1, "dash": "dot"},
        "marker": {"size": 5, "color": GREY, "symbol": "circle-dot"}, "cliponaxis": False,
        "hovertemplate": f"%{{y:{shape}}} estimated, no labels<extra>{px(one.source)}{px(version)}</extra>",
    }  # fmt: skip


def _said(one: Traced, place: int, trace: Trace) -> str:
    low, high = one.lows[place], one.highs[place]
    ends = ""
    if low is not None and high is not None:
        ends = f"95 %: {text.share(low)} to {text.share(high)}" if trace.unit == "share" else (
            f"95 %: {text.digits(low)} to {text.digits(high)}")  # fmt: skip
    still = ", labels still arriving" if trace.immature[place] else ""
    return f"{text.count(one.n[place])} labelled, {ends}{still}"


def _runs(there: Sequence[int], one: Traced) -> list[list[int]]:
    """Neighbouring steps that have an interval: a band is broken where nothing was seen."""
    runs: list[list[int]] = []
    for place in there:
        if one.lows[place] is None:
            continue
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    return runs


def _band(run: Sequence[int], one: Traced, trace: Trace, window: Window, fill: str) -> Figure:
    """One band as a closed shape; a lonely step gets a short one."""
    half = trace.step * 250 if len(run) == 1 else 0
    xs = [_x(trace, window, place) for place in run]
    xs = [xs[0] - half, xs[0] + half] if half else xs
    lows = [one.lows[place] for place in run] * (2 if half else 1)
    highs = [one.highs[place] for place in run] * (2 if half else 1)
    ys = [round(end, 6) for end in (*lows, *reversed(highs)) if end is not None]
    return {
        "type": "scatter", "mode": "lines", "x": [*xs, *reversed(xs)], "y": ys, "fill": "toself", "fillcolor": fill,
        "line": {"width": 0}, "hoverinfo": "skip",
    }  # fmt: skip


def _names(
    shown: Sequence[Traced], trace: Trace, window: Window, narrow: bool, served: Sequence[Served]
) -> list[Figure]:
    """Versions named above the plot where each was first seen, as far as there is room."""
    begun = []
    for one in shown:
        seen = next((i for i, value in enumerate(one.values) if value is not None), None)
        first_served = next((stretch.since for stretch in served if stretch.version == one.version), None)
        if one.version and seen is not None:
            ts = first_served if first_served is not None else _x(trace, window, seen) // 1000
            begun.append((max(ts, window.since), one.version))
    found: list[Figure] = []
    last = -1.0
    for ts, name in sorted(begun):
        at = (ts - window.since) / (window.until - window.since)
        at = max(at, last + (0.22 if narrow else 0.09)) if last >= 0 else at
        if at > 0.97:
            break
        found.append({
            "x": at, "xref": "paper", "yref": "paper", "y": 1, "yanchor": "bottom", "text": f"<b>{px(name, 18)}</b>",
            "showarrow": False, "font": {"size": 11, "color": INK}, "xanchor": "right" if at > 0.9 else "left",
        })  # fmt: skip
        last = at
    return found
