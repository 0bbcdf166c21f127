"""Blocks of the pages as they may stand in a file: no script, no control, no address but places inside the file."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from html.parser import HTMLParser
from urllib.parse import parse_qsl, urlsplit

DRAWN = frozenset((
    "a", "article", "aside", "b", "br", "caption", "circle", "col", "colgroup", "dd", "defs", "details", "div", "dl",
    "dt", "em", "figure", "footer", "g", "h1", "h2", "h3", "h4", "header", "i", "li", "line", "main", "nav", "ol", "p",
    "path", "pattern", "polygon", "polyline", "rect", "section", "small", "span", "strong", "sub", "summary", "sup",
    "svg", "table", "tbody", "td", "text", "tfoot", "th", "thead", "title", "tr", "ul",
))  # fmt: skip
"""Elements that a report may hold; what stands in any other is text."""
EMPTY = frozenset({"br", "col"})
DROPPED = frozenset({"script", "style", "iframe", "object", "embed", "template", "noscript", "form", "input"})
"""Elements that go with all that is in them; `input` has nothing in it."""
KEPT = frozenset((
    "aria-hidden", "aria-label", "aria-current", "class", "colspan", "cx", "cy", "d", "dx", "dy", "fill", "height",
    "id", "patterntransform", "patternunits", "points", "preserveaspectratio", "r", "role", "rowspan", "rx", "scope",
    "stroke", "stroke-dasharray", "stroke-width", "style", "text-anchor", "title", "transform", "vector-effect",
    "viewbox", "width", "x", "x1", "x2", "y", "y1", "y2",
))  # fmt: skip
"""Attributes that a report may hold."""
CAMEL = {
    "viewbox": "viewBox", "preserveaspectratio": "preserveAspectRatio", "patternunits": "patternUnits",
    "patterntransform": "patternTransform",
}  # fmt: skip
"""Attributes of SVG whose case the parser has lost."""
ROLES = frozenset({"img", "table", "row", "rowheader", "columnheader", "cell", "list", "listitem"})


class _Stilled(HTMLParser):
    """Writes what it reads again, as far as it may stand in a file."""

    def __init__(self, places: Mapping[str, str]) -> None:
        super().__init__(convert_charrefs=True)
        self.places = places
        self.written: list[str] = []
        self.open: list[tuple[str, str]] = []
        self.left_out = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Write an element that may stand; a button becomes what it says."""
        if tag in DROPPED:
            self.left_out += tag != "input"
        if self.left_out or tag in DROPPED:
            return
        given = {name: value or "" for name, value in attrs}
        name, kept = tag, self._kept(given)
        if tag == "a":
            place = self._place(given.get("href", ""))
            name, kept = ("a", {**kept, "href": place}) if place else ("span", kept)
        elif tag not in DRAWN:
            name = "span"
        if name == "details":
            kept["open"] = "open"
        said = "".join(f' {CAMEL.get(key, key)}="{escape(value, quote=True)}"' for key, value in kept.items())
        self.written.append(f"<{name}{said}>")
        if name not in EMPTY:
            self.open.append((tag, name))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Write an element without content, as SVG has them."""
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened, and everything that was left open in it."""
        if tag in DROPPED:
            self.left_out = max(0, self.left_out - (tag != "input"))
            return
        if self.left_out or tag not in [one for one, _ in self.open]:
            return
        while True:
            was, name = self.open.pop()
            self.written.append(f"</{name}>")
            if was == tag:
                return

    def handle_data(self, data: str) -> None:
        """Write text."""
        if not self.left_out:
            self.written.append(escape(data, quote=False))

    def _kept(self, given: Mapping[str, str]) -> dict[str, str]:
        return {
            name: value for name, value in given.items()
            if name in KEPT and (name != "role" or value in ROLES) and "url(" not in value.replace("url(#", "")
        }  # fmt: skip

    def _place(self, href: str) -> str:
        """Where a link leads inside the file; "" where it would lead out of it."""
        parts = urlsplit(href)
        component = dict(parse_qsl(parts.query)).get("component", "")
        return f"#{self.places[component]}" if not parts.netloc and component in self.places else ""


def stilled(markup: str, places: Mapping[str, str]) -> str:
    """Finished markup as it may stand in a file; `places` are the anchors of the components that are in it."""
    parser = _Stilled(places)
    parser.feed(markup)
    parser.close()
    parser.written += [f"</{name}>" for _, name in reversed(parser.open)]
    return "".join(parser.written)
