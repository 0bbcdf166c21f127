"""What followed each onset of drift or breach of a model, as escaped HTML: order in time, never a cause."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.differences import MINUS
from dashboard.blocks.marks import NONE, link, outward
from dashboard.text import hx
from dashboard.view import View, compact
from tandem.retrained import Counts, Effect, Followed, Onset, Promotion, Retrained, Training

OPEN = 8
"""Onsets that are shown at once; the rest is folded away."""
MOST = 200
SHAPES = {"better": "▲", "worse": "▼", "not enough evidence": "○", "too early to tell": "…"}
"""Direction is a shape and a word, in no state's colour."""
OUTCOMES = {"bad": "failed", "open": "running", "excluded": "not counted"}
HOW = (
    "An onset is the first hour of a stretch in which a feature drifted in most judged hours of three days, or the "
    "hour at whose end an objective stood breached; features that began within a day are one onset. Trainings are "
    "those that started after it, and before the same began again. A promotion is joined to its training by digest or "
    "run id. Before and after are equally long, at most a week, leave out the interval in which the promotion lies, "
    "and hold only what has its labels; the difference has Newcombe’s interval, in which the hours of one day of a "
    "feature count for one, as they hang together. The order in time says nothing of causes; what comes in may drift "
    "on, whatever is trained."
)


def counted(found: Retrained) -> str:
    """How many onsets there were, and how far each step went."""
    rows = found.rows
    if not rows:
        return ""
    trained = sum(row.training is not None for row in rows)
    promoted = sum(row.promotion is not None for row in rows)
    better = sum(any(effect.state == "better" for effect in row.effects) for row in rows)
    return (f"{text.plural(len(rows), 'onset')} · followed by a training {text.count(trained)} · by a promotion "
            f"{text.count(promoted)} · better after it {text.count(better)}")  # fmt: skip


def onsets(found: Retrained, view: View) -> str:
    """The sentence on the last onset, then every onset with what followed it, newest first."""
    said = f'<p class="n-said">{hx(found.sentence, 600)}</p>'
    if not found.rows:
        return said
    first, rest = found.rows[:OPEN], found.rows[OPEN:MOST]
    more = len(found.rows) - OPEN - len(rest)
    folded = ""
    if rest:
        tail = f'<p class="m-more">and {text.count(more)} earlier ones</p>' if more > 0 else ""
        folded = (f'<details class="o-more"><summary>{text.plural(len(rest), "earlier onset")}</summary>'
                  f"{_list(rest, found, view)}{tail}</details>")  # fmt: skip
    how = f'<details class="o-more"><summary>How this is told</summary><p>{HOW}</p></details>'
    return said + _list(first, found, view) + folded + how


def _list(rows: Sequence[Followed], found: Retrained, view: View) -> str:
    return f'<ol class="n-list">{"".join(_row(row, found, view) for row in rows)}</ol>'


def _row(row: Followed, found: Retrained, view: View) -> str:
    effects = "".join(_effect(one, view, found.model) for one in row.effects)
    cells = (
        ("Onset", _onset(row.onset, view)), ("Training", _training(row, view)),
        ("Promoted", _promotion(row.promotion, view, found.model)), ("Before and after", effects),
    )  # fmt: skip
    inside = "".join(f'<div class="n-cell"><span class="n-key">{name}</span>{markup}</div>' for name, markup in cells)
    return f'<li class="n-row">{inside}</li>'


def _onset(one: Onset, view: View) -> str:
    named = ", ".join(one.what)
    kind = "data drift" if one.kind == "drift" else "breach of"
    name = f"{kind} <b>{hx(named, 160)}</b>" if one.kind == "breach" else f"<b>{hx(named, 160)}</b> {kind}"
    early = "by " if one.early else ""
    if one.until is None:
        lasted = "goes on"
    else:
        lasted = f"lasted {'at least ' if one.early else ''}{hx(text.age(one.until - one.since))}"
    return f"{name}<small>{early}{_when(one.since, view)} · {lasted}</small>"


def _when(ts: int, view: View) -> str:
    return hx(text.moment(ts, view.zone))


