"""OpenTelemetry files: growth, rotation, compression, lost state, broken files, imports."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard

from connectors import _files, otlp
from connectors._otlp_counting import Memory
from tandem import collect, connect, exported
from tandem import config as configuration
from tandem.connect import Common, Given, Pull, SourceRefused
from tandem.records import Ratio
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.otlp_lines import T0, config, counted, metric, pulled, span, written
from tests.shelf import FAR, Shelf

# --- files that grow, turn over and are lost


def growing(minutes: int) -> list[str]:
    """One point a minute of two pods, one of which restarts, with requests that fail now and then."""
    rng, lines = random.Random(9), []
    for pod in ("a", "b"):
        running, start = np.zeros(4, dtype=int), T0 - 100
        for minute in range(minutes):
            if pod == "b" and minute == minutes // 2:
                running, start = np.zeros(4, dtype=int), T0 + 60 * minute - 30
            running = running + [rng.randrange(4) for _ in range(4)]
            lines.append((minute, metric(T0 + 60 * minute + 7, running.tolist(), start, pod=pod)))
            lines.append((minute, span(T0 + 60 * minute + 9, 0.1, 1000 * (pod == "b") + minute, service="spans")))
    return [line for _, line in sorted(lines, key=lambda pair: pair[0])]


def naive(lines: Sequence[str]) -> dict[int, int]:
    """Requests per bucket, point by point: growth, or the whole value behind a restart."""
    known: dict[str, tuple[str, int]] = {}
    found: dict[int, int] = {}
    for line in lines:
        told = json.loads(line)
        if "resourceSpans" in told:
            [one] = told["resourceSpans"][0]["scopeSpans"][0]["spans"]
            at, amount = int(one["endTimeUnixNano"]), 1
        else:
            resource = told["resourceMetrics"][0]
            pod = json.dumps(resource["resource"])
            [point] = resource["scopeMetrics"][0]["metrics"][0]["histogram"]["dataPoints"]
            at, count, start = int(point["timeUnixNano"]), int(point["count"]), point["startTimeUnixNano"]
            before = known.get(pod)
            amount = 0 if before is None else count - before[1] if before[0] == start else count
            known[pod] = (start, count)
        bucket = at // 10**9 // 300 * 300 - T0
        found[bucket] = found.get(bucket, 0) + amount
    return {bucket: n for bucket, n in found.items() if n}


def totals(shelf: Shelf) -> dict[int, int]:
    return {bucket: n for bucket, (_, n) in counted(shelf).items() if n}


def test_a_growing_file_counts_as_one_that_is_read_at_once(tmp_path: Path) -> None:
    """Cut anywhere, also in the middle of a line; every byte of a line is counted once."""
    lines = growing(40)
    whole = "".join(lines).encode()
    rng = random.Random(5)
    shelf, path = Shelf(), tmp_path / "otel.json"
    for end in sorted(rng.sample(range(len(whole)), 12)):
        path.write_bytes(whole[:end])
        pulled(tmp_path, shelf)
    path.write_bytes(whole)
    pulled(tmp_path, shelf)
    assert totals(shelf) == naive(lines)
    once = pulled(tmp_path)
    assert shelf.ratios() == once.ratios()
    assert shelf.histogram() == once.histogram()


def test_a_second_pull_reads_only_what_was_added(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = growing(60)
    path = written(tmp_path, *lines[:-4])
    shelf = pulled(tmp_path)
    assert pulled(tmp_path, shelf).pages == 1, "an unchanged file is not opened for counting"
    with path.open("a") as opened:
        opened.writelines(lines[-4:])
    reading = otlp._Reading(config(tmp_path), shelf.pull(), Memory.of(shelf.state))
    shelf.take(reading.pages([path]))
    fewest = sum(len(line) for line in lines[-4:])
    with capsys.disabled():
        print(f"\notlp, second pull: {reading.bytes_read:,} bytes, the fewest possible {fewest:,}", end=" ")
    assert reading.bytes_read == fewest
    assert totals(shelf) == naive(lines)


@pytest.mark.parametrize("packing", ["plain", "gzip", "zstd"])
def test_rotation_and_compression_change_nothing(tmp_path: Path, packing: str) -> None:
    """The file is renamed, then compressed, while a new one begins; series go on from the one into the other."""
    lines = growing(40)
    written(tmp_path, *lines[:70])
    shelf = pulled(tmp_path)
    written(tmp_path, *lines[:90])
    (tmp_path / "otel.json").rename(tmp_path / "otel-2026-11-20T18-40-00.000.json")
    written(tmp_path, *lines[90:120])
    pulled(tmp_path, shelf)
    old = tmp_path / "otel-2026-11-20T18-40-00.000.json"
    if packing != "plain":
        pack = gzip.compress if packing == "gzip" else zstandard.ZstdCompressor().compress
        (tmp_path / f"{old.name}.{'gz' if packing == 'gzip' else 'zst'}").write_bytes(pack(old.read_bytes()))
        pulled(tmp_path, shelf)
        old.unlink()
    written(tmp_path, *lines[90:])
    pulled(tmp_path, shelf)
    assert totals(shelf) == naive(lines)
    assert totals(pulled(tmp_path)) == naive(lines)


def framed(lines: Sequence[str]) -> bytes:
    """As the file exporter writes with compression: zstd."""
    packed = [zstandard.ZstdCompressor().compress(line.rstrip("\n").encode()) for line in lines]
    return b"".join(len(one).to_bytes(4, "big") + one for one in packed)


def test_documents_that_are_compressed_one_by_one_are_read_as_they_grow(tmp_path: Path) -> None:
    lines = growing(30)
    path = tmp_path / "otel.json.zst"
    path.write_bytes(framed(lines[:50]) + framed(lines[50:51])[:-3])
    assert otlp.recognise(_files.item(path, Given()))
    shelf = pulled(tmp_path)
    assert totals(shelf) == naive(lines[:50])
    path.write_bytes(framed(lines))
    pulled(tmp_path, shelf)
    assert totals(shelf) == naive(lines)


def test_losing_the_state_loses_no_number_and_counts_nothing_twice(tmp_path: Path) -> None:
    """The stretches are found again by their names; what was added since counts on."""
    lines = growing(40)
    shelf = Shelf()
    for end in (30, 77, 110):
        written(tmp_path, *lines[:end])
        pulled(tmp_path, shelf)
    before = dict(shelf.slices)
    shelf.state = None
    written(tmp_path, *lines)
    pulled(tmp_path, shelf)
    assert before.items() <= shelf.slices.items()
    assert totals(shelf) == naive(lines)


def test_a_pull_that_is_killed_after_any_page_goes_on_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "PIECE", 5_000)
    lines = growing(30)
    written(tmp_path, *lines)
    pages = pulled(tmp_path).pages
    assert pages > 8
    for at in range(pages):
        shelf = Shelf()
        shelf.take(otlp.fetch(config(tmp_path), shelf.pull()), at_most=at)
        pulled(tmp_path, shelf)
        assert totals(shelf) == naive(lines)


def test_what_lies_ahead_of_the_pull_waits(tmp_path: Path) -> None:
    lines = growing(20)
    written(tmp_path, *lines)
    shelf = Shelf()
    pulled(tmp_path, shelf, until=T0 + 8 * 60)
    assert totals(shelf) == naive([line for line in lines if _time(line) < T0 + 480])
    pulled(tmp_path, shelf, until=T0 + 21 * 60, common={"component": ("shop",), "shift_days": 0})
    assert totals(shelf) == naive(lines)


def _time(line: str) -> int:
    return max(int(part.split('"')[0]) // 10**9 for part in line.replace("endTime", "timeU").split('nixNano": "')[1:])


def test_a_time_in_the_far_future_is_rejected_and_stops_nothing(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 9_000_000, [9, 0, 0, 0], T0, delta=True, pod="mad"),
            metric(T0 + 60, [2, 0, 0, 0], T0, delta=True))  # fmt: skip
    shelf = pulled(tmp_path, until=T0 + 600)
    assert counted(shelf) == {0: (2, 2)}
    assert shelf.reasons() == {"a line lies in the future": 1}


def test_series_that_are_forgotten_count_nothing_at_first_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room for a few series only, those heard of longest ago lose one growth; no number is too high."""
    monkeypatch.setattr("connectors._otlp_counting.STATE", 4_000)
    monkeypatch.setattr(otlp, "PIECE", 2_000)
    lines = [metric(T0 + 60 * n + pod / 10, [n + 1, 0, 0, 0], T0 + 1, pod=str(pod)) for n in range(6)
             for pod in range(40)]  # fmt: skip
    written(tmp_path, *lines)
    shelf = pulled(tmp_path)
    assert len(json.dumps(shelf.state)) < 6_000
    assert 0 < sum(totals(shelf).values()) < 240


