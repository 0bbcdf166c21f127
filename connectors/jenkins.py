"""Jenkins: builds of jobs, folders and multibranch projects with their tests and stages; files of its home.

One request tells the last build of every job, so that only jobs with a new one are read.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from connectors._fields import Raw, Unusable, text_of
from connectors._files import documents
from connectors._http import Client, Reply, open_client
from connectors._jenkins import STATUS, Builds, Job, chosen, job_of, number_of, report_of
from connectors._jenkins_files import BUILD, TESTS, is_build, is_tests, place_of, read_build, read_tests
from tandem import place
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.intervals import subtract, union
from tandem.records import DAY, Covered, Event, Fact, Gap, Page, Ratio, Series, Slice, bucket_of, labels_of

HORIZON = 7 * DAY
PER_PAGE = 100
DEPTH = 4
"""Folders in folders that one request looks through; deeper ones are asked for one by one."""
KNOWN = 8000
"""Results that are kept between pulls; forgetting costs requests, never a number."""
_PIECE = 1000
_FIELDS = (
    "_class,number,url,result,building,timestamp,duration,displayName,"
    "actions[_class,lastBuiltRevision[SHA1,branch[name]],causes[shortDescription,userId],"
    "queuingDurationMillis,totalCount,failCount,skipCount]"
)
_REPORT = "suites[cases[className,name,status,duration]]"
_LEAF = "_class,name,fullName,lastBuild[number,timestamp]"
_JSON = (
    re.compile(rb'"_class"\s*:\s*"(?:hudson|jenkins|org\.jenkinsci|com\.cloudbees)\.'),
    re.compile(rb'"(?:building|allBuilds|builds)"\s*:'),
)
_URL = re.compile(rb'"url"\s*:\s*"([^"]+/job/[^"]+)"')

ABOUT = About(
    reads="builds of Jenkins jobs with their tests and stages, from its API or from files of its home",
    signals=("build_success", "build_duration", "queue_time", "test_success"),
    events=("build", "test_run"),
    labels={
        "job": 'the full name of the job, "folder/job"; of a branch the multibranch project',
        "branch": "the branch, of a multibranch project or as the build checked it out",
        "result": 'how it ended, in Jenkins\' own word; "failed" on the event of a test',
        "stages": "the stages of a pipeline's build",
        "failed_stage": "the first stage that did not succeed",
        "suite": "the job, on test runs",
        "tests": "tests that ran (on test runs)",
        "failed": "tests that failed (on test runs)",
        "skipped": "tests that were skipped (on test runs)",
        "test": "the test, on the event of one that failed",
        "lost": "seconds of a test that failed, on its event",
        "of": "the key of the run, on the event of a test",
    },
    files=(
        "JENKINS_HOME/jobs/**/builds/NUMBER/build.xml, with junitResult.xml beside it",
        "saved answers of a job's or a build's api/json",
        "junitResult.xml alone",
    ),
    horizon=HORIZON,
    limits=(
        "UNSTABLE is good for the build and bad for its tests; change it in [source.status].",
        "A build that the discarder removed before it was read is a gap; one that was read stays.",
        "How long a build waited is known where the Metrics plugin is installed; Jenkins itself does not say it.",
        "Stages need the plugin Pipeline: REST API, and cost a request for each build (by default of bad ones only).",
        "A branch keeps its name in the API; in files it has the name of its folder.",
        "Names of failed tests cost a request for each build with failures.",
    ),
    status=STATUS,
    side="system",
    example="""\
