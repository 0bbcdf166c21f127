"""The panels of a model's page that judge it: quality, labels, scores, segments, fairness, data quality, runs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import streamlit as st

from dashboard import component, element, frame, held, text
from dashboard.blocks.compared import against
from dashboard.blocks.confusion import confusion_table
from dashboard.blocks.fairness import fairness_block
from dashboard.blocks.marks import hidden
from dashboard.blocks.measures import between, class_table, label_block, measure_table, notes
from dashboard.blocks.panel import section
from dashboard.blocks.quality import dated, mixed_block, quality_table
from dashboard.blocks.whose import counting_list, judgement_table
from dashboard.blocks.why import asking
from dashboard.charts.failures import failure_bars
from dashboard.charts.latency import percentiles
from dashboard.charts.scores import calibration_dots, error_bars, legend, score_bars, threshold_curves
from dashboard.charts.segments import segment_dots
from dashboard.charts.trace import trace_lines
from dashboard.charts.volume import volume_bars
from dashboard.text import hx
from dashboard.view import View, write
from tandem.modelled import Measure, Modelled, Run, Trace
from tandem.scores import WhatIf
from tandem.shown import Detail
from tandem.whose import Estimated


def traced(view: View, found: Detail, model: Modelled) -> None:
    """Quality by version over time."""
    title = f"{model.trace.title} by version" if model.trace else "Quality by version"
    if model.trace is None:
        component.nothing(title, _unlabelled(model), "quality")
        return
    several = len(model.trace.versions)
    said = "band: 95 % interval · hollow: labels still arriving · by the time of the prediction"
    with st.container(border=True):
        frame.heading(view, title, said if several < 2 else f"{several} versions · {said}")
        promoted = [(one.version, one.ts) for one in found.changes if one.kind == "promotion" and one.version]
        guessed = _estimated(found, model.trace)
        figure = trace_lines(
            model.trace, found.served, promoted, view.window, view.zone, narrow=view.narrow, estimated=guessed
        )
        frame.chart(view, figure, "quality", f"{title} over time with its interval")
        if guessed:
            by = " and ".join(dict.fromkeys(text.clean(one.source, 60) for one in guessed))
            element.show(
                f'<p class="x-muted j-said">Grey dots: estimated by {hx(by)} without labels; never counted, never '
                "judged, and no part of any objective.</p>",
                "estimated",
            )


def _estimated(found: Detail, trace: Trace) -> list[Estimated]:
    """What tools estimate of the measure that is drawn."""
    return [one for one in (found.whose.estimated if found.whose else ()) if one.name == trace.measure]


def whose(view: View, found: Detail) -> None:
    """What other tools say of the model, whose verdict each is, and which of several sources counts."""
    judges = found.whose
    assert judges is not None, "only drawn where there are judges"
    parts = []
    if judges.counting:
        parts.append(section("Which source counts", "the others bear witness and are never added"))
        parts.append(counting_list(judges.counting))
    if judges.judgements:
        parts.append(section("Verdicts of other tools", "newest of each in this window · their methods, their rules"))
        parts.append(judgement_table(judges.judgements, view.zone))
    element.show(f'<div class="x-panel">{"".join(parts)}</div>', "whose")


def _unlabelled(model: Modelled) -> str:
    labels = model.labels
    if not labels.predictions:
        return "No prediction was counted in this window."
    if not labels.labelled:
        made = text.plural(labels.predictions, "prediction")
        return (f"No labels yet: {made} in this window, none with its outcome. Quality appears when labels come; "
                "name their column, or a log of labels, in the source's label and labels.")  # fmt: skip
    return "No prediction of this window can be judged: its labels or its predictions are not readable."


def measures(view: View, found: Detail, model: Modelled) -> None:
    """Every measure over the window, each with its interval, and how many labels it rests on."""
    ask = asking(view, found.as_of)
    inside = section("Quality over the window", _of_what(model))
    if model.measures:
        inside += measure_table(model.measures, found.component, ask) + notes(model.measures)
    else:
        inside += f'<p class="x-muted">{hx(_unlabelled(model))}</p>'
    element.show(f'<div class="x-panel x-model">{inside}</div>', "measures")


def _of_what(model: Modelled) -> str:
    task = {"binary": f"positive is {model.positive}", "multiclass": "averages are named",
            "regression": "in the unit of the target"}.get(model.task or "", "")  # fmt: skip
    return task if model.measures else ""


def labels(view: View, found: Detail, model: Modelled) -> None:
    """How far labels have come."""
    if not model.labels.predictions:
        return
    when = f"{text.moment(model.labels.mature, view.zone)} {text.zone_name(model.labels.mature, view.zone)}"
    if not model.labels.labelled:
        inside = section("Labels") + (
            f'<p class="x-muted">None of {text.count(model.labels.predictions)} predictions of this window has its '
            "label yet.</p>"
        )
    else:
        inside = section("Labels", "how far they have come") + label_block(model.labels, found.window.until, when)
    element.show(f'<div class="x-panel x-model">{inside}</div>', "labels")


def segments(view: View, found: Detail) -> None:
    """Accuracy of every segment with its interval and its count."""
    known = [one for one in found.segments if one[2]]
    if not known:
        return
    target = found.model.trace.target if found.model and found.model.trace else None
    with st.container(border=True):
        frame.heading(view, "Accuracy by segment", "bars are 95 % intervals · dashed: the target · worst first")
        frame.picture(segment_dots(found.segments, target, narrow=view.narrow), "segments",
                      "Accuracy by segment with its interval")  # fmt: skip
        listed = "".join(
            f'<tr><th scope="row">{hx(name or "All", 60)}</th><td class="x-num">{hx(text.share(good / total))}</td>'
            f'<td class="x-num">{hx(between(interval, "share"))}</td><td class="x-num">{text.count(total)}</td></tr>'
            for name, good, total, interval in known[:60]
        )
        table = (
            f'<details class="o-more"><summary>{text.plural(len(known), "segment")} as numbers</summary><div '
            'class="f-scroll" tabindex="0" role="region" aria-label="Segments"><table class="f-table j-table"><caption '
            'class="x-hide">Accuracy by segment</caption><thead><tr><th scope="col">Segment</th><th scope="col" '
            'class="x-num">Accuracy</th><th scope="col" class="x-num">95 % interval</th><th scope="col" class="x-num">'
            f"Labelled</th></tr></thead><tbody>{listed}</tbody></table></div></details>"
        )
        element.show(table, "segment_table")


def confusion(found: Detail, model: Modelled) -> None:
    """Actual against predicted, and every class against all others."""
    if not found.confusion:
        return
    total = text.plural(sum(found.confusion.values()), "labelled prediction")
    inside = section("Confusion matrix", f"{total} · rows are the actual class") + confusion_table(found.confusion)
    if len(model.classes) > 1:
        inside += f'<div class="j-classes">{class_table(model.classes)}</div>'
    element.show(f'<div class="x-panel">{inside}</div>', "confusion")


def fairness(model: Modelled) -> None:
    """Gaps between groups of every segment column."""
    if not model.fairness:
        return
    several = model.task == "multiclass"
    columns = len({one.column for one in model.fairness})
    said = f"by {text.plural(columns, 'segment column')}" + (", every class against all others" if several else "")
    inside = section("Fairness", said) + fairness_block(model.fairness, several)
    element.show(f'<div class="x-panel x-model">{inside}</div>', "fairness")


ARRIVING = ("label_coverage", "label_age")
"""Ratios that change because time passes: nothing is to be explained of them."""


def mixed(view: View, found: Detail) -> None:
    """Mix or real of what changed against the window that is compared with."""
    moved = {signal: [one for one in some if one.verdict != "unchanged"]
             for signal, some in found.mixed.items() if signal not in ARRIVING}  # fmt: skip
    moved = {signal: some for signal, some in moved.items() if some}
    if not moved:
        return
    titles = {one.signal: one.title for one in found.cells}
    inside = section("Mix or real", f"against {against(view)}") + mixed_block(moved, titles, against(view))
    element.show(f'<div class="x-panel x-model">{inside}</div>', "mixed")


# -- scores


def scores(view: View, model: Modelled) -> None:
    """Scores of each class, and what a threshold would do to them."""
    if model.scores is None or not model.scores.classes:
        return
    place = _place(view, model.thresholds)
    threshold = model.thresholds[place].threshold if place is not None else None
    with st.container(border=True):
        marks = "".join(f'<span><span class="{kind}"></span>{hx(said, 60)}</span>'
                        for kind, said in legend(model.scores))  # fmt: skip
        frame.heading(view, "Scores", "share of each class per bar · stretched near 0 and 1",
                      f'<div class="s-legend">{marks}</div>')  # fmt: skip
        frame.picture(score_bars(model.scores, threshold, narrow=view.narrow), "scores", "Scores of each class")
        if model.scores.missing:
            said = f"{text.plural(model.scores.missing, 'prediction')} without a score are left out."
            element.show(f'<p class="x-muted">{hx(said)}</p>', "unscored")
        if place is not None:
            _what_if(view, model, place)


def _place(view: View, thresholds: Sequence[WhatIf]) -> int | None:
    """The threshold that the link asks for, else the one next to 0.5."""
    if not thresholds:
        return None
    asked = view.threshold if view.threshold is not None else 0.5
    return min(range(len(thresholds)), key=lambda place: abs(thresholds[place].threshold - asked))


def _what_if(view: View, model: Modelled, place: int) -> None:
    known = [f"{one.threshold:.3g}" for one in model.thresholds]
    key = held.hold(f"w_threshold_{view.component}", place)
    st.select_slider(
        "What if everything at or above this score were called positive?", range(len(known)), key=key,
        format_func=known.__getitem__, on_change=_choose, args=(view, key, model.thresholds),
    )  # fmt: skip
    frame.picture(threshold_curves(model.thresholds, place, narrow=view.narrow), "thresholds",
                  "Recall, precision and share flagged at every threshold")  # fmt: skip
    element.show(_whatif_table(model, model.thresholds[place]), "whatif")


def _choose(view: View, key: str, thresholds: Sequence[WhatIf]) -> None:
    place = st.session_state[key]
    if 0 <= place < len(thresholds):
        write(view, tab=f"{thresholds[place].threshold:.9f}")


def _whatif_table(model: Modelled, what: WhatIf) -> str:
    """The chosen threshold beside what the model decided by itself."""
    now = {one.name: one for one in model.measures}
    rows = (("Precision", now.get("precision"), what.precision()), ("Recall", now.get("recall"), what.recall()),
            ("False positive rate", now.get("fpr"), what.fpr()))  # fmt: skip
    body = "".join(f'<tr><th scope="row">{name}</th><td class="x-num">{_own(one)}</td>'
                   f'<td class="x-num"><b>{_span(span)}</b></td></tr>' for name, one, span in rows)  # fmt: skip
    body += (
        f'<tr><th scope="row">Called positive</th><td class="x-num x-muted">–</td><td class="x-num"><b>'
        f'{_span(what.volume())}</b><small class="x-muted">{text.count(what.flagged[0])} of {text.count(what.scored)} '
        "scored</small></td></tr>"
    )
    exact = "exact: the threshold is an edge of the score's bins" if what.exact else "as narrow as the bins allow"
    heads = (f'<th scope="col">{hidden("Measure")}</th><th scope="col" class="x-num">As it decided</th>'
             f'<th scope="col" class="x-num">At {what.threshold:.3g}</th>')  # fmt: skip
    return (
        '<table class="f-table j-table j-whatif"><caption class="x-hide">What the threshold would do</caption><thead>'
        f'<tr>{heads}</tr></thead><tbody>{body}</tbody></table><p class="x-muted j-said">Of '
        f"{text.count(what.positives)} positives and {text.count(what.negatives)} negatives with a label; {exact}.</p>"
    )


def _own(one: Measure | None) -> str:
    return hx(text.share(one.value)) if one is not None and one.value is not None else "–"


def _span(span: tuple[float, float] | None) -> str:
    if span is None:
        return "–"
    low, high = span
    return hx(text.share(low)) if low == high else f"{hx(text.share(low))} to {hx(text.share(high))}"


def errors(view: View, model: Modelled) -> None:
    """How a regression's errors are distributed, and what lies within its tolerance."""
    if model.errors is None:
        return
    of = model.errors
    said = f"predicted − true, {text.count(of.n)} labelled"
    if of.tolerance is not None:
        said += f" · dashed: the tolerance, ±{of.tolerance:g}"
    with st.container(border=True):
        frame.heading(view, "Errors", said)
        frame.picture(error_bars(of, narrow=view.narrow), "errors", "Share of predictions by their error")


