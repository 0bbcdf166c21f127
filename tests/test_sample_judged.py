"""What other tools say of the sample company's predictions: true to their own formulas, and to what was planted."""

from __future__ import annotations

import gzip
import io
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import wasserstein_distance

from tandem import collect, config, report
from tandem.apart import Half
from tandem.records import DAY
from tandem.report import Window
from tandem.store.file import open_store
from tandem.store.read import Reader

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
START, END = (int(TRUTH[name].timestamp()) for name in ("start", "end"))
JUDGED = {one["tool"]: one for one in TRUTH["judged"]}
SOURCES = ("log-query-intent", "log-click-model", "evidently", "estimates", "profiles")
REFERENCE = pd.Timestamp("2026-09-14", tz="UTC"), pd.Timestamp("2026-10-12", tz="UTC")


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    found = config.load(HERE / "tandem.toml")
    found = replace(found, sources=tuple(one for one in found.sources if one.name in SOURCES))
    assert len(found.sources) == len(SOURCES)
    with open_store(tmp_path_factory.mktemp("judged") / "tandem.duckdb") as store:
        for source in found.sources:
            told = collect.pull(store, source, END)
            assert not told.failed, told
            assert not told.rejected, told
        yield SimpleNamespace(config=found, store=store)


def log(model: str) -> pd.DataFrame:
    return pd.read_parquet(FILES / "predictions" / model)


def snapshots() -> dict[pd.Timestamp, Mapping[str, Any]]:
    """Every report of Evidently by the day that it looked at."""
    found = {}
    for path in (FILES / "evidently").rglob("snapshots/*.json"):
        told = json.loads(path.read_text())
        found[pd.Timestamp(told["timestamp"]).floor("D") - pd.Timedelta(days=1)] = told
    return dict(sorted(found.items()))


def drifts(told: Mapping[str, Any]) -> dict[str, tuple[str, float, bool]]:
    """Method, value and verdict of each column of one report."""
    found = {}
    for one in told["metric_results"].values():
        params = one["metric_value_location"]["metric"]["params"]
        if params["type"].endswith(":ValueDrift"):
            found[params["column"]] = params["method"], one["value"], one["value"] >= params["threshold"]
    return found


def test_evidently_says_what_its_formulas_give_on_the_logged_rows() -> None:
    rows = log("query-intent")
    reference = rows[(rows.ts >= REFERENCE[0]) & (rows.ts < REFERENCE[1])]
    told = snapshots()
    assert len(told) == JUDGED["evidently"]["reports"]
    for day, one in list(told.items())[::8]:
        current = rows[(rows.ts >= day) & (rows.ts < day + pd.Timedelta(days=1))]
        for column, (method, value, _) in drifts(one).items():
            a, b = reference[column], current[column]
            if method.startswith("Wasserstein"):
                expected = wasserstein_distance(a, b) / np.std(a)
            else:
                shares = pd.DataFrame({"a": a.value_counts(normalize=True), "b": b.value_counts(normalize=True)})
                expected = jensenshannon(*shares.fillna(0).T.to_numpy())
            assert value == pytest.approx(expected, rel=1e-9), (day, column)


def test_evidently_and_tandem_see_the_shift_on_the_same_day_and_nothing_before(company: Any) -> None:
    true = JUDGED["evidently"]
    first = pd.Timestamp(true["first_day"])
    for day, told in snapshots().items():
        drifted = {column for column, (*_, moved) in drifts(told).items() if moved}
        assert drifted == ({true["feature"]} if day >= first else set()), day
    for day, moved in ((first - pd.Timedelta(days=1), False), (first + pd.Timedelta(days=1), True)):
        since = int(day.timestamp())
        reference = Half("window", Window(*(int(one.timestamp()) for one in REFERENCE)))
        found = report.drift(company, "query-intent", Half("window", Window(since, since + DAY)), reference, now=END)
        verdicts = {one.feature: one.verdict == "drift" for one in found.rows if one.drift == "data drift"}
        assert verdicts[true["feature"]] is moved, day
        assert not any(other for name, other in verdicts.items() if name != true["feature"]), day
        judged = {one.feature: one for one in found.judgements if one.source == "evidently"}
        assert judged.keys() == drifts(next(iter(snapshots().values()))).keys()
        assert judged[true["feature"]].drift is moved
        assert all(one.agree for one in judged.values()), "both say the same of each feature"
    began = [event for _, event in Reader(company.store).events(START, END, components=["query-intent"])
             if event.kind == "drift"]  # fmt: skip
    assert [dict(one.labels)["features"] for one in began] == [true["feature"]]
    assert first.timestamp() <= began[0].ts < first.timestamp() + 2 * DAY


