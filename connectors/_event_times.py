"""When events say that they happened: ISO 8601 with or without an offset, and what stands for no time at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from tandem import times


def event_time(text: str, zone: str | None, remark: Callable[[str], None]) -> float:
    """Epoch seconds, fractions kept; a time without offset is one of `zone`.

    Raises ValueError with a sentence that is the same for all events that lack the same.
    """
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError("an event without a time of ISO 8601 is left out") from None
    if when.year <= 1970:
        raise ValueError("an event whose time stands for none is left out")
    return when.timestamp() if when.tzinfo is not None else _local(when, zone, remark)


def _local(when: datetime, zone: str | None, remark: Callable[[str], None]) -> float:
    if zone is None:
        raise ValueError("an event whose time has no offset is left out; set timezone for the source")
    try:
        ts = times.local(when, zone)
    except ValueError as error:
        raise ValueError(str(error).rstrip(".")) from None
    if times.repeats(when, zone):
        remark("an hour that came twice is taken for the earlier one")
    return ts + when.microsecond / 1e6
