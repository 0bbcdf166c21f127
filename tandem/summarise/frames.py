"""Filled cells as frames between the two processes, and frames as batches of facts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np

from tandem.bins import SCORE, Layout
from tandem.cells import Emitted, bin_numbers
from tandem.child import Frame
from tandem.records import Batch, Series
from tandem.summarise.spec import Spec, layout_of

Array = np.ndarray[Any, Any]

_HALF = 62
SCORE_BINS = len(SCORE.edges) + 1


def frame(
    found: Emitted, kind: str, signal: str, name: str, layout: Layout | None, columns: Mapping[str, Array],
    names: Sequence[str] | None = None,
) -> Frame:  # fmt: skip
    """Cells of one kind and signal; sums beyond 64 bits travel in two halves."""
    large = [key for key, values in columns.items() if values.dtype == object]
    arrays = {"series": found.series, "ts": found.ts, **columns}
    for key in large:
        values = arrays.pop(key)
        arrays[f"{key}.low"] = (values & ((1 << _HALF) - 1)).astype(np.int64)
        arrays[f"{key}.high"] = (values >> _HALF).astype(np.int64)
    head = {
        "kind": kind,
        "signal": signal,
        "name": name,
        "names": names,
        "keys": found.keys,
        "layout": _told_layout(layout) if layout else None,
        "large": large,
    }
    return head, arrays


@cache
def _told_layout(layout: Layout) -> dict[str, Any]:
    return asdict(layout)


def histogram(found: Emitted, signal: str, name: str, layout: Layout) -> Frame:
    """Counts and sums per bin."""
    place = bin_numbers(layout)[found.bin]
    assert found.n is not None
    total = found.sum if found.sum is not None else np.zeros(found.n.size, np.int64)
    return frame(found, "histogram", signal, name, layout, {"bin": place, "n": found.n, "sum": total})


def moments(found: Emitted, signal: str, name: str, layout: Layout) -> Frame:
    """n, sums and sums of squares."""
    assert found.sum is not None
    assert found.squares is not None
    return frame(found, "moments", signal, name, layout, {"n": found.n, "sum": found.sum, "squares": found.squares})


def ratios(found: Emitted) -> Iterator[Frame]:
    """Volume, valid rows and label coverage from how many rows were (bad, labelled)."""
    both = np.stack([found.series, found.ts])
    pairs, inverse = np.unique(both, axis=1, return_inverse=True)
    counts = np.zeros((pairs.shape[1], 4), np.int64)
    np.add.at(counts, (inverse.reshape(-1), found.bin), found.n)
    total = counts.sum(axis=1)
    at = replace(found, series=pairs[0], ts=pairs[1])
    yield frame(at, "ratio", "volume", "", None, {"good": total, "total": total})
    yield frame(at, "ratio", "valid_rows", "", None, {"good": counts[:, 0] + counts[:, 1], "total": total})
    yield frame(at, "ratio", "label_coverage", "", None, {"good": counts[:, 1] + counts[:, 3], "total": total})


def faults(found: Emitted, names: Sequence[str]) -> Frame:
    """Valid rows of each column and reason: all of them with that fault."""
    used, place = np.unique(found.bin, return_inverse=True)
    at = replace(found, series=place * len(found.keys) + found.series)
    columns = {"good": np.zeros(found.n.size, np.int64), "total": found.n}
    return frame(at, "ratio", "valid_rows", "", None, columns, [names[index] for index in used.tolist()])


def by_class(found: Emitted, classes: Sequence[str]) -> Iterator[Frame]:
    """Score histograms by actual class; "" where there is no label (or, not binary, for all)."""
    of, place = np.divmod(found.bin, SCORE_BINS + 1)
    for number in np.unique(of).tolist():
        mine = of == number
        assert found.sum is not None
        piece = Emitted(
            "score", found.keys, found.series[mine], found.ts[mine], place[mine], found.n[mine], found.sum[mine]
        )
        yield histogram(piece, "score", classes[number], SCORE)


def batch(head: Mapping[str, Any], columns: dict[str, Array], spec: Spec, of: Series) -> Batch:
    """The facts of a frame; `of` carries component and environment."""
    kind, signal, name = head["kind"], head["signal"], head["name"]
    layout = layout_of(head["layout"])
    series = tuple(replace(of, signal=signal, name=name, version=version, segment=segment)
                   for version, segment in head["keys"])  # fmt: skip
    if head["names"] is not None:
        series = tuple(replace(one, name=text) for text in head["names"] for one in series)
    for column in head["large"]:
        low, high = columns.pop(f"{column}.low"), columns.pop(f"{column}.high")
        columns[column] = high.astype(object) * (1 << _HALF) + low.astype(object)
    if kind == "confusion":
        classes = np.array(spec.classes, dtype=object)
        columns["actual"] = classes[columns["actual"]]
        columns["predicted"] = classes[columns["predicted"]]
    return Batch(kind, series, (layout,) * len(series), columns)
