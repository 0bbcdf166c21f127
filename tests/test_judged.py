"""A model's quality through the real connector and store, against pandas and scikit-learn on the raw rows."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from tandem import collect, report
from tandem import config as configuration
from tandem.catalog import built_in
from tandem.records import BUCKET, DAY, HOUR, Covered, Event, Fact, Page, Ratio, Series
from tandem.shown import Detail, Window
from tandem.slo import wilson
from tandem.store.file import open_store
from tests import fakes
from tests.test_late_labels import in_this_process

START = 1_790_000_000 // DAY * DAY
END = START + 4 * DAY
WHOLE = Window(START, END)

CONFIG = """\
store = "tandem.duckdb"

[[component]]
name = "model"
kind = "model"
currency = "EUR"

  [[component.worth]]
  actual = "1"
  predicted = "1"
  value = 12.5

  [[component.worth]]
  actual = "0"
  predicted = "1"
  value = -3

[[source]]
connector = "predictions"
name = "log"
path = "log/*.parquet"
component = "model"
task = "TASK"
id = "id"
time = "ts"
prediction = "predicted"
label = "label"
version = "version"
segments = ["country", ["country", "channel"]]
"""
PLAIN = CONFIG.replace(CONFIG[CONFIG.index("currency") : CONFIG.index("[[source]]")], "\n")


def frame(n: int = 1200) -> pd.DataFrame:
    """Two versions serve at once in the second half; one country has one row, one feature is constant, one all null."""
    r = np.random.default_rng(3)
    truth = (r.random(n) < 0.35).astype(int)
    score = np.clip(r.normal(np.where(truth == 1, 0.66, 0.34), 0.2), 0.001, 0.999)
    ts = START + np.arange(n) * (END - START) // n
    country = r.choice(["DE", "FR", "BR"], n, p=[0.6, 0.3, 0.1])
    country[7] = "NG"
    return pd.DataFrame({
        "id": [f"p{i}" for i in range(n)], "ts": pd.to_datetime(ts, unit="s", utc=True), "epoch": ts,
        "predicted": (score >= 0.5).astype(int), "score": score, "label": truth,
        "version": np.where((ts < START + 2 * DAY) | (r.random(n) < 0.5), "7", "8"),
        "country": country, "channel": r.choice(["web", "app"], n),
        "amount": np.where((ts >= START + 3 * DAY) & (r.random(n) < 0.3), np.nan, r.lognormal(3, 1, n)),
        "constant": 4.0, "nothing": np.full(n, np.nan),
    })  # fmt: skip


def collected(folder: Path, rows: pd.DataFrame, task: str = "binary", **keys: str) -> Any:
    """A context whose store has collected the rows."""
    (folder / "log").mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pandas(rows.drop(columns="epoch"), preserve_index=False), folder / "log" / "1.parquet")
    text = (CONFIG if task == "binary" else PLAIN).replace("TASK", task)
    text += "".join(f'{key} = "{value}"\n' for key, value in keys.items())
    (folder / "tandem.toml").write_text(text)
    return configuration.load(folder / "tandem.toml")


class Shown:
    """Answers over one collected log."""

    def __init__(self, config: Any, store: Any) -> None:
        self.context: Any = SimpleNamespace(config=config, store=store)

    def detail(self, window: Window = WHOLE, **asked: Any) -> Detail:
        return report.detail(self.context, "model", window, now=END + HOUR, **asked)

    def quality(self, window: Window = WHOLE, **asked: Any) -> dict[str, Any]:
        return report.show(self.context, "model", window, now=END + HOUR, **asked)["quality"]


def opened(folder: Path, rows: pd.DataFrame, task: str = "binary", **keys: str) -> Iterator[Shown]:
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        config = collected(folder, rows, task, **keys)
        with open_store(folder / "tandem.duckdb") as store:
            assert not collect.pull(store, config.sources[0], END + HOUR).error
            yield Shown(config, store)


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return frame()


@pytest.fixture(scope="module")
def binary(tmp_path_factory: Any, rows: pd.DataFrame) -> Iterator[Shown]:
    yield from opened(tmp_path_factory.mktemp("binary"), rows, score="score")


def test_measures_of_any_window_version_and_segment_equal_scikit_learn(binary: Shown, rows: pd.DataFrame) -> None:
    early = Window(START + 3 * HOUR, START + 31 * HOUR)
    for asked, mine in (
        ({}, rows),
        ({"version": "8"}, rows[rows["version"] == "8"]),
        ({"segment": "country=BR"}, rows[rows["country"] == "BR"]),
        ({"segment": "country=DE,channel=web"}, rows[(rows["country"] == "DE") & (rows["channel"] == "web")]),
        ({"window": early}, rows[(rows["epoch"] >= early.since) & (rows["epoch"] < early.until)]),
        ({"window": early, "version": "7", "segment": "country=FR"},
         rows[(rows["epoch"] >= early.since) & (rows["epoch"] < early.until) & (rows["country"] == "FR")]),
    ):  # fmt: skip
        found, (y, p) = binary.quality(**asked), (mine["label"], mine["predicted"])
        assert found["predictions"] == found["labels"] == len(mine)
        tn, fp, fn, tp = metrics.confusion_matrix(y, p).ravel().tolist()
        for name, value, counts in (
            ("accuracy", metrics.accuracy_score(y, p), (tp + tn, len(mine))),
            ("precision", metrics.precision_score(y, p), (tp, tp + fp)),
            ("recall", metrics.recall_score(y, p), (tp, tp + fn)),
            ("fpr", fp / (fp + tn), (fp, fp + tn)),
            ("fnr", fn / (fn + tp), (fn, fn + tp)),
        ):
            assert found[name] == pytest.approx(value)
            interval = found["intervals"][name]
            assert (interval["low"], interval["high"]) == pytest.approx(wilson(*counts))
            assert interval["n"] == counts[1]
        assert found["mcc"] == pytest.approx(metrics.matthews_corrcoef(y, p))
        assert found["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, p))
        assert found["brier"] == pytest.approx(metrics.brier_score_loss(y, mine["score"]), abs=1e-9)
        assert found["log_loss"] == pytest.approx(metrics.log_loss(y, mine["score"]), abs=1e-7)
        auc = found["roc_auc"]
        assert abs(auc["value"] - metrics.roc_auc_score(y, mine["score"])) <= auc["bound"] + 1e-12
        assert found["value"]["amount"] == pytest.approx(12.5 * tp - 3 * fp)
        assert found["value"]["low"] < found["value"]["amount"] < found["value"]["high"]
        assert found["value"]["currency"] == "EUR"


def test_a_threshold_says_what_the_raw_rows_say(binary: Shown, rows: pd.DataFrame) -> None:
    model = binary.detail().model
    assert model is not None
    for what in model.thresholds[::10]:
        said = rows["score"] >= what.threshold
        assert what.exact
        assert what.tp[0] == (said & (rows["label"] == 1)).sum()
        assert what.fp[0] == (said & (rows["label"] == 0)).sum()
        assert what.flagged[0] == said.sum()
        if said.any():
            assert what.precision() == (pytest.approx(metrics.precision_score(rows["label"], said)),) * 2


def test_versions_that_serve_at_once_are_traced_apart(binary: Shown, rows: pd.DataFrame) -> None:
    model = binary.detail().model
    assert model is not None
    trace = model.trace
    assert trace is not None
    assert [one.version for one in trace.versions] == ["7", "8"]
    both = 0
    for one in trace.versions:
        for place, (value, low, high, n) in enumerate(zip(one.values, one.lows, one.highs, one.n, strict=True)):
            since = START // trace.step * trace.step + place * trace.step
            mine = rows[
                (rows["epoch"] >= since) & (rows["epoch"] < since + trace.step) & (rows["version"] == one.version)
            ]
            right = int((mine["label"] == mine["predicted"]).sum())
            assert n == len(mine)
            if n:
                assert (value, low, high) == pytest.approx((right / n, *wilson(right, n)))
            else:
                assert (value, low, high) == (None, None, None)
    both = sum(a > 0 and b > 0 for a, b in zip(*(one.n for one in trace.versions), strict=True))
    assert both >= 2
    assert dict(model.volume.versions).keys() == {"7", "8"}
    assert sum(sum(counts) for _, counts in model.volume.versions) == len(rows)


def test_a_segment_of_one_row_has_its_interval_and_is_never_certain(binary: Shown, rows: pd.DataFrame) -> None:
    found = binary.detail()
    (one,) = [segment for segment in found.segments if segment[0] == "country=NG"]
    right = int(rows.loc[7, "label"] == rows.loc[7, "predicted"])
    assert one[1:3] == (right, 1)
    assert one[3] == wilson(right, 1)
    assert found.model is not None
    for fair in found.model.fairness:
        for gap, stands in zip(fair.gaps, fair.stands, strict=True):
            if {"NG", "NG, web", "NG, app"} & {gap.high, gap.low}:
                assert not gap.certain
                assert not stands


def test_fairness_of_every_column_equals_pandas(binary: Shown, rows: pd.DataFrame) -> None:
    found = {
        one["column"]: one for one in binary.quality()["fairness"] if one["gap"] == "demographic_parity_difference"
    }
    assert found.keys() == {"country", "country × channel"}
    for column, keys in (("country", ["country"]), ("country × channel", ["country", "channel"])):
        rate = rows.groupby(keys)["predicted"].mean()
        assert found[column]["value"] == pytest.approx(rate.max() - rate.min())
        assert len(found[column]["groups"]) == len(rate)
    assert found["country"]["verdict"] in ("gap", "not enough data")


def test_a_constant_and_an_empty_feature_are_told_and_break_nothing(binary: Shown, rows: pd.DataFrame) -> None:
    quality = binary.detail().model.quality
    columns = {one.column: one for one in quality.columns}
    assert columns["nothing"].faults == {"missing": len(rows)}
    assert columns["constant"].faults == {}
    assert sum(columns["constant"].volume) == len(rows)
    assert sum(columns["nothing"].volume) == 0
    gone = int(rows["amount"].isna().sum())
    assert columns["amount"].faults == {"missing": gone}
    assert columns["amount"].interval == wilson(gone, len(rows))
    assert sum(columns["amount"].volume) == len(rows) - gone


def test_when_values_went_missing_is_dated(binary: Shown, rows: pd.DataFrame) -> None:
    (fault,) = binary.detail().model.quality.faults
    assert (fault.column, fault.reason, fault.until) == ("amount", "missing", None)
    assert abs(fault.since - (START + 3 * DAY)) <= fault.step
    mine = rows[rows["epoch"] >= fault.since]
    assert (fault.bad, fault.n) == (int(mine["amount"].isna().sum()), len(mine))
    assert fault.usual == 0


def test_a_regression_with_true_values_of_0(tmp_path: Path) -> None:
    r = np.random.default_rng(5)
    some = frame(900).drop(columns=["score", "predicted", "label"])
    true = np.where(r.random(900) < 0.1, 0.0, r.normal(50, 9, 900))
    some["label"], some["predicted"] = true, true + r.normal(1, 4, 900)
    for shown in opened(tmp_path, some, "regression"):
        found = shown.quality()
        y, p = some["label"], some["predicted"]
        kept = y != 0
        assert found["mae"] == pytest.approx(metrics.mean_absolute_error(y, p), rel=1e-6)
        assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(y, p), rel=1e-6)
        assert found["bias"] == pytest.approx((p - y).mean(), rel=1e-4)
        assert found["r2"] == pytest.approx(metrics.r2_score(y, p), rel=1e-5)
        assert found["mape"] == pytest.approx(metrics.mean_absolute_percentage_error(y[kept], p[kept]), rel=1e-5)
        assert found["mape_left_out"] == int((~kept).sum())
        assert found["accuracy"] is None
        assert found["value"] is None
        model = shown.detail().model
        assert model.trace.title == "Mean absolute error"
        assert sum(model.errors.shares) == pytest.approx(1)
        low, high = (found["intervals"]["mae"][end] for end in ("low", "high"))
        assert low < found["mae"] < high
        mape = next(one for one in model.measures if one.name == "mape")
        assert "left out" in mape.how


def test_a_regression_whose_true_values_are_all_0_has_no_mape(tmp_path: Path) -> None:
    some = frame(300).drop(columns=["score"])
    some["label"], some["predicted"] = 0.0, np.random.default_rng(1).normal(0, 1, 300)
    for shown in opened(tmp_path, some, "regression"):
        found = shown.quality()
        assert (found["mape"], found["mape_left_out"], found["r2"]) == (None, 300, None)
        (mape,) = [one for one in shown.detail().model.measures if one.name == "mape"]
        assert "not defined" in mape.how


def test_a_model_with_no_labels_at_all_has_no_quality_and_says_so(tmp_path: Path, rows: pd.DataFrame) -> None:
    some = rows.copy()
    some["label"] = pd.array([None] * len(some), dtype="Int64")
    for shown in opened(tmp_path, some, score="score"):
        found, detail = shown.quality(), shown.detail()
        assert (found["labels"], found["accuracy"], found["roc_auc"], found["value"]) == (0, None, None, None)
        assert found["classes"] == found["fairness"] == found["calibration"] == []
        model = detail.model
        assert (model.trace, model.calibration, model.thresholds, model.fairness) == (None, None, (), ())
        assert model.measures == ()
        assert (model.labels.labelled, model.labels.predictions) == (0, len(rows))
        assert [name for name, *_ in model.scores.classes] == [""]
        (outcome,) = [cell for cell in detail.cells if cell.signal == "outcome"] or [None]
        assert outcome is None or outcome.state == "unknown"


def test_a_window_without_predictions_is_empty(binary: Shown) -> None:
    detail = binary.detail(Window(START - 20 * DAY, START - 19 * DAY))
    model = detail.model
    assert (model.measures, model.trace, model.quality, model.volume, model.scores) == ((), None, None, None, None)


def test_label_coverage_by_the_age_of_the_prediction(tmp_path: Path) -> None:
    some = frame(800)
    old = END + HOUR - some["epoch"]
    known = old > 2 * DAY
    some["label"] = pd.array(np.where(known, some["label"], -1), dtype="Int64")
    some.loc[~known, "label"] = pd.NA
    for shown in opened(tmp_path, some):
        labels = shown.detail().model.labels
        assert (labels.labelled, labels.predictions) == (int(known.sum()), 800)
        late = {(low // 3600, high // 3600): (good, total) for low, high, good, total in labels.by_age}
        assert late[12, 24][0] == 0
        assert late[72, 120][0] == late[72, 120][1]
        assert START < labels.mature < END
        trace = shown.detail().model.trace
        assert not trace.immature[0]
        assert trace.immature[-1]


# -- mix or real


def _requests(country: str, good: int, total: int, at: int) -> Fact:
    segment = f"country={country}" if country else ""
    return Fact(Series("request_success", component="api", segment=segment), at, Ratio(good, total))


def test_mix_or_real_of_a_service_by_its_segments(tmp_path: Path) -> None:
    """Simpson's example of terms.md as the requests of a service; what no segment holds is one of its own."""
    before, after = END - 3 * HOUR, END - HOUR
    facts = [
        _requests("DE", 760, 800, before), _requests("BR", 120, 200, before), _requests("", 930, 1050, before),
        _requests("DE", 384, 400, after), _requests("BR", 372, 600, after), _requests("", 781, 1050, after),
    ]  # fmt: skip
    source = fakes.source(fakes.saying([Page(facts, covered=[Covered(END - DAY, END)])]))
    with open_store(tmp_path / "tandem.duckdb") as store:
        assert not collect.pull(store, source, END).error
        config = fakes.config(tmp_path, source)
        context: Any = SimpleNamespace(config=config, store=store)
        windows = Window(after, after + BUCKET), Window(before, before + BUCKET)
        (found,) = report.mixed(context, "api", "request_success", *windows, now=END)
        assert (found.before, found.after) == ((930, 1050), (781, 1050))
        assert abs(found.mix + found.within + found.interaction - (781 - 930) / 1050) < 1e-12
        assert found.verdict == "mix"
        assert {one.segment for one in found.segments} == {"DE", "BR", "(not in a segment)"}
        within = Fraction(800, 1050) * Fraction(1, 100) + Fraction(200, 1050) * Fraction(2, 100) - Fraction(25, 1050)
        assert found.within == pytest.approx(float(within), abs=1e-12)
        detail = report.detail(context, "api", windows[0], compare=windows[1], now=END)
        assert detail.mixed["request_success"] == (found,)
        assert report.mixed(context, "api", "availability", *windows, now=END) == ()
        assert report.mixed(context, "api", "request_success", windows[0], Window(START, START + DAY), now=END) == ()
    assert "request_success" in built_in()


