"""Hugging Face: training runs of a Trainer from its output folder, and the results in model cards; files only."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors._files import item as item_of
from connectors._huggingface import Reading, is_card
from connectors._said import Said
from connectors._trainer import is_result, is_state, runs_of
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import Page

ABOUT = About(
    reads="Hugging Face: the output folders of transformers' Trainer, and the results (model-index) of model cards.",
    signals=("correct",),
    events=("training",),
    labels={
        "run": "the output folder, below path; of a card the folder it lies in",
        "model": "the model that was trained, by config.json; of a card its name in model-index",
        "task": "the task of a card's result, dataset its data and split their part",
        "param.<name>": "max_steps, num_train_epochs, train_batch_size, best_metric and the like (on events)",
        "said": "what says the outcome: finished, writing or quiet (on events)",
    },
    files=(
        "an output folder: trainer_state.json, also of its checkpoints, all_results.json, eval_results.json",
        "each of these files by itself",
        "README.md with model-index in its front matter",
    ),
    limits=(
        "The log says steps and no times: of each entry the time counts at which it was first seen (of the file).",
        "What begins with eval_, test_ or predict_ is of stage evaluation, all else of stage training.",
        "Where accuracy stands with the number of its rows (eval_samples), correct is derived: their product, rounded.",
        "It is derived only where that product is a whole number to 0.01; else accuracy stays a sample.",
        "A training is finished when its log says train_runtime; one that is not is left out of shares once quiet.",
        "Of several checkpoints the one that went furthest is read. training_args.bin is a pickle and is not opened.",
        "A value in a card such as 20.0 ± 1.2 or 91 % keeps its number as it stands, and it is said.",
        "Front matter of model cards needs PyYAML (pip install 'tandem-health[openslo]').",
        "A card of library sklearn is read by the connector sklearn.",
    ),
    status={"finished": "good", "writing": "open", "quiet": "excluded"},
    aliases=("transformers", "hugging_face"),
    side="model",
    example="""\
connector = "huggingface"
name = "fine-tuning"
path = "exports/output"                    # an output folder, one of several of them, a file or a glob
  [[source.map]]
  component = "support-classifier"
  match = { run = "support-*" }
""",
)


@dataclass(frozen=True)
class Config:
    """Where the output folders and cards lie."""

    common: Common
    path: Path | None = setting("A folder, a file or a glob.", default=None, example="exports/output")
    version: str = setting("The version that is described.", default="", example="7")
    quiet: int = setting("Seconds without a new entry after which a run is over.", default=3600, example=3600)


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the folders."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """An output folder of a Trainer, one of its files, or a card with results that is not of scikit-learn."""
    if item.entries:
        runs = runs_of(item.entries) if item.path.is_dir() else []
        return len(runs) == 1 and runs[0].folder == "."
    return is_state(item.head) or is_result(item.head) or is_card(item.head)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the folders hold that was not told before."""
    if config.path is None:
        raise SourceRefused(f'set path = "FOLDER, FILE or GLOB" for the source "{config.common.name}".')
    path = config.path
    hits = [path] if path.exists() else [Path(one) for one in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not hits:
        raise SourceRefused(f"{config.path} is not there; check the path.")
    reading = Reading(config, pull, _Said(config))
    yield from reading.pages([item_of(hit, Given(timezone=config.common.timezone)) for hit in hits])


def parse(item: Item, config: Config) -> Iterator[Page]:
    """One output folder, one file of it, or one card."""
    far = 1 << 40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was told before; raises SourceRefused where it cannot be used."""
    yield from Reading(config, pull, _Said(config), alone=True).pages([item])
