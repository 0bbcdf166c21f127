"""Attempts of GitLab's pipelines and tries of their jobs, read from all jobs including those that were retried.

A pipeline has no number of attempts: retrying a job opens the same pipeline again. A retry that comes while nothing
of the pipeline runs begins another attempt; a job that is retried while others run, or by itself at once, does not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from sys import intern

from tandem.intervals import length, union
from tandem.records import Event, Outcome, labels_of

REST = 10
"""Seconds without a running job after which a retry is another attempt: automatic retries come at once."""
Meaning = Callable[[str], Outcome]


@dataclass(frozen=True, slots=True)
class Job:
    """One try of a job; `queued` are the seconds it waited for a runner, `created` is when its pipeline was made."""

    number: int
    name: str
    stage: str
    status: str
    created: int
    started: int | None
    finished: int | None
    queued: float | None
    may_fail: bool
    actor: str
    project: str
    ref: str
    commit: str
    url: str

    @property
    def place(self) -> tuple[str, str]:
        """What it is a try of."""
        return self.stage, self.name

    @property
    def waiting_since(self) -> int:
        """When it began to wait for a runner."""
        if self.started is None or self.queued is None:
            return self.created
        return max(0, self.started - round(self.queued))

    @property
    def span(self) -> tuple[int, int] | None:
        """When it ran; None where that is not known."""
        if self.started is None or self.finished is None or self.finished < self.started:
            return None
        return self.started, self.finished


@dataclass(frozen=True, slots=True)
class Pipeline:
    """A pipeline as it stands; `lasted` are the seconds its jobs ran, `place` its address up to its id."""

    key: str
    project: str
    ref: str
    commit: str
    status: str
    source: str
    created: int
    started: int | None
    lasted: float | None
    title: str
    actor: str
    place: str
    revision: int

    @property
    def url(self) -> str:
        """Its address; "" where none is told."""
        return self.place + self.key if self.place.endswith("/") else self.place


def place_of(url: str, key: str) -> str:
    """An address without the id that it ends with, which is one text for very many pipelines that are held."""
    return intern(url.removesuffix(key)) if url.endswith(f"/{key}") else url.rstrip("/")


def attempts_of(pipeline: Pipeline, jobs: Sequence[Job], meaning: Meaning, *, whole: bool) -> list[Event]:
    """Every attempt of a pipeline; `whole`: all its jobs are known, so a part never outranks it."""
    ordered = sorted(jobs, key=lambda job: job.number)
    opened = reopened(ordered)
    found = []
    for number in range(1, len(opened) + 2):
        last = number == len(opened) + 1
        own = [job for job in ordered if _attempt_of(job, opened) == number]
        status = pipeline.status if last else _stood(ordered, opened[number - 1])
        started, ended = _ran(own) if ordered else _stated(pipeline)
        outcome = meaning(status)
        found.append(
            Event(
                "build",
                pipeline.key,
                pipeline.created,
                started=started if started is not None and started >= pipeline.created else None,
                ended=ended if outcome != "open" and ended is not None and ended >= pipeline.created else None,
                outcome=outcome,
                attempt=number,
                commit=pipeline.commit,
                trigger=pipeline.source,
                actor=pipeline.actor or next((job.actor for job in own if job.actor), ""),
                title=pipeline.title or pipeline.ref,
                url=pipeline.url,
                labels=labels_of(
                    {
                        "project": pipeline.project,
                        "ref": pipeline.ref,
                        "source": pipeline.source,
                        "workflow": pipeline.title or pipeline.project,
                        "status": status,
                    }
                ),
                # What is told without jobs, or without all of them, never outranks what is told with them.
                revision=max(0, pipeline.revision + (3 if whole else 2 if ordered else 0)),
            )
        )
    return found


def reopened(ordered: Sequence[Job]) -> list[int]:
    """When a job was retried while the pipeline was at rest, oldest first; `ordered` by number."""
    found: list[int] = []
    seen: set[tuple[str, str]] = set()
    for job in ordered:
        if job.place in seen and _at_rest(ordered, job, found[-1] if found else 0):
            found.append(job.created)
        seen.add(job.place)
    return found


def _at_rest(ordered: Sequence[Job], again: Job, since: int) -> bool:
    """Whether nothing ran when `again` was made, and something had ended since the last time it was so."""
    at = again.created
    for job in ordered:
        if job.number == again.number or job.started is None:
            continue
        if job.waiting_since <= at and (job.finished is None or job.finished > at - REST):
            return False
    return any(job.finished is not None and since < job.finished <= at - REST for job in ordered)


def _attempt_of(job: Job, opened: Sequence[int]) -> int:
    at = job.created if job.started is None else job.started
    return 1 + sum(begin <= at for begin in opened)


def _ran(own: Sequence[Job]) -> tuple[int | None, int | None]:
    """When the first job of an attempt started, and that plus the time in which any ran: waiting does not count."""
    started = min((job.started for job in own if job.started is not None), default=None)
    spans = [job.span for job in own if job.span]
    if started is None or any(job.started is not None and job.span is None for job in own):
        return started, None
    return started, started + length(union(span for span in spans if span))


def _stated(pipeline: Pipeline) -> tuple[int | None, int | None]:
    if pipeline.started is None or pipeline.lasted is None:
        return pipeline.started, None
    return pipeline.started, pipeline.started + round(pipeline.lasted)


def _stood(ordered: Sequence[Job], at: int) -> str:
    """How a pipeline stood just before `at`, by the newest try of each job that had started."""
    newest = {job.place: job for job in ordered if job.started is not None and job.started < at}
    words = {job.status for job in newest.values() if not (job.may_fail and job.status == "failed")}
    never = {job.status for job in ordered if job.started is None and job.finished and job.finished < at}
    return next((word for word in ("failed", "canceled") if word in words | never), "success")


def tries_of(key: str, pipeline: Pipeline | None, jobs: Sequence[Job], meaning: Meaning) -> list[Event]:
    """Every try of every job of a pipeline: a job is one object, and its last try decides."""
    places: dict[tuple[str, str], list[Job]] = {}
    for job in sorted(jobs, key=lambda job: job.number):
        places.setdefault(job.place, []).append(job)
    return [
        _try(key, pipeline, tries[0], job, number, meaning)
        for tries in places.values()
        for number, job in enumerate(tries, 1)
    ]


def _try(key: str, pipeline: Pipeline | None, first: Job, job: Job, number: int, meaning: Meaning) -> Event:
    outcome = meaning(job.status)
    begun = first.waiting_since
    started = job.started if job.started is not None and job.started >= begun else None
    return Event(
        "build",
        f"{key}/{job.stage}/{job.name}",
        begun,
        started=started,
        ended=job.finished if outcome != "open" and (job.finished or 0) >= (started or begun) else None,
        outcome=outcome,
        attempt=number,
        commit=job.commit or (pipeline.commit if pipeline else ""),
        trigger=pipeline.source if pipeline else "",
        actor=job.actor or (pipeline.actor if pipeline else ""),
        title=f"{job.name} on {job.ref}" if job.ref else job.name,
        url=job.url,
        labels=labels_of(
            {
                "project": job.project or (pipeline.project if pipeline else ""),
                "ref": job.ref or (pipeline.ref if pipeline else ""),
                "source": pipeline.source if pipeline else None,
                "job": job.name,
                "stage": job.stage,
                "allow_failure": "true" if job.may_fail else None,
                "status": job.status,
            }
        ),
        revision=2 * max(job.finished or 0, job.started or 0, job.created) + (pipeline is not None),
    )
