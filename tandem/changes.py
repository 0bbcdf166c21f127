"""One change from two sources: deployments, rollbacks and promotions that several sources saw, each counted once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tandem.records import Event

NEAR = 900
"""Seconds by which the intervals of one change may miss each other in two sources."""
IDENTITIES = ("digest", "commit", "version")
"""What says what a change is of; the first that both of two state decides."""
SHORTEST = 7
"""Characters that an abbreviated commit must have to stand for the whole."""
Told = tuple[str, str]
"""(source, key)."""


@dataclass(frozen=True)
class Apart:
    """Changes that look like one from two sources and are not."""

    changes: tuple[str, ...]
    author: str = ""
    reason: str = ""

    def __post_init__(self) -> None:
        if len(self.changes) < 2:
            raise ValueError("changes must name at least two objects.")


@dataclass(frozen=True, slots=True)
class Change:
    """One change of one component in one environment; times are epoch seconds.

    `told` names its objects, the source that counts first. `ended` is when all of them had ended. `words` is what it
    is called, for the globs of `Rules.unplanned`.
    """

    component: str
    environment: str
    kind: str
    ts: int
    ended: int | None
    outcome: str
    told: tuple[Told, ...]
    version: str = ""
    commit: str = ""
    digest: str = ""
    run: str = ""
    data_version: str = ""
    title: str = ""
    urls: tuple[str, ...] = ()
    words: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()

    @property
    def running(self) -> int:
        """When it ran in production: its end, where that is known."""
        return self.ended if self.ended is not None else self.ts

    @property
    def name(self) -> str:
        """What it is called in links: "source:key" of the source that counts."""
        return named(*self.told[0])

    @property
    def names(self) -> set[str]:
        """All that it may be called by: key, source:key and address, in any of its sources."""
        return {key for _, key in self.told} | {named(*one) for one in self.told} | set(self.urls) - {""}

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources that saw it."""
        return tuple(dict.fromkeys(source for source, _ in self.told))


def named(source: str, key: str) -> str:
    """How an object is called where sources may share keys."""
    return f"{source}:{key}" if source else key


def same(one: Change | Event, other: Change | Event) -> bool:
    """Whether two are of the same thing: by digest, commit or version, the first that both state."""
    for name in IDENTITIES:
        mine, theirs = getattr(one, name), getattr(other, name)
        if mine and theirs:
            return bool(mine == theirs or (name == "commit" and _abbreviates(mine, theirs)))
    return False


def differs(one: Change | Event, other: Change | Event) -> bool:
    """Whether two both state what they are of, and it is not the same."""
    both = any(getattr(one, name) and getattr(other, name) for name in IDENTITIES)
    return both and not same(one, other)


def _abbreviates(one: str, other: str) -> bool:
    short, long = sorted((one.lower(), other.lower()), key=len)
    return len(short) >= SHORTEST and long.startswith(short)


def groups(
    events: Sequence[tuple[str, Event]], apart: Sequence[Apart] = (), kinds: Sequence[str] = ("deployment", "rollback")
) -> list[list[int]]:
    """The places of events that are one change, in order of time; what is no deployment or rollback stands alone.

    One change: another source, a component in common, the same environment, the same digest, commit or version, and
    intervals that overlap within NEAR.
    """
    order = sorted(range(len(events)), key=lambda i: (events[i][1].ts, events[i][0], events[i][1].key))
    found: list[list[int]] = []
    recent: list[list[int]] = []
    for i in order:
        source, event = events[i]
        if event.kind not in kinds:
            found.append([i])
            continue
        recent = [some for some in recent if max(_end(events[j][1]) for j in some) + NEAR >= event.ts]
        match = next((some for some in recent if _joins(some, source, event, events, apart)), None)
        if match is None:
            match = []
            found.append(match)
            recent.append(match)
        match.append(i)
    return found


def _joins(
    some: Sequence[int], source: str, event: Event, events: Sequence[tuple[str, Event]], apart: Sequence[Apart]
) -> bool:
    for i in some:
        theirs, other = events[i]
        if theirs == source or other.environment != event.environment or not same(event, other):
            return False
        if not set(other.components) & set(event.components) or event.ts > _end(other) + NEAR:
            return False
        if any(_both({event.key, named(source, event.key)}, {other.key, named(theirs, other.key)}, one)
               for one in apart):  # fmt: skip
            return False
    return True


def _both(one: set[str], other: set[str], said: Apart) -> bool:
    return bool(one & set(said.changes) and other & set(said.changes))


def _end(event: Event) -> int:
    return max(event.ts, event.ended or 0, event.ts_latest or 0)


def changes(
    events: Sequence[tuple[str, Event]], rank: Mapping[str, int], apart: Sequence[Apart] = (),
    kinds: Sequence[str] = ("deployment", "rollback"),
) -> list[Change]:  # fmt: skip
    """The changes of each component, oldest first: deployments and rollbacks, those of two sources once.

    `rank` is the order of the sources; the first that knows a result decides outcome, title and address.
    """
    of_component: dict[str, list[tuple[str, Event]]] = {}
    for pair in events:
        for component in pair[1].components:
            of_component.setdefault(component, []).append(pair)
    found: list[Change] = []
    for component, mine in sorted(of_component.items()):
        found += [_change(component, [mine[i] for i in some], rank) for some in groups(mine, apart, kinds)]
    return sorted(found, key=lambda change: (change.ts, change.component, change.told))


def _change(component: str, told: Sequence[tuple[str, Event]], rank: Mapping[str, int]) -> Change:
    ordered = sorted(told, key=lambda pair: (rank.get(pair[0], len(rank)), pair[0], pair[1].key))
    events = [event for _, event in ordered]
    decided = next((event for event in events if event.outcome in ("good", "bad")), events[0])
    ends = [event.ended if event.ended is not None else event.ts_latest for event in events]
    known = [end for end in ends if end is not None]
    labels = tuple(pair for event in events for pair in event.labels)
    return Change(
        component=component, environment=events[0].environment,
        kind="rollback" if any(event.kind == "rollback" for event in events) else events[0].kind,
        ts=min(event.ts for event in events), ended=max(known) if known and decided.outcome != "open" else None,
        outcome=decided.outcome, told=tuple((source, event.key) for source, event in ordered),
        **{name: next((value for event in events if (value := getattr(event, name))), "")
           for name in ("version", "commit", "digest", "run", "data_version", "title")},
        urls=tuple(dict.fromkeys(event.url for event in events if event.url)),
        words=tuple(dict.fromkeys(word for event in events for word in _words(event))), labels=labels,
    )  # fmt: skip


def _words(event: Event) -> list[str]:
    named = dict(event.labels)
    given = (event.title, event.version, event.trigger, named.get("branch", ""), named.get("ref", ""))
    return [word for word in given if word]
