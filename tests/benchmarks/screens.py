"""CPU of what each screen asks of the engine on 200 components x 10 signals x 5 minutes x 90 days (51.8M rows).

Run: python -m tests.benchmarks.screens [--components N] [--days N] [--live DAYS] [--rounds N] [--hours N] [--keep FILE]
     [--only NAME ...] [--statements] [--profile]

Each round asks every screen once, beside `select 1` and a full scan: user and system time of the whole process, all
threads, medians. Each round's window ends 5 minutes before that of the last, so that no answer is ever asked twice;
within a round all screens ask for the same window, as somebody does who looks through them. `--statements` lists what
each screen runs, with the CPU of each statement (between its start and its last row); `--profile` says where Python
spends a screen. `--live`: so many of the last days came in polls of one bucket each.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import re
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from tandem import report
from tandem.records import BUCKET
from tandem.shown import Half, Window
from tandem.store.file import Store, open_store
from tests.benchmarks import estate
from tests.benchmarks.overview import cpu


def screens(context: Any, window: Window) -> dict[str, Callable[[], object]]:
    """What each page asks of the engine, by the page's name."""
    before = Half(window=Window(2 * window.since - window.until, window.since))
    more: dict[str, Any] = {"now": estate.END}
    known = [one.name for one in context.config.components]
    service, model = known[0], next(name for name in known if name.startswith("model"))
    return {
        "Overview": lambda: report.overview(context, window, **more),
        "Services": lambda: report.lists(context, window, "service", **more),
        "Models": lambda: report.lists(context, window, "model", **more),
        "one service": lambda: report.detail(context, service, window, **more),
        "one model": lambda: report.detail(context, model, window, **more),
        "Delivery": lambda: report.delivery(context, window, **more),
        "Compare": lambda: report.compare(context, window, before, **more),
        "Compare, one model": lambda: report.compare(context, window, before, component=model, **more),
        "Sources": lambda: report.sources(context, window, **more),
    }


def chosen(context: Any, given: argparse.Namespace, number: int) -> dict[str, Callable[[], object]]:
    """The screens to ask, of a window of their round's own."""
    until = estate.END - number * BUCKET
    asks = screens(context, Window(until - given.hours * 3600, until))
    return {name: work for name, work in asks.items() if not given.only or name in given.only}


class Timed:
    """A cursor that notes each statement and the CPU milliseconds between its start and its last row."""

    def __init__(self, cursor: Any, noted: list[list[Any]]) -> None:
        self._cursor = cursor
        self._noted = noted

    def execute(self, sql: str, *given: Any) -> Timed:
        self._noted.append([sql, cpu(lambda: self._cursor.execute(sql, *given)), 0])
        return self

    def fetchall(self) -> list[Any]:
        return self._fetched(self._cursor.fetchall)

    def fetchone(self) -> Any:
        return self._fetched(self._cursor.fetchone)

    def _fetched(self, fetch: Callable[[], Any]) -> Any:
        found: list[Any] = []
        self._noted[-1][1] += cpu(lambda: found.append(fetch()))
        self._noted[-1][2] = len(found[0]) if isinstance(found[0], list) else 1
        return found[0]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cursor, name)


def statements(store: Store, work: Callable[[], object]) -> list[list[Any]]:
    """(statement, CPU milliseconds, rows) of all that one screen runs."""
    noted: list[list[Any]] = []
    plain = type(store).cursor
    type(store).cursor = lambda self: Timed(plain(self), noted)  # type: ignore[method-assign, assignment, return-value]
    try:
        work()
    finally:
        type(store).cursor = plain  # type: ignore[method-assign]
    return noted


def shortened(sql: str) -> str:
    """What a statement reads, in one line."""
    tables = dict.fromkeys(re.findall(r"(?:FROM|JOIN) ([a-z_0-9]+)", sql))
    times = sql.count("UNION ALL")
    return f"{', '.join(tables)}{f' ({times + 1} parts)' if times else ''}: {' '.join(sql.split())[:70]}"


def show_statements(store: Store, asks: dict[str, Callable[[], object]]) -> None:
    for name, work in asks.items():
        noted = statements(store, work)
        print(f"\n{name}: {len(noted)} statements, {sum(ms for _, ms, _ in noted):.1f} ms CPU")
        for sql, ms, rows in sorted(noted, key=lambda one: -one[1]):
            print(f"  {ms:7.1f} ms {rows:7,} rows  {shortened(sql)}")


def profile(name: str, work: Callable[[], object]) -> None:
    print(f"\n{name}")
    kept = cProfile.Profile()
    kept.runcall(work)
    pstats.Stats(kept).sort_stats("tottime").print_stats(28)


def measure(path: Path, given: argparse.Namespace) -> None:
    """Print the figures of one store."""
    with open_store(path) as store:
        context = SimpleNamespace(store=store, config=estate.config(path.parent, given.components))
        cursor = store.cursor()
        counted = cursor.execute("SELECT count(*) FROM ratio").fetchone()
        print(f"{counted[0]:,} rows of ratios, {path.stat().st_size / 1e6:,.0f} MB, {store.version():,} loads")
        floor: dict[str, Callable[[], object]] = {
            "select 1": lambda: cursor.execute("SELECT 1").fetchall(),
            "full scan": lambda: cursor.execute("SELECT sum(good), sum(total), max(ts) FROM ratio").fetchall(),
        }
        spent: dict[str, list[float]] = {}
        for number in range(given.rounds + 1):
            asks = chosen(context, given, number)
            for name, work in {**floor, **asks}.items():
                gc.collect()
                spent.setdefault(name, []).append(cpu(work))
        scan = statistics.median(spent["full scan"][1:])
        print(f"{'CPU ms':20} {'first':>8} {'median':>8} {'least':>8} {'most':>8} {'x scan':>8}")
        for name, some in spent.items():
            rest = some[1:]
            middle = statistics.median(rest)
            print(f"{name:20} {some[0]:8.1f} {middle:8.1f} {min(rest):8.1f} {max(rest):8.1f} {middle / scan:8.2f}",
                  flush=True)  # fmt: skip
        if given.statements:
            show_statements(store, chosen(context, given, given.rounds + 1))
        if given.profile:
            for name, work in chosen(context, given, given.rounds + 2).items():
                profile(name, work)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=200)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--live", type=int, default=7)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--hours", type=int, default=24, help="hours of the window")
    parser.add_argument("--keep", type=Path, help="build the store here, or use the one that is here, and keep it")
    parser.add_argument("--only", nargs="*", default=[], help="the screens to ask")
    parser.add_argument("--statements", action="store_true")
    parser.add_argument("--profile", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = given.keep or Path(folder) / "tandem.duckdb"
        if not path.exists():
            estate.build(path, given.components, given.days, given.live)
        measure(path, given)


if __name__ == "__main__":
    main()
