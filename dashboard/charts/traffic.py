"""Rate, errors and duration of a service under one axis of time; and when nobody was looking."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.charts.axes import MOST, axis, first, layout, share_axis, target_line
from dashboard.charts.figure import BAD, GREY, INK, SYSTEM, Figure
from dashboard.charts.latency import seconds_axis
from dashboard.charts.line import line_traces, lonely
from dashboard.text import px
from tandem.corrections import Correction
from tandem.curves import Asked
from tandem.shown import Band, Line, Window

Spans = Sequence[tuple[int, int]]
BARS, FEW = 96, 40
"""Bars that a part has at most, on a wide and on a narrow screen."""


def traffic(
    asked: Asked | None, band: Band | None, target: float | None, limit: float | None, window: Window, zone: tzinfo,
    *, unseen: Spans = (), narrow: bool = False,
) -> Figure:  # fmt: skip
    """Requests a minute, the share that failed, and percentiles of how long they took, one above the other."""
    parts = [part for part, there in (("rate", asked), ("errors", asked), ("duration", band)) if there]
    height = {1: 170, 2: 300, 3: 430}[max(len(parts), 1)]
    figure = layout(window, zone, height, narrow=narrow, left=70)
    figure["margin"]["r"] = 40
    figure["margin"]["t"] = 22
    data: list[Figure] = []
    bottom = 0.0
    for place, part in enumerate(reversed(parts)):
        top = bottom + 1 / len(parts)
        domain = [bottom + (0.02 if place else 0.0), top - (0.05 if bottom + 1.5 / len(parts) > 1 else 0.09)]
        name = "y" if not place else f"y{place + 1}"
        key = "yaxis" if not place else f"yaxis{place + 1}"
        if part == "duration":
            assert band is not None, "a part is drawn of what there is"
            traces, figure[key] = _duration(band, limit, window, name)
        else:
            assert asked is not None, "a part is drawn of what there is"
            traces, figure[key] = (_rate if part == "rate" else _errors)(asked, target, name, FEW if narrow else BARS)
        figure[key] |= {"domain": domain, "anchor": "x", "nticks": 3}
        data += traces
        figure["annotations"].append(_heading(_title(part, asked, target, limit), domain[1]))
        if part == "errors" and target is not None:
            figure["shapes"].append({**target_line(round(1 - target, 9), name), "layer": "above"})
        if part == "duration" and limit is not None:
            figure["shapes"].append(target_line(limit, name))
        figure["annotations"] += _ends(band, name) if part == "duration" and band is not None else []
        data += hatched(unseen, window, name, figure[key]["range"], "not seen")
        bottom = top
    figure["xaxis"]["anchor"] = "y"
    figure["barmode"] = "overlay"
    return {"data": data, "layout": figure}


def _title(part: str, asked: Asked | None, target: float | None, limit: float | None) -> str:
    what = asked.what.capitalize() if asked else "Requests"
    if part == "rate":
        return f"{what} a minute"
    if part == "errors":
        return f"Failed {what.lower()}" + (
            f" · the target allows {text.share(1 - target)}" if target is not None else ""
        )
    return "Duration: p50, p95, p99" + (f" · objective {text.seconds(limit)}" if limit is not None else "")


def _heading(words: str, top: float) -> Figure:
    return {
        "xref": "paper", "x": 0, "xanchor": "left", "yref": "paper", "y": top, "yanchor": "bottom", "yshift": 3,
        "text": f"<b>{px(words)}</b>", "showarrow": False, "font": {"size": 12, "color": INK},
    }  # fmt: skip


def _joined(values: Sequence[int | None], every: int) -> list[int | None]:
    """The sums of neighbours; None where nothing was seen of any of them."""
    found: list[int | None] = []
    for start in range(0, len(values), every):
        seen = [value for value in values[start : start + every] if value is not None]
        found.append(sum(seen) if seen else None)
    return found


def _rate(asked: Asked, target: float | None, name: str, most: int) -> tuple[list[Figure], Figure]:
    del target
    every = max(-(-len(asked.total) // most), 1)
    step = asked.step * every
    rates = [None if n is None else round(60 * n / step, 4) for n in _joined(asked.total, every)]
    top = max([rate for rate in rates if rate is not None], default=1.0) or 1.0
    trace = {
        "type": "bar", "x0": (asked.first + step // 2) * 1000, "dx": step * 1000, "y": rates, "yaxis": name,
        "marker": {"color": "rgba(59,125,232,.55)", "line": {"width": 0}},
        "hovertemplate": "%{y:.4~g} a minute<extra></extra>",
    }  # fmt: skip
    return [trace], axis(range=[0, top * 1.12], tickformat="~s")


def _errors(asked: Asked, target: float | None, name: str, most: int) -> tuple[list[Figure], Figure]:
    every = max(-(-len(asked.total) // most), 1)
    step = asked.step * every
    pairs = zip(_joined(asked.bad, every), _joined(asked.total, every), strict=True)
    shares = [round((bad or 0) / total, 6) if total else None for bad, total in pairs]
    limit = None if target is None else 1 - target
    top = max([*(share for share in shares if share is not None), (limit or 0) * 1.4, 0.0001]) * 1.15
    colours = [BAD if limit is not None and share is not None and share > limit else SYSTEM for share in shares]
    trace = {
        "type": "bar", "x0": (asked.first + step // 2) * 1000, "dx": step * 1000, "y": shares, "yaxis": name,
        "marker": {"color": colours, "line": {"width": 0}}, "hovertemplate": "%{y:.3%} failed<extra></extra>",
    }  # fmt: skip
    return [trace], axis(range=[0, top], tickformat=".0%" if top > 0.04 else ".1%" if top > 0.004 else ".2%")


def _duration(band: Band, limit: float | None, window: Window, name: str) -> tuple[list[Figure], Figure]:
    traces, top = [], limit or 0.0
    for quantile, values in band.quantiles.items():
        every = max(-(-len(values) // MOST), 1)
        thin = [None if value is None else round(value, 6) for value in values[::every]]
        top = max([top, *(value for value in thin if value is not None)])
        traces.append({
            "type": "scatter", "mode": "lines+markers" if lonely(thin) else "lines", "yaxis": name,
            "x0": (first(window, band.step) + band.step * every // 2) * 1000, "dx": band.step * every * 1000, "y": thin,
            "line": {"color": SYSTEM, "width": 2 if quantile == "p95" else 1.2,
                     "dash": "dot" if quantile == "p99" else "solid"},
            "marker": {"size": 4}, "hovertemplate": f"%{{y:.3~s}}s<extra>{px(quantile)}</extra>",
        })  # fmt: skip
    return traces, seconds_axis(top)


def _ends(band: Band, name: str) -> list[Figure]:
    """The name of each percentile at the end of its line, apart from one another."""
    found, last = [], None
    tops = {quantile: next((v for v in reversed(values) if v is not None), None)
            for quantile, values in band.quantiles.items()}  # fmt: skip
    most = max((v for values in band.quantiles.values() for v in values if v is not None), default=1.0) or 1.0
    for quantile, value in sorted(tops.items(), key=lambda pair: pair[1] or 0.0):
        if value is None:
            continue
        place = value if last is None else max(value, last + most * 0.13)
        last = place
        found.append({
            "xref": "paper", "x": 1, "xanchor": "left", "xshift": 4, "y": place, "yref": name, "text": px(quantile),
            "showarrow": False, "font": {"size": 11, "color": INK},
        })  # fmt: skip
    return found


def availability(
    line: Line, window: Window, step: int, zone: tzinfo, unseen: Spans, corrections: Sequence[Correction], *,
    narrow: bool = False,
) -> Figure:  # fmt: skip
    """The share of checks that were answered; hatched where nothing was seen, crossed where it was left out."""
    figure = layout(window, zone, 200, narrow=narrow, left=70, ticked=4)
    figure["margin"]["r"] = 40
    figure["margin"]["t"] = 22
    figure["yaxis"] = share_axis(line.points, line.target, nticks=3)
    if line.target is not None:
        figure["shapes"].append(target_line(line.target, "y"))
    left_out = [(one.since, one.until) for one in corrections]
    data = line_traces(line, window, line.step or step, "y")
    data += hatched(unseen, window, "y", figure["yaxis"]["range"], "not seen")
    data += hatched(left_out, window, "y", figure["yaxis"]["range"], "left out by agreement", "x")
    for one in corrections[:8]:
        since = max(one.since, window.since)
        if since < window.until and one.until > window.since:
            late = (since - window.since) / (window.until - window.since) > 0.7
            figure["annotations"].append({
                "x": since * 1000, "xref": "x", "yref": "paper", "y": 1, "yanchor": "bottom", "showarrow": False,
                "xanchor": "right" if late else "left", "text": px(one.reason or one.origin, 18 if narrow else 40),
                "font": {"size": 11, "color": INK},
            })  # fmt: skip
    return {"data": data, "layout": figure}


def hatched(
    spans: Spans, window: Window, yaxis: str, ends: Sequence[float], words: str, shape: str = "/"
) -> list[Figure]:
    """Stretches of the window as hatched bars over the whole height of an axis."""
    inside = [(max(since, window.since), min(until, window.until)) for since, until in spans]
    some = [(since, until) for since, until in inside if until > since][:200]
    if not some:
        return []
    return [{
        "type": "bar", "x": [(since + until) * 500 for since, until in some],
        "width": [(until - since) * 1000 for since, until in some], "y": [ends[1] - ends[0]] * len(some),
        "base": [ends[0]] * len(some), "yaxis": yaxis, "hovertemplate": f"{px(words)}<extra></extra>",
        "marker": {"color": "rgba(0,0,0,0)", "line": {"width": 0},
                   "pattern": {"shape": shape, "fillmode": "overlay", "fgcolor": GREY, "fgopacity": 0.55, "size": 7}},
    }]  # fmt: skip
