"""Prediction logs to summaries, where the rows lie: what of a file counts, its layouts, its facts.

People's files are opened only in a child process with limits (`tandem.child`); here they are arrays of numbers.
The functions that run in the child begin with `child_`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tandem.child import CPU, Child, Refused, receive, send
from tandem.pieces import Where, size_of, told
from tandem.records import Batch, Series
from tandem.summarise.frames import batch
from tandem.summarise.hashes import Hashes
from tandem.summarise.identity import Identity
from tandem.summarise.join import Join, digest_of_labels
from tandem.summarise.reference import REFERENCE_ROWS, VALUES, Made, Unmade, made_of
from tandem.summarise.spec import Feature, Look, Spec, text_of

Array = np.ndarray[Any, Any]
VERSION = "2"
"""Part of what tells two summaries of the same bytes apart; raised when the meaning of a number changes."""
BY_RATE = 2_000_000
"""Bytes of a file for which a call may use one more second of CPU."""
HELD = 32_000_000
"""Bytes of facts that wait in memory for the end of their file."""


def _seconds(path: Where) -> int:
    return CPU + size_of(path) // BY_RATE


def look(child: Child, path: Where) -> Look:
    """The columns of a file; raises Refused."""
    for head, _ in child.ask("tandem.summarise.identity:child_look", {"path": told(path)}, seconds=_seconds(path)):
        found = Look(head["format"], head["kinds"], head["rows"])
    return found


def identify(
    child: Child, path: Where, spec: Spec, hashes: Hashes, number: int = 0, *, labels: bool = False
) -> Identity:
    """What of a file counts; the hashes of its ids go to `hashes` under its number. Raises Refused and OSError.

    `labels`: the file is a log of labels, whose time (if any) is when a label became known.
    """
    given = {"path": told(path), "spec": text_of(spec), "labels": labels}
    left_out: list[Array] = []
    found: list[Array] = []
    known: list[Array] = []
    head: dict[str, Any] = {}
    for said, arrays in child.ask("tandem.summarise.identity:child_identify", given, seconds=_seconds(path)):
        head = said
        if arrays:
            hashes.add(arrays["first"], arrays["second"], arrays["row"], number)
            left_out.append(arrays["left_out"])
            found.append(arrays["labels"])
            known.append(arrays["known"])
    return Identity(
        rows=head["rows"],
        left_out=_joined(left_out, np.int64),
        labels=_joined(found, np.float64 if spec.task == "regression" else np.int16),
        classes=head["classes"],
        predicted=head["predicted"],
        rejected={reason: (count, at) for reason, count, at in head["rejected"]},
        since=head["since"],
        until=head["until"],
        next=head["next"],
        number=number,
        known=_joined(known, np.int64),
    )


def _joined(pieces: Sequence[Array], kind: Any) -> Array:
    return np.concatenate(pieces) if pieces else np.zeros(0, kind)


def layouts(
    child: Child, files: Sequence[tuple[Where, Array]], spec: Spec, columns: Mapping[str, str], count: int
) -> Iterator[Made]:
    """The layouts of columns ("number" or "category") made of files with `count` rows, each without those left out.

    Of many rows some parts are read, spread over all files. Raises Unmade.
    """
    stride = max(1, -(-count // REFERENCE_ROWS))
    at_once = max(1, VALUES // max(1, min(count, REFERENCE_ROWS)))
    pairs = list(columns.items())
    groups = [dict(pairs[begin : begin + at_once]) for begin in range(0, len(pairs), at_once)]
    paths = [path for path, _ in files]
    given = {"paths": [told(path) for path in paths], "spec": text_of(spec), "groups": groups, "stride": stride}
    arrays = {str(number): left_out for number, (_, left_out) in enumerate(files)}
    seconds = sum(_seconds(path) for path in paths)
    at = 0
    try:
        for head, _ in child.ask("tandem.summarise.reference:child_layouts", given, arrays, seconds):
            if "column" in head:
                yield made_of(head)
            else:
                at = head["file"]
    except Refused as no:
        raise Unmade(at, str(no)) from None


def values_of(child: Child, path: Where, columns: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Part by part the different values of columns, as normalised text; raises Refused."""
    given = {"path": told(path), "columns": list(columns)}
    for head, _ in child.ask("tandem.summarise.reference:child_values", given, seconds=_seconds(path)):
        yield head["column"], head["values"]


def extent(child: Child, path: Where, spec: Spec, left_out: Array, labels: Array) -> tuple[float, float] | None:
    """The largest error and the largest true value of a regression log; None without labels; raises Refused."""
    given = {"path": told(path), "spec": text_of(spec)}
    arrays = {"left_out": left_out, "labels": labels}
    found: list[float] = []
    for head, _ in child.ask("tandem.summarise.reference:child_extent", given, arrays, _seconds(path)):
        found = head["extent"]
    return (found[0], found[1]) if found else None


def summarise(
    child: Child, path: Where, spec: Spec, of: Series, left_out: Array, labels: Array, known: Array
) -> Iterator[Batch]:
    """The facts of one file; `of` carries component and environment. Raises Refused before the first of them.

    `left_out`: sorted rows that do not count; `labels`: one per row of the file, indices of `spec.classes` with -1 for
    none, or numbers with NaN for none; `known`: when each label became known, 0 for unknown, or empty. Equal series
    and buckets may come more than once: they add up. Facts wait on disk until the file is read to its end: what breaks
    says nothing at all.
    """
    given = {"path": told(path), "spec": text_of(spec)}
    arrays = {"left_out": left_out, "labels": labels, "known": known}
    with tempfile.SpooledTemporaryFile(HELD) as waiting:
        for head, columns in child.ask("tandem.summarise.counting:child_summarise", given, arrays, _seconds(path)):
            send(waiting, head, columns)
        waiting.seek(0)
        while (frame := receive(waiting)) is not None:
            yield batch(*frame, spec, of)


__all__ = [
    "VERSION", "Feature", "Hashes", "Identity", "Join", "Look", "Made", "Spec", "Unmade",
    "digest_of_labels", "extent", "identify", "layouts", "look", "summarise", "text_of", "values_of",
]  # fmt: skip
