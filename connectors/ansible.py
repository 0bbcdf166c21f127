"""Ansible: plays from the files of its callbacks, and jobs of AWX or the Automation Controller from their API."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

from connectors import _ansible, _awx
from connectors._ansible import REPORT, STATUS, Said
from connectors._fields import Raw, time_or_none
from connectors._files import documents, documents_so_far, xml
from connectors._http import Client, Reply, open_client
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Gap, Page

PER_PAGE = 200
"""Most rows of a page; AWX gives no more."""
SETTLING = 600
"""Seconds after its end in which AWX may still write what happened in a job."""
JOBS_KNOWN = 20_000
"""Jobs whose hosts are not asked for again; forgetting costs requests."""
_PIECE = 1000
_MARKS = (
    (rb'"plays"\s*:\s*\[', rb'"(?:custom_stats|global_custom_stats|tasks)"\s*:'),
    (rb'"_event"\s*:\s*"v2_(?:playbook|runner)_on_', rb'"_timestamp"\s*:'),
    (rb'"launch_type"\s*:', rb'"(?:unified_job_template|job_template)"\s*:', rb'"elapsed"\s*:'),
)
"""Of one line all must stand in a file's beginning."""

ABOUT = About(
    reads="Plays from the files of Ansible's callbacks, and jobs of AWX or the Automation Controller from its API.",
    signals=("deploy_success", "deploy_duration"),
    events=("infrastructure",),
    labels={
        "play": "the name of the play (files)",
        "playbook": "the file's name of the playbook",
        "template": "the name of the job template (AWX)",
        "inventory": "the name of the inventory (AWX)",
        "project": "the name of the project (AWX)",
        "status": "how it ended: ok, failed, unreachable or no hosts of a play, AWX's own word of a job",
        "hosts": "hosts that it was about",
        "failed": "hosts that failed for good",
        "unreachable": "hosts that could not be reached",
        "changed": "tasks that changed something, over all hosts",
        "ignored": "failures of tasks that were ignored, over all hosts",
        "rescued": "failures of tasks that were rescued, over all hosts",
        "handled": "failures that were ignored or rescued, where the file does not say which",
        "retried": "tasks that needed more than one attempt, over all hosts",
    },
    files=(
        "ANSIBLE_STDOUT_CALLBACK=ansible.posix.jsonl ansible-playbook ... > run.jsonl (also of a run that broke off)",
        "ANSIBLE_STDOUT_CALLBACK=ansible.posix.json ansible-playbook ... > run.json",
        "reports of the callback junit (ANSIBLE_CALLBACKS_ENABLED=ansible.builtin.junit)",
        "the answers of AWX to /api/v2/jobs/ or /api/v2/unified_jobs/ as JSON, and awx jobs list -f json",
    ),
    limits=(
        "Of the results of tasks only whether they worked is read: no value, argument or message is kept.",
        "A play is bad where a host failed for good or was never reached, not by what was ignored or rescued.",
        "A file of jsonl without the last line of its run is a run that goes on, or that broke off.",
        "Reports of junit name no host that was never reached, neither ignored nor rescued failures, nor a beginning.",
        "Give one kind of file of each run: a run in json and junit would be two.",
        "Of AWX jobs count, no workflows, project updates or inventory syncs; their hosts cost a request for each job.",
    ),
    status=STATUS,
    aliases=("awx",),
    side="system",
    example="""\
connector = "ansible"
name = "awx"
url = "https://awx.example.com"            # AWX or the Automation Controller, or "file:exports/ansible" for callbacks
token_env = "AWX_TOKEN"                    # a token with the scope read
# hosts = false                            # saves a request for each job, and its counts of hosts
  [[source.map]]
  component = "checkout-api"
  match = { template = "deploy checkout*" }   # of files: { play = "deploy checkout*" }
""",
)


@dataclass(frozen=True)
class Config:
    """One AWX, or one folder of files."""

    common: Common
    url: str = setting(
        'AWX (".../api/controller/v2" where it has another path), or "file:DIR".',
        default="",
        example="https://awx.example.com",
    )
    hosts: bool = setting("Whether the counts of each job's hosts are asked for.", default=True)
    web: str = setting("Where people open AWX, if not at url.", default="", example="https://awx.example.com")


def scope(config: Config) -> str:
    """The address, or the folder."""
    return config.url.rstrip("/")


