"""Environments of their own for the real programs that tests start: none of them may share Tandem's."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The python of an environment with these requirements, made on first use and kept for later runs.

    They lie in the folder TANDEM_TEST_ENVS, by default one in the system's temporary folder. Raises RuntimeError
    with what the installer said.
    """
    base = Path(os.environ.get("TANDEM_TEST_ENVS") or Path(tempfile.gettempdir()) / "tandem-test-envs")
    told = "\n".join([sys.version, *requirements])
    folder = base / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:12]}"
    base.mkdir(parents=True, exist_ok=True)
    with (base / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "ready").exists():
            _run([sys.executable, "-m", "venv", "--clear", str(folder)])
            _run([str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", *requirements])
            (folder / "ready").write_text(told)
    return folder / "bin" / "python"


def _run(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-2000:]}{done.stderr[-4000:]}")
