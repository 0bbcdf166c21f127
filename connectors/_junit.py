"""The suites of a JUnit report, in the dialects of its writers: what each distinct test came to in the end.

pytest-rerunfailures writes every failed try as if it had passed and leaves it out of `tests`; Surefire puts the tries
into one case; gotestsum and Gradle's retries write a case per try; Node writes two tests of one name as two cases.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import PurePath
from typing import Literal
from xml.etree.ElementTree import Element

import numpy as np

from connectors._files import xml
from tandem import times
from tandem.bins import DURATION, codes, quanta
from tandem.connect import Item, SourceRefused
from tandem.records import Event, Fact, Finding, Histogram, Labels, Outcome, Ratio, Series, bucket_of, labels_of

FAILING_NAMES = 5
"""How many names of failing tests or checks an event carries."""
NAMED_TESTS = 20
"""How many tests of a suite that failed or were flaky get an event of their own."""
_NAME_LENGTH = 200
_COMMITS = {
    "commit", "commit_sha", "git.commit", "git.commit.id", "git_commit", "git_sha", "ci_commit_sha", "github_sha",
    "revision", "vcs.revision", "build.vcs.number", "sha",
}  # fmt: skip
"""Names of properties that hold the commit a suite ran on, in small letters."""
_SHA = re.compile(r"[0-9a-f]{7,64}")
_PLAIN = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d+)?")
_SUITES = ("testsuite", "testsuites")

Result = Literal["passed", "failed", "flaky", "skipped"]
Test = tuple[str, str]
"""(class name, name)."""


@dataclass
class Suite:
    """One element that holds test cases itself."""

    name: str
    timestamp: str
    whole: bool
    """Whether it is <testsuites>, the whole file."""
    commit: str = ""
    stated: int | None = None
    """How many tests it says it has."""
    cases: int = 0
    tries: dict[Test, list[Result]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    took: dict[Test, list[float]] = field(default_factory=dict)
    """Seconds of each try of a test, 0 where unknown."""

    @property
    def hides(self) -> bool:
        """Whether more cases are written than tests stated: the failed tries look as if they had passed."""
        return self.stated is not None and self.stated < self.cases

    def results(self) -> dict[Test, Result]:
        """What became of each distinct test in the end."""
        return {test: _in_the_end(tries, hidden=self.hides) for test, tries in self.tries.items()}


@dataclass
class Report:
    """One file while it is read."""

    item: Item
    zone: str | None
    meaning: Callable[[str], Outcome | None]
    """What a status means; None for an unknown one."""
    said: Counter[tuple[Literal["reject", "remark"], str]] = field(default_factory=Counter)
    settings: str = ""
    """What else than the bytes decided a time: the time given with the import, or the zone."""

    def outcome(self, word: str) -> Outcome:
        """What a status means; an unknown one is excluded and counted."""
        known = self.meaning(word)
        if known is None:
            reason = f'the status "{word[:60]}" is unknown; what has it is excluded, or name it in [source.status]'
            self.said["remark", reason] += 1
        return known or "excluded"

    def time(self, text: str) -> int | None:
        """The epoch seconds of a time as written; None for one that cannot be used; SourceRefused without a zone."""
        text = text.strip()
        when = _clock(text)
        if text and when is None:
            self.said["reject", f'the timestamp "{text[:40]}" is no ISO 8601 time'] += 1
            return None
        if when is None or when.year <= 1970:
            return self._without_time()
        if when.tzinfo is not None:
            return math.floor(when.timestamp())
        if self.zone is None:
            raise SourceRefused(
                f'{self.item.name} holds times without offset ("{text[:40]}"); set timezone for the source, '
                "or import it with --timezone."
            )
        return self._local(when, self.zone)

    def _local(self, when: datetime, zone: str) -> int | None:
        self.settings = self.settings.partition(":")[0] + f":{zone}"
        try:
            ts = times.local(when, zone)
            if times.repeats(when, zone):
                self.said["remark", "an hour that came twice is taken for the earlier one"] += 1
            return ts
        except ValueError as error:
            self.said["reject", str(error).rstrip(".")] += 1
            return None

    def _without_time(self) -> int:
        if self.item.given.at is not None:
            self.settings = f"@{self.item.given.at}" + "".join(self.settings.partition(":")[1:])
            return self.item.given.at
        self.said["remark", "no timestamp; the time of the file's last change is taken"] += 1
        return self.item.modified

    def seconds(self, text: str | None) -> float | None:
        """The duration of one try; None where it is absent or cannot be used."""
        if text is None or not text.strip():
            return None
        plain = text.strip()
        if _GROUPED.fullmatch(plain):
            plain = plain.replace(",", "")
        value = float(plain) if _PLAIN.fullmatch(plain) else math.nan
        if not 0 <= value < math.inf:
            self.said["reject", "a test's time is negative or no number; the test counts without it"] += 1
            return None
        return value

    def findings(self) -> tuple[Finding, ...]:
        """What could not be counted, and what is worth knowing."""
        return tuple(Finding(kind, reason, self.item.name, n) for (kind, reason), n in sorted(self.said.items()))


def commit_of(name: str, stated: str) -> str:
    """The commit that a property states; "" for any other property."""
    stated = stated.strip().lower()
    return stated if name.strip().lower() in _COMMITS and _SHA.fullmatch(stated) else ""


def records(report: Report, digest: str) -> list[Fact | Event]:
    """The facts and events of a report; raises SourceRefused where it holds no test."""
    found: list[Fact | Event] = []
    names: Counter[str] = Counter()
    suites = _suites(report)
    if not suites:
        raise SourceRefused(f"{report.item.name} holds no test case; check that it is a JUnit report.")
    for suite in suites:
        ts = report.time(suite.timestamp)
        if ts is None:
            continue
        names[suite.name] += 1
        again = f"#{names[suite.name]}" if names[suite.name] > 1 else ""
        found += _facts(suite, ts, report.item)
        key = f"{digest[:16]}:{suite.name}{again}"
        found.append(_event(suite, ts, report.item, key))
        found += _tests(suite, ts, key, report)
    return found


# -- reading


def _suites(report: Report) -> list[Suite]:
    """Every element with test cases of its own, with the names around it and the nearest timestamp."""
    found: list[Suite] = []
    around: list[Suite] = []
    parents: list[Element] = []
    for event, element in xml(report.item):
        tag = element.tag.rpartition("}")[2]
        if event == "start":
            if not parents and tag not in _SUITES:
                raise SourceRefused(f"{report.item.name} begins with <{tag[:40]}>; a JUnit report has <testsuite>.")
            if tag in _SUITES:
                around.append(_entered(element, around[-1] if around else None, whole=tag == "testsuites"))
                found.append(around[-1])
            parents.append(element)
            continue
        parents.pop()
        if tag == "testcase" and around:
            _case(element, around[-1], report)
        elif tag == "property" and around and _in_properties(parents):
            stated = element.get("value") or element.text or ""
            around[-1].commit = commit_of(element.get("name", ""), stated) or around[-1].commit
        elif tag in _SUITES:
            around.pop()
        if parents and parents[-1].tag.rpartition("}")[2] in _SUITES:
            # What was read is let go, so that memory does not grow with the file.
            parents[-1].clear()
    return [suite for suite in found if suite.tries]


def _entered(element: Element, outer: Suite | None, *, whole: bool) -> Suite:
    # The name of <testsuites> is the folder or the command: it names only the cases that lie directly in it.
    prefix = outer.name if outer and not outer.whole else ""
    name = "/".join(part for part in (prefix, element.get("name", "")) if part)
    commit = outer.commit if outer else ""
    stated = element.get("tests", "")
    return Suite(name, element.get("timestamp") or (outer.timestamp if outer else ""), whole, commit,
                 int(stated) if stated.isascii() and stated.isdigit() and len(stated) < 10 else None)  # fmt: skip


def _in_properties(parents: Sequence[Element]) -> bool:
    """Whether a property is the suite's own, not that of one of its tests."""
    tags = [parent.tag.rpartition("}")[2] for parent in parents[-2:]]
    return len(tags) == 2 and tags[1] == "properties" and tags[0] in _SUITES


