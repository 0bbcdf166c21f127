"""CPU of the Overview's whole query set on 200 components x 10 signals x 5 minutes x 90 days (51.8M rows).

Run: python -m tests.benchmarks.overview [--components N] [--days N] [--live DAYS] [--rounds N] [--keep FILE]

Each round asks everything that the Overview shows, for three windows in turn, beside `select 1` and a full scan of the
5-minute rows: user and system time of the whole process, all threads, medians. Nothing is kept from one round to the
next but what the open store itself keeps (its names, and sums of days as of the newest load); the first round is
printed apart. `--live`: so many of the last days came in polls of one bucket each, every poll a load of its own.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

from tandem import report
from tandem.records import DAY
from tandem.shown import Window
from tandem.store.file import open_store
from tests.benchmarks import estate

WINDOWS = {"24 h": DAY, "7 d": 7 * DAY, "28 d": 28 * DAY}


def cpu(work: Callable[[], object]) -> float:
    """Milliseconds of user and system time that the whole process spent on it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    work()
    after = resource.getrusage(resource.RUSAGE_SELF)
    return 1000 * (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(path: Path, components: int, rounds: int) -> None:
    """Print the figures of one store."""
    with open_store(path) as store:
        context = SimpleNamespace(store=store, config=estate.config(path.parent, components))
        cursor = store.cursor()
        rows = cursor.execute("SELECT count(*) FROM ratio").fetchone()
        print(f"{rows[0]:,} rows of ratios, {path.stat().st_size / 1e6:,.0f} MB, {store.version():,} loads")
        asks: dict[str, Callable[[], object]] = {
            "select 1": lambda: cursor.execute("SELECT 1").fetchall(),
            "full scan": lambda: cursor.execute("SELECT sum(good), sum(total), max(ts) FROM ratio").fetchall(),
        }
        for name, width in WINDOWS.items():
            window = Window(estate.END - width, estate.END)
            asks[f"Overview, {name}"] = lambda window=window: report.overview(context, window, now=estate.END)
        spent: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(rounds + 1):
            for name, work in asks.items():
                spent[name].append(cpu(work))
        print(f"{'CPU ms':16} {'first':>8} {'median':>8} {'least':>8} {'most':>8}")
        for name, some in spent.items():
            rest = some[1:]
            print(f"{name:16} {some[0]:8.1f} {statistics.median(rest):8.1f} {min(rest):8.1f} {max(rest):8.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--live", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--keep", type=Path, help="build the store here, or use the one that is here, and keep it")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "tandem.duckdb"
        if not path.exists():
            begin = time.monotonic()
            spent = cpu(lambda: estate.build(path, given.components, given.days, given.live))
            print(f"built in {time.monotonic() - begin:.0f} s, {spent / 1000:.0f} CPU s")
        measure(path, given.components, given.rounds)


if __name__ == "__main__":
    main()
