"""Elasticsearch and OpenSearch: requests and latency from logs in an index, or from files of logs.

A server is asked for whole buckets, counted on its side. A file is a slice, named by how it begins, so that it counts
once however often it is renamed or compressed when logs rotate.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from connectors import _files
from connectors._elastic_queries import Query
from connectors._elastic_server import Incidents, Reading
from connectors._http import open_client
from connectors._latency import LAYOUT, UNITS
from connectors._log_lines import STATUSES, Clock, Document, NoDocument, document, documents, guessed, is_access
from connectors._lucene import Test, Unanswerable, field_of, matcher
from tandem import place
from tandem.bins import codes
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting, status_of
from tandem.records import (
    DAY,
    Covered,
    Fact,
    Finding,
    Histogram,
    Outcome,
    Page,
    Ratio,
    Series,
    Slice,
    bucket_of,
    labels_of,
)

BEGINNING = 1024
"""Bytes that tell one log from another; a shorter one is known by its first line."""
_FAR = 1 << 40
_CHUNK = 20_000

ABOUT = About(
    reads="Requests in an index of Elasticsearch or OpenSearch, and log files: exports, nginx's and Apache's logs.",
    signals=("request_success", "latency", "availability", "volume"),
    events=("incident",),
    labels={
        "where": "the query of a signal that names no component",
        "service.name": "or whatever field component_from names: its value",
        "rule": "the rule of an incident",
    },
    files=(
        "access logs of nginx and Apache (common or combined, with or without more behind), plain or compressed",
        "logs as JSON Lines: one object per request, with its time and status",
        "NDJSON of an index: documents, lines of elasticdump, or a body of the bulk API",
    ),
    horizon=DAY,
    limits=(
        "Elasticsearch from 7.2 on, and OpenSearch: the same questions serve both.",
        "Without the field ingested, what comes in more than 30 minutes late is found by the daily sweep, a day back.",
        "A partial answer (timed out, a failed shard, a skipped cluster) is no number: the pull stops there.",
        "Latency is cut on 43 bounds from 1 ms to a minute; no sums are taken, because the server's are rounded.",
        "Durations in fields that may hold fractions are cut by filters, which cost the server more than ranges.",
        "Answers of more buckets than search.max_buckets allows are asked for in smaller pages.",
        "A log file is counted once by how it begins; a line that stands in two different files counts twice.",
        "Files answer field:value, ranges, wildcards, AND, OR, NOT and brackets of Lucene's syntax, and nothing else.",
        "Files are a source of their own beside a server, and are never added to it.",
        "A growing log file is read whole again.",
    ),
    status={"active": "open", "recovered": "bad", "untracked": "excluded"},
    aliases=("opensearch", "elk"),
    restates=True,
    side="system",
    example="""\
connector = "elasticsearch"
name = "logs"
url = "http://127.0.0.1:9200"             # or "file:logs" for a folder of log files
index = "logs-nginx-*"
# token_env = "ELASTIC_API_KEY"            # an API key; with auth = "Basic" the base64 of user:password
# ingested = "event.ingested"              # when a document came in: late ones are found at once
  [[source.signal]]
  component = "checkout-api"
  signal = "request_success"
  where = 'service.name:"checkout"'
  bad = "http.response.status_code:[500 TO *]"
  [[source.signal]]
  component = "checkout-api"
  signal = "latency"
  where = 'service.name:"checkout"'
  duration = "event.duration"
  unit = "ns"
""",
)


@dataclass(frozen=True)
class Config:
    """One index or pattern of indices, or a folder of logs."""

    common: Common
    url: str = setting('The server, or "file:DIR".', example="http://127.0.0.1:9200")
    index: str = setting("The index, data stream or pattern.", default="*", example="logs-nginx-*")
    auth: Literal["ApiKey", "Basic", "Bearer"] = setting(
        "What the token is: an API key, the base64 of user:password, or a bearer token.",
        default="ApiKey",
        example="ApiKey",
    )
    ingested: str = setting(
        "The field with the time a document came in, set by an ingest pipeline.", default="", example="event.ingested"
    )
    signal: tuple[Query, ...] = setting("What is counted.", default=())
    incident: Incidents | None = setting("Where incidents are documents.", default=None, example={"index": ".alerts-*"})


def scope(config: Config) -> str:
    """The server's address and the index; a folder by its path."""
    url = config.url.rstrip("/")
    return url if url.startswith("file:") else f"{url}/{config.index}"


def recognise(item: Item) -> bool:
    """Access logs, and JSON Lines whose first object has a time and a status."""
    if item.entries or not item.head:
        return False
    lines = item.head[:16_384].decode("utf-8", "replace").lstrip("\ufeff").splitlines(keepends=True)
    first = [line for line in lines if line.strip()][:2]
    return bool(first) and (is_access(first[0]) or _is_log(first))


