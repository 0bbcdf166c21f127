"""Pachyderm: trainings, versions of data and valid datums from what pachctl prints."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from connectors._files import ENTRIES, documents, stamp
from connectors._pachyderm import Objects
from connectors._pachyderm_telling import EDGES, Telling
from connectors._said import Said
from connectors._together import all_are, among, each_document, parts
from tandem.connect import About, Common, Item, Pull, setting
from tandem.records import Finding, Page

_FAR = 1 << 40
_JOB = re.compile(rb'"job"\s*:\s*\{')
_COMMIT = re.compile(rb'"commit"\s*:\s*\{')
_PIPELINE = re.compile(rb'"pipeline"\s*:\s*\{')
_BRANCH = re.compile(rb'"branch"\s*:\s*\{')
_MARKS = (
    (_JOB, _PIPELINE, re.compile(rb'"JOB_[A-Z]|"output_?[cC]ommit"\s*:\s*\{')),
    (_COMMIT, _BRANCH, re.compile(rb'"origin"\s*:\s*\{')),
    (_PIPELINE, re.compile(rb'"PIPELINE_[A-Z]|"spec_?[cC]ommit"\s*:\s*\{')),
)

ABOUT = About(
    reads="Pachyderm 2: jobs, commits and pipelines as pachctl prints them with --raw.",
    signals=("training_success", "training_duration", "valid_rows"),
    events=("training", "data_version"),
    labels={
        "pipeline": "the pipeline of the job",
        "project": "the project, empty for the default one",
        "repo": "the repo of the commit; of a job that of its output",
        "branch": "the branch of the commit (on events)",
        "job": "the id of the job, which all jobs of a commit set have (on trainings)",
        "input.<n>": "a repo that was read, with input.<n>.version its commit; inputs how many they are",
        "output.<n>": "the repo that a training wrote, in the same way",
        "image": "the image of the job's container (on trainings), pipeline_version that of the pipeline",
        "restarts": "how often the job was restarted (on trainings)",
        "datums": "the datums of the job; processed, skipped, failed, recovered how many of them were (on trainings)",
        "origin": "USER for what was put there, AUTO for what a pipeline made (on data versions), bytes its size",
        "said": "the state of the job (on trainings)",
    },
    files=(
        "pachctl list job --raw, with or without --expand, and inspect job --raw",
        "pachctl list commit REPO --raw, and inspect commit --raw",
        "pachctl list pipeline --raw, and inspect pipeline --raw",
        "answers of Pachyderm's gateway to ListJob, ListCommit and ListPipeline",
    ),
    limits=(
        "Jobs are trainings only where `training` names their pipeline; a name that sounds like it is no reason.",
        "Valid rows are datums: those a job processed, of those it processed, failed or recovered by err_cmd.",
        "Skipped datums were processed and counted by an earlier job; those a failed job never began count nowhere.",
        "Datums count once their job is over, in the bucket of its end; those of trainings are of stage training.",
        "UNRUNNABLE is what could not begin because an input had failed, so it counts neither as good nor as bad.",
        "The version of data is repo@commit; aliases are followed where the commits of their repo are given too.",
        "A commit that the job of a training made is no version of data, but its output.",
        "Whenever a file is new or has grown, all files are read again; what is no longer listed stays.",
        "Whether a tick, data or a new pipeline began a training is known where the commits are given too.",
        "A job says no git commit. Commands, environment and secrets of pipelines are not read, nor YAML (-o yaml).",
        f"Of more than {EDGES} inputs the labels name the first and count all.",
    ),
    status={
        "JOB_CREATED": "open", "JOB_STARTING": "open", "JOB_RUNNING": "open", "JOB_EGRESSING": "open",
        "JOB_FINISHING": "open", "JOB_SUCCESS": "good", "JOB_FAILURE": "bad", "JOB_KILLED": "excluded",
        "JOB_UNRUNNABLE": "excluded",
    },
    side="model",
    example="""\
connector = "pachyderm"
name = "pachyderm"
path = "exports/pachyderm/*.json"          # a file, a folder or a glob
# training = ["train_*"]                   # the pipelines whose jobs are trainings
  [[source.map]]
  component = "claims-risk"
  match = { pipeline = "*claims*" }
  [[source.map]]
  component = "claims-risk"
  match = { repo = "claims" }
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the files lie, and which pipelines train."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/pachyderm/*.json")
    training: tuple[str, ...] = setting(
        "The pipelines whose jobs are trainings (globs).", default=(), example=("train_*",)
    )


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the files."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """What pachctl prints of jobs, commits or pipelines; a folder of nothing else, for its files belong together."""
    if item.entries:
        return all_are(item, recognise, ENTRIES)
    head = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith((b"{", b"[")) and any(all(mark.search(head) for mark in marks) for marks in _MARKS)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """What one file says, or those of a folder together."""
    objects = Objects(_Said(config))
    for each in parts(item, ENTRIES):
        for document in documents(each):
            objects.add(document)
    yield from Telling(config, Pull(0, _FAR, _FAR), objects.said, objects).pages()
    yield Page(covered=(), findings=_findings(config, objects.said, item.name))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What all files say together, where one of them is new or has changed since the last pull."""
    found = among(config.path, config.common.name, recognise)
    mark = stamp(found)
    if not pull.first and pull.state == mark:
        return
    objects = Objects(_Said(config))
    refused = each_document(found, pull, objects.add)
    telling = Telling(config, pull, objects.said, objects)
    yield from telling.pages()
    yield Page(state="" if telling.held else mark, findings=(*_findings(config, objects.said, config.common.name),
                                                             *refused))  # fmt: skip


def _findings(config: Config, said: Said, where: str) -> tuple[Finding, ...]:
    if not config.training:
        said.remark("no pipeline is named in `training`, so no job counts as a training")
    return said.findings(where)
