"""Cards: value, of what, target, budget left, burn, sparkline, state; the same grammar on both sides."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard import text
from dashboard.blocks.compared import against, moved
from dashboard.blocks.marks import CLASSES, NONE, PAGES, SIDES, WORDS, chip, hidden, link, unknown, untargeted
from dashboard.blocks.panel import section
from dashboard.blocks.spark import budget, spark
from dashboard.blocks.why import asking, why
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import Card, Cell, Overview


def card_value(cell: Cell) -> tuple[str, str]:
    """The large number of a card and its unit: the share of good where there is one."""
    shown = text.share(cell.good / cell.total) if cell.good is not None and cell.total else cell.text
    if cell.value is None and not cell.total:
        return NONE, ""
    number, _, unit = shown.replace(text.NARROW, " ").rpartition(" ")
    return (number, unit) if number and not unit[:1].isdigit() else (shown, "")


def number_of(cell: Cell) -> dict[str, str]:
    """Which number the text of a cell is, as its explanation is asked for."""
    return {**named(cell), "number": {"p95": "p95", "count": "total"}.get(cell.measure, "value")}


def named(cell: Cell) -> dict[str, str]:
    """What names the signal and the objective of a cell."""
    aimed = cell.objective.name if cell.objective else ""
    return {"component": cell.component, "signal": cell.signal, "objective": aimed}


def budget_words(cell: Cell) -> str:
    """Budget left and burn, each of which explains itself."""
    objective = cell.objective
    if objective is None:
        return ""
    if objective.budget_left is None:
        return hx(cell.reason or "budget not known")
    left = objective.budget_left
    said = (
        f"{text.digits(abs(left) * 100, 2 if abs(left) < 1 else 3)}{text.NARROW}% {'overspent' if left < 0 else 'left'}"
    )
    return f"{why(f'<b>{said}</b>', **named(cell), number='budget_left')}{_burn(cell, objective.burn)}"


def _burn(cell: Cell, burn: Mapping[str, float | None]) -> str:
    window = next((name for name in ("6h", "1h", "1d", "3d", *burn) if burn.get(name) is not None), None)
    if not window:
        return ""
    rate = why(f"burn {text.burn(burn[window])}", **named(cell), number=f"burn:{window}")
    return f'<span class="c-dot"> · </span><span class="c-burn">{rate}{hidden(f" over {window}")}</span>'


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


def card(
    shown: Cell, href: str = "", *, attention: int = 0, components: int = 0, than: str = "", product: str = ""
) -> str:
    """One card: name and state; value; what it counts and the target; what it moved; budget left and burn.

    Over more than one of the components of `product` the value is theirs together, and the budget the worst one's.
    """
    number, unit = card_value(shown)
    objective = shown.objective
    aim = ""
    if objective:
        aim = f'<span class="c-aim">target {text.target(objective.target)}, {hx(objective.window)}</span>'
    mark = chip(shown.state, WORDS[shown.state] if shown.state != "unknown" else unknown(shown), shown.reason)
    if untargeted(shown):
        mark = '<span class="x-muted">no target</span>'
    name = f'<span class="c-name">{hx(shown.title)}</span>'
    if href:
        name = f'<a class="c-name c-link" data-go href="{hx(href, 4000)}">{hx(shown.title)}</a>'
    plain = "" if objective or any(value is not None for value in shown.spark) else " c-plain"
    extra = f"; {attention} of {components} need attention" if attention else ""
    large = f'<span class="c-value">{hx(number)}<small>{hx(unit)}</small></span>'
    if number != NONE:
        large = why(large, **(_merged(shown, product) if components > 1 else _large(shown)))
    return (
        f'<div class="c-card x-{shown.side} {CLASSES[shown.state]}{plain}">'
        f'<span class="c-top">{name}{mark}</span>'
        f"<span>{large}"
        f'<span class="c-of"><span>{hx(shown.of)}</span>{aim}{hidden(extra) if extra else ""}</span></span>'
        f"{spark(shown.spark, shown.spark_target, shown.immature, shown.compared.spark if shown.compared else ())}"
        f"{_card_moved(shown, than)}{_foot(shown, components)}</div>"
    )


def _large(shown: Cell) -> dict[str, str]:
    return {**number_of(shown), "number": "value"} if shown.good is not None and shown.total else number_of(shown)


def _merged(shown: Cell, product: str) -> dict[str, str]:
    return {"signal": shown.signal, "product": product}


def _foot(shown: Cell, components: int) -> str:
    """The error budget, and whose it is where it is the worst of several."""
    objective = shown.objective
    if objective is None:
        return ""
    bar = budget(objective.budget_left) if objective.budget_left is not None else ""
    whose = '<span aria-hidden="true">Budget</span>'
    if components > 1:
        whose = f'<span title="the worst of {components}">{hx(shown.component, 60)}</span>'
    return (
        f'<span class="c-foot"><span class="c-whose">{hidden("Error budget ")}{whose}</span>{bar}'
        f'<span class="c-left">{budget_words(shown)}</span></span>'
    )


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
    one = " c-one" if len(parts) == 1 else ""
    return f'<div class="c-sides{one}"{asking(view, overview.as_of)}>{"".join(parts)}</div>'


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
    return card(
        shown.cell, href, attention=shown.attention, components=shown.components, than=against(view),
        product=view.product,
    )  # fmt: skip
