"""What telemetry adds up to: requests and their latency from histograms or server spans, builds and deployments.

For each service and bucket requests are counted in one way: by its metric from the bucket of that metric's first
point on, by its server spans before. What a cumulative histogram said last is remembered, so that only its growth
counts.
"""

from __future__ import annotations

import hashlib
import json
from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from typing import Any, Literal

import numpy as np

from connectors._counters import BRIDGE, Native, native
from connectors._latency import UNITS
from connectors._otlp_data import Attributes, Point, Span, Telemetry
from connectors._otlp_runs import Runs
from tandem.bins import DURATION, ZERO, Layout
from tandem.intervals import union
from tandem.records import BUCKET, Covered, Event, Fact, Finding, Histogram, Ratio, Series, bucket_of, labels_of

METRICS = ("http.server.request.duration", "rpc.server.call.duration", "http.server.duration", "rpc.server.duration")
"""Durations of requests by the semantic conventions, newest names first: a service's first one of these counts."""
STATE = 900_000
"""Most bytes of what is kept between pulls."""
_SECOND = 1_000_000_000
_OLD_UNITS = {"http.server.duration": "ms", "rpc.server.duration": "ms"}
_EDGES = [round(Fraction(str(edge)) * _SECOND) for edge in DURATION.edges]
_MS_SHAPED = (0.0, 5.0, 10.0, 25.0)
"""How the default bounds of the SDKs begin: made for milliseconds, useless where the unit is seconds."""
_GRPC_BAD = frozenset({"2", "4", "12", "13", "14", "15"})
_GRPC_NAMED = {"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"}
_RECENT_SPANS = 5_000
_RECENT_POINTS = 8
_FAR = 1 << 62

Requests = Literal["auto", "metrics", "spans"]


@dataclass
class Service:
    """How the requests of one service are counted. Buckets in epoch seconds."""

    metric: str = ""
    since: int = _FAR
    """The first bucket that its metric counts in; spans count before."""
    spans_until: int = 0
    """The end of the last bucket in which its spans were counted."""
    seen: int = 0
    """Nanoseconds of its last span."""


@dataclass
class Memory:
    """What one pull leaves for the next. Losing it costs reading, never a number that was counted."""

    horizon: int = 0
    """Nanoseconds: a series that began before may have been seen and forgotten, so its first point counts nothing."""
    files: dict[str, list[Any]] = field(default_factory=dict)
    """What was read of a file: [offset, stamp where it was read to its end]."""
    points: dict[str, list[Any]] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    runs: Runs = field(default_factory=Runs)
    spans: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, told: Any) -> Memory:
        """The memory in a state; an empty one for None."""
        if not isinstance(told, dict):
            return cls()
        services = {name: Service(*one) for name, one in told["services"].items()}
        return cls(told["horizon"], dict(told["files"]), dict(told["points"]), services, Runs(told["runs"]),
                   list(told["spans"]))  # fmt: skip

    def plain(self) -> dict[str, Any]:
        """The same as JSON of at most STATE bytes; the series heard of longest ago are forgotten first."""
        self.spans = self.spans[-_RECENT_SPANS:]
        kept = {
            "horizon": self.horizon, "files": self.files, "points": {}, "runs": self.runs.plain(), "spans": self.spans,
            "services": {name: [one.metric, one.since, one.spans_until, one.seen]
                         for name, one in self.services.items()},
        }  # fmt: skip
        self._forget(STATE - len(json.dumps(kept)))
        return {**kept, "horizon": self.horizon, "points": self.points}

    def _forget(self, room: int) -> None:
        if len(json.dumps(self.points)) <= room:
            return
        sizes = {key: len(key) + 6 + len(json.dumps(one)) for key, one in self.points.items()}
        size = sum(sizes.values())
        for key in sorted(self.points, key=lambda key: int(self.points[key][2])):
            if size <= room:
                return
            self.horizon = max(self.horizon, int(self.points.pop(key)[2]))
            size -= sizes[key]


