"""Models: one model's page, from the verdict to its causes: objectives, quality, drift, data, training, changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import component, drifted, frame, judged, objectives, reading, retrained, text, traced
from dashboard.view import View
from tandem.modelled import Modelled
from tandem.shown import Detail
from tandem.told import told


def show(view: View) -> None:
    """Read, draw, stop."""
    if not view.component:
        component.everything(view, "model")
        return
    found = frame.answer(view, lambda: reading.detail(view, view.component), (130, 320))
    draw(view, found)


def draw(view: View, found: Detail | None) -> None:
    """The page of one model."""
    component.head(view, found, component.under(found) if found else "")
    if found is None:
        return
    component.cards(view, found)
    objectives.show(view, found)
    sides = _panels(view, found)
    if view.narrow:
        _stack(view, [panel for _, *panel in sides])
        return
    left, right = st.columns((3, 2), gap="medium")
    for column, name in ((left, "left"), (right, "right")):
        with column:
            _stack(view, [panel for side, *panel in sides if side == name])


def _stack(view: View, panels: Sequence[Sequence[Any]]) -> None:
    """Panels one below the other; each may fail alone."""
    for title, draw_one in panels:
        with frame.panel(view, title):
            draw_one()


def _panels(view: View, found: Detail) -> list[tuple[str, str, Callable[[], None]]]:
    """(column, title, what draws it), from the verdict to its causes; on a phone one below the other in this order."""
    model = found.model
    known = _of_model(view, found, model) if model is not None else {}
    drawn: dict[str, tuple[str, Callable[[], None]]] = {
        **known,
        "Drift": ("left", lambda: drifted.features(view, found)),
        "Reference and current": ("right", lambda: drifted.pair(view, found)),
        **_of_tools(view, found),
        traced.TITLE: ("left", lambda: traced.show(view, found)),
        retrained.TITLE: ("left", lambda: retrained.show(view, found)),
        "Versions": ("left", lambda: _versions(view, found)),
        "Samples": ("left", lambda: _samples(view, found)),
        "Changes": ("right", lambda: component.changes(view, found)),
        "Partners": ("right", lambda: component.partners(view, found)),
    }
    return [(drawn[title][0], title, drawn[title][1]) for title in ORDER if title in drawn]


def _of_tools(view: View, found: Detail) -> dict[str, tuple[str, Callable[[], None]]]:
    if found.whose is None or not (found.whose.judgements or found.whose.counting):
        return {}
    return {"Other tools": ("left", lambda: judged.whose(view, found))}


ORDER = (
    "Quality by version", "Quality over the window", "Labels", "Mix or real", "Accuracy by segment", "Fairness",
    "Confusion matrix", "Drift", "Other tools", traced.TITLE, retrained.TITLE, "Reference and current",
    "Data quality", "Scores", "Errors", "Calibration", "Predictions", "Changes", "Training runs", "Versions", "Samples",
    "Partners",
)  # fmt: skip


def _of_model(view: View, found: Detail, model: Modelled) -> dict[str, tuple[str, Callable[[], None]]]:
    return {
        "Quality by version": ("left", lambda: judged.traced(view, found, model)),
        "Quality over the window": ("right", lambda: judged.measures(view, found, model)),
        "Labels": ("right", lambda: judged.labels(view, found, model)),
        "Mix or real": ("right", lambda: judged.mixed(view, found)),
        "Accuracy by segment": ("right", lambda: judged.segments(view, found)),
        "Fairness": ("right", lambda: judged.fairness(model)),
        "Confusion matrix": ("right", lambda: judged.confusion(found, model)),
        "Data quality": ("left", lambda: judged.data_quality(view, found, model)),
        "Scores": ("left", lambda: judged.scores(view, model)),
        "Errors": ("right", lambda: judged.errors(view, model)),
        "Calibration": ("right", lambda: judged.calibration(view, model)),
        "Predictions": ("left", lambda: judged.serving(view, found, model)),
        "Training runs": ("left", lambda: judged.runs(view, found, model)),
    }


VERSIONS = ("version", "aliases", "created", "data_version", "commit", "run")
SAMPLES = ("name", "value", "stage", "version", "run", "step", "ts", "source")


def _versions(view: View, found: Detail) -> None:
    rows = [one for one in found.versions if one.get("created")]
    if rows:
        newest = sorted(rows, key=lambda one: str(one["created"]), reverse=True)
        _table(view, "Versions", "as the registry has them", VERSIONS, newest)


def _samples(view: View, found: Detail) -> None:
    some = [one for one in found.samples if told(str(one["name"])) is None]  # judgements have a table of their own
    if some:
        newest = sorted(some, key=lambda one: str(one["ts"]), reverse=True)
        _table(view, "Samples", "numbers as a tool exported them, newest of each name and run", SAMPLES, newest)


def _table(view: View, title: str, said: str, columns: tuple[str, ...], rows: Sequence[Mapping[str, object]]) -> None:
    """A long list; its own toolbar searches it, its heads sort it."""
    with st.container(border=True):
        frame.heading(view, title, f"{said} · heads sort, the magnifier searches")
        shown = {HEADS.get(name, name.capitalize()): _column(rows, name) for name in columns}
        st.dataframe(shown, hide_index=True, height=min(36 * (len(rows) + 1) + 2, 300), key=f"table_{title}")


HEADS = {"ts": "Time, UTC", "created": "Created, UTC", "data_version": "Data"}


def _plain(value: object) -> object:
    if isinstance(value, list | tuple):
        return ", ".join(text.clean(str(one), 60) for one in value)
    return text.clean(value, 120) if isinstance(value, str) else value


def _column(rows: Sequence[Mapping[str, object]], name: str) -> list[object]:
    """A column of a table; what is not known is empty, also among names."""
    values = [_plain(one.get(name)) for one in rows]
    return ["" if one is None else one for one in values] if any(isinstance(one, str) for one in values) else values
