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
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import zstandard

from tandem import times
from tandem.child import Refused

Array = np.ndarray[Any, Any]

RATIO = 200
"""Most bytes a compressed file may grow to, per compressed byte, once it is over FREE."""
FREE = 64_000_000
LINES = 50_000
"""JSON lines per part."""
BLOCK = 8_000_000
"""Bytes of CSV per part; a line cannot be longer."""
UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MISSING_NUMBERS = ("na", "n/a", "#n/a", "nan", "null", "none", "-nan", "inf", "-inf", "+inf", "infinity", "-infinity")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")
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


@dataclass
class Rows:
    """An opened file. `kinds`: number, text, boolean, time or other, by column."""

    format: str
    kinds: dict[str, str]
    parts: Callable[[Sequence[str]], Iterator[Part]]
    count: int | None = None
    """How many rows it has, where the file says so."""


def open_rows(path: Path) -> Rows:
    """The rows of a file, told apart by its first bytes; raises Unusable."""
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
        return _parquet(path, packed)
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


def _unpacked(path: Path, packed: Callable[[Any], Any] | None) -> Any:
    plain = path.open("rb")
    if packed is None:
        return plain
    return io.BufferedReader(_Counted(packed(plain), path.stat().st_size), 1 << 20)


def _read(stream: Any, size: int) -> bytes:
    return bytes(stream.read(size))


# -- Parquet


def _parquet(path: Path, packed: Callable[[Any], Any] | None) -> Rows:
    source: Any = path if packed is None else pa.BufferReader(_unpacked(path, packed).read())
    try:
        plain = pq.ParquetFile(source, memory_map=False)
        schema = plain.schema_arrow
        rows = plain.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError):
        raise Unusable("is cut off or damaged and is not readable as Parquet; export it again") from None
    _check_names(schema.names)
    kinds = {one.name: _kind(one.type) for one in schema}
    return Rows("parquet", kinds, lambda names: _row_groups(source, schema, names), rows)


def _row_groups(source: Any, schema: pa.Schema, names: Sequence[str]) -> Iterator[Part]:
    text = [name for name in names if _is_text(schema.field(name).type)]
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
            yield Part(rows, first, _column_reader(opened, number, rows))
        first += rows


def _column_reader(opened: pq.ParquetFile, number: int, rows: int) -> Callable[[str], pa.Array]:
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


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _kind(of: pa.DataType) -> str:
    if pa.types.is_dictionary(of):
        of = of.value_type
    if pa.types.is_boolean(of):
        return "boolean"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if _is_text(of) or pa.types.is_string_view(of):
        return "text"
    if pa.types.is_timestamp(of):
        return "time"
    return "other"


# -- CSV


def _csv(path: Path, packed: Callable[[Any], Any] | None) -> Rows:
    with _unpacked(path, packed) as stream:
        names = _header(stream)
    _check_names(names)
    kinds = dict.fromkeys(names, "text")
    return Rows("csv", kinds, lambda wanted: _csv_parts(path, packed, names, wanted))


def _header(stream: Any) -> list[str]:
    reader = _csv_reader(stream, [], [])
    return list(reader.schema.names)


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
    with _unpacked(path, packed) as stream:
        reader = _csv_reader(stream, names, wanted)
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except (pa.ArrowInvalid, UnicodeDecodeError) as error:
                raise Unusable(_said_of_csv(error)) from None
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


# -- columns as values


def normal(value: object) -> str | None:
    """The normalised text by which ids, classes and categories compare: 1, 1.0 and "1" are one; None if missing."""
    if value is None:
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return str(int(value)) if value.is_integer() else repr(value)
    if isinstance(value, Decimal):
        value = format(value, "f")
        value = value.rstrip("0") if "." in value else value
    text = str(value).strip()
    if text in ("True", "TRUE", "False", "FALSE"):
        return text.lower()
    whole = _WHOLE.fullmatch(text)
    if whole:
        text = whole[1]
    return "0" if text == "-0" else text or None


def texts(column: pa.Array) -> tuple[Array, list[str]]:
    """A column as (index of each row's text, -1 where missing; the texts), normalised."""
    if pa.types.is_floating(column.type) and not pa.types.is_float64(column.type):
        # 0.1 as a 32-bit number is 0.1 in text, not 0.10000000149011612.
        column = pc.cast(column, pa.string())
    encoded = column if pa.types.is_dictionary(column.type) else column.dictionary_encode()
    at: dict[str, int] = {}
    place = [
        -1 if text is None else at.setdefault(text, len(at)) for text in map(normal, encoded.dictionary.to_pylist())
    ]
    indices = encoded.indices
    if indices.null_count:
        indices = pc.fill_null(indices, len(place))
    found = np.asarray([*place, -1], dtype=np.int32)
    return np.take(found, indices.to_numpy(zero_copy_only=False)), list(at)


