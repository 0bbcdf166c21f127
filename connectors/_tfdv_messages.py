"""The messages of TensorFlow Data Validation, in any of their forms: bytes, TFRecord, text and JSON.

What their fields are called and numbered is tensorflow_metadata's statistics.proto, anomalies.proto and schema.proto.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from connectors import _textproto, _tfrecord
from connectors._files import CAP, HEAD, load_json, text
from connectors._protobuf import BYTES, FIXED32, FIXED64, VARINT, BadMessage, double, fields, signed, single, varint
from tandem.connect import Item, SourceRefused

Message = Mapping[str, list[Any]]
"""All values of each field by its name: int, float, str or Message."""
Table = dict[int, tuple[str, Any]]
"""Name and kind by number; a kind is one of the words below, a tuple of an enum's names, or the table of a message."""

_WIRES = {"whole": VARINT, "truth": VARINT, "double": FIXED64, "float": FIXED32, "text": BYTES, "other": BYTES}
"""The wire type of each kind; "other" is a message whose content is of no use here."""

_PATH: Table = {1: ("step", "text")}
_BUCKET: Table = {1: ("low_value", "double"), 2: ("high_value", "double"), 3: ("", "double"),
                  4: ("sample_count", "double")}  # fmt: skip
_HISTOGRAM: Table = {
    1: ("num_nan", "whole"), 2: ("num_undefined", "whole"), 3: ("buckets", _BUCKET),
    4: ("type", ("STANDARD", "QUANTILES")), 5: ("name", "text"),
}  # fmt: skip
_COMMON: Table = {
    1: ("num_non_missing", "whole"), 2: ("num_missing", "whole"), 3: ("min_num_values", "whole"),
    4: ("max_num_values", "whole"), 5: ("avg_num_values", "float"), 6: ("num_values_histogram", "other"),
    7: ("weighted_common_stats", "other"), 8: ("tot_num_values", "whole"),
    9: ("feature_list_length_histogram", "other"), 10: ("presence_and_valency_stats", "other"),
    11: ("weighted_presence_and_valency_stats", "other"),
}  # fmt: skip
_NUMERIC: Table = {
    1: ("common_stats", _COMMON), 2: ("mean", "double"), 3: ("std_dev", "double"), 4: ("num_zeros", "whole"),
    5: ("min", "double"), 6: ("median", "double"), 7: ("max", "double"), 8: ("histograms", _HISTOGRAM),
    9: ("weighted_numeric_stats", "other"),
}  # fmt: skip
_RANKED: Table = {1: ("low_rank", "whole"), 2: ("high_rank", "whole"), 4: ("label", "text"),
                  5: ("sample_count", "double")}  # fmt: skip
_STRINGS: Table = {
    1: ("common_stats", _COMMON), 2: ("unique", "whole"), 3: ("top_values", "other"), 4: ("avg_length", "float"),
    5: ("rank_histogram", {1: ("buckets", _RANKED), 2: ("name", "text")}), 6: ("weighted_string_stats", "other"),
    7: ("vocabulary_file", "text"), 8: ("invalid_utf8_count", "whole"),
}  # fmt: skip
_BYTES_STATS: Table = {1: ("common_stats", _COMMON), 2: ("unique", "whole"), **{
    number: (name, "float") for number, name in ((3, "avg_num_bytes"), (4, "min_num_bytes"), (5, "max_num_bytes"))},
    6: ("min_num_bytes_int", "whole"), 7: ("max_num_bytes_int", "whole")}  # fmt: skip
_FEATURE: Table = {
    1: ("name", "text"), 2: ("type", ("INT", "FLOAT", "STRING", "BYTES", "STRUCT")), 3: ("num_stats", _NUMERIC),
    4: ("string_stats", _STRINGS), 5: ("bytes_stats", _BYTES_STATS), 6: ("custom_stats", "other"),
    7: ("struct_stats", {1: ("common_stats", _COMMON)}), 8: ("path", _PATH), 9: ("", "other"), 10: ("", "other"),
}  # fmt: skip
_DATASET: Table = {
    1: ("name", "text"), 2: ("num_examples", "whole"), 3: ("features", _FEATURE),
    4: ("weighted_num_examples", "double"), 5: ("cross_features", "other"),
}  # fmt: skip
STATISTICS: Table = {1: ("datasets", _DATASET)}

_DOMAIN: Table = {1: ("name", "text"), 2: ("value", "text")}
SCHEMA: Table = {1: ("feature", {1: ("name", "text"), 7: ("domain", "text"), 11: ("string_domain", _DOMAIN)}),
                 4: ("string_domain", _DOMAIN)}  # fmt: skip
