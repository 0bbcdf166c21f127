"""Counts and exact sums per group and bin: integer scatters into a table that is emptied when it is full.

A group is a bucket, a version and the values of some columns. Sums are whole quanta; nothing is a float once it is in
the table, so any split or order of the rows gives the same totals.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tandem.bins import MISSING, OTHER, Layout

Array = np.ndarray[Any, Any]

CELLS = 4096
"""Cells of the grid in which a value's bin is looked up."""
WIDEST = 3
"""Most edges in one cell before a plain search is used."""
LARGE = 2**41
"""Quanta up to this add up to less than 2**63 over FLUSH_ROWS rows; larger ones are added as Python ints."""
FLUSH_ROWS = 2_000_000
CHUNK = 65_536
WAITING = 1_000_000
"""Rows of a sparse measure that wait to be counted together."""
BUDGET = 64_000_000
"""Bytes of a table of groups before it is emptied."""
_LOW = 21


class Grid:
    """The bin of a value among the edges of a layout, exactly as a search would find it, but by one look-up.

    Values and edges go through the same arithmetic, which is monotone: edges in lower cells lie at or below the
    value's; only edges in its own cell are compared.
    """

    def __init__(self, layout: Layout) -> None:
        self.edges = np.asarray(layout.edges, dtype=np.float64)
        self.side = "right" if layout.closed == "left" else "left"
        self.compare: Any = np.greater_equal if layout.closed == "left" else np.greater
        self.bins = self.edges.size + 1
        self.rows: list[Array] = []
        self.plain = not self._prepare()

    def _prepare(self) -> bool:
        edges = self.edges
        if not edges.size:
            return False
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            span = edges[-1] - edges[0]
            self.lo, self.k = float(edges[0]), float((CELLS - 3) / span) if span > 0 else 1.0
            cell = np.clip((edges - self.lo) * self.k + 1.0, 0, CELLS - 1)
        if not (np.isfinite(self.k) and self.k > 0 and np.isfinite(cell).all()):
            return False
        at = cell.astype(np.int64)
        rank = np.arange(edges.size) - np.searchsorted(at, at)
        if rank.max() >= WIDEST:
            return False
        self.base = np.searchsorted(at, np.arange(CELLS)).astype(np.int64)
        table = np.full((int(rank.max()) + 1, CELLS), np.inf)
        table[rank, at] = edges
        self.rows = list(table)
        self._float = np.empty(CHUNK)
        self._edge = np.empty(CHUNK)
        self._cell = np.empty(CHUNK, np.int64)
        self._code = np.empty(CHUNK, np.int64)
        self._above = np.empty(CHUNK, bool)
        return True

    def codes(self, values: Array) -> Array:
        """The bin of each of at most CHUNK finite values; good until the next call."""
        if self.plain:
            return np.searchsorted(self.edges, values, side=self.side).astype(np.int64)  # type: ignore[call-overload,no-any-return]
        n = values.size
        at, cell, code, edge, above = (
            self._float[:n], self._cell[:n], self._code[:n], self._edge[:n], self._above[:n],
        )  # fmt: skip
        with np.errstate(over="ignore"):
            np.subtract(values, self.lo, out=at)
            np.multiply(at, self.k, out=at)
            np.add(at, 1.0, out=at)
        np.clip(at, 0, CELLS - 1, out=at)
        np.copyto(cell, at, casting="unsafe")
        np.take(self.base, cell, mode="clip", out=code)
        for row in self.rows:
            np.take(row, cell, mode="clip", out=edge)
            self.compare(values, edge, out=above)
            np.add(code, above, out=code)
        return code


class Quanta:
    """Values as whole multiples of 10**-digits, half to even."""

    def __init__(self, digits: int) -> None:
        self.scale = float(f"1e{abs(digits)}")
        self.divide = digits < 0
        self._float = np.empty(CHUNK)
        self._whole = np.empty(CHUNK, np.int64)

    def of(self, values: Array) -> tuple[Array, dict[int, int]]:
        """Quanta of at most CHUNK finite values (good until the next call), and by position those too large."""
        n = values.size
        scaled, whole = self._float[:n], self._whole[:n]
        with np.errstate(over="ignore"):
            (np.divide if self.divide else np.multiply)(values, self.scale, out=scaled)
        np.rint(scaled, out=scaled)
        large: dict[int, int] = {}
        if n and (scaled.max() > LARGE or scaled.min() < -LARGE):
            for at in np.flatnonzero(np.abs(scaled) > LARGE).tolist():
                large[at] = int(scaled[at]) if np.isfinite(scaled[at]) else self._exactly(float(values[at]))
                scaled[at] = 0.0
        np.copyto(whole, scaled, casting="unsafe")
        return whole, large

    def _exactly(self, value: float) -> int:
        return int(value) * int(self.scale)


@dataclass
class Emitted:
    """Filled cells of one measure: per cell the index of its series key, bucket, bin, count and sums."""

    measure: str
    keys: list[tuple[str, str]]
    """(version, segment)."""
    series: Array
    ts: Array
    bin: Array
    n: Array
    sum: Array | None = None
    squares: Array | None = None


