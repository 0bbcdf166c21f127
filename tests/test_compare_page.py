"""The Compare page and the key compare= of every link: what is asked of the engine, and what is said and drawn."""

from __future__ import annotations

import json
from typing import Any

import pytest

from dashboard import other
from dashboard.view import view
from tandem.shown import Half, Unreadable, Window
from tests import screens, test_dashboard
from tests.screens import NOW, Engine
from tests.test_dashboard import ATTRIBUTES, OURS, Open, Tags, figures, markup, words

open_page = test_dashboard.open_page
DAY, HOUR = 86400, 3600
LAST = NOW // 300 * 300


def seen(**given: str) -> Any:
    return view("compare", given, NOW, environments=("production",), products=(), components=("a", "b"))


# -- one value of a link


@pytest.mark.parametrize(
    "value",
    ["previous", "week", "version:7", "segment:country=DE", "segment:a=x,b=y", "stage:training",
     "change:deployment/abc:1", "window:now-14d..now-7d", "window:20261101T0000Z..20261102T0000Z"],
)  # fmt: skip
def test_what_can_be_compared_survives_the_address(value: str) -> None:
    shown = seen(compare=value)
    assert (shown.compare, shown.ignored) == (value, ())
    assert shown.other is not None
    assert shown.query().get("compare", "previous") == value


@pytest.mark.parametrize(
    "value",
    ["", "next", "version:", "segment:DE", "stage:test", "window:now-7d", "window:..now", "x" * 300, "change:\x00"],
)
def test_what_means_nothing_is_ignored_and_named(value: str) -> None:
    shown = seen(compare=value)
    assert shown.ignored == ("compare",)
    assert shown.compare == "previous"


@pytest.mark.parametrize("value", ["window:now-7d..now-14d", "window:soon..later", "window:19000101T0000Z..now"])
def test_a_window_that_is_none_is_no_side(value: str) -> None:
    assert seen(compare=value).other is None


