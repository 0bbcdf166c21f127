"""MLflow: runs, metric histories, registered models, versions and aliases; server, sqlite file or mlruns folder."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import unquote, urlsplit

from connectors._http import open_client
from connectors._mlflow_artifacts import Artifacts
from connectors._mlflow_counts import ACTUAL, PREDICTED
from connectors._mlflow_database import Database
from connectors._mlflow_deliveries import is_delivery
from connectors._mlflow_export import deliveries_of, opened, pages_of
from connectors._mlflow_server import Server
from connectors._mlflow_walk import Reading
from connectors._sqlite import MAGIC
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Page

_EVALUATION = tuple(f"{word}{mark}*" for word in ("val", "valid", "validation", "eval", "test") for mark in "_/.-")


@dataclass(frozen=True)
class Config:
    """One MLflow server, or a folder of its files."""

    common: Common
    url: str = setting(
        "Address of the tracking server, with its static prefix if it has one, or file:DIR.",
        default="",
        example="http://127.0.0.1:5000",
    )
    models: tuple[str, ...] = setting("Registered models that are read (globs).", default=("*",), example=("fraud*",))
    experiments: tuple[str, ...] = setting(
        "Experiments whose runs are read (globs).", default=("*",), example=("fraud-*",)
    )
    metrics: tuple[str, ...] = setting("Metrics that are read (globs).", default=("*",), example=("accuracy", "val_*"))
    ignore: tuple[str, ...] = setting(
        "Metrics that are left out (globs).", default=("system/*",), example=("system/*", "grad_*")
    )
    evaluation: tuple[str, ...] = setting(
        "Metrics of stage evaluation (globs); all others are of stage training.",
        default=_EVALUATION,
        example=("val_*", "holdout/*"),
    )
    max_points: int = setting("Most points of one metric of one run; it is said where there are more.",
                              default=100_000, example=100_000)  # fmt: skip
    artifacts: tuple[str, ...] = setting(
        "Artifacts that hold counts of an evaluation (globs, folder by folder); of a server none is read without it.",
        default=(),
        example=("*eval_results_table.json", "*per_class_metrics.csv", "*confusion_matrix.json"),
    )
    max_artifact: int = setting("Most bytes of one artifact that is read.", default=5_000_000, example=5_000_000)
    actual: tuple[str, ...] = setting(
        "Columns of a table of rows that hold the class that was right; the first that is there counts.",
        default=ACTUAL,
        example=("label",),
    )
    predicted: tuple[str, ...] = setting(
        "Columns of a table of rows that hold the class that was predicted.", default=PREDICTED, example=("outputs",)
    )
    classes: tuple[str, ...] = setting(
        "The classes of matrices that do not name them, in the order of the rows; of two, the positive one last.",
        default=(),
        example=("0", "1"),
    )
    validation: tuple[str, ...] = setting(
        "Tags of a version that say how its validation ended (globs).",
        default=("validation", "validation_status"),
        example=("validation_status", "review"),
    )
    at_least: Mapping[str, float] | None = setting(
        "Metrics that a run has to reach which evaluated a model.", default=None, example={"accuracy_score": 0.9}
    )
    model_files: bool = setting(
        "Whether MLmodel, requirements.txt and python_env.yaml are read of a server: up to 5 requests for each run "
        "with a model.",
        default=False,
        example=True,
    )
    trigger: str = setting("Tag of a run that says what started it.", default="trigger", example="trigger")
    deliveries: Path | None = setting(
        "A file or folder of bodies that MLflow posted to a webhook: aliases and tags change at their second.",
        default=None,
        example="exports/mlflow-webhooks",
    )
    auth: Literal["bearer", "basic"] = setting(
        'How the token is sent; for "basic" it is the base64 of user:password.', default="bearer", example="basic"
    )


ABOUT = About(
    reads="MLflow tracking servers (runs, parameters, metric histories, evaluations) and their model registry",
    signals=("outcome", "correct"),
    events=("training", "data_version", "validation", "release", "promotion"),
    labels={
        "model": "the registered model; of a run, the one that was made from it, or that it evaluated",
        "experiment": "the experiment of a run",
        "run_name": "the name of a run",
        "parent": "the id of the run that a run is nested in",
        "param.<name>": "a parameter of a run, the first 30 by name",
        "input.<n>": "a data set that a run read, NAME@DIGEST",
        "python": "the version of Python that a model was made with, packages the hash of their list, image the "
        "container's (on trainings)",
        "dataset": "the name of a data set, source where it lies, context what for, rows how many (on data versions)",
        "evaluation": "what tells one evaluation of a run from another (on counts)",
        "evaluation_run": "the run that evaluated a model, missed what it did not reach (on validations)",
        "tag": "the tag that says how a version was validated, said its value (on validations)",
        "stage": "the stage of a version, where the registry still uses stages",
        "alias": "the alias that was moved",
        "from": "the version that an alias pointed to before, or the value of a tag",
        "removed": "the version that a removed alias pointed to",
    },
    files=(
        "the sqlite database of a server (mlflow.db), also compressed",
        "an mlruns folder of the file store, or the folder that holds nothing but it",
        "bodies that MLflow posted to a webhook, as JSON or JSON Lines, bare or with their headers",
    ),
    horizon=30 * DAY,
    limits=(
        "MLflow records no time for the move of an alias or a tag: it has the interval between two pulls.",
        "With deliveries of its webhooks they have their second; two moves between two pulls are then two.",
        "In a file, a promotion has the interval from the creation of the version to the time of the file.",
        "Runs of the last day, open ones and those under an alias are looked at by every pull.",
        "The daily sweep looks at all runs of 30 days: edits, restored runs and newer metrics show in their list.",
        "A metric logged below the newest point of a run shows only in its history.",
        "A sweep reads 1,000 unchanged histories again: with more runs in 30 days, one is found that much later.",
        "More than 10,000 runs in 30 days are not all remembered; the sweep reads the rest anew.",
        "Values without a finite number (NaN, infinity) are rejected and counted.",
        "What is deleted in MLflow stays in Tandem; a run that is restored is told again and counts once.",
        "mlflow.evaluate draws its confusion matrix, and images are not read.",
        "Counts come from its four metrics (two classes), per_class_metrics.csv, eval_results_table.json or a report.",
        "Of a server, artifacts cost 1 request per run and folder and 1 per file, at most 20 files of a run.",
        "Of a folder they are always read, of a database never.",
        "A run that took a logged model and made none is a validation: passed where at_least is set and reached.",
        "A server's list says of these only what mlflow.evaluate ran on; databases and folders say all.",
        "What mlflow.validate_evaluation_results found is kept nowhere by MLflow.",
        "A data version has the start of the first run that read it: MLflow does not say when data was made.",
        "MLflow states no digest of a model's files.",
        "Prompts are left out.",
    ),
    status={
        "FINISHED": "good",
        "FAILED": "bad",
        "KILLED": "excluded",
        "RUNNING": "open",
        "SCHEDULED": "open",
        "READY": "good",
        "FAILED_REGISTRATION": "bad",
        "PENDING_REGISTRATION": "open",
        "approved": "good",
        "passed": "good",
        "validated": "good",
        "rejected": "bad",
        "failed": "bad",
        "pending": "open",
        "in_review": "open",
        "skipped": "excluded",
    },
    once=("promotion", "validation"),
    side="model",
    example="""\
