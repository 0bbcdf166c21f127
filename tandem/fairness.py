"""Fairness gaps between groups, from one confusion matrix per group; names and values are Fairlearn's.

No gap is ever called compliance: the ratio is shown, both groups are named, and a gap that may be chance says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations
from statistics import NormalDist
from typing import TYPE_CHECKING

from tandem.drift import benjamini_hochberg
from tandem.slo import newcombe, wilson

if TYPE_CHECKING:
    from tandem.records import Confusion

Counts = tuple[int, int]
"""How many have it, of how many."""
LEVEL = 0.05
"""Chance of calling a difference certain where there is none, over all pairs of groups of one gap."""
ODDS = "equalized_odds_difference"
NAMES: Mapping[str, str] = {
    "demographic_parity_difference": "selection rate",
    "equal_opportunity_difference": "true positive rate",
    "false_positive_difference": "false positive rate",
    "predictive_parity_difference": "precision",
    ODDS: "true or false positive rate",
}
"""Every gap, and the rate that differs."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The rate of one group: `counts` (have it, of), and its Wilson interval."""

    group: str
    counts: Counts
    interval: tuple[float, float]

    @property
    def value(self) -> float:
        """The share."""
        return self.counts[0] / self.counts[1]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two groups whose rates differ, and Newcombe's interval of high - low at the level that Holm gives the pair."""

    high: str
    low: str
    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Gap:
    """The largest difference of a rate between groups, and the two groups that make it.

    `counts` has (with, of) for `high` and `low`; `interval` is Newcombe's, 95 % over all pairs of groups (the first
    step of Holm, 1979). `certain` is False where it includes 0: not enough data, never red. `ratio` is low / high.
    `p` is the chance of such a difference without any, corrected for all pairs. `sure` is the largest difference that
    stands by Holm among all pairs: the two extremes may be too small to tell while two larger groups differ surely.
    `groups` has every group that has the rate, the highest first; `empty` those where it is not defined.
    """

    name: str
    value: float
    ratio: float | None
    high: str
    low: str
    counts: tuple[Counts, Counts]
    interval: tuple[float, float]
    certain: bool
    p: float = 1.0
    sure: Pair | None = None
    groups: tuple[Rate, ...] = ()
    empty: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Cells:
    tp: int
    fp: int
    fn: int
    tn: int


_RATES: Mapping[str, Callable[[_Cells], Counts]] = {
    "demographic_parity_difference": lambda one: (one.tp + one.fp, one.tp + one.fp + one.fn + one.tn),
    "equal_opportunity_difference": lambda one: (one.tp, one.tp + one.fn),
    "false_positive_difference": lambda one: (one.fp, one.fp + one.tn),
    "predictive_parity_difference": lambda one: (one.tp, one.tp + one.fp),
}


def fairness(groups: Mapping[str, Confusion], positive: str) -> dict[str, Gap]:
    """The gaps between groups by their Fairlearn names; a gap with fewer than two groups to compare is absent.

    `demographic_parity_difference` of selection rates (its `ratio` is the demographic parity ratio),
    `equal_opportunity_difference` of true positive rates, `false_positive_difference`, `equalized_odds_difference`
    (the larger of the last two), `predictive_parity_difference` of precisions. `positive` is any class; all others
    are its opposite.
    """
    cells = {name: _cells(confusion, positive) for name, confusion in groups.items()}
    found = {name: _gap(name, {group: rate(one) for group, one in cells.items()}) for name, rate in _RATES.items()}
    gaps = {name: gap for name, gap in found.items() if gap is not None}
    odds = [gaps[name] for name in ("equal_opportunity_difference", "false_positive_difference") if name in gaps]
    if len(odds) == 2:
        gaps[ODDS] = replace(max(odds, key=lambda gap: gap.value), name=ODDS)
    return gaps


