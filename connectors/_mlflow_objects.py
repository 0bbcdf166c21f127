"""What an MLflow server, its database and its folder hold in common; times are epoch milliseconds, as there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

LARGEST = 1.7e308
"""MLflow writes infinity as the largest double, 1.797e308."""
PROMPT = "mlflow.prompt.is_prompt"
"""The tag of a registered model that is no model but a prompt."""
REMOVED = "Deleted_Internal"
"""The stage of a version that was deleted; the database keeps its row."""


@dataclass(frozen=True, slots=True)
class Point:
    """One logged value of a metric; `value` is None where it is no finite number."""

    key: str
    value: float | None
    at: int
    step: int


@dataclass(frozen=True, slots=True)
class Run:
    """One training run; `latest` is the newest point per metric, where the source states it."""

    id: str
    experiment_id: str
    experiment: str
    name: str
    status: str
    start: int | None
    end: int | None
    user: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    datasets: tuple[str, ...] = ()
    latest: tuple[Point, ...] = ()


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a registered model."""

    model: str
    version: str
    created: int | None
    updated: int | None
    stage: str
    status: str
    run: str
    user: str = ""


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model and what its aliases point to; `settled`: no alias has moved since, where that is known."""

    name: str
    aliases: Mapping[str, str]
    settled: int | None = None


def number(given: object) -> float | None:
    """The finite number of a logged value, None for NaN, infinity and MLflow's stand-in for it."""
    try:
        value = float(given)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if abs(value) < LARGEST else None


def whole(given: object) -> int | None:
    """The integer in a field that may hold text or nothing; None for one that no database could hold."""
    try:
        value = int(given)  # type: ignore[call-overload]
    except (TypeError, ValueError, OverflowError):
        return None
    return value if -(2**63) <= value < 2**63 else None


def in_order(points: Iterable[Point]) -> list[Point]:
    """Points by metric, time and step; of two values at one place the larger one, as there is no telling."""
    ordered = sorted(points, key=lambda p: (p.key, p.at, p.step, p.value is not None, p.value or 0.0))
    return list({(point.key, point.at, point.step): point for point in ordered}.values())
