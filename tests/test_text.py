# ruff: noqa: E501
"""What comes from outside is shown as text, and numbers are written so that they cannot be misread."""

from __future__ import annotations

import ast
import re
from datetime import UTC
from html.parser import HTMLParser
from pathlib import Path
from zoneinfo import ZoneInfo

import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st

import dashboard
from dashboard import text

NBSP = text.NARROW
LINKS = [
    "http://evil.test", "https://evil.test/a?b=c", "HTTP://EVIL.TEST", "ftp://evil.test/x", "www.evil.test",
    "_www.evil.test", "x_www.evil.test", "WWW.evil.test/x", "me@evil.test", "mailto:me@evil.test", "<http://evil.test>",
    "see http://evil.test.", "(http://evil.test)", "http:\\//evil.test", "//evil.test/x", "xmpp:me@evil.test/x",
]  # fmt: skip
MARKS = [
    "![x](http://evil.test/a.png)", "[a](http://evil.test)", "[a][b]", "[b]: http://evil.test", "**bold**", "_it_",
    "~~gone~~", "`code`", "```\nblock\n```", "# head", "> quote", "- item", "+ item", "1. item", "| a | b |", "---",
    "***", "$x^2$", "$$y$$", ":red[r]", ":red-background[r]", ":blue-badge[b]", ":material/home:", ":streamlit:", ":smile:",
    "a\\*b", "\\[x\\](y)", "[^1]", "a & b &amp; c &lt;", "&#x3C;b&#x3E;", "[a]( javascript:alert(1) )",
]  # fmt: skip
TAGS = [
    "<img src=x onerror=alert(1)>", "<script>alert(1)</script>", "<b>b</b>", "<a href='javascript:alert(1)'>x</a>",
    "<span style=font-size:60px>x</span>", "</span></a></table>", "\" onclick=\"x", "' onclick='x", "<!-- c", "<sup>2</sup>",
    "%{x}", "{{x}}", "<br>", "<svg/onload=alert(1)>",
]  # fmt: skip
HIDDEN = [
    "\u202egnp.exe",
    "a\x00b",
    "\x1b[31mred",
    "\x07bell",
    "\u2066x\u2069",
    "a\u200bb",
    "a\ufeffb",
    "\u2028line",
    "a\tb\nc",
]
ALL = LINKS + MARKS + TAGS + HIDDEN


def test_there_are_enough_hostile_strings() -> None:
    assert len(set(ALL)) >= 50


@pytest.mark.parametrize("given_text", HIDDEN)
def test_nothing_invisible_is_left(given_text: str) -> None:
    assert "\ufffd" in text.clean(given_text)
    assert text.clean(given_text).isprintable()


@given(st.text(max_size=400))
def test_cleaning_is_short_printable_and_done_once(given_text: str) -> None:
    cleaned = text.clean(given_text)
    assert len(cleaned) <= 200
    assert text.clean(cleaned) == cleaned


def unescaped(markdown: str) -> list[str]:
    """Characters of Markdown that stand without a backslash before them."""
    return re.findall(r"[`*_{}\[\]()<>#+\-.!|:$~@&/]", re.sub(r"\\.", "", markdown))


@pytest.mark.parametrize("given_text", ALL)
def test_markdown_has_no_live_mark(given_text: str) -> None:
    assert unescaped(text.md(given_text)) == []


@pytest.mark.parametrize("given_text", LINKS)
def test_markdown_links_no_bare_address(given_text: str) -> None:
    resolved = re.sub(r"\\(.)", r"\1", text.md(given_text))
    assert not re.search(r"(?i)(https?|ftp|mailto):|www\.|[a-z]@[a-z]", resolved)


@given(st.text(max_size=200))
def test_markdown_reads_as_what_was_cleaned(given_text: str) -> None:
    resolved = re.sub(r"\\(.)", r"\1", text.md(given_text)).replace("\u2060", "")
    assert resolved == text.clean(given_text)


