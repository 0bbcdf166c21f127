"""Delta Lake tables as prediction logs: what `predictions` counts, with late labels that come by MERGE."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from connectors import predictions
from connectors._delta_log import LOG, listing, read_table
from connectors._delta_reading import TableReading, partitions
from connectors._delta_schema import columns_of
from connectors._prediction_guess import block, missing, task_of, usual
from tandem.child import Child, Refused
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Page

ABOUT = About(
    reads="A prediction log in a Delta Lake table, from its folder: the log of transactions and the Parquet files.",
    signals=predictions.ABOUT.signals,
    events=("schema_change",),
    files=("the folder of a table, with _delta_log in it",),
    limits=(
        "The cursor is the table's version; partitions that a commit touched are read and restated, OPTIMIZE is not.",
        "Where the log since the last pull was cleaned away, all partitions are compared again.",
        "A table without partitions is one piece: every change reads all of it again.",
        "Rows that a commit takes out of a partition leave its numbers.",
        'A partition that a DELETE emptied keeps its numbers unless deletions = "restate".',
        "Known are deletion vectors, column mapping, checkpoints v2 and in parts, widened types, times without zone.",
        "A table that needs any other feature of readers is refused by its name.",
        "Shallow clones and files outside of the table's folder are not read; a table in S3 is read by the source s3.",
        *predictions.LIMITS,
    ),
    aliases=("deltalake",),
    restates=True,
    once=("schema_change",),
    side="model",
    example="""\
connector = "delta"
name = "fraud-table"
path = "lake/fraud_predictions"           # the folder that holds _delta_log
component = "fraud-detector"
task = "binary"                           # binary, multiclass or regression
id = "prediction_id"
time = "ts"
prediction = "predicted"
score = "score"                           # binary: of the positive class
label = "label"
version = "model_version"
# segments = ["country", ["country", "channel"]]
# features = ["amount", "age_days"]       # left out: every column not otherwise named
""",
)


@dataclass(frozen=True)
class Config(predictions.Config):
    """One table of predictions, and the log of its labels."""

    path: str = setting("Folder of the table, which holds _delta_log.", example="lake/fraud_predictions")
    labels: str | None = setting(
        "Another Delta table, or files, with labels, joined by id.", default=None, example="lake/fraud_labels"
    )


def scope(config: Config) -> str:
    """The table's folder, absolute and normalised."""
    return os.path.normpath(config.common.folder.absolute() / config.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """A piece per partition that has changed since the version of the last pull, or whose labels or settings have."""
    yield from TableReading(config, pull, folder=Path(scope(config))).whole()


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The whole table, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The table in that folder, as the source that it belongs to."""
    if not item.path.is_dir():
        raise SourceRefused(f"{item.name} is an archive; unpack it and import the folder.")
    yield from TableReading(config, pull, folder=item.path.absolute()).whole()


def recognise(item: Item) -> bool:
    """Whether a folder holds a table's log."""
    return any(entry.startswith(f"{LOG}/") and entry.endswith((".json", ".parquet")) for entry in item.entries)


def belongs(item: Item, config: Config) -> bool:
    """Whether a folder is the source's table."""
    return os.path.normpath(item.path.absolute()) == scope(config)


def configure(item: Item, common: Common) -> Config:
    """A configuration of a table by the usual names of its columns.

    Raises SourceRefused with a [[source]] block to fill in.
    """
    folder = item.path.absolute()
    with Child() as child:
        table = read_table(child, folder, listing(folder))
        names = [one.name for one in columns_of(table.metadata)]
        found = usual(names)
        places = [one.where for one in partitions(table, folder) if one.pieces]
        try:
            task = task_of(child, places, found) if "prediction" in found else None
        except Refused as no:
            raise SourceRefused(f"{item.name} {no}.") from None
    component = common.component[0] if common.component else ""
    if missing(found) or not component or task is None:
        raise SourceRefused(
            block("delta", item.name, str(item.path), component=component, names=names, task=task or "")
        )
    return Config(
        common=replace(common, folder=folder.parent),
        path=folder.name,
        task=task,
        id=found["id"],
        time=found["time"],
        prediction=found["prediction"],
        version=found.get("version"),
        score=found.get("score"),
        label=found.get("label"),
    )
