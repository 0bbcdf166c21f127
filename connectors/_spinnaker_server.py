"""Spinnaker's Gate in one pull: what was triggered, what runs, and the details of what changed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import quote, urlsplit

from connectors._fields import Raw, Unusable
from connectors._http import Client
from connectors._memory import kept, reach
from connectors._spinnaker import Execution, Words, execution_of
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import DAY, Event, Page

HORIZON = 14 * DAY
"""How far back the daily sweep looks for stages that were restarted."""
STRETCH = 14 * DAY
"""A longer time is asked for in pieces, oldest first, so that memory stays flat and a pull that was cut goes on."""
SIZE = 100
KNOWN = 15_000
"""Executions that are kept between pulls; forgetting costs requests, never a number."""
RUNNING = 2_000
RUNS = ("NOT_STARTED", "RUNNING", "PAUSED", "SUSPENDED", "BUFFERED")
_PIECE = 200


@dataclass
class Memory:
    """What one pull leaves for the next: it saves requests, and `floor` is the time before which nothing was asked."""

    settings: str
    floor: int
    known: dict[str, str] = field(default_factory=dict)
    """How each execution with a deployment stood when its details were read."""
    runs: dict[str, str] = field(default_factory=dict)
    """What still ran: the executions, and with "task" the tasks."""

    def plain(self) -> dict[str, Any]:
        """The same as JSON, bounded."""
        self.known = dict(list(self.known.items())[-KNOWN:])
        self.runs = dict(list(self.runs.items())[-RUNNING:])
        return {"settings": self.settings, "floor": self.floor, "known": dict(self.known), "runs": dict(self.runs)}


def remembered(config: Any, pull: Pull) -> Memory:
    """What the pull before this one left; nothing where it was told other settings."""
    return kept(Memory, config, pull, config.url, config.applications, config.tasks,
                config.deploy_stages, config.web)  # fmt: skip


@dataclass
class Reading:
    """One pull from the API."""

    client: Client
    config: Any
    pull: Pull
    memory: Memory
    words: Words = field(init=False)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.words = Words(self.config, self.pull.until)

    def pages(self) -> Iterator[Page]:
        """What is new, what runs, and what was restarted."""
        self.memory.floor = min(self.memory.floor, self.pull.since)
        start, back = reach(self.memory.floor, self.config, self.pull, HORIZON)
        for place, application in enumerate(self.config.applications):
            self.pull.progress(application, place / len(self.config.applications))
            for low in range(start, self.pull.until, STRETCH):
                yield from self._told(self._searched(application, low, min(low + STRETCH, self.pull.until)))
            if start > max(back, self.memory.floor):
                far = max(back, self.memory.floor)
                yield from self._told(self._searched(application, far, self.pull.until, RUNS))
            if self.config.tasks:
                yield from self._told(self._tasks(application, start))
        yield from self._told(self._unlisted())
        yield Page(self._gone(), self.memory.plain(), findings=self.words.findings(self.config.common.name))

    # executions

    def _told(self, found: list[Execution]) -> Iterator[Page]:
        """The deployments of executions, oldest first, with the details of those that changed."""
        events: list[Event] = []
        fresh = [one for one in found if one.id not in self.seen]
        for one in sorted(fresh, key=lambda one: (one.built, one.id)):
            self.seen.add(one.id)
            events += self._execution(one)
            if len(events) >= _PIECE:
                yield Page(events, self.memory.plain())
                events = []
        if events:
            yield Page(events, self.memory.plain())

    def _execution(self, one: Execution) -> list[Event]:
        digest = one.digest()
        if self.words.goes_on(one):
            self.memory.runs[one.id] = "task" if one.task else "pipeline"
        else:
            self.memory.runs.pop(one.id, None)
        if not self._begun(one) or self.memory.known.get(one.id) == digest:
            return []
        # What began or ended at or after `until` is told as it stood before, and again.
        over = all(at is None or at < self.pull.until for stage in one.stages for at in (stage.started, stage.ended))
        if not one.detailed:
            one = self._whole(one)
        self.memory.known.pop(one.id, None)
        if over:
            self.memory.known[one.id] = digest
        else:
            self.memory.runs[one.id] = "task" if one.task else "pipeline"
        return list(self.words.events(one))

    def _begun(self, one: Execution) -> bool:
        """Whether it deploys or rolls back, and has begun to."""
        return any(stage.started is not None for _, stage in self.words.changes(one))

    def _whole(self, one: Execution) -> Execution:
        """The execution with what its stages did; as it was listed where it is no longer there."""
        reply = self.client.get(f"pipelines/{quote(one.id, safe='')}", accept=(200, 404))
        found = self._usable(reply.data) if reply.status == 200 else None
        if found is None:
            self.words.remark("an execution was purged while it was read: what its stages did is not known")
        return found or one

    def _usable(self, raw: Any) -> Execution | None:
        try:
            return execution_of(raw)
        except Unusable as error:
            self.words.reject(str(error))
            return None

    # lists

    def _searched(
        self, application: str, start: int, until: int, statuses: Sequence[str] = ()
    ) -> list[Execution]:  # fmt: skip
        """What was triggered in [start, until), newest first; each page begins with the last of the one before."""
        path = f"applications/{quote(application, safe='')}/executions/search"
        asked = [("triggerTimeStartBoundary", str(start * 1000)),
                 ("triggerTimeEndBoundary", str(until * 1000 - 1)), ("size", str(SIZE)),
                 ("expand", "false"), *([("statuses", ",".join(statuses))] if statuses else [])]  # fmt: skip
        for _ in range(3):
            found: dict[str, Execution] = {}
            begin, last = 0, ""
            while True:
                rows = [one for raw in self._rows(path, [*asked, ("startIndex", str(begin))])
                        if (one := self._usable(raw)) is not None]  # fmt: skip
                ids = [one.id for one in rows]
                if last and last not in ids:
                    break  # something was purged, and the rest moved up
                more = len(rows) >= SIZE and any(key not in found for key in ids)
                found.update((one.id, one) for one in rows)
                if not more:
                    return [one for one in found.values() if start <= one.built < until]
                oldest = min(rows, key=lambda one: (one.built, one.id))
                begin, last = begin + len(rows) - 1, oldest.id
        raise SourceDown(f"{path} changes faster than it can be read; it is asked again at the next pull.")

    def _tasks(self, application: str, start: int) -> list[Execution]:
        """What somebody did by hand since `start`, newest first."""
        path = f"applications/{quote(application, safe='')}/tasks"
        found: dict[str, Execution] = {}
        page = 1
        while True:
            rows = [one for raw in self._rows(path, [("page", str(page)), ("limit", str(SIZE))])
                    if (one := self._usable(raw)) is not None]  # fmt: skip
            fresh = [one for one in rows if one.id not in found]
            found.update((one.id, one) for one in rows)
            if len(rows) < SIZE or not fresh or min(one.built for one in rows) < start:
                known, until = self.memory.runs, self.pull.until
                return [one for one in found.values() if one.id in known or start <= one.built < until]
            page += 1

    def _unlisted(self) -> list[Execution]:
        """What was last seen running and no list has shown."""
        found = []
        left = {key: kind for key, kind in self.memory.runs.items() if key not in self.seen}
        for event in self.pull.open:
            key = event.key.partition("/")[0]
            if event.kind in ("deployment", "rollback") and key not in self.seen:
                left.setdefault(key, "task" if dict(event.labels).get("task") else "pipeline")
        for key, kind in left.items():
            path = "tasks" if kind == "task" else "pipelines"
            reply = self.client.get(f"{path}/{quote(key, safe='')}", accept=(200, 404))
            self.memory.runs.pop(key, None)
            one = self._usable(reply.data) if reply.status == 200 else None
            if one is not None:
                found.append(one)
        return found

    def _gone(self) -> list[Event]:
        """What was seen deploying and is no longer there."""
        gone = [event for event in self.pull.open if event.kind in ("deployment", "rollback")
                and event.key.partition("/")[0] not in self.seen]  # fmt: skip
        if gone:
            self.words.remark("a deployment that went on is no longer there and is excluded", len(gone))
        return [replace(event, outcome="excluded") for event in gone]

    def _rows(self, path: str, params: Sequence[tuple[str, str]]) -> list[Raw]:
        reply = self.client.get(path, params)
        if not isinstance(reply.data, list) or not all(isinstance(raw, dict) for raw in reply.data):
            raise SourceRefused(f"{urlsplit(reply.url).path} is no list of objects; check that url is a Gate.")
        return reply.data
