"""OpenTelemetry files: growth of cumulative histograms, re-sent data, rotation and offsets, spans, pipelines."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from connectors import otlp
from tandem.bins import DURATION, ZERO, bounds, total
from tests.otlp_lines import BOUNDS, HERE, T0, counted, exponential, metric, pulled, span, written

# --- captured from the real SDK


def test_captured_metrics_count_as_the_points_say(tmp_path: Path) -> None:
    """150 - 50 of the cumulative reader (its first point has nothing before it), 3 x 50 of the delta reader."""
    points: dict[tuple[str, str], list[int]] = {}
    for line in (HERE / "metrics.otlp.jsonl").read_text().splitlines():
        for told in json.loads(line)["resourceMetrics"]:
            [way] = [a["value"]["stringValue"] for a in told["resource"]["attributes"] if a["key"] == "lab.temporality"]
            for one in told["scopeMetrics"][0]["metrics"]:
                for kind in ("histogram", "exponentialHistogram"):
                    for point in one.get(kind, {}).get("dataPoints", ()):
                        points.setdefault((way, one["name"]), []).append(int(point["count"]))
    for name in ("http.server.request.duration", "rpc.server.duration"):
        cumulative, delta = points["cumulative", name], points["delta", name]
        expected = cumulative[-1] - cumulative[0] + sum(delta)
        shelf = pulled(HERE, path="metrics.otlp.jsonl", metrics=(name,))
        assert [(r.good, r.total) for r in shelf.ratios().values()] == [(expected, expected)]
        assert total(shelf.histogram()) == expected == 250


def test_captured_exponential_histogram_keeps_its_values(tmp_path: Path) -> None:
    """In milliseconds at scale 5: on our bounds in seconds no value leaves the range the SDK stated."""
    shelf = pulled(HERE, path="metrics.otlp.jsonl", metrics=("rpc.server.duration",))
    found = shelf.histogram()
    assert (found.layout.kind, found.layout.unit) == ("edges", "s")
    lowest, highest = min(found.counts), max(found.counts)
    assert bounds(found.layout, lowest)[0] < 0.0697 < 0.0698 * 2
    assert bounds(found.layout, highest)[1] >= 0.05
    assert bounds(found.layout, lowest)[1] > 0.0048
    _, ratio = bounds(found.layout, lowest)[0], bounds(found.layout, lowest)[1] / bounds(found.layout, lowest)[0]
    assert ratio == pytest.approx(2 ** (1 / 16))


def test_seconds_in_bounds_made_for_milliseconds_are_said() -> None:
    reasons = pulled(HERE, path="metrics.otlp.jsonl").reasons()
    assert any("in seconds with bounds made for milliseconds" in reason for reason in reasons)
    assert any("rpc.server.duration of checkout is not counted beside its http" in reason for reason in reasons)


def test_captured_pipelines_are_builds() -> None:
    shelf = pulled(HERE, path="traces.otlp.jsonl")
    found = {event.run: event for event in shelf.events.values()}
    assert {run: event.outcome for run, event in found.items()} == {"100": "bad", "101": "good", "102": "good"}
    assert {event.kind for event in found.values()} == {"build"}
    assert found["100"].commit == "deadbeef0"
    assert dict(found["100"].labels)["cicd.pipeline.name"] == "build-and-deploy"
    assert dict(found["100"].labels)["vcs.repository.url.full"] == "https://example.org/acme/shop"


@pytest.mark.parametrize("name", ["metrics", "traces"])
def test_generic_protobuf_json_means_the_same_and_is_said(name: str, tmp_path: Path) -> None:
    """Base64 ids and names of enumerations, as wrong exporters write them."""
    (tmp_path / "x.json").write_bytes((HERE / f"{name}_naive_protobuf_json.json").read_bytes())
    shelf = pulled(tmp_path)
    assert any("enumerations by name" in reason for reason in shelf.reasons())
    if name == "traces":
        right = pulled(HERE, path="traces.otlp.jsonl")
        assert shelf.events == right.events
    else:
        assert [ratio.total for ratio in shelf.ratios().values()] == [50]


# --- cumulative, delta, restarts


def test_growth_counts_in_the_bucket_of_the_later_point(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 10, [5, 0, 0, 0]), metric(T0 + 70, [5, 2, 1, 0]), metric(T0 + 310, [9, 2, 1, 1]))
    shelf = pulled(tmp_path)
    assert counted(shelf) == {0: (3, 3), 300: (5, 5)}
    found = shelf.histogram()
    assert (found.layout.edges, dict(found.counts)) == (BOUNDS, {0: 4, 1: 2, 2: 1, 3: 1})
    assert {(c.component, c.signal, c.since - T0, c.until - T0) for c in shelf.covered} == {
        ("shop", "request_success", 10, 310), ("shop", "latency", 10, 310),
    }  # fmt: skip


def test_a_first_point_counts_where_its_series_began_in_what_was_read(tmp_path: Path) -> None:
    """A pod that starts later is known from its first request on; one that ran before is not."""
    written(tmp_path, metric(T0 + 10, [5, 0, 0, 0]), metric(T0 + 70, [3, 0, 0, 0], start=T0 + 20, pod="b"))
    assert counted(pulled(tmp_path)) == {0: (3, 3)}


@pytest.mark.parametrize("start", [T0 + 50, T0 - 5000, 0])
def test_a_restart_counts_the_new_value(tmp_path: Path, start: float) -> None:
    """By its start time, and where that does not change, by the fall."""
    written(tmp_path, metric(T0 + 10, [5, 5, 0, 0]), metric(T0 + 70, [2, 1, 0, 0], start=start))
    assert counted(pulled(tmp_path)) == {0: (3, 3)}


def test_a_restart_that_outgrew_the_old_value_is_seen_by_its_start(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 10, [5, 5, 0, 0]), metric(T0 + 70, [6, 6, 0, 0], start=T0 + 12))
    assert counted(pulled(tmp_path)) == {0: (12, 12)}


def test_nothing_is_bridged_over_more_than_ten_minutes(tmp_path: Path) -> None:
    written(tmp_path, metric(T0 + 10, [5, 0, 0, 0]), metric(T0 + 611, [9, 0, 0, 0]), metric(T0 + 671, [10, 0, 0, 0]))
    shelf = pulled(tmp_path)
    assert counted(shelf) == {600: (1, 1)}
    assert [(c.since - T0, c.until - T0) for c in shelf.covered if c.signal == "latency"] == [(611, 671)]


def test_a_cumulative_point_that_is_sent_again_or_overtaken_adds_nothing(tmp_path: Path) -> None:
    lines = [metric(T0 + 10, [5, 0, 0, 0]), metric(T0 + 70, [7, 0, 0, 0]), metric(T0 + 130, [9, 0, 0, 0])]
    written(tmp_path, lines[0], lines[2], lines[1], lines[2])
    assert counted(pulled(tmp_path)) == {0: (4, 4)}


def test_delta_points_add_up_and_count_once_when_they_are_sent_again(tmp_path: Path) -> None:
    one = metric(T0 + 60, [1, 1, 0, 0], T0, delta=True)
    late = metric(T0 + 180, [0, 2, 0, 0], T0 + 120, delta=True)
    late_before = metric(T0 + 120, [0, 0, 4, 0], T0 + 60, delta=True)
    written(tmp_path, one, one, late, late_before, one)
    shelf = pulled(tmp_path)
    assert counted(shelf) == {0: (8, 8)}
    assert shelf.reasons() == {"a point that was sent again counts once": 2}


def test_failed_requests_are_those_the_server_failed(tmp_path: Path) -> None:
    codes = {200: 5, 301: 1, 404: 2, 500: 3, 503: 4}
    written(tmp_path, *(metric(T0 + 60, [n, 0, 0, 0], T0, delta=True, code=code) for code, n in codes.items()))
    assert counted(pulled(tmp_path)) == {0: (8, 15)}


@pytest.mark.parametrize(
    ("unit", "bound"), [("s", (0.1, 0.5)), ("ms", (100.0, 500.0)), ("us", (1e5, 5e5)), ("ns", (1e8, 5e8))]
)
def test_units_become_seconds(tmp_path: Path, unit: str, bound: Sequence[float]) -> None:
    written(tmp_path, metric(T0 + 60, [1, 2, 3], T0, delta=True, unit=unit, bound=bound))
    found = pulled(tmp_path).histogram()
    assert (found.layout.edges, found.layout.unit, dict(found.counts)) == ((0.1, 0.5), "s", {0: 1, 1: 2, 2: 3})


# --- exponential histograms


def otel_index(value: float, scale: int) -> int:
    """The protocol's own formula: base**index < value <= base**(index + 1)."""
    return math.ceil(math.log2(value) * 2**scale) - 1


