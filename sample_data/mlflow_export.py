"""The sqlite file behind an MLflow server: training runs, metric histories, registered models, aliases."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import numpy as np

from sample_data.story import DAY, END, MODELS, START, Version, random_of, stamp

SCHEMA = """
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
CREATE TABLE experiments (experiment_id INTEGER NOT NULL PRIMARY KEY, name VARCHAR(256) NOT NULL,
  artifact_location VARCHAR(256), lifecycle_stage VARCHAR(32), creation_time BIGINT, last_update_time BIGINT,
  workspace VARCHAR(63) DEFAULT 'default' NOT NULL);
CREATE TABLE runs (run_uuid VARCHAR(32) NOT NULL PRIMARY KEY, name VARCHAR(250), source_type VARCHAR(20),
  source_name VARCHAR(500), entry_point_name VARCHAR(50), user_id VARCHAR(256), status VARCHAR(9), start_time BIGINT,
  end_time BIGINT, source_version VARCHAR(50), lifecycle_stage VARCHAR(20), artifact_uri VARCHAR(200),
  experiment_id INTEGER, deleted_time BIGINT);
CREATE TABLE metrics ("key" VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT NOT NULL,
  run_uuid VARCHAR(32) NOT NULL, step BIGINT DEFAULT '0' NOT NULL, is_nan BOOLEAN DEFAULT '0' NOT NULL,
  PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan));
CREATE TABLE latest_metrics ("key" VARCHAR(250) NOT NULL, value FLOAT NOT NULL, timestamp BIGINT, step BIGINT NOT NULL,
  is_nan BOOLEAN NOT NULL, run_uuid VARCHAR(32) NOT NULL, PRIMARY KEY ("key", run_uuid));
CREATE TABLE params ("key" VARCHAR(250) NOT NULL, value VARCHAR(8000) NOT NULL, run_uuid VARCHAR(32) NOT NULL,
  PRIMARY KEY ("key", run_uuid));
CREATE TABLE tags ("key" VARCHAR(250) NOT NULL, value VARCHAR(8000), run_uuid VARCHAR(32) NOT NULL,
  PRIMARY KEY ("key", run_uuid));
CREATE TABLE registered_models (name VARCHAR(256) NOT NULL, creation_time BIGINT, last_updated_time BIGINT,
  description VARCHAR(5000), workspace VARCHAR(63) DEFAULT 'default' NOT NULL, PRIMARY KEY (workspace, name));
CREATE TABLE model_versions (name VARCHAR(256) NOT NULL, version INTEGER NOT NULL, creation_time BIGINT,
  last_updated_time BIGINT, description VARCHAR(5000), user_id VARCHAR(256), current_stage VARCHAR(20),
  source VARCHAR(500), run_id VARCHAR(32), status VARCHAR(20), status_message VARCHAR(500), run_link VARCHAR(500),
  storage_location VARCHAR(500), workspace VARCHAR(63) DEFAULT 'default' NOT NULL,
  PRIMARY KEY (workspace, name, version));
CREATE TABLE model_version_tags ("key" VARCHAR(250) NOT NULL, value TEXT, name VARCHAR(256) NOT NULL,
  version INTEGER NOT NULL, workspace VARCHAR(63) DEFAULT 'default' NOT NULL,
  PRIMARY KEY (workspace, "key", name, version));
CREATE TABLE registered_model_aliases (alias VARCHAR(256) NOT NULL, version INTEGER NOT NULL,
  name VARCHAR(256) NOT NULL, workspace VARCHAR(63) DEFAULT 'default' NOT NULL, PRIMARY KEY (workspace, name, alias));
CREATE TABLE datasets (dataset_uuid VARCHAR(36) NOT NULL PRIMARY KEY, experiment_id INTEGER NOT NULL,
  name VARCHAR(500) NOT NULL, digest VARCHAR(36) NOT NULL, dataset_source_type VARCHAR(36) NOT NULL,
  dataset_source TEXT NOT NULL, dataset_schema TEXT, dataset_profile TEXT);
CREATE TABLE inputs (input_uuid VARCHAR(36) NOT NULL PRIMARY KEY, source_type VARCHAR(36) NOT NULL,
  source_id VARCHAR(36) NOT NULL, destination_type VARCHAR(36) NOT NULL, destination_id VARCHAR(36) NOT NULL,
  step BIGINT DEFAULT '0' NOT NULL);
CREATE TABLE input_tags (input_uuid VARCHAR(36) NOT NULL, name VARCHAR(255) NOT NULL, value VARCHAR(500) NOT NULL,
  PRIMARY KEY (input_uuid, name));
