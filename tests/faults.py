"""Every fault at every request of every connector, on a virtual clock: `python -m tests.faults --all`.

A connector takes part by a module tests/faults_NAME.py that registers how to build its case:

    @faults.register("github")
    def github() -> faults.Case: ...

A cell is one fault at the n-th request of an otherwise good pull. It holds when no record is wrong, the exception is
SourceDown or SourceRefused with a sentence that tells the truth, the token stands nowhere, and the next good pull
gives everything.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib
import os
import pkgutil
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import quote

import tests
from connectors import _http
from tandem import collect
from tandem.config import Source
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import Event, Page
from tandem.store.file import open_store
from tests.replay import Answer, Asked, Route, Server, serve

TOKEN = "canary-5d1f0c7e9b"
TOKEN_ENV = "TANDEM_TEST_CANARY"
QUICK = _http.Limits(connect=2.0, read=0.25, total=0.4, bytes=5_000_000, tries=4)
PATIENT = _http.Limits(connect=10.0, read=10.0, total=20.0, bytes=5_000_000, tries=4)
"""For pulls without a fault: a busy machine must not look like one."""
START = 1_795_000_000.0


class VirtualClock:
    """A clock that nobody waits for."""

    def __init__(self, start: float = START) -> None:
        self.time = start
        self.slept: list[float] = []

    def clock(self) -> _http.Clock:
        return _http.Clock(now=lambda: self.time, sleep=self._sleep, random=lambda: 1.0)

    def _sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.slept.append(seconds)
        self.time += seconds


@contextlib.contextmanager
def virtual(limits: _http.Limits = QUICK) -> Iterator[VirtualClock]:
    """Every client opened inside waits on a virtual clock, with short limits, and finds the canary token."""
    clock = VirtualClock()
    with (
        mock.patch.object(_http, "REAL", clock.clock()),
        mock.patch.object(_http, "LIMITS", limits),
        mock.patch.dict(os.environ, {TOKEN_ENV: TOKEN}),
    ):
        yield clock


@dataclass(frozen=True)
class Case:
    """A connector, its recorded requests and a pull of them.

    `config` makes the Config of a base URL (with token_env=TOKEN_ENV); `answer` is a fresh server per call of the
    builder. `paging`: faults of its own paging (loop, repeat, reorder, miss), each rewriting a good answer.
    A source that measures faults says by `measured` how often its records tell of each result, and by `means` which
    result each fault is; nothing is repaired then, and only the requests that had the fault may show it.
    """

    module: Any
    config: Callable[[str], Any]
    answer: Route
    pull: Pull
    expected: Mapping[Any, Any] | None = None
    paging: Mapping[str, Callable[[Asked, Answer], Answer]] = field(default_factory=dict)
    measured: Callable[[Mapping[Any, Any]], Mapping[str, int]] | None = None
    means: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Earlier:
    """A server whose answer to one question may be given to the next."""

    route: Route
    told: list[Answer] = field(default_factory=list)

    def answer(self, asked: Asked) -> Answer:
        self.told.append(self.route(asked))
        return self.told[-1]

    def repeated(self, asked: Asked, good: Answer) -> Answer:
        """The answer to the question before."""
        return self.told[-2] if len(self.told) > 1 else good


def echoed(module: Any, config: Callable[[str], Any], route: Route, folder: Path, now: int, since: int) -> str:
    """What is said of a good pull, and of one after it whose server refuses the token and repeats it; in a store."""

    def refuse(asked: Asked) -> Answer:
        return Answer({"message": f"no {asked.headers} {TOKEN}"}, 401)

    said = ""
    with virtual(), open_store(folder / "echoed.duckdb") as store:
        for turn, one in enumerate((route, refuse)):
            with serve(one) as server:
                given = config(server.url)
                said += repr(collect.pull(store, Source(given.common, module, given), now + turn * 300, since=since))
    return said


BUILDERS: dict[str, Callable[[], Case]] = {}


def register(name: str) -> Callable[[Callable[[], Case]], Callable[[], Case]]:
    """Let a connector take part under its name."""

    def add(build: Callable[[], Case]) -> Callable[[], Case]:
        BUILDERS[name] = build
        return build

    return add


def load_all() -> dict[str, Callable[[], Case]]:
    """Every registered connector."""
    for found in pkgutil.iter_modules(tests.__path__):
        if found.name.startswith("faults_"):
            importlib.import_module(f"tests.{found.name}")
    return BUILDERS


@cache
def bomb() -> bytes:
    """60 MB of zeros in 60 kB."""
    return gzip.compress(bytes(60_000_000), 6)


Fault = Callable[[Asked, Answer, str], Answer]

ONCE: dict[str, Fault] = {
    "delay": lambda asked, good, other: replace(good, wait=1.0),
    "trickle": lambda asked, good, other: replace(good, each=0.05),
    "reset": lambda asked, good, other: replace(good, sent=0),
    "cut body": lambda asked, good, other: replace(good, sent=max(1, len(good.data()) // 2)),
    "wrong length": lambda asked, good, other: replace(good, length=len(good.data()) + 100),
    "shorter length": lambda asked, good, other: replace(good, length=max(1, len(good.data()) // 2)),
    "garbage": lambda asked, good, other: Answer(bytes(range(1, 200))),
    "429 seconds": lambda asked, good, other: Answer("Retry later", 429, {"Retry-After": "7"}),
    "429 date": lambda asked, good, other: Answer({"message": "slow"}, 429, {"Retry-After": formatdate(START + 30)}),
    "429 reset": lambda asked, good, other: Answer(
        {"message": "limit"}, 429, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(START) + 60)}
    ),
    "500": lambda asked, good, other: Answer({"error": "INTERNAL"}, 500),
    "503 html": lambda asked, good, other: Answer("<html>down</html>", 503, {"Content-Type": "text/html"}),
    "redirect same": lambda asked, good, other: Answer(b"", 307, {"Location": _place(asked)}),
}
"""Faults that pass: the pull completes with the right numbers."""
STAYS: dict[str, Fault] = {
    "html": lambda asked, good, other: Answer("<!DOCTYPE html><form>login</form>", 200, {"Content-Type": "text/html"}),
    "redirect other": lambda asked, good, other: Answer(b"", 302, {"Location": f"{other}/login"}),
    "gzip bomb": lambda asked, good, other: Answer(bomb(), 200, {"Content-Encoding": "gzip"}),
    "token echo": lambda asked, good, other: Answer({"error": f"bad token {TOKEN}", "message": TOKEN}, 401),
    "not a number": lambda asked, good, other: Answer(b'{"status": "success", "data": NaN}'),
    "down": lambda asked, good, other: Answer({"error": "INTERNAL"}, 502),
}
"""Faults that stay: the pull ends with SourceDown or SourceRefused."""


def _place(asked: Asked) -> str:
    return asked.path + "?" + "&".join(f"{quote(k)}={quote(v)}" for k, v in asked.query)


@dataclass
class Outcome:
    """What a pull gave: records by key, and the error that ended it."""

    records: dict[Any, Any]
    error: Exception | None
    said: str
    requests: int


def pulled(case: Case, route: Route) -> Outcome:
    """One pull of a case against `route`."""
    pages: list[Page] = []
    error: Exception | None = None
    with serve(route) as server:
        try:
            for page in case.module.fetch(case.config(server.url), case.pull):
                pages.append(page)
        except (SourceDown, SourceRefused) as raised:
            error = raised
    return Outcome(_by_key(pages, server.url), error, repr(pages) + repr(error), len(server.asked))


def _by_key(pages: Sequence[Page], base: str) -> dict[Any, Any]:
    """Records by their key; the server of each pull has an address of its own, which links to it begin with."""
    found: dict[Any, Any] = {}
    for page in pages:
        for record in page.records:
            linked = isinstance(record, Event) and record.url.startswith(base)
            found[_key(record)] = replace(record, url=record.url.removeprefix(base)) if linked else record
    return found


def _key(record: Any) -> Any:
    if isinstance(record, Event):
        return (record.kind, record.key, record.attempt)
    at = getattr(record, "ts", 0)  # a baseline has a window instead
    return (type(record).__name__, record.series, at, getattr(record, "run", ""), getattr(record, "step", 0))


def broken(case: Case, fault: Fault, at: int, stays: bool, other: str) -> Route:
    """The case's server with a fault at its `at`-th request (from 0), once or from then on."""
    seen = [0]
    kept: list[Asked] = []

    def answer(asked: Asked) -> Answer:
        number = seen[0]
        seen[0] += 1
        good = case.answer(asked)
        if number == at:
            kept.append(asked)
        if number == at or (stays and number > at):
            return fault(asked, good, other)
        return good

    return answer


