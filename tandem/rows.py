"""Rows of people's files, column by column: Parquet, CSV and JSON Lines, plain or compressed; strict, nothing guessed.

Every reader gives parts of a file in order; a part gives a column as an Arrow array. What cannot be used raises
Unusable with one sentence. Meant to run in a process with limits (`tandem.child`).
"""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import zstandard

from tandem.child import Refused
from tandem.values import is_text, kind_of, normal

Array = np.ndarray[Any, Any]

RATIO = 200
"""Most bytes a compressed file may grow to, per compressed byte, once it is over FREE."""
FREE = 64_000_000
LINES = 50_000
"""JSON lines per part."""
BLOCK = 8_000_000
"""Bytes of CSV per part; a line cannot be longer."""
AHEAD = 4
"""Blocks of CSV that are read ahead of the rows taken."""
PATIENCE = 0.5
"""Seconds after which a block is read all the same."""
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, gzip.BadGzipFile)
_PACKED: tuple[tuple[bytes, Callable[[Any], Any]], ...] = (
    (b"\x1f\x8b", lambda plain: gzip.GzipFile(fileobj=plain)),
    (b"BZh", bz2.BZ2File),
    (b"\xfd7zXZ\x00", lzma.LZMAFile),
    (
        b"\x28\xb5\x2f\xfd",
        lambda plain: zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(plain, read_across_frames=True),
    ),
)
_FOREIGN: tuple[tuple[bytes, str], ...] = (
    (b"\x80\x02", "a Python pickle, which is never loaded; export it as Parquet, CSV or JSON Lines"),
    (b"\x80\x03", "a Python pickle, which is never loaded; export it as Parquet, CSV or JSON Lines"),
    (b"\x80\x04", "a Python pickle, which is never loaded; export it as Parquet, CSV or JSON Lines"),
    (b"\x80\x05", "a Python pickle, which is never loaded; export it as Parquet, CSV or JSON Lines"),
    (b"\xff\xfe", "UTF-16 text; save it as UTF-8"),
    (b"\xfe\xff", "UTF-16 text; save it as UTF-8"),
    (b"PK\x03\x04", "a zip archive or a spreadsheet; export it as Parquet, CSV or JSON Lines"),
    (b"\x89HDF", "an HDF5 file; export it as Parquet, CSV or JSON Lines"),
    (b"ARROW1", "an Arrow or Feather file; export it as Parquet, CSV or JSON Lines"),
    (b"ORC", "an ORC file; export it as Parquet, CSV or JSON Lines"),
)


class Unusable(Refused):
    """A file that cannot be read; the text is one sentence without the file's name."""


@dataclass
class Part:
    """Some consecutive rows of a file; `first` is the number of its first row, counted from 1."""

    rows: int
    first: int
    read: Callable[[str], pa.Array]
    read_columns: dict[str, pa.Array] = field(default_factory=dict)

    def column(self, name: str) -> pa.Array:
        """The column of that name; raises Unusable for one that cannot be decoded."""
        return self.read_columns[name] if name in self.read_columns else self.read(name)

    def kept(self, left_out: Array) -> Array | None:
        """Which rows count (positions in the part), of the file's sorted rows that do not; None for all."""
        begin, end = np.searchsorted(left_out, [self.first - 1, self.first - 1 + self.rows])
        if begin == end:
            return None
        keep: Array = np.ones(self.rows, dtype=bool)
        keep[left_out[begin:end] - (self.first - 1)] = False
        return np.flatnonzero(keep)

    def own(self, values: Array) -> Array:
        """Of one value per row of the file those of this part; raises Refused where the file has grown."""
        if self.first - 1 + self.rows > values.size:
            raise Refused("changed while it was read; it is read again next time")
        return values[self.first - 1 : self.first - 1 + self.rows]


