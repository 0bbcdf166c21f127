"""The stored references of a component's features, with the bins that were made of them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from weakref import WeakKeyDictionary

import duckdb

from tandem import bins, drift
from tandem.records import Histogram
from tandem.store.file import Registry, Store
from tandem.store.read import Reader


@dataclass(frozen=True)
class Reference:
    """A stored reference: its histogram, the window of its values, and when its bins were made (epoch seconds).

    `deviation` is the exact population standard deviation of its values; None of categories, and of what was stored
    before squares were kept.
    """

    layout: int
    histogram: Histogram
    since: int
    until: int
    made: int
    deviation: float | None

    @cached_property
    def tail(self) -> float:
        """How its exact deviation corrects what bins tell of another side's (`drift.tail_of`)."""
        return 1.0 if self.deviation is None else drift.tail_of(self.histogram, self.deviation)


_KEPT: WeakKeyDictionary[Store, dict[tuple[str, int], dict[tuple[str, str], Reference]]] = WeakKeyDictionary()
"""The references of the last components that were asked for: they only change with a load."""
MOST = 256


def references(reader: Reader, component: str) -> Mapping[tuple[str, str], Reference]:
    """By (signal, name) the references in force as of the reader's load."""
    kept = _KEPT.setdefault(reader.store, {})
    key = component, reader.as_of
    if key not in kept:
        if len(kept) >= MOST:
            kept.clear()
        kept[key] = _read(reader, component)
    return kept[key]


def _read(reader: Reader, component: str) -> dict[tuple[str, str], Reference]:
    rows = reader.cursor.execute(
        """
        SELECT signal, name, layout, bins, counts, sums, b.since, b.until, l.committed, squares
        FROM baseline b LEFT JOIN load l ON l.load_id = b.load_id WHERE b.component = ? AND b.load_id <= ?
        QUALIFY row_number() OVER (PARTITION BY signal, name ORDER BY b.load_id DESC) = 1 ORDER BY signal, name""",
        [component, reader.as_of],
    ).fetchall()
    found = {}
    for signal, name, layout, places, counts, sums, since, until, made, squares in rows:
        cells = dict(zip(places, counts, strict=True)), dict(zip(places, map(int, sums), strict=True))
        histogram = Histogram(reader.store.names.layout(layout), *cells)
        found[signal, name] = Reference(
            layout, histogram, int(since), int(until), int(made or 0), deviation(histogram, squares)
        )
    return found


def deviation(histogram: Histogram, squares: int | None) -> float | None:
    """The population standard deviation of the values of a histogram whose sum of squares is known.

    Computed on whole numbers: (n * squares - sum²) / n², the root of it once, at the end.
    """
    n = bins.total(histogram)
    if squares is None or histogram.layout.digits is None or not n:
        return None
    total = sum(histogram.sums.values())
    return math.sqrt(max(n * int(squares) - total * total, 0)) / n * float(Decimal(1).scaleb(-histogram.layout.digits))


def first_hour(reader: Reader, ids: list[int]) -> int | None:
    """The first hour of which some histogram series has a row; None where they have none."""
    row = reader.cursor.execute(
        "SELECT min(ts) FROM histogram_hour WHERE series IN (SELECT unnest(?::INTEGER[])) AND load_id <= ?",
        [ids, reader.as_of],
    ).fetchone()
    return None if row is None or row[0] is None else int(row[0])


def stored(
    cursor: duckdb.DuckDBPyConnection, names: Registry, component: str, feature: str
) -> tuple[Histogram, float | None] | None:
    """The newest reference of a feature, inside a transaction, and its exact deviation."""
    rows = cursor.execute(
        "SELECT layout, bins, counts, sums, squares FROM baseline WHERE component = ? AND signal = 'feature' "
        "AND name = ? ORDER BY load_id DESC LIMIT 1",
        [component, feature],
    ).fetchall()
    if not rows:
        return None
    [(layout, places, counts, sums, squares)] = rows
    cells = dict(zip(places, counts, strict=True)), dict(zip(places, map(int, sums), strict=True))
    histogram = Histogram(names.layout(layout), *cells)
    return histogram, deviation(histogram, squares)
