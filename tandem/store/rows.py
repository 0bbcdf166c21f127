"""Values on their way into columns, and events as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from tandem.records import (
    Event,
)


def arrow(values: Any) -> pa.Array:
    """A column; None is null, integers wider than 64 bits travel as decimals.

    Made of buffers where that can be: pyarrow imports pandas, 47 MB, for each list or array that it looks into.
    """
    if isinstance(values, np.ndarray) and values.dtype.kind in "iuf":
        return _flat(values)
    first = next((value for value in values if value is not None), "")
    if isinstance(first, str):
        return _texts(values)
    if isinstance(first, int | np.integer) and not isinstance(first, bool):
        return _integers(values)
    if isinstance(first, list):
        ends = np.cumsum([0, *(len(value) for value in values)], dtype=np.int32)
        return pa.ListArray.from_arrays(_flat(ends), _texts([text for value in values for text in value]))
    return pa.array(values)


def _integers(values: Any) -> pa.Array:
    there = np.array([value is not None for value in values], bool)
    numbers = [0 if value is None else int(value) for value in values]
    try:
        return _flat(np.array(numbers, np.int64), there)
    except OverflowError:
        held = b"".join(number.to_bytes(16, "little", signed=True) for number in numbers)
        return pa.Array.from_buffers(pa.decimal128(38, 0), len(numbers), [_bits(there), pa.py_buffer(held)])


def _flat(values: np.ndarray[Any, Any], there: np.ndarray[Any, Any] | None = None) -> pa.Array:
    held = pa.py_buffer(np.ascontiguousarray(values))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [_bits(there), held])


def _bits(there: np.ndarray[Any, Any] | None) -> pa.Buffer | None:
    if there is None or there.all():
        return None
    return pa.py_buffer(np.packbits(there, bitorder="little"))


def _texts(values: Any) -> pa.Array:
    column = pa.lib.StringBuilder()
    column.append_values(values)
    return column.finish()


def table(columns: Mapping[str, Any]) -> pa.Table:
    """Columns of one length as the table that DuckDB reads."""
    return pa.Table.from_arrays([arrow(values) for values in columns.values()], list(columns))


def insert(cursor: duckdb.DuckDBPyConnection, name: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Append rows to the table `name`, column by column."""
    if not rows:
        return
    columns = {f"c{place}": column for place, column in enumerate(zip(*rows, strict=True))}
    cursor.register("arriving", table(columns))
    cursor.execute(f"INSERT INTO {name} SELECT * FROM arriving")
    cursor.unregister("arriving")


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
