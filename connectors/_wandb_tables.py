"""The CSV that W&B exports: a chart, the rows of a history, and the table of a project's runs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from connectors._fields import finite, moment
from connectors._files import lines
from connectors._first_seen import seen
from connectors._wandb_objects import Row, Run, moment_of
from connectors._wandb_telling import Telling
from tandem.connect import Item, SourceRefused
from tandem.records import Page, Record, Sample

Kind = Literal["chart", "history", "runs"]
_BETWEEN = " - "
_BOUNDS = ("__MIN", "__MAX")
_RUNS = ("Name", "State", "Created", "Runtime")
_OWN = (*_RUNS, "ID", "Notes", "User", "Tags", "Sweep", "Group", "Job Type", "Description", "Commit", "Hostname")
_PAGE = 20_000


@dataclass(frozen=True)
class Cell:
    """One value of a chart, as the table says it."""

    step: int
    value: float | None

    @property
    def mark(self) -> str:
        """What tells it from the others of its line."""
        return f"{self.step} {self.value!r}"


def kind_of(head: bytes) -> Kind | None:
    """Which of the tables begins so; None for another file."""
    first = head.decode("utf-8", "ignore").removeprefix("\ufeff").partition("\n")[0].rstrip("\r")
    names = set(_cells(first)) if "," in first and first.isprintable() else set()
    if "Step" in names and any(_BETWEEN in name and all(name + bound in names for bound in _BOUNDS) for name in names):
        return "chart"
    if {"_step", "_timestamp"} <= names:
        return "history"
    return "runs" if set(_RUNS) <= names else None


def pages_of(item: Item, kind: Kind, telling: Telling) -> Iterator[Page]:
    """What a table tells; raises SourceRefused for one that is broken."""
    if kind == "chart":
        yield from _chart(item, telling)
    elif kind == "history":
        yield from _history(item, telling)
    else:
        yield from _runs(item, telling)


# -- a chart: a step and a column for each run and metric, without any time


def _chart(item: Item, telling: Telling) -> Iterator[Page]:
    """Each value counts at the time at which it was first seen, that of the file."""
    found: dict[str, list[Cell]] = {}
    for cells in _rows(item):
        step = _number(cells.get("Step", ""))
        if step is None:
            telling.said.reject("a row of a chart without a step")
            continue
        for name, cell in cells.items():
            if _BETWEEN in name and not name.endswith(_BOUNDS) and cell.strip():
                found.setdefault(name, []).append(Cell(int(step), _number(cell)))
    at = item.given.at or item.modified
    if found:
        telling.said.remark("a chart says no times; its values count at the time at which they were first seen")
    for name, column in found.items():
        yield from _line(name, column, at, telling)


def _line(name: str, column: Sequence[Cell], at: int, telling: Telling) -> Iterator[Page]:
    title, _, metric = name.rpartition(_BETWEEN)
    told = seen(telling.pull, f"chart:{name}", [cell.mark for cell in column], at)
    run = Run(told.name(title) if told else title, telling.config.project, telling.config.entity, title)
    series = telling.series(run, metric)
    if told is None or series is None:
        return
    yield Page(slice=told.mark)
    for stretch in told.stretches:
        if not stretch.is_new and not telling.pull.first:
            continue
        samples: list[Record] = []
        for cell in column[stretch.begin : stretch.end]:
            if cell.value is None:
                telling.said.reject(f'a value of "{metric[:60]}" that is no finite number')
            else:
                samples.append(Sample(series, stretch.ts, cell.value, run.id, cell.step))
        yield Page(samples, slice=stretch.slice)


# -- a history: the rows of one run, each with its time


def _history(item: Item, telling: Telling) -> Iterator[Page]:
    name = PurePosixPath(item.name).name.partition(".csv")[0]
    run = Run(name, telling.config.project, telling.config.entity, name)
    held: list[Record] = []
    for cells in _rows(item):
        step = _number(cells["_step"])
        at = _number(cells["_timestamp"])
        values = [(key, _number(cell)) for key, cell in cells.items()
                  if key and not key.startswith("_") and cell.strip() and _is_number(cell)]  # fmt: skip
        held += telling.samples(run, [Row(int(step or 0), moment_of(at), values)])
        if len(held) >= _PAGE:
            yield Page(held)
            held = []
    yield Page(held)


# -- the runs of a project


def _runs(item: Item, telling: Telling) -> Iterator[Page]:
    records: list[Record] = []
    for cells in _rows(item):
        run = _run(cells, telling)
        event = telling.training(run)
        if event is not None:
            records += [event, *telling.summary(run, ())]
    yield Page(records)


def _run(cells: Mapping[str, str], telling: Telling) -> Run:
    """A row of the table; it does not tell parameters from results, so only what evaluation names is a value."""
    others = {name: cell for name, cell in cells.items() if name and name not in _OWN and cell.strip()}
    results = {name: _number(cell) for name, cell in others.items()
               if telling.stage(name) == "evaluation" and _is_number(cell)}  # fmt: skip
    created = _time(cells["Created"])
    runtime = _number(cells["Runtime"])
    return Run(
        cells.get("ID") or cells["Name"], telling.config.project, telling.config.entity, cells["Name"],
        cells["State"].strip().lower(), created,
        int(created + runtime) if created is not None and runtime is not None and runtime >= 0 else created,
        cells.get("Group", ""), cells.get("Job Type", ""), cells.get("Sweep", ""), cells.get("User", ""),
        cells.get("Commit", ""), tags=tuple(one.strip() for one in cells.get("Tags", "").split(",") if one.strip()),
        config={name: cell for name, cell in others.items() if name not in results},
        summary={name: "NaN" if value is None else value for name, value in results.items()},
    )  # fmt: skip


def _time(said: str) -> int | None:
    try:
        return moment(said.strip(), "UTC")
    except ValueError:
        return None


# -- cells


def _rows(item: Item) -> Iterator[Mapping[str, str]]:
    """The rows by column; raises SourceRefused with the line where the table is broken."""
    reader = csv.reader((line + "\n" for line in lines(item)), strict=True)
    try:
        names = next(reader, [])
        for cells in reader:
            if not cells:
                continue
            if len(cells) != len(names):
                raise SourceRefused(
                    f"{item.name} line {reader.line_num} has {len(cells)} cells where its header has {len(names)}."
                )
            yield dict(zip(names, cells, strict=True))
    except csv.Error:
        raise SourceRefused(
            f"{item.name} line {reader.line_num} is no sound CSV, perhaps cut off; export it again."
        ) from None


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [])
    except csv.Error:
        return []


def _number(cell: str) -> float | None:
    try:
        return finite(float(cell))
    except ValueError:
        return None


def _is_number(cell: str) -> bool:
    return _number(cell) is not None or cell.strip().lower() in ("nan", "inf", "-inf", "infinity", "-infinity")
