"""What CircleCI says of pipelines, workflows and jobs, as events: the same functions for replies and saved answers.

A re-run is another workflow of the same name in the same pipeline. Where it begins at what had failed, it points to
the very jobs that had passed before: they ran once, and in the workflow that began before them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import urlsplit

from connectors._fields import Raw, Unusable, inside, rows_of, text_of, time_of
from connectors._said import Said
from tandem.intervals import length, union
from tandem.records import Event, Labels, Outcome, labels_of

STATUS: Mapping[str, Outcome] = {
    "success": "good",
    "failed": "bad",
    "error": "bad",
    "errored": "bad",
    "canceled": "excluded",
    "unauthorized": "excluded",
    "not_run": "excluded",
    "running": "open",
    "failing": "open",
    "on_hold": "open",
    "failure": "bad",
    "skipped": "excluded",
}
"""Of workflows and approvals, "errored" of a pipeline whose configuration is wrong, the last two of tests."""
FOREVER = 1 << 40
_UNASKED = ("blocked", "not_running", "queued")
_TEXT = 200
_APP = "https://app.circleci.com"
_SHORT = (("github/", "gh/"), ("bitbucket/", "bb/"))
Jobs = Mapping[str, Sequence["Job"]]
"""The jobs of each workflow whose jobs are known, by its id."""


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One pipeline; times are epoch seconds."""

    id: str
    number: int
    project: str
    state: str
    created: int
    branch: str
    tag: str
    commit: str
    committed: str
    trigger: str
    actor: str
    title: str
    error: str

    def plain(self) -> list[Any]:
        """The same as JSON."""
        return list(astuple(self))


@dataclass(frozen=True, slots=True)
class Run:
    """One workflow: one attempt of what its name says; `setup` where it only makes the configuration of others."""

    id: str
    pipeline: str
    name: str
    status: str
    setup: bool
    created: int
    stopped: int | None
    number: int
    project: str
    sure: bool = True
    """Whether all runs of its pipeline are told beside it."""

    @property
    def group(self) -> tuple[str, bool]:
        """What it is an attempt of, within its pipeline."""
        return self.name, self.setup


@dataclass(frozen=True, slots=True)
class Job:
    """One job; an approval has neither number nor start."""

    id: str
    number: int | None
    name: str
    status: str
    approval: bool
    started: int | None
    stopped: int | None
    needs: tuple[str, ...]
    approver: str

    @property
    def span(self) -> tuple[int, int] | None:
        """When it ran; None where that is not known."""
        if self.started is None or self.stopped is None or self.stopped < self.started:
            return None
        return self.started, self.stopped


def slug_of(project: str) -> str:
    """A project under the short name of its provider, which CircleCI writes either way."""
    for long, short in _SHORT:
        if project.lower().startswith(long):
            return short + project[len(long) :]
    return project


def pipeline_of(raw: Raw) -> Pipeline:
    """Raises Unusable for what is no pipeline."""
    vcs, git = inside(raw, "vcs"), inside(raw, "trigger_parameters", "git")
    errors = rows_of(raw, "errors")
    return Pipeline(
        _id(raw),
        _number(raw, "number") or 0,
        slug_of(text_of(raw, "project_slug")),
        text_of(raw, "state"),
        time_of(raw, "created_at"),
        text_of(vcs, "branch") or text_of(git, "branch"),
        text_of(vcs, "tag") or text_of(git, "tag"),
        text_of(vcs, "revision") or text_of(git, "checkout_sha"),
        text_of(inside(vcs, "commit"), "committed_at"),
        text_of(inside(raw, "trigger"), "type"),
        text_of(inside(raw, "trigger", "actor"), "login"),
        (text_of(inside(vcs, "commit"), "subject") or text_of(git, "commit_title"))[:_TEXT],
        next((text_of(one, "message") for one in errors if text_of(one, "message")), "")[:_TEXT],
    )


