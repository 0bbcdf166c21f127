"""DVC, dvclive and GTO themselves, in an environment of their own (first use installs it)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors import dvc
from connectors._files import item
from tandem.connect import Common, Given, Pull
from tandem.records import Confusion, Event, Fact, Sample
from tests.environments import environment
from tests.repositories import Work

REQUIREMENTS = ("dvc==3.67.1", "dvclive==3.49.1", "gto==1.9.0", "scikit-learn==1.9.1")
FAR = 1 << 40

pytestmark = [
    pytest.mark.live, pytest.mark.timeout(900),
    pytest.mark.skipif(not shutil.which("git"), reason="git is not installed"),
]  # fmt: skip

TRAIN = """
import json
import yaml
from dvclive import Live
from sklearn.metrics import confusion_matrix
params = yaml.safe_load(open("params.yaml"))
rows = [line.split(",") for line in open("data/rows.csv").read().split()]
actual = [int(one) for one, _ in rows]
predicted = [int(float(score) >= params["train"]["threshold"]) for _, score in rows]
with Live(save_dvc_exp=False) as live:
    for step in range(4):
        live.log_metric("train/loss", 1 / (step + 1))
        live.log_metric("val/accuracy", 0.7 + step / 100, timestamp=True)
        live.next_step()
    live.log_sklearn_plot("confusion_matrix", actual, predicted, name="cm.json")
right = sum(a == p for a, p in zip(actual, predicted))
json.dump({"accuracy": right / len(rows), "nested": {"f": 0.5}}, open("metrics.json", "w"))
open("model.bin", "w").write(repr(params))
json.dump(confusion_matrix(actual, predicted).tolist(), open("truth.json", "w"))
"""

MAKE = """
import json, os, subprocess, sys
import gto.api
from dvc.repo import Repo
def git(*arguments):
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()
truth = {"commits": []}
Repo.init().close()
open(".gitignore", "a").write("/truth.json\\n")
os.mkdir("data")
def commit(rows, threshold, message):
    open("data/rows.csv", "w").write("\\n".join(f"{n % 2},{(n * 7 % 10) / 10}" for n in range(rows)))
    open("params.yaml", "w").write(f"train:\\n  threshold: {threshold}\\n")
    with Repo() as repo:
        repo.add("data/rows.csv")
        repo.reproduce()
    git("add", "--all")
    git("commit", "-q", "-m", message)
    with Repo() as repo:
        metrics = repo.metrics.show()[""]["data"]
    truth["commits"].append({"sha": git("rev-parse", "HEAD"), "matrix": json.load(open("truth.json")),
                             "metrics": {name: one["data"] for name, one in metrics.items()}})
with Repo() as repo:
    pass
open("dvc.yaml", "w").write('''
artifacts:
  fraud: {path: model.bin, type: model}
stages:
  train:
    cmd: ''' + sys.executable + ''' train.py
    deps: [train.py, data/rows.csv]
    params: [train.threshold]
    outs: [model.bin]
    metrics:
    - metrics.json: {cache: false}
''')
commit(60, 0.5, "one")
gto.api.register(".", "fraud", "HEAD", version="v1.0.0")
gto.api.assign(".", "fraud", "prod", version="v1.0.0")
commit(60, 0.3, "two")
commit(80, 0.3, "three")
gto.api.register(".", "fraud", "HEAD", version="v1.1.0")
gto.api.assign(".", "fraud", "prod", version="v1.1.0")
gto.api.unassign(".", "fraud", stage="prod", ref="HEAD")
truth["tags"] = dict(line.rsplit(" ", 1) for line in
                     git("for-each-ref", "--format=%(refname:short) %(taggerdate:unix)", "refs/tags").splitlines())
