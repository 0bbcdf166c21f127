"""What MLflow keeps no time of: the moves of aliases and the tags of validation, by what changed between two looks.

A delivered webhook says the second. It is told under the key of the change that was seen from outside, so both are one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors._mlflow_deliveries import Change
from connectors._mlflow_objects import Run, Version
from connectors._mlflow_telling import Registry, Seen, Writer, matches, seconds
from tandem.records import DAY, Event

KEPT = 31 * DAY
"""How long a change is remembered that a delivery may yet explain; deliveries are read for a day less."""
_REMEMBERED = 10_000
"""Runs whose newest metrics are remembered; with their ids this stays below 1 MiB."""
_MOVES = 2_000
_SKEW = 60
"""Seconds that the clocks of the server and of this machine may be apart."""


@dataclass(frozen=True)
class State:
    """What is remembered between two pulls; `polled`, the last look, is None before the first.

    `began` is the first look, `past` has every version that an alias was seen at since, `told` the values that a tag
    of validation had, the last one being that of now. `moves` are the changes that were seen lately.
    """

    polled: int | None = None
    began: int | None = None
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    past: frozenset[tuple[str, str, str]] = frozenset()
    runs: Mapping[str, str] = field(default_factory=dict)
    told: Mapping[str, Sequence[str]] = field(default_factory=dict)
    moves: tuple[Move, ...] = ()

    @staticmethod
    def of(given: Any) -> State:
        """The state as it comes back; none where it is of another form."""
        if not isinstance(given, dict) or given.get("form") != 1:
            return State()
        past = frozenset((model, alias, version) for model, alias, version in given["past"])
        moves = tuple(Move(*one) for one in given.get("moves", ()))
        return State(given["polled"], given["began"], given["aliases"], past, given["runs"], given.get("told", {}),
                     moves)  # fmt: skip

    def json(self) -> dict[str, Any]:
        """What the next pull gets."""
        latest = dict(list(self.runs.items())[-_REMEMBERED:])
        moves = [[m.kind, m.model, m.what, m.value, m.before, m.since, m.until, m.mark] for m in self.moves[-_MOVES:]]
        return {"form": 1, "polled": self.polled, "began": self.began, "aliases": self.aliases,
                "past": sorted(self.past), "runs": latest, "told": self.told, "moves": moves}  # fmt: skip


@dataclass(frozen=True)
class Move:
    """A change that was seen: an alias ("alias", its name, the version; "" where it was removed), or a tag of a
    version ("tag", "VERSION:KEY", its value).
    """

    kind: str
    model: str
    what: str
    value: str
    before: str
    since: int
    until: int
    mark: str
    exact: int | None = None
    """Its second, where a delivery says it; `since` and `until` are what was seen from outside."""

    @property
    def seen(self) -> Seen:
        """When it was: the tighter of two intervals counts, and a second before any."""
        if self.exact is None:
            return Seen(self.since, self.until, self.before, self.mark, -self.until)
        return Seen(self.exact, self.exact, self.before, self.mark, -min(self.since, self.exact))

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What a delivery must say to be of this change."""
        return self.kind, self.model, self.what, self.value


def changes(
    writer: Writer, state: State, runs: Mapping[str, Run], now: int, delivered: Sequence[Change] = ()
) -> tuple[list[Event], State]:
    """What aliases and tags did since the last look, or when a delivery says it, and the state after this look."""
    moved, current = _moves(writer, state, now)
    tagged, told = _tags(writer, state, now)
    at = frozenset((model, alias, version) for model, here in current.items() for alias, version in here.items())
    fresh = [*moved, *_removals(writer, state, now), *tagged]
    kept = tuple(move for move in (*state.moves, *fresh) if move.until >= now - KEPT)
    exact = list(_exact(delivered, kept, now, all_of_them=state.polled is None))
    known = {(move.place, move.mark) for move in exact}
    events = [event for move in (*(one for one in fresh if (one.place, one.mark) not in known), *exact)
              if (event := _event(writer, move, runs)) is not None]  # fmt: skip
    began = now if state.began is None else state.began
    return events, State(now, began, current, state.past | at, state.runs, told, kept)


def events_of(writer: Writer, delivered: Sequence[Change]) -> list[Event]:
    """The events of deliveries alone."""
    moves = _exact(delivered, (), 0, all_of_them=True)
    return [event for move in moves if (event := _event(writer, move, {})) is not None]


