"""Delivery as escaped HTML: the five metrics in a table, each component's, and what became of every change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import tzinfo
from fractions import Fraction

from dashboard import text
from dashboard.blocks.marks import hidden, link
from dashboard.blocks.panel import notice
from dashboard.blocks.why import why
from dashboard.text import hx
from dashboard.view import View
from tandem import delivery
from tandem.delivered import Part, Whole
from tandem.delivery import FEWEST, Five, Frequency, Metric, Rate, Times, Trend
from tandem.linking import Fate, Link

MADE = {"system": ("deployment", "deployments"), "model": ("promotion", "promotions")}
SCALE: Mapping[str, tuple[str, ...]] = {
    "duration": ("over 6 months", "1–6 months", "1 week–1 month", "1 day–1 week", "under a day", "under an hour"),
    "frequency": ("less than once in 6 months", "monthly to 6-monthly", "weekly to monthly", "daily to weekly",
                  "hourly to daily", "on demand"),
}  # fmt: skip
BEGUN = {
    "commit": "the commit", "build": "its commit’s first build", "release": "its release",
    "data": "the data cut", "training": "the start of training",
}  # fmt: skip
"""What a lead time begins with, in words."""
LATER = ("build", "release")
"""Beginnings that come after the commit: the lead time is at least that long."""
SHORT: Mapping[Metric, str] = {
    "lead_time": "Lead time", "frequency": "Frequency", "recovery_time": "Recovery", "fail_rate": "Fail rate",
    "rework_rate": "Rework",
}  # fmt: skip


# -- values


def value(metric: Metric, found: Five) -> str:
    """The number of a metric with its unit; a dash where there is none."""
    one = getattr(found, metric)
    if isinstance(one, Times):
        return text.seconds(one.p50) if one.p50 is not None else "–"
    if isinstance(one, Frequency):
        return f"{_rate_of(one.value)} per day" if one.value is not None else "–"
    return _share(one.value)


def _rate_of(per_day: Fraction | None) -> str:
    return "0" if not per_day else text.digits(float(per_day), 2 if per_day < 10 else 3)


def _share(found: Fraction | None) -> str:
    return "–" if found is None else f"{text.digits(float(found) * 100, 3) if found else '0'}{text.NARROW}%"


def about(metric: Metric, found: Five, side: str, reported: bool) -> str:
    """What a metric's number rests on, or why there is none."""
    one, (single, many) = getattr(found, metric), MADE[side]
    if not reported:
        return f"no source reports {many}"
    if not found.frequency.n:
        return f"no {single} in this window"
    if isinstance(one, Frequency):
        days = text.digits(float(one.days), 3).rstrip("0").rstrip(".") if one.days % 1 else text.count(int(one.days))
        return f"{text.count(one.n)} in {days} days · on {one.days_with} of {one.days_of} days"
    if isinstance(one, Rate):
        ends = one.interval
        chance = f" · 95{text.NARROW}%: {_ends(*ends)}" if ends and one.n < 1000 else ""
        return f"{text.count(one.k)} of {text.plural(one.n, single)}{chance}"
    return _of_lead(one, single) if metric == "lead_time" else _of_recovery(one, single)


def _ends(low: float, high: float) -> str:
    return f"{text.digits(low * 100, 2)}–{text.digits(high * 100, 2)}{text.NARROW}%"


def _of_lead(one: Times, single: str) -> str:
    if not one.of:
        return f"every {single} was a rollback"
    if not one.n:
        return f"no beginning is known of {text.plural(one.of, single)}"
    ways = ", ".join(BEGUN.get(way, way) for way, _ in one.known_by)
    least = "at least; " if any(way in LATER for way, _ in one.known_by) else ""
    return f"{_percentiles(one)}{least}{text.count(one.n)} of {text.plural(one.of, single)} known, from {ways}"


def _of_recovery(one: Times, single: str) -> str:
    if not one.of:
        return f"no failed {single}"
    still = f" · {one.open} not recovered yet" if one.open else ""
    return f"{_percentiles(one)}{text.count(one.n)} of {text.plural(one.of, f'failed {single}')} recovered{still}"


def _percentiles(one: Times) -> str:
    if not one.n:
        return ""
    if one.n < FEWEST:
        return "1 case, too few for percentiles · " if one.n == 1 else f"{one.n} cases, too few for percentiles · "
    return f"median · p75 {text.seconds(one.p75)}, p90 {text.seconds(one.p90)} · "


