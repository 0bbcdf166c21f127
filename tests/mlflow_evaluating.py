"""What people do with MLflow's own library: it runs in an environment of its own, against a server or a folder.

`python mlflow_evaluating.py URI` prints the ids of its runs as JSON. The files in payloads/mlflow/evaluating are of it.
"""

import json
import sys
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.metrics import make_metric
from mlflow.metrics.base import MetricValue
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import classification_report, confusion_matrix

DEFAULT = {"evaluators": "default", "evaluator_config": {"log_explainer": False, "log_model_explainability": False}}


def hit() -> object:
    """A metric of rows: with one, mlflow.evaluate logs the table of rows too."""

    def score(predictions: pd.Series, targets: pd.Series) -> MetricValue:
        same = [float(a == b) for a, b in zip(predictions, targets, strict=True)]
        return MetricValue(scores=same, aggregate_results={"mean": 0.5})

    return make_metric(eval_fn=score, greater_is_better=True, name="hit")


def main(uri: str) -> dict[str, str]:
    mlflow.set_tracking_uri(uri)
    mlflow.set_experiment("claims-evaluating")
    runs = {}
    x, y = load_breast_cancer(return_X_y=True, as_frame=True)
    x = x.iloc[:, :3]
    data = x.assign(target=y)
    with mlflow.start_run(run_name="train") as run:
        learned = mlflow.data.from_pandas(
            data.iloc[:400], source="s3://claims/train.parquet", name="claims", targets="target"
        )
        mlflow.log_input(learned, context="training")
        mlflow.set_tag("trigger", "schedule")
        model = LogisticRegression(max_iter=300).fit(x[:400], y[:400])
        logged = mlflow.sklearn.log_model(
            model, name="model", registered_model_name="claims-evaluated", input_example=x[:2]
        )
        runs["train"], runs["model"] = run.info.run_id, logged.model_id
    with mlflow.start_run(run_name="evaluate binary") as run:
        mlflow.models.evaluate(
            logged.model_uri, data=data.iloc[400:], targets="target", model_type="classifier", extra_metrics=[hit()],
            **DEFAULT,
        )  # fmt: skip
        runs["binary"] = run.info.run_id
    iris = load_iris(as_frame=True)
    names = [["setosa", "versicolor", "virginica"][number] for number in iris.target]
    frame = iris.frame.drop(columns=["target"]).assign(label=names)
    random = np.random.default_rng(0)
    frame["predicted"] = [one if random.random() > 0.2 else str(random.choice(names)) for one in names]
    with mlflow.start_run(run_name="evaluate static") as run:
        mlflow.models.evaluate(
            data=mlflow.data.from_pandas(frame, targets="label", predictions="predicted", name="iris"),
            model_type="classifier", evaluators="default", evaluator_config={"metric_prefix": "holdout_"},
            extra_metrics=[hit()],
        )  # fmt: skip
        runs["static"] = run.info.run_id
    mlflow.sklearn.autolog(log_models=False)
    with mlflow.start_run(run_name="autolog") as run:
        LogisticRegression(max_iter=300).fit(x[:400], y[:400]).score(x[400:], y[400:])
        runs["autolog"] = run.info.run_id
    mlflow.sklearn.autolog(disable=True)
    guess = model.predict(x[400:])
    table = confusion_matrix(y[400:], guess)
    with mlflow.start_run(run_name="by hand") as run, tempfile.TemporaryDirectory() as folder:
        mlflow.log_dict(classification_report(y[400:], guess, output_dict=True), "classification_report.json")
        mlflow.log_dict({"labels": [0, 1], "matrix": table.tolist()}, "confusion_matrix.json")
        mlflow.log_table(pd.DataFrame({"actual": y[400:], "predicted": guess}), "predictions.json")
        np.save(Path(folder) / "confusion_matrix.npy", table)
        pd.DataFrame(table, index=[0, 1], columns=[0, 1]).to_csv(Path(folder) / "confusion_matrix.csv")
        mlflow.log_artifacts(folder, "evaluation")
        runs["hand"] = run.info.run_id
    mlflow.MlflowClient().set_model_version_tag("claims-evaluated", "1", "validation_status", "approved")
    mlflow.MlflowClient().set_registered_model_alias("claims-evaluated", "champion", "1")
    return runs


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1])))
