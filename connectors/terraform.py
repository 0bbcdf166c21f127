"""Terraform and OpenTofu: runs and drift, from HCP Terraform or an own Enterprise, or from what the program saved."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote, urlsplit

from connectors import _terraform, _tfe
from connectors._fields import Raw, time_or_none
from connectors._files import digest_of, documents_so_far, load_json
from connectors._http import Client, Reply, open_client
from connectors._terraform import STATUS, Said
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Fact, Page, Slice

API = "https://app.terraform.io"
HEADERS = {"Accept": "application/vnd.api+json"}
PER_PAGE = 100
INCLUDED = (("include", "created_by,configuration_version.ingress_attributes"),)
HORIZON = 7 * DAY
"""How far back the daily sweep reads the list of runs again: it states no total by which a lost row would show."""
RUNS_KNOWN = 10_000
WORKSPACES_KNOWN = 5_000
_FOREVER = 1 << 40
_MARKS = (
    (rb'"@module"\s*:\s*"(?:terraform|tofu)\.ui"', rb'"@timestamp"\s*:'),
    (rb'"format_version"\s*:', rb'"(?:planned_values|resource_changes|resource_drift)"\s*:'),
    (rb'"lineage"\s*:', rb'"serial"\s*:\s*\d', rb'"terraform_version"\s*:'),
    (rb'"type"\s*:\s*"runs"', rb'"status-timestamps"\s*:'),
)
"""Of one line all must stand in a file's beginning."""

