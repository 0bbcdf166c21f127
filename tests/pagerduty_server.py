"""A small PagerDuty on 127.0.0.1: its paging, caps, spans, filters, rate limit and refusals; a test changes it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tandem import times
from tests.replay import Answer, Asked

MONTH, HALF_A_YEAR = 30 * 86400, 184 * 86400
SERVICES = {"PCHECK": "Checkout", "PCART": "Cart"}


def _reference(kind: str, number: str, summary: str) -> dict[str, Any]:
    return {"id": number, "type": f"{kind}_reference", "summary": summary}


@dataclass
class Account:
    """What an account holds; incidents and maintenance windows by id, the log as a list."""

    token: str = ""
    incidents: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: list[dict[str, Any]] = field(default_factory=list)
    windows: dict[str, dict[str, Any]] = field(default_factory=dict)
    now: int = 1_795_000_000
    cap: int = 10_000
    asked: list[Asked] = field(default_factory=list)
    refusals: list[Answer] = field(default_factory=list)
    before: dict[int, Callable[[], None]] = field(default_factory=dict)
    """What happens just before the n-th request (from 1) is answered."""

    def trigger(self, number: str, at: int, service: str = "PCHECK", title: str = "It is down") -> None:
        self.incidents[number] = {
            "id": number,
            "type": "incident",
            "summary": f"[#{len(self.incidents) + 1}] {title}",
            "html_url": f"https://acme.pagerduty.com/incidents/{number}",
            "incident_number": len(self.incidents) + 1,
            "title": title,
            "created_at": times.text(at),
            "status": "triggered",
            "service": _reference("service", service, SERVICES[service]),
            "acknowledgements": [],
            "last_status_change_at": times.text(at),
            "last_status_change_by": _reference("service", service, SERVICES[service]),
            "escalation_policy": _reference("escalation_policy", "PESC", "Default"),
            "teams": [_reference("team", "PTEAM", "Shop")],
            "urgency": "high",
            "priority": _reference("priority", "PPRIO", "P1"),
        }
        self._log("trigger", number, at)

    def acknowledge(self, number: str, at: int) -> None:
        self._change(number, "acknowledged", at)
        self.incidents[number]["acknowledgements"] = [{"at": times.text(at), "acknowledger": {"summary": "Ada"}}]
        self._log("acknowledge", number, at)

    def resolve(self, number: str, at: int, reason: str = "") -> None:
        self._change(number, "resolved", at)
        if reason:
            self.incidents[number]["resolve_reason"] = {"type": reason}
        self._log("resolve", number, at)

    def reopen(self, number: str, at: int) -> None:
        self._change(number, "triggered", at)
        self._log("reopen", number, at)

    def maintain(self, number: str, begin: int, end: int, *services: str) -> None:
        self.windows[number] = {
            "id": number,
            "type": "maintenance_window",
            "summary": "New database",
            "description": "New database",
            "html_url": f"https://acme.pagerduty.com/maintenance_windows#/show/{number}",
            "start_time": times.text(begin),
            "end_time": times.text(end),
            "services": [_reference("service", one, SERVICES[one]) for one in services or ("PCHECK",)],
            "teams": [],
            "created_by": _reference("user", "PADA", "Ada"),
        }

    def _change(self, number: str, status: str, at: int) -> None:
        changed = {"status": status, "last_status_change_at": times.text(at), "acknowledgements": []}
        self.incidents[number].update(changed, last_status_change_by=_reference("user", "PADA", "Ada"))

    def _log(self, kind: str, number: str, at: int) -> None:
        entry = {"id": f"R{len(self.log)}", "type": f"{kind}_log_entry", "created_at": times.text(at)}
        self.log.append({**entry, "incident": _reference("incident", number, "")})

    # answers

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        change = self.before.pop(len(self.asked), None)
        if change:
            change()
        if self.refusals:
            return self.refusals.pop(0)
        if self.token and asked.headers.get("authorization") != f"Token token={self.token}":
            return Answer({"error": {"message": "Unauthorized", "code": 2006}}, 401)
        if "application/vnd.pagerduty+json;version=2" not in asked.headers.get("accept", ""):
            return Answer({"error": {"message": "Invalid version"}}, 406)
        return self._found(asked.path.strip("/").split("/"), asked)

    def _found(self, path: list[str], asked: Asked) -> Answer:
        query: dict[str, str] = dict(asked.query)
        services = [value for name, value in asked.query if name == "service_ids[]"]
        match path:
            case ["incidents"]:
                rows = [one for one in self.incidents.values() if not services or one["service"]["id"] in services]
                return self._spanned("incidents", rows, query)
            case ["incidents", number]:
                return _one("incident", self.incidents.get(number))
            case ["incidents", number, "log_entries"]:
                return self._paged("log_entries", [one for one in self.log if one["incident"]["id"] == number], query)
            case ["log_entries"]:
                return self._spanned("log_entries", self.log[::-1], query)
            case ["maintenance_windows"]:
                rows = [one for one in self.windows.values() if self._is_listed(one, query, services)]
                return self._paged("maintenance_windows", rows, query)
            case ["maintenance_windows", number]:
                return _one("maintenance_window", self.windows.get(number))
        return Answer({"error": {"message": "Not Found", "code": 2100}}, 404)

    def _is_listed(self, window: dict[str, Any], query: dict[str, str], services: list[str]) -> bool:
        theirs = {one["id"] for one in window["services"]}
        over = times.iso(window["end_time"]) <= self.now
        return (query.get("filter") == "all" or not over) and (not services or bool(theirs & set(services)))

    def _spanned(self, name: str, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        """Rows created in a span; with one end only it is silently a month, over half a year it is refused."""
        since, until = query.get("since"), query.get("until")
        low = times.iso(since) if since else (times.iso(until) if until else self.now) - MONTH
        high = times.iso(until) if until else low + MONTH
        if high - low > HALF_A_YEAR:
            return Answer({"error": {"message": "The date range cannot exceed 6 months", "code": 2001}}, 400)
        inside = [one for one in rows if low <= times.iso(one["created_at"]) < high]
        if query.get("sort_by") == "created_at:asc":
            inside.sort(key=lambda one: one["created_at"])
        return self._paged(name, inside, query)

    def _paged(self, name: str, rows: list[dict[str, Any]], query: dict[str, str]) -> Answer:
        limit, offset = min(100, int(query.get("limit", 25))), int(query.get("offset", 0))
        if limit + offset > self.cap:
            return Answer({"error": {"message": "Invalid Input Provided", "errors": ["Offset is too large"]}}, 400)
        total = len(rows) if query.get("total") == "true" else None
        page = rows[offset : offset + limit]
        more = offset + limit < len(rows)
        return Answer({name: page, "limit": limit, "offset": offset, "total": total, "more": more})


def _one(name: str, row: dict[str, Any] | None) -> Answer:
    return Answer({"error": {"message": "Not Found", "code": 2100}}, 404) if row is None else Answer({name: row})
