"""MLflow, against a real server in an environment of its own (first use installs it)."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, mlflow
from tandem.connect import Common, Given, Pull
from tandem.records import Confusion, Event, Fact, Page, Ratio, Sample
from tests.mlflow_live import Live, program, serving

START = 1_790_000_000
"""When the first run begins; the server takes whatever times it is given."""
EVALUATING = Path(__file__).parent / "mlflow_evaluating.py"

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    # Without these a server posts to public addresses over TLS only, and to a webhook that is a minute old.
    allowed = {"MLFLOW_WEBHOOK_ALLOWED_SCHEMES": "http", "MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS": "true",
               "MLFLOW_WEBHOOK_CACHE_TTL": "0"}  # fmt: skip
    with serving(tmp_path_factory.mktemp("mlflow"), **allowed) as server:
        yield server


CHOSEN = {"experiments": ("fraud-*",), "models": ("fraud*",)}


def pull(live: Live, now: int, state: Any = None, own: Any = CHOSEN, **changes: Any) -> list[Page]:
    config = mlflow.Config(Common("mlflow", "registry"), url=live.url, **own)
    asked = Pull(since=START - 86400, until=now, now=now, state=state, **changes)
    return list(mlflow.fetch(config, asked))


def records(pages: list[Page]) -> set[Any]:
    """All records; counts as text, for they are made of dictionaries."""
    return {repr(one) if isinstance(one, Fact) else one for page in pages for one in page.records}


def events(pages: list[Page], kind: str) -> dict[str, Event]:
    return {r.key: r for page in pages for r in page.records if isinstance(r, Event) and r.kind == kind}


def values(pages: list[Page], name: str) -> list[tuple[float, int]]:
    found = [r for page in pages for r in page.records if isinstance(r, Sample) and r.series.name == name]
    return [(sample.value, sample.step) for sample in found]


def state(pages: list[Page]) -> Any:
    return json.loads(json.dumps([page.state for page in pages if page.state is not None][-1]))


def test_what_happens_on_a_real_server_is_found(live: Live) -> None:
    experiment = live.post("experiments/create", name="fraud-nightly")["experiment_id"]
    other = live.post("experiments/create", name="something-else")["experiment_id"]
    first = live.run(experiment, "logreg", START, "RUNNING")
    for step in range(12):
        live.log(first, "val_accuracy", 0.5 + step / 100, START + step, step)
    live.log(first, "diverged", "NaN", START + 20)
    live.log(first, "grad_norm", "Infinity", START + 20)
    live.post("runs/log-parameter", run_id=first, key="algo", value="logreg")
    live.post("runs/set-tag", run_id=first, key="mlflow.source.git.commit", value="c0ffee")
    dataset = {"name": "claims", "digest": "a8651205", "source_type": "code", "source": "{}"}
    live.post("runs/log-inputs", run_id=first, datasets=[{"dataset": dataset}])
    live.post("runs/update", run_id=first, status="FINISHED", end_time=(START + 60) * 1000)
    second = live.run(experiment, "forest", START + 100)
    failed = live.run(experiment, "broken", START + 200, "FAILED")
    live.run(other, "hidden", START + 200)
    live.post("registered-models/create", name="fraud")
    for run in (first, second):
        source = f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"
        live.post("model-versions/create", name="fraud", source=source, run_id=run)
    live.alias("fraud", "champion", "1")
    live.alias("fraud", "challenger", "2")

    now = int(time.time()) + 60
    pages = pull(live, now, first=True)
    runs = events(pages, "training")
    assert {run.title: run.outcome for run in runs.values()} == {"logreg": "good", "forest": "good", "broken": "bad"}
    one = runs[first]
    assert (one.ts, one.ended, one.version, one.commit) == (START, START + 60, "1", "c0ffee")
    assert (one.data_version, one.actor, dict(one.labels)["param.algo"]) == ("a8651205", "ci", "logreg")
    assert values(pages, "val_accuracy") == [(0.5 + step / 100, step) for step in range(12)]
    rejected = [f.where.split('"')[1] for page in pages for f in page.findings if f.kind == "reject"]
    assert sorted(rejected) == ["diverged", "grad_norm"]
    assert {(e.version, e.run, e.commit) for e in events(pages, "release").values()} == {
        ("1", first, "c0ffee"),
        ("2", second, ""),
    }
    seen = {dict(e.labels)["alias"]: e for e in events(pages, "promotion").values()}
    assert {alias: e.version for alias, e in seen.items()} == {"champion": "1", "challenger": "2"}
    assert all(now - 900 < e.ts <= e.ts_latest == now for e in seen.values())
    assert records(pull(live, now, first=True)) == records(pages), "a pull gives the same twice"

    live.alias("fraud", "champion", "2")
    live.delete("registered-models/alias", name="fraud", alias="challenger")
    live.log(second, "prod_accuracy", 0.91, START + 5000, 30)
    again = pull(live, now + 300, state(pages))
    moves = {dict(e.labels)["alias"]: e for e in events(again, "promotion").values()}
    champion = moves["champion"]
    assert (champion.ts, champion.ts_latest, champion.version) == (now, now + 300, "2")
    assert dict(champion.labels)["from"] == "1"
    assert (moves["challenger"].version, dict(moves["challenger"].labels)["removed"]) == ("", "2")
    assert values(again, "prod_accuracy") == [(0.91, 30)], "logged after the run was finished"
    assert not values(again, "val_accuracy"), "an unchanged history is not read again"

    live.log(second, "prod_accuracy", 0.88, START + 4000, 29)
    quiet = pull(live, now + 600, state(again))
    assert not events(quiet, "promotion") and not values(quiet, "prod_accuracy")
    swept = pull(live, now + 900, state(quiet), sweep=True)
    assert values(swept, "prod_accuracy") == [(0.88, 29), (0.91, 30)], "back-dated below the newest"

    live.log(failed, "late", 0.1, START + 6000)
    assert values(pull(live, now + 900, state(quiet)), "late") == [(0.1, 0)]


def test_the_servers_database_gives_what_the_server_gives(live: Live) -> None:
    now = int(time.time()) + 60
    experiment = live.post("experiments/create", name="fraud-again")["experiment_id"]
    run = live.run(experiment, "odd \N{SNOWMAN} <b>name</b>", START + 300, "KILLED")
    live.log(run, "eval/deep/f1", 0.25, START + 300, -1)
    config = mlflow.Config(Common("mlflow", "registry"), url=live.url)
    item = _files.item(live.folder / "mlflow.db", Given(at=now))
    assert mlflow.recognise(item)
    asked = Pull(since=0, until=now, now=now, first=True)
    assert records(list(mlflow.parse(item, config))) == records(list(mlflow.fetch(config, asked)))


def test_many_runs_are_paged(live: Live) -> None:
    experiment = live.post("experiments/create", name="fraud-many")["experiment_id"]
    made = {live.run(experiment, f"run {number}", START + 1000 + number // 50, "RUNNING") for number in range(210)}
    now = int(time.time()) + 60
    assert made <= set(events(pull(live, now), "training"))


def test_a_file_store_written_by_the_real_program_is_read(live: Live, tmp_path: Path) -> None:
    written = (
        "import mlflow\n"
        "from mlflow import MlflowClient\n"
        f"mlflow.set_tracking_uri('file://{tmp_path}/mlruns')\n"
        "client = MlflowClient()\n"
        "mlflow.set_experiment('fraud-files')\n"
        "with mlflow.start_run(run_name='so long that the meta file folds it: ' + 'x ' * 40) as run:\n"
        "    mlflow.log_param('algo', 'forest')\n"
        "    mlflow.log_metric('val/deep', 0.5, step=1)\n"
        "    mlflow.log_metric('broken', float('nan'))\n"
        "client.create_registered_model('fraud')\n"
        "client.create_model_version('fraud', run.info.artifact_uri, run.info.run_id)\n"
        "client.set_registered_model_alias('fraud', 'champion', '1')\n"
        "print(run.info.run_id)\n"
    )
    run = program("-c", written, folder=tmp_path, MLFLOW_ALLOW_FILE_STORE="true")
    item = _files.item(tmp_path / "mlruns", Given())
    assert mlflow.recognise(item)
    pages = list(mlflow.parse(item, mlflow.Config(Common("mlflow", "registry"))))
    event = events(pages, "training")[run]
    assert event.title == "so long that the meta file folds it: " + "x " * 40
    assert (event.outcome, event.version, dict(event.labels)["param.algo"]) == ("good", "1", "forest")
    assert values(pages, "val/deep") == [(0.5, 1)]
    (champion,) = events(pages, "promotion").values()
    assert champion.ts_latest - champion.ts <= 60, "the file store tells when the model was last touched"


# Evaluations


def rows_of(path: Path, actual: str, predicted: str) -> Counter[tuple[str, str]]:
    told = json.loads(path.read_text())
    one, other = told["columns"].index(actual), told["columns"].index(predicted)
    return Counter((str(row[one]), str(row[other])) for row in told["data"])


def check_evaluations(pages: list[Page], runs: dict[str, str], files: Path) -> None:
    """What the real program's evaluations count, against the rows that it wrote."""
    found = {dict(f.series.labels)["run_name"]: f for page in pages for f in page.records if isinstance(f, Fact)}
    assert set(found) == {"evaluate binary", "evaluate static", "by hand"}
    assert {f.series.stage for f in found.values()} == {"evaluation"}
    binary = rows_of(files / runs["binary"] / "artifacts" / "eval_results_table.json", "target", "outputs")
    assert found["evaluate binary"].value == Confusion(dict(binary))
    assert found["evaluate binary"].series.version == "1"
    assert found["by hand"].value == Confusion(dict(binary)), "the same model on the same rows"
    static = rows_of(files / runs["static"] / "artifacts" / "holdout_eval_results_table.json", "label", "predicted")
    assert found["evaluate static"].value == Confusion(dict(static))
    assert dict(found["evaluate static"].series.labels)["evaluation"] == "holdout"
    training, evaluation = events(pages, "training")[runs["train"]], events(pages, "validation")[runs["binary"]]
    assert (training.version, evaluation.version, evaluation.run, evaluation.outcome) == (
        "1",
        "1",
        runs["train"],
        "good",
    )
    told = dict(training.labels)
    assert told["python"].startswith("3.11") and told["packages"].startswith("sha256:")
    data = next(e for e in events(pages, "data_version").values() if dict(e.labels)["dataset"] == "claims")
    assert training.data_version == data.data_version and dict(data.labels)["source"] == "s3://claims/train.parquet"
    assert (training.trigger, dict(data.labels)["context"], dict(data.labels)["rows"]) == (
        "schedule",
        "training",
        "400",
    )
    approved = next(e for e in events(pages, "validation").values() if dict(e.labels).get("tag"))
    assert (approved.version, approved.run, approved.outcome) == ("1", runs["train"], "good")
    assert runs["binary"] not in events(pages, "training")


