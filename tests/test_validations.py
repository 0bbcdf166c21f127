"""dbt and Great Expectations: one validation per run, with its checks; nothing of the data is kept."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import junit
from connectors._files import item
from tandem import collect, connect, exported, report, times
from tandem import config as configuration
from tandem.config import Config
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Outcome, Page
from tandem.report import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent / "payloads" / "junit"
TEN = times.iso("2026-11-02T10:00:00Z")
NOW = times.iso("2026-11-22T00:00:00Z")
SHA = "0123456789abcdef0123456789abcdef01234567"


def parsed(
    path: Path, *, at: int | None = None, checks: tuple[str, ...] = (), status: dict[str, Outcome] | None = None
) -> Page:
    config = junit.Config(Common("junit", "data", status=status or {}), checks=checks)
    (page,) = junit.parse(item(path, Given(at=at)), config)
    return page


def events(page: Page) -> list[Event]:
    return [one for one in page.records if isinstance(one, Event)]


def reasons(page: Page) -> list[str]:
    return [finding.reason for finding in page.findings]


def saved(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document))
    return path


def dbt(*tests: tuple[str, str], **more: Any) -> dict[str, Any]:
    timing = [{"name": "execute", "started_at": "2026-11-02T10:00:00.5Z", "completed_at": "2026-11-02T10:00:01Z"}]
    rows = [{"unique_id": name, "status": status, "timing": timing} for name, status in tests]
    told = {"dbt_schema_version": "https://schemas.getdbt.com/dbt/run-results/v6.json", "invocation_id": "i1",
            "generated_at": "2026-11-02T10:01:00Z", "env": {}}  # fmt: skip
    return {"metadata": told, "results": rows, "args": {"which": "test"}} | more


# -- dbt


def test_a_run_of_dbt_is_one_validation_of_its_tests() -> None:
    page = parsed(HERE / "dbt_run_results.json")
    (run,) = events(page)
    assert (run.kind, run.outcome, run.key) == ("validation", "bad", "dbt:0d2c5fbe-6a91-40d0-bd24-6e6c15566c0e")
    # Six tests: two passed, one warned, one failed, one broke, one was skipped; two models are none.
    assert run.title == "shop: 2 of 5 checks failed"
    assert run.commit == SHA
    # the first test began at 16:18:31.909, dbt ended at 16:18:32.197
    assert (run.ts, run.ended) == (times.iso("2026-11-21T16:18:31Z"), times.iso("2026-11-21T16:18:32Z"))
    told = dict(run.labels)
    assert (told["checks"], told["failed"], told["warned"], told["skipped"]) == ("5", "2", "1", "1")
    assert told["failed_checks"] == "accepted_values_claims_site__a__b, assert_broken"
    assert (told["suite"], told["command"], told["file"]) == ("shop", "build", "dbt_run_results.json")
    assert page.findings == ()


def test_what_a_check_found_is_not_kept() -> None:
    for path in sorted(HERE.glob("*.json")):
        said = repr(parsed(path, at=TEN).records)
        for secret in ("select ", "Binder Error", "partial_unexpected", "400.0", "Traceback", "fingerprint"):
            assert secret not in said, (path.name, secret)


@pytest.mark.parametrize(
    ("statuses", "outcome"),
    [("pass pass", "good"), ("pass fail", "bad"), ("pass error", "bad"), ("warn pass", "good"), ("skipped", "excluded"),
     ("skipped pass", "good"), ("wobbly pass", "good"), ("wobbly", "excluded")],
)  # fmt: skip
def test_each_status_of_dbt(tmp_path: Path, statuses: str, outcome: str) -> None:
    tests = [(f"test.shop.t{place}", status) for place, status in enumerate(statuses.split())]
    page = parsed(saved(tmp_path / "run_results.json", dbt(*tests)))
    assert [one.outcome for one in events(page)] == [outcome]
    unknown = 'the status "wobbly" is unknown; what has it is excluded, or name it in [source.status]'
    assert reasons(page) == ([unknown] if "wobbly" in statuses else [])


def test_a_warning_may_be_called_bad(tmp_path: Path) -> None:
    path = saved(tmp_path / "run_results.json", dbt(("test.shop.a", "warn"), ("test.shop.b", "pass")))
    assert [one.outcome for one in events(parsed(path, status={"warn": "bad"}))] == ["bad"]


def test_only_the_checks_that_count_decide() -> None:
    def run(*checks: str) -> list[tuple[str, str]]:
        found = events(parsed(HERE / "dbt_run_results.json", checks=checks))
        return [(one.outcome, dict(one.labels)["checks"]) for one in found]

    assert run("not_null_claims_*", "unique_*") == [("good", "3")]
    assert run("*site*") == [("bad", "1")]
    assert run("*orders*") == []


def test_sources_with_other_checks_are_other_sources() -> None:
    common, path = Common("junit", "data"), Path("target")
    scopes = {junit.scope(junit.Config(common, path, checks)) for checks in ((), ("a", "b"), ("b", "a"), ("a",))}
    assert len(scopes) == 3


def test_a_run_without_tests_validates_nothing_and_says_so(tmp_path: Path) -> None:
    page = parsed(saved(tmp_path / "run_results.json", dbt(("model.shop.claims", "success"))))
    assert page.records == []
    assert reasons(page) == ["a run of dbt without tests validates nothing"]


@pytest.mark.parametrize("name", ["not_null_x.0123456789", "not_null_x", "unit.case.0123456789"])
def test_the_hash_behind_a_test_is_no_part_of_its_name(tmp_path: Path, name: str) -> None:
    kind = "unit_test" if name.startswith("unit") else "test"
    page = parsed(saved(tmp_path / "run_results.json", dbt((f"{kind}.shop.{name}", "fail"))))
    assert dict(events(page)[0].labels)["failed_checks"] == name.removesuffix(".0123456789")


# -- Great Expectations


def test_a_stored_result_of_great_expectations_is_one_validation() -> None:
    page = parsed(HERE / "gx_validation.json")
    (run,) = events(page)
    assert (run.kind, run.outcome, run.ts) == ("validation", "bad", times.iso("2026-11-21T16:16:30Z"))
    assert run.title == "claims.features on claims: 4 of 5 checks failed"
    told = dict(run.labels)
    assert (told["suite"], told["asset"], told["datasource"]) == ("claims.features", "claims", "warehouse")
    assert told["failed_checks"].split(", ") == [
        "nothere: expect_column_mean_to_be_between", "amount: expect_column_values_to_not_be_null",
        "site: expect_column_values_to_be_in_set", "nothere: expect_column_to_exist",
    ]  # fmt: skip


def test_a_description_of_a_checkpoint_has_no_time_of_its_own() -> None:
    page = parsed(HERE / "gx_checkpoint.json", at=TEN)
    (run,) = events(page)
    assert (run.ts, run.outcome, dict(run.labels)["checks"]) == (TEN, "bad", "5")
    assert reasons(page) == []
    assert reasons(parsed(HERE / "gx_checkpoint.json")) == ["no timestamp; the time of the file's last change is taken"]


def test_a_checkpoint_of_0_18_holds_a_validation_per_suite() -> None:
    found = events(parsed(HERE / "gx_0_18_checkpoint.json"))
    assert [(one.ts, one.outcome, one.title) for one in found] == [
        (TEN, "good", "claims.features on claims: 2 checks passed"),
        (TEN, "bad", "sites on sites: 1 of 1 checks failed"),
    ]
    assert len({one.key for one in found}) == 2


def test_a_result_alone_and_inside_its_checkpoint_is_one_validation(tmp_path: Path) -> None:
    document = json.loads((HERE / "gx_0_18_checkpoint.json").read_text().replace("NaN", "null"))
    inside = [one["validation_result"] for one in document["run_results"].values()]
    alone = [events(parsed(saved(tmp_path / "one.json", one)))[0].key for one in inside]
    assert alone == [one.key for one in events(parsed(HERE / "gx_0_18_checkpoint.json"))]


@pytest.mark.parametrize(
    ("success", "results", "outcome"),
    [(True, [True], "good"), (False, [True], "bad"), (True, [False], "good"), (None, [True], "excluded"),
     ("yes", [True], "excluded"), (True, [], "excluded"), (True, [None], "excluded")],
)  # fmt: skip
def test_the_verdict_is_the_tools_and_nothing_checked_is_no_success(
    tmp_path: Path, success: Any, results: list[Any], outcome: str
) -> None:
    rows = [{"success": one, "expectation_config": {"type": "t", "kwargs": {}}} for one in results]
    meta = {"great_expectations_version": "1.24.1", "run_id": {"run_time": "2026-11-02T10:00:00+00:00"}}
    page = parsed(saved(tmp_path / "v.json", {"success": success, "results": rows, "meta": meta}))
    assert [one.outcome for one in events(page)] == [outcome]


# -- files


BROKEN: dict[str, Any] = {
    "list": dbt() | {"results": 5},
    "metadata": dbt() | {"metadata": "https://schemas/run-results/"},
    "nothing": {"great_expectations_version": "1"},
    "wrong": {"great_expectations_version": "1", "run_results": [], "validation_results": {}},
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_only_looks_like_one_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    text = json.dumps(BROKEN[name]).replace(
        '"metadata": "', '"dbt_schema_version": "https://x/run-results/v6", "metadata": "'
    )
    (tmp_path / "x.json").write_text(text)
    with pytest.raises(SourceRefused, match=r"x\.json is no run_results\.json of dbt and no result of Great Expect"):
        parsed(tmp_path / "x.json")


@pytest.mark.parametrize(
    "row", [{}, {"unique_id": 5}, {"unique_id": "test.x"}, {"unique_id": "test.x.y", "timing": 5}, 7]
)
def test_rows_of_any_shape_raise_nothing_else(tmp_path: Path, row: Any) -> None:
    good = dbt(("test.shop.a", "pass"))
    page = parsed(saved(tmp_path / "x.json", good | {"results": [row, *good["results"]]}))
    assert len(events(page)) == 1


def test_every_recorded_file_is_recognised_by_nobody_else() -> None:
    for path in sorted(HERE.glob("*.*ml")) + sorted(HERE.glob("*.json")):
        found = item(path, Given())
        assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["junit"], path.name


def test_a_cut_file_is_a_finding_and_the_rest_of_the_folder_lands(tmp_path: Path) -> None:
    saved(tmp_path / "a.json", dbt(("test.shop.a", "pass")))
    (tmp_path / "b.json").write_text((HERE / "gx_validation.json").read_text()[:2000])
    (tmp_path / "notes.json").write_text('{"success": true}')
    pages = list(junit.fetch(junit.Config(Common("junit", "data"), tmp_path), Pull(0, NOW, NOW)))
    assert [one.key for page in pages for one in events(page)] == ["dbt:i1"]
    assert [(one.kind, one.where) for page in pages for one in page.findings] == [("reject", "b.json")]


# -- in the store


@dataclass
class Context:
    config: Config
    store: Store


CONFIG = """
[[component]]
name = "claim-risk"
kind = "model"
[[source]]
connector = "{name}"
name = "checks"
path = "results/*.json"
component = "claim-risk"
"""


@pytest.mark.parametrize("alias", ["dbt", "great_expectations"])
def test_validations_of_a_model_are_counted_once_however_often_they_come(tmp_path: Path, alias: str) -> None:
    (tmp_path / "results").mkdir()
    for place, status in enumerate(["pass", "fail", "pass"]):
        document = dbt(("test.shop.a", status))
        document["metadata"]["invocation_id"] = f"i{place}"
        saved(tmp_path / "results" / f"{place}.json", document)
    (tmp_path / "results" / "gx.json").write_bytes((HERE / "gx_0_18_checkpoint.json").read_bytes())
    (tmp_path / "tandem.toml").write_text(CONFIG.format(name=alias))
    config = configuration.load(tmp_path / "tandem.toml")
    with open_store(tmp_path / "s.duckdb") as store:
        for _ in range(2):
            assert [one.error for one in collect.sync(store, config, NOW)] == [""]
            for found in exported.recognise([tmp_path / "results"], config, Given(), None):
                assert found.item is not None and found.source is not None, found.refused
                collect.import_item(store, found.source, found.item, NOW)
        answer = report.show(Context(config, store), "claim-risk", Window(TEN - 3600, TEN + 3600), now=NOW)
        held = [one for _, one in Reader(store).events(TEN - 60, TEN + 60, components=["claim-risk"])]
    counted = [(one["good"], one["total"]) for one in answer["signals"] if one["signal"] == "validation_success"]
    assert counted == [(3, 5)]
    assert sorted(one.outcome for one in held) == ["bad", "bad", "good", "good", "good"]


def test_a_second_pull_reads_no_result_again(tmp_path: Path) -> None:
    saved(tmp_path / "a.json", dbt(("test.shop.a", "pass")))
    os.utime(tmp_path / "a.json", (TEN, TEN))
    config = junit.Config(Common("junit", "data"), tmp_path)
    (first,) = junit.fetch(config, Pull(0, NOW, NOW))
    assert first.slice is not None
    taken = {first.slice.name: first.slice.digest}
    assert list(junit.fetch(config, Pull(0, NOW, NOW, taken=taken.get))) == []
