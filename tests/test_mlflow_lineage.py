"""MLflow: data versions, validations, what a model was made with, and logged models of MLflow 3."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from connectors._mlflow_environment import environment_of
from connectors._mlflow_objects import input_of
from tests import mlflow_pulls
from tests.mlflow_pulls import DATABASE, FOREST, LOGREG, NOW, SGD, events, findings, parsed, pull, state
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server

START = 1795248200000
RUN, EVALUATION = "a" * 32, "e" * 32
MODEL = "m-afb71bfe89e94a458d678e6e3a03c436"
"""The logged model of FOREST, registered as version 2."""
WROTE = PAYLOADS / "evaluating"


# Data


def test_a_data_set_is_a_data_version_that_trainings_name(server: Running) -> None:
    pages = pull(server)
    found = events(pages, "data_version")
    assert sorted(found) == ["1/claims-train@a8651205", "2/claims-train@a8651205"]
    one = found["2/claims-train@a8651205"]
    trainings = [e for e in events(pages, "training").values() if dict(e.labels)["experiment"] == "claim-triage"]
    assert {e.data_version for e in trainings if e.data_version} == {one.data_version} == {"a8651205"}
    assert one.ts == min(e.ts for e in trainings if e.data_version), "when the first run read it"
    assert (one.digest, one.run) == ("a8651205", ""), "nobody says who made it"
    told = dict(one.labels)
    assert (told["dataset"], told["context"], told["rows"], told["source_type"]) == (
        "claims-train", "training", "398", "code",
    )  # fmt: skip


def test_of_two_runs_that_read_the_same_the_first_one_dates_it(replay: Replay, server: Running) -> None:
    first = events(pull(server), "data_version")["2/claims-train@a8651205"]
    replay.add_run(RUN, START)
    replay.add_input(RUN, "claims-train", "a8651205", "training")
    later = [e for page in pull(server, NOW + 300, since=START // 1000 - 1) for e in page.records]
    told = [e for e in later if getattr(e, "key", "") == first.key]
    assert told and min(e.ts for e in told) <= START // 1000
    assert max(told, key=lambda e: e.revision).ts == min(e.ts for e in told), "the earliest counts"


@pytest.mark.parametrize(
    ("inputs", "named"),
    [
        ([("a", "1", "training"), ("b", "2", "eval")], "1"),
        ([("a", "1", ""), ("b", "2", "validation")], "1"),
        ([("a", "1", "train"), ("b", "2", "train"), ("c", "3", "reference")], "1,2"),
        ([("a", "1", "fine-tuning")], "1"),
        ([("a", "1", "test")], ""),
    ],
)
def test_a_training_names_the_data_that_it_learned_from(
    replay: Replay, server: Running, inputs: list[tuple[str, str, str]], named: str
) -> None:
    replay.add_run(RUN, START)
    for name, digest, context in inputs:
        replay.add_input(RUN, name, digest, context)
    pages = pull(server)
    run = events(pages, "training")[RUN]
    assert run.data_version == named
    assert {v for k, v in run.labels if k.startswith("input.")} == {f"{name}@{digest}" for name, digest, _ in inputs}
    told = {e.data_version for e in events(pages, "data_version").values()}
    assert set(filter(None, named.split(","))) <= told


@pytest.mark.parametrize(
    ("kind", "source", "place"),
    [
        ("s3", '{"uri": "s3://claims/train.parquet"}', "s3://claims/train.parquet"),
        ("http", '{"url": "https://ci:hunter2@host.example/x.csv?X-Amz-Signature=canary"}', "https://host.example/x.csv"),
        ("delta_table", '{"delta_table_name": "lake.claims", "delta_table_version": 7}', "lake.claims@7"),
        ("hugging_face", '{"path": "org/claims", "revision": "abc"}', "org/claims@abc"),
        ("code", '{"tags": {"mlflow.source.name": "train.py"}}', ""),
        ("local", '{"uri": 5}', ""),
        ("local", "no json", ""),
    ],
)  # fmt: skip
def test_where_data_lies_is_told_without_secrets(kind: str, source: str, place: str) -> None:
    assert input_of("claims", "1", "", kind, source, "").source == place


# What trained it


def test_what_started_a_run_is_told_by_its_tag(replay: Replay, server: Running) -> None:
    replay.tags.append({"run_uuid": SGD, "key": "trigger", "value": "schedule"})
    replay.tags.append({"run_uuid": SGD, "key": "mlflow.docker.image.id", "value": "sha256:abc"})
    one = events(pull(server), "training")[SGD]
    assert (one.trigger, dict(one.labels)["image"]) == ("schedule", "sha256:abc")
    assert events(pull(server, trigger="other"), "training")[SGD].trigger == ""


def texts(*names: str) -> dict[str, str]:
    return {name: (WROTE / name).read_text() for name in names}


def packages_of(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


REQUIREMENTS = "mlflow==3.17.2\nnumpy==2.4.6\npandas==3.1.1\nscikit-learn==1.9.1\nscipy==1.17.1\nskops==0.16.0"


def test_the_texts_beside_a_model_say_what_it_was_made_with() -> None:
    whole = environment_of(texts("MLmodel", "requirements.txt", "python_env.yaml", "conda.yaml"))
    assert (whole.python, whole.packages) == ("3.11.7", packages_of(REQUIREMENTS))
    assert environment_of(texts("python_env.yaml")).python == "3.11.7"
    conda = environment_of(texts("conda.yaml"))
    assert conda.python == "3.11.7" and conda.packages.startswith("sha256:")
    assert environment_of({}) == environment_of({"MLmodel": "flavors: {}\n", "requirements.txt": "# none\n-r other\n"})


def test_the_hash_of_packages_depends_on_neither_order_nor_spelling() -> None:
    spelt = "# pinned\nScikit_Learn == 1.9.1\n\nnumpy==2.4.6  # fast\n"
    assert environment_of({"requirements.txt": spelt}).packages == packages_of("numpy==2.4.6\nscikit-learn==1.9.1")
    other = environment_of({"requirements.txt": "numpy==2.4.7\nscikit-learn==1.9.1"})
    assert other.packages != environment_of({"requirements.txt": spelt}).packages


def described(replay: Replay, put: Any) -> None:
    for name in ("MLmodel", "requirements.txt", "python_env.yaml"):
        put(name, (WROTE / name).read_bytes())


def test_the_files_of_a_logged_model_are_read_where_asked_for(replay: Replay, server: Running, tmp_path: Path) -> None:
    described(replay, lambda name, data: replay.put_model(MODEL, name, data))
    assert "python" not in dict(events(pull(server), "training")[FOREST].labels)
    pages = pull(server, model_files=True)
    told = dict(events(pages, "training")[FOREST].labels)
    assert (told["python"], told["packages"]) == ("3.11.7", packages_of(REQUIREMENTS))
    assert "python" not in dict(events(pages, "training")[LOGREG].labels)
    replay.asked.clear()
    pull(server, NOW + 300, state(pages), model_files=True)
    assert not [path for path, _ in replay.asked if "artifacts" in path]
    replay.write_folder(tmp_path)
    assert dict(events(parsed(tmp_path), "training")[FOREST].labels)["python"] == "3.11.7"


def test_the_files_of_a_model_among_the_artifacts_of_its_run_are_read(
    replay: Replay, server: Running, tmp_path: Path
) -> None:
    """As MLflow 1 and 2 log models."""
    replay.add_run(RUN, START, end=START + 1000)
    history = '[{"run_id": "x", "artifact_path": "../../secret"}, {"run_id": "x", "artifact_path": "deep/model"}]'
    replay.tags.append({"run_uuid": RUN, "key": "mlflow.log-model.history", "value": history})
    described(replay, lambda name, data: replay.put(RUN, f"deep/model/{name}", data))
    assert dict(events(pull(server, model_files=True), "training")[RUN].labels)["python"] == "3.11.7"
    assert not [path for path, _ in replay.asked if "secret" in path]
    replay.write_folder(tmp_path)
    assert dict(events(parsed(tmp_path), "training")[RUN].labels)["python"] == "3.11.7"


# Logged models


def test_a_version_that_states_no_run_has_that_of_its_logged_model(
    replay: Replay, server: Running, tmp_path: Path
) -> None:
    for row in replay.versions:
        if row["name"] == "claim-triage" and str(row["version"]) == "2":
            row["run_id"] = ""
    pages = pull(server)
    assert events(pages, "release")["claim-triage/2"].run == FOREST
    assert events(pages, "training")[FOREST].version == "2"
    (moved,) = events(pages, "promotion").values()
    assert moved.run == FOREST
    assert [asked["filter"] for asked in replay.calls("logged-models/search")] == [
        f"attributes.model_id IN ('{MODEL}')"
    ]
    replay.write_folder(tmp_path)
    assert events(parsed(tmp_path), "release")["claim-triage/2"].run == FOREST


def test_logged_models_are_asked_for_only_where_something_lacks_them(replay: Replay, server: Running) -> None:
    pull(server)
    assert not replay.calls("logged-models/search")


def test_a_server_without_logged_models_is_read(replay: Replay, server: Running) -> None:
    for row in replay.versions:
        row["run_id"] = ""
    real = replay.answer
    replay.answer = lambda path, asked: (404, "<html>") if "logged-models" in path else real(path, asked)  # type: ignore[method-assign]
    assert events(pull(server), "release")["claim-triage/2"].run == ""


# Validations


def test_a_tag_of_a_version_is_its_validation(server: Running) -> None:
    (one,) = events(pull(server), "validation").values()
    assert one.key == "claim-triage/2:validation=approved"
    assert (one.ts, one.ts_latest, one.outcome) == (1795248091, NOW, "good")
    assert (one.version, one.run, one.data_version) == ("2", FOREST, "a8651205")
    assert dict(one.labels) == {"model": "claim-triage", "tag": "validation", "said": "approved"}


@pytest.mark.parametrize(
    ("value", "outcome"),
    [("Approved", "good"), ("rejected", "bad"), ("FAILED", "bad"), ("passed ", "good"), ("skipped", "excluded"),
     ("perhaps", "excluded"), ("pending", None), ("In Review", None)],
)  # fmt: skip
def test_every_value_of_a_validation_has_an_outcome(
    replay: Replay, server: Running, value: str, outcome: str | None
) -> None:
    replay.version_tags = {("claim-triage", "3"): {"validation_status": value}}
    found = [e.outcome for e in events(pull(server), "validation").values()]
    assert found == ([outcome] if outcome else [])


def test_a_validation_that_changes_lies_between_two_pulls(replay: Replay, server: Running) -> None:
    tags = replay.version_tags = {("claim-triage", "3"): {"validation_status": "pending"}}
    pages = pull(server)
    assert not events(pages, "validation")
    keys = []
    for step, value in enumerate(("rejected", "approved", "approved", "rejected"), 1):
        tags["claim-triage", "3"] = {"validation_status": value}
        pages = pull(server, NOW + 300 * step, state(pages))
        for one in events(pages, "validation").values():
            assert (one.ts, one.ts_latest) == (NOW + 300 * (step - 1), NOW + 300 * step)
            keys.append((one.key, one.outcome, dict(one.labels)["from"]))
    assert keys == [
        ("claim-triage/3:validation_status=rejected", "bad", "pending"),
        ("claim-triage/3:validation_status=approved", "good", "rejected"),
        ("claim-triage/3:validation_status=rejected:2", "bad", "approved"),
    ]


def test_other_tags_are_no_validations(replay: Replay, server: Running) -> None:
    replay.version_tags = {("claim-triage", "3"): {"team": "approved", "review": "approved"}}
    assert not events(pull(server), "validation")
    assert list(events(pull(server, validation=("rev*",)), "validation")) == ["claim-triage/3:review=approved"]


@pytest.mark.parametrize(
    ("bounds", "status", "outcome"),
    [
        (None, "FINISHED", "excluded"),
        ({"accuracy_score": 0.8}, "FINISHED", "good"),
        ({"accuracy_score": 0.9}, "FINISHED", "bad"),
        ({"absent": 0.1}, "FINISHED", "bad"),
        ({"accuracy_score": 0.8}, "FAILED", "excluded"),
        ({"accuracy_score": 0.8}, "RUNNING", "open"),
    ],
)
def test_a_run_that_evaluated_a_model_passes_where_it_reaches_what_is_set(
    replay: Replay, server: Running, bounds: dict[str, float] | None, status: str, outcome: str
) -> None:
    replay.add_evaluation(EVALUATION, MODEL, START, {"accuracy_score": 0.85})
    replay.runs[EVALUATION]["status"] = status
    one = events(pull(server, at_least=bounds), "validation")[EVALUATION]
    assert (one.outcome, one.version, one.run) == (outcome, "2", FOREST)
    assert dict(one.labels)["evaluation_run"] == EVALUATION
    assert ("missed" in dict(one.labels)) == (outcome == "bad")


def test_an_evaluation_of_a_model_in_no_registry_names_its_run(replay: Replay, server: Running, tmp_path: Path) -> None:
    replay.logged["m-" + "1" * 32] = ("2", LOGREG)
    replay.add_evaluation(EVALUATION, "m-" + "1" * 32, START)
    replay.write_folder(tmp_path)
    for pages in (pull(server), parsed(tmp_path)):
        one = events(pages, "validation")[EVALUATION]
        assert (one.run, one.version) == (LOGREG, "")


def test_a_training_that_turns_out_to_evaluate_is_taken_back(replay: Replay, server: Running) -> None:
    replay.add_run(EVALUATION, START, "RUNNING")
    first = pull(server)
    begun = events(first, "training")[EVALUATION]
    assert begun.outcome == "open"
    replay.add_evaluation(EVALUATION, MODEL, START)
    second = pull(server, NOW + 300, state(first), open=(begun,))
    undone = events(second, "training")[EVALUATION]
    assert (undone.outcome, undone.revision > begun.revision) == ("excluded", True)
    assert EVALUATION in events(second, "validation")


def test_an_open_evaluation_is_asked_for_again_however_old(replay: Replay, server: Running) -> None:
    replay.add_evaluation(EVALUATION, MODEL, START)
    replay.runs[EVALUATION] |= {"status": "RUNNING", "end_time": None}
    first = pull(server)
    begun = events(first, "validation")[EVALUATION]
    later = NOW + 20 * 86400
    replay.runs[EVALUATION] |= {"status": "FINISHED", "end_time": (later - 60) * 1000}
    second = pull(server, later, state(first), since=later - 300, open=(begun,))
    assert events(second, "validation")[EVALUATION].outcome == "excluded"


def test_a_run_that_takes_a_model_and_makes_one_is_a_training(replay: Replay, server: Running) -> None:
    replay.add_evaluation(RUN, MODEL, START)
    replay.made[RUN] = ["m-" + "2" * 32]
    assert RUN in events(pull(server), "training")


def test_a_database_tells_the_same_validations(tmp_path: Path) -> None:
    one = events(parsed(DATABASE), "validation")["claim-triage/2:validation=approved"]
    assert (one.version, one.run, one.outcome) == ("2", FOREST, "good")
    assert not [f for f in findings(parsed(DATABASE)) if "status" in f.reason]
