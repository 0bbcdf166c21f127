"""Objectives: error budget, burn rate, rules and state, in exact fractions.

Names and formulas are those of the Google SRE Workbook, chapter 5; intervals are Wilson's (1927) and Newcombe's (1998).
"""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
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
LOWEST = Fraction(14, 15)
"""The lowest factor of a rule: that of the slowest one over 28 days."""
LITTLE_LEFT = Fraction(1, 10)
"""Share of the budget below which an objective is at risk."""
Z95 = 1.959964
"""Two-sided 95 % point of the normal distribution."""

_UNITS = ((86400, "d", "day"), (3600, "h", "hour"), (60, "m", "minute"))
Why = Literal[
    "", "no traffic", "not measured", "stale", "no labels yet", "not enough evidence", "not applicable", "corrected",
    "no objective", "burning", "little evidence", "overspent", "little left", "within target",
]  # fmt: skip
"""Why an objective stands as it does, for machines."""
Factors = Literal["", "standard", "reachable"]
"""Which factors rules have: "" the standard ones unless the target makes one unreachable, else the reachable ones."""


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
    why: Why = ""


def look_back(seconds: int) -> str:
    """The name of a look-back on screens and in JSON: "5m", "6h", "3d"."""
    size, unit, _ = _unit(seconds)
    return f"{seconds // size}{unit}"


def spoken(seconds: int) -> str:
    """A look-back in words, as after "the last": "hour", "30 minutes", "3 days"."""
    size, _, word = _unit(seconds)
    return word if seconds == size else f"{seconds // size} {word}s"


def _unit(seconds: int) -> tuple[int, str, str]:
    return next((one for one in _UNITS if seconds >= one[0] and not seconds % one[0]), _UNITS[-1])


def target_of(given: Fraction | float | str) -> Fraction:
    """A target as an exact fraction; raises ValueError unless it lies strictly between 0 and 1."""
    target = given if isinstance(given, Fraction) else Fraction(str(given))
    if not 0 < target < 1:
        raise ValueError(
            f"a target must lie between 0 and 1, not be {given}: write 0.999 for 99.9 %"
            " (a target of 1 leaves no error budget)"
        )
    return target


def budget_left(good: int, total: int, target: Fraction, expected: int | None = None) -> Fraction | None:
    """Share of the error budget that is left, 1 - (bad / total) / (1 - target); negative when overspent.

    Of a calendar window the budget is fixed by the `expected` events of the whole period. None without events.
    """
    spent, budget = spent_of(good, total, target, expected)
    return Fraction(budget - spent, budget) if budget else None


def events_left(good: int, total: int, target: Fraction, expected: int | None = None) -> Fraction:
    """Bad events that the budget still allows, (1 - target) * total - bad; negative when overspent."""
    spent, budget = spent_of(good, total, target, expected)
    return Fraction(budget - spent, target.denominator)


def burn(good: int, total: int, target: Fraction) -> Fraction | None:
    """Burn rate over the look-back that was counted, (bad / total) / (1 - target); None without events."""
    spent, budget = spent_of(good, total, target)
    return Fraction(spent, budget) if total else None


def burn_number(good: int, total: int, target: Fraction) -> float | None:
    """The float nearest to `burn`: whole numbers divide as exactly as fractions do, and ten times as fast."""
    spent, budget = spent_of(good, total, target)
    return spent / budget if total else None


def spent_of(good: int, total: int, target: Fraction, expected: int | None = None) -> tuple[int, int]:
    """Bad events, and those that the budget allows, both times the target's denominator: whole numbers."""
    of = total if expected is None else expected
    return (total - good) * target.denominator, of * (target.denominator - target.numerator)


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
    """The burn rules of an objective over `window` seconds, pages first: factor = share * window / long.

    Never below LOWEST: over a short window a lower one would fire on a budget that lasts.
    """
    tables = tomllib.loads(files("tandem").joinpath("windows.toml").read_text(encoding="utf-8"))["window"]
    return tuple(
        Rule(one["severity"], one["long"], one["short"], max(LOWEST, Fraction(one["share"]) * window / one["long"]))
        for one in tables
    )


def reachable(target: Fraction, factor: Fraction, base: Fraction = Fraction(0)) -> bool:
    """Whether a rule can fire at all: its factor lies below the largest burn rate, 1 / (1 - target)."""
    return factor < largest_burn(target, base)


def rules(target: Fraction, window: int = WINDOW) -> tuple[Rule, ...]:
    """The standard burn rules that can fire at this target."""
    return tuple(rule for rule in factors(window) if reachable(target, rule.factor))


@cache
def in_force(
    target: Fraction, window: int = WINDOW, how: Factors = "", base: Fraction = Fraction(0)
) -> tuple[Rule, ...]:
    """The burn rules that an objective is judged by.

    The standard ones; where the target makes one unreachable, or "reachable" is asked for, each fires at most at the
    reachable factor. With an accepted error ratio `base` burn is excess burn and the standard factors stay.
    """
    table = factors(window)
    if base:
        return tuple(rule for rule in table if reachable(target, rule.factor, base))
    if how == "standard" or (not how and all(reachable(target, rule.factor) for rule in table)):
        return rules(target, window)
    return tuple(replace(rule, factor=reachable_factor(target, rule.factor)) for rule in table)


