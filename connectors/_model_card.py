"""Model cards: the results in the front matter of a README.md (model-index) and in its table of evaluation results."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from connectors._fields import finite, inside, rows_of, text_of
from connectors._yaml import document

RESULTS = 2_000
"""Results of a card that are read."""
_FRONT = re.compile(r"\A---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
_TABLE = re.compile(r"^#+\s*Evaluation Results?\s*$(.*?)(?=^#|\Z)", re.DOTALL | re.MULTILINE | re.IGNORECASE)
_NUMBER = re.compile(r"\s*([-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)\s*(%|(?:±|\+/?-).*)?\s*\Z")


@dataclass(frozen=True)
class Result:
    """One metric of a card; `value` is None where none can be read, `note` says what else stood there."""

    metric: str
    value: float | None
    note: str = ""
    model: str = ""
    task: str = ""
    dataset: str = ""
    split: str = ""

    @property
    def title(self) -> str:
        """The metric with the data that it was measured on."""
        return " ".join(part for part in (self.dataset, self.split, self.metric) if part)


def parts(text: str) -> tuple[str, str]:
    """The front matter and the text of a card; "" where there is none."""
    found = _FRONT.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def front_of(text: str, where: str) -> Mapping[str, Any]:
    """The front matter as an object; raises SourceRefused."""
    written, _ = parts(text)
    found = document(written, where) if written.strip() else {}
    return found if isinstance(found, dict) else {}


def results_of(front: Mapping[str, Any]) -> Iterator[Result]:
    """The results of a model-index, at most RESULTS."""
    return islice(_results(front), RESULTS)


def _results(front: Mapping[str, Any]) -> Iterator[Result]:
    for model in rows_of(front, "model-index"):
        for result in rows_of(model, "results"):
            data = inside(result, "dataset")
            for metric in rows_of(result, "metrics"):
                value, note = number_of(metric.get("value"))
                yield Result(
                    text_of(metric, "name") or text_of(metric, "type") or "metric", value, note,
                    model=text_of(model, "name"), task=text_of(inside(result, "task"), "type"),
                    dataset=text_of(data, "name") or text_of(data, "type"), split=text_of(data, "split"),
                )  # fmt: skip


def number_of(value: Any) -> tuple[float | None, str]:
    """The number of a value that people write, such as "20.0 ± 1.2" or "91 %", and what stands beside it."""
    if not isinstance(value, str):
        return finite(value), ""
    found = _NUMBER.match(value)
    return (finite(float(found[1])), (found[2] or "").strip()) if found else (None, "")


def table_of(text: str) -> Iterator[Result]:
    """The rows of the table under "Evaluation Results", as skops writes it: a metric and its value."""
    found = _TABLE.search(parts(text)[1])
    rows = [line.strip().strip("|").split("|") for line in (found[1] if found else "").splitlines() if "|" in line]
    for cells in rows[2 : 2 + RESULTS]:
        if len(cells) >= 2:
            value, note = number_of(cells[-1].strip())
            yield Result(cells[0].strip(), value, note)
