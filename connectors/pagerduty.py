"""PagerDuty: incidents with when they were acknowledged and resolved, and maintenance windows; Opsgenie as files.

A pull lists what was created in its time and reads the log of the same time: the log names every older incident that
changed, so that only those are asked for again, and when each was acknowledged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from connectors._fields import Raw, Unusable, time_of
from connectors._files import documents
from connectors._http import Client, open_client
from connectors._pagerduty import STATUS, Objects, id_of, object_of
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.intervals import subtract, union
from tandem.records import DAY, Covered, Gap, Page

API = "https://api.pagerduty.com"
HEADERS = {"Accept": "application/vnd.pagerduty+json;version=2"}
HORIZON = 30 * DAY
PER_PAGE = 100
CAP = 10_000
"""offset and limit may not reach further."""
SPAN = 150 * DAY
"""The longest time that is asked for at once; PagerDuty refuses more than six months."""
_PIECE = 1000
_FOLDER = 1000
"""Most files of a folder that are read together."""
_MARKS = (
    (rb'"incidents"\s*:\s*\[', rb'"(?:incident_number|incident_key|escalation_policy|last_status_change_at)"\s*:'),
    (rb'"incident"\s*:\s*\{', rb'"(?:incident_number|last_status_change_at)"\s*:'),
    (rb'"event_type"\s*:\s*"incident\.',),
    (rb'"log_entries"\s*:\s*\[', rb'_log_entry"'),
    (rb'"maintenance_windows?"\s*:\s*[\[{]', rb'"start_time"\s*:'),
    (rb'"tinyId"\s*:', rb'"createdAt"\s*:', rb'"message"\s*:'),
)
"""Of one line all must stand in a file's beginning for it to be read here."""
_LOG = re.compile(rb'"log_entries"\s*:\s*\[')
_ACCOUNT = re.compile(rb'"html_url"\s*:\s*"https://([\w-]+)(?:\.eu)?\.pagerduty\.com/')

ABOUT = About(
    reads="incidents and maintenance windows of PagerDuty, from its API or from saved answers; Opsgenie's from files",
    events=("incident", "maintenance"),
    labels={
        "service": "the name of the service (Opsgenie: the impacted services, or the entity of the alert)",
        "service_id": "its id",
        "team": "the teams, by name",
        "urgency": "high or low",
        "priority": "such as P1",
        "escalation_policy": "its name",
        "tags": "of Opsgenie, all of them",
        "source": "of Opsgenie, who made the alert",
        "integration": "of Opsgenie, its name",
        "number": "the number that people see",
        "status": "the status in the system's own word",
    },
    files=(
        "answers of PagerDuty's /incidents, /incidents/ID and /maintenance_windows; with /log_entries in one folder",
        "deliveries of PagerDuty's webhooks (version 3) as JSON or JSON Lines",
        "answers of Opsgenie's /v2/alerts and /v1/incidents",
    ),
    horizon=HORIZON,
    limits=(
        "An incident begins when it is created, starts when it is first acknowledged, and is bad once it is over.",
        "One that is opened again is open again under the same key, and its end is forgotten.",
        "One that was merged into another is excluded.",
        "A maintenance window is an event for each of its services, from its beginning on.",
        "A window that was made and ended between two pulls is found by the daily sweep.",
        'Opsgenie is being retired by its maker, so it is read from files only: url = "file:DIR".',
        "More than 10,000 objects created in one second cannot be listed; the rest is reported as a gap.",
    ),
    status=STATUS,
    aliases=("opsgenie",),
    side="system",
    example="""\
connector = "pagerduty"
name = "on-call"
account = "acme"                         # of https://acme.pagerduty.com
token_env = "PAGERDUTY_TOKEN"            # a read-only API key
# url = "https://api.eu.pagerduty.com"   # where the account is in the EU, or "file:exports/opsgenie"
# services = ["PXPGF42"]                 # ids of services; left out: all
# maintenance = true
  [[source.map]]
  component = "checkout-api"
  match = { service = "Checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One account."""

    common: Common
    url: str = setting('The API, or "file:DIR".', default=API, example=API)
    account: str = setting("The first part of the account's address.", default="", example="acme")
    services: tuple[str, ...] = setting("Ids of the services that are read.", default=(), example=("PXPGF42",))
    maintenance: bool = setting("Whether maintenance windows are read.", default=True)


def scope(config: Config) -> str:
    """The API's host and the account; files are those of the public host."""
    host = "" if config.url.startswith("file:") else urlsplit(config.url).netloc
    return f"{host or urlsplit(API).netloc}/{config.account}".lower()


def recognise(item: Item) -> bool:
    """Answers and deliveries of PagerDuty or Opsgenie by their keys; a folder by the log that belongs to them."""
    if item.entries:
        heads = [(one, item.child(one)) for one in _readable(item)]
        return any(_LOG.search(one.head) for _, one in heads) and all(recognise(one) for _, one in heads)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return any(all(re.search(mark, head) for mark in marks) for marks in _MARKS)


def _readable(folder: Item) -> list[str]:
    """The entries of a folder without notes to people; none where there are folders in it."""
    if len(folder.entries) > _FOLDER or any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith(".") and not entry.endswith(".md")]


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may hold objects of this account: it names it, or no account at all."""
    heads = [item.child(entry).head for entry in _readable(item)] if item.entries else [item.head]
    named = {name.decode().lower() for head in heads for name in _ACCOUNT.findall(head)}
    return recognise(item) and (not named or not config.account or config.account.lower() in named)


# -- files


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, or of a folder whose files belong together."""
    objects = Objects(config.common)
    for each in [item.child(entry) for entry in _readable(item)] if item.entries else [item]:
        for document in documents(each):
            for one in document if isinstance(document, list) else [document]:
                _guarded(objects, partial(_read, objects, one))
    if objects.untold():
        objects.remark("the log tells of incidents that are not in the same file or folder")
    yield from _pages(objects)
    yield Page(findings=objects.findings(item.name))


