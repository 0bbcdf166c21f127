"""Whether the sample company's models were retrained: as it was planted, with every count had again from raw rows."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest

from tandem import collect, config, report, times
from tandem.records import DAY
from tandem.report import Window
from tandem.retrained import Counts, Followed
from tandem.store.file import open_store

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
END = int(TRUTH["end"].timestamp())
PLANTED = {one["key"]: one for one in TRUTH["event"]}
RETRAINED = {one["component"]: one for one in TRUTH["retraining"]}
SOURCES = ("registry", "lineage", "log-eta-regressor", "log-query-intent")
TOLERANCE = 8
"""Minutes, as tandem.toml promises."""


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = config.load(HERE / "tandem.toml")
    found = replace(found, sources=tuple(one for one in found.sources if one.name in SOURCES))
    assert len(found.sources) == len(SOURCES)
    with open_store(tmp_path_factory.mktemp("retrained") / "tandem.duckdb") as store:
        for source in found.sources:
            assert not collect.pull(store, source, END).error
        yield SimpleNamespace(config=found, store=store)


def seconds(given: Any) -> int:
    return int(given.timestamp())


def eta(company: Any, days: int) -> Followed:
    rows = report.retrained(company, "eta-regressor", Window(END - days * DAY, END), now=END).rows
    [found] = [row for row in rows if row.onset.kind == "breach"]
    return found


def within(found: Counts) -> tuple[int, int]:
    """Of a stretch, how many labelled predictions lie within the tolerance, and how many there are.

    An error of exactly -8 belongs to the bin below, which is closed on its right.
    """
    rows = pd.read_parquet(FILES / "predictions" / "eta-regressor")
    labels = pd.read_parquet(FILES / "labels" / "eta-regressor")
    known = rows.merge(labels, on="prediction_id")
    inside = known[(pd.to_datetime(known.ts, utc=True) >= pd.Timestamp(found.since, unit="s", tz="UTC"))
                   & (pd.to_datetime(known.ts, utc=True) < pd.Timestamp(found.until, unit="s", tz="UTC"))]  # fmt: skip
    errors = inside.predicted - inside.label
    return int(((errors > -TOLERANCE) & (errors <= TOLERANCE)).sum()), len(inside)


def test_the_retrain_that_ended_the_drift_of_the_concept_is_found_and_was_better(company: Any) -> None:
    planted, told = PLANTED["concept-drift-ended-by-a-retrain"], RETRAINED["eta-regressor"]
    row = eta(company, 60)
    assert seconds(planted["start"]) < row.onset.since < seconds(planted["end"])
    assert row.training is not None
    assert row.training.started == seconds(told["began"])
    assert row.training.trigger.by == "person"
    assert row.promotion is not None
    assert row.promotion.version == told["version"] == planted["version_after"]
    assert row.promotion.since <= seconds(told["promoted"]) <= row.promotion.until
    [effect] = row.effects
    assert effect.before is not None
    assert effect.after is not None
    assert (effect.state, effect.measure) == ("better", "within tolerance")
    for side in (effect.before, effect.after):
        assert (side.good, side.total) == within(side), times.text(side.since)
    before, after = effect.before, effect.after
    (l1, u1), (l2, u2) = (binomtest(one.good, one.total).proportion_ci(method="wilson") for one in (after, before))
    p1, p2 = after.good / after.total, before.good / before.total
    low, high = ((p1 - l1) ** 2 + (u2 - p2) ** 2) ** 0.5, ((u1 - p1) ** 2 + (p2 - l2) ** 2) ** 0.5
    assert effect.interval == pytest.approx((p1 - p2 - low, p1 - p2 + high), abs=1e-9)


def test_an_onset_long_before_the_window_is_followed_back_to_its_beginning(company: Any) -> None:
    near, far = eta(company, 1), eta(company, 60)
    assert near.onset.since == far.onset.since
    assert not near.onset.early
    assert near.promotion == far.promotion


def test_the_model_that_nobody_trained_since_its_data_moved_says_so(company: Any) -> None:
    planted = PLANTED["release-shifts-a-feature"]
    found = report.retrained(company, "query-intent", Window(END - 14 * DAY, END), now=END)
    drift = next(row for row in found.rows if row.onset.kind == "drift")
    assert drift.onset.what == (planted["feature"],)
    # Hours with too few rows are judged with their whole day.
    assert 0 <= seconds(planted["start"]) - drift.onset.since < DAY
    assert drift.onset.until is None
    assert drift.trainings == RETRAINED["query-intent"]["trainings"] == 0
    assert found.sentence.startswith("No training since ")
    assert [row.effects[0].state for row in found.rows] == ["not applicable"] * len(found.rows)
