"""What statistics and anomalies of TensorFlow Data Validation say: columns of a profile, and findings about them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from connectors._fields import FAR, Unusable
from connectors._judged import Judgement
from connectors._profiled import Column
from connectors._sketched import Contradiction, Sketch, of_buckets, of_shares
from connectors._tfdv_messages import Message
from tandem.values import normal

QUANTILE_ERROR = 0.01
"""Rank error of TFDV's quantiles, by its default (StatsOptions.epsilon)."""
WHOLE = ("", "All Examples", "lhs_statistics", "rhs_statistics")
"""What TFDV calls a dataset that is no slice of another."""
_STATS = ("num_stats", "string_stats", "bytes_stats", "struct_stats")
_EMPTY: Message = {}


@dataclass(frozen=True)
class Dataset:
    """The statistics of one dataset; `wrong` says which features cannot be used."""

    name: str
    rows: int
    columns: Sequence[Column]
    wrong: Sequence[str]


@dataclass(frozen=True)
class Fault:
    """What TFDV holds against a feature, or against the whole data where there is no feature."""

    feature: str
    severity: str
    reasons: Sequence[str]


@dataclass(frozen=True)
class Anomalies:
    """What one validation found, and the distances that it measured; `no_data` where there was nothing to validate."""

    faults: Sequence[Fault]
    judgements: Sequence[Judgement]
    no_data: bool = False

    @property
    def word(self) -> str:
        """What the validation came to."""
        if self.no_data:
            return "no data"
        severities = {one.severity for one in self.faults}
        known = [word for word in ("ERROR", "WARNING") if word in severities]
        return known[0] if known else "no anomalies" if not severities else sorted(severities)[0]


def _first(message: Message, name: str, default: Any) -> Any:
    return message.get(name, [default])[-1]


# -- statistics


Domains = Mapping[str, frozenset[str]]
"""The values that a schema allows, by the name of the feature."""


def domains(schema: Message) -> dict[str, frozenset[str]]:
    """The features whose values a schema names."""
    shared = {_first(one, "name", ""): frozenset(one.get("value", ())) for one in schema.get("string_domain", ())}
    found: dict[str, frozenset[str]] = {}
    for feature in schema.get("feature", ()):
        own = _first(feature, "string_domain", None)
        values = frozenset(own.get("value", ())) if own else shared.get(_first(feature, "domain", ""))
        if values:
            found[_first(feature, "name", "")] = values
    return found


def datasets(message: Message, allowed: Domains | None = None) -> Iterator[Dataset]:
    """Every dataset of a file of statistics; values that are not `allowed` are unseen."""
    for one in message.get("datasets", ()):
        rows = _first(one, "num_examples", 0)
        columns: list[Column] = []
        wrong: list[str] = []
        for feature in one.get("features", ()):
            name = _name(feature)
            try:
                columns += [_judged(column, (allowed or {}).get(name)) for column in _columns(name, feature, rows)]
            except (Unusable, Contradiction) as error:
                wrong.append(f'the feature "{name[:60]}" cannot be used: {error}')
        yield Dataset(_first(one, "name", ""), rows, columns, wrong)


def _name(message: Message) -> str:
    """A feature's name; that of one within others with all of its steps."""
    return ".".join(_first(message, "path", _EMPTY).get("step", ())) or str(_first(message, "name", ""))


def _columns(name: str, feature: Message, rows: int) -> Iterator[Column]:
    """The column of a feature; none of one that only holds others."""
    for kind in _STATS[:3]:
        if kind in feature:
            told = feature[kind][-1]
            common = _first(told, "common_stats", _EMPTY)
            present, missing = _count(common, "num_non_missing"), _count(common, "num_missing")
            if present > rows:
                raise Unusable("it is there more often than there are rows")
            if present + missing != rows:
                missing = 0  # within another feature: how often it lacks is told of the rows that have the other one
            values = _count(common, "tot_num_values") or present
            yield _column(Column(name, rows, missing), kind, told, values)


def _column(plain: Column, kind: str, told: Message, values: int) -> Column:
    if kind == "num_stats":
        histograms = told.get("histograms", ())
        nan = max((_count(one, "num_nan") for one in histograms), default=0)
        if nan > values:
            raise Unusable("it has more values that are no number than values")
        lost = min(nan, plain.n - plain.missing)
        sketch = _sketch(histograms, values - nan)
        return Column(plain.name, plain.n, plain.missing + lost, sketch)
    if kind == "string_stats":
        return _texts(plain, told, values)
    return plain