def test_mix_or_real_of_accuracy_equals_the_formula_on_the_raw_rows(binary: Shown, rows: pd.DataFrame) -> None:
    now, then = Window(START + 2 * DAY, END), Window(START, START + 2 * DAY)
    found = {one.column: one for one in report.mixed(binary.context, "model", "outcome", now, then, now=END + HOUR)}
    right = rows["label"] == rows["predicted"]
    late = rows["epoch"] >= START + 2 * DAY
    for column, keys in (("country", [rows["country"]]), ("country × channel", [rows["country"], rows["channel"]])):
        sides = []
        for mine in (~late, late):
            grouped = right[mine].groupby([key[mine] for key in keys])
            sides.append((grouped.size() / mine.sum(), grouped.mean()))
        (w0, r0), (w1, r1) = sides
        r0, r1 = r0.reindex(r0.index.union(r1.index)), r1.reindex(r0.index.union(r1.index))
        r0, r1 = r0.fillna(r1), r1.fillna(r0)
        w0, w1 = w0.reindex(r0.index).fillna(0), w1.reindex(r0.index).fillna(0)
        one = found[column]
        assert one.mix == pytest.approx(((w1 - w0) * r0).sum(), abs=1e-12)
        assert one.within == pytest.approx((w0 * (r1 - r0)).sum(), abs=1e-12)
        assert one.interaction == pytest.approx(((w1 - w0) * (r1 - r0)).sum(), abs=1e-12)
        assert one.change == pytest.approx(right[late].mean() - right[~late].mean(), abs=1e-12)


