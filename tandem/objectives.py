"""What people promise: objectives, product budgets and corrections as tandem.toml states them, and what is refused."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fractions import Fraction
from typing import Any, Literal

from tandem import slo, strict, times
from tandem.catalog import Signal
from tandem.records import BUCKET, Stage

MEASURES: Mapping[str, str] = {"accuracy": "outcome", "precision": "outcome", "recall": "outcome", "f1": "outcome"}
"""Measures that an objective may name, and the signal that each is derived from."""
GAPS = ("demographic_parity_difference", "equal_opportunity_difference", "false_positive_difference",
        "equalized_odds_difference", "predictive_parity_difference")  # fmt: skip
"""The fairness gaps that an objective may bound."""
Gap = Literal["", "demographic_parity_difference", "equal_opportunity_difference", "false_positive_difference",
              "equalized_odds_difference", "predictive_parity_difference"]  # fmt: skip
Maintenance = Literal["leave out", "count"]
"""Whether the time of a maintenance leaves the counts of objectives, or counts like any other."""
LONGEST = 2 * 366 * 86400
"""Seconds that the window of an objective may have."""


@dataclass(frozen=True)
class OwnRule:
    """A burn rule of an objective's own: it fires while `long` and `short` both burn above `factor`."""

    severity: slo.Severity
    long: str
    short: str
    factor: Fraction

    @property
    def rule(self) -> slo.Rule:
        """The rule in seconds."""
        return slo.Rule(self.severity, times.duration(self.long), times.duration(self.short), self.factor)


@dataclass(frozen=True)
class Objective:
    """A target share of good over a window, rolling ("28d") or of the calendar ("day", "week", "month", ...).

    `signal` is a signal or one of MEASURES, of one `class` where it is named. `threshold` (the signal's unit) says
    what is good of a quantity such as latency, `tolerance` (the target's unit) what is good of a regression error;
    target and threshold are the signal's own where nothing is said. Of fairness, `segment` is the column of the
    groups, `gap` the difference and `bound` its limit. With `slice` time slices are counted, each good where
    `slice_target` is reached. `expected` events fix the budget of a calendar window, `timezone` its days. `base` is
    an accepted error ratio; `factors` and `rule` say which burn rules hold, `evidence` the bad events that each needs.
    """

    component: str
    signal: str
    target: Fraction | None = None
    name: str = ""
    threshold: Fraction | None = None
    tolerance: Fraction | None = None
    stage: Stage = "production"
    window: str = "28d"
    class_: str = ""
    segment: str = ""
    gap: Gap = ""
    bound: Fraction | None = None
    slice: str = ""
    slice_target: Fraction | None = None
    expected: int | None = None
    timezone: str = ""
    base: Fraction | None = None
    factors: slo.Factors = ""
    rule: tuple[OwnRule, ...] = ()
    evidence: int = slo.EVIDENCE

    @property
    def stored(self) -> str:
        """The signal that is read for it."""
        return MEASURES.get(self.signal, self.signal)

    @property
    def calendar(self) -> str:
        """The period of a calendar window; "" for a rolling one."""
        return self.window if self.window in times.PERIODS else ""

    @property
    def seconds(self) -> int:
        """The length of its window in seconds; of a calendar window the longest that its period can be."""
        return times.PERIODS[self.window] if self.calendar else times.duration(self.window)

    @property
    def slice_seconds(self) -> int:
        """The width of its time slices in seconds; 0 where occurrences are counted."""
        return times.duration(self.slice) if self.slice else 0

    @property
    def rules(self) -> tuple[slo.Rule, ...]:
        """The burn rules of its own; empty where the standard ones hold."""
        return tuple(one.rule for one in self.rule)


@dataclass(frozen=True)
class Product:
    """What a product promises as a whole: the share that is answered, in time, and right."""

    name: str
    target: Fraction


@dataclass(frozen=True)
class Correction:
    """An agreed stretch [from, to) that leaves good and total of objectives; times in epoch seconds.

    `signal` and `environment` narrow it; `agreed` is the day on which it was agreed.
    """

    component: tuple[str, ...]
    from_: int
    to: int
    author: str
    reason: str
    agreed: str
    signal: tuple[str, ...] = ()
    environment: str = ""


def moment(given: object) -> int:
    """Epoch seconds of a TOML time with an offset, or of such a text; raises ValueError with one sentence."""
    if isinstance(given, datetime) and given.tzinfo is not None:
        return int(given.timestamp())
    if isinstance(given, datetime) or not isinstance(given, str):
        raise ValueError("write a time with its offset, such as 2026-11-20T18:00:00Z.")
    return times.iso(given)