def _exact(delivered: Sequence[Change], moves: Sequence[Move], now: int, *, all_of_them: bool) -> Iterator[Move]:
    """Deliveries as changes of a known second; one within a change that was seen is that change."""
    before: dict[tuple[str, str, str], str] = {}
    found: list[Move] = []
    taken: dict[tuple[tuple[str, str, str, str], str], int] = {}
    for one in sorted(delivered, key=lambda change: change.at):
        place = (one.kind, one.model, one.what)
        mark = f"{one.at}" if one.kind == "alias" else f"@{one.at}"
        move = Move(*place, one.value, before.get(place, ""), one.at, one.at, mark, one.at)
        before[place] = one.value
        if not all_of_them and one.at < now - KEPT + DAY:
            continue
        known = [seen for seen in moves if seen.place == move.place
                 and seen.since - _SKEW <= one.at <= seen.until + _SKEW]  # fmt: skip
        if known:
            key = known[-1].place, known[-1].mark
            if key in taken:  # it came there twice between two looks: the last time is what was seen
                earlier = found[taken[key]]
                found[taken[key]] = replace(earlier, mark=mark.replace(f"{one.at}", f"{earlier.exact}"))
            taken[key] = len(found)
            move = replace(known[-1], exact=one.at, before=move.before or known[-1].before)
        found.append(move)
    yield from found


def _event(writer: Writer, move: Move, runs: Mapping[str, Run]) -> Event | None:
    seen = move.seen
    if move.kind == "alias" and not move.value:
        return writer.removal(move.model, move.what, seen)
    number, _, tag = move.what.partition(":")
    version = move.value if move.kind == "alias" else number
    target = writer.registry.versions.get((move.model, version))
    target = target or Version(move.model, version, None, None, "", "", "")
    run = runs.get(target.run)
    if move.kind == "alias":
        return writer.promotion(move.what, target, run, seen)
    return writer.validation(tag, move.value, target, run, seen)


def _moves(writer: Writer, state: State, now: int) -> tuple[list[Move], dict[str, dict[str, str]]]:
    found: list[Move] = []
    current: dict[str, dict[str, str]] = {}
    for model in writer.registry.models:
        before = state.aliases.get(model.name, {})
        here: dict[str, str] = {}
        current[model.name] = here
        for alias, version in sorted(model.aliases.items()):
            target = writer.registry.versions.get((model.name, version))
            created = seconds(target.created) if target else None
            if target is None or created is None:
                # It was made between two requests: the next look has both.
                here.update({alias: before[alias]} if alias in before else {})
                continue
            here[alias] = version
            if before.get(alias) != version:
                since = max(created, state.polled or created)
                until = now if model.settled is None else -(-model.settled // 1000)
                mark = created if _is_first(state, created, (model.name, alias, version)) else since
                found.append(Move("alias", model.name, alias, version, before.get(alias, ""), since, max(since, until),
                                  f"{mark}"))  # fmt: skip
    return found, current


def _is_first(state: State, created: int, place: tuple[str, str, str]) -> bool:
    """Whether an alias is at a version for the first time: then the event has the key of a first sight.

    So a promotion that was seen to happen is the same event for an import, and after the state was lost.
    """
    return state.began is None or (created >= state.began and place not in state.past)


def _removals(writer: Writer, state: State, now: int) -> list[Move]:
    present = {(model.name, alias) for model in writer.registry.models for alias in model.aliases}
    since = now if state.polled is None else min(state.polled, now)
    return [
        Move("alias", model, alias, "", version, since, now, f"{since}")
        for model, aliases in state.aliases.items()
        for alias, version in sorted(aliases.items())
        if (model, alias) not in present
    ]


def _tags(writer: Writer, state: State, now: int) -> tuple[list[Move], dict[str, Sequence[str]]]:
    """The tags of validation that have another value than at the last look; one that is gone says nothing."""
    found: list[Move] = []
    told: dict[str, Sequence[str]] = {}
    for version in _by_age(writer.registry):
        created = seconds(version.created)
        for key, value in sorted(version.tags.items()):
            if created is None or not matches(key, writer.config.validation):
                continue
            place = f"{version.model}/{version.version}:{key}"
            known = state.told.get(place, ())
            told[place] = known if known and known[-1] == value else (*known, value)
            if told[place] is known:
                continue
            earlier = list(known).count(value)
            since = max(created, state.polled or created)
            found.append(Move("tag", version.model, f"{version.version}:{key}", value, known[-1] if known else "",
                              since, max(since, now), f":{earlier + 1}" if earlier else ""))  # fmt: skip
    return found, told


def _by_age(registry: Registry) -> list[Version]:
    return sorted(registry.versions.values(), key=lambda v: (v.created or 0, v.model, v.version))
