"""The whylogs connector: CSV of views, what its script tells, profiles made again, bins in force, another Python."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _whylogs, whylogs
from connectors._files import item
from tandem import apart, collect, connect
from tandem.bins import MISSING, Layout, quantile, total
from tandem.config import Component, Source
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import DAY, Baseline, Confusion, Fact, Histogram, Page, Ratio
from tandem.shown import Half, Window
from tandem.store.file import Store, open_store
from tandem.store.read import Reader
from tests import fakes

PAYLOADS = Path(__file__).parent / "payloads" / "whylogs"
NOW = 1_795_200_000
AT = 1_793_491_200
"""2026-11-01, the time of the captured profile."""
SHARES = {"min": 0.0, "q_01": 0.01, "q_05": 0.05, "q_10": 0.1, "q_25": 0.25, "median": 0.5, "q_75": 0.75, "q_90": 0.9,
          "q_95": 0.95, "q_99": 0.99, "max": 1.0}  # fmt: skip


def config(path: Path | None = None, **more: Any) -> whylogs.Config:
    common = Common("whylogs", "profiles", **more.pop("common", {"component": ("claims",)}))
    return whylogs.Config(common, path=path, **more)


def facts(pages: list[Page], signal: str, name: str = "") -> list[Fact]:
    return [one for page in pages for one in page.records
            if isinstance(one, Fact) and (one.series.signal, one.series.name) == (signal, name)]  # fmt: skip


def said(pages: list[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def view(columns: dict[str, Any], ts: int = 0, made: int = 0) -> str:
    """A CSV as whylogs would write it of columns of numbers (None: null) or texts."""
    out = io.StringIO()
    rows = [{"column": name, **_row(values), **({"dataset_timestamp": ts * 1000, "creation_timestamp": made * 1000}
                                                if ts else {})} for name, values in columns.items()]  # fmt: skip
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(out, names)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def _row(values: Any) -> dict[str, Any]:
    there = [one for one in values if one is not None]
    text = bool(there) and isinstance(there[0], str)
    row: dict[str, Any] = {"counts/n": len(values), "counts/null": len(values) - len(there), "counts/nan": 0,
                           "distribution/n": 0 if text else len(there), "types/string": len(there) if text else 0,
                           "types/fractional": 0 if text else len(there)}  # fmt: skip
    for name, share in SHARES.items():
        row[f"distribution/{name}"] = "" if text else np.quantile(there, share, method="inverted_cdf")
    counted = {one: there.count(one) for one in there} if text else {}
    row["frequent_items/frequent_strings"] = (
        "[" + ", ".join(f"FrequentItem(value={v!r}, est={n}, upper={n}, lower={n})" for v, n in counted.items()) + "]"
        if text else ""
    )  # fmt: skip
    return row


def write(path: Path, text: str, when: int = NOW) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    os.utime(path, (when, when))
    return path


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "tandem.duckdb") as opened:
        yield opened


def pulled(store: Store, given: whylogs.Config, now: int = NOW) -> collect.Outcome:
    return collect.pull(store, Source(given.common, connect.load("whylogs"), given), now)


def ratio(store: Store, signal: str, name: str = "") -> tuple[int, ...]:
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal=signal) if one.placed.name == name]
    merges = reader.totals("ratio", ids, [(0, 1 << 40)])
    return tuple(sum(part) for part in zip(*(merge[0] for merge in merges.values() if merge[0]), strict=True))


# -- what a view says


def test_the_captured_view_of_csv() -> None:
    pages = list(whylogs.parse(item(PAYLOADS / "profile_view.csv", Given(at=AT)), config()))
    [amount], [score], [site] = (facts(pages, "feature", name) for name in ("amount", "score", "site"))
    assert isinstance(amount.value, Histogram)
    assert amount.ts == AT
    assert amount.value.layout.approximate
    assert (total(amount.value), amount.value.counts[MISSING]) == (950, 50), "a nan is a null, and counts once"
    assert isinstance(score.value, Histogram)
    median = quantile(score.value, 0.5)
    assert median is not None
    assert median.low <= 0.5338081095948066 <= median.high
    assert isinstance(site.value, Histogram)
    assert dict(zip(site.value.layout.values, site.value.counts.values(), strict=True)) == {
        "a": 339,
        "b": 326,
        "c": 335,
    }
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(950, 1000)]
    assert [one.value for one in facts(pages, "valid_rows", "amount:missing")] == [Ratio(0, 50)]
    assert "off by up to 2" in said(pages), "a quarter of the values lies between two quantiles"
    baselines = {one.series.name for page in pages for one in page.records if isinstance(one, Baseline)}
    assert baselines == {"score", "site"}, "amount has fewer than 1,000 values"


def test_what_the_script_told_knows_finer_shares_and_the_confusion() -> None:
    pages = list(whylogs.parse(item(PAYLOADS / "told.jsonl", Given()), config()))
    [outcome] = facts(pages, "outcome")
    assert outcome.value == Confusion({("0", "0"): 314, ("1", "0"): 139, ("1", "1"): 547})
    [amount] = facts(pages, "feature", "amount")
    assert (amount.ts, total(amount.value)) == (AT, 950)  # type: ignore[arg-type]
    doubts = [float(text.split("up to ")[1].split("%")[0]) for text in said(pages).split(" | ") if "up to" in text]
    assert max(doubts) < 1.5
    rows = {dict(one.series.labels)["dataset"] for one in facts(pages, "volume")}
    assert rows == {"whylogs"}, "the folder that the file lies in"


def test_a_view_without_a_time_takes_it_from_its_name_or_its_file(tmp_path: Path) -> None:
    path = write(tmp_path / "profile_2026-11-03.csv", view({"x": [1.0, 2.0, 3.0]}))
    [fact] = facts(list(whylogs.fetch(config(tmp_path), Pull(0, NOW + 1, NOW))), "volume")
    assert fact.ts == NOW
    named = config(tmp_path, named="profile_%Y-%m-%d", common={"component": ("claims",), "timezone": "Europe/Berlin"})
    [fact] = facts(list(whylogs.fetch(named, Pull(0, NOW, NOW))), "volume")
    assert fact.ts == AT + 2 * DAY - 3600
    pages = list(whylogs.fetch(config(tmp_path, named="profile_%Y-%m-%d"), Pull(0, NOW, NOW)))
    assert "set a timezone" in said(pages)
    assert not facts(pages, "volume")
    with pytest.raises(SourceRefused, match="does not tell its time"):
        list(whylogs.parse(item(path, Given(timezone="UTC")), config(named="%Y")))


def test_columns_are_chosen_and_the_prediction_is_none_of_the_features() -> None:
    given = config(features=("am*",), prediction="score")
    pages = list(whylogs.parse(item(PAYLOADS / "profile_view.csv", Given(at=AT)), given))
    assert not facts(pages, "feature", "score")
    assert not facts(pages, "feature", "site")
    assert len(facts(pages, "feature", "amount")) == len(facts(pages, "prediction")) == 1


def test_missing_values_in_several_columns_are_a_lower_bound(tmp_path: Path) -> None:
    path = write(tmp_path / "v.csv", view({"x": [1.0, None, None, 2.0], "y": [None, None, 1.0, 3.0]}, AT))
    pages = list(whylogs.parse(item(path, Given()), config()))
    assert [one.value for one in facts(pages, "valid_rows")] == [Ratio(0, 4)]
    assert "lower bound" in said(pages)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (("counts/null", "5000"), "more nulls than rows"),
        (("distribution/median", "1e9"), "fall where their shares rise"),
        (("distribution/n", "4000"), "more numbers than rows"),
        (("counts/n", "many"), "counts/n is no number"),
        (("distribution/max", "inf"), "no finite number"),
    ],
)
def test_a_column_that_cannot_be_is_left_out_and_said(change: tuple[str, str], why: str, tmp_path: Path) -> None:
    text = view({"x": [float(n) for n in range(40)], "y": [float(n) for n in range(40)]}, AT)
    rows = list(csv.DictReader(io.StringIO(text)))
    rows[0][change[0]] = change[1]
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    pages = list(whylogs.parse(item(write(tmp_path / "v.csv", out.getvalue()), Given()), config()))
    assert why in said(pages)
    assert not facts(pages, "feature", "x")
    assert len(facts(pages, "feature", "y")) == 1


def test_hostile_names_and_items_stay_data(tmp_path: Path, store: Store) -> None:
    names = ["<script>alert(1)</script>", "a'; DROP TABLE event; --", "=cmd|' /C calc'!A0"]
    columns = {name: [f"{name}'\"", "__import__('os')", "x"] * 9 for name in names}
    write(tmp_path / "p" / "v.csv", view(columns, AT))
    assert pulled(store, config(tmp_path / "p")).error == ""
    kept = {one.placed.name for one in Reader(store).series(signal="feature")}
    assert kept == set(names)


# -- what changes later


def test_a_profile_made_again_replaces_the_one_before_and_a_copy_counts_once(tmp_path: Path, store: Store) -> None:
    folder = tmp_path / "profiles"
    given = config(folder)
    first = view({"x": [1.0, None, 3.0, 4.0]}, AT, AT + 60)
    write(folder / "a.csv", first)
    write(folder / "copy.csv", first, NOW + 5)
    write(folder / "b.csv", view({"x": [1.0, 2.0]}, AT + 3600, AT + 3660))
    assert pulled(store, given).error == ""
    assert ratio(store, "valid_rows") == (5, 6)
    write(folder / "again.csv", view({"x": [1.0, None, None, None, 2.0]}, AT, AT + 999))
    pulled(store, given, NOW + 300)
    assert ratio(store, "valid_rows") == (4, 7), "the bucket of the first profile has changed, the other has not"
    write(folder / "older.csv", view({"x": [9.0] * 50}, AT, AT + 10))
    outcome = pulled(store, given, NOW + 600)
    assert ratio(store, "valid_rows") == (4, 7)
    assert "the one made last counts" in str(outcome.remarks)
    outcome = pulled(store, given, NOW + 900)
    assert outcome.rows == 0
    (folder / "b.csv").unlink()
    pulled(store, given, NOW + 1200)
    assert ratio(store, "valid_rows") == (4, 7), "what vanishes keeps what it counted"


def test_an_imported_profile_that_was_made_before_the_one_that_counts_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "p.csv", view({"x": [9.0] * 5}, AT, AT + 10))
    for made, expected in ((AT + 5, 1), (AT + 60, 0)):
        pull = Pull(0, NOW, NOW, taken=lambda name, made=made: f"{made}:other:1")  # type: ignore[misc]
        pages = list(whylogs.parse_with(item(path, Given()), config(), pull))
        assert len(facts(pages, "volume")) == expected
        assert ("older profile" in said(pages)) is not bool(expected)


def test_profiles_of_several_processes_add_up_where_they_should(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "p" / "a.csv", view({"x": [1.0, None]}, AT, AT + 1))
    write(tmp_path / "p" / "b.csv", view({"x": [1.0, 2.0, 3.0]}, AT, AT + 2))
    for now in (NOW, NOW + 300):
        assert pulled(store, config(tmp_path / "p", several="add"), now).error == ""
    assert ratio(store, "valid_rows") == (4, 5)


def test_drift_is_judged_on_the_bins_of_the_first_days(tmp_path: Path, store: Store) -> None:
    """Seven days that make the bins, one like them, and one shifted by a standard deviation."""
    rng = np.random.default_rng(5)
    for day in range(9):
        shift = 10.0 if day == 8 else 0.0
        write(tmp_path / "p" / f"{day}.csv", view({"x": rng.normal(50 + shift, 10, 3000).tolist()}, AT + day * DAY))
        pulled(store, config(tmp_path / "p"), NOW + 300 * day) if day in (6, 7, 8) else None
    reader = Reader(store)
    ids = [one.id for one in reader.series(signal="drift") if one.placed.name == ""]
    days = [(AT + day * DAY, AT + (day + 1) * DAY) for day in range(9)]
    [found] = reader.totals("ratio", ids, days).values()
    assert [tuple(one or ()) for one in found] == [(1, 1)] * 8 + [(0, 1)]
    layouts = {one.layout for one in reader.series(signal="feature") if one.placed.name == "x"}
    assert len(layouts) == 1
    shown = fakes.config(tmp_path, components=[Component("claims", "model")])
    window = Half("window", Window(AT + 8 * DAY, AT + 9 * DAY))
    told = apart.drifts(apart.pair(reader, shown, "claims", window, None, NOW))
    assert [(row.feature, row.verdict) for row in told.rows] == [("x", "drift")]
    assert told.remarks[0] == "The counts of x are approximate: they come from sketches, put onto these bins."


def test_too_few_values_are_read_again_until_there_are_bins(tmp_path: Path, store: Store) -> None:
    rng = np.random.default_rng(6)
    for day in range(4):
        write(tmp_path / "p" / f"{day}.csv", view({"x": rng.normal(0, 1, 300).tolist()}, AT + day * DAY))
        assert pulled(store, config(tmp_path / "p"), NOW + 300 * day).error == ""
    reader = Reader(store)
    bins = {one.layout for one in reader.series(signal="feature")}
    counted: dict[int, int] = {}
    for one in reader.series(signal="feature"):
        [[merge]] = list(reader.totals("histogram", [one.id], [(0, 1 << 40)]).values()) or [[None]]
        counted[one.layout] = sum(n for n, _ in merge.values()) if merge else 0  # type: ignore[union-attr]
    assert len(bins) >= 1
    assert sorted(counted.values())[-1] == 1200, "all of them on the bins that stay"
    assert sum(counted.values()) == 1200, "and none of them twice"


def test_the_bins_of_a_prediction_log_go_before() -> None:
    exact = Layout(edges=(0.0, 10.0, 50.0), digits=3)
    asked: Any = lambda component, signal, name: exact if name == "amount" else None  # noqa: E731
    pull = Pull(0, NOW, NOW, layout=asked)
    pages = list(whylogs.parse_with(item(PAYLOADS / "profile_view.csv", Given(at=AT)), config(), pull))
    [amount] = facts(pages, "feature", "amount")
    assert isinstance(amount.value, Histogram)
    assert amount.value.layout == Layout(edges=(0.0, 10.0, 50.0), digits=3, approximate=True)


# -- another Python


def stand_in(tmp_path: Path, body: str) -> Path:
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def test_binary_profiles_want_a_python_that_has_whylogs(tmp_path: Path) -> None:
    binary = item(PAYLOADS / "profile_2026-11-01.bin", Given())
    with pytest.raises(SourceRefused, match="set python to one that has whylogs"):
        list(whylogs.parse(binary, config()))
    with pytest.raises(SourceRefused, match="has no whylogs; make an environment of its own"):
        list(whylogs.parse(binary, config(python=Path(sys.executable))))
    with pytest.raises(SourceRefused, match="cannot be run"):
        list(whylogs.parse(binary, config(python=tmp_path / "nowhere")))
    with pytest.raises(SourceRefused, match="could not run"):
        list(whylogs.parse(binary, config(python=stand_in(tmp_path, "raise SystemExit(3)"))))
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.bin").write_bytes(binary.open().read())
    pages = list(whylogs.fetch(config(tmp_path / "p"), Pull(0, NOW, NOW)))
    assert "set python" in said(pages), "one file that cannot be read stops no other"


def test_the_other_python_gets_profiles_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in that tells what it was given: no argument but the script, no variable of this process."""
    monkeypatch.setenv("SECRET_TOKEN", "canary-5d1f0c7e9b")
    told = (PAYLOADS / "told.jsonl").read_text().splitlines()
    body = f"""
import json, os, sys
data = sys.stdin.buffer.read()
size = int.from_bytes(data[:8], "little")
open({str(tmp_path / "seen")!r}, "w").write(json.dumps([sys.argv[1:], sorted(os.environ), size, len(data)]))
print({json.dumps({"format": _whylogs.FORMAT, "whylogs": "1.6.4"})!r})
print({told[1]!r})
"""
    binary = PAYLOADS / "profile_2026-11-01.bin"
    pages = list(whylogs.parse(item(binary, Given()), config(python=stand_in(tmp_path, body))))
    assert total(facts(pages, "feature", "score")[0].value) == 1000  # type: ignore[arg-type]
    arguments, names, size, length = json.loads((tmp_path / "seen").read_text())
    assert arguments[0] == "-I"
    assert Path(arguments[1]).name == "_whylogs_script.py"
    assert "SECRET_TOKEN" not in names
    assert (size, length) == (binary.stat().st_size, binary.stat().st_size + 8)


