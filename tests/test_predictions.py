"""Prediction logs: every number against a slow, independent one; every sentence of what was promised."""

from __future__ import annotations

import json
import math
import random
from bisect import bisect_left, bisect_right
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from connectors import predictions
from tandem.bins import MISSING, OTHER, SCORE, Layout
from tandem.connect import Common, Pull
from tandem.records import BUCKET, HOUR, Baseline, Batch, Page

T0 = 1_790_000_000 // HOUR * HOUR
FAR = T0 + 400 * 86400


class Shelf:
    """What the store does for a connector, in memory: slices, their facts, layouts and state."""

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.facts: dict[str, dict[Any, Any]] = {}
        self.layouts: dict[tuple[str, str, str], Layout] = {}
        self.baselines: list[Baseline] = []
        self.state: Any = None
        self.findings: list[Any] = []
        self.parts: dict[str, set[int]] = {}

    def pull(self, until: int = FAR, now: int | None = None, keep: bool = True) -> Pull:
        return Pull(
            since=0, until=until, now=until if now is None else now, state=self.state if keep else None,
            taken=self.digests.get, layout=lambda component, signal, name: self.layouts.get((component, signal, name)),
        )  # fmt: skip

    def take(self, pages: Any, at_most: int | None = None) -> Shelf:
        self.findings = []
        for number, page in enumerate(pages):
            if at_most is not None and number >= at_most:
                break
            self._page(page)
        return self

    def _page(self, page: Page) -> None:
        json.dumps(page.state)
        if page.state is not None:
            self.state = json.loads(json.dumps(page.state))
        self.findings += page.findings
        into = None
        if page.slice is not None:
            if self.digests.get(page.slice.name) != page.slice.digest:
                self.digests[page.slice.name] = page.slice.digest
                self.facts[page.slice.name] = {}
                self.parts[page.slice.name] = set()
            if page.slice.part in self.parts[page.slice.name]:
                return
            self.parts[page.slice.name].add(page.slice.part)
            into = self.facts[page.slice.name]
        for record in page.records:
            if isinstance(record, Baseline):
                self.baselines.append(record)
                key = (record.series.component, record.series.signal, record.series.name)
                self.layouts[key] = record.histogram.layout
            else:
                assert isinstance(record, Batch)
                assert into is not None
                _add(into, record)

    def total(self) -> dict[Any, Any]:
        """All facts of all slices added up."""
        whole: dict[Any, Any] = {}
        for facts in self.facts.values():
            for key, values in facts.items():
                before = whole.get(key, (0,) * len(values))
                whole[key] = tuple(a + b for a, b in zip(before, values, strict=True))
        return {key: values for key, values in whole.items() if any(values)}


def _add(into: dict[Any, Any], batch: Batch) -> None:
    columns = {name: values.tolist() for name, values in batch.columns.items()}
    names = {"ratio": ("good", "total"), "histogram": ("n", "sum"), "confusion": ("n",),
             "moments": ("n", "sum", "squares")}[batch.kind]  # fmt: skip
    extra = {"histogram": ("bin",), "confusion": ("actual", "predicted")}.get(batch.kind, ())
    for row in range(len(columns["ts"])):
        series = batch.series[columns["series"][row]]
        key = (series.signal, series.name, series.version, series.segment, columns["ts"][row],
               *(columns[name][row] for name in extra))  # fmt: skip
        values = tuple(columns[name][row] for name in names)
        before = into.get(key, (0,) * len(values))
        into[key] = tuple(a + b for a, b in zip(before, values, strict=True))


def config(folder: Path, **given: Any) -> predictions.Config:
    common = Common(connector="predictions", name="log", component=("model",), folder=folder,
                    timezone=given.pop("timezone", None), shift_days=given.pop("shift_days", 0))  # fmt: skip
    plain = {"path": "*.parquet", "task": "binary", "id": "id", "time": "ts", "prediction": "predicted"}
    return predictions.Config(common=common, **{**plain, **given})


def write(path: Path, rows: list[dict[str, Any]], **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    arrays = {
        name: pa.array(values, pa.timestamp("us", tz="UTC")) if name in ("ts", "known") else pa.array(values)
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), path, **options)
    return path


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(T0 + seconds, UTC)


def log(n: int, seed: int = 1, start: float = 0.0, span: float = 7200.0, prefix: str = "p") -> list[dict[str, Any]]:
    """A binary log with everything in it."""
    draw = random.Random(seed)
    rows = []
    for number in range(n):
        truth = draw.random() < 0.3
        score = min(max(draw.gauss(0.65 if truth else 0.35, 0.2), 0.0), 1.0)
        rows.append(
            {
                "id": f"{prefix}{number}",
                "ts": at(start + span * number / n),
                "predicted": int(score > 0.5),
                "score": score if draw.random() > 0.02 else None,
                "label": int(truth) if draw.random() < 0.8 else None,
                "version": draw.choice(["7", "8"]),
                "country": draw.choice(["DE", "FR", None]),
                "channel": draw.choice(["web", "app"]),
                "amount": draw.lognormvariate(3, 1) if draw.random() > 0.03 else None,
                "age": draw.randrange(6),
                "items": draw.choice([1.5, -2.25, 0.0, 7.0, math.nan]),
                "card": draw.choice(["visa", "master", None]),
                "member": draw.choice([True, False]),
            }
        )
    return rows


FULL: dict[str, Any] = {
    "score": "score",
    "label": "label",
    "version": "version",
    "segments": ("country", ("country", "channel")),
}


# -- the slow reference: one row at a time, dicts, Python ints


def quantum(value: float, digits: int) -> int:
    return round(value * 10.0**digits) if digits >= 0 else round(value / 10.0**-digits)


def text(value: Any) -> str | None:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value == int(value):
        return str(int(value))
    return str(value)


