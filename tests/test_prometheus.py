"""The prometheus connector on recorded answers and files, and its counting rule against a naive one."""

from __future__ import annotations

import gzip
import json
import math
import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from connectors import _counters, _files, _http, prometheus
from connectors._prometheus_files import Found, read
from connectors._promql import selector
from connectors.prometheus import Config, Query
from tandem.bins import ZERO, bounds, total
from tandem.connect import Common, Given, Pull, SourceDown, SourceRefused
from tandem.records import Finding, Page, Ratio
from tests.faults import TOKEN, TOKEN_ENV, virtual
from tests.faults_prometheus import DAY, Stored, answer_of, shop_config, small_shop
from tests.replay import Answer, serve

PAYLOADS = Path(__file__).parent / "payloads"
HERE = PAYLOADS / "prometheus"

UP = Query(signal="availability", component="shop", up='up{job="checkout"}')
REQUESTS = Query(
    signal="request_success",
    component="shop",
    total='app_http_requests_total{job="checkout"}',
    bad='app_http_requests_total{job="checkout",code=~"5.."}',
)
LATENCY = Query(signal="latency", component="shop", histogram="app_http_request_duration_seconds")
NATIVE = Query(signal="latency", component="native", histogram="lab_native_latency_seconds")
PROBES = (
    Query(signal="availability", component="probe", up="probe_success"),
    Query(signal="latency", component="probe", gauge="probe_duration_seconds", up="probe_success"),
)


def config(*signal: Query, url: str = "http://unused") -> Config:
    return Config(common=Common("prometheus", "prod"), url=url, signal=signal)


def parsed(path: Path, *signal: Query, given: Given = Given()) -> list[Page]:  # noqa: B008 - frozen
    return list(prometheus.parse(_files.item(path, given), config(*signal)))


def values(pages: Sequence[Page]) -> dict[tuple[str, int], Any]:
    return {(r.series.component + r.series.segment, r.ts): r.value for page in pages for r in page.records}


def findings(pages: Sequence[Page]) -> list[Finding]:
    return [finding for page in pages for finding in page.findings]


def pull(stored: Stored, *signal: Query, since: int = DAY, hours: float = 1.0, **keys: Any) -> list[Page]:
    until = since + int(hours * 3600)
    with serve(answer_of(stored, **keys)) as server:
        return list(prometheus.fetch(config(*signal, url=server.url), Pull(since=since, until=until, now=until)))


# --- recorded files


def test_raw_samples_of_a_counter() -> None:
    """Differences of neighbouring samples, per series, in whole numbers, as counted by hand from the payload."""
    path = HERE / "instant_matrix_raw_samples.json"
    told = json.loads(path.read_text())["data"]["result"]
    by_hand = {"5": 0, "": 0}
    for one in told:
        if one["metric"]["job"] == "checkout":
            numbers = [int(v) for _, v in one["values"]]
            by_hand["5" if one["metric"]["code"].startswith("5") else ""] += sum(b - a for a, b in pairwise(numbers))
    [((_, bucket), counted)] = values(parsed(path, REQUESTS)).items()
    assert counted == Ratio(by_hand[""], by_hand[""] + by_hand["5"])
    assert counted.total > 2000
    assert bucket == 1795247942 // 300 * 300


def test_a_dump_of_up() -> None:
    """One of two instances is dead: half of all checks, and nothing of other jobs."""
    text = (HERE / "promtool_tsdb_dump_up.txt").read_text()
    lines = [line.split() for line in text.splitlines() if 'job="checkout"' in line]
    found = values(parsed(HERE / "promtool_tsdb_dump_up.txt", UP))
    assert sum(v.total for v in found.values()) == len(lines)
    assert sum(v.good for v in found.values()) == sum(line[-2] == "1" for line in lines)
    assert {at % 300 for _, at in found} == {0}


def test_range_answers_are_taken_as_samples() -> None:
    assert values(parsed(HERE / "range_up.json", UP)) == {("shop", 1795247700): Ratio(17, 34)}


def test_federation_has_millisecond_times() -> None:
    assert values(parsed(HERE / "federate.txt", UP)) == {("shop", 1795247700): Ratio(1, 2)}


