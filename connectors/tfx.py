"""TFX: trainings, blessings and versions of data from ML Metadata's store; statistics and anomalies of TFDV."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connectors import _sqlite, _tfdv_messages, _tfx_files
from connectors._files import files_at
from connectors._mlmd import Metadata
from connectors._said import Said
from connectors._tfx_reading import HORIZON, Reading
from connectors._tfx_telling import EDGES, PARAMS
from tandem.connect import About, Common, Given, Item, Pull, SourceDown, SourceRefused, setting
from tandem.records import Page

_FAR = 1 << 40
_BESIDE = (".md", "-wal", "-shm", "-journal")
_ARTIFACT = re.compile(r"(?:^|/)\d+/")
_HELD = re.compile(r"(?:^|/)(?:FeatureStats\.pb|SchemaDiff\.pb|stats_tfrecord|anomalies\.pbtxt)$")

ABOUT = About(
    reads="TFX pipelines: ML Metadata's sqlite store, and statistics and anomalies of TensorFlow Data Validation.",
    signals=("feature", "valid_rows", "volume", "training_success", "training_duration", "validation_success"),
    events=("training", "data_version", "validation", "release", "drift"),
    labels={
        "pipeline": "the pipeline, as the store names it",
        "node": "the node of the pipeline; of statistics that which brought the data in, such as CsvExampleGen",
        "span": "the span of the data (several of a training, with commas), and version its version",
        "split": "the split of statistics or anomalies, from the store, the folder Split-NAME or the dataset's name",
        "model": "the name of the model's artifact, where it has one",
        "file": "the name of the file (on statistics and anomalies)",
        "execution": "the id of the execution (on trainings), tfx_version that of TFX",
        "param.<name>": f"a property of the execution, the first {PARAMS} by name (on trainings)",
        "input.<n>": f"the address of data that a training read, the first {EDGES}; output.<n> of a model it wrote",
        "features": "the features with anomalies, and anomalies how many there are (on validations)",
        "baseline": "the model that another was compared with, and message what the blessing says",
        "destination": "where a model was pushed to (on releases)",
        "said": "what says the outcome (on events)",
    },
    files=(
        "the sqlite store of ML Metadata (metadata.db, metadata.sqlite)",
        "a folder that holds a store and the pipeline's own folders, NODE/OUTPUT/EXECUTION/",
        "statistics: FeatureStats.pb, stats_tfrecord, text (.pbtxt) or JSON",
        "anomalies: SchemaDiff.pb, text (anomalies.pbtxt) or JSON",
    ),
    horizon=HORIZON,
    limits=(
        "Executions of one node in one pipeline run are attempts of one training; the newest decides its outcome.",
        "The store tells no end of an execution: that of its last output counts, else its last change.",
        "The version of a training is that of its model's artifact, else that it was pushed as last.",
        "data_version is the address of the data as it came into the pipeline; its fingerprint is the digest.",
        "Commit, image and packages of a training are in no store of ML Metadata; they stay unknown.",
        "Statistics are of stage training, those of splits named in evaluation of stage evaluation.",
        "Of production is what production (pipelines, nodes, splits) or production_from (spans) name, nothing else.",
        "Statistics count when their data came in, or with spans = 'days' at the day that their span is.",
        "Of one span and split the statistics made last count; span 0 is none, as TFX's default.",
        "Spans add up by their counts. Weighted statistics and slices are left out.",
        "TFDV tells 10 quantiles and 10 buckets, whose counts are estimates: features are marked approximate.",
        "Each pull says the largest doubt of each feature; TFDV's own rank error of 0.01 is in it.",
        "A reference of drift is made of statistics of production only; bins of others leave room for it.",
        "Missing values are told by feature: where several lack some, valid_rows is a lower bound.",
        "Values that no domain of the schema knows are invalid where schema is set.",
        "Distances of drift and skew keep TFDV's method and threshold; they are of the stage of their split.",
        "Files of TensorFlow Model Analysis (metrics-*.tfrecord) are not read, so there are no counts of outcome.",
        "Blessings are read from the store; the empty files BLESSED and NOT_BLESSED by themselves are not.",
        "Numbers that are properties of models and of their evaluations are samples of stage evaluation.",
        "Files are looked for below path or root only, whatever address the store tells.",
        "A store in MySQL or PostgreSQL is not read. Nothing is unpickled, no model is loaded.",
    ),
    status={
        "NEW": "open", "RUNNING": "open", "COMPLETE": "good", "FAILED": "bad", "CACHED": "excluded",
        "CANCELED": "excluded", "SKIPPED": "excluded", "UNKNOWN": "excluded", "PENDING": "open", "LIVE": "good",
        "PUBLISHED": "good", "MARKED_FOR_DELETION": "good", "DELETED": "good", "ABANDONED": "excluded",
        "REFERENCE": "good", "BLESSED": "good", "NOT_BLESSED": "bad", "INFRA_BLESSED": "good",
        "INFRA_NOT_BLESSED": "bad", "no verdict": "excluded", "no anomalies": "good", "WARNING": "good",
        "ERROR": "bad", "no data": "bad", "pushed": "good",
    },
    aliases=("mlmd", "tfdv"),
    side="model",
    example="""\