def moved(found: Trend) -> str:
    """A trend as arrow and word, in no state's colour."""
    if found.sign is None:
        return f'<span class="x-muted">{hx(found.word)}</span>'
    arrow = {1: "▲", 0: "=", -1: "▼"}[found.sign]
    chance = "<small>within chance</small>" if found.clear is False else ""
    return f'<span class="v-moved"><span aria-hidden="true">{arrow} </span>{hx(found.word)}</span>{chance}'


def scale(metric: Metric, found: Five) -> str:
    """The step of the answer scale as six dots and words; rates have none."""
    step = delivery.step(metric, found)
    if step is None:
        why = "rates have no step" if metric in ("fail_rate", "rework_rate") else "too few to place"
        return f'<span class="x-muted" title="{why}"><span aria-hidden="true">–</span>{hidden(why)}</span>'
    words = SCALE["frequency" if metric == "frequency" else "duration"][step - 1]
    dots = "".join(f'<span class="{"v-on" if place < step else ""}"></span>' for place in range(6))
    return (
        f'<span class="v-scale"><span class="v-dots" aria-hidden="true">{dots}</span>'
        f"<span>{step}{text.NARROW}of{text.NARROW}6</span><small>{hx(words)}</small></span>"
    )


def bars(values: Sequence[float | None], label: str) -> str:
    """A small bar per piece of the window on a scale from zero; nothing where there was nothing."""
    top = max([one for one in values if one is not None] or [0.0])
    wide = 120 / max(len(values), 1)
    drawn = ""
    for place, one in enumerate(values):
        left = round(place * wide, 1)
        if one is None:
            drawn += f'<rect class="v-none" x="{left}" y="26" width="{max(wide - 2, 1):.1f}" height="1.5"/>'
            continue
        high = max(round(26 * one / top, 1), 1.5) if top else 1.5
        drawn += f'<rect x="{left}" y="{28 - high:.1f}" width="{max(wide - 2, 1):.1f}" height="{high}"/>'
    return f'<svg class="v-bars" viewBox="0 0 120 28" preserveAspectRatio="none" role="img" aria-label="{hx(label)}">{drawn}</svg>'  # noqa: E501


# -- tables


ROLES = {
    "<table ": '<table role="table" ', "<thead>": '<thead role="rowgroup">', "<tbody>": '<tbody role="rowgroup">',
    "<tr>": '<tr role="row">', "<td": '<td role="cell"', '<th scope="col"': '<th role="columnheader" scope="col"',
    '<th scope="row"': '<th role="rowheader" scope="row"',
}  # fmt: skip
"""A table whose rows stack on a phone is a table to nobody unless it says so."""


def scrolled(name: str, table: str) -> str:
    """A table in a region of its own, in which it scrolls where it is too wide."""
    for plain, said in ROLES.items():
        table = table.replace(plain, said)
    return f'<div class="f-scroll" tabindex="0" role="region" aria-label="{hx(name)}">{table}</div>'


def five_table(whole: Whole, days: str, before: str, width: int, rules_days: int) -> str:
    """The five metrics of one side: value, what it rests on, the window before, trend, step and bars."""
    names = delivery.NAMES[whole.side]
    heads = (("Metric", ""), (days, "x-num"), ("Trend", ""), ("Answer scale", ""))
    head = "".join(f'<th scope="col" class="{classes}">{hx(name)}</th>' for name, classes in heads)
    head += f'<th scope="col" class="v-over">Per {hx(text.age(width))}</th>'
    rows = ""
    for metric in delivery.METRICS:
        said = about(metric, whole.now, whole.side, whole.reported)
        label = f"{names[metric]} per {text.age(width)}"
        tip = delivery.MEANINGS[whole.side][metric].replace("{days}", str(rules_days))
        then = value(metric, whole.before) if whole.before.frequency.n or metric == "frequency" else "–"
        rows += (
            f'<tr><th scope="row" title="{hx(tip, 400)}">{hx(names[metric])}<small>{hx(said)}</small></th>'
            f'<td class="x-num v-value">{_answered(metric, whole)}</td>'
            f'<td class="v-trend">{moved(delivery.trend(metric, whole.now, whole.before))}'
            f"<small>{hx(before)} {hx(then if whole.reported else '–')}</small></td>"
            f"<td>{scale(metric, whole.now)}</td>"
            f'<td class="v-over">{bars(whole.bars[metric], label) if whole.reported else ""}</td></tr>'
        )
    title = _title(whole.side)
    return scrolled(
        f"{title} delivery",
        f'<table class="f-table v-five"><caption class="x-hide">{title}: five delivery metrics</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
    )


