"""Feast: whether feature views are fresh, when they were materialised, and how monitoring saw their features.

One pull is one look at the registry, a slice named after its tick. What monitoring counted of a view and day is a
slice of its own, which a later computation replaces.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors import _files, _http
from connectors._feast import STATUS, View, Words, view_of, views_of
from connectors._feast_metrics import Metrics, days_of, pages_of
from connectors._fields import Unusable, inside, rows_of, text_of
from connectors._sketched import Rebinning
from tandem import times
from tandem.connect import About, Common, Given, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import DAY, HOUR, Covered, Gap, Page, Record, Slice, bucket_of

AT_ONCE = 100
"""Most objects that the server gives on one page."""
PAGES = 1_000
KNOWN = 5_000
"""Feature views that are remembered."""
OVERLAP = 3
"""Days of monitoring that are read again, for a later computation."""
HORIZON = 30 * DAY
_MONITORING = "/api/v1/monitoring/metrics/features"
_OFF = "Monitoring is not enabled"
_MARKS = (
    re.compile(rb'"?\bspec"?\s*:'),
    re.compile(rb'"?\b(?:materializationIntervals|entityColumns|featureViews)"?\s*:'),
    re.compile(rb'"?\b(?:lastUpdatedTimestamp|createdTimestamp|featureViews)"?\s*:'),
)
_METRIC = re.compile(rb'"feature_view_name"\s*:.{0,400}?"metric_date"\s*:', re.DOTALL)

ABOUT = About(
    reads="The registry of a Feast feature store: how old served features are, materialisations, and what Feast's own "
    "monitoring counted of features.",
    signals=("freshness", "feature"),
    events=("data_version",),
    labels={"project": "the project of Feast", "feature_view": "the name of the feature view"},
    files=(
        "feast registry-dump (JSON)",
        "feast feature-views describe NAME (YAML), or the same as JSON",
        "answers of /api/v1/feature_views and /api/v1/monitoring/metrics/features",
    ),
    horizon=HORIZON,
    limits=(
        "freshness is one sample per served feature view and look: younger than its ttl, or than bound.",
        "The age is that of the newest data that was materialised, not of the newest event in it.",
        "A view without a ttl never grows old unless bound is set; one that is on demand, offline or off is left out.",
        "A view that gets pushes or a stream is never called stale: no materialisation tells of those.",
        "Nobody writes down when an interval was materialised: its event says the earliest and the latest time.",
        "Distributions come from Feast's monitoring (0.67 and later), where it is on; its bins change with each day.",
        "They are put onto the feature's own bins and marked approximate; each pull says how far a count may be off.",
        "Of what monitoring counted only days count; serving logs are production, the offline store is training.",
        "A file of a dump stands for the look at the time it was written.",
    ),
    status=STATUS,
    aliases=("feast_registry",),
    once=("data_version",),
    polled=True,
    side="model",
    example="""\
