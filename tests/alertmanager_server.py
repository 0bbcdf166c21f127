"""A Prometheus with alerting rules and its Alertmanager on 127.0.0.1, in the time a test gives them.

What is over is gone from Alertmanager at once, silences are kept for 5 days, the end of a firing alert is stated ahead
of time, and Alertmanager's alerts carry the external labels that Prometheus' own series do not.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.faults_prometheus import answer_of
from tests.replay import Answer, Asked

INTERVAL = 15
KEPT = 5 * 86400
"""Seconds for which an expired silence is remembered."""


def stamp(at: float) -> str:
    """As Go writes times, with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass
class Alert:
    """An alert: its condition held in [active, end), and it fires after `wait` seconds."""

    labels: dict[str, str]
    active: float
    end: float
    wait: int = 30
    summary: str = ""
    every: int = INTERVAL
    hidden: tuple[tuple[float, float], ...] = ()
    """When Prometheus was down: no samples, and the same alert afterwards."""

    @property
    def start(self) -> float:
        return self.active + self.wait

    def samples(self, now: float, state: str = "firing") -> list[float]:
        """The evaluations at which it is in that state."""
        count = int((min(self.end, now) - self.active) // self.every) + 1
        looks = [self.active + self.every * n for n in range(max(0, count))]
        seen = [at for at in looks if at < self.end and not any(a <= at < b for a, b in self.hidden)]
        return [at for at in seen if (at >= self.start) is (state == "firing")]


@dataclass
class Monitoring:
    """Both servers; `now` is their clock."""

    now: float
    external: dict[str, str] = field(default_factory=lambda: {"cluster": "lab"})
    alerts: list[Alert] = field(default_factory=list)
    silences: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    started: float = 0.0
    retention: str = "15d"
    forgets: bool = False
    """Whether Alertmanager lost its alerts in a restart."""
    most: int | None = None
    every: int = INTERVAL
    stateless: bool = False
    """Whether ALERTS_FOR_STATE is not there, as behind some relabelling."""

    def fire(self, name: str, start: float, end: float = 1e12, wait: int = 30, **labels: str) -> Alert:
        alert = Alert(
            {"alertname": name, **labels}, start - wait, end, wait, f"{name} of {labels.get('job', '')}", self.every
        )
        self.alerts.append(alert)
        return alert

    def silence(self, key: str, start: float, end: float, comment: str = "planned work", **matchers: Any) -> None:
        told = [
            {"name": name, "value": value.lstrip("~!"), "isRegex": "~" in value[:2], "isEqual": value[:1] != "!"}
            for name, value in matchers.items()
        ]
        self.silences[key] = {
            "id": key, "createdBy": "ada", "comment": comment, "matchers": told, "startsAt": start, "endsAt": end,
            "updatedAt": start,
        }  # fmt: skip

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked.path)
        if asked.path == "/api/v2/alerts":
            return Answer([] if self.forgets else [self._alert(one) for one in self.alerts if self._fires(one)])
        if asked.path == "/api/v2/silences":
            return Answer([self._silence(one) for one in self.silences.values() if one["endsAt"] > self.now - KEPT])
        if asked.path == "/api/v2/status":
            return Answer({"uptime": stamp(self.started), "versionInfo": {"version": "0.25.0"}})
        if asked.path == "/api/v1/status/runtimeinfo":
            return Answer({"status": "success", "data": {"storageRetention": self.retention}})
        answered: Answer = answer_of(self._series(), self.most)(asked)
        return answered

    def _fires(self, one: Alert) -> bool:
        return one.start <= self.now < one.end

    def _alert(self, one: Alert) -> dict[str, Any]:
        labels = {**self.external, **one.labels}
        by = [key for key, silence in self.silences.items() if self._mutes(silence, labels)]
        last = max(at for at in [one.start, *one.samples(self.now)])
        return {
            "annotations": {"summary": one.summary},
            "endsAt": stamp(last + 240), "startsAt": stamp(one.start), "updatedAt": stamp(last + 0.005),
            "fingerprint": hashlib.sha1(json.dumps(labels).encode()).hexdigest()[:16],
            "receivers": [{"name": "hook"}],
            "status": {"inhibitedBy": [], "silencedBy": by, "state": "suppressed" if by else "active"},
            "generatorURL": "http://host1:9090/graph?g0.expr=up+%3D%3D+0&g0.tab=1",
            "labels": labels,
        }  # fmt: skip

    def _mutes(self, silence: dict[str, Any], labels: dict[str, str]) -> bool:
        equal = all(labels.get(m["name"], "") == m["value"] for m in silence["matchers"] if not m["isRegex"])
        return equal and silence["startsAt"] <= self.now < silence["endsAt"]

    def _silence(self, one: dict[str, Any]) -> dict[str, Any]:
        state = "pending" if one["startsAt"] > self.now else "active" if one["endsAt"] > self.now else "expired"
        times = {name: stamp(one[name]) for name in ("startsAt", "endsAt", "updatedAt")}
        return {**one, **times, "status": {"state": state}}

    def _series(self) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
        found = []
        for one in self.alerts:
            for state in ("pending", "firing"):
                at = one.samples(self.now, state)
                name = {"__name__": "ALERTS", "alertstate": state, **one.labels}
                found.append((name, [(when, 1.0) for when in at]))
                if not self.stateless:
                    name = {"__name__": "ALERTS_FOR_STATE", **one.labels}
                    found.append((name, [(when, one.active // 1) for when in at]))
        return _merged(found)


def _merged(
    found: list[tuple[dict[str, str], list[tuple[float, float]]]],
) -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """One series per set of labels: an alert that comes again goes on in its series."""
    by_labels: dict[str, tuple[dict[str, str], list[tuple[float, float]]]] = {}
    for labels, samples in found:
        own = by_labels.setdefault(json.dumps(labels, sort_keys=True), (labels, []))[1]
        own += samples
        own.sort()
    return list(by_labels.values())
