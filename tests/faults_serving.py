"""Two places in the fault matrix: a Prometheus with the metrics of a server, and a server that is looked at itself."""

from __future__ import annotations

import random
from functools import cache
from typing import Any

from connectors import serving
from tandem.connect import Common, Pull
from tests import faults
from tests.faults_prometheus import Stored, ranges_case
from tests.replay import serve
from tests.serving_server import ModelServer, Worker

T0 = 1_794_960_000
"""A midnight, UTC."""


def work(start: float, until: float, seed: int, rate: float = 0.5, models: tuple[str, ...] = ("fraud",)) -> Worker:
    """A worker that answers at random times; one answer in eight is bad."""
    rng, now, done = random.Random(seed), start, []
    while (now := now + rng.expovariate(rate)) < until:
        well = rng.random() > 0.125
        done.append((now, rng.choice(models), well, rng.choice([0.01, 0.0100001, 0.05, 0.5, 3.0])))
    return Worker(start, done)


def scraped(worker: Worker, instance: str, times: list[float], until: float) -> Stored:
    """What a Prometheus holds of a worker that lived from its start to `until`."""
    series: dict[tuple[tuple[str, str], ...], list[tuple[float, float]]] = {}
    for at in times:
        if not worker.start <= at < until:
            continue
        for line in worker.metrics(at).splitlines():
            if line.startswith("#"):
                continue
            name, _, value = line.rpartition(" ")
            base, _, inside = name.partition("{")
            pairs = [one.partition("=") for one in inside.removesuffix("}").replace('",', '"\n').split("\n") if one]
            labels = {label: text.strip('"') for label, _, text in pairs}
            if not base.endswith("_created"):
                key = tuple(sorted({"__name__": base, "job": "models", "instance": instance, **labels}.items()))
                series.setdefault(key, []).append((at, float(value)))
    return [(dict(key), samples) for key, samples in series.items()]


def config(url: str, **keys: Any) -> serving.Config:
    common = Common("serving", "models", component=("fraud",), token_env=keys.pop("token_env", None), every=60)
    return serving.Config(common, url, **keys)


@cache
def stored() -> Stored:
    """Seven hours of one address, where another process took over after two and a half."""
    times = [T0 + 7.25 + 30 * step for step in range(7 * 120)]
    first, second = work(T0 - 50, T0 + 30_000, 1, 0.05), work(T0 + 9000, T0 + 30_000, 2, 0.05)
    return [*scraped(first, "a:80", times, T0 + 9000), *scraped(second, "a:80", times, T0 + 30_000)]


@faults.register("serving")
def case() -> faults.Case:
    def asking(url: str) -> serving.Config:
        return config("", prometheus_url=url, flavour="mlserver", token_env=faults.TOKEN_ENV)

    return ranges_case(serving, asking, stored(), Pull(T0, T0 + 7 * 3600, T0 + 7 * 3600))


@faults.register("serving scrape")
def scrape_case() -> faults.Case:
    """The look at T0 + 120, after a good one at T0 + 60."""
    return faults.Case(
        module=serving,
        config=lambda url: config(f"{url}/metrics", token_env=faults.TOKEN_ENV),
        answer=ModelServer([work(T0 - 50, T0 + 600, 3)], now=T0 + 120.0).answer,
        pull=Pull(T0, T0 + 120, T0 + 120, state=first_state()),
    )


@cache
def first_state() -> Any:
    """The state that a look at T0 + 60 leaves."""
    worker = work(T0 - 50, T0 + 600, 3)

    with serve(ModelServer([worker], now=T0 + 60.0).answer) as server:
        [page] = serving.fetch(config(f"{server.url}/metrics"), Pull(T0, T0 + 60, T0 + 60))
    return page.state
