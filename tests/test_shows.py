"""Parts of an answer that are lists: versions with their aliases, samples, events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import collect, report
from tandem.config import Component, Source
from tandem.records import Event, Page, Record, Sample, Series
from tandem.report import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.fakes import NOW, saying, source

FRAUD = Component("fraud", "model", "shop")
LAST_DAY = Window(NOW - 86400, NOW)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def said(store: Store, records: Sequence[Record], now: int = NOW, **keys: Any) -> Source:
    one = source(saying([Page(list(records))]), **keys)
    assert not collect.pull(store, one, now).error
    return one


def shown(store: Store, sources: Sequence[Source], window: Window = LAST_DAY, **asked: Any) -> dict[str, Any]:
    config = fakes.config(store.path.parent, *sources, components=(FRAUD,))
    context: Any = SimpleNamespace(config=config, store=store)
    return report.show(context, "fraud", window, now=NOW, **asked)


def sample(step: int, value: float, version: str = "", run: str = "r1", name: str = "loss") -> Sample:
    series = Series("sample", component="fraud", name=name, version=version, stage="training")
    return Sample(series, NOW - 7200 + step, value, run, step)


def test_the_newest_sample_of_each_name_and_run_is_shown_once(store: Store) -> None:
    early = [sample(1, 0.5), sample(2, 0.4), sample(1, 0.9, run="r2"), sample(1, 0.7, name="accuracy")]
    said(store, early)
    one = said(store, [sample(1, 0.5, "3"), sample(2, 0.4, "3")], now=NOW + 300)
    found = [(row["name"], row["run"], row["value"], row["version"]) for row in shown(store, [one])["samples"]]
    assert sorted(found, key=str) == [
        ("accuracy", "r1", 0.7, None), ("loss", "r1", 0.4, "3"), ("loss", "r2", 0.9, None),
    ]  # fmt: skip
    assert [row["version"] for row in shown(store, [one], version="3")["samples"]] == ["3"]
    before = shown(store, [one], as_of=1)["samples"]
    assert {(row["name"], row["run"], row["version"]) for row in before} == {
        ("loss", "r1", None), ("loss", "r2", None), ("accuracy", "r1", None),
    }  # fmt: skip


def test_a_corrected_sample_is_the_newest(store: Store) -> None:
    said(store, [sample(2, 0.4)])
    one = said(store, [sample(2, 0.3)], now=NOW + 300)
    assert [row["value"] for row in shown(store, [one])["samples"]] == [0.3]


def test_a_run_that_two_sources_know_is_shown_once(store: Store) -> None:
    first = said(store, [sample(2, 0.4)], name="server", scope="server")
    second = said(store, [sample(2, 0.4), sample(3, 0.2)], name="files", scope="files")
    assert [row["source"] for row in shown(store, [first, second])["samples"]] == ["server"]
    assert [row["source"] for row in shown(store, [second, first])["samples"]] == ["files"]


def release(version: str, at: int) -> Event:
    return Event(
        "release", f"fraud/{version}", at, version=version, components=("fraud",), labels=(("model", "fraud"),)
    )


def moved(version: str, since: int, until: int, before: str = "") -> Event:
    labels = (("alias", "champion"), ("from", before), ("model", "fraud"))
    key = f"fraud@champion:{version}:{since}"
    return Event("promotion", key, since, ts_latest=until, version=version, components=("fraud",), labels=labels)


def aliases(store: Store, one: Source, **asked: Any) -> dict[str, list[str]]:
    return {row["version"]: row["aliases"] for row in shown(store, [one], **asked)["versions"]}


def test_aliases_follow_moves_back_and_removals(store: Store) -> None:
    history = [release("1", NOW - 9000), release("2", NOW - 8000), moved("1", NOW - 9000, NOW - 8400)]
    said(store, history)
    said(store, [moved("2", NOW - 8400, NOW - 7000, "1")], now=NOW + 300)
    said(store, [moved("1", NOW - 7000, NOW - 6000, "2")], now=NOW + 600)
    one = said(store, [moved("", NOW - 6000, NOW - 5000, "1")], now=NOW + 900)
    assert [aliases(store, one, as_of=load) for load in (1, 2, 3, 4)] == [
        {"1": ["champion"], "2": []}, {"1": [], "2": ["champion"]}, {"1": ["champion"], "2": []}, {"1": [], "2": []},
    ]  # fmt: skip
    assert aliases(store, one, version="2") == {"2": []}
    assert aliases(store, one, window=Window(NOW - 9000, NOW - 8400)) == {"1": ["champion"]}


def test_a_registry_that_two_sources_know_is_listed_once(store: Store) -> None:
    history = [release("1", NOW - 9000), moved("1", NOW - 9000, NOW - 8400)]
    first = said(store, history, name="server", scope="server")
    second = said(store, [*history, release("2", NOW - 8000)], name="files", scope="files")
    assert aliases(store, first) == {"1": ["champion"], "2": []}
    both = shown(store, [first, second])["versions"]
    assert [(row["version"], row["aliases"]) for row in both] == [("1", ["champion"]), ("2", [])]


def test_of_a_build_the_newest_attempt_is_shown(store: Store) -> None:
    first = Event("build", "9", NOW - 90000, started=NOW - 89990, ended=NOW - 50000, outcome="bad", title="first",
                  components=("fraud",))  # fmt: skip
    again = replace(first, attempt=2, started=NOW - 100, ended=None, outcome="open", title="second")
    one = said(store, [first, again])
    assert [row["title"] for row in shown(store, [one])["events"]] == ["second"]
    ended = replace(again, ended=NOW - 50, outcome="good")
    said(store, [ended], now=NOW + 300)
    assert [row["title"] for row in shown(store, [one])["events"]] == ["second"]
    assert [row["title"] for row in shown(store, [one], as_of=1)["events"]] == ["second"]


def test_what_is_open_lasts_until_now(store: Store) -> None:
    incident = Event("incident", "7", NOW - 3 * 86400, outcome="open", components=("fraud",), title="slow")
    one = said(store, [incident])
    assert [row["title"] for row in shown(store, [one])["events"]] == ["slow"]
    said(store, [replace(incident, ended=NOW - 2 * 86400, outcome="bad")], now=NOW + 300)
    assert shown(store, [one])["events"] == []
