"""Facts added up under the components that their labels belong to, where many labels may belong to one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from tandem import place
from tandem.bins import NoSharedEdge, merge
from tandem.connect import Common
from tandem.records import Confusion, Fact, Finding, Histogram, Ratio, Series

Value = Ratio | Histogram | Confusion


@dataclass
class Added:
    """Sums by series and bucket; what no component is known for keeps its labels, so that it is shown as unmatched."""

    common: Common
    ratios: dict[tuple[Series, int], Ratio] = field(default_factory=dict)
    confusions: dict[tuple[Series, int], Confusion] = field(default_factory=dict)
    histograms: dict[tuple[Series, int], list[Histogram]] = field(default_factory=dict)
    rejected: Counter[tuple[str, str]] = field(default_factory=Counter)
    left_out: set[tuple[Series, int]] = field(default_factory=set)
    _known: dict[Series, Sequence[Series]] = field(default_factory=dict)

    def placed(self, series: Series) -> Sequence[Series]:
        """The series under its components, without the labels that led there; itself where nothing matches."""
        found = self._known.get(series)
        if found is None:
            found = [_unlabelled(one) for one in place.series_of(series, self.common)] or [series]
            self._known[series] = found
        return found

    def components(self, series: Series) -> Sequence[str]:
        """The components of a series; none where nothing matches."""
        return [one.component for one in self.placed(series) if one.component]

    def add(self, series: Series, ts: int, value: Value) -> None:
        """Count `value` in the bucket `ts`; an empty one is nothing."""
        for one in self.placed(series):
            if isinstance(value, Ratio):
                if value.total:
                    self.ratios[one, ts] = self.ratios.get((one, ts), Ratio()) + value
            elif isinstance(value, Confusion):
                self.confusions[one, ts] = self.confusions.get((one, ts), Confusion({})) + value
            elif value.counts:
                self._histogram(self.histograms.setdefault((one, ts), []), value)

    @staticmethod
    def _histogram(known: list[Histogram], value: Histogram) -> None:
        for position, other in enumerate(known):
            if other.layout == value.layout:
                known[position] = other + value
                return
        known.append(value)

    def leave_out(self, series: Series, ts: int) -> None:
        """Drop a bucket that cannot be known, whatever else was counted in it."""
        self.left_out |= {(one, ts) for one in self.placed(series)}

    def facts(self) -> list[Fact]:
        """Every sum, in order of time; histograms of several layouts are merged on the bounds they share."""
        found = [Fact(series, ts, ratio) for (series, ts), ratio in self.ratios.items()]
        found += [Fact(series, ts, confusion) for (series, ts), confusion in self.confusions.items()]
        for (series, ts), parts in self.histograms.items():
            try:
                found.append(Fact(series, ts, merge(parts).histogram))
            except NoSharedEdge:
                self.rejected["histograms share no bound, so the bucket cannot be merged", series.signal] += 1
        return sorted((one for one in found if (one.series, one.ts) not in self.left_out), key=_order)

    def findings(self) -> Iterator[Finding]:
        """What could not be added up; call it after `facts`."""
        for (reason, where), count in sorted(self.rejected.items()):
            yield Finding("reject", reason, where, count)


def _unlabelled(series: Series) -> Series:
    return Series(
        series.signal, (), series.component, series.name, series.version, series.segment, series.environment,
        series.stage,
    )  # fmt: skip


def _order(fact: Fact) -> tuple[object, ...]:
    one = fact.series
    return fact.ts, one.signal, one.component, one.labels, one.name, one.version, one.segment, one.environment
