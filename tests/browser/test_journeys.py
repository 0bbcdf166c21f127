# ruff: noqa: E501
"""Journeys of people through the screens, in a real browser against a real server with a made-up engine."""

from __future__ import annotations

import http.client
import re
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Seen

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
PATHS = ("/", "/services", "/services?component=checkout-api", "/models?component=fraud-score", "/sources")
AXE = Path(__file__).with_name("axe") / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]


def chosen(seen: Seen) -> str:
    found: str = seen.page.locator('[role=radio][aria-checked="true"]').inner_text()
    return found


def test_controls_address_back_forward_reload_and_deep_link(visit: Visit) -> None:
    seen = visit("/")
    page = seen.page
    page.get_by_role("radio", name="7d").click()
    seen.until_address("/?from=now-7d")
    page.get_by_role("link", name="Services", exact=True).click()
    seen.until_address("/services?from=now-7d")
    page.get_by_role("radio", name="1h").click()
    seen.until_address("/services?from=now-1h")
    page.go_back()
    seen.until_address("/services?from=now-7d")
    page.wait_for_selector('[role=radio][aria-checked="true"]:has-text("7d")')
    page.go_back()
    seen.until_address("/?from=now-7d")
    page.wait_for_selector("h1:has-text('System and model health')")
    page.go_back()
    seen.until_address("/")
    page.wait_for_selector('[role=radio][aria-checked="true"]:has-text("24h")')
    page.go_forward()
    seen.until_address("/?from=now-7d")
    page.wait_for_selector('[role=radio][aria-checked="true"]:has-text("7d")')
    page.reload()
    seen.settled()
    assert chosen(seen) == "7d"
    seen.open("/models?from=now-6h&component=fraud-score")
    assert chosen(seen) == "6h"
    assert page.locator("h1").inner_text() == "fraud-score"
    assert seen.errors == []
    assert seen.foreign == []


def test_a_cell_goes_deeper_in_the_same_document_and_back_returns(visit: Visit) -> None:
    seen = visit("/?from=now-6h")
    page = seen.page
    page.evaluate("window.marked = true")
    page.locator('a[data-cell="0:3"]').click()
    seen.until_address("/services?from=now-6h&component=checkout-api")
    page.wait_for_selector("h1:has-text('checkout-api')")
    assert page.evaluate("window.marked") is True
    page.get_by_role("link", name="fraud-score", exact=True).click()
    seen.until_address("/models?from=now-6h&component=fraud-score")
    page.go_back()
    seen.until_address("/services?from=now-6h&component=checkout-api")
    page.go_back()
    seen.until_address("/?from=now-6h")
    page.wait_for_selector('a[data-cell="0:3"]')
    assert seen.errors == []


def test_compare_and_a_chosen_feature_go_back_and_forward(visit: Visit) -> None:
    seen = visit("/")
    page = seen.page
    page.get_by_label("Compare with").click()
    page.get_by_role("option", name="One week before").click()
    seen.until_address("/?compare=week")
    page.wait_for_selector("text=against one week before")
    page.locator('a[data-cell="0:7"]').click()
    seen.until_address("/models?component=fraud-score&compare=week")
    page.locator("tr[aria-current]").get_by_role("link", name="card_country").wait_for()
    page.get_by_role("link", name="amount_usd", exact=True).click()
    seen.until_address("/models?component=fraud-score&compare=week&selected=amount_usd")
    page.locator("tr[aria-current]").get_by_role("link", name="amount_usd").wait_for()
    page.go_back()
    seen.until_address("/models?component=fraud-score&compare=week")
    page.locator("tr[aria-current]").get_by_role("link", name="card_country").wait_for()
    page.go_back()
    seen.until_address("/?compare=week")
    page.go_back()
    seen.until_address("/")
    page.wait_for_selector("text=against one week before", state="detached")
    page.go_forward()
    seen.until_address("/?compare=week")
    page.wait_for_selector("text=against one week before")
    page.go_forward()
    seen.until_address("/models?component=fraud-score&compare=week")
    page.locator("tr[aria-current]").get_by_role("link", name="card_country").wait_for()
    page.go_forward()
    seen.until_address("/models?component=fraud-score&compare=week&selected=amount_usd")
    page.locator("tr[aria-current]").get_by_role("link", name="amount_usd").wait_for()
    page.reload()
    seen.settled()
    page.locator("tr[aria-current]").get_by_role("link", name="amount_usd").wait_for()
    assert seen.errors == []
    assert seen.foreign == []