class Groups:
    """The groups of one bucket width and one set of segment columns, and the places of a part's rows among them."""

    def __init__(self, width: int, columns: tuple[str, ...], margins: Sequence[tuple[str, ...]], capacity: int) -> None:
        self.width = width
        self.columns = columns
        self.margins = margins
        self.capacity = capacity
        self.at: dict[tuple[int, ...], int] = {}
        self.rows = 0
        self.place: Array = np.zeros(0, np.int64)

    def locate(self, ts: Array, keys: Sequence[tuple[Array, int]]) -> bool:
        """Give each row its place; False, and nothing changed, where the table has no room for its new groups.

        `keys`: for version and each column the index of its value (numbered alike in every part) and how many.
        """
        bucket = ts // self.width
        low = int(bucket.min())
        sizes = [int(bucket.max()) - low + 1, *(size for _, size in keys)]
        code = bucket - low
        for values, size in keys:
            code = code * size + values
        product = int(np.prod(np.asarray(sizes, dtype=np.float64)))
        if product <= max(4 * code.size, 1 << 16):
            found = np.flatnonzero(np.bincount(code, minlength=product))
            inverse = None
        else:
            found, inverse = np.unique(code, return_inverse=True)
        keyed = self._keys(found, sizes, low)
        new = [key for key in keyed if key not in self.at]
        if len(self.at) + len(new) > self.capacity and (self.at or code.size > 1):
            return False
        places = np.array([self.at.setdefault(key, len(self.at)) for key in keyed], dtype=np.int64)
        if inverse is None:
            lookup = np.zeros(product, np.int64)
            lookup[found] = places
            self.place = np.take(lookup, code)
        else:
            self.place = np.take(places, inverse)
        self.rows += code.size
        return True

    def _keys(self, found: Array, sizes: Sequence[int], low: int) -> list[tuple[int, ...]]:
        pieces: list[Array] = []
        for size in reversed(sizes[1:]):
            found, rest = np.divmod(found, size)
            pieces.append(rest)
        pieces.append(found + low)
        return list(zip(*(piece.tolist() for piece in reversed(pieces)), strict=True))

    def clear(self) -> None:
        """Forget all groups."""
        self.at.clear()
        self.rows = 0


@dataclass
class Table:
    """Count and sums per group and bin of one measure."""

    measure: str
    groups: Groups
    bins: int
    sums: bool = False
    squares: bool = False
    n: Array = field(init=False)
    s: Array = field(init=False)
    parts: tuple[Array, Array, Array] = field(init=False)
    extra: dict[int, int] = field(default_factory=dict)
    extra_squares: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        size = self.groups.capacity * self.bins
        self.n = np.zeros(size, np.int64)
        self.s = np.zeros(size if self.sums or self.squares else 0, np.int64)
        empty = size if self.squares else 0
        self.parts = (np.zeros(empty, np.int64), np.zeros(empty, np.int64), np.zeros(empty, np.int64))

    def add(self, cell: Array, quanta: Array | None = None, large: Mapping[int, int] | None = None) -> None:
        """Count values in their cells (place * bins + bin), and add their quanta."""
        np.add.at(self.n, cell, 1)
        if quanta is None:
            return
        np.add.at(self.s, cell, quanta)
        if self.squares:
            high, low = quanta >> _LOW, quanta & ((1 << _LOW) - 1)
            for table, product in zip(self.parts, (high * high, high * low, low * low), strict=True):
                np.add.at(table, cell, product)
        for at, value in (large or {}).items():
            where = int(cell[at])
            self.extra[where] = self.extra.get(where, 0) + value
            if self.squares:
                self.extra_squares[where] = self.extra_squares.get(where, 0) + value * value

    def filled(self) -> tuple[Array, Array, Array | None, Array | None]:
        """(cell, count, sum, squares) of the filled cells; the table is empty afterwards."""
        size = len(self.groups.at) * self.bins
        cells = np.flatnonzero(self.n[:size])
        n = self.n[cells]
        sums = squares = None
        if self.s.size:
            sums = _with(self.s[cells], cells, self.extra)
            self.s[:size] = 0
        if self.squares:
            high, cross, low = (part[cells].astype(object) for part in self.parts)
            squares = high * (1 << 2 * _LOW) + cross * (1 << _LOW + 1) + low
            squares = _with(squares, cells, self.extra_squares)
            for part in self.parts:
                part[:size] = 0
        self.n[:size] = 0
        self.extra.clear()
        self.extra_squares.clear()
        return cells, n, sums, squares


def _with(sums: Array, cells: Array, extra: Mapping[int, int]) -> Array:
    if not extra:
        return sums
    whole = sums.astype(object)
    where = {cell: index for index, cell in enumerate(cells.tolist())}
    for cell, value in extra.items():
        whole[where[cell]] += value
    return whole