connector = "mlflow"
name = "registry"
url = "http://127.0.0.1:5000"        # or "file:exports/mlflow": a sqlite database or an mlruns folder
# token_env = "MLFLOW_TOKEN"         # sent as bearer token; with auth = "basic" the base64 of user:password
# experiments = ["fraud-*"]
# models = ["fraud*"]
# evaluation = ["val_*", "test_*"]   # metrics of stage evaluation; all others are of stage training
# artifacts = ["*eval_results_table.json", "*per_class_metrics.csv", "*confusion_matrix.json"]
# model_files = true                 # Python and packages of each model; costs requests
# at_least = { accuracy_score = 0.9 }
# deliveries = "exports/mlflow-webhooks"
  [[source.map]]
  component = "fraud-detector"
  match = { model = "fraud" }        # or experiment, run_name, "param.<name>"
""",
)


def scope(config: Config) -> str:
    """The server's address or the folder, and what the filters leave of it."""
    folder = _folder(config.url)
    parts = urlsplit(config.url)
    place = str(folder.absolute()) if folder else f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")
    for word, globs in (("models", config.models), ("experiments", config.experiments)):
        if globs != ("*",):
            place += f" {word}={','.join(sorted(globs))}"
    return place


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """Pages of a server; raises SourceDown or SourceRefused."""
    if not config.url:
        raise SourceRefused('the source has no url; give the address of the server or "file:DIR".')
    with open_client(config, config.url, token_prefix="Basic " if config.auth == "basic" else "Bearer ") as client:
        server = Server(client, together=_folder(config.url) is None)
        yield from Reading(server, Artifacts(client), config, ABOUT, pull).pages()


def parse(item: Item, config: Config) -> Iterator[Page]:
    """Pages of a sqlite database, an mlruns folder or delivered bodies; raises SourceRefused for what is broken."""
    if is_delivery(item.head):
        yield from deliveries_of(item, config, ABOUT)
        return
    with opened(item) as export:
        yield from pages_of(export, config, ABOUT, item.given.at or item.modified)


def recognise(item: Item) -> bool:
    """Whether it is a tracking database, an mlruns folder, or what MLflow posted to a webhook."""
    if item.path.is_dir():
        below = all(entry.startswith(("mlruns/", "mlartifacts/")) for entry in item.entries)
        pattern = re.compile(
            r"(?:mlruns/)?(?:\d+|models/[^/]+)/meta\.yaml" if below else r"(?:\d+|models/[^/]+)/meta\.yaml"
        )
        return any(pattern.fullmatch(entry) for entry in item.entries)
    if not item.head.startswith(MAGIC):
        return is_delivery(item.head)
    with contextlib.suppress(SourceRefused), opened(item) as export:
        return isinstance(export, Database) and export.holds_runs()
    return False


def _folder(url: str) -> Path | None:
    return Path(unquote(url.removeprefix("file:"))) if url.startswith("file:") else None
