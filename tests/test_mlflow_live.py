"""MLflow, against a real server in an environment of its own (first use installs it)."""

from __future__ import annotations

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

import pytest

from connectors import _files, mlflow
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Page, Sample
from tests.environments import environment

# The server alone: the whole of mlflow brings scikit-learn, Arrow and Docker too.
REQUIREMENTS = (
    "mlflow-skinny==3.17.2", "aiohttp", "alembic", "cryptography", "flask", "flask-cors", "graphene", "huey", "pandas",
    "sqlalchemy",
)  # fmt: skip
START = 1_790_000_000
"""When the first run begins; the server takes whatever times it is given."""

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@dataclass
class Live:
    """A running server and its database."""

    url: str
    folder: Path

    def post(self, call: str, **body: Any) -> Any:
        return self._send("POST", call, body)

    def delete(self, call: str, **body: Any) -> Any:
        return self._send("DELETE", call, body)

    def _send(self, method: str, call: str, body: Any) -> Any:
        request = urllib.request.Request(
            f"{self.url}/api/2.0/mlflow/{call}",
            data=json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.loads(answer.read() or b"{}")

    def run(self, experiment: str, name: str, start: int, status: str = "FINISHED") -> str:
        told = self.post("runs/create", experiment_id=experiment, start_time=start * 1000, run_name=name, user_id="ci")
        run = told["run"]["info"]["run_id"]
        if status != "RUNNING":
            self.post("runs/update", run_id=run, status=status, end_time=(start + 60) * 1000)
        return run

    def log(self, run: str, key: str, value: object, at: int, step: int = 0) -> None:
        self.post("runs/log-metric", run_id=run, key=key, value=value, timestamp=at * 1000, step=step)

    def alias(self, model: str, alias: str, version: str) -> None:
        self.post("registered-models/alias", name=model, alias=alias, version=version)


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    python = environment("mlflow", REQUIREMENTS)
    folder = tmp_path_factory.mktemp("mlflow")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        str(python), "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1",
        "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}",
        "--artifacts-destination", str(folder / "artifacts"),
    ]  # fmt: skip
    with (folder / "log.txt").open("w") as log:
        server = subprocess.Popen(
            command,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{python.parent}:{os.environ['PATH']}"},
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, folder / "log.txt")
            yield Live(f"http://127.0.0.1:{port}", folder)
        finally:
            os.killpg(server.pid, 15)
            server.wait(30)


