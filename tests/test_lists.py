"""Lists of components, budgets over time and when nobody looked, against sums over the records that were given."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import config as configuration
from tandem import report
from tandem.lists import CELLS, width
from tandem.shown import Window
from tests.benchmarks import estate

DAY = 86400
END = estate.END


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A made-up house: services and models with five-minute counts over three days."""
    from tandem.store.file import open_store

    folder = tmp_path_factory.mktemp("estate")
    path = folder / "tandem.duckdb"
    estate.build(path, 6, 3)
    with open_store(path) as store:
        yield SimpleNamespace(store=store, config=estate.config(folder, 6), now=lambda: END)


@pytest.mark.parametrize(
    ("hours", "step", "cells"), [(1, 300, 12), (24, 1200, 72), (168, 7200, 84), (720, 28800, 90), (2160, 86400, 90)]
)
def test_a_strip_has_at_most_ninety_cells_of_whole_buckets(hours: int, step: int, cells: int) -> None:
    found = width(Window(END - hours * 3600, END), CELLS)
    assert found == step
    assert hours * 3600 // found == cells
    assert found % 300 == 0


def test_every_component_of_a_kind_is_a_row_worst_first(context: Any) -> None:
    window = Window(END - DAY, END)
    kinds = {one.name: one.kind for one in context.config.components}
    for kind in ("service", "model"):
        found = report.lists(context, window, kind, now=END)
        assert {row.component for row in found.rows} == {name for name, one in kinds.items() if one == kind}
        ranks = [report.STATES.index(row.state) for row in found.rows]
        assert ranks == sorted(ranks)
        assert sum(found.counts.values()) == len(found.rows)
        assert all(len(row.strip) in (72, 73) for row in found.rows)


def test_a_row_says_the_same_as_the_page_of_its_component(context: Any) -> None:
    window = Window(END - DAY, END)
    for kind in ("service", "model"):
        for row in report.lists(context, window, kind, now=END).rows:
            page = report.detail(context, row.component, window, now=END)
            assert row.state == page.state
            cells = {cell.objective.name: cell for cell in page.cells if cell.objective}
            assert len(cells) == row.objectives
            if row.cell is not None and row.cell.objective is not None:
                same = cells[row.cell.objective.name]
                assert (row.cell.good, row.cell.total, row.cell.objective) == (same.good, same.total, same.objective)


def test_a_cell_of_a_strip_is_what_the_counts_of_its_stretch_say(context: Any) -> None:
    window = Window(END - DAY, END)
    found = report.lists(context, window, "service", now=END)
    row = found.rows[0]
    first = window.since // found.step * found.step
    checked = 0
    for place in range(2, len(row.strip), 9):
        since, until = first + place * found.step, first + (place + 1) * found.step
        told = report.show(context, row.component, Window(since, until), now=END)
        worst = "unseen"
        for signal in told["signals"]:
            if signal["objective"] and signal["total"]:
                target = Fraction(str(signal["objective"]["target"]))
                missed = signal["total"] - signal["good"] > (1 - target) * signal["total"]
                worst = "missed" if missed or worst == "missed" else "met"
        seen = {"far": "missed", "quiet": "unseen"}.get(row.strip[place], row.strip[place])
        assert seen == worst, (row.component, place)
        checked += 1
    assert checked >= 7
    assert {"met", "missed", "far"} & set(row.strip)


def test_a_budget_over_time_is_that_of_its_own_window_at_each_moment(context: Any) -> None:
    window = Window(END - DAY // 2, END)
    name = next(one.name for one in context.config.components if one.kind == "service")
    page = report.detail(context, name, window, now=END)
    budgets = {cell.objective.name: cell.objective.budget_left for cell in page.cells if cell.objective}
    assert page.curves
    for curve in page.curves:
        assert curve.label == "rolling 28d"
        assert curve.points[-1] == pytest.approx(budgets[curve.objective], abs=1e-12)
        for place in (0, len(curve.points) // 2):
            end = curve.first + (place + 1) * curve.step
            then = report.show(context, name, Window(end - 3600, end), now=end)
            left = next(
                one["objective"]["budget_left"]
                for one in then["signals"]
                if one["objective"] and one["objective"]["name"] == curve.objective
            )
            if left is None or curve.points[place] is None:
                assert left == curve.points[place]
            else:
                assert curve.points[place] == pytest.approx(left, abs=1e-9), (curve.objective, place)


def test_a_house_without_data_is_listed_as_not_measured(tmp_path: Path) -> None:
    from tandem.store.file import open_store

    (tmp_path / "tandem.toml").write_text('[[component]]\nname = "api"\nkind = "service"\n', "utf-8")
    config = configuration.load(tmp_path / "tandem.toml")
    with open_store(tmp_path / "tandem.duckdb") as store:
        house = SimpleNamespace(store=store, config=config, now=lambda: END)
        found = report.lists(house, Window(END - DAY, END), "service", now=END)
    [row] = found.rows
    assert (row.state, row.cell, row.trend, row.change) == ("unknown", None, None, None)
    assert set(row.strip) == {"unseen"}
    assert found.counts == {"breached": 0, "at risk": 0, "unknown": 1, "ok": 0}
