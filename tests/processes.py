"""Tandem in processes of its own, as people start it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

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


def eventually(true: Callable[[], object], what: str) -> None:
    """Return as soon as `true` says so."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"{what} did not come"
        time.sleep(0.02)
