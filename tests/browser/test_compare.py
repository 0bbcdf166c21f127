"""Journeys of people through the Compare page, in a real browser against a server with a made-up engine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.conftest import Seen
from tests.browser.test_journeys import AXE, RULES

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
PATHS = ("/compare", "/compare?component=fraud-score&version=v12&compare=version%3Av11", "/compare?tab=differences")
MODEL = "/compare?component=fraud-score"


def choose(seen: Seen, label: str, option: str) -> None:
    seen.page.get_by_label(label).click()
    seen.page.get_by_role("option", name=option, exact=False).first.click()


def test_choosing_sides_switching_and_a_row_go_back_and_forward(visit: Visit) -> None:
    seen = visit("/models?component=fraud-score")
    page = seen.page
    page.get_by_role("link", name="Compare", exact=True).click()
    seen.until_address("/compare")
    seen.open(MODEL)
    choose(seen, "B: compare with", "Version v11")
    seen.until_address(f"{MODEL}&compare=version%3Av11")
    page.get_by_text("18:00 to 18:00 UTC, version v11").wait_for()
    page.get_by_role("link", name="amount_usd", exact=True).click()
    seen.until_address(f"{MODEL}&compare=version%3Av11&selected=amount_usd")
    page.locator("tr[aria-current]").get_by_role("link", name="amount_usd").wait_for()
    page.get_by_role("heading", name="amount_usd").wait_for()
    page.get_by_text("Only differences").click()
    seen.until_address(f"{MODEL}&compare=version%3Av11&selected=amount_usd&tab=differences")
    page.get_by_text("Calibration error").wait_for(state="detached")
    page.go_back()
    seen.until_address(f"{MODEL}&compare=version%3Av11&selected=amount_usd")
    page.get_by_text("Calibration error").wait_for()
    page.go_back()
    seen.until_address(f"{MODEL}&compare=version%3Av11")
    page.locator("tr[aria-current]").get_by_role("link", name="card_country").wait_for()
    page.go_back()
    seen.until_address(MODEL)
    page.go_forward()
    seen.until_address(f"{MODEL}&compare=version%3Av11")
    page.get_by_text("18:00 to 18:00 UTC, version v11").wait_for()
    page.reload()
    seen.settled()
    page.get_by_text("18:00 to 18:00 UTC, version v11").wait_for()
    assert seen.errors == []
    assert seen.foreign == []


def test_before_and_after_a_change_begins_at_the_change_and_stays_on_other_pages(visit: Visit) -> None:
    seen = visit("/compare")
    page = seen.page
    choose(seen, "B: compare with", "Before checkout-api 4.18.2")
    wanted = "from=20261113T2000Z&compare=change%3Adeployment%2Fd2&live=0"
    seen.until_address(f"/compare?{wanted}")
    page.get_by_text("Before and after").wait_for()
    page.get_by_role("link", name="Overview", exact=True).click()
    seen.until_address(f"/?{wanted}")
    page.get_by_text("against 6 Nov").or_(page.get_by_text("before the change")).first.wait_for()
    page.go_back()
    seen.until_address(f"/compare?{wanted}")
    assert seen.errors == []


def test_a_number_leads_to_its_component_with_the_same_comparison(visit: Visit) -> None:
    seen = visit("/compare?compare=week")
    seen.page.get_by_role("link", name="checkout-api", exact=True).first.click()
    seen.until_address("/services?from=now-7d&component=checkout-api&compare=week")
    seen.page.wait_for_selector("text=against one week before")
    assert seen.errors == []


@pytest.mark.parametrize("path", PATHS)
def test_a_phone_never_scrolls_sideways(visit: Visit, path: str) -> None:
    seen = visit(path, width=390)
    seen.page.wait_for_timeout(1500)
    seen.settled()
    for element in ("document.documentElement", "document.querySelector('[data-testid=stMain]')"):
        assert seen.page.evaluate(f"{element}.scrollWidth") <= 390
    assert seen.errors == []


@pytest.mark.parametrize("path", ["/compare", MODEL])
def test_names_from_outside_load_nothing(visit: Visit, path: str) -> None:
    seen = visit(path, kind="hostile")
    seen.page.wait_for_timeout(1500)
    assert seen.foreign == []
    assert seen.errors == []


@pytest.mark.parametrize(("scheme", "width"), [("light", 1440), ("dark", 1440), ("dark", 390)])
@pytest.mark.parametrize("path", PATHS)
def test_accessible(visit: Visit, path: str, scheme: str, width: int) -> None:
    seen = visit(path, scheme=scheme, width=width)
    seen.page.wait_for_timeout(1000)
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = seen.page.evaluate(
        "rules => axe.run(document, {runOnly: rules})", [*RULES, "cat.semantics", "cat.tables"]
    )
    said = [f"{v['id']}: {v['help']} {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]]
    assert said == []