ARTIFACTS = ("*eval_results_table.json", "*per_class_metrics.csv", "*confusion_matrix.json", "evaluation/*.csv")
OWN = {"experiments": ("claims-*",), "models": ("claims*",), "artifacts": ARTIFACTS, "model_files": True,
       "at_least": {"accuracy_score": 0.8}}  # fmt: skip


def test_evaluations_of_the_real_program_are_counted(live: Live) -> None:
    runs = json.loads(program(str(EVALUATING), live.url, folder=live.folder))
    now = int(time.time()) + 60
    pages = pull(live, now, own=OWN, first=True)
    (experiment,) = {dict(e.labels)["experiment"] for e in events(pages, "training").values()}
    assert experiment == "claims-evaluating"
    files = next(one.parent for one in live.folder.glob(f"artifacts/*/{runs['binary']}"))
    check_evaluations(pages, runs, files)
    taken = {page.slice.name: page.slice.digest for page in pages if page.slice}
    quiet = pull(live, now + 300, state(pages), own=OWN, taken=taken.get)
    told = [r for page in quiet for r in page.records if not (isinstance(r, Event) and r.kind == "release")]
    assert not told, "of runs nothing is told again"
    swept = pull(live, now + 600, state(quiet), own=OWN, taken=taken.get, sweep=True)
    assert not [r for page in swept for r in page.records if isinstance(r, Fact)]
    # Without artifacts the four metrics of two classes count.
    plain = [f for page in pull(live, now, own=OWN | {"artifacts": ()}) for f in page.records if isinstance(f, Fact)]
    (four,) = plain
    assert isinstance(four.value, Confusion)
    assert sum(four.value.cells.values()) == 169


