"""CPU of drift between any two windows of 25 features, beside Evidently, NannyML and scipy on the same rows.

Run: python -m tests.benchmarks.drift [--rows N] [--rounds N] [--without-peers]

One log (20 numeric and 5 categorical features) is read once, into a store; that is printed apart, because it is done
once and for every later question. Then both halves are compared: Tandem from its store through `report.drift`, which
is all that `tandem drift` does but start a process; the others on the rows, in environments of their own, their
compute step only, reading and importing left out. CPU is user and system time of the whole process, all threads.
The work is not the same: Evidently runs one test per column, NannyML four methods over ten chunks, scipy five
measures, Tandem seven with noise floors, verdicts, predictions and scores. What is compared is "somebody has a table".
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq

from tandem import collect, config, report
from tandem.records import HOUR
from tandem.shown import Half, Window
from tandem.store.file import open_store
from tests.benchmarks.overview import cpu
from tests.benchmarks.summarise import EVIDENTLY, FEATURES, write_log

PEERS = {
    "Evidently 0.7.23, DataDriftPreset": ("evidently", ["evidently==0.7.23", "pandas<3", "pyarrow"], EVIDENTLY),
    "NannyML 0.13.1, KS JS W chi-square, 10 chunks": (
        "nannyml",
        ["nannyml==0.13.1", "pandas<3", "pyarrow", "statsmodels"],
        "",
    ),
    "pandas and scipy, PSI JS KS W chi-square": ("", [], ""),
}
CPU = """
import resource, sys, warnings
warnings.filterwarnings("ignore")
import pandas as pd
columns = sys.argv[2].split(",")
frame = pd.read_parquet(sys.argv[1], columns=columns)
half = len(frame) // 2
old, new = frame.iloc[:half].reset_index(drop=True), frame.iloc[half:].reset_index(drop=True)
numbers = [name for name in columns if pd.api.types.is_numeric_dtype(frame[name])]
texts = [name for name in columns if name not in numbers]
def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
"""
NANNYML = (
    CPU
    + """
import nannyml
found = nannyml.UnivariateDriftCalculator(
    column_names=columns, treat_as_categorical=texts, chunk_number=10,
    continuous_methods=["kolmogorov_smirnov", "jensen_shannon", "wasserstein"],
    categorical_methods=["chi2", "jensen_shannon"])
begin = cpu()
found.fit(old).calculate(new)
print(cpu() - begin)
"""
)
SCIPY = (
    CPU
    + """
import numpy as np
from scipy import stats
from scipy.spatial.distance import jensenshannon
def shares(p, q):
    p, q = p + 0.5, q + 0.5
    p, q = p / p.sum(), q / q.sum()
    return jensenshannon(p, q, 2), ((q - p) * np.log(q / p)).sum()
begin = cpu()
for name in numbers:
    a, b = old[name].dropna().to_numpy(), new[name].dropna().to_numpy()
    edges = np.unique(np.quantile(a, np.linspace(0, 1, 21)))[1:-1]
    p, q = (np.bincount(np.searchsorted(edges, side), minlength=len(edges) + 1) for side in (a, b))
    shares(p, q), stats.ks_2samp(a, b, method="asymp"), stats.wasserstein_distance(a, b) / a.std()
    stats.chi2_contingency([p, q])
for name in texts:
    p, q = old[name].value_counts().align(new[name].value_counts(), fill_value=0)
    shares(p.to_numpy(), q.to_numpy()), stats.chi2_contingency([p, q])
print(cpu() - begin)
"""
)


def stored(folder: Path, log: Path) -> tuple[Any, Window, float]:
    """A context over a store that has read the log, the log's whole hours, and the CPU seconds that this took."""
    text = f"""
    [[component]]
    name = "scorer"
    kind = "model"
    [[source]]
    connector = "predictions"
    name = "log"
    path = "{log}"
    component = "scorer"
    task = "binary"
    id = "id"
    time = "ts"
    prediction = "predicted"
    score = "score"
    label = "label"
    features = {list(FEATURES)}
    """
    given = config.parse(text, folder / "tandem.toml")
    table = pq.read_table(log, columns=["ts"])["ts"]
    ends = [int(value.as_py().timestamp()) if hasattr(value.as_py(), "timestamp") else int(value.as_py())
            for value in (table[0], table[-1])]  # fmt: skip
    since, until = ends[0] // HOUR * HOUR, -(-ends[1] // HOUR) * HOUR
    now = until + HOUR
    store = open_store(folder / "drift.duckdb")
    before = os.times()
    [outcome] = collect.sync(store, given, now)
    after = os.times()
    if outcome.error or outcome.refused:
        raise RuntimeError(outcome.error or str(outcome.refused))
    spent = sum(after[:4]) - sum(before[:4])
    return SimpleNamespace(config=given, store=store, now=now), Window(since, until), spent


def ours(context: Any, window: Window, rounds: int) -> list[float]:
    """CPU seconds of one drift after another, each of two windows that nobody asked for before."""
    middle = (window.since + (window.until - window.since) // 2) // HOUR * HOUR
    spent = []
    for turn in range(rounds + 1):
        shift = (turn % 3) * HOUR
        halves = Half(window=Window(middle, window.until - shift)), Half(window=Window(window.since + shift, middle))
        found: list[Any] = []
        spent.append(cpu(lambda: found.append(report.drift(context, "scorer", *halves, now=context.now))) / 1000)  # noqa: B023
        assert len([row for row in found[0].rows if row.drift == "data drift"]) == len(FEATURES)
    return spent


def theirs(name: str, requirements: list[str], script: str, log: Path) -> float:
    """CPU seconds of a peer's compute step."""
    import sys

    from tests.environments import environment

    python = str(environment(name, requirements)) if name else sys.executable
    quiet = {**os.environ, "DO_NOT_TRACK": "1", "NML_DISABLE_USAGE_LOGGING": "1"}
    command = [python, "-c", script, str(log), ",".join(FEATURES)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=quiet)
    return float(done.stdout.split()[-1])


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--without-peers", action="store_true")
    given = parser.parse_args()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "log.parquet"
        write_log(log, given.rows, 2.0)
        context, window, once = stored(Path(name), log)
        first, *later = ours(context, window, given.rounds)
        context.store.close()
        mine = statistics.median(later)
        print(f"{given.rows:,} rows, 25 features, half against half; CPU seconds")
        print(f"  Tandem, read once into the store          {once:9.3f}")
        print(f"  Tandem, first drift                       {first:9.4f}")
        print(f"  Tandem, any later pair of windows         {mine:9.4f}   {min(later):.4f} to {max(later):.4f}")
        if not given.without_peers:
            for title, (peer, requirements, script) in PEERS.items():
                script = script or (NANNYML if peer else SCIPY)
                spent = theirs(peer, requirements, script, log)
                times = f"{spent / mine:7.0f}x a later pair, {spent / (once + first):.1f}x the first"
                print(f"  {title:46} {spent:9.2f}   {times}")
    print(f"took {time.monotonic() - begin:.0f} s")


if __name__ == "__main__":
    main()