@dataclass
class Rows:
    """An opened file. `kinds`: number, text, boolean, time or other, by column."""

    format: str
    kinds: dict[str, str]
    parts: Callable[[Sequence[str]], Iterator[Part]]
    count: int | None = None
    """How many rows it has, where the file says so."""

    def wanted(self, names: Sequence[str]) -> list[str]:
        """Those of the names that are not empty, each once; raises Refused for a column that is not there."""
        found = list(dict.fromkeys(name for name in names if name))
        absent = [name for name in found if name not in self.kinds]
        if absent and not (self.format == "json"):
            raise Refused(f'has no column "{absent[0]}"; its columns are {", ".join(list(self.kinds)[:40])}')
        if absent and not self.kinds:
            raise Refused("holds no rows")
        return found


def open_rows(path: Path, unique: str = "") -> Rows:
    """The rows of a file, told apart by its first bytes; raises Unusable.

    `unique`: a column whose texts hardly ever repeat.
    """
    try:
        with path.open("rb") as opened:
            head = opened.read(16)
    except OSError:
        raise Unusable("cannot be read; check that it is there and its permissions") from None
    packed = next((unpack for magic, unpack in _PACKED if head.startswith(magic)), None)
    with _unpacked(path, packed) as stream:
        begin = _read(stream, 4096)
    for magic, what in _FOREIGN:
        if begin.startswith(magic):
            raise Unusable(f"is {what}")
    if begin.startswith(b"PAR1"):
        return _parquet(path, packed, unique)
    if re.search(r"\.(parquet|pq)\b", path.name):
        raise Unusable("is not a Parquet file although its name says so")
    if b"\0" in begin:
        raise Unusable("is neither Parquet, CSV nor JSON Lines")
    text = begin.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(b"{"):
        return _json_lines(path, packed)
    if text.startswith(b"["):
        raise Unusable("is one JSON array; write one object per line")
    if text.startswith(b"<"):
        raise Unusable("is HTML or XML, perhaps a login page; export the log itself")
    if not text:
        raise Unusable("is empty")
    return _csv(path, packed)


class _Counted(io.RawIOBase):
    """Bytes of a decompressor, refused once they are out of all proportion to the file."""

    def __init__(self, stream: Any, compressed: int) -> None:
        super().__init__()
        self._stream = stream
        self._cap = max(FREE, RATIO * compressed)
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._stream.read(len(buffer))
        except (*_BROKEN, OSError):
            raise Unusable("is cut off or damaged and cannot be decompressed; export it again") from None
        self._count += len(piece)
        if self._count > self._cap:
            raise Unusable(f"grows past {self._cap / 1e6:.0f} MB, more than {RATIO} times its size; it is not read")
        buffer[: len(piece)] = piece
        return len(piece)


class _Paced(io.RawIOBase):
    """A stream that Arrow reads only a little ahead of the rows that are taken: by itself it would read 32 blocks."""

    def __init__(self, stream: Any) -> None:
        super().__init__()
        self._stream = stream
        self._ahead = 0
        self._over = False
        self._change = threading.Condition()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        with self._change:
            # Whatever Arrow needs ahead of a row it gets after a while: this saves memory and must never wait for good.
            self._change.wait_for(lambda: self._over or self._ahead < AHEAD, timeout=PATIENCE)
            self._ahead += 1
            return b"" if self._over else bytes(self._stream.read(size))

    def taken(self) -> None:
        """Some rows are taken."""
        with self._change:
            self._ahead -= 1
            self._change.notify_all()

    def close(self) -> None:
        """No more is wanted."""
        with self._change:
            self._over = True
            self._change.notify_all()
        super().close()


def _unpacked(path: Path, packed: Callable[[Any], Any] | None) -> Any:
    plain = path.open("rb")
    if packed is None:
        return plain
    return io.BufferedReader(_Counted(packed(plain), path.stat().st_size), 1 << 20)


def _read(stream: Any, size: int) -> bytes:
    return bytes(stream.read(size))


