"""NannyML, real: every form of its results against the rows that they are of."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from connectors import nannyml
from connectors._files import item
from tandem.connect import Common, Given, SourceRefused
from tandem.records import Event, Fact, Page, Sample
from tests.environments import environment

# Its environment takes 1.8 GB and minutes; the captured payloads stand in for it everywhere else.
REQUIREMENTS = ("nannyml==0.13.1", "pandas<3", "pyarrow", "statsmodels")
SCRIPT = Path(__file__).with_name("nannyml_script.py")
FORMS = ("{}.parquet", "{}.csv", "{}_flat.parquet", "{}_flat.csv")

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("nannyml")
    done = subprocess.run(
        [str(environment("nannyml", REQUIREMENTS)), str(SCRIPT), str(folder)], capture_output=True, text=True,
        check=False, env={**os.environ, "NML_DISABLE_USAGE_LOGGING": "1", "MPLCONFIGDIR": str(folder)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return folder, json.loads(done.stdout.splitlines()[-1])


def pages(path: Path) -> list[Page]:
    one = item(path, Given(timezone="UTC"))
    assert nannyml.recognise(one)
    return list(nannyml.parse(one, nannyml.Config(Common("nannyml", "n", component=("m",)))))


def of(found: list[Page], kind: type[Any]) -> list[Any]:
    return [one for page in found for one in page.records if isinstance(one, kind)]


@pytest.mark.parametrize("form", FORMS)
def test_realised_counts_are_those_of_the_rows(made: tuple[Path, dict[str, Any]], form: str) -> None:
    folder, truth = made
    for name in ("realised", "late"):
        facts = {(one.series.signal, one.ts): one.value for one in of(pages(folder / form.format(name)), Fact)}
        for chunk in truth[name]:
            at = chunk["start"] // 300 * 300
            coverage = facts["label_coverage", at]
            assert (coverage.good, coverage.total) == (chunk["labelled"], chunk["rows"])
            expected = {(a, p): n for a, p, n in chunk["cells"]}
            counted = facts["outcome", at].cells if expected else {}
            assert {place: n for place, n in counted.items() if n} == expected


@pytest.mark.parametrize("form", FORMS)
def test_estimates_and_drift(made: tuple[Path, dict[str, Any]], form: str) -> None:
    folder, truth = made
    estimated = of(pages(folder / form.format("estimated")), Sample)
    assert {(one.series.name, one.series.stage) for one in estimated} == {
        ("accuracy", "estimated"),
        ("roc_auc", "estimated"),
    }
    assert len(estimated) == 2 * len(truth["realised"])
    # NannyML raises false alarms too; the change that was made is told where it was made.
    began = [one for one in of(pages(folder / form.format("drift")), Event) if "order value" in one.title]
    assert truth["change"] in {one.ts for one in began}
    assert {one.outcome for one in began} == {"bad"}
    whole = [one.series.name for one in of(pages(folder / form.format("whole")), Sample)]
    assert "drift[(all features)] reconstruction_error outside" in whole
    with pytest.raises(SourceRefused, match="data quality"):
        pages(folder / form.format("missing"))


def test_several_classes(made: tuple[Path, dict[str, Any]]) -> None:
    folder, truth = made
    first = next(one for one in of(pages(folder / "several.parquet"), Fact) if one.series.signal == "outcome")
    assert first.value.cells == {(a, p): n for a, p, n in truth["several"]}
