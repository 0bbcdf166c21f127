"""wandb itself, offline and in an environment of its own (first use installs it): what it wrote is what was logged."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from connectors import wandb
from connectors._files import item
from tandem import collect, connect
from tandem.config import Source
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Fact, Page, Sample
from tandem.store.file import open_store
from tandem.store.read import Reader
from tests.environments import environment

REQUIREMENTS = ("wandb==0.31.0", "numpy>=2.1")

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

LOG = """
import json, os, signal, sys, time
import numpy as np
import wandb
how = sys.argv[1]
chance = np.random.default_rng(3)
run = wandb.init(project="claims", group="nightly", job_type="train", name="gbm \\u2603 <b>7</b>", tags=["a", "b"],
                 config={"lr": 0.1, "tree": {"depth": 3}, "data_version": "claims-42"})
told = {"id": run.id, "samples": [], "bins": {}, "begun": time.time()}
for step in range(int(sys.argv[2])):
    loss, accuracy = float(chance.lognormal()), float(chance.random())
    values = chance.random(200)
    counts, edges = np.histogram(values, bins=[0, 0.25, 0.5, 1])
    odd = {3: float("nan"), 4: float("inf")}.get(step, step)
    run.log({"loss": loss, "val/accuracy": accuracy, "nested": {"f1": step}, "odd": odd, "text": "hello", "flag": True,
             "preds": wandb.Histogram(np_histogram=(counts, edges)), "auto": wandb.Histogram(values)})
    told["samples"] += [["loss", step, loss], ["val/accuracy", step, accuracy], ["nested.f1", step, step]]
    told["samples"] += [["odd", step, step]] if step not in (3, 4) else []
    for place, n in enumerate(counts.tolist(), 1):
        told["bins"][place] = told["bins"].get(place, 0) + n
run.summary["test_auc"] = 0.91
model = wandb.Artifact("fraud", "model")
with model.new_file("model.txt") as opened:
    opened.write("weights")
