"""One row of drift: a comparison with its name, the categories that came and went, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping

from tandem import bins, drift
from tandem.records import Histogram
from tandem.shown import FeatureDrift

PREDICTION, SCORE, LABEL = "(prediction)", "(score)", "(label)"
"""Rows that are no features."""
NAMED = 12
"""New or vanished categories that are named, the most frequent first."""
Named = tuple[tuple[str, int], ...]
"""Categories with their counts."""


def row(
    feature: str, kind: str, one: drift.Comparison, reference: Histogram, current: Histogram, reason: str = ""
) -> FeatureDrift:
    """A comparison as a row, with the categories that came and went."""
    fresh, vanished = categories(reference, current)
    return FeatureDrift(
        feature=feature, type=one.type, n_reference=one.n_reference, n_current=one.n_current, psi=one.psi, js=one.js,
        ks=one.ks, wasserstein=one.wasserstein, noise_floor=one.noise_floor, verdict="", severity="", drift=kind,
        effect=one.effect, p=one.p, chi_square_p=one.chi_square_p, bound=one.bound,
        wasserstein_bound=one.wasserstein_bound, hellinger=one.hellinger, total_variation=one.total_variation,
        l_infinity=one.l_infinity, missing_reference=reference.counts.get(bins.MISSING, 0),
        missing_current=current.counts.get(bins.MISSING, 0), fresh=fresh, vanished=vanished, reason=reason,
    )  # fmt: skip


def categories(
    reference: Histogram, current: Histogram
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """The categories that only the current side has, and those that only the reference has, with their counts."""
    if reference.layout.kind != "categories" or not bins.total(reference) or not bins.total(current):
        return (), ()
    was, there = _counts(reference), _counts(current)
    return _only(there, was), _only(was, there)


def _counts(histogram: Histogram) -> dict[str, int]:
    values = histogram.layout.values
    return {"other" if place == bins.OTHER else values[place]: n for place, n in histogram.counts.items()
            if n and place != bins.MISSING}  # fmt: skip


def _only(here: Mapping[str, int], there: Mapping[str, int]) -> Named:
    found = sorted(here.keys() - there.keys(), key=lambda value: (-here[value], value))
    return tuple((value, here[value]) for value in found[:NAMED])


def why(one: drift.Comparison) -> str:
    """Why there is not enough to compare; "" where there is."""
    empty = [name for name, n in (("the reference", one.n_reference), ("the window", one.n_current)) if not n]
    if empty:
        return f"no rows with a value in {' and in '.join(empty)}"
    if one.noise_floor is not None and one.noise_floor > drift.MODERATE:
        return "too few rows: the noise floor lies above the threshold"
    return ""
