"""JUnit: distinct tests, tries of one test, times, copies, and files that should not be read."""

from __future__ import annotations

import os
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from connectors import junit
from connectors._files import item
from tandem import times
from tandem.bins import DURATION
from tandem.config import parse
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Event, Fact, Histogram, Page, Ratio

HERE = Path(__file__).parent / "payloads" / "junit"
NOW = times.iso("2026-11-21T12:00:00Z")
TEN = times.iso("2026-11-02T10:00:00Z")


def configured(path: Path | None = None, zone: str | None = None) -> junit.Config:
    return junit.Config(Common("junit", "tests", timezone=zone), path)


def parsed(path: Path, *, zone: str | None = None, at: int | None = None) -> Page:
    (page,) = junit.parse(item(path, Given(at=at)), configured(zone=zone))
    return page


def pulled(config: junit.Config, until: int = NOW, taken: dict[str, str] | None = None) -> list[Page]:
    return list(junit.fetch(config, Pull(0, until, until, taken=(taken or {}).get)))


def values(page: Page, signal: str) -> dict[tuple[str, int], Any]:
    facts = [record for record in page.records if isinstance(record, Fact) and record.series.signal == signal]
    return {(dict(fact.series.labels).get("suite", ""), fact.ts): fact.value for fact in facts}


def runs(page: Page) -> list[Event]:
    return [record for record in page.records if isinstance(record, Event) and "test" not in dict(record.labels)]


def named(page: Page) -> list[tuple[str, str, str]]:
    told = [dict(record.labels) for record in page.records if isinstance(record, Event)]
    return [(labels["test"], labels["result"], labels["lost"]) for labels in told if "test" in labels]


def reasons(page: Page) -> list[str]:
    return [finding.reason for finding in page.findings]


def written(
    path: Path, cases: str, timestamp: str = 'timestamp="2026-11-02T10:00:00Z"', name: str = "s", stated: int = 0
) -> Path:
    tests = f'tests="{stated}" ' if stated else ""
    path.write_text(f'<testsuites><testsuite name="{name}" {tests}{timestamp}>{cases}</testsuite></testsuites>')
    return path


def counted(tmp_path: Path, cases: str) -> tuple[Ratio, Ratio]:
    page = parsed(written(tmp_path / "r.xml", cases))
    return values(page, "test_success")["s", TEN], values(page, "flaky")["s", TEN]


# -- what is counted


@pytest.mark.parametrize(("name", "suite"), [("pytest_xunit1.xml", "pytest"), ("pytest_xunit2.xml", "unit")])
def test_a_duplicate_of_pytest_is_one_flaky_test(name: str, suite: str) -> None:
    # 8 tests: ok, fail, skip, xfail, error, flaky (twice in the file), p[1], p[2]; the attributes say otherwise.
    page = parsed(HERE / name)
    place = (suite, times.iso("2026-11-21T08:00:00Z"))
    assert values(page, "test_success") == {place: Ratio(4, 6)}
    assert values(page, "flaky") == {place: Ratio(5, 6)}
    (run,) = runs(page)
    assert (run.kind, run.outcome, run.ts) == ("test_run", "bad", times.iso("2026-11-21T08:02:09Z") - (name[-5] == "2"))
    told = dict(run.labels)
    assert (told["tests"], told["failed"], told["flaky"], told["skipped"]) == ("6", "2", "1", "2")
    assert told["failed_tests"] == "test_x.test_fail, test_x.test_error"
    assert run.title == f"{suite}: 2 of 6 tests failed"


def test_node_writes_cases_without_a_suite_and_without_a_time(tmp_path: Path) -> None:
    path = tmp_path / "node_test.xml"
    path.write_bytes((HERE / "node_test.xml").read_bytes())
    os.utime(path, (TEN + 7, TEN + 7))
    page = parsed(path)
    assert values(page, "test_success") == {("", TEN): Ratio(1, 2)}
    assert reasons(page) == ["no timestamp; the time of the file's last change is taken"]
    assert runs(page)[0].ts == TEN + 7
    given = parsed(path, at=TEN - 86400)
    assert runs(given)[0].ts == TEN - 86400
    assert reasons(given) == []
    assert given.slice != page.slice


