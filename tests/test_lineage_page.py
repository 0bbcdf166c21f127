"""The panel on where a version comes from: every link with its join, what is unknown by name, and two runs."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dashboard import between
from dashboard.blocks.lineage import SURE, TITLES, WORDS, track
from dashboard.view import view
from tandem import tracing
from tests import screens, screens_lineage
from tests.screens import Engine
from tests.screens_lineage import RUN, SECOND
from tests.test_dashboard import Open, Tags, markup, open_page, words

__all__ = ["open_page"]
PAGE = {"page": "models", "component": "fraud-score"}
TITLE = "Where this version comes from"
KNOWN: Any = {"environments": (), "products": (), "context": screens.context()}
SHOWN = view("models", {}, screens.NOW, **KNOWN)


def drawn(kind: str) -> str:
    chain = tracing.chain(screens_lineage.known("fraud-score", kind, screens.NOW))
    assert chain is not None
    return track(chain, SHOWN)


def said(inside: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", inside).split())


def test_the_chain_is_an_ordered_list_with_every_join_and_its_reason(open_page: Open) -> None:
    shown = markup(open_page(**PAGE))
    assert f"<h2>{TITLE}</h2>" in shown
    track = shown.partition('<ol class="z-track">')[2].partition("</ol>")[0]
    assert re.findall(r"<h3>([^<]+)</h3>", track) == list(TITLES.values())
    told = said(track)
    for one in ("Joined by run id a1b2c3d4a1b2c3d4…, named by version 8 of registry.",
                "Joined by commit 3f2a9c1d4b5e6f70…, named by training run a1b2c3d4a1b2c3d4… of registry.",
                "Registry itself says so of version 8.", "12,345 predictions of this window",
                "The configuration says that registry and log number versions alike."):  # fmt: skip
        assert one in told
    assert 'href="https://mlflow.example/#/models/fraud"' in track
    assert "1 thing of the same name, not joined" in told
    assert "Says version 8 too; a name alone joins nothing." in told


def test_what_it_can_be_made_again_from_is_known_or_named(open_page: Open) -> None:
    told = words(open_page(**PAGE))
    assert "Reproducible from" in told
    assert "All four are known." in told
    lacking = said(drawn("ambiguous"))
    assert "Not wholly known: parameters, data version, environment." in lacking
    assert lacking.count(SURE["ambiguous"]) == 3


def test_ambiguity_and_conflict_are_shown_as_what_they_are() -> None:
    both = said(drawn("ambiguous"))
    assert WORDS["ambiguous"] in both
    assert "2 runs are of the same commit 3f2a9c1d4b5e6f70…; nothing tells which of them it was." in both
    conflict = said(drawn("conflict"))
    assert "Conflict the configuration leads to run b2c3d4e5b2c3d4e5…, but run id a1b2c3d4a1b2c3d4…" in conflict
    assert "Written down in the configuration: ana: the registry was restored" in conflict


def test_a_state_is_a_word_and_a_shape_and_no_states_colour() -> None:
    inside = drawn("full")
    for state in re.findall(r'class="z-link z-(\w+)"', inside):
        assert WORDS[state] in inside
    assert not re.search(r"x-(ok|risk|bad)\b", inside)
    assert inside.count('aria-hidden="true"') == len(TITLES)


def test_without_a_version_the_panel_says_what_to_do(open_page: Open) -> None:
    told = words(open_page(engine=Engine("empty"), **PAGE))
    assert "No source tells of a version of this model." in told
    assert "tandem init --connector" in told


def test_names_from_outside_stay_text(open_page: Open) -> None:
    test = open_page(engine=Engine("hostile"), **PAGE)
    shown = markup(test)
    panel = shown[shown.index(TITLE) :]
    tags = Tags()
    tags.feed(panel)
    assert "javascript:" not in "".join(re.findall(r'href="([^"]*)"', panel))
    assert not {"script", "img", "iframe"} & {name for name, _ in tags.found}


def test_two_runs_stand_side_by_side_and_the_link_holds_them(open_page: Open) -> None:
    value = between.written(RUN, SECOND)
    test = open_page(**PAGE, selected=value)
    told = words(test)
    for one in ("Two runs side by side", "learning_rate", "0.04", "0.05", "Metric, evaluation", "0.95", "step 11",
                "The same in both: 1 parameter, 2 labels of the environment, 1 fact of the run."):  # fmt: skip
        assert one in told
    assert [box.value for box in test.selectbox if box.label in ("Run A", "Run B")] == [RUN, SECOND]
    [box] = [box for box in test.selectbox if box.label == "Run B"]
    box.set_value(RUN).run()
    assert test.query_params["selected"] == between.written(RUN, RUN)
    assert not test.exception


def test_a_run_that_is_gone_breaks_no_more_than_its_own_panel(open_page: Open) -> None:
    told = words(open_page(**PAGE, selected=between.written(RUN, "gone-1234")))
    assert "Two runs side by side cannot be shown: fraud-score has no training run" in told
    assert "Reproducible from" in told


def test_the_engine_is_asked_once_for_what_is_shown(open_page: Open) -> None:
    engine = Engine()
    open_page(engine=engine, **PAGE, version="8")
    assert [(one["version"], one["compare"]) for one in engine.traced] == [("8", ())]


@pytest.mark.parametrize(("a", "b"), [("x", "y"), ("", "y"), ("x", ""), ("", "")])
def test_two_runs_and_a_link_are_one(a: str, b: str) -> None:
    value = between.written(a, b)
    assert between.runs(value) == (a, b)
    asked: Any = view("models", {"selected": value} if value else {}, screens.NOW, **KNOWN)
    assert (asked.runs, asked.selected) == ((a, b), "")


def test_a_feature_in_the_link_is_no_pair_of_runs() -> None:
    asked: Any = view("models", {"selected": "amount..total"}, screens.NOW, **KNOWN)
    assert (asked.runs, asked.selected) == (("", ""), "amount..total")