ABOUT = About(
    reads="Runs of Terraform and OpenTofu and how far resources drifted, from HCP Terraform's API or from saved files.",
    signals=("deploy_success", "deploy_duration", "in_sync"),
    events=("infrastructure",),
    labels={
        "workspace": "the name of the workspace (API)",
        "file": "the name of the file",
        "status": "how it ended in HCP Terraform's own word; of files applied, errored, plan only, state or drifted",
        "source": "what queued the run (API)",
        "branch": "the branch of the commit (API)",
        "destroy": '"true" for runs that destroy',
        "has_changes": "whether the plan held changes (API)",
        "added": "resources added, and changed, removed, imported (logs of apply)",
        "drifted": "resources that were not as declared",
        "resources": "resources that were looked at, or that a state holds",
        "terraform": "the version of the program",
        "serial": "the serial number of a state, and its lineage",
    },
    files=(
        "terraform apply -json > apply.jsonl (or tofu)",
        "terraform show -json PLAN > plan.json",
        "a state, version 4 (terraform state pull > state.json)",
        "the answer of HCP Terraform to /api/v2/organizations/ORG/runs as JSON",
    ),
    horizon=HORIZON,
    limits=(
        "Only an allow-list of keys is read: no value, variable, output, attribute or message of a resource.",
        "A run that only plans, finds nothing to change, is discarded or canceled deploys nothing and is excluded.",
        "A run lasts from the beginning of its apply (of its plan where it never applied), so waiting is not in it.",
        "in_sync counts resources: of a health assessment, of a saved plan, of a log that refreshed them.",
        "A state has no time: it needs --at, or takes the time of its file's last change.",
        "The list of runs states no total: a run that a page lost is found by the daily sweep, up to 7 days back.",
        "HCP Terraform keeps one health assessment for each workspace: those between two pulls are not seen.",
    ),
    status=STATUS,
    aliases=("opentofu", "tfe"),
    side="system",
    example="""\
connector = "terraform"
name = "infrastructure"
organization = "acme"                      # of HCP Terraform; or url = "file:exports/terraform" for saved files
token_env = "TFE_TOKEN"                    # a token that may read runs
# url = "https://tfe.example.com"          # Terraform Enterprise
# workspaces = ["shop-*"]                  # left out: all
# drift = false                            # saves a request for each workspace that is assessed
  [[source.map]]
  component = "checkout-api"
  match = { workspace = "shop-checkout*" }   # of files: { file = "checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One organization, or one folder of files."""

    common: Common
    organization: str = setting("The organization of HCP Terraform.", default="", example="acme")
    url: str = setting('HCP Terraform, Terraform Enterprise, or "file:DIR".', default=API, example=API)
    workspaces: tuple[str, ...] = setting("Globs of workspaces that count.", default=(), example=("shop-*",))
    drift: bool = setting("Whether health assessments are asked for.", default=True)
    web: str = setting("Where people open it, if not at url.", default="", example="https://tfe.example.com")


def scope(config: Config) -> str:
    """The address and the organization, or the folder."""
    if config.url.startswith("file:"):
        return config.url
    return f"{urlsplit(config.url).netloc}/{config.organization}".lower()


def recognise(item: Item) -> bool:
    """A log of apply, a saved plan, a state, or a list of runs."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and any(all(re.search(mark, head) for mark in marks) for marks in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The runs, or the drift, that one file tells."""
    said = Said(config)
    records: list[Event | Fact] = []
    if re.search(_MARKS[0][0], item.head):
        for log in _terraform.logs(documents_so_far(item, said.remark), said):
            records += log.records(item, said)
    else:
        records += _document(load_json(item), item, config, said)
    events = [one for one in records if isinstance(one, Event)]
    facts = [one for one in records if isinstance(one, Fact)]
    yield Page(events, findings=said.findings(item.name))
    if facts:
        digest = digest_of(item)[:32]
        first = hashlib.sha256(item.head[:200]).hexdigest()[:32]
        # A log that grows is the same piece by its beginning; any other file is one by its content.
        name = first if re.search(_MARKS[0][0], item.head) else digest
        yield Page(facts, slice=Slice(f"terraform:{name}", f"{digest}:{facts[0].ts}"))


def _document(raw: Any, item: Item, config: Config, said: Said) -> Iterator[Event | Fact]:
    if not isinstance(raw, dict):
        said.reject("what is there is no object of Terraform")
    elif "format_version" in raw:
        yield from _terraform.plan(raw, item, said)
    elif "lineage" in raw:
        yield from _terraform.state(raw, item, said)
    else:
        included = _tfe.Included()
        included.add(raw)
        names = {str(one.get("id")): str(_tfe.part(one, "attributes").get("name") or "") for one
                 in included.rows.values() if one.get("type") == "workspaces"}  # fmt: skip
        for one in _tfe.objects(raw, "data"):
            event = _tfe.run_event(one, names, included, config, _FOREVER, said)
            if event is not None:
                yield event


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The runs of [since, until), those that go on, and the newest health assessment of each workspace."""
    if re.fullmatch(r"[\w-]+", config.organization) is None:
        raise SourceRefused(f'set organization = "NAME" for the source "{config.common.name}".')
    before = pull.state if isinstance(pull.state, dict) and not pull.first else {}
    if before.get("settings") != _settings(config):
        before = {}
    with open_client(config, config.url, headers=HEADERS) as client:
        yield from _Reading(client, config, pull, before).pages()


def _settings(config: Config) -> str:
    told = [config.url, config.organization, config.workspaces, config.drift, sorted(config.common.status.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass
class _Reading:
    """One pull from the API."""

    client: Client
    config: Config
    pull: Pull
    before: Mapping[str, Any]
    said: Said = field(init=False)
    names: dict[str, str] = field(default_factory=dict)
    assessed: list[str] = field(default_factory=list)
    known: dict[str, int] = field(default_factory=dict)
    """Runs that were over when they were counted, with their creation."""
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.said = Said(self.config)

    def pages(self) -> Iterator[Page]:
        self.known = {str(key): int(at) for key, at in self.before.get("runs", {}).items()}
        floor = int(self.before.get("floor", self.pull.since))
        self._workspaces()
        yield from self._runs(self._start(floor))
        yield from self._missing()
        if self.config.drift:
            yield from self._drift()
        newest = sorted(self.known.items(), key=lambda pair: pair[1])[-RUNS_KNOWN:]
        state = {"settings": _settings(self.config), "floor": min(floor, self.pull.since), "runs": dict(newest)}
        yield Page(state=state, covered=(Covered(self.pull.since, self.pull.until),),
                   findings=self.said.findings(self.config.common.name))  # fmt: skip

    def _start(self, floor: int) -> int:
        """How far back the list is read: the sweep goes back over its horizon, but not before the first pull."""
        if self.pull.first or not self.pull.sweep:
            return self.pull.since
        return min(self.pull.since, max(self.pull.until - (self.config.common.horizon or HORIZON), floor))

    def _get(self, path: str, accept: Sequence[int] = (200,), asked: Sequence[tuple[str, str]] = ()) -> Reply:
        return self.client.get(f"api/v2/{path}", asked, accept=accept)

    def _walk(self, path: str, asked: Sequence[tuple[str, str]] = ()) -> Iterator[Reply]:
        page = 1
        while page:
            place = (("page[size]", str(PER_PAGE)), ("page[number]", str(page)))
            reply = self._get(path, asked=(*asked, *place))
            yield reply
            page = _next(reply, page)

    def _workspaces(self) -> None:
        """Names by id; and which of them are assessed."""
        path = f"organizations/{quote(self.config.organization)}/workspaces"
        total = 0
        for _ in range(2):
            for reply in self._walk(path):
                total = max(total, _stated(reply))
                for raw in _rows(reply, "workspaces"):
                    told, key = _tfe.part(raw, "attributes"), str(raw.get("id"))
                    name = str(told.get("name") or key)
                    if key not in self.names and told.get("assessments-enabled") is True and self._chosen(name):
                        self.assessed.append(key)
                    self.names[key] = name
            if len(self.names) >= total:
                return
        self.said.remark("the list of workspaces is shorter than it says; runs of others carry their id")

    def _chosen(self, name: str) -> bool:
        return not self.config.workspaces or any(fnmatchcase(name, glob) for glob in self.config.workspaces)

    # Runs

    def _runs(self, start: int) -> Iterator[Page]:
        """The list, newest first, until a page holds nothing that is new, goes on, or lies in the window."""
        path = f"organizations/{quote(self.config.organization)}/runs"
        for reply in self._walk(path, INCLUDED):
            included = _tfe.Included()
            included.add(reply.data)
            rows = _rows(reply, "runs")
            fresh = [raw for raw in rows if self._wanted(raw, start)]
            events = [event for raw in reversed(fresh) if (event := self._run(raw, included)) is not None]
            yield Page(events, covered=())
            if rows and not fresh and not self.pull.sweep:
                return
            if rows and all((time_or_none(_tfe.part(raw, "attributes"), "created-at") or 0) < start for raw in rows):
                return

    def _wanted(self, raw: Raw, start: int) -> bool:
        key = str(raw.get("id"))
        created = time_or_none(_tfe.part(raw, "attributes"), "created-at")
        if key in self.seen or (key in self.known and not self.pull.sweep):
            return False
        return created is None or created >= start or any(event.key == key for event in self.pull.open)

    def _run(self, raw: Raw, included: _tfe.Included) -> Event | None:
        self.seen.add(str(raw.get("id")))
        event = _tfe.run_event(raw, self.names, included, self.config, self.pull.until, self.said)
        if event is None or not self._chosen(dict(event.labels).get("workspace", "")):
            return None
        if event.outcome != "open":
            self.known[event.key] = event.ts
        return event

    def _missing(self) -> Iterator[Page]:
        """Runs that went on when they were seen last and that no page showed."""
        events: list[Event] = []
        for event in self.pull.open:
            if event.kind != "infrastructure" or event.key in self.seen or not re.fullmatch(r"run-\w+", event.key):
                continue
            reply = self._get(f"runs/{event.key}", (200, 404), INCLUDED)
            if reply.status == 404:
                self.said.remark("a run that went on is no longer there and is excluded")
                events.append(replace(event, outcome="excluded"))
                continue
            included = _tfe.Included()
            included.add(reply.data)
            rows = [raw for raw in _rows(reply, "runs") if raw.get("id") == event.key]
            if not rows:
                raise SourceRefused(f"{urlsplit(reply.url).path} is no run; check that url is HCP Terraform.")
            found = self._run(rows[0], included)
            events += [found] if found is not None else []
        yield Page(events, covered=())

    # Drift

    def _drift(self) -> Iterator[Page]:
        for place, key in enumerate(sorted(self.assessed)):
            self.pull.progress(f"drift of {self.names[key]}", place / len(self.assessed))
            reply = self._get(f"workspaces/{quote(key)}/current-assessment-result", (200, 404))
            if reply.status == 200:
                for raw in _rows(reply, "assessment-results"):
                    yield from self._assessment(raw, key)

    def _assessment(self, raw: Raw, workspace: str) -> Iterator[Page]:
        told, number = _tfe.part(raw, "attributes"), str(raw.get("id") or "")
        ts, drifted, steady = time_or_none(told, "created-at"), _count(told, "drifted"), _count(told, "undrifted")
        if told.get("succeeded") is False:
            self.said.remark("a health assessment that failed says nothing of drift")
            return
        if ts is None or not number or drifted is None or steady is None:
            self.said.reject("a health assessment has no time or does not count its resources")
            return
        if ts >= self.pull.until or drifted + steady == 0 or (ts < self.pull.since and self.pull.first):
            return
        labels = {"workspace": self.names[workspace]}
        name = f"terraform:{number}"
        if self.pull.first or self.pull.taken(name) is None:
            fact = _terraform.in_sync(ts, steady, drifted + steady, labels)
            event = [_terraform.drift_event(ts, drifted, drifted + steady, labels, number)] if drifted else []
            yield Page([fact, *event], covered=(), slice=Slice(name, f"{drifted}:{steady}:{ts}"))


def _count(told: Raw, name: str) -> int | None:
    """How many resources of a health assessment were found so; None where it does not say."""
    value = told.get(f"resources-{name}")
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _rows(reply: Reply, kind: str) -> Sequence[Raw]:
    """The objects of an answer, all of one type."""
    if not isinstance(reply.data, dict) or not isinstance(reply.data.get("data"), list | dict):
        raise SourceRefused(f"{urlsplit(reply.url).path} holds no {kind}; check that url is HCP Terraform.")
    rows = _tfe.objects(reply.data, "data")
    if any(raw.get("type") != kind for raw in rows):
        raise SourceRefused(f"{urlsplit(reply.url).path} holds other things than {kind}; check the url.")
    return rows


def _stated(reply: Reply) -> int:
    total = _tfe.part(_tfe.part(reply.data, "meta"), "pagination").get("total-count")
    return total if isinstance(total, int) and not isinstance(total, bool) else 0


def _next(reply: Reply, page: int) -> int:
    """The number of the next page; 0 where there is none, or where it leads back."""
    number = _tfe.part(_tfe.part(reply.data, "meta"), "pagination").get("next-page")
    return number if isinstance(number, int) and not isinstance(number, bool) and number > page else 0
