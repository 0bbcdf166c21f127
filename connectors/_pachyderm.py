"""What pachctl prints of jobs, commits and pipelines: proto JSON, of which every field that is zero is left out.

pachctl writes the names of the .proto files (`data_processed`), its server's gateway the JSON ones (`dataProcessed`);
64-bit integers are text. Field names and states after Pachyderm's pps.proto and pfs.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

from connectors._fields import FAR, Raw, Unusable, text_of, time_of
from connectors._said import Said

DEFAULT = "default"
"""The project of what is in none; older releases have no projects."""
CLOSED = ("JOB_FAILURE", "JOB_SUCCESS", "JOB_KILLED", "JOB_UNRUNNABLE")
"""States that never change again."""
USER = "user"
"""The type of the repos that people and pipelines write; Pachyderm's own are of type meta and spec."""
ALIAS = "ALIAS"
"""The origin of a commit that stands for an older one in a newer commit set: the same data."""
_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Place:
    """A commit of a repo; `id` is "" where only the branch is known."""

    project: str
    repo: str
    branch: str
    id: str
    type: str = USER

    @property
    def dataset(self) -> str:
        """The repo, with its project where that is not the default."""
        return f"{self.project}/{self.repo}" if self.project else self.repo

    @property
    def key(self) -> str:
        """The commit as pachctl takes it: repo@id; repo.type@id where Pachyderm keeps it for itself."""
        return f"{self.dataset}@{self.id}" if self.type == USER else f"{self.dataset}.{self.type}@{self.id}"


