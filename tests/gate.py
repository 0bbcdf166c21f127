"""A pytest plugin of .ci/run: what should have been tested and was skipped is a failure there."""

from collections.abc import Generator

import pytest

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


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group tests by their file for `--dist loadgroup`, and all of the browser's: two at once slow each other down."""
    for item in items:
        item.add_marker(pytest.mark.xdist_group("browser" if item.get_closest_marker("browser") else item.path.name))


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
