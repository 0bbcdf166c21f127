"""Runs of tests as events: one for each run of a suite, and one for each test that failed or was flaky in it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from tandem.records import Event, Outcome, labels_of

NAMED_TESTS = 20
"""How many tests of a suite that failed or were flaky get an event of their own."""
NAME_LENGTH = 200


@dataclass(frozen=True, slots=True)
class Case:
    """A test that failed, or that failed and then passed; `lasted` in seconds, of the tries that failed."""

    name: str
    lasted: float
    result: Literal["failed", "flaky"] = "failed"


@dataclass(frozen=True, slots=True)
class Suite:
    """The tests of one suite: usually one job. `flaky` is None where the source does not tell."""

    name: str
    good: int
    bad: int
    skipped: int
    cases: tuple[Case, ...] = ()
    flaky: int | None = None

    @property
    def ran(self) -> int:
        """How many passed or failed."""
        return self.good + self.bad


def shown(*parts: str) -> str:
    """The name of a test from that of its class and its own."""
    return ".".join(part for part in parts if part)[:NAME_LENGTH]


def run_events(suite: Suite, base: Event, where: Mapping[str, object]) -> Iterator[Event]:
    """The run of a suite under the key of `base`, and after it the tests of it that are named."""
    outcome: Outcome = "bad" if suite.bad else "good" if suite.ran else "excluded"
    said = f"{suite.bad} of {suite.ran} tests failed" if suite.bad else f"{suite.ran} tests passed"
    counts = {"tests": suite.ran, "failed": suite.bad, "flaky": suite.flaky, "skipped": suite.skipped}
    labels = labels_of({**where, "suite": suite.name, **counts})
    yield replace(base, outcome=outcome, title=f"{suite.name}: {said}", labels=labels)
    for case in suite.cases[:NAMED_TESTS]:
        name = hashlib.sha256(case.name.encode("utf-8", "replace")).hexdigest()[:12]
        told = {"test": case.name, "result": case.result, "of": base.key, "lost": f"{case.lasted:.3f}"}
        failed = case.result == "failed"
        yield replace(
            base,
            key=f"{base.key}:{name}",
            outcome="bad" if failed else "good",
            title=f"{case.name} {'failed' if failed else 'failed, then passed'}",
            labels=labels_of({**where, "suite": suite.name, **told}),
        )
