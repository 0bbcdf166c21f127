"""The records of TensorBoard's event files: times, steps, scalars in both of their forms, and hyperparameters.

Field numbers are those of TensorFlow's event.proto, summary.proto, tensor.proto and of TensorBoard's hparams plugin.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from connectors._protobuf import BYTES, FIXED32, FIXED64, VARINT, BadMessage, double, fields, signed, single, varint

VERSION = b"brain.Event:"
"""How the first record of every event file says which form it has."""
NAMES = {1: "SUCCESS", 2: "FAILURE", 3: "RUNNING"}
"""What the hparams plugin says of a run."""
_START, _STOP = 1, 2
_SCALARS, _HPARAMS = "scalars", "hparams"
_PLAIN = re.compile(
    rb"\x09(.{8})(?:\x10([\x80-\xff]{0,9}[\x00-\x7f]))?\x2a([\x00-\x7f])\x0a([\x00-\x7f])\x0a([\x00-\x7f])(.*)\x15(.{4})",
    re.DOTALL,
)
"""Time, step, and a summary of one value with its tag and its number."""
_NUMBERS = {1: "<f", 2: "<d", 3: "<i", 4: "<B", 5: "<h", 6: "<b", 9: "<q", 10: "<?", 19: "<e", 22: "<I", 23: "<Q"}
"""How the types of a tensor lie in its content; bfloat16 (14) is the upper half of a float."""
_BFLOAT16, _HALF = 14, 19
_FLOATS, _DOUBLES, _INTEGERS, _HALVES, _CONTENT = 5, 6, (7, 10, 11, 16, 17), 13, 4


@dataclass(slots=True)
class Logged:
    """One record: what was logged at one time and step.

    `started` is the step that a session says it starts at: what was logged before at that step and later is void.
    `status` is what the run says of itself, `ended` the time it says it with.
    """

    wall: float = 0.0
    step: int = 0
    scalars: list[tuple[str, float]] = field(default_factory=list)
    other: int = 0
    """Values that are no scalars: histograms, pictures, texts."""
    started: int | None = None
    status: str = ""
    ended: float | None = None
    params: Mapping[str, str] = field(default_factory=dict)


def read(data: bytes) -> Logged:
    """What a record says; raises BadMessage where it is no event."""
    plain = _plain(data)
    if plain is not None:
        return plain
    found = Logged()
    for number, wire, value in fields(data):
        if number == 1 and wire == FIXED64:
            found.wall = double(data, _place(value)[0])
        elif number == 2 and wire == VARINT:
            found.step = signed(_whole(value))
        elif number == 5 and wire == BYTES:
            _summary(data, _place(value), found)
        elif number == 7 and wire == BYTES:
            _session(data, _place(value), found)
    if found.started is not None:
        found.started = found.step
    return found


def _plain(data: bytes) -> Logged | None:
    """A record of one simple value and nothing else, as most are; None for any other."""
    match = _PLAIN.fullmatch(data)
    if match is None:
        return None
    wall, step, summary, value, size, tag, number = match.groups()
    if size[0] != len(tag) or value[0] != len(tag) + 7 or summary[0] != len(tag) + 9:
        return None
    return Logged(
        double(wall, 0), signed(varint(step, 0, len(step))[0]) if step else 0,
        [(tag.decode("utf-8", "replace"), single(number, 0))],
    )  # fmt: skip


def _place(value: int | tuple[int, int]) -> tuple[int, int]:
    assert isinstance(value, tuple)
    return value


def _whole(value: int | tuple[int, int]) -> int:
    assert isinstance(value, int)
    return value


def _text(data: bytes, place: tuple[int, int]) -> str:
    return data[place[0] : place[1]].decode("utf-8", "replace")


def _summary(data: bytes, place: tuple[int, int], found: Logged) -> None:
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == BYTES:
            _value(data, _place(value), found)


def _value(data: bytes, place: tuple[int, int], found: Logged) -> None:
    """One value of a summary, as a scalar where it is one."""
    tag, plugin, content = "", "", (0, 0)
    scalar: float | None = None
    tensor: tuple[int, int] | None = None
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == BYTES:
            tag = _text(data, _place(value))
        elif number == 2 and wire == FIXED32:
            scalar = single(data, _place(value)[0])
        elif number == 9 and wire == BYTES:
            plugin, content = _plugin(data, _place(value))
        elif number == 8 and wire == BYTES:
            tensor = _place(value)
    if plugin == _HPARAMS:
        _hparams(data, content, found)
    if tensor is not None and scalar is None and plugin in ("", _SCALARS):
        scalar = _number(data, tensor)
    if scalar is not None:
        found.scalars.append((tag, scalar))
    elif plugin != _HPARAMS:
        found.other += 1


def _plugin(data: bytes, place: tuple[int, int]) -> tuple[str, tuple[int, int]]:
    """The name of the plugin that a value is for, and the place of what it is told."""
    name, content = "", (0, 0)
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == BYTES:
            for inner, kind, part in fields(data, *_place(value)):
                if inner == 1 and kind == BYTES:
                    name = _text(data, _place(part))
                elif inner == 2 and kind == BYTES:
                    content = _place(part)
    return name, content


def _session(data: bytes, place: tuple[int, int], found: Logged) -> None:
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == VARINT and _whole(value) == _START:
            found.started = 0
        elif number == 1 and wire == VARINT and _whole(value) == _STOP:
            found.status = "STOP"


# -- tensors


def _number(data: bytes, place: tuple[int, int]) -> float | None:
    """The number in a tensor that holds just one; None for any other."""
    kind, size, content = 0, 1, (0, 0)
    listed: list[float] = []
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == VARINT:
            kind = _whole(value)
        elif number == 2 and wire == BYTES:
            size = _size(data, _place(value))
        elif number == _CONTENT and wire == BYTES:
            content = _place(value)
        elif number in (_FLOATS, _DOUBLES, _HALVES, *_INTEGERS):
            listed += _listed(data, number, value, kind)
    if size != 1:
        return None
    if content[1] > content[0]:
        return _packed(data, content, kind)
    return listed[0] if len(listed) == 1 and kind else None


def _size(data: bytes, place: tuple[int, int]) -> int:
    """How many numbers a tensor of that shape holds."""
    size = 1
    for number, wire, value in fields(data, *place):
        if number == 2 and wire == BYTES:
            one = 0
            for inner, kind, told in fields(data, *_place(value)):
                if inner == 1 and kind == VARINT:
                    one = signed(_whole(told))
            size *= one
    return size


def _packed(data: bytes, place: tuple[int, int], kind: int) -> float | None:
    raw = data[place[0] : place[1]]
    if kind == _BFLOAT16 and len(raw) == 2:
        return single(b"\0\0" + raw, 0)
    form = _NUMBERS.get(kind)
    return float(struct.unpack(form, raw)[0]) if form and len(raw) == struct.calcsize(form) else None


def _listed(data: bytes, number: int, value: int | tuple[int, int], kind: int) -> Iterator[float]:
    """Numbers that stand one by one or packed."""
    if isinstance(value, int):
        yield _of_varint(value, number, kind)
        return
    begin, end = value
    step = {_FLOATS: 4, _DOUBLES: 8}.get(number)
    while begin < end:
        if step is None:
            told, begin = varint(data, begin, end)
            yield _of_varint(told, number, kind)
        elif begin + step > end:
            raise BadMessage("a number that is cut")
        else:
            yield single(data, begin) if step == 4 else double(data, begin)
            begin += step


def _of_varint(value: int, number: int, kind: int) -> float:
    if number != _HALVES:
        return float(signed(value))
    raw = (value & 0xFFFF).to_bytes(2, "little")
    return single(b"\0\0" + raw, 0) if kind == _BFLOAT16 else float(struct.unpack("<e", raw)[0])


# -- hyperparameters


def _hparams(data: bytes, place: tuple[int, int], found: Logged) -> None:
    """What the plugin is told of a run: its parameters where it begins, its status where it ends."""
    for number, wire, value in fields(data, *place):
        if number == 3 and wire == BYTES:
            found.params = dict(_params(data, _place(value)))
        elif number == 4 and wire == BYTES:
            found.status = "UNKNOWN"
            for inner, kind, told in fields(data, *_place(value)):
                if inner == 1 and kind == VARINT:
                    found.status = NAMES.get(_whole(told), "UNKNOWN")
                elif inner == 2 and kind == FIXED64:
                    found.ended = double(data, _place(told)[0])


def _params(data: bytes, place: tuple[int, int]) -> Iterator[tuple[str, str]]:
    for number, wire, value in fields(data, *place):
        if number == 1 and wire == BYTES:
            name, said = "", ""
            for inner, kind, told in fields(data, *_place(value)):
                if inner == 1 and kind == BYTES:
                    name = _text(data, _place(told))
                elif inner == 2 and kind == BYTES:
                    said = _param(data, _place(told))
            if name and said:
                yield name, said


def _param(data: bytes, place: tuple[int, int]) -> str:
    """A number, a text or a truth as text; "" for anything else."""
    for number, wire, value in fields(data, *place):
        if number == 2 and wire == FIXED64:
            return f"{double(data, _place(value)[0]):.12g}"
        if number == 3 and wire == BYTES:
            return _text(data, _place(value))
        if number == 4 and wire == VARINT:
            return "true" if value else "false"
    return ""
