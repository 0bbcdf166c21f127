"""One model judged by Tandem from its log, by Evidently and by NannyML at once, each read by its own connector."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import ks_2samp

from tandem import collect, printed, report
from tandem.config import load
from tandem.records import DAY, HOUR
from tandem.shown import Window
from tandem.store.file import Store
from tests.evidently_server import Evidently, checked, drift, quality, rows
from tests.replay import serve

BEGIN = 1_793_491_200
"""2026-11-01T00:00:00Z"""
DAYS, EACH = 3, 2400
NOW = BEGIN + DAYS * DAY + HOUR
CONFIG = """\
store = "tandem.duckdb"

[[component]]
name = "fraud"
kind = "model"

[[source]]
connector = "predictions"
name = "log"
path = "log/*.csv"
component = "fraud"
task = "binary"
id = "id"
time = "ts"
prediction = "predicted"
score = "score"
label = "label"
reference = {{ from = "2026-11-01T00:00:00Z", to = "2026-11-02T00:00:00Z" }}

[[source]]
connector = "evidently"
name = "evidently"
url = "{url}"
component = "fraud"

[[source]]
connector = "nannyml"
name = "nannyml"
path = "nannyml"
component = "fraud"
timezone = "UTC"
"""


class Rows:
    """Three days of predictions; on the last the amounts have grown and the model is wrong more often."""

    def __init__(self) -> None:
        dice = np.random.default_rng(4)
        self.day = np.repeat(np.arange(DAYS), EACH)
        self.ts = BEGIN + self.day * DAY + np.tile(np.arange(EACH) * (DAY // EACH), DAYS)
        self.amount = dice.normal(50, 10, self.day.size) + 12 * (self.day == 2)
        self.label = dice.integers(0, 2, self.day.size)
        wrong = dice.random(self.day.size) < np.where(self.day == 2, 0.2, 0.1)
        self.predicted = np.where(wrong, 1 - self.label, self.label)

    def cells(self, day: int) -> list[list[int]]:
        mine = self.day == day
        return [[int((mine & (self.label == a) & (self.predicted == p)).sum()) for p in (0, 1)] for a in (0, 1)]

    def p(self, day: int) -> float:
        return float(ks_2samp(self.amount[self.day == 0], self.amount[self.day == day]).pvalue)


def write_log(path: Path, mine: Rows) -> None:
    path.parent.mkdir()
    with path.open("w", newline="") as opened:
        out = csv.writer(opened)
        out.writerow(["id", "ts", "predicted", "score", "label", "amount"])
        for at in range(mine.day.size):
            score = 0.9 if mine.predicted[at] else 0.1
            text = datetime.fromtimestamp(int(mine.ts[at]), UTC).isoformat()
            out.writerow([at, text, mine.predicted[at], score, mine.label[at], round(float(mine.amount[at]), 6)])


def write_nannyml(folder: Path, mine: Rows) -> None:
    folder.mkdir()
    head = ["chunk_key", "chunk_index", "chunk_start_index", "chunk_end_index", "chunk_start_date", "chunk_end_date",
            "chunk_period"]  # fmt: skip
    counts = [f"{name}_value" for name in ("true_positive", "true_negative", "false_positive", "false_negative")]
    tables: dict[str, list[str]] = {
        "realised": ["chunk_targets_missing_rate", *counts],
        "estimated": ["accuracy_value", "accuracy_realized", "accuracy_upper_threshold", "accuracy_lower_threshold",
                      "accuracy_alert"],
        "drift": [f"amount_jensen_shannon_{name}" for name in ("value", "upper_threshold", "lower_threshold", "alert")],
    }  # fmt: skip
    for name, columns in tables.items():
        with (folder / f"{name}.csv").open("w", newline="") as opened:
            out = csv.writer(opened)
            out.writerow([*head, *columns])
            for day in range(DAYS):
                ends = [
                    f"{datetime.fromtimestamp(BEGIN + day * DAY + s, UTC):%Y-%m-%d %H:%M:%S}" for s in (0, DAY - 36)
                ]
                [[tn, fp], [fn, tp]] = mine.cells(day)
                values = {
                    "realised": [0.0, tp, tn, fp, fn], "estimated": [0.9 - day / 100, "", 0.95, 0.85, False],
                    "drift": [0.4 if day == 2 else 0.02, 0.1, "", day == 2],
                }  # fmt: skip
                begin = day * EACH
                out.writerow([f"[{day}]", day, begin, begin + EACH - 1, *ends, "analysis", *values[name]])


def served(mine: Rows) -> Evidently:
    server = Evidently()
    for day in range(DAYS):
        metrics, widgets = quality(mine.cells(day))
        server.add(f"2026-11-0{day + 1}T23:00:00Z", *metrics, *rows(EACH, amount=0), drift("amount", mine.p(day)),
                   widgets=widgets, tests=[checked("Accuracy", "FAIL" if day == 2 else "SUCCESS")])  # fmt: skip
    return server


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder, mine = tmp_path_factory.mktemp("judges"), Rows()
    write_log(folder / "log" / "one.csv", mine)
    write_nannyml(folder / "nannyml", mine)
    with serve(served(mine).answer) as server, Store(folder / "tandem.duckdb") as store:
        (folder / "tandem.toml").write_text(CONFIG.format(url=server.url))
        config = load(folder / "tandem.toml")
        assert [one.error for one in collect.sync(store, config, NOW)] == ["", "", ""]
        context = SimpleNamespace(config=config, store=store, first_done=True, now=lambda: NOW)
        window = Window(BEGIN, BEGIN + DAYS * DAY)
        detail = report.detail(context, "fraud", window, now=NOW)  # type: ignore[arg-type]
        shown = report.show(context, "fraud", window, now=NOW)  # type: ignore[arg-type]
        signals = {one["signal"]: one for one in shown["signals"]}
        yield SimpleNamespace(whose=detail.whose, rows=mine, signals=signals, printed=printed.shown([shown]))


def test_one_source_counts_and_the_others_agree_with_it_exactly(judged: Any) -> None:
    """Three ways of counting the same rows: a log, a drawing in a report, a matrix per chunk."""
    right, total = int((judged.rows.label == judged.rows.predicted).sum()), judged.rows.day.size
    outcome = judged.signals["outcome"]
    assert (outcome["source"], outcome["good"], outcome["total"]) == ("log", right, total)
    assert {one["source"] for one in outcome["witnesses"]} == {"evidently", "nannyml"}
    for one in outcome["witnesses"]:
        assert (one["good"], one["total"], one["difference"]) == (right, total, 0)
    [counting] = [one for one in judged.whose.counting if one.signal == "outcome"]
    assert (counting.source, len(counting.witnesses)) == ("log", 2)


def test_each_verdict_stands_with_whose_it_is(judged: Any) -> None:
    found = {(one.source, one.method): one for one in judged.whose.judgements if one.feature == "amount"}
    ks, js = found["evidently", "K-S p_value"], found["nannyml", "jensen_shannon"]
    assert (ks.value, ks.direction, ks.threshold, ks.drift) == (judged.rows.p(2), "<=", 0.05, True)
    assert (js.value, js.direction, js.threshold, js.lower, js.drift) == (0.4, "outside", 0.1, None, True)
    assert (ks.times, js.times) == (3, 3)
    assert js.found == 1
    assert ks.found == sum(judged.rows.p(day) <= 0.05 for day in range(DAYS))
    assert {ks.own, js.own} == {"drift"}


def test_estimates_are_drawn_beside_and_counted_nowhere(judged: Any) -> None:
    [estimated] = judged.whose.estimated
    assert (estimated.name, estimated.source) == ("accuracy", "nannyml")
    assert [value for _, value in estimated.points] == pytest.approx([0.9, 0.89, 0.88])


def test_validations_and_coverage_have_their_own_signals(judged: Any) -> None:
    assert (judged.signals["validation_success"]["good"], judged.signals["validation_success"]["total"]) == (2, 3)
    coverage = judged.signals["label_coverage"]
    assert (coverage["good"], coverage["total"]) == (judged.rows.day.size,) * 2
    assert coverage["source"] == "log"


def test_the_terminal_shows_measures_with_their_intervals(judged: Any) -> None:
    right, total = int((judged.rows.label == judged.rows.predicted).sum()), judged.rows.day.size
    line = next(line for line in judged.printed.splitlines() if line.startswith("accuracy "))
    assert f"{right / total:.6g}" in line
    assert "Wilson, 95 %" in line