def _training(row: Followed, view: View) -> str:
    one = row.training
    if one is None:
        return f'<span class="x-muted">{"not known" if row.unknown else "none since"}</span>'
    after = text.age(one.started - row.onset.since)
    took = f", took {hx(text.age(one.ended - one.started))}" if one.ended is not None else ""
    outcome = f" · {OUTCOMES[one.outcome]}" if one.outcome in OUTCOMES else ""
    many = f"<small>{text.count(row.trainings)} trainings since</small>" if row.trainings > 1 else ""
    return (
        f"{_by(one)}<small>started {_when(one.started, view)}, {hx(after)} after{took}{outcome}</small>"
        f"<small>{outward(one.url, text.middle(one.title or one.key, 40))}"
        f"{f' · {hx(one.source, 60)}' if one.source else ''}</small>{many}"
    )


def _by(one: Training) -> str:
    actor = f" · {hx(one.trigger.actor, 60)}" if one.trigger.actor else ""
    word = f' title="its system says: {hx(one.trigger.word, 80)}"' if one.trigger.word else ""
    said = f"by <b>{hx(one.trigger.said, 80)}</b>" if one.trigger.by else "not said by what"
    return f"<span{word}>{said}</span>{actor}"


def _promotion(one: Promotion | None, view: View, model: str) -> str:
    if one is None:
        return f'<span class="x-muted">{NONE}</span>'
    since, until = _when(one.since, view), _when(one.until, view)
    when = since if one.since == one.until else f"between {since} and {until}"
    version = "a version that is not stated"
    if one.version:
        version = link(
            view.link("models", component=model, version=one.version), f"version {text.clean(one.version, 40)}"
        )
    return f"{version}<small>{when}</small><small>{hx(one.joined, 160)}</small>"


def _effect(one: Effect, view: View, model: str) -> str:
    shape = f'<span aria-hidden="true">{SHAPES[one.state]} </span>' if one.state in SHAPES else ""
    said = f'<span class="n-state">{shape}{hx(one.state)}</span>'
    if one.before is None or one.after is None:
        measure = f"<b>{hx(one.measure, 60)}</b> " if one.measure else ""
        return f'<div class="n-effect">{measure}{said}<small>{hx(one.reason, 200)}</small></div>'
    sides = f"{_share(one.before)} → {_share(one.after)}"
    change = ""
    if one.change is not None and one.interval is not None:
        low, high = (_points(end) for end in one.interval)
        change = f"<small>{_points(one.change)} points, 95{text.NARROW}%: {low} to {high}</small>"
    n = f"{text.count(one.before.total)} and {text.count(one.after.total)} {hx(one.of, 120)}"
    if one.before.days is not None and one.after.days is not None:
        n += f" (for the interval {text.count(one.before.days)} and {text.count(one.after.days)} days)"
    length = hx(text.age(one.after.until - one.after.since))
    reason = "" if one.state in ("better", "worse") else f"<small>{hx(one.reason, 160)}</small>"
    if one.before.most is not None or one.after.most is not None:
        reason += (f"<small>certainly so; up to {_most(one.before)} and {_most(one.after)} may be, as its limit is no "
                   "edge of the histogram</small>")  # fmt: skip
    return (
        f'<div class="n-effect"><b>{hx(one.measure, 60)}</b> {sides} {said}{change}'
        f"<small>of {n}, {length} each · {_compare(one, view, model)}</small>{reason}</div>"
    )


def _share(one: Counts) -> str:
    return hx(text.share(one.share)) if one.share is not None else NONE


def _most(one: Counts) -> str:
    return hx(text.share(one.highest / one.total)) if one.total else NONE


def _points(change: float) -> str:
    sign = "+" if change > 0 else MINUS if change < 0 else "±"
    return f"{sign}{text.digits(abs(change) * 100, 3)}"


def _compare(one: Effect, view: View, model: str) -> str:
    """Both windows on the Compare page, where the same numbers stand with everything else."""
    assert one.before is not None
    assert one.after is not None
    ends = {"from": compact(one.after.since), "to": compact(one.after.until)}
    other = f"window:{compact(one.before.since)}..{compact(one.before.until)}"
    whole = {"version": "", "segment": "", "live": False}
    return link(view.link("compare", component=model, **ends, compare=other, **whole), "compare")