_SEVERITY = ("UNKNOWN", "WARNING", "ERROR")
_INFO: Table = {
    2: ("description", "text"), 4: ("diff_regions", "other"), 5: ("severity", _SEVERITY),
    6: ("short_description", "text"), 8: ("path", _PATH),
    7: ("reason", {1: ("", "whole"), 2: ("short_description", "text"), 3: ("description", "text")}),
}  # fmt: skip
_MEASURED: Table = {
    1: ("type", ("UNKNOWN", "L_INFTY", "JENSEN_SHANNON_DIVERGENCE", "NORMALIZED_ABSOLUTE_DIFFERENCE")),
    2: ("value", "double"), 3: ("threshold", "double"),
}  # fmt: skip
_SKEW: Table = {1: ("path", _PATH), 2: ("drift_measurements", _MEASURED), 3: ("skew_measurements", _MEASURED)}
ANOMALIES: Table = {
    1: ("baseline", SCHEMA), 2: ("anomaly_info", {1: ("key", "text"), 2: ("value", _INFO)}),
    3: ("data_missing", "truth"), 6: ("baseline_v1", SCHEMA), 8: ("dataset_anomaly_info", _INFO),
    7: ("anomaly_name_format", ("UNKNOWN", "SERIALIZED_PATH")), 9: ("drift_skew_info", _SKEW),
}  # fmt: skip
_MAPS = frozenset({"anomaly_info"})

_TEXTS = {
    "statistics": re.compile(rb"(?:\s+|#[^\n]*\n)*datasets\s*:?\s*[{<]"),
    "anomalies": re.compile(
        rb"(?:\s+|#[^\n]*\n)*(?:(?:baseline|anomaly_info|drift_skew_info|dataset_anomaly_info)\s*:?\s*[{<]"
        rb"|anomaly_name_format\s*:|data_missing\s*:)"
    ),
    "schema": re.compile(
        rb"(?:\s+|#[^\n]*\n)*(?:feature\s*:?\s*[{<]\s*name\s*:\s*\"[^\"]*\"[^{}<>]{0,400}?\btype\s*:\s*(?:INT|FLOAT|BYTES|STRUCT)\b"
        rb"|string_domain\s*:?\s*[{<]\s*name\s*:)"
    ),
}
_JSON = {
    "statistics": re.compile(rb"\s*\{\s*\"datasets\"\s*:\s*\[\s*\{.*?\"num_?[eE]xamples\"\s*:", re.DOTALL),
    "anomalies": re.compile(
        rb"\s*\{\s*\"(?:baseline\"\s*:\s*\{\s*\"(?:feature|string_?[dD]omain)|anomaly_?[iI]nfo|anomaly_?[nN]ame_?[fF]ormat"
        rb"|drift_?[sS]kew_?[iI]nfo|data_?[mM]issing|dataset_?[aA]nomaly_?[iI]nfo)\""
    ),
}
_TABLES = {"statistics": STATISTICS, "anomalies": ANOMALIES, "schema": SCHEMA}
_LONGEST = 20
"""Bytes of the numbers before a field, at most."""
_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")


def kind_of(head: bytes, name: str = "") -> str:
    """What a file holds by its first bytes: "statistics", "anomalies", "schema", or "" for none of them.

    The name helps only where a long schema stands before all that tells anomalies from it.
    """
    written = head.removeprefix(b"\xef\xbb\xbf")
    for shapes in (_TEXTS, _JSON):
        for kind, shape in shapes.items():
            if shape.match(written):
                return kind
    binary = head
    if _is_framed(head):
        binary = head[_tfrecord.HEADER : _tfrecord.HEADER + int.from_bytes(head[:8], "little")]
    if _names(binary, STATISTICS) >= {"datasets", "features", "common_stats"}:
        return "statistics"
    found = _names(binary, ANOMALIES)
    told = found & {"anomaly_info", "anomaly_name_format", "drift_skew_info", "dataset_anomaly_info"}
    cut = len(head) >= HEAD and PurePath(name).name == "SchemaDiff.pb"
    return "anomalies" if found & {"baseline", "baseline_v1"} and (told or cut) else ""


def read(item: Item, kind: str) -> Message:
    """The one message of a file; raises SourceRefused with what is wrong with it."""
    table = _TABLES[kind]
    try:
        if _TEXTS[kind].match(item.head.removeprefix(b"\xef\xbb\xbf")):
            return _shaped(_textproto.message(text(item)), table)
        if kind in _JSON and _JSON[kind].match(item.head.removeprefix(b"\xef\xbb\xbf")):
            return _shaped(load_json(item, float), table)
        return _decoded(data := _bytes(item), 0, len(data), table)
    except (BadMessage, _textproto.BadText, _tfrecord.BrokenFraming, ValueError) as wrong:
        raise SourceRefused(f"{item.name} cannot be used: {wrong}; export it again.") from None


