"""Rows that say no time of their own: each keeps the time at which it was first seen, whatever else is forgotten.

What was seen is remembered in the store, as slices: a stretch of rows under the number of its first row, with its
end, its time, and a hash of it. Where rows are no longer what they were, another generation of them has begun.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tandem.connect import Pull
from tandem.records import Slice


@dataclass(frozen=True)
class Stretch:
    """Rows [begin, end) that were first seen at `ts`; `slice` is the name they count under."""

    begin: int
    end: int
    ts: int
    slice: Slice
    is_new: bool


@dataclass(frozen=True)
class Seen:
    """The stretches of one list of rows, and which generation of it they are, counted from 1."""

    stretches: Sequence[Stretch]
    generation: int
    mark: Slice

    @property
    def since(self) -> int:
        """When the first of them was seen."""
        return self.stretches[0].ts

    @property
    def until(self) -> int:
        """When the last of them was seen."""
        return self.stretches[-1].ts

    def name(self, plain: str) -> str:
        """A name of this generation: the first has the plain one."""
        return plain if self.generation == 1 else f"{plain} ({self.generation})"


def seen(pull: Pull, name: str, rows: Sequence[str], ts: int) -> Seen | None:
    """The stretches of `rows`, the new ones first seen at `ts`; None where there is no row."""
    if not rows:
        return None
    told = pull.taken(f"generation:{name}") or "1"
    generation = int(told) if told.isdigit() else 1
    found = list(_known(pull, f"{name}#{generation}", rows))
    done = found[-1].end if found else 0
    if pull.taken(f"{name}#{generation}@{done}") is not None:  # other rows stood there
        generation, found, done = generation + 1, [], 0
    if done < len(rows):
        found.append(_stretch(f"{name}#{generation}", rows, done, len(rows), ts, is_new=True))
    return Seen(found, generation, Slice(f"generation:{name}", str(generation)))


def _known(pull: Pull, name: str, rows: Sequence[str]) -> Iterator[Stretch]:
    begin = 0
    while (told := pull.taken(f"{name}@{begin}")) is not None:
        end, ts = (int(part) for part in told.split(":")[:2])
        stretch = _stretch(name, rows, begin, end, ts, is_new=False)
        if end > len(rows) or stretch.slice.digest != told:
            return
        yield stretch
        begin = end


def _stretch(name: str, rows: Sequence[str], begin: int, end: int, ts: int, *, is_new: bool) -> Stretch:
    digest = hashlib.sha256("\n".join(rows[begin:end]).encode("utf-8", "replace")).hexdigest()[:24]
    return Stretch(begin, end, ts, Slice(f"{name}@{begin}", f"{end}:{ts}:{digest}"), is_new)
