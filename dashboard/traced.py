"""The panel of a model's page on where its version comes from, with two training runs side by side."""

from __future__ import annotations

import streamlit as st

from dashboard import between, component, element, frame, held, reading, text
from dashboard.blocks.lineage import about, beside, track
from dashboard.blocks.panel import section
from dashboard.view import View, write
from tandem.modelled import Run
from tandem.shown import Detail
from tandem.traced import Lineage

TITLE = "Where this version comes from"
SIDES = {"A": "Run A", "B": "Run B"}
UNTOLD = (
    "Connect what trains or registers it: mlflow, wandb, dvc, openlineage and others tell of versions and runs; "
    "see tandem init --connector."
)


def show(view: View, found: Detail) -> None:
    """The chain of the version that serves, or of the one that the page is narrowed to."""
    with frame.panel(view, TITLE):
        told = reading.lineage(view, found.component)
        if told.chain is None:
            component.nothing(TITLE, f"{told.reason[:1].upper()}{told.reason[1:]}. {UNTOLD}", "lineage")
            return
        inside = section(TITLE, about(told.chain, view)) + track(told.chain, view)
        element.show(f'<div class="x-panel x-model">{inside}</div>', "lineage")
        _beside(view, found, told)


def _beside(view: View, found: Detail, told: Lineage) -> None:
    """Two runs, chosen from the newest ones and that of the version."""
    runs = {one.key: one for one in (found.model.runs if found.model else ())}
    mine = told.chain.link("training").value if told.chain else ""
    offered = [one for one in (*runs, mine) if len(one) <= between.LONGEST]
    known = [one for one in dict.fromkeys((*offered, *view.runs)) if one]
    if len(known) < 2:
        return
    chosen = view.runs if view.runs != ("", "") else (mine if mine in known else "", "")
    with st.container(border=True):
        frame.heading(view, "Two runs side by side", "parameters and metrics in which they differ")
        sides = st.columns(2) if not view.narrow else (st.container(), st.container())
        for side, column, value in zip(SIDES, sides, chosen, strict=True):
            with column:
                _choice(view, side, known, runs, value)
        if all(chosen):
            with frame.panel(view, "Two runs side by side"):
                compared = reading.lineage(view, found.component, chosen).compared
                assert compared is not None, "two runs were asked for"
                element.show(f'<div class="x-model">{beside(compared, view)}</div>', "beside")
        else:
            element.show('<p class="x-muted">Choose a run on both sides.</p>', "beside")


def _choice(view: View, side: str, known: list[str], runs: dict[str, Run], value: str) -> None:
    st.selectbox(
        SIDES[side], ["", *known], key=held.hold(_control(view, side), value),
        format_func=lambda run: _called(run, runs.get(run), view), on_change=_choose, args=(view,),
    )  # fmt: skip


def _control(view: View, side: str) -> str:
    return f"w_run_{side}_{view.component}"


def _called(run: str, one: Run | None, view: View) -> str:
    if not run:
        return "–"
    if one is None:
        return text.clean(run, 60)
    version = f" · version {text.clean(one.version, 20)}" if one.version else ""
    return f"{text.clean(one.title or run, 40)} · {text.moment(one.started, view.zone)}{version}"


def _choose(view: View) -> None:
    chosen = (str(st.session_state[held.key(_control(view, side))]) for side in SIDES)
    write(view, selected=between.written(*chosen))