def test_exponential_histograms_of_different_scales_merge_exactly(tmp_path: Path) -> None:
    """Values by the protocol's formula at three scales; the merge counts each where the coarsest scale puts it."""
    rng = random.Random(3)
    lines, values = [], []
    for number, scale in enumerate((3, 0, 2)):
        mine = [rng.lognormvariate(-2, 1.5) for _ in range(200)]
        places = [otel_index(value, scale) for value in mine]
        low = min(places)
        counts = [places.count(place) for place in range(low, max(places) + 1)]
        lines.append(exponential(T0 + 60, counts, scale, low, zero=number, delta=True, start=T0, pod=str(number)))
        values += mine
    written(tmp_path, *lines)
    shelf = pulled(tmp_path)
    found = shelf.histogram()
    assert (found.layout.kind, found.layout.schema) == ("exponential", 0)
    expected: dict[int, int] = {ZERO: 3}
    for value in values:
        place = math.ceil(math.log2(value))
        expected[place] = expected.get(place, 0) + 1
    assert dict(found.counts) == expected
    assert counted(shelf) == {0: (603, 603)}


def test_an_exponential_histogram_that_gets_coarser_is_no_restart(tmp_path: Path) -> None:
    """Scale 2 to 1: (1, 1.19], (1.19, 1.41] are one bin then; the growth is one value in each bin of scale 1."""
    written(tmp_path, exponential(T0 + 10, [2, 3], 2, 0, zero=1), exponential(T0 + 70, [6, 1], 1, 0, zero=3))
    shelf = pulled(tmp_path)
    found = shelf.histogram()
    assert (found.layout.schema, dict(found.counts)) == (1, {1: 1, 2: 1, ZERO: 2})
    assert counted(shelf) == {0: (4, 4)}


