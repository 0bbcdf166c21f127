"""Weights & Biases: runs, histories, histograms and the aliases of models; its API, offline runs and exported CSV."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from connectors._http import open_client
from connectors._said import Said
from connectors._wandb_log import MAGIC
from connectors._wandb_offline import packages_of, pages_of_log
from connectors._wandb_reading import HORIZON, Reading
from connectors._wandb_server import Server
from connectors._wandb_tables import kind_of, pages_of
from connectors._wandb_telling import Telling
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Page

_EVALUATION = tuple(f"{word}{mark}*" for word in ("val", "valid", "validation", "eval", "test") for mark in "_/.-")
_FOLDER = re.compile(r"(?:(?:offline-)?run-[^/]+/)?run-[^/]+\.wandb")
_COMPANION = re.compile(
    r"(?:(?:offline-)?run-[^/]+/)?(?:run-[^/]+\.wandb(?:\.synced)?|(?:files|logs|tmp)/.+)|(?:latest-run/.+)"
    r"|debug[^/]*\.log|settings|sweep-[^/]+/.+"
)


@dataclass(frozen=True)
class Config:
    """One project of W&B, or a folder of its files."""

    common: Common
    url: str = setting(
        "Address of the API, or file:DIR for a folder of offline runs and exported CSV.",
        default="https://api.wandb.ai", example="https://api.wandb.ai",
    )  # fmt: skip
    entity: str = setting("The user or team that the project belongs to.", default="", example="acme")
    project: str = setting("The project.", default="", example="claims")
    registry: str = setting(
        'Where the models are registered, as "ENTITY/PROJECT"; without it, the project itself.',
        default="", example="acme-org/wandb-registry-model",
    )  # fmt: skip
    models: tuple[str, ...] = setting(
        "Collections of models that are read (globs).", default=("*",), example=("fraud*",)
    )
    types: tuple[str, ...] = setting("Types of artifacts that are models.", default=("model",), example=("model",))
    data: tuple[str, ...] = setting(
        "Types of artifacts that are data (globs): what a run used of them is its data version.",
        default=("*data*",), example=("dataset",),
    )  # fmt: skip
    aliases: tuple[str, ...] = setting(
        "Aliases whose moves are promotions (globs).", default=("*",), example=("production",)
    )
    ignore_aliases: tuple[str, ...] = setting(
        "Aliases that are left out (globs); latest moves by itself.", default=("latest",), example=("latest", "best")
    )
    metrics: tuple[str, ...] = setting("Metrics and histograms that are read (globs).", default=("*",),
                                       example=("loss", "val_*"))  # fmt: skip
    ignore: tuple[str, ...] = setting(
        "Metrics and histograms that are left out (globs).", default=("gradients/*", "parameters/*", "system/*"),
        example=("gradients/*",),
    )  # fmt: skip
    evaluation: tuple[str, ...] = setting(
        "Metrics and histograms of stage evaluation (globs); all others are of stage training.",
        default=_EVALUATION, example=("val_*", "holdout/*"),
    )  # fmt: skip
    prediction: str = setting("The histogram that holds predictions.", default="", example="preds")
    quiet: int = setting("Seconds without a sign of life after which an offline run without its end is over.",
                         default=3600, example=3600)  # fmt: skip


ABOUT = About(
    reads="Weights & Biases: runs, parameters, histories and histograms of a project, its models and their aliases",
    signals=("feature", "prediction"),
    events=("training", "release", "promotion", "data_version"),
    labels={
        "entity": "the user or team that is read",
        "project": "the project that is read",
        "group": "the group of a run",
        "job_type": "the job type of a run",
        "run_name": "the name of a run",
        "sweep": "the sweep that started a run",
        "model": "the collection of a model; of a run, that of the model which it made",
        "param.<name>": "a parameter of a run, the first 30 by name (on events)",
        "input.<n>": "an artifact that a run used (on events)",
        "output.<n>": "an artifact that a run made (on events)",
        "dataset": "the collection of an artifact that is data",
        "tags": "the tags of a run (on events)",
        "state": "the state of a run (on events)",
        "python": "the version of Python (on events)",
        "image": "the container image of an offline run (on events)",
        "packages": "the digest of requirements.txt of an offline run (on events)",
        "alias": "the alias that was moved",
        "from": "the version that an alias pointed to before",
        "removed": "the version that a removed alias pointed to",
    },
    files=(
        "the .wandb file of a run, or the folder that it lies in, also while it is written",
        "the CSV of a chart, of a history (with _step and _timestamp), or of a project's table of runs",
    ),
    horizon=HORIZON,
    limits=(
        "W&B records no time for the move of an alias: a promotion has the interval between two pulls.",
        "Aliases of the newest 50 versions of a model are seen at each pull, those of older ones at the daily sweep.",
        "A run counts as ended at its last sign of life, for W&B says no other time.",
        "Edits of a run that is over, and runs that are synced late, are found at the daily sweep, for 30 days.",
        "A summary's value is read where no history tells it; what stands in a history is read from there.",
        "Histograms keep the bins of the first (of each file); others are put onto these, and what it costs is said.",
        "The file of an offline run says whether it ended; without, it is running, and once quiet left out.",
        "wandb writes that file in blocks of 32 KiB: the last rows of one that is running or was killed are not in it.",
        "What a rewind or a deletion removes in W&B stays in Tandem.",
        "A chart's CSV says no times: each value counts at the time at which it was first seen (that of the file).",
        "The table of runs does not tell parameters from results: only what evaluation names is a value.",
    ),
    status={
        "finished": "good",
        "failed": "bad",
        "crashed": "bad",
        "killed": "excluded",
        "preempted": "excluded",
        "preempting": "open",
        "running": "open",
        "pending": "open",
        "unfinished": "excluded",
    },
    aliases=("weights-and-biases",),
    once=("promotion",),
    side="model",
    example="""\
