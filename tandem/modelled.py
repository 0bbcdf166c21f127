"""What the page of a model shows of its quality: plain values, made by judged.py and the modules beside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from tandem.fairness import Gap
from tandem.scores import Point, WhatIf

Interval = tuple[float, float]
Unit = Literal["share", "score", "nats", "target", "number", "money"]
"""share of 1; score of 0 to 1; nats; the target's own unit; a number without unit; money in the declared currency."""


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure of quality over the window; `value` None where it is not defined, then `how` says why.

    `n` is what it is counted over, in words `of`; `good` the numerator of a share. `interval` is 95 %, `how` says by
    whom, or which bound of the bins it is.
    """

    name: str
    title: str
    value: float | None
    unit: Unit
    n: int
    of: str
    interval: Interval | None = None
    how: str = ""
    good: int | None = None


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class against all others: counts (right, of), Wilson intervals; F1 with the interval of its counts."""

    name: str
    precision: tuple[int, int]
    precision_interval: Interval | None
    recall: tuple[int, int]
    recall_interval: Interval | None
    f1: float | None
    f1_interval: Interval | None


@dataclass(frozen=True, slots=True)
class Traced:
    """One version over time: per step the value, its 95 % interval and how many labelled predictions it rests on."""

    version: str
    values: tuple[float | None, ...]
    lows: tuple[float | None, ...]
    highs: tuple[float | None, ...]
    n: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Quality by version over time; the first step lies at the window's start moved down to the step.

    `immature` marks steps whose labels still come: they are drawn hollow, and nothing is judged by them.
    """

    title: str
    unit: Unit
    target: float | None
    step: int
    versions: tuple[Traced, ...]
    immature: tuple[bool, ...]
    measure: str = ""
    """The name of the measure: accuracy, within, mae and so on."""


@dataclass(frozen=True, slots=True)
class ScoreBars:
    """How the scores of each class were distributed, over the same bars; "" is what has no label.

    `edges` are one more than the bars; `classes` has (class, how many, share in each bar).
    """

    edges: tuple[float, ...]
    classes: tuple[tuple[str, int, tuple[float, ...]], ...]
    missing: int
    positive: str = ""


@dataclass(frozen=True, slots=True)
class ErrorBars:
    """How a regression's errors (predicted - true, unit of the target) were distributed; open ends at the last edges.

    `edges` are one more than the bars; `tolerance` is that of the objective, where one is set.
    """

    edges: tuple[float, ...]
    shares: tuple[float, ...]
    n: int
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Observed share of positives against the mean score; `chance` is the ECE of a perfect model on so few labels."""

    points: tuple[Point, ...]
    ece: float | None
    chance: float | None


@dataclass(frozen=True, slots=True)
class Labels:
    """How far labels have come. `by_age`: (from, to, labelled, predictions), seconds before the end of the window.

    `by_age` is over 28 days: it tells how old a prediction is when its label has come, also where no source states
    it. `ages` are exact quantiles (seconds) of the labels whose arrival is stated, of `aged` labels.
    """

    labelled: int
    predictions: int
    interval: Interval | None
    mature: int
    """Up to when labels have come as far as they usually do; epoch seconds."""
    plateau: float | None
    by_age: tuple[tuple[int, int, int, int], ...] = ()
    ages: Mapping[str, float] | None = None
    aged: int = 0


@dataclass(frozen=True, slots=True)
class Fair:
    """The gaps of one segment column for one class; `stands` has, for each gap, whether it is certain among all."""

    column: str
    positive: str
    gaps: tuple[Gap, ...]
    stands: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Faulty:
    """One column's rows over the window: how many had which fault, and the share of faulty rows per step.

    Reasons: missing, out of range, unseen category, wrong type. `strip` is None where nothing was predicted.
    """

    column: str
    rows: int
    faults: Mapping[str, int]
    interval: Interval | None
    strip: tuple[float | None, ...]
    volume: tuple[int, ...]
    """Values that were there per step, missing ones left out; empty where the column's values are not kept."""


@dataclass(frozen=True, slots=True)
class Fault:
    """When a column's rows began to have a fault more often than before, and ended; `until` None: still so.

    `bad` of `n` rows had it meanwhile, a share of `usual` before. Steps are `step` seconds wide.
    """

    column: str
    reason: str
    since: int
    until: int | None
    bad: int
    n: int
    usual: float
    step: int


@dataclass(frozen=True, slots=True)
class Quality:
    """Data quality: columns by how faulty they are, and what began and ended in the window."""

    step: int
    columns: tuple[Faulty, ...]
    faults: tuple[Fault, ...]
    whole: int


@dataclass(frozen=True, slots=True)
class Run:
    """One training run, newest first; None or "" where its source does not say."""

    key: str
    title: str
    started: int
    ended: int | None
    outcome: str
    version: str
    commit: str
    data_version: str
    source: str
    url: str


@dataclass(frozen=True, slots=True)
class Volume:
    """Predictions per step, by version; the first step lies at the window's start moved down to the step."""

    step: int
    versions: tuple[tuple[str, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True)
class Modelled:
    """All of a model's page that is about the model itself."""

    task: str | None
    positive: str
    measures: tuple[Measure, ...]
    classes: tuple[ClassRow, ...]
    labels: Labels
    trace: Trace | None
    scores: ScoreBars | None
    calibration: Calibration | None
    thresholds: tuple[WhatIf, ...]
    fairness: tuple[Fair, ...]
    quality: Quality | None
    runs: tuple[Run, ...]
    volume: Volume | None
    currency: str = ""
    errors: ErrorBars | None = None
