"""What the drift values of other tools are called: samples that keep feature, method, direction and threshold.

A judgement of a tool is up to four samples of one time: its value, its threshold (two where it has an upper and a
lower one), and its verdict. Only the value and the verdict of different tools can stand side by side: what is small
for one method is large for another.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Direction = Literal["<", "<=", ">", ">=", "outside", "told"]
"""Drift is where the value is that to the threshold; "outside" of two thresholds; "told" where only the tool knows."""
Part = Literal["value", "threshold", "lower threshold", "verdict"]
"""A verdict is 1 for drift and 0 for none."""
KIND = "drift"
_NAME = re.compile(
    r"drift\[(?P<feature>.*)\] (?P<method>.+) (?P<direction><=|<|>=|>|outside|told)"
    r"(?: (?P<part>threshold|lower threshold|verdict))?",
    re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Told:
    """Which part of which judgement a sample is; `method` in the tool's own word, such as "K-S p_value"."""

    feature: str
    method: str
    direction: Direction
    part: Part = "value"

    @property
    def name(self) -> str:
        """The name of the sample."""
        part = "" if self.part == "value" else f" {self.part}"
        return f"drift[{self.feature}] {self.method} {self.direction}{part}"

    @property
    def of(self) -> tuple[str, str, Direction]:
        """What the parts of one judgement share."""
        return self.feature, self.method, self.direction


def told(name: str) -> Told | None:
    """What a sample's name says; None for one that is no judgement of drift."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    part: Part = match["part"] or "value"  # type: ignore[assignment]
    direction: Direction = match["direction"]  # type: ignore[assignment]
    return Told(match["feature"], match["method"], direction, part)


def drifts(value: float, direction: Direction, threshold: float | None, lower: float | None = None) -> bool | None:
    """Whether a value is drift by its tool's own rule; None where that needs what is not known."""
    if direction == "outside":
        known = threshold is not None or lower is not None
        above, below = threshold is not None and value > threshold, lower is not None and value < lower
        return above or below if known else None
    if threshold is None or direction == "told":
        return None
    return {"<": value < threshold, "<=": value <= threshold, ">": value > threshold, ">=": value >= threshold}[
        direction
    ]
