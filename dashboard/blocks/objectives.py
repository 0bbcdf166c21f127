"""Objectives of a component: three large numbers, all objectives as rows, the rules of one, the budget it shares."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from dashboard import text
from dashboard.blocks.card import named
from dashboard.blocks.marks import CLASSES, NONE, WORDS, chip, hidden, link, unknown
from dashboard.blocks.panel import section
from dashboard.blocks.spark import budget
from dashboard.blocks.why import asking, of, why
from dashboard.text import hx
from dashboard.view import View
from tandem import slo
from tandem.joint import Joint, Part
from tandem.shown import BurnRule, Cell, Objective


def large(cell: Cell, view: View, as_of: int) -> str:
    """Objective, actual and budget left of one objective, and what else stands of it in words."""
    one = cell.objective
    assert one is not None, "only what has an objective is drawn here"
    share = text.share(one.good / one.total) if one.total else NONE
    left = _left(one.budget_left)
    numbers = (
        ("Objective", why(text.target(one.target), number="target"), f"{_threshold(cell)}over {_window(one)}"),
        ("Actual", why(share, number="actual") if one.total else NONE, _counts(cell, one)),
        ("Budget left", why(left, number="budget_left") if one.budget_left is not None else NONE, _events(one)),
    )
    inside = "".join(
        f'<div class="b-number"><dt>{name}</dt><dd>{value}<small>{about}</small></dd></div>'
        for name, value, about in numbers
    )
    word = WORDS[cell.state] if cell.state != "unknown" else unknown(cell)
    return (
        f'<div class="b-one"{asking(view, as_of)}{of(**named(cell))}>'
        f'<div class="b-head"><b>{hx(one.name, 80)}</b>{chip(cell.state, word, cell.reason)}</div>'
        f'<dl class="b-three">{inside}</dl><p class="x-muted">{_sentence(cell, one)}</p></div>'
    )


def _left(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{'−' if value < 0 else ''}{text.digits(abs(value) * 100, 3)}{text.NARROW}%"


def _threshold(cell: Cell) -> str:
    one = cell.objective
    if one is None or one.threshold is None:
        return ""
    said = text.seconds(one.threshold) if cell.unit == "s" else text.digits(one.threshold)
    return f"{'within' if cell.signal == 'error' else 'at or under'} {said}, "


def _window(one: Objective) -> str:
    if one.calendar:
        return f"the {hx(one.calendar)} of the calendar"
    return f"{hx(one.window)} rolling" + (f", in slices of {text.age(one.slices)}" if one.slices else "")


def _counts(cell: Cell, one: Objective) -> str:
    what = "slices" if one.slices else "events"
    return f"{text.count(one.good)} of {text.count(one.total)} {what}" if one.total else hx(cell.reason, 120)


def _events(one: Objective) -> str:
    if one.events_left is None:
        return "nothing was counted"
    what = "bad slices" if one.slices else "bad events"
    number = text.digits(abs(one.events_left), 3 if abs(one.events_left) < 1000 else 6)
    if one.events_left >= 0:
        return f"{why(number, number='events_left')} more {what} allowed"
    return why(f"{number} {what} too many", number="events_left")


def _sentence(cell: Cell, one: Objective) -> str:
    """Why it stands so, when the budget is gone, what was seen, what was left out."""
    said = [hx(cell.reason, 300)]
    if one.exhausts_in is not None and one.exhausts_in > 0:
        said.append(f"gone in {text.seconds(one.exhausts_in)}, burning as over the last {hx(one.exhausts_over)}")
    if one.coverage is not None:
        said.append(f"{text.share(one.coverage)} of its window was seen")
    if one.corrected:
        said.append(f"{text.seconds(float(one.corrected))} were left out by agreement")
    if one.expected is not None:
        said.append(f"the budget is that of {text.count(one.expected)} expected events")
    if one.base:
        said.append(f"errors up to {text.share(one.base)} are accepted")
    return ". ".join(part[:1].upper() + part[1:] for part in said if part) + "."


def rows(cells: Sequence[Cell], chosen: str, view: View, as_of: int) -> str:
    """Every objective of the component as a row; its name chooses the one that is drawn large."""
    heads = "".join(
        f'<span role="columnheader">{title}</span>'
        for title in ("Objective", "State", "Target", "Actual", "Budget left", "Burn 1 h", "6 h")
    )
    inside = "".join(_row(cell, chosen, view) for cell in cells if cell.objective is not None)
    return (
        f'<div class="b-list" role="table" aria-label="All objectives"{asking(view, as_of)}>'
        f'<div class="b-row b-heads" role="row">{heads}</div>{inside}</div>'
    )


def _row(cell: Cell, chosen: str, view: View) -> str:
    one = cell.objective
    assert one is not None, "only what has an objective is drawn here"
    here = ' aria-current="true"' if one.name == chosen else ""
    left = NONE
    if one.budget_left is not None:
        left = budget(one.budget_left) + why(_left(one.budget_left), number="budget_left")
    share = why(text.share(one.good / one.total), number="actual") if one.total else NONE
    word = WORDS[cell.state] if cell.state != "unknown" else unknown(cell)
    name = link(view.link(view.page, tab=one.name), text.clean(one.name, 60))
    burns = "".join(
        f'<span role="cell" class="b-burn">{_key(f"burn {window}")}{_rate(one, window)}</span>'
        for window in ("1h", "6h")
    )
    return (
        f'<div class="b-row {CLASSES[cell.state]}" role="row"{of(**named(cell))}{here}>'
        f'<span role="rowheader" class="b-name">{name}'
        f'<small class="x-muted">{hx(cell.title)} · {_window(one)}</small></span>'
        f'<span role="cell">{chip(cell.state, word, cell.reason)}</span>'
        f'<span role="cell">{_key("target")}{why(text.target(one.target), number="target")}</span>'
        f'<span role="cell">{_key("actual")}{share}</span>'
        f'<span role="cell" class="b-left">{left}</span>{burns}</div>'
    )


def _key(word: str) -> str:
    return f'<span class="l-key" aria-hidden="true">{word} </span>'


def _rate(one: Objective, window: str) -> str:
    rate = one.burn.get(window)
    return why(text.burn(rate), number=f"burn:{window}") if rate is not None else f"{NONE}{hidden('no events')}"


def burn_table(cell: Cell, view: View, as_of: int) -> str:
    """The rules of one objective: both windows, the factor, the present burn in both, and whether each fires."""
    one = cell.objective
    assert one is not None, "only what has an objective is drawn here"
    heads = ("Rule", "Long and short", "Fires above", "Burn now, long", "Short", "")
    names = "".join(f'<th scope="col">{hx(head) or hidden("Whether it fires")}</th>' for head in heads)
    inside = "".join(_rule(rule, one) for rule in one.rules)
    said = "".join(f"<li>{sentence}</li>" for sentence in _notes(one))
    return (
        f'<div{asking(view, as_of)}{of(**named(cell))}><div class="f-scroll" tabindex="0" role="region" '
        f'aria-label="Burn rules"><table class="f-table b-rules"><caption class="x-hide">Burn rules of '
        f"{hx(one.name, 80)}</caption><thead><tr>{names}</tr></thead><tbody>{inside}</tbody></table></div>"
        f'<ul class="b-notes">{said}</ul></div>'
    )


def _rule(rule: BurnRule, one: Objective) -> str:
    rates = "".join(f"<td>{_rate(one, name)}</td>" for name in (rule.long, rule.short))
    fires = (
        f'<b class="b-fires">{"pages" if rule.severity == "page" else "opens a ticket"}</b>' if rule.fires else "quiet"
    )
    return (
        f'<tr><th scope="row">{hx(rule.severity)}</th><td>{hx(rule.long)} and {hx(rule.short)}</td>'
        f"<td>{text.digits(rule.factor)}×</td>{rates}<td>{fires}</td></tr>"
    )


def _notes(one: Objective) -> Iterable[str]:
    """The evidence clause with its price, and what else somebody should know."""
    clause = (
        f"A rule fires when both of its windows burn above its factor and the long one holds {slo.EVIDENCE} bad events"
    )
    price = f"; that has its price here: {hx(one.noticed.sentence)}" if one.noticed is not None else ""
    yield f"{clause}{price}."
    yield from (hx(remark, 600) for remark in one.remarks)
    if one.slices:
        yield f"It counts slices of {text.age(one.slices)}: a slice is good or bad as a whole."


def shared(one: Joint, view: View, as_of: int) -> str:
    """The budget that a service and its model share, and which half spent it."""
    number = {"component": one.service, "joint": one.model}
    word = WORDS[one.state] if one.state != "unknown" else "Unknown"
    head = section("Product budget", f"{one.service} and {one.model}: answered, in time, and right")
    if one.failure is None:
        said = hx(one.reason, 300)
        return (
            f'<div class="x-panel">{head}{chip(one.state, word, one.reason)} <span class="x-muted">{said}</span></div>'
        )
    left = f"{_left(one.budget_left)}" if one.budget_left is not None else NONE
    between = ""
    if one.left_low is not None and one.left_high is not None:
        between = f"between {_left(one.left_low)} and {_left(one.left_high)}, whatever their dependence"
    stated = "as configured" if one.stated else "the product of their targets"
    numbers = (
        ("Objective", why(text.share(one.target), number="target"), stated),
        ("Failed together", why(text.share(one.failure), number="failure"), f"over {hx(one.window)}, if independent"),
        ("Budget left", why(left, number="budget_left") if one.budget_left is not None else NONE, between),
    )
    inside = "".join(
        f'<div class="b-number"><dt>{name}</dt><dd>{value}<small>{about}</small></dd></div>'
        for name, value, about in numbers
    )
    return (
        f'<div class="x-panel"{asking(view, as_of)}{of(**number)}>{head}'
        f'<dl class="b-three">{inside}</dl>{_halves(one)}{_parts(one.parts)}'
        f'<p class="x-muted b-why">{chip(one.state, word, one.reason)} {hx(one.reason, 300)}</p></div>'
    )


def _halves(one: Joint) -> str:
    """Which half spent it, as one bar that is 100 % long."""
    if one.service_spent is None or one.model_spent is None:
        return '<p class="x-muted">Nothing failed, so neither half spent any of it.</p>'
    service, model = text.share(one.service_spent), text.share(one.model_spent)
    return (
        f'<div class="b-halves" aria-hidden="true"><span class="x-system" style="flex:{one.service_spent:.4f}"></span>'
        f'<span class="x-model" style="flex:{one.model_spent:.4f}"></span></div>'
        f'<p class="b-split"><span class="x-tag x-system">service</span> {why(service, number="service_spent")} '
        f'of what was spent <span class="x-tag x-model">model</span> {why(model, number="model_spent")}</p>'
    )


def _parts(parts: Sequence[Part]) -> str:
    inside = "".join(
        f'<li><span class="x-tag x-{"model" if part.half == "model" else "system"}">{hx(part.says)}</span> '
        f"{hx(part.component, 60)}: {text.count(part.total - part.good)} of {text.count(part.total)} failed</li>"
        for part in parts
    )
    return f'<ul class="b-parts">{inside}</ul>'
