"""A small GitHub on 127.0.0.1: its paging, caps, filters, entity tags and refusals; what it holds, a test changes."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from tandem import times

CAP, TOO_MANY = 1000, 40_000
_CREATED = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)\.\.(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)")


@dataclass
class Repository:
    """What the server holds of one repository; runs as the list of their attempts."""

    name: str = "acme/checkout"
    runs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    deployments: dict[int, dict[str, Any]] = field(default_factory=dict)
    statuses: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    releases: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    served: list[int] = field(default_factory=list)
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    before: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What happens in the repository just before the n-th request (counted from 1) is answered."""
    too_many: int = TOO_MANY

    def run(self, number: int, created: int, conclusion: str | None = "success", *, lasted: int = 240) -> None:
        self.runs[number] = [self._attempt(number, 1, created, created, conclusion, lasted)]

    def rerun(self, number: int, started: int, conclusion: str | None, *, lasted: int = 240) -> None:
        """A further attempt: the same run, with the same creation."""
        attempts = self.runs[number]
        created = times.iso(attempts[0]["created_at"])
        attempts.append(self._attempt(number, len(attempts) + 1, created, started, conclusion, lasted))

    def finish(self, number: int, at: int, conclusion: str) -> None:
        self.runs[number][-1].update(status="completed", conclusion=conclusion, updated_at=times.text(at))

    def _attempt(
        self, number: int, attempt: int, created: int, started: int, conclusion: str | None, lasted: int
    ) -> dict[str, Any]:
        api = f"https://api.github.com/repos/{self.name}/actions/runs/{number}"
        return {
            "id": number,
            "name": "CI",
            "path": ".github/workflows/ci.yml",
            "head_branch": "main",
            "head_sha": hashlib.sha1(str(number).encode()).hexdigest(),
            "event": "push",
            "display_title": f"Change {number}",
            "status": "completed" if conclusion else "in_progress",
            "conclusion": conclusion,
            "run_attempt": attempt,
            "created_at": times.text(created),
            "run_started_at": times.text(started),
            "updated_at": times.text(started + (lasted if conclusion else 5)),
            "previous_attempt_url": f"{api}/attempts/{attempt - 1}" if attempt > 1 else None,
            "url": api,
            "html_url": f"https://github.com/{self.name}/actions/runs/{number}",
            "actor": {"login": "ada"},
            "triggering_actor": {"login": "grace" if attempt > 1 else "ada"},
            "repository": {"full_name": self.name},
        }

    def deploy(self, number: int, created: int, environment: str = "production", ref: str = "main") -> None:
        api = f"https://api.github.com/repos/{self.name}"
        self.deployments[number] = {
            "id": number,
            "url": f"{api}/deployments/{number}",
            "repository_url": api,
            "statuses_url": f"{api}/deployments/{number}/statuses",
            "sha": hashlib.sha1(ref.encode()).hexdigest(),
            "ref": ref,
            "task": "deploy",
            "description": None,
            "environment": environment,
            "creator": {"login": "ada"},
            "created_at": times.text(created),
            "updated_at": times.text(created),
        }
        self.statuses[number] = []

    def status(self, number: int, at: int, state: str) -> None:
        """Appends a status; the list is newest first, and the deployment's own time moves."""
        api = f"https://api.github.com/repos/{self.name}/deployments/{number}"
        one = {
            "id": at,
            "state": state,
            "url": f"{api}/statuses/{at}",
            "deployment_url": api,
            "repository_url": f"https://api.github.com/repos/{self.name}",
            "log_url": f"https://github.com/{self.name}/actions/runs/{number}",
            "created_at": times.text(at),
            "updated_at": times.text(at),
        }
        self.statuses[number].insert(0, one)
        self.deployments[number]["updated_at"] = times.text(at)

    def release(self, number: int, published: int | None, tag: str) -> None:
        api = f"https://api.github.com/repos/{self.name}"
        one = {
            "id": number,
            "url": f"{api}/releases/{number}",
            "html_url": f"https://github.com/{self.name}/releases/tag/{tag}",
            "tag_name": tag,
            "target_commitish": "main",
            "name": f"Release {tag}",
            "draft": published is None,
            "prerelease": False,
            "author": {"login": "ada"},
            "created_at": times.text(published or 1_790_000_000),
            "published_at": times.text(published) if published else None,
        }
        self.releases.insert(0, one)

    def answer(self, target: str, tag: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and body of one request."""
        self.asked.append(target)
        change = self.before.pop(len(self.asked), None)
        if change:
            change()
        if self.refusals:
            status, headers = self.refusals.pop(0)
            return status, headers, {"message": "API rate limit exceeded"}
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        status, headers, body = self._found(parts.path.removeprefix(f"/repos/{self.name}/"), query, parts.path)
        if status == 200:
            headers["ETag"] = f'W/"{hashlib.sha256(json.dumps(body).encode()).hexdigest()}"'
            if headers["ETag"] == tag:
                return 304, headers, None
        return status, headers, body

    def _found(self, path: str, query: dict[str, str], whole: str) -> tuple[int, dict[str, str], Any]:
        number = int(re.search(r"/(\d+)", path)[1]) if re.search(r"/(\d+)", path) else 0
        if path == "actions/runs":
            return self._runs(query, whole)
        if re.fullmatch(r"actions/runs/\d+", path):
            return (200, {}, self.runs[number][-1]) if number in self.runs else _missing()
        if attempt := re.fullmatch(r"actions/runs/\d+/attempts/(\d+)", path):
            return 200, {}, self.runs[number][int(attempt[1]) - 1]
        if path == "deployments":
            rows = sorted(self.deployments.values(), key=lambda one: -one["id"])
            return _paged(rows, query, whole)
        if re.fullmatch(r"deployments/\d+", path):
            return (200, {}, self.deployments[number]) if number in self.deployments else _missing()
        if re.fullmatch(r"deployments/\d+/statuses", path):
            return _paged(self.statuses[number], query, whole) if number in self.deployments else _missing()
        if path == "releases":
            return _paged(self.releases, query, whole)
        return _missing()

    def _runs(self, query: dict[str, str], whole: str) -> tuple[int, dict[str, str], Any]:
        rows = [attempts[-1] for _, attempts in sorted(self.runs.items(), reverse=True)]
        cap = TOO_MANY
        if "created" in query:
            span = _CREATED.fullmatch(query["created"])
            if not span:
                return 422, {}, {"message": "created must be two whole seconds"}
            rows = [row for row in rows if span[1] <= row["created_at"] <= span[2]]
            cap = CAP
        if len(rows) > self.too_many or int(query.get("page", 1)) * int(query.get("per_page", 30)) > TOO_MANY:
            return 422, {}, {"message": "too many results"}
        status, headers, page = _paged(rows[:cap], query, whole)
        return status, headers, {"total_count": len(rows), "workflow_runs": page}


def _missing() -> tuple[int, dict[str, str], Any]:
    return 404, {}, {"message": "Not Found"}


def _paged(rows: list[Any], query: dict[str, str], path: str) -> tuple[int, dict[str, str], Any]:
    size, page = min(100, int(query.get("per_page", 30))), int(query.get("page", 1))
    headers = {}
    if page * size < len(rows):
        link = f"{path}?{urlencode({**query, 'page': page + 1})}"
        headers["Link"] = f'<{link}>; rel="next"'
    return 200, headers, rows[(page - 1) * size : page * size]


@contextmanager
def serving(repository: Repository) -> Iterator[str]:
    """The base URL of a server of that repository, on a free port."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, headers, body = repository.answer(self.path, self.headers.get("If-None-Match", ""))
            repository.served.append(status)
            raw = b"" if body is None else json.dumps(body).encode()
            self.send_response(status)
            for name, value in {**headers, "Content-Type": "application/json", "Content-Length": str(len(raw))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            """Nothing on stderr."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
