"""New Relic: requests, latency and uptime in NRQL, deployments and incidents, through NerdGraph."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from connectors import _http
from connectors._files import documents
from connectors._newrelic import LONGEST, MOST, STATUS, Query, Rows, nrql, usual
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceDown, SourceRefused, setting, status_of
from tandem.records import BUCKET, DAY, HOUR, Covered, Event, Gap, Page, bucket_of

API: Mapping[str, str] = {"us": "https://api.newrelic.com", "eu": "https://api.eu.newrelic.com"}
AT_ONCE = 5
"""Queries of one request: New Relic asks for at most five complex ones at a time."""
_LATE = 300
_OPEN = 200
_DEPLOYMENTS = "FROM Deployment, ChangeTrackingEvent SELECT * WHERE category IS NULL OR category = 'Deployment'"
_INCIDENTS = "FROM NrAiIncident SELECT * WHERE event IN ('open', 'close')"

ABOUT = About(
    reads="Requests, latency and checks in New Relic by NRQL, with deployments and incidents, through NerdGraph.",
    signals=("request_success", "latency", "availability", "volume"),
    events=("deployment", "incident"),
    labels={
        "from": "the type of events of a signal that names no component",
        "appName": "or whatever attribute component_from names: its value",
        "entity.name": "the entity that was deployed or is affected",
        "entity.guid": "its identifier",
        "deploymentType": "the type of a deployment",
        "type": "the type of a tracked change",
        "groupId": "the group of a deployment",
        "policyName": "the alert policy of an incident",
        "conditionName": "its condition",
        "priority": "its priority",
        "account": "the account",
    },
    files=("saved answers of NerdGraph to NRQL queries with TIMESERIES 5 minutes, or of incidents and deployments",),
    limits=(
        "What New Relic keeps no longer (retention_days) is not asked for, and is a gap.",
        "The last 3 whole buckets are counted again at every pull; what comes later is found by the daily sweep.",
        "Counts of sampled events that are no whole numbers are rejected.",
        "Latency is cut on 43 bounds from 1 ms to a minute.",
        "A deployment is what somebody recorded: whether it succeeded is not known, unless [source.status] says so.",
        f"A query of more than {LONGEST:,} characters is refused.",
        "More values of a facet than New Relic tells apart are rejected and counted.",
    ),
    horizon=DAY,
    status=STATUS,
    restates=True,
    side="system",
    example="""\
connector = "newrelic"
name = "newrelic"
account = 1234567
region = "us"                              # or "eu"
token_env = "NEW_RELIC_API_KEY"            # a user key, NRAK-...
# url = "file:exports/newrelic"            # a folder of saved answers instead
# status = { recorded = "good" }           # if only successful deployments are recorded
  [[source.signal]]
  component = "checkout-api"
  signal = "request_success"
  from = "Transaction"
  where = "appName = 'checkout'"
  bad = "error IS true"
  [[source.signal]]
  component = "checkout-api"
  signal = "latency"
  from = "Transaction"
  where = "appName = 'checkout'"
  duration = "duration"                    # in seconds
  [[source.signal]]
  component = "checkout-api"
  signal = "availability"
  from = "SyntheticCheck"
  where = "monitorName = 'checkout'"
  good = "result = 'SUCCESS'"
""",
)


@dataclass(frozen=True)
class Config:
    """One account."""

    common: Common
    account: int = setting("The number of the account.", default=0, example=1234567)
    region: Literal["us", "eu"] = setting("Where its data lies.", default="us", example="eu")
    url: str = setting('Another address of the API, or "file:DIR".', default="", example="https://api.newrelic.com")
    signal: tuple[Query, ...] = setting("What is counted.", default=())
    deployments: bool = setting("Whether tracked changes of the category deployment are read.", default=True)
    incidents: bool = setting("Whether incidents are read.", default=True)
    retention_days: int = setting("How many days New Relic keeps these events.", default=8, example=30)


def scope(config: Config) -> str:
    """The region and the account; saved answers are those of the account."""
    return f"{config.region}/{config.account}"


def recognise(item: Item) -> bool:
    """Answers of NerdGraph to NRQL queries."""
    if item.entries:
        return False
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    marks = (b'"beginTimeSeconds"', b'"incidentId"', b'"deploymentId"', b'"changeTrackingId"')
    return head.startswith(b"{") and b'"actor"' in head and b'"results"' in head and any(mark in head for mark in marks)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What the saved answers of one file say."""
    rows = _rows(config)
    component = config.common.component[0] if len(config.common.component) == 1 else ""
    for document in documents(item):
        account = _account(document)
        if account is None:
            raise SourceRefused(f"{item.name} is no answer of NerdGraph to a query of an account; save one again.")
        if document.get("errors"):
            rows.said["reject", "an answer holds errors, so part of it may be missing"] += 1
        for alias, answer in account.items():
            if isinstance(answer, dict) and isinstance(answer.get("results"), list):
                _take_saved(rows, config, alias, answer, component)
    yield Page(rows.facts, covered=rows.covered, findings=rows.findings(item.name))
    yield Page(list(rows.events.values()), covered=())


