"""Fairness gaps against pandas on raw rows; which differences may be called certain, by simulation."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest

from tandem import fairness
from tandem.records import Confusion

PARITY, OPPORTUNITY = "demographic_parity_difference", "equal_opportunity_difference"


def by_group(rows: pd.DataFrame) -> dict[str, Confusion]:
    return {
        str(group): Confusion(dict(Counter(zip(some["actual"], some["predicted"], strict=True))))
        for group, some in rows.groupby("group")
    }


def _drawn(seed: int, n: int, groups: str = "abcd", classes: str = "xyz") -> pd.DataFrame:
    r = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            name: r.choice(list(some), n)
            for name, some in (("group", groups), ("actual", classes), ("predicted", classes))
        }
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("positive", "xyz")
def test_every_gap_of_any_class_equals_pandas_on_the_raw_rows(seed, positive):
    rows = _drawn(seed, 300)
    said, true = rows["predicted"] == positive, rows["actual"] == positive
    rates = {
        PARITY: said.groupby(rows["group"]).mean(),
        OPPORTUNITY: said[true].groupby(rows["group"]).mean(),
        "false_positive_difference": said[~true].groupby(rows["group"]).mean(),
        "predictive_parity_difference": true[said].groupby(rows["group"]).mean(),
    }
    gaps = fairness.fairness(by_group(rows), positive)
    for name, rate in rates.items():
        gap = gaps[name]
        assert gap.value == pytest.approx(rate.max() - rate.min())
        assert gap.ratio == pytest.approx(rate.min() / rate.max())
        assert {one.group: one.value for one in gap.groups} == pytest.approx(rate.to_dict())
        assert (gap.groups[0].group, gap.groups[-1].group) == (gap.high, gap.low)
        assert all(one.interval[0] <= one.value <= one.interval[1] for one in gap.groups)
    odds = max(rates[OPPORTUNITY].max() - rates[OPPORTUNITY].min(),
               rates["false_positive_difference"].max() - rates["false_positive_difference"].min())  # fmt: skip
    assert gaps[fairness.ODDS].value == pytest.approx(odds)


def test_two_groups_are_needed_and_a_gap_is_certain_only_without_0():
    one = Confusion({("1", "1"): 6, ("1", "0"): 2})
    assert fairness.fairness({"A": one}, "1") == {}
    assert fairness.fairness({}, "1") == {}
    gaps = fairness.fairness({"A": one, "B": Confusion({("1", "1"): 3, ("1", "0"): 3})}, "1")
    gap = gaps[OPPORTUNITY]
    assert (gap.value, gap.high, gap.low, gap.counts, gap.certain) == (0.25, "A", "B", ((6, 8), (3, 6)), False)
    assert gap.interval == (pytest.approx(-0.212252, abs=1e-6), pytest.approx(0.609796, abs=1e-6))
    assert gap.sure is None
    assert fairness.ODDS not in gaps


def test_a_group_of_one_row_is_named_and_never_certain():
    large = Confusion({("1", "1"): 500, ("1", "0"): 500, ("0", "0"): 1000})
    gaps = fairness.fairness({"A": large, "B": Confusion({("1", "0"): 1}), "C": Confusion({("0", "0"): 1})}, "1")
    gap = gaps[OPPORTUNITY]
    assert (gap.low, gap.value, gap.certain, gap.sure) == ("B", 0.5, False, None)
    assert gap.empty == ("C",)


def test_a_sure_difference_of_two_large_groups_is_found_behind_a_tiny_extreme():
    a = Confusion({("1", "1"): 800, ("1", "0"): 200})
    b = Confusion({("1", "1"): 600, ("1", "0"): 400})
    tiny = Confusion({("1", "1"): 1})
    gap = fairness.fairness({"A": a, "B": b, "T": tiny}, "1")[OPPORTUNITY]
    assert (gap.high, gap.low, gap.certain) == ("T", "B", False)
    assert gap.sure is not None
    assert (gap.sure.high, gap.sure.low, gap.sure.value) == ("A", "B", pytest.approx(0.2))
    assert gap.sure.interval[0] > 0


def test_more_groups_widen_the_interval():
    a, b = Confusion({("1", "1"): 80, ("1", "0"): 20}), Confusion({("1", "1"): 50, ("1", "0"): 50})
    two = fairness.fairness({"A": a, "B": b}, "1")[OPPORTUNITY]
    three = fairness.fairness({"A": a, "B": b, "C": a}, "1")[OPPORTUNITY]
    assert three.value == two.value
    assert three.interval[0] < two.interval[0]


def _equal(r: np.random.Generator, groups: int, n: int, rate: float = 0.3) -> dict[str, Confusion]:
    found = {}
    for number in range(groups):
        k = int(r.binomial(n, rate))
        found[f"g{number}"] = Confusion({("1", "1"): k, ("1", "0"): n - k})
    return found


def test_many_equal_groups_are_seldom_called_different():
    """Twelve groups of one population, 400 times: at most 5 % may be called certain, uncorrected about 60 % would."""
    r = np.random.default_rng(7)
    gaps = [fairness.fairness(_equal(r, 12, 200), "1")[OPPORTUNITY] for _ in range(400)]
    assert sum(gap.certain for gap in gaps) / 400 <= 0.05
    assert sum(gap.sure is not None for gap in gaps) / 400 <= 0.05
    plain = sum(fairness.fairness({gap.high: _counts(gap, 0), gap.low: _counts(gap, 1)}, "1")[OPPORTUNITY].certain
                for gap in gaps)  # fmt: skip
    assert plain / 400 > 0.4


def _counts(gap: fairness.Gap, place: int) -> Confusion:
    k, n = gap.counts[place]
    return Confusion({("1", "1"): k, ("1", "0"): n - k})


def test_many_questions_at_once_are_corrected_together():
    r = np.random.default_rng(8)
    real = fairness.fairness({"A": Confusion({("1", "1"): 900, ("1", "0"): 100}),
                              "B": Confusion({("1", "1"): 500, ("1", "0"): 500})}, "1")[OPPORTUNITY]  # fmt: skip
    wrong = 0
    for _ in range(100):
        others = [fairness.fairness(_equal(r, 2, 300), "1")[OPPORTUNITY] for _ in range(20)]
        first, *rest = fairness.standing([real, *others])
        assert first
        wrong += sum(rest)
    assert wrong / 2000 <= 0.01
    assert fairness.standing([]) == []


def test_an_hour_is_good_bad_or_left_out():
    def groups(first: tuple[int, int], second: tuple[int, int]) -> dict[str, Confusion]:
        return {name: Confusion({("1", "1"): k, ("1", "0"): n - k}) for name, (k, n) in (("A", first), ("B", second))}

    bound = Fraction("0.1")
    assert fairness.within(groups((900, 1000), (880, 1000)), "1", OPPORTUNITY, bound) is True
    assert fairness.within(groups((900, 1000), (600, 1000)), "1", OPPORTUNITY, bound) is False
    assert fairness.within(groups((9, 10), (6, 10)), "1", OPPORTUNITY, bound) is None, "above, perhaps by chance"
    assert fairness.within(groups((9, 10), (9, 10)), "1", OPPORTUNITY, bound) is None, "ten rows could not have told"
    assert fairness.within(groups((9, 10), (0, 0)), "1", OPPORTUNITY, bound) is None, "one group alone"
    exact = groups((600, 1000), (500, 1000))
    assert fairness.within(exact, "1", OPPORTUNITY, bound) is True, "0.6 - 0.5 is not above 0.1"
    with pytest.raises(KeyError):
        fairness.within(exact, "1", "fairness", bound)
