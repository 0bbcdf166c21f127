"""A line of shares over time."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.charts.axes import first, shrunk
from dashboard.charts.figure import COLOURS, Figure
from dashboard.text import px
from tandem.shown import Line, Window


def line_traces(line: Line, window: Window, step: int, yaxis: str) -> list[Figure]:
    """A line of shares, its immature part dotted, with markers where a point has no neighbour."""
    begin = first(window, line.step or step)
    points, wide = shrunk(line.points, line.step or step)
    soft = _immature(line, len(points))
    rounded = [None if value is None else round(value, 6) for value in points]
    colour = COLOURS[line.side]
    base = {
        "type": "scatter",
        "mode": "lines+markers" if lonely(rounded) else "lines",
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


def lonely(points: Sequence[float | None]) -> bool:
    """Whether some point has no neighbour to draw a line to."""
    padded = [None, *points, None]
    return any(
        b is not None and a is None and c is None for a, b, c in zip(padded, padded[1:], padded[2:], strict=False)
    )
