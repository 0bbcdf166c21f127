"""The nannyml connector: what counts of its results, what is an estimate, what a newer run takes the place of."""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from connectors import nannyml
from connectors._files import item
from connectors._nannyml import _flat, _path
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Confusion, Event, Fact, Page, Ratio, Sample
from tandem.store.file import Store, open_store
from tandem.told import told

PAYLOADS = Path(__file__).parent / "payloads" / "nannyml"
NOW = 1_798_000_000
T0 = 1_793_491_200
"""2026-11-01T00:00:00Z"""
HOUR = 3600
CELLS = {"true_positive": ("1", "1"), "true_negative": ("0", "0"), "false_positive": ("0", "1"),
         "false_negative": ("1", "0")}  # fmt: skip


def config(**given: Any) -> nannyml.Config:
    common = {"component": ("m",), "timezone": "UTC", **given.pop("common", {})}
    return nannyml.Config(Common("nannyml", "n", **common), **given)


def parsed(path: Path, **given: Any) -> list[Page]:
    return list(nannyml.parse(item(path, Given()), config(**given)))


def of(pages: Sequence[Page], kind: type[Any]) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def facts(pages: Sequence[Page], signal: str) -> dict[int, Any]:
    return {one.ts: one.value for one in of(pages, Fact) if one.series.signal == signal}


def remarks(pages: Sequence[Page]) -> str:
    return "; ".join(f"{one.kind} {one.reason} x{one.count}" for page in pages for one in page.findings)


def truth(name: str) -> pd.DataFrame:
    """The analysis period of a captured result, as pandas reads it."""
    levels = [0, 1, 2] if name.startswith("univariate") else [0, 1]
    frame = pd.read_csv(PAYLOADS / name, header=levels, index_col=0)
    period = ("chunk", "chunk", "period") if len(levels) == 3 else ("chunk", "period")
    return frame[frame[period] == "analysis"]


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def made(path: Path, chunks: Sequence[tuple[int, int, Mapping[str, Any]]], at: int, period: str = "analysis") -> Path:
    """A result as NannyML writes it: (start, seconds, {"metric.field": value}) per chunk, written at a time."""
    fields = list(dict.fromkeys(name for _, _, told_ in chunks for name in told_ if name != "n"))
    heads = ["key", "chunk_index", "start_index", "end_index", "start_date", "end_date", "period"]
    with path.open("w", newline="") as opened:
        out = csv.writer(opened)
        out.writerow(["", *["chunk"] * len(heads), *(name.rpartition(".")[0] for name in fields)])
        out.writerow(["", *heads, *(name.rpartition(".")[2] for name in fields)])
        for number, (start, lasts, told_) in enumerate(chunks):
            begin, end = (f"{datetime.fromtimestamp(ts, UTC):%Y-%m-%d %H:%M:%S}" for ts in (start, start + lasts))
            rows = [0, told_.get("n", 100) - 1]
            out.writerow(
                [number, f"[{number}]", number, *rows, begin, end, period, *(told_.get(name, "") for name in fields)]
            )
    os.utime(path, (at, at))
    return path


def matrix(tp: float, tn: float, fp: float, fn: float, missing: float | None = 0.0, **more: Any) -> dict[str, Any]:
    counts = dict(zip(CELLS, (tp, tn, fp, fn), strict=True))
    rate = {} if missing is None else {"chunk.targets_missing_rate": missing}
    return {**{f"{name}.value": n for name, n in counts.items()}, **rate, **more}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "t.duckdb") as opened:
        yield opened


def pull(store: Store, path: Path, now: int, **given: Any) -> None:
    own = config(path=path, **given)
    assert collect.pull(store, Source(own.common, connect.load("nannyml"), own), now).error == ""


def counted(store: Store) -> dict[int, int]:
    found = store.cursor().execute("SELECT ts, sum(n) FROM confusion GROUP BY ts HAVING sum(n) <> 0")
    return {ts: int(n) for ts, n in found.fetchall()}


