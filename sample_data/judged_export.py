"""What other tools say of the same predictions: Evidently, NannyML and whylogs, each run at the end of a day."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sample_data.packing import gzipped, uuid7
from sample_data.prediction_logs import LOGS, logged
from sample_data.story import DAY, END, FEATURE_SHIFT, MISSING_VALUES, PROMOTION, START, at, stamp

Columns = Mapping[str, np.ndarray]
SINCE = at("2026-10-12 00:00")
"""The first day that Evidently and whylogs looked at."""
REFERENCE = at("2026-09-14 00:00"), SINCE
LIMIT = 0.2
"""The team's threshold: at 640 rows a day Evidently's own, 0.1, would often call chance a drift."""


def write(folder: Path) -> None:
    """A workspace of Evidently, a result of NannyML, and a CSV of whylogs for each day."""
    logs = {name: logged(name) for name in LOGS}
    _workspace(folder / "evidently", logs["query-intent"])
    estimated = folder / "nannyml" / "fraud-detector" / "estimated_performance.csv"
    estimated.parent.mkdir(parents=True)
    estimated.write_text(_estimates(logs["fraud-detector"]), encoding="utf-8", newline="\n")
    for day in range(SINCE, END, DAY):
        text = _view(_part(logs["click-model"], day, day + DAY), day)
        gzipped(folder / "whylogs" / "click-model" / f"profile_{stamp(day)[:10]}.csv.gz", text.encode())


def truth() -> str:
    """When the tools that judge the same predictions see what was planted, as tables of truth.toml."""
    first = FEATURE_SHIFT.start // DAY * DAY
    begun = MISSING_VALUES.start // DAY * DAY + DAY  # it begins late in the evening before
    return "\n".join([
        "[[judged]]", 'tool = "evidently"', 'component = "query-intent"', 'feature = "query_length"',
        f"first_day = {stamp(first)}", f"reports = {(END - SINCE) // DAY}", "",
        "[[judged]]", 'tool = "whylogs"', 'component = "click-model"', 'feature = "days_since_visit"',
        f"first_day = {stamp(begun)}", f"reports = {(END - SINCE) // DAY}", "",
        "# NannyML takes the model at its word: it sees that something is wrong, and not how much.",
        "[[judged]]", 'tool = "nannyml"', 'component = "fraud-detector"', f"first_day = {stamp(PROMOTION.start)}",
        f"reports = {(END - START) // DAY}", "estimate_before = 0.964", "estimate_after = 0.934", "",
    ])  # fmt: skip


def _part(log: Columns, since: int, until: int) -> dict[str, np.ndarray]:
    chosen = (log["ts"] >= since * 1_000_000) & (log["ts"] < until * 1_000_000)
    return {name: values[chosen] for name, values in log.items()}


# -- Evidently 0.7: a workspace with one project, a snapshot a day of the preset for drift, and of counts

PROJECT = "019d3a52-7c10-7b1e-9f6a-5d0c2b8e41aa"
NUMBERS = ("query_length", "results", "session_clicks", "seconds_since_last")
TEXTS = ("device", "language")


def _workspace(folder: Path, log: Columns) -> None:
    home = folder / PROJECT
    told = {"id": PROJECT, "name": "query-intent", "description": None, "org_id": None, "version": "2"}
    _write(home / "metadata.json", told)
    reference = _part(log, *REFERENCE)
    for day in range(SINCE, END, DAY):
        key = uuid7(f"snapshot {day}", day + DAY + 2400)
        _write(home / "snapshots" / f"{key}.json", _snapshot(day, reference, _part(log, day, day + DAY)))


def _write(path: Path, document: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, separators=(",", ":")), encoding="utf-8", newline="\n")


def _snapshot(day: int, reference: Columns, current: Columns) -> dict[str, Any]:
    judged = {name: ("Wasserstein distance (normed)", _moved(reference[name], current[name])) for name in NUMBERS}
    judged |= {name: ("Jensen-Shannon distance", _jensen_shannon(reference[name], current[name])) for name in TEXTS}
    results = [_drift(name, *found) for name, found in judged.items()]
    drifted = sum(value >= LIMIT for _, value in judged.values())
    rows = len(current["ts"])
    results.append(_counted("DriftedColumnsCount", {"drift_share": 0.5}, "Count of Drifted Columns", drifted,
                            drifted / len(judged)))  # fmt: skip
    results.append(_single("RowCount", {}, "Row count in dataset", float(rows)))
    results.append(_counted("DatasetMissingValueCount", {}, "Dataset missing values", 0, 0.0))
    return {
        "report": {"items": []}, "name": None, "timestamp": stamp(day + DAY + 2400).replace("Z", "+00:00"),
        "metadata": {"model_version": str(current["model_version"][-1])}, "tags": ["nightly"],
        "metric_results": {one["metric_value_location"]["metric"]["metric_id"]: one for one in results},
        "top_level_metrics": [one["metric_value_location"]["metric"]["metric_id"] for one in results],
        "widgets": [], "tests_widgets": [],
    }  # fmt: skip


def _moved(reference: np.ndarray, current: np.ndarray) -> float:
    """The distance between two distributions, in standard deviations of the reference."""
    both = np.sort(np.concatenate([reference, current]))
    one, other = (np.searchsorted(np.sort(part), both[:-1], side="right") / len(part) for part in (reference, current))
    return float(np.sum(np.abs(one - other) * np.diff(both)) / max(float(np.std(reference)), 0.001))


def _jensen_shannon(reference: np.ndarray, current: np.ndarray) -> float:
    """With natural logarithms, as Evidently has it."""
    values = np.unique(np.concatenate([reference, current]))
    p, q = (np.array([np.mean(part == value) for value in values]) for part in (reference, current))
    middle = (p + q) / 2
    sums = [np.sum(part[part > 0] * np.log(part[part > 0] / middle[part > 0])) for part in (p, q)]
    return float(np.sqrt(sum(sums) / 2))


def _drift(column: str, method: str, value: float) -> dict[str, Any]:
    params = {"column": column, "method": method, "threshold": LIMIT}
    said = f"Data drift {'' if value >= LIMIT else 'not '}detected. Drift detection method: {method}. "
    shown = (f"Drift in column '{column}'", f"{said}Drift score: {value:.3f}")
    return _single("ValueDrift", params, f"Value drift for {column}", value, shown)


def _single(
    kind: str, params: Mapping[str, object], title: str, value: float, shown: tuple[str, str] | None = None
) -> dict[str, Any]:  # fmt: skip
    widget = _counter(kind, params, shown or (f"{value:g}", title))
    return {**_result(kind, "SingleValue", params, title, {}), "widget": [widget], "value": value}


def _counted(kind: str, params: Mapping[str, object], title: str, count: int, share: float) -> dict[str, Any]:
    parts = {
        name: {**_result(kind, "SingleValue", params, said, {"value_type": name}), "widget": None, "value": value}
        for name, said, value in (("count", title, float(count)), ("share", title.replace("Count", "Share"), share))
    }
    shown = (f"{count} ({share:.0%})", title)
    return {**_result(kind, "CountValue", params, title, {}), "widget": [_counter(kind, params, shown)], **parts}


def _result(
    kind: str, shape: str, params: Mapping[str, object], title: str, part: Mapping[str, str]
) -> dict[str, Any]:  # fmt: skip
    whole = {"type": f"evidently:metric_v2:{kind}", **params}
    key = hashlib.md5(json.dumps(whole).encode(), usedforsecurity=False).hexdigest()
    return {
        "type": f"evidently:metric_result_v2:{shape}", "display_name": title,
        "metric_value_location": {"metric": {"metric_id": key, "params": whole}, "param": dict(part)}, "tests": [],
    }  # fmt: skip


def _counter(kind: str, params: Mapping[str, object], shown: tuple[str, str]) -> dict[str, Any]:
    return {
        "type": "counter", "title": "", "size": 2, "id": uuid7(f"{kind} {params}", SINCE), "details": "",
        "alertsPosition": None, "alertStats": None,
        "params": {"counters": [{"value": shown[0], "label": shown[1]}]}, "insights": [], "additionalGraphs": [],
        "alerts": [], "tabs": [],
    }  # fmt: skip


# -- NannyML: how right the model should be by its own scores, for each day (CBPE); labels come late, this does not

FIELDS = ("value", "sampling_error", "realized", "upper_confidence_boundary", "lower_confidence_boundary",
          "upper_threshold", "lower_threshold", "alert")  # fmt: skip
CHUNK = ("key", "chunk_index", "start_index", "end_index", "start_date", "end_date", "period")
FITTED = START + 28 * DAY
"""The end of the reference."""


def _estimates(log: Columns) -> str:
    """What `estimator.estimate(...).to_df().to_csv(...)` writes, with its two lines of heads."""
    days = list(range(START, END, DAY))
    sure = [_sure(_part(log, day, day + DAY)) for day in days]
    known = [float(np.mean(one)) for one, day in zip(sure, days, strict=True) if day < FITTED]
    middle, spread = float(np.mean(known)), float(np.std(known))
    deviation = float(np.std(np.concatenate([one for one, day in zip(sure, days, strict=True) if day < FITTED])))
    out = io.StringIO()
    out.write("," + ",".join(["chunk"] * len(CHUNK) + ["accuracy"] * len(FIELDS)) + "\n")
    out.write("," + ",".join(CHUNK + FIELDS) + "\n")
    first = {"reference": 0, "analysis": 0}
    numbers = {"reference": 0, "analysis": 0}
    for place, (day, some) in enumerate(zip(days, sure, strict=True)):
        period = "reference" if day < FITTED else "analysis"
        value, error = float(np.mean(some)), deviation / float(np.sqrt(len(some)))
        low, high = middle - 3 * spread, min(middle + 3 * spread, 1.0)
        date = stamp(day)[:10]
        row: list[object] = [
            place, date, numbers[period], first[period], first[period] + len(some) - 1, f"{date} 00:00:00.000000000",
            f"{date} 23:59:59.999999999", period, value, error, "", min(value + 3 * error, 1.0), value - 3 * error,
            high, low, not low <= value <= high,
        ]  # fmt: skip
        out.write(",".join(map(str, row)) + "\n")
        first[period] += len(some)
        numbers[period] += 1
    return out.getvalue()


def _sure(log: Columns) -> np.ndarray:
    """The probability, by the model itself, that each answer is right."""
    return np.where(log["predicted"] == 1, log["score"], 1 - log["score"])


# -- whylogs: the view of the profile of each day

QUANTILES = (("min", 0.0), ("q_01", 0.01), ("q_05", 0.05), ("q_10", 0.1), ("q_25", 0.25), ("median", 0.5),
             ("q_75", 0.75), ("q_90", 0.9), ("q_95", 0.95), ("q_99", 0.99), ("max", 1.0))  # fmt: skip
HEAD = ("column", "cardinality/est", "counts/inf", "counts/n", "counts/nan", "counts/null", "counts/true",
        *(f"distribution/{name}" for name, _ in QUANTILES), "distribution/mean", "distribution/n",
        "distribution/stddev", "type", "types/boolean", "types/fractional", "types/integral", "types/object",
        "types/string", "types/tensor", "frequent_items/frequent_strings", "dataset_timestamp")  # fmt: skip
PROFILED = ("days_since_visit", "basket_value", "views_7d", "position", "device", "age_band", "predicted")


def _view(log: Columns, day: int) -> str:
    """What `view.to_pandas().to_csv(...)` writes, with the time of the data set in a column of its own."""
    lines = [",".join(HEAD)]
    for name in PROFILED:
        row = {"column": name, "type": "COLUMN", "dataset_timestamp": day * 1000, **dict(_profiled(log[name]))}
        zeros = {field: 0 for field in HEAD if field.startswith(("counts", "types"))}
        lines.append(",".join(_cell({**zeros, **row}.get(field, "")) for field in HEAD))
    return "\n".join(lines) + "\n"


def _profiled(values: np.ndarray) -> Iterator[tuple[str, object]]:
    yield "counts/n", len(values)
    if values.dtype.kind == "U":
        found, counts = np.unique(values, return_counts=True)
        yield "cardinality/est", float(len(found))
        yield "types/string", len(values)
        yield "distribution/n", 0
        yield "frequent_items/frequent_strings", _items(found, counts)
        return
    missing = np.isnan(values) if values.dtype.kind == "f" else np.zeros(len(values), dtype=bool)
    known = np.sort(values[~missing])
    yield "cardinality/est", float(len(np.unique(known)))
    yield "counts/nan", int(missing.sum())
    yield "counts/null", int(missing.sum())
    yield f"types/{'fractional' if values.dtype.kind == 'f' else 'integral'}", len(known)
    for name, share in QUANTILES:
        yield f"distribution/{name}", float(known[min(int(share * len(known)), len(known) - 1)])
    yield "distribution/mean", float(np.mean(known))
    yield "distribution/stddev", float(np.std(known, ddof=1))
    yield "distribution/n", len(known)


def _items(found: Sequence[str] | np.ndarray, counts: np.ndarray) -> str:
    order = np.argsort(-counts, kind="stable")
    some = (f"FrequentItem(value='{found[n]}', est={counts[n]}, upper={counts[n]}, lower={counts[n]})" for n in order)
    return f"[{', '.join(some)}]"


def _cell(value: object) -> str:
    text = str(value)
    return f'"{text}"' if "," in text else text
