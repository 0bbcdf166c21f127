"""Every number explains itself: pages are walked over the sample company, and each number on screen is held against
what its own `tandem` line prints, run through the command line's entry point and read by jq's rules, not by ours."""

from __future__ import annotations

import html
import json
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
import streamlit as st
from click.testing import CliRunner
from streamlit.testing.v1 import AppTest

from tandem import api, demo, explained, owner, times
from tandem import config as configuration
from tandem.bins import Quantile
from tandem.catalog import built_in
from tandem.cli import main
from tandem.owner import Reading
from tandem.shown import Objective, Unreadable, Window
from tests import screens

SAMPLE = Path(__file__).parent.parent / "sample_data" / "files"
SOURCES = ("prometheus", "github-checkout-api", "github-auth-api", "registry", "log-click-model")
UNITS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
Said = Mapping[str, Any]
CARD = re.compile(
    r'\[\.\[\](?: \| select\(\.product == (?P<product>".*?")\))? \| \.signals '
    r"\| map\(select\((?P<signals>.*?)\)\) \| unique_by\(\.signal\)\[\] \| select\(\.good != null\)\] "
    r"\| \(map\(\.good\) \| add\) / \(map\(\.total\) \| add\)"
)
"""The path of a card: one signal of many components."""


# -- a store of a part of the sample company


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the sample company with two of its services measured, collected once."""
    folder = tmp_path_factory.mktemp("house")
    measured = folder / "prometheus"
    measured.mkdir()
    for path in (SAMPLE / "prometheus").iterdir():
        if any(name in path.name for name in ("checkout-api", "auth-api", "probe_success")):
            shutil.copy(path, measured)
    path, _ = demo.prepare(folder, int(time.time()))
    path.write_text(path.read_text("utf-8").replace(str(SAMPLE / "prometheus"), str(measured)), "utf-8")
    done = CliRunner().invoke(main, ["sync", *SOURCES, "--config", str(path)])
    assert done.exit_code == 0, done.output
    return path


@dataclass(frozen=True)
class Seen:
    """A number as it stands on a page, and what it asks to be explained."""

    page: str
    text: str
    query: Mapping[str, list[str]]


class Numbers(HTMLParser):
    """Every number of some markup that can be asked why, with what its blocks ask for."""

    EMPTY = ("path", "rect", "circle", "input", "col", "br")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[dict[str, str]] = []
        self.found: list[tuple[str, str]] = []
        self.inside: list[tuple[int, str, list[str]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in self.EMPTY:
            return
        given = {name: value or "" for name, value in attrs}
        self.open.append({"tag": tag, **given})
        if "data-why" in given:
            parts = [given["data-why"], self.nearest("data-of"), self.nearest("data-ask")]
            self.inside.append((len(self.open), "&".join(part for part in parts if part), []))

    def nearest(self, name: str) -> str:
        return next((one[name] for one in reversed(self.open) if name in one), "")

    def handle_endtag(self, tag: str) -> None:
        if tag in self.EMPTY:
            return
        if self.inside and self.inside[-1][0] == len(self.open):
            _, query, words = self.inside.pop()
            self.found.append((query, " ".join("".join(words).split())))
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data: str) -> None:
        hidden = any(one.get("aria-hidden") or one.get("class") in ("x-hide", "m-moved") for one in self.open)
        if self.inside and not hidden:
            self.inside[-1][2].append(data)


def script(page: str) -> None:
    from dashboard import app

    app.main(page)


def walked(context: Any, page: str, **query: str) -> list[Seen]:
    """The numbers of one page."""
    st.cache_resource.clear()
    test = AppTest.from_function(script, kwargs={"page": page}, default_timeout=120)
    for key, value in query.items():
        test.query_params[key.rstrip("_")] = value
    test.run()
    assert not test.exception
    markup = "\n".join(json.loads(one.proto.json)["html"] for one in test.get("bidi_component"))
    read = Numbers()
    read.feed(markup)
    return [Seen(f"{page} {query}", text, parse_qs(asked)) for asked, text in read.found]


# -- reading what is on screen, and what is printed


def shown_number(text: str) -> tuple[Fraction, Fraction] | None:
    """The number of a text in the unit of JSON, and how much its last digit is worth; None for a dash."""
    words = re.sub(r"(?<=\d) (?=\d{3}\b)", "", text.replace("≥ ", "").replace("burn ", ""))
    found = re.search(r"([−-]?)(\d+(?:\.\d+)?)\s?(%|ms|min|s|h|d|×|per day)?", words)
    if found is None:
        return None
    sign, digits, unit = found.groups()
    scale = {"%": Fraction(1, 100), **{name: Fraction(str(value)) for name, value in UNITS.items()}}.get(
        unit or "", Fraction(1)
    )
    last = Fraction(1, 10 ** len(digits.partition(".")[2]))
    negative = sign or "over" in text or "too many" in text
    return Fraction(digits) * scale * (-1 if negative else 1), last * scale


def by_jq(path: str, answer: Any) -> Any:
    """What jq prints of an answer; the program itself, not a reading of ours."""
    done = subprocess.run(["jq", "-c", path], input=json.dumps(answer), capture_output=True, text=True, check=True)
    [printed] = done.stdout.splitlines()
    return json.loads(printed)


def by_hand(path: str, answer: Any) -> Any:
    """The same by a few lines of Python, for machines without jq: the shapes that explanations use."""
    card = CARD.fullmatch(path)
    if card:
        wanted = re.findall(r'\.signal == (".*?")', card["signals"])
        cells = []
        for one in answer:
            if card["product"] and one["product"] != json.loads(card["product"]):
                continue
            first: dict[str, Any] = {}
            for cell in one["signals"]:
                if json.dumps(cell["signal"]) in wanted:
                    first.setdefault(cell["signal"], cell)
            cells += [cell for cell in first.values() if cell["good"] is not None]
        return sum(cell["good"] for cell in cells) / sum(cell["total"] for cell in cells)
    found: list[Any] = [answer]
    ratio = path.endswith(" | .good / .total")
    for step in path.removesuffix(" | .good / .total").split(" | "):
        chosen = re.fullmatch(r"select\((.*)\)", step)
        if chosen:
            tests = re.findall(r'((?:\.\w+)+) == ("(?:[^"\\]|\\.)*")', chosen[1])
            found = [one for one in found if all(_walk(one, keys) == json.loads(text) for keys, text in tests)]
        else:
            found = [_walk(one, step.removesuffix("[]")) for one in found]
            found = [part for one in found for part in one] if step.endswith("[]") else found
    [one] = found
    return one["good"] / one["total"] if ratio else one


def _walk(one: Any, keys: str) -> Any:
    for name, quoted in re.findall(r'\.(\w+)|\["([^"]+)"\]', keys):
        one = None if one is None else one[name or quoted]
    return one


# -- the walk


@pytest.fixture(scope="module")
def numbers(house: Path) -> list[tuple[Seen, Said]]:
    """Every number of the walked pages with its explanation."""
    config = configuration.load(house)
    patch = pytest.MonkeyPatch()
    with Reading.open(config, time.time) as reading:
        patch.setattr(owner, "current", lambda: Context(reading))
        patch.setattr(st, "fragment", lambda run, **more: run)
        until = reading.now() // 300 * 300
        week = {"from_": times.text(until - 7 * 86400), "to": times.text(until)}
        day = {"from_": times.text(until - 86400), "to": times.text(until)}
        seen = [
            *walked(reading, "overview", **day, product="recommendations"), *walked(reading, "overview", **week),
            *walked(reading, "services", **week), *walked(reading, "models", **day),
            *walked(reading, "services", **week, component="checkout-api"),
            *walked(reading, "models", **week, component="click-model"), *walked(reading, "delivery", **week),
        ]  # fmt: skip
        known: dict[str, Said] = {}
        for one in seen:
            query = json.dumps(one.query, sort_keys=True)
            if query not in known:
                status, _, body = api.answer(reading, "GET", "/api/v1/explain", one.query, {})
                assert status == 200, (one, body)
                known[query] = json.loads(body)
        answers = [(one, known[json.dumps(one.query, sort_keys=True)]) for one in seen]
    patch.undo()
    st.cache_resource.clear()
    return answers


class Context:
    """A reading process as pages see their owner."""

    def __init__(self, reading: Any) -> None:
        self.reading, self.first_done, self.trouble = reading, True, ""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.reading, name)

    def version(self) -> int:
        load: int = self.reading.store.version()
        return load


@pytest.fixture(scope="module")
def printed(numbers: list[tuple[Seen, Said]]) -> Callable[[str], Any]:
    """What a line prints, each run once through the command line's entry point."""
    known: dict[str, Any] = {}

    def ask(line: str) -> Any:
        if line not in known:
            program, *words = shlex.split(line)
            assert program == "tandem"
            done = CliRunner().invoke(main, words)
            assert done.exit_code == 0, (line, done.output)
            known[line] = json.loads(done.stdout)
        return known[line]

    return ask


