"""A token planted in a source stands nowhere: not in the store, an error, a remark, a log or an export."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from connectors import elasticsearch, evidently, newrelic, phoenix, s3, serving, wandb
from tandem import collect
from tandem.config import Source
from tandem.store.backup import export
from tandem.store.file import open_store
from tests import (
    faults_elasticsearch,
    faults_evidently,
    faults_newrelic,
    faults_phoenix,
    faults_s3,
    faults_serving,
    faults_wandb,
)
from tests.elastic_server import Elastic
from tests.evidently_server import Evidently, checked, drift
from tests.faults import START, TOKEN, TOKEN_ENV, virtual
from tests.faults_prometheus import answer_of
from tests.newrelic_server import NewRelic
from tests.replay import Answer, Asked, serve

T0 = faults_newrelic.T0
UNTIL = T0 + 4 * 3600


def elastic() -> tuple[Callable[[Asked], Answer], Any, Any]:
    documents = faults_elasticsearch.requests(200, 4)
    for one in documents[:20]:
        one["host"] = TOKEN  # a server that hands out what it was given
    server = Elastic(documents, faults_elasticsearch.QUERIES, faults_elasticsearch.TYPES)
    return server.answer, elasticsearch, lambda url: faults_elasticsearch.config(url, token_env=TOKEN_ENV)


def relic() -> tuple[Callable[[Asked], Answer], Any, Any]:
    rows = faults_newrelic.events(200, 4) + faults_newrelic.incident("i1", T0 + 60, T0 + 90)
    rows.append(faults_newrelic.deployment("d1", T0 + 60, "1.0", description=f"rolled out with {TOKEN}"))
    server = NewRelic(rows, faults_newrelic.CONDITIONS, key=TOKEN)
    return server.answer, newrelic, lambda url: faults_newrelic.config(url, token_env=TOKEN_ENV)


def drifting() -> tuple[Callable[[Asked], Answer], Any, Any]:
    server = Evidently(token=TOKEN)
    server.add("2026-11-01T00:00:00Z", drift(TOKEN, 0.01), tests=[checked(TOKEN, "FAIL")], tags=(TOKEN,))
    return server.answer, evidently, faults_evidently.config


def stored() -> tuple[Callable[[Asked], Answer], Any, Any]:
    server = faults_s3.bucket()
    server.now = lambda: START
    return server.answer, s3, faults_s3.config


def traces() -> tuple[Callable[[Asked], Answer], Any, Any]:
    server = faults_phoenix.filled(20, TOKEN)
    for _, _, one in server.rows:
        one["attributes"]["llm.model_name"] = f"model of {TOKEN}"
    return server.answer, phoenix, lambda url: faults_phoenix.config(url, token_env=TOKEN_ENV)


def models() -> tuple[Callable[[Asked], Answer], Any, Any]:
    held = [({**labels, "pod": TOKEN}, samples) for labels, samples in faults_serving.stored()]
    keys = {"flavour": "mlserver", "token_env": TOKEN_ENV}
    return answer_of(held), serving, lambda url: faults_serving.config("", prometheus_url=url, **keys)


def experiments() -> tuple[Callable[[Asked], Answer], Any, Any]:
    server = faults_wandb.filled(TOKEN)
    for run in server.runs.values():
        run.title, run.group, run.config = f"run of {TOKEN}", TOKEN, {TOKEN: TOKEN}
        run.summary = {f"test_{TOKEN}": 0.5}
    return server.answer, wandb, faults_wandb.config


ECHOES: dict[str, Callable[[Asked], Answer]] = {
    "401": lambda asked: Answer({"error": {"reason": f"unable to authenticate {TOKEN}"}}, 401),
    "400": lambda asked: Answer({"error": {"type": "x", "reason": f"no {asked.headers}"}}, 400),
    "404": lambda asked: Answer({"error": f"{asked.headers}"}, 404),
    "500 text": lambda asked: Answer(f"Authorization: {asked.headers}", 500),
    "errors in 200": lambda asked: Answer({"errors": [{"message": f"bad key {TOKEN}"}], "data": None}),
    "redirect": lambda asked: Answer(b"", 302, {"Location": f"http://127.0.0.2:9/?key={TOKEN}"}),
    "html": lambda asked: Answer(f"<html>{TOKEN}</html>", 200, {"Content-Type": "text/html"}),
}


@pytest.mark.parametrize("build", [elastic, relic, drifting, stored, traces, models, experiments])
def test_a_planted_token_is_found_nowhere(
    build: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """After a good pull, and after every answer that repeats the token."""
    caplog.set_level(logging.DEBUG)
    good, module, config = build()
    said: list[str] = []
    path = tmp_path / "t.duckdb"
    with virtual():
        for number, route in enumerate([good, *ECHOES.values(), good]):
            with open_store(path) as store, serve(route) as server:
                given = config(server.url)
                outcome = collect.pull(store, Source(given.common, module, given), UNTIL + 300 * number, since=T0)
                said.append(repr(outcome))
                assert bool(outcome.error) is (route is not good)
        with open_store(path) as store:
            export(store, tmp_path / "export")
    assert os.environ.get(TOKEN_ENV) is None
    for found in sorted(tmp_path.rglob("*")):
        if found.is_file():
            assert TOKEN.encode() not in found.read_bytes(), found
            # What is packed is looked through unpacked: the export holds every table of the store.
            if found.suffix == ".parquet":
                assert TOKEN not in repr(pq.read_table(found).to_pylist()), found
    out, err = capfd.readouterr()
    for text in (*said, out, err, caplog.text, json.dumps(said)):
        assert TOKEN not in text
