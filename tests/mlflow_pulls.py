"""Pulls and imports of MLflow in tests: the replayed server, and what pages hold."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, mlflow
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Fact, Finding, Page, Sample
from tests.mlflow_replay import PAYLOADS, Replay, Running

LOGREG, FOREST, SGD = (
    "30117c8bafeb4b34806733e03d2dd2f3",
    "998b4dc702d447bebdc289d024453253",
    "54c9dbd1efee469f8ddedb36090b639a",
)
NOW = 1795250000
DATABASE = PAYLOADS / "mlflow_min.db"
SEEN = ("promotion", "validation")
"""Kinds whose times are those of the look."""


@pytest.fixture
def replay() -> Replay:
    return Replay()


@pytest.fixture
def server(replay: Replay) -> Iterator[Running]:
    with Running(replay) as running:
        yield running


def config(url: str = "", **changes: Any) -> mlflow.Config:
    return mlflow.Config(Common("mlflow", "registry"), url=url, **changes)


_PULL = ("since", "open", "sweep", "first", "taken")


def pull(server: Running | str, now: int = NOW, state: Any = None, **changes: Any) -> list[Page]:
    url = server if isinstance(server, str) else server.url
    asked = {"since": now - 90 * 86400} | {key: changes.pop(key) for key in _PULL if key in changes}
    return list(mlflow.fetch(config(url, **changes), Pull(until=now, now=now, state=state, **asked)))


def parsed(path: Path, given: Given | None = None, **changes: Any) -> list[Page]:
    item = _files.item(path, given or Given())
    assert mlflow.recognise(item)
    return list(mlflow.parse(item, config(**changes)))


def events(pages: list[Page], kind: str) -> dict[str, Event]:
    return {r.key: r for page in pages for r in page.records if isinstance(r, Event) and r.kind == kind}


def samples(pages: list[Page], name: str = "", run: str = "") -> list[Sample]:
    found = [r for page in pages for r in page.records if isinstance(r, Sample)]
    return [s for s in found if name in ("", s.series.name) and run in ("", s.run)]


def findings(pages: list[Page]) -> list[Finding]:
    return [finding for page in pages for finding in page.findings]


def records(pages: list[Page], *, without: tuple[str, ...] = ()) -> set[Any]:
    """All records; counts as text, for they are made of dictionaries."""
    found = [r for page in pages for r in page.records if not (isinstance(r, Event) and r.kind in without)]
    return {repr(one) if isinstance(one, Fact) else one for one in found}


def facts(pages: list[Page]) -> list[Fact]:
    return [r for page in pages for r in page.records if isinstance(r, Fact)]


def state(pages: list[Page]) -> Any:
    """The last state, as it comes back out of the store."""
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))
