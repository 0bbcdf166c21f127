"""Distributions known at some points: put onto bins, counted against the values themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors._said import Said
from connectors._sketched import (
    Contradiction,
    Rebinning,
    categories,
    layout_of,
    mixed,
    of_buckets,
    of_items,
    of_quantiles,
    of_shares,
    onto,
)
from tandem.bins import MISSING, OTHER, Layout, total
from tandem.connect import Common, Pull
from tandem.records import Series

SHARES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
RNG = np.random.default_rng(7)
SHAPES: dict[str, np.ndarray[Any, Any]] = {
    "normal": RNG.normal(50, 10, 5000),
    "lognormal": RNG.lognormal(3, 1, 5000),
    "zeros": np.where(RNG.random(5000) < 0.6, 0.0, RNG.exponential(20, 5000)),
    "truths": (RNG.random(5000) < 0.4).astype(float),
    "constant": np.full(2000, 3.5),
    "counts": RNG.poisson(2, 5000).astype(float),
    "two": np.concatenate([RNG.normal(-5, 1, 2500), RNG.normal(5, 1, 2500)]),
}


def sketch_of(values: Any, shares: Any = SHARES) -> Any:
    """As whylogs tells a column: the value that each share of the values lie at or below."""
    return of_quantiles(len(values), [(p, float(np.quantile(values, p, method="inverted_cdf"))) for p in shares])


def buckets_of(values: Any, count: int = 10) -> Any:
    counts, edges = np.histogram(values, bins=count)
    return of_buckets([(float(a), float(b), float(n)) for a, b, n in zip(edges, edges[1:], counts, strict=False)])


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("make", [sketch_of, buckets_of])
def test_counts_below_an_edge_are_within_the_doubt_that_is_said(name: str, make: Any) -> None:
    """On edges that are not the sketch's own: those of another day."""
    values = SHAPES[name]
    edges = np.unique(np.quantile(np.random.default_rng(3).permutation(values)[:500] * 1.03 + 0.1, SHARES))
    edges = np.unique(np.concatenate([edges, [0.0, 1.0, values.min(), values.max()]]))
    layout = Layout(edges=tuple(edges.tolist()), digits=6, approximate=True)
    sketch = make(values)
    found = onto(sketch, layout, missing=7)
    assert total(found) == len(values)
    assert found.counts[MISSING] == 7
    exact = np.searchsorted(np.sort(values), edges, side="left")
    counted = np.cumsum([found.counts.get(place, 0) for place in range(len(edges))])
    room = sketch.doubt(edges) * len(values) + 0.5
    assert (np.abs(counted - exact) <= room).all()
    if make is sketch_of:
        assert sketch.doubt(edges).max() <= 0.25


@pytest.mark.parametrize("name", SHAPES)
def test_the_sums_of_bins_lie_in_their_bins_and_near_the_whole(name: str) -> None:
    values = SHAPES[name]
    sketch = sketch_of(values, np.linspace(0, 1, 201))
    layout = layout_of(sketch)
    found = onto(sketch, layout)
    scale = 10.0 ** -(layout.digits or 0)
    low = [min(values.min(), layout.edges[0]), *layout.edges]
    high = [*layout.edges, max(values.max(), layout.edges[-1])]
    for place, n in found.counts.items():
        mean = found.sums.get(place, 0) * scale / n
        assert low[place] - 1e-6 <= mean <= high[place] + 1e-6
    whole = sum(found.sums.values()) * scale / len(values)
    assert whole == pytest.approx(values.mean(), abs=0.02 * values.std() + 1e-9)


