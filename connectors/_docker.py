"""What Docker says of containers and of what happened to them: the same functions for replies and saved answers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, Unusable, text_of
from connectors._said import Said
from tandem import times
from tandem.records import Event, Fact, Outcome, Ratio, Series, labels_of

STATUS: Mapping[str, Outcome] = {
    "healthy": "good",
    "running": "good",
    "unhealthy": "bad",
    "failed": "bad",
    "restarting": "bad",
    "dead": "bad",
    "starting": "open",
    "created": "open",
    "paused": "excluded",
    "stopped": "excluded",
    "finished": "excluded",
    "removing": "excluded",
    "oom": "bad",
    "crash": "bad",
    "restarted": "bad",
    "started": "excluded",
    "asked": "good",
}
"""How a container is doing, and (from "oom" on) why it ended and began again."""
SECOND = 1_000_000_000
_LATE = 2 * SECOND
"""How long after an end its want of memory may still be told."""
_YEAR = 366 * 86400
_ENDING = frozenset({"2", "3", "9", "15"})
"""Signals that ask a container to end."""
_ASKED = frozenset({130, 143})
"""Exit codes of a process that ended because it was told to."""
_ENDED = frozenset({"exited", "restarting", "dead"})
"""States that keep the code of the last end."""
_FRACTION = re.compile(r"\.(\d{1,9})\d*")
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_EXITED = re.compile(r"\((-?\d+)\)")
_TOLD = frozenset({"create", "start", "die", "oom", "kill", "stop", "restart", "health_status"})
_CAUSES = {
    "oom": "ran out of memory",
    "crash": "ended with code {code}",
    "finished": "ended with code 0 and began again",
    "restarted": "was started again by its restart policy",
    "started": "was started again by somebody; why it had ended is lost",
    "asked": "was restarted as asked",
}


@dataclass(frozen=True)
class Container:
    """One container as it is listed or inspected; times in nanoseconds since the epoch, 0 where there is none."""

    id: str
    name: str
    reference: str
    image: str
    state: str
    health: str
    created: int
    code: int | None
    oom: bool = False
    started: int = 0
    finished: int = 0
    restarts: int = 0
    policy: str = ""
    given: Mapping[str, str] = field(default_factory=dict)
    """The labels that people gave it."""

    @property
    def service(self) -> str:
        """The service of Compose or Swarm that it belongs to."""
        return self.given.get("com.docker.compose.service") or self.given.get("com.docker.swarm.service.name", "")

    @property
    def project(self) -> str:
        """The project of Compose or the stack of Swarm."""
        return self.given.get("com.docker.compose.project") or self.given.get("com.docker.stack.namespace", "")

    @property
    def who(self) -> str:
        """What stays the same when a newer container takes its place."""
        return f"{self.project}/{self.service}" if self.service else self.name

    @property
    def counts(self) -> bool:
        """Whether it is meant to run: one that Compose made for one command is not."""
        return self.given.get("com.docker.compose.oneoff", "").lower() != "true"

    @property
    def labels(self) -> dict[str, str]:
        """What the map of the configuration sees."""
        return {"container": self.name, "image": self.reference, "service": self.service, "project": self.project}

    def word(self, asked: bool = False) -> str:
        """How it is doing; `asked`: somebody is known to have told it to end."""
        if self.state == "running":
            return self.health or "running"
        if self.state != "exited":
            return self.state
        if self.code == 0:
            return "finished"
        return "stopped" if (asked or self.code in _ASKED) and not self.oom else "failed"

    @property
    def version(self) -> str:
        """What its image says of its version, else the tag."""
        stated = self.given.get("org.opencontainers.image.version", "")
        tag = self.reference.partition("@")[0].rpartition("/")[2].partition(":")[2]
        return stated or (tag if tag != "latest" else "")

    @property
    def commit(self) -> str:
        """The commit that its image was built from, where the image says it."""
        return self.given.get("org.opencontainers.image.revision", "")


def listed(raw: Raw) -> Container:
    """A row of /containers/json; when it began and ended is not in it."""
    names = [name for name in raw.get("Names") or () if isinstance(name, str)]
    own = min(names, key=lambda name: (name.count("/"), len(name)), default="")
    status, state = text_of(raw, "Status"), text_of(raw, "State")
    health, code = _HEALTH.search(status), _EXITED.search(status)
    created = raw.get("Created")
    return Container(
        _id(raw), own.lstrip("/"), text_of(raw, "Image"), text_of(raw, "ImageID"), state, health[1] if health else "",
        created * SECOND if isinstance(created, int) and created > _YEAR else 0,
        int(code[1]) if code and state == "exited" else None, given=_given(raw.get("Labels")),
    )  # fmt: skip


def inspected(raw: Raw) -> Container:
    """The answer of /containers/ID/json."""
    state, config, host = _object(raw, "State"), _object(raw, "Config"), raw.get("HostConfig") or {}
    told = state.get("Health")
    health = text_of(told, "Status") if isinstance(told, dict) else ""
    restarts, policy = raw.get("RestartCount"), host.get("RestartPolicy") if isinstance(host, dict) else None
    word, code = text_of(state, "Status"), state.get("ExitCode")
    if not word:
        raise Unusable("a container has no State.Status")
    return Container(
        _id(raw), text_of(raw, "Name").lstrip("/"), text_of(config, "Image"), text_of(raw, "Image"), word,
        health if health != "none" else "", nanos(raw.get("Created")),
        code if word in _ENDED and isinstance(code, int) else None, state.get("OOMKilled") is True,
        nanos(state.get("StartedAt")), nanos(state.get("FinishedAt")),
        restarts if isinstance(restarts, int) else 0,
        text_of(policy, "Name") if isinstance(policy, dict) else "", _given(config.get("Labels")),
    )  # fmt: skip


def container_of(raw: Any) -> Container:
    """A container of a saved answer: inspected or listed."""
    if not isinstance(raw, dict):
        raise Unusable("what is there is no container")
    return inspected(raw) if isinstance(raw.get("State"), dict) else listed(raw)


# -- what happened


@dataclass(frozen=True)
class Told:
    """One of Docker's events of a container; `action` without the value that some carry in their name."""

    nano: int
    id: str
    action: str
    value: str
    given: Mapping[str, str]


