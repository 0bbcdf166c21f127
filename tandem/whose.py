"""Whose verdict is whose: what each tool says of a model, beside what Tandem finds itself, and which source counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem import times, told
from tandem.explained import Witness
from tandem.explaining import witness
from tandem.measure import Answer, Measures
from tandem.shown import FeatureDrift
from tandem.store.file import Kept
from tandem.store.sampled import samples
from tandem.told import Direction

ESTIMATED = "estimated"
_Row = tuple[Kept, float, str, int, float]


@dataclass(frozen=True, slots=True)
class Judgement:
    """What one tool last said of one feature by one method in the window, and what Tandem finds over all of it.

    `drift` is the tool's own verdict, None where it gives neither one nor a rule. `times` is how often it judged in
    the window, `found` how often it said drift. `own` is Tandem's verdict of the same feature, None where it does not
    hold both distributions: then it cannot judge.
    """

    feature: str
    source: str
    method: str
    direction: Direction
    ts: float
    value: float | None
    threshold: float | None
    lower: float | None
    drift: bool | None
    times: int
    found: int
    version: str = ""
    segment: str = ""
    own: str | None = None
    own_effect: float | None = None

    @property
    def agree(self) -> bool | None:
        """Whether both say the same; None where either says nothing."""
        if self.drift is None or self.own not in ("drift", "no drift"):
            return None
        return self.drift is (self.own == "drift")


@dataclass(frozen=True, slots=True)
class Counting:
    """One signal that several sources have: the one that counts, why it does, and what the others counted."""

    signal: str
    title: str
    source: str
    why: str
    good: int | None
    total: int | None
    value: float | None
    witnesses: tuple[Witness, ...]


@dataclass(frozen=True, slots=True)
class Estimated:
    """What a tool estimates of a measure before labels come: never counted, never judged, drawn beside the counted.

    `points` are (time, value); `name` is the sample's own.
    """

    name: str
    source: str
    version: str
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True, slots=True)
class Whose:
    """All judges of one model."""

    judgements: tuple[Judgement, ...] = ()
    counting: tuple[Counting, ...] = ()
    estimated: tuple[Estimated, ...] = ()


def whose(
    measures: Measures, component: str, answers: Sequence[Answer], features: Sequence[FeatureDrift]
) -> Whose:  # fmt: skip
    """What every tool says of a component in the window; `features` are Tandem's own verdicts over it."""
    return Whose(
        tuple(judgements(measures, component, features)), tuple(_counting(measures, answers)),
        tuple(_estimated(measures, component)),
    )  # fmt: skip


def _samples(measures: Measures, component: str, stage: str) -> list[_Row]:
    """The samples of one stage in the window that the filters leave."""
    wanted = measures.filters
    some = measures.reader.series(component=component, signal="sample", environment=wanted.environment, stage=stage)
    left = [kept for kept in some if wanted.version in ("", kept.placed.version)
            and wanted.segment in ("", kept.placed.segment)]  # fmt: skip
    if stage != ESTIMATED:
        left = [kept for kept in left if told.told(kept.placed.name)]
    return samples(measures.reader, left, measures.window.since, measures.window.until)


# -- drift


def judgements(
    measures: Measures, component: str, features: Sequence[FeatureDrift]
) -> list[Judgement]:  # fmt: skip
    """One for each source, feature, method, version and segment; those that say drift first, then by name."""
    groups: dict[tuple[Any, ...], dict[float, dict[str, float]]] = {}
    for kept, ts, _, _, value in _samples(measures, component, measures.filters.stage):
        name = told.told(kept.placed.name)
        assert name is not None, "only judgements were read"
        key = (kept.placed.source, *name.of, kept.placed.version, kept.placed.segment)
        groups.setdefault(key, {}).setdefault(ts, {})[name.part] = value
    own = {one.feature: one for one in features if one.drift == "data drift"}
    found = [_judgement(measures, key, looks, own) for key, looks in groups.items()]
    return sorted(found, key=lambda one: (one.drift is not True, one.feature, one.source, one.method))


def _judgement(
    measures: Measures, key: tuple[Any, ...], looks: Mapping[float, Mapping[str, float]],
    own: Mapping[str, FeatureDrift],
) -> Judgement:  # fmt: skip
    source, feature, method, direction, version, segment = key
    ts = max(looks)
    last, said = looks[ts], [_verdict(parts, direction) for parts in looks.values()]
    # Tandem's verdict is that of everything: beside one version or segment stands none.
    mine = own.get(feature) if not segment else None
    return Judgement(
        feature, measures.source_name(source), method, direction, ts, last.get("value"), last.get("threshold"),
        last.get("lower threshold"), _verdict(last, direction), len(said), sum(one is True for one in said), version,
        segment, mine.verdict if mine else None, mine.effect if mine else None,
    )  # fmt: skip


def _verdict(parts: Mapping[str, float], direction: Direction) -> bool | None:
    if "verdict" in parts:
        return parts["verdict"] != 0
    if "value" not in parts:
        return None
    return told.drifts(parts["value"], direction, parts.get("threshold"), parts.get("lower threshold"))


# -- counts


def _counting(measures: Measures, answers: Sequence[Answer]) -> Iterable[Counting]:
    seen: set[str] = set()
    for found in answers:
        signal = found.asked.signal
        if not found.witnesses or signal.name in seen:
            continue
        seen.add(signal.name)
        value = found.good / found.total if found.good is not None and found.total else None
        others = tuple(witness(measures, found, *pair) for pair in found.witnesses)
        yield Counting(signal.name, signal.title, measures.source_name(found.source), _why(measures, found.source),
                       found.good, found.total, value, others)  # fmt: skip


def _why(measures: Measures, source: int) -> str:
    """Why one of several sources counts."""
    configured = measures.configured.get(source)
    if configured is None:
        return "imported; no configured source has it"
    if configured.common.combine == "sum":
        return "they add up, as configured"
    return "primary, as configured" if configured.common.primary else "the first in tandem.toml that saw it"


# -- estimates


def _estimated(measures: Measures, component: str) -> Iterable[Estimated]:
    groups: dict[tuple[str, int, str], list[tuple[float, float]]] = {}
    for kept, ts, _, _, value in _samples(measures, component, ESTIMATED):
        placed = kept.placed
        if not placed.segment:
            groups.setdefault((placed.name, placed.source, placed.version), []).append((ts, value))
    for (name, source, version), points in sorted(groups.items(), key=lambda pair: pair[0]):
        yield Estimated(name, measures.source_name(source), version, tuple(points))


def json(one: Judgement) -> dict[str, Any]:
    """A judgement as plain values; a verdict is "drift", "no drift" or null, `tandem` is Tandem's own."""
    verdict = {True: "drift", False: "no drift", None: None}[one.drift]
    return {
        "feature": one.feature, "source": one.source, "method": one.method, "direction": one.direction,
        "ts": times.text(int(one.ts)), "value": one.value, "threshold": one.threshold, "lower_threshold": one.lower,
        "verdict": verdict, "judged": one.times, "drifting": one.found, "version": one.version or None,
        "segment": one.segment or None, "tandem": one.own,
    }  # fmt: skip