def run_of(raw: Raw, *, sure: bool = True) -> Run:
    """Raises Unusable for what is no workflow."""
    if not text_of(raw, "pipeline_id") or not text_of(raw, "name"):
        raise Unusable("a workflow has no name, or does not say its pipeline")
    return Run(
        _id(raw),
        text_of(raw, "pipeline_id"),
        text_of(raw, "name"),
        text_of(raw, "status"),
        text_of(raw, "tag") == "setup",
        time_of(raw, "created_at"),
        time_of(raw, "stopped_at", 0) or None,
        _number(raw, "pipeline_number") or 0,
        slug_of(text_of(raw, "project_slug")),
        sure,
    )


def job_of(raw: Raw) -> Job:
    """Raises Unusable for what is no job."""
    needs = raw.get("dependencies")
    return Job(
        _id(raw),
        _number(raw, "job_number"),
        text_of(raw, "name"),
        text_of(raw, "status"),
        text_of(raw, "type") == "approval",
        time_of(raw, "started_at", 0) or None,
        time_of(raw, "stopped_at", 0) or None,
        tuple(one for one in needs if isinstance(one, str)) if isinstance(needs, list) else (),
        text_of(raw, "approved_by"),
    )


def _id(raw: Raw) -> str:
    found = text_of(raw, "id")
    if not found or len(found) > 100:
        raise Unusable("an object has no id")
    return found


def _number(raw: Raw, name: str) -> int | None:
    found = raw.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < FOREVER else None


# -- as events


@dataclass(frozen=True)
class Chosen:
    """What the configuration lets count."""

    config: Any

    def pipeline(self, one: Pipeline) -> bool:
        """Whether a pipeline is of a branch or tag that counts."""
        globs = self.config.branches
        return not globs or any(fnmatchcase(name, glob) for glob in globs for name in (one.branch, one.tag) if name)

    def run(self, one: Run) -> bool:
        """Whether a workflow counts."""
        return not self.config.workflows or any(fnmatchcase(one.name, glob) for glob in self.config.workflows)

    def job(self, one: Job) -> bool:
        """Whether a job may have stored test results."""
        return not self.config.test_jobs or any(fnmatchcase(one.name, glob) for glob in self.config.test_jobs)

    def kept(self, events: Iterator[Event]) -> list[Event]:
        """The events that count."""
        return [one for one in events if self.config.approvals or one.kind != "approval"]


