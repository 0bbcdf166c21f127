"""What files of Terraform and OpenTofu say, by an allow-list of keys: never a value, a variable or an output."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors import _said
from connectors._fields import Raw, count_of, inside, text_of, time_or_none
from connectors._files import digest_of
from tandem.connect import Item
from tandem.records import Event, Fact, Outcome, Ratio, Series, bucket_of, labels_of

STATUS: Mapping[str, Outcome] = {
    "applied": "good",
    "errored": "bad",
    "planned_and_finished": "excluded",
    "discarded": "excluded",
    "canceled": "excluded",
    "force_canceled": "excluded",
    "policy_soft_failed": "excluded",
    "plan only": "excluded",
    "state": "good",
    "drifted": "bad",
    "unfinished": "open",
    **dict.fromkeys(
        (
            "pending", "fetching", "fetching_completed", "pre_plan_running", "pre_plan_completed", "queuing",
            "plan_queued", "planning", "planned", "cost_estimating", "cost_estimated", "policy_checking",
            "policy_override", "policy_checked", "confirmed", "post_plan_running", "post_plan_completed",
            "post_plan_awaiting_decision", "planned_and_saved", "pre_apply_running", "pre_apply_completed",
            "queuing_apply", "apply_queued", "applying",
        ),
        "open",
    ),
}  # fmt: skip
"""HCP Terraform's own words, and those for what files tell."""
ACTIONS = ("create", "update", "delete", "replace", "import", "forget")
_CHANGES = {"add": "added", "change": "changed", "remove": "removed", "import": "imported"}


class Said(_said.Said):
    """What was left out or needs a remark, and what a status means."""

    meanings = STATUS


@dataclass
class Log:
    """The log of one `apply -json`, while it is read."""

    first: int | None = None
    last: int = 0
    mark: str = ""
    version: str = ""
    changes: dict[str, int] = field(default_factory=dict)
    applied: bool = False
    planned: bool = False
    applying: bool = False
    errors: int = 0
    refreshed: set[str] = field(default_factory=set)
    drifted: set[str] = field(default_factory=set)

    def add(self, line: Raw) -> None:
        """One line."""
        stamp = text_of(line, "@timestamp")
        ts = time_or_none(line, "@timestamp")
        if ts is not None:
            if self.first is None:
                self.first, self.mark = ts, stamp
            self.last = max(self.last, ts)
        kind = text_of(line, "type")
        if kind == "version":
            self.version = text_of(line, "terraform") or text_of(line, "tofu")
        elif kind == "change_summary":
            self._summary(inside(line, "changes"))
        elif kind == "resource_drift":
            self.drifted.add(text_of(inside(inside(line, "change"), "resource"), "addr"))
        elif kind == "refresh_complete":
            self.refreshed.add(text_of(inside(inside(line, "hook"), "resource"), "addr"))
        elif kind in ("apply_start", "apply_complete", "apply_errored"):
            self.applying = True
        if kind == "diagnostic" and text_of(inside(line, "diagnostic"), "severity") == "error":
            self.errors += 1

    def _summary(self, changes: Raw) -> None:
        operation = text_of(changes, "operation")
        self.planned = self.planned or operation == "plan"
        if operation in ("apply", "destroy"):
            self.applied = True
            self.changes = {word: count_of(changes, name) for name, word in _CHANGES.items()}

    def status(self) -> str:
        if self.errors:
            return "errored"
        if self.applied:
            return "applied"
        return "plan only" if self.planned and not self.applying else "unfinished"

    def records(self, item: Item, said: Said) -> Iterator[Event | Fact]:
        """The run, and how far what runs was what had been declared."""
        if self.first is None:
            said.reject("a log has no time")
            return
        status = self.status()
        outcome = said.outcome(status)
        told = {"file": item.name, "status": status, "terraform": self.version, **self.changes,
                "drifted": len(self.drifted) or None}  # fmt: skip
        counts = ", ".join(f"{n} {word}" for word, n in self.changes.items() if n) or "no changes"
        yield Event(
            "infrastructure", f"apply:{self.mark}:{hashlib.sha256(item.head[:200]).hexdigest()[:8]}", self.first,
            started=self.first, ended=None if outcome == "open" else self.last, outcome=outcome,
            title=f"{status}: {counts}", labels=labels_of(told), revision=self.last,
        )  # fmt: skip
        if self.refreshed or self.drifted:
            yield from synced(self.first, self.refreshed | self.drifted, self.drifted, {"file": item.name}, self.mark)