def test_a_native_histogram_keeps_its_bins() -> None:
    """Every bin of the last sample minus the first lies between the bounds the server stated."""
    path = HERE / "native_histogram_range.json"
    samples = json.loads(path.read_text())["data"]["result"][0]["histograms"]
    first, last = samples[0][1], samples[-1][1]
    before = {(low, high): int(n) for _, low, high, n in first["buckets"]}
    expected = {(lo, hi): int(n) - before.get((lo, hi), 0) for _, lo, hi, n in last["buckets"]}
    found = values(parsed(path, NATIVE))
    whole: dict[int, int] = {}
    for histogram in found.values():
        for place, n in histogram.counts.items():
            whole[place] = whole.get(place, 0) + n
    layout = next(iter(found.values())).layout
    assert layout.schema == 3
    stated = {(float(lo), float(hi)): n for (lo, hi), n in expected.items() if n}
    computed = {bounds(layout, place): n for place, n in whole.items()}
    assert sorted(stated.values()) == sorted(computed.values())
    for (lo, hi), (low, high) in zip(sorted(stated), sorted(computed), strict=True):
        assert (lo, hi) == pytest.approx((low, high))
    assert sum(stated.values()) == int(last["count"]) - int(first["count"])


def test_a_failed_probe_stays_out_of_latency() -> None:
    up = parsed(PAYLOADS / "blackbox" / "probe_up.prom", *PROBES, given=Given(at=DAY + 10))
    assert [r.value for page in up for r in page.records if r.series.signal == "availability"] == [Ratio(1, 1)]
    assert [total(r.value) for page in up for r in page.records if r.series.signal == "latency"] == [1]
    down = parsed(PAYLOADS / "blackbox" / "probe_down.prom", *PROBES, given=Given(at=DAY + 10))
    assert list(values(down).values()) == [Ratio(0, 1)]


def test_the_duration_of_a_probe_is_exact() -> None:
    [found] = values(parsed(PAYLOADS / "blackbox" / "probe_up.prom", PROBES[1], given=Given(at=DAY))).values()
    assert sum(found.sums.values()) == 2230
    [place] = found.counts
    low, high = bounds(found.layout, place)
    assert low < 0.002230048 <= high


def test_two_saved_answers_are_a_difference(tmp_path: Path) -> None:
    """A folder of /metrics answers, told apart by their modification time; one alone says that it is not enough."""
    first = (HERE / "app_text_0.0.4.prom").read_text()
    second = first.replace('code="200",route="/cart"} ', 'code="200",route="/cart"} 1')
    assert first != second
    for name, text, at in (("1.prom", first, DAY + 60), ("2.prom", second, DAY + 120)):
        (tmp_path / name).write_text(text)
        os.utime(tmp_path / name, (at, at))
    query = Query(signal="volume", component="shop", total="app_http_requests_total")
    line = next(line for line in first.splitlines() if 'code="200",route="/cart"}' in line and "_total" in line)
    before = float(line.split()[-1])
    after = float(f"1{line.split()[-1]}")
    pages = parsed(tmp_path, query)
    assert values(pages) == {("shop", DAY): Ratio(int(after - before), int(after - before))}
    alone = parsed(tmp_path / "1.prom", query)
    assert not values(alone)
    assert [f.reason for f in findings(alone)] == [
        "has no times; its modification time was taken",
        "holds one moment only, so counters count nothing; import two of them together in a folder",
    ]


@pytest.mark.parametrize(
    ("name", "yes"),
    [
        ("instant_matrix_raw_samples.json", True),
        ("native_histogram_range.json", True),
        ("app_text_0.0.4.prom", True),
        ("app_openmetrics_1.0.txt", True),
        ("federate.txt", True),
        ("promtool_tsdb_dump_up.txt", True),
        ("error_11000_points.txt", False),
        ("PROVENANCE.md", False),
    ],
)
def test_files_are_recognised_by_content(name: str, yes: bool, tmp_path: Path) -> None:
    assert prometheus.recognise(_files.item(HERE / name, Given())) is yes
    renamed = tmp_path / "anything.bin"
    renamed.write_bytes(gzip.compress((HERE / name).read_bytes()))
    assert prometheus.recognise(_files.item(renamed, Given())) is yes


def test_other_systems_files_are_not_taken() -> None:
    for head in (b'{"data": {"runs": []}}', b'[{"databaseId": 1}]', b"<testsuite/>", b"id,ts\n1,2\n", b"PAR1", b""):
        assert not (prometheus.is_json(head) or prometheus.is_text(head))


