"""A small Kubeflow Pipelines on 127.0.0.1: runs by filter and place, with the old or the new API of artifacts."""

from __future__ import annotations

import base64
import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Literal

from tandem import times
from tests.replay import Answer, Asked

Raw = dict[str, Any]
ABSENT = "1970-01-01T00:00:00Z"
BASE = "/apis/v2beta1/"
MOST, USUAL = 200, 20
DIGEST = "sha256:" + "9f86d081884c7d659a2feaa0c55ad015" * 2


def iso(ts: float | None) -> str:
    return ABSENT if ts is None else times.text(ts)


def matrix(classes: list[str], rows: list[list[Any]]) -> Raw:
    specs = [{"displayName": one} for one in classes]
    return {"confusionMatrix": {"annotationSpecs": specs, "rows": [{"row": row} for row in rows]}}


def refused(status: int, said: str) -> Answer:
    return Answer({"error": said, "code": 3, "message": said, "details": []}, status)


@dataclass
class Kubeflow:
    """Runs by id; `tells` is what the server knows of artifacts: nothing ("no"), each by its id, or with the run."""

    token: str = ""
    cookie: str = ""
    tells: Literal["no", "ids", "all"] = "all"
    multi_user: bool = False
    runs: dict[str, Raw] = field(default_factory=dict)
    tasks: dict[str, list[Raw]] = field(default_factory=dict)
    artifacts: dict[str, Raw] = field(default_factory=dict)
    experiments: dict[str, Raw] = field(default_factory=dict)
    pipelines: dict[str, Raw] = field(default_factory=dict)
    versions: dict[str, Raw] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    made: int = 0

    # what happens in it

    def _id(self, word: str) -> str:
        self.made += 1
        return f"{word}-{self.made:06d}"

    def experiment(self, name: str = "nightly", namespace: str = "ml-team") -> str:
        key = self._id("experiment")
        self.experiments[key] = {"experiment_id": key, "display_name": name, "namespace": namespace,
                                 "created_at": iso(0), "storage_state": "AVAILABLE"}  # fmt: skip
        return key

    def pipeline(self, name: str = "fraud-train", images: tuple[str, ...] = ("python:3.11",), source: str = "") -> Raw:
        key, version = self._id("pipeline"), self._id("version")
        self.pipelines[key] = {"pipeline_id": key, "display_name": name, "namespace": "ml-team"}
        executors = {f"exec-{n}": {"container": {"image": image}} for n, image in enumerate(images)}
        self.versions[version] = {
            "pipeline_id": key, "pipeline_version_id": version, "display_name": f"{name} v1",
            "code_source_url": source, "created_at": iso(1_700_000_000),
            "pipeline_spec": {"pipelineInfo": {"name": name}, "deploymentSpec": {"executors": executors}},
        }  # fmt: skip
        return {"pipeline_id": key, "pipeline_version_id": version}

    def run(self, created: int, *, experiment: str = "", pipeline: Raw | None = None, **more: Any) -> Raw:
        key = self._id("run")
        one = self.runs[key] = {
            "experiment_id": experiment, "run_id": key, "display_name": more.pop("name", f"nightly {self.made}"),
            "storage_state": "AVAILABLE", "runtime_config": {"parameters": more.pop("parameters", {})},
            "service_account": "pipeline-runner", "created_at": iso(created), "scheduled_at": iso(created),
            "finished_at": ABSENT, "state": "PENDING", "state_history": [], **more,
        }  # fmt: skip
        if pipeline:
            one["pipeline_version_reference"] = pipeline
        self.tasks[key] = []
        return self.to(one, created, "PENDING")

    def to(self, run: Raw, at: int, state: str) -> Raw:
        """The run changes its state; a final one is its end."""
        run["state"] = state
        run["state_history"].append({"update_time": iso(at), "state": state})
        run["finished_at"] = iso(at if state in ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED") else None)
        return run

    def done(self, created: int, state: str = "SUCCEEDED", lasted: int = 600, **more: Any) -> Raw:
        """A run that waited 10 s and then ran."""
        one = self.to(self.run(created, **more), created + 10, "RUNNING")
        return self.to(one, created + 10 + lasted, state)

    def retry(self, run: Raw, at: int) -> Raw:
        """Somebody retries a run that has failed: the same run goes on."""
        return self.to(run, at, "RUNNING")

    def task(self, run: Raw, name: str, at: int, state: str = "SUCCEEDED", lasted: int = 60, kind: str = "RUNTIME",
             failed: int = 0) -> Raw:  # fmt: skip
        key = self._id("task")
        ended = iso(at + lasted) if state != "RUNNING" else ABSENT
        history = [{"update_time": iso(at), "state": "RUNNING"}, {"update_time": ended, "state": state}]
        one = {"task_id": key, "run_id": run["run_id"], "name": name, "display_name": name, "type": kind,
               "state": state, "create_time": iso(at), "end_time": ended, "state_history": history,
               "inputs": {"parameters": [], "artifacts": []}, "outputs": {"parameters": [], "artifacts": []},
               "_failed": failed}  # fmt: skip
        self.tasks[run["run_id"]].append(one)
        return one

    def artifact(self, task: Raw, kind: str, name: str, at: int, key: str = "", **more: Any) -> Raw:
        """Something that a task made."""
        number = self._id("artifact")
        one = self.artifacts[number] = {"artifact_id": number, "name": name, "type": kind, "created_at": iso(at),
                                        "namespace": "ml-team", **more}  # fmt: skip
        return self.linked(task, one, key or name)

    def linked(self, task: Raw, artifact: Raw, key: str, way: str = "outputs") -> Raw:
        for group in task[way]["artifacts"]:
            if group["artifact_key"] == key:
                group["artifacts"].append(artifact)
                return artifact
        kind = "OUTPUT" if way == "outputs" else "TASK_OUTPUT_INPUT"
        task[way]["artifacts"].append({"artifacts": [artifact], "artifact_key": key, "type": kind})
        return artifact

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"error": "unauthenticated", "code": 16, "message": "no valid token"}, 401)
        if self.cookie and asked.headers.get("cookie") != self.cookie:
            return Answer("<!DOCTYPE html><form>log in</form>", 200, {"Content-Type": "text/html"})
        query = dict(asked.query)
        match asked.path.removeprefix(BASE).split("/"):
            case ["runs"]:
                return self._listed(query)
            case ["runs", key] if key in self.runs:
                return Answer(self._shown(self.runs[key], full=query.get("view") == "FULL"))
            case ["experiments", key] if key in self.experiments:
                return Answer(self.experiments[key])
            case ["pipelines", key] if key in self.pipelines:
                return Answer(self.pipelines[key])
            case ["pipelines", _, "versions", key] if key in self.versions:
                return Answer(self.versions[key])
            case ["artifacts"] if self.tells != "no":
                return Answer({"artifacts": [], "next_page_token": ""})
            case ["artifacts", key] if self.tells != "no" and key in self.artifacts:
                return Answer(self._old_artifact(key) if self.tells == "ids" else self.artifacts[key])
        return Answer({"code": 5, "message": "Not Found", "details": []}, 404)

    def _old_artifact(self, key: str) -> Raw:
        one = dict(self.artifacts[key])
        kind = {"Metric": "Metrics", "ClassificationMetric": "ClassificationMetrics"}.get(one["type"], one["type"])
        return {**one, "artifact_type": f"system.{kind}", "type": ""}

    def _listed(self, query: dict[str, str]) -> Answer:
        if self.multi_user and not query.get("namespace"):
            return refused(400, "A run cannot have an empty namespace in multi-user mode")
        if not self.multi_user and query.get("namespace"):
            return refused(400, "In single-user mode, runs cannot be filtered by namespace")
        rows = [one for one in self.runs.values() if self._mine(one, query) and _kept(one, query)]
        word, _, way = query.get("sort_by", "created_at").partition(" ")
        key = lambda one: (one[word], one["run_id"])  # noqa: E731
        rows.sort(key=key, reverse=way == "desc")
        total, size = len(rows), min(int(query.get("page_size", "0") or 0) or USUAL, MOST)
        criteria = [query.get("sort_by", ""), query.get("filter", "")]
        if token := query.get("page_token"):
            place = json.loads(base64.b64decode(token))
            if place["criteria"] != criteria:
                return refused(400, "page token does not match the supplied sort by and/or filtering criteria")
            first = tuple(place["first"])
            rows = [one for one in rows if (key(one) <= first if way == "desc" else key(one) >= first)]
        more = ""
        if len(rows) > size:
            more = base64.b64encode(json.dumps({"criteria": criteria, "first": key(rows[size])}).encode()).decode()
        found = [self._shown(one) for one in rows[:size]]
        return Answer({"runs": found, "total_size": total, **({"next_page_token": more} if more else {})})

    def _mine(self, run: Raw, query: dict[str, str]) -> bool:
        space = self.experiments.get(run["experiment_id"], {}).get("namespace", "")
        return not self.multi_user or space == query["namespace"]

    def _shown(self, run: Raw, full: bool = False) -> Raw:
        """By default the new API leaves the tasks out; the old one always tells them, without what they made."""
        tasks = deepcopy(self.tasks[run["run_id"]])
        failed = [one.pop("_failed") for one in tasks]
        shown = {**deepcopy(run), "task_count": len(tasks)}
        if self.tells == "all":
            return {**shown, "tasks": tasks} if full else shown
        del shown["task_count"]
        details = [self._old_task(one, jobs) for one, jobs in zip(tasks, failed, strict=True)]
        return {**shown, "run_details": {"task_details": details}}

    def _old_task(self, task: Raw, failed: int) -> Raw:
        outputs = {group["artifact_key"]: {"artifact_ids": [one["artifact_id"] for one in group["artifacts"]]}
                   for group in task["outputs"]["artifacts"]}  # fmt: skip
        jobs = {"main_job": task["name"], "failed_main_jobs": [f"{task['name']}-{n}" for n in range(failed)]}
        kept = ("task_id", "run_id", "display_name", "state", "create_time", "end_time", "state_history")
        return {**{name: task[name] for name in kept}, "start_time": task["create_time"], "executor_detail": jobs,
                **({"outputs": outputs} if self.tells == "ids" else {})}  # fmt: skip


def _kept(run: Raw, query: dict[str, str]) -> bool:
    """All predicates of a filter hold; times are compared as the seconds that the database keeps."""
    checks = {
        "GREATER_THAN_EQUALS": lambda a, b: a >= b,
        "LESS_THAN": lambda a, b: a < b,
        "EQUALS": lambda a, b: a == b,
    }
    for one in json.loads(query.get("filter") or "{}").get("predicates", []):
        if one["key"] not in ("created_at", "finished_at"):
            raise AssertionError(f"a filter by {one['key']} is not replayed")
        if not checks[one["operation"]](times.iso(run[one["key"]]), times.iso(one["timestamp_value"])):
            return False
    return True
