"""The product as people use it: a configuration, `tandem sync`, and answers compared with other people's arithmetic."""

from __future__ import annotations

import http.client
import json
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from sklearn import metrics

from tandem import config as configuration
from tandem import slo
from tandem.cli import main
from tandem.remote import owner_file
from tests import processes
from tests.faults_prometheus import answer_of
from tests.github_server import Repository, serving
from tests.mlflow_replay import Replay, Running
from tests.processes import free_port
from tests.replay import serve

Run = Callable[..., Result]
HOURS = 6
NOW = int(time.time())
BASE = NOW // 3600 * 3600 - HOURS * 3600
"""Six whole hours of the recent past, so that a sync of today sees them all."""
WINDOW = ("--from", str(BASE), "--to", str(BASE + HOURS * 3600))

EXAMPLE = """
[[source]]
connector = "prometheus"
name = "prod"
url = "http://127.0.0.1:9090"        # or "file:exports/prometheus"
  [[source.signal]]
  component = "checkout-api"
  signal = "availability"
  up = 'probe_success{job="checkout"}'
  [[source.signal]]
  component = "checkout-api"
  signal = "request_success"
  total = 'http_requests_total{service="checkout"}'
  bad = 'http_requests_total{service="checkout",code=~"5.."}'      # or good = ...
  [[source.signal]]
  component = "checkout-api"
  signal = "latency"
  histogram = 'http_request_duration_seconds{service="checkout"}'   # base name; seconds

[[source]]
connector = "predictions"
name = "fraud-log"
path = "exports/fraud/*.parquet"
labels = "exports/fraud-labels/*.parquet"
component = "fraud-detector"
task = "binary"
id = "prediction_id"
time = "ts"
version = "model_version"
prediction = "predicted"
score = "score"
label = "label"
segments = ["country", ["country", "channel"]]
features = ["amount", "age_days", "channel"]

[[source]]
connector = "mlflow"
name = "registry"
url = "http://127.0.0.1:5000"
  [[source.map]]
  component = "fraud-detector"
  match = { model = "fraud" }

[[source]]
connector = "github"
name = "checkout-ci"
repository = "acme/checkout"
component = "checkout-api"
token_env = "GITHUB_TOKEN"
"""
MORE = """
[[source]]
connector = "predictions"
name = "intent-log"
path = "exports/intent.csv"
component = "intent"
task = "multiclass"
id = "id"
time = "ts"
prediction = "predicted"
label = "label"
features = []

[[source]]
connector = "predictions"
name = "eta-log"
path = "exports/eta.csv"
component = "eta"
task = "regression"
id = "id"
time = "ts"
prediction = "predicted"
label = "label"
features = []

[[objective]]
component = "fraud-detector"
signal = "accuracy"
target = 0.7
"""


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(BASE + seconds, UTC)


# -- what the servers and files hold


def fraud(rows: int = 4000) -> list[dict[str, Any]]:
    draw = random.Random(7)
    found = []
    for number in range(rows):
        truth = draw.random() < 0.3
        score = min(max(draw.gauss(0.62 if truth else 0.4, 0.2), 0.001), 0.999)
        found.append({
            "prediction_id": f"p{number}", "ts": at(HOURS * 3600 * number / rows), "predicted": int(score > 0.5),
            "score": score, "label": int(truth) if draw.random() < 0.9 else None,
            "model_version": draw.choice(["7", "8"]), "country": draw.choice(["DE", "FR", "IT"]),
            "channel": draw.choice(["web", "app"]), "amount": draw.lognormvariate(3, 1),
            "age_days": draw.randrange(900),
        })  # fmt: skip
    return found


def classes(rows: int = 900) -> list[dict[str, Any]]:
    draw = random.Random(8)
    return [
        {"id": n, "ts": at(20 * n), "predicted": draw.choice("aab"), "label": draw.choice("aabbc")} for n in range(rows)
    ]


def numbers(rows: int = 900) -> list[dict[str, Any]]:
    draw = random.Random(9)
    found = [{"id": n, "ts": at(20 * n), "label": round(draw.gauss(30, 8), 3)} for n in range(rows)]
    return [{**row, "predicted": round(float(str(row["label"])) + draw.gauss(0.4, 3), 3)} for row in found]


