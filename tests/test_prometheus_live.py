"""The prometheus connector against Debian's Prometheus and blackbox exporter."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from connectors import _files, _http, prometheus
from connectors.prometheus import Config, Query
from tandem.bins import total
from tandem.connect import Common, Given, Pull
from tandem.records import Histogram, Page, Ratio
from tests.processes import free_port, started
from tests.prometheus_truth import Shop, shop
from tests.replay import Answer, Asked, serve

pytestmark = [
    pytest.mark.live,
    pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed"),
]

DAY = 1_794_960_000
SIGNALS = (
    Query(signal="availability", component="shop", up="up"),
    Query(
        signal="request_success", component="shop", total="http_requests_total", bad='http_requests_total{code=~"5.."}'
    ),
    Query(signal="latency", component="shop", histogram="http_seconds"),
)


def config(url: str, signal: tuple[Query, ...] = SIGNALS) -> Config:
    return Config(common=Common("prometheus", "live"), url=url, signal=signal)


def until_true(said: Callable[[], bool], seconds: float = 60.0) -> None:
    """Ask again and again; fails when it does not come true."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not said():
        assert time.monotonic() < deadline, "it did not come true in time"
        pause.wait(0.1)


@contextlib.contextmanager
def server(folder: Path, settings: str, blocks: Path) -> Iterator[str]:
    (folder / "prom.yml").write_text(settings)
    port = free_port()
    arguments = [
        "prometheus",
        f"--config.file={folder / 'prom.yml'}",
        f"--storage.tsdb.path={blocks}",
        "--storage.tsdb.retention.time=10y",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with started(arguments, f"http://127.0.0.1:{port}/-/ready", folder / "log") as url:
        yield url


@pytest.fixture(scope="module")
def known() -> Shop:
    return shop(DAY)


@pytest.fixture(scope="module")
def made(known: Shop, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("blocks")
    (folder / "shop.om").write_text(known.openmetrics())
    make = ["promtool", "tsdb", "create-blocks-from", "openmetrics", str(folder / "shop.om"), str(folder / "data")]
    subprocess.run(make, check=True, capture_output=True)
    return folder / "data"


@pytest.fixture
def blocks(made: Path, tmp_path: Path) -> Path:
    """A copy for every test, for a server writes beside the blocks and compacts them; promtool wants its `wal`."""
    copied = Path(shutil.copytree(made, tmp_path / "blocks"))
    (copied / "wal").mkdir()
    return copied


def is_true(known: Shop, pages: list[Page]) -> None:
    """Every bucket of every signal equals the truth, and there are no others."""
    found = {(r.series.signal, r.ts): r.value for page in pages for r in page.records}
    checks = {at: Ratio(sum(said), len(said)) for at, said in known.checks.items()}
    assert {at: v for (signal, at), v in found.items() if signal == "availability"} == checks
    requests = {at: Ratio(n - known.errors[at], n) for at, n in known.totals.items() if n}
    assert {at: v for (signal, at), v in found.items() if signal == "request_success"} == requests
    latencies = {at: dict(+counts) for at, counts in known.latencies.items() if counts}
    assert {at: dict(v.counts) for (signal, at), v in found.items() if signal == "latency"} == latencies
    assert sum(known.totals.values()) > 10_000
    assert sum(known.errors.values()) > 300


def test_every_bucket_equals_the_truth(known: Shop, blocks: Path, tmp_path: Path) -> None:
    """Resets, gaps and a restart in blocks made by promtool, pulled from a real server."""
    with server(tmp_path, "global: {}\n", blocks) as url:
        pages = list(prometheus.fetch(config(url), Pull(since=DAY, until=known.end, now=known.end)))
    is_true(known, pages)
    assert not [finding for page in pages for finding in page.findings]
    covered = [c for page in pages for c in page.covered or () if c.signal == "request_success"]
    assert covered[0].since == DAY
    assert max(c.until for c in covered) >= known.end - 30
    assert all(c.since < c.until for c in covered)


def test_any_split_of_a_pull_gives_the_same_facts(known: Shop, blocks: Path, tmp_path: Path) -> None:
    """Pages of 6 h, of 25 minutes, and two pulls that overlap say the same of every bucket."""
    with server(tmp_path, "global: {}\n", blocks) as url:
        once = _facts(prometheus.fetch(config(url), Pull(since=DAY, until=known.end, now=known.end)))
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(prometheus, "PAGE", 1500)
            small = _facts(prometheus.fetch(config(url), Pull(since=DAY, until=known.end, now=known.end)))
        middle = DAY + 4 * 3600 + 777
        first = _facts(prometheus.fetch(config(url), Pull(since=DAY, until=middle, now=middle)))
        second = _facts(prometheus.fetch(config(url), Pull(since=middle - 600, until=known.end, now=known.end)))
    assert once == small
    assert once == {**first, **second}


def _facts(pages: Iterator[Page]) -> dict[object, object]:
    return {(r.series, r.ts): r.value for page in pages for r in page.records}


def test_exported_files_say_the_same(known: Shop, blocks: Path, tmp_path: Path) -> None:
    """The OpenMetrics file, `promtool tsdb dump` and saved raw samples give the same facts as a pull."""
    (tmp_path / "shop.om").write_text(known.openmetrics())
    dump = subprocess.run(["promtool", "tsdb", "dump", str(blocks)], check=True, capture_output=True).stdout
    (tmp_path / "dump.txt").write_bytes(dump)
    saved = tmp_path / "saved"
    saved.mkdir()
    with server(tmp_path, "global: {}\n", blocks) as url, _http.open_client(config(url), url) as client:
        for name in ("up", "http_requests_total", "http_seconds_bucket"):
            for part, end in enumerate((DAY + 4 * 3600, known.end)):
                form = [("query", f"{name}[4h]"), ("time", str(end))]
                text = client.post("/api/v1/query", form=form, json=False).text
                (saved / f"{name}-{part}.json").write_text(text)
    for path in (tmp_path / "shop.om", tmp_path / "dump.txt", saved):
        item = _files.item(path, Given())
        assert prometheus.recognise(item)
        is_true(known, list(prometheus.parse(item, config("http://unused"))))


def test_a_server_without_the_series_says_so(blocks: Path, tmp_path: Path) -> None:
    wanted = (Query(signal="availability", component="shop", up='up{job="nobody"}'),)
    with server(tmp_path, "global: {}\n", blocks) as url:
        pages = list(prometheus.fetch(config(url, wanted), Pull(since=DAY, until=DAY + 3600, now=DAY + 3600)))
    assert not [r for page in pages for r in page.records]
    assert not [c for page in pages for c in page.covered or ()]
    assert [(f.kind, f.reason, f.where) for page in pages for f in page.findings] == [
        ("remark", "nothing matches", 'up{job="nobody"}')
    ]


SCRAPES = """\
global: {{scrape_interval: 1s, scrape_timeout: 900ms}}
scrape_configs:
- {{job_name: shop, static_configs: [{{targets: ['{alive}']}}]}}
- {{job_name: dead, static_configs: [{{targets: ['127.0.0.1:{dead}']}}]}}
- job_name: probes
  metrics_path: /probe
  params: {{module: [http_2xx]}}
  static_configs: [{{targets: ['http://{alive}/health', 'http://127.0.0.1:{dead}/']}}]
  relabel_configs:
  - {{source_labels: [__address__], target_label: __param_target}}
  - {{source_labels: [__param_target], target_label: instance}}
  - {{target_label: __address__, replacement: '127.0.0.1:{blackbox}'}}
"""


class Counting:
    """A service whose counter grows by 7 with every scrape and restarts at the twelfth."""

    def __init__(self) -> None:
        self.served: list[int] = []

    def answer(self, asked: Asked) -> Answer:
        if asked.path == "/metrics":
            n = len(self.served)
            self.served.append(7 * (n + 1) if n < 12 else 7 * (n - 11))
            return Answer(f"# TYPE shop_requests_total counter\nshop_requests_total {self.served[-1]}\n")
        return Answer("fine")


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("prometheus-blackbox-exporter"), reason="blackbox exporter is not installed")
def test_real_scrapes_with_a_dead_target(tmp_path: Path) -> None:
    """Checks are counted one by one, a dead target is down and stays out of latency, a restart loses nothing."""
    service, dead, port = Counting(), free_port(), free_port()
    (tmp_path / "blackbox.yml").write_text("modules: {http_2xx: {prober: http, timeout: 1s}}\n")
    exporter = [
        "prometheus-blackbox-exporter",
        f"--config.file={tmp_path / 'blackbox.yml'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    wanted = (
        Query(signal="availability", component_from="job", up='up{job=~"shop|dead"}'),
        Query(signal="availability", component="alive", up='probe_success{instance=~".*/health"}'),
        Query(signal="availability", component="gone", up='probe_success{instance!~".*/health"}'),
        Query(signal="volume", component="shop", total="shop_requests_total"),
        Query(signal="latency", component="probes", gauge="probe_duration_seconds", up="probe_success"),
    )
    with (
        serve(service.answer) as alive,
        started(exporter, f"http://127.0.0.1:{port}/-/healthy", tmp_path / "blackbox.log"),
    ):
        settings = SCRAPES.format(alive=alive.url.removeprefix("http://"), dead=dead, blackbox=port)
        with server(tmp_path, settings, tmp_path / "data") as url:
            until_true(lambda: len(service.served) >= 25, 90)
            until = int(time.time()) - 1
            pull = Pull(since=until - 600, until=until, now=until)
            pages = list(prometheus.fetch(config(url, wanted), pull))
    totals: Counter[str] = Counter()
    good: Counter[str] = Counter()
    latency: list[Histogram] = []
    for page in pages:
        for record in page.records:
            if isinstance(record.value, Ratio):
                key = f"{record.series.signal} {record.series.component}"
                totals[key] += record.value.total
                good[key] += record.value.good
            else:
                latency.append(record.value)
    scrapes = totals["availability shop"]
    assert scrapes >= 15
    assert good["availability shop"] == scrapes
    assert totals["availability dead"] >= 15
    assert good["availability dead"] == 0
    assert totals["volume shop"] == grown(service.served[:scrapes])
    assert good["availability alive"] == totals["availability alive"] >= 15
    assert totals["availability gone"] >= 15
    assert good["availability gone"] == 0
    assert sum(total(one) for one in latency) == good["availability alive"]
    assert not [finding for page in pages for finding in page.findings]


def grown(values: list[int]) -> int:
    return sum(b - a if b >= a else b for a, b in pairwise(values))