def refused(
    target: Fraction, window: int = WINDOW, base: Fraction = Fraction(0), own: tuple[Rule, ...] = ()
) -> tuple[str, ...]:
    """One sentence for each rule that this target makes unreachable: the arithmetic, and what to do instead."""
    return tuple(
        f"The {rule.severity} rule over the last {spoken(rule.long)} needs a burn rate above {number(rule.factor)},"
        f" but a target of {percent(target)} burns at most {number(largest_burn(target, base))} times the budget even"
        f" when everything fails, {_largest(target, base)}: {_instead(target, rule.factor)}."
        for rule in own or factors(window)
        if not reachable(target, rule.factor, base)
    )


@cache
def lowered(target: Fraction, window: int = WINDOW) -> tuple[str, ...]:
    """One sentence for each standard rule that a target makes unreachable and that fires at a lower factor instead."""
    found = []
    for rule in factors(window):
        if reachable(target, rule.factor):
            continue
        base = offered_base(target, rule.factor)
        keep = f", or keep {number(rule.factor)} by base = {number(base)}" if base is not None else ""
        found.append(
            f"The {rule.severity} rule over the last {spoken(rule.long)} would need a burn rate above"
            f" {number(rule.factor)}, but a target of {percent(target)} burns at most {number(largest_burn(target))}"
            f" times the budget even when everything fails, {_largest(target, Fraction(0))}: it fires at"
            f" {number(reachable_factor(target, rule.factor))} instead, when half of all fails{keep}."
        )
    return tuple(found)


def _largest(target: Fraction, base: Fraction) -> str:
    if not base:
        return f"1 / (1 - {number(target)})"
    return f"(1 - {number(base)}) / (1 - {number(target)} - {number(base)})"


def _instead(target: Fraction, factor: Fraction) -> str:
    """What is offered in place of a factor that is out of reach."""
    lower = f'factors = "reachable" lets it fire at {number(reachable_factor(target, factor))}, when half of all fails'
    base = offered_base(target, factor)
    if base is None:
        return f"{lower}; or raise the target"
    return (
        f"{lower}; base = {number(base)} counts only errors above {percent(base)} and keeps {number(factor)} in reach;"
        " or raise the target"
    )


def offered_base(target: Fraction, factor: Fraction) -> Fraction | None:
    """The accepted error ratio, in thousandths, from which a factor is exceeded once more than half of all fails.

    From (1/2 - b) / ((1 - target) - b) = factor; None where no base between 0 and 1 - target does it.
    """
    if factor <= 1:
        return None
    exact = (factor * (1 - target) - Fraction(1, 2)) / (factor - 1)
    base = Fraction(math.ceil(exact * 1000), 1000)
    return base if 0 < base < 1 - target else None


def number(value: Fraction) -> str:
    """A fraction as people write it: four significant digits at most, fewer where they are exact."""
    return f"{float(value):.6g}" if value.denominator in (1, 2, 5, 10, 100, 1000) else f"{float(value):.4g}"


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


def wilson(k: float, n: float, z: float = Z95) -> tuple[float, float] | None:
    """Wilson's score interval of the ratio k / n, 95 % unless `z` says otherwise; None for n = 0.

    Counts are whole, unless what hangs together counts for fewer.
    """
    if not n:
        return None
    p = k / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (0.0 if k == 0 else centre - half), (1.0 if k == n else centre + half)


def newcombe(k1: float, n1: float, k2: float, n2: float, z: float = Z95) -> tuple[float, float] | None:
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
    rules: tuple[Rule, ...] | None = None,
    base: Fraction = Fraction(0),
    expected: int | None = None,
) -> Verdict:
    """The state of an objective at the end of its window.

    `good` and `total` are those of the objective's own window of `window` seconds, `burns` those of the look-backs in
    seconds that end with it (BURN_WINDOWS; one left out never fires), `coverage` the share of the window its source
    vouches for, `stale` whether the source is later than its declared interval, `labels` whether any label has come.
    `rules` are those in force where nothing is said; `base` makes their burn rate that of the errors above it;
    `expected` are the events that fix the budget of a calendar window.
    What a late source showed before stays: alerts are frozen, not cleared; only "ok" needs fresh data.
    """
    if not total:
        return _empty(coverage, stale, labels)
    if rules is None and not base:
        limits = standard_limits(target, window)
    else:
        limits = limits_of(target, in_force(target, window, "", base) if rules is None else rules, base)
    fired = _fired(limits, target, burns, evidence, base)
    overspent = _overspent(good, total, target, expected)
    for verdict in (*(one for one in fired if one.state == "breached"), *overspent, *fired):
        return verdict
    return _quiet(good, total, target, stale, expected)


