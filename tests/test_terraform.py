"""Terraform: runs newest first until known, drift as in_sync, and an allow-list that lets no value through."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from connectors import terraform
from connectors._files import item
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, Event, Fact, Page, Ratio
from tandem.store.backup import export
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests.replay import Answer, serve
from tests.terraform_server import CANARY, Terraform

HERE = Path(__file__).parent / "payloads" / "terraform"
FILES = ("apply.jsonl", "plan.json", "runs.json", "state.json")
SECRET = "canary-4c11"
NOW = times.iso("2026-11-21T12:00:00Z")


@pytest.fixture
def hcp() -> Terraform:
    return Terraform()


@pytest.fixture
def url(hcp: Terraform) -> Iterator[str]:
    with serve(hcp.answer) as server:
        yield server.url


def configured(url: str = terraform.API, **more: Any) -> terraform.Config:
    common = Common("terraform", "tf", component=("shop",), status=more.pop("status", {}))
    return terraform.Config(common, organization=more.pop("organization", "acme"), url=url, **more)


def pulled(config: terraform.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(terraform.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def parsed(path: Path, **given: Any) -> list[Page]:
    told = item(path, Given(**given))
    assert terraform.recognise(told)
    return list(terraform.parse(told, configured()))


def events(pages: Sequence[Page]) -> list[Event]:
    return [record for page in pages for record in page.records if isinstance(record, Event)]


def facts(pages: Sequence[Page]) -> list[Fact]:
    return [record for page in pages for record in page.records if isinstance(record, Fact)]


def state(pages: Sequence[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def still(pages: Sequence[Page]) -> tuple[Event, ...]:
    return tuple(event for event in events(pages) if event.outcome == "open")


def reasons(pages: Sequence[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


# -- files


def test_a_log_of_apply_tells_the_run_and_what_had_drifted() -> None:
    run, drift = events(pages := parsed(HERE / "apply.jsonl"))
    assert (run.kind, run.outcome, run.title) == ("infrastructure", "good", "applied: 1 added, 1 changed")
    assert [times.text(at or 0) for at in (run.ts, run.started, run.ended)] == [
        "2026-11-20T14:00:00Z", "2026-11-20T14:00:00Z", "2026-11-20T14:00:42Z",
    ]  # fmt: skip
    told = dict(run.labels)
    assert (told["added"], told["changed"], told["removed"], told["terraform"]) == ("1", "1", "0", "1.9.8")
    assert (drift.outcome, drift.ended, drift.title) == ("bad", None, "1 of 4 resources drifted")
    [synced] = facts(pages)
    assert (synced.series.signal, synced.value, synced.ts) == ("in_sync", Ratio(3, 4), run.ts // 300 * 300)


@pytest.mark.parametrize(
    ("keep", "extra", "status", "outcome"),
    [
        (12, "", "plan only", "excluded"),
        (14, "", "unfinished", "open"),
        (14, '{"@timestamp": "2026-11-20T10:00:30-04:00", "type": "diagnostic", "diagnostic": {"severity": "error"}}\n',
         "errored", "bad"),
        (14, '{"@timestamp": "2026-11-20T10:00:30-04:00", "type": "diagn', "unfinished", "open"),
        (99, "", "applied", "good"),
    ],
)  # fmt: skip
def test_how_a_log_ends_says_how_the_run_did(tmp_path: Path, keep: int, extra: str, status: str, outcome: str) -> None:
    lines = (HERE / "apply.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "apply.jsonl").write_text("".join(lines[:keep]) + extra)
    run = events(parsed(tmp_path / "apply.jsonl"))[0]
    assert (dict(run.labels)["status"], run.outcome) == (status, outcome)
    assert (run.ended is None) is (outcome == "open")
    assert run.key == events(parsed(HERE / "apply.jsonl"))[0].key


def test_opentofu_writes_the_same_and_two_runs_in_one_file_are_two(tmp_path: Path) -> None:
    text = (
        (HERE / "apply.jsonl").read_text().replace("terraform.ui", "tofu.ui").replace('"terraform": "1', '"tofu": "1')
    )
    later = text.replace("2026-11-20T10:00", "2026-11-20T11:00")
    (tmp_path / "apply.jsonl").write_text(text + later)
    runs = [one for one in events(parsed(tmp_path / "apply.jsonl")) if one.ended]
    assert [(dict(one.labels)["terraform"], one.ts) for one in runs] == [
        ("1.9.8", times.iso("2026-11-20T14:00:00Z")), ("1.9.8", times.iso("2026-11-20T15:00:00Z")),
    ]  # fmt: skip
    assert len({one.key for one in runs}) == 2


def test_a_plan_tells_how_much_is_as_declared() -> None:
    """Three managed resources are planned for and one more is gone: two of the four are not as declared."""
    pages = parsed(HERE / "plan.json")
    [synced] = facts(pages)
    assert (synced.value, times.text(synced.ts)) == (Ratio(2, 4), "2026-11-20T09:00:00Z")
    [drift] = events(pages)
    assert (drift.title, drift.ended) == ("2 of 4 resources drifted", None)


def test_a_plan_without_time_or_with_an_error(tmp_path: Path) -> None:
    raw = json.loads((HERE / "plan.json").read_text())
    del raw["timestamp"]
    (tmp_path / "plan.json").write_text(json.dumps(raw))
    assert facts(parsed(tmp_path / "plan.json", at=NOW))[0].ts == NOW // 300 * 300
    assert [n for reason, n in reasons(parsed(tmp_path / "plan.json")).items() if "last change" in reason] == [1]
    (tmp_path / "plan.json").write_text(json.dumps({**raw, "errored": True}))
    assert facts(parsed(tmp_path / "plan.json")) == []


def test_a_state_is_its_lineage_and_serial() -> None:
    [one] = events(pages := parsed(HERE / "state.json", at=NOW))
    assert (one.key, one.ts, one.outcome) == ("3f2504e0-4f89-11d3-9a0c-0305e82c3301:42", NOW, "good")
    assert (one.title, one.started, one.ended) == ("state 42: 2 resources", None, None)
    assert facts(pages) == []


def test_a_saved_list_of_runs_is_read_as_the_api() -> None:
    [one] = events(parsed(HERE / "runs.json"))
    assert (one.key, one.outcome, one.commit) == (
        "run-CZcmD7eagjhyX0vN", "good", "9f1c2d3e4b5a69788796a5b4c3d2e1f001122334",
    )  # fmt: skip
    assert [times.text(at or 0)[11:19] for at in (one.ts, one.started, one.ended)] == [
        "08:00:00",
        "09:30:10",
        "09:31:10",
    ]
    assert dict(one.labels)["workspace"] == "shop-checkout"


@pytest.mark.parametrize("name", FILES)
def test_every_payload_is_recognised_by_nobody_else(name: str) -> None:
    told = item(HERE / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(told)] == ["terraform"]


@pytest.mark.parametrize(
    "text", ["{}", "[]", '{"format_version": "1.0"}', '{"lineage": 1}', '{"@timestamp": "x", "@message": "y"}', "x"]
)
def test_other_content_is_not_recognised(tmp_path: Path, text: str) -> None:
    (tmp_path / "some").write_text(text)
    assert not terraform.recognise(item(tmp_path / "some", Given()))


def test_what_cannot_be_counted_says_why(tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text('{"version": 3, "terraform_version": "0.11", "serial": 1, "lineage": "x"}')
    pages = parsed(tmp_path / "s.json")
    assert (events(pages), list(reasons(pages))) == ([], ["a state is not of version 4, or lacks lineage or serial"])


# -- the API


def test_a_run_lasts_as_long_as_its_apply_and_names_its_commit(hcp: Terraform, url: str) -> None:
    hcp.run("7", NOW - 5000)
    [one] = events(pulled(configured(url)))
    assert (one.key, one.outcome, one.ts, one.started, one.ended) == (
        "run-7", "good", NOW - 5000, NOW - 5000 + 240, NOW - 5000 + 300,
    )  # fmt: skip
    assert (one.commit, one.actor, one.trigger) == (f"{7:040x}", "ada", "manual")
    told = dict(one.labels)
    assert (told["workspace"], told["branch"], told["status"], told["has_changes"]) == (
        "shop",
        "main",
        "applied",
        "true",
    )
    assert one.url == f"{url}/app/acme/workspaces/shop/runs/run-7"


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(hcp: Terraform, url: str) -> None:
    words = [word for word in terraform.STATUS if word not in ("plan only", "state", "drifted", "unfinished")]
    for number, word in enumerate([*words, "exploded"]):
        hcp.run(str(number), NOW - 9000 + number, word)
    hcp.run("900", NOW - 100, "planned_and_finished", every=1, **{"plan-only": True})
    hcp.run("901", NOW - 100, "errored", every=1, **{"plan-only": True})
    pages = pulled(configured(url))
    told = {one.key: one.outcome for one in events(pages)}
    assert [told[f"run-{number}"] for number in range(len(words))] == [terraform.STATUS[word] for word in words]
    assert told[f"run-{len(words)}"] == told["run-900"] == told["run-901"] == "excluded"
    assert [n for reason, n in reasons(pages).items() if '"exploded" is unknown' in reason] == [1]
    own = {one.key: one.outcome for one in events(pulled(configured(url, status={"exploded": "bad"})))}
    assert own[f"run-{len(words)}"] == "bad"


def test_the_list_is_walked_until_what_is_known_and_old_runs_that_go_on_are_asked_for(
    hcp: Terraform, url: str, capsys: Any
) -> None:
    hcp.run("1", NOW - 50_000, "planned")  # waits for its approval
    for number in range(2, 352):
        hcp.run(str(number), NOW - 40_000 + 60 * number)
    first = pulled(configured(url))
    assert len(events(first)) == 351
    hcp.asked.clear()
    again = pulled(
        configured(url, drift=False), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first)
    )
    print(f"second pull: {len(hcp.asked)} requests, fewest possible 3")
    assert [one.path.rpartition("/")[2] for one in hcp.asked] == ["workspaces", "runs", "run-1"]
    hcp.run("1", NOW - 50_000, "applied", every=10_100)
    hcp.run("400", NOW + 350, "applied", every=5)
    later = pulled(configured(url), NOW - 300, NOW + 600, first=False, state=state(again), open=still(first))
    assert {(one.key, one.outcome) for one in events(later)} == {("run-1", "good"), ("run-400", "good")}
    assert "fewest possible 3" in capsys.readouterr().out


def test_runs_inserted_in_mid_walk_lose_nothing(hcp: Terraform) -> None:
    for number in range(250):
        hcp.run(str(number), NOW - 40_000 + 60 * number)

    def inserting(asked: Any) -> Answer:
        if asked.parameters().get("page[number]") == "2":
            for number in range(500, 530):
                hcp.run(str(number), NOW - 400)
        return hcp.answer(asked)

    with serve(inserting) as server:
        found = {one.key for one in events(pulled(configured(server.url, drift=False)))}
        assert found >= {f"run-{number}" for number in range(250)}
        swept = pulled(configured(server.url, drift=False), NOW - 600, NOW, first=False, sweep=True)
    assert {one.key for one in events(swept)} >= {f"run-{number}" for number in range(500, 530)}


def test_the_sweep_finds_a_run_that_a_page_lost(hcp: Terraform, url: str) -> None:
    hcp.run("1", NOW - 3 * DAY)
    hcp.run("3", NOW - DAY)
    first = pulled(configured(url))
    hcp.run("2", NOW - 2 * DAY)
    plain = pulled(configured(url), NOW - 600, NOW + 10, first=False, state=state(first))
    assert events(plain) == []
    swept = pulled(configured(url), NOW - 600, NOW + 10, first=False, state=state(first), sweep=True)
    assert "run-2" in {one.key for one in events(swept)}


def test_what_ends_at_or_after_until_goes_on(hcp: Terraform, url: str) -> None:
    hcp.run("1", NOW - 300, every=60)
    hcp.run("2", NOW)
    first = pulled(configured(url))
    assert [(one.key, one.outcome, one.ended) for one in events(first)] == [("run-1", "open", None)]
    later = pulled(configured(url), NOW - 600, NOW + 600, first=False, state=state(first), open=still(first))
    told = {one.key: one for one in events(later)}
    assert [(told[key].outcome) for key in ("run-1", "run-2")] == ["good", "good"]
    assert told["run-1"].revision > events(first)[0].revision


def test_an_open_run_that_is_gone_is_excluded(url: str) -> None:
    gone = Event("infrastructure", "run-9", NOW - 100, outcome="open")
    pages = pulled(configured(url), open=(gone,))
    assert [(one.key, one.outcome) for one in events(pages)] == [("run-9", "excluded")]


def test_only_chosen_workspaces_count(hcp: Terraform, url: str) -> None:
    hcp.run("1", NOW - 500, every=1, workspace="ws-1")
    hcp.run("2", NOW - 500, every=1, workspace="ws-2")
    assert [one.key for one in events(pulled(configured(url, workspaces=("ca*",))))] == ["run-2"]


def totals(store: Store, kind: str, signal: str) -> tuple[int, int]:
    reader = Reader(store)
    ids = [kept.id for kept in reader.series(signal=signal)]
    found = [merge[0] for merge in reader.totals(kind, ids, [(0, 1 << 40)]).values() if merge[0]]
    rows = [row for one in found for row in (one.values() if isinstance(one, dict) else [one])]
    return sum(row[0] for row in rows), sum(row[1] for row in rows)


def test_drift_and_runs_are_counted_once_over_many_pulls(hcp: Terraform, url: str, tmp_path: Path) -> None:
    source = Source(configured(url).common, connect.load("terraform"), configured(url))
    with open_store(tmp_path / "t.duckdb") as store:
        hcp.run("1", NOW - 5000, "errored")
        hcp.run("2", NOW - 4000, "planned")
        hcp.assess("ws-1", "asmtres-1", NOW - 3000, 2, 8)
        for again in range(2):
            assert collect.pull(store, source, NOW + again).error == ""
        assert totals(store, "ratio", "deploy_success") == (0, 1)
        assert totals(store, "ratio", "in_sync") == (8, 10)
        hcp.run("2", NOW - 4000, every=1000)
        hcp.assess("ws-1", "asmtres-2", NOW + 500, 0, 10)
        for again in range(2):
            assert collect.pull(store, source, NOW + 2000 + again).error == ""
        assert totals(store, "ratio", "deploy_success") == (1, 2)
        assert totals(store, "histogram", "deploy_duration") == (2, (60 + 1000) * 10**6)
        assert totals(store, "ratio", "in_sync") == (18, 20)
        told = {one.key: one.outcome for _, one in Reader(store).events(0, 1 << 40)}
        assert told == {"run-1": "bad", "run-2": "good", "drift:asmtres-1": "bad"}


def test_an_assessment_that_failed_or_does_not_count_says_nothing(hcp: Terraform, url: str) -> None:
    hcp.assess("ws-1", "a", NOW - 100, 1, 1, succeeded=False)
    assert facts(failed := pulled(configured(url))) == []
    assert "a health assessment that failed says nothing of drift" in reasons(failed)
    hcp.assess("ws-1", "b", NOW - 100, 1, 1)
    del hcp.assessments["ws-1"]["attributes"]["resources-undrifted"]
    assert facts(pulled(configured(url))) == []


def test_a_source_without_organization_and_what_is_no_terraform_are_refused() -> None:
    with pytest.raises(SourceRefused, match="set organization"):
        pulled(configured(organization=""))
    for answer in (Answer({"items": []}), Answer("<!DOCTYPE html>", 200, {"Content-Type": "text/html"})):
        with serve(lambda asked, told=answer: told) as server, pytest.raises(SourceRefused, match="check"):
            pulled(configured(server.url))


# -- secrets


def test_no_value_reaches_store_log_page_or_export(
    hcp: Terraform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any, caplog: Any
) -> None:
    """Plans, states, logs and runs are full of values that may be secrets, and so is the token."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TFE_TOKEN", "canary-token")
    (tmp_path / "tandem.toml").write_text("")
    hcp.run("1", NOW - 5000, "errored")
    hcp.assess("ws-1", "a", NOW - 3000, 1, 1)
    said: list[str] = []
    for name in FILES:
        assert SECRET in (HERE / name).read_text()
        done = CliRunner().invoke(main, ["import", str(HERE / name), "--component", "shop"])
        assert done.exit_code == 0, done.output
        said += [done.output, repr(parsed(HERE / name))]
    with serve(hcp.answer) as server, open_store(tmp_path / "tandem.duckdb") as store:
        common = Common("terraform", "tf", component=("shop",), token_env="TFE_TOKEN")
        config = terraform.Config(common, organization="acme", url=server.url)
        said.append(repr(collect.pull(store, Source(common, connect.load("terraform"), config), NOW)))
        export(store, tmp_path / "export")
    for words in (
        ["show", "shop", "--since", "now-90d"],
        ["show", "shop", "--json", "--since", "now-90d"],
        ["sources"],
    ):
        said.append(CliRunner().invoke(main, words).output)
    said += ["".join(capfd.readouterr()), caplog.text]
    for canary in (SECRET, CANARY, "canary-token"):
        assert not [one for one in said if canary in one]
        for found in tmp_path.rglob("*"):
            if found.is_file():
                assert canary.encode() not in found.read_bytes(), found
                if found.suffix == ".parquet":
                    assert canary not in repr(pq.read_table(found).to_pylist()), found


