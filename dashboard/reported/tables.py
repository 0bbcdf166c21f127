"""The tables of a report as plain rows, and those as CSV and JSON: every number of the file, unrounded."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from dashboard.reported.gathered import Gathered
from dashboard.text import csvsafe
from tandem import api, delivery, delivery_json, times
from tandem.shown import Cell

Row = Mapping[str, Any]


def tables(found: Gathered) -> dict[str, list[Row]]:
    """Every table by name; times are ISO 8601 UTC, shares are of 1, what is not known is None."""
    return {name: list(make(found)) for name, make in TABLES.items()}


def _objectives(found: Gathered) -> Iterable[Row]:
    for detail in found.details:
        yield from (_objective(cell) for cell in detail.cells if cell.objective is not None)


def _objective(cell: Cell) -> Row:
    one = cell.objective
    assert one is not None, "only cells with an objective come here"
    return {
        "component": cell.component, "signal": cell.signal, "objective": one.name, "state": cell.state,
        "reason": cell.reason, "target": one.target, "threshold": one.threshold, "window": one.window,
        "good": one.good, "total": one.total, "actual": one.good / one.total if one.total else None,
        "budget_left": one.budget_left, "events_left": one.events_left, "coverage": one.coverage,
        "left_out_s": one.corrected, **{f"burn_{name}": rate for name, rate in sorted(one.burn.items())},
        "source": cell.source,
    }  # fmt: skip


def _signals(found: Gathered) -> Iterable[Row]:
    for detail in found.details:
        for cell in detail.cells:
            yield {
                "component": cell.component, "side": cell.side, "signal": cell.signal, "shown": cell.text,
                "measure": cell.measure, "of": cell.of, "value": cell.value, "good": cell.good, "total": cell.total,
                "unit": cell.unit, "coverage": cell.coverage, "state": cell.state, "reason": cell.reason,
                "source": cell.source,
            }  # fmt: skip


def _changes(found: Gathered) -> Iterable[Row]:
    for one in found.overview.changes:
        yield {
            "from": times.text(one.ts), "to": times.text(one.ended) if one.ended is not None else None,
            "lane": one.lane, "kind": one.kind, "components": ", ".join(one.components), "title": one.title,
            "version": one.version or None, "outcome": one.outcome, "source": one.source, "url": one.url or None,
            "key": one.key,
        }  # fmt: skip


def _delivery(found: Gathered) -> Iterable[Row]:
    for part in found.delivered.parts:
        metrics = delivery_json.answer(found.delivered, part)["metrics"]
        for metric in delivery.METRICS:
            plain = {key: value for key, value in metrics[metric].items() if not isinstance(value, Mapping | list)}
            low, high = metrics[metric].get("interval") or (None, None)
            yield {"component": part.component, "side": part.side, "metric": metric, "reported": part.reported, **plain,
                   "low": low, "high": high}  # fmt: skip


def _quality(found: Gathered) -> Iterable[Row]:
    for detail in found.details:
        for one in detail.model.measures if detail.model else ():
            low, high = one.interval or (None, None)
            yield {
                "model": detail.component, "measure": one.name, "value": one.value, "unit": one.unit, "low": low,
                "high": high, "good": one.good, "n": one.n, "of": one.of, "how": one.how or None,
            }  # fmt: skip


def _drift(found: Gathered) -> Iterable[Row]:
    for detail in found.details:
        for one in detail.features:
            yield {
                "model": detail.component, "row": one.feature, "drift": one.drift, "type": one.type,
                "n_reference": one.n_reference, "n_current": one.n_current, "effect": one.effect, "psi": one.psi,
                "js": one.js, "ks": one.ks, "wasserstein": one.wasserstein, "noise_floor": one.noise_floor, "p": one.p,
                "verdict": one.verdict, "severity": one.severity or None,
            }  # fmt: skip


def _versions(found: Gathered) -> Iterable[Row]:
    for detail in found.details:
        for one in detail.versions:
            yield {"component": detail.component,
                   **{key: ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
                      for key, value in one.items()}}  # fmt: skip


def _sources(found: Gathered) -> Iterable[Row]:
    for one in found.sources:
        yield {
            "source": one.name, "connector": one.connector, "scope": one.scope, "state": one.state,
            "newest": times.text(one.newest) if one.newest is not None else None,
            "last_pull": times.text(one.last_pull) if one.last_pull is not None else None,
            "coverage": one.coverage, "every_s": one.every or None, "said": one.last_error or one.summary or None,
            "left_out": sum(number for _, _, number in one.rejects),
            "remarks": sum(number for _, _, number in one.remarks),
        }  # fmt: skip


TABLES: Mapping[str, Callable[[Gathered], Iterable[Row]]] = {
    "objectives": _objectives, "signals": _signals, "changes": _changes, "delivery": _delivery, "quality": _quality,
    "drift": _drift, "versions": _versions, "sources": _sources,
}  # fmt: skip


def as_csv(rows: Sequence[Row]) -> bytes:
    """RFC 4180 with a head; texts so that no spreadsheet runs them, numbers as they are."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in columns])
    return out.getvalue().encode("utf-8")


def _cell(value: Any) -> Any:
    if isinstance(value, str):
        return csvsafe(value)
    return "" if value is None else str(value).lower() if isinstance(value, bool) else value


def files(found: Gathered) -> dict[str, bytes]:
    """Every table as NAME.csv and NAME.json; an empty one has no columns."""
    made: dict[str, bytes] = {}
    for name, rows in tables(found).items():
        made[f"{name}.csv"], made[f"{name}.json"] = as_csv(rows), api.dumps(rows)
    return made


def archive(found: Gathered) -> bytes:
    """The same files in one ZIP, byte for byte the same for the same numbers."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files(found).items():
            packed.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), content, zipfile.ZIP_DEFLATED)
    return out.getvalue()
