"""Lines as a collector writes them, and pulls of files that hold them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from connectors import otlp
from tandem.connect import Common
from tests.shelf import FAR, Shelf

HERE = Path(__file__).parent / "payloads" / "otel"
T0 = 1_795_200_000
"""A bucket's beginning."""
BOUNDS = (0.1, 0.5, 1.0)


def config(folder: Path, path: str = "*.json*", **keys: Any) -> otlp.Config:
    common = Common("otlp", "telemetry", folder=folder, **keys.pop("common", {"component": ("shop",)}))
    return otlp.Config(common, path, **keys)


def pulled(folder: Path, shelf: Shelf | None = None, until: int = FAR, keep: bool = True, **keys: Any) -> Shelf:
    shelf = shelf or Shelf()
    return shelf.take(otlp.fetch(config(folder, **keys), shelf.pull(until, keep=keep)))


def said(given: Mapping[str, object]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": str(value)}} for key, value in given.items()]


def nano(at: float) -> str:
    return str(round(at * 1_000_000) * 1000)


def metric(
    at: float, counts: Sequence[int], start: float = T0 - 5000, *, delta: bool = False, unit: str = "s",
    bound: Sequence[float] = BOUNDS, name: str = "http.server.request.duration", pod: str = "a", code: int = 200,
    service: str = "shop",
) -> str:  # fmt: skip
    """A line with one point of an explicit histogram."""
    point = {
        "startTimeUnixNano": nano(start), "timeUnixNano": nano(at), "count": str(sum(counts)), "sum": 1.5,
        "bucketCounts": [str(n) for n in counts], "explicitBounds": list(bound),
        "attributes": said({"http.response.status_code": code}),
    }  # fmt: skip
    kind = {"dataPoints": [point], "aggregationTemporality": 1 if delta else 2}
    return _metrics({"name": name, "unit": unit, "histogram": kind}, service, pod)


def exponential(
    at: float, counts: Sequence[int], scale: int, offset: int, *, zero: int = 0, start: float = T0 - 5000,
    unit: str = "s", delta: bool = False, pod: str = "a", negative: Sequence[int] = (),
) -> str:  # fmt: skip
    point = {
        "startTimeUnixNano": nano(start), "timeUnixNano": nano(at), "count": str(sum(counts) + zero),
        "scale": scale, "zeroCount": zero, "positive": {"offset": offset, "bucketCounts": [str(n) for n in counts]},
        "negative": {"bucketCounts": list(negative)},
    }  # fmt: skip
    kind = {"dataPoints": [point], "aggregationTemporality": 1 if delta else 2}
    return _metrics({"name": "http.server.request.duration", "unit": unit, "exponentialHistogram": kind}, "shop", pod)


def _metrics(told: Any, service: str, pod: str) -> str:
    resource = {"attributes": said({"service.name": service, "service.instance.id": pod, "service.version": "7"})}
    return json.dumps({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [told]}]}]}) + "\n"


def span(
    end: float, lasted: float = 0.2, number: int = 1, *, kind: Any = 2, code: int | None = 200, failed: bool = False,
    service: str = "shop", name: str = "GET /cart", **attributes: object,
) -> str:  # fmt: skip
    given = {key.replace("__", "."): value for key, value in attributes.items()}
    if code is not None:
        given["http.response.status_code"] = code
    told = {
        "traceId": f"{number:032x}", "spanId": f"{number:016x}", "name": name, "kind": kind,
        "startTimeUnixNano": nano(end - lasted), "endTimeUnixNano": nano(end), "attributes": said(given),
        "status": {"code": 2} if failed else {},
    }  # fmt: skip
    resource = {"attributes": said({"service.name": service})}
    return json.dumps({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [told]}]}]}) + "\n"


def written(folder: Path, *lines: str, name: str = "otel.json") -> Path:
    path = folder / name
    path.write_text("".join(lines))
    return path


def counted(shelf: Shelf) -> dict[int, tuple[int, int]]:
    return {ts - T0: (ratio.good, ratio.total) for ts, ratio in sorted(shelf.ratios().items())}
