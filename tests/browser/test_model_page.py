"""The page of a model in a real browser: what if, its history, both themes, a phone, and what axe-core says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.browser.conftest import Seen

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
Visit = Callable[..., Seen]
AXE = Path(__file__).with_name("axe") / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]
FRAUD = "/models?component=fraud-score"
MODELS = {"binary": FRAUD, "several": "/models?component=ranker", "regression": "/models?component=eta-gbm",
          "unlabelled": "/models?component=triage-bert", "compared": f"{FRAUD}&compare=previous"}  # fmt: skip


def threshold(seen: Seen) -> str:
    return parse_qs(urlsplit(seen.address()).query).get("tab", [""])[0]


def until(seen: Seen, begins: str) -> None:
    """Wait until the link asks for a threshold that begins so; "" for none."""
    for _ in range(400):
        asked = threshold(seen)
        if asked.startswith(begins) and bool(asked) == bool(begins):
            break
        seen.page.wait_for_timeout(50)
    assert threshold(seen).startswith(begins)
    seen.settled()


def test_a_threshold_is_moved_by_key_and_back_undoes_it(visit: Visit) -> None:
    seen = visit(FRAUD)
    page = seen.page
    slider = page.get_by_role("slider")
    slider.scroll_into_view_if_needed()
    table = page.locator(".j-whatif")
    table.wait_for()
    assert "At 0.5" in table.inner_text()
    first = table.inner_text()
    slider.focus()
    page.keyboard.press("ArrowRight")
    until(seen, "0.54")
    page.get_by_text("At 0.54").wait_for()
    moved = table.inner_text()
    assert moved != first
    address = seen.address()
    page.go_back()
    page.get_by_text("At 0.5", exact=True).wait_for()
    until(seen, "")
    assert table.inner_text() == first
    page.go_forward()
    page.get_by_text("At 0.54").wait_for()
    page.goto(seen.base + address)
    seen.settled()
    page.get_by_text("At 0.54").wait_for()
    assert page.locator(".j-whatif").inner_text() == moved, "a pasted link shows the same"


def test_another_model_has_no_threshold(visit: Visit) -> None:
    seen = visit(f"{FRAUD}&tab=0.8")
    seen.page.get_by_text("At 0.79").or_(seen.page.get_by_text("At 0.8")).first.wait_for()
    seen.page.get_by_role("link", name="Services", exact=True).click()
    seen.until_address("/services")


def test_numbers_explain_themselves(visit: Visit) -> None:
    seen = visit(FRAUD)
    page = seen.page
    row = page.locator(".j-measures tr", has_text="MCC")
    row.get_by_role("button").click()
    box = page.get_by_role("dialog")
    box.get_by_text("Correlation of prediction and truth").wait_for(timeout=30_000)
    assert "tandem show" in box.inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", MODELS.values(), ids=list(MODELS))
def test_it_stands_in_both_themes_and_widths_and_axe_finds_nothing(
    visit: Visit, path: str, width: int, scheme: str
) -> None:
    seen = visit(path, scheme=scheme, width=width)
    page = seen.page
    page.get_by_role("heading", name="Training runs").wait_for(timeout=60_000)
    page.locator(".js-plotly-plot svg.main-svg").first.wait_for(timeout=60_000)
    seen.settled()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= width
    inner = page.evaluate(
        "() => [...document.querySelectorAll('[data-testid=stBidiComponentRegular], [data-testid=stBidiComponent]')]"
        ".filter(one => one.scrollWidth > one.clientWidth + 1).map(one => one.innerText?.slice(0, 60))"
    )
    assert inner == []
    page.evaluate(AXE.read_text(encoding="utf-8"))
    found = page.evaluate(
        "rules => axe.run(document, {runOnly: rules})", [*RULES, "cat.semantics", "cat.tables"]
    )  # fmt: skip
    said = [f"{v['id']}: {v['help']} {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]]
    assert said == []


def test_panels_stand_in_two_columns_and_on_a_phone_in_one(visit: Visit) -> None:
    def lefts(width: int) -> set[int]:
        seen = visit(FRAUD, width=width)
        seen.page.get_by_role("heading", name="Training runs").wait_for()
        places = seen.page.get_by_role("heading", level=2).evaluate_all(
            "all => all.map(one => Math.round(one.getBoundingClientRect().left / 40))"
        )
        return set(places)

    assert len(lefts(390)) == 1
    assert len(lefts(1440)) >= 2