@pytest.mark.parametrize("name", ["app_text_0.0.4.prom", "federate.txt"])
def test_the_text_reader_agrees_with_the_official_parser(name: str) -> None:
    text = (HERE / name).read_text()
    theirs = {
        (tuple(sorted({"__name__": s.name, **s.labels}.items())), s.value)
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }
    found = Found(lambda labels: True)
    read(_files.item(HERE / name, Given()), found, DAY)
    assert {(key, float(said[-1])) for key, (_, said) in found.numbers.items()} == theirs
    assert len(theirs) > 50


# --- files that cannot be used


def test_a_cut_off_answer_is_refused(tmp_path: Path) -> None:
    whole = (HERE / "range_up.json").read_bytes()
    (tmp_path / "x.json").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceRefused, match=r"x\.json line 1 is not JSON, perhaps cut off"):
        parsed(tmp_path / "x.json", UP)


def test_one_broken_file_of_a_folder_is_left_out(tmp_path: Path) -> None:
    """The rest lands; errors that may stand in the broken file are not taken for none."""
    (tmp_path / "README.md").write_text("exported on a Monday")
    (tmp_path / "up.json").write_bytes((HERE / "range_up.json").read_bytes())
    (tmp_path / "requests.json").write_bytes((HERE / "instant_matrix_raw_samples.json").read_bytes())
    whole = parsed(tmp_path, UP, REQUESTS)
    assert {r.series.signal for page in whole for r in page.records} == {"availability", "request_success"}
    (tmp_path / "requests.json").write_bytes((HERE / "instant_matrix_raw_samples.json").read_bytes()[:2000])
    pages = parsed(tmp_path, UP, REQUESTS)
    assert prometheus.recognise(_files.item(tmp_path, Given()))
    assert [r.value for page in pages for r in page.records] == [Ratio(17, 34)]
    assert [(f.kind, f.where) for f in findings(pages)] == [("reject", "requests.json"), ("reject", REQUESTS.bad)]


def test_a_mixed_folder_is_read_file_by_file(tmp_path: Path) -> None:
    (tmp_path / "up.json").write_bytes((HERE / "range_up.json").read_bytes())
    (tmp_path / "runs.json").write_text('[{"databaseId": 1}]')
    assert not prometheus.recognise(_files.item(tmp_path, Given()))
    assert [prometheus.recognise(one) for one in _files.walk(tmp_path, Given(), prometheus.recognise)] == [False, True]


def test_a_cut_off_last_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "x.txt").write_text(
        f'{{__name__="up", job="checkout"}} 1 {DAY}000\n{{__name__="up", job="checkout"}} 1'
    )
    pages = parsed(tmp_path / "x.txt", UP)
    assert list(values(pages).values()) == [Ratio(1, 1)]
    assert findings(pages) == [Finding("reject", "the line is cut off", "x.txt line 2")]


def test_what_is_no_count_is_rejected_and_the_rest_lands(tmp_path: Path) -> None:
    lines = ["# TYPE up gauge"]
    lines += [f'up{{job="checkout"}} {v} {DAY + n}' for n, v in enumerate(["1", "NaN", "0.5", "+Inf", "0", "-1"])]
    lines += ["not a sample at all {", f'app_http_requests_total{{job="checkout",code="200"}} 1.5 {DAY}']
    lines += [
        f'app_http_requests_total{{job="checkout",code="200"}} {v} {DAY + t}' for v, t in (("3.7", 60), ("9.7", 400))
    ]
    (tmp_path / "x.om").write_text("\n".join([*lines, "# EOF", ""]))
    pages = parsed(tmp_path / "x.om", UP, REQUESTS)
    found = {(r.series.signal, r.ts): r.value for page in pages for r in page.records}
    assert found == {("availability", DAY): Ratio(1, 2), ("request_success", DAY + 300): Ratio(6, 6)}
    assert {(f.kind, f.reason, f.count) for f in findings(pages)} == {
        ("reject", "the line is not a sample", 1),
        ("reject", "a check is neither 0 nor 1", 3),
        ("reject", "a counter did not grow by a whole number", 1),
    }


def test_a_part_larger_than_its_total_is_rejected() -> None:
    stored: Stored = [
        ({"__name__": "all_total"}, [(DAY + 1, 0), (DAY + 60, 5), (DAY + 400, 9)]),
        ({"__name__": "bad_total"}, [(DAY + 1, 0), (DAY + 60, 7), (DAY + 400, 8)]),
    ]
    pages = pull(stored, Query(signal="request_success", component="shop", total="all_total", bad="bad_total"))
    assert values(pages) == {("shop", DAY + 300): Ratio(3, 4)}
    assert findings(pages) == [Finding("reject", "a part is larger than its total", "bad_total")]


