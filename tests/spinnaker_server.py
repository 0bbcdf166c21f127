"""A small Gate on 127.0.0.1: searches by trigger time, ten rows by default and without details; tasks, restarts."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from tests.replay import Answer, Asked

Raw = dict[str, Any]
OVER = ("SUCCEEDED", "TERMINAL", "CANCELED", "STOPPED", "FAILED_CONTINUE")


def ms(ts: float | None) -> int | None:
    return None if ts is None else int(ts * 1000) + 123


def image(name: str = "registry.example.com/shop/cart", tag: str = "1.4.2", digest: str = "") -> Raw:
    reference = f"{name}:{tag}" + (f"@{digest}" if digest else "")
    return {"type": "docker/image", "name": name, "version": tag, "reference": reference}


@dataclass
class Gate:
    """Executions and tasks by id, in the order in which they were made."""

    token: str = ""
    cookie: str = ""
    executions: dict[str, Raw] = field(default_factory=dict)
    tasks: dict[str, Raw] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)
    made: int = 0

    # what happens in it

    def _id(self) -> str:
        self.made += 1
        return f"01JD{self.made:022d}"

    def pipeline(self, built: int, status: str = "RUNNING", *, application: str = "cart", name: str = "Ship",
                 ended: int | None = None, **trigger: Any) -> Raw:  # fmt: skip
        key = self._id()
        self.executions[key] = {
            "type": "PIPELINE", "id": key, "application": application, "name": name, "buildTime": ms(built),
            "canceled": status == "CANCELED", "limitConcurrent": True, "stages": [], "startTime": ms(built + 1),
            "endTime": ms(ended), "status": status, "pipelineConfigId": "7f", "spelEvaluator": "v4",
            "authentication": {"user": "deploy-bot", "allowedAccounts": []},
            "trigger": {"type": "manual", "user": "ada", **trigger},
        }  # fmt: skip
        return self.executions[key]

    def task(self, built: int, name: str, status: str = "RUNNING", application: str = "cart") -> Raw:
        key = self._id()
        self.tasks[key] = {
            "id": key, "name": name, "application": application, "status": status, "variables": [], "steps": [],
            "buildTime": ms(built), "startTime": ms(built), "endTime": None,
            "execution": {"type": "ORCHESTRATION", "stages": [], "trigger": {"type": "manual", "user": "grace"}},
        }  # fmt: skip
        return self.tasks[key]

    def stage(self, of: Raw, kind: str, started: int | None, ended: int | None = None, status: str = "",
              parent: Raw | None = None, outputs: Raw | None = None, **context: Any) -> Raw:  # fmt: skip
        word = status or ("NOT_STARTED" if started is None else "SUCCEEDED" if ended is not None else "RUNNING")
        raw = {
            "id": self._id(), "refId": "1", "type": kind, "name": context.pop("name", kind), "startTime": ms(started),
            "endTime": ms(ended), "status": word, "context": {"account": "prod", "location": "shop", **context},
            "outputs": outputs or {}, "parentStageId": parent["id"] if parent else None, "tasks": [],
            "syntheticStageOwner": "STAGE_AFTER" if parent else None, "requisiteStageRefIds": [],
        }  # fmt: skip
        of.get("execution", of)["stages"].append(raw)
        return raw

    def end(self, of: Raw, at: int, status: str = "SUCCEEDED") -> Raw:
        of |= {"status": status, "endTime": ms(at)}
        return of

    def deploy(self, built: int, status: str = "SUCCEEDED", *, lasted: int = 60, **more: Any) -> Raw:
        """A pipeline that bakes for 30 s and deploys one image."""
        one = self.pipeline(built, **more)
        self.stage(one, "bakeManifest", built + 1, built + 31)
        bound = {"outputs.boundArtifacts": [image()]}
        self.stage(one, "deployManifest", built + 31, built + 31 + lasted, status, name="Deploy", **bound)
        return self.end(one, built + 31 + lasted, status)

    def restart(self, of: Raw, number: int, at: int, by: str = "grace") -> Raw:
        """A stage of an execution that is over runs again; what it was told stays."""
        stage: Raw = of["stages"][number]
        details = {"restartedBy": by, "restartTime": ms(at), "previousException": {"details": {}}}
        stage |= {"status": "RUNNING", "startTime": ms(at), "endTime": None}
        stage["context"]["restartDetails"] = details
        of |= {"status": "RUNNING", "endTime": None}
        return stage

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.refusals:
            return self.refusals.pop(0)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"error": "Unauthorized", "message": "Unauthorized", "status": 401}, 401)
        if self.cookie and asked.headers.get("cookie") != f"SESSION={self.cookie}":
            return Answer(b"", 302, {"Location": "https://login.example.com/"})
        query = dict(asked.query)
        match asked.path.strip("/").split("/"):
            case ["applications", name, "executions", "search"]:
                return self._searched(name, query)
            case ["applications", name, "tasks"]:
                return self._paged(name, query)
            case ["pipelines", key] if key in self.executions:
                return Answer(deepcopy(self.executions[key]))
            case ["tasks", key] if key in self.tasks:
                return Answer(deepcopy(self.tasks[key]))
        return Answer({"error": "Not Found", "message": "Execution not found", "status": 404}, 404)

    def _searched(self, name: str, query: dict[str, str]) -> Answer:
        low, high = int(query["triggerTimeStartBoundary"]), int(query["triggerTimeEndBoundary"])
        words = query.get("statuses", "").split(",") if query.get("statuses") else None
        rows = [one for one in self.executions.values() if one["application"] == name
                and low <= one["buildTime"] <= high and (words is None or one["status"] in words)]  # fmt: skip
        rows.sort(key=lambda one: (one["buildTime"], one["id"]), reverse=query.get("reverse") != "true")
        begin, size = int(query.get("startIndex", 0)), int(query.get("size", 10))
        found = deepcopy(rows[begin : begin + size])
        if query.get("expand") != "true":
            for stage in (stage for one in found for stage in one["stages"]):
                group = {"group": "Deploys"} if stage["type"] == "deployManifest" else {}
                stage |= {"context": group, "outputs": {}, "tasks": []}
        return Answer(found)

    def _paged(self, name: str, query: dict[str, str]) -> Answer:
        rows = [one for one in self.tasks.values() if one["application"] == name]
        rows.sort(key=lambda one: one["startTime"], reverse=True)
        page, limit = int(query.get("page", 1)), int(query.get("limit", 10))
        return Answer(deepcopy(rows[(page - 1) * limit : page * limit]))
