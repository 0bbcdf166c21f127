"""The one element that shows finished HTML: cards, tables, lists, small charts; its links are page switches."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import streamlit as st


@cache
def _asset(name: str) -> str:
    # Streamlit takes a string of one line for a path, so the line breaks stay.
    text = files("dashboard").joinpath(name).read_text(encoding="utf-8")
    return "\n".join(line.strip() for line in text.splitlines())


_base = st.components.v2.component("tandem_base", js=_asset("element.js"))
_mount = st.components.v2.component("tandem_element", js=_asset("mount.js"))


def begin() -> None:
    """Bring style and script of all elements to the page, once; every mount would carry a copy of its own."""
    _base(key="base", data={"html": "", "css": _asset("element.css")}, width=1, height=1)


def show(markup: str, key: str, *, measure: bool = False, narrow: bool = False) -> Any:
    """Show finished, escaped markup.

    With `measure`, the answer's `narrow` says whether the window is a phone's, as soon as the browser has told.
    """
    return _mount(
        key=key,
        data={"html": markup, "measure": measure, "narrow": narrow},
        on_narrow_change=_nothing,
    )


def _nothing() -> None:
    """A state exists on the answer only where a callback was given."""