@dataclass(frozen=True, slots=True)
class Job:
    """One run of one pipeline."""

    project: str
    pipeline: str
    id: str
    state: str
    times: tuple[int | None, int | None, int | None]
    """Created, started, finished; epoch seconds."""
    datums: tuple[int, int, int, int, int] | None
    """Processed, skipped, failed, recovered, in all; None where they cannot be."""
    reason: str
    restarts: int
    version: str
    """The version of the pipeline, a number."""
    image: str
    inputs: tuple[Place, ...]
    crons: tuple[str, ...]
    """The datasets whose commits are ticks of a clock."""
    output: Place

    @property
    def key(self) -> str:
        """The job as pachctl takes it, pipeline@id: all jobs of a commit set have one id."""
        return f"{self.project}/{self.pipeline}@{self.id}" if self.project else f"{self.pipeline}@{self.id}"

    @property
    def latest(self) -> int:
        """When it was last seen to do something."""
        return max(one or 0 for one in self.times)

    @property
    def rank(self) -> int:
        """Grows as it goes on."""
        return 2 * self.latest + (self.state in CLOSED)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit of a repo."""

    place: Place
    origin: str
    parent: Place | None
    started: int
    finished: int | None
    error: str
    bytes: int | None
    provenance: tuple[Place, ...]
    """What it was made of, where its release says which commits."""
    description: str

    @property
    def rank(self) -> int:
        """Grows as it goes on."""
        return 2 * (self.finished or self.started) + (self.finished is not None)


@dataclass
class Objects:
    """The objects of some files, each as it was seen last."""

    said: Said
    jobs: dict[str, Job] = field(default_factory=dict)
    commits: dict[str, Commit] = field(default_factory=dict)
    images: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """The image of each version of a pipeline."""
    reads: dict[tuple[str, str], tuple[tuple[Place, ...], tuple[str, ...]]] = field(default_factory=dict)
    """What a pipeline reads, and which datasets of it are ticks of a clock."""

    def add(self, document: Any) -> None:
        """A job, a commit or a pipeline, a set of jobs or commits, or a list of any of them."""
        for raw in document if isinstance(document, list) else [document]:
            if not isinstance(raw, dict):
                self.said.reject("what is no object is left out")
                continue
            several = next((rows for name in ("jobs", "commits") if isinstance(rows := raw.get(name), list)), None)
            if several is not None:
                self.add(several)
                continue
            try:
                self._one(raw)
            except Unusable as error:
                self.said.reject(str(error))

    def _one(self, raw: Raw) -> None:
        if _object(raw, "job"):
            self._job(_job(raw))
        elif _object(raw, "commit"):
            found = _commit(raw)
            before = self.commits.get(found.place.key)
            if before is None or before.rank <= found.rank:
                self.commits[found.place.key] = found
        elif _object(raw, "pipeline"):
            self._pipeline(raw)
        elif not (_object(raw, "repo") or _object(raw, "branch")):
            self.said.remark("what is no job, commit or pipeline of Pachyderm is not read")

    def _job(self, one: Job) -> None:
        """The newest word on a job; what a listing without details leaves out stands as another file tells it."""
        before = self.jobs.get(one.key, one)
        newest, other = (before, one) if before.rank > one.rank else (one, before)
        self.jobs[one.key] = newest if newest.inputs else replace(
            newest, inputs=other.inputs, crons=other.crons, image=newest.image or other.image
        )  # fmt: skip

    def _pipeline(self, raw: Raw) -> None:
        named, details = _object(raw, "pipeline"), _object(raw, "details")
        project, name = _project(named), text_of(named, "name")
        self.images[project, name, str(_count(raw, "version") or "")] = _image(details)
        self.reads[project, name] = _leaves(details, project)

    def original(self, place: Place) -> Place:
        """The commit that an alias stands for, as far as the files tell."""
        for _ in range(_DEPTH):
            found = self.commits.get(place.key)
            if found is None or found.origin != ALIAS or found.parent is None:
                break
            place = found.parent
        return place

    def of_set(self) -> dict[str, list[Commit]]:
        """The commits by the id that all of one set have."""
        found: dict[str, list[Commit]] = {}
        for one in self.commits.values():
            found.setdefault(one.place.id, []).append(one)
        return found


# -- readers


def _job(raw: Raw) -> Job:
    job, details = _object(raw, "job"), _object(raw, "details")
    pipeline = _object(job, "pipeline") or _object(raw, "pipeline")
    name, id_ = text_of(pipeline, "name"), text_of(job, "id")
    if not name or not id_:
        raise Unusable("a job without pipeline and id is left out")
    project = _project(pipeline)
    times = tuple(_time(raw, one) for one in ("created", "started", "finished"))
    if times[0] is None and times[1] is None:
        raise Unusable("a job that says no time is left out")
    output = _place(_object(raw, "output_commit"), project)
    inputs, crons = _leaves(details, project)
    return Job(
        project, name, id_, text_of(raw, "state") or "JOB_STATE_UNKNOWN", (times[0], times[1], times[2]),
        _datums(raw), text_of(raw, "reason"), _count(raw, "restart") or 0,
        str(_count(raw, "pipeline_version") or ""), _image(details), inputs, crons,
        output or Place(project, name, "", id_),
    )  # fmt: skip


def _datums(raw: Raw) -> tuple[int, int, int, int, int] | None:
    found = [_count(raw, f"data_{what}") for what in ("processed", "skipped", "failed", "recovered", "total")]
    known = [one for one in found if one is not None]
    if len(known) < len(found):
        return None
    processed, skipped, failed, recovered, total = known
    told = processed + skipped + failed + recovered
    return None if total and told > total else (processed, skipped, failed, recovered, max(total, told))


def _commit(raw: Raw) -> Commit:
    place = _place(_object(raw, "commit"), "")
    if place is None or not place.id:
        raise Unusable("a commit without repo and id is left out")
    started = _time(raw, "started")
    if started is None:
        raise Unusable("a commit that says no time is left out")
    details = _object(raw, "details")
    sizes = (_count(details, "size_bytes"), _count(raw, "size_bytes_upper_bound"))
    provenance = [_place(one, place.project) for one in _rows(raw, "direct_provenance")]
    return Commit(
        place, text_of(_object(raw, "origin"), "kind"), _place(_object(raw, "parent_commit"), place.project), started,
        _time(raw, "finished"), text_of(raw, "error"), next((one for one in sizes if one), None),
        tuple(one for one in provenance if one is not None), text_of(raw, "description"),
    )  # fmt: skip


def _place(raw: Raw, project: str) -> Place | None:
    """A commit; later releases name the repo beside its branch too, and provenance may be a branch alone."""
    branch = _object(raw, "branch")
    repo = _object(raw, "repo") or _object(branch, "repo")
    name = text_of(repo, "name")
    if not name:
        return None
    kind = text_of(repo, "type") or USER
    own = _project(repo) if _object(repo, "project") else project
    return Place(own, name, text_of(branch, "name") or text_of(raw, "name"), text_of(raw, "id"), kind)


def _leaves(details: Raw, project: str) -> tuple[tuple[Place, ...], tuple[str, ...]]:
    """The commits that a job or pipeline reads, and which datasets of them are ticks of a clock."""
    places, crons = [], []
    for kind, leaf in _inputs(_object(details, "input"), 0):
        own = text_of(leaf, "project") or project
        one = Place("" if own == DEFAULT else own, text_of(leaf, "repo"), text_of(leaf, "branch"),
                    text_of(leaf, "commit"))  # fmt: skip
        if one.repo:
            places.append(one)
            crons += [one.dataset] if kind == "cron" else []
    return tuple(places), tuple(crons)


def _inputs(raw: Raw, depth: int) -> Iterator[tuple[str, Raw]]:
    for kind in ("pfs", "cron"):
        if _object(raw, kind):
            yield kind, _object(raw, kind)
    if depth < _DEPTH:
        for kind in ("join", "group", "cross", "union"):
            for one in _rows(raw, kind):
                yield from _inputs(one, depth + 1)


# -- fields


@cache
def _camel(name: str) -> str:
    first, *more = name.split("_")
    return first + "".join(one.capitalize() for one in more)


def _field(raw: Raw, name: str) -> Any:
    return raw.get(name, raw.get(_camel(name)))


def _object(raw: Raw, name: str) -> Raw:
    found = _field(raw, name)
    return found if isinstance(found, dict) else {}


def _rows(raw: Raw, name: str) -> list[Raw]:
    found = _field(raw, name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _count(raw: Raw, name: str) -> int | None:
    """A count as number or text, 0 where it is left out; None for what is none."""
    found = _field(raw, name)
    if found is None:
        return 0
    if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 16:
        found = int(found)
    usable = isinstance(found, int) and not isinstance(found, bool) and 0 <= found < FAR
    return int(found) if usable else None


def _time(raw: Raw, name: str) -> int | None:
    return time_of(raw, name, 0) or None


def _project(raw: Raw) -> str:
    name = text_of(_object(raw, "project"), "name")
    return "" if name == DEFAULT else name


def _image(details: Raw) -> str:
    return text_of(_object(details, "transform"), "image")