def _is_log(lines: list[str]) -> bool:
    for line in lines:
        try:
            told = document(line) if line.lstrip().startswith("{") else {}
        except NoDocument:
            continue
        meanings = guessed(told)
        return "time" in meanings and "status" in meanings and _is_status(field_of(told, meanings["status"]))
    return False


def _is_status(told: Any) -> bool:
    """Whether a status is one of HTTP: other systems have fields of that name too."""
    return not isinstance(told, bool) and str(told).isdigit() and 100 <= int(told) <= 599


def belongs(item: Item, config: Config) -> bool:
    """Whether a file lies in the folder of the source; files are never those of a server."""
    if not config.url.startswith("file:"):
        return False
    return item.path.resolve().is_relative_to(Path(config.url.removeprefix("file:")).resolve())


def configure(item: Item, common: Common) -> Config:
    """A configuration of a log by the usual names of its fields; raises SourceRefused where it names no component."""
    told = _first(item)
    named = "service.name" if field_of(told, "service.name") is not None else ""
    if not common.component and not named:
        raise SourceRefused(f"{item.name} does not say of which component it is; import it with --component NAME.")
    url = f"file:{os.path.normpath(item.path.absolute().parent)}"
    return Config(common, url, signal=_usual(told, "" if common.component else named))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The buckets of [since, until), and of what came in late."""
    if not config.signal and config.incident is None:
        raise SourceRefused(
            "this elasticsearch source has no [[source.signal]], so nothing says what is counted; "
            "`tandem init --connector elasticsearch` prints an example."
        )
    with open_client(config, config.url, token_prefix=f"{config.auth} ") as client:
        yield from Reading(client, config, pull, _outcome(config)).pages()


def _outcome(config: Config) -> Callable[[str], Outcome | None]:
    return lambda word: status_of(config, ABOUT, word)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The requests of one log."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was counted before."""
    counted = _Log(config.signal or _usual(_first(item), ""), item.given.timezone or config.common.timezone)
    digest = hashlib.sha256(repr((config.signal, counted.clock.zone)).encode())
    for number, told in documents(_digested(item, digest)):
        counted.add(number, told, pull.until)
    name, former = _names(item)
    if former and pull.taken(former) not in (None, "longer"):
        yield Page(covered=(), slice=Slice(former, "longer"))
    piece = Slice(name, f"{digest.hexdigest()[:32]}:{counted.ahead}")
    facts = counted.facts()
    findings = counted.findings(item.name)
    for part, begin in enumerate(range(0, max(1, len(facts)), _CHUNK)):
        some = facts[begin : begin + _CHUNK]
        yield Page(some, covered=(), slice=replace(piece, part=part), findings=() if part else findings)
    yield Page(covered=counted.covered(config.common, pull.until))


def _digested(item: Item, digest: Any) -> Iterator[str]:
    for line in _files.lines(item, ends=True):
        digest.update(line.encode())
        yield line


def _names(item: Item) -> tuple[str, str]:
    """The name of a log's slice, and the one it had while it was shorter than BEGINNING."""
    line = item.head.split(b"\n", 1)[0]
    short = f"log:{hashlib.sha256(line).hexdigest()[:32]}"
    if len(item.head) < BEGINNING:
        return short, ""
    return f"log:{hashlib.sha256(item.head[:BEGINNING]).hexdigest()[:32]}", short


def _first(item: Item) -> Document:
    lines = item.head.decode("utf-8", "replace").lstrip("\ufeff").splitlines(keepends=True)
    return next((told for _, told in documents(iter(lines)) if not isinstance(told, str)), {})


def _usual(told: Document, component_from: str) -> tuple[Query, ...]:
    """Errors, and latency where the field's name says its unit."""
    meanings = guessed(told)
    time, status = meanings.get("time", "@timestamp"), meanings.get("status", STATUSES[0])
    found = [Query("request_success", component_from=component_from, time=time, bad=f"{status}:>=500")]
    if "duration" in meanings:
        unit: Any = meanings["unit"]
        found.append(
            Query("latency", component_from=component_from, time=time, duration=meanings["duration"], unit=unit)
        )
    return tuple(found)


