"""A first pull of many builds from a CI server, and the next one: requests against the fewest, CPU, peak memory.

Run: python -m tests.benchmarks.pulls [--builds N] [--only github gitlab jenkins] [--tested SHARE]

The servers are those of the tests, each in a process of its own; the pull, with its store, in another. CPU is user and
system time of that process over the pull, memory the most it ever had resident. The fewest possible requests are
counted from what the server holds: pages of a hundred, one for each object that no list tells whole.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem import collect, config
from tandem.records import DAY
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests import fakes
from tests.github_server import Repository
from tests.gitlab_server import Project
from tests.jenkins_server import Jenkins
from tests.replay import Answer, Asked, serve

NOW = fakes.NOW
DAYS = 60
PAGE = 100
RETRIED = 50
"""One build of so many was tried again."""
SOURCE = """\
[[component]]
name = "shop"
kind = "service"
[[source]]
connector = "{name}"
name = "ci"
url = "{url}"
component = "shop"
"""
TOML = {
    "github": 'repository = "acme/checkout"\n',
    "gitlab": 'projects = ["acme/checkout"]\n',
    "jenkins": "",
}


@dataclass(frozen=True)
class Held:
    """A server's route, and the fewest requests that a first pull of all it holds can need."""

    route: Callable[[Asked], Answer]
    fewest: int
    objects: int


def times_of(builds: int) -> Iterator[int]:
    """When each build was made, evenly over DAYS, the last a day ago."""
    step = DAYS * DAY / builds
    return (int(NOW - (DAYS + 1) * DAY + place * step) for place in range(builds))


