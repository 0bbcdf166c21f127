"""tensorboardX and TensorBoard themselves, in an environment of their own (first use installs it)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors import tensorboard
from connectors._files import item
from tandem.connect import Common, Given, Pull
from tandem.records import Event, Sample
from tests.environments import environment

REQUIREMENTS = ("tensorboardX==2.6.5", "tensorboard==2.21.0", "numpy>=2.1", "setuptools<81")

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

WRITE = """
import random, sys
import numpy as np
from tensorboardX import SummaryWriter
folder = sys.argv[1]
chance = random.Random(3)
with SummaryWriter(folder + "/plain") as writer:
    for step in range(400):
        writer.add_scalar("train/loss", chance.lognormvariate(0, 2), step)
        if step % 10 == 0:
            writer.add_scalar("val/accuracy", chance.random(), step)
            writer.add_histogram("weights", np.random.default_rng(step).normal(size=3000), step)
    writer.add_image("picture", np.zeros((3, 64, 64), dtype=np.uint8), 1)
    writer.add_text("note", "hello", 1)
    writer.add_hparams({"lr": 0.01, "optimizer": "adam"}, {"hparam/accuracy": 0.9}, name="trial")
with SummaryWriter(folder + "/again") as writer:
    for step in range(20):
        writer.add_scalar("loss", step, step)
with SummaryWriter(folder + "/again", purge_step=12, filename_suffix=".second") as writer:
    for step in range(12, 15):
        writer.add_scalar("loss", 100 + step, step)
"""

READ = """
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
found = {}
for run in sys.argv[2:]:
    read = EventAccumulator(sys.argv[1] + "/" + run, size_guidance={"scalars": 0, "tensors": 0})
    read.Reload()
    found[run] = {tag: [[one.wall_time, one.step, one.value] for one in read.Scalars(tag)]
                  for tag in read.Tags()["scalars"]}
print(json.dumps(found))
"""


def run(python: Path, script: str, *given: str) -> str:
    done = subprocess.run([str(python), "-c", script, *given], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_every_value_and_its_time_are_those_that_tensorboard_reads(tmp_path: Path) -> None:
    python = environment("tensorboard", REQUIREMENTS)
    run(python, WRITE, str(tmp_path))
    read = json.loads(run(python, READ, str(tmp_path), "plain", "plain/trial", "again"))
    given = tensorboard.Config(Common("tensorboard", "live", component=("m",)), path=tmp_path)
    pages = list(tensorboard.parse(item(tmp_path, Given()), given))
    assert not [one for page in pages for one in page.findings]
    found: dict[str, dict[str, list[Any]]] = {}
    events = {}
    for page in pages:
        for one in page.records:
            if isinstance(one, Sample):
                found.setdefault(one.run, {}).setdefault(one.series.name, []).append([one.ts, one.step, one.value])
            elif isinstance(one, Event):
                events[one.run, one.attempt] = one
    assert {tag: len(points) for tag, points in read["plain"].items()} == {"train/loss": 400, "val/accuracy": 40}
    for name, tags in read.items():
        assert {tag: sorted(some) for tag, some in found[name].items()} == {
            tag: sorted(some) for tag, some in tags.items()
        }, name
    assert [value for _, _, value in sorted(found["again"]["loss"])] == [*range(12), 112, 113, 114]
    assert set(events) == {("plain", 1), ("plain/trial", 1), ("again", 1), ("again", 2)}
    assert {name: dict(events["plain/trial", 1].labels)[name] for name in ("param.lr", "param.optimizer")} == {
        "param.lr": "0.01", "param.optimizer": "adam"}  # fmt: skip
    assert {one.outcome for one in events.values()} == {"excluded"}, "nothing says how they ended"


def test_tensorboard_reads_the_event_files_of_the_sample_company() -> None:
    folder = Path(__file__).parent.parent / "sample_data" / "files" / "tensorboard" / "query-intent"
    runs = sorted(one.name for one in folder.iterdir())
    found = json.loads(run(environment("tensorboard", REQUIREMENTS), READ, str(folder), *runs))
    pages = tensorboard.fetch(
        tensorboard.Config(Common("tensorboard", "logs"), path=folder), Pull(0, 1 << 40, 1 << 40, first=True)
    )
    mine: dict[str, dict[str, list[list[float]]]] = {}
    for one in (record for page in pages for record in page.records):
        if isinstance(one, Sample):
            mine.setdefault(one.run, {}).setdefault(one.series.name, []).append([one.ts, one.step, one.value or 0.0])
    assert {run: {tag: sorted(some) for tag, some in tags.items()} for run, tags in mine.items()} == found
    assert sum(len(some) for tags in found.values() for some in tags.values()) == 1344
