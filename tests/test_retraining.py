"""What followed an onset, from a store: drift that is certain by construction, breaches, trainings and promotions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scipy.stats import binomtest

from tandem import api, collect, printed, report, retraining, times
from tandem.bins import Layout
from tandem.config import Component
from tandem.measure import Filters, Measures
from tandem.objectives import Objective
from tandem.records import (
    DAY,
    HOUR,
    Baseline,
    Confusion,
    Covered,
    Event,
    Fact,
    Histogram,
    Page,
    Ratio,
    Record,
    Series,
)
from tandem.retrained import Retrained
from tandem.shown import Unreadable, Window
from tandem.store.file import Store
from tandem.store.read import Reader
from tests import fakes
from tests.fakes import saying, source

NOW = fakes.NOW // DAY * DAY
ONSET = NOW - 20 * DAY + 9 * HOUR
STARTED = NOW - 14 * DAY - 6 * HOUR
PROMOTED = (NOW - 14 * DAY, NOW - 14 * DAY + 2 * HOUR)
RUN = "a1b2c3d4" * 4
WEEK = Window(NOW - 7 * DAY, NOW)
MONTH = Window(NOW - 28 * DAY, NOW)
COLOURS = Layout(kind="categories", values=("red", "blue"))
FRAUD = {"component": "fraud"}


def colours(red: int, blue: int) -> Histogram:
    return Histogram(COLOURS, {0: red, 1: blue}, {0: 0, 1: 0})


def feature(name: str, drifted: Sequence[tuple[int, int]], until: int = NOW) -> Iterator[Record]:
    """500 rows an hour, half of them red: four fifths while it drifts, far beyond any threshold and floor."""
    series = Series("feature", name=name, **FRAUD)
    yield Baseline(series, colours(5000, 5000), NOW - 90 * DAY, NOW - 60 * DAY)
    for ts in range(NOW - 40 * DAY, until, HOUR):
        bad = any(since <= ts < end for since, end in drifted)
        yield Fact(series, ts, colours(400, 100) if bad else colours(250, 250))


def outcomes(right: Sequence[tuple[int, int, int]], until: int = NOW) -> Iterator[Record]:
    """20 labelled predictions late in each hour of which so many are right as is said of [since, until), else 19."""
    series = Series("outcome", version="7", **FRAUD)
    for ts in range(NOW - 40 * DAY, until, HOUR):
        k = next((n for since, end, n in right if since <= ts < end), 19)
        yield Fact(series, ts + 3300, Confusion({("1", "1"): k, ("0", "1"): 20 - k}))


def training(at: int = STARTED, key: str = RUN, **more: Any) -> Event:
    fields: dict[str, Any] = {"run": key, "started": at, "ended": at + HOUR, "components": ("fraud",), "trigger": "schedule", "actor": "trainer", "title": "nightly"}  # fmt: skip # noqa: E501
    return Event("training", key, at, **{**fields, **more})


def promotion(between: tuple[int, int] = PROMOTED, **more: Any) -> Event:
    fields: dict[str, Any] = {"version": "8", "run": RUN, "labels": (("alias", "champion"), ("model", "fraud"))}
    return Event("promotion", f"p{between[0]}", between[0], ts_latest=between[1], components=("fraud",),
                 **{**fields, **more})  # fmt: skip


ACCURACY = Objective("fraud", "accuracy", Fraction(9, 10))


class House:
    """A store of one model, and what its page would be asked."""

    def __init__(self, folder: Path, records: Sequence[Record], objectives: Sequence[Objective] = (ACCURACY,)) -> None:
        self.store = Store(folder / "tandem.duckdb")
        self.source = source(saying([Page(list(records), covered=[Covered(NOW - 90 * DAY, NOW)])]), name="registry")
        done = collect.pull(self.store, self.source, NOW)
        assert not done.error, done.error
        parts = (Component("fraud", "model", "shop"), Component("api", "service", "shop"))
        config = fakes.config(folder, self.source, components=parts, objectives=objectives)
        self.context: Any = SimpleNamespace(config=config, store=self.store, now=lambda: NOW)

    def retrained(self, window: Window = WEEK, **asked: Any) -> Retrained:
        return report.retrained(self.context, "fraud", window, now=NOW, **asked)

    def shown(self, component: str = "fraud", window: Window = WEEK) -> dict[str, Any]:
        return report.show(self.context, component, window, now=NOW)

    def close(self) -> None:
        self.store.close()


@pytest.fixture(scope="module")
def drifting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Drift since ONSET, trained by schedule, promoted two weeks ago; since then the model answers right again."""
    found = House(tmp_path_factory.mktemp("drifting"), [
        *feature("amount", [(ONSET, NOW)]), *feature("steady", [(NOW - 25 * DAY, NOW - 25 * DAY + 6 * HOUR)]),
        *outcomes([(ONSET, PROMOTED[1], 14)]), training(), promotion(),
    ])  # fmt: skip
    yield found
    found.close()


