"""Statuspage: incidents and maintenance as a public status page tells them.

A page lists its 50 newest incidents and its 50 newest maintenances and nothing before them, so every pull reads both
lists whole; what is known as open and is no longer listed is looked for where the unresolved ones stand.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from connectors._fields import Raw, Unusable, text_of
from connectors._files import documents
from connectors._http import Client, open_client
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.place import rule_for
from tandem.records import DAY, Covered, Event, Finding, Gap, Outcome, Page, labels_of

NEWEST = 50
"""Most rows of a list."""
STATUS: Mapping[str, Outcome] = {
    "investigating": "open",
    "identified": "open",
    "monitoring": "open",
    "resolved": "bad",
    "postmortem": "bad",
    "scheduled": "excluded",
    "in_progress": "open",
    "verifying": "open",
    "completed": "good",
}
FOREVER = 1 << 40
Kind = Literal["incident", "maintenance"]
LISTS: Mapping[Kind, tuple[str, str, str]] = {
    "incident": ("api/v2/incidents.json", "incidents", "api/v2/incidents/unresolved.json"),
    "maintenance": (
        "api/v2/scheduled-maintenances.json", "scheduled_maintenances", "api/v2/scheduled-maintenances/active.json",
    ),
}  # fmt: skip
"""Of each kind: its list, the key of its rows, and the list of those that are not over."""
_MARKS = (re.compile(rb'"page"\s*:\s*\{'), re.compile(rb'"(?:incident_updates|scheduled_maintenances|incidents)"\s*:'))
_URL = re.compile(rb'"page"\s*:\s*\{[^{}]*"url"\s*:\s*"https?://([^/"]+)')
_STARTED = frozenset({"in_progress", "verifying", "completed"})

ABOUT = About(
    reads="incidents and maintenance of a status page made with Statuspage, from its address or from saved answers",
    events=("incident", "maintenance"),
    labels={
        "component": "the name of each component of the page that is affected",
        "page": "the name of the page",
        "impact": "none, minor, major, critical or maintenance",
        "status": "the status in the page's own word",
    },
    files=(
        "answers of /api/v2/incidents.json, incidents/unresolved.json, scheduled-maintenances.json or summary.json",
        "deliveries of its webhooks as JSON or JSON Lines",
    ),
    limits=(
        "A page lists its 50 newest incidents and maintenances; what was missed of older ones is a gap.",
        "A page is written by people: an incident begins and ends when they say so, and is bad once it is over.",
        "One that leaves the list while it is open is over once it is no longer unresolved; its end is unknown.",
        "An incident is one event, of every component whose map fits one of the page's components.",
        "Maintenance begins when it is said to be in progress; while it is only scheduled it has not happened.",
    ),
    status=STATUS,
    side="system",
    example="""\
