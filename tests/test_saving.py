"""Saved answers: the same numbers tomorrow, what late data has changed, what today's rules make of the same load."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from dashboard import server
from dashboard.blocks.earlier import earlier, foreign
from dashboard.view import view
from tandem import collect, report, saving
from tandem.config import Component, Objective
from tandem.records import Fact, Page, Ratio, Series
from tandem.saving import Difference, Figure, Saved
from tandem.shown import Window
from tandem.store import kept
from tandem.store.file import Store
from tests import fakes, screens
from tests.test_dashboard import Tags

SHOP, OTHER = Component("shop", product="store"), Component("other", product="else")
WINDOW = Window(fakes.NOW - 3600, fakes.NOW)
QUERY = {"from": "20260921T1300Z", "to": "20260921T1400Z", "as_of": "1"}


def facts(good: int, hours: int = 1) -> list[Fact]:
    return [Fact(Series(signal="availability", component=name), fakes.NOW - 300 * n, Ratio(good, 10))
            for name in ("shop", "other") for n in range(1, 12 * hours + 1)]  # fmt: skip


class House:
    """A store that is collected into again and again, and the configuration in force."""

    def __init__(self, folder: Path, target: str = "0.9") -> None:
        self.store = Store(folder / "tandem.duckdb")
        self.folder, self.token, self.first_done = folder, "", True
        self.promise(target)

    def promise(self, target: str) -> None:
        objectives = [Objective("shop", "availability", Fraction(target), "availability", window="7d")]
        self.config = fakes.config(self.folder, components=[SHOP, OTHER], objectives=objectives)

    def now(self) -> int:
        return fakes.NOW

    def version(self) -> int:
        return self.store.version()

    def take(self, *told: Fact) -> None:
        source = fakes.source(fakes.saying([Page(tuple(told))]))
        self.config = replace(self.config, sources=(source,))
        assert collect.pull(self.store, source, fakes.NOW).error == ""

    def save(self, **asked: Any) -> Saved:
        return report.save(self, "overview", QUERY, WINDOW, now=fakes.NOW, **asked)

    def since(self, saved: str = "", as_of: int = 1, **asked: Any) -> saving.Since:
        return report.since(self, WINDOW, as_of=as_of, saved=saved, now=fakes.NOW, **asked)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.take(*facts(9))
    yield made
    made.store.close()


def test_the_same_answer_has_one_name_and_is_kept_once(house: House) -> None:
    first, again = house.save(), house.save(author="Ada")
    assert first.id == again.id
    assert len(first.id) == saving.ID
    assert saving.taken(house.store, first.id) == replace(first, author="", made=fakes.NOW)
    assert len(kept.kept(house.store, "answer")) == 1
    [mine] = [one for one in first.figures if one.component == "shop"]
    assert (mine.good, mine.total, mine.state) == (108, 120, "at risk")
    assert mine.budget_left == pytest.approx(0, abs=1e-12)
    assert house.save(component="shop").id != first.id


def test_late_data_is_named_and_the_saved_numbers_stay(house: House) -> None:
    answer = house.save()
    assert house.since(answer.id) == saving.Since((), answer)
    house.take(*facts(8))
    found = house.since(answer.id)
    assert [one.figure.component for one in found.late] == ["shop", "other"]
    assert found.late[0].sentence.startswith("shop availability 90.0 % → 80.0 %")
    assert "at risk → breached" in found.late[0].sentence
    assert (found.saved, found.otherwise, found.reasons) == (answer, (), ())
    assert [one.figure.component for one in house.since(component="other").late] == ["other"]


def test_more_that_was_counted_is_said_with_how_much(house: House) -> None:
    more = [Fact(Series(signal="availability", component="shop"), fakes.NOW - 300 * n, Ratio(18, 20)) for n in (1, 2)]
    house.take(*[one for one in facts(9) if one.ts < fakes.NOW - 600], *more)
    [late] = [one for one in house.since().late if one.figure.component == "shop"]
    assert late.arrived == 20
    assert late.sentence.endswith("20 arrived")


def test_another_objective_gives_another_answer_from_the_same_load_and_says_why(house: House) -> None:
    answer = house.save()
    source = house.config.sources
    house.promise("0.95")
    house.config = replace(house.config, sources=source)
    found = house.since(answer.id)
    assert found.late == ()
    assert [one.figure.key for one in found.otherwise] == [("shop", "availability", "availability")]
    assert found.reasons == ("the objective availability was 90 % over 7d and is 95 % over 7d",)
    before, after = found.otherwise[0].before, found.otherwise[0].after
    assert before is not None
    assert after is not None
    assert (before.state, after.state) == ("at risk", "breached")
    assert "at risk → breached" in found.otherwise[0].sentence


def test_other_formulas_are_said(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = house.save()
    monkeypatch.setattr(saving, "ALGEBRA", "2")
    assert "counted by other formulas" in house.since(answer.id).reasons[0]


def test_an_answer_that_was_changed_on_disk_is_none(house: House) -> None:
    answer = house.save()
    [row] = kept.kept(house.store, "answer")
    told = json.loads(row.content)
    told["figures"][0]["good"] = 120
    kept.keep(house.store, replace(row, content=json.dumps(told), made=row.made + 1))
    assert saving.taken(house.store, answer.id) is None
    assert house.since(answer.id).saved is None


@pytest.mark.parametrize("name", ["", "0" * 11, "0" * 12, "g" * 12, "../../etc/passwd", "' OR 1=1 --  ", "0" * 500])
def test_a_name_that_is_none_finds_nothing(house: House, name: str) -> None:
    assert saving.taken(house.store, name) is None


def figure(**more: Any) -> Figure:
    given: Mapping[str, Any] = {"component": "a", "signal": "s", "objective": "", "title": "S", "good": 1, "total": 2,
                                "text": "50 %", "state": "ok", "budget_left": None}  # fmt: skip
    return Figure(**{**given, **more})


def test_what_came_and_what_went_is_a_difference() -> None:
    here, there = figure(), figure(component="b")
    assert saving.differences([here], [here]) == ()
    assert saving.differences([here], [there]) == (Difference(None, there), Difference(here, None))
    assert Difference(None, there).sentence == "b s not there → 50.0 %"
    assert Difference(here, replace(here, total=1)).sentence == "a s 50.0 % → 100 %, 1 were taken back"


def shown(context: Any, **query: str) -> Any:
    return view("overview", query, screens.NOW, environments=("production",), products=(), components=(), zone=UTC,
                context=context)  # fmt: skip


def test_the_banner_says_what_is_shown_and_offers_the_way_to_now(house: House) -> None:
    answer = house.save()
    seen = shown(house, **{**QUERY, "saved": answer.id, "store": house.store.identity})
    assert not seen.foreign
    quiet = earlier(seen, house.since(answer.id))
    assert "as of load 1" in quiet
    assert "Nothing of it has changed since" in quiet
    assert "the same numbers, to the last digit" in quiet
    assert "as_of" not in quiet.partition('href="')[2].partition('"')[0]
    house.take(*facts(8))
    house.promise("0.95")
    loud = earlier(seen, house.since(answer.id))
    assert "Late data has changed 2 numbers since" in loud
    assert "The same load gives 1 other number today" in loud
    assert "was 90 % over 7d and is 95 % over 7d" in loud
    assert "is not in this store" in earlier(seen, saving.Since(()))


def test_a_link_of_another_store_shows_its_answer_or_says_so(house: House) -> None:
    answer = house.save()
    seen = shown(house, **{**QUERY, "saved": answer.id, "store": "f" * 12})
    assert seen.foreign
    assert "not from here" in foreign(seen, None)
    there = foreign(seen, answer)
    assert "90.0" in there
    assert "as of its load 1" in there
    hostile = replace(answer, figures=tuple(figure(component=b, objective=b, state=b) for b in screens.HOSTILE))
    read = Tags()
    read.feed(foreign(seen, hostile))
    assert {tag for tag, _ in read.found} <= {
        "div", "span", "a", "table", "thead", "tbody", "tr", "th", "td", "h2", "p"}  # fmt: skip


def test_a_short_link_leads_to_the_long_one(house: House) -> None:
    answer = house.save()
    found = server.short(house, answer.id)
    assert found.status_code == 302
    there = urlsplit(found.headers["location"])
    assert (there.path, dict(parse_qsl(there.query))) == ("/", {**QUERY, "saved": answer.id})
    unknown = server.short(house, "000000000000")
    assert unknown.status_code == 404
    assert b"No answer of that name is kept here" in unknown.body


def test_a_store_that_is_only_read_says_that_it_keeps_nothing(house: House) -> None:
    house.store.close()
    house.store = Store(house.store.path, read_only=True)
    with pytest.raises(kept.StoreRefused, match="only read"):
        house.save()