def _answered(metric: Metric, whole: Whole) -> str:
    """The large number; that of one component explains itself, a blend has no line that prints it."""
    shown = value(metric, whole.now) if whole.reported else "–"
    inside = _large(shown)
    if len(whole.components) != 1 or shown == "–":
        return inside
    number = "p50" if isinstance(getattr(whole.now, metric), Times) else "value"
    return why(inside, component=whole.components[0], delivery=metric, number=number)


def _large(shown: str) -> str:
    number, space, unit = shown.partition(" ")
    return f"{hx(number)}<small>{hx(unit)}</small>" if space else hx(shown)


def _title(side: str) -> str:
    return "Software" if side == "system" else "Models"


def blended(whole: Whole) -> str:
    """What must be said of numbers that cover several components: their names; "" for one."""
    if len(whole.components) < 2:
        return ""
    kind = "services" if whole.side == "system" else "models"
    names = ", ".join(hx(name, 60) for name in whole.components[:8])
    rest = f" and {len(whole.components) - 8} more" if len(whole.components) > 8 else ""
    return (
        f'<p class="v-blend"><b>A blend of {len(whole.components)} {kind}</b>: {names}{rest}. '
        f"These metrics are meant per {kind[:-1]}; each one’s are below.</p>"
    )


def how(whole: Whole, commands: Sequence[str], days: int) -> str:
    """How each metric is counted, and the lines that print them."""
    names = delivery.NAMES[whole.side]
    said = {metric: delivery.MEANINGS[whole.side][metric].replace("{days}", str(days)) for metric in delivery.METRICS}
    items = "".join(f"<dt>{hx(names[metric])}</dt><dd>{hx(said[metric], 400)}</dd>" for metric in said)
    lines = "".join(f"<code>{hx(command, 400)}</code>" for command in commands)
    reading = "DORA’s five metrics (dora.dev)" if whole.side == "system" else "Tandem’s reading for models, not DORA’s"
    return (
        f'<details class="v-how"><summary>How these are counted</summary><p>{reading}. Durations are medians, never '
        f"means; trends compare with a window of the same length; the answer scale is that of DORA’s quick check, 1 to "
        f'6. No tiers.</p><dl>{items}</dl><p class="v-lines">{lines}</p></details>'
    )


def _told(shown: str, metric: Metric, part: Part) -> str:
    """A number that explains itself."""
    if shown == "–":
        return shown
    number = "p50" if isinstance(getattr(part.now, metric), Times) else "value"
    return why(hx(shown), component=part.component, delivery=metric, number=number)


def components_table(parts: Sequence[Part], side: str, view: View) -> str:
    """The five metrics of each component, unblended; a name narrows the page to it."""
    names = delivery.NAMES[side]
    heads = "".join(
        f'<th scope="col" class="x-num" title="{hx(names[metric])}"><span aria-hidden="true">{SHORT[metric]}</span>'
        f"{hidden(names[metric])}</th>"
        for metric in delivery.METRICS
    )
    rows = ""
    for part in parts:
        cells = ""
        for metric in delivery.METRICS:
            shown = value(metric, part.now) if part.reported else "–"
            rests = f"<small>{hx(_short(metric, part))}</small>"
            cells += f'<td class="x-num" data-name="{SHORT[metric]}">{_told(shown, metric, part)}{rests}</td>'
        there = link(view.link("delivery", component=part.component), text.clean(part.component, 60))
        rows += f'<tr><th scope="row">{there}</th>{cells}</tr>'
    return scrolled(
        f"{_title(side)} by component",
        f'<table class="f-table v-parts"><caption class="x-hide">{hx(_title(side))} by component</caption>'
        f'<thead><tr><th scope="col">{"Service" if side == "system" else "Model"}</th>{heads}</tr></thead>'
        f"<tbody>{rows}</tbody></table>",
    )


def _short(metric: Metric, part: Part) -> str:
    one = getattr(part.now, metric)
    if not part.reported:
        return "not reported"
    if not part.now.frequency.n:
        return "none"
    if isinstance(one, Frequency):
        return text.count(one.n)
    if isinstance(one, Rate):
        return f"{one.k} of {one.n}"
    if metric == "lead_time":
        return f"{one.n} of {one.of} known"
    return f"{one.n} of {one.of} recovered" if one.of else "none failed"


OUTCOMES = {"good": "ran", "bad": "did not run", "open": "not running yet", "excluded": "not counted"}


