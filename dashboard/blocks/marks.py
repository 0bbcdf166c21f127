"""The smallest parts: states as shape and word, links, hidden words."""

from __future__ import annotations

import re
from collections.abc import Mapping

from dashboard.text import hx
from tandem.shown import Cell

WORDS = {"ok": "On target", "at risk": "At risk", "breached": "Breached", "unknown": "No data"}
CLASSES = {"ok": "x-ok", "at risk": "x-risk", "breached": "x-bad", "unknown": "x-none"}
SIDES: Mapping[str, str] = {"system": "System", "model": "Model"}
PAGES: Mapping[str, str] = {"system": "services", "model": "models"}
NONE = "–"
RING = '<circle cx="5" cy="5" r="4" fill="none" stroke="var(--mark)" stroke-width="1.3"'
SHAPES = {
    "ok": '<circle cx="5" cy="5" r="4" fill="var(--mark)"/>',
    "at risk": '<path d="M5 .6 9.8 9.4H.2Z" fill="var(--ink)"/>',
    "breached": '<path d="M5 0 10 5 5 10 0 5Z" fill="var(--ink)"/>',
    "unknown": f"{RING}/>",
    "no traffic": f"{RING}/>",
    "not measured": f'{RING}/><path d="M2.2 7.8 7.8 2.2" stroke="var(--mark)" stroke-width="1.3"/>',
    "stale": f'{RING}/><path d="M5 2.4V5.3H7" fill="none" stroke="var(--mark)" stroke-width="1.2"/>',
    "no labels yet": f'{RING} stroke-dasharray="1.9 1.7"/>',
    "not enough evidence": f'{RING}/><circle cx="5" cy="5" r="1.3" fill="var(--mark)"/>',
    "corrected": f'{RING}/><path d="M3.9 3.3V6.7M6.1 3.3V6.7" stroke="var(--mark)" stroke-width="1.2"/>',
}
KINDS: Mapping[str, tuple[str, str]] = {
    "no traffic": ("No traffic", "u-quiet"),
    "not measured": ("Not measured", "u-unseen"),
    "stale": ("Stale", "u-stale"),
    "no labels yet": ("No labels yet", "u-labels"),
    "not enough evidence": ("Too few", "u-few"),
    "corrected": ("Left out", "u-few"),
}
"""Kinds of unknown, each with its word and its look: silence of one kind is never taken for another."""


def kind_of(state: str, reason: str) -> str:
    """The kind of an unknown, as its reason begins; any other state is its own."""
    if state != "unknown":
        return state
    return next((kind for kind in KINDS if reason.startswith(kind)), state)


def looks(state: str, reason: str = "") -> str:
    """The classes of a state, and of the kind of an unknown."""
    kind = kind_of(state, reason)
    return f"{CLASSES[state]} {KINDS[kind][1]}" if kind in KINDS else CLASSES[state]


def glyph(state: str, reason: str = "") -> str:
    """The shape of a state, and of the kind of an unknown."""
    return f'<svg class="x-glyph" viewBox="0 0 10 10" aria-hidden="true">{SHAPES[kind_of(state, reason)]}</svg>'


def untargeted(shown: Cell) -> bool:
    """Whether a number is known and nothing was asked of it: then it has no state to show."""
    return shown.objective is None and (shown.value is not None or bool(shown.total))


def chip(state: str, words: str = "", reason: str = "") -> str:
    """A state as shape and word."""
    return f'<span class="x-chip {looks(state, reason)}">{glyph(state, reason)}{hx(words or WORDS[state])}</span>'


def hidden(words: str) -> str:
    """Text for screen readers only."""
    return f'<span class="x-hide">{hx(words)}</span>'


def link(href: str, label: str, classes: str = "x-link") -> str:
    """An in-app link; `label` is text."""
    return f'<a class="{classes}" data-go href="{hx(href, 4000)}">{hx(label)}</a>'


_OUTWARD = re.compile(r"https?://[A-Za-z0-9.-]+(?::\d{1,5})?(?:/[A-Za-z0-9._~%!$&'()*+,;=:@/?#-]*)?")


def outward(url: str, label: str) -> str:
    """A link to where a source shows it itself; only its label, where the address is no plain one of the web."""
    if not _OUTWARD.fullmatch(url) or len(url) > 2000:
        return hx(label)
    return f'<a class="x-link" href="{hx(url, 2000)}" target="_blank" rel="noopener noreferrer">{hx(label)}</a>'


def state_legend() -> str:
    """What the shapes mean."""
    known = [(CLASSES[state], glyph(state), WORDS[state]) for state in ("ok", "at risk", "breached")]
    unseen = [(CLASSES["unknown"], glyph("unknown", kind), word) for kind, (word, _) in list(KINDS.items())[:4]]
    inside = "".join(f'<span class="{look}">{shape}{word}</span>' for look, shape, word in (*known, *unseen))
    return f'<div class="s-legend">{inside}</div>'


def unknown(shown: Cell) -> str:
    """The reason of a number that is not known, where it is short; else that there is none."""
    kind = kind_of(shown.state, shown.reason)
    if kind in KINDS:
        return KINDS[kind][0]
    short = shown.reason.split(":")[0].split(",")[0].strip()
    return short[:1].upper() + short[1:] if 0 < len(short) <= 24 else WORDS["unknown"]