def test_surefire_writes_tries_as_children() -> None:
    page = parsed(HERE / "surefire.xml")
    place = ("com.acme.CheckoutTest", TEN)
    assert values(page, "test_success")[place] == Ratio(2, 3)
    assert values(page, "flaky")[place] == Ratio(2, 3)
    durations = values(page, "test_duration")[place]
    assert isinstance(durations, Histogram)
    assert durations.layout == DURATION
    assert Fraction(sum(durations.sums.values()), 10**6) == Fraction("1234.5") + Fraction("0.4") + 2
    assert durations.counts[DURATION.edges.index(1800.0)] == 1  # "1,234.5" seconds
    assert sum(durations.counts.values()) == 3


def test_nested_suites_have_their_own_names_and_inherit_the_time() -> None:
    page = parsed(HERE / "nested.xml")
    nine = times.iso("2026-11-02T09:00:00Z")
    assert values(page, "test_success") == {
        ("outer", nine): Ratio(1, 1),
        ("outer/inner", nine): Ratio(1, 1),
        ("outer/inner/deep", nine + 3600): Ratio(0, 1),
    }
    assert [run.outcome for run in runs(page)] == ["good", "good", "bad"]
    assert len({run.key for run in runs(page)}) == 3


@pytest.mark.parametrize(
    ("cases", "success", "flaky"),
    [
        ('<testcase name="a"><failure/></testcase><testcase name="a"/>', Ratio(1, 1), Ratio(0, 1)),
        # Two hidden failed tries and a failure: it never passed, so it is broken and not flaky.
        ('<testcase name="a"/><testcase name="a"/><testcase name="a"><failure/></testcase>', Ratio(0, 1), Ratio(1, 1)),
        ('<testcase name="a"><failure/></testcase><testcase name="a"><error/></testcase>', Ratio(0, 1), Ratio(1, 1)),
        ('<testcase name="a"/><testcase classname="b" name="a"/>', Ratio(2, 2), Ratio(2, 2)),
        ('<testcase name="a"><flakyError/></testcase>', Ratio(1, 1), Ratio(0, 1)),
        ('<testcase name="a"><failure/><rerunError/></testcase>', Ratio(0, 1), Ratio(1, 1)),
        ('<testcase name="a"><skipped/></testcase><testcase name="c"/>', Ratio(1, 1), Ratio(1, 1)),
        ('<testcase name="b" status="notrun"/><testcase name="c"/>', Ratio(1, 1), Ratio(1, 1)),
    ],
)
def test_tries_of_one_test(tmp_path: Path, cases: str, success: Ratio, flaky: Ratio) -> None:
    assert counted(tmp_path, cases) == (success, flaky)


def test_a_suite_that_skips_everything_counts_nothing(tmp_path: Path) -> None:
    page = parsed(written(tmp_path / "r.xml", '<testcase name="a"><skipped/></testcase>'))
    assert values(page, "test_success") == {}
    assert [run.outcome for run in runs(page)] == ["excluded"]


def test_two_suites_of_one_name_add_up_and_keep_two_events(tmp_path: Path) -> None:
    suite = '<testsuite name="s" timestamp="2026-11-02T10:00:00Z"><testcase name="a"/></testsuite>'
    path = tmp_path / "r.xml"
    path.write_text(f"<testsuites>{suite}{suite}</testsuites>")
    page = parsed(path)
    assert len([record for record in page.records if isinstance(record, Fact)]) == 4
    assert len({run.key for run in runs(page)}) == 2


@pytest.mark.parametrize("time", ["-1", "NaN", "inf", "1e999", "12,5", "1_000", "abc", "0x1"])
def test_a_time_that_is_none_leaves_the_test(tmp_path: Path, time: str) -> None:
    page = parsed(written(tmp_path / "r.xml", f'<testcase name="a" time="{time}"/><testcase name="b" time="2"/>'))
    assert values(page, "test_success")["s", TEN] == Ratio(2, 2)
    assert sum(values(page, "test_duration")["s", TEN].counts.values()) == 1
    assert reasons(page) == ["a test's time is negative or no number; the test counts without it"]


