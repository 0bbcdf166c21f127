"""Blocks of a page as escaped HTML and SVG; every text from outside goes through `hx`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, tzinfo

from dashboard import text
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Card, Cell, Change, FeatureDrift, Overview, Row, Side, SourceState

WORDS = {"ok": "On target", "at risk": "At risk", "breached": "Breached", "unknown": "No data"}
CLASSES = {"ok": "x-ok", "at risk": "x-risk", "breached": "x-bad", "unknown": "x-none"}
SIDES: Mapping[str, str] = {"system": "System", "model": "Model"}
PAGES: Mapping[str, str] = {"system": "services", "model": "models"}
LANES: Mapping[str, str] = {
    "Incident": "both",
    "Drift": "model",
    "Model": "model",
    "Deploy": "system",
    "Build": "system",
}
OUTCOMES = {"good": "done", "bad": "failed", "open": "open", "excluded": "not counted"}
SOURCE_STATES = {"up to date": "ok", "late": "at risk", "failing": "breached"}
ROWS = 60
"""Rows of the matrix that are drawn; they come worst first, and the rest are counted."""
LISTED = 14
NONE = "–"
STEPPED = 40
"""A sparkline of at most so many values is drawn as steps."""
ARROWS = {1: "▲", 0: "=", -1: "▼"}
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


def header(title: str, note: str, age: str, state: str = "", words: str = "") -> str:
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
    return note(f"Ignored in this link: {named}{more}. The page shows its defaults instead.")


def note(inside: str) -> str:
    """A neutral notice; `inside` is finished markup."""
    return f'<div class="x-note" role="status"><span>{inside}</span></div>'


def section(title: str, said: str = "", side: str = "", more: str = "") -> str:
    """The heading of a panel."""
    square = '<span class="s-square"></span>' if side else ""
    extra = f'<span class="x-muted">{hx(said)}</span>' if said else ""
    return f'<div class="s-title {"x-" + side if side else ""}">{square}<h2>{hx(title)}</h2>{extra}{more}</div>'


def legend() -> str:
    """What the shapes mean."""
    inside = "".join(f'<span class="{CLASSES[s]}">{glyph(s)}{WORDS[s]}</span>' for s in WORDS)
    return f'<div class="s-legend">{inside}</div>'


def spark(
    values: Sequence[float | None], aim: float | None, immature: Sequence[bool] = (), other: Sequence[float | None] = ()
) -> str:
    """A sparkline as SVG: integer coordinates, at most one point per two pixels, gaps where nothing was seen.

    Few values are drawn as steps, because each holds for all of its step; `other` is thin and grey, on the same scale.
    """
    points, before = _thinned(values, 120), _thinned(other, 120)
    seen = [value for value in (*points, *before) if value is not None]
    if not seen:
        return '<svg class="c-spark" aria-hidden="true"></svg>'
    scale = [*seen, aim] if aim is not None else seen
    low, high = min(scale), max(scale)
    if high == low:
        low, high = low - 0.5, high + 0.5
    width, unit = 200, 36 / (high - low)
    soft_from = _first_immature(immature, len(values)) * len(points) // max(len(values), 1)
    line, soft, area = [], [], []
    for start, run in _runs(points):
        cut = max(min(soft_from - start, len(run)), 0)
        xy = _xy(start, run, len(points), low, unit)
        edge = cut * 2 if len(points) <= STEPPED else cut + 1 if cut < len(run) else cut
        line.append(_path(xy[:edge]))
        soft.append(_path(xy[edge if len(points) <= STEPPED else cut :]) if cut < len(run) else "")
        area.append(f"{_path(xy)}L{xy[-1][0]} 40L{xy[0][0]} 40Z")
    aim_line = ""
    if aim is not None:
        y = round(38 - (aim - low) * unit)
        aim_line = f'<path class="v-target" d="M0 {y}H{width}"/>'
    then = "".join(_path(_xy(start, run, len(before), low, unit)) for start, run in _runs(before))
    grey = f'<path class="v-other" d="{then}"/>' if then else ""
    return (
        f'<svg class="c-spark" viewBox="0 0 {width} 40" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="v-area" d="{"".join(area)}"/>{grey}{aim_line}'
        f'<path class="v-line" d="{"".join(line)}"/><path class="v-line v-soft" d="{"".join(soft)}"/></svg>'
    )


def _xy(start: int, run: Sequence[float], points: int, low: float, unit: float) -> list[tuple[int, int]]:
    """The places of a run: two for each value where values are steps, else one; a lonely value is a short dash."""
    ys = [round(38 - (value - low) * unit) for value in run]
    if points <= STEPPED:
        wide = 200 / points
        return [(round((start + i + side) * wide), y) for i, y in enumerate(ys) for side in (0, 1)]
    dx = 200 / (points - 1)
    xs = [round((start + i) * dx) for i in range(len(run))]
    return list(zip(xs, ys, strict=True)) if len(run) > 1 else [(xs[0] - 1, ys[0]), (xs[0] + 1, ys[0])]


def _first_immature(immature: Sequence[bool], length: int) -> int:
    return next((i for i, soft in enumerate(immature) if soft), length)


def _thinned(values: Sequence[float | None], most: int) -> list[float | None]:
    if len(values) <= most:
        return list(values)
    every = -(-len(values) // (most // 2))
    kept: list[float | None] = []
    for start in range(0, len(values), every):
        seen = [value for value in values[start : start + every] if value is not None]
        kept += [min(seen), max(seen)] if seen else [None, None]
    return kept


def _runs(points: Sequence[float | None]) -> list[tuple[int, list[float]]]:
    runs: list[tuple[int, list[float]]] = []
    open_run = False
    for i, value in enumerate(points):
        if value is None:
            open_run = False
            continue
        if not open_run:
            runs.append((i, []))
        runs[-1][1].append(value)
        open_run = True
    return runs


def _path(xy: Sequence[tuple[int, int]]) -> str:
    return "M" + "L".join(f"{x} {y}" for x, y in xy) if xy else ""


def budget(left: float) -> str:
    """The budget bar: one width and one scale for all; what is overspent is hatched."""
    over = left < 0
    width = round(min(abs(left), 1) * 62)
    fill = "url(#td-hatch)" if over else "var(--ink)"
    hatch = (
        '<defs><pattern id="td-hatch" width="5" height="5" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<path d="M0 0V5" stroke="var(--ink)" stroke-width="5"/></pattern></defs>'
        if over
        else ""
    )
    return (
        f'<svg class="c-bar" viewBox="0 0 64 6" preserveAspectRatio="none" aria-hidden="true">{hatch}'
        f'<rect class="c-track" x=".5" y=".5" width="63" height="5" rx="2.5"/>'
        f'<rect x="1" y="1" width="{max(width, 1)}" height="4" rx="2" fill="{fill}"/></svg>'
    )


def card_value(cell: Cell) -> tuple[str, str]:
    """The large number of a card and its unit: the share of good where there is one."""
    shown = text.share(cell.good / cell.total) if cell.good is not None and cell.total else cell.text
    if cell.value is None and not cell.total:
        return NONE, ""
    number, _, unit = shown.replace(text.NARROW, " ").rpartition(" ")
    return (number, unit) if number and not unit[:1].isdigit() else (shown, "")


def budget_words(cell: Cell) -> str:
    """Budget left and burn, as text."""
    objective = cell.objective
    if objective is None:
        return ""
    if objective.budget_left is None:
        return hx(cell.reason or "budget not known")
    left = objective.budget_left
    said = (
        f"{text.digits(abs(left) * 100, 2 if abs(left) < 1 else 3)}{text.NARROW}% {'overspent' if left < 0 else 'left'}"
    )
    return f"<b>{said}</b>{_burn(objective.burn)}"


def _burn(burn: Mapping[str, float | None]) -> str:
    window = next((name for name in ("6h", "1h", "1d", "3d", *burn) if burn.get(name) is not None), None)
    if not window:
        return ""
    rate = text.burn(burn[window])
    return f'<span class="c-dot"> · </span><span class="c-burn" title="over {hx(window)}">burn {rate}</span>'


def against(view: View) -> str:
    """The window that is compared with, in words; "" for none."""
    if view.against is None:
        return ""
    return (
        "one week before"
        if view.compare == "week"
        else f"the previous {text.age(view.window.until - view.window.since)}"
    )


def moved(change: float | None, unit: str, base: float | None = None) -> tuple[str, str]:
    """An arrow and a number for a change: points of a share, a duration, per cent of a count; ("", "") for none."""
    if change is None:
        return "", ""
    if unit == "share":
        size, said = abs(change) * 100, f"{text.digits(abs(change) * 100, 2)}{text.NARROW}points"
    elif unit == "s":
        size, said = abs(change) * 1e4, _brief(abs(change))
    elif not base:
        return "", ""
    else:
        size, said = abs(change / base) * 100, f"{text.digits(abs(change / base) * 100, 2)}{text.NARROW}%"
    if size < 0.005:
        return ARROWS[0], "unchanged"
    return ARROWS[1 if change > 0 else -1], said


def _brief(seconds: float) -> str:
    number, _, unit = text.seconds(seconds).rpartition(text.NARROW)
    return f"{text.digits(float(number.replace(text.NARROW, '')), 2)}{text.NARROW}{unit}"


def _card_moved(shown: Cell, than: str) -> str:
    """What the large number of a card has moved; direction is an arrow and a word, never a state's colour."""
    then = shown.compared
    if not than or then is None:
        return ""
    if shown.value is not None and then.value is not None:
        arrow, said = moved(shown.value - then.value, "share")
    else:
        arrow, said = moved(then.change, then.unit, then.total) if then.unit == "count" else ("", "")
    if not arrow:
        return f'<span class="c-moved">nothing to compare with {hx(than)}</span>'
    mark = f'<span aria-hidden="true">{arrow} </span>{hidden({"▲": "up ", "▼": "down "}.get(arrow, ""))}'
    return f'<span class="c-moved"><b>{mark}{hx(said)}</b> against {hx(than)}</span>'


