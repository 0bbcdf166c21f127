"""Signed links: what they open, until when, and that nobody widens, forges or cuts one to more than it gives."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from click.testing import CliRunner

from tandem import api, signing
from tandem.cli import main
from tandem.signing import Share
from tests import fakes, screens
from tests.screens import Engine
from tests.test_dashboard import Open, markup, open_page, words
from tests.test_saving import House, facts

__all__ = ["open_page"]
KEY = b"k" * 32
WEEK = 7 * 86400


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = House(tmp_path)
    made.take(*facts(9))
    made.config = replace(made.config, share=Share(require_signature=True))
    made.token = "owner"
    yield made
    made.store.close()


def link(house: House, days: int = 7, **locked: str) -> dict[str, str]:
    return signing.signed(signing.secret(house.config.store), locked, fakes.NOW + days * 86400)


def ask(house: House, path: str, query: dict[str, str], **headers: str) -> tuple[int, str]:
    status, _, body = api.answer(house, "GET", path, {name: [value] for name, value in query.items()}, headers)
    return status, body.decode(errors="replace")


def test_a_key_is_made_once_and_is_nobody_else_s(tmp_path: Path) -> None:
    first = signing.secret(tmp_path / "a.duckdb")
    assert len(first) == 32
    assert signing.secret(tmp_path / "a.duckdb") == first != signing.secret(tmp_path / "b.duckdb")
    assert (tmp_path / "a.duckdb.state" / "share.key").stat().st_mode & 0o777 == 0o600


def test_a_link_opens_until_it_ends() -> None:
    query = signing.signed(KEY, {"product": "checkout"}, 1000 + WEEK)
    assert query["product"] == "checkout"
    assert signing.locked_of(query) == {"product": "checkout"}
    assert signing.fault(KEY, query, 1000) == ""
    assert signing.fault(KEY, query, 999 + WEEK) == ""
    assert signing.fault(KEY, query, 1000 + WEEK).startswith("This link ended on 1970-01-08")
    assert "only what a signed link" in signing.fault(KEY, {}, 1000)
    assert signing.fault(b"x" * 32, query, 1000) == signing.UNFIT


def test_ten_thousand_forged_links_open_nothing() -> None:
    dice = random.Random(3)
    query = signing.signed(KEY, {"product": "checkout", "version": "7"}, 1000 + WEEK)
    for _ in range(10_000):
        name = dice.choice(signing.KEYS)
        letters = list(query[name])
        place = dice.randrange(len(letters))
        letters[place : place + dice.randrange(2)] = dice.choice(
            ["", "0", "a", "&", "%", "=", "Z", "é", "\x00", "9", "checkout"]
        )
        forged = {**query, name: "".join(letters)}
        if forged != query:
            assert signing.fault(KEY, forged, 1000) != ""
    for name in signing.KEYS:
        assert signing.fault(KEY, {key: value for key, value in query.items() if key != name}, 1000) != ""


@pytest.mark.parametrize("name", ["from", "as_of", "saved", "", "signature"])
def test_what_cannot_be_locked_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot be locked"):
        signing.signed(KEY, {name: "x"}, 2000)
    with pytest.raises(ValueError, match="cannot be locked"):
        signing.signed(KEY, {"product": ""}, 2000)


def test_without_a_link_the_api_answers_only_its_health_and_its_owner(house: House) -> None:
    for path in ("/api/v1/show", "/api/v1/sources", "/metrics", "/badge/shop.svg", "/api/v1/report", "/api/v1/openslo"):
        status, said = ask(house, path, {})
        assert (status, "only what a signed link leads to" in said) == (401, True), path
        assert ask(house, path, {}, authorization="Bearer owner")[0] == 200
        assert ask(house, path, link(house))[0] == 200
    assert ask(house, "/healthz", {})[0] == 200
    assert ask(house, "/api/v1/show", link(house, days=-1))[0] == 401
    house.token = ""
    assert ask(house, "/api/v1/show", {})[0] == 401, "a bundle that is shown has no owner's token"
    house.local = True  # type: ignore[attr-defined]
    assert ask(house, "/api/v1/show", {})[0] == 200, "who reads the file itself needs no link"


def test_a_narrowed_link_answers_nothing_wider(house: House) -> None:
    mine = {name: value for name, value in link(house, product="store").items() if name != "product"}
    assert ask(house, "/api/v1/show", {**mine, "component": "shop"})[0] == 200
    assert json.loads(ask(house, "/api/v1/show", {**mine, "component": "shop"})[1])["component"] == "shop"
    for path, more in (
        ("/api/v1/show", {"component": "other"}), ("/api/v1/show", {}), ("/api/v1/show", {"component": "nobody"}),
        ("/api/v1/sources", {}), ("/metrics", {}), ("/badge/shop.svg", {}), ("/api/v1/check", {"component": "shop"}),
        ("/api/v1/report", {}), ("/api/v1/report", {"product": "else"}),
        ("/api/v1/report", {"product": "store", "component": "other"}),
    ):  # fmt: skip
        status, said = ask(house, path, {**mine, **more})
        assert (status, "narrowed" in said) == (401, True), (path, more)
    status, page = ask(house, "/api/v1/report", {**mine, "product": "store"})
    assert status == 200
    assert "other" not in page.partition("<main>")[2].partition("How this was counted")[0]
    one = {name: value for name, value in link(house, component="shop", version="7").items() if name in signing.KEYS}
    assert ask(house, "/api/v1/show", {**one, "component": "shop", "version": "7"})[0] == 200
    assert ask(house, "/api/v1/show", {**one, "component": "shop"})[0] == 401
    assert ask(house, "/api/v1/show", {**one, "component": "shop", "version": "8"})[0] == 401


def seen(open_page: Open, page: str, tmp_path: Path, *, engine: Engine | None = None, **query: str) -> Any:
    fake = screens.context()
    made = fake.config

    class Signed(screens.Fake):
        @property
        def config(self) -> Any:
            made.share, made.store = Share(require_signature=True), tmp_path / "tandem.duckdb"
            return made

    return open_page(page, engine or Engine(), fake=Signed(**vars(fake)), **query)


def test_pages_show_nothing_without_a_link_and_their_part_with_one(open_page: Open, tmp_path: Path) -> None:
    key = signing.secret(tmp_path / "tandem.duckdb")
    for page in ("overview", "services", "models", "delivery", "compare", "review", "sources"):
        engine = Engine()
        test = seen(open_page, page, tmp_path, engine=engine)
        assert "only what a signed link leads to" in words(test)
        assert engine.asked == []
        assert not test.get("page_link")
    open_one = signing.signed(key, {}, screens.NOW + WEEK)
    assert "c-card" in markup(seen(open_page, "overview", tmp_path, **open_one))
    narrow = signing.signed(key, {"product": "Checkout"}, screens.NOW + WEEK)
    engine = Engine()
    test = seen(open_page, "overview", tmp_path, engine=engine, **narrow)
    assert engine.asked[0]["product"] == "Checkout"
    [product] = [one for one in test.selectbox if one.key == "w_product"]
    assert (product.disabled, product.options) == (True, ["Checkout"])
    assert len(test.get("page_link")) == 5
    for changes in ({"product": "Search"}, {"product": ""}, {"component": "search-api"}):
        engine = Engine()
        query = {name: value for name, value in {**narrow, **changes}.items() if value}
        assert "this page is wider" in words(seen(open_page, "overview", tmp_path, engine=engine, **query)), changes
        assert engine.asked == []
    for page in ("review", "sources"):
        assert "this page is wider" in words(seen(open_page, page, tmp_path, **narrow))
    ended = signing.signed(key, {}, screens.NOW - 60)
    assert "This link ended" in words(seen(open_page, "overview", tmp_path, **ended))


def test_a_link_of_one_component_tells_nothing_of_its_partners(open_page: Open, tmp_path: Path) -> None:
    key = signing.secret(tmp_path / "tandem.duckdb")
    whole = seen(open_page, "models", tmp_path, component="fraud-score", **signing.signed(key, {}, screens.NOW + WEEK))
    assert "checkout-api" in words(whole)
    locked = signing.signed(key, {"component": "fraud-score"}, screens.NOW + WEEK)
    mine = seen(open_page, "models", tmp_path, **locked)
    assert not mine.exception
    assert "c-card" in markup(mine)
    said = words(mine)
    assert "Changes to it and its partners" in said
    assert "checkout-api" not in said


def test_a_viewer_of_a_signed_link_writes_nothing(open_page: Open, tmp_path: Path) -> None:
    key = signing.secret(tmp_path / "tandem.duckdb")
    for page in ("overview", "review", "sources"):
        test = seen(open_page, page, tmp_path, **signing.signed(key, {}, screens.NOW + WEEK))
        assert not test.exception
        writing = {"Keep this answer", "Mark", "Write the review of this window", "Pull all now"}
        assert not writing & {one.label for one in test.button}, page


def test_the_command_prints_a_link_that_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = 'store = "s.duckdb"\n[[component]]\nname = "shop"\nproduct = "store"\n'
    Path("tandem.toml").write_text(config)
    run = CliRunner().invoke(main, ["share"])
    assert (run.exit_code, "Links are open here" in run.output) == (2, True)
    Path("tandem.toml").write_text(config.replace("[[comp", "[share]\nrequire_signature = true\n[[comp", 1))
    run = CliRunner().invoke(main, ["share", "--expires", "2d", "--lock", "product=store"])
    assert run.exit_code == 0, run.output
    there = urlsplit(run.output.strip())
    query = dict(parse_qsl(there.query))
    key = signing.secret(tmp_path / "s.duckdb")
    ends = signing.times.parse(query["expires"], 0)
    assert signing.fault(key, query, ends - 1) == ""
    assert signing.fault(key, query, ends) != ""
    assert urlencode(signing.locked_of(query)) == "product=store"
    for bad, said in (
        (["--lock", "product=stroe"], "There is no product 'stroe'"), (["--lock", "colour=red"], "cannot be locked"),
        (["--expires", "soon"], "soon"),
    ):  # fmt: skip
        run = CliRunner().invoke(main, ["share", *bad])
        assert run.exit_code == 2
        assert said in run.output
