"""Drift: against SciPy on raw rows, noise floors by simulation, and the vectorised form against the plain one."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats
from scipy.spatial.distance import jensenshannon

from tandem import bins, drift
from tandem.bins import MISSING, OTHER, Layout
from tandem.records import Histogram


def histogram(layout: Layout, values: np.ndarray) -> Histogram:
    places = bins.codes(layout, values)
    amounts = bins.quanta(values, layout.digits) if layout.digits is not None else np.zeros(len(values), dtype=np.int64)
    found = np.unique(places).tolist()
    counts = {place: int((places == place).sum()) for place in found}
    sums = {place: int(sum(amounts[places == place].tolist())) for place in found}
    return Histogram(layout, counts, sums if layout.digits is not None else {})


def categories(*counts: int) -> Histogram:
    layout = Layout(kind="categories", values=tuple(f"c{i}" for i in range(len(counts))))
    return Histogram(layout, {place: n for place, n in enumerate(counts) if n}, {})


def _both(name: str) -> tuple[np.ndarray, np.ndarray]:
    r = np.random.default_rng(11)
    n, m = 50_000, 40_000
    bimodal = np.concatenate([r.normal(-3, 0.5, n // 2), r.normal(3, 1, n // 2)])
    columns = {
        "normal": (r.normal(size=n), r.normal(0.3, 1.1, m)),
        "shifted": (r.normal(50, 3, n), r.normal(53, 3, m)),
        "lognormal": (r.lognormal(0, 1, n), r.lognormal(0.2, 1, m)),
        "bimodal": (bimodal, np.concatenate([r.normal(-3, 0.5, m // 4), r.normal(3, 1, m // 2)])),
        "heavy-tailed": (r.standard_t(3, n), 1.2 * r.standard_t(3, m) + 0.2),
        "counts": (r.poisson(30, n).astype(float), r.poisson(32, m).astype(float)),
        "zero-inflated": (r.exponential(size=n) * (r.random(n) < 0.4), r.exponential(size=m) * (r.random(m) < 0.5)),
    }
    return columns[name]


NAMES = ["normal", "shifted", "lognormal", "bimodal", "heavy-tailed", "counts", "zero-inflated"]


@pytest.mark.parametrize("name", NAMES)
def test_against_scipy_on_the_raw_rows(name):
    a, b = _both(name)
    layout = bins.feature_layout(a)
    found = drift.compare(histogram(layout, a), histogram(layout, b))
    assert found.type == "number"
    assert (found.n_reference, found.n_current) == (len(a), len(b))
    distance = stats.wasserstein_distance(a, b) / a.std()
    assert math.isclose(found.wasserstein, distance, abs_tol=0.005)
    assert abs(found.wasserstein - distance) <= found.wasserstein_bound + 0.005
    exact = stats.ks_2samp(a, b).statistic
    assert found.ks <= exact + 1e-12
    assert exact <= found.ks + found.bound + 1e-12


HEAVY = {
    "lognormal 1.5": (lambda r, n: r.lognormal(0, 1.5, n), lambda r, n: r.lognormal(0.3, 1.5, n)),
    "lognormal 2": (lambda r, n: r.lognormal(0, 2, n), lambda r, n: r.lognormal(0.3, 2, n)),
    "pareto 2.5": (lambda r, n: r.pareto(2.5, n) + 1, lambda r, n: 1.2 * (r.pareto(2.5, n) + 1)),
    "pareto 2.1": (lambda r, n: r.pareto(2.1, n) + 1, lambda r, n: 1.2 * (r.pareto(2.1, n) + 1)),
    "student 2.5": (lambda r, n: r.standard_t(2.5, n), lambda r, n: 1.3 * r.standard_t(2.5, n) + 0.2),
    "two-sided": (lambda r, n: r.lognormal(0, 1.5, n) * r.choice([-1, 1], n),
                  lambda r, n: 1.2 * r.lognormal(0, 1.5, n) * r.choice([-1, 1], n)),
}  # fmt: skip


@pytest.mark.parametrize("name", HEAVY)
@pytest.mark.parametrize("seed", range(3))
def test_a_known_deviation_is_right_for_the_heaviest_tails(name, seed):
    r = np.random.default_rng(seed)
    a, b = HEAVY[name][0](r, 50_000), HEAVY[name][1](r, 50_000)
    layout = bins.feature_layout(a)
    found = drift.compare(histogram(layout, a), histogram(layout, b), deviation=float(a.std()))
    exact = stats.wasserstein_distance(a, b) / a.std()
    assert math.isclose(found.wasserstein, exact, abs_tol=0.005)
    assert abs(found.wasserstein - exact) <= found.wasserstein_bound


@settings(deadline=None, max_examples=200)
@given(st.data())
def test_the_distance_of_any_values_lies_within_its_bound(data):
    """Values on and off the edges, few or many, of any shape: the bracket holds always."""
    number = st.integers(-40, 40).map(lambda whole: whole / 4)
    a, b = (np.array(data.draw(st.lists(number, min_size=1, max_size=40))) for _ in range(2))
    edges = tuple(float(x) for x in sorted(data.draw(st.sets(st.integers(-8, 8), min_size=1, max_size=6))))
    digits = data.draw(st.sampled_from([6, None]))
    layout = Layout(edges=edges, digits=digits)
    deviation = float(a.std()) or 1.0
    found = drift.compare(histogram(layout, a), histogram(layout, b), deviation=deviation)
    exact = stats.wasserstein_distance(a, b) / deviation
    if found.wasserstein_bound is None:
        assert digits is None
    else:
        assert abs(found.wasserstein - exact) <= found.wasserstein_bound + 1e-9
    assert found.ks - 1e-12 <= stats.ks_2samp(a, b).statistic <= found.ks + found.bound + 1e-12


def test_other_windows_borrow_the_shape_inside_the_bins_from_the_stored_reference():
    r = np.random.default_rng(1)
    stored, other = r.lognormal(0, 1.5, 50_000), r.lognormal(0.1, 1.5, 50_000)
    layout = bins.feature_layout(stored)
    known, whole = histogram(layout, stored), histogram(layout, other)
    tail = drift.tail_of(known, float(stored.std()))
    assert math.isclose(drift.deviation(known, tail), stored.std(), rel_tol=1e-9)
    assert abs(drift.deviation(whole, tail) / other.std() - 1) < 0.05
    assert drift.deviation(categories(1, 2)) is None


@pytest.mark.parametrize("name", NAMES)
def test_exact_measures_on_equal_bins(name):
    a, b = _both(name)
    layout = bins.feature_layout(a)
    ha, hb = histogram(layout, a), histogram(layout, b)
    found = drift.compare(ha, hb)
    p, q = (np.array([h.counts.get(i, 0) for i in bins.columns(layout)], dtype=float) for h in (ha, hb))
    kept = p + q > 0
    p, q = p[kept], q[kept]
    assert math.isclose(found.chi_square_p, stats.chi2_contingency([p, q], correction=False).pvalue, rel_tol=1e-9)
    if (p == 0).any() or (q == 0).any():
        p, q = p + 0.5, q + 0.5
    p, q = p / p.sum(), q / q.sum()
    assert math.isclose(found.js, jensenshannon(p, q, 2), rel_tol=1e-9)
    assert math.isclose(found.psi, float(((q - p) * np.log(q / p)).sum()), rel_tol=1e-9)


def test_without_sums_the_values_are_spread_inside_their_bins():
    r = np.random.default_rng(2)
    layout = Layout(edges=tuple(np.linspace(-5, 6, 111).tolist()))
    a, b = r.normal(size=50_000), r.normal(0.4, 1, 50_000)
    found = drift.compare(histogram(layout, a), histogram(layout, b))
    assert math.isclose(found.wasserstein, stats.wasserstein_distance(a, b) / a.std(), abs_tol=0.005)


def test_exponential_layouts_compare_over_their_whole_range():
    r = np.random.default_rng(2)
    a, b = r.lognormal(0, 0.5, 20_000), np.append(r.lognormal(0.2, 0.5, 20_000), 0.0)
    ha, hb = histogram(Layout(kind="exponential", schema=5), a), histogram(Layout(kind="exponential", schema=4), b)
    found = drift.compare(ha, hb)
    assert math.isclose(found.wasserstein, stats.wasserstein_distance(a, b) / a.std(), abs_tol=0.01)
    assert found.ks <= stats.ks_2samp(a, b).statistic <= found.ks + found.bound


def test_categories_have_no_order():
    found = drift.compare(categories(5, 3, 2), categories(4, 3, 3))
    assert found.type == "category"
    assert found.ks is found.wasserstein is found.bound is None
    assert found.effect == found.js
    assert found.p == found.chi_square_p


def test_missing_values_are_outside_and_bins_empty_on_both_sides_are_no_bins():
    a, b = categories(500, 300, 200), categories(400, 300, 300)
    more = Layout(kind="categories", values=("c0", "c1", "c2", "never"))
    also = Histogram(more, {0: 400, 1: 300, 2: 300, MISSING: 77}, {})
    assert drift.compare(a, also) == drift.compare(a, b)
    assert drift.compare(a, Histogram(more, {0: 400, 1: 300, 2: 300, OTHER: 1}, {})) != drift.compare(a, b)


@pytest.mark.parametrize(("a", "b"), [((), (1, 2)), ((1, 2), ()), ((), ())])
def test_nothing_counted_is_not_enough_data(a, b):
    found = drift.compare(categories(*a), categories(*b))
    assert found.effect is None
    assert drift.judge([found]) == [("not enough data", "none")]


def test_a_constant_feature_that_changes_drifts():
    layout = bins.feature_layout(np.array([7.0]))
    a, below, above = (histogram(layout, np.full(1000, value)) for value in (7.0, 3.0, 7.001))
    assert drift.compare(a, a).effect == 0
    for changed in (below, above):
        found = drift.compare(a, changed)
        assert found.wasserstein is None
        assert drift.judge([found]) == [("drift", "major")]


@settings(deadline=None)
@given(x=st.floats(0.001, 2000), df=st.integers(1, 200))
def test_chi_square_agrees_with_scipy(x, df):
    expected = float(stats.chi2.sf(x, df))
    assert math.isclose(drift.chi_square_sf(x, df), expected, rel_tol=1e-8, abs_tol=1e-13)


@pytest.mark.parametrize("df", [1, 2, 4, 9, 19, 100])
def test_the_95_percent_point_agrees_with_scipy(df):
    assert math.isclose(drift.chi_square_95(df), stats.chi2.isf(0.05, df), rel_tol=1e-10)
    assert drift.chi_square_95(0) == 0


@settings(deadline=None)
@given(st.floats(0.05, 6))
def test_kolmogorov_agrees_with_scipy(x):
    assert math.isclose(drift.kolmogorov(x), float(special.kolmogorov(x)), rel_tol=1e-9, abs_tol=1e-14)


def test_the_p_value_of_numbers_is_the_asymptotic_ks():
    a, b = _both("counts")
    a, b = a[:800], b[:700]
    layout = Layout(edges=tuple(float(x) for x in range(100)), digits=6)
    found = drift.compare(histogram(layout, a), histogram(layout, b))
    assert math.isclose(found.ks, stats.ks_2samp(a, b).statistic, abs_tol=1e-12)
    assert math.isclose(found.p, special.kolmogorov(found.ks * math.sqrt(800 * 700 / 1500)), rel_tol=1e-9)


SHAPES = {
    "normal": lambda r, n: r.normal(size=n),
    "lognormal": lambda r, n: r.lognormal(0, 1, n),
    "bimodal": lambda r, n: np.where(r.random(n) < 0.5, -3.0, 3.0) + r.normal(0, 0.3, n),
    "zero-inflated": lambda r, n: r.exponential(size=n) * (r.random(n) < 0.4),
}


@pytest.mark.parametrize("name", SHAPES)
def test_the_noise_floor_is_what_nothing_reaches(name):
    """On identical populations about 5 % of the comparisons may lie above it."""
    r = np.random.default_rng(9)
    reference = SHAPES[name](r, 20_000)
    layout = bins.feature_layout(reference)
    whole = histogram(layout, reference)
    found = [drift.compare(whole, histogram(layout, SHAPES[name](r, 1000))) for _ in range(200)]
    above = sum(one.effect > one.noise_floor for one in found) / len(found)
    assert above <= 0.12
    if name == "normal":
        assert above >= 0.01
        assert math.isclose(found[0].noise_floor / math.sqrt(1 / 20_000 + 1 / 1000), 2.1, rel_tol=0.05)
        assert drift.wasserstein_floor(whole, 1000) == found[0].noise_floor


def test_verdicts():
    assert drift.verdict(0.2, 0.05) == "drift"
    assert drift.verdict(0.08, 0.05) == "above noise, small"
    assert drift.verdict(0.04, 0.05) == "no drift"
    assert drift.verdict(0.5, 0.11) == "not enough data"
    assert drift.verdict(None, None) == "not enough data"
    assert drift.verdict(0.1, 0.05) == "above noise, small"
    assert [drift.severity(x) for x in (0.1, 0.11, 0.25, 0.26, None)] == [
        "none",
        "moderate",
        "moderate",
        "major",
        "none",
    ]


def test_one_of_many_features_must_stand_among_all_of_them():
    weak = drift.Comparison("number", 500, 500, p=0.04, effect=0.2, noise_floor=0.09)
    calm = drift.Comparison("number", 500, 500, p=0.9, effect=0.01, noise_floor=0.09)
    assert drift.judge([weak]) == [("drift", "moderate")]
    assert drift.judge([weak, calm, calm]) == [("no drift", "none")] * 3


def _hours_agree(reference: Histogram, currents: list[Histogram], threshold: float = 0.1) -> set[int]:
    places = bins.columns(reference.layout)
    counts = np.array([[h.counts.get(place, 0) for place in places] for h in currents])
    sums = np.array([[h.sums.get(place, 0) for place in places] for h in currents], dtype=object)
    answer = drift.hours(reference, counts, sums, threshold).tolist()
    meaning = {"drift": 0, "not enough data": -1, "no drift": 1, "above noise, small": 1}
    plain = [drift.compare(reference, h) for h in currents]
    assert answer == [meaning[drift.verdict(one.effect, one.noise_floor, threshold)] for one in plain]
    return set(answer)


def test_hours_agree_with_comparing_one_by_one():
    r = np.random.default_rng(4)
    reference = r.normal(size=20_000)
    layout = bins.feature_layout(reference)
    sizes = [0, 10, 300, 420, 480, 800, 2000, 2000, 2000, 2000]
    shifts = [0, 0, 1, 0, 0, 0.2, 0, 0.05, 0.1, 0.3]
    currents = [histogram(layout, r.normal(shift, 1, n)) for n, shift in zip(sizes, shifts, strict=True)]
    assert _hours_agree(histogram(layout, reference), currents) == {-1, 0, 1}


def test_hours_of_categories_and_constants():
    r = np.random.default_rng(4)
    currents = [categories(*r.multinomial(n, (0.5 - d, 0.3, 0.2 + d, 0)).tolist()) for n in (5, 900) for d in (0, 0.2)]
    currents.append(categories(0, 0, 0, 50))
    assert _hours_agree(categories(5000, 3000, 2000, 0), currents) == {-1, 0, 1}
    layout = bins.feature_layout(np.array([7.0]))
    constant = histogram(layout, np.full(1000, 7.0))
    assert _hours_agree(constant, [constant, histogram(layout, np.full(900, 3.0))]) == {0, 1}


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.integers(0, 50), min_size=4, max_size=4), min_size=1, max_size=6), st.floats(0.01, 2))
def test_hours_agree_for_any_counts(rows, threshold):
    layout = Layout(edges=(0.0, 1.0, 2.0), digits=1)
    reference = Histogram(layout, {0: 40, 1: 100, 2: 90, 3: 10}, {0: -400, 1: 500, 2: 1350, 3: 400})
    middles = (-10, 5, 15, 40)
    currents = [Histogram(layout, dict(enumerate(row)), {i: n * middles[i] for i, n in enumerate(row)}) for row in rows]
    _hours_agree(reference, currents, threshold)


def test_hours_without_a_reference_say_nothing():
    layout = Layout(edges=(1.0,), digits=1)
    assert drift.hours(Histogram(layout, {}, {}), np.ones((3, 2)), np.ones((3, 2))).tolist() == [-1, -1, -1]
