"""The state of each product: one row per service and its model, worst first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.blocks.card import number_of
from dashboard.blocks.compared import ARROWS, against, moved
from dashboard.blocks.marks import NONE, PAGES, SIDES, WORDS, glyph, hidden, link, looks, unknown, untargeted
from dashboard.blocks.why import asked, asking
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Cell, Row, Side

ROWS = 60
"""Rows of the matrix that are drawn; they come worst first, and the rest are counted."""


def matrix(
    rows: Sequence[Row],
    columns: Mapping[Side, tuple[tuple[str, str], ...]],
    view: View,
    shown_sides: tuple[Side, ...] = ("system", "model"),
    as_of: int = 0,
) -> str:
    """One row per service and its model, worst first; one tab stop, arrow keys move inside."""
    used = {side: columns.get(side, ()) for side in shown_sides}
    body = "".join(_row(i, row, used, view) for i, row in enumerate(rows[:ROWS]))
    more = ""
    if len(rows) > ROWS:
        more = (
            f'<p class="m-more">The worst {ROWS} of {len(rows)} rows are shown; choose a product to see the others.</p>'
        )
    cells = max((len(c) for c in used.values()), default=1) or 1
    tall = " m-two" if view.compared else ""
    return (
        f'<div class="m-scroll" style="--cells:{cells}"{asking(view, as_of)}><table class="m-table{tall}" role="grid">'
        '<caption class="x-hide">State of each product: one row per service and its model, worst first. '
        "Arrow keys move between cells, ? explains the number of one.</caption>"
        f"{_matrix_heads(used)}<tbody>{body}</tbody></table></div>{more}"
    )


def _matrix_heads(used: Mapping[Side, tuple[tuple[str, str], ...]]) -> str:
    widths, groups, names = "", "", ""
    for i, (side, columns) in enumerate(used.items()):
        lead = "Product · service" if side == "system" else "Paired model" if i else "Product · model"
        spanned = f'<th class="m-group x-{side}" scope="colgroup" colspan="{len(columns)}">{SIDES[side]}</th>'
        widths += f'<col class="{"m-short" if i else "m-wide"}">' + "<col>" * len(columns)
        groups += '<td role="gridcell"></td>' + (spanned if columns else "")
        names += f'<th class="m-lead" scope="col">{lead}</th>'
        names += "".join(f'<th scope="col">{hx(title)}</th>' for _, title in columns)
    return f'<colgroup>{widths}</colgroup><thead><tr role="row">{groups}</tr><tr role="row">{names}</tr></thead>'


def _row(index: int, row: Row, used: Mapping[Side, tuple[tuple[str, str], ...]], view: View) -> str:
    parts, column = [], 0
    for side, columns in used.items():
        name, cells = (row.service, row.system) if side == "system" else (row.model, row.models)
        parts.append(_row_name(row, side, len(used) > 1, view))
        for signal, title in columns:
            parts.append(_cell(cells.get(signal), title, name, f"{index}:{column}", view))
            column += 1
    return f'<tr class="m-row" role="row">{"".join(parts)}</tr>'


def _row_name(row: Row, side: str, both: bool, view: View) -> str:
    component = row.service if side == "system" else row.model
    first = side == "system" or not both
    product = f"<b>{hx(row.product, 80)}</b>" if first and row.product else ""
    if component:
        version = f' <span class="x-muted">{hx(row.version, 40)}</span>' if side == "model" and row.version else ""
        name = link(view.link(PAGES[side], component=component, version=""), component, "") + version
    else:
        name = f'<span class="x-muted">no {"service" if side == "system" else "model"}</span>'
    tag, role = ("th", 'scope="row" role="rowheader"') if first else ("td", 'role="gridcell"')
    more = _beyond([cell for cell in row.beyond if cell.component == component], side, view)
    title = hx(" ".join((row.product, component)).strip())
    return f'<{tag} class="m-name" {role} title="{title}">{product}{name}{more}</{tag}>'


def _beyond(cells: Sequence[Cell], side: str, view: View) -> str:
    """How many objectives in trouble have no column; their names for whoever points at it, and for screen readers."""
    if not cells:
        return ""
    first = cells[0]
    href = view.link(PAGES[side], component=first.component, version="")
    said = ", ".join(f"{cell.title}: {WORDS[cell.state].lower()}" for cell in cells)
    look = looks(first.state, first.reason)
    return (
        f' <a class="m-beyond x-chip {look}" data-go href="{hx(href, 4000)}" title="{hx(said, 300)}">'
        f'{glyph(first.state, first.reason)}<span aria-hidden="true">+{len(cells)}</span>{hidden(said)}</a>'
    )


def _cell(shown: Cell | None, title: str, component: str, place: str, view: View) -> str:
    head = f'<span class="m-head" aria-hidden="true">{hx(title)}</span>'
    if shown is None:
        why = "not measured" if component else "none"
        dash = f'<span class="m-dash">{head}<span aria-hidden="true">{NONE}</span>{hidden(why)}</span>'
        return f'<td class="m-cell" role="gridcell">{dash}</td>'
    word = WORDS[shown.state] if shown.state != "unknown" else shown.reason or "unknown"
    value = shown.text if shown.state != "unknown" or shown.value is not None else unknown(shown).lower()
    measure = f" {shown.measure}" if shown.measure and shown.measure.lower() != title.lower() else ""
    href = view.link(PAGES[shown.side], component=shown.component)
    look, shape = (
        (looks(shown.state, shown.reason), glyph(shown.state, shown.reason))
        if not untargeted(shown)
        else ("m-plain", "")
    )
    word = word if shape else "no target"
    drift, than = _cell_moved(shown, view)
    return (
        f'<td class="m-cell" role="gridcell"><a class="m-link {look}" data-go data-cell="{place}" '
        f'href="{hx(href, 4000)}"{_asked(shown)}>{head}{shape}<span class="m-value">{hx(value, 40)}</span>{drift}'
        f"{hidden(', '.join(part for part in (measure, word, than) if part))}</a></td>"
    )


def _asked(shown: Cell) -> str:
    """Which number the cell shows: of the first objective of its signal."""
    return asked(component=shown.component, signal=shown.signal, number=number_of(shown)["number"])


def _cell_moved(shown: Cell, view: View) -> tuple[str, str]:
    """The change of a cell as a short mark, and in words."""
    than, then = against(view), shown.compared
    if not than or then is None:
        return "", ""
    arrow, said = moved(then.change, then.unit, then.total)
    if not arrow:
        return "", f"nothing to compare with {than}"
    short = said.replace("points", "pts") if arrow != ARROWS[0] else ""
    words = {"▲": "up ", "▼": "down "}.get(arrow, "") + said
    return (
        f'<span class="m-moved" aria-hidden="true">{arrow} {hx(short)}</span>',
        f"{words} against {than} ({then.text})",
    )
