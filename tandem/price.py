"""What the evidence clause costs: how long a break goes unnoticed where little happens.

A burn rule waits for some bad events, so with little traffic it waits long. No closed form is known for two windows
that both must exceed their factor; it is simulated, seeded, with Poisson traffic in buckets of 5 minutes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np

from tandem.records import BUCKET, DAY
from tandem.slo import EVIDENCE, Rule

LITTLE = 5
"""Events per bucket below which the clause delays a page noticeably."""
PARTLY = 0.3
"""The share that fails in a break that is not total."""
GRID = 24
"""Rates are told apart in so many steps per power of ten, about 10 % each."""
RUNS = 401
HORIZON = DAY // BUCKET
"""Buckets for which a break is watched."""
_SEED = 20


@dataclass(frozen=True, slots=True)
class Noticed:
    """Median seconds from a break to its page, of a total outage and of one in which 30 % fail.

    None: half of such breaks raise no page within a day. `without`: of a total outage without the clause.
    """

    total: int | None
    partial: int | None
    without: int | None

    @property
    def sentence(self) -> str:
        """The price in words, for people."""
        if self.total is None:
            return "so little happens that a full outage may raise no page within a day"
        return f"a full outage is noticed after about {_spoken(self.total)}"


def _spoken(seconds: int) -> str:
    minutes = seconds // 60
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.2g} h"


def noticed(rate: float, target: Fraction, rules: tuple[Rule, ...], evidence: int = EVIDENCE,
            base: Fraction = Fraction(0)) -> Noticed | None:  # fmt: skip
    """The price where `rate` events happen in a bucket of 5 minutes; None where nothing does, or no rule pages.

    `rules` are those in force. Before the break the share of bad is exactly what the target allows.
    """
    pages = tuple(rule for rule in rules if rule.severity == "page")
    if not pages or rate <= 0:
        return None
    near = 10 ** (round(GRID * math.log10(rate)) / GRID)
    return Noticed(
        delay(near, 1.0, target, pages, evidence, base),
        delay(near, PARTLY, target, pages, evidence, base),
        delay(near, 1.0, target, pages, 0, base),
    )


@lru_cache(maxsize=4096)
def delay(
    rate: float, failing: float, target: Fraction, rules: tuple[Rule, ...], evidence: int,
    base: Fraction = Fraction(0), runs: int = RUNS,
) -> int | None:  # fmt: skip
    """Median seconds until one of `rules` fires once a share `failing` of `rate` events per bucket is bad.

    None when half of the runs see nothing within a day. Fires are seen at the end of a bucket.
    """
    chance = np.random.default_rng(_SEED)
    before = max(rule.long for rule in rules) // BUCKET
    total = chance.poisson(rate, (runs, before + HORIZON))
    usual = chance.binomial(total, float(1 - target))
    bad = np.where(np.arange(total.shape[1]) < before, usual, chance.binomial(total, failing))
    counts = [np.cumsum(np.pad(one, ((0, 0), (1, 0))), axis=1) for one in (total, bad)]
    fires = np.zeros((runs, HORIZON), dtype=bool)
    for rule in rules:
        fires |= _fires(counts, before, rule, float(base + rule.factor * (1 - target - base)), evidence)
    first = np.where(fires.any(axis=1), fires.argmax(axis=1) + 1, HORIZON + 1)
    middle = float(np.median(first))
    return None if middle > HORIZON else int(middle) * BUCKET


def _fires(counts: list[Any], before: int, rule: Rule, above: float, evidence: int) -> Any:
    """Whether a rule fires at the end of each bucket of the break, by run: both error ratios above a limit."""
    long, short = (_rolling(counts, before, seconds // BUCKET) for seconds in (rule.long, rule.short))
    return (long[1] > above * long[0]) & (short[1] > above * short[0]) & (long[1] >= evidence)


def _rolling(counts: list[Any], before: int, width: int) -> tuple[Any, Any]:
    """Events, and bad ones, of the last `width` buckets at the end of each bucket of the break."""
    total, bad = (one[:, before + 1 :] - one[:, before + 1 - width : -width] for one in counts)
    return total, bad
