"""How the sample company's models are made: its files agree with each other, with the tools, and with the truth."""

from __future__ import annotations

import gzip
import json
import struct
import tomllib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix

from tandem import collect, config, report
from tandem.config import Config
from tandem.records import DAY, Event
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
MLRUNS = FILES / "mlflow" / "mlruns"
CAPTURED = Path(__file__).parent / "payloads" / "openlineage" / "runs.ndjson"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
START, END = (int(TRUTH[name].timestamp()) for name in ("start", "end"))
MADE_OF = {one["component"]: one for one in TRUTH["made_of"]}
TOLD = {one["component"]: one for one in TRUTH["pipeline_events"]}
OFFLINE = ("registry", "lineage", "evaluations", "history-fraud-detector", "training-logs")
LOGS = ("log-fraud-detector", "log-query-intent", "log-eta-regressor")
MODELS = ("fraud-detector", "query-intent", "eta-regressor")
MAKING = ("training_success", "training_duration", "validation_success")
"""The signals that are of making models and not of their answers."""


def only(names: tuple[str, ...]) -> Config:
    found = config.load(HERE / "tandem.toml")
    found = replace(found, sources=tuple(one for one in found.sources if one.name in names))
    assert len(found.sources) == len(names)
    return found


def collected(store: Store, found: Config) -> Any:
    for source in found.sources:
        told = collect.pull(store, source, END)
        assert not told.failed, told
        assert not told.rejected, told
    return SimpleNamespace(config=found, store=store)


def signals(company: Any, component: str) -> list[dict[str, Any]]:
    """What is said of the signals of a model's answers over four weeks, with their objectives."""
    answer = report.show(company, component, Window(END - 28 * DAY, END), now=END)
    return [one for one in answer["signals"] if one["signal"] not in MAKING]


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """All sources of some models, and what was said of them before those that tell of making them came in."""
    with open_store(tmp_path_factory.mktemp("made") / "tandem.duckdb") as store:
        alone = collected(store, only(LOGS))
        before = {name: signals(alone, name) for name in MODELS}
        found = only((*OFFLINE, *LOGS))
        collected(store, replace(found, sources=tuple(one for one in found.sources if one.name in OFFLINE)))
        yield SimpleNamespace(config=found, store=store, before=before)


def events(company: Any, component: str, kind: str, source: str = "") -> list[Event]:
    reader = Reader(company.store)
    names = {number: name for name, number in by_name(company).items()}
    return [event for number, event in reader.events(0, END, components=[component], kinds=[kind])
            if not source or names.get(number) == source]  # fmt: skip


def by_name(company: Any) -> dict[str, int]:
    """The numbers of the sources in the store."""
    known = company.store.names.sources
    found = {}
    for one in company.config.sources:
        [number] = [number for (connector, place), number in known.items()
                    if connector == one.common.connector and place == one.connector.scope(one.config)]  # fmt: skip
        found[one.name] = number
    return found


# -- the files by themselves, read without any connector


def mlflow(run: str, *place: str) -> str:
    [folder] = MLRUNS.glob(f"[0-9]*/{run}")
    return folder.joinpath(*place).read_text()


def lineage() -> list[dict[str, Any]]:
    raw = gzip.decompress((FILES / "openlineage" / "events.ndjson.gz").read_bytes())
    return [json.loads(line) for line in raw.splitlines()]


