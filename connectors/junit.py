"""JUnit XML: test runs, the outcome of each distinct test, and which of them were flaky."""

from __future__ import annotations

import glob
import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePath
from typing import Literal
from xml.etree.ElementTree import Element

import numpy as np

from connectors._files import items, xml
from tandem import times
from tandem.bins import DURATION, codes, quanta
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import Event, Fact, Finding, Histogram, Outcome, Page, Ratio, Series, Slice, bucket_of, labels_of

FAILING_NAMES = 5
"""How many names of failing tests an event carries."""
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
_ROOT = re.compile(r"<testsuites?[\s/>]")
_SUITES = ("testsuite", "testsuites")

Result = Literal["passed", "failed", "flaky", "skipped"]

ABOUT = About(
    reads="Test reports in JUnit XML, as pytest, Surefire, Gradle, Node and most other test runners write them.",
    signals=("test_success", "flaky", "test_duration"),
    events=("test_run",),
    labels={
        "suite": 'the name of the suite, "outer/inner" for a nested one',
        "file": "the name of the file, without its folder",
        "tests": "distinct tests that ran (on events)",
        "failed": "tests that failed in the end (on events)",
        "flaky": "tests that failed and then passed (on events)",
        "skipped": "tests that were skipped (on events)",
        "failed_tests": "up to five names of tests that failed in the end (on events)",
        "test": "the test, on the event of one that failed or was flaky",
        "result": '"failed" or "flaky", on the event of a test',
        "lost": "seconds of a test's tries that failed, on its event",
        "of": "the key of the suite's run, on the event of a test",
    },
    files=("JUnit XML, also compressed",),
    limits=(
        "A file of more than 20 MB, with a DTD, or nested more than 100 deep is refused; the rest of a folder is read.",
        "The totals in a file's attributes are not used: tests are counted.",
        "The same name twice in a suite is one test tried again: its last try counts; it is flaky where that passed.",
        f"Of a suite at most {NAMED_TESTS} tests that failed or were flaky have an event of their own.",
        "The commit is known where a property of the suite or of the file states it, such as GIT_COMMIT.",
        "A byte-identical copy counts once, wherever it lies; a file that vanishes keeps its contribution.",
    ),
    status={"passed": "good", "failure": "bad", "error": "bad", "skipped": "excluded"},
    aliases=("junit_xml", "pytest", "surefire"),
    side="system",
    example="""\
connector = "junit"
name = "checkout-tests"
path = "exports/junit/*.xml"               # a file, a folder or a glob
component = "checkout-api"
# timezone = "Europe/Berlin"               # of times without offset; without it such files are refused
""",
)


