"""Reviews and moments: lists that lead to them, numbers of then beside those of now, what was agreed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, tzinfo
from urllib.parse import urlencode

from dashboard import text
from dashboard.blocks.marks import chip, link
from dashboard.text import hx
from dashboard.view import View, compact
from tandem.reviews import Action, Moment, Review
from tandem.saving import Figure

LISTED = 60
HEADS = ("Component", "Objective", "Then", "Now", "State then, now")
UNMARKED = "Nothing is marked yet: choose a stretch on any page, then Share, Mark this stretch."
UNWRITTEN = "No review is written yet. The button above begins one of this window, already filled in."


def number(then: Figure | None, now: Figure | None, name: str) -> str:
    """A number as it is, beside what it was when the review was begun."""
    one = now or then
    if one is None:
        return f'<span class="x-muted">{hx(name, 80)}: not there</span>'
    was = f" <small>then {_value(then)}</small>" if then is not None and then != now else ""
    state = chip(one.state, "") if one.objective else ""
    return f'<span class="r-number">{state}<b>{_value(now)}</b> of {text.count(one.total or 0)}{was}</span>'


def _value(one: Figure | None) -> str:
    if one is None:
        return "not there"
    return text.share(one.good / one.total) if one.good is not None and one.total else hx(one.text or "–", 40)


def numbers(then: Sequence[Figure], now: Mapping[tuple[str, str, str], Figure]) -> str:
    """Every number of an objective as it was kept, beside today's from the same window."""
    rows = "".join(_row(one, now.get(one.key)) for one in then if one.objective)
    if not rows:
        return '<p class="x-muted">No objective was in force.</p>'
    heads = "".join(
        f'<th scope="col">{name}</th>' for name in ("Component", "Objective", "Then", "Now", "State then, now")
    )
    return (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Numbers of then and now">'
        f'<table class="f-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(then: Figure, now: Figure | None) -> str:
    states = chip(then.state) + (f" → {chip(now.state)}" if now is not None and now.state != then.state else "")
    same = now is not None and (now.good, now.total) == (then.good, then.total)
    today = "the same" if same else f"<b>{_value(now)}</b>"
    return (
        f'<tr><th scope="row">{hx(then.component, 60)}</th><td>{hx(then.objective, 60)}</td><td>{_value(then)}</td>'
        f"<td>{today}</td><td>{states}</td></tr>"
    )


def agreed(actions: Sequence[Action], today: date) -> str:
    """What was agreed, what is overdue first."""
    if not actions:
        return '<p class="x-muted">Nothing is agreed yet.</p>'
    rows = "".join(
        _action(one, today) for one in sorted(actions, key=lambda one: (one.done, one.due or "9999", one.what))
    )
    return f'<ul class="r-actions">{rows}</ul>'


def _action(one: Action, today: date) -> str:
    late = bool(one.due) and not one.done and date.fromisoformat(one.due) < today
    mark = chip("ok", "done") if one.done else chip("breached", "overdue") if late else chip("unknown", "open")
    who = " · ".join(part for part in (one.owner, one.due) if part)
    return f'<li>{mark} <span>{hx(one.what, 400)}</span> <span class="x-muted">{hx(who, 120)}</span></li>'


def moment_link(one: Moment, view: View) -> str:
    """The address of what a moment shows: its page, stretch, filters and load."""
    kept = {"from": compact(one.since), "to": compact(one.until), "environment": one.environment,
            "product": one.product, "component": one.component, "as_of": str(one.as_of), "live": "0",
            "store": view.identity}  # fmt: skip
    query = {key: value for key, value in kept.items() if value and (key, value) != ("environment", "production")}
    return f"/{'' if one.page == 'overview' else one.page}?{urlencode(query)}"


def moment_list(found: Sequence[Moment], view: View) -> str:
    """Moments, each with where it leads."""
    if not found:
        return (
            '<p class="x-muted">Nothing is marked yet: choose a stretch on any page, then Share, Mark this stretch.</p>'
        )
    rows = "".join(_moment(one, view) for one in found[:LISTED])
    more = f'<p class="m-more">and {len(found) - LISTED} more</p>' if len(found) > LISTED else ""
    return f'<ul class="r-moments">{rows}</ul>{more}'


def _moment(one: Moment, view: View) -> str:
    about = ", ".join(part for part in (one.product, one.component) if part)
    said = " · ".join(part for part in (text.span(one.since, one.until, view.zone), about, one.author) if part)
    note = f"<p>{hx(one.note, 2000)}</p>" if one.note else ""
    there = link(moment_link(one, view), text.clean(one.name, 120))
    return f'<li>{there} <span class="x-muted">{hx(said, 300)} · {hx(one.id)}</span>{note}</li>'


def review_list(found: Iterable[Review], view: View, zone: tzinfo) -> str:
    """Reviews, newest first, with how much of what was agreed is open."""
    rows = []
    for one in found:
        open_ones = sum(not action.done for action in one.actions)
        todo = f" · {text.plural(open_ones, 'open action')}" if open_ones else ""
        said = f"{text.span(one.since, one.until, zone)}{' · ' + one.author if one.author else ''}{todo}"
        there = link(view.link("review", selected=one.id, tab=""), text.clean(one.title, 120))
        rows.append(f'<li>{there} <span class="x-muted">{hx(said, 300)}</span></li>')
    if not rows:
        return f'<p class="x-muted">{UNWRITTEN}</p>'
    return f'<ul class="r-moments">{"".join(rows)}</ul>'
