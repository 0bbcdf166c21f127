"""Delivery: software and models side by side, by the same five metrics, and what became of every change."""

from __future__ import annotations

import streamlit as st

from dashboard import builds, element, frame, overview, reading, text
from dashboard.blocks.delivery import components_table, unfound
from dashboard.blocks.panel import section
from dashboard.blocks.why import asking
from dashboard.view import View
from tandem.delivered import Delivered
from tandem.shown import Side


def show(view: View) -> None:
    """Read, draw, stop."""
    found = frame.answer(view, lambda: reading.delivery(view), (300, 260))
    note = text.span(view.window.since, view.window.until, view.zone)
    frame.header(view, "Delivery", note, found.newest if found else None)
    if found is None:
        return
    if found.newest is None:
        overview.first_step(view)
        if not found.parts:
            return
    frame.ended(view, found.newest)
    if found.unknown:
        element.show(unfound(found.unknown, text.day(found.since, view.zone)), "unfound")
    shown = [side for side in view.sides if found.sides[side].components]
    for draw in (_metrics, _runs, _parts):
        columns = st.columns(len(shown), gap="medium") if shown else []
        for side, place in zip(shown, columns, strict=True):
            with place:
                draw(view, found, side)
    with frame.panel(view, "Deployments and promotions"):
        builds.show_deployments(view, found)
    with frame.panel(view, "Flaky tests and builds"):
        builds.show_flaky(view, found)


def _metrics(view: View, found: Delivered, side: Side) -> None:
    with frame.panel(view, "Software" if side == "system" else "Models"):
        builds.show_metrics(view, found, side)


def _runs(view: View, found: Delivered, side: Side) -> None:
    with frame.panel(view, builds.RUNS[side]):
        builds.show_runs(view, found.sides[side].runs, side)


def _parts(view: View, found: Delivered, side: Side) -> None:
    """Each component's own numbers, where the table above blends several."""
    mine = [part for part in found.parts if part.side == side]
    if len(mine) < 2:
        return
    with frame.panel(view, f"By component, {side}"):
        title = "Each service" if side == "system" else "Each model"
        inside = section(title, "nothing blended · a name shows it alone") + components_table(mine, side, view)
        element.show(f'<div class="x-panel x-{side}"{asking(view, found.as_of)}>{inside}</div>', f"parts_{side}")