def covered(store: Store) -> dict[int, tuple[int, int]]:
    found = store.cursor().execute(
        "SELECT r.ts, sum(r.good), sum(r.total) FROM ratio r JOIN series s ON s.id = r.series "
        "WHERE s.signal = 'label_coverage' GROUP BY r.ts HAVING sum(r.total) <> 0"
    )
    return {ts: (int(good), int(total)) for ts, good, total in found.fetchall()}


def sampled(store: Store, name: str) -> dict[int, float]:
    found = store.cursor().execute(
        "SELECT p.ts, arg_max(p.value, p.load_id) FROM sample p JOIN series s ON s.id = p.series WHERE s.name = ? "
        "GROUP BY p.ts HAVING arg_max(p.value, p.load_id) <> ''", [name],
    )  # fmt: skip
    return {ts: float(value) for ts, value in found.fetchall()}


# -- realised


@pytest.mark.parametrize("name", ["realized.csv", "realized.parquet"])
def test_counts_of_the_analysis_are_exact_and_the_reference_is_never_read(name: str) -> None:
    pages, frame = parsed(PAYLOADS / name), truth("realized.csv")
    outcome, coverage = facts(pages, "outcome"), facts(pages, "label_coverage")
    assert len(outcome) == len(coverage) == len(frame) == 10
    for _, row in frame.iterrows():
        at = seconds(row["chunk", "start_date"])
        cells = {place: int(row[metric, "value"]) for metric, place in CELLS.items()}
        assert outcome[at] == Confusion(cells)
        right = Fraction(cells["1", "1"] + cells["0", "0"], sum(cells.values()))
        assert float(right) == row["accuracy", "value"]
        assert coverage[at] == Ratio(5000, 5000)
    samples = [one for one in of(pages, Sample) if one.series.name == "roc_auc"]
    assert [one.value for one in samples] == list(frame["roc_auc", "value"])
    assert {one.series.stage for one in of(pages, Sample)} == {"production"}


def test_every_form_says_the_same() -> None:
    def told_by(name: str) -> list[str]:
        found = of(parsed(PAYLOADS / name), object)
        return sorted(re.sub(r"\('file', '[^']*'\)|:[0-9a-f]{16}", "", repr(one)) for one in found)

    assert told_by("realized.csv") == told_by("realized.parquet")
    drifts = [told_by(f"univariate_drift{form}") for form in (".csv", ".parquet", "_flat.csv")]
    assert drifts[0] == drifts[1] == drifts[2]
    assert len(drifts[0]) > 300


def test_labels_that_come_late_end_in_the_same_numbers(store: Store, tmp_path: Path) -> None:
    """Before, a chunk with 2,000 of 5,000 labels and one with none; after, as if they had come at once."""
    folder = tmp_path / "results"
    folder.mkdir()
    starts = [seconds(text) for text in truth("realized.csv")["chunk", "start_date"]]
    shutil.copy(PAYLOADS / "realized_labels_late.csv", folder / "run1.csv")
    os.utime(folder / "run1.csv", (NOW - 7200, NOW - 7200))
    pull(store, folder, NOW)
    assert counted(store) == {**dict.fromkeys(starts[:8], 5000), starts[8]: 2000}
    assert covered(store) == {**dict.fromkeys(starts[:8], (5000, 5000)), starts[8]: (2000, 5000), starts[9]: (0, 5000)}
    shutil.copy(PAYLOADS / "realized.parquet", folder / "run2.parquet")
    os.utime(folder / "run2.parquet", (NOW - 3600, NOW - 3600))
    pull(store, folder, NOW + 300)
    assert counted(store) == dict.fromkeys(starts, 5000)
    assert covered(store) == dict.fromkeys(starts, (5000, 5000))
    pull(store, folder, NOW + 600)  # the same again
    with open_store(tmp_path / "once.duckdb") as other:
        pull(other, PAYLOADS / "realized.csv", NOW)
        assert counted(other) == counted(store)


