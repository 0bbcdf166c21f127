"""What the pages of a service and of a model share: the list without a component, cards, changes, partners."""

from __future__ import annotations

from dashboard import element, frame, overview, reading, text
from dashboard.blocks.card import card
from dashboard.blocks.changes import change_list
from dashboard.blocks.compared import against
from dashboard.blocks.marks import link
from dashboard.blocks.panel import notice, section
from dashboard.blocks.rows import listed
from dashboard.blocks.why import asking
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Cell, Detail, Line, Side


def everything(view: View, side: Side) -> None:
    """All services or all models, worst first."""
    kind = "service" if side == "system" else "model"
    found = frame.answer(view, lambda: reading.lists(view, kind), (320,))
    note = text.span(view.window.since, view.window.until, view.zone)
    frame.header(view, "Services" if side == "system" else "Models", note, found.newest if found else None)
    if found is None:
        return
    if found.newest is None:
        overview.first_step(view)
    frame.ended(view, found.newest)
    if not found.rows:
        element.show(notice(f"No {kind} is configured: add a [[component]] of that kind to tandem.toml."), "none")
        return
    overview.late(view, found.late)
    element.show(listed(found, view, kind), "all")


def head(view: View, found: Detail | None, note: str = "") -> None:
    """The title block of one component."""
    if found is None:
        frame.header(view, view.component, note, None)
        return
    frame.header(view, found.component, note, found.newest, found.state, _targets(found))
    frame.ended(view, found.newest)


def _targets(found: Detail) -> str:
    aimed = [cell for cell in found.cells if cell.objective is not None]
    for state, word in (("breached", "breached"), ("at risk", "at risk")):
        if found.state == state:
            return f"{sum(cell.state == state for cell in aimed)} of {len(aimed)} targets {word}"
    return ""


def cards(view: View, found: Detail) -> None:
    """One card per signal, those with an objective first."""
    shown = sorted(found.cells, key=lambda cell: cell.objective is None)
    if not shown:
        element.show(notice("Nothing has been measured of it in this window."), "cards")
        return
    inside = "".join(card(cell, than=against(view)) for cell in shown)
    element.show(f'<div class="c-grid"{asking(view, found.as_of)}>{inside}</div>', "cards")


def changes(view: View, found: Detail) -> None:
    """Changes of the component and of its partners, merged in order of time."""
    listed = section("Changes to it and its partners") + change_list(found.changes, view, view.zone, 10)
    element.show(f'<div class="x-panel">{listed}</div>', "changes")


def partners(view: View, found: Detail) -> None:
    """The other components of the product, as links."""
    kinds = {one.name: one.kind for one in reading.components(view.context)}
    rows = ""
    for name in found.partners:
        page = "models" if kinds.get(name) == "model" else "services"
        tag = f'<span class="x-tag x-{"model" if page == "models" else "system"}">{page[:-1]}</span>'
        there = link(view.link(page, component=name, version="", segment=""), name)
        rows += f'<div class="w-link">{there}{tag}</div>'
    if rows:
        of = f"of {found.product}" if found.product else ""
        element.show(f'<div class="x-panel">{section("Partners", of)}{rows}</div>', "partners")


def cell(found: Detail, signal: str) -> Cell | None:
    """The cell of a signal, if it was measured."""
    return next((one for one in found.cells if one.signal == signal), None)


def line(found: Detail, *signals: str) -> Line | None:
    """The line of the first of these signals that has anything to draw."""
    titles = {one.signal: one.title for one in found.cells}
    drawn = {one.title: one for one in found.lines if any(point is not None for point in one.points)}
    return next((drawn[titles[signal]] for signal in signals if titles.get(signal) in drawn), None)


def under(found: Detail) -> str:
    """What stands beside the name: the product and the versions that serve."""
    newest = max(found.versions, key=lambda one: str(one.get("created") or ""), default={})
    version = f"version {newest['version']}" if newest.get("version") else ""
    return " · ".join(part for part in (found.product, version) if part)


def nothing(title: str, why: str, key: str) -> None:
    """An honest empty panel."""
    inside = f'{section(title)}<p class="x-muted">{hx(why)}</p>'
    element.show(f'<div class="x-panel">{inside}</div>', key)
