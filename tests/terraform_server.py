"""A small HCP Terraform on 127.0.0.1: runs newest first without a total, workspaces with one, health assessments."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

CANARY = "canary-in-hcp"
STAMPS = {"applied": ("planning", "planned", "confirmed", "applying", "applied"), "errored": ("planning", "errored"),
          "planned_and_finished": ("planning", "planned-and-finished"), "planning": ("planning",),
          "discarded": ("planning", "planned", "discarded"), "planned": ("planning", "planned")}  # fmt: skip


@dataclass
class Terraform:
    """What it tells; runs in the order of their creation, which a test changes."""

    runs: dict[str, dict[str, Any]] = field(default_factory=dict)
    workspaces: dict[str, tuple[str, bool]] = field(
        default_factory=lambda: {"ws-1": ("shop", True), "ws-2": ("cart", False)}
    )
    assessments: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    page: int = 100

    def run(
        self, key: str, at: int, status: str = "applied", every: int = 60, workspace: str = "ws-1", **more: Any
    ) -> None:
        words = STAMPS.get(status, (status.replace("_", "-"),))
        stamps = {f"{word}-at": _text(at + every * (place + 1)) for place, word in enumerate(words)}
        self.runs[f"run-{key}"] = {
            "id": f"run-{key}", "type": "runs",
            "attributes": {
                "status": status, "created-at": _text(at), "status-timestamps": stamps, "is-destroy": False,
                "plan-only": False, "has-changes": True, "source": "tfe-api", "trigger-reason": "manual",
                "message": CANARY, "variables": [{"key": "password", "value": CANARY}], **more,
            },
            "relationships": {
                "workspace": {"data": {"id": workspace, "type": "workspaces"}},
                "created-by": {"data": {"id": "user-1", "type": "users"}},
                "configuration-version": {"data": {"id": f"cv-{key}", "type": "configuration-versions"}},
            },
        }  # fmt: skip

    def assess(
        self, workspace: str, number: str, at: int, drifted: int, steady: int, *, succeeded: bool = True
    ) -> None:
        self.assessments[workspace] = {
            "id": number, "type": "assessment-results",
            "attributes": {"drifted": drifted > 0, "succeeded": succeeded, "created-at": _text(at),
                           "resources-drifted": drifted, "resources-undrifted": steady, "error-msg": CANARY},
        }  # fmt: skip

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("accept") != "application/vnd.api+json":
            return Answer({"errors": [{"status": "406", "title": "not acceptable"}]}, 406)
        match asked.path.removeprefix("/api/v2/").split("/"):
            case ["organizations", "acme", "workspaces"]:
                rows = [{"id": key, "type": "workspaces", "attributes": {"name": name, "assessments-enabled": on}}
                        for key, (name, on) in self.workspaces.items()]  # fmt: skip
                return self._listed(asked, rows, total=True)
            case ["organizations", "acme", "runs"]:
                newest = sorted(self.runs.values(), key=lambda one: str(one["attributes"]["created-at"]), reverse=True)
                return self._listed(asked, newest, total=False)
            case ["runs", key] if key in self.runs:
                return Answer({"data": self.runs[key], "included": self._included([self.runs[key]])})
            case ["workspaces", key, "current-assessment-result"] if key in self.assessments:
                return Answer({"data": self.assessments[key]})
        return Answer({"errors": [{"status": "404", "title": "not found"}]}, 404)

    def _listed(self, asked: Asked, rows: list[dict[str, Any]], *, total: bool) -> Answer:
        given = asked.parameters()
        size, page = min(int(given.get("page[size]", 20)), self.page), int(given.get("page[number]", 1))
        more = page * size < len(rows)
        mine = rows[(page - 1) * size : page * size]
        pagination = {"current-page": page, "next-page": page + 1 if more else None,
                      "prev-page": page - 1 if page > 1 else None}  # fmt: skip
        counted = {"total-count": len(rows), "total-pages": -(-len(rows) // size)} if total else {}
        return Answer({"data": mine, "included": self._included(mine) if "include" in given else [],
                       "meta": {"pagination": {**pagination, **counted}}})  # fmt: skip

    def _included(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        found = [{"id": "user-1", "type": "users", "attributes": {"username": "ada", "email": CANARY}}]
        for one in rows:
            key = str(one["id"]).removeprefix("run-")
            if not key.isdecimal():
                continue
            attributes = {"commit-sha": f"{int(key):040x}", "branch": "main", "commit-message": CANARY}
            found += [
                {"id": f"cv-{key}", "type": "configuration-versions", "attributes": {},
                 "relationships": {"ingress-attributes": {"data": {"id": f"ia-{key}", "type": "ingress-attributes"}}}},
                {"id": f"ia-{key}", "type": "ingress-attributes", "attributes": attributes},
            ]  # fmt: skip
        return found


def _text(at: int) -> str:
    return times.text(at).replace("Z", ".123Z")
