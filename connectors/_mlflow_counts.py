"""Counts of an evaluation from what MLflow keeps of it: tables of rows, confusion matrices, reports, four metrics.

`mlflow.evaluate` draws its confusion matrix, so the counts of two classes are in four metrics, those of more classes in
per_class_metrics.csv, and rows in eval_results_table.json where it was given a metric of rows. Images are not read.
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from connectors._fields import finite, whole
from connectors._json import BadJson, BrokenJson, strict
from connectors._sklearn import CLASSES, Cells, Evaluation, class_of, counts, is_report, of_metrics, of_report

READ = (".json", ".csv", ".npy")
USUAL = (
    "*eval_results_table.json", "*confusion_matrix.json", "*confusion_matrix.csv", "*confusion_matrix.npy",
    "*per_class_metrics.csv", "*classification_report.json",
)  # fmt: skip
"""What is read of a folder, where reading costs no requests."""
ACTUAL = ("actual", "target", "targets", "y_true", "ground_truth", "label", "labels")
PREDICTED = ("predicted", "prediction", "predictions", "outputs", "y_pred")
_WORDS = re.compile(
    r"[_.-]*(?:eval_results_table|normalized_confusion_matrix|confusion_matrix|per_class_metrics|classification_report"
    r"|predictions?)$"
)
_FOUR = ("true_negatives", "false_positives", "false_negatives", "true_positives")
_NUMBERS = ("mean_squared_error", "mean_absolute_error", "r2_score", "root_mean_squared_error")
"""Metrics of an evaluation whose rows are numbers, not classes."""
_RANK = {"rows": 0, "matrix": 1, "report": 2, "classes": 3, "metrics": 4}
_ROWS = 1_000_000
_SHOWN = 60


class Unreadable(ValueError):
    """A file that counts nothing; says why."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table of rows that hold classes, and the classes of a matrix that does not name its own."""

    actual: Sequence[str] = ACTUAL
    predicted: Sequence[str] = PREDICTED
    classes: Sequence[str] = ()


@dataclass
class Counted:
    """The evaluations of one run, each under the words that stand before its files' names, and what is to be said."""

    found: dict[str, Evaluation] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


def counted(
    files: Iterable[tuple[str, bytes | None]], latest: Mapping[str, float], columns: Columns, most: int
) -> Counted:  # fmt: skip
    """What the artifacts of a run and its newest metrics count; each evaluation counts once, by what says most of it.

    A file that is larger than `most` bytes comes as None.
    """
    said = Counted()
    parts: list[tuple[str, Evaluation]] = [(_shared(prefix), one) for prefix, one in _four(latest, columns.classes)]
    for path, data in files:
        try:
            if data is None:
                raise Unreadable(f"it is larger than {most:,} bytes (max_artifact)")
            prefix = prefix_of(path)
            parts.append((prefix, _read(path, data, columns, numbers=_of_numbers(prefix, latest))))
        except Unreadable as no:
            said.remarks.append(f"{path[:_SHOWN]} counts nothing: {no}")
    for prefix, one in sorted(parts, key=lambda part: (_RANK[part[1].kind], part[0])):
        said.remarks += one.remarks
        told = one.counted
        twin = any(other.counted == told and other.kind != one.kind for other in said.found.values())
        if not told[0] or twin:
            continue
        if prefix not in said.found:
            said.found[prefix] = one
        elif said.found[prefix].counted != told:
            said.remarks.append("two files of one evaluation count differently; the one that says more counts")
    return said


def prefix_of(path: str) -> str:
    """What tells one evaluation of a run from another: its folder, and what stands before the usual name."""
    folder, _, name = path.rpartition("/")
    stem = _WORDS.sub("", name.rpartition(".")[0])
    return "/".join(part for part in (folder, _shared(stem)) if part)


def _shared(prefix: str) -> str:
    return prefix.strip("_./-")


