"""From a click on a time range to the new numbers in a real browser, beside an empty page, in one run.

Run: python -m tests.benchmarks.clicks [--rounds N] [--folder DIR] [--only NAME ...]

The sample company on two servers (one that keeps answers, as in use, on which every window was asked before; one that
keeps none, so that the engine reads for each click) and an empty page with the same control. Every screen's three pages
are clicked in turn, so that other work on the computer meets them alike. The clock stands in the page: it starts with
the click, notes the EFFECT when the address, the text and a chart over time have all changed (some
charts reach over a window of their own), and SETTLED at the last change before 300 ms of rest with no script running.
It looks every 20 ms, which costs the page something too. A step that does not come to its end within its limit is
counted as lost, and said. `--folder`: a demo's folder that is there already (it is only read); without it the demo is
made and collected first.
"""

from __future__ import annotations

import argparse
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tests.browser.conftest import ARGS

SCREENS = {
    "Overview": "/?", "Services": "/services?", "Models": "/models?", "one service": "/services?component={service}&",
    "one model": "/models?component={model}&", "Delivery": "/delivery?", "Compare": "/compare?compare=previous&",
}  # fmt: skip
RANGES = ("6h", "24h")
OPEN, STEP = 90_000, 30_000
"""Milliseconds within which a page must open, and within which a click must have its effect."""
EMPTY = """import streamlit as st
chosen = st.segmented_control("Time range", ["6h", "24h"], default="24h", required=True)
st.query_params["from"] = f"now-{chosen}"
st.write(f"shown {chosen}")
"""
ARM = """() => {
  const walk = (root, out) => {
    for (const e of root.querySelectorAll('*')) if (e.shadowRoot) { out.push(e.shadowRoot); walk(e.shadowRoot, out); }
    return out;
  };
  const look = () => {
    const roots = walk(document, []);
    const text = [document.body.textContent, ...roots.map((r) => r.textContent)].join('\\n');
    const plots = [...document.querySelectorAll('.js-plotly-plot')].filter((e) => e.layout?.xaxis?.type === 'date')
      .map((e) => String(e.layout.xaxis.range));
    return { address: location.search, text, plots };
  };
  const resting = () => document.querySelector('[data-testid=stApp]')?.dataset.testScriptState === 'notRunning';
  const before = look();
  window.seen = {};
  delete document.documentElement.dataset.settled;
  addEventListener('pointerdown', () => {
    const start = performance.now(), seen = window.seen;
    let last = start, said = '';
    const step = () => {
      const now = look(), at = performance.now();
      const print = now.address + now.text + now.plots;
      if (print !== said) { said = print; last = at; }
      const moved = now.address !== before.address && now.text !== before.text
        && (!before.plots.length || now.plots.some((x) => !before.plots.includes(x)));
      if (moved && !seen.effect) seen.effect = at - start;
      if (seen.effect && at - last > 300 && resting()) {
        seen.settled = Math.max(last - start, seen.effect);
        document.documentElement.dataset.settled = 'yes';
      } else setTimeout(step, 20);
    };
    step();
  }, { capture: true, once: true });
}"""


def serve(folder: Path, port: int, kind: str) -> None:
    """The server process; "fresh" keeps no answer."""
    from dashboard import reading, server
    from tandem import config as configuration
    from tandem import owner
    from tandem.store.file import open_store

    if kind == "empty":
        server.SCRIPT = folder / "empty.py"
    if kind == "fresh":
        reading._kept = lambda _question, _version, _ask: _ask()
    now = (folder / "tandem.toml").stat().st_mtime_ns // 10**9 // 300 * 300
    with open_store(folder / f"{kind}.duckdb") as store:
        context = SimpleNamespace(
            store=store, config=configuration.load(folder / "tandem.toml"), now=lambda: now, version=store.version,
            first_done=True, trouble="", url=f"http://127.0.0.1:{port}", sync=lambda *given, **more: None,
        )  # fmt: skip
        owner.hold(context)
        server.run(context, port=port)