def test_names_are_kept_raw_and_few(tmp_path: Path) -> None:
    cases = "".join(f'<testcase name="&lt;b&gt;{n}"><failure/></testcase>' for n in range(9))
    (run,) = runs(parsed(written(tmp_path / "r.xml", cases, name="[x](http://e)")))
    assert dict(run.labels)["failed_tests"] == ", ".join(f"<b>{n}" for n in range(5))
    assert dict(run.labels)["suite"] == "[x](http://e)"


# -- times


def test_times_without_offset_need_a_zone(tmp_path: Path) -> None:
    path = written(tmp_path / "naive.xml", '<testcase name="a"/>', 'timestamp="2026-11-02T10:00:00"')
    with pytest.raises(SourceRefused, match=r"naive\.xml holds times without offset .* set timezone"):
        parsed(path)
    page = parsed(path, zone="Europe/Berlin")
    assert runs(page)[0].ts == TEN - 3600
    assert page.slice is not None
    assert page.slice.digest.endswith(":Europe/Berlin")


def test_an_hour_that_repeats_is_the_earlier_one_and_one_that_never_was_is_left_out(tmp_path: Path) -> None:
    one = '<testsuite name="{}" timestamp="{}"><testcase name="a"/></testsuite>'
    path = tmp_path / "r.xml"
    suites = one.format("twice", "2026-10-25T02:30:00") + one.format("never", "2026-03-29T02:30:00")
    path.write_text(f"<testsuites>{suites}</testsuites>")
    page = parsed(path, zone="Europe/Berlin")
    assert [(dict(run.labels)["suite"], run.ts) for run in runs(page)] == [("twice", times.iso("2026-10-25T00:30:00Z"))]
    assert {finding.kind: finding.count for finding in page.findings} == {"remark": 1, "reject": 1}


@pytest.mark.parametrize("stamp", ["1970-01-01T00:00:00Z", "0001-01-01T00:00:00", ""])
def test_times_that_stand_for_none_are_absent(tmp_path: Path, stamp: str) -> None:
    page = parsed(written(tmp_path / "r.xml", '<testcase name="a"/>', f'timestamp="{stamp}"'), at=TEN)
    assert runs(page)[0].ts == TEN


def test_a_timestamp_that_is_no_time_leaves_its_suite_out(tmp_path: Path) -> None:
    page = parsed(written(tmp_path / "r.xml", '<testcase name="a"/>', 'timestamp="Mon Nov 2"'))
    assert page.records == []
    assert reasons(page) == ['the timestamp "Mon Nov 2" is no ISO 8601 time']


# -- pulls


def taken_by(pages: list[Page]) -> dict[str, str]:
    return {page.slice.name: page.slice.digest for page in pages if page.slice}


def test_a_pull_reads_new_files_oldest_first_and_a_copy_once(tmp_path: Path) -> None:
    for day in (4, 2, 3):
        stamp = f'timestamp="2026-11-{day:02}T10:00:00Z"'
        written(tmp_path / f"{9 - day}.xml", f'<testcase name="{day}"/>', stamp)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "copy.xml").write_bytes((tmp_path / "5.xml").read_bytes())
    (tmp_path / "notes.txt").write_text("no <testsuite> here")
    first = pulled(configured(tmp_path))
    assert [runs(page)[0].ts for page in first] == [TEN, TEN + 86400, TEN + 2 * 86400]
    assert pulled(configured(tmp_path), taken=taken_by(first)) == []
    written(tmp_path / "late.xml", '<testcase name="x"/>', 'timestamp="2026-01-01T10:00:00Z"')
    (tmp_path / "5.xml").unlink()
    assert len(pulled(configured(tmp_path), taken=taken_by(first))) == 1


def test_of_copies_without_a_time_the_oldest_counts(tmp_path: Path) -> None:
    for name, age in (("a.xml", 50), ("b.xml", 90), ("c.xml", 70)):
        written(tmp_path / name, '<testcase name="a"/>', "")
        os.utime(tmp_path / name, (TEN - age, TEN - age))
    (page,) = pulled(configured(tmp_path))
    assert runs(page)[0].ts == TEN - 90


def test_an_import_and_a_pull_of_one_file_are_one_slice(tmp_path: Path) -> None:
    path = written(tmp_path / "r.xml", '<testcase name="a" time="1"/>')
    (page,) = pulled(configured(path))
    again = parsed(path)
    assert (page.slice, page.records) == (again.slice, again.records)


