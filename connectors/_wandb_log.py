"""The `.wandb` file of a run: a log in blocks with check sums, and what its records say.

Blocks of 32 KiB hold fragments with a CRC-32 of their type and bytes, as in LevelDB's log; a record is one fragment
or several. Behind a wrong sum the rest of its block is given up and reading goes on with the next. Field numbers are
those of W&B's wandb_internal.proto.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from connectors._json import BadJson, BrokenJson, strict
from connectors._protobuf import BYTES, FIXED64, VARINT, BadMessage, double, fields, signed
from connectors._wandb_objects import Artifact, Row, Run, moment_of, row_of
from tandem.connect import SourceRefused

MAGIC = b":W&B"
FORM = b":W&B\xe1\xbe\x00"
"""Ident, magic number and version: what every file begins with."""
BLOCK = 32_768
LARGEST = 64 << 20
"""Most bytes of a record that is read; a larger one is passed over."""
_HEAD = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
Place = tuple[int, int]


@dataclass
class Damage:
    """What of a file could not be read: `cut` is a last record that is not whole, `wrong` are broken places."""

    cut: bool = False
    wrong: list[str] = field(default_factory=list)


def records(opened: BinaryIO, name: str, damage: Damage) -> Iterator[bytes]:
    """The whole records of a file; raises SourceRefused for one that is of another form."""
    begin = _exactly(opened, len(FORM))
    if begin != FORM[: len(begin)]:
        raise SourceRefused(f"{name} is no .wandb file that can be read; sync it with the wandb that wrote it.")
    at, pieces = len(begin), Pieces(damage)
    while block := _exactly(opened, BLOCK - at % BLOCK):
        yield from _fragments(block, at, pieces)
        at += len(block)
    damage.cut = damage.cut or pieces.open


@dataclass
class Pieces:
    """Puts the fragments of records together."""

    damage: Damage
    held: list[bytes] = field(default_factory=list)
    open: bool = False
    size: int = 0

    def add(self, kind: int, data: bytes, at: int) -> bytes | None:
        """The record that a fragment completes."""
        if kind in (_FULL, _FIRST):
            if self.open:
                self.damage.wrong.append(f"a record without its end before byte {at:,}")
            self.held, self.size, self.open = [], 0, kind == _FIRST
        elif not self.open:
            return None  # its beginning was given up, and counted then
        self.size += len(data)
        if self.size <= LARGEST:
            self.held.append(data)
        if kind not in (_FULL, _LAST):
            return None
        self.open = False
        if self.size > LARGEST:
            self.damage.wrong.append(f"a record of more than {LARGEST >> 20} MB before byte {at:,}")
            return None
        return b"".join(self.held)

    def drop(self, why: str) -> None:
        """Give up the record that is being put together."""
        self.damage.wrong.append(why)
        self.open = False


def _fragments(block: bytes, at: int, pieces: Pieces) -> Iterator[bytes]:
    """The records that end in a block, of which fewer bytes may be there than it should have."""
    place = 0
    is_last = (at + len(block)) % BLOCK != 0
    while place + _HEAD.size <= len(block):
        said, size, kind = _HEAD.unpack_from(block, place)
        if kind == 0 and size == 0:
            return  # room for more, not written yet
        data = block[place + _HEAD.size : place + _HEAD.size + size]
        if len(data) < size and is_last and _FULL <= kind <= _LAST:
            pieces.damage.cut = True
            return
        if len(data) < size or zlib.crc32(data, zlib.crc32(bytes([kind]))) != said:
            pieces.drop(f"a wrong check sum at byte {at + place:,}")
            return
        place += _HEAD.size + size
        record = pieces.add(kind, data, at + place)
        if record is not None:
            yield record
    if is_last and place < len(block):
        pieces.damage.cut = True


def _exactly(opened: BinaryIO, size: int) -> bytes:
    """So many bytes, fewer only at the end."""
    found = opened.read(size)
    while len(found) < size and (more := opened.read(size - len(found))):
        found += more
    return found


# -- what records say


@dataclass
class Log:
    """The run of one file, known as far as its rows have been taken."""

    name: str
    run: Run | None = None
    exit_code: int | None = None
    preempting: bool = False
    bad: int = 0
    """Records that are none of W&B's."""
    homeless: int = 0
    """Rows before the record of their run."""
    damage: Damage = field(default_factory=Damage)
    config: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    _runtime: int = 0

    def rows(self, opened: BinaryIO) -> Iterator[Row]:
        """What was logged, in the order of the file."""
        for data in records(opened, self.name, self.damage):
            try:
                row = self._record(data)
            except (BadMessage, struct.error):
                self.bad += 1
                continue
            if row is None:
                continue
            if self.run is None:
                self.homeless += 1
                continue
            self._heard(row.at)
            self.run.last_step = max(self.run.last_step, row.step)
            yield row
        self._finish()

    def _record(self, data: bytes) -> Row | None:
        for number, wire, value in fields(data):
            if wire != BYTES:
                continue
            place = _place(value)
            if number == 2:
                return self._history(data, place)
            self.preempting = self.preempting or number == 23
            if number in _READERS:
                _READERS[number](self, data, place)
        return None

    def _history(self, data: bytes, place: Place) -> Row:
        raw: dict[str, Any] = {}
        step = None
        for number, wire, value in fields(data, *place):
            if number == 1 and wire == BYTES:
                _set(raw, *_item(data, _place(value)))
            elif number == 2 and wire == BYTES:
                step = next((signed(_whole(one)) for inner, kind, one in fields(data, *_place(value))
                             if inner == 1 and kind == VARINT), 0)  # fmt: skip
        return row_of(raw, step)

    def _summary(self, data: bytes, place: Place) -> None:
        _updated(self.summary, data, place)
        self._heard(moment_of(self.summary.get("_timestamp")))

    def _config(self, data: bytes, place: Place) -> None:
        _updated(self.config, data, place)

    def _stats(self, data: bytes, place: Place) -> None:
        self._heard(next((_time(data, one) for one in _inner(data, place, 2)), None))

    def _run(self, data: bytes, place: Place) -> None:
        texts = {number: _texts(data, place, number) for number in (1, 2, 3, 6, 7, 8, 10, 12)}
        one = {number: found[0] if found else "" for number, found in texts.items()}
        run = self.run or Run(one[1])
        self.run = run
        run.entity, run.project, run.group, run.job_type = one[2], one[3], one[6], one[7]
        run.name, run.tags, run.sweep = one[8], tuple(texts[10]), one[12]
        for config in _inner(data, place, 4):
            self._config(data, config)
        for start in _inner(data, place, 17):
            at = moment_of(_time(data, start))
            run.created = int(at) if at is not None else run.created
            self._heard(at)
        for git in _inner(data, place, 21):
            run.commit = run.commit or _text(data, git, 2)
        for telemetry in _inner(data, place, 19):
            run.python = run.python or _text(data, telemetry, 4)

    def _environment(self, data: bytes, place: Place) -> None:
        if self.run is None:
            return
        self.run.python = self.run.python or _text(data, place, 2).removeprefix("CPython ")
        self.run.image = self.run.image or _text(data, place, 4)
        self.run.user = self.run.user or _text(data, place, 13)
        for git in _inner(data, place, 9):
            self.run.commit = self.run.commit or _text(data, git, 2)

    def _artifact(self, data: bytes, place: Place) -> None:
        if self.run is not None:
            one = Artifact("", _text(data, place, 5), _text(data, place, 4), "", _text(data, place, 6))
            self.run.outputs = [*self.run.outputs, one]

    def _used(self, data: bytes, place: Place) -> None:
        if self.run is not None:
            collection, _, version = _text(data, place, 3).partition(":")
            one = Artifact(_text(data, place, 1), collection, _text(data, place, 2), version, "")
            self.run.inputs = [*self.run.inputs, one]

    def _exit(self, data: bytes, place: Place) -> None:
        self.exit_code = 0
        for number, wire, value in fields(data, *place):
            if number == 1 and wire == VARINT:
                self.exit_code = signed(_whole(value))
            elif number == 2 and wire == VARINT:
                self._runtime = signed(_whole(value))

    def _heard(self, at: float | None) -> None:
        if self.run is not None and at is not None:
            self.run.heard = max(self.run.heard or 0, int(at))

    def _finish(self) -> None:
        if self.run is None:
            return
        self.run.config, self.run.summary = self.config, self.summary
        inner = self.summary.get("_wandb")
        told = inner.get("runtime") if isinstance(inner, dict) else 0
        runtime = max(self._runtime, told if isinstance(told, int) else 0)
        if self.run.created is not None:
            self._heard(moment_of(self.run.created + runtime))


