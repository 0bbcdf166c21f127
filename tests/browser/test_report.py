"""The report in a real browser, from a file: no script, no request, both themes, a phone, and what the button gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dashboard.reported import document
from tests.test_reported import made

pytestmark = pytest.mark.browser
WIDER = """[...document.querySelectorAll('main *')].filter(one => {
  if (one.getBoundingClientRect().right <= innerWidth + 1) return false;
  for (let up = one.parentElement; up; up = up.parentElement)
    if (getComputedStyle(up).overflowX !== 'visible' && up !== document.body) return false;
  return true;
}).map(one => one.tagName + '.' + (one.getAttribute('class') || ''))"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("reports")
    for kind in ("full", "hostile", "empty"):
        (folder / f"{kind}.html").write_bytes(document.document(made(kind)))
    return {kind: folder / f"{kind}.html" for kind in ("full", "hostile", "empty")}


@pytest.mark.parametrize("kind", ["full", "hostile", "empty"])
@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (1440, "dark"), (390, "light")])
def test_it_stands_alone(chromium: Any, files: dict[str, Path], kind: str, width: int, scheme: str) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme, java_script_enabled=True)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.on("console", lambda one: said.append(one.text))
    page.on("dialog", lambda one: said.append("a dialog"))
    page.goto(files[kind].as_uri())
    assert asked == [files[kind].as_uri()]
    assert said == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate(WIDER) == []
    back, ink = (page.evaluate(f"getComputedStyle(document.body).{name}") for name in ("backgroundColor", "color"))
    assert (_light(back) > 0.5) is (scheme == "light")
    assert abs(_light(back) - _light(ink)) > 0.6
    page.close()


def _light(colour: str) -> float:
    parts = [float(part) for part in colour.removeprefix("rgb(").rstrip(")").split(",")]
    return sum(parts) / 3 / 255


def test_it_prints_black_on_white_on_several_pages(chromium: Any, files: dict[str, Path], tmp_path: Path) -> None:
    page = chromium.new_page(color_scheme="dark", viewport={"width": 1440, "height": 900})
    page.goto(files["full"].as_uri())
    page.emulate_media(media="print")
    assert _light(page.evaluate("getComputedStyle(document.body).backgroundColor")) > 0.9
    page.pdf(path=str(tmp_path / "report.pdf"))
    assert (tmp_path / "report.pdf").read_bytes().count(b"/Type /Page\n") >= 2
    page.close()


def test_the_button_gives_the_window_of_the_page(visit: Any, tmp_path: Path) -> None:
    seen = visit("/?from=20261113T0000Z&to=20261120T0000Z&product=Checkout")
    seen.page.get_by_role("button", name="Share").click()
    with seen.page.expect_download() as taken:
        seen.page.get_by_role("button", name="Report of this window").click()
    assert taken.value.suggested_filename == "tandem-2026-11-13-to-2026-11-19.html"
    taken.value.save_as(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "2026-11-13T00:00:00Z to 2026-11-20T00:00:00Z" in page
    assert "Checkout" in page
    with seen.page.expect_download() as packed:
        seen.page.get_by_role("button", name="Its tables as CSV and JSON").click()
    assert packed.value.suggested_filename == "tandem-2026-11-13-to-2026-11-19.zip"
    assert seen.errors == []
