"""A small AWX on 127.0.0.1: jobs with their hosts, its filters, its order, pages of at most 200 and relative links."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked


@dataclass
class Awx:
    """What AWX tells; jobs by id in the order of their creation, which a test changes."""

    jobs: dict[int, dict[str, Any]] = field(default_factory=dict)
    hosts: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    token: str = ""
    page: int = 200

    def start(self, number: int, at: int, name: str = "deploy checkout", kind: str = "job") -> None:
        self.jobs[number] = {
            "id": number, "type": kind, "name": name, "status": "running", "created": _text(at),
            "modified": _text(at), "started": _text(at + 5), "finished": None, "elapsed": 0.0,
            "launch_type": "manual", "playbook": "site.yml", "scm_revision": f"{number:040x}", "failed": False,
            "job_template": 7, "extra_vars": '{"password": "canary-in-extra-vars"}', "artifacts": {"token": "canary"},
            "summary_fields": {
                "unified_job_template": {"id": 7, "name": name}, "inventory": {"id": 1, "name": "prod"},
                "created_by": {"id": 2, "username": "ada"}, "project": {"id": 3, "name": "infra"},
            },
        }  # fmt: skip

    def finish(self, number: int, at: int, status: str = "successful", **hosts: dict[str, int]) -> None:
        job = self.jobs[number]
        job.update(status=status, finished=_text(at), modified=_text(at), failed=status != "successful")
        self.hosts[number] = [
            {"id": number * 1000 + place, "host": place, "host_name": host, "changed": 0, "dark": 0, "failures": 0,
             "ok": 1, "processed": 1, "skipped": 0, "ignored": 0, "rescued": 0, **counts}
            for place, (host, counts) in enumerate(hosts.items())
        ]  # fmt: skip

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if self.token and asked.headers.get("authorization") != f"Bearer {self.token}":
            return Answer({"detail": "Authentication credentials were not provided."}, 401)
        parts = asked.path.strip("/").split("/")
        match parts:
            case ["api", "v2", "unified_jobs"]:
                return self._listed(asked, self._jobs(asked.parameters()))
            case ["api", "v2", "jobs", number] if int(number) in self.jobs:
                return Answer(self.jobs[int(number)])
            case ["api", "v2", "jobs", number, "job_host_summaries"] if int(number) in self.jobs:
                return self._listed(asked, self.hosts.get(int(number), []))
        return Answer({"detail": "Not found."}, 404)

    def _jobs(self, asked: dict[str, str]) -> list[dict[str, Any]]:
        rows = [job for job in self.jobs.values() if job["type"] == asked.get("type", job["type"])]
        if asked.get("finished__isnull") == "true":
            rows = [job for job in rows if job["finished"] is None]
        for name, keep in (("gte", lambda at, limit: at >= limit), ("lt", lambda at, limit: at < limit)):
            for column in ("finished", "created"):
                limit = asked.get(f"{column}__{name}")
                if limit is not None:
                    rows = [job for job in rows if job[column] and keep(times.iso(job[column]), times.iso(limit))]
        order = asked.get("order_by")
        if order is None:
            return list(reversed(rows))
        return sorted(rows, key=lambda job: [(job[name] or "", 0) if name != "id" else ("", job["id"])
                                             for name in order.split(",")])  # fmt: skip

    def _listed(self, asked: Asked, rows: list[dict[str, Any]]) -> Answer:
        given = asked.parameters()
        size, page = min(int(given.get("page_size", 25)), self.page), int(given.get("page", 1))
        if page > 1 and (page - 1) * size >= len(rows):
            return Answer({"detail": "Invalid page."}, 404)
        more = page * size < len(rows)
        query = "&".join(f"{name}={value}" for name, value in asked.query if name != "page")
        link = f"{asked.path}?{query}&page={page + 1}" if more else None
        return Answer({"count": len(rows), "next": link, "previous": None,
                       "results": rows[(page - 1) * size : page * size]})  # fmt: skip


def _text(at: int) -> str:
    return times.text(at).replace("Z", ".123456Z")
