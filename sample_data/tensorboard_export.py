"""The event files of query-intent's trainings, as the SummaryWriter of PyTorch writes them for a fine-tuning.

TFRecord frames around TensorFlow's Event messages: time (1, double), step (2), file version (3), summary (5) with one
value of a tag (1) and a simple_value (2, float) each; https://www.tensorflow.org/tutorials/load_data/tfrecord.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from sample_data.mlflow_export import EPOCHS, Run, runs
from sample_data.story import random_of

MODEL = "query-intent"
STEPS = 240
"""Steps of an epoch; every 40th is logged."""
LOGGED = 40


def write(folder: Path) -> None:
    """tensorboard/query-intent/<id of the run>/events.out.tfevents.<begin>.<host>.<process>.0."""
    for number, run in enumerate(runs(MODEL)):
        name = f"events.out.tfevents.{run.began // 1000}.trainer.{41 + number}.0"
        path = folder / "tensorboard" / MODEL / run.id / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"".join(_framed(one) for one in _events(run)))


def truth() -> str:
    """How much the event files hold, as a table of truth.toml."""
    found = runs(MODEL)
    return "\n".join([
        "[[logged]]", f'component = "{MODEL}"', 'source = "training-logs"', f"runs = {len(found)}",
        f"values = {sum(len(list(scalars(run))) for run in found)}", "",
    ])  # fmt: skip


def scalars(run: Run) -> Iterator[tuple[float, int, str, float]]:
    """(epoch seconds, step, tag, value) of all that a run logged, by time; the evaluations are those of MLflow."""
    random = random_of("tensorboard", run.id)
    losses = [float(line.split()[1]) for line in run.metrics["train_loss"]]
    begin = run.began / 1000
    for epoch in range(EPOCHS):
        told = {name: run.metrics[key][epoch].split() for name, key in
                (("eval/loss", "val_loss"), ("eval/accuracy", "val_accuracy"))}  # fmt: skip
        end = int(told["eval/loss"][0]) / 1000
        before = losses[epoch - 1] if epoch else losses[0] + 0.3
        for step in range(LOGGED, STEPS + 1, LOGGED):
            share = step / STEPS
            ts = round(begin + (end - begin) * 0.97 * share, 3)
            loss = before + (losses[epoch] - before) * share + 0.01 * float(random.standard_normal())
            yield ts, epoch * STEPS + step, "train/loss", loss
            rate = 5e-5 * (1 - (epoch * STEPS + step) / (EPOCHS * STEPS))
            yield ts, epoch * STEPS + step, "train/learning_rate", rate
        for tag, (_, value, _) in told.items():
            yield end, (epoch + 1) * STEPS, tag, float(value)
        begin = end


def _events(run: Run) -> Iterator[bytes]:
    yield _event(run.began / 1000, 0, _field(3, b"brain.Event:2"))
    for ts, step, tag, value in scalars(run):
        told = _field(1, tag.encode()) + b"\x15" + struct.pack("<f", value)
        yield _event(ts, step, _field(5, _field(1, told)))


def _event(ts: float, step: int, rest: bytes) -> bytes:
    return b"\x09" + struct.pack("<d", ts) + (b"\x10" + _varint(step) if step else b"") + rest


def _field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    found = b""
    while number > 0x7F:
        found, number = found + bytes([number & 0x7F | 0x80]), number >> 7
    return found + bytes([number])


def _framed(record: bytes) -> bytes:
    length = struct.pack("<Q", len(record))
    return length + _sum(length) + record + _sum(record)


def _sum(data: bytes) -> bytes:
    """The masked CRC-32C, as TFRecord has it."""
    register = 0xFFFFFFFF
    for byte in data:
        register = int(_table()[(register ^ byte) & 0xFF]) ^ (register >> 8)
    plain = register ^ 0xFFFFFFFF
    return struct.pack("<I", ((plain >> 15 | plain << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@cache
def _table() -> list[int]:
    found = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        found = (found >> np.uint32(1)) ^ np.where(found & 1, np.uint32(0x82F63B78), np.uint32(0))
    return [int(one) for one in found]