def _case(element: Element, suite: Suite, report: Report) -> None:
    children = {child.tag.rpartition("}")[2] for child in element}
    result = _result(children, element.get("status", ""), report)
    test = _named(element, suite)
    suite.cases += 1
    suite.tries.setdefault(test, []).append(result)
    seconds = report.seconds(element.get("time"))
    suite.took.setdefault(test, []).append(seconds or 0.0)
    if seconds is not None and result != "skipped":
        suite.seconds.append(seconds)


def _named(element: Element, suite: Suite) -> Test:
    """The test of a case. Node knows no reruns, so that a name that comes again there is another test."""
    test = (element.get("classname", ""), element.get("name", ""))
    if test[0] != "test" or suite.timestamp or test not in suite.tries:
        return test
    again = 2
    while (named := (test[0], f"{test[1]} #{again}")) in suite.tries:
        again += 1
    return named


def _result(children: set[str], status: str, report: Report) -> Result:
    """One test case; a rerun that failed is written beside the failure, or alone where the last try failed too."""
    word = _word(children, status)
    outcome = report.outcome(word)
    if outcome == "good":
        return "flaky" if children & {"flakyFailure", "flakyError"} else "passed"
    return "failed" if outcome == "bad" else "skipped"


def _word(children: set[str], status: str) -> str:
    if children & {"failure", "rerunFailure"}:
        return "failure"
    if children & {"error", "rerunError"}:
        return "error"
    if "skipped" in children or status in ("notrun", "disabled", "skipped"):
        return "skipped"
    return "passed"


