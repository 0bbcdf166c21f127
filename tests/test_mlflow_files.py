"""MLflow: the database of a server and the folder of its file store."""

from __future__ import annotations

import gzip
import json
import os
import sqlite3
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from connectors import _files, mlflow
from connectors._mlflow_folder import yaml_pairs
from tandem.connect import Given, SourceRefused
from tandem.records import Event
from tests import mlflow_pulls
from tests.mlflow_pulls import (
    DATABASE,
    FOREST,
    LOGREG,
    NOW,
    SEEN,
    SGD,
    config,
    events,
    findings,
    parsed,
    pull,
    records,
    samples,
)
from tests.mlflow_replay import PAYLOADS, Replay, Running

replay, server = mlflow_pulls.replay, mlflow_pulls.server


def test_a_database_gives_what_the_server_gives(server: Running) -> None:
    pages = parsed(DATABASE, url=server.url)
    assert records(pages, without=SEEN) == records(pull(server), without=SEEN)


def test_a_folder_gives_what_the_server_gives(replay: Replay, server: Running, tmp_path: Path) -> None:
    replay.write_folder(tmp_path / "mlruns")
    pages = parsed(tmp_path / "mlruns", url=server.url)
    assert records(pages, without=SEEN) == records(pull(server), without=SEEN)
    assert records(pages) == records(parsed(tmp_path, url=server.url))


def test_the_file_store_of_the_real_program_is_read(tmp_path: Path) -> None:
    with tarfile.open(PAYLOADS / "mlruns_filestore.tgz") as archive:
        archive.extractall(tmp_path, filter="data")
    pages = parsed(tmp_path / "mlruns")
    (run,) = events(pages, "training").values()
    assert (run.outcome, run.version, run.title, run.ts) == ("good", "1", "r1", 1795248228)
    assert dict(run.labels) == {"experiment": "demo", "model": "demo-model", "param.lr": "0.1", "run_name": "r1"}
    assert [(s.value, s.step, s.ts) for s in samples(pages)] == [
        (0.8, 0, 1795248228.806),
        (0.8200000000000001, 1, 1795248228.807),
        (0.8400000000000001, 2, 1795248228.807),
        (0.8600000000000001, 3, 1795248228.808),
        (0.88, 4, 1795248228.809),
    ]
    (seen,) = events(pages, "promotion").values()
    # The file store says when the model was last touched, and moving an alias touches it.
    assert (seen.key, seen.ts_latest) == ("demo-model@champion:1:1795248228", 1795248229)
    assert [f.where for f in findings(pages)] == [f'run {run.key}, metric "nanm"']


def test_keys_with_slashes_and_what_was_deleted(replay: Replay, tmp_path: Path) -> None:
    replay.log(LOGREG, "val/deep/er", 0.5, 1795248040000)
    replay.runs[FOREST]["lifecycle_stage"] = "deleted"
    replay.experiments[1]["lifecycle_stage"] = "deleted"
    replay.write_folder(tmp_path)
    (tmp_path / "2" / "models" / "m-1").mkdir(parents=True)
    (tmp_path / "2" / "models" / "m-1" / "meta.yaml").write_text("model_id: m-1\n")
    (tmp_path / ".trash").mkdir()
    (tmp_path / "1").rename(tmp_path / ".trash" / "1")
    pages = parsed(tmp_path)
    assert [s.series.stage for s in samples(pages, "val/deep/er")] == ["evaluation"]
    assert FOREST not in events(pages, "training")
    assert {dict(e.labels)["experiment"] for e in events(pages, "training").values()} == {"claim-triage"}


