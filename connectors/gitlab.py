"""GitLab CI: pipelines with all their attempts, jobs with their retries, deployments, releases and tests.

Lists are read in the order of their last change and by that time, not by page number: what changes while they are
read moves to the end and hides nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import quote, urlsplit

from connectors._files import documents
from connectors._gitlab import STATUS, Objects, pages_of
from connectors._gitlab_attempts import attempts_of
from connectors._gitlab_objects import Raw, Unusable, object_of, time_of
from connectors._gitlab_tests import Report, piece, report_of, runs
from connectors._http import Client, Reply, next_link, open_client
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.intervals import subtract, union
from tandem.records import DAY, Covered, Event, Finding, Gap, Page, labels_of

SERVER = "https://gitlab.com"
HORIZON = 30 * DAY
PER_PAGE = 100
KNOWN = 20_000
"""Pipelines that are kept between pulls; forgetting costs requests, never a number."""
SETTLED = 120
"""Seconds after its end in which a pipeline without a test report is read again."""
_PIECE = 1000
_FOLDER = 1000
_MARKS = tuple(
    tuple(re.compile(pattern) for pattern in patterns)
    for patterns in (
        (rb'"object_kind"\s*:\s*"(?:pipeline|build|deployment|release)"',),
        (rb'"web_url"\s*:\s*"[^"]*/-/(?:pipelines|jobs|environments)/', rb'"(?:sha|stage|deployable)"\s*:'),
        (rb'"iid"\s*:', rb'"deployable"\s*:', rb'"environment"\s*:'),
        (rb'"tag_name"\s*:', rb'"released_at"\s*:'),
        (rb'"test_suites"\s*:\s*\[', rb'"(?:success_count|suite_error|build_ids)"\s*:'),
    )
)
"""Of one line all must stand in a file's beginning for it to be GitLab's."""
_NAMED = re.compile(rb'"(?:web_url|url|self)"\s*:\s*"https?://[^/"]+/([^"]+?)/-/')
_PATH = re.compile(rb'"path_with_namespace"\s*:\s*"([^"]+)"')

ABOUT = About(
    reads="pipelines, jobs, deployments, releases and test reports of GitLab projects, from its API or from files",
    signals=("build_success", "build_duration", "queue_time", "deploy_success", "deploy_duration", "test_success"),
    events=("build", "deployment", "release", "test_run"),
    labels={
        "project": 'the path of the project, as "group/name"',
        "ref": "the branch or tag",
        "source": 'what made the pipeline: push, schedule, merge_request_event, "parent_pipeline" of a child',
        "workflow": "the name of the pipeline, else its project (where pipelines are counted)",
        "environment": "the environment of the deployment",
        "status": "how it stands, in GitLab's own word",
        "job": "the job (where jobs are counted, and of deployments)",
        "stage": "its stage (where jobs are counted)",
        "allow_failure": '"true" where the job may fail (where jobs are counted)',
        "suite": "the suite of a test run",
        "tests": "tests that ran (on test runs)",
        "failed": "tests that failed (on test runs)",
        "skipped": "tests that were skipped (on test runs)",
        "test": "the test, on the event of one that failed",
        "result": '"failed", on the event of a test',
        "lost": "seconds of a test that failed, on its event",
        "of": "the key of the suite's run, on the event of a test",
    },
    files=(
        "answers of the API: pipelines, jobs (with include_retried=true), deployments, releases, test reports",
        "glab ci list -F json, glab ci get -F json",
        "webhook deliveries as JSON or JSON Lines (pipeline, job, deployment, release)",
    ),
    horizon=HORIZON,
    limits=(
        "A retry that comes while nothing runs opens another attempt of the pipeline; the newest attempt counts.",
        "An attempt lasts as long as any of its jobs ran: waiting between jobs, as for a manual one, is left out.",
        'Pipelines and their jobs are never both counted as builds: choose by builds = "pipelines" or "jobs".',
        "Each new or changed pipeline costs a request for its jobs, one for its tests, one more where tests failed.",
        "Tests count in the pipeline's final state; how long each took is not read.",
        "A child pipeline is a build of its own, beside its parent; trigger jobs are not read.",
        "A file without jobs tells one attempt of a pipeline; a delivery tells no creation of a deployment.",
    ),
    status=STATUS,
    aliases=("gitlab_ci", "glab"),
    side="system",
    example="""\
