"""Feast itself, in an environment of its own (first use installs it): its registry server, dump and description."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
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

# FastAPI from 0.140 on refuses a word that Feast's server gives it.
REQUIREMENTS = ("feast[grpcio]==0.67.0", "fastapi<0.140")
NOW = int(time.time())

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

OWN = """
import json, sys
import pandas as pd
from feast import FeatureStore
store = FeatureStore(".")
views = {view.name: [[int(a.timestamp()), int(b.timestamp())] for a, b in view.materialization_intervals]
         for view in store.list_feature_views()}
rows = pd.read_parquet("data/driver_stats.parquet")
day = rows[rows["event_timestamp"].dt.strftime("%Y-%m-%d") == sys.argv[1]]
print(json.dumps([views, sorted(day["conv_rate"].dropna().tolist())]))
"""


@dataclass
class Live:
    """A repository of Feast with a running registry server."""

    url: str
    folder: Path
    bin: Path
    day: str

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self.bin / arguments[0]), *arguments[1:]], cwd=self.folder, capture_output=True, text=True,
            env={**os.environ, "FEAST_USAGE": "False"}, check=False, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    python = environment("feast", REQUIREMENTS)
    base = tmp_path_factory.mktemp("feast")
    day = time.strftime("%Y-%m-%d", time.gmtime(NOW - 2 * DAY))
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    made = Live(f"http://127.0.0.1:{port}", base, python.parent, day)
    made.run("feast", "init", "demo")
    made.folder = base / "demo" / "feature_repo"
    with (made.folder / "feature_store.yaml").open("a") as told:
        told.write("data_quality_monitoring:\n  auto_baseline: false\n")
    made.run("feast", "apply")
    made.run("feast", "materialize", "2026-11-01T00:00:00", "2026-11-02T00:00:00")
    made.run("feast", "materialize-incremental", time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(NOW - 3600)))
    made.run(
        "feast", "monitor", "run", "-v", "driver_hourly_stats", "--start-date", day, "--end-date", day, "-g", "daily"
    )
    server = subprocess.Popen(
        [str(made.bin / "feast"), "serve_registry", "--no-grpc", "--rest-api", "-h", "127.0.0.1", "--rest-port", str(port)],
        cwd=made.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        _wait(made.url, server)
        yield made
    finally:
        server.terminate()
        server.wait(30)


def _wait(url: str, server: Any) -> None:
    for _ in range(600):
        assert server.poll() is None, "the registry server has ended"
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/api/v1/projects", timeout=2):
            return
        time.sleep(0.2)
    raise AssertionError("the registry server does not answer")


def events(pages: list[Page]) -> dict[str, Event]:
    return {one.key: one for page in pages for one in page.records if isinstance(one, Event)}


def facts(pages: list[Page], signal: str, name: str) -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def test_the_server_the_dump_and_the_description_tell_the_same(live: Live, tmp_path: Path) -> None:
    config = feast.Config(Common("feast", "f", component=("m",)), url=live.url, bound="2h")
    pages = list(feast.fetch(config, Pull(0, NOW + 60, NOW + 60)))
    views, values = json.loads(live.run("python", "-c", OWN, live.day))
    expected = {(name, end) for name, intervals in views.items() for _, end in intervals}
    told = events(pages)
    assert {(dict(one.labels)["feature_view"], one.ts) for one in told.values()} == expected
    assert [one.value.good for one in facts(pages, "freshness", "driver_hourly_stats")] == [1]  # type: ignore[union-attr]
    found = {}
    for name, output in (
        ("dump.json", live.run("feast", "registry-dump")),
        ("view.yaml", live.run("feast", "feature-views", "describe", "driver_hourly_stats")),
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
    assert np.abs(counted - exact).max() <= 0.51, "on the bins of its own day a count is right to its rounding"
