"""What two pipelines tell by OpenLineage: training sets made each Saturday or before a training, checks, trainings.

One file of run events, as openlineage-python's file transport appends them. A training goes by the id of its MLflow
run: the client takes its 32 digits for the UUID that they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from sample_data.mlflow_export import FAILED, Run, runs
from sample_data.packing import gzipped, uuid7
from sample_data.story import (
    DAY,
    END,
    FAILED_CHECK,
    HOUR,
    RETRAINED,
    START,
    at,
    random_of,
    stamp,
)

CLIENT = "https://github.com/OpenLineage/OpenLineage/tree/1.54.0/client/python"
AIRFLOW = "https://github.com/apache/airflow/tree/providers-openlineage/2.7.3"
SPEC = "https://openlineage.io/spec"
NAMESPACE, LAKE, MODEL_STORE = "northlight", "s3://northlight-lake", "s3://northlight-models"
WEEK = 7 * DAY
SATURDAY = at("2026-08-22 00:00") % WEEK
Json = dict[str, Any]


@dataclass(frozen=True)
class Pipeline:
    """One model's way from the lake to a trained model; `weekly`: its training set is made every Saturday too."""

    model: str
    weekly: bool
    sources: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]
    rows: int
    missing: Mapping[str, float]
    """Share of the rows of a training set that miss a value, by column; a model trains on the others."""

    @property
    def dag(self) -> str:
        """The name of its graph of jobs."""
        return self.model.replace("-", "_")

    @property
    def table(self) -> str:
        """The name of its training set."""
        return f"training/{self.dag}"

    def job(self, task: str) -> str:
        """The name of one of its jobs, as Airflow has it."""
        return f"{self.dag}.{task}"


PIPELINES = (
    Pipeline(
        "fraud-detector", True, ("payments/orders", "payments/chargebacks"),
        (("amount", "double"), ("age_days", "double"), ("items", "bigint"), ("distance_km", "double"),
         ("card_type", "string"), ("channel", "string"), ("country", "string"), ("label", "bigint")),
        212_000, {"distance_km": 0.031},
    ),
    Pipeline(
        "eta-regressor", False, ("delivery/trips", "delivery/weather"),
        (("distance_km", "double"), ("items", "bigint"), ("courier_load", "double"), ("prepare_minutes", "double"),
         ("vehicle", "string"), ("weather", "string"), ("minutes", "double")),
        96_000, {"weather": 0.018},
    ),
)  # fmt: skip
CHECKS = (("row_count_between", None), ("not_null", "label"), ("not_null", "amount"), ("accepted_values", "card_type"))
CUT, CHECKED = 2 * HOUR + 600, 2 * HOUR + 2400
"""When, after midnight, a training set is begun and is checked."""


def write(folder: Path) -> None:
    """openlineage/events.ndjson.gz, in order of time."""
    events = sorted(_events(), key=lambda one: (one["eventTime"], one["run"]["runId"]))
    lines = [json.dumps(one, sort_keys=True, separators=(",", ":")) for one in events]
    gzipped(folder / "openlineage" / "events.ndjson.gz", "".join(f"{line}\n" for line in lines).encode())


def truth() -> str:
    """How many of what the events tell, as tables of truth.toml."""
    found = []
    for one in PIPELINES:
        told = trained(one)
        made = list(_made(one))
        found += [
            "[[pipeline_events]]", f'component = "{one.model}"', 'source = "lineage"', f"data_versions = {len(made)}",
            f"checks = {len(made) if one.weekly else 0}", f"checks_failed = {1 if one.weekly else 0}",
            f"trainings = {len(told)}", f"trainings_failed = {sum(run.status == FAILED for run in told)}", "",
        ]  # fmt: skip
    return "\n".join(found)


def trained(pipeline: Pipeline) -> list[Run]:
    """The trainings whose data was made since the events are kept, oldest first."""
    some = [run for run in runs(pipeline.model) if _cut_of(run.data_version) >= START]
    return sorted(some, key=lambda run: run.began)


