"""Numbers that explain themselves: each is a button that opens what it means, how it was counted and what prints it."""

from __future__ import annotations

from urllib.parse import urlencode

from dashboard.text import hx
from dashboard.view import View
from tandem import signing, times


def asking(view: View, as_of: int, *, stage: str = "") -> str:
    """The attribute of a block in which numbers stand: window, load and filters that all of them have in common."""
    asked = view.asked
    query = {"from": times.text(view.window.since), "to": times.text(view.window.until), "as_of": as_of,
             "environment": view.environment, "version": asked["version"], "segment": asked["segment"],
             "stage": stage, **{name: asked[name] for name in signing.KEYS}}  # fmt: skip
    return f' data-ask="{hx(urlencode({key: value for key, value in query.items() if value != ""}), 4000)}"'


def of(**number: str) -> str:
    """The attribute of an element whose numbers are all of one signal and objective; each then names only itself."""
    return f' data-of="{hx(urlencode({key: value for key, value in number.items() if value}), 4000)}"'


def asked(**number: str) -> str:
    """The attribute that names a number: component, signal, objective and number, or measure, or feature."""
    return f' data-why="{hx(urlencode({key: value for key, value in number.items() if value}), 4000)}"'


def why(inside: str, *, more: str = "", classes: str = "", **number: str) -> str:
    """A number as a button; `inside` is finished markup, `more` further attributes."""
    return (
        f'<button type="button" class="y-why{" " + classes if classes else ""}" aria-haspopup="dialog"'
        f"{asked(**number)}{more}>{inside}</button>"
    )
