"""What another store says, under the names and numbers of this one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import duckdb

from tandem.store.file import Store
from tandem.store.load import DERIVED
from tandem.store.naming import Names
from tandem.store.rows import insert
from tandem.store.tables import TIERS, Kind

FOLLOWS = sorted(DERIVED - {"drift"})
"""Signals that follow from events: they are made anew of the events of both."""


class Other:
    """Another store as it stands, read into temporary tables of a cursor of this one.

    `sources` and `series` say which number of this store each of its own has; what is new here gets one.
    """

    def __init__(self, other: Store, mine: Store, cursor: duckdb.DuckDBPyConnection) -> None:
        self.other = other.cursor()
        self.mine = mine
        self.cursor = cursor
        self.names = Names(mine, cursor, 0)
        self.bins: list[tuple[int, int, int]] = []
        """(their layout, their place, the place here) of every category."""
        self.sources = {old: self._source(*key) for key, old in sorted(other.names.sources.items(), key=_second)}
        self.layouts = {0: 0} | {old: self.names.layout_of(spec) for old, spec in other.names.layout_specs.items()}
        self._categories(other)
        self._margins(other)
        self.series = {old: self._series(placed, layout)
                       for (placed, layout), old in other.names.series.items()}  # fmt: skip
        self.names.flush()
        self._tell(other)

    # -- names

    def _source(self, connector: str, scope: str) -> int:
        known = self.mine.names.sources
        number = known.get((connector, scope))
        if number is None:
            number = known[connector, scope] = len(known) + 1
            self.cursor.execute("INSERT INTO source VALUES (?, ?, ?)", [number, connector, scope])
        return number

    def _categories(self, other: Store) -> None:
        """Give every value of theirs a place here: what each store keeps apart stays apart, however many they are."""
        for layout, places in other.names.categories.items():
            number = self.layouts[layout]
            mine = self.mine.names.categories.setdefault(number, {})
            fresh = sorted(value for value in places if value not in mine)
            for value in fresh:
                mine[value] = len(mine)
            if fresh:
                self._insert("category", [(number, mine[value], value) for value in fresh])
            self.bins += [(layout, place, mine[value]) for value, place in places.items()]

    def _margins(self, other: Store) -> None:
        rows = []
        for (component, columns), segments in other.names.margins.items():
            mine = self.mine.names.margins.setdefault((component, columns), [])
            for segment in segments:
                if segment not in mine:
                    mine.append(segment)
                    rows.append((component, columns, segment))
        self._insert("margin", rows)

    def _series(self, placed: Any, layout: int) -> int:
        return self.names.numbered(replace(placed, source=self.sources[placed.source]), self.layouts[layout])

    def _tell(self, other: Store) -> None:
        """The numbers of both as tables that statements can join."""
        registry = self.mine.names
        rows = [(old, self.series[old], registry.bases[replace(placed, source=self.sources[placed.source])],
                 self.sources[placed.source], layout)
                for (placed, layout), old in other.names.series.items()]  # fmt: skip
        self.table("their_series", "old INTEGER, id INTEGER, base INTEGER, source INTEGER, layout INTEGER", rows)
        self.table("their_bin", "layout INTEGER, old INTEGER, bin INTEGER", self.bins)

    def total(self, number: int) -> int:
        """The series that adds up the features of a drift series of this store, made where there is none."""
        placed = next(placed for (placed, _), known in self.mine.names.series.items() if known == number)
        return self.names.numbered(replace(placed, name=""), 0)

    # -- what it says

    def facts(self, kind: Kind, width: int) -> bool:
        """Fill `theirs` with what stands in every bucket, `their_stamp` with when that was said; whether any was."""
        rows = (
            f"FROM {kind.name}{TIERS[width]} f JOIN series s ON s.id = f.series AND s.width = {width} "
            "LEFT JOIN load l ON l.load_id = f.load_id WHERE f.slice = 0 "
            "AND NOT list_contains($follows::VARCHAR[], s.signal) AND NOT (s.signal = 'drift' AND s.name = '')"
        )
        stamps = f"SELECT s.base AS series, f.ts, max(coalesce(l.committed, 0)) AS stamp {rows} GROUP BY s.base, f.ts"
        if not self._arrive(stamps, {"follows": FOLLOWS}):
            return False
        self._made(
            "their_stamp",
            "SELECT o.base, o.source, a.ts, a.stamp FROM arriving a JOIN their_series o ON o.old = a.series",
        )
        keys = f"f.series, f.ts{_of(kind)}"
        self._cells(
            kind,
            f"SELECT f.series, f.ts, 0 AS slice{_of(kind)}, {_sums(kind)} {rows} GROUP BY {keys} HAVING {kind.nonzero}",
            {"follows": FOLLOWS},
        )
        return True

    def sliced(self, kind: Kind, width: int, slices: list[int]) -> bool:
        """Fill `theirs` with what stands in some of its slices; whether anything does."""
        keys = f"f.series, f.ts, f.slice{_of(kind)}"
        return self._cells(
            kind,
            f"SELECT {keys}, {_sums(kind)} FROM {kind.name}{TIERS[width]} f JOIN series s ON s.id = f.series "
            f"AND s.width = {width} WHERE list_contains($slices::INTEGER[], f.slice) GROUP BY {keys} "
            f"HAVING {kind.nonzero}",
            {"slices": slices},
        )

    def _cells(self, kind: Kind, sql: str, bound: dict[str, Any]) -> bool:
        found = self._arrive(sql, bound)
        keys = "".join(", coalesce(b.bin, a.bin)::SMALLINT AS bin" if name == "bin" else f", a.{name}"
                       for name, _ in kind.keys)  # fmt: skip
        joined = "LEFT JOIN their_bin b ON b.layout = o.layout AND b.old = a.bin" if "bin" in dict(kind.keys) else ""
        values = ", ".join(f"a.{name}::{sql_type} AS {name}" for name, sql_type in kind.values)
        self._made("theirs", f"SELECT o.base, o.id AS series, a.ts, a.slice{keys}, {values} FROM arriving a "
                             f"JOIN their_series o ON o.old = a.series {joined}")  # fmt: skip
        return found > 0

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a statement on the other store."""
        return self.other.execute(sql).fetchall()

    # -- tables of this cursor

    def _arrive(self, sql: str, bound: dict[str, Any]) -> int:
        found = self.other.sql(sql, params=bound).to_arrow_table()
        self.cursor.register("arriving", found)
        return int(found.num_rows)

    def _made(self, table: str, sql: str) -> None:
        self.cursor.execute(f"CREATE OR REPLACE TEMP TABLE {table} AS {sql}")
        self.cursor.unregister("arriving")

    def table(self, name: str, columns: str, rows: list[tuple[Any, ...]]) -> None:
        """A temporary table of these rows."""
        self.cursor.execute(f"CREATE OR REPLACE TEMP TABLE {name} ({columns})")
        self._insert(name, rows)

    def _insert(self, table: str, rows: list[tuple[Any, ...]]) -> None:
        insert(self.cursor, table, rows)


def _second(pair: tuple[Any, int]) -> int:
    return pair[1]


def _of(kind: Kind) -> str:
    return "".join(f", f.{name}" for name, _ in kind.keys)


def _sums(kind: Kind) -> str:
    # Numbers of 128 bits travel as text: Arrow has none that DuckDB would not round.
    return ", ".join(f"sum(f.{name})::{'VARCHAR' if sql == 'HUGEINT' else sql} AS {name}" for name, sql in kind.values)
