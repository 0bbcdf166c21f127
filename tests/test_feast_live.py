"""Feast itself, in an environment of its own (first use installs it): its registry server, dump and description."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import feast
from connectors._files import item
from tandem.bins import total
from tandem.connect import Common, Given, Pull
from tandem.records import DAY, Event, Fact, Histogram, Page
from tests.environments import environment
from tests.processes import free_port, started

# FastAPI from 0.140 on refuses a word that Feast's server gives it.
REQUIREMENTS = ("feast[grpcio]==0.67.0", "fastapi<0.140")
NOW = int(time.time())

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

# All in one process, as each start of Feast's command line takes seconds.
MAKE = """
import contextlib, io, json, os, sys
import pandas as pd
from feast import FeatureStore
from feast.cli.cli import cli
day, until = sys.argv[1:]

def run(*arguments):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        cli.main(list(arguments), standalone_mode=False)
    return out.getvalue()

run("init", "demo")
os.chdir("demo/feature_repo")
open("feature_store.yaml", "a").write("data_quality_monitoring:\\n  auto_baseline: false\\n")
run("apply")
run("materialize", "2026-11-01T00:00:00", "2026-11-02T00:00:00")
run("materialize-incremental", until)
run("monitor", "run", "-v", "driver_hourly_stats", "-g", "daily", "--start-date", day, "--end-date", day)
store = FeatureStore(".")
views = {view.name: [[int(a.timestamp()), int(b.timestamp())] for a, b in view.materialization_intervals]
         for view in store.list_feature_views()}
rows = pd.read_parquet("data/driver_stats.parquet")
values = rows[rows["event_timestamp"].dt.strftime("%Y-%m-%d") == day]["conv_rate"].dropna()
told = {"views": views, "values": sorted(float(one) for one in values), "dump": run("registry-dump"),
        "view": run("feature-views", "describe", "driver_hourly_stats")}
json.dump(told, open("told.json", "w"))
"""


@dataclass
class Live:
    """A running registry server, and what Feast itself says of its repository."""

    url: str
    told: dict[str, Any]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    python = environment("feast", REQUIREMENTS)
    base = tmp_path_factory.mktemp("feast")
    day = time.strftime("%Y-%m-%d", time.gmtime(NOW - 2 * DAY))
    until = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW - 3600))
    done = subprocess.run(
        [str(python), "-c", MAKE, day, until], cwd=base, capture_output=True, text=True, timeout=300, check=False,
        env={**os.environ, "FEAST_USAGE": "False"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    folder = base / "demo" / "feature_repo"
    port = free_port()
    command = [python.parent / "feast", "serve_registry", "--no-grpc", "--rest-api", "-h", "127.0.0.1",
               "--rest-port", str(port)]  # fmt: skip
    with started(command, f"http://127.0.0.1:{port}/api/v1/projects", base / "log.txt", folder=folder) as url:
        yield Live(url, json.loads((folder / "told.json").read_text()))


def events(pages: list[Page]) -> dict[str, Event]:
    return {one.key: one for page in pages for one in page.records if isinstance(one, Event)}


def facts(pages: list[Page], signal: str, name: str) -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def test_the_server_the_dump_and_the_description_tell_the_same(live: Live, tmp_path: Path) -> None:
    config = feast.Config(Common("feast", "f", component=("m",)), url=live.url, bound="2h")
    pages = list(feast.fetch(config, Pull(0, NOW + 60, NOW + 60)))
    views, values = live.told["views"], live.told["values"]
    expected = {(name, end) for name, intervals in views.items() for _, end in intervals}
    told = events(pages)
    assert {(dict(one.labels)["feature_view"], one.ts) for one in told.values()} == expected
    assert [one.value.good for one in facts(pages, "freshness", "driver_hourly_stats")] == [1]  # type: ignore[union-attr]
    found = {}
    for name, output in (
        ("dump.json", live.told["dump"]),
        ("view.yaml", live.told["view"]),
    ):
        path = tmp_path / name
        path.write_text(output[output.index("{" if name == "dump.json" else "spec:") :])
        assert feast.recognise(item(path, Given()))
        given = feast.Config(Common("feast", "f", component=("m",)), projects=("demo",))
        found[name] = events(list(feast.parse(item(path, Given(at=NOW + 59)), given)))
    assert found["dump.json"].keys() == told.keys()
    assert found["view.yaml"].keys() == {key for key in told if "driver_hourly_stats@" in key}

    [conv] = facts(pages, "feature", "conv_rate")
    assert isinstance(conv.value, Histogram)
    assert (conv.series.stage, total(conv.value)) == ("training", len(values))
    edges = conv.value.layout.edges
    counted = np.cumsum([conv.value.counts.get(place, 0) for place in range(len(edges))])
    exact = np.searchsorted(np.array(values), np.array(edges), side="left")
    # On the bins of its own day a count is right; the greatest value itself lies at the last edge.
    assert np.array_equal(counted[:-1], exact[:-1])
    assert counted[-1] - exact[-1] in (0, 1)
