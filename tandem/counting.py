"""How a merged summary becomes good out of total, as a signal or the measure of an objective defines them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from tandem import bins, slo
from tandem.catalog import Signal
from tandem.objectives import Objective
from tandem.records import Confusion, Histogram, Moments, Ratio, Value
from tandem.slo import Totals

MATURE = Fraction(9, 10)
"""Labels have come when coverage reaches this share of its usual plateau."""


@dataclass(frozen=True)
class Asked:
    """One objective (or none) of one signal of one component."""

    component: str
    signal: Signal
    objective: Objective | None
    target: Fraction | None
    threshold: Fraction | None
    window: int
    measure: str

    @property
    def stepwise(self) -> bool:
        """Whether steps of time are counted, each good or bad, in place of what happened in them."""
        return self.objective is not None and (bool(self.objective.slice) or self.signal.name == "fairness")


def share(one: Asked, value: Value | None) -> bins.Share | None:
    """Of a histogram, what lies certainly and what possibly under the threshold or within the tolerance."""
    if not isinstance(value, Histogram) or one.threshold is None or one.signal.good not in ("below", "within"):
        return None
    return (bins.share_below if one.signal.good == "below" else bins.share_within)(value, one.threshold)


def ratio(one: Asked, value: Value | None, positive: str) -> Totals | None:
    """Good and total of a merge; None where the signal says nothing of good. `positive` is the class in question."""
    if value is None:
        return None if one.target is None else (0, 0)
    if isinstance(value, Ratio):
        return (value.good, value.total) if one.signal.good != "none" else None
    if isinstance(value, Confusion):
        return _of_confusion(one, value, positive)
    found = share(one, value)
    return (found.good, found.total) if found is not None else None


def _of_confusion(one: Asked, value: Confusion, positive: str) -> Totals:
    """Accuracy, precision, recall and F1 as whole counts: F1 is 2 TP of 2 TP + FP + FN."""
    cells = value.cells
    of_class = one.objective.class_ if one.objective is not None else ""
    if one.measure in ("", "accuracy") and not of_class:
        return sum(n for (actual, predicted), n in cells.items() if actual == predicted), sum(cells.values())
    hit = cells.get((positive, positive), 0)
    named = sum(n for (_, predicted), n in cells.items() if predicted == positive)
    actual = sum(n for (true, _), n in cells.items() if true == positive)
    if one.measure == "precision":
        return hit, named
    if one.measure == "recall":
        return hit, actual
    if one.measure == "f1":
        return 2 * hit, named + actual
    total = sum(cells.values())  # accuracy of one class against all others: all but its false ones
    return total - (named - hit) - (actual - hit), total


def classes(value: Value | None) -> list[str]:
    """The classes that were predicted or true, sorted."""
    if not isinstance(value, Confusion):
        return []
    return sorted({name for key, n in value.cells.items() if n for name in key})


def unfit(one: Asked, value: Value | None, configured: bool) -> slo.Verdict | None:
    """Why a measure of the confusion cannot be answered; None where it can.

    `configured`: a source names the positive class.
    """
    of_class = one.objective.class_ if one.objective is not None else ""
    seen = classes(value)
    if not seen:
        return None
    if of_class and of_class not in seen:
        reason = f"no traffic: nothing of the class {of_class!r} was seen; seen are {_listed(seen)}"
        return slo.Verdict("unknown", reason, "no traffic")
    if one.measure in ("precision", "recall", "f1") and not (of_class or configured) and len(seen) > 2:
        reason = (f"not applicable: {one.measure} of {len(seen)} classes is no share of good out of all; name one by"
                  f" class, such as {seen[0]!r}")  # fmt: skip
        return slo.Verdict("unknown", reason, "not applicable")
    return None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names[:8]) + (" and more" if len(names) > 8 else "")


def added(parts: Iterable[Value]) -> Value | None:
    """The sum of summaries of one kind; None of none."""
    some = list(parts)
    if not some:
        return None
    if isinstance(some[0], Histogram):
        return bins.merge([one for one in some if isinstance(one, Histogram)]).histogram
    total: Any = some[0]
    for one in some[1:]:
        total = total + one
    whole: Value = total
    return whole


def events(value: Value) -> int:
    """How many things a summary counts."""
    if isinstance(value, Ratio):
        return value.total
    if isinstance(value, Histogram):
        return bins.total(value)
    return value.n if isinstance(value, Moments) else sum(value.cells.values())


def mature_until(steps: Sequence[tuple[Any, ...]], width: int, end: int) -> int:
    """The end of the last step whose label coverage reached MATURE of the median of all steps."""
    counted = [(start, int(good), int(total)) for start, good, total in steps if total]
    if not counted:
        return end
    # Nearest floats keep the order of shares; those that are equal as floats are compared exactly.
    rounded = [good / total for _, good, total in counted]
    middle = sorted(rounded)[len(counted) // 2]
    near = sorted(Fraction(good, total) for share, (_, good, total) in zip(rounded, counted, strict=True)
                  if share == middle)  # fmt: skip
    plateau = near[len(counted) // 2 - sum(share < middle for share in rounded)]
    low = MATURE * plateau
    ripe = [start for start, good, total in counted if plateau and good * low.denominator >= low.numerator * total]
    last: int = ripe[-1] + width if ripe else counted[0][0]
    return min(end, last) if ripe else last
