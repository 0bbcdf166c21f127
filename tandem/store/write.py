"""Writing: the pages of one pull of one source, a transaction at a time."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb
import pyarrow as pa

from tandem.store import tables
from tandem.store.file import Store
from tandem.store.load import Load, Piece, SourceRow, Whole


class Writer:
    """Takes the pages of one pull of one source into the store; belongs to one thread."""

    def __init__(self, store: Store, connector: str, scope: str, now: int) -> None:
        self.store = store
        self.now = now
        self.cursor = store.new_cursor()
        for kind in tables.KINDS.values():
            for statement in tables.create_staging(kind):
                self.cursor.execute(statement)
        self.cursor.execute("CREATE TEMP TABLE rejected (series INTEGER, ts BIGINT)")
        self.cursor.execute("CREATE TEMP TABLE restated (slice INTEGER)")
        with store.writing():
            self.source = _source(store, self.cursor, connector, scope)
        self.before = store.version()
        self.events_seen: dict[int, int] = {}
        """A hash of what this pull has told, by that of each attempt; only grows within a commit."""
        self.slices_seen: dict[str, tuple[str, int]] = {}
        """The digest and the last part of each slice that this pull has told; parts only grow."""
        self.sampled: set[int] = set()
        """Series of which this pull has told samples."""
        self.tolerant = False
        self.moved = False
        """Whether the source's settings give another meaning to the same records: slices are counted anew."""
        self.conflicts: list[str] = []
        self.rows = 0

    def start_again(self) -> None:
        """Forget what this pull has said: its pages come a second time, and what contradicts itself is left out."""
        for kind in tables.KINDS:
            self.cursor.execute(f"DELETE FROM seen_{kind}")
        self.events_seen.clear()
        self.slices_seen.clear()
        self.sampled.clear()
        self.tolerant = True

    def commit(
        self, pieces: Sequence[Piece], row: SourceRow | None = None, whole: Sequence[Whole] = (),
        once: Sequence[str] = (),
    ) -> int:  # fmt: skip
        """Take in `pieces` in one transaction, with the source's state; rows written, 0 where nothing changed.

        Of what this pull has told wholly (`whole`), all that it did not tell is taken back, but for events of the
        kinds in `once`. Raises Conflict, with nothing taken in, where this pull contradicts itself for the first time.
        """
        with self.store.writing():
            told, slices = len(self.events_seen), dict(self.slices_seen)
            self.cursor.execute("BEGIN")
            try:
                load = Load(self)
                load.take(pieces, whole, once)
                load.finish(len(pieces), row or SourceRow())
                self.cursor.execute("COMMIT")
                pa.default_memory_pool().release_unused()  # it would keep the most that it ever held
            except BaseException:
                roll_back(self.cursor)
                while len(self.events_seen) > told:
                    self.events_seen.popitem()  # the newest first
                self.slices_seen = slices
                self.store.reload()
                raise
        self.rows += load.rows
        return load.rows

    def close(self) -> None:
        """Let go of the cursor and its temporary tables."""
        self.cursor.close()


def _source(store: Store, cursor: duckdb.DuckDBPyConnection, connector: str, scope: str) -> int:
    known = store.names.sources
    if (connector, scope) not in known:
        number = len(known) + 1
        cursor.execute("INSERT INTO source VALUES (?, ?, ?)", [number, connector, scope])
        known[connector, scope] = number
    found: int = known[connector, scope]
    return found


def roll_back(cursor: duckdb.DuckDBPyConnection) -> None:
    """Leave a transaction that failed."""
    try:
        cursor.execute("ROLLBACK")
    except duckdb.Error:
        return  # the failure that brought us here has ended the transaction already
