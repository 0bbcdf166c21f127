"""GitLab's test reports of a pipeline: how many tests passed in the end, and which did not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from connectors._gitlab_objects import Raw, Unusable, object_of, text_of
from connectors._tested import Case, Suite, run_events, shown
from tandem.records import Event, Fact, Labels, Page, Ratio, Series, Slice, bucket_of


@dataclass(frozen=True, slots=True)
class Report:
    """What a pipeline's tests came to."""

    suites: tuple[Suite, ...]

    @property
    def ratio(self) -> Ratio:
        """Passed out of passed, failed and broken; skipped ones are left out."""
        good = sum(suite.good for suite in self.suites)
        return Ratio(good, good + sum(suite.bad for suite in self.suites))


def report_of(raw: Raw) -> Report:
    """A test report or its summary; raises Unusable for anything else."""
    suites = raw.get("test_suites")
    if not isinstance(suites, list):
        raise Unusable("a test report has no test_suites")
    return Report(tuple(_suite(object_of(one)) for one in suites))


def _suite(raw: Raw) -> Suite:
    cases = [object_of(one) for one in raw.get("test_cases") or ()]
    failed = tuple(
        Case(shown(text_of(one, "classname"), text_of(one, "name")), _seconds(one.get("execution_time")))
        for one in cases
        if text_of(one, "status") in ("failed", "error")
    )
    bad = _count(raw, "failed_count") + _count(raw, "error_count")
    return Suite(text_of(raw, "name"), _count(raw, "success_count"), bad, _count(raw, "skipped_count"), failed)


def _seconds(value: Any) -> float:
    known = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if known else 0.0


def _count(raw: Raw, name: str) -> int:
    found = raw.get(name, 0)
    if isinstance(found, bool) or not isinstance(found, int) or not 0 <= found < 1 << 31:
        raise Unusable(f"a test report's {name} is no count")
    return found


def piece(report: Report, name: str, ts: int, labels: Labels) -> Page:
    """The tests of one pipeline as a piece under its name: a corrected report takes its place."""
    ratio = report.ratio
    digest = hashlib.sha256(repr((ratio.good, ratio.total, ts, labels)).encode("utf-8", "replace")).hexdigest()[:16]
    fact = Fact(Series("test_success", labels), bucket_of(ts), ratio)
    return Page([fact] if ratio.total else [], slice=Slice(f"gitlab:tests:{name}", digest))


def runs(report: Report, build: Event) -> Iterator[Event]:
    """A run of each suite in an attempt of a pipeline, and the tests that failed in it."""
    where = {name: text for name, text in build.labels if name in ("project", "ref")}
    for suite in report.suites:
        base = Event(
            "test_run",
            f"{build.key}/{build.attempt}:{suite.name}",
            build.started if build.started is not None else build.ts,
            commit=build.commit,
            url=f"{build.url}/test_report" if build.url else "",
            revision=build.revision,
        )
        yield from run_events(suite, base, where)
