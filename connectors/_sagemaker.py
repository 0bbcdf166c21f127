"""What SageMaker's files say: statistics, violations, model quality, jobs, model packages and endpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from connectors._fields import YEAR, Raw, Unusable, inside, named, rows_of, text_of, time_of
from connectors._judged import Judgement
from connectors._profiled import Column
from connectors._sketched import Contradiction, Sketch, of_buckets, of_items
from tandem.records import Labels, Outcome, labels_of
from tandem.told import Direction
from tandem.values import normal

STATUS: Mapping[str, Outcome] = {
    "Completed": "good",
    "CompletedWithViolations": "bad",
    "no violations file": "excluded",
    "Failed": "excluded",
    "Stopped": "excluded",
    "InProgress": "open",
    "Stopping": "open",
    "Approved": "good",
    "Rejected": "bad",
    "PendingManualApproval": "open",
    "InService": "good",
    "Creating": "open",
    "Updating": "open",
    "SystemUpdating": "open",
    "RollingBack": "open",
    "UpdateRollbackFailed": "bad",
    "OutOfService": "bad",
    "Deleting": "excluded",
}
"""How a monitoring job, a model package and an endpoint stand; a job that failed says nothing of the data."""
HOURLY = re.compile(r"(?:(?P<place>.+)/)?(?P<day>\d{4}/\d{2}/\d{2})/(?P<hour>\d{2})/(?P<file>[^/]+)")
_DISTANCE = re.compile(r"distance: ([0-9.eE+-]{1,30}) exceeds threshold: ([0-9.eE+-]{1,30})")
_METRICS = ("binary_classification_metrics", "multiclass_classification_metrics", "regression_metrics")
_SKETCH = 2048
_DRIFT = "baseline_drift_check"
_S3 = re.compile(r"s3://[^/]+/(.+)")


@dataclass(frozen=True, order=True)
class Hour:
    """The folder of one hour of one schedule, or of one variant's captured data; `place` is ENDPOINT/SCHEDULE."""

    ts: int
    place: str

    @property
    def key(self) -> str:
        """What its events are called by."""
        return f"{self.place}@{datetime.fromtimestamp(self.ts, UTC):%Y-%m-%dT%H}"

    def labels(self, second: str) -> Labels:
        """The endpoint, and the schedule or variant, by the last two folders."""
        endpoint, _, rest = self.place.partition("/")
        return labels_of({"endpoint": endpoint, second: rest})


def hour_of(key: str) -> tuple[Hour, str] | None:
    """The hour and the file of a key PLACE/YYYY/MM/DD/HH/FILE; None for any other."""
    found = HOURLY.fullmatch(key)
    if found is None:
        return None
    try:
        when = datetime.strptime(f"{found['day']}/{found['hour']}", "%Y/%m/%d/%H").replace(tzinfo=UTC)
    except ValueError:
        return None
    place = "/".join(part for part in (found["place"] or "").split("/")[-2:] if part)
    return Hour(int(when.timestamp()), place), found["file"]


# -- statistics of data


def columns_of(document: Any, wrong: list[str]) -> list[Column]:
    """The features of a statistics.json; what cannot be used goes to `wrong`."""
    found = []
    for raw in rows_of(document, "features") if isinstance(document, dict) else ():
        name = text_of(raw, "name")
        try:
            found.append(_column(name, raw))
        except (Unusable, Contradiction) as error:
            wrong.append(f'the feature "{name[:60]}" cannot be used: {error}')
    return found


def _column(name: str, raw: Raw) -> Column:
    if not name:
        raise Unusable("it has no name")
    numeric, texts = inside(raw, "numerical_statistics"), inside(raw, "string_statistics")
    common = inside(numeric or texts, "common")
    present, missing = _count(common, "num_present"), _count(common, "num_missing")
    n = present + missing
    if numeric:
        return Column(name, n, missing, _numbers(present, inside(numeric, "distribution", "kll")))
    rows = inside(texts, "distribution", "categorical").get("buckets")
    if not isinstance(rows, list):
        return Column(name, n, missing)
    counts: dict[str, int] = {}
    for one in rows_of({"rows": rows}, "rows"):
        text = normal(one.get("value"))
        if text is not None:
            counts[text] = counts.get(text, 0) + _count(one, "count")
    if sum(counts.values()) > present:
        raise Unusable("its categories count more values than are present")
    return Column(name, n, missing, None, counts, present - sum(counts.values()), approximate=False)


def _count(raw: Raw, name: str) -> int:
    found = raw.get(name)
    if isinstance(found, bool) or not isinstance(found, int | float) or not 0 <= found < 2**53 or found != int(found):
        raise Unusable(f"{name} is no count")
    return int(found)


def _numbers(present: int, kll: Raw) -> Sketch | None:
    """The values that the sketch has kept where it tells them, each worth 2 to the power of its level, else buckets."""
    if not present or not kll:
        return None
    size = inside(kll, "sketch", "parameters").get("k")
    k = float(size) if isinstance(size, int | float) and 8 <= size <= 1e6 else _SKETCH
    error = 2.296 / k**0.9723  # DataSketches' bound for a rank, 99 %
    levels = inside(kll, "sketch").get("data") or ()
    try:
        kept = [(float(value), float(1 << level)) for level, some in enumerate(levels) for value in some]
        if abs(sum(weight for _, weight in kept) - present) <= present / 200:
            return of_items(present, kept, error if len(levels) > 1 else 0.0)
        buckets = [(float(one["lower_bound"]), float(one["upper_bound"]), float(one["count"]))
                   for one in kll.get("buckets") or ()]  # fmt: skip
    except (KeyError, TypeError, ValueError):
        raise Unusable("its distribution holds what is no number") from None
    if not buckets:
        return None
    if abs(sum(count for *_, count in buckets) - present) > present / 100:
        raise Contradiction("its buckets count other values than are present")
    return of_buckets(buckets, error, n=present)


