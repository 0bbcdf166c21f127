"""A connector whose pages a test writes, and a configuration around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tandem.catalog import built_in
from tandem.config import Component, Config, Objective, Source
from tandem.connect import About, Common, Pull
from tandem.records import Page

NOW = 1_790_000_100 // 300 * 300
"""An ordinary moment, 2026-09-21."""


@dataclass(frozen=True)
class FakeConfig:
    common: Common
    url: str = "http://127.0.0.1:1"


def connector(fetch: Callable[[Pull], Iterator[Page]], scope: str = "fake") -> Any:
    return SimpleNamespace(
        ABOUT=About(reads="what a test says"),
        Config=FakeConfig,
        scope=lambda config: scope,
        fetch=lambda config, pull: fetch(pull),
        parse=lambda item, config: iter(()),
        recognise=lambda item: False,
        __name__="connectors.fake",
    )


def source(
    fetch: Callable[[Pull], Iterator[Page]], *, name: str = "fake", scope: str = "fake", **common: Any
) -> Source:
    given = Common(connector="fake", name=name, **common)
    return Source(given, connector(fetch, scope), FakeConfig(given))


def saying(pages: Sequence[Page]) -> Callable[[Pull], Iterator[Page]]:
    return lambda pull: iter(pages)


def config(
    folder: Path, *sources: Source, components: Sequence[Component] = (), objectives: Sequence[Objective] = ()
) -> Config:
    return Config(
        path=folder / "tandem.toml",
        store=folder / "tandem.duckdb",
        timezone="UTC",
        components=tuple(components),
        objectives=tuple(objectives),
        signals=built_in(),
        sources=tuple(sources),
    )