def _cut_of(version: str) -> int:
    return at(f"{version[:10]} 00:00") + CUT


def _made(pipeline: Pipeline) -> Iterator[tuple[int, str]]:
    """(when it was begun, its version) of every training set."""
    wanted = {run.data_version[:10]: run.data_version for run in trained(pipeline)}
    for day in range(START, END, DAY):
        date = stamp(day)[:10]
        if date in wanted:
            yield day + CUT, wanted[date]
        elif pipeline.weekly and day % WEEK == SATURDAY:
            yield day + CUT, f"{date}@{_short(pipeline.table, date)[:8]}"


def _events() -> Iterator[Json]:
    for pipeline in PIPELINES:
        random = random_of("openlineage", pipeline.model)
        for begun, version in _made(pipeline):
            yield from _build(pipeline, begun, version, random)
            if pipeline.weekly:
                yield from _check(pipeline, begun - CUT + CHECKED, version)
        for run in trained(pipeline):
            yield from _training(pipeline, run, random)


def _build(pipeline: Pipeline, begun: int, version: str, random: np.random.Generator) -> Iterator[Json]:
    run = uuid7(f"build {pipeline.model} {version}", begun)
    took, rows = int(random.integers(300, 900)), pipeline.rows + int(random.integers(-4000, 4000))
    code = {"sourceCodeLocation": _code("feature-pipelines", _short("feature-pipelines", stamp(begun)[:7])[:40])}
    by_hand = any(one.by_hand for one in trained(pipeline) if one.data_version == version)
    began = _facets(pipeline, begun, str(RETRAINED.size["trigger"]) if by_hand else "scheduled")
    inputs = [_dataset(LAKE, name) for name in pipeline.sources]
    wrote = {
        "version": _version(version),
        "schema": _facet("1-2-0", "SchemaDatasetFacet",
                         fields=[{"name": name, "type": kind, "fields": []} for name, kind in pipeline.columns]),
    }  # fmt: skip
    counted = _facet("1-0-2", "OutputStatisticsOutputDatasetFacet", rowCount=rows, size=rows * 61)
    output = {**_dataset(LAKE, pipeline.table, wrote), "outputFacets": {"outputStatistics": counted}}
    job = pipeline.job("build_training_set")
    yield _event("START", begun, run, job, began, code, inputs)
    yield _event("COMPLETE", begun + took, run, job, {}, {}, inputs, [output])


def _check(pipeline: Pipeline, begun: int, version: str) -> Iterator[Json]:
    run = uuid7(f"check {pipeline.model} {version}", begun)
    failed = begun - CHECKED == FAILED_CHECK.start // DAY * DAY
    told = [
        {
            "assertion": name,
            "params": {},
            "success": not (failed and name == FAILED_CHECK.size["check"]),
            **_column(column),
        }
        for name, column in CHECKS
    ]
    asserted = {"dataQualityAssertions": _facet("1-1-0", "DataQualityAssertionsDatasetFacet", assertions=told)}
    inputs = [{**_dataset(LAKE, pipeline.table, {"version": _version(version)}), "inputFacets": asserted}]
    job = pipeline.job("check_training_set")
    yield _event("START", begun, run, job, _facets(pipeline, begun - CHECKED + CUT, "scheduled"), {}, [])
    yield _event("COMPLETE", begun + 45, run, job, {}, {}, inputs)


def _column(name: str | None) -> Json:
    return {} if name is None else {"column": name}


