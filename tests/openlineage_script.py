"""Writes run events with the real openlineage-python; run by the python of an environment that has it.

usage: openlineage_script.py FOLDER: `runs.ndjson` as the file transport appends them, and `single/` with one file each.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path
from typing import Any

from openlineage.client import OpenLineageClient
from openlineage.client.event_v2 import (
    InputDataset,
    Job,
    OutputDataset,
    Run,
    RunEvent,
    RunState,
)
from openlineage.client.generated import (
    data_quality_assertions_dataset as assertions,
)
from openlineage.client.generated import data_quality_metrics_input_dataset as metrics
from openlineage.client.generated import dataset_version_dataset as version
from openlineage.client.generated import error_message_run as error
from openlineage.client.generated import execution_parameters_run as parameters
from openlineage.client.generated import output_statistics_output_dataset as statistics
from openlineage.client.generated import parent_run as parent
from openlineage.client.generated import schema_dataset as schema
from openlineage.client.generated import source_code_location_job as code
from openlineage.client.transport.file import FileConfig, FileTransport

PRODUCER = "https://example.com/pipelines"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
IDS = {name: f"0198f000-0000-7000-8000-{number:012d}"
       for number, name in enumerate(("dag", "prepare", "check", "train", "again", "stopped", "wider"), 1)}  # fmt: skip


def at(minute: int) -> str:
    return f"2026-11-02T10:{minute:02d}:00.500000Z"


def event(kind: str, minute: int, run: str, job: str, **more: Any) -> Any:
    facets, job_facets = more.pop("facets", {}), more.pop("job_facets", {})
    return RunEvent(
        eventType=RunState[kind], eventTime=at(minute), producer=PRODUCER, run=Run(IDS[run], facets=facets),
        job=Job("ml", job, facets=job_facets), **more,
    )  # fmt: skip


def columns(*names: str) -> Any:
    return schema.SchemaDatasetFacet(
        fields=[schema.SchemaDatasetFacetFields(name=name, type="DOUBLE") for name in names]
    )


def features(wrote: str, *names: str) -> Any:
    return OutputDataset(
        "s3://lake", "features/claims",
        facets={"version": version.DatasetVersionDatasetFacet(wrote), "schema": columns(*names)},
        outputFacets={"outputStatistics": statistics.OutputStatisticsOutputDatasetFacet(rowCount=1000, size=64000)},
    )  # fmt: skip


def read(wrote: str) -> Any:
    return InputDataset("s3://lake", "features/claims", facets={"version": version.DatasetVersionDatasetFacet(wrote)})


def checked() -> Any:
    asserted = assertions.Assertion
    counted = {"age": metrics.ColumnMetrics(nullCount=30), "amount": metrics.ColumnMetrics(nullCount=0)}
    return InputDataset(
        "s3://lake", "features/claims", facets={"version": version.DatasetVersionDatasetFacet("7")},
        inputFacets={
            "dataQualityMetrics": metrics.DataQualityMetricsInputDatasetFacet(rowCount=1000, columnMetrics=counted),
            "dataQualityAssertions": assertions.DataQualityAssertionsDatasetFacet(assertions=[
                asserted(assertion="not_null", success=False, column="age"),
                asserted(assertion="not_null", success=True, column="amount"),
                asserted(assertion="row_count", success=False, severity="warn"),
            ]),
        },
    )  # fmt: skip


def began() -> Any:
    return {"parent": parent.ParentRunFacet(run=parent.Run(IDS["dag"]), job=parent.Job("airflow", "nightly"))}


def source() -> Any:
    return {"sourceCodeLocation": code.SourceCodeLocationJobFacet(
        type="git", url="https://git.example.com/ml/claims", version=COMMIT, branch="main")}  # fmt: skip


def events() -> list[Any]:
    model = OutputDataset("models", "claims-risk", facets={"version": version.DatasetVersionDatasetFacet("12")})
    rate = parameters.ExecutionParametersRunFacet(
        parameters=[parameters.ExecutionParameter(key="learning_rate", value="0.1")]
    )
    failed = error.ErrorMessageRunFacet(message="out of memory\nin step 3", programmingLanguage="python")
    return [
        event("START", 0, "prepare", "prepare_claims", facets=began()),
        event("COMPLETE", 5, "prepare", "prepare_claims", outputs=[features("7", "age", "amount")]),
        event("START", 6, "check", "check_claims", facets=began()),
        event("COMPLETE", 7, "check", "check_claims", inputs=[checked()]),
        event("START", 10, "train", "train_claims", inputs=[read("7")], job_facets=source(),
              facets={**began(), "executionParameters": rate}),
        event("RUNNING", 15, "train", "train_claims"),
        event("COMPLETE", 20, "train", "train_claims", outputs=[model]),
        event("START", 30, "again", "train_claims", inputs=[read("7")]),
        event("FAIL", 33, "again", "train_claims", facets={"errorMessage": failed}),
        event("START", 40, "stopped", "train_claims"),
        event("ABORT", 41, "stopped", "train_claims"),
        event("START", 50, "wider", "prepare_claims"),
        event("COMPLETE", 55, "wider", "prepare_claims", outputs=[features("8", "age", "amount", "channel")]),
    ]  # fmt: skip


def main(folder: Path) -> None:
    (folder / "single").mkdir(parents=True)
    mixed = events()
    random.Random(7).shuffle(mixed)
    for where, append in ((folder / "runs.ndjson", True), (folder / "single" / "event", False)):
        transport = FileTransport(FileConfig(log_file_path=str(where), append=append))
        client = OpenLineageClient(transport=transport)
        for one in mixed:
            client.emit(one)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