"""
SQLITE_VERSION = 3040001
EPOCHS = 12
QUALITY = {"fraud-detector": 0.961, "query-intent": 0.926, "eta-regressor": 4.4, "click-model": 0.929}


def write(folder: Path) -> None:
    """mlflow/mlflow.db, vacuumed, with neutral version fields in its header."""
    path = folder / "mlflow" / "mlflow.db"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    with sqlite3.connect(path) as database:
        database.executescript("PRAGMA page_size = 4096; PRAGMA encoding = 'UTF-8';" + SCHEMA)
        database.execute("INSERT INTO alembic_version VALUES ('dc11669786a5')")
        for number, (model, versions) in enumerate(MODELS.items(), start=1):
            _model(database, number, model, versions)
    database.execute("VACUUM")
    database.close()
    _neutral_header(path)


def _neutral_header(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[24:28] = content[92:96] = (1).to_bytes(4, "big")
    content[96:100] = SQLITE_VERSION.to_bytes(4, "big")
    path.write_bytes(content)


def _hex(random: np.random.Generator, size: int) -> str:
    return bytes(random.integers(0, 256, size, dtype=np.uint8)).hex()


def _insert(database: sqlite3.Connection, table: str, **row: object) -> None:
    names = ", ".join(f'"{name}"' for name in row)
    places = ", ".join("?" for _ in row)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({places})", tuple(row.values()))  # noqa: S608 own names


def _model(database: sqlite3.Connection, number: int, model: str, versions: tuple[Version, ...]) -> None:
    random = random_of("mlflow", model)
    born = versions[0].trained * 1000
    _insert(
        database, "experiments", experiment_id=number, name=model, artifact_location=f"mlflow-artifacts:/{number}",
        lifecycle_stage="active", creation_time=born - 86_400_000, last_update_time=born - 86_400_000,
    )  # fmt: skip
    updated = versions[-1].trained * 1000 + 2_400_000
    _insert(database, "registered_models", name=model, creation_time=born, last_updated_time=updated, description="")
    for version in versions:
        run = _run(database, number, model, version.trained, "FINISHED", 1.0, random)
        _version(database, model, version, run)
    for weeks in range(2, 14, 3):
        ts = START + weeks * 7 * DAY + 5 * 3600 + number * 1800
        status = "FAILED" if weeks == 8 and number in (1, 3) else "FINISHED"
        _run(database, number, model, ts, status, 0.985, random)
    champion = [v for v in versions if v.promoted is not None][-1]
    _insert(database, "registered_model_aliases", alias="champion", version=champion.version, name=model)
    _insert(database, "registered_model_aliases", alias="previous", version=champion.version - 1, name=model)


def _version(database: sqlite3.Connection, model: str, version: Version, run: str) -> None:
    made = version.trained * 1000 + 2_400_000
    _insert(
        database, "model_versions", name=model, version=version.version, creation_time=made, last_updated_time=made,
        description="", current_stage="None", source=f"runs:/{run}/model", run_id=run, status="READY", run_link="",
    )  # fmt: skip
    if version.promoted is not None:
        _insert(database, "model_version_tags", key="validation", value="approved", name=model, version=version.version)


def _run(
    database: sqlite3.Connection, number: int, model: str, ts: int, status: str, level: float,
    random: np.random.Generator,
) -> str:  # fmt: skip
    run, commit, digest = _hex(random, 16), _hex(random, 20), _hex(random, 4)
    began, took = ts * 1000 + int(random.integers(0, 1000)), int(random.integers(900, 2300)) * 1000
    _insert(
        database, "runs", run_uuid=run, name=f"train-{stamp(ts)[:10]}", source_type="UNKNOWN", source_name="",
        entry_point_name="", user_id="trainer", status=status, start_time=began, end_time=began + took,
        source_version="", lifecycle_stage="active", artifact_uri=f"mlflow-artifacts:/{number}/{run}/artifacts",
        experiment_id=number,
    )  # fmt: skip
    assert began // 1000 < END
    tags = {
        "mlflow.user": "trainer", "mlflow.source.name": "train.py", "mlflow.source.type": "JOB",
        "mlflow.source.git.commit": commit, "mlflow.runName": f"train-{stamp(ts)[:10]}", "model": model,
    }  # fmt: skip
    params = {
        "algorithm": "gradient boosting", "learning_rate": str(round(0.03 + 0.01 * int(random.integers(0, 5)), 2)),
        "max_depth": str(int(random.integers(4, 9))), "data_version": f"{stamp(ts - 2 * DAY)[:10]}-{digest}",
    }  # fmt: skip
    for table, pairs in (("tags", tags), ("params", params)):
        for key, value in pairs.items():
            _insert(database, table, key=key, value=value, run_uuid=run)
    _dataset(database, number, model, run, digest, stamp(ts - 2 * DAY)[:10], random)
    epochs = EPOCHS if status == "FINISHED" else 3
    _metrics(database, model, run, began, took, epochs, level, random)
    return run


def _dataset(
    database: sqlite3.Connection, number: int, model: str, run: str, digest: str, cut: str,
    random: np.random.Generator,
) -> None:  # fmt: skip
    dataset, link = _hex(random, 16), _hex(random, 16)
    _insert(
        database, "datasets", dataset_uuid=dataset, experiment_id=number, name=f"{model}-{cut}", digest=digest,
        dataset_source_type="code", dataset_source="{}", dataset_schema="{}", dataset_profile='{"num_rows": 60000}',
    )  # fmt: skip
    _insert(
        database, "inputs", input_uuid=link, source_type="DATASET", source_id=dataset, destination_type="RUN",
        destination_id=run,
    )  # fmt: skip
    _insert(database, "input_tags", input_uuid=link, name="mlflow.data.context", value="training")


def _metrics(
    database: sqlite3.Connection, model: str, run: str, began: int, took: int, epochs: int, level: float,
    random: np.random.Generator,
) -> None:  # fmt: skip
    regression = model == "eta-regressor"
    for epoch in range(epochs):
        ts = began + took * (epoch + 1) // (EPOCHS + 1)
        left = float(np.exp(-0.4 * epoch))
        values = {"train_loss": 0.21 + 0.5 * left, "val_loss": 0.24 + 0.48 * left + 0.004 * random.standard_normal()}
        goal = QUALITY[model] * (2 - level if regression else level)
        shift = left * (3.0 if regression else -0.15)
        values["val_mae" if regression else "val_accuracy"] = (
            goal + shift + 0.002 * random.standard_normal() * (10 if regression else 1)
        )
        for key, value in values.items():
            rounded = round(float(value), 5)
            _insert(database, "metrics", key=key, value=rounded, timestamp=ts, run_uuid=run, step=epoch, is_nan=0)
            if epoch == epochs - 1:
                _insert(
                    database, "latest_metrics", key=key, value=rounded, timestamp=ts, run_uuid=run, step=epoch, is_nan=0
                )
