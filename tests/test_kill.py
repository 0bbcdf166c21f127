"""kill -9 at any moment of a sync: the file opens, nothing is lost before the state, nothing is doubled."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tandem.store import sound
from tandem.store.file import open_store
from tandem.store.ledger import Ledger
from tandem.store.read import Reader
from tests import processes, slow_source

PAGES = 30
CONFIG = f"""
[[component]]
name = "shop"
[[source]]
connector = "slow_source"
name = "till"
pages = {PAGES}
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return slow_source.packaged(tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, package: Path) -> str:
    folder = configured(tmp_path_factory.mktemp("undisturbed"))
    done = processes.run("sync", folder=folder, packages=[package])
    assert (done.returncode, done.stderr) == (0, "")
    return state_and_digest(folder)[1]


def configured(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "tandem.toml").write_text(CONFIG)
    return folder


def killed_after(pages: int, then: float, folder: Path, package: Path) -> int:
    """Start a sync, wait for so many pages and a moment more, and kill it; how many pages were told."""
    told, tell = os.pipe()
    process = processes.start("sync", folder=folder, packages=[package], pass_fds=[tell], TOLD_FD=str(tell))
    os.close(tell)
    seen = 0
    with processes.running(process), os.fdopen(told, "rb", buffering=0) as pipe:
        while seen < pages and pipe.read(1):
            seen += 1
        time.sleep(then)  # where between two pages it is killed is left to chance
        process.send_signal(signal.SIGKILL)
        seen += len(pipe.read())
    return seen


def state_and_digest(folder: Path) -> tuple[int, str]:
    """The state that the store has, once it is seen to be whole as far as that state says."""
    with open_store(folder / "tandem.duckdb") as store:
        assert sound.faults(store) == []
        reader = Reader(store)
        found = [Ledger(store).state(number).state for number in reader.sources()]
        state = found[0] if found and found[0] is not None else 0
        begin, end = slow_source.START, slow_source.START + 86400 * 30
        ids = [kept.id for kept in reader.series(signal="latency")]
        merges = reader.totals("histogram", ids, [(begin, end)])
        counted = sum(int(cell[0]) for [cells] in merges.values() for cell in (cells or {}).values())
        assert counted in (slow_source.slices_until(state), slow_source.slices_until(state + 1))
        assert len(reader.events(0, 1 << 40)) == state
        return state, reader.digest()


def survives(seed: int, kills: int, folder: Path, package: Path, undisturbed: str) -> int:
    chance = random.Random(seed)
    done = rounds = 0
    while done < kills:
        home = configured(folder / str(rounds))
        rounds += 1
        before = 0
        while before < PAGES and done < kills:
            seen = killed_after(chance.randrange(0, 14), chance.random() * 0.15, home, package)
            done += 1
            if not (home / "tandem.duckdb").exists():
                continue
            state, _ = state_and_digest(home)
            assert state >= before + max(seen - 1, 0), "a page that was committed is lost"
            before = state
        finished = processes.run("sync", folder=home, packages=[package])
        assert finished.returncode == 0, finished.stderr
        assert state_and_digest(home) == (PAGES, undisturbed)
    return done


def test_killed_again_and_again_it_ends_with_the_same_numbers(tmp_path: Path, package: Path, undisturbed: str) -> None:
    assert survives(1, 8, tmp_path, package, undisturbed) == 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_a_hundred_times_it_ends_with_the_same_numbers(tmp_path: Path, package: Path, undisturbed: str) -> None:
    assert survives(2, 100, tmp_path, package, undisturbed) == 100
