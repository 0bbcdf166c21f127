"""Ratios and histograms that follow from events: builds, deployments, trainings, validations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tandem.bins import DURATION, codes, quanta
from tandem.records import Event, Histogram, Ratio, bucket_of

SUCCESS = {
    "build": "build_success",
    "deployment": "deploy_success",
    "infrastructure": "deploy_success",
    "training": "training_success",
    "validation": "validation_success",
}
LASTED = {
    "build": "build_duration",
    "deployment": "deploy_duration",
    "infrastructure": "deploy_duration",
    "training": "training_duration",
}


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one object adds to one bucket of one signal of its components."""

    signal: str
    components: tuple[str, ...]
    environment: str
    ts: int
    value: Ratio | Histogram


def contributions(attempts: Sequence[Event]) -> list[Contribution]:
    """All that the attempts of one object add to the ratios and histograms; the newest attempt decides its outcome.

    A success counts in the bucket in which the object was created, the duration of each attempt in the bucket in
    which that attempt ended, its waiting in the bucket in which it started. A change of infrastructure counts where it
    was applied from a beginning to an end; drift and scaling, which have none, only happened.
    """
    if not attempts or attempts[0].kind not in SUCCESS:
        return []
    if attempts[0].kind == "infrastructure":
        attempts = [event for event in attempts if event.ended is not None or event.ts_latest is not None]
        if not attempts:
            return []
    found = _successes(max(attempts, key=lambda event: event.attempt))
    for event in attempts:
        found += _durations(event)
    return found


def _successes(newest: Event) -> list[Contribution]:
    if newest.outcome not in ("good", "bad"):
        return []
    good = 1 if newest.outcome == "good" else 0
    return [_of(newest, SUCCESS[newest.kind], newest.ts, Ratio(good, 1))]


def _durations(event: Event) -> list[Contribution]:
    found = []
    begun = event.started if event.started is not None else event.ts
    if event.kind in LASTED and event.ended is not None and event.outcome in ("good", "bad"):
        found.append(_of(event, LASTED[event.kind], event.ended, _lasting(event.ended - begun)))
    if event.kind == "build" and event.attempt == 1 and event.started is not None:
        found.append(_of(event, "queue_time", event.started, _lasting(event.started - event.ts)))
    return found


def _of(event: Event, signal: str, ts: int, value: Ratio | Histogram) -> Contribution:
    return Contribution(signal, event.components, event.environment, bucket_of(ts), value)


def _lasting(seconds: int) -> Histogram:
    value = np.array([float(seconds)])
    place = int(codes(DURATION, value)[0])
    return Histogram(DURATION, {place: 1}, {place: int(quanta(value, DURATION.digits or 0)[0])})