def test_nannyml_estimates_from_the_scores_alone_and_underestimates_the_loss() -> None:
    true = JUDGED["nannyml"]
    told = pd.read_csv(FILES / "nannyml/fraud-detector/estimated_performance.csv", header=[0, 1], index_col=0)
    assert len(told) == true["reports"]
    rows = log("fraud-detector")
    sure = rows.score.where(rows.predicted == 1, 1 - rows.score)
    daily = sure.groupby(rows.ts.dt.strftime("%Y-%m-%d")).mean()
    assert told["accuracy", "value"].to_numpy() == pytest.approx(daily.to_numpy())
    assert list(told["chunk", "key"]) == list(daily.index)
    first = str(true["first_day"].date())
    alerts = told[told["accuracy", "alert"]]["chunk", "key"]
    assert alerts.min() == first
    assert len(alerts) == sum(told["chunk", "key"] >= first)
    after, before = daily[daily.index > first].mean(), daily[daily.index < first].mean()
    assert (before, after) == pytest.approx((true["estimate_before"], true["estimate_after"]), abs=0.004)
    labels = pd.read_parquet(FILES / "labels" / "fraud-detector")
    joined = rows.merge(labels, on="prediction_id")
    late = joined[joined.ts >= pd.Timestamp(true["first_day"])]
    assert (late.predicted == late.label).mean() < after - 0.03, "what came true is worse than what was estimated"


def test_estimates_are_drawn_beside_what_came_true_and_never_counted(company: Any) -> None:
    told = Reader(company.store).series(component="fraud-detector")
    assert {one.placed.stage for one in told if one.placed.signal != "drift"} == {"estimated"}, (
        "no log is collected here"
    )
    said = report.show(company, "fraud-detector", Window(END - 7 * DAY, END), now=END)["signals"]
    assert not [one for one in said if one["signal"] == "outcome" and one["total"]]


def test_profiles_of_whylogs_count_what_is_missing(company: Any) -> None:
    true = JUDGED["whylogs"]
    rows = log("click-model")
    missing = rows.days_since_visit.isna().groupby(rows.ts.dt.strftime("%Y-%m-%d")).sum()
    files = sorted((FILES / "whylogs" / "click-model").glob("*.csv.gz"))
    assert len(files) == true["reports"]
    shares = {}
    for path in files:
        view = pd.read_csv(io.BytesIO(gzip.decompress(path.read_bytes()))).set_index("column")
        day = path.name.removeprefix("profile_").removesuffix(".csv.gz")
        mine = view.loc[true["feature"]]
        assert mine["counts/null"] == missing[day]
        assert mine["distribution/n"] == mine["counts/n"] - mine["counts/null"]
        assert pd.Timestamp(mine["dataset_timestamp"], unit="ms").strftime("%Y-%m-%d") == day
        shares[day] = mine["counts/null"] / mine["counts/n"]
    broken = [day for day, share in shares.items() if share > 0.01]
    assert broken[0] == str(true["first_day"].date())
    assert len(broken) == 2
    said = report.show(company, "click-model", Window(END - 14 * DAY, END), now=END)["signals"]
    [valid] = [one for one in said if one["signal"] == "valid_rows"]
    assert valid["source"] == "log-click-model"
    assert [one["source"] for one in valid["witnesses"]] == ["profiles"]


def test_the_delta_table_is_what_its_log_says_and_counts_every_row(company: Any) -> None:
    folder = FILES / "predictions" / "click-model"
    added: list[dict[str, Any]] = []
    for path in sorted((folder / "_delta_log").glob("*.json")):
        added += [line["add"] for line in map(json.loads, path.read_text().splitlines()) if "add" in line]
    assert {one["path"] for one in added} == {one.relative_to(folder).as_posix() for one in folder.rglob("*.parquet")}
    assert all((folder / one["path"]).stat().st_size == one["size"] for one in added)
    rows = log("click-model")
    assert sum(json.loads(one["stats"])["numRecords"] for one in added) == len(rows)
    said = report.show(company, "click-model", Window(START, END), now=END)["signals"]
    [volume] = [one for one in said if one["signal"] == "label_coverage"]
    assert volume["total"] == len(rows)
    assert volume["good"] == len(pd.read_parquet(FILES / "labels" / "click-model"))
