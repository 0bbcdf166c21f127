"""Review: a page of text, moments, numbers and agreed actions for a team's meeting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import streamlit as st

from dashboard import element, frame, reading, sharing, text
from dashboard.blocks.marks import link
from dashboard.blocks.panel import notice, section
from dashboard.blocks.reviews import agreed, moment_link, moment_list, number, numbers, review_list
from dashboard.blocks.written import unknown, written
from dashboard.reported.drawn import over_time
from dashboard.text import hx, md
from dashboard.view import View, write
from tandem import reviews
from tandem.reviews import Action, Moment, Review
from tandem.saving import Figure
from tandem.shown import Unreadable, Window
from tandem.store.file import StoreRefused

REFUSED = (ValueError, StoreRefused, Unreadable)
EDIT = "edit"
MARKDOWN = (
    "Markdown. [[timeline]] draws this window, [[number COMPONENT | OBJECTIVE]] a number with what it was, "
    "[[moment ID]] a moment. HTML, images and outside addresses stay text."
)


def show(view: View) -> None:
    """Read, draw, stop."""
    chosen = reviews.review(view.context.store, view.selected)
    note = text.span(view.window.since, view.window.until, view.zone)
    frame.header(view, chosen.title if chosen else "Review", note if chosen is None else _about(chosen, view), None)
    if chosen is None:
        _all(view)
    elif view.tab == EDIT and not sharing.needed(view):
        _edit(view, chosen)
    else:
        _one(view, chosen)


def _about(one: Review, view: View) -> str:
    who = ", ".join(part for part in (one.product, one.component) if part) or "everything"
    by = f" · by {one.author}" if one.author else ""
    return f"{text.span(one.since, one.until, view.zone)} · {who}{by}"


# -- the list


def _all(view: View) -> None:
    if view.selected:
        element.show(notice("There is no such review in this store; it may have been deleted."), "no_review")
    found = review_list(reviews.reviews(view.context.store), view, view.zone)
    if not sharing.needed(view):  # through a signed link nothing is written
        _begun(view)
    _panel("Reviews", "newest first", found)
    _panel("Moments", "marked on any page by Share", moment_list(reviews.moments(view.context.store), view))
    if not sharing.needed(view):
        _take(view)


def _begun(view: View) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.text_input("Your name", key="w_author", max_chars=80, width=220)
        if st.button("Write the review of this window", icon=":material/edit_note:"):
            with st.spinner("Reading what this window held…"):
                _try(view, lambda: _begin(view))


def _begin(view: View) -> None:
    one = reading.begin_review(view, str(st.session_state.get("w_author", "")).strip())
    reviews.put(view.context.store, one)
    write(view, selected=one.id, tab=EDIT)
    st.rerun()


def _take(view: View) -> None:
    """Moments and reviews from plain files."""
    with st.expander("Bring in moments and reviews from files"):
        given = st.file_uploader("Files that were taken away here", type="md", accept_multiple_files=True, key="w_take")
        for one in given or ():
            _try(view, lambda one=one: _took(view, one))


def _took(view: View, given: Any) -> None:
    try:
        one = reviews.parsed(given.getvalue().decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError(f"{given.name} is not text in UTF-8.") from None
    reviews.put(view.context.store, one)
    name = one.name if isinstance(one, Moment) else one.title
    element.show(notice(f"{hx(given.name, 80)} is kept as {hx(name, 120)}."), f"took_{one.id}")


def _try(view: View, work: Callable[[], None]) -> None:
    """Do what was asked; what is refused becomes a sentence."""
    try:
        work()
    except REFUSED as error:
        element.show(notice(f"That was not kept: {hx(str(error), 300)}"), f"refused_{view.page}")


# -- one review


def _one(view: View, one: Review) -> None:
    now = _now(view, one)
    with st.container(horizontal=True):
        if not sharing.needed(view) and st.button("Edit", icon=":material/edit:"):
            write(view, tab=EDIT)
            st.rerun()
        st.download_button("Take away as a file", reviews.plain(one), "review-" + one.id + ".md", "text/markdown",
                           icon=":material/download:")  # fmt: skip
        if st.button("All reviews", icon=":material/list:"):
            write(view, selected="", tab="")
            st.rerun()
    element.show(f'<div class="x-panel">{written(one.text, _Parts(view, one, now).drawn)}</div>', "text")
    today = datetime.fromtimestamp(view.now, UTC).date()
    _panel("Agreed actions", "", agreed(one.actions, today))
    said = f"kept as of load {text.count(one.as_of)}, beside the same window as it is counted now"
    _panel("Numbers of then and now", said, numbers(one.figures, now))


def _panel(title: str, said: str, inside: str) -> None:
    element.show(f'<div class="x-panel">{section(title, said)}{inside}</div>', f"panel_{title}")


def _now(view: View, one: Review) -> dict[tuple[str, str, str], Figure]:
    try:
        return {figure.key: figure for figure in reading.figures(view, one)}
    except reading.UNREADABLE:
        return {}


class _Parts:
    """What a text may ask for, drawn."""

    def __init__(self, view: View, one: Review, now: dict[tuple[str, str, str], Figure]) -> None:
        self.view, self.one, self.now = view, one, now
        self.then = {figure.key: figure for figure in one.figures}

    def drawn(self, kind: str, names: tuple[str, ...]) -> str:
        """Finished markup of one part."""
        if kind == "timeline":
            return self._timeline(Window(self.one.since, self.one.until))
        if kind == "moment":
            return self._moment(names)
        return self._number(names)

    def _number(self, names: tuple[str, ...]) -> str:
        found = [key for key in {**self.then, **self.now} if len(names) == 2 and key[0] == names[0]
                 and names[1] in key[1:]]  # fmt: skip
        if not found:
            return unknown("number", names)
        return number(self.then.get(found[0]), self.now.get(found[0]), " ".join(names))

    def _moment(self, names: tuple[str, ...]) -> str:
        known = {one.id: one for one in reviews.moments(self.view.context.store)}
        one = known.get(names[0]) if names else None
        if one is None:
            return unknown("moment", names)
        there = link(moment_link(one, self.view), text.clean(one.name, 120))
        return f'<span class="r-block">{there}{self._timeline(Window(one.since, one.until))}</span>'

    def _timeline(self, window: Window) -> str:
        try:
            found = reading.over(self.view, window, self.one)
        except reading.UNREADABLE:
            return unknown("timeline", ())
        lines = [line for line in found.lines if any(point is not None for point in line.points)]
        return f'<span class="r-block">{over_time(lines, found.changes, window, self.view.zone)}</span>'


# -- editing


def _edit(view: View, one: Review) -> None:
    with st.form("w_review", border=True):
        title = st.text_input("Title", one.title, max_chars=reviews.NAME)
        said = st.text_area("Text", one.text, height=420, max_chars=reviews.LONGEST, help=md(MARKDOWN, 600))
        st.caption("Agreed actions")
        rows = [{"what": a.what, "owner": a.owner, "due": a.due, "done": a.done} for a in one.actions]
        given = st.data_editor(rows or [{"what": "", "owner": "", "due": "", "done": False}], num_rows="dynamic",
                               hide_index=True, key=f"actions_{one.id}", column_config=COLUMNS)  # fmt: skip
        author = st.text_input("Your name", str(st.session_state.get("w_author", "") or one.author), max_chars=80,
                               key=f"author_{one.id}")  # fmt: skip
        with st.container(horizontal=True):
            kept = st.form_submit_button("Keep", icon=":material/check:")
            left = st.form_submit_button("Leave as it was")
            gone = st.form_submit_button("Delete this review")
    if kept:
        _try(view, lambda: _keep(view, one, said, title, given, author))
    if gone:
        _try(view, lambda: _delete(view, one))
    if left:
        write(view, tab="")
        st.rerun()


COLUMNS = {
    "what": st.column_config.TextColumn("What", width="large", max_chars=400),
    "owner": st.column_config.TextColumn("Owner", max_chars=80),
    "due": st.column_config.TextColumn("Due", help="A date such as 2026-11-28", max_chars=10),
    "done": st.column_config.CheckboxColumn("Done"),
}


def _keep(view: View, one: Review, said: str, title: str, given: Any, author: str) -> None:
    actions = [Action(str(row.get("what") or "").strip(), str(row.get("owner") or "").strip(),
                      str(row.get("due") or "").strip(), bool(row.get("done")))
               for row in given if any(row.get(key) for key in ("what", "owner", "due"))]  # fmt: skip
    reviews.put(view.context.store, reviews.edited(one, said, title, actions, author.strip(), view.now))
    write(view, tab="")
    st.rerun()


def _delete(view: View, one: Review) -> None:
    reviews.drop(view.context.store, replace(one), view.now)
    write(view, selected="", tab="")
    st.rerun()
