"""Exported Argo workflows of Kubeflow Pipelines, of version 1 and 2, as runs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from connectors._fields import Raw, Unusable, inside, rows_of, text_of, time_of
from connectors._json import BadJson, BrokenJson, strict
from connectors._kubeflow import Run, Task, Version, when

_PREFIX = "pipelines.kubeflow.org/"
_SCHEDULED = "scheduledworkflows.kubeflow.org/scheduledWorkflowName"
_SUFFIX = re.compile(r"-[a-z0-9]{5}$")
_PARTS = ("components-", "implementations-", "kubernetes-")
"""Arguments of version 2 that are pieces of the pipeline."""
_ATTEMPT = re.compile(r"\((\d{1,6})\)")
_STRUCTURE = ("StepGroup", "Suspend", "Retry")
"""Nodes that hold or wait for others; of what is retried each attempt is a node of its own."""


def run_of_workflow(raw: Any) -> Run:
    """Raises Unusable for what is no workflow that ran."""
    metadata, status = inside(raw, "metadata"), inside(raw, "status")
    labels, notes = inside(metadata, "labels"), inside(metadata, "annotations")
    key = text_of(labels, "pipeline/runid") or text_of(metadata, "uid")
    if not key:
        raise Unusable("a workflow has no run id and no uid; it was compiled, and never ran")
    started = when(status, "startedAt")
    return Run(
        id=key,
        title=text_of(notes, f"{_PREFIX}run_name") or text_of(metadata, "name"),
        word=_word(raw, status),
        created=time_of(metadata, "creationTimestamp", started),
        finished=when(status, "finishedAt"),
        history=((started, "RUNNING"),) if started else (),
        experiment_id="",
        pipeline_id="",
        version_id="",
        recurring=_schedule(metadata),
        parameters=_parameters(inside(raw, "spec")),
        plugins={},
        version=Version(images=_images(raw, notes)),
        pipeline=_pipeline(metadata, notes),
        namespace=text_of(metadata, "namespace"),
        tasks=tuple(_tasks(raw)),
        detailed=True,
    )


def _word(raw: Raw, status: Raw) -> str:
    """The phase; Kubeflow ends a run by a deadline of no seconds, and Argo calls the end of it a failure."""
    phase, spec = text_of(status, "phase") or "Pending", inside(raw, "spec")
    ended = text_of(spec, "shutdown") or spec.get("activeDeadlineSeconds") == 0
    return "Terminated" if ended and phase in ("Failed", "Error") else phase


def _schedule(metadata: Raw) -> str:
    owners = (text_of(one, "name") for one in rows_of(metadata, "ownerReferences")
              if text_of(one, "kind") == "ScheduledWorkflow")  # fmt: skip
    return text_of(inside(metadata, "labels"), _SCHEDULED) or next(owners, "")


def _pipeline(metadata: Raw, notes: Raw) -> str:
    """The name in the specification of version 1; in version 2 what the workflow's name begins with."""
    said = text_of(_json(text_of(notes, f"{_PREFIX}pipeline_spec")), "name")
    prefix = text_of(metadata, "generateName").rstrip("-")
    return said or prefix or _SUFFIX.sub("", text_of(metadata, "name"))


def _json(text: str) -> Raw:
    try:
        found = strict(text) if text else {}
    except (BadJson, BrokenJson):
        return {}
    return found if isinstance(found, dict) else {}


def _parameters(spec: Raw) -> Raw:
    """The arguments of version 1, or the runtime configuration that the root of version 2 is given."""
    for template in rows_of(spec, "templates"):
        for task in rows_of(inside(template, "dag"), "tasks"):
            for one in rows_of(inside(task, "arguments"), "parameters"):
                if text_of(one, "name") == "runtime-config":
                    values = inside(_json(text_of(one, "value")), "parameterValues")
                    if values:
                        return values
    given = rows_of(inside(spec, "arguments"), "parameters")
    named = {text_of(one, "name"): text_of(one, "value") for one in given}
    return {name: value for name, value in named.items() if name and not name.startswith(_PARTS)}


def _images(raw: Raw, notes: Raw) -> tuple[str, ...]:
    """The images of the components; in version 2 the templates name only those of Kubeflow itself."""
    spec = inside(raw, "spec")
    given = {text_of(one, "name"): text_of(one, "value") for one in rows_of(inside(spec, "arguments"), "parameters")}
    texts = [str(text) for name, text in {**notes, **given}.items() if "implementations-" in name]
    if texts:
        found = {text_of(_json(text), "image") for text in texts}
    else:
        found = {text_of(inside(one, "container"), "image") for one in rows_of(spec, "templates")}
    return tuple(sorted(found - {""}))


def _tasks(raw: Raw) -> Iterator[Task]:
    """The nodes of a workflow; the attempts of what is retried bear its name and key."""
    nodes = {key: one for key, one in inside(raw, "status", "nodes").items() if isinstance(one, dict)}
    parents = dict(_retried(nodes))
    root = text_of(inside(raw, "metadata"), "name")
    for key, one in nodes.items():
        if key == root or text_of(one, "type") in _STRUCTURE:
            continue
        parent, attempt = parents.get(key, (key, 1))
        started = when(one, "startedAt")
        yield Task(
            parent, text_of(nodes[parent], "displayName"), text_of(one, "type"), text_of(one, "phase") or "Pending",
            started, started, when(one, "finishedAt"), attempt,
        )  # fmt: skip


def _retried(nodes: Mapping[str, Raw]) -> Iterator[tuple[str, tuple[str, int]]]:
    """(attempt, what is retried, number): children that bear its name; what comes behind it may be among them."""
    for key, one in nodes.items():
        children = one.get("children")
        if text_of(one, "type") != "Retry" or not isinstance(children, list):
            continue
        for child in children:
            name = text_of(nodes.get(child, {}), "name") if isinstance(child, str) else ""
            number = name.removeprefix(text_of(one, "name"))
            if match := _ATTEMPT.fullmatch(number):
                yield child, (key, int(match[1]) + 1)
