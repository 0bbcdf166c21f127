"""Writes `.wandb` files byte by byte, for tests: the framing and the few records that a run has."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterable
from typing import Any

HEADER = b":W&B" + struct.pack("<HB", 0xBEE1, 0)
BLOCK = 32_768


def framed(records: Iterable[bytes]) -> bytes:
    """A whole file of these records."""
    out = bytearray(HEADER)
    for record in records:
        rest, begun = record, False
        while True:
            room = BLOCK - len(out) % BLOCK
            if room < 7:
                out += bytes(room)
                continue
            piece, rest = rest[: room - 7], rest[room - 7 :]
            kind = (4 if begun else 1) if not rest else (3 if begun else 2)
            begun = True
            out += struct.pack("<IHB", zlib.crc32(bytes([kind]) + piece), len(piece), kind) + piece
            if not rest:
                break
    return bytes(out)


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, value: bytes | str) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return varint(field << 3 | 2) + varint(len(raw)) + raw


def stamp(ts: float) -> bytes:
    return number(1, int(ts)) + number(2, int(ts % 1 * 1e9))


def item(path: str | tuple[str, ...], value: Any) -> bytes:
    """A key or a path of them, and its value as JSON."""
    names = part(1, path) if isinstance(path, str) else b"".join(part(2, one) for one in path)
    return names + part(16, json.dumps(value))


def run(run_id: str, start: float, *, group: str = "", job: str = "", name: str = "", commit: str = "",
        config: dict[str, Any] | None = None) -> bytes:  # fmt: skip
    told = b"".join(part(1, item(key, value)) for key, value in (config or {}).items())
    body = part(1, run_id) + part(3, "claims") + part(4, told) + part(6, group) + part(7, job) + part(8, name)
    return part(17, body + part(17, stamp(start)) + (part(21, part(2, commit)) if commit else b""))


def row(step: int, at: float | None, **values: Any) -> bytes:
    named = {("_step",): step, **({("_timestamp",): at} if at is not None else {})}
    named |= {(name.replace("__", "/"),): value for name, value in values.items()}
    return part(2, b"".join(part(1, item(path, value)) for path, value in named.items()) + part(2, number(1, step)))


def summary(**values: Any) -> bytes:
    return part(3, b"".join(part(1, item((name,), value)) for name, value in values.items()))


def ended(code: int, runtime: int = 0) -> bytes:
    return part(18, number(1, code) + number(2, runtime))


def artifact(name: str, kind: str, digest: str) -> bytes:
    return part(8, part(4, kind) + part(5, name) + part(6, digest))
