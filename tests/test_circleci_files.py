"""CircleCI's saved answers and webhooks: the same events as a pull gives, put together by what they say."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import circleci
from connectors._files import item
from tandem import connect, times
from tandem.cli import main
from tandem.config import parse
from tandem.connect import Common, Given, Pull
from tandem.records import DAY, Event, Fact, Page, Ratio
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.circleci_server import Circle, Raw
from tests.replay import serve

HERE = Path(__file__).parent / "payloads" / "circleci"
NOW = times.iso("2026-11-20T12:00:00Z")
BEGUN = times.iso("2026-11-02T10:00:00Z")


def configured(**more: Any) -> circleci.Config:
    return circleci.Config(Common("circleci", "ci", component=("checkout",), **more.pop("common", {})), **more)


def parsed(path: Path, config: circleci.Config | None = None, **given: Any) -> list[Page]:
    one = item(path, Given(**given))
    assert circleci.recognise(one)
    return list(circleci.parse(one, config or configured()))


def events(pages: list[Page], kind: str = "") -> list[Event]:
    found = [one for page in pages for one in page.records if isinstance(one, Event)]
    return [one for one in found if not kind or one.kind == kind]


def facts(pages: list[Page]) -> dict[str, tuple[int, Any]]:
    return {one.series.signal: (one.ts, one.value) for page in pages for one in page.records if isinstance(one, Fact)}


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


def saved(circle: Circle, folder: Path) -> Path:
    """Everything that a server holds, as pages in files."""
    folder.mkdir()
    page: Any = lambda rows: json.dumps({"items": rows, "next_page_token": None})  # noqa: E731
    (folder / "pipelines.json").write_text(page(circle.pipelines))
    flows: list[Raw] = [one for some in circle.workflows.values() for one in some]
    (folder / "workflows.json").write_text(page(flows))
    for flow, jobs in circle.jobs.items():
        (folder / f"workflow-{flow}-jobs.json").write_text(page(jobs))
    for number, rows in circle.tests.items():
        (folder / f"tests-{number}.json").write_text(page(rows))
    return folder


def test_saved_answers_give_the_very_records_of_a_pull(tmp_path: Path) -> None:
    circle = Circle()
    circle.pipeline(7, NOW - 9000)
    first = circle.workflow(7, NOW - 9000)
    built = circle.job(first, "compile", NOW - 8990)
    circle.results(circle.job(first, "unit", NOW - 8900, 60, "failed", (built,)), 3, ("test_pay",))
    circle.end(first, NOW - 8840, "failed")
    second = circle.rerun(first, NOW - 7000)
    unit = circle.job(second, "unit", NOW - 6990, 50, "success", (built,))
    circle.results(unit, 3, test_pay="success")
    hold = circle.approval(second, "hold", "success", (unit,))
    circle.job(second, "deploy", NOW - 6000, 40, "success", (hold,))
    circle.end(second, NOW - 5960)
    circle.pipeline(8, NOW - 500, state="errored", errors=[{"type": "config", "message": "wrong"}])
    config = configured(project="gh/acme/checkout")
    with serve(circle.answer) as server:
        pull = Pull(NOW - DAY, NOW, NOW, first=True)
        whole = list(circleci.fetch(replace(config, url=server.url), pull))
    told = parsed(saved(circle, tmp_path / "export"), config)
    assert {(e.kind, e.key, e.attempt): replace(e, url="") for e in events(told)} == {
        (e.kind, e.key, e.attempt): replace(e, url="") for e in events(whole)
    }
    assert facts(told) == facts(whole)
    assert [page.slice for page in told if page.slice] == [page.slice for page in whole if page.slice]
    assert facts(told)["flaky"][1] == Ratio(3, 4)


def test_the_payloads_tell_of_a_rerun_from_failed_and_its_approval() -> None:
    pages = parsed(HERE)
    builds = [(e.attempt, e.outcome, e.started, e.ended) for e in events(pages, "build") if e.commit[:4] == "5f1c"]
    assert builds == [
        (1, "bad", BEGUN + 21, BEGUN + 21 + 100 + 120), (2, "good", BEGUN + 3620, BEGUN + 3620 + 120 + 60),
    ]  # fmt: skip
    [approval] = events(pages, "approval")
    assert (approval.title, approval.ts, approval.ended) == (
        "release? of build-and-deploy", BEGUN + 3740, BEGUN + 5420,
    )  # fmt: skip
    assert facts(pages) == {"test_success": (BEGUN, Ratio(2, 2)), "flaky": (BEGUN, Ratio(1, 2))}
    [hooked] = [e for e in events(pages, "build") if e.title == "Drop the old tax table"]
    at = times.iso("2026-11-04T08:00:00Z")
    assert (hooked.outcome, hooked.ts, hooked.started, hooked.ended) == ("good", at + 2, at + 20, at + 20 + 100 + 40)
    assert {"project": "gh/acme/checkout", "committed_at": "2026-11-04T07:45:00Z"}.items() <= dict(
        hooked.labels
    ).items()
    assert hooked.revision == 0, "a delivery does not say which attempt it is of"
    assert [(e.outcome, e.title) for e in events(pages, "build") if e.commit[:4] == "9d8c"] == [
        ("bad", "Cannot find a definition for job named unti"),
    ]  # fmt: skip
    assert reasons(pages) == {}


@pytest.mark.parametrize("name", sorted(one.name for one in HERE.glob("*.js*")))
def test_every_payload_is_read_by_this_connector_only(name: str) -> None:
    found = item(HERE / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["circleci"]


def test_a_file_that_lacks_what_it_belongs_to_says_so() -> None:
    pages = parsed(HERE / "workflows.json")
    assert [(e.attempt, e.outcome, e.commit) for e in events(pages)] == [(1, "bad", ""), (2, "good", "")]
    assert list(reasons(pages)) == ["a pipeline is not in the same file or folder: its branch and commit are not known"]
    assert list(reasons(parsed(HERE / "job.json"))) == [
        "jobs of workflows that are not in the same file or folder are not counted"
    ]
    at = times.iso("2026-11-02T11:00:00Z")
    alone = parsed(HERE / "tests-4002.json", at=at)
    assert facts(alone) == {"test_success": (at, Ratio(1, 2)), "flaky": (at, Ratio(2, 2))}
    assert list(reasons(parsed(HERE / "tests-4002.json"))) == [
        "test results hold no time; the time of the file's last change is taken"
    ]


def test_a_single_job_never_takes_the_place_of_one_in_a_list(tmp_path: Path) -> None:
    for one in HERE.glob("*.js*"):
        (tmp_path / one.name.replace("job.json", "z.json")).write_bytes(one.read_bytes())
    assert [e.ended for e in events(parsed(tmp_path), "approval")] == [BEGUN + 5420]


def test_jobs_in_a_file_without_the_workflow_in_its_name_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "jobs.json"
    path.write_bytes(next(HERE.glob("jobs-*.json")).read_bytes())
    pages = parsed(path)
    assert events(pages) == []
    assert [reason for reason in reasons(pages) if "name the file after the workflow's id" in reason]


def test_other_projects_are_left_out_and_counted() -> None:
    pages = parsed(HERE / "pipelines.json", configured(project="gh/acme/other"))
    assert events(pages) == []
    assert reasons(pages) == {"objects of another project than the one that is configured are left out": 2}
    ours = item(HERE, Given())
    assert circleci.belongs(ours, configured(project="github/Acme/checkout"))
    assert not circleci.belongs(ours, configured(project="gh/acme/other"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"created_at": "2026-11-02T10:00:00"}, "has no offset"),
        ({"created_at": "1970-01-01T00:00:00.000Z"}, "an object has no created_at"),
        ({"id": None}, "an object has no id"),
        ({"stopped_at": "yesterday"}, "is not an ISO 8601 time"),
        ({"name": ""}, "a workflow has no name"),
    ],
)
def test_an_object_that_cannot_be_counted_is_named_and_the_rest_lands(
    tmp_path: Path, change: dict[str, Any], reason: str
) -> None:
    document = json.loads((HERE / "workflows.json").read_text())
    document["items"][0] |= change
    document["items"].append(17)
    path = tmp_path / "workflows.json"
    path.write_text(json.dumps(document))
    pages = parsed(path)
    assert [e.outcome for e in events(pages)] == ["bad"]
    assert any(reason in said for said in reasons(pages))


@pytest.mark.parametrize("text", ["[]", "{}", '{"items": []}', "<html>", '{"type": "build", "status": "x"}', ""])
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    path = tmp_path / "some.json"
    path.write_text(text)
    assert not circleci.recognise(item(path, Given()))


def test_files_are_imported_under_either_name_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "circle_ci"\nname = "ci"\nproject = "gh/acme/checkout"\ncomponent = "checkout"\n'
    )
    for paths in ([HERE], [HERE], [HERE / "webhooks.jsonl"]):
        done = CliRunner().invoke(main, ["import", *map(str, paths)])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        reader = Reader(store)
        told = [one for _, one in reader.events(0, 1 << 40)]
        totals = {}
        for signal in ("build_success", "test_success", "flaky"):
            ids = [one.id for one in reader.series(signal=signal)]
            found = [merge for [merge] in reader.totals("ratio", ids, [(0, 1 << 40)]).values() if merge]
            totals[signal] = [sum(int(merge[place]) for merge in found) for place in (0, 1)]
    assert sorted((e.kind, e.attempt, e.outcome) for e in told if e.kind != "test_run") == [
        ("approval", 1, "good"), ("build", 1, "bad"), ("build", 1, "bad"), ("build", 1, "good"), ("build", 2, "good"),
    ]  # fmt: skip
    assert totals == {"build_success": [2, 3], "test_success": [2, 2], "flaky": [1, 2]}


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", circleci.ABOUT.example, flags=re.M) if uncommented else circleci.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.project == "gh/acme/checkout"
    assert source.config.insights is uncommented