def day(given: object) -> str:
    """A day as ISO text; raises ValueError with one sentence."""
    if isinstance(given, date) and not isinstance(given, datetime):
        return given.isoformat()
    try:
        return date.fromisoformat(str(given)).isoformat()
    except ValueError:
        raise ValueError("write a day, such as 2026-11-20.") from None


READERS: strict.Readers = {"from": moment, "to": moment, "agreed": day}


def check_correction(one: Correction, where: str) -> Correction:
    """The correction as it was given; raises ValueError where it is no stretch, or nobody answers for it."""
    if one.to <= one.from_:
        raise ValueError(f"{where} must end after it begins, but to ({times.text(one.to)}) is not after from"
                         f" ({times.text(one.from_)}).")  # fmt: skip
    for key, given in (("author", one.author), ("reason", one.reason), ("component", one.component)):
        if not given or not "".join(given).strip():
            raise ValueError(f"{where}: {key} must not be empty.")
    return one


def check_target(target: Fraction, where: str) -> None:
    """Raise ValueError unless a target lies strictly between 0 and 1."""
    if not 0 < target < 1:
        meant = f" (write {slo.number(target / 100)} for {slo.number(target)} %)" if 1 < target < 100 else ""
        raise ValueError(
            f"{where}: target must lie between 0 and 1, such as 0.99; a target of 1 leaves no budget{meant}."
        )


def checked(given: Sequence[Objective], signals: Mapping[str, Signal], zone: str) -> tuple[Objective, ...]:
    """The objectives with what they leave out filled in; raises ValueError with one sentence."""
    found = tuple(_objective(one, strict.place("objective", n, vars(one)), signals, zone)
                  for n, one in enumerate(given, 1))  # fmt: skip
    keys = Counter((one.component, one.signal, one.stage, one.name) for one in found)
    for (component, signal, _, _), count in keys.items():
        if count > 1:
            raise ValueError(
                f"{count} [[objective]] tables are of {strict.quoted(signal)} of {strict.quoted(component)}: "
                "give each a name of its own."
            )
    named = Counter((one.component, one.name) for one in found if one.name)
    for (component, name), count in named.items():
        if count > 1:
            raise ValueError(f"{count} [[objective]] tables of {strict.quoted(component)} are named"
                             f" {strict.quoted(name)}: give each a name of its own.")  # fmt: skip
    return found


def _objective(one: Objective, where: str, signals: Mapping[str, Signal], zone: str) -> Objective:
    if one.stored not in signals:
        found = strict.nearest(one.signal, (*signals, *MEASURES))
        raise ValueError(f"{where} names an unknown signal {strict.quoted(one.signal)}; {found}.")
    signal = signals[one.stored]
    if signal.good == "none":
        raise ValueError(f"{where}: {signal.name} says nothing of good and bad, so it cannot have an objective.")
    target = one.target if one.target is not None else signal.target
    if target is None:
        raise ValueError(f'{where} lacks the key "target": {signal.name} has no target of its own.')
    check_target(target, where)
    _check_window(one, where)
    threshold, tolerance = _bounds(one, signal, where)
    _check_measure(one, where)
    _check_fairness(one, where)
    _check_rules(dataclasses.replace(one, target=target), where)
    made = dataclasses.replace(one, target=target, threshold=threshold, tolerance=tolerance,
                               timezone=one.timezone or (zone if one.calendar else ""))  # fmt: skip
    return _sliced(made, signal, where)


def _check_window(one: Objective, where: str) -> None:
    if not one.calendar and _duration(one.window, "window", where, f", or {', '.join(times.PERIODS)}") < BUCKET:
        raise ValueError(f"{where}: window must be at least 5m.")
    if one.seconds > LONGEST:
        raise ValueError(f"{where}: window must be at most {LONGEST // 86400}d.")
    if not one.calendar and (one.expected is not None or one.timezone):
        key = "expected" if one.expected is not None else "timezone"
        raise ValueError(f'{where}: {key} belongs to a window of the calendar, such as window = "month".')
    if one.expected is not None and one.expected < 1:
        raise ValueError(f"{where}: expected must be the events of a whole {one.window}, 1 or more.")
    if one.timezone:
        try:
            times.zone(one.timezone)
        except ValueError as refused:
            raise ValueError(f"{where}: timezone: {refused}") from None


def _duration(text: str, key: str, where: str, more: str = "") -> int:
    try:
        return times.duration(text)
    except ValueError as refused:
        raise ValueError(f"{where}: {key}: {str(refused).rstrip('.')}{more}.") from None


