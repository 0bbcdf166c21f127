"""Repositories of DVC as tests make them, and one pull of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from connectors import dvc
from tandem.connect import Common, Pull
from tandem.records import DAY, Page
from tests.repositories import Work

T0 = 1_790_000_100
NOW = T0 + 60 * DAY
YAML = """\
artifacts:
  fraud: {path: model.bin, type: model}
stages:
  prepare:
    cmd: python prepare.py
    deps: [prepare.py, raw.csv]
    outs: [rows.csv]
  train:
    cmd: python train.py
    deps: [train.py, rows.csv]
    outs: [model.bin]
    metrics:
    - metrics.json: {cache: false}
    plots:
    - classes.csv: {cache: false, template: confusion, x: actual, y: predicted}
"""


def lock(rows: str, model: str, rate: float = 0.1, raw: str = "0") -> str:
    return f"""\
schema: '2.0'
stages:
  prepare:
    cmd: python prepare.py
    deps:
    - {{path: prepare.py, hash: md5, md5: aa, size: 3}}
    - {{path: raw.csv, hash: md5, md5: raw{raw}, size: 3}}
    outs:
    - {{path: rows.csv, hash: md5, md5: {rows}, size: 5}}
  train:
    cmd: python train.py
    deps:
    - {{path: rows.csv, hash: md5, md5: {rows}, size: 5}}
    - {{path: train.py, hash: md5, md5: bb, size: 3}}
    params:
      params.yaml:
        train.rate: {rate}
    outs:
    - {{path: classes.csv, hash: md5, md5: c, size: 9}}
    - {{path: metrics.json, hash: md5, md5: m, size: 9}}
    - {{path: model.bin, hash: md5, md5: {model}, size: 9}}
"""


def classes(*counts: int) -> str:
    """Rows of a table of two classes: right 0, 0 taken for 1, 1 taken for 0, right 1."""
    pairs = [pair for pair, n in zip(("0,0", "0,1", "1,0", "1,1"), counts, strict=True) for _ in range(n)]
    return "\n".join(["actual,predicted", *pairs]) + "\n"


def put(work: Work, at: int, message: str = "change", **files: str) -> str:
    for name, text in files.items():
        path = work.path / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return work.commit(at, message)


def run(work: Work, at: int, rows: str, model: str, accuracy: float, counts: Sequence[int], **more: Any) -> str:
    """A commit after a `dvc repro`."""
    return put(work, at, f"run {model}", dvc_DOT_lock=lock(rows, model, **more),
               metrics_DOT_json=json.dumps({"accuracy": accuracy, "train": {"loss": 1 - accuracy}}),
               classes_DOT_csv=classes(*counts))  # fmt: skip


def configured(path: Path | None, **more: Any) -> dvc.Config:
    return dvc.Config(Common("dvc", "pipeline", component=("fraud",), **more.pop("common", {})), path=path, **more)


def pulled(config: dvc.Config, until: int = NOW, **more: Any) -> list[Page]:
    return list(dvc.fetch(config, Pull(more.pop("since", 0), until, until, **{"first": True, **more})))


def told(pages: Sequence[Page], kind: type, of: str = "") -> list[Any]:
    found = [one for page in pages for one in page.records if isinstance(one, kind)]
    return [one for one in found if one.kind == of] if of else found


def said(pages: Sequence[Page]) -> str:
    return " | ".join(one.reason for page in pages for one in page.findings)


def begun(path: Path) -> Work:
    """A repository with a pipeline that was never run."""
    made = Work.new(path)
    put(made, T0, "begin", dvc_DOT_yaml=YAML, train_DOT_py="1", prepare_DOT_py="1")
    return made
