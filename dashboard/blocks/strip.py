"""Strips: what a component attained in each stretch of the window, told apart by height as well as by colour.

The heights and the colours are in the style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from dashboard.blocks.spark import HATCH
from dashboard.text import hx
from tandem.lists import Attained

WORDS: dict[Attained, str] = {
    "met": "met its targets",
    "missed": "missed one",
    "far": "missed one by far",
    "quiet": "nothing happened",
    "unseen": "not seen",
}
HATCHED = (
    '<defs><pattern id="td-unseen" width="4" height="4" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<path d="M0 0V4" stroke="var(--st-gray-color)" stroke-width="1.6"/></pattern></defs>'
)
"""What is not seen is filled with; stands once beside some strips."""


def strip(cells: Sequence[Attained], whose: str) -> str:
    """One cell per stretch; like neighbours are one shape."""
    width = len(cells) or 1
    parts, at = [], 0
    for kind, run in groupby(cells):
        length = sum(1 for _ in run)
        left, wide = f"{100 * at / width:.4g}", f"{100 * length / width:.4g}"
        parts.append(f'<rect class="g-{kind}" x="{left}%" width="{wide}%"/>')
        at += length
    return (
        f'<svg class="g-strip" style="--cells:{width}" role="img" '
        f'aria-label="{hx(said(cells, whose), 400)}">{"".join(parts)}</svg>'
    )


def said(cells: Sequence[Attained], whose: str) -> str:
    """A strip in words."""
    counted = [f"{sum(cell == kind for cell in cells)} {word}" for kind, word in WORDS.items() if kind in cells]
    return f"{whose}: of {len(cells)} stretches {', '.join(counted) or 'none was seen'}"


def strip_legend(aside: str = "") -> str:
    """What the cells of a strip are; it brings the patterns of strips and of budget bars along."""
    names: dict[Attained, str] = {
        "met": "met", "missed": "missed", "far": "missed by far", "quiet": "nothing happened", "unseen": "not seen",
    }  # fmt: skip
    inside = "".join(f"<span>{strip((kind,), name)}{name}</span>" for kind, name in names.items())
    over = HATCH.replace("var(--ink)", "var(--st-red-text-color)")  # a pattern has the colours of where it stands
    hatch = f'<svg class="g-defs" aria-hidden="true">{HATCHED}{over}</svg>'
    return f'<div class="s-legend g-legend">{hatch}{inside}<span>{hx(aside)}</span></div>'
