"""A small namespace's place in the fault matrix: two pages of runs, a retry, a retried old run, one open, one gone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from connectors import kubeflow
from tandem.connect import Common, Pull
from tandem.records import Event
from tests import faults
from tests.kubeflow_server import Kubeflow, matrix
from tests.replay import Answer, Asked

NOW = 1_794_990_000
SINCE = NOW - 30_000
FLOOR = NOW - 200_000


def small() -> Kubeflow:
    server = Kubeflow(token=faults.TOKEN)
    experiment, pipeline = server.experiment(), server.pipeline()
    keys: dict[str, Any] = {"experiment": experiment, "pipeline": pipeline}
    old = server.done(FLOOR + 500, "FAILED", **keys)
    server.to(server.retry(old, NOW - 4000), NOW - 3000, "SUCCEEDED")
    for number in range(201):  # nothing is read of them: they only fill the first page
        server.done(SINCE + 10 + number, pipeline={"pipeline_id": "ignored"}, name="noise")
    server.pipelines["ignored"] = {"pipeline_id": "ignored", "display_name": "scratch"}
    one = server.done(NOW - 9000, **keys)
    task = server.task(one, "evaluate", NOW - 8900)
    server.artifact(task, "Metric", "accuracy", NOW - 8840, "metrics", number_value=0.9)
    server.artifact(task, "ClassificationMetric", "cm", NOW - 8840, metadata=matrix(["a", "b"], [[5, 1], [2, 7]]))
    server.to(server.run(NOW - 700, **keys), NOW - 690, "RUNNING")
    return server


def config(url: str) -> kubeflow.Config:
    common = Common("kubeflow", "kfp", token_env=faults.TOKEN_ENV)
    return kubeflow.Config(common, url=url, ignore=("scratch",))


def _runs(good: Answer, change: Any) -> Answer:
    rows = good.body.get("runs") if isinstance(good.body, dict) else None
    return replace(good, body={**good.body, "runs": change(rows)}) if rows else good


def _looped(asked: Asked, good: Answer) -> Answer:
    token = dict(asked.query).get("page_token")
    return replace(good, body={**good.body, "next_page_token": token}) if token and "runs" in good.body else good


@faults.register("kubeflow")
def case() -> faults.Case:
    server = small()
    gone = Event("training", "run-gone", NOW - 90_000, outcome="open", run="run-gone")
    return faults.Case(
        module=kubeflow,
        config=config,
        answer=server.answer,
        pull=Pull(SINCE, NOW, NOW, open=(gone,), sweep=False),
        paging={
            "missing rows": lambda asked, good: _runs(good, lambda rows: rows[1:]),
            "reordered": lambda asked, good: _runs(good, lambda rows: rows[::-1]),
            "repeated": lambda asked, good: _runs(good, lambda rows: rows * 2),
            "looping": _looped,
        },
    )
