"""GitHub: workflow runs with all their attempts, deployments with their whole status history, releases."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from connectors._fields import Raw, Unusable
from connectors._files import documents
from connectors._github import FOREVER, STATUS, Objects
from connectors._http import Client, Reply, next_link, open_client
from tandem import times
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Gap, Page

API = "https://api.github.com"
HEADERS = {"Accept": "application/vnd.github+json", "X-GitHub-Api-Version": "2022-11-28"}
HORIZON = 30 * DAY
"""A finished run may be run again for 30 days."""
CAP = 1000
"""A filtered list of runs ends after 1,000, whatever its total says."""
PER_PAGE = 100
RUNS_KNOWN, DEPLOYMENTS_KNOWN, TAGS_KNOWN = 20_000, 10_000, 500
"""What is kept between pulls; forgetting costs requests, never a number."""
_PIECE = 1000
_MARKS = tuple(
    tuple(re.compile(pattern) for pattern in patterns)
    for patterns in (
        (rb'"workflow_runs"\s*:\s*\[',),
        (rb'"run_attempt"\s*:',),
        (rb'"workflow_(?:run|job)"\s*:\s*\{',),
        (rb'"deployment_status"\s*:\s*\{',),
        (rb'"deployment_url"\s*:\s*"[^"]*/deployments/',),
        (rb'"statuses_url"\s*:\s*"[^"]*/deployments/',),
        (rb'"tag_name"\s*:', rb'"(?:upload_url|tarball_url|target_commitish)"\s*:'),
        (rb'"databaseId"\s*:', rb'"(?:conclusion|headSha|workflowName)"\s*:'),
    )
)
"""Of one line all must stand in a file's beginning for it to be GitHub's."""
_NAMED = re.compile(
    rb'"(?:url|html_url|repository_url)"\s*:\s*"https?://[^/"]+(?:/api/v3)?(?:/repos)?/([^/"]+/[^/"]+)/'
)
EXPORT = (
    "databaseId,attempt,status,conclusion,createdAt,startedAt,updatedAt,headSha,headBranch,event,workflowName,"
    "displayTitle,url"
)
"""The fields that `gh run list --json` should be asked for."""

ABOUT = About(
    reads="Workflow runs, deployments and releases of one GitHub repository, from its API or from exported files.",
    signals=("build_success", "build_duration", "queue_time", "deploy_success", "deploy_duration"),
    events=("build", "deployment", "release"),
    labels={
        "repository": 'the repository as "owner/name"',
        "workflow": "the name of the workflow",
        "branch": "the branch of the run",
        "event": "what started the run (push, schedule, ...)",
        "environment": "the environment of the deployment",
        "ref": "the branch or tag of the deployment, the tag of the release",
        "task": 'the task of the deployment, usually "deploy"',
        "conclusion": "how it ended, in GitHub's own word",
        "prerelease": '"true" for releases marked so',
    },
    files=(
        f"gh run list --json {EXPORT}",
        "gh api --paginate repos/OWNER/NAME/actions/runs (or deployments, deployments/ID/statuses, releases)",
        "webhook deliveries as JSON or JSON Lines (workflow_run, deployment, deployment_status, release)",
    ),
    horizon=HORIZON,
    limits=(
        "A run that is run again after its pull is found by the daily sweep, up to 30 days back.",
        "Jobs are not fetched: an attempt ends at its last change, and how long a first attempt waited is unknown.",
        "More than 1,000 runs created in one second cannot be listed; the rest is reported as a gap.",
        "Each new or changed deployment costs one request for its statuses.",
        "One file names the statuses of a deployment only if it holds the deployment too; put both in one folder.",
    ),
    status=STATUS,
    aliases=("github_actions", "gha"),
    side="system",
    example="""\
connector = "github"
name = "checkout-ci"
repository = "acme/checkout"
component = "checkout-api"
token_env = "GITHUB_TOKEN"                 # a token that may read actions, deployments and contents
# url = "https://github.example.com/api/v3"   # GitHub Enterprise Server, or "file:exports/github"
# workflows = ["CI", "release*"]           # names or files of workflows; left out: all
# branches = ["main"]                      # of runs; left out: all
# deployments = true
# releases = true
""",
)


@dataclass(frozen=True)
class Config:
    """One repository."""

    common: Common
    repository: str = setting('The repository as "owner/name".', default="", example="acme/checkout")
    url: str = setting('The API, ".../api/v3" of an Enterprise Server, or "file:DIR".', default=API, example=API)
    workflows: tuple[str, ...] = setting("Globs of workflow names or files to count.", default=(), example=("CI",))
    branches: tuple[str, ...] = setting("Globs of branches whose runs count.", default=(), example=("main",))
    deployments: bool = setting("Whether deployments count.", default=True)
    releases: bool = setting("Whether releases count.", default=True)


def scope(config: Config) -> str:
    """The API's host and the repository; files are those of the public host."""
    host = "" if config.url.startswith("file:") else urlsplit(config.url).netloc
    return f"{host or urlsplit(API).netloc}/{config.repository}".lower()


