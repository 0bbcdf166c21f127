"""Captured data of an endpoint: what it was given and what it answered, as exact histograms by hour."""

from __future__ import annotations

import base64
import binascii
import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from connectors._fields import Raw, Unusable, inside, rows_of, text_of, time_of
from connectors._files import documents
from connectors._json import BadJson, BrokenJson, strict
from connectors._said import Said
from connectors._sketched import ENOUGH, categories
from tandem import bins
from tandem.bins import MISSING, Layout
from tandem.connect import Common, Item, Pull
from tandem.place import series_of
from tandem.records import HOUR, Baseline, Fact, Histogram, Labels, Record, Series, bucket_of
from tandem.values import normal

LEARNED = 20_000
"""Captured rows of the first pull that bins are made of."""
_ANSWERS = ("predicted_label", "prediction", "predictions", "score", "probability")

Values = dict[tuple[str, int], list[Any]]
"""The values by name and hour; "" is the prediction."""


@dataclass
class Captured:
    """What one file of captured data holds."""

    labels: Labels
    values: Values = field(default_factory=dict)
    rows: int = 0


def read(item: Item, labels: Labels, columns: Sequence[str], until: int, said: Said) -> Captured:
    """The predictions of a file and, where their columns are named, the features; an event id counts once."""
    found, seen = Captured(labels), set()
    for document in documents(item):
        try:
            event = inside(document, "eventMetadata")
            key, ts = text_of(event, "eventId"), time_of(event, "inferenceTime")
            if key and key in seen:
                said.remark("captured events that stand twice in a file count once")
                continue
            seen.add(key)
            if ts >= until:
                continue
            data = inside(document, "captureData")
            answers = _answers(inside(data, "endpointOutput")) if "endpointOutput" in data else []
            given = _given(inside(data, "endpointInput"), columns) if columns and "endpointInput" in data else []
        except Unusable as error:
            said.reject(f"a captured event cannot be used: {error}")
            continue
        found.rows += max(len(answers), len(given))
        for value in answers:
            found.values.setdefault(("", bucket_of(ts, HOUR)), []).append(value)
        for row in given:
            for name, value in row.items():
                found.values.setdefault((name, bucket_of(ts, HOUR)), []).append(value)
    return found


def _data(raw: Raw) -> tuple[str, str]:
    """The captured text and how it is written."""
    encoding, text = text_of(raw, "encoding").upper(), text_of(raw, "data")
    if encoding != "BASE64":
        return text, encoding
    try:
        decoded = base64.b64decode(text, validate=True).decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        raise Unusable("its data is no text in base64") from None
    return decoded, "JSON" if "json" in text_of(raw, "observedContentType") else "CSV"


def _rows(text: str) -> list[list[str]]:
    try:
        return [row for row in csv.reader(text.splitlines(), strict=True) if row]
    except csv.Error:
        raise Unusable("its data is no sound CSV") from None


def _json(text: str) -> Any:
    try:
        return strict(text)
    except (BadJson, BrokenJson):
        raise Unusable("its data is no sound JSON") from None


def _answers(raw: Raw) -> list[Any]:
    """The first column of CSV; of JSON what a prediction is usually called."""
    text, encoding = _data(raw)
    if encoding == "CSV":
        return [row[0] for row in _rows(text)]
    if encoding == "JSON":
        return list(_answered(_json(text)))
    raise Unusable(f"its data is written as {encoding[:20] or 'nothing'}")


def _answered(document: Any) -> Iterator[Any]:
    if isinstance(document, list):
        for one in document:
            yield from _answered(one)
    elif isinstance(document, dict):
        name = next((name for name in _ANSWERS if name in document), None)
        if name is None:
            raise Unusable("its answer names no prediction")
        yield from _answered(document[name])
    else:
        yield document


