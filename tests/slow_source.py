"""A connector of its own package, for tests that run Tandem in other processes: many small commits, told and held.

Every page repeats a bucket and the event of the page before, and adds a slice and an event. The environment variable
TOLD_FD names a descriptor that gets a byte per page, GO_FD one from which a byte is taken before page `hold`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem import collect
from tandem.bins import Layout
from tandem.connect import About, Common, Item, Pull, setting
from tandem.records import Covered, Event, Fact, Histogram, Page, Ratio, Sample, Series, Slice

START = 1_700_000_100 // 300 * 300
ABOUT = About(reads="pages that a test counts", signals=("availability", "latency"))
LAYOUT = Layout("edges", (0.1, 0.5, 1.0), digits=3)


@dataclass(frozen=True)
class Config:
    common: Common
    pages: int = setting("How many pages there are.", default=40)
    hold: int = setting("The page before which a byte is waited for.", default=-1)
    rows: int = setting("Buckets of a page.", default=3)


def scope(config: Config) -> str:
    return f"slow/{config.common.name}"


def recognise(item: Item) -> bool:
    return item.name.endswith(".slow")


def parse(item: Item, config: Config) -> Iterator[Page]:
    with item.open() as file:
        yield page(config, int(file.read()))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    collect.SECONDS = 0  # every page is a transaction
    for number in range(pull.state or 0, config.pages):
        if number == config.hold and "GO_FD" in os.environ:
            os.read(int(os.environ["GO_FD"]), 1)
        yield additive(config, number)
        yield page(config, number)
        if "TOLD_FD" in os.environ:
            os.write(int(os.environ["TOLD_FD"]), b".")


def page(config: Config, number: int) -> Page:
    begin = START + number * config.rows * 300
    series = Series(signal="availability", component="shop")
    facts: list[Any] = [Fact(series, begin + n * 300, Ratio(9 + n, 10 + n)) for n in range(config.rows)]
    if number:
        facts.append(Fact(series, begin - 300, Ratio(8 + config.rows, 9 + config.rows)))
    events = [build(one) for one in range(max(number - 1, 0), number + 1)]
    sample = Sample(Series(signal="sample", name="loss", component="shop", stage="training"), begin, 1 / (1 + number),
                    run="r", step=number)  # fmt: skip
    covered = (Covered(START, begin + config.rows * 300),)
    return Page((*facts, *events, sample), state=number + 1, covered=covered)


def build(number: int) -> Event:
    begin = START + number * 600
    return Event(kind="build", key=str(number), ts=begin, started=begin, ended=begin + 90 + number,
                 outcome="bad" if number % 5 == 0 else "good", components=("shop",))  # fmt: skip


def additive(config: Config, number: int) -> Page:
    series = Series(signal="latency", component="shop")
    fact = Fact(series, START + number * 60 // 300 * 300, Histogram(LAYOUT, {1: number + 1, 2: 2}, {1: 250, 2: 1500}))
    return Page((fact,), slice=Slice(f"part-{number}", f"digest-{number}"), covered=())


def slices_until(state: int) -> int:
    """How many requests the slices of the first `state` pages count."""
    return sum(number + 3 for number in range(state))


def packaged(folder: Path) -> Path:
    """A folder for PYTHONPATH that makes this module a connector named slow_source."""
    told = folder / "slow_source-1.dist-info"
    told.mkdir(parents=True)
    (told / "METADATA").write_text("Metadata-Version: 2.1\nName: slow-source\nVersion: 1\n")
    (told / "entry_points.txt").write_text("[tandem.connectors]\nslow_source = tests.slow_source\n")
    return folder