def test_an_onset_is_the_first_hour_that_drifted_however_wide_the_window(drifting: House) -> None:
    for window in (WEEK, MONTH, Window(NOW - DAY, NOW)):
        [row] = [one for one in drifting.retrained(window).rows if one.onset.kind == "drift"]
        assert (row.onset.what, row.onset.since, row.onset.until) == (("amount",), ONSET, None)


def test_by_what_it_was_trained_and_when_it_was_promoted(drifting: House) -> None:
    row = next(one for one in drifting.retrained().rows if one.onset.kind == "drift")
    assert row.training is not None
    assert (row.training.started, row.training.ended, row.training.trigger.said) == (
        STARTED,
        STARTED + HOUR,
        "schedule",
    )
    assert (row.training.trigger.actor, row.training.source, row.trainings) == ("trainer", "registry", 1)
    assert row.promotion is not None
    assert (row.promotion.version, row.promotion.since, row.promotion.until) == ("8", *PROMOTED)
    assert row.promotion.joined.startswith("joined by run id")


def test_before_and_after_are_the_same_signal_over_equal_lengths(drifting: House) -> None:
    row = next(one for one in drifting.retrained().rows if one.onset.kind == "drift")
    drift, quality = row.effects
    # From the onset to the promotion lie 5 days and 15 hours, less than a week.
    length = PROMOTED[0] - ONSET
    hours = length // HOUR
    assert drift.before is not None
    assert drift.after is not None
    assert (drift.before.since, drift.before.until) == (ONSET, PROMOTED[0])
    assert (drift.after.since, drift.after.until) == (PROMOTED[1], PROMOTED[1] + length)
    assert (drift.before.good, drift.before.total, drift.after.good, drift.after.total) == (0, hours, 0, hours)
    assert (drift.before.days, drift.after.days) == (6, 6)
    assert drift.state == "not enough evidence"  # the feature still drifts: no training changes what comes in
    assert quality.before is not None
    assert quality.after is not None
    assert (quality.before.good, quality.before.total) == (14 * hours, 20 * hours)
    assert (quality.after.good, quality.after.total) == (19 * hours, 20 * hours)
    assert quality.change == pytest.approx(0.25)
    (l1, u1), (l2, u2) = (binomtest(k * hours, 20 * hours).proportion_ci(method="wilson") for k in (19, 14))
    low = 0.25 - ((0.95 - l1) ** 2 + (u2 - 0.7) ** 2) ** 0.5
    high = 0.25 + ((u1 - 0.95) ** 2 + (0.7 - l2) ** 2) ** 0.5
    assert quality.interval == pytest.approx((low, high), abs=1e-9)
    assert quality.state == "better"


def test_each_number_is_what_show_prints_for_that_window(drifting: House) -> None:
    for row in drifting.retrained(MONTH).rows:
        for effect in row.effects:
            for side in (effect.before, effect.after):
                if side is None or effect.measure != "accuracy":
                    continue
                [said] = [one for one in drifting.shown(window=Window(side.since, side.until))["signals"]
                          if one["signal"] == "outcome"]  # fmt: skip
                assert (said["good"], said["total"]) == (side.good, side.total)


