"""One pull of a Delta table: its partitions are the files of a prediction log.

A slice is a partition, named as its folder is called. The empty slice "partitions" remembers, in the store and not in
a state that may be lost, which partitions were counted, of which table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from connectors._delta_log import Commit, DataFile, Listing, Table, called, listing, read_table
from connectors._delta_schema import Column, Known, at_version, changes, columns_of, known_of, mode_of
from connectors._delta_vectors import BadVector, deleted
from connectors._prediction_files import LogFile, Slices, short
from connectors._prediction_reading import STATE, Reading
from tandem.child import Child
from tandem.connect import SourceRefused
from tandem.pieces import Piece, Pieces, packed
from tandem.records import Page, Slice

EMPTY = (
    'no rows any more, and the log that would say why is gone: its numbers stay; deletions = "restate" takes them back'
)
GONE = "gone"
"""Digest of a slice that was taken back."""


def partitions(table: Table, folder: Path) -> list[LogFile]:
    """The partitions of a table as files of a log, in the order of their names; a broken one says why."""
    columns = columns_of(table.metadata)
    by_name: dict[str, list[DataFile]] = {}
    for one in table.files.values():
        by_name.setdefault(called(one.partition), []).append(one)
    found = []
    for name, files in sorted(by_name.items()):
        files.sort(key=lambda one: (one.modified, one.path))
        part = LogFile(name, folder / name, content=short(json.dumps(sorted(one.key for one in files))))
        try:
            pieces = tuple(_piece(one, folder, columns, mode_of(table.metadata)) for one in files)
        except (BadVector, SourceRefused) as no:
            part.refused = str(no)
        else:
            part.pieces = Pieces({one.name: one.word for one in columns}, pieces)
        found.append(part)
    return found


def _piece(one: DataFile, folder: Path, columns: Sequence[Column], mode: str) -> Piece:
    """A data file with what the log says beside it; raises BadVector, and SourceRefused for a file elsewhere."""
    path = folder / unquote(one.path)
    if "://" in one.path or not path.resolve().is_relative_to(folder.resolve()):
        raise SourceRefused("holds a file outside of the table's folder, as a shallow clone does; only that is read")
    without = ""
    left_out = 0
    if one.vector:
        try:
            rows = deleted(one.vector, folder)
        except BadVector as no:
            raise BadVector(f"has a file {path.name} whose deletion vector {no}") from None
        without, left_out = packed(rows), rows.size
    values = dict(one.partition)
    return Piece(
        path=path,
        rows=None if one.rows is None else one.rows - left_out,
        names={column.name: column.physical for column in columns if column.physical != column.name},
        ids={column.name: column.id for column in columns if mode == "id" and column.id is not None},
        constants={column.name: values[column.physical] for column in columns if column.physical in values},
        without=without,
    )


@dataclass
class TableSlices(Slices):
    """Every partition counts under its own name; what no partition holds any more is taken back where it moved."""

    reading: TableReading = field(kw_only=True)

    def settle(self, files: Sequence[LogFile]) -> Iterator[Page]:
        """Take back what moved elsewhere, and remember which partitions are counted."""
        reading, table = self.reading, self.reading.table
        told = self.pull.taken("partitions")
        known = json.loads(told) if told else {"table": reading.origin(), "names": [], "kept": []}
        live = {called(one.partition) for one in table.files.values()}
        kept = set(known["kept"]) - live
        for name in sorted(set(known["names"]) - live):
            if self.pull.taken(name) in (None, GONE):
                continue
            if self._moved(name, known["table"] != reading.origin(), name in kept):
                yield Page(slice=Slice(name, GONE))
            else:
                kept.add(name)
        told_now = {"table": reading.origin(), "names": sorted({*known["names"], *live}), "kept": sorted(kept)}
        now = json.dumps(told_now)
        if now != told:
            yield Page(slice=Slice("partitions", now))
        for one in files:
            self.names[one.name] = one.name
            self.bodies.append(one)

    def _moved(self, name: str, replaced: bool, kept: bool) -> bool:
        """Whether the rows of a partition that is empty now are counted elsewhere, or in no table of today.

        `kept`: it was empty before, and its numbers stayed.
        """
        reading = self.reading
        if replaced or reading.config.common.deletions == "restate":
            return True
        if kept:
            return False
        touching = [one for one in reading.table.commits if one.touched is None or name in one.touched]
        if touching:
            return not touching[-1].takes_out
        reading.findings["remark", EMPTY, name] += 1
        return False


@dataclass
class TableReading(Reading):
    """One pull of a table."""

    folder: Path = field(kw_only=True)
    table: Table = field(default_factory=Table, kw_only=True)
    parts: dict[str, str] = field(default_factory=dict, kw_only=True)

    def whole(self) -> Iterator[Page]:
        """All pages of the pull; of a table that is as it was, one without anything."""
        found = listing(self.folder)
        if self._still(found):
            yield Page()
            return
        since = self._before().get("version")
        with Child() as child:
            self.table = read_table(child, self.folder, found, since if isinstance(since, int) else None)
        files = partitions(self.table, self.folder)
        self._keep_contents(files)
        yield from self.pages(files)

    def origin(self) -> list[Any]:
        """What makes another table of a table: its id, and the columns that it is parted by."""
        return [self.table.metadata.get("id"), list(self.table.metadata.get("partitionColumns") or ())]

    def _before(self) -> Mapping[str, Any]:
        return self.pull.state if isinstance(self.pull.state, dict) else {}

    def _still(self, found: Listing) -> bool:
        """Whether this table was read wholly at this very version, with these settings, and no time has come since."""
        before = self._before()
        if self.config.labels or not before.get("quiet"):
            return False
        ahead = before.get("next")
        same = before.get("tip") == found.tip() and before.get("settings") == self._settings()
        return bool(same and (ahead is None or self.pull.until <= ahead))

    def _keep_contents(self, files: Sequence[LogFile]) -> None:
        """A partition whose rows no commit has changed is the same, whatever files hold it now (OPTIMIZE)."""
        before = self._before()
        since = before.get("version")
        known = before.get("parts") if before.get("table") == self.origin() else None
        passed = self.table.since(since) if isinstance(since, int) and since <= self.table.version else None
        if isinstance(known, dict) and passed is not None and all(one.touched is not None for one in passed):
            touched = {name for one in passed for name in one.touched or ()}
            for one in files:
                one.content = known.get(one.name, one.content) if one.name not in touched else one.content
        self.parts = {one.name: one.content for one in files}

    def _unchanged(self) -> Iterator[Page]:
        """A version that changed no row may change columns; the next pull begins after it."""
        yield from self._schema(())
        yield Page(state={**self._before(), **self._told_of_table(), "schema": self.schema})

    def _slices(self) -> Slices:
        return TableSlices(self.pull, reading=self)

    def _label_files(self) -> list[LogFile]:
        """The labels may be a Delta table too."""
        folder = self.config.common.folder.absolute() / (self.config.labels or "")
        if not self.config.labels or not (folder / "_delta_log").is_dir():
            return super()._label_files()
        with Child() as child:
            return partitions(read_table(child, folder, listing(folder)), folder)

    def _schema(self, files: Sequence[LogFile]) -> Iterator[Page]:  # noqa: ARG002 (the log says it, not the files)
        """The columns that changed from version to version, as the log says it."""
        now = at_version(self.table.metadata, self.table.version, _when(self.table.commits, self.table.version))
        known = known_of(self._before().get("schema"))
        before: Known | None = known if self._before().get("table", [None])[0] == self.origin()[0] else None
        events = changes(self.table.commits, now, before, self.config.common.component[0])
        self.schema = now.told()
        if events:
            yield Page(events)

    def _state(
        self, quiet: str, counted: Slices, labels: Sequence[LogFile], files: Sequence[LogFile]
    ) -> dict[str, Any]:
        state = super()._state(quiet, counted, labels, files)
        if any(one.refused for one in (*files, *labels)):
            state["quiet"] = ""  # a file that is lacking now may come, without a new version of the table
        state |= self._told_of_table()
        if len(json.dumps(state)) > STATE:
            state["parts"] = {}
        return state

    def _told_of_table(self) -> dict[str, Any]:
        table = {"version": self.table.version, "tip": self.table.tip, "table": self.origin()}
        return {**table, "settings": self._settings(), "parts": self.parts}


def _when(commits: Sequence[Commit], version: int) -> int:
    """When a version was committed; 0 where its commit is gone."""
    return next((one.ts for one in commits if one.version == version), 0)
