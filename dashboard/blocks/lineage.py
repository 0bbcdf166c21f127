"""Where a version of a model comes from, as escaped HTML: a track from commit to serving, and two runs side by side."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.marks import NONE, hidden, outward
from dashboard.text import hx
from dashboard.view import View
from tandem.lineage import Chain, Item, Link, Part
from tandem.runs import Compared, Metric, Number, Ran

TITLES = {
    "commit": "Commit", "training": "Training run", "data": "Data version", "validation": "Validation",
    "promotion": "Promotion", "serving": "Serving",
}  # fmt: skip
WORDS = {
    "joined": "joined", "stated": "named, nobody tells of it", "ambiguous": "ambiguous", "named": "only the same name",
    "missing": "not known",
}  # fmt: skip
_RING = '<circle cx="8" cy="8" r="6" fill="var(--st-background-color)" stroke="currentColor" stroke-width="1.6"'
SHAPES = {
    "joined": '<circle cx="8" cy="8" r="6.5" fill="currentColor"/>',
    "stated": f'{_RING}/><circle cx="8" cy="8" r="2.4" fill="currentColor"/>',
    "ambiguous": '<path d="M8 .8 15.2 8 8 15.2 .8 8Z" fill="var(--st-background-color)" stroke="currentColor" '
                 'stroke-width="1.6"/><path d="M8 4.6V9M8 10.6V12" stroke="currentColor" stroke-width="1.6"/>',
    "named": f'{_RING} stroke-dasharray="2.4 2.2"/>',
    "missing": f'{_RING}/><path d="M5 8H11" stroke="currentColor" stroke-width="1.6"/>',
}  # fmt: skip
"""How sure a link is, as a shape and a word, in no state's colour."""
SURE = {"known": "● known", "partly": "◐ partly known", "unknown": "○ unknown", "ambiguous": "◇ ambiguous"}
FIRST = 3
"""Parts that a link shows at once; the rest is folded away."""
LONG = 64
HOW = (
    "A version is what its registry, or the first source that numbers it, says it is. Everything else is joined to it "
    "by what the configuration says, then by digest, then by run id, then by commit, each link with its reason; a tag "
    "or a name alone never joins. Where several things fit, all of them are shown and none is chosen."
)


def track(one: Chain, view: View) -> str:
    """The chain as an ordered list, and what the version can be made again from."""
    links = "".join(_link(link, view) for link in one.links)
    items = "".join(_item(item) for item in one.reproducible)
    unknown = [item.name for item in one.reproducible if item.state != "known"]
    lacking = (f"Not wholly known: {', '.join(unknown)}." if unknown
               else "All four are known.")  # fmt: skip
    said = f'<p class="x-muted">Written down in the configuration: {hx(one.said)}</p>' if one.said else ""
    return (
        f'{said}<ol class="z-track">{links}</ol><h3 class="z-again">Reproducible from</h3>'
        f'<ul class="z-items">{items}</ul><p class="z-lacking">{hx(lacking)}</p>'
        f'<details class="o-more"><summary>How links are joined</summary><p>{HOW}</p></details>'
    )


def about(one: Chain, view: View) -> str:
    """Which version it is, why that one, and what its registry calls it."""
    when = f"registered {text.moment(one.registered, view.zone)}" if one.registered is not None else "not registered"
    by = f" by {text.clean(one.registry, 60)}" if one.registry and one.registered is not None else ""
    named = f" · {', '.join(text.clean(alias, 40) for alias in one.aliases[:4])}" if one.aliases else ""
    return f"version {text.clean(one.version, 60)}{named} · {when}{by} · {text.clean(one.chosen, 200)}"


# -- one link


def _link(one: Link, view: View) -> str:
    value = (
        f'<code class="z-value" title="{hx(one.value)}">{hx(text.middle(one.value, LONG))}</code>' if one.value else ""
    )
    conflicts = "".join(f'<p class="z-conflict"><b>Conflict</b> {hx(said, 400)}</p>' for said in one.conflicts)
    return (
        f'<li class="z-link z-{one.state}"><svg class="z-mark" viewBox="0 0 16 16" aria-hidden="true">'
        f'{SHAPES[one.state]}</svg><div class="z-body"><h3>{TITLES[one.step]}</h3>'
        f'<span class="z-state">{WORDS[one.state]}</span>{value}<p class="z-why">{hx(_sentence(one.reason), 500)}</p>'
        f"{conflicts}{_parts(one, view)}{_namesakes(one, view)}</div></li>"
    )


def _sentence(said: str) -> str:
    return said[:1].upper() + said[1:] + "."


def _parts(one: Link, view: View) -> str:
    """Who tells of it: source, key, time, and why it belongs where that is not the link's own reason."""
    rows = [_part(part, view, part.reason != one.reason) for part in one.parts]
    return _listed(rows, "z-parts", "more", one.more if not one.namesakes else 0)


def _listed(rows: Sequence[str], classes: str, noun: str, unlisted: int = 0) -> str:
    if not rows:
        return ""
    tail = f'<li class="x-muted">and {text.count(unlisted)} that are not listed</li>' if unlisted else ""
    first, rest = rows[:FIRST], rows[FIRST:]
    shown = f'<ul class="{classes}">{"".join(first)}{"" if rest else tail}</ul>'
    if not rest:
        return shown
    return (f'{shown}<details class="o-more"><summary>{text.count(len(rest) + unlisted)} {noun}</summary>'
            f'<ul class="{classes}">{"".join(rest)}{tail}</ul></details>')  # fmt: skip


