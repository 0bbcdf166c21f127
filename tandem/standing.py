"""How an objective stands at the end of its window: everything that a page, a gate or a file says of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tandem import price, slo, wording
from tandem.measure import NONE, Answer, rules
from tandem.records import BUCKET
from tandem.shown import BurnRule, Objective

_OVER = (3600, 21600, 86400, 259200)
"""Look-backs whose burn rate says when a budget is gone: the shortest with evidence."""


def objective(answer: Answer) -> Objective | None:
    """The objective of an answer; None where its signal has none."""
    asked, target = answer.asked, answer.asked.target
    if target is None:
        return None
    good, total = answer.objective or (0, 0)
    given = asked.objective
    left = slo.budget_left(good, total, target, answer.expected) if total or answer.expected else None
    burns = {slo.look_back(seconds): _burn(answer, seconds) for seconds in answer.looks.burns}
    seconds, over = _exhausted(answer, left)
    return Objective(
        name=(given.name if given else "") or f"{asked.component} {asked.measure or asked.signal.name}",
        target=float(target), window=given.window if given else "28d",
        threshold=float(asked.threshold) if asked.threshold is not None else None,
        budget_left=float(left) if left is not None else None,
        events_left=float(slo.events_left(good, total, target, answer.expected)) if left is not None else None,
        burn=burns, good=good, total=total, since=answer.looks.since, length=answer.looks.length,
        calendar=given.calendar if given else "", expected=answer.expected, coverage=answer.objective_coverage,
        exhausts_in=seconds, exhausts_over=over, slices=answer.slices,
        base=float(given.base) if given is not None and given.base else None,
        rules=_shown(rules(answer), answer), remarks=tuple(_remarks(answer)), noticed=_noticed(answer),
        corrected=answer.corrected, bound=answer.objective_bound,
    )  # fmt: skip


def _burn(answer: Answer, seconds: int) -> float | None:
    """The burn rate over a look-back; of the excess where an error ratio is accepted."""
    target, given = answer.asked.target, answer.asked.objective
    assert target is not None
    if given is None or not given.base:
        return slo.burn_number(*answer.burns[seconds], target)
    rate = slo.excess_burn(*answer.burns[seconds], target, given.base)
    return None if rate is None else float(rate)


def _exhausted(answer: Answer, left: Fraction | None) -> tuple[float | None, str]:
    """Seconds until the budget is gone, and the look-back whose burn rate says so; None when nothing burns.

    A calendar budget is a number of events, which go at the rate at which bad ones came; a rolling one goes by
    left * window / burn.
    """
    target, given = answer.asked.target, answer.asked.objective
    if left is None or target is None:
        return None, ""
    if left <= 0:
        return 0.0, ""
    for seconds in _OVER:
        good, total = answer.burns.get(seconds, (0, 0))
        if total - good < (given.evidence if given else slo.EVIDENCE):
            continue
        if answer.expected is not None:
            events = slo.events_left(*(answer.objective or (0, 0)), target, answer.expected)
            return float(events * seconds / (total - good)), slo.look_back(seconds)
        found = slo.exhausts_in(left, slo.burn(good, total, target) or NONE, answer.looks.length)
        return (None if found is None else float(found)), slo.look_back(seconds)
    return None, ""


@lru_cache(maxsize=1024)
def _named(some: tuple[slo.Rule, ...]) -> tuple[tuple[slo.Severity, str, str, float], ...]:
    return tuple((one.severity, slo.look_back(one.long), slo.look_back(one.short), float(one.factor)) for one in some)


def _shown(some: tuple[slo.Rule, ...], answer: Answer) -> tuple[BurnRule, ...]:
    """The rules in force, and whether each fires: both of its windows strictly above its factor, on evidence."""
    evidence = answer.asked.objective.evidence if answer.asked.objective else slo.EVIDENCE
    found = []
    for rule, (severity, long, short, factor) in zip(some, _named(some), strict=True):
        good, total = answer.burns.get(rule.long, (0, 0))
        enough = total - good >= evidence
        found.append(BurnRule(severity, long, short, factor, enough and _over(answer, rule)))
    return tuple(found)


def _over(answer: Answer, rule: slo.Rule) -> bool:
    target, given = answer.asked.target, answer.asked.objective
    assert target is not None
    base = given.base if given is not None and given.base else NONE
    above = base + rule.factor * (1 - target - base)
    pairs = (answer.burns.get(seconds, (0, 0)) for seconds in (rule.long, rule.short))
    return all((total - good) * above.denominator > total * above.numerator for good, total in pairs)


def _noticed(answer: Answer) -> price.Noticed | None:
    """The price of the evidence clause where little happens; None where much does, or time is counted."""
    asked, given = answer.asked, answer.asked.objective
    total = (answer.objective or (0, 0))[1]
    if not total or answer.slices or asked.signal.width != BUCKET or asked.target is None:
        return None
    seen = answer.looks.span * (answer.objective_coverage or 1.0)
    rate = total * BUCKET / seen
    if rate >= price.LITTLE:
        return None
    evidence, base = (given.evidence, given.base or NONE) if given else (slo.EVIDENCE, NONE)
    return price.noticed(rate, asked.target, rules(answer), evidence, base)


def _remarks(answer: Answer) -> Iterator[str]:
    """What somebody should know of an objective besides its numbers, each in one sentence."""
    asked, given, target = answer.asked, answer.asked.objective, answer.asked.target
    assert target is not None
    if given is None or not (given.rule or given.base):
        yield from slo.lowered(target, answer.looks.length) if given is None or given.factors != "standard" else ()
    if (answer.slices or asked.signal.width) > BUCKET:
        blind = [rule for rule in rules(answer) if rule.short < (answer.slices or asked.signal.width)]
        if blind:
            yield (f"Counted in steps of {slo.spoken(answer.slices or asked.signal.width)}, which rules with a short"
                   f" window of {' or '.join(slo.look_back(rule.short) for rule in blind)} cannot see.")  # fmt: skip
    if answer.objective_bound is not None and asked.threshold is not None:
        low, high = answer.objective_bound
        unit = wording.seconds(float(asked.threshold)) if asked.signal.unit == "s" else f"{float(asked.threshold):g}"
        yield (f"{unit} is no edge of its histogram: {wording.count(low)} certainly lie within it, and up to"
               f" {wording.count(high)} may; those that certainly do are good.")  # fmt: skip
    if given is not None and given.calendar and answer.expected is None:
        yield (f"Nothing says how much to expect of a {given.calendar}, so the budget is that of what came so far; set"
               " expected, or wait for a second one.")  # fmt: skip


def json(one: Objective) -> dict[str, Any]:
    """What stands beside target, budget and burn in JSON: plain values, None where nothing can be said."""
    return {
        "coverage": one.coverage,
        "expected": one.expected,
        "exhausts_in": one.exhausts_in,
        "exhausts_over": one.exhausts_over or None,
        "slices": one.slices or None,
        "base": one.base,
        "rules": [asdict(rule) for rule in one.rules],
        "remarks": list(one.remarks),
        "noticed": asdict(one.noticed) | {"sentence": one.noticed.sentence} if one.noticed else None,
        "corrected": one.corrected,
        "bound": list(one.bound) if one.bound else None,
    }
