"""How an objective stands at the end of its window: everything that a page, a gate or a file says of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

from tandem import price, slo, times, wording
from tandem.measure import NONE, Answer, Asked, Measures, rules
from tandem.objectives import Objective as Promise
from tandem.records import BUCKET
from tandem.shown import BurnRule, Objective

_OVER = (3600, 21600, 86400, 259200)
"""Look-backs whose burn rate says when a budget is gone: the shortest with evidence."""


def objective(answer: Answer) -> Objective | None:
    """The objective of an answer; None where its signal has none."""
    asked, target, given = answer.asked, answer.asked.target, answer.asked.objective
    if target is None:
        return None
    good, total = answer.objective or (0, 0)
    spent, budget = slo.spent_of(good, total, target, answer.expected)
    evidence, base = (given.evidence, given.base or NONE) if given is not None else (slo.EVIDENCE, NONE)
    seconds, over = _exhausted(answer, spent, budget, evidence)
    return Objective(
        name=name_of(asked),
        target=float(target), window=given.window if given else "28d",
        threshold=float(asked.threshold) if asked.threshold is not None else None,
        budget_left=(budget - spent) / budget if budget else None,
        events_left=(budget - spent) / target.denominator if budget else None,
        burn=_burns(answer, target, base), good=good, total=total, since=answer.looks.since,
        length=answer.looks.length, calendar=given.calendar if given else "", expected=answer.expected,
        coverage=answer.objective_coverage, exhausts_in=seconds, exhausts_over=over, slices=answer.slices,
        burn_until=answer.edge,
        base=float(base) if base else None, rules=_rules(answer, target, evidence, base),
        remarks=_remarks(answer, target, base), noticed=_noticed(answer, target, evidence, base),
        corrected=answer.corrected, bound=answer.objective_bound,
    )  # fmt: skip


def name_of(asked: Asked) -> str:
    """What an objective is called everywhere: as the configuration says, else by its component and signal."""
    return (asked.objective.name if asked.objective else "") or (
        f"{asked.component} {asked.measure or asked.signal.name}"
    )


def _burns(answer: Answer, target: Fraction, base: Fraction) -> dict[str, float | None]:
    """The burn rate over each look-back; of the excess where an error ratio is accepted."""
    if not base:
        return {_name(seconds): slo.burn_number(*counts, target) for seconds, counts in answer.burns.items()}
    rates = {_name(seconds): slo.excess_burn(*counts, target, base) for seconds, counts in answer.burns.items()}
    return {name: None if rate is None else float(rate) for name, rate in rates.items()}


_name = cache(slo.look_back)


def _exhausted(answer: Answer, spent: int, budget: int, evidence: int) -> tuple[float | None, str]:
    """Seconds until the budget is gone, and the look-back whose burn rate says so; None when nothing burns.

    left * window / burn. The budget of a calendar window is a number of events, which go as bad ones came.
    """
    target = answer.asked.target
    if not budget or target is None:
        return None, ""
    if spent >= budget:
        return 0.0, ""
    for seconds in _OVER:
        good, total = answer.burns.get(seconds, (0, 0))
        if total - good < evidence:
            continue
        if answer.expected is not None:
            return (budget - spent) * seconds / ((total - good) * target.denominator), _name(seconds)
        lost, allowed = slo.spent_of(good, total, target)
        return (budget - spent) * answer.looks.length * allowed / (budget * lost), _name(seconds)
    return None, ""


@lru_cache(maxsize=1024)
def _standard(target: Fraction, length: int) -> tuple[tuple[slo.Rule, int, int, BurnRule, BurnRule], ...]:
    """The rules where nothing else is said: their limits, and what is shown of them when they fire and when not."""
    return _both(slo.standard_limits(target, length))


def _both(limits: slo.Limits) -> tuple[tuple[slo.Rule, int, int, BurnRule, BurnRule], ...]:
    return tuple((rule, above, of, _shown(rule, fires=True), _shown(rule, fires=False)) for rule, above, of in limits)


def _shown(rule: slo.Rule, *, fires: bool) -> BurnRule:
    return BurnRule(rule.severity, _name(rule.long), _name(rule.short), float(rule.factor), fires)


def _rules(answer: Answer, target: Fraction, evidence: int, base: Fraction) -> tuple[BurnRule, ...]:
    """The rules in force, and whether each fires: both of its windows strictly above its factor, on evidence."""
    given = answer.asked.objective
    if given is None or not (given.rule or given.factors or base):
        limits = _standard(target, answer.looks.length)
    else:
        limits = _both(slo.limits_of(target, rules(answer), base))
    found = []
    for rule, above, of, fires, quiet in limits:
        (good, total), (short_good, short_total) = (
            answer.burns.get(rule.long, (0, 0)),
            answer.burns.get(rule.short, (0, 0)),
        )
        bad = total - good
        burning = bad >= evidence and bad * of > total * above and (short_total - short_good) * of > short_total * above
        found.append(fires if burning else quiet)
    return tuple(found)


def _noticed(answer: Answer, target: Fraction, evidence: int, base: Fraction) -> price.Noticed | None:
    """The price of the evidence clause where little happens; None where much does, or time is counted."""
    total = (answer.objective or (0, 0))[1]
    if not total or answer.slices or answer.asked.signal.width != BUCKET:
        return None
    rate = total * BUCKET / (answer.looks.span * (answer.objective_coverage or 1.0))
    return None if rate >= price.LITTLE else price.noticed(rate, target, rules(answer), evidence, base)


def _remarks(answer: Answer, target: Fraction, base: Fraction) -> tuple[str, ...]:
    given = answer.asked.objective
    said: tuple[str, ...] = ()
    if given is None or not (given.rule or base or given.factors == "standard"):
        said = slo.lowered(target, answer.looks.length)
    step = answer.slices or answer.asked.signal.width
    plain = step <= BUCKET and answer.objective_bound is None and (given is None or not given.calendar)
    return said if plain else (*said, *_unusual(answer, step))


def _unusual(answer: Answer, step: int) -> Iterator[str]:
    """What somebody should know of an objective besides its numbers, each in one sentence."""
    asked, given = answer.asked, answer.asked.objective
    blind = dict.fromkeys(_name(rule.short) for rule in rules(answer) if rule.short < step)
    if blind:
        yield (f"Counted in steps of {slo.spoken(step).removeprefix('1 ')}, which rules with a short window of"
               f" {' or '.join(blind)} cannot see.")  # fmt: skip
    if answer.objective_bound is not None and asked.threshold is not None:
        low, high = answer.objective_bound
        unit = wording.seconds(float(asked.threshold)) if asked.signal.unit == "s" else f"{float(asked.threshold):g}"
        yield (f"{unit} is no edge of its histogram: {wording.count(low)} certainly lie within it, and up to"
               f" {wording.count(high)} may; those that certainly do are good.")  # fmt: skip
    if given is not None and given.calendar and answer.expected is None:
        yield (f"Nothing says how much to expect of a {given.calendar}, so the budget is that of what came so far; set"
               " expected, or wait for a second one.")  # fmt: skip


def promised(measures: Measures, components: Sequence[str]) -> list[Promise]:
    """Every objective in force of the components: the configured ones, and those of signals that are measured."""
    found = []
    for one in measures.asked(components):
        if one.objective is not None:
            found.append(one.objective)
        elif one.target is not None:
            made = Promise(one.component, one.signal.name, one.target)
            within = one.signal.good == "within"
            found.append(replace(made, tolerance=one.threshold) if within else replace(made, threshold=one.threshold))
    stages = [one for one in measures.config.objectives if one.component in components and one.stage != "production"]
    return [*found, *stages]


def json(one: Objective) -> dict[str, Any]:
    """What stands beside target, budget and burn in JSON: plain values, None where nothing can be said."""
    return {
        "coverage": one.coverage,
        "expected": one.expected,
        "exhausts_in": one.exhausts_in,
        "exhausts_over": one.exhausts_over or None,
        "burn_until": times.text(one.burn_until),
        "slices": one.slices or None,
        "base": one.base,
        "rules": [asdict(rule) for rule in one.rules],
        "remarks": list(one.remarks),
        "noticed": asdict(one.noticed) | {"sentence": one.noticed.sentence} if one.noticed else None,
        "corrected": one.corrected,
        "bound": list(one.bound) if one.bound else None,
    }
