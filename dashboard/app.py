"""The script that Streamlit runs: pages, the row of links, and the page that was asked for."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import streamlit as st

from dashboard import compare, delivery, frame, model, overview, reading, review, service, sharing, sources
from dashboard.view import View, view
from tandem import owner

ICON = Path(__file__).with_name("static") / "icon.svg"
"""Named as a file: for a named icon the browser would ask a foreign server."""
TITLES = {
    "overview": "Overview",
    "services": "Services",
    "models": "Models",
    "delivery": "Delivery",
    "compare": "Compare",
    "review": "Review",
    "sources": "Sources",
}
DRAWN = {
    "overview": overview.show,
    "services": service.show,
    "models": model.show,
    "delivery": delivery.show,
    "compare": compare.show,
    "review": review.show,
    "sources": sources.show,
}


def main(first: str = "overview") -> None:
    """One run of the script; `first` is the page at "/"."""
    st.set_page_config(page_title="Tandem", page_icon=str(ICON), layout="wide")
    pages = {
        name: st.Page(partial(_nothing, name), title=title, url_path=name, default=name == first)
        for name, title in TITLES.items()
    }
    current = st.navigation(list(pages.values()), position="hidden")
    name = next(name for name, page in pages.items() if page == current)
    shown = _view(name, pages)
    refused = sharing.refused(shown)
    if refused:
        sharing.closed(refused)
        return
    frame.links(shown, TITLES)
    if shown.foreign:
        sharing.elsewhere(shown)
        return
    DRAWN[name](shown)


def _nothing(name: str) -> None:
    """Pages are drawn by `main`, which has the view; Streamlit only needs to know that they exist."""


def _view(name: str, pages: dict[str, Any]) -> View:
    context = owner.current()
    return view(
        name,
        st.query_params.to_dict(),
        context.now(),
        environments=reading.environments(context),
        products=reading.products(context),
        components=tuple(one.name for one in reading.components(context)),
        zone=reading.zone(context),
        narrow=bool(st.session_state.get("narrow", False)),
        context=context,
        pages=pages,
    )


if __name__ == "__main__":
    main()