@dataclass
class _Log:
    """What one log adds up to."""

    queries: tuple[Query, ...]
    zone: str | None
    ahead: int = 0
    ratios: dict[tuple[Series, int], list[int]] = field(default_factory=lambda: defaultdict(lambda: [0, 0]))
    durations: dict[tuple[Series, int], list[float]] = field(default_factory=lambda: defaultdict(list))
    bins: dict[tuple[Series, int], Counter[int]] = field(default_factory=lambda: defaultdict(Counter))
    said: Counter[tuple[str, str]] = field(default_factory=Counter)

    seen: dict[Series, tuple[int, int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock = Clock(self.zone)
        self.tests = [(query, _test(query.where), _test(query.bad or query.good)) for query in self.queries]

    def add(self, number: int, told: Document | str, until: int) -> None:
        """Count one line; `told` is why it cannot be, where it is text."""
        del number
        if isinstance(told, str):
            self.said["reject", told] += 1
            return
        times: dict[str, int] = {}
        for query, wanted, part in self.tests:
            if not wanted(told):
                continue
            try:
                if query.time not in times:
                    times[query.time] = self.clock.at(field_of(told, query.time))
                    self.ahead += times[query.time] >= until
            except NoDocument as error:
                self.said["reject", str(error)] += 1
                return
            at = times[query.time]
            for series in _series(query, told):
                self._count(query, part, told, series, bucket_of(at))
                low, high = self.seen.get(series, (at, at))
                self.seen[series] = (min(low, at), max(high, at))

    def _count(self, query: Query, part: Test, told: Document, series: Series, bucket: int) -> None:
        if query.duration:
            value = _number(field_of(told, query.duration))
            if value is None or value < 0:
                kind = "reject" if value is not None else "remark"
                self.said[kind, f"a line has {'a negative' if value is not None else 'no'} {query.duration}"] += 1
                return
            self._keep(series, bucket, value / UNITS[query.unit])
            return
        cell = self.ratios[series, bucket]
        matches = part(told)
        cell[0] += not matches if query.bad else matches
        cell[1] += 1

    def _keep(self, series: Series, bucket: int, seconds: float) -> None:
        values = self.durations[series, bucket]
        values.append(seconds)
        if len(values) >= _CHUNK:
            self._bin(series, bucket)

    def _bin(self, series: Series, bucket: int) -> None:
        values = self.durations.pop((series, bucket))
        places, counts = np.unique(codes(LAYOUT, np.array(values)), return_counts=True)
        self.bins[series, bucket].update(dict(zip(places.tolist(), counts.tolist(), strict=True)))

    def facts(self) -> list[Fact]:
        """The facts, in order of time."""
        for series, bucket in list(self.durations):
            self._bin(series, bucket)
        found = [Fact(series, ts, Ratio(good, total)) for (series, ts), (good, total) in self.ratios.items()]
        found += [Fact(series, ts, Histogram(LAYOUT, dict(n), {})) for (series, ts), n in self.bins.items()]
        return sorted(found, key=lambda fact: fact.ts)

    def covered(self, common: Common, until: int) -> list[Covered]:
        """The log vouches for what lies between the first and the last line of a component."""
        found: dict[tuple[str, str], tuple[int, int]] = {}
        for series, (low, high) in self.seen.items():
            for placed in place.series_of(series, common):
                key = (placed.component, placed.signal)
                known = found.get(key, (low, high))
                found[key] = (min(known[0], low), max(known[1], high))
        spans = [(component, signal, low, min(high + 1, until)) for (component, signal), (low, high) in found.items()]
        return [Covered(low, high, component, signal) for component, signal, low, high in spans if low < high]

    def findings(self, where: str) -> tuple[Finding, ...]:
        """What was left out or needs a remark."""
        if self.clock.repeated:
            self.said["remark", "lines lie in an hour that came twice; their order decides which"] += (
                self.clock.repeated
            )
        return tuple(
            Finding("reject" if kind == "reject" else "remark", reason, where, n)
            for (kind, reason), n in sorted(self.said.items())
        )


def _test(query: str) -> Test:
    try:
        return matcher(query)
    except Unanswerable as error:
        raise SourceRefused(f"a log file cannot answer {error}; simplify the query in [[source.signal]].") from None


def _series(query: Query, told: Document) -> Iterator[Series]:
    named = field_of(told, query.component_from) if query.component_from else None
    version = field_of(told, query.version) if query.version else None
    total = Series(
        query.signal,
        labels=labels_of({query.component_from or "where": named if query.component_from else query.where}),
        component=query.component or (str(named) if named not in (None, "") else ""),
        version="" if version is None else str(version),
        environment=query.environment,
    )
    yield total
    for name in query.segments:
        value = field_of(told, name)
        if value not in (None, ""):
            yield replace(total, segment=f"{name}={value}")


def _number(told: Any) -> float | None:
    if isinstance(told, bool) or not isinstance(told, int | float | str):
        return None
    try:
        value = float(told)
    except ValueError:
        return None
    return value if np.isfinite(value) else None
