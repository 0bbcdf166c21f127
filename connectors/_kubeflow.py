"""What Kubeflow Pipelines says of runs, tasks and artifacts: the same for its old and its new API."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from connectors._fields import Raw, Unusable, finite, inside, rows_of, text_of, time_of

UNSPECIFIED = "RUNTIME_STATE_UNSPECIFIED"
FINAL = frozenset({"SUCCEEDED", "SKIPPED", "FAILED", "CANCELED"})
"""States that a run leaves only where somebody retries it."""
REUSED = frozenset({"CACHED", "SKIPPED"})
"""States of a task whose results were made by an earlier run; before there was CACHED, SKIPPED said so."""
_COMMIT = re.compile(r"(?<![0-9a-f])(?:[0-9a-f]{64}|[0-9a-f]{40})(?![0-9a-f])")
_DIGEST = re.compile(r"@(sha256:[0-9a-f]{64})")
_KINDS = {
    "Metrics": "Metric",
    "ClassificationMetrics": "ClassificationMetric",
    "SlicedClassificationMetrics": "SlicedClassificationMetric",
}
_VERSIONS = ("digest", "data_version", "dataset_version", "version")
"""What people call the version of a data set in an artifact's metadata, the most exact first."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One artifact; `kind` as the new API calls it, `value` of a metric alone."""

    id: str
    key: str
    name: str
    kind: str
    uri: str
    value: Any
    metadata: Raw
    created: int | None

    @property
    def place(self) -> str:
        """Where it lies, else what it is called."""
        return self.uri or self.name or self.key

    @property
    def version(self) -> str:
        """The version that is stated of it, "" where none is."""
        stated = (self.metadata.get(name) for name in _VERSIONS)
        found = next((str(one) for one in stated if isinstance(one, str | int) and one not in ("", True, False)), "")
        return found or self.digest

    @property
    def digest(self) -> str:
        """The digest in its address or its metadata, "" where there is none."""
        match = _DIGEST.search(self.uri)
        said = text_of(self.metadata, "digest") or text_of(self.metadata, "sha256")
        if match is None and re.fullmatch(r"(?:sha256:)?[0-9a-f]{64}", said):
            return said if said.startswith("sha256:") else f"sha256:{said}"
        return match[1] if match else ""


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a run; `ids` are outputs of which only the number is told."""

    id: str
    name: str
    kind: str
    word: str
    created: int | None
    started: int | None
    ended: int | None
    attempt: int
    inputs: tuple[Artifact, ...] = ()
    outputs: tuple[Artifact, ...] = ()
    ids: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """What a version of a pipeline says of what its runs do."""

    name: str = ""
    commit: str = ""
    images: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """One run; names are "" until they are asked for. `tasks` is None where nothing was told of them."""

    id: str
    title: str
    word: str
    created: int
    finished: int | None
    history: tuple[tuple[int, str], ...]
    experiment_id: str
    pipeline_id: str
    version_id: str
    recurring: str
    parameters: Raw
    plugins: Mapping[str, str]
    version: Version
    pipeline: str = ""
    experiment: str = ""
    namespace: str = ""
    tasks: tuple[Task, ...] | None = None
    detailed: bool = False

    def digest(self) -> str:
        """Changes when anything in it does that a list tells."""
        return hashlib.sha256(repr((self.word, self.finished, self.history)).encode()).hexdigest()[:10]


def run_of(raw: Any) -> Run:
    """Raises Unusable for what is no run, and for one that the server could not read."""
    if not isinstance(raw, dict):
        raise Unusable("what is there is no run")
    key = text_of(raw, "run_id")
    if not key or len(key) > 100:
        raise Unusable("a run has no id")
    if raw.get("error") and not text_of(raw, "created_at"):
        raise Unusable("the server says that it cannot read a run")
    reference = inside(raw, "pipeline_version_reference") or inside(raw, "pipeline_reference")
    spec = _spec(raw)
    tasks, detailed = _tasks(raw)
    return Run(
        id=key,
        title=text_of(raw, "display_name"),
        word=text_of(raw, "state") or UNSPECIFIED,
        created=time_of(raw, "created_at"),
        finished=when(raw, "finished_at"),
        history=_history(raw),
        experiment_id=text_of(raw, "experiment_id"),
        pipeline_id=text_of(reference, "pipeline_id"),
        version_id=text_of(reference, "pipeline_version_id") or text_of(raw, "pipeline_version_id"),
        recurring=text_of(raw, "recurring_run_id"),
        parameters=inside(raw, "runtime_config", "parameters"),
        plugins=_plugins(raw),
        version=Version(images=_images(spec)),
        pipeline=_pipeline_name(spec),
        tasks=tasks,
        detailed=detailed,
    )


def version_of(raw: Any) -> Version:
    """The name, the commit and the images of a version of a pipeline."""
    if not isinstance(raw, dict):
        return Version()
    found = set(_COMMIT.findall(text_of(raw, "code_source_url")))
    commit = found.pop() if len(found) == 1 else ""
    return Version(text_of(raw, "display_name") or text_of(raw, "name"), commit, _images(_spec(raw)))


def artifact_of(raw: Raw, key: str = "") -> Artifact:
    """An artifact of the new API, or of the older one that names its type as ML Metadata does."""
    said = (text_of(raw, "type") or text_of(raw, "artifact_type")).removeprefix("system.")
    metadata = raw.get("metadata")
    return Artifact(
        id=text_of(raw, "artifact_id"),
        key=key,
        name=text_of(raw, "name"),
        kind=_KINDS.get(said, said),
        uri=text_of(raw, "uri"),
        value=raw.get("number_value"),
        metadata=metadata if isinstance(metadata, dict) else {},
        created=when(raw, "created_at"),
    )


def wanted(run: Run) -> list[tuple[int, str, str]]:
    """(place of the task, key, id) of the outputs of which only the id is told, each id once."""
    found: dict[str, tuple[int, str, str]] = {}
    for place, task in enumerate(run.tasks or ()):
        for key, number in task.ids:
            found.setdefault(number, (place, key, number))
    return list(found.values())


def completed(run: Run, found: Mapping[int, list[Artifact]]) -> Run:
    """The run with artifacts that were asked for, by the place of their task."""
    tasks = tuple(
        replace(task, outputs=(*task.outputs, *found.get(place, ()))) for place, task in enumerate(run.tasks or ())
    )
    return replace(run, tasks=tasks)


def when(raw: Raw, name: str) -> int | None:
    """A time that may be absent; the year 1970 of a run that goes on is."""
    try:
        return time_of(raw, name, 0) or None
    except Unusable:
        return None


def _history(raw: Raw) -> tuple[tuple[int, str], ...]:
    told = [(when(one, "update_time"), text_of(one, "state")) for one in rows_of(raw, "state_history")]
    return tuple(sorted(((ts, word) for ts, word in told if ts and word), key=lambda one: one[0]))


def _plugins(raw: Raw) -> dict[str, str]:
    """What plugins left behind, such as the run of MLflow that belongs to this one."""
    found = {}
    for plugin, told in inside(raw, "plugins_output").items():
        for name, entry in inside(told, "entries").items():
            value = entry.get("value") if isinstance(entry, dict) else None
            if isinstance(value, str | int | float) and not isinstance(value, bool):
                found[f"{plugin}.{name}"] = str(value)
    return found


# -- pipelines


def _spec(raw: Raw) -> Raw:
    spec = inside(raw, "pipeline_spec")
    return inside(spec, "pipeline_spec") or spec


def _pipeline_name(spec: Raw) -> str:
    return text_of(inside(spec, "pipelineInfo") or inside(spec, "pipeline_info"), "name")


def _images(spec: Raw) -> tuple[str, ...]:
    deployment = inside(spec, "deploymentSpec") or inside(spec, "deployment_spec")
    found = {text_of(inside(one, "container"), "image") for one in inside(deployment, "executors").values()}
    return tuple(sorted(found - {""}))


# -- tasks


def _tasks(raw: Raw) -> tuple[tuple[Task, ...] | None, bool]:
    """The tasks, None where nothing is told of them; and whether all is told that the new API knows."""
    if isinstance(raw.get("tasks"), list) and raw["tasks"]:
        return tuple(_new_task(one) for one in rows_of(raw, "tasks")), True
    details = inside(raw, "run_details")
    if isinstance(details.get("task_details"), list):
        return tuple(_old_task(one) for one in rows_of(details, "task_details")), False
    return None, False


def _new_task(raw: Raw) -> Task:
    return Task(
        text_of(raw, "task_id"), text_of(raw, "display_name") or text_of(raw, "name"), text_of(raw, "type"),
        text_of(raw, "state"), when(raw, "create_time"), _started(raw), when(raw, "end_time"), 1,
        tuple(_told(inside(raw, "inputs"))), tuple(_told(inside(raw, "outputs"))),
    )  # fmt: skip


def _old_task(raw: Raw) -> Task:
    failed = inside(raw, "executor_detail").get("failed_main_jobs")
    ids = [
        (key, str(number))
        for key, told in inside(raw, "outputs").items()
        for number in (told.get("artifact_ids") if isinstance(told, dict) else None) or ()
        if isinstance(number, str | int)
    ]
    return Task(
        text_of(raw, "task_id"), text_of(raw, "display_name"), "", text_of(raw, "state"), when(raw, "create_time"),
        when(raw, "start_time") or _started(raw), when(raw, "end_time"),
        1 + (len(failed) if isinstance(failed, list) else 0), ids=tuple(ids),
    )  # fmt: skip


def _started(raw: Raw) -> int | None:
    return next((ts for ts, word in _history(raw) if word == "RUNNING"), None)


def _told(raw: Raw) -> Iterator[Artifact]:
    for group in rows_of(raw, "artifacts"):
        for one in rows_of(group, "artifacts"):
            yield artifact_of(one, text_of(group, "artifact_key"))


def text_of_value(value: Any) -> str:
    """A parameter as text: numbers and lists as JSON writes them."""
    if isinstance(value, str):
        return value
    number = finite(value)
    whole = number is not None and number.is_integer()
    return str(int(number or 0)) if whole else json.dumps(value, sort_keys=True)
