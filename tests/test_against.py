"""The same question over another window: what was then, what moved, and which version answered when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import bins, collect, drifting, report
from tandem.config import Component
from tandem.records import Fact, Histogram, Page, Ratio, Series
from tandem.shown import Served, Window
from tandem.store.file import Store
from tests import fakes

HOUR = 3600
END = fakes.NOW // HOUR * HOUR
NOW_HOUR, BEFORE = Window(END - HOUR, END), Window(END - 2 * HOUR, END - HOUR)
COMPONENTS = (Component("shop", product="store"), Component("scorer", "model", product="store"))


def facts() -> Iterator[Fact]:
    fast, slow = (Histogram(bins.DURATION, {place: 100}, {}) for place in (bins.DURATION.edges.index(0.1),
                                                                           bins.DURATION.edges.index(0.2)))  # fmt: skip
    for n in range(24):
        ts = END - 300 * (n + 1)
        late = n < 12
        yield Fact(Series(signal="availability", component="shop"), ts, Ratio(9 if late else 8, 10))
        yield Fact(Series(signal="latency", component="shop"), ts, slow if late else fast)
        version = "2" if n < 6 else "1"
        yield Fact(Series(signal="volume", component="scorer", version=version), ts, Ratio(50, 50))
        yield Fact(Series(signal="volume", component="scorer", version="3"), ts, Ratio(5, 5))


@pytest.fixture
def context(tmp_path: Path) -> Iterator[Any]:
    source = fakes.source(fakes.saying([Page(tuple(facts()))]), name="prod")
    with Store(tmp_path / "tandem.duckdb") as store:
        given = fakes.config(tmp_path, source, components=COMPONENTS)
        [outcome] = collect.sync(store, given, fakes.NOW)
        assert outcome.error == ""
        yield SimpleNamespace(config=given, store=store)


def test_a_cell_says_what_it_was_and_how_far_it_moved(context: Any) -> None:
    found = report.overview(context, NOW_HOUR, compare=BEFORE, now=fakes.NOW)
    cells = next(row for row in found.rows if row.service == "shop").system
    uptime = cells["availability"].compared
    assert uptime is not None
    assert (uptime.value, uptime.total, uptime.text, uptime.unit) == (0.8, 120, "80.0 %", "share")
    assert uptime.change == pytest.approx(0.1)
    latency = cells["latency"].compared
    assert latency is not None
    assert latency.unit == "s"
    assert latency.change == pytest.approx(0.1, abs=0.06)
    assert latency.text.endswith("ms")
    assert found.compared == BEFORE


def test_a_card_adds_up_its_components_and_carries_the_other_sparkline(context: Any) -> None:
    found = report.overview(context, NOW_HOUR, compare=BEFORE, now=fakes.NOW)
    card = next(card for card in found.cards["system"] if card.cell.signal == "availability").cell
    assert card.compared is not None
    assert card.compared.change == pytest.approx(0.1)
    assert card.spark == (0.9,) * 12
    assert card.compared.spark == (0.8,) * 12


def test_nothing_was_then_is_said_as_nothing(context: Any) -> None:
    never = Window(END - 80 * HOUR, END - 79 * HOUR)
    found = report.overview(context, NOW_HOUR, compare=never, now=fakes.NOW)
    then = next(row for row in found.rows if row.service == "shop").system["availability"].compared
    assert then is not None
    assert (then.value, then.text, then.change) == (None, "", None)
    plain = report.overview(context, NOW_HOUR, now=fakes.NOW)
    assert plain.compared is None
    assert plain.cards["system"][0].cell.compared is None


def test_the_page_of_a_component_compares_every_signal(context: Any) -> None:
    found = report.detail(context, "shop", NOW_HOUR, compare=BEFORE, now=fakes.NOW)
    moved = {cell.signal: cell.compared for cell in found.cells}
    assert moved["availability"] is not None
    assert moved["availability"].change == pytest.approx(0.1)
    assert moved["availability"].spark == (0.8,) * 12


def test_a_count_has_no_share_to_draw(context: Any) -> None:
    found = report.detail(context, "scorer", NOW_HOUR, compare=BEFORE, now=fakes.NOW)
    volume = next(cell for cell in found.cells if cell.signal == "volume")
    assert volume.total == 660
    assert volume.spark == ()
    assert volume.compared is not None
    assert (volume.compared.unit, volume.compared.change) == ("count", 0.0)


def test_the_version_that_answered_most_is_told_by_time(context: Any) -> None:
    found = report.detail(context, "scorer", Window(BEFORE.since, NOW_HOUR.until), now=fakes.NOW)
    assert found.served == (Served("1", BEFORE.since, END - 1800), Served("2", END - 1800, END))


def test_environments_are_those_of_the_configuration_and_of_the_store(context: Any) -> None:
    assert report.environments(context) == ("production",)


def test_a_category_has_a_bar_for_each_value_and_one_for_the_rest() -> None:
    layout = bins.Layout(kind="categories", values=tuple(f"v{i}" for i in range(40)))
    before = Histogram(layout, {i: 100 - i for i in range(40)} | {bins.MISSING: 9}, {})
    now = Histogram(layout, {39: 10, bins.OTHER: 30, bins.MISSING: 4}, {})
    found = drifting.pictured("c", "category", before, now)
    assert found.feature == "c"
    assert (found.labels[0], found.labels[-1], len(found.labels)) == ("v0", "other", drifting.BARS + 1)
    assert sum(found.reference) == pytest.approx(1)
    assert sum(found.current) == pytest.approx(1)
    assert found.current[-1] == pytest.approx(1)
    assert (found.missing_reference, found.missing_current, found.n_current) == (9, 4, 40)


def test_bins_of_numbers_are_named_by_their_edges_in_order() -> None:
    layout = bins.Layout(edges=(1.0, 2.5))
    found = drifting.pictured("x", "number", Histogram(layout, {0: 1, 1: 2, 2: 1}, {}), Histogram(layout, {2: 4}, {}))
    assert found.labels == ("< 1", "< 2.5", "≥ 2.5")
    assert (found.reference, found.current) == ((0.25, 0.5, 0.25), (0.0, 0.0, 1.0))


def test_many_bins_are_drawn_in_neighbouring_groups_that_add_up() -> None:
    scores = Histogram(bins.SCORE, dict.fromkeys(range(150), 2), {})
    found = drifting.pictured("(score)", "number", scores, Histogram(bins.SCORE, {149: 7}, {}))
    assert len(found.labels) <= 2 * drifting.BARS
    assert sum(found.reference) == pytest.approx(1)
    assert found.current[-1] == 1