def numbers(column: pa.Array) -> tuple[Array, Array | None, Array | None]:
    """A column as (float64 values, which are missing or not finite, which are no numbers at all); None for "none".

    Both kinds hold 0.0 in the values.
    """
    wrong: Array | None = None
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if _kind(column.type) == "text":
        column, wrong = _parsed(column)
    elif pa.types.is_boolean(column.type) or _kind(column.type) in ("time", "other"):
        wrong = ~_nulls(column)
        column = pa.nulls(len(column), pa.float64())
    if not pa.types.is_float64(column.type):
        column = pc.cast(column, pa.float64(), safe=False)
    missing = _nulls(column) if column.null_count else None
    values = np.frombuffer(column.buffers()[1], dtype=np.float64)[column.offset : column.offset + len(column)]
    return _finite(values, missing, wrong)


def _finite(values: Array, missing: Array | None, wrong: Array | None) -> tuple[Array, Array | None, Array | None]:
    with np.errstate(invalid="ignore", over="ignore"):
        finite = bool(np.isfinite(values.sum()))
    if finite and missing is None:
        return values, None, wrong if wrong is not None and wrong.any() else None
    missing = ~np.isfinite(values) if missing is None else missing | ~np.isfinite(values)
    values = np.where(missing, 0.0, values)
    if wrong is not None:
        missing &= ~wrong
        wrong = wrong if wrong.any() else None
    return values, missing if missing.any() else None, wrong


def _nulls(column: pa.Array) -> Array:
    return np.asarray(pc.is_null(column).to_numpy(zero_copy_only=False), dtype=bool)


def _parsed(column: pa.Array) -> tuple[pa.Array, Array | None]:
    """Text as numbers, and which texts are none; the usual words for a missing number are missing."""
    try:
        return pc.cast(column, pa.float64()), None
    except pa.ArrowInvalid:
        text = pc.utf8_trim_whitespace(column)
    is_number = pc.match_substring_regex(text, _NUMBER)
    word = pc.is_in(pc.utf8_lower(text), value_set=pa.array(["", *_MISSING_NUMBERS]))
    wrong = pc.fill_null(pc.and_not(pc.invert(is_number), word), False).to_numpy(zero_copy_only=False)
    plain = pc.if_else(pc.fill_null(is_number, False), text, pa.scalar(None, text.type))
    return pc.cast(plain, pa.float64()), np.asarray(wrong, dtype=bool)


NO_TIME, NO_OFFSET, NO_UNIT = 1, 2, 3
"""Why a row has no time: missing or unreadable; without offset and time zone; a number without a declared unit."""


def instants(column: pa.Array, unit: str | None, zone: str | None) -> tuple[Array, Array]:
    """A time column as (epoch seconds as int64, reason why there is none or 0).

    Known are Parquet timestamps, RFC 3339 text with an offset (or in `zone`), and numbers in the declared `unit`.
    """
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = _kind(column.type)
    if kind == "time":
        return _timestamps(column, zone)
    if unit is not None and kind in ("number", "text"):
        values, missing, wrong = numbers(column)
        bad = _either(missing, wrong, len(column)) | (np.abs(values) > 9e18)
        seconds = np.floor(np.where(bad, 0.0, values) / UNITS[unit])
        return seconds.astype(np.int64), bad.astype(np.int8) * NO_TIME
    if kind == "number":
        return np.zeros(len(column), np.int64), np.where(_nulls(column), NO_TIME, NO_UNIT).astype(np.int8)
    if kind != "text":
        return np.zeros(len(column), np.int64), np.full(len(column), NO_TIME, np.int8)
    return _written(column, zone)


def _either(a: Array | None, b: Array | None, size: int) -> Array:
    found = np.zeros(size, dtype=bool)
    for one in (a, b):
        if one is not None:
            found |= one
    return found


