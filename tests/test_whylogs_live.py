"""whylogs itself, in an environment of its own (first use installs it): its binary profiles, read by its own Python."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from connectors import _whylogs, whylogs
from connectors._files import item
from tandem.bins import total
from tandem.connect import Common, Given, Pull
from tandem.records import Confusion, Fact, Histogram, Moments, Ratio
from tests.environments import environment

REQUIREMENTS = ("whylogs==1.6.4", "numpy<2", "pandas<3")
PAYLOADS = Path(__file__).parent / "payloads" / "whylogs"
AT = 1_790_000_000

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.timeout(900)]

MAKE = """
import datetime, json, sys
import numpy as np, pandas as pd, whylogs as why
folder, at = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(11)
amount = rng.lognormal(3, 1, 40000)
frame = pd.DataFrame({"amount": amount, "count": rng.poisson(2, 40000), "site": rng.choice(list("abc"), 40000),
                      "known": rng.random(40000) < 0.3})
frame.loc[:99, "amount"] = None
np.save(folder + "/amount.npy", frame["amount"].dropna().to_numpy())
np.save(folder + "/count.npy", frame["count"].to_numpy())
view = why.log(frame, dataset_timestamp=datetime.datetime.fromtimestamp(at, datetime.timezone.utc)).view()
view.write(folder + "/wide.bin")
view.to_pandas().to_csv(folder + "/wide.csv")
from whylogs.core.model_performance_metrics import ModelPerformanceMetrics
for name, classify in (("classes", True), ("values", False)):
    metrics = ModelPerformanceMetrics()
    if classify:
        metrics.compute_confusion_matrix(["yes"] * 7 + ["no"] * 3, ["yes"] * 5 + ["no"] * 5)
    else:
        metrics.compute_regression_metrics([1.0, 2.0, 5.0], [1.5, 2.0, 3.0])
    empty = why.log(pd.DataFrame({"x": [1.0, 2.0]})).profile()
    empty.set_dataset_timestamp(datetime.datetime.fromtimestamp(at + 3600, datetime.timezone.utc))
    empty.add_model_performance_metrics(metrics)
    empty.view().write(folder + f"/{name}.bin", use_v0=True)
"""


@pytest.fixture(scope="module")
def python() -> Path:
    return environment("whylogs", REQUIREMENTS)


@pytest.fixture(scope="module")
def made(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whylogs")
    done = subprocess.run(
        [str(python), "-c", MAKE, str(folder), str(AT)],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(folder), "WHYLOGS_NO_ANALYTICS": "True"},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def told(path: Path, python: Path) -> dict[tuple[str, str], Any]:
    given = whylogs.Config(Common("whylogs", "live", component=("m",)), python=python)
    pages = whylogs.parse_with(item(path, Given()), given, Pull(0, 1 << 40, 1 << 40))
    return {(one.series.signal, one.series.name): one.value
            for page in pages for one in page.records if isinstance(one, Fact)}  # fmt: skip


def test_the_captured_profiles_tell_what_was_captured(python: Path) -> None:
    """The script's output, printed again."""
    binary = [PAYLOADS / "perf.bin", PAYLOADS / "profile_2026-11-01.bin"]
    captured = [json.loads(line) for line in (PAYLOADS / "told.jsonl").read_text().splitlines()]
    assert _whylogs.read(python, [path.read_bytes() for path in binary]) == captured


@pytest.mark.parametrize(("name", "most"), [("amount", 0.006), ("count", 0.0)])
def test_a_sketch_on_its_bins_lies_within_its_doubt_of_the_values(
    name: str, most: float, made: Path, python: Path
) -> None:
    values = np.sort(np.load(made / f"{name}.npy"))
    found = told(made / "wide.bin", python)["feature", name]
    assert isinstance(found, Histogram)
    assert total(found) == len(values)
    edges = np.array(found.layout.edges)
    exact = np.searchsorted(values, edges, side="left") / len(values)
    counted = np.cumsum([found.counts.get(place, 0) for place in range(len(edges))]) / len(values)
    worst = float(np.abs(counted - exact).max())
    print(f"{name}: a count below an edge is off by at most {worst:.2%}")
    assert worst <= most


def test_binary_and_csv_of_one_profile_count_the_same_rows(made: Path, python: Path) -> None:
    binary, views = told(made / "wide.bin", python), told(made / "wide.csv", python)
    for key in (("volume", ""), ("valid_rows", ""), ("valid_rows", "amount:missing")):
        assert binary[key] == views[key]
    assert binary["valid_rows", ""] == Ratio(39_900, 40_000)
    for name in ("amount", "count", "site", "known"):
        one, other = binary["feature", name], views["feature", name]
        assert total(one) == total(other)
    assert binary["feature", "site"].counts == views["feature", "site"].counts
    assert binary["feature", "known"].layout.values == ("false", "true")
    assert binary["feature", "count"].counts == views["feature", "count"].counts, "whole numbers are items, and exact"


def test_performance_gives_exact_counts_and_errors(made: Path, python: Path) -> None:
    outcome = told(made / "classes.bin", python)["outcome", ""]
    assert outcome == Confusion({("yes", "yes"): 5, ("no", "yes"): 2, ("no", "no"): 3})
    errors = told(made / "values.bin", python)
    assert errors["error", "absolute"] == Moments(3, 2_500_000_000, 4_250_000_000_000_000_000, 9)
    assert errors["error", "error"].sum == 1_500_000_000


def test_what_is_no_profile_is_said(made: Path, python: Path) -> None:
    [broken, cut] = _whylogs.read(python, [b"WHY1\x00 nonsense", (made / "wide.bin").read_bytes()[:4000]])
    for one in (broken, cut):
        with pytest.raises(_whylogs.Unusable, match="nothing that whylogs can read"):
            _whylogs.of_told(one)
