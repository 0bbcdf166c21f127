"""A real MLflow server in an environment of its own (first use installs it)."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environments import environment

# The server and what mlflow.evaluate needs: the whole of mlflow brings Arrow and Docker too.
REQUIREMENTS = (
    "mlflow-skinny==3.17.2", "aiohttp", "alembic", "cryptography", "flask", "flask-cors", "graphene", "huey",
    "matplotlib", "pandas", "scikit-learn", "skops", "sqlalchemy",
)  # fmt: skip


def program(*arguments: str, folder: Path, **own: str) -> str:
    """What python of that environment prints last."""
    done = subprocess.run(
        [str(environment("mlflow", REQUIREMENTS)), *arguments], capture_output=True, text=True, cwd=folder, timeout=300,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", **own}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()[-1]


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


@contextlib.contextmanager
def serving(folder: Path, **own: str) -> Iterator[Live]:
    """A server whose database and artifacts lie in a folder; `own` goes into its environment."""
    python = environment("mlflow", REQUIREMENTS)
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
            env={
                **os.environ,
                "MLFLOW_DISABLE_TELEMETRY": "true",
                "PATH": f"{python.parent}:{os.environ['PATH']}",
                **own,
            },
            start_new_session=True,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/health", server, folder / "log.txt")
            yield Live(f"http://127.0.0.1:{port}", folder)
        finally:
            os.killpg(server.pid, signal.SIGKILL)  # asked to end, it waits long for the threads of its webhooks
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
