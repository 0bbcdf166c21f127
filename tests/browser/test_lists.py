# ruff: noqa: E501
"""Lists of services and models, objectives, and numbers that explain themselves, in a real browser."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Seen
from tests.browser.test_journeys import AXE, RULES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
ROWS = ".l-row:not(.l-heads):not([hidden])"


def violations(seen: Seen) -> list[str]:
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = seen.page.evaluate(
        "rules => axe.run(document, {runOnly: rules})", [*RULES, "cat.semantics", "cat.tables"]
    )
    return [f"{v['id']}: {v['help']} {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]]


def test_counters_filter_the_list_stand_in_the_address_and_back_undoes_them(visit: Visit) -> None:
    seen = visit("/services")
    page = seen.page
    assert page.locator(ROWS).count() == 8
    page.locator("a.l-count", has_text="Breached").click()
    seen.until_address("/services?tab=breached")
    page.locator("a.l-count[aria-current]", has_text="Breached").wait_for()
    assert page.locator(ROWS).count() == 2
    page.locator("a.l-link", has_text="search-api").click()
    seen.until_address("/services?component=search-api")
    page.go_back()
    seen.until_address("/services?tab=breached")
    page.go_back()
    seen.until_address("/services")
    page.locator("a.l-count[aria-current]").wait_for(state="detached")
    assert page.locator(ROWS).count() == 8
    page.go_forward()
    seen.until_address("/services?tab=breached")
    page.locator("a.l-count[aria-current]").wait_for()
    page.reload()
    seen.settled()
    assert page.locator(ROWS).count() == 2
    assert seen.errors == []


def test_a_search_answers_while_typing_and_stands_in_the_address(visit: Visit) -> None:
    seen = visit("/services")
    page = seen.page
    box = page.get_by_role("searchbox")
    box.click()
    page.keyboard.type("rec")
    page.wait_for_function(
        f"(() => {{ const all = (r) => [...r.querySelectorAll('*')].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]); return all(document).filter((e) => e.matches('{ROWS}')).length === 1; }})()"
    )
    assert page.locator("a.l-link:visible").inner_text() == "reco-api"
    assert "1 of 8" in page.locator("[data-found]").inner_text()
    assert seen.address() == "/services", "typing is no step of the history"
    assert page.get_by_role("dialog").count() == 0, "letters are no shortcuts of the page around"
    page.keyboard.press("Enter")
    seen.until_address("/services?selected=rec")
    page.wait_for_selector("[data-found]:has-text('1 of 8')")
    page.reload()
    seen.settled()
    assert page.get_by_role("searchbox").input_value() == "rec"
    assert page.locator(ROWS).count() == 1
    page.go_back()
    seen.until_address("/services")
    page.wait_for_selector("[data-found]:has-text('8 services')")
    assert page.locator(ROWS).count() == 8
    page.get_by_role("searchbox").fill("nothing of the kind")
    page.get_by_text("Nothing here has that").wait_for()
    assert seen.errors == []


def test_two_hundred_are_searched_by_the_server_where_not_all_are_drawn(visit: Visit) -> None:
    seen = visit("/services", kind="crowd")
    page = seen.page
    assert page.locator(ROWS).count() == 100
    assert page.get_by_text("The worst 100 of 200 are shown").count() == 1
    page.get_by_role("searchbox").click()
    page.keyboard.type("auth-api-199")
    seen.until_address("/services?selected=auth-api-199")
    page.wait_for_selector("[data-found]:has-text('1 of 200')")
    assert page.locator(ROWS).count() == 1
    assert seen.errors == []


def test_a_list_is_one_tab_stop_and_its_numbers_are_asked_by_key(visit: Visit) -> None:
    seen = visit("/services")
    page = seen.page
    assert page.locator('[data-cell][tabindex="0"]').count() == 1
    page.locator('[data-cell="0:0"]').focus()
    where = "document.activeElement.shadowRoot.activeElement.dataset.cell"
    for key, cell in (
        ("ArrowRight", "0:1"),
        ("ArrowDown", "1:1"),
        ("End", "1:5"),
        ("ArrowLeft", "1:4"),
        ("ArrowLeft", "1:3"),
    ):
        page.keyboard.press(key)
        assert page.evaluate(where) == cell
    page.keyboard.press("Enter")
    pop = page.get_by_role("dialog")
    pop.get_by_text("burn rate over 1h").wait_for()
    pop.get_by_text("÷").first.wait_for()
    page.keyboard.press("Escape")
    pop.wait_for(state="detached")
    assert page.evaluate(where) == "1:3", "the focus is where it was"
    assert seen.errors == []


def test_a_number_explains_itself_and_its_line_can_be_copied(visit: Visit) -> None:
    seen = visit("/")
    page = seen.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    number = page.locator(".c-card .y-why").first
    number.click()
    pop = page.get_by_role("dialog")
    pop.get_by_text("Copy the line").wait_for()
    said = pop.inner_text()
    for part in ("Exactly", "Formula", "Counts", "Over", "Filters", "Source", "Witnesses", "tandem show", "--as-of 12"):
        assert part in said
    assert number.get_attribute("aria-expanded") == "true"
    pop.get_by_role("button", name="Copy the line").click()
    pop.get_by_text("Copied").wait_for()
    assert page.evaluate("navigator.clipboard.readText()").startswith(
        "tandem show checkout-api --from 2026-11-19T18:00:00Z"
    )
    pop.get_by_role("button", name="Close").click()
    pop.wait_for(state="detached")
    assert number.get_attribute("aria-expanded") is None
    page.locator('a[data-cell="0:2"]').hover()
    page.get_by_role("dialog").get_by_text("p95").first.wait_for()
    page.mouse.move(5, 5)
    page.get_by_role("dialog").wait_for(state="detached")
    page.locator('a[data-cell="0:2"]').focus()
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("Copy the line").wait_for()
    page.locator("h1").click()
    page.get_by_role("dialog").wait_for(state="detached")
    assert seen.errors == []


@pytest.mark.parametrize(
    ("path", "which"),
    [
        ("/", ".c-card .y-why"),
        ("/services", '[data-cell="3:5"]'),
        ("/services?component=checkout-api", ".b-one .y-why"),
    ],
)
def test_an_explanation_is_whole_on_a_phone(visit: Visit, path: str, which: str) -> None:
    seen = visit(path, width=390)
    page = seen.page
    page.locator(which).last.scroll_into_view_if_needed()
    page.locator(which).last.click()
    page.get_by_role("dialog").get_by_text("Copy the line").wait_for()
    box = page.get_by_role("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    assert box["y"] >= 0
    assert box["y"] + box["height"] <= 900
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_phone_stacks_the_rows_of_a_list(visit: Visit) -> None:
    seen = visit("/services", width=390)
    page = seen.page
    for selector in (".l-name", ".l-strip", ".l-sli", ".l-left", ".l-burn", ".l-trend", ".l-change"):
        box = page.locator(ROWS).first.locator(selector).first.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390, selector
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390


def test_an_objective_is_chosen_by_its_name(visit: Visit) -> None:
    seen = visit("/services?component=checkout-api")
    page = seen.page
    page.locator(".b-row[aria-current]", has_text="request_success").wait_for()
    page.get_by_role("link", name="latency", exact=True).click()
    seen.until_address("/services?component=checkout-api&tab=latency")
    page.locator(".b-row[aria-current]", has_text="latency").wait_for()
    page.get_by_text("certainly lie within it").wait_for()
    page.go_back()
    seen.until_address("/services?component=checkout-api")
    page.locator(".b-row[aria-current]", has_text="request_success").wait_for()
    assert seen.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", ["/models", "/services?tab=breached"])
def test_lists_are_accessible(visit: Visit, path: str, scheme: str, width: int) -> None:
    seen = visit(path, scheme=scheme, width=width)
    seen.page.wait_for_timeout(600)
    assert violations(seen) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_an_open_explanation_is_accessible(visit: Visit, scheme: str) -> None:
    seen = visit("/services?component=checkout-api", scheme=scheme)
    seen.page.locator(".b-three .y-why").first.click()
    seen.page.get_by_role("dialog").get_by_text("Copy the line").wait_for()
    assert violations(seen) == []


def test_every_kind_of_unknown_looks_different(visit: Visit) -> None:
    seen = visit("/services", kind="silent")
    chips = seen.page.locator(".l-row .x-chip")
    looks = {(chips.nth(i).inner_text(), chips.nth(i).locator("svg").inner_html()) for i in range(chips.count())}
    assert {word for word, _ in looks} == {"No traffic", "Not measured", "Stale", "No labels yet", "Too few"}
    assert len({shape for _, shape in looks}) == 5


@pytest.mark.parametrize("pause", [120, 250])
def test_quick_steps_of_the_history_end_on_the_page_of_their_address(visit: Visit, pause: int) -> None:
    seen = visit("/")
    page = seen.page
    page.get_by_role("radio", name="7d").click()
    seen.until_address("/?from=now-7d")
    page.get_by_role("link", name="Services", exact=True).click()
    seen.until_address("/services?from=now-7d")
    page.get_by_role("radio", name="1h").click()
    seen.until_address("/services?from=now-1h")
    home = "System and model health"
    views = {
        "/": (home, "24h"),
        "/?from=now-7d": (home, "7d"),
        "/services?from=now-7d": ("Services", "7d"),
        "/services?from=now-1h": ("Services", "1h"),
    }
    for way, start in (("back", "/services?from=now-1h"), ("forward", "/")):
        for _ in range(3):
            page.evaluate(f"history.{way}()")
            page.wait_for_timeout(pause)
        # A browser may take two presses that come at once for one; wherever it ends, the page is that of the address.
        page.wait_for_function(f"location.pathname + location.search !== {start!r}")
        for _ in range(8):
            page.wait_for_timeout(250)
            seen.settled()
        assert seen.address() in views, "no address that nobody went to"
        title, chosen = views[seen.address()]
        page.wait_for_selector(f"h1:has-text('{title}')")
        page.wait_for_selector(f'[role=radio][aria-checked="true"]:has-text("{chosen}")')
    assert seen.errors == []