def _training(pipeline: Pipeline, run: Run, random: np.random.Generator) -> Iterator[Json]:
    begun, ended = run.began / 1000, (run.began + run.took) / 1000
    rows = pipeline.rows + int(random.integers(-4000, 4000))
    columns = {name: {"nullCount": int(rows * share), "quantiles": {}} for name, share in pipeline.missing.items()}
    measured = _facet("1-0-3", "DataQualityMetricsInputDatasetFacet", rowCount=rows, columnMetrics=columns)
    inputs = [{**_dataset(LAKE, pipeline.table, {"version": _version(run.data_version)}),
               "inputFacets": {"dataQualityMetrics": measured}}]  # fmt: skip
    kind = str(RETRAINED.size["trigger"]) if run.by_hand else "scheduled"
    given = [{"key": key, "value": run.params[key]} for key in ("learning_rate", "max_depth")]
    told = {**_facets(pipeline, int(begun), kind),
            "executionParameters": _facet("1-0-0", "ExecutionParametersRunFacet", parameters=given)}  # fmt: skip
    code = {"sourceCodeLocation": _code(pipeline.model, run.commit)}
    job = pipeline.job("train")
    yield _event("START", begun, run.id, job, told, code, inputs)
    if run.status == FAILED:
        error = _facet("1-0-1", "ErrorMessageRunFacet", message="MemoryError: Unable to allocate 3.1 GiB",
                       programmingLanguage="python")  # fmt: skip
        yield _event("FAIL", ended, run.id, job, {"errorMessage": error}, {}, [])
        return
    output = _dataset(MODEL_STORE, pipeline.model)
    yield _event("COMPLETE", ended, run.id, job, {}, {}, inputs, [output])


# -- events and facets


def _event(
    kind: str, ts: float, run: str, job: str, facets: Json, job_facets: Json, inputs: Sequence[Json],
    outputs: Sequence[Json] = (),
) -> Json:  # fmt: skip
    client = {"tags": [{"key": "openlineage_client_version", "source": "OPENLINEAGE_CLIENT", "value": "1.54.0"}]}
    return {
        "eventTime": datetime.fromtimestamp(ts, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "eventType": kind, "producer": AIRFLOW, "schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": run, "facets": {**facets, "tags": _facet("1-0-0", "TagsRunFacet", **client)}},
        "job": {"namespace": NAMESPACE, "name": job, "facets": job_facets}, "inputs": list(inputs),
        "outputs": list(outputs),
    }  # fmt: skip


def _facet(version: str, name: str, /, **said: Any) -> Json:
    return {"_producer": CLIENT, "_schemaURL": f"{SPEC}/facets/{version}/{name}.json#/$defs/{name}", **said}


def _facets(pipeline: Pipeline, begun: int, kind: str) -> Json:
    """The run of the whole graph, and what started it in Airflow's words."""
    day = begun // DAY * DAY
    whole = uuid7(f"graph {pipeline.model} {kind} {day}", day)
    told = {"run_id": f"{kind}__{stamp(begun).replace('Z', '+00:00')}", "run_type": kind, "dag_id": pipeline.dag}
    return {
        "parent": _facet("1-2-0", "ParentRunFacet", run={"runId": whole, "facets": {}},
                         job={"namespace": NAMESPACE, "name": pipeline.dag, "facets": {}}),
        "airflowDagRun": {"_producer": AIRFLOW, "_schemaURL": f"{SPEC}/2-0-2/OpenLineage.json#/$defs/RunFacet",
                          "dag": {"dag_id": pipeline.dag}, "dagRun": told},
    }  # fmt: skip


def _version(version: str) -> Json:
    return _facet("1-0-1", "DatasetVersionDatasetFacet", datasetVersion=version)


def _dataset(namespace: str, name: str, facets: Mapping[str, Any] | None = None) -> Json:
    return {"namespace": namespace, "name": name, "facets": dict(facets or {})}


def _code(repository: str, commit: str) -> Json:
    return _facet("1-1-0", "SourceCodeLocationJobFacet", type="git", branch="main", version=commit,
                  url=f"https://git.northlight.example/ml/{repository}")  # fmt: skip


def _short(*names: str) -> str:
    return hashlib.sha256("/".join(names).encode()).hexdigest()