@dataclass(frozen=True)
class Config:
    """Where the reports lie."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/junit/*.xml")


def scope(config: Config) -> str:
    """The path of the reports."""
    return str(config.path or "")


def recognise(item: Item) -> bool:
    """XML with the elements of a test report."""
    head = item.head
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    return text.startswith("<") and _ROOT.search(text) is not None


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The test runs of one file; raises SourceRefused where it cannot be used."""
    yield _page(item, config, _digest(item))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The test runs of the files that were not counted before, oldest first; those after `until` are left for later."""
    if config.path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{config.common.name}".')
    pages: dict[str, tuple[int, Page]] = {}
    for item in _found(config.path, config):
        pull.progress(item.name, None)
        try:
            digest = _digest(item)
            # Of byte-identical copies the oldest counts: without a timestamp its age is the time.
            copied = digest in pages and pages[digest][0] <= item.modified
            if not copied and (pull.first or _is_new(pull.taken(f"junit:{digest}"), config)):
                pages[digest] = (item.modified, _page(item, config, digest))
        except SourceRefused as error:
            yield Page(findings=(Finding("reject", str(error), item.name),))
    for page in sorted((page for _, page in pages.values()), key=_last):
        if _last(page) < pull.until:
            yield page


def _found(path: Path, config: Config) -> Iterator[Item]:
    """What is or should be a report: by its content, by its name, or because the path names it alone."""
    given = Given(timezone=config.common.timezone)
    hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not hits and not glob.has_magic(str(path)):
        raise SourceRefused(f"{path} is not there; check the path.")
    for hit in hits:
        for item in items(hit, given):
            if item.path == hit and hit.is_dir():
                continue
            if recognise(item) or ".xml" in PurePath(item.name).suffixes or hits == [item.path]:
                yield item


def _is_new(taken: str | None, config: Config) -> bool:
    """Whether a file was not counted, or was counted with times read in another zone."""
    if taken is None:
        return True
    _, colon, zone = taken.partition(":")
    return bool(colon) and zone != config.common.timezone


def _digest(item: Item) -> str:
    digest = hashlib.sha256()
    with item.open() as opened:
        while piece := opened.read(1 << 16):
            digest.update(piece)
    return digest.hexdigest()


def _last(page: Page) -> int:
    return max((record.ts for record in page.records if isinstance(record, Event)), default=0)


@dataclass
class _Suite:
    """One element that holds test cases itself."""

    name: str
    timestamp: str
    whole: bool
    """Whether it is <testsuites>, the whole file."""
    commit: str = ""
    tries: dict[tuple[str, str], list[Result]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    took: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Seconds of each try of a test, 0 where unknown."""

    def results(self) -> dict[tuple[str, str], Result]:
        """What became of each distinct test in the end."""
        return {test: _in_the_end(tries) for test, tries in self.tries.items()}


@dataclass
class _Report:
    """One file while it is read."""

    item: Item
    zone: str | None
    said: Counter[tuple[Literal["reject", "remark"], str]] = field(default_factory=Counter)
    settings: str = ""
    """What else than the bytes decided a time: the time given with the import, or the zone."""

    def time(self, suite: _Suite) -> int | None:
        """When the suite ran, epoch seconds; None for a time that cannot be used; SourceRefused without a zone."""
        text = suite.timestamp.strip()
        when = _clock(text)
        if text and when is None:
            self.said["reject", f'the suite\'s timestamp "{text[:40]}" is no ISO 8601 time'] += 1
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
        return tuple(Finding(kind, reason, self.item.name, n) for (kind, reason), n in sorted(self.said.items()))


def _page(item: Item, config: Config, digest: str) -> Page:
    report = _Report(item, item.given.timezone or config.common.timezone)
    records: list[Fact | Event] = []
    names: Counter[str] = Counter()
    suites = _suites(report)
    if not suites:
        raise SourceRefused(f"{item.name} holds no test case; check that it is a JUnit report.")
    for suite in suites:
        ts = report.time(suite)
        if ts is None:
            continue
        names[suite.name] += 1
        again = f"#{names[suite.name]}" if names[suite.name] > 1 else ""
        records += _facts(suite, ts, item)
        key = f"{digest[:16]}:{suite.name}{again}"
        records.append(_event(suite, ts, item, key))
        records += _tests(suite, ts, item, key, report)
    return Page(records, slice=Slice(f"junit:{digest}", digest + report.settings), findings=report.findings())


def _suites(report: _Report) -> list[_Suite]:
    """Every element with test cases of its own, with the names around it and the nearest timestamp."""
    found: list[_Suite] = []
    around: list[_Suite] = []
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
            _property(element, around[-1])
        elif tag in _SUITES:
            around.pop()
        if parents and parents[-1].tag.rpartition("}")[2] in _SUITES:
            # What was read is let go, so that memory does not grow with the file.
            parents[-1].clear()
    return [suite for suite in found if suite.tries]


def _entered(element: Element, outer: _Suite | None, *, whole: bool) -> _Suite:
    # The name of <testsuites> is the folder or the command: it names only the cases that lie directly in it.
    prefix = outer.name if outer and not outer.whole else ""
    name = "/".join(part for part in (prefix, element.get("name", "")) if part)
    commit = outer.commit if outer else ""
    return _Suite(name, element.get("timestamp") or (outer.timestamp if outer else ""), whole, commit)