connector = "wandb"
name = "experiments"
entity = "acme"
project = "claims"
# url = "https://wandb.example.com"          # a server of your own, or "file:exports/wandb": offline runs and CSV
# token_env = "WANDB_API_KEY"
# registry = "acme-org/wandb-registry-model" # where the models are registered, if not in the project
# evaluation = ["val_*", "test/*"]           # metrics of stage evaluation; all others are of stage training
  [[source.map]]
  component = "fraud-detector"
  match = { group = "fraud-*" }              # runs, by group, job_type, run_name, model or "param.<name>"
  [[source.map]]
  component = "fraud-detector"
  match = { model = "fraud*" }               # versions and aliases; data by dataset
""",
)


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The address with entity and project, or the folder; and what the filters leave of it."""
    if config.url.startswith("file:"):
        return str(Path(unquote(config.url.removeprefix("file:"))).absolute())
    parts = urlsplit(config.url)
    place = f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")
    place += f"/{config.entity}/{config.project}"
    if config.registry:
        place += f" registry={config.registry}"
    return place if config.models == ("*",) else f"{place} models={','.join(sorted(config.models))}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """Pages of a project; raises SourceDown or SourceRefused."""
    if not config.entity or not config.project:
        raise SourceRefused(f'set entity = "…" and project = "…" for the source "{config.common.name}".')
    if config.registry and config.registry.count("/") != 1:
        raise SourceRefused(f'registry = "{config.registry}" should be "ENTITY/PROJECT".')
    with open_client(config, config.url, user="api") as client:
        server = Server(client, config.entity, config.project)
        registry = Server(client, *config.registry.split("/")) if config.registry else server
        yield from Reading(config, pull, server, registry, _Said(config)).pages()


def parse(item: Item, config: Config) -> Iterator[Page]:
    """Pages of one file or folder; raises SourceRefused for one that is broken."""
    far = max(item.modified, item.given.at or 0) + 366 * DAY
    yield from parse_with(item, config, Pull(since=0, until=far, now=far, first=True))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, knowing what was seen before."""
    telling = Telling(config, pull, _Said(config))
    if item.entries:
        for entry in item.entries:
            if _FOLDER.fullmatch(entry):
                yield from pages_of_log(item.child(entry), telling, packages_of(item, entry))
    elif item.head.startswith(MAGIC):
        yield from pages_of_log(item, telling, "")
    else:
        kind = kind_of(item.head)
        if kind is None:
            raise SourceRefused(f"{item.name} is neither a .wandb file nor one of the tables that W&B exports.")
        yield from pages_of(item, kind, telling)
    telling.remark()
    yield Page(findings=telling.said.findings(item.name))


def recognise(item: Item) -> bool:
    """Whether it is the file or folder of a run, a folder of nothing but those, or a table that W&B exports."""
    if item.entries:
        return any(map(_FOLDER.fullmatch, item.entries)) and all(map(_COMPANION.fullmatch, item.entries))
    return item.head.startswith(MAGIC) or kind_of(item.head) is not None
