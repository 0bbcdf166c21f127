"""The report: one file of the page's own numbers, in which nothing runs and nothing leads out."""

from __future__ import annotations

import csv
import io
import json
import re
import zipfile
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from dashboard.reported import document, stilled, tables
from dashboard.reported.gathered import Asked, Gathered, gathered, window_of
from dashboard.view import view
from tandem import api, catalog, report
from tandem.cli import main
from tandem.shown import Unreadable, Window
from tests import screens, screens_lineage
from tests.delivery_screens import delivery_of
from tests.test_api import context

__all__ = ["context"]
WEEK = Window(screens.NOW // 300 * 300 - 7 * 86400, screens.NOW // 300 * 300)


def made(kind: str) -> Gathered:
    overview, sources, detail = screens.ENGINES[kind]
    house = SimpleNamespace(config=SimpleNamespace(signals=catalog.built_in()))
    shown = view("overview", {"from": str(WEEK.since), "to": str(WEEK.until)}, screens.NOW,
                 environments=("production",), products=(), context=house)  # fmt: skip
    parts = delivery_of(kind, screens.components(), WEEK, screens.NOW)
    found = overview(WEEK, screens.NOW)
    details = tuple(detail(part.component, WEEK, screens.NOW) for part in parts.parts)
    lineages = {one.component: screens_lineage.answer(kind, one.component, WEEK, screens.NOW, screens.HOSTILE)
                for one in details if one.kind == "model"}  # fmt: skip
    return Gathered(shown, found, parts, details, tuple(sources(WEEK, screens.NOW).sources), screens.NOW, found.as_of,
                    lineages)  # fmt: skip


class Read(HTMLParser):
    """What a document is made of."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[tuple[str, str]] = set()
        self.anchors: set[str] = set()
        self.said: list[str] = []
        self.depth: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {(name, value or "") for name, value in attrs}
        self.anchors |= {value or "" for name, value in attrs if name == "id"}

    def handle_data(self, data: str) -> None:
        self.said.append(data)


@pytest.mark.parametrize("kind", screens.ENGINES)
def test_nothing_in_it_runs_and_nothing_leads_out(kind: str) -> None:
    page = document.document(made(kind)).decode()
    read = Read(page)
    assert len(page.encode()) <= document.LARGEST
    assert not read.tags & {"script", "link", "img", "iframe", "object", "embed", "form", "button", "input", "base"}
    assert not [name for name, _ in read.attributes if name.startswith("on")]
    links = {value for name, value in read.attributes if name in ("href", "src", "xlink:href", "action")}
    assert all(value.startswith("#") and value[1:] in read.anchors for value in links)
    assert not [value for name, value in read.attributes if name == "style" and ("url(" in value or "@import" in value)]
    style = page.partition("<style>")[2].partition("</style>")[0]
    assert "url(" not in style.replace("url(#", "")
    assert "@import" not in style
    assert "default-src 'none'" in page.partition("<style>")[0]


def test_hostile_names_stay_text() -> None:
    page = document.document(made("hostile")).decode()
    said = "".join(Read(page).said)
    assert "evil.test" in said, "they are printed, as text"
    assert "\u202e" not in page
    assert "<img" not in page


def test_addresses_outside_are_printed() -> None:
    found, url = made("full"), "https://ci.example/runs/7?a=1&b=<2>"
    changes = [replace(one, url=url, kind="deployment") for one in found.overview.changes[:1]]
    found = replace(found, overview=replace(found.overview, changes=tuple(changes)))
    read = Read(document.document(found).decode())
    assert url in read.said
    assert not [value for name, value in read.attributes if name == "href" and "ci.example" in value]


def test_it_says_what_it_is_about_and_how_it_was_counted() -> None:
    said = " ".join("".join(Read(document.document(made("full")).decode()).said).split())
    assert f"as of load {made('full').as_of}" in said
    assert "2026-" in said
    assert "budget left is 1 − bad ÷ budget" in said
    assert catalog.built_in()["availability"].meaning in said
    assert "Where this version comes from" in said
    assert "named by version 8 of registry" in said
    for name in {cell.component for one in made("full").details for cell in one.cells}:
        assert name in said


def test_components_that_do_not_fit_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = document.document(made("full"))
    monkeypatch.setattr(document, "LARGEST", len(whole) - 1)
    page = document.document(made("full")).decode()
    assert len(page.encode()) < len(whole)
    assert "Left out" in page
    left = re.findall(r"<dt>Left out</dt><dd>([^:]*):", page)[0].split(", ")
    assert left
    assert not [name for name in left if f'<a href="#c0">{name}</a>' in page]


@pytest.mark.parametrize(
    ("given", "stands"),
    [
        ("<script>alert(1)</script>after", "after"),
        ("<p onclick=x()>a<b>b</p>c", "<p>a<b>b</b></p>c"),
        ('<a href="https://evil.test/?component=shop">x</a>', "<span>x</span>"),
        ('<a href="//evil.test/models?component=shop">x</a>', "<span>x</span>"),
        ('<a href="/services?component=shop">x</a>', '<a href="#c1">x</a>'),
        ('<a href="/services?component=other">x</a>', "<span>x</span>"),
        ('<button class="y-why" data-why="q">9 %</button>', '<span class="y-why">9 %</span>'),
        ("<details><summary>s</summary>t</details>", '<details open="open"><summary>s</summary>t</details>'),
        ('<p style="background:url(https://evil.test/i)">x</p>', "<p>x</p>"),
        ("a &lt;b&gt; &amp; c", "a &lt;b&gt; &amp; c"),
        ("<svg viewbox='0 0 1 1'><path d='M0 0'/></svg>", '<svg viewBox="0 0 1 1"><path d="M0 0"></path></svg>'),
        ("</div></p>x", "x"),
        ("<iframe src=x>in</iframe><style>p{}</style>y<input>z", "yz"),
    ],
)
def test_a_block_is_stilled(given: str, stands: str) -> None:
    assert stilled.stilled(given, {"shop": "c1"}) == stands


@pytest.mark.parametrize("kind", screens.ENGINES)
def test_tables_say_the_same_as_csv_and_as_json(kind: str) -> None:
    packed = zipfile.ZipFile(io.BytesIO(tables.archive(made(kind))))
    assert packed.namelist() == zipfile.ZipFile(io.BytesIO(tables.archive(made(kind)))).namelist()
    for name in tables.TABLES:
        plain = json.loads(packed.read(f"{name}.json"))
        rows = list(csv.DictReader(io.StringIO(packed.read(f"{name}.csv").decode(), newline="")))
        assert len(rows) == len(plain)
        for row, one in zip(rows, plain, strict=True):
            for key, value in one.items():
                told = row[key]
                if value is None:
                    assert told == ""
                elif isinstance(value, bool):
                    assert told == str(value).lower()
                elif isinstance(value, int | float):
                    assert float(told) == value
                else:
                    assert told.removeprefix("'") == value.removeprefix("'")
                    assert not told.startswith(("=", "+", "-", "@"))


def get(context: Any, path: str, **params: str) -> tuple[int, str, bytes]:
    return api.answer(context, "GET", path, {name: [value] for name, value in params.items()}, {})


def test_its_numbers_are_those_of_show(context: Any) -> None:
    found = gathered(context, Asked(window_of("now-1h", "", context.now())), context.now())
    [row] = [one for one in tables.tables(found)["signals"] if one["component"] == "shop"]
    [signal] = report.show(context, "shop", found.view.window, now=context.now())["signals"]
    assert (row["good"], row["total"], row["value"]) == (108, 120, 0.9)
    assert (row["good"], row["total"], row["value"], row["source"]) == tuple(
        signal[name] for name in ("good", "total", "value", "source"))  # fmt: skip
    assert "90" in "".join(Read(document.document(found).decode()).said)


def test_a_part_of_the_house_holds_nothing_of_the_rest(context: Any) -> None:
    status, kind, page = get(context, "/api/v1/report", component="shop")
    assert (status, kind) == (200, "text/html; charset=utf-8")
    assert Read(page.decode()).anchors - {"td-hatch"} == {"c0"}
    packed = zipfile.ZipFile(io.BytesIO(get(context, "/api/v1/report/tables", component="shop")[2]))
    assert {row["component"] for row in json.loads(packed.read("signals.json"))} == {"shop"}
    both = zipfile.ZipFile(io.BytesIO(get(context, "/api/v1/report/tables")[2]))
    assert len({row["component"] for row in json.loads(both.read("signals.json"))}) == 2


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"component": "nobody"}, 404, "there is no component 'nobody'; known are shop"),
        ({"product": "none"}, 404, "there is no product 'none'"),
        ({"from": "yesterdayish"}, 400, "is not a time"),
        ({"as_of": "99"}, 400, "There is no load 99"),
        ({"from": "now-20y"}, 404, "give a shorter past one"),
        ({"colour": "red"}, 400, "There is no parameter 'colour'"),
    ],
)
@pytest.mark.parametrize("path", ["/api/v1/report", "/api/v1/report/tables"])
def test_a_question_that_cannot_be_answered_gets_a_sentence(
    context: Any, path: str, asked: dict[str, str], status: int, said: str
) -> None:
    got, _, body = get(context, path, **asked)
    assert got == status
    assert said in json.loads(body)["error"]


def test_the_window_is_a_week_unless_something_is_said() -> None:
    found = window_of("", "", screens.NOW)
    assert 0 <= found.until - found.since - 7 * 86400 < 300
    with pytest.raises(ValueError, match="begin"):
        window_of("now", "now-1d", screens.NOW)


def test_an_unknown_name_is_refused_before_anything_is_read(context: Any) -> None:
    with pytest.raises(Unreadable, match="there is no product 'none'"):
        gathered(context, Asked(WEEK, product="none"), WEEK.until)


def test_the_command_writes_file_and_tables(context: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tandem.commands.asking.asked", lambda config, path, params: api.answer(context, "GET", path, params, {})[2]
    )
    monkeypatch.setattr("tandem.commands.asking.loaded", lambda file: context.config)
    monkeypatch.setattr("tandem.commands.asking.time.time", lambda: context.now())
    done = CliRunner().invoke(main, ["report", "--output", str(tmp_path / "r.html"), "--tables", str(tmp_path / "t")])
    assert done.exit_code == 0, done.output
    page = (tmp_path / "r.html").read_bytes()
    assert page.startswith(b"<!DOCTYPE html>")
    assert f"{len(page):,} bytes" in done.output
    assert sorted(one.name for one in (tmp_path / "t").iterdir()) == sorted(
        f"{name}.{ending}" for name in tables.TABLES for ending in ("csv", "json"))  # fmt: skip
    bad = CliRunner().invoke(main, ["report", "--output", str(tmp_path / "no" / "r.html")])
    assert bad.exit_code == 1
    assert "cannot be written" in bad.output
