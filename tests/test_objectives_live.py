"""Burn rates and budgets against recording rules that Debian's Prometheus evaluates itself."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from connectors import prometheus
from connectors.prometheus import Query
from tandem import collect, slo, standing
from tandem.config import Component, Objective, Source
from tandem.connect import Common
from tandem.measure import Measures
from tandem.shown import Window
from tandem.store.file import Store
from tandem.store.read import Reader
from tests import fakes
from tests.test_prometheus_live import server, until_true

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed"),
]

BEGIN = 1_794_960_000
HOURS = 8
END = BEGIN + HOURS * 3600
EVERY = 15
EDGES = ("0.1", "0.25", "1.0", "+Inf")
WINDOWS = {"5m": 300, "30m": 1800, "1h": 3600, "2h": 7200, "6h": 21600}
TARGETS = {"request_success": Fraction("0.995"), "latency": Fraction("0.95")}


@dataclass
class Scraped:
    """Counters of two instances that never restart, as OpenMetrics lines."""

    requests: list[str] = field(default_factory=list)
    seconds: list[str] = field(default_factory=list)

    def text(self) -> str:
        return ("# TYPE http_requests counter\n" + "".join(self.requests)
                + "# TYPE http_seconds histogram\n" + "".join(self.seconds) + "# EOF\n")  # fmt: skip


def scraped() -> Scraped:
    """Eight hours in which errors and slowness come and go."""
    found, chance = Scraped(), random.Random(17)
    for name in ("a", "b"):
        codes, below = {"200": 0, "500": 0}, dict.fromkeys(EDGES, 0)
        for at in range(BEGIN, END, EVERY):
            worse = 0.08 if (at - BEGIN) // 1800 % 5 == 4 else 0.002
            for _ in range(chance.randrange(20)):
                codes["500" if chance.random() < worse else "200"] += 1
                took = chance.expovariate(1 / (0.3 if worse > 0.01 else 0.06))
                for edge in EDGES:
                    below[edge] += took <= float(edge.replace("+Inf", "inf"))
            found.requests += [f'http_requests_total{{instance="{name}",code="{code}"}} {n} {at}.250\n'
                               for code, n in codes.items()]  # fmt: skip
            found.seconds += [f'http_seconds_bucket{{instance="{name}",le="{edge}"}} {n} {at}.250\n'
                              for edge, n in below.items()]  # fmt: skip
            found.seconds.append(f'http_seconds_count{{instance="{name}"}} {below["+Inf"]} {at}.250\n')
    return found


def grown(metric: str, seconds: int) -> str:
    """PromQL of what a counter grew by in the seconds before the end: no extrapolation, samples alone."""
    return f"(sum({metric} @ {END - 0.001}) - sum({metric} @ {END - seconds - 0.001}))"


UNDER = 'http_seconds_bucket{le="0.25"}'
BAD = {
    "request_success": lambda seconds: grown('http_requests_total{code=~"5.."}', seconds),
    "latency": lambda seconds: f"({grown('http_seconds_count', seconds)} - {grown(UNDER, seconds)})",
}
TOTAL = {"request_success": "http_requests_total", "latency": "http_seconds_count"}


def rules() -> str:
    """Recording rules for bad, total, burn and budget of both objectives."""
    found = []
    for signal, target in TARGETS.items():
        for name, seconds in WINDOWS.items():
            bad, total = BAD[signal](seconds), grown(TOTAL[signal], seconds)
            ratio = f"{bad} / {total} / (1 - {float(target)})"
            for record, expr in (("bad", bad), ("total", total), ("burn", ratio), ("left", f"1 - {ratio}")):
                labels = {"signal": signal, "window": name}
                found.append({"record": f"truth:{record}", "labels": labels, "expr": expr})
    return json.dumps({"groups": [{"name": "truth", "interval": "1s", "rules": found}]})


def recorded(url: str) -> dict[tuple[str, str, str], float]:
    """(record, signal, window) of every recorded series, as it stands now."""
    asked = urlencode({"query": '{__name__=~"truth:.*"}'})
    with urlopen(f"{url}/api/v1/query?{asked}") as answer:
        rows = json.load(answer)["data"]["result"]
    return {(row["metric"]["__name__"].removeprefix("truth:"), row["metric"]["signal"], row["metric"]["window"]):
            float(row["value"][1]) for row in rows}  # fmt: skip


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, str, str], float], dict[str, Any]]:
    """What Prometheus recorded, and the answers from what was pulled out of the same server."""
    folder = tmp_path_factory.mktemp("rules")
    (folder / "shop.om").write_text(scraped().text())
    made = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "shop.om"), str(folder / "data")]
    subprocess.run(made, check=True, capture_output=True)
    (folder / "rules.yml").write_text(rules())
    settings = f"global: {{evaluation_interval: 1s}}\nrule_files: [{folder / 'rules.yml'}]\n"
    wanted = 4 * len(TARGETS) * len(WINDOWS)
    with server(folder, settings, folder / "data") as url:
        until_true(lambda: len(recorded(url)) == wanted)
        truth = recorded(url)
        common = Common("prometheus", "live", since=BEGIN)
        config = prometheus.Config(common=common, url=url, signal=(
            Query(signal="request_success", component="shop", total="http_requests_total",
                  bad='http_requests_total{code=~"5.."}'),
            Query(signal="latency", component="shop", histogram="http_seconds"),
        ))  # fmt: skip
        objectives = [
            Objective("shop", "request_success", TARGETS["request_success"], window="6h"),
            Objective("shop", "latency", TARGETS["latency"], threshold=Fraction("0.25"), window="6h"),
        ]
        known = fakes.config(folder, Source(common, prometheus, config), components=[Component("shop")],
                             objectives=objectives)  # fmt: skip
        with Store(folder / "tandem.duckdb") as store:
            [outcome] = collect.sync(store, known, END)
            assert not outcome.error, outcome.error
            measures = Measures(Reader(store), known, Window(END - 3600, END), END)
            answers = measures.answers(measures.asked(["shop"], tuple(TARGETS)))
    return truth, {one.asked.signal.name: one for one in answers}


@pytest.mark.parametrize("signal", TARGETS)
def test_counts_of_every_look_back_are_those_of_the_recording_rules(both: Any, signal: str) -> None:
    truth, answers = both
    for name, seconds in WINDOWS.items():
        good, total = answers[signal].burns[seconds]
        assert (total - good, total) == (truth["bad", signal, name], truth["total", signal, name]), name
    assert answers[signal].objective == answers[signal].burns[21600]
    assert truth["bad", signal, "1h"] > 20


@pytest.mark.parametrize("signal", TARGETS)
def test_burn_and_budget_are_those_of_the_recording_rules(both: Any, signal: str) -> None:
    """Equal but for the last digits: Prometheus divides by 1 - 0.995 in floating point."""
    truth, answers = both
    shown = standing.objective(answers[signal])
    for name in WINDOWS:
        assert shown.burn[name] == pytest.approx(truth["burn", signal, name], rel=1e-12), name
    assert shown.budget_left == pytest.approx(truth["left", signal, "6h"], rel=1e-12)


@pytest.mark.parametrize("signal", TARGETS)
def test_a_rule_fires_where_the_recorded_burn_rates_exceed_its_factor(both: Any, signal: str) -> None:
    truth, answers = both
    short = {3600: ("1h", "5m"), 21600: ("6h", "30m")}
    fires = {one.long: one.fires for one in standing.objective(answers[signal]).rules}
    for rule in slo.factors(21600)[:2]:
        both_over = all(truth["burn", signal, name] > rule.factor for name in short[rule.long])
        assert fires[slo.look_back(rule.long)] == both_over
