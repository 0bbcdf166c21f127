"""Flaky tests and builds: passed and failed on the same commit, how often they flip, and the time they cost.

Flip rate: pass/fail transitions / (runs - 1). A test leaves the list after QUIET seconds without a flake, or after
PASSES passes in a row, whichever comes first (as Harness has it).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Literal

from tandem.records import DAY, Event

QUIET = 14 * DAY
PASSES = 5

Run = tuple[int, str, str]
"""(ts, key, commit) of one run of a suite; commit "" where it is not stated."""


@dataclass(frozen=True, slots=True)
class Flaky:
    """A test or a job of builds that passed and failed on the same commit; `last` is its newest flake.

    `flips` are changes between pass and fail in `runs` runs; `seconds` the time of the tries that failed in vain.
    `listed`: it has not left the list at the end of the window; `why` says by which rule it stays or left.
    """

    kind: Literal["test", "build"]
    name: str
    suite: str
    component: str
    source: str
    flakes: int
    failures: int
    runs: int
    flips: int
    seconds: float
    last: int
    listed: bool
    why: str

    @property
    def flip_rate(self) -> Fraction | None:
        """Transitions per step between two runs; None for fewer than two runs."""
        return Fraction(self.flips, self.runs - 1) if self.runs > 1 else None


def flips(passed: Sequence[bool]) -> int:
    """Changes between pass and fail in runs in their order."""
    return sum(one != other for one, other in pairwise(passed))


def flip_rate(passed: Sequence[bool]) -> Fraction | None:
    """Pass/fail transitions / (runs - 1); None for fewer than two runs."""
    return Fraction(flips(passed), len(passed) - 1) if len(passed) > 1 else None


def listed(last: int | None, after: Sequence[bool], until: int) -> tuple[bool, str]:
    """Whether what flaked last at `last`, and then passed or failed in `after`, is still on the list at `until`."""
    if last is None:
        return False, "it has not flaked"
    if until - last >= QUIET:
        return False, f"left: {QUIET // DAY} days without a flake"
    row = 0
    for good in after:
        row = row + 1 if good else 0
        if row >= PASSES:
            return False, f"left: {PASSES} passes in a row"
    return True, f"{row} of {PASSES} passes in a row since" if after else "no run since"


@dataclass
class _Seen:
    """What was said of one test, by the run that said it."""

    flaky: dict[str, Event]
    failed: dict[str, Event]


def tests(
    named: Sequence[tuple[str, Event]], runs: Mapping[tuple[str, str], Sequence[Run]], since: int, until: int
) -> list[Flaky]:
    """The tests that flaked in [since, until), the most time lost first.

    `named` are the (source, event) of tests that failed or were flaky, back to QUIET before the end; `runs` all runs
    of their suites by (source, suite), oldest first. A run that does not name a test passed it.
    """
    found: dict[tuple[str, str, str, str], _Seen] = {}
    for source, event in named:
        labels = dict(event.labels)
        for component in event.components:
            key = (component, source, labels.get("suite", ""), labels["test"])
            seen = found.setdefault(key, _Seen({}, {}))
            (seen.flaky if labels.get("result") == "flaky" else seen.failed)[labels.get("of", event.key)] = event
    told = [_test(key, seen, runs.get((key[1], key[2]), ()), since, until) for key, seen in found.items()]
    return sorted((one for one in told if one), key=lambda one: (-one.seconds, -one.flakes, one.component, one.name))


def _test(
    key: tuple[str, str, str, str], seen: _Seen, runs: Sequence[Run], since: int, until: int
) -> Flaky | None:  # fmt: skip
    component, source, suite, name = key
    ordered = sorted(run for run in runs if run[0] < until)
    both = _both({commit for _, run, commit in ordered if run in seen.failed}, ordered, seen)
    flakes = [run for run in ordered if run[1] in seen.flaky or (run[1] in seen.failed and run[2] in both)]
    inside = [run for run in flakes if run[0] >= since]
    if not inside:
        return None
    last = max(run[0] for run in flakes)
    after = [run[1] not in seen.failed for run in ordered if run[0] > last]
    stays, why = listed(last, after, until)
    window = [run for run in ordered if run[0] >= since]
    passed = [outcome for run in window for outcome in _outcomes(run[1], seen)]
    lost = sum(_seconds((seen.flaky.get(run[1]) or seen.failed[run[1]]).labels) for run in inside)
    return Flaky("test", name, suite, component, source, len(inside), sum(run[1] in seen.failed for run in window),
                 len(passed), flips(passed), lost, last, stays, why)  # fmt: skip


def _both(failed_on: set[str], runs: Iterable[Run], seen: _Seen) -> set[str]:
    """The commits on which the test failed in one run and passed in another."""
    passed_on = {commit for _, run, commit in runs if run not in seen.failed}
    return (failed_on & passed_on) - {""}


def _outcomes(run: str, seen: _Seen) -> tuple[bool, ...]:
    """What a run adds to the sequence: a flaky test failed and then passed."""
    if run in seen.flaky:
        return False, True
    return (run not in seen.failed,)


def _seconds(labels: Iterable[tuple[str, str]]) -> float:
    try:
        return max(0.0, float(dict(labels).get("lost", "0")))
    except ValueError:
        return 0.0


def builds(
    mixed: Sequence[tuple[str, Event]], jobs: Mapping[tuple[str, str, str], tuple[int, int]], since: int, until: int
) -> list[Flaky]:
    """The jobs that were red and then green on the same commit in [since, until), the most time lost first.

    `mixed` are the (source, build) of commits and jobs with both outcomes; `jobs` (runs, flips) in the window of each
    (source, component, job). The time lost is that of the attempts that failed before the first that passed.
    """
    attempts: dict[tuple[str, str, str, str], list[Event]] = {}
    for source, event in mixed:
        for component in event.components:
            job = job_of(event)
            attempts.setdefault((component, source, job, event.commit or event.key), []).append(event)
    found: dict[tuple[str, str, str], list[tuple[int, float, int]]] = {}
    for (component, source, job, _), some in attempts.items():
        one = _red_then_green(some)
        if one is not None and one[0] < until:
            found.setdefault((component, source, job), []).append(one)
    told = [_job(key, some, jobs, since, until) for key, some in found.items()]
    return sorted((one for one in told if one), key=lambda one: (-one.seconds, -one.flakes, one.component, one.name))


def job_of(event: Event) -> str:
    """The job that a build is a run of."""
    labels = dict(event.labels)
    return labels.get("job") or labels.get("workflow") or event.key


def _red_then_green(some: Sequence[Event]) -> tuple[int, float, int] | None:
    """(when it turned green, seconds of the red attempts before, how many); None where the first was not red."""
    ordered = sorted(some, key=lambda event: (event.ts, event.key, event.attempt))
    reds = 0
    for event in ordered:
        if event.outcome == "good":
            break
        reds += 1
    if not 0 < reds < len(ordered):
        return None
    green = ordered[reds]
    lost = sum(event.ended - (event.started or event.ts) for event in ordered[:reds] if event.ended is not None)
    return (green.ended or green.started or green.ts), float(lost), reds


def _job(
    key: tuple[str, str, str], some: Sequence[tuple[int, float, int]],
    jobs: Mapping[tuple[str, str, str], tuple[int, int]], since: int, until: int,
) -> Flaky | None:  # fmt: skip
    component, source, job = key
    inside = [one for one in some if one[0] >= since]
    if not inside:
        return None
    last = max(one[0] for one in some)
    runs, changed = jobs.get((source, component, job), (0, 0))
    stays = until - last < QUIET
    why = f"{(until - last) // DAY} of {QUIET // DAY} quiet days" if stays else f"left: {QUIET // DAY} quiet days"
    return Flaky("build", job, "", component, source, len(inside), sum(one[2] for one in inside), runs, changed,
                 sum(one[1] for one in inside), last, stays, why)  # fmt: skip
