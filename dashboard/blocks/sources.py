"""The sources: how each one is, and what it has seen of the window."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, tzinfo

from dashboard import text
from dashboard.blocks.marks import NONE, SIDES, chip
from dashboard.blocks.panel import section
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import SourceState

SOURCE_STATES = {"up to date": "ok", "late": "at risk", "failing": "breached"}


def source_table(sources: Iterable[SourceState], view: View, collecting: bool = False) -> str:
    """The sources: side, name and scope, state, age of the data, last pull, coverage.

    `collecting`: the first collection still runs, and nothing that has yet to come is late.
    """
    titles = ("Side", "Source", "State", "Data age", "Last pull, and what to do", "Seen")
    heads = "".join(
        f'<span role="columnheader"{" class=o-age" if i in (3, 5) else ""}>{t}</span>' for i, t in enumerate(titles)
    )
    rows = "".join(_source(one, view, collecting) for one in sources)
    return (
        f'<div class="x-panel"><div class="o-table" role="table" aria-label="Sources">'
        f'<div class="o-row o-heads" role="row">{heads}</div>{rows}</div></div>'
    )


def _source(one: SourceState, view: View, collecting: bool) -> str:
    now, early = view.now, collecting and one.state not in ("up to date", "failing")
    word = "still collecting" if early else one.state
    state = "unknown" if early else SOURCE_STATES.get(one.state, "unknown")
    side = one.side if one.side in SIDES else "both"
    newest = f'<span class="o-key">data </span>{text.age(now - (one.newest or now))}<span class="o-key"> old</span>'
    cells = (
        f'<span role="cell" class="o-side"><span class="x-tag x-{side}">{SIDES.get(one.side, "Both")}</span></span>',
        f'<span role="rowheader" class="o-name"><b>{hx(one.name)}</b>',
        f'<small title="{hx(one.scope, 400)}">{hx(one.connector)} · {hx(text.middle(one.scope, 44))}</small></span>',
        f'<span role="cell" class="o-state">{chip(state, word[:1].upper() + word[1:])}</span>',
        f'<span role="cell" class="o-age o-old">{newest if one.newest is not None else NONE}</span>',
        f'<span role="cell" class="o-said">{_said(one, view, early)}{_findings(one)}</span>',
        f'<span role="cell" class="o-age o-seen"><span class="o-key">seen </span>{_seen(one)}</span>',
    )
    return f'<div class="o-row" role="row">{"".join(cells)}</div>'


def _said(one: SourceState, view: View, early: bool) -> str:
    pulled = f"{text.age(view.now - one.last_pull)} ago" if one.last_pull is not None else "never"
    said = hx(one.last_error or one.summary or "nothing yet", 400)
    todo = f"<small>{hx(one.next_step, 400)}</small>" if one.next_step and not early else ""
    every = f", every {text.age(one.every)}" if one.every else ", imported"
    return f'{said} <span class="x-muted">· {pulled}{every}</span>{_quiet(one, view)}{todo}'


def _quiet(one: SourceState, view: View) -> str:
    """Since when a source has had nothing, where that is since before the window."""
    if one.newest is None or one.newest >= view.window.since:
        return ""
    when = f"{text.moment(one.newest, view.zone)} {text.zone_name(one.newest, view.zone)}"
    return f"<small>No data since {hx(when)}.</small>"


def _seen(one: SourceState) -> str:
    return NONE if one.coverage is None else text.share(one.coverage)


def _findings(one: SourceState) -> str:
    parts = []
    for title, found in (("left out", one.rejects), ("counted with a remark", one.remarks)):
        if found:
            total = text.count(sum(number for _, _, number in found))
            items = "".join(
                f'<li>{text.count(number)} × {hx(reason)} <span class="x-muted">{hx(where)}</span></li>'
                for reason, where, number in found[:20]
            )
            parts.append(f'<details class="o-more"><summary>{total} {title}</summary><ul>{items}</ul></details>')
    if one.unmatched:
        total = text.count(sum(number for _, number in one.unmatched))
        items = "".join(f"<li>{text.count(number)} × {hx(labels)}</li>" for labels, number in one.unmatched[:20])
        parts.append(
            f'<details class="o-more"><summary>{total} without a component</summary><ul>{items}</ul></details>'
        )
    return "".join(parts)


def received(sources: Iterable[SourceState], since: int, until: int, zone: tzinfo = UTC) -> str:
    """What each source has seen of the window, as strips; quiet where all is well."""
    rows = "".join(_strip(one) for one in sources)
    middle = (since + until) // 2
    stamp = text.clock if until - since <= 2 * 86400 else text.moment
    axis = "".join(f"<span>{stamp(ts, zone)}</span>" for ts in (since, middle, until))
    head = section("Data received", "grey: all that was expected, amber: some, red outline: none, empty: not expected")
    scale = f'<div class="p-row" aria-hidden="true"><div class="p-axis">{axis}</div></div>'
    return f'<div class="x-panel">{head}{rows}{scale}</div>'


def _strip(one: SourceState) -> str:
    steps = _merged(one.strip, 96)
    width = 960 / max(len(steps), 1)
    runs: list[list[int]] = []
    kinds = ["p-off" if s is None else "p-miss" if s <= 0 else "p-full" if s >= 0.999 else "p-some" for s in steps]
    if one.state == "up to date" and kinds and kinds[-1] == "p-some":
        kinds[-1] = "p-full"  # the step that is being filled is not missing anything yet
    for i, kind in enumerate(kinds):
        if runs and kinds[runs[-1][0]] == kind:
            runs[-1][1] = i + 1
        else:
            runs.append([i, i + 1])
    rects = "".join(_stretch(kinds[a], round(a * width), round(b * width)) for a, b in runs)
    seen = text.share(one.coverage) if one.coverage is not None else "not expected"
    label = f"{one.name}: {seen} of what was expected arrived"
    return (
        f'<div class="p-row"><span class="p-name" title="{hx(one.name)}">{hx(one.name)}</span>'
        f'<svg class="p-strip" viewBox="0 0 960 20" preserveAspectRatio="none" role="img" aria-label="{hx(label)}">'
        f"{rects}</svg>"
        f'<span class="x-num x-muted">{seen if one.coverage is not None else "–"}</span></div>'
    )


def _stretch(kind: str, left: int, right: int) -> str:
    return f'<rect class="{kind}" x="{left}" y="1" width="{max(right - left, 2) - 1}" height="18"/>'


def _merged(strip: Sequence[float | None], most: int) -> list[float | None]:
    every = -(-len(strip) // most) if strip else 1
    merged: list[float | None] = []
    for start in range(0, len(strip), every):
        seen = [value for value in strip[start : start + every] if value is not None]
        merged.append(sum(seen) / len(seen) if seen else None)
    return merged
