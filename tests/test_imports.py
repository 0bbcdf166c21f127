"""What is really loaded, in a fresh process: the arrows of the house hold at run time too."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

CORE = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    for path in (ROOT / "tandem").rglob("*.py")
    if path.name != "__main__.py"
)
CONNECTORS = sorted(f"connectors.{path.stem}" for path in (ROOT / "connectors").glob("*.py") if path.stem != "__init__")
PURE = ("records", "bins", "slo", "drift", "quality", "intervals", "derive", "times", "strict", "catalog")
OUTER = {"streamlit", "plotly", "requests", "pandas", "connectors", "dashboard", "sample_data"}


def loaded_by(*modules: str) -> set[str]:
    """The top-level packages that a new interpreter has after importing `modules`."""
    code = (
        "import importlib, json, sys\n"
        "for name in sys.argv[1:]: importlib.import_module(name)\n"
        "print(json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    run = [sys.executable, "-c", code, *modules]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout))


def test_the_core_loads_no_outer_room() -> None:
    loaded = loaded_by(*CORE)
    assert "tandem" in loaded
    assert not loaded & OUTER


def test_the_algebra_loads_no_database() -> None:
    pure = [name for name in CORE if name.removeprefix("tandem.") in PURE]
    assert len(pure) >= 8
    assert "duckdb" not in loaded_by(*pure)


def test_connectors_load_no_store_and_no_dashboard() -> None:
    loaded = loaded_by(*CONNECTORS)
    assert "connectors" in loaded
    assert not loaded & {"streamlit", "plotly", "dashboard", "duckdb", "sample_data"}


def test_the_look_at_loaded_modules_sees_a_forbidden_one() -> None:
    assert "requests" in loaded_by("connectors._http")


@pytest.mark.parametrize("module", ["tandem.config", "tandem.template"])
def test_reading_a_config_loads_no_connector_that_it_does_not_name(module: str) -> None:
    code = (
        f"import sys, pathlib, {module}\n"
        "from tandem.config import parse\n"
        "parse('store = \"x\"', pathlib.Path('/x/tandem.toml'))\n"
        "print(*[name for name in sys.modules if name.startswith('connectors')])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == ""


def test_a_pull_of_events_samples_and_counts_loads_no_pandas(tmp_path: Path) -> None:
    """pyarrow would import it for every list that it looks into: 47 MB more for each process that collects."""
    code = (
        "import sys, pathlib\n"
        "from tandem import collect\n"
        "from tandem.records import Covered, Event, Fact, Gap, Page, Ratio, Sample, Series\n"
        "from tandem.store.file import open_store\n"
        "from tests import fakes\n"
        "at = fakes.NOW - 600\n"
        "builds = [Event('build', 'b1', at, ended=at + 9, components=('checkout-api',), outcome='good')]\n"
        "numbers = [Sample(Series('sample', component='checkout-api', name='loss'), at, 0.5, 'r1')]\n"
        "counts = [Fact(Series('request_success', component='checkout-api'), at, Ratio(2**61, 2**62))]\n"
        "page = Page([*builds, *numbers, *counts], covered=[Covered(at, at + 300)], gaps=[Gap(0, 9, 'gone')])\n"
        "with open_store(pathlib.Path(sys.argv[1])) as store:\n"
        "    done = collect.pull(store, fakes.source(fakes.saying([page])), fakes.NOW)\n"
        "assert not done.error and done.rows > 4, done\n"
        "print('pyarrow' in sys.modules, 'pandas' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.duckdb")], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "True False", done.stderr