def test_fine_scales_are_merged_to_one_that_fits(tmp_path: Path) -> None:
    """Scale 20, as an SDK begins: bins of one millionth, kept at 16 per doubling."""
    place = otel_index(0.25, 20)
    written(tmp_path, exponential(T0 + 60, [7], 20, place, delta=True, start=T0))
    found = pulled(tmp_path).histogram()
    [(where, n)] = found.counts.items()
    low, high = bounds(found.layout, where)
    assert (found.layout.schema, n) == (otlp_scale(), 7)
    assert low < 0.25 <= high


def otlp_scale() -> int:
    from connectors._otlp_data import SCALE

    return SCALE


def test_milliseconds_lie_between_the_same_bounds(tmp_path: Path) -> None:
    written(tmp_path, exponential(T0 + 60, [4], 3, otel_index(80.0, 3), zero=1, delta=True, start=T0, unit="ms"))
    found = pulled(tmp_path).histogram()
    place = max(found.counts)
    low, high = bounds(found.layout, place)
    assert low < 0.08 <= high
    assert high / low == pytest.approx(2 ** (1 / 8))
    assert sum(found.counts.values()) == 5


# --- what cannot be counted


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (exponential(T0 + 60, [1], 0, 0, delta=True, negative=[1]), "holds negative durations"),
        (metric(T0 + 60, [1, 1], T0, delta=True), "bounds that do not fit its counts"),
        (metric(T0 + 60, [1, 0, 0, 0], T0, delta=True).replace('"count": "1"', '"count": "2"'), "do not add up"),
        (metric(T0 + 60, [1, 0, 0, 0], T0, delta=True).replace('"count": "1"', '"count": "many"'), "no whole number"),
        (metric(T0 + 60, [1, 0, 0, 0], T0, delta=True).replace('ity": 1', 'ity": 0'), "neither delta"),
        (metric(T0 + 60, [1, 0, 0, 0], T0, delta=True, unit="By"), "which is no time"),
        (span(T0 + 60, -5.0), "ends before it begins"),
        ('{"resourceMetrics": [1, 2\n', "no JSON that can be used"),
        ('{"a": 1}\n', "no document of the protocol"),
    ],
)  # fmt: skip
def test_what_is_no_count_is_rejected_and_the_rest_lands(tmp_path: Path, line: str, reason: str) -> None:
    written(tmp_path, metric(T0 + 60, [2, 0, 0, 0], T0, delta=True, pod="good"), line)
    shelf = pulled(tmp_path)
    assert counted(shelf) == {0: (2, 2)}
    assert [f.kind for f in shelf.findings] == ["reject"]
    assert reason in shelf.findings[0].reason


