"""What the fraud team's script writes at the end of each training: scikit-learn's numbers of the holdout as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sample_data.mlflow_export import FINISHED, Run, runs
from sample_data.story import DAY, random_of, stamp

MODEL = "fraud-detector"
BAR = 0.95
"""The accuracy that a model must reach on the holdout before it may be registered."""
ROWS, FRAUD = 6000, 480
"""Rows of the holdout, and how many of them are fraud."""
AFTER = 600
"""Seconds from the end of a training to its evaluation."""


def write(folder: Path) -> None:
    """evaluations/fraud-detector/holdout-<day>.json, one for each training that finished."""
    target = folder / "evaluations" / MODEL
    target.mkdir(parents=True)
    for run in evaluated():
        text = json.dumps(evaluation(run), indent=2)
        (target / f"holdout-{run.name.removeprefix('train-')}.json").write_text(text, encoding="utf-8", newline="\n")


def truth() -> str:
    """How the evaluations ended, as a table of truth.toml."""
    found = evaluated()
    return "\n".join([
        "[[evaluated]]", f'component = "{MODEL}"', 'source = "evaluations"', f"evaluations = {len(found)}",
        f"reached = {sum(one.version is not None for one in found)}", f"at_least = {BAR}", "",
    ])  # fmt: skip


def evaluated() -> list[Run]:
    """The trainings that came to an end, oldest first."""
    return sorted((run for run in runs(MODEL) if run.status == FINISHED), key=lambda run: run.began)


def evaluation(run: Run) -> dict[str, Any]:
    """One file: the counts agree with what the run logged of its last epoch."""
    share = float(run.metrics["val_accuracy"][-1].split()[1])
    wrong = ROWS - round(share * ROWS)
    missed = int(wrong * (0.3 + 0.2 * random_of("holdout", run.id).random()))
    return {
        "evaluated_at": stamp((run.began + run.took) // 1000 + AFTER),
        "run_id": run.id,
        "git_commit": run.commit,
        "training_set": run.data_version,
        "holdout": f"payments, the four weeks before {stamp(run.began // 1000 - 2 * DAY)[:10]}",
        "n_samples": ROWS,
        "labels": [0, 1],
        **_numbers(missed, wrong - missed),
    }


def _numbers(missed: int, blocked: int) -> dict[str, Any]:
    """As scikit-learn computes them, of frauds that were missed and honest payments that were blocked."""
    honest, fraud = ROWS - FRAUD, FRAUD
    right = honest - blocked, fraud - missed
    rows = {"0": _row(right[0], right[0] + missed, honest), "1": _row(right[1], right[1] + blocked, fraud)}
    averages = {
        name: {metric: sum(weight * row[metric] for weight, row in zip(weights, rows.values(), strict=True))
               for metric in ("precision", "recall", "f1-score")} | {"support": float(ROWS)}
        for name, weights in (("macro avg", (0.5, 0.5)), ("weighted avg", (honest / ROWS, fraud / ROWS)))
    }  # fmt: skip
    accuracy = sum(right) / ROWS
    return {
        "accuracy": accuracy,
        "confusion_matrix": [[right[0], blocked], [missed, right[1]]],
        "classification_report": {**rows, "accuracy": accuracy, **averages},
    }


def _row(right: int, taken: int, support: int) -> dict[str, float]:
    precision, recall = right / taken, right / support
    f1 = 2 * precision * recall / (precision + recall)
    return {"precision": precision, "recall": recall, "f1-score": f1, "support": float(support)}
