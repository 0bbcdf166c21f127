"""Bins: merging by addition, quantiles and shares with honest bounds, layouts, quanta."""

import itertools
import math
from fractions import Fraction
from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tandem import bins
from tandem.bins import MISSING, OTHER, ZERO, Layout
from tandem.records import Histogram

LAYOUTS = (
    Layout(edges=(0.1, 0.3, 1.0), closed="right", digits=3, unit="s"),
    Layout(edges=(0.1, 0.2, 0.3, 1.0, 5.0), closed="right", digits=6, unit="s"),
    Layout(edges=(0.1, 0.25, 1.0), closed="right", digits=6, unit="s"),
)
EXPONENTIAL = tuple(Layout(kind="exponential", schema=schema, digits=3) for schema in (3, 0, -2))
CATEGORIES = tuple(
    Layout(kind="categories", values=values) for values in (("a", "b"), ("b", "c"), ("a", "b", "c", "d"))
)


def histogram(layout: Layout, values) -> Histogram:
    """Counted one by one, as a slow reference."""
    array = np.asarray(values, dtype=object if layout.kind == "categories" else np.float64)
    counts: dict[int, int] = {}
    sums: dict[int, int] = {}
    places = bins.codes(layout, array).tolist()
    amounts = [0] * len(places) if layout.digits is None else bins.quanta(array, layout.digits).tolist()
    for place, amount in zip(places, amounts, strict=True):
        counts[place] = counts.get(place, 0) + 1
        sums[place] = sums.get(place, 0) + amount
    return Histogram(layout, counts, {k: v for k, v in sums.items() if v})


numbers = st.lists(st.floats(0, 10, allow_nan=False).map(lambda x: round(x, 3)), max_size=20)
durations = st.tuples(st.sampled_from(LAYOUTS), numbers).map(lambda pair: histogram(*pair))
natives = st.tuples(st.sampled_from(EXPONENTIAL), numbers).map(lambda pair: histogram(*pair))
words = st.tuples(st.sampled_from(CATEGORIES), st.lists(st.sampled_from("abcdxyz"), max_size=20)).map(
    lambda pair: histogram(*pair)
)
triples = st.one_of(*(st.tuples(one, one, one) for one in (durations, natives, words)))


@settings(deadline=None)
@given(triples)
def test_merging_is_associative_and_commutative(three):
    a, b, c = three
    assert bins.add(a, b) == bins.add(b, a)
    assert bins.add(bins.add(a, b), c) == bins.add(a, bins.add(b, c)) == bins.merge((c, a, b)).histogram


@settings(deadline=None)
@given(durations)
def test_an_empty_histogram_is_zero(one):
    assert bins.add(one, Histogram(one.layout, {}, {})) == one


@settings(deadline=None)
@given(layout=st.sampled_from((*LAYOUTS, *EXPONENTIAL)), values=numbers, cuts=st.lists(st.integers(0, 20), max_size=4))
def test_any_split_merges_to_the_whole(layout, values, cuts):
    ends = [0, *sorted(min(cut, len(values)) for cut in cuts), len(values)]
    pieces = [histogram(layout, values[a:b]) for a, b in itertools.pairwise(ends)]
    assert bins.merge(pieces).histogram == histogram(layout, values)


@settings(deadline=None)
@given(values=numbers, split=st.integers(0, 20))
def test_layouts_merge_as_if_counted_on_the_shared_edges(values, split):
    a, b = histogram(LAYOUTS[0], values[:split]), histogram(LAYOUTS[1], values[split:])
    merged = bins.merge((a, b))
    assert merged.coarsened
    assert merged.histogram == histogram(Layout(edges=(0.1, 0.3, 1.0), closed="right", digits=6, unit="s"), values)


@settings(deadline=None)
@given(values=numbers, split=st.integers(0, 20))
def test_schemas_merge_as_if_counted_on_the_lower_one(values, split):
    fine, coarse = EXPONENTIAL[0], EXPONENTIAL[2]
    merged = bins.merge((histogram(fine, values[:split]), histogram(coarse, values[split:])))
    assert merged.coarsened
    assert merged.histogram == histogram(coarse, values)


