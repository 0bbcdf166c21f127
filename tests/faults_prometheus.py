"""A tiny Prometheus, raw range selectors only, and its place in the fault matrix."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors import prometheus
from connectors._promql import selector
from tandem.connect import Common, Pull
from tests import faults
from tests.replay import Answer, Asked

Samples = Sequence[tuple[float, float]]
Stored = Sequence[tuple[Mapping[str, str], Samples]]

DAY = 1_794_960_000
"""A midnight, UTC."""


def answer_of(stored: Stored, most: int | None = None) -> Any:
    """The query API over `stored`; more than `most` samples are refused as by a real server."""

    def answer(asked: Asked) -> Answer:
        given = asked.parameters()
        found = re.fullmatch(r"(.*)\[(\d+)s\]", given["query"])
        if asked.path != "/api/v1/query" or not found:
            return Answer({"status": "error", "errorType": "bad_data", "error": "parse error"}, 400)
        matches, end = selector(found[1]).matches(), float(given["time"])
        result, count = [], 0
        for labels, samples in stored:
            if matches(labels):
                own = [[at, text(value)] for at, value in samples if end - float(found[2]) <= at <= end]
                count += len(own)
                if own:
                    result.append({"metric": dict(labels), "values": own})
        if most is not None and count > most:
            error = "query processing would load too many samples into memory in query execution"
            return Answer({"status": "error", "errorType": "execution", "error": error}, 422)
        return Answer({"status": "success", "data": {"resultType": "matrix", "result": result}})

    return answer


def text(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value) if value % 1 else str(int(value))


def small_shop() -> Stored:
    """Nine hours of one instance: checks, requests with a restart, and a few errors."""
    times = [DAY + 7 + 60 * step for step in range(9 * 60)]
    requests = [float(step * 3 if step < 200 else (step - 200) * 5) for step in range(len(times))]
    errors = [float(step // 10 if step < 200 else (step - 200) // 20) for step in range(len(times))]
    return [
        ({"__name__": "up", "job": "shop"}, [(at, 0.0 if 50 <= n < 53 else 1.0) for n, at in enumerate(times)]),
        ({"__name__": "requests_total", "job": "shop"}, list(zip(times, requests, strict=True))),
        ({"__name__": "errors_total", "job": "shop"}, list(zip(times, errors, strict=True))),
    ]


def shop_config(url: str) -> prometheus.Config:
    return prometheus.Config(
        common=Common("prometheus", "prod", token_env=faults.TOKEN_ENV),
        url=url,
        signal=(
            prometheus.Query(signal="availability", component="shop", up='up{job="shop"}'),
            prometheus.Query(
                signal="request_success",
                component="shop",
                total='requests_total{job="shop"}',
                bad='errors_total{job="shop"}',
            ),
        ),
    )


def ranges_case(module: Any, config: Any, stored: Stored, pull: Pull) -> faults.Case:
    """A connector that asks a Prometheus for ranges: answers that are those of an earlier question, or turned round."""
    server = faults.Earlier(answer_of(stored))

    def reordered(asked: Asked, good: Answer) -> Answer:
        data = good.body["data"]
        turned = [{**one, "values": one["values"][::-1]} for one in data["result"]][::-1]
        return replace(good, body={**good.body, "data": {**data, "result": turned}})

    paging = {"repeated page": server.repeated, "reordered page": reordered}
    return faults.Case(module=module, config=config, answer=server.answer, pull=pull, paging=paging)


@faults.register("prometheus")
def case() -> faults.Case:
    return ranges_case(prometheus, shop_config, small_shop(), Pull(DAY, DAY + 9 * 3600, DAY + 9 * 3600))