connector = "gitlab"
name = "checkout-pipelines"
projects = ["acme/checkout"]               # paths with their groups, or numbers
component = "checkout-api"
token_env = "GITLAB_TOKEN"                 # a token with the scope read_api
# url = "https://gitlab.example.com"       # an own server, or "file:exports/gitlab"
# builds = "jobs"                          # count every job in place of pipelines
# refs = ["main", "release/*"]             # branches and tags whose pipelines count; left out: all
# children = true
# tests = true
# deployments = true
# releases = true
""",
)


@dataclass(frozen=True)
class Config:
    """Some projects of one server."""

    common: Common
    url: str = setting('The server, or "file:DIR".', default=SERVER, example=SERVER)
    projects: tuple[str, ...] = setting("Paths or numbers of projects.", default=(), example=("acme/checkout",))
    builds: Literal["pipelines", "jobs"] = setting('What a build is: "pipelines" or "jobs".', default="pipelines")
    refs: tuple[str, ...] = setting("Globs of branches and tags whose pipelines count.", default=(), example=("main",))
    children: bool = setting("Whether child pipelines count.", default=True)
    tests: bool = setting("Whether test reports are read.", default=True)
    deployments: bool = setting("Whether deployments count.", default=True)
    releases: bool = setting("Whether releases count.", default=True)


def scope(config: Config) -> str:
    """The server and the projects; files are those of the public server."""
    url = SERVER if config.url.startswith("file:") else config.url
    parts = urlsplit(url)
    base = f"{parts.netloc}{parts.path}".rstrip("/").removesuffix("/api/v4")
    return f"{base}/{','.join(sorted(config.projects))}".lower()


# -- files


def recognise(item: Item) -> bool:
    """Objects of GitLab's API or of its webhooks; a folder of nothing else, for its files belong together."""
    if item.entries:
        names = _readable(item)
        return bool(names) and all(recognise(item.child(name)) for name in names)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return any(all(mark.search(head) for mark in marks) for marks in _MARKS)


def _readable(folder: Item) -> list[str]:
    """The entries of a folder without notes to people; none where there are folders in it."""
    if len(folder.entries) > _FOLDER or any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith(".") and not entry.endswith(".md")]


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may hold objects of these projects: it names one of them, or none at all."""
    heads = [item.child(name).head for name in _readable(item)] if item.entries else [item.head]
    found = {name for head in heads for pattern in (_NAMED, _PATH) for name in pattern.findall(head)}
    named = {name.decode("utf-8", "replace").lower() for name in found}
    wanted = {one.lower() for one in config.projects if not one.isdecimal()}
    return not named or not wanted or any(name.endswith(one) for name in named for one in wanted)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, or of a folder whose files belong together; test reports by the time of the file."""
    objects = Objects(config)
    for each in [item.child(name) for name in _readable(item)] if item.entries else [item]:
        for document in documents(each):
            objects.add(document)
        for report in objects.reports:
            yield _loose(report, each, config, objects)
        objects.reports.clear()
    for events in pages_of(objects.events(), _PIECE):
        yield Page(events)
    yield Page(findings=objects.findings(item.name))


def _loose(report: Report, item: Item, config: Config, objects: Objects) -> Page:
    """A report that says neither its pipeline nor its time."""
    if item.given.at is None:
        objects.remark("a test report holds no time; the time of the file's last change is taken")
    ts = item.modified if item.given.at is None else item.given.at
    project = config.projects[0] if len(config.projects) == 1 else None
    name = hashlib.sha256(repr(report).encode("utf-8", "replace")).hexdigest()[:16]
    return piece(report, name, ts, labels_of({"project": project}))


# -- the API


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What changed in [since, until), with all that is told of it."""
    if not config.projects:
        raise SourceRefused(f'set projects = ["group/name"] for the source "{config.common.name}".')
    base = config.url.rstrip("/")
    if not base.startswith("file:") and not base.endswith("/api/v4"):
        base += "/api/v4"
    with open_client(config, base) as client:
        memory = _remembered(config, pull)
        gaps: list[Gap] = []
        for project in config.projects:
            yield from _Reading(client, config, pull, memory, project, gaps).pages()
        asked = [(pull.since, pull.until)]
        gone = union((gap.since, gap.until) for gap in gaps)
        covered = [Covered(low, high) for low, high in subtract(asked, gone)] if gaps else None
        yield Page(state=memory.plain(), covered=covered, gaps=tuple(gaps))


@dataclass
class _Memory:
    """What one pull leaves for the next: it saves requests, and `floor` is the time before which nothing was asked."""

    settings: str
    floor: int = 0
    known: dict[str, int] = field(default_factory=dict)
    """The last change of each pipeline whose details were read."""
    walks: dict[str, list[int]] = field(default_factory=dict)
    """(begin, read up to) of each list that a cut pull left."""

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded: what changed last is what may be listed again."""
        if len(self.known) > KNOWN:
            self.known = dict(sorted(self.known.items(), key=lambda one: one[1])[-KNOWN:])
        return {"settings": self.settings, "floor": self.floor, "known": dict(self.known), "walks": dict(self.walks)}


