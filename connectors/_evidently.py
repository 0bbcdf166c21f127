"""What a report of Evidently holds, read from every form it is written in.

Evidently 0.7 writes a report as small JSON and as a snapshot in a workspace; 0.4 to 0.6 wrote other ones of both. The
counts of a confusion matrix stand in the snapshot only, inside a drawing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._evidently_old import METHODS, Old, is_old
from connectors._fields import Raw, finite, inside, rows_of, text_of, whole
from connectors._judged import Judgement

NEW = "evidently:metric_v2:"
UNKNOWN_METHODS = "a drift value by a method that Tandem does not know has no verdict"
MANY_MISS = "several columns miss values: how many rows are valid is not in the report"
NO_COUNTS = "the confusion matrix of a report does not agree with its accuracy; its counts are left out"
_NAMES = {"f1_score": "f1", "f1_by_label": "f1_by_label"}
_SILENT = frozenset({
    "type", "tests", "share_tests", "count_tests", "mean_tests", "std_tests", "conf_matrix", "pr_curve", "pr_table",
    "roc_curve", "drift_share", "method", "threshold", "cat_method", "num_method", "text_method", "cat_threshold",
    "num_threshold", "text_threshold", "nbinsx",
})  # fmt: skip
"""What a metric is drawn or judged by does not tell it apart from another."""
_PLAIN = frozenset({"column", "label", "embeddings_name", "column_name"})
_DEFAULTS = frozenset({"classification_name", "regression_name", "ranking_name"})
_FAULTS = {"MissingValueCount": "missing", "OutRangeValueCount": "out of range", "OutListValueCount": "unseen category"}
_TEXT = 80
_LONG = 200
_WHOLE = 1e-9

Cells = dict[tuple[str, str], int]


@dataclass(frozen=True)
class Test:
    """One test of a report; `identity` is what it checks, whatever its numbers are."""

    identity: str
    name: str
    status: str


@dataclass
class Contents:
    """What one report says. `hidden`: it has a confusion matrix, whose counts this form of it does not show."""

    numbers: dict[str, float] = field(default_factory=dict)
    judgements: dict[str, Judgement] = field(default_factory=dict)
    tests: dict[str, Test] = field(default_factory=dict)
    confusion: Cells | None = None
    rows: int | None = None
    faults: dict[tuple[str, str], int] = field(default_factory=dict)
    invalid: int | None = None
    """Rows with a missing value, where the report counts rows."""
    missing: int | None = None
    """Missing values in all columns together."""
    hidden: bool = False
    remarks: list[str] = field(default_factory=list)

    @property
    def valid(self) -> int | None:
        """Rows without a fault; None where that cannot be told exactly, as where several columns have some."""
        if self.rows is None or not (self.faults or self.invalid is not None or self.missing is not None):
            return None
        missing = sum(n for (_, reason), n in self.faults.items() if reason == "missing")
        bad = [n for n in self.faults.values() if n]
        if self.invalid is not None:
            return self.rows - self.invalid if sum(bad) == missing else None
        if self.missing not in (None, missing) or len(bad) > 1:
            return None
        return self.rows - sum(bad)

    def newer(self, other: Contents) -> None:
        """Take over what a newer report of the same time says, metric by metric; tests belong to their own report."""
        self.numbers |= other.numbers
        self.judgements |= {
            key: one for key, one in other.judgements.items() if not one.rounded or key not in self.judgements
        }
        self.confusion = other.confusion or self.confusion
        if other.rows is not None:
            self.rows, self.faults, self.invalid, self.missing = other.rows, other.faults, other.invalid, other.missing


@dataclass(frozen=True)
class Head:
    """What a snapshot says of itself; `timestamp` as it is written.

    `identity` is what it is counted under where its time was only taken from the file, for that may change.
    """

    id: str = ""
    name: str = ""
    timestamp: str = ""
    tags: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    identity: str = ""
    url: str = ""
    """Where people read the report."""


def head_of(raw: Any) -> Head:
    """The head of a snapshot, of an entry of the service's list, or of a report of 0.4 to 0.6."""
    told = raw if isinstance(raw, dict) else {}
    tags = told.get("tags")
    given = {str(name): value for name, value in inside(told, "metadata").items()}
    return Head(
        text_of(told, "id"), text_of(told, "name")[:_LONG], text_of(told, "timestamp"),
        tuple(str(tag)[:_LONG] for tag in tags if isinstance(tag, str | int)) if isinstance(tags, list) else (),
        {name[:_LONG]: str(value)[:_LONG] for name, value in given.items() if isinstance(value, str | int | float)},
    )  # fmt: skip


def is_snapshot(raw: Any) -> bool:
    """Whether it is a file of a workspace, of 0.7 or before."""
    return isinstance(raw, dict) and ("metric_results" in raw or ("suite" in raw and "timestamp" in raw))


