"""Answers of Prometheus to instant queries with a range selector, saved as they came."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from sample_data.packing import gzipped
from sample_data.story import (
    BAD_RELEASE,
    BLIND,
    DAY,
    END,
    OLD_BAD_RELEASE,
    OUTAGE,
    SERVICES,
    START,
    Service,
    deployments,
    random_of,
)

SCRAPE = 300
LATENCY_SCRAPE = 600
EDGES = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
_CDF = np.vectorize(lambda z: 0.5 * (1 + math.erf(z / math.sqrt(2))))


def write(folder: Path) -> None:
    """Probes and requests every five minutes, latency every ten."""
    probes = []
    for place, service in enumerate(SERVICES):
        offset = 17 + 31 * place
        times = np.arange(START + offset, END, SCRAPE)
        restarts = [d.ts + 120 for d in deployments(service)]
        requests, failed = _requests(service, times)
        seen = _seen(service, times)
        probes.append(_series("probe_success", _probe_labels(service), times[seen], _probes(service, times)[seen]))
        codes = [
            _series(
                "http_requests_total",
                {"code": code, **_labels(service)},
                times[seen],
                _counter(times, counts, restarts)[seen],
            )
            for code, counts in (("200", requests - failed), ("500", failed))
        ]
        gzipped(folder / "prometheus" / f"http_requests_total-{service.name}.json.gz", _answer(codes))
        gzipped(
            folder / "prometheus" / f"http_request_duration_seconds_bucket-{service.name}.json.gz",
            _answer(_latency(service, times, requests, seen, restarts)),
        )
    gzipped(folder / "prometheus" / "probe_success.json.gz", _answer(probes))


def _labels(service: Service) -> dict[str, str]:
    return {"instance": f"{service.name}-0:8080", "job": "services", "service": service.name}


def _probe_labels(service: Service) -> dict[str, str]:
    return {
        "instance": f"https://{service.name}.northlight.example/healthz",
        "job": "blackbox",
        "service": service.name,
    }


def _load(service: Service, times: np.ndarray) -> np.ndarray:
    """Traffic against its mean: a quiet night, a peak in the late afternoon, another weekend."""
    hour = (times % DAY) / 3600
    daily = 1 + 0.62 * np.sin((hour - 9.5) / 24 * 2 * np.pi) + 0.18 * np.sin((hour - 4) / 12 * 2 * np.pi)
    weekday = ((times - START) // DAY) % 7
    return np.round(daily * np.where(weekday >= 5, service.weekend, 1.0), 6)


def _during(times: np.ndarray, start: int, end: int) -> np.ndarray:
    return (times > start) & (times <= end)


def _bad(service: Service, times: np.ndarray, size: str) -> np.ndarray:
    share = np.zeros(len(times))
    for planted in (OLD_BAD_RELEASE, BAD_RELEASE):
        if service.name in planted.components and planted.end is not None:
            share[_during(times, planted.start, planted.end)] = planted.size[size]
    return share


def _requests(service: Service, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    random = random_of("requests", service.name)
    requests = random.poisson(service.requests * _load(service, times))
    wobble = np.round(np.exp(0.5 * random.standard_normal(len(times))), 6)
    ratio = np.minimum(service.errors * wobble / 1.13 + _bad(service, times, "error_ratio"), 1.0)
    return requests, random.binomial(requests, ratio)


def _probes(service: Service, times: np.ndarray) -> np.ndarray:
    random = random_of("probes", service.name)
    up = random.random(len(times)) >= 0.00025
    if service.name in OUTAGE.components and OUTAGE.end is not None:
        up[times > END - 36 * DAY] = True
        up[(times >= OUTAGE.start) & (times < OUTAGE.end)] = False
    return up.astype(int)


def _seen(service: Service, times: np.ndarray) -> np.ndarray:
    seen = random_of("scrapes", service.name).random(len(times)) >= 0.0006
    if BLIND.end is not None:
        seen[(times >= BLIND.start) & (times < BLIND.end)] = False
    return seen


def _counter(times: np.ndarray, counts: np.ndarray, restarts: list[int]) -> np.ndarray:
    """A counter of `counts` that begins again at each restart; what was counted since the last scrape is lost then."""
    total = np.cumsum(counts)
    places = np.searchsorted(times, restarts)
    lost = np.zeros(len(times), dtype=np.int64)
    for place in places[places < len(times)]:
        before = total[place - 1] if place else 0
        lost[place:] = before + counts[place] // 2
    return total - lost


def _latency(
    service: Service, times: np.ndarray, requests: np.ndarray, seen: np.ndarray, restarts: list[int]
) -> list[str]:
    random = random_of("latency", service.name)
    sparse = times[1::2]
    counts = requests[0::2][: len(sparse)] + requests[1::2]
    load = _load(service, sparse)
    median = service.median * (0.94 + 0.06 * load) * np.exp(0.03 * random.standard_normal(len(sparse)))
    below = _CDF((np.log(EDGES)[None, :] - np.log(median)[:, None]) / service.spread)
    slow = _bad(service, sparse, "slow_share")[:, None]
    below_when_slow = _CDF((np.log(EDGES)[None, :] - math.log(0.7)) / 0.4)
    below = np.round((1 - slow) * below + slow * below_when_slow, 6)
    shares = np.diff(np.column_stack([np.zeros(len(sparse)), below, np.ones(len(sparse))]), axis=1)
    drawn = random.multinomial(counts, np.maximum(shares, 0))
    kept = seen[1::2]
    series = []
    for place, edge in enumerate([*map(str, EDGES), "+Inf"]):
        values = _counter(sparse, drawn[:, : place + 1].sum(axis=1), restarts)
        labels = {"le": edge, **_labels(service)}
        series.append(_series("http_request_duration_seconds_bucket", labels, sparse[kept], values[kept]))
    return series


def _series(name: str, labels: dict[str, str], times: np.ndarray, values: np.ndarray) -> str:
    text = ",".join(f'"{key}":"{value}"' for key, value in sorted({"__name__": name, **labels}.items()))
    points = ",".join([f'[{t},"{v}"]' for t, v in zip(times.tolist(), values.tolist(), strict=True)])
    return f'{{"metric":{{{text}}},"values":[{points}]}}'


def _answer(series: list[str]) -> bytes:
    return f'{{"status":"success","data":{{"resultType":"matrix","result":[{",".join(series)}]}}}}'.encode()
