"""Services: one service's objectives, latency, failures, and the changes of it and its model."""

from __future__ import annotations

import streamlit as st

from dashboard import builds, component, element, frame, model, objectives, reading, text
from dashboard.blocks.changes import corrections
from dashboard.charts.latency import latency_map
from dashboard.charts.traffic import availability, traffic
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
    objectives.show(view, found)
    left, right = st.columns((3, 2), gap="medium")
    with left:
        with frame.panel(view, "Rate, errors, duration"):
            _traffic(view, found)
        with frame.panel(view, "Latency"):
            _latency(view, found)
    with right:
        with frame.panel(view, "Availability"):
            _availability(view, found)
        with frame.panel(view, "Changes"):
            component.changes(view, found)
        with frame.panel(view, "Partners"):
            component.partners(view, found)
    with frame.panel(view, "Builds, deployments and flaky tests"):
        builds.show(view)


def _traffic(view: View, found: Detail) -> None:
    good = component.line(found, "request_success", "availability")
    if found.asked is None and found.latency is None:
        component.nothing("Rate, errors, duration", "No request was counted in this window.", "traffic")
        return
    measured = component.cell(found, "latency")
    limit = measured.objective.threshold if measured and measured.objective else None
    signal = found.asked.signal if found.asked else "latency"
    with st.container(border=True):
        said = "one axis of time · hatched: nobody was looking"
        frame.heading(view, "Rate, errors, duration", said)
        figure = traffic(found.asked, found.latency, good.target if good else None, limit, view.window, view.zone,
                         unseen=found.unseen.get(signal, ()), narrow=view.narrow)  # fmt: skip
        frame.chart(
            view, figure, "traffic", "Requests a minute, the share that failed, and how long they took over time"
        )


def _availability(view: View, found: Detail) -> None:
    up = component.line(found, "availability")
    if up is None:
        component.nothing("Availability", "No check looked whether it answers in this window.", "availability")
        return
    inside = [one for one in found.corrections if one.until > view.window.since and one.since < view.window.until]
    unseen = found.unseen.get("availability", ())
    seen = 1 - sum(until - since for since, until in unseen) / (view.window.until - view.window.since)
    with st.container(border=True):
        said = f"share of checks answered · {text.share(seen)} of the window was seen"
        frame.heading(view, "Availability", said + (f" · {len(inside)} left out by agreement" if inside else ""))
        figure = availability(up, view.window, found.step, view.zone, unseen, inside, narrow=view.narrow)
        frame.chart(view, figure, "availability", "Share of checks that were answered over time")
        if inside:
            element.show(corrections(inside, view), "corrections")


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
