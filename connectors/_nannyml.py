"""The tables that NannyML writes of its results, read into chunks: from Parquet or CSV, with two or three levels of
columns, or with these joined into one name.
"""

from __future__ import annotations

import ast
import csv
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from connectors._fields import finite, moment, whole
from connectors._files import HEAD, lines
from tandem.child import Child, Refused
from tandem.connect import Item, SourceRefused
from tandem.summarise.small import table

Family = Literal["performance", "estimate", "data"]
METHODS = ("jensen_shannon", "kolmogorov_smirnov", "chi2", "l_infinity", "wasserstein", "hellinger")
WHOLE = ("reconstruction_error", "domain_classifier_auroc")
"""Methods that judge all features together."""
PERFORMANCE = frozenset({
    "roc_auc", "accuracy", "f1", "precision", "recall", "specificity", "average_precision", "business_value",
    "true_positive", "true_negative", "false_positive", "false_negative", "mae", "mape", "mse", "msle", "rmse", "rmsle",
})  # fmt: skip
_FIELDS = (
    "value", "sampling_error", "realized", "upper_confidence_boundary", "lower_confidence_boundary", "upper_threshold",
    "lower_threshold", "alert",
)  # fmt: skip
_CHUNK = ("key", "chunk_index", "start_index", "end_index", "start_date", "end_date", "period", "targets_missing_rate")
_CELL = re.compile(r"true_(?P<actual>.+)_pred_(?P<predicted>.+)", re.DOTALL)
_PARQUET = (re.compile(rb"\('chunk', (?:'chunk', )?'start_date'\)"), re.compile(rb"chunk_start_date"))
_CSV = (
    re.compile(rb"^[^\n]{0,40}chunk,chunk,chunk[^\n]*\r?\n(?:[^\n]*\r?\n)?[^\n]{0,40}key,chunk_index,start_index,"),
    re.compile(rb"^[^\n]{0,40}chunk_key,chunk_index,chunk_start_index,"),
)
_LEVEL = 3
_NAME = 2_000
Path_ = tuple[str, ...]


@dataclass
class Metric:
    """What a chunk says of one metric, or of one feature by one method (`feature`, `name` the method)."""

    name: str
    feature: str = ""
    fields: dict[str, Any] = field(default_factory=dict)

    def number(self, name: str) -> float | None:
        """A finite number; None where there is none."""
        return finite(self.fields.get(name))

    @property
    def alert(self) -> bool | None:
        """What NannyML says; None where there is no value to say it of."""
        said = self.fields.get("alert")
        return said if isinstance(said, bool) and self.number("value") is not None else None


@dataclass
class Chunk:
    """One chunk of the analysis period; times are epoch seconds, `n` counts its rows."""

    start: int
    end: int
    n: int | None
    missing: int | None
    """Rows whose target is not there yet, where it is told."""
    metrics: list[Metric]


@dataclass
class Result:
    """One table: which family it is of, and its chunks of the analysis period in order."""

    family: Family
    chunks: list[Chunk]
    rejected: list[str] = field(default_factory=list)


def is_result(item: Item) -> bool:
    """Whether a file is a table of NannyML's: by the names of its columns."""
    head = item.head.removeprefix(b"\xef\xbb\xbf")
    if not head.startswith(b"PAR1"):
        return any(mark.search(head) for mark in _CSV)
    return any(mark.search(head) or mark.search(_end(item)) for mark in _PARQUET)


def _end(item: Item) -> bytes:
    """The last bytes of a file, where Parquet has the names of its columns."""
    if item.path.name != item.name.rpartition("/")[2]:
        return b""  # a member of an archive: its beginning has to do
    try:
        with item.path.open("rb") as opened:
            size = opened.seek(0, 2)
            opened.seek(max(0, size - HEAD))
            return opened.read(HEAD)
    except OSError:
        return b""


def result_of(item: Item, zone: str | None, child: Child) -> Result:
    """The chunks of a file; Parquet is opened in `child`. Raises SourceRefused for a file that is no result."""
    names, rows = _parquet(item, child) if item.head.startswith(b"PAR1") else _csv(item)
    places = {path: place for place, path in enumerate(names) if path}
    chunk = {path[-1]: place for path, place in places.items() if path[0] == "chunk"}
    if not {"start_date", "period"} <= set(chunk):
        raise SourceRefused(f"{item.name} is no result of NannyML: it has no chunks with a start and a period.")
    paths = [path for path in places if path[0] != "chunk"]
    family = _family(paths, "targets_missing_rate" in chunk)
    if family is None:
        raise SourceRefused(
            f"{item.name} holds statistics or data quality: NannyML does not write which, so it is not read."
        )
    found = Result(family, [])
    for row in rows:
        told = {name: row[place] for name, place in chunk.items()}
        if told["period"] != "analysis":
            continue
        metrics = _metrics(paths, places, row)
        try:
            found.chunks.append(_chunk(told, metrics, zone))
        except ValueError as error:
            found.rejected.append(f"a chunk is left out: {str(error).rstrip('.')}")
    found.chunks.sort(key=lambda one: one.start)
    return found


def _family(paths: Sequence[Path_], targets: bool) -> Family | None:
    if any(len(path) == _LEVEL or path[0] in WHOLE for path in paths):
        return "data"
    if any(path[-1] == "realized" for path in paths):
        return "estimate"
    named = {path[0] for path in paths}
    if targets or named & PERFORMANCE or any(_CELL.fullmatch(name) for name in named):
        return "performance"
    return None