def _take_saved(rows: Rows, config: Config, alias: str, answer: Mapping[str, Any], component: str) -> None:
    results = [row for row in answer["results"] if isinstance(row, dict)]
    number = alias.rpartition("_")[2]
    own = config.signal[int(number)] if number.isdigit() and int(number) < len(config.signal) else None
    if any("beginTimeSeconds" in row for row in results):
        query = own or (config.signal[0] if len(config.signal) == 1 else usual(alias, results))
        if query is None:
            reason = "nothing says what an answer counts: name its columns total and bad or good, or le_0.3 for 0.3 s"
            rows.said["reject", reason] += 1
            return
        rows.saved(query, answer, component)
        return
    for row in results:
        if "incidentId" in row:
            rows.incident(row)
        elif "deploymentId" in row or "changeTrackingId" in row:
            rows.deployment(row)
        else:
            rows.said["reject", "a row is no bucket, incident or deployment"] += 1


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The buckets of [since, until) in aligned pages of a day, and the last ones before it again."""
    if not config.account:
        raise SourceRefused(f'set account = NUMBER for the source "{config.common.name}".')
    if not (config.signal or config.deployments or config.incidents):
        raise SourceRefused("this newrelic source has nothing to read; `tandem init --connector newrelic` helps.")
    base = config.url or API[config.region]
    header = "API-Key"
    with _http.open_client(config, base, token_header=header, token_prefix="") as client:
        yield from _Reading(client, config, pull, _rows(config)).pages()


def _rows(config: Config) -> Rows:
    return Rows(lambda word: status_of(config, ABOUT, word), str(config.account or ""))


class _Smaller(Exception):
    """So much at once takes too long or does not fit: ask for a shorter time."""


@dataclass
class _Reading:
    """One pull."""

    client: _http.Client
    config: Config
    pull: Pull
    rows: Rows
    seen: set[str] = field(default_factory=set)

    def pages(self) -> Iterator[Page]:
        since = bucket_of(self.pull.since)
        if not self.pull.first and self.config.common.overlap is None:
            since -= _LATE
        if self.pull.sweep and not self.pull.first:
            since = min(since, bucket_of(self.pull.until - (self.config.common.horizon or DAY)))
        kept = bucket_of(self.pull.until - self.config.retention_days * DAY) + BUCKET
        gaps: list[Gap] = []
        if since < kept:
            reason = f"New Relic keeps these events for {self.config.retention_days} days"
            gaps = [Gap(since, min(kept, self.pull.until), reason)]
            since = min(kept, self.pull.until)
        yield Page(covered=(), gaps=gaps)
        begin = since
        while begin < self.pull.until:
            end = min(self.pull.until, begin // DAY * DAY + DAY)
            self.pull.progress(f"from {times.text(begin)}", (begin - since) / max(1, self.pull.until - since))
            yield from self._window(begin, end)
            begin = end
        yield from self._events()

    def _window(self, since: int, until: int) -> Iterator[Page]:
        """The facts of a stretch; of halves of it, where that is too much at once."""
        self.rows.facts = []
        try:
            self._ask(since, until)
        except _Smaller as refused:
            self.rows.said.clear()
            middle = bucket_of(since + (until - since) // 2)
            if until - since <= HOUR or middle <= since:
                raise SourceDown(f"{refused}, even for an hour; it is asked again at the next pull.") from None
            yield from self._window(since, middle)
            yield from self._window(middle, until)
            return
        where = f"account {self.config.account}"
        yield Page(self.rows.facts, covered=[Covered(since, until)], findings=self.rows.findings(where))

    def _ask(self, since: int, until: int) -> None:
        """Everything of one stretch, a few queries at a time."""
        told: list[tuple[str, str, Any]] = [
            (f"{query.signal}_{number}", nrql(query, since, until), query)
            for number, query in enumerate(self.config.signal)
        ]
        span = f"LIMIT MAX SINCE {since * 1000} UNTIL {until * 1000}"
        if self.config.deployments:
            told.append(("deployments", f"{_DEPLOYMENTS} {span}", None))
        if self.config.incidents:
            told.append(("incidents", f"{_INCIDENTS} {span}", None))
        for begin in range(0, len(told), AT_ONCE):
            some = told[begin : begin + AT_ONCE]
            answers = self._answers([(alias, text) for alias, text, _ in some])
            for alias, _, query in some:
                if query is None:
                    self._take(alias, answers[alias], since, until)
                else:
                    self.rows.series(query, answers[alias], since, until)

    def _take(self, alias: str, answer: Mapping[str, Any], since: int, until: int) -> None:
        results = [row for row in answer["results"] if isinstance(row, dict)]
        if len(results) >= MOST:
            raise _Smaller(f"New Relic gives at most {MOST:,} {alias} at once")
        for row in results:
            at = row.get("timestamp")
            if not isinstance(at, int | float) or not since * 1000 <= at < until * 1000:
                raise SourceDown("New Relic answered another question; check what stands before it.")
            if alias == "deployments":
                self.rows.deployment(row)
            else:
                self.rows.incident(row)

    def _events(self) -> Iterator[Page]:
        """What happened in the window, and how the incidents that were open before have ended."""
        known = {event.key for event in self.rows.events.values() if event.kind == "incident"}
        still = [event for event in self.pull.open if event.kind == "incident" and event.key not in known]
        for begin in range(0, len(still), _OPEN):
            self._closed(still[begin : begin + _OPEN])
        events = sorted(self.rows.events.values(), key=lambda event: (event.ts, event.kind, event.key))
        yield Page(events, covered=(), findings=self.rows.findings(f"account {self.config.account}"))

    def _closed(self, still: Sequence[Event]) -> None:
        keys = ", ".join("'" + event.key.replace("\\", "").replace("'", "") + "'" for event in still)
        since = max(min(event.ts for event in still), self.pull.until - self.config.retention_days * DAY)
        span = f"LIMIT MAX SINCE {since * 1000} UNTIL {self.pull.until * 1000}"
        text = f"{_INCIDENTS} AND incidentId IN ({keys}) {span}"
        try:
            self._take("incidents", self._answers([("incidents", text)])["incidents"], since, self.pull.until)
        except _Smaller as refused:
            raise SourceDown(f"{refused}; it is asked again at the next pull.") from None

    # -- NerdGraph

    def _answers(self, queries: Sequence[tuple[str, str]]) -> dict[str, Mapping[str, Any]]:
        """The answer to each query by its alias; all of them or none: raises SourceDown, SourceRefused or _Smaller."""
        names = ", ".join(f"$q{number}: Nrql!" for number in range(len(queries)))
        wanted = "results otherResult metadata { messages timeWindow { begin end } }"
        fields = " ".join(
            f"{alias}: nrql(query: $q{number}, timeout: 60) {{ {wanted} }}" for number, (alias, _) in enumerate(queries)
        )
        body = {
            "query": f"query($account: Int!, {names}) {{ actor {{ account(id: $account) {{ {fields} }} }} }}",
            "variables": {
                "account": self.config.account,
                **{f"q{number}": text for number, (_, text) in enumerate(queries)},
            },
        }
        data = self.client.post("/graphql", body=body).data
        self._check(data)
        account = _account(data)
        if account is None:
            raise SourceRefused(f"New Relic shows no account {self.config.account} to this key; check account, region.")
        if not all(isinstance(_results(account.get(alias)), list) for alias, _ in queries):
            raise SourceDown("New Relic left an answer out, so nothing of it counts; it is asked again.")
        return {alias: account[alias] for alias, _ in queries}

    def _check(self, data: Any) -> None:
        """NerdGraph answers 200 whatever happens: what went wrong stands in `errors`, beside part of the data."""
        errors = data.get("errors") if isinstance(data, dict) else None
        if not errors:
            return
        first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
        extensions = first.get("extensions")
        word = str(extensions.get("errorClass", "")) if isinstance(extensions, dict) else ""
        said = self.client.redacted(" ".join(str(first.get("message", "no reason")).split())[:200])
        if word == "TIMEOUT" or "timed out" in said.lower() or "too many buckets" in said.lower():
            raise _Smaller(f'New Relic gave up ("{said}")')
        if word in ("ACCESS_DENIED", "UNAUTHENTICATED", "UNAUTHORIZED"):
            raise SourceRefused(f'New Relic refuses the key ("{said}"); check token_env, account and region.')
        if word in ("INVALID_INPUT", "BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED") or "syntax error" in said.lower():
            raise SourceRefused(f'New Relic cannot answer a query ("{said}"); correct the [[source.signal]].')
        raise SourceDown(f'New Relic answered with an error ("{said}"), so nothing of it counts; it is asked again.')


def _results(answer: Any) -> Any:
    return answer.get("results") if isinstance(answer, dict) else None


def _account(document: Any) -> Mapping[str, Any] | None:
    found = document
    for name in ("data", "actor", "account"):
        found = found.get(name) if isinstance(found, dict) else None
    return found if isinstance(found, dict) else None