# --- broken files, import, configuration


def test_files_that_cannot_be_read_are_said_and_stop_nobody(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 60, [2, 0, 0, 0], T0, delta=True))
    (tmp_path / "proto.json").write_bytes(bytes(range(1, 200)))
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress("".join(growing(9)).encode())[:-40])
    (tmp_path / "begun.json").write_text('{"resourceMetrics": [{"resource"')
    (tmp_path / "bomb.json.gz").write_bytes(gzip.compress(b"0" * 20_000_000))
    shelf = pulled(tmp_path)
    assert counted(shelf)[0] >= (2, 2)
    said_of = {finding.where for finding in shelf.findings if finding.kind == "reject"}
    assert {"proto.json", "cut.json.gz", "bomb.json.gz"} <= said_of
    assert "begun.json" not in said_of


def test_a_path_without_files_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r'"\*\.json\*" matches no file; check path'):
        pulled(tmp_path)


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    outside = written(tmp_path, metric(T0 + 60, [2, 0, 0, 0], T0, delta=True), name="secret.json")
    inside = tmp_path / "in"
    inside.mkdir()
    (inside / "link.json").symlink_to(outside)
    with pytest.raises(SourceRefused, match="matches no file"):
        pulled(inside)


@pytest.mark.parametrize(
    ("head", "yes"),
    [
        (b'{"resourceMetrics":[{"resource":', True),
        (b'\xef\xbb\xbf\n{\n  "resourceSpans": [', True),
        (b'{"resourceLogs":[', True),
        (b'{"total_count": 1, "workflow_runs": []}', False),
        (b'[{"resourceSpans": 1}]', False),
        (b"# TYPE up gauge\nup 1\n", False),
        (b"", False),
    ],
)
def test_files_are_recognised_by_content(head: bytes, yes: bool, tmp_path: Path) -> None:
    for name, data in (("x.bin", head), ("y.bin", gzip.compress(head)), ("z.bin", zstandard.compress(head))):
        (tmp_path / name).write_bytes(data)
        assert otlp.recognise(_files.item(tmp_path / name, Given())) is yes


