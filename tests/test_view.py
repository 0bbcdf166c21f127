# ruff: noqa: E501
"""The URL is the only state: what is understood, what is ignored, and what a link carries."""

from __future__ import annotations

import random
from urllib.parse import parse_qsl, urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard import view as views
from dashboard.view import View
from tandem.shown import Window

NOW = 1_795_197_640
KNOWN = {"environments": ("production", "staging"), "products": ("Checkout",), "components": ("checkout-api", "fraud")}


def seen(**given_keys: str) -> View:
    return views.view(
        "overview", {key.replace("from_", "from"): value for key, value in given_keys.items()}, NOW, **KNOWN
    )


def test_nothing_asked_is_the_last_day_of_whole_buckets() -> None:
    shown = seen()
    assert shown.window == Window(1_795_111_200, 1_795_197_600)
    assert shown.live
    assert shown.range == "24h"
    assert shown.query() == {}
    assert shown.link("overview") == "/"


@pytest.mark.parametrize("text", ["2026-11-20T12:00Z", "20261120T1200Z", "1795176000", "1795176000000", "now/d+12h"])
def test_every_form_of_a_time(text: str) -> None:
    assert seen(from_=text).window.since == 1_795_176_000


def test_ends_move_outwards_and_never_past_now() -> None:
    shown = seen(from_="2026-11-20T12:03Z", to="2026-11-20T12:31Z")
    assert shown.window == Window(1_795_176_000, 1_795_176_000 + 35 * 60)
    assert seen(to="now+5d").window.until == 1_795_197_600


def test_a_fixed_window_is_not_live_and_is_no_preset() -> None:
    shown = seen(from_="20261120T1200Z", to="20261120T1300Z")
    assert not shown.live
    assert shown.range == views.CUSTOM


def test_choices_are_carried_and_defaults_are_not() -> None:
    shown = seen(environment="staging", from_="now-7d", product="Checkout", live="0")
    assert shown.query() == {"from": "now-7d", "environment": "staging", "product": "Checkout", "live": "0"}
    assert shown.link("models", component="fraud", product="") == (
        "/models?from=now-7d&environment=staging&component=fraud&live=0"
    )


def test_a_shared_link_is_absolute_and_means_the_same_window_later() -> None:
    shown = seen(from_="now-6h")
    query = shown.query(**shown.fixed(12))
    assert query == {"from": "20261120T1200Z", "to": "20261120T1800Z", "as_of": "12", "live": "0"}
    later = views.view("overview", query, NOW + 86400, **KNOWN)
    assert later.window == shown.window
    assert later.as_of == 12
    assert not later.live


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("from", "yesterday"), ("from", "9e18"), ("from", "0"), ("from", "now+1d"), ("to", "0"), ("from", "-1"),
        ("from", "'; DROP TABLE x;--"), ("to", "2026-13-45T00:00Z"), ("from", "9" * 400), ("from", "now-900000y"),
        ("environment", "moon"), ("product", "<script>"), ("component", "../../etc/passwd"), ("component", "x" * 10_000),
        ("as_of", "-1"), ("as_of", "1e9"), ("as_of", "9" * 30), ("as_of", "٣"), ("live", "yes"), ("live", ""),
        ("segment", "country"), ("segment", "=DE"), ("version", "\x00"), ("version", ""), ("evil", "1"), ("next", "//evil"),
        ("from", "now-2000d"), ("from", "１７９５１７６０００"),
    ],
)  # fmt: skip
def test_what_is_not_understood_is_ignored_and_named(key: str, value: str) -> None:
    shown = views.view("overview", {key: value}, NOW, **KNOWN)
    assert shown.ignored == (key,)
    assert shown.window == seen().window
    assert shown.query() == {}


def test_mistakes_leave_the_rest_alone() -> None:
    shown = seen(from_="now-7d", environment="moon", evil="1")
    assert shown.query() == {"from": "now-7d"}
    assert set(shown.ignored) == {"environment", "evil"}


@given(st.dictionaries(st.sampled_from([*views.SCHEMA, "x"]) | st.text(max_size=20), st.text(max_size=300), max_size=8))
def test_no_query_breaks_a_page(query: dict[str, str]) -> None:
    shown = views.view("overview", query, NOW, **KNOWN)
    assert 0 < shown.window.until - shown.window.since <= views.LONGEST
    assert shown.window.until <= NOW
    again = views.view("overview", shown.query(), NOW, **KNOWN)
    assert again.ignored == ()
    assert again.window == shown.window


