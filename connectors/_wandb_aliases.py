"""Aliases of model versions: W&B keeps no time of their moves, so a move lies between two looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from connectors._wandb_objects import Artifact
from connectors._wandb_server import Listed
from tandem.records import Event, labels_of

_VERSION = re.compile(r"v\d+")
_PAST = 2_000
"""Places of aliases that are remembered."""


@dataclass(frozen=True)
class Move:
    """What one alias did: `since` and `until` enclose it, `mark` tells it from another move to the same version."""

    collection: str
    alias: str
    target: Artifact | None
    before: str
    since: int
    until: int
    mark: int


@dataclass
class Aliases:
    """What the aliases of each collection pointed to at the last look, and when that was seen.

    `began` is the first look of all, `looked` the last one at all versions of a collection, `past` every place at
    which an alias was seen.
    """

    at: dict[str, dict[str, tuple[str, int]]] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)
    looked: dict[str, int] = field(default_factory=dict)
    past: set[tuple[str, str, str]] = field(default_factory=set)
    began: int | None = None

    @staticmethod
    def of(given: Mapping[str, Any]) -> Aliases:
        """From what the state of a pull holds."""
        at = {name: {alias: (str(told[0]), int(told[1])) for alias, told in aliases.items()}
              for name, aliases in given.get("at", {}).items()}  # fmt: skip
        past = {(one[0], one[1], one[2]) for one in given.get("past", ())}
        return Aliases(at, dict(given.get("totals", {})), dict(given.get("looked", {})), past, given.get("began"))

    def plain(self) -> dict[str, Any]:
        """As JSON for the state."""
        return {"at": self.at, "totals": self.totals, "looked": self.looked, "past": sorted(self.past)[-_PAST:],
                "began": self.began}  # fmt: skip

    def look(self, listed: Listed, wanted: Callable[[str], bool], now: int) -> Iterator[Move]:
        """What moved since the last look; from then on this is the last look."""
        here: dict[str, dict[str, Artifact]] = {name: {} for name in listed.totals}
        for version in listed.versions:
            for alias in version.aliases:
                if not _VERSION.fullmatch(alias) and wanted(alias):
                    here[version.collection][alias] = version
        for name in sorted({*here, *self.at}):
            whole = name in listed.whole or name not in listed.totals
            yield from self._moves(name, here.get(name, {}), whole=whole, now=now)
        self.totals = dict(listed.totals)
        self.looked |= dict.fromkeys(listed.whole, now)
        self.began = now if self.began is None else self.began

    def _moves(self, name: str, here: Mapping[str, Artifact], *, whole: bool, now: int) -> Iterator[Move]:
        known = self.at.get(name, {})
        after = {} if whole else dict(known)
        for alias, target in sorted(here.items()):
            before = known.get(alias)
            place = (name, alias, target.version)
            if target.created is None or target.created > now:
                after.update({alias: before} if before else {})  # the next look may know more
                continue
            after[alias] = (target.version, now)
            if before is None or before[0] != target.version:
                seen = before[1] if before else self.looked.get(name, target.created)
                since = min(max(target.created, seen), now)
                mark = target.created if self._is_first(target.created, place) else since
                yield Move(name, alias, target, before[0] if before else "", since, now, mark)
            self.past.add(place)
        for alias, (version, seen) in sorted(known.items()):
            if whole and alias not in here:
                yield Move(name, alias, None, version, min(seen, now), now, min(seen, now))
        self.at[name] = after

    def _is_first(self, created: int, place: tuple[str, str, str]) -> bool:
        """Whether an alias is at a version for the first time: then the move has the key of a first sight.

        So it is the same event after the state was lost.
        """
        return self.began is None or (created >= self.began and place not in self.past)


def promotion(move: Move, where: Mapping[str, str], link: Callable[[Artifact], str]) -> Event:
    """The event of a move, or of an alias that points to nothing any more."""
    target, model = move.target, move.collection
    labels = {**where, "model": model, "alias": move.alias, "from": move.before}
    if target is None:
        return Event(
            "promotion", f"{model}@{move.alias}::{move.mark}", move.since, ts_latest=move.until,
            title=f"{model}: {move.alias} was removed from {move.before}",
            labels=labels_of({**labels, "removed": move.before}), revision=-move.until,
        )  # fmt: skip
    return Event(
        "promotion", f"{model}@{move.alias}:{target.version}:{move.mark}", move.since, ts_latest=move.until,
        version=target.version, run=target.run, digest=target.digest,
        title=f"{model}: {move.alias} is {target.version}", url=link(target), labels=labels_of(labels),
        # Two looks at one move: the tighter interval counts, whichever arrives first.
        revision=-move.until,
    )  # fmt: skip