def change_table(parts: Sequence[Part], zone: tzinfo, most: int = 20) -> str:
    """Every deployment and promotion, newest first: lead time, outcome, and why it is said to have failed."""
    fates = [(fate, part.side) for part in parts for fate in part.fates]
    if not fates:
        return '<p class="x-muted">No deployment and no promotion in this window, as far as the sources have said.</p>'
    newest = sorted(fates, key=lambda one: (-one[0].change.running, one[0].change.component, one[0].change.told))
    named = len(parts) != 1
    heads = ["When", "Component", "Change", "Lead time", "Outcome", "Why"]
    head = "".join(f'<th scope="col"{" class=x-num" if name == "Lead time" else ""}>{name}</th>' for name in heads
                   if named or name != "Component")  # fmt: skip
    rows = "".join(_change(one, side, zone, named) for one, side in newest[:most])
    rest = len(newest) - most
    tail = f'<p class="m-more">and {text.count(rest)} earlier in this window</p>' if rest > 0 else ""
    table = scrolled(
        "Deployments and promotions",
        f'<table class="f-table v-changes"><caption class="x-hide">Deployments and promotions</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>",
    )
    return table + tail


def _change(fate: Fate, side: str, zone: tzinfo, named: bool) -> str:
    change = fate.change
    kind = "rollback" if change.kind == "rollback" or fate.undoes else change.kind
    commit = f'<small class="v-commit">{hx(change.commit[:8])}</small>' if change.commit else ""
    seen = hx(", ".join(change.sources), 160)
    several = f"<small>seen by {seen}</small>" if len(change.sources) > 1 else ""
    component = f"<td class='v-whose'>{hx(change.component, 60)}</td>" if named else ""
    return (
        f'<tr><td class="v-when">{text.moment(change.running, zone)}</td>{component}'
        f'<th scope="row" title="seen by {seen}"><span class="x-tag x-{side}">{hx(kind)}</span> '
        f"{hx(change.version or change.title or change.told[0][1], 60)} {commit}{several}</th>"
        f'<td class="x-num v-lead">{_lead(fate)}</td><td>{_outcome(fate)}</td><td class="v-why">{_why(fate)}</td></tr>'
    )


def _lead(fate: Fate) -> str:
    if fate.lead is None:
        return f'<span class="x-muted">{"–" if fate.undoes or fate.change.kind == "rollback" else "unknown"}</span>'
    least = "≥ " if fate.lead_from in LATER else ""
    return f'<span title="from {hx(BEGUN.get(fate.lead_from, fate.lead_from))}">{least}{text.seconds(fate.lead)}</span>'


def _outcome(fate: Fate) -> str:
    if not fate.reached:
        return f'<span class="x-muted">{hx(OUTCOMES.get(fate.change.outcome, fate.change.outcome))}</span>'
    if not fate.failed:
        return "ran"
    back = f"recovered in {text.seconds(fate.recovery)}" if fate.recovery is not None else "not recovered yet"
    return f'<b class="v-failed">failed</b><small>{hx(back)}</small>'


def _why(fate: Fate) -> str:
    said = [_linked(one) for one in fate.failed[:3]]
    said += [f'<span class="x-muted">and {len(fate.failed) - 3} more</span>'] if len(fate.failed) > 3 else []
    said += [f'<span class="x-muted">rework: {hx(fate.rework, 200)}</span>'] if fate.rework else []
    return "".join(f"<div>{one}</div>" for one in said)


def _linked(one: Link) -> str:
    called = {"incident": f"incident {one.title or one.cause}", "rollback": f"rolled back by {one.title or one.cause}",
              "hotfix": f"mended by {one.title or one.cause}", "breach": one.title or one.cause}[one.kind]  # fmt: skip
    return f"{hx(called, 120)}: <span class=x-muted>{hx(one.reason, 240)}</span>"


def unrelated(links: Sequence[Link]) -> str:
    """Incidents and rollbacks that somebody said belong to no deployment; "" for none."""
    said = [one for one in links if not one.change]
    if not said:
        return ""
    items = "".join(
        f"<li>{hx(one.kind)} {hx(one.title or one.cause, 120)}: {hx(one.reason, 240)}</li>" for one in said[:20]
    )
    return f'<details class="v-how"><summary>{text.plural(len(said), "link")} undone by the configuration</summary><ul>{items}</ul></details>'  # noqa: E501


def unfound(names: Sequence[str], since: str) -> str:
    """A notice of corrections that changed nothing, because what they name was not found."""
    said = ", ".join(f"<b>{hx(name, 80)}</b>" for name in names[:5])
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return notice(
        f"[delivery] of the configuration names {said}{more}, of which no source has told since {hx(since)}: "
        "compare the keys with those of <code>tandem show COMPONENT --json</code>."
    )
