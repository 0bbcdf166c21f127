"""Values on their way into columns, and events as text."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pyarrow as pa

from tandem.records import (
    Event,
)


def arrow(values: Any) -> pa.Array:
    """A column; integers wider than 64 bits travel as decimals."""
    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values)
    first = next(iter(values), None)
    if isinstance(first, str) or first is None:
        return pa.array(list(values), pa.string())
    try:
        return pa.array(values, pa.int64())
    except (OverflowError, pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([int(value) for value in values], pa.decimal128(38, 0))


def content(event: Event) -> str:
    """The event as text, equal for equal events; what is absent is left out."""
    given = {name: value for name, value in asdict(event).items() if value not in (None, "", (), [])}
    return json.dumps(given, sort_keys=True, ensure_ascii=False)


def event_of(text: str) -> Event:
    """The event of that text."""
    given: dict[str, Any] = json.loads(text)
    given["labels"] = tuple((name, value) for name, value in given.get("labels", ()))
    given["components"] = tuple(given.get("components", ()))
    return Event(**given)
