"""An Argo CD as its API answers: applications with ten successful syncs and one operation, cut to the asked fields."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.replay import Answer, Asked

LIMIT = 10
Raw = dict[str, Any]


def text(ts: float) -> str:
    return f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Argo:
    """Applications by name."""

    token: str = ""
    applications: dict[str, Raw] = field(default_factory=dict)

    def create(self, name: str, project: str = "shop", images: tuple[str, ...] = ()) -> None:
        self.applications[name] = {
            "metadata": {"name": name, "namespace": "argocd", "uid": f"uid-{name}",
                         "annotations": {"note": "hunter2"}},
            "spec": {"project": project, "source": {"repoURL": "https://git.example.com/shop", "path": name},
                     "destination": {"server": "https://kubernetes.default.svc", "namespace": f"{name}-ns"}},
            "status": {"sync": {"status": "Synced"}, "health": {"status": "Healthy"},
                       "summary": {"images": list(images)}, "reconciledAt": text(0)},
        }  # fmt: skip

    def begin(self, name: str, revision: str, at: float, *, automated: bool = True, **source: str) -> None:
        """An operation begins; `source` are parameters that differ from what the application says."""
        told = {**self.applications[name]["spec"]["source"], **source}
        by = {"automated": True} if automated else {"username": "ada"}
        self.applications[name]["status"]["operationState"] = {
            "phase": "Running", "startedAt": text(at), "message": "waiting",
            "operation": {"sync": {"revision": revision, "source": told}, "initiatedBy": by},
            "syncResult": {"revision": revision, "source": told, "resources": [{"kind": "Deployment"}] * 3},
        }  # fmt: skip

    def end(self, name: str, at: float, phase: str = "Succeeded", message: str = "", *, retries: int = 0) -> None:
        status = self.applications[name]["status"]
        state = status["operationState"]
        state |= {"phase": phase, "finishedAt": text(at), "message": message or "done", "retryCount": retries}
        if phase != "Succeeded":
            return
        history = status.setdefault("history", [])
        history.append(
            {"id": status.setdefault("next", 0), "revision": state["syncResult"]["revision"],
             "source": state["syncResult"]["source"], "deployStartedAt": state["startedAt"], "deployedAt": text(at),
             "initiatedBy": state["operation"]["initiatedBy"]}
        )  # fmt: skip
        status["next"] += 1
        del history[:-LIMIT]

    def sync(self, name: str, revision: str, at: float, **source: str) -> None:
        """A sync that takes 20 s and succeeds."""
        self.begin(name, revision, at, **source)
        self.end(name, at + 20)

    def answer(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"error": "no session information", "code": 16, "message": "no session information"}, 401)
        if asked.path != "/api/v1/applications":
            return Answer({"error": "Not Found", "code": 5, "message": "Not Found"}, 404)
        projects = {value for name, value in asked.query if name == "projects"}
        rows = [one for one in self.applications.values() if not projects or one["spec"]["project"] in projects]
        fields = [one.removeprefix("items.") for one in dict(asked.query)["fields"].split(",") if "items." in one]
        cut = [_cut(one, [name.split(".") for name in fields]) for one in rows]
        return Answer({"metadata": {"resourceVersion": "7"}, "items": cut or None})


def _cut(raw: Raw, fields: list[list[str]]) -> Raw:
    """Only the asked fields, as the real one cuts."""
    found: Raw = {}
    for path in fields:
        here, there = raw, found
        for name in path[:-1]:
            here = here.get(name, {})
            there = there.setdefault(name, {})
        if path[-1] in here:
            there[path[-1]] = deepcopy(here[path[-1]])
    return found
