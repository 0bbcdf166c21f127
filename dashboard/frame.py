"""What every page stands in: title, controls, notices, places to draw, and the boundary for what cannot be read."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, TypeVar

import streamlit as st

from dashboard import element, held, reading, sharing, text
from dashboard.blocks.compared import against
from dashboard.blocks.earlier import earlier
from dashboard.blocks.marks import link
from dashboard.blocks.panel import ignored, notice, section, title_block
from dashboard.charts.axes import dated
from dashboard.charts.figure import CONFIG, Figure, RawFigure
from dashboard.charts.zoom import chosen
from dashboard.text import hx
from dashboard.view import CUSTOM, RANGES, View, compact, draw, write
from tandem.saving import Since
from tandem.shown import Unreadable

Answer = TypeVar("Answer")
TICK = 10
"""Seconds between two looks of a live page at the clock; it reads again only when something is new."""
STALE = 6 * 3600
log = logging.getLogger(__name__)


def links(view: View, titles: Mapping[str, str]) -> None:
    """The row of page links, which keep the window and the choices; on a wide screen Live and Share end it."""
    _hold(view)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        with st.container(horizontal=True, wrap=view.narrow, gap="small", vertical_alignment="center"):
            _page_links(view, titles)
        if not view.narrow:
            with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
                _live(view)
                with st.popover("Share", icon=":material/link:", width="content"):
                    sharing.show(view)


def _page_links(view: View, titles: Mapping[str, str]) -> None:
    titles = {name: title for name, title in titles.items() if not (view.locked and name in sharing.WHOLE)}
    icons = {
        "overview": "dashboard",
        "services": "dns",
        "models": "model_training",
        "delivery": "rocket_launch",
        "compare": "compare_arrows",
        "review": "rate_review",
        "sources": "database",
    }
    with st.container(horizontal=True, gap=None, width="content"):
        st.markdown(":material/contrast:" if view.narrow else ":material/contrast: **Tandem**", width="content")
        element.begin()
    for name, title in titles.items():
        icon = None if view.narrow else f":material/{icons[name]}:"
        st.page_link(
            view.pages[name],
            label=title,
            icon=icon,
            query_params=view.onward(name, **{"component": "", "version": "", "segment": "", **view.locked}),
        )


def header(view: View, title: str, note: str, newest: int | None, state: str = "", words: str = "") -> None:
    """The title block and the controls; while live, looks every few seconds whether there is something new to read."""
    if view.page not in ("sources", "compare", "review"):
        note += _against(view)
    seen = reading.mark(view.context, view.now)

    def pulse() -> None:
        now = view.context.now()
        if view.live and reading.mark(view.context, now) != seen:
            st.rerun()
        age = f"data {text.age(now - newest)} old" if newest is not None else ""
        answer = element.show(
            title_block(title, note, age, state, words), f"head_{view.page}", measure=True, narrow=view.narrow
        )
        if answer.narrow is not None and bool(answer.narrow) != view.narrow:
            st.session_state["narrow"] = bool(answer.narrow)
            st.rerun()

    with st.container(horizontal=not view.narrow, vertical_alignment="center", gap="small"):
        with st.container(width="stretch"):
            st.fragment(pulse, run_every=TICK if view.live else None)()
        _controls(view)
    notices(view)


def _against(view: View) -> str:
    if view.against is not None:
        return f" · against {text.span(view.against.since, view.against.until, view.zone)}"
    return f" · against {against(view)}" if view.other is not None else ""


def notices(view: View) -> None:
    """What must be said once on the page: what was ignored in its address, which numbers are shown."""
    said = ignored(view.ignored)
    if view.context.trouble:
        said += notice(hx(view.context.trouble, 400))
    if view.as_of is not None:
        said += earlier(view, _since(view))
    if not view.context.first_done:
        said += notice(
            f"The first collection is running. Numbers appear as sources answer; "
            f"{link(view.link('sources'), 'see how far they are')}."
        )
    if said:
        element.show(said, f"notices_{view.page}")


def _since(view: View) -> Since | None:
    """What became of a view of an earlier load; the page stands where that cannot be read."""
    try:
        return reading.since(view)
    except reading.UNREADABLE as error:
        log.warning("what changed since load %s cannot be read: %s", view.as_of, error, exc_info=True)
        return None


def ended(view: View, newest: int | None) -> None:
    """Say that the data ends long before the window does, and offer the window in which it ends."""
    if newest is None or view.window.until - newest <= max(STALE, (view.window.until - view.window.since) // 2):
        return
    span = min(view.window.until - view.window.since, 86400 * 7)
    end = -(-newest // 300) * 300
    there = view.link(view.page, **{"from": compact(end - span), "to": compact(end), "live": False})
    when = f"{text.moment(newest, view.zone)} {text.zone_name(newest, view.zone)}"
    old = text.age(view.now - newest)
    offer = link(there, "Show the window in which it ends")
    why = link(view.link("sources"), "see the sources")
    element.show(notice(f"The data ends {hx(when)}, {hx(old)} ago. {offer}, or {why}."), f"ended_{view.page}")


def _controls(view: View) -> None:
    if view.narrow:
        with st.container(horizontal=True, wrap=False, gap="xsmall", vertical_alignment="center"):
            _range(view)
            with st.popover("View", width="content"):
                _choices(view, "stretch")
                _live(view)
                sharing.show(view)
        return
    with st.container(horizontal=True, width="content", vertical_alignment="center", gap="small"):
        _choices(view, 150)
        _range(view)


def _hold(view: View) -> None:
    """Give every control what the URL says, before it is made; widgets hold no state of their own."""
    draw()
    for key in ("environment", "product", "component", "compare"):
        held.hold(named(view, key), getattr(view, key))
    held.hold("w_live", view.live)
    held.hold("w_range", view.range)


def named(view: View, key: str) -> str:
    """The name of a control; where another page or component has another list, no value may travel between them."""
    return f"w_{key}" + {"component": f"_{view.page}", "selected": f"_{view.component}"}.get(key, "")


def _choices(view: View, width: Any) -> None:
    if view.page == "sources":
        return
    if view.page in ACROSS and len(view.products) > 1:
        select(view, "product", view.products, "All products", width)
    select(view, "component", _components(view), _everything(view), width)
    if len(view.environments) > 1:
        select(view, "environment", view.environments, "", width if width == "stretch" else 130)
    if view.page not in ("compare", "review"):
        named = {**COMPARED, **({} if view.compare in ("", *COMPARED) else {view.compare: against(view)})}
        select(view, "compare", tuple(named), "No comparison", width, named)


def _components(view: View) -> tuple[str, ...]:
    kind = {"services": "service", "models": "model"}.get(view.page, "")
    product = view.product if view.page in ACROSS else view.locked.get("product", "")
    names = tuple(one.name for one in reading.components(view.context, kind) if product in ("", one.product))
    return names if not view.component or view.component in names else (*names, view.component)


def _everything(view: View) -> str:
    return {"services": "All services", "models": "All models"}.get(view.page, "All components")


def select(
    view: View,
    key: str,
    names: tuple[str, ...],
    everything: str,
    width: Any,
    labels: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """A control of one key of the URL; `everything` names the choice of none."""
    options = ("", *names) if everything else names
    if key in view.locked:
        options = (view.locked[key],)
    st.selectbox(
        LABELS.get(key, key.capitalize()),
        options,
        key=held.key(named(view, key)),
        format_func=lambda name: text.clean(labels.get(name, name), 60) or everything,
        on_change=_choose,
        args=(view, key, options),
        label_visibility="collapsed" if width != "stretch" else "visible",
        width=width,
        disabled=key in view.locked,
    )


COMPARED = {"previous": "Previous period", "week": "One week before"}
ACROSS = ("overview", "delivery", "compare", "review")
"""Pages that show services and models of a product together."""
LABELS = {"compare": "Compare with", "selected": "Feature"}
NARROWER = {"component": {"version": "", "segment": ""}, "product": {"component": ""}}
"""What a choice resets, because it may not be there any more."""


def _choose(view: View, key: str, options: tuple[str, ...]) -> None:
    chosen = st.session_state[held.key(named(view, key))]
    if chosen in options:  # a page that was left a moment ago may still send its own
        write(view, **{**NARROWER.get(key, {}), key: chosen})


def _range(view: View) -> None:
    names = (*RANGES, CUSTOM) if view.range == CUSTOM else tuple(RANGES)
    st.segmented_control(
        "Time range",
        names,
        key=held.key("w_range"),
        required=True,
        on_change=_choose_range,
        args=(view,),
        label_visibility="collapsed",
        wrap=False,
    )


def _choose_range(view: View) -> None:
    name = st.session_state[held.key("w_range")]
    if name in RANGES:
        write(view, **{"from": RANGES[name], "to": "now", "as_of": None, "live": True})


def _live(view: View) -> None:
    if view.relative:
        key = held.key("w_live")
        st.toggle("Live", key=key, on_change=lambda: write(view, live=st.session_state[key]))
        return
    now = {"from": "now-24h", "to": "now", "as_of": None, "live": True}
    st.button("Back to live", icon=":material/update:", on_click=lambda: write(view, **now))


def answer(view: View, read: Callable[[], Answer], heights: tuple[int, ...] = (260, 320)) -> Answer | None:
    """What the engine says; grey places stand where numbers will be the first time, and an error becomes a sentence."""
    slot = st.empty()
    known = st.session_state.setdefault("drawn", set())
    if view.page not in known:
        with slot.container():
            for height in heights:
                st.skeleton(height=height)
    try:
        found = read()
    except reading.UNREADABLE as error:
        log.warning("the page %s cannot be read: %s", view.page, error, exc_info=True)
        slot.empty()
        element.show(_unread("These numbers", error), f"unread_{view.page}")
        return None
    slot.empty()
    known.add(view.page)
    return found


@contextmanager
def panel(view: View, title: str) -> Iterator[None]:
    """A part of a page that may fail alone while the others stand."""
    try:
        yield
    except reading.UNREADABLE as error:
        log.warning("the panel %s cannot be drawn: %s", title, error, exc_info=True)
        element.show(_unread(title, error), f"unread_{view.page}_{title}")


def _unread(what: str, error: Exception) -> str:
    said = str(error) if isinstance(error, Unreadable) else "see the log of tandem serve"
    return notice(f"<b>{hx(what)}</b> cannot be shown: {hx(said, 300)}")


def heading(view: View, title: str, said: str = "", more: str = "") -> None:
    """The heading of a panel around a chart; `more` is finished markup."""
    element.show(section(title, said, more=more), f"title_{view.page}_{title}")


def chart(view: View, figure: Figure, name: str, alt: str) -> None:
    """A chart over time; a drag across it becomes the window of the whole page."""
    key = f"{name}_{view.window.since}_{view.window.until}_{int(view.narrow)}"
    picked = st.plotly_chart(
        RawFigure(dated(figure)),
        key=key,
        on_select="rerun",
        selection_mode="box",
        config=CONFIG,
        alt=alt,
        height=figure["layout"]["height"],
    )
    ends = chosen(picked, view.window)
    if ends:
        write(view, **{"from": compact(ends[0]), "to": compact(ends[1]), "live": False})
        st.rerun()


def picture(figure: Figure, name: str, alt: str) -> None:
    """A chart without time: nothing to select."""
    height = figure["layout"]["height"]
    st.plotly_chart(RawFigure(figure), key=name, config=CONFIG, alt=alt, height=height)
