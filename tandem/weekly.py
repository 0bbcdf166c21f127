"""The review that writes itself: what a stretch of time held, as Markdown to begin from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence

from tandem import delivery, times, wording
from tandem.delivered import Delivered, Whole
from tandem.retrained import Retrained
from tandem.shown import Cell, Change, Overview, Window

LISTED = 12
"""Things of one kind that are named; the rest is counted."""


def title(window: Window) -> str:
    """What the review is called: its week where it is one, else its days."""
    first, last = times.text(window.since)[:10], times.text(max(window.until - 1, window.since))[:10]
    return f"Review of {first}" if first == last else f"Review of {first} to {last}"


def text(
    found: Overview, delivered: Delivered, cells: Sequence[Cell], retrained: Sequence[Retrained] = ()
) -> str:  # fmt: skip
    """Budgets spent and by what, what happened, drift and whether it was retrained, delivery, and late sources."""
    parts = [
        ("Budgets", _budgets(cells, found.changes)),
        ("Incidents", _of_lane(found.changes, "Incident")),
        ("Changes", _changes(found.changes)),
        ("Drift", _drift(found.changes)),
        ("Retraining", _retrained(retrained, found.window)),
        ("Promotions", [_line(one) for one in found.changes if one.kind == "promotion"]),
        ("Delivery", _delivery(delivered)),
        ("Sources", [f"{escaped(name)} was late at the end of this window" for name in found.late]),
    ]
    said = ["[[timeline]]\n"]
    said += [f"## {name}\n\n{_list(lines)}\n" for name, lines in parts]
    said.append("## Notes\n\nWhat did we learn, and what will we do?\n")
    return "\n".join(said)


def _list(lines: Sequence[str]) -> str:
    if not lines:
        return "Nothing."
    more = [f"and {len(lines) - LISTED} more"] if len(lines) > LISTED else []
    return "\n".join(f"- {line}" for line in [*lines[:LISTED], *more])


_MEANING = re.compile(r"[\\`*\[\]<>&|]|(?<!\w)_|_(?!\w)")
"""Signs that may mean something in the middle of a line of Markdown."""


def escaped(name: str, longest: int = 120) -> str:
    """A name from outside as text of Markdown: every sign that may mean something is taken by its word."""
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in name).split())[:longest]
    return _MEANING.sub(r"\\\g<0>", plain)


def _budgets(cells: Sequence[Cell], changes: Sequence[Change]) -> list[str]:
    """Objectives in trouble, the worst first, each with what happened to its component meanwhile."""
    troubled = [cell for cell in cells if cell.objective is not None and cell.state in ("breached", "at risk")]
    order = {"breached": 0, "at risk": 1}
    troubled.sort(key=lambda cell: (order[cell.state], _left(cell)))
    return [_budget(cell, changes) for cell in troubled]


def _left(cell: Cell) -> float:
    left = cell.objective.budget_left if cell.objective else None
    return 1.0 if left is None else left


def _budget(cell: Cell, changes: Sequence[Change]) -> str:
    assert cell.objective is not None, "only what has an objective is listed"
    left = cell.objective.budget_left
    spent = "budget not known" if left is None else (
        f"{abs(left) * 100:.3g} % of its budget {'overspent' if left < 0 else 'left'}")  # fmt: skip
    bad = f", {wording.count(cell.total - cell.good)} bad of {wording.count(cell.total)} in this window" if (
        cell.good is not None and cell.total) else ""  # fmt: skip
    by = [one for one in changes if cell.component in one.components and one.outcome == "bad"]
    during = Counter(one.kind for one in by)
    meanwhile = "; meanwhile " + ", ".join(f"{n} {kind}" for kind, n in sorted(during.items())) if during else ""
    number = f"[[number {cell.component} | {cell.objective.name}]]"
    own = cell.objective.name
    named = f"**{escaped(own if own.startswith(cell.component) else f'{cell.component} {own}')}**"
    return f"{named} is {cell.state}: {spent} over {cell.objective.window}{bad}{meanwhile} {number}"


def _line(one: Change) -> str:
    who = ", ".join(escaped(name) for name in one.components[:3])
    when = times.text(one.ts)[:16].replace("T", " ")
    lasted = f", {wording.seconds(float(one.ended - one.ts))}" if one.ended is not None and one.ended > one.ts else ""
    outcome = "" if one.outcome == "good" else f", {one.outcome}"
    return f"{when} {who}: {escaped(one.title or one.version or one.kind)}{lasted}{outcome}"


def _of_lane(changes: Iterable[Change], lane: str) -> list[str]:
    return [_line(one) for one in changes if one.lane == lane]


def _changes(changes: Sequence[Change]) -> list[str]:
    """How many of each kind, then those that failed."""
    counts = Counter(one.kind for one in changes if one.lane in ("Deploy", "Build"))
    said = [f"{wording.count(n)} {kind}{'' if n == 1 else 's'}" for kind, n in sorted(counts.items())]
    failed = [_line(one) for one in changes if one.lane == "Deploy" and one.outcome == "bad"]
    return [*([", ".join(said)] if said else []), *failed]


def _drift(changes: Iterable[Change]) -> list[str]:
    return [f"{_line(one)}" for one in changes if one.lane == "Drift"]


def _retrained(found: Iterable[Retrained], window: Window) -> list[str]:
    """Of each model that drifted or was breached in the window, whether a training followed the last onset."""
    return [f"**{escaped(one.model)}**: {escaped(one.sentence, 400)}" for one in found
            if any(row.onset.until is None or row.onset.until > window.since for row in one.rows)]  # fmt: skip


def _delivery(found: Delivered) -> list[str]:
    return [f"{'Software' if side == 'system' else 'Models'}: {_five(whole)}"
            for side, whole in found.sides.items() if whole.components]  # fmt: skip


def _five(whole: Whole) -> str:
    said = []
    for metric in delivery.METRICS:
        name, now = delivery.NAMES[whole.side][metric], getattr(whole.now, metric)
        value = now.p50 if isinstance(now, delivery.Times) else now.value
        if value is None or not whole.reported:
            shown = "not known"
        elif isinstance(now, delivery.Times):
            shown = f"{wording.seconds(float(value))} (median of {now.n})"
        elif isinstance(now, delivery.Frequency):
            shown = f"{float(value):.3g} a day ({now.n})"
        else:
            shown = f"{float(value) * 100:.3g} % of {now.n}"
        said.append(f"{name.lower()} {shown}")
    return ", ".join(said)
