"""Repeated ids and labels over all files of a log."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tandem.cells import CHUNK
from tandem.summarise.hashes import SHARES, Hashes, Share
from tandem.summarise.identity import Identity
from tandem.values import same_classes

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
        same = same_classes(texts)
        named = {text: same.get(text, text) for text in texts}
        self.classes: tuple[str, ...] = () if self.numeric else tuple(sorted(set(named.values())))
        place = {name: index for index, name in enumerate(self.classes)}
        at = {} if self.numeric else {text: place[name] for text, name in named.items()}
        self.labels = [self._common(one, at) for one in files]
        self._label_values = [self._common(one, at) for one in labels]
        self._repeats: list[list[Array]] = [[] for _ in files]
        self.labels_without_prediction = 0
        self._label_times = [one.known for one in labels]
        told = any(one.known.size for one in labels)
        self.known = [np.zeros(one.rows if told else 0, np.int64) for one in files]
        """When the label of each row of a file became known, 0 for unknown; empty where no log of labels tells."""

    def _common(self, one: Identity, at: Mapping[str, int]) -> Array:
        """A file's labels in the classes of all files; the file's own are let go."""
        labels, one.labels = one.labels, one.labels[:0]
        if self.numeric:
            return labels
        kind = np.int16 if len(self.classes) < 2**15 else np.int32
        return np.array([*(at[text] for text in one.classes), -1], dtype=kind)[labels]

    def take_all(self, files: Hashes, labels: Hashes) -> None:
        """All hashes of the files and of the labels logs; raises OSError where they do not fit on the disk."""
        if files.on_disk or labels.on_disk:
            files.spill()
            labels.spill()
        for share in range(SHARES if files.on_disk else 1):
            self.take(files.share(share), labels.share(share))

    def take(self, files: Share, labels: Share) -> None:
        """One share of the hashes of all files and of all labels logs, by the numbers of `Identity`."""
        first, second, row, at = _of_these(files, self.files)
        order = _repeated(first, second)
        self._fold(order, first, second, row, at)
        self._join(_of_these(labels, self.label_files), first, second, row, at)

    def _fold(self, order: Array, first: Array, second: Array, row: Array, at: Array) -> None:
        """Leave out all but the first row of each id, and give that one the last own label."""
        if not order.size:
            return
        new = np.ones(order.size, dtype=bool)
        new[1:] = (np.diff(first[order]) != 0) | (np.diff(second[order]) != 0)
        again = order[~new]
        for number, here in _by_file(at[again]):
            self._repeats[number].append(row[again[here]])
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
            self._give_times(order[place[hit]], label_row, label_at, by_hash[hit], row, at)
        self.labels_without_prediction += int(known.size - used.sum())

    def _of(self, values: Sequence[Array], positions: Array, row: Array, at: Array) -> Array:
        """The values at some positions of the stacked hashes."""
        found = np.empty(positions.size, np.float64 if self.numeric else np.int32)
        for number, here in _by_file(at[positions]):
            found[here] = values[number][row[positions[here]]]
        return found

    def _give(self, values: Array, positions: Array, row: Array, at: Array) -> None:
        for number, here in _by_file(at[positions]):
            self.labels[number][row[positions[here]]] = values[here]

    def _give_times(self, of: Array, label_row: Array, label_at: Array, to: Array, row: Array, at: Array) -> None:
        """Write down when the labels at the positions `of` became known, for the predictions at `to`."""
        if not any(one.size for one in self.known):
            return
        times = np.zeros(of.size, np.int64)
        for number, here in _by_file(label_at[of]):
            if self._label_times[number].size:
                times[here] = self._label_times[number][label_row[of[here]]]
        for number, here in _by_file(at[to]):
            self.known[number][row[to[here]]] = times[here]

    def left_out(self, number: int) -> Array:
        """The rows of a file that do not count, sorted: those it left out itself, and repeated ids."""
        return np.unique(np.concatenate([self.files[number].left_out, self.repeats(number)])).astype(np.int64)

    def repeats(self, number: int) -> Array:
        """The rows of a file whose id came before."""
        return np.concatenate([np.zeros(0, np.int64), *self._repeats[number]])


def _of_these(share: Share, files: Sequence[Identity]) -> tuple[Array, Array, Array, Array]:
    """The hashes of the files that count, with their places among them for their numbers."""
    place = np.full(max([int(share.file.max(initial=0)), *(one.number for one in files)]) + 1, -1, np.int32)
    place[[one.number for one in files]] = np.arange(len(files))
    at = place[share.file]
    if at.size and at.min() < 0:
        mine = np.flatnonzero(at >= 0)
        return share.first[mine], share.second[mine], share.row[mine], at[mine]
    return share.first, share.second, share.row, at


def _by_file(at: Array) -> Iterator[tuple[int, Array]]:
    """Each file with the positions that are its own."""
    order = np.argsort(at, kind="stable")
    files, begins = np.unique(at[order], return_index=True)
    for number, begin, end in zip(files.tolist(), begins.tolist(), [*begins[1:].tolist(), at.size], strict=True):
        yield number, order[begin:end]


def _repeated(first: Array, second: Array) -> Array:
    """Positions whose id occurs more than once, equal ids together, each in the given order."""
    ordered = np.sort(first)
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    if not twice.size:
        return np.zeros(0, np.int64)
    place = np.minimum(np.searchsorted(twice, first), twice.size - 1)
    candidates = np.flatnonzero(twice[place] == first)
    return candidates[np.lexsort((second[candidates], first[candidates]))]


def digest_of_labels(labels: Array, classes: Sequence[str], left_out: Array, known: Array) -> str:
    """A hash of which rows of a file count, of their labels and when they came, whatever other files hold."""
    told = hashlib.sha256(left_out.astype("<i8").tobytes())
    told.update(known.astype("<i8").tobytes())
    if labels.dtype.kind == "f":
        told.update(np.where(np.isnan(labels), np.nan, labels + 0.0).astype("<f8").tobytes())
    else:
        present = np.bincount(labels + 1, minlength=len(classes) + 1) > 0
        used = np.flatnonzero(present) - 1
        told.update(json.dumps([classes[index] for index in used.tolist() if index >= 0]).encode())
        place = (np.cumsum(present) - 1).astype("<i4")
        for begin in range(0, labels.size, CHUNK):
            told.update(place[labels[begin : begin + CHUNK] + 1].tobytes())
        told.update(b"-" if used.size and used[0] < 0 else b"+")
    return told.hexdigest()[:32]
