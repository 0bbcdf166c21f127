"""The pachyderm connector: what pachctl prints of jobs, commits and pipelines, as it grows and changes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from connectors import pachyderm
from connectors._files import item
from tandem import collect, config, connect, exported, report, times
from tandem.config import Config
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.lineage import split
from tandem.records import Event, Fact, Page, Ratio
from tandem.report import Window
from tandem.retrained import trigger
from tandem.store.backup import export
from tandem.store.file import Store, open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent / "payloads" / "pachyderm"
TEN = times.iso("2026-11-02T10:00:00Z")
NOW = times.iso("2026-11-22T00:00:00Z")
FIRST, SECOND, TICK, STOPPED, PARAMS = (pair * 16 for pair in ("a1", "b2", "c3", "d4", "e5"))
SECRET = "token-that-is-never-read"


def configured(path: Path | None = None, **more: Any) -> pachyderm.Config:
    common = Common("pachyderm", "cluster", status=more.pop("status", {}))
    return pachyderm.Config(common, path, **{"training": ("train_*", "nightly_train"), **more})


def parsed(path: Path, **more: Any) -> list[Page]:
    return list(pachyderm.parse(item(path, Given()), configured(**more)))


def pulled(path: Path, until: int = NOW, **more: Any) -> list[Page]:
    return list(pachyderm.fetch(configured(path), Pull(0, until, until, **more)))


def events(pages: list[Page], kind: str = "") -> dict[str, Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    keys = {(one.kind, one.key) for one in found}
    assert len(keys) == len(found), "an object is told twice"
    return {one.key: one for one in found if not kind or one.kind == kind}


def rows(pages: list[Page]) -> dict[tuple[str, str, int], Ratio]:
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    return {(one.series.stage, dict(one.series.labels)["pipeline"], one.ts): one.value for one in facts}  # type: ignore[misc]


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def job(state: str = "JOB_SUCCESS", id_: str = "j1", pipeline: str = "train_x", **more: Any) -> dict[str, Any]:
    return {
        "job": {"pipeline": {"name": pipeline}, "id": id_}, "state": state, "created": "2026-11-02T10:00:00Z",
        "started": "2026-11-02T10:01:00Z", **({} if state.endswith("ING") else {"finished": "2026-11-02T10:06:00Z"}),
        **more,
    }  # fmt: skip


def commit(repo: str, id_: str, kind: str = "USER", **more: Any) -> dict[str, Any]:
    branch = {"repo": {"name": repo, "type": more.pop("type", "user")}, "name": "master"}
    at = {"started": "2026-11-02T10:00:00Z", "finished": "2026-11-02T10:00:30Z"}
    return {"commit": {"branch": branch, "id": id_}, "origin": {"kind": kind}, **at, **more}


def saved(path: Path, *documents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in documents))
    return path


@pytest.fixture
def whole(tmp_path: Path) -> list[Page]:
    """All payloads of the time at which a job was still running, as one folder."""
    for name in ("list_job_expand", "list_job", "list_commit", "list_pipeline"):
        (tmp_path / f"{name}.json").write_text((HERE / f"{name}.json").read_text())
    return parsed(tmp_path)


# -- what is read


def test_trainings_say_their_times_and_outcomes(whole: list[Page]) -> None:
    found = {key: (one.outcome, one.ts, one.started, one.ended) for key, one in events(whole, "training").items()}
    assert found == {
        f"train_claims@{FIRST}": ("good", TEN, TEN + 330, TEN + 1230),
        f"train_claims@{SECOND}": ("excluded", TEN + 3600, None, None),
        f"train_claims@{STOPPED}": ("excluded", TEN + 5400, TEN + 5410, TEN + 5470),
        f"nightly_train@{TICK}": ("open", TEN + 7200, TEN + 7220, None),
    }


def test_a_training_says_what_it_read_and_wrote_and_in_which_container(whole: list[Page]) -> None:
    one = events(whole)[f"train_claims@{FIRST}"]
    # The params that it read under the id of its own set are those of an older commit.
    assert one.data_version == f"params@{PARAMS},prepare@{FIRST}"
    labels = dict(one.labels)
    assert labels["image"].startswith("registry.example/train@sha256:") and labels["pipeline_version"] == "3"
    assert (labels["inputs"], labels["input.1"], labels["input.1.version"]) == ("2", "params", f"params@{PARAMS}")
    assert (labels["output.1"], labels["output.1.version"]) == ("train_claims", f"train_claims@{FIRST}")
    assert one.run == one.key and one.commit == ""


def test_what_began_a_training_is_what_the_set_of_commits_tells(whole: list[Page], tmp_path: Path) -> None:
    found = {key: one.trigger for key, one in events(whole, "training").items()}
    assert found[f"train_claims@{FIRST}"] == "new data" and found[f"nightly_train@{TICK}"] == "cron"
    assert found[f"train_claims@{STOPPED}"] == ""  # its commits are not listed
    assert [trigger(word, "").by for word in ("new data", "cron")] == ["data", "schedule"]
    changed = commit("train_x", "j1", type="spec")
    assert events(parsed(saved(tmp_path / "spec.json", job(), changed)), "training")["train_x@j1"].trigger == "spec"


def test_a_training_that_only_a_clock_feeds_was_begun_by_it(tmp_path: Path) -> None:
    tick = {"cron": {"name": "tick", "repo": "train_x_tick", "commit": "j1", "spec": "@daily"}}
    for details, word in (({"input": tick}, "cron"), ({"input": {"cross": [tick, {"pfs": {"repo": "r"}}]}}, "")):
        pages = parsed(saved(tmp_path / "j.json", job(details=details)))
        assert events(pages)["train_x@j1"].trigger == word


def test_versions_of_data_are_commits_and_join_what_made_and_what_read_them(whole: list[Page]) -> None:
    found = events(whole, "data_version")
    assert {key: (one.outcome, one.run) for key, one in found.items()} == {
        f"claims@{FIRST}": ("good", ""), f"claims@{SECOND}": ("good", ""), f"params@{PARAMS}": ("good", ""),
        f"prepare@{FIRST}": ("good", f"prepare@{FIRST}"), f"prepare@{SECOND}": ("bad", f"prepare@{SECOND}"),
        f"nightly_train_tick@{TICK}": ("good", ""),
    }  # fmt: skip
    made = dict(found[f"prepare@{FIRST}"].labels)
    assert (made["input.1"], made["input.1.version"], made["bytes"]) == ("claims", f"claims@{FIRST}", "120034")
    trained = events(whole)[f"train_claims@{FIRST}"]
    assert set(trained.data_version.split(",")) <= {one.data_version for one in found.values()}


def test_valid_rows_are_datums_that_a_job_worked_on(whole: list[Page]) -> None:
    # By hand: 100 of 100; then 17 processed, 1 failed, 2 recovered, 100 skipped and 5 never begun.
    assert rows(whole) == {
        ("production", "prepare", TEN + 300): Ratio(100, 100),
        ("production", "prepare", TEN + 4200): Ratio(17, 20),
        ("training", "train_claims", TEN + 1200): Ratio(1, 1),
    }


def test_the_gateway_says_the_same_in_other_names() -> None:
    one, other = (parsed(HERE / name) for name in ("list_job_expand.json", "gateway_list_job.ndjson"))
    running = f"nightly_train@{TICK}"
    ours, theirs = events(one), events(other)
    assert {key: ours[key] for key in ours if key != running} == {key: theirs[key] for key in theirs if key != running}
    assert (ours[running].outcome, theirs[running].outcome) == ("open", "good")
    assert theirs[running].revision > ours[running].revision
    assert rows(one).items() <= rows(other).items()


@pytest.mark.parametrize("order", [("a", "b"), ("b", "a")])
def test_a_listing_without_details_takes_nothing_away(tmp_path: Path, order: tuple[str, str]) -> None:
    for name, payload in zip(order, ("list_job.json", "list_job_expand.json"), strict=True):
        (tmp_path / f"{name}.json").write_text((HERE / payload).read_text())
    assert events(parsed(tmp_path)) == events(parsed(HERE / "list_job_expand.json"))
    brief = events(parsed(HERE / "list_job.json"))
    assert all(one.revision < events(parsed(tmp_path))[key].revision for key, one in brief.items())


def test_of_many_inputs_the_labels_name_the_first_and_no_commit_is_cut(tmp_path: Path) -> None:
    leaves = [{"pfs": {"repo": f"r{number:02d}", "commit": FIRST}} for number in range(32)]
    one = events(parsed(saved(tmp_path / "j.json", job(details={"input": {"cross": leaves}}))))["train_x@j1"]
    assert split(one.data_version) == [f"r{number:02d}@{FIRST}" for number in range(30)]
    assert (dict(one.labels)["inputs"], "input.30" in dict(one.labels), "input.31" in dict(one.labels)) == (
        "32", True, False
    )  # fmt: skip


def test_projects_keep_pipelines_of_one_name_apart(tmp_path: Path) -> None:
    def of(project: str) -> dict[str, Any]:
        return job(job={"pipeline": {"name": "train_x", "project": {"name": project}}, "id": "j1"})

    found = events(parsed(saved(tmp_path / "j.json", of("default"), of("fraud"))), "training")
    assert set(found) == {"train_x@j1", "fraud/train_x@j1"}
    assert dict(found["fraud/train_x@j1"].labels)["project"] == "fraud"


@pytest.mark.parametrize(
    ("state", "outcome", "remarked"),
    [("JOB_CREATED", "open", False), ("JOB_STARTING", "open", False), ("JOB_RUNNING", "open", False),
     ("JOB_EGRESSING", "open", False), ("JOB_FINISHING", "open", False), ("JOB_SUCCESS", "good", False),
     ("JOB_FAILURE", "bad", False), ("JOB_KILLED", "excluded", False), ("JOB_UNRUNNABLE", "excluded", False),
     ("", "excluded", True), ("JOB_DREAMING", "excluded", True)],
)  # fmt: skip
def test_each_state(tmp_path: Path, state: str, outcome: str, remarked: bool) -> None:
    pages = parsed(saved(tmp_path / "j.json", job(state)))
    assert events(pages)["train_x@j1"].outcome == outcome
    assert any("is unknown" in reason for reason in reasons(pages)) == remarked


def test_a_source_may_say_what_a_state_means(tmp_path: Path) -> None:
    pages = parsed(saved(tmp_path / "j.json", job("JOB_UNRUNNABLE")), status={"JOB_UNRUNNABLE": "bad"})
    assert events(pages)["train_x@j1"].outcome == "bad"


def test_no_job_is_a_training_by_its_name_alone() -> None:
    pages = parsed(HERE / "list_job_expand.json", training=())
    assert events(pages) == {}
    assert {stage for stage, _, _ in rows(pages)} == {"production"}
    assert any("no pipeline is named in `training`" in reason for reason in reasons(pages))


@pytest.mark.parametrize(
    ("document", "reason"),
    [(job(job={"id": "j1", "pipeline": {}}), "a job without pipeline and id"),
     (job(job={"id": 7, "pipeline": {"name": "train_x"}}), "a job without pipeline and id"),
     (job(created=None, started="1970-01-01T00:00:00Z"), "a job that says no time"),
     (job(created="yesterday"), "is not an ISO 8601 time"),
     (commit("r", ""), "a commit without repo and id"),
     (commit("r", "c1", started=None), "a commit that says no time"),
     (job(data_processed="7", data_total="6"), "counts more datums than it has"),
     (job(data_processed="many"), "or no numbers"),
     (job(data_processed=-1), "or no numbers"),
     ([3], "what is no object"),
     ({"id": "x"}, "what is no job, commit or pipeline")],
)  # fmt: skip
def test_what_cannot_be_used_is_counted(tmp_path: Path, document: Any, reason: str) -> None:
    pages = parsed(saved(tmp_path / "j.json", document, job("JOB_FAILURE", "fine", data_processed="3")))
    assert [count for told, count in reasons(pages).items() if reason in told] == [1]
    assert events(pages)["train_x@fine"].outcome == "bad"
    assert list(rows(pages).values()) == [Ratio(3, 3)]


@pytest.mark.parametrize(
    "field", ["job", "details", "output_commit", "stats", "data_total", "state", "restart", "reason"]
)
@pytest.mark.parametrize("value", [None, [], {}, "", 3, [{}], {"input": {"cross": [3, {"pfs": 3}]}}])
def test_documents_of_any_shape_raise_nothing(tmp_path: Path, field: str, value: Any) -> None:
    parsed(saved(tmp_path / "j.json", {**job(), field: value}, {"jobs": [value]}, {"commits": value}))


def test_aliases_in_a_ring_end(tmp_path: Path) -> None:
    ring = [commit("r", one, "ALIAS", parent_commit=commit("r", other)["commit"]) for one, other in ("ab", "ba")]
    reads = {"input": {"pfs": {"repo": "r", "commit": "a"}}}
    pages = parsed(saved(tmp_path / "j.json", *ring, job(details=reads)))
    assert events(pages, "training")["train_x@j1"].data_version in ("r@a", "r@b")


def test_an_end_before_the_beginning_is_no_duration(tmp_path: Path) -> None:
    one = events(parsed(saved(tmp_path / "j.json", job(finished="2026-11-02T10:00:30Z"))))["train_x@j1"]
    assert (one.outcome, one.started, one.ended) == ("good", TEN + 60, None)


def test_neither_tokens_nor_environment_are_told(whole: list[Page], tmp_path: Path) -> None:
    assert SECRET in (HERE / "list_job_expand.json").read_text()
    assert SECRET not in repr(whole)


def test_every_payload_is_recognised_by_nobody_else(tmp_path: Path) -> None:
    paths = [*sorted(HERE.glob("*json")), saved(tmp_path / "f" / "a.json", job()).parent]
    for path in paths:
        assert [one for one in connect.names() if connect.load(one).recognise(item(path, Given()))] == ["pachyderm"]
    saved(tmp_path / "f" / "b.json", {"other": 1})
    assert not pachyderm.recognise(item(tmp_path / "f", Given()))


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    example = pachyderm.ABOUT.example
    text = re.sub(r"^# (?=\w+ = )", "", example, flags=re.M) if uncommented else example
    components = '[[component]]\nname = "claims-risk"\nkind = "model"\n[[source]]\n'
    (source,) = config.parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.training == (("train_*",) if uncommented else ())


def test_without_a_path_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="set path"):
        list(pachyderm.fetch(configured(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        pulled(tmp_path / "none.json")


# -- pulls


def test_a_second_pull_reads_nothing_and_a_changed_file_tells_only_what_is_new(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_text((HERE / "list_job_expand.json").read_text())
    first = pulled(tmp_path)
    counted = {page.slice.name: page.slice.digest for page in first if page.slice}
    assert len(counted) == 3
    assert pulled(tmp_path, state=first[-1].state) == []
    path.write_text((HERE / "gateway_list_job.ndjson").read_text())
    again = pulled(tmp_path, state=first[-1].state, taken=counted.get)
    assert [page.slice.name for page in again if page.slice] == [f"pachyderm:datums:nightly_train@{TICK}"]
    assert events(again)[f"nightly_train@{TICK}"].outcome == "good"


def test_what_lies_after_the_end_of_a_pull_is_left_for_the_next(tmp_path: Path) -> None:
    saved(tmp_path / "j.json", job(data_processed="3"), commit("r", "c1"))
    pages = pulled(tmp_path, until=TEN + 360)
    assert (set(events(pages)), rows(pages), pages[-1].state) == ({"r@c1"}, {}, "")
    later = pulled(tmp_path, until=TEN + 361, state="")
    assert set(events(later)) == {"r@c1", "train_x@j1"} and later[-1].state != ""


def test_a_broken_file_is_a_finding_and_the_rest_lands(tmp_path: Path) -> None:
    saved(tmp_path / "a.json", job())
    (tmp_path / "b.json").write_text(json.dumps(job(id_="j2"), indent=4) + '\n{"job": {"pipeline": {"name": "JOB_')
    pages = pulled(tmp_path)
    assert set(events(pages)) == {"train_x@j1", "train_x@j2"}
    assert [(one.kind, one.where) for page in pages for one in page.findings] == [("reject", "b.json")]


# -- in the store

CONFIG = """
[[component]]
name = "claims-risk"
kind = "model"

