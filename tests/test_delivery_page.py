"""The Delivery page and its panels in every state: what is said, what is linked, what is asked of the engine."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboard.blocks import delivery as blocks
from dashboard.view import View, view
from tandem import delivery
from tandem.delivered import Delivered
from tandem.delivery import Trend
from tandem.records import DAY
from tandem.shown import Unreadable, Window
from tests import screens
from tests.delivery_screens import delivery_of
from tests.screens import Engine
from tests.test_dashboard import OURS, Open, Tags, figures, markup, open_page, words

__all__ = ["open_page"]


def answered(kind: str = "full", **asked: Any) -> Delivered:
    window = Window(screens.NOW // 300 * 300 - 30 * DAY, screens.NOW // 300 * 300)
    return delivery_of(kind, screens.components(), window, screens.NOW, **asked)


def plain(said: str) -> str:
    return re.sub(r"\s+", " ", said)


def seen(**query: str) -> View:
    names = tuple(one.name for one in screens.components())
    return view("delivery", query, screens.NOW, environments=("production",), products=("Checkout",), components=names)


@pytest.mark.parametrize("kind", screens.ENGINES)
def test_the_page_stands_in_every_state(open_page: Open, kind: str) -> None:
    test = open_page("delivery", Engine(kind))
    assert not test.exception
    assert markup(test).count("<h1>") == 1
    read = Tags()
    read.feed(markup(test))
    assert {tag for tag, _ in read.found} <= OURS


def test_it_is_read_over_thirty_days_unless_the_link_says_otherwise(open_page: Open) -> None:
    engine = Engine()
    open_page("delivery", engine)
    asked = engine.asked[-1]
    assert asked["args"][0].until - asked["args"][0].since == 30 * DAY
    open_page("delivery", engine, from_="now-7d")
    assert engine.asked[-1]["args"][0].until - engine.asked[-1]["args"][0].since == 7 * DAY


def test_links_between_pages_keep_a_window_and_lose_a_default() -> None:
    assert seen().query() == {}
    assert seen().link("overview") == "/"
    assert seen(**{"from": "now-7d"}).link("overview") == "/?from=now-7d"
    assert seen(**{"from": "now-24h"}).query() == {"from": "now-24h"}
    assert seen(**{"from": "now-24h"}).link("overview") == "/"
    there = view("overview", {}, screens.NOW, environments=("production",), products=())
    assert there.link("delivery") == "/delivery"
    assert (
        view("overview", {"from": "now-6h"}, screens.NOW, environments=("production",), products=()).link("delivery")
        == "/delivery?from=now-6h"
    )
    assert seen().link("services", component="checkout-api") == "/services?component=checkout-api"


def test_both_sides_have_the_same_five_rows_and_say_that_they_blend(open_page: Open) -> None:
    said = words(open_page("delivery"))
    for side in ("system", "model"):
        for name in delivery.NAMES[side].values():
            assert name in said
    assert "A blend of 8 services : checkout-api, reco-api" in said
    assert "A blend of 7 models : fraud-score" in said
    assert "Tandem’s reading, not DORA’s" in said
    assert "MTTR" not in said
    assert "elite" not in said.lower()


def test_one_component_alone_blends_nothing(open_page: Open) -> None:
    engine = Engine()
    said = words(open_page("delivery", engine, component="checkout-api"))
    assert engine.asked[-1]["component"] == "checkout-api"
    assert "blend of" not in said.replace("nothing blended", "")
    assert "tandem show checkout-api --from 2026-10-21T18:00:00Z --to 2026-11-20T18:00:00Z --json" in said
    assert "Models" not in said.split("How these are counted")[0].split("Software")[0]


def test_the_numbers_of_the_page_are_those_of_the_engine(open_page: Open) -> None:
    found = answered(component="checkout-api")
    five = found.parts[0].now
    said = words(open_page("delivery", component="checkout-api"))
    assert five.fail_rate.k > 0
    assert five.lead_time.n >= delivery.FEWEST
    for metric in delivery.METRICS:
        assert plain(blocks.value(metric, five)) in said
        assert plain(blocks.about(metric, five, "system", True)) in said
    assert f"{five.fail_rate.k} of {five.fail_rate.n} deployments" in said


def test_reasons_of_links_stand_beside_the_changes(open_page: Open) -> None:
    said = words(open_page("delivery", component="checkout-api"))
    assert "incident Errors at the till: opened 56 min after it, with no other change between" in said
    assert "it went back to v" in said
    assert "rework: it rolled another back" in said


def test_no_deployment_is_said_and_is_no_zero() -> None:
    found = answered("silent", component="checkout-api").parts[0].now
    assert blocks.value("lead_time", found) == "–"
    assert blocks.value("fail_rate", found) == "–"
    assert {blocks.about(metric, found, "system", True) for metric in delivery.METRICS} == {
        "no deployment in this window"
    }
    assert blocks.about("fail_rate", found, "model", False) == "no source reports promotions"


def test_direction_takes_a_word_and_no_colour_of_a_state() -> None:
    shown = blocks.moved(Trend(1, "higher", False))
    assert "higher" in shown
    assert "within chance" in shown
    assert not any(state in shown for state in ("x-ok", "x-bad", "x-risk"))
    assert "too few" in blocks.moved(Trend(None, "too few to compare"))


def test_a_broken_engine_is_one_sentence(open_page: Open) -> None:
    test = open_page("delivery", Engine(broken=Unreadable("the store is gone.")))
    assert not test.exception
    assert "cannot be shown: the store is gone." in words(test)


def test_the_comparison_is_the_window_before_or_a_week_before(open_page: Open) -> None:
    engine = Engine()
    open_page("delivery", engine, from_="now-7d", compare="week")
    assert engine.asked[-1]["compare"].until == engine.asked[-1]["args"][0].until - 7 * DAY
    assert "a week before" in words(open_page("delivery", from_="now-7d", compare="week"))


def test_builds_are_hatched_where_they_failed_and_end_with_the_window(open_page: Open) -> None:
    drawn = figures(open_page("delivery"))
    assert len(drawn) == 2
    for figure in drawn:
        assert [trace["name"] for trace in figure["data"]] == ["passed", "failed"]
        assert figure["data"][1]["marker"]["pattern"]["shape"] == "/"


def test_a_service_shows_its_builds_deployments_and_flaky_tests(open_page: Open) -> None:
    engine = Engine()
    test = open_page("services", engine, component="checkout-api")
    said = words(test)
    assert not test.exception
    assert "Builds per" in said
    assert "Deployments" in said
    assert "Flaky tests and builds" in said
    assert engine.asked[-1]["which"] == "delivery"
    (table,) = test.dataframe
    assert "tests.test_cart.test_total_is_rounded_once" in table.value["Test or job"].tolist()
    assert "Component" not in table.value.columns


def test_hostile_names_are_text_and_links_stay_inside(open_page: Open) -> None:
    fake = screens.context(components=screens.components(tuple((bad, bad, f"{bad}m", "") for bad in screens.HOSTILE)))
    test = open_page("delivery", Engine("hostile"), fake)
    shown = markup(test)
    read = Tags()
    read.feed(shown)
    assert {tag for tag, _ in read.found} <= OURS
    assert "<script" not in shown
    assert "evil.test" in shown
    for tag, attributes in read.found:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "a":
            assert attributes["href"].startswith("/")


def test_headings_descend_and_every_table_header_has_a_name(open_page: Open) -> None:
    shown = markup(open_page("delivery"))
    levels = [int(level) for level in re.findall(r"<h([1-6])", shown)]
    assert levels[0] == 1
    assert set(levels[1:]) == {2}
    heads = re.findall(r"<th[^>]*>(.*?)</th>", shown)
    assert len(heads) > 40
    assert all(re.sub(r"<[^>]+>", "", head).strip() for head in heads)


def test_corrections_that_change_nothing_are_named_as_text() -> None:
    said = blocks.unfound(["<b>INC-1</b>", *(f"k{n}" for n in range(9))], "22 Oct")
    assert "&lt;b&gt;INC-1&lt;/b&gt;" in said
    assert "and 5 more" in said
