"""A small status page on 127.0.0.1: its four lists, the newest 50 of each; what it tells, a test changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

PAGE = {"id": "kctbh9vrtdwd", "name": "Acme", "url": "https://status.acme.com", "time_zone": "Etc/UTC",
        "updated_at": "2026-11-20T12:00:00.000Z"}  # fmt: skip
OVER = {"resolved", "postmortem", "completed"}


@dataclass
class StatusPage:
    """What a page tells; incidents and maintenances by id, with their updates newest first."""

    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    maintenances: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def open(self, number: str, at: int, *components: str, impact: str = "major") -> None:
        self.incidents[number] = self._made(number, at, components, impact, started_at=times.text(at))
        self.update(number, at, "investigating")

    def schedule(self, number: str, at: int, begin: int, end: int, *components: str) -> None:
        planned = {"scheduled_for": times.text(begin), "scheduled_until": times.text(end)}
        self.maintenances[number] = self._made(number, at, components, "maintenance", **planned)
        self.update(number, at, "scheduled")

    def update(self, number: str, at: int, status: str) -> None:
        """A further word on one of them."""
        one = self.incidents.get(number) or self.maintenances[number]
        said = times.text(at).replace("Z", ".456Z")
        update = {"id": f"u{at}", "status": status, "body": "...", "incident_id": number, "created_at": said,
                  "updated_at": said, "display_at": said, "affected_components": None}  # fmt: skip
        one["incident_updates"].insert(0, update)
        one.update(status=status, updated_at=said)
        if status in ("resolved", "completed"):
            one["resolved_at"] = said
        elif status not in OVER:
            one["resolved_at"] = None

    def _made(self, number: str, at: int, components: Sequence[str], impact: str, **more: Any) -> dict[str, Any]:
        created = times.text(at).replace("Z", ".123Z")
        return {
            "id": number, "name": f"Trouble {number}", "status": "", "created_at": created, "updated_at": created,
            "monitoring_at": None, "resolved_at": None, "impact": impact, "shortlink": f"https://stspg.io/{number}",
            "page_id": PAGE["id"], "incident_updates": [],
            "components": [{"id": f"c{name}", "name": name, "status": "major_outage"} for name in components], **more,
        }  # fmt: skip

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        match asked.path:
            case "/api/v2/incidents.json":
                return self._list("incidents", self._newest(self.incidents))
            case "/api/v2/incidents/unresolved.json":
                return self._list("incidents", [one for one in self.incidents.values() if one["status"] not in OVER])
            case "/api/v2/scheduled-maintenances.json":
                return self._list("scheduled_maintenances", self._newest(self.maintenances))
            case "/api/v2/scheduled-maintenances/active.json":
                active = [one for one in self.maintenances.values() if one["status"] in ("in_progress", "verifying")]
                return self._list("scheduled_maintenances", active)
        return Answer("<!DOCTYPE html><h1>Not found</h1>", 404, {"Content-Type": "text/html"})

    def _newest(self, rows: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
        return sorted(rows.values(), key=lambda one: str(one["created_at"]), reverse=True)[:50]

    def _list(self, name: str, rows: Sequence[Any]) -> Answer:
        return Answer({"page": PAGE, name: rows})