def calibration(view: View, model: Modelled) -> None:
    """Observed share of positives against the score."""
    if model.calibration is None:
        return
    with st.container(border=True):
        said = "observed share against the mean score · bars: 95 % · dashed: perfect"
        frame.heading(view, "Calibration", said)
        frame.picture(calibration_dots(model.calibration, narrow=view.narrow), "calibration",
                      "Observed share of positives against the mean score")  # fmt: skip
        ece, chance = model.calibration.ece, model.calibration.chance
        if ece is not None and chance is not None:
            more = "no more than chance would show" if ece <= 1.5 * chance else "more than chance would show"
            said = (f"Calibration error {text.digits(ece, 2)}, of which so few labels alone would show about "
                    f"{text.digits(chance, 2)}: {more}.")  # fmt: skip
            element.show(f'<p class="x-muted">{hx(said)}</p>', "calibrated")


# -- data quality, runs, serving


def data_quality(view: View, found: Detail, model: Modelled) -> None:
    """Which columns are faulty and since when; columns that came, went or changed their type."""
    schema = [one for one in found.changes if one.kind == "schema_change" and found.component in one.components]
    if model.quality is None and not schema:
        return
    inside = section("Data quality", f"of {text.count(model.quality.whole)} rows" if model.quality else "")
    inside += dated(model.quality.faults if model.quality else (), schema, view.zone)
    if model.quality is not None:
        inside += quality_table(model.quality)
    element.show(f'<div class="x-panel x-model">{inside}</div>', "data_quality")


