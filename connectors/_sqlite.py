"""Sqlite files of other programs, opened for reading only; nothing in them is executed."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tandem.connect import Item, SourceDown, SourceRefused

MAGIC = b"SQLite format 3\x00"
PATIENCE = 5.0
"""Seconds that a file which another program has locked is waited for."""
_WAL = 2
_FORMAT = 18
_ALLOWED = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_PRAGMA, sqlite3.SQLITE_FUNCTION}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_READONLY}
"""Another program has it, or left a journal that it will roll back when it opens the file again."""


class Database:
    """One sqlite file; another program may be writing to it."""

    def __init__(self, path: Path, name: str) -> None:
        self._name = name
        beside = any(Path(f"{path}-{end}").exists() for end in ("wal", "journal"))
        self.without_log = not beside and _is_logged(path)
        """Whether it is of the kind that has a write-ahead log, and the log is not there."""
        # Such a file alone cannot be opened where nothing may be written; nobody has it open, for then it had a log.
        uri = f"{path.absolute().as_uri()}?mode=ro" + ("&immutable=1" if self.without_log else "")
        try:
            self._connection = sqlite3.connect(uri, uri=True, timeout=PATIENCE)
        except sqlite3.Error:
            raise SourceRefused(f"{name} cannot be opened; check that it may be read.") from None
        self._connection.text_factory = lambda data: data.decode("utf-8", "replace")
        self._connection.execute("PRAGMA trusted_schema = OFF")
        self._connection.set_authorizer(_only_reading)
        self._columns: dict[str, frozenset[str]] = {}

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def has(self, table: str) -> frozenset[str]:
        """The columns of a real table; views and virtual tables could compute anything and count as absent."""
        if table not in self._columns:
            real = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ? AND sql NOT LIKE 'CREATE VIRTUAL%'"
            try:
                found = self._connection.execute(real, (table,)).fetchone()
                rows = self._connection.execute(f'PRAGMA table_info("{table}")').fetchall() if found else ()
                self._columns[table] = frozenset(row[1] for row in rows)
            except sqlite3.Error as error:
                raise self._broken(error) from None
        return self._columns[table]

    def rows(
        self, table: str, columns: Sequence[str], among: Mapping[str, Sequence[object]] | None = None,
        since: tuple[str, int] | None = None,
    ) -> Iterator[dict[str, Any]]:  # fmt: skip
        """Rows as dictionaries, a column that the table lacks as None; none where it lacks one that is asked for.

        `among`: values that columns must have; `since`: a column and the least value of it.
        Raises SourceDown where another program keeps it locked, SourceRefused where it is not sound.
        """
        has = self.has(table)
        known = [column for column in columns if column in has]
        wanted = {**(among or {}), **({since[0]: ()} if since else {})}
        if not known or not has.issuperset(wanted):
            return
        names = ", ".join(f'"{column}"' for column in known)
        parts = [f'"{column}" IN ({", ".join("?" * len(some))})' for column, some in (among or {}).items()]
        parts += [f'"{since[0]}" >= ?'] if since else []
        condition = f" WHERE {' AND '.join(parts)}" if parts else ""
        values = [value for some in (among or {}).values() for value in some] + ([since[1]] if since else [])
        absent = dict.fromkeys(columns)
        try:
            for row in self._connection.execute(f'SELECT {names} FROM "{table}"{condition}', values):  # noqa: S608
                yield {**absent, **dict(zip(known, row, strict=True))}
        except sqlite3.Error as error:
            raise self._broken(error) from None

    def _broken(self, error: sqlite3.Error) -> SourceRefused | SourceDown:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code in _BUSY:
            return SourceDown(f"{self._name} is in use by another program ({error}); it is read at the next pull.")
        if code == sqlite3.SQLITE_CANTOPEN:
            return SourceRefused(
                f"{self._name} cannot be opened; check that it may be read, and its -wal and -shm too."
            )
        return SourceRefused(f"{self._name} is no sound sqlite database ({error}); export it again.")


@contextlib.contextmanager
def plain(item: Item) -> Iterator[Path]:
    """The database of an item, or a temporary copy of one that lies compressed or in an archive."""
    with item.path.open("rb") as raw:
        if raw.read(len(MAGIC)) == MAGIC:
            yield item.path
            return
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "export.db"
        with item.open() as packed, copy.open("wb") as written:
            shutil.copyfileobj(packed, written)
        yield copy


def _is_logged(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            head = opened.read(_FORMAT + 2)
    except OSError:
        return False
    return head.startswith(MAGIC) and _WAL in head[_FORMAT:]


def _only_reading(action: int, *details: object) -> int:
    reading = action in _ALLOWED and (action != sqlite3.SQLITE_PRAGMA or details[0] == "table_info")
    return sqlite3.SQLITE_OK if reading else sqlite3.SQLITE_DENY
