"""What W&B's API, its offline files and its tables hold in common: runs, rows of their histories, artifacts."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from connectors._fields import FAR, YEAR, finite

_NOT_FINITE = ("nan", "infinity", "-infinity", "inf", "-inf", "+inf")
_BINS = 512
"""The most bins of a histogram; W&B itself allows no more."""


@dataclass(frozen=True)
class Bins:
    """One logged histogram: its edges, ascending, and a count for each gap between two of them."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """What a run logged at one step; `at` is None where the row says no time, a value where it is no finite number."""

    step: int
    at: float | None
    values: Sequence[tuple[str, float | None]] = ()
    histograms: Sequence[tuple[str, Bins]] = ()
    broken: int = 0
    """Histograms that contradict themselves."""


@dataclass(frozen=True)
class Artifact:
    """One version of an artifact; `aliases` are those of the collection that it was found in."""

    id: str
    collection: str
    kind: str
    version: str
    digest: str
    created: int | None = None
    run: str = ""
    aliases: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As W&B writes it, collection and version."""
        return f"{self.collection}:{self.version}" if self.version else self.collection


@dataclass
class Run:
    """One run; times are epoch seconds. `keys` are what its history holds, None where nobody says."""

    id: str
    project: str = ""
    entity: str = ""
    name: str = ""
    state: str = ""
    created: int | None = None
    heard: int | None = None
    """The last sign of life."""
    group: str = ""
    job_type: str = ""
    sweep: str = ""
    user: str = ""
    commit: str = ""
    python: str = ""
    image: str = ""
    packages: str = ""
    tags: tuple[str, ...] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    inputs: Sequence[Artifact] = ()
    outputs: Sequence[Artifact] = ()
    untold: bool = False
    """Whether it used or made more artifacts than these."""
    lines: int = 0
    last_step: int = -1
    keys: frozenset[str] | None = None


def flat(raw: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Names with dots and values; an object of W&B's own (a histogram, an image) stays whole."""
    for key, value in raw.items():
        name = f"{above}{key}"
        if isinstance(value, dict) and "_type" not in value and above.count(".") < 5:
            yield from flat(value, f"{name}.")
        else:
            yield name, value


def row_of(raw: Mapping[str, Any], step: int | None = None) -> Row:
    """One row of a history."""
    values: list[tuple[str, float | None]] = []
    histograms: list[tuple[str, Bins]] = []
    broken = 0
    for name, value in flat(raw):
        if name.startswith("_"):
            continue
        if isinstance(value, dict):
            bins = bins_of(value)
            if bins is not None:
                histograms.append((name, bins))
            else:
                broken += value.get("_type") == "histogram"
        elif is_number(value):
            values.append((name, finite(value)))
    said = whole_of(raw.get("_step"))
    return Row(said if said is not None else step or 0, moment_of(raw.get("_timestamp")), values, histograms, broken)


def bins_of(raw: Mapping[str, Any]) -> Bins | None:
    """The histogram in a value, in either of its two forms; None for another object and for one that cannot be."""
    counts, edges, packed = raw.get("values"), raw.get("bins"), raw.get("packedBins")
    if raw.get("_type") != "histogram" or not isinstance(counts, list) or not 0 < len(counts) <= _BINS:
        return None
    if isinstance(packed, dict):
        low, size = finite(packed.get("min")), finite(packed.get("size"))
        if low is None or size is None or size <= 0:
            return None
        edges = [low + size * place for place in range(len(counts) + 1)]
    if not isinstance(edges, list) or len(edges) != len(counts) + 1:
        return None
    at, found = [finite(one) for one in edges], [whole_of(one) for one in counts]
    if any(one is None for one in at) or any(one is None or one < 0 for one in found):
        return None
    usable = tuple(one + 0.0 for one in at if one is not None)
    if any(low >= high for low, high in pairwise(usable)):
        return None
    return Bins(usable, tuple(one for one in found if one is not None))


def is_number(value: Any) -> bool:
    """Whether a value is a number, also one that is not finite, which W&B writes as text."""
    if isinstance(value, str):
        return value.lower() in _NOT_FINITE
    return isinstance(value, int | float) and not isinstance(value, bool)


def moment_of(value: Any) -> float | None:
    """Epoch seconds with their fraction; None for a time that is absent."""
    at = finite(value)
    return at if at is not None and YEAR <= at < FAR else None


def whole_of(value: Any) -> int | None:
    """A whole number, which may be written as 4.0; None for what is none, and over 2**62."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if abs(value) < 2**62 and int(value) == value else None
