"""A small Phoenix: projects, spans newest first by row, annotations of named spans; its limits, cursors and errors."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.replay import Answer, Asked


def global_id(kind: str, number: int) -> str:
    return base64.b64encode(f"{kind}:{number}".encode()).decode()


def number_of(told: str) -> int:
    return int(base64.b64decode(told).decode().partition(":")[2])


def clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


def span(number: int, ended: float, lasted: float = 0.25, status: str = "OK", **more: Any) -> dict[str, Any]:
    """A span as it is posted; `number` makes its id."""
    told = {
        "name": "chat", "context": {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}, "span_kind": "CHAIN",
        "parent_id": None, "start_time": clock(ended - lasted), "end_time": clock(ended), "status_code": status,
        "status_message": "", "attributes": {"llm.model_name": "m-1"}, "events": [],
    }  # fmt: skip
    return {**told, **more}


@dataclass
class Phoenix:
    """What a server holds; rows are numbered over all projects, in the order in which they came."""

    key: str = ""
    names: list[str] = field(default_factory=lambda: ["default", "bot"])
    rows: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)
    """(row, project, span)."""
    notes: dict[tuple[str, str, str], dict[str, Any]] = field(default_factory=dict)
    """Annotations by (span, name, identifier)."""
    asked: list[Asked] = field(default_factory=list)
    at_once: int = 1_000
    """Most rows of a page, where a test wants less than the server's own limit."""
    counter: int = 0

    def post(self, *spans: dict[str, Any], project: str = "bot") -> None:
        for one in spans:
            self.counter += 1
            self.rows.append((self.counter, self.names.index(project) + 1, one))

    def judge(self, number: int, label: str | None, score: float | None = None, **more: Any) -> None:
        """One annotation; the same span, name and identifier again takes its place and keeps its id."""
        told = {"name": "correctness", "annotator_kind": "LLM", "identifier": "", "updated_at": clock(0), **more}
        key = (f"{number:016x}", told["name"], told["identifier"])
        row = self.notes[key]["id"] if key in self.notes else global_id("SpanAnnotation", len(self.notes) + 1)
        result = {"label": label, "score": score, "explanation": "as the user said"}
        self.notes[key] = {"id": row, "created_at": clock(0), "source": "API", "user_id": None, "metadata": {},
                           "span_id": key[0], "result": result, **told}  # fmt: skip

    def delete(self, number: int) -> None:
        self.rows = [one for one in self.rows if one[2]["context"]["span_id"] != f"{number:016x}"]

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.key and asked.headers.get("authorization") != f"Bearer {self.key}":
            return Answer("Invalid or missing token", 401)
        parts = asked.path.strip("/").split("/")
        if parts == ["v1", "projects"]:
            return self._projects(asked)
        if parts[:2] != ["v1", "projects"] or len(parts) != 4:
            return Answer({"detail": "Not Found"}, 404)
        try:
            project = number_of(parts[2].replace("%3D", "="))
        except ValueError:
            return Answer(f"Project with name {parts[2]} not found", 404)
        mine = [(row, one) for row, owner, one in self.rows if owner == project]
        return self._spans(asked, mine) if parts[3] == "spans" else self._annotations(asked, mine)

    def _projects(self, asked: Asked) -> Answer:
        given = asked.parameters()
        begin = number_of(given["cursor"]) if "cursor" in given else len(self.names)
        limit = int(given.get("limit", 100))
        found = [{"name": self.names[n - 1], "description": None, "id": global_id("Project", n)}
                 for n in range(begin, 0, -1)]  # fmt: skip
        return _page(found, limit)

    def _spans(self, asked: Asked, mine: list[tuple[int, dict[str, Any]]]) -> Answer:
        given = asked.parameters()
        limit = int(given.get("limit", 100))
        if limit > 1_000:
            return Answer({"detail": [{"msg": "Input should be less than or equal to 1000"}]}, 422)
        kinds = [value for name, value in asked.query if name == "span_kind"]
        below = number_of(given["cursor"]) if "cursor" in given else 1 << 60
        found = [
            {"id": global_id("Span", row), **one}
            for row, one in sorted(mine, key=lambda each: -each[0])
            if row <= below
            and (not kinds or one["span_kind"] in kinds)
            and (given.get("parent_id") != "null" or one["parent_id"] is None)
        ]
        return _page(found, min(limit, self.at_once))

    def _annotations(self, asked: Asked, mine: list[tuple[int, dict[str, Any]]]) -> Answer:
        given = asked.parameters()
        wanted = [value for name, value in asked.query if name == "span_ids"]
        names = [value for name, value in asked.query if name == "include_annotation_names"]
        limit = int(given.get("limit", 10))
        if limit > 10_000 or not wanted or len(wanted) > 1_000:
            return Answer({"detail": [{"msg": "Input should be less than or equal to"}]}, 422)
        known = {one["context"]["span_id"] for _, one in mine}
        if not known & set(wanted):
            return Answer("None of the supplied span_ids exist in this project", 404)
        below = number_of(given["cursor"]) if "cursor" in given else 1 << 60
        found = [
            one for (of, name, _), one in self.notes.items()
            if of in wanted and of in known and (not names or name in names) and number_of(one["id"]) <= below
        ]  # fmt: skip
        return _page(sorted(found, key=lambda one: -number_of(one["id"])), min(limit, self.at_once))


def _page(found: list[dict[str, Any]], limit: int) -> Answer:
    following = found[limit]["id"] if len(found) > limit else None
    return Answer({"data": found[:limit], "next_cursor": following})
