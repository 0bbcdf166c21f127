"""The slices that a store has counted: their numbers and digests, by source and name."""

from __future__ import annotations

from collections import deque

import duckdb

POLL = "poll:"
"""How slices begin that are one look at the present: there is one for each tick, for as long as Tandem runs."""
RECENT = 1000
"""Polls that are kept in memory; older ones are looked up."""


class Slices:
    """Slices by (source, name); all in memory but for polls, so that years of them cost none."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        rows = cursor.execute(
            "SELECT s.source, s.name, s.id, arg_max(l.digest, l.load_id) "
            "FROM slice s JOIN slice_load l ON l.slice = s.id "
            "WHERE NOT starts_with(s.name, ?) GROUP BY ALL",
            [POLL],
        ).fetchall()
        self._known: dict[tuple[int, str], tuple[int, str]] = {(row[0], row[1]): (row[2], row[3]) for row in rows}
        self._polls: deque[tuple[int, str]] = deque()
        [(self._count,)] = cursor.execute("SELECT coalesce(max(id), 0) FROM slice").fetchall()

    def find(self, cursor: duckdb.DuckDBPyConnection, source: int, name: str) -> tuple[int, str] | None:
        """The number and the newest digest of a slice; None for one that was never counted."""
        known = self._known.get((source, name))
        if known is not None or not name.startswith(POLL):
            return known
        rows = cursor.execute(
            "SELECT s.id, arg_max(l.digest, l.load_id) FROM slice s JOIN slice_load l ON l.slice = s.id "
            "WHERE s.source = ? AND s.name = ? GROUP BY s.id",
            [source, name],
        ).fetchall()
        return (int(rows[0][0]), str(rows[0][1])) if rows else None

    def tell(self, source: int, name: str, digest: str, number: int | None = None) -> int:
        """Note a slice with its digest; its number, a new one where none is given."""
        if number is None:
            self._count += 1
            number = self._count
        self._known[source, name] = number, digest
        if name.startswith(POLL):
            self._polls.append((source, name))
            if len(self._polls) > RECENT:
                self._known.pop(self._polls.popleft(), None)
        return number

    def __len__(self) -> int:
        return len(self._known)
