"""What the command line, the API and the Share button ask of a report: its bytes, in one of two forms."""

from __future__ import annotations

from typing import Any

from dashboard.reported.document import document
from dashboard.reported.gathered import Asked, gathered, window_of
from dashboard.reported.tables import archive
from tandem import times
from tandem.shown import Window


def page(context: Any, asked: Asked, now: int) -> bytes:
    """The report as one HTML file; raises Unreadable for an unknown name."""
    return document(gathered(context, asked, now))


def tables(context: Any, asked: Asked, now: int) -> bytes:
    """Every table of the report as CSV and JSON in one ZIP; raises Unreadable for an unknown name."""
    return archive(gathered(context, asked, now))


def name_of(window: Window, ending: str) -> str:
    """The name of a report's file, by the days that it covers."""
    first, last = times.text(window.since)[:10], times.text(max(window.until - 1, window.since))[:10]
    return f"tandem-{first}.{ending}" if first == last else f"tandem-{first}-to-{last}.{ending}"


__all__ = ["Asked", "name_of", "page", "tables", "window_of"]
