"""The transaction log of a Delta table, as the Delta protocol states it: which files are the table now, what changed.

Commits are JSON lines, checkpoints Parquet (in one file, in parts, or with sidecars); Parquet is read in the child
process with limits. Log compactions and `_last_checkpoint` save other readers time and are not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq

from connectors import _files
from connectors._delta_vectors import name_of
from connectors._json import BrokenJson, strict
from tandem.child import CPU, Child, Frame, Refused
from tandem.connect import Given, SourceRefused

LOG = "_delta_log"
FEATURES = frozenset(
    {"columnMapping", "deletionVectors", "timestampNtz", "v2Checkpoint", "vacuumProtocolCheck", "typeWidening",
     "typeWidening-preview", "variantType", "variantType-preview", "variantShredding-preview"}
)  # fmt: skip
"""Table features that readers must know and this one does; a variant column is not read, and no other needs it."""
READER = 3
"""Newest version of the protocol for readers."""
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(?:\.(\d{10})\.(\d{10})|\.[0-9a-fA-F-]+)?\.(parquet|json)")
_COLUMNS = (
    "add.path", "add.partitionValues", "add.size", "add.modificationTime", "add.stats", "add.stats_parsed.numRecords",
    "add.deletionVector", "metaData", "protocol", "sidecar",
)  # fmt: skip
_ONLY_TAKE_OUT = ("DELETE", "TRUNCATE")
Partition = tuple[tuple[str, str | None], ...]


@dataclass(frozen=True, slots=True)
class DataFile:
    """One live data file; `rows` counts those in the file, where the log says it. Times are epoch milliseconds."""

    path: str
    partition: Partition
    size: int
    modified: int
    rows: int | None
    vector: Mapping[str, Any] | None

    @property
    def key(self) -> tuple[str, str]:
        """What a file is told apart by: its path, and which of its rows count."""
        return self.path, name_of(self.vector)


@dataclass(frozen=True)
class Commit:
    """What one version changed: the partitions whose rows it touched (None: it does not say), and the schema it set.

    `takes_out`: it only removed rows, as a DELETE does. `ts`: epoch seconds.
    """

    version: int
    ts: int
    touched: frozenset[str] | None
    takes_out: bool
    metadata: Mapping[str, Any] | None


@dataclass
class Table:
    """A table at one version; `commits` are those whose files are still there, oldest first."""

    version: int = -1
    tip: str = ""
    """Changes when the newest commit is another one, as after a table was made anew."""
    protocol: Mapping[str, Any] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)
    files: dict[tuple[str, str], DataFile] = field(default_factory=dict)
    commits: list[Commit] = field(default_factory=list)

    def since(self, version: int) -> list[Commit] | None:
        """The commits after a version; None where some of them are gone."""
        found = [one for one in self.commits if one.version > version]
        wanted = list(range(version + 1, self.version + 1))
        return found if [one.version for one in found] == wanted else None


@dataclass(frozen=True)
class Listing:
    """The files of a log: commits by version, whole checkpoints by version."""

    commits: Mapping[int, Path]
    checkpoints: Mapping[int, Sequence[Sequence[Path]]]

    @property
    def version(self) -> int:
        """The newest version; -1 where there is none."""
        return max([-1, *self.commits, *self.checkpoints])

    def tip(self) -> str:
        """Changes when the newest commit does."""
        path = self.commits.get(self.version)
        if path is None:
            return str(self.version)
        state = path.stat()
        return f"{self.version}:{state.st_size}:{state.st_mtime_ns}"


def listing(folder: Path) -> Listing:
    """What lies in a table's log; raises SourceRefused where there is none."""
    commits: dict[int, Path] = {}
    parts: dict[tuple[int, str], list[Path]] = {}
    try:
        names = sorted(path.name for path in (folder / LOG).iterdir())
    except OSError:
        raise SourceRefused(f"{folder} is no Delta table: it has no folder {LOG} that can be read.") from None
    for name in names:
        if commit := _COMMIT.fullmatch(name):
            commits[int(commit[1])] = folder / LOG / name
        elif one := _CHECKPOINT.fullmatch(name):
            parts.setdefault((int(one[1]), one[3] or name), []).append(folder / LOG / name)
    checkpoints: dict[int, list[list[Path]]] = {}
    for (version, of), paths in parts.items():
        if not of.isdigit() or int(of) == len(paths):
            checkpoints.setdefault(version, []).append(paths)
    found = Listing(commits, checkpoints)
    if found.version < 0:
        raise SourceRefused(f"{folder / LOG} holds no version of a Delta table; check the path.")
    return found


