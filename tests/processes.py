"""Tandem in processes of its own, as people start it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from tandem import api

ROOT = Path(__file__).parent.parent
PATIENCE = 120.0
"""Seconds after which something that a test waits for is taken for missing."""


def environment(*folders: Path, **more: str) -> dict[str, str]:
    path = os.pathsep.join(str(one) for one in (ROOT, *folders))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **more}


def start(
    *words: str, folder: Path, packages: Sequence[Path] = (), pass_fds: Sequence[int] = (), **more: str
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tandem.cli", *words], cwd=folder, env=environment(*packages, **more), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=pass_fds,
    )  # fmt: skip


def run(*words: str, folder: Path, packages: Sequence[Path] = (), **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tandem.cli", *words], cwd=folder, env=environment(*packages, **more), text=True,
        stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE, check=False,
    )  # fmt: skip


@contextlib.contextmanager
def running(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """The process, killed at the end if it still runs."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], url: str, log: Path, *, patience: float = PATIENCE, folder: Path | None = None,
    **more: str,
) -> Iterator[str]:  # fmt: skip
    """The origin of another program's server, as soon as it says yes at `url`; ended with all that it began.

    `more`: what is added to the environment. What it says goes to `log`.
    """
    with log.open("wb") as out:
        process = subprocess.Popen(
            command, cwd=folder, stdout=out, stderr=out, env={**os.environ, **more}, start_new_session=True
        )
    try:
        eventually(lambda: process.poll() is not None or answers(url), f"an answer at {url}", patience)
        assert process.poll() is None, f"{command[0]} has ended:\n{log.read_text(errors='replace')[-4000:]}"
        address = urlsplit(url)
        yield f"{address.scheme}://{address.netloc}"
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def eventually(true: Callable[[], object], what: str, patience: float = PATIENCE) -> None:
    """Return as soon as `true` says so."""
    end = time.monotonic() + patience
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)


@contextlib.contextmanager
def serving(reply: Callable[[str, dict[str, list[str]]], tuple[int, bytes]]) -> Iterator[str]:
    """The address of a server of this process that answers every GET by what `reply` says of its path and query."""

    class Asked(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            address = urlsplit(self.path)
            status, body = reply(address.path, parse_qs(address.query, keep_blank_values=True))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def answering(context: Any) -> contextlib.AbstractContextManager[str]:
    """A server with Tandem's own answers."""
    return serving(lambda path, params: api.answer(context, "GET", path, params, {})[::2])  # type: ignore[return-value]


def answering_with(status: int, body: bytes) -> contextlib.AbstractContextManager[str]:
    """A server that always says the same."""
    return serving(lambda path, params: (status, body))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether somebody says yes at an address."""
    try:
        with urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False