def test_no_shared_edge_is_an_error():
    a = Histogram(Layout(edges=(1.0, 2.0)), {1: 1}, {})
    for other in (
        Layout(edges=(1.5,)),
        Layout(edges=(1.0, 2.0), closed="right"),
        Layout(kind="exponential"),
        Layout(kind="categories", values=("1.0",)),
    ):
        with pytest.raises(bins.NoSharedEdge):
            bins.add(a, Histogram(other, {0: 1}, {}))
    with pytest.raises(bins.NoSharedEdge, match="ms, s"):
        bins.add(Histogram(Layout(edges=(1.0,), unit="s"), {}, {}), Histogram(Layout(edges=(1.0,), unit="ms"), {}, {}))
    with pytest.raises(ValueError, match="nothing to merge"):
        bins.merge([])


def test_missing_sums_are_dropped_from_the_merge():
    a = Histogram(Layout(edges=(1.0,), digits=2), {0: 1, MISSING: 2}, {0: 50})
    b = Histogram(Layout(edges=(1.0,), approximate=True), {1: 3}, {})
    merged = bins.merge((a, b))
    assert merged.histogram == Histogram(Layout(edges=(1.0,), approximate=True), {0: 1, 1: 3, MISSING: 2}, {})
    assert not merged.coarsened


def test_categories_merge_by_value():
    a = Histogram(CATEGORIES[0], {0: 1, 1: 2}, {})
    b = Histogram(CATEGORIES[1], {0: 10, 1: 20}, {})
    assert bins.merge((a, b)) == bins.Merged(
        Histogram(Layout(kind="categories", values=("a", "b", "c")), {0: 1, 1: 12, 2: 20}, {}), coarsened=False
    )
    assert bins.merge((a, Histogram(CATEGORIES[1], {OTHER: 1}, {}))).coarsened


def test_missing_is_outside_totals_quantiles_and_shares():
    h = Histogram(Layout(edges=(1.0, 2.0), unit="s"), {1: 4, MISSING: 100}, {})
    assert bins.total(h) == 4
    assert bins.quantile(h, 0.5) == bins.Quantile(1.5, 1.0, 2.0)
    assert bins.share_below(h, 2) == bins.Share(4, 4, 4, 4)


def test_open_bins():
    unbounded, timed = Layout(edges=(1.0, 2.0)), Layout(edges=(1.0, 2.0), unit="s")
    assert bins.quantile(Histogram(timed, {0: 1}, {}), 0.5) == bins.Quantile(0.5, 0.0, 1.0)
    assert bins.quantile(Histogram(unbounded, {0: 1}, {}), 0.5) == bins.Quantile(1.0, -math.inf, 1.0, open_below=True)
    assert bins.quantile(Histogram(timed, {2: 1}, {}), 0.5) == bins.Quantile(2.0, 2.0, math.inf, open_above=True)
    assert bins.quantile(Histogram(timed, {}, {}), 0.5) is None
    assert bins.quantile(Histogram(timed, {MISSING: 1}, {}), 0.5) is None


def test_the_cumulative_count_is_compared_exactly():
    h = Histogram(Layout(edges=(0.0, 1.0, 2.0)), {1: 7, 2: 3}, {})
    assert bins.quantile(h, 0.7) == bins.Quantile(1.0, 0.0, 1.0)  # 0.7 * 10 is 7, and in floats 7.000000000000001


@settings(deadline=None)
@given(
    layout=st.sampled_from((*LAYOUTS, *EXPONENTIAL, bins.DURATION)),
    values=numbers.filter(bool),
    q=st.integers(1, 100).map(lambda n: n / 100),
)
def test_quantile_bounds_contain_the_exact_value(layout, values, q):
    exact = sorted(values)[math.ceil(Fraction(str(q)) * len(values)) - 1]
    found = bins.quantile(histogram(layout, values), q)
    assert found.low <= exact <= found.high
    assert found.low <= found.value <= found.high