def test_an_environment_without_production_has_its_own_default() -> None:
    shown = views.view("overview", {}, NOW, environments=("live",), products=(), components=())
    assert shown.environment == "live"
    assert shown.ignored == ()


OTHER = {
    "from": "now-6h", "to": "20261120T1500Z", "environment": "staging", "product": "Checkout", "component": "fraud",
    "version": "12", "segment": "country=DE", "side": "model", "compare": "week", "selected": "amount", "tab": "breached",
    "as_of": 7, "live": False, "store": "0123456789ab", "saved": "ba9876543210",
    "lock": "product=Checkout", "expires": "2026-11-30T00:00:00Z", "signature": "0" * 32,
}  # fmt: skip


@pytest.mark.parametrize("key", list(views.SCHEMA))
def test_every_key_goes_into_a_link_and_comes_back(key: str) -> None:
    assert OTHER[key] != views.SCHEMA[key].default
    needed = {"as_of": 7} if key == "store" else {}  # a load is one of some store; without it nothing is
    query = seen().query(**{key: OTHER[key]}, **needed)
    assert set(query) == {key, *needed}
    again = views.view("services" if key == "tab" else "overview", query, NOW, **KNOWN)
    assert again.asked[key] == OTHER[key]
    assert again.ignored == ()
    assert again.query() == query


def test_a_saved_answer_is_left_with_its_question() -> None:
    fixed = {"from": "20261119T0000Z", "to": "20261120T0000Z", "as_of": 7, "store": "0123456789ab", "live": False}
    asked = {**fixed, "saved": "ba9876543210"}
    shown = views.view("overview", seen().query(**asked), NOW, **KNOWN)
    assert shown.saved == "ba9876543210"
    assert "saved=" in shown.link("overview", side="model"), "another look at the same answer"
    for changes in ({"component": "fraud"}, {"from": "now-6h"}, {"environment": "staging"}, {"as_of": 8}):
        assert "saved=" not in shown.link("overview", **changes)
    assert "saved=" not in shown.link("delivery")
    assert "store=" in shown.link("delivery"), "its load is still one of that store"
    assert "store=" not in shown.link("overview", as_of=None)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("saved", "0123456789aB"),
        ("saved", "0" * 13),
        ("store", ""),
        ("tab", "breached"),
        ("compare", "year"),
        ("side", "both"),
        ("compare", ""),
        ("selected", "\x00"),
    ],
)
def test_a_key_that_means_nothing_is_ignored_and_named(key: str, text: str) -> None:
    shown = seen(**{key: text})
    assert shown.asked[key] == views.SCHEMA[key].default
    assert shown.ignored == (key,)


def test_the_other_window_lies_right_before_or_a_week_earlier() -> None:
    shown = seen(from_="now-6h", compare="previous")
    assert shown.against == Window(shown.window.since - 6 * 3600, shown.window.since)
    weekly = seen(from_="now-6h", compare="week")
    assert weekly.against == Window(shown.window.since - 604_800, shown.window.until - 604_800)
    assert seen().against is None


def test_another_component_has_nothing_selected() -> None:
    shown = seen(component="fraud", selected="amount")
    assert shown.link("models", component="checkout-api") == "/models?component=checkout-api"
    assert "selected=amount" in shown.link("models")


def test_ten_thousand_broken_links_show_a_page_and_never_more_than_they_may() -> None:
    dice = random.Random(8)
    whole = urlencode({key: str(value) for key, value in OTHER.items()})
    for _ in range(10_000):
        letters = list(whole)
        for _ in range(dice.randrange(1, 12)):
            place = dice.randrange(len(letters))
            change = dice.choice(("cut", "drop", "swap", "double"))
            if change == "cut":
                letters = letters[: place + 1]
            elif change == "drop" and len(letters) > 1:
                del letters[place]
            else:
                letters[place : place + (change == "swap")] = [dice.choice("%&=+#\x00é\u202e<>'\"0Z-;,./:" + whole)]
        query = dict(parse_qsl("".join(letters), keep_blank_values=True))
        shown = views.view("overview", query, NOW, **KNOWN)
        assert 0 < shown.window.until - shown.window.since <= views.LONGEST
        assert shown.window.until <= NOW
        assert shown.environment in KNOWN["environments"]
        assert set(shown.ignored) <= set(query) | {"environment"}
