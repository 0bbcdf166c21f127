"""What was counted of a model over a window: every merge that its quality is read from, in one read per summary."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

from tandem import bins
from tandem.measure import Filters, Measures
from tandem.records import Confusion, Histogram, Moments, Ratio, merged
from tandem.store.file import Kept

LOSSES = ("log_loss", "brier")
RATIOS = ("volume", "label_coverage")


@dataclass
class Counted:
    """The merges of one model under the question's filters; a segment "" is the whole."""

    component: str
    filters: Filters
    said_task: str | None
    positive: str
    volume: Ratio = field(default_factory=Ratio)
    coverage: Ratio = field(default_factory=Ratio)
    outcomes: Mapping[tuple[str, str], Confusion] = field(default_factory=dict)
    """By (version, segment)."""
    scores: Mapping[str, Histogram] = field(default_factory=dict)
    """By actual class; "" what has no label (or, of a model with several classes, all)."""
    losses: Mapping[str, Moments] = field(default_factory=dict)
    errors: Mapping[str, Moments] = field(default_factory=dict)
    error: Histogram | None = None
    faults: Mapping[str, int] = field(default_factory=dict)
    """Rows with a fault, by "column:reason"."""
    ages: Histogram | None = None

    @cached_property
    def confusion(self) -> Confusion:
        """The whole, or the segment that was asked for, over all versions that were asked for."""
        return _sum(one for (_, segment), one in self.outcomes.items() if segment == self.filters.segment)

    @cached_property
    def segments(self) -> Mapping[str, Confusion]:
        """Every segment over the versions that were asked for."""
        found: dict[str, list[Confusion]] = {}
        for (_, segment), one in self.outcomes.items():
            if segment:
                found.setdefault(segment, []).append(one)
        return {segment: _sum(some) for segment, some in found.items()}

    @property
    def task(self) -> str | None:
        """binary, multiclass or regression: as the source says, else as the counts look; None where nothing tells."""
        if self.said_task:
            return self.said_task
        if self.errors.get("error", Moments()).n or self.error is not None:
            return "regression"
        classes = {name for key in self.confusion.cells for name in key}
        return None if not classes else "binary" if len(classes) <= 2 else "multiclass"

    @property
    def relative(self) -> Moments | None:
        """Errors as a share of the true value; None where nobody counted them, which they are not where all are 0."""
        target = self.errors.get("target", Moments())
        return self.errors.get("relative") or (Moments() if target.n and not target.squares else None)

    @property
    def labelled(self) -> int:
        """Predictions that have their label."""
        return self.coverage.good if self.coverage.total else sum(self.confusion.cells.values())

    @cached_property
    def sides(self) -> tuple[Histogram, Histogram] | None:
        """Scores of the negatives and of the positives; None where no label has a score."""
        positive = self.scores.get(self.positive)
        others = [one for name, one in self.scores.items() if name not in ("", self.positive)]
        layout = next((one.layout for one in self.scores.values()), None)
        if layout is None or (positive is None and not others):
            return None
        none = Histogram(layout, {}, {})
        return (bins.merge(others).histogram if others else none), positive or none


def _sum(parts: Iterable[Confusion]) -> Confusion:
    return merged(Confusion({}), parts)


_known: WeakKeyDictionary[Measures, dict[str, Counted]] = WeakKeyDictionary()
"""What one question has read already: several parts of a page look at the same model."""


def counted(measures: Measures, component: str) -> Counted:
    """Everything counted of a model over the window."""
    return several(measures, [component])[component]


def several(measures: Measures, components: Sequence[str]) -> dict[str, Counted]:
    """Everything counted of some models over the window, all in one read per summary."""
    known = _known.setdefault(measures, {})
    left = [one for one in dict.fromkeys(components) if one not in known]
    if left:
        outcomes, ratios = _outcomes(measures, left), _ratios(measures, left)
        histograms, moments = _histograms(measures, left), _moments(measures, left)
        for one in left:
            known[one] = _counted(measures, one, outcomes[one], ratios[one], histograms[one], moments[one])
    return {one: known[one] for one in components}


def _counted(
    measures: Measures, component: str, outcomes: Mapping[tuple[str, str], Confusion], ratios: Mapping[str, Ratio],
    histograms: Mapping[tuple[str, str], Histogram], moments: Mapping[tuple[str, str], Moments],
) -> Counted:  # fmt: skip
    total = _sum(one for (_, segment), one in outcomes.items() if segment == measures.filters.segment)
    return Counted(
        component=component,
        filters=measures.filters,
        said_task=_said(measures, component),
        positive=measures.positive(component, total),
        volume=ratios.get("volume", Ratio()),
        coverage=ratios.get("label_coverage", Ratio()),
        outcomes=outcomes,
        scores={name: one for (signal, name), one in histograms.items() if signal == "score" and name not in LOSSES},
        losses={name: one for (signal, name), one in moments.items() if signal == "score"},
        errors={name: one for (signal, name), one in moments.items() if signal == "error"},
        error=histograms.get(("error", "")),
        faults={name: ratio.total for name, ratio in ratios.items() if name not in RATIOS},
        ages=histograms.get(("label_age", "")),
    )