def _timestamps(column: pa.Array, zone: str | None) -> tuple[Array, Array]:
    bad = _nulls(column).astype(np.int8) * NO_TIME
    per = UNITS[column.type.unit]
    if column.type.tz is None:
        if zone is None:
            return np.zeros(len(column), np.int64), np.maximum(bad, NO_OFFSET).astype(np.int8)
        column = pc.assume_timezone(column, zone, ambiguous="earliest", nonexistent="latest")
    values = np.frombuffer(column.buffers()[1], dtype=np.int64)[column.offset : column.offset + len(column)]
    return np.where(bad > 0, 0, values // per), bad


def _written(column: pa.Array, zone: str | None) -> tuple[Array, Array]:
    try:
        return _timestamps(pc.cast(column, pa.timestamp("ns", tz="UTC")), zone)
    except pa.ArrowInvalid:
        pass
    encoded = column.dictionary_encode()
    parsed = [_moment(text, zone) for text in encoded.dictionary.to_pylist()]
    known = np.array([(*pair,) for pair in [*parsed, (0, NO_TIME)]], dtype=np.int64)
    place = pc.fill_null(encoded.indices, len(parsed)).to_numpy(zero_copy_only=False)
    return known[place, 0], known[place, 1].astype(np.int8)


_OFFSET = re.compile(r"([zZ]|[+-]\d{2}(:?\d{2})?)$")


def _moment(text: str, zone: str | None) -> tuple[int, int]:
    try:
        return times.iso(text, zone), 0
    except ValueError:
        clock = re.match(r"\d{4}-?\d{2}-?\d{2}[T ]\d{2}", text.strip())
    if clock and zone is None and not _OFFSET.search(text.strip()):
        return 0, NO_OFFSET
    bare = re.fullmatch(r"\d{9,19}(\.\d+)?", text.strip())
    return 0, NO_UNIT if bare else NO_TIME


# -- ids


def fingerprints(column: pa.Array) -> tuple[Array, Array, Array]:
    """Two independent 64-bit hashes of each id's normalised text, and which ids are missing.

    128 bits: among a billion ids the chance that two different ones are taken for one is below 1e-20.
    """
    text = _id_text(column)
    missing = _nulls(text)
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    data = text.buffers()[2]
    raw = np.frombuffer(data, dtype=np.uint8) if data is not None else np.zeros(0, np.uint8)
    padded = np.concatenate([raw, np.zeros(8, np.uint8)])
    words = np.ndarray(shape=(padded.size - 7,), dtype="<u8", buffer=padded.data, strides=(1,))
    begin, length = offsets[:-1], np.diff(offsets)
    first = length.astype(np.uint64) ^ np.uint64(0x9E3779B97F4A7C15)
    second = length.astype(np.uint64) ^ np.uint64(0xC2B2AE3D27D4EB4F)
    longest = int(length.max()) if length.size else 0
    rows: Any = slice(None)
    for at in range(0, longest, 8):
        if at:
            rows = np.flatnonzero(length > at)
        word = words[begin[rows] + at]
        left = length[rows] - at
        short = left < 8
        if short.any():
            keep = np.where(short, left, 8).astype(np.uint64) * np.uint64(8)
            word = np.where(short, word & ((np.uint64(1) << (keep & np.uint64(63))) - np.uint64(1)), word)
        first[rows] = _mixed(first[rows] ^ word, 0xFF51AFD7ED558CCD, 0xC4CEB9FE1A85EC53)
        second[rows] = _mixed(second[rows] ^ word, 0x9FB21C651E98DF25, 0xD6E8FEB86659FD93)
    return first, second, missing | (length == 0)


def _mixed(x: Array, a: int, b: int) -> Array:
    x ^= x >> np.uint64(32)
    x *= np.uint64(a)
    x ^= x >> np.uint64(29)
    x *= np.uint64(b)
    x ^= x >> np.uint64(32)
    return x


def _id_text(column: pa.Array) -> pa.Array:
    """Ids as large_string, normalised as `normal` does; only the few that could change are looked at in Python."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_integer(column.type):
        return pc.cast(column, pa.large_string())
    if _kind(column.type) != "text":
        return pa.array([normal(value) for value in column.to_pylist()], pa.large_string())
    text = pc.cast(column, pa.large_string())
    doubtful = _doubtful(text)
    if not doubtful.any():
        return text
    changed = pa.array([normal(value) for value in text.filter(pa.array(doubtful)).to_pylist()], pa.large_string())
    return pc.replace_with_mask(text, pa.array(doubtful), changed)


def _doubtful(text: pa.Array) -> Array:
    """Texts that normalising may change: spaces outside, "1.0" and "1.", "-0", "True"."""
    offsets = np.frombuffer(text.buffers()[1], dtype=np.int64)[text.offset : text.offset + len(text) + 1]
    data = text.buffers()[2]
    length = np.diff(offsets)
    if data is None or not length.size:
        return np.zeros(len(text), dtype=bool)
    raw = np.concatenate([np.frombuffer(data, dtype=np.uint8), np.zeros(1, np.uint8)])
    first, last = raw[offsets[:-1]], raw[np.maximum(offsets[1:] - 1, 0)]
    odd = (first <= 32) | (last <= 32) | (first >= 128) | (last >= 128) | (last == 46)
    odd |= (first == 45) & (length == 2)
    odd |= ((first == 84) & (length == 4)) | ((first == 70) & (length == 5))
    zero = np.flatnonzero((last == 48) & ~odd)
    if zero.size:
        dotted = pc.match_substring(text.take(pa.array(zero)), ".")
        odd[zero] = pc.fill_null(dotted, False).to_numpy(zero_copy_only=False)
    found: Array = odd & (length > 0)
    return found