def test_what_lies_at_or_after_until_waits(tmp_path: Path) -> None:
    written(tmp_path / "r.xml", '<testcase name="a"/>')
    assert pulled(configured(tmp_path), until=TEN) == []
    assert len(pulled(configured(tmp_path), until=TEN + 1)) == 1


def test_another_zone_reads_files_without_offset_again_and_no_others(tmp_path: Path) -> None:
    written(tmp_path / "naive.xml", '<testcase name="a"/>', 'timestamp="2026-11-02T10:00:00"')
    written(tmp_path / "exact.xml", '<testcase name="a"/>')
    first = pulled(configured(tmp_path, "Europe/Berlin"))
    assert pulled(configured(tmp_path, "Europe/Berlin"), taken=taken_by(first)) == []
    (again,) = pulled(configured(tmp_path, "UTC"), taken=taken_by(first))
    assert again.slice is not None
    assert again.slice.name in taken_by(first)
    assert runs(again)[0].ts == TEN


@pytest.mark.parametrize("pattern", ["a/*.xml", "**/*.xml", "a", "a/r.xml"])
def test_a_path_is_a_file_a_folder_or_a_glob(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "a").mkdir()
    written(tmp_path / "a" / "r.xml", '<testcase name="a"/>')
    assert len(pulled(configured(tmp_path / pattern))) == 1


def test_a_path_that_is_not_there_is_refused_and_an_empty_glob_is_not(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="is not there"):
        pulled(configured(tmp_path / "none.xml"))
    assert pulled(configured(tmp_path / "*.xml")) == []
    with pytest.raises(SourceRefused, match="set path"):
        pulled(configured())


# -- files that should not be read

LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE testsuite [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    '<testsuite name="&b;"><testcase name="a"/></testsuite>'
)
BAD = {
    "laughs.xml": (LAUGHS, "declares a DTD or entities"),
    "cut.xml": ('<testsuite name="s"><testcase name="a"/>', "is not well-formed XML, perhaps cut off"),
    "empty.xml": ("", "is not well-formed XML"),
    "deep.xml": ("<testsuite>" * 100_000 + "</testsuite>" * 100_000, "nests elements more than 100 deep"),
    "large.xml": (f"<testsuite>{'<!-- much of this -->' * 952_382}</testsuite>", "holds more than 20 MB"),
    "other.xml": ("<project><name>x</name></project>", "begins with <project>"),
    "none.xml": ("<testsuites></testsuites>", "holds no test case"),
    "naive.xml": ('<testsuite timestamp="2026-11-02T10:00:00"><testcase name="a"/></testsuite>', "without offset"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_with_one_sentence(tmp_path: Path, name: str) -> None:
    text, said = BAD[name]
    (tmp_path / name).write_text(text)
    with pytest.raises(SourceRefused, match=said) as refused:
        parsed(tmp_path / name)
    assert name in str(refused.value)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 250


def test_bad_files_in_a_folder_are_findings_and_the_rest_lands(tmp_path: Path) -> None:
    for name, (text, _) in BAD.items():
        (tmp_path / name).write_text(text)
    written(tmp_path / "good.xml", '<testcase name="a"/>')
    pages = pulled(configured(tmp_path))
    assert [run.outcome for page in pages for run in runs(page)] == ["good"]
    refused = {finding.where: finding for page in pages for finding in page.findings}
    assert set(refused) == set(BAD)
    assert all(BAD[name][1] in finding.reason and finding.kind == "reject" for name, finding in refused.items())


def test_many_small_elements_are_read_in_a_straight_line(tmp_path: Path) -> None:
    path = written(tmp_path / "r.xml", "<property/>" * 150_000 + '<testcase name="a"/>' * 150_000)
    assert values(parsed(path), "test_success")["s", TEN] == Ratio(1, 1)


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("<testsuite/>", True),
        ('<?xml version="1.0"?>\n<!-- by x -->\n<testsuites name="a">', True),
        (LAUGHS, True),
        ("\ufeff<testsuites>", True),
        ("<project><testcase/></project>", False),
        ('<testsuites><testsuite><testcase classname="/srv/play.yml:3" name="[web1] all: Copy"/>', False),
        ('<testsuites><testsuite><testcase name="[1] adds" classname="cart.yml"/>', True),
        ('{"a": "<testsuite>"}', False),
        ("", False),
    ],
)
def test_recognised_by_content(tmp_path: Path, text: str, known: bool) -> None:
    path = tmp_path / "some"
    path.write_text(text)
    assert junit.recognise(item(path, Given())) is known


