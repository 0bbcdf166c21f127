"""Prediction logs: every number against a slow, independent one; every sentence of what was promised."""

from __future__ import annotations

import bz2
import gzip
import importlib
import json
import lzma
import math
import random
import tomllib
from bisect import bisect_left, bisect_right
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn import metrics

from connectors import predictions
from connectors._files import item as item_at
from tandem import scores
from tandem.bins import DURATION, MISSING, OTHER, SCORE, Layout
from tandem.child import Child, Refused
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import BUCKET, HOUR, Baseline, Batch, Event, Histogram, Page
from tandem.summarise import hashes

T0 = 1_790_000_000 // HOUR * HOUR
FAR = T0 + 400 * 86400


@pytest.fixture(autouse=True)
def in_this_process(request: Any, monkeypatch: Any) -> None:
    """Most tests read their own files: they do without the child process, which takes half a second to start."""
    if "child" in request.fixturenames:
        return

    def ask(self: Child, call: str, given: Any, arrays: Any = None, seconds: int = 0) -> Any:
        module, _, name = call.partition(":")
        function = getattr(importlib.import_module(module), name)
        yield from function(json.loads(json.dumps(given)), {name: one.copy() for name, one in (arrays or {}).items()})

    monkeypatch.setattr(Child, "ask", ask)


@pytest.fixture
def child() -> None:
    """The test reads files in a real child process."""


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
        self.events: dict[str, Event] = {}

    def pull(self, until: int = FAR, now: int | None = None, keep: bool = True) -> Pull:
        return Pull(
            since=0,
            until=until,
            now=until if now is None else now,
            state=self.state if keep else None,
            taken=self.digests.get,
            layout=lambda component, signal, name: self.layouts.get((component, signal, name)),
        )

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
            elif isinstance(record, Event):
                self.events[record.key] = record
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
    names = {
        "ratio": ("good", "total"),
        "histogram": ("n", "sum"),
        "confusion": ("n",),
        "moments": ("n", "sum", "squares"),
    }[batch.kind]
    extra = {"histogram": ("bin",), "confusion": ("actual", "predicted")}.get(batch.kind, ())
    for row in range(len(columns["ts"])):
        series = batch.series[columns["series"][row]]
        key = (
            series.signal,
            series.name,
            series.version,
            series.segment,
            columns["ts"][row],
            *(columns[name][row] for name in extra),
        )
        values = tuple(columns[name][row] for name in names)
        before = into.get(key, (0,) * len(values))
        into[key] = tuple(a + b for a, b in zip(before, values, strict=True))


def config(folder: Path, **given: Any) -> predictions.Config:
    common = Common(
        connector="predictions",
        name="log",
        component=("model",),
        folder=folder,
        timezone=given.pop("timezone", None),
        shift_days=given.pop("shift_days", None),
    )
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
                    if label:
                        moments(("error", "relative", version, segment, five), abs(e / label), 9)
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


def test_binary_log_equals_the_slow_reference_exactly(tmp_path: Path, child: None) -> None:
    rows = log(3000)
    write(tmp_path / "a.parquet", rows[:1700], row_group_size=500)
    write(tmp_path / "b.parquet", rows[1700:])
    shelf = collected(tmp_path, **FULL)
    features = ["amount", "age", "items", "card", "member"]
    assert reference(rows, shelf, features) == shelf.total()
    assert not shelf.findings


def test_multiclass_log_equals_the_slow_reference_exactly(tmp_path: Path) -> None:
    draw = random.Random(4)
    rows = [{**row, "predicted": draw.choice("abc"), "label": draw.choice(["a", "b", "c", None])} for row in log(1500)]
    write(tmp_path / "a.parquet", rows)
    shelf = collected(tmp_path, task="multiclass", features=("amount", "card"), **FULL)
    assert reference(rows, shelf, ["amount", "card"], "multiclass") == shelf.total()


def test_regression_log_equals_the_slow_reference_exactly(tmp_path: Path, child: None) -> None:
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


# -- what counts


def volume(shelf: Shelf) -> int:
    return sum(values[1] for key, values in shelf.total().items() if key[:4] == ("volume", "", "", ""))


def confusion(shelf: Shelf) -> dict[tuple[str, str], int]:
    cells: Counter[tuple[str, str]] = Counter()
    for key, values in shelf.total().items():
        if key[0] == "outcome" and key[3] == "":
            cells[key[5], key[6]] += values[0]
    return dict(cells)


def plain(n: int, prefix: str = "p", **more: Any) -> list[dict[str, Any]]:
    return [{"id": f"{prefix}{i}", "ts": at(60 * i), "predicted": i % 2, "label": 1, **more} for i in range(n)]


SMALL: dict[str, Any] = {"label": "label", "features": ()}


def again(shelf: Shelf, folder: Path, keep: bool = True, **given: Any) -> Shelf:
    """Another pull of a log; with keep=False the connector's state is lost."""
    until = given.pop("until", FAR)
    return shelf.take(predictions.fetch(config(folder, **given), shelf.pull(until, keep=keep)))


@pytest.mark.parametrize("keep", [True, False])
def test_a_second_pull_says_nothing_new(tmp_path: Path, keep: bool) -> None:
    write(tmp_path / "a.parquet", log(1200))
    shelf = collected(tmp_path, **FULL)
    before = shelf.total()
    pages = list(predictions.fetch(config(tmp_path, **FULL), shelf.pull(keep=keep)))
    assert not [page for page in pages if page.records or page.slice]
    assert before == shelf.take(pages).total()


