"""The addresses of pages, as the dashboard's own links are: the page that shows a number, always the same way."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from tandem import times
from tandem.shown import Window

PAGES = {"service": "services", "model": "models"}
"""The page that a component stands on, by its kind."""


def compact(ts: int) -> str:
    """ISO 8601 in its basic form, UTC, to the minute: 20261120T1800Z."""
    return times.text(ts).replace("-", "").replace(":", "")[:13] + "Z"


def of_component(kind: str, name: str, window: Window, as_of: int, more: Mapping[str, str]) -> str:
    """Path and query of a component's page over a window, as of a load."""
    return _of(f"/{PAGES[kind]}", {"component": name, **more}, window, as_of)


def of_product(product: str, window: Window, as_of: int, more: Mapping[str, str]) -> str:
    """Path and query of the overview of a product over a window, as of a load."""
    return _of("/", {"product": product, **more}, window, as_of)


def _of(path: str, said: Mapping[str, str], window: Window, as_of: int) -> str:
    absolute = {"from": compact(window.since), "to": compact(window.until), "as_of": str(as_of), "live": "0"}
    query = {key: value for key, value in said.items() if value} | absolute
    return f"{path}?{urlencode(query)}"


def absolute(link: str, page: str) -> str:
    """A link under the address of a dashboard; as it is where no address is known, or it has one already."""
    return page.rstrip("/") + link if page and link.startswith("/") else link
