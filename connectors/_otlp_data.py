"""One document of the OpenTelemetry protocol in JSON to plain values: histogram points and spans.

Written against the published protocol: ids are hexadecimal, 64-bit integers are text, enumerations are numbers.
Exporters exist that write base64 ids, bare numbers and names of enumerations; what they mean is plain, so it is read.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._counters import Native
from tandem.bins import ZERO

SCALE = 4
"""Finest scale that is kept: 16 bins for each doubling. Finer ones are merged to it, exactly."""
_TEMPORALITY = {1: 1, 2: 2, "AGGREGATION_TEMPORALITY_DELTA": 1, "AGGREGATION_TEMPORALITY_CUMULATIVE": 2}
_SERVER = (2, "SPAN_KIND_SERVER")
_FAILED = (2, "STATUS_CODE_ERROR")

Attributes = Mapping[str, str]


class Unusable(ValueError):
    """A point or span that cannot be counted; says why."""


@dataclass(frozen=True)
class Point:
    """One point of a histogram. Times in nanoseconds; `start` 0 is unknown. `bounds` in the metric's own unit."""

    metric: str
    unit: str
    key: str
    attributes: Attributes
    start: int
    time: int
    is_cumulative: bool
    count: int
    counts: Sequence[int] = ()
    bounds: tuple[float, ...] = ()
    native: Native | None = None


@dataclass(frozen=True)
class Span:
    """One span. Times in nanoseconds, ids in hexadecimal."""

    trace: str
    id: str
    name: str
    is_server: bool
    start: int
    end: int
    attributes: Attributes
    failed: bool


