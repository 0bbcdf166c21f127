"""The demo: exports that reach past now by whole weeks, a store that lasts while they do, and then begins again."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tandem import config as configuration
from tandem import demo
from tandem.records import DAY

NOW = int(datetime(2027, 3, 9, 15, tzinfo=UTC).timestamp())
END = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())


@pytest.mark.parametrize("now", [END - 40 * DAY, END - 8 * DAY, END - DAY, END - DAY + 1, END, END + 1, NOW])
def test_the_exports_reach_at_least_a_day_and_at_most_eight_past_now(now: int) -> None:
    days = demo.shift_days(END, now)
    assert days % 7 == 0
    assert DAY <= END + days * DAY - now < 8 * DAY


def test_a_first_start_writes_a_configuration_that_reads_the_installed_files(tmp_path: Path) -> None:
    path, told = demo.prepare(tmp_path / "new", NOW)
    found = configuration.load(path)
    assert len(found.sources) > 10
    assert {source.common.shift_days for source in found.sources} == {demo.shift_days(END, NOW)}
    for source in found.sources:
        named = str(getattr(source.config, "url", None) or source.config.path).removeprefix("file:")
        place = Path(named.partition("*")[0].rstrip("/"))
        assert place.is_absolute()
        assert place.exists()
    assert len(told) == 1


def test_later_starts_leave_everything_as_it_is_until_less_than_a_day_is_left(tmp_path: Path) -> None:
    path, _ = demo.prepare(tmp_path, NOW)
    before = path.read_text()
    (tmp_path / "tandem.duckdb").write_text("store")
    left = END + demo.shift_days(END, NOW) * DAY - NOW
    for later in (NOW, NOW + left - DAY):
        assert demo.prepare(tmp_path, later)[1] == []
        assert path.read_text() == before
    over = NOW + left - DAY + 1
    _, told = demo.prepare(tmp_path, over)
    [aside] = tmp_path.glob("tandem.duckdb.old-*")
    assert aside.read_text() == "store", "moved, never removed"
    assert aside.name in told[0]
    assert not (tmp_path / "tandem.duckdb").exists()
    days = tomllib.loads(path.read_text())["source"][0]["shift_days"]
    assert days == demo.shift_days(END, NOW) + 7
    assert demo.prepare(tmp_path, over)[1] == [], "and the next start finds all as it should be"


def test_a_store_moved_aside_takes_its_log_along_and_a_free_name(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / "tandem.toml").write_text("# an older sample\n")
        (tmp_path / "tandem.duckdb").write_text(f"store {number}")
        (tmp_path / "tandem.duckdb.wal").write_text(f"log {number}")
        demo.prepare(tmp_path, NOW)
    kept = {path.name: path.read_text() for path in tmp_path.glob("*.old-*")}
    assert sorted(kept.values()) == ["log 0", "log 1", "store 0", "store 1"]
    assert len([name for name in kept if name.endswith(".wal")]) == 2


def test_the_folder_is_the_users_own(tmp_path: Path) -> None:
    assert demo.default_folder({"XDG_DATA_HOME": str(tmp_path)}) == tmp_path / "tandem-demo"
    assert demo.default_folder({}) == Path.home() / ".local" / "share" / "tandem-demo"
