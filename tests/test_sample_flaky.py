"""The Service page over the sample company: which tests and builds flaked, counted again from the exported files."""

from __future__ import annotations

import gzip
import json
import tomllib
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import streamlit as st

from tandem import collect, config, owner, times
from tandem.owner import Reading
from tandem.store.file import open_store
from tests.test_explained import Context, script

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
START, END = (int(TRUTH[name].timestamp()) for name in ("start", "end"))
SOURCES = ("tests-checkout-api", "github-checkout-api", "gitlab-reco-api")
FLAKY = "tests.test_cart.test_total_is_rounded_once"


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    path = tmp_path_factory.mktemp("flaky") / "tandem.duckdb"
    found = config.load(HERE / "tandem.toml")
    chosen = tuple(one for one in found.sources if one.name in SOURCES)
    found = replace(found, store=path, sources=chosen)
    with open_store(path) as store:
        for source in chosen:
            told = collect.pull(store, source, END)
            assert not told.failed, told
    with Reading.open(found, lambda: END) as opened:
        yield opened


def table(reading: Reading, component: str, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The table of flaky tests and builds as it stands on the page of a service."""
    from streamlit.testing.v1 import AppTest

    monkeypatch.setattr(owner, "current", lambda: Context(reading))
    monkeypatch.setattr(st, "fragment", lambda run, **more: run)
    st.cache_resource.clear()
    test = AppTest.from_function(script, kwargs={"page": "services"}, default_timeout=60)
    test.query_params["component"] = component
    test.query_params["from"], test.query_params["to"] = times.text(START), times.text(END)
    test.run()
    assert not test.exception
    markup = "\n".join(json.loads(one.proto.json)["html"] for one in test.get("bidi_component"))
    assert "passed and failed on the same commit" in markup
    [found] = [one.value for one in test.dataframe if "Minutes lost" in one.value.columns]
    return found.set_index("Test or job")


def runs_of(repository: str) -> dict[int, list[dict[str, Any]]]:
    """GitHub's runs by their number, each as the list of its attempts."""
    folder = FILES / "github" / repository
    read = [json.loads(gzip.decompress((folder / name).read_bytes())) for name in
            ("runs_attempts.json.gz", "runs.json.gz")]  # fmt: skip
    found: dict[int, list[dict[str, Any]]] = {}
    for page in [read[0], *read[1]]:
        for run in page["workflow_runs"]:
            found.setdefault(run["id"], []).append(run)
    return found


def test_a_test_that_failed_and_passed_in_one_run(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest-rerunfailures writes the try that failed as one more case of the same name."""
    row = table(reading, "checkout-api", monkeypatch).loc[FLAKY]
    passed, lost, flaked = [], 0.0, 0
    for path in sorted((FILES / "junit" / "checkout-api").glob("*.xml")):
        [suite] = ET.parse(path).getroot()
        tries = [one for one in suite if f"{one.get('classname')}.{one.get('name')}" == FLAKY]
        passed += [False] * (len(tries) - 1) + [True]
        lost += sum(float(one.get("time", "nan")) for one in tries[:-1])
        flaked += len(tries) > 1
    assert flaked >= 4
    assert (row["Flaked"], row["Runs"]) == (flaked, len(passed))
    flips = sum(one != other for one, other in pairwise(passed))
    assert row["Flip rate"] == round(flips / (len(passed) - 1), 3) > 0
    assert row["Minutes lost"] == round(lost / 60, 2) > 1
    assert row["On the list"].endswith("since") or row["On the list"].startswith("left: 5 passes")


def test_builds_that_were_red_and_then_green_on_one_commit(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    said = table(reading, "checkout-api", monkeypatch)
    runs = runs_of("checkout-api")
    mixed = [tries for tries in runs.values() if len(tries) == 2 and tries[1]["conclusion"] == "success"]
    for job in ("ci", "nightly"):
        mine = [tries for tries in mixed if tries[0]["name"] == job]
        lost = sum(times.iso(one["updated_at"]) - times.iso(one["run_started_at"]) for one, _ in mine)
        if not mine:
            assert job not in said.index
            continue
        assert said.loc[job, "Flaked"] == len(mine)
        assert said.loc[job, "Minutes lost"] == pytest.approx(lost / 60, abs=0.01)
        ran = [(one["created_at"], one["id"], one["run_attempt"], one["conclusion"] == "success")
               for tries in runs.values() for one in tries
               if one["name"] == job and one["conclusion"] in ("success", "failure", "timed_out")]  # fmt: skip
        assert said.loc[job, "Runs"] == len(ran)
        flips = sum(one[3] != other[3] for one, other in pairwise(sorted(ran)))
        assert said.loc[job, "Flip rate"] == round(flips / (len(ran) - 1), 3) > 0
    assert mixed


def test_pipelines_of_gitlab_whose_failed_job_passed_on_its_next_try(
    reading: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    [true] = TRUTH["pipelines"]
    [row] = [one for _, one in table(reading, "reco-api", monkeypatch).iterrows()]
    assert row["Flaked"] == true["passed_on_a_second_try"]
    assert row["Minutes lost"] > 0
    assert 0 < row["Flip rate"] < 1
