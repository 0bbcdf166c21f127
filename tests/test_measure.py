"""Every number of a page against a slow recomputation from the finest rows; one source counts, others bear witness."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tandem import collect, report, slo
from tandem.bins import Layout
from tandem.config import Component, Config, Objective
from tandem.measure import Measures
from tandem.records import BUCKET, DAY, HOUR, Confusion, Covered, Fact, Histogram, Page, Ratio, Series, Slice
from tandem.shown import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader, cut, pieces
from tests.fakes import NOW, config, saying, source

EDGES = (0.1, 0.2, 0.3, 0.5)
LATENCY = Layout(edges=EDGES, closed="right", unit="s", digits=6)
DAYS = 33
BEGIN = (NOW - DAYS * DAY) // DAY * DAY
PARTS = (Component("api", "service", "shop"), Component("model", "model", "shop"))
WINDOWS = (
    (NOW - DAY, NOW), (NOW - 7 * DAY + 900, NOW - 300), (NOW - 28 * DAY, NOW),
    (NOW - 5 * DAY - 2100, NOW - 2 * DAY - 1500), (NOW - 1500, NOW), (NOW - 3 * DAY, NOW - 3 * DAY + 300),
)  # fmt: skip
"""Whole, ragged, short and past."""


def pages(chance: random.Random, since: int, until: int, thin: int) -> list[Page]:
    """Facts of a few buckets of every kind, as one source says them."""
    facts: list[Fact] = []
    for ts in range(since, until, BUCKET):
        if chance.randrange(thin):
            continue
        total = chance.randrange(1, 60)
        facts.append(Fact(Series("availability", component="api"), ts, Ratio(total - chance.randrange(2), total)))
        counts = {place: chance.randrange(5) for place in range(len(EDGES) + 1)}
        facts.append(Fact(Series("latency", component="api"), ts, Histogram(LATENCY, counts, {})))
        cells = {(a, p): chance.randrange(9) for a in "01" for p in "01"}
        facts.append(Fact(Series("outcome", component="model"), ts, Confusion(cells)))
    return [Page(facts, covered=[Covered(since, until)])]


def pulled(store: Store, known: Config, name: str, given: Sequence[Page]) -> None:
    one = known.source(name)
    assert one is not None
    speaking = source(saying(given), **{**vars_of(one), "name": name, "scope": name})
    outcome = collect.pull(store, speaking, NOW)
    assert not outcome.error, outcome.error


def vars_of(one: Any) -> dict[str, Any]:
    return {"primary": one.common.primary, "combine": one.common.combine}


def sourced(folder: Path, *given: dict[str, Any], objectives: Sequence[Objective] = ()) -> Config:
    sources = [source(saying([]), **{"scope": one["name"], **one}) for one in given]
    return config(folder, *sources, components=PARTS, objectives=objectives)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory):
    """A month of one source, part of it stated anew twice."""
    folder = tmp_path_factory.mktemp("measure")
    known = sourced(folder, {"name": "a"})
    chance = random.Random(3)
    with open_store(folder / "tandem.duckdb") as opened:
        pulled(opened, known, "a", pages(chance, BEGIN, NOW, 4))
        pulled(opened, known, "a", pages(chance, NOW - 9 * DAY, NOW - 6 * DAY, 3))
        pulled(opened, known, "a", pages(chance, NOW - 2 * DAY, NOW, 5))
        yield opened


def finest(
    store: Store, kind: str, signal: str, since: int, until: int, as_of: int, sources: Sequence[int] = ()
) -> dict:
    """Straight from the 5-minute rows: values summed by key."""
    keys = {"ratio": "", "histogram": "bin,", "confusion": "actual, predicted,"}[kind]
    values = {"ratio": "sum(good), sum(total)", "histogram": "sum(n)", "confusion": "sum(n)"}[kind]
    rows = store.cursor().execute(
        f"SELECT {keys} {values} FROM {kind} f JOIN series s ON s.id = f.series WHERE s.signal = ? AND ts >= ? "
        f"AND ts < ? AND f.load_id <= ? AND (len(?::INTEGER[]) = 0 OR list_contains(?::INTEGER[], s.source)) "
        "GROUP BY ALL",
        [signal, since, until, as_of, list(sources), list(sources)],
    ).fetchall()  # fmt: skip
    if kind == "ratio":
        return {"": (int(rows[0][0] or 0), int(rows[0][1] or 0))} if rows else {"": (0, 0)}
    return {row[0] if kind == "histogram" else row[:2]: int(row[-1]) for row in rows if row[-1]}


def good_total(
    store: Store, signal: str, since: int, until: int, as_of: int, sources: Sequence[int] = ()
) -> tuple[int, int]:
    kind = {"availability": "ratio", "latency": "histogram", "outcome": "confusion"}[signal]
    found = finest(store, kind, signal, since, until, as_of, sources)
    if kind == "ratio":
        return found[""]
    if kind == "histogram":  # good: at or under 0.3 s, the third edge
        return sum(n for place, n in found.items() if place <= 2), sum(found.values())
    return sum(n for (actual, predicted), n in found.items() if actual == predicted), sum(found.values())


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("as_of", [None, 1, 2])
def test_every_total_budget_and_burn_is_that_of_the_five_minute_rows(
    store: Store, tmp_path: Path, window: tuple[int, int], as_of: int | None
) -> None:
    known = sourced(tmp_path, {"name": "a"})
    measures = Measures(Reader(store, as_of), known, Window(*window), NOW)
    load = store.version() if as_of is None else as_of
    answers = measures.answers(measures.asked(["api", "model"], ("availability", "latency", "outcome")))
    assert [answer.asked.signal.name for answer in answers] == ["availability", "latency", "outcome"]
    for answer in answers:
        signal, target = answer.asked.signal.name, answer.asked.target
        assert target is not None
        assert (answer.good, answer.total) == good_total(store, signal, *window, load)
        assert answer.objective == good_total(store, signal, window[1] - 28 * DAY, window[1], load)
        for seconds, counts in answer.burns.items():
            good, total = good_total(store, signal, window[1] - seconds, window[1], load)
            assert counts == (good, total)
            slow = Fraction(total - good, total) / (1 - target) if total else None
            assert slo.burn(good, total, target) == slow
            assert slo.burn_number(good, total, target) == (float(slow) if slow is not None else None)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("as_of", [None, 1])
def test_every_step_of_a_card_and_a_line_is_that_of_the_five_minute_rows(
    store: Store, tmp_path: Path, window: tuple[int, int], as_of: int | None
) -> None:
    context = SimpleNamespace(store=store, config=sourced(tmp_path, {"name": "a"}))
    load = store.version() if as_of is None else as_of
    found = report.overview(context, Window(*window), as_of=as_of, now=NOW)
    drawn = [(card.cell.signal, found.step, card.cell.spark) for cards in found.cards.values() for card in cards]
    drawn += [("availability" if line.side == "system" else "outcome", line.step, line.points) for line in found.lines]
    assert {signal for signal, _, points in drawn if points} == {"availability", "latency", "outcome"}
    for signal, step, points in drawn:
        for place, value in enumerate(points):
            start = window[0] // step * step + place * step
            good, total = good_total(store, signal, start, min(start + step, window[1]), load)
            assert value == (good / total if total else None), (signal, start)


CLOSED = {HOUR: NOW // HOUR * HOUR - 5 * HOUR, DAY: NOW // DAY * DAY - DAY}


def test_the_pieces_of_windows_are_disjoint_and_make_up_every_window() -> None:
    chance = random.Random(5)
    for _ in range(200):
        windows = [(low, low + BUCKET * chance.randrange(1, 9000))
                   for low in (NOW - BUCKET * chance.randrange(9000) for _ in range(4))]  # fmt: skip
        parts = cut(windows)
        assert all(a[1] <= b[0] for a, b in pairwise(parts))
        for since, until in windows:
            inside = [part for part in parts if part[0] >= since and part[1] <= until]
            assert sum(high - low for low, high in inside) == until - since
            tiers = [piece for part in inside for piece in pieces(*part, BUCKET, CLOSED)]
            assert sum(high - low for _, low, high in tiers) == until - since
            assert all(low % tier == high % tier == 0 for tier, low, high in tiers)
            assert all(high <= CLOSED.get(tier, high) for tier, low, high in tiers)


# -- two sources of one signal


def uptime(good: int, total: int, since: int, until: int) -> list[Page]:
    series = Series("availability", component="api")
    facts = [Fact(series, ts, Ratio(good, total)) for ts in range(since, until, BUCKET)]
    return [Page(facts, covered=[Covered(since, until)])]


@pytest.mark.parametrize(
    ("common", "expected", "first"),
    [
        ({}, (12 * 9 + 12 * 5, 12 * 10 + 12 * 8), "a"),  # a covers the first hour, b both
        ({"b": {"primary": True}}, (24 * 5, 24 * 8), "b"),
        ({"a": {"combine": "sum"}, "b": {"combine": "sum"}}, (12 * 9 + 24 * 5, 12 * 10 + 24 * 8), "a"),
        ({"b": {"combine": "sum"}}, (12 * 9 + 12 * 5, 12 * 10 + 12 * 8), "a"),
    ],
)
def test_sources_are_never_added_unless_they_say_so(
    tmp_path: Path, common: dict[str, dict[str, Any]], expected: tuple[int, int], first: str
) -> None:
    given = [{"name": name, **common.get(name, {})} for name in "ab"]
    known = sourced(tmp_path, *given)
    since = NOW // HOUR * HOUR - 2 * HOUR
    with open_store(tmp_path / "tandem.duckdb") as opened:
        pulled(opened, known, "b", uptime(5, 8, since, since + 2 * HOUR))
        pulled(opened, known, "a", uptime(9, 10, since, since + HOUR))
        measures = Measures(Reader(opened), known, Window(since, since + 2 * HOUR), NOW)
        [answer] = measures.answers(measures.asked(["api"], ["availability"]))
        assert (answer.good, answer.total) == expected
        assert answer.objective == expected
        assert measures.source_name(answer.source) == first
        assert answer.coverage == 1.0
        context = SimpleNamespace(store=opened, config=known)
        [shown] = report.show(context, "api", Window(since, since + 2 * HOUR), now=NOW)["signals"]
        assert (shown["good"], shown["total"], shown["source"]) == (*expected, first)
        [witness] = shown["witnesses"]
        other = {"a": (12 * 9, 12 * 10), "b": (24 * 5, 24 * 8)}["ab".replace(first, "")]
        assert (witness["source"], witness["good"], witness["total"]) == ("ab".replace(first, ""), *other)
        assert witness["difference"] == pytest.approx(other[0] / other[1] - expected[0] / expected[1])
        assert {"state", "reason", "objective", "coverage", "quantiles"} <= set(shown)


def test_a_bucket_that_the_first_source_saw_in_part_keeps_what_it_counted(tmp_path: Path) -> None:
    known = sourced(tmp_path, {"name": "a"}, {"name": "b"})
    since = NOW // HOUR * HOUR - 2 * HOUR
    with open_store(tmp_path / "tandem.duckdb") as opened:
        early = uptime(9, 10, since, since + HOUR)  # its last look was 100 s into its twelfth bucket
        pulled(opened, known, "a", [replace(early[0], covered=[Covered(since, since + HOUR - 200)])])
        pulled(opened, known, "b", uptime(5, 8, since, since + 2 * HOUR))
        measures = Measures(Reader(opened), known, Window(since, since + 2 * HOUR), NOW)
        [answer] = measures.answers(measures.asked(["api"], ["availability"]))
        assert (answer.good, answer.total) == (12 * 9 + 12 * 5, 12 * 10 + 12 * 8)
        assert answer.coverage == pytest.approx(1 - 200 / (2 * HOUR)), "what counts there was seen for 100 s"
        context = SimpleNamespace(store=opened, config=known)
        [there] = report.show(context, "api", Window(since + HOUR - BUCKET, since + HOUR), now=NOW)["signals"]
        assert (there["good"], there["total"], there["source"]) == (9, 10, "a")
        [filled] = report.show(context, "api", Window(since + HOUR, since + 2 * HOUR), now=NOW)["signals"]
        assert (filled["good"], filled["total"], filled["source"]) == (12 * 5, 12 * 8, "b"), "named by who counted"
        [blind] = filled["witnesses"]
        assert (blind["source"], blind["total"], blind["difference"]) == ("a", 0, None)
        assert "stale" not in filled["reason"]


def test_a_primary_that_looks_for_a_moment_of_each_bucket_counts(tmp_path: Path) -> None:
    """Such as a probe by `sync`: one look every five minutes is all of its counts, and a tenth of the time."""
    known = sourced(tmp_path, {"name": "a"}, {"name": "b", "primary": True})
    since = NOW // HOUR * HOUR - HOUR
    looks = uptime(1, 1, since, since + HOUR)
    seen = [Covered(ts, ts + 30) for ts in range(since + 60, since + HOUR, BUCKET)]
    with open_store(tmp_path / "tandem.duckdb") as opened:
        pulled(opened, known, "a", uptime(5, 8, since, since + HOUR))
        pulled(opened, known, "b", [replace(looks[0], covered=seen)])
        measures = Measures(Reader(opened), known, Window(since, since + HOUR), NOW)
        [answer] = measures.answers(measures.asked(["api"], ["availability"]))
        assert (answer.good, answer.total) == (12, 12)
        assert measures.source_name(answer.source) == "b"
        assert answer.coverage == pytest.approx(0.1)


def test_what_no_source_covered_is_the_first_ones(tmp_path: Path) -> None:
    known = sourced(tmp_path, {"name": "a"}, {"name": "b"})
    since = NOW // HOUR * HOUR - 3 * HOUR
    with open_store(tmp_path / "tandem.duckdb") as opened:
        # `a` has rows in the third hour that it does not vouch for; `b` vouches for the second hour only.
        rows = uptime(9, 10, since, since + 3 * HOUR)
        pulled(opened, known, "a", [replace(rows[0], covered=[Covered(since, since + HOUR)])])
        pulled(opened, known, "b", uptime(5, 8, since + HOUR, since + 2 * HOUR))
        measures = Measures(Reader(opened), known, Window(since, since + 3 * HOUR), NOW)
        [answer] = measures.answers(measures.asked(["api"], ["availability"]))
        assert (answer.good, answer.total) == (24 * 9 + 12 * 5, 24 * 10 + 12 * 8)
        assert answer.coverage == pytest.approx(2 / 3)


def test_burn_windows_of_a_model_end_where_its_labels_have_come(tmp_path: Path) -> None:
    known = sourced(tmp_path, {"name": "log"})
    begin, edge = (NOW - 6 * DAY) // (6 * HOUR) * 6 * HOUR, NOW // (6 * HOUR) * 6 * HOUR
    chance = random.Random(8)
    facts: list[Fact] = []
    for ts in range(begin, NOW, BUCKET):
        labelled = 10 if ts < edge - 6 * HOUR else 1  # the last steps still wait for theirs
        facts.append(Fact(Series("label_coverage", component="model"), ts, Ratio(labelled, 10)))
        right = chance.randrange(labelled + 1)
        cells = {("1", "1"): right, ("1", "0"): labelled - right}
        facts.append(Fact(Series("outcome", component="model"), ts, Confusion(cells)))
    with open_store(tmp_path / "tandem.duckdb") as opened:
        pulled(opened, known, "log", [Page(facts, slice=Slice("log", "1"), covered=[Covered(begin, NOW)])])
        measures = Measures(Reader(opened), known, Window(NOW - DAY, NOW), NOW)
        assert measures.mature("model") == edge - 6 * HOUR
        [answer] = measures.answers(measures.asked(["model"], ["outcome"]))
        load = opened.version()
        assert (answer.good, answer.total) == good_total(opened, "outcome", NOW - DAY, NOW, load)
        for seconds, counts in answer.burns.items():
            assert counts == good_total(opened, "outcome", edge - 6 * HOUR - seconds, edge - 6 * HOUR, load)


# -- the end of the newest data


def test_newest_follows_each_load_and_stays_what_it_was_as_of_an_earlier_one(tmp_path: Path) -> None:
    known = sourced(tmp_path, {"name": "a"}, {"name": "b"})
    since = NOW - DAY
    with open_store(tmp_path / "tandem.duckdb") as opened:
        pulled(opened, known, "a", uptime(1, 1, since, since + 600))
        names = {scope: number for (_, scope), number in opened.names.sources.items()}
        assert Reader(opened).newest() == {names["a"]: since + 600}
        first = opened.version()
        pulled(opened, known, "b", uptime(1, 1, since, since + HOUR))
        pulled(opened, known, "a", uptime(1, 1, since - HOUR, since))  # older data moves nothing
        names = {scope: number for (_, scope), number in opened.names.sources.items()}
        now = {names["a"]: since + 600, names["b"]: since + HOUR}
        assert Reader(opened).newest() == now
        assert Reader(opened, first).newest() == {names["a"]: since + 600}
        assert Reader(opened).newest() == now
        opened.newest = (0, {})
        assert Reader(opened).newest() == now


def test_an_objective_of_another_stage_is_not_judged_on_production(tmp_path: Path) -> None:
    series = Series("outcome", component="model")
    facts = [Fact(series, NOW - 600, Confusion({("1", "1"): 1, ("1", "0"): 99}))]
    facts.append(Fact(replace(series, stage="evaluation"), NOW - 600, Confusion({("1", "1"): 99, ("1", "0"): 1})))
    speaking = source(saying([Page(facts)]))
    tested = Objective("model", "accuracy", target=Fraction(1, 2), stage="evaluation")
    known = config(tmp_path, speaking, components=[Component("model", "model", "shop")], objectives=[tested])
    with open_store(known.store) as store:
        assert not collect.pull(store, speaking, NOW).error
        context = SimpleNamespace(config=known, store=store)
        window = Window(NOW - 3600, NOW)
        for stage, good, target in (("production", 1, 0.9), ("evaluation", 99, 0.5)):
            [found] = [one for one in report.show(context, "model", window, stage=stage, now=NOW)["signals"]
                       if one["signal"] == "outcome"]  # fmt: skip
            assert (found["good"], found["objective"]["target"]) == (good, target)


def test_percentiles_and_drift_of_a_component_never_add_two_sources(tmp_path: Path) -> None:
    layout = Layout(edges=(0.1, 0.5), closed="right", unit="s")
    latency = Series("latency", component="api")
    fast = source(saying([Page([Fact(latency, NOW - 600, Histogram(layout, {0: 100}, {}))])]), name="a", scope="a")
    slow = source(saying([Page([Fact(latency, NOW - 600, Histogram(layout, {1: 300}, {}))])]), name="b", scope="b")
    known = config(tmp_path, fast, slow, components=[Component("api", "service", "shop")])
    with open_store(known.store) as store:
        for one in (fast, slow):
            assert not collect.pull(store, one, NOW).error
        found = report.detail(SimpleNamespace(config=known, store=store), "api", Window(NOW - 3600, NOW), now=NOW)
        assert found.latency is not None
        assert sum(sum(step) for step in found.latency.counts) == 100