run.log_artifact(model)
told["digest"] = model.digest
told["ended"] = time.time()
if how == "kill":
    time.sleep(3)  # wandb-core writes in its own time
    print(json.dumps(told), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
if how == "fail":
    print(json.dumps(told), flush=True)
    sys.exit(3)
run.finish()
print(json.dumps(told), flush=True)
"""

READ = """
import json, struct, sys
from wandb.proto import wandb_internal_pb2 as proto
data, at, part, found = open(sys.argv[1], "rb").read(), 7, b"", []
while at < len(data):
    room = 32768 - at % 32768
    if room < 7:
        at += room
        continue
    _, size, kind = struct.unpack("<IHB", data[at:at + 7])
    part = data[at + 7:at + 7 + size] if kind in (1, 2) else part + data[at + 7:at + 7 + size]
    at += 7 + size
    if kind in (1, 4):
        record = proto.Record()
        record.ParseFromString(part)
        if record.WhichOneof("record_type") == "history":
            told = {".".join(one.nested_key) or one.key: one.value_json for one in record.history.item}
            found.append([json.loads(told["_step"]), json.loads(told["_timestamp"])])
print(json.dumps(found))
"""


@dataclass
class Written:
    """What a run logged by its own words, and the folder that wandb wrote."""

    told: dict[str, Any]
    folder: Path

    @property
    def file(self) -> Path:
        [found] = self.folder.glob("*run-*/run-*.wandb")
        return found


def write(folder: Path, how: str, steps: int) -> Written:
    python = environment("wandb", REQUIREMENTS)
    own = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "WANDB_MODE": "offline", "WANDB_SILENT": "true",
        "WANDB_DISABLE_GIT": "true", "WANDB_DISABLE_CODE": "true", "WANDB_CONSOLE": "off",
        "WANDB_ERROR_REPORTING": "false",
    }  # fmt: skip
    command = [str(python), "-c", LOG, how, str(steps)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=own, timeout=300, check=False)
    assert done.returncode == {"kill": -9, "fail": 3}.get(how, 0), done.stderr[-3000:]
    return Written(json.loads(done.stdout.splitlines()[-1]), folder / "wandb")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    return write(tmp_path_factory.mktemp("wandb"), "finish", 120)


def config(url: str = "") -> wandb.Config:
    return wandb.Config(Common("wandb", "live", component=("fraud",)), url=url or "https://api.wandb.ai")


def parsed(path: Path, now: int) -> list[Page]:
    one = item(path, Given())
    assert [name for name in connect.names() if connect.load(name).recognise(one)] == ["wandb"]
    return list(wandb.parse_with(one, config(), Pull(0, now, now)))


def told(pages: list[Page], kind: type) -> list[Any]:
    return [one for page in pages for one in page.records if isinstance(one, kind)]


def test_every_value_its_step_and_its_time_are_what_was_logged(written: Written) -> None:
    now = int(written.told["ended"]) + 600
    pages = parsed(written.folder, now)
    found = [[one.series.name, one.step, one.value] for one in told(pages, Sample) if one.series.name != "test_auc"]
    assert sorted(found) == sorted(written.told["samples"])
    done = subprocess.run([str(environment("wandb", REQUIREMENTS)), "-c", READ, str(written.file)], capture_output=True,
                          text=True, check=True)  # fmt: skip
    assert {(one.step, one.ts) for one in told(pages, Sample) if one.series.name == "loss"} == {
        (step, at) for step, at in json.loads(done.stdout)
    }
    stages = {one.series.name: one.series.stage for one in told(pages, Sample)}
    assert stages == {"loss": "training", "val/accuracy": "evaluation", "nested.f1": "training", "odd": "training",
                      "test_auc": "evaluation"}  # fmt: skip
    [event] = told(pages, Event)
    assert (event.key, event.outcome, event.digest) == (written.told["id"], "good", written.told["digest"])
    assert event.data_version == "claims-42"
    assert abs(event.ts - written.told["begun"]) < 60
    assert event.ts <= event.ended <= now
    labels = dict(event.labels)
    assert labels["run_name"] == "gbm \N{SNOWMAN} <b>7</b>"
    expected = {"group": "nightly", "job_type": "train", "tags": "a,b", "param.lr": "0.1", "param.tree.depth": "3",
                "output.1": "fraud"}  # fmt: skip
    assert {name: labels[name] for name in expected} == expected
    assert labels["packages"].startswith("sha256:")
    assert labels["python"].count(".") == 2
    rejects = {one.reason: one.count for page in pages for one in page.findings if one.kind == "reject"}
    assert rejects == {'a value of "odd" that is no finite number': 2}


def test_histograms_are_those_that_were_logged(written: Written) -> None:
    pages = parsed(written.folder, int(written.told["ended"]) + 600)
    counted: dict[str, dict[str, int]] = {}
    for fact in told(pages, Fact):
        assert (fact.series.signal, fact.series.stage) == ("feature", "training")
        for place, n in fact.value.counts.items():
            held = counted.setdefault(fact.series.name, {})
            held[str(place)] = held.get(str(place), 0) + n
    assert counted["preds"] == written.told["bins"]
    assert sum(counted["auto"].values()) == 120 * 200


def test_a_run_that_was_killed_or_failed(tmp_path: Path) -> None:
    for how, outcome, later in (("kill", "open", "excluded"), ("fail", "bad", "bad")):
        (tmp_path / how).mkdir()
        one = write(tmp_path / how, how, 120)
        found = [[a.series.name, a.step, a.value] for a in told(parsed(one.folder, 1 << 40), Sample)]
        kept = [value for value in one.told["samples"] if value in found]
        assert len(kept) >= len(one.told["samples"]) // 2, "wandb writes whole blocks: the last may be missing"
        assert [value for value in found if value not in kept] in ([], [["test_auc", 119, 0.91]])
        for now, expected in ((int(one.told["ended"]) + 60, outcome), (int(one.told["ended"]) + 90_000, later)):
            [event] = told(parsed(one.folder, now), Event)
            assert (event.key, event.outcome) == (one.told["id"], expected)


def test_a_file_that_grows_is_taken_in_as_far_as_it_goes(written: Written, tmp_path: Path) -> None:
    now = int(written.told["ended"]) + 600
    whole = written.file.read_bytes()
    copy = tmp_path / "wandb" / written.file.parent.name
    shutil.copytree(written.file.parent, copy)
    given = config(f"file:{tmp_path / 'wandb'}")
    steps = []
    with open_store(tmp_path / "t.duckdb") as store:
        for cut in (len(whole) // 5, len(whole) // 2, len(whole) - 3, len(whole)):
            (copy / written.file.name).write_bytes(whole[:cut])
            outcome = collect.pull(store, Source(given.common, connect.load("wandb"), given), now)
            assert not outcome.error, outcome.error
            row = (
                store.cursor().execute("SELECT count(*) FROM (SELECT DISTINCT step, ts, series FROM sample)").fetchone()
            )
            assert row is not None
            steps.append(row[0])
        [event] = [one for _, one in Reader(store).events(0, now, components=["fraud"], newest=True)]
        bins = store.cursor().execute(
            "SELECT sum(n)::INT FROM histogram_hour f JOIN series s ON s.id = f.series WHERE s.name = 'preds'"
        ).fetchone()  # fmt: skip
    assert event.outcome == "good"
    assert steps == sorted(steps)
    assert 0 < steps[0] < steps[1] < steps[3] == len(written.told["samples"]) + 1
    assert bins == (120 * 200,), "nothing counts twice"
