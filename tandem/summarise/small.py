"""Small tables of other tools, row by row: what fits into one answer of the child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from tandem.child import Array, Child, Frame, Refused
from tandem.rows import open_rows

CELLS = 2_000_000
"""Most values of a table."""


def table(child: Child, path: Path) -> tuple[list[str], list[list[Any]]]:
    """The names of the columns and the rows of a Parquet file; times as text, as they stand. Raises Refused."""
    names: list[str] = []
    columns: list[list[Any]] = []
    for head, _ in child.ask("tandem.summarise.small:child_table", {"path": str(path)}):
        names.append(head["name"])
        columns.append(head["values"])
    return names, [list(row) for row in zip(*columns, strict=True)]


def child_table(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """The columns of a table, one by one."""
    opened = open_rows(Path(given["path"]))
    names = list(opened.kinds)
    if opened.format != "parquet" or (opened.count or 0) * len(names) > CELLS:
        raise Refused(f"is no Parquet file of at most {CELLS:,} values")
    values: dict[str, list[Any]] = {name: [] for name in names}
    for part in opened.parts(names):
        for name in names:
            values[name] += _plain(part.column(name))
    for name in names:
        yield {"name": name, "values": values[name]}, {}


def _plain(column: pa.Array) -> list[Any]:
    """What JSON can say: texts, finite and other numbers, true and false; all else as text."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    kind = column.type
    simple = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    if not (simple or pa.types.is_null(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        try:
            column = column.cast(pa.string())
        except pa.ArrowException:
            column = pa.nulls(len(column))
    return list(column.to_pylist())
