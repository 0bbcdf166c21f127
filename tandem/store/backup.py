"""A bundle: a store as Parquet and text with a manifest of hashes, a store made of it again, or merged with it."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pyarrow import parquet

from tandem.store.file import VERSION, Store, StoreRefused, copy_of
from tandem.store.merge import merge
from tandem.store.read import Reader

MANIFEST = "manifest.json"
SEAL = "manifest.sha256"
"""The hash of the manifest, as sha256sum writes it: a bundle is whole to the byte, or it is refused."""
SEALED = 4
"""The first version of stores whose exports have it."""
DRAFT = "restoring-"
"""How the folder begins in which an export is made a store before it is merged."""
_NAME = re.compile(r"[a-z_]{1,60}")
_FILE = re.compile(r"[a-z][a-z0-9_-]{0,60}\.(?:toml|md|json)")


def export(
    store: Store, folder: Path, texts: Mapping[str, str] | None = None, told: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write every table as it stands at one moment, and `texts` by name, into `folder`, empty or new; the manifest.

    Every table travels as it is: what is added to the schema needs nothing here. `told` goes into the manifest.
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
    files = {name: _said(folder / name, text) for name, text in sorted((texts or {}).items())}
    made = {"version": VERSION, "load": number, "digest": Reader(store, number).digest(), "tables": tables}
    manifest = {**(told or {}), **made, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (folder / SEAL).write_text(f"{_hash(folder / MANIFEST)}  {MANIFEST}\n", encoding="ascii")
    return manifest


def _said(path: Path, text: str) -> dict[str, Any]:
    path.write_text(text, encoding="utf-8", newline="\n")
    return {"sha256": _hash(path)}


def verified(folder: Path) -> dict[str, Any]:
    """The manifest of an export of which every byte is as it was written.

    Raises StoreRefused with one sentence for one that is damaged, newer, or none.
    """
    manifest = _manifest(folder)
    files = {f"{name}.parquet": told for name, told in manifest["tables"].items()} | manifest["files"]
    for name, told in files.items():
        if _hash(folder / name) != told["sha256"]:
            raise StoreRefused(f"{folder / name} is damaged or missing; use another export.")
    return manifest


def restore(folder: Path, path: Path) -> int:
    """Make the store `path`, which must not exist, of an export, with all that it was at every load; its highest load.

    Raises StoreRefused for a damaged or newer export, with nothing left behind.
    """
    if path.exists():
        raise StoreRefused(f"{path} exists already; move it aside, or name another folder by --into.")
    manifest = verified(folder)
    path.parent.mkdir(parents=True, exist_ok=True)
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


def restored(folder: Path, store: Store, now: int) -> int:
    """Merge an export into a store that is open; rows written, 0 where it says nothing new.

    Raises StoreRefused for a damaged or newer export, before anything is written.
    """
    verified(folder)
    place = store.path.with_name(f"{store.path.name}.state")
    place.mkdir(mode=0o700, exist_ok=True)
    for left in place.glob(f"{DRAFT}*"):  # by one that was killed: only who owns the store comes here
        shutil.rmtree(left, ignore_errors=True)
    with TemporaryDirectory(dir=place, prefix=DRAFT) as draft:
        path = Path(draft) / "bundle.duckdb"
        restore(folder, path)
        with Store(path, read_only=True) as other:
            return merge(other, store, now)


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
        text, seal = (folder / MANIFEST).read_bytes(), folder / SEAL
        if seal.is_file() and seal.read_bytes() != f"{_hash(folder / MANIFEST)}  {MANIFEST}\n".encode():
            raise StoreRefused(f"{folder / MANIFEST} is damaged; use another export.")
        found: dict[str, Any] = json.loads(text)
        newer = int(found["version"]) > int(VERSION)
        found.setdefault("files", {})
        whole = isinstance(found["tables"], dict) and isinstance(found["digest"], str)
        whole = whole and isinstance(found["files"], dict) and _names(found)
    except (OSError, ValueError, KeyError, TypeError):
        raise StoreRefused(f"{folder} is not an export of Tandem; name the folder that `tandem export` made.") from None
    if newer or not whole:
        raise StoreRefused(f"{folder} was made by a newer Tandem; install that version.")
    if not (folder / SEAL).is_file() and int(found["version"]) >= SEALED:
        raise StoreRefused(f"{folder / SEAL} is missing; use another export.")
    return found


def _names(manifest: Mapping[str, Any]) -> bool:
    """Whether every name is one that an export writes: nothing outside of its folder is ever looked at."""
    return all(map(_NAME.fullmatch, manifest["tables"])) and all(map(_FILE.fullmatch, manifest["files"]))


def _hash(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _remove(path: Path) -> None:
    for ending in ("", ".wal"):
        Path(f"{path}{ending}").unlink(missing_ok=True)
