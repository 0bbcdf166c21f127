"""Panels of builds, deployments and flaky tests: for the Delivery page, and for the page of one service."""

from __future__ import annotations

import streamlit as st

from dashboard import component, element, frame, reading, text
from dashboard.blocks.delivery import blended, change_table, five_table, how, unrelated
from dashboard.blocks.marks import link
from dashboard.blocks.panel import section
from dashboard.blocks.why import asking
from dashboard.charts.runs import run_bars
from dashboard.view import View
from tandem import times
from tandem.delivered import Delivered, Runs, Whole
from tandem.flaky import Flaky
from tandem.shown import Side, Window

RUNS = {"system": "Builds", "model": "Training runs"}
FEW, MANY = 8, 20
"""Changes that are listed beside other panels and on a phone, and on a page of their own."""
EVERY = {3600: "hour", 86400: "day", 604800: "week"}
FLAKY = ("Test or job", "Suite", "Component", "Flaked", "Runs", "Flip rate", "Minutes lost", "Last, UTC", "On the list")


def show(view: View) -> None:
    """Builds, deployments and flaky tests of the one component that the view shows."""
    found = reading.delivery(view)
    side: Side = "model" if found.parts and found.parts[0].kind == "model" else "system"
    left, right = st.columns((2, 3), gap="medium")
    with left, frame.panel(view, RUNS[side]):
        show_runs(view, found.sides[side].runs, side)
    with right, frame.panel(view, "Deployments"):
        show_deployments(view, found, more=link(view.link("delivery"), "its five delivery metrics"))
    with frame.panel(view, "Flaky tests and builds"):
        show_flaky(view, found)


def show_runs(view: View, runs: Runs, side: Side) -> None:
    """Builds or training runs per step of the window, failed ones hatched, with how long they took and waited."""
    title = RUNS[side]
    if not runs.total:
        component.nothing(title, f"No {title.lower()} ended in this window.", f"runs_{side}")
        return
    with st.container(border=True):
        frame.heading(view, f"{title} per {EVERY.get(runs.step, text.age(runs.step))}", _said(runs))
        figure = run_bars(runs, side, view.window, view.zone, narrow=view.narrow)
        frame.chart(view, figure, f"runs_{side}", f"{title} over time: {runs.passed} of {runs.total} passed")


def _said(runs: Runs) -> str:
    said = [f"{text.share(runs.passed / runs.total)} of {text.count(runs.total)} passed", "hatched: failed"]
    took, waited = dict(runs.duration), dict(runs.queue)
    if took["p50"] is not None:
        said.append(f"p50 {text.seconds(took['p50'])}, p95 {text.seconds(took['p95'])}")
    if waited["p50"] is not None:
        said.append(f"waited p50 {text.seconds(waited['p50'])}, p95 {text.seconds(waited['p95'])}")
    return " · ".join(said)


def show_metrics(view: View, found: Delivered, side: Side) -> None:
    """The five metrics of one side, with what they blend and how they are counted."""
    whole = found.sides[side]
    title = "Software" if side == "system" else "Models"
    many = text.plural(len(whole.components), "service" if side == "system" else "model")
    said = many if side == "system" else f"{many} · Tandem’s reading, not DORA’s"
    table = five_table(whole, _length(found.window), _before(view), found.width, found.rules.breach_days)
    parts = (section(title, said, side), blended(whole), table, how(whole, _commands(view, whole),
             found.rules.breach_days))  # fmt: skip
    element.show(f'<div class="x-panel x-{side}"{asking(view, found.as_of)}>{"".join(parts)}</div>', f"five_{side}")


def _length(window: Window) -> str:
    days = (window.until - window.since) / 86400
    return f"{days:g} days" if days >= 2 and days == round(days) else text.age(window.until - window.since)


def _before(view: View) -> str:
    return "a week before" if view.compare == "week" else "before"


def _commands(view: View, whole: Whole) -> list[str]:
    """The line that prints each component's numbers; one with a placeholder where there are several."""
    names = whole.components if len(whole.components) == 1 else ("COMPONENT",)
    ends = f"--from {times.text(view.window.since)} --to {times.text(view.window.until)}"
    return [f"tandem show {name} {ends} --json" for name in names]


def show_deployments(view: View, found: Delivered, more: str = "") -> None:
    """The deployments or promotions of the window with what became of each; `more` is finished markup."""
    fates = [fate for part in found.parts for fate in part.fates]
    title = "Deployments and promotions" if len(found.parts) != 1 else "Deployments"
    title = "Promotions" if len(found.parts) == 1 and found.parts[0].kind == "model" else title
    never, waiting = (sum(getattr(part.now, name) for part in found.parts) for name in ("never_ran", "unfinished"))
    said = f"{text.plural(len(fates) - never - waiting, 'change')} in this window"
    said += (f" · {never} never ran" if never else "") + (f" · {waiting} not running yet" if waiting else "")
    inside = section(title, said, more=more) + change_table(
        found.parts, view.zone, FEW if more or view.narrow else MANY
    )
    element.show(f'<div class="x-panel">{inside}{unrelated(found.links)}</div>', "deployments")


def show_flaky(view: View, delivered: Delivered) -> None:
    """Tests and jobs that passed and failed on one commit; heads sort, the magnifier searches."""
    found, since = delivered.flaky, text.day(delivered.flaky_since, view.zone)
    if not found:
        why = f"No test and no build both failed and passed on one commit since {since}."
        component.nothing("Flaky tests and builds", why, "flaky")
        return
    on = sum(one.listed for one in found)
    said = (f"passed and failed on the same commit, since {since} · {on} on the list; one leaves it after 14 quiet "
            "days or, a test, after 5 passes in a row · heads sort, the magnifier searches")  # fmt: skip
    with st.container(border=True):
        frame.heading(view, "Flaky tests and builds", said)
        rows = [_row(one) for one in found]
        columns = {name: [row[place] for row in rows] for place, name in enumerate(FLAKY)}
        if len({one.component for one in found}) == 1:
            del columns["Component"]
        st.dataframe(columns, hide_index=True, height=min(35 * (len(rows) + 1) + 3, 318), key="flaky_table")


def _row(one: Flaky) -> tuple[object, ...]:
    rate = one.flip_rate
    return (
        text.clean(one.name, 160), text.clean(one.suite or ("build" if one.kind == "build" else ""), 80),
        text.clean(one.component, 60), one.flakes, one.runs, None if rate is None else round(float(rate), 3),
        round(one.seconds / 60, 2), times.text(one.last)[:16].replace("T", " "), one.why,
    )  # fmt: skip
