"""What is asked of Elasticsearch and OpenSearch, and what their answers add up to; knows nothing of HTTP.

Signals that look at the same documents are asked together: one composite aggregation over the buckets of time, with
a filter for the bad ones and the durations cut on our own bounds below it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

from connectors._latency import EDGES, LAYOUT, UNITS
from tandem.connect import SourceDown, setting
from tandem.records import BUCKET, Fact, Finding, Histogram, Ratio, Series, labels_of

Unit = Literal["s", "ms", "us", "ns"]
WHOLE = frozenset({"long", "integer", "short", "byte", "unsigned_long"})
"""Types of fields that hold whole numbers only."""
FILTER = ",".join(
    (
        "timed_out", "_shards.total", "_shards.failed", "_clusters.skipped", "hits.total", "aggregations.b.after_key",
        "aggregations.b.buckets.key", "aggregations.b.buckets.doc_count", "aggregations.b.buckets.p*.doc_count",
        "aggregations.b.buckets.d*.buckets.doc_count",
    )
)  # fmt: skip
"""The parts of an answer that are sent."""


@dataclass(frozen=True)
class Query:
    """One signal: which documents count, and which of them are good or how long they took."""

    signal: str = setting("The signal that is measured.", example="request_success")
    component: str = setting("Whose it is.", default="", example="checkout-api")
    component_from: str = setting(
        "The field that names the component instead (of type keyword).", default="", example="service.name"
    )
    where: str = setting(
        "The documents that count, in Lucene's syntax; left out, all.", default="", example='service.name:"checkout"'
    )
    time: str = setting("The field with the time.", default="@timestamp", example="@timestamp")
    bad: str = setting("The bad ones among them.", default="", example="http.response.status_code:[500 TO *]")
    good: str = setting("The good ones instead.", default="", example="event.outcome:success")
    duration: str = setting("The field with the duration, for latency.", default="", example="event.duration")
    unit: Unit = setting("The unit of the duration.", default="ns", example="ns")
    version: str = setting("The field that is the version.", default="", example="service.version")
    segments: tuple[str, ...] = setting("Fields whose values are segments.", default=(), example=("url.domain",))
    environment: str = setting("Where it runs, if not as the source says.", default="", example="production")

    def __post_init__(self) -> None:
        given = [name for name in ("bad", "good", "duration") if getattr(self, name)]
        if len(given) != 1 and not (self.signal == "volume" and not given):
            raise ValueError("give exactly one of bad, good and duration.")
        if self.component and self.component_from:
            raise ValueError("give component or component_from, not both.")

    def fields(self) -> Iterator[str]:
        """The fields that it cuts by."""
        yield from (name for name in (self.component_from, self.version, *self.segments) if name)


@dataclass(frozen=True)
class Asked:
    """Signals that are asked together, cut by the same fields; `segment` is the field of their segment, if any."""

    queries: tuple[Query, ...]
    time: str
    where: str
    component_from: str
    version: str
    segment: str = ""

    @property
    def cuts(self) -> tuple[tuple[str, str], ...]:
        """(name of the source of the composite, field)."""
        named = (("c", self.component_from), ("v", self.version), ("g", self.segment))
        return tuple((name, by) for name, by in named if by)


def grouped(queries: Sequence[Query]) -> list[Asked]:
    """As few questions as the signals need."""
    found: dict[tuple[str, ...], list[Query]] = {}
    for query in queries:
        for segment in ("", *query.segments):
            key = (query.time, query.where, query.component_from, query.version, segment)
            found.setdefault(key, []).append(query)
    return [Asked(tuple(those), *key) for key, those in found.items()]


def breadth(asked: Asked, types: Mapping[str, str]) -> int:
    """Buckets of an answer for each bucket of the composite."""
    return 1 + sum(len(cells(one, types)) if one.duration else 1 for one in asked.queries)


def cells(query: Query, types: Mapping[str, str]) -> list[tuple[int, dict[str, Any]]]:
    """(bin, bounds as the server takes them) of a duration; bin -1 holds what is negative.

    A server's ranges are closed below and open above, ours the other way round. Of whole numbers the next one is the
    same bound; others are cut by filters, which take bounds as ours are.
    """
    scale = UNITS[query.unit]
    limits = [Fraction(str(edge)) * scale for edge in EDGES]
    if types.get(query.duration) in WHOLE:
        ends = [math.floor(limit) + 1 for limit in limits]
        found = [(-1, {"to": 0}), (0, {"from": 0, "to": ends[0]})]
        found += [
            (place, {"from": low, "to": high}) for place, (low, high) in enumerate(pairwise(ends), 1) if low < high
        ]
        return [*found, (len(ends), {"from": ends[-1]})]
    marks = [float(limit) for limit in limits]
    rest = [(place, {"gt": low, "lte": high}) for place, (low, high) in enumerate(pairwise(marks), 1)]
    return [(-1, {"lt": 0}), (0, {"gte": 0, "lte": marks[0]}), *rest, (len(marks), {"gt": marks[-1]})]


def body(asked: Asked, types: Mapping[str, str], since: int, until: int, size: int, after: Any) -> dict[str, Any]:
    """The question: buckets of [since, until), epoch seconds, behind `after`."""
    span = {"gte": since * 1000, "lt": until * 1000, "format": "epoch_millis"}
    filters: list[Any] = [{"range": {asked.time: span}}]
    if asked.where:
        filters.append(_lucene(asked.where))
    sources: list[Any] = [{"t": {"date_histogram": {"field": asked.time, "fixed_interval": f"{BUCKET}s"}}}]
    sources += [{name: {"terms": {"field": by, "missing_bucket": True}}} for name, by in asked.cuts]
    composite = {"size": size, "sources": sources, **({"after": after} if after else {})}
    below = dict(_parts(asked, types))
    aggregation = {"composite": composite, **({"aggs": below} if below else {})}
    return {"size": 0, "track_total_hits": True, "query": {"bool": {"filter": filters}}, "aggs": {"b": aggregation}}


def changed(asked: Asked, ingested: str, since: int, until: int, size: int, after: Any) -> dict[str, Any]:
    """The question for the buckets, before `until`, of documents that came in [since, until)."""
    told = body(replace(asked, queries=(), component_from="", version="", segment=""), {}, 0, until, size, after)
    span = {"gte": since * 1000, "lt": until * 1000, "format": "epoch_millis"}
    told["query"]["bool"]["filter"].append({"range": {ingested: span}})
    return told


def _lucene(text: str) -> dict[str, Any]:
    return {"query_string": {"query": text}}


def _parts(asked: Asked, types: Mapping[str, str]) -> Iterator[tuple[str, dict[str, Any]]]:
    for number, query in enumerate(asked.queries):
        if query.duration and types.get(query.duration) in WHOLE:
            ranges = [bounds for _, bounds in cells(query, types)]
            yield f"d{number}", {"range": {"field": query.duration, "ranges": ranges}}
        elif query.duration:
            filters = [{"range": {query.duration: bounds}} for _, bounds in cells(query, types)]
            yield f"d{number}", {"filters": {"filters": filters}}
        elif query.bad or query.good:
            yield f"p{number}", {"filter": _lucene(query.bad or query.good)}


@dataclass
class Answer:
    """What one chain of answers adds up to; every answer is checked against what was asked."""

    asked: Asked
    types: Mapping[str, str]
    since: int
    until: int
    counted: int = 0
    totals: set[int] = field(default_factory=set)
    keys: list[int] = field(default_factory=list)
    after: Any = None
    last: int = 0
    said: Counter[str] = field(default_factory=Counter)

    def take(self, data: Any, size: int) -> tuple[list[Fact], bool]:
        """The facts of one answer, and whether more follow; raises SourceDown for one that is not whole."""
        self.totals.add(total_of(data))
        found = data.get("aggregations") or {}
        buckets = (found.get("b") or {}).get("buckets") or []
        facts: list[Fact] = []
        for bucket in buckets:
            facts += self._bucket(bucket)
        after = (found.get("b") or {}).get("after_key")
        more = len(buckets) >= size
        if more and (not after or after == self.after):
            raise SourceDown("the search gives the same page again; check what stands before the server.")
        self.after = after
        return facts, more

    def check(self) -> None:
        """That nothing was lost or told twice between the pages, where the server's total stood still.

        Raises SourceDown.
        """
        if len(self.totals) != 1 or self.counted == min(self.totals):
            return
        total = min(self.totals)
        if self.counted < total or not self.asked.cuts:
            raise SourceDown(f"the search says {total:,} documents and its pages hold {self.counted:,}; asked again.")
        names = " or ".join(by for _, by in self.asked.cuts)
        self.said[f"documents with several values of {names} count for each of them"] += self.counted - total

    def findings(self) -> list[Finding]:
        """What was left out or needs a remark."""
        return [
            Finding(
                "remark" if reason.startswith("documents have no ") or "count for each" in reason else "reject",
                reason,
                self.asked.where,
                n,
            )
            for reason, n in sorted(self.said.items())
        ]

    def _bucket(self, bucket: Any) -> Iterator[Fact]:
        try:
            ts, n = int(bucket["key"]["t"]) // 1000, int(bucket["doc_count"])
            cut = {name: bucket["key"][name] for name, _ in self.asked.cuts}
        except (KeyError, TypeError, ValueError):
            raise SourceDown("the search gave a bucket without a time; check that url is Elasticsearch.") from None
        if ts % BUCKET or not self.since - BUCKET < ts < self.until or ts < self.last:
            raise SourceDown("the search answered another question; check what stands before the server.")
        self.counted += n
        self.last = ts
        self.keys.append(ts)
        for number, query in enumerate(self.asked.queries):
            series = series_of(query, cut.get("c"), cut.get("v"), self.asked.segment, cut.get("g"))
            if series is not None:
                yield from self._facts(query, number, bucket, series, ts, n)

    def _facts(self, query: Query, number: int, bucket: Any, series: Series, ts: int, n: int) -> Iterator[Fact]:
        if query.duration:
            histogram = self._histogram(query, bucket.get(f"d{number}"), n)
            if histogram is not None:
                yield Fact(series, ts, histogram)
            return
        if not (query.bad or query.good):
            yield Fact(series, ts, Ratio(n, n))
            return
        part = (bucket.get(f"p{number}") or {}).get("doc_count")
        if not isinstance(part, int) or not 0 <= part <= n:
            raise SourceDown("the search gave more of a part than of the whole; check what stands before the server.")
        yield Fact(series, ts, Ratio(n - part if query.bad else part, n))

    def _histogram(self, query: Query, told: Any, n: int) -> Histogram | None:
        wanted = cells(query, self.types)
        counts = [one.get("doc_count") for one in (told or {}).get("buckets") or ()]
        if len(counts) != len(wanted) or not all(isinstance(one, int) and one >= 0 for one in counts):
            raise SourceDown("the search left bounds of a duration out; check what stands before the server.")
        if sum(counts) > n:
            self.said[f"documents have several values of {query.duration}, so the bucket is left out"] += 1
            return None
        found = {place: count for (place, _), count in zip(wanted, counts, strict=True) if count}
        if negative := found.pop(-1, 0):
            self.said[f"{query.duration} is negative"] += negative
        if without := n - sum(counts):
            self.said[f"documents have no {query.duration}"] += without
        return Histogram(LAYOUT, found, {})


def series_of(query: Query, component: Any, version: Any, segment: str, value: Any) -> Series | None:
    """The series of a bucket; None for the segment of documents that lack its field."""
    if segment and value in (None, ""):
        return None
    named = query.component or (str(component) if component not in (None, "") else "")
    return Series(
        query.signal,
        labels=labels_of({query.component_from or "where": component if query.component_from else query.where}),
        component=named,
        version="" if version is None else str(version),
        segment=f"{segment}={value}" if segment else "",
        environment=query.environment,
    )


def total_of(data: Any) -> int:
    """How many documents a whole answer is of; raises SourceDown for a partial one, for that is no number."""
    if not isinstance(data, dict) or not isinstance(data.get("_shards"), dict) or "timed_out" not in data:
        raise SourceDown("that is no answer to a search; check that url is Elasticsearch or OpenSearch.")
    shards = data["_shards"]
    if data["timed_out"] is not False:
        raise SourceDown("the search ran out of its time, so nothing of it counts; it is asked again.")
    if shards.get("failed"):
        raise SourceDown(f"{shards['failed']} of {shards.get('total')} shards failed, so nothing counts; asked again.")
    if (data.get("_clusters") or {}).get("skipped"):
        raise SourceDown("a remote cluster was skipped, so nothing of the search counts; it is asked again.")
    told = (data.get("hits") or {}).get("total")
    value = told.get("value") if isinstance(told, dict) else told
    if isinstance(value, bool) or not isinstance(value, int):
        raise SourceDown("the search does not say how many documents there are; check what stands before the server.")
    return value
