"""Hashes of ids, many at a time but never all: beyond a bound they wait on disk, in shares that hold every id whole."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

AT_ONCE = 2_000_000
"""Ids held in memory; of more, one share at a time."""
SHARES = 64
_BITS = np.uint64(58)
_RECORD = np.dtype([("first", "<u8"), ("second", "<u8"), ("row", "<i8"), ("file", "<i4")])


@dataclass
class Share:
    """Two hashes of an id, its row, and its file, in file and row order."""

    first: Array
    second: Array
    row: Array
    file: Array


@dataclass
class Hashes:
    """The hashes of some files; no id is kept, and what is on disk has no name there."""

    pieces: list[Share] = field(default_factory=list)
    waiting: int = 0
    _disk: list[Any] = field(default_factory=list)
    _open: ExitStack = field(default_factory=ExitStack)

    def add(self, first: Array, second: Array, row: Array, file: int) -> None:
        """More ids of one file, whose rows come in order; raises OSError where the disk is full."""
        self.pieces.append(Share(first, second, row, np.full(row.size, file, np.int32)))
        self.waiting += row.size
        if self.waiting > AT_ONCE:
            self.spill()

    def spill(self) -> None:
        """Put what is in memory on disk; raises OSError where it is full."""
        if not self._disk:
            self._disk = [self._open.enter_context(tempfile.TemporaryFile()) for _ in range(SHARES)]  # noqa: SIM115 (closed by close)
        for piece in self.pieces:
            self._put(piece)
        self.pieces, self.waiting = [], 0

    def _put(self, piece: Share) -> None:
        of = (piece.first >> _BITS).astype(np.uint8)
        order = np.argsort(of, kind="stable")
        records = np.empty(of.size, _RECORD)
        for name in ("first", "second", "row", "file"):
            records[name] = getattr(piece, name)[order]
        ends = np.cumsum(np.bincount(of, minlength=SHARES)).tolist()
        begin = 0
        for file, end in zip(self._disk, ends, strict=True):
            file.write(records[begin:end].view(np.uint8).data)
            begin = end

    @property
    def on_disk(self) -> bool:
        """Whether there is more than fits into memory."""
        return bool(self._disk)

    def share(self, number: int) -> Share:
        """One share of SHARES; where all is in memory, all of it is the first."""
        if not self._disk:
            return _stacked(self.pieces if number == 0 else [])
        file = self._disk[number]
        size = file.tell()
        file.seek(0)
        records = np.frombuffer(file.read(size), _RECORD)
        return Share(*(np.ascontiguousarray(records[name]) for name in ("first", "second", "row", "file")))

    def close(self) -> None:
        """Let all of it go."""
        self.pieces = []
        self._disk = []
        self._open.close()


def _stacked(pieces: list[Share]) -> Share:
    empty = Share(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int32))
    if not pieces:
        return empty
    return Share(*(np.concatenate([getattr(one, name) for one in pieces]) for name in vars(empty)))