@dataclass
class Counted:
    """What one piece of a file adds up to."""

    requests: Requests
    metrics: tuple[str, ...]
    segments: tuple[str, ...]
    memory: Memory
    components: Callable[[Series], Sequence[str]]
    """The components of a series; what is vouched for is said of them."""
    status: Callable[[str], Any]
    ratios: dict[tuple[Series, int], Ratio] = field(default_factory=dict)
    histograms: dict[tuple[Series, int, Layout], Histogram] = field(default_factory=dict)
    events: dict[tuple[str, str, int], Event] = field(default_factory=dict)
    seen: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    said: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: dict[tuple[int, str], tuple[Series, Series, Sequence[str]]] = field(default_factory=dict)
    """(errors, latency, components) by resource and segment: a resource has thousands of spans."""

    def add(self, found: Sequence[Telemetry]) -> None:
        """Count what several resources said: their metrics first, for they decide how requests are counted."""
        self.named.clear()
        for one in found:
            for reason in one.wrong:
                self.said["reject", reason] += 1
            if self.requests != "spans":
                self._choose(one)
        for one in found:
            for point in one.points:
                self._point(one.resource, point)
        known = set(self.memory.spans)
        for one in found:
            for span in one.spans:
                self._span(one.resource, span, known)

    def facts(self) -> list[Fact]:
        """The facts, in order of time."""
        found = [Fact(series, ts, ratio) for (series, ts), ratio in self.ratios.items()]
        found += [Fact(series, ts, histogram) for (series, ts, _), histogram in self.histograms.items()]
        return sorted(found, key=lambda fact: fact.ts)

    def covered(self) -> tuple[Covered, ...]:
        """What was seen, per component."""
        return tuple(
            Covered(since, until, component, signal)
            for component, stretches in sorted(self.seen.items())
            for since, until in union(stretches)
            for signal in ("request_success", "latency")
        )

    def findings(self, where: str) -> tuple[Finding, ...]:
        """What was left out or needs a remark."""
        return tuple(
            Finding("reject" if kind == "reject" else "remark", reason, where, n)
            for (kind, reason), n in sorted(self.said.items())
        )

    # -- metrics

    def _choose(self, one: Telemetry) -> None:
        """Which metric counts a service's requests, and from which bucket on; a choice is never changed."""
        if not one.points:
            return
        service = self.memory.services.setdefault(_service(one.resource), Service())
        if not service.metric:
            service.metric = min((point.metric for point in one.points), key=self.metrics.index)
        first = bucket_of(min(point.time for point in one.points) // _SECOND)
        if not service.spans_until:
            service.since = min(service.since, first)
        elif service.since == _FAR:
            service.since = max(first, service.spans_until)

    def _point(self, resource: Attributes, point: Point) -> None:
        if self.requests == "spans":
            return
        service = self.memory.services[_service(resource)]
        if service.metric != point.metric:
            name = _service(resource).partition("\n")[0]
            self.said["remark", f"{point.metric} of {name} is not counted beside its {service.metric}"] += 1
            return
        unit = point.unit or _OLD_UNITS.get(point.metric, "")
        if unit not in UNITS:
            self.said["reject", f'{point.metric} has the unit "{unit[:20]}", which is no time'] += 1
            return
        grown, since = self._grown(point) if point.is_cumulative else self._delta(point)
        bucket = bucket_of(point.time // _SECOND)
        if grown is None or bucket < service.since:
            return
        if unit == "s" and point.bounds[:4] == _MS_SHAPED and point.count:
            reason = "is in seconds with bounds made for milliseconds, so its percentiles say nothing: set its bounds"
            self.said["remark", f"{point.metric} {reason}"] += 1
        self._count_point(resource, point, grown, unit, bucket)
        self._vouch(resource, since // _SECOND, point.time // _SECOND)

    def _count_point(self, resource: Attributes, point: Point, grown: Point, unit: str, bucket: int) -> None:
        good = 0 if _is_bad(point.attributes, failed=False) else grown.count
        histogram = _histogram(grown, unit)
        for success, latency in self._series(resource, point.attributes):
            self._ratio(success, bucket, Ratio(good, grown.count))
            if histogram is not None:
                self._histogram(latency, bucket, histogram)

    def _delta(self, point: Point) -> tuple[Point | None, int]:
        known = self.memory.points.get(point.key)
        times: list[int] = known[3] if known else []
        if point.time in times:
            self.said["remark", "a point that was sent again counts once"] += 1
            return None, 0
        if len(times) >= _RECENT_POINTS and point.time < times[0]:
            self.said["reject", "a point came so late that nothing tells whether it was counted"] += 1
            return None, 0
        times = sorted([*times, point.time])[-_RECENT_POINTS:]
        self.memory.points[point.key] = ["d", 0, times[-1], times]
        return point, point.start or point.time

    def _grown(self, point: Point) -> tuple[Point | None, int]:
        """What was added since the last point of its series, and since when; None where that is not known."""
        known = self.memory.points.get(point.key)
        if known is not None and point.time <= int(known[2]):
            return None, 0  # sent again, or overtaken: its growth is in the later one
        self.memory.points[point.key] = _kept(point)
        if known is None:
            is_new = point.start > self.memory.horizon
            return (point, point.start) if is_new and _is_near(point.start, point.time) else (None, 0)
        if point.start > int(known[1]) > 0:
            begun = max(point.start, int(known[2]))
            return (point, begun) if _is_near(begun, point.time) else (None, 0)
        if not _is_near(int(known[2]), point.time):
            return None, 0
        return _difference(known, point), int(known[2])

    # -- spans

    def _span(self, resource: Attributes, span: Span, known: set[str]) -> None:
        kind = self.memory.runs.kind_of(span)
        if kind == "part":
            return
        if kind:
            event, unknown = self.memory.runs.event(kind, resource, span, self.status)
            if unknown:
                said = f'the result "{unknown[:60]}" is unknown; what has it is excluded'
                self.said["remark", f"{said}, or name it in [source.status]"] += 1
            self.events[event.kind, event.key, event.attempt] = event
        elif span.is_server and self.requests != "metrics":
            self._request(resource, span, known)

    def _request(self, resource: Attributes, span: Span, known: set[str]) -> None:
        if span.id in known:
            self.said["remark", "a span that was sent again counts once"] += 1
            return
        known.add(span.id)
        self.memory.spans.append(span.id)
        service = self.memory.services.setdefault(_service(resource), Service())
        bucket = bucket_of(span.end // _SECOND)
        if bucket >= service.since:
            return
        service.spans_until = max(service.spans_until, bucket + BUCKET)
        good = 0 if _is_bad(span.attributes, span.failed) else 1
        lasted = span.end - span.start
        place = bisect_left(_EDGES, lasted)
        one = Histogram(DURATION, {place: 1}, {place: round(Fraction(lasted, 1000))})
        for success, latency in self._series(resource, span.attributes):
            self._ratio(success, bucket, Ratio(good, 1))
            self._histogram(latency, bucket, one)
        begin = service.seen if service.seen and _is_near(service.seen, span.end) else span.start
        if span.end > service.seen:
            service.seen = span.end
        self._vouch(resource, min(begin, span.end) // _SECOND, span.end // _SECOND)

    # -- bookkeeping

    def _series(self, resource: Attributes, attributes: Attributes) -> Iterator[tuple[Series, Series]]:
        """The series of errors and of latency: the total, and one for each segment."""
        yield self._names(resource, "")[:2]
        for name in self.segments:
            if attributes.get(name):
                yield self._names(resource, f"{name}={attributes[name]}")[:2]

    def _names(self, resource: Attributes, segment: str) -> tuple[Series, Series, Sequence[str]]:
        found = self.named.get((id(resource), segment))
        if found is None:
            success = _series_of("request_success", resource, segment)
            found = success, replace(success, signal="latency"), self.components(success)
            self.named[id(resource), segment] = found
        return found

    def _ratio(self, series: Series, bucket: int, ratio: Ratio) -> None:
        self.ratios[series, bucket] = self.ratios.get((series, bucket), Ratio()) + ratio

    def _histogram(self, series: Series, bucket: int, histogram: Histogram) -> None:
        key = (series, bucket, histogram.layout)
        self.histograms[key] = self.histograms[key] + histogram if key in self.histograms else histogram

    def _vouch(self, resource: Attributes, since: int, until: int) -> None:
        for component in self._names(resource, "")[2]:
            self.seen[component].append((since, until))


def environment_of(attributes: Attributes) -> str:
    """The environment by its newer or older name."""
    return attributes.get("deployment.environment.name") or attributes.get("deployment.environment", "")


def _service(resource: Attributes) -> str:
    told = (resource.get("service.name", ""), resource.get("service.namespace", ""), environment_of(resource))
    return "\n".join(told)


def _series_of(signal: str, resource: Attributes, segment: str) -> Series:
    labels = {
        "service.name": resource.get("service.name"),
        "service.namespace": resource.get("service.namespace"),
        "service.version": resource.get("service.version"),
        "deployment.environment": environment_of(resource),
    }
    return Series(
        signal,
        labels_of(labels),
        version=resource.get("service.version", ""),
        segment=segment,
        environment=environment_of(resource),
    )


def _is_bad(attributes: Attributes, failed: bool) -> bool:
    """Whether a request failed on the server's side, by the semantic conventions."""
    status = attributes.get("http.response.status_code") or attributes.get("http.status_code", "")
    if failed:
        return True
    if status.isdigit():
        return int(status) >= 500
    if attributes.get("error.type"):
        return True
    rpc = attributes.get("rpc.grpc.status_code") or attributes.get("rpc.response.status_code", "")
    return rpc in _GRPC_BAD or rpc.upper() in _GRPC_NAMED


def _is_near(earlier: int, later: int) -> bool:
    return 0 < earlier < later and later - earlier <= BRIDGE * _SECOND


def _kept(point: Point) -> list[Any]:
    """A cumulative point as JSON: what its series' next one is compared with."""
    if point.native is None:
        return ["e", point.start, point.time, point.count, _bounds_key(point), list(point.counts)]
    bins = [number for pair in sorted(point.native.bins.items()) for number in pair]
    return ["x", point.start, point.time, point.count, point.native.schema, bins, point.native.threshold]


def _bounds_key(point: Point) -> str:
    return hashlib.sha256(repr(point.bounds).encode()).hexdigest()[:8] if point.bounds else ""


def _difference(known: Sequence[Any], point: Point) -> Point | None:
    """A point less the one before it; the point itself where something fell, for that is a restart."""
    if point.native is None:
        before: Sequence[int] = known[5] if known[0] == "e" else ()
        fell = known[0] != "e" or known[4] != _bounds_key(point) or point.count < known[3]
        if fell or any(now < then for now, then in zip(point.counts, before, strict=True)):
            return point
        counts = [now - then for now, then in zip(point.counts, before, strict=True)]
        return _replaced(point, point.count - known[3], counts, None)
    if known[0] != "x":
        return point
    places, amounts = known[5][::2], known[5][1::2]
    earlier = Native(known[3], known[4], dict(zip(places, amounts, strict=True)), known[6])
    times = np.array([point.time // 1_000_000 - 1, point.time // 1_000_000], dtype=np.int64)
    for _, layout, added in native(times, [earlier, point.native]):
        bins = added or {}
        grown = Native(sum(bins.values()), layout.schema, bins, point.native.threshold)
        return _replaced(point, grown.count, (), grown)
    return _replaced(point, 0, (), Native(0, None, {}, point.native.threshold))


def _replaced(point: Point, count: int, counts: Sequence[int], grown: Native | None) -> Point:
    return replace(point, count=count, counts=counts, native=grown)


def _histogram(point: Point, unit: str) -> Histogram | None:
    """The counts of a point on bins in seconds; None where it has no bins or no counts."""
    if point.native is not None:
        return _of_native(point.native, unit) if point.count else None
    if not point.bounds or not point.count:
        return None
    layout = Layout(edges=tuple(_in_seconds(edge, unit) for edge in point.bounds), closed="right", unit="s")
    return Histogram(layout, {place: n for place, n in enumerate(point.counts) if n}, {})


def _in_seconds(edge: float, unit: str) -> float:
    return float(Decimal(repr(edge)) / UNITS[unit])


def _of_native(told: Native, unit: str) -> Histogram:
    schema = told.schema or 0
    if unit == "s":
        return Histogram(Layout(kind="exponential", schema=schema, unit="s"), dict(told.bins), {})
    # Powers of two of another unit are none in seconds: the same bins, as edges. 2**-10 to 2**36 of the unit.
    steps = 2.0**schema
    first, last = round(-10 * steps), round(36 * steps)
    edges = tuple(2.0 ** (step / steps) / UNITS[unit] for step in range(first, last + 1))
    counts: dict[int, int] = {}
    for place, n in told.bins.items():
        to = 0 if place == ZERO else min(max(place - first, 0), len(edges))
        counts[to] = counts.get(to, 0) + n
    return Histogram(Layout(edges=edges, closed="right", unit="s"), counts, {})