def _in_properties(parents: Sequence[Element]) -> bool:
    """Whether a property is the suite's own, not that of one of its tests."""
    tags = [parent.tag.rpartition("}")[2] for parent in parents[-2:]]
    return len(tags) == 2 and tags[1] == "properties" and tags[0] in _SUITES


def _property(element: Element, suite: _Suite) -> None:
    stated = (element.get("value") or element.text or "").strip().lower()
    if element.get("name", "").strip().lower() in _COMMITS and _SHA.fullmatch(stated):
        suite.commit = stated


def _case(element: Element, suite: _Suite, report: _Report) -> None:
    children = {child.tag.rpartition("}")[2] for child in element}
    result = _result(children, element.get("status", ""))
    test = (element.get("classname", ""), element.get("name", ""))
    suite.tries.setdefault(test, []).append(result)
    seconds = report.seconds(element.get("time"))
    suite.took.setdefault(test, []).append(seconds or 0.0)
    if seconds is not None and result != "skipped":
        suite.seconds.append(seconds)


def _result(children: set[str], status: str) -> Result:
    """One test case; a rerun that failed is written beside the failure, or alone where the last try failed too."""
    if children & {"failure", "error", "rerunFailure", "rerunError"}:
        return "failed"
    if children & {"flakyFailure", "flakyError"}:
        return "flaky"
    if "skipped" in children or status in ("notrun", "disabled", "skipped"):
        return "skipped"
    return "passed"


def _in_the_end(tries: Sequence[Result]) -> Result:
    """The outcome of all tries of one test: the last one, flaky where another came before it.

    A test runs again only because it failed: pytest-rerunfailures writes the failed tries as if they had passed.
    """
    ran = [result for result in tries if result != "skipped"]
    if not ran:
        return "skipped"
    return "flaky" if ran[-1] == "passed" and len(ran) > 1 else ran[-1]


def _facts(suite: _Suite, ts: int, item: Item) -> list[Fact]:
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


def _event(suite: _Suite, ts: int, item: Item, key: str) -> Event:
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


def _tests(suite: _Suite, ts: int, item: Item, run: str, report: _Report) -> list[Event]:
    """An event for each test that failed or was flaky; a broken suite names the first of them only."""
    results = suite.results()
    wanted = [test for result in ("flaky", "failed") for test, found in results.items() if found == result]
    if len(wanted) > NAMED_TESTS:
        report.said["remark", f"{NAMED_TESTS} tests that failed are named, the others of their suite are counted"] += 1
    return [_test(suite, test, results[test], ts, item, run) for test in wanted[:NAMED_TESTS]]


def _test(suite: _Suite, test: tuple[str, str], result: Result, ts: int, item: Item, run: str) -> Event:
    tries = suite.took.get(test, [])
    lost = sum(tries) if result == "failed" else sum(tries[:-1])
    told = {"test": _shown(test), "result": result, "of": run, "lost": f"{lost:.3f}"}
    name = hashlib.sha256("\0".join(test).encode("utf-8", "replace")).hexdigest()[:12]
    title = f"{_shown(test)} {'failed' if result == 'failed' else 'failed, then passed'}"
    labels = labels_of({**dict(_labels(suite, item)), **told})
    outcome: Outcome = "bad" if result == "failed" else "good"
    return Event("test_run", f"{run}:{name}", ts, outcome=outcome, commit=suite.commit, title=title, labels=labels)


def _labels(suite: _Suite, item: Item) -> tuple[tuple[str, str], ...]:
    return labels_of({"suite": suite.name, "file": PurePath(item.name).name})


def _shown(test: tuple[str, str]) -> str:
    return ".".join(part for part in test if part)[:_NAME_LENGTH]


def _clock(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