def _given(raw: Raw, columns: Sequence[str]) -> list[Mapping[str, Any]]:
    text, encoding = _data(raw)
    if encoding == "CSV":
        return [_named(row, columns) for row in _rows(text)]
    if encoding != "JSON":
        raise Unusable(f"its data is written as {encoding[:20] or 'nothing'}")
    document = _json(text)
    instances = rows_of(document, "instances") if isinstance(document, dict) and "instances" in document else [document]
    return [_named(one["features"], columns) if isinstance(one, dict) and isinstance(one.get("features"), list)
            else {name: one.get(name) for name in columns} if isinstance(one, dict) else _named(one, columns)
            for one in instances]  # fmt: skip


def _named(row: Any, columns: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(row, list) or len(row) != len(columns):
        raise Unusable(
            f"a row has {len(row) if isinstance(row, list) else 'no'} columns where {len(columns)} are named"
        )
    return dict(zip(columns, row, strict=True))


# -- onto bins


@dataclass
class Counting:
    """Captured values on the bins of their features: those in force, or made of the first ones."""

    pull: Pull
    common: Common
    made: dict[tuple[str, str, str], Layout] = field(default_factory=dict)
    provisional: bool = False

    def learn(self, some: Iterable[Captured]) -> list[Record]:
        """Bins and references of what has none, from the first files."""
        grouped: dict[str, tuple[Labels, list[Any], list[int]]] = {}
        for one in some:
            for (name, hour), values in one.values.items():
                _, known, hours = grouped.setdefault(name, (one.labels, [], []))
                known += values
                hours.append(hour)
        found: list[Record] = []
        for name, (labels, values, hours) in grouped.items():
            series = _series(name, labels)
            key = self._key(series)
            if self._known(key) is not None or not key[0]:
                continue
            if len(values) < ENOUGH:
                self.provisional = True
            numbers = _numbers(values)
            if numbers is not None:
                self.made[key] = bins.feature_layout(numbers)
            if len(values) >= ENOUGH:
                whole = self._histogram(key, values)
                found.append(Baseline(replace(series, labels=labels), whole, min(hours), max(hours) + HOUR))
        return found

    def facts(self, one: Captured) -> list[Fact]:
        """Every histogram of a file."""
        found = []
        for (name, hour), values in sorted(one.values.items()):
            series = _series(name, one.labels)
            found.append(Fact(series, hour, self._histogram(self._key(series), values)))
        return found

    def _histogram(self, key: tuple[str, str, str], values: Sequence[Any]) -> Histogram:
        layout, numbers = self._known(key), _numbers(values)
        if numbers is None or (layout is not None and layout.kind == "categories"):
            return _texts(values)
        if layout is None:
            layout = self.made[key] = bins.feature_layout(numbers)
            self.provisional = True
        places = bins.codes(layout, numbers)
        counts = {int(place): int(n) for place, n in zip(*np.unique(places, return_counts=True), strict=True)}
        sums: dict[int, int] = {}
        if layout.digits is not None:
            amounts = bins.quanta(numbers, layout.digits)
            for place, amount in zip(places.tolist(), amounts.tolist(), strict=True):
                if place != MISSING:
                    sums[place] = sums.get(place, 0) + int(amount)
        return Histogram(layout, counts, sums)

    def _known(self, key: tuple[str, str, str]) -> Layout | None:
        if key not in self.made and key[0]:
            found = self.pull.layout(*key)
            if found is not None:
                self.made[key] = found
        return self.made.get(key)

    def _key(self, series: Series) -> tuple[str, str, str]:
        placed = series_of(series, self.common)
        return (placed[0].component if placed else "", series.signal, series.name)


def _series(name: str, labels: Labels) -> Series:
    return Series("feature", labels, name=name) if name else Series("prediction", labels)


def _numbers(values: Sequence[Any]) -> np.ndarray[Any, Any] | None:
    """The values as numbers, what is missing as NaN; None where some is a text."""
    found = []
    for value in values:
        try:
            found.append(float("nan") if value in (None, "") or isinstance(value, bool) else float(value))
        except (TypeError, ValueError):
            return None
    return np.array(found, dtype=np.float64)


def _texts(values: Sequence[Any]) -> Histogram:
    counts: dict[str, int] = {}
    for value in values:
        text = normal(value)
        if text is not None:
            counts[text] = counts.get(text, 0) + 1
    return categories(counts, len(values) - sum(counts.values()), 0, approximate=False)
