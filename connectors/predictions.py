"""Prediction logs (Parquet, CSV, JSON Lines): outcomes, scores, errors, features and data quality of a model.

A slice is one file of the log, named by its path below the log's folder. Three kinds of empty slices remember, in the
store and not in a state that may be lost, what a name alone cannot tell:
- "content:HASH" names the file that counts these bytes, so that a copy or a moved file is known at once;
- a file that is such a copy has a slice with digest "as:NAME" and no facts;
- "reference" holds the ranges and the window of the reference.
"""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from connectors._prediction_files import SUFFIX, LogFile, below, files_of
from connectors._prediction_guess import block, missing, names_in, task_of, usual
from connectors._prediction_reading import Reading
from tandem.child import Child, Refused
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Page

LIMITS = (
    "No ids are stored: repeated ids are found among the files that are there.",
    "Repeated ids count once, by their first row in file and row order; their last label wins.",
    'Labels and ids compare as normalised text: 1, 1.0 and "1" are one, True and true are one.',
    "Class labels true and 1, false and 0 are one where a log writes both and no other class.",
    "Ids compare by 128 bits of hash: below 1e-20 that two of a billion ids are taken for one.",
    'valid_rows named "<feature>:<reason>" counts only the rows with that fault: its denominator is volume.',
    "A number is out of range a tenth of the reference's range outside it, and wherever its sign is a new one.",
    "score of a multiclass model is the score of the predicted class: one histogram, not one per class.",
    "A reader takes at most 2 GB of memory and 20 s of CPU, and 1 s more for every 2 MB of the file.",
)
"""What holds of every log of rows, wherever it lies."""

ABOUT = About(
    reads="Prediction logs as Parquet, CSV or JSON Lines: a file, a folder or a glob; plain, gzip, bzip2, xz or zstd.",
    signals=(
        "outcome",
        "error",
        "score",
        "feature",
        "prediction",
        "volume",
        "valid_rows",
        "label_coverage",
        "label_age",
    ),
    events=("schema_change",),
    files=("*.parquet", "*.csv", "*.jsonl", "*.ndjson", "and these compressed"),
    limits=(
        "A file that vanishes keeps its contribution; a byte-identical copy counts once; a changed file is restated.",
        "A column is compared with that of the file before, of the same format; in JSON Lines none vanishes.",
        *LIMITS,
    ),
    aliases=("prediction_log",),
    side="model",
    example="""\
connector = "predictions"
name = "fraud-log"
path = "exports/fraud/*.parquet"          # a file, a folder or a glob
# labels = "exports/fraud-labels/*.parquet"   # a second log joined by id, where labels come later
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
class Config:
    """One prediction log, and the log of its labels."""

    common: Common
    path: str = setting("File, folder or glob of the log.", example="exports/fraud/*.parquet")
    task: Literal["binary", "multiclass", "regression"] = setting("What the model predicts.", example="binary")
    id: str = setting("Column that identifies a prediction.", example="prediction_id")
    time: str = setting("Column with the time of the prediction.", example="ts")
    prediction: str = setting("Column with the predicted class or value.", example="predicted")
    version: str | None = setting("Column with the model's version.", default=None, example="model_version")
    score: str | None = setting(
        "Column with the score: binary, of the positive class; multiclass, of the predicted one.",
        default=None,
        example="score",
    )
    label: str | None = setting("Column with the true class or value.", default=None, example="label")
    labels: str | None = setting(
        "File, folder or glob of a log of labels, joined by id.", default=None, example="exports/fraud-labels/*.parquet"
    )
    labels_id: str | None = setting("The id column of the labels, where it has another name.", default=None)
    label_time: str | None = setting("Column of the labels with the time each became known.", default=None)
    segments: tuple[str | tuple[str, ...], ...] = setting(
        "Columns, or lists of columns, to cut every number by.", default=(), example=["country", ["country", "channel"]]
    )
    features: tuple[str, ...] | None = setting(
        "Feature columns; left out, every column not otherwise named.", default=None, example=["amount", "age_days"]
    )
    positive: str | None = setting('The positive class; left out "1", "true", or the greater one.', default=None)
    time_unit: Literal["s", "ms", "us", "ns"] | None = setting("Unit of times that are numbers.", default=None)
    reference: Mapping[str, str] | None = setting(
        "The window (from, to) whose values make the bins; left out, all there is at first.", default=None
    )

    @property
    def margins(self) -> tuple[tuple[str, ...], ...]:
        """The segments, each as a tuple of columns."""
        return tuple((one,) if isinstance(one, str) else tuple(one) for one in self.segments)


def scope(config: Config) -> str:
    """The log's path, absolute and normalised."""
    return os.path.normpath(config.common.folder.absolute() / config.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """A piece per file of the log that has changed, or whose labels or settings have."""
    yield from Reading(config, pull).pages(files_of(scope(config), config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The log with this file in it, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The log with this file in it: repeated ids, labels and layouts concern all of its files."""
    found = files_of(scope(config), config.path) if glob.has_magic(config.path) or Path(scope(config)).exists() else []
    if not any(one.path.resolve() == item.path.resolve() for one in found):
        found.append(LogFile(below(item.path, Path(scope(config))), item.path))
    found.sort(key=lambda one: one.name)
    yield from Reading(config, pull).pages(found)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file is one of the log's."""
    whole = scope(config)
    path = os.path.normpath(item.path.absolute())
    return path == whole or path.startswith(whole + os.sep) or fnmatch.fnmatch(path, whole)


# -- import without a configuration


def recognise(item: Item) -> bool:
    """Whether the columns hold something like an id, a time and a prediction."""
    if item.entries or not item.head:
        return False
    return not missing(usual(names_in(item)))


def configure(item: Item, common: Common) -> Config:
    """A configuration of a file by the usual names of its columns.

    Raises SourceRefused with a [[source]] block to fill in.
    """
    found = usual(names_in(item))
    if missing(found) or not common.component:
        raise SourceRefused(guess(item, common))
    with Child() as child:
        try:
            task = task_of(child, [item.path], found)
        except Refused as no:
            raise SourceRefused(f"{item.name} {no}.") from None
    return Config(
        common=replace(common, folder=item.path.absolute().parent),
        path=glob.escape(item.path.name),
        task=task,
        id=found["id"],
        time=found["time"],
        prediction=found["prediction"],
        version=found.get("version"),
        score=found.get("score"),
        label=found.get("label"),
    )


def guess(item: Item, common: Common) -> str:
    """Why a file cannot be imported as it is, with a [[source]] block that says what its columns mean.

    "" where it is no table that could be a log.
    """
    names = names_in(item)
    found = usual(names)
    if len(names) < 3 or (missing(found) and not SUFFIX.search(item.path.name)):
        return ""
    return block(
        "predictions",
        item.name,
        glob.escape(str(item.path)),
        component=common.component[0] if common.component else "",
        names=names,
        task=_said_task(item, found),
    )


def _said_task(item: Item, found: Mapping[str, str]) -> str:
    """The task as far as the predictions tell it; "" where they do not."""
    if "prediction" not in found:
        return ""
    with Child() as child:
        try:
            return task_of(child, [item.path], found)
        except Refused:
            return ""