def evaluations() -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted((FILES / "evaluations" / "fraud-detector").iterdir())]


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_the_files_of_five_tools_name_the_same_run_commit_and_data() -> None:
    true = MADE_OF["fraud-detector"]
    version = (MLRUNS / "models" / "fraud-detector" / f"version-{true['version']}" / "meta.yaml").read_text()
    assert f"run_id: {true['run']}" in version
    assert f"model_id: {true['logged_model']}" in version
    assert (MLRUNS / "models" / "fraud-detector" / "aliases" / "champion").read_text() == true["version"]
    assert mlflow(true["run"], "tags", "mlflow.source.git.commit") == true["commit"]
    assert mlflow(true["run"], "params", "data_version") == true["data_version"]
    history = gzip.decompress((FILES / "git" / "fraud-detector" / "git-log.z.gz").read_bytes()).split(b"\0")
    assert true["commit"].encode() in history
    told = [one for one in lineage() if one["run"]["runId"] == true["run"]]
    assert [one["eventType"] for one in told] == ["START", "COMPLETE"]
    assert told[0]["job"]["facets"]["sourceCodeLocation"]["version"] == true["commit"]
    assert told[0]["inputs"][0]["facets"]["version"]["datasetVersion"] == true["data_version"]
    made = [one for one in lineage() if any(out.get("facets", {}).get("version", {}).get("datasetVersion")
                                            == true["data_version"] for out in one["outputs"])]  # fmt: skip
    assert [one["job"]["name"] for one in made] == ["fraud_detector.build_training_set"]
    [judged] = [one for one in evaluations() if one["run_id"] == true["run"]]
    assert (judged["git_commit"], judged["training_set"]) == (true["commit"], true["data_version"])
    registered = int(version.partition("creation_timestamp: ")[2].split()[0]) / 1000
    times = [*(seconds(one["eventTime"]) for one in (*made, *told)), seconds(judged["evaluated_at"]), registered]
    assert times == sorted(times), "made, trained, evaluated, registered"
    served = pd.read_parquet(FILES / "predictions" / "fraud-detector")
    assert served.sort_values("ts").model_version.iloc[-1] == true["version"]


def test_of_the_model_from_a_notebook_no_file_names_a_commit_or_a_validation() -> None:
    true = MADE_OF["click-model"]
    assert true["commit"] == ""
    [experiment] = [one.parent for one in MLRUNS.glob("[0-9]*/meta.yaml") if "name: click-model" in one.read_text()]
    for run in experiment.iterdir():
        if run.is_dir() and run.name != "models":
            assert not (run / "tags" / "mlflow.source.git.commit").exists()
            assert (run / "tags" / "mlflow.source.type").read_text() == "NOTEBOOK"
            assert not any(one["run"]["runId"] == run.name for one in lineage())
    assert not any("click" in one["job"]["name"] for one in lineage())
    assert not (FILES / "evaluations" / "click-model").exists()


def shape(facet: Mapping[str, Any]) -> tuple[str, frozenset[str]]:
    return facet["_schemaURL"], frozenset(facet)


