"""A folder of training logs: which files in it are event files or tables of metrics, and which run each belongs to."""

from __future__ import annotations

import contextlib
import csv
import glob
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from connectors._fields import finite
from connectors._files import item, lines
from connectors._tfevents import VERSION
from tandem.connect import Given, Item, SourceRefused

EVENTS = "tfevents"
"""What stands in the name of every event file; TensorBoard goes by it too."""
TABLE = "metrics.csv"
"""The table of a run of Lightning, which is named after its folder."""
_PACKED = r"(?:\.gz|\.bz2|\.xz|\.zst)?"
_CSV = re.compile(rf"\.csv{_PACKED}$", re.IGNORECASE)
_COUNTERS = ("step", "epoch")
_COMPANION = re.compile(
    r"(?:^|/)(?:hparams\.yaml|checkpoints/.*|plugins/profile/.*|[^/]*\.(?:ckpt|pt|pth|profile-empty)|projector_config\.pbtxt)$"
)
_ABSENT = ("", "na", "none")


@dataclass(frozen=True)
class LogFile:
    """One file of a run; `stamp` changes when its bytes do."""

    name: str
    path: Path
    run: str
    kind: Literal["events", "table"]
    stamp: str
    modified: int


@dataclass(frozen=True)
class Row:
    """One row of a table of metrics; what is None is no finite number."""

    step: int
    values: Sequence[tuple[str, float | None]]

    @property
    def mark(self) -> str:
        """What tells it from other rows: Lightning adds columns to a table by writing all of it again."""
        return repr((self.step, sorted(self.values, key=lambda pair: pair[0])))


def root_of(path: Path) -> Path:
    """The folder that names of runs are relative to: the last one without a wildcard."""
    if glob.has_magic(str(path)) and not path.exists():
        parts = path.parts
        return Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    return path if path.is_dir() else path.parent


def files_at(path: Path) -> list[LogFile]:
    """The logs at a file, folder or glob, by their names; raises SourceRefused where nothing is there."""
    hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not hits:
        raise SourceRefused(f"{path} is not there; check the path.")
    root = root_of(path)
    found = {one.path: one for hit in hits for one in _below(hit, root)}
    return _chosen(list(found.values()))


def files_in(path: Path, root: Path | None) -> list[LogFile]:
    """The logs of one file or folder; names are relative to `root` where it lies in there."""
    base = root if root is not None and path.is_relative_to(root) else root_of(path)
    return _chosen(list(_below(path, base)))


@contextlib.contextmanager
def plain(one: Item) -> Iterator[Path]:
    """The path of an item; of one that lies in an archive that of a copy, in a folder named like the archive."""
    if one.path.is_dir() or one.path.name == PurePosixPath(one.name).name:
        yield one.path
        return
    parts = [part for part in PurePosixPath(one.name).parts if part not in ("..", "/")]
    with tempfile.TemporaryDirectory() as folder, one.open() as packed:
        copy = Path(folder, one.path.stem, *parts)
        copy.parent.mkdir(parents=True, exist_ok=True)
        with copy.open("wb") as whole:
            shutil.copyfileobj(packed, whole)
        os.utime(copy, (one.modified, one.modified))
        yield copy


def _below(hit: Path, root: Path) -> Iterator[LogFile]:
    if hit.is_dir():
        for entry in item(hit, Given()).entries:
            kind = kind_of(entry)
            if kind:
                yield _file(hit / entry, root, kind)
    else:
        yield _file(hit, root, "table" if is_table(item(hit, Given()).head) else "events")


def kind_of(name: str) -> Literal["events", "table"] | None:
    """What a file is by its name, None for one that is no log."""
    base = PurePosixPath(name).name
    if EVENTS in base and not base.endswith(".profile-empty"):
        return "events"
    return "table" if _CSV.search(base) else None


def _file(path: Path, root: Path, kind: Literal["events", "table"]) -> LogFile:
    state = path.stat()
    name = path.relative_to(root).as_posix()
    folder = path.parent.relative_to(root).as_posix()
    run = folder if folder != "." else root.absolute().name
    if kind == "table" and not path.name.startswith(TABLE):
        stem = _CSV.sub("", path.name)
        run = stem if folder == "." else f"{folder}/{stem}"
    return LogFile(name, path, run, kind, f"{state.st_size}:{state.st_mtime_ns}", int(state.st_mtime))


def _chosen(found: Sequence[LogFile]) -> list[LogFile]:
    """Without the table of a run that has event files: they say the same, and when."""
    told = {one.run for one in found if one.kind == "events"}
    return sorted((one for one in found if one.kind == "events" or one.run not in told), key=lambda one: one.name)


# -- by content


def is_events(head: bytes) -> bool:
    """Whether a file begins as an event file: a record that says the form."""
    return VERSION in head[:64] and int.from_bytes(head[:8], "little") < 64


def is_table(head: bytes) -> bool:
    """Whether a file begins as a table of metrics by epoch or step, and nothing but numbers."""
    text = head[:65_536].decode("utf-8", "ignore").removeprefix("\ufeff")
    first, _, rest = text.partition("\n")
    names = _names(first)
    if ("epoch" not in names and "step" not in names) or "_timestamp" in names:  # with times it is a history of W&B
        return False
    cells = _cells(rest.partition("\n")[0].rstrip("\r"))
    return len(names) > 1 and len(cells) == len(names) and all(_is_number(cell) for cell in cells)


def is_folder(entries: Sequence[str]) -> bool:
    """Whether a folder holds logs of runs and what lies beside them, and nothing else."""
    logs = [entry for entry in entries if kind_of(entry) == "events" or PurePosixPath(entry).name == TABLE]
    return bool(logs) and all(kind_of(entry) == "events" or PurePosixPath(entry).name == TABLE
                              or _COMPANION.search(entry) for entry in entries)  # fmt: skip


def _names(line: str) -> list[str]:
    header = line.rstrip("\r\n")
    return _cells(header) if "," in header and header.isprintable() else []


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _is_number(cell: str) -> bool:
    return (
        cell.strip().lower() in _ABSENT or _number(cell) is not None or cell.strip().lower() in ("nan", "inf", "-inf")
    )


def _number(cell: str) -> float | None:
    try:
        return finite(float(cell))
    except ValueError:
        return None


def rows_of(one: Item) -> Iterator[Row]:
    """The rows of a table whose lines are written to their end; raises SourceRefused for one that is none."""
    source = lines(one, ends=True)
    header = next(source, "")
    names = _names(header)
    counter = next((name for name in _COUNTERS if name in names), None)
    if counter is None:
        raise SourceRefused(f"{one.name} has no column step or epoch; it is no log of a training.")
    for number, line in enumerate(source, 2):
        if not line.endswith("\n"):
            return
        if not line.strip():
            continue
        cells = _cells(line.rstrip("\r\n"))
        if len(cells) != len(names):
            raise SourceRefused(f"{one.name} line {number} has {len(cells)} cells where its header has {len(names)}.")
        yield _row(dict(zip(names, cells, strict=True)), counter)


def _row(cells: dict[str, str], counter: str) -> Row:
    step = _number(cells[counter])
    if step is None and counter == "step":
        step = _number(cells.get("epoch", ""))
    values = [(name, _number(cell)) for name, cell in cells.items()
              if name not in _COUNTERS and cell.strip().lower() not in _ABSENT]  # fmt: skip
    return Row(int(step or 0), values)
