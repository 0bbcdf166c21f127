"""Measures of a model with their intervals, its classes, and how far its labels have come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard import text
from dashboard.blocks.marks import hidden
from dashboard.blocks.why import why
from dashboard.text import NARROW, hx
from tandem.modelled import ClassRow, Interval, Labels, Measure

ASKED: Mapping[str, str] = {
    "accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1": "f1", "roc_auc": "roc_auc",
    "mae": "mae", "rmse": "rmse", "bias": "bias", "r2": "r2", "macro_precision": "precision",
    "macro_recall": "recall", "macro_f1": "f1", "balanced_accuracy": "balanced_accuracy", "fpr": "fpr", "fnr": "fnr",
    "mcc": "mcc", "brier": "brier", "log_loss": "log_loss", "ece": "ece", "mape": "mape",
}  # fmt: skip
"""Measures that explain themselves, by the key of the answer that prints them."""
CLASSES = 12
"""Classes that are listed: those with most labels."""


def amount(value: float, unit: str) -> str:
    """One number of a measure, in its unit."""
    if unit == "share":
        return text.share(value) if 0 <= value <= 1 else f"{text.digits(value * 100)}{NARROW}%"
    if unit == "money":
        return ("−" if value < 0 else "") + text.count(round(abs(value)))
    return ("−" if value < 0 else "") + text.digits(abs(value))


def between(interval: Interval | None, unit: str) -> str:
    """An interval as it is written in a table: 91.4–93.2 %."""
    if interval is None:
        return ""
    low, high = (amount(end, unit) for end in interval)
    if unit == "share":
        low = low.removesuffix(f"{NARROW}%")
    return f"{low} to {high}" if "−" in low + high else f"{low}–{high}"


def measure_table(measures: Sequence[Measure], component: str, ask: str = "") -> str:
    """Every measure: its value, the interval or bound, and what it rests on; how it was found on hover."""
    rows = "".join(_measure(one, component) for one in measures)
    heads = ('<th scope="col">Measure</th><th scope="col" class="x-num">Value</th>'
             '<th scope="col" class="x-num">95 % interval</th><th scope="col" class="x-num">Of</th>')  # fmt: skip
    return (
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Measures"{ask}>'
        '<table class="f-table j-table j-measures">'
        f'<caption class="x-hide">Measures with their intervals</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _measure(one: Measure, component: str) -> str:
    how = f' title="{hx(one.how, 200)}"' if one.how else ""
    if one.value is None:
        return (
            f'<tr><th scope="row">{hx(one.title)}</th><td class="x-num">–</td>'
            f'<td class="x-muted" colspan="2">{hx(one.how or "not defined")}</td></tr>'
        )
    value = hx(amount(one.value, one.unit))
    named = ASKED.get(one.name)
    shown = why(f"<b>{value}</b>", component=component, measure=named) if named else f"<b>{value}</b>"
    interval = hx(between(one.interval, one.unit)) or '<span class="x-muted">–</span>'
    said = hidden(f", {one.how}") if one.how else ""
    counted = f"{text.count(one.good)} of {text.count(one.n)}" if one.good is not None else text.count(one.n)
    return (
        f'<tr><th scope="row">{hx(one.title)}</th><td class="x-num">{shown}</td>'
        f'<td class="x-num"{how}>{interval}{said}</td>'
        f'<td class="x-num x-muted" title="{hx(one.of)}">{counted}<small>{hx(one.of)}</small></td></tr>'
    )


def notes(measures: Sequence[Measure]) -> str:
    """What stands behind the intervals, once, for those who cannot hover."""
    said = [f"<li><b>{hx(one.title)}</b>: {hx(one.how)}</li>" for one in measures if one.how and one.value is not None]
    if not said:
        return ""
    return f'<details class="o-more"><summary>How they are found</summary><ul>{"".join(said)}</ul></details>'


def class_table(classes: Sequence[ClassRow]) -> str:
    """Precision, recall and F1 of each class with their intervals."""
    shown = sorted(classes, key=lambda one: (-one.recall[1], one.name))[:CLASSES]
    rows = "".join(
        f'<tr><th scope="row">{hx(one.name, 40)}</th>{_rate(one.precision, one.precision_interval, "predicted")}'
        f'{_rate(one.recall, one.recall_interval, "truly")}{_f1(one)}</tr>'
        for one in shown
    )  # fmt: skip
    heads = "".join(f'<th scope="col"{" class=x-num" if place else ""}>{name}</th>'
                    for place, name in enumerate(("Class", "Precision", "Recall", "F1")))  # fmt: skip
    more = f'<p class="m-more">and {len(classes) - CLASSES} rarer classes</p>' if len(classes) > CLASSES else ""
    return (
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Classes"><table class="f-table j-table">'
        f'<caption class="x-hide">Every class against all others</caption><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>{more}"
    )


def _rate(counts: tuple[int, int], interval: Interval | None, of: str) -> str:
    right, n = counts
    if not n:
        return f'<td class="x-num"><span class="x-muted">none {of}</span></td>'
    return (
        f'<td class="x-num">{hx(text.share(right / n))}<small>{hx(between(interval, "share"))}</small>'
        f'<small class="x-muted">{text.count(right)} of {text.count(n)}</small></td>'
    )


def _f1(one: ClassRow) -> str:
    if one.f1 is None:
        return '<td class="x-num">–</td>'
    return f'<td class="x-num">{text.digits(one.f1)}<small>{hx(between(one.f1_interval, "score"))}</small></td>'


def label_block(labels: Labels, now: int, zone_said: str) -> str:
    """How many labels have come, up to when all that usually come have, and how long they take."""
    counts = f"<b>{text.count(labels.labelled)}</b> of {text.count(labels.predictions)}"
    share = f" ({hx(text.share(labels.labelled / labels.predictions))})" if labels.interval else ""
    said = [f"{counts} predictions of this window have their label{share}"]
    if labels.labelled and labels.plateau is not None:
        said.append(f"usually {hx(text.share(labels.plateau))} come; they have, up to <b>{hx(zone_said)}</b>"
                    if labels.mature < now else "as many have come as usually do")  # fmt: skip
    if labels.ages:
        named = ", ".join(f"{name[1:]} % within {hx(text.seconds(value))}" for name, value in labels.ages.items())
        said.append(f"of {text.count(labels.aged)} labels that say when they came: {named}")
    bars = _ages(labels) if labels.labelled else ""
    return f'<p class="j-labels">{"; ".join(said)}.</p>{bars}'


def _ages(labels: Labels) -> str:
    """Label coverage by the age of the prediction: how long one has to wait."""
    if not labels.by_age:
        return ""
    cells = "".join(
        f'<li><span class="j-bar" aria-hidden="true"><span style="height:{100 * good / total:.0f}%"></span></span>'
        f'<span class="x-muted">{hx(_old(low, high))}</span>'
        f'<b title="{text.count(good)} of {text.count(total)}">{hx(_whole(good / total))}</b></li>'
        for low, high, good, total in labels.by_age
    )
    return (
        '<p class="x-muted j-said">Share with a label, by the age of the prediction (last 28 days):</p>'
        f'<ol class="j-ages">{cells}</ol>'
    )


def _whole(share: float) -> str:
    return text.share(share) if share in (0, 1) else f"{min(max(round(share * 100), 1), 99)}{NARROW}%"


def _old(low: int, high: int) -> str:
    hours = high <= 48 * 3600
    width, unit = (3600, "h") if hours else (86400, "d")
    return f"{low // width}–{high // width}{NARROW}{unit}"
