"""Sharing what is shown: its link, its kept answer, a mark on its stretch, and it as a file."""

from __future__ import annotations

import logging
from functools import partial
from urllib.parse import urlsplit

import streamlit as st

from dashboard import element, reading, text
from dashboard.blocks.earlier import foreign
from dashboard.blocks.panel import notice, title_block
from dashboard.reported import answered
from dashboard.text import hx, md
from dashboard.view import View
from tandem import reviews, saving, signing
from tandem.reviews import Moment
from tandem.shown import Unreadable
from tandem.store.file import StoreRefused

log = logging.getLogger(__name__)
REPORTS = (
    ("Report of this window", answered.page, "html", "text/html"),
    ("Its tables as CSV and JSON", answered.tables, "zip", "application/zip"),
)
"""What can be taken away: label, what makes it, the ending of its name, its type."""


WHOLE = ("review", "sources")
"""Pages that are about the whole house: a narrowed link does not lead to them."""


def needed(view: View) -> bool:
    """Whether views need a signed link."""
    share = getattr(view.context.config, "share", None)
    return bool(share and share.require_signature)


def refused(view: View) -> str:
    """Why a view is not shown, as one sentence; "" where it is."""
    if not needed(view):
        return ""
    query = {name: str(view.asked[name]) for name in signing.KEYS}
    wrong = signing.fault(signing.secret(view.context.config.store), query, view.now)
    if wrong:
        return wrong
    if view.widened or (view.locked and view.page in WHOLE):
        return "This link is narrowed, and this page is wider; go back to what it shows."
    return ""


def closed(said: str) -> None:
    """What stands in the place of a page that is not shown."""
    element.begin()
    element.show(title_block("Not shown", "", "") + notice(hx(said, 300)), "closed")


def show(view: View) -> None:
    """The link to what is shown, and everything that can be kept or taken of it."""
    as_of = view.as_of if view.as_of is not None else view.context.version()
    parts = urlsplit(st.context.url or "")
    origin = f"{parts.scheme}://{parts.netloc}" if parts.netloc else ""
    st.caption("This link shows everybody the same window and the same numbers.")
    st.code(origin + view.link(view.page, **view.fixed(as_of)), language=None, wrap_lines=True)
    if needed(view):
        _report(view, as_of)
        return
    if st.button("Keep this answer", icon=":material/bookmark_add:", width="stretch", key="w_keep"):
        _keep(view, origin)
    _mark(view, as_of)
    _report(view, as_of)


def _mark(view: View, as_of: int) -> None:
    """Name the stretch that is shown, so that it is found again on the timeline and in the list of moments."""
    with st.form("w_mark", border=False, clear_on_submit=True):
        name = st.text_input("Mark this stretch as", max_chars=reviews.NAME, key="mark_name",
                             placeholder="What happened here?")  # fmt: skip
        note = st.text_input("Note", max_chars=400, key="mark_note")
        author = st.text_input("Your name", max_chars=80, key="mark_author")
        if not st.form_submit_button("Mark", icon=":material/flag:", width="stretch"):
            return
    one = Moment(
        reviews.named("moment", view.window.since, view.window.until, name, author, view.now), name.strip(),
        view.window.since, view.window.until, note.strip(), author.strip(), view.page, view.environment, view.product,
        view.component, as_of, view.now,
    )  # fmt: skip
    try:
        reviews.put(view.context.store, one)
    except (ValueError, StoreRefused) as error:
        st.caption(md(f"It was not marked: {error}"))
        return
    st.caption(md(f"Marked as {text.clean(one.name, 80)}; it stands on the timeline and on the Review page."))


def _keep(view: View, origin: str) -> None:
    """Keep the numbers that are shown, and name the short link to them."""
    try:
        answer = reading.save(view)
    except (*reading.UNREADABLE, StoreRefused) as error:
        log.warning("the answer cannot be kept: %s", error, exc_info=True)
        st.caption(
            md(str(error) if isinstance(error, Unreadable | StoreRefused) else "It cannot be kept; see the log.")
        )
        return
    st.caption(text.plural(len(answer.figures), "number") + " kept; this link shows them whatever becomes of the data:")
    st.code(origin + "/s/" + answer.id, language=None, wrap_lines=True)


def _report(view: View, as_of: int) -> None:
    """The same window as a file; it is made when somebody asks for it."""
    about = {"product": view.product, "component": view.component}
    asked = answered.Asked(view.window, view.environment, **about, as_of=as_of)
    for label, form, ending, kind in REPORTS:
        st.download_button(
            label,
            partial(form, view.context, asked, view.now),
            answered.name_of(view.window, ending),
            kind,
            key=f"w_report_{ending}",
            on_click="ignore",
            icon=":material/download:",
            width="stretch",
        )


def elsewhere(view: View) -> None:
    """A link that was made over another store: its answer where it is kept here, else that it is not from here."""
    answer = saving.taken(view.context.store, view.saved) if view.saved else None
    title = "A saved answer" if answer else "Not from here"
    element.show(title_block(title, "of another store", ""), "head_elsewhere")
    element.show(foreign(view, answer), "elsewhere")