[[source]]
connector = "pachyderm"
name = "cluster"
path = "files/*"
training = ["train_*", "nightly_train"]
component = "claims-risk"
"""


class Context(NamedTuple):
    config: Config
    store: Store


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Context]:
    (tmp_path / "files").mkdir()
    (tmp_path / "tandem.toml").write_text(CONFIG)
    with open_store(tmp_path / "s.duckdb") as store:
        yield Context(config.load(tmp_path / "tandem.toml"), store)


def synced(context: Context) -> None:
    assert [one.error for one in collect.sync(context.store, context.config, NOW)] == [""]


def imported(context: Context, path: Path) -> None:
    for found in exported.recognise([path], context.config, Given(), None):
        assert found.item is not None and found.source is not None, found.refused
        collect.import_item(context.store, found.source, found.item, NOW)


def counted(context: Context) -> dict[str, tuple[int, int]]:
    answer = report.show(context, "claims-risk", Window(TEN - 7200, TEN + 14400), now=NOW)
    return {one["signal"]: (one["good"], one["total"]) for one in answer["signals"] if one.get("good") is not None}


def held(context: Context, kind: str) -> dict[str, str]:
    found = Reader(context.store).events(TEN - 7200, TEN + 14400, components=["claims-risk"], newest=True)
    return {one.key: one.outcome for _, one in found if one.kind == kind}


@pytest.mark.parametrize("ways", [("sync",), ("import",), ("sync", "import", "sync"), ("import", "sync", "import")])
def test_however_they_come_they_count_once(context: Context, tmp_path: Path, ways: tuple[str, ...]) -> None:
    for payload in ("list_job_expand.json", "list_job.json", "list_commit.json", "list_pipeline.json"):
        (tmp_path / "files" / payload).write_text((HERE / payload).read_text())
    for way in ways:
        if way == "sync":
            synced(context)
        else:
            imported(context, tmp_path / "files")
    # By hand: of prepare 100 of 100 and 17 of 20; what the training read is of stage training.
    assert counted(context) == {"training_success": (1, 1), "valid_rows": (117, 120)}
    assert held(context, "training")[f"nightly_train@{TICK}"] == "open"


def test_a_running_job_that_finishes_counts_once_and_an_older_export_changes_nothing(
    context: Context, tmp_path: Path
) -> None:
    path = tmp_path / "files" / "jobs.json"
    path.write_text((HERE / "list_job_expand.json").read_text())
    synced(context)
    assert counted(context)["training_success"] == (1, 1)
    path.write_text((HERE / "gateway_list_job.ndjson").read_text())
    synced(context)
    assert counted(context)["training_success"] == (2, 2)
    imported(context, HERE / "inspect_job.json")
    assert counted(context) == {"training_success": (2, 2), "valid_rows": (117, 120)}
    lasted = context.store.cursor().execute(
        "SELECT sum(h.n), sum(h.sum) FROM histogram h JOIN series s ON s.id = h.series "
        "WHERE s.signal = 'training_duration'"
    ).fetchone()  # fmt: skip
    assert lasted is not None and tuple(map(int, lasted)) == (2, (900 + 1800) * 10**6)


def test_a_commit_that_is_still_open_is_told_again_when_it_finished(context: Context, tmp_path: Path) -> None:
    path = tmp_path / "files" / "commits.json"
    saved(path, commit("claims", "c1", finished=None))
    synced(context)
    assert held(context, "data_version") == {"claims@c1": "open"}
    saved(path, commit("claims", "c1"))
    synced(context)
    assert held(context, "data_version") == {"claims@c1": "good"}


def test_what_trainings_read_never_enters_an_objective_of_production(context: Context, tmp_path: Path) -> None:
    saved(tmp_path / "files" / "j.json", job(data_processed="1", data_failed="99"))
    synced(context)
    assert "valid_rows" not in counted(context)


def test_hostile_names_stay_data_and_secrets_are_not_kept(context: Context, tmp_path: Path) -> None:
    name = "train_<script>alert(1)</script>'; DROP TABLE event; --\n\u202e" + "x" * 5000
    (tmp_path / "files" / "a.json").write_text((HERE / "list_job_expand.json").read_text())
    saved(tmp_path / "files" / "b.json", job(pipeline=name, reason=name))
    synced(context)
    assert f"{name}@j1" in held(context, "training")
    export(context.store, tmp_path / "out")
    kept = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert SECRET.encode() not in kept + (tmp_path / "s.duckdb").read_bytes()
