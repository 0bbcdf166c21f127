"""Scores of each class, what a threshold would do to them, and how well they are calibrated."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.charts.axes import axis
from dashboard.charts.figure import BAD, GREY, INK, MODEL, SYSTEM, Figure
from dashboard.text import px
from tandem.modelled import Calibration, ErrorBars, ScoreBars
from tandem.scores import WhatIf

MARKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)
"""Scores that are written under the bars; their distance is that of their logits, as that of the bins."""
CURVES = (("recall", MODEL, "solid"), ("precision", SYSTEM, "dash"), ("volume", GREY, "dot"))


def score_bars(found: ScoreBars, threshold: float | None, *, narrow: bool = False) -> Figure:
    """Share of each class in each bar of scores; the threshold as a line."""
    count = len(found.edges) - 1
    places = [i + 0.5 for i in range(count)]
    data: list[Figure] = []
    steps = [i for i in range(count + 1) for _ in (0, 1)]
    data = [_distribution(found, *one, places, steps) for one in found.classes]
    figure_layout = _layout(240, narrow)
    figure_layout["xaxis"] |= {"range": [0, count], "tickmode": "array", "tickvals": [], "ticktext": []}
    marks = [(_at(found, mark), f"{mark:g}") for mark in MARKS if found.edges[1] <= mark <= found.edges[-2]]
    marks = marks[::2] if narrow else marks
    figure_layout["xaxis"] |= {"tickvals": [at for at, _ in marks], "ticktext": [said for _, said in marks]}
    figure_layout["yaxis"] = axis(tickformat=".0%", rangemode="tozero")
    figure_layout["hovermode"] = "x"
    if threshold is not None:
        figure_layout["shapes"].append(_upright(_at(found, threshold)))
    return {"data": data, "layout": figure_layout}


def _distribution(
    found: ScoreBars, name: str, n: int, shares: Sequence[float], places: Sequence[float], steps: Sequence[int]
) -> Figure:
    """One class as stairs; what has no label lies behind them as bars."""
    colour, fill = _look(name, found)
    named = px(_class(name, found), 30)
    said = f"<br>%{{y:.1%}} of {text.count(n)} {named}<extra></extra>"
    ranges = [_range(found, i) for i in range(len(shares))]
    if name == "" and len(found.classes) > 1:
        return {
            "type": "bar", "x": list(places), "y": [round(share, 6) for share in shares], "width": 1,
            "marker": {"color": "rgba(124,133,149,.28)", "line": {"width": 0}}, "customdata": ranges,
            "hovertemplate": f"%{{customdata}}{said}",
        }  # fmt: skip
    ys = [0.0, *(round(share, 6) for share in shares for _ in (0, 1)), 0.0]
    return {
        "type": "scatter", "mode": "lines", "x": list(steps), "y": ys, "fill": "tozeroy", "fillcolor": fill,
        "line": {"color": colour, "width": 1.8}, "customdata": ["", *(one for one in ranges for _ in (0, 1)), ""],
        "hovertemplate": f"%{{customdata}}{said}",
    }  # fmt: skip


def error_bars(found: ErrorBars, *, narrow: bool = False) -> Figure:
    """Share of predictions in each bar of errors, the bars' edges written below; the tolerance as lines."""
    count = len(found.shares)
    figure_layout = _layout(230, narrow)
    figure_layout["bargap"] = 0.06
    figure_layout["margin"]["b"] = 34
    every = max(-(-count // (5 if narrow else 9)), 1)
    ticks = [place for place in range(1, count) if (place - count // 2) % every == 0]
    figure_layout["xaxis"] |= {
        "range": [0, count], "tickmode": "array", "tickvals": ticks,
        "ticktext": [f"{found.edges[place]:.3g}" for place in ticks],
    }  # fmt: skip
    figure_layout["yaxis"] = axis(tickformat=".0%", rangemode="tozero")
    if found.tolerance is not None:
        figure_layout["shapes"] += [
            {**_upright(_between(found.edges, end)), "line": {"color": GREY, "width": 1, "dash": "dash"}}
            for end in (-found.tolerance, found.tolerance)
        ]
    trace = {
        "type": "bar", "x": [place + 0.5 for place in range(count)], "y": [round(one, 6) for one in found.shares],
        "marker": {"color": MODEL, "line": {"width": 0}},
        "customdata": [f"{found.edges[i]:.3g} to {found.edges[i + 1]:.3g}" for i in range(count)],
        "hovertemplate": "%{customdata}<br>%{y:.1%}<extra></extra>",
    }  # fmt: skip
    return {"data": [trace], "layout": figure_layout}


def _between(edges: Sequence[float], value: float) -> float:
    """Where a value lies among bars of unlike width."""
    for place in range(len(edges) - 1):
        low, high = edges[place], edges[place + 1]
        if value <= high:
            return round(place + (max(value, low) - low) / (high - low), 3) if high > low else float(place)
    return float(len(edges) - 1)


def _class(name: str, found: ScoreBars) -> str:
    if name:
        return f"truly {name}"
    return "without a label" if len(found.classes) > 1 else "predictions"


def _look(name: str, found: ScoreBars) -> tuple[str, str]:
    if name == found.positive or len(found.classes) == 1:
        return MODEL, "rgba(188,90,149,.22)"
    return (GREY, "rgba(124,133,149,.1)") if name == "" else (SYSTEM, "rgba(59,125,232,.16)")


def legend(found: ScoreBars) -> list[tuple[str, str]]:
    """The classes with their colours: (CSS class, text)."""
    shown = []
    for name, n, _ in found.classes:
        kind = "j-pos" if name == found.positive or len(found.classes) == 1 else "j-un" if name == "" else "j-neg"
        shown.append((kind, f"{_class(name, found)}, {text.count(n)}"))
    return shown


def _range(found: ScoreBars, place: int) -> str:
    return f"{found.edges[place]:.3g} to {found.edges[place + 1]:.3g}"


def _at(found: ScoreBars, score: float) -> float:
    """Where a score lies among the bars."""
    return _between(found.edges, score)


def _upright(at: float) -> Figure:
    return {
        "type": "line", "x0": at, "x1": at, "yref": "paper", "y0": 0, "y1": 1,
        "line": {"color": BAD, "width": 1.6}, "layer": "above",
    }  # fmt: skip


def threshold_curves(found: Sequence[WhatIf], place: int, *, narrow: bool = False) -> Figure:
    """Recall, precision and volume at every threshold that the bins answer exactly."""
    xs = list(range(len(found)))
    data: list[Figure] = []
    figure_layout = _layout(210, narrow)
    figure_layout["margin"]["r"] = 66
    for name, colour, dash in CURVES:
        spans = [getattr(one, name)() for one in found]
        ys = [None if span is None else round(sum(span) / 2, 5) for span in spans]
        data.append({
            "type": "scatter", "mode": "lines", "x": xs, "y": ys, "name": name, "connectgaps": False,
            "line": {"color": colour, "width": 1.8, "dash": dash},
            "customdata": [f"{one.threshold:.3g}" for one in found],
            "hovertemplate": f"%{{y:.1%}} at %{{customdata}}<extra>{name}</extra>",
        })  # fmt: skip
    figure_layout["annotations"] += _ends(data)
    marks = [(_nearest(found, mark), f"{mark:g}") for mark in MARKS]
    marks = marks[::2] if narrow else marks
    figure_layout["xaxis"] |= {
        "range": [0, len(found) - 1], "tickmode": "array", "tickvals": [at for at, _ in marks],
        "ticktext": [said for _, said in marks],
    }  # fmt: skip
    figure_layout["yaxis"] = axis(range=[0, 1.02], tickformat=".0%")
    figure_layout["hovermode"] = "x"
    figure_layout["shapes"].append(_upright(place))
    return {"data": data, "layout": figure_layout}


def _nearest(found: Sequence[WhatIf], score: float) -> int:
    return min(range(len(found)), key=lambda place: abs(found[place].threshold - score))


def _ends(data: Sequence[Figure]) -> list[Figure]:
    """Names at the right, apart from one another."""
    ends = []
    for trace in data:
        known = [value for value in trace["y"] if value is not None]
        if known:
            ends.append((known[-1], trace["name"]))
    notes, last = [], -1.0
    for value, name in sorted(ends):
        at = max(value, last + 0.12)
        notes.append({
            "xref": "paper", "x": 1, "xanchor": "left", "xshift": 4, "y": at, "yref": "y", "text": px(name),
            "showarrow": False, "font": {"size": 12, "color": INK},
        })  # fmt: skip
        last = at
    return notes


def calibration_dots(found: Calibration, *, narrow: bool = False) -> Figure:
    """Observed share of positives against the mean score, each with its interval; the diagonal is perfect."""
    points = found.points
    trace = {
        "type": "scatter", "mode": "lines+markers", "x": [round(one.score, 5) for one in points],
        "y": [round(one.share, 5) for one in points], "line": {"color": MODEL, "width": 1.4},
        "marker": {"size": 7, "color": MODEL},
        "error_y": {
            "type": "data", "symmetric": False, "color": GREY, "thickness": 1.3, "width": 3,
            "array": [round(max(one.interval[1] - one.share, 0.0), 5) for one in points],
            "arrayminus": [round(max(one.share - one.interval[0], 0.0), 5) for one in points],
        },
        "text": [f"{text.count(one.positives)} of {text.count(one.n)}" for one in points],
        "hovertemplate": "score %{x:.3f}<br>observed %{y:.1%}, %{text}<extra></extra>",
    }  # fmt: skip
    figure_layout = _layout(250, narrow)
    figure_layout["margin"] |= {"l": 52, "b": 40}
    title = {"text": "mean score", "font": {"size": 12, "color": INK}, "standoff": 4}
    figure_layout["xaxis"] |= {"range": [-0.02, 1.02], "tickformat": ".1f", "nticks": 6, "title": title}
    figure_layout["yaxis"] = axis(range=[-0.02, 1.02], tickformat=".0%", nticks=6)
    figure_layout["shapes"].append({
        "type": "line", "x0": 0, "x1": 1, "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1, "dash": "dash"},
        "layer": "below",
    })  # fmt: skip
    return {"data": [trace], "layout": figure_layout}


def _layout(height: int, narrow: bool) -> Figure:
    return {
        "height": height,
        "margin": {"l": 44 if narrow else 52, "r": 12, "t": 8, "b": 30, "autoexpand": False},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "showlegend": False,
        "dragmode": False,
        "hovermode": "closest",
        "bargap": 0,
        "barmode": "overlay",
        "xaxis": axis(showgrid=False),
        "yaxis": axis(),
        "shapes": [],
        "annotations": [],
    }
