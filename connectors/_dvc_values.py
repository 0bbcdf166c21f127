"""Numbers of the files that DVC calls metrics and plots: values, values by step, and tables of classes."""

from __future__ import annotations

import csv
import io
import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from connectors import _yaml
from connectors._dvc import Kind, Plot
from connectors._fields import FAR, YEAR, finite, whole
from connectors._json import BadJson, BrokenJson, strict
from connectors._sklearn import Evaluation, class_of, is_report, of_metrics, of_report
from tandem.connect import SourceRefused

ROWS = 200_000
"""Most rows of a plot."""
CLASSES = 1000
_STEPS = ("step", "epoch", "iteration", "index")
_TIME = "timestamp"
_LINES = ("", "default", "linear", "smooth")
_TABLES = ("confusion", "confusion_normalized")


class Unreadable(ValueError):
    """A file that holds no numbers; says why."""


@dataclass(frozen=True)
class Point:
    """One value; `ms` is when it was logged, in milliseconds since the epoch, None where the file does not say."""

    name: str
    value: float
    step: int = 0
    ms: int | None = None


@dataclass
class Values:
    """What one file tells."""

    points: list[Point] = field(default_factory=list)
    told: Evaluation = field(default_factory=Evaluation)
    absent: int = 0
    """Values that are no finite number."""


def values(path: str, data: bytes, kind: Kind, labels: Sequence[str] = ()) -> Values:
    """What a file of metrics or a plot tells; raises Unreadable."""
    if kind.plot is None:
        return _metrics(path, _document(path, data), kind, labels)
    rows = _rows(path, data)
    columns = list(rows[0]) if rows else []
    classes = _classes(kind.plot, columns)
    if classes:
        return Values(told=_counted(rows, *classes))
    if kind.plot.template in _LINES and not kind.rest.startswith("plots/sklearn/"):
        return _steps(path, rows, columns, kind)
    return Values()


def _metrics(path: str, raw: Any, kind: Kind, labels: Sequence[str]) -> Values:
    if not isinstance(raw, dict):
        number = finite(raw)
        if number is None:
            raise Unreadable("it holds no metric")
        return Values([Point(PurePosixPath(path).stem, number)])
    told = of_report(raw) if is_report(raw) else of_metrics(raw, labels)
    step = whole(raw.get("step")) if kind.live else None
    points = [Point(name, value, step or 0) for name, value in told.values.items()
              if not (step is not None and name == "step")]  # fmt: skip
    if not points and not told.cells and step is None:
        raise Unreadable("it holds no metric")
    return Values(points, told)


def _document(path: str, data: bytes) -> Any:
    try:
        if path.endswith(".json"):
            return strict(data, lambda word: None)  # an undefined metric is written as NaN
        text = data.decode("utf-8")
        return tomllib.loads(text) if path.endswith(".toml") else _yaml.document(text, path)
    except (BadJson, BrokenJson, ValueError, SourceRefused):
        raise Unreadable("it is cut off, or no sound JSON, YAML or TOML") from None


def _rows(path: str, data: bytes) -> Sequence[Mapping[str, Any]]:
    if path.endswith((".json", ".yaml", ".yml")):
        raw = _document(path, data)
        if isinstance(raw, dict):  # the first list in it, as DVC does
            raw = next((one for one in raw.values() if isinstance(one, list)), [])
        found = [one for one in raw if isinstance(one, dict)] if isinstance(raw, list) else []
    else:
        try:
            reader = csv.DictReader(
                io.StringIO(data.decode("utf-8-sig")), delimiter="\t" if path.endswith(".tsv") else ",", strict=True
            )
            found = [{str(name): cell for name, cell in row.items()} for row in reader]
        except (csv.Error, UnicodeDecodeError):
            raise Unreadable("it is cut off, or no sound table") from None
    if len(found) > ROWS:
        raise Unreadable(f"it holds more than {ROWS:,} rows")
    return found


# -- classes


def _classes(plot: Plot, columns: Sequence[str]) -> tuple[str, str] | None:
    """The columns of the actual and the predicted class of a plot that is a confusion matrix."""
    if plot.template not in _TABLES and not {"actual", "predicted"} <= set(columns):
        return None
    x, y = plot.x or "actual", (plot.y or ("predicted",))[0]
    if x not in columns or y not in columns:
        return None
    return (y, x) if x.lower().startswith("pred") and not y.lower().startswith("pred") else (x, y)


def _counted(rows: Sequence[Mapping[str, Any]], actual: str, predicted: str) -> Evaluation:
    """Each row is one prediction."""
    cells: Counter[tuple[str, str]] = Counter()
    missing = 0
    for row in rows:
        if row.get(actual) in (None, "") or row.get(predicted) in (None, ""):
            missing += 1
        else:
            cells[class_of(row[actual]), class_of(row[predicted])] += 1
    found = Evaluation(cells=dict(cells), kind="plot")
    if missing:
        found.remarks.append("rows without an actual or a predicted class are left out")
    if len({one for pair in cells for one in pair}) > CLASSES:
        found.cells = None
        found.remarks.append(f"a plot of more than {CLASSES} classes counts nothing; is a number taken for a class?")
    return found


# -- steps


def _steps(path: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str], kind: Kind) -> Values:
    """Values by step: a plot whose x is a step, or that has none and says its rows in their order."""
    assert kind.plot is not None
    by = kind.plot.x or next((name for name in columns if name in _STEPS), "")
    if by and by not in columns:
        return Values()
    steps = [whole(_number(row.get(by))) if by else place for place, row in enumerate(rows)]
    if None in steps:
        return Values()  # what stands on its x are no steps
    wanted = kind.plot.y or (columns if by else columns[-1:])
    found = Values()
    for name in (one for one in wanted if one in columns and one not in (by, _TIME, *_STEPS)):
        title = _title(path, name, kind)
        for row, step in zip(rows, steps, strict=True):
            value = _number(row.get(name))
            if value is None:
                found.absent += 1
            else:
                found.points.append(Point(title, value, step or 0, _millis(row.get(_TIME))))
    return found


def _number(cell: Any) -> float | None:
    if isinstance(cell, str):
        try:
            return finite(float(cell))
        except ValueError:
            return None
    return finite(cell)


def _millis(cell: Any) -> int | None:
    """Milliseconds since the epoch; the year 1970 is "absent"."""
    value = _number(cell)
    return int(value) if value is not None and YEAR * 1000 <= value < FAR * 1000 else None


def _title(path: str, column: str, kind: Kind) -> str:
    """A metric of dvclive is called as in its metrics.json; the column of another plot after its file."""
    if kind.rest.startswith("plots/metrics/"):
        return kind.rest.removeprefix("plots/metrics/").removesuffix(".tsv").replace("/", ".")
    stem = PurePosixPath(path).stem
    return column if stem == column else f"{stem}.{column}"