connector = "feast"
name = "features"
url = "http://127.0.0.1:6572"            # feast serve_registry --rest-api; or path to a dump of the registry
# path = "exports/registry.json"         # feast registry-dump > exports/registry.json
# projects = ["shop"]                    # left out: all
  [[source.map]]
  component = "fraud-detector"
  match = { feature_view = "transactions_*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One registry of Feast."""

    common: Common
    url: str = setting('The REST registry server, or "file:DIR".', default="", example="http://127.0.0.1:6572")
    path: Path | None = setting(
        "A dump of the registry, written again by a job of yours, in place of url.", default=None,
        example="exports/registry.json",
    )  # fmt: skip
    projects: tuple[str, ...] = setting("Projects to read; left out: all.", default=(), example=("shop",))
    feature_views: tuple[str, ...] = setting("Globs of feature views that count.", default=(), example=("fraud_*",))
    bound: str | None = setting("The age up to which features are fresh, in place of each ttl.", default=None,
                                example="6h")  # fmt: skip
    monitoring: bool = setting("Whether to read what Feast's monitoring counted of features.", default=True)

    def __post_init__(self) -> None:
        if self.bound is not None:
            times.duration(self.bound)

    @property
    def age(self) -> int | None:
        """The bound in seconds; None where each view has its own."""
        return None if self.bound is None else times.duration(self.bound)


def scope(config: Config) -> str:
    """The server's address or the dump's path."""
    return config.url.rstrip("/") or str(config.path or "")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """One look at all feature views, and what monitoring has counted since; nothing where this tick was looked at."""
    if not config.url and config.path is None:
        raise SourceRefused(f'set url or path for the source "{config.common.name}".')
    at = pull.now if config.url else _item(config).modified
    tick = at // config.common.every * config.common.every
    if pull.taken(f"poll:{tick}") is not None:
        yield Page(covered=())
        return
    look = _Look(config, pull, tick, min(at, pull.until - 1), _Memory.of(pull.state))
    if not config.url:
        yield from look.pages(list(_of_document(_files.load_json(_item(config)), _project(config))))
        return
    with _http.open_client(config, config.url) as client:
        projects = config.projects or tuple(_projects(client))
        views = [pair for project in projects for pair in _views(client, project)]
        counted = []
        if config.monitoring and pull.until - look.memory.counted >= HOUR:
            since = max(pull.since, pull.until - HORIZON) if pull.sweep or not look.memory.day else look.memory.day
            counted = [one for project in projects for one in _metrics(client, project, since - OVERLAP * DAY)]
            look.memory.counted = pull.until
        yield from look.pages(views, counted)


def _item(config: Config) -> Item:
    return _files.item(config.path or Path(), Given())


def _project(config: Config) -> str:
    return config.projects[0] if len(config.projects) == 1 else ""


# -- asking the server


def _rows(client: _http.Client, path: str, name: str, asked: Sequence[tuple[str, str]]) -> Iterator[Any]:
    """Every row of a list that states how many there are; raises SourceDown where some are missing."""
    found: list[Any] = []
    for page in range(1, PAGES + 1):
        data = client.get(path, [*asked, ("page", str(page)), ("limit", str(AT_ONCE))]).data
        rows = data.get(name) if isinstance(data, dict) else None
        if not isinstance(rows, list) or not isinstance(data.get("pagination"), dict):
            raise SourceRefused(f"{path} is no list of {name}; check that url is Feast's REST registry server.")
        found += rows
        stated = data["pagination"].get("totalCount", len(found))
        if not rows or not isinstance(stated, int) or len(found) >= stated:
            break
    if len(found) != stated:
        raise SourceDown(f"{path} gave {len(found)} of {stated} {name}; it is asked again at the next pull.")
    yield from found


def _projects(client: _http.Client) -> Iterator[str]:
    for one in _rows(client, "/api/v1/projects", "projects", ()):
        name = text_of(inside(one, "spec"), "name")
        if name:
            yield name


def _views(client: _http.Client, project: str) -> Iterator[tuple[Any, str]]:
    asked = (("project", project), ("allow_cache", "false"))
    seen: set[str] = set()
    for one in _rows(client, "/api/v1/feature_views", "featureViews", asked):
        name = text_of(inside(one, "spec"), "name")
        if name in seen:
            raise SourceDown(f"/api/v1/feature_views gave {name[:60]} twice; it is asked again at the next pull.")
        seen.add(name)
        yield one, project


def _metrics(client: _http.Client, project: str, since: int) -> Iterator[Any]:
    """Daily metrics; nothing of a server that has no monitoring, or where it is off."""
    asked = [("project", project), ("granularity", "daily"), ("start_date", times.text(max(since, 0))[:10])]
    reply = client.get(_MONITORING, asked, accept=(200, 404, 503), json="or page")
    if reply.status == 503 and _OFF not in text_of(inside({"": reply.data}, ""), "detail"):
        reply = client.get(_MONITORING, asked)  # the server itself is not there: it is asked again
    if isinstance(reply.data, list):
        yield from reply.data
    elif reply.status == 200:
        raise SourceRefused(f"{_MONITORING} is no list of metrics; check that url is Feast's REST registry server.")


# -- one look


@dataclass
class _Memory:
    """What one look leaves for the next: of each view how many intervals were told, and what was read of monitoring."""

    until: int = 0
    looked: int = 0
    counted: int = 0
    day: int = 0
    provisional: bool = False
    views: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        day = 0 if state["provisional"] else state["day"]  # too few values for bins: all of them are read again
        return cls(state["until"], state["looked"], state["counted"], day, views=dict(state["views"]))

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        return {"version": 1, "until": self.until, "looked": self.looked, "counted": self.counted, "day": self.day,
                "provisional": self.provisional, "views": dict(list(self.views.items())[-KNOWN:])}  # fmt: skip


@dataclass
class _Look:
    """One look at the registry."""

    config: Config
    pull: Pull
    tick: int
    at: int
    memory: _Memory
    words: Words = field(init=False)

    def __post_init__(self) -> None:
        self.words = Words(self.config)

    def pages(self, rows: Sequence[tuple[Any, str]], counted: Sequence[Any] = ()) -> Iterator[Page]:
        yield from self._counted(counted)
        views = [view for view in _read(rows, self.config, self.words) if self.words.wanted(view.name)]
        records: list[Record] = list(self.words.freshness(views, self.at, bucket_of(self.tick)))
        for view in views:
            records += self._events(view)
        every = self.config.common.every
        gaps = []
        if self.memory.until and self.tick > self.memory.until:
            reason = "nothing was looked at: Tandem was not running, or was late"
            gaps.append(Gap(self.memory.until, self.tick, reason, signal="freshness"))
        self.memory.until, self.memory.looked = self.tick + every, self.at
        yield Page(
            records, self.memory.plain(), [Covered(self.tick, self.tick + every)], gaps,
            Slice(f"poll:{self.tick}", "1"), self.words.findings(self.config.common.name),
        )  # fmt: skip

    def _events(self, view: View) -> Iterator[Record]:
        """What was materialised since the last look; a view that was made anew begins again."""
        before = self.memory.views.get(view.key)
        self.memory.views[view.key] = len(view.intervals)
        known = before is not None and before <= len(view.intervals)
        looked = self.memory.looked if before is not None else 0
        for event in self.words.materialisations(view, before or 0 if known else 0, looked, self.at + 1):
            if known or event.ts >= self.pull.since:
                yield event

    def _counted(self, rows: Sequence[Any]) -> Iterator[Page]:
        bins = Rebinning(self.pull, self.words, self.config.common)
        found = days_of(rows, self.words, self.pull.until)
        yield from pages_of(found, Metrics(self.words, bins), self.pull)
        bins.remark()
        self.memory.day = max([self.memory.day, *(one.day for one in found)])
        self.memory.provisional = bins.provisional


def _read(rows: Sequence[tuple[Any, str]], config: Config, words: Words) -> Iterator[View]:
    for raw, project in rows:
        try:
            if not config.projects or project in config.projects or not project:
                yield view_of(raw, project, config.age)
        except Unusable as error:
            words.reject(str(error))


# -- saved answers


def recognise(item: Item) -> bool:
    """A dump of the registry, one described view, or a saved answer of the registry server."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"{", b"[")):
        return all(mark.search(head) for mark in _MARKS) or _METRIC.search(head[:4096]) is not None
    return head.startswith(b"spec:") and b"\nmeta:" in head and b"entityColumns:" in head


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The views or the counts of one file, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The views or the counts of one file; its time is --at, else that of the file."""
    at = item.given.at if item.given.at is not None else item.modified
    words = Words(config)
    told = item.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"{", b"["))
    document = _files.load_json(item) if told else _files.load_yaml(item)
    rows = (
        document if isinstance(document, list) else rows_of(document, "metrics") if isinstance(document, dict) else []
    )
    if rows:
        bins = Rebinning(pull, words, config.common)
        yield from pages_of(days_of(rows, words, pull.until), Metrics(words, bins), pull)
        bins.remark()
        yield Page(covered=(), findings=words.findings(item.name))
        return
    if item.given.at is None:
        words.remark("the file says no time; when it was changed last is taken, or give --at")
    pairs = list(_of_document(document, _project(config)))
    views = [view for view in _read(pairs, config, words) if words.wanted(view.name)]
    records: list[Record] = list(words.freshness(views, at, bucket_of(at)))
    records += [event for view in views for event in words.materialisations(view, 0, 0, at + 1)]
    yield Page(records, covered=(), slice=Slice(f"file:{_digest(pairs)}", str(at)), findings=words.findings(item.name))


def _of_document(document: Any, project: str) -> Iterator[tuple[Any, str]]:
    try:
        yield from views_of(document, project)
    except Unusable as error:
        raise SourceRefused(f"what was saved {error}; save it with feast registry-dump.") from None


def _digest(pairs: Sequence[tuple[Mapping[str, Any], str]]) -> str:
    said = json.dumps([*pairs], sort_keys=True, default=str)
    return hashlib.sha256(said.encode("utf-8", "replace")).hexdigest()[:24]
