"""Figures as plain Plotly dicts, built from arrays, in mid-tones that read on both themes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

Figure = dict[str, Any]
SYSTEM, MODEL, RISK, BAD, GREY = "#3B7DE8", "#BC5A95", "#D08A00", "#E0561F", "#7C8595"
SIDE_A, SIDE_B = "#3B7DE8", "#D06A10"
"""The two sides of a comparison, everywhere: blue for A, orange for B."""
GRID, BANDS, INK = "rgba(128,136,150,.2)", "rgba(128,136,150,.08)", "#757D8B"
COLOURS: Mapping[str, str] = {"system": SYSTEM, "model": MODEL}
CONFIG = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False, "showAxisDragHandles": False}


class RawFigure(go.Figure):  # type: ignore[misc]
    """A figure whose dict is ready; skips Plotly's validation, nothing else of go.Figure works."""

    def __init__(self, figure: Figure) -> None:
        object.__setattr__(self, "_ready", figure)

    def to_dict(self) -> Figure:
        """The dict as it is."""
        ready: Figure = object.__getattribute__(self, "_ready")
        return ready

    def __repr__(self) -> str:
        return "RawFigure"
