"""Sharing: what is kept in one session is opened in another, shows the same numbers, and leads back to now."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.browser.test_delivery import AXE, RULES

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width", [1440, 390])
def test_a_fixed_link_says_that_it_is_one_and_leads_back(visit: Callable[..., Any], width: int) -> None:
    seen = visit("/?from=20261119T0000Z&to=20261120T0000Z&as_of=11&live=0&store=000000000000", width=width)
    banner = seen.page.get_by_text("A saved view")
    banner.wait_for()
    assert "as of load 11" in banner.inner_text()
    seen.page.get_by_role("link", name="Show the numbers as they are now").click()
    seen.settled()
    assert "as_of" not in seen.address()
    assert "store" not in seen.address()
    assert "from=20261119T0000Z" in seen.address()
    assert seen.errors == []


def test_a_link_of_another_store_shows_none_of_this_one_s_numbers(visit: Callable[..., Any]) -> None:
    seen = visit("/?from=20261119T0000Z&to=20261120T0000Z&as_of=11&live=0&store=ffffffffffff")
    seen.page.get_by_text("made over another store").wait_for()
    assert seen.page.get_by_role("heading", name="Not from here").count() == 1
    assert seen.page.locator(".c-card").count() == 0
    seen.page.get_by_role("link", name="Show this store's own numbers").click()
    seen.until_address("/")
    seen.page.locator(".c-card").first.wait_for()


def test_forged_and_cut_links_show_the_page_and_name_what_was_ignored(visit: Callable[..., Any]) -> None:
    seen = visit("/?saved=%27%3Cscript%3Ealert(1)%3C/script%3E&store=zz&as_of=-1&from=never")
    said = seen.page.get_by_text("Ignored in this link").inner_text()
    assert set(re.findall(r"saved|store|as_of|from", said)) == {"saved", "store", "as_of", "from"}
    assert "script" not in said
    assert seen.errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
@pytest.mark.parametrize("path", ["/review", "/?as_of=11&store=000000000000"])
def test_accessible(visit: Callable[..., Any], path: str, width: int, scheme: str) -> None:
    seen = visit(path, scheme=scheme, width=width)
    seen.page.wait_for_timeout(800)
    seen.page.evaluate(AXE.read_text(encoding="utf-8"))
    found: dict[str, Any] = seen.page.evaluate("rules => axe.run(document, {runOnly: rules})", RULES)
    assert [f"{v['id']}: {[n['html'][:160] for n in v['nodes'][:3]]}" for v in found["violations"]] == []
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= width
    assert seen.errors == []
