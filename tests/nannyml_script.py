"""Results of the real NannyML over invented data, for its live test; runs in an environment of its own.

    python nannyml_script.py FOLDER

Writes realised and estimated performance and univariate drift in every form, and prints, as JSON, what is true of each
chunk, counted from the rows with pandas, never with NannyML.
"""

from __future__ import annotations

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

CHUNK = 1000
ROWS = 6000
CHANGE = 3
"""The chunk of the analysis period at which a feature moves."""
LATE = 700
"""Rows at the end whose labels are not there yet."""


def rows(begin: str, number: int, change: int | None) -> pd.DataFrame:
    made = np.random.default_rng(number)
    at = pd.date_range(begin, periods=ROWS, freq="5min")
    amount = made.normal(50, 10, ROWS)
    if change is not None:
        amount[change * CHUNK :] += 25
    chance = 1 / (1 + np.exp(-(amount - 50) / 12))
    truth = (made.random(ROWS) < np.where(amount > 80, 0.55, chance)).astype(int)
    return pd.DataFrame({
        "at": at, "order value": amount.round(3), "channel": made.choice(["web", "app"], ROWS), "y_true": truth,
        "y_pred_proba": chance.round(6), "y_pred": (chance > 0.5).astype(int),
    })  # fmt: skip


def truth(frame: pd.DataFrame) -> list[dict[str, Any]]:
    told = []
    for start in range(0, len(frame), CHUNK):
        chunk = frame.iloc[start : start + CHUNK]
        known = chunk.dropna(subset=["y_true"])
        cells = known.astype({"y_true": int}).groupby(["y_true", "y_pred"]).size()
        told.append({
            "start": int(chunk["at"].iloc[0].timestamp()), "rows": len(chunk), "labelled": len(known),
            "cells": [[str(a), str(p), int(n)] for (a, p), n in cells.items()],
        })  # fmt: skip
    return told


def several(folder: Path, reference: pd.DataFrame, analysis: pd.DataFrame) -> list[list[Any]]:
    """A model of three classes: its realised matrix, and the cells of its first chunk."""
    import nannyml

    for frame, seed in ((reference, 5), (analysis, 6)):
        made = np.random.default_rng(seed)
        frame["kind"] = made.choice(["a", "b_c", "d"], len(frame))
        frame["said"] = np.where(
            made.random(len(frame)) < 0.8, frame["kind"], made.choice(["a", "b_c", "d"], len(frame))
        )
        for one in ("a", "b_c", "d"):
            frame[f"p_{one}"] = np.where(frame["said"] == one, 0.8, 0.1)
    calculator = nannyml.PerformanceCalculator(
        y_pred="said", y_pred_proba={one: f"p_{one}" for one in ("a", "b_c", "d")}, y_true="kind",
        timestamp_column_name="at", problem_type="classification_multiclass",
        metrics=["accuracy", "confusion_matrix"], chunk_size=CHUNK,
    )  # fmt: skip
    calculator.fit(reference)
    calculator.calculate(analysis).to_df().to_parquet(folder / "several.parquet")
    cells = analysis.iloc[:CHUNK].groupby(["kind", "said"]).size()
    return [[str(a), str(p), int(n)] for (a, p), n in cells.items()]


def write(result: Any, folder: Path, name: str) -> None:
    result.to_df().to_parquet(folder / f"{name}.parquet")
    result.to_df().to_csv(folder / f"{name}.csv")
    result.to_df(multilevel=False).to_parquet(folder / f"{name}_flat.parquet")
    result.to_df(multilevel=False).to_csv(folder / f"{name}_flat.csv", index=False)


def main(folder: Path) -> dict[str, Any]:
    import nannyml

    folder.mkdir(parents=True, exist_ok=True)
    reference, analysis = rows("2026-01-01", 1, None), rows("2026-06-01", 2, CHANGE)
    late = analysis.copy()
    late.loc[ROWS - LATE :, "y_true"] = np.nan
    common = {"y_pred": "y_pred", "y_pred_proba": "y_pred_proba", "y_true": "y_true", "timestamp_column_name": "at",
              "problem_type": "classification_binary", "chunk_size": CHUNK}  # fmt: skip
    names = ["roc_auc", "accuracy", "f1", "confusion_matrix"]
    realised = nannyml.PerformanceCalculator(**common, metrics=names)
    realised.fit(reference)
    write(realised.calculate(analysis), folder, "realised")
    write(realised.calculate(late), folder, "late")
    estimator = nannyml.CBPE(**common, metrics=["roc_auc", "accuracy"])
    estimator.fit(reference)
    write(estimator.estimate(analysis.drop(columns="y_true")), folder, "estimated")
    drift = nannyml.UnivariateDriftCalculator(
        column_names=["order value", "channel"], timestamp_column_name="at", chunk_size=CHUNK,
        continuous_methods=["jensen_shannon", "wasserstein"], categorical_methods=["chi2", "l_infinity"],
    )  # fmt: skip
    drift.fit(reference)
    write(drift.calculate(analysis), folder, "drift")
    whole = nannyml.DataReconstructionDriftCalculator(
        column_names=["order value", "channel"], timestamp_column_name="at", chunk_size=CHUNK
    )
    whole.fit(reference)
    write(whole.calculate(analysis), folder, "whole")
    missing = nannyml.MissingValuesCalculator(
        column_names=["order value"], timestamp_column_name="at", chunk_size=CHUNK
    )
    missing.fit(reference)
    write(missing.calculate(analysis), folder, "missing")
    return {
        "realised": truth(analysis), "late": truth(late), "several": several(folder, reference, analysis),
        "change": int(analysis["at"].iloc[CHANGE * CHUNK].timestamp()),
    }  # fmt: skip


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps(main(Path(sys.argv[1]))))
