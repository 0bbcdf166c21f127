"""The recipes of the README: each command stops and lets pass as its pipeline would, against a Tandem that runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from xml.etree.ElementTree import parse as parse_xml

import pytest
import yaml

from tandem import collect
from tandem.bins import Layout
from tandem.config import Config, parse
from tandem.records import HOUR, Baseline, Confusion, Covered, Fact, Histogram, Page, Ratio, Record, Series
from tandem.store.file import Store
from tests import fakes, processes
from tests.fakes import NOW

README = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
SECTION = README.partition("## A gate for your pipeline\n")[2].partition("\n## ")[0]
LATENCY = Layout(edges=(0.1, 0.3, 1.0), closed="right", unit="s", digits=6)
AMOUNT = Layout(edges=(10.0, 20.0, 50.0), digits=2)
CALM, MOVED = {0: 250, 1: 250, 2: 250, 3: 250}, {0: 10, 1: 10, 2: 10, 3: 970}


def block(language: str, place: int = 0) -> str:
    return re.findall(rf"(?ms)^```{language}\n(.*?)^```$", SECTION)[place]


def configured() -> Config:
    """The configuration that the whole README shows, gates included."""
    return parse("\n".join(re.findall(r"(?ms)^```toml\n(.*?)^```$", README)), Path("/somewhere/tandem.toml"))


def facts(good: int, right: int, amounts: Mapping[int, int] = CALM) -> list[Record]:
    """An hour of 1,000 requests, each labelled and of version 12; nothing of the other versions."""
    cells = Confusion({("1", "1"): right, ("1", "0"): 1000 - right})
    judge = {"component": "fraud-detector", "version": "12"}
    begin = NOW // HOUR * HOUR - HOUR
    amount = Series("feature", name="amount", **judge)
    return [
        Baseline(replace(amount, version=""), histogram(CALM), begin - HOUR, begin, 10**9),
        Fact(amount, begin, histogram(amounts)), Fact(Series("outcome", **judge), NOW - HOUR, cells),
        Fact(Series("latency", component="checkout-api"), NOW - HOUR, Histogram(LATENCY, {0: 1000}, {0: 50_000_000})),
        Fact(Series("request_success", component="checkout-api"), NOW - HOUR, Ratio(good, 1000)),
    ]  # fmt: skip


def histogram(counts: Mapping[int, int]) -> Histogram:
    return Histogram(AMOUNT, counts, {place: 100 * (5, 15, 35, 70)[place] * n for place, n in counts.items()})


@contextmanager
def tandem(folder: Path, told: list[Record]) -> Iterator[str]:
    """The address of a Tandem with the README's configuration."""
    folder.mkdir()
    source = fakes.source(fakes.saying([Page(told, covered=[Covered(NOW - 8 * 24 * HOUR, NOW)])]))
    config = replace(configured(), sources=(source,), store=folder / "t.duckdb")
    with Store(config.store) as store:
        [outcome] = collect.sync(store, config, NOW)
        assert not outcome.error
        context = SimpleNamespace(config=config, store=store, token="", first_done=True, now=lambda: NOW)
        with processes.answering(context) as server:
            yield server


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """The folder of a pipeline, with `tandem` on its path."""
    (tmp_path / "bin").mkdir()
    script = tmp_path / "bin" / "tandem"
    script.write_text(f'#!/bin/sh\nexec {sys.executable} -m tandem.cli "$@"\n')
    script.chmod(0o755)
    (tmp_path / "work").mkdir()
    return tmp_path / "work"


def run(command: list[str], work: Path, server: str, *packages: Path) -> subprocess.CompletedProcess[str]:
    path = f"{work.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = processes.environment(*packages, PATH=path, TANDEM_URL=server)
    return subprocess.run(command, cwd=work, env=environment, text=True, capture_output=True, check=False,
                          timeout=processes.PATIENCE)  # fmt: skip


def commands() -> dict[str, str]:
    """The one `tandem` command of each pipeline, as that pipeline would read it."""
    github, gitlab = (yaml.safe_load(block("yaml", place)) for place in (0, 1))
    steps = [step["run"] for step in github["jobs"]["deploy"]["steps"]]
    found = {
        "github": steps,
        "gitlab": gitlab["gate"]["script"],
        "jenkins": re.findall(r"sh '([^']*)'", block("groovy")),
    }
    assert gitlab["gate"]["artifacts"]["reports"] == {"junit": "tandem.xml", "annotations": "tandem.json"}
    assert "junit 'tandem.xml'" in block("groovy")
    return {name: line for name, lines in found.items() for line in lines if line.startswith("tandem ")}


@pytest.mark.parametrize("pipeline", ["github", "gitlab", "jenkins"])
def test_a_pipeline_is_stopped_by_what_is_breached_and_passes_where_all_holds(work: Path, pipeline: str) -> None:
    command = commands()[pipeline]
    for good, right, code in ((1000, 990, 0), (990, 990, 1), (1000, 900, 1)):
        with tandem(work.parent / f"{good}-{right}", facts(good, right)) as server:
            done = run(["sh", "-e", "-c", f"{command}\ntouch went-on"], work, server)
        assert done.returncode == code, done.stderr
        assert (work / "went-on").exists() == (code == 0)
        (work / "went-on").unlink(missing_ok=True)
        root = parse_xml(work / "tandem.xml").getroot()
        assert (int(root.get("failures", "0")) > 0) == (code == 1)
        if pipeline == "github":
            assert ("::error title=release%3A " in done.stderr) == (code == 1)
        if pipeline == "gitlab":
            told = json.loads((work / "tandem.json").read_bytes())["Tandem"]
            assert all(one["external_link"]["url"].startswith(f"{server}/") for one in told)
            assert any("is breached" in one["external_link"]["label"] for one in told) == (code == 1)


def test_a_pipeline_is_stopped_where_nobody_knows(work: Path) -> None:
    """A quarter of the requests that a target of 99.9 % needs."""
    told = [Fact(Series("request_success", component="checkout-api"), NOW - HOUR, Ratio(250, 250))]
    with tandem(work.parent / "few", [*told, *facts(1000, 990)[:-1]]) as server:
        done = run(["sh", "-e", "-c", commands()["github"]], work, server)
    assert done.returncode == 3
    assert "not enough evidence: 250 seen, a target of 99.9 %25 needs 1,000 or more" in done.stderr


MLFLOW = """
import pathlib

class MlflowClient:
    def set_registered_model_alias(self, name, alias, version):
        pathlib.Path("aliases").write_text(f"{name} {alias} {version}")
"""


def test_a_version_is_promoted_only_where_its_own_numbers_hold(work: Path) -> None:
    package = work.parent / "package"
    package.mkdir()
    (package / "mlflow.py").write_text(MLFLOW)
    (work / "promote.py").write_text(block("python"))
    cases = ((990, CALM, "12", 0), (900, CALM, "12", 1), (990, MOVED, "12", 1), (990, CALM, "13", 3))
    for place, (right, amounts, version, code) in enumerate(cases):
        (work / "aliases").unlink(missing_ok=True)
        with tandem(work.parent / str(place), facts(1000, right, amounts)) as server:
            done = run([sys.executable, "promote.py", version], work, server, package)
        assert done.returncode == code, (done.stdout, done.stderr)
        assert (work / "aliases").exists() == (code == 0)
        if code == 0:
            assert (work / "aliases").read_text() == "fraud champion 12"
        if amounts is MOVED:
            assert "data drift is breached: 1 of 2 drift: amount (major" in done.stderr