# -- model quality


@dataclass(frozen=True)
class Quality:
    """What a model quality job measured: a confusion matrix by (actual, predicted), and bare numbers by name."""

    cells: Mapping[tuple[str, str], int]
    metrics: Mapping[str, float]


def quality_of(document: Any) -> Quality | None:
    """None for statistics of another kind; raises Unusable for a matrix that its own metrics contradict."""
    told = next((found for name in _METRICS if (found := inside(document, name))), None)
    if told is None:
        return None
    metrics = {}
    for name, raw in told.items():
        value = raw.get("value") if isinstance(raw, dict) else None
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            metrics[name] = float(value)
    cells: dict[tuple[str, str], int] = {}
    for actual, row in inside(told, "confusion_matrix").items():
        for predicted in row if isinstance(row, dict) else ():
            key = (normal(actual) or "", normal(predicted) or "")
            cells[key] = cells.get(key, 0) + _count(row, predicted)
    cells = {key: n for key, n in cells.items() if n}
    _check(cells, metrics)
    return Quality(cells, metrics)


def _check(cells: Mapping[tuple[str, str], int], metrics: Mapping[str, float]) -> None:
    """Rows are actual classes, as the recall that stands beside them says; another reading is refused."""
    total = sum(cells.values())
    if not total:
        return
    accuracy = sum(n for (actual, predicted), n in cells.items() if actual == predicted) / total
    if abs(metrics.get("accuracy", accuracy) - accuracy) > 1e-6:
        raise Unusable("its confusion matrix has another accuracy than it states")
    classes = sorted({name for key in cells for name in key})
    if "recall" in metrics and len(classes) == 2:
        recalls = [cells.get((one, one), 0) / max(sum(n for (actual, _), n in cells.items() if actual == one), 1)
                   for one in classes]  # fmt: skip
        if min(abs(metrics["recall"] - one) for one in recalls) > 1e-6:
            raise Unusable("its confusion matrix has another recall than it states")


# -- violations


@dataclass(frozen=True)
class Violation:
    """One constraint that does not hold."""

    feature: str
    check: str
    said: str


def violations_of(document: Any) -> list[Violation]:
    """The violations of a file, none for a list without any; raises Unusable for what is no such file."""
    if not isinstance(document, dict) or not isinstance(document.get("violations"), list):
        raise Unusable("is no file of violations")
    return [Violation(text_of(one, "feature_name") or text_of(one, "metric_name"),
                      text_of(one, "constraint_check_type"), text_of(one, "description"))
            for one in rows_of(document, "violations")]  # fmt: skip


def judgements(found: Sequence[Violation], constraints: Any, columns: Sequence[Column]) -> Iterator[Judgement]:
    """The verdict on the drift of every feature that was compared, with the distance where it is said."""
    rule = inside(constraints, "monitoring_config", "distribution_constraints")
    if rule.get("perform_comparison") == "Disabled":
        return
    drifted = {one.feature: one for one in found if one.check == _DRIFT}
    texts = {column.name for column in columns if column.categories is not None}
    names = {column.name for column in columns} | drifted.keys()
    for name in sorted(names):
        category = name in texts
        word = text_of(rule, "categorical_drift_method" if category else "comparison_method")
        method = f"{word or 'unnamed'} distance"
        threshold = rule.get("categorical_comparison_threshold" if category else "comparison_threshold")
        limit = float(threshold) if isinstance(threshold, int | float) and not isinstance(threshold, bool) else None
        # Of chi-squared only SageMaker knows which way its number goes.
        direction: Direction = "told" if word == "ChiSquared" else ">"
        said = drifted.get(name)
        number = _DISTANCE.search(said.said) if said else None
        value, told = (_number(number[1]), _number(number[2])) if number else (None, None)
        yield Judgement(name, method, direction, value, told if told is not None else limit, stated=said is not None)


def _number(text: str) -> float | None:
    try:
        value = float(text.rstrip("."))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


# -- what the command line of AWS prints


@dataclass(frozen=True)
class Job:
    """How a monitoring job ended, and of which hour."""

    hour: Hour
    word: str
    ended: int


def job_of(document: Any) -> Job:
    """The job of `describe-processing-job`; raises Unusable where it tells of no hour of monitoring."""
    outputs = rows_of(inside(document, "ProcessingOutputConfig"), "Outputs")
    places = [_S3.fullmatch(named(one, "S3Output", "S3Uri").rstrip("/")) for one in outputs]
    hours = [found[0] for place in places if place and (found := hour_of(f"{place[1]}/x")) is not None]
    if not hours:
        raise Unusable("a processing job writes into no folder of an hour")
    word = text_of(document, "ProcessingJobStatus")
    if word == "Completed" and text_of(document, "ExitMessage").startswith("CompletedWithViolations"):
        word = "CompletedWithViolations"
    return Job(hours[0], word, when_of(document, "ProcessingEndTime", 0))


def when_of(raw: Raw, name: str, default: int | None = None) -> int:
    """Epoch seconds of a time as AWS' command line prints it, ISO 8601 or a number; raises Unusable."""
    found = raw.get(name)
    if isinstance(found, int | float) and not isinstance(found, bool) and YEAR <= found < 1e11:
        return int(found)
    return time_of(raw, name, default)
