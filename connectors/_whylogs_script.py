"""Profiles of whylogs as JSON, one line for each; run by a Python that has whylogs, never inside Tandem.

Standard input is a row of profiles, each with its length in 8 bytes (little-endian) before it; the first line of the
answer then says which whylogs there is. Protocol buffers and sketches are all that is read.
By hand, for profiles that Tandem cannot reach:

    PYTHON -I _whylogs_script.py PROFILE.bin ... > profiles.jsonl
"""

from __future__ import annotations

import importlib
import json
import math
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

FORMAT = "tandem whylogs profile 1"
RANKS = 400
"""Quantiles of a column that are told, beside its least and its greatest value."""
MEMORY = 6_000_000_000
"""Bytes of address space that reading may take."""


def main(paths: Sequence[str]) -> None:
    """Read, and write a line for each profile."""
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whylogs may print
    _limit()
    if not paths:
        _write(out, {"format": FORMAT, **_ready()})
    for data in _given(paths):  # what whylogs breaks on ends the run: the caller goes on behind it
        _write(out, _told(data))


def _write(out: TextIO, document: dict[str, Any]) -> None:
    json.dump(document, out, allow_nan=False)
    out.write("\n")
    out.flush()


def _ready() -> dict[str, str]:
    try:
        return {"whylogs": importlib.import_module("whylogs").__version__}
    except ImportError as error:
        return {"error": type(error).__name__}


def _limit() -> None:
    if sys.platform == "linux":
        resource = importlib.import_module("resource")
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def _given(paths: Sequence[str]) -> Iterator[bytes]:
    for path in paths:
        with open(path, "rb") as opened:  # noqa: PTH123
            yield opened.read()
    while not paths and (size := sys.stdin.buffer.read(8)):
        yield sys.stdin.buffer.read(int.from_bytes(size, "little"))


def _told(data: bytes) -> dict[str, Any]:
    view = _view(data)
    return {
        "format": FORMAT,
        "dataset_timestamp": _ms(view.dataset_timestamp),
        "creation_timestamp": _ms(view.creation_timestamp),
        "tags": {str(key): str(value) for key, value in (view.metadata or {}).items()},
        "columns": {name: _column(one) for name, one in view.get_columns().items()},
        "performance": _performance(view.model_performance_metrics),
    }


def _view(data: bytes) -> Any:
    """The profile, of the format with a magic number or of the one before it, which performance is written in."""
    if data.startswith(b"WHY1"):
        views = importlib.import_module("whylogs.core.view.dataset_profile_view")
        return views.DatasetProfileView.deserialize(data)
    converters = importlib.import_module("whylogs.migration.converters")
    with tempfile.NamedTemporaryFile(suffix=".bin") as kept:
        kept.write(data)
        kept.flush()
        return converters.read_v0_to_view(kept.name, False)


def _ms(when: Any) -> int | None:
    return None if when is None else round(when.timestamp() * 1000)


def _column(column: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("counts", "types"):
        metric = column.get_metric(name)
        found[name] = metric.to_summary_dict() if metric is not None else {}
    distribution = column.get_metric("distribution")
    if distribution is not None and distribution.kll.value.get_n():
        found["distribution"] = _distribution(distribution.kll.value)
    frequent = column.get_metric("frequent_items")
    if frequent is not None:
        items = frequent.to_summary_dict().get("frequent_strings") or []
        found["items"] = [[str(one.value), int(one.est), int(one.lower), int(one.upper)] for one in items]
    return found


def _distribution(sketch: Any) -> dict[str, Any]:
    """The share below and up to each of many values; the sketch tells them as well as it knows them."""
    asked = sketch.get_quantiles([rank / RANKS for rank in range(RANKS + 1)])
    values = sorted({float(value) for value in asked if math.isfinite(value)})
    above = [math.nextafter(value, math.inf) for value in values]
    error = sketch.normalized_rank_error(False) if sketch.is_estimation_mode() else 0.0
    return {"n": sketch.get_n(), "values": values, "below": _shares(sketch, values), "upto": _shares(sketch, above),
            "error": error, "finite": all(math.isfinite(value) for value in asked)}  # fmt: skip


def _shares(sketch: Any, values: Sequence[float]) -> list[float]:
    return [float(share) for share in sketch.get_cdf(values)][:-1] if values else []


def _performance(metrics: Any) -> dict[str, Any]:
    if metrics is None:
        return {}
    found: dict[str, Any] = {}
    matrix = metrics.confusion_matrix
    if matrix is not None and matrix.labels:
        cells = [[str(matrix.labels[predicted]), str(matrix.labels[actual]), int(one.n)]
                 for (predicted, actual), one in matrix.confusion_matrix.items()]  # fmt: skip
        found["confusion"] = [cell for cell in cells if cell[2]]
    errors = metrics.regression_metrics
    if errors is not None and errors.count:
        found["regression"] = {"n": int(errors.count), "sum": float(errors.sum_diff),
                               "absolute": float(errors.sum_abs_diff), "squares": float(errors.sum2_diff)}  # fmt: skip
    return found


if __name__ == "__main__":
    main(sys.argv[1:])