def test_a_point_without_a_recorded_value_is_none(tmp_path: Path) -> None:
    line = metric(T0 + 60, [1, 0, 0, 0], T0, delta=True).replace('"sum": 1.5', '"flags": 1')
    written(tmp_path, line)
    shelf = pulled(tmp_path)
    assert (shelf.ratios(), shelf.findings) == ({}, [])


def test_numbers_may_be_numbers(tmp_path: Path) -> None:
    """64-bit integers are text by the protocol, and numbers from some exporters."""
    written(tmp_path, metric(T0 + 60, [3, 0, 0, 0], T0, delta=True).replace('"3"', "3").replace('"0"', "0"))
    assert counted(pulled(tmp_path)) == {0: (3, 3)}


# --- spans


def test_server_spans_count_where_no_metric_does(tmp_path: Path) -> None:
    durations = [0.0004, 0.001, 0.25, 0.3, 0.30001, 7.0]
    lines = [span(T0 + 10 + n, lasted, n + 1) for n, lasted in enumerate(durations)]
    lines += [span(T0 + 20, 0.1, 50, kind=3), span(T0 + 21, 0.1, 51, code=503), span(T0 + 22, 0.1, 52, failed=True)]
    lines += [span(T0 + 400, 350.0, 53, kind="SPAN_KIND_SERVER"), span(T0 + 401, 0.1, 53)]
    written(tmp_path, *lines)
    shelf = pulled(tmp_path)
    assert counted(shelf) == {0: (6, 8), 300: (1, 1)}
    found = shelf.histogram()
    assert found.layout == DURATION
    places = np.searchsorted(np.array(DURATION.edges), [*durations, 0.1, 0.1, 350.0], side="left")
    assert dict(found.counts) == {int(p): int((places == p).sum()) for p in set(places.tolist())}
    assert sum(found.sums.values()) == round((sum(durations) + 0.2 + 350.0) * 1e6)
    assert "a span that was sent again counts once" in shelf.reasons()


def test_a_service_is_counted_one_way_in_every_bucket(tmp_path: Path) -> None:
    """Spans and a metric of the same requests: spans before the metric's first bucket, then the metric alone."""
    spans = [span(T0 + 60 * n + 30, 0.2, n + 1) for n in range(20)]
    grown = [metric(T0 + 60 * n + 55, [n, 0, 0, 0]) for n in range(10, 20)]
    written(tmp_path, *spans, name="traces.json")
    written(tmp_path, *grown, name="metrics.json")
    written(tmp_path, span(T0 + 30, 0.1, 900, service="other"), name="others.json")
    shelf = pulled(tmp_path, common={"discover": True, "component": ()})
    facts = [fact for piece in shelf.slices.values() for fact in piece if fact.series.signal == "request_success"]
    own = [fact for fact in facts if dict(fact.series.labels)["service.name"] == "shop"]
    assert sorted((fact.ts - T0, fact.value.total) for fact in own) == [(0, 5), (300, 5), (600, 4), (900, 5)]
    assert counted(shelf)[0] == (6, 6)
    only = pulled(tmp_path, requests="spans", common={"component": ("shop",)})
    assert sum(total for _, total in counted(only).values()) == 21
    metrics = pulled(tmp_path, requests="metrics", common={"component": ("shop",)})
    assert sum(total for _, total in counted(metrics).values()) == 9


def test_a_metric_that_appears_later_takes_over_where_spans_have_not_counted(tmp_path: Path) -> None:
    written(tmp_path, *(span(T0 + 60 * n + 30, 0.2, n + 1) for n in range(8)), name="traces.json")
    shelf = pulled(tmp_path)
    assert counted(shelf) == {0: (5, 5), 300: (3, 3)}
    written(tmp_path, *(metric(T0 + 60 * n + 55, [n, 0, 0, 0]) for n in range(5, 15)), name="metrics.json")
    with (tmp_path / "traces.json").open("a") as opened:
        opened.writelines(span(T0 + 60 * n + 30, 0.2, n + 1) for n in range(8, 15))
    pulled(tmp_path, shelf)
    assert counted(shelf)[0] == (5, 5)
    assert counted(shelf)[600] == (5, 5)
    # 300 stays with the spans: those that came later are counted in it, and no point of the metric is.
    assert counted(shelf)[300] == (5, 5)