def told(raw: Any) -> Told | None:
    """An event that matters here, None for any other; raises Unusable for what is no event."""
    if not isinstance(raw, dict) or not isinstance(raw.get("timeNano", raw.get("time")), int):
        raise Unusable("an event has no time")
    nano = raw["timeNano"] if isinstance(raw.get("timeNano"), int) else raw["time"] * SECOND
    actor = raw.get("Actor")
    action, _, value = (text_of(raw, "Action") or text_of(raw, "status")).partition(": ")
    if text_of(raw, "Type") != "container" or action not in _TOLD or not isinstance(actor, dict):
        return None
    given = _given(actor.get("Attributes"))
    return Told(nano, text_of(actor, "ID")[:12], action, value, given)


@dataclass(frozen=True)
class Exit:
    """A container that ended, and whether it began again; `nano` is when Docker said so."""

    id: str
    nano: int
    code: int | None
    oom: bool
    asked: bool
    back: bool
    given: Mapping[str, str] = field(default_factory=dict)

    @property
    def word(self) -> str:
        """Why it ended; "" where it is no restart: it was stopped, or had finished."""
        if self.oom and self.code != 0:
            return "oom"
        if self.asked:
            return "asked" if self.back else ""
        if self.code:
            return "crash"
        return "finished" if self.back else ""


def exits(events: Iterable[Told], asked: Iterable[str] = ()) -> tuple[list[Exit], set[str]]:
    """Every end that the events tell, oldest first, and the containers that were told to end and have not begun again.

    `asked` are those that had been told to end before the first event.
    """
    told_to_end, short = set(asked), set[str]()
    found: dict[str, list[Exit]] = {}
    for one in sorted(events, key=lambda event: event.nano):
        mine = found.setdefault(one.id, [])
        if one.action == "start":
            told_to_end.discard(one.id)
            short.discard(one.id)
            if mine:
                mine[-1] = _back(mine[-1])
        elif one.action == "kill" and one.given.get("signal") in _ENDING:
            told_to_end.add(one.id)
        elif one.action == "oom":
            short.add(one.id)
            if mine and not mine[-1].back and one.nano - mine[-1].nano < _LATE:
                mine[-1] = replace(mine[-1], oom=True)  # two watchers tell of it, and the slower one was late
        elif one.action == "die":
            text = one.given.get("exitCode", "")
            code = int(text) if text.lstrip("-").isdigit() else None
            asked_to = one.id in told_to_end or code in _ASKED
            mine.append(Exit(one.id, one.nano, code, one.id in short, asked_to, False, one.given))
    return sorted((one for mine in found.values() for one in mine), key=lambda one: one.nano), told_to_end


def _back(one: Exit) -> Exit:
    return Exit(one.id, one.nano, one.code, one.oom, one.asked, True, one.given)


# -- as records


