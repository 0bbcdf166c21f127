"""Where the sample company's models come from, read from its exports by their connectors, against truth.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import collect, lineage_json, report
from tandem import config as configuration
from tandem.records import DAY
from tandem.shown import Window
from tandem.store.file import Store

HERE = Path(__file__).parent.parent / "sample_data"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
END = int(TRUTH["end"].timestamp())
MADE = {one["component"]: one for one in TRUTH["made_of"]}
SOURCES = ("registry", "lineage", "evaluations", "history-fraud-detector", "training-logs", "log-fraud-detector")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    config = configuration.load(HERE / "tandem.toml")
    with Store(tmp_path_factory.mktemp("company") / "tandem.duckdb") as store:
        done = collect.sync(store, config, END, names=SOURCES)
        assert [one.error for one in done] == [""] * len(SOURCES)
        yield SimpleNamespace(config=config, store=store)


def asked(company: Any, model: str, **more: Any) -> dict[str, Any]:
    window = Window(END - 2 * DAY, END)
    found: dict[str, Any] = lineage_json.answer(report.lineage(company, model, window, now=END, **more))
    return found


def links(found: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["step"]: one for one in found["chain"]["links"]}


@pytest.mark.parametrize("model", MADE)
def test_every_version_is_traced_to_what_truly_made_it(company: Any, model: str) -> None:
    truth = MADE[model]
    found = asked(company, model, version=truth["version"])
    told = links(found)
    assert told["training"]["state"] == "joined"
    assert told["training"]["value"] == truth["run"]
    assert (told["commit"]["value"] or "") == truth["commit"]
    assert told["data"]["value"] == truth["data_version"]
    assert not any(one["conflicts"] for one in told.values())


def test_one_chain_is_whole_over_five_sources(company: Any) -> None:
    found = asked(company, "fraud-detector")
    assert found["version"] == MADE["fraud-detector"]["version"]
    told = links(found)
    assert {step: one["state"] for step, one in told.items()} == dict.fromkeys(told, "joined")
    by = {step: {(part["source"], part["rule"]) for part in one["parts"]} for step, one in told.items()}
    assert by["commit"] == {("history-fraud-detector", "commit")}
    assert by["training"] == {("registry", "run"), ("lineage", "run")}
    assert by["data"] == {("lineage", "digest")}
    assert {source for source, _ in by["validation"]} == {"evaluations", "lineage"}
    assert by["serving"] == {("log-fraud-detector", "config")}
    assert found["chain"]["unknown"] == []


def test_another_chain_is_honestly_not_whole(company: Any) -> None:
    found = asked(company, "click-model", version="20")
    assert found["chain"]["unknown"] == ["commit", "environment"]
    assert links(found)["validation"]["reason"] == "no source tells validations of this model"


def test_two_versions_runs_differ_in_what_they_were_given(company: Any) -> None:
    runs = [links(asked(company, "fraud-detector", version=version))["training"]["value"] for version in ("11", "12")]
    found = asked(company, "fraud-detector", compare=runs)["compared"]
    assert {one["name"] for one in found["facts"]} >= {"commit", "data_version"}
    assert found["metrics"]
    for metric in found["metrics"]:
        assert metric["a"] is None or metric["b"] is None or metric["a"]["value"] != metric["b"]["value"]
