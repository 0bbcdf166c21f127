"""Drift on the page of a model: features, predictions and labels against the stored reference, one of them drawn."""

from __future__ import annotations

import streamlit as st

from dashboard import component, element, frame, held, text
from dashboard.blocks.differences import said
from dashboard.blocks.drift import drift_table, pair_legend
from dashboard.blocks.panel import notice
from dashboard.blocks.why import asking
from dashboard.charts.drift import distribution_bars, drift_map
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Detail, Distribution


def features(view: View, found: Detail) -> None:
    """Every row over time and as a table, with the reference that they are held against."""
    if not found.features:
        why = "No feature was collected, or no reference is stored yet: bins are made of the first 1,000 values."
        component.nothing("Feature drift", why, "drift")
        return
    with st.container(border=True):
        about = "and of predictions and labels · effect per step against the reference · hatched: not enough rows"
        frame.heading(view, "Feature drift", about)
        if found.drifts is not None:
            element.show(_against(view, found), "drift_reference")
        if any(value is not None for one in found.features for value in one.daily):
            figure = drift_map(found.features, view.window, view.zone, narrow=view.narrow)
            frame.chart(view, figure, "drift_map", "Drift of each feature over time; the table below has the numbers")
        chosen = found.distribution.feature if found.distribution else ""
        table = drift_table(found.features, view, chosen, whose=found.component)
        element.show(f"<div{asking(view, found.as_of)}>{table}</div>", "drift")


def _against(view: View, found: Detail) -> str:
    """The reference with its window, and what the rows say together."""
    assert found.drifts is not None
    stored = f'<p class="x-muted">Reference: the stored one, {hx(said(found.drifts.reference, view), 200)}.</p>'
    sentences = (*found.drifts.remarks, *filter(None, [found.drifts.concept]))
    return stored + "".join(notice(hx(one, 400)) for one in sentences)


def pair(view: View, found: Detail) -> None:
    """The chosen row as it was in the reference and as it is."""
    shown = found.distribution
    if shown is None or not shown.labels:
        return
    names = tuple(one.feature for one in found.features)
    with st.container(border=True):
        frame.heading(
            view, "Reference and current", "share of rows in each bin", pair_legend(shown.n_reference, shown.n_current)
        )
        held.hold(frame.named(view, "selected"), shown.feature)
        frame.select(view, "selected", names, "", "stretch", {})
        if view.selected and view.selected != shown.feature:
            element.show(notice(f"There is no feature {hx(view.selected, 60)} in this window."), "unselected")
        figure = distribution_bars(shown, narrow=view.narrow)
        frame.picture(figure, "distribution", "Share of rows in each bin of the feature, reference and this window")
        told = missing(shown)
        if told:
            st.caption(told)


def missing(shown: Distribution, before: str = "the reference", now: str = "this window") -> str:
    """How many rows of both sides have no value; "" where all have one."""
    if not shown.missing_reference and not shown.missing_current:
        return ""
    return (
        f"Without a value: {text.count(shown.missing_reference)} in {before}, "
        f"{text.count(shown.missing_current)} in {now}; they are counted apart."
    )