def read_table(child: Child, folder: Path, found: Listing, since: int | None = None) -> Table:
    """The table at its newest version, with the commits after `since` (None: all that are still there).

    Raises SourceRefused for a log with a hole and for what cannot be read.
    """
    table = Table(version=found.version, tip=found.tip())
    begin = _begun(child, table, folder, found)
    for version in sorted(found.commits):
        replayed = version > begin
        if not replayed and since is not None and version <= since:
            continue
        told = list(_actions(found.commits[version]))
        table.commits.append(_commit(table, version, told, found.commits[version], replayed))
        if replayed:
            _replay(table, told)
    _check(table, folder)
    return table


def _begun(child: Child, table: Table, folder: Path, found: Listing) -> int:
    """The version of the newest checkpoint that can be read, after which all commits are there; -1 for none."""
    why = ""
    for version in sorted(found.checkpoints, reverse=True):
        if any(one not in found.commits for one in range(version + 1, found.version + 1)):
            break
        for paths in found.checkpoints[version]:
            try:
                _replay(table, [action for path in paths for action in _checkpoint(child, path, folder)])
                return version
            except Refused as no:
                why = f"; its checkpoint of version {version} {no}"
                table.files, table.metadata, table.protocol = {}, {}, {}
    lacks = next((one for one in range(found.version + 1) if one not in found.commits), None)
    if lacks is not None:
        raise SourceRefused(
            f"{folder / LOG} lacks version {lacks} and holds no checkpoint from which the rest can be read{why}."
        )
    return -1


def _actions(path: Path) -> Iterator[dict[str, Any]]:
    """The actions of a commit, or of a checkpoint in JSON; raises SourceRefused for what is cut off or no JSON."""
    item = _files.item(path, Given())
    for action in _files.documents(item):
        if isinstance(action, dict):
            yield action


def _checkpoint(child: Child, path: Path, folder: Path) -> Iterator[dict[str, Any]]:
    """The actions of one file of a checkpoint, and of the sidecars it names; raises Refused."""
    if path.suffix == ".json":
        try:
            told = list(_actions(path))
        except SourceRefused as no:
            raise Refused(f"cannot be read ({no})") from None
    else:
        told = list(_of_parquet(child, path))
    for action in told:
        sidecar = action.get("sidecar")
        if isinstance(sidecar, dict):
            name = Path(unquote(str(sidecar.get("path")))).name
            yield from _of_parquet(child, folder / LOG / "_sidecars" / name)
        else:
            yield action


