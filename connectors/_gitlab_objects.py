"""Single fields of GitLab's objects that only they have; the others are read as in any JSON."""

from __future__ import annotations

from typing import Any

from connectors._fields import Raw, Unusable, named, seconds_of, text_of, time_of

__all__ = ["Raw", "Unusable", "id_of", "named", "object_of", "seconds_of", "text_of", "time_of"]


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
