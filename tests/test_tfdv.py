"""TFDV's files: bytes, TFRecord, text and JSON say the same; what is cut or hostile; what the numbers become."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given as examples
from hypothesis import strategies as st

from connectors import _textproto, _tfdv, _tfdv_messages, tfx
from connectors._files import item
from tandem import connect
from tandem.bins import MISSING, OTHER, total
from tandem.connect import Given, Pull, SourceRefused
from tandem.records import DAY, HOUR, Fact, Histogram, Page, Ratio
from tandem.store.file import Store, open_store
from tests.test_tfx import NOW, config, events, pulled, ratio, said, samples
from tests.tfx_store import statistics

PAYLOADS = Path(__file__).parent / "payloads" / "tfdv"
STATISTICS = ("FeatureStats.pb", "stats.pbtxt", "stats.json")
ANOMALIES = ("SchemaDiff.pb", "anomalies.pbtxt", "anomalies.json")


def facts(pages: list[Page], signal: str, name: str = "") -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def parsed(path: Path, at: int | None = NOW - DAY, **more: Any) -> list[Page]:
    return list(tfx.parse(item(path, Given(at=at)), config(**more)))


def written(path: Path, content: Any, when: int = NOW - DAY) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    path.write_bytes(data)
    os.utime(path, (when, when))
    return path


def crc32c(data: bytes) -> int:
    """The masked sum of TFRecord, bit by bit."""
    register = 0xFFFFFFFF
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
    plain = register ^ 0xFFFFFFFF
    return ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    size = len(data).to_bytes(8, "little")
    return size + crc32c(size).to_bytes(4, "little") + data + crc32c(data).to_bytes(4, "little")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


# -- forms


def test_all_forms_of_statistics_say_the_same(tmp_path: Path) -> None:
    record = written(tmp_path / "stats_tfrecord", framed((PAYLOADS / "FeatureStats.pb").read_bytes()))
    told = [parsed(path) for path in (*(PAYLOADS / name for name in STATISTICS), record)]
    values = [[one.value for one in page.records if isinstance(one, Fact)] for pages in told for page in pages[:1]]
    assert all(one == values[0] for one in values)
    pages = told[0]
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(360, 400)]
    assert [one.value for one in facts(pages, "valid_rows", "amount:missing")] == [Ratio(0, 40)]
    [amount], [site] = facts(pages, "feature", "amount"), facts(pages, "feature", "site")
    assert isinstance(amount.value, Histogram)
    assert isinstance(site.value, Histogram)
    assert (total(amount.value), amount.value.counts[MISSING], amount.ts) == (360, 40, (NOW - DAY) // HOUR * HOUR)
    named = dict(zip(site.value.layout.values, (site.value.counts[n] for n in range(3)), strict=True))
    assert named == {"a": 136, "b": 135, "z": 129}
    raw = json.loads((PAYLOADS / "stats.json").read_text())["datasets"][0]["features"][0]["numStats"]["histograms"]
    counts, low = {}, 0
    for bucket in raw[1]["buckets"]:  # whole counts below each decile, as TFDV tells them
        low += bucket["sampleCount"]
        counts[bucket["highValue"]] = low
    below = 0
    for place, edge in enumerate(amount.value.layout.edges):
        below += amount.value.counts.get(place, 0)
        if edge in counts and edge != amount.value.layout.edges[-1]:
            assert abs(below - counts[edge]) <= 1
    assert amount.value.layout.approximate


def test_all_forms_of_anomalies_say_the_same() -> None:
    told = [parsed(PAYLOADS / name) for name in ANOMALIES]
    found = [([(one.outcome, one.title) for one in events(pages, "validation")],
              [(one.series.name, one.value) for one in samples(pages)]) for pages in told]  # fmt: skip
    assert found[0] == found[1] == found[2]
    assert len(found[0][1]) == 6, "value, threshold and verdict of two features"


@pytest.mark.parametrize("name", [*STATISTICS, *ANOMALIES])
def test_each_payload_is_recognised_by_tfx_alone(name: str) -> None:
    found = item(PAYLOADS / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["tfx"]


def test_a_schema_counts_nothing_by_itself() -> None:
    assert not tfx.recognise(item(PAYLOADS / "schema.pbtxt", Given()))
    with pytest.raises(SourceRefused, match="a schema counts nothing by itself"):
        parsed(PAYLOADS / "schema.pbtxt")


def test_what_the_schema_does_not_know_is_invalid() -> None:
    pages = parsed(PAYLOADS / "FeatureStats.pb", schema=PAYLOADS / "schema.pbtxt")
    raw = json.loads((PAYLOADS / "stats.json").read_text())["datasets"][0]["features"][1]
    unseen = sum(
        round(one["sampleCount"]) for one in raw["stringStats"]["rankHistogram"]["buckets"] if one["label"] == "z"
    )
    assert [one.value for one in facts(pages, "valid_rows", "site:unseen category")] == [Ratio(0, unseen)]
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(400 - 40 - unseen, 400)]
    with pytest.raises(SourceRefused, match="is no schema"):
        parsed(PAYLOADS / "FeatureStats.pb", schema=PAYLOADS / "stats.json")


# -- text


def test_text_of_protocol_buffers_in_all_its_spellings() -> None:
    text = r"""
    # a note
    name: "a\tb\303\251\"\x41" 'c'   # joined
    list: [1, 2.5e-3, -inf], inside < deep { x: TRUE } >;
    inside: { }
    [ext.of/it] { y: 0x1F }
    word: ENUM_VALUE
    """
    assert _textproto.message(text) == {
        "name": ['a\tbé"Ac'], "list": ["1", "2.5e-3", "-inf"], "inside": [{"deep": [{"x": ["TRUE"]}]}, {}],
        "ext.of/it": [{"y": ["0x1F"]}], "word": ["ENUM_VALUE"],
    }  # fmt: skip


@pytest.mark.parametrize(
    "text", ["a {", 'a: "open', "a }", "a: {", "}", ": 1", "a b", "a: [1", "a {" * 100 + "}" * 100]
)
def test_broken_text_says_its_line(text: str) -> None:
    with pytest.raises(_textproto.BadText, match="line 2 is no text"):
        _textproto.message("\n" + text)


@examples(st.text(max_size=60))
def test_any_text_is_a_message_or_is_refused(text: str) -> None:
    with contextlib.suppress(_textproto.BadText):
        assert isinstance(_textproto.message(text), dict)


# -- what is cut or hostile


@pytest.mark.parametrize("name", [*STATISTICS, *ANOMALIES])
def test_a_file_that_is_cut_is_refused_or_holds_less_and_never_breaks(name: str, tmp_path: Path) -> None:
    whole = (PAYLOADS / name).read_bytes()
    refused = 0
    for size in range(1, len(whole), max(len(whole) // 60, 1)):
        path = written(tmp_path / name, whole[:size])
        try:
            tfx.recognise(item(path, Given()))
            parsed(path)
        except SourceRefused as no:
            refused += name in str(no)
    assert refused > 40, "and most of them are refused by name"


@examples(st.binary(max_size=200))
def test_any_bytes_are_recognised_or_not(data: bytes) -> None:
    assert _tfdv_messages.kind_of(data) in ("", "statistics", "anomalies", "schema")


@pytest.mark.parametrize(
    ("record", "why"),
    [(lambda data: framed(data)[:-1], "0 whole records"), (lambda data: framed(data) * 2, "2 whole records"),
     (lambda data: framed(data)[:-6] + b"xx" + framed(data)[-4:], "a wrong check sum")],
)  # fmt: skip
def test_a_record_that_is_broken_is_said(record: Any, why: str, tmp_path: Path) -> None:
    path = written(tmp_path / "stats_tfrecord", record((PAYLOADS / "FeatureStats.pb").read_bytes()))
    with pytest.raises(SourceRefused, match=why):
        parsed(path)


@pytest.mark.parametrize(
    ("change", "why"),
    [({"numMissing": "-1"}, "num_missing is no count"), ({"numNonMissing": "500"}, "more often than there are rows"),
     ({"totNumValues": "3"}, "counted more often than there are any")],
)  # fmt: skip
def test_a_feature_that_cannot_be_is_left_out_and_said(change: dict[str, str], why: str, tmp_path: Path) -> None:
    told = statistics({"a": ["x", "y"] * 20, "b": ["x", "y"] * 20})
    told["datasets"][0]["features"][0]["stringStats"]["commonStats"] |= change
    pages = parsed(written(tmp_path / "s.json", told))
    assert why in said(pages)
    assert not facts(pages, "feature", "a")
    assert len(facts(pages, "feature", "b")) == 1


def test_numbers_that_are_no_number_are_missing_and_infinite_ends_are_refused(tmp_path: Path) -> None:
    told = statistics({"x": np.arange(100.0).tolist(), "y": np.arange(100.0).tolist()})
    x, y = (one["numStats"] for one in told["datasets"][0]["features"])
    x["histograms"][0]["numNan"] = "10"
    for histogram in y["histograms"]:
        histogram["buckets"][-1]["highValue"] = "Infinity"
    pages = parsed(written(tmp_path / "s.json", told))
    [found] = facts(pages, "feature", "x")
    assert (total(found.value), found.value.counts[MISSING]) == (90, 10)  # type: ignore[arg-type, union-attr]
    assert not facts(pages, "feature", "y")
    assert "no finite number" in said(pages)


def test_lists_nested_features_and_rare_values(tmp_path: Path) -> None:
    told = statistics({"many": ["a"] * 6 + ["b"] * 4, "deep": ["x"] * 10, "rare": ["a"] * 10})
    many, deep, rare = told["datasets"][0]["features"]
    many["stringStats"]["commonStats"] |= {"totNumValues": "25", "maxNumValues": "4"}
    many["stringStats"]["rankHistogram"]["buckets"][0]["sampleCount"] = 21.0
    deep["path"]["step"] = ["order", "site"]
    deep["stringStats"]["commonStats"] |= {"numNonMissing": "7", "numMissing": "1", "totNumValues": "10"}
    rare["stringStats"]["commonStats"]["totNumValues"] = "13"
    pages = parsed(written(tmp_path / "s.json", told))
    assert total(facts(pages, "feature", "many")[0].value) == 25, "values, not rows"  # type: ignore[arg-type]
    assert facts(pages, "feature", "order.site")
    counts = facts(pages, "feature", "rare")[0].value.counts  # type: ignore[union-attr]
    assert counts[OTHER] == 3, "what TFDV does not name is other"
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(10, 10)]


def test_slices_are_left_out_and_datasets_by_name_are_splits(tmp_path: Path) -> None:
    whole, part = statistics({"x": ["a"] * 10}, "All Examples"), statistics({"x": ["a"] * 4}, "country_DE")
    pages = parsed(written(tmp_path / "a.json", {"datasets": whole["datasets"] + part["datasets"]}))
    assert [one.value for one in facts(pages, "volume")] == [Ratio(10, 10)]
    assert "slices of statistics are left out" in said(pages)
    train, evaluation = statistics({"x": ["a"] * 10}, "train"), statistics({"x": ["a"] * 4}, "eval")
    pages = parsed(written(tmp_path / "b.json", {"datasets": train["datasets"] + evaluation["datasets"]}))
    assert {one.series.stage: one.value for one in facts(pages, "volume")} == {
        "training": Ratio(10, 10), "evaluation": Ratio(4, 4)}  # fmt: skip


def test_quantiles_and_equal_widths_agree_with_the_rows(tmp_path: Path) -> None:
    rows = np.random.default_rng(3).lognormal(3, 1, 5000)
    pages = parsed(written(tmp_path / "s.json", statistics({"x": rows.tolist()})))
    [found] = facts(pages, "feature", "x")
    assert isinstance(found.value, Histogram)
    below = 0
    for place, edge in enumerate(found.value.layout.edges[:-1]):
        below += found.value.counts.get(place, 0)
        assert abs(below / 5000 - (rows < edge).mean()) < 0.002, "both kinds of buckets are exact here"
    wide = _tfdv.datasets(_tfdv_messages.read(item(tmp_path / "s.json", Given()), "statistics"))
    sketch = next(iter(wide)).columns[0].numbers
    assert sketch is not None
    assert len(sketch.values) > 15


# -- files without a store


def test_files_tell_splits_and_spans_by_their_folders(tmp_path: Path) -> None:
    day = 20_000
    for span, split in ((day, "train"), (day, "eval"), (day + 1, "train")):
        written(
            tmp_path / f"span-{span}" / f"Split-{split}" / "FeatureStats.json",
            statistics({"x": ["a"] * (span - day + 5)}),
        )
    (tmp_path / "notes.txt").write_text("no statistics")
    pull = Pull(0, NOW, NOW, first=True)
    pages = list(tfx.fetch(config(tmp_path, spans="days"), pull))
    told = {(one.ts, one.series.stage): one.value for one in facts(pages, "volume")}
    assert told == {(day * DAY, "training"): Ratio(5, 5), (day * DAY, "evaluation"): Ratio(5, 5),
                    ((day + 1) * DAY, "training"): Ratio(6, 6)}  # fmt: skip
    assert "the time of the file" not in said(pages)
    assert "the time of the file" in said(list(tfx.fetch(config(tmp_path), pull)))


def test_a_file_that_is_written_again_replaces_itself_and_an_unchanged_one_is_not_read(
    tmp_path: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = config(tmp_path / "s", production=("serving",))
    first = written(tmp_path / "s" / "span-1" / "Split-serving" / "stats.json", statistics({"x": ["a"] * 10}))
    written(tmp_path / "s" / "span-2" / "Split-serving" / "stats.json", statistics({"x": ["a", None] * 10}))
    assert pulled(store, given).error == ""
    assert ratio(store, "valid_rows") == (20, 30)
    written(first, statistics({"x": ["a", None] * 4}), NOW - DAY + 60)
    read: list[str] = []
    real = _tfdv_messages.read
    monkeypatch.setattr(_tfdv_messages, "read", lambda one, kind: (read.append(str(one.path)), real(one, kind))[1])
    assert pulled(store, given, NOW + 300).error == ""
    assert ratio(store, "valid_rows") == (14, 28)
    assert read == [str(first)], "only what has changed"
    pulled(store, given, NOW + 600)
    assert read == [str(first)]
    (tmp_path / "s" / "span-2" / "Split-serving" / "stats.json").unlink()
    pulled(store, given, NOW + 900)
    assert ratio(store, "valid_rows") == (14, 28), "what vanishes keeps what it counted"


def test_one_broken_file_stops_no_other(tmp_path: Path) -> None:
    written(tmp_path / "a.pbtxt", (PAYLOADS / "stats.pbtxt").read_bytes()[:900])
    written(tmp_path / "b.pbtxt", (PAYLOADS / "stats.pbtxt").read_bytes())
    pages = list(tfx.fetch(config(tmp_path), Pull(0, NOW, NOW, first=True)))
    assert "a.pbtxt cannot be used: line" in said(pages)
    assert len(facts(pages, "volume")) == 1


def test_hostile_names_stay_data(tmp_path: Path) -> None:
    names = ["<script>alert(1)</script>", "a'; DROP TABLE event; --", "=cmd|' /C calc'!A0"]
    pages = parsed(written(tmp_path / "s.json", statistics({name: [name, "x"] * 20 for name in names})))
    found = {one.series.name for page in pages for one in page.records
             if isinstance(one, Fact) and one.series.signal == "feature"}  # fmt: skip
    assert found == set(names)
