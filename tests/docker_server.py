"""A Docker engine as its API answers: a memory of 256 events before any filter, and containers that come and go."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tests.replay import Answer, Asked

SECOND = 1_000_000_000
NEVER = "0001-01-01T00:00:00Z"


def text(nano: int) -> str:
    """RFC 3339 with nanoseconds, as Docker writes it."""
    if not nano:
        return NEVER
    return f"{datetime.fromtimestamp(nano // SECOND, UTC):%Y-%m-%dT%H:%M:%S}.{nano % SECOND:09d}Z"


def image_id(reference: str) -> str:
    return "sha256:" + hashlib.sha256(reference.encode()).hexdigest()


@dataclass
class Box:
    """One container."""

    name: str
    reference: str
    labels: dict[str, str]
    created: int
    id: str
    policy: str = "no"
    state: str = "created"
    health: str = ""
    started: int = 0
    finished: int = 0
    code: int = 0
    oom: bool = False
    restarts: int = 0

    def row(self) -> dict[str, Any]:
        said = {"exited": f"Exited ({self.code}) 5 minutes ago", "running": "Up 5 minutes"}.get(self.state, "Created")
        if self.state == "running" and self.health:
            said += f" ({'health: ' if self.health == 'starting' else ''}{self.health})"
        return {"Id": self.id, "Names": [f"/other/alias-{self.name}", f"/{self.name}"], "Image": self.reference,
                "ImageID": image_id(self.reference), "Created": self.created // SECOND, "State": self.state,
                "Status": said, "Labels": self.labels}  # fmt: skip

    def inspected(self) -> dict[str, Any]:
        state = {"Status": self.state, "Running": self.state == "running", "OOMKilled": self.oom,
                 "ExitCode": self.code if self.state != "running" else 0, "StartedAt": text(self.started),
                 "FinishedAt": text(self.finished)}  # fmt: skip
        if self.health:
            state["Health"] = {"Status": self.health, "FailingStreak": 0, "Log": []}
        return {"Id": self.id, "Created": text(self.created), "State": state, "Image": image_id(self.reference),
                "Name": f"/{self.name}", "RestartCount": self.restarts,
                "HostConfig": {"RestartPolicy": {"Name": self.policy, "MaximumRetryCount": 0}},
                "Config": {"Image": self.reference, "Labels": self.labels, "Env": ["PASSWORD=hunter2"]}}  # fmt: skip


@dataclass
class Engine:
    """Containers, and what happened to them; times are seconds since the epoch."""

    digests: dict[str, list[str]] = field(default_factory=dict)
    boxes: dict[str, Box] = field(default_factory=dict)
    events: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=256))
    made: int = 0

    def run(
        self, name: str, reference: str, at: float, labels: dict[str, str] | None = None, *, policy: str = "no",
        health: str = "",
    ) -> Box:  # fmt: skip
        self.made += 1
        key = hashlib.sha256(f"{name}{self.made}".encode()).hexdigest()
        box = self.boxes[name] = Box(name, reference, labels or {}, _nano(at), key, policy, health=health)
        self.say("create", box, at)
        self.start(name, at + 0.2)
        return box

    def start(self, name: str, at: float, *, by_policy: bool = False) -> None:
        box = self.boxes[name]
        box.state, box.started, box.oom = "running", _nano(at), False
        if not by_policy:
            box.restarts = 0
        self.say("start", box, at + 0.01)

    def die(self, name: str, at: float, code: int, *, oom: bool = False) -> None:
        """A container ends; its event comes a moment after the time that the container states."""
        box = self.boxes[name]
        box.state, box.finished, box.code, box.oom = "exited", _nano(at), code, oom
        if oom:
            self.say("oom", box, at - 0.05)
        self.say("die", box, at + 0.04, exitCode=str(code))

    def again(self, name: str, at: float, code: int, *, oom: bool = False) -> None:
        """A container ends and is started again by its restart policy."""
        self.die(name, at, code, oom=oom)
        self.boxes[name].restarts += 1
        self.start(name, at + 0.5, by_policy=True)

    def stop(self, name: str, at: float, code: int = 137) -> None:
        self.say("kill", self.boxes[name], at, signal="15")
        self.die(name, at + 0.1, code)
        self.say("stop", self.boxes[name], at + 0.2)

    def checked(self, name: str, at: float, health: str) -> None:
        """One health check: three events, and one more where the health changed."""
        box = self.boxes[name]
        for action in ("exec_create: sh -c check", "exec_start: sh -c check", "exec_die"):
            self.say(action, box, at)
        if health != box.health:
            box.health = health
            self.say(f"health_status: {health}", box, at + 0.01)

    def remove(self, name: str, at: float) -> None:
        self.say("destroy", self.boxes.pop(name), at)

    def say(self, action: str, box: Box, at: float, **more: str) -> None:
        nano = _nano(at)
        given = {**box.labels, "image": box.reference, "name": box.name, **more}
        self.events.append(
            {"status": action, "id": box.id, "from": box.reference, "Type": "container", "Action": action,
             "Actor": {"ID": box.id, "Attributes": given}, "scope": "local", "time": nano // SECOND, "timeNano": nano}
        )  # fmt: skip

    def answer(self, asked: Asked) -> Answer:
        path, given = asked.path, asked.parameters()
        if path == "/containers/json":
            shown = [one for one in self.boxes.values() if given.get("all") == "1" or one.state == "running"]
            return Answer([one.row() for one in shown[::-1]])
        if path == "/events":
            return self._events(given)
        kind, _, rest = path.strip("/").partition("/")
        key = rest.removesuffix("/json")
        if kind == "containers":
            box = next((one for one in self.boxes.values() if one.id.startswith(key)), None)
            missing = Answer({"message": f"No such container: {key}"}, 404)
            return Answer(box.inspected()) if box else missing
        if kind == "images":
            return Answer({"Id": key, "RepoTags": [], "RepoDigests": self.digests.get(key, [])})
        return Answer({"message": "page not found"}, 404)

    def _events(self, given: dict[str, str]) -> Answer:
        """Without an end the real one would never stop answering."""
        if "until" not in given:
            return Answer({"message": "this would wait for ever"}, 500)
        since, until = _stamp(given.get("since", "0")), _stamp(given["until"])
        lines = [one for one in self.events if since <= one["timeNano"] <= until]
        return Answer("".join(Answer(one).data().decode() + "\n" for one in lines))


def _nano(at: float) -> int:
    return round(at * 1000) * 1_000_000


def _stamp(given: str) -> int:
    seconds, _, fraction = given.partition(".")
    return int(seconds) * SECOND + int((fraction or "0").ljust(9, "0"))