def standing(gaps: Sequence[Gap]) -> list[bool]:
    """Which gaps of one question stand: each certain by itself, and among all of them (Benjamini-Hochberg at 5 %)."""
    stands = benjamini_hochberg([gap.p for gap in gaps])
    return [gap.certain and stood for gap, stood in zip(gaps, stands, strict=True)]


def within(groups: Mapping[str, Confusion], positive: str, name: str, bound: Fraction) -> bool | None:
    """Whether one hour's gap is within `bound`, as one event of a fairness objective; None: left out, not good.

    False where the gap is above the bound and certain. True where it is at or under the bound and the counts could
    have told: half of its interval is no wider than the bound. Raises KeyError for a name that is no gap.
    """
    if name not in NAMES:
        raise KeyError(name)
    gap = fairness(groups, positive).get(name)
    if gap is None:
        return None
    (k1, n1), (k2, n2) = gap.counts
    if Fraction(k1, n1) - Fraction(k2, n2) > bound:
        return False if gap.certain else None
    return True if (gap.interval[1] - gap.interval[0]) / 2 <= bound else None


def _cells(confusion: Confusion, name: str) -> _Cells:
    tp = fp = fn = tn = 0
    for (actual, predicted), count in confusion.cells.items():
        tp += count if actual == name == predicted else 0
        fp += count if predicted == name != actual else 0
        fn += count if actual == name != predicted else 0
        tn += count if name not in (actual, predicted) else 0
    return _Cells(tp, fp, fn, tn)


def _gap(name: str, rates: Mapping[str, Counts]) -> Gap | None:
    known = {group: (k, n) for group, (k, n) in rates.items() if n}
    if len(known) < 2:
        return None
    ordered = sorted(known, key=lambda group: (Fraction(*known[group]), group))
    low, high = ordered[0], ordered[-1]
    pairs = list(combinations(ordered, 2))
    interval = newcombe(*known[high], *known[low], z=_z(LEVEL / len(pairs)))
    assert interval is not None
    top, bottom = Fraction(*known[high]), Fraction(*known[low])
    return Gap(
        name=name,
        value=float(top - bottom),
        ratio=float(bottom / top) if top else None,
        high=high,
        low=low,
        counts=(known[high], known[low]),
        interval=interval,
        certain=interval[0] > 0,
        p=min(1.0, _chance(known[high], known[low]) * len(pairs)),
        sure=_sure(known, pairs),
        groups=tuple(_rate(group, known[group]) for group in reversed(ordered)),
        empty=tuple(sorted(group for group in rates if group not in known)),
    )


def _rate(group: str, counts: Counts) -> Rate:
    interval = wilson(*counts)
    assert interval is not None
    return Rate(group, counts, interval)


def _z(level: float) -> float:
    return NormalDist().inv_cdf(1 - level / 2)


def _chance(first: Counts, second: Counts) -> float:
    """Two-sided p of the pooled two-proportion z-test."""
    (k1, n1), (k2, n2) = first, second
    pooled = (k1 + k2) / (n1 + n2)
    spread = pooled * (1 - pooled) * (1 / n1 + 1 / n2)
    return math.erfc(abs(k1 / n1 - k2 / n2) / math.sqrt(2 * spread)) if spread else 1.0


def _sure(known: Mapping[str, Counts], pairs: Sequence[tuple[str, str]]) -> Pair | None:
    """The largest difference among the pairs that stand by Holm and whose interval at that level excludes 0."""
    ranked = sorted((_chance(known[low], known[high]), low, high) for low, high in pairs)
    found: list[Pair] = []
    for rank, (p, low, high) in enumerate(ranked):
        level = LEVEL / (len(ranked) - rank)
        if p > level:
            break
        interval = newcombe(*known[high], *known[low], z=_z(level))
        if interval is not None and interval[0] > 0:
            value = float(Fraction(*known[high]) - Fraction(*known[low]))
            found.append(Pair(high, low, value, interval))
    return max(found, key=lambda pair: (pair.value, pair.high, pair.low), default=None)
