"""From the store to the explanation of one number that stands on a screen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem import bins, explained, joint
from tandem.catalog import Signal
from tandem.explained import Explained, Facts, Question, Witness
from tandem.measure import Answer, Asked, Measures
from tandem.records import Confusion, Histogram
from tandem.shown import Cell, Drifts, Unreadable


@dataclass(frozen=True, slots=True)
class Means:
    """What says the numbers, as all pages and commands say them: cells, quality, drift and delivery of a component."""

    drawn: Callable[[Measures, Answer], Cell]
    quality: Callable[[Measures, str], Mapping[str, Any]]
    drifts: Callable[[str], Drifts]
    delivery: Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Number:
    """Which number on a screen: `number` of a signal (and one of its objectives) of a component.

    Without a component it is that of a card, over all components of `product`. `feature` and `measure` name a number
    of drift or of quality instead of a signal's, `joint` one of the budget that is shared with that component.
    """

    component: str = ""
    signal: str = ""
    objective: str = ""
    number: str = "value"
    product: str = ""
    measure: str = ""
    feature: str = ""
    joint: str = ""
    delivery: str = ""


def answer(measures: Measures, number: Number, question: Question, means: Means) -> Explained:
    """The explanation of one number; raises Unreadable where there is none such."""
    if number.component and all(one.name != number.component for one in measures.components):
        raise Unreadable("there is no such component; see the list of services and models.")
    if number.measure:
        return _quality(measures, number, question, means)
    if number.feature:
        return _drift(number, question, means)
    if number.delivery:
        return explained.of_delivery(means.delivery(number.component), number.delivery, number.number,
                                     number.component, question)  # fmt: skip
    if number.joint:
        return _joint(measures, number, question)
    signal = measures.config.signals.get(number.signal)
    if signal is None:
        raise Unreadable(f"there is no signal {number.signal[:40]!r}.")
    if not number.component:
        return _card(measures, number, signal, question, means)
    found = measures.answers(_asked(measures, number))
    if not found:
        raise Unreadable(f"nothing is measured under {number.signal!r} of {number.component!r}.")
    one = found[0]
    return explained.of_cell(_facts(measures, one, means.drawn(measures, one)), number.number, question)


def _asked(measures: Measures, number: Number) -> list[Asked]:
    """The signal with the objective that is named, or with its first."""
    some = measures.asked([number.component], [number.signal])
    return [one for one in some if number.objective in ("", _named(one))][:1]


def _named(one: Asked) -> str:
    own = one.objective.name if one.objective else ""
    return own or f"{one.component} {one.measure or one.signal.name}"


def _facts(measures: Measures, found: Answer, cell: Cell) -> Facts:
    quantiles = {}
    if isinstance(found.value, Histogram) and found.value.layout.kind != "categories":
        quantiles = {name: bins.quantile(found.value, float(f"0.{name[1:]}")) for name in explained.QUANTILES}
    return Facts(
        cell=cell, signal=found.asked.signal, looks=explained.looks_of(found.burns), quantiles=quantiles,
        witnesses=[witness(measures, found, *pair) for pair in found.witnesses],
        newest=measures.newest.get(found.source),
    )  # fmt: skip


def witness(measures: Measures, found: Answer, source: int, value: Any) -> Witness:
    """What another source counted of the same, with its difference from what counts."""
    good, total = measures.counts(found.asked, value) or (None, None)
    share = good / total if good is not None and total else None
    mine = found.good / found.total if found.good is not None and found.total else None
    difference = share - mine if share is not None and mine is not None else None
    return Witness(measures.source_name(source), good, total, share, difference)


def _card(measures: Measures, number: Number, signal: Signal, question: Question, means: Means) -> Explained:
    signals = ("outcome", "error") if number.signal in ("outcome", "error") else (number.signal,)
    chosen = [one.name for one in measures.components if number.product in ("", one.product)]
    first: dict[tuple[str, str], Asked] = {}
    for one in measures.asked(chosen, signals):
        first.setdefault((one.component, one.signal.name), one)
    cells: Sequence[Cell] = [means.drawn(measures, one) for one in measures.answers(list(first.values()))]
    return explained.of_card(cells, signal, {"product": number.product}, question)


def _joint(measures: Measures, number: Number, question: Question) -> Explained:
    found = joint.of_components(measures, [number.component])[number.component]
    one = next((one for one in found if number.joint in (one.service, one.model)), None)
    if one is None:
        raise Unreadable(f"{number.component!r} shares no budget with {number.joint[:80]!r}.")
    return explained.of_joint(one, number.number, number.component, question)


def _drift(number: Number, question: Question, means: Means) -> Explained:
    rows = means.drifts(number.component).rows
    row = next((one for one in rows if one.feature == number.feature), None)
    if row is None:
        raise Unreadable(f"there is no drift of {number.feature[:80]!r} here.")
    return explained.of_drift(row, number.number, number.component, question)


def _quality(measures: Measures, number: Number, question: Question, means: Means) -> Explained:
    series = measures.series(number.component, "outcome")
    cells: dict[tuple[str, str], int] = {}
    for _, merge in measures.merges("confusion", number.component, "outcome", series):
        for key, cell in merge.items():
            cells[key] = cells.get(key, 0) + int(cell[0])
    classes = sorted({name for key in cells for name in key})
    positive = measures.positive(number.component, Confusion(cells)) if classes else ""
    found = means.quality(measures, number.component)
    return explained.of_quality(found, cells, positive, number.measure, number.component, question)
