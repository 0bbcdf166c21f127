"""What the columns of a prediction log mean, as told to the process that reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tandem.bins import Layout


@dataclass(frozen=True)
class Feature:
    """How a column is cut into bins, and what is judged of it."""

    column: str
    layout: Layout
    low: float | None = None
    high: float | None = None
    judged: bool = False
    """False while the layout is provisional: nothing is then out of range or unseen."""


@dataclass(frozen=True)
class Spec:
    """What the columns of a log mean. `until` and `now` are epoch seconds."""

    task: str
    id: str
    time: str
    prediction: str = ""
    version: str = ""
    score: str = ""
    label: str = ""
    segments: tuple[tuple[str, ...], ...] = ()
    timezone: str | None = None
    time_unit: str | None = None
    until: int = 2**62
    now: int = 2**62
    shifted: bool = False
    """Rows at or after `until` are not there yet, however far ahead they lie."""
    reference: tuple[int, int] | None = None
    """The window whose values make layouts; None for all."""
    positive: str = "1"
    classes: tuple[str, ...] = ()
    features: tuple[Feature, ...] = ()
    predicted: Feature | None = None
    error: Layout | None = None
    target: Layout | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that say what a row is, in place of a feature of it."""
        named = (self.id, self.time, self.prediction, self.version, self.score, self.label)
        flat = (column for margin in self.segments for column in margin)
        return tuple(dict.fromkeys(name for name in (*named, *flat) if name))

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns by which predictions are told apart or scored; "" for one that is not named."""
        return (self.version, self.score, *(column for margin in self.segments for column in margin))


@dataclass(frozen=True)
class Look:
    """The columns of a file with their kinds: number, text, boolean, time, other, or empty where nothing is known."""

    format: str
    kinds: Mapping[str, str]
    rows: int
    """How many rows it has, or at most has."""


def text_of(spec: Spec) -> dict[str, Any]:
    """A spec as JSON values; `spec_of` is its inverse."""
    return asdict(spec)


def spec_of(given: Mapping[str, Any]) -> Spec:
    """The spec of `text_of`."""
    told = dict(given)
    told["segments"] = tuple(tuple(one) for one in told["segments"])
    told["classes"] = tuple(told["classes"])
    told["reference"] = tuple(told["reference"]) if told["reference"] else None
    told["features"] = tuple(_feature(one) for one in told["features"])
    told["predicted"] = _feature(told["predicted"]) if told["predicted"] else None
    told["error"] = layout_of(told["error"])
    told["target"] = layout_of(told["target"])
    return Spec(**told)


def _feature(given: Mapping[str, Any]) -> Feature:
    layout = layout_of(given["layout"])
    assert layout is not None
    return Feature(**{**given, "layout": layout})


def layout_of(given: Mapping[str, Any] | None) -> Layout | None:
    """A layout from its JSON values."""
    if given is None:
        return None
    return Layout(**{**given, "edges": tuple(given["edges"]), "values": tuple(given["values"])})
