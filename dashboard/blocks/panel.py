"""What every page is set in: title block, notices, headings of panels, short lists, first steps."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.blocks.marks import chip
from dashboard.text import hx


def title_block(title: str, note: str, age: str, state: str = "", words: str = "") -> str:
    """The title block: name, state, window, age of the data."""
    mark = chip(state, words) if state else ""
    said = " · ".join(part for part in (note, age) if part)
    return (
        f'<div class="h-head"><div class="h-line"><h1>{hx(title)}</h1>{mark}'
        f'<span class="x-muted">{hx(said)}</span></div></div>'
    )


def ignored(keys: Sequence[str]) -> str:
    """One sentence about keys of the link that were not understood; only names, never values."""
    if not keys:
        return ""
    named = ", ".join(f"<b>{hx(key, 40)}</b>" for key in keys[:5])
    more = f" and {len(keys) - 5} more" if len(keys) > 5 else ""
    return notice(f"Ignored in this link: {named}{more}. The page shows its defaults instead.")


def notice(inside: str) -> str:
    """A neutral notice; `inside` is finished markup."""
    return f'<div class="x-note" role="status"><span>{inside}</span></div>'


def section(title: str, said: str = "", side: str = "", more: str = "") -> str:
    """The heading of a panel."""
    square = '<span class="s-square"></span>' if side else ""
    extra = f'<span class="x-muted">{hx(said)}</span>' if said else ""
    return f'<div class="s-title {"x-" + side if side else ""}">{square}<h2>{hx(title)}</h2>{extra}{more}</div>'


def first_steps(title: str, said: str, items: Sequence[str]) -> str:
    """A friendly first step: what is missing and what to run; `items` are finished markup."""
    inside = "".join(f"<li>{item}</li>" for item in items)
    return f'<div class="x-panel">{section(title)}<p>{hx(said, 400)}</p><ol class="w-steps">{inside}</ol></div>'
