"""The smallest parts: states as shape and word, links, hidden words."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard.text import hx
from tandem.shown import Cell

WORDS = {"ok": "On target", "at risk": "At risk", "breached": "Breached", "unknown": "No data"}
CLASSES = {"ok": "x-ok", "at risk": "x-risk", "breached": "x-bad", "unknown": "x-none"}
SIDES: Mapping[str, str] = {"system": "System", "model": "Model"}
PAGES: Mapping[str, str] = {"system": "services", "model": "models"}
NONE = "–"
SHAPES = {
    "ok": '<circle cx="5" cy="5" r="4" fill="var(--mark)"/>',
    "at risk": '<path d="M5 .6 9.8 9.4H.2Z" fill="var(--ink)"/>',
    "breached": '<path d="M5 0 10 5 5 10 0 5Z" fill="var(--ink)"/>',
    "unknown": '<circle cx="5" cy="5" r="3.7" fill="none" stroke="var(--mark)" stroke-width="1.5"/>',
}


def glyph(state: str) -> str:
    """The shape of a state."""
    return f'<svg class="x-glyph" viewBox="0 0 10 10" aria-hidden="true">{SHAPES[state]}</svg>'


def untargeted(shown: Cell) -> bool:
    """Whether a number is known and nothing was asked of it: then it has no state to show."""
    return shown.objective is None and (shown.value is not None or bool(shown.total))


def chip(state: str, words: str = "") -> str:
    """A state as shape and word."""
    return f'<span class="x-chip {CLASSES[state]}">{glyph(state)}{hx(words or WORDS[state])}</span>'


def hidden(words: str) -> str:
    """Text for screen readers only."""
    return f'<span class="x-hide">{hx(words)}</span>'


def link(href: str, label: str, classes: str = "x-link") -> str:
    """An in-app link; `label` is text."""
    return f'<a class="{classes}" data-go href="{hx(href, 4000)}">{hx(label)}</a>'


def state_legend() -> str:
    """What the shapes mean."""
    inside = "".join(f'<span class="{CLASSES[s]}">{glyph(s)}{WORDS[s]}</span>' for s in WORDS)
    return f'<div class="s-legend">{inside}</div>'


def unknown(shown: Cell) -> str:
    """The reason of a number that is not known, where it is short; else that there is none."""
    short = shown.reason.split(":")[0].split(",")[0].strip()
    return short[:1].upper() + short[1:] if 0 < len(short) <= 24 else WORDS["unknown"]
