"""The picture in the README: `python -m tests.picture` starts the demo and photographs its Overview."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.processes import free_port

PICTURE = Path(__file__).parent.parent / "dashboard" / "static" / "overview.png"
SECONDS = 180


def main() -> None:
    """Write the picture anew."""
    with tempfile.TemporaryDirectory() as folder, demo(Path(folder)) as url:
        photograph(url, PICTURE)
    print(f"wrote {PICTURE}", file=sys.stderr)


@contextmanager
def demo(folder: Path) -> Iterator[str]:
    """The address of a demo in `folder` that has collected; it is stopped afterwards."""
    port = free_port()
    command = [sys.executable, "-m", "tandem.cli", "demo", "--no-browser", "--port", str(port), "--dir", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(url, process)
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_until_healthy(url: str, process: subprocess.Popen[bytes]) -> None:
    """Return when the first collection has committed; raises RuntimeError when the demo ends or takes too long."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the demo ended with exit code {process.returncode}")
        try:
            with urllib.request.urlopen(f"{url}/healthz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.2)
    raise RuntimeError(f"the demo did not answer {url}/healthz within {SECONDS} s")


def photograph(url: str, target: Path) -> None:
    """The Overview at 1440 x 1180, in light colours, once everything on it is drawn."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=sandbox())
        page = browser.new_page(viewport={"width": 1440, "height": 1180}, color_scheme="light")
        page.goto(url)
        page.get_by_text("checkout-api").filter(visible=True).first.wait_for(timeout=60_000)
        page.locator(".js-plotly-plot svg").first.wait_for(timeout=60_000)
        page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
        page.evaluate("document.fonts.ready")
        target.write_bytes(page.screenshot(animations="disabled"))
        browser.close()


def sandbox() -> list[str]:
    """Chromium does not start its sandbox as root."""
    return ["--no-sandbox"] if os.geteuid() == 0 else []


if __name__ == "__main__":
    main()
