"""Taking records in: checked, moved in time, and given their components."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tandem import place
from tandem.connect import Common
from tandem.records import (
    BUCKET,
    Baseline,
    Batch,
    Confusion,
    Event,
    Fact,
    Histogram,
    Moments,
    Ratio,
    Record,
    Sample,
    Series,
)

SKEW = 300
"""Seconds by which a time may lie in the future before it is rejected."""


@dataclass
class Intake:
    """What one pull lets in, and what it had to leave out."""

    common: Common
    until: int
    shift: int
    moved: bool
    """Whether the source's files may reach past now (`shift_days` is set); what lies there is not yet."""
    series: dict[Series, list[Series]] = field(default_factory=dict)
    findings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    held_back: int = 0
    low: int | None = None
    high: int | None = None
    """The first and the last time of the records taken in."""

    def records(self, given: Sequence[Record]) -> list[Record]:
        """The records that count, in the store's time and under their components."""
        found = _placed_facts(self, [record for record in given if isinstance(record, Fact)])
        for record in given:
            if not isinstance(record, Fact):
                found += _others(self, record)
        return found


def _others(intake: Intake, record: Record) -> Iterator[Record]:
    if isinstance(record, Event):
        yield from _placed_event(intake, record)
    elif isinstance(record, Batch):
        yield from _placed_batch(intake, record)
    else:
        reason = _wrong(intake, record)
        if reason == "":
            if not isinstance(record, Baseline):
                _reach(intake, int(record.ts) + intake.shift)
            for series in _series(intake, record.series):
                yield _moved(intake, record, series)
        elif reason is not None:
            intake.findings[("reject", reason, f"{record.series.signal} of {record.series.component or 'labels'}")] += 1


def _placed_facts(intake: Intake, facts: Sequence[Fact]) -> list[Record]:
    """The facts that count, under their components; by far the most of all records, so no step too many."""
    shift, limit, places = intake.shift, intake.until - intake.shift, intake.series
    found: list[Record] = []
    for fact in facts:
        if fact.ts >= limit or _wrong_value(fact.value):
            reason = _wrong(intake, fact)
            if reason is None:
                continue
            if reason:
                intake.findings[("reject", reason, f"{fact.series.signal} of {fact.series.component or 'labels'}")] += 1
                continue
        for series in places.get(fact.series) or _series(intake, fact.series):
            found.append(Fact(series, fact.ts + shift, fact.value))
    if found:
        times = [one.ts for one in found if isinstance(one, Fact)]
        _reach(intake, min(times))
        _reach(intake, max(times) + BUCKET)
    return found


def _reach(intake: Intake, ts: int) -> None:
    intake.low = ts if intake.low is None else min(intake.low, ts)
    intake.high = ts if intake.high is None else max(intake.high, ts)


def _moved(intake: Intake, record: Fact | Sample | Baseline, series: Series) -> Record:
    if isinstance(record, Fact):
        return Fact(series, record.ts + intake.shift, record.value)
    if isinstance(record, Baseline):
        return replace(record, series=series, since=record.since + intake.shift, until=record.until + intake.shift)
    return Sample(series, record.ts + intake.shift, record.value, record.run, record.step)


def _series(intake: Intake, series: Series) -> list[Series]:
    found = intake.series.get(series)
    if found is None:
        found = intake.series[series] = place.series_of(series, intake.common)
    if not found:
        intake.findings[("unmatched", json.dumps(dict(series.labels), sort_keys=True), "")] += 1
    return found


def _wrong(intake: Intake, record: Fact | Sample | Baseline) -> str | None:
    """Why a record cannot be counted: "" if it can, None if it only is not yet."""
    if isinstance(record, Baseline):
        return ""
    if isinstance(record, Sample):
        if record.value is not None and not math.isfinite(record.value):
            return "not a finite number"
    else:
        reason = _wrong_value(record.value)
        if reason:
            return reason
    if record.ts + intake.shift >= intake.until:
        if intake.moved:
            intake.held_back += 1
            return None
        return "a time in the future" if record.ts > intake.until + SKEW else ""
    return ""


def _wrong_value(value: Ratio | Histogram | Confusion | Moments) -> str:
    if isinstance(value, Ratio):
        if value.good > value.total:
            return "more good than total"
        return "a negative count" if value.good < 0 else ""
    if isinstance(value, Histogram):
        return "a negative count" if any(n < 0 for n in value.counts.values()) else ""
    if isinstance(value, Confusion):
        return "a negative count" if any(n < 0 for n in value.cells.values()) else ""
    return "a negative count" if value.n < 0 or value.squares < 0 else ""


def _placed_event(intake: Intake, event: Event) -> Iterator[Event]:
    reason = _wrong_event(intake, event)
    if reason:
        intake.findings[("reject", reason, f"{event.kind} {event.key}")] += 1
        return
    if event.ts + intake.shift >= intake.until + (0 if intake.moved else SKEW):
        intake.held_back += 1
        return
    placed = place.event_of(event, intake.common)
    if placed is None:
        intake.findings[("unmatched", json.dumps(dict(event.labels), sort_keys=True), "")] += 1
        return
    known = _event_now(placed, intake.shift, intake.until) if intake.moved else placed
    begins_later = placed.started is not None and known.started is None
    intake.held_back += begins_later or known.outcome != placed.outcome  # its file is read again
    if not (begins_later and known.attempt > 1):
        _reach(intake, known.ts)
        yield known


def _wrong_event(intake: Intake, event: Event) -> str:
    begun = event.started if event.started is not None else event.ts
    if event.ended is not None and event.ended < begun:
        return "a negative duration"
    if not intake.moved and event.ts > intake.until + SKEW:
        return "a time in the future"
    return ""


def _event_now(event: Event, shift: int, now: int) -> Event:
    """The event moved by `shift`, as it could be known at `now`: what has not ended yet is open."""

    def moved(ts: int | None) -> int | None:
        return None if ts is None or ts + shift > now else ts + shift

    event = replace(
        event, ts=event.ts + shift, started=moved(event.started),
        ts_latest=None if event.ts_latest is None else min(event.ts_latest + shift, now),
        revision=event.revision + shift if event.revision > 0 else event.revision,
    )  # fmt: skip
    if event.ended is not None and event.ended + shift > now:
        return replace(event, ended=None, outcome="open")
    return replace(event, ended=moved(event.ended))


def _placed_batch(intake: Intake, batch: Batch) -> Iterator[Batch]:
    components = [_series(intake, series) for series in batch.series]
    columns = dict(batch.columns)
    columns["ts"] = columns["ts"] + intake.shift
    keep = columns["ts"] < intake.until + (0 if intake.moved else SKEW)
    known = _known(components, columns["series"])
    if not (keep & known).all():
        columns = {name: values[keep & known] for name, values in columns.items()}
        intake.held_back += int((~keep).sum())
    if len(columns["ts"]):
        _reach(intake, int(columns["ts"].min()))
        _reach(intake, int(columns["ts"].max()) + BUCKET)
    for turn in range(max((len(found) for found in components), default=0)):
        series = tuple(found[min(turn, len(found) - 1)] if found else one
                       for found, one in zip(components, batch.series, strict=True))  # fmt: skip
        yield Batch(batch.kind, series, batch.layouts, columns)


def _known(components: list[list[Series]], index: Any) -> Any:
    return np.array([bool(found) for found in components], dtype=bool)[np.asarray(index, dtype=np.int64)]