def _empty(coverage: float | None, stale: bool, labels: bool) -> Verdict:
    """The state of a window in which nothing was counted."""
    if coverage == 0:
        return Verdict("unknown", "not measured: no source has seen this window", "not measured")
    if stale:
        return Verdict("unknown", "stale: the source is later than its declared interval", "stale")
    if not labels:
        return Verdict("unknown", "no labels yet: predictions are waiting for their outcome", "no labels yet")
    return Verdict("unknown", "no traffic: nothing happened in this window", "no traffic")


Limits = tuple[tuple[Rule, int, int], ...]
"""Rules, each with the error ratio above which it fires, as numerator and denominator."""


@cache
def standard_limits(target: Fraction, window: int) -> Limits:
    """The limits of the rules that hold where nothing else is said."""
    return limits_of(target, in_force(target, window), Fraction(0))


@cache
def limits_of(target: Fraction, rules: tuple[Rule, ...], base: Fraction) -> Limits:
    """The error ratio that each rule needs, base + factor * (1 - target - base)."""
    shares = [(rule, base + rule.factor * (1 - target - base)) for rule in rules]
    return tuple((rule, share.numerator, share.denominator) for rule, share in shares)


def _fired(
    limits: Limits, target: Fraction, burns: Mapping[int, Totals], evidence: int, base: Fraction
) -> list[Verdict]:
    """What the burn rules say, worst first."""
    found = []
    for rule, above, of in limits:
        (good, total), (short_good, short_total) = burns.get(rule.long, (0, 0)), burns.get(rule.short, (0, 0))
        bad = total - good
        if bad * of <= total * above or (short_total - short_good) * of <= short_total * above:
            continue
        rate = float(excess_burn(good, total, target, base) or 0) if base else burn_number(good, total, target) or 0
        over = f" above the accepted {percent(base)}" if base else ""
        said = f"burning {rate:.3g} times the budget{over} over the last {spoken(rule.long)}"
        if bad < evidence and rule.severity == "page":
            reason = f"{said}, but on only {bad} bad of {total:,}: not enough to page"
            found.append(Verdict("at risk", reason, "little evidence"))
        elif bad >= evidence:
            state: State = "breached" if rule.severity == "page" else "at risk"
            found.append(Verdict(state, f"{said} ({bad:,} bad of {total:,})", "burning"))
    return found


def _overspent(good: int, total: int, target: Fraction, expected: int | None) -> list[Verdict]:
    spent, budget = spent_of(good, total, target, expected)
    if spent <= budget:
        return []
    over = percent(Fraction(spent - budget, budget)) if budget else "all"
    of = f"{total:,}" if expected is None else f"{expected:,} expected"
    return [Verdict("breached", f"{total - good:,} bad of {of}: {over} more than the budget allows", "overspent")]


def held(
    target: Fraction, good: int, total: int, *, coverage: float | None, stale: bool = False, labels: bool = True,
    evidence: int = EVIDENCE,
) -> Verdict:  # fmt: skip
    """How a window that was asked for stands against a target, by what was counted and seen in it alone.

    Breached where less than nothing is left of the budget on at least `evidence` bad events. `stale` only where the
    window reaches the present: what a source says later does not matter to one that is over.
    """
    if not total:
        return _empty(coverage, stale, labels)
    bad, needed = total - good, needed_of(target)
    for verdict in _overspent(good, total, target, None):
        if bad >= evidence:
            return verdict
        if total >= needed:
            return Verdict(
                "at risk", f"{verdict.reason}, but on only {bad} bad: too few to stop for", "little evidence"
            )
        reason = f"not enough evidence: {total:,} seen, {bad:,} of them bad, and a target of {percent(target)} needs"
        return Verdict("unknown", f"{reason} {needed:,} or more", "not enough evidence")
    return _quiet(good, total, target, stale, None)


def needed_of(target: Fraction) -> int:
    """The events of which one that is bad just spends the budget: fewer say nothing of it."""
    return -(-target.denominator // (target.denominator - target.numerator))


def _quiet(good: int, total: int, target: Fraction, stale: bool, expected: int | None) -> Verdict:
    """The state when no rule fires and the budget is not overspent."""
    left = budget_left(good, total, target, expected) or Fraction(0)
    if left < LITTLE_LEFT:
        return Verdict("at risk", f"only {percent(left)} of the budget is left", "little left")
    if stale:
        return Verdict("unknown", "stale: the source is later than its declared interval", "stale")
    needed = needed_of(target)
    seen = total if expected is None else expected
    if seen < needed:
        reason = f"not enough evidence: {seen:,} seen, a target of {percent(target)} needs {needed:,} or more"
        return Verdict("unknown", reason, "not enough evidence")
    return Verdict("ok", f"within target, {percent(left)} of the budget left", "within target")


def percent(share: Fraction) -> str:
    """A share in %, three digits; what is not 0 or 100 % is never rounded to it."""
    number = 100 * share.numerator / share.denominator
    text = f"{number:.3g}" if abs(number) < 100 else f"{number:.0f}"
    if float(text) in (0.0, 100.0) and share not in (0, 1):
        text = f"{number:.10g}"
    return f"{text} %"
