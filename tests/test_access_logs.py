"""Log files: nginx's and Apache's formats, JSON Lines, exports of an index; rotation, zones, queries."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from connectors import _files, elasticsearch
from connectors._elastic_queries import Query
from connectors._latency import EDGES
from connectors._log_lines import document
from connectors._lucene import Unanswerable, field_of, matcher
from tandem import collect
from tandem import config as configuration
from tandem.bins import total
from tandem.connect import Common, Given, SourceRefused
from tandem.store.file import open_store
from tests.shelf import Shelf

HERE = Path(__file__).parent / "payloads" / "elasticsearch"
T0 = 1_795_200_000


def config(*signals: Query, folder: Path = HERE, zone: str | None = None) -> elasticsearch.Config:
    common = Common("elasticsearch", "logs", component=("shop",), timezone=zone)
    return elasticsearch.Config(common, f"file:{folder}", signal=signals)


def parsed(path: Path, *signals: Query, shelf: Shelf | None = None, zone: str | None = None) -> Shelf:
    shelf = shelf or Shelf()
    item = _files.item(path, Given())
    return shelf.take(elasticsearch.parse_with(item, config(*signals, zone=zone), shelf.pull()))


def clf(at: int, status: int = 200, offset: int = 0, more: str = "", path: str = "/cart") -> str:
    when = datetime.fromtimestamp(at, timezone(timedelta(hours=offset)))
    return f'10.0.0.1 - - [{when:%d/%b/%Y:%H:%M:%S %z}] "GET {path} HTTP/1.1" {status} 512{more}\n'


def counted(shelf: Shelf, signal: str = "request_success") -> dict[int, tuple[int, int]]:
    return {ts - T0: (one.good, one.total) for ts, one in sorted(shelf.ratios(signal).items())}


# --- formats


@pytest.mark.parametrize("name", sorted(path.name for path in HERE.glob("*") if path.suffix != ".md"))
def test_every_payload_is_recognised_and_counted(name: str) -> None:
    """Each of the hand-written files holds the same ten requests: eight good ones, two that the server failed."""
    item = _files.item(HERE / name, Given())
    assert elasticsearch.recognise(item)
    made = elasticsearch.configure(item, Common("elasticsearch", "import", component=("shop",)))
    shelf = Shelf().take(elasticsearch.parse(item, made))
    assert counted(shelf) == {0: (5, 6), 300: (3, 4)}
    timed = {"nginx_json.log", "index_dump.ndjson", "index_bulk.ndjson"}
    has_latency = any(fact.series.signal == "latency" for facts in shelf.slices.values() for fact in facts)
    assert has_latency is (name in timed)
    if has_latency:
        assert dict(shelf.histogram().counts) == {EDGES.index(0.1): 6, EDGES.index(0.3): 3, EDGES.index(60.0): 1}


def test_what_stands_behind_the_combined_format_can_be_the_duration(tmp_path: Path) -> None:
    """nginx's $request_time at the end, or by its name; Apache's %D in microseconds."""
    agent = ' "-" "curl/8"'
    for more, query in (
        (f"{agent} 0.250", Query("latency", duration="extra.1", unit="s")),
        (f'{agent} rt=0.250 uct="0.001"', Query("latency", duration="rt", unit="s")),
        (" 250000", Query("latency", duration="extra.1", unit="us")),
    ):
        path = tmp_path / "access.log"
        path.write_text(clf(T0 + 1, more=more))
        assert dict(parsed(path, query).histogram().counts) == {EDGES.index(0.25): 1}


def test_a_log_knows_its_own_zone(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(clf(T0 + 1, offset=-5) + clf(T0 + 2, 500, offset=9))
    assert counted(parsed(path)) == {0: (1, 2)}


@pytest.mark.parametrize(
    ("line", "yes"),
    [
        (clf(T0), True),
        (clf(T0, more=' "-" "a \\"quoted\\" agent" 0.1'), True),
        ('{"@timestamp": "2026-11-20T18:40:00Z", "status": 200}\n', True),
        ('{"_index": "x", "_source": {"@timestamp": "2026-11-20T18:40:00Z", "status": 200}}\n', True),
        ('{"index": {"_index": "x"}}\n{"time": 1795200000, "status": "503"}\n', True),
        ('{"@timestamp": "2026-11-20T18:40:00Z", "status": "completed"}\n', False),
        ('{"databaseId": 1, "status": "completed", "createdAt": "2026-11-20T18:40:00Z"}\n', False),
        ('{"prediction_id": 1, "ts": 1, "predicted": 0}\n', False),
        ('{"status": "success", "data": {"resultType": "vector", "result": []}}\n', False),
        ("up 1 1795200000\n", False),
        ("<testsuite/>", False),
        ("", False),
    ],
)
def test_logs_are_recognised_by_content(line: str, yes: bool, tmp_path: Path) -> None:
    for name, data in (("a.bin", line.encode()), ("b.bin", gzip.compress(line.encode()))):
        (tmp_path / name).write_bytes(data)
        assert elasticsearch.recognise(_files.item(tmp_path / name, Given())) is yes


# --- times


def test_times_without_offset_use_the_zone_and_an_hour_that_repeats_follows_the_order(tmp_path: Path) -> None:
    """Berlin, 25 October 2026: 02:30 comes twice; the second is known by what stands before it."""
    path = tmp_path / "x.jsonl"
    texts = ["02:10:00", "02:50:00", "02:20:00", "02:40:00", "03:05:00"]
    path.write_text("".join(f'{{"time": "2026-10-25 {text}", "status": 200}}\n' for text in texts))
    shelf = parsed(path, Query("request_success", time="time", bad="status:>=500"), zone="Europe/Berlin")
    begun = int(datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp())
    assert [(ts - begun) // 60 for ts in sorted(shelf.ratios())] == [10, 50, 80, 100, 125]
    assert shelf.reasons() == {"lines lie in an hour that came twice; their order decides which": 4}


@pytest.mark.parametrize(
    ("told", "zone", "reason"),
    [
        ('"2026-11-20 18:00:00"', None, "a time has no offset"),
        ('"2026-03-29 02:30:00"', "Europe/Berlin", "never was in Europe/Berlin"),
        ('"soon"', None, "is not an ISO 8601 time"),
        ('"1970-01-01T00:00:00Z"', None, "a line has no time"),
        ("null", None, "a line has no time"),
    ],
)
def test_times_that_cannot_be_known_are_rejected(told: str, zone: str | None, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"time": {told}, "status": 200}}\n{{"time": 1795200001.5, "status": 200}}\n')
    shelf = parsed(path, Query("request_success", time="time", bad="status:>=500"), zone=zone)
    assert counted(shelf) == {0: (1, 1)}
    [found] = [one for one in shelf.findings if one.kind == "reject"]
    assert reason in found.reason


@pytest.mark.parametrize("told", ["1795200007", "1795200007000", '"1795200007.123"', '"2026-11-20T19:40:07.5+01:00"'])
def test_times_may_be_numbers(told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(f'{{"ts": {told}, "status": 200}}\n')
    assert counted(parsed(path, Query("request_success", time="ts", bad="status:>=500"))) == {0: (1, 1)}


# --- what changes later


def log(count: int, seed: int = 3) -> list[str]:
    rng = random.Random(seed)
    times = sorted(T0 + rng.randrange(3000) for _ in range(count))
    return [clf(at, rng.choice([200, 404, 500]), path=f"/{number}") for number, at in enumerate(times)]


def truth(lines: Sequence[str]) -> dict[int, tuple[int, int]]:
    found: dict[int, tuple[int, int]] = {}
    for line in lines:
        stamp, status = line.partition("[")[2].partition("]")[0], int(line.split('" ')[1].split()[0])
        bucket = int(datetime.strptime(stamp, "%d/%b/%Y:%H:%M:%S %z").timestamp()) // 300 * 300 - T0
        good, of = found.get(bucket, (0, 0))
        found[bucket] = (good + (status < 500), of + 1)
    return dict(sorted(found.items()))


def test_a_log_vouches_for_what_lies_between_its_lines(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(clf(T0 + 5) + clf(T0 + 4000, 500))
    shelf = parsed(path)
    assert [(c.component, c.signal, c.since - T0, c.until - T0) for c in shelf.covered] == [
        ("shop", "request_success", 5, 4001),
    ]  # fmt: skip


def test_a_growing_log_counts_every_line_once(tmp_path: Path) -> None:
    """From its first line on, shorter and longer than what tells logs apart; a line that is cut off waits."""
    lines, path, shelf = log(120), tmp_path / "access.log", Shelf()
    whole = "".join(lines)
    for end in (len(lines[0]), 500, 1000, 1100, 5000, len(whole)):
        path.write_text(whole[:end])
        parsed(path, shelf=shelf)
        complete = whole[:end].count("\n")
        assert counted(shelf) == truth(lines[:complete])
    parsed(path, shelf=shelf)
    assert counted(shelf) == truth(lines)


@pytest.mark.parametrize("count", [5, 200])
def test_rotation_counts_nothing_twice_and_loses_nothing(tmp_path: Path, count: int) -> None:
    """access.log becomes access.log.1 and then access.log.2.gz, until the oldest is gone."""
    shelf, everything = Shelf(), []
    for turn in range(4):
        lines = log(count, seed=turn + 10)
        everything += lines
        for number in (2, 1):
            old = tmp_path / f"access.log.{number}{'.gz' if number > 1 else ''}"
            if old.exists():
                data = old.read_bytes()
                (tmp_path / f"access.log.{number + 1}.gz").write_bytes(data if number > 1 else gzip.compress(data))
                old.unlink()
        if (tmp_path / "access.log").exists():
            (tmp_path / "access.log").rename(tmp_path / "access.log.1")
        (tmp_path / "access.log").write_text("".join(lines))
        (tmp_path / "access.log.3.gz").unlink(missing_ok=True)
        for path in sorted(tmp_path.iterdir()):
            parsed(path, shelf=shelf)
    assert counted(shelf) == truth(everything)


def test_other_settings_count_anew_and_not_twice(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("".join(log(60)))
    shelf = parsed(path, Query("request_success", bad="http.response.status_code:>=500"))
    before = counted(shelf)
    parsed(path, Query("request_success", bad="http.response.status_code:>=400"), shelf=shelf)
    assert {ts: of for ts, (_, of) in counted(shelf).items()} == {ts: of for ts, (_, of) in before.items()}
    assert sum(good for good, _ in counted(shelf).values()) < sum(good for good, _ in before.values())


# --- what cannot be counted


def test_broken_lines_are_counted_and_the_rest_lands(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    broken = ["no log line\n", clf(T0).replace("Nov", "Foo"), '{"a": NaN}\n', "[1]\n", clf(T0)[:-20]]
    path.write_text(clf(T0 + 1) + "".join(broken))
    shelf = parsed(path)
    assert counted(shelf) == {0: (1, 1)}
    assert shelf.reasons() == {
        "a line is neither JSON nor of the common or combined log format": 2, "a line is no JSON that can be used": 1,
        "a line has a time with an unknown month": 1, "the line is cut off": 1,
    }  # fmt: skip


def test_durations_that_are_none_are_said(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    rows = [0.2, -1, None, "x", True, "0.25"]
    path.write_text("".join(json.dumps({"ts": T0 + 1, "status": 200, "rt": one}) + "\n" for one in rows))
    shelf = parsed(path, Query("latency", time="ts", duration="rt", unit="s"))
    assert total(shelf.histogram()) == 2
    assert shelf.reasons() == {"a line has a negative rt": 1, "a line has no rt": 3}


def test_durations_lie_in_their_bins(tmp_path: Path) -> None:
    rng = random.Random(8)
    took = [round(rng.lognormvariate(-2, 2), 3) for _ in range(400)] + list(EDGES)
    path = tmp_path / "x.jsonl"
    path.write_text("".join(json.dumps({"ts": T0 + 1, "request_time": one, "status": 200}) + "\n" for one in took))
    found = parsed(path, Query("latency", time="ts", duration="request_time", unit="s")).histogram()
    places = np.searchsorted(EDGES, took, side="left")
    assert dict(found.counts) == {int(place): int((places == place).sum()) for place in np.unique(places)}


def test_a_file_that_names_no_component_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text(clf(T0))
    with pytest.raises(SourceRefused, match=r"access\.log does not say of which component.*--component NAME"):
        elasticsearch.configure(_files.item(path, Given()), Common("elasticsearch", "import", discover=True))


def test_files_are_never_those_of_a_server(tmp_path: Path) -> None:
    (tmp_path / "access.log").write_text(clf(T0))
    item = _files.item(tmp_path / "access.log", Given())
    assert elasticsearch.belongs(item, config(folder=tmp_path))
    common = Common("elasticsearch", "logs")
    assert not elasticsearch.belongs(item, elasticsearch.Config(common, "http://127.0.0.1:9200"))


# --- queries without a server

DOC = {"status": 503, "service.name": "shop", "http": {"response": {"status_code": 404}}, "path": "/a b",
       "tags": ["x", "y"], "ok": True, "user_agent.original": "curl/8", "took": 0.25}  # fmt: skip


@pytest.mark.parametrize(
    ("query", "yes"),
    [
        ("", True), ("*", True), ("*:*", True),
        ("status:503", True), ("status:500", False), ("status:[500 TO *]", True), ("status:[500 TO 503}", False),
        ("status:{502 TO 503]", True), ("status:>=503", True), ("status:>503", False), ("status:<504", True),
        ("http.response.status_code:404", True), ("http.response.status_code:5*", False),
        ('service.name:"shop" AND NOT status:200', True), ("service.name:sh?p", True),
        ("service.name:(a OR shop)", True),
        ("(status:200 OR status:503) AND service.name:shop", True), ("status:200 || ok:true", True),
        ("!status:200 && took:[0.2 TO 0.3]", True), ('path:"/a b"', True), ("tags:y", True), ("tags:z", False),
        ("_exists_:took", True), ("_exists_:gone", False), ("gone:*", False), ("gone:1", False), ("NOT gone:1", True),
        ("status:200 OR service.name:shop AND took:>1", False), ("user_agent.original:curl*", True),
    ],
)  # fmt: skip
def test_queries_of_files(query: str, yes: bool) -> None:
    assert matcher(query)(DOC) is yes


@pytest.mark.parametrize("query", ["error", "a:1 b:2", "(a:1", "a:", "a:1 AND", '"free text"', "a:1)"])
def test_queries_that_a_file_cannot_answer_are_refused(query: str, tmp_path: Path) -> None:
    with pytest.raises(Unanswerable):
        matcher(query)
    path = tmp_path / "access.log"
    path.write_text(clf(T0))
    with pytest.raises(SourceRefused, match="a log file cannot answer"):
        parsed(path, Query("request_success", where=query, bad="status:500"))


def test_fields_lie_in_tables_or_have_dots() -> None:
    assert field_of({"a": {"b.c": 1}}, "a.b.c") == 1
    assert field_of({"a.b": {"c": 2}}, "a.b.c") == 2
    assert field_of({"a": 1}, "a.b") is None
    assert document(clf(T0))["http.response.status_code"] == "200"


# --- through the store


def test_a_folder_of_logs_is_a_source(tmp_path: Path) -> None:
    """Pulled again and again while it grows and turns over, it holds what the lines hold."""
    logs = tmp_path / "logs"
    logs.mkdir()
    (tmp_path / "tandem.toml").write_text(
        '[[source]]\nconnector = "elk"\nname = "web"\nurl = "file:logs"\ncomponent = "shop"\n'
    )
    home = configuration.load(tmp_path / "tandem.toml")
    lines = log(200)
    with open_store(tmp_path / "t.duckdb") as store:
        for end in (3, 80, 80, 150):
            (logs / "access.log").write_text("".join(lines[:end]))
            os.utime(logs / "access.log", (T0 + end, T0 + end))
            [outcome] = collect.sync(store, home, T0 + 86_400)
            assert not outcome.failed, outcome
        (logs / "access.log").rename(logs / "access.log.1")
        (logs / "access.log").write_text("".join(lines[150:]))
        assert not collect.sync(store, home, T0 + 86_400)[0].failed
        rows = store.cursor().execute(
            "SELECT ts, sum(good), sum(total) FROM ratio GROUP BY ALL HAVING sum(total) > 0 ORDER BY ALL"
        ).fetchall()  # fmt: skip
    assert rows == [(ts + T0, good, of) for ts, (good, of) in truth(lines).items()]