connector = "jenkins"
name = "ci"
url = "https://jenkins.example.com"        # or "file:exports/jenkins"
user = "tandem"
token_env = "JENKINS_TOKEN"                # an API token of that user, who may read the jobs
jobs = ["shop/*"]                          # globs of full names, branches included; left out: all
component = "checkout-api"
# stages = "all"                           # ask for the stages of all builds, or of "bad" ones, or "none"
# tests = true
""",
)


@dataclass(frozen=True)
class Config:
    """Some jobs of one server."""

    common: Common
    url: str = setting('The server, or "file:DIR".', example="https://jenkins.example.com")
    user: str = setting("The user whose API token it is.", default="", example="tandem")
    jobs: tuple[str, ...] = setting("Globs of full names of jobs.", default=(), example=("shop/*",))
    stages: Literal["bad", "all", "none"] = setting("Of which builds stages are asked for.", default="bad")
    tests: bool = setting("Whether test reports are read.", default=True)


def scope(config: Config) -> str:
    """The server and the jobs."""
    parts = urlsplit(config.url)
    base = config.url if config.url.startswith("file:") else f"{parts.netloc}{parts.path}".rstrip("/").lower()
    return f"{base}#{','.join(sorted(config.jobs))}"


# -- files


def recognise(item: Item) -> bool:
    """Files that Jenkins keeps of a build, its folder, and saved answers of its API."""
    if item.entries:
        return BUILD in item.entries and is_build(item.child(BUILD).head)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if head.startswith((b"{", b"[")):
        return all(mark.search(head) for mark in _JSON)
    return is_build(head) or is_tests(head)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may be of these jobs: it lies in or names one of them, or none at all."""
    named = {job for url in _URL.findall(item.head) if (job := job_of(url.decode("utf-8", "replace")))}
    lies = place_of(item)
    jobs = named | ({lies[0]} if lies else set())
    return recognise(item) and (not jobs or any(chosen(config, job) for job in jobs))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The builds of one file, or of the folder of a build."""
    builds = Builds(config)
    head = b"" if item.entries else item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    try:
        if item.entries:
            tests = read_tests(item.child(TESTS))[0] if config.tests and TESTS in item.entries else None
            read_build(item.child(BUILD), builds, tests)
        elif head.startswith((b"{", b"[")):
            for document in documents(item):
                _read(builds, document)
        elif is_build(head):
            read_build(item, builds, None)
        elif config.tests:
            yield _alone(item, builds)
    except Unusable as error:
        builds.reject(str(error))
    _keep_chosen(builds)
    yield from builds.pages()
    yield Page(findings=builds.findings(item.name))


def _read(builds: Builds, document: Any) -> None:
    """A build, a job with its builds, or a list of either."""
    for raw in document if isinstance(document, list) else [document]:
        listed = raw.get("allBuilds", raw.get("builds")) if isinstance(raw, dict) else None
        if isinstance(listed, list):
            _read(builds, listed)
            continue
        try:
            _saved(builds, raw)
        except Unusable as error:
            builds.reject(str(error))


def _saved(builds: Builds, raw: Any) -> None:
    if not isinstance(raw, dict) or "timestamp" not in raw:
        raise Unusable("a build of a saved answer has no timestamp; ask for it with tree= or depth=1")
    job = job_of(text_of(raw, "url"))
    if job is None:
        raise Unusable("a build has no url, which says what it is of")
    builds.build(job, raw)


def _keep_chosen(builds: Builds) -> None:
    for key, event in list(builds.events.items()):
        if not chosen(builds.config, _of(event.key)[0]):
            builds.reject("builds of other jobs than those that are configured are left out")
            del builds.events[key]
            builds.tests.pop(key, None)


def _alone(item: Item, builds: Builds) -> Page:
    """A test report without its build: at the time it states, at the time that is given, or at that of the file."""
    tests, stated = read_tests(item)
    ts = stated if item.given.at is None else item.given.at
    if ts is None:
        builds.remark("test results hold no time; the time of the file's last change is taken")
        ts = item.modified
    ratio = Ratio(tests.good, tests.good + tests.bad)
    name = hashlib.sha256(repr(tests).encode("utf-8", "replace")).hexdigest()[:16]
    facts = [Fact(Series("test_success"), bucket_of(ts), ratio)] if ratio.total else []
    return Page(facts, slice=Slice(f"jenkins:tests:{name}", f"{name}:{ts}"))


# -- the API


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The builds of [since, until), and those that were still running."""
    with open_client(config, config.url, user=config.user) as client:
        yield from _Reading(client, config, pull, _remembered(config, pull)).pages()


