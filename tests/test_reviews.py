"""Moments and reviews: what is kept, plain files and back, text of strangers, and the review that writes itself."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.blocks.reviews import agreed, moment_list, number, numbers, review_list
from dashboard.blocks.written import inside, written
from dashboard.view import view
from tandem import report, reviews, weekly
from tandem.reviews import Action, Moment, Review
from tandem.saving import Figure
from tandem.shown import Window
from tandem.store.file import Store, StoreRefused, open_store
from tests import fakes, screens
from tests.delivery_screens import delivery_of
from tests.screens import Engine
from tests.test_dashboard import OURS, Open, Tags, markup, open_page, words
from tests.test_saving import House, facts, figure

__all__ = ["open_page"]
MOMENT = Moment("0123456789ab", "The outage", fakes.NOW - 3600, fakes.NOW, "Two nodes at once", "Ada", "services",
                component="checkout-api", as_of=7, made=fakes.NOW)  # fmt: skip
REVIEW = Review("ba9876543210", "Week 38", "# Week 38\n\nIt went well.", fakes.NOW - 7 * 86400, fakes.NOW, as_of=7,
                author="Ada", made=fakes.NOW, actions=(Action("Mend the probe", "Grace", "2026-09-30"),),
                figures=(figure(objective="o", budget_left=-0.25), figure(good=None, total=None)))  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def test_a_moment_is_found_by_its_stretch(store: Store) -> None:
    reviews.put(store, MOMENT)
    assert reviews.moments(store) == [MOMENT]
    assert reviews.moments(store, MOMENT.until, MOMENT.until + 60) == []
    assert reviews.moments(store, MOMENT.since - 60, MOMENT.since + 1) == [MOMENT]
    reviews.drop(store, MOMENT, fakes.NOW + 1)
    assert reviews.moments(store) == []


def test_a_review_is_edited_not_begun_again(store: Store) -> None:
    reviews.put(store, REVIEW)
    told = (*REVIEW.actions, Action("Write it down", done=True))
    reviews.put(store, reviews.edited(REVIEW, "New text", "Week 38, again", told, "Grace", fakes.NOW + 60))
    found = reviews.review(store, REVIEW.id)
    assert found is not None
    assert (found.title, found.text, found.author, found.actions) == ("Week 38, again", "New text", "Grace", told)
    assert found.figures == REVIEW.figures, "the numbers of then stay"
    assert reviews.reviews(store) == [found]
    assert reviews.review(store, "") is None
    assert reviews.review(store, "000000000000") is None


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (replace(MOMENT, name=" "), "needs a name"),
        (replace(MOMENT, name="x" * 121), "121 characters"),
        (replace(MOMENT, note="x" * 2001), "2,001 characters"),
        (replace(MOMENT, since=MOMENT.until), "runs backwards"),
        (replace(MOMENT, id="../../etc"), "not twelve hex digits"),
        (replace(REVIEW, text="x" * 200_001), "200,001 characters"),
        (replace(REVIEW, actions=(Action(" "),)), "what is to be done"),
        (replace(REVIEW, actions=(Action("x", due="next week"),)), "'next week' is not a date"),
    ],
)
def test_what_cannot_be_kept_gets_a_sentence(store: Store, bad: Any, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        reviews.put(store, bad)
    assert reviews.moments(store) == []
    assert reviews.reviews(store) == []


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\x00"), max_size=60)
NAMES = TEXT.filter(lambda one: bool(one.strip()))


@given(NAMES, TEXT, TEXT, NAMES, TEXT, st.booleans())
def test_a_plain_file_comes_back_as_it_was(name: str, note: str, who: str, what: str, owner: str, done: bool) -> None:
    moment = replace(MOMENT, name=name, note=note, author=who, product=who)
    assert reviews.parsed(reviews.plain(moment)) == moment
    review = replace(REVIEW, title=name, text=note, author=who, actions=(Action(what, owner, "2026-01-02", done),))
    assert reviews.parsed(reviews.plain(review)) == review


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("", "no moment or review"),
        ("# A review", "no moment or review"),
        ("+++\nkind = ", "no moment or review"),
        ("+++\nkind = \n+++\n\nx", "not TOML"),
        ('+++\nkind = "plan"\n+++\n\nx', "its kind is 'plan'"),
        ('+++\nkind = "moment"\nid = "0123456789ab"\n+++\n\nx', "not those of a moment"),
        ('+++\nkind = "moment"\nroot = "yes"\n+++\n\nx', "not those of a moment"),
        (reviews.plain(MOMENT).replace("0123456789ab", "0123456789aX"), "not twelve hex digits"),
    ],
)
def test_another_file_gets_a_sentence(given: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        reviews.parsed(given)


# -- text of strangers


HOSTILE = [
    "<script>alert(1)</script>", "<img src=http://evil.test/a onerror=x()>", "![p](http://evil.test/b)",
    "[l](javascript:alert(1))", "[l](//evil.test)", "[l](http://evil.test/c)", "<http://evil.test/d>",
    "[l](/\\evil.test)",
    "[a]: http://evil.test\n\n[a]", "[[number <script> | <b>]]", "[[moment '\"><script>]]", "\ue0000\ue001", "`<b>`",
    *screens.HOSTILE,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_markdown_stays_text(text: str) -> None:
    read = Tags()
    markup = written(text, lambda kind, names: f"<b>{len(names)}</b>")
    read.feed(markup)
    assert {tag for tag, _ in read.found} <= {
        "div", "p", "b", "code", "a", "em", "strong", "h1", "h2", "ul", "ol", "li", "br", "pre", "blockquote", "hr",
    }  # fmt: skip
    for tag, attributes in read.found:
        assert set(attributes) <= {"class", "href", "data-go", "start", "title"}
        assert inside(attributes.get("href", "/")), (tag, attributes)


def test_links_inside_and_parts_are_drawn() -> None:
    text = "[here](/services?component=a&from=now-6h) and [[number a | b c]]\n\n[[timeline]]\n\n"
    said = written(text + "| x | y |\n|---|---|\n| 1 | 2 |",
                   lambda kind, names: f"<i>{kind}:{'+'.join(names)}</i>")  # fmt: skip
    assert '<a class="x-link" data-go href="/services?component=a&amp;from=now-6h">here</a>' in said
    assert "<i>number:a+b c</i>" in said
    assert "<i>timeline:</i>" in said
    assert "<td>2</td>" in said
    assert written("[[number a | b]] " * 150, lambda kind, names: "<i></i>").count("<i></i>") == 100


def test_numbers_of_then_stand_beside_those_of_now() -> None:
    then = figure(objective="o", good=90, total=100, state="ok")
    now = figure(objective="o", good=80, total=100, state="breached")
    said = numbers([then, figure()], {now.key: now})
    assert "90.0" in said
    assert "<b>80.0" in said
    assert said.count("<tr>") == 2, "one number has no objective"
    assert "the same" in numbers([then], {then.key: then})
    assert "not there" in numbers([then], {})
    assert "then 90.0" in number(then, now, "a o")
    assert "not there" in number(None, None, "a o")


def test_what_is_overdue_is_said() -> None:
    said = agreed(
        [Action("late", due="2026-01-01"), Action("soon", due="2026-01-03"), Action("did", done=True)], date(2026, 1, 2)
    )
    assert re.findall(r"overdue|open|done", re.sub("<[^>]*>", " ", said)) == ["overdue", "open", "done"]
    assert "Nothing is agreed" in agreed([], date(2026, 1, 2))


def test_lists_lead_to_what_was_marked_and_escape_it() -> None:
    seen = view("review", {}, screens.NOW, environments=("production",), products=(), components=())
    there = moment_list([MOMENT], seen)
    assert "/services?from=" in there
    assert "component=checkout-api" in there
    assert "as_of=7" in there
    for bad in screens.HOSTILE:
        read = Tags()
        read.feed(moment_list([replace(MOMENT, name=bad, note=bad, author=bad, product=bad, page="overview")], seen)
                  + review_list([replace(REVIEW, title=bad, author=bad)], seen, seen.zone)
                  + agreed([Action(bad, bad)], date(2026, 1, 1)))  # fmt: skip
        assert {tag for tag, _ in read.found} <= {"ul", "li", "a", "span", "p", "svg", "path", "circle"}


# -- the review that writes itself


@pytest.mark.parametrize("kind", screens.ENGINES)
def test_it_says_what_the_window_held_and_stays_text(kind: str) -> None:
    window = Window(screens.NOW - 7 * 86400, screens.NOW)
    found = screens.ENGINES[kind][0](window, screens.NOW)
    cells = [cell for row in found.rows for cell in (*row.system.values(), *row.models.values())]
    text = weekly.text(found, delivery_of(kind, screens.components(), window, screens.NOW), cells)
    for name in ("Budgets", "Incidents", "Changes", "Drift", "Promotions", "Delivery", "Sources", "Notes"):
        assert f"## {name}\n" in text
    read = Tags()
    read.feed(written(text, lambda kind, names: ""))
    assert {tag for tag, _ in read.found} <= OURS | {"div", "p", "ul", "li", "h2", "strong", "em"}
    assert not [tag for tag, attributes in read.found if tag in ("a", "code", "em")]
    if kind == "full":
        breached = sum(cell.state == "breached" and cell.objective is not None for cell in cells)
        assert text.count(" is breached: ") == min(breached, weekly.LISTED)


def test_it_is_begun_from_the_store_with_the_numbers_of_then(tmp_path: Path) -> None:
    house = House(tmp_path, "0.95")
    house.take(*facts(9))
    window = Window(fakes.NOW - 3600, fakes.NOW)
    one = report.begun(house, window, component="shop", author="Ada", now=fakes.NOW)
    reviews.checked(one)
    assert one.title.startswith("Review of 2026-09-21")
    assert "is breached: 100 % of its budget overspent over 7d, 12 bad of 120 in this window" in one.text
    assert "[[number shop | availability]]" in one.text
    assert [(each.component, each.good, each.total) for each in one.figures] == [("shop", 108, 120)]
    reviews.put(house.store, one)
    assert reviews.review(house.store, one.id) == one
    house.store.close()


def test_a_store_that_is_only_read_takes_no_review(store: Store) -> None:
    path = store.path
    store.close()
    with Store(path, read_only=True) as reading, pytest.raises(StoreRefused, match="only read"):
        reviews.put(reading, REVIEW)
    assert isinstance(REVIEW.figures[0], Figure)


# -- the page


@pytest.mark.parametrize("kind", ["full", "empty", "hostile"])
def test_the_page_lists_what_is_kept(open_page: Open, kind: str) -> None:
    bad = screens.HOSTILE[0]
    fake = screens.context(
        reviews=(REVIEW, replace(REVIEW, id="a" * 12, title=bad, author=bad)), moments=(replace(MOMENT, name=bad),)
    )
    test = open_page("review", Engine(kind), fake=fake)
    assert not test.exception
    read = Tags()
    read.feed(markup(test))
    assert {tag for tag, _ in read.found} <= OURS
    assert "Week 38" in words(test)
    assert "1 open action" in words(test)
    assert "Write the review of this window" in [one.label for one in test.button]


def test_one_review_shows_its_text_its_actions_and_numbers(open_page: Open) -> None:
    text = "# Week 38\n\n[[number checkout-api | latency]] and [[moment 0123456789ab]]\n\n[[timeline]]"
    then = figure(component="checkout-api", signal="latency", objective="latency", good=1, total=4)
    told = replace(REVIEW, text=text, figures=(then,))
    test = open_page("review", fake=screens.context(reviews=(told,), moments=(MOMENT,)), selected=REVIEW.id)
    assert not test.exception
    said = words(test)
    assert "then 25.0" in said
    assert "The outage" in said
    assert "Mend the probe" in said
    assert "kept as of load 7" in said
    assert markup(test).count("q-chart") == 2, "the timeline, and that of the moment"
    gone = open_page("review", fake=screens.context(), selected="0" * 12)
    assert "There is no such review" in words(gone)


def test_an_edit_is_kept_and_what_cannot_be_is_said(open_page: Open) -> None:
    fake = screens.context(reviews=(REVIEW,))
    test = open_page("review", fake=fake, selected=REVIEW.id, tab="edit")
    assert not test.exception
    test.text_area[0].set_value("Better **words**")
    [keep] = [one for one in test.button if one.label == "Keep"]
    keep.click().run()
    assert [one.text for one in fake.kept] == ["Better **words**"]
    assert fake.kept[0].figures == REVIEW.figures
    assert test.query_params == {"selected": REVIEW.id}
    again = open_page("review", fake=fake, selected=REVIEW.id, tab="edit")
    [title] = [one for one in again.text_input if one.label == "Title"]
    title.set_value(" ")
    [keep] = [one for one in again.button if one.label == "Keep"]
    keep.click().run()
    assert "That was not kept: it needs a name" in words(again)
    assert len(fake.kept) == 1