_READERS = {
    3: Log._summary, 5: Log._config, 7: Log._stats, 8: Log._artifact, 17: Log._run, 18: Log._exit,
    25: Log._used, 26: Log._environment,
}  # fmt: skip


def _updated(known: dict[str, Any], data: bytes, place: Place) -> None:
    """Applies the updates and removals of a config or a summary."""
    for number, wire, value in fields(data, *place):
        if wire != BYTES or number not in (1, 2):
            continue
        path, told = _item(data, _place(value))
        _set(known, path, told) if number == 1 else _removed(known, path)


def _item(data: bytes, place: Place) -> tuple[Sequence[str], Any]:
    """The path of an item and its value; a number may stand in its own field or as JSON."""
    key, nested, found = "", [], None
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == BYTES:
            key = _utf8(data, _place(value))
        elif number == 2 and wire == BYTES:
            nested.append(_utf8(data, _place(value)))
        elif number in (8, 16) and wire == BYTES:
            found = _json(data[slice(*_place(value))])
        elif number == 7 and wire == BYTES:
            found = _utf8(data, _place(value))
        elif number == 6 and wire == FIXED64:
            found = double(data, _place(value)[0])
        elif number == 5 and wire == VARINT:
            found = (_whole(value) >> 1) ^ -(_whole(value) & 1)
        elif number == 4 and wire == VARINT:
            found = bool(value)
    return nested or [key], found