@dataclass
class _Memory:
    """What one pull leaves for the next: the last build of each job, and results that may still be corrected."""

    settings: str
    floor: int = 0
    jobs: dict[str, list[int]] = field(default_factory=dict)
    results: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded."""
        self.results = dict(list(self.results.items())[-KNOWN:])
        return {"settings": self.settings, "floor": self.floor, "jobs": dict(self.jobs), "results": dict(self.results)}


def _remembered(config: Config, pull: Pull) -> _Memory:
    told = ["1", config.url, config.jobs, config.stages, config.tests, sorted(config.common.status.items())]
    settings = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
    if not isinstance(pull.state, dict) or pull.state.get("settings") != settings:
        return _Memory(settings, floor=pull.since)
    return _Memory(**pull.state)


@dataclass
class _Reading:
    """One pull from the API."""

    client: Client
    config: Config
    pull: Pull
    memory: _Memory
    gaps: list[Gap] = field(default_factory=list)
    components: set[str] = field(default_factory=set)
    seen: set[str] = field(default_factory=set)
    staged: bool = True
    """Whether the server tells stages."""

    def pages(self) -> Iterator[Page]:
        found = [one for one in self._jobs("", DEPTH) if chosen(self.config, one[0])]
        for number, (job, last) in enumerate(found, 1):
            self.pull.progress(job.name, number / len(found))
            self.components.update(self._components(job))
            known = self.memory.jobs.get(job.name)
            if last and (last != known or self.pull.sweep):
                yield from self._builds(job, known)
                yield Page(state=self.memory.plain())
        yield from self._open()
        said = Builds(self.config)
        if not found:
            said.remark("no job has a name that jobs allows")
        yield Page(state=self.memory.plain(), covered=self._covered(), gaps=tuple(self.gaps), findings=said.findings())

    def _covered(self) -> list[Covered] | None:
        """All that was asked for; where the discarder was faster, that of each component."""
        if not self.gaps:
            return None
        asked = [(self.pull.since, self.pull.until)]
        covered = []
        for one in sorted(self.components):
            gone = union((gap.since, gap.until) for gap in self.gaps if gap.component == one)
            covered += [Covered(low, high, one) for low, high in subtract(asked, gone)]
        return covered

    def _components(self, job: Job) -> tuple[str, ...]:
        labels = labels_of({"job": job.project, "branch": job.branch})
        placed = place.event_of(Event("build", job.name, 0, labels=labels), self.config.common)
        return placed.components if placed else ()

    # jobs

    def _jobs(self, path: str, depth: int, inside: bool = False) -> Iterator[tuple[Job, list[int] | None]]:
        """(job, number and time of its last build) of all jobs below a folder."""
        tree = f"jobs[{_LEAF}]"
        for _ in range(depth):
            tree = f"jobs[{_LEAF},{tree}]"
        yield from self._leaves(_object(self._get(f"{path}api/json", [("tree", tree)])).get("jobs"), inside)

    def _leaves(self, rows: Any, inside: bool) -> Iterator[tuple[Job, list[int] | None]]:
        if not isinstance(rows, list):
            raise SourceRefused(f"{self.config.common.name} got no list of jobs; check that url is a Jenkins server.")
        for raw in rows:
            name = text_of(raw, "fullName") if isinstance(raw, dict) else ""
            if not name:
                continue
            if "lastBuild" in raw:
                branch = unquote(name.rpartition("/")[2]) if inside else ""
                yield Job(name, branch), _last(raw["lastBuild"])
                continue
            many = text_of(raw, "_class").endswith("MultiBranchProject")
            if isinstance(raw.get("jobs"), list):
                yield from self._leaves(raw["jobs"], many)
            else:
                yield from self._jobs(_path(name), DEPTH, many)

    # builds

    def _builds(self, job: Job, known: list[int] | None) -> Iterator[Page]:
        """The builds of a job since the last one that is known, or in a sweep since the horizon."""
        stop = known[1] if known else self.memory.floor
        if self.pull.sweep and known:
            horizon = self.config.common.horizon or HORIZON
            stop = max(self.memory.floor, min(stop, self.pull.until - horizon))
        newest: tuple[int, int] | None = None
        oldest: tuple[int, int] | None = None
        reached = False
        for rows in self._listed(job):
            builds = Builds(self.config, self.pull.until)
            for raw in rows:
                try:
                    number, at = number_of(raw), _seconds(raw)
                    if at < stop:
                        reached = True
                        continue
                    oldest = (number, at)
                    if newest is None and at < self.pull.until:
                        newest = oldest
                    self._build(job, raw, builds)
                except Unusable as error:
                    builds.reject(str(error))
            yield from self._told(builds)
            if reached:
                break
        else:
            self._discarded(job, oldest, known)
        if newest is not None:
            self.memory.jobs[job.name] = list(newest)

    def _discarded(self, job: Job, oldest: tuple[int, int] | None, known: list[int] | None) -> None:
        """A gap where a list ends before what was asked for: the discarder was faster."""
        if oldest is None or oldest[0] <= (known[0] if known else 1):
            return
        since = max(self.pull.since, known[1] if known else self.memory.floor)
        if oldest[1] <= since:
            return
        reason = f"{job.name} keeps no builds before number {oldest[0]}"
        for component in self._components(job):
            self.gaps.append(Gap(since, min(oldest[1], self.pull.until), reason, component))

    def _listed(self, job: Job) -> Iterator[list[Raw]]:
        """The builds of a job, newest first; each page begins with the last of the one before, as both ends move."""
        begin, last = 0, ""
        seen: set[str] = set()
        while True:
            tree = f"allBuilds[{_FIELDS}]{{{begin},{begin + PER_PAGE}}}"
            rows = _object(self._get(f"{_path(job.name)}api/json", [("tree", tree)])).get("allBuilds")
            if not isinstance(rows, list) or not all(isinstance(raw, dict) for raw in rows):
                raise SourceRefused(f"{job.name} has no list of builds; check that url is a Jenkins server.")
            unique = {f"{raw.get('number')}@{raw.get('timestamp')}": raw for raw in rows}
            names = sorted(unique, key=lambda name: _order(unique[name]), reverse=True)
            if last and names and last not in unique:
                begin, last = max(0, begin - PER_PAGE), ""  # some were deleted meanwhile, and the rest moved up
                continue
            fresh = [unique[name] for name in names if name not in seen]
            if not fresh:
                return
            seen = set(unique)
            yield fresh
            if len(unique) < PER_PAGE and any(raw.get("number") == 1 for raw in fresh):
                return  # the first build there ever was
            begin, last = (1, "") if begin == 0 and len(unique) == 1 else (begin + len(unique) - 1, names[-1])

    def _build(self, job: Job, raw: Raw, builds: Builds) -> None:
        """A build, with its stages and the names of its failed tests where it is new or has another result."""
        event = builds.build(job, raw)
        if event is None:
            return
        self.seen.add(event.key)
        said = f"{event.outcome} {dict(event.labels).get('result', '')}"
        if self.memory.results.get(event.key) == said:
            del builds.events[event.key]  # it stands as it is
            builds.tests.pop(event.key, None)
            return
        if event.outcome == "open":
            return
        self._stages(event, raw, builds)
        self._tests(event, builds)
        if event.ts >= self.pull.until - (self.config.common.horizon or HORIZON):
            self.memory.results[event.key] = said

    def _stages(self, event: Event, raw: Raw, builds: Builds) -> None:
        clean = event.outcome == "good" and dict(event.labels).get("result") == "SUCCESS"
        if not self.staged or self.config.stages == "none" or (self.config.stages == "bad" and clean):
            return
        if text_of(raw, "_class") and not text_of(raw, "_class").endswith("WorkflowRun"):
            return
        job, number = _of(event.key)
        reply = self._get(f"{_path(job.name)}{number}/wfapi/describe", accept=(200, 404))
        if reply.status == 404:
            builds.remark("stages are not told: the plugin Pipeline: REST API is not installed")
            self.staged = False
        else:
            builds.stages(event.key, _object(reply))

    def _tests(self, event: Event, builds: Builds) -> None:
        if not self.config.tests:
            builds.tests.pop(event.key, None)
        tests = builds.tests.get(event.key)
        if tests is None or not tests.bad:
            return
        job, number = _of(event.key)
        reply = self._get(f"{_path(job.name)}{number}/testReport/api/json", [("tree", _REPORT)], accept=(200, 404))
        if reply.status == 200:
            builds.tests[event.key] = replace(tests, failed=report_of(_object(reply)).failed)

    def _open(self) -> Iterator[Page]:
        """Builds that still ran and that no list of this pull has shown."""
        builds = Builds(self.config, self.pull.until)
        gone: list[Event] = []
        for event in self.pull.open:
            if event.kind != "build" or "#" not in event.key or event.key in self.seen:
                continue
            job, number = _of(event.key)
            branch = dict(event.labels).get("branch", "")
            whole = replace(job, branch=branch if dict(event.labels).get("job") != job.name else "")
            if not chosen(self.config, job):
                continue
            reply = self._get(f"{_path(job.name)}{number}/api/json", [("tree", _FIELDS)], accept=(200, 404))
            try:
                if reply.status == 200:
                    self._build(whole, _object(reply), builds)
            except Unusable as error:
                builds.reject(str(error))
            if event.key not in self.seen:
                builds.remark("a running build is no longer there and is excluded")
                gone.append(replace(event, outcome="excluded"))
        yield from self._told(builds)
        yield Page(gone)

    def _told(self, builds: Builds) -> Iterator[Page]:
        yield from builds.pages()
        findings = builds.findings(self.config.common.name)
        if findings:
            yield Page(findings=findings)

    def _get(self, path: str, params: Sequence[tuple[str, str]] = (), accept: Sequence[int] = (200,)) -> Reply:
        return self.client.get(path, params, accept=accept, json="or page")


def _of(key: str) -> tuple[Job, int]:
    """The job and the number of a build's key."""
    name, _, rest = key.rpartition("#")
    number = rest.partition("@")[0]
    return Job(name), int(number) if number.isdecimal() else 0


def _path(name: str) -> str:
    """The path of a job or folder by its full name."""
    return "".join(f"job/{quote(part, safe='')}/" for part in name.split("/"))


def _last(raw: Any) -> list[int] | None:
    if not isinstance(raw, dict):
        return None
    try:
        return [number_of(raw), _seconds(raw)]
    except Unusable:
        return None


def _order(raw: Raw) -> tuple[int, int]:
    """Builds in the order in which they were made."""
    told = [raw.get(name) for name in ("timestamp", "number")]
    made, number = (one if isinstance(one, int) else 0 for one in told)
    return made, number


def _seconds(raw: Mapping[str, Any]) -> int:
    found = raw.get("timestamp")
    if isinstance(found, bool) or not isinstance(found, int) or found < 366 * 86_400_000:
        raise Unusable("a build has no timestamp")
    return found // 1000


def _object(reply: Reply) -> Raw:
    if not isinstance(reply.data, dict):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no object; check that url is a Jenkins server.")
    return reply.data
