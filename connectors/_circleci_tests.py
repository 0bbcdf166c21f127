"""CircleCI's test metadata: which tests of a job passed, and which passed only when they were run again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from connectors._circleci import Job, Jobs, Pipeline, Run, Words, build_key, place, where
from connectors._fields import Raw, seconds_of, text_of
from connectors._tested import NAMED_TESTS, Case, Suite, run_events, shown
from tandem.records import Event, Fact, Labels, Page, Ratio, Series, Slice, bucket_of

Result = Literal["passed", "failed", "flaky", "skipped"]
Test = tuple[str, str, str]
"""(file, class, name)."""


@dataclass
class Tested:
    """The tests of one run of a job: what each came to, and the seconds of its tries that failed."""

    results: dict[Test, Result] = field(default_factory=dict)
    lost: dict[Test, float] = field(default_factory=dict)

    def count(self, result: Result) -> int:
        """How many tests came to that."""
        return sum(one == result for one in self.results.values())

    def suite(self, name: str, words: Words) -> Suite:
        """The same as a suite that names what failed and what was flaky."""
        named = [(test, result) for test, result in self.results.items() if result in ("flaky", "failed")]
        named.sort(key=lambda pair: pair[1] != "flaky")
        if len(named) > NAMED_TESTS:
            words.remark(f"{NAMED_TESTS} tests that failed are named, the others of their job are counted")
        cases = tuple(
            Case(shown(*test[1:]), self.lost.get(test, 0.0), "flaky" if result == "flaky" else "failed")
            for test, result in named
        )
        good, flaky = self.count("passed"), self.count("flaky")
        return Suite(name, good + flaky, self.count("failed"), self.count("skipped"), cases, flaky)


def tested_of(rows: Sequence[Raw], passed: bool, words: Words) -> Tested:
    """The tests of a job; one that both failed and passed in a job that passed was tried again."""
    tries: dict[Test, list[str]] = {}
    told = Tested()
    for raw in rows:
        test = (text_of(raw, "file"), text_of(raw, "classname"), text_of(raw, "name"))
        outcome = words.outcome(text_of(raw, "result"))
        tries.setdefault(test, []).append(outcome)
        if outcome == "bad":
            told.lost[test] = told.lost.get(test, 0.0) + (seconds_of(raw, "run_time") or 0.0)
    for test, outcomes in tries.items():
        if "bad" in outcomes:
            told.results[test] = "flaky" if passed and "good" in outcomes else "failed"
        else:
            told.results[test] = "passed" if "good" in outcomes else "skipped"
    return told


def with_tests(runs: Sequence[Run], jobs: Jobs, words: Words) -> dict[int, Job]:
    """The jobs whose tests count, by number: those that ended in workflows that passed or failed."""
    return {
        job.number: job
        for run in runs
        if words.stands(run) in ("good", "bad")
        for job in jobs.get(run.id, ())
        if job.number is not None and not job.approval and job.stopped is not None
    }


def pieces(
    pipeline: Pipeline, runs: Sequence[Run], jobs: Jobs, tests: Mapping[int, Tested], words: Words
) -> tuple[list[Event], Page | None]:
    """The runs of tests in all attempts of one workflow, and how each of its tests ended."""
    decided = [run for run in runs if words.stands(run) in ("good", "bad") and run.id in jobs]
    if not decided:
        return [], None
    events: list[Event] = []
    seen: set[int] = set()
    for run in decided:
        for job in jobs[run.id]:
            if job.number is not None and job.number in tests and job.number not in seen:
                seen.add(job.number)
                events += _runs(pipeline, run, job, tests[job.number], words)
    ends = [_by_job(jobs[run.id], tests) for run in decided]
    return events, _piece(build_key(runs[0]), runs[0].created, place(pipeline, runs[0]), ends)


def _by_job(jobs: Sequence[Job], tests: Mapping[int, Tested]) -> dict[str, Tested]:
    return {job.name: tests[job.number] for job in jobs if job.number is not None and job.number in tests}


def _runs(pipeline: Pipeline, run: Run, job: Job, tested: Tested, words: Words) -> Iterator[Event]:
    if not tested.results:
        return
    base = Event(
        "test_run",
        f"{pipeline.project}#{job.number}",
        job.started if job.started is not None else run.created,
        commit=pipeline.commit,
        url=f"{page}/jobs/{job.number}/tests" if (page := words.page(pipeline, run)) else "",
        revision=job.stopped or 0,
    )
    told = {name: text for name, text in where(pipeline, run).items() if name in ("project", "workflow", "branch")}
    yield from run_events(tested.suite(job.name, words), base, told)


def _piece(key: str, ts: int, labels: Labels, ends: Sequence[Mapping[str, Tested]]) -> Page:
    """The newest result of every test of a workflow, and of how many on the same commit both were seen, as one piece.

    A re-run may run only the tests that had failed: what it does not tell stands as it was.
    """
    last: dict[tuple[str, Test], Result] = {}
    seen: dict[Result, set[tuple[str, Test]]] = {"passed": set(), "failed": set(), "flaky": set(), "skipped": set()}
    for end in ends:
        for job, tested in end.items():
            for test, result in tested.results.items():
                seen[result].add((job, test))
                if result != "skipped" or (job, test) not in last:
                    last[job, test] = result
    ran = [result for result in last.values() if result != "skipped"]
    good = sum(result != "failed" for result in ran)
    both = len(seen["flaky"] | (seen["passed"] & seen["failed"]))
    return counted(f"circleci:tests:{key}", ts, labels, Ratio(good, len(ran)), Ratio(len(ran) - both, len(ran)))


def counted(name: str, ts: int, labels: Labels, passed: Ratio, steady: Ratio) -> Page:
    """The two ratios of some tests as a piece under its name: a corrected count takes its place."""
    facts = [
        Fact(Series("test_success", labels), bucket_of(ts), passed),
        Fact(Series("flaky", labels), bucket_of(ts), steady),
    ]
    told = repr((passed, steady, ts, labels)).encode("utf-8", "replace")
    return Page(facts if passed.total else [], slice=Slice(name, hashlib.sha256(told).hexdigest()[:16]))