connector = "statuspage"
name = "status"
url = "https://status.example.com"       # or "file:exports/statuspage"
  [[source.map]]
  component = "checkout-api"
  match = { component = "Checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One page."""

    common: Common
    url: str = setting('The page, or "file:DIR".', example="https://status.example.com")
    page: str = setting("The host of the page, where url is a folder.", default="", example="status.example.com")


def scope(config: Config) -> str:
    """The host of the page."""
    host = "" if config.url.startswith("file:") else urlsplit(config.url).netloc
    return (host or config.page).lower()


def recognise(item: Item) -> bool:
    """An answer or a delivery of Statuspage: a page with its incidents or maintenances."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and all(mark.search(head) for mark in _MARKS)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may be of this page: it names its host, or none."""
    named = {host.decode("utf-8", "replace").lower() for host in _URL.findall(item.head)}
    return recognise(item) and (not named or not scope(config) or scope(config) in named)


def configure(item: Item, common: Common) -> Config:
    """The source of an imported file that no configured source is of: the page that it names."""
    named = [host.decode("utf-8", "replace").lower() for host in _URL.findall(item.head)]
    return Config(common, url=f"file:{item.path.parent}", page=named[0] if named else "")


# -- files


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, which may be several answers or deliveries, one after the other."""
    told = _Told(config.common)
    for document in documents(item):
        for one in document if isinstance(document, list) else [document]:
            told.guarded(partial(_read, told, one))
    yield Page(told.events(), findings=told.findings(item.name))


def _read(told: _Told, document: Any) -> None:
    raw = _object(document)
    page = text_of(_object(raw.get("page") or {}), "name")
    for kind, (_, name, _) in LISTS.items():
        for one in raw.get(name) or ():
            told.guarded(partial(told.take, kind, one, page))
    if isinstance(raw.get("incident"), dict):
        one = _object(raw["incident"])
        told.take("maintenance" if one.get("scheduled_for") else "incident", one, page)


# -- the page


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """Everything that the page lists; what is older than its lists reach is a gap."""
    told = _Told(config.common, pull.until)
    floor = pull.since if pull.first else int((pull.state or {}).get("floor", 0))
    with open_client(config, config.url) as client:
        gaps = [gap for kind in LISTS if (gap := _listed(client, told, kind, pull)) is not None]
    events = [event for event in told.events() if (event.ended or FOREVER) >= floor]
    low = max((gap.until for gap in gaps), default=pull.since)
    covered = [Covered(min(low, pull.until), pull.until)] if gaps else None
    yield Page(events, state={"floor": floor}, covered=covered, gaps=gaps, findings=told.findings())


def _listed(client: Client, told: _Told, kind: Kind, pull: Pull) -> Gap | None:
    """Take a list; a full one may not reach back to what was seen before."""
    path, name, rest = LISTS[kind]
    rows, page = _rows(client, path, name)
    for one in rows:
        told.guarded(partial(told.take, kind, one, page))
    missing = {event.key: event for event in pull.open if event.kind == kind and event.key not in told.keys(kind)}
    if missing:
        more, page = _rows(client, rest, name)
        for one in more:
            told.guarded(partial(told.take, kind, one, page))
        for key in missing.keys() - told.keys(kind):
            told.lost(missing[key])
    created = [at for one in rows if isinstance(one, dict) and (at := told.created(one)) is not None]
    if len(rows) < NEWEST or not created or min(created) <= pull.since:
        return None
    return Gap(pull.since, min(min(created), pull.until), f"a status page lists its {NEWEST} newest {kind}s only")


def _rows(client: Client, path: str, name: str) -> tuple[Sequence[Any], str]:
    reply = client.get(path)
    rows = reply.data.get(name) if isinstance(reply.data, dict) else None
    if not isinstance(rows, list):
        raise SourceRefused(f"{reply.url} answered without {name}, so it is no Statuspage; check the url.")
    return rows, text_of(_object(reply.data.get("page") or {}), "name")


@dataclass
class _Told:
    """What is said of incidents and maintenances; `until`: what happens from then on has not happened yet."""

    common: Common
    until: int = FOREVER
    _events: dict[tuple[Kind, str], Event] = field(default_factory=dict)
    _seen: set[tuple[Kind, str]] = field(default_factory=set)
    _said: Counter[tuple[str, str]] = field(default_factory=Counter)

    def take(self, kind: Kind, raw: Any, page: str) -> None:
        """One incident or maintenance as the page tells it."""
        raw = _object(raw)
        key, word = text_of(raw, "id"), text_of(raw, "status")
        if not key:
            raise Unusable("an object has no id")
        self._seen.add((kind, key))
        begin = self._begin(kind, raw)
        if begin >= self.until:
            return
        outcome = self._outcome(word)
        ended = self._time(raw, "resolved_at", 0) or self._last(raw)
        if outcome == "open":
            ended = None
        elif ended is not None and ended >= self.until:
            word, outcome, ended = "", "open", None
        elif ended is not None and ended < begin:
            self._remark("something ended before it began; its end is left out")
            ended = None
        names = [text_of(one, "name") for one in raw.get("components") or () if isinstance(one, dict)]
        names = [name for name in names if name]
        impact = text_of(raw, "impact")
        components, environment = self._components(names, page, impact)
        event = Event(
            kind,
            key,
            begin,
            ended=ended,
            outcome=outcome,
            components=components,
            environment=environment,
            title=text_of(raw, "name"),
            url=text_of(raw, "shortlink"),
            labels=labels_of({"component": ", ".join(names), "page": page, "impact": impact, "status": word}),
            revision=min(max(self._time(raw, "updated_at", 0), ended or 0, begin), self.until - 1),
        )
        known = self._events.get((kind, key))
        if known is None or event.revision >= known.revision:
            self._events[kind, key] = event

    def _begin(self, kind: Kind, raw: Raw) -> int:
        """When it began: maintenance when it was first said to be in progress, else as it is scheduled."""
        if kind == "incident":
            return self._time(raw, "started_at", 0) or self._time(raw, "created_at")
        said = [self._said_at(one) for one in _updates(raw) if text_of(one, "status") in _STARTED]
        return min(said, default=0) or self._time(raw, "scheduled_for", 0) or self._time(raw, "created_at")

    def _last(self, raw: Raw) -> int | None:
        """When it was said to be over for the last time, where the page does not state it."""
        told = sorted((self._said_at(one), text_of(one, "status")) for one in _updates(raw))
        over: int | None = None
        for at, word in told:
            if STATUS.get(word) not in ("good", "bad"):
                over = None
            elif over is None:
                over = at
        return over

    def _said_at(self, update: Raw) -> int:
        return self._time(update, "display_at", 0) or self._time(update, "created_at")

    def _components(self, names: Sequence[str], page: str, impact: str) -> tuple[tuple[str, ...], str]:
        """The components of the configuration that any of the page's belongs to, and their environment."""
        found: dict[str, None] = {}
        environments: dict[str, None] = {}
        for name in names or [""]:
            rule = rule_for(self.common, labels_of({"component": name, "page": page, "impact": impact}))
            if rule is not None:
                found.update(dict.fromkeys(rule.component))
                environments[rule.environment] = None
            elif self.common.discover and (name or page):
                found[name or page] = None
        return tuple(found), next(iter(environments), "")

    def lost(self, event: Event) -> None:
        """Something open that stands in no list any more: it is over, nobody says since when."""
        self._remark(f"an open {event.kind} left the list of the newest before its end was seen")
        over = self._outcome("resolved" if event.kind == "incident" else "completed")
        self._events[event.kind, event.key] = replace(event, outcome=over, revision=event.revision + 1)  # type: ignore[index]

    def keys(self, kind: Kind) -> set[str]:
        """What was told of that kind, whether it has begun or not."""
        return {key for known, key in self._seen if known == kind}

    def created(self, raw: Raw) -> int | None:
        """When an object was made, epoch seconds; None where that cannot be read."""
        try:
            return self._time(raw, "created_at")
        except Unusable:
            return None

    def events(self) -> list[Event]:
        """Every event, oldest first."""
        return sorted(self._events.values(), key=lambda one: (one.ts, one.kind, one.key))

    def findings(self, where: str = "") -> list[Finding]:
        """What was left out or needs a remark, counted by reason."""
        return [
            Finding("reject" if kind == "reject" else "remark", reason, where, count)
            for (kind, reason), count in sorted(self._said.items())
        ]

    def guarded(self, act: Callable[[], None]) -> None:
        """Do it; what cannot be counted is counted as such."""
        try:
            act()
        except Unusable as reason:
            self._said["reject", str(reason)] += 1

    def _remark(self, reason: str) -> None:
        self._said["remark", reason] += 1

    def _outcome(self, word: str) -> Outcome:
        known = self.common.status.get(word, STATUS.get(word))
        if known is None:
            self._remark(f'the status "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]')
        return known or "excluded"

    def _time(self, raw: Raw, name: str, default: int | None = None) -> int:
        """Epoch seconds; the years 1 and 1970 stand for "absent". Raises Unusable where it is needed and absent."""
        text = text_of(raw, name)
        try:
            ts = times.iso(text, self.common.timezone) if text else 0
        except ValueError as error:
            raise Unusable(f"{name}: {str(error).rstrip('.')}") from None
        if ts >= 366 * DAY:
            return ts
        if default is None:
            raise Unusable(f"an object has no {name}")
        return default


def _updates(raw: Raw) -> list[Raw]:
    return [one for one in raw.get("incident_updates") or () if isinstance(one, dict)]


def _object(raw: Any) -> Raw:
    if not isinstance(raw, dict):
        raise Unusable("something else stands where an object should be")
    return raw
