"""Alertmanager: incidents from alerts, their history from the series ALERTS of Prometheus, maintenance from silences.

Alertmanager forgets an alert as soon as it is over. Without a Prometheus beside it one pull is one look: what was
firing then, and what no longer is. With one, every alert is known from its first to its last evaluation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import urlsplit

from connectors import _http
from connectors._alertmanager import STATUS, Objects, ended, expired, key_of, named
from connectors._alertmanager_history import PAGE, History, Run, event_of, is_of
from connectors._counters import BRIDGE
from connectors._files import documents
from connectors._prometheus_server import by_stretch
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import BUCKET, Covered, Event, Finding, Gap, Page, bucket_of

_PIECE = 1000
_FRESH = 300
"""Seconds after a start of Alertmanager in which alerts may not have been sent to it again."""
_STATED = 1800
"""Seconds within which Prometheus says again of an alert that it fires."""
_RUNS = 2000
"""Alerts that are remembered between two pulls; forgetting costs requests, never an incident."""
_ALERT = (re.compile(rb'"startsAt"\s*:'), re.compile(rb'"fingerprint"\s*:'), re.compile(rb'"alertname"\s*:'))
_SILENCE = (re.compile(rb'"startsAt"\s*:'), re.compile(rb'"matchers"\s*:'), re.compile(rb'"createdBy"\s*:'))
_RETENTION = re.compile(r"(\d+)(ms|[smhdwy])")
_UNITS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}

ABOUT = About(
    reads="alerts and silences of an Alertmanager (also of Mimir and Cortex), their history through Prometheus",
    events=("incident", "maintenance"),
    labels={
        "alertname": "the name of the alert",
        "severity": "and every other label of the alert, or that a silence names with one value",
        "alertstate": "firing, silenced, inhibited or resolved",
    },
    files=(
        "amtool alert query --output=json, or the answer of /api/v2/alerts or /api/v2/alerts/groups",
        "amtool silence query --output=json, or the answer of /api/v2/silences",
        "bodies that Alertmanager posted to a webhook, one per line",
    ),
    limits=(
        "Alertmanager remembers no alert that is over: a pull is one look, and a longer pause between two is a gap.",
        "Without prometheus_url an alert between two pulls is never seen, and an end lies anywhere between them.",
        "An alert that was pending and never fired is no incident.",
        "While Prometheus itself is down an alert seems to end, unless it goes on with the same beginning afterwards.",
        "A silenced alert is still an incident; a silence is maintenance of every component whose map it fits.",
        "A silence that mutes one alert of many is maintenance too: name in `maintenance` the comments that count.",
        "A silence whose conditions fit no [[source.map]] is counted as unmatched and changes nothing.",
        "Silences are remembered for 5 days after their end; one that is gone by then ended as it was planned.",
    ),
    status=STATUS,
    side="system",
    aliases=("alerts",),
    example="""\
connector = "alertmanager"
name = "alerts"
url = "http://127.0.0.1:9093"            # or "file:exports/alertmanager"
prometheus_url = "http://127.0.0.1:9090" # where ALERTS is kept: the only memory of alerts that are over
# token_env = "ALERTMANAGER_TOKEN"       # where a proxy asks for a bearer token
# alerts = ["Checkout*"]                 # names of alerts that count; left out: all but `ignore`
# maintenance = ["*planned*"]            # comments of silences that are planned work; left out: all
  [[source.map]]
  component = "checkout-api"
  match = { job = "checkout" }