@settings(deadline=None)
@given(layout=st.sampled_from((*LAYOUTS, *EXPONENTIAL)), values=numbers, threshold=st.integers(0, 10_000))
def test_share_bounds_contain_the_exact_count(layout, values, threshold):
    limit = Fraction(threshold, 1000)
    exact = sum(Fraction(str(value)) <= limit for value in values)
    share = bins.share_below(histogram(layout, values), limit)
    assert share.low == share.good <= exact <= share.high
    assert share.total == len(values)


def test_a_threshold_on_an_edge_is_exact_however_it_is_written():
    h = Histogram(LAYOUTS[0], {0: 1, 1: 2, 2: 4, 3: 8}, {})
    for threshold in ("0.3", 0.3, Fraction("0.3")):
        assert bins.share_below(h, threshold) == bins.Share(3, 15, 3, 3)
    assert bins.share_below(h, "0.29") == bins.Share(1, 15, 1, 3)
    assert bins.share_below(h, 10) == bins.Share(7, 15, 7, 15)


def test_share_within_a_tolerance():
    layout = bins.error_layout(40)
    h = histogram(layout, [-45.0, -6.0, -5.5, -4.5, 0.0, 0.1, 5.0, 5.1, 30.0])
    assert bins.share_within(h, 5) == bins.Share(4, 9, 4, 4)
    between = bins.share_within(h, "5.2")
    assert (between.low, between.high) == (4, 6)


def test_codes_count_the_edges_at_or_below():
    edges = (1.0, 2.0, 4.0)
    values = np.array([0.5, 1.0, 1.5, 2.0, 4.0, 9.0, np.nan, np.inf, -np.inf])
    assert bins.codes(Layout(edges=edges), values).tolist() == [0, 1, 1, 2, 3, 3, *[MISSING] * 3]
    assert bins.codes(Layout(edges=edges, closed="right"), values).tolist() == [0, 0, 1, 1, 2, 3, *[MISSING] * 3]
    words = np.array(["a", "z", None, float("nan")], dtype=object)
    assert bins.codes(CATEGORIES[0], words).tolist() == [0, OTHER, MISSING, MISSING]


@settings(deadline=None)
@given(schema=st.integers(-4, 8), value=st.floats(1e-9, 1e9))
def test_an_exponential_bin_holds_its_values(schema, value):
    layout = Layout(kind="exponential", schema=schema)
    (place,) = bins.codes(layout, np.array([value])).tolist()
    low, high = bins.bounds(layout, place)
    assert low < value <= high


def test_exponential_borders_belong_to_the_bin_below():
    layout = Layout(kind="exponential", schema=0)
    assert bins.codes(layout, np.array([0.0, 0.5, 1.0, 2.0, 2.1, 4.0])).tolist() == [ZERO, -1, 0, 1, 2, 2]
    with pytest.raises(ValueError, match="negative"):
        bins.codes(layout, np.array([-1.0]))


def test_columns():
    assert bins.columns(Layout(edges=(1.0, 2.0))) == (0, 1, 2)
    assert bins.columns(CATEGORIES[0]) == (0, 1, OTHER)


@pytest.mark.parametrize(
    ("largest", "digits"),
    [(0, 12), (1, 12), (1.5, 11), (-9.99, 11), (10, 11), (10.1, 10), (0.5, 12), (0.05, 13), (1e12, 0), (2.5e15, -4)],
)
def test_digits(largest, digits):
    assert bins.digits_of(largest) == digits


@settings(deadline=None)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_the_largest_magnitude_is_at_most_a_trillion_quanta(largest):
    digits = bins.digits_of(largest)
    (whole,) = bins.quanta(np.array([largest]), digits).tolist()
    assert abs(whole) <= 10**12
    assert abs(whole) >= 10**11 - 1 or abs(largest) < 1e-288


