"""Reports of the real Evidently over invented data, for its live test; runs in an environment of its own.

    python evidently_script.py workspace FOLDER     a workspace of 0.7: three reports, late labels, one naive time
    python evidently_script.py late FOLDER          the labels of the second report arrive: another report of its time
    python evidently_script.py old FOLDER           a report, a suite and a workspace by the API of 0.4 to 0.6
    python evidently_script.py versions FOLDER NAME  the same old report, where a real 0.4 to 0.6 is installed

Each prints, as JSON, what is true of the data, counted from the rows with pandas and scipy, never with Evidently.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BEGIN = datetime(2026, 11, 1, tzinfo=UTC)
LATE = 120
"""Rows of the second report whose labels come later."""


def rows(number: int, count: int, shift: float = 0.0) -> pd.DataFrame:
    """Invented claims; `shift` moves one feature."""
    made = np.random.default_rng(number)
    truth = made.integers(0, 2, count)
    guess = np.where(made.random(count) < 0.85, truth, 1 - truth)
    found = pd.DataFrame({
        "amount": (made.normal(100 + shift, 20, count)).round(2),
        "age days": made.integers(0, 90, count).astype(float),
        "channel": made.choice(["web", "app", "post"], count, p=[0.5, 0.3, 0.2]),
        "target": truth, "prediction": guess,
    })  # fmt: skip
    found.loc[: number % 7, "age days"] = np.nan
    return found


def truth(frame: pd.DataFrame, reference: pd.DataFrame) -> dict[str, Any]:
    """What is true of one frame."""
    from scipy.stats import ks_2samp

    cells = frame.groupby(["target", "prediction"]).size()
    return {
        "rows": len(frame),
        "valid": int(frame[["amount", "age days", "channel"]].notna().all(axis=1).sum()),
        "missing": int(frame["age days"].isna().sum()),
        "cells": [[str(a), str(p), int(n)] for (a, p), n in cells.items()],
        "ks": {
            name: float(ks_2samp(reference[name].dropna(), frame[name].dropna()).pvalue)
            for name in ("amount", "age days")
        },
    }


def frames() -> list[pd.DataFrame]:
    return [rows(11, 300), rows(12, 400, 15.0), rows(13, 350, 15.0)]


def definition() -> Any:
    from evidently import BinaryClassification, DataDefinition

    return DataDefinition(
        classification=[BinaryClassification(target="target", prediction_labels="prediction", pos_label=1)],
        numerical_columns=["amount", "age days"],
        categorical_columns=["channel"],
    )


def reported(frame: pd.DataFrame, reference: pd.DataFrame, at: datetime | None, version: str) -> Any:
    from evidently import Dataset, Report
    from evidently.metrics import Accuracy, F1Score, MissingValueCount, Precision, RowCount, ValueDrift
    from evidently.tests import gt, lt

    columns = ("amount", "age days", "channel")
    metrics = [
        RowCount(), *(MissingValueCount(column=one) for one in columns),
        *(ValueDrift(column=one) for one in columns), ValueDrift(column="amount", method="psi"),
        Accuracy(tests=[gt(0.5)]), Precision(), F1Score(conf_matrix=True),
        MissingValueCount(column="age days", tests=[lt(1)]),
    ]  # fmt: skip
    report = Report(metrics, include_tests=False)
    current, before = (Dataset.from_pandas(one, data_definition=definition()) for one in (frame, reference))
    return report.run(current, before, timestamp=at, metadata={"model_version": version}, tags=["prod"])


def in_workspace(folder: Path) -> tuple[Any, Any]:
    from evidently.ui.workspace import Workspace

    workspace = Workspace.create(str(folder))
    known = [one for one in workspace.list_projects() if one.name == "claim-risk"]
    return workspace, known[0] if known else workspace.create_project("claim-risk")


def workspace(folder: Path) -> dict[str, Any]:
    """Three reports an hour apart; the second lacks the labels of its first rows."""
    space, project = in_workspace(folder)
    reference = rows(1, 900)
    told = []
    for number, frame in enumerate(frames()):
        at = BEGIN + timedelta(hours=number)
        known = frame.iloc[LATE:] if number == 1 else frame
        space.add_run(project.id, reported(known, reference, at, "3"))
        told.append({"ts": int(at.timestamp()), **truth(known, reference)})
    return {"project": str(project.id), "reports": told}


def late(folder: Path) -> dict[str, Any]:
    space, project = in_workspace(folder)
    reference, frame = rows(1, 900), frames()[1]
    at = BEGIN + timedelta(hours=1)
    space.add_run(project.id, reported(frame, reference, at, "3"))
    naive = datetime(2026, 11, 1, 9, 30)
    space.add_run(project.id, reported(frames()[0], reference, naive, "3"))
    return {"reports": [{"ts": int(at.timestamp()), **truth(frame, reference)}]}


def old(folder: Path, package: str = "evidently.legacy") -> dict[str, Any]:
    import importlib

    def of(module: str) -> Any:
        return importlib.import_module(f"{package}.{module}")

    metrics, tests = of("metrics"), of("tests")
    mapping = of("pipeline.column_mapping").ColumnMapping(
        target="target", prediction="prediction", numerical_features=["amount", "age days"],
        categorical_features=["channel"],
    )  # fmt: skip
    reference, frame = rows(1, 900), frames()[1]
    at = datetime(2026, 11, 1, 6)
    given = {"reference_data": reference, "current_data": frame, "column_mapping": mapping}
    report = of("report").Report(
        [metrics.DataDriftTable(), metrics.ClassificationQualityMetric(), metrics.ClassificationConfusionMatrix(),
         metrics.DatasetMissingValuesMetric()],
        timestamp=at,
    )  # fmt: skip
    report.run(**given)
    suite = of("test_suite").TestSuite(
        [tests.TestNumberOfMissingValues(lt=1), tests.TestAccuracyScore(gt=0.5), tests.TestColumnDrift("amount"),
         tests.TestColumnDrift("channel")],
        timestamp=at,
    )  # fmt: skip
    suite.run(**given)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(report.json())
    (folder / "suite.json").write_text(suite.json())
    space = of("ui.workspace").Workspace.create(str(folder / "workspace"))
    project = space.create_project("old")
    space.add_report(project.id, report)
    space.add_test_suite(project.id, suite)
    return {"reports": [{"ts": int(at.replace(tzinfo=UTC).timestamp()), **truth(frame, reference)}]}


def versions(folder: Path) -> dict[str, Any]:
    return old(folder, "evidently")


if __name__ == "__main__":
    made = {"workspace": workspace, "late": late, "old": old, "versions": versions}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps(made))
