"""Two stores into their union: against a model of plain dictionaries, in any order, and again."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tandem import derive
from tandem.bins import Layout
from tandem.records import (
    BUCKET,
    HOUR,
    Confusion,
    Covered,
    Event,
    Fact,
    Histogram,
    Moments,
    Page,
    Ratio,
    Sample,
    Series,
    Slice,
)
from tandem.store import sound
from tandem.store.file import Store
from tandem.store.load import Piece
from tandem.store.merge import merge
from tandem.store.read import Reader
from tandem.store.write import Writer
from tests.fakes import NOW

BEGIN = NOW // HOUR * HOUR - 4 * HOUR
BUCKETS = [BEGIN + BUCKET * n for n in (0, 1, 13)]
LATENCY = Layout(edges=(0.1, 0.3, 1.0), closed="right", unit="s", digits=3)
COARSE = Layout(edges=(0.3,), closed="right", unit="s", digits=3)


# -- a store as plain dictionaries


def said(store: Store) -> dict[str, Any]:
    """Everything that a store counts, by names alone, read by statements of this test's own."""
    run = store.cursor().execute
    named = (
        "src.connector || ':' || src.scope, s.component, s.signal, s.name, s.version, s.segment, s.environment, s.stage"
    )
    joined = (
        "JOIN series s ON s.id = f.series JOIN source src ON src.id = s.source LEFT JOIN layout l ON l.id = s.layout"
    )
    found: dict[str, Any] = {}
    for table, values in (("ratio", "good, total"), ("histogram", "n, sum"), ("confusion", "n"),
                          ("moments", "n, sum, squares")):  # fmt: skip
        keys = {"histogram": "coalesce(c.value, f.bin::VARCHAR),", "confusion": "f.actual, f.predicted,"}.get(table, "")
        more = "LEFT JOIN category c ON c.layout = s.layout AND c.bin = f.bin" if table == "histogram" else ""
        sums = ", ".join(f"sum(f.{one.strip()})::VARCHAR" for one in values.split(","))
        for width, suffix in ((300, ""), (3600, "_hour")):
            rows = run(f"SELECT {named}, coalesce(l.spec, ''), f.ts, {keys} {sums} FROM {table}{suffix} f {joined} "
                       f"{more} WHERE s.width = {width} GROUP BY ALL").fetchall()  # fmt: skip
            zeros = len(values.split(","))
            found[f"{table}{suffix}"] = Counter(row for row in rows if set(row[-zeros:]) != {"0"})
    found["events"] = sorted(repr((Reader(store).sources()[source], event))
                             for source, event in Reader(store).events(-(1 << 62), 1 << 62))  # fmt: skip
    found["samples"] = sorted(run(
        f"SELECT {named}, f.ts, f.micros, f.run, f.step, arg_max(f.value, f.load_id) FROM sample f {joined} "
        "GROUP BY ALL HAVING arg_max(f.value, f.load_id) <> ''").fetchall())  # fmt: skip
    covered: dict[tuple[str, ...], set[int]] = {}
    for source, component, signal, since, until in run("SELECT * EXCLUDE load_id FROM coverage").fetchall():
        key = (*Reader(store).sources()[source], component, signal)
        covered.setdefault(key, set()).update(range(since // BUCKET, until // BUCKET))
    found["coverage"] = covered
    found["references"] = sorted(run(
        "SELECT component, signal, name, arg_max((l.spec, since, until, counts), load_id)::VARCHAR FROM baseline "
        "JOIN layout l ON l.id = layout GROUP BY ALL").fetchall())  # fmt: skip
    found["slices"] = sorted(run(
        "SELECT src.scope, s.name, arg_max(d.digest, d.load_id) AS digest FROM slice s JOIN source src "
        "ON src.id = s.source JOIN slice_load d ON d.slice = s.id GROUP BY ALL HAVING digest <> ''").fetchall())  # fmt: skip # noqa: E501
    return found


# -- what pulls say


@dataclass(frozen=True)
class Pulled:
    """One pull of one source at one time."""

    scope: str
    now: int
    page: Page


SIGNALS = {"ratio": "request_success", "histogram": "latency", "coarse": "latency", "confusion": "outcome",
           "moments": "error", "sample": "sample"}  # fmt: skip


def facts(values: Mapping[tuple[str, int], int]) -> list[Any]:
    """A value of each kind for each (what, bucket)."""
    made: list[Any] = []
    for (what, ts), n in values.items():
        series = Series(SIGNALS[what], component="shop", name="absolute" if what == "moments" else "")
        value: Any = {
            "ratio": Ratio(n, n + 3), "histogram": Histogram(LATENCY, {0: n, 2: 1}, {0: 5 * n, 2: 1 << 70}),
            "coarse": Histogram(COARSE, {0: n + 1}, {0: n}), "confusion": Confusion({("a", "b"): n, ("a\x1f", "a"): 2}),
            "moments": Moments(n + 1, -n, n * n + (1 << 70), 3),
        }.get(what)  # fmt: skip
        made.append(Fact(series, ts, value) if value is not None else Sample(series, ts + 0.5, float(n), run="r"))
    return made


WHATS = ("ratio", "histogram", "coarse", "confusion", "moments", "sample")
keys = st.tuples(st.sampled_from(WHATS), st.sampled_from(BUCKETS))
values = st.dictionaries(keys, st.integers(0, 3), max_size=5)


def distinct(given: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    """A pull says a bucket of the latency in one layout, not in two."""
    return {key: n for key, n in given.items() if key[0] != "coarse" or ("histogram", key[1]) not in given}


builds = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2), st.sampled_from(("good", "bad", "open")),
                            st.integers(0, 2)), max_size=3, unique_by=lambda one: one[:2])  # fmt: skip