def _read(objects: Objects, document: Any) -> None:
    """One document of any of the kinds that are known."""
    raw = object_of(document)
    if "event" in raw:
        objects.delivery(raw)
        return
    for name, take in _takers(objects).items():
        told = raw.get(name)
        if isinstance(told, list):
            for one in told:
                _guarded(objects, partial(take, one))
            return
        if isinstance(told, dict):
            take(told)
            return
    _bare(objects, raw)


def _takers(objects: Objects) -> Mapping[str, Callable[[Any], None]]:
    return {
        "incidents": objects.incident,
        "incident": objects.incident,
        "log_entries": objects.entry,
        "maintenance_windows": objects.window,
        "maintenance_window": objects.window,
        "data": partial(_bare, objects),
    }


def _bare(objects: Objects, raw: Raw) -> None:
    """An object without an envelope."""
    raw = object_of(raw)
    if "tinyId" in raw:
        is_incident = any(name in raw for name in ("impactedServices", "impactStartDate", "ownerTeam"))
        (objects.opsgenie if is_incident else objects.alert)(raw)
    elif "start_time" in raw:
        objects.window(raw)
    elif "created_at" in raw and "status" in raw:
        objects.incident(raw)
    else:
        objects.reject("an object is neither an incident nor a maintenance window")


def _guarded(objects: Objects, take: Callable[[], None]) -> None:
    try:
        take()
    except Unusable as reason:
        objects.reject(str(reason))


def _pages(objects: Objects) -> Iterator[Page]:
    events = list(objects.events())
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE])


