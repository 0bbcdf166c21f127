"""What is kept of a reference: its exact spread, in old stores too."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest

from tandem import bins
from tandem.records import Baseline, Page, Series
from tandem.store.file import open_store
from tandem.store.read import Reader
from tandem.store.references import references
from tandem.summarise.reference import of_numbers
from tests import fakes, two_sides

SHAPES: dict[str, Any] = {
    "normal": lambda r: r.normal(1e6, 3, 5000),
    "lognormal": lambda r: r.lognormal(0, 1.5, 5000),
    "pareto": lambda r: r.pareto(2.5, 5000),
    "tiny": lambda r: r.normal(0, 1e-200, 500),
    "huge": lambda r: r.normal(0, 1e200, 500),
    "negative": lambda r: -r.exponential(40, 5000),
    "constant": lambda r: np.full(500, 0.1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_squares_are_the_exact_sum_of_the_rounded_values(name: str) -> None:
    values = SHAPES[name](np.random.default_rng(4))
    made = of_numbers("x", [values[:100], values[100:]])
    digits = made.histogram.layout.digits or 0
    whole = [round(Fraction(Decimal(repr(one))) * Fraction(10) ** digits) for one in values.tolist()]
    # Twelve digits are kept: a value that lies within a float's rounding of a half may go either way.
    assert made.squares == pytest.approx(sum(one * one for one in whole), rel=1e-11)
    exact = sum(one * one for one in bins.quanta(np.sort(values), digits).tolist())
    assert made.squares == exact


@pytest.mark.parametrize("name", ["normal", "lognormal", "pareto", "negative", "constant"])
def test_the_stored_deviation_is_that_of_the_values(tmp_path: Path, name: str) -> None:
    values = SHAPES[name](np.random.default_rng(4))
    made = of_numbers("x", [values])
    baseline = Baseline(Series("feature", component="scorer", name="x"), made.histogram, 0, 3600, made.squares)
    context = two_sides.stored(tmp_path, [Page((baseline,))])
    found = references(Reader(context.store), "scorer")["feature", "x"]
    assert found.deviation == pytest.approx(float(np.std(values)), rel=1e-7, abs=1e-12)
    assert (found.since, found.until, found.made) == (0, 3600, fakes.NOW)
    context.store.close()


def test_a_store_without_squares_is_brought_up_to_date_and_reads_the_deviation_from_bins(tmp_path: Path) -> None:
    values = SHAPES["normal"](np.random.default_rng(4))
    made = of_numbers("x", [values])
    baseline = Baseline(Series("feature", component="scorer", name="x"), made.histogram, 0, 3600, made.squares)
    two_sides.stored(tmp_path, [Page((baseline,))]).store.close()
    path = tmp_path / "tandem.duckdb"
    with duckdb.connect(str(path)) as connection:
        connection.execute("ALTER TABLE baseline DROP COLUMN squares")
        connection.execute("UPDATE meta SET value = '2' WHERE key = 'version'")
    with open_store(path) as store:
        found = references(Reader(store), "scorer")["feature", "x"]
        assert found.deviation is None
        assert found.histogram == made.histogram
        row = store.cursor().execute("SELECT squares FROM baseline").fetchone()
        assert row == (None,)
    assert list(tmp_path.glob("tandem.duckdb.before-*")), "a copy of the old file stays"


def test_a_reference_of_another_window_replaces_that_of_categories_though_their_bins_stay(tmp_path: Path) -> None:
    layout = bins.Layout(kind="categories", values=("a", "b"))
    series = Series("feature", component="scorer", name="card")
    first, second = ({0: 900, 1: 100}, {0: 100, 1: 900})
    pages = [Page((Baseline(series, two_sides.Histogram(layout, counts, {}), since, since + 3600),))
             for since, counts in ((0, first), (3600, second), (3600, second))]  # fmt: skip
    context = two_sides.stored(tmp_path, pages)
    found = references(Reader(context.store), "scorer")["feature", "card"]
    assert (found.histogram.counts, found.since) == (second, 3600)
    assert context.store.cursor().execute("SELECT count(*) FROM baseline").fetchone() == (2,)
    context.store.close()
