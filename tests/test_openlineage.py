"""The openlineage connector: runs joined in any order and over files, edges, versions, assertions, rows and schemas."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from connectors import openlineage
from connectors._files import item
from tandem import connect, times
from tandem.config import parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Page, Ratio

HERE = Path(__file__).parent / "payloads" / "openlineage"
TEN = times.iso("2026-11-02T10:00:00Z")
NOW = times.iso("2026-11-22T00:00:00Z")
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def run_id(number: int) -> str:
    return f"0198f000-0000-7000-8000-{number:012d}"


DAG, PREPARE, CHECK, TRAIN, AGAIN, STOPPED, WIDER = (run_id(number) for number in range(1, 8))


def configured(path: Path | None = None, **more: Any) -> openlineage.Config:
    common = Common("openlineage", "lineage", timezone=more.pop("zone", None), status=more.pop("status", {}))
    return openlineage.Config(common, path, **{"training": ("train_*",), "models": ("models/*",), **more})


def parsed(path: Path, **more: Any) -> list[Page]:
    return list(openlineage.parse(item(path, Given()), configured(**more)))


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def rows(pages: list[Page]) -> dict[tuple[str, str, int], Any]:
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    return {(one.series.stage, one.series.name, one.ts): one.value for one in facts}


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def labels(event: Event) -> dict[str, str]:
    return dict(event.labels)


def edge(event: Event, side: str) -> tuple[str, str, str]:
    told = labels(event)
    return told[side], told[f"{side}.namespace"], told[f"{side}.version"]


def said(kind: str, at: str, run: str = "r1", job: str = "train_x", **more: Any) -> dict[str, Any]:
    """One event at 10:MM:SS."""
    return {"eventType": kind, "eventTime": f"2026-11-02T10:{at}Z", "producer": "p", "run": {"runId": run},
            "job": {"namespace": "ml", "name": job}} | more  # fmt: skip


def dataset(name: str = "claims", **facets: Any) -> dict[str, Any]:
    return {"namespace": "s3://lake", "name": name, "facets": facets}


def table(**columns: str) -> dict[str, Any]:
    return dataset(schema={"fields": [{"name": name, "type": kind} for name, kind in columns.items()]})


def measured(count: Any, **missing: Any) -> dict[str, Any]:
    counted = {name: {"nullCount": number} for name, number in missing.items()}
    return {"dataQualityMetrics": {"rowCount": count, "columnMetrics": counted}}


def saved(path: Path, *documents: Any) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (HERE / "runs.ndjson").read_text().splitlines()]


# -- what the client wrote


def test_trainings_from_start_to_end_in_whichever_order_they_stand() -> None:
    found = {one.key: one for one in events(parsed(HERE / "runs.ndjson"), "training")}
    assert {key: (one.ts, one.started, one.ended, one.outcome) for key, one in found.items()} == {
        TRAIN: (TEN + 600, TEN + 600, TEN + 1200, "good"),
        AGAIN: (TEN + 1800, TEN + 1800, TEN + 1980, "bad"),
        STOPPED: (TEN + 2400, TEN + 2400, TEN + 2460, "excluded"),
    }
    one = found[TRAIN]
    assert (one.run, one.version, one.data_version, one.commit) == (TRAIN, "12", "7", COMMIT)
    assert one.url == "https://git.example.com/ml/claims"
    assert found[AGAIN].title == "train_claims: out of memory"


def test_a_training_says_what_it_read_and_wrote_and_what_began_it() -> None:
    (one,) = [one for one in events(parsed(HERE / "runs.ndjson"), "training") if one.key == TRAIN]
    told = labels(one)
    assert {name: told.get(name) for name in ("namespace", "job", "parent_run", "parent_job", "parent_namespace")} == {
        "namespace": "ml", "job": "train_claims", "parent_run": DAG, "parent_job": "nightly",
        "parent_namespace": "airflow",
    }  # fmt: skip
    assert (told["input.1"], told["input.1.namespace"], told["input.1.version"]) == (
        "features/claims",
        "s3://lake",
        "7",
    )
    assert (told["output.1"], told["output.1.namespace"], told["output.1.version"]) == ("claims-risk", "models", "12")
    assert (told["inputs"], told["outputs"], told["param.learning_rate"], told["branch"]) == ("1", "1", "0.1", "main")


def test_a_version_of_data_joins_what_wrote_it_with_what_read_it() -> None:
    pages = parsed(HERE / "runs.ndjson")
    seven, eight = events(pages, "data_version")
    assert (seven.ts, seven.data_version, seven.run) == (TEN + 300, "7", PREPARE)
    assert (eight.ts, eight.data_version, eight.run) == (TEN + 3300, "8", WIDER)
    told = labels(seven)
    assert (told["dataset"], told["dataset_namespace"], told["rows"]) == ("features/claims", "s3://lake", "1000")
    (training,) = [one for one in events(pages, "training") if one.key == TRAIN]
    assert edge(training, "input.1") == (told["dataset"], told["dataset_namespace"], seven.data_version)


def test_assertions_are_a_validation_and_a_warning_is_no_failure() -> None:
    (one,) = events(parsed(HERE / "runs.ndjson"), "validation")
    assert (one.key, one.ts, one.outcome) == (f"{CHECK}:s3://lake features/claims", TEN + 420, "bad")
    told = labels(one)
    assert (told["checks"], told["failed"], told["warned"], told["failed_checks"]) == ("3", "1", "1", "age: not_null")
    assert (one.title, one.data_version) == ("features/claims: 1 of 3 checks failed", "7")


def test_valid_rows_are_counted_from_rows_and_missing_values() -> None:
    at = (TEN + 420) // 300 * 300
    assert rows(parsed(HERE / "runs.ndjson")) == {
        ("production", "", at): Ratio(970, 1000), ("production", "age:missing", at): Ratio(0, 30),
    }  # fmt: skip
    only = rows(parsed(HERE / "runs.ndjson", required=("amount",)))
    assert only == {("production", "", at): Ratio(1000, 1000)}


def test_a_new_column_is_a_change_of_its_dataset() -> None:
    (one,) = events(parsed(HERE / "runs.ndjson"), "schema_change")
    assert (one.ts, one.ts_latest, one.title) == (TEN + 3300, None, "features/claims: column channel: appeared")
    assert labels(one)["to"] == "DOUBLE"


def test_marquez_answers_and_tests_of_a_run() -> None:
    pages = parsed(HERE / "marquez.json")
    (one,) = events(pages)
    assert (one.kind, one.outcome, one.ts) == ("validation", "bad", times.iso("2026-11-03T02:20:00Z"))
    told = labels(one)
    assert (told["checks"], told["failed"], told["warned"], told["skipped"]) == ("3", "1", "1", "1")
    assert (told["engine"], told["nominal"]) == ("dbt 1.10.15", "2026-11-03T02:00:00Z")
    at = times.iso("2026-11-03T02:00:00Z")
    assert rows(pages) == {("production", "", at): Ratio(196, 200), ("production", "amount:missing", at): Ratio(0, 4)}


def test_events_in_any_order_twice_and_as_single_files_say_the_same(tmp_path: Path) -> None:
    bare = parsed(HERE / "runs.ndjson")
    for seed in range(5):
        mixed = random.Random(seed).sample(lines() * 2, 2 * len(lines()))
        assert parsed(saved(tmp_path / "a.ndjson", *mixed))[:-1] == bare[:-1]
    folder = tmp_path / "single"
    folder.mkdir()
    for number, line in enumerate(lines()):
        saved(folder / f"event-{number}.json", line)
    assert parsed(folder)[:-1] == bare[:-1]


# -- runs


@pytest.mark.parametrize(
    ("word", "outcome", "remarked"),
    [("COMPLETE", "good", False), ("fail", "bad", False), ("ABORT", "excluded", False), ("PAUSED", "excluded", True),
     ("RUNNING", "open", False), ("OTHER", "open", False)],
)  # fmt: skip
def test_each_word(tmp_path: Path, word: str, outcome: str, remarked: bool) -> None:
    pages = parsed(saved(tmp_path / "a.ndjson", said("START", "00:00"), said(word, "05:00")))
    (one,) = events(pages)
    assert (one.outcome, one.ended) == (outcome, None if outcome == "open" else TEN + 300)
    assert bool(reasons(pages)) == remarked


def test_a_source_may_say_what_a_word_means(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.ndjson", said("START", "00:00"), said("ABORT", "05:00"))
    assert [one.outcome for one in events(parsed(path, status={"ABORT": "bad"}))] == ["bad"]


def test_without_its_start_a_training_has_no_duration(tmp_path: Path) -> None:
    pages = parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00")))
    (one,) = events(pages)
    assert (one.ts, one.started, one.ended, one.outcome) == (TEN + 300, None, None, "good")
    assert list(reasons(pages)) == ["a training whose start is told in no file counts at its end, without a duration"]


def test_of_several_ends_the_newest_counts_and_its_version_is_taken_back(tmp_path: Path) -> None:
    told = [said("START", "00:00", job="prepare"), said("COMPLETE", "05:00", job="prepare", outputs=[dataset()])]
    (good,) = events(parsed(saved(tmp_path / "a.ndjson", *told)))
    pages = parsed(saved(tmp_path / "b.ndjson", *told, said("FAIL", "06:00", job="prepare")))
    (gone,) = events(pages)
    assert (good.outcome, gone.outcome, good.key == gone.key) == ("good", "excluded", True)
    assert gone.revision > good.revision
    assert reasons(pages) == {"a run tells of more than one end; the newest counts": 1}


def test_a_start_after_the_end_is_not_used(tmp_path: Path) -> None:
    (one,) = events(parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00"), said("START", "06:00"))))
    assert (one.started, one.ended, one.outcome) == (None, None, "good")


def test_no_job_is_a_training_by_its_name_alone(tmp_path: Path) -> None:
    pages = parsed(saved(tmp_path / "a.ndjson", said("START", "00:00"), said("COMPLETE", "05:00")), training=())
    assert events(pages) == []
    assert reasons(pages) == {"no job is named in `training`, so no run counts as a training": 1}


@pytest.mark.parametrize(("glob", "fits"), [("ml/train_*", True), ("train_x", True), ("other/*", False)])
def test_jobs_are_named_with_or_without_their_namespace(tmp_path: Path, glob: str, fits: bool) -> None:
    path = saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00"))
    assert bool(events(parsed(path, training=(glob,)))) == fits


def test_what_airflow_says_began_it_and_a_facet_that_is_deleted(tmp_path: Path) -> None:
    began = {"runId": "r1", "facets": {"airflow": {"dagRun": {"run_type": "manual"}},
                                       "errorMessage": {"message": "oops"}}}  # fmt: skip
    gone = {"runId": "r1", "facets": {"errorMessage": {"_deleted": True}}}
    path = saved(
        tmp_path / "a.ndjson", said("START", "00:00") | {"run": began}, said("COMPLETE", "05:00") | {"run": gone}
    )
    (one,) = events(parsed(path))
    assert (one.trigger, one.title) == ("manual", "train_x: complete")


def test_models_of_several_versions_leave_the_version_unknown(tmp_path: Path) -> None:
    wrote = [dataset("a", version={"datasetVersion": "1"}), dataset("b", version={"datasetVersion": "2"})]
    pages = parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00", outputs=wrote)), models=("*",))
    assert [one.version for one in events(pages)] == [""]


def test_many_inputs_are_counted_and_the_first_named(tmp_path: Path) -> None:
    read = [dataset(f"part-{number:03d}") for number in range(100)]
    told = labels(events(parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00", inputs=read))))[0])
    assert (told["inputs"], told["input.30"], told.get("input.31")) == ("100", "part-029", None)


# -- datasets


def test_a_dataset_alone_tells_its_version_and_that_it_was_dropped(tmp_path: Path) -> None:
    dropped = {"lifecycleStateChange": "DROP"}
    alone = [
        {"eventTime": "2026-11-02T10:00:00Z", "dataset": dataset(version={"datasetVersion": "3"})},
        {"eventTime": "2026-11-02T10:01:00Z", "dataset": dataset(lifecycleStateChange=dropped)},
        {"eventTime": "2026-11-02T10:02:00Z", "job": {"namespace": "ml", "name": "x"}},
    ]
    pages = parsed(saved(tmp_path / "a.ndjson", *alone))
    assert [(one.kind, one.data_version, one.title) for one in events(pages)] == [
        ("data_version", "3", "claims version 3"), ("schema_change", "", "claims dropped"),
    ]  # fmt: skip
    assert reasons(pages) == {"events of a job alone tell of no run and are not used": 1}


def test_what_a_training_measures_is_of_stage_training(tmp_path: Path) -> None:
    read = {**dataset(), "inputFacets": measured(10, a=1, b=2)}
    pages = parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00", inputs=[read])))
    assert rows(pages)["training", "", TEN + 300] == Ratio(7, 10)
    assert {stage for stage, _, _ in rows(pages)} == {"training"}
    assert reasons(pages)["valid_rows is a lower bound, for values are missing in several columns of a dataset"] == 1


def test_the_state_of_a_dataset_that_many_runs_repeat_counts_once(tmp_path: Path) -> None:
    state = dataset(**measured(10, a=1), version={"datasetVersion": "5"})
    told = [said("COMPLETE", f"0{number}:00", f"r{number}", "use", inputs=[state]) for number in range(3)]
    pages = parsed(saved(tmp_path / "a.ndjson", *told))
    assert sum(one.total for (_, name, _), one in rows(pages).items() if not name) == 10
    own = {**dataset(), "inputFacets": measured(10, a=1)}
    each = [said("COMPLETE", f"0{number}:00", f"r{number}", "use", inputs=[own]) for number in range(3)]
    slices = [page.slice for page in parsed(saved(tmp_path / "b.ndjson", *each)) if page.slice]
    assert len(set(slices)) == 3


@pytest.mark.parametrize(
    "facet",
    [measured(None, a=1), measured(10), measured(-1, a=0), measured(10, a=11), measured("10", a="1"),
     measured(10.5, a=1), {"dataQualityMetrics": {"columnMetrics": []}}],
)  # fmt: skip
def test_metrics_that_cannot_be_counted_count_nothing_and_are_told(tmp_path: Path, facet: Any) -> None:
    told = said("COMPLETE", "05:00", job="check", inputs=[{**dataset(), "inputFacets": facet}])
    pages = parsed(saved(tmp_path / "a.ndjson", told))
    assert rows(pages) == {}
    assert len(reasons(pages)) == 1


def test_a_change_that_two_jobs_see_counts_once_and_each_job_is_compared_with_itself(tmp_path: Path) -> None:
    told = [
        said("COMPLETE", "01:00", "w1", "write", outputs=[table(id="INT")]),
        said("COMPLETE", "02:00", "u1", "use", inputs=[table(id="integer")]),
        said("COMPLETE", "03:00", "w2", "write", outputs=[table(id="INT", age="DOUBLE")]),
        said("COMPLETE", "04:00", "u2", "use", inputs=[table(id="integer", age="float")]),
        said("COMPLETE", "05:00", "w3", "write", outputs=[table(id="BIGINT")]),
    ]
    found = events(parsed(saved(tmp_path / "a.ndjson", *told)), "schema_change")
    assert [(one.ts, one.title) for one in found] == [
        (TEN + 180, "claims: column age: appeared"),
        (TEN + 300, "claims: column age: vanished"), (TEN + 300, "claims: column id: INT became BIGINT"),
    ]  # fmt: skip


def test_who_only_reads_knows_an_interval(tmp_path: Path) -> None:
    nested = dataset(schema={"fields": [{"name": "a", "type": "struct", "fields": [{"name": "b", "type": "int"}]}]})
    plain = dataset(schema={"fields": [{"name": "a", "type": "struct"}]})
    told = [
        said("COMPLETE", "01:00", "1", "use", inputs=[plain]),
        said("COMPLETE", "09:00", "2", "use", inputs=[nested]),
    ]
    (one,) = events(parsed(saved(tmp_path / "a.ndjson", *told)), "schema_change")
    assert (one.ts, one.ts_latest, labels(one)["column"]) == (TEN + 60, TEN + 540, "a.b")


# -- unusable


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ({"eventTime": "yesterday"}, "an event without a time of ISO 8601 is left out"),
        ({"eventTime": "1970-01-01T00:00:00Z"}, "an event whose time stands for none is left out"),
        ({"eventTime": "2026-11-02T10:00:00"},
         "an event whose time has no offset is left out; set timezone for the source"),
        ({"eventTime": None}, "no event of OpenLineage is left out"),
        ({"run": {}}, "an event without the id of its run or the name of its job is left out"),
        ({"job": {"namespace": "ml"}}, "an event without the id of its run or the name of its job is left out"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_counted(tmp_path: Path, event: Any, reason: str) -> None:
    pages = parsed(saved(tmp_path / "a.ndjson", said("COMPLETE", "05:00") | event, said("START", "01:00", "r2")))
    assert [one.key for one in events(pages)] == ["r2"]
    assert reasons(pages) == {reason: 1}


@pytest.mark.parametrize(
    "document",
    [5, None, [], [[]], {}, {"events": 5}, {"events": [5]}, said("COMPLETE", "01:00", run=[]),
     said("COMPLETE", "01:00", inputs=5, outputs=[5, {"name": 5}]),
     said("COMPLETE", "01:00", inputs=[dataset(schema={"fields": [5, {"name": ""}]}, version=5)]),
     said("COMPLETE", "01:00") | {"run": [], "eventType": 5}],
)  # fmt: skip
def test_documents_of_any_shape_raise_nothing(tmp_path: Path, document: Any) -> None:
    pages = parsed(saved(tmp_path / "a.ndjson", document, said("START", "02:00", "r2")))
    assert "r2" in {one.key for one in events(pages)}


def test_a_time_without_offset_uses_the_zone_and_an_hour_that_came_twice_is_told(tmp_path: Path) -> None:
    told = said("START", "00:00") | {"eventTime": "2026-10-25T02:30:00"}
    pages = parsed(saved(tmp_path / "a.ndjson", told), zone="Europe/Berlin")
    assert [one.ts for one in events(pages)] == [times.iso("2026-10-25T00:30:00Z")]
    assert reasons(pages) == {"an hour that came twice is taken for the earlier one": 1}


def test_every_payload_is_recognised_by_nobody_else(tmp_path: Path) -> None:
    bare = saved(tmp_path / "bare.ndjson", said("START", "00:00"))
    for path in [*sorted(HERE.glob("*.*json")), HERE, bare]:
        found = item(path, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["openlineage"], path.name
    assert not openlineage.recognise(item(saved(tmp_path / "x.json", {"job": {}, "runId": "1"}), Given()))


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    example = openlineage.ABOUT.example
    text = re.sub(r"^# (?=\w+ = )", "", example, flags=re.M) if uncommented else example
    components = '[[component]]\nname = "claims-risk"\nkind = "model"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.training == (("ml/train_*",) if uncommented else ())


def test_without_a_path_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="set path"):
        list(openlineage.fetch(configured(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(openlineage.fetch(configured(tmp_path / "none.ndjson"), Pull(0, NOW, NOW)))