def test_nothing_that_is_asked_for_says_what_there_is() -> None:
    [finding] = findings(parsed(HERE / "range_nan.json", UP))
    assert "holds no series that a [[source.signal]] asks for" in finding.reason


@pytest.mark.parametrize(
    ("keys", "reason"),
    [
        ({"up": "sum(up)"}, "is more than a selector"),
        ({"up": "up[5m]"}, "is more than a selector"),
        ({"up": "up{a=1}"}, "cannot be read as a selector"),
        ({"up": 'up{a=~"("}'}, "regular expression"),
        ({"up": "{}"}, "names no metric"),
        ({"up": "up", "total": "x", "bad": "y"}, "up stands alone"),
        ({"total": "x"}, "give bad or good beside total"),
        ({"total": "x", "bad": "y", "good": "z"}, "give bad or good beside total"),
        ({"gauge": "x", "bad": "y"}, "bad and good need total"),
        ({}, "give exactly one of up, total, histogram and gauge"),
    ],
)
def test_a_signal_that_cannot_be_asked_is_refused_with_its_reason(keys: dict[str, str], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Query(signal="availability", component="shop", **keys)


def test_a_source_without_signals_says_what_to_do() -> None:
    with pytest.raises(SourceRefused, match=r"has no \[\[source.signal\]\].*tandem init --connector prometheus"):
        parsed(HERE / "range_up.json")


# --- the counting rule


def naive(samples: Sequence[tuple[int, float]]) -> dict[int, int]:
    """The rule, sample by sample, in plain Python."""
    found: dict[int, int] = {}
    for (earlier, a), (later, b) in pairwise(samples):
        if later - earlier <= 600_000:
            bucket = later // 300_000 * 300
            found[bucket] = found.get(bucket, 0) + int(b - a if b >= a else b)
    return found


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 1_300_000), st.integers(0, 50)), max_size=60))
def test_increases_follow_the_rule(steps: list[tuple[int, int]]) -> None:
    """Resets, gaps and bucket edges in any mixture."""
    times, samples = DAY * 1000, []
    for step, value in steps:
        times += step
        samples.append((times, float(value)))
    series = _counters.scraped({}, [at for at, _ in samples], [v for _, v in samples])
    at, amounts, broken = _counters.increases(series.times, series.values)
    assert not broken.any()
    assert _counters.summed(at, amounts) == naive(samples)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_histograms_follow_the_rule_in_any_pieces(data: st.DataObject) -> None:
    """Increments per bin are known; restarts are seen by all bounds together; nothing crosses 10 minutes."""
    edges = [0.1, 0.5, math.inf]
    running, at, known = [0, 0, 0], DAY * 1000, {}
    rows: list[tuple[int, list[int]]] = []
    for _ in range(data.draw(st.integers(1, 25))):
        step = data.draw(st.sampled_from([15_000, 60_000, 599_000, 600_001]))
        added = data.draw(st.lists(st.integers(0, 9), min_size=3, max_size=3))
        restarted = sum(running) > sum(added) and data.draw(st.booleans())
        at += step
        running = added if restarted else [a + b for a, b in zip(running, added, strict=True)]
        rows.append((at, list(np.cumsum(running).tolist())))
        if len(rows) > 1 and step <= 600_000:
            bucket = at // 300_000 * 300
            known[bucket] = [a + b for a, b in zip(known.get(bucket, [0, 0, 0]), added, strict=True)]
    series = {
        edge: _counters.scraped({}, [at for at, _ in rows], [row[place] for _, row in rows])
        for place, edge in enumerate(edges)
    }
    found: dict[int, list[int]] = {}
    for bucket, layout, counts in _counters.classic(series):
        assert counts is not None
        assert (layout.edges, layout.closed) == ((0.1, 0.5), "right")
        found[bucket] = [counts.get(place, 0) for place in range(3)]
    assert {k: v for k, v in found.items() if any(v)} == {k: v for k, v in known.items() if any(v)}


