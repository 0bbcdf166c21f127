"""Two sides, number by number: what each signal is in A and in B, by how much it differs, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Literal

from tandem import bins, measured
from tandem.compared import Difference, Interval, Unit, Value
from tandem.config import Component
from tandem.counted import counted, several
from tandem.judged import worth_of
from tandem.measure import Answer, Asked, Measures
from tandem.modelled import Measure
from tandem.records import Histogram
from tandem.slo import Z95, newcombe, wilson

NEWCOMBE = "Newcombe's hybrid of two Wilson intervals, 95 %"
HYBRID = "hybrid of both sides' 95 % intervals (Newcombe)"
ORDERED = "hybrid of both sides' order statistics, 95 %, out to the edges of their bins"
COUNTED = "every one was counted: there is nothing to estimate"
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
LOWER = frozenset({"fpr", "fnr", "brier", "log_loss", "ece", "mae", "rmse", "mape"})
"""Measures of a model that are better where they are lower."""
NEITHER = frozenset({"bias"})
SAME = frozenset({"fnr", "micro_f1", "weighted_recall"})
"""Measures that say what another one says: 1 - recall, and accuracy twice."""
ARRIVING = frozenset({"label_coverage", "label_age"})
"""Signals that only look worse while labels are still to come."""
STILL = "labels are still arriving: no difference can be told yet"
MODEL_OWN = frozenset({"outcome", "error"})
"""Signals of which a model's measures are read."""
HOUR = 3600
MOST = 99.0
"""Standard errors beyond which nobody counts."""


def differences(now: Measures, then: Measures, components: Sequence[Component]) -> tuple[Difference, ...]:
    """Every number of the components that either side has, those with most evidence of a difference first."""
    found: list[Difference] = []
    asked = _asked(now, then, components)
    pairs = zip(asked, now.answers(asked), then.answers(asked), strict=True)
    by_component: dict[str, list[tuple[Answer, Answer]]] = {}
    for one, mine, theirs in pairs:
        by_component.setdefault(one.component, []).append((mine, theirs))
    models = [component.name for component in components if component.kind == "model"]
    for side in (now, then):
        several(side, models)
    for component in components:
        some = by_component.get(component.name, [])
        for mine, theirs in some:
            found += _signal(component, now, then, mine, theirs)
        if component.kind == "model":
            found += _model(component, now, then)
    return tuple(sorted(found, key=_order))


def _order(one: Difference) -> tuple[float, bool, str, str, str]:
    return -one.evidence, one.change is None, one.component, one.title, one.measure


def _asked(now: Measures, then: Measures, components: Sequence[Component]) -> list[Asked]:
    names = [one.name for one in components]
    found: dict[tuple[str, str], Asked] = {}
    for one in [*now.asked(names), *then.asked(names)]:
        if now.series(one.component, one.signal.name) or then.series(one.component, one.signal.name):
            found.setdefault((one.component, one.signal.name), one)
    return list(found.values())


def _signal(component: Component, now: Measures, then: Measures, mine: Answer, theirs: Answer) -> Iterator[Difference]:
    signal = mine.asked.signal
    if signal.name == "volume":
        yield _counted(component, now, then, mine, theirs)
    elif not (component.kind == "model" and signal.name == "outcome"):
        of = signal.of.partition(" ")[0]
        share = _share(mine), _share(theirs)
        still = STILL if signal.name in ARRIVING and _arriving(component, now, then) else ""
        if any(one.n for one in share) and (mine.good is not None or theirs.good is not None):
            measure = "share under its threshold" if signal.good == "below" else "share"
            measure = "within tolerance" if signal.good == "within" else measure
            yield _difference(component, signal.name, signal.title, measure, "share", of, "higher", *share, still=still)
        if signal.unit == "s":
            for name, q in QUANTILES.items():
                values = _quantile(mine.value, q), _quantile(theirs.value, q)
                if any(one.value is not None for one in values):
                    yield _difference(
                        component, signal.name, signal.title, name, "s", of, "lower", *values, ORDERED, still
                    )


def _arriving(component: Component, *sides: Measures) -> bool:
    """Whether labels of the newest predictions of a side are still to come."""
    return any(one.mature(component.name) < min(one.window.until, one.now) for one in sides)


def _share(answer: Answer) -> Value:
    if answer.good is None or not answer.total:
        return Value(n=answer.total)
    return Value(answer.good / answer.total, answer.total, wilson(answer.good, answer.total), answer.good)