def test_a_breach_begins_when_the_objective_stood_breached_as_judged_at_that_moment(drifting: House) -> None:
    [row] = [one for one in drifting.retrained(MONTH).rows if one.onset.kind == "breach"]
    onset = row.onset
    assert onset.what == ("fraud accuracy",)

    def state(now: int) -> str:
        """As the page says it of a window that ends there."""
        reader = Reader(drifting.store)
        measures = Measures(reader, drifting.context.config, Window(now - DAY, now), now, Filters())
        cells = [report.cards.cell(measures, one) for one in measures.answers(measures.asked(["fraud"], ["outcome"]))]
        return cells[0].state

    # 30 % bad never burn 5 times a budget of 10 %, so it is breached when the budget is gone: 5 % were bad in the 20
    # days and 9 hours before, so t days after the onset 0.05 + 0.25 t / (20.375 + t) exceeds 0.1 from t = 5.09 on.
    assert onset.since == ONSET + 123 * HOUR
    assert state(onset.since) == "breached"
    assert state(onset.since - HOUR) != "breached"
    marks = retraining._Model(_measures(drifting), "fraud")
    [answer] = [one for one in marks.answers if one.asked.signal.name == "outcome"]
    stood = marks._stood(answer)
    for end in list(stood)[:: 24 * 5 + 7]:
        assert stood[end] == (state(end) == "breached"), times.text(end)
    assert row.effects[0].state == "better"
    assert row.effects[0].measure == "accuracy"


def _measures(house: House) -> Measures:
    return Measures(Reader(house.store), house.context.config, WEEK, NOW, Filters())


def test_json_and_text_say_the_same(drifting: House) -> None:
    found = drifting.shown()
    training = found["training"]
    assert list(training) == ["sentence", "reported", "sources", "told", "from", "to", "onsets"]
    drift = next(one for one in training["onsets"] if one["kind"] == "drift")
    assert drift["features"] == ["amount"]
    assert drift["since"] == times.text(ONSET)
    assert drift["training"]["by"] == "schedule"
    assert drift["promotion"]["interval"] == {"from": times.text(PROMOTED[0]), "to": times.text(PROMOTED[1])}
    assert [one["state"] for one in drift["effects"]] == ["not enough evidence", "better"]
    assert json.loads(api.dumps(found))["training"] == json.loads(json.dumps(training))
    said = printed.shown([found])
    assert training["sentence"] in said
    assert "schedule" in said
    assert drifting.shown("api")["training"] is None


def test_the_weekly_review_says_it_of_a_model_that_drifted_meanwhile(drifting: House) -> None:
    text = report.begun(drifting.context, WEEK, now=NOW).text
    lines = text.partition("## Retraining")[2].partition("##")[0].split("\n")
    assert [line for line in lines if line.startswith("- ")] == [f"- **fraud**: {drifting.retrained().sentence}"]
    quiet = report.begun(drifting.context, Window(NOW - 27 * DAY, NOW - 24 * DAY), now=NOW).text
    assert "Nothing." in quiet.partition("## Retraining")[2].partition("##")[0]


def test_an_unknown_model_is_said_to_be_unknown(drifting: House) -> None:
    for name in ("nobody", "api"):
        with pytest.raises(Unreadable, match="no such model"):
            report.retrained(drifting.context, name, WEEK, now=NOW)


def test_as_of_an_earlier_load_nothing_of_it_is_known(drifting: House) -> None:
    assert drifting.retrained(as_of=0).rows == ()


# -- what is not there


@pytest.fixture
def house(tmp_path: Path) -> Iterator[Any]:
    opened: list[House] = []

    def make(*records: Record, **more: Any) -> House:
        opened.append(House(tmp_path, records, **more))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_no_training_since_the_last_onset_is_said_plainly(house: Any) -> None:
    earlier = training(ONSET - HOUR)
    found = house(*feature("amount", [(ONSET, NOW)]), earlier).retrained()
    assert found.sentence == "No training since the onset of data drift in amount 19 days ago."
    assert [(row.training, row.effects[0].state) for row in found.rows] == [(None, "not applicable")]


def test_no_source_of_trainings_is_not_no_training(house: Any) -> None:
    found = house(*feature("amount", [(ONSET, NOW)])).retrained()
    assert found.sources == ()
    assert found.sentence.startswith("No source tells of trainings of fraud")
    assert found.rows[0].unknown


def test_a_source_that_fell_silent_before_the_onset_says_nothing_of_trainings(house: Any, tmp_path: Path) -> None:
    made = house(*feature("amount", [(ONSET, NOW)]))
    old = source(saying([Page([training(ONSET - 5 * DAY)], covered=[Covered(NOW - 60 * DAY, ONSET - DAY)])]),
                 name="mlflow", scope="old")  # fmt: skip
    assert not collect.pull(made.store, old, NOW).error
    made.context.config = replace(made.context.config, sources=(*made.context.config.sources, old))
    found = made.retrained()
    assert found.sentence == (
        "Not known whether a training followed the onset of data drift in amount 19 days ago: mlflow told nothing "
        f"after {times.text(ONSET - DAY)}."
    )


