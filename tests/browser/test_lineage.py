"""Where a version comes from, in a real browser: two runs are chosen, Back undoes it, a link shows the same."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.browser.conftest import Seen
from tests.screens_lineage import RUN, SECOND
from tests.test_lineage_page import TITLE

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
FRAUD = "/models?component=fraud-score"


@pytest.mark.parametrize("width", [1440, 390])
def test_two_runs_of_a_link_stand_side_by_side_within_the_page(visit: Visit, width: int) -> None:
    seen = visit(f"{FRAUD}&selected=runs:{RUN}..{SECOND}", width=width, scheme="dark")
    page = seen.page
    table = page.locator(".z-beside")
    table.wait_for(timeout=60_000)
    for said in ("learning_rate", "0.04", "0.05"):
        assert said in table.inner_text()
    links = page.locator(".z-track > li")
    assert links.count() == 6
    tops = links.evaluate_all("all => all.map(one => one.getBoundingClientRect().top)")
    assert tops == sorted(tops)
    for part in (table, page.locator(".z-track")):
        box = part.bounding_box()
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_side_without_a_run_asks_for_one_and_back_returns_to_both(visit: Visit) -> None:
    seen = visit(f"{FRAUD}&selected=runs:{RUN}..{SECOND}")
    page = seen.page
    page.get_by_role("heading", name=TITLE).wait_for(timeout=60_000)
    page.locator(".z-beside").wait_for()
    seen.until_address(seen.address())
    seen.open(f"{FRAUD}&selected=runs:{RUN}..")
    page.get_by_text("Choose a run on both sides.").wait_for()
    assert page.locator(".z-beside").count() == 0
    assert SECOND not in seen.address()
    seen.settled()
    page.go_back()
    page.locator(".z-beside").wait_for()
    assert SECOND in seen.address()
