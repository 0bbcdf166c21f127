"""The accounting rules that a report prints: how what stands in it was counted, in sentences."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard import text
from dashboard.reported.gathered import Gathered
from dashboard.text import hx
from tandem import slo
from tandem.catalog import Signal

GENERAL = (
    "A window is half-open: it begins with its first moment and ends before its last.",
    "Everything is kept in buckets of 5 minutes, features and predictions of an hour; a window takes whole ones.",
    "Every number is the sum of what its source counted over the window; percentiles are read from added histograms.",
    "For each component and signal one source counts: the primary one, else the first that saw the bucket.",
    "Other sources of the same bear witness and are never added.",
    "An objective is taken over its own window, up to the end of this report's.",
    "Its error budget is (1 − target) × events; budget left is 1 − bad ÷ budget and is never clamped.",
    "Burn rate is the share of bad events ÷ (1 − target) over a look-back; 1 spends the budget exactly in the window.",
    "Silence is not health: no traffic, not measured, stale, no labels yet and too little evidence are unknown.",
    "Accuracy is counted by the time of the prediction; buckets whose labels still arrive never raise an alarm.",
    "Cancelled and skipped builds, deployments and trainings are excluded: neither good nor bad.",
)
"""What holds for every number."""


def rules(found: Gathered, signals: Iterable[Signal]) -> str:
    """The rules that hold for every number, then what each signal in the report means."""
    used = {cell.signal for detail in found.details for cell in detail.cells}
    windows = ", ".join(map(_spoken, slo.factors()))
    said = [*map(hx_long, GENERAL), hx_long(
        f"A rule fires when both of its look-backs burn above its factor and the long one holds {slo.EVIDENCE} bad "
        f"events; over 28 days: {windows}.")]  # fmt: skip
    general = "".join(f"<li>{one}</li>" for one in said)
    meant = "".join(f"<tr><th scope=row>{hx(one.title)}</th><td>{hx_long(one.meaning)}</td></tr>"
                    for one in signals if one.name in used)  # fmt: skip
    heads = '<tr><th scope="col">Signal</th><th scope="col">What is counted</th></tr>'
    table = f'<table class="q-table q-narrow"><thead>{heads}</thead><tbody>{meant}</tbody></table>'
    return f'<ul class="q-rules">{general}</ul><h3 class="q-sub">Signals in this report</h3>{table}'


def _spoken(one: slo.Rule) -> str:
    return f"{slo.look_back(one.long)} and {slo.look_back(one.short)} above {text.digits(float(one.factor))}×"


def hx_long(said: str) -> str:
    """A sentence of ours or of a configuration, escaped."""
    return hx(said, 1200)