def test_a_hundred_numbers_on_screen_are_what_their_lines_print(
    numbers: list[tuple[Seen, Said]], printed: Callable[[str], Any]
) -> None:
    compared, wrong = set(), []
    for seen, said in numbers:
        value = by_hand(said["path"], printed(said["line"]))
        if value != said["value"]:
            wrong.append(f"{seen.page}: {said['name']} is explained as {said['value']}, its line prints {value}")
        read = shown_number(seen.text)
        if value is None or read is None:
            assert value is None or read is None or seen.text == "–", (seen, said)
            continue
        number, last = read
        if abs(Fraction(value) - number) > last:
            wrong.append(f"{seen.page}: {said['name']} shows {seen.text!r}, its line prints {value}")
        compared.add((said["line"], said["path"]))
    assert not wrong, "\n".join(wrong[:20])
    assert len(compared) >= 100
    kinds = {path.split("(")[0] + path.rpartition(".")[2] for _, path in compared}
    assert len(kinds) >= 8, "many kinds of number: shares, percentiles, budgets, burns, cards, drift, quality, delivery"


def test_pages_of_every_kind_have_numbers_to_ask(numbers: list[tuple[Seen, Said]]) -> None:
    pages = {seen.page.split(" ")[0] for seen, _ in numbers}
    assert pages == {"overview", "services", "models", "delivery"}
    paths = [said["path"] for _, said in numbers]
    for part in (".quantiles.p95", ".objective.budget_left", '.objective.burn["1h"]', "map(.good) | add", ".features[]",
                 ".quality.", ".delivery.metrics.", ".objective | .good / .total"):  # fmt: skip
        assert any(part in path for path in paths), part


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_jq_itself_prints_the_same(numbers: list[tuple[Seen, Said]], printed: Callable[[str], Any]) -> None:
    shapes: dict[str, Said] = {}
    for _, said in numbers:
        shapes.setdefault(re.sub(r'"[^"]*"', '""', said["path"]), said)
    for said in shapes.values():
        assert by_jq(said["path"], printed(said["line"])) == pytest.approx(said["value"], rel=1e-15), said["path"]


