"""Numbers for names: series, layouts, categories and segments, given once and never changed."""

from __future__ import annotations

from typing import Any

import duckdb

from tandem.bins import CATEGORIES, MISSING, OTHER, Layout
from tandem.place import MARGIN, columns_of, other
from tandem.records import (
    BUCKET,
    HOUR,
    Series,
)
from tandem.store.file import Placed, Store, layout_spec
from tandem.store.rows import table

HOURLY = frozenset({"feature", "prediction", "drift"})
"""Signals whose buckets are an hour wide."""


class Names:
    """Numbers for names inside one transaction."""

    def __init__(self, store: Store, cursor: duckdb.DuckDBPyConnection, source: int) -> None:
        self.names = store.names
        self.cursor = cursor
        self.source = source
        self.new: list[tuple[Any, ...]] = []
        self.widths = store.names.widths

    def series(self, series: Series, layout: Layout | None) -> tuple[int, int]:
        """(number of the series, number of its layout or 0)."""
        key = (self.source, series, layout)
        found = self.names.resolved.get(key)
        if found is None:
            found = self.names.resolved[key] = self._found(series, layout)
        return found

    def _found(self, series: Series, layout: Layout | None) -> tuple[int, int]:
        width = HOUR if series.signal in HOURLY else BUCKET
        segment = self._segment(series.component, series.segment)
        placed = Placed(series.component, series.signal, series.name, series.version, segment, series.environment,
                        series.stage, self.source, width)  # fmt: skip
        layout_id = self._layout(layout, placed) if layout is not None else 0
        return self.numbered(placed, layout_id), layout_id

    def numbered(self, placed: Placed, layout_id: int) -> int:
        """The number of a series that is placed already, with a layout of that number or 0."""
        known = self.names.series.get((placed, layout_id))
        if known is not None:
            return known
        number = len(self.names.series) + 1
        self.widths[number] = placed.width
        base = self.names.bases.setdefault(placed, number)
        self.names.series[placed, layout_id] = number
        self.new.append((number, base, placed.component, placed.signal, placed.name, placed.version, placed.segment,
                         placed.environment, placed.stage, placed.source, layout_id, placed.width))  # fmt: skip
        return number

    def _segment(self, component: str, segment: str) -> str:
        if not segment:
            return ""
        columns = columns_of(segment)
        places = self.names.margins.setdefault((component, columns), [])
        if segment in places or segment == other(columns):
            return segment
        if len(places) >= MARGIN:
            return other(columns)
        places.append(segment)
        self.cursor.execute("INSERT INTO margin VALUES (?, ?, ?)", [component, columns, segment])
        return segment

    def _layout(self, layout: Layout, placed: Placed) -> int:
        return self.layout_of(layout_spec(layout, placed))

    def layout_of(self, spec: str) -> int:
        """The number of a layout by its stored form."""
        number = self.names.layout_ids.get(spec)
        if number is None:
            number = len(self.names.layout_ids) + 1
            self.names.layout_ids[spec] = number
            self.names.layout_specs[number] = spec
            self.cursor.execute("INSERT INTO layout VALUES (?, ?)", [number, spec])
        return number

    def places(self, layout: Layout, number: int) -> dict[int, int] | None:
        """From a record's bins to the stored layout's, for categories; None where they are the same."""
        if layout.kind != "categories":
            return None
        places = self.names.categories.setdefault(number, {})
        moved = {MISSING: MISSING, OTHER: OTHER}
        for mine, value in enumerate(layout.values):
            if value not in places and len(places) < CATEGORIES:
                places[value] = len(places)
                self.cursor.execute("INSERT INTO category VALUES (?, ?, ?)", [number, places[value], value])
            moved[mine] = places.get(value, OTHER)
        return moved

    def flush(self) -> None:
        """Write the series made in this transaction."""
        if not self.new:
            return
        names = ("id", "base", "component", "signal", "name", "version", "segment", "environment", "stage", "source",
                 "layout", "width")  # fmt: skip
        self.cursor.register("arriving", table(dict(zip(names, zip(*self.new, strict=True), strict=True))))
        self.cursor.execute("INSERT INTO series BY NAME SELECT * FROM arriving")
        self.cursor.unregister("arriving")
        self.new = []
