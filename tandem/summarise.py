"""Prediction logs to summaries, where the rows lie: what of a file counts, its layouts, its facts.

People's files are opened only in a child process with limits (`tandem.child`); here they are arrays of numbers.
The functions that run in the child begin with `child_`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tandem import bins, rows
from tandem.bins import CATEGORIES, MISSING, OTHER, SCORE, Layout
from tandem.cells import (
    BUDGET,
    CHUNK,
    FLUSH_ROWS,
    Emitted,
    Grid,
    Groups,
    Margin,
    Quanta,
    Sparse,
    Table,
    bin_numbers,
    emit,
    leaves,
    margins_of,
)
from tandem.child import CPU, Child, Frame, Refused
from tandem.records import BUCKET, HOUR, Batch, Histogram, Series

Array = np.ndarray[Any, Any]
Margins = Sequence[Margin]

VERSION = "1"
"""Part of what tells two summaries of the same bytes apart; raised when the meaning of a number changes."""
CLASSES = 1_000
"""Most classes of a model."""
BY_RATE = 2_000_000
"""Bytes of a file for which a call may use one more second of CPU."""
LOG_LOSS = Layout(digits=9)
BRIER = Layout(digits=12)
ABSENT = "(missing)"
"""Text of a missing segment value."""
REASONS = ("missing", "out of range", "unseen category", "wrong type")
NUMERIC = 0.95
"""Text that is a number at least this often makes a numeric column."""
LARGEST = 2.0**90
"""Quanta of the largest number that is summed; a larger one counts as missing, and as out of range."""
LARGEST_ERROR = 2.0**52
"""The same for errors, whose squares are summed too."""
_HALF = 62
_MISSING, _RANGE, _UNSEEN, _TYPE = range(4)
_REJECTED = {
    rows.NO_TIME: "no readable time",
    rows.NO_OFFSET: "a time without offset; write the offset or set timezone",
    rows.NO_UNIT: "a time that is a plain number; set time_unit to s, ms, us or ns",
    4: "no id",
    5: "a time in the future",
    6: "no label",
}
_NO_ID, _FUTURE, _NO_LABEL, _HELD = 4, 5, 6, 7


@dataclass(frozen=True)
class Feature:
    """How a column is cut into bins, and what is judged of it."""

    column: str
    layout: Layout
    low: float | None = None
    high: float | None = None
    judged: bool = False
    """False while the layout is provisional: nothing is then out of range or unseen."""


@dataclass(frozen=True)
class Spec:
    """What the columns of a log mean. `until` and `now` are epoch seconds."""

    task: str
    id: str
    time: str
    prediction: str = ""
    version: str = ""
    score: str = ""
    label: str = ""
    segments: tuple[tuple[str, ...], ...] = ()
    timezone: str | None = None
    time_unit: str | None = None
    until: int = 2**62
    now: int = 2**62
    shifted: bool = False
    """Rows at or after `until` are not there yet, however far ahead they lie."""
    reference: tuple[int, int] | None = None
    """The window whose values make layouts; None for all."""
    positive: str = "1"
    classes: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    predicted: Feature | None = None
    error: Layout | None = None
    target: Layout | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that say what a row is, in place of a feature of it."""
        named = (self.id, self.time, self.prediction, self.version, self.score, self.label)
        flat = (column for margin in self.segments for column in margin)
        return tuple(dict.fromkeys(name for name in (*named, *flat) if name))


@dataclass(frozen=True)
class Look:
    """The columns of a file with their kinds: number, text, boolean, time, other, or empty where nothing is known."""

    format: str
    kinds: Mapping[str, str]
    rows: int
    """How many rows it has, or at most has."""


NO_HASHES: tuple[Array, Array, Array] = (np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64))


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
    hashes: tuple[Array, Array, Array] = NO_HASHES
    """(two hashes of the id, row) of the rows that count."""


def text_of(spec: Spec) -> dict[str, Any]:
    """A spec as JSON values; `spec_of` is its inverse."""
    return asdict(spec)


def spec_of(given: Mapping[str, Any]) -> Spec:
    """The spec of `text_of`."""
    told = dict(given)
    told["segments"] = tuple(tuple(one) for one in told["segments"])
    told["classes"] = tuple(told["classes"])
    told["reference"] = tuple(told["reference"]) if told["reference"] else None
    told["features"] = tuple(_feature(one) for one in told["features"])
    told["predicted"] = _feature(told["predicted"]) if told["predicted"] else None
    told["error"] = _layout(told["error"])
    told["target"] = _layout(told["target"])
    return Spec(**told)


def _feature(given: Mapping[str, Any]) -> Feature:
    layout = _layout(given["layout"])
    assert layout is not None
    return Feature(**{**given, "layout": layout})


def _layout(given: Mapping[str, Any] | None) -> Layout | None:
    if given is None:
        return None
    return Layout(**{**given, "edges": tuple(given["edges"]), "values": tuple(given["values"])})


# -- asking the child


def _seconds(path: Path) -> int:
    return CPU + path.stat().st_size // BY_RATE if path.exists() else CPU


