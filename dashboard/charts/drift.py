"""Drift: every feature over time, and one feature as it was and is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard.charts.axes import MOST, axis, first, layout
from dashboard.charts.figure import INK, MODEL, SIDE_A, SIDE_B, Figure
from dashboard.text import px
from tandem.shown import Distribution, FeatureDrift, Window


def distribution_bars(found: Distribution, *, narrow: bool = False, names: tuple[str, str] | None = None) -> Figure:
    """The reference and the current share of every bin, side by side; `names` are those of two compared sides."""
    was, now = names or ("reference", "this window")
    colours = (SIDE_B, SIDE_A) if names else ("rgba(124,133,149,.55)", MODEL)
    cut = 8 if narrow else 12
    labels = [label if len(label) <= cut else label[: cut - 1] + "…" for label in found.labels]
    places = list(range(len(labels)))
    every = max(-(-len(labels) // (6 if narrow else 12)), 1) if found.type != "category" else 1
    slanted = len(labels) // every > (5 if narrow else 9)
    traces = [
        {
            "type": "bar", "x": places, "y": [round(share, 6) for share in shares], "name": name,
            "marker": {"color": colour, "line": {"width": 0}},
            "customdata": [px(label) for label in found.labels],
            "hovertemplate": f"%{{customdata}}<br>{name}: %{{y:.1%}}<extra></extra>",
        }
        for name, shares, colour in (
            (was, found.reference, colours[0]), (now, found.current, colours[1]),
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
                tickmode="array", tickvals=places[::every], ticktext=[px(name) for name in labels[::every]],
                tickangle=-40 if slanted else 0, showgrid=False, range=[-0.6, len(labels) - 0.4],
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
    top = 0.4
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
            [0.25 / top, "rgba(208,138,0,.85)"],
            [0.25 / top, "rgba(224,86,31,.78)"],
            [1, "rgba(224,86,31,1)"],
        ],
        "colorbar": {
            "thickness": 8,
            "len": 1,
            "x": 1.01,
            "xpad": 0,
            "outlinewidth": 0,
            "tickvals": [0, 0.1, 0.25, top],
            "ticktext": ["0", "0.1 ▲", "0.25 ◆", "0.4"],
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