def _in_the_end(tries: Sequence[Result], *, hidden: bool) -> Result:
    """The outcome of all tries of one test: the last one, flaky where it failed before.

    `hidden`: a failed try looks as if it had passed, so that every try before the last one failed.
    """
    ran = [result for result in tries if result != "skipped"]
    if not ran:
        return "skipped"
    before = ran[:-1]
    if ran[-1] == "passed" and before and (hidden or set(before) & {"failed", "flaky"}):
        return "flaky"
    return ran[-1]


# -- as records


def _facts(suite: Suite, ts: int, item: Item) -> list[Fact]:
    labels = _labels(suite, item)
    counts = Counter(suite.results().values())
    ran = counts.total() - counts["skipped"]
    found: list[Fact] = []
    if ran:
        passed = Ratio(ran - counts["failed"], ran)
        steady = Ratio(ran - counts["flaky"], ran)
        found.append(Fact(Series("test_success", labels), bucket_of(ts), passed))
        found.append(Fact(Series("flaky", labels), bucket_of(ts), steady))
    if suite.seconds:
        found.append(Fact(Series("test_duration", labels), bucket_of(ts), _histogram(suite.seconds)))
    return found


def _histogram(seconds: Sequence[float]) -> Histogram:
    values = np.asarray(seconds, dtype=np.float64)
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for place, amount in zip(
        codes(DURATION, values).tolist(), quanta(values, DURATION.digits or 0).tolist(), strict=True
    ):
        counts[place] += 1
        sums[place] += amount
    return Histogram(DURATION, dict(counts), dict(sums))


def _event(suite: Suite, ts: int, item: Item, key: str) -> Event:
    results = suite.results()
    counts = Counter(results.values())
    ran = counts.total() - counts["skipped"]
    failing = [_shown(test) for test, result in results.items() if result == "failed"]
    outcome: Outcome = "bad" if failing else "good" if ran else "excluded"
    said = f"{len(failing)} of {ran} tests failed" if failing else f"{ran} tests passed"
    told = {
        "tests": ran,
        "failed": counts["failed"],
        "flaky": counts["flaky"],
        "skipped": counts["skipped"],
        "failed_tests": ", ".join(failing[:FAILING_NAMES]),
    }
    labels = labels_of({**dict(_labels(suite, item)), **told})
    title = f"{suite.name}: {said}" if suite.name else said
    return Event("test_run", key, ts, outcome=outcome, commit=suite.commit, title=title, labels=labels)


def _tests(suite: Suite, ts: int, run: str, report: Report) -> list[Event]:
    """An event for each test that failed or was flaky; a broken suite names the first of them only."""
    results = suite.results()
    wanted = [test for result in ("flaky", "failed") for test, found in results.items() if found == result]
    if len(wanted) > NAMED_TESTS:
        report.said["remark", f"{NAMED_TESTS} tests that failed are named, the others of their suite are counted"] += 1
    return [_test(suite, test, results[test], ts, report.item, run) for test in wanted[:NAMED_TESTS]]


def _test(suite: Suite, test: Test, result: Result, ts: int, item: Item, run: str) -> Event:
    tries = suite.took.get(test, [])
    lost = sum(tries) if result == "failed" else sum(tries[:-1])
    told = {"test": _shown(test), "result": result, "of": run, "lost": f"{lost:.3f}"}
    name = hashlib.sha256("\0".join(test).encode("utf-8", "replace")).hexdigest()[:12]
    title = f"{_shown(test)} {'failed' if result == 'failed' else 'failed, then passed'}"
    labels = labels_of({**dict(_labels(suite, item)), **told})
    outcome: Outcome = "bad" if result == "failed" else "good"
    return Event("test_run", f"{run}:{name}", ts, outcome=outcome, commit=suite.commit, title=title, labels=labels)


def _labels(suite: Suite, item: Item) -> Labels:
    return labels_of({"suite": suite.name, "file": PurePath(item.name).name})


def _shown(test: Test) -> str:
    return ".".join(part for part in test if part)[:_NAME_LENGTH]


def _clock(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
