# ruff: noqa: E501
"""Every page in every state, with a made-up engine: what is said, what is linked, what is asked of the engine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from tandem.shown import Card, Unreadable, Window
from tests import screens
from tests.screens import Engine, Fake

DAY = Window(1_795_111_200, 1_795_197_600)
PAGES = ("overview", "services", "models", "sources")
Open = Callable[..., AppTest]


def script(page: str) -> None:
    from dashboard import app

    app.main(page)


@pytest.fixture
def open_page(monkeypatch: pytest.MonkeyPatch) -> Open:
    def opened(page: str = "overview", engine: Engine | None = None, fake: Fake | None = None, **query: str) -> AppTest:
        screens.install(fake or screens.context(), engine or Engine(), monkeypatch.setattr)
        st.cache_resource.clear()
        test = AppTest.from_function(script, kwargs={"page": page}, default_timeout=30)
        for key, value in query.items():
            test.query_params[key.rstrip("_")] = value
        return test.run()

    return opened


def markup(test: AppTest) -> str:
    """All finished HTML of a page, as the element gets it."""
    return "\n".join(json.loads(one.proto.json)["html"] for one in test.get("bidi_component"))


def words(test: AppTest) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", markup(test)))


def figures(test: AppTest) -> list[dict[str, Any]]:
    return [json.loads(one.proto.spec) for one in test.get("plotly_chart")]


OURS = frozenset({
    "div", "span", "h1", "h2", "h3", "b", "small", "p", "a", "section", "table", "caption", "colgroup", "col", "thead", "tbody",
    "tr", "th", "td", "ol", "ul", "li", "dl", "dt", "dd", "code", "details", "summary", "svg", "path", "circle", "rect",
    "defs", "pattern", "button", "input", "label",
})  # fmt: skip
ATTRIBUTES = frozenset({
    "class", "style", "role", "scope", "colspan", "title", "href", "data-go", "data-cell", "tabindex", "aria-hidden",
    "aria-label", "aria-current", "viewbox", "d", "fill", "stroke", "stroke-width", "preserveaspectratio", "cx", "cy", "r", "x", "y", "rx",
    "width", "height", "id", "patternunits", "patterntransform", "type", "aria-haspopup", "data-ask", "data-of", "data-why", "value",
    "hidden", "placeholder", "data-find", "data-some", "data-name", "data-found", "data-nothing", "stroke-dasharray", "data-href", "for", "autocomplete", "maxlength",
})  # fmt: skip


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, {name: value or "" for name, value in attrs}))


CASES = [
    (page, kind, {"component": component} if component else {})
    for page, component in (("overview", ""), ("services", ""), ("services", "checkout-api"), ("models", ""),
                            ("models", "fraud-score"), ("delivery", ""), ("compare", ""), ("compare", "fraud-score"),
                            ("sources", ""))
    for kind in screens.ENGINES
]  # fmt: skip


@pytest.mark.parametrize(("page", "kind", "query"), CASES)
def test_every_page_stands_in_every_state(open_page: Open, page: str, kind: str, query: dict[str, str]) -> None:
    test = open_page(page, Engine(kind), **query)
    assert not test.exception
    assert len(test.get("page_link")) == 7
    assert markup(test).count("<h1>") == 1
    assert len(markup(test)) < 400_000
    for figure in figures(test):
        assert figure["layout"]["height"]


@pytest.mark.parametrize(("page", "kind", "query"), [case for case in CASES if case[1] == "hostile"])
def test_names_from_outside_are_text(open_page: Open, page: str, kind: str, query: dict[str, str]) -> None:
    test = open_page(page, Engine(kind), **query)
    shown = markup(test)
    assert "evil.test" in shown
    read = Tags()
    read.feed(shown)
    assert {tag for tag, _ in read.found} <= OURS
    for _, attributes in read.found:
        assert set(attributes) <= ATTRIBUTES
        href = attributes.get("href", "/")
        assert href.startswith("/")
        assert not href.startswith("//")
    for figure in figures(test):
        assert "<img" not in json.dumps(figure)
        assert "<a " not in json.dumps(figure)


def test_the_overview_shows_both_sides_in_the_same_grammar(open_page: Open) -> None:
    test = open_page()
    said = words(test)
    assert "System and model health" in said
    assert "19–20 Nov, 18:00 to 18:00 UTC · data 40 s old" in said
    assert "8 services · 3 need attention" in said
    assert "7 models · 3 need attention" in said
    assert markup(test).count('class="c-card') == 8
    assert "41 % overspent" in said
    rows = re.findall(r'<tr class="m-row".*?</tr>', markup(test))
    assert len(rows) == 8
    assert "Checkout" in rows[0]
    assert "no model" in rows[-1]


def test_headings_descend_and_every_table_header_has_a_name(open_page: Open) -> None:
    for page, query in (("overview", {}), ("models", {"component": "fraud-score"}), ("sources", {})):
        shown = markup(open_page(page, **query))
        levels = [int(level) for level in re.findall(r"<h([1-6])", shown)]
        assert levels[0] == 1
        assert set(levels[1:]) <= {2, 3}
        for inside in re.findall(r"<th[^>]*>(.*?)</th>", shown):
            assert re.sub(r"<[^>]+>", "", inside).strip()


def test_cells_are_links_that_keep_the_window(open_page: Open) -> None:
    shown = markup(open_page(from_="now-7d", environment="staging"))
    assert 'href="/services?from=now-7d&amp;environment=staging&amp;component=checkout-api"' in shown
    assert 'href="/models?from=now-7d&amp;environment=staging&amp;component=fraud-score"' in shown


def test_a_state_is_a_shape_and_a_word_not_only_a_colour(open_page: Open) -> None:
    shown = markup(open_page())
    cell = re.search(r'<td class="m-cell"[^>]*><a class="m-link x-bad".*?</td>', shown)
    assert cell
    assert "<path d=" in cell[0]
    assert "Breached" in re.sub(r"<[^>]+>", " ", cell[0])


def test_unknown_says_why(open_page: Open) -> None:
    assert "no labels yet" in words(open_page())
    assert "no traffic" in words(open_page(engine=Engine("silent")))
    assert "x-ok" not in re.sub(r'<div class="s-legend">.*?</div>', "", markup(open_page(engine=Engine("silent"))))


def test_one_timeline_and_its_changes_as_a_list(open_page: Open) -> None:
    test = open_page()
    assert len(figures(test)) == 1
    assert "INC-482 declined payments" in words(test)
    assert test.get("plotly_chart")[0].proto.alt.startswith("Good requests and Correct predictions")


def test_changes_left_out_are_counted(open_page: Open) -> None:
    assert "812 more changes" in words(open_page(engine=Engine("crowd")))
    assert "The worst 60 of 200 rows" in words(open_page(engine=Engine("crowd")))


def test_an_empty_store_says_what_to_run(open_page: Open) -> None:
    said = words(open_page(engine=Engine("empty"), fake=screens.context(components=())))
    for command in ("tandem init", "tandem import", "tandem demo"):
        assert command in said
    said = words(open_page(engine=Engine("empty")))
    assert "tandem sync" in said


def test_a_first_collection_is_said(open_page: Open) -> None:
    assert "first collection is running" in words(open_page(fake=screens.context(first_done=False)))
    assert "first collection is running" not in words(open_page())


def test_data_that_ended_days_ago_is_said_and_its_window_offered(open_page: Open) -> None:
    test = open_page(engine=Engine(ended=screens.NOW - 12 * 86400))
    assert "The data ends 8 Nov 18:00 UTC, 12 d ago" in words(test)
    assert 'href="/?from=20261107T1805Z&amp;to=20261108T1805Z&amp;live=0"' in markup(test)


def test_fresh_data_is_not_said_to_have_ended(open_page: Open) -> None:
    assert "The data ends" not in words(open_page())


@pytest.mark.parametrize("page", PAGES)
def test_a_hostile_address_is_ignored_and_said_once(open_page: Open, page: str) -> None:
    query = {
        "from_": "<img src=http://evil.test>",
        "<script>": "1",
        "component": "![x](http://evil.test)",
        "as_of": "DROP",
    }
    test = open_page(page, **query)
    assert not test.exception
    shown = markup(test)
    assert words(test).count("Ignored in this link") == 1
    assert "evil.test" not in shown
    assert "&lt;script&gt;" in shown


def test_a_good_address_says_nothing(open_page: Open) -> None:
    assert "Ignored" not in words(open_page(from_="now-7d", live="0"))


def test_an_engine_that_fails_leaves_header_and_controls(open_page: Open) -> None:
    test = open_page(engine=Engine(broken=Unreadable("load 99 does not exist: the newest is 12.")), as_of="99")
    assert not test.exception
    assert "load 99 does not exist" in words(test)
    assert "System and model health" in words(test)
    assert len(test.get("page_link")) == 7


@pytest.mark.parametrize("error", [ValueError("secret path /var/x"), KeyError("x"), OSError("disk")])
def test_inner_errors_are_not_shown_to_people(open_page: Open, error: Exception) -> None:
    test = open_page(engine=Engine(broken=error))
    assert not test.exception
    assert "cannot be shown" in words(test)
    assert "secret" not in markup(test)


def test_a_mistake_of_ours_is_not_hidden(open_page: Open) -> None:
    assert open_page(engine=Engine(broken=TypeError("ours"))).exception


def test_one_panel_fails_and_the_others_stand(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    from dashboard import overview

    def broken(*args: object, **more: object) -> None:
        raise ValueError("no such lane")

    monkeypatch.setattr(overview, "timeline", broken)
    test = open_page()
    assert not test.exception
    assert "What changed, and when cannot be shown" in words(test)
    assert markup(test).count('class="c-card') == 8


def test_a_control_is_written_into_the_address(open_page: Open) -> None:
    test = open_page()
    test.selectbox(key="w_environment").set_value("staging").run()
    assert test.query_params["environment"] == "staging"
    test.get("segmented_control")[0].set_value("7d").run()
    assert test.query_params == {"environment": "staging", "from": "now-7d"}
    test.toggle(key="w_live").set_value(False).run()
    assert test.query_params["live"] == "0"
    assert test.selectbox(key="w_environment").value == "staging"


def test_the_address_wins_over_what_a_control_remembers(open_page: Open) -> None:
    test = open_page()
    test.selectbox(key="w_environment").set_value("staging").run()
    test.query_params.clear()
    test.run()
    assert test.selectbox(key="w_environment_1").value == "production"


def test_a_fixed_window_offers_the_way_back(open_page: Open) -> None:
    test = open_page(from_="20261110T0000Z", to="20261111T0000Z")
    [back] = [one for one in test.button if one.label == "Back to live"]
    back.click().run()
    assert test.query_params == {}


def test_share_is_absolute(open_page: Open) -> None:
    test = open_page(environment="staging")
    assert (
        test.code[0].value
        == f"/?from=20261119T1800Z&to=20261120T1800Z&environment=staging&as_of=12&live=0&store={'0' * 12}"
    )


def test_the_engine_is_asked_what_the_address_says(open_page: Open) -> None:
    engine = Engine()
    open_page("models", engine, component="fraud-score", from_="now-6h", version="v11", segment="country=DE", as_of="7")
    asked = next(one for one in engine.asked if one["which"] == "detail")
    assert [one["which"] for one in engine.asked] == ["detail", "since"]
    assert asked["args"] == ("fraud-score", Window(DAY.until - 6 * 3600, DAY.until))
    assert (asked["version"], asked["segment"], asked["as_of"]) == ("v11", "country=DE", 7)


def test_one_read_per_page_and_none_for_the_same_question(open_page: Open) -> None:
    engine, fake = Engine(), screens.context()
    test = open_page(engine=engine, fake=fake)
    test.run()
    assert len(engine.asked) == 1
    fake.loads += 1
    test.run()
    assert len(engine.asked) == 2


def test_sources_say_what_to_do_next(open_page: Open) -> None:
    test = open_page("sources")
    said = words(test)
    assert "7 configured · 1 failing · 1 late · 1 never run" in said
    assert said.index("legacy-ci") < said.index("fraud-log") < said.index("checkout-ci")
    assert "Put a valid token into JENKINS_TOKEN" in said
    assert "time without an offset" in said
    assert "810 without a component" in said
    assert test.code[-1].value.startswith("[[source.map]]\ncomponent")


def test_pull_all_now_asks_for_every_source(open_page: Open) -> None:
    fake = screens.context()
    test = open_page("sources", fake=fake)
    next(one for one in test.button if one.label == "Pull all now").click().run()
    assert [set(names) for names in fake.pulled] == [
        {"checkout-ci", "prod", "registry", "fraud-log", "legacy-ci", "traces", "features"}
    ]


def test_a_service_shows_latency_failures_changes_and_its_model(open_page: Open) -> None:
    test = open_page("services", component="checkout-api")
    said = words(test)
    assert "1 of 4 targets breached" in said
    assert len(figures(test)) == 5
    assert "Partners" in said
    assert 'href="/models?component=fraud-score"' in markup(test)


def test_a_model_on_the_services_page_is_still_a_model(open_page: Open) -> None:
    assert "Confusion matrix" in words(open_page("services", component="fraud-score"))


def test_nothing_measured_is_said(open_page: Open) -> None:
    said = words(open_page("models", Engine("empty"), component="ranker"))
    assert "Nothing has been measured" in said
    assert "No prediction was counted in this window" in said


def test_the_matrix_is_one_tab_stop_with_a_place_for_every_cell(open_page: Open) -> None:
    places = re.findall(r'data-cell="(\d+):(\d+)"', markup(open_page()))
    assert len(places) == len(set(places)) == 60


def test_other_time_zones_are_named(open_page: Open) -> None:
    assert "19:00 to 19:00 CET" in words(open_page(fake=screens.context(timezone="Europe/Berlin")))
    assert not open_page(fake=screens.context(timezone="Moon/Crater")).exception


def test_a_number_without_a_target_has_no_state(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = replace(screens.cells_of("fraud-score", "model")["freshness"], objective=None, state="unknown")
    monkeypatch.setitem(screens.ENGINES, "full", (
        lambda w, now: replace(screens.overview(w, now), cards={"system": (), "model": (Card(plain, 1, 0),)}),
        screens.sources, screens.detail,
    ))  # fmt: skip
    card = re.search(r'<div class="c-card.*?</div>', markup(open_page()))
    assert card
    assert "no target" in card[0]
    assert "x-chip" not in card[0]
    assert "99.70" in card[0]


def test_trouble_of_the_owner_is_said(open_page: Open) -> None:
    assert "tandem.toml cannot be read" in words(open_page(fake=screens.context(trouble="tandem.toml cannot be read.")))


def test_compared_cards_and_cells_say_what_moved_in_neutral_colours(open_page: Open) -> None:
    engine = Engine()
    test = open_page(engine=engine, compare="previous")
    assert engine.asked[-1]["compare"] == Window(DAY.since - 86_400, DAY.since)
    said = words(test)
    assert "against 18–19 Nov, 18:00 to 18:00 UTC" in said
    assert "down 0.50 points against the previous 24 h" in said
    assert "up 24 ms against the previous 24 h" in said
    assert "nothing to compare with the previous 24 h" in said
    card = re.search(r'<div class="c-card.*?</div>', markup(test))
    assert card
    assert 'class="v-other"' in card[0]
    moved = re.findall(r'<span class="(?:c|m)-moved"[^>]*>.*?</span>', markup(test))
    assert len(moved) > 40
    assert not any(state in one for one in moved for state in ("x-ok", "x-risk", "x-bad"))


def test_nothing_is_compared_unless_asked(open_page: Open) -> None:
    engine = Engine()
    test = open_page(engine=engine)
    assert engine.asked[-1]["compare"] is None
    assert "-moved" not in markup(test)
    assert "v-other" not in markup(test)


@pytest.mark.parametrize("page", ["overview", "services", "models"])
def test_every_page_of_numbers_can_be_compared(open_page: Open, page: str) -> None:
    test = open_page(page)
    test.selectbox(key="w_compare").set_value("week").run()
    assert test.query_params["compare"] == "week"
    assert "one week before" in words(test)
    component = {"services": "checkout-api", "models": "fraud-score"}.get(page)
    if component:
        engine = Engine()
        assert "down 0.50 points against one week before" in words(
            open_page(page, engine, component=component, compare="week")
        )
        assert engine.asked[-1]["compare"] == Window(DAY.since - 7 * 86_400, DAY.until - 7 * 86_400)


def test_the_overview_narrows_to_a_component_and_to_a_side(open_page: Open) -> None:
    engine = Engine()
    test = open_page(engine=engine)
    test.selectbox(key="w_component_overview").set_value("eta-api").run()
    assert test.query_params["component"] == "eta-api"
    assert engine.asked[-1]["component"] == "eta-api"
    test.selectbox(key="w_product").set_value("Search").run()
    assert test.query_params == {"product": "Search"}
    assert test.selectbox(key="w_component_overview_1").options == ["All components", "search-api", "ranker"]
    only = open_page(side="model")
    assert markup(only).count('class="c-card') == 4
    assert 'scope="colgroup"' in markup(only)
    assert "Uptime" not in words(only)
    assert "sign-in" not in words(only).lower()


def test_the_environment_control_stands_where_there_is_more_than_one(open_page: Open) -> None:
    assert open_page().selectbox(key="w_environment").options == ["production", "staging"]
    alone = open_page(fake=screens.context(sources=(screens.source("production"),)))
    assert [one.key for one in alone.selectbox] == ["w_product", "w_component_overview", "w_compare"]


def test_few_values_are_steps_and_many_a_line() -> None:
    from dashboard.blocks.spark import spark

    def drawn(values: tuple[float | None, ...]) -> list[str]:
        return re.findall(r'class="v-line" d="([^"]*)"', spark(values, None))

    assert drawn((0.5, 1.0)) == ["M0 38H100V2H200"]
    assert drawn((0.5, None, 1.0, None)) == ["M0 38H50M100 2H150"]
    assert drawn((0.5,) * 50 + (1.0,) * 51)[0].startswith("M0 38H2H4")


def test_late_is_not_said_while_the_first_collection_runs(open_page: Open) -> None:
    assert "Late: evidently" in words(open_page())
    early = words(open_page(fake=screens.context(first_done=False)))
    assert "Still collecting: evidently" in early
    assert "Late:" not in early


def test_a_feature_is_chosen_by_link_or_list_and_stands_in_the_address(open_page: Open) -> None:
    engine = Engine()
    test = open_page("models", engine, component="fraud-score")
    assert "Reference, 100 000 rows" in words(test)
    assert 'href="/models?component=fraud-score&amp;selected=amount_usd"' in markup(test)
    assert test.selectbox(key="w_selected_fraud-score").value == "card_country"
    test.selectbox(key="w_selected_fraud-score").set_value("amount_usd").run()
    assert test.query_params == {"component": "fraud-score", "selected": "amount_usd"}
    assert engine.asked[-1]["feature"] == "amount_usd"
    assert test.selectbox(key="w_selected_fraud-score").value == "amount_usd"
    assert re.search(r'<tr aria-current=true><th scope="row"><a[^>]*>amount_usd', markup(test))
    test.selectbox(key="w_component_models").set_value("two-tower").run()
    assert test.query_params == {"component": "two-tower"}


def test_what_a_control_showed_before_is_not_taken_for_a_choice(open_page: Open) -> None:
    """A browser may send once more what stood there before the address changed: the address wins."""
    test = open_page("models", component="fraud-score")
    before = test._tree.get_widget_states()
    test.query_params["selected"] = "amount_usd"
    wanted = {"component": "fraud-score", "selected": "amount_usd"}
    assert test.run().query_params == wanted
    late = test._run(before)
    assert not late.exception
    assert late.query_params == wanted


def test_a_feature_that_is_not_there_is_said(open_page: Open) -> None:
    test = open_page("models", component="fraud-score", selected="<b>gone</b>")
    assert not test.exception
    assert "There is no feature &lt;b&gt;gone&lt;/b&gt; in this window" in markup(test)


def test_versions_with_aliases_and_samples_are_tables(open_page: Open) -> None:
    test = open_page("models", component="fraud-score")
    versions, samples = (one.value for one in test.dataframe)
    assert list(versions["Version"]) == ["v12", "v11"]
    assert list(versions["Aliases"]) == ["champion, canary", "previous"]
    assert list(samples["Name"]) == ["loss", "accuracy"]
    assert list(samples["Stage"]) == ["training", "evaluation"]


def test_hostile_names_in_tables_are_plain_and_visible(open_page: Open) -> None:
    test = open_page("models", Engine("hostile"), component="fraud-score")
    for table in test.dataframe:
        for one in table.value.to_numpy().flatten():
            assert not re.search("[\x00-\x1f\u202a-\u202e\u2066-\u2069]", str(one))


def test_sources_shorten_paths_and_say_since_when_they_are_quiet(
    open_page: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = "/srv/exports/company/predictions/fraud-detector/2026/*.parquet"
    full = screens.sources(DAY)
    quiet = replace(full.sources[0], scope=path, newest=screens.NOW - 4 * 86_400)
    monkeypatch.setitem(screens.ENGINES, "full", (
        screens.overview, lambda w, now: replace(full, sources=(quiet, *full.sources[1:])), screens.detail
    ))  # fmt: skip
    test = open_page("sources")
    assert f'title="{path}"' in markup(test)
    assert path not in words(test)
    assert "2026/*.parquet" in words(test)
    assert "No data since 16 Nov 18:00 UTC" in words(test)


def test_sources_are_not_late_while_the_first_collection_runs(open_page: Open) -> None:
    test = open_page("sources", fake=screens.context(first_done=False))
    said = words(test)
    assert "still collecting, 4 up to date" in said
    assert said.count("Still collecting") == 2
    assert "Late" not in said
    assert "Failing" in said


def test_style_and_script_travel_once_for_all_elements(open_page: Open) -> None:
    mounts = open_page("models", component="fraud-score").get("bidi_component")
    assert len(mounts) > 8
    assert sum("c-card {" in one.proto.json for one in mounts) == 1
    assert sum(len(one.proto.js_content) > 1000 for one in mounts) == 1
    assert all(not one.proto.css_content for one in mounts)
