"""An export gives back the same numbers to the bit, and a damaged one is refused."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path

import pytest

from tandem import collect
from tandem.records import Fact, Histogram, Moments, Page, Ratio, Series, Slice
from tandem.store import backup, sound
from tandem.store.file import Store, StoreRefused
from tandem.store.read import Reader
from tests import fakes, processes, slow_source

HUGE = 3 * 10**36 + 7
"""More than 64 bits, and more than a float keeps exactly."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "tandem.duckdb"
    begin = fakes.NOW - 7200
    facts = [Fact(Series(signal="availability", component="shop"), begin + 300 * n, Ratio(n, n + 1)) for n in range(9)]
    moments = Fact(Series(signal="error", name="error", component="model"), begin, Moments(2, -HUGE, HUGE, 12))
    histogram = Histogram(slow_source.LAYOUT, {0: 3, 2: 1}, {0: 5, 2: -(2**70)})
    part = Page((Fact(Series(signal="latency", component="shop"), begin, histogram),), slice=Slice("a", "b"))
    given = fakes.config(tmp_path, fakes.source(fakes.saying([Page((*facts, moments, slow_source.build(1))), part])))
    with Store(path) as opened:
        [outcome] = collect.sync(opened, given, fakes.NOW)
        assert outcome.error == ""
    return path


def test_a_restored_store_says_the_same_to_the_bit(store: Path, tmp_path: Path) -> None:
    with Store(store) as opened:
        before = Reader(opened).digest()
        manifest = backup.export(opened, tmp_path / "export")
    load = backup.restore(tmp_path / "export", tmp_path / "again.duckdb")
    with Store(tmp_path / "again.duckdb") as again:
        assert Reader(again).digest() == before == manifest["digest"]
        assert again.version() == load == manifest["load"]
        assert sound.faults(again) == []
    assert len(list(tmp_path.glob("*again*"))) == 1, "nothing else is left"


def test_a_damaged_export_is_refused_and_nothing_is_left(store: Path, tmp_path: Path) -> None:
    with Store(store) as opened:
        backup.export(opened, tmp_path / "export")
        with pytest.raises(StoreRefused, match="not empty"):
            backup.export(opened, tmp_path / "export")
    with pytest.raises(StoreRefused, match="exists already"):
        backup.restore(tmp_path / "export", store)
    ratio = tmp_path / "export" / "ratio.parquet"
    whole = ratio.read_bytes()
    ratio.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(StoreRefused, match="damaged"):
        backup.restore(tmp_path / "export", tmp_path / "again.duckdb")
    ratio.write_bytes(whole)
    manifest = tmp_path / "export" / "manifest.json"
    told = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(told | {"load": 99}))
    with pytest.raises(StoreRefused, match=r"manifest\.json is damaged"):
        backup.restore(tmp_path / "export", tmp_path / "again.duckdb")
    for change, said in (({"digest": "0"}, "does not give"), ({"version": "99"}, "newer"), ({"tables": 3}, "newer"),
                         ({"tables": {"../../etc/passwd": {"sha256": "", "rows": 0}}}, "newer"),
                         ({"files": {"../tandem.toml": {"sha256": ""}}}, "newer")):  # fmt: skip
        manifest.write_text(json.dumps(told | change))
        seal(tmp_path / "export")
        with pytest.raises(StoreRefused, match=said):
            backup.restore(tmp_path / "export", tmp_path / "again.duckdb")
    with pytest.raises(StoreRefused, match="not an export"):
        backup.restore(tmp_path, tmp_path / "again.duckdb")
    assert list(tmp_path.glob("*again*")) == []


def seal(folder: Path) -> None:
    """Make the manifest a whole one again, as somebody would who changes it on purpose."""
    digest = hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    (folder / "manifest.sha256").write_text(f"{digest}  manifest.json\n")


def test_export_and_restore_from_the_command_line_also_beside_an_owner(tmp_path: Path) -> None:
    from tandem import config as configuration
    from tandem.owner import Owner

    (tmp_path / "tandem.toml").write_text("")
    with Owner.open(configuration.load(tmp_path / "tandem.toml"), lambda: fakes.NOW, command="serve"):
        assert run("export", "one", folder=tmp_path).returncode == 0
    assert run("export", "two", folder=tmp_path).returncode == 0
    again = run("export", "two", folder=tmp_path)
    assert (again.returncode, len(again.stderr.splitlines())) == (1, 1)
    assert run("restore", "one", "--into", "other", folder=tmp_path).returncode == 0
    same = run("restore", "two", folder=tmp_path)
    assert (same.returncode, same.stdout.rpartition(": ")[2]) == (0, "nothing new\n")
    assert (tmp_path / "other" / "tandem.duckdb").exists()


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return processes.run(*words, folder=folder)
