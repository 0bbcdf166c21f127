"""The report as one HTML file: readable offline, on paper, light and dark, without any script or outside request."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from dashboard import text
from dashboard.blocks.card import card, sides
from dashboard.blocks.delivery import blended, change_table, five_table
from dashboard.blocks.drift import drift_table
from dashboard.blocks.lineage import about, track
from dashboard.blocks.marks import chip, state_legend
from dashboard.blocks.matrix import matrix
from dashboard.blocks.measures import measure_table
from dashboard.blocks.objectives import rows
from dashboard.blocks.panel import section
from dashboard.blocks.sources import source_table
from dashboard.reported.drawn import over_time
from dashboard.reported.gathered import Gathered
from dashboard.reported.rules import rules
from dashboard.reported.stilled import stilled
from dashboard.text import hx
from tandem import times
from tandem.saving import product_version
from tandem.shown import Change, Detail

LARGEST = 2_000_000
"""Bytes of a report at most; components that do not fit are named instead."""
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
CHANGES = 100
"""Changes that are listed; all that were read are in the tables."""
FONT = 'Inter, system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif'


def document(found: Gathered) -> bytes:
    """The whole file, UTF-8, at most LARGEST bytes."""
    places = {detail.component: f"c{place}" for place, detail in enumerate(found.details)}
    parts = {detail.component: _component(found, detail, places) for detail in found.details}
    while True:
        page = _page(found, parts, {name: places[name] for name in parts})
        if len(page) <= LARGEST or not parts:
            return page
        parts.pop(max(parts, key=lambda name: len(parts[name])))


def _page(found: Gathered, parts: Mapping[str, str], places: Mapping[str, str]) -> bytes:
    left = [detail.component for detail in found.details if detail.component not in parts]
    body = (
        _head(found, places, left),
        _part("State", _state(found), places),
        _part("What changed, and when", _changes(found), places),
        _part("Delivery", _delivery(found), places),
        "".join(parts.values()),
        _part("Sources", source_table(found.sources, found.view), places) if found.sources else "",
        _part("How this was counted", rules(found, found.view.context.config.signals.values()), places),
    )
    title = f"Tandem report, {text.span(found.view.window.since, found.view.window.until, found.view.zone)}"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="referrer" content="no-referrer">'
        f"<title>{hx(title)}</title><style>{_style()}</style></head>"
        f'<body class="td"><main>{"".join(body)}</main></body></html>\n'
    ).encode()


def _part(title: str, inside: str, places: Mapping[str, str], anchor: str = "", mark: str = "") -> str:
    named = f' id="{anchor}"' if anchor else ""
    return f'<section{named}><h2 class="q-part">{hx(title)} {mark}</h2>{stilled(inside, places)}</section>'


def _head(found: Gathered, places: Mapping[str, str], left: Sequence[str]) -> str:
    view, over = found.view, found.overview
    about = ", ".join(part for part in (view.product, view.component) if part) or "everything that is configured"
    said = text.span(view.window.since, view.window.until, view.zone)
    made = f"made {times.text(found.made)} by Tandem {product_version()}"
    facts = [
        ("Window", f"{times.text(view.window.since)} to {times.text(view.window.until)} ({said})"),
        ("About", f"{about}, {view.environment}"),
        ("Numbers", f"as of load {text.count(found.as_of)}; {made}"),
        ("Data", f"ends {times.text(over.newest)}" if over.newest is not None else "there is none"),
    ]  # fmt: skip
    if over.late:
        facts.append(("Late", ", ".join(over.late)))
    if left:
        facts.append(("Left out", f"{', '.join(left)}: the file would be larger than {LARGEST // 1_000_000} MB"))
    listed = "".join(f"<dt>{name}</dt><dd>{hx(value, 2000)}</dd>" for name, value in facts)
    items = "".join(f'<li><a href="#{place}">{hx(name, 120)}</a></li>' for name, place in places.items())
    lists = f'<dl class="q-facts">{listed}</dl><ul class="q-list">{items}</ul>'
    return f"<header><h1>System and model health</h1>{lists}</header>"


def _state(found: Gathered) -> str:
    over, view = found.overview, found.view
    table = matrix(over.rows, over.columns, view, view.sides, over.as_of)
    head = section("State of each product", "worst first", more=state_legend())
    return f'{sides(over, view)}<div class="q-legend">{head}</div>{table}'


def _changes(found: Gathered) -> str:
    over, view = found.overview, found.view
    lines = [one for one in over.lines if any(point is not None for point in one.points)]
    chart = f'<div class="q-wide">{over_time(lines, over.changes, view.window, view.zone)}</div>'
    if not over.changes:
        return f'{chart}<p class="x-muted">Nothing changed in this window, as far as the sources have said.</p>'
    telling = [one for one in over.changes if not (one.kind == "build" and one.outcome == "good")]
    newest = sorted(telling, key=lambda one: (-one.ts, one.key))
    heads = "".join(f'<th scope="col">{name}</th>' for name in
                    (f"Time, {text.zone_name(view.window.until, view.zone)}", "Lane", "Component", "What", "Outcome",
                     "Source", "Address"))  # fmt: skip
    lines_of = "".join(_change(found, one) for one in newest[:CHANGES])
    left = ((len(over.changes) - len(telling), "builds that passed"),
            (max(0, len(newest) - CHANGES) + over.truncated, "earlier changes"))  # fmt: skip
    counted = " and ".join(f"{text.count(many)} {what}" for many, what in left if many)
    said = f'<p class="m-more">and {counted}</p>' if counted else ""
    return (
        f'{chart}<div class="q-wide"><table class="q-table"><thead><tr>{heads}</tr></thead>'
        f"<tbody>{lines_of}</tbody></table></div>{said}"
    )


def _change(found: Gathered, one: Change) -> str:
    cells = (
        text.moment(one.ts, found.view.zone), one.lane, ", ".join(one.components[:4]),
        one.title or one.version or one.kind, one.outcome, one.source, one.url,
    )  # fmt: skip
    return f"<tr>{''.join(f'<td>{hx(cell, 300)}</td>' for cell in cells)}</tr>"


def _delivery(found: Gathered) -> str:
    made = []
    days = f"{(found.view.window.until - found.view.window.since) / 86400:.3g} days"
    for side, whole in found.delivered.sides.items():
        if whole.components:
            title = "Software" if side == "system" else "Models"
            five = five_table(whole, days, "before", found.delivered.width, found.delivered.rules.breach_days)
            made.append(f'<div class="x-panel x-{side}">{section(title, "", side)}{blended(whole)}{five}</div>')
    fates = change_table(found.delivered.parts, found.view.zone, CHANGES)
    return f'<div class="x-stack">{"".join(made)}</div><h3 class="q-sub">Deployments and promotions</h3>{fates}'


def _component(found: Gathered, detail: Detail, places: Mapping[str, str]) -> str:
    cells = sorted(detail.cells, key=lambda cell: cell.objective is None)
    grid = "".join(card(cell) for cell in cells) or '<p class="x-muted">Nothing was measured of it in this window.</p>'
    inside = [f'<div class="c-grid">{grid}</div>']
    if any(cell.objective is not None for cell in cells):
        inside.append(f'<h3 class="q-sub">Objectives</h3>{rows(cells, "", found.view, detail.as_of)}')
    lines = [one for one in detail.lines if any(point is not None for point in one.points)]
    if lines:
        drawn = over_time(lines, detail.changes, found.view.window, found.view.zone)
        inside.append(f'<h3 class="q-sub">Over time</h3><div class="q-wide">{drawn}</div>')
    inside += _of_model(found, detail)
    title = f"{detail.component} ({detail.kind}{' of ' + detail.product if detail.product else ''})"
    return _part(title, "".join(inside), places, places[detail.component], chip(detail.state))


def _of_model(found: Gathered, detail: Detail) -> Iterable[str]:
    if detail.model and detail.model.measures:
        yield f'<h3 class="q-sub">Quality</h3>{measure_table(detail.model.measures, detail.component)}'
    if detail.features:
        yield f'<h3 class="q-sub">Drift against the stored reference</h3>{drift_table(detail.features, found.view)}'
    if detail.versions:
        columns = ("version", "aliases", "created", "data_version", "commit", "run")
        heads = "".join(f'<th scope="col">{name.replace("_", " ").capitalize()}</th>' for name in columns)
        body = "".join(f"<tr>{''.join(f'<td>{hx(_plain(one.get(name)), 160)}</td>' for name in columns)}</tr>"
                       for one in detail.versions)  # fmt: skip
        table = f'<table class="q-table"><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>'
        yield f'<h3 class="q-sub">Versions</h3><div class="q-wide">{table}</div>'
    told = found.lineages.get(detail.component)
    if told is not None and told.chain is not None:
        said = f'<p class="x-muted">{hx(about(told.chain, found.view), 400)}</p>'
        inside = f"{said}{track(told.chain, found.view)}"
        yield f'<h3 class="q-sub">Where this version comes from</h3><div class="x-model">{inside}</div>'


def _plain(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


@cache
def _style() -> str:
    """The style of the blocks with the colours of both themes, and that of the paper; nothing in it names a file."""
    house = files("dashboard")
    themes = tomllib.loads(house.joinpath(".streamlit", "config.toml").read_text(encoding="utf-8"))["theme"]
    light, dark = (_variables(themes[name]) for name in ("light", "dark"))
    fonts = f"--st-font: {FONT}; --st-code-font: ui-monospace, monospace;"
    blocks = house.joinpath("element.css").read_text(encoding="utf-8")
    paper = house.joinpath("reported", "paper.css").read_text(encoding="utf-8")
    return (
        f":root {{ {fonts} {light} }} @media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{blocks}\n{paper}"
    )


def _variables(theme: Mapping[str, object]) -> str:
    named = {re.sub(r"[A-Z]", lambda one: f"-{one[0].lower()}", key): value for key, value in theme.items()}
    return " ".join(f"--st-{key}: {value};" for key, value in named.items() if isinstance(value, str))
