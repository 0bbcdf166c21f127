"""TensorBoard's event files, as TensorFlow, Keras, PyTorch and Lightning write them, and their tables of metrics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors._logdir import files_at, files_in, is_events, is_folder, is_table, plain, root_of
from connectors._said import Said
from connectors._tensorboard import PARAMS, Reading
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Page

ABOUT = About(
    reads="Training logs: TensorBoard's event files of TensorFlow, Keras, PyTorch and Lightning, and their CSV tables.",
    events=("training",),
    labels={
        "run": "the folder of the run, below path; of a table that is not metrics.csv its name too",
        "experiment": "the folder that the run's folder lies in",
        "param.<name>": f"a parameter of the run, the first {PARAMS} by name (on events)",
        "said": "what says the outcome: the status of the run, or quiet, or writing (on events)",
    },
    files=(
        "event files (events.out.tfevents.*), and a folder of runs with nothing else in it",
        "CSV of Keras' CSVLogger",
        "metrics.csv of Lightning, with hparams.yaml beside it",
    ),
    limits=(
        "Values are samples of stage training, or evaluation where evaluation names their tag.",
        "Histograms, pictures and texts are passed over; so is a record of more than 16 MB.",
        "The check sums of every record are checked; one that is wrong is rejected and counted.",
        "A live file is read on from the byte where it ended; a last record that is cut waits for the next pull.",
        "Where a later file of a run begins a tag anew at a step, what was logged at it or later before is void.",
        "Event files mostly do not say how a run ended: once quiet it is left out of the shares, or set its status.",
        "A value in an event file is mostly a 32-bit number: 0.961 reads 0.9610000252723694.",
        "Tables say no times: of each row the time counts at which it was first seen (that of the file).",
        "A table that is begun anew is another run, named with (2).",
        "In a folder with event files metrics.csv is passed over.",
    ),
    status={
        "SUCCESS": "good", "FAILURE": "bad", "RUNNING": "open", "UNKNOWN": "excluded", "STOP": "good",
        "writing": "open", "quiet": "excluded",
    },
    aliases=("tensorflow", "keras", "pytorch", "lightning"),
    side="model",
    example="""\
connector = "tensorboard"
name = "training-logs"
path = "exports/runs"                      # a folder of runs, a file or a glob
# evaluation = ["val_*", "*/val_*"]        # tags of stage evaluation; all others are of stage training
  [[source.map]]
  component = "fraud-detector"
  match = { run = "fraud/*" }
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the logs lie."""

    common: Common
    path: Path | None = setting("A folder of runs, a file or a glob.", default=None, example="exports/runs")
    tags: tuple[str, ...] = setting("Tags that are read (globs).", default=("*",), example=("loss", "*accuracy"))
    ignore: tuple[str, ...] = setting("Tags that are left out (globs).", default=(), example=("debug/*",))
    evaluation: tuple[str, ...] = setting(
        "Tags of stage evaluation (globs); all others are of stage training.", default=(), example=("val_*", "test/*")
    )
    quiet: int = setting("Seconds without a new value after which a run is over.", default=3600, example=3600)
    max_points: int = setting(
        "Values of one tag that are all read at once; of more, every second, every fourth and so on, and the last.",
        default=20_000, example=20_000,
    )  # fmt: skip


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the logs."""
    return str(config.path or "")


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What was logged since the last pull, run by run."""
    if config.path is None:
        raise SourceRefused(f'set path = "FOLDER, FILE or GLOB" for the source "{config.common.name}".')
    yield from Reading(config, pull, _Said(config)).pages(files_at(config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The runs of one file or folder."""
    far = 1 << 40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was seen before; raises SourceRefused where it cannot be used."""
    root = root_of(config.path) if config.path is not None else None
    reading = Reading(config, Pull(0, pull.until, pull.now, taken=pull.taken), _Said(config), alone=True)
    with plain(item) as path:
        yield from reading.pages(files_in(path, root))


def recognise(item: Item) -> bool:
    """An event file, a table of metrics by epoch or step, or a folder of nothing else."""
    if item.entries:
        return item.path.is_dir() and is_folder(item.entries)
    return is_events(item.head) or is_table(item.head)
