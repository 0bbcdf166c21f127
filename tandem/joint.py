"""The budget of a product: a service and its model together, good being answered, in time, and right.

Rates of different things are put together, so their dependence is unknown: the joint failure is that of independent
parts, 1 - (1 - e1)(1 - e2)..., and stands between the largest of them and their sum, whatever the dependence.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any, Literal

from tandem import slo
from tandem.config import Component, Config
from tandem.measure import Answer, Asked, Measures, verdict

Half = Literal["service", "model"]
PARTS: Mapping[str, tuple[Half, str]] = {
    "request_success": ("service", "answered"), "availability": ("service", "answered"),
    "latency": ("service", "in time"), "outcome": ("model", "right"), "error": ("model", "right"),
}  # fmt: skip
"""What each signal says of an answer; of two that say the same the first that was measured counts."""
_NONE = Fraction(0)


@dataclass(frozen=True, slots=True)
class Part:
    """One condition of a good answer: `failure` is the share of bad, `spent` its share of the joint failure."""

    half: Half
    says: str
    component: str
    signal: str
    good: int
    total: int
    failure: float
    spent: float | None


@dataclass(frozen=True, slots=True)
class Joint:
    """The joint objective of a service and its model over the window that their objectives share.

    `failure` is that of independent parts, which lies between `low` and `high` whatever their dependence, and so does
    `budget_left` between `left_low` and `left_high`. `service_spent` and `model_spent` add up to 1; None where nothing
    failed. `stated`: whether the configuration names the target, else it is the product of the parts' own.
    """

    product: str
    service: str
    model: str
    target: float
    stated: bool
    window: str
    state: slo.State
    reason: str
    why: str
    parts: tuple[Part, ...]
    failure: float | None = None
    low: float | None = None
    high: float | None = None
    budget_left: float | None = None
    left_low: float | None = None
    left_high: float | None = None
    service_spent: float | None = None
    model_spent: float | None = None


def failure(parts: Sequence[Fraction]) -> tuple[Fraction, Fraction, Fraction]:
    """The joint error ratio of independent parts, and its least and most whatever the dependence."""
    right = Fraction(1)
    for one in parts:
        right *= 1 - one
    return 1 - right, max(parts, default=_NONE), min(Fraction(1), sum(parts, _NONE))


def spent(parts: Sequence[Fraction]) -> list[Fraction] | None:
    """The share of each part in what failed, in proportion to its own error ratio; they add up to exactly 1."""
    whole = sum(parts, _NONE)
    return [one / whole for one in parts] if whole else None


def pairs(services: Sequence[Component], models: Sequence[Component]) -> list[tuple[str, str]]:
    """Each service with the model that depends on it, or the next one of its product; what is left stands alone."""
    left = list(models)
    found: list[tuple[str, str]] = []
    for service in services:
        match = next((model for model in left if service.name in model.depends_on), None)
        if match is None and len(services) - len(found) <= len(left):
            match = left[0]
        if match is not None:
            left.remove(match)
        found.append((service.name, match.name if match else ""))
    return found + [("", model.name) for model in left]


def of_components(
    measures: Measures, names: Sequence[str], known: Sequence[Answer] = ()
) -> dict[str, tuple[Joint, ...]]:
    """The joint objectives that each of the components takes part in, all read together.

    `known`: what `measures` has answered already, either all or nothing of a component.
    """
    mine = _pairs_of(measures, names)
    if not mine:
        return dict.fromkeys(names, ())
    told = {answer.asked.component for answer in known}
    by_key: dict[tuple[str, str], Answer] = {}
    for answer in (*known, *measures.answers(asked(measures, names, told))):
        key = answer.asked.component, answer.asked.signal.name
        if key not in by_key or not _fits(by_key[key]):
            by_key[key] = answer
    made = [found for one in mine if (found := joint(measures.config, *one, by_key)) is not None]
    return {name: tuple(one for one in made if name in (one.service, one.model)) for name in names}


def asked(measures: Measures, names: Sequence[str], told: Collection[str] = ()) -> list[Asked]:
    """What must be asked for the joint objectives of the components, of all but those that are told already."""
    wanted = dict.fromkeys(name for _, *pair in _pairs_of(measures, names) for name in pair if name not in told)
    return measures.asked(wanted, tuple(PARTS))


def _pairs_of(measures: Measures, names: Sequence[str]) -> list[tuple[str, str, str]]:
    """(product, service, model) of every pair that one of the components belongs to."""
    wanted = set(names)
    found: list[tuple[str, str, str]] = []
    for product in dict.fromkeys(one.product for one in measures.components if one.name in wanted):
        inside = [one for one in measures.components if one.product == product]
        both = pairs([one for one in inside if one.kind == "service"], [one for one in inside if one.kind == "model"])
        found += [(product, *pair) for pair in both if all(pair) and wanted & set(pair)]
    return found


def joint(
    config: Config, product: str, service: str, model: str, answers: Mapping[tuple[str, str], Answer]
) -> Joint | None:
    """The joint objective of a service and its model from their answers; None where either half promises nothing."""
    some = _chosen(answers, {"service": service, "model": model})
    if {PARTS[one.asked.signal.name][0] for one in some} != {"service", "model"}:
        return None
    stated = next((one.target for one in config.promises if one.name == product), None)
    target = stated if stated is not None else _product(one.asked.target or _NONE for one in some)
    given = some[0].asked.objective
    window = given.window if given is not None else "28d"
    unknown = _unknown(some)
    if unknown is None:
        return _judged(product, service, model, target, stated is not None, window, some)
    return Joint(product, service, model, float(target), stated is not None, window, unknown.state, unknown.reason,
                 unknown.why, _parts(some, None))  # fmt: skip


def _chosen(answers: Mapping[tuple[str, str], Answer], names: Mapping[str, str]) -> list[Answer]:
    """One answer for each thing that is said of an answer: the first that was measured, else the first promised."""
    found: dict[str, Answer] = {}
    for signal, (half, says) in PARTS.items():
        answer = answers.get((names[half], signal))
        if answer is None or answer.asked.target is None or not _fits(answer):
            continue
        if says not in found or (not _counted(found[says]) and _counted(answer)):
            found[says] = answer
    return list(found.values())


def _fits(answer: Answer) -> bool:
    """Whether it counts answers: neither time nor one class alone."""
    given = answer.asked.objective
    return not answer.slices and answer.asked.measure in ("", "accuracy") and not (given and given.class_)


def _counted(answer: Answer) -> int:
    return (answer.objective or (0, 0))[1]


def _product(targets: Iterable[Fraction]) -> Fraction:
    found = Fraction(1)
    for one in targets:
        found *= one
    return found


def _unknown(some: Sequence[Answer]) -> slo.Verdict | None:
    """Why the joint objective cannot be answered; None where it can."""
    if len({(one.looks.since, one.looks.length) for one in some}) > 1:
        reason = "not applicable: the objectives of its parts look back over different windows"
        return slo.Verdict("unknown", reason, "not applicable")
    for one in some:
        if not _counted(one):
            judged = verdict(one)
            reason = f"{judged.reason} ({one.asked.component} {one.asked.signal.name})"
            return slo.Verdict("unknown", reason, judged.why)
    return None


def _errors(some: Sequence[Answer]) -> list[Fraction]:
    counts = [one.objective or (0, 0) for one in some]
    return [Fraction(total - good, total) if total else _NONE for good, total in counts]


def _parts(some: Sequence[Answer], shares: Sequence[Fraction] | None) -> tuple[Part, ...]:
    errors = _errors(some)
    return tuple(
        Part(*PARTS[one.asked.signal.name], one.asked.component, one.asked.signal.name, *(one.objective or (0, 0)),
             float(error), float(shares[place]) if shares else None)
        for place, (one, error) in enumerate(zip(some, errors, strict=True))
    )  # fmt: skip


def _judged(
    product: str, service: str, model: str, target: Fraction, stated: bool, window: str, some: Sequence[Answer]
) -> Joint:
    errors = _errors(some)
    whole, low, high = failure(errors)
    left, left_low, left_high = (1 - one / (1 - target) for one in (whole, high, low))
    shares = spent(errors)
    of_service = None
    if shares:
        halves = zip(some, shares, strict=True)
        of_service = sum((share for one, share in halves if PARTS[one.asked.signal.name][0] == "service"), _NONE)
    judged = _verdict(whole, left, target, of_service, service, model, stale=any(one.stale for one in some))
    return Joint(
        product, service, model, float(target), stated, window, judged.state, judged.reason, judged.why,
        _parts(some, shares), float(whole), float(low), float(high), float(left), float(left_low), float(left_high),
        None if of_service is None else float(of_service), None if of_service is None else 1 - float(of_service),
    )  # fmt: skip


def _verdict(
    whole: Fraction, left: Fraction, target: Fraction, of_service: Fraction | None, service: str, model: str, *,
    stale: bool,
) -> slo.Verdict:  # fmt: skip
    allowed = f"{slo.percent(whole)} failed where {slo.percent(1 - target)} may"
    if of_service is not None:
        most, share = (service, of_service) if of_service >= Fraction(1, 2) else (model, 1 - of_service)
        allowed += f", {slo.percent(share)} of it by {most}"
    if left < 0:
        return slo.Verdict("breached", allowed, "overspent")
    if left < slo.LITTLE_LEFT:
        return slo.Verdict("at risk", allowed, "little left")
    if stale:
        return slo.Verdict("unknown", f"stale: a source is later than its declared interval; {allowed}", "stale")
    return slo.Verdict("ok", allowed, "within target")


def json(one: Joint) -> dict[str, Any]:
    """A joint objective as JSON: plain values, None where nothing can be said."""
    return asdict(one) | {"parts": [asdict(part) for part in one.parts]}
