"""Offline runs of W&B as records: one `.wandb` file each, whole, still being written, or cut."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain

from connectors._wandb_log import Log
from connectors._wandb_objects import Row
from connectors._wandb_server import LINES
from connectors._wandb_telling import BLOCK, Telling, blocks, only_wanted
from tandem.connect import Item
from tandem.records import Page


def pages_of_log(item: Item, telling: Telling, packages: str) -> Iterator[Page]:
    """The run of a .wandb file, as far as it is written."""
    log = Log(item.name)
    names: set[str] = set()
    with item.open() as opened:
        rows = log.rows(opened)
        for batch in _batches(_wanted(row, telling) for row in rows if row.at is None or row.at < telling.pull.until):
            assert log.run is not None
            names |= {name for row in batch for name, _ in row.values}
            yield Page(list(telling.samples(log.run, batch)))
            for block, some in blocks(replace(row, values=()) for row in batch if row.histograms or row.broken):
                page = telling.histograms(log.run, block, some)
                if page is not None:
                    yield page
    run = log.run
    if run is not None:
        run.state, run.packages = _state_of(log, telling), packages
        event = telling.training(run)
        yield Page([*([event] if event else []), *telling.summary(run, names)])
    _said_of(log, telling)


def _wanted(row: Row, telling: Telling) -> Row:
    """A row with the histograms that are read, for the others may be large."""
    return replace(row, histograms=only_wanted(row, telling).histograms) if row.histograms else row


def _batches(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Rows of whole blocks of steps, a few at a time."""
    first = next(rows, None)
    held: list[Row] = []
    for row in chain([first] if first else [], rows):
        if len(held) >= LINES and row.step // BLOCK != held[-1].step // BLOCK:
            yield held
            held = []
        held.append(row)
    if held:
        yield held


def _state_of(log: Log, telling: Telling) -> str:
    """The word for how an offline run ended; W&B gives it no state."""
    if log.exit_code is not None:
        return "finished" if log.exit_code == 0 else "failed"
    assert log.run is not None
    if telling.pull.now - (log.run.heard or 0) >= telling.config.quiet:
        return "preempted" if log.preempting else "unfinished"
    return "preempting" if log.preempting else "running"


def _said_of(log: Log, telling: Telling) -> None:
    said = telling.said
    if log.damage.cut:
        said.remark(f"{log.name} ends in the middle of a record; it is read on when it has grown")
    for wrong in log.damage.wrong:
        said.reject(f"{log.name} has {wrong}")
    for _ in range(log.bad):
        said.reject(f"a record of {log.name} is none of W&B's")
    for _ in range(log.homeless):
        said.reject(f"a row of {log.name} stands before the record of its run")
    if log.run is None:
        said.remark(f"{log.name} says nothing of its run yet")


def packages_of(folder: Item, entry: str) -> str:
    """The digest of the list of packages that lies beside a run's file."""
    beside = f"{entry.rpartition('/')[0]}/files/requirements.txt".removeprefix("/")
    if beside not in folder.entries:
        return ""
    with folder.child(beside).open() as opened:
        return "sha256:" + hashlib.sha256(opened.read()).hexdigest()
