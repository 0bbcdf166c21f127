"""The exports of the sample company: made again byte for byte, small, and true to truth.toml when read by others."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sample_data.generate import generate
from tandem import config as tandem_config

HERE = Path(__file__).parent.parent / "sample_data"
FILES = HERE / "files"
TRUTH = tomllib.loads((HERE / "truth.toml").read_text())
EVENTS = {event["key"]: event for event in TRUTH["event"]}
END = TRUTH["end"].timestamp()
DAY = 86400


def _matrix(path: Path) -> list[dict]:
    return json.loads(gzip.decompress(path.read_bytes()))["data"]["result"]


def _increase(series: dict) -> pd.Series:
    values = pd.Series({t: float(v) for t, v in series["values"]})
    step = values.diff()
    return step.where(step >= 0, values).iloc[1:]


def _within(series: pd.Series, event: dict) -> pd.Series:
    return series[(series.index > event["start"].timestamp()) & (series.index <= event["end"].timestamp())]


def _log(model: str) -> pd.DataFrame:
    log = pd.read_parquet(FILES / "predictions" / model)
    labels = pd.read_parquet(FILES / "labels" / model)
    return log.merge(labels, on="prediction_id", how="left")


def _runs(repository: str) -> list[dict]:
    pages = json.loads(gzip.decompress((FILES / "github" / repository / "runs.json.gz").read_bytes()))
    return [run for page in pages for run in page["workflow_runs"]]


def _deployments(repository: str) -> list[dict]:
    path = FILES / "github" / repository / "deployments.json.gz"
    return sorted(json.loads(gzip.decompress(path.read_bytes())), key=lambda d: d["created_at"])


def _psi(reference: pd.Series, current: pd.Series) -> float:
    edges = np.unique(np.quantile(reference, np.linspace(0, 1, 11)[1:-1]))
    a, b = (
        np.bincount(np.searchsorted(edges, x, side="right"), minlength=len(edges) + 1) for x in (reference, current)
    )
    p, q = (a + 0.5) / (a.sum() + 0.5 * len(a)), (b + 0.5) / (b.sum() + 0.5 * len(b))
    return float(((q - p) * np.log(q / p)).sum())


def _content(path: Path) -> object:
    """The bytes, or what they say where a library of another version may write it otherwise."""
    if path.suffix == ".gz":
        return gzip.decompress(path.read_bytes())
    if path.suffix == ".parquet":
        return pq.read_table(path).to_pydict()
    return path.read_bytes()


def _names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    generate(folder)
    return folder


def test_regenerating_gives_the_same_bytes(made: Path) -> None:
    assert _names(made / "files") == _names(FILES)
    here, there = (pq.read_metadata(next(folder.rglob("*.parquet"))).created_by for folder in (FILES, made))
    for name in _names(made):
        old, new = HERE / name, made / name
        if old.read_bytes() != new.read_bytes():
            assert here != there or name.endswith(".gz"), name
            assert _content(old) == _content(new), name


@pytest.mark.slow
def test_another_process_elsewhere_writes_the_same_bytes(made: Path, tmp_path: Path) -> None:
    elsewhere = {**os.environ, "TZ": "America/New_York", "PYTHONHASHSEED": "7", "PYTHONPATH": str(HERE.parent)}
    command = [sys.executable, "-m", "sample_data.generate", str(tmp_path)]
    subprocess.run(command, check=True, env=elsewhere, cwd=tmp_path)
    assert _names(made) == _names(tmp_path)
    for name in _names(made):
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes(), name


def test_size_and_neutral_headers() -> None:
    paths = [path for path in HERE.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in paths) <= 20_000_000
    assert len(paths) < 1000
    for path in FILES.rglob("*.gz"):
        flags_and_time = path.read_bytes()[3:8]
        assert flags_and_time == bytes(5), path


def test_the_company() -> None:
    config = tomllib.loads((HERE / "tandem.toml").read_text())
    components = config["component"]
    assert sum(c["kind"] == "service" for c in components) >= 6
    assert sum(c["kind"] == "model" for c in components) >= 4
    assert len({c["product"] for c in components}) >= 4
    assert {s["task"] for s in config["source"] if s["connector"] == "predictions"} == {
        "binary",
        "multiclass",
        "regression",
    }
    names = {c["name"] for c in components}
    assert all(set(event["components"]) <= names for event in TRUTH["event"])
    for source in config["source"]:
        place = source.get("url", source.get("path", "")).removeprefix("file:")
        assert list(HERE.glob(place)), source["name"]
        assert "shift_days" not in source
    for source in (s for s in config["source"] if s["connector"] == "predictions"):
        columns = set(pq.read_schema(next(HERE.glob(source["path"]))).names)
        used = {source[key] for key in ("id", "time", "version", "prediction")} | set(source["features"])
        assert used | set(source.get("segments", ())) <= columns


def test_the_config_is_accepted_and_every_model_has_a_promise_of_its_own() -> None:
    loaded = tandem_config.load(HERE / "tandem.toml")
    assert {source.common.connector for source in loaded.sources} == {
        "argocd", "delta", "evidently", "git", "github", "gitlab", "junit", "kubernetes", "mlflow", "nagios", "nannyml",
        "openlineage", "pagerduty", "predictions", "prometheus", "sklearn", "statuspage", "tensorboard", "terraform",
        "whylogs",
    }  # fmt: skip
    assert {one.name for one in loaded.components if one.kind == "model"} <= {
        one.component for one in loaded.objectives
    }


def test_the_story_is_inside_the_files_and_open_where_it_is_visible() -> None:
    assert TRUTH["end"] - TRUTH["start"] == pd.Timedelta(days=97)
    for event in TRUTH["event"]:
        assert TRUTH["start"] <= event["start"] < event.get("end", TRUTH["end"]) <= TRUTH["end"]
    still_open = [event for event in TRUTH["event"] if "end" not in event]
    assert len(still_open) >= 3
    for event in still_open:
        assert 8 * DAY <= END - event["start"].timestamp() <= 13 * DAY


@pytest.mark.parametrize("key", ["bad-release-september", "bad-release-november"])
def test_bad_release(key: str) -> None:
    event = EVENTS[key]
    series = {
        s["metric"]["code"]: _increase(s)
        for s in _matrix(FILES / "prometheus/http_requests_total-checkout-api.json.gz")
    }
    during = {code: _within(values, event).sum() for code, values in series.items()}
    ratio = during["500"] / (during["500"] + during["200"])
    assert ratio == pytest.approx(event["error_ratio"], rel=0.1)
    assert series["500"].sum() / (series["500"].sum() + series["200"].sum()) < 0.001

    buckets = {
        s["metric"]["le"]: _increase(s)
        for s in _matrix(FILES / "prometheus/http_request_duration_seconds_bucket-checkout-api.json.gz")
    }
    slow = 1 - _within(buckets["0.3"], event).sum() / _within(buckets["+Inf"], event).sum()
    assert slow > 0.8 * event["slow_share"]
    assert 1 - buckets["0.3"].sum() / buckets["+Inf"].sum() < 0.01

    made = _deployments("checkout-api")
    place = next(i for i, d in enumerate(made) if d["ref"] == f"v{event['version']}")
    bad, back = made[place], made[place + 1]
    assert abs(pd.Timestamp(bad["created_at"]) - event["start"]) <= pd.Timedelta(minutes=10)
    assert abs(pd.Timestamp(back["created_at"]) - event["end"]) <= pd.Timedelta(minutes=10)
    assert back["task"] == "rollback"
    assert (back["ref"], back["sha"]) == (made[place - 1]["ref"], made[place - 1]["sha"])


def test_promotion_hurts_one_segment() -> None:
    event = EVENTS["promotion-hurts-a-segment"]
    log = _log("fraud-detector").dropna(subset="label")
    log["right"] = log.predicted == log.label
    after, before = log[log.ts >= event["start"]], log[log.ts < event["start"] - pd.Timedelta(days=1)]
    assert set(after.model_version) == {event["version"]}
    assert event["version"] not in set(before.model_version)
    accuracy = after.groupby("country").right.mean()
    assert accuracy.pop("BR") == pytest.approx(event["accuracy_after"], abs=0.05)
    assert accuracy.min() > 0.94
    assert before[before.country == "BR"].right.mean() == pytest.approx(event["accuracy_before"], abs=0.015)
    champion = FILES / "mlflow" / "mlruns" / "models" / "fraud-detector" / "aliases" / "champion"
    assert champion.read_text() == event["version"]


def test_release_shifts_a_feature() -> None:
    event = EVENTS["release-shifts-a-feature"]
    log = _log("query-intent")
    after, before = log[log.ts >= event["start"]], log[log.ts < event["start"]]
    assert _psi(before.query_length, after.query_length) > 1
    for feature in ("results", "session_clicks", "seconds_since_last"):
        assert _psi(before[feature], after[feature]) < 0.02, feature
    for part, size in ((before, "accuracy_before"), (after, "accuracy_after")):
        known = part.dropna(subset="label")
        assert (known.predicted == known.label).mean() == pytest.approx(event[size], abs=0.015)
    release = next(d for d in _deployments("search-api") if d["ref"] == f"v{event['version']}")
    assert pd.Timestamp(release["created_at"]) <= event["start"]


def test_concept_drift_ends_with_the_retrain() -> None:
    event = EVENTS["concept-drift-ended-by-a-retrain"]
    log = _log("eta-regressor").dropna(subset="label")
    error = log.predicted - log.label
    weekly = error.groupby((log.ts - event["start"]) // pd.Timedelta(days=7)).mean()
    during = weekly.loc[0:5]
    assert (during.diff().dropna() < -0.3).all()
    last_day = log.ts.between(event["end"] - pd.Timedelta(days=1), event["end"])
    assert error[last_day].mean() == pytest.approx(event["bias_minutes_at_the_end"], abs=0.6)
    assert abs(error[log.ts >= event["end"]].mean()) < 0.2
    assert set(log[log.ts >= event["end"]].model_version) == {event["version_after"]}
    for feature in ("distance_km", "courier_load", "prepare_minutes"):
        part = log.ts.between(event["start"], event["end"])
        assert _psi(log[~part][feature], log[part][feature]) < 0.02, feature


def test_data_quality_break() -> None:
    event = EVENTS["data-quality-break"]
    log = _log("click-model")
    part = log.ts.between(event["start"], event["end"], inclusive="left")
    missing = log[event["feature"]].isna()
    assert missing[part].mean() == pytest.approx(event["missing_share"], abs=0.03)
    assert missing[~part].mean() < 0.005


def test_outage_and_scrape_gap() -> None:
    event, blind = EVENTS["outage"], EVENTS["scrape-gap"]
    for series in _matrix(FILES / "prometheus/probe_success.json.gz"):
        up = pd.Series(dict(series["values"]))
        assert set(up) <= {"0", "1"}
        assert _within(up, blind).empty
        assert len(up) > 0.99 * 97 * 288
        if series["metric"]["service"] == "eta-api":
            assert (_within(up, event) == "0").sum() == event["failed_probes"]


def test_flaky_test() -> None:
    event = EVENTS["flaky-test"]
    flaky_nights = []
    for path in sorted((FILES / "junit" / "checkout-api").glob("*.xml")):
        suite = ET.parse(path).getroot()[0]
        counts = Counter((case.get("classname"), case.get("name")) for case in suite.iter("testcase"))
        assert 15 <= len(counts) <= 25
        twice = [name for name, count in counts.items() if count > 1]
        if twice:
            assert twice == [("tests.test_cart", "test_total_is_rounded_once")]
            flaky_nights.append(pd.Timestamp(suite.get("timestamp")))
    assert min(flaky_nights) >= event["start"]
    assert len(flaky_nights) >= 4


def test_labels_come_late_and_never_before_their_prediction() -> None:
    for model in ("fraud-detector", "query-intent", "eta-regressor", "click-model"):
        log = _log(model)
        assert log.prediction_id.is_unique
        delay = (log.labelled_at - log.ts).dropna()
        assert delay.min() > pd.Timedelta(0)
        assert delay.max() <= pd.Timedelta(days=14)
        assert log.groupby(log.ts.dt.floor("D")).size().min() >= 600
    fraud = _log("fraud-detector")
    recent = fraud.ts >= TRUTH["end"] - pd.Timedelta(days=1)
    assert fraud[recent].label.notna().mean() < 0.5 < 0.9 < fraud[~recent].label.notna().mean()


def test_rhythm_of_day_and_week() -> None:
    series = _matrix(FILES / "prometheus/http_requests_total-checkout-api.json.gz")[0]
    counts = _increase(series)
    when = pd.to_datetime(counts.index, unit="s", utc=True)
    by_hour, by_weekday = counts.groupby(when.hour).mean(), counts.groupby(when.day_of_week).mean()
    assert by_hour.max() > 3 * by_hour.min()
    assert by_weekday.loc[5:].max() < by_weekday.loc[:4].min()


def test_github_runs() -> None:
    branches = set()
    for folder in sorted((FILES / "github").iterdir()):
        runs = _runs(folder.name)
        assert len({run["id"] for run in runs}) == len(runs)
        earlier = json.loads(gzip.decompress((folder / "runs_attempts.json.gz").read_bytes()))["workflow_runs"]
        latest = {run["id"]: run["run_attempt"] for run in runs}
        assert earlier
        assert all(latest[run["id"]] == run["run_attempt"] + 1 for run in earlier)
        finished = Counter(run["conclusion"] for run in runs if run["status"] == "completed")
        assert 0.85 < finished["success"] / (finished["success"] + finished["failure"] + finished["timed_out"]) < 0.99
        branches |= {run["head_branch"] for run in runs}
    assert "<b>fix</b>/![x](https://example.invalid/p.png)" in branches


@pytest.mark.parametrize("repository", ["checkout-api", "search-api", "auth-api"])
def test_most_deployments_are_of_a_commit_that_was_built_before(repository: str) -> None:
    built = {run["head_sha"]: run["created_at"] for run in _runs(repository)}
    made = _deployments(repository)
    known = [one for one in made if one["sha"] in built]
    assert len(known) > 0.8 * len(made)
    assert all(built[one["sha"]] < one["created_at"] for one in known)
    assert len({one["sha"] for one in made if one["task"] == "deploy"}) == sum(one["task"] == "deploy" for one in made)


def _packed(name: str) -> dict:
    return json.loads(gzip.decompress((FILES / name).read_bytes()))


def test_incidents_and_planned_work_are_those_of_the_truth() -> None:
    incidents = _packed("pagerduty/incidents.json.gz")["incidents"]
    log = _packed("pagerduty/log_entries.json.gz")["log_entries"]
    answered = {one["incident"]["id"]: one["created_at"] for one in log if one["type"] == "acknowledge_log_entry"}
    said = [(one["service"]["summary"], one["created_at"], answered[one["id"]], one.get("resolved_at"))
            for one in incidents]  # fmt: skip
    assert [tuple(t if t is None or isinstance(t, str) else t.strftime("%Y-%m-%dT%H:%M:%SZ") for t in
                  (one["component"], one["created"], one["acknowledged"], one.get("resolved")))
            for one in TRUTH["incident"]] == said  # fmt: skip
    [planned] = _packed("pagerduty/maintenance_windows.json.gz")["maintenance_windows"]
    [true] = TRUTH["maintenance"]
    assert pd.Timestamp(planned["start_time"]) == true["start"]
    assert pd.Timestamp(planned["end_time"]) == true["end"]
    assert [one["summary"] for one in planned["services"]] == [true["component"]]


def test_the_second_pair_of_eyes_saw_the_same_outage() -> None:
    lines = gzip.decompress((FILES / "nagios/service-perfdata.gz").read_bytes()).decode().splitlines()
    looks = [dict(part.split("::", 1) for part in line.split("\t")) for line in lines]
    down = [int(look["TIMET"]) for look in looks if look["SERVICESTATE"] == "CRITICAL"]
    event = EVENTS["outage"]
    assert len(down) == 4
    assert event["start"].timestamp() <= min(down) < max(down) < event["end"].timestamp()
    gap = EVENTS["scrape-gap"]
    assert any(gap["start"].timestamp() < int(look["TIMET"]) < gap["end"].timestamp() for look in looks)
