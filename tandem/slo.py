"""Objectives: error budget, burn rate, rules and state, in exact fractions.

Names and formulas are those of the Google SRE Workbook, chapter 5; intervals are Wilson's (1927) and Newcombe's (1998).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Literal

State = Literal["ok", "at risk", "breached", "unknown"]
Severity = Literal["page", "ticket"]
Totals = tuple[int, int]
"""(good, total) of one window."""

BURN_WINDOWS: Mapping[str, int] = {
    "5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600, "1d": 86400, "3d": 259200,
}  # fmt: skip
"""Every window that a rule looks back over, in seconds, by its name on screens and in JSON."""
WINDOW = 28 * 86400
"""Window of an objective that states none, in seconds."""
EVIDENCE = 5
"""Bad events that the long window must hold before a rule fires."""
LITTLE_LEFT = Fraction(1, 10)
"""Share of the budget below which an objective is at risk."""
Z95 = 1.959964
"""Two-sided 95 % point of the normal distribution."""

_SPOKEN = {
    300: "5 minutes", 1800: "30 minutes", 3600: "hour", 7200: "2 hours", 21600: "6 hours", 86400: "day",
    259200: "3 days",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rule:
    """A burn rule: it fires while the burn rate over `long` and over `short` (seconds) is strictly above `factor`."""

    severity: Severity
    long: int
    short: int
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Verdict:
    """The state of an objective, and why, in one sentence for people."""

    state: State
    reason: str


def target_of(given: Fraction | float | str) -> Fraction:
    """A target as an exact fraction; raises ValueError unless it lies strictly between 0 and 1."""
    target = given if isinstance(given, Fraction) else Fraction(str(given))
    if not 0 < target < 1:
        raise ValueError(
            f"a target must lie between 0 and 1, not be {given}: write 0.999 for 99.9 %"
            " (a target of 1 leaves no error budget)"
        )
    return target


def budget_left(good: int, total: int, target: Fraction) -> Fraction | None:
    """Share of the error budget that is left, 1 - (bad / total) / (1 - target); negative when overspent.

    None without events.
    """
    spent, budget = _spent(good, total, target)
    return Fraction(budget - spent, budget) if total else None


def events_left(good: int, total: int, target: Fraction) -> Fraction:
    """Bad events that the budget still allows, (1 - target) * total - bad; negative when overspent."""
    spent, budget = _spent(good, total, target)
    return Fraction(budget - spent, target.denominator)


def burn(good: int, total: int, target: Fraction) -> Fraction | None:
    """Burn rate over the look-back that was counted, (bad / total) / (1 - target); None without events."""
    spent, budget = _spent(good, total, target)
    return Fraction(spent, budget) if total else None


def burn_number(good: int, total: int, target: Fraction) -> float | None:
    """The float nearest to `burn`: whole numbers divide as exactly as fractions do, and ten times as fast."""
    spent, budget = _spent(good, total, target)
    return spent / budget if total else None


def _spent(good: int, total: int, target: Fraction) -> tuple[int, int]:
    """Bad events, and those that the budget allows, both times the target's denominator."""
    return (total - good) * target.denominator, total * (target.denominator - target.numerator)


def largest_burn(target: Fraction, base: Fraction = Fraction(0)) -> Fraction:
    """The burn rate when everything fails, 1 / (1 - target); of excess burn above the accepted error ratio `base`."""
    return (1 - base) / (1 - target - base)


def excess_burn(good: int, total: int, target: Fraction, base: Fraction) -> Fraction | None:
    """Burn rate of the errors above an accepted error ratio, (bad / total - base) / ((1 - target) - base).

    None without events. Raises ValueError unless 0 <= base < 1 - target.
    """
    if not 0 <= base < 1 - target:
        raise ValueError(
            f"the accepted error ratio must lie between 0 and {float(1 - target):g}, not be {float(base):g}"
        )
    return (Fraction(total - good, total) - base) / (1 - target - base) if total else None