def events(some: Sequence[tuple[int, int, str, int]]) -> list[Event]:
    return [Event("build", f"b{key}", BEGIN + 60 * key, started=BEGIN + 60 * key + 5, ended=BEGIN + 900 + revision,
                  outcome=outcome, attempt=attempt, components=("shop",), environment="production", revision=revision)
            for key, attempt, outcome, revision in some]  # type: ignore[arg-type] # fmt: skip


features = st.dictionaries(st.sampled_from(("DE", "FR", "IT", "BR")), st.integers(0, 3), max_size=3)


def feature(counts: Mapping[str, int]) -> list[Fact]:
    if not counts:
        return []
    layout = Layout(kind="categories", values=tuple(counts))
    cells = {place: n for place, n in enumerate(counts.values()) if n}
    return [Fact(Series("feature", component="shop", name="country"), BEGIN, Histogram(layout, cells, {}))]


@st.composite
def pulls(draw: st.DrawFn) -> list[Pulled]:
    found = []
    for now in sorted(draw(st.lists(st.integers(0, 5), min_size=1, max_size=3, unique=True))):
        records = [*facts(distinct(draw(values))), *events(draw(builds)), *feature(draw(features))]
        span = draw(st.integers(0, 3))
        found.append(Pulled(draw(st.sampled_from(("one", "two"))), NOW + 60 * now,
                            Page(records, covered=[Covered(BEGIN, BEGIN + span * BUCKET)])))  # fmt: skip
        polls = draw(st.dictionaries(st.integers(0, 2), st.integers(0, 3), max_size=2))
        found += [Pulled("looks", NOW + 60 * now, Page(
            [Fact(Series("availability", component="shop"), BEGIN, Ratio(n, 3))], covered=(),
            slice=Slice(f"poll:{tick}", f"d{n}"))) for tick, n in polls.items()]  # fmt: skip
    return found


def filled(path: Path, some: Sequence[Pulled]) -> Path:
    """A store of these pulls, each in a transaction of its own."""
    with Store(path) as store:
        writers: dict[str, Writer] = {}
        for one in some:
            if one.scope not in writers:
                writers[one.scope] = Writer(store, "fake", one.scope, one.now)
            writer = writers[one.scope]
            writer.start_again()
            writer.now, writer.tolerant = one.now, False
            writer.commit([Piece(one.page.records, one.page.slice, one.page.covered or ())])
        for writer in writers.values():
            writer.close()
    return path


def merged(target: Path, first: Path, *more: Path) -> Path:
    shutil.copy(first, target)
    with Store(target) as mine:
        for path in more:
            with Store(path, read_only=True) as other:
                merge(other, mine, NOW + HOUR)
        assert sound.faults(mine) == []
    return target


def read(path: Path) -> dict[str, Any]:
    with Store(path, read_only=True) as store:
        return said(store)