def test_a_profile_that_breaks_its_reader_stops_no_other(tmp_path: Path) -> None:
    """The stand-in dies on every profile that begins with a 0."""
    body = f"""
import os, sys
print({json.dumps({"format": _whylogs.FORMAT})!r}, flush=True)
while size := sys.stdin.buffer.read(8):
    data = sys.stdin.buffer.read(int.from_bytes(size, "little"))
    if data.startswith(b"0"):
        os.kill(os.getpid(), 9)
    print('{{"n": %d}}' % len(data), flush=True)
"""
    found = _whylogs.read(stand_in(tmp_path, body), [b"1", b"0", b"22", b"0", b"333"])
    assert found == [{"n": 1}, None, {"n": 2}, None, {"n": 3}]


@pytest.mark.parametrize("document", [None, [], {}, {"format": _whylogs.FORMAT}])
def test_what_is_no_profile_is_refused(document: Any) -> None:
    with pytest.raises(_whylogs.Unusable):
        _whylogs.of_told(document)


# -- files


@pytest.mark.parametrize("name", ["profile_view.csv", "profile_2026-11-01.bin", "perf.bin", "told.jsonl"])
def test_each_file_is_recognised_by_whylogs_alone(name: str) -> None:
    found = item(PAYLOADS / name, Given())
    assert [one for one in connect.names() if connect.load(one).recognise(found)] == ["whylogs"]


def test_a_path_that_is_missing_is_said() -> None:
    with pytest.raises(SourceRefused, match="set path"):
        list(whylogs.fetch(config(), Pull(0, NOW, NOW)))
    with pytest.raises(SourceRefused, match="is not there"):
        list(whylogs.fetch(config(Path("/nowhere/at/all")), Pull(0, NOW, NOW)))
