"""A small Grafana: annotations with its filters, order and limit, and a data source that passes questions on."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl, urlencode

from tests.faults_prometheus import Stored, answer_of
from tests.replay import Answer, Asked

ALLOWED = ("api/v1/query", "api/v1/query_range", "api/v1/series", "api/v1/labels")
"""What may be posted through the proxy of a Prometheus data source."""


@dataclass
class Grafana:
    """What it holds; a test changes it."""

    token: str = ""
    rows: dict[int, dict[str, Any]] = field(default_factory=dict)
    stored: Stored = ()
    datasource: str = "prom"
    asked: list[str] = field(default_factory=list)

    def note(self, number: int, time: int, *, end: int = 0, text: str = "", **more: Any) -> dict[str, Any]:
        """An annotation; times in epoch seconds."""
        self.rows[number] = {
            "id": number, "alertId": 0, "alertName": "", "dashboardId": 1, "dashboardUID": "checkout", "panelId": 2,
            "newState": "", "prevState": "", "created": time * 1000, "updated": time * 1000, "time": time * 1000,
            "timeEnd": (end or time) * 1000, "text": text or f"note {number}", "tags": [], "login": "ada", **more,
        }  # fmt: skip
        return self.rows[number]

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"message": "Unauthorized"}, 401)
        if asked.path == "/api/annotations":
            return Answer(self._listed(list(asked.query)))
        proxy = f"/api/datasources/proxy/uid/{self.datasource}/"
        if not asked.path.startswith(proxy):
            return Answer({"message": "Not found"}, 404)
        path = asked.path.removeprefix(proxy)
        if asked.method == "POST" and path not in ALLOWED:
            return Answer({"message": "non allow-listed POSTs not allowed on proxied Prometheus datasource"}, 403)
        passed: Answer = answer_of(self.stored)(replace(asked, path=f"/{path}"))
        return passed

    def _listed(self, query: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Newest first; a region is found where it touches the range; other parameters are passed over in silence."""
        given = dict(query)
        rows = sorted(self.rows.values(), key=lambda row: (row["timeEnd"], row["time"]), reverse=True)
        if int(given.get("from", 0)) > 0 and int(given.get("to", 0)) > 0:
            rows = [row for row in rows if row["time"] <= int(given["to"]) and row["timeEnd"] >= int(given["from"])]
        wanted = {value for name, value in query if name == "tags"}
        rows = [row for row in rows if wanted <= set(row["tags"])]
        if "dashboardUID" in given:
            rows = [row for row in rows if row["dashboardUID"] == given["dashboardUID"]]
        return rows[: int(given.get("limit", 100))]


def without(asked: Asked, *names: str) -> Asked:
    """The same request as a proxy passes it on that drops some of its parameters."""
    kept = [(name, value) for name, value in asked.query if name not in names]
    return replace(asked, query=tuple(parse_qsl(urlencode(kept))))
