"""What brings the tables of an older store up to date, version by version."""

from __future__ import annotations

import duckdb

from tandem.records import DAY, HOUR

VERSION = "4"
"""Version of the store's tables; an older file is migrated after a copy, a newer one is refused."""

# In version 1 every load wrote into every tier: all that is there lies before the end of its newest day.
_NEWEST = " UNION ALL ".join(f"SELECT max(ts) AS ts FROM {kind}_day" for kind in
                             ("ratio", "histogram", "confusion", "moments"))  # fmt: skip
_ALL_CLOSED = (
    f"INSERT INTO closed SELECT unnest([{HOUR}, {DAY}]), ts + {DAY}, 0 FROM (SELECT max(ts) AS ts FROM ({_NEWEST})) "
    "WHERE ts IS NOT NULL"
)
_KEPT = (
    "CREATE TABLE IF NOT EXISTS kept (kind VARCHAR, id VARCHAR, made BIGINT, author VARCHAR, content VARCHAR, "
    "load_id BIGINT)"
)
_IDENTITY = (
    "INSERT INTO meta SELECT 'identity', left(replace(uuid()::VARCHAR, '-', ''), 12) "
    "WHERE NOT EXISTS (FROM meta WHERE key = 'identity')"
)
STEPS: dict[str, tuple[str, ...]] = {
    "1": (
        "CREATE TABLE IF NOT EXISTS closed (tier INTEGER, until BIGINT, load_id BIGINT)",
        _ALL_CLOSED,
    ),
    "2": ("ALTER TABLE baseline ADD COLUMN IF NOT EXISTS squares HUGEINT",),
    "3": (_KEPT, _IDENTITY),
}
"""The statements that lead from each version to the next."""


def is_older(connection: duckdb.DuckDBPyConnection) -> bool:
    """Whether the attached store has a version that `bring_up` knows."""
    return _version(connection) in STEPS


def bring_up(connection: duckdb.DuckDBPyConnection) -> None:
    """Migrate the attached store to VERSION in one transaction."""
    connection.execute("BEGIN")
    version = _version(connection)
    while version in STEPS:
        for statement in STEPS[version]:
            connection.execute(statement)
        version = str(int(version) + 1)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'version'", [version])
    connection.execute("COMMIT")


def _version(connection: duckdb.DuckDBPyConnection) -> str:
    known = connection.execute(
        "SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta' AND database_name = 'store'"
    ).fetchone()
    if not known or not known[0]:
        return ""
    row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
    return str(row[0]) if row else ""
