"""Grafana: its annotations as notes and alerts with links back, and Prometheus' signals through its data sources.

Who may look into Grafana but not into Prometheus itself gets the same numbers: the proxy of a data source answers the
same questions, and the connector for Prometheus asks them.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from connectors import _http, prometheus
from connectors._files import documents
from tandem.connect import About, Common, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Finding, Gap, Outcome, Page, labels_of

LIMIT = 1000
"""Rows that are asked for at once; Grafana itself gives 100."""
AGAIN = DAY
"""Seconds before the window that are read again: text, tags and ends of annotations are edited later."""
_WINDOW = 7 * DAY
_AROUND = 1800
"""Seconds that a link shows before and after what it is about."""
_YEAR = 366 * DAY * 1000
_PIECE = 1000
_TAG = re.compile(r"([A-Za-z_][\w.-]*)[:=](.+)")
_INSIDE = re.compile(r"\{([^{}]*)\}")
_MARKUP = re.compile(r"<[^<>]{0,200}>")
_MARKS = tuple(
    re.compile(pattern)
    for pattern in (
        rb'"(?:dashboardUID|dashboardId)"\s*:',
        rb'"panelId"\s*:',
        rb'"time"\s*:\s*\d',
        rb'"(?:text|tags)"\s*:',
    )
)
STATUS: Mapping[str, Outcome] = {
    "alerting": "bad",
    "normal": "good",
    "ok": "good",
    "pending": "excluded",
    "recovering": "excluded",
    "no data": "excluded",
    "error": "excluded",
    "paused": "excluded",
    "unknown": "excluded",
    "note": "good",
    "going on": "open",
}
_SPELLED = {"nodata": "no data", "no_data": "no data"}

ABOUT = About(
    reads="annotations and alert history of Grafana, and Prometheus (or Mimir, Thanos) through its data-source proxy",
    signals=prometheus.ABOUT.signals,
    events=("note", "alert"),
    labels={
        "dashboard": "the uid of the dashboard an annotation stands on",
        "panel": "the id of its panel",
        "tags": 'all its tags as ",one,two,", so that match = { tags = "*,deploy,*" } finds one',
        "service": 'and every other tag written as "service:checkout" or "service=checkout"',
        "alertname": "the name of the alert, and the labels of its instance",
        "state": "of an alert: the state it went to",
        "job": "and service, app, namespace of a signal that names neither component nor component_from",
    },
    files=("the answer of /api/annotations as JSON",),
    limits=(
        "What was edited later than 24 hours after it happened is seen by a full read only (sync --since).",
        'A deleted annotation leaves no trace in Grafana; it stays here unless deletions = "restate".',
        "An annotation whose time was posted in seconds lies in 1970 for Grafana; it is rejected.",
        "One change of an alert's state is one event; how long it lasted is not known from it.",
        "More than 1,000 annotations in one second cannot be listed; the rest is reported as a gap.",
        "The limits of the prometheus connector hold for signals.",
    ),
    status=STATUS,
    horizon=AGAIN,
    side="system",
    restates=True,
    aliases=("grafana_annotations",),
    example="""\
connector = "grafana"
name = "dashboards"
url = "https://grafana.example.com"      # or "file:exports/grafana"
token_env = "GRAFANA_TOKEN"              # of a service account with the role Viewer
datasource = "prometheus-prod"           # the uid of a Prometheus data source, for [[source.signal]]
# tags = ["deploy"]                      # annotations with all of these tags; left out: all
# dashboards = ["checkout-overview"]     # uids of dashboards; left out: all
  [[source.map]]
  component = "checkout-api"
  match = { dashboard = "checkout*" }
  [[source.signal]]
  component = "checkout-api"
  signal = "request_success"
  total = 'http_requests_total{service="checkout"}'
  bad = 'http_requests_total{service="checkout",code=~"5.."}'
""",
)


@dataclass(frozen=True)
class Config:
    """One Grafana, and one of its data sources."""

    common: Common
    url: str = setting('The server, or "file:DIR".', default="", example="https://grafana.example.com")
    datasource: str = setting(
        "The uid of a Prometheus data source; it stands at the end of its address.",
        default="",
        example="prometheus-prod",
    )
    signal: tuple[prometheus.Query, ...] = setting("What is counted in that data source.", default=())
    annotations: bool = setting("Whether annotations count.", default=True)
    tags: tuple[str, ...] = setting("Tags that an annotation must all have.", default=(), example=("deploy",))
    dashboards: tuple[str, ...] = setting(
        "Uids of dashboards whose annotations count.", default=(), example=("checkout-overview",)
    )
    organisation: int = setting("The id of the organisation, for links.", default=1)
    web: str = setting("Where people open Grafana, if not at url.", default="", example="https://grafana.example.com")


def scope(config: Config) -> str:
    """The server's address."""
    return config.url.rstrip("/")


