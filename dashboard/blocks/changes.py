"""The changes of a window as a list, newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, tzinfo

from dashboard import text
from dashboard.text import hx
from dashboard.view import View
from tandem.corrections import Correction
from tandem.shown import Change

LANES: Mapping[str, str] = {
    "Incident": "both",
    "Drift": "model",
    "Model": "model",
    "Deploy": "system",
    "Build": "system",
}
OUTCOMES = {"good": "done", "bad": "failed", "open": "open", "excluded": "not counted"}
LISTED = 14


def change_list(found: Sequence[Change], view: View, zone: tzinfo = UTC, most: int = LISTED, wide: bool = False) -> str:
    """The changes of a window, newest first."""
    if not found:
        return '<p class="x-muted">Nothing changed in this window, as far as the sources have said.</p>'
    newest, tail = _picked(found, most)
    days = view.window.until - view.window.since > 86400
    rows = "".join(_change(change, zone, days) for change in newest)
    return f'<ol class="e-list {"e-wide" if wide else ""}">{rows}</ol>{tail}'


def _picked(found: Sequence[Change], most: int) -> tuple[list[Change], str]:
    """The newest changes, and what is not listed: builds that passed make room for everything else."""
    telling = [change for change in found if not (change.kind == "build" and change.outcome == "good")]
    some = found if len(found) <= most else telling
    newest = sorted(some, key=lambda change: (-change.ts, change.key))[:most]
    left = ((len(found) - len(some), "builds that passed"), (len(some) - len(newest), "earlier changes"))
    said = " and ".join(f"{text.count(many)} {what}" for many, what in left if many)
    return newest, f'<p class="m-more">and {said} in this window</p>' if said else ""


def _change(change: Change, zone: tzinfo, days: bool) -> str:
    when = text.moment(change.ts, zone) if days else text.clock(change.ts, zone)
    about = change.title or change.version or change.kind
    named = "".join(f"{hx(name, 60)} · " for name in change.components[:1] if name not in about)
    bad = " e-bad" if change.outcome == "bad" and change.lane != "Drift" else ""
    quiet = change.outcome == "good" or change.lane == "Drift"
    said = "" if quiet else OUTCOMES.get(change.outcome, change.outcome)
    lasted = f' <span class="x-muted">{text.age(change.ended - change.ts)}</span>' if _lasted(change) else ""
    return (
        f'<li class="e-row"><span class="x-muted">{when}</span>'
        f'<span><span class="x-tag x-{LANES.get(change.lane, "both")}">{hx(change.lane)}</span></span>'
        f'<span class="e-title"><span class="x-muted">{named}</span>{hx(about)}{lasted}</span>'
        f'<span class="e-out{bad}">{hx(said)}</span></li>'
    )


def _lasted(change: Change) -> bool:
    return change.ended is not None and change.ended > change.ts and change.lane in ("Incident", "Build")


def corrections(found: Sequence[Correction], view: View) -> str:
    """What was left out by agreement: when, by whom, and why."""
    rows = "".join(
        f"<li>{text.moment(one.since, view.zone)} to {text.moment(one.until, view.zone)}: "
        f"{hx(one.reason or one.origin, 200)}"
        f' <span class="x-muted">{hx(" · ".join(part for part in (one.author, one.source, one.agreed) if part), 200)}'
        "</span></li>"
        for one in found[:20]
    )
    return f'<ul class="b-notes">{rows}</ul>'
