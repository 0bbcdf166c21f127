"""Saved answers of CircleCI's API v2 and its webhook deliveries, put together by what they say they belong to."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._circleci import Job, Pipeline, Run, Words, job_of, pipeline_of, run_of
from connectors._circleci_tests import counted, tested_of
from connectors._fields import Raw, Unusable, inside, text_of
from tandem.connect import Item
from tandem.records import Page, Ratio, labels_of

MARKS = tuple(
    tuple(re.compile(pattern) for pattern in patterns)
    for patterns in (
        (rb'"project_slug"\s*:', rb'"(?:vcs|trigger_parameters)"\s*:', rb'"state"\s*:'),
        (rb'"project_slug"\s*:', rb'"pipeline_id"\s*:', rb'"pipeline_number"\s*:'),
        (rb'"project_slug"\s*:', rb'"(?:job_number|dependencies)"\s*:', rb'"type"\s*:\s*"(?:build|approval)"'),
        (rb'"items"\s*:', rb'"classname"\s*:', rb'"result"\s*:', rb'"run_time"\s*:'),
        (rb'"type"\s*:\s*"(?:workflow|job)-completed"', rb'"happened_at"\s*:'),
        (rb'"latest_workflow"\s*:', rb'"project"\s*:', rb'"pipeline"\s*:'),
    )
)
"""Of one line all must stand in a file's beginning for it to be CircleCI's."""
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_TESTS = re.compile(r"tests?[-_.]?(\d{1,12})(?!\d)")


@dataclass
class Saved:
    """Everything that one file or folder says."""

    raw_pipelines: dict[str, Raw] = field(default_factory=dict)
    runs: dict[str, dict[str, Run]] = field(default_factory=dict)
    """By the pipeline, then by their own id."""
    jobs: dict[str, list[Job]] = field(default_factory=dict)
    """By the workflow."""
    tests: dict[int, list[Raw]] = field(default_factory=dict)
    """By the number of the job."""
    loose: list[list[Raw]] = field(default_factory=list)
    """Tests whose job nobody knows."""

    def add(self, document: Any, item: Item, words: Words) -> None:
        """One document: a page of a list, a list, one object, or a delivery."""
        rows = document if isinstance(document, list) else [document]
        if isinstance(document, dict) and isinstance(document.get("items"), list):
            rows = document["items"]
        if rows and all(isinstance(raw, dict) and "result" in raw and "classname" in raw for raw in rows):
            self._tested(rows, item)
            return
        for raw in rows:
            try:
                self._object(raw, item.name)
            except Unusable as error:
                words.reject(str(error))

    def _object(self, raw: Any, name: str) -> None:
        if not isinstance(raw, dict):
            raise Unusable("what is there is no object of CircleCI")
        if text_of(raw, "type") in ("workflow-completed", "job-completed"):
            self._delivery(raw)
        elif "pipeline_id" in raw:
            self._run(run_of(raw))
        elif "latest_workflow" in raw:
            self._single(raw)
        elif text_of(raw, "type") in ("build", "approval") and "status" in raw:
            found = _UUID.search(name)
            if found is None:
                raise Unusable("a list of jobs does not say its workflow; name the file after the workflow's id")
            self._job(found[0], job_of(raw), listed=True)
        elif "number" in raw and "project_slug" in raw:
            pipeline = pipeline_of(raw)
            self.raw_pipelines[pipeline.id] = raw
        else:
            raise Unusable("an object is no pipeline, workflow, job or test")

    def _tested(self, rows: Sequence[Raw], item: Item) -> None:
        found = _TESTS.search(item.name)
        if found is None:
            self.loose.append(list(rows))
        else:
            self.tests.setdefault(int(found[1]), []).extend(rows)

    def _run(self, run: Run) -> None:
        known = self.runs.setdefault(run.pipeline, {})
        other = known.get(run.id)
        if other is None or (run.sure, run.stopped or 0) >= (other.sure, other.stopped or 0):
            known[run.id] = run

    def _job(self, workflow: str, job: Job, *, listed: bool = False) -> None:
        """A list tells what a job depends on; alone, or in a delivery, it does not."""
        known = self.jobs.setdefault(workflow, [])
        same = [one for one in known if one.id == job.id or (job.number and one.number == job.number)]
        if listed or not same:
            known[:] = [one for one in known if one not in same] + [job]

    def _single(self, raw: Raw) -> None:
        """A job as it is told alone: it names its workflow, but no dependencies."""
        told = {**raw, "id": text_of(raw, "id") or str(raw.get("number")), "job_number": raw.get("number"),
                "type": "build"}  # fmt: skip
        self._job(text_of(inside(raw, "latest_workflow"), "id"), job_of(told))

    def _delivery(self, raw: Raw) -> None:
        """A delivery tells a workflow and its pipeline, and not which attempt it is of."""
        project = {"project_slug": text_of(inside(raw, "project"), "slug")}
        pipeline = {**inside(raw, "pipeline"), **project}
        one = pipeline_of(pipeline)
        self.raw_pipelines.setdefault(one.id, pipeline)
        told = {**inside(raw, "workflow"), **project, "pipeline_id": one.id, "pipeline_number": one.number}
        if "job" in raw:
            job = inside(raw, "job")
            self._job(text_of(told, "id"), job_of({**job, "job_number": job.get("number"), "type": "build"}))
        else:
            self._run(run_of(told, sure=False))

    def pipelines(self, words: Words) -> list[Pipeline]:
        """All pipelines; of those that no file holds, what their workflows say of them."""
        found = {key: pipeline_of(raw) for key, raw in self.raw_pipelines.items()}
        for key, runs in self.runs.items():
            if key not in found:
                words.remark("a pipeline is not in the same file or folder: its branch and commit are not known")
                first = min(runs.values(), key=lambda run: run.created)
                found[key] = Pipeline(
                    key, first.number, first.project, "", first.created, "", "", "", "", "", "", "", ""
                )  # fmt: skip
        for workflow in self.jobs.keys() - {run.id for runs in self.runs.values() for run in runs.values()}:
            count = len(self.jobs[workflow])
            words.remark("jobs of workflows that are not in the same file or folder are not counted", count)
        return list(found.values())


def alone(rows: Sequence[Raw], item: Item, config: Any, words: Words) -> Page:
    """Tests whose job no file tells, at the time that is given or at that of the file."""
    if item.given.at is None:
        words.remark("test results hold no time; the time of the file's last change is taken")
    ts = item.modified if item.given.at is None else item.given.at
    tested = tested_of(rows, passed=False, words=words)
    ran = len(tested.results) - tested.count("skipped")
    passed, steady = Ratio(ran - tested.count("failed"), ran), Ratio(ran - tested.count("flaky"), ran)
    name = hashlib.sha256(repr(sorted(tested.results.items())).encode("utf-8", "replace")).hexdigest()[:16]
    return counted(f"circleci:tests:{name}", ts, labels_of({"project": config.project}), passed, steady)