def exhausts_in(left: Fraction, rate: Fraction, window: int = WINDOW) -> Fraction | None:
    """Seconds until a budget is gone at a steady burn rate, left * window / burn.

    0 when it is gone already; None when nothing burns.
    """
    if left <= 0:
        return Fraction(0)
    return left * window / rate if rate > 0 else None


@cache
def factors(window: int = WINDOW) -> tuple[Rule, ...]:
    """The burn rules of an objective over `window` seconds, pages first: factor = share * window / long."""
    tables = tomllib.loads(files("tandem").joinpath("windows.toml").read_text(encoding="utf-8"))["window"]
    return tuple(
        Rule(one["severity"], one["long"], one["short"], Fraction(one["share"]) * window / one["long"])
        for one in tables
    )


def reachable(target: Fraction, factor: Fraction) -> bool:
    """Whether a rule can fire at all: its factor lies below the largest burn rate, 1 / (1 - target)."""
    return factor < largest_burn(target)


def rules(target: Fraction, window: int = WINDOW) -> tuple[Rule, ...]:
    """The burn rules that can fire at this target."""
    return tuple(rule for rule in factors(window) if reachable(target, rule.factor))


def refused(target: Fraction, window: int = WINDOW) -> tuple[str, ...]:
    """One sentence for each rule that this target makes unreachable, with what to do."""
    return tuple(
        f"The {rule.severity} rule over the last {_SPOKEN[rule.long]} needs a burn rate above {float(rule.factor):g},"
        f" but a target of {percent(target)} burns at most {float(largest_burn(target)):g} times the budget even when"
        f" everything fails: raise the target, or let it fire at {float(reachable_factor(target, rule.factor)):g}."
        for rule in factors(window)
        if not reachable(target, rule.factor)
    )


def reachable_factor(target: Fraction, factor: Fraction) -> Fraction:
    """The factor, but at most that of half of everything failing: min(factor, 0.5 / (1 - target))."""
    return min(factor, Fraction(1, 2) / (1 - target))


def detection_time(target: Fraction, errors: Fraction, long: int, factor: Fraction) -> Fraction | None:
    """Seconds from a clean state until a steady error ratio fires a rule, long * factor * (1 - target) / errors.

    None when the rule never fires at that error ratio. It shows at the next bucket edge (`shown_at`).
    """
    if errors < factor * (1 - target):
        return None
    return long * factor * (1 - target) / errors


def shown_at(seconds: Fraction, bucket: int = 300) -> int:
    """The end of the bucket of `bucket` seconds in which a moment lies."""
    return math.ceil(seconds / bucket) * bucket


def joint_failure(first: Fraction, second: Fraction) -> Fraction:
    """Error ratio of a service together with its model when they fail independently."""
    return 1 - (1 - first) * (1 - second)


def apdex(satisfied: int, tolerating: int, total: int) -> Fraction | None:
    """Apdex of a threshold T, (satisfied + tolerating / 2) / total, 0 to 1; None without events.

    Satisfied: at most T; tolerating: above T, at most 4 T. Source: Apdex specification.
    """
    return (satisfied + Fraction(tolerating, 2)) / total if total else None


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float] | None:
    """Wilson's score interval of the ratio k / n, 95 % unless `z` says otherwise; None for n = 0."""
    if not n:
        return None
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def newcombe(k1: int, n1: int, k2: int, n2: int, z: float = Z95) -> tuple[float, float] | None:
    """Newcombe's hybrid interval of the difference k1 / n1 - k2 / n2; None when either is empty."""
    first, second = wilson(k1, n1, z), wilson(k2, n2, z)
    if first is None or second is None:
        return None
    p1, p2 = k1 / n1, k2 / n2
    (l1, u1), (l2, u2) = first, second
    return p1 - p2 - math.hypot(p1 - l1, u2 - p2), p1 - p2 + math.hypot(u1 - p1, p2 - l2)