def _namesakes(one: Link, view: View) -> str:
    if not one.namesakes:
        return ""
    rows = "".join(_part(part, view, True) for part in one.namesakes)
    more = f'<li class="x-muted">and {text.count(one.more)} that are not listed</li>' if one.more else ""
    count = text.plural(len(one.namesakes), "thing")
    return (f'<details class="o-more"><summary>{count} of the same name, not joined</summary>'
            f'<ul class="z-parts z-apart">{rows}{more}</ul></details>')  # fmt: skip


OUTCOMES = {"bad": "failed", "open": "running", "excluded": "not counted"}


def _part(one: Part, view: View, why: bool) -> str:
    key = one.key or one.title
    shown = outward(one.url, text.middle(text.clean(key, 200), 44)) if one.url else hx(text.middle(key, 44))
    outcome = OUTCOMES.get(one.outcome, "")
    bad = f' <span class="e-out{" e-bad" if one.outcome == "bad" else ""}">{outcome}</span>' if outcome else ""
    title = f" · {hx(one.title, 100)}" if one.title and one.title != key else ""
    reason = f'<small class="x-muted">{hx(_sentence(one.reason), 300)}</small>' if why and one.reason else ""
    return (
        f'<li><b>{hx(one.source, 60)}</b> <span class="x-muted">{hx(one.kind.replace("_", " "))}</span> '
        f'<span class="z-key" title="{hx(key)}">{shown}</span>{bad}<span class="x-muted">{title} · '
        f"{hx(_when(one.ts, view))}</span>{reason}</li>"
    )


def _when(ts: int, view: View) -> str:
    return f"{text.moment(ts, view.zone)} {text.zone_name(ts, view.zone)}"


# -- reproducible from


def _item(one: Item) -> str:
    value = f' <code title="{hx(one.value)}">{hx(text.middle(one.value, LONG))}</code>' if one.value else ""
    rows = "".join(f"<div><dt>{hx(name, 80)}</dt><dd>{hx(value, 120)}</dd></div>" for name, value in one.pairs)
    folded = (f'<details class="o-more"><summary>{text.plural(len(one.pairs), "value")}</summary>'
              f'<dl class="z-pairs">{rows}</dl></details>') if rows else ""  # fmt: skip
    return (
        f'<li><b>{hx(one.name.capitalize())}</b> <span class="z-state">{SURE[one.state]}</span>{value}'
        f'<small class="x-muted">{hx(_sentence(one.reason), 400)}</small>{folded}</li>'
    )


# -- two runs


FACTS = {"commit": "Commit", "data_version": "Data version", "trigger": "Started by", "outcome": "Outcome"}


def beside(one: Compared, view: View) -> str:
    """What differs between two runs; what is the same is counted."""
    rows = [_differing("Run", FACTS.get(name, name), a, b) for name, a, b in one.facts]
    rows += [_differing("Environment", name, a, b) for name, a, b in one.environment]
    rows += [_differing("Parameter", name, a, b) for name, a, b in one.parameters]
    rows += [_metric(metric) for metric in one.metrics]
    heads = "".join(f'<th scope="col">{_head(side, ran, view)}</th>' for side, ran in (("a", one.a), ("b", one.b)))
    table = (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Two training runs">'
        '<table class="f-table z-beside"><caption class="x-hide">What differs between two training runs</caption>'
        f'<thead><tr><th scope="col">What</th>{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
    )
    conflicts = "".join(f'<p class="z-conflict"><b>Conflict</b> {hx(said, 300)}</p>'
                        for said in (*one.a.conflicts, *one.b.conflicts))  # fmt: skip
    nothing = "" if rows else '<p class="x-muted">They differ in nothing that is told.</p>'
    return table + nothing + conflicts + f'<p class="x-muted z-same">{hx(same(one))}</p>'


def same(one: Compared) -> str:
    """How much is equal, in words; a metric's newest value is compared, and which is better is not said."""
    nouns = (("parameters", "parameter", ""), ("metrics", "metric", ""),
             ("environment", "label of the environment", "labels of the environment"),
             ("facts", "fact of the run", "facts of the run"))  # fmt: skip
    counts = [text.plural(one.same[name], *noun) for name, *noun in nouns if one.same.get(name)]
    return (f"The same in both: {', '.join(counts)}. " if counts else "") + (
        "Of each metric and stage the newest value is compared; which is better is not said."
    )


def _head(side: str, one: Ran, view: View) -> str:
    return (
        f'<span class="ab-{side}" aria-hidden="true"></span>{side.upper()} '
        f'<span title="{hx(one.run)}">{hx(text.middle(one.title or one.run, 30))}</span>'
        f'<small class="x-muted">{hx(_when(one.started, view))}'
        f"{' · version ' + hx(one.version, 30) if one.version else ''}</small>"
    )


def _differing(kind: str, name: str, a: str | None, b: str | None) -> str:
    cells = "".join(f"<td>{_told(value)}</td>" for value in (a, b))
    return f'<tr><th scope="row">{hx(name, 80)}<small class="x-muted">{kind}</small></th>{cells}</tr>'


def _told(value: str | None) -> str:
    return f"{hx(text.middle(value, 44))}" if value is not None else f"{NONE}{hidden(' not stated')}"


def _metric(one: Metric) -> str:
    cells = "".join(f"<td>{_number(value)}</td>" for value in (one.a, one.b))
    return f'<tr><th scope="row">{hx(one.name, 80)}<small class="x-muted">Metric, {one.stage}</small></th>{cells}</tr>'


def _number(one: Number | None) -> str:
    if one is None:
        return f"{NONE}{hidden(' not stated')}"
    return f'<b>{one.value:.6g}</b><small class="x-muted">step {text.count(one.step)} · {hx(one.source, 40)}</small>'
