"""Kubeflow Pipelines: runs as trainings, their metrics and confusion matrices; API, saved answers and workflows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from connectors._fields import Unusable, text_of
from connectors._files import documents
from connectors._http import open_client
from connectors._kubeflow import Run, run_of
from connectors._kubeflow_server import HORIZON, Reading, remembered
from connectors._kubeflow_telling import FOREVER, STATUS, Words, counted, fits
from connectors._kubeflow_workflow import run_of_workflow
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Page, Record

_PIECE = 500
_WORKFLOW = (
    re.compile(rb'"kind"\s*:\s*"Workflow(?:List)?"'),
    re.compile(rb"argoproj\.io/v1alpha1"),
    re.compile(rb'"pipelines\.kubeflow\.org/|"pipeline/runid"'),
)
_RUN = (
    re.compile(rb'"run_id"\s*:\s*"'),
    re.compile(rb'"display_name"\s*:'),
    re.compile(rb'"(?:storage_state|pipeline_version_reference|pipeline_spec|state_history|run_details)"\s*:'),
)
_EVALUATION = ("*eval*/*", "*validat*/*", "*test/*", "test*/*", *(f"*/{word}{mark}*" for word in
               ("val", "valid", "validation", "eval", "test") for mark in "_.-"))  # fmt: skip

ABOUT = About(
    reads="runs of Kubeflow Pipelines as trainings, with what their tasks measured, from its API or exported workflows",
    signals=("training_success", "training_duration", "outcome"),
    events=("training", "validation"),
    labels={
        "pipeline": "the name of the pipeline",
        "experiment": "the name of the experiment",
        "namespace": "the namespace (profile) of the run",
        "pipeline_version": "the name of the pipeline's version (on trainings and validations)",
        "task": "the name of the task (on metrics, matrices and validations)",
        "metrics": "the name of the artifact that holds a confusion matrix",
        "recurring_run": "the recurring run that started a training",
        "status": "how it ended, in Kubeflow's own word",
        "param.<name>": "a parameter of the run, the first 30 by name",
        "input.<n>": "a data set that the run read, with input.<n>.version where one is stated; inputs how many",
        "output.<n>": "a data set or model that the run wrote, in the same way",
        "image": "the images of its components, where all have a digest; images, where not",
        "plugin.<name>": "what a plugin left, as the run of MLflow that belongs to this one",
    },
    files=(
        "kubectl get workflows -o json (Argo, of version 1 or 2)",
        "answers of the API: runs, or one run (with view=FULL)",
    ),
    horizon=HORIZON,
    limits=(
        "Every run is a training, unless pipelines, experiments and ignore leave it out.",
        "A run that is retried keeps its id: each retry is another attempt, told from the history of its states.",
        "A run that no recurring run started is told as manual, whoever or whatever asked for it.",
        "Skipped and cancelled runs count in no training_success; a run that is paused or being cancelled goes on.",
        "A validation is a task whose name `validations` matches; it is good when the task succeeded.",
        "What a task took from the cache is told with the run that made it, and is no validation.",
        "Metrics need the API of artifacts (2026 and later); before, they lay in ML Metadata, which is not read.",
        "A confusion matrix counts where it holds counts, rows being the actual classes; one of shares is left out.",
        "Curves (ROC) are not read. Metrics of a run are read when it has ended, with one request per run.",
        "The commit is known where code_source_url of the pipeline's version holds one in full.",
        "The version of data is known where a data set's metadata or address states one, or a parameter data_version.",
        "The digest of the model is known where its address or its metadata states one.",
        "A run retried and over between two pulls is found by when it ended; what is deleted stays in Tandem.",
        "An exported workflow tells neither experiment nor metrics. Version 1 of the API is not read.",
    ),
    status=STATUS,
    aliases=("kfp",),
    side="model",
    example="""\
connector = "kubeflow"
name = "pipelines"
url = "https://kubeflow.example.com/pipeline"   # what is in front of /apis/v2beta1; or "file:exports/kubeflow"
namespace = "ml-team"                           # the profile; leave it out where there is one user
token_env = "KUBEFLOW_TOKEN"                    # a bearer token; with cookie the value of that cookie
# cookie = "oauth2_proxy_kubeflow"              # or "authservice_session", behind a login page
# web = "https://kubeflow.example.com/_/pipeline"
# pipelines = ["fraud-*"]
# experiments = ["nightly"]
# validations = ["validate-*"]                  # tasks that fail when what they check is not good
# evaluation = ["evaluate/*", "*/val_*"]        # TASK/METRIC of stage evaluation
  [[source.map]]
  component = "fraud-detector"
  match = { pipeline = "fraud-*" }              # or experiment, task