def test_every_captured_report_is_recognised() -> None:
    assert all(junit.recognise(item(path, Given())) for path in HERE.glob("*.xml"))


@pytest.mark.parametrize("uncommented", [False, True])
def test_its_example_loads(tmp_path: Path, uncommented: bool) -> None:
    text = re.sub(r"^# (?=\w+ = )", "", junit.ABOUT.example, flags=re.M) if uncommented else junit.ABOUT.example
    components = '[[component]]\nname = "checkout-api"\nkind = "service"\n[[source]]\n'
    (source,) = parse(components + text, tmp_path / "tandem.toml").sources
    assert source.config.path == tmp_path / "exports/junit/*.xml"
    assert source.common.timezone == ("Europe/Berlin" if uncommented else None)


# -- the tests that failed or flaked


def test_a_test_that_failed_or_flaked_has_an_event_of_its_run(tmp_path: Path) -> None:
    cases = (
        '<testcase classname="m" name="a" time="1.5"/><testcase classname="m" name="a" time="0.5"/>'
        '<testcase classname="m" name="b" time="0.25"><failure/></testcase>'
        '<testcase classname="m" name="c" time="9"/>'
        '<testcase classname="m" name="d" time="2"><flakyFailure/></testcase>'
        '<testcase classname="m" name="e"><skipped/></testcase>'
    )
    page = parsed(written(tmp_path / "r.xml", cases, stated=5))
    assert named(page) == [("m.a", "flaky", "1.500"), ("m.d", "flaky", "0.000"), ("m.b", "failed", "0.250")]
    (run,) = runs(page)
    tests = [record for record in page.records if isinstance(record, Event) and record is not run]
    assert {dict(one.labels)["of"] for one in tests} == {run.key}
    assert [one.outcome for one in tests] == ["good", "good", "bad"]
    assert len({one.key for one in tests}) == 3
    assert {(one.ts, dict(one.labels)["suite"], dict(one.labels)["file"]) for one in tests} == {(run.ts, "s", "r.xml")}


def test_a_broken_suite_names_few_tests_and_says_so(tmp_path: Path) -> None:
    cases = "".join(f'<testcase name="t{n}"><failure/></testcase>' for n in range(500))
    page = parsed(written(tmp_path / "r.xml", cases + '<testcase name="z"/><testcase name="z"/>', stated=501))
    assert len(named(page)) == junit.NAMED_TESTS
    assert named(page)[0][:2] == ("z", "flaky")
    assert any("are named" in reason for reason in reasons(page))
    assert counted(tmp_path, cases)[0] == Ratio(0, 500)


@pytest.mark.parametrize(
    ("properties", "commit"),
    [
        ('<properties><property name="GIT_COMMIT" value="0123456789ABCDEF0123456789abcdef01234567"/></properties>',
         "0123456789abcdef0123456789abcdef01234567"),
        ('<properties><property name="revision">1234567</property></properties>', "1234567"),
        ('<properties><property name="GIT_COMMIT" value="main"/></properties>', ""),
        ('<testcase name="x"><properties><property name="commit" value="1234567"/></properties></testcase>', ""),
        ("", ""),
    ],
)  # fmt: skip
def test_the_commit_is_what_a_property_states(tmp_path: Path, properties: str, commit: str) -> None:
    page = parsed(written(tmp_path / "r.xml", properties + '<testcase name="a"><failure/></testcase>'))
    assert {record.commit for record in page.records if isinstance(record, Event)} == {commit}


def test_a_commit_of_the_file_holds_for_its_suites(tmp_path: Path) -> None:
    path = tmp_path / "r.xml"
    path.write_text(
        '<testsuites><properties><property name="CI_COMMIT_SHA" value="abcdef1"/></properties>'
        '<testsuite name="s" timestamp="2026-11-02T10:00:00Z"><testcase name="a"/></testsuite></testsuites>'
    )
    assert [run.commit for run in runs(parsed(path))] == ["abcdef1"]
