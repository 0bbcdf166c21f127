"""Docker: how the containers of one machine are doing, when they end and begin again, and when their image changes.

Docker answers for the present and remembers its last 256 events. One pull is one look, a slice named after its tick.
What happened since the look before is told by the events, as far as they reach back, and otherwise by what
StartedAt, FinishedAt and RestartCount of a container prove.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from connectors import _http
from connectors._docker import (
    SECOND,
    STATUS,
    Container,
    Exit,
    Told,
    Words,
    container_of,
    exits,
    inspected,
    listed,
    of_event,
    renewed,
    told,
)
from connectors._fields import Unusable
from connectors._files import documents
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Covered, Event, Gap, Page, Slice, bucket_of, labels_of

REMEMBERED = 256
"""Events that Docker keeps; every health check costs three of them."""
KNOWN = 4000
"""Containers and names that are remembered; forgetting costs requests."""
_UNSETTLED = 2 * SECOND
"""An end so near to the look may still lack its event; the next look tells it."""
_PIECE = 1000
_MARKS = (
    (rb'"RestartCount"\s*:', rb'"StartedAt"\s*:', rb'"Config"\s*:'),
    (rb'"Actor"\s*:\s*\{', rb'"timeNano"\s*:\s*\d', rb'"Type"\s*:'),
    (rb'"ImageID"\s*:', rb'"Names"\s*:\s*\[', rb'"Status"\s*:'),
)

ABOUT = About(
    reads="Health of the containers of one Docker engine, their restarts and changes of image.",
    signals=("availability", "deploy_success", "deploy_duration"),
    events=("restart", "deployment"),
    labels={
        "container": "the name of the container",
        "image": "the image as it was asked for, such as shop/checkout:1.4",
        "service": "the service of Compose or Swarm",
        "project": "the project of Compose, the stack of Swarm",
        "cause": "of restarts: oom, crash, restarted (by its policy), finished (code 0), asked",
    },
    files=(
        "docker inspect $(docker ps -aq), or the answer of /containers/json (availability; its time is --at)",
        "docker events --since 24h --until 0s --format '{{json .}}' (restarts, changes of the image's name)",
    ),
    limits=(
        "Only the present can be looked at: each tick is one sample per container, one without a look less coverage.",
        "Docker remembers 256 events, and each health check costs three of them.",
        "What happened before them is told by StartedAt, FinishedAt and RestartCount alone; that time is a gap.",
        "Restarts whose times are lost are one event that says how many there were, between two looks.",
        "A container that failed is bad until it is removed or started; name it in `ignore` if it may.",
        "A deployment is a newer container of another image under the same name or service; the first is only learnt.",
        "Without a health check a container that runs is good, and a deployment has succeeded when it runs.",
        "Who may open Docker's socket may do anything there: a proxy that passes only GET is the safer url.",
        "A container that was made and removed between two looks is seen in events only.",
    ),
    status=STATUS,
    once=("restart", "deployment"),
    polled=True,
    side="system",
    example="""\
connector = "docker"
name = "host-1"
url = "unix:///var/run/docker.sock"      # or "https://host-1:2376" with certificate and key, or "file:exports/docker"
# containers = ["shop-*"]                # names that count; left out: all but `ignore`
# ignore = ["*-migrate"]
  [[source.map]]
  component = "checkout-api"
  match = { service = "checkout" }
