"""What the Trainer of Hugging Face's transformers writes into its output folder; JSON only, pickles are not opened.

A run is the folder; its newest state stands in it, or in the checkpoint that went furthest.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from connectors._fields import finite, rows_of, text_of, whole
from connectors._sklearn import derived
from tandem.records import Stage

STATE = "trainer_state.json"
RESULTS = ("all_results.json", "eval_results.json", "predict_results.json", "test_results.json", "train_results.json")
"""Files of results: the first holds what the others do."""
_CHECKPOINT = re.compile(r"^checkpoint-\d+$")
_STATE = re.compile(rb'"log_history"\s*:\s*\[')
_RESULT = re.compile(rb'"(?:eval|train|predict|test)_runtime"\s*:')
_PARAMS = ("max_steps", "num_train_epochs", "train_batch_size", "total_flos", "best_metric", "best_model_checkpoint",
           "is_hyper_param_search", "trial_name")  # fmt: skip
_EVALUATED = ("eval", "test", "predict")
_NOTED = ("step", "epoch", "total_flos")
_SPENT = re.compile(r"_(?:runtime|samples|samples_per_second|steps_per_second)$")


@dataclass
class Run:
    """The files of one output folder, by name relative to the root; `folder` is "." for the root itself."""

    folder: str
    states: list[str] = field(default_factory=list)
    results: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Point:
    """One number of the log, by the name that the Trainer gave it."""

    name: str
    step: int
    value: float | None

    @property
    def stage(self) -> Stage:
        """Whether it was measured on data that the model is evaluated with."""
        return "evaluation" if self.name.startswith(tuple(f"{word}_" for word in _EVALUATED)) else "training"


@dataclass(frozen=True)
class State:
    """A trainer_state.json."""

    step: int
    history: Sequence[Mapping[str, Any]]
    params: Mapping[str, str]

    @property
    def runtime(self) -> float | None:
        """Seconds of the training, which are logged when it has come to its end; None where it has not."""
        return next(
            (told for one in reversed(self.history) if (told := finite(one.get("train_runtime"))) is not None), None
        )

    def rows(self) -> list[str]:
        """The entries of the log as text, by which they are known again."""
        return [json.dumps(one, sort_keys=True) for one in self.history]


def is_state(head: bytes) -> bool:
    """Whether a file begins like a trainer_state.json."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and (
        _STATE.search(head) is not None or (b'"best_model_checkpoint"' in head and b'"global_step"' in head)
    )


def is_result(head: bytes) -> bool:
    """Whether a file is one of results of a Trainer."""
    return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{") and _RESULT.search(head) is not None


def runs_of(entries: Iterable[str]) -> list[Run]:
    """The output folders among some files, checkpoints as parts of theirs."""
    found: dict[str, Run] = {}
    for entry in entries:
        path = PurePosixPath(entry)
        if path.name == STATE or path.name in RESULTS:
            folder = path.parent.parent if _CHECKPOINT.match(path.parent.name) else path.parent
            run = found.setdefault(folder.as_posix(), Run(folder.as_posix()))
            (run.states if path.name == STATE else run.results).append(entry)
    return [found[name] for name in sorted(found)]


def state_of(raw: Any) -> State | None:
    """The state in a document; None for any other document."""
    if not isinstance(raw, dict) or not isinstance(raw.get("log_history"), list):
        return None
    params = {name: str(raw[name]) for name in _PARAMS if raw.get(name) not in (None, "", False)}
    return State(whole(raw.get("global_step")) or 0, rows_of(raw, "log_history"), params)


def points_of(row: Mapping[str, Any]) -> Iterator[Point]:
    """The numbers of one entry of the log."""
    step = whole(row.get("step")) or 0
    for name, value in row.items():
        if name not in _NOTED and not _SPENT.search(name) and not isinstance(value, (str, list, dict, bool)):
            yield Point(name, step, finite(value))


@dataclass(frozen=True)
class Results:
    """The numbers of one file of results, and the derived ratios of those that say their rows."""

    points: Sequence[Point]
    correct: Mapping[str, tuple[int, int]]
    remarks: Sequence[str]


def results_of(raw: Any) -> Results | None:
    """What a file of results says; None for any other document."""
    if not isinstance(raw, dict):
        return None
    points = [one for one in points_of(raw) if one.stage == "evaluation" or one.name.startswith("train_")]
    correct: dict[str, tuple[int, int]] = {}
    remarks = []
    for word in _EVALUATED:
        accuracy, rows = finite(raw.get(f"{word}_accuracy")), whole(raw.get(f"{word}_samples"))
        if accuracy is not None and rows:
            told = derived(accuracy, rows)
            if told is None:
                remarks.append(f"{word}_accuracy times {word}_samples is no whole number; it stays a sample")
            else:
                correct[word] = told
    return Results(points, correct, remarks)


def model_of(raw: Any) -> str:
    """The name or the kind of the model in a config.json."""
    return (text_of(raw, "_name_or_path") or text_of(raw, "model_type")) if isinstance(raw, dict) else ""
