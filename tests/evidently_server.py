"""Evidently's UI service as it answers: projects, all reports of one at once, and a report's numbers and drawings."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

from tests.replay import Answer, Asked

Raw = dict[str, Any]
PROJECT = "01a1fd1e-4843-75a9-a9b3-4786b01f35f7"
TYPE = "evidently:metric_v2:"


def uuid7(millis: int, salt: int = 0) -> str:
    """An id that holds the time of its making."""
    return str(uuid.UUID(int=millis << 80 | 7 << 76 | 2 << 62 | salt))


def metric(kind: str, value: Any, **params: Any) -> Raw:
    told = ",".join(f"{name}={one}" for name, one in params.items())
    return {"id": f"{crc32(f'{kind}({told})'.encode()):032x}", "metric_name": f"{kind}({told})",
            "config": {"type": TYPE + kind, **params}, "value": value}  # fmt: skip


def drift(column: str, value: float, method: str = "K-S p_value", threshold: float = 0.05) -> Raw:
    return metric("ValueDrift", value, column=column, method=method, threshold=threshold)


def rows(count: int, **missing: int) -> list[Raw]:
    return [metric("RowCount", float(count)),
            *(metric("MissingValueCount", {"count": float(n), "share": n / count}, column=column)
              for column, n in missing.items())]  # fmt: skip


def checked(name: str, status: str, kind: str = "Accuracy", **params: Any) -> Raw:
    return {"id": "gt", "name": name, "description": f"{name}: actual value 1", "status": status,
            "metric_config": {"metric_id": "m", "params": {"type": TYPE + kind, **params}}}  # fmt: skip


def drawing(cells: list[list[int]], labels: tuple[Any, ...] = ("0", "1")) -> list[Raw]:
    """The widgets of a confusion matrix: the current one, and beside it that of the reference."""
    heat = {"type": "heatmap", "x": list(labels), "y": list(labels)}
    layout = {"xaxis": {"title": {"text": "Predicted Value"}}, "yaxis": {"title": {"text": "Actual Value"}}}
    data = [{**heat, "z": cells, "xaxis": "x", "yaxis": "y"},
            {**heat, "z": [[7777, 1], [1, 7777]], "xaxis": "x2", "yaxis": "y2"}]  # fmt: skip
    counter = {"type": "counter", "title": "", "params": {"counters": [{"value": "", "label": "Confusion Matrix"}]}}
    return [counter, {"type": "big_graph", "title": "", "params": {"data": data, "layout": layout}}]


def quality(cells: list[list[int]], labels: tuple[Any, ...] = ("0", "1")) -> tuple[list[Raw], list[Raw]]:
    """The metrics of a classification, and what is drawn of it."""
    right, total = sum(cells[at][at] for at in range(len(cells))), sum(map(sum, cells))
    metrics = [metric("Accuracy", right / total, classification_name="default"),
               metric("Precision", 0.5, classification_name="default", conf_matrix=True)]  # fmt: skip
    return metrics, drawing(cells, labels)


@dataclass
class Evidently:
    """Projects with their reports; `token` is what the header must hold."""

    token: str = ""
    header: str = "evidently-secret"
    projects: dict[str, str] = field(default_factory=lambda: {PROJECT: "claim-risk"})
    reports: dict[str, Raw] = field(default_factory=dict)
    newest_first: bool = False

    def add(
        self, at: str, *metrics: Raw, made: int = 1_793_500_000_000, widgets: list[Raw] | None = None,
        tests: list[Raw] | None = None, tags: tuple[str, ...] = (), project: str = PROJECT, **metadata: Any,
    ) -> str:  # fmt: skip
        identity = uuid7(made + len(self.reports), len(self.reports))
        self.reports[identity] = {
            "head": {"id": identity, "name": None, "timestamp": at, "metadata": metadata, "tags": list(tags),
                     "links": {"datasets": {"input": {"reference": None}}}},
            "json": {"metrics": list(metrics), "tests": tests or []}, "widgets": widgets or [], "project": project,
        }  # fmt: skip
        return identity

    def answer(self, asked: Asked) -> Answer:
        if self.token and asked.headers.get(self.header) != self.token:
            return Answer({"detail": "Not authorized", "status_code": 403}, 403)
        parts = asked.path.strip("/").split("/")
        if parts == ["api", "projects"]:
            return Answer([{"id": one, "name": name, "version": "2"} for one, name in self.projects.items()])
        if parts[:2] != ["api", "projects"] or parts[2] not in self.projects:
            return Answer({"detail": "project not found", "status_code": 404}, 404)
        if parts[3:] in (["reports"], ["snapshots"]):
            mine = [one["head"] for one in self.reports.values() if one["project"] == parts[2]]
            return Answer(mine[::-1] if self.newest_first else mine)
        known = self.reports.get(parts[3])
        if known is None or known["project"] != parts[2]:
            return Answer({"detail": "Snapshot not found", "status_code": 404}, 404)
        return self._of(known, parts[4], asked)

    def _of(self, known: Raw, what: str, asked: Asked) -> Answer:
        if what == "data":
            return Answer({"name": "", "widgets": known["widgets"]})
        if what != "download":
            return Answer({"detail": "Not Found", "status_code": 404}, 404)
        if dict(asked.query).get("report_format") != "json":
            return Answer("<html>report</html>", 200, {"Content-Type": "text/html"})
        # Evidently writes NaN as Python does, and names no media type of JSON.
        return Answer(json.dumps(known["json"]), 200, {"Content-Type": "text/plain; charset=utf-8"})