def serving(view: View, found: Detail, model: Modelled) -> None:
    """How many predictions were made by which version, how long they took and how many failed."""
    if model.volume is None:
        component.nothing("Predictions", "No prediction was counted in this window.", "volume")
    else:
        total = sum(sum(counts) for _, counts in model.volume.versions)
        shares = ", ".join(f"version {version or 'not stated'} {text.share(sum(counts) / total)}"
                           for version, counts in reversed(model.volume.versions))  # fmt: skip
        with st.container(border=True):
            said = f"{text.count(total)} in this window · per {text.age(model.volume.step)} · {shares}"
            frame.heading(view, "Predictions", said)
            figure = volume_bars(model.volume, view.window, view.zone, narrow=view.narrow)
            frame.chart(view, figure, "volume", "Predictions over time, by version")
    if found.latency is not None and any(any(counts) for counts in found.latency.counts):
        with st.container(border=True):
            frame.heading(view, "Prediction latency", "p50, p95 and p99 of the serving")
            figure = percentiles(found.latency, view.window, view.zone, None, narrow=view.narrow)
            frame.chart(view, figure, "percentiles", "Percentiles of prediction latency over time")
    failed = component.line(found, "request_success")
    if failed is not None:
        with st.container(border=True):
            frame.heading(view, "Failed predictions", "share per step · dashed: what the target allows")
            figure = failure_bars(failed, view.window, found.step, view.zone, narrow=view.narrow)
            frame.chart(view, figure, "failures", "Share of failed predictions over time")


