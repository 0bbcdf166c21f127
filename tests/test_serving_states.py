"""Readiness and models of inference servers, canary shares of KServe, and what their payload logs say was predicted."""

from __future__ import annotations

import base64
import json
import random
import socket
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _files, serving
from connectors import _serving_states as states
from connectors._serving_log import PIECE
from tandem.bins import Layout, feature_layout
from tandem.connect import Common, Given, Rule, SourceDown, SourceRefused
from tandem.records import Baseline, Event, Fact, Histogram, Page, Ratio
from tests.faults import TOKEN, virtual
from tests.replay import Answer, Asked, serve
from tests.serving_server import ModelServer
from tests.shelf import Shelf

HERE = Path(__file__).parent / "payloads" / "serving"
T0 = 1_794_960_000
"""A midnight, UTC."""
FRAUD = Common("serving", "models", component=("fraud",), every=60)
BY_MODEL = replace(FRAUD, component=(), map=(Rule(("fraud",), {"model": "fraud"}), Rule(("risk",), {"model": "risk"})))
SERVICE = json.loads((HERE / "inferenceservices.json").read_text())["items"][0]
NEW, OLD = "iris-predictor-00002", "iris-predictor-00001"


def looked(
    server: ModelServer, *times: int, shelf: Shelf | None = None, common: Common = BY_MODEL, **keys: Any
) -> Shelf:
    shelf = shelf or Shelf()
    with virtual(), serve(server.answer) as running:
        for now in times:
            config = serving.Config(common, server=running.url, **keys)
            shelf.take(serving.fetch(config, shelf.pull(now)))
    return shelf


def available(shelf: Shelf) -> dict[str, Ratio]:
    found: dict[str, Ratio] = {}
    for piece in shelf.slices.values():
        for one in piece:
            if one.series.signal == "availability" and isinstance(one.value, Ratio):
                name = one.series.component or dict(one.series.labels).get("model", "(server)")
                found[name] = found.get(name, Ratio()) + one.value
    return found


def index(**states: str) -> list[dict[str, str]]:
    """An index with model_version="STATE reason"."""
    found = []
    for name, text in states.items():
        (model, _, version), (state, _, reason) = name.partition("_"), text.partition(" ")
        found.append({"name": model, "version": version, "state": state, "reason": reason})
    return found


# --- readiness


def test_one_look_is_one_sample_of_each_model() -> None:
    """A model with one ready version is there; what vouches is the interval of each look."""
    server = ModelServer(index=index(fraud_1="READY", fraud_2="UNAVAILABLE", risk_1="UNAVAILABLE"))
    shelf = looked(server, T0, T0 + 60, T0 + 180)
    assert available(shelf) == {"fraud": Ratio(3, 3), "risk": Ratio(0, 3)}
    spans = {(one.component, one.since, one.until) for one in shelf.covered}
    assert spans == {(name, at, at + 60) for name in ("fraud", "risk") for at in (T0, T0 + 60, T0 + 180)}


def test_a_captured_index_is_read() -> None:
    told = json.loads((HERE.parent / "mlserver" / "repository_index.json").read_text())["body"]
    shelf = looked(ModelServer(index=told), T0)
    assert available(shelf) == {"claim-triage": Ratio(1, 1)}


@pytest.mark.parametrize("status", [503, 404, 500])
def test_a_server_that_is_not_ready_is_bad_for_all_its_models(status: int) -> None:
    server = ModelServer(index=index(fraud_1="READY", risk_1="READY"))
    shelf = looked(server, T0)
    server.ready = status
    assert available(looked(server, T0 + 60, shelf=shelf)) == {"fraud": Ratio(1, 2), "risk": Ratio(1, 2)}
    assert any("not ready (wrong status)" in reason for reason in shelf.reasons())


