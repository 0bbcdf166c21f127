"""An mlruns folder: training runs, metric histories, registered models, versions, aliases."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from sample_data.story import (
    CONCEPT_DRIFT,
    DAY,
    END,
    FEATURE_SHIFT,
    MODELS,
    RETRAINED,
    START,
    Version,
    random_of,
    stamp,
)

EPOCHS = 12
QUALITY = {"fraud-detector": 0.963, "query-intent": 0.926, "eta-regressor": 4.4, "click-model": 0.929}
FINISHED, FAILED = 3, 4
IN_A_NOTEBOOK = "click-model"
"""The model that is trained in a notebook: of its runs nobody knows the commit."""
PYTHON = "3.12.11"
PACKAGES = {
    "fraud-detector": ("scikit-learn==1.7.2", "numpy==2.3.3", "pandas==2.3.3", "scipy==1.16.2"),
    "query-intent": ("torch==2.8.0", "transformers==4.57.0", "accelerate==1.10.1", "numpy==2.3.3"),
    "eta-regressor": ("lightgbm==4.6.0", "numpy==2.3.3", "pandas==2.3.3"),
}
"""What the models that are logged with MLflow were made with."""
MLMODEL = """\
artifact_path: {place}
flavors:
  python_function:
    env:
      conda: conda.yaml
      virtualenv: python_env.yaml
    loader_module: mlflow.pyfunc.model
    python_version: {python}