# -- training runs


def test_a_run_that_two_sources_know_is_listed_once_and_the_newest_first(tmp_path: Path) -> None:
    def training(run: str, at: int, **more: Any) -> Event:
        return Event("training", run, at, started=at, ended=at + 600, run=run, components=("model",), **more)

    known = [training("a", END - 9000, version="7", commit="c1", data_version="d1"), training("b", END - 5000)]
    first = fakes.source(fakes.saying([Page(known)]), name="server", scope="server")
    second = fakes.source(fakes.saying([Page([*known, training("c", END - 100, outcome="bad")])]), name="files",
                          scope="files")  # fmt: skip
    model = configuration.Component("model", "model")
    with open_store(tmp_path / "tandem.duckdb") as store:
        for source in (first, second):
            assert not collect.pull(store, source, END).error
        context: Any = SimpleNamespace(config=fakes.config(tmp_path, first, second, components=(model,)), store=store)
        found = report.detail(context, "model", Window(END - DAY, END), now=END).model.runs
        assert [(one.key, one.source, one.outcome) for one in found] == [
            ("c", "files", "bad"), ("b", "server", "good"), ("a", "server", "good"),
        ]  # fmt: skip
        assert (found[2].version, found[2].commit, found[2].data_version) == ("7", "c1", "d1")
        early = report.detail(context, "model", Window(END - DAY, END - 6000), now=END).model.runs
        assert [one.key for one in early] == ["a"]
