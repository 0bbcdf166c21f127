"""The filled cells of every measure of one file; runs in the child."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa

from tandem import rows
from tandem.bins import CATEGORIES, DURATION, SCORE, Layout
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
from tandem.child import Frame, Refused
from tandem.pieces import open_rows
from tandem.records import BUCKET, HOUR
from tandem.summarise import frames
from tandem.summarise.frames import SCORE_BINS
from tandem.summarise.spec import Feature, Spec, spec_of
from tandem.values import categories, either, instants, numbers, same_classes

Array = np.ndarray[Any, Any]
Margins = Sequence[Margin]

LOG_LOSS = Layout(digits=9)
BRIER = Layout(digits=12)
RELATIVE = Layout(digits=9)
ABSENT = "(missing)"
"""Text of a missing segment value."""
MOMENTS = ("error", "absolute", "target", "relative")
REASONS = ("missing", "out of range", "unseen category", "wrong type")
LARGEST = 2.0**90
"""Quanta of the largest number that is summed; a larger one counts as missing, and as out of range."""
LARGEST_ERROR = 2.0**52
"""The same for errors, whose squares are summed too."""
_MISSING, _RANGE, _UNSEEN, _TYPE = range(4)


def child_summarise(given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Iterator[Frame]:
    """The filled cells of every measure of one file."""
    spec = spec_of(given["spec"])
    opened = open_rows(given["path"])
    features = [one.column for one in spec.features if one.column in opened.kinds or opened.format == "json"]
    needed = [spec.time, spec.prediction, *spec.keys]
    wanted = list(dict.fromkeys([*opened.wanted(needed), *features]))
    counting = _Counting(spec, frozenset(features), aged=bool(arrays["known"].size))
    for part in opened.parts(wanted):
        kept = part.kept(arrays["left_out"])
        if kept is None or kept.size:
            known = part.own(arrays["known"]) if arrays["known"].size else None
            yield from counting.part(part, kept, part.own(arrays["labels"]), known)
    yield from counting.flush()


class Leaf:
    """The tables of one set of segment columns."""

    def __init__(self, spec: Spec, columns: tuple[str, ...], margins: Sequence[tuple[str, ...]], aged: bool) -> None:
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
        self.fives = Groups(BUCKET, columns, margins, _capacity(32 + 16 * _width_of_fives(spec, aged)))
        self.rows = Table("rows", self.fives, 4)
        self.faults = Sparse("faults", self.fives, len(REASONS) * (len(spec.features) + 2))
        self.score = (
            Table("score", self.fives, _score_labels(spec) * (SCORE_BINS + 1), sums=True) if spec.score else None
        )
        losses = bool(spec.score) and spec.task == "binary"
        self.log_loss = Table("log_loss", self.fives, 1, squares=True) if losses else None
        self.brier = Table("brier", self.fives, 1, squares=True) if losses else None
        self.outcome = Sparse("outcome", self.fives, max(1, len(spec.classes)) ** 2)
        self.ages = Table("label_age", self.fives, len(DURATION.edges) + 1, sums=True) if aged else None
        self.error: Table | None = None
        self.moments: dict[str, Table] = {}
        if spec.error is not None:
            self.error = Table("error", self.fives, len(spec.error.edges) + 1, sums=True)
            self.moments = {name: Table(name, self.fives, 1, squares=True) for name in MOMENTS}

    def both(self) -> tuple[Groups, Groups]:
        """The hours and the five minutes."""
        return self.hours, self.fives


def _is_number(one: Feature | None) -> bool:
    return one is not None and one.layout.kind == "edges"


def _capacity(bytes_per_group: int) -> int:
    return max(16, min(1 << 16, BUDGET // max(1, bytes_per_group)))


def _score_labels(spec: Spec) -> int:
    return len(spec.classes) + 1 if spec.task == "binary" else 1


def _width_of_fives(spec: Spec, aged: bool) -> int:
    scores = _score_labels(spec) * (SCORE_BINS + 1) if spec.score else 0
    return scores + (len(DURATION.edges) + 1 if aged else 0) + (len(spec.error.edges) if spec.error else 0) + 16


class _Counting:
    """Adds the parts of a file to the tables, and empties them when they are full."""

    def __init__(self, spec: Spec, present: frozenset[str], *, aged: bool = False) -> None:
        self.spec = spec
        self.present = present
        self.words: dict[str, dict[str, int]] = {"": {"": 0}}
        self.leaves = [Leaf(spec, columns, margins, aged) for columns, margins in leaves(spec.segments).items()]
        self.grids = {one.column: Grid(one.layout) for one in spec.features if one.layout.kind == "edges"}
        self.quanta = {
            one.column: Quanta(one.layout.digits or 0) for one in spec.features if one.layout.digits is not None
        }
        self.score_grid, self.score_quanta = Grid(SCORE), Quanta(SCORE.digits or 0)
        self.age_grid, self.age_quanta = Grid(DURATION), Quanta(DURATION.digits or 0)
        self.rows = 0

    def part(self, part: rows.Part, kept: Array | None, labels: Array, known: Array | None) -> Iterator[Frame]:
        """Count the rows `kept` of a part (None: all), in spans for which the tables have room."""
        ts, _ = instants(part.column(self.spec.time), self.spec.time_unit, self.spec.timezone)
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
            if known is not None:
                self._ages(ts, known, None if everything else span)
            self.rows += span.size
            begin += span.size

    def _key_columns(self) -> list[str]:
        named = [self.spec.version] if self.spec.version else []
        return list(dict.fromkeys([*named, *(column for leaf in self.leaves for column in leaf.columns)]))

    def _key(self, part: rows.Part, name: str) -> Array:
        index, texts = categories(part.column(name))
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

    def _ages(self, ts: Array, known: Array, span: Array | None) -> None:
        """Time from prediction to label, in the prediction's bucket; a label that was there before is 0 old."""
        when, came = (ts, known) if span is None else (ts[span], known[span])
        at = np.flatnonzero(came > 0)
        ages = np.maximum(came[at] - when[at], 0).astype(np.float64)
        tables = [(leaf.fives.place[at], leaf.ages) for leaf in self.leaves if leaf.ages is not None]
        _scatter(ages, None, self.age_grid, self.age_quanta, tables)

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
        values, missing, wrong = numbers(column)
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
        index, texts = categories(column)
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
        index, texts = categories(column)
        at = {text: place for place, text in enumerate(self.spec.classes)}
        named = same_classes({*at, *texts})
        texts = [named.get(text, text) for text in texts]
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
        values, missing, wrong = numbers(self._column(part, self.spec.prediction, span))
        number = len(self.spec.features)
        for reason, which in ((_MISSING, missing), (_TYPE, wrong)):
            if which is not None:
                self._fault(number, reason, which, bad)
        absent = either(missing, wrong, values.size) if missing is not None or wrong is not None else None
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
        for name, given, of in measured:
            _moments(given, Quanta(of), [(place, leaf.moments[name]) for leaf, place in places])
        self._relative(np.abs(error), labels[at], places)

    def _relative(self, error: Array, true: Array, places: Sequence[tuple[Leaf, Array]]) -> None:
        """Errors as a share of the true value; where that is 0, or next to it, there is none."""
        digits = RELATIVE.digits or 0
        with np.errstate(over="ignore", divide="ignore", invalid="ignore"):
            share = error / np.abs(true)
        fits = np.flatnonzero((true != 0) & (share <= LARGEST_ERROR * 10.0**-digits))
        _moments(share[fits], Quanta(digits), [(place[fits], leaf.moments["relative"]) for leaf, place in places])

    def _scores(self, part: rows.Part, span: Array | None, labels: Array, bad: Array) -> None:
        values, missing, wrong = numbers(self._column(part, self.spec.score, span))
        number = len(self.spec.features) + 1
        outside = (values < 0.0) | (values > 1.0)
        for reason, which in ((_MISSING, missing), (_TYPE, wrong), (_RANGE, outside if outside.any() else None)):
            if which is not None:
                self._fault(number, reason, which, bad)
        absent = either(missing, wrong, values.size) | outside
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

    def _frames(self, leaf: Leaf) -> Iterator[Frame]:
        words = [list(self.words[name]) for name in (self.spec.version, *leaf.columns)]
        hours, fives = margins_of(leaf.hours, words), margins_of(leaf.fives, words)
        yield from self._of_features(leaf, hours)
        yield from self._of_rows(leaf, fives)
        yield from self._of_scores(leaf, fives)
        yield from self._of_errors(leaf, fives)
        for found in _emitted(leaf.ages, fives):
            yield frames.histogram(found, "label_age", "", DURATION)

    def _of_features(self, leaf: Leaf, margins: Margins) -> Iterator[Frame]:
        for feature in self.spec.features:
            for found in emit(leaf.features[feature.column], margins):
                yield frames.histogram(found, "feature", feature.column, feature.layout)
        for found in _emitted(leaf.predicted, margins):
            assert self.spec.predicted is not None
            yield frames.histogram(found, "prediction", "", self.spec.predicted.layout)

    def _of_rows(self, leaf: Leaf, margins: Margins) -> Iterator[Frame]:
        for found in emit(leaf.rows, margins):
            yield from frames.ratios(found)
        columns = [*(one.column for one in self.spec.features), self.spec.prediction, self.spec.score]
        names = [f"{column}:{reason}" for column in columns for reason in REASONS]
        for found in emit(leaf.faults, margins):
            yield frames.faults(found, names)
        classes = len(self.spec.classes)
        for found in emit(leaf.outcome, margins):
            cells = {"actual": found.bin // classes, "predicted": found.bin % classes, "n": found.n}
            yield frames.frame(found, "confusion", "outcome", "", None, cells)

    def _of_scores(self, leaf: Leaf, margins: Margins) -> Iterator[Frame]:
        for found in _emitted(leaf.score, margins):
            yield from frames.by_class(found, ["", *self.spec.classes])
        for table, layout in ((leaf.log_loss, LOG_LOSS), (leaf.brier, BRIER)):
            for found in _emitted(table, margins):
                yield frames.moments(found, "score", found.measure, layout)

    def _of_errors(self, leaf: Leaf, margins: Margins) -> Iterator[Frame]:
        error, target = self.spec.error, self.spec.target
        if error is None or target is None:
            return
        for found in _emitted(leaf.error, margins):
            yield frames.histogram(found, "error", "", error)
        for name, table in leaf.moments.items():
            for found in emit(table, margins):
                layout = {"target": Layout(digits=target.digits), "relative": RELATIVE}.get(name)
                yield frames.moments(found, "error", name, layout or Layout(digits=error.digits))


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
