"""Labels and answers of two sides of a model: label drift, and concept drift where answers get worse alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, TypeVar

from tandem import drift, drift_row, wording
from tandem.bins import Layout
from tandem.records import Confusion, Histogram, Moments, merged
from tandem.shown import FeatureDrift
from tandem.slo import Z95, newcombe

if TYPE_CHECKING:
    from tandem.apart import Side

V = TypeVar("V")
ARRIVED = 0.9
"""Labels have come when their share reaches this part of the reference's."""
JUDGED = 0.5
"""Share of the features that must have rows enough before it is said that none of them moved."""


def confusions(side: Side) -> dict[str, Confusion]:
    """Labelled predictions of a side per (actual, predicted), by the version that answered."""
    found: dict[str, Confusion] = _by_version(side, "confusion", "outcome", "")
    return found


def moments(side: Side, name: str) -> dict[str, Moments]:
    """Moments of a regression by version: of its "target", or of its "absolute" errors."""
    found: dict[str, Moments] = _by_version(side, "moments", "error", name)
    return found


def _by_version(side: Side, kind: str, signal: str, name: str) -> Any:
    """The merges of a signal by version, read once."""
    if kind + name not in side.kept:
        measures, component = side.measures, side.component
        found: dict[str, Any] = {}
        for kept, cells in measures.merges(kind, component, signal, measures.series(component, signal, name)):
            part = measures.value(kind, kept, cells)
            version = kept.placed.version
            found[version] = found[version] + part if version in found else part
        side.kept[kind + name] = found
    return side.kept[kind + name]


def labels(current: Side, reference: Side, n: int, before: int) -> tuple[FeatureDrift, drift.Comparison] | None:
    """The row of the labels of so many rows on each side; None for a model that has none on either."""
    was, there = classes(current, reference)
    if was.layout.values:
        one = drift.compare(was, there)
        reason = drift_row.why(one) or _still(one, n, before)
        return drift_row.row(drift_row.LABEL, "label drift", one, was, there, reason), one
    now, then = (merged(Moments(), moments(side, "target").values()) for side in (current, reference))
    return _numbers(then, now) if now.n or then.n else None


def _actual(found: Confusion) -> dict[str, int]:
    counts: dict[str, int] = {}
    for (actual, _), n in found.cells.items():
        counts[actual] = counts.get(actual, 0) + n
    return counts


def classes(current: Side, reference: Side) -> tuple[Histogram, Histogram]:
    """How often each class was the label, in the reference and on the current side."""
    then, now = (_actual(merged(Confusion({}), confusions(side).values())) for side in (reference, current))
    layout = Layout(kind="categories", values=tuple(sorted({*then, *now})))
    place = {value: index for index, value in enumerate(layout.values)}
    was, there = (Histogram(layout, {place[value]: n for value, n in side.items()}, {}) for side in (then, now))
    return was, there


def _still(one: drift.Comparison, n: int, before: int) -> str:
    """What to know of labels that are not all there yet, when fewer have come than in the reference."""
    if not n or not before or one.n_current * before >= ARRIVED * one.n_reference * n:
        return ""
    now, then = min(one.n_current / n, 1.0), min(one.n_reference / before, 1.0)
    return f"labels are still arriving: {now:.0%} of the rows have theirs, {then:.0%} in the reference"


def _numbers(then: Moments, now: Moments) -> tuple[FeatureDrift, drift.Comparison]:
    one = drift.Comparison("number", then.n, now.n)
    told = " and ".join(f"{_mean(side):.4g} ± {_deviation(side):.3g} {name}"
                        for side, name in ((then, "in the reference"), (now, "in the window")) if side.n)  # fmt: skip
    reason = f"of a regression's labels only mean and deviation are kept: {told}"
    empty = Histogram(Layout(), {}, {})
    return drift_row.row(drift_row.LABEL, "label drift", one, empty, empty, reason), one


def _mean(side: Moments) -> float:
    return side.sum / side.n * 10.0**-side.digits


def _deviation(side: Moments) -> float:
    return math.sqrt(max(side.n * side.squares - side.sum**2, 0)) / side.n * 10.0**-side.digits


