"""TFRecord: a file of records, each with its length and two masked CRC-32C sums; read from a byte on, as it grows.

The sums of many records are computed at once: a CRC is linear, so pieces of 64 bytes are summed side by side and put
together by tables that say what so and so many bytes behind a piece do to its sum.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]

CHUNK = 1 << 20
"""Bytes that are read and summed at once."""
LARGEST = 16 << 20
"""Most bytes of a record that is read; a larger one, a picture or a graph, is passed over."""
HEADER, FOOTER = 12, 4
_BLOCK, _LENGTHS = 64, 8
_POLYNOMIAL = 0x82F63B78
_ONES = 0xFFFFFFFF
_LENGTH = struct.Struct("<QI")
_SUM = struct.Struct("<I")


class BrokenFraming(ValueError):
    """A place in a file where a length and its sum disagree; nothing behind it can be found."""

    def __init__(self, at: int) -> None:
        super().__init__(f"its framing is broken at byte {at:,}")
        self.at = at


@dataclass(frozen=True, slots=True)
class Framed:
    """One record, which ends at byte `end`; its `data` is None where it was not read, and `why` says so."""

    end: int
    data: bytes | None
    why: str = ""


def records(opened: BinaryIO, begin: int = 0) -> Iterator[list[Framed]]:
    """The records of a file that stands at byte `begin`, in lists; a last one that is cut is left out.

    Raises BrokenFraming after all that stands before the broken place.
    """
    left = b""
    while piece := opened.read(CHUNK):
        left += piece
        found, broken = _framed(left, begin)
        if found:
            yield found
            left, begin = left[found[-1].end - begin :], found[-1].end
        if broken:
            raise BrokenFraming(begin)
        left, begin, passed = _past_large(opened, left, begin)
        if passed:
            yield passed


def _framed(data: bytes, begin: int) -> tuple[list[Framed], bool]:
    """The whole records of some bytes that stand at byte `begin` of a file, and whether what follows is broken.

    Lengths are believed until the sums of all of them are known: the first that is wrong ends the list.
    """
    places = _places(data)
    heads = crc32c([data[at : at + 8] for at, _ in places])
    said = np.array([_LENGTH.unpack_from(data, at)[1] for at, _ in places], dtype=np.uint32)
    wrong = np.flatnonzero(heads != said)
    broken = bool(len(wrong))
    whole = [(at, size) for at, size in places[: int(wrong[0]) if broken else None]
             if size <= LARGEST and at + HEADER + size + FOOTER <= len(data)]  # fmt: skip
    bodies = [data[at + HEADER : at + HEADER + size] for at, size in whole]
    sums = crc32c(bodies)
    found = []
    for (at, size), body, have in zip(whole, bodies, sums.tolist(), strict=True):
        end = at + HEADER + size + FOOTER
        right = _SUM.unpack_from(data, end - FOOTER)[0] == have
        found.append(Framed(begin + end, body if right else None, "" if right else "a wrong check sum"))
    return found, broken


def _places(data: bytes) -> list[tuple[int, int]]:
    """Where records begin and how long they say they are; the last may be cut or too large."""
    at, found = 0, []
    while at + HEADER <= len(data):
        size = _LENGTH.unpack_from(data, at)[0]
        found.append((at, size))
        if size > LARGEST:
            break
        at += HEADER + size + FOOTER
    return found


def _past_large(opened: BinaryIO, left: bytes, begin: int) -> tuple[bytes, int, list[Framed]]:
    """Reads past a record that is too large, where one begins and is whole; its length is known to be right."""
    if len(left) < HEADER:
        return left, begin, []
    size = _LENGTH.unpack_from(left)[0] + HEADER + FOOTER
    if size <= LARGEST + HEADER + FOOTER:
        return left, begin, []
    missing = size - len(left)
    while missing > 0:
        piece = opened.read(min(missing, CHUNK))
        if not piece:
            return b"", begin, []
        missing -= len(piece)
    rest = left[size:] if missing < 0 else b""
    return rest, begin + size, [Framed(begin + size, None, f"more than {LARGEST >> 20} MB")]


# -- sums


def crc32c(pieces: Sequence[bytes]) -> Array:
    """The masked CRC-32C of each piece, as TFRecord writes it."""
    sums = np.zeros(len(pieces), dtype=np.uint32)
    sizes = np.fromiter(map(len, pieces), dtype=np.int64, count=len(pieces))
    powers = np.ceil(np.log2(np.maximum(-(-sizes // _BLOCK), 1))).astype(np.int64)
    powers[sizes <= _LENGTHS] = -1
    for power in np.unique(powers).tolist():
        places = np.flatnonzero(powers == power)
        some = [pieces[place] for place in places.tolist()]
        sums[places] = _registers(some, 1, _LENGTHS) if power < 0 else _registers(some, 1 << power, _BLOCK)
    plain = sums ^ _shifted_ones(sizes) ^ np.uint32(_ONES)
    return ((plain >> np.uint32(15)) | (plain << np.uint32(17))) + np.uint32(0xA282EAD8)


def _registers(pieces: Sequence[bytes], blocks: int, size: int) -> Array:
    """What is left of pieces of so many blocks of a size; zeros before a piece change nothing of that."""
    raw = b"".join([piece.rjust(blocks * size, b"\0") for piece in pieces])
    words = np.frombuffer(raw, dtype="<u2").reshape(-1, size // 2).T.copy()
    table = _table()
    register = np.zeros(words.shape[1], dtype=np.uint32)
    for word in words:
        register = table[(register ^ word) & 0xFFFF] ^ (register >> np.uint32(16))
    while blocks > 1:
        pairs = register.reshape(-1, 2)
        register = _behind(pairs[:, 0], size) ^ pairs[:, 1]
        size, blocks = size * 2, blocks // 2
    return register


@cache
def _table() -> Array:
    """What two bytes leave of a register."""
    value = np.arange(1 << 16, dtype=np.uint32)
    for _ in range(16):
        value = (value >> np.uint32(1)) ^ np.where(value & 1, np.uint32(_POLYNOMIAL), np.uint32(0))
    return value


@cache
def _tables(size: int) -> Array:
    """For each byte of a register what `size` zero bytes, a power of two, leave of it."""
    if size == 1:
        starts = (np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32)[:, None])).astype(np.uint32)
        first = _table()[(np.arange(256, dtype=np.uint32) & 0xFF) << 8]  # one byte, the table being of two
        return np.stack([first, *(starts[1:] >> np.uint32(8))])
    half = _tables(size // 2)
    return _through(half, half)


def _through(table: Array, register: Array) -> Array:
    one = table[0][register & 0xFF] ^ table[1][(register >> np.uint32(8)) & 0xFF]
    found: Array = one ^ table[2][(register >> np.uint32(16)) & 0xFF] ^ table[3][register >> np.uint32(24)]
    return found


def _behind(register: Array, size: int) -> Array:
    return _through(_tables(size), register)


def _shifted_ones(sizes: Array) -> Array:
    """What is left of a register of ones, with which a sum begins, after as many zero bytes."""
    found = np.full(len(sizes), _ONES, dtype=np.uint32)
    for power in range(int(sizes.max()).bit_length() if len(sizes) else 0):
        has = (sizes >> power) & 1 == 1
        if has.any():
            found[has] = _behind(found[has], 1 << power)
    return found
