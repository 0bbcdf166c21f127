"""JUnit as each runner writes it: recorded reports, what is a rerun and what is not, and runners that really run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from connectors import junit
from connectors._files import item
from tandem import times
from tandem.connect import Common, Given
from tandem.records import Event, Fact, Outcome, Page, Ratio

HERE = Path(__file__).parent / "payloads" / "junit"
TEN = times.iso("2026-11-02T10:00:00Z")


def parsed(path: Path, *, at: int | None = None, zone: str | None = None, status: Any = None) -> Page:
    config = junit.Config(Common("junit", "tests", timezone=zone, status=status or {}))
    (page,) = junit.parse(item(path, Given(at=at)), config)
    return page


def ratios(page: Page, signal: str) -> dict[str, Ratio]:
    facts = [one for one in page.records if isinstance(one, Fact) and one.series.signal == signal]
    return {dict(one.series.labels).get("suite", ""): one.value for one in facts if isinstance(one.value, Ratio)}


def told(page: Page) -> list[tuple[str, str]]:
    labels = [dict(one.labels) for one in page.records if isinstance(one, Event)]
    return [(one["result"], one["test"]) for one in labels if "test" in one]


def written(path: Path, suite: str) -> Path:
    path.write_text(suite)
    return path


def test_gotestsum_writes_every_try_as_a_case_failures_first() -> None:
    page = parsed(HERE / "gotestsum.xml")
    cart, price = "example.com/shop/checkout/cart", "example.com/shop/checkout/price"
    # TestFlaky, TestTable/two_<b>, TestTable, TestAdds, TestTable/one ran; TestLater was skipped.
    assert ratios(page, "test_success") == {cart: Ratio(3, 5), price: Ratio(1, 1)}
    assert ratios(page, "flaky") == {cart: Ratio(4, 5), price: Ratio(1, 1)}
    assert told(page) == [("flaky", f"{cart}.TestFlaky"), ("failed", f"{cart}.TestTable/two_<b>"),
                          ("failed", f"{cart}.TestTable")]  # fmt: skip
    runs = [one for one in page.records if isinstance(one, Event) and "tests" in dict(one.labels)]
    assert {one.ts for one in runs} == {times.iso("2026-11-21T16:13:34Z")}


def test_surefire_writes_tries_into_one_case_and_no_time() -> None:
    page = parsed(HERE / "surefire_reruns.xml", at=TEN)
    suite = "com.acme.CheckoutTest"
    assert ratios(page, "test_success") == {suite: Ratio(2, 4)}
    assert ratios(page, "flaky") == {suite: Ratio(3, 4)}
    assert told(page) == [("flaky", f"{suite}.wobbly"), ("failed", f"{suite}.broken"), ("failed", f"{suite}.throwing")]


def test_gradle_writes_a_case_per_try_and_times_without_offset() -> None:
    page = parsed(HERE / "gradle_retry.xml", zone="UTC")
    suite = "com.acme.PriceTest"
    assert ratios(page, "test_success") == {suite: Ratio(2, 3)}
    assert told(page) == [("flaky", f"{suite}.converts()"), ("failed", f"{suite}.discounts()")]
    lost = [dict(one.labels)["lost"] for one in page.records if isinstance(one, Event) and "lost" in dict(one.labels)]
    assert lost == ["0.250", "0.350"]


def test_node_writes_suites_in_suites_and_two_tests_of_one_name() -> None:
    page = parsed(HERE / "node_nested.xml", at=TEN)
    assert ratios(page, "test_success") == {
        "": Ratio(1, 1), "cart": Ratio(1, 2), "cart/inner": Ratio(1, 1), "parent": Ratio(2, 2),
    }  # fmt: skip
    assert all(ratio.good == ratio.total for ratio in ratios(page, "flaky").values())
    assert told(page) == [("failed", "test.fails")]


def test_a_failure_of_node_is_not_hidden_by_a_test_of_the_same_name(tmp_path: Path) -> None:
    cases = '<testcase name="a" classname="test"><failure/></testcase><testcase name="a" classname="test"/>' * 2
    page = parsed(written(tmp_path / "r.xml", f"<testsuites>{cases}</testsuites>"), at=TEN)
    assert ratios(page, "test_success") == {"": Ratio(2, 4)}
    assert ratios(page, "flaky") == {"": Ratio(4, 4)}


@pytest.mark.parametrize(
    ("stated", "flaky"),
    [('tests="2"', Ratio(1, 2)), ('tests="3"', Ratio(2, 2)), ("", Ratio(2, 2)), ('tests="x"', Ratio(2, 2))],
)  # fmt: skip
def test_a_name_that_passed_twice_was_tried_again_only_where_the_suite_hides_a_try(
    tmp_path: Path, stated: str, flaky: Ratio
) -> None:
    """`go test -count=2` passes twice; pytest-rerunfailures writes a failed try as passed and leaves it uncounted."""
    cases = '<testcase name="a"/><testcase name="a"/><testcase name="b"/>'
    suite = f'<testsuite name="s" {stated} timestamp="2026-11-02T10:00:00Z">{cases}</testsuite>'
    assert ratios(parsed(written(tmp_path / "r.xml", suite)), "flaky") == {"s": flaky}


@pytest.mark.parametrize(
    ("status", "success"),
    [({}, Ratio(1, 3)), ({"skipped": "bad"}, Ratio(1, 4)), ({"error": "excluded"}, Ratio(1, 2)),
     ({"failure": "good"}, Ratio(2, 3))],
)  # fmt: skip
def test_a_source_may_say_what_a_status_means(tmp_path: Path, status: dict[str, Outcome], success: Ratio) -> None:
    cases = "".join(f'<testcase name="{name}"><{name}/></testcase>' for name in ("failure", "error", "skipped"))
    suite = f'<testsuite name="s" timestamp="2026-11-02T10:00:00Z">{cases}<testcase name="p"/></testsuite>'
    assert ratios(parsed(written(tmp_path / "r.xml", suite), status=status), "test_success") == {"s": success}


# -- runners that really run

PYTEST = """
import pathlib
import pytest

