"""Requests and CPU of a first and a second pull of an MLflow server, and the bound and the lag of the sweep.

`python -m tests.benchmarks.mlflow [--runs 10000] [--points 3]`: a real server, whose database is filled directly.
"""

from __future__ import annotations

import argparse
import json
import math
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors import _http, mlflow
from connectors._mlflow_walk import SWEPT
from tandem.connect import Common, Pull
from tandem.records import DAY, Page, Sample
from tests.mlflow_live import serving

NOW = 1_790_000_000
METRICS = ("accuracy", "f1", "loss", "val_accuracy", "val_loss")
LAST = 29 * DAY
"""Seconds over which the runs begin: all of them lie within the sweep."""


def run_id(number: int) -> str:
    return f"{number:032x}"


def fill(database: Path, runs: int, points: int) -> None:
    """Runs of five metrics, each with a data set, every tenth a version of a model; as the server writes them."""
    base = sqlite3.connect(database)
    (experiment,) = base.execute("SELECT min(experiment_id) FROM experiments").fetchone()
    rows: dict[str, list[Mapping[str, Any]]] = {}
    for number in range(runs):
        for table, row in rows_of(number, experiment, (NOW - LAST + number * LAST // runs) * 1000, points):
            rows.setdefault(table, []).append(row)
    data = {"name": "claims", "experiment_id": experiment, "dataset_source_type": "local", "dataset_source": "{}"}
    rows["datasets"] = [{**data, "dataset_uuid": f"d{n}", "digest": f"{n:08x}"} for n in range(30)]
    rows["registered_models"] = [{"name": "fraud", "creation_time": 1, "last_updated_time": 1}]
    with base:
        for table, some in rows.items():
            insert(base, table, some)
    base.close()


def rows_of(number: int, experiment: int, start: int, points: int) -> list[tuple[str, Mapping[str, Any]]]:
    run = run_id(number)
    found: list[tuple[str, Mapping[str, Any]]] = [
        ("runs", {"run_uuid": run, "name": f"run {number}", "status": "FINISHED", "start_time": start,
                  "end_time": start + 60_000, "lifecycle_stage": "active", "experiment_id": experiment,
                  "artifact_uri": f"mlflow-artifacts:/{experiment}/{run}/artifacts", "user_id": "ci",
                  "source_type": "LOCAL", "source_name": "", "entry_point_name": "", "source_version": ""}),
        ("params", {"key": "algo", "value": "forest", "run_uuid": run}),
        ("tags", {"key": "mlflow.source.git.commit", "value": f"{number:040x}", "run_uuid": run}),
        ("inputs", {"input_uuid": f"i{number}", "source_type": "DATASET", "source_id": f"d{number % 30}",
                    "destination_type": "RUN", "destination_id": run, "step": 0}),
    ]  # fmt: skip
    for key in METRICS:
        values = [{"key": key, "value": 0.5 + step / 100, "timestamp": start + step * 1000, "run_uuid": run,
                   "step": step, "is_nan": 0} for step in range(points)]  # fmt: skip
        found += [*(("metrics", value) for value in values), ("latest_metrics", values[-1])]
    if number % 10 == 0:
        found.append(("model_versions", {"name": "fraud", "version": number // 10 + 1, "creation_time": start + 60_000,
                                         "last_updated_time": start + 60_000, "current_stage": "None", "source": run,
                                         "run_id": run, "status": "READY"}))  # fmt: skip
    return found


def insert(base: sqlite3.Connection, table: str, some: Sequence[Mapping[str, Any]]) -> None:
    has = {row[1] for row in base.execute(f"PRAGMA table_info({table})")}
    filled = [{**row, **({"workspace": "default"} if "workspace" in has else {})} for row in some]
    names = [name for name in filled[0] if name in has]
    marks = ", ".join(f":{name}" for name in names)
    base.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", filled)


@dataclass
class Asked:
    """Requests by what was asked."""

    calls: Counter[str] = field(default_factory=Counter)

    def __enter__(self) -> Asked:
        self.send: Callable[..., Any] = _http.Client._once

        def counting(client: Any, request: Any, *more: Any) -> Any:
            self.calls[request.url.partition("?")[0].rpartition("mlflow/")[2]] += 1
            return self.send(client, request, *more)

        _http.Client._once = counting  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        _http.Client._once = self.send  # type: ignore[method-assign]


def measured(name: str, url: str, now: int, state: Any = None, **more: Any) -> list[Page]:
    config = mlflow.Config(Common("mlflow", "bench"), url=url)
    pull = Pull(**{"since": now - 300, "until": now, "now": now, "state": state, **more})
    with Asked() as asked:
        cpu, wall = time.process_time(), time.monotonic()
        pages = list(mlflow.fetch(config, pull))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    records = sum(len(page.records) for page in pages)
    told = ", ".join(f"{count} {call}" for call, count in asked.calls.most_common())
    size = len(json.dumps(state_of(pages)))
    print(f"{name:34} {asked.calls.total():5} requests  {cpu:6.2f} CPU s  {wall:6.1f} s  {records:7,} records  "
          f"state {size / 1e3:.0f} kB  ({told})", flush=True)  # fmt: skip
    return pages


def state_of(pages: Sequence[Page]) -> Any:
    return [page.state for page in pages if page.state is not None][-1]


def log_below(database: Path, run: str) -> None:
    """A value below the newest point of a run, which no list of runs shows."""
    with sqlite3.connect(database) as base:
        (start,) = base.execute("SELECT start_time FROM runs WHERE run_uuid = ?", (run,)).fetchone()
        insert(base, "metrics", [{"key": "loss", "value": 0.99, "timestamp": start + 1, "run_uuid": run, "step": 0,
                                  "is_nan": 0}])  # fmt: skip


def lag(database: Path, url: str, state: Any, runs: int) -> None:
    """Sweeps until a value below the newest point is found of the first run whose turn comes in the second sweep."""
    known = list(state["runs"])
    late = known[min(SWEPT, len(known) - 1)]
    log_below(database, late)
    for number in (1, 2):
        pages = measured(f"sweep {number}", url, NOW + 60 + number, state, sweep=True)
        state = state_of(pages)
        if any(isinstance(r, Sample) and r.run == late and r.value == 0.99 for page in pages for r in page.records):
            print(f"run {known.index(late) + 1:,} by age was found by sweep {number}; all of {runs:,} are read again "
                  f"within {math.ceil(runs / SWEPT)} daily sweeps, {SWEPT:,} a day")  # fmt: skip
            return
    print("not found")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--points", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with serving(folder) as server:
            fill(folder / "mlflow.db", given.runs, given.points)
            first = measured("first pull", server.url, NOW, since=NOW - 90 * DAY, first=True)
            state = state_of(first)
            measured("second pull, nothing new", server.url, NOW + 60, state)
            lag(folder / "mlflow.db", server.url, state, given.runs)
            fewest = 3 + 1 + math.ceil(given.runs / (LAST // DAY) / 200)
            print(
                f"fewest requests of a second pull: {fewest}, three lists, runs of versions and aliases, runs of a day"
            )


if __name__ == "__main__":
    main()
