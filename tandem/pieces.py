"""A table that lies in several Parquet files, read as if it were one file (`tandem.rows`).

A piece may call columns otherwise, lack some of them, hold rows that count no more, and have columns whose one value
stands beside it. Meant to be read in a process with limits (`tandem.child`), to which it goes as JSON.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tandem import rows
from tandem.rows import Part, Rows, Unusable
from tandem.values import is_text, kind_of

Array = np.ndarray[Any, Any]

TYPES: Mapping[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "text": pa.large_string(),
    "boolean": pa.bool_(),
    "time": pa.timestamp("us", tz="UTC"),
    "local time": pa.timestamp("us"),
    "other": pa.binary(),
}
"""What a column holds, in words; "time" is an instant, "local time" has no offset."""
_AT_MOST = 400_000_000
"""Bytes of row numbers of one piece."""


@dataclass(frozen=True)
class Piece:
    """One file of a table.

    `names`: what the file calls a column, where it is another name. `ids`: the Parquet field id by which a column is
    found instead. `constants`: columns with one value, as text, that the file does not hold. `without`: the rows that
    do not count, as `packed` made them. `rows`: how many count.
    """

    path: Path
    rows: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    ids: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, str | None] = field(default_factory=dict)
    without: str = ""


@dataclass(frozen=True)
class Pieces:
    """A table: its columns with the words of TYPES, and its files in order."""

    columns: Mapping[str, str]
    pieces: tuple[Piece, ...]

    def bytes(self) -> int:
        """The size of all files that are there."""
        return sum(one.path.stat().st_size for one in self.pieces if one.path.exists())


Where = Path | Pieces
"""A file of rows, or a table."""


def packed(positions: Array) -> str:
    """Row numbers, counted from 0, as text for `Piece.without`."""
    return base64.b64encode(zlib.compress(np.diff(positions, prepend=0).astype("<i8").tobytes(), 1)).decode()


def told(where: Where) -> Any:
    """A place as a JSON value; `open_rows` reads it."""
    if isinstance(where, Path):
        return str(where)
    pieces = [{**vars(one), "path": str(one.path)} for one in where.pieces]
    return {"columns": dict(where.columns), "pieces": pieces}


def size_of(where: Where) -> int:
    """Bytes of a file or a table; 0 where it is not there."""
    if isinstance(where, Pieces):
        return where.bytes()
    return where.stat().st_size if where.exists() else 0


def open_rows(said: Any, unique: str = "") -> Rows:
    """The rows of a place that `told` wrote; raises Unusable.

    `unique`: a column whose texts hardly ever repeat.
    """
    if isinstance(said, str):
        return rows.open_rows(Path(said), unique)
    pieces = [Piece(**{**one, "path": Path(one["path"])}) for one in said["pieces"]]
    table = Pieces(said["columns"], tuple(pieces))
    kinds = {name: kind_of(TYPES[word]) for name, word in table.columns.items()}
    counts = [one.rows for one in pieces]
    count = sum(one for one in counts if one is not None) if None not in counts else sum(map(_count, pieces))
    return Rows("parquet", kinds, lambda names: _parts(table, names, unique), count)


def _count(piece: Piece) -> int:
    return int(_opened(piece, ()).metadata.num_rows) - _left_out(piece).size


def _opened(piece: Piece, texts: Sequence[str]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(piece.path, memory_map=False, read_dictionary=list(texts))
    except FileNotFoundError:
        raise Unusable(f"lacks its file {piece.path.name}; it was removed while it was needed") from None
    except (pa.ArrowException, OSError, ValueError):
        raise Unusable(f"has a damaged file {piece.path.name}; write it again") from None


def _left_out(piece: Piece) -> Array:
    if not piece.without:
        return np.zeros(0, np.int64)
    steps = zlib.decompressobj().decompress(base64.b64decode(piece.without), _AT_MOST)
    return np.cumsum(np.frombuffer(steps, "<i8"))


def _parts(table: Pieces, names: Sequence[str], unique: str) -> Iterator[Part]:
    first = 1
    for piece in table.pieces:
        for part in _of_piece(table, piece, names, unique, first):
            yield part
            first += part.rows


def _of_piece(table: Pieces, piece: Piece, names: Sequence[str], unique: str, first: int) -> Iterator[Part]:
    schema = _opened(piece, ()).schema_arrow
    held = _held(piece, schema, names)
    texts = [at for name, at in held.items() if name != unique and is_text(schema.field(at).type)]
    opened = _opened(piece, texts)
    without = _left_out(piece)
    begin = 0
    for number in range(opened.num_row_groups):
        count = opened.metadata.row_group(number).num_rows
        low, high = np.searchsorted(without, [begin, begin + count])
        keep = None
        if low != high:
            keep = np.ones(count, dtype=bool)
            keep[without[low:high] - begin] = False
        left = count - (0 if keep is None else int(high - low))
        begin += count
        if left:
            yield Part(left, first, _reader(table, piece, held, rows.column_reader(opened, number, count), left, keep))
            first += left


def _held(piece: Piece, schema: pa.Schema, names: Sequence[str]) -> dict[str, str]:
    """Where the file holds each of the columns that it has."""
    numbers = {(one.metadata or {}).get(b"PARQUET:field_id", b""): one.name for one in schema}
    found = {}
    for name in names:
        at = numbers.get(str(piece.ids[name]).encode()) if name in piece.ids else piece.names.get(name, name)
        if name not in piece.constants and at is not None and at in schema.names:
            found[name] = at
    return found


def _reader(
    table: Pieces,
    piece: Piece,
    held: Mapping[str, str],
    read: Callable[[str], pa.Array],
    count: int,
    keep: Array | None,
) -> Callable[[str], pa.Array]:
    def column(name: str) -> pa.Array:
        word = table.columns[name]
        if name not in held:
            return _one_value(piece.constants.get(name), word, count, piece)
        found = read(held[name])
        if keep is not None:
            found = found.filter(pa.array(keep))
        if word == "time" and pa.types.is_timestamp(found.type) and found.type.tz is None:
            return pc.cast(found, pa.timestamp(found.type.unit, tz="UTC"))  # the old 96-bit times have no zone
        return found

    return column


def _one_value(text: str | None, word: str, count: int, piece: Piece) -> pa.Array:
    kind = TYPES[word]
    if text is None:
        return pa.nulls(count, kind)
    if word == "text":
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))
    try:
        value = pa.scalar(text) if word == "other" else pc.cast(pa.scalar(text), kind)
    except pa.ArrowInvalid:
        raise Unusable(f"has the value {text[:60]!r} beside its file {piece.path.name}, which is no {word}") from None
    return pa.repeat(value, count)
