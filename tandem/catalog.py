"""Signals as data: what each one measures, in which summary, and its default objective."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from tandem.records import BUCKET


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal; `target` and `threshold` make its default objective, exact fractions."""

    name: str
    title: str
    side: Literal["system", "model"]
    kind: Literal["ratio", "histogram", "confusion", "moments"]
    unit: str
    good: Literal["ratio", "below", "within", "accuracy", "none"]
    of: str
    meaning: str
    width: int = BUCKET
    better: Literal["higher", "lower"] = "higher"
    target: Fraction | None = None
    threshold: Fraction | None = None


def signal(name: str, given: dict[str, Any]) -> Signal:
    """A Signal of one table of the catalog or of the config."""
    exact: dict[str, Any] = {key: Fraction(str(given[key])) for key in ("target", "threshold") if key in given}
    return Signal(name=name, **{**given, **exact})


@cache
def built_in() -> dict[str, Signal]:
    """The built-in signals by name, in the order in which they are shown."""
    tables = tomllib.loads(files("tandem").joinpath("catalog.toml").read_text(encoding="utf-8"))
    return {name: signal(name, table) for name, table in tables.items()}
