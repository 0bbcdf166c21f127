"""The objectives part of a component's page, the same for a service and for a model."""

from __future__ import annotations

import streamlit as st

from dashboard import component, element, frame, text
from dashboard.blocks.objectives import burn_table, large, rows, shared
from dashboard.blocks.panel import section
from dashboard.charts.budget import budget_curve
from dashboard.view import View
from tandem.shown import STATES, Cell, Detail


def show(view: View, found: Detail) -> None:
    """Three large numbers and the budget over the window, all objectives, the burn rules, and what is shared."""
    cells = worst_first(found)
    if not cells:
        component.nothing("Objectives", "No target is set for anything that is measured of it.", "objectives")
        return
    cell = next((one for one in cells if one.objective and one.objective.name == view.tab), cells[0])
    with frame.panel(view, "Objectives"), st.container(border=True):
        _objectives(view, found, cells, cell)
    left, right = st.columns((3, 2), gap="medium")
    with left, frame.panel(view, "Burn rules"):
        name = cell.objective.name if cell.objective else ""
        head = section("Burn rules", f"of {text.clean(name, 60)}, at the end of the window")
        element.show(f'<div class="x-panel">{head}{burn_table(cell, view, found.as_of)}</div>', "rules")
    with right, frame.panel(view, "Product budget"):
        _shared(view, found)


def worst_first(found: Detail) -> list[Cell]:
    """The cells that have an objective, the one that stands worst first."""

    def rank(cell: Cell) -> tuple[int, float]:
        left = cell.objective.budget_left if cell.objective else None
        return STATES.index(cell.state), 1.0 if left is None else left

    return sorted((cell for cell in found.cells if cell.objective is not None), key=rank)


def _objectives(view: View, found: Detail, cells: list[Cell], cell: Cell) -> None:
    frame.heading(view, "Objectives", "the one that stands worst is drawn large; choose another by its name")
    chosen = cell.objective.name if cell.objective else ""
    numbers, drawn = st.columns((1, 1), gap="medium")
    with numbers:
        element.show(large(cell, view, found.as_of), "objective")
    with drawn:
        _curve(view, found, cell, chosen)
    if len(cells) > 1:
        element.show(rows(cells, chosen, view, found.as_of), "objective_rows")


def _curve(view: View, found: Detail, cell: Cell, chosen: str) -> None:
    curve = next((one for one in found.curves if one.objective == chosen), None)
    if curve is None or all(point is None for point in curve.points):
        why = "Slices of time have no curve; the number beside is that of the end of the window."
        empty = "Nothing was counted that a budget could be drawn of."
        element.show(f'<p class="x-muted">{why if cell.objective and cell.objective.slices else empty}</p>', "curve")
        return
    figure = budget_curve(curve, cell.side, view.window, view.zone, narrow=view.narrow)
    frame.chart(view, figure, "budget", f"Error budget left over time, {curve.label}; the line is where it is spent")


def _shared(view: View, found: Detail) -> None:
    if not found.joint:
        what = "model" if found.kind == "service" else "service"
        component.nothing("Product budget", f"It shares no budget: no {what} of its product has a target.", "shared")
        return
    for place, one in enumerate(found.joint):
        element.show(shared(one, view, found.as_of), f"shared_{place}")