def runs(view: View, found: Detail, model: Modelled) -> None:
    """Training runs with what came of them: version, data version and commit."""
    if not model.runs:
        return
    aliases = {str(one.get("version")): one.get("aliases") or () for one in found.versions}
    rows = "".join(_run(one, aliases.get(one.version, ()), view) for one in model.runs)
    titles = ("Training run", "Began", "Took", "Version", "Data", "Commit")
    heads = "".join(f'<th scope="col"{" class=x-num" if place == 2 else ""}>{name}</th>'
                    for place, name in enumerate(titles))  # fmt: skip
    table = (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Training runs"><table class="f-table j-runs">'
        f'<caption class="x-hide">Training runs</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        "</table></div>"
    )
    said = "newest first, up to the end of the window"
    element.show(f'<div class="x-panel">{section("Training runs", said)}{table}</div>', "runs")


OUTCOMES = {"good": "", "bad": "failed", "open": "running", "excluded": "not counted"}


def _run(one: Run, aliases: object, view: View) -> str:
    took = text.seconds(one.ended - one.started) if one.ended is not None else "–"
    outcome = OUTCOMES.get(one.outcome, one.outcome)
    bad = f' <span class="e-out{" e-bad" if one.outcome == "bad" else ""}">{hx(outcome)}</span>' if outcome else ""
    named = ", ".join(str(alias) for alias in aliases) if isinstance(aliases, list | tuple) else ""
    version = f"<b>{hx(one.version, 40)}</b>" if one.version else '<span class="x-muted">none</span>'
    alias = f' <span class="x-muted">{hx(named, 60)}</span>' if named else ""
    commit = f'<code title="{hx(one.commit, 80)}">{hx(one.commit[:9])}</code>' if one.commit else "–"
    return (
        f'<tr><th scope="row" title="{hx(one.key, 120)}">{hx(one.title or one.key, 48)}{bad}</th>'
        f"<td>{_day(one.started, view)}</td><td class=x-num>{hx(took)}</td><td>{version}{alias}</td>"
        f'<td title="{hx(one.data_version, 120)}">{hx(text.middle(one.data_version, 22)) or "–"}</td>'
        f"<td>{commit}</td></tr>"
    )


def _day(ts: int, view: View) -> str:
    year = datetime.fromtimestamp(ts, UTC).year
    said = text.moment(ts, view.zone)
    return said if year == datetime.fromtimestamp(view.window.until, UTC).year else f"{said} {year}"
