"""What is known of the files of one run, and what later files of it make void."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._tfevents import Logged
from tandem.records import Sample


@dataclass
class Entry:
    """What is known of a file: how far it was read, and what it holds up to there."""

    offset: int = 0
    stamp: str = ""
    mark: int = 0
    first: float = 0.0
    last: float = 0.0
    low: int | None = None
    high: int | None = None
    status: str = ""

    @classmethod
    def of(cls, told: Any) -> Entry:
        return cls(*told) if isinstance(told, list) else cls()

    def plain(self) -> list[Any]:
        return [self.offset, self.stamp, self.mark, self.first, self.last, self.low, self.high, self.status]

    def saw(self, logged: Logged, at: float) -> None:
        self.first = self.first or at
        self.last = max(self.last, at)
        if logged.scalars:
            self.low = logged.step if self.low is None else min(self.low, logged.step)
            self.high = logged.step if self.high is None else max(self.high, logged.step)


@dataclass
class Void:
    """What later files of a run have begun anew: the first step of each tag, and when the earliest of them began."""

    since: float = float("inf")
    steps: dict[str, int] = field(default_factory=dict)
    every: int | None = None

    def holds(self, tag: str, step: int, at: float) -> bool:
        """Whether a value counts no more."""
        floor = self.steps.get(tag, step + 1)
        return at < self.since and step >= (floor if self.every is None else min(floor, self.every))

    def reaches(self, entry: Entry) -> bool:
        """Whether anything in a file may be void."""
        floors = [*self.steps.values(), *(() if self.every is None else (self.every,))]
        return bool(floors) and entry.high is not None and min(floors) <= entry.high and entry.first < self.since


@dataclass
class Thinning:
    """Of one tag of one file the first `most` values, then every second, every fourth, and the last of all."""

    most: int
    counts: dict[str, int] = field(default_factory=dict)
    held: dict[str, Sample] = field(default_factory=dict)
    left_out: int = 0

    def keeps(self, tag: str, sample: Sample) -> bool:
        """Whether a value is told now."""
        count = self.counts.get(tag, 0)
        self.counts[tag] = count + 1
        if count < self.most or count % (1 << (count // self.most).bit_length()) == 0:
            self.held.pop(tag, None)
            return True
        self.left_out += 1
        self.held[tag] = sample
        return False


def attempts(entries: Sequence[Entry]) -> list[list[Entry]]:
    """The files of a run by attempt: one that begins after all before it, at a step that was reached, is another."""
    found: list[list[Entry]] = []
    for entry in sorted(entries, key=lambda one: one.first):
        before = [one.high for one in found[-1] if one.high is not None] if found else []
        follows = bool(found) and entry.first >= max(one.last for one in found[-1])
        if not found or (follows and before and entry.low is not None and entry.low <= max(before)):
            found.append([])
        found[-1].append(entry)
    return found