print(json.dumps(truth))
"""


def records(folder: Path) -> list[Any]:
    config = dvc.Config(Common("dvc", "live", component=("m",)), path=folder)
    return [one for page in dvc.fetch(config, Pull(0, FAR, FAR, first=True)) for one in page.records]


def test_what_the_programs_wrote_is_read_commit_by_commit(tmp_path: Path) -> None:
    python = environment("dvc", REQUIREMENTS)
    work = Work.new(tmp_path / "fraud")
    (work.path / "train.py").write_text(TRAIN)
    work.git("add", "--all")
    work.git("commit", "-q", "-m", "begin")
    env = {**os.environ, "DVC_NO_ANALYTICS": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_AUTHOR_NAME": "Ada",
           "GIT_AUTHOR_EMAIL": "a@example.com", "GIT_COMMITTER_NAME": "Ada", "GIT_COMMITTER_EMAIL": "a@example.com",
           "HOME": str(tmp_path)}  # fmt: skip
    done = subprocess.run([str(python), "-c", MAKE], capture_output=True, text=True, check=False, env=env,
                          cwd=work.path)  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    truth = json.loads(done.stdout.splitlines()[-1])
    told = records(work.path)
    events = [one for one in told if isinstance(one, Event)]

    trained = [one for one in events if one.kind == "training"]
    assert [one.commit for one in trained] == [one["sha"] for one in truth["commits"]]
    assert [dict(one.labels)["param.train.threshold"] for one in trained] == ["0.5", "0.3", "0.3"]
    assert {dict(one.labels)["model"] for one in trained} == {"fraud"}
    assert all(len(one.data_version) == 32 and one.digest for one in trained)

    data = [one for one in events if one.kind == "data_version"]
    assert [one.commit for one in data] == [truth["commits"][0]["sha"], truth["commits"][2]["sha"]]
    assert [one.data_version for one in data] == [trained[0].data_version, trained[2].data_version]

    matrices = [one.value for one in told if isinstance(one, Fact)]
    assert matrices == [
        Confusion({(str(i), str(j)): n for i, row in enumerate(one["matrix"]) for j, n in enumerate(row) if n})
        for one in truth["commits"]
    ]
    for one, run in zip(truth["commits"], trained, strict=True):
        mine = {(s.series.name, s.step): s.value for s in told if isinstance(s, Sample) and s.run == run.run}
        assert mine["accuracy", 0] == one["metrics"]["metrics.json"]["accuracy"]
        assert mine["nested.f", 0] == 0.5
        # A history that is the same in each commit stands in the first one only: git saw no change of it.
        live = one["metrics"]["dvclive/metrics.json"]
        if ("train.loss", 3) in mine:
            assert [mine["train.loss", step] for step in range(4)] == [1, 1 / 2, 1 / 3, 1 / 4]
            assert mine["train.loss", 3] == live["train"]["loss"]
        assert mine["val.accuracy", 3] == live["val"]["accuracy"]
    first = [one for one in told if isinstance(one, Sample) and one.series.name == "train.loss"]
    assert {one.series.stage for one in first} == {"training"}

    tagged = {one.key: one for one in events if one.kind in ("release", "promotion")}
    assert {key: one.ts for key, one in tagged.items()} == {name: int(ts) for name, ts in truth["tags"].items()}
    assert {(key, one.version, one.run) for key, one in tagged.items() if one.kind == "release"} == {
        ("fraud@v1.0.0", "v1.0.0", trained[0].run), ("fraud@v1.1.0", "v1.1.0", trained[2].run),
    }  # fmt: skip
    promoted = [(one.version, dict(one.labels).get("from"), dict(one.labels).get("removed"))
                for one in events if one.kind == "promotion"]  # fmt: skip
    assert promoted == [("v1.0.0", None, None), ("v1.1.0", "v1.0.0", None), ("", "v1.1.0", "v1.1.0")]

    whole = item(work.path, Given())
    assert dvc.recognise(whole)
    config = dvc.Config(Common("dvc", "import", component=("m",)))
    assert [one for page in dvc.parse(whole, config) for one in page.records] == told