def test_an_explanation_says_what_it_rests_on(numbers: list[tuple[Seen, Said]]) -> None:
    for _, said in numbers:
        assert said["meaning"], said["name"]
        assert said["formula"], said["name"]
        assert said["over"].count("T") >= 1
        assert "as of load" in said["over"]
        assert said["filters"]["environment"] == "production"
        assert "--as-of" in said["line"]


def test_the_counts_of_a_budget_give_the_budget(numbers: list[tuple[Seen, Said]]) -> None:
    budgets = [said for _, said in numbers if said["path"].endswith(".budget_left") and said["counts"].startswith("1")]
    assert budgets
    for said in budgets:
        bad, total, target = re.fullmatch(
            r"1 − \(([\d\u202f]+) ÷ ([\d\u202f]+)\) ÷ \(1 − ([\d.]+)\)", said["counts"]
        ).groups()  # type: ignore[union-attr]
        bad, total = (int(part.replace("\u202f", "")) for part in (bad, total))
        assert float(1 - Fraction(bad, total) / (1 - Fraction(target))) == pytest.approx(said["value"], rel=1e-12)


# -- one by one


QUESTION = explained.Question(Window(1_795_111_200, 1_795_197_600), 12)


def facts(**more: Any) -> explained.Facts:
    cell = screens.cells_of("checkout-api", "system")["latency"]
    given = {"looks": {"1h": (2464, 2500)}, "quantiles": {"p95": Quantile(0.312, 0.3, 0.5)}}
    return explained.Facts(cell, built_in()["latency"], **(given | more))


