"""OpenLineage and Marquez: trainings, data versions, validations and valid rows from files of run events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors._files import ENTRIES, documents, stamp
from connectors._openlineage import Runs
from connectors._openlineage_telling import EDGES, Telling
from connectors._said import Said
from connectors._together import all_are, among, each_document, parts
from tandem.connect import About, Common, Item, Pull, setting
from tandem.records import Finding, Page

_SCHEMA = re.compile(rb'"_?schemaURL"\s*:\s*"[^"]{0,200}[Oo]pen[Ll]ineage')
_KEYS = (re.compile(rb'"eventTime"\s*:'), re.compile(rb'"runId"\s*:'), re.compile(rb'"job"\s*:\s*\{'))
_FAR = 1 << 40

ABOUT = About(
    reads="OpenLineage: runs of jobs with what they read and wrote, from files of run events or answers of Marquez.",
    signals=("training_success", "training_duration", "validation_success", "valid_rows"),
    events=("training", "data_version", "schema_change", "validation"),
    labels={
        "namespace": "the namespace of the job",
        "job": "the name of the job",
        "run": "the id of the run (on events)",
        "parent_run": "the run that began it, with parent_job and parent_namespace; root_run the first of all",
        "dataset": "the name of the dataset, dataset_namespace its namespace (but not on trainings)",
        "input.<n>": "a dataset that the run read, with input.<n>.namespace and .version; inputs how many they are",
        "output.<n>": "a dataset that the training wrote, in the same way",
        "tag.<key>": "a tag of the run or job (on events)",
        "param.<key>": "a parameter of the run (on trainings)",
        "engine": "the engine and its version (on events), nominal the time for which a run was scheduled",
        "repository": "where the code lies, with branch, path, tag, and revision where that is no commit",
        "rows": "rows that were written, with bytes and files (on data versions)",
        "checks": "assertions that ran (on validations), failed, warned and skipped how many of them did",
        "said": "the word that tells the outcome (on trainings)",
    },
    files=(
        "JSON Lines as the client's file transport appends them, or its one file per event, also compressed",
        "the answer of Marquez to GET /api/v1/events/lineage",
    ),
    limits=(
        "Runs are trainings only where `training` names their job; a name that sounds like it is no reason.",
        "Whenever a file is new or has grown, all files are read again, so that a start finds its end.",
        "What runs say is held in memory while files are read, about 1 KB for each event; move old files away.",
        "Facets add up over the events of a run; where one is told twice, the later event counts.",
        "A run with several ends counts by its newest; a training without a start has no duration.",
        "Each output of a run that completed is a version of data; its name is unknown where no facet states it.",
        "One dataset checked in one run is one validation; it passed when no assertion failed; a warning is none.",
        "Valid rows are those without a missing value in a column that `required` names, of rowCount rows.",
        "Missing values are told by column, not by row: where several columns have some, valid_rows is a lower bound.",
        "What training jobs measure is of stage training; it enters no objective of production.",
        "Metrics of a dataset as such that several runs repeat (captureDate, lastUpdated, version) count once.",
        "Schemas are compared by job; the first that a job tells is no change. Types are compared without case.",
        "Other numbers of columns (distinct values, sums, quantiles), SQL and column lineage are not read.",
        "Marquez drops events of datasets alone from its answers, so changes told only there are not seen.",
        "A folder that is imported belongs together; files imported one by one do not find each other's ends.",
        f"Of more than {EDGES} inputs or outputs of a run the labels name the first and count all.",
    ),
    status={
        "START": "open", "RUNNING": "open", "OTHER": "open", "COMPLETE": "good", "FAIL": "bad", "ABORT": "excluded",
        "success": "good", "pass": "good", "warning": "good", "failure": "bad", "fail": "bad", "skip": "excluded",
        "no verdict": "excluded",
    },
    aliases=("marquez",),
    side="model",
    example="""\
connector = "openlineage"
name = "lineage"
path = "exports/openlineage/*.ndjson"      # a file, a folder or a glob
# training = ["ml/train_*"]                # the jobs whose runs are trainings
# models = ["*/claims-risk"]               # the datasets that are models: their version is the trained one
# required = ["*_id", "amount"]            # the columns in which a missing value makes a row invalid
# timezone = "Europe/Berlin"               # of times without offset; without it such events are left out
  [[source.map]]
  component = "claims-risk"
  match = { namespace = "ml", job = "*claims*" }
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the events lie, and what the jobs and datasets in them are."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/openlineage/*.ndjson")
    training: tuple[str, ...] = setting(
        "The jobs whose runs are trainings: globs of the name, or of namespace/name.", default=(),
        example=("ml/train_*",),
    )  # fmt: skip
    models: tuple[str, ...] = setting(
        "The datasets that are models, as globs of name or namespace/name; their version is that of the training.",
        default=(), example=("*/claims-risk",),
    )  # fmt: skip
    required: tuple[str, ...] = setting(
        "The columns in which a missing value makes a row invalid, as globs.", default=("*",),
        example=("*_id", "amount"),
    )  # fmt: skip


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the files."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """Events of OpenLineage; a folder of nothing else, for its files belong together."""
    if item.entries:
        return all_are(item, recognise, ENTRIES)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if not head.startswith((b"{", b"[")):
        return False
    return _SCHEMA.search(head) is not None or all(one.search(head) for one in _KEYS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What the events of one file say, or those of a folder together."""
    said = _Said(config)
    runs = Runs(item.given.timezone or config.common.timezone, said)
    for each in parts(item, ENTRIES):
        for document in documents(each):
            runs.add(document)
    yield from Telling(config, Pull(0, _FAR, _FAR), said, alone=True).pages(runs)
    yield Page(covered=(), findings=_findings(config, said, item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What all files say together, where one of them is new or has changed since the last pull."""
    found = among(config.path, config.common.name, recognise)
    mark = stamp(found)
    if not pull.first and pull.state == mark:
        return
    said = _Said(config)
    runs = Runs(config.common.timezone, said, pull.until)
    refused = each_document(found, pull, runs.add)
    yield from Telling(config, pull, said).pages(runs)
    # What lies at or after the end of the pull is left for the next one, which must read it again.
    state = mark if runs.latest < pull.until else ""
    yield Page(state=state, findings=(*_findings(config, said, config.common.name), *refused))


def _findings(config: Config, said: Said, where: str) -> tuple[Finding, ...]:
    if not config.training:
        said.remark("no job is named in `training`, so no run counts as a training")
    return said.findings(where)
