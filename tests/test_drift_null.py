"""What drift says when nothing changed, and what it finds when something did: seeded simulations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from tandem import bins, drift
from tandem.bins import Layout
from tandem.records import Histogram
from tests.two_sides import of_numbers

Array = np.ndarray
SHAPES: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "normal": lambda r, n: r.normal(size=n),
    "lognormal": lambda r, n: r.lognormal(0, 1.5, n),
    "pareto": lambda r, n: r.pareto(2.5, n),
    "bimodal": lambda r, n: np.where(r.random(n) < 0.5, -3.0, 3.0) + r.normal(0, 0.3, n),
    "zero-inflated": lambda r, n: r.exponential(size=n) * (r.random(n) < 0.4),
    "counts": lambda r, n: r.poisson(3, n).astype(float),
    "student": lambda r, n: r.standard_t(3, n),
}
CATEGORIES = {"2": (2, 0.0), "5": (5, 0.5), "40": (40, 1.2)}
"""How many categories, and how unequal."""


def of_counts(counts: Array) -> Histogram:
    layout = Layout(kind="categories", values=tuple(f"c{i}" for i in range(len(counts))))
    return Histogram(layout, {place: int(n) for place, n in enumerate(counts) if n}, {})


def compared(dice: np.random.Generator, n: int, m: int) -> list[tuple[str, drift.Comparison]]:
    """Ten features of two samples of the same populations, as one call of drift compares them."""
    found = []
    for name, draw in SHAPES.items():
        before, after = draw(dice, n), draw(dice, m)
        layout = bins.feature_layout(before)
        sides = of_numbers(layout, before), of_numbers(layout, after)
        found.append((name, drift.compare(*sides, deviation=float(before.std()))))
    for name, (many, unequal) in CATEGORIES.items():
        weights = 1 / np.arange(1, many + 1) ** unequal
        sides = tuple(of_counts(dice.multinomial(size, weights / weights.sum())) for size in (n, m))
        found.append((name, drift.compare(*sides)))
    return found


def false_verdicts(pairs: int, seed: int) -> tuple[Counter[str], Counter[str], int]:
    """False "drift" verdicts by shape, judged together and each alone, and how many comparisons there were."""
    dice = np.random.default_rng(seed)
    together: Counter[str] = Counter()
    alone: Counter[str] = Counter()
    for _ in range(pairs):
        n, m = (int(np.exp(dice.uniform(np.log(200), np.log(20_000)))) for _ in range(2))
        rows = compared(dice, n, m)
        verdicts = drift.judge([one for _, one in rows])
        for (name, one), (verdict, _) in zip(rows, verdicts, strict=True):
            together[name] += verdict == "drift"
            alone[name] += drift.judge([one])[0][0] == "drift"
    return together, alone, pairs * (len(SHAPES) + len(CATEGORIES))


def test_identical_populations_hardly_ever_drift() -> None:
    together, alone, comparisons = false_verdicts(120, seed=20261121)
    assert together.total() <= 0.01 * comparisons
    assert alone.total() <= 0.01 * comparisons


@pytest.mark.slow
def test_over_a_thousand_pairs_of_identical_populations_at_most_one_per_cent_drift() -> None:
    together, alone, comparisons = false_verdicts(1000, seed=1)
    assert together.total() <= 0.01 * comparisons
    assert alone.total() <= 0.01 * comparisons
    assert max(together.values()) <= 0.01 * 1000, "nor of any one shape"
    print(f"{together.total()} of {comparisons} false together, {alone.total()} one by one")


def test_a_shift_of_three_tenths_is_found_at_two_thousand_rows() -> None:
    dice, found = np.random.default_rng(7), 0
    for _ in range(100):
        before, after = dice.normal(size=2000), dice.normal(0.3, 1, 2000)
        layout = bins.feature_layout(before)
        one = drift.compare(of_numbers(layout, before), of_numbers(layout, after))
        found += drift.judge([one])[0][0] == "drift"
    assert found >= 90


def test_a_shift_is_found_among_many_features_that_hold() -> None:
    dice, found = np.random.default_rng(8), 0
    for _ in range(25):
        before, after = dice.normal(size=2000), dice.normal(0.3, 1, 2000)
        layout = bins.feature_layout(before)
        rows = [one for _, one in compared(dice, 2000, 2000)]
        rows.append(drift.compare(of_numbers(layout, before), of_numbers(layout, after)))
        found += drift.judge(rows)[-1][0] == "drift"
    assert found >= 23


@pytest.mark.parametrize("rows", [200, 400, 700])
def test_too_few_rows_say_so_instead_of_guessing(rows: int) -> None:
    """Two samples of 200 rows are more than 0.1 apart two times out of three (terms of drift, 3.4)."""
    dice = np.random.default_rng(rows)
    said = Counter(drift.judge([one])[0][0] for _ in range(10) for name, one in compared(dice, rows, rows)
                   if name in ("normal", "bimodal"))  # fmt: skip
    assert set(said) == {"not enough data"}