def card(shown: Cell, href: str = "", *, attention: int = 0, components: int = 0, than: str = "") -> str:
    """One card: name and state; value; what it counts and the target; what it moved; budget left and burn."""
    number, unit = card_value(shown)
    objective = shown.objective
    aim = ""
    if objective:
        aim = f'<span class="c-aim">target {text.target(objective.target)}, {hx(objective.window)}</span>'
    bar = budget(objective.budget_left) if objective and objective.budget_left is not None else ""
    mark = chip(shown.state, WORDS[shown.state] if shown.state != "unknown" else _unknown(shown))
    if untargeted(shown):
        mark = '<span class="x-muted">no target</span>'
    whose = f' title="Budget of {hx(shown.component)}, the worst of {components}"' if components > 1 else ""
    tag, link_to = ("a", f' data-go href="{hx(href, 4000)}"') if href else ("div", "")
    foot = ""
    if objective:
        named = hx(shown.component, 60) if components > 1 else '<span aria-hidden="true">Budget</span>'
        foot = (
            f'<span class="c-foot"><span class="c-whose">{hidden("Error budget ")}{named}</span>{bar}'
            f'<span class="c-left">{budget_words(shown)}</span></span>'
        )
    plain = "" if objective or any(value is not None for value in shown.spark) else " c-plain"
    extra = f"; {attention} of {components} need attention" if attention else ""
    return (
        f'<{tag} class="c-card x-{shown.side} {CLASSES[shown.state]}{plain}"{link_to}{whose}>'
        f'<span class="c-top"><span class="c-name">{hx(shown.title)}</span>{mark}</span>'
        f'<span><span class="c-value">{hx(number)}<small>{hx(unit)}</small></span>'
        f'<span class="c-of"><span>{hx(shown.of)}</span>{aim}{hidden(extra) if extra else ""}</span></span>'
        f"{spark(shown.spark, shown.spark_target, shown.immature, shown.compared.spark if shown.compared else ())}"
        f"{_card_moved(shown, than)}{foot}</{tag}>"
    )


