"""Two stores into their union: against a model of plain dictionaries, in any order, and again."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    Baseline,
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
from tandem.store.kept import Kept, keep, kept
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


Model = dict[tuple[Any, ...], tuple[int, int, Any]]
"""Under each key its revision, the time of the pull that said it, and what it said."""


def modelled(some: Sequence[Pulled]) -> Model:
    """What one store keeps, as a plain dictionary: what a pull says again leaves no trace."""
    found: Model = {}
    for one in some:
        for record in one.page.records:
            if isinstance(record, Fact) and one.page.slice is not None:
                key, revision, told = (
                    ("look", one.scope, one.page.slice.name),
                    0,
                    (record.value.good, record.value.total),
                )  # type: ignore[union-attr]
            elif isinstance(record, Fact) and isinstance(record.value, Ratio):
                key, revision, told = ("ratio", one.scope, record.ts), 0, (record.value.good, record.value.total)
            elif isinstance(record, Event):
                key, revision, told = ("event", one.scope, record.key, record.attempt), record.revision, record
            else:
                continue
            before = found.get(key)
            if before is None or (revision >= before[0] and told != before[2]):
                found[key] = revision, one.now, told
    return found


def stand(stores: Sequence[Sequence[Pulled]]) -> dict[tuple[Any, ...], list[Any]]:
    """What may stand under each key of the union: the highest revision, then the latest; several only of one time."""
    models = [modelled(one) for one in stores]
    found = {}
    for key in {key for one in models for key in one}:
        told = [one[key] for one in models if key in one]
        last = max(one[:2] for one in told)
        found[key] = [one[2] for one in told if one[:2] == last]
    return found


few = settings(max_examples=5, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate),
               suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])  # fmt: skip
many = settings(few, max_examples=60)
three = st.tuples(pulls(), pulls(), pulls())


@few
@given(some=three, order=st.permutations("abc"))
def test_the_union_is_the_same_in_any_order_and_again(
    some: tuple[list[Pulled], ...], order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _is_a_union(some, order, tmp_path_factory.mktemp("merge"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
@many
@given(some=three, order=st.permutations("abc"))
def test_the_union_of_many_is_the_same_in_any_order_and_again(
    some: tuple[list[Pulled], ...], order: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _is_a_union(some, order, tmp_path_factory.mktemp("merge"))


def _is_a_union(some: Sequence[list[Pulled]], order: Sequence[str], folder: Path) -> None:
    each = {name: filled(folder / name, one) for name, one in zip("abc", some, strict=True)}
    a, b, c = each.values()
    ab, ba = merged(folder / "ab", a, b), merged(folder / "ba", b, a)
    assert read(ab) == read(ba), "commutative"
    assert read(merged(folder / "aa", a, a)) == read(a), "idempotent"
    left, bc = merged(folder / "left", ab, c), merged(folder / "bc", b, c)
    found = read(left)
    assert found == read(merged(folder / "right", a, bc)), "associative"
    assert found == read(merged(folder / "all", *(each[name] for name in order)))
    with Store(left) as mine:
        before = mine.version()
        for path in (a, bc):
            with Store(path, read_only=True) as other:
                assert merge(other, mine, NOW + 2 * HOUR) == 0, "the same again changes nothing"
        assert mine.version() == before
    _agrees(some, found)
    shutil.rmtree(folder)


def _agrees(stores: Sequence[Sequence[Pulled]], found: Mapping[str, Any]) -> None:
    """Every ratio, look and event is that of the model, and what follows from events follows from those of both."""
    may = stand(stores)
    stands = {("ratio", row[0].partition(":")[2], row[9]): (int(row[10]), int(row[11])) for row in found["ratio"]
              if row[2] == "request_success"}  # fmt: skip
    assert stands.keys() == {key for key in may if key[0] == "ratio"}
    assert all(value in may[key] for key, value in stands.items())
    looks = [may[key] for key in may if key[0] == "look"]
    assert sum(int(row[11]) for row in found["ratio"] if row[2] == "availability") == 3 * len(looks), "once each"
    shown: dict[tuple[Any, ...], Event] = {}
    for text in found["events"]:
        (_, scope), event = eval(text, {"Event": Event})
        shown["event", scope, event.key, event.attempt] = event
    assert shown.keys() == {key for key in may if key[0] == "event"}
    assert all(event in may[key] for key, event in shown.items())
    objects: dict[tuple[str, str], list[Event]] = {}
    for (_, scope, name, _), event in shown.items():
        objects.setdefault((scope, name), []).append(event)
    follows: Counter[tuple[str, str]] = Counter()
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
    assert +follows == +derived


# -- what the strategies do not reach


def test_what_people_keep_is_joined_revision_by_revision(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    for path, said in ((a, [("x", 10, "first"), ("y", 10, "mine")]), (b, [("x", 20, "second"), ("z", 5, "theirs")])):
        with Store(path) as store:
            for name, made, text in said:
                keep(store, Kept("moment", name, made, "Ada", json.dumps(text), 0))
    for target, order in (("ab", (a, b)), ("ba", (b, a))):
        with Store(merged(tmp_path / target, *order)) as store:
            found = {one.id: json.loads(one.content) for one in kept(store, "moment")}
            assert found == {"x": "second", "y": "mine", "z": "theirs"}
            with Store(b, read_only=True) as other:
                assert merge(other, store, NOW) == 0


def pieces(ends: Sequence[int], now: int) -> list[Pulled]:
    """A file of one event a byte, read up to each end in turn."""
    begins = [0, *ends[:-1]]
    return [Pulled("log", now, Page([Fact(Series("request_success", component="shop"), BEGIN, Ratio(end - begin, end))],
                                    covered=(), slice=Slice(f"k@{begin}", f"{end}:{begin}-{end}")))
            for begin, end in zip(begins, ends, strict=True)]  # fmt: skip


def test_pieces_of_one_file_are_never_counted_twice(tmp_path: Path) -> None:
    """Two stores that read a growing file at other times have other pieces of it: those of who read further count."""
    ends = {"a": (100, 200), "b": (150, 300), "c": (100, 200, 250)}
    paths = {name: filled(tmp_path / name, pieces(some, NOW + some[-1])) for name, some in ends.items()}
    for name, order in (("1", "abc"), ("2", "cba"), ("3", "bca"), ("4", "acb")):
        found = read(merged(tmp_path / name, *(paths[one] for one in order)))
        assert sum(int(row[10]) for row in found["ratio"]) == 300, "a byte is one event"
        assert [name for _, name, _ in found["slices"]] == ["k@0", "k@150"]
    with Store(tmp_path / "1") as store:
        writer = Writer(store, "fake", "log", NOW + 900)
        [more] = pieces((300, 320), NOW + 900)[1:]
        writer.commit([Piece(more.page.records, more.page.slice)])
        writer.close()
    assert sum(int(row[10]) for row in read(tmp_path / "1")["ratio"]) == 320


def drifting(now: int, counts: Mapping[int, int], hour: int) -> Pulled:
    layout = Layout(edges=(10.0, 20.0, 50.0), digits=2)
    even = Histogram(layout, dict.fromkeys(range(4), 500), {})
    series = Series("feature", component="shop", name="amount")
    records = [Baseline(series, even, BEGIN - HOUR, BEGIN, 10**9),
               Fact(series, BEGIN + hour * HOUR, Histogram(layout, counts, {}))]  # fmt: skip
    return Pulled("log", now, Page(records, covered=[Covered(BEGIN, BEGIN + HOUR)]))


def test_drift_of_the_features_and_their_sum_agree_after_a_merge(tmp_path: Path) -> None:
    calm, moved = dict.fromkeys(range(4), 500), {0: 1900, 3: 100}
    a = filled(tmp_path / "a", [drifting(NOW, calm, 0), drifting(NOW + 60, calm, 1)])
    b = filled(tmp_path / "b", [drifting(NOW + 90, moved, 1), drifting(NOW + 120, calm, 2)])
    found = [read(merged(tmp_path / name, *order)) for name, order in (("ab", (a, b)), ("ba", (b, a)))]
    assert found[0] == found[1]
    rows = {(row[3], (row[9] - BEGIN) // HOUR): (int(row[10]), int(row[11])) for row in found[0]["ratio_hour"]
            if row[2] == "drift"}  # fmt: skip
    assert rows == {(name, hour): (0 if hour == 1 else 1, 1) for name in ("", "amount") for hour in range(3)}


def test_of_two_references_the_later_counts_and_categories_keep_their_names(tmp_path: Path) -> None:
    def country(now: int, values: tuple[str, ...], counts: Sequence[int]) -> Pulled:
        one = Histogram(Layout(kind="categories", values=values), dict(enumerate(counts)), {})
        series = Series("feature", component="shop", name="country")
        return Pulled("log", now, Page([Baseline(series, one, BEGIN - HOUR, BEGIN), Fact(series, BEGIN, one)]))

    a = filled(tmp_path / "a", [country(NOW, ("DE", "FR"), (7, 5))])
    b = filled(tmp_path / "b", [country(NOW + 60, ("BR", "DE", "US"), (1, 2, 3))])
    ab, ba = (read(merged(tmp_path / name, *order)) for name, order in (("ab", (a, b)), ("ba", (b, a))))
    for found in (ab, ba):
        cells = {row[10]: int(row[11]) for row in found["histogram_hour"]}
        assert cells == {"BR": 1, "DE": 2, "US": 3}, "the later pull knows the whole bucket"
    with Store(tmp_path / "ab", read_only=True) as store:
        layout, counts, _ = Reader(store).baseline("shop", "feature", "country") or (0, {}, {})
        values = store.names.layout(layout).values
        assert {values[place]: n for place, n in counts.items()} == {"BR": 1, "DE": 2, "US": 3}
        assert set(values) == {"DE", "FR", "BR", "US"}


def test_what_was_read_before_can_still_be_read_and_coarse_tiers_agree(tmp_path: Path) -> None:
    def told(now: int, good: int) -> Pulled:
        days = [Fact(Series("request_success", component="shop"), BEGIN - 5 * 86400 + 300 * n, Ratio(good, 10))
                for n in range(100)]  # fmt: skip
        return Pulled("one", now, Page(days, covered=[Covered(BEGIN - 6 * 86400, BEGIN)]))

    a = filled(tmp_path / "a", [told(NOW, 9), told(NOW + 60, 8)])
    b = filled(tmp_path / "b", [told(NOW + 30, 1), told(NOW + 90, 7)])
    with Store(a) as mine, Store(b, read_only=True) as other:
        before = {load: Reader(mine, load).digest() for load in (1, 2)}
        assert mine.names.closed(2), "hours and days are closed, and must be corrected"
        assert merge(other, mine, NOW + 120) > 0
        assert {load: Reader(mine, load).digest() for load in (1, 2)} == before
        assert sound.faults(mine) == []
        row = mine.cursor().execute("SELECT sum(good), sum(total) FROM ratio_day").fetchall()
        assert row == [(700, 1000)]
        loads = mine.cursor().execute("SELECT committed FROM load ORDER BY load_id").fetchall()
        assert [at for (at,) in loads] == [NOW, NOW + 60, NOW + 90], "a load keeps the time of its pull"


def test_a_merge_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = filled(tmp_path / "a", [Pulled("one", NOW, Page(facts({("ratio", BUCKETS[0]): 1})))])
    b = filled(
        tmp_path / "b",
        [Pulled("two", NOW + 60, Page([*facts({("ratio", BUCKETS[0]): 2}), *events([(1, 1, "bad", 0)])]))],
    )
    before = read(a)
    monkeypatch.setattr("tandem.store.merge.Merge._coverage", lambda self: 1 / 0)
    with Store(a) as mine, Store(b, read_only=True) as other:
        with pytest.raises(ZeroDivisionError):
            merge(other, mine, NOW + 120)
        assert (said(mine), mine.version()) == (before, 1)
        monkeypatch.undo()
        assert merge(other, mine, NOW + 120) > 0
        assert mine.version() == 2