@dataclass
class Telemetry:
    """What one resource said in one document."""

    resource: Attributes
    points: list[Point] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def telemetry(document: Any, wanted: frozenset[str]) -> Iterator[Telemetry]:
    """Everything in one document, resource by resource; of metrics only histograms whose name is `wanted`."""
    if not isinstance(document, dict):
        return
    for told in _list(document, "resourceMetrics", "resource_metrics"):
        found = Telemetry(attributes_of(_object(told, "resource").get("attributes")))
        for scope in _list(told, "scopeMetrics", "scope_metrics", "instrumentationLibraryMetrics"):
            for metric in _list(scope, "metrics"):
                if metric.get("name") in wanted:
                    _points(metric, found)
        yield found
    for told in _list(document, "resourceSpans", "resource_spans"):
        found = Telemetry(attributes_of(_object(told, "resource").get("attributes")))
        for scope in _list(told, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
            for raw in _list(scope, "spans"):
                try:
                    found.spans.append(_span(raw))
                except Unusable as error:
                    found.wrong.append(str(error))
        yield found


def is_foreign(raw: bytes) -> bool:
    """Whether an exporter wrote enumerations by name (and with them ids in base64), as the protocol does not."""
    return any(mark in raw for mark in (b'"AGGREGATION_TEMPORALITY_', b'"SPAN_KIND_', b'"STATUS_CODE_'))


def attributes_of(told: Any) -> dict[str, str]:
    """Key and text of each attribute; lists and tables are left out."""
    found: dict[str, str] = {}
    for one in told if isinstance(told, list) else ():
        value = one.get("value") if isinstance(one, dict) else None
        if not isinstance(value, dict) or not isinstance(one.get("key"), str):
            continue
        for kind in ("stringValue", "intValue", "doubleValue", "boolValue", "string_value", "int_value"):
            if kind in value:
                said = value[kind]
                found[one["key"]] = str(said).lower() if isinstance(said, bool) else str(said)
    return found


def _points(metric: Mapping[str, Any], found: Telemetry) -> None:
    name, unit = str(metric["name"]), str(metric.get("unit") or "")
    for kind, read in (("histogram", _explicit), ("exponentialHistogram", _exponential)):
        told = metric.get(kind)
        if not isinstance(told, dict):
            continue
        temporality = _TEMPORALITY.get(told.get("aggregationTemporality", 0))
        for raw in _list(told, "dataPoints", "data_points"):
            try:
                if temporality is None:
                    raise Unusable(f"{name} states neither delta nor cumulative")
                if not integer(raw.get("flags", 0)) & 1:
                    found.points.append(read(raw, name, unit, temporality == 2, found.resource))
            except Unusable as error:
                found.wrong.append(str(error))
    if "histogram" not in metric and "exponentialHistogram" not in metric:
        found.wrong.append(f"{name} is no histogram")


def _common(raw: Mapping[str, Any], name: str, unit: str, cumulative: bool, resource: Attributes) -> dict[str, Any]:
    attributes = attributes_of(raw.get("attributes"))
    start, time = integer(raw.get("startTimeUnixNano", 0)), integer(raw.get("timeUnixNano", 0))
    if time <= 0:
        raise Unusable(f"a point of {name} has no time")
    told = json.dumps([name, unit, sorted(resource.items()), sorted(attributes.items())])
    return {
        "metric": name, "unit": unit, "key": hashlib.sha256(told.encode()).hexdigest()[:16], "attributes": attributes,
        # A start that is not before the time says that it is not known.
        "start": start if 0 < start < time else 0,
        "time": time, "is_cumulative": cumulative, "count": integer(raw.get("count", 0)),
    }  # fmt: skip


def _explicit(raw: Mapping[str, Any], name: str, unit: str, cumulative: bool, resource: Attributes) -> Point:
    common = _common(raw, name, unit, cumulative, resource)
    counts = [integer(one) for one in raw.get("bucketCounts") or ()]
    bounds = tuple(_number(one) for one in raw.get("explicitBounds") or ())
    if counts and (len(counts) != len(bounds) + 1 or list(bounds) != sorted(set(bounds))):
        raise Unusable(f"a point of {name} has bounds that do not fit its counts")
    if counts and sum(counts) != common["count"]:
        raise Unusable(f"the buckets of a point of {name} do not add up to its count")
    if min([common["count"], *counts]) < 0:
        raise Unusable(f"a point of {name} has a negative count")
    return Point(**common, counts=counts, bounds=bounds)


def _exponential(raw: Mapping[str, Any], name: str, unit: str, cumulative: bool, resource: Attributes) -> Point:
    common = _common(raw, name, unit, cumulative, resource)
    if any(integer(one) for one in _object(raw, "negative").get("bucketCounts") or ()):
        raise Unusable(f"a point of {name} holds negative durations")
    scale, positive = integer(raw.get("scale", 0)), _object(raw, "positive")
    schema = min(scale, SCALE)
    if not -10 <= scale <= 20:
        raise Unusable(f"a point of {name} has a scale outside -10 to 20")
    bins: dict[int, int] = {}
    step = 1 << (scale - schema)
    # The protocol's bin i lies above base**i; ours lies up to base**i, so it is one more.
    for index, told in enumerate(positive.get("bucketCounts") or (), integer(positive.get("offset", 0)) + 1):
        if n := integer(told):
            place = -(-index // step)
            bins[place] = bins.get(place, 0) + n
    filled = schema if bins else None
    if zero := integer(raw.get("zeroCount", 0)):
        bins[ZERO] = zero
    if min([0, *bins.values()]) < 0 or sum(bins.values()) != common["count"]:
        raise Unusable(f"the buckets of a point of {name} do not add up to its count")
    threshold = _number(raw.get("zeroThreshold", 0.0))
    return Point(**common, native=Native(common["count"], filled, bins, threshold))


def _span(raw: Mapping[str, Any]) -> Span:
    start, end = integer(raw.get("startTimeUnixNano", 0)), integer(raw.get("endTimeUnixNano", 0))
    if start <= 0 or end <= 0:
        raise Unusable("a span has no beginning or no end")
    if end < start:
        raise Unusable("a span ends before it begins")
    status = _object(raw, "status").get("code")
    return Span(
        trace=_id(raw.get("traceId"), 32),
        id=_id(raw.get("spanId"), 16),
        name=str(raw.get("name") or ""),
        is_server=raw.get("kind") in _SERVER,
        start=start,
        end=end,
        attributes=attributes_of(raw.get("attributes")),
        failed=status in _FAILED,
    )


def _id(told: Any, digits: int) -> str:
    """An id in hexadecimal, whether it is written so or in base64."""
    text = told if isinstance(told, str) else ""
    if len(text) == digits and set(text.lower()) <= set("0123456789abcdef"):
        return text.lower()
    try:
        return base64.b64decode(text, validate=True).hex() or text
    except ValueError:
        return text


def integer(told: Any) -> int:
    """A 64-bit integer, text or number; raises Unusable."""
    if isinstance(told, bool) or not isinstance(told, int | str):
        raise Unusable("a count or time is no whole number")
    try:
        value = int(told)
    except ValueError:
        raise Unusable("a count or time is no whole number") from None
    if not -(2**63) <= value < 2**64:
        raise Unusable("a count or time is no whole number")
    return value


def _number(told: Any) -> float:
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        raise Unusable("a bound is no number")
    try:
        value = float(told)
    except ValueError:
        raise Unusable("a bound is no number") from None
    if not math.isfinite(value):
        raise Unusable("a bound is no finite number")
    return value


def _object(told: Any, name: str) -> Mapping[str, Any]:
    found = told.get(name) if isinstance(told, dict) else None
    return found if isinstance(found, dict) else {}


def _list(told: Any, *names: str) -> list[Mapping[str, Any]]:
    for name in names:
        found = told.get(name) if isinstance(told, dict) else None
        if isinstance(found, list):
            return [one for one in found if isinstance(one, dict)]
    return []