def _unknown(shown: Cell) -> str:
    short = shown.reason.split(":")[0].split(",")[0].strip()
    return short[:1].upper() + short[1:] if 0 < len(short) <= 24 else WORDS["unknown"]


def sides(overview: Overview, view: View) -> str:
    """System left, model right, the same grammar on both."""
    parts = []
    counts = {"system": (overview.services, "service"), "model": (overview.models, "model")}
    for side in view.sides:
        many, one = counts[side]
        attention = overview.attention.get(side, 0)
        said = text.plural(many, one) + (
            f" · {attention} need{'s' if attention == 1 else ''} attention" if attention else ""
        )
        cards = "".join(_side_card(one_card, view) for one_card in overview.cards.get(side, ()))
        inside = f'<div class="c-grid">{cards}</div>' if cards else f'<p class="x-muted">{_no_cards(side, many)}</p>'
        parts.append(
            f'<section class="x-{side}">{section(SIDES[side], said, side, _only(side, view))}{inside}</section>'
        )
    return f'<div class="c-sides{" c-one" if len(parts) == 1 else ""}">{"".join(parts)}</div>'


def _only(side: str, view: View) -> str:
    """A link to this side alone, or back to both."""
    if len(view.sides) == 1:
        return link(view.link(view.page, side=""), "both sides", "s-only x-link")
    return link(view.link(view.page, side=side), f"{side} only", "s-only x-link")


