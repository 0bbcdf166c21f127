"""Share of feature-hours without drift, from the feature histograms of a transaction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import numpy as np

from tandem.bins import columns
from tandem.drift import hours
from tandem.records import DAY, HOUR, Fact, Ratio, Series
from tandem.store.references import stored

if TYPE_CHECKING:
    from tandem.store.file import Registry


@dataclass(frozen=True, slots=True, order=True)
class Touched:
    """A UTC day of a feature whose histograms changed."""

    component: str
    environment: str
    feature: str
    day: int


def drift_facts(
    cursor: duckdb.DuckDBPyConnection, names: Registry, source: int, touched: set[Touched]
) -> Iterator[Fact]:
    """What the drift ratios of the touched days change by: one feature-hour is good (no drift), bad, or left out.

    An hour with too little data is judged with its whole UTC day; where that is too little as well it is left out.
    Name "" is the sum over the features.
    """
    features: dict[tuple[str, str, str], list[int]] = {}
    for one in sorted(touched):
        features.setdefault((one.component, one.environment, one.feature), []).append(one.day)
    for (component, environment, feature), days in features.items():
        layout = names.baselines.get((component, "feature", feature))
        if layout is None:
            continue
        where = (component, environment, feature, source)
        new = _verdicts(cursor, names, layout, where, days)
        old = _stored(cursor, where, days)
        for ts in sorted(new.keys() | old.keys()):
            good, total = new.get(ts, (0, 0))
            before = old.get(ts, (0, 0))
            change = Ratio(good - before[0], total - before[1])
            if change != Ratio():
                series = Series("drift", component=component, environment=environment)
                yield Fact(Series("drift", component=component, environment=environment, name=feature), ts, change)
                yield Fact(series, ts, change)


def _verdicts(
    cursor: duckdb.DuckDBPyConnection, names: Registry, number: int, where: tuple[str, str, str, int], days: list[int]
) -> dict[int, tuple[int, int]]:
    known = stored(cursor, names, where[0], where[2])
    rows = cursor.execute(
        "SELECT h.ts, h.bin, sum(h.n), sum(h.sum) FROM histogram_hour h JOIN series s ON s.id = h.series "
        "WHERE s.component = ? AND s.environment = ? AND s.name = ? AND s.source = ? AND s.signal = 'feature' "
        "AND s.segment = '' AND s.stage = 'production' AND s.layout = ? AND h.bin > -32768 "
        "AND h.ts >= ? AND h.ts < ? AND (h.ts - h.ts % 86400) IN (SELECT unnest(?::BIGINT[])) "
        "GROUP BY h.ts, h.bin HAVING sum(h.n) <> 0",
        [*where, number, min(days), max(days) + DAY, days],
    ).fetchall()
    if not rows or known is None or not known[0].counts:
        return {}
    reference, deviation = known
    starts = sorted({ts for ts, *_ in rows})
    counts, sums = _matrix(rows, starts, columns(names.layout(number)))
    by_hour = hours(reference, counts, sums, deviation=deviation)
    day_of = np.array(starts) // DAY
    every_day, member = np.unique(day_of, return_inverse=True)
    day_counts = np.zeros((len(every_day), counts.shape[1]), dtype=np.int64)
    day_sums = np.zeros(day_counts.shape, dtype=sums.dtype)
    np.add.at(day_counts, member, counts)
    np.add.at(day_sums, member, sums)
    judged = np.where(by_hour >= 0, by_hour, hours(reference, day_counts, day_sums, deviation=deviation)[member])
    return {ts: (int(verdict), 1) for ts, verdict in zip(starts, judged, strict=True) if verdict >= 0}


def _matrix(
    rows: list[tuple[int, int, int, int]], starts: list[int], places: tuple[int, ...]
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    row_of = {ts: i for i, ts in enumerate(starts)}
    column_of = {place: i for i, place in enumerate(places)}
    counts = np.zeros((len(starts), len(places)), dtype=np.int64)
    sums = np.zeros((len(starts), len(places)), dtype=np.float64)
    for ts, place, n, total in rows:
        if place in column_of:
            counts[row_of[ts], column_of[place]] = n
            sums[row_of[ts], column_of[place]] = total
    return counts, sums


def _stored(
    cursor: duckdb.DuckDBPyConnection, where: tuple[str, str, str, int], days: list[int]
) -> dict[int, tuple[int, int]]:
    rows = cursor.execute(
        "SELECT r.ts, sum(r.good)::BIGINT, sum(r.total)::BIGINT FROM ratio_hour r JOIN series s ON s.id = r.series "
        "WHERE s.component = ? AND s.environment = ? AND s.name = ? AND s.source = ? AND s.signal = 'drift' "
        "AND (r.ts - r.ts % 86400) IN (SELECT unnest(?::BIGINT[])) GROUP BY r.ts",
        [*where, days],
    ).fetchall()
    return {ts: (good, total) for ts, good, total in rows}


__all__ = ["HOUR", "Touched", "drift_facts"]