def test_files_that_are_found_later_and_begin_earlier_count_in_full(tmp_path: Path) -> None:
    """Two pods write files of their own; the one that began first is found last."""
    late = [metric(T0 + 60 * n + 900, [n, 0, 0, 0], pod="b") for n in range(5)]
    early = [metric(T0 + 60 * n, [n, 0, 0, 0], pod="a") for n in range(10)]
    written(tmp_path, *late, name="b.json")
    shelf = pulled(tmp_path)
    written(tmp_path, *early, name="a.json")
    pulled(tmp_path, shelf)
    assert counted(shelf) == {0: (4, 4), 300: (5, 5), 900: (4, 4)}


# --- pipelines


@pytest.mark.parametrize(
    ("result", "outcome"), [*otlp.ABOUT.status.items(), ("exploded", "excluded"), ("", "excluded")]
)
def test_every_result_has_an_outcome(tmp_path: Path, result: str, outcome: str) -> None:
    given = {"cicd__pipeline__run__id": "1", "cicd__pipeline__name": "ci", "cicd__pipeline__result": result}
    written(tmp_path, span(T0 + 60, 30.0, 1, kind=1, code=None, **given))
    shelf = pulled(tmp_path)
    [event] = shelf.events.values()
    assert (event.kind, event.outcome, event.ts - T0, event.ended) == ("build", outcome, 30, T0 + 60)
    unknown = result not in otlp.ABOUT.status
    assert any("is unknown; what has it is excluded" in reason for reason in shelf.reasons()) is unknown
    assert not shelf.ratios()


def test_a_status_can_be_overruled(tmp_path: Path) -> None:
    given = {"cicd__pipeline__run__id": "1", "cicd__pipeline__result": "exploded"}
    written(tmp_path, span(T0 + 60, 30.0, 1, kind=1, code=None, **given))
    shelf = pulled(tmp_path, common={"component": ("shop",), "status": {"exploded": "bad"}})
    assert [event.outcome for event in shelf.events.values()] == ["bad"]


def test_a_run_that_runs_again_is_another_attempt(tmp_path: Path) -> None:
    """In one pull and over two; the span that is sent again is no third one."""
    run = {"cicd__pipeline__run__id": "7", "cicd__pipeline__name": "ci"}
    first = span(T0 + 60, 30.0, 1, kind=1, code=None, **run, cicd__pipeline__result="failure")
    again = span(T0 + 900, 20.0, 2, kind=1, code=None, **run, cicd__pipeline__result="success")
    path = written(tmp_path, first)
    shelf = pulled(tmp_path)
    path.write_text(first + again + first)
    pulled(tmp_path, shelf)
    assert {key[1:]: event.outcome for key, event in shelf.events.items()} == {("ci/7", 1): "bad", ("ci/7", 2): "good"}
    assert pulled(tmp_path).events == shelf.events


def test_tasks_that_deploy_are_deployments(tmp_path: Path) -> None:
    task = {
        "cicd__pipeline__run__id": "7", "cicd__pipeline__name": "ci", "cicd__pipeline__task__run__id": "7-3",
        "cicd__pipeline__task__type": "deploy", "cicd__pipeline__task__name": "roll out",
        "cicd__pipeline__task__run__result": "success", "deployment__environment__name": "staging",
        "service__version": "1.4", "vcs__ref__head__revision": "abc",
    }  # fmt: skip
    own = {"deployment__id": "d-1", "deployment__status": "failed", "deployment__environment": "prod"}
    part = {"cicd__pipeline__task__type": "test", "cicd__pipeline__task__run__id": "7-1"}
    written(tmp_path, *(span(T0 + 60, 30.0, n, code=None, **one) for n, one in enumerate((task, own, part), 1)))
    shelf = pulled(tmp_path)
    good, bad = sorted(shelf.events.values(), key=lambda event: event.outcome, reverse=True)
    assert (good.kind, good.outcome, good.environment, good.version, good.commit) == (
        "deployment", "good", "staging", "1.4", "abc",
    )  # fmt: skip
    assert (bad.kind, bad.outcome, bad.environment) == ("deployment", "bad", "prod")
    assert not shelf.ratios()
