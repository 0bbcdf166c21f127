"""Which rows of a file count, their ids' hashes and their labels. What begins with `child_` runs in the child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tandem import rows
from tandem.child import Frame, Refused
from tandem.pieces import open_rows
from tandem.records import BUCKET
from tandem.summarise.spec import Spec, spec_of
from tandem.values import NO_OFFSET, NO_TIME, NO_UNIT, categories, fingerprints, instants, numbers

Array = np.ndarray[Any, Any]

CLASSES = 1_000
"""Most classes of a model."""
NUMERIC = 0.95
"""Text that is a number at least this often makes a numeric column."""
_REJECTED = {
    NO_TIME: "no readable time",
    NO_OFFSET: "a time without offset; write the offset or set timezone",
    NO_UNIT: "a time that is a plain number; set time_unit to s, ms, us or ns",
    4: "no id",
    5: "a time in the future",
    6: "no label",
}
_NO_ID, _FUTURE, _NO_LABEL, _HELD = 4, 5, 6, 7


@dataclass
class Identity:
    """What of a file counts. Rows are numbered from 0; labels are indices of `classes`, or numbers (regression)."""

    rows: int
    left_out: Array
    """Rows that do not count: rejected, or not there yet."""
    labels: Array
    classes: list[str]
    predicted: list[str]
    rejected: dict[str, tuple[int, int]]
    """Reason: (how many rows, the first of them counted from 1)."""
    since: int | None
    until: int | None
    next: int | None
    """When the first row or label that is not there yet will be."""
    number: int = 0
    """The file's number among the hashes of all files."""
    known: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    """Of a log of labels that tells it, when each label became known; epoch seconds, 0 where a row does not say."""


def child_look(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """The columns of a file; of text formats the kinds of its first rows."""
    opened = open_rows(given["path"])
    kinds = dict(opened.kinds)
    if opened.format == "csv":
        for part in opened.parts(list(kinds)):
            kinds = {name: _kind_of_text(part.column(name)) for name in kinds}
            break
    at_most = opened.count if opened.count is not None else Path(given["path"]).stat().st_size
    yield {"format": opened.format, "kinds": kinds, "rows": at_most}, {}


def _kind_of_text(column: pa.Array) -> str:
    if column.null_count == len(column):
        return "empty"
    _, missing, wrong = numbers(column)
    absent = 0 if missing is None else int(missing.sum())
    bad = 0 if wrong is None else int(wrong.sum())
    present = len(column) - absent
    return "number" if present and present - bad >= NUMERIC * present else "text"


def child_identify(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """Part by part which rows count, their ids' hashes, and all labels; at the end what was found."""
    spec = spec_of(given["spec"])
    opened = open_rows(given["path"], given["spec"]["id"])
    predicted = spec.prediction if spec.task != "regression" and not given["labels"] else ""
    names = opened.wanted([spec.id, spec.time, spec.label, predicted, *(() if given["labels"] else spec.keys)])
    found = _Found(spec, given["labels"])
    count = 0
    for part in opened.parts(names):
        first, second, missing = fingerprints(part.column(spec.id))
        why = found.judge(part, missing)
        labels = found.label(part, why)
        if predicted:
            found.classes_of(part.column(predicted), found.predicted)
        counted = np.flatnonzero(why == 0)
        everything = counted.size == part.rows
        yield (
            {},
            {
                "first": first if everything else first[counted],
                "second": second if everything else second[counted],
                "row": counted + count,
                "left_out": np.flatnonzero(why) + count,
                "labels": labels,
                "known": found.known(why),
            },
        )
        count += part.rows
    yield {**found.told(), "rows": count}, {}


class _Found:
    """What is seen while a file is identified."""

    def __init__(self, spec: Spec, labels: bool) -> None:
        self.spec = spec
        self.labels = labels
        self.classes: dict[str, int] = {}
        self.predicted: dict[str, int] = {}
        self.rejected: dict[int, list[int]] = {}
        self.since: int | None = None
        self.until: int | None = None
        self.next: int | None = None
        self.times: Array | None = None

    def known(self, why: Array) -> Array:
        """When the labels of the part last judged became known; empty where the log does not tell."""
        return np.zeros(0, np.int64) if self.times is None else np.where(why == 0, self.times, 0)

    def judge(self, part: rows.Part, missing: Array) -> Array:
        """For each row 0 or why it does not count."""
        spec = self.spec
        why = np.zeros(part.rows, np.int8)
        if spec.time:
            ts, why = instants(part.column(spec.time), spec.time_unit, spec.timezone)
            self.times = ts.astype(np.int64) if self.labels else None
            ahead = (ts >= spec.until) & (why == 0)
            self._see(ts, why, ahead)
            why = np.where(ahead, np.int8(_HELD), why)
            if not spec.shifted:
                why = np.where(ahead & (ts > spec.now + BUCKET), np.int8(_FUTURE), why)
        why = np.where((why == 0) & missing, np.int8(_NO_ID), why)
        for reason in np.unique(why).tolist():
            if reason and reason != _HELD:
                at = np.flatnonzero(why == reason)
                known = self.rejected.setdefault(reason, [0, part.first + int(at[0])])
                known[0] += at.size
        return why

    def _see(self, ts: Array, why: Array, ahead: Array) -> None:
        if ahead.any():
            first = int(ts[ahead].min())
            self.next = first if self.next is None else min(first, self.next)
        seen = ts[(why == 0) & ~ahead]
        if seen.size:
            low, high = int(seen.min()), int(seen.max())
            self.since = low if self.since is None else min(low, self.since)
            self.until = high + 1 if self.until is None else max(high + 1, self.until)

    def label(self, part: rows.Part, why: Array) -> Array:
        """The label of every row that counts; in a log of labels a row without one does not count."""
        spec = self.spec
        numeric = spec.task == "regression"
        if not spec.label:
            return np.full(part.rows, np.nan) if numeric else np.full(part.rows, -1, np.int16)
        column = part.column(spec.label)
        if numeric:
            values, missing, wrong = numbers(column)
            values = values.copy()
            for absent in (missing, wrong):
                if absent is not None:
                    values[absent] = np.nan
            values[why != 0] = np.nan
            none = np.isnan(values)
        else:
            values = self.classes_of(column, self.classes)
            values[why != 0] = -1
            none = values < 0
        if self.labels:
            why[(why == 0) & none] = _HELD
        return values

    def classes_of(self, column: pa.Array, known: dict[str, int]) -> Array:
        """The index of each row's class among those known; raises Refused for a column that holds no classes."""
        index, texts = categories(column)
        places = [known.setdefault(text, len(known)) for text in texts]
        if len(known) > CLASSES:
            raise Refused(f"has more than {CLASSES:,} classes; name the columns of prediction and label, or the task")
        return np.array([*places, -1], dtype=np.int16)[index]

    def told(self) -> dict[str, Any]:
        """The last frame."""
        return {
            "classes": list(self.classes),
            "predicted": list(self.predicted),
            "rejected": [[_REJECTED[reason], *known] for reason, known in sorted(self.rejected.items())],
            "since": self.since,
            "until": self.until,
            "next": self.next,
        }
