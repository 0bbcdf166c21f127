"""Two sides, number by number: A, B, the difference with its interval, and what is mix and what is real."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard import text
from dashboard.blocks.marks import link
from dashboard.text import hx
from dashboard.view import View
from tandem.compared import Difference, Interval, Value
from tandem.shown import Half, Mixed

MINUS = "−"
VERDICTS: Mapping[str, tuple[str, str]] = {
    "better": ("▲", "Better"),
    "worse": ("▼", "Worse"),
    "different": ("◆", "Different"),
    "no difference to be seen": ("=", "No difference to be seen"),
    "": ("", "Cannot be told"),
}
"""Shape and word of a verdict; no state's colour."""
COUNTED = "Counted, not estimated"
SPLITS = {
    "mix": "mix: the segments' shares moved, not the segments",
    "real": "real: the segments themselves moved",
    "both": "both: shares and segments moved",
    "not enough data": "not enough data: the interval of the change includes 0",
    "unchanged": "unchanged",
}
NONE = "–"
MOST = 200
PARTS = 8
"""Segments that are listed of a split."""


def sides(a: Half, b: Half, view: View) -> str:
    """What A and B are, with the colours they have everywhere on the page."""
    inside = "".join(
        f'<div><dt><span class="ab-{name.lower()}"></span>{name}</dt><dd>{hx(said(half, view), 200)}</dd></div>'
        for name, half in (("A", a), ("B", b))
    )
    return f'<dl class="ab-sides">{inside}</dl>'


def said(half: Half, view: View) -> str:
    """One side in words: its window, and what it is narrowed to."""
    assert half.window is not None
    parts = [text.span(half.window.since, half.window.until, view.zone)]
    parts += [f"version {half.version}"] if half.version else []
    parts += [half.segment] if half.segment else []
    parts += [f"{half.stage} stage"] if half.stage != "production" else []
    return ", ".join(parts)


def differences(rows: Sequence[Difference], view: View, *, several: bool) -> str:
    """A row per number, most evidence first; the interval is drawn about zero and written out."""
    heads = ("Component",) if several else ()
    titles = (*heads, "Number", "A", "B", "Difference", "Relative", "95 % interval", "n of A", "n of B", "Verdict")
    numeric = {"A", "B", "Difference", "Relative", "95 % interval", "n of A", "n of B"}
    head = "".join(f'<th scope="col"{" class=x-num" if title in numeric else ""}>{title}</th>' for title in titles)
    body = "".join(_row(row, view, several=several) for row in rows[:MOST])
    more = f'<p class="m-more">and {text.count(len(rows) - MOST)} more</p>' if len(rows) > MOST else ""
    return (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Differences"><table class="f-table ab-table">'
        '<caption class="x-hide">Every number in A and in B, most evidence of a difference first</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{more}"
    )


def _row(one: Difference, view: View, *, several: bool) -> str:
    page = "models" if one.kind == "model" else "services"
    # What this page begins with is no default elsewhere: the same window and comparison go along.
    same = {key: view.asked[key] for key in ("from", "to", "compare")}
    owner = link(view.link(page, component=one.component, **same), text.clean(one.component, 60)) if several else ""
    name = f"{one.title} {one.measure}" if one.measure not in ("", "share") else one.title
    number = f'<span title="{hx(one.of, 120)}">{hx(name, 80)}</span>'
    first = f'<th scope="row">{owner}</th><td>{number}</td>' if several else f'<th scope="row">{number}</th>'
    shape, word = VERDICTS[one.verdict]
    if one.a.value is None or one.b.value is None:
        word = f"Only in {'B' if one.a.value is None else 'A'}"
    elif one.unit == "per hour":
        word = COUNTED
    verdict = f'<span aria-hidden="true">{shape}</span> {word}' if shape else f'<span class="x-muted">{word}</span>'
    return (
        f'<tr class="{"ab-sure" if one.certain else ""}">{first}'
        f'<td class="x-num">{_value(one.a, one.unit)}</td><td class="x-num">{_value(one.b, one.unit)}</td>'
        f'<td class="x-num"><b>{_signed(one.change, one.unit)}</b></td>'
        f'<td class="x-num">{_relative(one.relative)}</td>'
        f'<td class="x-num" title="{hx(one.how, 120)}">{_interval(one)}</td>'
        f'<td class="x-num">{_n(one.a)}</td><td class="x-num">{_n(one.b)}</td><td>{verdict}</td></tr>'
    )


