"""Labels that come late, through the real connector and store: the end is the same as with no delay at all."""

from __future__ import annotations

import importlib
import json
import random
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import metrics

from tandem import collect, report
from tandem import config as configuration
from tandem.child import Child
from tandem.records import DAY, HOUR
from tandem.shown import Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader

START = 1_790_000_000 // DAY * DAY
DAYS = 6
END = START + DAYS * DAY

CONFIG = """\
store = "tandem.duckdb"

[[component]]
name = "fraud"
kind = "model"

[[source]]
connector = "predictions"
name = "log"
path = "log/*.parquet"
labels = "labels/*.parquet"
label_time = "known"
component = "fraud"
task = "binary"
id = "id"
time = "ts"
prediction = "predicted"
score = "score"
label = "label"
version = "version"
segments = ["country"]
features = ["amount"]
"""


EVERY = 3 * DAY
"""Time between two pulls."""


@pytest.fixture(scope="module")
def late(tmp_path_factory: Any) -> dict[str, Any]:
    """The log whose labels come 0 to 30 days late."""
    with pytest.MonkeyPatch.context() as patch:
        in_this_process(patch)
        return replayed(tmp_path_factory.mktemp("late"), predictions(), delayed=True)


def in_this_process(monkeypatch: Any) -> None:
    """These tests read their own files: they do without the child process, which takes half a second to start."""

    def ask(self: Child, call: str, given: Any, arrays: Any = None, seconds: int = 0) -> Any:
        module, _, name = call.partition(":")
        function = getattr(importlib.import_module(module), name)
        yield from function(json.loads(json.dumps(given)), {name: one.copy() for name, one in (arrays or {}).items()})

    monkeypatch.setattr(Child, "ask", ask)


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: pa.array([datetime.fromtimestamp(row[name], UTC) for row in rows], pa.timestamp("us", tz="UTC"))
        if name in ("ts", "known")
        else pa.array([row[name] for row in rows])
        for name in rows[0]
    }
    pq.write_table(pa.table(arrays), path)


def predictions(n: int = 600) -> list[dict[str, Any]]:
    draw = random.Random(4)
    rows = []
    for number in range(n):
        truth = draw.random() < 0.3
        score = min(max(draw.gauss(0.65 if truth else 0.35, 0.2), 0.001), 0.999)
        rows.append({
            "id": f"p{number}", "ts": START + number * (END - START) // n, "predicted": int(score > 0.5),
            "score": score, "version": "7" if number < n // 2 else "8", "country": draw.choice(["DE", "FR", "BR"]),
            "amount": draw.lognormvariate(3, 1), "truth": int(truth), "delay": draw.randrange(0, 30 * DAY),
        })  # fmt: skip
    return rows


def context(folder: Path, store: Store) -> Any:
    return SimpleNamespace(config=configuration.load(folder / "tandem.toml"), store=store)


def replayed(folder: Path, rows: list[dict[str, Any]], delayed: bool) -> dict[str, Any]:
    """The answer at the end, and how much of it was known on the way, when it is pulled every few days."""
    (folder / "tandem.toml").parent.mkdir(parents=True, exist_ok=True)
    (folder / "tandem.toml").write_text(CONFIG)
    labels = [{"id": row["id"], "label": row["truth"], "known": row["ts"] + (row["delay"] if delayed else 0)}
              for row in rows]  # fmt: skip
    last = max(one["known"] for one in labels)
    seen = []
    with open_store(folder / "tandem.duckdb") as store:
        asked = context(folder, store)
        (source,) = asked.config.sources
        for now in range(START + EVERY, last + EVERY + DAY, EVERY):
            _write(folder, rows, labels, now)
            assert not collect.pull(store, source, now).error
            answer = report.show(asked, "fraud", Window(START, END), now=now)["quality"]
            seen.append((answer["predictions"], answer["labels"]))
        far = last + EVERY + DAY
        final = {
            "quality": report.show(asked, "fraud", Window(START, END), now=far)["quality"],
            "hour": report.show(asked, "fraud", Window(START + 5 * HOUR, START + 9 * HOUR), now=far)["quality"],
            "version": report.show(asked, "fraud", Window(START, END), version="8", now=far)["quality"],
            "segment": report.show(asked, "fraud", Window(START, END), segment="country=BR", now=far)["quality"],
            "signals": report.show(asked, "fraud", Window(START, END), now=far)["signals"],
            "digest": Reader(store).digest(),
        }
    return {**final, "seen": seen}


