"""Evidently's service in the fault matrix: projects, a list, and three reports, one with its drawings."""

from __future__ import annotations

from dataclasses import replace

from connectors import evidently
from tandem.connect import Common, Pull
from tests import faults
from tests.evidently_server import Evidently, checked, drift, quality, rows
from tests.replay import Answer, Asked

NOW = 1_793_520_000


def config(url: str) -> evidently.Config:
    common = Common("evidently", "evidently", component=("fraud",), token_env=faults.TOKEN_ENV)
    return evidently.Config(common, url=url, token_header="evidently-secret")


def reordered(asked: Asked, good: Answer) -> Answer:
    """Lists the other way round."""
    return replace(good, body=good.body[::-1]) if isinstance(good.body, list) else good


def repeated(asked: Asked, good: Answer) -> Answer:
    """Lists that say everything twice."""
    return replace(good, body=[*good.body, *good.body]) if isinstance(good.body, list) else good


@faults.register("evidently")
def case() -> faults.Case:
    server = Evidently(token=faults.TOKEN)
    server.add("2026-11-01T00:00:00Z", drift("amount", 0.4), drift("age", 0.2, "psi", 0.1), *rows(400, age=3))
    counts, drawn = quality([[70, 3], [13, 200]])
    server.add("2026-11-01T01:00:00Z", *counts, drift("amount", 0.001), widgets=drawn, model_version="3")
    server.add("2026-11-01T02:00:00Z", tests=[checked("Accuracy", "FAIL"), checked("Rows", "SUCCESS", "RowCount")])
    return faults.Case(
        module=evidently,
        config=config,
        answer=server.answer,
        pull=Pull(NOW - 7 * 86400, NOW, NOW, first=True),
        paging={"reordered": reordered, "repeated": repeated},
    )