def _json(raw: bytes) -> Any:
    try:
        return strict(raw, constants=float)
    except (BadJson, BrokenJson):
        return None


def _set(raw: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for part in path[:-1]:
        inner = raw.get(part)
        if not isinstance(inner, dict):
            inner = raw[part] = {}
        raw = inner
    raw[path[-1]] = value


def _removed(raw: dict[str, Any], path: Sequence[str]) -> None:
    for part in path[:-1]:
        inner = raw.get(part)
        if not isinstance(inner, dict):
            return
        raw = inner
    raw.pop(path[-1], None)


def _inner(data: bytes, place: Place, wanted: int) -> list[Place]:
    return [_place(value) for number, wire, value in fields(data, *place) if number == wanted and wire == BYTES]


def _texts(data: bytes, place: Place, wanted: int) -> list[str]:
    return [_utf8(data, one) for one in _inner(data, place, wanted)]


def _text(data: bytes, place: Place, wanted: int) -> str:
    return next(iter(_texts(data, place, wanted)), "")


def _time(data: bytes, place: Place) -> float:
    told = {number: signed(_whole(value)) for number, wire, value in fields(data, *place) if wire == VARINT}
    return told.get(1, 0) + told.get(2, 0) / 1e9


def _utf8(data: bytes, place: Place) -> str:
    return data[place[0] : place[1]].decode("utf-8", "replace")


def _place(value: int | Place) -> Place:
    assert isinstance(value, tuple)
    return value


def _whole(value: int | Place) -> int:
    assert isinstance(value, int)
    return value
