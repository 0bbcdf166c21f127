"""A real MLServer in an environment of its own: requests, readiness, versions and a log of its answers (live)."""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from connectors import serving
from connectors._serving_flavours import METRICS
from tandem.connect import Common, Pull, Rule
from tandem.records import Fact, Histogram, Ratio
from tests.environments import environment
from tests.processes import free_port, started
from tests.shelf import Shelf
from tests.test_prometheus_live import server, until_true

REQUIREMENTS = ("mlserver==1.7.1",)
MODEL = """
import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse


class Triage(MLModel):
    async def load(self):
        return True

    async def predict(self, payload):
        x = NumpyCodec.decode_input(payload.inputs[0])
        if x.shape[-1] != 3:
            raise ValueError("wrong shape")
        answer = NumpyCodec.encode_output("predict", (x.sum(axis=1, keepdims=True) > 0).astype(np.int64))
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=[answer])
"""
COMMON = Common(
    "serving", "live", map=(Rule(("triage",), {"model": "triage"}), Rule(("other",), {"model": "other"})), every=60
)

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


@dataclass
class Live:
    """A running server; `metrics` is another port of it."""

    url: str
    metrics: str

    def post(self, path: str, body: Any = None) -> tuple[int, dict[str, str], bytes]:
        request = urllib.request.Request(
            self.url + path,
            data=b"" if body is None else json.dumps(body).encode() if not isinstance(body, bytes) else body,
            headers={"Content-Type": "application/json"},
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, {}, error.read()

    def infer(self, rows: list[list[float]], model: str = "triage") -> tuple[int, dict[str, str], bytes]:
        data = [value for row in rows for value in row]
        one = {"name": "x", "shape": [len(rows), len(rows[0])], "datatype": "FP64", "data": data}
        return self.post(f"/v2/models/{model}/infer", {"inputs": [one]})


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    python = environment("mlserver", REQUIREMENTS)
    folder = tmp_path_factory.mktemp("mlserver")
    ports = [free_port() for _ in range(3)]
    settings = dict(zip(("http_port", "grpc_port", "metrics_port"), ports, strict=True))
    (folder / "settings.json").write_text(
        json.dumps({"host": "127.0.0.1", "debug": False, "parallel_workers": 0, **settings})
    )
    (folder / "triage_model.py").write_text(MODEL)
    for name, version in (("triage", "v3"), ("other", "v1")):
        (folder / name).mkdir()
        told = {"name": name, "implementation": "triage_model.Triage", "parameters": {"version": version}}
        (folder / name / "model-settings.json").write_text(json.dumps(told))
    command, ready = [python.parent / "mlserver", "start", "."], f"http://127.0.0.1:{ports[0]}/v2/health/ready"
    more = {"PYTHONPATH": str(folder), "PATH": f"{python.parent}:{os.environ['PATH']}"}
    with started(command, ready, folder / "log.txt", folder=folder, **more) as url:
        found = Live(url, f"http://127.0.0.1:{ports[2]}/metrics")
        # A counter is there, and counts, from its first request: every test begins with all of them there.
        assert [found.infer(rows)[0] for rows in ([[1, 2, 3]], [[1, 2]])] == [200, 500]
        yield found


def looked(live: Live, shelf: Shelf, now: int, **keys: Any) -> Shelf:
    config = serving.Config(keys.pop("common", COMMON), live.metrics, server=live.url, **keys)
    return shelf.take(serving.fetch(config, shelf.pull(now)))


def of(shelf: Shelf, signal: str) -> dict[str, Ratio]:
    found: dict[str, Ratio] = {}
    for piece in shelf.slices.values():
        for one in piece:
            if one.series.signal == signal and isinstance(one.value, Ratio):
                found[one.series.component] = found.get(one.series.component, Ratio()) + one.value
    return found


def test_requests_between_two_looks_are_counted_exactly(live: Live) -> None:
    """Good ones, a wrong shape (500), JSON that is none (422, no inference), and the first failure of a model."""
    now, shelf = int(time.time()), Shelf()
    live.infer([[1, 2, 3]])
    looked(live, shelf, now)
    assert [live.infer([[1, 2, 3]])[0] for _ in range(40)] == [200] * 40
    assert [live.infer([[1, 2]])[0] for _ in range(3)] == [500] * 3
    assert live.post("/v2/models/triage/infer", b"{oops")[0] == 422
    assert live.infer([[1, 2]], "other")[0] == 500
    assert live.post("/v2/models/triage/versions/v3/infer", {"inputs": []})[0] >= 400
    looked(live, shelf, now + 60)
    found = of(shelf, "request_success")
    assert found["other"] == Ratio(0, 1)
    assert found["triage"].good == 40
    assert found["triage"].total in (43, 44)  # whether an empty request reaches the model is the server's own matter
    looked(live, shelf, now + 120)
    assert of(shelf, "request_success") == found
    waits = [one.value for piece in shelf.slices.values() for one in piece if one.series.signal == "latency"]
    assert sum(n for one in waits for n in one.counts.values()) == 46  # type: ignore[union-attr]
    assert 0.005 in waits[0].layout.edges  # type: ignore[union-attr]
    assert of(shelf, "availability") == {"triage": Ratio(3, 3), "other": Ratio(3, 3)}


def test_a_model_that_is_unloaded_is_not_available_and_no_new_version_when_it_is_back(live: Live) -> None:
    now, shelf = int(time.time()) + 1000, Shelf()
    looked(live, shelf, now)
    assert live.post("/v2/repository/models/other/unload")[0] == 200
    looked(live, shelf, now + 60)
    assert live.post("/v2/repository/models/other/load")[0] == 200
    looked(live, shelf, now + 120)
    assert of(shelf, "availability") == {"triage": Ratio(3, 3), "other": Ratio(2, 3)}
    assert shelf.events == {}


def test_a_log_of_its_answers_says_what_it_predicted(live: Live, tmp_path: Path) -> None:
    """As a logger would write them: MLServer's own CloudEvents headers beside each body."""
    now = (int(time.time()) // 3600 + 2) * 3600  # rows are counted by the hour: all of these lie in one
    said: Counter[str] = Counter()
    path, shelf = tmp_path / "log.jsonl", Shelf()
    looked(live, shelf, now)
    with path.open("w") as log:
        for number in range(20):
            status, headers, body = live.infer([[1, 2, 3 - number], [-1, 0, 0]])
            assert status == 200
            said.update(str(int(sum(row) > 0)) for row in ([1, 2, 3 - number], [-1, 0, 0]))
            own = {**headers, "ce-time": f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(now + number))}Z"}
            if number < 15:
                log.write(json.dumps({"headers": own, "body": json.loads(body)}) + "\n")
            else:
                said.subtract(str(int(sum(row) > 0)) for row in ([1, 2, 3 - number], [-1, 0, 0]))
    common = replace(COMMON, every=60)
    looked(live, shelf, now + 300, payload_log=str(path), common=common)
    facts = [one for piece in shelf.slices.values() for one in piece if one.series.signal == "prediction"]
    found: Counter[str] = Counter()
    for one in facts:
        assert isinstance(one, Fact)
        assert (one.series.component, one.series.version) == ("triage", "v3")
        for place, n in one.value.counts.items():  # type: ignore[union-attr]
            found[one.value.layout.values[place]] += n  # type: ignore[union-attr]
    assert found == +said
    assert shelf.state["log"]["logged"]["triage"] == {str(now // 3600 * 3600): 15}
    assert shelf.state["log"]["asked"]["triage"] == {str((now + 299) // 3600 * 3600): 20}


@pytest.mark.skipif(not shutil.which("prometheus"), reason="prometheus is not installed")
def test_a_real_prometheus_that_scrapes_it_tells_the_same(live: Live, tmp_path: Path) -> None:
    """Between its first and its last scrape of the same server; conditions and patterns as Prometheus reads them."""
    parts = urlsplit(live.metrics)
    settings = {
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{"job_name": "models", "static_configs": [{"targets": [parts.netloc]}]}],
    }
    with server(tmp_path, json.dumps(settings), tmp_path / "data") as url:

        def held() -> int:
            query = f"{url}/api/v1/query?query=sum(model_infer_request_success_total%7Bmodel=%22triage%22%7D)"
            with urllib.request.urlopen(query, timeout=10) as answer:
                found = json.loads(answer.read())["data"]["result"]
            return int(float(found[0]["value"][1])) if found else -1

        until_true(lambda: held() >= 0)
        before = held()
        assert [live.infer([[1, 2, 3]])[0] for _ in range(25)] == [200] * 25
        assert [live.infer([[1, 2]])[0] for _ in range(4)] == [500] * 4
        until_true(lambda: held() == before + 25)
        until = int(time.time()) + 2
        config = serving.Config(
            replace(COMMON, map=(), component=("models",)), prometheus_url=url, flavour="mlserver",
            models=("triage",), select='{job=~"models|others"}',
        )  # fmt: skip
        pages = list(serving.fetch(config, Pull(until - 900, until, until)))
    facts = [one for page in pages for one in page.records if isinstance(one, Fact)]
    told = [one.value for one in facts if isinstance(one.value, Ratio)]
    assert sum(told, Ratio()) == Ratio(25, 29)
    waits = [one.value.counts for one in facts if isinstance(one.value, Histogram)]
    assert sum(n for one in waits for n in one.values()) == 29
    spans = {(one.component, one.signal) for page in pages for one in page.covered or ()}
    assert spans == {("models", "request_success"), ("models", "latency")}


def test_the_names_are_those_that_the_server_tells(live: Live) -> None:
    with urllib.request.urlopen(live.metrics, timeout=10) as answer:
        text = answer.read().decode()
    for name in METRICS["mlserver"].wanted():
        assert f"\n{name}{{" in text, name
    assert "process_start_time_seconds" in text