def _no_cards(side: str, many: int) -> str:
    if many:
        return "Nothing has been measured yet in this window."
    return f"No {'model' if side == 'model' else 'service'} is configured: add one to tandem.toml."


def _side_card(shown: Card, view: View) -> str:
    href = view.link(PAGES[shown.cell.side], component=shown.cell.component)
    return card(shown.cell, href, attention=shown.attention, components=shown.components, than=against(view))


def matrix(
    rows: Sequence[Row],
    columns: Mapping[Side, tuple[tuple[str, str], ...]],
    view: View,
    shown_sides: tuple[Side, ...] = ("system", "model"),
) -> str:
    """One row per service and its model, worst first; one tab stop, arrow keys move inside."""
    used = {side: columns.get(side, ()) for side in shown_sides}
    body = "".join(_row(i, row, used, view) for i, row in enumerate(rows[:ROWS]))
    more = ""
    if len(rows) > ROWS:
        more = (
            f'<p class="m-more">The worst {ROWS} of {len(rows)} rows are shown; choose a product to see the others.</p>'
        )
    cells = max((len(c) for c in used.values()), default=1) or 1
    tall = " m-two" if view.against else ""
    return (
        f'<div class="m-scroll" style="--cells:{cells}"><table class="m-table{tall}" role="grid">'
        '<caption class="x-hide">State of each product: one row per service and its model, worst first. '
        "Arrow keys move between cells.</caption>"
        f"{_matrix_heads(used)}<tbody>{body}</tbody></table></div>{more}"
    )


def _matrix_heads(used: Mapping[Side, tuple[tuple[str, str], ...]]) -> str:
    widths, groups, names = "", "", ""
    for i, (side, columns) in enumerate(used.items()):
        lead = "Product · service" if side == "system" else "Paired model" if i else "Product · model"
        spanned = f'<th class="m-group x-{side}" scope="colgroup" colspan="{len(columns)}">{SIDES[side]}</th>'
        widths += f'<col class="{"m-short" if i else "m-wide"}">' + "<col>" * len(columns)
        groups += '<td role="gridcell"></td>' + (spanned if columns else "")
        names += f'<th class="m-lead" scope="col">{lead}</th>'
        names += "".join(f'<th scope="col">{hx(title)}</th>' for _, title in columns)
    return f'<colgroup>{widths}</colgroup><thead><tr role="row">{groups}</tr><tr role="row">{names}</tr></thead>'


def _row(index: int, row: Row, used: Mapping[Side, tuple[tuple[str, str], ...]], view: View) -> str:
    parts, column = [], 0
    for side, columns in used.items():
        name, cells = (row.service, row.system) if side == "system" else (row.model, row.models)
        parts.append(_row_name(row, side, len(used) > 1, view))
        for signal, title in columns:
            parts.append(_cell(cells.get(signal), title, name, f"{index}:{column}", view))
            column += 1
    return f'<tr class="m-row" role="row">{"".join(parts)}</tr>'


def _row_name(row: Row, side: str, both: bool, view: View) -> str:
    component = row.service if side == "system" else row.model
    first = side == "system" or not both
    product = f"<b>{hx(row.product, 80)}</b>" if first and row.product else ""
    if component:
        version = f' <span class="x-muted">{hx(row.version, 40)}</span>' if side == "model" and row.version else ""
        name = link(view.link(PAGES[side], component=component, version=""), component, "") + version
    else:
        name = f'<span class="x-muted">no {"service" if side == "system" else "model"}</span>'
    tag, role = ("th", 'scope="row" role="rowheader"') if first else ("td", 'role="gridcell"')
    return (
        f'<{tag} class="m-name" {role} title="{hx(" ".join((row.product, component)).strip())}">{product}{name}</{tag}>'
    )