def _bytes(item: Item) -> bytes:
    """The bytes of the message: those of the file, or of its one record."""
    with item.open() as opened:
        if not _is_framed(item.head):
            data = opened.read(CAP + 1)
            if len(data) > CAP:
                raise BadMessage(f"it holds more than {CAP / 1e6:g} MB")
            return data
        found = [one for some in _tfrecord.records(opened) for one in some]
    if len(found) != 1 or found[0].data is None:
        why = found[0].why if len(found) == 1 else f"{len(found)} whole records instead of one"
        raise BadMessage(f"it holds {why}")
    return found[0].data


def _is_framed(head: bytes) -> bool:
    """Whether a file begins with the length of a record and its right sum."""
    if len(head) < _tfrecord.HEADER:
        return False
    return int.from_bytes(head[8:12], "little") == int(_tfrecord.crc32c([head[:8]])[0])


# -- from bytes


def _decoded(data: bytes, begin: int, end: int, table: Table) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for number, wire, value in fields(data, begin, end):
        name, kind = table.get(number, ("", None))
        if not name or kind == "other":
            continue
        if wire != _wire(kind):
            raise BadMessage(f"the field {name} is written as another one")
        found.setdefault(name, []).append(_value(data, value, kind))
    return found


def _wire(kind: Any) -> int:
    if isinstance(kind, str):
        return _WIRES[kind]
    return VARINT if isinstance(kind, tuple) else BYTES


def _value(data: bytes, value: Any, kind: Any) -> Any:
    if isinstance(kind, dict):
        return _decoded(data, value[0], value[1], kind)
    if isinstance(kind, tuple):
        return kind[value] if value < len(kind) else str(value)
    if kind == "text":
        return data[value[0] : value[1]].decode("utf-8", "replace")
    if kind in ("double", "float"):
        return (double if kind == "double" else single)(data, value[0])
    return signed(value)


def _names(data: bytes, table: Table) -> frozenset[str]:
    """The names of all fields in the beginning of a message; none where anything in it cannot belong there."""
    try:
        return frozenset(_walked(data, 0, len(data), table))
    except BadMessage:
        return frozenset()


def _walked(data: bytes, begin: int, end: int, table: Table) -> Iterator[str]:
    while begin < end:
        if end == len(data) and end - begin < _LONGEST:
            return  # the head of a file may end within a number
        key, begin = varint(data, begin, end)
        known = table.get(key >> 3)
        if known is None or key & 7 != _wire(known[1]):
            raise BadMessage("a field that is not of this message")
        yield known[0]
        size = {FIXED64: 8, FIXED32: 4}.get(key & 7, 0)
        if key & 7 in (VARINT, BYTES):
            value, begin = varint(data, begin, end)
            size = value if key & 7 == BYTES else 0
        if begin + size > end and end < len(data):
            raise BadMessage("a field reaches past its message")
        if isinstance(known[1], dict) and known[1] is not SCHEMA:
            yield from _walked(data, begin, min(begin + size, end), known[1])
        begin += size


# -- from text and JSON


def _shaped(raw: Any, table: Table) -> dict[str, list[Any]]:
    """The fields of a message that stands as text or JSON, with their values as their kinds say; raises ValueError."""
    if not isinstance(raw, dict):
        raise ValueError("it holds a value where a message should be")
    kinds = dict(table.values())
    found: dict[str, list[Any]] = {}
    for given, values in raw.items():
        name = _CAMEL.sub(r"_\1", given).lower()
        kind = kinds.get(name)
        if kind is None or kind == "other" or values is None:
            continue
        if name in _MAPS and isinstance(values, dict):
            values = [{"key": key, "value": value} for key, value in values.items()]
        some = values if isinstance(values, list) else [values]
        found[name] = [_plain(one, kind, name) for one in some]
    return found


def _plain(value: Any, kind: Any, name: str) -> Any:
    if isinstance(kind, dict):
        return _shaped(value, kind)
    if isinstance(kind, tuple):
        said = str(value)
        return kind[int(said)] if said.isascii() and said.isdigit() and int(said) < len(kind) else said
    if kind == "text":
        return str(value)
    if kind == "truth":
        return int(str(value).lower() in ("true", "t", "1"))
    try:
        return int(value) if kind == "whole" else float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name} is no number") from None