def reference(rows: list[dict[str, Any]], shelf: Shelf, features: list[str], task: str = "binary") -> dict[Any, Any]:
    """What the facts must be, of rows whose ids are all different."""
    found: dict[Any, Any] = {}
    tiny = float(np.finfo(float).eps)

    def put(key: Any, *values: int) -> None:
        before = found.get(key, (0,) * len(values))
        found[key] = tuple(a + b for a, b in zip(before, values, strict=True))

    def place(layout: Layout, value: Any) -> tuple[int, int]:
        if layout.kind == "categories":
            given_text = text(value)
            if given_text is None:
                return MISSING, 0
            return (layout.values.index(given_text) if given_text in layout.values else OTHER), 0
        if value is None or not math.isfinite(value):
            return MISSING, 0
        side = bisect_right if layout.closed == "left" else bisect_left
        return side(layout.edges, value), quantum(value, layout.digits or 0)

    def moments(key: Any, value: float, digits: int) -> None:
        put(key, 1, quantum(value, digits), quantum(value, digits) ** 2)

    for row in rows:
        seconds = int(row["ts"].timestamp())
        hour, five = seconds // HOUR * HOUR, seconds // BUCKET * BUCKET
        country, channel = text(row.get("country")) or "(missing)", text(row.get("channel")) or "(missing)"
        version = text(row.get("version")) or ""
        for segment in ("", f"country={country}", f"country={country},channel={channel}"):
            bad = False
            for feature in features:
                bin_, total = place(shelf.layouts["model", "feature", feature], row[feature])
                put(("feature", feature, version, segment, hour, bin_), 1, total)
                if bin_ == MISSING:
                    bad = True
                    put(("valid_rows", f"{feature}:missing", version, segment, five), 0, 1)
            bin_, total = place(shelf.layouts["model", "prediction", ""], row["predicted"])
            put(("prediction", "", version, segment, hour, bin_), 1, total)
            label = row["label"]
            if task == "regression":
                if label is not None:
                    e = row["predicted"] - label
                    layout = shelf.layouts["model", "error", ""]
                    bin_, total = place(layout, e)
                    put(("error", "", version, segment, five, bin_), 1, total)
                    moments(("error", "error", version, segment, five), e, layout.digits or 0)
                    moments(("error", "absolute", version, segment, five), abs(e), layout.digits or 0)
                    target = shelf.layouts["model", "error", "target"].digits or 0
                    moments(("error", "target", version, segment, five), label, target)
            else:
                actual = text(label)
                if actual is not None:
                    put(("outcome", "", version, segment, five, actual, text(row["predicted"])), 1)
                bin_, total = place(SCORE, row["score"])
                put(("score", (actual or "") if task == "binary" else "", version, segment, five, bin_), 1, total)
                if bin_ == MISSING:
                    bad = True
                    put(("valid_rows", "score:missing", version, segment, five), 0, 1)
                elif actual is not None and task == "binary":
                    s, y = row["score"], actual == "1"
                    loss = -float(np.log(np.clip(np.array([s if y else 1.0 - s]), tiny, 1.0))[0])
                    moments(("score", "log_loss", version, segment, five), loss, 9)
                    moments(("score", "brier", version, segment, five), (s - y) ** 2, 12)
            put(("volume", "", version, segment, five), 1, 1)
            put(("valid_rows", "", version, segment, five), int(not bad), 1)
            put(("label_coverage", "", version, segment, five), int(label is not None), 1)
    return {key: values for key, values in found.items() if any(values)}


def collected(folder: Path, shelf: Shelf | None = None, **given: Any) -> Shelf:
    shelf = shelf or Shelf()
    until = given.pop("until", FAR)
    now = given.pop("now", None)
    return shelf.take(predictions.fetch(config(folder, **given), shelf.pull(until, now)))


def test_binary_log_equals_the_slow_reference_exactly(tmp_path: Path) -> None:
    rows = log(3000)
    write(tmp_path / "a.parquet", rows[:1700], row_group_size=500)
    write(tmp_path / "b.parquet", rows[1700:])
    shelf = collected(tmp_path, **FULL)
    features = ["amount", "age", "items", "card", "member"]
    assert reference(rows, shelf, features) == shelf.total()
    assert not shelf.findings


def test_multiclass_log_equals_the_slow_reference_exactly(tmp_path: Path) -> None:
    rows = [{**row, "predicted": random.Random(n).choice("abc"), "label": random.Random(-n - 1).choice(["a", "b", "c", None])}
            for n, row in enumerate(log(1500))]  # fmt: skip
    write(tmp_path / "a.parquet", rows)
    shelf = collected(tmp_path, task="multiclass", features=("amount", "card"), **FULL)
    assert reference(rows, shelf, ["amount", "card"], "multiclass") == shelf.total()


def test_regression_log_equals_the_slow_reference_exactly(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [
        {**row, "predicted": draw.gauss(400, 90), "label": draw.choice([None, draw.gauss(405, 95)])}
        for row in log(1500)
    ]
    write(tmp_path / "a.parquet", rows)
    given = {**FULL, "score": None}
    shelf = collected(tmp_path, task="regression", features=("amount",), **given)
    assert reference(rows, shelf, ["amount"], "regression") == shelf.total()


def test_random_order_and_small_row_groups_give_the_same_facts(tmp_path: Path) -> None:
    rows = log(1500)
    write(tmp_path / "one" / "a.parquet", rows)
    mixed = list(rows)
    random.Random(3).shuffle(mixed)
    write(tmp_path / "two" / "a.parquet", mixed, row_group_size=97)
    first, second = collected(tmp_path / "one", **FULL), collected(tmp_path / "two", **FULL)
    assert first.layouts == second.layouts
    assert first.total() == second.total()
