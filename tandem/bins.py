"""Bin layouts: how a quantity is cut into bins, so that histograms merge by addition."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MISSING = -32768
"""Bin of absent and non-finite values; counted apart, outside every distance and quantile."""
OTHER = -32767
"""Bin of every category after the first `CATEGORIES`."""
ZERO = -32766
"""Bin of an exponential layout that holds the values around zero."""
CATEGORIES = 100
"""How many categories of a feature keep a bin of their own."""

LayoutKind = Literal["edges", "exponential", "categories"]


@dataclass(frozen=True, slots=True)
class Layout:
    """The bins of a histogram; part of a series' identity.

    `edges`: bin i holds the values with exactly i edges at or below them (closed="left": edges[i-1] <= v < edges[i]),
    or strictly below them (closed="right", as Prometheus' `le`); bin 0 lies below the first edge, bin len(edges) is
    open above. All edges are finite; +Inf is the open last bin.
    `exponential`: bin i holds base**(i-1) < v <= base**i with base = 2**(2**-schema); ZERO holds the values around 0.
    `categories`: bin i holds values[i]; OTHER holds the rest.
    `digits`: sums per bin are whole multiples of 10**-digits; None where the source states no sums per bin.
    `approximate`: the counts come from a sketch or another binning, not from the values.
    """

    kind: LayoutKind = "edges"
    edges: tuple[float, ...] = ()
    closed: Literal["left", "right"] = "left"
    schema: int = 0
    values: tuple[str, ...] = ()
    digits: int | None = None
    unit: str = ""
    approximate: bool = False