def _quantile(value: object, q: float) -> Value:
    """A percentile with the interval of its order statistics, out to the edges of the bins that they lie in."""
    if not isinstance(value, Histogram) or not (n := bins.total(value)):
        return Value()
    found = bins.quantile(value, q)
    assert found is not None
    spread = Z95 * math.sqrt(q * (1 - q) / n)
    if q - spread < 0 or q + spread > 1:  # no order statistic lies that far out among so few
        return Value(found.value, n)
    low, high = bins.quantile(value, q - spread), bins.quantile(value, q + spread)
    assert low is not None
    assert high is not None
    ends = (low.low, high.high)
    return Value(found.value, n, ends if all(map(math.isfinite, ends)) else None)


def _counted(component: Component, now: Measures, then: Measures, mine: Answer, theirs: Answer) -> Difference:
    """How many there were per hour: windows need not be equally long."""
    values = [
        Value(answer.total / max(measures.window.until - measures.window.since, 1) * HOUR, answer.total)
        if answer.total is not None else Value()
        for measures, answer in ((now, mine), (then, theirs))
    ]  # fmt: skip
    signal = mine.asked.signal
    return _difference(
        component, signal.name, signal.title, "per hour", "per hour", signal.of, "", values[0], values[1], COUNTED
    )


# -- a model's own measures


def _model(component: Component, now: Measures, then: Measures) -> Iterator[Difference]:
    mine, theirs = (_measures(one, component.name) for one in (now, then))
    for name in [*mine, *(name for name in theirs if name not in mine)]:
        if name in SAME:
            continue
        a, b = mine.get(name), theirs.get(name)
        known = a or b
        assert known is not None
        if (a is None or a.value is None) and (b is None or b.value is None):
            continue
        better: Literal["higher", "lower", ""] = "lower" if name in LOWER else "" if name in NEITHER else "higher"
        yield _difference(component, name, known.title, "", known.unit, known.of, better, _of(a), _of(b))


def arriving(component: Component, now: Measures, then: Measures) -> str:
    """A sentence where labels of one side are still to come; "" where they are there."""
    if not _arriving(component, now, then):
        return ""
    told = []
    for name, side in (("A", now), ("B", then)):
        found = counted(side, component.name)
        total = found.coverage.total or found.volume.total
        if total:
            told.append(f"{100 * found.labelled / total:.0f} % of the predictions in {name}")
    return f"Labels are still arriving: so far {' and '.join(told)} have theirs." if told else ""


def _measures(measures: Measures, component: str) -> dict[str, Measure]:
    found = measured.measures(counted(measures, component), worth_of(measures, component))
    return {one.name: one for one in found}


def _of(one: Measure | None) -> Value:
    return Value() if one is None else Value(one.value, one.n, one.interval, one.good)


# -- the difference


def _difference(
    component: Component, signal: str, title: str, measure: str, unit: Unit, of: str,
    better: Literal["higher", "lower", ""], a: Value, b: Value, how: str = HYBRID,
    still: str = "",
) -> Difference:  # fmt: skip
    change = a.value - b.value if a.value is not None and b.value is not None else None
    relative = change / abs(b.value) if change is not None and b.value else None
    interval = None if still else of_difference(a, b)
    if a.good is not None and b.good is not None:
        how = NEWCOMBE
    if interval is None and how != COUNTED:
        how = still or _without(a, b)
    half = 0.0 if interval is None or change is None else (change - interval[0] if change > 0 else interval[1] - change)
    evidence = 0.0 if not half or change is None else min(abs(change) / half * Z95, MOST)
    certain = interval is not None and not interval[0] <= 0 <= interval[1]
    return Difference(component.name, component.kind, signal, title, measure, unit, of, better, a, b, change, relative,
                      interval, how, evidence, certain)  # fmt: skip


def of_difference(a: Value, b: Value) -> Interval | None:
    """95 % of a - b: Newcombe's (1998) for two shares, and his way of joining two intervals for anything else."""
    if a.good is not None and b.good is not None and a.n and b.n:
        return newcombe(a.good, a.n, b.good, b.n)
    if a.value is None or b.value is None or a.interval is None or b.interval is None:
        return None
    change = a.value - b.value
    down = math.hypot(a.value - a.interval[0], b.interval[1] - b.value)
    up = math.hypot(a.interval[1] - a.value, b.value - b.interval[0])
    return change - down, change + up


def _without(a: Value, b: Value) -> str:
    for name, side in (("A", a), ("B", b)):
        if side.value is None:
            return f"nothing was counted in {name}"
    return "too few, or too far out in the last bin, for an interval; or none can be told from what is kept"
