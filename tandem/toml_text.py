"""Tables as TOML text: what `tomllib` read can be written again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def text(tables: Mapping[str, Any]) -> str:
    """TOML that reads as these tables: values first, then a table each; what lies deeper stands on one line."""
    plain = {key: one for key, one in tables.items() if not _is_tables(one)}
    blocks = ["".join(f"{_key(key)} = {_value(one)}\n" for key, one in plain.items())]
    blocks += [block for key, one in tables.items() if _is_tables(one) for block in _blocks(key, one)]
    return "\n".join(block for block in blocks if block)


def _is_tables(one: Any) -> bool:
    """Whether a value is written as a table of its own, or as several."""
    return isinstance(one, dict) or (isinstance(one, list) and bool(one) and all(isinstance(x, dict) for x in one))


def _blocks(key: str, one: Any) -> Iterator[str]:
    name = f"[[{_key(key)}]]" if isinstance(one, list) else f"[{_key(key)}]"
    for table in one if isinstance(one, list) else [one]:
        yield f"{name}\n" + "".join(f"{_key(inner)} = {_value(value)}\n" for inner, value in table.items())


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _string(key)


def _string(given: str) -> str:
    return json.dumps(given, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(one: Any) -> str:
    if isinstance(one, bool):
        return "true" if one else "false"
    if isinstance(one, str):
        return _string(one)
    if isinstance(one, Decimal):
        return _number(one)
    if isinstance(one, datetime | date | time):
        return one.isoformat()
    if isinstance(one, list | tuple):
        return f"[{', '.join(map(_value, one))}]"
    if isinstance(one, Mapping):
        inside = ", ".join(f"{_key(key)} = {_value(value)}" for key, value in one.items())
        return f"{{ {inside} }}" if inside else "{}"
    return str(int(one))


def _number(one: Decimal) -> str:
    """A TOML float, to the digit: with a point or an exponent, so that it is not read as a whole number."""
    if not one.is_finite():
        return ("nan" if one.is_nan() else "inf") if one.is_nan() or one > 0 else "-inf"
    said = str(one).replace("E", "e")
    return said if "." in said or "e" in said else f"{said}.0"