def _of_parquet(child: Child, path: Path) -> Iterator[dict[str, Any]]:
    size = path.stat().st_size if path.exists() else 0
    call, given = "connectors._delta_log:child_actions", {"path": str(path)}
    for head, _ in child.ask(call, given, seconds=CPU + size // 1_000_000):
        yield from head["actions"]


def child_actions(given: Mapping[str, Any], _: Mapping[str, Any]) -> Iterator[Frame]:
    """The actions of a checkpoint's Parquet file, as a commit would say them."""
    try:
        opened = pq.ParquetFile(given["path"], memory_map=False)
        for batch in opened.iter_batches(2_000, columns=list(_COLUMNS), use_threads=False):
            yield {"actions": [one for row in batch.to_pylist() if (one := _action(row))]}, {}
    except (pa.ArrowException, OSError, ValueError):
        raise Refused("is not there, damaged, or no Parquet") from None


def _action(row: Mapping[str, Any]) -> dict[str, Any] | None:
    """The one action of a row; maps come as pairs."""
    for name, value in row.items():
        if value is None:
            continue
        plain = {key: dict(one) if _is_map(key, one) else one for key, one in value.items()}
        if name == "add":
            plain["rows"] = (plain.pop("stats_parsed", None) or {}).get("numRecords")
        return {name: plain}
    return None


def _is_map(key: str, value: Any) -> bool:
    return key in ("partitionValues", "configuration", "options", "tags") and isinstance(value, list)


def _replay(table: Table, actions: Sequence[Mapping[str, Any]]) -> None:
    """Take the actions of one version, or of a checkpoint, into the table: what it removes goes before what it adds."""
    for action in actions:
        removed = action.get("remove")
        if isinstance(removed, dict):
            table.files.pop((str(removed.get("path")), name_of(removed.get("deletionVector"))), None)
    for action in actions:
        added = action.get("add")
        if isinstance(added, dict):
            one = _data_file(added)
            table.files[one.key] = one
        for name in ("protocol", "metaData"):
            told = action.get(name)
            if isinstance(told, dict):
                setattr(table, {"protocol": "protocol", "metaData": "metadata"}[name], told)


def _data_file(added: Mapping[str, Any]) -> DataFile:
    return DataFile(
        path=str(added.get("path")),
        partition=_partition(added) or (),
        size=int(added.get("size") or 0),
        modified=int(added.get("modificationTime") or 0),
        rows=_count(added),
        vector=added.get("deletionVector") or None,
    )


def _count(added: Mapping[str, Any]) -> int | None:
    """The rows a file holds, as its statistics say."""
    found = added.get("rows")
    if found is None and isinstance(added.get("stats"), str):
        try:
            stats = strict(added["stats"])
        except (BrokenJson, ValueError):
            return None
        found = stats.get("numRecords") if isinstance(stats, dict) else None
    return found if isinstance(found, int) else None


def _partition(action: Mapping[str, Any]) -> Partition | None:
    values = action.get("partitionValues")
    if not isinstance(values, dict):
        return None
    return tuple(sorted((str(name), None if value in (None, "") else str(value)) for name, value in values.items()))


def called(partition: Partition) -> str:
    """The name of a partition, as its folder is usually called; of a table without partitions "table"."""
    named = (f"{quote(name, safe='')}={_word(value)}" for name, value in partition)
    return "/".join(named) or "table"


def _word(value: str | None) -> str:
    return "__HIVE_DEFAULT_PARTITION__" if value is None else quote(value, safe=" :+,")


def _commit(table: Table, version: int, actions: Sequence[Mapping[str, Any]], path: Path, replayed: bool) -> Commit:
    """What a commit changed; asked before the table takes it in, while the files that it removes are known."""
    none: Mapping[str, Any] = {}
    info = next((one["commitInfo"] for one in actions if isinstance(one.get("commitInfo"), dict)), none)
    metadata = next((one["metaData"] for one in actions if isinstance(one.get("metaData"), dict)), None)
    stated = info.get("inCommitTimestamp") or info.get("timestamp")
    ts = stated // 1000 if isinstance(stated, int) else int(path.stat().st_mtime)
    touched: set[str] | None = set()
    adds = False
    for action in actions:
        for name in ("add", "remove"):
            one = action.get(name)
            if not isinstance(one, dict) or one.get("dataChange") is False:
                continue
            adds = adds or name == "add"
            partition = _partition(one)
            if partition is None and replayed:
                known = table.files.get((str(one.get("path")), name_of(one.get("deletionVector"))))
                partition = known.partition if known else None
            if partition is None:
                touched = None
            elif touched is not None:
                touched.add(called(partition))
    takes_out = not adds or str(info.get("operation", "")).upper() in _ONLY_TAKE_OUT
    return Commit(version, ts, None if touched is None else frozenset(touched), takes_out, metadata)


def _check(table: Table, folder: Path) -> None:
    """Raises SourceRefused for a table that this reader would read wrongly."""
    version = table.protocol.get("minReaderVersion")
    features = table.protocol.get("readerFeatures") or ()
    unknown = sorted({str(one) for one in features} - FEATURES)
    if not table.metadata or not isinstance(version, int):
        raise SourceRefused(f"{folder / LOG} states neither schema nor protocol; it is damaged.")
    if version > READER or unknown:
        what = f"the feature {', '.join(unknown)}" if unknown else f"version {version} of the protocol"
        raise SourceRefused(
            f"the Delta table {folder.name} needs {what}, which Tandem does not read; "
            "drop it with ALTER TABLE ... DROP FEATURE, or export the rows as Parquet."
        )
