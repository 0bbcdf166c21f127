"""Event files of TensorBoard, written record by record after TensorFlow's schema; sums by the textbook's loop."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

_TABLE = []
for _byte in range(256):
    _left = _byte
    for _ in range(8):
        _left = (_left >> 1) ^ (0x82F63B78 if _left & 1 else 0)
    _TABLE.append(_left)


def masked(data: bytes) -> int:
    """The masked CRC-32C of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """A record of a TFRecord file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked(length)) + data + struct.pack("<I", masked(data))


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def part(number: int, data: bytes) -> bytes:
    """A field of bytes."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def whole(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def double(number: int, value: float) -> bytes:
    return varint(number << 3 | 1) + struct.pack("<d", value)


def event(wall: float, step: int = 0, *more: bytes) -> bytes:
    """An Event message."""
    return double(1, wall) + (whole(2, step) if step else b"") + b"".join(more)


def version(wall: float) -> bytes:
    return event(wall, 0, part(3, b"brain.Event:2"))


def summary(*values: bytes) -> bytes:
    return part(5, b"".join(part(1, value) for value in values))


def simple(tag: str, value: float) -> bytes:
    """A value as PyTorch writes it."""
    return part(1, tag.encode()) + varint(2 << 3 | 5) + struct.pack("<f", value)


def plugin(name: str, content: bytes = b"") -> bytes:
    return part(9, part(1, part(1, name.encode()) + (part(2, content) if content else b"")))


def tensor(tag: str, body: bytes, plugin_name: str = "scalars") -> bytes:
    """A value as TensorFlow 2 writes it."""
    return part(1, tag.encode()) + part(8, body) + (plugin(plugin_name) if plugin_name else b"")


def session(status: int) -> bytes:
    return part(7, whole(1, status))


def hparams(params: dict[str, object]) -> bytes:
    """The record that the hparams plugin begins a run with."""
    told = b""
    for name, value in params.items():
        if isinstance(value, bool):
            said = whole(4, int(value))
        elif isinstance(value, str):
            said = part(3, value.encode())
        else:
            said = double(2, float(str(value)))
        told += part(1, part(1, name.encode()) + part(2, said))
    return part(1, b"_hparams_/session_start_info") + plugin("hparams", whole(1, 0) + part(3, told))


def hparams_end(status: int, at: float | None) -> bytes:
    """The record that it ends a run with; PyTorch writes it at the beginning, without a time."""
    body = whole(1, status) + (double(2, at) if at is not None else b"")
    return part(1, b"_hparams_/session_end_info") + plugin("hparams", part(4, body))


def write(path: Path, events: Iterable[bytes]) -> Path:
    """An event file of these events; appends to one that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        for one in events:
            file.write(framed(one))
    return path


def curve(tag: str, begin: float, steps: Iterable[int], scale: float = 1.0) -> list[bytes]:
    """A run's values, one second after another."""
    return [event(begin + place, step, summary(simple(tag, scale / (1 + step)))) for place, step in enumerate(steps)]
