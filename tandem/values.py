"""Columns of people's files as values: numbers, texts, times, and the hashes of ids."""

from __future__ import annotations

import re
from collections.abc import Set
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tandem import times

Array = np.ndarray[Any, Any]

UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_MISSING_NUMBERS = ("na", "n/a", "#n/a", "nan", "null", "none", "-nan", "inf", "-inf", "+inf", "infinity", "-infinity")
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_WHOLE = re.compile(r"([+-]?[0-9]+)\.0*")


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of that type is text."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def kind_of(of: pa.DataType) -> str:
    """number, text, boolean, time or other."""
    if pa.types.is_dictionary(of):
        of = of.value_type
    if pa.types.is_boolean(of):
        return "boolean"
    if pa.types.is_integer(of) or pa.types.is_floating(of) or pa.types.is_decimal(of):
        return "number"
    if is_text(of) or pa.types.is_string_view(of):
        return "text"
    if pa.types.is_timestamp(of):
        return "time"
    return "other"


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


def same_classes(texts: Set[str]) -> dict[str, str]:
    """Classes that are one under two names: a log that writes true here and 1 there means the same by them."""
    truths = {"true": "1", "false": "0"}
    mixed = texts <= {*truths, *truths.values()} and texts & truths.keys() and texts & set(truths.values())
    return truths if mixed else {}


def categories(column: pa.Array) -> tuple[Array, list[str]]:
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
    return found[indices.to_numpy(zero_copy_only=False)], list(at)


def numbers(column: pa.Array) -> tuple[Array, Array | None, Array | None]:
    """A column as (float64 values, which are missing or not finite, which are no numbers at all); None for "none".

    Both kinds hold 0.0 in the values.
    """
    wrong: Array | None = None
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if kind_of(column.type) == "text":
        column, wrong = _parsed(column)
    elif pa.types.is_boolean(column.type) or kind_of(column.type) in ("time", "other"):
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
    kind = kind_of(column.type)
    if kind == "time":
        return _timestamps(column, zone)
    if unit is not None and kind in ("number", "text"):
        values, missing, wrong = numbers(column)
        bad = either(missing, wrong, len(column)) | (np.abs(values) > 9e18)
        seconds = np.floor(np.where(bad, 0.0, values) / UNITS[unit])
        return seconds.astype(np.int64), bad.astype(np.int8) * NO_TIME
    if kind == "number":
        return np.zeros(len(column), np.int64), np.where(_nulls(column), NO_TIME, NO_UNIT).astype(np.int8)
    if kind != "text":
        return np.zeros(len(column), np.int64), np.full(len(column), NO_TIME, np.int8)
    return _written(column, zone)


def either(a: Array | None, b: Array | None, size: int) -> Array:
    """Which of `size` rows are in one of two sets of rows; None is none."""
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
    if kind_of(column.type) != "text":
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
