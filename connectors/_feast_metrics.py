"""What Feast's monitoring counted of features, day by day, on the bins of those features."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any

from connectors._feast import Words
from connectors._fields import Raw, Unusable, inside, rows_of, text_of
from connectors._said import Said
from connectors._sketched import Contradiction, Rebinning, categories, of_buckets
from tandem import times
from tandem.bins import total
from tandem.connect import Pull
from tandem.records import DAY, Fact, Histogram, Page, Record, Series, Slice, Stage, labels_of
from tandem.values import normal

STAGES: Mapping[str, Stage] = {"log": "production", "batch": "training"}
"""Serving logs are what models were given; the offline store is what they are trained on."""


@dataclass(frozen=True)
class Counted:
    """One feature on one day, as Feast's monitoring counted it."""

    project: str
    view: str
    feature: str
    day: int
    source: str
    computed: str
    raw: Raw


def counted_of(raw: Raw) -> Counted:
    """Raises Unusable for what is no daily metric of a feature."""
    try:
        day = date.fromisoformat(text_of(raw, "metric_date")[:10])
    except ValueError:
        raise Unusable("a metric has no day") from None
    feature = text_of(raw, "feature_name")
    if not feature:
        raise Unusable("a metric names no feature")
    since = (day - date(1970, 1, 1)).days * DAY
    return Counted(text_of(raw, "project_id"), text_of(raw, "feature_view_name"), feature, since,
                   text_of(raw, "data_source_type"), text_of(raw, "computed_at"), raw)  # fmt: skip


def newest(found: Sequence[Counted]) -> list[Counted]:
    """Of several counts of one feature and day the one computed last."""
    kept: dict[tuple[str, str, str, int, str], Counted] = {}
    for one in sorted(found, key=lambda one: one.computed):
        kept[one.project, one.view, one.feature, one.day, one.source] = one
    return sorted(kept.values(), key=lambda one: (one.day, one.project, one.view, one.feature, one.source))


class Metrics:
    """Counts of monitoring on the bins of their features."""

    def __init__(self, said: Said, bins: Rebinning) -> None:
        self.said = said
        self.bins = bins

    def references(self, found: Sequence[Counted], until: int) -> list[Record]:
        """Bins and references of features that have none."""
        grouped: dict[tuple[Series, bool], list[Any]] = {}
        for one in (one for one in found if one.day < until):
            told = self._told(one)
            if told is not None:
                grouped.setdefault((self.series(one), isinstance(told, Histogram)), []).append(told)
        records: list[Record] = []
        for (series, texts), some in grouped.items():
            learn: Any = self.bins.learn_texts if texts else self.bins.learn
            made = learn(series, some, found[0].day, until)
            records += [made] if made is not None else []
        return records

    def fact(self, one: Counted) -> Fact | None:
        """One feature's distribution on one day; None where it cannot be counted."""
        told, series = self._told(one), self.series(one)
        if told is None:
            return None
        missing = self._count(one.raw, "null_count")
        found = told if isinstance(told, Histogram) else self.bins.histogram(series, told, missing)
        return Fact(series, one.day, found) if total(found) or found.counts else None

    def series(self, one: Counted) -> Series:
        """Under the feature's own name; of two views with one name the label tells them apart."""
        labels = labels_of({"project": one.project, "feature_view": one.view})
        return Series("feature", labels, name=one.feature, stage=STAGES[one.source])

    def _told(self, one: Counted) -> Any:
        raw = inside(one.raw, "histogram")
        try:
            if isinstance(raw.get("bins"), list):
                edges, counts = raw["bins"], raw.get("counts")
                if not isinstance(counts, list) or len(edges) != len(counts) + 1:
                    raise Contradiction("its bins and counts do not fit")
                return of_buckets([(float(a), float(b), float(n)) for a, b, n in
                                   zip(edges, edges[1:], counts, strict=False)])  # fmt: skip
            if isinstance(raw.get("values"), list):
                return self._texts(one.raw, raw)
        except (Contradiction, TypeError, ValueError) as error:
            why = str(error) if isinstance(error, Contradiction) else "it holds what is no number"
            self.said.reject(f"the histogram of a feature cannot be used: {why}")
        return None

    def _texts(self, raw: Raw, histogram: Raw) -> Histogram:
        counts: dict[str, int] = {}
        for one in rows_of(histogram, "values"):
            text = normal(one.get("value"))
            if text is not None:
                counts[text] = counts.get(text, 0) + self._count(one, "count")
        other = self._count(histogram, "other_count")
        return categories(counts, self._count(raw, "null_count"), other, approximate=False)

    @staticmethod
    def _count(raw: Raw, name: str) -> int:
        found = raw.get(name, 0)
        if isinstance(found, bool) or not isinstance(found, int) or found < 0:
            raise Contradiction(f"{name} is no count")
        return found


def days_of(rows: Sequence[Any], words: Words, until: int) -> list[Counted]:
    """What counts of monitoring: daily, of days that have begun, of the views that are asked for."""
    found = []
    for raw in rows:
        try:
            if not isinstance(raw, dict):
                raise Unusable("what is there is no metric of a feature")
            one = counted_of(raw)
        except Unusable as error:
            words.reject(str(error))
            continue
        if one.source not in STAGES:
            words.remark(f'features counted from "{one.source[:40]}" are left out')
        elif text_of(raw, "granularity") == "daily" and one.day < until and words.wanted(one.view):
            found.append(one)
    return newest(found)


def pages_of(found: Sequence[Counted], metrics: Metrics, pull: Pull) -> Iterator[Page]:
    """A slice for each view, day and source of its counts."""
    references = metrics.references(found, found[0].day + 7 * DAY) if found else []
    if references:
        yield Page(references, covered=())
    for (day, project, view, source), some in groupby(sorted(found, key=_place), _place):
        facts = [fact for one in some for fact in [metrics.fact(one)] if fact is not None]
        name = f"feature:{project}/{view}:{source}:{times.text(day)[:10]}"
        digest = hashlib.sha256(repr(facts).encode("utf-8", "replace")).hexdigest()[:24]
        if facts and pull.taken(name) != digest:
            yield Page(facts, covered=(), slice=Slice(name, digest))


def _place(one: Counted) -> tuple[int, str, str, str]:
    """What a slice holds: all features of one view, day and source."""
    return one.day, one.project, one.view, one.source
