"""The laws of the store."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem import collect
from tandem.bins import Layout
from tandem.connect import SourceDown
from tandem.intervals import overlap, union
from tandem.records import Confusion, Covered, Event, Fact, Histogram, Moments, Page, Ratio, Sample, Series, Slice
from tandem.store.file import Store, open_store
from tandem.store.ledger import Ledger
from tandem.store.read import Reader
from tests.fakes import NOW, saying, source

API = Series("availability", component="api")
LAYOUT = Layout(edges=(0.1, 0.5), closed="right", unit="s")


def pull(store: Store, folder: Path, pages: Sequence[Page], now: int = NOW, **common: object) -> collect.Outcome:
    one = source(saying(pages), **common)
    return collect.pull(store, one, now)


def digest(store: Store, as_of: int | None = None) -> str:
    return Reader(store, as_of).digest()


def ratio(store: Store, since: int, until: int, as_of: int | None = None) -> tuple[int, int]:
    reader = Reader(store, as_of)
    ids = [kept.id for kept in reader.series(signal="availability", component="api")]
    found = [merge[0] for merge in reader.totals("ratio", ids, [(since, until)]).values() if merge[0]]
    return sum(good for good, _ in found), sum(total for _, total in found)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def facts(shift: int = 0) -> list[Page]:
    hour = NOW - 7200
    return [
        Page([Fact(API, hour + 300 * i, Ratio(9 + shift, 10 + shift)) for i in range(10)]),
        Page([
            Fact(Series("latency", component="api"), hour, Histogram(LAYOUT, {0: 5, 1: 2 + shift}, {})),
            Fact(Series("outcome", component="model"), hour, Confusion({("1", "0"): 3, ("1", "1"): 7 + shift})),
            Fact(Series("error", component="eta", name="error"), hour, Moments(3, 10**30 + shift, 10**34, 6)),
        ]),
        Page([
            Event("build", "17", hour, started=hour + 5, ended=hour + 65 + shift, outcome="bad", components=("api",)),
        ]),
        Page([Event("build", "17", hour, started=hour + 400, ended=hour + 500, attempt=2, components=("api",))]),
        Page([Sample(Series("sample", component="model", name="loss", stage="training"), hour + 0.5, 0.1, "r1", 3)]),
        Page(
            [Fact(Series("volume", component="model"), hour + 300, Ratio(4 + shift, 4 + shift))],
            slice=Slice("log/a", f"digest{shift}"), covered=[Covered(hour, NOW)],
        ),
    ]  # fmt: skip


def test_replaying_a_pull_changes_nothing(store: Store, tmp_path: Path) -> None:
    first = pull(store, tmp_path, facts())
    assert not first.error
    assert first.rows > 0
    before, load = digest(store), store.version()
    again = pull(store, tmp_path, facts())
    assert (again.rows, again.error) == (0, "")
    assert (digest(store), store.version()) == (before, load)


def test_what_changed_is_appended_and_as_of_gives_the_earlier_numbers_on_every_tier(
    store: Store, tmp_path: Path
) -> None:
    pull(store, tmp_path, facts())
    before, load = digest(store), store.version()
    pull(store, tmp_path, facts(shift=1))
    assert digest(store) != before
    assert digest(store, as_of=load) == before
    pull(store, tmp_path, facts())
    assert digest(store) == before


def test_a_bucket_with_another_layout_takes_the_old_one_back(store: Store, tmp_path: Path) -> None:
    latency, other = Series("latency", component="api"), Layout(edges=(0.2,), closed="right", unit="s")
    pull(store, tmp_path, [Page([Fact(latency, NOW - 600, Histogram(LAYOUT, {0: 5}, {}))])])
    pull(store, tmp_path, [Page([Fact(latency, NOW - 600, Histogram(other, {1: 4}, {}))])])
    reader = Reader(store)
    kept = {series.id: series.layout for series in reader.series(signal="latency")}
    found = reader.totals("histogram", list(kept), [(NOW - 900, NOW)])
    assert {kept[series]: merges[0] for series, merges in found.items() if merges[0]} == {
        store.names.layout_ids[next(spec for spec in store.names.layout_ids if "0.2" in spec)]: {1: (4, 0)}
    }


def test_two_layouts_of_one_bucket_in_one_pull_add(store: Store, tmp_path: Path) -> None:
    latency, other = Series("latency", component="api"), Layout(edges=(0.2,), closed="right", unit="s")
    pages = [Page([Fact(latency, NOW - 600, Histogram(LAYOUT, {0: 5}, {}))]),
             Page([Fact(latency, NOW - 600, Histogram(other, {1: 4}, {}))])]  # fmt: skip
    for order in (pages, pages[::-1]):
        pull(store, tmp_path, order)
        reader = Reader(store)
        found = reader.totals("histogram", [kept.id for kept in reader.series(signal="latency")], [(NOW - 900, NOW)])
        assert sorted(str(merges[0]) for merges in found.values()) == ["{0: (5, 0)}", "{1: (4, 0)}"]


def test_a_slice_with_another_digest_replaces_itself_and_only_itself(store: Store, tmp_path: Path) -> None:
    series = Series("volume", component="model")

    def page(name: str, text: str, n: int) -> Page:
        return Page([Fact(series, NOW - 600, Ratio(n, n))], slice=Slice(name, text))

    pull(store, tmp_path, [page("a", "1", 5), page("b", "1", 7)])
    pull(store, tmp_path, [page("a", "2", 3)])
    reader = Reader(store)
    [merges] = reader.totals("ratio", [k.id for k in reader.series(signal="volume")], [(NOW - 900, NOW)]).values()
    assert merges == [(10, 10)]


def test_parts_of_a_slice_add_once(store: Store, tmp_path: Path) -> None:
    series = Series("volume", component="model")
    parts = [Page([Fact(series, NOW - 600, Ratio(n, n))], slice=Slice("a", "1", part)) for part, n in enumerate((5, 7))]
    pull(store, tmp_path, [*parts, parts[0]])
    pull(store, tmp_path, parts)
    reader = Reader(store)
    [merges] = reader.totals("ratio", [k.id for k in reader.series(signal="volume")], [(NOW - 900, NOW)]).values()
    assert merges == [(12, 12)]


def test_a_pull_that_contradicts_itself_twice_leaves_the_key_as_it_was(store: Store, tmp_path: Path) -> None:
    pull(store, tmp_path, [Page([Fact(API, NOW - 600, Ratio(1, 2))])])
    before = digest(store)
    said = [Fact(API, NOW - 600, Ratio(3, 4)), Fact(API, NOW - 600, Ratio(5, 6)), Fact(API, NOW - 300, Ratio(1, 1))]
    outcome = pull(store, tmp_path, [Page([fact]) for fact in said])
    assert outcome.rejected == 1
    assert ratio(store, NOW - 600, NOW - 300) == (1, 2)
    assert ratio(store, NOW - 300, NOW) == (1, 1)
    assert before != digest(store)


def test_a_rerun_changes_the_bucket_of_the_build_and_is_no_second_build(store: Store, tmp_path: Path) -> None:
    build = Event("build", "9", NOW - 7200, started=NOW - 7190, ended=NOW - 7100, outcome="bad", components=("api",))
    pull(store, tmp_path, [Page([build])])
    rerun = replace(build, attempt=2, started=NOW - 1200, ended=NOW - 900, outcome="good")
    pull(store, tmp_path, [Page([build, rerun])])
    reader = Reader(store)
    [merges] = reader.totals(
        "ratio", [k.id for k in reader.series(signal="build_success")], [(NOW - 7200, NOW - 6900), (NOW - 1500, NOW)]
    ).values()
    assert merges == [(1, 1), None]
    durations = reader.totals("histogram", [k.id for k in reader.series(signal="build_duration")], [(NOW - 7500, NOW)])
    assert sum(n for [cells] in durations.values() for n, _ in cells.values()) == 2


def test_the_highest_revision_of_an_event_counts_whichever_comes_first(store: Store, tmp_path: Path) -> None:
    old = Event("build", "9", NOW - 7200, outcome="open", components=("api",), revision=1)
    new = replace(old, outcome="good", ended=NOW - 7000, started=NOW - 7100, revision=2)
    pull(store, tmp_path, [Page([new])])
    before = digest(store)
    pull(store, tmp_path, [Page([old])])
    assert digest(store) == before


def test_bad_records_are_rejected_and_the_rest_lands(store: Store, tmp_path: Path) -> None:
    outcome = pull(store, tmp_path, [Page([
        Fact(API, NOW - 600, Ratio(5, 2)), Fact(API, NOW + 9000, Ratio(1, 1)), Fact(API, NOW - 900, Ratio(1, 1)),
        Sample(Series("sample", component="m", name="x"), NOW - 60, float("nan")),
        Event("build", "1", NOW - 60, started=NOW - 60, ended=NOW - 90, components=("api",)),
    ])])  # fmt: skip
    assert outcome.rejected == 4
    assert ratio(store, NOW - 1200, NOW + 300) == (1, 1)
    reasons = {reason for _, reason, _, _ in Reader(store).rejects(1)}
    assert reasons == {"more good than total", "a time in the future", "not a finite number", "a negative duration"}


PAGES = facts()


@cache
def digest_of_the_plain_pull() -> str:
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "a.duckdb") as plain:
        pull(plain, Path(folder), PAGES)
        return digest(plain)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.permutations([*PAGES, *PAGES[:3]]), st.data())
def test_any_split_repetition_and_order_of_pages_gives_the_same_store(order: list[Page], data: st.DataObject) -> None:
    split: list[Page] = []
    for page in order:
        cut = data.draw(st.integers(0, len(page.records))) if page.slice is None else 0
        split += (
            [replace(page, records=page.records[:cut]), replace(page, records=page.records[cut:])] if cut else [page]
        )
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "b.duckdb") as other:
        outcome = pull(other, Path(folder), split)
        assert not outcome.error
        assert digest(other) == digest_of_the_plain_pull()


def test_a_window_is_the_sum_of_its_parts_on_every_tier(store: Store, tmp_path: Path) -> None:
    start = (NOW - 40 * 86400) // 86400 * 86400
    pull(store, tmp_path, [Page([Fact(API, start + 300 * i, Ratio(i % 7, 7)) for i in range(0, 40 * 288, 5)])])
    for since, until in ((start + 300, start + 38 * 86400 - 600), (start + 3900, start + 9300), (start, start + 86400)):
        buckets = [i for i in range(0, 40 * 288, 5) if since <= start + 300 * i < until]
        assert ratio(store, since, until) == (sum(i % 7 for i in buckets), 7 * len(buckets))


def test_pages_before_a_failure_stay_and_an_unfinished_slice_does_not(store: Store, tmp_path: Path) -> None:
    def failing(pages: Sequence[Page]):
        def fetch(request):
            yield from pages
            raise SourceDown("the source fell silent")

        one = source(fetch)
        return collect.pull(store, one, NOW)

    outcome = failing([Page([Fact(API, NOW - 600, Ratio(1, 2))], state={"page": 1})])
    assert (outcome.error, outcome.later) == ("the source fell silent", True)
    assert ratio(store, NOW - 900, NOW) == (1, 2)
    assert Ledger(store).state(1).state == {"page": 1}
    assert Ledger(store).state(1).watermark is None
    part = Page([Fact(Series("volume", component="model"), NOW - 600, Ratio(5, 5))], slice=Slice("log", "d"))
    failing([part])
    assert Ledger(store).taken(1)("log") is None


def test_no_statement_reaches_another_file(store: Store, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("do not read me", encoding="utf-8")
    for statement in (
        f"SELECT * FROM read_text('{secret}')", f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
        f"ATTACH '{tmp_path / 'other.duckdb'}' AS other", "SET enable_external_access = true", "INSTALL httpfs",
    ):  # fmt: skip
        with pytest.raises(duckdb.Error):
            store.new_cursor().execute(statement)


@settings(max_examples=8, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 12)), min_size=1, max_size=12), st.integers(0, 30))
def test_coverage_is_joined_as_python_would_join_it(stretches: list[tuple[int, int]], first: int) -> None:
    spans = [(NOW - 36000 + 300 * begin, NOW - 36000 + 300 * (begin + length)) for begin, length in stretches]
    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "a.duckdb") as opened:
        for since, until in spans:
            pull(opened, Path(folder), [Page(covered=[Covered(since, until, "api", "availability")])])
        low, high = NOW - 36000 + 300 * first, NOW
        wanted = overlap(union(spans), low, high)
        assert Reader(opened).all_coverage(low, high) == ({(1, "api", "availability"): wanted} if wanted else {})