FRAUD, CLASSES, NUMBERS = fraud(), classes(), numbers()


def write_parquet(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    arrays = {name: pa.array(some, pa.timestamp("us", tz="UTC")) if name == "ts" else pa.array(some)
              for name, some in columns.items()}  # fmt: skip
    pq.write_table(pa.table(arrays), path)


def write_csv(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = [",".join(rows[0])]
    lines += [
        ",".join(one.isoformat() if isinstance(one, datetime) else str(one) for one in row.values()) for row in rows
    ]
    path.write_text("\n".join(lines) + "\n")


STEPS = HOURS * 60
EDGES = ("0.1", "0.3", "1", "+Inf")


def scraped() -> list[tuple[dict[str, str], list[tuple[float, float]]]]:
    """One sample per minute: a probe that fails now and then, requests with a restart, and a histogram."""
    times = [BASE + 60 * n + 1 for n in range(STEPS)]
    probe = {"__name__": "probe_success", "job": "checkout"}
    found = [(probe, [(t, float(n % 50 != 7)) for n, t in enumerate(times)])]
    for code, each in (("200", 40), ("500", 2)):
        labels = {"__name__": "http_requests_total", "service": "checkout", "code": code}
        found.append((labels, [(t, float(each * (n if n < 200 else n - 200))) for n, t in enumerate(times)]))
    for edge, each in zip(EDGES, (10, 25, 39, 42), strict=True):
        labels = {"__name__": "http_request_duration_seconds_bucket", "service": "checkout", "le": edge}
        found.append((labels, [(t, float(each * n)) for n, t in enumerate(times)]))
    return found


def repository() -> Repository:
    found = Repository()
    for number in range(20):
        found.run(500 + number, BASE + 900 * number, "failure" if number % 5 == 0 else "success")
    found.rerun(505, BASE + 8000, "success")
    found.deploy(700, BASE + 3000, ref="v1")
    found.status(700, BASE + 3300, "success")
    found.release(9, BASE + 2900, "v1")
    return found


# -- a company


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("company")
    exports = folder / "exports"
    write_parquet(
        exports / "fraud" / "1.parquet", [{k: v for k, v in row.items() if k != "label"} for row in FRAUD[:2500]]
    )
    write_parquet(
        exports / "fraud" / "2.parquet", [{k: v for k, v in row.items() if k != "label"} for row in FRAUD[2500:]]
    )
    known = [
        {"prediction_id": row["prediction_id"], "label": row["label"]} for row in FRAUD if row["label"] is not None
    ]
    write_parquet(exports / "fraud-labels" / "1.parquet", known)
    write_csv(exports / "intent.csv", CLASSES)
    write_csv(exports / "eta.csv", NUMBERS)
    replay = Replay()
    with serve(answer_of(scraped())) as prometheus, serving(repository()) as github, Running(replay) as mlflow:
        text = EXAMPLE.replace('"http://127.0.0.1:9090"', f'"{prometheus.url}"\nsince = "8h"')
        text = text.replace('"http://127.0.0.1:5000"', f'"{mlflow.url}"').replace(
            '{ model = "fraud" }', '{ model = "*" }'
        )
        text = text.replace('repository = "acme/checkout"', f'repository = "acme/checkout"\nurl = "{github}"')
        (folder / "tandem.toml").write_text(text + MORE)
        yield folder


@pytest.fixture(scope="module")
def synced(company: Path) -> Path:
    done = processes.run("sync", folder=company, GITHUB_TOKEN="not-a-secret")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == [
        "prod", "fraud-log", "registry", "checkout-ci", "intent-log", "eta-log",
    ]  # fmt: skip
    return company


@pytest.fixture
def run(synced: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(synced)
    monkeypatch.setenv("GITHUB_TOKEN", "not-a-secret")
    return lambda *words: CliRunner().invoke(main, list(words))


def shown(run: Run, component: str, *more: str) -> dict[str, Any]:
    done = run("show", component, *(more if "--from" in more else (*WINDOW, *more)), "--json")
    assert (done.exit_code, done.stderr) == (0, ""), done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def signals(answer: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["signal"]: one for one in answer["signals"]}


# -- numbers


def labelled(rows: Sequence[dict[str, Any]]) -> tuple[list[Any], list[Any]]:
    return [r["label"] for r in rows if r["label"] is not None], [
        r["predicted"] for r in rows if r["label"] is not None
    ]


def check_binary(found: dict[str, Any], rows: Sequence[dict[str, Any]]) -> None:
    truth, predicted = labelled(rows)
    quality = found["quality"]
    assert (quality["predictions"], quality["labels"]) == (len(rows), len(truth))
    assert quality["label_coverage"] == len(truth) / len(rows)
    right = sum(a == b for a, b in zip(truth, predicted, strict=True))
    assert (signals(found)["outcome"]["good"], signals(found)["outcome"]["total"]) == (right, len(truth))
    for name, expected in (
        ("accuracy", metrics.accuracy_score(truth, predicted)),
        ("precision", metrics.precision_score(truth, predicted)),
        ("recall", metrics.recall_score(truth, predicted)), ("f1", metrics.f1_score(truth, predicted)),
    ):  # fmt: skip
        assert quality[name] == pytest.approx(expected, abs=1e-12), name
    auc = metrics.roc_auc_score(truth, [row["score"] for row in rows if row["label"] is not None])
    assert abs(quality["roc_auc"]["value"] - auc) <= quality["roc_auc"]["bound"] <= 0.03
    assert (quality["task"], quality["averaging"], quality["mae"]) == ("binary", None, None)


def test_a_binary_model_equals_scikit_learn_on_the_raw_rows(run: Run) -> None:
    check_binary(shown(run, "fraud-detector"), FRAUD)


def test_a_multiclass_model_equals_scikit_learn_on_the_raw_rows(run: Run) -> None:
    quality = shown(run, "intent")["quality"]
    truth, predicted = labelled(CLASSES)
    macro = metrics.precision_recall_fscore_support(truth, predicted, average="macro", zero_division=0)
    assert quality["accuracy"] == metrics.accuracy_score(truth, predicted)
    assert [quality[name] for name in ("precision", "recall", "f1")] == pytest.approx(list(macro[:3]), abs=1e-12)
    assert (quality["task"], quality["averaging"], quality["roc_auc"]) == ("multiclass", "macro", None)


def test_a_regression_equals_scikit_learn_on_the_raw_rows(run: Run) -> None:
    quality = shown(run, "eta")["quality"]
    truth, predicted = labelled(NUMBERS)
    errors = [a - b for a, b in zip(predicted, truth, strict=True)]
    assert quality["mae"] == pytest.approx(metrics.mean_absolute_error(truth, predicted), rel=1e-9)
    assert quality["rmse"] == pytest.approx(metrics.mean_squared_error(truth, predicted) ** 0.5, rel=1e-9)
    assert quality["bias"] == pytest.approx(sum(errors) / len(errors), rel=1e-9)
    assert quality["r2"] == pytest.approx(metrics.r2_score(truth, predicted), rel=1e-9)
    assert (quality["task"], quality["accuracy"]) == ("regression", None)


def test_prometheus_equals_a_hand_computation(run: Run) -> None:
    found = signals(shown(run, "checkout-api"))
    checks = [n % 50 != 7 for n in range(STEPS)]
    assert (found["availability"]["good"], found["availability"]["total"]) == (sum(checks), STEPS)
    grown = 199 + (STEPS - 1 - 200)  # after the restart the counter begins at nothing
    assert (found["request_success"]["good"], found["request_success"]["total"]) == (40 * grown, 42 * grown)
    minutes = STEPS - 1
    assert (found["latency"]["good"], found["latency"]["total"]) == (25 * minutes, 42 * minutes)
    assert found["latency"]["quantiles"]["p50"] == pytest.approx(0.1 + 0.2 * 11 / 15)
    assert (found["build_success"]["good"], found["build_success"]["total"]) == (17, 20)
    assert found["availability"]["source"] == "prod"
    assert found["availability"]["coverage"] == pytest.approx(1.0, abs=0.01)


# -- shapes


SIGNAL = {"signal", "side", "source", "good", "total", "value", "coverage", "objective", "state", "reason", "quantiles",
          "witnesses", "why", "corrected", "bound"}  # fmt: skip
SHAPE = {
    "": {"component", "kind", "product", "window", "as_of", "state", "signals", "quality", "versions", "samples",
         "events", "delivery", "joint", "corrections", "lineage", "training"},
    "window": {"from", "to"},
    "quality": {"task", "predictions", "labels", "label_coverage", "accuracy", "precision", "recall", "f1", "averaging",
                "roc_auc", "mae", "rmse", "bias", "r2"},
    "objective": {"name", "target", "window", "budget_left", "events_left", "good", "total", "burn",
                  "coverage", "expected", "exhausts_in", "exhausts_over", "slices", "burn_until", "base", "rules",
                  "remarks", "noticed", "corrected", "bound"},
    "versions": {"version", "created", "run", "commit", "data_version", "aliases"},
    "samples": {"name", "value", "step", "ts", "run", "version", "source", "stage"},
    "events": {"kind", "ts", "interval", "title", "version", "commit", "source", "key", "url"},
}  # fmt: skip


def test_the_keys_of_the_answer_are_those_that_were_promised(run: Run) -> None:
    model = shown(run, "fraud-detector", "--from", "now-3650d")
    service = shown(run, "checkout-api")
    for answer in (model, service):
        assert answer.keys() == SHAPE[""]
        assert answer["window"].keys() == SHAPE["window"]
        for one in answer["signals"]:
            assert one.keys() == SIGNAL
            assert one["objective"] is None or one["objective"].keys() == SHAPE["objective"]
            assert one["objective"] is None or one["objective"]["burn"].keys() == set(slo.BURN_WINDOWS)
            assert one["quantiles"] is None or one["quantiles"].keys() == {"p50", "p95", "p99"}
    assert model["quality"].keys() >= SHAPE["quality"], "more may stand beside what was promised"
    assert service["quality"] is None
    for name in ("versions", "samples", "events"):
        assert model[name], name
        assert all(one.keys() == SHAPE[name] for one in (*model[name], *service[name])), name
    assert {one["kind"] for one in service["events"]} == {"build", "deployment", "release"}
    assert len([one for one in service["events"] if one["key"] == "505"]) == 1
    pairs = [(one["name"], one["run"]) for one in model["samples"]]
    assert len(pairs) == len(set(pairs))


def test_what_cannot_be_computed_is_null_and_never_nothing(run: Run) -> None:
    quality = shown(run, "fraud-detector", "--from", "now-30d", "--to", "now-29d")["quality"]
    assert (quality["predictions"], quality["label_coverage"], quality["accuracy"], quality["roc_auc"]) == (None,) * 4


# -- filters


def test_every_filter_changes_what_it_should(run: Run) -> None:
    check_binary(shown(run, "fraud-detector", "--version", "7"), [row for row in FRAUD if row["model_version"] == "7"])
    check_binary(shown(run, "fraud-detector", "--segment", "country=DE"), [r for r in FRAUD if r["country"] == "DE"])
    pair = [row for row in FRAUD if row["country"] == "DE" and row["channel"] == "web"]
    check_binary(shown(run, "fraud-detector", "--segment", "country=DE,channel=web"), pair)
    middle = BASE + 2 * 3600
    early = [row for row in FRAUD if row["ts"].timestamp() < middle]
    check_binary(shown(run, "fraud-detector", "--from", str(BASE), "--to", str(middle)), early)
    late = shown(run, "fraud-detector", "--from", str(middle), "--to", str(BASE + HOURS * 3600))
    check_binary(late, [row for row in FRAUD if row["ts"].timestamp() >= middle])
    before = shown(run, "fraud-detector", "--as-of", "0")
    assert (before["as_of"], before["quality"]["predictions"], before["versions"]) == (0, None, [])
    evaluated = shown(run, "fraud-detector", "--from", "now-3650d", "--stage", "evaluation")
    assert evaluated["quality"]["predictions"] is None
    assert {one["stage"] for one in evaluated["samples"]} == {"evaluation"}
    one = shown(run, "fraud-detector", "--from", "now-3650d", "--version", "2")
    assert {v["version"] for v in one["versions"]} | {s["version"] for s in one["samples"]} <= {"2"}


# -- the commands themselves


def test_the_example_of_the_documentation_loads(tmp_path: Path) -> None:
    (tmp_path / "tandem.toml").write_text(EXAMPLE)
    found = configuration.load(tmp_path / "tandem.toml")
    assert [source.name for source in found.sources] == ["prod", "fraud-log", "registry", "checkout-ci"]
    assert {one.name: one.kind for one in found.components} == {"checkout-api": "service", "fraud-detector": "model"}


def test_exit_codes_and_streams(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unknown = run("show", "nobody", "--json")
    assert (unknown.exit_code, unknown.stdout) == (2, "")
    assert "nobody" in unknown.stderr
    assert len(unknown.stderr.splitlines()) == 1
    assert run("show", "--from", "yesterday-ish").exit_code == 2
    assert run("show", "--as-of", "99999").exit_code == 2
    assert run("sync", "nobody").exit_code == 2
    listing = run("show", "--json", *WINDOW)
    assert listing.exit_code == 0
    assert [one["component"] for one in json.loads(listing.stdout)] == [
        "checkout-api",
        "fraud-detector",
        "intent",
        "eta",
    ]
    listed = run("sources", "--json")
    assert (listed.exit_code, listed.stderr) == (0, "")
    states = {one["name"]: one["state"] for one in json.loads(listed.stdout)["sources"]}
    assert set(states) == {"prod", "fraud-log", "registry", "checkout-ci", "intent-log", "eta-log"}
    assert "failing" not in states.values()
    table = run("sources")
    assert table.exit_code == 0
    assert all(name in table.stdout for name in states)
    monkeypatch.chdir(tmp_path)
    Path("tandem.toml").write_text('[[source]]\nconnector = "junit"\nname = "t"\npath = "none.xml"\ncomponent = "a"\n')
    failed = run("sync")
    assert (failed.exit_code, failed.stdout) == (1, "")
    assert "none.xml is not there" in failed.stderr


def test_the_command_its_owner_and_http_answer_the_same_bytes(run: Run, synced: Path) -> None:
    asked = ("show", "fraud-detector", *WINDOW, "--json")
    alone = run(*asked)
    assert alone.exit_code == 0
    with processes.running(
        processes.start("serve", "--no-browser", "--port", str(free_port()), folder=synced, GITHUB_TOKEN="not-a-secret")
    ) as serving_it:
        place = owner_file(synced / "tandem.duckdb")
        processes.eventually(lambda: place.exists() or serving_it.poll() is not None, "the owner")
        told = json.loads(place.read_text())
        as_of = str(json.loads(alone.stdout)["as_of"])
        through = run(*asked, "--as-of", as_of)
        assert (through.exit_code, through.stderr) == (0, "")
        query = {"component": "fraud-detector", "from": WINDOW[1], "to": WINDOW[3], "as_of": as_of}
        status, body = _get(told["url"], f"/api/v1/show?{urlencode(query)}", told["token"])
        page = told["page"]
        processes.eventually(lambda: _healthy(page), "the page")
        public = _get(page, f"/api/v1/show?{urlencode(query)}", "")
    assert status == 200
    assert through.stdout == body.decode() == public[1].decode() == alone.stdout


def _get(url: str, target: str, token: str) -> tuple[int, bytes]:
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=30)
    try:
        connection.request("GET", target, headers={"Authorization": f"Bearer {token}"} if token else {})
        reply = connection.getresponse()
        return reply.status, reply.read()
    finally:
        connection.close()


def _healthy(page: str) -> bool:
    try:
        return _get(page, "/healthz", "")[0] == 200
    except OSError:
        return False