@pytest.mark.parametrize("n", [1, 2])
def test_adds(n):
    assert n

def test_fails():
    assert 1 == 2

@pytest.mark.skip
def test_later():
    pass

@pytest.fixture
def gone():
    yield
    raise RuntimeError("teardown")

def test_teardown(gone):
    assert 1 == 2
"""


@pytest.mark.live
def test_what_pytest_really_writes(tmp_path: Path) -> None:
    (tmp_path / "test_shop.py").write_text(PYTEST)
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--junitxml=r.xml", "test_shop.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    page = parsed(tmp_path / "r.xml")
    # A test that fails and then fails in its teardown is written as two cases and is one test that failed.
    assert list(ratios(page, "test_success").values()) == [Ratio(2, 4)]
    assert list(ratios(page, "flaky").values()) == [Ratio(4, 4)]
    assert [name.rpartition(".")[2] for _, name in told(page)] == ["test_fails", "test_teardown"]


NODE = """
import test, { describe, it } from 'node:test';
import assert from 'node:assert';
test('adds', () => {});
describe('cart <b>', () => {
  it('fails', () => { assert.strictEqual(1, 2); });
  it('adds', () => {});
  it('adds', () => {});
  it.skip('later', () => {});
});
"""


def _node() -> str:
    """A Node that can write JUnit, which came with 20."""
    found = shutil.which("node")
    if found is None:
        return ""
    told = subprocess.run([found, "--version"], capture_output=True, text=True, timeout=30, check=False).stdout
    return found if int(told.lstrip("v").partition(".")[0] or 0) >= 20 else ""


@pytest.mark.skipif(not _node(), reason="Node 20 or newer is not installed")
def test_what_node_really_writes(tmp_path: Path) -> None:
    (tmp_path / "shop.test.mjs").write_text(NODE)
    # A runner inside a runner of Node speaks its own protocol.
    env = {name: value for name, value in os.environ.items() if name != "NODE_TEST_CONTEXT"}
    done = subprocess.run([_node(), "--test", "--test-reporter=junit", "shop.test.mjs"], cwd=tmp_path,
                          capture_output=True, timeout=120, check=False, env=env)  # fmt: skip
    (tmp_path / "r.xml").write_bytes(done.stdout)
    page = parsed(tmp_path / "r.xml")
    assert ratios(page, "test_success") == {"": Ratio(1, 1), "cart <b>": Ratio(2, 3)}
    assert ratios(page, "flaky") == {"": Ratio(1, 1), "cart <b>": Ratio(3, 3)}
    assert [name.partition(".")[2] for _, name in told(page)] == ["fails"]
