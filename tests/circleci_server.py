"""A small CircleCI on 127.0.0.1: its tokens for pages, newest pipelines first, workflows of re-runs, shared jobs."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

Raw = dict[str, Any]
PAGE = 20
UNDER_WAY = ("running", "on_hold", "failing")


def key(name: object) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, str(name)))


def sha(name: object) -> str:
    return hashlib.sha1(str(name).encode()).hexdigest()


def text(ts: float | None) -> str | None:
    return None if ts is None else times.text(int(ts)).replace("Z", ".000Z")


@dataclass
class Circle:
    """What the server holds of one project."""

    project: str = "gh/acme/checkout"
    token: str = ""
    pipelines: list[Raw] = field(default_factory=list)
    workflows: dict[str, list[Raw]] = field(default_factory=dict)
    jobs: dict[str, list[Raw]] = field(default_factory=dict)
    tests: dict[int, list[Raw]] = field(default_factory=dict)
    insights: dict[str, Any] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)
    made: int = 0
    numbers: int = 100
    page: int = PAGE

    # what happens in it

    def pipeline(self, number: int, created: int, *, branch: str = "main", state: str = "created", **more: Any) -> str:
        raw = {
            "id": key(("pipeline", number)),
            "errors": [],
            "project_slug": self.project,
            "updated_at": text(created),
            "number": number,
            "state": state,
            "created_at": text(created),
            "trigger": {"type": "webhook", "received_at": "1970-01-01T00:00:00.000Z", "actor": {"login": "ada"}},
            "vcs": {
                "provider_name": "GitHub",
                "branch": branch,
                "revision": sha(number),
                "commit": {"subject": f"Change {number}", "body": ""},
            },
            **more,
        }
        self.pipelines.append(raw)
        self.workflows[raw["id"]] = []
        return str(raw["id"])

    def workflow(self, number: int, created: int, status: str = "running", *, name: str = "build",
                 tag: str | None = None) -> Raw:  # fmt: skip
        self.made += 1
        pipeline = key(("pipeline", number))
        raw = {
            "id": key(("workflow", self.made)),
            "pipeline_id": pipeline,
            "name": name,
            "project_slug": self.project,
            "status": status,
            "started_by": key("ada"),
            "pipeline_number": number,
            "created_at": text(created),
            "stopped_at": None if status in UNDER_WAY else text(created),
            **({"tag": tag} if tag else {}),
        }
        self.workflows[pipeline].insert(0, raw)
        self.jobs[raw["id"]] = []
        return raw

    def end(self, workflow: Raw, at: int, status: str = "success") -> Raw:
        workflow |= {"status": status, "stopped_at": text(at)}
        return workflow

    def job(self, workflow: Raw, name: str, started: int | None, lasted: int | None = 60, status: str = "success",
            needs: tuple[Raw, ...] = ()) -> Raw:  # fmt: skip
        self.numbers += 1
        raw = {
            "dependencies": [one["id"] for one in needs],
            "job_number": self.numbers,
            "id": key(("job", self.numbers)),
            "started_at": text(started),
            "name": name,
            "project_slug": self.project,
            "status": status,
            "type": "build",
            "stopped_at": text(started + lasted) if started is not None and lasted is not None else None,
        }
        self.jobs[workflow["id"]].append(raw)
        return raw

    def approval(self, workflow: Raw, name: str, status: str, needs: tuple[Raw, ...] = ()) -> Raw:
        self.made += 1
        raw = {
            "dependencies": [one["id"] for one in needs],
            "id": key(("approval", self.made)),
            "started_at": None,
            "name": name,
            "project_slug": self.project,
            "status": status,
            "type": "approval",
            "stopped_at": None,
            "approval_request_id": key(("approval", self.made)),
            **({"approved_by": key("grace")} if status == "success" else {}),
        }
        self.jobs[workflow["id"]].append(raw)
        return raw

    def rerun(self, workflow: Raw, created: int, *, from_failed: bool = True) -> Raw:
        """Another workflow of the pipeline, which takes over what had passed; the pipeline's own words stay."""
        setup = workflow.get("tag")
        again = self.workflow(workflow["pipeline_number"], created, name=workflow["name"], tag=setup)
        if from_failed:
            self.jobs[again["id"]] = [one for one in self.jobs[workflow["id"]] if one["status"] == "success"]
        return again

    def run(self, number: int, created: int, status: str = "success", *, lasted: int = 60, **more: Any) -> Raw:
        """A pipeline of one workflow of one job, which starts after 10 s."""
        self.pipeline(number, created, **more)
        workflow = self.workflow(number, created)
        self.job(workflow, "unit", created + 10, lasted, status)
        return self.end(workflow, created + 10 + lasted, status)

    def results(self, job: Raw, passed: int, failed: tuple[str, ...] = (), skipped: int = 0, **more: str) -> None:
        """The tests of a job; `more` are further rows by name."""
        rows = [*((f"test_{n}", "success") for n in range(passed)), *((name, "failure") for name in failed),
                *((f"skipped_{n}", "skipped") for n in range(skipped)), *more.items()]  # fmt: skip
        self.tests[job["job_number"]] = [
            {"message": "", "source": "pytest", "run_time": 1.5, "file": "tests/test_pay.py", "result": result,
             "name": name, "classname": "pay"} for name, result in rows
        ]  # fmt: skip

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.refusals:
            return self.refusals.pop(0)
        if self.token and asked.headers.get("circle-token") != self.token:
            return Answer({"message": "You must log in first."}, 401)
        rows = self._rows(asked.path.removeprefix("/api/v2/"), asked)
        if isinstance(rows, Answer):
            return rows
        return Answer({"message": "Not found"}, 404) if rows is None else self._paged(rows, asked)

    def _rows(self, path: str, asked: Asked) -> list[Raw] | Answer | None:
        if path == f"insights/{self.project}/flaky-tests":
            return Answer(self.insights.get("flaky", {"flaky_tests": [], "total_flaky_tests": 0}))
        if path == f"insights/{self.project}/workflows":
            known = dict(asked.query).get("reporting-window") in ("last-7-days", "last-90-days", "last-24-hours")
            return self.insights.get("workflows", []) if known else Answer({"message": "Bad window"}, 400)
        if path == f"project/{self.project}/pipeline":
            return sorted(self.pipelines, key=lambda one: -one["number"])
        if path.startswith(f"project/{self.project}/") and path.endswith("/tests"):
            return self.tests.get(int(path.split("/")[-2]), [])
        match path.split("/"):
            case ["pipeline", one]:
                found = [raw for raw in self.pipelines if raw["id"] == one]
                return Answer(found[0]) if found else None
            case ["pipeline", one, "workflow"]:
                return self.workflows.get(one)
            case ["workflow", one, "job"]:
                return self.jobs.get(one)
        return None

    def _paged(self, rows: list[Raw], asked: Asked) -> Answer:
        """A page and the token of the next: opaque, and good for this list only."""
        token = dict(asked.query).get("page-token", "")
        places = {self._token(asked.path, place): place for place in range(0, max(1, len(rows)), self.page)}
        if token and token not in places:
            return Answer({"message": "Invalid page token"}, 400)
        begin = places.get(token, 0)
        more = begin + self.page < len(rows)
        next_one = self._token(asked.path, begin + self.page) if more else None
        return Answer({"items": rows[begin : begin + self.page], "next_page_token": next_one})

    def _token(self, path: str, place: int) -> str:
        return hashlib.sha256(f"{path}@{place}".encode()).hexdigest()[:24] if place else "-"