def test_a_server_that_does_not_answer_is_bad_though_its_metrics_fail_too() -> None:
    server = ModelServer(index=index(fraud_1="READY"), text="# TYPE nv_inference_count counter\n")
    shelf = Shelf()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{free.getsockname()[1]}"
    with virtual(), serve(server.answer) as running:
        for now, url in ((T0, running.url), (T0 + 60, dead), (T0 + 120, running.url)):
            config = serving.Config(BY_MODEL, f"{url}/metrics", server=url)
            pages = list(serving.fetch(config, shelf.pull(now)))
            shelf.take(pages)
            if url == dead:
                assert {one.signal for one in pages[0].gaps} == {"request_success", "latency"}
    assert available(shelf) == {"fraud": Ratio(2, 3)}


def test_without_an_index_models_are_asked_one_by_one_or_the_server_stands_for_them() -> None:
    server = ModelServer(models={"fraud": 200, "risk": 503})
    assert available(looked(server, T0, models=("fraud", "risk"))) == {"fraud": Ratio(1, 1), "risk": Ratio(0, 1)}
    assert available(looked(server, T0, common=FRAUD)) == {"fraud": Ratio(1, 1)}
    assert available(looked(server, T0, common=FRAUD, flavour="torchserve")) == {"fraud": Ratio(1, 1)}


def test_a_late_look_leaves_a_gap_and_no_bad_sample() -> None:
    server = ModelServer(index=index(fraud_1="READY"))
    shelf = looked(server, T0)
    with virtual(), serve(server.answer) as running:
        config = serving.Config(BY_MODEL, server=running.url)
        [page] = serving.fetch(config, shelf.pull(T0 + 600))
    assert [(one.since, one.until, one.signal) for one in page.gaps] == [(T0 + 60, T0 + 600, "availability")]
    assert available(shelf.take([page])) == {"fraud": Ratio(2, 2)}


@pytest.mark.parametrize(
    ("state", "status", "expected"),
    [
        ("READY", {}, Ratio(1, 1)), ("UNAVAILABLE", {}, Ratio(0, 1)), ("LOADING", {}, Ratio(0, 1)),
        ("UNLOADING", {}, None), ("UNKNOWN", {}, None), ("DREAMING", {}, None),
        ("DREAMING", {"DREAMING": "good"}, Ratio(1, 1)), ("LOADING", {"LOADING": "excluded"}, None),
    ],
)  # fmt: skip
def test_every_state_of_a_model(state: str, status: dict[str, Any], expected: Ratio | None) -> None:
    shelf = looked(ModelServer(index=index(fraud_1=state)), T0, common=replace(BY_MODEL, status=status))
    assert available(shelf) == ({} if expected is None else {"fraud": expected})
    assert any('"DREAMING" is unknown' in one for one in shelf.reasons()) is (state == "DREAMING" and not status)


# --- versions


def test_a_version_that_is_new_between_two_looks_is_a_deployment() -> None:
    """At the first look nothing is new; a version that was away for a while is not deployed again."""
    server = ModelServer(index=index(fraud_1="READY"))
    shelf = looked(server, T0)
    server.index = index(fraud_1="READY", fraud_2="READY", risk_7="UNAVAILABLE out of memory")
    looked(server, T0 + 60, shelf=shelf)
    server.index = index(fraud_1="UNAVAILABLE", fraud_2="UNAVAILABLE", risk_7="UNAVAILABLE out of memory")
    looked(server, T0 + 120, shelf=shelf)
    server.index = index(fraud_1="UNAVAILABLE", fraud_2="READY", risk_7="UNAVAILABLE out of memory")
    looked(server, T0 + 180, shelf=shelf)
    found = {
        (one.version, one.outcome, one.ts, one.ts_latest, dict(one.labels)["model"]) for one in shelf.events.values()
    }
    assert found == {("2", "good", T0, T0 + 60, "fraud"), ("7", "bad", T0, T0 + 60, "risk")}


# --- InferenceServices


def service(shares: Mapping[str, int], ready: str = NEW, created: str = "", condition: str = "True") -> dict[str, Any]:
    one: dict[str, Any] = json.loads(json.dumps(SERVICE))
    predictor = one["status"]["components"]["predictor"]
    predictor["traffic"] = [{"revisionName": name, "percent": percent} for name, percent in shares.items()]
    predictor["latestReadyRevision"], predictor["latestCreatedRevision"] = ready, created or ready
    one["status"]["conditions"][1].update(status=condition)
    return one


