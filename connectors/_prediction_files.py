"""The files of a prediction log, and which slice each counts in."""

from __future__ import annotations

import glob
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tandem.connect import Pull, SourceRefused
from tandem.pieces import Pieces, Where
from tandem.records import Page, Slice
from tandem.summarise import Identity, Look

SUFFIX = re.compile(r"\.(parquet|pq|csv|jsonl|ndjson|json)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)


@dataclass(eq=False)
class LogFile:
    """One file of a log, or one part of a table; `refused` says why it cannot be read.

    `content` tells its content apart from another; where it is known already the bytes are not read for it.
    """

    name: str
    path: Path
    pieces: Pieces | None = None
    content: str = ""
    look: Look | None = None
    identity: Identity | None = None
    refused: str = ""

    @property
    def where(self) -> Where:
        """Its rows: a file, or the pieces of a table."""
        return self.pieces or self.path


def below(path: Path, whole: Path) -> str:
    """The name of a file below the folder of a path, folder or glob."""
    root = _root(str(whole))
    path = path.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _root(whole: str) -> Path:
    """The folder below which files have their names: the last one without a wildcard."""
    if glob.has_magic(whole):
        parts = Path(whole).parts
        plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        return Path(*parts[:plain])
    return Path(whole) if Path(whole).is_dir() else Path(whole).parent


def files_of(whole: str, said: str) -> list[LogFile]:
    """The files of a path, folder or glob in the order of their names; links out of the folder are refused."""
    root = _root(whole)
    if glob.has_magic(whole):
        paths = [Path(one) for one in glob.glob(whole, recursive=True)]  # noqa: PTH207 (the pattern is absolute)
    elif Path(whole).is_dir():
        paths = [one for one in Path(whole).rglob("*") if SUFFIX.search(one.name) and one.name[0] not in "._"]
    else:
        paths = [Path(whole)]
    found = [LogFile(one.relative_to(root).as_posix(), one) for one in paths if one.is_file()]
    if not found:
        raise SourceRefused(f'"{said}" matches no file below {root}; check path.')
    for one in found:
        if one.path.is_symlink() and not one.path.resolve().is_relative_to(root.resolve()):
            one.refused = "is a link to a file outside of its folder; name that folder in the source"
    return sorted(found, key=lambda one: one.name)


def hash_of(path: Path) -> str:
    """A hash of the file's bytes; raises OSError."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:32]


def identity_of(one: LogFile) -> Identity:
    """What of a file counts, where that is known already."""
    assert one.identity is not None
    return one.identity


def short(text: str) -> str:
    """A hash that tells texts apart."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass
class Slices:
    """Which slice every file counts in, decided from what the store has counted already."""

    pull: Pull
    bodies: list[LogFile] = field(default_factory=list)
    """The files that count, in order; copies of others are not among them."""
    names: dict[str, str] = field(default_factory=dict)

    def settle(self, files: Sequence[LogFile]) -> Iterator[Page]:
        """Give each file its slice, and say so in empty slices where a name alone would not tell."""
        present = {one.name: one for one in files}
        claimed: dict[str, LogFile] = {}
        waiting: list[LogFile] = []
        for one in files:
            mine = self.pull.taken(one.name)
            if mine is None or mine.startswith("as:"):
                waiting.append(one)
            else:
                claimed[one.name] = one
        for one in waiting:
            self._claim(one, present, claimed)
        by_content: dict[str, str] = {}
        for name in sorted(claimed, key=lambda name: claimed[name].name):
            one = claimed[name]
            first = by_content.setdefault(one.content, name)
            if first != name:
                yield Page(slice=Slice(name, f"{one.content}:as:{first}"))
                continue
            self.names[one.name] = name
            self.bodies.append(one)
            if self.pull.taken(f"content:{one.content}") != name:
                yield Page(slice=Slice(f"content:{one.content}", name))
        for one in waiting:
            name = next((name for name, by in claimed.items() if by is one), by_content.get(one.content, ""))
            if name and name != one.name and self.pull.taken(one.name) != f"as:{name}":
                yield Page(slice=Slice(one.name, f"as:{name}"))
        self.bodies.sort(key=lambda one: one.name)

    def _claim(self, one: LogFile, present: Mapping[str, LogFile], claimed: dict[str, LogFile]) -> None:
        """A file without a slice of its own: a copy of a counted file, that file under a new name, or a new file."""
        told = self.pull.taken(one.name)
        holder = told.removeprefix("as:") if told else self.pull.taken(f"content:{one.content}")
        if holder and holder not in present and holder not in claimed:
            counted = self.pull.taken(holder)
            if counted and (told or counted.partition(":")[0] == one.content):
                claimed[holder] = one
                return
        if any(by.content == one.content for by in claimed.values()):
            return
        claimed[one.name] = one

    def slice_of(self, one: LogFile) -> str:
        """The name of the slice that a file counts in."""
        return self.names[one.name]

    def has(self, one: LogFile, marks: Sequence[str], *, labels_count: bool) -> bool:
        """Whether just this was counted; where a labels log cannot be read, labels are no reason to count again."""
        told = (self.pull.taken(self.slice_of(one)) or "").split(":")
        return told == list(marks) if labels_count else told[:2] == list(marks[:2])