def logs(lines: Iterable[Any], said: Said) -> Iterator[Log]:
    """The runs of one file of lines; each begins with the line that names the version."""
    log = Log()
    for line in lines:
        if not isinstance(line, dict) or "@timestamp" not in line:
            said.reject("a line is none of Terraform's")
            continue
        if line.get("type") == "version" and log.first is not None:
            yield log
            log = Log()
        log.add(line)
    if log.first is not None:
        yield log


def plan(raw: Raw, item: Item, said: Said) -> Iterator[Event | Fact]:
    """What a saved plan says: which resources were no longer as declared, of all that it looked at."""
    if raw.get("errored") is True:
        said.remark("a plan that ended with an error looked at part of the resources and is not counted")
        return
    drifted = {address for address, actions in _resources(raw, "resource_drift") if set(actions) - {"no-op", "read"}}
    looked = {address for address, _ in _resources(raw, "resource_changes")} | drifted
    if not looked:
        said.remark("a plan names no resource")
        return
    at = time_or_none(raw, "timestamp")
    ts = at if at is not None else _without_time(item, said)
    yield from synced(ts, looked, drifted, {"file": item.name}, digest_of(item)[:32])


def _resources(raw: Raw, name: str) -> Iterator[tuple[str, list[str]]]:
    """(address, actions) of the managed resources of a list; nothing else of it is looked at."""
    rows = raw.get(name)
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("mode") == "managed" and text_of(row, "address"):
            actions = inside(row, "change").get("actions")
            yield text_of(row, "address"), [str(one) for one in actions] if isinstance(actions, list) else []


def state(raw: Raw, item: Item, said: Said) -> Iterator[Event]:
    """A state, version 4: that it was written; it has no time of its own."""
    lineage, serial = text_of(raw, "lineage"), raw.get("serial")
    if raw.get("version") != 4 or not lineage or isinstance(serial, bool) or not isinstance(serial, int):
        said.reject("a state is not of version 4, or lacks lineage or serial")
        return
    rows = raw.get("resources")
    managed = [row for row in rows if isinstance(row, dict) and row.get("mode") == "managed"] if isinstance(
        rows, list) else []  # fmt: skip
    told = {"file": item.name, "status": "state", "terraform": text_of(raw, "terraform_version"), "serial": serial,
            "lineage": lineage, "resources": len(managed)}  # fmt: skip
    ts = _without_time(item, said)
    yield Event("infrastructure", f"{lineage}:{serial}", ts, outcome=said.outcome("state"),
                title=f"state {serial}: {len(managed)} resources", labels=labels_of(told))  # fmt: skip


def synced(
    ts: int, looked: set[str], drifted: set[str], labels: Mapping[str, object], mark: str
) -> Iterator[Event | Fact]:  # fmt: skip
    """How many of the resources that were looked at were as declared, and an event where some were not."""
    yield in_sync(ts, len(looked) - len(drifted), len(looked), labels)
    if drifted:
        yield drift_event(ts, len(drifted), len(looked), labels, mark)


def in_sync(ts: int, good: int, total: int, labels: Mapping[str, object]) -> Fact:
    return Fact(Series("in_sync", labels_of(labels)), bucket_of(ts), Ratio(good, total))


def drift_event(ts: int, drifted: int, total: int, labels: Mapping[str, object], mark: str) -> Event:
    told = {**labels, "status": "drifted", "drifted": drifted, "resources": total}
    return Event("infrastructure", f"drift:{mark}", ts, outcome="bad", title=f"{drifted} of {total} resources drifted",
                 labels=labels_of(told))  # fmt: skip


def _without_time(item: Item, said: Said) -> int:
    if item.given.at is not None:
        return item.given.at
    said.remark("no time in the file; the time of its last change is taken")
    return item.modified