def facets(event: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield from event["run"]["facets"].items()
    yield from event["job"]["facets"].items()
    for side in ("inputs", "outputs"):
        for one in event[side]:
            for place in ("facets", "inputFacets", "outputFacets"):
                yield from one.get(place, {}).items()


def test_run_events_have_the_form_that_the_real_client_writes() -> None:
    captured = [json.loads(line) for line in CAPTURED.read_text().splitlines()]
    known: dict[str, set[tuple[str, frozenset[str]]]] = {}
    for event in captured:
        for name, facet in facets(event):
            known.setdefault(name, set()).add(shape(facet))
    own = lineage()
    assert {frozenset(one) for one in own} == {frozenset(one) for one in captured}
    assert {one["schemaURL"] for one in own} == {one["schemaURL"] for one in captured}
    found = Counter(name for event in own for name, facet in facets(event) if name not in known)
    assert set(found) == {"airflowDagRun"}, "Airflow's own; all others were captured from the client"
    assert not {name for event in own for name, facet in facets(event) if shape(facet) not in known.get(name, ())} - {
        "airflowDagRun"
    }
    asserted = [one for event in captured for name, facet in facets(event) if name == "dataQualityAssertions"
                for one in facet["assertions"]]  # fmt: skip
    keys = {frozenset(one) - {"column", "severity"} for one in asserted}
    mine = {frozenset(one) - {"column"} for event in own for name, facet in facets(event)
            if name == "dataQualityAssertions" for one in facet["assertions"]}  # fmt: skip
    assert mine == keys
    assert [one["eventTime"] for one in own] == sorted(one["eventTime"] for one in own)
    begun = Counter(one["run"]["runId"] for one in own if one["eventType"] == "START")
    ended = Counter(one["run"]["runId"] for one in own if one["eventType"] in ("COMPLETE", "FAIL"))
    assert begun == ended
    assert set(begun.values()) == {1}


def test_the_numbers_of_each_evaluation_are_scikit_learns_and_those_that_mlflow_logged() -> None:
    [true] = TRUTH["evaluated"]
    found = evaluations()
    assert len(found) == true["evaluations"]
    for one in found:
        [(honest, blocked), (missed, caught)] = one["confusion_matrix"]
        actual = np.repeat([0, 0, 1, 1], [honest, blocked, missed, caught])
        predicted = np.repeat([0, 1, 0, 1], [honest, blocked, missed, caught])
        assert confusion_matrix(actual, predicted, labels=one["labels"]).tolist() == one["confusion_matrix"]
        assert len(actual) == one["n_samples"]
        assert accuracy_score(actual, predicted) == one["accuracy"]
        expected = classification_report(actual, predicted, output_dict=True)
        assert expected.keys() == one["classification_report"].keys()
        for name, row in expected.items():
            assert one["classification_report"][name] == pytest.approx(row, rel=1e-12)
        logged = float(mlflow(one["run_id"], "metrics", "val_accuracy").splitlines()[-1].split()[1])
        assert one["accuracy"] == pytest.approx(logged, abs=0.5 / one["n_samples"] + 1e-9)
    registered = {line.split()[1] for path in (MLRUNS / "models" / "fraud-detector").glob("version-*/meta.yaml")
                  for line in path.read_text().splitlines() if line.startswith("run_id:")}  # fmt: skip
    reached = {one["run_id"] for one in found if one["accuracy"] >= true["at_least"]}
    assert len(reached) == true["reached"]
    assert registered == reached, "what misses the bar is never registered"


# -- what is collected


@pytest.mark.parametrize("component", sorted(TOLD))
def test_the_pipelines_tell_what_was_planted(company: Any, component: str) -> None:
    true = TOLD[component]
    made = events(company, component, "data_version")
    assert len(made) == true["data_versions"]
    checks = events(company, component, "validation", "lineage")
    assert Counter(one.outcome for one in checks) == Counter(
        good=true["checks"] - true["checks_failed"], bad=true["checks_failed"]
    )
    trained = events(company, component, "training", "lineage")
    assert Counter(one.outcome for one in trained) == Counter(
        good=true["trainings"] - true["trainings_failed"], bad=true["trainings_failed"]
    )
    known = {one.data_version for one in made}
    by_mlflow = {one.run: one for one in events(company, component, "training", "registry")}
    for one in trained:
        other = by_mlflow[one.run]
        assert one.data_version in known
        assert (one.commit, one.data_version, one.outcome) == (other.commit, other.data_version, other.outcome)
        assert abs(one.ts - other.ts) <= 1
        assert abs((one.ended or 0) - (other.ended or 0)) <= 1


def test_the_check_that_failed_is_the_planted_one(company: Any) -> None:
    [planted] = [one for one in TRUTH["event"] if one["key"] == "failed-check"]
    [bad] = [one for one in events(company, "fraud-detector", "validation", "lineage") if one.outcome == "bad"]
    assert 0 <= bad.ts - planted["start"].timestamp() < 3600
    assert planted["check"] in dict(bad.labels)["failed_checks"]
    assert not any(one.data_version == bad.data_version for one in events(company, "fraud-detector", "training"))


def test_every_evaluation_is_of_a_run_that_mlflow_knows(company: Any) -> None:
    runs = {one.run: one for one in events(company, "fraud-detector", "training", "registry")}
    found = events(company, "fraud-detector", "validation", "evaluations")
    assert len(found) == len(evaluations())
    for one in found:
        of = runs[one.run]
        assert (one.commit, one.data_version) == (of.commit, of.data_version)
        assert one.ts == of.ended + 600
        assert (one.outcome == "good") is bool(of.version)


def test_event_files_hold_what_mlflow_logged_of_the_same_runs(company: Any) -> None:
    [true] = TRUTH["logged"]
    number = by_name(company)["training-logs"]
    rows = company.store.cursor().execute(
        "SELECT p.run, s.name, p.ts * 1000 + p.micros // 1000, CAST(p.value AS DOUBLE) "
        "FROM sample p JOIN series s ON p.series = s.id WHERE s.source = ?", (number,),
    ).fetchall()  # fmt: skip
    assert len(rows) == true["values"]
    assert len({row[0] for row in rows}) == true["runs"]
    for run in {row[0] for row in rows}:
        lines = [line.split() for line in mlflow(run, "metrics", "val_accuracy").splitlines()]
        expected = [(int(at), struct.unpack("<f", struct.pack("<f", float(value)))[0]) for at, value, _ in lines]
        mine = sorted((ms, value) for one, name, ms, value in rows if one == run and name == "eval/accuracy")
        assert mine == sorted(expected), run
    trained = events(company, "query-intent", "training", "training-logs")
    assert {one.run for one in trained} == {row[0] for row in rows}
    assert {one.outcome for one in trained} == {"excluded"}, "an event file does not say how its run ended"


# -- trained again, or not


@pytest.mark.parametrize("true", TRUTH["retraining"], ids=lambda one: one["component"])
def test_what_was_trained_after_a_model_got_worse(company: Any, true: Mapping[str, Any]) -> None:
    [planted] = [one for one in TRUTH["event"] if one["key"] == true["after"]]
    since = planted["start"].timestamp()
    runs = [one for one in events(company, true["component"], "training", "registry") if one.ts >= since]
    assert len(runs) == true["trainings"]
    if not runs:
        assert planted.get("end") is None, "it goes on"
        return
    assert [one.ts for one in runs if one.outcome == "bad"] == [true["failed"].timestamp()]
    [mine] = [one for one in runs if one.ts == true["began"].timestamp()]
    told = {one.run: one.trigger for one in events(company, true["component"], "training", "lineage")}
    [by_hand] = [one for one in TRUTH["event"] if one["key"] == "retrain-by-hand"]
    assert (mine.version, mine.actor, told[mine.run]) == (true["version"], by_hand["by"], by_hand["trigger"])
    assert {told[one.run] for one in runs if one is not mine} == {"scheduled"}
    promoted = [one for one in events(company, true["component"], "promotion") if one.run == mine.run]
    assert [(one.version, one.ts_latest) for one in promoted] == [(true["version"], true["promoted"].timestamp())]


def test_the_retrained_model_is_better_and_not_by_chance() -> None:
    [true] = [one for one in TRUTH["retraining"] if one["component"] == "eta-regressor"]
    log = pd.read_parquet(FILES / "predictions" / "eta-regressor")
    log = log.merge(pd.read_parquet(FILES / "labels" / "eta-regressor"), on="prediction_id")
    near = (log.predicted - log.label).abs() <= 8
    week = pd.Timedelta(days=7)
    before, after = (near[log.ts.between(low, low + week)] for low in (true["promoted"] - week, true["promoted"]))
    spread = np.sqrt(sum(part.mean() * (1 - part.mean()) / len(part) for part in (before, after)))
    assert before.mean() < 0.9 < after.mean(), "below its objective, then above it"
    assert after.mean() - before.mean() > 5 * spread


def followed(company: Any, component: str, days: int) -> Mapping[str, Any]:
    """What `tandem show` says of trainings after the onsets of a model."""
    answer: Mapping[str, Any] = report.show(company, component, Window(END - days * DAY, END), now=END)["training"]
    return answer


def test_the_onset_without_a_training_since_is_the_planted_one(company: Any) -> None:
    [planted] = [one for one in TRUTH["event"] if one["key"] == "release-shifts-a-feature"]
    found = followed(company, "query-intent", 28)
    drifts = [one for one in found["onsets"] if planted["feature"] in one["features"]]
    [began] = [seconds(one["since"]) for one in drifts]
    assert abs(began - planted["start"].timestamp()) <= DAY
    assert all(one["trainings"] == 0 and one["promotion"] is None for one in drifts)
    assert found["sentence"].startswith("No training since")


def test_the_breach_that_a_training_ended_is_told_whole(company: Any) -> None:
    [true] = [one for one in TRUTH["retraining"] if one["component"] == "eta-regressor"]
    [breach] = [one for one in followed(company, "eta-regressor", 28)["onsets"]
                if one["promotion"] and one["promotion"]["version"] == true["version"]]  # fmt: skip
    assert (breach["kind"], breach["signal"]) == ("breach", "error")
    assert (breach["training"]["by"], breach["training"]["trigger"]) == ("person", "manual")
    assert seconds(breach["promotion"]["interval"]["to"]) == true["promoted"].timestamp()
    assert [one["state"] for one in breach["effects"]] == ["better"]
    longer = followed(company, "eta-regressor", 60)["onsets"]
    assert any(one["trainings"] >= 3 and one["promotion"] and one["promotion"]["version"] == true["version"]
               for one in longer), "further back the onset lies before the training that failed"  # fmt: skip


# -- where a version comes from


def chain(company: Any, component: str) -> Any:
    found = report.lineage(company, component, Window(END - 7 * DAY, END), version=MADE_OF[component]["version"],
                           now=END)  # fmt: skip
    assert found.chain is not None
    return found.chain


def links(company: Any, component: str) -> dict[str, Any]:
    return {one.step: one for one in chain(company, component).links}


def test_one_version_is_known_from_its_commit_to_its_traffic(company: Any) -> None:
    true, found = MADE_OF["fraud-detector"], links(company, "fraud-detector")
    assert {one.state for one in found.values()} == {"joined"}
    assert (found["commit"].value, found["training"].value) == (true["commit"], true["run"])
    assert found["data"].value == true["data_version"]
    rules = {step: {part.rule for part in one.parts} for step, one in found.items()}
    assert rules["commit"] == {"commit"}
    assert rules["training"] == {"run"}
    assert rules["data"] == {"digest"}
    assert rules["validation"] == {"run", "digest"}
    sources = {step: {part.source for part in one.parts} for step, one in found.items()}
    assert sources["commit"] == {"history-fraud-detector"}
    assert sources["training"] == {"registry", "lineage"}
    assert sources["data"] == {"lineage"}
    assert sources["validation"] == {"evaluations", "lineage"}
    assert sources["promotion"] == {"registry"}
    assert sources["serving"] == {"log-fraud-detector"}
    assert not any(one.conflicts for one in found.values())
    assert chain(company, "fraud-detector").unknown == (), "parameters, commit, data and environment"


def test_of_the_version_from_a_notebook_what_is_missing_is_said(company: Any) -> None:
    found = links(company, "click-model")
    assert found["training"].state == "joined"
    assert found["promotion"].state == "joined"
    assert found["commit"].state == "missing"
    assert found["validation"].state == "missing"
    assert found["data"].state == "stated", "its run names the data, and nobody tells of it"
    assert chain(company, "click-model").unknown == ("commit", "environment")


def test_a_run_that_two_tools_tell_of_is_one(company: Any) -> None:
    for component, tool in (("query-intent", "training-logs"), ("eta-regressor", "lineage")):
        found = links(company, component)["training"]
        assert (found.state, found.value) == ("joined", MADE_OF[component]["run"])
        assert {part.source for part in found.parts} == {"registry", tool}


# -- numbers that were not made in production


def test_no_offline_number_moves_a_production_objective(company: Any) -> None:
    for component, expected in company.before.items():
        assert any(one["objective"] for one in expected), "there are objectives to be moved"
        assert signals(company, component) == expected, component
    assert Reader(company.store).series(component="fraud-detector", signal="outcome", stage="evaluation")
    assert Reader(company.store).series(component="fraud-detector", signal="valid_rows", stage="training")


def test_nor_does_the_worst_evaluation_there_could_be(company: Any, tmp_path: Path) -> None:
    bad = {"evaluated_at": "2026-11-20T12:00:00Z", "run_id": "0a1b2c3d", "accuracy": 0.0, "n_samples": 1_000_000,
           "labels": [0, 1], "confusion_matrix": [[0, 500_000], [500_000, 0]]}  # fmt: skip
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "metrics.json").write_text(json.dumps(bad))
    training = next(one for one in lineage() if one["run"]["runId"] == MADE_OF["fraud-detector"]["run"])
    training["eventTime"] = "2026-11-20T12:00:00Z"
    rows = training["inputs"][0]["inputFacets"]["dataQualityMetrics"]
    rows["columnMetrics"]["distance_km"]["nullCount"] = rows["rowCount"]
    (tmp_path / "bad.ndjson").write_text(json.dumps(training) + "\n")
    places = {"evaluations": tmp_path / "bad", "lineage": tmp_path / "bad.ndjson"}
    found = only(("log-fraud-detector", *places))
    sources = tuple(replace(one, config=replace(one.config, path=places[one.name])) if one.name in places else one
                    for one in found.sources)  # fmt: skip
    with open_store(tmp_path / "tandem.duckdb") as store:
        worst = collected(store, replace(found, sources=sources))
        [(wrong,)] = (
            store.cursor().execute("SELECT sum(n) FROM confusion WHERE actual <> predicted AND n > 9999").fetchall()
        )
        assert wrong == 1_000_000, "it was read"
        assert signals(worst, "fraud-detector") == company.before["fraud-detector"]
