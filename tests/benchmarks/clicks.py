"""From a click to the new numbers in a real browser, beside an empty page, in one run.

Run: python -m tests.benchmarks.clicks [--components N] [--days N] [--rounds N]

The time range is changed by a click on its control; the clock stands in the page and stops at the first frame in which
the title names the new window and every chart over time has it on its axis. The empty page has the same control and one
line of text. Pages alternate, so that other work on the computer meets them alike; printed are medians, 95th
percentiles and ratios to the empty page.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path
from typing import Any

from tests.benchmarks import estate, rerun
from tests.browser.conftest import ARGS

CLICK = """async ([name, empty]) => {
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
  const told = () => empty ? document.body.innerText.match(/shown (\\w+)/)?.[1]
    : all(document).find((e) => e.className === 'h-line')?.innerText.split(' · data')[0];
  const plots = () => [...document.querySelectorAll('.js-plotly-plot')].filter((e) => e.layout?.xaxis?.type === 'date')
    .map((e) => String(e.layout.xaxis.range[0]));
  const before = told(), drawn = plots();
  const radio = [...document.querySelectorAll('[role=radio]')].find((e) => e.innerText.trim() === name);
  const start = performance.now();
  radio.click();
  return await new Promise((done) => {
    const look = () => {
      const now = plots();
      const moved = told() !== before && now.length === drawn.length && now.every((x) => !drawn.includes(x));
      if (moved || performance.now() - start > 30000) done(performance.now() - start);
      else requestAnimationFrame(look);
    };
    look();
  });
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--days", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=10)
    given = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as player:
        path = Path(folder) / "tandem.duckdb"
        estate.build(path, given.components, given.days)
        names = {one.kind: one.name for one in estate.config(path.parent, given.components).components}
        pages = {
            "Overview": "/", "Services": "/services", "Models": "/models", "Delivery": "/delivery",
            "one service": f"/services?component={names['service']}",
            "one model": f"/models?component={names['model']}",
        }  # fmt: skip
        browser = player.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        other = path.with_name("bare.duckdb")
        estate.build(other, 1, 1)
        with rerun.served(path, given.components, False) as (port, _), rerun.served(other, 1, True) as (bare, _):
            opened = {"empty page": _opened(browser, f"http://127.0.0.1:{bare}/", True)}
            opened |= {
                name: _opened(browser, f"http://127.0.0.1:{port}{where}", False) for name, where in pages.items()
            }
            took: dict[str, list[float]] = {name: [] for name in opened}
            for number in range(given.rounds + 2):
                for name, page in opened.items():
                    ms = page.evaluate(CLICK, ["6h" if number % 2 == 0 else "24h", name == "empty page"])
                    page.wait_for_timeout(150)
                    if number >= 2:
                        took[name].append(ms)
        browser.close()
    floor = statistics.median(took["empty page"])
    print(f"{'':16}{'median ms':>10}{'p95':>8}{'x empty':>9}")
    for name, some in took.items():
        middle, high = statistics.median(some), sorted(some)[int(len(some) * 0.95)]
        print(f"{name:16}{middle:10.0f}{high:8.0f}{middle / floor:9.1f}")


def _opened(browser: Any, url: str, empty: bool) -> Any:
    page = browser.new_context(viewport={"width": 1440, "height": 900}).new_page()
    page.goto(url)
    page.wait_for_selector("[role=radio]", timeout=60_000)
    page.wait_for_selector("text=shown 24h" if empty else "h1", timeout=60_000)
    page.wait_for_timeout(4000)
    return page


if __name__ == "__main__":
    main()
