"""Exported workflows of Kubeflow Pipelines and saved answers of its API; what the connector says of itself."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import kubeflow
from connectors._files import item
from tandem import connect, times
from tandem.cli import main
from tandem.config import parse as configuration
from tandem.connect import Given
from tandem.records import Confusion, Page
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.kubeflow_server import DIGEST
from tests.test_kubeflow import configured, events, facts, reasons, samples

HERE = Path(__file__).parent / "payloads" / "kubeflow"


def at(text: str) -> int:
    return times.iso(f"2026-11-{text}Z")


def parsed(name: str, config: kubeflow.Config | None = None) -> list[Page]:
    one = item(HERE / name, Given())
    assert [known for known in connect.names() if connect.load(known).recognise(one)] == ["kubeflow"]
    return list(kubeflow.parse(one, config or configured()))


def test_a_list_of_runs_tells_attempts_schedules_and_validations() -> None:
    pages = parsed("runs.json")
    assert [(e.kind, e.attempt, e.outcome, e.started, e.ended) for e in events(pages)] == [
        ("training", 1, "good", at("02T02:00:10"), at("02T02:31:40")),
        ("validation", 2, "good", at("02T02:00:20"), at("02T02:02:20")),
        ("training", 1, "bad", at("02T09:00:20"), at("02T09:10:20")),
        ("training", 2, "good", at("02T11:00:00"), at("02T11:05:00")),
        ("training", 1, "open", at("02T13:00:01"), None),
    ]  # fmt: skip
    scheduled, _, by_hand, *_ = events(pages)
    assert (scheduled.trigger, scheduled.data_version, by_hand.trigger) == ("schedule", "2026-11-01", "manual")
    assert dict(by_hand.labels)["image"] == f"registry.example.com/fraud/train@{DIGEST}"
    assert dict(by_hand.labels)["pipeline"] == "fraud-train"
    assert reasons(pages) == {}


def test_a_whole_run_tells_its_metrics_its_counts_and_its_data() -> None:
    pages = parsed("run.json")
    (run,) = events(pages)
    digest = "sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752"
    assert (run.data_version, run.digest, run.trigger) == ("delta-v118", digest, "schedule")
    assert dict(run.labels)["input.1"] == "s3://lake/transactions/2026-11-08"
    assert [(s.series.name, s.value, s.series.stage) for s in samples(pages)] == [
        ("loss", 0.31, "training"), ("accuracy", 0.9, "evaluation")]  # fmt: skip
    (fact,) = facts(pages)
    assert fact.value == Confusion({("genuine", "genuine"): 850, ("genuine", "fraud"): 50,
                                    ("fraud", "genuine"): 50, ("fraud", "fraud"): 50})  # fmt: skip
    assert samples(pages)[1].value == (850 + 50) / 1000  # the metric that the same task states


def test_a_workflow_of_version_1_tells_its_run_and_each_attempt_of_a_validation() -> None:
    pages = parsed("workflow.json")
    (run, *checks) = events(pages)
    assert (run.key, run.outcome, run.trigger) == ("3d8f9a10-aaaa-4bbb-8ccc-0123456789ab", "bad", "manual")
    assert (run.ts, run.started, run.ended) == (at("03T06:00:00"), at("03T06:00:02"), at("03T06:20:02"))
    assert run.title == "Churn training 2026-11-03 06-00-00"
    assert dict(run.labels) == {
        "pipeline": "Churn training", "namespace": "ml-team", "status": "Failed", "param.rate": "0.01",
        "images": "registry.example.com/churn/checks:4, registry.example.com/churn/train:4",
    }  # fmt: skip
    assert [(e.attempt, e.outcome, e.started, e.ended) for e in checks] == [
        (1, "bad", at("03T06:00:02"), at("03T06:01:00")), (2, "good", at("03T06:01:10"), at("03T06:03:30")),
    ]  # fmt: skip
    assert len({e.key for e in checks}) == 1
    assert samples(pages) == []


def test_workflows_of_version_2_tell_schedule_parameters_images_and_who_was_stopped() -> None:
    pages = parsed("workflows.json")
    scheduled, check, stopped, going = events(pages)
    assert (scheduled.outcome, scheduled.trigger, scheduled.data_version) == ("good", "schedule", "2026-11-03")
    assert dict(scheduled.labels) == {
        "pipeline": "fraud-train", "namespace": "ml-team", "status": "Succeeded", "param.learning_rate": "0.1",
        "param.data_version": "2026-11-03", "recurring_run": "nightly-fraud-4kd9s",
        "image": f"registry.example.com/fraud/train@{DIGEST}",
    }  # fmt: skip
    assert (check.kind, dict(check.labels)["task"], check.outcome) == ("validation", "validate-model", "good")
    assert (stopped.outcome, dict(stopped.labels)["status"]) == ("excluded", "Terminated")
    assert (going.outcome, going.ended) == ("open", None)


@pytest.mark.parametrize(
    ("phase", "outcome"), [(word, what) for word, what in kubeflow.ABOUT.status.items() if not word.isupper()]
)
def test_every_phase_of_a_workflow_has_an_outcome(tmp_path: Path, phase: str, outcome: str) -> None:
    raw = json.loads((HERE / "workflow.json").read_text())
    raw["status"]["phase"] = "Failed" if phase == "Terminated" else phase
    if phase == "Terminated":
        raw["spec"]["shutdown"] = "Stop"
    path = tmp_path / "w.json"
    path.write_text(json.dumps(raw))
    assert events(list(kubeflow.parse(item(path, Given()), configured())), "training")[0].outcome == outcome


def test_files_are_imported_under_either_name_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "kfp"\nname = "runs"\nurl = "https://kubeflow.example.com"\ncomponent = "fraud"\n'
    )
    for given in (sorted(HERE.glob("*.json")), [HERE / "workflows.json", HERE / "run.json"]):
        done = CliRunner().invoke(main, ["import", *map(str, given)])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        reader = Reader(store)
        totals = {}
        for signal, kind in (("training_success", "ratio"), ("outcome", "confusion")):
            ids = [one.id for one in reader.series(signal=signal)]
            totals[signal] = [merge for [merge] in reader.totals(kind, ids, [(0, 1 << 40)]).values() if merge]
    # Good: nightly, by hand in the end, of the 9th, of the 4th; bad: the workflow of version 1.
    assert [sum(int(merge[place]) for merge in totals["training_success"]) for place in (0, 1)] == [4, 5]
    assert sum(int(n) for merge in totals["outcome"] for [n] in merge.values()) == 1000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"run_id": None}, "a run has no id"),
        ({"created_at": "1970-01-01T00:00:00Z"}, "an object has no created_at"),
        ({"created_at": "yesterday"}, "created_at"),
    ],
)
def test_a_run_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    rows = json.loads((HERE / "runs.json").read_text())["runs"]
    path = tmp_path / "runs.json"
    path.write_text(json.dumps({"runs": [{**rows[0], **change}, rows[2], 17]}))
    pages = list(kubeflow.parse(item(path, Given()), configured()))
    assert [e.outcome for e in events(pages)] == ["open"]
    assert [said for said in reasons(pages) if reason in said]


def test_files_of_other_pipelines_are_left_out_and_counted() -> None:
    pages = parsed("workflows.json", configured(ignore=("fraud-*",)))
    assert events(pages) == []
    assert reasons(pages) == {"runs of other pipelines than those that are configured are left out": 3}
    assert len(events(parsed("workflow.json", configured(pipelines=("Churn*",))), "training")) == 1


def test_a_workflow_that_was_only_compiled_is_named(tmp_path: Path) -> None:
    raw = json.loads((HERE / "workflow.json").read_text())
    raw["metadata"] = {"generateName": "churn-", "annotations": raw["metadata"]["annotations"]}
    del raw["status"]
    path = tmp_path / "w.json"
    path.write_text(json.dumps(raw))
    pages = list(kubeflow.parse(item(path, Given()), configured()))
    assert list(reasons(pages)) == ["a workflow has no run id and no uid; it was compiled, and never ran"]


@pytest.mark.parametrize(
    "text",
    ["[]", "{}", '{"run_id": "x", "display_name": "y"}', '{"apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow"}',
     "<html>", ""],
)  # fmt: skip
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert not kubeflow.recognise(item(path, Given()))


# -- what it says of itself


def test_scope_is_the_address_and_the_namespace() -> None:
    assert kubeflow.scope(configured("https://KF.corp/pipeline/", namespace="a")) == "kf.corp/pipeline#a"
    assert kubeflow.scope(configured("file:exports")) == "file:exports#"


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", kubeflow.ABOUT.example, flags=re.M) if uncommented else kubeflow.ABOUT.example
    components = '[[component]]\nname = "fraud-detector"\nkind = "model"\n[[source]]\n'
    (source,) = configuration(components + text, tmp_path / "tandem.toml").sources
    assert source.config.namespace == "ml-team"
    assert (source.config.pipelines == ("fraud-*",)) is uncommented


def test_its_aliases_load_it() -> None:
    assert {connect.canonical(name) for name in ("kubeflow", *kubeflow.ABOUT.aliases)} == {"kubeflow"}
