"""JUnit XML: test runs, the outcome of each distinct test, and which of them were flaky; and checks of data."""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath

from connectors import _validations
from connectors._files import digest_of, items
from connectors._junit import FAILING_NAMES, NAMED_TESTS, Report, records
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting, status_of
from tandem.records import Event, Finding, Page, Slice

_ROOT = re.compile(r"<testsuites?[\s/>]")
_PLAYBOOK = re.compile(r'<testcase\s[^>]*classname="[^"]*\.ya?ml:\d+"[^>]*\sname="\[[^"\]]+\] ')
"""A task of a playbook on a host: a report of Ansible, which tells of changes and not of tests."""

ABOUT = About(
    reads="Test reports in JUnit XML, as pytest, Surefire, Gradle, Node, gotestsum and most other test runners write "
    "them; and checks of data by dbt and Great Expectations, as validations of a model.",
    signals=("test_success", "flaky", "test_duration", "validation_success"),
    events=("test_run", "validation"),
    labels={
        "suite": 'the name of the suite, "outer/inner" for a nested one; the project of dbt, the suite of expectations',
        "file": "the name of the file, without its folder",
        "asset": "the data asset that expectations were checked on, and datasource where it lies",
        "target": "the target of a run of dbt, and command what was run",
        "tests": "distinct tests that ran (on events)",
        "failed": "tests that failed in the end, or checks (on events)",
        "flaky": "tests that failed and then passed (on events)",
        "skipped": "tests that were skipped, or checks (on events)",
        "failed_tests": f"up to {FAILING_NAMES} names of tests that failed in the end (on events)",
        "checks": "checks of data that ran, and warned how many of them only warn (on validations)",
        "failed_checks": f"up to {FAILING_NAMES} names of checks that failed (on validations)",
        "test": "the test, on the event of one that failed or was flaky",
        "result": '"failed" or "flaky", on the event of a test',
        "lost": "seconds of a test's tries that failed, on its event",
        "of": "the key of the suite's run, on the event of a test",
    },
    files=(
        "JUnit XML, also compressed",
        "run_results.json of dbt build and dbt test",
        "validation and checkpoint results of Great Expectations (JSON)",
    ),
    limits=(
        "A file of more than 20 MB, with a DTD, or nested more than 100 deep is refused; the rest of a folder is read.",
        "The totals in a file's attributes are not counted; they only tell that failed tries are written as passed.",
        "The same name twice in a suite is one test tried again: its last try counts; flaky if only others failed.",
        "In Node's reports the same name twice is two tests, for Node tries nothing again.",
        "A parameterised test whose cases share one name cannot be told from a test that was tried again.",
        "gotestsum writes tries in no order, so one that failed and passed is flaky, whichever came first.",
        "Go counts a test and its subtests as tests of their own.",
        f"Of a suite at most {NAMED_TESTS} tests that failed or were flaky have an event of their own.",
        "The commit is known where a property of the suite or of the file states it, such as GIT_COMMIT.",
        "The commit of a run of dbt is known where DBT_ENV_CUSTOM_ENV_GIT_SHA was set.",
        "One run of dbt's tests is one validation; it passed when none of them failed. A warning is no failure.",
        "One suite of expectations on one batch is one validation, with the verdict of Great Expectations.",
        "Values and queries in the results of checks are not kept.",
        "A byte-identical copy counts once, wherever it lies; a file that vanishes keeps its contribution.",
    ),
    status={
        "passed": "good", "failure": "bad", "error": "bad", "skipped": "excluded",
        "pass": "good", "success": "good", "warn": "good", "fail": "bad", "runtime error": "bad",
        "partial success": "bad", "no-op": "excluded", "no verdict": "excluded",
    },
    aliases=("junit_xml", "pytest", "surefire", "gradle", "gotestsum", "dbt", "great_expectations"),
    side="both",
    example="""\
connector = "junit"
name = "checkout-tests"
path = "exports/junit/*.xml"               # a file, a folder or a glob
component = "checkout-api"
# checks = ["*claims*"]                    # of dbt and Great Expectations, the checks that count for this component
# timezone = "Europe/Berlin"               # of times without offset; without it such files are refused
""",
)  # fmt: skip


@dataclass(frozen=True)
class Config:
    """Where the reports lie."""

    common: Common
    path: Path | None = setting("A file, a folder or a glob.", default=None, example="exports/junit/*.xml")
    checks: tuple[str, ...] = setting(
        "Globs of the checks of dbt and Great Expectations that count; left out: all.", default=(),
        example=("*claims*",),
    )  # fmt: skip


def scope(config: Config) -> str:
    """The path of the reports, and which checks in them count."""
    chosen = f"#{','.join(sorted(config.checks))}" if config.checks else ""
    return f"{config.path or ''}{chosen}"


def recognise(item: Item) -> bool:
    """XML with the elements of a test report, and results of dbt and Great Expectations."""
    head = item.head
    if _validations.is_validation(head):
        return True
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8"
    text = head.decode(encoding, "ignore").lstrip("\ufeff \t\r\n")
    return text.startswith("<") and _ROOT.search(text) is not None and _PLAYBOOK.search(text) is None


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The test runs of one file; raises SourceRefused where it cannot be used."""
    yield _page(item, config, digest_of(item))


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """The test runs of the files that were not counted before, oldest first; those after `until` are left for later."""
    if config.path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{config.common.name}".')
    pages: dict[str, tuple[int, Page]] = {}
    for item in _found(config.path, config):
        pull.progress(item.name, None)
        try:
            digest = digest_of(item)
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


def _last(page: Page) -> int:
    return max((record.ts for record in page.records if isinstance(record, Event)), default=0)


def _page(item: Item, config: Config, digest: str) -> Page:
    zone = item.given.timezone or config.common.timezone
    report = Report(item, zone, lambda word: status_of(config, ABOUT, word))
    if _validations.is_validation(item.head):
        found = [*_validations.events(report, digest, config.checks)]
        return Page(found, slice=Slice(f"junit:{digest}", digest + report.settings), findings=report.findings())
    told = records(report, digest)
    return Page(told, slice=Slice(f"junit:{digest}", digest + report.settings), findings=report.findings())
