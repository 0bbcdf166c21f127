"""Single fields of GitLab's objects: read with care, for nothing in them can be relied on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem import times

Raw = Mapping[str, Any]


class Unusable(ValueError):
    """An object that cannot be counted; says why."""


def object_of(raw: Any) -> Raw:
    """The object itself; raises Unusable for anything else."""
    if not isinstance(raw, dict):
        raise Unusable("what is there is no object of GitLab")
    return raw


def id_of(raw: Raw) -> str:
    """Its id; raises Unusable without one."""
    found = raw.get("id")
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise Unusable("an object has no id")
    return str(found)


def text_of(raw: Raw, name: str) -> str:
    """A text, "" where there is none."""
    found = raw.get(name)
    return found if isinstance(found, str) else ""


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
    """Epoch seconds of ISO 8601 or of a webhook's "2026-01-02 03:04:05 UTC"; the years 1 and 1970 are "absent".

    Raises Unusable where it is needed and absent.
    """
    said = text_of(raw, name)
    if said.endswith(" UTC"):
        said = said.removesuffix(" UTC") + "Z"
    try:
        ts = times.iso(said) if said else 0
    except ValueError as error:
        raise Unusable(f"{name}: {str(error).rstrip('.')}") from None
    if ts >= 366 * 86400:
        return ts
    if default is None:
        raise Unusable(f"an object has no {name}")
    return default
