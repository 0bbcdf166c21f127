"""Repeated ids and labels over all files of a log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tandem.summarise.identity import Identity

Array = np.ndarray[Any, Any]


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
        return np.concatenate([np.zeros(0, np.int64), *self._repeats[number]])


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