def _wait(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 300
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.read() == b"OK":
                    return
        except OSError:
            if server.poll() is not None:
                break
            time.sleep(0.5)
    raise RuntimeError(f"mlflow server did not start:\n{log.read_text()[-4000:]}")


def pull(live: Live, now: int, state: Any = None, **changes: Any) -> list[Page]:
    config = mlflow.Config(Common("mlflow", "registry"), url=live.url, experiments=("fraud-*",), models=("fraud*",))
    asked = Pull(since=START - 86400, until=now, now=now, state=state, **changes)
    return list(mlflow.fetch(config, asked))


def records(pages: list[Page]) -> set[Any]:
    return {record for page in pages for record in page.records}


def events(pages: list[Page], kind: str) -> dict[str, Event]:
    return {r.key: r for r in records(pages) if isinstance(r, Event) and r.kind == kind}


def values(pages: list[Page], name: str) -> list[tuple[float, int]]:
    found = [r for page in pages for r in page.records if isinstance(r, Sample) and r.series.name == name]
    return [(sample.value, sample.step) for sample in found]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def test_what_happens_on_a_real_server_is_found(live: Live) -> None:
    experiment = live.post("experiments/create", name="fraud-nightly")["experiment_id"]
    other = live.post("experiments/create", name="something-else")["experiment_id"]
    first = live.run(experiment, "logreg", START, "RUNNING")
    for step in range(12):
        live.log(first, "val_accuracy", 0.5 + step / 100, START + step, step)
    live.log(first, "diverged", "NaN", START + 20)
    live.log(first, "grad_norm", "Infinity", START + 20)
    live.post("runs/log-parameter", run_id=first, key="algo", value="logreg")
    live.post("runs/set-tag", run_id=first, key="mlflow.source.git.commit", value="c0ffee")
    dataset = {"name": "claims", "digest": "a8651205", "source_type": "code", "source": "{}"}
    live.post("runs/log-inputs", run_id=first, datasets=[{"dataset": dataset}])
    live.post("runs/update", run_id=first, status="FINISHED", end_time=(START + 60) * 1000)
    second = live.run(experiment, "forest", START + 100)
    failed = live.run(experiment, "broken", START + 200, "FAILED")
    live.run(other, "hidden", START + 200)
    live.post("registered-models/create", name="fraud")
    for run in (first, second):
        source = f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"
        live.post("model-versions/create", name="fraud", source=source, run_id=run)
    live.alias("fraud", "champion", "1")
    live.alias("fraud", "challenger", "2")

    now = int(time.time()) + 60
    pages = pull(live, now, first=True)
    runs = events(pages, "training")
    assert {run.title: run.outcome for run in runs.values()} == {"logreg": "good", "forest": "good", "broken": "bad"}
    one = runs[first]
    assert (one.ts, one.ended, one.version, one.commit) == (START, START + 60, "1", "c0ffee")
    assert (one.data_version, one.actor, dict(one.labels)["param.algo"]) == ("a8651205", "ci", "logreg")
    assert values(pages, "val_accuracy") == [(0.5 + step / 100, step) for step in range(12)]
    rejected = [f.where.split('"')[1] for page in pages for f in page.findings if f.kind == "reject"]
    assert sorted(rejected) == ["diverged", "grad_norm"]
    assert {(e.version, e.run, e.commit) for e in events(pages, "release").values()} == {
        ("1", first, "c0ffee"),
        ("2", second, ""),
    }
    seen = {dict(e.labels)["alias"]: e for e in events(pages, "promotion").values()}
    assert {alias: e.version for alias, e in seen.items()} == {"champion": "1", "challenger": "2"}
    assert all(now - 900 < e.ts <= e.ts_latest == now for e in seen.values())
    assert records(pull(live, now, first=True)) == records(pages), "a pull gives the same twice"

    live.alias("fraud", "champion", "2")
    live.delete("registered-models/alias", name="fraud", alias="challenger")
    live.log(second, "prod_accuracy", 0.91, START + 5000, 30)
    again = pull(live, now + 300, state(pages))
    moves = {dict(e.labels)["alias"]: e for e in events(again, "promotion").values()}
    champion = moves["champion"]
    assert (champion.ts, champion.ts_latest, champion.version) == (now, now + 300, "2")
    assert dict(champion.labels)["from"] == "1"
    assert (moves["challenger"].version, dict(moves["challenger"].labels)["removed"]) == ("", "2")
    assert values(again, "prod_accuracy") == [(0.91, 30)], "logged after the run was finished"
    assert not values(again, "val_accuracy"), "an unchanged history is not read again"

    live.log(second, "prod_accuracy", 0.88, START + 4000, 29)
    quiet = pull(live, now + 600, state(again))
    assert not events(quiet, "promotion") and not values(quiet, "prod_accuracy")
    swept = pull(live, now + 900, state(quiet), sweep=True)
    assert values(swept, "prod_accuracy") == [(0.88, 29), (0.91, 30)], "back-dated below the newest"

    live.log(failed, "late", 0.1, START + 6000)
    assert values(pull(live, now + 900, state(quiet)), "late") == [(0.1, 0)]


def test_the_servers_database_gives_what_the_server_gives(live: Live) -> None:
    now = int(time.time()) + 60
    experiment = live.post("experiments/create", name="fraud-again")["experiment_id"]
    run = live.run(experiment, "odd \N{SNOWMAN} <b>name</b>", START + 300, "KILLED")
    live.log(run, "eval/deep/f1", 0.25, START + 300, -1)
    config = mlflow.Config(Common("mlflow", "registry"), url=live.url)
    item = _files.item(live.folder / "mlflow.db", Given(at=now))
    assert mlflow.recognise(item)
    asked = Pull(since=0, until=now, now=now, first=True)
    assert records(list(mlflow.parse(item, config))) == records(list(mlflow.fetch(config, asked)))


def test_many_runs_are_paged(live: Live) -> None:
    experiment = live.post("experiments/create", name="fraud-many")["experiment_id"]
    made = {live.run(experiment, f"run {number}", START + 1000 + number // 50, "RUNNING") for number in range(210)}
    now = int(time.time()) + 60
    assert made <= set(events(pull(live, now), "training"))


def test_a_file_store_written_by_the_real_program_is_read(live: Live, tmp_path: Path) -> None:
    program = (
        "import mlflow\n"
        "from mlflow import MlflowClient\n"
        f"mlflow.set_tracking_uri('file://{tmp_path}/mlruns')\n"
        "client = MlflowClient()\n"
        "mlflow.set_experiment('fraud-files')\n"
        "with mlflow.start_run(run_name='so long that the meta file folds it: ' + 'x ' * 40) as run:\n"
        "    mlflow.log_param('algo', 'forest')\n"
        "    mlflow.log_metric('val/deep', 0.5, step=1)\n"
        "    mlflow.log_metric('broken', float('nan'))\n"
        "client.create_registered_model('fraud')\n"
        "client.create_model_version('fraud', run.info.artifact_uri, run.info.run_id)\n"
        "client.set_registered_model_alias('fraud', 'champion', '1')\n"
        "print(run.info.run_id)\n"
    )
    python = environment("mlflow", REQUIREMENTS)
    own = {**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true", "MLFLOW_DISABLE_TELEMETRY": "true"}
    done = subprocess.run(
        [str(python), "-c", program], capture_output=True, text=True, cwd=tmp_path, env=own, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    run = done.stdout.split()[-1]
    item = _files.item(tmp_path / "mlruns", Given())
    assert mlflow.recognise(item)
    pages = list(mlflow.parse(item, mlflow.Config(Common("mlflow", "registry"))))
    event = events(pages, "training")[run]
    assert event.title == "so long that the meta file folds it: " + "x " * 40
    assert (event.outcome, event.version, dict(event.labels)["param.algo"]) == ("good", "1", "forest")
    assert values(pages, "val/deep") == [(0.5, 1)]
    (champion,) = events(pages, "promotion").values()
    assert champion.ts_latest - champion.ts <= 60, "the file store tells when the model was last touched"
