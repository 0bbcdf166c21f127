"""Data quality by column, what began and ended, and mix or real."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.blocks.measures import between
from dashboard.text import NARROW, hx
from tandem.modelled import Fault, Faulty, Quality
from tandem.shown import Change, Mixed, MixedSegment

ROWS = 14
REASONS = ("missing", "out of range", "unseen category", "wrong type")
VERDICTS: Mapping[str, str] = {
    "mix": "mostly mix: the traffic changed, not its segments",
    "real": "real: the segments themselves changed",
    "both": "both: the traffic changed, and so did its segments",
    "not enough data": "not enough data to call it a change",
    "unchanged": "unchanged",
}


def quality_table(found: Quality) -> str:
    """Columns by how faulty they are: rows with each fault, and when."""
    rows = "".join(_column(one) for one in found.columns[:ROWS])
    titles = ("Column", "Faulty rows", "Values", "What", "Values and faults over time")
    heads = "".join(f'<th scope="col"{" class=x-num" if 0 < place < 3 else ""}>{name}</th>'
                    for place, name in enumerate(titles))  # fmt: skip
    more = f'<p class="m-more">and {len(found.columns) - ROWS} more columns</p>' if len(found.columns) > ROWS else ""
    return (
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Data quality"><table class="f-table j-quality">'
        f'<caption class="x-hide">Data quality by column</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        f"</table></div>{more}"
    )


def _column(one: Faulty) -> str:
    bad = min(sum(one.faults.values()), one.rows)
    share = text.share(bad / one.rows) if bad else "none"
    what = ", ".join(f"{text.count(one.faults[name])} {name}" for name in REASONS if one.faults.get(name))
    values = text.count(sum(one.volume)) if one.volume else "–"
    interval = f"<small>{hx(between(one.interval, 'share'))}</small>" if bad else ""
    return (
        f'<tr><th scope="row">{hx(one.column, 40)}</th><td class="x-num">{hx(share)}{interval}</td>'
        f'<td class="x-num">{values}</td><td>{hx(what) or "–"}</td><td class="j-over">{_strip(one)}</td></tr>'
    )


def _strip(one: Faulty) -> str:
    """Two bars per step: how many values there were, pale; the share of faulty rows, on one scale of at least 5 %."""
    top = max([0.05, *(share for share in one.strip if share is not None)])
    most = max(one.volume, default=0) or 1
    width = 120 / max(len(one.strip), 1)
    parts = []
    for place, share in enumerate(one.strip):
        x, wide = round(place * width, 2), f"{max(width - 0.4, 0.8):.2f}"
        if share is None:
            parts.append(f'<rect class="j-off" x="{x}" y="18" width="{width:.2f}" height="2"/>')
            continue
        if one.volume:
            height = round(one.volume[place] / most * 18, 1)
            parts.append(f'<rect class="j-rows" x="{x}" y="{20 - height:.1f}" width="{wide}" height="{height}"/>')
        if share > 0:
            height = max(round(share / top * 18), 2)
            parts.append(f'<rect class="j-bad" x="{x}" y="{20 - height}" width="{wide}" height="{height}"/>')
    said = (
        f"{one.column}: at most {text.share(top)} of rows in one step" if any(one.strip) else f"{one.column}: no fault"
    )
    return (
        f'<svg class="j-strip" viewBox="0 0 120 20" preserveAspectRatio="none" role="img" aria-label="{hx(said)}">'
        f'<path class="j-base" d="M0 20H120"/>{"".join(parts)}</svg>'
    )


def dated(faults: Sequence[Fault], schema: Iterable[Change], zone: tzinfo) -> str:
    """What began and ended, newest first: faults, and columns that came, went or changed their type."""
    rows = [(one.since, _fault(one, zone)) for one in faults]
    rows += [(one.ts, _schema(one, zone)) for one in schema if one.outcome != "excluded"]
    if not rows:
        return '<p class="x-muted j-said">Nothing began or ended in this window, as far as the rows tell.</p>'
    listed = "".join(said for _, said in sorted(rows, key=lambda row: -row[0])[:10])
    return f'<ol class="j-dated">{listed}</ol>'


def _fault(one: Fault, zone: tzinfo) -> str:
    until = f"until {text.moment(one.until, zone)}" if one.until is not None else "still so"
    usual = text.share(one.usual) if one.usual else "none"
    return (
        f'<li><span class="x-muted">{text.moment(one.since, zone)}</span><span><b>{hx(one.column, 40)}</b> '
        f"{hx(one.reason)} in {hx(text.share(one.bad / one.n))} of {text.count(one.n)} rows, {until} "
        f'<span class="x-muted">(before: {hx(usual)})</span></span></li>'
    )


def _schema(one: Change, zone: tzinfo) -> str:
    when = text.moment(one.ts, zone)
    if one.until is not None and one.until - one.ts > 3600:
        when += f" to {text.moment(one.until, zone)}"
    return f'<li><span class="x-muted">{when}</span><span><b>Schema</b> {hx(one.title, 120)}</span></li>'


# -- mix or real


def mixed_block(found: Mapping[str, Sequence[Mixed]], titles: Mapping[str, str], than: str) -> str:
    """Of each ratio that segments cut: whether it changed because the traffic did, or because they did."""
    parts = [_mixed(titles.get(signal, signal), one, than) for signal, some in found.items() for one in some[:3]]
    return "".join(parts)


def _mixed(title: str, one: Mixed, than: str) -> str:
    (k0, n0), (k1, n1) = one.before, one.after
    rows = "".join(_segment(segment) for segment in one.segments[:6])
    more = len(one.segments) - 6
    tail = f'<p class="m-more">and {more} smaller segments</p>' if more > 0 else ""
    named = (("mix", one.mix), ("within", one.within), ("both at once", one.interaction))
    parts = " ".join(f"<span>{name} <b>{_points(value)}</b></span>" for name, value in named)
    return (
        f'<div class="j-mixed"><p><b>{hx(title)}</b> by {hx(one.column, 60)}: '
        f"<b>{_points(one.change)}</b> against {hx(than)} "
        f'<span class="x-muted">({hx(text.share(k0 / n0))} of {text.count(n0)} to {hx(text.share(k1 / n1))} of '
        f"{text.count(n1)}; 95 %: {_points(one.interval[0])} to {_points(one.interval[1])})</span></p>"
        f'<p class="j-verdict">{hx(VERDICTS.get(one.verdict, one.verdict))}</p><p class="j-parts x-muted">{parts}</p>'
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Mix or real by {hx(one.column, 60)}">'
        f'<table class="f-table j-table"><caption class="x-hide">Segments by what they add</caption><thead><tr>'
        f'<th scope="col">Segment</th><th scope="col" class="x-num">Traffic</th><th scope="col" class="x-num">Rate</th>'
        f'<th scope="col" class="x-num">Adds</th></tr></thead><tbody>{rows}</tbody></table></div>{tail}</div>'
    )


def _segment(one: MixedSegment) -> str:
    rates = " → ".join(text.share(k / n) if n else "none" for k, n in (one.before, one.after))
    rows = " → ".join(text.count(n) for _, n in (one.before, one.after))
    adds = one.mix + one.within + one.interaction
    return (
        f'<tr><th scope="row">{hx(one.segment, 40)}</th><td class="x-num">{rows}</td><td class="x-num">{hx(rates)}</td>'
        f'<td class="x-num">{_points(adds)}<small class="x-muted">mix {_points(one.mix)}</small></td></tr>'
    )


def _points(value: float) -> str:
    if abs(value) < 5e-5:
        return f"0{NARROW}pts"
    return f"{'+' if value > 0 else '−'}{text.digits(abs(value) * 100, 2)}{NARROW}pts"