def test_quanta_round_half_to_even_as_python_does():
    values = np.array([0.5, 1.5, 2.5, -0.5, 1234.5678, np.nan, np.inf])
    assert bins.quanta(values, 0).tolist() == [0, 2, 2, 0, 1235, 0, 0]
    assert bins.quanta(values, 4)[4] == 12345678
    assert bins.quanta(np.array([123_456.0]), -3).tolist() == [123]
    huge = bins.quanta(np.array([1e30, 1.0]), 0)
    assert huge.dtype == object
    assert huge.tolist() == [10**30 + 19884624838656, 1]
    assert bins.quanta(np.array([2.0**1000, np.nan]), 300).tolist() == [2**1000 * 10**300, 0]


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), max_size=30), st.integers(0, 6))
def test_quanta_agree_with_plain_python(values, digits):
    expected = [round(value * 10**digits) for value in values]
    assert bins.quanta(np.array(values, dtype=np.float64), digits).tolist() == expected


def test_few_distinct_numbers_get_a_bin_each():
    layout = bins.feature_layout(np.array([3.0, 1.0, 2.0, 2.0, np.nan, -0.0, 0.0]))
    assert layout.edges == (0.0, 1.0, 2.0, 3.0)
    assert layout.closed == "left"
    assert math.copysign(1, layout.edges[0]) == 1
    assert bins.codes(layout, np.array([0.0, 1.0, 2.0, 3.0, -1.0])).tolist() == [1, 2, 3, 4, 0]


@pytest.mark.parametrize("constant", [0.0, 7.0, -1e15, 1e-320, 1e300])
def test_a_constant_has_a_bin_of_its_own(constant):
    layout = bins.feature_layout(np.full(5, constant))
    others = np.array([constant - abs(constant) - 1, constant, constant + abs(constant) + 1])
    assert bins.codes(layout, others).tolist() == [0, 1, 2]


def test_quantile_bins_are_exact():
    values = np.random.default_rng(1).lognormal(size=20_000)
    layout = bins.feature_layout(values)
    assert len(layout.edges) == 25
    counts = np.bincount(bins.codes(layout, values), minlength=26)
    assert counts.tolist() == [20, 80, 100, 800, *[1000] * 18, 800, 100, 80, 20]
    assert layout.digits == bins.digits_of(values.max())


def test_ties_drop_edges():
    values = np.concatenate([np.zeros(900), np.arange(1.0, 101.0)])
    edges = bins.feature_layout(values).edges
    assert edges == tuple(sorted(set(edges)))
    assert edges[0] == 0.0


def test_nothing_finite_makes_one_open_bin():
    layout = bins.feature_layout(np.array([np.nan, np.inf]))
    assert layout.edges == ()
    assert bins.codes(layout, np.array([5.0])).tolist() == [0]


@pytest.mark.parametrize("layout", [bins.SCORE, bins.DURATION, bins.error_layout(3.7), bins.error_layout(0)])
def test_constant_layouts_rise(layout):
    assert all(a < b for a, b in zip(layout.edges, layout.edges[1:], strict=False))


def test_score_and_error_layouts_are_symmetric():
    edges = np.array(bins.SCORE.edges)
    assert len(edges) == 149
    assert np.allclose(edges + edges[::-1], 1)
    assert 0.5 in bins.SCORE.edges
    errors = bins.error_layout(3.7).edges
    assert errors == tuple(-edge for edge in reversed(errors))
    assert {0.5, 1.0, 2.5, 10.0} <= set(errors)
    assert errors[-1] >= 37


def test_round_durations_are_edges():
    marks = {0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 1, 2, 5, 10, 30, 60, 300, 600, 1800, 3600, 30 * 86400}
    assert marks <= set(bins.DURATION.edges)
    assert bins.DURATION.closed == "right"


def test_merging_many_pieces_needs_no_order():
    pieces = [histogram(LAYOUTS[i % 3], [i / 10, 2.0]) for i in range(9)]
    assert bins.merge(reversed(pieces)).histogram == reduce(bins.add, pieces)


def test_zero_counts_do_not_decide_a_quantile():
    h = Histogram(Layout(edges=(1.0, 2.0), unit="s"), {0: 0, 1: 1}, {})
    found = bins.quantile(h, 0.0)
    assert found.low == 1.0
