"""What followed an onset, by pure functions: laws, and figures worked out by hand or by scipy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from tandem import retrained, slo, stood
from tandem.records import DAY, HOUR, Event
from tandem.retrained import Counts, Effect, Followed, Onset, Run, Spans, Training, Trigger

T = 1_790_000_000 // DAY * DAY


def hours(text: str, since: int = T) -> dict[int, bool]:
    """One letter per hour: D drifted, - did not, . was not judged."""
    return {since + at * HOUR: letter == "D" for at, letter in enumerate(text) if letter != "."}


def runs(text: str, seen: int | None = None) -> list[tuple[int, int | None]]:
    """The stretches in hours from T; `seen` hours were seen, all that are written unless said."""
    found = retrained.drift_runs(hours(text), T + (len(text) if seen is None else seen) * HOUR)
    return [((run.since - T) // HOUR, None if run.until is None else (run.until - T) // HOUR) for run in found]


# -- stretches of drift


def test_a_stretch_begins_with_its_first_hour_of_drift_and_ends_with_the_first_without() -> None:
    assert runs("-" * 30 + "D" * 80 + "-" * 60) == [(30, 110)]
    assert runs("-" * 30 + "D" * 80) == [(30, None)]


def test_hours_and_days_by_chance_neither_begin_nor_end_anything() -> None:
    assert runs("-" * 24 + "D" + "-" * 90) == []
    assert runs("-" * 24 + "D" * 24 + "-" * 90) == []
    assert runs("-" * 24 + "D" * 24 + "-" * 20 + "." * 4 + "-" * 90) == [], "the next day has fewer judged hours"
    assert runs("-" * 24 + "D" * 40 + "-" + "D" * 40 + "--" + "D" * 40) == [(24, None)]
    assert runs("-" * 24 + "D" * 72 + "-" * 24 + "D" * 72) == [(24, None)]


def test_some_hours_of_each_night_are_no_onset_and_most_hours_of_each_day_are_one() -> None:
    assert runs(("D" * 10 + "-" * 14) * 7) == []
    assert runs("-" * 24 + ("D" * 14 + "-" * 10) * 7) == [(24, None)]


def test_half_is_not_most() -> None:
    assert runs("-" * 24 + "D" * 36 + "-" * 96) == []
    assert runs("-" * 24 + "D" * 37 + "-" * 96) == [(24, 61)]


def test_what_is_not_over_may_still_say_otherwise() -> None:
    assert runs("-" * 30 + "D" * 36) == []
    assert runs("-" * 30 + "D" * 37) == [(30, None)]
    assert runs("-" * 30 + "D" * 90 + "-" * 36) == [(30, None)]
    assert runs("-" * 30 + "D" * 90 + "-" * 37) == [(30, 120)]
    # One batch of predictions a day: two of three, once the days have passed.
    assert runs("-" * 30 + ("D" + "." * 23) * 3) == [(30, None)]
    assert runs("-" * 30 + ("D" + "." * 23) * 2) == []
    assert runs("-" * 30 + ("D" + "." * 23) * 2 + "." * 24) == [(30, None)]
    assert runs("-" * 30 + "D" + "." * 23 + ("-" + "." * 23) * 2) == []


def test_hours_that_were_not_judged_change_nothing() -> None:
    assert runs("-" * 30 + "D" * 80 + "." * 100 + "D" * 10) == [(30, None)]
    assert runs("-" * 30 + "D" * 80 + "." * 100 + "-" * 37) == [(30, 210)]


blocks = st.tuples(st.sampled_from("D-."), st.integers(1, 40)).map(lambda one: one[0] * one[1])
marks = st.lists(blocks, max_size=12).map("".join)


@given(marks)
def test_stretches_lie_apart_begin_with_drift_and_end_without(text: str) -> None:
    of = hours(text)
    found = retrained.drift_runs(of, T + len(text) * HOUR)
    for one in found:
        assert of[one.since]
        assert one.until is None or not of[one.until]
    for one, later in pairwise(found):
        assert one.until is not None
        assert one.since < one.until < later.since


@given(marks, st.integers(0, 480))
def test_what_was_told_once_is_never_taken_back(text: str, cut: int) -> None:
    then, now = runs(text[:cut]), dict(runs(text))
    for since, until in then:
        assert since in now
        assert until is None or now[since] == until


@given(marks, st.integers(-500, 500))
def test_stretches_move_with_time(text: str, by: int) -> None:
    here = retrained.drift_runs(hours(text), T + len(text) * HOUR)
    there = retrained.drift_runs(hours(text, T + by * HOUR), T + (len(text) + by) * HOUR)
    moved = [(run.since + by * HOUR, run.until if run.until is None else run.until + by * HOUR) for run in here]
    assert [(run.since, run.until) for run in there] == moved


# -- breaches


def test_breaches_less_than_a_day_apart_are_one() -> None:
    ends = {T + at * HOUR: at in (5, 6, 20, 60) for at in range(80)}
    assert retrained.breach_runs(ends) == [Run(T + 5 * HOUR, T + 21 * HOUR), Run(T + 60 * HOUR, T + 61 * HOUR)]
    assert retrained.breach_runs({T + at * HOUR: at >= 5 for at in range(9)}) == [Run(T + 5 * HOUR, None)]
    assert retrained.breach_runs({T: True, T + 90 * HOUR: True}) == [Run(T, None)]  # nothing was said in between


def test_features_that_begin_within_a_day_are_one_onset() -> None:
    of = {
        "amount": [Run(T + 5 * HOUR, T + 50 * HOUR)],
        "items": [Run(T + 28 * HOUR, T + 40 * HOUR), Run(T + 30 * DAY, None)],
        "late": [Run(T + 29 * HOUR, None)],
    }
    found = retrained.grouped(of, T - 9 * DAY)
    assert [(one.what, one.since, one.until) for one in found] == [
        (("amount", "items"), T + 5 * HOUR, T + 50 * HOUR), (("late",), T + 29 * HOUR, None),
        (("items",), T + 30 * DAY, None),
    ]  # fmt: skip
    assert [one.early for one in found] == [False] * 3
    assert [one.early for one in retrained.grouped(of, T)] == [True, False, False]
    assert found[0].said == "the onset of data drift in amount and 1 more feature"
    assert found[0].resembles(found[2])
    assert not found[0].resembles(found[1])


def test_a_breach_of_the_objective_on_drift_is_told_once() -> None:
    drift = Onset("drift", ("amount",), T, T + DAY)
    during, before, after = (
        Onset("breach", ("fraud drift",), T + at * HOUR, None, "drift") for at in (5, -5, 24)
    )  # fmt: skip
    assert retrained.apart([during, before, after], [drift]) == [before, after]
    assert retrained.apart([during], [Onset("breach", ("fraud accuracy",), T, None, "outcome")]) == [during]


# -- how an objective stood, against the window table applied to raw events


TARGET = Fraction(9, 10)
PAGES = tuple(rule for rule in slo.in_force(TARGET) if rule.severity == "page")


def by_hand(counts: Mapping[int, tuple[int, int]], end: int) -> bool | None:
    """terms.md 2: overspent over 28 days, or both windows strictly above the factor on at least 5 bad ones."""

    def over(seconds: int) -> tuple[int, int]:
        inside = [pair for start, pair in counts.items() if end - seconds <= start < end]
        return sum(total - good for good, total in inside), sum(total for _, total in inside)

    bad, total = over(28 * DAY)
    if not total:
        return None
    if Fraction(bad, total) > 1 - TARGET:
        return True
    # A 90 % target cannot burn 14.4 times: the reachable factors are min(factor, 0.5 / (1 - target)) = 5.
    for long, short in ((HOUR, 300), (6 * HOUR, 1800)):
        (long_bad, long_total), (short_bad, short_total) = over(long), over(short)
        if (
            long_bad >= 5
            and Fraction(long_bad, long_total) / (1 - TARGET) > 5
            and short_total
            and (Fraction(short_bad, short_total) / (1 - TARGET) > 5)
        ):
            return True
    return False


@given(st.lists(st.tuples(st.integers(0, 40 * 288), st.integers(0, 9), st.integers(1, 9)), max_size=120))
def test_an_objective_stood_as_the_window_table_says(given: list[tuple[int, int, int]]) -> None:
    counts = {T + at * 300: (min(good, total), total) for at, good, total in given}
    coarse: dict[int, tuple[int, int]] = {}
    for start, (good, total) in counts.items():
        before = coarse.get(start // HOUR * HOUR, (0, 0))
        coarse[start // HOUR * HOUR] = before[0] + good, before[1] + total
    promise = stood.Promise(TARGET, PAGES, slo.EVIDENCE, Fraction(0), lambda end: (end - 28 * DAY, 28 * DAY, None))
    ends = sorted({start // HOUR * HOUR + after * HOUR for start in counts for after in (1, 2, 6, 700)})
    possible = stood.possible(promise, stood.Tally(coarse, HOUR), ends)
    left = [end for end, mark in possible.items() if mark is None]
    settled = stood.settled(promise, stood.Tally(coarse, HOUR), stood.Tally(counts, 300), left)
    found = {**possible, **settled}
    expected = {end: mark for end in ends if (mark := by_hand(counts, end)) is not None}
    assert found == expected
    stretches = stood.around(promise, left)
    assert all(any(low <= end - 1800 and end <= high for low, high in stretches) for end in left)


# -- trainings


@pytest.mark.parametrize(
    ("word", "actor", "said"),
    [
        ("schedule", "", "schedule"), ("Scheduled", "", "schedule"), ("cron", "ana", "schedule"),
        ("manual", "ana", "person"), ("workflow_dispatch", "ana", "person"),
        ("workflow_dispatch", "renovate[bot]", "other: workflow_dispatch"), ("asset_triggered", "", "data"),
        ("data-drift", "", "drift"), ("push", "", "code"), ("pull_request", "", "code"), ("api", "", "other: api"),
        ("backfill", "", "other: backfill"), ("", "", "not said"), ("", "trainer", "not said"),
        ("<b>x</b>", "", "other: <b>x</b>"),
    ],
)  # fmt: skip
def test_a_trigger_is_the_systems_own_word(word: str, actor: str, said: str) -> None:
    found = retrained.trigger(word, actor)
    assert (found.said, found.word, found.actor) == (said, word, actor)


def trained(key: str, at: int, **more: Any) -> Event:
    fields: dict[str, Any] = {"run": key, "started": at, "ended": at + HOUR, **more}
    return Event("training", key, at, **fields)


def test_a_run_that_two_sources_tell_of_is_one() -> None:
    told = [("mlflow", trained(ONE, T, actor="trainer")), ("airflow", trained(ONE, T - 60, trigger="scheduled")),
            ("airflow", trained("r2", T - DAY, run=""))]  # fmt: skip
    found = retrained.trainings(told)
    assert [(one.key, one.started, one.trigger) for one in found] == [
        ("r2", T - DAY, Trigger("", "", "")), (ONE, T, Trigger("schedule", "scheduled", "trainer"))]  # fmt: skip


def test_what_follows_began_at_or_after_and_before_the_same_began_again() -> None:
    some = retrained.trainings([("m", trained(str(at), T + at * HOUR)) for at in (-1, 0, 5, 9)])
    onset = Onset("drift", ("amount",), T, None)
    assert [one.key for one in retrained.following(onset, some, None)] == ["0", "5", "9"]
    assert [one.key for one in retrained.following(onset, some, T + 9 * HOUR)] == ["0", "5"]


ONE, TWO = "a1b2c3d4" * 4, "b1b2c3d4" * 4
"""Run ids as MLflow writes them."""
MADE, OTHER = f"sha256:{'12345678' * 8}", f"sha256:{'87654321' * 8}"


def promotion(at: int, latest: int | None = None, **more: Any) -> Event:
    fields: dict[str, Any] = {"version": "8", "labels": (("alias", "champion"), ("model", "fraud")), **more}
    return Event("promotion", f"p{at}", at, ts_latest=latest, **fields)


def release(version: str = "8", **more: Any) -> Event:
    return Event("release", f"fraud/{version}", T, version=version, labels=(("model", "fraud"),), **more)


RUN = retrained.trainings([("m", trained(ONE, T, digest=MADE))])[0]


def test_a_promotion_is_joined_by_digest_or_run_and_never_by_a_version_alone() -> None:
    def found(*events: Event, source: str = "m", run: Training = RUN) -> Any:
        one = retrained.promoted(run, [(source, event) for event in events])
        return None if one is None else (one.version, one.since, one.until, one.joined.split(",")[0][:16])

    at = ("8", T + DAY, T + DAY)
    assert found(promotion(T + DAY, run=ONE)) == (*at, "joined by run id")
    assert found(promotion(T + DAY, run=TWO)) is None
    assert found(promotion(T + DAY)) is None
    assert found(promotion(T + DAY), release(run=ONE)) == (*at, "joined by run id")
    assert found(promotion(T + DAY), release("9", run=ONE)) is None
    other = promotion(T + DAY, labels=(("alias", "champion"), ("model", "clicks")))
    assert found(other, release(run=ONE)) is None, "version 8 of another registered model"
    assert retrained.promoted(RUN, [("a", promotion(T + DAY)), ("b", release(run=ONE))]) is None
    assert found(promotion(T + DAY, digest=MADE), source="elsewhere") == (*at, "joined by digest")
    assert found(promotion(T + DAY, digest=OTHER), source="elsewhere") is None
    # A run id that could be any system's joins only inside its own.
    twelve = retrained.trainings([("m", trained("12", T))])[0]
    assert found(promotion(T + DAY, run="12"), run=twelve) == (*at, "joined by run id")
    assert found(promotion(T + DAY, run="12"), run=twelve, source="elsewhere") is None
    # One commit may be trained often.
    commit = retrained.trainings([("m", trained("r", T, commit="c" * 40))])[0]
    assert found(promotion(T + DAY, commit="c" * 40), run=commit) is None


def test_no_version_is_promoted_before_its_training_began() -> None:
    wide = retrained.promoted(RUN, [("m", promotion(T - DAY, T + DAY, run=ONE))])
    assert wide is not None
    assert (wide.since, wide.until) == (T, T + DAY)
    assert retrained.promoted(RUN, [("m", promotion(T - DAY, run=ONE))]) is None


def test_the_training_told_of_is_the_first_that_was_promoted_else_the_first() -> None:
    some = retrained.trainings([("m", trained(key, T + at * HOUR)) for at, key in enumerate(("a", "b", "c"))])
    told = [("m", promotion(T + 2 * DAY, run="c")), ("m", promotion(T + DAY, run="b"))]
    one, made = retrained.chosen(some, told)
    assert (one and one.key, made and made.since) == ("b", T + DAY)
    assert retrained.chosen(some, []) == (some[0], None)
    assert retrained.chosen([], told) == (None, None)


# -- before and after


def test_stretches_are_as_long_before_as_after_and_hold_nothing_of_the_interval() -> None:
    at = T + 10 * DAY + 1200
    found = retrained.spans(T, (at, at + 2 * HOUR), None, T + 40 * DAY)
    assert found == Spans((T + 3 * DAY, T + 10 * DAY), (T + 10 * DAY + 3 * HOUR, T + 17 * DAY + 3 * HOUR))
    # No longer than since the onset, no further than the next promotion, no further than labels have come.
    assert retrained.spans(T + 9 * DAY, (at, at), None, T + 40 * DAY) == Spans(
        (T + 9 * DAY, T + 10 * DAY), (T + 10 * DAY + HOUR, T + 11 * DAY + HOUR))  # fmt: skip
    next_one = retrained.spans(T, (at, at), T + 12 * DAY, T + 40 * DAY)
    assert next_one == Spans((T + 8 * DAY + HOUR, T + 10 * DAY), (T + 10 * DAY + HOUR, T + 12 * DAY))
    ripe = retrained.spans(T, (at, at), None, T + 12 * DAY + 100)
    assert ripe == Spans((T + 8 * DAY + HOUR, T + 10 * DAY), (T + 10 * DAY + HOUR, T + 12 * DAY))


def test_too_early_is_said_with_what_is_missing() -> None:
    at = T + 10 * DAY
    found = retrained.spans(T, (at, at), None, at + 23 * HOUR)
    assert found == Effect("too early to tell", "23 of the 24 hours after the promotion that it takes are there")
    assert isinstance(retrained.spans(T, (at, at), None, at + 24 * HOUR), Spans)
    behind = retrained.spans(T, (at, at), None, at - 5 * DAY)
    assert isinstance(behind, Effect)
    assert behind.reason.startswith("0 of the 24 hours")
    # Retrained within three hours: three hours are all that there is to compare.
    assert isinstance(retrained.spans(at - 3 * HOUR, (at, at), None, at + 3 * HOUR), Spans)
    short = retrained.spans(at - 1800, (at, at), None, at + DAY)
    assert isinstance(short, Effect)
    assert (short.state, short.reason) == (
        "not enough evidence", "no whole hour lies between the onset and the promotion")  # fmt: skip
    replaced = retrained.spans(T, (at, at), at + 1800, at + DAY)
    assert isinstance(replaced, Effect)
    assert replaced.reason == "no whole hour lies between the promotion and the next one"


@given(
    st.integers(0, 400), st.integers(0, 200_000), st.integers(0, 50_000), st.integers(0, 10**6), st.integers(0, 10**6)
)
def test_stretches_are_equal_whole_and_ripe(onset: int, wait: int, wide: int, known: int, later: int) -> None:
    since = T + onset
    at = (since + wait, since + wait + wide)
    following = at[1] + later
    found = retrained.spans(since, at, following, at[1] + known)
    if isinstance(found, Effect):
        return
    (a, b), (c, d) = found.before, found.after
    assert b - a == d - c > 0
    assert all(one % HOUR == 0 for one in (a, b, c, d))
    assert since <= a < b <= at[0] <= at[1] <= c < d <= min(following, at[1] + known)
    assert d - c <= 7 * DAY


def newcombe(k1: int, n1: int, k2: int, n2: int) -> tuple[float, float]:
    """Newcombe's hybrid from scipy's own Wilson intervals."""
    (l1, u1), (l2, u2) = (tuple(binomtest(k, n).proportion_ci(method="wilson")) for k, n in ((k1, n1), (k2, n2)))
    p1, p2 = k1 / n1, k2 / n2
    return p1 - p2 - math.hypot(p1 - l1, u2 - p2), p1 - p2 + math.hypot(u1 - p1, p2 - l2)


def counts(good: int, total: int) -> Counts:
    return Counts(T, T + DAY, good, total)


def test_an_effect_is_the_difference_with_newcombes_interval() -> None:
    found = retrained.effect("accuracy", "predictions", counts(40, 200), counts(80, 200))
    assert found.change == pytest.approx(float(Fraction(80, 200) - Fraction(40, 200)))
    assert found.interval == pytest.approx((0.110671, 0.285080), abs=1e-6)  # terms.md 2.8
    assert found.interval == pytest.approx(newcombe(80, 200, 40, 200), abs=1e-9)
    assert found.state == "better"
    assert retrained.effect("", "", counts(80, 200), counts(40, 200)).state == "worse"
    even = retrained.effect("", "", counts(6, 8), counts(3, 6))  # terms.md 5: its interval includes 0
    assert even.state == "not enough evidence"
    assert even.interval == pytest.approx((-0.609796, 0.212252), abs=1e-6)
    nothing = retrained.effect("", "", counts(6, 8), counts(0, 0))
    assert (nothing.state, nothing.reason) == ("not enough evidence", "nothing was counted after the promotion")


def test_what_is_only_known_within_bounds_widens_the_interval() -> None:
    before, after = Counts(T, T, 40, 200, 60), Counts(T, T, 80, 200, 90)
    found = retrained.effect("", "", before, after)
    assert found.change == pytest.approx(0.2)
    assert found.interval is not None
    assert found.interval == pytest.approx((newcombe(80, 200, 60, 200)[0], newcombe(90, 200, 40, 200)[1]), abs=1e-9)
    assert found.state == "better"
    wide = retrained.effect("", "", replace(before, most=79), after)
    assert wide.state == "not enough evidence"


def test_hours_of_a_day_hang_together_and_count_for_one_in_the_interval() -> None:
    """One day of 42 that drifted, 24 hours with one verdict, tells nothing; as 1,008 hours it would."""
    before, after = Counts(T, T, 1008, 1008, None, 42), Counts(T, T, 984, 1008, None, 42)
    found = retrained.effect("", "", before, after)
    assert found.change == pytest.approx(-24 / 1008)
    assert found.interval == pytest.approx(newcombe(41, 42, 42, 42), abs=1e-8)
    assert found.state == "not enough evidence"
    assert retrained.effect("", "", replace(before, days=None), replace(after, days=None)).state == "worse"
    assert before.interval == pytest.approx(tuple(binomtest(42, 42).proportion_ci(method="wilson")), abs=1e-8)
    few = Counts(T, T, 3, 4, None, 9)  # never more than there are
    assert few.interval == slo.wilson(3, 4)


ratio = st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))


@given(ratio, ratio)
def test_an_effect_turns_with_its_sides(one: tuple[int, int], other: tuple[int, int]) -> None:
    there, back = (retrained.effect("", "", counts(*a), counts(*b)) for a, b in ((one, other), (other, one)))
    assert there.change == pytest.approx(-(back.change or 0.0))
    assert there.interval is not None
    assert back.interval is not None
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-12)
    states = {"better": "worse", "worse": "better"}
    assert back.state == states.get(there.state, there.state)
    low, high = newcombe(*other, *one)
    assert (there.state != "not enough evidence") == (not low <= 1e-12 or not high >= -1e-12)


# -- the sentence


ONSET = Onset("drift", ("amount_usd",), T, None)


def said(*rows: Followed, reported: bool = True) -> str:
    return retrained.sentence(rows, reported, "fraud", 28, T + 6 * DAY + HOUR)


def test_a_model_with_no_training_since_its_last_onset_says_so() -> None:
    assert said(Followed(ONSET)) == "No training since the onset of data drift in amount_usd 6 days ago."
    older = Followed(Onset("breach", ("fraud accuracy",), T - 9 * DAY, None), RUN, 1)
    assert said(older, Followed(ONSET)).startswith("No training since the onset of data drift")
    assert said(Followed(Onset("breach", ("fraud accuracy",), T, None))) == (
        "No training since the breach of fraud accuracy 6 days ago.")  # fmt: skip


def test_silence_is_not_said_to_be_no_training() -> None:
    assert said(Followed(ONSET), reported=False).startswith("No source tells of trainings of fraud")
    late = said(Followed(ONSET, unknown="registry has told nothing since 2026-09-01"))
    assert late.startswith("Not known whether a training followed the onset of data drift in amount_usd 6 days ago")
    assert said() == "Neither data drift nor a breach of fraud began in this window or the 28 days before it."


def test_what_followed_is_said_in_order_and_blames_nobody() -> None:
    assert said(Followed(ONSET, RUN, 2)) == (
        "2 trainings since the onset of data drift in amount_usd 6 days ago; no promotion is joined to any of them."
    )
    made = retrained.promoted(RUN, [("m", promotion(T + DAY, run=ONE))])
    whole = said(Followed(ONSET, RUN, 1, made))
    assert whole == "1 training since the onset of data drift in amount_usd 6 days ago; version 8 was promoted."
    assert not {"because", "caused", "due", "thanks", "fixed"} & set(whole.split())


def test_why_nothing_is_compared() -> None:
    assert retrained.without(None).state == "not applicable"
    assert retrained.without(RUN).state == "no promotion yet"
    failed = Training("k", "", T, T, "bad", Trigger(""))
    assert retrained.without(failed) == Effect("no promotion yet", "it failed")
