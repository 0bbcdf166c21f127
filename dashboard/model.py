"""Models: one model's objectives, accuracy by version and segment, drift of its features, and its changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import component, element, frame, reading, text
from dashboard.blocks.confusion import confusion_table
from dashboard.blocks.drift import drift_table, pair_legend
from dashboard.blocks.panel import facts, notice, section
from dashboard.charts.drift import distribution_bars, drift_map
from dashboard.charts.quality import quality_lines
from dashboard.charts.segments import segment_dots
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Detail, Distribution

MEASURES: Mapping[str, str] = {
    "accuracy": "Accuracy",
    "precision": "Precision",
    "recall": "Recall",
    "f1": "F1",
    "roc_auc": "ROC AUC",
    "mae": "Mean absolute error",
    "rmse": "RMSE",
    "bias": "Bias",
    "r2": "R²",
    "label_coverage": "Label coverage",
}
SHARES = {"accuracy", "precision", "recall", "f1", "label_coverage"}


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
    left, right = st.columns((3, 2), gap="medium")
    with left:
        with frame.panel(view, "Correct predictions"):
            _quality(view, found)
        with frame.panel(view, "Feature drift"):
            _drift(view, found)
        with frame.panel(view, "Versions"):
            _versions(view, found)
        with frame.panel(view, "Samples"):
            _samples(view, found)
    with right:
        with frame.panel(view, "Reference and current"):
            _distribution(view, found)
        with frame.panel(view, "Accuracy by segment"):
            _segments(view, found)
        with frame.panel(view, "Confusion matrix"):
            _confusion(found)
        with frame.panel(view, "Changes"):
            component.changes(view, found)
        with frame.panel(view, "Partners"):
            component.partners(view, found)


def _quality(view: View, found: Detail) -> None:
    right = component.line(found, "outcome", "error")
    if right is None:
        component.nothing("Correct predictions", "No labelled prediction in this window.", "quality")
    else:
        with st.container(border=True):
            frame.heading(
                view,
                f"{right.title} over time",
                "by the time of the prediction · bands: the version that served · dotted: labels are still arriving",
            )
            taken = _promoted(found)
            figure = quality_lines(right, found.served, taken, view.window, found.step, view.zone, narrow=view.narrow)
            frame.chart(view, figure, "quality", "Share of correct predictions over time")
    measures = [(MEASURES[name], _measure(name, value)) for name, value in _measured(found)]
    if measures:
        inside = section("Quality over the window", _labelled(found)) + facts(measures)
        element.show(f'<div class="x-panel">{inside}</div>', "measures")


def _promoted(found: Detail) -> list[tuple[str, int]]:
    """When versions took over: promotions that name one."""
    return [(change.version, change.ts) for change in found.changes if change.kind == "promotion" and change.version]


def _measured(found: Detail) -> list[tuple[str, object]]:
    known = found.quality or {}
    return [(name, known[name]) for name in MEASURES if known.get(name) is not None]


def _measure(name: str, value: object) -> str:
    if isinstance(value, Mapping):
        bound = value.get("bound")
        return _measure(name, value.get("value")) + (f" ± {text.digits(float(bound), 2)}" if bound else "")
    if not isinstance(value, int | float):
        return "–"
    return text.share(value) if name in SHARES else text.digits(float(value))


def _labelled(found: Detail) -> str:
    known = found.quality or {}
    labels, predictions = known.get("labels"), known.get("predictions")
    if not isinstance(labels, int) or not isinstance(predictions, int):
        return ""
    return f"{text.count(labels)} of {text.count(predictions)} predictions have their label"


def _drift(view: View, found: Detail) -> None:
    if not found.features:
        component.nothing("Feature drift", "No feature was collected in this window.", "drift")
        return
    with st.container(border=True):
        said = "effect against the reference, per step · hatched: not enough rows"
        frame.heading(view, "Feature drift", said)
        if any(value is not None for one in found.features for value in one.daily):
            figure = drift_map(found.features, view.window, view.zone, narrow=view.narrow)
            frame.chart(view, figure, "drift_map", "Drift of each feature over time; the table below has the numbers")
        chosen = found.distribution.feature if found.distribution else ""
        element.show(drift_table(found.features, view, chosen), "drift")


def _distribution(view: View, found: Detail) -> None:
    shown = found.distribution
    if shown is None or not shown.labels:
        return
    names = tuple(one.feature for one in found.features)
    with st.container(border=True):
        frame.heading(
            view, "Reference and current", "share of rows in each bin", pair_legend(shown.n_reference, shown.n_current)
        )
        st.session_state[frame.widget(view, "selected")] = shown.feature
        frame.select(view, "selected", names, "", "stretch", {})
        if view.selected and view.selected != shown.feature:
            element.show(notice(f"There is no feature {hx(view.selected, 60)} in this window."), "unselected")
        figure = distribution_bars(shown, narrow=view.narrow)
        frame.picture(figure, "distribution", "Share of rows in each bin of the feature, reference and this window")
        missing = _missing(shown)
        if missing:
            st.caption(missing)


def _missing(shown: Distribution) -> str:
    if not shown.missing_reference and not shown.missing_current:
        return ""
    return (
        f"Without a value: {text.count(shown.missing_reference)} in the reference, "
        f"{text.count(shown.missing_current)} in this window; they are counted apart."
    )


VERSIONS = ("version", "aliases", "created", "data_version", "commit", "run")
SAMPLES = ("name", "value", "stage", "version", "run", "step", "ts", "source")


def _versions(view: View, found: Detail) -> None:
    rows = [one for one in found.versions if one.get("created")]
    if rows:
        newest = sorted(rows, key=lambda one: str(one["created"]), reverse=True)
        _table(view, "Versions", "as the registry has them", VERSIONS, newest)


def _samples(view: View, found: Detail) -> None:
    if found.samples:
        newest = sorted(found.samples, key=lambda one: str(one["ts"]), reverse=True)
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


def _segments(view: View, found: Detail) -> None:
    if not any(total for _, _, total, _ in found.segments):
        return
    right = component.line(found, "outcome", "error")
    with st.container(border=True):
        frame.heading(view, "Accuracy by segment", "bars are 95 % intervals · dashed: the target")
        figure = segment_dots(found.segments, right.target if right else None, narrow=view.narrow)
        frame.picture(figure, "segments", "Accuracy by segment with its interval")


def _confusion(found: Detail) -> None:
    if not found.confusion:
        return
    total = text.plural(sum(found.confusion.values()), "labelled prediction")
    inside = section("Confusion matrix", f"{total} · rows are the actual class") + confusion_table(found.confusion)
    element.show(f'<div class="x-panel">{inside}</div>', "confusion")
