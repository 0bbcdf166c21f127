"""What a comparison of two sides shows: plain values, made by comparing.py and report.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from tandem.shown import Change, Distribution, Drifts, Half, Mixed

Unit = Literal["share", "s", "per hour", "score", "nats", "target", "number", "money"]
Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Value:
    """One number of one side; `n` is what it is counted over, `interval` its own 95 % (None: nobody can say)."""

    value: float | None = None
    n: int | None = None
    interval: Interval | None = None
    good: int | None = None
    """The numerator of a share."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One number on both sides, A minus B.

    `interval` is 95 % of the difference, `how` says by whom, or why there is none. `evidence` is how many standard
    errors the difference is about, 0 where there is no interval; `certain` says that the interval excludes 0.
    `better` is higher, lower, or "" where neither is.
    """

    component: str
    kind: Literal["service", "model"]
    signal: str
    title: str
    measure: str
    unit: Unit
    of: str
    better: Literal["higher", "lower", ""]
    a: Value
    b: Value
    change: float | None = None
    relative: float | None = None
    """The difference as a share of B."""
    interval: Interval | None = None
    how: str = ""
    evidence: float = 0.0
    certain: bool = False

    @property
    def verdict(self) -> str:
        """better, worse, different, no difference to be seen, or "" where nothing can be said."""
        if self.change is None or self.interval is None:
            return ""
        if not self.certain:
            return "no difference to be seen"
        if not self.better:
            return "different"
        return "better" if (self.change > 0) == (self.better == "higher") else "worse"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Side A against side B: every number that both or one of them has, most evidence first.

    `drifts`, `distribution` and `mixed` (by signal) are of one model. `versions`, `segments` and `changes` are what
    else can be compared.
    """

    a: Half
    b: Half
    as_of: int
    now: int
    newest: int | None
    rows: tuple[Difference, ...]
    drifts: Drifts | None = None
    distribution: Distribution | None = None
    mixed: Mapping[str, tuple[Mixed, ...]] = field(default_factory=dict)
    versions: tuple[str, ...] = ()
    segments: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    change: Change | None = None
    """The change that the sides lie before and after."""
    remarks: tuple[str, ...] = ()
