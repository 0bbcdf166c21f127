"""Where pages get their numbers: one read per page, kept until the data or the question changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import streamlit as st

from dashboard import other
from dashboard.view import View
from tandem import delivered, report, reviews, saving, shown
from tandem.compared import Comparison
from tandem.lists import Lists
from tandem.retrained import Retrained
from tandem.reviews import Moment, Review
from tandem.traced import Lineage

KEPT = 64
"""How many answers are kept; an answer is a few hundred kilobytes."""
UNREADABLE = (ValueError, LookupError, ArithmeticError, OSError, RuntimeError, shown.Unreadable)
"""What reading may raise when numbers cannot be had; anything else is a mistake of ours and is not hidden."""


@st.cache_resource(max_entries=KEPT, show_spinner=False)
def _kept(question: tuple[Any, ...], version: int, _ask: Callable[[], Any]) -> Any:  # noqa: ARG001 - they are the key
    return _ask()


def overview(view: View) -> shown.Overview:
    """The numbers of the Overview; raises one of UNREADABLE."""
    question: dict[str, Any] = {"environment": view.environment, "product": view.product, "component": view.component}
    question["compare"] = view.compared

    def ask() -> shown.Overview:
        return report.overview(view.context, view.window, **question, as_of=view.as_of, now=view.now)

    answer: shown.Overview = _kept(_key("overview", view, *question.values()), view.context.version(), ask)
    return answer


def lists(view: View, kind: str) -> Lists:
    """The services or the models of the whole house, worst first; raises one of UNREADABLE."""
    question: dict[str, Any] = {"environment": view.environment, "product": view.product, "compare": view.compared}

    def ask() -> Lists:
        return report.lists(view.context, view.window, kind, **question, as_of=view.as_of, now=view.now)

    answer: Lists = _kept(_key(f"lists {kind}", view, *question.values()), view.context.version(), ask)
    return answer


def compare(view: View) -> Comparison:
    """What is shown against what it is compared with; raises one of UNREADABLE."""
    if view.other is None:
        raise shown.Unreadable("there is no such window to compare with; choose another one.")
    question: dict[str, Any] = {"environment": view.environment, "product": view.product, "component": view.component}
    question |= {"version": view.asked["version"], "segment": view.asked["segment"], "feature": view.selected}
    question["change"] = other.kind_of(view.compare)[1] if view.compare.startswith("change:") else ""
    beside = view.other

    def ask() -> Comparison:
        return report.compare(view.context, view.window, beside, **question, as_of=view.as_of, now=view.now)

    answer: Comparison = _kept(_key("compare", view, beside, *question.values()), view.context.version(), ask)
    return answer


def sources(view: View) -> shown.Sources:
    """The numbers of the Sources page; raises one of UNREADABLE."""

    def ask() -> shown.Sources:
        return report.sources(view.context, view.window, now=view.now)

    # A source goes late by the clock alone, so the minute belongs to the question.
    answer: shown.Sources = _kept(_key("sources", view, view.now // 60), view.context.version(), ask)
    return answer


def detail(view: View, component: str) -> shown.Detail:
    """The numbers of one component's page; raises one of UNREADABLE."""
    question = {"environment": view.environment, "version": view.asked["version"], "segment": view.asked["segment"]}
    question |= {"compare": view.compared, "feature": view.selected}

    def ask() -> shown.Detail:
        return report.detail(view.context, component, view.window, **question, as_of=view.as_of, now=view.now)

    answer: shown.Detail = _kept(_key("detail", view, component, *question.values()), view.context.version(), ask)
    return _alone(answer) if "component" in view.locked else answer


def _alone(found: shown.Detail) -> shown.Detail:
    """The page of a component without what it tells of others: its partners, their changes, and what both make."""
    changes = tuple(change for change in found.changes if found.component in change.components)
    return replace(found, partners=(), changes=changes, joint=())


def retrained(view: View, component: str) -> Retrained:
    """What followed each onset of drift or breach of a model; raises one of UNREADABLE."""

    def ask() -> Retrained:
        return report.retrained(view.context, component, view.window, environment=view.environment, as_of=view.as_of,
                                now=view.now)  # fmt: skip

    answer: Retrained = _kept(_key("retrained", view, component, view.environment), view.context.version(), ask)
    return answer


def lineage(view: View, component: str, runs: tuple[str, str] = ("", "")) -> Lineage:
    """Where the version of a model comes from, and two of its training runs; raises one of UNREADABLE."""
    question: dict[str, Any] = {"environment": view.environment, "version": view.asked["version"]}
    question["compare"] = runs if any(runs) else ()

    def ask() -> Lineage:
        return report.lineage(view.context, component, view.window, **question, as_of=view.as_of, now=view.now)

    answer: Lineage = _kept(_key("lineage", view, component, *question.values()), view.context.version(), ask)
    return answer