def _four(latest: Mapping[str, float], classes: Sequence[str]) -> Iterator[tuple[str, Evaluation]]:
    """The four counts of two classes among the metrics, which mlflow.evaluate logs under its prefix."""
    negative, positive = classes if len(classes) == 2 else ("negative", "positive")
    for key in latest:
        prefix = key.removesuffix(_FOUR[0])
        told = [whole(latest.get(prefix + name)) for name in _FOUR]
        if prefix == key or None in told:
            continue
        tn, fp, fn, tp = (n or 0 for n in told)
        rows = whole(latest.get(f"{prefix}example_count"))
        if rows is not None and rows != tn + fp + fn + tp:
            continue  # weights: they are no counts
        cells = {(negative, negative): tn, (negative, positive): fp, (positive, negative): fn, (positive, positive): tp}
        yield prefix, Evaluation(cells={pair: n for pair, n in cells.items() if n}, kind="metrics")


def _of_numbers(prefix: str, latest: Mapping[str, float]) -> bool:
    return any(_shared(key.removesuffix(name)) == prefix for key in latest for name in _NUMBERS if key.endswith(name))


def _read(path: str, data: bytes, columns: Columns, *, numbers: bool) -> Evaluation:
    if path.endswith(".npy"):
        return _matrix(_array(data), columns.classes)
    if path.endswith(".csv"):
        return _table_of_csv(data, columns, numbers=numbers)
    try:
        raw = strict(data, lambda word: None)
    except (BadJson, BrokenJson):
        raise Unreadable("it is cut off, or no sound JSON") from None
    return _document(raw, columns, numbers=numbers)


def _document(raw: Any, columns: Columns, *, numbers: bool) -> Evaluation:
    if isinstance(raw, list):
        return _matrix(raw, columns.classes)
    if not isinstance(raw, dict):
        raise Unreadable("it holds no counts")
    if isinstance(raw.get("columns"), list) and isinstance(raw.get("data"), list):
        return _rows([str(one) for one in raw["columns"]], raw["data"], columns, numbers=numbers)
    if is_report(raw):
        return of_report(raw)
    matrix = next((raw[name] for name in ("confusion_matrix", "matrix") if isinstance(raw.get(name), list)), None)
    if matrix is None:
        raise Unreadable("it holds no counts")
    found = of_metrics({**raw, "confusion_matrix": matrix}, columns.classes)
    if not found.cells:
        raise Unreadable((found.remarks or ["it holds no counts"])[0])
    return Evaluation(cells=found.cells, kind="matrix")


def _table_of_csv(data: bytes, columns: Columns, *, numbers: bool) -> Evaluation:
    try:
        rows = list(csv.reader(io.StringIO(data.decode("utf-8-sig")), strict=True))
    except (csv.Error, UnicodeDecodeError):
        raise Unreadable("it is cut off, or no sound table") from None
    head, rows = (rows[0] if rows else []), [row for row in rows[1:] if row]
    if "positive_class" in head and {*_FOUR} <= set(head):
        return _per_class(head, rows)
    if _column(head, columns.actual) and _column(head, columns.predicted):
        return _rows(head, rows, columns, numbers=numbers)
    names = head[1:]
    if names and [row[0] for row in rows] == names:
        return _matrix([row[1:] for row in rows], [class_of(_number(name)) for name in names])
    return _matrix([head, *rows], columns.classes)


