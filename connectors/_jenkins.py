"""What Jenkins says of builds and their tests, as events: the same functions for replies and files."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any
from urllib.parse import unquote, urlsplit

from connectors._fields import Raw, Unusable, text_of
from connectors._said import Said
from tandem.records import Event, Fact, Outcome, Page, Ratio, Series, Slice, bucket_of, labels_of

STATUS: Mapping[str, Outcome] = {
    "SUCCESS": "good",
    "UNSTABLE": "good",
    "FAILURE": "bad",
    "ABORTED": "excluded",
    "NOT_BUILT": "excluded",
    "RUNNING": "open",
}
FOREVER = 1 << 40
NAMED_TESTS = 20
"""How many tests of a build that failed get an event of their own."""
_LONGEST = 200
_FAILED = frozenset({"FAILED", "REGRESSION"})
_STAGE_FAILED = frozenset({"FAILED", "FAILURE", "UNSTABLE", "ABORTED"})
_BRANCH = re.compile(r"^(?:refs/(?:heads|remotes|tags)/)?(?:origin/)?")
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Job:
    """A job by its full name; `branch` where it is one of a multibranch project's."""

    name: str
    branch: str = ""

    @property
    def project(self) -> str:
        """What its builds are builds of: the multibranch project, or the job itself."""
        return self.name.rpartition("/")[0] if self.branch else self.name


@dataclass(frozen=True, slots=True)
class Tests:
    """How many tests of a build passed and failed, skipped ones apart; `failed` names them with their seconds."""

    good: int
    bad: int
    skipped: int
    failed: tuple[tuple[str, float], ...] = ()


@dataclass
class Builds(Said):
    """The builds of one reply, file or folder, with what was left out or is worth knowing.

    `config` is the connector's. `until`: a build that ends at or after it still runs (epoch seconds).
    """

    meanings = STATUS
    called = "result"
    until: int = FOREVER
    events: dict[str, Event] = field(default_factory=dict)
    tests: dict[str, Tests] = field(default_factory=dict)

    def build(self, job: Job, raw: Raw) -> Event | None:
        """A build as the API tells it; None where it had not begun before `until`."""
        left, number, building = _millis(raw, "timestamp"), number_of(raw), raw.get("building") is True
        actions = [one for one in raw.get("actions") or () if isinstance(one, dict)]
        waited = next((w for one in actions if (w := _span(one.get("queuingDurationMillis"))) is not None), None)
        result = raw.get("result")
        # A result may be set while post-build steps still run.
        done = not building and isinstance(result, str)
        lasted = _span(raw.get("duration")) if done else None
        commit, branch = _revision(actions)
        causes = [one for action in actions for one in action.get("causes") or () if isinstance(one, dict)]
        tests = next((found for one in actions if (found := _counts(one))), None)
        return self.add(
            job,
            number,
            left=left,
            waited=waited,
            lasted=lasted,
            status=str(result) if done else "RUNNING",
            commit=commit,
            branch=branch,
            trigger=next((text_of(one, "shortDescription") for one in causes), "")[:_LONGEST],
            actor=next((name for one in causes if (name := text_of(one, "userId"))), ""),
            title=f"{job.name} {text_of(raw, 'displayName') or f'#{number}'}",
            url=text_of(raw, "url"),
            tests=tests,
        )

    def add(
        self,
        job: Job,
        number: int,
        *,
        left: int,
        waited: int | None,
        lasted: int | None,
        status: str,
        commit: str = "",
        branch: str = "",
        trigger: str = "",
        actor: str = "",
        title: str = "",
        url: str = "",
        tests: Tests | None = None,
    ) -> Event | None:
        """A build that left the queue at `left` after waiting `waited` and ran `lasted`; times in milliseconds."""
        begun = left // 1000
        if begun >= self.until:
            return None
        ended = (left + lasted) // 1000 if lasted is not None else None
        if status != "RUNNING" and (ended or begun) >= self.until:
            status, ended, tests = "RUNNING", None, None
        outcome = self.outcome(status)
        event = Event(
            "build",
            f"{job.name}#{number}@{begun}",
            (left - (waited or 0)) // 1000,
            started=begun if waited is not None else None,
            ended=ended if outcome != "open" else None,
            outcome=outcome,
            commit=commit,
            trigger=trigger,
            actor=actor,
            title=title or f"{job.name} #{number}",
            url=url,
            labels=labels_of(
                {
                    "job": job.project,
                    "branch": job.branch or branch,
                    "result": None if status == "RUNNING" else status,
                }
            ),
            # A build has no time of its last change: what is over outranks what runs.
            revision=2 * (ended or begun) + (outcome != "open"),
        )
        self.events[event.key] = event
        if tests and outcome != "open":
            self.tests[event.key] = tests
        return event

    def stages(self, key: str, raw: Raw) -> None:
        """The stages of a pipeline's build, and the first that did not succeed."""
        told = [one for one in raw.get("stages") or () if isinstance(one, dict)]
        failed = next((text_of(one, "name") for one in told if text_of(one, "status") in _STAGE_FAILED), "")
        labels = {
            **dict(self.events[key].labels),
            "stages": ", ".join(text_of(one, "name") for one in told)[:_LONGEST],
            "failed_stage": failed[:_LONGEST],
        }
        self.events[key] = replace(self.events[key], labels=labels_of(labels))

    def pages(self) -> Iterator[Page]:
        """The builds and their test runs; the tests of each build as a piece of their own."""
        runs: list[Event] = []
        pieces: list[Page] = []
        for key, tests in self.tests.items():
            event = self.events[key]
            if tests.good + tests.bad + tests.skipped:
                runs += _runs(event, tests)
                pieces.append(_piece(event, tests))
        events = sorted(self.events.values(), key=lambda event: (event.ts, event.key))
        yield Page([*events, *runs])
        yield from pieces


