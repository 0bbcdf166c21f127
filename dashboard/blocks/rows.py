"""A list of components: counters that filter, a search box, and one row each, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from dashboard import text
from dashboard.blocks.card import named, number_of
from dashboard.blocks.compared import ARROWS, against, moved
from dashboard.blocks.marks import CLASSES, NONE, PAGES, WORDS, chip, glyph, hidden, link, unknown, untargeted
from dashboard.blocks.spark import budget, spark
from dashboard.blocks.strip import strip, strip_legend
from dashboard.blocks.why import asking, of, why
from dashboard.text import hx
from dashboard.view import View
from tandem.lists import Listed, Lists
from tandem.shown import STATES, Cell, Change

DRAWN = 100
"""Rows that are drawn; they come worst first, and a search finds the others."""
COUNTED: Mapping[str, str] = {"breached": "Breached", "at risk": "At risk", "unknown": "Unknown", "ok": "On target"}
NOUNS: Mapping[str, tuple[str, str]] = {"service": ("service", "services"), "model": ("model", "models")}


def counters(found: Lists, view: View) -> str:
    """How many are in each state; each is a link that narrows the list to it, or takes that back."""
    parts = []
    for state in STATES:
        on = view.tab == state
        href = view.link(view.page, tab="" if on else state)
        current = ' aria-current="true"' if on else ""
        parts.append(
            f'<a class="l-count {CLASSES[state]}" data-go href="{hx(href, 4000)}"{current}>{glyph(state)}'
            f"<b>{text.count(found.counts.get(state, 0))}</b> {COUNTED[state]}"
            f"{hidden(', shown alone; choose it again for all') if on else ''}</a>"
        )
    return f'<div class="l-counts" role="group" aria-label="Filter by state">{"".join(parts)}</div>'


def search(view: View, kind: str, partial: bool) -> str:
    """The search box; it narrows the rows while somebody types, and on Enter the address as well.

    `partial`: not all rows are drawn, so a pause in typing asks the address too.
    """
    href = view.link(view.page, selected="")
    many = NOUNS[kind][1]
    some = " data-some" if partial else ""
    return (
        f'<label class="l-search"><span class="x-hide">Search {many}</span>'
        f'<input type="search" data-find{some} data-href="{hx(href, 4000)}" value="{hx(view.selected)}" '
        f'maxlength="100" placeholder="Name or product" autocomplete="off"></label>'
    )


def listed(found: Lists, view: View, kind: str) -> str:
    """The whole list."""
    rows = [row for row in found.rows if view.tab in ("", row.state)]
    hits = [row for row in rows if _matches(row, view.selected)] if view.selected and len(rows) > DRAWN else rows
    body = "".join(_row(i, row, view) for i, row in enumerate(hits[:DRAWN]))
    more = ""
    if len(hits) > DRAWN:
        more = f'<p class="m-more">The worst {DRAWN} of {len(hits)} are shown; search to see the others.</p>'
    one, many = NOUNS[kind]
    seen = sum(_matches(row, view.selected) for row in rows)
    count = text.plural(len(rows), one, many) if seen == len(rows) else f"{seen} of {text.plural(len(rows), one, many)}"
    head = (
        f'<div class="l-bar">{counters(found, view)}{search(view, kind, len(rows) > DRAWN)}'
        f'<span class="x-muted" role="status" data-found="{one}|{many}">{count}</span></div>'
    )
    if not rows:
        return head + _none(view, many)
    nothing = (
        f'<p class="m-more" data-nothing{" hidden" if seen else ""}>Nothing here has that in its name or product.</p>'
    )
    return (
        f'{head}<div class="l-legend">{strip_legend(f"one cell is {text.age(found.step)}")}</div>'
        f'<div class="l-list" role="grid" aria-label="{many.capitalize()}, worst first; arrow keys move between the '
        f'numbers, ? explains one"{asking(view, found.as_of)}>{_heads(found, view, one)}{body}</div>'
        f"{nothing}{more}"
    )


def _matches(row: Listed, wanted: str) -> bool:
    return all(word in _words(row) for word in wanted.casefold().split())


def _words(row: Listed) -> str:
    """What a row is found by."""
    cell = row.cell
    return " ".join((row.component, row.product, row.version, cell.title if cell else "", row.state)).casefold()


def _none(view: View, many: str) -> str:
    if not view.tab:
        return f'<p class="x-muted">No {many} here.</p>'
    back = link(view.link(view.page, tab=""), f"show all {many}")
    return f'<p class="l-none">None of the {many} is {hx(COUNTED[view.tab].lower())} over this window; {back}.</p>'


def _heads(found: Lists, view: View, one: str) -> str:
    since, until = text.clock(found.window.since, view.zone), text.clock(found.window.until, view.zone)
    if found.window.until - found.window.since > 2 * 86400:
        since, until = text.day(found.window.since, view.zone), text.day(found.window.until, view.zone)
    cells = max((len(row.strip) for row in found.rows), default=1) or 1
    ends = (
        f'<span class="l-ends" style="--cells:{cells}"><span>{since}</span><span>What it attained</span>'
        f"<span>{until}</span></span>"
    )
    titles = (one.capitalize(), ends, "Standing worst", "Budget left", "Burn 1 h", "6 h", "Over time", "Last change")
    inside = "".join(f'<span role="columnheader">{title}</span>' for title in titles)
    return f'<div class="l-row l-heads" role="row">{inside}</div>'


def _row(index: int, row: Listed, view: View) -> str:
    cell = row.cell
    cells = (
        f'<span role="rowheader" class="l-name">{_name(index, row, view)}</span>',
        f'<span role="gridcell" class="l-strip">{strip(row.strip, row.component)}</span>',
        f'<span role="gridcell" class="l-sli">{_worst(index, cell, view)}</span>',
        f'<span role="gridcell" class="l-left">{_left(index, cell)}</span>',
        *_burns(index, cell),
        f'<span role="gridcell" class="l-trend">{_trend(index, row)}</span>',
        f'<span role="gridcell" class="l-change">{_change(row.change, view)}</span>',
    )
    side = "model" if row.kind == "model" else "system"
    mine = of(**named(cell)) if cell else ""
    hide = "" if _matches(row, view.selected) else " hidden"
    return (
        f'<div class="l-row x-{side} {CLASSES[row.state]}" role="row" data-name="{hx(_words(row), 400)}"{mine}{hide}>'
        f"{''.join(cells)}</div>"
    )


def _name(index: int, row: Listed, view: View) -> str:
    href = view.link(PAGES["model" if row.kind == "model" else "system"], component=row.component, version="")
    reason = row.cell.reason if row.cell and row.state == "unknown" else ""
    word = WORDS[row.state] if row.state != "unknown" else unknown(row.cell) if row.cell else "Not measured"
    parts = [row.product if row.product != row.component else "", f"version {row.version}" if row.version else ""]
    if row.troubled:
        parts.append(f"{row.troubled} of {text.plural(row.objectives, 'target')} in trouble")
    elif not row.objectives:
        parts.append("no targets")
    about = " · ".join(hx(part, 80) for part in parts if part)
    return (
        f'<span class="l-who"><a class="l-link" data-go data-cell="{index}:0" href="{hx(href, 4000)}">'
        f"{hx(row.component, 80)}</a>{chip(row.state, word, reason or ('' if row.cell else 'not measured'))}</span>"
        f'<small class="x-muted">{about}</small>'
    )


def _at(index: int, column: int) -> str:
    return f' data-cell="{index}:{column}"'


def _worst(index: int, cell: Cell | None, view: View) -> str:
    """What the objective that stands worst counted: its number, and what it is of."""
    if cell is None:
        return '<span class="x-muted">not measured</span>'
    value = hx(cell.text, 40) if cell.text and cell.text != NONE else NONE
    if cell.good is not None and cell.total and cell.measure == "p95":
        value = text.share(cell.good / cell.total)
    number = (
        {**number_of(cell), "number": "value"} if cell.measure == "p95" and cell.good is not None else number_of(cell)
    )
    shown = why(f"<b>{value}</b>", more=_at(index, 1), number=number["number"]) if value != NONE else f"<b>{NONE}</b>"
    objective = cell.objective
    aim = f" · target {text.target(objective.target)}" if objective else ""
    return f'{shown}{_moved(cell, view)}<small class="x-muted" title="{hx(cell.reason)}">{hx(cell.title)}{aim}</small>'


def _moved(cell: Cell, view: View) -> str:
    than, then = against(view), cell.compared
    if not than or then is None or cell.value is None or then.value is None:
        return ""
    arrow, said = moved(cell.value - then.value, "share")
    words = {"▲": "up ", "▼": "down "}.get(arrow, "")
    short = "" if arrow == ARROWS[0] else f" {said.replace('points', 'pts')}"
    told = hidden(f"{words}{said} against {than}")
    return f' <span class="l-moved"><span aria-hidden="true">{arrow}{short}</span>{told}</span>'


def _left(index: int, cell: Cell | None) -> str:
    """The error budget: a bar on one scale for all, and its number."""
    objective = cell.objective if cell else None
    if cell is None or objective is None or objective.budget_left is None:
        return f'<span class="x-muted">{"no target" if cell and untargeted(cell) else NONE}</span>'
    left = objective.budget_left
    said = f"{text.digits(abs(left) * 100, 2 if abs(left) < 1 else 3)}{text.NARROW}%"
    word = " over" if left < 0 else ""
    return budget(left, "") + why(f"{said}{word}", more=_at(index, 2), number="budget_left")


def _burns(index: int, cell: Cell | None) -> Iterable[str]:
    objective = cell.objective if cell else None
    for column, name in ((3, "1h"), (4, "6h")):
        rate = objective.burn.get(name) if objective else None
        shown = NONE
        if cell is not None and rate is not None:
            shown = why(text.burn(rate), more=_at(index, column), number=f"burn:{name}")
        key = f'<span class="l-key" aria-hidden="true">burn {name} </span>'
        yield f'<span role="gridcell" class="l-burn">{key}{shown}</span>'


def _trend(index: int, row: Listed) -> str:
    trend = row.trend
    if trend is None:
        return f'<span class="x-muted">{NONE}</span>'
    shown = why(f"<b>{hx(trend.text, 30)}</b>", more=_at(index, 5), number=trend.number)
    about = f'<small class="x-muted">{hx(trend.title, 24)}</small>'
    mine = of(component=row.component, signal=trend.signal, objective=trend.objective)
    return f'{spark(trend.points, trend.target, filled=False)}<span class="l-now"{mine}>{shown}{about}</span>'


def _change(change: Change | None, view: View) -> str:
    if change is None:
        return '<span class="x-muted">none in 28 days</span>'
    about = change.title or change.version or change.kind
    ago = text.age(max(view.now - change.ts, 0))
    kind = f'<small class="x-muted">{hx(change.kind.replace("_", " "))} · {ago} ago</small>'
    return f'<span class="l-title" title="{hx(about)}">{hx(about, 60)}</span>{kind}'
