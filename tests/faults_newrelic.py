"""A small account's place in the fault matrix: three signals, deployments and incidents over two days."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from connectors import newrelic
from connectors._newrelic import Query
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.newrelic_server import NewRelic
from tests.replay import Answer, Asked

T0 = 1_794_960_000
"""A midnight, UTC."""
APP = "appName = 'shop'"
CONDITIONS = {
    APP: lambda row: row.get("appName") == "shop",
    "error IS true": lambda row: row.get("error") is True,
    "error IS NOT true": lambda row: row.get("error") is not True,
    "result = 'SUCCESS'": lambda row: row.get("result") == "SUCCESS",
}
SIGNALS = (
    Query("request_success", component="shop", where=APP, bad="error IS true"),
    Query("latency", component="shop", where=APP, duration="duration"),
    Query("availability", component="shop", from_="SyntheticCheck", good="result = 'SUCCESS'"),
)


def events(count: int, hours: float, seed: int = 6) -> list[dict[str, Any]]:
    rng, found = random.Random(seed), []
    for number in range(count):
        at = T0 * 1000 + rng.randrange(int(hours * 3_600_000))
        if number % 5 == 0:
            found.append(
                {"type": "SyntheticCheck", "timestamp": at, "result": rng.choice(["SUCCESS"] * 4 + ["FAILED"])}
            )
            continue
        found.append({
            "type": "Transaction", "timestamp": at, "appName": rng.choice(["shop", "cart"]), "tier": rng.choice("ab"),
            "error": rng.random() < 0.1, "duration": rng.choice([0.3, 0.30001, round(rng.lognormvariate(-3, 2), 6)]),
        })  # fmt: skip
    return found


def incident(key: str, opened: int, closed: int | None = None) -> list[dict[str, Any]]:
    told = {"type": "NrAiIncident", "incidentId": key, "openTime": opened * 1000, "title": f"Errors {key}",
            "entity.name": "shop", "priority": "critical"}  # fmt: skip
    rows = [{**told, "event": "open", "timestamp": opened * 1000}]
    if closed is not None:
        rows.append({**told, "event": "close", "timestamp": closed * 1000, "closeTime": closed * 1000})
    return rows


def deployment(key: str, at: int, version: str, **more: Any) -> dict[str, Any]:
    return {"type": "Deployment", "deploymentId": key, "timestamp": at * 1000, "version": version,
            "entity.name": "shop", "entity.guid": "MXxBUE0", "commit": "abc123", "user": "ada", **more}  # fmt: skip


def config(url: str, *signals: Query, **keys: Any) -> newrelic.Config:
    common = Common("newrelic", "nr", token_env=keys.pop("token_env", None), **keys.pop("common", {}))
    return newrelic.Config(common, keys.pop("account", 7), url=url, signal=signals or SIGNALS, **keys)


def _alias(good: Answer, change: Any) -> Answer:
    """An answer with the rows of its first series changed."""
    told = good.body if isinstance(good.body, dict) else {}
    account = ((told.get("data") or {}).get("actor") or {}).get("account") or {}
    for alias, answer in account.items():
        rows = answer["results"]
        if rows and "beginTimeSeconds" in rows[0]:
            changed = {**account, alias: {**answer, "results": change(rows)}}
            return replace(good, body={**told, "data": {"actor": {"account": changed}}})
    return good


def missing(asked: Asked, good: Answer) -> Answer:
    return _alias(good, lambda rows: rows[:-3])


def reordered(asked: Asked, good: Answer) -> Answer:
    return _alias(good, lambda rows: rows[::-1])


def twice(asked: Asked, good: Answer) -> Answer:
    return _alias(good, lambda rows: [*rows, rows[0]])


def partial(asked: Asked, good: Answer) -> Answer:
    """Part of the data, and an error beside it, with status 200."""
    error = {"message": "NRDB had a problem", "extensions": {"errorClass": "SERVER_ERROR"}}
    halved = _alias(good, lambda rows: rows[::2])
    return replace(halved, body={**halved.body, "errors": [error]})


@faults.register("newrelic")
def case() -> faults.Case:
    since, until = T0 + 20 * 3600, T0 + 27 * 3600
    rows = events(400, 27) + incident("i1", since + 600, T0 + 90_000) + incident("i2", T0 - 4000, since + 60)[1:]
    server = NewRelic([*rows, deployment("d1", since + 7200, "1.4")], CONDITIONS, key=faults.TOKEN)
    kept: list[Answer] = []

    def answer(asked: Asked) -> Answer:
        kept.append(server.answer(asked))
        return kept[-1]

    def repeated(asked: Asked, good: Answer) -> Answer:
        return kept[-2] if len(kept) > 1 else good

    return faults.Case(
        module=newrelic,
        config=lambda url: config(url, token_env=faults.TOKEN_ENV),
        answer=answer,
        pull=Pull(since, until, until, first=True, open=(Event("incident", "i3", T0 - 9000, outcome="open"),)),
        paging={
            "repeated page": repeated, "missing buckets": missing, "reordered": reordered, "bucket twice": twice,
            "error beside data": partial,
        },
    )  # fmt: skip
