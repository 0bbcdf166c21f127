"""One look at what is now, as it was saved to a file that says no time."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

from connectors._said import Said
from tandem.connect import Item
from tandem.records import Event, Fact, Page, Slice

_PIECE = 1000


def time_of_look(item: Item) -> int:
    """When it was taken: --at, else when the file was changed last."""
    return item.given.at if item.given.at is not None else item.modified


def pages_of_look(
    item: Item, said: Said, seen: object, events: Sequence[Event], facts: Sequence[Fact]
) -> Iterator[Page]:
    """The events, and the facts of what was `seen` as a slice: the same look counts once, whatever its file's name."""
    if item.given.at is None:
        said.remark("the file says no time; when it was changed last is taken, or give --at")
    for begin in range(0, len(events), _PIECE):
        yield Page(events[begin : begin + _PIECE], covered=())
    name = hashlib.sha256(repr(seen).encode()).hexdigest()
    piece = Slice(f"file:{name}", str(time_of_look(item))) if facts else None
    yield Page(facts, covered=(), slice=piece, findings=said.findings(item.name))