class Cluster:
    """The list of InferenceServices of an API server, in pages of two."""

    def __init__(self, *services: Any) -> None:
        self.services = services
        self.asked: list[Asked] = []
        self.loops = False

    def answer(self, asked: Asked) -> Answer:
        self.asked.append(asked)
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return Answer({"message": "Unauthorized"}, 401)
        if asked.path != "/apis/serving.kserve.io/v1beta1/namespaces/models/inferenceservices":
            return Answer({"message": "not found"}, 404)
        begin = int(asked.parameters().get("continue") or 0)
        more = begin + 2 < len(self.services) or self.loops
        meta = {"continue": str(begin + 2 if not self.loops else 2)} if more else {}
        return Answer({"items": list(self.services[begin : begin + 2]), "metadata": meta})

    def look(self, tmp_path: Path, shelf: Shelf, now: int) -> Shelf:
        with virtual(), serve(self.answer) as running:
            told = {
                "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
                "clusters": [{"name": "k", "cluster": {"server": running.url}}],
                "users": [{"name": "u", "user": {"token": TOKEN}}],
            }  # fmt: skip
            path = tmp_path / "kubeconfig"
            path.write_text(json.dumps(told))
            path.chmod(0o600)
            config = serving.Config(replace(FRAUD, component=(), discover=True), kubeconfig=path, namespace="models")
            return shelf.take(serving.fetch(config, shelf.pull(now)))


def told(shelf: Shelf, kind: str) -> list[Event]:
    return sorted((one for one in shelf.events.values() if one.kind == kind), key=lambda one: one.ts)


def test_a_canary_that_grows_is_a_change_of_traffic(tmp_path: Path) -> None:
    """Between two looks, with its interval; the same shares again are no change; a flap of readiness no deployment."""
    cluster, shelf = Cluster(service({NEW: 20, OLD: 80})), Shelf()
    now = T0 + 20 * 86400
    cluster.look(tmp_path, shelf, now)
    cluster.services = (service({NEW: 50, OLD: 50}),)
    cluster.look(tmp_path, shelf, now + 60)
    cluster.services = (service({NEW: 50, OLD: 50}),)
    cluster.services[0]["status"]["conditions"][1]["lastTransitionTime"] = "2026-12-01T00:00:00Z"
    cluster.look(tmp_path, shelf, now + 120)
    cluster.services = (service({NEW: 100}),)
    cluster.look(tmp_path, shelf, now + 180)
    found = [
        (one.ts, one.ts_latest, dict(one.labels).get("canary_percent"), one.title) for one in told(shelf, "traffic")
    ]
    assert found[1:] == [
        (now, now + 60, "50", f"iris: 50 % to {OLD}, 50 % to {NEW}"),
        (now + 120, now + 180, None, f"iris: 100 % to {NEW}"),
    ]
    assert found[0][2] == "20"
    assert [one.version for one in told(shelf, "deployment")] == [NEW]
    assert told(shelf, "deployment")[0].ts == 1_795_169_100
    print(f"a look makes {len(cluster.asked) // 4} requests; the fewest possible are 1")
    assert len(cluster.asked) == 4


@pytest.mark.parametrize(("condition", "outcome"), [("Unknown", "open"), ("False", "bad")])
def test_a_revision_that_is_not_ready_yet_is_open_and_one_deployment_in_the_end(
    condition: str, outcome: str, tmp_path: Path
) -> None:
    cluster, shelf = Cluster(service({OLD: 100}, ready=OLD, created=NEW, condition=condition)), Shelf()
    [new] = told(cluster.look(tmp_path, shelf, T0 + 20 * 86400), "deployment")
    assert (new.version, new.outcome, new.ended) == (NEW, outcome, None)
    cluster.services = (service({NEW: 100}),)
    [new] = told(cluster.look(tmp_path, shelf, T0 + 20 * 86400 + 60), "deployment")
    assert (new.version, new.outcome) == (NEW, "good")


