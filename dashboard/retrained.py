"""After each onset of drift or breach of a model: whether it was trained again, and what its signal was then."""

from __future__ import annotations

from dashboard import element, frame, reading
from dashboard.blocks.panel import section
from dashboard.blocks.retrained import counted, onsets
from dashboard.view import View
from tandem.shown import Detail

TITLE = "After each onset: was it retrained?"


def show(view: View, found: Detail) -> None:
    """One row per onset that touches the window, newest first, below the sentence on the last one."""
    with frame.panel(view, TITLE):
        told = reading.retrained(view, found.component)
        inside = section(TITLE, counted(told)) + onsets(told, view)
        element.show(f'<div class="x-panel x-model">{inside}</div>', "retrained")