# -- the API


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The incidents created in [since, until), the older ones that changed in it, and maintenance."""
    with open_client(config, config.url, headers=HEADERS, token_prefix="Token token=") as client:  # noqa: S106
        yield from _Reading(client, config, pull).pages()


@dataclass
class _Reading:
    """One pull from the API."""

    client: Client
    config: Config
    pull: Pull
    gaps: list[Gap] = field(default_factory=list)

    def pages(self) -> Iterator[Page]:
        begin = self._begin()
        while begin < self.pull.until:
            end = min(begin + SPAN, self.pull.until)
            self.pull.progress(
                f"incidents until {times.text(end)}", (begin - self._begin()) / (end - self._begin() + 1)
            )
            yield self._page(self._incidents(begin, end))
            begin = end
        known: Any = self.pull.state if isinstance(self.pull.state, dict) else {}
        state = {"windows": known.get("windows", {})}
        if self.config.maintenance:
            page, state["windows"] = self._maintenance(dict(state["windows"]))
            yield page
        asked = [(self.pull.since, self.pull.until)]
        gone = union((gap.since, gap.until) for gap in self.gaps)
        covered = [Covered(low, high) for low, high in subtract(asked, gone)] if self.gaps else None
        yield Page(state=state, covered=covered, gaps=tuple(self.gaps))

    def _begin(self) -> int:
        """Where lists begin: the daily sweep goes back as far as an incident may be corrected."""
        if self.pull.first or not self.pull.sweep:
            return self.pull.since
        return min(self.pull.since, self.pull.until - (self.config.common.horizon or HORIZON))

    def _page(self, objects: Objects) -> Page:
        return Page(list(objects.events()), findings=objects.findings())

    # incidents

    def _incidents(self, since: int, until: int) -> Objects:
        objects = Objects(self.config.common, self.pull.until)
        services = [("service_ids[]", one) for one in self.config.services]
        entries = self._listed("log_entries", since, until, [("is_overview", "true")])
        for raw in entries:
            _guarded(objects, partial(objects.entry, raw))
        listed = self._listed("incidents", since, until, [("sort_by", "created_at:asc"), *services])
        for raw in listed:
            _guarded(objects, partial(objects.incident, raw))
        self._older(objects, since, until == self.pull.until)
        return objects

    def _older(self, objects: Objects, since: int, last: bool) -> None:
        """What changed, and was created before the time that is listed; in a sweep also all that is still open."""
        still = {event.key: event for event in self.pull.open if event.kind == "incident"}
        missing = set(objects.changed) - objects.seen("incident")
        if last and self.pull.sweep:
            missing |= {key for key, event in still.items() if event.ts < since}
        for key in sorted(missing):
            reply = self.client.get(f"incidents/{key}", accept=(200, 404))
            if reply.status == 404:
                if key in still:
                    objects.gone(still[key])
                continue
            raw = object_of(object_of(reply.data).get("incident"))
            if not self._ours(raw):
                continue
            for entry in self._walked(f"incidents/{key}/log_entries", [("is_overview", "true")]):
                _guarded(objects, partial(objects.entry, entry))
            _guarded(objects, partial(objects.incident, raw))

    def _ours(self, raw: Raw) -> bool:
        service = raw.get("service")
        return not self.config.services or (isinstance(service, dict) and service.get("id") in self.config.services)

    # maintenance

    def _maintenance(self, known: dict[str, int]) -> tuple[Page, dict[str, int]]:
        """What goes on or lies ahead, all there ever was in a sweep, and what was there before and is no longer."""
        objects = Objects(self.config.common, self.pull.until)
        everything = self.pull.first or self.pull.sweep
        services = [("service_ids[]", one) for one in self.config.services]
        rows = self._walked("maintenance_windows", [("filter", "all" if everything else "open"), *services])
        ahead: dict[str, int] = {}
        for raw in rows:
            _guarded(objects, partial(self._window, objects, raw, ahead))
        for key in sorted(set(known) - {str(raw.get("id")) for raw in rows if isinstance(raw, dict)}):
            reply = self.client.get(f"maintenance_windows/{key}", accept=(200, 404))
            if reply.status == 404:
                for event in self.pull.open:
                    if event.kind == "maintenance" and event.key.startswith(f"{key}/"):
                        objects.gone(event)
            else:
                raw = object_of(reply.data).get("maintenance_window")
                _guarded(objects, partial(self._window, objects, raw, ahead))
        return self._page(objects), ahead

    def _window(self, objects: Objects, raw: Any, ahead: dict[str, int]) -> None:
        """Take a window, and remember one that is not over: it may be moved, ended or deleted."""
        raw = object_of(raw)
        if (end := time_of(raw, "end_time")) >= self.pull.until:
            ahead[id_of(raw)] = end
        objects.window(raw)

    # lists

    def _listed(self, path: str, since: int, until: int, params: list[tuple[str, str]]) -> list[Raw]:
        """All rows of [since, until); a time that holds more than can be paged through is halved."""
        window = [("since", times.text(since)), ("until", times.text(until)), ("time_zone", "UTC"), *params]
        rows: list[Raw] | None = self._walked(path, window, (since, until))
        if rows is not None:
            return rows
        if until - since <= 1:
            self.gaps.append(Gap(since, until, f"PagerDuty lists at most {CAP:,} objects of one second"))
            return self._walked(path, window, (since, until), capped=False) or []
        middle = (since + until) // 2
        return self._listed(path, since, middle, params) + self._listed(path, middle, until, params)

    def _walked(
        self, path: str, params: list[tuple[str, str]], span: tuple[int, int] | None = None, capped: bool = True
    ) -> Any:
        """Every row of a list, once; None where there are more than can be paged through."""
        found: dict[str, Raw] = {}
        total = 0
        for _ in range(2):  # what is inserted meanwhile moves the pages: once more where some are missing
            total = self._walk(path, params, found, capped and span is not None)
            if total < 0:
                return None
            if len(found) >= total or not capped:
                break
        else:
            since, until = span or (self.pull.since, self.pull.until)
            reason = f"PagerDuty says {total} {path.rpartition('/')[2]} and lists {len(found)}"
            self.gaps.append(Gap(max(since, self.pull.since), until, reason))
        return list(found.values())

    def _walk(self, path: str, params: list[tuple[str, str]], found: dict[str, Raw], capped: bool) -> int:
        """Page through a list into `found`; what it states as total, -1 over the cap."""
        name = path.rpartition("/")[2]
        total, offset, more = 0, 0, True
        while more and offset + PER_PAGE <= CAP:
            asked = [*params, ("limit", str(PER_PAGE)), ("offset", str(offset)), ("total", "true")]
            told = self.client.get(path, asked).data
            rows = told.get(name) if isinstance(told, dict) else None
            if not isinstance(rows, list):
                raise SourceRefused(f"{self.config.common.name} got an answer without {name}; check the url.")
            stated = told.get("total")
            total = max(total, stated if isinstance(stated, int) and not isinstance(stated, bool) else 0)
            if capped and total > CAP:
                return -1
            known = len(found)
            for raw in rows:
                found[_id(raw)] = raw
            offset += PER_PAGE
            more = told.get("more") is True and (len(found) > known or offset < total)
        return -1 if more and capped else total


def _id(raw: Any) -> str:
    found = raw.get("id") if isinstance(raw, dict) else None
    return found if isinstance(found, str) else f"?{id(raw)}"
