"""What jobs and commits of Pachyderm become: trainings, versions of data, and how many datums were valid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from connectors._fields import first_line
from connectors._judged import digest
from connectors._pachyderm import ALIAS, CLOSED, USER, Commit, Job, Objects, Place
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import Event, Fact, Outcome, Page, Ratio, Record, Series, Slice, bucket_of, labels_of

if TYPE_CHECKING:
    from connectors.pachyderm import Config

EDGES = 30
"""Most inputs of a job or commit that its labels name; more are counted."""
_TEXT = 200
_PIECE = 500


@dataclass
class Telling:
    """One reading of all objects."""

    config: Config
    pull: Pull
    said: Said
    objects: Objects
    held: bool = False
    """Whether something lies at or after the end of the pull, which the next one must read again."""
    _sets: dict[str, list[Commit]] = field(default_factory=dict)

    def pages(self) -> Iterator[Page]:
        """The events, and the datums of each job that is over as a slice."""
        self._sets = self.objects.of_set()
        jobs = [one for one in self.objects.jobs.values() if self._is_past(one.latest)]
        commits = [one for one in self.objects.commits.values() if self._is_past(one.finished or one.started)]
        found: list[Record] = [self._training(one) for one in jobs if self._trains(one.pipeline)]
        found += [self._version(one) for one in commits if self._is_data(one)]
        for begin in range(0, len(found), _PIECE):
            yield Page(found[begin : begin + _PIECE])
        for job in jobs:
            yield from self._valid(job)

    def _is_past(self, ts: int) -> bool:
        self.held = self.held or ts >= self.pull.until
        return ts < self.pull.until

    def _trains(self, pipeline: str) -> bool:
        return any(fnmatchcase(pipeline, glob) for glob in self.config.training)

    # -- trainings

    def _training(self, job: Job) -> Event:
        created, started, finished = job.times
        outcome, crons, trigger = self.said.outcome(job.state), self._reads(job)[1], self._trigger(job)
        exact = self._provenance(job)
        read = self._originals(exact or job.inputs)
        over = outcome != "open" and started is not None and finished is not None and finished >= started
        image = job.image or self.objects.images.get((job.project, job.pipeline, job.version), "")
        processed, skipped, failed, recovered, total = job.datums or (None,) * 5
        labels = {
            **_where(job), "job": job.id, "branch": job.output.branch, "said": job.state, "image": image,
            "pipeline_version": job.version, "restarts": job.restarts or None, **_edges("input", read),
            **_edges("output", [job.output] if job.output.id else []), "datums": total, "processed": processed,
            "skipped": skipped, "failed": failed, "recovered": recovered,
        }  # fmt: skip
        return Event(
            "training", job.key, created or started or job.latest, started=started,
            ended=finished if over else None, outcome=outcome, run=job.key,
            data_version=",".join([one.key for one in read if one.id and one.dataset not in crons][:EDGES]),
            trigger=trigger,
            title=f"{job.pipeline}: {first_line(job.reason) or job.state.removeprefix('JOB_').lower()}"[:_TEXT],
            labels=labels_of(labels), revision=4 * job.rank + bool(read) + bool(exact) + bool(trigger),
        )  # fmt: skip

    def _provenance(self, job: Job) -> Sequence[Place]:
        """The commits that its output was made of, where the commit of its output is given and says so."""
        made = self.objects.commits.get(job.output.key)
        return [one for one in made.provenance if one.id and one.type == USER] if made is not None else ()

    def _originals(self, places: Sequence[Place]) -> list[Place]:
        found = {one.key: one for one in map(self.objects.original, places)}
        return [found[key] for key in sorted(found)]

    def _reads(self, job: Job) -> tuple[Sequence[Place], Sequence[str]]:
        """What it reads and which datasets of it are ticks, as it says itself or else its pipeline."""
        return (job.inputs, job.crons) if job.inputs else self.objects.reads.get((job.project, job.pipeline), ((), ()))

    def _trigger(self, job: Job) -> str:
        """What began it: a tick (cron), a commit (new data), or a new pipeline (spec); "" where nobody says."""
        inputs, crons = self._reads(job)
        began = [one.place for one in self._sets.get(job.id, ()) if one.origin == "USER"]
        if any(one.dataset in crons for one in began):
            return "cron"
        if any(one.type == USER for one in began):
            return "new data"
        if any(one.type == "spec" for one in began):
            return "spec"
        return "cron" if crons and all(one.dataset in crons for one in inputs) else ""

    # -- versions of data

    def _is_data(self, commit: Commit) -> bool:
        """Not a model, which a training made, nor what Pachyderm keeps for itself, nor the same data once more."""
        return commit.place.type == USER and commit.origin != ALIAS and not self._trains(commit.place.repo)

    def _version(self, commit: Commit) -> Event:
        place, over = commit.place, commit.finished is not None
        outcome: Outcome = "open" if not over else "bad" if commit.error else "good"
        made = Place(place.project, place.repo, "", place.id).key if commit.origin == "AUTO" else ""
        labels = {
            "repo": place.repo, "project": place.project, "branch": place.branch, "origin": commit.origin,
            "bytes": commit.bytes,
            **_edges("input", self._originals([one for one in commit.provenance if one.type == USER])),
        }  # fmt: skip
        told = first_line(commit.error) or first_line(commit.description) or ("commit" if over else "open commit")
        return Event(
            "data_version", place.key, commit.started, started=commit.started, ended=commit.finished, outcome=outcome,
            data_version=place.key, run=made, title=f"{place.repo}@{place.branch or place.id}: {told}"[:_TEXT],
            labels=labels_of(labels), revision=commit.rank,
        )  # fmt: skip

    # -- datums

    def _valid(self, job: Job) -> Iterator[Page]:
        """The datums that a job worked on, once it is over; those it skipped were counted by an earlier one."""
        if job.state not in CLOSED:
            return
        if job.datums is None:
            self.said.reject("a job that counts more datums than it has, or no numbers, has no valid rows")
            return
        processed, _, failed, recovered, _ = job.datums
        worked = Ratio(processed, processed + failed + recovered)
        stage = "training" if self._trains(job.pipeline) else "production"
        series = Series("valid_rows", labels_of(_where(job)), stage=stage)  # type: ignore[arg-type]
        piece = Slice(f"pachyderm:datums:{job.key}", digest([stage, job.latest, worked.good, worked.total]))
        facts = [Fact(series, bucket_of(job.latest), worked)] if worked.total else []
        before = self.pull.taken(piece.name)
        if before != piece.digest and (facts or before is not None):
            yield Page(facts, slice=piece)


# -- labels


def _where(job: Job) -> dict[str, object]:
    return {"pipeline": job.pipeline, "project": job.project, "repo": job.output.repo}


def _edges(side: str, places: Sequence[Place]) -> dict[str, object]:
    """The commits of one side, numbered in order, and how many they are."""
    found: dict[str, object] = {f"{side}s": len(places) or None}
    for number, one in enumerate(places[:EDGES], 1):
        found |= {f"{side}.{number}": one.dataset, f"{side}.{number}.version": one.key if one.id else ""}
    return found
