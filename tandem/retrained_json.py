"""The key `training` of `tandem show --json`: what followed each onset of drift or breach of a model."""

from __future__ import annotations

from typing import Any

from tandem import times
from tandem.records import BUCKET
from tandem.retrained import Counts, Effect, Followed, Promotion, Retrained, Training


def answer(found: Retrained) -> dict[str, Any]:
    """Onsets newest first; null where nothing is known. `after - before` is `change`, with Newcombe's interval."""
    return {
        "sentence": found.sentence,
        "reported": bool(found.sources),
        "sources": list(found.sources),
        "told": _time(found.told),
        "from": times.text(found.since),
        "to": times.text(found.now // BUCKET * BUCKET),
        "onsets": [_followed(one) for one in found.rows],
    }


def _time(ts: int | None) -> str | None:
    return None if ts is None else times.text(ts)


def _followed(row: Followed) -> dict[str, Any]:
    onset = row.onset
    return {
        "kind": onset.kind,
        "signal": onset.signal,
        "features": list(onset.what) if onset.kind == "drift" else [],
        "objective": onset.what[0] if onset.kind == "breach" else None,
        "since": times.text(onset.since),
        "until": _time(onset.until),
        "at_least": onset.early,
        "unknown": row.unknown or None,
        "trainings": None if row.unknown else row.trainings,
        "training": _training(row.training) if row.training else None,
        "promotion": _promotion(row.promotion) if row.promotion else None,
        "effects": [_effect(one) for one in row.effects],
    }


def _training(one: Training) -> dict[str, Any]:
    return {
        "key": one.key, "title": one.title, "run": one.run or None, "started": times.text(one.started),
        "ended": _time(one.ended), "outcome": one.outcome, "by": one.trigger.by or None,
        "trigger": one.trigger.word or None, "actor": one.trigger.actor or None, "source": one.source,
        "url": one.url or None,
    }  # fmt: skip


def _promotion(one: Promotion) -> dict[str, Any]:
    return {
        "version": one.version or None, "interval": {"from": times.text(one.since), "to": times.text(one.until)},
        "joined": one.joined, "source": one.source, "url": one.url or None,
    }  # fmt: skip


def _effect(one: Effect) -> dict[str, Any]:
    return {
        "state": one.state, "reason": one.reason, "measure": one.measure or None, "of": one.of or None,
        "before": _counts(one.before), "after": _counts(one.after), "change": one.change,
        "interval": {"low": one.interval[0], "high": one.interval[1]} if one.interval else None,
    }  # fmt: skip


def _counts(one: Counts | None) -> dict[str, Any] | None:
    if one is None:
        return None
    ends = one.interval
    return {
        "from": times.text(one.since), "to": times.text(one.until), "good": one.good, "total": one.total,
        "bound": None if one.most is None else [one.good, one.most], "days": one.days,
        "value": one.share, "interval": {"low": ends[0], "high": ends[1]} if ends else None,
    }  # fmt: skip
