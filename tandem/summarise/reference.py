"""Layouts made of a log's own values. What begins with `child_` runs in the child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tandem import bins, rows
from tandem.bins import CATEGORIES, OTHER, Layout
from tandem.cells import FLUSH_ROWS
from tandem.child import Frame
from tandem.records import Histogram
from tandem.summarise.spec import Spec, spec_of
from tandem.values import categories, either, instants, numbers

Array = np.ndarray[Any, Any]


def number_layout(values: Array) -> tuple[Layout, Histogram, float, float]:
    """The layout of a numeric column, the histogram of the values it was made of, and their least and greatest."""
    ordered = np.sort(values) + 0.0
    layout = bins.feature_layout(ordered)
    ends = np.searchsorted(ordered, np.asarray(layout.edges), side="left")
    borders = [0, *ends.tolist(), ordered.size]
    counts: dict[int, int] = {}
    sums: dict[int, int] = {}
    for place, (begin, end) in enumerate(pairwise(borders)):
        if end > begin:
            counts[place] = end - begin
            sums[place] = _exact_sum(bins.quanta(ordered[begin:end], layout.digits or 0))
    return layout, Histogram(layout, counts, sums), float(ordered[0]), float(ordered[-1])


def _exact_sum(quanta: Array) -> int:
    if quanta.dtype == object:
        return sum(quanta.tolist())
    return sum(int(piece.sum()) for piece in np.array_split(quanta, quanta.size // FLUSH_ROWS + 1))


def category_layout(counts: Mapping[str, int]) -> tuple[Layout, Histogram]:
    """The layout of a categorical column: its commonest values in the order of their text; and their histogram."""
    common = sorted(counts, key=lambda text: (-counts[text], text))[:CATEGORIES]
    values = tuple(sorted(common))
    found = {place: counts[text] for place, text in enumerate(values)}
    rest = sum(counts.values()) - sum(found.values())
    if rest:
        found[OTHER] = rest
    layout = Layout(kind="categories", values=values)
    return layout, Histogram(layout, found, {})


def child_values(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The values of some columns, part by part."""
    spec = spec_of(given["spec"])
    opened = rows.open_rows(Path(given["path"]))
    columns = {name: kind for name, kind in given["columns"].items() if name in opened.kinds or opened.format == "json"}
    times = [spec.time] if spec.reference else []
    for number, part in enumerate(opened.parts(list(dict.fromkeys([*times, *columns])))):
        if number % given["stride"] != given["offset"]:
            continue
        kept = _within(part, spec, part.kept(arrays["left_out"]))
        for name, kind in columns.items():
            column = part.column(name)
            column = column if kept is None else column.take(pa.array(kept))
            if kind == "number":
                yield {"column": name}, {"values": _finite(column)}
            else:
                index, texts = categories(column)
                counts = np.bincount(index[index >= 0], minlength=len(texts)).tolist()
                yield {"column": name, "counts": list(zip(texts, counts, strict=True))}, {}


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


def child_extent(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The largest error and true value."""
    spec = spec_of(given["spec"])
    opened = rows.open_rows(Path(given["path"]))
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