def test_what_a_sketch_has_kept_is_told_exactly() -> None:
    values = SHAPES["counts"]
    at, n = np.unique(values, return_counts=True)
    sketch = of_items(len(values), list(zip(at.tolist(), n.tolist(), strict=True)), 0.0)
    edges = np.array([0.0, 1.0, 2.5, 6.0, 40.0])
    assert sketch.doubt(edges).max() == 0
    exact = np.searchsorted(np.sort(values), edges, side="left") / len(values)
    assert np.allclose(sketch.share_below(edges), exact)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-40, 40), min_size=3, max_size=200),
    st.lists(st.integers(-45, 45), min_size=1, max_size=12, unique=True),
)
def test_no_edge_is_ever_off_by_more_than_its_doubt(values: list[int], edges: list[int]) -> None:
    numbers = np.array(values, dtype=float)
    at = np.sort(np.array(edges, dtype=float))
    exact = np.searchsorted(np.sort(numbers), at, side="left") / len(numbers)
    for sketch in (sketch_of(numbers), buckets_of(numbers)):
        assert (np.abs(sketch.share_below(at) - exact) <= sketch.doubt(at) + 1e-9).all()
        assert (np.diff(sketch.share_below(at)) >= -1e-12).all()


def test_a_mixture_is_what_all_values_together_would_be() -> None:
    parts = [SHAPES["normal"][:2000], SHAPES["lognormal"][:1000]]
    fine = np.linspace(0, 1, 401)
    whole = mixed([sketch_of(part, fine) for part in parts])
    both = np.sort(np.concatenate(parts))
    edges = np.quantile(both, np.linspace(0.02, 0.98, 25))
    exact = np.searchsorted(both, edges) / len(both)
    assert whole.n == 3000
    assert np.abs(whole.share_below(edges) - exact).max() < 0.004


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: of_quantiles(10, [(0.0, 5.0), (0.5, 1.0), (1.0, 9.0)]),
        lambda: of_quantiles(0, [(0.0, 5.0), (1.0, 9.0)]),
        lambda: of_quantiles(5, [(0.0, float("inf")), (1.0, float("inf"))]),
        lambda: of_buckets([(0.0, 1.0, 5.0), (2.0, 3.0, 5.0)]),
        lambda: of_buckets([(0.0, 1.0, -5.0), (1.0, 3.0, 9.0)]),
        lambda: of_buckets([(0.0, 1.0, 0.0)]),
        lambda: of_shares(4, [1.0, 2.0], [0.0, 0.6], [0.7, 1.0], 0.0),
    ],
)
def test_what_cannot_be_is_refused(wrong: Any) -> None:
    with pytest.raises(Contradiction):
        wrong()


def rebinning(in_force: Layout | None = None) -> Rebinning:
    common = Common("whylogs", "w", component=("m",))
    asked = lambda component, signal, name: in_force if (component, signal, name) == ("m", "feature", "x") else None  # noqa: E731
    said: Any = type("Config", (), {"common": common})()
    return Rebinning(Pull(0, 1 << 40, 1 << 40, layout=asked), Said(said), common)


def test_bins_in_force_go_before_and_are_marked() -> None:
    exact = Layout(edges=(0.0, 10.0, 50.0), digits=3)
    bins = rebinning(exact)
    series = Series("feature", name="x")
    assert bins.learn(series, [sketch_of(SHAPES["normal"])], 0, 3600) is None
    found = bins.histogram(series, sketch_of(SHAPES["normal"]))
    assert (found.layout.edges, found.layout.approximate) == (exact.edges, True)
    bins.remark()
    [said] = bins.said.findings()
    assert "x is put onto other bins" in said.reason
    assert "off by up to" in said.reason


def test_bins_are_made_of_the_first_thousand_values() -> None:
    bins = rebinning()
    series = Series("feature", name="y")
    assert bins.learn(series, [sketch_of(SHAPES["normal"][:400])], 0, 3600) is None
    assert bins.provisional
    made = rebinning().learn(
        series, [sketch_of(SHAPES["normal"][:600]), sketch_of(SHAPES["normal"][600:1300])], 0, 3600
    )
    assert made is not None
    assert total(made.histogram) == 1300
    assert made.histogram.layout.approximate


def test_categories_keep_what_is_missing_and_what_is_left() -> None:
    found = categories({"b": 3, "a": 5}, 2, 4, approximate=True)
    assert found.layout.values == ("a", "b")
    assert found.counts == {0: 5, 1: 3, OTHER: 4, MISSING: 2}
    many = categories({f"v{n:03}": n + 1 for n in range(150)}, 0, 0, approximate=False)
    assert len(many.layout.values) == 100
    assert many.counts[OTHER] == sum(range(1, 51))
