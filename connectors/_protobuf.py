"""Protocol Buffers without their schema: the fields of a message as they lie in its bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")
_BITS = 64


class BadMessage(ValueError):
    """Bytes that are no message."""


def fields(data: bytes, begin: int = 0, end: int | None = None) -> Iterator[tuple[int, int, int | tuple[int, int]]]:
    """(number, wire type, value) of each field; BYTES and fixed ones as the place [begin, end) of their bytes.

    Raises BadMessage where the bytes do not follow the format.
    """
    stop = len(data) if end is None else end
    while begin < stop:
        key, begin = varint(data, begin, stop)
        wire = key & 7
        if wire == VARINT:
            value, begin = varint(data, begin, stop)
            yield key >> 3, wire, value
            continue
        if wire == BYTES:
            size, begin = varint(data, begin, stop)
        elif wire in (FIXED64, FIXED32):
            size = 8 if wire == FIXED64 else 4
        else:
            raise BadMessage(f"a field of wire type {wire}")
        if begin + size > stop:
            raise BadMessage("a field reaches past its message")
        yield key >> 3, wire, (begin, begin + size)
        begin += size


def varint(data: bytes, begin: int, end: int) -> tuple[int, int]:
    """An unsigned integer and the place behind it; raises BadMessage."""
    value = shift = 0
    while begin < end:
        byte = data[begin]
        begin += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value & ((1 << _BITS) - 1), begin
        shift += 7
        if shift >= 70:
            break
    raise BadMessage("an integer without an end")


def signed(value: int) -> int:
    """The int64 that an unsigned integer stands for."""
    return value - (1 << _BITS) if value >> (_BITS - 1) else value


def double(data: bytes, begin: int) -> float:
    """A number of 8 bytes."""
    return float(_DOUBLE.unpack_from(data, begin)[0])


def single(data: bytes, begin: int) -> float:
    """A number of 4 bytes."""
    return float(_FLOAT.unpack_from(data, begin)[0])