def cell(build: Callable[[], Case], name: str, fault: Fault, at: int, stays: bool | None) -> list[str]:
    """What is wrong with one cell; nothing is good. `stays` None: it may end either way, but never wrongly."""
    wrong: list[str] = []
    case = build()
    with virtual(PATIENT):
        good = pulled(build(), build().answer)
    with virtual(), serve(lambda asked: Answer({"status": "success"})) as other:
        got = pulled(case, broken(case, fault, at, bool(stays), other.url))
    with virtual(PATIENT):
        again = pulled(build(), build().answer)
    if case.measured is not None:
        return _misjudged(case, name, good, got, again, good.requests - at if stays else 1) + _leaked(got, other)
    for key, record in got.records.items():
        if good.records.get(key) != record:
            wrong.append(f"a wrong record {record!r}")
            break
    if stays is False and (got.error is not None or got.records != good.records):
        wrong.append(f"did not recover: {got.error!r}")
    if stays is True and got.error is None:
        wrong.append("ended as if nothing had happened")
    if stays is None and got.error is None and got.records != good.records:
        wrong.append("lost records silently")
    wrong += _leaked(got, other)
    if got.error is not None and ("\n" in str(got.error) or not str(got.error).endswith(".")):
        wrong.append(f"not one sentence: {got.error}")
    if again.records != good.records or again.error is not None:
        wrong.append("the next good pull does not repair it")
    return wrong