def _write(folder: Path, rows: list[dict[str, Any]], labels: list[dict[str, Any]], now: int) -> None:
    for name, some, key in (("log", rows, "ts"), ("labels", labels, "known")):
        mine = [row for row in some if now - EVERY <= row[key] < now]
        kept = [{field: value for field, value in row.items() if field not in ("truth", "delay")} for row in mine]
        if kept:
            write(folder / name / f"{now}.parquet", kept)


def untimed(quality: dict[str, Any]) -> dict[str, Any]:
    """Without what tells of the delays themselves."""
    return {key: value for key, value in quality.items() if key != "label_maturity"}


def test_delays_of_0_to_30_days_end_in_the_same_numbers_as_none(
    tmp_path: Path, late: dict[str, Any], monkeypatch: Any
) -> None:
    in_this_process(monkeypatch)
    rows = predictions()
    prompt = replayed(tmp_path, rows, delayed=False)
    for part in ("quality", "hour", "version", "segment"):
        assert untimed(late[part]) == untimed(prompt[part])
    for mine, theirs in zip(late["signals"], prompt["signals"], strict=True):
        if mine["signal"] != "label_age":
            assert (mine["signal"], mine["good"], mine["total"]) == (theirs["signal"], theirs["good"], theirs["total"])
    known = [labels for _, labels in late["seen"]]
    assert known == sorted(known), "labels only ever come"
    assert known[0] < known[len(known) // 2] < known[-1] == len(rows)
    halfway = late["seen"][DAYS * DAY // EVERY]
    assert halfway[0] == len(rows)
    assert halfway[1] < len(rows), "some labels are still to come when all is predicted"
    ages = late["quality"]["label_maturity"]
    delays = sorted(row["delay"] for row in rows)
    assert ages["age_labels"] == len(rows)
    assert abs(ages["age_seconds"]["p50"] - delays[len(delays) // 2]) < 2 * DAY
    assert prompt["quality"]["label_maturity"]["age_seconds"]["p99"] <= 0.001


def test_the_end_is_what_scikit_learn_says_of_the_raw_rows(late: dict[str, Any]) -> None:
    rows = predictions()
    for part, mine in (
        ("quality", rows),
        ("version", [row for row in rows if row["version"] == "8"]),
        ("segment", [row for row in rows if row["country"] == "BR"]),
        ("hour", [row for row in rows if START + 5 * HOUR <= row["ts"] < START + 9 * HOUR]),
    ):
        said, true = [row["predicted"] for row in mine], [row["truth"] for row in mine]
        scores = [row["score"] for row in mine]
        answer = late[part]
        assert (answer["predictions"], answer["labels"]) == (len(mine), len(mine))
        assert answer["accuracy"] == pytest.approx(metrics.accuracy_score(true, said))
        assert answer["precision"] == pytest.approx(metrics.precision_score(true, said))
        assert answer["recall"] == pytest.approx(metrics.recall_score(true, said))
        assert answer["f1"] == pytest.approx(metrics.f1_score(true, said))
        assert answer["mcc"] == pytest.approx(metrics.matthews_corrcoef(true, said))
        assert answer["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(true, said))
        assert answer["brier"] == pytest.approx(metrics.brier_score_loss(true, scores), abs=1e-9)
        assert answer["log_loss"] == pytest.approx(metrics.log_loss(true, scores), abs=1e-7)
        auc = answer["roc_auc"]
        assert abs(auc["value"] - metrics.roc_auc_score(true, scores)) <= auc["bound"] + 1e-12
        low, high = (answer["intervals"]["accuracy"][end] for end in ("low", "high"))
        assert low < answer["accuracy"] < high