def test_links_out_of_the_folder_are_not_followed(replay: Replay, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("1795248040000 0.5 0\n")
    replay.write_folder(tmp_path / "mlruns")
    place = tmp_path / "mlruns" / "2" / LOGREG
    (place / "metrics" / "stolen").symlink_to(tmp_path / "secret")
    (place / "params" / "stolen").symlink_to(tmp_path / "secret")
    pages = parsed(tmp_path / "mlruns")
    assert not samples(pages, "stolen")
    assert "param.stolen" not in dict(events(pages, "training")[LOGREG].labels)


@pytest.mark.parametrize("pack", [gzip.compress], ids=["gzip"])
def test_a_compressed_database_is_read(tmp_path: Path, pack: Any) -> None:
    packed = tmp_path / "mlflow.db.gz"
    packed.write_bytes(pack(DATABASE.read_bytes()))
    assert records(parsed(packed), without=SEEN) == records(parsed(DATABASE), without=SEEN)


def test_the_oldest_known_columns_are_enough(tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    with sqlite3.connect(old) as base:
        base.executescript(
            "CREATE TABLE experiments (experiment_id INTEGER, name TEXT, lifecycle_stage TEXT);"
            "CREATE TABLE runs (run_uuid TEXT, name TEXT, status TEXT, start_time BIGINT, end_time BIGINT,"
            " lifecycle_stage TEXT, experiment_id INTEGER);"
            "CREATE TABLE metrics (key TEXT, value FLOAT, timestamp BIGINT, run_uuid TEXT);"
            "INSERT INTO experiments VALUES (1, 'old', 'active');"
            "INSERT INTO runs VALUES ('r', 'one', 'FINISHED', 1600000000000, 1600000060000, 'active', 1);"
            "INSERT INTO metrics VALUES ('auc', 0.7, 1600000030000, 'r');"
        )
    pages = parsed(old)
    assert [(s.value, s.step) for s in samples(pages)] == [(0.7, 0)]
    assert events(pages, "training")["r"].ended == 1600000060


def test_deleted_versions_and_prompts_are_left_out(tmp_path: Path) -> None:
    changed = tmp_path / "mlflow.db"
    changed.write_bytes(DATABASE.read_bytes())
    with sqlite3.connect(changed) as base:
        base.execute("UPDATE model_versions SET current_stage = 'Deleted_Internal' WHERE version = 3")
        base.execute("CREATE TABLE registered_model_tags (key TEXT, value TEXT, name TEXT)")
        base.execute("INSERT INTO registered_model_tags VALUES ('mlflow.prompt.is_prompt', 'true', 'claim-risk')")
    assert sorted(events(parsed(changed), "release")) == ["claim-triage/1", "claim-triage/2"]


def test_a_database_of_something_else_is_not_recognised(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE runs (id INTEGER)")
    item = _files.item(other, Given())
    assert not mlflow.recognise(item)
    with pytest.raises(SourceRefused, match="not one of an MLflow server"):
        list(mlflow.parse(item, config()))


def test_a_view_in_place_of_a_table_is_not_run(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.db"
    with sqlite3.connect(hostile) as base:
        base.execute("CREATE TABLE metrics (run_uuid TEXT)")
        base.execute(
            "CREATE VIEW runs AS WITH RECURSIVE n(run_uuid) AS (SELECT 1 UNION ALL SELECT run_uuid + 1 FROM n)"
            " SELECT run_uuid, 1 AS experiment_id FROM n"
        )
    assert not mlflow.recognise(_files.item(hostile, Given()))


def test_a_cut_off_database_is_one_sentence(tmp_path: Path) -> None:
    cut = tmp_path / "cut.db"
    cut.write_bytes(DATABASE.read_bytes()[:40_000])
    with pytest.raises(SourceRefused, match=r"cut\.db is no sound sqlite database .*export it again"):
        list(mlflow.parse(_files.item(cut, Given()), config()))


@pytest.mark.parametrize("line", ["garbage", "1795248040000", "1795248040000 x 0", "\x00" * 20_000, "9" * 5_000])
def test_a_broken_line_of_a_metric_is_rejected_and_the_rest_lands(replay: Replay, tmp_path: Path, line: str) -> None:
    replay.write_folder(tmp_path)
    place = tmp_path / "2" / LOGREG / "metrics" / "f1"
    place.write_text(f"{line}\n1795248041000 0.5 {10**30}\n1795248042000 0.25 7")
    pages = parsed(tmp_path)
    assert [(s.value, s.step) for s in samples(pages, "f1", LOGREG)] == [(0.5, 0), (0.25, 7)]
    assert [f for f in findings(pages) if f.kind == "reject" and LOGREG in f.where]


def test_a_file_that_may_not_be_read_is_said(replay: Replay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replay.write_folder(tmp_path)
    real = Path.open

    def refuse(path: Path, *args: Any, **kwargs: Any) -> Any:
        if path.name == "f1":
            raise PermissionError
        return real(path, *args, **kwargs)

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(SourceRefused, match="f1 cannot be read; check its permissions"):
        parsed(tmp_path)


def test_text_that_is_not_utf8_lands(tmp_path: Path) -> None:
    odd = tmp_path / "mlflow.db"
    odd.write_bytes(DATABASE.read_bytes())
    with sqlite3.connect(odd) as base:
        base.execute("UPDATE runs SET name = CAST(x'6dfc6c' AS TEXT) WHERE run_uuid = ?", (SGD,))
    assert events(parsed(odd), "training")[SGD].title == "m\N{REPLACEMENT CHARACTER}l"


def test_reading_leaves_the_file_and_its_folder_alone(tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(DATABASE.read_bytes())
    parsed(copy)
    assert copy.read_bytes() == DATABASE.read_bytes() and list(tmp_path.iterdir()) == [copy]


def test_the_time_of_an_import_is_the_files_or_the_given_one(tmp_path: Path) -> None:
    copy = tmp_path / "mlflow.db"
    copy.write_bytes(DATABASE.read_bytes())
    os.utime(copy, (1_700_000_000, 1_700_000_000))
    (old,) = events(parsed(copy), "promotion").values()
    assert old.ts_latest == 1795248113, "never before the newest time in the file"
    (given,) = events(parsed(copy, Given(at=NOW + 5)), "promotion").values()
    assert given.ts_latest == NOW + 5


def test_yaml_as_the_file_store_writes_it() -> None:
    text = (
        "name: a plain text that is long enough to be folded by the writer because it is\n"
        "  wider than eighty columns\n"
        "run_name: 'it''s: quoted'\n"
        'other: "tab\\t\\u00e4 \\x41"\n'
        "end_time: null\n"
        "tags: {}\n"
        "aliases:\n"
        "  champion: '1'\n"
        "status: 3\n"
    )
    assert yaml_pairs(text) == {
        "name": "a plain text that is long enough to be folded by the writer because it is wider than eighty columns",
        "run_name": "it's: quoted",
        "other": "tab\t\u00e4 A",
        "status": "3",
    }


def test_recorded_requests_are_answered(tmp_path: Path, replay: Replay, server: Running) -> None:
    replay.bulk = False
    expected = pull(server)
    lines = []
    for path, asked in list(replay.asked):
        _, told = replay.answer(path, asked)
        post = path.endswith("runs/search")
        query = [] if post else [[key, str(value)] for key, value in asked.items()]
        lines.append(json.dumps({"method": "POST" if post else "GET", "path": path, "query": query, "body": told}))
    (tmp_path / "requests.jsonl").write_text("\n".join(lines))
    bare = {replace(r, url="") if isinstance(r, Event) else r for r in records(expected)}
    assert records(pull(f"file:{tmp_path}")) == bare
