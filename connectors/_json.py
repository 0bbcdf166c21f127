"""Strict JSON: what Python's parser lets through and a count cannot stand is refused."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

DIGITS = 19
"""Longest integer that is read; a 64-bit integer has at most 19 digits."""


class BadJson(ValueError):
    """Well-formed enough for a lenient parser, but not usable: a constant, a repeated key, a huge number, too deep."""


class BrokenJson(ValueError):
    """Not JSON at all, or cut off; `line` is where, counted from 1."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.line = line


def strict(data: str | bytes, constants: Callable[[str], Any] | None = None) -> Any:
    """The one JSON document in `data`.

    `constants` gets "NaN", "Infinity" or "-Infinity" where a system is known to write them; without it they are
    refused. Raises BrokenJson for text that is no JSON, BadJson for what is refused.
    """
    try:
        return _whole(json.loads(data, **_hooks(constants)), data)
    except RecursionError:
        raise BadJson("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BrokenJson(error.msg, error.lineno) from None
    except UnicodeDecodeError:
        raise BrokenJson("it is not UTF-8 text", 1) from None


def first(text: str, start: int = 0, constants: Callable[[str], Any] | None = None) -> tuple[Any, int]:
    """The document that begins at `start`, and the index behind it; raises as `strict`."""
    try:
        value, end = json.JSONDecoder(**_hooks(constants)).raw_decode(text, start)
        value = _whole(value, text[start:end])
    except RecursionError:
        raise BadJson("it is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise BrokenJson(error.msg, error.lineno) from None
    return value, end


def _whole(value: Any, data: str | bytes) -> Any:
    """The document without halves of characters, which JSON can escape and no text can hold; they become U+FFFD."""
    if isinstance(data, str):
        escaped = "\\ud" in data or "\\uD" in data
    else:
        escaped = b"\\ud" in data or b"\\uD" in data
    return _mended(value) if escaped else value


def _mended(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(one) for one in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(one) for name, one in value.items()}
    return value


def _hooks(constants: Callable[[str], Any] | None) -> dict[str, Any]:
    return {
        "parse_constant": constants or _no_constant,
        "parse_int": _integer,
        "parse_float": _finite,
        "object_pairs_hook": _once,
    }


def _no_constant(word: str) -> Any:
    raise BadJson(f"it holds {word}, which is no number")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > DIGITS:
        raise BadJson(f"it holds an integer of {len(digits)} digits")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise BadJson(f"it holds {digits[:20]}, which is too large for a number")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise BadJson(f'it holds the key "{twice[:60]}" twice in one object')
    return found