connector = "tfx"
name = "claims-pipeline"
path = "/srv/tfx/metadata/claims/metadata.db"   # or a folder or a glob of TFDV's files
# root = "/srv/tfx/pipelines/claims"       # the folder of the pipeline, if it is not that of the store
# spans = "days"                           # a span is the day since 1970, as {YYYY}-{MM}-{DD} makes it
# production = ["ServingLogGen"]           # whose data is what the model was given in production
  [[source.map]]
  component = "claims-risk"
  match = { pipeline = "claims*" }
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """One store, or some files."""

    common: Common
    path: Path | None = setting(
        "The store of ML Metadata, a folder with one, or a file, a folder or a glob of TFDV's files.", default=None,
        example="/srv/tfx/metadata/claims/metadata.db",
    )  # fmt: skip
    root: Path | None = setting(
        "The folder of the pipeline with its statistics; left out, that of the store.", default=None,
        example="/srv/tfx/pipelines/claims",
    )  # fmt: skip
    trainers: tuple[str, ...] = setting(
        "Types of executions that are trainings (globs).", default=("*Trainer", "mlmd.Train"), example=("*Trainer",)
    )
    spans: Literal["", "days"] = setting(
        'What a span says of time: nothing, or "days" since 1970, as the pattern {YYYY}-{MM}-{DD} makes it.',
        default="", example="days",
    )  # fmt: skip
    production: tuple[str, ...] = setting(
        "Pipelines, nodes or splits whose data is what the model was given in production (globs).", default=(),
        example=("ServingLogGen",),
    )  # fmt: skip
    production_from: int | None = setting("The span from which on data is of production.", default=None, example=20_000)
    evaluation: tuple[str, ...] = setting(
        "Splits of stage evaluation (globs).", default=("eval*", "test*", "val*"), example=("eval",)
    )
    features: tuple[str, ...] = setting("Features that are read (globs).", default=(), example=("amount", "age_*"))
    schema: Path | None = setting(
        "A schema.pbtxt: texts that its domains do not know are counted as invalid.", default=None,
        example="/srv/tfx/schema/schema.pbtxt",
    )  # fmt: skip


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the store or of the files."""
    return str(config.path or "")


def configure(item: Item, common: Common) -> Config:
    """The configuration of a store that belongs to no configured source."""
    return Config(common, path=item.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the store or the files say that is new since the last pull."""
    path = config.path
    if path is None:
        raise SourceRefused(f'set path = "STORE, FOLDER or GLOB" for the source "{config.common.name}".')
    reading = Reading(config, pull, _Said(config))
    if path.is_dir():
        store = _tfx_files.one_of([one for one in _tfx_files.databases(path) if _is_store(one)], path)
        if store is not None:
            yield from reading.of_store(store, store.name, config.root or path)
            return
    elif path.is_file() and _begins_as_sqlite(path):
        yield from reading.of_store(path, path.name, config.root or path.parent)
        return
    given = Given(timezone=config.common.timezone)
    found = [(one, alone) for one, alone in files_at(path, given)]
    for one, alone in found:
        if alone and not _tfdv_messages.kind_of(one.head, one.name):
            raise SourceRefused(f"{one.name} is no store of ML Metadata and no file of TFDV; correct path.")
    yield from reading.of_files([one for one, _ in found])


def parse(item: Item, config: Config) -> Iterator[Page]:
    """All of one store, one folder or one file."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR, first=True))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what is counted already; raises SourceRefused where it cannot be used."""
    reading = Reading(config, pull, _Said(config), alone=True)
    if item.path.is_dir():
        store = _tfx_files.one_of([one for one in _tfx_files.databases(item.path) if _is_store(one)], item.path)
        if store is None:
            raise SourceRefused(f"{item.name} holds no store of ML Metadata.")
        yield from reading.of_store(store, store.name, config.root or item.path)
        return
    if item.head.startswith(_sqlite.MAGIC):
        with _sqlite.plain(item) as path:
            root = config.root or (path.parent if path == item.path else None)
            yield from reading.of_store(path, item.name, root)
        return
    kind = _tfdv_messages.kind_of(item.head, item.name)
    if kind not in ("statistics", "anomalies"):
        raise SourceRefused(f"{item.name} is no file of statistics or anomalies; a schema counts nothing by itself.")
    yield from reading.of_files([item])


def recognise(item: Item) -> bool:
    """A store of ML Metadata, a folder of one and the files of its artifacts, or a file of TFDV's."""
    with contextlib.suppress(SourceRefused, SourceDown, OSError):
        if item.path.is_dir():
            return _is_pipeline(item)
        if item.head.startswith(_sqlite.MAGIC):
            with _sqlite.plain(item) as path:
                return _is_store(path)
    return not item.entries and _tfdv_messages.kind_of(item.head, item.name) in ("statistics", "anomalies")


def _is_pipeline(item: Item) -> bool:
    """Whether a folder holds one store, and beside it nothing but what a pipeline's executions wrote."""
    stores = [one for one in item.entries if _tfx_files.DATABASE.fullmatch(one.rpartition("/")[2])]
    others = [
        one for one in item.entries if one not in stores and not one.endswith((".md", "-wal", "-shm", "-journal"))
    ]
    if len(stores) != 1 or not all(_ARTIFACT.search(one) for one in others):
        return False
    return any(_HELD.search(one) for one in others) and _is_store(item.path / stores[0])


def _is_store(path: Path) -> bool:
    """Whether a file is a store; raises SourceDown where it is locked, SourceRefused where it is no sound database."""
    if not _begins_as_sqlite(path):
        return False
    with contextlib.closing(Metadata(path, path.name)) as metadata:
        return metadata.is_one()


def _begins_as_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            return opened.read(len(_sqlite.MAGIC)) == _sqlite.MAGIC
    except OSError:
        return False
