"""Sparklines and budget bars as SVG, one scale for all."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

STEPPED = 40
"""A sparkline of at most so many values is drawn as steps."""


def spark(
    values: Sequence[float | None], aim: float | None, immature: Sequence[bool] = (),
    other: Sequence[float | None] = (), *, filled: bool = True,
) -> str:  # fmt: skip
    """A sparkline as SVG: integer coordinates, at most one point per two pixels, gaps where nothing was seen.

    Few values are drawn as steps, because each holds for all of its step; `other` is thin and grey, on the same scale.
    """
    points, before = _thinned(values, 120), _thinned(other, 120)
    seen = [value for value in (*points, *before) if value is not None]
    if not seen:
        return '<svg class="c-spark" aria-hidden="true"></svg>'
    scale = [*seen, aim] if aim is not None else seen
    low, high = min(scale), max(scale)
    if high == low:
        low, high = low - 0.5, high + 0.5
    width, unit = 200, 36 / (high - low)
    soft_from = _first_immature(immature, len(values)) * len(points) // max(len(values), 1)
    line, soft, area = [], [], []
    for start, run in _runs(points):
        cut = max(min(soft_from - start, len(run)), 0)
        xy = _xy(start, run, len(points), low, unit)
        edge = cut * 2 if len(points) <= STEPPED else cut + 1 if cut < len(run) else cut
        line.append(_path(xy[:edge]))
        soft.append(_path(xy[edge if len(points) <= STEPPED else cut :]) if cut < len(run) else "")
        area += [f"{_path(xy)}L{xy[-1][0]} 40L{xy[0][0]} 40Z"] if filled else []
    aim_line = ""
    if aim is not None:
        y = round(38 - (aim - low) * unit)
        aim_line = f'<path class="v-target" d="M0 {y}H{width}"/>'
    then = "".join(_path(_xy(start, run, len(before), low, unit)) for start, run in _runs(before))
    grey = f'<path class="v-other" d="{then}"/>' if then else ""
    return (
        f'<svg class="c-spark" viewBox="0 0 {width} 40" preserveAspectRatio="none" aria-hidden="true">'
        f"{_drawn('v-area', area)}{grey}{aim_line}"
        f"{_drawn('v-line', line)}{_drawn('v-line v-soft', soft)}</svg>"
    )


def _drawn(classes: str, paths: Sequence[str]) -> str:
    path = "".join(paths)
    return f'<path class="{classes}" d="{path}"/>' if path else ""


def _xy(start: int, run: Sequence[float], points: int, low: float, unit: float) -> list[tuple[int, int]]:
    """The places of a run: two for each value where values are steps, else one; a lonely value is a short dash."""
    ys = [round(38 - (value - low) * unit) for value in run]
    if points <= STEPPED:
        wide = 200 / points
        return [(round((start + i + side) * wide), y) for i, y in enumerate(ys) for side in (0, 1)]
    dx = 200 / (points - 1)
    xs = [round((start + i) * dx) for i in range(len(run))]
    return list(zip(xs, ys, strict=True)) if len(run) > 1 else [(xs[0] - 1, ys[0]), (xs[0] + 1, ys[0])]


def _first_immature(immature: Sequence[bool], length: int) -> int:
    return next((i for i, soft in enumerate(immature) if soft), length)


def _thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    if len(values) <= most:
        return list(values)
    every = -(-len(values) // (most // 2))
    kept: list[float | None] = []
    for start in range(0, len(values), every):
        seen = [value for value in values[start : start + every] if value is not None]
        kept += [min(seen), max(seen)] if seen else [None, None]
    return kept


def _runs(points: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    runs: list[tuple[int, list[float]]] = []
    open_run = False
    for i, value in enumerate(points):
        if value is None:
            open_run = False
            continue
        if not open_run:
            runs.append((i, []))
        runs[-1][1].append(value)
        open_run = True
    return runs


def _path(xy: Sequence[tuple[int, int]]) -> str:
    """A path through some places; along one height or one column by the shorter commands."""
    if not xy:
        return ""
    parts = [f"M{xy[0][0]} {xy[0][1]}"]
    for (x, y), (right, down) in pairwise(xy):
        if (x, y) != (right, down):
            parts.append(f"H{right}" if y == down else f"V{down}" if x == right else f"L{right} {down}")
    return "".join(parts)


HATCH = (
    '<defs><pattern id="td-hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V5" stroke="var(--ink)" stroke-width="5"/></pattern></defs>'
)
SPENT = 21
"""Where on a budget bar of 64 it is just spent: what is left lies to the right, what is overspent to the left."""


def budget(left: float, hatch: str = HATCH) -> str:
    """The budget bar: one width and one scale for all, a mark where it is spent; what is overspent is hatched.

    `hatch` is "" where the pattern stands in the page already.
    """
    over = left < 0
    width = max(round(min(abs(left), 1) * (SPENT - 2 if over else 62 - SPENT)), 1)
    x, fill = (SPENT - width, "url(#td-hatch)") if over else (SPENT, "var(--ink)")
    return (
        f'<svg class="c-bar" viewBox="0 0 64 10" preserveAspectRatio="none" aria-hidden="true">{hatch if over else ""}'
        f'<rect class="c-track" x=".5" y="2.5" width="63" height="5" rx="2.5"/>'
        f'<rect x="{x}" y="3" width="{width}" height="4" fill="{fill}"/>'
        f'<path class="c-spent" d="M{SPENT} 0V10"/></svg>'
    )
