"""Flaky tests of one service over JUnit files, CircleCI and GitLab: one answer of the engine, one list on the page."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from connectors import circleci, gitlab, junit
from tandem import collect, report, times
from tandem.config import Component, Source
from tandem.connect import Common
from tandem.delivered import Delivered
from tandem.records import DAY
from tandem.shown import Window
from tandem.store.file import Store, open_store
from tests import fakes
from tests.circleci_server import Circle
from tests.gitlab_server import Project
from tests.replay import serve
from tests.screens import Engine
from tests.test_dashboard import Open, open_page

__all__ = ["open_page"]

NOW = fakes.NOW
ENGINE = report.delivery
"""The real one, before a page's stand-in takes its place."""
SUITE = (
    '<testsuite name="py" timestamp="{at}"><properties><property name="commit" value="{commit}"/></properties>'
    '<testcase classname="C" name="test_file" time="4.5">{child}</testcase>'
    '<testcase classname="C" name="test_steady" time="1"/></testsuite>'
)


def of_files(folder: Path) -> Source:
    """One commit on which a test failed and then passed, and one on which it only failed."""
    runs = [("a" * 40, "<failure/>"), ("a" * 40, ""), ("b" * 40, "<failure/>")]
    folder.mkdir()
    for number, (commit, child) in enumerate(runs):
        at = times.text(NOW - DAY + number * 600)
        (folder / f"{number}.xml").write_text(SUITE.format(at=at, commit=commit, child=child))
    config = junit.Config(Common("junit", "files", component=("checkout-api",)), path=folder)
    return Source(config.common, junit, config)  # type: ignore[arg-type]


def of_circle(circle: Circle, url: str) -> Source:
    """A workflow that failed, run again from what had failed, and then run whole twice on other commits."""
    first = circle.run(1, NOW - 20_000, "failed")
    circle.results(circle.jobs[first["id"]][0], 2, ("test_circle",))
    again = circle.rerun(first, NOW - 19_000)
    circle.results(circle.job(again, "unit", NOW - 18_990, 60), 2, test_circle="success")
    circle.end(again, NOW - 18_930)
    for number, at in ((2, NOW - 15_000), (3, NOW - 12_000)):
        circle.results(circle.jobs[circle.run(number, at)["id"]][0], 3)
    common = Common("circleci", "circle", component=("checkout-api",))
    config = circleci.Config(common, url=url, project=circle.project)
    return Source(config.common, circleci, config)  # type: ignore[arg-type]


def of_gitlab(project: Project, url: str) -> Source:
    """A pipeline whose test failed; it is retried after the first pull."""
    project.run(7, NOW - 9000, "failed")
    project.suite(7, "unit", 2, ("test_lab",))
    config = gitlab.Config(Common("gitlab", "lab", component=("checkout-api",)), url=url, projects=("acme/checkout",))
    return Source(config.common, gitlab, config)  # type: ignore[arg-type]


@pytest.fixture
def answered(tmp_path: Path) -> Iterator[Delivered]:
    """What the engine says of the service after all three were pulled twice."""
    circle, project = Circle(), Project()
    with serve(circle.answer) as one, serve(project.answer) as other, open_store(tmp_path / "t.duckdb") as store:
        sources = [of_files(tmp_path / "junit"), of_circle(circle, one.url), of_gitlab(project, other.url)]
        for turn in range(2):
            if turn:
                project.job(7, "unit", NOW - 7000, NOW - 6990, 50)
                project.suite(7, "unit", 3)
                project.touch(7, NOW - 6900, "success")
            for source in sources:
                outcome = collect.pull(store, source, NOW - 8000 + turn * 8000)
                assert not outcome.error
        yield _asked(store, tmp_path, sources)


def _asked(store: Store, folder: Path, sources: list[Source]) -> Delivered:
    config = fakes.config(folder, *sources, components=(Component("checkout-api", "service", "shop"),))
    context: Any = SimpleNamespace(config=config, store=store)
    return ENGINE(context, Window(NOW - 7 * DAY, NOW), now=NOW)


def test_one_answer_tells_the_flakes_of_all_three(answered: Delivered) -> None:
    tests = {one.source: one for one in answered.flaky if one.kind == "test"}
    told = {
        source: (one.name, one.suite, one.flakes, one.failures, one.runs, one.flip_rate, one.seconds)
        for source, one in tests.items()
    }
    assert told == {
        # F P F: the failure on the other commit is no flake, and both steps flip
        "files": ("C.test_file", "py", 1, 2, 3, Fraction(2, 2), 4.5),
        # F P on one commit, P, P: one of three steps flips
        "circle": ("pay.test_circle", "unit", 1, 1, 4, Fraction(1, 3), 1.5),
        # F P on one pipeline
        "lab": ("C.test_lab", "unit", 1, 1, 2, Fraction(1, 1), 1.5),
    }
    assert all(one.listed for one in tests.values())
    builds = {one.source: (one.name, one.flakes, one.seconds) for one in answered.flaky if one.kind == "build"}
    assert builds == {"circle": ("build", 1, 60.0), "lab": ("acme/checkout", 1, 60.0)}


def test_the_page_of_the_service_lists_them_together(answered: Delivered, open_page: Open) -> None:
    class Real(Engine):
        def delivery(self, *args: Any, **asked: Any) -> Delivered:
            return answered

    test = open_page("services", Real(), component="checkout-api")
    assert not test.exception
    (table,) = test.dataframe
    assert {"C.test_file", "pay.test_circle", "C.test_lab"} <= set(table.value["Test or job"])
