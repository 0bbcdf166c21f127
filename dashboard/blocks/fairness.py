"""Fairness gaps: both groups named with their counts and intervals; what may be chance is never red."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.marks import glyph
from dashboard.blocks.measures import between
from dashboard.text import NARROW, hx
from tandem.fairness import ODDS, Gap, Rate
from tandem.modelled import Fair

TITLES = {
    "demographic_parity_difference": ("Demographic parity", "selection rate"),
    "equal_opportunity_difference": ("Equal opportunity", "true positive rate"),
    "false_positive_difference": ("False positives", "false positive rate"),
    "predictive_parity_difference": ("Predictive parity", "precision"),
    ODDS: ("Equalized odds", "the larger of true and false positive rate"),
}
ROWS = 12
"""Gaps that are listed, the certain ones first; the rest is counted."""


def fairness_block(found: Sequence[Fair], several: bool) -> str:
    """The gaps of every segment column, certain ones first; `several`: of a model with several classes."""
    rows = [(fair, gap, stands) for fair in found for gap, stands in zip(fair.gaps, fair.stands, strict=True)
            if gap.name != ODDS]  # fmt: skip
    rows.sort(key=lambda row: (not row[2], -row[1].value))
    odds = {(fair.column, fair.positive): gap for fair in found for gap in fair.gaps if gap.name == ODDS}
    listed = "".join(_gap(*row, several) for row in rows[:ROWS])
    more = f'<p class="m-more">and {len(rows) - ROWS} smaller or less certain gaps</p>' if len(rows) > ROWS else ""
    return f'<ul class="j-gaps">{listed}</ul>{more}{_odds(odds)}{NOTE}'


NOTE = (
    '<p class="x-muted j-said">Intervals are 95 % over all pairs of groups (Newcombe, Holm); gaps that stand do so '
    "among all of them (Benjamini-Hochberg). A ratio is shown because it is asked for; none is proof of fairness.</p>"
)


def _gap(fair: Fair, gap: Gap, stands: bool, several: bool) -> str:
    title, rate = TITLES[gap.name]
    of = f" of class <b>{hx(fair.positive, 40)}</b>" if several else ""
    whose = f"{hx(fair.column, 60)}{of}"
    ratio = f" · ratio {text.digits(gap.ratio, 2)}" if gap.ratio is not None else ""
    high, low = gap.groups[0], gap.groups[-1]
    state = "breached" if stands else "unknown"
    word = "differs" if stands else "not enough data"
    sure = ""
    if not stands and gap.sure is not None:
        sure = (
            f'<span class="j-sure">Certain between {_name(gap.sure.high)} and {_name(gap.sure.low)}: '
            f"{_points(gap.sure.value)} ({_ends(gap.sure.interval)})</span>"
        )
    empty = f'<span class="x-muted">not defined for {hx(", ".join(gap.empty), 80)}</span>' if gap.empty else ""
    return (
        f'<li class="j-gap"><span class="j-top"><b>{title}</b> <span class="x-muted">{rate} by {whose}'
        f'</span><span class="x-chip {"j-certain" if stands else "x-none"}">{glyph(state) if not stands else ""}{word}'
        f'</span></span><span class="j-size"><b>{_points(gap.value)}</b> <span class="x-muted">{_ends(gap.interval)}'
        f"{ratio}</span></span>{_rates(gap.groups)}"
        f'<span class="j-who">{_said("highest", high)}{_said("lowest", low)}</span>{sure}{empty}</li>'
    )


def _name(group: str) -> str:
    return f"<b>{hx(group, 40) or 'none'}</b>"


def _said(word: str, one: Rate) -> str:
    share = text.share(one.value)
    counts = f"{text.count(one.counts[0])} of {text.count(one.counts[1])}"
    more = f'<span class="x-muted">{counts}, {hx(between(one.interval, "share"))}</span>'
    return f"<span>{word} {_name(one.group)} {hx(share)} {more}</span>"


def _points(value: float) -> str:
    return f"{text.digits(value * 100, 2)}{NARROW}points"


def _ends(interval: tuple[float, float]) -> str:
    low, high = (f"{'−' if end < 0 else ''}{text.digits(abs(end) * 100, 2)}" for end in interval)
    return f"{low} to {high}"


def _rates(groups: Sequence[Rate]) -> str:
    """Every group as a dot with its interval, on one scale of 0 to the largest end."""
    top = max(one.interval[1] for one in groups) or 1.0
    height = 12
    marks = "".join(
        f'<path class="j-whisker" d="M{_x(one.interval[0], top)} {y}H{_x(one.interval[1], top)}"/>'
        f'<path class="j-dot" d="M{_x(one.value, top)} {y}h0"/>'
        for place, one in enumerate(groups[:8])
        for y in (place * height + 6,)
    )
    shown = len(groups[:8])
    label = "; ".join(f"{one.group}: {text.share(one.value)}" for one in groups[:8])
    names = "".join(f'<span title="{hx(one.group)}">{hx(one.group, 14) or "none"}</span>' for one in groups[:8])
    return (
        f'<span class="j-rates"><span class="j-names x-muted" aria-hidden="true">{names}</span>'
        f'<svg viewBox="0 0 200 {shown * height}" preserveAspectRatio="none" role="img" aria-label="{hx(label, 400)}" '
        f'style="height:{shown * height}px">{marks}</svg></span>'
    )


def _x(share: float, top: float) -> int:
    return round(4 + share / top * 190)


def _odds(odds: dict[tuple[str, str], Gap]) -> str:
    if not odds:
        return ""
    (column, positive), gap = max(odds.items(), key=lambda pair: pair[1].value)
    of = f", class {hx(positive, 40)}" if len({name for _, name in odds}) > 1 else ""
    return f'<p class="j-said">Equalized odds difference by {hx(column, 60)}{of}: <b>{_points(gap.value)}</b>.</p>'