def _remembered(config: Config, pull: Pull) -> _Memory:
    told = [
        "1",
        config.url,
        config.projects,
        config.builds,
        config.refs,
        config.children,
        config.tests,
        config.deployments,
        config.releases,
        sorted(config.common.status.items()),
    ]
    settings = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    if not isinstance(pull.state, dict) or pull.state.get("settings") != settings:
        return _Memory(settings, floor=pull.since if pull.first else 0)
    return _Memory(**pull.state)


@dataclass
class _Reading:
    """One project in one pull."""

    client: Client
    config: Config
    pull: Pull
    memory: _Memory
    project: str
    gaps: list[Gap]
    seen: set[tuple[str, str]] = field(default_factory=set)
    shown: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)
    """The lists that the project shows, and those that it does not."""

    def pages(self) -> Iterator[Page]:
        start = self.pull.since
        if self.pull.sweep and not self.pull.first:
            start = min(start, self.pull.until - (self.config.common.horizon or HORIZON))
        self.memory.floor = min(self.memory.floor, self.pull.since)
        yield from self._pipelines("pipelines", start, [])
        if self.config.children:
            yield from self._pipelines("child pipelines", start, [("source", "parent_pipeline")])
        if self.config.deployments:
            yield from self._deployments(start)
        if self.config.releases:
            yield self._releases(start)
        if self.pull.sweep:
            yield self._open()
        yield Page(findings=self._hidden())

    def _hidden(self) -> tuple[Finding, ...]:
        lists = sorted(self.hidden & {"pipelines", "deployments", "releases"})
        if lists and not self.shown:
            raise SourceRefused(
                f'{self.config.common.name} may not see {" and ".join(lists)} of "{self.project}"; give its token the '
                "scope read_api and the role Reporter."
            )
        reason = "is switched off, or not for the role of this token: it is left out"
        return tuple(Finding("remark", f"{one} {reason}", self.project) for one in lists)

    def _get(self, path: str, params: Sequence[tuple[str, object]] = (), accept: Sequence[int] = (200,)) -> Reply:
        asked = [(name, str(value)) for name, value in params]
        whole = f"projects/{quote(self.project, safe='')}" + (f"/{path}" if path else "")
        return self.client.get(whole, asked, accept=accept)

    def _objects(self) -> Objects:
        return Objects(self.config, self.project, self.pull.until)

    # pipelines

    def _pipelines(self, what: str, start: int, only: list[tuple[str, object]]) -> Iterator[Page]:
        for rows in self._changed("pipelines", what, start, only):
            objects = self._objects()
            pieces: list[Page] = []
            tested: list[Event] = []
            for raw in rows:
                self._pipeline(raw, objects, pieces, tested)
            yield Page([*objects.events(), *tested], self.memory.plain(), findings=objects.findings(self.project))
            yield from pieces

    def _pipeline(self, raw: Raw, objects: Objects, pieces: list[Page], tested: list[Event]) -> None:
        """A pipeline as it was listed and, where it changed, its jobs and tests."""
        key = objects.guarded(partial(objects.pipeline, raw))
        if key is None:
            return
        self.seen.add(("build", key))
        pipeline = objects.pipelines[key]
        if pipeline.created < self.memory.floor:
            del objects.pipelines[key]
            return
        if self.memory.known.get(key) == pipeline.revision:
            del objects.pipelines[key]  # its events stand as they are
            return
        # A skipped pipeline ran nothing, so there is nothing to ask for.
        if pipeline.status != "skipped" and not self._jobs(key, objects):
            return
        finished = objects.meaning(pipeline.status) in ("good", "bad")
        told = not (self.config.tests and finished) or self._tests(key, objects, pieces, tested)
        # GitLab sums a report up some moments after the pipeline ended: none yet may be one at the next pull.
        if told or _at(raw, "updated_at", 0) < self.pull.until - SETTLED:
            self.memory.known[key] = pipeline.revision

    def _jobs(self, key: str, objects: Objects) -> bool:
        """Reads all jobs of a pipeline, retried ones too; False where it is gone."""
        path = f"pipelines/{key}/jobs"
        rows = self._listed(path, [("include_retried", "true")])
        if rows is None:
            objects.remark("a pipeline vanished while it was read")
            del objects.pipelines[key]
            return False
        for raw in rows:
            objects.guarded(partial(objects.job, raw, key))
        objects.whole.add(key)
        return True

    def _tests(self, key: str, objects: Objects, pieces: list[Page], tested: list[Event]) -> bool:
        """Reads the test report of a pipeline; False where there is none."""
        reply = self._get(f"pipelines/{key}/test_report_summary", accept=(200, 403, 404))
        if reply.status != 200:
            return False
        report: Report | None = objects.guarded(partial(report_of, _object(reply)))
        if report is None or not report.suites:
            return False
        if report.ratio.good < report.ratio.total:
            whole = self._get(f"pipelines/{key}/test_report", accept=(200, 403, 404))
            if whole.status == 200:
                report = objects.guarded(partial(report_of, _object(whole))) or report
        pipeline = objects.pipelines[key]
        where = labels_of({"project": pipeline.project, "ref": pipeline.ref})
        pieces.append(piece(report, key, pipeline.created, where))
        tested += runs(report, _last_attempt(pipeline, objects))
        return True

    # deployments and releases

    def _deployments(self, start: int) -> Iterator[Page]:
        for rows in self._changed("deployments", "deployments", start, []):
            objects = self._objects()
            for raw in rows:
                self.seen.add(("deployment", str(raw.get("id"))))
                if _at(raw, "created_at", self.memory.floor) >= self.memory.floor:
                    objects.guarded(partial(objects.deployment, raw))
            yield Page(objects.events(), self.memory.plain(), findings=objects.findings(self.project))

    def _releases(self, start: int) -> Page:
        """Releases by the day they were released, newest first; the sweep reads all, for that day may be changed."""
        objects = self._objects()
        order = [("order_by", "released_at"), ("sort", "desc")]
        whole = self.pull.first or self.pull.sweep
        rows = self._listed("releases", order, None if whole else start)
        for raw in rows or ():
            if _at(raw, "released_at", start) >= (self.memory.floor if whole else start):
                objects.guarded(partial(objects.release, raw))
        return Page(objects.events(), self.memory.plain(), findings=objects.findings(self.project))

    def _open(self) -> Page:
        """What was last seen open and no list has shown: it may have been deleted."""
        objects = self._objects()
        gone: list[Event] = []
        for event in self.pull.open:
            key = event.key.partition("/")[0]
            kind = {"build": "pipelines", "deployment": "deployments"}.get(event.kind)
            named = dict(event.labels).get("project", self.project)
            if kind is None or not key.isdecimal() or (event.kind, key) in self.seen or named != self.project:
                continue
            if self._get(f"{kind}/{key}", accept=(200, 404)).status == 404:
                objects.remark(f"an open {event.kind} is no longer there and is excluded")
                gone.append(replace(event, outcome="excluded"))
        return Page(gone, findings=objects.findings(self.project))

    # lists

    def _changed(
        self, path: str, what: str, start: int, only: list[tuple[str, object]]
    ) -> Iterator[list[Raw]]:  # fmt: skip
        """The rows that changed in [start, until), oldest change first; a list that lacks some is read once more."""
        place = f"{self.project} {what}"
        begun = self.memory.walks.get(place)
        begin = begun[1] if begun and begun[0] <= start < begun[1] else start
        known: dict[str, str] = {}
        for _ in range(2):
            total: int | None = None
            for number, (reply, rows, cursor) in enumerate(self._walked(path, begin, only)):
                total = _total(reply) if number == 0 else total
                fresh = {_key(raw): raw for raw in rows if known.get(_key(raw)) != _word(raw)}
                known.update((_key(raw), _word(raw)) for raw in rows)
                self.memory.walks[place] = [start, cursor]
                share = (cursor - start) / max(1, self.pull.until - start)
                self.pull.progress(f"{place} until {times.text(cursor)}", min(1.0, max(0.0, share)))
                yield [raw for raw in fresh.values() if _at(raw, "updated_at", 0) < self.pull.until]
            if total is None or len(known) >= total:
                break
        else:
            reason = f"GitLab says {total} {what} and lists {len(known)}"
            self.gaps.append(Gap(max(start, self.pull.since), self.pull.until, reason))
        self.memory.walks.pop(place, None)

    def _walked(
        self, path: str, begin: int, only: list[tuple[str, object]]
    ) -> Iterator[tuple[Reply, list[Raw], int]]:  # fmt: skip
        """(reply, rows, read up to): each page asks for what changed since the last row of the one before."""
        cursor, page = begin, 1
        seen: set[tuple[str, str]] = set()
        while True:
            asked: list[tuple[str, object]] = [
                ("updated_after", times.text(max(0, cursor - 1))),
                ("order_by", "updated_at"),
                ("sort", "asc"),
                ("per_page", PER_PAGE),
                *([("page", page)] if page > 1 else []),
                *only,
            ]
            reply = self._get(path, asked, accept=(200, 403, 404))
            if reply.status != 200:
                self._not_shown(path, reply)
                return
            self.shown.add(path)
            rows = _rows(reply)
            more = next_link(reply) is not None or len(rows) >= PER_PAGE
            last = max((_at(raw, "updated_at", cursor) for raw in rows), default=cursor)
            fresh = {(_key(raw), _word(raw)) for raw in rows} - seen
            seen = {(_key(raw), _word(raw)) for raw in rows} | (seen if last <= cursor else set())
            cursor, page = (last, 1) if last > cursor else (cursor, page + 1)
            yield reply, rows, cursor
            if not more or not rows or (page > 2 and not fresh):
                return

    def _not_shown(self, path: str, reply: Reply) -> None:
        """What a project does not show: it is not there, or only this part of it is switched off."""
        if reply.status == 404 and path == "pipelines":
            raise SourceRefused(
                f'{self.config.common.name} finds no project "{self.project}"; check projects, and that the token may '
                "read it."
            )
        self.hidden.add(path)

    def _listed(
        self, path: str, params: Sequence[tuple[str, object]], start: int | None = None
    ) -> list[Raw] | None:  # fmt: skip
        """All rows of a list, or those down to `start`; None where it is not there."""
        found: dict[str, Raw] = {}
        total: int | None = None
        for _ in range(2):
            page, more = 1, True
            while more:
                asked = [*params, ("per_page", PER_PAGE), *([("page", page)] if page > 1 else [])]
                reply = self._get(path, asked, accept=(200, 403, 404))
                if reply.status != 200:
                    self._not_shown(path, reply)
                    return None
                rows, known = _rows(reply), len(found)
                total = _total(reply) if page == 1 else total
                found.update((_key(raw), raw) for raw in rows)
                oldest = min((_at(raw, "released_at", self.pull.until) for raw in rows), default=0)
                more = next_link(reply) is not None or len(rows) >= PER_PAGE
                more = more and bool(rows) and (len(found) > known or page == 1) and (start is None or oldest >= start)
                page += 1
            if start is not None or total is None or len(found) >= total:
                return list(found.values())
        reason = f"GitLab says {total} rows of {path} and lists {len(found)}"
        self.gaps.append(Gap(self.pull.since, self.pull.until, reason))
        return list(found.values())


