"""Feast's REST registry server as of 0.67: projects, feature views in pages of at most 100, daily metrics."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

MOST = 100
PATH = "/api/v1/monitoring/metrics/features"


@dataclass
class Feast:
    """A registry that tests write into; the forms are those of `payloads/feast`."""

    projects: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    metrics: list[dict[str, Any]] = field(default_factory=list)
    monitoring: bool = True
    token: str = ""

    def view(self, name: str, at: int, *, project: str = "shop", ttl: int = 3600, **spec: Any) -> dict[str, Any]:
        """Apply a feature view."""
        stamp = times.text(at)
        told = {
            "type": "featureView",
            "spec": {"name": name, "ttl": f"{ttl}s", "online": True, "entityColumns": [], **spec},
            "meta": {"createdTimestamp": stamp, "lastUpdatedTimestamp": stamp},
        }
        self.projects.setdefault(project, {})[name] = told
        return told

    def materialise(self, name: str, begin: int, end: int, at: int, project: str = "shop") -> None:
        meta = self.projects[project][name]["meta"]
        meta.setdefault("materializationIntervals", []).append(
            {"startTime": times.text(begin), "endTime": times.text(end)}
        )
        meta |= {"lastUpdatedTimestamp": times.text(at), "state": "AVAILABLE_ONLINE"}

    def count(self, view: str, feature: str, day: str, histogram: dict[str, Any], **more: Any) -> dict[str, Any]:
        """What `feast monitor run` stores of one feature and day."""
        row = {
            "project_id": "shop", "feature_view_name": view, "feature_name": feature, "metric_date": day,
            "granularity": "daily", "data_source_type": "log", "computed_at": f"{day}T23:00:00+00:00",
            "is_baseline": False, "feature_type": "numeric" if "bins" in histogram else "categorical",
            "null_count": 0, "histogram": histogram, **more,
        }  # fmt: skip
        self.metrics.append(row)
        return row

    def answer(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"detail": "Missing authentication token"}, 401)
        given = asked.parameters()
        if asked.path == "/api/v1/projects":
            return self._listed("projects", [{"spec": {"name": name}} for name in self.projects], given)
        if asked.path == "/api/v1/feature_views":
            return self._listed("featureViews", list(self.projects.get(given["project"], {}).values()), given)
        if asked.path == PATH:
            return self._metrics(given)
        return Answer({"detail": "Not Found"}, 404)

    def _listed(self, name: str, rows: list[Any], given: dict[str, str]) -> Answer:
        limit, page = int(given["limit"]), int(given["page"])
        if limit > MOST:
            why = "[{'type': 'less_than_equal', 'loc': ('query', 'limit')}]"
            return Answer({"status_code": 422, "detail": why, "error_type": "RequestValidationError"}, 422)
        if not rows:
            return Answer({name: [], "pagination": {}})
        pages = -(-len(rows) // limit)
        told: dict[str, Any] = {"page": page, "limit": limit, "totalCount": len(rows), "totalPages": pages}
        told |= {"hasNext": True} if page < pages else {}
        return Answer({name: rows[(page - 1) * limit : page * limit], "pagination": told})

    def _metrics(self, given: dict[str, str]) -> Answer:
        if not self.monitoring:
            why = "Monitoring is not enabled: add data_quality_monitoring section to feature_store.yaml"
            return Answer({"status_code": 503, "detail": why, "error_type": "HTTPException"}, 503)
        mine = [row for row in self.metrics if row["project_id"] == given["project"]]
        daily = [row for row in mine if row["granularity"] == given["granularity"]]
        return Answer([row for row in daily if row["metric_date"] >= given["start_date"]])
