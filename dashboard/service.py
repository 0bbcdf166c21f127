"""Services: one service's objectives, latency, failures, and the changes of it and its model."""

from __future__ import annotations

import streamlit as st

from dashboard import builds, component, frame, model, reading, text
from dashboard.charts.failures import failure_bars
from dashboard.charts.latency import latency_map, percentiles
from dashboard.view import View
from tandem.shown import Detail


def show(view: View) -> None:
    """Read, draw, stop."""
    if not view.component:
        component.everything(view, "system")
        return
    found = frame.answer(view, lambda: reading.detail(view, view.component), (130, 320))
    if found is not None and found.kind == "model":
        model.draw(view, found)
        return
    component.head(view, found, component.under(found) if found else "")
    if found is None:
        return
    component.cards(view, found)
    left, right = st.columns((3, 2), gap="medium")
    with left:
        with frame.panel(view, "Latency"):
            _latency(view, found)
        with frame.panel(view, "Partners"):
            component.partners(view, found)
    with right:
        with frame.panel(view, "Failed requests"):
            _failures(view, found)
        with frame.panel(view, "Changes"):
            component.changes(view, found)
    with frame.panel(view, "Builds, deployments and flaky tests"):
        builds.show(view)


def _latency(view: View, found: Detail) -> None:
    band = found.latency
    measured = component.cell(found, "latency")
    limit = measured.objective.threshold if measured and measured.objective else None
    if band is None or not any(any(column) for column in band.counts):
        component.nothing("Latency", "No latency histogram was collected in this window.", "latency")
        return
    aim = f" · dashed line: the objective, {text.seconds(limit)}" if limit is not None else ""
    with st.container(border=True):
        frame.heading(view, "Latency distribution", f"share of requests per bin{aim}")
        figure = latency_map(band, view.window, view.zone, limit, narrow=view.narrow)
        frame.chart(view, figure, "latency_map", "Share of requests per latency bin over time")
    with st.container(border=True):
        frame.heading(view, "Latency percentiles", "merged from the same histograms")
        figure = percentiles(band, view.window, view.zone, limit, narrow=view.narrow)
        frame.chart(view, figure, "percentiles", "Latency percentiles over time")


def _failures(view: View, found: Detail) -> None:
    good = component.line(found, "request_success", "availability")
    if good is None:
        component.nothing("Failed requests", "No requests were counted in this window.", "failures")
        return
    what = "requests" if component.line(found, "request_success") else "checks"
    said = f"the target allows {text.share(1 - good.target)}" if good.target is not None else "no target"
    with st.container(border=True):
        frame.heading(view, f"Failed {what}", f"share of {what} · {said}")
        figure = failure_bars(good, view.window, found.step, view.zone, narrow=view.narrow)
        frame.chart(view, figure, "failures", f"Share of {what} that failed over time")