def test_links_are_real_links(visit: Visit) -> None:
    seen = visit("/?from=now-6h")
    cell = seen.page.locator('a[data-cell="0:0"]')
    assert cell.get_attribute("href") == "/services?from=now-6h&component=checkout-api"
    with seen.page.context.expect_page() as opened:
        cell.click(modifiers=["Control"])
    opened.value.wait_for_selector("h1:has-text('checkout-api')", timeout=60_000)
    assert seen.address() == "/?from=now-6h"


def test_the_matrix_is_one_tab_stop_and_arrows_walk(visit: Visit) -> None:
    seen = visit("/")
    page = seen.page
    assert page.locator('[data-cell][tabindex="0"]').count() == 1
    page.locator('a[data-cell="0:0"]').focus()
    where = "document.activeElement.shadowRoot.activeElement.dataset.cell"
    for key, cell in (("ArrowRight", "0:1"), ("ArrowDown", "1:1"), ("End", "1:7"), ("Home", "1:0"), ("ArrowUp", "0:0")):
        page.keyboard.press(key)
        assert page.evaluate(where) == cell
    page.keyboard.press("End")
    assert page.locator('[data-cell][tabindex="0"]').get_attribute("data-cell") == "0:7"
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('fraud-score')")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kolkata"])
def test_a_drag_zooms_the_page_and_back_undoes_it(visit: Visit, zone: str) -> None:
    """The window that was dragged, wherever the reader's clock stands."""
    seen = visit("/", timezone_id=zone)
    page = seen.page
    plot = page.locator(".js-plotly-plot .nsewdrag").first
    plot.wait_for(timeout=60_000)
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    y = box["y"] + 20
    page.mouse.move(box["x"] + box["width"] * 0.5, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, y, steps=10)
    page.mouse.up()
    page.wait_for_selector("text=Back to live", timeout=30_000)
    seen.settled()
    assert re.fullmatch(r"/\?from=20261120T0[56]\d\dZ&to=20261120T1[12]\d\dZ&live=0", seen.address())
    page.go_back()
    seen.until_address("/")
    page.wait_for_selector("text=Back to live", state="detached")
    page.wait_for_timeout(1500)
    assert seen.address() == "/"
    assert seen.errors == []


@pytest.mark.parametrize("path", PATHS)
def test_names_from_outside_load_nothing_and_link_nowhere(visit: Visit, path: str) -> None:
    seen = visit(path.split("?")[0] + ("?component=fraud-score" if "component" in path else ""), kind="hostile")
    page = seen.page
    page.wait_for_timeout(2000)
    hrefs: list[str] = page.evaluate(
        """() => { const found = []; const walk = (root) => { for (const e of root.querySelectorAll('*')) {
            if (e.tagName === 'A' && e.getAttribute('href') !== null) found.push(e.href); if (e.tagName === 'IMG') found.push('IMG ' + e.src);
            if (e.shadowRoot) walk(e.shadowRoot); } }; walk(document.body); return found; }"""
    )
    assert [href for href in hrefs if href and not href.startswith(seen.base) and not href.startswith("#")] == []
    assert seen.foreign == []
    assert seen.errors == []