def look(child: Child, path: Path) -> Look:
    """The columns of a file; raises Refused."""
    for head, _ in child.ask("tandem.summarise:child_look", {"path": str(path)}, seconds=_seconds(path)):
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
    for told, arrays in child.ask("tandem.summarise:child_identify", given, seconds=_seconds(path)):
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
    call = child.ask("tandem.summarise:child_values", given, {"left_out": left_out}, _seconds(path))
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
    for head, _ in child.ask("tandem.summarise:child_extent", given, arrays, _seconds(path)):
        found = head["extent"]
    return (found[0], found[1]) if found else None


def summarise(child: Child, path: Path, spec: Spec, of: Series, left_out: Array, labels: Array) -> Iterator[Batch]:
    """The facts of one file; `of` carries component and environment. Raises Refused.

    `left_out`: sorted rows that do not count; `labels`: one per row of the file, indices of `spec.classes` with -1 for
    none, or numbers with NaN for none. Equal series and buckets may come more than once: they add up.
    """
    given = {"path": str(path), "spec": text_of(spec)}
    arrays = {"left_out": left_out, "labels": labels}
    for head, columns in child.ask("tandem.summarise:child_summarise", given, arrays, _seconds(path)):
        yield _batch(head, columns, spec, of)


def _batch(head: Mapping[str, Any], columns: dict[str, Array], spec: Spec, of: Series) -> Batch:
    kind, signal, name = head["kind"], head["signal"], head["name"]
    layout = _layout(head["layout"])
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


# -- what of each file counts, over all files


class Join:
    """Repeated ids over all files, and the label of every row.

    An id counts once: its first row in file and row order. Its label is the last one in file and row order, and any
    in the labels log goes over the log's own.
    """

    def __init__(self, files: Sequence[Identity], labels: Sequence[Identity], task: str) -> None:
        self.files = files
        self.label_files = labels
        self.numeric = task == "regression"
        texts = {text for one in (*files, *labels) for text in (*one.classes, *one.predicted)}
        self.classes: tuple[str, ...] = () if self.numeric else tuple(sorted(texts))
        at = {text: index for index, text in enumerate(self.classes)}
        self.labels = [self._common(one, at) for one in files]
        self._label_values = [self._common(one, at) for one in labels]
        self._repeats: list[list[Array]] = [[] for _ in files]
        self.labels_without_prediction = 0

    def _common(self, one: Identity, at: Mapping[str, int]) -> Array:
        if self.numeric:
            return one.labels.copy()
        place = np.array([*(at[text] for text in one.classes), -1], dtype=np.int32)
        return place[one.labels]

    def take(self, files: Sequence[tuple[Array, Array, Array]], labels: Sequence[tuple[Array, Array, Array]]) -> None:
        """One share of the hashes of all files and labels logs, as `Identity.hashes`."""
        first, second, row, at = _stacked(files)
        order = _repeated(first, second)
        self._fold(order, first, second, row, at)
        self._join(_stacked(labels), first, second, row, at)

    def _fold(self, order: Array, first: Array, second: Array, row: Array, at: Array) -> None:
        """Leave out all but the first row of each id, and give that one the last own label."""
        if not order.size:
            return
        new = np.ones(order.size, dtype=bool)
        new[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
        again = order[~new]
        for number in range(len(self.files)):
            self._repeats[number].append(row[again[at[again] == number]])
        values = self._of(self.labels, order, row, at)
        known = np.flatnonzero(~np.isnan(values) if self.numeric else values >= 0)
        last = np.full(int(new.sum()), -1)
        np.maximum.at(last, (np.cumsum(new) - 1)[known], known)
        given = np.flatnonzero(last >= 0)
        self._give(values[last[given]], order[new][given], row, at)

    def _join(
        self, labels: tuple[Array, Array, Array, Array], first: Array, second: Array, row: Array, at: Array
    ) -> None:
        known, second_known, label_row, label_at = labels
        if not known.size:
            return
        order = np.lexsort((second_known, known))  # stable: of equal ids the last in file and row order comes last
        known, second_known = known[order], second_known[order]
        last = np.ones(known.size, dtype=bool)
        last[:-1] = (known[1:] != known[:-1]) | (second_known[1:] != second_known[:-1])
        known, second_known, order = known[last], second_known[last], order[last]
        by_hash = np.argsort(first)
        sorted_first = first[by_hash]
        found = np.searchsorted(known, sorted_first)
        used = np.zeros(known.size, dtype=bool)
        for step in range(2):  # two ids may share the first hash; a third would need a collision of its own
            place = np.minimum(found + step, known.size - 1)
            hit = (known[place] == sorted_first) & (second_known[place] == second[by_hash])
            used[place[hit]] = True
            truths = self._of(self._label_values, order[place[hit]], label_row, label_at)
            self._give(truths, by_hash[hit], row, at)
        self.labels_without_prediction += int(known.size - used.sum())

    def _of(self, values: Sequence[Array], positions: Array, row: Array, at: Array) -> Array:
        """The values at some positions of the stacked hashes."""
        found = np.empty(positions.size, np.float64 if self.numeric else np.int32)
        for number, mine in enumerate(values):
            here = at[positions] == number
            found[here] = mine[row[positions[here]]]
        return found

    def _give(self, values: Array, positions: Array, row: Array, at: Array) -> None:
        for number in range(len(self.files)):
            here = at[positions] == number
            if here.any():
                self.labels[number][row[positions[here]]] = values[here]

    def left_out(self, number: int) -> Array:
        """The rows of a file that do not count, sorted: those it left out itself, and repeated ids."""
        return np.unique(np.concatenate([self.files[number].left_out, self.repeats(number)])).astype(np.int64)

    def repeats(self, number: int) -> Array:
        """The rows of a file whose id came before."""
        return _joined(self._repeats[number], np.int64)


def _stacked(pieces: Sequence[tuple[Array, Array, Array]]) -> tuple[Array, Array, Array, Array]:
    if not pieces:
        return np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros(0, np.int32)
    first, second, row = (np.concatenate([piece[index] for piece in pieces]) for index in range(3))
    return first, second, row, np.repeat(np.arange(len(pieces), dtype=np.int32), [piece[0].size for piece in pieces])


def _repeated(first: Array, second: Array) -> Array:
    """Positions whose id occurs more than once, equal ids together, each in the given order."""
    ordered = np.sort(first)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not twice.size:
        return np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(twice, first), twice.size - 1)
    candidates = np.flatnonzero(twice[place] == first)
    return candidates[np.lexsort((second[candidates], first[candidates]))]