def test_a_late_label_changes_the_bucket_of_its_prediction(tmp_path: Path) -> None:
    write(tmp_path / "log.parquet", [{**row, "label": None} for row in plain(10)])
    write(tmp_path / "labels" / "1.parquet", [{"id": "p3", "label": 0}])
    given = {**SMALL, "labels": "labels/*.parquet", "path": "log.parquet"}
    shelf = collected(tmp_path, **given)
    assert confusion(shelf) == {("0", "1"): 1}
    write(tmp_path / "labels" / "2.parquet", [{"id": "p9", "label": 1}, {"id": "p3", "label": 1}])
    again(shelf, tmp_path, **given)
    assert confusion(shelf) == {("1", "1"): 2}
    buckets = {key[4] for key in shelf.total() if key[0] == "outcome"}
    assert {T0, T0 + 300} == buckets
    assert volume(shelf) == 10


def test_labels_are_seen_when_they_are_known(tmp_path: Path) -> None:
    write(tmp_path / "log.parquet", [{**row, "label": None} for row in plain(10)])
    labels = [{"id": f"p{i}", "label": 1, "known": at(1000 + 100 * i)} for i in range(10)]
    write(tmp_path / "labels.parquet", labels)
    given = {**SMALL, "labels": "labels.parquet", "path": "log.parquet", "label_time": "known"}
    shelf = collected(tmp_path, until=T0 + 1400, now=T0 + 1400, **given)
    assert sum(confusion(shelf).values()) == 4
    again(shelf, tmp_path, until=T0 + 1500, **given)
    assert sum(confusion(shelf).values()) == 5


def test_the_age_of_a_label_lies_in_the_bucket_of_its_prediction(tmp_path: Path) -> None:
    write(tmp_path / "log.parquet", [{**row, "label": None} for row in plain(10)])
    known = {0: 90, 1: 4000, 2: 86400, 3: -50}  # seconds after the prediction; one was known before it
    labels = [{"id": f"p{i}", "label": 1, "known": plain(10)[i]["ts"] + timedelta(seconds=age)}
              for i, age in known.items()]  # fmt: skip
    write(tmp_path / "labels.parquet", labels)
    given = {**SMALL, "labels": "labels.parquet", "path": "log.parquet", "label_time": "known"}
    shelf = collected(tmp_path, **given)
    facts = {key: values for key, values in shelf.total().items() if key[0] == "label_age" and key[3] == ""}
    assert sum(n for n, _ in facts.values()) == 4
    assert sum(total for _, total in facts.values()) == (90 + 4000 + 86400) * 10**6
    wanted = Counter(
        (int(plain(10)[i]["ts"].timestamp()) // BUCKET * BUCKET, bisect_left(DURATION.edges, max(age, 0)))
        for i, age in known.items()
    )
    found: Counter[tuple[int, int]] = Counter()
    for key, (n, _) in facts.items():
        found[key[4], key[5]] += n
    assert found == wanted
    write(tmp_path / "labels.parquet", [{**row, "known": row["known"] + timedelta(days=3)} for row in labels])
    again(shelf, tmp_path, **given)
    moved = [values for key, values in shelf.total().items() if key[0] == "label_age" and key[3] == ""]
    assert sum(total for _, total in moved) == (90 + 4000 + 86400 + 3 * 3 * 86400 + 3 * 86400 - 50) * 10**6


def test_labels_that_state_no_time_have_no_age(tmp_path: Path) -> None:
    write(tmp_path / "log.parquet", plain(10))
    assert not [key for key in collected(tmp_path, **SMALL).total() if key[0] == "label_age"]


def test_last_label_wins_and_the_labels_log_goes_over_the_own(tmp_path: Path) -> None:
    write(
        tmp_path / "log" / "1.parquet",
        [
            {"id": "a", "ts": at(0), "predicted": 1, "label": 0},
            {"id": "b", "ts": at(0), "predicted": 1, "label": 0},
            {"id": "c", "ts": at(0), "predicted": 0, "label": None},
        ],
    )
    write(
        tmp_path / "log" / "2.parquet",
        [
            {"id": "b", "ts": at(4000), "predicted": 0, "label": 1},
            {"id": "c", "ts": at(0), "predicted": 1, "label": None},
        ],
    )
    write(
        tmp_path / "labels" / "1.parquet", [{"id": "a", "label": 0}, {"id": "x", "label": 0}, {"id": "a", "label": 1}]
    )
    given = {**SMALL, "path": "log", "labels": "labels"}
    shelf = collected(tmp_path, **given)
    # b: the repeat brings a label but is not counted again; its prediction is that of its first row.
    assert confusion(shelf) == {("1", "1"): 2}
    assert volume(shelf) == 3
    said = {(finding.reason, finding.count) for finding in shelf.findings}
    assert ("repeated ids, counted once", 2) in said
    assert ("labels without a prediction", 1) in said


@pytest.mark.parametrize("at_once", [1, 3, 10**9])
def test_repeated_ids_count_once_whatever_is_held_together(tmp_path: Path, monkeypatch: Any, at_once: int) -> None:
    monkeypatch.setattr(hashes, "AT_ONCE", at_once)
    draw = random.Random(2)
    ids = [f"p{draw.randrange(60)}" for _ in range(200)]
    rows = [
        {"id": one, "ts": at(i), "predicted": draw.randrange(2), "label": draw.choice([0, 1, None])}
        for i, one in enumerate(ids)
    ]
    for number in range(4):
        write(tmp_path / f"{number}.parquet", rows[50 * number : 50 * number + 50])
    first: dict[str, Any] = {}
    label: dict[str, Any] = {}
    for row in rows:
        first.setdefault(row["id"], row["predicted"])
        if row["label"] is not None:
            label[row["id"]] = row["label"]
    shelf = collected(tmp_path, **SMALL)
    assert dict(Counter((str(label[one]), str(first[one])) for one in first if one in label)) == confusion(shelf)
    assert volume(shelf) == len(first)


def test_ids_and_classes_compare_as_normalised_text(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "id": pa.array([1.0, 2.0, 3.0, 4.0]),
                "ts": pa.array([at(0)] * 4),
                "predicted": pa.array([1.0, 0.0, 1.0, 1.0]),
            }
        ),
        tmp_path / "log.parquet",
    )
    (tmp_path / "labels.csv").write_text("id,label\n1,1\n2.0,1.0\n 3 ,0\n4.00,1\n")
    shelf = collected(tmp_path, path="log.parquet", labels="labels.csv", **SMALL)
    assert confusion(shelf) == {("1", "1"): 2, ("1", "0"): 1, ("0", "1"): 1}


