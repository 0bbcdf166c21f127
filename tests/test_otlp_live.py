"""OpenTelemetry, against what the real SDK records and encodes, in an environment of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import otlp
from tandem.bins import DURATION, bounds, total
from tandem.connect import Common
from tests.environments import environment
from tests.shelf import Shelf

REQUIREMENTS = ("opentelemetry-sdk==1.45.2", "opentelemetry-exporter-otlp-proto-common==1.45.2")
SCRIPT = '''
"""Three rounds of requests, exported after each, as a collector's file exporter writes them; the truth on stdout."""
import base64, json, random, sys, time
from google.protobuf.json_format import MessageToDict
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.metrics import Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation, View
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, Status, StatusCode

folder, rng = sys.argv[1], random.Random(11)
EDGES = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]
truth = {}


def hexed(told):
    if isinstance(told, dict):
        return {k: base64.b64decode(v).hex() if k in ("traceId", "spanId", "parentSpanId") else hexed(v)
                for k, v in told.items()}
    return [hexed(one) for one in told] if isinstance(told, list) else told


def write(name, message):
    with open(f"{folder}/{name}", "a") as opened:
        opened.write(json.dumps(hexed(MessageToDict(message, use_integers_for_enums=True))) + "\\n")


def meter(service, temporality, aggregation):
    reader = InMemoryMetricReader(preferred_temporality={Histogram: temporality})
    view = View(instrument_name="http.server.request.duration", aggregation=aggregation)
    provider = MeterProvider([reader], Resource({"service.name": service, "service.version": "3"}), views=[view])
    return reader, provider.get_meter("t").create_histogram("http.server.request.duration", unit="s")


WAYS = {
    "cumulative": (AggregationTemporality.CUMULATIVE, ExplicitBucketHistogramAggregation(EDGES)),
    "delta": (AggregationTemporality.DELTA, ExplicitBucketHistogramAggregation(EDGES)),
    "exponential": (AggregationTemporality.CUMULATIVE, ExponentialBucketHistogramAggregation(max_size=40)),
    "exponential-delta": (AggregationTemporality.DELTA, ExponentialBucketHistogramAggregation(max_size=160)),
}
meters = {service: meter(service, *way) for service, way in WAYS.items()}
for turn in range(3):
    for service, (reader, histogram) in meters.items():
        for _ in range(200):
            # The range grows from round to round, so that an exponential histogram gets coarser.
            value, status = rng.lognormvariate(-3, 0.2 + turn), rng.choice([200, 200, 404, 500])
            histogram.record(value, {"http.response.status_code": status})
            # Nothing stands before the first point in the file; the other series begin after it.
            if turn or service != "cumulative":
                truth.setdefault(service, []).append([value, status])
        write("metrics.json", encode_metrics(reader.get_metrics_data()))
        time.sleep(0.002)

memory = InMemorySpanExporter()
provider = TracerProvider(resource=Resource({"service.name": "spans"}))
provider.add_span_processor(SimpleSpanProcessor(memory))
tracer = provider.get_tracer("t")
now = time.time_ns()
for number in range(50):
    lasted, status = rng.randrange(1, 900_000_000), rng.choice([200, 503])
    span = tracer.start_span("GET /", kind=SpanKind.SERVER, start_time=now - lasted,
                             attributes={"http.response.status_code": status})
    tracer.start_span("query", kind=SpanKind.CLIENT, start_time=now - lasted).end(now)
    if status == 503:
        span.set_status(Status(StatusCode.ERROR))
    span.end(now)
    truth.setdefault("spans", []).append([lasted / 1e9, status])
for run, result in enumerate(["success", "failure", "cancellation"]):
    span = tracer.start_span("RUN ci", kind=SpanKind.SERVER, start_time=now - 60_000_000_000, attributes={
        "cicd.pipeline.name": "ci", "cicd.pipeline.run.id": str(run), "cicd.pipeline.result": result})
    span.end(now)
write("traces.json", encode_spans(memory.get_finished_spans()))
print(json.dumps({"edges": EDGES, "truth": truth, "now": now}))
'''

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    python = environment("opentelemetry", REQUIREMENTS)
    folder = tmp_path_factory.mktemp("otel")
    (folder / "record.py").write_text(SCRIPT)
    (folder / "out").mkdir()
    command = [str(python), str(folder / "record.py"), str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "out", json.loads(done.stdout)


def shelf(folder: Path, service: str) -> Shelf:
    """What the files say of one service."""
    rule = {"discover": True}
    common = Common("otlp", "live", folder=folder, **rule)
    found = Shelf()
    pages = otlp.fetch(otlp.Config(common, "*.json"), found.pull())
    found.take(pages)
    for name, facts in found.slices.items():
        found.slices[name] = [fact for fact in facts if dict(fact.series.labels)["service.name"] == service]
    return found


@pytest.mark.parametrize("service", ["cumulative", "delta", "exponential", "exponential-delta", "spans"])
def test_requests_are_those_that_were_recorded(told: tuple[Path, Any], service: str) -> None:
    folder, truth = told
    values = truth["truth"][service]
    ratios = shelf(folder, service).ratios().values()
    assert sum(ratio.total for ratio in ratios) == len(values)
    assert sum(ratio.good for ratio in ratios) == sum(status < 500 for _, status in values)


@pytest.mark.parametrize("service", ["cumulative", "delta"])
def test_explicit_bins_hold_what_was_recorded(told: tuple[Path, Any], service: str) -> None:
    folder, truth = told
    found = shelf(folder, service).histogram()
    places = np.searchsorted(truth["edges"], [value for value, _ in truth["truth"][service]], side="left")
    assert found.layout.edges == tuple(truth["edges"])
    assert dict(found.counts) == {int(place): int((places == place).sum()) for place in np.unique(places)}


@pytest.mark.parametrize("service", ["exponential", "exponential-delta"])
def test_exponential_bins_hold_what_was_recorded(told: tuple[Path, Any], service: str) -> None:
    """Counted into the bins' own bounds by numpy; the SDK's scale falls from round to round."""
    folder, truth = told
    found = shelf(folder, service).histogram()
    values = np.array([value for value, _ in truth["truth"][service]])
    for place, n in found.counts.items():
        low, high = bounds(found.layout, place)
        assert int(((values > low) & (values <= high)).sum()) == n
    assert total(found) == values.size


def test_spans_hold_their_durations(told: tuple[Path, Any]) -> None:
    folder, truth = told
    found = shelf(folder, "spans").histogram()
    values = [value for value, _ in truth["truth"]["spans"]]
    places = np.searchsorted(DURATION.edges, values, side="left")
    assert dict(found.counts) == {int(place): int((places == place).sum()) for place in np.unique(places)}


def test_pipelines_are_builds(told: tuple[Path, Any]) -> None:
    folder, _ = told
    events = shelf(folder, "spans").events.values()
    assert {event.run: event.outcome for event in events} == {"0": "good", "1": "bad", "2": "excluded"}
    assert {event.ended - event.ts for event in events if event.ended} <= {60, 61}