def digest_of_labels(labels: Array, classes: Sequence[str], left_out: Array) -> str:
    """A hash of which rows of a file count and of their labels, whatever other files hold."""
    told = hashlib.sha256(left_out.astype("<i8").tobytes())
    if labels.dtype.kind == "f":
        told.update(np.where(np.isnan(labels), np.nan, labels + 0.0).astype("<f8").tobytes())
    else:
        used = np.unique(labels)
        told.update(json.dumps([classes[index] for index in used.tolist() if index >= 0]).encode())
        told.update(np.searchsorted(used, labels).astype("<i4").tobytes())
        told.update(b"-" if used.size and used[0] < 0 else b"+")
    return told.hexdigest()[:32]


# -- layouts


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


# -- in the child: reading


def child_look(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """The columns of a file; of text formats the kinds of its first rows."""
    opened = rows.open_rows(Path(given["path"]))
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
    _, missing, wrong = rows.numbers(column)
    absent = 0 if missing is None else int(missing.sum())
    bad = 0 if wrong is None else int(wrong.sum())
    present = len(column) - absent
    return "number" if present and present - bad >= NUMERIC * present else "text"


def _wanted(opened: rows.Rows, names: Sequence[str]) -> list[str]:
    found = list(dict.fromkeys(name for name in names if name))
    absent = [name for name in found if name not in opened.kinds]
    if absent and not (opened.format == "json"):
        raise Refused(f'has no column "{absent[0]}"; its columns are {", ".join(list(opened.kinds)[:40])}')
    if absent and not opened.kinds:
        raise Refused("holds no rows")
    return found


def child_identify(given: Mapping[str, Any], _: Mapping[str, Array]) -> Iterator[Frame]:
    """Part by part which rows count, their ids' hashes of one share, and all labels; at the end what was found."""
    spec = spec_of(given["spec"])
    opened = rows.open_rows(Path(given["path"]))
    predicted = spec.prediction if spec.task != "regression" and not given["labels"] else ""
    names = _wanted(opened, [spec.id, spec.time, spec.label, predicted, *_optional(spec, given["labels"])])
    found = _Found(spec, given["labels"])
    count = 0
    for part in opened.parts(names):
        first, second, missing = rows.fingerprints(part.column(spec.id))
        why = found.judge(part, missing)
        labels = found.label(part, why)
        if predicted:
            found.classes_of(part.column(predicted), found.predicted)
        counted = np.flatnonzero(why == 0)
        if given["shares"] > 1:
            counted = counted[first[counted] % np.uint64(given["shares"]) == given["share"]]
        everything = counted.size == part.rows
        yield (
            {},
            {
                "first": first if everything else first[counted],
                "second": second if everything else second[counted],
                "row": counted + count,
                "left_out": np.flatnonzero(why) + count,
                "labels": labels,
            },
        )
        count += part.rows
    yield {**found.told(), "rows": count}, {}


def _optional(spec: Spec, labels: bool) -> list[str]:
    """Columns that are not needed here, but whose absence is to be told at once."""
    if labels:
        return []
    return [spec.version, spec.score, *(column for margin in spec.segments for column in margin)]


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

    def judge(self, part: rows.Part, missing: Array) -> Array:
        """For each row 0 or why it does not count."""
        spec = self.spec
        why = np.zeros(part.rows, np.int8)
        if spec.time:
            ts, why = rows.instants(part.column(spec.time), spec.time_unit, spec.timezone)
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
            return np.full(part.rows, np.nan) if numeric else np.full(part.rows, -1, np.int32)
        column = part.column(spec.label)
        if numeric:
            values, missing, wrong = rows.numbers(column)
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
        index, texts = rows.texts(column)
        place = np.array([*(known.setdefault(text, len(known)) for text in texts), -1], dtype=np.int32)
        if len(known) > CLASSES:
            raise Refused(f"has more than {CLASSES:,} classes; name the columns of prediction and label, or the task")
        return place[index]

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


def _kept(part: rows.Part, left_out: Array) -> Array | None:
    """Which rows of a part count (positions in the part); None for all."""
    begin, end = np.searchsorted(left_out, [part.first - 1, part.first - 1 + part.rows])
    if begin == end:
        return None
    keep: Array = np.ones(part.rows, dtype=bool)
    keep[left_out[begin:end] - (part.first - 1)] = False
    return np.flatnonzero(keep)


def child_values(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The values of some columns, part by part."""
    spec = spec_of(given["spec"])
    opened = rows.open_rows(Path(given["path"]))
    columns = {name: kind for name, kind in given["columns"].items() if name in opened.kinds or opened.format == "json"}
    times = [spec.time] if spec.reference else []
    for number, part in enumerate(opened.parts(list(dict.fromkeys([*times, *columns])))):
        if number % given["stride"] != given["offset"]:
            continue
        kept = _within(part, spec, _kept(part, arrays["left_out"]))
        for name, kind in columns.items():
            column = part.column(name)
            column = column if kept is None else column.take(pa.array(kept))
            if kind == "number":
                yield {"column": name}, {"values": _finite(column)}
            else:
                index, texts = rows.texts(column)
                counts = np.bincount(index[index >= 0], minlength=len(texts)).tolist()
                yield {"column": name, "counts": list(zip(texts, counts, strict=True))}, {}


def _within(part: rows.Part, spec: Spec, kept: Array | None) -> Array | None:
    """Of some rows of a part those in the reference window."""
    if spec.reference is None:
        return kept
    ts, bad = rows.instants(part.column(spec.time), spec.time_unit, spec.timezone)
    inside = (ts >= spec.reference[0]) & (ts < spec.reference[1]) & (bad == 0)
    return np.flatnonzero(inside) if kept is None else kept[inside[kept]]


def _finite(column: pa.Array) -> Array:
    values, missing, wrong = rows.numbers(column)
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
    for part in opened.parts(_wanted(opened, [spec.prediction])):
        labels = _labels_of(part, arrays["labels"])
        values, missing, wrong = rows.numbers(part.column(spec.prediction))
        good = np.isfinite(labels) & ~_either(missing, wrong, part.rows)
        kept = _kept(part, arrays["left_out"])
        at = np.flatnonzero(good) if kept is None else kept[good[kept]]
        if at.size:
            error = values[at] - labels[at]
            found = [float(np.abs(error[np.isfinite(error)]).max(initial=0.0)), float(np.abs(labels[at]).max())]
            largest = [max(pair) for pair in zip(found, largest or found, strict=True)]
    yield {"extent": largest}, {}


def _labels_of(part: rows.Part, labels: Array) -> Array:
    if part.first - 1 + part.rows > labels.size:
        raise Refused("changed while it was read; it is read again next time")
    return labels[part.first - 1 : part.first - 1 + part.rows]


def _either(a: Array | None, b: Array | None, size: int) -> Array:
    found = np.zeros(size, dtype=bool)
    for one in (a, b):
        if one is not None:
            found |= one
    return found


# -- in the child: counting


def child_summarise(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The filled cells of every measure of one file."""
    spec = spec_of(given["spec"])
    opened = rows.open_rows(Path(given["path"]))
    features = [one.column for one in spec.features if one.column in opened.kinds or opened.format == "json"]
    needed = [spec.time, spec.prediction, *_optional(spec, labels=False)]
    wanted = list(dict.fromkeys([*_wanted(opened, needed), *features]))
    counting = _Counting(spec, frozenset(features))
    for part in opened.parts(wanted):
        kept = _kept(part, arrays["left_out"])
        if kept is None or kept.size:
            yield from counting.part(part, kept, _labels_of(part, arrays["labels"]))
    yield from counting.flush()


class _Leaf:
    """The tables of one set of segment columns."""

    def __init__(self, spec: Spec, columns: tuple[str, ...], margins: Sequence[tuple[str, ...]]) -> None:
        self.columns = columns
        hourly = [one for one in (*spec.features, spec.predicted) if one is not None]
        widths = [bin_numbers(one.layout).size for one in hourly]
        self.hours = Groups(HOUR, columns, margins, _capacity(16 * sum(widths)))
        self.features = {
            one.column: Table("feature", self.hours, width, sums=one.layout.kind == "edges")
            for one, width in zip(spec.features, widths, strict=False)
        }
        self.predicted = (
            Table("prediction", self.hours, widths[-1], sums=_is_number(spec.predicted)) if spec.predicted else None
        )
        self.fives = Groups(BUCKET, columns, margins, _capacity(32 + 16 * _width_of_fives(spec)))
        self.rows = Table("rows", self.fives, 4)
        self.faults = Sparse("faults", self.fives, len(REASONS) * (len(spec.features) + 2))
        self.score = (
            Table("score", self.fives, _score_labels(spec) * (SCORE_BINS + 1), sums=True) if spec.score else None
        )
        losses = bool(spec.score) and spec.task == "binary"
        self.log_loss = Table("log_loss", self.fives, 1, squares=True) if losses else None
        self.brier = Table("brier", self.fives, 1, squares=True) if losses else None
        self.outcome = Sparse("outcome", self.fives, max(1, len(spec.classes)) ** 2)
        self.error: Table | None = None
        self.moments: dict[str, Table] = {}
        if spec.error is not None:
            self.error = Table("error", self.fives, len(spec.error.edges) + 1, sums=True)
            self.moments = {name: Table(name, self.fives, 1, squares=True) for name in ("error", "absolute", "target")}

    def both(self) -> tuple[Groups, Groups]:
        return self.hours, self.fives


def _is_number(one: Feature | None) -> bool:
    return one is not None and one.layout.kind == "edges"


def _capacity(bytes_per_group: int) -> int:
    return max(16, min(1 << 16, BUDGET // max(1, bytes_per_group)))


SCORE_BINS = len(SCORE.edges) + 1


def _score_labels(spec: Spec) -> int:
    return len(spec.classes) + 1 if spec.task == "binary" else 1


def _width_of_fives(spec: Spec) -> int:
    scores = _score_labels(spec) * (SCORE_BINS + 1) if spec.score else 0
    return scores + (len(spec.error.edges) if spec.error else 0) + 16


class _Counting:
    """Adds the parts of a file to the tables, and empties them when they are full."""

    def __init__(self, spec: Spec, present: frozenset[str]) -> None:
        self.spec = spec
        self.present = present
        self.words: dict[str, dict[str, int]] = {"": {"": 0}}
        self.leaves = [_Leaf(spec, columns, margins) for columns, margins in leaves(spec.segments).items()]
        self.grids = {one.column: Grid(one.layout) for one in spec.features if one.layout.kind == "edges"}
        self.quanta = {
            one.column: Quanta(one.layout.digits or 0) for one in spec.features if one.layout.digits is not None
        }
        self.score_grid, self.score_quanta = Grid(SCORE), Quanta(SCORE.digits or 0)
        self.rows = 0

    def part(self, part: rows.Part, kept: Array | None, labels: Array) -> Iterator[Frame]:
        """Count the rows `kept` of a part (None: all), in spans for which the tables have room."""
        ts, _ = rows.instants(part.column(self.spec.time), self.spec.time_unit, self.spec.timezone)
        keys = {name: self._key(part, name) for name in self._key_columns()}
        whole = np.arange(part.rows) if kept is None else kept
        begin = 0
        size = min(whole.size, FLUSH_ROWS // 2)
        while begin < whole.size:
            span = whole[begin : begin + size]
            if self.rows + span.size > FLUSH_ROWS:
                yield from self.flush()
            everything = kept is None and span.size == part.rows
            if not self._locate(ts, keys, None if everything else span):
                if self.rows:
                    yield from self.flush()
                else:
                    self._clear()
                    size = max(1, size // 2)
                continue
            self._count(part, None if everything else span, labels)
            self.rows += span.size
            begin += span.size

    def _key_columns(self) -> list[str]:
        named = [self.spec.version] if self.spec.version else []
        return list(dict.fromkeys([*named, *(column for leaf in self.leaves for column in leaf.columns)]))

    def _key(self, part: rows.Part, name: str) -> Array:
        index, texts = rows.texts(part.column(name))
        absent = "" if name == self.spec.version else ABSENT
        known = self.words.setdefault(name, {})
        place = [known.setdefault(text, len(known)) for text in texts]
        place.append(known.setdefault(absent, len(known)) if index.size and index.min() < 0 else 0)
        return np.array(place, dtype=np.int64)[index]

    def _locate(self, ts: Array, keys: Mapping[str, Array], span: Array | None) -> bool:
        when = ts if span is None else ts[span]
        for leaf in self.leaves:
            columns = [self.spec.version, *leaf.columns]
            values = [self._key_values(keys, name, span, when.size) for name in columns]
            if not (leaf.hours.locate(when, values) and leaf.fives.locate(when, values)):
                return False
        return True

    def _key_values(self, keys: Mapping[str, Array], name: str, span: Array | None, size: int) -> tuple[Array, int]:
        if not name:
            return np.zeros(size, np.int64), 1
        return keys[name] if span is None else keys[name][span], len(self.words[name])

    def _count(self, part: rows.Part, span: Array | None, labels: Array) -> None:
        size = part.rows if span is None else span.size
        mine = labels if span is None else labels[span]
        bad = np.zeros(size, dtype=bool)
        for number, feature in enumerate(self.spec.features):
            self._feature(part, span, number, feature, bad)
        if self.spec.task == "regression":
            labelled = ~np.isnan(mine)
            self._regression(part, span, mine, bad)
        else:
            labelled = mine >= 0
            self._classes(part, span, mine, bad)
        if self.spec.score:
            self._scores(part, span, mine, bad)
        of = bad * 2 + labelled
        for leaf in self.leaves:
            leaf.rows.add(leaf.fives.place * 4 + of)

    def _column(self, part: rows.Part, name: str, span: Array | None) -> pa.Array:
        column = part.column(name)
        return column if span is None else column.take(pa.array(span))

    def _fault(self, feature: int, reason: int, which: Array, bad: Array) -> None:
        bad |= which
        at = np.flatnonzero(which)
        of = np.full(at.size, feature * len(REASONS) + reason)
        for leaf in self.leaves:
            leaf.faults.add(leaf.fives.place[at], of)

    def _feature(self, part: rows.Part, span: Array | None, number: int, feature: Feature, bad: Array) -> None:
        tables = [(leaf.hours.place, leaf.features[feature.column]) for leaf in self.leaves]
        if feature.column not in self.present:
            everything = np.ones(bad.size, dtype=bool)
            self._fault(number, _MISSING, everything, bad)
            for place, table in tables:
                table.add((place + 1) * table.bins - 1, np.zeros(bad.size, np.int64) if table.sums else None)
            return
        column = self._column(part, feature.column, span)
        if feature.layout.kind == "categories":
            self._categories(column, number, feature, bad, tables)
        else:
            self._numbers(column, number, feature, bad, tables)

    def _numbers(
        self, column: pa.Array, number: int, feature: Feature, bad: Array, tables: Sequence[tuple[Array, Table]]
    ) -> None:
        values, missing, wrong = rows.numbers(column)
        if missing is not None:
            self._fault(number, _MISSING, missing, bad)
        if wrong is not None:
            self._fault(number, _TYPE, wrong, bad)
            missing = wrong if missing is None else missing | wrong
        values, missing = self._extreme(values, missing, number, feature.layout, bad)
        self._judge_range(values, missing, number, feature, bad)
        _scatter(values, missing, self.grids[feature.column], self.quanta[feature.column], tables)

    def _extreme(
        self, values: Array, missing: Array | None, number: int, layout: Layout, bad: Array
    ) -> tuple[Array, Array | None]:
        """Without numbers whose sums the store could not hold."""
        limit = LARGEST * 10.0 ** -(layout.digits or 0)
        if not values.size or (values.max() <= limit and values.min() >= -limit):
            return values, missing
        extreme = np.abs(values) > limit
        self._fault(number, _RANGE, extreme, bad)
        return np.where(extreme, 0.0, values), extreme if missing is None else missing | extreme

    def _judge_range(self, values: Array, missing: Array | None, number: int, feature: Feature, bad: Array) -> None:
        if not feature.judged or feature.low is None or feature.high is None or not values.size:
            return
        if values.min() >= feature.low and values.max() <= feature.high:
            return
        outside = (values < feature.low) | (values > feature.high)
        if missing is not None:
            outside &= ~missing
        if outside.any():
            self._fault(number, _RANGE, outside, bad)

    def _categories(
        self, column: pa.Array, number: int, feature: Feature, bad: Array, tables: Sequence[tuple[Array, Table]]
    ) -> None:
        index, texts = rows.texts(column)
        at = {text: place for place, text in enumerate(feature.layout.values)}
        other = len(at)
        code = np.array([*(at.get(text, other) for text in texts), other + 1], dtype=np.int64)[index]
        if index.size and index.min() < 0:
            self._fault(number, _MISSING, index < 0, bad)
        if feature.judged and len(at) < CATEGORIES and any(text not in at for text in texts):
            unseen = code == other
            if unseen.any():
                self._fault(number, _UNSEEN, unseen, bad)
        for place, table in tables:
            table.add(place * table.bins + code)

    def _classes(self, part: rows.Part, span: Array | None, labels: Array, bad: Array) -> None:
        column = self._column(part, self.spec.prediction, span)
        index, texts = rows.texts(column)
        at = {text: place for place, text in enumerate(self.spec.classes)}
        if any(text not in at for text in texts):
            raise Refused("changed while it was read; it is read again next time")
        predicted = np.array([*(at[text] for text in texts), -1], dtype=np.int64)[index]
        number = len(self.spec.features)
        if predicted.size and predicted.min() < 0:
            self._fault(number, _MISSING, predicted < 0, bad)
        known = np.flatnonzero((labels >= 0) & (predicted >= 0))
        pair = labels[known].astype(np.int64) * len(at) + predicted[known]
        for leaf in self.leaves:
            leaf.outcome.add(leaf.fives.place[known], pair)
        if self.spec.predicted is not None:
            feature = self.spec.predicted
            tables = [(leaf.hours.place, leaf.predicted) for leaf in self.leaves if leaf.predicted is not None]
            self._categories(column, number, replace(feature, judged=False), np.zeros(bad.size, bool), tables)

    def _regression(self, part: rows.Part, span: Array | None, labels: Array, bad: Array) -> None:
        values, missing, wrong = rows.numbers(self._column(part, self.spec.prediction, span))
        number = len(self.spec.features)
        for reason, which in ((_MISSING, missing), (_TYPE, wrong)):
            if which is not None:
                self._fault(number, reason, which, bad)
        absent = _either(missing, wrong, values.size) if missing is not None or wrong is not None else None
        if self.spec.predicted is not None:
            layout = self.spec.predicted.layout
            values, absent = self._extreme(values, absent, number, layout, bad)
            tables = [(leaf.hours.place, leaf.predicted) for leaf in self.leaves if leaf.predicted is not None]
            _scatter(values, absent, Grid(layout), Quanta(layout.digits or 0), tables)
        if self.spec.error is not None and self.spec.target is not None:
            known = ~np.isnan(labels) if absent is None else ~np.isnan(labels) & ~absent
            self._errors(values, labels, known, self.spec.error, self.spec.target, bad)

    def _errors(self, values: Array, labels: Array, known: Array, layout: Layout, target: Layout, bad: Array) -> None:
        at = np.flatnonzero(known)
        with np.errstate(over="ignore"):
            error = values[at] - labels[at]
        digits, of_target = layout.digits or 0, target.digits or 0
        fits = np.abs(error) <= LARGEST_ERROR * 10.0**-digits
        fits &= np.abs(labels[at]) <= LARGEST_ERROR * 10.0**-of_target
        if not fits.all():
            extreme = np.zeros(known.size, dtype=bool)
            extreme[at[~fits]] = True
            self._fault(len(self.spec.features), _RANGE, extreme, bad)
            at, error = at[fits], error[fits]
        places = [(leaf, leaf.fives.place[at]) for leaf in self.leaves]
        tables = [(place, leaf.error) for leaf, place in places if leaf.error is not None]
        _scatter(error, None, Grid(layout), Quanta(digits), tables)
        measured = (("error", error, digits), ("absolute", np.abs(error), digits), ("target", labels[at], of_target))
        for name, numbers, of in measured:
            _moments(numbers, Quanta(of), [(place, leaf.moments[name]) for leaf, place in places])

    def _scores(self, part: rows.Part, span: Array | None, labels: Array, bad: Array) -> None:
        values, missing, wrong = rows.numbers(self._column(part, self.spec.score, span))
        number = len(self.spec.features) + 1
        outside = (values < 0.0) | (values > 1.0)
        for reason, which in ((_MISSING, missing), (_TYPE, wrong), (_RANGE, outside if outside.any() else None)):
            if which is not None:
                self._fault(number, reason, which, bad)
        absent = _either(missing, wrong, values.size) | outside
        none = absent if absent.any() else None
        values = np.where(outside, 0.0, values) if outside.any() else values
        of = np.where(labels >= 0, labels + 1, 0).astype(np.int64) if self.spec.task == "binary" else None
        tables = [(leaf.fives.place, leaf.score) for leaf in self.leaves if leaf.score is not None]
        if of is not None:
            per = _score_labels(self.spec)
            tables = [(place * per + of, table) for place, table in tables]
        _scatter(values, none, self.score_grid, self.score_quanta, tables, SCORE_BINS + 1)
        if self.spec.task == "binary":
            self._losses(values, labels, absent)

    def _losses(self, values: Array, labels: Array, absent: Array) -> None:
        at = np.flatnonzero((labels >= 0) & ~absent)
        scores = values[at]
        try:
            truth = labels[at] == self.spec.classes.index(self.spec.positive)
        except ValueError:
            truth = np.zeros(at.size, dtype=bool)
        squared = (scores - truth) ** 2
        tiny = float(np.finfo(np.float64).eps)
        loss = -np.log(np.clip(np.where(truth, scores, 1.0 - scores), tiny, 1.0))
        for leaf in self.leaves:
            place = leaf.fives.place[at]
            if leaf.log_loss is not None and leaf.brier is not None:
                _moments(loss + 0.0, Quanta(LOG_LOSS.digits or 0), [(place, leaf.log_loss)])
                _moments(squared, Quanta(BRIER.digits or 0), [(place, leaf.brier)])

    def _clear(self) -> None:
        for leaf in self.leaves:
            for groups in leaf.both():
                groups.clear()

    def flush(self) -> Iterator[Frame]:
        """The filled cells of all tables, which are empty afterwards."""
        if self.rows:
            for leaf in self.leaves:
                yield from self._frames(leaf)
        self._clear()
        self.rows = 0

    def _frames(self, leaf: _Leaf) -> Iterator[Frame]:
        words = [list(self.words[name]) for name in (self.spec.version, *leaf.columns)]
        hours, fives = margins_of(leaf.hours, words), margins_of(leaf.fives, words)
        yield from self._of_features(leaf, hours)
        yield from self._of_rows(leaf, fives)
        yield from self._of_scores(leaf, fives)
        yield from self._of_errors(leaf, fives)

    def _of_features(self, leaf: _Leaf, margins: Margins) -> Iterator[Frame]:
        for feature in self.spec.features:
            for found in emit(leaf.features[feature.column], margins):
                yield _histogram(found, "feature", feature.column, feature.layout)
        for found in _emitted(leaf.predicted, margins):
            assert self.spec.predicted is not None
            yield _histogram(found, "prediction", "", self.spec.predicted.layout)

    def _of_rows(self, leaf: _Leaf, margins: Margins) -> Iterator[Frame]:
        for found in emit(leaf.rows, margins):
            yield from _ratios(found)
        columns = [*(one.column for one in self.spec.features), self.spec.prediction, self.spec.score]
        names = [f"{column}:{reason}" for column in columns for reason in REASONS]
        for found in emit(leaf.faults, margins):
            yield _faults(found, names)
        classes = len(self.spec.classes)
        for found in emit(leaf.outcome, margins):
            cells = {"actual": found.bin // classes, "predicted": found.bin % classes, "n": found.n}
            yield _frame(found, "confusion", "outcome", "", None, cells)

    def _of_scores(self, leaf: _Leaf, margins: Margins) -> Iterator[Frame]:
        for found in _emitted(leaf.score, margins):
            yield from _by_class(found, ["", *self.spec.classes])
        for table, layout in ((leaf.log_loss, LOG_LOSS), (leaf.brier, BRIER)):
            for found in _emitted(table, margins):
                yield _moments_frame(found, "score", found.measure, layout)

    def _of_errors(self, leaf: _Leaf, margins: Margins) -> Iterator[Frame]:
        error, target = self.spec.error, self.spec.target
        if error is None or target is None:
            return
        for found in _emitted(leaf.error, margins):
            yield _histogram(found, "error", "", error)
        for name, table in leaf.moments.items():
            for found in emit(table, margins):
                yield _moments_frame(
                    found, "error", name, Layout(digits=(target if name == "target" else error).digits)
                )


def _emitted(table: Table | None, margins: Margins) -> Iterator[Emitted]:
    if table is not None:
        yield from emit(table, margins)


def _scatter(
    values: Array,
    missing: Array | None,
    grid: Grid,
    quanta: Quanta,
    tables: Sequence[tuple[Array, Table]],
    per: int = 0,
) -> None:
    """Count values in their bins and add their quanta; `per`: bins between two places (0: all of the table's)."""
    for begin in range(0, values.size, CHUNK):
        chunk = slice(begin, begin + CHUNK)
        code = grid.codes(values[chunk])
        whole, large = quanta.of(values[chunk])
        if missing is not None:
            gone = missing[chunk]
            code[gone] = grid.bins
            whole[gone] = 0
        for place, table in tables:
            table.add(place[chunk] * (per or table.bins) + code, whole, large)


def _moments(values: Array, quanta: Quanta, tables: Sequence[tuple[Array, Table]]) -> None:
    for begin in range(0, values.size, CHUNK):
        chunk = slice(begin, begin + CHUNK)
        whole, large = quanta.of(values[chunk])
        for place, table in tables:
            table.add(place[chunk], whole, large)


def _frame(
    found: Emitted, kind: str, signal: str, name: str, layout: Layout | None, columns: Mapping[str, Array],
    names: Sequence[str] | None = None,
) -> Frame:  # fmt: skip
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


def _histogram(found: Emitted, signal: str, name: str, layout: Layout) -> Frame:
    place = bin_numbers(layout)[found.bin]
    assert found.n is not None
    total = found.sum if found.sum is not None else np.zeros(found.n.size, np.int64)
    return _frame(found, "histogram", signal, name, layout, {"bin": place, "n": found.n, "sum": total})


def _moments_frame(found: Emitted, signal: str, name: str, layout: Layout) -> Frame:
    assert found.sum is not None
    assert found.squares is not None
    return _frame(found, "moments", signal, name, layout, {"n": found.n, "sum": found.sum, "squares": found.squares})


def _ratios(found: Emitted) -> Iterator[Frame]:
    """Volume, valid rows and label coverage from how many rows were (bad, labelled)."""
    both = np.stack([found.series, found.ts])
    pairs, inverse = np.unique(both, axis=1, return_inverse=True)
    counts = np.zeros((pairs.shape[1], 4), np.int64)
    np.add.at(counts, (inverse.reshape(-1), found.bin), found.n)
    total = counts.sum(axis=1)
    at = replace(found, series=pairs[0], ts=pairs[1])
    yield _frame(at, "ratio", "volume", "", None, {"good": total, "total": total})
    yield _frame(at, "ratio", "valid_rows", "", None, {"good": counts[:, 0] + counts[:, 1], "total": total})
    yield _frame(at, "ratio", "label_coverage", "", None, {"good": counts[:, 1] + counts[:, 3], "total": total})


def _faults(found: Emitted, names: Sequence[str]) -> Frame:
    used, place = np.unique(found.bin, return_inverse=True)
    at = replace(found, series=place * len(found.keys) + found.series)
    columns = {"good": np.zeros(found.n.size, np.int64), "total": found.n}
    return _frame(at, "ratio", "valid_rows", "", None, columns, [names[index] for index in used.tolist()])


def _by_class(found: Emitted, classes: Sequence[str]) -> Iterator[Frame]:
    """Score histograms by actual class; "" where there is no label (or, not binary, for all)."""
    of, place = np.divmod(found.bin, SCORE_BINS + 1)
    for number in np.unique(of).tolist():
        mine = of == number
        assert found.sum is not None
        piece = Emitted(
            "score", found.keys, found.series[mine], found.ts[mine], place[mine], found.n[mine], found.sum[mine]
        )
        yield _histogram(piece, "score", classes[number], SCORE)


__all__ = [
    "ABSENT",
    "MISSING",
    "REASONS",
    "Feature",
    "Identity",
    "Join",
    "Look",
    "Spec",
    "category_layout",
    "column_values",
    "digest_of_labels",
    "extent",
    "identify",
    "look",
    "number_layout",
    "summarise",
]  # fmt: skip
