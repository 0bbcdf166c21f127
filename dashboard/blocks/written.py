"""The text of a review: Markdown of strangers as safe HTML, with numbers and charts where it asks for them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache

from markdown_it import MarkdownIt

from dashboard.text import hx

PART = re.compile(r"\[\[(number|moment|timeline)\b([^\[\]\n]{0,300})\]\]")
_HELD = re.compile("\ue000(\\d+)\ue001")
_PRIVATE = re.compile("[\ue000\ue001]")
MOST = 100
"""Numbers and charts that one text may ask for."""
Parts = Callable[[str, tuple[str, ...]], str]
"""(kind, names) to finished markup."""


@cache
def _reader() -> MarkdownIt:
    """CommonMark with tables, without HTML, images, and addresses that lead out: those stay text."""
    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable("table")
    reader.disable(["html_block", "html_inline", "image", "autolink", "reference"])
    reader.validateLink = inside  # type: ignore[method-assign]
    return reader


def inside(url: str) -> bool:
    """Whether an address is a page of this dashboard."""
    return re.fullmatch(r"/(?![/\\])[\w/?=&%.:+,~-]*", url) is not None


def written(text: str, parts: Parts) -> str:
    """The text as HTML; `parts` draws what stands in double brackets."""
    held: list[str] = []

    def hold(found: re.Match[str]) -> str:
        if len(held) >= MOST:
            return found[0]
        names = tuple(name.strip() for name in found[2].split("|") if name.strip())
        held.append(parts(found[1], names))
        return f"\ue000{len(held) - 1}\ue001"

    markup = _reader().render(PART.sub(hold, _PRIVATE.sub("", text)))
    markup = markup.replace('<a href="', '<a class="x-link" data-go href="')
    return f'<div class="r-text">{_HELD.sub(lambda found: held[int(found[1])], markup)}</div>'


def unknown(kind: str, names: tuple[str, ...]) -> str:
    """What stands where a part asks for something that is not there."""
    return f'<span class="x-muted">[no {hx(kind)} {hx(" ".join(names), 80)} here]</span>'
