"""Metrics of inference servers in a Prometheus: each request once, in the bucket of the scrape that saw it first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from connectors import serving
from tandem.connect import Pull
from tandem.records import Fact, Page, Ratio
from tests.faults import PATIENT, virtual
from tests.faults_prometheus import Stored, answer_of
from tests.faults_serving import T0, config, scraped, work
from tests.replay import Server, serve
from tests.serving_server import Worker


@dataclass
class Pods:
    """Workers with their address and end, when they were scraped, and what a Prometheus holds of it."""

    workers: list[tuple[Worker, str, float]]
    times: list[float]
    held: Stored


@pytest.fixture(scope="module")
def pods() -> Pods:
    """Two pods over seven hours, one of which is restarted; scraped every minute, never on a whole one."""
    workers = [
        (work(T0 - 50, T0 + 9000, 1, 0.05), "a:80", T0 + 9000.0),
        (work(T0 + 9020, T0 + 27_000, 2, 0.05), "a:80", T0 + 27_000.0),
        (work(T0 + 300, T0 + 27_000, 3, 0.05), "b:80", T0 + 27_000.0),
    ]
    times = [T0 + 7.25 + 60 * step for step in range(-15, 421)]
    held = [one for worker, instance, end in workers for one in scraped(worker, instance, times, end)]
    return Pods(workers, times, held)


def from_prometheus(pods: Pods, since: int, until: int, **keys: Any) -> tuple[list[Page], Server]:
    with virtual(PATIENT), serve(answer_of(pods.held, keys.pop("most", None))) as server:
        given = config("", prometheus_url=server.url, flavour="mlserver", **keys)
        return list(serving.fetch(given, Pull(since, until, until))), server


def seen_by_scrapes(pods: Pods, since: float, until: float) -> dict[int, Ratio]:
    """Each request in the bucket of the scrape that saw it first, by the event lists; unseen ones nowhere."""
    workers, times = pods.workers, pods.times
    found: dict[int, Ratio] = {}
    for worker, instance, end in workers:
        mine = [at for at in times if worker.start <= at < end]
        for when, _, well, _ in worker.done:
            later = next((at for at in mine if at > when), None)
            looked_before = any(
                other.start < at < worker.start for other, name, _ in workers for at in times if name == instance
            )
            known = any(at <= when for at in mine) or (later is not None and (looked_before or later != mine[0]))
            if later is not None and known and since <= later < until:
                bucket = int(later // 300 * 300)
                found[bucket] = found.get(bucket, Ratio()) + Ratio(int(well), 1)
    return found


def test_a_prometheus_gives_what_the_scrapes_saw(pods: Pods) -> None:
    pages, _ = from_prometheus(pods, T0, T0 + 25_200)
    found: dict[int, Ratio] = {}
    for page in pages:
        for one in page.records:
            if isinstance(one, Fact) and isinstance(one.value, Ratio):
                assert one.series.component == "fraud"
                found[one.ts] = one.value
    assert found == seen_by_scrapes(pods, T0, T0 + 25_200)
    assert len(found) == 84
    spans = [one for page in pages for one in page.covered or () if one.signal == "request_success"]
    assert sum(one.until - one.since for one in spans) > 0.98 * 25_200


def test_pages_of_any_length_add_up_the_same(pods: Pods) -> None:
    """A server that refuses so many samples at once, and overlapping pulls: the same buckets."""
    whole = {(f.series, f.ts): f.value for p in from_prometheus(pods, T0, T0 + 25_200)[0] for f in p.records}  # type: ignore[union-attr]
    small, _ = from_prometheus(pods, T0, T0 + 25_200, most=300)
    assert {(f.series, f.ts): f.value for p in small for f in p.records} == whole  # type: ignore[union-attr]
    later, server = from_prometheus(pods, T0 + 24_000, T0 + 25_200)
    assert {(f.series, f.ts): f.value for p in later for f in p.records}.items() <= whole.items()  # type: ignore[union-attr]
    print(f"a later pull makes {len(server.asked)} requests; the fewest possible are 4, one for each series")
    assert len(server.asked) == 4


def test_nothing_that_matches_is_said(pods: Pods) -> None:
    pages, _ = from_prometheus(pods, T0, T0 + 600, select='{namespace="none"}')
    assert [one.reason for page in pages for one in page.findings] == ["nothing matches"]
