"""The gate itself: what must run and does not turns it red."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

HEAD = "import pytest\n\n"
BROWSER = "@pytest.mark.browser\ndef test_browser(): {}\n"
LIVE = "@pytest.mark.live\ndef test_live(): {}\n"
BOTH = HEAD + BROWSER + LIVE


def run(folder: Path, text: str) -> tuple[int, str]:
    (folder / "test_it.py").write_text(text, encoding="utf-8")
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  browser: b\n  live: l\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.gate", "-p", "no:cacheprovider", "test_it.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("text", "green", "said"),
    [
        (BOTH.format("pass", "pass"), True, "2 passed"),
        (BOTH.format("pytest.skip('no chromium')", "pass"), False, "test_browser was skipped"),
        (BOTH.format("pass", "pytest.skip('no server')"), False, "test_live was skipped"),
        (HEAD + LIVE.format("pass"), False, "marked browser"),
        (HEAD + "def test_plain(): pass\n", False, "marked browser or live"),
        (BOTH.format("pass", "pass") + "def test_plain(): pytest.skip('not here')\n", True, "1 skipped"),
        (BOTH.format("pass", "pytest.xfail('known')"), False, "marked live"),
        ("import pytest\npytest.importorskip('nothing_of_that_name')\n", False, "was skipped whole"),
    ],
)
def test_what_must_run_and_does_not_is_a_failure(text: str, green: bool, said: str, tmp_path: Path) -> None:
    code, output = run(tmp_path, text)
    assert (code == 0) == green
    assert said in output


def test_the_gate_is_a_script_that_parses() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