class Read(HTMLParser):
    """Collects tags and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.words = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.append(f"{tag} {attrs}")

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.mark.parametrize("given_text", ALL)
def test_html_is_text_in_an_element_and_in_an_attribute(given_text: str) -> None:
    read = Read()
    read.feed(f'<p title="{text.hx(given_text)}">{text.hx(given_text)}</p>')
    read.close()
    assert read.tags == [f"p {[('title', text.clean(given_text))]}"]
    assert read.words == text.clean(given_text)


@pytest.mark.parametrize("given_text", ALL)
def test_plotly_gets_no_tag_and_plotly_accepts_it(given_text: str) -> None:
    shown = text.px(given_text)
    assert "<" not in shown
    assert go.Figure(layout={"title": {"text": shown}}).layout.title.text == shown


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_runs_a_cell(cell: str) -> None:
    assert text.csvsafe(cell) == "'" + cell
    assert text.csvsafe("checkout") == "checkout"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (1.0, "100"), (0.99999999, "99.9999"), (0.99977, "99.97"), (0.9995, "99.95"), (0.9991, "99.91"), (0.961, "96.1"),
        (0.5, "50.0"), (0.0, "0.0"), (0.99, "99.0"), (0.9999, "99.990"),
    ],
)  # fmt: skip
def test_a_share_is_never_rounded_up_to_all(value: float, shown: str) -> None:
    assert text.share(value) == f"{shown}{NBSP}%"


@given(st.floats(0, 1, exclude_max=True))
def test_only_all_of_it_is_100_percent(value: float) -> None:
    assert not text.share(value).startswith("100")


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0881, "88.1 ms"), (0.3, "300 ms"), (1.5, "1.50 s"), (372, "6.20 min"), (7560, "2.10 h"), (864000, "10.0 d")],
)
def test_durations(value: float, shown: str) -> None:
    assert text.seconds(value).replace(NBSP, " ") == shown


def test_numbers() -> None:
    assert text.digits(1234.5) == f"1{NBSP}234" or text.digits(1234.5) == f"1{NBSP}235"
    assert text.digits(0.000123) == "0.000123"
    assert text.digits(float("nan")) == "–"
    assert text.count(8_410_000) == f"8{NBSP}410{NBSP}000"
    assert text.target(0.999) == f"99.9{NBSP}%"
    assert text.burn(3.84) == "3.8×"
    assert text.age(40) == f"40{NBSP}s"
    assert text.age(-5) == f"0{NBSP}s"
    assert text.edge(0.05) == f"50{NBSP}ms"
    assert text.edge(100.0) == f"100{NBSP}s"


def test_windows_for_people() -> None:
    assert text.span(1_795_111_200, 1_795_197_600, UTC) == "19–20 Nov, 18:00 to 18:00 UTC"
    assert text.span(1_795_111_200, 1_795_197_600, ZoneInfo("Europe/Berlin")).endswith("19:00 to 19:00 CET")
    assert "2025" in text.span(1_795_111_200 - 400 * 86400, 1_795_197_600, UTC)


SOURCES = sorted(Path(dashboard.__file__).parent.glob("*.py"))
ESCAPERS = {"md", "hx", "px", "clean", "count", "age", "share"}


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_sink_of_raw_html(path: Path) -> None:
    for call in calls(path):
        assert name_of(call) not in {"st.html", "st.table", "st.components.v1.html", "st.exception"}
        assert not any(keyword.arg == "unsafe_allow_html" for keyword in call.keywords)
    assert ".to_html" not in path.read_text(encoding="utf-8")


def raw_parts(node: ast.AST) -> list[str]:
    found = []
    for part in ast.walk(node):
        if isinstance(part, ast.FormattedValue):
            value = part.value
            escaped = isinstance(value, ast.Call) and name_of(value).rpartition(".")[2] in ESCAPERS
            if not escaped:
                found.append(ast.unparse(value))
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_raw_text_in_streamlit_sinks(path: Path) -> None:
    for call in calls(path):
        if name_of(call).startswith("st.") and not name_of(call).startswith("st.session_state"):
            for argument in [*call.args, *(k.value for k in call.keywords if k.arg not in ("key", "format_func"))]:
                if isinstance(argument, ast.JoinedStr):
                    assert raw_parts(argument) == [], f"{path.name}:{call.lineno}"


def test_the_check_of_sinks_can_fail() -> None:
    bad = ast.parse('st.markdown(f"**{name}**")').body[0]
    good = ast.parse('st.markdown(f"**{md(name)}**")').body[0]
    assert raw_parts(bad) == ["name"]
    assert raw_parts(good) == []


def test_a_long_path_is_cut_in_its_middle() -> None:
    assert text.middle("short/path", 20) == "short/path"
    cut = text.middle("/srv/exports/company/predictions/fraud-detector/*.parquet", 30)
    assert len(cut) == 30
    assert cut.startswith("/srv/expo…")
    assert cut.endswith("detector/*.parquet")
