"""Protocol Buffers as text: the fields of a message as they are written, without their schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

DEEPEST = 60
"""Messages within messages that are read."""
_TOKEN = re.compile(
    r"(?P<space>(?:\s+|\#[^\n]*)+)"
    r"|(?P<text>\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*')"
    r"|(?P<mark>[{}<>:\[\],;])"
    r"|(?P<word>[-+]?[A-Za-z0-9_.](?:[A-Za-z0-9_./]|(?<=[eE])[-+])*)"
)
_ESCAPE = re.compile(rb"\\(?:([0-7]{1,3})|[xX]([0-9a-fA-F]{1,2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.))", re.DOTALL)
_PLAIN = {b"n": b"\n", b"t": b"\t", b"r": b"\r", b"a": b"\a", b"b": b"\b", b"f": b"\f", b"v": b"\v"}
_CLOSING = {"{": "}", "<": ">"}


class BadText(ValueError):
    """Text that is no message; says the line."""


def message(text: str) -> dict[str, list[Any]]:
    """The fields of a message: for each name all its values, a text or a word as str, a message as a dictionary.

    Raises BadText.
    """
    return _Reading(text).fields("", 0)


class _Reading:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = self._all()
        self._next = next(self._tokens)

    def _all(self) -> Iterator[tuple[str, str, int]]:
        place = 0
        while place < len(self._text):
            found = _TOKEN.match(self._text, place)
            if found is None:
                raise self._wrong(place)
            place = found.end()
            if found.lastgroup != "space":
                yield str(found.lastgroup), found.group(), found.start()
        while True:
            yield "end", "", place

    def _wrong(self, place: int) -> BadText:
        return BadText(
            f"line {self._text.count(chr(10), 0, place) + 1} is no text of Protocol Buffers, perhaps cut off"
        )

    def _take(self, *wanted: str) -> str:
        """The next token, if it is one of these kinds or marks."""
        kind, said, place = self._next
        if kind not in wanted and said not in wanted:
            raise self._wrong(place)
        self._next = next(self._tokens)
        return said

    def fields(self, closing: str, depth: int) -> dict[str, list[Any]]:
        """All fields up to a closing mark, or to the end where that is ""."""
        found: dict[str, list[Any]] = {}
        if depth > DEEPEST:
            raise self._wrong(self._next[2])
        while self._next[1] != closing or (not closing and self._next[0] != "end"):
            name = self._name()
            colon = self._next[1] == ":"
            if colon:
                self._take(":")
            found.setdefault(name, []).extend(self._values(colon, depth))
            while self._next[1] in (",", ";") and self._next[0] == "mark":
                self._take("mark")
        return found

    def _name(self) -> str:
        if self._next[1] != "[":
            return self._take("word")
        self._take("[")  # an extension, or the type of an Any
        name = self._take("word")
        self._take("]")
        return name

    def _values(self, colon: bool, depth: int) -> list[Any]:
        if self._next[:2] != ("mark", "["):
            return [self._value(colon, depth)]
        self._take("[")
        found: list[Any] = []
        while self._next[:2] != ("mark", "]"):
            found.append(self._value(True, depth))
            if self._next[:2] == ("mark", ","):
                self._take(",")
        self._take("]")
        return found

    def _value(self, colon: bool, depth: int) -> Any:
        kind, said, place = self._next
        if kind == "mark" and said in _CLOSING:
            self._take("mark")
            inside = self.fields(_CLOSING[said], depth + 1)
            self._take(_CLOSING[said])
            return inside
        if not colon:
            raise self._wrong(place)
        if kind == "word":
            return self._take("word")
        parts = [_unescaped(self._take("text"))]
        while self._next[0] == "text":
            parts.append(_unescaped(self._take("text")))
        return b"".join(parts).decode("utf-8", "replace")


def _unescaped(quoted: str) -> bytes:
    return _ESCAPE.sub(_character, quoted[1:-1].encode("utf-8", "replace"))


def _character(found: re.Match[bytes]) -> bytes:
    octal, hexadecimal, short, long, plain = found.groups()
    if octal is not None:
        return bytes([int(octal, 8) & 0xFF])
    if hexadecimal is not None:
        return bytes([int(hexadecimal, 16)])
    if plain is not None:
        return _PLAIN.get(plain, plain)
    return chr(min(int(short or long, 16), 0x10FFFF)).encode("utf-8", "replace")