def test_a_histogram_that_gets_other_bounds() -> None:
    """Without a restart the shared bounds count; after one the new bounds count in full."""
    stored: Stored = [
        ({"__name__": "h_bucket", "le": "0.1"}, [(DAY + 15, 2.0), (DAY + 30, 4.0), (DAY + 45, 6.0), (DAY + 360, 1.0)]),
        ({"__name__": "h_bucket", "le": "0.5"}, [(DAY + 15, 3.0), (DAY + 30, 6.0)]),
        ({"__name__": "h_bucket", "le": "1.0"}, [(DAY + 360, 2.0)]),
        (
            {"__name__": "h_bucket", "le": "+Inf"},
            [(DAY + 15, 4.0), (DAY + 30, 9.0), (DAY + 45, 12.0), (DAY + 360, 5.0)],
        ),
    ]
    found = values(pull(stored, Query(signal="latency", component="s", histogram="h")))
    first, second = found[("s", DAY)], found[("s", DAY + 300)]
    assert (first.layout.edges, dict(first.counts)) == ((0.1,), {0: 4, 1: 4})
    assert (second.layout.edges, dict(second.counts)) == ((0.1, 1.0), {0: 1, 1: 1, 2: 3})


def test_le_is_canonical() -> None:
    """ "1" of one instance and "1.0" of another are one bound."""
    stored: Stored = [
        ({"__name__": "h_bucket", "i": i, "le": le}, [(DAY + 15, 0.0), (DAY + 30, n)])
        for i, le, n in (("a", "1", 2.0), ("a", "+Inf", 3.0), ("b", "1.0", 5.0), ("b", "+Inf", 5.0))
    ]
    [found] = values(pull(stored, Query(signal="latency", component="s", histogram="h"))).values()
    assert (found.layout.edges, dict(found.counts)) == ((1.0,), {0: 7, 1: 1})


def native(count: int, schema: int, bins: dict[int, int], threshold: float = 0.0) -> _counters.Native:
    return _counters.Native(count, schema, bins, threshold)


def test_native_histograms_merge_across_schemas() -> None:
    """A schema that gets coarser is no reset; a count that falls is one; what the zero bin swallows is none."""
    times = np.array([DAY + 15, DAY + 30, DAY + 45, DAY + 60], dtype=np.int64) * 1000
    samples = [
        native(4, 1, {1: 1, 2: 1, 3: 2}),
        native(6, 0, {1: 3, 2: 3}),
        native(7, 0, {ZERO: 4, 2: 3}, 2.0),
        native(2, 0, {2: 2}, 2.0),
    ]
    found = list(_counters.native(times, samples))
    assert [(layout.schema, counts) for _, layout, counts in found] == [(0, {1: 1, 2: 1}), (0, {ZERO: 1}), (0, {2: 2})]


def test_native_and_classic_of_one_series_count_once() -> None:
    """A server that keeps both has the same observations twice."""
    buckets = [[0, "0.5", "1", "3"]]
    answer = {
        "h": {"metric": {"__name__": "h"}, "histograms": [
            [DAY + 15, {"count": "0", "sum": "0"}], [DAY + 30, {"count": "3", "sum": "2", "buckets": buckets}]]},
        "h_bucket": {"metric": {"__name__": "h_bucket", "le": "+Inf"}, "values": [[DAY + 15, "0"], [DAY + 30, "3"]]},
    }  # fmt: skip

    def both(asked: Any) -> Answer:
        name = asked.parameters()["query"].partition("[")[0]
        return Answer({"status": "success", "data": {"resultType": "matrix", "result": [answer[name]]}})

    with serve(both) as server:
        wanted = config(Query(signal="latency", component="s", histogram="h"), url=server.url)
        pages = list(prometheus.fetch(wanted, Pull(since=DAY, until=DAY + 300, now=DAY + 300)))
    [found] = values(pages).values()
    assert (found.layout.kind, total(found)) == ("exponential", 3)


