"""Slices of a store: each counted once, however long ago, and years of polls cost no memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem import collect
from tandem.connect import Pull
from tandem.records import Fact, Page, Ratio, Series, Slice
from tandem.store import sliced
from tandem.store.file import Store, open_store
from tandem.store.ledger import Ledger
from tandem.store.read import Reader
from tests.fakes import NOW, source

API = Series("availability", component="api")


def told(name: str, digest: str = "1", good: int = 1) -> Page:
    return Page([Fact(API, NOW - 300, Ratio(good, 1))], covered=(), slice=Slice(name, digest))


def counted(store: Store) -> tuple[int, int]:
    reader = Reader(store)
    ids = [kept.id for kept in reader.series(signal="availability", component="api")]
    [merge] = [found[0] for found in reader.totals("ratio", ids, [(0, NOW)]).values()]
    return int(merge[0]), int(merge[1])


def test_polls_are_forgotten_by_memory_and_never_by_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond what is kept, before and after the store is opened again: a poll counts once, a correction replaces it."""
    monkeypatch.setattr(sliced, "RECENT", 10)
    pages = [told(f"poll:{n}") for n in range(50)] + [told("file:a")]
    with open_store(tmp_path / "s.duckdb") as store:
        collect.pull(store, source(lambda pull: iter(pages)), NOW)
        assert counted(store) == (51, 51)
        assert len(store.names.slices) == 11
        collect.pull(store, source(lambda pull: iter(pages)), NOW)
        assert counted(store) == (51, 51)
        number = store.names.sources["fake", "fake"]
        assert [Ledger(store).taken(number)(name) for name in ("poll:0", "poll:49", "poll:50", "file:a")] == [
            "1", "1", None, "1",
        ]  # fmt: skip
    with open_store(tmp_path / "s.duckdb") as store:
        assert len(store.names.slices) == 1
        collect.pull(store, source(lambda pull: iter(pages)), NOW)
        assert counted(store) == (51, 51)
        collect.pull(store, source(lambda pull: iter([told("poll:3", "2", good=0), told("poll:50")])), NOW)
        assert counted(store) == (51, 52)
        rows = store.cursor().execute("SELECT count(*), count(DISTINCT id), max(id) FROM slice").fetchall()
        assert rows == [(52, 52, 52)]


def test_a_pull_sees_what_was_taken_long_ago(tmp_path: Path) -> None:
    seen: list[str | None] = []

    def asking(pull: Pull):
        seen.append(pull.taken("poll:1"))
        yield told("poll:1")

    with open_store(tmp_path / "s.duckdb") as store:
        for _ in range(2):
            collect.pull(store, source(asking), NOW)
    assert seen == [None, "1"]