def delivery(view: View) -> delivered.Delivered:
    """Delivery over the window, of one component or of all; raises one of UNREADABLE."""
    question = {"environment": view.environment, "product": view.product, "component": view.component}
    more: dict[str, Any] = {**question, "compare": view.against}

    def ask() -> delivered.Delivered:
        return report.delivery(view.context, view.window, **more, as_of=view.as_of, now=view.now)

    answer: delivered.Delivered = _kept(_key("delivery", view, *more.values()), view.context.version(), ask)
    return answer


def since(view: View) -> saving.Since:
    """What became of the view of an earlier load, and of its saved answer; raises one of UNREADABLE."""
    assert view.as_of is not None, "only of a view as of a load"
    load, question = view.as_of, _question(view)

    def ask() -> saving.Since:
        return report.since(view.context, view.window, **question, as_of=load, saved=view.saved, now=view.now)

    answer: saving.Since = _kept(_key("since", view, view.saved, *question.values()), view.context.version(), ask)
    return answer


def save(view: View) -> saving.Saved:
    """Keep what the view shows; raises one of UNREADABLE, StoreRefused where it cannot be kept."""
    as_of = view.as_of if view.as_of is not None else view.context.version()
    query = view.query(**view.fixed(as_of))
    return report.save(
        view.context, view.page, query, view.window, **_question(view), as_of=as_of, now=view.now
    )  # fmt: skip


def begin_review(view: View, author: str) -> Review:
    """A review of the view's window that has written itself, not kept yet; raises one of UNREADABLE."""
    narrowed = {"environment": view.environment, "product": view.product, "component": view.component}
    return report.begun(view.context, view.window, **narrowed, author=author, now=view.now)


def figures(view: View, one: Review) -> tuple[saving.Figure, ...]:
    """The numbers of a review's window as they are now; raises one of UNREADABLE."""
    narrowed = {"environment": one.environment, "product": one.product, "component": one.component}
    window = shown.Window(one.since, one.until)

    def ask() -> tuple[saving.Figure, ...]:
        return report.figures(view.context, window, **narrowed, now=view.now)

    key = ("figures", one.since, one.until, *narrowed.values())
    answer: tuple[saving.Figure, ...] = _kept(key, view.context.version(), ask)
    return answer


def moments(view: View) -> list[Moment]:
    """The moments of the view's window, environment and choice, the newest first."""
    found = reviews.moments(view.context.store, view.window.since, view.window.until)
    return [one for one in found if one.environment == view.environment
            and view.product in ("", one.product) and view.component in ("", one.component)]  # fmt: skip


def over(view: View, window: shown.Window, one: Review) -> shown.Overview:
    """What a review's filters hold over a window of its own, as of its load; raises one of UNREADABLE."""
    narrowed = {"environment": one.environment, "product": one.product, "component": one.component}
    load = one.as_of if one.as_of <= view.context.version() else None

    def ask() -> shown.Overview:
        return report.overview(view.context, window, **narrowed, as_of=load, now=view.now)

    key = ("over", window.since, window.until, load, *narrowed.values())
    answer: shown.Overview = _kept(key, view.context.version(), ask)
    return answer


def _question(view: View) -> dict[str, str]:
    """What narrows the numbers of a view."""
    return {"environment": view.environment, "product": view.product, "component": view.component,
            "version": view.asked["version"], "segment": view.asked["segment"]}  # fmt: skip


def _key(page: str, view: View, *more: Any) -> tuple[Any, ...]:
    return (page, view.window.since, view.window.until, view.as_of, *more)


def mark(context: Any, now: int) -> tuple[int, int, bool]:
    """What must change before a live page is read again: the data, the last whole bucket, the first collection."""
    return context.version(), now // 300, bool(context.first_done)


def components(context: Any, kind: str = "") -> tuple[Any, ...]:
    """The configured components, of one kind if it is given."""
    return tuple(one for one in context.config.components if kind in ("", one.kind))


def environments(context: Any) -> tuple[str, ...]:
    """Every environment that the configuration or the store names, "production" first."""
    found: tuple[str, ...] = _kept(("environments",), context.version(), lambda: report.environments(context))
    return found


def products(context: Any) -> tuple[str, ...]:
    """Every product, in alphabetical order."""
    return tuple(sorted({one.product for one in context.config.components if one.product}))


def zone(context: Any) -> tzinfo:
    """The time zone for display."""
    try:
        return ZoneInfo(context.config.timezone or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return UTC
