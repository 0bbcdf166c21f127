"""The store: one DuckDB file, one owner, one connection, a cursor per thread."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import TracebackType

import duckdb

from tandem.bins import Layout
from tandem.records import Series
from tandem.store import migrate, tables
from tandem.store.sliced import Slices

VERSION = migrate.VERSION
SPILL = "8GB"
"""What a large merge may put on disk beside the store while it runs."""
HARDENING = (
    "SET GLOBAL TimeZone = 'UTC'",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET preserve_insertion_order = true",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)
"""After them no statement can read or write another file, load code, or undo one of them."""


class StoreLocked(Exception):
    """Another process holds the file and did not let go of it in time."""


class StoreRefused(Exception):
    """The file is not a store of Tandem, is damaged, or was written by a newer Tandem."""


class StoreBroken(Exception):
    """The file takes no more writes, because the disk is full or gone; it must be opened again."""


_INVALID = (duckdb.FatalException, duckdb.IOException, duckdb.InternalException, duckdb.ConnectionException)


@dataclass(frozen=True, slots=True)
class Placed:
    """A series in the store, all of it known."""

    component: str
    signal: str
    name: str
    version: str
    segment: str
    environment: str
    stage: str
    source: int
    width: int


@dataclass(frozen=True, slots=True)
class Kept:
    """One series of the store."""

    id: int
    placed: Placed
    layout: int


class Known:
    """The series of a registry as readers look for them; grows with it."""

    def __init__(self) -> None:
        self.all: list[Kept] = []
        self.by_signal: dict[tuple[str, str, str], dict[tuple[str, str], list[Kept]]] = {}
        """By (environment, stage, segment), then by (component, signal)."""
        self.signals: dict[str, set[str]] = {}
        """Which signals each component has."""
        self.by_component: dict[str, list[Kept]] = {}

    def grow(self, series: dict[tuple[Placed, int], int]) -> None:
        """Take in the series made since the last time."""
        for (placed, layout), number in list(series.items())[len(self.all) :]:
            kept = Kept(number, placed, layout)
            group = self.by_signal.setdefault((placed.environment, placed.stage, placed.segment), {})
            group.setdefault((placed.component, placed.signal), []).append(kept)
            self.signals.setdefault(placed.component, set()).add(placed.signal)
            self.by_component.setdefault(placed.component, []).append(kept)
            self.all.append(kept)


class Store:
    """An open store. `lock` serialises writers; readers take `cursor()` and are never blocked."""

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        self.lock = threading.RLock()
        self.read_only = read_only
        self.connection = _open(path, read_only)
        self._local = threading.local()
        self._known: tuple[Registry | None, Known] = (None, Known())
        self._growing = threading.Lock()
        self.newest: tuple[int, dict[int, tuple[int, int, int]]] = (0, {})
        """As of a load: the ends of the newest bucket, hour and event of each source."""
        self.covered: tuple[int, dict[tuple[int, str, str], list[tuple[int, int]]]] = (0, {})
        """As of a load: what each (source, component, signal) vouches for."""
        self.names = Registry(self.connection)
        self.commits = threading.Condition()

    def cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of this thread."""
        cursor: duckdb.DuckDBPyConnection | None = getattr(self._local, "cursor", None)
        if cursor is None:
            cursor = self._local.cursor = self.new_cursor()
        return cursor

    def new_cursor(self) -> duckdb.DuckDBPyConnection:
        """A cursor of its own, with temporary tables of its own."""
        cursor = self.connection.cursor()
        cursor.execute("USE store")
        return cursor

    def known(self) -> Known:
        """The series as readers look for them."""
        with self._growing:
            names = self.names
            if self._known[0] is not names:
                self._known = (names, Known())
            if len(self._known[1].all) < len(names.series):
                self._known[1].grow(names.series)
            return self._known[1]

    @cached_property
    def identity(self) -> str:
        """What tells this store from any other, also after it was restored somewhere else: twelve hex digits."""
        row = self.cursor().execute("SELECT value FROM meta WHERE key = 'identity'").fetchone()
        return str(row[0]) if row else ""

    def version(self) -> int:
        """The highest load committed; 0 for an empty store."""
        row = self.cursor().execute("SELECT coalesce(max(load_id), 0) FROM load").fetchone()
        return int(row[0]) if row else 0

    def committed(self) -> int:
        """When the last load was committed, in epoch seconds; 0 for an empty store."""
        [(last,)] = self.cursor().execute("SELECT coalesce(max(committed), 0) FROM load").fetchall()
        return int(last)

    def reload(self) -> None:
        """Forget names that a transaction which did not commit had made."""
        self.names = Registry(self.new_cursor())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """The turn of one writer; raises StoreBroken where the disk does not take what it writes."""
        with self.lock:
            try:
                yield
            except duckdb.Error as error:
                # A commit that a full disk refuses is an error of its transaction, not of the disk.
                if isinstance(error, _INVALID) or "Could not write" in str(error):
                    raise StoreBroken(str(error).splitlines()[0]) from error
                raise

    def reopened(self, *, read_only: bool) -> Store:
        """The same file opened again: only to be read, on a disk that takes no more, or to be written again."""
        self.connection.close()
        return open_store(self.path, read_only=read_only)

    def size(self) -> int:
        """Bytes of the file and of its log."""
        both = (self.path, Path(f"{self.path}.wal"))
        return sum(one.stat().st_size for one in both if one.exists())

    def close(self) -> None:
        """Write what lies in the log into the file, and let go of it."""
        try:
            if not self.read_only:
                self.connection.execute("CHECKPOINT store")
        except _INVALID:
            return  # what is committed stays in the log, and is read from there
        finally:
            self.connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Registry:
    """The small tables that give names their numbers, kept in memory; changed only under the store's lock."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self.resolved: dict[tuple[int, Series, Layout | None], tuple[int, int]] = {}
        rows = cursor.execute("SELECT id, connector, scope FROM source").fetchall()
        self.sources = {(connector, scope): number for number, connector, scope in rows}
        rows = cursor.execute("SELECT id, spec FROM layout").fetchall()
        self.layout_specs: dict[int, str] = dict(rows)
        self.layout_ids = {spec: number for number, spec in rows}
        self._layouts: dict[int, Layout] = {}
        self.categories: dict[int, dict[str, int]] = {}
        for layout, place, value in cursor.execute("SELECT layout, bin, value FROM category").fetchall():
            self.categories.setdefault(layout, {})[value] = place
        self.series: dict[tuple[Placed, int], int] = {}
        self.bases: dict[Placed, int] = {}
        self.widths: dict[int, int] = {}
        for row in cursor.execute(
            "SELECT id, base, layout, component, signal, name, version, segment, environment, stage, source, width "
            "FROM series"
        ).fetchall():
            placed = Placed(*row[3:])
            self.series[placed, row[2]] = row[0]
            self.bases[placed] = row[1]
            self.widths[row[0]] = placed.width
        self.slices = Slices(cursor)
        self.closings: list[tuple[int, int, int]] = cursor.execute(
            "SELECT load_id, tier, until FROM closed ORDER BY load_id"
        ).fetchall()
        """(load, tier, until): from that load on the tier is whole before `until`."""
        self.margins: dict[tuple[str, str], list[str]] = {}
        for component, columns, segment in cursor.execute("SELECT component, columns, segment FROM margin").fetchall():
            self.margins.setdefault((component, columns), []).append(segment)
        self.baselines: dict[tuple[str, str, str], int] = {
            (component, signal, name): layout
            for component, signal, name, layout in cursor.execute(
                "SELECT component, signal, name, arg_max(layout, load_id) FROM baseline GROUP BY ALL"
            ).fetchall()
        }

    def closed(self, as_of: int) -> dict[int, int]:
        """Up to when each coarse tier is whole as of a load; a tier that is not in it holds nothing for sure."""
        found: dict[int, int] = {}
        for load, tier, until in reversed(self.closings):  # of each tier the newest is the furthest
            if load <= as_of:
                found.setdefault(tier, until)
            if len(found) == len(tables.COARSE):
                break
        return found

    def layout(self, number: int) -> Layout:
        """The layout of that number, categories with the values they have now."""
        found = self._layouts.get(number)
        if found is None or (found.kind == "categories" and len(found.values) != len(self.categories.get(number, {}))):
            found = self._layouts[number] = self._read(number)
        return found

    def _read(self, number: int) -> Layout:
        spec = json.loads(self.layout_specs[number])
        spec.pop("of", None)
        spec["edges"] = tuple(spec["edges"])
        spec["values"] = tuple(spec["values"])
        if spec["kind"] == "categories":
            places = self.categories.get(number, {})
            spec["values"] = tuple(sorted(places, key=places.__getitem__))
        return Layout(**spec)


def layout_spec(layout: Layout, placed: Placed) -> str:
    """The stored form of a layout; the categories of a feature are one layout, whatever values a record lists."""
    spec = asdict(layout)
    if layout.kind == "categories":
        spec["values"] = ()
        spec["of"] = [placed.component, placed.signal, placed.name]
    return json.dumps(spec, sort_keys=True)


def open_store(path: Path, *, wait: float = 10.0, clock: Callable[[], float] = time.monotonic,
               pause: Callable[[float], None] = time.sleep, read_only: bool = False) -> Store:  # fmt: skip
    """Open the store at `path`, made new where there is none; waits up to `wait` seconds for another process.

    `read_only` makes nothing new. Raises StoreLocked naming the process, StoreRefused for a file that is not a store.
    """
    if read_only and not path.exists():
        raise StoreRefused(f"{path} does not exist yet; `tandem sync` makes it from the sources.")
    end = clock() + wait
    while True:
        try:
            return Store(path, read_only=read_only)
        except duckdb.IOException as error:
            if "lock" not in str(error).lower():
                raise StoreRefused(_damage(path, error)) from error
            if clock() >= end:
                holder = re.search(r"PID (\d+)", str(error))
                who = f"process {holder.group(1)}" if holder else "another process"
                raise StoreLocked(
                    f"{path} is in use by {who}, which does not answer; stop it or wait, then try again."
                ) from error
            pause(0.1)


def _damage(path: Path, error: duckdb.Error) -> str:
    first = str(error).splitlines()[0]
    return (
        f"{path} cannot be opened as a store ({first}); move it aside together with its .wal, "
        "and `tandem sync` builds a new one from the sources."
    )


def _open(path: Path, read_only: bool) -> duckdb.DuckDBPyConnection:
    new = not path.exists()
    if new:
        path.parent.mkdir(parents=True, exist_ok=True)
    connection = duckdb.connect(":memory:", config={"allow_persistent_secrets": "false"})
    try:
        _attach(connection, path, read_only)
        if not new and migrate.is_older(connection):
            _migrated(connection, path, read_only)
        spill = str(path.with_name(f"{path.name}.state") / "spill").replace("'", "''")
        connection.execute(f"SET temp_directory = '{spill}'")
        connection.execute(f"SET max_temp_directory_size = '{SPILL}'")
        for statement in HARDENING:
            connection.execute(statement)
        if new:
            _create(connection)
        _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def copy_of(path: Path) -> Path:
    """Where the copy of an older store lies that was made before it was migrated."""
    return path.with_name(f"{path.name}.before-{VERSION}")


def _migrated(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> None:
    """Bring an older store up to date, after a copy that stays beside it."""
    if read_only:
        raise StoreRefused(f"{path} was written by an older Tandem; run `tandem sync` once, which migrates it.")
    connection.execute("USE memory")
    connection.execute("DETACH store")  # its log is written into the file, so that the file alone is the copy
    shutil.copy2(path, copy_of(path))
    _attach(connection, path, read_only)
    migrate.bring_up(connection)


def _attach(connection: duckdb.DuckDBPyConnection, path: Path, read_only: bool) -> None:
    quoted = str(path).replace("'", "''")
    mode = "READ_ONLY" if read_only else "STORAGE_VERSION 'v1.5.0'"
    connection.execute(f"ATTACH '{quoted}' AS store ({mode})")
    connection.execute("USE store")


def _create(connection: duckdb.DuckDBPyConnection) -> None:
    connection.execute("BEGIN")
    connection.execute(files("tandem.store").joinpath("schema.sql").read_text(encoding="utf-8"))
    for statement in tables.create_tables():
        connection.execute(statement)
    made = [("version", VERSION), ("identity", secrets.token_hex(6))]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", made)
    connection.execute("COMMIT")


def _check(connection: duckdb.DuckDBPyConnection, path: Path) -> None:
    known = connection.execute("SELECT count(*) FROM duckdb_tables() WHERE table_name = 'meta'").fetchone()
    if not known or not known[0]:
        raise StoreRefused(f"{path} is a DuckDB file but not a store of Tandem; name another path as store.")
    row = connection.execute("SELECT value FROM meta WHERE key = 'version'").fetchone()
    if row is None or int(row[0]) > int(VERSION):
        raise StoreRefused(f"{path} was written by a newer Tandem; install that version, or name another store.")