def recognise(item: Item) -> bool:
    """Objects of GitHub's API, of `gh run list --json` or of its webhooks; a folder by the statuses beside them."""
    if item.entries:
        return _folder_of_statuses(item)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return any(all(mark.search(head) for mark in marks) for marks in _MARKS)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file may hold objects of this repository: it names it, or no repository at all."""
    head = item.child(item.entries[0]).head if item.entries else item.head
    named = {name.decode("utf-8", "replace").lower() for name in _NAMED.findall(head)}
    return not named or not config.repository or config.repository.lower() in named


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The events of one file, or of a folder whose files belong together."""
    objects = Objects(config)
    for each in [item.child(entry) for entry in item.entries] if item.entries else [item]:
        _read(each, objects)
    events = objects.events()
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE])
    yield Page(findings=objects.findings(item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The events of [since, until), and what changed of older ones."""
    if re.fullmatch(r"[\w.-]+/[\w.-]+", config.repository) is None:
        raise SourceRefused(f'set repository = "owner/name" for the source "{config.common.name}".')
    with open_client(config, config.url, headers=HEADERS) as client:
        yield from _Reading(client, config, pull, _remembered(config, pull)).pages()


@dataclass
class _Memory:
    """What one pull leaves for the next; all of it only saves requests."""

    settings: str
    floor: int = 0
    walk: tuple[int, int] | None = None
    runs: dict[str, int] = field(default_factory=dict)
    deployments: dict[str, str] = field(default_factory=dict)
    tags: dict[str, list[Any]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded: the highest ids are the newest objects."""
        self.runs = _newest(self.runs, RUNS_KNOWN)
        self.deployments = _newest(self.deployments, DEPLOYMENTS_KNOWN)
        tags = dict(list(self.tags.items())[-TAGS_KNOWN:])
        kept = {"settings": self.settings, "floor": self.floor, "walk": list(self.walk) if self.walk else None}
        return {**kept, "runs": dict(self.runs), "deployments": dict(self.deployments), "tags": tags}


def _remembered(config: Config, pull: Pull) -> _Memory:
    settings = _fingerprint(config)
    if not isinstance(pull.state, dict) or pull.state.get("settings") != settings:
        return _Memory(settings, floor=pull.since if pull.first else 0)
    known = dict(pull.state)
    walk = known.pop("walk")
    return _Memory(**known, walk=(walk[0], walk[1]) if walk else None)


@dataclass
class _Reading:
    """One pull from the API."""

    client: Client
    config: Config
    pull: Pull
    memory: _Memory
    gaps: list[Gap] = field(default_factory=list)
    seen: set[tuple[str, str]] = field(default_factory=set)
    start: int = 0

    def pages(self) -> Iterator[Page]:
        self.start = self._start()
        self.memory.floor = min(self.memory.floor, self.start)
        yield from self._runs()
        yield from self._open_runs()
        if self.config.deployments:
            yield from self._deployments()
            yield from self._open_deployments()
        if self.config.releases:
            yield from self._releases()
        covered = _without(self.pull.since, self.pull.until, self.gaps) if self.gaps else None
        yield Page(state=self.memory.plain(), covered=covered, gaps=tuple(self.gaps))

    def _start(self) -> int:
        """Where lists are read from: the daily sweep goes back as far as a finished run may be run again."""
        if self.pull.first or not self.pull.sweep:
            return self.pull.since
        horizon = self.config.common.horizon or HORIZON
        return min(self.pull.since, max(self.pull.until - horizon, self.memory.floor))

    def _get(self, path: str, tag: str = "", accept: Sequence[int] = (200,), **params: object) -> Reply:
        headers = {"If-None-Match": tag} if tag else {}
        asked = [(name, str(value)) for name, value in params.items()]
        return self.client.get(f"repos/{self.config.repository}/{path}", asked, headers=headers, accept=accept)

    # Runs

    def _runs(self) -> Iterator[Page]:
        begin = self.start
        if self.memory.walk and self.memory.walk[0] <= begin < self.memory.walk[1]:
            begin = self.memory.walk[1]
        for last, rows in self._windows(begin, self.pull.until - 1):
            objects = Objects(self.config)
            for raw in rows:
                self._run(raw, objects)
            self.memory.walk = (self.start, last + 1)
            share = (last + 1 - self.start) / max(1, self.pull.until - self.start)
            self.pull.progress(f"runs until {times.text(last)}", share)
            yield self._page(objects)
        self.memory.walk = None

    def _windows(self, since: int, last: int) -> Iterator[tuple[int, list[Raw]]]:
        """Runs created in [since, last], oldest piece first; a piece over the cap is halved on whole seconds."""
        if since > last:
            return
        # A short window is seldom over the cap: its first page says the total as well as a probe would.
        total = self._total(since, last) if last - since > DAY else 1
        if total < CAP:
            listed = self._listed(since, last) if total else []
            if listed is not None:
                yield last, listed
                return
        if since == last:
            self.gaps.append(Gap(since, since + 1, "GitHub lists at most 1,000 runs of one second"))
            yield last, self._listed(since, last, capped=False) or []
            return
        middle = (since + last) // 2
        yield from self._windows(since, middle)
        yield from self._windows(middle + 1, last)

    def _total(self, since: int, last: int) -> int:
        reply = self._get("actions/runs", accept=(200, 422), created=_span(since, last), per_page=1)
        return CAP if reply.status == 422 else _stated(reply)

    def _listed(self, since: int, last: int, *, capped: bool = True) -> list[Raw] | None:
        """All runs of a window, oldest first; None where they are over the cap."""
        found: dict[str, Raw] = {}
        for _ in range(2):
            total = self._walk(since, last, found, capped)
            if total is None:
                return None
            if len(found) >= total or not capped:
                break
        else:
            reason = f"GitHub says {total} runs and lists {len(found)}"
            self.gaps.append(Gap(max(since, self.pull.since), last + 1, reason))
        return sorted(found.values(), key=lambda raw: str(raw.get("created_at")))

    def _walk(self, since: int, last: int, found: dict[str, Raw], capped: bool) -> int | None:
        """Pages through a window into `found`; the highest total stated on the way, or None over the cap."""
        total, page, more = 0, 1, True
        walked: set[str] = set()
        while more:
            reply = self._get(
                "actions/runs",
                accept=(200, 422),
                created=_span(since, last),
                exclude_pull_requests="true",
                per_page=PER_PAGE,
                page=page,
            )
            if reply.status == 422:
                return None if capped else total
            total = max(total, _stated(reply))
            if capped and total >= CAP:
                return None
            known = len(walked)
            for raw in _rows(reply, "workflow_runs"):
                walked.add(_key(raw))
                found[_key(raw)] = _later(found.get(_key(raw)), raw)
            more = next_link(reply) is not None and len(walked) > known
            page += 1
        return total

    def _run(self, raw: Raw, objects: Objects) -> None:
        """A run as it was listed, and those of its earlier attempts that are not known yet."""
        event = _guarded(objects, partial(objects.run, raw))
        if event is None:
            return
        self.seen.add(("build", event.key))
        again = event.attempt > 1 and raw.get("previous_attempt_url", "") is not None
        for attempt in range(self.memory.runs.get(event.key, 0) + 1, event.attempt if again else 1):
            reply = self._get(f"actions/runs/{event.key}/attempts/{attempt}", accept=(200, 404))
            if reply.status == 404:
                objects.remark("an earlier attempt of a run is no longer there")
            else:
                earlier = {**_object(reply), "created_at": raw.get("created_at")}
                _guarded(objects, partial(objects.run, earlier))
        done = event.attempt - (event.outcome == "open" or self._ahead(raw, "updated_at"))
        if done:
            self.memory.runs[event.key] = done

    def _open_runs(self) -> Iterator[Page]:
        objects = Objects(self.config)
        gone: list[Event] = []
        for event in self._open("build"):
            path = f"actions/runs/{event.key}"
            reply = self._get(path, self._tag(path), (200, 304, 404))
            if reply.status == 404:
                gone.append(_gone(event, objects))
            elif reply.status == 200:
                raw = _object(reply)
                self._run(raw, objects)
                self._note(path, reply, ahead=self._ahead(raw, "updated_at"))
        yield self._page(objects, gone)

    # Deployments

    def _deployments(self) -> Iterator[Page]:
        rows, tag = self._newest_first("deployments")
        changed = [
            raw
            for raw in rows
            if self._wanted(raw, "created_at") and self.memory.deployments.get(_key(raw)) != _word(raw)
        ]
        changed.sort(key=lambda raw: str(raw.get("created_at")))
        for begin in range(0, len(changed), PER_PAGE):
            objects = Objects(self.config)
            for raw in changed[begin : begin + PER_PAGE]:
                self._deployment(raw, objects)
            self.pull.progress("deployments", (begin + 1) / len(changed))
            yield self._page(objects)
        self._keep_tag("deployments", tag)

    def _deployment(self, raw: Raw, objects: Objects) -> None:
        key = _key(raw)
        statuses, first = self._statuses(key)
        if statuses is None:
            return
        _guarded(objects, partial(objects.deployment, raw, statuses))
        self.seen.add(("deployment", key))
        self.memory.deployments[key] = _word(raw)
        if not any(STATUS.get(str(status.get("state"))) in ("good", "bad") for status in statuses):
            self._note(f"deployments/{key}", first, ahead=any(self._ahead(one, "created_at") for one in statuses))

    def _statuses(self, key: str, tag: str = "") -> tuple[list[Raw] | None, Reply]:
        """The whole history of a deployment, None where it is unchanged or gone, and the first reply."""
        path = f"deployments/{key}/statuses"
        first = reply = self._get(path, tag, (200, 304, 404), per_page=PER_PAGE)
        if reply.status != 200:
            return None, first
        found = _rows(reply)
        page = 2
        while next_link(reply):
            reply = self._get(path, per_page=PER_PAGE, page=page)
            more = _rows(reply)
            if not more:
                break
            found += more
            page += 1
        return found, first

    def _open_deployments(self) -> Iterator[Page]:
        objects = Objects(self.config)
        gone: list[Event] = []
        for event in self._open("deployment"):
            path = f"deployments/{event.key}"
            statuses, first = self._statuses(event.key, self._tag(path))
            if first.status == 404:
                gone.append(_gone(event, objects))
            elif statuses is not None:
                raw = _object(self._get(path))
                _guarded(objects, partial(objects.deployment, raw, statuses))
                self._note(path, first, ahead=any(self._ahead(status, "created_at") for status in statuses))
        yield self._page(objects, gone)

    # Releases

    def _releases(self) -> Iterator[Page]:
        # A release is listed by the date of its commit and may be published much later: the sweep reads them all.
        rows, tag = self._newest_first("releases", whole=self.pull.first or self.pull.sweep)
        objects = Objects(self.config)
        for raw in rows:
            if self._wanted(raw, "published_at"):
                _guarded(objects, partial(objects.release, raw))
        yield self._page(objects)
        self._keep_tag("releases", tag)

    def _newest_first(self, path: str, *, whole: bool = False) -> tuple[list[Raw], list[Any]]:
        """The rows of a list without a time filter down to `start`, and the tag of its first page if it may be kept."""
        found: dict[str, Raw] = {}
        kept = self.memory.tags.get(path, ["", 0, self.pull.until])
        # The tag stands for rows that were counted: with an earlier start they were not.
        reply = self._get(path, kept[0] if self.start >= kept[2] else "", (200, 304), per_page=PER_PAGE)
        if reply.status == 304:
            tag, oldest, more = kept, int(kept[1]), len(kept) > 3 and bool(kept[3])
        else:
            rows = _rows(reply)
            found = {_key(raw): raw for raw in rows}
            oldest, more = _oldest(rows), next_link(reply) is not None
            ahead = any(self._ahead(raw, "created_at", "published_at") for raw in rows)
            tag = ["" if ahead else reply.headers.get("etag", "")[:200], oldest, self.start, more]
        page = 2
        while more and (whole or oldest >= self.start):
            reply = self._get(path, per_page=PER_PAGE, page=page)
            rows = [raw for raw in _rows(reply) if _key(raw) not in found]
            found.update((_key(raw), raw) for raw in rows)
            oldest = min(oldest, _oldest(rows))
            more = next_link(reply) is not None and bool(rows)
            page += 1
        return list(found.values()), tag

    def _wanted(self, raw: Raw, name: str) -> bool:
        """Whether an object belongs to the window; one without a usable time is passed on, to be named."""
        at = _at(raw, name)
        return at is None or self.start <= at < self.pull.until

    # Bookkeeping

    def _open(self, kind: str) -> Iterator[Event]:
        """Objects last seen open that no list of this pull has shown."""
        asked: set[str] = set()
        for event in self.pull.open:
            if event.kind == kind and event.key.isdecimal() and (kind, event.key) not in self.seen:
                if event.key not in asked:
                    yield event
                asked.add(event.key)

    def _tag(self, path: str) -> str:
        return str(self.memory.tags.get(path, [""])[0])

    def _note(self, path: str, reply: Reply, *, ahead: bool) -> None:
        """Keeps the tag of what was counted whole; of what lies ahead of `until` the next pull must see it again."""
        self._keep_tag(path, ["" if ahead else reply.headers.get("etag", "")[:200]])

    def _ahead(self, raw: Raw, *names: str) -> bool:
        return any((_at(raw, name) or 0) >= self.pull.until for name in names)

    def _keep_tag(self, path: str, tag: list[Any]) -> None:
        self.memory.tags.pop(path, None)
        if tag[0]:
            self.memory.tags[path] = tag

    def _page(self, objects: Objects, more: Sequence[Event] = ()) -> Page:
        records = [*objects.events(self.pull.until), *more]
        return Page(records, self.memory.plain(), findings=objects.findings(self.config.repository))


def _read(item: Item, objects: Objects) -> None:
    for document in documents(item):
        objects.add(document)


def _folder_of_statuses(item: Item) -> bool:
    """A folder of nothing but GitHub's objects, statuses apart from their deployments among them."""
    names = [entry.rpartition("/")[2].lower() for entry in item.entries]
    plain = [name for name in names if re.search(r"\.(json|jsonl|ndjson)(\.\w+)?$", name)]
    if len(plain) != len(names) or not any("status" in entry.lower() for entry in item.entries):
        return False
    return all(recognise(item.child(entry)) for entry in list(item.entries)[:50])


def _guarded(objects: Objects, read: Any) -> Event | None:
    try:
        found: Event | None = read()
    except Unusable as error:
        objects.reject(str(error))
        return None
    return found


def _gone(event: Event, objects: Objects) -> Event:
    """An open object that its repository no longer has: it will never end, so nobody asks again."""
    objects.remark(f"an open {event.kind} is no longer there and is excluded")
    return replace(event, outcome="excluded")


def _span(since: int, last: int) -> str:
    return f"{times.text(since)}..{times.text(last)}"


def _stated(reply: Reply) -> int:
    total = reply.data.get("total_count") if isinstance(reply.data, dict) else None
    if not isinstance(total, int) or isinstance(total, bool):
        raise SourceRefused("GitHub's list of runs does not say how many there are; check that url is a GitHub API.")
    return total


def _rows(reply: Reply, name: str = "") -> list[Raw]:
    data = reply.data.get(name) if name and isinstance(reply.data, dict) else reply.data
    if not isinstance(data, list) or not all(isinstance(raw, dict) for raw in data):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no list of objects; check that url is a GitHub API.")
    return data


def _object(reply: Reply) -> Raw:
    if not isinstance(reply.data, dict):
        raise SourceRefused(f"{urlsplit(reply.url).path} is no object; check that url is a GitHub API.")
    return reply.data


def _later(known: Raw | None, raw: Raw) -> Raw:
    return raw if known is None or str(raw.get("updated_at")) >= str(known.get("updated_at")) else known


def _key(raw: Raw) -> str:
    return str(raw.get("id"))


def _word(raw: Raw) -> str:
    return str(raw.get("updated_at"))


def _at(raw: Raw, name: str) -> int | None:
    try:
        return times.iso(str(raw.get(name)))
    except ValueError:
        return None


def _oldest(rows: Sequence[Raw]) -> int:
    return min((at for raw in rows if (at := _at(raw, "created_at")) is not None), default=FOREVER)


def _newest(known: Mapping[str, Any], most: int) -> dict[str, Any]:
    if len(known) <= most:
        return dict(known)
    ids = sorted((key for key in known if key.isdecimal()), key=int)[-most:]
    return {key: known[key] for key in ids}


def _without(since: int, until: int, gaps: Sequence[Gap]) -> tuple[Covered, ...]:
    found = []
    for gap in sorted(gaps, key=lambda gap: gap.since):
        if since < gap.since:
            found.append(Covered(since, gap.since))
        since = max(since, gap.until)
    return (*found, Covered(since, until)) if since < until else tuple(found)


def _fingerprint(config: Config) -> str:
    told = [
        "1",
        config.url,
        config.repository,
        config.workflows,
        config.branches,
        config.deployments,
        config.releases,
        sorted(config.common.status.items()),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]
