"""A box drawn across a chart, as a window."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tandem.shown import Window


def chosen(selection: Any, window: Window, bucket: int = 300) -> tuple[int, int] | None:
    """The window of a box selection, ends moved outwards to whole buckets; None if nothing changes."""
    boxes = getattr(getattr(selection, "selection", None), "box", None) or ()
    if not boxes or len(boxes[0].get("x") or ()) < 2:
        return None
    ends = sorted(_stamp(end) for end in (boxes[0]["x"][0], boxes[0]["x"][-1]))
    since = max(int(ends[0] // bucket * bucket), window.since)
    until = min(int(-(-ends[1] // bucket) * bucket), window.until)
    if until <= since or (since, until) == (window.since, window.until):
        return None
    return since, until


def _stamp(end: Any) -> float:
    if isinstance(end, int | float):
        return float(end) / 1000
    return datetime.fromisoformat(str(end).replace(" ", "T")).replace(tzinfo=UTC).timestamp()
