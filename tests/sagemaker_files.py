"""The files of SageMaker Model Monitor, made of values by hand as AWS documents them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np

RULES = {
    "monitoring_config": {
        "evaluate_constraints": "Enabled",
        "distribution_constraints": {
            "perform_comparison": "Enabled", "comparison_threshold": 0.1, "comparison_method": "Robust",
            "categorical_comparison_threshold": 0.2, "categorical_drift_method": "LInfinity",
        },
    }
}  # fmt: skip


def folder(ts: int, place: str = "claim-endpoint/sched-1") -> str:
    return f"{place}/{datetime.fromtimestamp(ts, UTC):%Y/%m/%d/%H}"


def statistics(columns: dict[str, list[Any]], *, kept: bool = True) -> dict[str, Any]:
    """statistics.json of columns; numbers come with the sketch's values (`kept`), or with its ten buckets alone."""
    rows = max(map(len, columns.values()))
    return {"version": 0.0, "dataset": {"item_count": rows},
            "features": [_feature(name, values, kept) for name, values in columns.items()]}  # fmt: skip


def _feature(name: str, values: list[Any], kept: bool) -> dict[str, Any]:
    there = [one for one in values if one is not None]
    common = {"num_present": len(there), "num_missing": len(values) - len(there)}
    if there and isinstance(there[0], str):
        buckets = [{"value": one, "count": there.count(one)} for one in sorted(set(there))]
        told = {"common": common, "distribution": {"categorical": {"buckets": buckets}}}
        return {"name": name, "inferred_type": "String", "string_statistics": told}
    told: dict[str, Any] = {"common": common}  # type: ignore[no-redef]
    if there:
        counts, edges = np.histogram(there, bins=10)
        buckets = [{"lower_bound": float(a), "upper_bound": float(b), "count": float(n)}
                   for a, b, n in zip(edges, edges[1:], counts, strict=False)]  # fmt: skip
        data = _levels(there) if kept else [[float(min(there))]]
        told["distribution"] = {
            "kll": {"buckets": buckets, "sketch": {"parameters": {"c": 0.64, "k": 2048.0}, "data": data}}
        }
    return {"name": name, "inferred_type": "Fractional", "numerical_statistics": told}


def _levels(values: list[float]) -> list[list[float]]:
    """What a sketch keeps of values: some themselves, of the others every second, worth two."""
    ordered = sorted(values)
    odd = len(ordered) % 2
    return [ordered[:odd], ordered[odd::2]]


def violations(*found: tuple[str, str, str]) -> dict[str, Any]:
    return {"violations": [{"feature_name": name, "constraint_check_type": check, "description": said}
                           for name, check, said in found]}  # fmt: skip


def drifted(name: str, distance: float = 0.3, threshold: float = 0.1) -> tuple[str, str, str]:
    return name, "baseline_drift_check", f"Baseline drift distance: {distance} exceeds threshold: {threshold}"


def quality(tn: int, fp: int, fn: int, tp: int) -> dict[str, Any]:
    n = tn + fp + fn + tp
    told = {"confusion_matrix": {"0": {"0": tn, "1": fp}, "1": {"0": fn, "1": tp}},
            "accuracy": {"value": (tn + tp) / n, "standard_deviation": "NaN"},
            "recall": {"value": tp / (tp + fn), "standard_deviation": "NaN"}}  # fmt: skip
    return {"version": 0.0, "dataset": {"item_count": n}, "binary_classification_metrics": told}


def data(document: Any) -> bytes:
    return json.dumps(document).encode()