def test_a_hostile_address_is_said_once(visit: Visit) -> None:
    seen = visit("/?from=%3Cimg%20src%3Dhttp%3A%2F%2Fevil.test%3E&%3Cb%3E=1&component=!%5Bx%5D(http%3A%2F%2Fevil.test)")
    assert seen.page.get_by_text("Ignored in this link").count() == 1
    seen.page.get_by_role("radio", name="7d").click()
    seen.until_address("/?from=now-7d")
    seen.page.get_by_text("Ignored in this link").wait_for(state="detached")
    assert seen.foreign == []


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", ["full", "hostile"])
def test_a_phone_never_scrolls_sideways(visit: Visit, path: str, kind: str) -> None:
    seen = visit(path, kind=kind, width=390)
    page = seen.page
    page.wait_for_timeout(1500)
    seen.settled()
    for element in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert page.evaluate(f"{element}.scrollWidth") <= 390


def test_a_phone_has_its_controls_in_one_row_and_a_sheet(visit: Visit) -> None:
    seen = visit("/", width=390)
    page = seen.page
    sheet = page.get_by_role("button", name="View")
    sheet.wait_for(timeout=30_000)
    first = page.get_by_role("radio", name="1h").bounding_box()
    button = sheet.bounding_box()
    assert abs(first["y"] - button["y"]) < 12
    assert button["x"] + button["width"] <= 390
    card = page.locator(".c-card").first.bounding_box()
    assert card["y"] < 300
    sheet.click()
    page.get_by_text("This link shows everybody").wait_for()


def test_a_phone_sees_both_sides_of_a_product_without_swiping(visit: Visit) -> None:
    seen = visit("/", width=390)
    row = seen.page.locator("tr.m-row").first
    for cell in ("0:0", "0:7"):
        box = row.locator(f'[data-cell="{cell}"]').bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", PATHS)
def test_accessible(visit: Visit, path: str, scheme: str) -> None:
    seen = visit(path, scheme=scheme)
    seen.page.wait_for_timeout(1000)
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = seen.page.evaluate(
        "rules => axe.run(document, {runOnly: rules})", [*RULES, "cat.semantics", "cat.tables"]
    )
    said = [f"{v['id']}: {v['help']} {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]]
    assert said == []


def test_the_theme_of_the_file_is_found_from_another_folder(visit: Visit) -> None:
    dark, light = visit("/", scheme="dark"), visit("/", scheme="light")
    colour = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    assert dark.page.evaluate(colour) == "rgb(15, 18, 23)"
    assert light.page.evaluate(colour) == "rgb(255, 255, 255)"
    assert light.page.evaluate("document.fonts.ready.then(() => document.fonts.check('14px Inter'))")


def test_headers_and_routes(serving: Callable[[str], str]) -> None:
    base = serving("full")
    with urllib.request.urlopen(f"{base}/") as answer:
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["X-Frame-Options"] == "SAMEORIGIN"
        assert headers["Referrer-Policy"] == "same-origin"
        assert "default-src 'self'" in headers["Content-Security-Policy"]
    with urllib.request.urlopen(f"{base}/healthz") as answer:
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.read() == b"{}\n"


@pytest.mark.parametrize("path", ["/", "/api/v1/show", "/_stcore/stream"])
def test_another_host_name_is_refused(serving: Callable[[str], str], path: str) -> None:
    host = serving("full").removeprefix("http://")
    upgrade = {
        "Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Key": "x3JJHMbDL1EzLkh9GBhXDw==",
        "Sec-WebSocket-Version": "13",
    }  # fmt: skip
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.request("GET", path, headers={"Host": "evil.test", **(upgrade if "stream" in path else {})})
    assert connection.getresponse().status == 403
    connection.close()


def test_first_steps_and_states_stand_in_a_browser(visit: Visit) -> None:
    assert visit("/", kind="empty").page.get_by_text("Nothing here yet").count() == 1
    assert visit("/", kind="silent").page.get_by_text("System and model health").count() == 1
    crowd = visit("/", kind="crowd")
    assert crowd.page.locator("tr.m-row").count() == 60
    assert crowd.errors == []