mlflow_version: 3.17.2
model_id: {model}
model_uuid: {model}
prompts: null
run_id: {run}
utc_time_created: '{made}'
"""
BY_HAND = RETRAINED.components[0], RETRAINED.size["version"]
"""The version whose training a person started; all others were trained when their time had come."""


@dataclass(frozen=True)
class Run:
    """One training run; times are epoch milliseconds, `version` None for one that never was registered."""

    id: str
    model: str
    version: Version | None
    began: int
    took: int
    status: int
    commit: str
    params: Mapping[str, str]
    metrics: Mapping[str, list[str]]

    @property
    def name(self) -> str:
        """What it is called: the day it began."""
        return f"train-{stamp(self.began // 1000)[:10]}"

    @property
    def logged(self) -> str:
        """The id of the logged model (MLflow 3) that it made, "" where the model was laid beside it by hand."""
        made = hashlib.sha256(self.id.encode()).hexdigest()[:32]
        return f"m-{made}" if self.version is not None and self.model in PACKAGES else ""

    @property
    def by_hand(self) -> bool:
        """Whether a person started it."""
        return self.version is not None and (self.model, str(self.version.version)) == BY_HAND

    @property
    def data_version(self) -> str:
        """The version of the data that it was trained on."""
        return self.params["data_version"]


def write(folder: Path) -> None:
    """mlflow/mlruns, as the file store of MLflow 3 writes it."""
    root = folder / "mlflow" / "mlruns"
    for number, (model, versions) in enumerate(MODELS.items(), start=1):
        experiment = str(402_650_000_000_000_000 + number * 7_311_048_213)
        _experiment(root / experiment, experiment, model, versions[0].trained * 1000 - 86_400_000)
        for run in runs(model):
            _write_run(root / experiment, run)
            if run.version is not None:
                _version(root, model, run.version, run)
                if run.logged:
                    _write_model(root / experiment, run)
        _model(root / "models" / model, model, versions)


def truth() -> str:
    """Where the versions that serve come from, and what was trained after models got worse, as tables of truth.toml."""
    found = []
    for model in MODELS:
        run = next(one for one in runs(model)[::-1] if one.version is not None and one.version.promoted is not None)
        assert run.version is not None
        found += [
            "[[made_of]]", f'component = "{model}"', f'version = "{run.version.version}"', f'run = "{run.id}"',
            f'commit = "{run.commit}"', f'data_version = "{run.data_version}"', f'logged_model = "{run.logged}"', "",
        ]  # fmt: skip
    for planted in (CONCEPT_DRIFT, FEATURE_SHIFT):
        model = planted.components[-1]
        after = sorted((one for one in runs(model) if one.began >= planted.start * 1000), key=lambda one: one.began)
        found += ["[[retraining]]", f'component = "{model}"', f'after = "{planted.key}"', f"trainings = {len(after)}"]
        found += [f"failed = {stamp(one.began // 1000)}" for one in after if one.status == FAILED]
        for one in after:
            if one.version is not None and one.version.promoted is not None:
                found += [f"began = {stamp(one.began // 1000)}", f'version = "{one.version.version}"',
                          f"promoted = {stamp(one.version.promoted)}"]  # fmt: skip
        found.append("")
    return "\n".join(found)


@cache
def runs(model: str) -> tuple[Run, ...]:
    """The training runs of a model: those of its versions, then those that came to nothing."""
    random = random_of("mlflow", model)
    number = list(MODELS).index(model) + 1
    found = [_run(model, version, version.trained, FINISHED, 1.0, random) for version in MODELS[model]]
    for weeks in range(2, 14, 3):
        ts = START + weeks * 7 * DAY + 5 * 3600 + number * 1800
        status = FAILED if weeks == 8 and number in (1, 3) else FINISHED
        found.append(_run(model, None, ts, status, 0.985, random))
    return tuple(found)


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


def _version(root: Path, model: str, version: Version, run: Run) -> None:
    made = version.registered * 1000
    _meta(
        root / "models" / model / f"version-{version.version}",
        {
            "creation_timestamp": made,
            "current_stage": "None",
            "description": None,
            "last_updated_timestamp": made,
            "model_id": run.logged or None,
            "name": model,
            "run_id": run.id,
            "run_link": None,
            "source": f"models:/{run.logged}" if run.logged else f"runs:/{run.id}/model",
            "status": "READY",
            "status_message": None,
            "user_id": "trainer",
            "version": version.version,
            "workspace": "default",
        },
    )


def _write_model(folder: Path, run: Run) -> None:
    """The logged model, without the model itself."""
    place = f"file:///srv/mlflow/mlruns/{folder.name}/models/{run.logged}/artifacts"
    ended = run.began + run.took
    told = {
        "artifact_location": place,
        "creation_timestamp": ended - 4000,
        "experiment_id": f"'{folder.name}'",
        "last_updated_timestamp": ended - 1000,
        "model_id": run.logged,
        "model_type": None,
        "name": "model",
        "source_run_id": run.id,
        "status": 2,
        "status_message": None,
    }
    _meta(folder / "models" / run.logged, told)
    link = {"destination_id": run.logged, "destination_type": "MODEL_OUTPUT", "source_id": run.logged,
            "source_type": "RUN_OUTPUT", "step": 0, "tags": "{}"}  # fmt: skip
    _meta(folder / run.id / "outputs" / run.logged, link)
    files = folder / "models" / run.logged / "artifacts"
    made = stamp((ended - 4000) // 1000).replace("T", " ").replace("Z", ".000000")
    _write(files / "MLmodel", MLMODEL.format(place=place, python=PYTHON, model=run.logged, run=run.id, made=made))
    _write(files / "requirements.txt", "\n".join(("mlflow==3.17.2", *PACKAGES[run.model])))


def _run(
    model: str, version: Version | None, ts: int, status: int, level: float, random: np.random.Generator
) -> Run:  # fmt: skip
    run, commit, digest = _hex(random, 16), _hex(random, 20), _hex(random, 4)
    began, took = ts * 1000 + int(random.integers(0, 1000)), int(random.integers(900, 2300)) * 1000
    assert began // 1000 < END
    params = {
        "learning_rate": str(round(0.03 + 0.01 * int(random.integers(0, 5)), 2)),
        "max_depth": str(int(random.integers(4, 9))),
        "data_version": f"{stamp(ts - 2 * DAY)[:10]}@{digest}",
    }
    epochs = EPOCHS if status == FINISHED else 3
    metrics = _metrics(model, began, took, epochs, level, random)
    return Run(run, model, version, began, took, status, "" if model == IN_A_NOTEBOOK else commit, params, metrics)


def _write_run(folder: Path, run: Run) -> None:
    _meta(
        folder / run.id,
        {
            "artifact_uri": f"file:///srv/mlflow/mlruns/{folder.name}/{run.id}/artifacts",
            "end_time": run.began + run.took,
            "entry_point_name": "''",
            "experiment_id": f"'{folder.name}'",
            "lifecycle_stage": "active",
            "run_id": run.id,
            "run_name": run.name,
            "source_name": "''",
            "source_type": 4,
            "source_version": "''",
            "start_time": run.began,
            "status": run.status,
            "tags": "[]",
            "user_id": RETRAINED.size["by"] if run.by_hand else "trainer",
        },
    )
    tags = {"mlflow.runName": run.name}
    if run.commit:
        tags["mlflow.source.git.commit"] = run.commit
    else:
        tags |= {"mlflow.source.name": f"notebooks/{run.model}.ipynb", "mlflow.source.type": "NOTEBOOK"}
    for kind, pairs in (("tags", tags), ("params", run.params)):
        for key, value in pairs.items():
            _write(folder / run.id / kind / key, value)
    for key, lines in run.metrics.items():
        _write(folder / run.id / "metrics" / key, "".join(lines))


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
