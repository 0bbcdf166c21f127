"""A share by segment, each with its interval."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.charts.axes import axis
from dashboard.charts.figure import BAD, GREY, MODEL, Figure
from dashboard.text import px


def segment_dots(
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