""",
)


@dataclass(frozen=True)
class Config:
    """One Alertmanager, and the Prometheus that sends to it."""

    common: Common
    url: str = setting('The server, or "file:DIR".', default="", example="http://127.0.0.1:9093")
    prometheus_url: str = setting(
        "The Prometheus (or Thanos, Mimir) that keeps ALERTS.", default="", example="http://127.0.0.1:9090"
    )
    prometheus_token_env: str = setting(
        "The environment variable with its token, where it is another than that of url.",
        default="",
        example="PROMETHEUS_TOKEN",
    )
    web: str = setting(
        "Where people open Alertmanager, if not at url.", default="", example="https://alerts.example.com"
    )
    auth: Literal["bearer", "basic"] = setting(
        'How tokens are sent: "bearer", or "basic" (a token is base64 of user:password).', default="bearer"
    )
    tenant: str = setting("The tenant (X-Scope-OrgID) of Mimir and Cortex.", default="", example="shop")
    alerts: tuple[str, ...] = setting("Globs of the names of alerts that count.", default=(), example=("Checkout*",))
    ignore: tuple[str, ...] = setting(
        "Globs of the names of alerts that never count.",
        default=("Watchdog", "DeadMansSwitch", "InfoInhibitor"),
        example=("Watchdog",),
    )
    external_labels: tuple[str, ...] = setting(
        "Labels that Prometheus adds to what it sends; they are learnt too.", default=(), example=("cluster",)
    )
    silences: bool = setting("Whether silences are maintenance.", default=True)
    maintenance: tuple[str, ...] = setting(
        "Globs of the comments of silences that are maintenance.", default=(), example=("*planned*",)
    )


def scope(config: Config) -> str:
    """The server's address."""
    return config.url.rstrip("/")


