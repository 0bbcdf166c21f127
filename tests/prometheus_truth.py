"""Eight hours of a shop whose every request is known, and the scrapes Prometheus would have stored of it.

What is true is kept while the requests are made, never computed from the samples: at each scrape the requests since
the last one (or since the restart) are known one by one. The rule of the design says which of them can count.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

EDGES = (0.05, 0.1, 0.25, 0.5, 1.0)
EVERY = 15
HOURS = 8


@dataclass
class Process:
    """One instance: its counters since it started, and what happened since the last scrape."""

    since_start: Counter[tuple[str, int]] = field(default_factory=Counter)
    unseen: Counter[tuple[str, int]] = field(default_factory=Counter)

    def request(self, code: str, place: int) -> None:
        self.since_start[(code, place)] += 1
        self.unseen[(code, place)] += 1

    def restart(self) -> None:
        self.since_start.clear()
        self.unseen.clear()


@dataclass
class Shop:
    """The stored samples as OpenMetrics lines by family, and the truth per bucket."""

    begin: int
    lines: dict[str, list[str]] = field(default_factory=lambda: {"up": [], "requests": [], "seconds": []})
    checks: dict[int, list[int]] = field(default_factory=dict)
    totals: Counter[int] = field(default_factory=Counter)
    errors: Counter[int] = field(default_factory=Counter)
    latencies: dict[int, Counter[int]] = field(default_factory=dict)
    series: set[tuple[str, str]] = field(default_factory=set)

    @property
    def end(self) -> int:
        return self.begin + HOURS * 3600

    def openmetrics(self) -> str:
        """The file for `promtool tsdb create-blocks-from openmetrics`."""
        heads = {"up": "up gauge", "requests": "http_requests counter", "seconds": "http_seconds histogram"}
        parts = [f"# TYPE {heads[name]}\n" + "".join(lines) for name, lines in self.lines.items()]
        return "".join(parts) + "# EOF\n"


def shop(begin: int, seed: int = 11) -> Shop:
    """Two instances; "a" restarts twice and is not scraped for 6 and for 20 minutes, "b" appears after 3 hours."""
    found, chance = Shop(begin), random.Random(seed)
    for name in ("a", "b"):
        _run(found, name, chance)
    return found


def _run(found: Shop, name: str, chance: random.Random) -> None:
    process, last = Process(), None
    for at in _scrapes(found.begin + (0 if name == "a" else 3 * 3600)):
        if at >= found.end:
            return
        if name == "a" and (at - found.begin) in (5400, 5400 + EVERY * 200):
            process.restart()
        for _ in range(chance.randrange(12)):
            process.request(chance.choice(["200"] * 30 + ["500"]), chance.randrange(len(EDGES) + 1))
        minute = (at - found.begin) // 60
        if name == "a" and (100 <= minute < 106 or 300 <= minute < 320):
            continue
        is_down = name == "a" and 200 <= minute < 202
        found.checks.setdefault(_bucket(at), []).append(0 if is_down else 1)
        found.lines["up"].append(f'up{{instance="{name}"}} {0 if is_down else 1} {at}.250\n')
        if is_down:
            continue
        _scrape(found, name, process, at, counts=last is not None and at - last <= 600)
        last = at


def _scrapes(begin: int) -> Iterator[int]:
    at = begin
    while True:
        yield at
        at += EVERY


def _scrape(found: Shop, name: str, process: Process, at: int, *, counts: bool) -> None:
    bucket = _bucket(at)
    for (code, place), n in process.unseen.items():
        is_new = (name, code) not in found.series
        if counts and not is_new:
            found.totals[bucket] += n
            found.errors[bucket] += n if code == "500" else 0
        if counts:
            found.latencies.setdefault(bucket, Counter())[place] += n
    process.unseen.clear()
    by_code: Counter[str] = Counter()
    by_place: Counter[int] = Counter()
    for (code, place), n in process.since_start.items():
        by_code[code] += n
        by_place[place] += n
    for code, n in sorted(by_code.items()):
        found.series.add((name, code))
        found.lines["requests"].append(f'http_requests_total{{instance="{name}",code="{code}"}} {n} {at}.250\n')
    running = 0
    for place, edge in enumerate([*map(str, EDGES), "+Inf"]):
        running += by_place[place]
        found.lines["seconds"].append(f'http_seconds_bucket{{instance="{name}",le="{edge}"}} {running} {at}.250\n')
    found.lines["seconds"].append(f'http_seconds_count{{instance="{name}"}} {running} {at}.250\n')


def _bucket(at: int) -> int:
    return at // 300 * 300
