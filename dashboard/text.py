"""Text and numbers for people: the escapers of every sink, and how a number is written."""

from __future__ import annotations

import html
import re
import unicodedata
from datetime import UTC, datetime, tzinfo
from math import floor, isfinite, log10

_REPLACED = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}
"""Control, format, private, surrogate, separators: what can hide or turn text around."""
_MARKDOWN = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|:$~@&/])")
_SCHEME = re.compile(r"(?i)(https?|ftp|mailto)(\\?:)")
_WWW = re.compile(r"(?i)(www)(\\?\.)")
_JOINER = "\u2060"
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
NARROW = "\u202f"
"""Narrow no-break space, between a number and its unit and between groups of digits."""


def clean(text: str, limit: int = 200) -> str:
    """Text as it may be shown: at most `limit` characters, what is invisible or turns it round is U+FFFD."""
    if text.isascii() and text.isprintable():  # nearly always, and then there is nothing to look for
        return text[:limit]
    cut = unicodedata.normalize("NFC", text)[:limit]
    return "".join("\ufffd" if unicodedata.category(c) in _REPLACED else c for c in cut)


def md(text: str, limit: int = 200) -> str:
    """Plain text for any Streamlit sink that reads Markdown.

    GFM links bare addresses after backslashes are resolved, so a word joiner breaks those up as well.
    """
    escaped = _MARKDOWN.sub(r"\\\1", clean(text, limit))
    escaped = _SCHEME.sub(rf"\1{_JOINER}\2", escaped)
    escaped = _WWW.sub(rf"\1{_JOINER}\2", escaped)
    return escaped.replace("\\@", f"{_JOINER}\\@{_JOINER}")


def px(text: str, limit: int = 200) -> str:
    """Plain text for any Plotly string."""
    return html.escape(clean(text, limit), quote=False)


def hx(text: str, limit: int = 200) -> str:
    """Plain text for HTML, in an element or in a quoted attribute."""
    return html.escape(clean(text, limit), quote=True)


def middle(text: str, most: int) -> str:
    """A path or an address cut in its middle, so that where it begins and what it names stay."""
    if len(text) <= most:
        return text
    front = (most - 1) // 3
    return f"{text[:front]}…{text[len(text) - (most - 1 - front) :]}"


def csvsafe(text: str) -> str:
    """A text cell that no spreadsheet will run; not for numbers."""
    return "'" + text if text.startswith(_FORMULA) else text


def digits(value: float, significant: int = 3) -> str:
    """A number with that many significant digits and grouped thousands; never in exponent form."""
    if not isfinite(value):
        return "–"
    if value == 0:
        return "0"
    places = max(significant - 1 - floor(log10(abs(value))), 0)
    return f"{value:,.{min(places, 9)}f}".replace(",", NARROW)


def count(value: int) -> str:
    """A count with grouped thousands: 12 480."""
    return f"{value:,}".replace(",", NARROW)


def share(value: float | None) -> str:
    """A share of 1 as a percentage; more digits near 100 %, and never rounded up to it."""
    if value is None or not isfinite(value):
        return "–"
    if value == 1:
        return f"100{NARROW}%"
    failing = 1 - value
    places = 1 if failing >= 0.01 else 2 if failing >= 0.0002 else 3 if failing >= 0.00002 else 4
    unit = 10**places
    shown = min(floor(value * 100 * unit + 1e-7), 100 * unit - 1) / unit
    return f"{shown:.{places}f}{NARROW}%"


def target(value: float) -> str:
    """A target as it was configured: 99.9 %."""
    return f"{value * 100:.6f}".rstrip("0").rstrip(".") + f"{NARROW}%"


def seconds(value: float | None) -> str:
    """A duration of `value` seconds in the unit that reads best."""
    if value is None or not isfinite(value):
        return "–"
    for below, factor, unit in ((1, 1000, "ms"), (120, 1, "s"), (7200, 1 / 60, "min"), (172800, 1 / 3600, "h")):
        if abs(value) < below:
            return f"{digits(value * factor)}{NARROW}{unit}"
    return f"{digits(value / 86400)}{NARROW}d"


def edge(value: float) -> str:
    """A round duration, as the edge of a bin or a tick: 50 ms, 2.5 s."""
    number, _, unit = seconds(value).rpartition(NARROW)
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number}{NARROW}{unit}"


def age(value: int | None) -> str:
    """How old something is, in whole units: 40 s, 12 min, 3 h, 5 d."""
    if value is None:
        return "–"
    for below, width, unit in ((90, 1, "s"), (5400, 60, "min"), (172800, 3600, "h")):
        if value < below:
            return f"{max(value, 0) // width}{NARROW}{unit}"
    return f"{value // 86400}{NARROW}d"


def burn(value: float | None) -> str:
    """A burn rate: 3.8×."""
    if value is None or not isfinite(value):
        return "–"
    return f"{digits(value, 2) if value < 10 else digits(value)}×"


def moment(ts: int, zone: tzinfo = UTC) -> str:
    """A point in time: 20 Nov 18:00."""
    at = datetime.fromtimestamp(ts, zone)
    return f"{at.day} {at:%b} {at:%H:%M}"


def clock(ts: int, zone: tzinfo = UTC) -> str:
    """A time of day: 18:00."""
    return f"{datetime.fromtimestamp(ts, zone):%H:%M}"


def day(ts: int, zone: tzinfo = UTC) -> str:
    """A day: 20 Nov."""
    at = datetime.fromtimestamp(ts, zone)
    return f"{at.day} {at:%b}"


def zone_name(ts: int, zone: tzinfo = UTC) -> str:
    """The zone's own short name at that time: UTC, CET."""
    return datetime.fromtimestamp(ts, zone).tzname() or "UTC"


def span(since: int, until: int, zone: tzinfo = UTC) -> str:
    """A window for people: 19–20 Nov, 18:00 to 18:00 UTC."""
    first, last = datetime.fromtimestamp(since, zone), datetime.fromtimestamp(until, zone)
    year = f" {last:%Y}" if first.year != last.year else ""
    if first.date() == last.date():
        days = f"{last.day} {last:%b}"
    elif (first.year, first.month) == (last.year, last.month):
        days = f"{first.day}–{last.day} {last:%b}"
    else:
        days = f"{first.day} {first:%b}{f' {first:%Y}' if year else ''} – {last.day} {last:%b}{year}"
    return f"{days}, {first:%H:%M} to {last:%H:%M} {zone_name(until, zone)}"


def plural(number: int, one: str, many: str = "") -> str:
    """A count with its noun: 1 service, 8 services."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
