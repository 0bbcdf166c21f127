"""MLflow's place in the fault matrix: the captured server, its registry, runs and a few histories."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace

from connectors import mlflow
from tandem.connect import Common, Pull
from tandem.records import Event, Page
from tests import faults
from tests.mlflow_replay import Replay, asked_of, encoded
from tests.replay import Answer, Asked, Route

NOW = 1_795_250_000
RUN = "54c9dbd1efee469f8ddedb36090b639a"


def answer_of(replay: Replay) -> Route:
    def answer(asked: Asked) -> Answer:
        given = json.loads(asked.body) if asked.method == "POST" else asked_of(asked.path, list(asked.query))
        status, body = replay.answer(asked.path, given)
        data, kind = encoded(body)
        return Answer(data if isinstance(body, str | bytes) else body, status, {"Content-Type": kind})

    return answer


def config(url: str) -> mlflow.Config:
    return mlflow.Config(Common("mlflow", "registry", token_env=faults.TOKEN_ENV), url=url, metrics=("f1", "prod_*"),
                         artifacts=("*confusion_matrix.json",), model_files=True)  # fmt: skip


def without_links(given: mlflow.Config, pull: Pull) -> Iterator[Page]:
    """The links hold the port of the server, which is another one for each cell."""
    for page in mlflow.fetch(given, pull):
        yield replace(page, records=[replace(r, url="") if isinstance(r, Event) else r for r in page.records])


def reordered(asked: Asked, good: Answer) -> Answer:
    if not isinstance(good.body, dict):
        return good
    return replace(good, body={k: v[::-1] if isinstance(v, list) else v for k, v in good.body.items()})


def looping(asked: Asked, good: Answer) -> Answer:
    """A list that says there is always one more page."""
    if not isinstance(good.body, dict):
        return good
    return replace(good, body={**good.body, "next_page_token": "eyJvZmZzZXQiOiAwfQ=="})


@faults.register("mlflow")
def case() -> faults.Case:
    replay = Replay()
    replay.cap = 4
    replay.put(RUN, "confusion_matrix.json", b'{"labels": ["no", "yes"], "matrix": [[60, 4], [4, 103]]}')
    replay.put_model(replay.made[RUN][0], "MLmodel", b"flavors:\n  python_function:\n    python_version: 3.11.7\n")
    return faults.Case(
        module=SimpleNamespace(fetch=without_links),
        config=config,
        answer=answer_of(replay),
        pull=Pull(NOW - 30_000, NOW, NOW, first=True),
        paging={"reordered": reordered, "looping": looping},
    )