def contents_of(raw: Any) -> Contents:
    """What a report says; raises ValueError for what is none."""
    if not isinstance(raw, dict):
        raise ValueError("it is no report of Evidently")
    if is_snapshot(raw):
        return _of_snapshot(raw) if "metric_results" in raw else _of_old(inside(raw, "suite"), snapshot=True)
    if is_old(raw):
        return _of_old(raw, snapshot=False)
    if isinstance(raw.get("metrics"), list) or isinstance(raw.get("tests"), list):
        return _of_report(raw)
    raise ValueError("it is no report of Evidently")


# -- 0.7


@dataclass(frozen=True)
class _Metric:
    id: str
    params: Raw
    value: Any

    @property
    def kind(self) -> str:
        return str(self.params.get("type", "")).rpartition(":")[2]


def _of_report(raw: Raw) -> Contents:
    metrics = [
        _Metric(text_of(one, "id"), _params(one), one.get("value"))
        for one in rows_of(raw, "metrics")
    ]  # fmt: skip
    return _gathered(metrics, rows_of(raw, "tests"))


def _params(one: Raw) -> Raw:
    """The settings of a metric; early reports of 0.7 only wrote them as text, "ValueDrift(column=amount)"."""
    config = inside(one, "config")
    if config:
        return config
    kind, _, told = (text_of(one, "metric_name") or text_of(one, "metric_id")).partition("(")
    pairs = (part.partition("=") for part in re.split(r",(?=[a-z_]+=)", told.removesuffix(")")))
    return {"type": NEW + kind, **{name: value for name, sign, value in pairs if sign}}


def _of_snapshot(raw: Raw) -> Contents:
    results = [one for one in inside(raw, "metric_results").values() if isinstance(one, dict)]
    metrics = []
    for one in results:
        place = inside(one, "metric_value_location", "metric")
        metrics.append(_Metric(text_of(place, "metric_id"), inside(place, "params"), _plain(one)))
    found = _gathered(metrics, [test for one in results for test in rows_of(one, "tests")])
    found.hidden = False
    add_counts(found, counts_in([widget for one in results for widget in rows_of(one, "widget")]))
    return found


def _plain(result: Raw) -> Any:
    """The value of a result as the small JSON has it."""
    if "value" in result:
        return result["value"]
    for name in ("count", "mean"):
        if isinstance(result.get(name), dict):
            other = "share" if name == "count" else "std"
            return {name: _plain(result[name]), other: _plain(inside(result, other))}
    if isinstance(result.get("counts"), dict):
        return {name: _plains(inside(result, name)) for name in ("counts", "shares")}
    return _plains(inside(result, "values"))


def _plains(values: Raw) -> dict[str, Any]:
    return {label: _plain(one) if isinstance(one, dict) else one for label, one in values.items()}


def _gathered(metrics: Sequence[_Metric], tests: Sequence[Raw]) -> Contents:
    found = Contents()
    stated: dict[str, bool] = {}
    for test in tests:
        config = inside(test, "metric_config")
        of = _label(inside(config, "params"))
        one = Test(f"{of}:{text_of(test, 'id')}", text_of(test, "name")[:200], text_of(test, "status"))
        found.tests[one.identity] = one
        if text_of(test, "id") == "drift" and one.status in ("FAIL", "SUCCESS"):
            stated[text_of(config, "metric_id")] = one.status == "FAIL"
    for metric in metrics:
        if metric.kind == "ValueDrift":
            _judge(found, metric, stated.get(metric.id))
        else:
            _count(found, metric)
            for name, value in _numbers(_label(metric.params), metric.value):
                found.numbers[name] = value
        found.hidden = found.hidden or metric.params.get("conf_matrix") is True
    if found.valid is None and found.rows is not None and (found.missing or any(found.faults.values())):
        found.remarks.append(MANY_MISS)
    return found


def _judge(found: Contents, metric: _Metric, stated: bool | None) -> None:
    value = finite(metric.value)
    if value is None:
        return
    method = text_of(metric.params, "method") or "a method of its own choice"
    threshold = metric.params.get("threshold")
    # The service and old reports write numbers as text.
    limit = _float(threshold) if isinstance(threshold, str) else finite(threshold)
    judged = Judgement(text_of(metric.params, "column"), method, METHODS.get(method, "told"), value, limit,
                       stated=stated)  # fmt: skip
    if judged.drift is None:
        found.remarks.append(UNKNOWN_METHODS)
    found.judgements[judged.key] = judged


def _float(text: str) -> float | None:
    try:
        return finite(float(text))
    except ValueError:
        return None


def _count(found: Contents, metric: _Metric) -> None:
    """Rows, and how many of a column have a fault."""
    value = metric.value
    if metric.kind == "RowCount":
        found.rows = whole(value)
    elif metric.kind == "DatasetMissingValueCount" and isinstance(value, dict) and not metric.params.get("columns"):
        found.missing = whole(value.get("count"))
    elif metric.kind in _FAULTS and isinstance(value, dict):
        n = whole(value.get("count"))
        if n is not None:
            found.faults[text_of(metric.params, "column"), _FAULTS[metric.kind]] = n


