"""A pytest plugin of .ci/run: what should have been tested and was skipped is a failure there."""

from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

MUST_RUN = ("browser", "live")

Collecting = Generator[None, pytest.CollectReport, pytest.CollectReport]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and any(map(item.get_closest_marker, MUST_RUN)):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped: the gate has everything that it needs."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Collecting:
    report = yield
    if report.skipped:
        report.outcome = "failed"
        report.longrepr = f"{collector.nodeid} was skipped whole: the gate has everything that it needs."
    return report


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests go to one process, and all of the browser's: two browsers at once slow each other down.

    xdist's own `loadgroup` finds no group under pytest 9.2.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "browser" if file.startswith("tests/browser/") else file


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How the gate hands out tests."""
    return ByFile(config, log)


class Seen:
    """Which of the markers that must run had a test that passed."""

    def __init__(self) -> None:
        self.markers: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" and report.passed:
            self.markers.update(set(MUST_RUN) & set(report.keywords))

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        missing = set(MUST_RUN) - self.markers
        if missing and session.exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
            print(f"\nNot one test passed that is marked {' or '.join(sorted(missing))}.")


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Seen())