def test_pages_of_services_are_followed_and_a_circle_is_noticed(tmp_path: Path) -> None:
    cluster = Cluster(
        *[{**service({NEW: 100}), "metadata": {**SERVICE["metadata"], "name": f"m{n}"}} for n in range(5)]
    )
    assert len(told(cluster.look(tmp_path, Shelf(), T0 + 20 * 86400), "deployment")) == 5
    cluster.loops = True
    with pytest.raises(SourceDown, match="in circles"):
        cluster.look(tmp_path, Shelf(), T0 + 20 * 86400)


def test_a_saved_service_tells_its_canary_within_what_is_known() -> None:
    given = Given(at=T0 + 20 * 86400)
    [page] = serving.parse(_files.item(HERE / "inferenceservices.json", given), serving.Config(FRAUD))
    [deployed, traffic] = [one for one in page.records if isinstance(one, Event)]
    assert (deployed.version, deployed.ts) == (NEW, 1_795_169_100)
    assert (traffic.ts, traffic.ts_latest) == (1_793_520_000, T0 + 20 * 86400)
    assert dict(traffic.labels)["shares"] == f"80 % to {OLD}, 20 % to {NEW}"


def test_a_broken_service_is_left_out_and_counted(tmp_path: Path) -> None:
    cluster, shelf = Cluster({"metadata": {}}, 7, service({NEW: 100})), Shelf()
    cluster.look(tmp_path, shelf, T0 + 20 * 86400)
    assert shelf.reasons() == {"an InferenceService lacks a part that is needed": 2}
    assert len(told(shelf, "deployment")) == 1


# --- payload logs


def event(number: int, at: float, body: Any, **more: Any) -> dict[str, Any]:
    told = {
        "specversion": "1.0", "id": f"r-{number}", "source": "http://predictor", "inferenceservicename": "fraud",
        "type": "org.kubeflow.serving.inference.response", "time": f"{np.datetime64(int(at * 1000), 'ms')}Z",
    }  # fmt: skip
    return {**told, "data": body, **more}


def written(path: Path, events: Sequence[Any], how: str = "w") -> Path:
    with path.open(how) as opened:
        opened.writelines(json.dumps(one) + "\n" for one in events)
    return path


def read(path: Path, shelf: Shelf, now: int = T0 + 86400, keep: bool = True, **keys: Any) -> list[Page]:
    common = keys.pop("common", FRAUD)
    pull = replace(shelf.pull(now, keep=keep), layout=keys.pop("layout", lambda *of: None))
    pages = list(serving.fetch(serving.Config(common, payload_log=str(path), **keys), pull))
    shelf.take(pages)
    return pages


def classes(shelf: Shelf) -> dict[tuple[int, str], int]:
    found: Counter[tuple[int, str]] = Counter()
    for piece in shelf.slices.values():
        for one in piece:
            if isinstance(one.value, Histogram):
                for place, n in one.value.counts.items():
                    found[one.ts, one.value.layout.values[place]] += n
    return dict(found)


def test_responses_tell_how_predictions_were_distributed() -> None:
    """Of the file beside this test: v1, v2 with a batch, MLServer's headers; requests and a repeat count nothing."""
    shelf = Shelf()
    pages = list(serving.parse(_files.item(HERE / "payloads.jsonl", Given()), serving.Config(FRAUD)))
    shelf.take(pages)
    ten, eleven = 1_795_168_800, 1_795_172_400
    assert classes(shelf) == {
        (ten, "0"): 2,
        (ten, "1"): 3,
        (ten, "2"): 1,
        (eleven, "1"): 1,
        (eleven, "2"): 1,
        (eleven, "0"): 1,
    }
    assert shelf.reasons() == {"an event that was sent again counts once": 1}
    versions = {one.series.version for piece in shelf.slices.values() for one in piece}
    assert versions == {"", "2", "v3"}


