"""How durations of requests are cut where a server counts them for us, and the units they come in."""

from __future__ import annotations

from collections.abc import Mapping

from tandem.bins import DURATION, Layout

UNITS: Mapping[str, int] = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
"""How many of a unit are a second."""
EDGES = tuple(edge for edge in DURATION.edges if edge <= 60)
"""Bounds of latency in seconds, 1 ms to a minute: they merge with all durations of Tandem."""
LAYOUT = Layout(edges=EDGES, closed="right", unit="s")