@dataclass
class Words(Said):
    """What the source says, as events that stood so just before `until` (epoch seconds)."""

    until: int = FOREVER
    meanings = STATUS

    def stands(self, run: Run) -> Outcome:
        """How a workflow stood; one that ended later was still open."""
        outcome = self.meaning(run.status)
        return "open" if outcome != "open" and (run.stopped or 0) >= self.until else outcome

    def errored(self, pipeline: Pipeline) -> Iterator[Event]:
        """A pipeline whose configuration is wrong runs no workflow and is a build that failed."""
        if pipeline.state == "errored":
            yield Event(
                "build",
                pipeline.id,
                pipeline.created,
                outcome=self.outcome("errored"),
                commit=pipeline.commit,
                trigger=pipeline.trigger,
                actor=pipeline.actor,
                title=pipeline.error or pipeline.title,
                url=self.page(pipeline),
                labels=labels_of({**where(pipeline), "status": "errored"}),
                revision=4 * pipeline.created + 3,
            )

    def attempts(self, pipeline: Pipeline, runs: Sequence[Run], jobs: Jobs) -> Iterator[Event]:
        """The attempts of one workflow and the approvals in them; `runs` all of one name, in order."""
        seen: set[str] = set()
        for attempt, run in enumerate(runs, 1):
            own = [job for job in jobs.get(run.id, ()) if job.id not in seen]
            yield self._build(pipeline, runs[0], run, attempt, own, known=run.id in jobs)
            for job in own:
                if job.approval and job.status not in _UNASKED:
                    yield self._approval(pipeline, run, job, jobs[run.id])
            seen.update(job.id for job in own)

    def _build(
        self, pipeline: Pipeline, first: Run, run: Run, attempt: int, own: Sequence[Job], *, known: bool
    ) -> Event:  # fmt: skip
        self.outcome(run.status)
        outcome = self.stands(run)
        ran = [job for job in own if job.started is not None and run.created <= job.started < self.until]
        started, ended = _ran(ran, run)
        if started is None and attempt > 1:
            started = run.created
        over = outcome != "open" and ended is not None and ended >= (started or first.created)
        told = [run.created, *(at for job in ran for at in (job.started, job.stopped) if at and at < self.until)]
        if outcome != "open" and run.stopped:
            told.append(run.stopped)
        return Event(
            "build",
            build_key(run),
            first.created,
            started=started,
            ended=ended if over else None,
            outcome=outcome,
            attempt=attempt,
            commit=pipeline.commit,
            trigger=pipeline.trigger,
            actor=pipeline.actor if attempt == 1 else "",
            title=pipeline.title or f"{run.name} on {pipeline.branch or pipeline.tag}",
            url=self.page(pipeline, run),
            labels=labels_of({**where(pipeline, run), "status": run.status if outcome != "open" else None}),
            # A delivery does not say which attempt it is of: whoever knows all of them outranks it.
            revision=4 * max(told) + 2 * (outcome != "open") + known if run.sure else 0,
        )

    def _approval(self, pipeline: Pipeline, run: Run, job: Job, jobs: Sequence[Job]) -> Event:
        """An approval, from when nothing but it was waited for; when it was given is known by what it let begin."""
        before = [one.stopped for one in jobs if one.id in job.needs and one.stopped]
        after = [one.started for one in jobs if job.id in one.needs and one.started]
        asked = max(before, default=run.created)
        given = job.stopped or min(after, default=None)
        outcome = self.outcome(job.status)
        if outcome == "open" and self.stands(run) != "open":
            outcome = "excluded"
        if outcome != "open" and given is not None and given >= self.until:
            outcome = "open"
        return Event(
            "approval",
            f"{pipeline.id}/{job.id}",
            asked,
            ended=given if outcome == "good" and given is not None and given >= asked else None,
            outcome=outcome,
            commit=pipeline.commit,
            actor=job.approver,
            title=f"{job.name} of {run.name}",
            url=self.page(pipeline, run),
            labels=labels_of({**where(pipeline, run), "job": job.name, "status": job.status}),
            revision=4 * max(asked, given or 0) + 2 * (outcome != "open") if run.sure else 0,
        )

    def page(self, pipeline: Pipeline, run: Run | None = None) -> str:
        """Where people see it."""
        host = urlsplit(self.config.url).hostname or ""
        base = _APP if host in ("", "circleci.com") else f"https://{host}"
        if not pipeline.project or not pipeline.number:
            return ""
        page = f"{base}/pipelines/{pipeline.project}/{pipeline.number}"
        return f"{page}/workflows/{run.id}" if run else page


def where(pipeline: Pipeline, run: Run | None = None) -> dict[str, object]:
    """The labels that say what something is of."""
    return {
        "project": pipeline.project,
        "workflow": run.name if run else None,
        "branch": pipeline.branch,
        "tag": pipeline.tag,
        "trigger": pipeline.trigger,
        "setup": "true" if run and run.setup else None,
        "committed_at": pipeline.committed,
    }


def place(pipeline: Pipeline, run: Run) -> Labels:
    """The labels of counts, which have none that changes from pipeline to pipeline."""
    return labels_of({"project": pipeline.project, "workflow": run.name, "branch": pipeline.branch})


def build_key(run: Run) -> str:
    """What all attempts of one workflow of one pipeline are one build of."""
    return f"{run.pipeline}/{run.name}" + ("#setup" if run.setup else "")


def grouped(runs: Sequence[Run]) -> list[list[Run]]:
    """The workflows of one pipeline by what they are attempts of, each in the order in which they were made."""
    found: dict[tuple[str, bool], list[Run]] = {}
    for run in sorted(runs, key=lambda one: (one.created, one.id)):
        found.setdefault(run.group, []).append(run)
    return list(found.values())


def _ran(ran: Sequence[Job], run: Run) -> tuple[int | None, int | None]:
    """When the first job started, and that plus the time in which any ran: waiting for an approval is left out."""
    if not ran:
        return None, run.stopped
    started = min(job.started for job in ran if job.started is not None)
    spans = [job.span for job in ran]
    if not all(spans):
        return started, run.stopped
    return started, started + length(union(span for span in spans if span))
