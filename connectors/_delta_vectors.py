"""Deletion vectors of Delta tables: which rows of a data file count no more (Delta protocol, "Deletion Vectors").

Knows nothing of Tandem. A vector is a 64-bit Roaring bitmap in the portable format, in the log itself (Z85 text) or
in a file beside the data.
"""

from __future__ import annotations

import struct
import uuid
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

MOST = 20_000_000
"""Rows of one vector."""
_MAGIC = 1_681_511_377
_LETTERS = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
_VALUE = {letter: number for number, letter in enumerate(_LETTERS)}
_UUID_LETTERS = 20
_WITHOUT_RUNS, _WITH_RUNS = 12_346, 12_347
_OFFSETS_FROM = 4
"""Containers from which a bitmap with runs states their places."""
_ARRAY_UP_TO = 4_096
"""Values up to which a container is a plain list."""


class BadVector(ValueError):
    """The vector cannot be used; the text says why, without its place."""


def name_of(vector: Mapping[str, Any] | None) -> str:
    """What tells the same file with another vector apart; "" without one."""
    if not vector:
        return ""
    offset = vector.get("offset")
    return f"{vector.get('storageType')}{vector.get('pathOrInlineDv')}" + ("" if offset is None else f"@{offset}")


def deleted(vector: Mapping[str, Any], folder: Path) -> Array:
    """The rows of a data file that count no more, sorted, counted from 0; raises BadVector.

    `folder` is the table's; a vector outside of it is not read.
    """
    try:
        found = _values(_data(vector, folder))
        if found.size != vector.get("cardinality"):
            raise BadVector(f"has {found.size:,} rows where the log says {vector.get('cardinality')}")
        return found
    except (struct.error, IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        if isinstance(error, BadVector):
            raise
        raise BadVector("is cut off or damaged") from None


def from_z85(text: str) -> bytes:
    """The bytes of Z85 text (https://rfc.zeromq.org/spec/32/); raises KeyError for another letter."""
    pieces = []
    for begin in range(0, len(text), 5):
        number = 0
        for letter in text[begin : begin + 5]:
            number = number * 85 + _VALUE[letter]
        pieces.append(number.to_bytes(4, "big"))
    return b"".join(pieces)


def file_of(vector: Mapping[str, Any], folder: Path) -> Path:
    """The file of a vector that lies beside the data; raises BadVector."""
    said = str(vector["pathOrInlineDv"])
    if vector["storageType"] != "u":
        raise BadVector("lies at an absolute place; only the table's own folder is read")
    prefix, text = said[:-_UUID_LETTERS], said[-_UUID_LETTERS:]
    if not all(letter.isalnum() for letter in prefix):
        raise BadVector("has a place that is no name")
    return folder / prefix / f"deletion_vector_{uuid.UUID(bytes=from_z85(text))}.bin"


def _data(vector: Mapping[str, Any], folder: Path) -> bytes:
    size = int(vector["sizeInBytes"])
    if not 0 <= int(vector["cardinality"]) <= MOST or not 0 <= size <= 4 * MOST:
        raise BadVector(f"is larger than {MOST:,} rows")
    if vector["storageType"] == "i":
        return from_z85(str(vector["pathOrInlineDv"]))[:size]
    path = file_of(vector, folder)
    try:
        with path.open("rb") as opened:
            opened.seek(int(vector.get("offset") or 0))
            stated = opened.read(4)
            data = opened.read(size)
            checksum = opened.read(4)
    except OSError:
        raise BadVector(f"lies in {path.name}, which is not there or cannot be read") from None
    if stated != size.to_bytes(4, "big") or len(data) != size or checksum != zlib.crc32(data).to_bytes(4, "big"):
        raise BadVector(f"does not agree with its checksum in {path.name}")
    return data


def _values(data: bytes) -> Array:
    magic, buckets = struct.unpack_from("<IQ", data)
    if magic != _MAGIC:
        raise BadVector("is of a kind that is not known")
    at = 12
    found: list[Array] = []
    count = 0
    for _ in range(buckets):
        (high,) = struct.unpack_from("<I", data, at)
        at += 4
        containers, at = _containers(data, at, MOST - count)
        for key, low in containers:
            found.append(low.astype(np.int64) + ((high << 32) + (key << 16)))
            count += low.size
    return np.concatenate([np.zeros(0, np.int64), *found])


def _containers(data: bytes, at: int, most: int) -> tuple[list[tuple[int, Array]], int]:
    """(16 high bits, 16 low bits of each value) of the containers of one 32-bit bitmap, and the place behind them."""
    (cookie,) = struct.unpack_from("<I", data, at)
    runs = b""
    if cookie & 0xFFFF == _WITH_RUNS:
        size = (cookie >> 16) + 1
        runs = data[at + 4 : at + 4 + (size + 7) // 8]
        at += 4 + len(runs)
    elif cookie == _WITHOUT_RUNS:
        (size,) = struct.unpack_from("<I", data, at + 4)
        at += 8
    else:
        raise BadVector("is of a kind that is not known")
    heads = np.frombuffer(data, "<u2", 2 * size, at).reshape(size, 2).tolist()
    at += 4 * size
    if not runs or size >= _OFFSETS_FROM:
        at += 4 * size
    found: list[tuple[int, Array]] = []
    for number, (key, less_one) in enumerate(heads):
        low, at = _container(data, at, less_one + 1, bool(runs and runs[number // 8] >> number % 8 & 1))
        most -= low.size
        if most < 0:
            raise BadVector(f"is larger than {MOST:,} rows")
        found.append((key, low))
    return found, at


def _container(data: bytes, at: int, count: int, runs: bool) -> tuple[Array, int]:
    if runs:
        (pairs,) = struct.unpack_from("<H", data, at)
        begins = np.frombuffer(data, "<u2", 2 * pairs, at + 2).reshape(pairs, 2).astype(np.int64)
        lengths = begins[:, 1] + 1
        if lengths.sum() != count:
            raise BadVector("is cut off or damaged")
        offsets = np.arange(count) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(begins[:, 0], lengths) + offsets, at + 2 + 4 * pairs
    if count > _ARRAY_UP_TO:
        bits = np.unpackbits(np.frombuffer(data, np.uint8, 8192, at), bitorder="little")
        return np.flatnonzero(bits), at + 8192
    return np.frombuffer(data, "<u2", count, at), at + 2 * count
