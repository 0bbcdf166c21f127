"""Every control of every page goes into the address, and the address brings every control back."""

from __future__ import annotations

from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from tests import screens
from tests.screens import Engine
from tests.test_dashboard import Open, open_page

__all__ = ["open_page"]
PAGES: tuple[tuple[str, dict[str, str]], ...] = (
    ("overview", {}), ("services", {}), ("services", {"component": "checkout-api"}), ("models", {}),
    ("models", {"component": "fraud-score"}), ("delivery", {}), ("review", {}),
    ("sources", {}),
)  # fmt: skip
"""Compare has a list whose words AppTest puts into words once more: tests/browser/test_compare.py walks through it."""
FREE = ("mark_", "w_author")
"""Fields of forms: what is written into them goes into the store, not into the address."""


def controls(test: AppTest) -> dict[str, Any]:
    """What every control shows, by its name."""
    some = (*test.selectbox, *test.toggle, *test.button_group)
    return {one.key: one.value for one in some if one.key and not one.key.startswith(FREE)}


@pytest.mark.parametrize(("page", "query"), PAGES)
def test_every_control_goes_into_the_address_and_comes_back(open_page: Open, page: str, query: dict[str, str]) -> None:
    first = open_page(page, Engine(), fake=screens.context(), **query)
    walked = 0
    for kind in ("selectbox", "toggle", "button_group"):
        for place, one in enumerate(getattr(first, kind)):
            if not one.key or one.key.startswith(FREE):
                continue
            for choice in _others(kind, one):
                test = open_page(page, Engine(), fake=screens.context(), **query)
                control = getattr(test, kind)[place]
                before = dict(test.query_params)
                (control.select_index(choice) if kind == "selectbox" else control.set_value(choice)).run()
                assert not test.exception
                if dict(test.query_params) == before:
                    continue
                walked += 1
                shown = controls(test)
                asked = {("from_" if key == "from" else key): value for key, value in test.query_params.items()}
                again = open_page(page, Engine(), fake=screens.context(), **asked)
                assert controls(again) == shown, (page, one.key, choice)
                assert again.query_params == test.query_params
    assert walked >= {"sources": 2}.get(page, 4)


def _others(kind: str, one: Any) -> list[Any]:
    """Other choices of a control: of a list its second and its last, of a switch its other."""
    if kind == "toggle":
        return [not one.value]
    if kind == "selectbox":
        return sorted({min(1, len(one.options) - 1), len(one.options) - 1})
    options = [option.content if hasattr(option, "content") else option for option in one.options]
    return [option for option in options if option != one.value][:2]
