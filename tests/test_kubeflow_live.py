"""Kubeflow's own client and SDK, in an environment of their own: they read and write what is replayed."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
from sklearn.metrics import confusion_matrix

from connectors import kubeflow
from tandem.records import Confusion
from tests.environments import environment
from tests.kubeflow_server import DIGEST, Kubeflow
from tests.replay import serve
from tests.test_kubeflow import NOW, configured, events, facts, pulled, samples
from tests.test_kubeflow_numbers import CLASSES, judged

REQUIREMENTS = ("kfp==2.17.0", "kfp-server-api==2.17.3")
HERE = Path(__file__).parent / "payloads" / "kubeflow"

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]

WRITE = """
import json, sys
import kfp_server_api as api
class Body:
    data = open(sys.argv[1]).read()
client = api.ApiClient(api.Configuration(host=sys.argv[2]))
runs = client.deserialize(Body, "V2beta1ListRunsResponse")
service = api.RunServiceApi(client)
asked, token = [], ""
while True:
    more = {"page_token": token} if token else {}
    page = service.run_service_list_runs(page_size=200, sort_by="created_at asc", filter=sys.argv[3], **more)
    asked += page.runs or []
    token = page.next_page_token
    if not token:
        break
one = service.run_service_get_run(asked[0].run_id)
names = [api.ExperimentServiceApi(client).experiment_service_get_experiment(one.experiment_id).display_name]
reference = one.pipeline_version_reference
pipelines = api.PipelineServiceApi(client)
names.append(pipelines.pipeline_service_get_pipeline(reference.pipeline_id).display_name)
version = pipelines.pipeline_service_get_pipeline_version(reference.pipeline_id, reference.pipeline_version_id)
told = [[run.run_id, run.state, run.created_at.timestamp(), run.finished_at.timestamp(), run.recurring_run_id,
         [[one.state, one.update_time.timestamp()] for one in run.state_history or []]] for run in asked]
print(json.dumps({"runs": client.sanitize_for_serialization(runs), "asked": told, "names": names,
                  "source": version.code_source_url, "total": page.total_size,
                  "states": api.V2beta1RuntimeState.allowable_values}))
"""


COMPILE = """
import json, sys
from google.protobuf.json_format import MessageToDict
from kfp import dsl

@dsl.component(base_image=sys.argv[1])
def train(rate: float, model: dsl.Output[dsl.Model], metrics: dsl.Output[dsl.Metrics]):
    pass

@dsl.component(base_image=sys.argv[1])
def validate_data(data: dsl.Input[dsl.Dataset]):
    pass

@dsl.pipeline(name="fraud-train")
def pipeline(rate: float = 0.1):
    data = dsl.importer("s3://lake/raw", artifact_class=dsl.Dataset, metadata={"version": "v42"})
    validate_data(data=data.output)
    train(rate=rate)

counted, scalar = dsl.ClassificationMetrics(), dsl.Metrics()
counted.log_confusion_matrix(*json.loads(sys.argv[2]))
counted.log_roc_curve([0.0, 1.0], [0.0, 1.0], [1.0, 0.0])
scalar.log_metric("val_accuracy", 0.9)
print(json.dumps({"spec": MessageToDict(pipeline.pipeline_spec), "counted": counted.metadata,
                  "scalar": scalar.metadata}))
"""


def told_by(script: str, *given: str) -> Any:
    python = environment("kubeflow", REQUIREMENTS)
    # Its wrapped functions are read from their file.
    with tempfile.NamedTemporaryFile("w", suffix=".py") as file:
        file.write(script)
        file.flush()
        done = subprocess.run([str(python), file.name, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def test_the_official_client_reads_what_is_replayed_and_writes_the_saved_answer_again() -> None:
    """No field of the payload is unknown to the client, no state to the connector, and both see the same runs."""
    server = Kubeflow(tells="no")
    pipeline = server.pipeline(source="https://git.example.com/x/commit/" + "c" * 40)
    keys: dict[str, Any] = {"experiment": server.experiment(), "pipeline": pipeline}
    for number in range(230):
        server.done(NOW - 20_000 + 60 * number, "FAILED" if number % 7 == 0 else "SUCCEEDED", **keys)
    first = next(iter(server.runs.values()))
    server.to(server.retry(first, NOW - 3000), NOW - 2000, "SUCCEEDED")
    server.task(first, "validate-data", NOW - 19_900, failed=1)
    with serve(server.answer) as running:
        found = events(pulled(configured(running.url)), "training")
        within = dict(server.asked[0].query)["filter"]
        told = told_by(WRITE, str(HERE / "runs.json"), running.url, within)
    expected = json.loads((HERE / "runs.json").read_text())
    assert normal(told["runs"]) == normal(expected)
    assert told["total"] == len(told["asked"]) == 230
    last = {e.key: e for e in sorted(found, key=lambda e: e.attempt)}
    assert [(key, created, finished) for key, _, created, finished, *_ in told["asked"]] == [
        (e.key, e.ts, e.ended) for e in last.values()]  # fmt: skip
    assert {word for _, word, *_ in told["asked"]} == {"SUCCEEDED", "FAILED"}
    assert [len(told["asked"][0][5]), max(e.attempt for e in found)] == [5, 2]
    assert told["names"] == ["nightly", "fraud-train"]
    assert told["source"].endswith("c" * 40)
    assert set(told["states"]) <= set(kubeflow.ABOUT.status)


def test_what_the_sdk_compiles_and_logs_is_what_is_read() -> None:
    """Matrices, metrics and the specification of a pipeline are in the form that kfp itself gives them."""
    actual, predicted = judged(11)
    image = f"registry.example.com/train@{DIGEST}"
    matrix = [CLASSES, confusion_matrix(actual, predicted, labels=CLASSES).tolist()]
    told = told_by(COMPILE, image, json.dumps(matrix))
    server = Kubeflow()
    pipeline = server.pipeline()
    server.versions[pipeline["pipeline_version_id"]]["pipeline_spec"] = {"pipeline_spec": told["spec"]}
    server.done(NOW - 5000, pipeline_spec=told["spec"])
    run = server.done(NOW - 9000, pipeline=pipeline)
    task = server.task(run, "evaluate", NOW - 8900)
    server.artifact(task, "ClassificationMetric", "cm", NOW - 8800, metadata=told["counted"])
    for name, value in told["scalar"].items():
        server.artifact(task, "Metric", name, NOW - 8800, "metrics", number_value=value, metadata={name: value})
    with serve(server.answer) as running:
        pages = pulled(configured(running.url))
    pairs = list(zip(actual, predicted, strict=True))
    assert [fact.value for fact in facts(pages)] == [Confusion({pair: pairs.count(pair) for pair in set(pairs)})]
    assert [(one.series.name, one.value) for one in samples(pages)] == [("val_accuracy", 0.9)]
    assert [dict(one.labels)["image"] for one in events(pages)] == [image, image]
    assert dict(events(pages)[1].labels)["pipeline"] == "fraud-train"


def normal(value: Any) -> Any:
    """The same with times as epoch texts: the client writes +00:00 for Z, and leaves out what is empty."""
    if isinstance(value, dict):
        return {name: normal(one) for name, one in value.items()}
    if isinstance(value, list):
        return [normal(one) for one in value]
    return value.replace("+00:00", "Z") if isinstance(value, str) else value
