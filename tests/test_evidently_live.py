"""Evidently, real: its workspace, its UI service and its old forms, against what the rows themselves say."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, evidently
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Fact, Page, Sample
from tandem.store.file import open_store
from tests.environments import environment
from tests.processes import free_port, started

# It needs pandas before 3.1 and plotly before 6, so it can never share Tandem's environment.
REQUIREMENTS = ("evidently==0.7.23", "pandas<3", "pyarrow")
SCRIPT = Path(__file__).with_name("evidently_script.py")
NOW = 1_793_600_000
QUIET = {"DO_NOT_TRACK": "1", "MPLCONFIGDIR": "/tmp"}

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@dataclass
class Live:
    """The program, and a workspace that it made with what is true of it."""

    python: Path
    folder: Path
    truth: dict[str, Any]

    def make(self, what: str, folder: Path) -> dict[str, Any]:
        return _run(self.python, what, folder)


def _run(python: Path, what: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run([str(python), str(SCRIPT), what, str(folder)], capture_output=True, text=True, check=False,
                          env={**os.environ, **QUIET})  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Live:
    python = environment("evidently", REQUIREMENTS)
    folder = tmp_path_factory.mktemp("evidently") / "workspace"
    return Live(python, folder, _run(python, "workspace", folder))


@pytest.fixture(scope="module")
def url(live: Live) -> Iterator[str]:
    """The address of a UI service over the workspace."""
    port = free_port()
    command = [live.python.parent / "evidently", "ui", "--workspace", live.folder, "--host", "127.0.0.1",
               "--port", str(port)]  # fmt: skip
    ready, log = f"http://127.0.0.1:{port}/api/version", live.folder.parent / "log.txt"
    with started(command, ready, log, patience=240, **QUIET) as found:
        yield found


def config(**given: Any) -> evidently.Config:
    zone = given.pop("timezone", None)
    common = Common("evidently", "evidently", component=("fraud",), timezone=zone)
    return evidently.Config(common, **given)


def pages(given: evidently.Config) -> list[Page]:
    return list(evidently.fetch(given, Pull(NOW - 90 * 86400, NOW, NOW, first=True)))


def of(found: list[Page], kind: type[Any]) -> list[Any]:
    return [one for page in found for one in page.records if isinstance(one, kind)]


def check(found: list[Page], truth: dict[str, Any]) -> None:
    """The counts, the p-values and the version of one report are those of its rows."""
    facts = {(one.series.signal, one.series.name): one.value for one in of(found, Fact)
             if one.ts == truth["ts"] // 300 * 300}  # fmt: skip
    assert facts["outcome", ""].cells == {(a, p): n for a, p, n in truth["cells"]}
    assert (facts["valid_rows", ""].good, facts["valid_rows", ""].total) == (truth["valid"], truth["rows"])
    if truth["missing"]:
        assert facts["valid_rows", "age days:missing"].total == truth["missing"]
    samples = {one.series.name: one.value for one in of(found, Sample) if one.ts == truth["ts"]}
    for column, p in truth["ks"].items():
        assert samples[f"drift[{column}] K-S p_value <="] == pytest.approx(p, rel=1e-6, abs=1e-300)
        assert samples[f"drift[{column}] K-S p_value <= verdict"] == float(p <= 0.05)


def test_a_workspace_says_what_is_true_of_the_rows(live: Live) -> None:
    found = pages(config(path=live.folder))
    for one in live.truth["reports"][:1] + live.truth["reports"][2:]:
        check(found, one)
    assert {one.series.version for one in of(found, Fact)} == {"3"}
    assert {dict(one.series.labels)["project"] for one in of(found, Fact)} == {"claim-risk"}
    began = [one for one in of(found, Event) if one.kind == "drift"]
    assert [one.ts for one in began if "amount" in one.title] == [live.truth["reports"][1]["ts"]]
    assert dict(began[0].labels)["features"] == "amount"


def test_the_service_says_the_same_and_late_labels_restate(live: Live, url: str, tmp_path: Path) -> None:
    """By its service and by its files one workspace gives the same records; a second report of a time replaces it."""
    served, read = pages(config(url=url)), pages(config(path=live.folder))
    assert set(map(repr, of(served, Fact))) == set(map(repr, of(read, Fact)))
    assert set(of(served, Sample)) == set(of(read, Sample))
    with open_store(tmp_path / "t.duckdb") as store:
        given = config(url=url, timezone="Europe/Berlin")
        source = Source(given.common, connect.load("evidently"), given)

        def counted() -> int:
            rows = store.cursor().execute("SELECT coalesce(sum(n), 0) FROM confusion").fetchone()
            return int(rows[0]) if rows else 0

        assert collect.pull(store, source, NOW).error == ""
        before = sum(n for one in live.truth["reports"] for _, _, n in one["cells"])
        assert counted() == before
        made = live.make("late", live.folder)
        urllib.request.urlopen(f"{url}/api/projects/{live.truth['project']}/reload", timeout=60).close()
        assert collect.pull(store, source, NOW + 300).error == ""
        naive = sum(n for _, _, n in live.truth["reports"][0]["cells"])
        assert counted() == before + 120 + naive
    found = pages(config(url=url, timezone="Europe/Berlin"))
    check(found, made["reports"][0])
    # A timestamp without offset is the wall clock of whoever ran the report: 09:30 in Berlin.
    assert 1_793_521_800 in {one.ts for one in of(found, Sample)}


def test_the_api_of_0_4_to_0_6_is_read_in_every_form(live: Live, tmp_path: Path) -> None:
    truth = live.make("old", tmp_path / "old")["reports"][0]
    for form in ("report.json", "workspace"):
        item = _files.item(tmp_path / "old" / form, Given(timezone="UTC"))
        assert evidently.recognise(item)
        check(list(evidently.parse(item, config())), truth)
    suite = _files.item(tmp_path / "old" / "suite.json", Given(timezone="UTC"))
    [tests] = [one for one in of(list(evidently.parse(suite, config())), Event) if one.kind == "validation"]
    assert (tests.outcome, dict(tests.labels)["checks"], dict(tests.labels)["failed"]) == ("bad", "4", "2")