def _value(side: Value, unit: str) -> str:
    if side.value is None:
        return '<span class="x-muted">none</span>' if not side.n else NONE
    return hx(amount(side.value, unit))


def amount(value: float, unit: str) -> str:
    """A value with its unit."""
    if unit == "share":
        return text.share(value)
    if unit == "s":
        return text.seconds(value)
    return f"{text.digits(value)}{f'{text.NARROW}/h' if unit == 'per hour' else ''}".replace("-", MINUS)


def _signed(change: float | None, unit: str) -> str:
    if change is None:
        return NONE
    return _sign(change) + _size(abs(change), unit)


def _sign(change: float) -> str:
    return "" if change == 0 else "+" if change > 0 else MINUS


def _size(size: float, unit: str) -> str:
    if unit == "share":
        return f"{_points(size * 100)}{text.NARROW}points"
    return amount(size, unit)


def _points(points: float) -> str:
    """Points of a share, to a thousandth."""
    return text.digits(points, 3) if points >= 0.1 or not points else f"{points:.3f}"


def _relative(relative: float | None) -> str:
    if relative is None:
        return NONE
    return f"{_sign(relative)}{text.digits(abs(relative) * 100, 3)}{text.NARROW}%"


def _interval(one: Difference) -> str:
    if one.interval is None:
        return f'<span class="x-muted">{NONE}</span>'
    low, high = one.interval
    scale = 100 if one.unit == "share" else 1
    ends = " to ".join(_sign(end) + _bare(abs(end) * scale, one.unit) for end in (low, high))
    return f'<span class="ab-both">{_drawn(one.change or 0.0, one.interval)}<span>{ends}</span></span>'


def _bare(size: float, unit: str) -> str:
    if unit == "share":
        return _points(size)
    return text.seconds(size) if unit == "s" else text.digits(size, 3)


def _drawn(change: float, interval: Interval) -> str:
    """The interval about zero, 72 by 12; what it says stands beside it."""
    reach = max(abs(interval[0]), abs(interval[1])) or 1.0
    low, high, at = (36 + 32 * max(min(value / reach, 1.0), -1.0) for value in (*interval, change))
    return (
        '<svg class="ab-interval" viewBox="0 0 72 12" aria-hidden="true"><path d="M36 0V12" class="ab-zero"/>'
        f'<path d="M{low:.1f} 6H{max(high, low + 1):.1f}" class="ab-line"/><circle cx="{at:.1f}" cy="6" r="2.6"/></svg>'
    )


def _n(side: Value) -> str:
    return NONE if side.n is None else text.count(side.n)


# -- mix or real


def split(title: str, parts: Sequence[Mixed]) -> str:
    """The change of one ratio from B to A in its exact parts, once per column of segments."""
    body = "".join(_part(one) for one in parts)
    titles = ("Segments of", "Change", "Mix", "Within", "Interaction", "What it is")
    heads = "".join(f'<th scope="col"{" class=x-num" if 0 < i < 5 else ""}>{name}</th>'
                    for i, name in enumerate(titles))  # fmt: skip
    return (
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Mix or real of {hx(title, 60)}">'
        f'<table class="f-table ab-split"><caption class="x-hide">Mix or real of {hx(title, 60)}</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _part(one: Mixed) -> str:
    numbers = "".join(f'<td class="x-num">{_signed(value, "share")}</td>' for value in
                      (one.change, one.mix, one.within, one.interaction))  # fmt: skip
    rows = "".join(_segment(one, place) for place in range(min(len(one.segments), PARTS)))
    return (
        f'<tr><th scope="row"><b>{hx(one.column, 60)}</b></th>{numbers}<td>{hx(SPLITS.get(one.verdict, one.verdict))}'
        f"</td></tr>{rows}"
    )


def _segment(one: Mixed, place: int) -> str:
    part = one.segments[place]
    (k0, n0), (k1, n1) = part.before, part.after
    rates = f"{_rate(k1, n1)} of {text.count(n1)} in A, {_rate(k0, n0)} of {text.count(n0)} in B"
    numbers = "".join(f'<td class="x-num">{_signed(value, "share")}</td>' for value in
                      (part.mix + part.within + part.interaction, part.mix, part.within, part.interaction))  # fmt: skip
    return f'<tr class="ab-part"><th scope="row">{hx(part.segment, 60)}</th>{numbers}<td>{hx(rates, 120)}</td></tr>'


def _rate(good: int, total: int) -> str:
    return text.share(good / total) if total else NONE