def _judged(column: Column, allowed: frozenset[str] | None) -> Column:
    """A column with how many of its named values its schema does not know; of those that are not named nobody can tell.

    A feature with several values in a row can have more of them than rows.
    """
    if allowed is None or column.categories is None:
        return column
    known = {normal(one) for one in allowed}
    unseen = sum(n for value, n in column.categories.items() if value not in known)
    return replace(column, unseen=min(unseen, column.n - column.missing))


def _count(message: Message, name: str) -> int:
    value = _first(message, name, 0)
    if not 0 <= value < FAR:
        raise Unusable(f"{name} is no count")
    return int(value)


def _sketch(histograms: Sequence[Message], values: int) -> Sketch | None:
    """The quantiles, and between them what the histogram of equal widths tells; its counts are estimates of TFDV."""
    if not values:
        return None
    kinds: dict[str, list[tuple[float, float, float]]] = {}
    for one in histograms:
        buckets = [(_first(b, "low_value", 0.0), _first(b, "high_value", 0.0), _first(b, "sample_count", 0.0))
                   for b in one.get("buckets", ())]  # fmt: skip
        if sum(count for _, _, count in buckets) > 0:
            kinds.setdefault(_first(one, "type", "STANDARD"), buckets)
    parts = [of_buckets(kinds[kind], QUANTILE_ERROR, values) for kind in ("QUANTILES", "STANDARD") if kind in kinds]
    if not parts:
        return None
    return _together(*parts) if len(parts) == 2 else parts[0]


def _together(quantiles: Sketch, widths: Sketch) -> Sketch:
    """Quantiles with the edges of equal widths between them, which never leave what the quantiles allow."""
    at = np.setdiff1d(widths.values, quantiles.values)
    at = at[(at > quantiles.values[0]) & (at < quantiles.values[-1])]
    place = np.searchsorted(quantiles.values, at)
    share = np.clip(widths.share_below(at), quantiles.upto[place - 1], quantiles.below[place])
    values = np.concatenate([quantiles.values, at])
    order = np.argsort(values)
    below = np.concatenate([quantiles.below, share])[order]
    upto = np.concatenate([quantiles.upto, share])[order]
    return of_shares(quantiles.n, values[order].tolist(), below.tolist(), upto.tolist(), quantiles.error)


def _texts(plain: Column, told: Message, values: int) -> Column:
    counts: dict[str, int] = {}
    for bucket in _first(told, "rank_histogram", _EMPTY).get("buckets", ()):
        said = normal(_first(bucket, "label", ""))
        count = _first(bucket, "sample_count", 0.0)
        if not 0 <= count < FAR:
            raise Unusable("a value of it has no count")
        if said is not None:
            counts[said] = counts.get(said, 0) + round(count)
    other = values - sum(counts.values())
    if other < 0:
        raise Unusable("its values are counted more often than there are any")
    return Column(plain.name, plain.n, plain.missing, None, counts, other, approximate=other > 0)


# -- anomalies


def anomalies(message: Message) -> Anomalies:
    """What a file of anomalies says."""
    faults = [_fault(_first(one, "value", _EMPTY), _first(one, "key", "")) for one in message.get("anomaly_info", ())]
    faults += [_fault(one, "") for one in message.get("dataset_anomaly_info", ())]
    judged = [judgement for one in message.get("drift_skew_info", ()) for judgement in _judgements(one)]
    return Anomalies(faults, judged, bool(_first(message, "data_missing", 0)))


def _fault(info: Message, key: str) -> Fault:
    """Its reasons in TFDV's short words: the long ones name values of the data."""
    reasons = [_first(one, "short_description", "") for one in info.get("reason", ())]
    found = [one for one in reasons if one] or [_first(info, "short_description", "")]
    return Fault(_name(info) or key, _first(info, "severity", "UNKNOWN"), found)


def _judgements(info: Message) -> Iterator[Judgement]:
    for way in ("drift", "skew"):
        for one in info.get(f"{way}_measurements", ()):
            threshold = _first(one, "threshold", None)
            yield Judgement(
                _name(info), f"{_first(one, 'type', 'UNKNOWN')} {way}", ">", _first(one, "value", 0.0), threshold
            )