# -- concept drift


def concept(current: Side, reference: Side, rows: Sequence[FeatureDrift]) -> tuple[str, str]:
    """A sentence on concept drift, and else a remark where answers got worse for another reason; "" without evidence.

    Concept drift: one version answers worse than it did, beyond the interval (Bonferroni over the versions that
    answered on both sides), while the features hold. Two versions are never pooled: their shares move accuracy too.
    """
    held = _held(rows)
    if not held:
        return "", ""
    now, then = confusions(current), confusions(reference)
    far, near = moments(current, "absolute"), moments(reference, "absolute")
    same = sorted({*now} & {*then} | {*far} & {*near}, key=lambda one: (len(one), one))
    for version in reversed(same):
        sides = _only(now, version), _only(then, version), _only(far, version), _only(near, version)
        worse = _less_right(*sides[:2], len(same)) or _further_off(*sides[2:], len(same))
        if worse:
            first, verb, rest = worse
            named = f" of version {version}" if version else ""
            return f"Concept drift: {first}{named} {verb} {rest} while {held}: the same data now mean other labels.", ""
    other = _less_right(now, then) or _further_off(far, near)
    if not other:
        return "", ""
    mine, theirs = (", ".join(sorted({*some, *more})) or "none" for some, more in ((now, far), (then, near)))
    said = f"{' '.join(other)} while {held}"
    return "", f"{said[0].upper()}{said[1:]}, but other versions answered ({mine}; in the reference {theirs})."


def _held(rows: Sequence[FeatureDrift]) -> str:
    """That the data hold, in words; "" where a feature drifted, or too few could be judged."""
    features = [row for row in rows if row.drift == "data drift"]
    judged = [row for row in features if row.verdict != "not enough data"]
    if not judged or len(judged) < JUDGED * len(features) or any(row.verdict == "drift" for row in judged):
        return ""
    left = len(features) - len(judged)
    beside = f" ({left} more have too few rows)" if left else ""
    return ("its feature's data hold" if len(judged) == 1 else f"the data of its {len(judged)} features hold") + beside


def _only(sides: Mapping[str, V], version: str) -> dict[str, V]:
    return {version: sides[version]} if version in sides else {}


def _less_right(
    now: Mapping[str, Confusion], then: Mapping[str, Confusion], of: int = 1
) -> tuple[str, str, str] | None:
    """What fell, how, and from what to what; None where the interval of the change reaches 0."""
    (k1, n1), (k0, n0) = (_right(merged(Confusion({}), side.values())) for side in (now, then))
    interval = newcombe(k1, n1, k0, n0, _z(of)) if n0 and n1 else None
    if interval is None or interval[1] >= 0:
        return None
    change = 100 * (k1 / n1 - k0 / n0)
    low, high = (100 * value for value in interval)
    return "accuracy", "fell", (
        f"from {wording.percent(k0, n0)} to {wording.percent(k1, n1)} ({change:.2f} points, "
        f"95 % interval {low:.2f} to {high:.2f})"
    )  # fmt: skip


def _z(of: int) -> float:
    """The two-sided 95 % point of each of so many comparisons."""
    return Z95 if of == 1 else NormalDist().inv_cdf(1 - 0.025 / of)


def _right(found: Confusion) -> tuple[int, int]:
    return sum(n for (actual, said), n in found.cells.items() if actual == said), sum(found.cells.values())


def _further_off(now: Mapping[str, Moments], then: Mapping[str, Moments], of: int = 1) -> tuple[str, str, str] | None:
    one, other = merged(Moments(), now.values()), merged(Moments(), then.values())
    if one.n < 2 or other.n < 2:
        return None
    change = _mean(one) - _mean(other)
    half = _z(of) * math.sqrt(_deviation(one) ** 2 / one.n + _deviation(other) ** 2 / other.n)
    if change - half <= 0:
        return None
    return "the mean absolute error", "rose", (
        f"from {_mean(other):.4g} to {_mean(one):.4g} (by {change:.3g}, "
        f"95 % interval {change - half:.3g} to {change + half:.3g})"
    )  # fmt: skip