def _last_attempt(pipeline: Any, objects: Objects) -> Event:
    """The newest attempt of a pipeline, whatever is counted as a build: the tests are those of its end."""
    jobs = list(objects.jobs.get(pipeline.key, {}).values())
    return attempts_of(pipeline, jobs, objects.meaning, whole=True)[-1]


def _total(reply: Reply) -> int | None:
    """How many rows there are; above 10,000 GitLab does not say."""
    said = reply.headers.get("x-total", "")
    return int(said[:12]) if said.isdecimal() else None


def _rows(reply: Reply) -> list[Raw]:
    data = reply.data
    if not isinstance(data, list) or not all(isinstance(raw, dict) for raw in data):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no list of objects; check that url is a GitLab server.")
    return data


def _object(reply: Reply) -> Raw:
    try:
        return object_of(reply.data)
    except Unusable:
        raise SourceRefused(f"{urlsplit(reply.url).path} is no object; check that url is a GitLab server.") from None


def _key(raw: Mapping[str, Any]) -> str:
    return str(raw.get("id", raw.get("tag_name")))


def _word(raw: Raw) -> str:
    return f"{raw.get('updated_at')} {raw.get('status')}"


def _at(raw: Raw, name: str, default: int) -> int:
    try:
        return time_of(raw, name, default)
    except Unusable:
        return default
