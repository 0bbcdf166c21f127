"""What GitLab says of pipelines, jobs, deployments, releases and tests, as events: from replies, dumps and webhooks."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from sys import intern
from typing import Any
from urllib.parse import urlsplit

from connectors._gitlab_attempts import Job, Pipeline, attempts_of, place_of, tries_of
from connectors._gitlab_objects import Raw, Unusable, id_of, named, object_of, seconds_of, text_of, time_of
from connectors._gitlab_tests import Report, report_of
from connectors._said import Said
from tandem.records import Event, Labels, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "success": "good",
    "failed": "bad",
    "canceled": "excluded",
    "skipped": "excluded",
    "manual": "excluded",
    "scheduled": "excluded",
    "created": "open",
    "waiting_for_resource": "open",
    "waiting_for_callback": "open",
    "preparing": "open",
    "pending": "open",
    "running": "open",
    "canceling": "open",
    "blocked": "open",
}
FOREVER = 1 << 40

_PROJECT = re.compile(r"https?://[^/]+/(.+?)/-/")
_COMMIT = re.compile(r"/commit/([0-9a-f]{40,64})")


@dataclass
class Objects(Said):
    """Everything one reply, file or folder says; of each object the newest word counts, in whatever order it came.

    `config` is the connector's. `project` is whose answers these are, where the objects do not say it themselves.
    `until`: what changed at or after it is left for a later pull (epoch seconds).
    """

    meanings = STATUS
    project: str = ""
    until: int = FOREVER
    pipelines: dict[str, Pipeline] = field(default_factory=dict)
    jobs: dict[str, dict[int, Job]] = field(default_factory=dict)
    whole: set[str] = field(default_factory=set)
    """Pipelines all of whose jobs are known, retried ones too."""
    reports: list[Report] = field(default_factory=list)
    _events: dict[tuple[str, str], Event] = field(default_factory=dict)

    def add(self, document: Any) -> None:
        """One document of a file: an object, a list of them, or a webhook delivery."""
        if isinstance(document, list):
            for each in document:
                self.add(each)
            return
        try:
            self._object(object_of(document))
        except Unusable as error:
            self.reject(str(error))

    def _object(self, raw: Raw) -> None:
        if "object_kind" in raw:
            self._delivery(raw)
        elif "test_suites" in raw:
            self.reports.append(report_of(raw))
        elif "environment" in raw and "iid" in raw:
            self.deployment(raw)
        elif "tag_name" in raw:
            self.release(raw)
        elif "stage" in raw and "name" in raw:
            self.job(raw)
        elif "sha" in raw and "ref" in raw:
            self.pipeline(raw)
            for job in raw.get("jobs") or ():
                self.job(object_of(job), pipeline=id_of(raw))
        else:
            raise Unusable("an object is no pipeline, job, deployment, release or test report")

    def _delivery(self, raw: Raw) -> None:
        kinds = {
            "pipeline": self._delivered_pipeline,
            "build": self._delivered_job,
            "deployment": self._delivered_deployment,
            "release": self._delivered_release,
        }
        take = kinds.get(text_of(raw, "object_kind"))
        if take is None:
            self.remark("deliveries of other events are not counted")
        else:
            take(raw)

    # pipelines and jobs

    def pipeline(self, raw: Raw) -> str | None:
        """A pipeline as the API lists it or tells it whole; its id, or None where the configuration leaves it out."""
        project = self._project(raw)
        source = text_of(raw, "source")
        if not self._ours(project, raw) or not self._chosen(text_of(raw, "ref"), source):
            return None
        created = time_of(raw, "created_at")
        updated = time_of(raw, "updated_at", created)
        found = Pipeline(
            key=id_of(raw),
            project=intern(project),
            ref=intern(text_of(raw, "ref")),  # each row's own text otherwise, of very many that are held
            commit=text_of(raw, "sha"),
            status=intern(text_of(raw, "status")),
            source=intern(source),
            created=created,
            started=time_of(raw, "started_at", 0) or None,
            lasted=seconds_of(raw, "duration"),
            title=intern(text_of(raw, "name")),
            actor=intern(named(raw, "user", "username")),
            place=place_of(text_of(raw, "web_url"), id_of(raw)),
            revision=4 * updated,
        )
        return self._newest(found)

    def job(self, raw: Raw, pipeline: str = "") -> None:
        """A job of a pipeline, as the API tells it."""
        of = raw.get("pipeline")
        key = pipeline or (id_of(of) if isinstance(of, dict) else "")
        if not key:
            raise Unusable("a job does not say which pipeline it belongs to")
        project, ref = self._project(raw), text_of(raw, "ref")
        if not self._ours(project, of if isinstance(of, dict) else raw) or not self._chosen(ref, ""):
            return
        commit = named(raw, "commit", "id") or (text_of(of, "sha") if isinstance(of, dict) else "")
        self._job(
            key,
            Job(
                number=int(id_of(raw)),
                name=text_of(raw, "name"),
                stage=text_of(raw, "stage"),
                status=text_of(raw, "status"),
                created=time_of(raw, "created_at"),
                started=time_of(raw, "started_at", 0) or None,
                finished=time_of(raw, "finished_at", 0) or None,
                queued=seconds_of(raw, "queued_duration"),
                may_fail=raw.get("allow_failure") is True,
                actor=named(raw, "user", "username"),
                project=project,
                ref=ref,
                commit=commit,
                url=text_of(raw, "web_url"),
            ),
        )

    def _delivered_pipeline(self, raw: Raw) -> None:
        told, project = object_of(raw.get("object_attributes")), self._sent_by(raw)
        if not self._ours(project, raw) or not self._chosen(text_of(told, "ref"), text_of(told, "source")):
            return
        created = time_of(told, "created_at")
        jobs = [object_of(job) for job in raw.get("builds") or ()]
        last = [time_of(one, name, 0) for one in (told, *jobs) for name in ("created_at", "started_at", "finished_at")]
        found = Pipeline(
            key=id_of(told),
            project=project,
            ref=text_of(told, "ref"),
            commit=text_of(told, "sha"),
            status=text_of(told, "status"),
            source=text_of(told, "source"),
            created=created,
            started=None,
            lasted=seconds_of(told, "duration"),
            title=text_of(told, "name"),
            actor=named(raw, "user", "username"),
            place=place_of(text_of(told, "url"), id_of(told)),
            revision=4 * max(last) - 1,
        )
        self._newest(found)
        for one in jobs:
            sent = {**one, "ref": told.get("ref"), "commit": {"id": told.get("sha")}}
            self._sent_job(found.key, sent, project)

    def _delivered_job(self, raw: Raw) -> None:
        names = ("id", "name", "stage", "status", "created_at", "started_at", "finished_at", "queued_duration")
        sent = {name: raw.get(f"build_{name}") for name in (*names, "allow_failure")}
        project = self._sent_by(raw)
        if not self._ours(project, raw) or not self._chosen(text_of(raw, "ref"), ""):
            return
        key = raw.get("pipeline_id")
        if isinstance(key, bool) or not isinstance(key, int):
            raise Unusable("a job does not say which pipeline it belongs to")
        more = {"ref": raw.get("ref"), "commit": {"id": raw.get("sha")}, "user": raw.get("user")}
        self._sent_job(str(key), {**sent, **more}, project)

    def _sent_job(self, pipeline: str, raw: Raw, project: str) -> None:
        kept, self.project = self.project, project
        try:
            self.job(raw, pipeline)
        finally:
            self.project = kept

    def _newest(self, found: Pipeline) -> str:
        self.outcome(found.status)
        known = self.pipelines.get(found.key)
        # Of two words of one second the result counts, not the beginning.
        if known is None or (found.revision, self._final(found)) >= (known.revision, self._final(known)):
            self.pipelines[found.key] = found
        return found.key

    def _job(self, pipeline: str, job: Job) -> None:
        if self.config.builds == "jobs":
            self.outcome(job.status)
        known = self.jobs.setdefault(pipeline, {})
        other = known.get(job.number)
        if other is None or (job.finished or 0, job.started or 0) >= (other.finished or 0, other.started or 0):
            known[job.number] = job

    def _final(self, pipeline: Pipeline) -> bool:
        return self.meaning(pipeline.status) != "open"

    # deployments and releases

    def deployment(self, raw: Raw) -> None:
        """A deployment as the API tells it; what ran again is a deployment of its own."""
        project, by = self._project(raw), raw.get("deployable")
        job = by if isinstance(by, dict) else {}
        if not self.config.deployments or not self._ours(project or self._project(job), raw):
            return
        created, status = time_of(raw, "created_at"), text_of(raw, "status")
        updated = time_of(raw, "updated_at", created)
        outcome = self.outcome(status)
        ended = time_of(job, "finished_at", 0) or updated
        environment = named(raw, "environment", "name") or text_of(raw, "environment")
        started = time_of(job, "started_at", 0) or None
        self._deployed(
            Event(
                "deployment",
                id_of(raw),
                created,
                started=started if started is not None and created <= started <= ended else None,
                ended=max(created, ended) if outcome != "open" else None,
                outcome=outcome,
                environment=environment,
                version=text_of(raw, "ref"),
                commit=text_of(raw, "sha"),
                actor=named(raw, "user", "username"),
                title=f"{text_of(raw, 'ref')} to {environment}",
                url=text_of(job, "web_url"),
                revision=2 * updated,
            ),
            project or self._project(job),
            {"job": text_of(job, "name"), "status": status},
        )

    def _delivered_deployment(self, raw: Raw) -> None:
        project = self._sent_by(raw)
        if not self.config.deployments or not self._ours(project, raw):
            return
        at, status, environment = time_of(raw, "status_changed_at"), text_of(raw, "status"), text_of(raw, "environment")
        number = raw.get("deployment_id")
        if isinstance(number, bool) or not isinstance(number, int):
            raise Unusable("a deployment has no deployment_id")
        outcome, whole = self.outcome(status), _COMMIT.search(text_of(raw, "commit_url"))
        known = self._events.get(("deployment", str(number)))
        # A delivery says when its status changed, not when the deployment was made: the earliest one is nearest.
        begun = min(at, known.ts) if known else at
        running = [one for one in (at if status == "running" else None, known.started if known else None) if one]
        event = Event(
            "deployment",
            str(number),
            begun,
            started=min(running) if running else None,
            ended=at if outcome != "open" else None,
            outcome=outcome,
            environment=environment,
            version=text_of(raw, "ref"),
            commit=whole[1] if whole else text_of(raw, "short_sha"),
            actor=named(raw, "user", "username"),
            title=f"{text_of(raw, 'ref')} to {environment}",
            url=text_of(raw, "deployable_url"),
            revision=2 * at - 1,
        )
        self._deployed(event, project, {"status": status})

    def _deployed(self, event: Event, project: str, more: Mapping[str, object]) -> None:
        told = {"project": project, "ref": event.version, "environment": event.environment, **more}
        self._keep(_with(event, labels_of(told), event.ts, event.started))

    def release(self, raw: Raw) -> None:
        """A release on the day it says it was released; one that is announced has not happened yet."""
        project = self._project(raw) or self._project({"web_url": named(raw, "_links", "self")})
        if not self.config.releases or not self._ours(project, raw):
            return
        self._released(raw, text_of(raw, "tag_name"), project, named(raw, "_links", "self"))

    def _delivered_release(self, raw: Raw) -> None:
        project = self._sent_by(raw)
        if not self.config.releases or not self._ours(project, raw):
            return
        if raw.get("action") == "delete":
            self.remark("releases that were deleted later keep their event")
        else:
            self._released(raw, text_of(raw, "tag"), project, text_of(raw, "url"))

    def _released(self, raw: Raw, tag: str, project: str, url: str) -> None:
        at = time_of(raw, "released_at", 0) or time_of(raw, "created_at")
        if not tag:
            raise Unusable("a release has no tag")
        if raw.get("upcoming_release") is True or at >= self.until:
            self.remark("releases that are announced for later are not counted yet")
            return
        self._keep(
            Event(
                "release",
                f"{project}/{tag}",
                at,
                version=tag,
                commit=named(raw, "commit", "id"),
                actor=named(raw, "author", "username"),
                title=text_of(raw, "name") or tag,
                url=url,
                labels=labels_of({"project": project, "ref": tag}),
            )
        )

    # what they become

    def events(self) -> list[Event]:
        """All events, oldest first."""
        found = list(self._events.values())
        if self.config.builds == "jobs":
            for key, jobs in self.jobs.items():
                found += tries_of(key, self.pipelines.get(key), list(jobs.values()), self.meaning)
        else:
            for key, pipeline in self.pipelines.items():
                mine = list(self.jobs.get(key, {}).values())
                found += attempts_of(pipeline, mine, self.meaning, whole=key in self.whole)
            lone = len(self.jobs.keys() - self.pipelines.keys())
            if lone:
                self.remark("jobs of pipelines that are not in the same file or folder are not counted", lone)
        return sorted(found, key=lambda event: (event.ts, event.kind, event.key, event.attempt))

    def take(self, other: Objects) -> None:
        """Counts what another one left out as its own."""
        self._said += other._said
        other._said.clear()

    def guarded(self, take: partial[Any]) -> Any:
        """What `take` returns; None, and the reason counted, for an object that cannot be used."""
        try:
            return take()
        except Unusable as error:
            self.reject(str(error))
            return None

    def _keep(self, event: Event) -> None:
        place = (event.kind, event.key)
        known = self._events.get(place, event)
        if (event.revision, event.outcome != "open") >= (known.revision, known.outcome != "open"):
            self._events[place] = event
        elif event.ts < known.ts or (event.started and not known.started):
            self._events[place] = _with(known, known.labels, min(event.ts, known.ts), known.started or event.started)

    def _project(self, raw: Raw) -> str:
        """The path of the project as its addresses have it; else the one that was asked."""
        found = _PROJECT.match(text_of(raw, "web_url"))
        prefix = urlsplit(self.config.url).path.strip("/").removesuffix("api/v4").strip("/")
        path = found[1].removeprefix(f"{prefix}/") if found and prefix else found[1] if found else ""
        return path or self.project

    def _sent_by(self, raw: Raw) -> str:
        return named(raw, "project", "path_with_namespace") or self._project({"web_url": _link_of(raw)})

    def _ours(self, project: str, raw: Any) -> bool:
        wanted = {one.lower() for one in self.config.projects}
        number = raw.get("project_id") if isinstance(raw, dict) else None
        if self.project or not wanted or not project or project.lower() in wanted or str(number) in wanted:
            return True
        self.reject("objects of other projects than those that are configured are left out")
        return False

    def _chosen(self, ref: str, source: str) -> bool:
        if source == "parent_pipeline" and not self.config.children:
            return False
        return not self.config.refs or any(fnmatchcase(ref, glob) for glob in self.config.refs)


def _with(event: Event, labels: Labels, ts: int, started: int | None) -> Event:
    return replace(event, labels=labels, ts=ts, started=started)


def _link_of(raw: Raw) -> str:
    page = named(raw, "project", "web_url")
    return f"{page}/-/" if page else text_of(raw, "deployable_url")


def pages_of(events: Sequence[Event], size: int) -> Iterator[list[Event]]:
    """Events in pieces of at most `size`."""
    for begin in range(0, len(events), size):
        yield list(events[begin : begin + size])
