"""Layouts made of a log's own values. What begins with `child_` runs in the child."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from tandem import bins, rows
from tandem.bins import CATEGORIES, OTHER, Layout
from tandem.cells import FLUSH_ROWS
from tandem.child import Frame
from tandem.pieces import open_rows
from tandem.records import Histogram
from tandem.summarise.spec import Spec, layout_of, spec_of
from tandem.values import categories, either, instants, numbers

Array = np.ndarray[Any, Any]

REFERENCE_ROWS = 4_000_000
"""Rows that layouts are made of; of a larger log, parts spread over all files."""
VALUES = 8_000_000
"""Values held together while layouts are made."""


@dataclass(frozen=True)
class Made:
    """A layout, the histogram of the values it was made of, how many they were, and the least and greatest number.

    `squares`: the exact sum of squares of numbers, in quanta of 10**-(2*layout.digits); None of categories.
    """

    column: str
    histogram: Histogram
    count: int
    low: float = 0.0
    high: float = 0.0
    squares: int | None = None


class Unmade(Exception):
    """No more layouts could be made, because of the file of that number."""

    def __init__(self, file: int, why: str) -> None:
        super().__init__(why)
        self.file = file


def made_of(told: Mapping[str, Any]) -> Made:
    """What `_told` made of it for the way between the processes."""
    layout = layout_of(told["layout"])
    assert layout is not None
    histogram = Histogram(layout, dict(told["counts"]), dict(told["sums"]))
    return Made(told["column"], histogram, told["count"], told["low"], told["high"], told["squares"])


def _told(made: Made) -> dict[str, Any]:
    counts, sums = (list(cells.items()) for cells in (made.histogram.counts, made.histogram.sums))
    return {**vars(made), "histogram": None, "layout": asdict(made.histogram.layout), "counts": counts, "sums": sums}


def of_numbers(column: str, pieces: Sequence[Array]) -> Made:
    """The layout of finite numbers."""
    ordered = np.concatenate([np.zeros(0), *pieces])
    if not ordered.size:
        return Made(column, Histogram(Layout(digits=12), {}, {}), 0)
    ordered.sort()
    ordered += 0.0  # -0.0 is 0.0
    layout = bins.ordered_layout(ordered)
    borders = [0, *np.searchsorted(ordered, np.asarray(layout.edges), side="left").tolist(), ordered.size]
    counts: dict[int, int] = {}
    sums: dict[int, int] = {}
    squares = 0
    for place, (begin, end) in enumerate(pairwise(borders)):
        if end > begin:
            counts[place] = end - begin
            quanta = bins.quanta(ordered[begin:end], layout.digits or 0)
            sums[place] = _exact_sum(quanta)
            squares += _exact_squares(quanta)
    return Made(column, Histogram(layout, counts, sums), ordered.size, float(ordered[0]), float(ordered[-1]), squares)


def _exact_sum(quanta: Array) -> int:
    if quanta.dtype == object:
        return sum(quanta.tolist())
    return sum(int(piece.sum()) for piece in np.array_split(quanta, quanta.size // FLUSH_ROWS + 1))


def _exact_squares(quanta: Array) -> int:
    if quanta.dtype == object:
        return sum(one * one for one in quanta.tolist())
    # At most 10**12 quanta: halves of 20 bits and small pieces keep every sum of products below 2**63.
    squares = 0
    for piece in np.array_split(quanta, quanta.size // FLUSH_ROWS + 1):
        high, low = piece >> 20, piece & 0xFFFFF
        parts = (int((high * high).sum()) << 40, int((high * low).sum()) << 21, int((low * low).sum()))
        squares += sum(parts)
    return squares


def of_categories(column: str, counts: Mapping[str, int]) -> Made:
    """The layout of categories: the commonest in the order of their text."""
    common = sorted(counts, key=lambda text: (-counts[text], text))[:CATEGORIES]
    values = tuple(sorted(common))
    found = {place: counts[text] for place, text in enumerate(values)}
    total = sum(counts.values())
    rest = total - sum(found.values())
    if rest:
        found[OTHER] = rest
    return Made(column, Histogram(Layout(kind="categories", values=values), found, {}), total)


def child_layouts(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """A group of columns at a time over all files, so that memory stays bounded; says which file it begins to read."""
    spec, stride = spec_of(given["spec"]), given["stride"]
    for columns in given["groups"]:
        numeric: dict[str, list[Array]] = {name: [] for name in columns}
        counts: dict[str, Counter[str]] = {name: Counter() for name in columns}
        for number, path in enumerate(given["paths"]):
            yield {"file": number}, {}
            for name, column in _chosen(path, spec, columns, arrays[str(number)], stride, number % stride):
                if columns[name] == "number":
                    numeric[name].append(_finite(column))
                else:
                    counts[name].update(_counted(column))
        for name, kind in columns.items():
            made = of_numbers(name, numeric.pop(name)) if kind == "number" else of_categories(name, counts[name])
            yield _told(made), {}


def _chosen(
    path: Any, spec: Spec, columns: Mapping[str, str], left_out: Array, stride: int, offset: int
) -> Iterator[tuple[str, pa.Array]]:
    """Those of the columns that the file has, of every `stride`-th part the rows that layouts are made of."""
    opened = open_rows(path)
    names = [name for name in columns if name in opened.kinds or opened.format == "json"]
    times = [spec.time] if spec.reference else []
    for number, part in enumerate(opened.parts(list(dict.fromkeys([*times, *names])))):
        if number % stride == offset:
            kept = _within(part, spec, part.kept(left_out))
            for name in names:
                column = part.column(name)
                yield name, column if kept is None else column.take(pa.array(kept))


def _counted(column: pa.Array) -> dict[str, int]:
    index, texts = categories(column)
    return dict(zip(texts, np.bincount(index[index >= 0], minlength=len(texts)).tolist(), strict=True))


def _within(part: rows.Part, spec: Spec, kept: Array | None) -> Array | None:
    """Of some rows of a part those in the reference window."""
    if spec.reference is None:
        return kept
    ts, bad = instants(part.column(spec.time), spec.time_unit, spec.timezone)
    inside = (ts >= spec.reference[0]) & (ts < spec.reference[1]) & (bad == 0)
    return np.flatnonzero(inside) if kept is None else kept[inside[kept]]


def _finite(column: pa.Array) -> Array:
    values, missing, wrong = numbers(column)
    for absent in (missing, wrong):
        if absent is not None:
            break
    else:
        return values
    keep = np.ones(values.size, dtype=bool)
    for absent in (missing, wrong):
        if absent is not None:
            keep &= ~absent
    return values[keep]


def child_values(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """The different values of some columns, part by part."""
    opened = open_rows(given["path"])
    for part in opened.parts(opened.wanted(given["columns"])):
        for name in given["columns"]:
            yield {"column": name, "values": categories(part.column(name))[1]}, {}


def child_extent(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The largest error and true value."""
    spec = spec_of(given["spec"])
    opened = open_rows(given["path"])
    largest: list[float] = []
    for part in opened.parts(opened.wanted([spec.prediction])):
        labels = part.own(arrays["labels"])
        values, missing, wrong = numbers(part.column(spec.prediction))
        good = np.isfinite(labels) & ~either(missing, wrong, part.rows)
        kept = part.kept(arrays["left_out"])
        at = np.flatnonzero(good) if kept is None else kept[good[kept]]
        if at.size:
            error = values[at] - labels[at]
            found = [float(np.abs(error[np.isfinite(error)]).max(initial=0.0)), float(np.abs(labels[at]).max())]
            largest = [max(pair) for pair in zip(found, largest or found, strict=True)]
    yield {"extent": largest}, {}