@dataclass
class Words(Said):
    """What the source says, as records."""

    meanings = STATUS

    def wanted(self, container: Container) -> bool:
        """Whether the configuration lets a container count."""
        config = self.config
        named = not config.containers or any(fnmatchcase(container.name, glob) for glob in config.containers)
        return named and container.counts and not any(fnmatchcase(container.name, glob) for glob in config.ignore)

    def facts(self, ts: int, seen: Sequence[tuple[Container, str]]) -> list[Fact]:
        """One sample of each container that is good or bad, in the bucket `ts`, and a segment for each state."""
        found: dict[Series, Ratio] = {}
        for container, word in seen:
            outcome = self.outcome(word)
            if outcome not in ("good", "bad"):
                continue
            labels = labels_of(container.labels)
            for segment in ("", f"status={word}"):
                series = Series("availability", labels, segment=segment)
                found[series] = found.get(series, Ratio()) + Ratio(int(outcome == "good"), 1)
        return [Fact(series, ts, ratio) for series, ratio in found.items()]

    def restart(self, one: Exit, labels: Mapping[str, str], word: str = "") -> Event | None:
        """An end as an event; None where it is no restart. `word` knows better than the exit why it was."""
        cause = word or one.word
        if not cause:
            return None
        said = _CAUSES[cause].format(code=one.code)
        return Event(
            "restart",
            f"{one.id}@{one.nano // 1_000_000}",
            one.nano // SECOND,
            outcome=self.outcome(cause),
            trigger=cause,
            title=f"{labels.get('container', one.id)} {said}",
            labels=labels_of({**labels, "cause": cause, "exit_code": one.code}),
        )

    def deployment(self, new: Container, before: str, word: str, end: int, image: Raw | None) -> Event:
        """A container of another image than the one before it.

        `end`: when it was known how it does, in nanoseconds; `image`: what Docker knows of the new one.
        """
        outcome = self.outcome(word)
        decided = outcome in ("good", "bad")
        created = new.created // SECOND
        return Event(
            "deployment",
            f"{new.who}@{new.id}",
            created,
            ended=max(end // SECOND, created) if decided and end else None,
            outcome=outcome,
            version=new.version,
            commit=new.commit,
            digest=digest_of(new.reference, image),
            title=f"{new.who} runs {new.reference}",
            labels=labels_of(
                {**new.labels, "image_id": short(new.image), "image_before": short(before), "state": word}
            ),
            revision=int(outcome != "open"),
        )


def short(image: str) -> str:
    """An image's id as people write it."""
    return image.removeprefix("sha256:")[:12] if image.startswith("sha256:") else image


def digest_of(reference: str, image: Raw | None) -> str:
    """The digest under which a registry knows an image: of its own repository first; "" for one built here."""
    if "@" in reference:
        return reference.rpartition("@")[2]
    known = [one for one in (image or {}).get("RepoDigests") or () if isinstance(one, str) and "@" in one]
    name, _, last = reference.rpartition("/")
    repository = f"{name}/{last.partition(':')[0]}" if name else last.partition(":")[0]
    known.sort(key=lambda one: not one.startswith(f"{repository}@"))
    return known[0].rpartition("@")[2] if known else ""


def nanos(text: Any) -> int:
    """Nanoseconds since the epoch; 0 for none, which Docker writes as the year 1."""
    if not isinstance(text, str) or not text:
        return 0
    try:
        seconds = times.iso(text)
    except ValueError as error:
        raise Unusable(str(error).rstrip(".")) from None
    fraction = _FRACTION.search(text)
    return seconds * SECOND + int(fraction[1].ljust(9, "0")) if fraction and seconds > _YEAR else _whole(seconds)


def _whole(seconds: int) -> int:
    return seconds * SECOND if seconds > _YEAR else 0


def renewed(events: Iterable[Told]) -> Iterator[tuple[Told, str]]:
    """Containers that were made of another image than the last one of their name, and that image."""
    known: dict[str, str] = {}
    for one in sorted(events, key=lambda event: event.nano):
        if one.action != "create":
            continue
        who = _who(one.given)
        before, now = known.get(who), one.given.get("image", "")
        if before is not None and before != now:
            yield one, before
        known[who] = now


def of_event(one: Told | Exit) -> Container:
    """What an event says of its container."""
    return Container(one.id, one.given.get("name", ""), one.given.get("image", ""), "", "", "", one.nano, None,
                     given=one.given)  # fmt: skip


def _who(given: Mapping[str, str]) -> str:
    return Container("", given.get("name", ""), "", "", "", "", 0, None, given=given).who


def _given(raw: Any) -> dict[str, str]:
    return {str(name): str(value) for name, value in raw.items()} if isinstance(raw, dict) else {}


def _object(raw: Raw, name: str) -> Raw:
    found = raw.get(name)
    if not isinstance(found, dict):
        raise Unusable(f"a container has no {name}")
    return found


def _id(raw: Raw) -> str:
    found = text_of(raw, "Id")[:12]
    if not found:
        raise Unusable("a container has no Id")
    return found
