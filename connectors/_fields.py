"""Single fields of a system's JSON objects: read with care, for nothing in them can be relied on."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from tandem import times

Raw = Mapping[str, Any]
YEAR = 366 * 86400
"""Times before it are the years 1 and 1970, which stand for "absent"."""
FAR = 1 << 40


class Unusable(ValueError):
    """An object that cannot be counted; says why."""


def text_of(raw: Raw, name: str) -> str:
    """A text, "" where there is none."""
    found = raw.get(name)
    return found if isinstance(found, str) else ""


def first_line(text: str) -> str:
    """The first line of a text that holds anything."""
    return text.strip().partition("\n")[0].strip()


def inside(raw: Any, *names: str) -> Raw:
    """An object within objects, {} where there is none."""
    for name in names:
        raw = raw.get(name) if isinstance(raw, dict) else None
    return raw if isinstance(raw, dict) else {}


def rows_of(raw: Raw, name: str) -> list[Raw]:
    """The objects of a list, without what is none in it."""
    found = raw.get(name)
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def named(raw: Raw, name: str, inner: str) -> str:
    """A text of an object inside, "" where there is none."""
    found = raw.get(name)
    return text_of(found, inner) if isinstance(found, dict) else ""


def seconds_of(raw: Raw, name: str) -> float | None:
    """A duration in seconds, None where there is none."""
    found = raw.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 1e9:
        return None
    return float(found)


def time_of(raw: Raw, name: str, default: int | None = None) -> int:
    """Epoch seconds of ISO 8601 or of "2026-01-02 03:04:05 UTC"; the years 1 and 1970 are "absent".

    Raises Unusable where it is needed and absent.
    """
    said = text_of(raw, name)
    if said.endswith(" UTC"):
        said = said.removesuffix(" UTC") + "Z"
    try:
        ts = times.iso(said) if said else 0
    except ValueError as error:
        raise Unusable(f"{name}: {str(error).rstrip('.')}") from None
    if ts >= YEAR:
        return ts
    if default is None:
        raise Unusable(f"an object has no {name}")
    return default


def time_or_none(raw: Raw, name: str) -> int | None:
    """Epoch seconds of a time with an offset; the years 1 and 1970 and what is no time are "absent"."""
    try:
        ts = times.iso(text_of(raw, name))
    except ValueError:
        return None
    return ts if ts >= YEAR else None


def moment(said: str, zone: str | None) -> int:
    """Epoch seconds of ISO 8601, in `zone` where it has no offset.

    Raises ValueError where it is no time, with the same sentence for all that lack the same: the years 1 and 1970 are
    "absent", and nobody needs to read of each time that it has no offset.
    """
    if zone is None:
        try:
            ts = times.iso(said)
        except ValueError:
            times.iso(said, "UTC")
            raise ValueError("a time has no offset: set a timezone for the source") from None
    else:
        ts = times.iso(said, zone)
    if ts < YEAR:
        raise ValueError("a time that stands for none, such as the year 1970")
    return ts


def millis_of(raw: Raw, name: str) -> int | None:
    """Epoch seconds of milliseconds since the epoch; the year 1970 and what is no number are "absent"."""
    found = raw.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not YEAR * 1000 <= found < FAR * 1000:
        return None
    return found // 1000


def count_of(raw: Raw, name: str) -> int:
    """A count, 0 where there is none."""
    found = raw.get(name)
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def finite(value: Any) -> float | None:
    """A finite number; None for anything else, and for true and false."""
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None


def whole(value: Any) -> int | None:
    """A count, which may be written as 4.0; None for what is none."""
    usable = finite(value)
    if usable is None or usable < 0 or usable >= FAR:
        return None
    near = round(usable)
    return near if abs(usable - near) <= 1e-9 * max(1.0, usable) else None