def test_evaluations_in_a_folder_are_counted(live: Live, tmp_path: Path) -> None:
    runs = json.loads(
        program(str(EVALUATING), f"file://{tmp_path}/mlruns", folder=tmp_path, MLFLOW_ALLOW_FILE_STORE="true")
    )
    item = _files.item(tmp_path / "mlruns", Given())
    assert mlflow.recognise(item)
    own = {"at_least": {"accuracy_score": 0.8}}
    pages = list(mlflow.parse(item, mlflow.Config(Common("mlflow", "registry"), **own)))
    check_evaluations(pages, runs, next(one.parent for one in tmp_path.glob(f"mlruns/*/{runs['binary']}")))
    found = [f.value for page in pages for f in page.records if isinstance(f, Fact)]
    assert not [one for one in found if isinstance(one, Ratio)]


# Webhooks


class Receiver:
    """What listens for webhooks; `bodies` are what was posted."""

    def __init__(self) -> None:
        bodies = self.bodies = []  # type: list[Any]
        arrived = self.arrived = threading.Semaphore(0)

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(204)
                self.end_headers()
                arrived.release()

            def log_message(self, *args: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=lambda: self.server.serve_forever(0.01), daemon=True).start()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self.arrived.acquire(timeout=60), "a webhook was not delivered"


