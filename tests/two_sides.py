"""A model's raw rows, and the store made of them, so that every answer can be worked out from the rows."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tandem import bins, collect
from tandem.bins import Layout
from tandem.config import Component
from tandem.records import HOUR, Baseline, Confusion, Fact, Histogram, Page, Ratio, Series
from tandem.store.file import Store
from tests import fakes

Array = np.ndarray[Any, Any]
END = fakes.NOW // HOUR * HOUR
HOURS = 12
"""Two halves of six hours."""
BEGIN = END - HOURS * HOUR
CARDS = ("visa", "amex", "jcb", "coop")


@dataclass
class Rows:
    """One array per column, all of one length."""

    ts: Array
    version: Array
    country: Array
    numbers: dict[str, Array]
    card: Array
    actual: Array
    predicted: Array
    score: Array

    def where(self, mask: Array) -> Rows:
        numbers = {name: values[mask] for name, values in self.numbers.items()}
        return Rows(self.ts[mask], self.version[mask], self.country[mask], numbers, self.card[mask],
                    self.actual[mask], self.predicted[mask], self.score[mask])  # fmt: skip

    def between(self, since: int, until: int) -> Rows:
        return self.where((self.ts >= since) & (self.ts < until))


def rows(n: int = 40_000, seed: int = 3) -> Rows:
    """Twelve hours of two versions: in the second half amounts have grown, "coop" cards came and "jcb" went."""
    dice = np.random.default_rng(seed)
    hour = dice.integers(0, HOURS, n)
    late = hour >= HOURS // 2
    numbers = {
        "normal": dice.normal(5, 2, n) + 0.6 * late,
        "lognormal": dice.lognormal(0, 1.5, n) * np.where(late, 1.2, 1),
        "pareto": (dice.pareto(2.5, n) + 1) * np.where(late, 1.1, 1),
        "bimodal": np.where(dice.random(n) < np.where(late, 0.4, 0.5), -3.0, 3.0) + dice.normal(0, 0.4, n),
        "steady": dice.normal(0, 1, n),
    }
    numbers["steady"][dice.random(n) < 0.02] = np.nan
    early_card, late_card = dice.choice(4, n, p=(0.5, 0.3, 0.2, 0)), dice.choice(4, n, p=(0.5, 0.3, 0, 0.2))
    score = dice.beta(1, 4, n)
    actual = (dice.random(n) < score).astype(int)
    return Rows(
        ts=BEGIN + hour * HOUR, version=np.where(dice.random(n) < 0.3, "8", "7"),
        country=np.where(dice.random(n) < 0.4, "FR", "DE"), numbers=numbers,
        card=np.array(CARDS)[np.where(late, late_card, early_card)], actual=actual.astype(str),
        predicted=(score > 0.5).astype(int).astype(str), score=score,
    )  # fmt: skip


def of_numbers(layout: Layout, values: Array) -> Histogram:
    places, amounts = bins.codes(layout, values), bins.quanta(values, layout.digits or 0)
    found = np.unique(places).tolist()
    counts = {place: int((places == place).sum()) for place in found}
    return Histogram(layout, counts, {p: sum(amounts[places == p].tolist()) for p in found if p != bins.MISSING})


def of_texts(layout: Layout, values: Array) -> Histogram:
    at = {value: place for place, value in enumerate(layout.values)}
    texts, counts = np.unique(values, return_counts=True)
    return Histogram(layout, {at[str(t)]: int(n) for t, n in zip(texts, counts, strict=True)}, {})


def layouts(reference: Rows) -> dict[str, Layout]:
    return {name: bins.feature_layout(values) for name, values in reference.numbers.items()}


CATEGORIES = Layout(kind="categories", values=CARDS)
CLASSES = Layout(kind="categories", values=("0", "1"))


def facts(given: Rows, known: dict[str, Layout]) -> Iterator[Fact]:
    for ts in np.unique(given.ts).tolist():
        for version in np.unique(given.version).tolist():
            for segment in ("", "country=DE", "country=FR"):
                mask = (given.ts == ts) & (given.version == version)
                if segment:
                    mask &= given.country == segment.partition("=")[2]
                part = given.where(mask)
                if part.ts.size:
                    yield from _told(part, known, int(ts), {"version": version, "segment": segment})


def _told(part: Rows, known: dict[str, Layout], ts: int, where: dict[str, str]) -> Iterator[Fact]:
    def series(signal: str, name: str = "") -> Series:
        return Series(signal, component="scorer", name=name, **where)

    for name, layout in known.items():
        yield Fact(series("feature", name), ts, of_numbers(layout, part.numbers[name]))
    yield Fact(series("feature", "card"), ts, of_texts(CATEGORIES, part.card))
    yield Fact(series("prediction"), ts, of_texts(CLASSES, part.predicted))
    for actual in ("0", "1"):
        mine = part.score[part.actual == actual]
        yield Fact(series("score", actual), ts, of_numbers(bins.SCORE, mine))
    yield Fact(series("outcome"), ts, confusion(part))
    yield Fact(series("volume"), ts, Ratio(part.ts.size, part.ts.size))


def confusion(part: Rows) -> Confusion:
    cells: dict[tuple[str, str], int] = {}
    for pair in zip(part.actual.tolist(), part.predicted.tolist(), strict=True):
        cells[pair] = cells.get(pair, 0) + 1
    return Confusion(cells)


def baselines(reference: Rows, known: dict[str, Layout], since: int, until: int) -> Iterator[Baseline]:
    for name, layout in known.items():
        values = reference.numbers[name]
        values = values[np.isfinite(values)]
        squares = sum(one * one for one in bins.quanta(values, layout.digits or 0).tolist())
        series = Series("feature", component="scorer", name=name)
        yield Baseline(series, of_numbers(layout, values), since, until, squares)
    cards = of_texts(CATEGORIES, reference.card)
    yield Baseline(Series("feature", component="scorer", name="card"), cards, since, until)
    yield Baseline(Series("prediction", component="scorer"), of_texts(CLASSES, reference.predicted), since, until)


COMPONENTS = (Component("shop", product="store"), Component("scorer", "model", product="store"))


def stored(folder: Path, pages: list[Page], now: int = fakes.NOW) -> Any:
    """A context over a new store that has these pages."""
    store = Store(folder / "tandem.duckdb")
    for page in pages:  # each a pull of its own
        given = fakes.config(folder, fakes.source(fakes.saying([page]), name="log"), components=COMPONENTS)
        [outcome] = collect.sync(store, given, now)
        assert outcome.error == ""
    return SimpleNamespace(config=given, store=store, now=lambda: now, first_done=True, token="")
