"""What Argo CD says of applications, as events and samples: the same functions for replies and saved answers."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, text_of, time_of
from connectors._said import Said
from tandem import times
from tandem.records import Event, Fact, Outcome, Ratio, Series, labels_of

STATUS: Mapping[str, Outcome] = {
    "Succeeded": "good",
    "Failed": "bad",
    "Error": "bad",
    "Running": "open",
    "Terminating": "open",
    "terminated": "excluded",
    "resync": "excluded",
    "superseded": "excluded",
    "deleted": "excluded",
    "Synced": "good",
    "OutOfSync": "bad",
    "Unknown": "excluded",
}
"""How a sync ended, and (from "Synced" on) whether what runs is what is declared."""
REMEMBERED = 20
"""Syncs of one application whose content is remembered, to know a rollback."""
_NEAR = 60
"""Seconds between the end of an operation and its entry where old versions do not say when it began."""
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_ENDED_BY_HAND = "operation terminated"


@dataclass(frozen=True)
class Sync:
    """One operation of an application; times are epoch seconds, `id` that of its entry, -1 for one without."""

    id: int
    began: int
    ended: int
    word: str
    revisions: tuple[str, ...]
    content: str
    """A digest of what was synced: revisions and sources."""
    stated: bool
    """Whether it says when it began."""
    actor: str = ""
    automatic: bool = False
    retries: int = 0
    said: str = ""
    url: str = ""
    partial: bool = False


@dataclass(frozen=True)
class Application:
    """One application as it is now, with the syncs that it remembers, oldest first."""

    uid: str
    name: str
    namespace: str
    project: str
    target: str
    cluster: str
    state: str
    images: tuple[str, ...]
    history: tuple[Sync, ...]
    operation: Sync | None

    @property
    def place(self) -> str:
        """What the keys of its syncs begin with."""
        return f"{self.namespace}/{self.name}@"

    @property
    def labels(self) -> dict[str, str]:
        """What the map of the configuration sees."""
        return {"app": self.name, "project": self.project, "namespace": self.target, "cluster": self.cluster}

    def key(self, one: Sync) -> str:
        """A sync under the second in which it began: its entry and its operation are one."""
        return f"{self.place}{times.text(one.began)}" if one.stated else f"{self.place}#{one.id}"


def application_of(raw: Any) -> Application:
    """Raises Unusable for what is no application."""
    if not isinstance(raw, dict) or not isinstance(raw.get("metadata"), dict):
        raise Unusable("what is there is no application")
    meta, spec, status = raw["metadata"], _dict(raw.get("spec")), _dict(raw.get("status"))
    if not text_of(meta, "name"):
        raise Unusable("an application has no name")
    aim = _dict(spec.get("destination"))
    rows = [_entry(_dict(one)) for one in _list(status.get("history"))]
    history = tuple(sorted(rows, key=lambda one: (one.id, one.ended)))
    images = tuple(one for one in _list(_dict(status.get("summary")).get("images")) if isinstance(one, str))
    operation = status.get("operationState")
    return Application(
        text_of(meta, "uid"), text_of(meta, "name"), text_of(meta, "namespace"), text_of(spec, "project"),
        text_of(aim, "namespace"), text_of(aim, "name") or text_of(aim, "server"),
        text_of(_dict(status.get("sync")), "status") or "Unknown", images, history,
        _operation(operation, history) if isinstance(operation, dict) else None,
    )  # fmt: skip


def _entry(raw: Raw) -> Sync:
    """A successful sync of the history."""
    ended, began = time_of(raw, "deployedAt", 0), time_of(raw, "deployStartedAt", 0)
    if not ended:
        raise Unusable("an entry of the history has no deployedAt")
    by, number = _dict(raw.get("initiatedBy")), raw.get("id")
    revisions = _revisions(raw)
    return Sync(
        number if isinstance(number, int) else 0, began or ended, ended, "Succeeded", revisions,
        _content(revisions, raw), bool(began), text_of(by, "username"), by.get("automated") is True,
    )  # fmt: skip


def _operation(raw: Raw, history: Sequence[Sync]) -> Sync | None:
    """The last operation; None for one that changed nothing, or that the history tells already."""
    asked = _dict(_dict(raw.get("operation")).get("sync"))
    began, ended, word = time_of(raw, "startedAt", 0), time_of(raw, "finishedAt", 0), text_of(raw, "phase")
    if asked.get("dryRun") is True or not began or not word:
        return None
    result = _dict(raw.get("syncResult"))
    told = result if _revisions(result) else asked
    revisions = _revisions(told)
    if word == "Succeeded" and any(_tells(one, began, ended, revisions) for one in history):
        return None
    by = _dict(_dict(raw.get("operation")).get("initiatedBy"))
    message = text_of(raw, "message")
    if word in ("Failed", "Error") and message.lower().startswith(_ENDED_BY_HAND):
        word = "terminated"
    retries = raw.get("retryCount")
    return Sync(
        -1, began, ended, word, revisions, _content(revisions, told), True, text_of(by, "username"),
        by.get("automated") is True, retries if isinstance(retries, int) else 0, message,
        partial=bool(asked.get("resources")),
    )  # fmt: skip


def _tells(entry: Sync, began: int, ended: int, revisions: tuple[str, ...]) -> bool:
    if entry.stated:
        return entry.began == began
    return entry.revisions == revisions and abs(entry.ended - ended) <= _NEAR


def _revisions(raw: Raw) -> tuple[str, ...]:
    """The revision, or those of an application of several sources."""
    many = [one for one in _list(raw.get("revisions")) if isinstance(one, str) and one]
    return tuple(many) if many else tuple(filter(None, [text_of(raw, "revision")]))


def _content(revisions: Sequence[str], raw: Raw) -> str:
    """What was synced, in short: the same revision with other parameters is another thing."""
    sources = raw.get("sources") or raw.get("source")
    text = json.dumps([list(revisions), sources], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


# -- as records


@dataclass
class Words(Said):
    """What the source says, as records."""

    until: int
    meanings = STATUS

    def wanted(self, one: Application) -> bool:
        """Whether the configuration lets an application count."""
        config = self.config
        named = not config.applications or any(fnmatchcase(one.name, glob) for glob in config.applications)
        inside = not config.projects or one.project in config.projects
        return named and inside and not any(fnmatchcase(one.name, glob) for glob in config.ignore)

    def facts(self, ts: int, applications: Sequence[Application]) -> list[Fact]:
        """Whether each application runs what is declared; none where Argo CD could not compare."""
        found: dict[Series, Ratio] = {}
        for one in applications:
            outcome = self.outcome(one.state)
            if outcome in ("good", "bad"):
                series = Series("in_sync", labels_of(one.labels))
                found[series] = found.get(series, Ratio()) + Ratio(int(outcome == "good"), 1)
        return [Fact(series, ts, ratio) for series, ratio in found.items()]

    def entries(self, one: Application, after: int, before: Sequence[str]) -> Iterator[Event]:
        """The entries of the history with an id over `after`, `before` being the contents synced earlier."""
        known = list(before)
        for entry in one.history:
            if entry.id > after and entry.ended < self.until:
                newest = entry is one.history[-1] and (one.operation is None or one.operation.word != "Running")
                yield self.event(one, entry, known, images=one.images if newest else ())
            if entry.id > after:
                known.append(entry.content)

    def event(
        self, one: Application, sync: Sync, before: Sequence[str], *, kind: str = "", images: Sequence[str] = ()
    ) -> Event:
        """A sync as a deployment: as a rollback where its content is that of an earlier one but the last."""
        again = bool(before) and sync.content == before[-1]
        back = not again and sync.content in before
        word = "resync" if again and sync.word == "Succeeded" else sync.word
        outcome = self.outcome(word)
        ended = sync.ended if outcome != "open" and sync.ended >= sync.began else None
        commit = next((found for found in sync.revisions if _COMMIT.fullmatch(found)), "")
        version, digest = _image(images)
        release = next((found for found in sync.revisions if not _COMMIT.fullmatch(found)), "")
        labels = {
            **one.labels, "revision": ", ".join(sync.revisions), "status": word,
            "retries": sync.retries or None, "partial": "true" if sync.partial else None,
        }  # fmt: skip
        return Event(
            kind or ("rollback" if back else "deployment"),
            one.key(sync),
            sync.began,
            ended=min(ended, self.until - 1) if ended is not None and ended >= sync.began else None,
            outcome=outcome,
            version=version or release,
            commit=commit if self.config.revisions == "code" else "",
            digest=digest,
            trigger="automated" if sync.automatic else "",
            actor=sync.actor,
            title=sync.said if outcome == "bad" and sync.said else f"{one.name} synced to {_short(sync.revisions)}",
            url=self.page(one),
            labels=labels_of(labels),
            # Who knows what was synced before, and which image runs, is not corrected by who does not.
            revision=0 if outcome == "open" else 2 + bool(before) + bool(images),
        )

    def page(self, one: Application) -> str:
        """Where people see an application."""
        base = self.config.web or self.config.url
        return f"{base.rstrip('/')}/applications/{one.namespace}/{one.name}" if base.startswith("http") else ""

    def decided(self, event: Event, word: str) -> Event:
        """A sync that was under way and of which nobody knows how it ended."""
        labels = {**dict(event.labels), "status": word}
        return replace(event, outcome=self.outcome(word), ended=None, labels=labels_of(labels), revision=1)


def _short(revisions: Sequence[str]) -> str:
    return ", ".join(one[:7] if _COMMIT.fullmatch(one) else one for one in revisions) or "an unknown revision"


def _image(images: Sequence[str]) -> tuple[str, str]:
    """(tag, digest) where an application runs one image; of several none is the application's."""
    if len(images) != 1:
        return "", ""
    name, _, digest = images[0].partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    return (tag if tag != "latest" else ""), digest


def _dict(raw: Any) -> dict[str, Any]:
    return raw if isinstance(raw, dict) else {}


def _list(raw: Any) -> list[Any]:
    return raw if isinstance(raw, list) else []
