"""Prediction logs to summaries, where the rows lie: what of a file counts, its layouts, its facts.

People's files are opened only in a child process with limits (`tandem.child`); here they are arrays of numbers.
The functions that run in the child begin with `child_`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tandem.child import CPU, Child
from tandem.records import Batch, Series
from tandem.summarise.frames import batch
from tandem.summarise.identity import NO_HASHES, Identity
from tandem.summarise.join import Join, digest_of_labels
from tandem.summarise.reference import category_layout, number_layout
from tandem.summarise.spec import Feature, Look, Spec, text_of

Array = np.ndarray[Any, Any]
VERSION = "1"
"""Part of what tells two summaries of the same bytes apart; raised when the meaning of a number changes."""
BY_RATE = 2_000_000
"""Bytes of a file for which a call may use one more second of CPU."""
# -- asking the child


def _seconds(path: Path) -> int:
    return CPU + path.stat().st_size // BY_RATE if path.exists() else CPU


def look(child: Child, path: Path) -> Look:
    """The columns of a file; raises Refused."""
    for head, _ in child.ask("tandem.summarise.identity:child_look", {"path": str(path)}, seconds=_seconds(path)):
        found = Look(head["format"], head["kinds"], head["rows"])
    return found


def identify(
    child: Child, path: Path, spec: Spec, *, share: int = 0, shares: int = 1, labels: bool = False
) -> Identity:
    """What of a file counts, and the hashes of its ids that fall into one share of all hashes; raises Refused.

    `labels`: the file is a log of labels, whose time (if any) is when a label became known.
    """
    given = {"path": str(path), "spec": text_of(spec), "share": share, "shares": shares, "labels": labels}
    first: list[Array] = []
    second: list[Array] = []
    row: list[Array] = []
    left_out: list[Array] = []
    found: list[Array] = []
    head: dict[str, Any] = {}
    for told, arrays in child.ask("tandem.summarise.identity:child_identify", given, seconds=_seconds(path)):
        head = told
        if arrays:
            first.append(arrays["first"])
            second.append(arrays["second"])
            row.append(arrays["row"])
            left_out.append(arrays["left_out"])
            found.append(arrays["labels"])
    return Identity(
        rows=head["rows"],
        left_out=_joined(left_out, np.int64),
        labels=_joined(found, np.float64 if spec.task == "regression" else np.int32),
        classes=head["classes"],
        predicted=head["predicted"],
        rejected={reason: (count, at) for reason, count, at in head["rejected"]},
        since=head["since"],
        until=head["until"],
        next=head["next"],
        hashes=(_joined(first, np.uint64), _joined(second, np.uint64), _joined(row, np.int64)),
    )


def _joined(pieces: Sequence[Array], kind: Any) -> Array:
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)


def column_values(
    child: Child, path: Path, spec: Spec, columns: Mapping[str, str], left_out: Array, stride: int, offset: int
) -> Iterator[tuple[str, Array | Counter[str]]]:
    """Values of columns for making layouts: finite numbers, or how often each category was there; raises Refused.

    `columns`: name and "number" or "category". Every `stride`-th part is read, beginning with part `offset`.
    """
    given = {"path": str(path), "spec": text_of(spec), "columns": dict(columns), "stride": stride, "offset": offset}
    call = child.ask("tandem.summarise.reference:child_values", given, {"left_out": left_out}, _seconds(path))
    for head, arrays in call:
        if "counts" in head:
            yield head["column"], Counter(dict(head["counts"]))
        else:
            yield head["column"], arrays["values"]


def extent(child: Child, path: Path, spec: Spec, left_out: Array, labels: Array) -> tuple[float, float] | None:
    """The largest error and the largest true value of a regression log; None without labels; raises Refused."""
    given = {"path": str(path), "spec": text_of(spec)}
    arrays = {"left_out": left_out, "labels": labels}
    found: list[float] = []
    for head, _ in child.ask("tandem.summarise.reference:child_extent", given, arrays, _seconds(path)):
        found = head["extent"]
    return (found[0], found[1]) if found else None


def summarise(child: Child, path: Path, spec: Spec, of: Series, left_out: Array, labels: Array) -> Iterator[Batch]:
    """The facts of one file; `of` carries component and environment. Raises Refused.

    `left_out`: sorted rows that do not count; `labels`: one per row of the file, indices of `spec.classes` with -1 for
    none, or numbers with NaN for none. Equal series and buckets may come more than once: they add up.
    """
    given = {"path": str(path), "spec": text_of(spec)}
    arrays = {"left_out": left_out, "labels": labels}
    for head, columns in child.ask("tandem.summarise.counting:child_summarise", given, arrays, _seconds(path)):
        yield batch(head, columns, spec, of)


__all__ = [
    "NO_HASHES", "VERSION", "Feature", "Identity", "Join", "Look", "Spec", "category_layout", "column_values",
    "digest_of_labels", "extent", "identify", "look", "number_layout", "summarise", "text_of",
]  # fmt: skip