def union(stores: Sequence[Sequence[Pulled]]) -> dict[str, dict[Any, Any]]:
    """What the last pull said of each ratio's bucket and each event, and the value of each look: plain dictionaries."""
    ratios: dict[Any, tuple[int, ...]] = {}
    attempts: dict[Any, tuple[Any, ...]] = {}
    looks: dict[Any, tuple[Any, ...]] = {}
    for pulled in stores:
        for one in pulled:
            for record in one.page.records:
                if isinstance(record, Fact) and one.page.slice:
                    key, told = (one.scope, one.page.slice.name), (one.now, one.page.slice.digest, record.value)
                    looks[key] = max(looks.get(key, told), told, key=lambda pair: pair[:2])
                elif isinstance(record, Fact) and isinstance(record.value, Ratio):
                    ratios.setdefault((one.scope, record.ts), []).append((one.now, record.value))  # type: ignore[attr-defined]
                elif isinstance(record, Event):
                    attempts.setdefault((one.scope, record.key, record.attempt), []).append((one.now, record))  # type: ignore
    return {"ratios": ratios, "attempts": attempts, "looks": looks}


common = settings(
    max_examples=12,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@common
@given(some=st.tuples(pulls(), pulls(), pulls()), data=st.data())
def test_the_union_is_the_same_in_any_order_and_again(
    some: tuple[list[Pulled], ...], data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("merge")
    a, b, c = (filled(folder / name, one) for name, one in zip("abc", some, strict=True))
    ab, ba = merged(folder / "ab", a, b), merged(folder / "ba", b, a)
    assert read(ab) == read(ba), "commutative"
    assert read(merged(folder / "aa", a, a)) == read(a), "idempotent"
    left, bc = merged(folder / "left", ab, c), merged(folder / "bc", b, c)
    right = merged(folder / "right", a, bc)
    assert read(left) == read(right), "associative"
    order = data.draw(st.sampled_from(list(permutations([a, b, c]))))
    assert read(merged(folder / "all", *order)) == read(left)
    with Store(left) as mine:
        before = mine.version()
        for path in (a, b, c, ab, bc):
            with Store(path, read_only=True) as other:
                assert merge(other, mine, NOW + 2 * HOUR) == 0, "the same again changes nothing"
        assert mine.version() == before
    _agrees(some, read(left))
    shutil.rmtree(folder)


def _agrees(stores: Sequence[Sequence[Pulled]], found: Mapping[str, Any]) -> None:
    """Against plain dictionaries: where one pull said something last, that is what stands."""
    model = union(stores)
    stands = {(row[0].partition(":")[2], row[9]): (int(row[10]), int(row[11])) for row in found["ratio"]
              if row[2] == "request_success"}  # fmt: skip
    for key, told in model["ratios"].items():
        last = max(at for at, _ in told)  # type: ignore[has-type]
        possible = {(value.good, value.total) for at, value in told if at == last}  # type: ignore[union-attr]
        # A pull that repeats what its own store knows leaves no trace, so its time is not kept.
        possible |= {(value.good, value.total) for at, value in told} if len(told) > 1 and len(possible) < 2 else set()
        assert stands.get(key, (0, 0)) in possible
    assert {key for key, told in model["ratios"].items()} >= set(stands)
    shown = sum(value.good for *_, value in model["looks"].values())
    total = sum(int(row[10]) for row in found["ratio"] if row[2] == "availability")
    assert total == shown, "every look counts once"
    follows: Counter[tuple[str, str]] = Counter()
    objects: dict[tuple[str, str], list[Event]] = {}
    for text in found["events"]:
        (_, scope), event = eval(text, {"Event": Event})
        objects.setdefault((scope, event.key), []).append(event)
    for (scope, _), attempts in objects.items():
        for one in derive.contributions(attempts):
            if isinstance(one.value, Ratio):
                follows[scope, "good"] += one.value.good
                follows[scope, "total"] += one.value.total
    derived: Counter[tuple[str, str]] = Counter()
    for row in found["ratio"]:
        if row[2] == "build_success":
            derived[row[0].partition(":")[2], "good"] += int(row[10])
            derived[row[0].partition(":")[2], "total"] += int(row[11])
    assert +follows == +derived, "what follows from events is made of those of both"