CONFIG = """\
[[source]]
connector = "opentelemetry"
name = "telemetry"
path = "otel"
  [[source.map]]
  component = "shop"
  match = { "service.name" = "shop*" }
"""


@pytest.fixture
def home(tmp_path: Path) -> configuration.Config:
    (tmp_path / "otel").mkdir()
    (tmp_path / "tandem.toml").write_text(CONFIG)
    return configuration.load(tmp_path / "tandem.toml")


def test_pulls_and_imports_of_one_file_are_one_source(home: configuration.Config) -> None:
    """Through the real store: pull, import, pull again, grow, in any order; the same digest as one pull."""
    folder = home.folder / "otel"
    lines = growing(30)
    digests = set()
    for number, steps in enumerate(("p", "ppip", "ip", "iip")):
        path = written(folder, *lines[:40])
        with open_store(home.folder / f"{number}.duckdb") as store:
            for turn, step in enumerate(steps):
                if turn == len(steps) - 1:
                    written(folder, *lines)
                if step == "p":
                    assert not collect.sync(store, home, T0 + 86_400)[0].error
                else:
                    for found in exported.recognise([path], home, Given(), None):
                        assert found.source is not None
                        assert found.item is not None
                        assert not collect.import_item(store, found.source, found.item, T0 + 86_400).failed
            rows = store.cursor().execute("SELECT sum(good), sum(total) FROM ratio").fetchone()
            digests.add(rows)
            assert Reader(store).digest()
    # The spans are of a service that the configuration does not map.
    expected = sum(naive(lines).values()) - 60
    assert digests == {(expected, expected)}


def test_a_folder_is_imported_as_one(tmp_path: Path) -> None:
    lines = growing(30)
    written(tmp_path, *lines[:60], name="b.json")
    written(tmp_path, *lines[60:], name="a.json")
    item = _files.item(tmp_path, Given())
    assert otlp.recognise(item)
    made = otlp.configure(item, Common("otlp", "import", component=("shop",)))
    shelf = Shelf().take(otlp.parse(item, made))
    assert totals(shelf) == naive(lines)
    assert otlp.scope(made) == os.path.normpath(tmp_path)


def test_components_come_from_service_names(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 60, [2, 0, 0, 0], T0, delta=True))
    given = Common("otlp", "t", discover=True, folder=tmp_path)
    pages = list(otlp.fetch(otlp.Config(given, "*.json"), Pull(0, FAR, FAR)))
    assert {one.component for page in pages for one in page.covered or ()} == {"shop"}
    [fact, _] = [record for page in pages for record in page.records]
    assert (fact.series.version, fact.value) == ("7", Ratio(2, 2))


def test_segments_are_margins(tmp_path: Path) -> None:
    written(tmp_path, *(metric(T0 + 60, [n, 0, 0, 0], T0, delta=True, code=code) for n, code in ((2, 200), (3, 500))))
    shelf = pulled(tmp_path, segments=("http.response.status_code",))
    assert list(shelf.ratios(segment="http.response.status_code=500").values()) == [Ratio(0, 3)]
    assert counted(shelf) == {0: (2, 5)}


def test_the_alias_is_the_connector() -> None:
    assert connect.canonical("opentelemetry") == "otlp"
