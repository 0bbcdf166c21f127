"""Statuspage: the 50 newest, what leaves them, what people say later, maintenance; files and webhooks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from connectors import statuspage
from connectors._files import item
from tandem import collect, connect, times
from tandem.cli import main
from tandem.config import Source
from tandem.connect import Common, Given, Pull, Rule, SourceRefused
from tandem.records import DAY, Event, Page
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.replay import Answer, serve
from tests.statuspage_server import StatusPage

HERE = Path(__file__).parent / "payloads" / "statuspage"
NOW = times.iso("2026-11-20T12:00:00Z")
MAP = (
    Rule(("checkout-api",), {"component": "Checkout*"}),
    Rule(("cart", "checkout-api"), {"component": "Cart"}, environment="staging"),
    Rule(("mail",), {"impact": "minor", "page": "Acme"}),
)


@pytest.fixture
def page() -> StatusPage:
    return StatusPage()


@pytest.fixture
def url(page: StatusPage) -> Iterator[str]:
    with serve(page.answer) as server:
        yield server.url


def configured(url: str = "https://status.acme.com", **common: Any) -> statuspage.Config:
    return statuspage.Config(Common("statuspage", "status", **{"map": MAP, **common}), url=url)


def pulled(config: statuspage.Config, since: int = NOW - 90 * DAY, until: int = NOW, **more: Any) -> list[Page]:
    return list(statuspage.fetch(config, Pull(since, until, until, **{"first": True, **more})))


def events(pages: list[Page]) -> list[Event]:
    return [record for page in pages for record in page.records]


def by_key(pages: list[Page]) -> dict[str, Event]:
    return {event.key: event for event in events(pages)}


def still(pages: list[Page]) -> tuple[Event, ...]:
    return tuple(event for event in events(pages) if event.outcome == "open")


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps(pages[-1].state))


def reasons(pages: list[Page]) -> dict[str, int]:
    return {finding.reason: finding.count for page in pages for finding in page.findings}


# -- one pull


def test_an_incident_is_one_event_of_every_component_that_it_touches(page: StatusPage, url: str) -> None:
    """Two components of the page that belong to one service are one incident of it, not two."""
    page.open("i1", NOW - 5000, "Checkout API", "Checkout Web", "Cart", "Search")
    page.update("i1", NOW - 4000, "identified")
    page.update("i1", NOW - 3000, "resolved")
    [one] = events(pulled(configured(url)))
    assert (one.kind, one.key, one.outcome) == ("incident", "i1", "bad")
    assert (one.ts, one.ended) == (NOW - 5000, NOW - 3000)
    assert set(one.components) == {"checkout-api", "cart"}
    assert len(one.components) == 2
    labels = {"component": "Checkout API, Checkout Web, Cart, Search", "page": "Acme", "impact": "major",
              "status": "resolved"}  # fmt: skip
    assert dict(one.labels) == labels
    assert (one.title, one.url) == ("Trouble i1", "https://stspg.io/i1")


def test_without_a_component_of_the_page_the_other_labels_decide(page: StatusPage, url: str) -> None:
    page.open("i1", NOW - 5000, impact="minor")
    page.open("i2", NOW - 4000, "Search")
    page.open("i3", NOW - 3000, "Cart")
    found = by_key(pulled(configured(url)))
    assert [found[key].components for key in ("i1", "i2", "i3")] == [("mail",), (), ("cart", "checkout-api")]
    assert found["i3"].environment == "staging"
    every = by_key(pulled(configured(url, map=(), discover=True)))
    assert [every[key].components for key in ("i1", "i2")] == [("Acme",), ("Search",)]
    one = by_key(pulled(configured(url, map=(), component=("shop",))))
    assert {event.components for event in one.values()} == {("shop",)}


def test_every_status_has_an_outcome_and_an_unknown_one_is_excluded_and_counted(page: StatusPage, url: str) -> None:
    for number, word in enumerate([*statuspage.STATUS, "exploded"]):
        page.open(word, NOW - 9000 + number, "Cart")
        page.incidents[word]["status"] = word
    pages = pulled(configured(url))
    assert {key: one.outcome for key, one in by_key(pages).items()} == {**statuspage.STATUS, "exploded": "excluded"}
    assert [n for reason, n in reasons(pages).items() if '"exploded" is unknown' in reason] == [1]
    own = by_key(pulled(configured(url, status={"exploded": "bad", "monitoring": "bad"})))
    assert (own["exploded"].outcome, own["monitoring"].outcome) == ("bad", "bad")


def test_maintenance_counts_from_when_it_began_to_when_it_was_done(page: StatusPage, url: str) -> None:
    """Not from when it was announced, nor as it was planned: it began late and ended early."""
    page.schedule("m1", NOW - 9000, NOW - 5000, NOW - 1000, "Checkout API")
    page.update("m1", NOW - 4700, "in_progress")
    page.update("m1", NOW - 3000, "verifying")
    page.update("m1", NOW - 2900, "completed")
    page.schedule("m2", NOW - 9000, NOW - 500, NOW + 1000, "Checkout API")
    page.update("m2", NOW - 490, "in_progress")
    page.schedule("m3", NOW - 9000, NOW - 100, NOW + 1000, "Checkout API")
    page.schedule("m4", NOW - 9000, NOW + 100, NOW + 1000, "Checkout API")
    found = {key: (one.kind, one.outcome, one.ts, one.ended) for key, one in by_key(pulled(configured(url))).items()}
    assert found == {
        "m1": ("maintenance", "good", NOW - 4700, NOW - 2900),
        "m2": ("maintenance", "open", NOW - 490, None),
        "m3": ("maintenance", "excluded", NOW - 100, None),
    }


# -- what changes later


def test_the_life_of_an_incident_over_many_pulls_is_one_object(page: StatusPage, url: str, tmp_path: Path) -> None:
    """Identified, resolved, opened again, resolved, its beginning corrected: one event, each time as it stands."""
    source = Source(configured(url).common, connect.load("statuspage"), configured(url))
    begin = NOW - 5 * DAY
    page.open("i1", begin, "Checkout API")

    def backdate(at: int) -> None:
        page.incidents["i1"].update(started_at=times.text(begin - 600), updated_at=times.text(at))

    steps = [
        (0, lambda at: None, (begin, "open", None)),
        (600, lambda at: page.update("i1", at, "identified"), (begin, "open", None)),
        (DAY, lambda at: page.update("i1", at, "resolved"), (begin, "bad", DAY)),
        (2 * DAY, lambda at: page.update("i1", at, "investigating"), (begin, "open", None)),
        (3 * DAY, lambda at: page.update("i1", at, "resolved"), (begin, "bad", 3 * DAY)),
        (4 * DAY, lambda at: page.update("i1", at, "postmortem"), (begin, "bad", 3 * DAY)),
        (4 * DAY + 900, backdate, (begin - 600, "bad", 3 * DAY)),
    ]
    with open_store(tmp_path / "tandem.duckdb") as store:
        for after, act, (ts, outcome, ended) in steps:
            act(begin + after)
            for _ in range(2):  # a replay changes nothing
                assert collect.pull(store, source, begin + after + 60).error == ""
            [(_, one)] = Reader(store).events(0, 1 << 40)
            assert (one.key, one.components, one.ts, one.outcome) == ("i1", ("checkout-api",), ts, outcome)
            assert one.ended == (None if ended is None else begin + ended)


def test_what_happens_at_or_after_until_has_not_happened(page: StatusPage, url: str) -> None:
    page.open("i1", NOW - 100, "Cart")
    page.update("i1", NOW, "resolved")
    page.open("i2", NOW, "Cart")
    first = pulled(configured(url))
    assert [(one.key, one.outcome, one.ended) for one in events(first)] == [("i1", "open", None)]
    second = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    told = by_key(second)
    assert [(told[key].outcome, told[key].ended) for key in ("i1", "i2")] == [("bad", NOW), ("open", None)]
    assert told["i1"].revision > by_key(first)["i1"].revision


def test_a_full_list_reaches_no_further_back_and_the_rest_is_a_gap(page: StatusPage, url: str) -> None:
    for number in range(60):
        page.open(f"i{number}", NOW - 60_000 + number * 1000, "Cart")
        page.update(f"i{number}", NOW - 60_000 + number * 1000 + 10, "resolved")
    [first] = pulled(configured(url), NOW - 80_000)
    oldest = NOW - 60_000 + 10 * 1000
    assert len(first.records) == 50
    assert [(gap.since, gap.until, gap.reason) for gap in first.gaps] == [
        (NOW - 80_000, oldest, "a status page lists its 50 newest incidents only")
    ]
    assert [(one.since, one.until) for one in first.covered or ()] == [(oldest, NOW)]
    [next_one] = pulled(configured(url), NOW - 5000, NOW + 100, first=False, state=state([first]))
    assert (next_one.gaps, next_one.covered) == ([], None)


def test_an_open_incident_that_leaves_the_list_is_looked_for_among_the_unresolved(page: StatusPage, url: str) -> None:
    for number in ("a", "b"):
        page.open(number, NOW - DAY, "Cart")
    first = pulled(configured(url))
    for number in range(50):
        page.open(f"i{number}", NOW - 5000 + number, "Cart")
        page.update(f"i{number}", NOW - 4000 + number, "resolved")
    page.update("b", NOW - 1000, "resolved")
    later = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    told = by_key(later)
    assert (told["a"].outcome, told["b"].outcome, told["b"].ended) == ("open", "bad", None)
    assert told["b"].components == ("cart", "checkout-api")
    assert reasons(later) == {"an open incident left the list of the newest before its end was seen": 1}


def test_a_second_pull_makes_the_fewest_requests(page: StatusPage, url: str, capsys: Any) -> None:
    page.open("i1", NOW - 5000, "Cart")
    page.schedule("m1", NOW - 5000, NOW - 400, NOW + 5000, "Cart")
    page.update("m1", NOW - 390, "in_progress")
    first = pulled(configured(url))
    page.asked.clear()
    again = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    print(f"second pull: {len(page.asked)} requests, fewest possible 2")
    assert [one.path for one in page.asked] == ["/api/v2/incidents.json", "/api/v2/scheduled-maintenances.json"]
    assert events(again) == events(first)
    assert "fewest possible 2" in capsys.readouterr().out


def test_a_first_pull_leaves_out_what_was_over_before_it_and_later_ones_too(page: StatusPage, url: str) -> None:
    page.open("i1", NOW - 20 * DAY, "Cart")
    page.update("i1", NOW - 19 * DAY, "resolved")
    page.open("i2", NOW - 20 * DAY, "Cart")
    first = pulled(configured(url), NOW - 5 * DAY)
    second = pulled(configured(url), NOW - 600, NOW + 300, first=False, state=state(first), open=still(first))
    assert [one.key for one in events(first)] == [one.key for one in events(second)] == ["i2"]


def test_a_page_that_is_none_is_refused() -> None:
    for answer in (Answer({"items": []}), Answer("<!DOCTYPE html>", 200, {"Content-Type": "text/html"})):
        with serve(lambda asked, told=answer: told) as server, pytest.raises(SourceRefused, match="check the url"):
            pulled(configured(server.url))


# -- files


def parsed(name: str, path: Path = HERE, **common: Any) -> list[Page]:
    one = item(path / name, Given())
    assert statuspage.recognise(one)
    return list(statuspage.parse(one, configured(**common)))


def test_saved_answers_are_read_as_the_page_and_times_have_their_offset() -> None:
    found = by_key(parsed("incidents.json"))
    told = {key: (one.outcome, times.text(one.ts), one.ended and times.text(one.ended)) for key, one in found.items()}
    assert told == {
        "cp306tmzcl0y": ("bad", "2026-10-05T20:50:00Z", "2026-10-05T22:00:00Z"),
        "2z5g29qrrxvb": ("open", "2026-10-12T15:00:00Z", None),
    }
    assert (found["cp306tmzcl0y"].components, found["2z5g29qrrxvb"].components) == (("checkout-api",), ("mail",))
    maintenance = by_key(parsed("scheduled-maintenances.json"))["w1zdr745wmfy"]
    assert [times.text(at or 0)[11:16] for at in (maintenance.ts, maintenance.ended)] == ["05:05", "06:41"]
    assert {one.kind for one in events(parsed("summary.json"))} == {"incident", "maintenance"}


def test_deliveries_make_one_incident_as_it_stood_last() -> None:
    [one] = events(parsed("webhooks.jsonl"))
    assert (one.key, one.outcome, times.text(one.ended or 0)) == ("2z5g29qrrxvb", "bad", "2026-10-12T17:00:00Z")


def test_times_without_an_offset_need_the_zone_of_the_source(tmp_path: Path) -> None:
    text = (HERE / "incidents.json").read_text().replace("-07:00", "")
    (tmp_path / "incidents.json").write_text(text)
    refused = parsed("incidents.json", tmp_path)
    assert events(refused) == []
    assert sum(count for reason, count in reasons(refused).items() if "offset" in reason) == 2
    zoned = by_key(parsed("incidents.json", tmp_path, timezone="America/Los_Angeles"))
    assert times.text(zoned["cp306tmzcl0y"].ts) == "2026-10-05T20:50:00Z"


@pytest.mark.parametrize(
    ("incident", "said"),
    [
        ({"status": "resolved", "created_at": "2026-10-05T20:50:00Z"}, "an object has no id"),
        ({"id": "x", "status": "resolved"}, "an object has no created_at"),
        ({"id": "x", "status": "resolved", "created_at": "0001-01-01T00:00:00Z"}, "created_at"),
        (7, "something else stands where an object should be"),
    ],
)
def test_what_cannot_be_counted_is_rejected_with_its_reason(tmp_path: Path, incident: Any, said: str) -> None:
    (tmp_path / "x.json").write_text(json.dumps({"page": {"name": "Acme"}, "incidents": [incident]}))
    pages = parsed("x.json", tmp_path)
    assert events(pages) == []
    assert [said in reason for reason in reasons(pages)] == [True]


def test_a_file_of_another_page_is_not_ours() -> None:
    one = item(HERE / "summary.json", Given())
    assert statuspage.belongs(one, configured())
    assert not statuspage.belongs(one, configured("https://status.other.com"))
    assert not statuspage.recognise(item(HERE / "PROVENANCE.md", Given()))


@pytest.mark.parametrize("named", [True, False], ids=["configured", "unknown"])
def test_files_are_imported_and_counted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    """The page and a saved answer of it are one source, whatever else is configured."""
    monkeypatch.chdir(tmp_path)
    block = '[[source]]\nconnector = "statuspage"\nname = "s"\nurl = "https://status.acme.com"\ncomponent = "shop"\n'
    (tmp_path / "tandem.toml").write_text(block if named else "")
    for _ in range(2):
        paths = [str(path) for path in sorted(HERE.glob("*.json*"))]
        done = CliRunner().invoke(main, ["import", *paths, *([] if named else ["--component", "shop"])])
        assert done.exit_code == 0, done.output
    with open_store(tmp_path / "tandem.duckdb") as store:
        told = [one for _, one in Reader(store).events(0, 1 << 40)]
        scopes = [scope for connector, scope in Reader(store).sources().values() if connector == "statuspage"]
    assert sorted((one.kind, one.key) for one in told) == [
        ("incident", "2z5g29qrrxvb"), ("incident", "cp306tmzcl0y"), ("maintenance", "k7mf5z1gz05c"),
        ("maintenance", "w1zdr745wmfy"),
    ]  # fmt: skip
    assert {one.components for one in told} == {("shop",)}
    assert scopes == ["status.acme.com"]
