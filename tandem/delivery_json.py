"""Delivery in the answer of `tandem show`: plain values with fixed keys, null where something cannot be computed."""

from __future__ import annotations

from typing import Any

from tandem import delivery, times
from tandem.delivered import Delivered, Part
from tandem.delivery import Five, Frequency, Metric, Rate, Times
from tandem.flaky import Flaky
from tandem.linking import Fate, Link


def answer(found: Delivered, part: Part) -> dict[str, Any]:
    """The delivery of one component: five metrics with trend and step, its changes, links and flaky tests.

    Times are seconds; a metric's denominator stands beside it; `before` is the window that the trend compares with.
    """
    return {
        "reading": delivery.READING[part.side],
        "reported": part.reported,
        "before": {"from": times.text(found.compared.since), "to": times.text(found.compared.until)},
        "metrics": {metric: _metric(metric, part) for metric in delivery.METRICS},
        "never_ran": part.now.never_ran,
        "unfinished": part.now.unfinished,
        "changes": [change(fate) for fate in part.fates],
        "links": [_link(link) for link in found.links if link.component == part.component],
        "flaky_from": times.text(found.flaky_since),
        "flaky": [unsteady(one) for one in found.flaky if one.component == part.component],
    }


def _metric(metric: Metric, part: Part) -> dict[str, Any]:
    now, before = getattr(part.now, metric), getattr(part.before, metric)
    moved = delivery.trend(metric, part.now, part.before)
    return {
        "name": delivery.NAMES[part.side][metric],
        **_value(now, part.now),
        "before": _value(before, part.before),
        "trend": {"sign": moved.sign, "word": moved.word, "clear": moved.clear},
        "step": delivery.step(metric, part.now),
    }


def _value(found: Times | Frequency | Rate, whole: Five) -> dict[str, Any]:
    if isinstance(found, Times):
        known = {"known_by": dict(found.known_by)} if found is whole.lead_time else {"open": found.open}
        return {
            "unit": "s",
            "p50": found.p50,
            "p75": found.p75,
            "p90": found.p90,
            "n": found.n,
            "of": found.of,
            **known,
        }
    value = found.value
    shown = None if value is None else float(value)
    if isinstance(found, Frequency):
        return {"unit": "per day", "value": shown, "n": found.n, "days": float(found.days),
                "days_with": found.days_with, "days_of": found.days_of}  # fmt: skip
    interval = list(found.interval) if found.interval else None
    return {"unit": "ratio", "value": shown, "k": found.k, "n": found.n, "interval": interval}


def change(fate: Fate) -> dict[str, Any]:
    """One change with what became of it."""
    one = fate.change
    return {
        "kind": one.kind, "ts": times.text(one.ts), "running": times.text(one.running) if fate.reached else None,
        "outcome": one.outcome, "version": one.version or None, "commit": one.commit or None,
        "digest": one.digest or None, "title": one.title or None, "url": next(iter(one.urls), None),
        "seen_by": [{"source": source, "key": key} for source, key in one.told],
        "lead_time": fate.lead, "lead_time_from": fate.lead_from or None,
        "failed": [_link(link) for link in fate.failed], "recovery_time": fate.recovery,
        "rework": fate.rework or None,
    }  # fmt: skip


def _link(link: Link) -> dict[str, Any]:
    return {
        "kind": link.kind, "cause": link.cause, "change": link.change or None, "ts": times.text(link.at),
        "until": None if link.until is None else times.text(link.until), "rule": link.rule, "reason": link.reason,
        "title": link.title or None, "url": link.url or None,
    }  # fmt: skip


def unsteady(one: Flaky) -> dict[str, Any]:
    """One flaky test or build."""
    rate = one.flip_rate
    return {
        "kind": one.kind, "name": one.name, "suite": one.suite or None, "source": one.source, "flakes": one.flakes,
        "runs": one.runs, "flip_rate": None if rate is None else float(rate), "minutes_lost": one.seconds / 60,
        "last": times.text(one.last), "listed": one.listed, "why": one.why,
    }  # fmt: skip
