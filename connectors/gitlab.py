"""GitLab CI: pipelines with all their attempts, jobs with their retries, deployments, releases and tests.

Lists are read in the order of their last change and by that time, not by page number: what changes while they are
read moves to the end and hides nothing.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import urlsplit

from connectors._files import documents
from connectors._gitlab import STATUS, Objects, pages_of
from connectors._gitlab_attempts import Pipeline, attempts_of
from connectors._gitlab_lists import PER_PAGE, Lists, at, object_in, rows_of
from connectors._gitlab_objects import Raw
from connectors._gitlab_tests import Report, piece, report_of, runs
from connectors._gitlab_walk import GROUP, MANY, may_report, together
from connectors._http import Client, next_link, open_client
from connectors._memory import kept
from connectors._together import all_are, parts
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.intervals import subtract, union
from tandem.records import DAY, Covered, Event, Finding, Gap, Page, labels_of

SERVER = "https://gitlab.com"
HORIZON = 30 * DAY
KNOWN = 20_000
"""Pipelines that are kept between pulls; forgetting costs requests, never a number."""
SETTLED = 120
"""Seconds after its end in which a pipeline without a test report is read again."""
_PIECE = 1000
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
        "A new or changed pipeline costs a request for its jobs, from 200 pipelines on one for each 100 jobs.",
        "One for its tests comes on top unless its jobs list no report, and one more where tests failed.",
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
        return all_are(item, recognise)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return any(all(mark.search(head) for mark in marks) for marks in _MARKS)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may hold objects of these projects: it names one of them, or none at all."""
    heads = [one.head for one in parts(item)]
    found = {name for head in heads for pattern in (_NAMED, _PATH) for name in pattern.findall(head)}
    named = {name.decode("utf-8", "replace").lower() for name in found}
    wanted = {one.lower() for one in config.projects if not one.isdecimal()}
    return not named or not wanted or any(name.endswith(one) for name in named for one in wanted)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, or of a folder whose files belong together; test reports by the time of the file."""
    objects = Objects(config)
    for each in parts(item):
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
    return kept(_Memory, config, pull, config.url, config.projects, config.builds, config.refs, config.children,
                config.tests, config.deployments, config.releases)  # fmt: skip


@dataclass
class _Reading:
    """One project in one pull."""

    client: Client
    config: Config
    pull: Pull
    memory: _Memory
    project: str
    gaps: list[Gap]
    lists: Lists = field(init=False)
    unseen: set[tuple[str, str]] = field(init=False)
    """(kind, id) of what was last seen open and no list has shown yet."""
    children: bool | None = None
    """Whether it has child pipelines; None until it was asked."""

    def __post_init__(self) -> None:
        name, walks = self.config.common.name, self.memory.walks
        self.lists = Lists(self.client, self.pull, self.project, name, walks, self.gaps)
        self.unseen = {(event.kind, event.key.partition("/")[0]) for event in self.pull.open}

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
        lists = sorted(self.lists.hidden & {"pipelines", "deployments", "releases"})
        if lists and not self.lists.shown:
            raise SourceRefused(
                f'{self.config.common.name} may not see {" and ".join(lists)} of "{self.project}"; give its token the '
                "scope read_api and the role Reporter."
            )
        reason = "is switched off, or not for the role of this token: it is left out"
        return tuple(Finding("remark", f"{one} {reason}", self.project) for one in lists)

    def _objects(self) -> Objects:
        return Objects(self.config, self.project, self.pull.until)

    # pipelines

    def _pipelines(self, what: str, start: int, only: list[tuple[str, object]]) -> Iterator[Page]:
        """Pipelines with their jobs and tests; where many changed, they are listed first and their jobs read together.

        Where jobs are counted they are asked for by pipeline: the project's list leaves out those that wait for others.
        """
        listed = self.lists.changed("pipelines", what, start, only)
        if self.config.builds == "jobs":
            for rows in listed:
                yield from self._each(self._fresh(rows, what))
            return
        objects = self._objects()
        for rows in listed:
            fresh = self._fresh(rows, what)
            objects.pipelines |= fresh.pipelines
            objects.take(fresh)
        rest = [key for key, one in objects.pipelines.items() if objects.meaning(one.status) not in ("good", "bad")]
        if len(objects.pipelines) - len(rest) >= MANY:
            finished = objects.pipelines  # there may be very many: they stay where they are
            objects.pipelines = {key: finished.pop(key) for key in rest}
            yield from self._together(what, finished)
        yield from self._each(objects)
        self.memory.walks.pop(self._told_place(what), None)

    def _fresh(self, rows: Sequence[Raw], what: str) -> Objects:
        """The pipelines of some rows that are new or changed, as they were listed."""
        objects = self._objects()
        until, bound = self.memory.walks.get(self._told_place(what), [0, 0])
        for raw in rows:
            key = objects.guarded(partial(objects.pipeline, raw))
            if key is None:
                continue
            self.unseen.discard(("build", key))
            one = objects.pipelines[key]
            over = objects.meaning(one.status) in ("good", "bad")
            before = over and bound < one.created and at(raw, "updated_at", until) < until  # a cut pull told it
            if before or one.created < self.memory.floor or self.memory.known.get(key) == one.revision:
                del objects.pipelines[key]  # its events stand as they are
        return objects

    def _told_place(self, what: str) -> str:
        return f"{self.project} {what} by jobs"

    def _together(self, what: str, wanted: dict[str, Pipeline]) -> Iterator[Page]:
        """Pipelines whose jobs the project's list tells, newest first; what it does not tell is asked for by itself."""
        for found in together(self._all_jobs(len(wanted)), _Created(wanted)):
            objects = self._objects()
            objects.pipelines |= {key: wanted.pop(key) for key in found}
            # Older ones are still to come; the newest may yet be summed up.
            bound = min(one.created for one in objects.pipelines.values())
            yield from self._each(objects, {key: rows for key, rows in found.items() if rows}, GROUP)
            self.memory.walks[self._told_place(what)] = [self.pull.until - SETTLED, bound]
        objects = self._objects()
        objects.pipelines |= wanted
        yield from self._each(objects)

    def _all_jobs(self, wanted: int) -> Iterator[list[Raw]]:
        """The pages of all jobs of the project, those that were tried again too, newest first; as far as it answers."""
        params = [("pagination", "keyset"), ("order_by", "id"), ("sort", "desc"), ("per_page", str(PER_PAGE))]
        reply = self.lists.get("jobs", params, accept=(200, 400, 403, 404, 405))
        walked: set[str] = set()
        while reply.status == 200:
            yield rows_of(reply)
            self.pull.progress(f"{self.project}: jobs of {wanted:,} pipelines", None)
            more = next_link(reply)
            if more is None or more in walked:
                return
            walked.add(more)
            reply = self.client.get(more, accept=(200, 400, 403, 404, 405))

    def _each(
        self, objects: Objects, jobs: Mapping[str, list[Raw]] | None = None, size: int = PER_PAGE
    ) -> Iterator[Page]:  # fmt: skip
        """The pages of some pipelines, with their jobs where these are known already."""
        keys = list(objects.pipelines)
        for begin in range(0, max(1, len(keys)), size):
            part = self._objects()
            part.pipelines |= {key: objects.pipelines[key] for key in keys[begin : begin + size]}
            pieces: list[Page] = []
            tested: list[Event] = []
            for key in keys[begin : begin + size]:
                self._pipeline(key, (jobs or {}).get(key), part, pieces, tested)
            if begin == 0:
                part.take(objects)
            yield Page([*part.events(), *tested], self.memory.plain(), findings=part.findings(self.project))
            yield from pieces

    def _pipeline(
        self, key: str, jobs: list[Raw] | None, objects: Objects, pieces: list[Page], tested: list[Event]
    ) -> None:  # fmt: skip
        """The jobs and tests of a pipeline."""
        pipeline = objects.pipelines[key]
        # A skipped pipeline ran nothing, so there is nothing to ask for.
        if pipeline.status != "skipped":
            jobs = self._jobs(key, objects) if jobs is None else jobs
            if jobs is None:
                return
            for raw in jobs:
                objects.guarded(partial(objects.job, raw, key))
            objects.whole.add(key)
        finished = objects.meaning(pipeline.status) in ("good", "bad")
        told = not (self.config.tests and finished) or self._tests(key, jobs or [], objects, pieces, tested)
        # GitLab sums a report up some moments after the pipeline ended: none yet may be one at the next pull.
        if told or pipeline.revision // 4 < self.pull.until - SETTLED:
            self.memory.known[key] = pipeline.revision

    def _jobs(self, key: str, objects: Objects) -> list[Raw] | None:
        """All jobs of a pipeline, retried ones too; None where it is gone."""
        rows = self.lists.listed(f"pipelines/{key}/jobs", [("include_retried", "true")])
        if rows is None:
            objects.remark("a pipeline vanished while it was read")
            del objects.pipelines[key]
        return rows

    def _tests(
        self, key: str, jobs: Sequence[Raw], objects: Objects, pieces: list[Page], tested: list[Event]
    ) -> bool:  # fmt: skip
        """Reads the test report of a pipeline, if it may have one; False where there is none."""
        if not may_report(jobs, self.pull.until) and not self._has_children():
            return True
        reply = self.lists.get(f"pipelines/{key}/test_report_summary", accept=(200, 403, 404))
        if reply.status != 200:
            return False
        report: Report | None = objects.guarded(partial(report_of, object_in(reply)))
        if report is None or not report.suites:
            return False
        if report.ratio.good < report.ratio.total:
            whole = self.lists.get(f"pipelines/{key}/test_report", accept=(200, 403, 404))
            if whole.status == 200:
                report = objects.guarded(partial(report_of, object_in(whole))) or report
        pipeline = objects.pipelines[key]
        where = labels_of({"project": pipeline.project, "ref": pipeline.ref})
        pieces.append(piece(report, key, pipeline.created, where))
        tested += runs(report, _last_attempt(pipeline, objects))
        return True

    def _has_children(self) -> bool:
        """Whether the project has child pipelines: the report of their parent may hold theirs."""
        if self.children is None:
            asked = [("source", "parent_pipeline"), ("per_page", 1)]
            reply = self.lists.get("pipelines", asked, accept=(200, 403, 404))
            self.children = reply.status != 200 or bool(rows_of(reply))
        return self.children

    # deployments and releases

    def _deployments(self, start: int) -> Iterator[Page]:
        for rows in self.lists.changed("deployments", "deployments", start, []):
            objects = self._objects()
            for raw in rows:
                self.unseen.discard(("deployment", str(raw.get("id"))))
                if at(raw, "created_at", self.memory.floor) >= self.memory.floor:
                    objects.guarded(partial(objects.deployment, raw))
            yield Page(objects.events(), self.memory.plain(), findings=objects.findings(self.project))

    def _releases(self, start: int) -> Page:
        """Releases by the day they were released, newest first; the sweep reads all, for that day may be changed."""
        objects = self._objects()
        order = [("order_by", "released_at"), ("sort", "desc")]
        whole = self.pull.first or self.pull.sweep
        rows = self.lists.listed("releases", order, None if whole else start)
        for raw in rows or ():
            if at(raw, "released_at", start) >= (self.memory.floor if whole else start):
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
            if kind is None or not key.isdecimal() or (event.kind, key) not in self.unseen or named != self.project:
                continue
            if self.lists.get(f"{kind}/{key}", accept=(200, 404)).status == 404:
                objects.remark(f"an open {event.kind} is no longer there and is excluded")
                gone.append(replace(event, outcome="excluded"))
        return Page(gone, findings=objects.findings(self.project))


class _Created(Mapping[str, int]):
    """When each of some pipelines was created."""

    def __init__(self, pipelines: Mapping[str, Pipeline]) -> None:
        self.pipelines = pipelines

    def __getitem__(self, key: str) -> int:
        return self.pipelines[key].created

    def __iter__(self) -> Iterator[str]:
        return iter(self.pipelines)

    def __len__(self) -> int:
        return len(self.pipelines)


def _last_attempt(pipeline: Any, objects: Objects) -> Event:
    """The newest attempt of a pipeline, whatever is counted as a build: the tests are those of its end."""
    jobs = list(objects.jobs.get(pipeline.key, {}).values())
    return attempts_of(pipeline, jobs, objects.meaning, whole=True)[-1]