def _cell(shown: Cell | None, title: str, component: str, place: str, view: View) -> str:
    head = f'<span class="m-head" aria-hidden="true">{hx(title)}</span>'
    if shown is None:
        why = "not measured" if component else "none"
        dash = f'<span class="m-dash">{head}<span aria-hidden="true">{NONE}</span>{hidden(why)}</span>'
        return f'<td class="m-cell" role="gridcell">{dash}</td>'
    word = WORDS[shown.state] if shown.state != "unknown" else shown.reason or "unknown"
    value = shown.text if shown.state != "unknown" or shown.value is not None else _unknown(shown).lower()
    measure = f" {shown.measure}" if shown.measure and shown.measure.lower() != title.lower() else ""
    href = view.link(PAGES[shown.side], component=shown.component)
    about = ". ".join(part for part in (f"{title}{measure}: {shown.text}", shown.of, word, shown.reason) if part)
    look, shape = (CLASSES[shown.state], glyph(shown.state)) if not untargeted(shown) else ("m-plain", "")
    word = word if shape else "no target"
    drift, than = _cell_moved(shown, view)
    about = f"{about}. {than}" if than else about
    return (
        f'<td class="m-cell" role="gridcell"><a class="m-link {look}" data-go data-cell="{place}" '
        f'href="{hx(href, 4000)}" title="{hx(about)}">{head}{shape}<span class="m-value">{hx(value, 40)}</span>{drift}'
        f"{hidden(', '.join(part for part in (measure, word, than) if part))}</a></td>"
    )


def _cell_moved(shown: Cell, view: View) -> tuple[str, str]:
    """The change of a cell as a short mark, and in words."""
    than, then = against(view), shown.compared
    if not than or then is None:
        return "", ""
    arrow, said = moved(then.change, then.unit, then.total)
    if not arrow:
        return "", f"nothing to compare with {than}"
    short = said.replace("points", "pts") if arrow != ARROWS[0] else ""
    words = {"▲": "up ", "▼": "down "}.get(arrow, "") + said
    return (
        f'<span class="m-moved" aria-hidden="true">{arrow} {hx(short)}</span>',
        f"{words} against {than} ({then.text})",
    )


def changes(found: Sequence[Change], view: View, zone: tzinfo = UTC, most: int = LISTED, wide: bool = False) -> str:
    """The changes of a window, newest first."""
    if not found:
        return '<p class="x-muted">Nothing changed in this window, as far as the sources have said.</p>'
    newest = sorted(found, key=lambda change: (-change.ts, change.key))[:most]
    rest = len(found) - len(newest)
    tail = f'<p class="m-more">and {text.count(rest)} earlier in this window</p>' if rest else ""
    days = view.window.until - view.window.since > 86400
    rows = "".join(_change(change, zone, days) for change in newest)
    return f'<ol class="e-list {"e-wide" if wide else ""}">{rows}</ol>{tail}'


def _change(change: Change, zone: tzinfo, days: bool) -> str:
    when = text.moment(change.ts, zone) if days else text.clock(change.ts, zone)
    about = change.title or change.version or change.kind
    named = "".join(f"{hx(name, 60)} · " for name in change.components[:1] if name not in about)
    bad = " e-bad" if change.outcome == "bad" and change.lane != "Drift" else ""
    quiet = change.outcome == "good" or change.lane == "Drift"
    said = "" if quiet else OUTCOMES.get(change.outcome, change.outcome)
    lasted = f' <span class="x-muted">{text.age(change.ended - change.ts)}</span>' if _lasted(change) else ""
    return (
        f'<li class="e-row"><span class="x-muted">{when}</span>'
        f'<span><span class="x-tag x-{LANES.get(change.lane, "both")}">{hx(change.lane)}</span></span>'
        f'<span class="e-title"><span class="x-muted">{named}</span>{hx(about)}{lasted}</span>'
        f'<span class="e-out{bad}">{hx(said)}</span></li>'
    )


