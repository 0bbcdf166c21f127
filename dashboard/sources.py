"""Sources: what each one has said, how old it is, what it left out, and what to do next."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from dashboard import element, frame, overview, reading, sharing, text
from dashboard.blocks.sources import received, source_table
from dashboard.text import md
from dashboard.view import View
from tandem.shown import Sources

WORST = ("failing", "late", "never run", "no data", "up to date")


def show(view: View) -> None:
    """Read, draw, stop."""
    found = frame.answer(view, lambda: reading.sources(view), (420, 240))
    frame.header(
        view, "Sources", _counts(found, view.context.first_done) if found else "", _newest(found) if found else None
    )
    if found is None:
        return
    if not found.sources:
        overview.first_step(view)
        return
    ordered = sorted(found.sources, key=lambda one: WORST.index(one.state) if one.state in WORST else 0)
    with frame.panel(view, "Sources"):
        element.show(source_table(ordered, view, not view.context.first_done), "sources")
    with frame.panel(view, "Data received"):
        strips = received(ordered, found.window.since, found.window.until, view.zone)
        element.show(strips, "received")
    for one in ordered:
        if one.paste:
            with st.expander(f"A block to paste for what {md(one.name, 60)} has without a component"):
                st.code(text.clean(one.paste.replace("\n", "\u2424"), 4000).replace("\u2424", "\n"), language="toml")
    if not sharing.needed(view):
        _pull(view, found)


def _counts(found: Sources, collected: bool) -> str:
    if not found.sources:
        return "none configured"
    if not collected:
        ready = sum(one.state == "up to date" for one in found.sources)
        return f"{len(found.sources)} configured · still collecting, {ready} up to date"
    counts = Counter(one.state for one in found.sources)
    said = [f"{counts[state]} {state}" for state in WORST[:-1] if counts[state]]
    return " · ".join((f"{len(found.sources)} configured", *(said or ("all up to date",))))


def _newest(found: Sources) -> int | None:
    return max((one.newest for one in found.sources if one.newest is not None), default=None)


def _pull(view: View, found: Sources) -> None:
    if st.button("Pull all now", icon=":material/refresh:"):
        with st.spinner("Pulling every source…"):
            view.context.sync(tuple(one.name for one in found.sources))
        st.rerun()