def test_what_a_real_server_delivers_makes_moves_exact(live: Live, tmp_path: Path) -> None:
    receiver = Receiver()
    wanted = [("MODEL_VERSION", "CREATED"), ("MODEL_VERSION_ALIAS", "CREATED"), ("MODEL_VERSION_ALIAS", "DELETED"),
              ("MODEL_VERSION_TAG", "SET")]  # fmt: skip
    live.post("webhooks", name="tandem", url=f"http://127.0.0.1:{receiver.server.server_address[1]}/",
              events=[{"entity": entity, "action": action} for entity, action in wanted])  # fmt: skip
    experiment = live.post("experiments/create", name="hooked")["experiment_id"]
    run = live.run(experiment, "one", START)
    live.post("registered-models/create", name="hooked")
    own = {"experiments": ("hooked",), "models": ("hooked",), "deliveries": tmp_path}
    source = f"mlflow-artifacts:/{experiment}/{run}/artifacts/model"
    for _ in range(2):
        live.post("model-versions/create", name="hooked", source=source, run_id=run)
    live.alias("hooked", "champion", "1")
    receiver.wait(3)
    (tmp_path / "none.jsonl").write_text("")
    before = int(time.time())
    first = pull(live, before + 1, own=own, first=True)
    live.post("model-versions/set-tag", name="hooked", version="2", key="validation_status", value="approved")
    live.alias("hooked", "champion", "2")
    live.alias("hooked", "champion", "1")
    live.alias("hooked", "champion", "2")
    receiver.wait(4)
    (tmp_path / "delivered.jsonl").write_text("\n".join(map(json.dumps, receiver.bodies)))
    after = int(time.time()) + 60
    moved = sorted(events(pull(live, after, state(first), own=own), "promotion").values(), key=lambda e: e.ts)
    assert {e.version for e in moved} == {"1", "2"} and len(moved) >= 2, "both versions, though no look saw 1 again"
    assert all(e.ts_latest is None and before - 60 <= e.ts <= after - 60 for e in moved), "at their second"
    assert {e.run for e in moved} == {run}
    imported = list(mlflow.parse(_files.item(tmp_path / "delivered.jsonl", Given()),
                                 mlflow.Config(Common("mlflow", "registry"))))  # fmt: skip
    assert set(events(imported, "release")) == {"hooked/1", "hooked/2"}
    (passed,) = events(imported, "validation").values()
    assert (passed.version, passed.outcome, passed.ts_latest) == ("2", "good", None)
    receiver.server.shutdown()


# What changes later


def test_deleted_restored_and_edited_runs_of_a_real_server(live: Live) -> None:
    experiment = live.post("experiments/create", name="edited")["experiment_id"]
    runs = [live.run(experiment, f"run {number}", START + number) for number in range(3)]
    for run in runs:
        for step in range(3):
            live.log(run, "loss", 1.0 / (step + 1), START + step, step)
    own = {"experiments": ("edited",)}
    now = int(time.time()) + 60
    first = pull(live, now, own=own, first=True)
    assert len(values(first, "loss")) == 9, "asked for together"
    live.post("runs/delete", run_id=runs[0])
    gone = pull(live, now + 300, state(first), own=own, sweep=True)
    assert runs[0] not in events(gone, "training")
    live.post("runs/restore", run_id=runs[0])
    live.post("runs/update", run_id=runs[1], run_name="renamed")
    back = pull(live, now + 600, state(gone), own=own, sweep=True)
    assert events(back, "training")[runs[0]] == events(first, "training")[runs[0]]
    assert events(back, "training")[runs[1]].title == "renamed"