def chosen(config: Any, job: Job) -> bool:
    """Whether a job is one of those that are configured."""
    return not config.jobs or any(fnmatchcase(unquote(job.name), glob) for glob in config.jobs)


def job_of(url: str) -> Job | None:
    """The job that the address of a build belongs to; None where it is none."""
    parts = [unquote(part) for part in urlsplit(url).path.split("/")]
    names = [name for word, name in pairwise(parts) if word == "job"]
    return _named("/".join(names)) if names else None


def _named(name: str) -> Job:
    """A job of a saved answer: a name with an escaped slash can only be a branch's."""
    last = name.rpartition("/")[2]
    return Job(name, unquote(last) if "%" in last else "")


def report_of(raw: Raw) -> Tests:
    """A test report: its counts and the tests that failed; raises Unusable where it is none."""
    suites = raw.get("suites")
    if not isinstance(suites, list):
        raise Unusable("a test report has no suites")
    cases = [one for suite in suites if isinstance(suite, dict) for one in suite.get("cases") or ()]
    return cases_of(
        (f"{text_of(one, 'className')}.{text_of(one, 'name')}".strip("."), text_of(one, "status"), one.get("duration"))
        for one in cases
        if isinstance(one, dict)
    )


def cases_of(cases: Iterable[tuple[str, str, Any]]) -> Tests:
    """Counts of (name, status, seconds) of tests."""
    told: Counter[str] = Counter()
    failed = []
    for name, status, seconds in cases:
        told["bad" if status in _FAILED else "skipped" if status == "SKIPPED" else "good"] += 1
        if status in _FAILED:
            known = isinstance(seconds, int | float) and not isinstance(seconds, bool) and 0 <= seconds < 1e9
            failed.append((name[:_LONGEST], float(seconds) if known else 0.0))
    return Tests(told["good"], told["bad"], told["skipped"], tuple(failed))


def _counts(action: Raw) -> Tests | None:
    total, bad, skipped = (action.get(name) for name in ("totalCount", "failCount", "skipCount"))
    if not all(isinstance(one, int) and not isinstance(one, bool) and one >= 0 for one in (total, bad, skipped)):
        return None
    assert isinstance(total, int)
    assert isinstance(bad, int)
    assert isinstance(skipped, int)
    return Tests(total - bad - skipped, bad, skipped) if total >= bad + skipped else None


def _piece(event: Event, tests: Tests) -> Page:
    """The tests of one build as a piece under its name: a corrected count takes its place."""
    ratio = Ratio(tests.good, tests.good + tests.bad)
    labels = labels_of({name: text for name, text in event.labels if name in ("job", "branch")})
    facts = [Fact(Series("test_success", labels), bucket_of(event.ts), ratio)] if ratio.total else []
    digest = hashlib.sha256(repr((ratio, event.ts, labels)).encode("utf-8", "replace")).hexdigest()[:16]
    return Page(facts, slice=Slice(f"jenkins:tests:{event.key}", digest))


def _runs(event: Event, tests: Tests) -> Iterator[Event]:
    """The run of a job's tests in a build, and those that failed in it."""
    where = {name: text for name, text in event.labels if name in ("job", "branch")}
    where["suite"] = where.get("job", "")
    ran, key = tests.good + tests.bad, f"{event.key}:tests"
    outcome: Outcome = "bad" if tests.bad else "good" if ran else "excluded"
    said = f"{tests.bad} of {ran} tests failed" if tests.bad else f"{ran} tests passed"
    told = {**where, "tests": ran, "failed": tests.bad, "skipped": tests.skipped}
    base = replace(event, kind="test_run", started=None, ended=None, trigger="", actor="")
    yield replace(base, key=key, outcome=outcome, title=f"{event.title}: {said}", labels=labels_of(told))
    for name, seconds in tests.failed[:NAMED_TESTS]:
        short = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()[:12]
        labels = labels_of({**where, "test": name, "result": "failed", "of": key, "lost": f"{seconds:.3f}"})
        yield replace(base, key=f"{key}:{short}", outcome="bad", title=f"{name} failed", labels=labels)


def _revision(actions: Iterable[Raw]) -> tuple[str, str]:
    """(commit, branch) that the build was of: the first repository; libraries come after it."""
    for action in actions:
        built = action.get("lastBuiltRevision")
        if isinstance(built, dict) and _SHA.fullmatch(text_of(built, "SHA1")):
            branches = [one for one in built.get("branch") or () if isinstance(one, dict)]
            name = next((text_of(one, "name") for one in branches), "")
            return text_of(built, "SHA1"), "" if name == "detached" else _BRANCH.sub("", name)
    return "", ""


def number_of(raw: Raw) -> int:
    """The number of a build; raises Unusable without one."""
    found = raw.get("number")
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise Unusable("a build has no number")
    return found


def _millis(raw: Raw, name: str) -> int:
    """Milliseconds since the epoch; the year 1970 stands for "absent"."""
    found = raw.get(name)
    if isinstance(found, bool) or not isinstance(found, int) or not 366 * 86_400_000 <= found < FOREVER * 1000:
        raise Unusable(f"a build has no {name}")
    return found


def _span(value: Any) -> int | None:
    """A duration in milliseconds; None where it is none."""
    known = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40
    return int(value) if known else None
