"""What people keep: revisions, deletion, limits; and what tells one store from another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest

from tandem.store import backup, kept, migrate
from tandem.store.file import Store, StoreRefused, copy_of, open_store
from tandem.store.kept import Kept, keep

ONE = Kept("review", "week-47", 1_795_000_000, "Ada", '{"text": "first"}', 12)


@pytest.fixture
def store(tmp_path: Path):
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def test_the_newest_revision_counts_and_nothing_is_written_twice(store: Store) -> None:
    keep(store, ONE)
    keep(store, replace(ONE, made=ONE.made + 60))
    keep(store, replace(ONE, made=ONE.made + 60, content='{"text": "second"}'))
    assert [(one.made, one.content) for one in kept.kept(store, "review")] == [(ONE.made + 60, '{"text": "second"}')]
    assert store.cursor().execute("SELECT count(*) FROM kept").fetchone() == (2,)
    assert kept.kept(store, "moment") == []


def test_a_clock_that_was_set_back_loses_no_revision(store: Store) -> None:
    keep(store, ONE)
    keep(store, replace(ONE, made=ONE.made - 3600, content='{"text": "later"}'))
    assert kept.kept(store, "review", "week-47")[0].content == '{"text": "later"}'


def test_what_is_deleted_is_gone_and_may_come_back(store: Store) -> None:
    keep(store, ONE)
    keep(store, replace(ONE, made=ONE.made + 1, content=""))
    assert kept.kept(store, "review") == []
    keep(store, replace(ONE, made=ONE.made + 2))
    assert [one.id for one in kept.kept(store, "review")] == ["week-47"]


def test_what_is_too_much_is_refused_with_a_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreRefused, match="larger than"):
        keep(store, replace(ONE, content="x" * (kept.LARGEST + 1)))
    monkeypatch.setattr(kept, "MOST", 1)
    keep(store, ONE)
    keep(store, replace(ONE, content='{"text": "an edit is no further one"}', made=ONE.made + 5))
    with pytest.raises(StoreRefused, match="there are 1 reviews already"):
        keep(store, replace(ONE, id="week-48"))


def test_it_travels_with_an_export_and_the_store_stays_itself(store: Store, tmp_path: Path) -> None:
    keep(store, ONE)
    backup.export(store, tmp_path / "out")
    backup.restore(tmp_path / "out", tmp_path / "other.duckdb")
    with open_store(tmp_path / "other.duckdb") as other:
        assert kept.kept(other, "review") == [ONE]
        assert other.identity == store.identity
    with open_store(tmp_path / "new.duckdb") as new:
        assert new.identity != store.identity
        assert len(new.identity) == 12


def test_a_store_that_is_only_read_keeps_nothing(store: Store) -> None:
    keep(store, ONE)
    store.close()
    with open_store(store.path).reopened(read_only=True) as reading:
        with pytest.raises(StoreRefused, match="only read"):
            keep(reading, replace(ONE, id="other"))
        assert kept.kept(reading, "review") == [ONE]


def test_a_store_of_version_3_gets_the_table_and_an_identity(tmp_path: Path) -> None:
    path = tmp_path / "old.duckdb"
    Store(path).close()
    with duckdb.connect(str(path)) as old:
        old.execute("DROP TABLE kept")
        old.execute("DELETE FROM meta WHERE key = 'identity'")
        old.execute("UPDATE meta SET value = '3' WHERE key = 'version'")
    with open_store(path) as opened:
        keep(opened, ONE)
        first = opened.identity
        assert len(first) == 12
    with open_store(path) as again:
        assert again.identity == first
        assert kept.kept(again, "review") == [ONE]
    assert copy_of(path).exists()
    assert migrate.VERSION == "4"
