"""The answer of `tandem show`: plain values with fixed keys, null where something cannot be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from tandem import bins, explaining, joint, quality_json, standing, times
from tandem.config import Component
from tandem.corrections import Correction
from tandem.joint import Joint
from tandem.measure import Answer, Measures
from tandem.records import Event, Histogram
from tandem.shown import Cell, worst

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def answer(
    measures: Measures, component: Component, cell: Callable[[Measures, Answer], Cell], joints: Sequence[Joint] = ()
) -> dict[str, Any]:
    """All that is known of one component over the window; `joints` are what it promises together with others."""
    answers = measures.answers(measures.asked([component.name]))
    cells = [cell(measures, one) for one in answers]
    window = measures.window
    return {
        "component": component.name,
        "kind": component.kind,
        "product": component.product,
        "window": {"from": times.text(window.since), "to": times.text(window.until)},
        "as_of": measures.reader.as_of,
        "state": worst(one.state for one in cells if one.objective is not None),
        "signals": [_signal(measures, *pair) for pair in zip(answers, cells, strict=True)],
        "quality": quality_of(measures, component.name) if component.kind == "model" else None,
        "versions": versions(measures, component.name),
        "samples": samples(measures, component.name),
        "events": [_event(measures, *pair) for pair in _events(measures, component.name)],
        "joint": [joint.json(one) for one in joints],
        "corrections": [_correction(one) for one in measures.left_out_of([component.name])],
    }


def _correction(one: Correction) -> dict[str, Any]:
    return asdict(one) | {"since": times.text(one.since), "until": times.text(one.until)}


def _signal(measures: Measures, found: Answer, cell: Cell) -> dict[str, Any]:
    return {
        "signal": cell.signal,
        "side": cell.side,
        "source": cell.source or None,
        "good": found.good,
        "total": found.total,
        "value": cell.value,
        "coverage": found.coverage,
        "objective": _objective(cell),
        "state": cell.state,
        "reason": cell.reason,
        "why": cell.why,
        "corrected": cell.corrected,
        "bound": list(cell.bound) if cell.bound else None,
        "quantiles": _quantiles(found.value),
        "witnesses": [asdict(explaining.witness(measures, found, *pair)) for pair in found.witnesses],
    }


def _objective(cell: Cell) -> dict[str, Any] | None:
    one = cell.objective
    if one is None:
        return None
    return {
        "name": one.name,
        "target": one.target,
        "window": one.window,
        "budget_left": one.budget_left,
        "events_left": one.events_left,
        "good": one.good,
        "total": one.total,
        "burn": dict(one.burn),
        **standing.json(one),
    }


def _quantiles(value: object) -> dict[str, float | None] | None:
    if not isinstance(value, Histogram):
        return None
    found = {name: bins.quantile(value, q) for name, q in QUANTILES.items()}
    return {name: one.value if one else None for name, one in found.items()}


# -- quality of a model


def quality_of(measures: Measures, component: str) -> dict[str, Any]:
    """The measures of a model over the window; null where one cannot be computed."""
    return quality_json.answer(measures, component)


# -- versions, samples, events


def versions(measures: Measures, component: str) -> list[dict[str, Any]]:
    """The registered versions of a model as of this load, with the aliases that point at them.

    Of a version that two sources know, and of the aliases of a model, the first in their order says it.
    """
    known = measures.reader.events(0, measures.end, components=[component], kinds=["release", "promotion"],
                                   environment=measures.filters.environment)  # fmt: skip
    first: dict[tuple[str, str, str], int] = {}
    for source, event in sorted(known, key=lambda pair: measures.rank(pair[0])):
        first.setdefault(_registered(event), source)
    known = [pair for pair in known if first[_registered(pair[1])] == pair[0]]
    aliases: dict[tuple[str, str], str] = {}
    for _, event in sorted(known, key=lambda pair: (pair[1].ts_latest or pair[1].ts, pair[1].ts)):
        labels = dict(event.labels)
        if event.kind == "promotion" and "alias" in labels:
            aliases[labels.get("model", ""), labels["alias"]] = event.version
    rows = []
    for _, event in known:
        labels = dict(event.labels)
        if event.kind == "release" and "model" in labels and measures.filters.version in ("", event.version):
            mine = sorted(alias for (model, alias), version in aliases.items()
                          if model == labels["model"] and version == event.version)  # fmt: skip
            rows.append({
                "version": event.version, "created": times.text(event.ts), "run": event.run or None,
                "commit": event.commit or None, "data_version": event.data_version or None, "aliases": mine,
            })  # fmt: skip
    return rows


def _registered(event: Event) -> tuple[str, str, str]:
    """What one source says of a registry: a version, or all the moves of a model's aliases."""
    return event.kind, dict(event.labels).get("model", ""), event.version if event.kind == "release" else ""


def samples(measures: Measures, component: str) -> list[dict[str, Any]]:
    """The newest sample of each name and run, each run as the first source in order says it."""
    filters = measures.filters
    order = sorted(measures.reader.sources(), key=measures.rank)
    return [
        {"name": series.name, "value": value, "step": step, "ts": times.text(ts), "run": run or None,
         "version": series.version or None, "source": measures.source_name(series.source), "stage": series.stage}
        for series, ts, run, step, value in measures.reader.samples(
            component, measures.window.since, measures.window.until, order)
        if filters.version in ("", series.version) and filters.stage in ("production", series.stage)
    ]  # fmt: skip


def _events(measures: Measures, component: str) -> list[tuple[int, Event]]:
    found = measures.reader.events(measures.window.since, measures.window.until, components=[component],
                                   environment=measures.filters.environment, newest=True)  # fmt: skip
    return [pair for pair in found if measures.filters.version in ("", pair[1].version)]


def _event(measures: Measures, source: int, event: Event) -> dict[str, Any]:
    latest = event.ts_latest if event.ts_latest is not None else event.ts
    found: Mapping[str, Any] = {
        "kind": event.kind, "key": event.key, "ts": times.text(event.ts),
        "interval": {"from": times.text(event.ts), "to": times.text(latest)},
        "title": event.title or None,
        "version": event.version or None, "commit": event.commit or None,
        "source": measures.source_name(source), "url": event.url or None,
    }  # fmt: skip
    return dict(found)