def recognise(item: Item) -> bool:
    """Alerts or silences of the API or of amtool, and bodies of webhooks."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return any(all(mark.search(head) for mark in marks) for marks in (_ALERT, _SILENCE))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The incidents and maintenance of one file."""
    objects = Objects(config, config.external_labels)
    for document in documents(item):
        objects.add(document)
    events = objects.events()
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE], covered=())
    yield Page(covered=(), findings=objects.findings(item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The incidents of [since, until), and how those that were open are doing now."""
    headers = {"X-Scope-OrgID": config.tenant} if config.tenant else {}
    with ExitStack() as opened:
        prefix = "Basic " if config.auth == "basic" else "Bearer "
        alerts = opened.enter_context(_http.open_client(config, config.url, headers=headers, token_prefix=prefix))
        metrics = None
        if config.prometheus_url:
            asking = replace(config, common=_token_of_prometheus(config))
            metrics = opened.enter_context(
                _http.open_client(asking, config.prometheus_url, headers=headers, token_prefix=prefix)
            )
        yield from _Reading(config, pull, alerts, metrics, _remembered(pull)).pages()


def _token_of_prometheus(config: Config) -> Common:
    """Who asks Prometheus: with its own token, with that of Alertmanager only where both are one server."""
    if config.prometheus_token_env:
        return replace(config.common, token_env=config.prometheus_token_env, token_file=None)
    if urlsplit(config.url)[:2] == urlsplit(config.prometheus_url)[:2]:
        return config.common
    return replace(config.common, token_env=None, token_file=None)


@dataclass
class _Memory:
    """What one pull leaves for the next."""

    polled: int = 0
    external: list[str] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        runs = [
            [list(map(list, run.labels)), run.first, run.last, run.active, run.earliest] for run in self.runs[-_RUNS:]
        ]
        return {"version": 1, "polled": self.polled, "external": self.external, "runs": runs}


def _remembered(pull: Pull) -> _Memory:
    if not isinstance(pull.state, dict) or pull.state.get("version") != 1:
        return _Memory()
    told = [Run(tuple((name, value) for name, value in labels), first, last, active, earliest=earliest)
            for labels, first, last, active, earliest in pull.state["runs"]]  # fmt: skip
    return _Memory(pull.state["polled"], list(pull.state["external"]), told)


@dataclass
class _Reading:
    """One pull."""

    config: Config
    pull: Pull
    alerts: _http.Client
    metrics: _http.Client | None
    memory: _Memory
    external: set[str] = field(default_factory=set)
    incidents: dict[str, Event] = field(default_factory=dict)
    """What the last page will say, by key."""
    said: set[str] = field(default_factory=set)
    """Keys of what earlier pages said."""
    quiet: dict[str, Run] = field(default_factory=dict)
    """Those that may fire still, or have just stopped: Alertmanager decides."""
    runs: list[Run] = field(default_factory=list)
    gaps: list[Gap] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def pages(self) -> Iterator[Page]:
        self.external = {*self.config.external_labels, *self.memory.external}
        begun = self.pull.since
        if self.metrics is not None:
            yield from self._history(self.metrics)
            begun = self._kept(self.metrics)
        objects = self._listed()
        listed = {event.key for event in objects.events() if event.kind == "incident"}
        for event in objects.events():
            if event.kind == "incident" and event.key not in self.said:
                self.incidents[event.key] = event
        for key in self.quiet.keys() - listed:
            event = self._over(self.quiet[key])
            self.incidents[event.key] = event
        silences = [event for event in objects.events() if event.kind != "incident"]
        self._gone(listed, objects)
        silences += self._forgotten({event.key for event in silences})
        memory = _Memory(self.pull.until, sorted(self.external), self._recent())
        yield Page(
            [*self.incidents.values(), *silences],
            memory.plain(),
            covered=self._covered(begun),
            gaps=tuple(self.gaps),
            findings=[*self.findings, *objects.findings(self.config.common.name)],
        )

    # -- what Prometheus remembers

    def _history(self, metrics: _http.Client) -> Iterator[Page]:
        still = [event for event in self.pull.open if event.kind == "incident"]
        history = History(self.config, metrics, self.memory.runs, still, self.external)
        waiting: list[Run] = []
        for over in by_stretch(metrics, bucket_of(self.pull.since), self.pull, PAGE, history.read):
            # The newest stretch waits for what Alertmanager says of the same alerts.
            yield from self._told(waiting)
            self.findings += history.findings
            waiting = over
        firing = history.still(self.pull.until)
        for run in history.recent:
            event = self._over(run)
            self.incidents[event.key] = event
        for run in firing:
            event = self._firing(run)
            self.incidents[event.key] = event
            self.quiet.update({event.key: run} if history.is_quiet(run, self.pull.until) else {})
        self.runs = [*history.recent, *firing]

    def _told(self, over: list[Run]) -> Iterator[Page]:
        events = [self._over(run) for run in over]
        self.said |= {event.key for event in events}
        if events:
            yield Page(events)

    def _over(self, run: Run) -> Event:
        known = self._known(run)
        return (
            event_of(run, self.config, self.external, over=True)
            if known is None
            else ended(known, run.end, self.config)
        )

    def _firing(self, run: Run) -> Event:
        known = self._known(run)
        return event_of(run, self.config, self.external, over=False) if known is None else known

    def _known(self, run: Run) -> Event | None:
        """The open incident that a run belongs to: it began with it, or goes on after Prometheus lost its memory."""
        for event in self.pull.open:
            if event.kind != "incident" or not is_of(event, run.labels, self.external):
                continue
            if event.ts == run.begin or event.ts < run.begin <= self.memory.polled:
                return event
        return None

    def _kept(self, metrics: _http.Client) -> int:
        """From when on Prometheus remembers; before that lies a gap, looked at where much is asked for at once."""
        if self.pull.until - self.pull.since <= PAGE:
            return self.pull.since
        reply = metrics.get("/api/v1/status/runtimeinfo", accept=(200, 400, 403, 404, 405, 501))
        data = reply.data.get("data") if reply.status == 200 and isinstance(reply.data, dict) else None
        told = str(data.get("storageRetention", "")) if isinstance(data, dict) else ""
        seconds = sum(int(number) * _UNITS[unit] for number, unit in _RETENTION.findall(told.partition(" or ")[0]))
        begun = self.pull.until - seconds
        if not seconds or begun <= self.pull.since:
            return self.pull.since
        self.gaps.append(Gap(self.pull.since, begun, f"Prometheus keeps its samples for {told}"))
        return begun

    def _recent(self) -> list[Run]:
        since = (self.pull.until - 2 * BRIDGE - (self.config.common.overlap or 0)) * 1000
        return [run for run in self.runs if run.last >= since]

    # -- what Alertmanager says

    def _listed(self) -> Objects:
        objects = Objects(self.config, self.external, self._key, self.pull.until)
        every = [("active", "true"), ("silenced", "true"), ("inhibited", "true")]
        objects.add(_rows(self.alerts.get("/api/v2/alerts", every)))
        if self.config.silences:
            objects.add(_rows(self.alerts.get("/api/v2/silences")))
        return objects

    def _key(self, labels: Mapping[str, str], start: int) -> str | None:
        """The key of the run in Prometheus that a listed alert is, learning which labels were added on the way."""
        for run in self.runs:
            begins = abs(run.begin - start) <= 1 or (start < run.begin and run.end >= self.pull.until - BUCKET)
            if begins and named(labels).items() >= dict(run.labels).items():
                self.external |= named(labels).keys() - dict(run.labels).keys()
                own = key_of(dict(run.labels), run.begin, self.external)
                if abs(run.begin - start) <= 1:
                    return own
                self.incidents.pop(own, None)
                return key_of(dict(run.labels), start, self.external)
        return None

    def _gone(self, listed: set[str], objects: Objects) -> None:
        """End the incidents that were open and that nobody knows any more."""
        lost = [event for event in self.pull.open
                if event.kind == "incident" and event.key not in listed and event.key not in self.incidents
                and event.key not in self.said]  # fmt: skip
        if lost and self._began() > self.pull.until - _FRESH:
            objects.remark("Alertmanager has just started, so alerts that it does not know are not taken for over")
            return
        for event in lost:
            twin = next((one for one in self.incidents.values() if _same(one, event)), None)
            if twin is not None:
                self.incidents[event.key] = replace(event, outcome="excluded", ended=event.ts,
                                                    revision=2 * self.pull.until)  # fmt: skip
                objects.remark("an alert was listed before Prometheus stored its first sample; it is counted once")
            else:
                self._ended(event, objects)

    def _ended(self, event: Event, objects: Objects) -> None:
        """End an incident that nobody knows any more: now, or where the last pull had not seen it when it was known."""
        stated, polled = event.revision // 2, self.memory.polled
        if polled and stated < polled - _STATED:
            self.incidents[event.key] = ended(event, stated, self.config)
            objects.remark("an alert was over before the last pull; it ends when it was last said to fire")
            return
        after = {"ended_after": times.text(polled)} if polled else {}
        self.incidents[event.key] = ended(event, self.pull.until - 1, self.config, **after)
        objects.remark("an alert ended between two pulls; the time of the later one is taken")

    def _began(self) -> int:
        """When Alertmanager started, epoch seconds; 0 where it does not say."""
        reply = self.alerts.get("/api/v2/status", accept=(200, 403, 404))
        told = reply.data.get("uptime") if reply.status == 200 and isinstance(reply.data, dict) else None
        try:
            return times.iso(str(told)) if told else 0
        except ValueError:
            return 0

    def _forgotten(self, listed: set[str]) -> list[Event]:
        """Silences that were active when last seen and that are no longer remembered."""
        return [expired(event, self.pull.until, self.config) for event in self.pull.open
                if event.kind == "maintenance" and event.key not in listed]  # fmt: skip

    def _covered(self, begun: int) -> tuple[Covered, ...]:
        """What was seen; without Prometheus a pull sees its own moment, and joins the last one if that was near."""
        until, every = self.pull.until, max(self.config.common.every, BUCKET)
        if self.metrics is not None:
            return (Covered(begun, until),)
        last = self.memory.polled
        if last and until - last <= 2 * every:
            return (Covered(min(last, until - 1), until),)
        if (last or self.pull.since) < until - every:
            reason = "Alertmanager remembers no alert that is over; prometheus_url would"
            self.gaps.append(Gap(last or self.pull.since, until - every, reason))
        return (Covered(max(last, until - every), until),)


def _same(one: Event, other: Event) -> bool:
    """Whether two incidents are one alert, known with and without the labels that Prometheus adds."""
    mine, theirs = named(dict(one.labels)).items(), named(dict(other.labels)).items()
    return abs(one.ts - other.ts) <= 1 and (mine <= theirs or theirs <= mine)


def _rows(reply: _http.Reply) -> list[Any]:
    if not isinstance(reply.data, list) or not all(isinstance(one, dict) for one in reply.data):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no list of objects; check that url is an Alertmanager.")
    return reply.data