def _label(params: Raw) -> str:
    """What a metric is called: "accuracy", "missing_value_count[amount]", "quantile_value[amount, quantile=0.5]"."""
    nested = params.get("metric")
    kind = str(params.get("type", "")).rpartition(":")[2]
    told = []
    if isinstance(nested, dict) and kind == "GroupByMetric":
        told.append(f"{params.get('column_name')}={params.get('label')}")
        params, kind = nested, str(nested.get("type", "")).rpartition(":")[2]
    for name, value in params.items():
        quiet = name in _SILENT or isinstance(value, bool | dict) or value in (None, [])
        if not quiet and not (name in _DEFAULTS and value == "default"):
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            told.append(text[:_TEXT] if name in _PLAIN else f"{name}={text[:_TEXT]}")
    name = snake(kind)
    return f"{_NAMES.get(name, name)}[{', '.join(told)}]" if told else _NAMES.get(name, name)


def snake(kind: str) -> str:
    """The name of a class as other tools name a metric: RocAuc as roc_auc, F1ByLabel as f1_by_label."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", kind).lower()


def _numbers(label: str, value: Any) -> Iterator[tuple[str, float]]:
    """The numbers of a value by their names: a number, a count and its share, a mean and its deviation, or many."""
    plain = finite(value)
    if plain is not None:
        yield label, plain
    if not isinstance(value, dict):
        return
    name, bracket, rest = label.partition("[")
    base = name.removesuffix("_count")
    shapes = {"count": f"{base}_count", "share": f"{base}_share", "mean": name, "std": f"{name}_std"}
    if set(value) <= set(shapes):
        parts = [(f"{shapes[key]}{bracket}{rest}", one) for key, one in value.items()]
    else:
        by_label = value["counts"] if isinstance(value.get("counts"), dict) else value
        head = f"{name}[{rest.removesuffix(']')}, " if bracket else f"{name}["
        parts = [(f"{head}{key[:_TEXT]}]", one) for key, one in by_label.items()]
    for one, part in parts:
        usable = finite(part)
        if usable is not None:
            yield one, usable


# -- counts inside a drawing


def counts_in(widgets: Sequence[Raw]) -> Cells | None:
    """The counts of the current data's confusion matrix, as they are drawn; None where none is."""
    for widget in widgets:
        params = inside(widget, "params")
        layout = inside(params, "layout")
        drawn = (text_of(inside(layout, axis, "title"), "text") for axis in ("xaxis", "yaxis"))
        if tuple(drawn) != ("Predicted Value", "Actual Value"):
            continue
        for trace in rows_of(params, "data"):
            cells = _cells(trace) if trace.get("type") == "heatmap" and trace.get("xaxis", "x") == "x" else None
            if cells is not None:
                return cells
    return None


def _cells(trace: Raw) -> Cells | None:
    return matrix(trace.get("y"), trace.get("x"), trace.get("z"))


def matrix(actual: Any, predicted: Any, counts: Any) -> Cells | None:
    """Cells of rows of counts, one row per true class; None for what is no matrix of counts."""
    if not all(isinstance(one, list) and one for one in (actual, predicted, counts)) or len(counts) != len(actual):
        return None
    cells: Cells = {}
    for true, row in zip(actual, counts, strict=True):
        if not isinstance(row, list) or len(row) != len(predicted):
            return None
        for guess, value in zip(predicted, row, strict=True):
            n = whole(value)
            if n is None:
                return None
            cells[class_of(true), class_of(guess)] = n
    return cells if any(cells.values()) else None


def class_of(value: Any) -> str:
    """A class as text: 1, 1.0 and "1" are one."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def add_counts(found: Contents, cells: Cells | None) -> None:
    """The counts of a drawing, where they agree with the accuracy that the report states."""
    if cells is None:
        return
    total = sum(cells.values())
    right = sum(n for (actual, predicted), n in cells.items() if actual == predicted)
    stated = found.numbers.get("accuracy")
    if stated is not None and abs(stated - right / total) > _WHOLE:
        found.remarks.append(NO_COUNTS)
        return
    found.confusion = cells


# -- 0.4 to 0.6


def _of_old(raw: Raw, *, snapshot: bool) -> Contents:
    old = Old(raw, snapshot)
    found = Contents(numbers=dict(old.numbers()), judgements={one.key: one for one in old.judgements()})
    found.tests = {identity: Test(identity, name[:200], status) for identity, name, status in old.tests()}
    found.rows, found.invalid, found.faults = old.rows()
    given = old.confusion()
    add_counts(found, matrix(given.get("labels"), given.get("labels"), given.get("values")))
    if found.valid is None and found.rows is not None and (found.missing or any(found.faults.values())):
        found.remarks.append(MANY_MISS)
    return found
