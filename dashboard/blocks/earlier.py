"""A view of an earlier load: that it is one, what late data has changed since, and what its saved answer says."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.marks import link
from dashboard.blocks.panel import notice, section
from dashboard.text import hx
from dashboard.view import View
from tandem.saving import Difference, Figure, Saved, Since

HEADS = ("Component", "Number", "Value", "Of", "State", "Budget left")
LISTED = 20
"""Numbers that are named; the rest is counted."""


def earlier(view: View, since: Since | None) -> str:
    """The quiet banner of a saved view; what differs is listed where somebody opens it."""
    back = link(view.link(view.page, as_of=None), "Show the numbers as they are now")
    said = f"A saved view: the numbers as of load {text.count(view.as_of or 0)}. "
    if since is None:
        return notice(f"{said}{back}.")
    late = f"Late data has changed {text.plural(len(since.late), 'number')} since. " if since.late else (
        "Nothing of it has changed since. ")  # fmt: skip
    answered = _answered(view, since)
    return notice(f"{said}{late}{back}.{_listed('What late data has changed', since.late)}{answered}")


def _answered(view: View, since: Since) -> str:
    """What the kept answer has to say beside today's."""
    if view.saved and since.saved is None:
        return " The answer that was kept with this link is not in this store."
    if since.saved is None:
        return ""
    who = f" by {since.saved.author}" if since.saved.author else ""
    kept = f" Kept {text.moment(since.saved.made, view.zone)}{who}, by Tandem {since.saved.version}"
    if not since.otherwise:
        return f"{hx(kept)}: the same numbers, to the last digit."
    why, many = "; ".join(since.reasons), text.plural(len(since.otherwise), "other number")
    differ = f"<b>The same load gives {many} today</b>: {hx(why, 600)}."
    return f"{hx(kept)}. {differ}{_listed('As kept, and as counted today', since.otherwise)}"


def _listed(title: str, found: Sequence[Difference]) -> str:
    if not found:
        return ""
    items = "".join(f"<li>{hx(one.sentence, 300)}</li>" for one in found[:LISTED])
    more = f"<li>and {text.count(len(found) - LISTED)} more</li>" if len(found) > LISTED else ""
    return f'<details class="o-more"><summary>{title}</summary><ul>{items}{more}</ul></details>'


def foreign(view: View, answer: Saved | None) -> str:
    """What stands where a link was made over another store."""
    here = link(f"/{'' if view.page == 'overview' else view.page}", "Show this store's own numbers")
    if answer is None:
        said = "This link was made over another store: its numbers are not from here, and none were kept here."
        return notice(f"{said} {here}.")
    rows = "".join(_row(one) for one in answer.figures)
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("Component", "Number", "Value", "Of", "State", "Budget left")
    )
    when = f"kept {text.moment(answer.made, view.zone)}, as of its load {text.count(answer.load)}"
    return (
        f"{notice(f'This link was made over another store; this is its answer as it was kept. {here}.')}"
        f'<div class="x-panel">{section("The numbers that were kept", when)}<div class="f-scroll" tabindex="0" '
        f'role="region" aria-label="The numbers that were kept"><table class="f-table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></div>"
    )


def _row(one: Figure) -> str:
    share = text.share(one.good / one.total) if one.good is not None and one.total else one.text or "–"
    left = f"{text.digits(one.budget_left * 100)}{text.NARROW}%" if one.budget_left is not None else "–"
    total = text.count(one.total) if one.total is not None else "–"
    cells = (one.objective or one.title, share, total, one.state, left)
    return (
        f'<tr><th scope="row">{hx(one.component, 80)}</th>{"".join(f"<td>{hx(cell, 80)}</td>" for cell in cells)}</tr>'
    )