def recognise(item: Item) -> bool:
    """A file of the json, jsonl or junit callback, or an answer of AWX."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"{", b"[")):
        return any(all(re.search(mark, head) for mark in marks) for marks in _MARKS)
    return head.startswith(b"<") and REPORT.search(head.decode("utf-8", "replace")) is not None


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The plays or jobs of one file."""
    said = Said(config)
    events: list[Event] = []
    for event in _events(item, config, said):
        events.append(event)
        if len(events) >= _PIECE:
            yield Page(events)
            events = []
    yield Page(events, findings=said.findings(item.name))


def _events(item: Item, config: Config, said: Said) -> Iterator[Event]:
    if item.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        yield from _ansible.report(item, xml(item), said)
    elif re.search(_MARKS[2][0], item.head):
        for document in documents(item):
            for raw in _jobs(document):
                event = _awx.job_event(raw, config, said)
                if event is not None:
                    yield event
    else:
        for run in _ansible.runs(documents_so_far(item, said.remark), said):
            yield from run.events(said)


def _jobs(document: Any) -> list[Raw]:
    found = document.get("results", [document]) if isinstance(document, dict) else document
    return [raw for raw in found if isinstance(raw, dict)] if isinstance(found, list) else []


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The jobs that finished in [since, until), those that go on, and those that went on before."""
    if not config.url:
        raise SourceRefused(f'set url = "https://..." or "file:DIR" for the source "{config.common.name}".')
    with open_client(config, config.url) as client:
        before = pull.state if isinstance(pull.state, dict) and not pull.first else {}
        if before.get("settings") != _settings(config):
            before = {}
        # What finished lately is read again: AWX writes what happened in a job after its end.
        since = min(pull.since, int(before.get("until", pull.since)) - SETTLING) if before else pull.since
        known = {str(key): int(at) for key, at in before.get("jobs", {}).items()}
        yield from _Reading(client, config, pull, since, known).pages()


def _settings(config: Config) -> str:
    told = [config.url, config.hosts, sorted(config.common.status.items())]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@dataclass
class _Reading:
    """One pull from AWX."""

    client: Client
    config: Config
    pull: Pull
    since: int
    known: dict[str, int]
    """Jobs that were counted whole, with their end."""
    seen: set[str] = field(default_factory=set)
    said: Said = field(init=False)
    gaps: list[Gap] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.said = Said(self.config)

    def pages(self) -> Iterator[Page]:
        window = (("finished__gte", times.text(self.since)), ("finished__lt", times.text(self.pull.until)))
        yield from self._listed("unified_jobs/", (("type", "job"), *window, ("order_by", "finished,id")))
        going = (("type", "job"), ("finished__isnull", "true"), ("created__lt", times.text(self.pull.until)))
        yield from self._listed("unified_jobs/", (*going, ("order_by", "id")))
        yield from self._missing()
        covered = () if self.gaps else (Covered(self.pull.since, self.pull.until),)
        yield Page(state=self._state(), covered=covered, gaps=tuple(self.gaps),
                   findings=self.said.findings(self.config.common.name))  # fmt: skip

    def _listed(self, path: str, asked: Sequence[tuple[str, str]]) -> Iterator[Page]:
        """The jobs of a list; where it says more than it shows it is walked once more, then the rest is a gap."""
        found: set[int] = set()
        total = 0
        for _ in range(2):
            for reply in self._walk(path, asked):
                total = max(total, _stated(reply))
                rows = [raw for raw in _rows(reply) if raw.get("id") not in found]
                found |= {raw["id"] for raw in rows if isinstance(raw.get("id"), int)}
                yield Page([event for raw in rows if (event := self._job(raw)) is not None], covered=())
            if len(found) >= total:
                return
        reason = f"AWX says {total:,} jobs and lists {len(found):,}"
        self.gaps.append(Gap(self.pull.since, self.pull.until, reason))

    def _walk(self, path: str, asked: Sequence[tuple[str, str]]) -> Iterator[Reply]:
        page = 1
        while page:
            reply = self._get(path, (*asked, *_place(page)))
            yield reply
            page = _next(reply, page)

    def _get(self, path: str, asked: Sequence[tuple[str, str]] = (), accept: Sequence[int] = (200,)) -> Reply:
        given = urlsplit(self.config.url).path.rstrip("/")
        return self.client.get(path if given.endswith("/v2") else f"api/v2/{path}", asked, accept=accept)

    def _job(self, raw: Raw) -> Event | None:
        """One job, with what became of its hosts where that was not known for sure before."""
        key, finished = str(raw.get("id")), time_or_none(raw, "finished")
        self.seen.add(key)
        over = finished is not None and finished < self.pull.until
        if over and key in self.known:
            return None
        summaries = self._hosts(key) if over and self.config.hosts and key.isdecimal() else None
        event = _awx.job_event(raw, self.config, self.said, summaries)
        if event is None or event.ts >= self.pull.until:
            return None
        whole = summaries is not None or not self.config.hosts
        if finished is not None and whole and finished < self.pull.until - SETTLING:
            self.known[key] = finished
        return event if over or finished is None else _as_of(event, self.pull.until)

    def _hosts(self, key: str) -> list[Raw] | None:
        """What became of each host of a job; [] where that is gone, None where it could not be read whole."""
        found: dict[Any, Raw] = {}
        for _ in range(2):
            page, total = 1, 0
            while page:
                asked = (("order_by", "id"), *_place(page))
                reply = self._get(f"jobs/{key}/job_host_summaries/", asked, (200, 404))
                if reply.status == 404:
                    self.said.remark("the hosts of a job are no longer there; it counts without them")
                    return []
                found.update((raw.get("id"), raw) for raw in _rows(reply))
                total, page = max(total, _stated(reply)), _next(reply, page)
            if len(found) >= total:
                return list(found.values())
        self.said.remark("AWX lists fewer hosts of a job than it says; they are asked for again")
        return None

    def _missing(self) -> Iterator[Page]:
        """Jobs that went on when they were seen last and that no list shows."""
        events: list[Event] = []
        for event in self.pull.open:
            if event.kind != "infrastructure" or event.key in self.seen or not event.key.isdecimal():
                continue
            reply = self._get(f"jobs/{event.key}/", (), (200, 404))
            if reply.status == 404:
                self.said.remark("a job that went on is no longer there and is excluded")
                events.append(replace(event, outcome="excluded"))
                continue
            if not isinstance(reply.data, dict) or str(reply.data.get("id")) != event.key:
                raise SourceRefused(f"{urlsplit(reply.url).path} is no job of AWX; check that url is an AWX.")
            found = self._job(reply.data)
            events += [found] if found is not None else []
        yield Page(events, covered=())

    def _state(self) -> dict[str, Any]:
        newest = sorted(self.known.items(), key=lambda pair: pair[1])
        kept = [(key, at) for key, at in newest if at >= self.pull.until - 2 * DAY][-JOBS_KNOWN:]
        return {"settings": _settings(self.config), "until": self.pull.until, "jobs": dict(kept)}


def _as_of(event: Event, until: int) -> Event:
    """A job as it stood just before `until`, before its end."""
    begun = event.started if event.started is not None and event.started < until else None
    labels = tuple(pair for pair in event.labels if pair[0] != "status")
    return replace(event, outcome="open", started=begun, ended=None, labels=labels, revision=begun or event.ts)


def _place(page: int) -> tuple[tuple[str, str], ...]:
    """The parameters of a page."""
    size = ("page_size", str(PER_PAGE))
    return (size, ("page", str(page))) if page > 1 else (size,)


def _rows(reply: Reply) -> list[Raw]:
    rows = reply.data.get("results") if isinstance(reply.data, dict) else None
    if not isinstance(rows, list) or not all(isinstance(raw, dict) for raw in rows):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no list of AWX; check that url is an AWX.")
    return rows


def _stated(reply: Reply) -> int:
    total = reply.data.get("count") if isinstance(reply.data, Mapping) else None
    if isinstance(total, bool) or not isinstance(total, int):
        raise SourceRefused(f"{urlsplit(reply.url).path} does not say how many there are; check that url is an AWX.")
    return total


def _next(reply: Reply, page: int) -> int:
    """The number of the next page; 0 where there is none, or where it leads back."""
    told = reply.data.get("next") if isinstance(reply.data, Mapping) else None
    number = parse_qs(urlsplit(str(told or "")).query).get("page", ["0"])[0]
    return int(number) if number.isdecimal() and int(number) > page else 0
