# ruff: noqa: E501
"""A journey through Delivery in a real browser: narrow to one service, compare, look on a phone, by keyboard and axe."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Seen

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
AXE = Path(__file__).with_name("axe") / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "cat.semantics", "cat.tables"]


def test_from_the_overview_to_one_service_and_back(visit: Visit) -> None:
    seen = visit("/")
    page = seen.page
    page.get_by_role("link", name="Delivery", exact=True).click()
    seen.until_address("/delivery")
    page.wait_for_selector('[role=radio][aria-checked="true"]:has-text("30d")')
    assert page.get_by_role("table", name="Software: five delivery metrics").get_by_role("row").count() == 6
    assert page.get_by_role("table", name="Models: five delivery metrics").get_by_role("row").count() == 6
    assert page.get_by_text("A blend of 8 services").is_visible()
    page.get_by_role("table", name="Software by component").get_by_role("link", name="checkout-api").click()
    seen.until_address("/delivery?component=checkout-api")
    page.get_by_text("A blend of").wait_for(state="detached")
    page.get_by_text("How these are counted").click()
    page.get_by_text("tandem show checkout-api --from").wait_for()
    page.get_by_role("radio", name="7d").click()
    seen.until_address("/delivery?from=now-7d&component=checkout-api")
    page.get_by_role("link", name="Services", exact=True).click()
    seen.until_address("/services?from=now-7d")
    page.go_back()
    seen.until_address("/delivery?from=now-7d&component=checkout-api")
    page.go_back()
    seen.until_address("/delivery?component=checkout-api")
    page.go_back()
    seen.until_address("/delivery")
    page.get_by_text("A blend of 8 services").wait_for()
    assert seen.errors == []
    assert seen.foreign == []


def test_a_service_leads_to_its_delivery(visit: Visit) -> None:
    seen = visit("/services?component=checkout-api")
    seen.page.get_by_role("link", name="its five delivery metrics").click()
    seen.until_address("/delivery?component=checkout-api")
    assert seen.page.locator("h1").inner_text() == "Delivery"
    assert seen.errors == []


@pytest.mark.parametrize("kind", ["full", "silent", "hostile", "empty"])
def test_on_a_phone_nothing_is_wider_than_the_page(visit: Visit, kind: str) -> None:
    seen = visit("/delivery", kind=kind, width=390)
    seen.page.wait_for_timeout(700)
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 390
    wide = seen.page.evaluate(
        "[...document.querySelectorAll('[data-testid=stMain] *')]"
        ".filter(e => e.getBoundingClientRect().right > 391 && !e.closest('.f-scroll,[data-testid=stDataFrame]')"
        " && !e.querySelector('[data-testid=stPageLink]') && !e.closest('[data-testid=stPageLink]')).length"
    )
    assert wide == 0
    assert seen.foreign == []


def test_on_a_phone_the_five_rows_stack(visit: Visit) -> None:
    seen = visit("/delivery", width=390)
    table = seen.page.get_by_role("table", name="Software: five delivery metrics")
    boxes = [row.bounding_box() for row in table.get_by_role("row").all()[1:]]
    assert len(boxes) == 5
    for above, below in pairwise(boxes):
        assert above["y"] + above["height"] <= below["y"] + 1
        assert above["width"] <= 390
    assert table.get_by_role("rowheader").count() == 5
    assert table.get_by_role("cell").count() == 20


def test_the_sides_stand_beside_each_other_on_a_desk(visit: Visit) -> None:
    seen = visit("/delivery")
    left = seen.page.get_by_role("table", name="Software: five delivery metrics").bounding_box()
    right = seen.page.get_by_role("table", name="Models: five delivery metrics").bounding_box()
    assert left["x"] + left["width"] < right["x"]
    assert abs(left["y"] - right["y"]) < 24
    assert left["width"] <= 640


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", ["/delivery", "/delivery?component=fraud-score"])
def test_accessible(visit: Visit, path: str, width: int, scheme: str) -> None:
    seen = visit(path, scheme=scheme, width=width)
    for one in seen.page.get_by_text("How these are counted").all():
        one.click()
    seen.page.wait_for_timeout(800)
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = seen.page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    said = [f"{v['id']}: {v['help']} {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]]
    assert said == []