def test_an_older_run_that_comes_later_changes_nothing(store: Store, tmp_path: Path) -> None:
    new = made(tmp_path / "new.csv", [(T0, HOUR, matrix(40, 40, 10, 10))], NOW - 100)
    old = made(tmp_path / "old.csv", [(T0, HOUR, matrix(10, 10, 0, 0, 0.8))], NOW - 900)
    own = config()
    source = Source(own.common, connect.load("nannyml"), own)
    for number, path in enumerate((new, old)):
        outcome = collect.import_item(store, source, item(path, Given(timezone="UTC")), NOW + number)
        assert ("older run" in str(outcome.remarks)) is (path == old)
    assert counted(store) == {T0: 100}


def test_a_run_that_cuts_time_into_other_chunks_takes_their_place(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    hours = [(T0 + n * HOUR, HOUR - 300, matrix(40, 40, 10, 10)) for n in range(4)]
    made(folder / "a.csv", hours, NOW - 900)
    pull(store, folder, NOW)
    assert sum(counted(store).values()) == 400
    (folder / "a.csv").unlink()
    made(folder / "b.csv", [(T0 + n * HOUR, 2 * HOUR - 300, matrix(80, 80, 20, 20, n=200)) for n in (1, 3)], NOW - 100)
    pull(store, folder, NOW + 300)
    # The first hour lies before the newer run; the third was cut into another chunk.
    assert counted(store) == {T0: 100, T0 + HOUR: 200, T0 + 3 * HOUR: 200}
    assert sampled(store, "true_positive") == {T0: 40.0, T0 + HOUR: 80.0, T0 + 3 * HOUR: 80.0}


def test_what_a_newer_run_no_longer_says_is_taken_back(store: Store, tmp_path: Path) -> None:
    """Labels that turned out wrong were withdrawn: the chunk has none now."""
    path = tmp_path / "r.csv"
    made(path, [(T0, HOUR, matrix(40, 40, 10, 10))], NOW - 900)
    pull(store, path, NOW)
    assert (counted(store), sampled(store, "true_positive")) == ({T0: 100}, {T0: 40.0})
    made(path, [(T0, HOUR, {f"{name}.value": "" for name in CELLS} | {"chunk.targets_missing_rate": 1.0})], NOW - 100)
    pull(store, path, NOW + 300)
    assert (counted(store), sampled(store, "true_positive"), covered(store)) == ({}, {}, {T0: (0, 100)})


def test_a_chunk_that_grows_is_one_chunk(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    for number, (rows, lasts) in enumerate(((50, 600), (100, 1200))):
        made(path, [(T0, lasts, matrix(rows / 2, rows / 2, 0, 0, n=rows))], NOW - 900 + number)
        pull(store, path, NOW + 300 * number)
        assert counted(store) == {T0: rows}


@pytest.mark.parametrize(
    ("told_", "why"),
    [(matrix(0.4, 0.4, 0.1, 0.1), ""), (matrix(40, 40, 10, 11), "not whole counts"),
     (matrix(40, 40, 10, 10, 0.5), "not whole counts")],
)  # fmt: skip
def test_a_matrix_that_is_no_counts_of_its_rows_is_left_out(tmp_path: Path, told_: Any, why: str) -> None:
    pages = parsed(made(tmp_path / "r.csv", [(T0, HOUR, told_)], NOW))
    assert not facts(pages, "outcome")
    assert why in remarks(pages)


def test_without_a_matrix_accuracy_counts_into_a_signal_of_its_own(tmp_path: Path) -> None:
    path = made(
        tmp_path / "r.csv",
        [(T0, HOUR, {"accuracy.value": 0.85, "chunk.targets_missing_rate": 0.2, "n": 50}),
         (T0 + HOUR, HOUR, {"accuracy.value": 0.8551, "chunk.targets_missing_rate": 0.0, "n": 50})], NOW,
    )  # fmt: skip
    pages = parsed(path, accuracy_signal="right_answers")
    assert facts(pages, "right_answers") == {T0: Ratio(34, 40)}
    assert "no share" in remarks(pages)
    assert facts(parsed(path), "label_coverage") == {T0: Ratio(40, 50), T0 + HOUR: Ratio(50, 50)}
    assert len(of(parsed(path), Fact)) == 2


def test_several_classes_are_one_matrix() -> None:
    """The name of a class may hold "_"; sums are the chunk's rows, the diagonal its accuracy."""
    pages = parsed(PAYLOADS / "several.parquet")
    first = facts(pages, "outcome")[seconds("2026-06-01")]
    assert {actual for actual, _ in first.cells} == {"a", "b_c", "d"}
    right = sum(n for (actual, predicted), n in first.cells.items() if actual == predicted)
    accuracy = next(one.value for one in of(pages, Sample) if one.series.name == "accuracy")
    assert (sum(first.cells.values()), right / 1000) == (1000, accuracy)


# -- estimated


def test_estimates_are_a_stage_of_their_own_and_count_nothing() -> None:
    pages, frame = parsed(PAYLOADS / "cbpe.csv"), truth("cbpe.csv")
    assert not of(pages, Fact)
    found = {(one.ts, one.series.name): one.value for one in of(pages, Sample) if one.series.stage == "estimated"}
    for _, row in frame.iterrows():
        assert found[seconds(row["chunk", "start_date"]), "accuracy"] == row["accuracy", "value"]
    assert {one.series.stage for one in of(pages, Sample)} == {"estimated"}  # nothing was realised when it ran
    [began] = of(pages, Event)
    assert (began.ts, began.ts_latest) == (seconds("2026-09-18 19:20:00"), seconds("2026-10-06 03:55:00"))
    assert began.title.startswith("estimated performance: accuracy (estimate 0.8347 outside 0.8438 to 0.8622)")


def test_realised_values_of_an_estimate_count_only_where_nobody_calculated_them(tmp_path: Path) -> None:
    cells = {f"{name}.realized": 25 for name in CELLS}
    estimate = [(T0, HOUR, {"accuracy.value": 0.7, "accuracy.realized": 0.5, "true_positive.value": 30.5, **cells})]
    folder = tmp_path / "both"
    folder.mkdir()
    made(folder / "estimate.csv", estimate, NOW)
    alone = parsed(folder / "estimate.csv")
    assert facts(alone, "outcome") == {T0: Confusion(dict.fromkeys(CELLS.values(), 25))}
    stages = {one.series.stage: one.value for one in of(alone, Sample) if one.series.name == "accuracy"}
    assert stages == {"estimated": 0.7, "production": 0.5}
    made(folder / "realised.csv", [(T0, HOUR, matrix(40, 40, 10, 10, **{"accuracy.value": 0.8}))], NOW - 500)
    both = parsed(folder)
    assert facts(both, "outcome")[T0].cells["1", "1"] == 40
    stages = {one.series.stage: one.value for one in of(both, Sample) if one.series.name == "accuracy"}
    assert stages == {"estimated": 0.7, "production": 0.8}


# -- drift


def test_drift_keeps_method_thresholds_and_the_verdict_of_its_tool() -> None:
    pages, frame = parsed(PAYLOADS / "univariate_drift.csv"), truth("univariate_drift.csv")
    found = {(one.ts, one.series.name): one.value for one in of(pages, Sample)}
    pairs = {(feature, method) for feature, method, _ in frame.columns if feature != "chunk"}
    assert len(pairs) == 14
    for _, row in frame.iterrows():
        at = seconds(row["chunk", "chunk", "start_date"])
        for feature, method in pairs:
            name = f"drift[{feature}] {method} {'told' if method == 'chi2' else 'outside'}"
            assert found[at, name] == row[feature, method, "value"]
            assert found[at, f"{name} verdict"] == float(row[feature, method, "alert"])
            threshold = row[feature, method, "upper_threshold"]
            assert ((at, f"{name} threshold") in found) is bool(pd.notna(threshold))
    assert all(told(name) for _, name in found)


def test_drift_is_an_event_in_the_chunk_in_which_it_begins() -> None:
    """Once for a feature however many methods alert, and anew after an end: as the table itself says."""
    frame = truth("univariate_drift.csv")
    expected: dict[int, set[str]] = {}
    for feature in {name for name, _, _ in frame.columns} - {"chunk"}:
        alerts = frame[feature].xs("alert", axis=1, level=1).any(axis=1)
        before = alerts.shift(fill_value=False)
        for text in frame.loc[alerts & ~before, ("chunk", "chunk", "start_date")]:
            expected.setdefault(seconds(text), set()).add(feature)
    found = {
        one.ts: set(dict(one.labels)["features"].split(", "))
        for one in of(parsed(PAYLOADS / "univariate_drift.csv"), Event)
    }
    assert found == expected
    assert expected[seconds("2026-09-18 19:20:00")] >= {"order_value", "channel", "y_pred"}


def test_drift_that_a_newer_run_denies_is_taken_back(store: Store, tmp_path: Path) -> None:
    path = tmp_path / "r.csv"

    def outcomes() -> list[tuple[int, str]]:
        return store.cursor().execute(
            "SELECT ts, arg_max(outcome, load_id) FROM event GROUP BY key, ts ORDER BY ts"
        ).fetchall()  # fmt: skip

    def run(at: int, *alerts: bool) -> None:
        chunks = [{"value": 1 + alert, "alert": alert, "upper_threshold": 1.5} for alert in alerts]
        made(path, [(T0 + n * HOUR, HOUR - 300, {f"reconstruction_error.{name}": one for name, one in chunk.items()})
                    for n, chunk in enumerate(chunks)], at)  # fmt: skip
        pull(store, path, at + 10)

    run(NOW, False, True, True)
    assert outcomes() == [(T0 + HOUR, "bad")]
    run(NOW + 600, False, False, True)
    assert outcomes() == [(T0 + HOUR, "excluded"), (T0 + 2 * HOUR, "bad")]


# -- files and times


def test_every_file_is_recognised_by_this_connector_alone(tmp_path: Path) -> None:
    modules = [connect.load(name) for name in connect.names() if name != "nannyml"]
    for path in sorted(PAYLOADS.iterdir()):
        one = item(path, Given())
        assert nannyml.recognise(one) is (path.suffix != ".md"), path
        if path.suffix != ".parquet" or path.name == "realized.parquet":  # the others open such files in a process
            assert not [module for module in modules if module.recognise(one)], path
    assert nannyml.recognise(item(PAYLOADS, Given()))
    (tmp_path / "log.csv").write_text("id,ts,prediction\n1,2026-01-01T00:00:00Z,1\n")
    shutil.copy(PAYLOADS / "cbpe.csv", tmp_path)
    assert not nannyml.recognise(item(tmp_path, Given()))


def test_a_folder_says_what_its_files_say_together_and_names_what_is_none(tmp_path: Path) -> None:
    for age, name in enumerate(("realized.csv", "realized_labels_late.csv", "whole_flat.csv", "missing_flat.csv")):
        shutil.copy(PAYLOADS / name, tmp_path)
        os.utime(tmp_path / name, (NOW - age, NOW - age))
    pages = parsed(tmp_path)
    assert set(facts(pages, "outcome")) == {seconds(text) for text in truth("realized.csv")["chunk", "start_date"]}
    assert "reject missing_flat.csv holds statistics or data quality" in remarks(pages)
    with pytest.raises(SourceRefused, match="data quality"):
        parsed(PAYLOADS / "missing_flat.csv")
    assert "drift[(all features)] reconstruction_error outside" in {one.series.name for one in of(pages, Sample)}


def test_a_second_pull_reads_nothing_and_what_is_not_yet_waits(tmp_path: Path) -> None:
    own = config(
        path=made(
            tmp_path / "r.csv", [(T0, HOUR, matrix(40, 40, 10, 10)), (T0 + HOUR, HOUR, matrix(1, 1, 0, 0, n=2))], T0
        )
    )
    first = list(nannyml.fetch(own, Pull(0, T0 + HOUR, T0 + HOUR, first=True)))
    assert set(facts(first, "outcome")) == {T0}
    second = list(nannyml.fetch(own, Pull(0, T0 + 3 * HOUR, T0 + 3 * HOUR, state=first[-1].state)))
    assert set(facts(second, "outcome")) == {T0, T0 + HOUR}
    third = list(nannyml.fetch(own, Pull(0, T0 + 4 * HOUR, T0 + 4 * HOUR, state=second[-1].state)))
    assert [(page.records, page.covered) for page in third] == [((), ())]


@pytest.mark.parametrize(
    ("zone", "written", "ts"),
    [("Europe/Berlin", "2026-11-01 00:00:00", T0 - HOUR), ("Europe/Berlin", "2026-10-25 02:30:00", 1_792_888_200),
     ("Europe/Berlin", "2026-03-29 02:30:00", None), (None, "2026-11-01 00:00:00", None), ("UTC", "", None),
     (None, "2026-11-01 00:00:00+01:00", T0 - HOUR)],
)  # fmt: skip
def test_times_are_read_in_the_zone_of_the_source(
    tmp_path: Path, zone: str | None, written: str, ts: int | None
) -> None:
    path = made(tmp_path / "r.csv", [(T0, 0, matrix(40, 40, 10, 10))], NOW)
    path.write_text(path.read_text().replace("2026-11-01 00:00:00", written))
    pages = parsed(path, common={"timezone": zone})
    assert set(facts(pages, "outcome")) == ({ts} if ts is not None else set())
    assert ("reject a chunk is left out" in remarks(pages)) is (ts is None)


def test_segments_come_from_the_configuration_and_folders_map(tmp_path: Path) -> None:
    for name in ("DE", "FR"):
        (tmp_path / name).mkdir()
        made(tmp_path / name / "performance.csv", [(T0, HOUR, matrix(40, 40, 10, 10))], NOW)
    own = config(path=tmp_path, segment="country={folder}", positive="fraud", negative="genuine")
    pages = list(nannyml.fetch(own, Pull(0, NOW, NOW, first=True)))
    outcomes = [one for one in of(pages, Fact) if one.series.signal == "outcome"]
    found = {one.series.segment: (one.value.cells["fraud", "genuine"], dict(one.series.labels)) for one in outcomes}
    assert found == {f"country={name}": (10, {"file": "performance", "folder": name}) for name in ("DE", "FR")}


@pytest.mark.parametrize(
    ("name", "path"),
    [("chunk_start_date", ("chunk", "start_date")), ("chunk_index", ("chunk", "chunk_index")),
     ("chunk_size_jensen_shannon_value", ("chunk_size", "jensen_shannon", "value")),
     ("roc_auc_alert", ("roc_auc", "alert")),
     ("a_wasserstein_wasserstein_upper_threshold", ("a_wasserstein", "wasserstein", "upper_threshold")), ("", ())],
)  # fmt: skip
def test_joined_names_are_taken_apart_by_their_known_endings(name: str, path: tuple[str, ...]) -> None:
    assert _flat(name) == path


def test_hostile_names_stay_data(tmp_path: Path) -> None:
    name = "<img src=x onerror=alert(1)>\"'{{7*7}}"
    assert _path(repr((name, "chi2", "value"))) == (name, "chi2", "value")
    assert _path("(__import__('os').system('true'), 'value')") == ("(__import__('os').system('true'), 'value')",)[:0]
    path = made(tmp_path / "r.csv", [(T0, HOUR, {f"{name}.value": 1, f"{name}.realized": 2})], NOW)
    assert {one.series.name for one in of(parsed(path), Sample)} == {name}


@pytest.mark.parametrize("name", ["realized.parquet", "realized.csv"])
def test_a_file_that_is_cut_off_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    whole = (PAYLOADS / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: int(len(whole) * 0.6)])
    with pytest.raises(SourceRefused) as refused:
        parsed(path)
    assert re.fullmatch(rf"{name} .*\.", str(refused.value))


def test_without_a_path_or_with_one_class_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match="set path"):
        list(nannyml.fetch(config(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(nannyml.fetch(config(path=tmp_path / "no"), Pull(0, NOW, NOW)))
    with pytest.raises(ValueError, match="two classes"):
        config(positive="1", negative="1")