def _per_class(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Evaluation:
    """per_class_metrics.csv: of each class how many rows were it, were taken for it, and both."""
    said = [dict(zip(head, row, strict=False)) for row in rows]
    names = [class_of(_number(one.get("positive_class"))) for one in said]
    told = [[whole(_number(one.get(name))) for name in _FOUR] for one in said]
    known = [[n for n in row if n is not None] for row in told]
    if not known or any(len(row) < len(_FOUR) for row in known) or len({sum(row) for row in known}) != 1:
        raise Unreadable("its counts of classes are no whole numbers, or do not agree")
    right = [tp for _, _, _, tp in known]
    total = sum(known[0])
    if len(set(names)) < len(names) or sum(fn + tp for _, _, fn, tp in known) != total:
        raise Unreadable("its counts of classes are no whole numbers, or do not agree")
    found = Evaluation(correct=(sum(right), total), kind="classes")
    table = counts(right, [fn + tp for _, _, fn, tp in known], [fp + tp for _, fp, _, tp in known]) \
        if len(names) <= CLASSES else None  # fmt: skip
    if table is None:
        found.remarks.append("what was taken for what does not follow from per_class_metrics with so many errors among "
                             "three classes or more; how many were right is counted")  # fmt: skip
    else:
        found.cells = {(names[i], names[j]): int(table[i, j]) for i, j in zip(*np.nonzero(table), strict=True)}
    return found


def _rows(head: Sequence[str], rows: Sequence[Any], columns: Columns, *, numbers: bool) -> Evaluation:
    """A table in which each row is one prediction."""
    actual, predicted = _column(head, columns.actual), _column(head, columns.predicted)
    if not actual or not predicted:
        raise Unreadable("none of its columns is known to hold the classes; set actual and predicted")
    if numbers:
        raise Unreadable("its rows are numbers, not classes")
    if len(rows) > _ROWS:
        raise Unreadable(f"it holds more than {_ROWS:,} rows")
    one, other = head.index(actual), head.index(predicted)
    cells: Counter[tuple[str, str]] = Counter()
    missing = 0
    for row in rows:
        pair = [row[one], row[other]] if isinstance(row, list) and len(row) == len(head) else [None, None]
        if any(value is None or value == "" or isinstance(value, list | dict) for value in pair):
            missing += 1
        else:
            cells[class_of(_number(pair[0])), class_of(_number(pair[1]))] += 1
    _check(cells)
    found = Evaluation(cells=dict(cells), kind="rows")
    if missing:
        found.remarks.append("rows without an actual or a predicted class are left out")
    return found


def _check(cells: Cells) -> None:
    classes = {name for pair in cells for name in pair}
    if len(classes) > CLASSES:
        raise Unreadable(f"it holds more than {CLASSES} classes; are they numbers, or text?")
    if any(re.fullmatch(r"-?\d+\.\d+(?:e-?\d+)?", name) for name in classes):
        raise Unreadable("its rows are numbers, not classes")


def _column(head: Sequence[str], names: Sequence[str]) -> str:
    return next((name for name in names if name in head), "")


def _matrix(matrix: Any, classes: Sequence[str]) -> Evaluation:
    if not classes:
        raise Unreadable("it does not say its classes; set classes, in the order of its rows")
    if not isinstance(matrix, list):
        raise Unreadable("it is no matrix of counts")
    raw = [[_number(one) for one in row] if isinstance(row, list) else row for row in matrix]
    found = of_metrics({"confusion_matrix": raw}, classes)
    if not found.cells:
        raise Unreadable((found.remarks or ["it is empty"])[0])
    return Evaluation(cells=found.cells, kind="matrix")


def _array(data: bytes) -> Any:
    """A matrix as numpy saves it; one that would have to be unpickled is refused."""
    opened = io.BytesIO(data)
    try:
        large = np.lib.format.read_magic(opened) != (1, 0)
        header = np.lib.format.read_array_header_2_0 if large else np.lib.format.read_array_header_1_0
        shape, _, kind = header(opened)  # before anything of that size is made
        if len(shape) != 2 or max(shape) > CLASSES or kind.kind not in "iuf":
            raise Unreadable("it is no array of counts")
        opened.seek(0)
        found = np.load(opened, allow_pickle=False)
    except (ValueError, OSError, EOFError) as no:
        raise no if isinstance(no, Unreadable) else Unreadable("it is no array of counts") from None
    return found.tolist()


def _number(text: Any) -> Any:
    """The number that a cell of a table holds; anything else as it is."""
    if not isinstance(text, str):
        return text
    try:
        value = finite(float(text)) if text and len(text) < 30 and text.strip() == text else None
    except ValueError:
        return text
    return text if value is None or "_" in text else value
