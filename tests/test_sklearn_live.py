"""scikit-learn and skops themselves, in an environment of their own (first use installs it)."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors import sklearn as connector
from connectors._files import item
from tandem.connect import Common, Given
from tandem.records import Confusion, Event, Fact, Ratio, Sample
from tests.environments import environment

REQUIREMENTS = ("scikit-learn==1.9.1", "skops==0.16.0", "tabulate")
AT = 1_795_300_000

pytestmark = [pytest.mark.live, pytest.mark.timeout(900)]

WRITE = """
import json, sys, warnings
from pathlib import Path
import sklearn
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
import skops.io
from skops import card
folder, truth = Path(sys.argv[1]), {}
for classes in (2, 3, 5):
    x, y = make_classification(4000, n_classes=classes, n_informative=6, random_state=classes)
    seen, held, labels, actual = train_test_split(x, y, random_state=1)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)).fit(seen, labels)
    predicted = model.predict(held)
    place = folder / str(classes)
    place.mkdir()
    report = classification_report(actual, predicted, output_dict=True)
    (place / "report.json").write_text(json.dumps(report))
    matrix = confusion_matrix(actual, predicted).tolist()
    (place / "metrics.json").write_text(json.dumps({"accuracy": accuracy_score(actual, predicted),
        "f1_macro": f1_score(actual, predicted, average="macro"), "labels": list(range(classes)),
        "confusion_matrix": matrix}))
    truth[classes] = {"matrix": matrix, "accuracy": report["accuracy"], "f1": report["macro avg"]["f1-score"]}
    skops.io.dump(model, place / "model.skops")
    written = card.Card(model)
    written.add_metrics(accuracy=report["accuracy"])
    written.save(place / "README.md")
print(json.dumps(truth))
"""


def test_counts_are_those_of_its_own_confusion_matrix(tmp_path: Path) -> None:
    python = environment("sklearn", REQUIREMENTS)
    done = subprocess.run([str(python), "-c", WRITE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    given = connector.Config(Common("sklearn", "live", component=("m",)))
    for classes, truth in json.loads(done.stdout).items():
        matrix = {(str(i), str(j)): n for i, row in enumerate(truth["matrix"]) for j, n in enumerate(row) if n}
        right = sum(n for (actual, predicted), n in matrix.items() if actual == predicted)
        place = tmp_path / classes
        told: dict[str, list[Any]] = {}
        for name in ("report.json", "metrics.json", "README.md", "model.skops"):
            one = item(place / name, Given(at=AT))
            assert connector.recognise(one), name
            told[name] = [record for page in connector.parse(one, given) for record in page.records]
        [fact] = [one.value for one in told["report.json"] if isinstance(one, Fact)]
        assert fact in (Confusion(matrix), Ratio(right, sum(matrix.values())))
        assert isinstance(fact, Confusion) or classes != "2", "with two classes there is only one table"
        assert [one.value for one in told["metrics.json"] if isinstance(one, Fact)] == [Confusion(matrix)]
        values = {one.series.name: one.value for one in told["report.json"] if isinstance(one, Sample)}
        assert (values["accuracy"], values["macro avg f1-score"]) == (truth["accuracy"], truth["f1"])
        [accuracy] = [one.value for one in told["README.md"] if isinstance(one, Sample)]
        assert accuracy == pytest.approx(truth["accuracy"], abs=1e-6)
        [release] = [one for one in told["model.skops"] if isinstance(one, Event)]
        labels = dict(release.labels)
        assert labels["estimator"].endswith("Pipeline")
        assert {"StandardScaler", "LogisticRegression"} <= set(labels["steps"].split(", "))
