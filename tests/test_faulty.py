"""When a fault of a column began and ended: against drawn rows with known beginnings."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tandem import faulty

HOUR = 3600
NAME = "age:missing"


def drawn(shares: list[float], rows: list[int], seed: int = 1) -> tuple[dict[int, int], dict[tuple[str, int], int]]:
    """Rows and faulty rows per hour."""
    r = np.random.default_rng(seed)
    bad = {
        (NAME, place * HOUR): int(r.binomial(n, share))
        for place, (share, n) in enumerate(zip(shares, rows, strict=True))
    }
    return {place * HOUR: n for place, n in enumerate(rows)}, bad


def dated(shares: list[float], rows: list[int], since: int = 24, seed: int = 1) -> list[tuple[int, int | None]]:
    found = faulty.dated(*drawn(shares, rows, seed), since * HOUR, len(rows) * HOUR, HOUR)
    return [(one.since // HOUR, None if one.until is None else one.until // HOUR) for one in found]


def test_a_fault_has_its_hours() -> None:
    assert dated([0.002] * 40 + [0.2] * 6 + [0.002] * 10, [300] * 56) == [(40, 46)]
    assert dated([0.002] * 40 + [0.2] * 16, [300] * 56) == [(40, None)]


def test_a_night_with_few_rows_does_not_cut_it() -> None:
    rows = [300] * 44 + [3] * 6 + [300] * 14
    shares = [0.002] * 38 + [0.2] * 20 + [0.002] * 6
    assert dated(shares, rows) == [(38, 58)]


def test_two_faults_are_two() -> None:
    shares = [0.0] * 30 + [0.3] * 4 + [0.0] * 10 + [0.3] * 4 + [0.0] * 4
    assert dated(shares, [400] * 52) == [(44, 48), (30, 34)]


def test_what_was_so_before_is_usual_and_less_than_a_hundredth_is_noise() -> None:
    assert dated([0.2] * 56, [300] * 56) == []
    assert dated([0.001] * 40 + [0.009] * 16, [20_000] * 56) == []
    assert dated([0.3] * 56, [300] * 56, since=0) == [], "without anything before, nothing is known to be unusual"


def test_five_bad_rows_are_needed() -> None:
    rows = {place * HOUR: 8 if place == 30 else 100 for place in range(40)}
    assert faulty.dated(rows, {(NAME, 30 * HOUR): 4}, 24 * HOUR, 40 * HOUR, HOUR) == ()


@pytest.mark.parametrize(("bad", "rows", "share"), [(5, 60, 0.02), (30, 60, 0.4), (200, 5000, 0.03), (1, 1, 0.5)])
def test_the_tail_is_scipys(bad: int, rows: int, share: float) -> None:
    assert faulty._tail(bad, rows, share) == pytest.approx(stats.binom.sf(bad - 1, rows, share), rel=1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_nothing_is_told_of_windows_in_which_nothing_changed(seed: int) -> None:
    told = sum(bool(dated([0.05] * 80, [60] * 80, seed=1000 * seed + one)) for one in range(60))
    assert told <= 2
