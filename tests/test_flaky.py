"""Flaky tests and builds: same commit, flip rate, minutes lost, and when one leaves the list."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from tandem import flaky
from tandem.records import DAY, HOUR, Event

T0 = 1_790_000_000 // DAY * DAY


def test_the_flip_rate_of_the_field_is_three_of_four() -> None:
    assert flaky.flip_rate([letter == "P" for letter in "PFPPF"]) == Fraction(3, 4)


@pytest.mark.parametrize(("runs", "rate"), [("", None), ("P", None), ("PP", 0), ("PF", 1), ("FFFF", 0), ("PFPF", 1)])
def test_flip_rates(runs: str, rate: float | None) -> None:
    assert flaky.flip_rate([letter == "P" for letter in runs]) == rate


@pytest.mark.parametrize(
    ("last", "after", "listed"),
    [(T0, "", True), (T0, "PPPP", True), (T0, "PPPPP", False), (T0, "PPPPFPPPP", True), (T0, "PPPPPF", False),
     (T0 - 14 * DAY, "", False), (T0 - 14 * DAY + 1, "", True), (None, "", False)],
)  # fmt: skip
def test_a_test_leaves_after_five_passes_or_fourteen_quiet_days(last: int | None, after: str, listed: bool) -> None:
    assert flaky.listed(last, [letter == "P" for letter in after], T0)[0] is listed


def named(ts: int, result: str, test: str = "t", commit: str = "", lost: str = "2.5") -> tuple[str, Event]:
    labels = (("lost", lost), ("of", f"run{ts}"), ("result", result), ("suite", "s"), ("test", test))
    return "ci", Event("test_run", f"run{ts}:{test}", ts, components=("api",), commit=commit, labels=labels)


def runs(*at: tuple[int, str]) -> dict[tuple[str, str], list[flaky.Run]]:
    return {("ci", "s"): [(ts, f"run{ts}", commit) for ts, commit in at]}


def test_a_rerun_that_passes_is_a_flake_and_loses_its_tries() -> None:
    ran = runs(*((T0 + i * HOUR, "") for i in range(5)))
    (one,) = flaky.tests([named(T0 + HOUR, "flaky"), named(T0 + 3 * HOUR, "flaky")], ran, T0, T0 + DAY)
    # P, F P, P, F P, P: seven outcomes, four of the six steps change
    assert (one.name, one.flakes, one.runs, one.flips, one.flip_rate) == ("t", 2, 7, 4, Fraction(2, 3))
    assert (one.seconds, one.last, one.listed) == (5.0, T0 + 3 * HOUR, True)


def test_failed_and_passed_in_two_runs_of_one_commit_is_a_flake() -> None:
    both = runs((T0, "abc"), (T0 + HOUR, "abc"), (T0 + 2 * HOUR, "def"))
    (one,) = flaky.tests([named(T0, "failed", commit="abc")], both, T0, T0 + DAY)
    assert (one.flakes, one.failures, one.flips, one.seconds) == (1, 1, 1, 2.5)


def test_a_test_that_failed_on_one_commit_and_passed_on_another_is_broken_and_mended() -> None:
    apart = runs((T0, "abc"), (T0 + HOUR, "def"), (T0 + 2 * HOUR, ""))
    assert flaky.tests([named(T0, "failed", commit="abc")], apart, T0, T0 + DAY) == []
    assert flaky.tests([named(T0 + 2 * HOUR, "failed")], apart, T0, T0 + DAY) == []


def test_only_flakes_of_the_window_count_and_later_runs_do_not() -> None:
    ran = runs(*((T0 + i * HOUR, "") for i in range(12)))
    said = [named(T0, "flaky"), named(T0 + 8 * HOUR, "flaky")]
    (one,) = flaky.tests(said, ran, T0 + 4 * HOUR, T0 + 12 * HOUR)
    assert (one.flakes, one.runs, one.listed) == (1, 9, True)
    assert flaky.tests(said[:1], ran, T0 + 4 * HOUR, T0 + 12 * HOUR) == []


def test_five_passes_after_the_last_flake_clear_it() -> None:
    (one,) = flaky.tests([named(T0, "flaky")], runs(*((T0 + i * HOUR, "") for i in range(6))), T0, T0 + DAY)
    assert (one.listed, one.why) == (False, "left: 5 passes in a row")


def build(
    key: str, ts: int, outcome: Any, attempt: int = 1, commit: str = "c1", job: str = "ci", took: int = 600
) -> tuple[str, Event]:
    return "hub", Event("build", key, ts, started=ts, ended=ts + took, outcome=outcome, attempt=attempt, commit=commit,
                        components=("api",), labels=(("workflow", job),))  # fmt: skip


JOBS = {("hub", "api", "ci"): (10, 4)}


def test_red_then_green_on_a_retry_is_a_flaky_build() -> None:
    (one,) = flaky.builds([build("1", T0, "bad"), build("1", T0 + HOUR, "good", 2)], JOBS, T0, T0 + DAY)
    assert (one.kind, one.name, one.flakes, one.seconds, one.flip_rate) == ("build", "ci", 1, 600.0, Fraction(4, 9))


def test_a_labelled_set_of_builds_is_sorted_rightly() -> None:
    flakes = [build("1", T0, "bad"), build("2", T0 + 60, "good")]
    green_first = [build("3", T0, "good", commit="c2"), build("4", T0 + 60, "bad", commit="c2")]
    mended = [build("5", T0, "bad", commit="c3"), build("6", T0 + 60, "good", commit="c4")]
    twice_red = [build("7", T0, "bad", commit="c5"), build("7", T0 + 60, "bad", 2, commit="c5"),
                 build("7", T0 + 120, "good", 3, commit="c5")]  # fmt: skip
    other_job = [build("8", T0, "bad", commit="c6"), build("9", T0, "good", commit="c6", job="lint")]
    found = flaky.builds([*flakes, *green_first, *mended, *twice_red, *other_job], JOBS, T0, T0 + DAY)
    assert [(one.name, one.flakes, one.failures, one.seconds) for one in found] == [("ci", 2, 3, 1800.0)]


def test_a_build_that_turned_green_outside_the_window_is_not_of_it() -> None:
    pair = [build("1", T0, "bad"), build("1", T0 + HOUR, "good", 2)]
    assert flaky.builds(pair, JOBS, T0 + 2 * HOUR, T0 + DAY) == []
    assert flaky.builds(pair, JOBS, T0, T0 + HOUR) == []