def _said(measures: Measures, component: str) -> str | None:
    for source in measures.config.sources:
        if component in source.common.component and hasattr(source.config, "task"):
            return str(source.config.task)
    return None


def margins(measures: Measures, component: str, signal: str) -> list[Kept]:
    """Every series of a signal, of the whole and of every segment, under all filters but that of the segment."""
    filters = measures.filters
    return [
        kept for kept in measures.reader.series(component=component, signal=signal, stage=filters.stage,
                                                environment=filters.environment)
        if filters.version in ("", kept.placed.version)
    ]  # fmt: skip


def _outcomes(measures: Measures, components: Sequence[str]) -> dict[str, dict[tuple[str, str], Confusion]]:
    """By component, and by (version, segment)."""
    wanted = {(one, "outcome"): margins(measures, one, "outcome") for one in components}
    parts: dict[str, dict[tuple[str, str], list[Confusion]]] = {one: {} for one in components}
    for (component, _), rows in measures.gathered("confusion", wanted).items():
        for kept, cells in rows:
            value = measures.value("confusion", kept, cells)
            if isinstance(value, Confusion) and value.cells:
                parts[component].setdefault((kept.placed.version, kept.placed.segment), []).append(value)
    return {one: {key: _sum(some) for key, some in mine.items()} for one, mine in parts.items()}


def _ratios(measures: Measures, components: Sequence[str]) -> dict[str, dict[str, Ratio]]:
    """Volume and label coverage by signal, faults by "column:reason"."""
    wanted: dict[tuple[str, str], Sequence[Kept]] = {}
    for one in components:
        wanted |= {(one, signal): measures.series(one, signal) for signal in RATIOS}
        wanted[one, "valid_rows"] = [kept for kept in measures.every(one, "valid_rows") if kept.placed.name]
    found: dict[str, dict[str, Ratio]] = {one: {} for one in components}
    for (component, signal), rows in measures.gathered("ratio", wanted).items():
        mine = found[component]
        for kept, merge in rows:
            name = kept.placed.name if signal == "valid_rows" else signal
            mine[name] = mine.get(name, Ratio()) + Ratio(int(merge[0]), int(merge[1]))
    return found


def _histograms(measures: Measures, components: Sequence[str]) -> dict[str, dict[tuple[str, str], Histogram]]:
    """Scores by class, errors and the ages of labels, by (signal, name)."""
    wanted: dict[tuple[str, str], Sequence[Kept]] = {}
    for one in components:
        wanted[one, "score"] = [kept for kept in measures.every(one, "score") if kept.placed.name not in LOSSES]
        wanted[one, "error"] = [kept for kept in measures.every(one, "error") if not kept.placed.name]
        wanted[one, "label_age"] = measures.every(one, "label_age")
    parts: dict[str, dict[tuple[str, str], list[Histogram]]] = {one: {} for one in components}
    for (component, signal), rows in measures.gathered("histogram", _there(wanted)).items():
        for kept, merge in rows:
            key = signal, kept.placed.name
            parts[component].setdefault(key, []).append(_histogram(measures, kept, merge))
    return {one: {key: bins.merge(some).histogram for key, some in mine.items()} for one, mine in parts.items()}


def _histogram(measures: Measures, kept: Kept, merge: Any) -> Histogram:
    found = measures.value("histogram", kept, merge)
    assert isinstance(found, Histogram)
    return found


def _moments(measures: Measures, components: Sequence[str]) -> dict[str, dict[tuple[str, str], Moments]]:
    """Losses and errors by (signal, name)."""
    wanted: dict[tuple[str, str], Sequence[Kept]] = {}
    for one in components:
        wanted[one, "score"] = [kept for kept in measures.every(one, "score") if kept.placed.name in LOSSES]
        wanted[one, "error"] = [kept for kept in measures.every(one, "error") if kept.placed.name]
    parts: dict[str, dict[tuple[str, str], list[Moments]]] = {one: {} for one in components}
    for (component, signal), rows in measures.gathered("moments", _there(wanted)).items():
        for kept, merge in rows:
            value = measures.value("moments", kept, merge)
            assert isinstance(value, Moments)
            parts[component].setdefault((signal, kept.placed.name), []).append(value)
    return {one: {key: added(some) for key, some in mine.items()} for one, mine in parts.items()}


def added(parts: Sequence[Moments]) -> Moments:
    """The sum of moments on the finest quantum among them."""
    digits = max((one.digits for one in parts if one.n), default=0)
    n = sum(one.n for one in parts)
    total = sum(one.sum * 10 ** (digits - one.digits) for one in parts if one.n)
    squares = sum(one.squares * 100 ** (digits - one.digits) for one in parts if one.n)
    return Moments(n, total, squares, digits)


def _there(wanted: Mapping[tuple[str, str], Sequence[Kept]]) -> dict[tuple[str, str], Sequence[Kept]]:
    return {key: some for key, some in wanted.items() if some}