def _metrics(paths: Sequence[Path_], places: Mapping[Path_, int], row: Sequence[Any]) -> list[Metric]:
    found: dict[Path_, Metric] = {}
    for path in paths:
        of = path[:-1] if path[-1] in _FIELDS else path
        name = path[-1] if path[-1] in _FIELDS else "value"  # a cell of a matrix of several classes has no fields
        if not of:
            continue
        metric = found.setdefault(of, Metric(of[-1], of[0] if len(of) > 1 else ""))
        metric.fields[name] = row[places[path]]
    return list(found.values())


def _chunk(told: Mapping[str, Any], metrics: list[Metric], zone: str | None) -> Chunk:
    begin, end = (_time(told.get(name), zone) for name in ("start_date", "end_date"))
    first, last = whole(told.get("start_index")), whole(told.get("end_index"))
    n = last - first + 1 if first is not None and last is not None and last >= first else None
    rate = finite(told.get("targets_missing_rate"))
    missing = whole(rate * n) if rate is not None and n is not None and 0 <= rate <= 1 else None
    return Chunk(begin, max(begin, end), n, missing, metrics)


def _time(said: Any, zone: str | None) -> int:
    text = said if isinstance(said, str) else ""
    if not text:
        raise ValueError("it says no time; give NannyML the timestamp column")
    return moment(text, zone)


def cells_of(metrics: Iterable[Metric], positive: str, negative: str, which: str) -> dict[tuple[str, str], int] | None:
    """The counts per (actual, predicted), of two classes or of several; None where they are not whole counts."""
    binary = {
        "true_positive": (positive, positive), "false_negative": (positive, negative),
        "false_positive": (negative, positive), "true_negative": (negative, negative),
    }  # fmt: skip
    cells: dict[tuple[str, str], int] = {}
    for metric in metrics:
        match = _CELL.fullmatch(metric.name)
        place = (match["actual"], match["predicted"]) if match else binary.get(metric.name)
        if place is None:
            continue
        n = whole(metric.fields.get(which))
        if n is None:
            return None
        cells[place] = n
    known = len(cells) == len(binary) or (len(cells) > len(binary) and _square(cells))
    return cells if known and any(cells.values()) else None


def _square(cells: Mapping[tuple[str, str], int]) -> bool:
    classes = {actual for actual, _ in cells}
    return classes == {predicted for _, predicted in cells} and len(cells) == len(classes) ** 2


# -- tables


def _parquet(item: Item, child: Child) -> tuple[list[Path_], list[list[Any]]]:
    with tempfile.TemporaryDirectory() as folder:
        try:
            names, rows = table(child, _plain(item, Path(folder)))
        except Refused as no:
            raise SourceRefused(f"{item.name} {no}.") from None
    return [_path(name) for name in names], rows


def _plain(item: Item, folder: Path) -> Path:
    """The file itself, or a copy of one that lies compressed or in an archive."""
    with item.path.open("rb") as raw:
        if raw.read(4) == b"PAR1":
            return item.path
    copy = folder / "result.parquet"
    with item.open() as packed, copy.open("wb") as plain:
        shutil.copyfileobj(packed, plain)
    return copy


def _path(name: str) -> Path_:
    """The levels of a column; pandas writes them as "('accuracy', 'value')"."""
    if name.startswith("(") and len(name) <= _NAME:
        try:
            levels = ast.literal_eval(name)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            return _flat(name)
        if isinstance(levels, tuple) and levels and all(isinstance(one, str) for one in levels):
            return levels[1:] if levels[:2] == ("chunk", "chunk") else levels
    return _flat(name)


def _flat(name: str) -> Path_:
    """The levels of a joined name: names of features hold "_" too, so known endings decide."""
    rest = name.removeprefix("chunk_")
    if name.startswith("chunk_") and (name in _CHUNK or rest in _CHUNK):
        return ("chunk", name if name in _CHUNK else rest)
    for ending in _FIELDS:
        if name.endswith(f"_{ending}"):
            of = name.removesuffix(f"_{ending}")
            method = next((one for one in METHODS if of.endswith(f"_{one}")), "")
            return (of.removesuffix(f"_{method}"), method, ending) if method else (of, ending)
    return (name,) if _CELL.fullmatch(name) else ()


def _csv(item: Item) -> tuple[list[Path_], list[list[Any]]]:
    try:
        rows = list(csv.reader(_texts(item)))
    except csv.Error as error:
        raise SourceRefused(f"{item.name} is no usable CSV ({error}); export it again.") from None
    if not rows:
        raise SourceRefused(f"{item.name} is empty.")
    levels = _levels(rows)
    width = len(rows[0])
    if levels == 1:
        names = [_flat(name) for name in rows[0]]
    else:
        heads = [[row[place] if place < len(row) else "" for row in rows[:levels]] for place in range(width)]
        names = [_joined(head) for head in heads]
    body = [row for row in rows[levels:] if len(row) == width]
    if len(body) < len(rows) - levels:
        raise SourceRefused(
            f"{item.name} has rows of another length than its header, perhaps cut off; export it again."
        )
    return names, [[_value(text) for text in row] for row in body]


def _texts(item: Item) -> Iterator[str]:
    return lines(item, ends=True)


def _levels(rows: Sequence[Sequence[str]]) -> int:
    """How many rows are names of columns."""
    if "chunk" not in rows[0]:
        return 1
    place = rows[0].index("chunk")
    below = rows[1][place] if len(rows) > 1 and place < len(rows[1]) else ""
    return _LEVEL if below == "chunk" else 2


def _joined(head: Sequence[str]) -> Path_:
    levels = tuple(head)
    if not all(levels):
        return ()  # the numbers of the rows
    return levels[1:] if levels[:2] == ("chunk", "chunk") else levels


def _value(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    try:
        return float(text)
    except ValueError:
        return text or None