def test_a_growing_log_is_read_on_and_its_stretches_count_once(tmp_path: Path) -> None:
    """In three parts, with a line that is still being written, a repeat across parts, and the memory lost."""
    rng = random.Random(3)
    events = [event(n, T0 + 40 * n, {"predictions": [rng.choice("abc")]}) for n in range(600)]
    expected: Counter[tuple[int, str]] = Counter()
    for number, one in enumerate(events):
        expected[(T0 + 40 * number) // 3600 * 3600, one["data"]["predictions"][0]] += 1
    path, shelf = tmp_path / "log.jsonl", Shelf()
    read(written(path, events[:200]), shelf)
    written(path, events[190:400], "a")
    with path.open("a") as opened:
        opened.write(json.dumps(events[400])[:50])
    read(path, shelf)
    path.write_text("\n".join(path.read_text().splitlines()[:-1]) + "\n")
    written(path, events[400:], "a")
    read(path, shelf)
    assert classes(shelf) == dict(expected)
    read(path, shelf, keep=False)
    path.rename(tmp_path / "log.1.jsonl")
    read(tmp_path / "*.jsonl", shelf)
    assert classes(shelf) == dict(expected)
    assert len(shelf.slices) == 3


def test_what_lies_ahead_waits(tmp_path: Path) -> None:
    events = [event(n, T0 + 600 * n, {"predictions": ["a"]}) for n in range(10)]
    path, shelf = written(tmp_path / "log.jsonl", events), Shelf()
    read(path, shelf, now=T0 + 1500)
    assert sum(classes(shelf).values()) == 3
    read(path, shelf)
    assert sum(classes(shelf).values()) == 10


def test_numbers_keep_the_layout_that_was_made_of_the_first_thousand(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    values = rng.lognormal(size=3000).round(6)
    rows = [values[n : n + 30].tolist() for n in range(0, 3000, 30)]
    outputs = [[{"name": "predict", "shape": [30, 1], "datatype": "FP64", "data": [[x] for x in row]}] for row in rows]
    events = [event(n, T0 + n, {"model_name": "fraud", "outputs": one}) for n, one in enumerate(outputs)]
    shelf, path = Shelf(), tmp_path / "log.jsonl"
    pages = read(written(path, events[:50]), shelf)
    [baseline] = [one for page in pages for one in page.records if isinstance(one, Baseline)]
    assert baseline.histogram.layout == feature_layout(values[:1500])
    made = baseline.histogram.layout
    pages = read(written(path, events[50:], "a"), shelf, layout=lambda *of: made)
    assert not [one for page in pages for one in page.records if isinstance(one, Baseline)]
    found = shelf.histogram("prediction")
    assert found.layout == made
    counts, _ = np.histogram(values, [-np.inf, *made.edges, np.inf])
    assert [found.counts.get(place, 0) for place in range(len(made.edges) + 1)] == counts.tolist()
    assert sum(found.sums.values()) == sum(round(value * 10 ** (made.digits or 0)) for value in values)


def test_classes_stay_classes_and_numbers_numbers(tmp_path: Path) -> None:
    """Whole numbers are classes unless numbers were there before, or the source says what they are."""
    path = written(tmp_path / "log.jsonl", [event(n, T0, {"predictions": [n]}) for n in range(3)])
    for keys, kind in (
        ({}, "categories"),
        ({"predicts": "number"}, "edges"),
        ({"layout": lambda *of: Layout(edges=(1.0,))}, "edges"),
    ):
        shelf = Shelf()
        read(path, shelf, **keys)
        assert shelf.histogram("prediction").layout.kind == kind


@pytest.mark.parametrize(
    ("body", "keys", "counted", "said"),
    [
        ({"predictions": [[0.2, 0.8]]}, {}, 0, "several numbers in each row"),
        ({"predictions": [{"a": 1, "b": 2}]}, {}, 0, "several parts"),
        ({"predictions": [{"a": 1, "b": 2}]}, {"output": "b"}, 1, ""),
        ({"outputs": [{"name": "x", "data": [1]}, {"name": "y", "data": [2]}]}, {}, 0, "no output of that name"),
        ({"outputs": [{"name": "x", "data": [1]}, {"name": "y", "data": [2]}]}, {"output": "y"}, 1, ""),
        ({"outputs": [{"name": "p", "shape": [1, 2], "data": [0.1, 0.9]}]}, {}, 0, "several numbers in each row"),
        ({"error": "x"}, {}, 0, "no JSON of the inference protocols"),
        (base64.b64encode(b'{"predictions": [4]}').decode(), {"packed": True}, 1, ""),
        ('{"predictions": [4, null]}', {}, 2, ""),
        ("<html>", {}, 0, "no JSON of the inference protocols"),
    ],
)  # fmt: skip
def test_what_is_no_prediction_is_left_out_and_said(
    body: Any, keys: dict[str, Any], counted: int, said: str, tmp_path: Path
) -> None:
    one = event(1, T0, body)
    if keys.pop("packed", False):
        one["data_base64"] = one.pop("data")
    shelf = Shelf()
    read(written(tmp_path / "log.jsonl", [one]), shelf, **keys)
    facts = [fact for piece in shelf.slices.values() for fact in piece]
    assert sum(n for fact in facts if isinstance(fact.value, Histogram) for n in fact.value.counts.values()) == counted
    assert bool(said) is bool(shelf.reasons())
    assert said in " ".join(shelf.reasons())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"specversion": "1.0", "type": "x.inference.response", "id": NaN}', "no time"),
        ("{oops", "no JSON"),
        ('{"specversion": "1.0", "type": "com.example.ordered", "id": "1"}', "no event of an inference server"),
        ("[1, 2]", "no event of an inference server"),
        ('{"specversion": "1.0", "type": "x.inference.response", "id": "1", "time": "0001-01-01"}', "no time"),
    ],
)
def test_a_line_that_cannot_be_used_is_counted_and_the_rest_is_read(line: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path / "log.jsonl", [event(1, T0, {"predictions": ["a"]})])
    path.write_text(path.read_text() + line + "\n" + json.dumps(event(2, T0, {"predictions": ["a"]})) + "\n")
    shelf = Shelf()
    read(path, shelf)
    assert sum(classes(shelf).values()) == 2
    assert any(said in reason for reason in shelf.reasons())