def _bounds(one: Objective, signal: Signal, where: str) -> tuple[Fraction | None, Fraction | None]:
    """The threshold and tolerance in force, of which a signal needs one or none; refuses what it has no use for."""
    needed = {"below": "threshold", "within": "tolerance"}.get(signal.good)
    bounds = {"threshold": one.threshold, "tolerance": one.tolerance}
    for key, bound in bounds.items():
        if key != needed and bound is not None:
            raise ValueError(f"{where}: {signal.name} takes no {key}; leave it out.")
        if bound is not None and bound <= 0:
            raise ValueError(f"{where}: {key} must be above 0: at {key} = {float(bound):g} hardly anything is good.")
    if needed:
        bounds[needed] = bounds[needed] if bounds[needed] is not None else signal.threshold
        if bounds[needed] is None:
            raise ValueError(f"{where} lacks the key {strict.quoted(needed)}: {signal.name} has none of its own.")
    return bounds["threshold"], bounds["tolerance"]


def _check_measure(one: Objective, where: str) -> None:
    if one.class_ and one.signal not in MEASURES:
        raise ValueError(f"{where}: class belongs to {', '.join(MEASURES)}; {one.signal} takes none.")


def _check_fairness(one: Objective, where: str) -> None:
    given: dict[str, Any] = {"segment": one.segment, "gap": one.gap, "bound": one.bound}
    for key, value in given.items():
        if one.signal != "fairness" and value not in ("", None):
            raise ValueError(f"{where}: {key} belongs to fairness; {one.signal} takes none.")
        if one.signal == "fairness" and value in ("", None):
            what = {"segment": 'the column of the groups, such as "country"', "gap": f"one of {', '.join(GAPS)}",
                    "bound": "the largest gap that is accepted, such as 0.1"}[key]  # fmt: skip
            raise ValueError(f"{where} lacks the key {strict.quoted(key)}: {what}.")
    if one.bound is not None and not 0 < one.bound < 1:
        raise ValueError(f"{where}: bound must lie between 0 and 1, such as 0.1.")


def _check_rules(one: Objective, where: str) -> None:
    """Refuse rules that can never fire, with the arithmetic; only what the file asks for itself is refused."""
    target, base = one.target or Fraction(0), one.base or Fraction(0)
    if one.evidence < 1:
        raise ValueError(f"{where}: evidence must be 1 bad event or more.")
    if not 0 <= base < 1 - target:
        raise ValueError(f"{where}: base must lie between 0 and {slo.number(1 - target)}, what the target allows.")
    if one.factors and (one.rule or base):
        raise ValueError(
            f"{where}: factors goes with the standard rules; keep it, or {'rule' if one.rule else 'base'}."
        )
    for own in one.rule:
        long, short = (_duration(getattr(own, key), f"rule: {key}", where) for key in ("long", "short"))
        if own.factor <= 0 or not 0 < short < long or short % BUCKET or long % BUCKET:
            raise ValueError(f"{where}: rule: short must be shorter than long, both whole times of 5m, and factor"
                             " above 0.")  # fmt: skip
    if one.rule or base or one.factors == "standard":
        for sentence in slo.refused(target, one.seconds, base, one.rules):
            raise ValueError(f"{where}: {sentence}")


def _sliced(one: Objective, signal: Signal, where: str) -> Objective:
    """The objective with its slices checked."""
    if not one.slice:
        if one.slice_target is not None:
            raise ValueError(f'{where}: slice_target belongs to time slices; add slice = "5m".')
        return one
    width = _duration(one.slice, "slice", where)
    if one.signal == "fairness" or width < signal.width or width % signal.width or 86400 % width:
        least = "nothing" if one.signal == "fairness" else times.spelled(signal.width)
        raise ValueError(f"{where}: slice must divide a day and be a whole number of times {least}, the step in which"
                         f" {one.signal} is counted.")  # fmt: skip
    if one.slice_target is None or not 0 < one.slice_target <= 1:
        raise ValueError(f"{where}: slice_target must lie between 0 and 1: the share that makes a slice good.")
    return one


def check_products(given: Iterable[Product], known: Sequence[str]) -> None:
    """Raise ValueError for an unknown product or a target that is none."""
    for number, one in enumerate(given, 1):
        where = strict.place("product", number, vars(one))
        if one.name not in known:
            raise ValueError(f"{where} names an unknown product; {strict.nearest(one.name, tuple(known))}.")
        check_target(one.target, where)
