"""The answer of `tandem show`: plain values with fixed keys, null where something cannot be computed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tandem import bins, quality, scores, times
from tandem.config import Component
from tandem.measure import Answer, Measures
from tandem.records import Confusion, Event, Histogram, Moments, Ratio, merged
from tandem.shown import Cell, worst
from tandem.store.file import Kept

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


def answer(measures: Measures, component: Component, cell: Callable[[Measures, Answer], Cell]) -> dict[str, Any]:
    """All that is known of one component over the window."""
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
        "versions": _versions(measures, component.name),
        "samples": _samples(measures, component.name),
        "events": [_event(measures, *pair) for pair in _events(measures, component.name)],
    }


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
        "quantiles": _quantiles(found.value),
        "witnesses": [_witness(measures, found, *pair) for pair in found.witnesses],
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
    }


def _quantiles(value: object) -> dict[str, float | None] | None:
    if not isinstance(value, Histogram):
        return None
    found = {name: bins.quantile(value, q) for name, q in QUANTILES.items()}
    return {name: one.value if one else None for name, one in found.items()}


def _witness(measures: Measures, found: Answer, source: int, value: Any) -> dict[str, Any]:
    counts = measures.counts(found.asked, value) or (None, None)
    share = counts[0] / counts[1] if counts[0] is not None and counts[1] else None
    mine = found.good / found.total if found.good is not None and found.total else None
    return {
        "source": measures.source_name(source),
        "good": counts[0],
        "total": counts[1],
        "value": share,
        "difference": share - mine if share is not None and mine is not None else None,
    }


# -- quality of a model


def quality_of(measures: Measures, component: str) -> dict[str, Any]:
    """The measures of a model over the window; null where one cannot be computed."""
    predictions = _ratio(measures, component, "volume").total
    coverage = _ratio(measures, component, "label_coverage")
    confusion = _one(measures, component, "outcome", Confusion({}))
    task = _task(measures, component, confusion)
    found: dict[str, Any] = dict.fromkeys(
        (
            "accuracy",
            "precision",
            "recall",
            "f1",
            "averaging",
            "roc_auc",
            "mae",
            "rmse",
            "bias",
            "r2",
        )
    )
    if isinstance(confusion, Confusion) and confusion.cells:
        positive = measures.positive(component, confusion) if task == "binary" else None
        result = quality.classification(confusion, positive)
        found |= {name: getattr(result, name) for name in ("accuracy", "precision", "recall", "f1", "averaging")}
    if task == "binary":
        found |= _scores(measures, component, confusion)
    found |= _errors(measures, component)
    labels = coverage.good if coverage.total else sum(confusion.cells.values())
    return {
        "task": task,
        "predictions": predictions or None,
        "labels": labels,
        "label_coverage": coverage.good / coverage.total if coverage.total else None,
        **found,
    }


def _task(measures: Measures, component: str, confusion: Confusion) -> str | None:
    for source in measures.config.sources:
        if component in source.common.component and hasattr(source.config, "task"):
            return str(source.config.task)
    if measures.series(component, "error", "error"):
        return "regression"
    classes = {name for key in confusion.cells for name in key}
    return None if not classes else "binary" if len(classes) <= 2 else "multiclass"


def _merges(measures: Measures, component: str, signal: str, kind: str, name: str) -> list[tuple[Kept, Any]]:
    return measures.merges(kind, component, signal, measures.series(component, signal, name))


def _ratio(measures: Measures, component: str, signal: str) -> Ratio:
    rows = _merges(measures, component, signal, "ratio", "")
    return merged(Ratio(), [Ratio(int(cell[0]), int(cell[1])) for _, cell in rows])


def _one(measures: Measures, component: str, signal: str, zero: Confusion) -> Confusion:
    rows = _merges(measures, component, signal, "confusion", "")
    parts = [measures.value("confusion", kept, cell) for kept, cell in rows]
    return merged(zero, [part for part in parts if isinstance(part, Confusion)])


def _moments(measures: Measures, component: str, signal: str, name: str) -> Moments:
    rows = _merges(measures, component, signal, "moments", name)
    parts = [measures.value("moments", kept, cell) for kept, cell in rows]
    return merged(Moments(), [part for part in parts if isinstance(part, Moments)])


def _scores(measures: Measures, component: str, confusion: Confusion) -> dict[str, Any]:
    positive = measures.positive(component, confusion)
    by_class: dict[bool, list[Histogram]] = {True: [], False: []}
    for name in measures.names(component, "score"):
        if name in ("", "log_loss", "brier"):
            continue
        for kept, cells in _merges(measures, component, "score", "histogram", name):
            one = measures.value("histogram", kept, cells)
            if isinstance(one, Histogram):
                by_class[name == positive].append(one)
    found: dict[str, Any] = {}
    if by_class[True] and by_class[False]:
        auc = scores.roc_auc(bins.merge(by_class[False]).histogram, bins.merge(by_class[True]).histogram)
        found["roc_auc"] = {"value": auc.value, "bound": auc.bound} if auc else None
    return found


def _errors(measures: Measures, component: str) -> dict[str, Any]:
    error, absolute, target = (_moments(measures, component, "error", name) for name in ("error", "absolute", "target"))
    if not error.n:
        return {}
    found = quality.regression(error, absolute, target)
    return {"mae": found.mae, "rmse": found.rmse, "bias": found.bias, "r2": found.r2}


# -- versions, samples, events


def _versions(measures: Measures, component: str) -> list[dict[str, Any]]:
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


def _samples(measures: Measures, component: str) -> list[dict[str, Any]]:
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