def recognise(item: Item) -> bool:
    """A list of annotations."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"[") and all(mark.search(head) for mark in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The notes and alerts of one file."""
    found = Annotations(config)
    for document in documents(item):
        for raw in document if isinstance(document, list) else [document]:
            found.add(raw)
    events = found.events()
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE], covered=())
    yield Page(covered=(), findings=found.findings(item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The signals of [since, until), and its annotations with those of the day before."""
    if config.signal:
        yield from prometheus.fetch(_behind(config), pull)
    if config.annotations:
        with _http.open_client(config, config.url) as client:
            yield from _Reading(client, config, pull).pages()
    elif not config.signal:
        raise SourceRefused(f'the source "{config.common.name}" reads neither annotations nor a [[source.signal]].')


def _behind(config: Config) -> prometheus.Config:
    """The Prometheus behind a data source."""
    if not config.datasource:
        raise SourceRefused(
            f'set datasource = "UID" for the source "{config.common.name}": the end of its address in Grafana.'
        )
    url = f"{config.url.rstrip('/')}/api/datasources/proxy/uid/{quote(config.datasource, safe='')}"
    return prometheus.Config(
        config.common, url=url if config.url.startswith("http") else config.url, signal=config.signal
    )


@dataclass
class _Reading:
    """One pull of the annotations, piece by piece of time; a piece that is full is halved."""

    client: _http.Client
    config: Config
    pull: Pull
    gaps: list[Gap] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def pages(self) -> Iterator[Page]:
        again = self.config.common.horizon or AGAIN
        begin = self.pull.since if self.pull.first else max(0, self.pull.since - again)
        found = Annotations(self.config, self.pull.until)
        while begin < self.pull.until:
            end = min(begin + _WINDOW, self.pull.until)
            for uid in self.config.dashboards or ("",):
                for rows in self._windows(begin, end - 1, uid):
                    yield self._page(rows, found)
            begin = end
            self.pull.progress("annotations", 1 - (self.pull.until - begin) / max(1, self.pull.until - self.pull.since))
        yield Page(covered=self._covered(), gaps=tuple(self.gaps), findings=found.findings(self.config.common.name))

    def _page(self, rows: Sequence[Any], found: Annotations) -> Page:
        own = Annotations(self.config, self.pull.until)
        for raw in rows:
            key = str(raw.get("id"))
            if key not in self.seen:  # a region lies in every piece that it touches
                self.seen.add(key)
                own.add(raw)
        found.said += own.said
        return Page(own.events(), covered=() if self.config.signal else None)

    def _windows(self, since: int, last: int, uid: str) -> Iterator[list[Any]]:
        """The rows of [since, last], oldest piece first."""
        rows = self._rows(since, last, uid)
        if len(rows) < LIMIT or since == last:
            if len(rows) >= LIMIT:
                self.gaps.append(Gap(since, since + 1, f"Grafana lists at most {LIMIT:,} annotations of one second"))
            yield rows
            return
        middle = (since + last) // 2
        yield from self._windows(since, middle, uid)
        yield from self._windows(middle + 1, last, uid)

    def _rows(self, since: int, last: int, uid: str) -> list[Any]:
        first, until = since * 1000, last * 1000 + 999
        asked = [("from", str(first)), ("to", str(until)), ("limit", str(LIMIT))]
        asked += [("tags", tag) for tag in self.config.tags]
        asked += [("dashboardUID", uid)] if uid else []
        rows = self.client.get("/api/annotations", asked).data
        if not isinstance(rows, list) or not all(isinstance(raw, dict) for raw in rows):
            raise SourceRefused("/api/annotations is no list of annotations; check that url is a Grafana.")
        if any(_span(raw)[0] > until or _span(raw)[1] < first for raw in rows):
            raise SourceDown("Grafana answered for another time than it was asked; check what stands before it.")
        return rows

    def _covered(self) -> tuple[Covered, ...] | None:
        if self.config.signal:
            return ()
        if not self.gaps:
            return None
        return (Covered(self.pull.since, self.pull.until),)


@dataclass
class Annotations:
    """The annotations of one reply or file, as events; of each the newest word counts."""

    config: Config
    until: int | None = None
    found: dict[str, Event] = field(default_factory=dict)
    said: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, raw: Any) -> None:
        """One annotation."""
        if not isinstance(raw, dict) or not isinstance(raw.get("id"), int):
            self.said["reject", "an annotation has no id"] += 1
            return
        begin, end = _span(raw)
        if begin < _YEAR:
            reason = "an annotation has no time" if begin <= 0 else "an annotation was posted in seconds: it is of 1970"
            self.said["reject", reason] += 1
        elif (self.until is None or begin // 1000 < self.until) and self._chosen(raw):
            event = self._event(raw, begin // 1000, end // 1000)
            known = self.found.get(event.key, event)
            self.found[event.key] = event if event.revision >= known.revision else known

    def _chosen(self, raw: Mapping[str, Any]) -> bool:
        """Whether the configuration lets it count; the server filters too, a file does not."""
        uid = str(raw.get("dashboardUID") or "")
        return (not self.config.dashboards or uid in self.config.dashboards) and set(self.config.tags) <= set(
            _tags(raw)
        )

    def _event(self, raw: Mapping[str, Any], begin: int, end: int) -> Event:
        state = str(raw.get("newState") or "").partition("(")[0].strip().lower()
        state = _SPELLED.get(state, state)
        goes_on = self.until is not None and end >= self.until
        return Event(
            "alert" if state else "note",
            str(raw["id"]),
            begin,
            ended=end if end > begin and not goes_on else None,
            outcome=self._outcome(state or ("going on" if goes_on else "note")),
            actor=str(raw.get("login") or raw.get("userName") or ""),
            title=_plain(str(raw.get("text") or raw.get("title") or raw.get("alertName") or "")),
            url=link(self.config, raw, begin, end),
            labels=labels_of(_labels(raw, state)),
            revision=int(raw.get("updated") or raw.get("created") or 0) // 1000,
        )

    def _outcome(self, word: str) -> Outcome:
        own: Mapping[str, Outcome] = self.config.common.status
        known = own.get(word, STATUS.get(word))
        if known is None:
            reason = f'the state "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]'
            self.said["remark", reason] += 1
        return known or "excluded"

    def events(self) -> list[Event]:
        """The events, oldest first."""
        return sorted(self.found.values(), key=lambda event: (event.ts, event.key))

    def findings(self, where: str) -> tuple[Finding, ...]:
        """What was left out or needs a remark, counted by reason."""
        return tuple(Finding("reject" if kind == "reject" else "remark", reason, where, count)
                     for (kind, reason), count in sorted(self.said.items()))  # fmt: skip


def link(config: Config, raw: Mapping[str, Any], begin: int, end: int) -> str:
    """The address of the panel or dashboard around that time; "" where an annotation stands on none."""
    uid, base = str(raw.get("dashboardUID") or ""), (config.web or config.url).rstrip("/")
    if not uid or not base.startswith("http"):
        return ""
    shown = {"orgId": config.organisation, "from": (begin - _AROUND) * 1000, "to": (max(begin, end) + _AROUND) * 1000}
    panel = {"viewPanel": raw["panelId"]} if raw.get("panelId") else {}
    return f"{base}/d/{quote(uid, safe='')}?{urlencode({**shown, **panel})}"


def _labels(raw: Mapping[str, Any], state: str) -> dict[str, object]:
    tags = _tags(raw)
    named = {found[1]: found[2].strip() for tag in tags if (found := _TAG.fullmatch(tag))}
    inside = _INSIDE.search(str(raw.get("text") or "")) if state else None
    instance = dict(part.strip().partition("=")[::2] for part in inside[1].split(",") if "=" in part) if inside else {}
    return {
        **named,
        **instance,
        **({"alertname": raw["alertName"]} if raw.get("alertName") else {}),
        "dashboard": raw.get("dashboardUID"),
        "panel": raw.get("panelId") or None,
        "tags": f",{','.join(tags)}," if tags else None,
        "state": state,
    }


def _tags(raw: Mapping[str, Any]) -> list[str]:
    told = raw.get("tags")
    return [str(tag) for tag in told] if isinstance(told, list) else []


def _span(raw: Mapping[str, Any]) -> tuple[int, int]:
    """(begin, end) in epoch milliseconds; 0 where there is none."""
    begin, end = raw.get("time"), raw.get("timeEnd")
    first = begin if isinstance(begin, int) and not isinstance(begin, bool) else 0
    return first, max(first, end) if isinstance(end, int) and not isinstance(end, bool) else first


def _plain(text: str) -> str:
    """The text without the markup that Grafana would draw."""
    return " ".join(html.unescape(_MARKUP.sub(" ", text)).split())