def github(builds: int, tested: float) -> Held:
    """Runs, every fiftieth with an earlier attempt that only its own request tells."""
    server = Repository()
    again = 0
    for number, at in enumerate(times_of(builds), 1):
        retried = number % RETRIED == 0
        server.run(number, at, "failure" if retried or number % 17 == 0 else "success")
        if retried:
            server.rerun(number, at + 600, "success")
            again += 1

    def route(asked: Asked) -> Answer:
        target = asked.path + ("?" + "&".join(f"{name}={value}" for name, value in asked.query) if asked.query else "")
        status, headers, body = server.answer(target, "")
        return Answer(body, status, headers)

    # No list holds more than 1,000 runs: pages, and one for each other list (deployments, releases).
    return Held(route, -(-builds // PAGE) + again + 2, builds + again)


class Still(Project):
    """A project in which nothing happens while it is read: its pipelines are put in order once."""

    def _sorted(self, rows: list[dict[str, Any]], asked: Asked) -> Answer:
        if not rows or rows[0]["id"] not in self.pipelines or "iid" not in rows[0]:
            return super()._sorted(rows, asked)
        if not hasattr(self, "order"):
            self.order = sorted(rows, key=lambda one: (one["updated_at"], one["id"]))
        after = dict(asked.query).get("updated_after", "").replace("Z", ".000Z")
        begin = bisect_right(self.order, after, key=lambda one: one["updated_at"])
        return self._paged(self.order[begin:], asked)


def gitlab(builds: int, tested: float) -> Held:
    """Pipelines of three jobs, every fiftieth retried; a share of them with a test report."""
    server = Still()
    reports = jobs = 0
    for number, at in enumerate(times_of(builds), 1):
        retried, reported = number % RETRIED == 0, number % 100 < tested * 100
        server.pipeline(number, at, "failed" if number % 17 == 0 and not retried else "success")
        for place, name in enumerate(("image", "unit", "contract")):
            bad = name == "unit" and (retried or number % 17 == 0)
            one = server.job(number, name, at, at + 10 + 60 * place, 50, "failed" if bad else "success")
            one["artifacts"] = [{"file_type": "trace", "size": 900, "filename": "job.log", "file_format": None}]
            if reported and name == "unit":
                one["artifacts"].append({"file_type": "junit", "size": 90, "filename": "junit.xml.gz",
                                         "file_format": "gzip"})  # fmt: skip
        if retried:
            again = server.job(number, "unit", at + 900, at + 910, 50)
            again["artifacts"] = []
        jobs += 3 + retried
        if reported:
            server.suite(number, "unit", 20)
            reports += 1
    server.asked = Counting()  # type: ignore[assignment]
    # Pages of pipelines and of all jobs, one for children, deployments and releases each, and one for each report.
    return Held(server.answer, -(-builds // PAGE) - (-jobs // PAGE) + 3 + reports, builds + builds // RETRIED)


def jenkins(builds: int, tested: float) -> Held:
    """Twenty jobs; every seventeenth build failed in a stage that only its own request tells, some with tests."""
    server = Jenkins()
    jobs = 20
    failed = reported = 0
    for number, at in enumerate(times_of(builds), 1):
        job = f"shop/job-{number % jobs}"
        server.folders.setdefault("shop", "com.cloudbees.hudson.plugins.folder.Folder")
        bad = number % 17 == 0
        server.build(job, number, at, "FAILURE" if bad else "SUCCESS")
        failed += bad
        if number % 100 < tested * 100:
            server.tested(job, number, 20, ("test_total",) if bad else ())
            reported += bad
    server.asked = Counting()  # type: ignore[assignment]
    return Held(
        server.answer, 1 + sum(-(-len(one) // PAGE) for one in server.jobs.values()) + failed + reported, builds
    )


class Counting(list[Asked]):
    """Keeps no request: only how many came."""

    def append(self, asked: Asked) -> None:
        """Nothing: the process that serves counts them."""


def served(name: str, builds: int, tested: float, pipe: Any) -> None:
    """Serve until told to stop, counting what is asked by the shape of its path."""
    held = globals()[name](builds, tested)
    shapes: Counter[str] = Counter()

    def route(asked: Asked) -> Answer:
        shapes["/".join("N" if part.isdigit() else part for part in asked.path.strip("/").split("/")[-2:])] += 1
        return held.route(asked)

    with serve(route) as server:
        pipe.send((server.url, held.fewest, held.objects))
        while pipe.recv() == "count":
            pipe.send(dict(shapes))
            shapes.clear()
            server.asked.clear()


def pulled(name: str, url: str, now: int, path: str, pipe: Any) -> None:
    """One pull into the store at `path`: CPU seconds, peak memory, and how many builds are there then."""
    text = SOURCE.format(name=name, url=url) + TOML[name]
    made = config.parse(text, Path(path) / "tandem.toml")
    with open_store(Path(path) / "tandem.duckdb") as store:
        before = resource.getrusage(resource.RUSAGE_SELF)
        found = collect.pull(store, made.sources[0], now)
        after = resource.getrusage(resource.RUSAGE_SELF)
        reader = Reader(store)
        ids = [one.id for one in reader.series(signal="build_success", component="shop")]
        counts = list(reader.totals("ratio", ids, [(0, 1 << 40)]).values())
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    total = sum(int(merge[1]) for [merge] in counts if merge)
    pipe.send((found.error, spent, after.ru_maxrss / 1024, total))


@contextmanager
def process(work: Callable[..., None], *given: Any) -> Iterator[Any]:
    """The pipe to a process of its own, which is ended afterwards."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    running = context.Process(target=work, args=(*given, there), daemon=True)
    running.start()
    try:
        yield here
    finally:
        running.terminate()
        running.join()


def measure(name: str, builds: int, tested: float) -> None:
    """Print the figures of one server."""
    with tempfile.TemporaryDirectory() as folder, process(served, name, builds, tested) as server:
        url, fewest, objects = server.recv()
        for what, now, least in (("first pull", NOW, fewest), ("second pull", NOW + 300, None)):
            with process(pulled, name, url, now, folder) as client:
                error, spent, memory, total = client.recv()
            server.send("count")
            shapes = server.recv()
            asked = sum(shapes.values())
            against = f"{asked / least:.2f} x the fewest possible ({least:,})" if least else json.dumps(shapes)
            cost = f"{spent:7.1f} CPU s, {1e3 * spent / objects:6.3f} ms per object, peak {memory:,.0f} MB"
            print(f"{name:8} {what:12} {asked:>8,} requests, {against}; {cost}; {total:,} builds {error}", flush=True)
            if what == "first pull":
                print(f"{'':8} by kind: {json.dumps(dict(sorted(shapes.items(), key=lambda one: -one[1])[:6]))}")
        server.send("stop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--builds", type=int, default=100_000)
    parser.add_argument("--only", nargs="*", choices=sorted(TOML), default=sorted(TOML))
    parser.add_argument("--tested", type=float, default=0.1, help="share of builds with a test report")
    given = parser.parse_args()
    for name in given.only:
        measure(name, given.builds, given.tested)


if __name__ == "__main__":
    main()
