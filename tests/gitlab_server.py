"""A small GitLab on 127.0.0.1: its paging, hidden retries and children, required orders, refusals."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlencode

from tandem import times
from tests.replay import Answer, Asked

OFFSET, TOTALS = 50_000, 10_000
ACTIVE = ("created", "pending", "running")


def sha(name: object) -> str:
    return hashlib.sha1(str(name).encode()).hexdigest()


@dataclass
class Project:
    """What the server holds of one project."""

    name: str = "acme/checkout"
    token: str = ""
    pipelines: dict[int, dict[str, Any]] = field(default_factory=dict)
    jobs: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    """Every try, in the order of their ids; what was tried again is hidden unless it is asked for."""
    reports: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    deployments: dict[int, dict[str, Any]] = field(default_factory=dict)
    releases: list[dict[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)
    off: set[str] = field(default_factory=set)
    totals: int = TOTALS
    before: dict[int, Callable[[], Any]] = field(default_factory=dict)
    """What happens just before the n-th request (from 1) is answered."""
    every: list[dict[str, Any]] = field(default_factory=list)
    """Every try of every job, oldest first."""

    @property
    def page(self) -> str:
        return f"https://gitlab.example.com/{self.name}/-"

    # what happens in it

    def pipeline(
        self, number: int, created: int, status: str = "success", *, ref: str = "main", source: str = "push"
    ) -> None:
        """A pipeline without jobs yet."""
        self.pipelines[number] = {
            "id": number,
            "iid": number,
            "project_id": 17,
            "sha": sha(number),
            "ref": ref,
            "status": status,
            "source": source,
            "created_at": _ms(created),
            "updated_at": _ms(created),
            "web_url": f"{self.page}/pipelines/{number}",
            "name": None,
        }
        self.jobs[number] = []

    def job(self, pipeline: int, name: str, created: int, started: int | None, lasted: int = 60,
            status: str = "success", *, queued: float | None = 5.0, stage: str = "test",
            may_fail: bool = False) -> dict[str, Any]:  # fmt: skip
        """A try of a job; the pipeline's last change moves to its end."""
        of, end = self.pipelines[pipeline], (created if started is None else started + lasted)
        one = {
            "id": 9001 + len(self.every),
            "name": name,
            "stage": stage,
            "status": status,
            "ref": of["ref"],
            "allow_failure": may_fail,
            "created_at": _ms(created),
            "started_at": None if started is None else _ms(started),
            "finished_at": None if status in ACTIVE else _ms(end),
            "duration": None if started is None or status in ACTIVE else float(lasted),
            "queued_duration": None if started is None else queued,
            "user": {"username": "ada"},
            "commit": {"id": of["sha"], "title": "A change"},
            "pipeline": {"id": pipeline, "project_id": 17, "ref": of["ref"], "sha": of["sha"], "status": of["status"]},
            "web_url": f"{self.page}/jobs/{9001 + len(self.every)}",
        }
        self.jobs[pipeline].append(one)
        self.every.append(one)
        self.touch(pipeline, max(end, times.iso(of["updated_at"])))
        return one

    def touch(self, pipeline: int, at: int, status: str | None = None) -> None:
        self.pipelines[pipeline]["updated_at"] = _ms(at)
        if status:
            self.pipelines[pipeline]["status"] = status

    def run(self, number: int, created: int, status: str = "success", *, lasted: int = 60, **more: Any) -> None:
        """A pipeline of one job."""
        self.pipeline(number, created, status, **more)
        self.job(
            number, "unit", created, created + 10, lasted, status if status in ("success", "failed") else "success"
        )

    def suite(self, pipeline: int, name: str, passed: int, failed: tuple[str, ...] = (), skipped: int = 0) -> None:
        """The report of a suite; the same suite again is its newest try."""
        cases = [{"status": "success", "name": f"t{n}", "classname": "C", "execution_time": 0.1} for n in range(passed)]
        cases += [{"status": "failed", "name": one, "classname": "C", "execution_time": 1.5} for one in failed]
        one = {
            "name": name,
            "total_time": 0.1 * passed,
            "total_count": passed + len(failed) + skipped,
            "success_count": passed,
            "failed_count": len(failed),
            "skipped_count": skipped,
            "error_count": 0,
            "test_cases": cases,
        }
        kept = [other for other in self.reports.get(pipeline, []) if other["name"] != name]
        self.reports[pipeline] = [*kept, one]

    def deploy(self, number: int, created: int, status: str = "success", *, lasted: int = 30, ref: str = "main",
               environment: str = "production") -> None:  # fmt: skip
        done = status in ("success", "failed", "canceled")
        self.deployments[number] = {
            "id": number,
            "iid": number,
            "ref": ref,
            "sha": sha(ref),
            "status": status,
            "created_at": _ms(created),
            "updated_at": _ms(created + 10 + (lasted if done else 0)),
            "user": {"username": "grace"},
            "environment": {"id": 5, "name": environment, "external_url": None},
            "deployable": {
                "id": 70_000 + number,
                "name": "deploy",
                "stage": "deploy",
                "status": status,
                "started_at": _ms(created + 10),
                "finished_at": _ms(created + 10 + lasted) if done else None,
                "web_url": f"{self.page}/jobs/{70_000 + number}",
            },
        }

    def release(self, tag: str, at: int) -> None:
        self.releases.append({
            "tag_name": tag,
            "name": f"Release {tag}",
            "created_at": _ms(at),
            "released_at": _ms(at),
            "author": {"username": "grace"},
            "commit": {"id": sha(tag)},
            "_links": {"self": f"{self.page}/releases/{tag}"},
        })  # fmt: skip

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        change = self.before.pop(len(self.asked), None)
        if change:
            change()
        if self.refusals:
            return self.refusals.pop(0)
        sent = (asked.headers.get("authorization", "").removeprefix("Bearer "), asked.headers.get("private-token"))
        if self.token and self.token not in sent:
            return Answer({"message": "401 Unauthorized"}, 401)
        path = asked.path.strip("/").split("/")
        if path[:3] != ["api", "v4", "projects"] or unquote(path[3]) not in (self.name, "17"):
            return Answer({"message": "404 Project Not Found"}, 404)
        if path[4] in self.off:
            return Answer({"message": "403 Forbidden"}, 403)
        return self._found(path[4:], asked)

    def _found(self, path: list[str], asked: Asked) -> Answer:
        query = dict(asked.query)
        match path:
            case ["pipelines"]:
                only = query.get("source")
                rows = [
                    one
                    for one in self.pipelines.values()
                    if (one["source"] == "parent_pipeline") == (only == "parent_pipeline")
                ]
                return self._sorted(rows, asked)
            case ["pipelines", number] if int(number) in self.pipelines:
                return Answer(self.pipelines[int(number)])
            case ["pipelines", number, "jobs"] if int(number) in self.pipelines:
                return self._paged(self._tries(int(number), query.get("include_retried") == "true"), asked)
            case ["pipelines", number, "test_report_summary"] if int(number) in self.pipelines:
                return Answer(_summary(self.reports.get(int(number), [])))
            case ["pipelines", number, "test_report"] if int(number) in self.pipelines:
                return Answer({"total_count": 0, "test_suites": self.reports.get(int(number), [])})
            case ["jobs"]:
                return self._keyset(asked)
            case ["deployments"]:
                if "updated_after" in query and query.get("order_by") != "updated_at":
                    return Answer({"message": "400 Bad request - `updated_at` filter requires `updated_at` sort"}, 400)
                return self._sorted(list(self.deployments.values()), asked)
            case ["deployments", number] if int(number) in self.deployments:
                return Answer(self.deployments[int(number)])
            case ["releases"]:
                return self._paged(sorted(self.releases, key=lambda one: one["released_at"], reverse=True), asked)
        return Answer({"message": "404 Not found"}, 404)

    def _tries(self, pipeline: int, retried: bool) -> list[dict[str, Any]]:
        tries = self.jobs[pipeline]
        newest = {one["name"]: one for one in tries}
        return [one for one in reversed(tries) if retried or newest[one["name"]] is one]

    def _keyset(self, asked: Asked) -> Answer:
        """The project's jobs, newest first, retried ones too; without those that wait for jobs before them."""
        query = dict(asked.query)
        if query.get("pagination") != "keyset" or query.get("sort", "desc") != "desc":
            return Answer({"error": "Only available with keyset pagination here"}, 405)
        size, place = min(100, int(query.get("per_page", 20))), int(query.get("cursor", len(self.every)))
        rows: list[dict[str, Any]] = []
        while place and len(rows) < size:
            place -= 1
            one = self.every[place]
            if one["status"] != "created" and one["pipeline"]["id"] in self.pipelines:
                rows.append(one)
        more = urlencode({**query, "cursor": str(place)})
        link = f'<http://{asked.headers.get("host", "")}{asked.path}?{more}>; rel="next"'
        return Answer(rows, headers={"Link": link} if place else {})

    def _sorted(self, rows: list[dict[str, Any]], asked: Asked) -> Answer:
        """Rows changed after a time, which they themselves are not; newest id first unless it is asked otherwise."""
        query = dict(asked.query)
        after = query.get("updated_after")
        if after:
            rows = [one for one in rows if _plain(one["updated_at"]) > _plain(after)]
        key = "updated_at" if query.get("order_by") == "updated_at" else "id"
        rows = sorted(rows, key=lambda one: (one[key], one["id"]), reverse=query.get("sort") != "asc")
        return self._paged(rows, asked)

    def _paged(self, rows: list[dict[str, Any]], asked: Asked) -> Answer:
        query = dict(asked.query)
        size, page = min(100, int(query.get("per_page", 20))), int(query.get("page", 1))
        if (page - 1) * size >= OFFSET:
            return Answer({"error": "Offset pagination has a maximum allowed offset of 50000"}, 405)
        headers = {
            "X-Per-Page": str(size),
            "X-Page": str(page),
            "RateLimit-Limit": "2000",
            "RateLimit-Remaining": "1999",
        }
        if len(rows) <= self.totals:
            headers |= {"X-Total": str(len(rows)), "X-Total-Pages": str(-(-len(rows) // size))}
        if page * size < len(rows):
            more = urlencode({**query, "page": str(page + 1)})
            headers["Link"] = f'<http://{asked.headers.get("host", "")}{asked.path}?{more}>; rel="next"'
        return Answer(rows[(page - 1) * size : page * size], headers=headers)


def _summary(suites: list[dict[str, Any]]) -> dict[str, Any]:
    short = [{**{k: v for k, v in one.items() if k != "test_cases"}, "build_ids": [1]} for one in suites]
    names = {"count": "total_count", "success": "success_count", "failed": "failed_count", "skipped": "skipped_count"}
    return {"total": {mine: sum(one[theirs] for one in suites) for mine, theirs in names.items()}, "test_suites": short}


def _ms(ts: int) -> str:
    return times.text(ts).replace("Z", ".000Z")


def _plain(text: str) -> str:
    return text.replace(".000", "")