# -- Parquet


def _parquet(path: Path, packed: Callable[[Any], Any] | None, unique: str) -> Rows:
    source: Any = path if packed is None else pa.BufferReader(_unpacked(path, packed).read())
    try:
        plain = pq.ParquetFile(source, memory_map=False)
        schema = plain.schema_arrow
        rows = plain.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError):
        raise Unusable("is cut off or damaged and is not readable as Parquet; export it again") from None
    _check_names(schema.names)
    kinds = {one.name: kind_of(one.type) for one in schema}
    return Rows("parquet", kinds, lambda names: _row_groups(source, schema, names, unique), rows)


def _row_groups(source: Any, schema: pa.Schema, names: Sequence[str], unique: str) -> Iterator[Part]:
    text = [name for name in names if name != unique and is_text(schema.field(name).type)]
    try:
        if isinstance(source, pa.BufferReader):
            source.seek(0)
        opened = pq.ParquetFile(source, memory_map=False, read_dictionary=text)
        sizes = [opened.metadata.row_group(number).num_rows for number in range(opened.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError):
        raise Unusable("is cut off or damaged and is not readable as Parquet; export it again") from None
    first = 1
    for number, rows in enumerate(sizes):
        if rows:
            yield Part(rows, first, column_reader(opened, number, rows))
        first += rows


def column_reader(opened: pq.ParquetFile, number: int, rows: int) -> Callable[[str], pa.Array]:
    """Reads columns of one row group, which has so many rows; raises Unusable for one that cannot be decoded."""

    def read(name: str) -> pa.Array:
        try:
            column = opened.read_row_group(number, columns=[name], use_threads=False).column(0)
        except pa.ArrowMemoryError:
            raise MemoryError from None
        except (pa.ArrowException, OSError, ValueError):
            raise Unusable(f'has a damaged column "{name}" in row group {number + 1}; export it again') from None
        if len(column) != rows:
            raise Unusable(f'has a column "{name}" that is shorter than its row group says; export it again')
        return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(_unified(column).chunks)

    return read


def _unified(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.unify_dictionaries() if pa.types.is_dictionary(column.type) else column


# -- CSV


def _csv(path: Path, packed: Callable[[Any], Any] | None) -> Rows:
    with _unpacked(path, packed) as stream:
        names = _header(stream)
    _check_names(names)
    kinds = dict.fromkeys(names, "text")
    return Rows("csv", kinds, lambda wanted: _csv_parts(path, packed, names, wanted))


def _header(stream: Any) -> list[str]:
    with _Paced(stream) as paced:
        return list(_csv_reader(paced, [], []).schema.names)


def _csv_reader(stream: Any, names: Sequence[str], wanted: Sequence[str]) -> pacsv.CSVStreamingReader:
    try:
        return pacsv.open_csv(
            pa.PythonFile(stream, "r"),
            read_options=pacsv.ReadOptions(use_threads=False, block_size=BLOCK),
            parse_options=pacsv.ParseOptions(newlines_in_values=True),
            convert_options=pacsv.ConvertOptions(
                column_types={name: pa.string() for name in names},
                include_columns=list(wanted),
                strings_can_be_null=True,
                quoted_strings_can_be_null=True,
                null_values=[""],
            ),
        )
    except (pa.ArrowInvalid, UnicodeDecodeError) as error:
        raise Unusable(_said_of_csv(error)) from None


def _csv_parts(path: Path, packed: Any, names: Sequence[str], wanted: Sequence[str]) -> Iterator[Part]:
    first = 1
    with _unpacked(path, packed) as stream, _Paced(stream) as paced:
        reader = _csv_reader(paced, names, wanted)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                raise Unusable(_said_of_csv(error)) from None
            paced.taken()
            if batch.num_rows:
                columns = {name: batch.column(name) for name in wanted}
                yield Part(batch.num_rows, first, columns.__getitem__, columns)
            first += batch.num_rows


def _said_of_csv(error: Exception) -> str:
    text = str(error)
    line = re.search(r"Row #(\d+)", text)
    where = f"line {line[1]}" if line else "some line"
    if "UTF8" in text or isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 in {where} (perhaps Latin-1); save it as UTF-8"
    counts = re.search(r"Expected (\d+) columns, got (\d+)", text)
    if counts:
        return f"has {counts[2]} fields in {where} where its header has {counts[1]}; mend that line"
    if "straddling" in text or "block size" in text:
        return f"has a field of more than {BLOCK / 1e6:.0f} MB, perhaps an unterminated quote; mend it"
    return "cannot be read as CSV; export it again"


# -- JSON Lines


def _json_lines(path: Path, packed: Callable[[Any], Any] | None) -> Rows:
    names: dict[str, str] = {}
    with _unpacked(path, packed) as stream:
        for number, line in zip(range(1, 1001), _lines(stream), strict=False):
            if line.strip():
                for name, value in _object(line, number).items():
                    if value is not None and names.get(name, "other") == "other":
                        names[name] = _kind_of_value(value)
                    names.setdefault(name, "other")
    return Rows("json", names, lambda wanted: _json_parts(path, packed, wanted))


def _kind_of_value(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    return "text" if isinstance(value, str) else "other"


def _lines(stream: Any) -> Iterator[bytes]:
    begun = False
    while line := stream.readline(BLOCK + 1):
        if len(line) > BLOCK:
            raise Unusable(f"has a line of more than {BLOCK / 1e6:.0f} MB; it is not read")
        yield line if begun else line.removeprefix(b"\xef\xbb\xbf")
        begun = True


def _object(line: bytes, number: int) -> dict[str, Any]:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        found = _lenient(line, number)
    if not isinstance(found, dict):
        raise Unusable(f"has no JSON object in line {number}; write one object per line")
    return found


def _lenient(line: bytes, number: int) -> Any:
    """Python writes NaN and Infinity, which JSON does not know; they count as missing."""
    try:
        return json.loads(line.decode("utf-8"))
    except UnicodeDecodeError:
        raise Unusable(f"is not UTF-8 in line {number} (perhaps Latin-1); save it as UTF-8") from None
    except (ValueError, RecursionError):
        raise Unusable(f"has no readable JSON in line {number}, perhaps cut off; mend that line") from None


def _json_parts(path: Path, packed: Any, wanted: Sequence[str]) -> Iterator[Part]:
    first = 1
    kept: list[dict[str, Any]] = []
    with _unpacked(path, packed) as stream:
        for number, line in enumerate(_lines(stream), 1):
            if line.strip():
                found = _object(line, number)
                kept.append({name: found.get(name) for name in wanted})
            if len(kept) == LINES:
                yield _json_part(kept, first, wanted)
                first += len(kept)
                kept = []
    if kept:
        yield _json_part(kept, first, wanted)


def _json_part(kept: list[dict[str, Any]], first: int, wanted: Sequence[str]) -> Part:
    columns = {name: _array([row[name] for row in kept]) for name in wanted}
    return Part(len(kept), first, columns.__getitem__, columns)


def _array(values: list[Any]) -> pa.Array:
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int, float}:
        try:
            return pa.array([None if value is None else float(value) for value in values] if float in kinds else values)
        except (OverflowError, pa.ArrowInvalid):
            return pa.array([None if value is None else _as_text(value) for value in values], pa.string())
    if len(kinds) == 1 and kinds <= {str, bool}:
        return pa.array(values)
    return pa.array([None if value is None else _as_text(value) for value in values], pa.string())


def _as_text(value: Any) -> str:
    if isinstance(value, dict | list):
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    return normal(value) or ""


def _check_names(names: Sequence[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise Unusable(f'has two columns named "{twice[0]}"; name each column once')