@pytest.mark.parametrize(
    ("buckets", "reason"),
    [
        ([[0, "0.1", "0.25", "3"]], "custom bounds"),
        ([[0, "1", "+Inf", "3"]], "custom bounds"),
        ([[1, "-2", "-1", "3"]], "negative values"),
        ([[0, "1", "2", "1.5"]], "no whole number"),
        ([[0, "1", "2", "NaN"]], "no whole number"),
    ],
)
def test_native_histograms_that_cannot_be_counted(buckets: list[Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        _counters.native_of({"count": "3", "sum": "1", "buckets": buckets})


# --- coverage


def test_missing_scrapes_are_missing_coverage_and_never_bad() -> None:
    """Three missed scrapes: a check vouches for one interval after them; a counter bridges up to 10 minutes."""
    times = [DAY + 60 * n for n in range(60) if not 10 <= n < 13 and not 30 <= n < 45]
    stored: Stored = [
        ({"__name__": "up"}, [(at, 1.0) for at in times]),
        ({"__name__": "n_total"}, [(at, float(n)) for n, at in enumerate(times)]),
    ]
    queries = (
        Query(signal="availability", component="s", up="up"),
        Query(signal="volume", component="s", total="n_total"),
    )
    pages = pull(stored, *queries)
    covered = {c.signal: [(o.since - DAY, o.until - DAY) for o in pages[0].covered or () if o.signal == c.signal]
               for c in pages[0].covered or ()}  # fmt: skip
    assert covered["availability"] == [(-60, 540), (720, 1740), (2640, 3540)]
    assert covered["volume"] == [(0, 1740), (2700, 3540)]
    ratios = [r.value for r in pages[0].records if r.series.signal == "availability"]
    assert sum(r.total for r in ratios) == sum(r.good for r in ratios) == len(times)
    volume = [r.value.total for r in pages[0].records if r.series.signal == "volume"]
    assert sum(volume) == len(times) - 2


def test_pages_vouch_without_a_seam() -> None:
    pages = pull(small_shop(), *shop_config("x").signal, hours=9)
    assert len(pages) == 2
    stretches = [(c.since, c.until) for page in pages for c in page.covered or () if c.signal == "request_success"]
    assert stretches[0][1] == stretches[1][0]


# --- fetching


def test_a_pull_asks_once_per_selector_and_page() -> None:
    """Two pages of six hours, three selectors: six requests, the fewest possible."""
    stored = small_shop()
    with virtual(), serve(answer_of(stored)) as server:
        until = DAY + 9 * 3600
        list(prometheus.fetch(shop_config(server.url), Pull(since=DAY, until=until, now=until)))
    assert len(server.asked) == 6
    assert {asked.method for asked in server.asked} == {"POST"}


@pytest.mark.parametrize("most", [300, 120])
def test_a_server_that_refuses_so_much_is_asked_for_less(most: int) -> None:
    """The pages become shorter until they are answered; every number stays the same."""
    with virtual():
        whole = pull_shop(answer_of(small_shop()))
        pieces = pull_shop(answer_of(small_shop(), most=most))
    assert len(pieces) > len(whole)
    assert values_of(whole) == values_of(pieces)


def test_an_answer_over_the_byte_cap_is_asked_for_in_pieces() -> None:
    with virtual(_http.Limits(bytes=4_000)):
        pieces = pull_shop(answer_of(small_shop()))
    with virtual():
        assert values_of(pieces) == values_of(pull_shop(answer_of(small_shop())))


def test_more_than_11_000_points_is_said_when_no_page_is_short_enough() -> None:
    body, _, code = (HERE / "error_11000_points.txt").read_text().partition("HTTP ")
    with (
        virtual(),
        pytest.raises(SourceRefused, match=r"refuses so many samples of.*11,000 points.*select fewer series"),
    ):
        pull_shop(lambda asked: Answer(body.encode(), int(code)))


def test_a_parse_error_names_the_selector() -> None:
    body, _, code = (HERE / "error_parse.txt").read_text().partition("HTTP ")
    with virtual(), pytest.raises(SourceRefused, match=r"cannot answer up\{job=.*parse error.*correct the"):
        pull_shop(lambda asked: Answer(body.encode(), int(code)))


def test_an_echoed_token_stands_in_no_sentence() -> None:
    with virtual(), pytest.raises(SourceRefused) as raised:
        pull_shop(lambda asked: Answer({"status": "error", "error": f"Bearer {TOKEN}"}, 400))
    assert TOKEN not in str(raised.value)


def test_warnings_of_the_server_are_shown() -> None:
    good = {
        "status": "success",
        "warnings": ["partial: store a is down"],
        "data": {"resultType": "matrix", "result": []},
    }
    with virtual():
        pages = pull_shop(lambda asked: Answer(good))
    assert "Prometheus warns: partial: store a is down" in {f.reason for f in findings(pages)}


def test_another_api_is_refused() -> None:
    with virtual(), pytest.raises(SourceRefused, match="is not an answer of Prometheus' query API"):
        pull_shop(lambda asked: Answer({"message": "hello"}))


@pytest.mark.parametrize("late", [1, 3])
def test_an_answer_to_another_question_is_no_number(late: int) -> None:
    """A cache that repeats an earlier answer, of another selector or another time, ends the pull."""
    answer, kept = answer_of(small_shop()), []

    def stale(asked: Any) -> Answer:
        kept.append(answer(asked))
        return kept[-1] if len(kept) <= late else kept[len(kept) - 1 - late]

    with virtual(), pytest.raises(SourceDown, match="answered another question than"):
        pull_shop(stale)


def test_a_tenant_is_sent() -> None:
    with virtual(), serve(answer_of(small_shop())) as server:
        wanted = Config(Common("prometheus", "p", token_env=TOKEN_ENV), server.url, shop_config("x").signal, "shop-7")
        list(prometheus.fetch(wanted, Pull(since=DAY, until=DAY + 300, now=DAY + 300)))
    assert server.asked[0].headers["x-scope-orgid"] == "shop-7"
    assert server.asked[0].headers["authorization"] == f"Bearer {TOKEN}"


def pull_shop(route: Any) -> list[Page]:
    until = DAY + 9 * 3600
    with serve(route) as server:
        return list(prometheus.fetch(shop_config(server.url), Pull(since=DAY, until=until, now=until)))


def values_of(pages: Sequence[Page]) -> dict[Any, Any]:
    return {(r.series, r.ts): r.value for page in pages for r in page.records}


def test_components_versions_and_segments_come_from_labels() -> None:
    stored: Stored = [
        ({"__name__": "n_total", "service": s, "v": v, "code": c, "job": "j"}, [(DAY + 15, 0.0), (DAY + 30, n)])
        for s, v, c, n in (("a", "1", "200", 3.0), ("a", "2", "500", 4.0), ("b", "1", "200", 5.0))
    ]
    query = Query(signal="volume", component_from="service", total="n_total", version="v", segments=("code",))
    found = {(r.series.component, r.series.version, r.series.segment): r.value.total
             for page in pull(stored, query) for r in page.records}  # fmt: skip
    assert found == {
        ("a", "1", ""): 3, ("a", "1", "code=200"): 3, ("a", "2", ""): 4, ("a", "2", "code=500"): 4,
        ("b", "1", ""): 5, ("b", "1", "code=200"): 5,
    }  # fmt: skip
    nobody = Query(signal="volume", total="n_total")
    assert {r.series.labels for page in pull(stored, nobody) for r in page.records} == {
        (("job", "j"), ("service", "a")), (("job", "j"), ("service", "b")),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "labels", "yes"),
    [
        ("up", {"__name__": "up"}, True),
        ("up", {"__name__": "down"}, False),
        ('up{job="a"}', {"__name__": "up", "job": "a"}, True),
        ('up{job!="a"}', {"__name__": "up"}, True),
        ('up{job=""}', {"__name__": "up"}, True),
        ('up{code=~"5.."}', {"__name__": "up", "code": "5000"}, False),
        ('up{code=~"5..|4.."}', {"__name__": "up", "code": "404"}, True),
        ('up{code!~"5.."}', {"__name__": "up", "code": "503"}, False),
        ('{__name__="up", job = "a" , }', {"__name__": "up", "job": "a"}, True),
        ("up{path='/a\"b'}", {"__name__": "up", "path": '/a"b'}, True),
        ('up{path="a\\\\b\\n"}', {"__name__": "up", "path": "a\\b\n"}, True),
        ("up{path=`a\\b`}", {"__name__": "up", "path": "a\\b"}, True),
        ('up{a="x,y}"}', {"__name__": "up", "a": "x,y}"}, True),
    ],
)
def test_selectors(text: str, labels: dict[str, str], yes: bool) -> None:
    assert selector(text).matches()(labels) is yes
    assert selector(str(selector(text))) == selector(text)


def test_the_example_is_the_configuration_people_start_from() -> None:
    from tandem import config as configuration

    text = 'store = "t.duckdb"\n[[component]]\nname = "checkout-api"\nkind = "service"\nproduct = "checkout"\n'
    example = text + "[[source]]\n" + prometheus.ABOUT.example
    assert configuration.parse(example, Path("tandem.toml")).sources[0].common.name == "prod"