@dataclass
class Sparse:
    """Counts of a measure with many possible bins, most of them empty: keys and counts, added up when emptied."""

    measure: str
    groups: Groups
    bins: int
    pieces: list[Array] = field(default_factory=list)
    waiting: int = 0
    cells: Array = field(default_factory=lambda: np.zeros(0, np.int64))
    n: Array = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, place: Array, of: Array) -> None:
        """Count each row in bin `of` of its place."""
        self.pieces.append(place * self.bins + of)
        self.waiting += place.size
        if self.waiting > WAITING:
            self._tally()

    def _tally(self) -> None:
        keys = np.concatenate(self.pieces)
        size = len(self.groups.at) * self.bins
        if size <= 1 << 22:
            counts = np.bincount(keys, minlength=size)
            found = np.flatnonzero(counts)
            counts = counts[found]
        else:
            found, counts = np.unique(keys, return_counts=True)
        self.cells, inverse = np.unique(np.concatenate([self.cells, found]), return_inverse=True)
        n = np.zeros(self.cells.size, np.int64)
        np.add.at(n, inverse, np.concatenate([self.n, counts]))
        self.n, self.pieces, self.waiting = n, [], 0

    def filled(self) -> tuple[Array, Array, None, None]:
        """(cell, count) of the filled cells; empty afterwards."""
        if self.pieces:
            self._tally()
        cells, n = self.cells, self.n
        self.cells = self.n = np.zeros(0, np.int64)
        return cells, n, None, None


@dataclass
class Margin:
    """How the groups of a table add up to those of one margin."""

    keys: list[tuple[str, str]]
    """(version, segment)."""
    ts: Array
    """Bucket of each group of the margin."""
    series: Array
    """Index of its key."""
    of: Array | None
    """The margin's group of each group of the table; None where they are the same."""


def margins_of(groups: Groups, words: Sequence[Sequence[str]]) -> list[Margin]:
    """The margins of the groups that are there; `words` are the texts of version and columns."""
    keys = np.array(list(groups.at), dtype=np.int64).reshape(len(groups.at), 2 + len(groups.columns))
    found = []
    for margin in groups.margins:
        kept = [0, 1, *(2 + groups.columns.index(column) for column in margin)]
        short, of = keys[:, kept], None
        if len(kept) < keys.shape[1]:
            short, of = np.unique(short, axis=0, return_inverse=True)
        named, series = np.unique(short[:, 1:], axis=0, return_inverse=True)
        texts = [[words[at - 1][index] for at, index in zip(kept[1:], key, strict=True)] for key in named.tolist()]
        pairs = [(text[0], _segment(margin, text[1:])) for text in texts]
        found.append(
            Margin(pairs, short[:, 0] * groups.width, series.reshape(-1), None if of is None else of.reshape(-1))
        )
    return found


def _segment(columns: Sequence[str], texts: Sequence[str]) -> str:
    return ",".join(f"{column}={text}" for column, text in zip(columns, texts, strict=True))


def emit(table: Table | Sparse, margins: Sequence[Margin]) -> Iterator[Emitted]:
    """The filled cells of a table for each margin of its groups; the table is empty afterwards."""
    cells, n, sums, squares = table.filled()
    if not cells.size:
        return
    group, place = np.divmod(cells, table.bins)
    for margin in margins:
        if margin.of is None:
            mine, bins, count, total, square = group, place, n, sums, squares
        else:
            at, back = np.unique(margin.of[group] * table.bins + place, return_inverse=True)
            mine, bins = np.divmod(at, table.bins)
            count = _gathered(n, back, at.size)
            total = None if sums is None else _gathered(sums, back, at.size)
            square = None if squares is None else _gathered(squares, back, at.size)
        series, ts = margin.series[mine], margin.ts[mine]
        yield Emitted(table.measure, margin.keys, series, ts, bins, count, total, square)


def _gathered(values: Array, back: Array, size: int) -> Array:
    total = np.zeros(size, values.dtype) if values.dtype != object else np.array([0] * size, dtype=object)
    np.add.at(total, back, values)
    return total


def leaves(margins: Sequence[tuple[str, ...]]) -> dict[tuple[str, ...], list[tuple[str, ...]]]:
    """Which sets of columns rows must be grouped by, and the margins that are added up from each.

    A margin whose columns another one has too is added up from that one; the total () from the first.
    """
    tops = [one for one in margins if not any(set(one) < set(other) for other in margins)]
    found: dict[tuple[str, ...], list[tuple[str, ...]]] = {top: [] for top in dict.fromkeys(tops or [()])}
    for margin in dict.fromkeys([(), *margins]):
        top = next(top for top in found if set(margin) <= set(top))
        found[top].append(margin)
    return found


def bin_numbers(layout: Layout) -> Array:
    """The layout's bin of each column of a table: its bins in order, then OTHER (categories only), then MISSING."""
    if layout.kind == "categories":
        return np.array([*range(len(layout.values)), OTHER, MISSING], dtype=np.int64)
    return np.array([*range(len(layout.edges) + 1), MISSING], dtype=np.int64)
