"""A store as Parquet files with a manifest of their hashes, and a store made of them again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from pyarrow import parquet

from tandem.store.file import VERSION, Store, StoreRefused, copy_of
from tandem.store.read import Reader

MANIFEST = "manifest.json"


def export(store: Store, folder: Path) -> dict[str, Any]:
    """Write every table as it stands at one moment into `folder`, which must be empty or new; the manifest.

    Raises StoreRefused where the folder holds something.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise StoreRefused(f"{folder} is not empty; name a new folder.")
    cursor = store.new_cursor()
    cursor.execute("BEGIN")  # all tables of one moment, whoever writes meanwhile
    load = cursor.execute("SELECT coalesce(max(load_id), 0) FROM load").fetchone()
    tables = {name: _written(cursor, name, columns, folder) for name, columns in _tables(cursor).items()}
    cursor.execute("COMMIT")
    cursor.close()
    number = int(load[0]) if load else 0
    manifest = {"version": VERSION, "load": number, "digest": Reader(store, number).digest(), "tables": tables}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return manifest


def restore(folder: Path, path: Path) -> int:
    """Make the store `path`, which must not exist, of an export; its highest load.

    Raises StoreRefused for a damaged or newer export, with nothing left behind.
    """
    if path.exists():
        raise StoreRefused(f"{path} exists already; move it aside, or name another folder by --into.")
    manifest = _manifest(folder)
    for name, told in manifest["tables"].items():
        if _hash(folder / f"{name}.parquet") != told["sha256"]:
            raise StoreRefused(f"{folder / f'{name}.parquet'} is damaged or missing; use another export.")
    draft = path.with_name(f".{path.name}.restoring")
    _remove(draft)
    with Store(draft) as store:
        cursor = store.new_cursor()
        cursor.execute("BEGIN")
        for name, columns in _tables(cursor).items():
            cursor.execute(f"DELETE FROM {name}")
            if name in manifest["tables"]:
                _read(cursor, name, columns, folder)
        cursor.execute("COMMIT")
        cursor.close()
    with Store(draft) as store:  # opened again, so that what an older Tandem exported is migrated
        digest = Reader(store).digest()
    _remove(copy_of(draft))
    if manifest["version"] == VERSION and digest != manifest["digest"]:
        _remove(draft)
        raise StoreRefused(f"{folder} does not give the numbers that it was made of; use another export.")
    draft.replace(path)
    return int(manifest["load"])


def _tables(cursor: Any) -> dict[str, list[tuple[str, str]]]:
    """Name and type of every column, by table."""
    found: dict[str, list[tuple[str, str]]] = {}
    for table, column, kind in cursor.execute(
        "SELECT table_name, column_name, data_type FROM duckdb_columns() WHERE database_name = 'store' "
        "AND schema_name = 'main' AND NOT internal ORDER BY table_name, column_index"
    ).fetchall():
        found.setdefault(table, []).append((column, kind))
    return found


def _written(cursor: Any, name: str, columns: list[tuple[str, str]], folder: Path) -> dict[str, Any]:
    # Parquet has no whole numbers of 128 bits: DuckDB would round them to floats, so they travel as text.
    every = ", ".join(f'"{column}"::{kind.replace("HUGEINT", "VARCHAR")} AS "{column}"' for column, kind in columns)
    path = folder / f"{name}.parquet"
    # The store's connection may not open files of its own: Arrow writes them.
    table = cursor.sql(f"SELECT {every} FROM {name}").to_arrow_table()
    parquet.write_table(table, path, compression="zstd")
    return {"rows": table.num_rows, "sha256": _hash(path)}


def _read(cursor: Any, name: str, columns: list[tuple[str, str]], folder: Path) -> None:
    given = parquet.read_table(folder / f"{name}.parquet")
    told = [(column, kind) for column, kind in columns if column in given.column_names]
    into = ", ".join(f'"{column}"' for column, _ in told)
    every = ", ".join(f'"{column}"::{kind}' for column, kind in told)
    cursor.register("given", given)
    cursor.execute(f"INSERT INTO {name} ({into}) SELECT {every} FROM given")
    cursor.unregister("given")


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        newer = int(found["version"]) > int(VERSION)
        whole = isinstance(found["tables"], dict) and isinstance(found["digest"], str)
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreRefused(f"{folder} is not an export of Tandem; name the folder that `tandem export` made.") from None
    if newer or not whole:
        raise StoreRefused(f"{folder} was made by a newer Tandem; install that version.")
    return found


def _hash(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    for ending in ("", ".wal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
