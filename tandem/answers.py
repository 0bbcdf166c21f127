"""An answer: what was asked with its merges, and how its objective stands by them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction

from tandem import slo
from tandem.counting import Asked
from tandem.lookbacks import Lookbacks
from tandem.records import Value

NONE = Fraction(0)


@dataclass
class Answer:
    """An Asked with its merges: over the page's window, the objective's own, and each look-back of its rules.

    `judged` is good and total of the page's window as objectives count them; `value`, `good` and `total` stay raw.
    `corrected` are the seconds that left the objective's window, `left_out` those that left the page's. `expected`
    are the events that fix the budget of a calendar window, `slices` the width of what is counted where that is time.
    `bound`: good at least and at most in the page's window, where the threshold is no edge of the histogram;
    `objective_bound` in the objective's. `instead` is why nothing can be said whatever was counted.
    """

    asked: Asked
    looks: Lookbacks
    value: Value | None = None
    good: int | None = None
    total: int | None = None
    objective: tuple[int, int] | None = None
    burns: dict[int, tuple[int, int]] = field(default_factory=dict)
    coverage: float | None = None
    objective_coverage: float | None = None
    source: int = 0
    witnesses: list[tuple[int, Value | None]] = field(default_factory=list)
    stale: bool = False
    labels: bool = True
    seen: bool = False
    judged: tuple[int, int] | None = None
    judged_coverage: float | None = None
    expected: int | None = None
    corrected: int = 0
    left_out: int = 0
    bound: tuple[int, int] | None = None
    objective_bound: tuple[int, int] | None = None
    slices: int = 0
    edge: int = 0
    """Where its look-backs end: at the last bucket that was whole."""
    instead: slo.Verdict | None = None


def verdict(answer: Answer) -> slo.Verdict:
    """The state of an answer's objective at the end of the window."""
    asked = answer.asked
    if asked.target is None:
        return slo.Verdict("unknown", "no objective is set for this signal", "no objective")
    if answer.instead is not None:
        return answer.instead
    good, total = answer.objective or (0, 0)
    given = asked.objective
    own = given is not None and bool(given.rule or given.factors or given.base)
    return slo.judge(
        asked.target, good, total, answer.burns, window=answer.looks.length, coverage=answer.objective_coverage or 0.0,
        stale=answer.stale, labels=answer.labels if not total else True, expected=answer.expected,
        evidence=given.evidence if given is not None else slo.EVIDENCE, rules=rules(answer) if own else None,
        base=given.base if given is not None and given.base else NONE,
    )  # fmt: skip


def rules(answer: Answer) -> tuple[slo.Rule, ...]:
    """The burn rules that an answer's objective is judged by."""
    given, target = answer.asked.objective, answer.asked.target
    if target is None:
        return ()
    if given is None:
        return slo.in_force(target, answer.looks.length)
    return given.rules or slo.in_force(target, answer.looks.length, given.factors, given.base or NONE)