""",
)


@dataclass(frozen=True)
class Config:
    """One namespace of one Kubeflow Pipelines."""

    common: Common
    url: str = setting(
        'The address in front of /apis/v2beta1, or "file:DIR".', default="", example="https://kubeflow.example.com"
    )
    namespace: str = setting("The namespace (profile) that is read; none for one user.", default="", example="ml-team")
    web: str = setting("Where people open it, if not at url.", default="", example="https://kubeflow.example.com")
    cookie: str = setting("The cookie whose value the token is.", default="", example="authservice_session")
    pipelines: tuple[str, ...] = setting("Globs of pipelines that count.", default=("*",), example=("fraud-*",))
    experiments: tuple[str, ...] = setting("Globs of experiments that count.", default=("*",), example=("nightly",))
    ignore: tuple[str, ...] = setting("Globs of pipelines that never count.", default=(), example=("*-scratch",))
    validations: tuple[str, ...] = setting(
        "Globs of tasks that fail when what they check is not good.", default=("*validat*",), example=("validate-*",)
    )
    evaluation: tuple[str, ...] = setting(
        "Globs of TASK/METRIC of stage evaluation.", default=_EVALUATION, example=("evaluate/*", "*/val_*")
    )
    training: tuple[str, ...] = setting(
        "Globs of TASK/METRIC of stage training; of the rest, matrices are of stage evaluation, numbers of training.",
        default=("*/*train*",), example=("train/*",),
    )  # fmt: skip


def scope(config: Config) -> str:
    """The address and the namespace."""
    parts = urlsplit(config.url)
    base = config.url if config.url.startswith("file:") else f"{parts.netloc}{parts.path}".rstrip("/").lower()
    return f"{base}#{config.namespace}"


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The runs that were created in [since, until), that ended in it, and that were last seen to go on."""
    if not config.url:
        raise SourceRefused(f'set url = "https://..." for the source "{config.common.name}".')
    login: dict[str, Any] = {"token_header": "Cookie", "token_prefix": f"{config.cookie}="} if config.cookie else {}
    with open_client(config, config.url, **login) as client:
        yield from Reading(client, config, pull, remembered(config, pull)).pages()


# -- exported workflows, saved answers


def recognise(item: Item) -> bool:
    """Workflows that Kubeflow Pipelines made, as kubectl prints them; runs as its API answers them."""
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(
        all(mark.search(head) for mark in marks) for marks in (_WORKFLOW, _RUN)
    )


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What the runs of one file say."""
    words, pull = Words(config), Pull(since=0, until=FOREVER, now=FOREVER)
    runs: dict[str, Run] = {}
    for document in documents(item):
        for raw in _rows(document):
            try:
                one = run_of_workflow(raw) if text_of(raw, "kind") == "Workflow" else run_of(raw)
            except Unusable as error:
                words.reject(str(error))
                continue
            if one.pipeline and not (
                fits([one.pipeline], config.pipelines) and not fits([one.pipeline], config.ignore)
            ):
                words.reject("runs of other pipelines than those that are configured are left out")
                continue
            runs[one.id] = max(runs.get(one.id, one), one, key=lambda run: (run.detailed, run.finished or 0))
    records: list[Record] = []
    for run in sorted(runs.values(), key=lambda run: (run.created, run.id)):
        yield from counted(run, words, pull)
        records += [*words.trainings(run), *words.validations(run), *words.samples(run)]
        if len(records) >= _PIECE:
            yield Page(records)
            records = []
    yield Page(records, findings=words.findings(item.name))


def _rows(document: Any) -> list[Any]:
    """The objects of a list that kubectl or the API gives, or the one that is there."""
    if isinstance(document, list):
        return [one for one in document if isinstance(one, dict)]
    for name in ("items", "runs"):
        if isinstance(document, dict) and isinstance(document.get(name), list):
            return [one for one in document[name] if isinstance(one, dict)]
    return [document] if isinstance(document, dict) else []