def _lasted(change: Change) -> bool:
    return change.ended is not None and change.ended > change.ts and change.lane in ("Incident", "Build")


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


def confusion(cells: Mapping[tuple[str, str], int], most: int = 8) -> str:
    """Actual against predicted as a real table with tinted cells."""
    total = sum(cells.values())
    weight: dict[str, int] = {}
    for (actual, predicted), number in cells.items():
        weight[actual] = weight.get(actual, 0) + number
        weight[predicted] = weight.get(predicted, 0) + number
    classes = sorted(sorted(weight, key=lambda name: -weight[name])[:most])
    heads = "".join(f'<th scope="col">predicted {hx(name, 40)}</th>' for name in classes)
    rows = ""
    for actual in classes:
        row = "".join(_confused(cells.get((actual, predicted), 0), total) for predicted in classes)
        rows += f'<tr><th scope="row">{hx(actual, 40)}</th>{row}</tr>'
    left_out = total - sum(cells.get((a, p), 0) for a in classes for p in classes)
    more = (
        f'<p class="m-more">{text.count(left_out)} more in {len(weight) - most} rarer classes</p>' if left_out else ""
    )
    return (
        f'<table class="k-table x-model"><caption class="x-hide">Confusion matrix</caption><thead><tr>'
        f'<th scope="col">{hidden("Actual class")}</th>{heads}</tr></thead><tbody>{rows}</tbody></table>{more}'
    )


def _confused(number: int, total: int) -> str:
    part = number / total if total else 0.0
    return f'<td style="--part:{part:.3f}">{text.count(number)}<small>{text.share(part)}</small></td>'


def drift_table(features: Sequence[FeatureDrift], view: View, chosen: str = "", most: int = 40) -> str:
    """Features by effect, each with its noise floor and verdict; a feature's name selects it."""
    rows = ""
    for one in features[:most]:
        effect, named = _effect(one)
        rows += (
            f'<tr{" aria-current=true" if one.feature == chosen else ""}><th scope="row">'
            f"{link(view.link(view.page, selected=one.feature), text.clean(one.feature, 60))}</th>"
            f"<td>{hx(one.type, 20)}</td>"
            f'<td class="x-num" title="{named}">{effect}</td>'
            f'<td class="x-num">{"–" if one.noise_floor is None else text.digits(one.noise_floor, 2)}</td>'
            f"<td>{hx(one.verdict)}{f', {hx(one.severity)}' if one.severity not in ('', 'none') else ''}</td></tr>"
        )
    titles = ("Feature", "Type", "Effect", "Noise floor", "Verdict")
    heads = "".join(f'<th scope="col"{" class=x-num" if i in (2, 3) else ""}>{t}</th>' for i, t in enumerate(titles))
    more = f'<p class="m-more">and {len(features) - most} more features</p>' if len(features) > most else ""
    return (
        f'<div class="f-scroll" tabindex="0" role="region" aria-label="Feature drift"><table class="f-table">'
        f'<caption class="x-hide">Feature drift</caption><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'
        f"</div>{more}"
    )


def _effect(one: FeatureDrift) -> tuple[str, str]:
    value, named = (
        (one.js, "Jensen-Shannon, base 2") if one.wasserstein is None else (one.wasserstein, "normed Wasserstein")
    )
    if value is None:
        value, named = one.psi, "PSI"
    return ("–" if value is None else text.digits(value)), named


def pair(reference: int, current: int) -> str:
    """What the two colours of a distribution are."""
    return (
        f'<div class="s-legend"><span><span class="d-ref"></span>Reference, {text.count(reference)} rows</span>'
        f'<span><span class="d-now"></span>This window, {text.count(current)} rows</span></div>'
    )


def facts(pairs: Iterable[tuple[str, str]]) -> str:
    """A short list of named numbers."""
    inside = "".join(f"<div><dt>{hx(name)}</dt><dd>{hx(value)}</dd></div>" for name, value in pairs)
    return f'<dl class="q-list">{inside}</dl>'


def steps(title: str, said: str, items: Sequence[str]) -> str:
    """A friendly first step: what is missing and what to run; `items` are finished markup."""
    inside = "".join(f"<li>{item}</li>" for item in items)
    return f'<div class="x-panel">{section(title)}<p>{hx(said, 400)}</p><ol class="w-steps">{inside}</ol></div>'