def test_a_burn_rate_shows_its_two_counts_and_its_window() -> None:
    cell = screens.cells_of("checkout-api", "system")["request_success"]
    one = explained.of_cell(
        explained.Facts(cell, built_in()["request_success"], {"1h": (2464, 2500)}), "burn:1h", QUESTION
    )
    assert one.counts == "(36 ÷ 2\u202f500) ÷ (1 − 0.999)"
    assert one.over == "the last 1h; ends 2026-11-20T18:00:00Z, as of load 12"
    chosen = 'select(.signal == "request_success" and .objective.name == "request_success")'
    assert one.path == f'.signals[] | {chosen} | .objective.burn["1h"]'


def test_a_percentile_names_the_edges_that_bound_it() -> None:
    one = explained.of_cell(facts(), "p95", QUESTION)
    assert one.value == 0.312
    assert "between 0.3 and 0.5" in one.counts


def test_the_line_has_every_filter_and_quotes_what_a_shell_would_read() -> None:
    asked = explained.Question(QUESTION.window, 7, "staging", "v 2", "country=DE", "evaluation", "/etc/my tandem.toml")
    line = explained.line("show", "it's; rm", asked)
    assert shlex.split(line) == [
        "tandem", "show", "it's; rm", "--from", "2026-11-19T18:00:00Z", "--to", "2026-11-20T18:00:00Z", "--as-of", "7",
        "--environment", "staging", "--version", "v 2", "--segment", "country=DE", "--stage", "evaluation", "--config",
        "/etc/my tandem.toml", "--json",
    ]  # fmt: skip


def test_hostile_names_stay_text_in_the_path() -> None:
    cell = screens.cells_of("checkout-api", "system")["latency"]
    bad = '") | error("x'
    aimed = Objective(bad, 0.99, "28d", 0.3, 0.5, None, {"1h": 0.0}, 1, 1)
    one = explained.of_cell(explained.Facts(replace(cell, objective=aimed), built_in()["latency"]), "target", QUESTION)
    assert json.dumps(bad) in one.path
    assert html.escape(one.path) != one.path


@pytest.mark.parametrize("number", ["", "burn:9y", "p12", "objective", "__class__"])
def test_an_unknown_number_is_refused_in_a_sentence(number: str) -> None:
    with pytest.raises(Unreadable, match="no number"):
        explained.of_cell(facts(), number, QUESTION)


def test_unknown_numbers_are_answered_with_404(house: Path) -> None:
    with Reading.open(configuration.load(house), time.time) as reading:
        for query in ({"component": ["nobody"]}, {"component": ["auth-api"], "signal": ["nothing"]},
                      {"component": ["auth-api"], "signal": ["latency"], "number": ["nothing"]},
                      {"component": ["click-model"], "feature": ["nothing"], "number": ["psi"]},
                      {"component": ["click-model"], "measure": ["nothing"]},
                      {"component": ["auth-api"], "joint": ["nobody"]},
                      {"component": ["auth-api"], "delivery": ["nothing"]}):  # fmt: skip
            status, _, body = api.answer(reading, "GET", "/api/v1/explain", query, {})
            assert status == 404, query
            assert json.loads(body)["error"].endswith(".")
        status, _, body = api.answer(reading, "GET", "/api/v1/explain", {"colour": ["red"]}, {})
        assert status == 400