def test_the_windows_of_the_other_side() -> None:
    week = {"from": "now-7d"}
    since, until = LAST - 7 * DAY, LAST
    assert seen(**week).window == Window(NOW // 300 * 300 - 7 * DAY, until)
    assert seen(**week).against == Window(since - 7 * DAY, since)
    assert seen(compare="week", **{"from": "now-1d"}).against == Window(LAST - 8 * DAY, LAST - 7 * DAY)
    before = seen(compare="change:deployment/d1", **{"from": "now-1d"}).against
    assert before == Window(LAST - 2 * DAY - 300, LAST - DAY - 300), "the minutes of the change are on neither side"
    free = seen(compare="window:now-3d..now-2d").against
    assert free == Window(LAST - 3 * DAY, LAST - 2 * DAY + 300), "ends move outwards to whole buckets"


def test_another_version_or_segment_is_over_the_same_window() -> None:
    shown = seen(compare="version:7", version="8", segment="country=DE", component="a")
    assert shown.against is None
    assert shown.other == Half("version", shown.window, "7", "country=DE")
    assert shown.half == Half("window", shown.window, "8", "country=DE")
    shown = seen(compare="segment:country=FR", version="8", component="a")
    assert shown.other == Half("segment", shown.window, "8", "country=FR")


def test_another_component_is_not_compared_with_this_ones_versions() -> None:
    shown = seen(compare="version:7", component="a")
    assert "compare" not in shown.query(component="b")
    assert shown.query(component="a")["compare"] == "version:7"
    assert seen(compare="week", component="a").query(component="b")["compare"] == "week"
    assert "compare" not in shown.onward("models", component="b")
    assert shown.onward("models", component="a")["compare"] == "version:7"


def test_kinds_are_read_apart() -> None:
    assert other.kind_of("version:7:8") == ("version", "7:8")
    assert other.kind_of("previous") == ("previous", "")


# -- what the engine is asked


def asked(engine: Engine) -> dict[str, Any]:
    return next(one for one in reversed(engine.asked) if one["which"] == "compare")


def test_a_week_against_the_one_before_where_nothing_is_said(open_page: Open) -> None:
    engine = Engine()
    open_page("compare", engine)
    (window, beside), one = asked(engine)["args"], asked(engine)
    assert window == Window(LAST - 7 * DAY, LAST)
    assert beside == Half("window", Window(LAST - 14 * DAY, LAST - 7 * DAY))
    assert (one["component"], one["version"], one["segment"], one["change"]) == ("", "", "", "")


def test_every_choice_of_the_address_reaches_the_engine(open_page: Open) -> None:
    engine = Engine()
    open_page("compare", engine, component="fraud-score", version="v12", segment="country=DE", compare="version:v11",
              selected="amount_usd")  # fmt: skip
    one = asked(engine)
    assert one["args"][1] == Half("version", one["args"][0], "v11", "country=DE")
    assert (one["version"], one["segment"], one["feature"]) == ("v12", "country=DE", "amount_usd")
    open_page("compare", engine, compare="change:deployment/d1")
    assert asked(engine)["change"] == "deployment/d1"


@pytest.mark.parametrize("page", ["overview", "models"])
def test_another_version_is_compared_with_on_every_page(open_page: Open, page: str) -> None:
    engine = Engine()
    more = {"component": "fraud-score"} if page == "models" else {}
    test = open_page(page, engine, compare="version:v11", **more)
    assert not test.exception
    assert any(one.get("compare") == Half("version", one["args"][-1], "v11") for one in engine.asked)
    assert "against version v11" in words(test)
    chosen = next(box for box in test.selectbox if box.label == "Compare with")
    assert (chosen.value, chosen.options[-1]) == ("version:v11", "version v11")


# -- what is said


def test_each_number_stands_with_both_sides_difference_interval_and_counts(open_page: Open) -> None:
    said = _plain(words(open_page("compare")))
    for part in (
        "A 13–20 Nov, 18:00 to 18:00 UTC", "B 6–13 Nov, 18:00 to 18:00 UTC",
        "Accuracy 92.0 % 95.0 % −3.00 points −3.16 % −4.34 to −1.80 2 000 10 000 ▼ Worse",
        "Latency p95 412 ms 300 ms +112 ms +37.0 % +60.0 ms to +170 ms 84 000 80 000 ▼ Worse",
        "Uptime 99.90 % 99.89 % +0.010 points", "= No difference to be seen",
        "Calibration error (ECE) 0.100 0.0100 +0.0900 +900 % –",
        "Volume per hour 1 200 /h 1 100 /h +100 /h +9.00 % – 84 000 80 000 Counted, not estimated",
        "Bias −0.400 none – – – 2 000 – Only in A", "2 of 3 intervals exclude 0",
    ):  # fmt: skip
        assert part in said, part


def _plain(said: str) -> str:
    return " ".join(said.replace("\u202f", " ").split())


def test_only_differences_leaves_out_what_may_be_chance(open_page: Open) -> None:
    test = open_page("compare", tab="differences")
    assert "Uptime" not in words(test)
    assert "Accuracy" in words(test)
    assert next(one for one in test.toggle if one.label == "Only differences").value is True
    plain = open_page("compare")
    plain.toggle(key="w_only").set_value(True).run()
    assert plain.query_params["tab"] == "differences"


def test_a_model_has_its_drift_both_histograms_and_mix_or_real(open_page: Open) -> None:
    test = open_page("compare", component="fraud-score")
    said = _plain(words(test))
    for part in (
        "card_country data drift 0.210 0.012 0.31 100 000 ▲ drift, moderate new: NG (412), IN (20); gone: MT (3)",
        "amount_usd data drift 0.0700 0.020 0.080 100 000 ≈ above noise, small missing 40, before 0",
        "○ not enough data no rows with a value in the window", "(prediction) prediction drift", "(label) label drift",
        "Labels are still arriving: so far 58 %",
        "country −12.4 points −14.0 points +1.20 points +0.400 points mix: the segments&#x27; shares moved",
        "DE −2.40 points −2.80 points +0.800 points −0.400 points 96.0 % of 400 in A, 95.0 % of 800 in B",
    ):  # fmt: skip
        assert part in said, part
    [figure] = figures(test)
    colours = {trace["name"]: trace["marker"]["color"] for trace in figure["data"]}
    assert colours == {"A": "#3B7DE8", "B": "#D06A10"}
    assert [round(sum(trace["y"]), 6) for trace in figure["data"]] == [1, 1]


def test_a_row_without_data_is_hatched_and_never_low(open_page: Open) -> None:
    shown = markup(open_page("compare", component="fraud-score"))
    row = next(part for part in shown.split("<tr") if "device_age" in part)
    assert "ab-lacking" in row
    assert "not enough data" in row
    assert ">0" not in row.partition("46")[0]


def test_many_intervals_say_how_many_would_exclude_zero_by_chance(open_page: Open, monkeypatch: Any) -> None:
    from tests import screens_compare

    few = screens_compare.rows("")
    monkeypatch.setattr(screens_compare, "rows", lambda component: few * 5)
    assert "of 15 about 1 would exclude 0 if nothing had changed" in words(open_page("compare"))


def test_nothing_on_either_side_is_said(open_page: Open) -> None:
    assert "Nothing was measured on either side." in words(open_page("compare", Engine("empty")))


def test_no_number_that_differs_is_said(open_page: Open, monkeypatch: Any) -> None:
    from tests import screens_compare

    calm = screens_compare.rows("")[2:3]
    monkeypatch.setattr(screens_compare, "rows", lambda component: calm)
    assert "No number differs by more than its 95 % interval." in words(open_page("compare", tab="differences"))


def test_a_window_that_cannot_be_read_leaves_the_choices_in_place(open_page: Open) -> None:
    test = open_page("compare", compare="window:soon..later")
    assert not test.exception
    assert "there is no such window to compare with; choose another one." in words(test)
    assert [box.value for box in test.text_input if box.label.startswith("B:")] == ["soon", "later"]
    broken = open_page("compare", Engine(broken=Unreadable("the store is gone.")))
    assert "the store is gone." in words(broken)


# -- choosing


def beside(test: Any) -> Any:
    return next(box for box in test.selectbox if box.label == "B: compare with")


def test_versions_segments_and_changes_can_be_chosen(open_page: Open) -> None:
    test = open_page("compare", component="fraud-score", version="v12")
    options = beside(test).options
    assert options[:2] == ["Previous period", "One week before"]
    assert {"Version v11", "Segment country=DE", "Another window"} <= set(options)
    assert "Version v12" not in options, "that is A"
    assert any(one.startswith("Before checkout-api 4.18.2 of checkout-api") for one in options)
    beside(test).set_value("version:v11").run()
    assert test.query_params["compare"] == "version:v11"
    next(box for box in test.selectbox if box.label == "A: version").set_value("").run()
    assert "version" not in test.query_params


def test_a_change_also_sets_where_a_begins(open_page: Open) -> None:
    test = open_page("compare")
    beside(test).set_value("change:deployment/d2").run()
    begin = LAST - 7 * DAY + 2 * HOUR
    assert test.query_params["compare"] == "change:deployment/d2"
    shown = view("compare", dict(test.query_params.items()), NOW, environments=(),
                 products=(), components=())  # fmt: skip
    assert shown.window.since == begin
    assert shown.against.until == begin - 300
    assert "Before and after" in words(test)
    assert "checkout-api 4.18.2" in words(test)


def test_another_window_begins_as_the_one_that_was_compared_and_can_be_typed(open_page: Open) -> None:
    test = open_page("compare", from_="now-1d")
    beside(test).set_value("window:").run()
    assert test.query_params["compare"] == "window:20261118T1800Z..20261119T1800Z"
    test.text_input(key="w_begin").set_value("now-30d").run()
    assert test.query_params["compare"] == "window:now-30d..20261119T1800Z"
    test.text_input(key="w_end").set_value("").run()
    assert test.query_params["compare"] == "window:now-30d..20261119T1800Z"
    assert "A window has a begin and an end" in test.toast[0].value


@pytest.mark.parametrize("component", ["", "fraud-score"])
def test_names_from_outside_are_text_here_too(open_page: Open, component: str) -> None:
    test = open_page("compare", Engine("hostile"), **({"component": component} if component else {}))
    assert not test.exception
    read = Tags()
    read.feed(markup(test))
    assert {tag for tag, _ in read.found} <= OURS
    for _, attributes in read.found:
        assert set(attributes) <= ATTRIBUTES
        assert attributes.get("href", "/").startswith("/")
        assert not attributes.get("href", "/").startswith("//")
    assert all("<a " not in json.dumps(figure) for figure in figures(test))
    assert "evil.test" in markup(test)


def test_a_hostile_comparison_in_the_address_is_ignored(open_page: Open) -> None:
    test = open_page("compare", compare="version:<img src=x onerror=alert(1)>" + "x" * 200)
    assert "<img" not in markup(test)
    assert "Ignored in this link" in words(test)
    assert screens.NOW == NOW
