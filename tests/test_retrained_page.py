"""The block of a model's page on what followed each onset: every state, none, many and hostile names."""

from __future__ import annotations

import html
import re
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from dashboard.blocks.marks import outward
from dashboard.blocks.retrained import OPEN
from tests import screens, screens_retrained
from tests.screens import Engine
from tests.test_dashboard import Open, Tags, markup, open_page, words

__all__ = ["open_page"]
PAGE = {"page": "models", "component": "fraud-score"}
TITLE = "After each onset: was it retrained?"


def block(shown: str) -> str:
    """The markup of the block alone."""
    start = shown.index(f"<h2>{TITLE}</h2>")
    end = shown.find("<h2>", start + 4)
    return shown[start : end if end > 0 else len(shown)]


def plain(markup_: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup_)).replace("\u202f", " ").split())


def test_every_row_says_onset_training_promotion_and_what_then(open_page: Open) -> None:
    shown = block(markup(open_page(**PAGE)))
    said = plain(shown)
    assert "No training since the onset of data drift in amount_usd 6 days ago." in said
    assert "6 onsets · followed by a training 4 · by a promotion 3 · better after it 1" in said
    assert "none since" in said
    assert "not known" in said
    assert "by schedule · trainer" in said
    assert "by code" in said
    assert "by other: api" in said
    assert "not said by what started" in said
    assert "2 trainings since" in said
    assert "2 d after, took 60 min" in said
    assert "5 d after · running" in said
    assert "version 12 between 10 Nov 17:45 and 10 Nov 18:00" in said
    assert "joined by run id" in said
    assert "accuracy 85.0 % → 93.0 % ▲ better +8.00 points, 95 %: +5.28 to +10.7" in said
    assert "accuracy 90.0 % → 85.0 % ▼ worse" in said
    assert "of 1 000 and 1 000 labelled predictions, 3 d each" in said
    assert "○ not enough evidence" in said
    assert "of 1 000 and 1 000 feature-hours of 2 features (for the interval 6 and 6 days), 3 d each" in said
    assert "… too early to tell 3 of the 24 hours after the promotion" in said
    assert "no promotion yet it is still running" in said
    assert "not applicable" in said
    assert not {"because", "caused", "due", "therefore", "fixed"} & set(said.lower().split())


def test_directions_are_in_no_colour_of_a_state(open_page: Open) -> None:
    shown = block(markup(open_page(**PAGE)))
    assert not re.search(r"x-(ok|risk|bad)\b", shown)


def test_both_windows_are_one_click_away(open_page: Open) -> None:
    shown = block(markup(open_page(**PAGE, version="v12")))
    links = [html.unescape(one) for one in re.findall(r'href="(/compare[^"]*)"', shown)]
    assert links
    asked = parse_qs(urlsplit(links[0]).query)
    effect = screens_retrained.rows(screens.NOW)[1].effects[0]
    assert effect.before is not None
    assert effect.after is not None
    assert asked["component"] == ["fraud-score"]
    assert "version" not in asked
    since, until = asked["compare"][0].removeprefix("window:").split("..")
    assert (since, until) == ("20261107T1800Z", "20261110T1800Z")
    assert (asked["from"], asked["to"]) == (["20261110T1800Z"], ["20261113T1800Z"])


def test_a_promoted_version_leads_to_its_own_page(open_page: Open) -> None:
    shown = block(markup(open_page(**PAGE)))
    found = re.search(r'href="(/models[^"]*)">version 12</a>', shown)
    assert found
    assert parse_qs(urlsplit(html.unescape(found[1])).query) == {"component": ["fraud-score"], "version": ["12"]}


def test_many_onsets_are_folded_and_all_there(open_page: Open) -> None:
    shown = block(markup(open_page(engine=Engine("crowd"), **PAGE)))
    assert shown.count('<li class="n-row">') == 42
    head, _, folded = shown.partition("<summary>")
    assert head.count('<li class="n-row">') == OPEN
    assert plain(folded).startswith(f"{42 - OPEN} earlier onsets")


def test_a_model_without_an_onset_says_so(open_page: Open) -> None:
    shown = block(markup(open_page(engine=Engine("empty"), **PAGE)))
    assert "Neither data drift nor a breach of fraud-score began in this window or the 28 days before it." in plain(
        shown
    )
    assert "n-row" not in shown


def test_a_service_has_no_such_block(open_page: Open) -> None:
    assert TITLE not in words(open_page(page="services", component="checkout-api"))


def test_the_block_may_fail_alone(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: Any, *args: Any, **more: Any) -> Any:
        raise ValueError("no")

    monkeypatch.setattr(Engine, "retrained", broken)
    said = words(open_page(**PAGE))
    assert f"{TITLE} cannot be shown" in said
    assert "Feature drift" in said


def test_names_from_outside_stay_text(open_page: Open) -> None:
    shown = block(markup(open_page(engine=Engine("hostile"), **PAGE)))
    tags = Tags()
    tags.feed(shown)
    assert "evil.test" in shown
    assert not re.search(r"<(script|img)\b", shown)
    assert not re.search(r'href="[^/"]', shown), "no address of theirs becomes a link"


@pytest.mark.parametrize(
    ("url", "is_link"),
    [
        ("https://mlflow.example:5000/#/experiments/1/runs/a1?x=%20", True), ("http://localhost/x", True),
        ("javascript:alert(1)", False), ("https://a.test/\" onclick=\"x", False), ("https://a.test/ b", False),
        ("//a.test", False), ("https://user:secret@a.test/", False), ("", False),
        ("https://a.test/" + "a" * 2000, False),
    ],
)  # fmt: skip
def test_only_a_plain_address_of_the_web_leads_out(url: str, is_link: bool) -> None:
    found = outward(url, "<b>")
    assert found.startswith("<a ") is is_link
    assert "&lt;b&gt;" in found
    if is_link:
        assert 'rel="noopener noreferrer"' in found