""",
)


@dataclass(frozen=True)
class Config:
    """One Docker engine."""

    common: Common
    url: str = setting(
        'The socket as unix:///PATH, the address as https:// or http://, or "file:DIR".',
        default="unix:///var/run/docker.sock",
        example="unix:///var/run/docker.sock",
    )
    certificate: Path | None = setting(
        "The client certificate of an engine that asks for one.", default=None, example="docker/cert.pem"
    )
    key: Path | None = setting("The key of that certificate.", default=None, example="docker/key.pem")
    containers: tuple[str, ...] = setting(
        "Globs of the names of containers that count.", default=(), example=("shop-*",)
    )
    ignore: tuple[str, ...] = setting(
        "Globs of the names of containers that never count.", default=(), example=("*-migrate",)
    )


def scope(config: Config) -> str:
    """The socket or the address."""
    return config.url.rstrip("/")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """One look at all containers and at the events since the last; nothing where this tick was looked at before."""
    identity = _identity(config)
    every = config.common.every
    tick = pull.now // every * every
    if pull.taken(f"poll:{tick}") is not None:
        yield Page(covered=())
        return
    with _http.open_client(config, config.url, identity=identity) as client:
        yield _Look(config, pull, client, tick, _Memory.of(pull.state)).page()


def _identity(config: Config) -> tuple[Path, Path] | None:
    if (config.certificate is None) != (config.key is None):
        raise SourceRefused(f"{config.common.name} has only one of certificate and key; give both or none.")
    for path in (config.certificate, config.key):
        if path is not None and not path.is_file():
            raise SourceRefused(f"{path} is not there or cannot be read; check certificate and key.")
    return (config.certificate, config.key) if config.certificate and config.key else None


@dataclass
class _Seen:
    """What is remembered of one container; ends up to `counted` (nanoseconds) were told."""

    row: list[str]
    word: str
    reference: str
    restarts: int = 0
    counted: int = 0
    asked: bool = False


@dataclass
class _Memory:
    """What one look leaves for the next; losing it costs requests, and restarts that no event tells."""

    until: int = 0
    looked: int = 0
    newest: int = 0
    containers: dict[str, _Seen] = field(default_factory=dict)
    images: dict[str, list[Any]] = field(default_factory=dict)
    """The newest image of each name or service, and when its container was made (nanoseconds)."""

    @classmethod
    def of(cls, state: Any) -> _Memory:
        if not isinstance(state, dict) or state.get("version") != 1:
            return cls()
        known = {key: _Seen(*row) for key, row in state["containers"].items()}
        return cls(state["until"], state["looked"], state["newest"], known, dict(state["images"]))

    def plain(self) -> dict[str, Any]:
        """The same as JSON."""
        rows = {key: [one.row, one.word, one.reference, one.restarts, one.counted, one.asked]
                for key, one in list(self.containers.items())[-KNOWN:]}  # fmt: skip
        images = dict(sorted(self.images.items(), key=lambda pair: int(pair[1][1]))[-KNOWN:])
        return {"version": 1, "until": self.until, "looked": self.looked, "newest": self.newest,
                "containers": rows, "images": images}  # fmt: skip


@dataclass
class _Look:
    """One look."""

    config: Config
    pull: Pull
    client: _http.Client
    tick: int
    memory: _Memory
    words: Words = field(init=False)
    whole: bool = False
    """Whether the events reach back to the look before."""
    events: list[Told] = field(default_factory=list)
    ended: list[Exit] = field(default_factory=list)
    asked: set[str] = field(default_factory=set)
    oldest: int = 0

    def __post_init__(self) -> None:
        self.words = Words(self.config)

    def page(self) -> Page:
        self._happened()
        rows = self._rows()
        seen: list[tuple[Container, str]] = []
        records: list[Any] = []
        known: dict[str, _Seen] = {}
        for number, row in enumerate(rows):
            self.pull.progress(f"{number} of {len(rows)} containers", number / max(1, len(rows)))
            container, memory = self._container(row)
            if container is None:
                continue
            records += self._restarts(container, memory)
            known[container.id] = memory
            seen.append((container, memory.word))
        records += self._removed({row.id for row in rows})
        records += self._deployments(seen)
        facts = self.words.facts(bucket_of(self.tick), seen)
        gaps = self._gaps()
        every = self.config.common.every
        state = _Memory(self.tick + every, self.pull.until, self.memory.newest, known, self.memory.images)
        return Page(
            [*facts, *records],
            state.plain(),
            covered=[Covered(self.tick, self.tick + every)],
            gaps=gaps,
            slice=Slice(f"poll:{self.tick}", "1"),
            findings=self.words.findings(self.config.common.name),
        )

    # -- what Docker remembers

    def _happened(self) -> None:
        """The events since the look before: that one's newest comes again where nothing was forgotten."""
        newest = self.memory.newest
        since = f"{newest // SECOND}.{newest % SECOND:09d}" if newest else str(max(0, self.pull.since))
        asked = {"since": since, "until": str(self.pull.until)}
        rows = self.client.get("/events", asked, json="lines").data
        nanos = [one["timeNano"] for one in rows if isinstance(one, dict) and isinstance(one.get("timeNano"), int)]
        if len(nanos) != len(rows):
            raise SourceRefused("/events holds something that is no event; check that url is a Docker engine.")
        self.whole = bool(newest) and newest in nanos
        self.oldest = min(nanos, default=0)
        found = [one for raw in rows if (one := told(raw)) and newest < one.nano < self.pull.until * SECOND]
        self.events = found
        kept = [nano for nano in nanos if nano < self.pull.until * SECOND]
        self.memory.newest = max([newest, *kept])
        self.ended, self.asked = exits(found, [key for key, one in self.memory.containers.items() if one.asked])

    def _rows(self) -> list[Container]:
        rows = self.client.get("/containers/json", {"all": "1"}).data
        if not isinstance(rows, list):
            raise SourceRefused("/containers/json is no list; check that url is a Docker engine.")
        found = []
        for raw in rows:
            try:
                found.append(listed(raw if isinstance(raw, dict) else {}))
            except Unusable as error:
                self.words.reject(str(error))
        return [one for one in found if self.words.wanted(one)]

    def _container(self, row: Container) -> tuple[Container | None, _Seen]:
        """A container with all that is known of it: asked for again only where something may have changed."""
        before = self.memory.containers.get(row.id)
        mark = [row.state, row.health, row.image]
        told_of = any(one.id == row.id for one in self.events)
        if before is not None and self.whole and not told_of and before.row == mark and not self.pull.sweep:
            return replace(row, reference=before.reference), replace(before)
        reply = self.client.get(f"/containers/{row.id}/json", accept=(200, 404))
        if reply.status == 404 or not isinstance(reply.data, dict):
            return None, _Seen(mark, "", "")
        try:
            full = inspected(reply.data)
        except Unusable as error:
            self.words.reject(str(error))
            return None, _Seen(mark, "", "")
        # Who was told to end and runs was started since, by an event that is lost.
        asked = row.id in self.asked and (self.whole or full.state != "running")
        counted = before.counted if before else 0
        return full, _Seen(mark, full.word(asked), full.reference, full.restarts, counted, asked)

    # -- restarts

    def _restarts(self, container: Container, memory: _Seen) -> list[Event]:
        """The ends of one container since the look before, told by events or else proved by its own times."""
        before = self.memory.containers.get(container.id)
        known = self.pull.first or before is not None or container.created > self.memory.looked * SECOND > 0
        ended = [one for one in self.ended if one.id == container.id and one.nano > memory.counted]
        memory.counted = max([memory.counted, *(one.nano for one in ended)])
        found = [event for one in ended if (event := self.words.restart(one, container.labels))]
        if self.whole or not known:
            return found
        grew = container.restarts > (before.restarts if before else 0)
        proved = self._proved(container, memory)
        if proved is not None:
            # Its event, if it should still come, is nearer than any other end can be.
            memory.counted = proved.nano + _UNSETTLED
            event = self.words.restart(proved, container.labels, _cause(container, grew=grew))
            found += [event] if event else []
            ended.append(proved)
        return found + self._lost(container, before, ended)

    def _proved(self, container: Container, memory: _Seen) -> Exit | None:
        """The last end, where it lies behind every event and behind the look before."""
        end = container.finished
        settled = self.pull.until * SECOND - _UNSETTLED
        if not max(memory.counted, self._since()) < end < settled:
            return None
        asked = memory.asked or container.word() == "stopped"
        return Exit(container.id, end, container.code, container.oom, asked, container.started > end)

    def _since(self) -> int:
        """From when on an end may not have been told yet, in nanoseconds."""
        return self.memory.looked * SECOND - _UNSETTLED if self.memory.looked else self.pull.since * SECOND

    def _lost(self, container: Container, before: _Seen | None, ended: Sequence[Exit]) -> list[Event]:
        """Restarts that only the count proves: one event that says how many, between the two looks."""
        had = before.restarts if before and before.restarts <= container.restarts else 0
        by_policy = [one for one in ended if not one.asked]
        # The end after which a container stays down is none that its policy answered.
        final = container.state == "exited" and bool(by_policy) and by_policy[-1] is ended[-1]
        missing = container.restarts - had - len(by_policy) + final
        if missing <= 0:
            return []
        earliest = max(self.memory.looked or self.pull.since, container.created // SECOND)
        latest = min(container.finished // SECOND or self.pull.until, self.pull.until - 1)
        cause = "crash" if container.policy == "on-failure" else "restarted"
        times = "once" if missing == 1 else f"{missing} times"
        return [
            Event(
                "restart",
                f"{container.id}#{container.restarts}@{earliest}",
                earliest,
                ts_latest=latest if latest > earliest else None,
                outcome=self.words.outcome(cause),
                trigger=cause,
                title=f"{container.name} was started again {times} by its restart policy",
                labels=labels_of({**container.labels, "cause": cause, "restarts": missing}),
            )
        ]

    def _removed(self, now: set[str]) -> Iterator[Event]:
        """Ends of containers that are gone already."""
        for one in self.ended:
            container = of_event(one)
            if one.id not in now and self.words.wanted(container):
                event = self.words.restart(one, container.labels)
                if event:
                    yield event

    # -- changes of image

    def _deployments(self, seen: Sequence[tuple[Container, str]]) -> Iterator[Event]:
        first = not self.memory.looked
        made = sorted((pair for pair in seen if pair[1] != "created"), key=lambda pair: pair[0].created)
        for container, word in made:
            image, created = self.memory.images.get(container.who, ["", 0])
            if container.created <= created:
                continue
            self.memory.images[container.who] = [container.image, container.created]
            if image and image != container.image and not first:
                reply = self.client.get(f"/images/{container.image}/json", accept=(200, 404))
                known = reply.data if reply.status == 200 and isinstance(reply.data, dict) else None
                yield self.words.deployment(container, image, word, self._end(container, word), known)
        by_id = {container.id: (container, word) for container, word in seen}
        for event in self.pull.open:
            if event.kind == "deployment":
                yield from self._decided(event, by_id.get(event.key.rpartition("@")[2]))

    def _decided(self, event: Event, now: tuple[Container, str] | None) -> Iterator[Event]:
        """What became of a deployment that was under way."""
        if now is None:
            self.words.remark("a container was removed before it was known to be well; its deployment is excluded")
            yield replace(event, outcome="excluded", revision=1)
            return
        container, word = now
        outcome = self.words.outcome(word)
        if outcome == "open":
            return
        end = self._end(container, word) // SECOND if outcome != "excluded" else 0
        labels = {**dict(event.labels), "state": word}
        yield replace(
            event, outcome=outcome, ended=max(end, event.ts) if end else None, labels=labels_of(labels), revision=1
        )

    def _end(self, container: Container, word: str) -> int:
        """When it was known how a new container does, in nanoseconds; 0 where nothing tells."""
        if word in ("running", "failed"):
            return container.started if word == "running" else container.finished
        healths = [one for one in self.events if one.id == container.id and one.action == "health_status"]
        return next((one.nano for one in healths if one.value == word), 0)

    # -- what was not seen

    def _gaps(self) -> list[Gap]:
        found = []
        until = self.memory.until
        if until and self.tick > until:
            reason = "nothing was looked at: Tandem was not running, or was late"
            found.append(Gap(until, self.tick, reason, signal="availability"))
        since = self.memory.looked or self.pull.since
        oldest = min(self.oldest // SECOND if self.oldest else self.pull.until, self.pull.until)
        if not self.whole and oldest > since:
            reason = f"Docker remembers its last {REMEMBERED} events; what was before is told by counts and times alone"
            found.append(Gap(since, oldest, reason, signal="deploy_success"))
        return found


def _cause(container: Container, *, grew: bool) -> str:
    """Why a container that runs again had ended, its events being lost; "" where it keeps its code."""
    if container.started <= container.finished:
        return ""
    if not grew:
        return "started"  # its count begins anew when somebody starts it
    return "crash" if container.policy == "on-failure" else "restarted"


# -- saved answers


def recognise(item: Item) -> bool:
    """Containers of `docker inspect` or of the API, and events as JSON lines."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(all(re.search(mark, head) for mark in marks) for marks in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The containers or the events of one file."""
    words = Words(config)
    containers: list[Container] = []
    events: list[Told] = []
    for raw in _flat(documents(item)):
        try:
            if isinstance(raw, dict) and ("Actor" in raw or "timeNano" in raw):
                one = told(raw)
                events += [one] if one else []
            else:
                containers.append(container_of(raw))
        except Unusable as error:
            words.reject(str(error))
    found = _of_file(words, events)
    for begin in range(0, len(found), _PIECE):
        yield Page(found[begin : begin + _PIECE], covered=())
    yield _sampled(item, words, containers)


def _flat(given: Iterator[Any]) -> Iterator[Any]:
    for one in given:
        if isinstance(one, list):
            yield from one
        else:
            yield one


def _of_file(words: Words, events: Sequence[Told]) -> list[Event]:
    found = [words.restart(one, of_event(one).labels) for one in exits(events)[0] if words.wanted(of_event(one))]
    started = {one.id: one.nano for one in reversed(events) if one.action == "start"}
    for one, before in renewed(events):
        new = replace(of_event(one), started=started.get(one.id, 0))
        if words.wanted(new):
            word = "running" if new.started else "created"
            found.append(words.deployment(new, before, word, new.started, None))
    return sorted((one for one in found if one), key=lambda event: (event.ts, event.kind, event.key))


def _sampled(item: Item, words: Words, containers: Sequence[Container]) -> Page:
    """The samples of one saved look; its time is --at, else when the file was changed last."""
    wanted = [(one, one.word()) for one in containers if words.wanted(one)]
    if not wanted:
        return Page(covered=(), findings=words.findings(item.name))
    at = item.given.at
    if at is None:
        at = item.modified
        words.remark("the file says no time; when it was changed last is taken, or give --at")
    name = hashlib.sha256(repr(wanted).encode()).hexdigest()
    facts = words.facts(bucket_of(at), wanted)
    return Page(facts, covered=(), slice=Slice(f"file:{name}", str(at)), findings=words.findings(item.name))