def test_a_vanished_file_keeps_its_contribution_and_a_changed_one_is_restated(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", plain(10, "a"))
    write(tmp_path / "b.parquet", plain(20, "b"))
    shelf = collected(tmp_path, **SMALL)
    (tmp_path / "a.parquet").unlink()
    assert volume(again(shelf, tmp_path, **SMALL)) == 30
    write(tmp_path / "b.parquet", plain(25, "b"))
    assert volume(again(shelf, tmp_path, **SMALL)) == 35


@pytest.mark.parametrize("keep", [True, False])
@pytest.mark.parametrize("copy", ["0.parquet", "z.parquet"])
def test_a_copy_counts_once_and_a_moved_file_stays_one(tmp_path: Path, copy: str, keep: bool) -> None:
    original = write(tmp_path / "m.parquet", plain(10))
    shelf = collected(tmp_path, **SMALL)
    before = shelf.total()
    (tmp_path / copy).write_bytes(original.read_bytes())
    assert before == again(shelf, tmp_path, keep, **SMALL).total()
    assert not any("repeated" in finding.reason for finding in shelf.findings)
    original.unlink()
    assert before == again(shelf, tmp_path, keep, **SMALL).total()
    write(tmp_path / copy, plain(12))  # the moved file goes on
    assert volume(again(shelf, tmp_path, keep, **SMALL)) == 12


def shares(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Whether files that differ have an id in common."""
    return some != others and not {row["id"] for row in some}.isdisjoint(row["id"] for row in others)


@given(st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_id_ever_seen_counts_once_whatever_happens_to_the_files(tmp_path_factory: Any, data: Any) -> None:
    folder = tmp_path_factory.mktemp("log")
    shelf, seen = Shelf(), set()
    contents: dict[str, list[dict[str, Any]]] = {}
    for made in range(data.draw(st.integers(2, 6))):
        act = data.draw(st.sampled_from(["new", "copy", "move", "grow", "remove"])) if contents else "new"
        name = data.draw(st.sampled_from(sorted(contents))) if contents else ""
        if act == "remove" and any(shares(contents[name], rows) for rows in contents.values()):
            act = "grow"  # repeated ids are found among the files that are there
        fresh = f"{data.draw(st.integers(0, 9))}-{made}.parquet"
        if act == "new":
            contents[fresh] = plain(data.draw(st.integers(1, 5)), f"n{made}-")
        elif act in ("copy", "move"):
            contents[fresh] = contents[name]
            (folder / fresh).write_bytes((folder / name).read_bytes())
        elif act == "grow":
            contents[name] = contents[name] + plain(2, f"g{made}-")
        if act in ("move", "remove") and (act == "move" or len(contents) > 1):
            del contents[name]
            (folder / name).unlink()
        for one, rows in contents.items():
            write(folder / one, rows)
        seen |= {row["id"] for rows in contents.values() for row in rows}
        stop = data.draw(st.one_of(st.none(), st.integers(0, 4)))
        shelf.take(predictions.fetch(config(folder, **SMALL), shelf.pull(keep=data.draw(st.booleans()))), stop)
        assert volume(shelf) <= len(seen)
        again(shelf, folder, data.draw(st.booleans()), **SMALL)
        assert volume(shelf) == len(seen)


def test_no_id_leaves_the_connector(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", [{**row, "id": f"secret-{row['id']}"} for row in log(1100)])
    pages = list(predictions.fetch(config(tmp_path, **FULL), Shelf().pull()))
    assert "secret-" not in repr([(page, [getattr(one, "columns", one) for one in page.records]) for page in pages])


def test_a_changed_setting_summarises_again(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", log(1200))
    shelf = collected(tmp_path, **SMALL)
    again(shelf, tmp_path, **{**SMALL, "segments": ("country",)})
    segments = {key[3] for key in shelf.total()}
    assert {"", "country=DE", "country=FR", "country=(missing)"} == segments
    assert volume(shelf) == 1200


def test_a_pull_killed_after_any_page_is_made_whole_by_the_next(tmp_path: Path) -> None:
    rows = log(1200)
    for number in range(3):
        write(
            tmp_path / f"{number}.parquet",
            rows[400 * number : 400 * number + 500 if number == 2 else 400 * number + 400],
        )
    whole = collected(tmp_path, **FULL).total()
    for stop in range(1, 12):
        shelf = Shelf().take(predictions.fetch(config(tmp_path, **FULL), Shelf().pull()), stop)
        assert whole == again(shelf, tmp_path, keep=False, **FULL).total(), stop


# -- layouts and data quality


def faults(shelf: Shelf) -> dict[str, int]:
    found: Counter[str] = Counter()
    for key, values in shelf.total().items():
        if key[0] == "valid_rows" and key[1] and key[3] == "":
            found[key[1]] += values[1] - values[0]
    return dict(found)


def test_quality_is_judged_against_the_reference(tmp_path: Path) -> None:
    draw = random.Random(1)
    good = [{**row, "amount": draw.uniform(10, 20), "card": draw.choice(["visa", "amex"])} for row in plain(1200)]
    write(tmp_path / "1.parquet", good)
    given = {**SMALL, "features": None}
    shelf = collected(tmp_path, **given)
    assert faults(shelf) == {}
    bad = [
        {"amount": 19.0, "card": "visa"},
        {"amount": None, "card": "visa"},
        {"amount": math.inf, "card": "visa"},
        {"amount": 1000.0, "card": "visa"},
        {"amount": 15.0, "card": "diners"},
        {"amount": -1.0, "card": None},
    ]
    write(tmp_path / "2.parquet", [{**row, **more} for row, more in zip(plain(6, "q"), bad, strict=True)])
    again(shelf, tmp_path, **given)
    wanted = {"amount:missing": 2, "amount:out of range": 2, "card:unseen category": 1, "card:missing": 1}
    assert wanted == faults(shelf)
    total = shelf.total()
    valid = [sum(v[i] for k, v in total.items() if k[:4] == ("valid_rows", "", "", "")) for i in range(2)]
    assert valid == [1201, 1206]


def test_text_in_a_column_of_numbers_is_the_wrong_type(tmp_path: Path) -> None:
    lines = ["id,ts,predicted,label,amount"]
    lines += [f"{i},{at(i):%Y-%m-%dT%H:%M:%SZ},1,1,{i % 37}.5" for i in range(1500)]
    lines[100] = lines[100].rpartition(",")[0] + ",oops"
    lines[200] = lines[200].rpartition(",")[0] + ",NaN"
    lines[300] = lines[300].rpartition(",")[0] + ","
    (tmp_path / "a.csv").write_text("\n".join(lines))
    shelf = collected(tmp_path, path="a.csv", label="label")
    assert faults(shelf) == {"amount:wrong type": 1, "amount:missing": 2}


def test_a_layout_of_few_values_is_provisional(tmp_path: Path) -> None:
    draw = random.Random(1)
    write(tmp_path / "1.parquet", [{**row, "amount": draw.uniform(0, 9)} for row in plain(999)])
    given = {**SMALL, "features": ("amount",)}
    shelf = collected(tmp_path, **given)
    assert shelf.layouts == {}
    write(tmp_path / "2.parquet", [{**row, "amount": 1e6} for row in plain(1, "q")])
    again(shelf, tmp_path, **given)
    assert len(shelf.layouts["model", "feature", "amount"].edges) == 25
    assert faults(shelf) == {}
    counted = {key[5] for key in shelf.total() if key[0] == "feature"}
    assert counted <= set(range(26))
    [baseline] = [one for one in shelf.baselines if one.series.signal == "feature"]
    assert sum(baseline.histogram.counts.values()) == 1000
    kept = shelf.layouts["model", "feature", "amount"]
    write(tmp_path / "3.parquet", [{**row, "amount": 5e9} for row in plain(50, "r")])
    again(shelf, tmp_path, **given)
    assert kept == shelf.layouts["model", "feature", "amount"]
    assert faults(shelf) == {"amount:out of range": 50}


def test_another_reference_makes_other_bins_and_summarises_again(tmp_path: Path) -> None:
    draw = random.Random(8)
    rows = [{**row, "amount": draw.uniform(0, 1) + (i >= 1500) * 10} for i, row in enumerate(plain(3000))]
    write(tmp_path / "1.parquet", rows)
    given = {**SMALL, "features": ("amount",)}
    shelf = collected(tmp_path, **given)
    first = shelf.layouts["model", "feature", "amount"]
    window = {"from": at(1500 * 60).isoformat(), "to": at(3000 * 60).isoformat()}
    again(shelf, tmp_path, **given, reference=window)
    second = shelf.layouts["model", "feature", "amount"]
    assert first.edges[0] < 1
    assert min(second.edges) >= 10
    assert faults(shelf) == {"amount:out of range": 1500}
    assert sum(shelf.baselines[-2].histogram.counts.values()) == 1500
    before = shelf.total()
    assert before == again(shelf, tmp_path, keep=False, **given, reference=window).total()
    for wrong in (
        {"from": "2026"},
        {"from": "soon", "to": "2026-01-01T00:00:00Z"},
        {"from": window["to"], "to": window["from"]},
    ):
        with pytest.raises(SourceRefused, match="reference"):
            again(shelf, tmp_path, **given, reference=wrong)


def test_the_baseline_holds_the_values_it_was_made_of(tmp_path: Path) -> None:
    rows = log(1500)
    write(tmp_path / "1.parquet", rows)
    shelf = collected(tmp_path, **{**FULL, "features": ("amount", "card")})
    by_name = {one.series.name: one.histogram for one in shelf.baselines if one.series.signal == "feature"}
    counts: Counter[int] = Counter()
    for row in rows:
        if row["amount"] is not None:
            counts[bisect_right(by_name["amount"].layout.edges, row["amount"])] += 1
    assert dict(counts) == dict(by_name["amount"].counts)
    digits = by_name["amount"].layout.digits or 0
    assert sum(by_name["amount"].sums.values()) == sum(
        quantum(r["amount"], digits) for r in rows if r["amount"] is not None
    )
    assert by_name["card"].layout.values == ("master", "visa")


def test_numbers_far_beyond_the_first_pull_still_add_up_exactly(tmp_path: Path) -> None:
    write(tmp_path / "1.parquet", [{**row, "amount": float(i % 30) / 7} for i, row in enumerate(plain(1200))])
    given = {**SMALL, "features": ("amount",)}
    shelf = collected(tmp_path, **given)
    digits = shelf.layouts["model", "feature", "amount"].digits or 0
    large = [1e9, 3e12, -7e15, 2.5, 1e300]
    write(tmp_path / "2.parquet", [{**row, "amount": value} for row, value in zip(plain(5, "q"), large, strict=True)])
    again(shelf, tmp_path, **given)
    total = sum(values[1] for key, values in shelf.facts["2.parquet"].items() if key[0] == "feature")
    assert total == sum(int(Decimal(value * 10.0**digits).to_integral_value()) for value in large[:-1])
    missing = sum(
        values[0] for key, values in shelf.facts["2.parquet"].items() if key[0] == "feature" and key[5] == MISSING
    )
    assert missing == 1  # 1e300 is beyond what the store's sums hold


# -- formats


def cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    return repr(value) if isinstance(value, float) else str(value)


def as_csv(rows: list[dict[str, Any]]) -> str:
    lines = [",".join(rows[0])] + [",".join(cell(value) for value in row.values()) for row in rows]
    return "\n".join(lines) + "\n"


def as_json(rows: list[dict[str, Any]]) -> str:
    return "".join(
        json.dumps({k: v.isoformat() if isinstance(v, datetime) else v for k, v in row.items()}) + "\n" for row in rows
    )


def test_all_formats_say_the_same(tmp_path: Path) -> None:
    rows = log(1300)
    write(tmp_path / "a.parquet", rows)
    whole = collected(tmp_path, path="a.parquet", **FULL)
    packed = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}
    for name, text_ in (("a.csv", as_csv(rows)), ("a.jsonl", as_json(rows))):
        (tmp_path / name).write_text(text_)
        shelf = collected(tmp_path, path=name, **FULL)
        assert shelf.layouts == whole.layouts
        assert shelf.total() == whole.total()
    for suffix, pack in packed.items():
        name = f"a.csv.{suffix}"
        (tmp_path / name).write_bytes(pack(as_csv(rows).encode()))
        assert collected(tmp_path, path=name, **SMALL).total() == collected(tmp_path, path="a.csv", **SMALL).total()


def test_file_folder_and_glob(tmp_path: Path) -> None:
    write(tmp_path / "log" / "a.parquet", plain(3, "a"))
    write(tmp_path / "log" / "deep" / "b.parquet", plain(4, "b"))
    (tmp_path / "log" / "README.txt").write_text("not a log")
    (tmp_path / "log" / "_SUCCESS").write_text("")
    assert volume(collected(tmp_path, path="log", **SMALL)) == 7
    assert volume(collected(tmp_path, path="log/*.parquet", **SMALL)) == 3
    assert volume(collected(tmp_path, path="log/**/*.parquet", **SMALL)) == 7
    assert volume(collected(tmp_path, path="log/deep/b.parquet", **SMALL)) == 4
    with pytest.raises(SourceRefused, match="matches no file"):
        collected(tmp_path, path="nothing/*.parquet", **SMALL)


# -- times


def test_times_without_offset_need_a_time_zone(tmp_path: Path) -> None:
    lines = ["id,ts,predicted,label", "1,2026-09-21T10:00:00Z,1,1", "2,2026-09-21T10:00:00,1,1", "3,yesterday,1,1"]
    lines += ["4,2026-09-21T12:00:00+02:00,1,1", "5,,1,1", "6,1790000000,1,1", ",2026-09-21T10:00:00Z,1,1"]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    shelf = collected(tmp_path, path="a.csv", **SMALL)
    assert volume(shelf) == 2
    said = {(finding.reason, finding.where, finding.count) for finding in shelf.findings}
    assert said == {
        ("rows with a time without offset; write the offset or set timezone", "a.csv (first: row 2)", 1),
        ("rows with no readable time", "a.csv (first: row 3)", 2),
        ("rows with a time that is a plain number; set time_unit to s, ms, us or ns", "a.csv (first: row 6)", 1),
        ("rows with no id", "a.csv (first: row 7)", 1),
    }
    assert volume(collected(tmp_path, path="a.csv", timezone="Europe/Berlin", **SMALL)) == 3


def test_parquet_times_naive_zoned_and_numbers(tmp_path: Path) -> None:
    seconds = [T0 + i for i in range(5)]
    for name, array in {
        "naive": pa.array([datetime.fromtimestamp(s, UTC).replace(tzinfo=None) for s in seconds], pa.timestamp("ms")),
        "zoned": pa.array([datetime.fromtimestamp(s, UTC) for s in seconds], pa.timestamp("ns", tz="America/New_York")),
        "number": pa.array([s * 1000 for s in seconds]),
    }.items():
        table = {"id": pa.array(range(5)), "ts": array, "predicted": pa.array([1] * 5), "label": pa.array([1] * 5)}
        pq.write_table(pa.table(table), tmp_path / f"{name}.parquet")
    assert volume(collected(tmp_path, path="naive.parquet", **SMALL)) == 0
    berlin = collected(tmp_path, path="naive.parquet", timezone="Europe/Berlin", **SMALL)
    assert {key[4] for key in berlin.total()} == {T0 - 7200, (T0 - 7200) // HOUR * HOUR}
    assert {key[4] for key in collected(tmp_path, path="zoned.parquet", **SMALL).total()} == {T0}
    assert volume(collected(tmp_path, path="number.parquet", **SMALL)) == 0
    assert {key[4] for key in collected(tmp_path, path="number.parquet", time_unit="ms", **SMALL).total()} == {T0}


def test_the_future_is_rejected_and_comes_in_time(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", plain(100))  # one a minute
    now = T0 + 3000
    shelf = collected(tmp_path, until=now, now=now, **SMALL)
    assert volume(shelf) == 50
    [finding] = shelf.findings
    assert finding.reason == "rows with a time in the future"
    assert finding.count == 44  # those up to 300 s ahead only wait
    again(shelf, tmp_path, until=now + 600, **SMALL)
    assert volume(shelf) == 60


def test_a_shifted_log_is_held_back_in_silence(tmp_path: Path) -> None:
    draw = random.Random(1)
    rows = [{**row, "amount": draw.uniform(0, 1) if i < 1100 else 50.0} for i, row in enumerate(plain(1400))]
    write(tmp_path / "a.parquet", rows)
    given = {**SMALL, "features": ("amount",), "shift_days": 7}
    shelf = collected(tmp_path, until=T0 + 60 * 1050, **given)
    assert not shelf.findings
    assert volume(shelf) == 1050
    assert max(shelf.layouts["model", "feature", "amount"].edges) < 1  # what is to come makes no bins
    again(shelf, tmp_path, until=T0 + 60 * 1050 + 30, **given)
    assert volume(shelf) == 1051
    again(shelf, tmp_path, until=FAR, **given)
    assert volume(shelf) == 1400
    assert faults(shelf) == {"amount:out of range": 300}


# -- bad input: one sentence each, and the rest lands


def bomb() -> bytes:
    sink = pa.BufferOutputStream()
    text_ = pa.array(["x" * 2000], pa.string()).dictionary_encode()
    ids = pa.DictionaryArray.from_arrays(pa.array(np.zeros(3_000_000, np.int32)), text_.dictionary)
    zeros = pa.array(np.zeros(3_000_000, np.int8))
    pq.write_table(pa.table({"id": ids, "ts": zeros, "predicted": zeros, "label": zeros}), sink)
    return sink.getvalue().to_pybytes()


def good_parquet() -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.table({"id": list(range(1000)), "ts": [at(0)] * 1000, "predicted": [1] * 1000, "label": [1] * 1000}), sink
    )
    return sink.getvalue().to_pybytes()


HEAD = b"id,ts,predicted,label\n"
ROW = b"1,2026-09-21T10:00:00Z,1,1\n"
BAD: dict[str, tuple[bytes, str]] = {
    "cut.parquet": (good_parquet()[:-300], "cut off or damaged"),
    "pickle.parquet": (b"\x80\x04\x95\x10\x00", "Python pickle, which is never loaded"),
    "text.parquet": (HEAD + ROW, "is not a Parquet file although its name says so"),
    "bomb.parquet": (bomb(), "GB of memory"),
    "latin.csv": (HEAD + b"1,2026-09-21T10:00:00Z,caf\xe9,1\n", "is not UTF-8 in line 2"),
    "utf16.csv": ((HEAD + ROW).decode().encode("utf-16"), "is UTF-16 text; save it as UTF-8"),
    "ragged.csv": (HEAD + ROW + b"2,2026-09-21T10:00:00Z,1\n" + ROW, "3 fields in line 3 where its header has 4"),
    "long.csv": (HEAD + ROW + b"2,2026-09-21T10:00:00Z,1,1,9,9\n", "6 fields in line 3 where its header has 4"),
    "quote.csv": (HEAD + b'1,"2026-09-21T10:00:00Z,1,1\n' + ROW * 3, "line 2"),
    "twice.csv": (b"id,id,ts,predicted,label\n", 'two columns named "id"'),
    "other.csv": (b"a,b,c\n1,2,3\n", 'has no column "id"; its columns are a, b, c'),
    "empty.csv": (b"", "is empty"),
    "binary.csv": (b"id,ts\0\0\0", "neither Parquet, CSV nor JSON Lines"),
    "login.csv": (b"<!doctype html><html>", "perhaps a login page"),
    "cut.jsonl": (b'{"id": 1, "ts": "2026-09-21T10:00:00Z", "predicted": 1}\n{"id": 2, "ts"', "in line 2"),
    "deep.jsonl": (b'{"id": ' + b"[" * 100_000 + b"\n", "in line 1"),
    "array.json": (b'[{"id": 1}]', "write one object per line"),
    "bomb.csv.gz": (gzip.compress(HEAD + ROW * 11_000_000, 9), "times its size"),
    "cut.csv.gz": (gzip.compress(HEAD + ROW * 1000)[:-20], "cut off or damaged"),
    "classes.csv": (HEAD + b"".join(b"%d,2026-09-21T10:00:00Z,%d,1\n" % (i, i) for i in range(1500)), "1,000 classes"),
}


def test_every_bad_file_gets_a_sentence_and_the_rest_lands(tmp_path: Path, child: None) -> None:
    for name, (content, _) in BAD.items():
        (tmp_path / name).write_bytes(content)
    write(tmp_path / "good.parquet", plain(10))
    shelf = collected(tmp_path, path=".", **SMALL)
    said = {finding.where: finding.reason for finding in shelf.findings}
    for name, (_, wanted) in BAD.items():
        assert wanted in said[name], name
        assert said[name].startswith(f"{name} ")
        assert said[name].endswith(".")
        assert "\n" not in said[name]
    assert set(said) == set(BAD)
    assert volume(shelf) == 10


def test_a_file_that_breaks_keeps_what_it_said(tmp_path: Path) -> None:
    write(tmp_path / "a.parquet", plain(10))
    write(tmp_path / "labels.parquet", [{"id": "p1", "label": 0}])
    given = {**SMALL, "path": "a.parquet", "labels": "labels.parquet"}
    shelf = collected(tmp_path, **given)
    before = shelf.total()
    (tmp_path / "labels.parquet").write_bytes(b"PAR1 broken")
    assert before == again(shelf, tmp_path, **given).total()
    assert [finding.kind for finding in shelf.findings] == ["reject"]
    (tmp_path / "a.parquet").write_bytes(good_parquet()[:-9])
    assert before == again(shelf, tmp_path, **given).total()


def test_a_file_that_breaks_late_says_nothing_and_the_rest_lands(tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("a", "b", "c"):
        write(tmp_path / f"{name}.parquet", plain(10, name))
    ask = Child.ask

    def breaking(self: Child, call: str, given: Any, arrays: Any = None, seconds: int = 0) -> Any:
        for number, frame in enumerate(ask(self, call, given, arrays, seconds)):
            if number and "summarise" in call.rpartition(":")[2] and given["path"].endswith("b.parquet"):
                raise Refused("has a damaged column")
            yield frame

    monkeypatch.setattr(Child, "ask", breaking)
    pages = list(predictions.fetch(config(tmp_path, **SMALL), Shelf().pull()))
    assert {page.slice.name for page in pages if page.records and page.slice} == {"a.parquet", "c.parquet"}
    assert [finding.reason for page in pages for finding in page.findings] == ["b.parquet has a damaged column."]


def test_hashes_that_find_no_room_are_a_pull_to_try_again(tmp_path: Path, monkeypatch: Any) -> None:
    write(tmp_path / "a.parquet", plain(10))
    monkeypatch.setattr(hashes, "AT_ONCE", 1)

    def full() -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hashes.tempfile, "TemporaryFile", full)
    with pytest.raises(SourceDown, match=r"needs room in .*No space left"):
        collected(tmp_path, **SMALL)


def test_links_out_of_the_folder_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "log" / "a.parquet", plain(3))
    outside = write(tmp_path / "secret.parquet", plain(5, "s"))
    (tmp_path / "log" / "b.parquet").symlink_to(outside)
    shelf = collected(tmp_path, path="log/*.parquet", **SMALL)
    assert volume(shelf) == 3
    assert [finding.where for finding in shelf.findings] == ["b.parquet"]


# -- against scikit-learn


def test_scores_and_classes_agree_with_scikit_learn(tmp_path: Path) -> None:
    rows = [row for row in log(3000, seed=9) if row["label"] is not None and row["score"] is not None]
    write(tmp_path / "a.parquet", rows)
    total = collected(tmp_path, **{**FULL, "features": ()}).total()
    truth, guess, score = ([row[name] for row in rows] for name in ("label", "predicted", "score"))
    cells: Counter[tuple[str, str]] = Counter()
    for key, values in total.items():
        if key[0] == "outcome" and key[3] == "":
            cells[key[5], key[6]] += values[0]
    tn, fp, fn, tp = metrics.confusion_matrix(truth, guess).ravel()
    assert dict(cells) == {("0", "0"): tn, ("0", "1"): fp, ("1", "0"): fn, ("1", "1"): tp}
    by_class: dict[str, Counter[int]] = {"0": Counter(), "1": Counter()}
    for key, values in total.items():
        if key[0] == "score" and key[1] in by_class and key[3] == "":
            by_class[key[1]][key[5]] += values[0]
    auc = scores.roc_auc(Histogram(SCORE, by_class["0"], {}), Histogram(SCORE, by_class["1"], {}))
    assert auc is not None
    assert abs(auc.value - metrics.roc_auc_score(truth, score)) <= auc.bound + 1e-12
    for name, wanted in (
        ("log_loss", metrics.log_loss(truth, score)),
        ("brier", metrics.brier_score_loss(truth, score)),
    ):
        moments = [values for key, values in total.items() if key[:2] == ("score", name) and key[3] == ""]
        n, sum_ = sum(one[0] for one in moments), sum(one[1] for one in moments)
        digits = 9 if name == "log_loss" else 12
        assert sum_ / n / 10**digits == pytest.approx(wanted, abs=1e-8)


def test_errors_agree_with_scikit_learn(tmp_path: Path) -> None:
    draw = random.Random(5)
    rows = [{**row, "label": (y := draw.gauss(400, 90)), "predicted": y + draw.gauss(3, 20)} for row in plain(2000)]
    write(tmp_path / "a.parquet", rows)
    shelf = collected(tmp_path, task="regression", **SMALL)
    truth, guess = [row["label"] for row in rows], [row["predicted"] for row in rows]
    found = {}
    for name in ("error", "absolute", "target", "relative"):
        layout = shelf.layouts["model", "error", "target" if name == "target" else ""]
        digits = 9 if name == "relative" else layout.digits or 0
        facts = [values for key, values in shelf.total().items() if key[:2] == ("error", name)]
        n, sum_, squares = (sum(one[i] for one in facts) for i in range(3))
        found[name] = (n, sum_ / 10**digits, squares / 100**digits)
    n = found["error"][0]
    assert n == 2000
    assert found["absolute"][1] / n == pytest.approx(metrics.mean_absolute_error(truth, guess), rel=1e-9)
    assert math.sqrt(found["error"][2] / n) == pytest.approx(metrics.root_mean_squared_error(truth, guess), rel=1e-9)
    theirs = metrics.mean_absolute_percentage_error(truth, guess)
    assert found["relative"][1] / n == pytest.approx(theirs, rel=1e-6)
    spread = found["target"][2] - found["target"][1] ** 2 / n
    assert 1 - found["error"][2] / spread == pytest.approx(metrics.r2_score(truth, guess), rel=1e-9)


# -- import


def item_of(path: Path) -> Any:
    return item_at(path, Given())


def common(folder: Path, component: str = "model") -> Common:
    return Common(connector="predictions", name="import", component=(component,) if component else (), folder=folder)


def test_import_knows_the_usual_columns(tmp_path: Path) -> None:
    rows = [
        {
            "prediction_id": i,
            "timestamp": at(i).isoformat(),
            "y_pred": i % 2,
            "y_pred_proba": 0.3,
            "actual": 1,
            "model_version": "3",
            "amount": 1.0,
        }
        for i in range(9)
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    (tmp_path / "a.csv").write_text(as_csv(rows))
    (tmp_path / "a.jsonl").write_text(as_json(rows))
    for name in ("a.parquet", "a.csv", "a.jsonl"):
        item = item_of(tmp_path / name)
        assert predictions.recognise(item)
        made = predictions.configure(item, common(tmp_path))
        assert (made.id, made.time, made.prediction, made.score) == (
            "prediction_id",
            "timestamp",
            "y_pred",
            "y_pred_proba",
        )
        assert (made.score, made.label, made.version, made.task) == (
            "y_pred_proba",
            "actual",
            "model_version",
            "binary",
        )
        assert predictions.scope(made) == str(tmp_path / name).replace("[", "[[]")
        shelf = Shelf()
        assert volume(shelf.take(predictions.parse_with(item, made, shelf.pull()))) == 0
        facts = {key[2] for key in shelf.total()}
        assert facts == {"3"}


def test_import_refuses_unknown_columns_with_a_block_to_paste(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("nr,when,predicted\n1,2026-09-21T10:00:00Z,1\n")
    item = item_of(tmp_path / "a.csv")
    assert not predictions.recognise(item)
    with pytest.raises(SourceRefused, match="no column is known to be its id or time") as caught:
        predictions.configure(item, common(tmp_path))
    block = str(caught.value).partition("\n")[2]
    [source] = tomllib.loads(block)["source"]
    assert (source["connector"], source["component"], source["prediction"]) == ("predictions", "model", "predicted")
    assert (
        volume(Shelf().take(predictions.parse(item_of(write(tmp_path / "c.parquet", plain(3))), config(tmp_path)))) == 3
    )
    (tmp_path / "b.csv").write_text("id,ts,predicted\n1,2026-09-21T10:00:00Z,1\n")
    with pytest.raises(SourceRefused, match="import it with --component NAME"):
        predictions.configure(item_of(tmp_path / "b.csv"), common(tmp_path, ""))


@pytest.mark.parametrize("text_", ["a,b\n1,2\n", "hello", "[1]", '{"a": 1}', ""])
def test_other_files_are_not_recognised(tmp_path: Path, text_: str) -> None:
    (tmp_path / "x.csv").write_text(text_)
    assert not predictions.recognise(item_of(tmp_path / "x.csv"))


def test_importing_a_file_of_the_log_and_pulling_it_give_the_same(tmp_path: Path) -> None:
    rows = log(1200)
    write(tmp_path / "a.parquet", rows[:700])
    write(tmp_path / "b.parquet", rows[500:])
    made = config(tmp_path, **FULL)
    item = item_of(tmp_path / "b.parquet")
    assert predictions.belongs(item, made)
    imported, pulled = Shelf(), collected(tmp_path, **FULL)
    imported.take(predictions.parse_with(item, made, imported.pull()))
    assert imported.total() == pulled.total()
    imported.take(predictions.fetch(made, imported.pull()))
    pulled.take(predictions.parse_with(item, made, pulled.pull(keep=False)))
    assert imported.total() == pulled.total() == collected(tmp_path, **FULL).total()


def test_the_example_of_the_documentation_is_a_source() -> None:
    source = tomllib.loads(predictions.ABOUT.example)
    known = set(predictions.Config.__dataclass_fields__) | {"connector", "name", "component"}
    assert set(source) <= known
    assert replace(config(Path(), **SMALL)).margins == ()