def test_files_are_imported_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tandem.toml").write_text("")
    for _ in range(2):
        done = CliRunner().invoke(main, ["import", *[str(HERE / name) for name in FILES], "--component", "shop"])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        assert len(list(Reader(store).events(0, 1 << 40))) == 5
        assert totals(store, "ratio", "in_sync") == (3 + 2, 4 + 4)
        assert totals(store, "ratio", "deploy_success") == (2, 2)
        assert totals(store, "histogram", "deploy_duration") == (2, (42 + 60) * 10**6)


def test_a_log_that_grows_is_one_run(tmp_path: Path) -> None:
    lines = (HERE / "apply.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "logs").mkdir()
    path = tmp_path / "logs" / "apply.jsonl"
    config = configured(f"file:{tmp_path / 'logs'}")
    source = Source(config.common, connect.load("terraform"), config)
    with open_store(tmp_path / "t.duckdb") as store:
        for keep, want in ((6, (2, 2)), (14, (3, 4)), (99, (3, 4))):
            path.write_text("".join(lines[:keep]))
            assert collect.pull(store, source, NOW + keep).error == ""
            assert totals(store, "ratio", "in_sync") == want
        assert totals(store, "ratio", "deploy_success") == (1, 1)


def test_hostile_names_stay_data(hcp: Terraform, url: str) -> None:
    name = "x'); DROP TABLE event;--<script>"
    hcp.workspaces["ws-1"] = (name, False)
    hcp.run("1", NOW - 500, every=1)
    [one] = events(pulled(configured(url)))
    assert dict(one.labels)["workspace"] == name
