"""What scikit-learn's reports hold beside their numbers: how many rows were taken for what.

A classification report tells of each class its support, its precision and its recall, so how many rows of it were
right and how many were taken for it are whole numbers that can be had back. What was taken for what follows from them
where only one table of counts fits, as with two classes always; where several fit, none is made up.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors._fields import finite, rows_of, text_of, whole

METRICS = ("precision", "recall", "f1-score")
AVERAGES = ("micro avg", "macro avg", "weighted avg", "samples avg")
CLASSES = 100
"""Classes up to which tables of counts are looked for, and numbers of each class are told."""
COUNTS = ("n_samples", "n_test", "n", "support", "test_samples", "eval_samples", "count")
"""Names of the number of rows in a file of metrics."""
DEPTH = 6
_SLACK = 0.01
"""How far accuracy times rows may be off a whole number: accuracy may be a 32-bit number."""

Cells = Mapping[tuple[str, str], int]


@dataclass
class Evaluation:
    """What a file says of one evaluation."""

    cells: Cells | None = None
    correct: tuple[int, int] | None = None
    """Right ones and all of them, where what was taken for what is not known."""
    values: dict[str, float] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)
    kind: str = "metrics"
    stated: Mapping[str, str] = field(default_factory=dict)
    """When it was, and of what, by the names of the fields in an event."""

    @property
    def counted(self) -> tuple[int, int]:
        """How many rows it counts, and how many of them were right."""
        if self.cells:
            return sum(self.cells.values()), sum(n for (one, other), n in self.cells.items() if one == other)
        return (self.correct[1], self.correct[0]) if self.correct else (0, 0)


def is_report(raw: Any) -> bool:
    """Whether it is what classification_report(output_dict=True) gives."""
    return isinstance(raw, dict) and any(_is_row(one) for one in raw.values())


def _is_row(one: Any) -> bool:
    return isinstance(one, dict) and {*METRICS, "support"} <= set(one)


def of_report(raw: Mapping[str, Any]) -> Evaluation:
    """A classification report: exact counts where they can be had back."""
    found = Evaluation(values=dict(_values(raw)), kind="report")
    rows = {name: one for name, one in raw.items() if _is_row(one) and name not in AVERAGES}
    averages = [raw[name] for name in ("macro avg", "weighted avg") if _is_row(raw.get(name))]
    total = whole(averages[0]["support"]) if averages else None
    accuracy = finite(raw.get("accuracy"))
    if accuracy is None:
        found.remarks.append("a report of some of the classes, or of several labels per row, does not tell how many "
                             "rows were right; its numbers are samples")  # fmt: skip
        return found
    found.correct = derived(accuracy, total)
    supports = [whole(one["support"]) for one in rows.values()]
    if found.correct is None or None in supports or sum(one or 0 for one in supports) != total:
        found.remarks.append("a report whose supports do not add up to whole rows (weights, or a class that is named "
                             "like an average) counts no classes")  # fmt: skip
        return found
    found.cells = _restored(rows, [one or 0 for one in supports], found)
    return found


def derived(accuracy: float, rows: int | None) -> tuple[int, int] | None:
    """Right ones and all, where accuracy times rows is a whole number; None where it is none."""
    if rows is None or not rows or not 0 <= accuracy <= 1:
        return None
    good = round(accuracy * rows)
    return (good, rows) if abs(accuracy * rows - good) <= _SLACK else None


def _values(raw: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    rows = {name: one for name, one in raw.items() if _is_row(one)}
    classes = len(rows) - sum(name in AVERAGES for name in rows)
    accuracy = finite(raw.get("accuracy"))
    if accuracy is not None:
        yield "accuracy", accuracy
    for name, one in rows.items():
        if name in AVERAGES or classes <= CLASSES:
            for metric in METRICS:
                value = finite(one[metric])
                if value is not None:
                    yield f"{name} {metric}", value


def _restored(rows: Mapping[str, Any], supports: Sequence[int], found: Evaluation) -> Cells | None:
    """The counts of (actual, predicted); None, with a remark, where they cannot be had back."""
    right = [_times(one["recall"], support) for one, support in zip(rows.values(), supports, strict=True)]
    taken = [_taken(one["precision"], n) for one, n in zip(rows.values(), right, strict=True)]
    if None in right or -1 in taken or sum(n or 0 for n in right) != (found.correct or (0, 0))[0]:
        found.remarks.append("a report whose recall, precision and support do not agree counts no classes")
        return None
    if len(rows) > CLASSES:
        found.remarks.append(f"a report of more than {CLASSES} classes counts no classes, only how many were right")
        return None
    cells = counts([n or 0 for n in right], supports, taken)
    if cells is None:
        found.remarks.append("what was taken for what does not follow from a report with so many errors among three "
                             "classes or more; how many were right is counted")  # fmt: skip
        return None
    names = list(rows)
    return {(names[i], names[j]): int(cells[i, j]) for i, j in zip(*np.nonzero(cells), strict=True)}


def _times(recall: Any, support: int) -> int | None:
    if not support:
        return 0
    share = finite(recall)
    return None if share is None else whole(share * support)


def _taken(precision: Any, right: int | None) -> int | None:
    """How many rows were taken for a class: None where that is unknown, -1 where it is no whole number."""
    share = finite(precision)
    if not right:
        return None  # 0 of however many, or undefined
    count = whole(right / share) if share else None
    return -1 if count is None else count


def counts(right: Sequence[int], supports: Sequence[int], taken: Sequence[int | None]) -> Any:
    """The only table of (actual, predicted) with these sums, as an array; None where several or none fit.

    Errors of a row and a column bound each other until nothing moves: what is then left open may be several tables.
    """
    missed = np.array(supports) - np.array(right)
    if (missed < 0).any():
        return None
    low = np.array([0 if n is None else n - r for n, r in zip(taken, right, strict=True)])
    open_ = np.array([n is None for n in taken])
    rest = int(missed.sum() - low.sum())
    if rest < 0 or (low < 0).any() or (rest and not open_.any()):
        return None
    high = np.where(open_, rest, low)
    if open_.sum() == 1:
        low = high
    return _narrowed(missed, low, high, np.diag(np.array(right)))


def _narrowed(missed: Any, low: Any, high: Any, diagonal: Any) -> Any:
    least = np.zeros((len(missed), len(missed)), dtype=np.int64)
    most = np.minimum(missed[:, None], high[None, :])
    np.fill_diagonal(most, 0)
    for _ in range(10 * len(missed) + 10):
        before = (least.copy(), most.copy())
        least = np.maximum(least, missed[:, None] - (most.sum(1, keepdims=True) - most))
        least = np.maximum(least, low[None, :] - (most.sum(0, keepdims=True) - most))
        np.fill_diagonal(least, 0)
        most = np.minimum(most, missed[:, None] - (least.sum(1, keepdims=True) - least))
        most = np.minimum(most, high[None, :] - (least.sum(0, keepdims=True) - least))
        np.fill_diagonal(most, 0)
        if (least > most).any():
            return None
        if (least == before[0]).all() and (most == before[1]).all():
            break
    fits = (least == most).all() and (least.sum(1) == missed).all()
    return least + diagonal if fits else None


# -- files of metrics


def of_metrics(raw: Mapping[str, Any], labels: Sequence[str]) -> Evaluation:
    """Named numbers, with a confusion matrix and its labels where they are told."""
    found = Evaluation(values=dict(_numbers(raw)))
    if "confusion_matrix" in raw:
        found.cells = _matrix(raw, labels, found)
    inner = raw.get("classification_report")
    if found.cells is None and isinstance(inner, dict) and is_report(inner):
        told = of_report(inner)
        found.cells, found.correct = told.cells, told.correct
        found.remarks += told.remarks
    accuracy = found.values.get("accuracy", found.values.get("accuracy_score"))
    rows = next((n for name in COUNTS if (n := whole(raw.get(name))) is not None), None)
    if found.cells is None and found.correct is None and accuracy is not None and rows:
        found.correct = derived(accuracy, rows)
        if found.correct is None:
            found.remarks.append("accuracy times the number of rows is no whole number; it stays a sample")
    return found


def _numbers(raw: Mapping[str, Any], before: str = "", depth: int = 0) -> Iterator[tuple[str, float]]:
    for name, one in raw.items():
        if isinstance(one, dict) and depth < DEPTH and name != "classification_report":
            yield from _numbers(one, f"{before}{name}.", depth + 1)
        elif not before and name in COUNTS:
            continue
        elif (value := finite(one)) is not None:
            yield f"{before}{name}", value


def _matrix(raw: Mapping[str, Any], labels: Sequence[str], found: Evaluation) -> Cells | None:
    """A confusion matrix of scikit-learn: a row for each actual class, a column for each predicted one."""
    told = [raw[name] for name in ("labels", "classes", "target_names") if isinstance(raw.get(name), list)]
    names = [class_of(one) for one in told[0]] if told else list(labels)
    matrix = raw["confusion_matrix"]
    if not names:
        found.remarks.append("a confusion matrix does not say its classes; set labels, in the order of its rows")
        return None
    if not (isinstance(matrix, list) and len(matrix) == len(names) == len(set(names))
            and all(isinstance(row, list) and len(row) == len(names) for row in matrix)):  # fmt: skip
        found.remarks.append("a confusion matrix is not as wide and high as it has labels; it is left out")
        return None
    cells = {(names[i], names[j]): whole(one) for i, row in enumerate(matrix) for j, one in enumerate(row)}
    if None in cells.values():
        found.remarks.append("a confusion matrix of shares counts nothing; write it without normalize")
        return None
    return {key: n for key, n in cells.items() if n}


def class_of(one: Any) -> str:
    """A class as text: 1 and 1.0 are "1"."""
    number = whole(one)
    return str(number) if number is not None else str(one)


# -- skops


def estimator_of(schema: Any) -> tuple[str, str]:
    """The class of a saved estimator and the version of skops; "" where they are not said. Nothing is loaded."""
    if not isinstance(schema, dict):
        return "", ""
    module, name = text_of(schema, "__module__"), text_of(schema, "__class__")
    return (f"{module}.{name}".strip(".") if name else ""), text_of(schema, "_skops_version")


def steps_of(schema: Any) -> list[str]:
    """The classes of a pipeline's steps, one below another, as far as the schema names them."""
    found = [text_of(one, "__class__") for one in _estimators(schema, 0)]
    return list(dict.fromkeys(name for name in found if name))[:20]


def _estimators(node: Any, depth: int) -> Iterator[Mapping[str, Any]]:
    if isinstance(node, dict) and depth < 12:
        if node.get("__loader__") == "ObjectNode" and text_of(node, "__module__").startswith("sklearn."):
            yield node
        inner = node.get("content")
        if isinstance(inner, dict):
            for one in (inner, *inner.values()):
                yield from _estimators(one, depth + 1)
        for one in rows_of(node, "content"):
            yield from _estimators(one, depth + 1)