def _leaked(got: Outcome, other: Server) -> list[str]:
    """What went where it should not."""
    wrong = ["the token stands in what it says"] if TOKEN in got.said else []
    return wrong + (["another server was asked"] if other.asked else [])


def _misjudged(case: Case, name: str, good: Outcome, got: Outcome, again: Outcome, faulty: int) -> list[str]:
    """What is wrong where faults are results: only the faulty requests show one, and the next pull is good again."""
    assert case.measured is not None
    usual = dict(case.measured(good.records))
    [result] = usual
    expected = {one: n for one, n in ((result, usual[result] - faulty), (case.means[name], faulty)) if n}
    if case.means[name] == result:
        expected = usual
    told = dict(case.measured(got.records))
    wrong = [f"tells {told} instead of {expected}"] if told != expected or got.error is not None else []
    return wrong + (["the next pull is not good"] if dict(case.measured(again.records)) != usual else [])


def requests_of(build: Callable[[], Case]) -> int:
    """How many requests a good pull makes; raises when it does not end well or gives other than expected."""
    with virtual(PATIENT):
        good = pulled(build(), build().answer)
    assert good.error is None, good.error
    expected = build().expected
    assert expected is None or good.records == expected, "the case does not give what it expects"
    return good.requests


def cells(build: Callable[[], Case]) -> Iterator[tuple[str, int, Fault, bool | None]]:
    """Every (name, request, fault, stays) of a connector."""
    for at in range(requests_of(build)):
        for name, fault in ONCE.items():
            yield name, at, fault, False
        for name, fault in STAYS.items():
            yield name, at, fault, True
        for name, rewrite in build().paging.items():
            yield name, at, _rewriting(rewrite), None


def _rewriting(rewrite: Callable[[Asked, Answer], Answer]) -> Fault:
    return lambda asked, good, other: rewrite(asked, good)


def sampled(build: Callable[[], Case], count: int, seed: int = 7) -> list[tuple[str, int, Fault, bool | None]]:
    """`count` cells of a connector, with every fault at least once where `count` allows."""
    everything = list(cells(build))
    random.Random(seed).shuffle(everything)
    first: dict[str, tuple[str, int, Fault, bool | None]] = {}
    for one in everything:
        first.setdefault(one[0], one)
    rest = [one for one in everything if first[one[0]] is not one]
    return [*first.values(), *rest][:count]


def main(arguments: Sequence[str]) -> int:
    """Print every cell (--all) or a sample of them; 1 when one does not hold."""
    failed = 0
    for name, build in sorted(load_all().items()):
        begun = time.monotonic()
        chosen = list(cells(build)) if "--all" in arguments else sampled(build, 30)
        bad = 0
        for fault_name, at, fault, stays in chosen:
            wrong = cell(build, fault_name, fault, at, stays)
            print(f"{name:12} request {at:3} {fault_name:16} {'; '.join(wrong) or 'holds'}", flush=True)
            bad += bool(wrong)
        print(f"{name}: {len(chosen) - bad} of {len(chosen)} cells hold, {time.monotonic() - begun:.1f} s", flush=True)
        failed += bad
    return 1 if failed else 0


if __name__ == "__main__":
    from tests.faults import main as run  # the registry of the imported module, not of __main__

    sys.exit(run(sys.argv[1:]))