@contextmanager
def served(folder: Path, kind: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.benchmarks.clicks", "--serve", kind, "--port", str(port)]
    with subprocess.Popen([*command, "--folder", str(folder)]) as process:
        try:
            until = time.monotonic() + OPEN / 1000
            while time.monotonic() < until:
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(20)


def copied(given: Path | None, folder: Path) -> None:
    """A demo's files, the store once for each server, and the empty page."""
    if given is None:
        given = folder / "demo"
        from tandem import demo

        demo.prepare(given, int(time.time()))
        subprocess.run([sys.executable, "-m", "tandem.cli", "sync"], cwd=given, check=True)
    newest = (given / "tandem.duckdb").stat().st_mtime
    shutil.copy(given / "tandem.toml", folder / "tandem.toml")
    import os

    os.utime(folder / "tandem.toml", (newest, newest))
    for kind in ("kept", "fresh", "empty"):
        shutil.copy(given / "tandem.duckdb", folder / f"{kind}.duckdb")
    (folder / "empty.py").write_text(EMPTY)


def opened(browser: Any, url: str) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.set_default_timeout(OPEN)
    page.goto(url)
    page.get_by_role("radio", name="24h", exact=True).wait_for()
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]")
    page.wait_for_selector("[data-testid=stSkeleton]", state="detached")
    return page


def clicked(page: Any, name: str) -> tuple[float, float] | None:
    """Milliseconds to the effect and until all is at rest; None where either did not come."""
    from playwright.sync_api import TimeoutError as Late

    page.bring_to_front()
    try:
        page.evaluate(ARM)
        page.get_by_role("radio", name=name, exact=True).click(timeout=STEP)
        page.wait_for_selector("html[data-settled]", state="attached", timeout=STEP)
        return page.evaluate("[window.seen.effect, window.seen.settled]")
    except Late:
        return None


def rounds(browser: Any, urls: dict[str, str], number: int) -> dict[str, list[tuple[float, float] | None]]:
    """The pages clicked in turn; the first click of each range is not counted."""
    pages = {name: opened(browser, url) for name, url in urls.items()}
    took: dict[str, list[tuple[float, float] | None]] = {name: [] for name in pages}
    for n in range(number + len(RANGES)):
        for name, page in pages.items():
            found = clicked(page, RANGES[n % len(RANGES)])
            if n >= len(RANGES):
                took[name].append(found)
    for page in pages.values():
        page.context.close()
    return took


def show(screen: str, took: dict[str, list[tuple[float, float] | None]]) -> None:
    known = {name: [one for one in some if one] for name, some in took.items()}
    if not all(known.values()):
        print(f"{screen:14} lost: {', '.join(name for name, some in known.items() if not some)}", flush=True)
        return
    floor = [statistics.median(pair[place] for pair in known["empty"]) for place in (0, 1)]
    for name, some in known.items():
        effect, settled = (statistics.median(pair[place] for pair in some) for place in (0, 1))
        lost = f"   {len(took[name]) - len(some)} lost" if len(some) < len(took[name]) else ""
        print(f"{screen:14}{name:8}{effect:8.0f}{settled:9.0f}{max(pair[1] for pair in some):8.0f}"
              f"{effect / floor[0]:9.1f}{settled / floor[1]:9.1f}{lost}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="the screens to click on")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.folder, given.port, given.serve)
        return
    from playwright.sync_api import sync_playwright

    from tandem import config as configuration

    with tempfile.TemporaryDirectory() as made, ExitStack() as open_, sync_playwright() as player:
        folder = Path(made)
        copied(given.folder, folder)
        parts = {one.kind: one.name for one in configuration.load(folder / "tandem.toml").components}
        bases = {kind: open_.enter_context(served(folder, kind)) for kind in ("empty", "kept", "fresh")}
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        print(f"{'median ms':22}{'effect':>8}{'settled':>9}{'most':>8}{'x empty':>9}{'settled':>9}")
        for screen, where in SCREENS.items():
            if not given.only or screen in given.only:
                path = where.format(**parts) + "from=now-24h&to=now"
                urls = {kind: base + ("/" if kind == "empty" else path) for kind, base in bases.items()}
                show(screen, rounds(browser, urls, given.rounds))
        browser.close()


if __name__ == "__main__":
    main()
