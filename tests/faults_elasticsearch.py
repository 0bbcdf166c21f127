"""A small index's place in the fault matrix: two signals over several pages, incidents, a wrong page or shard."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from connectors import elasticsearch
from connectors._elastic_queries import Query
from connectors._elastic_server import Incidents
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.elastic_server import Elastic
from tests.replay import Answer, Asked

T0 = 1_794_960_000
"""A midnight, UTC."""
HOURS = 6
BAD = "status:[500 TO *]"
TYPES = {
    "@timestamp": "date", "took": "long", "seconds": "double", "service.name": "keyword", "status": "integer",
    "event.ingested": "date", "host": "keyword", "message": "text", "build": "keyword",
}  # fmt: skip
QUERIES = {
    BAD: lambda one: one["status"] >= 500,
    "status:<500": lambda one: one["status"] < 500,
    "service.name:shop": lambda one: one.get("service.name") == "shop",
    "severity:high": lambda one: one["severity"] == "high",
}


def requests(count: int, hours: float = HOURS, seed: int = 4) -> list[dict[str, Any]]:
    """Requests of two services, durations in nanoseconds and in seconds."""
    rng, found = random.Random(seed), []
    for _ in range(count):
        at = T0 * 1000 + rng.randrange(int(hours * 3_600_000))
        took = rng.choice([1_000_000, 300_000_000, 300_000_001, int(rng.lognormvariate(17, 2))])
        found.append({
            "@timestamp": at, "took": took, "seconds": took / 1e9, "status": rng.choice([200, 200, 200, 404, 500, 503]),
            "service.name": rng.choice(["shop", "cart"]), "event.ingested": at + 2000, "host": rng.choice("abc"),
        })  # fmt: skip
    return found


def incident(key: str, start: int, end: int | None, status: str, severity: str = "high") -> dict[str, Any]:
    told = {
        "kibana.alert.uuid": key, "kibana.alert.start": start * 1000, "kibana.alert.status": status,
        "kibana.alert.rule.name": "Errors", "service.name": "shop", "severity": severity,
    }  # fmt: skip
    return told if end is None else {**told, "kibana.alert.end": end * 1000}


SIGNALS = (
    Query("request_success", component="shop", where="service.name:shop", bad=BAD),
    Query("latency", component="shop", where="service.name:shop", duration="took", unit="ns"),
)


def config(url: str, *signals: Query, **keys: Any) -> elasticsearch.Config:
    common = Common("elasticsearch", "logs", token_env=keys.pop("token_env", None), **keys.pop("common", {}))
    return elasticsearch.Config(common, url, keys.pop("index", "logs-shop"), signal=signals or SIGNALS, **keys)


def own(url: str) -> elasticsearch.Config:
    return config(url, token_env=faults.TOKEN_ENV, incident=Incidents(index="alerts"))


def _buckets(good: Answer) -> list[Any]:
    told = good.body if isinstance(good.body, dict) else {}
    found: list[Any] = told.get("aggregations", {}).get("b", {}).get("buckets", [])
    return found


def _with(good: Answer, buckets: list[Any]) -> Answer:
    aggregation = {**good.body["aggregations"]["b"], "buckets": buckets}
    return replace(good, body={**good.body, "aggregations": {"b": aggregation}})


def missing(asked: Asked, good: Answer) -> Answer:
    """The last bucket of a page is left out, and its size so that it looks like the last page."""
    return _with(good, _buckets(good)[:-1]) if _buckets(good) else good


def reordered(asked: Asked, good: Answer) -> Answer:
    return _with(good, _buckets(good)[::-1]) if len(_buckets(good)) > 1 else good


def partial(asked: Asked, good: Answer) -> Answer:
    """A proxy or an old server that answers in part all the same."""
    if not isinstance(good.body, dict) or "_shards" not in good.body:
        return good
    shards = {"total": 4, "failed": 1}
    halved = _with(good, _buckets(good)[::2]) if _buckets(good) else good
    return replace(halved, body={**halved.body, "_shards": shards})


def late(asked: Asked, good: Answer) -> Answer:
    if not isinstance(good.body, dict) or "timed_out" not in good.body:
        return good
    return replace(good, body={**good.body, "timed_out": True})


@faults.register("elasticsearch")
def case() -> faults.Case:
    alerts = [incident("i1", T0 + 600, T0 + 900, "recovered"), incident("i2", T0 + 3600, None, "active")]
    server = Elastic(requests(250) + alerts, QUERIES, TYPES, max_buckets=1500)
    kept: list[Answer] = []

    def answer(asked: Asked) -> Answer:
        kept.append(server.answer(asked))
        return kept[-1]

    def repeated(asked: Asked, good: Answer) -> Answer:
        return kept[-2] if len(kept) > 1 and _buckets(kept[-2]) and _buckets(good) else good

    until = T0 + HOURS * 3600
    still = Event("incident", "i2", T0 + 3600, outcome="open")
    return faults.Case(
        module=elasticsearch,
        config=own,
        answer=answer,
        # One page is refused as too large, then smaller ones follow.
        pull=Pull(T0, until, until, first=True, state={"buckets": 3000}, open=(still,)),
        paging={
            "repeated page": repeated, "missing bucket": missing, "reordered page": reordered,
            "failed shard": partial, "timed out": late,
        },
    )  # fmt: skip
