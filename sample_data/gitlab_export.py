"""What GitLab's API answers for the project of the team that works there: pipelines, jobs, deployments, releases."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sample_data.github_export import PEOPLE, SUBJECTS, sha, starts
from sample_data.packing import as_json, gzipped
from sample_data.story import (
    END,
    ON_GITLAB,
    SERVICES,
    Deployment,
    Service,
    deployments,
    random_of,
    stamp,
)

SERVER = "https://gitlab.com/northlight"
PROJECT = 58_204_117
STEPS = (("build", "image", 110), ("test", "unit", 160), ("test", "contract", 210))
DEPLOY = (("build", "image", 110), ("deploy", "deploy:production", 95))
SOURCES = {"schedule": "schedule", "push": "push", "pull_request": "merge_request_event"}


@dataclass
class Answers:
    """The lists of one project, oldest first."""

    pipelines: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, Any]] = field(default_factory=list)
    deployments: list[dict[str, Any]] = field(default_factory=list)
    releases: list[dict[str, Any]] = field(default_factory=list)


def write(folder: Path) -> None:
    """One folder per project with the four lists, newest first as GitLab gives them."""
    for service in SERVICES:
        if service.name in ON_GITLAB:
            found = told(service)
            for name in ("pipelines", "jobs", "deployments", "releases"):
                path = folder / "gitlab" / service.name / f"{name}.json.gz"
                gzipped(path, as_json(getattr(found, name)[::-1]))


def told(service: Service) -> Answers:
    """What GitLab says of the project of a service."""
    return _Project(service).answers()


def truth() -> str:
    """What was planted in the pipelines, as tables of truth.toml."""
    lines = []
    for service in SERVICES:
        if service.name in ON_GITLAB:
            found = told(service)
            tried: dict[int, set[str]] = {}
            for job in found.jobs:
                tried.setdefault(job["pipeline"]["id"], set()).add(f"{job['name']} {job['status']}")
            mixed = sum(
                any(one.endswith("failed") and one.replace("failed", "success") in some for one in some)
                for some in tried.values()
            )
            lines += [
                "[[pipelines]]", f'component = "{service.name}"', f'source = "gitlab-{service.name}"',
                f"pipelines = {len(found.pipelines)}", f"jobs = {len(found.jobs)}",
                f"passed_on_a_second_try = {mixed}", f"deployments = {len(found.deployments)}", "",
            ]  # fmt: skip
    return "\n".join(lines)


@dataclass
class _Project:
    service: Service
    random: np.random.Generator = field(init=False)
    found: Answers = field(default_factory=Answers)
    number: int = 0
    tries: int = 0

    def __post_init__(self) -> None:
        self.random = random_of("gitlab", self.service.name)

    def answers(self) -> Answers:
        """Pipelines of every push, merge request and night, then one of each tag that was deployed."""
        made = deployments(self.service)
        shas = [sha(self.random) for _ in {one.version for one in made}]
        of_version = dict(zip(dict.fromkeys(one.version for one in made), shas, strict=True))
        begun = [(ts, event, None) for ts, event in starts(self.random)]
        begun += [(one.ts - 240, "tag", one) for one in made]
        for number, (ts, event, deployment) in enumerate(sorted(begun, key=lambda one: (one[0], one[1])), 1):
            self.number = number
            if deployment is None:
                self._built(ts, event)
            else:
                self._deployed(deployment, of_version[deployment.version])
        return self.found

    def _built(self, ts: int, event: str) -> None:
        subject, person = str(self.random.choice(SUBJECTS)), str(self.random.choice(PEOPLE))
        branch = f"{person}/{subject.lower().replace(' ', '-')}" if event == "pull_request" else "main"
        commit = sha(self.random)
        drawn = self.random.random()
        failing = int(self.random.integers(1, 3)) if drawn < self.service.build_failures * 1.3 else None
        again = ts + int(self.random.integers(1800, 5400)) if self.random.random() < 0.4 else None
        common = _common(self._pipeline_id(), commit, branch, person)
        tries = self._jobs(common, ts, STEPS, failing, again)
        word = "canceled" if drawn > 0.96 else _word(tries)
        if word == "canceled":
            tries = tries[:1]
        self._pipeline(common, ts, SOURCES[event], word, tries)

    def _deployed(self, made: Deployment, commit: str) -> None:
        person, tag = str(self.random.choice(PEOPLE)), f"v{made.version}"
        common = _common(self._pipeline_id(), commit, tag, person)
        good = self.random.random() >= 0.04
        tries = self._jobs(common, made.ts - 240, DEPLOY, None if good else 1, None)
        self._pipeline(common, made.ts - 240, "push", _word(tries), tries)
        job = tries[-1]
        number = len(self.found.deployments) + 1
        self.found.deployments.append({
            "id": 3_310_000 + number * 41, "iid": number, "ref": tag, "sha": commit, "status": job["status"],
            "created_at": job["created_at"], "updated_at": job["finished_at"] or job["started_at"],
            "user": job["user"], "environment": {"id": 71, "name": "production", "external_url": None},
            "deployable": job,
        })  # fmt: skip
        self.found.releases.append({
            "tag_name": tag, "name": f"{self.service.name} {tag}", "description": "",
            "created_at": _at(made.ts - 900), "released_at": _at(made.ts - 900), "upcoming_release": False,
            "author": job["user"], "commit": {"id": commit, "short_id": commit[:8]},
            "_links": {"self": f"{self._web}/-/releases/{tag}"},
        })  # fmt: skip

    @property
    def _web(self) -> str:
        return f"{SERVER}/{self.service.name}"

    def _pipeline_id(self) -> int:
        return 1_400_000_000 + self.number * 3571

    def _jobs(
        self, common: dict[str, Any], ts: int, steps: Sequence[tuple[str, str, int]], failing: int | None,
        again: int | None,
    ) -> list[dict[str, Any]]:  # fmt: skip
        """The jobs of a pipeline, one after the other up to one that fails, which is tried again at `again`."""
        tries, at = [], ts + 3
        for place, (stage, name, typical) in enumerate(steps):
            job = self._job(common, stage, name, ts, at, typical, good=place != failing)
            tries.append(job)
            if job["status"] == "running":
                break
            at += job["_took"] + 4
            if place == failing:
                if again is None:
                    break
                good = self.random.random() < 0.7
                tries.append(self._job(common, stage, name, again, again + 2, typical, good=good))
                at = again + 2 + tries[-1]["_took"] + 4
                if not good:
                    break
        return [{name: value for name, value in job.items() if name != "_took"} for job in tries]

    def _job(
        self, common: dict[str, Any], stage: str, name: str, created: int, at: int, typical: int, *, good: bool
    ) -> dict[str, Any]:  # fmt: skip
        """One try of a job; one that would end after the export is still running."""
        self.tries += 1
        key = 8_900_000_000 + self.tries * 613
        waited = int(self.random.integers(1, 9))
        took = int(typical * np.exp(0.25 * self.random.standard_normal())) + 10
        ended = at + waited + took
        over = ended < END
        return {
            "id": key, "status": ("success" if good else "failed") if over else "running", "stage": stage,
            "name": name, "ref": common["ref"], "tag": common["ref"].startswith("v"), "allow_failure": False,
            "created_at": _at(created), "started_at": _at(at + waited), "finished_at": _at(ended) if over else None,
            "duration": float(took) if over else None, "queued_duration": float(waited), "user": common["user"],
            "commit": {"id": common["sha"], "short_id": common["sha"][:8]},
            "pipeline": {"id": common["id"], "project_id": PROJECT, "sha": common["sha"], "ref": common["ref"]},
            "web_url": f"{self._web}/-/jobs/{key}", "_took": waited + took,
        }  # fmt: skip

    def _pipeline(
        self, common: dict[str, Any], ts: int, source: str, word: str, tries: Sequence[dict[str, Any]]
    ) -> None:  # fmt: skip
        ends = [job["finished_at"] or job["started_at"] for job in tries]
        self.found.pipelines.append({
            "id": common["id"], "iid": self.number, "project_id": PROJECT, "sha": common["sha"], "ref": common["ref"],
            "status": word, "source": source, "created_at": _at(ts), "updated_at": max(ends),
            "web_url": f"{self._web}/-/pipelines/{common['id']}", "name": None,
        })  # fmt: skip
        self.found.jobs += tries


def _common(key: int, commit: str, ref: str, person: str) -> dict[str, Any]:
    return {"id": key, "sha": commit, "ref": ref, "user": {"id": 700 + PEOPLE.index(person), "username": person}}


def _word(tries: Sequence[dict[str, Any]]) -> str:
    """How a pipeline stands by the last try of each of its jobs."""
    last = {job["name"]: job["status"] for job in tries}
    return next((word for word in ("running", "failed") if word in last.values()), "success")


def _at(ts: int) -> str:
    return stamp(ts).replace("Z", ".000Z")
