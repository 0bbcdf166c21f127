"""An mlruns folder: training runs, metric histories, registered models, versions, aliases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from sample_data.story import DAY, END, MODELS, START, Version, random_of, stamp

EPOCHS = 12
QUALITY = {"fraud-detector": 0.963, "query-intent": 0.926, "eta-regressor": 4.4, "click-model": 0.929}
FINISHED, FAILED = 3, 4


def write(folder: Path) -> None:
    """mlflow/mlruns, as the file store of MLflow 3 writes it."""
    root = folder / "mlflow" / "mlruns"
    for number, (model, versions) in enumerate(MODELS.items(), start=1):
        random = random_of("mlflow", model)
        experiment = str(402_650_000_000_000_000 + number * 7_311_048_213)
        _experiment(root / experiment, experiment, model, versions[0].trained * 1000 - 86_400_000)
        for version in versions:
            _version(root, model, version, _run(root / experiment, model, version.trained, FINISHED, 1.0, random))
        for weeks in range(2, 14, 3):
            ts = START + weeks * 7 * DAY + 5 * 3600 + number * 1800
            status = FAILED if weeks == 8 and number in (1, 3) else FINISHED
            _run(root / experiment, model, ts, status, 0.985, random)
        _model(root / "models" / model, model, versions)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", newline="\n")


def _meta(folder: Path, pairs: Mapping[str, object]) -> None:
    _write(folder / "meta.yaml", "".join(f"{key}: {'null' if v is None else v}\n" for key, v in sorted(pairs.items())))


def _hex(random: np.random.Generator, size: int) -> str:
    return bytes(random.integers(0, 256, size, dtype=np.uint8)).hex()


def _experiment(folder: Path, key: str, name: str, created: int) -> None:
    _meta(
        folder,
        {
            "artifact_location": f"file:///srv/mlflow/mlruns/{key}",
            "creation_time": created,
            "experiment_id": f"'{key}'",
            "last_update_time": created,
            "lifecycle_stage": "active",
            "name": name,
            "workspace": "default",
        },
    )


def _model(folder: Path, model: str, versions: tuple[Version, ...]) -> None:
    champion = [v for v in versions if v.promoted is not None][-1]
    assert champion.promoted is not None
    _meta(
        folder,
        {
            "aliases": f"\n  champion: '{champion.version}'",
            "creation_timestamp": versions[0].registered * 1000,
            "description": None,
            # The alias moved last, so this is when.
            "last_updated_timestamp": champion.promoted * 1000,
            "name": model,
            "workspace": "default",
        },
    )
    _write(folder / "aliases" / "champion", str(champion.version))


def _version(root: Path, model: str, version: Version, run: str) -> None:
    made = version.registered * 1000
    _meta(
        root / "models" / model / f"version-{version.version}",
        {
            "creation_timestamp": made,
            "current_stage": "None",
            "description": None,
            "last_updated_timestamp": made,
            "model_id": None,
            "name": model,
            "run_id": run,
            "run_link": None,
            "source": f"runs:/{run}/model",
            "status": "READY",
            "status_message": None,
            "user_id": "trainer",
            "version": version.version,
            "workspace": "default",
        },
    )


def _run(folder: Path, model: str, ts: int, status: int, level: float, random: np.random.Generator) -> str:
    run, commit, digest = _hex(random, 16), _hex(random, 20), _hex(random, 4)
    began, took = ts * 1000 + int(random.integers(0, 1000)), int(random.integers(900, 2300)) * 1000
    assert began // 1000 < END
    name = f"train-{stamp(ts)[:10]}"
    _meta(
        folder / run,
        {
            "artifact_uri": f"file:///srv/mlflow/mlruns/{folder.name}/{run}/artifacts",
            "end_time": began + took,
            "entry_point_name": "''",
            "experiment_id": f"'{folder.name}'",
            "lifecycle_stage": "active",
            "run_id": run,
            "run_name": name,
            "source_name": "''",
            "source_type": 4,
            "source_version": "''",
            "start_time": began,
            "status": status,
            "tags": "[]",
            "user_id": "trainer",
        },
    )
    tags = {"mlflow.source.git.commit": commit, "mlflow.runName": name}
    params = {
        "learning_rate": str(round(0.03 + 0.01 * int(random.integers(0, 5)), 2)),
        "max_depth": str(int(random.integers(4, 9))),
        "data_version": f"{stamp(ts - 2 * DAY)[:10]}-{digest}",
    }
    for kind, pairs in (("tags", tags), ("params", params)):
        for key, value in pairs.items():
            _write(folder / run / kind / key, value)
    epochs = EPOCHS if status == FINISHED else 3
    for key, lines in _metrics(model, began, took, epochs, level, random).items():
        _write(folder / run / "metrics" / key, "".join(lines))
    return run


def _metrics(
    model: str, began: int, took: int, epochs: int, level: float, random: np.random.Generator
) -> dict[str, list[str]]:
    regression = model == "eta-regressor"
    score = "val_mae" if regression else "val_accuracy"
    goal = QUALITY[model] * (2 - level if regression else level)
    found: dict[str, list[str]] = {"train_loss": [], "val_loss": [], score: []}
    for epoch in range(epochs):
        ts = began + took * (epoch + 1) // (EPOCHS + 1)
        left = float(np.exp(-0.4 * epoch))
        noise = random.standard_normal(2)
        values = {
            "train_loss": 0.21 + 0.5 * left,
            "val_loss": 0.24 + 0.48 * left + 0.004 * noise[0],
            score: goal + left * (3.0 if regression else -0.15) + (0.02 if regression else 0.002) * noise[1],
        }
        for key, value in values.items():
            found[key].append(f"{ts} {round(float(value), 5)} {epoch}\n")
    return found