def test_promotions_that_do_not_serve_and_other_environments_are_none(house: Any) -> None:
    staged = promotion(environment="staging")
    challenger = promotion((PROMOTED[0] + 60, PROMOTED[1]), labels=(("alias", "challenger"), ("model", "fraud")))
    found = house(*feature("amount", [(ONSET, NOW)]), training(), staged, challenger).retrained()
    assert found.rows[0].promotion is None
    assert found.rows[0].effects[0].state == "no promotion yet"


def test_too_early_is_said_until_labels_have_come(house: Any) -> None:
    """Labels arrive after two days: what was predicted since a promotion yesterday is not ripe."""
    late = (NOW - DAY - 6 * HOUR, NOW - DAY - 5 * HOUR)
    coverage = [Fact(Series("label_coverage", version="7", **FRAUD), ts, Ratio(20 if ts < NOW - 2 * DAY else 0, 20))
                for ts in range(NOW - 28 * DAY, NOW, HOUR)]  # fmt: skip
    found = house(*feature("amount", [(ONSET, NOW)]), *outcomes([], NOW - 2 * DAY), *coverage, training(),
                  promotion(late)).retrained()  # fmt: skip
    drift, quality = found.rows[0].effects
    assert drift.before is not None  # features need no labels: 29 hours of them are there
    assert drift.before.total == 29
    assert (quality.state, quality.reason) == (
        "too early to tell", "0 of the 24 hours after the promotion that it takes are there")  # fmt: skip


def test_the_next_promotion_ends_what_comes_after(house: Any) -> None:
    again = promotion((PROMOTED[1] + 3 * DAY, PROMOTED[1] + 3 * DAY), version="9", run="b" * 8 + RUN[8:])
    found = house(*feature("amount", [(ONSET, NOW)]), training(), promotion(), again).retrained()
    after = found.rows[0].effects[0].after
    assert after is not None
    assert (after.since, after.until) == (PROMOTED[1], PROMOTED[1] + 3 * DAY)


def test_trainings_of_another_onset_of_the_same_belong_to_that_one(house: Any) -> None:
    later = NOW - 6 * DAY
    found = house(*feature("amount", [(ONSET, ONSET + 3 * DAY), (later, NOW)]), training(later + DAY)).retrained(MONTH)
    told = [(row.onset.since, row.trainings) for row in found.rows if row.onset.kind == "drift"]
    assert told == [(later, 1), (ONSET, 0)]


def test_hostile_names_stay_data(house: Any) -> None:
    bad = "<img src=x onerror=alert(1)>\x1b[31m"
    found = house(*feature("amount", [(ONSET, NOW)]), training(trigger=bad, actor=bad, title=bad)).shown()
    assert found["training"]["onsets"][0]["training"]["trigger"] == bad
    assert "\x1b" not in printed.shown([found])


@pytest.mark.parametrize(
    "promise",
    [
        Objective("fraud", "accuracy", Fraction(9, 10), window="month"),
        Objective("fraud", "accuracy", Fraction(9, 10), slice="1h", slice_target=Fraction(8, 10)),
        Objective("fraud", "precision", Fraction(8, 10)),
        Objective("fraud", "accuracy", Fraction(9, 10), base=Fraction(3, 100)),
    ],
    ids=["month", "slices", "precision", "excess"],
)
def test_every_form_of_objective_is_judged_as_it_stands(house: Any, promise: Objective) -> None:
    made = house(*outcomes([(ONSET, ONSET + 3 * DAY, 6)]), training(), objectives=(promise,))
    model = retraining._Model(_measures(made), "fraud")
    [answer] = [one for one in model.answers if one.asked.objective is promise]
    stood = model._stood(answer)
    assert any(stood.values())
    for end in list(stood)[:: 24 * 4 + 5]:
        measures = Measures(Reader(made.store), made.context.config, Window(end - DAY, end), end, Filters())
        cell = report.cards.cell(measures, measures.answers(measures.asked(["fraud"], ["outcome"]))[0])
        assert stood[end] == (cell.state == "breached"), (times.text(end), cell.state, cell.reason)
