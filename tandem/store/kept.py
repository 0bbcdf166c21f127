"""What people keep beside the numbers: saved answers, moments and reviews, revision by revision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import duckdb

from tandem.store.file import Store, StoreRefused

Kind = Literal["answer", "moment", "review"]
LARGEST = 400_000
"""Characters of one thing that is kept."""
MOST = 20_000
"""Things of one kind that are kept at most, so that nobody who may look can fill the disk."""


@dataclass(frozen=True, slots=True)
class Kept:
    """One thing as it was last written; `made` in epoch seconds, `content` is JSON, `load` what was shown then."""

    kind: Kind
    id: str
    made: int
    author: str
    content: str
    load: int


def keep(store: Store, one: Kept) -> None:
    """Write a revision; the same content again writes nothing.

    Raises StoreRefused where it is too large, there are too many, or the store may only be read.
    """
    if store.read_only:
        raise StoreRefused(f"{store.path} is only read here; keep it where `tandem serve` owns the store.")
    if len(one.content) > LARGEST:
        raise StoreRefused(f"this {one.kind} is larger than {LARGEST:,} characters; make it shorter.")
    with store.writing():
        cursor = store.new_cursor()
        cursor.execute("BEGIN")
        known = _newest(cursor, one.kind, one.id)
        if not known and len(_newest(cursor, one.kind)) >= MOST:
            cursor.execute("ROLLBACK")
            raise StoreRefused(f"there are {MOST:,} {one.kind}s already; delete some that nobody needs.")
        if not known or known[0].content != one.content:
            # A clock that was set back must not bring an older revision to the top.
            made = max(one.made, known[0].made + 1) if known else one.made
            row = [one.kind, one.id, made, one.author, one.content, one.load]
            cursor.execute("INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?)", row)
        cursor.execute("COMMIT")
        cursor.close()


def kept(store: Store, kind: Kind, name: str = "") -> list[Kept]:
    """Everything of a kind that was not deleted, or the one of that id, newest first."""
    return [one for one in _newest(store.cursor(), kind, name) if one.content]


def _newest(cursor: duckdb.DuckDBPyConnection, kind: Kind, name: str = "") -> list[Kept]:
    rows = cursor.execute(
        """
        SELECT kind, id, made, author, content, load_id FROM kept WHERE kind = $kind AND ($id = '' OR id = $id)
        QUALIFY row_number() OVER (PARTITION BY id ORDER BY made DESC, content DESC) = 1 ORDER BY made DESC, id""",
        {"kind": kind, "id": name},
    ).fetchall()
    return [Kept(*row) for row in rows]