def test_the_share_that_was_logged_is_the_coverage(tmp_path: Path) -> None:
    """Thirty of forty requests that the metrics counted stand in the log: three quarters of that hour."""
    text = '# TYPE nv_inference_request_success counter\nnv_inference_request_success{model="fraud"} '
    server, shelf = ModelServer(text=f"{text}0\n"), Shelf()
    path = written(tmp_path / "log.jsonl", [event(n, T0 + 60 + n, {"predictions": ["a", "b"]}) for n in range(30)])
    for now, n in ((T0, 0), (T0 + 300, 40), (T0 + 3600, 40)):
        server.text = f"{text}{n}\n"
        with virtual(), serve(server.answer) as running:
            config = serving.Config(FRAUD, f"{running.url}/metrics", payload_log=str(path))
            shelf.take(serving.fetch(config, shelf.pull(now)))
    spans = {(one.since - T0, one.until - T0) for one in shelf.covered if one.signal == "prediction"}
    assert spans == {(0, 2700)}


def test_hostile_text_stays_data(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>=HYPERLINK()"
    shelf = Shelf()
    path = written(tmp_path / "log.jsonl", [event(1, T0, {"model_name": evil, "predictions": [evil]})])
    read(path, shelf, common=replace(FRAUD, component=()))
    [fact] = [one for piece in shelf.slices.values() for one in piece]
    assert dict(fact.series.labels)["model"] == evil
    assert classes(shelf) == {(T0, evil): 1}


def test_a_log_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SourceRefused, match=r"matches no file; check path\."):
        read(tmp_path / "none.jsonl", Shelf())


def test_a_large_log_is_read_in_stretches(tmp_path: Path) -> None:
    body = {"predictions": ["a"], "padding": "x" * 40_000}
    path = written(tmp_path / "log.jsonl", [event(n, T0 + n, body) for n in range(220)])
    assert path.stat().st_size > 2 * PIECE
    shelf = Shelf()
    read(path, shelf)
    assert len(shelf.slices) == 3
    assert classes(shelf) == {(T0, "a"): 220}
    assert isinstance(next(iter(shelf.slices.values()))[0], Fact)


def test_files_are_known_by_content() -> None:
    assert states.is_services((HERE / "inferenceservices.json").read_bytes())
    assert not states.is_services(b'{"kind": "List", "apiVersion": "v1", "items": [{"kind": "Pod"}]}')
    assert serving.recognise(_files.item(HERE / "payloads.jsonl", Given()))