def judge(
    target: Fraction,
    good: int,
    total: int,
    burns: Mapping[int, Totals],
    *,
    window: int = WINDOW,
    coverage: float | None = None,
    stale: bool = False,
    labels: bool = True,
    evidence: int = EVIDENCE,
) -> Verdict:
    """The state of an objective at the end of its window.

    `good` and `total` are those of the objective's own window of `window` seconds, `burns` those of the look-backs in
    seconds that end with it (BURN_WINDOWS; one left out never fires), `coverage` the share of the window its source
    vouches for, `stale` whether the source is later than its declared interval, `labels` whether any label has come.
    What a late source showed before stays: alerts are frozen, not cleared; only "ok" needs fresh data.
    """
    if not total:
        return Verdict("unknown", _why_empty(coverage, stale, labels))
    fired = _fired(target, burns, window, evidence)
    overspent = _overspent(good, total, target)
    for verdict in (*(one for one in fired if one.state == "breached"), *overspent, *fired):
        return verdict
    return _quiet(good, total, target, stale)


def _why_empty(coverage: float | None, stale: bool, labels: bool) -> str:
    if coverage == 0:
        return "not measured: no source has seen this window"
    if stale:
        return "stale: the source is later than its declared interval"
    if not labels:
        return "no labels yet: predictions are waiting for their outcome"
    return "no traffic: nothing happened in this window"


@cache
def _limits(target: Fraction, window: int) -> tuple[tuple[Rule, int, int], ...]:
    """The rules that can fire, each with the error ratio above which it does, as numerator and denominator."""
    shares = [(rule, rule.factor * (1 - target)) for rule in rules(target, window)]
    return tuple((rule, share.numerator, share.denominator) for rule, share in shares)


def _fired(target: Fraction, burns: Mapping[int, Totals], window: int, evidence: int) -> list[Verdict]:
    """What the burn rules say, worst first."""
    found = []
    for rule, above, of in _limits(target, window):
        (good, total), (short_good, short_total) = burns.get(rule.long, (0, 0)), burns.get(rule.short, (0, 0))
        bad = total - good
        if bad * of <= total * above or (short_total - short_good) * of <= short_total * above:
            continue
        rate = burn_number(good, total, target) or 0
        said = f"burning {rate:.3g} times the budget over the last {_SPOKEN[rule.long]}"
        if bad < evidence and rule.severity == "page":
            found.append(Verdict("at risk", f"{said}, but on only {bad} bad of {total:,}: not enough to page"))
        elif bad >= evidence:
            state: State = "breached" if rule.severity == "page" else "at risk"
            found.append(Verdict(state, f"{said} ({bad:,} bad of {total:,})"))
    return found


def _overspent(good: int, total: int, target: Fraction) -> list[Verdict]:
    spent, budget = _spent(good, total, target)
    if spent <= budget:
        return []
    over = Fraction(spent - budget, budget)
    return [Verdict("breached", f"{total - good:,} bad of {total:,}: {percent(over)} more than the budget allows")]


def _quiet(good: int, total: int, target: Fraction, stale: bool) -> Verdict:
    """The state when no rule fires and the budget is not overspent."""
    left = budget_left(good, total, target) or Fraction(0)
    if left < LITTLE_LEFT:
        return Verdict("at risk", f"only {percent(left)} of the budget is left")
    if stale:
        return Verdict("unknown", "stale: the source is later than its declared interval")
    needed = -(-target.denominator // (target.denominator - target.numerator))
    if total < needed:
        return Verdict(
            "unknown", f"not enough evidence: {total:,} seen, a target of {percent(target)} needs {needed:,} or more"
        )
    return Verdict("ok", f"within target, {percent(left)} of the budget left")


def percent(share: Fraction) -> str:
    """A share in %, three digits; what is not 0 or 100 % is never rounded to it."""
    number = 100 * share.numerator / share.denominator
    text = f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"
    if float(text) in (0.0, 100.0) and share not in (0, 1):
        text = f"{number:.10g}"
    return f"{text} %"
