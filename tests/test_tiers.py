"""Coarse tiers: one row per hour and day however often a source is polled, and every load's numbers on every tier."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tandem import collect
from tandem.records import BUCKET, DAY, HOUR, Fact, Histogram, Page, Ratio, Series, Slice
from tandem.store import backup, migrate, sound
from tandem.store.file import Store, StoreRefused, copy_of, open_store
from tandem.store.load import LAG
from tandem.store.read import Reader, layers, pieces
from tests.fakes import saying, source

START = 1_790_000_100 // DAY * DAY
UPTIME = Series("availability", component="api")
FEATURE = Series("feature", component="model", name="amount")


def polled(store: Store, now: int, *pages: Page) -> None:
    outcome = collect.pull(store, source(saying(pages)), now)
    assert not outcome.error, outcome.error


def rows(store: Store, table: str) -> int:
    found = store.cursor().execute(f"SELECT count(*) FROM {table}").fetchone()
    assert found
    return int(found[0])


def finest(store: Store, since: int, until: int, as_of: int) -> tuple[int, int] | None:
    found = store.cursor().execute(
        "SELECT sum(good), sum(total) FROM ratio WHERE ts >= ? AND ts < ? AND load_id <= ?", [since, until, as_of]
    ).fetchone()  # fmt: skip
    return (int(found[0]), int(found[1])) if found and found[1] else None


def read(store: Store, since: int, until: int, as_of: int) -> tuple[int, int] | None:
    reader = Reader(store, as_of)
    ids = [kept.id for kept in reader.series(signal="availability")]
    found = reader.totals("ratio", ids, [(since, until)])
    return next((merge for [merge] in found.values()), None)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def test_polling_every_five_minutes_gives_an_hour_one_row_and_a_day_one_row(store: Store) -> None:
    polls = [*range(START, START + 4 * HOUR, BUCKET), *range(START + 4 * HOUR, START + 30 * HOUR, HOUR)]
    for ts in polls:
        page = Page([Fact(UPTIME, ts, Ratio(9, 10))], slice=Slice(f"poll:{ts}", str(ts)))
        polled(store, ts + BUCKET, page)
    last = polls[-1] + BUCKET
    assert rows(store, "ratio") == len(polls)
    assert rows(store, "ratio_hour") == (last - LAG - START) // HOUR
    assert rows(store, "ratio_day") == 1
    windows = ((START, last), (START + 900, START + DAY + 4500), (START + DAY, START + 2 * DAY))
    for as_of in (1, 30, 50, len(polls) - 1, len(polls)):
        for since, until in windows:
            assert read(store, since, until, as_of) == finest(store, since, until, as_of)
    assert sound.faults(store) == []


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(
    st.integers(-6 * HOUR, 4 * DAY),  # the clock of the poll, which may jump
    st.lists(st.tuples(st.integers(0, 40 * 12), st.integers(0, 9), st.booleans()), max_size=6),
), min_size=1, max_size=6), st.data())  # fmt: skip
def test_every_load_reads_the_same_on_every_tier(
    tmp_path_factory: pytest.TempPathFactory, polls: list[tuple[int, list[tuple[int, int, bool]]]], data: st.DataObject
) -> None:
    with open_store(tmp_path_factory.mktemp("tiers") / "tandem.duckdb") as store:
        for place, (clock, told) in enumerate(polls):
            now = START + 40 * HOUR + clock
            whole = {START + bucket * BUCKET: good for bucket, good, sliced in told if not sliced}
            facts = [Fact(UPTIME, ts, Ratio(good, 9)) for ts, good in whole.items() if ts < now]
            pieces_ = [Fact(UPTIME, ts, Ratio(good, 9)) for bucket, good, sliced in told
                       if sliced and (ts := START + bucket * BUCKET) < now]  # fmt: skip
            # The same name again with other content takes the old rows back.
            polled(store, now, Page(facts), Page(pieces_, slice=Slice(f"file-{place % 2}", str(told))))
        assert sound.faults(store) == []
        for as_of in range(1, store.version() + 1):
            ends = sorted(data.draw(st.lists(st.integers(0, 42 * 12), min_size=2, max_size=2, unique=True)))
            since, until = (START + end * BUCKET for end in ends)
            assert read(store, since, until, as_of) == finest(store, since, until, as_of)
            reader = Reader(store, as_of)
            ids = {kept.id: 0 for kept in reader.series(signal="availability")}
            for step in (BUCKET, HOUR, 6 * HOUR, DAY):
                drawn = {start: (int(good), int(total))
                         for _, start, good, total in reader.steps("ratio", ids, since, until, step)}  # fmt: skip
                for start in range(since // step * step, until, step):
                    assert drawn.get(start, (0, 0)) == (finest(store, start, min(start + step, until), as_of) or (0, 0))


def test_a_clock_that_jumped_ahead_and_back_loses_and_doubles_nothing(store: Store) -> None:
    polled(store, START + 400 * DAY, Page([Fact(UPTIME, START, Ratio(1, 2))]))
    for ts in range(START + HOUR, START + 3 * HOUR, BUCKET):
        polled(store, ts + BUCKET, Page([Fact(UPTIME, ts, Ratio(1, 1))]))
    assert read(store, START, START + DAY, store.version()) == (25, 26)
    assert sound.faults(store) == []


def test_series_of_hours_are_whole_before_their_day_is_closed(store: Store) -> None:
    from tandem.bins import Layout

    layout = Layout(edges=(1.0, 2.0), closed="right", digits=0)
    now = START + 26 * HOUR
    told = [Fact(FEATURE, START + place * HOUR, Histogram(layout, {0: 1, 1: 2}, {})) for place in range(26)]
    polled(store, now, Page(told, slice=Slice("log", "1")))
    reader = Reader(store)
    [kept] = reader.series(signal="feature")
    counts = reader.totals("histogram", [kept.id], [(START, now)])[kept.id][0]
    assert {place: cell[0] for place, cell in counts.items()} == {0: 26, 1: 52}
    drawn = reader.steps("histogram", {kept.id: 0}, START, now, 6 * HOUR)
    assert sum(n for *_, n, _ in drawn) == 78


def test_nothing_coarse_is_read_past_its_closing() -> None:
    closed = {HOUR: START + 5 * HOUR, DAY: START}
    for tier, _, high in pieces(START - 3 * DAY, START + 9 * HOUR + BUCKET, BUCKET, closed):
        assert high <= closed.get(tier, high)
    found = layers(START - 3 * DAY, START + 9 * HOUR + BUCKET, DAY, BUCKET, closed)
    assert [tier for tier, _, _ in found] == [DAY, HOUR, BUCKET]
    assert all(a[2] == b[1] for a, b in pairwise(found))
    assert layers(START, START + DAY, DAY, BUCKET, {}) == [(BUCKET, START, START + DAY)]


# -- stores of the first version, in which every load wrote into every tier


def aged(path: Path) -> None:
    """Make a store as version 1 left it: every load in every tier, nothing noted as closed."""
    with duckdb.connect(str(path)) as old:
        for kind, keys, values in (
            ("ratio", "", "sum(good), sum(total)"), ("histogram", ", bin", "sum(n), sum(sum)"),
            ("confusion", ", actual, predicted", "sum(n)"), ("moments", "", "sum(n), sum(sum), sum(squares)"),
        ):  # fmt: skip
            for suffix, fine, width in (("_hour", "", HOUR), ("_day", "_hour", DAY)):
                wide = "WHERE series IN (SELECT id FROM series WHERE width = 300)" if suffix == "_hour" else ""
                old.execute(f"DELETE FROM {kind}{suffix} {wide}")
                old.execute(
                    f"INSERT INTO {kind}{suffix} SELECT series, ts - ts % {width} AS start, slice{keys}, {values}, "
                    f"load_id FROM {kind}{fine} GROUP BY series, start, slice{keys}, load_id"
                )
        old.execute("DROP TABLE closed")
        old.execute("UPDATE meta SET value = '1' WHERE key = 'version'")


def filled(path: Path) -> None:
    with open_store(path) as store:
        for ts in range(START, START + 30 * HOUR, 5 * HOUR):
            told = [Fact(UPTIME, ts + bucket * BUCKET, Ratio(bucket % 3, 3)) for bucket in range(60)]
            polled(store, ts + 5 * HOUR, Page(told))


def test_an_older_store_is_migrated_after_a_copy_and_reads_the_same_as_of_every_load(tmp_path: Path) -> None:
    path = tmp_path / "tandem.duckdb"
    filled(path)
    aged(path)
    before = path.read_bytes()
    with pytest.raises(StoreRefused, match="older Tandem; run `tandem sync` once"):
        open_store(path, read_only=True)
    with open_store(path) as store:
        assert copy_of(path).read_bytes() == before
        assert sound.faults(store) == []
        now = START + 33 * HOUR
        polled(store, now, Page([Fact(UPTIME, START + 31 * HOUR, Ratio(1, 7)), Fact(UPTIME, START, Ratio(3, 3))]))
        assert sound.faults(store) == []
        for as_of in range(1, store.version() + 1):
            for since, until in ((START, now), (START + 2 * HOUR, START + 28 * HOUR)):
                assert read(store, since, until, as_of) == finest(store, since, until, as_of)
    with duckdb.connect(str(path)) as again:
        assert again.execute("SELECT value FROM meta WHERE key = 'version'").fetchone() == (migrate.VERSION,)


def test_an_export_of_an_older_store_is_restored(tmp_path: Path) -> None:
    path = tmp_path / "tandem.duckdb"
    filled(path)
    with open_store(path) as store:
        manifest = backup.export(store, tmp_path / "export")
        said = Reader(store).digest()
    (tmp_path / "export" / "closed.parquet").unlink()
    text = (tmp_path / "export" / backup.MANIFEST).read_text()
    aged(path)
    old = tmp_path / "older"
    shutil.copytree(tmp_path / "export", old)
    _as_version_one(path, old, manifest, text)
    assert backup.restore(old, tmp_path / "again.duckdb") == manifest["load"]
    with open_store(tmp_path / "again.duckdb") as store:
        assert Reader(store).digest() == said
        assert sound.faults(store) == []
    assert sorted(one.name for one in tmp_path.glob("*again*")) == ["again.duckdb"]


def _as_version_one(path: Path, folder: Path, manifest: dict, text: str) -> None:
    import hashlib
    import json

    told = json.loads(text)
    told["version"], told["digest"] = "1", "what version 1 computed over its tiers"
    for name in ("closed", "kept"):
        del told["tables"][name]
        (folder / f"{name}.parquet").unlink(missing_ok=True)
    del told["files"]
    with duckdb.connect(str(path)) as old:
        for name in told["tables"]:
            columns = [row[0] for row in old.execute(f"DESCRIBE {name}").fetchall()]
            every = ", ".join(f"{c}::VARCHAR AS {c}" if c in ("sum", "squares") else c for c in columns)
            file = folder / f"{name}.parquet"
            if name == "baseline":
                continue
            file.unlink()
            old.execute(f"COPY (SELECT {every} FROM {name}) TO '{file}' (FORMAT parquet)")
            told["tables"][name]["sha256"] = hashlib.sha256(file.read_bytes()).hexdigest()
    (folder / backup.MANIFEST).write_text(json.dumps(told))
    (folder / backup.SEAL).unlink()
