"""Whose verdict is whose: what tools say of a model beside Tandem's own, and which of several sources counts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import tzinfo

from dashboard import text
from dashboard.blocks.marks import NONE, hidden
from dashboard.text import hx
from tandem.explained import Witness
from tandem.whose import Counting, Judgement

ROWS = 40
"""Judgements that are listed, those of drift first; the rest is counted."""
VERDICTS = {True: "◆ drift", False: "● no drift", None: "not told"}
OWN = {"drift": "◆ drift", "no drift": "● no drift", "not enough data": "○ not enough data"}


def judgement_table(found: Sequence[Judgement], zone: tzinfo) -> str:
    """One row per feature and method of each tool: its number by its own rule, its verdict, and Tandem's."""
    heads = (("Feature", ""), ("Judged by", ""), ("Its number and rule", "x-num"), ("Its verdict", ""),
             ("Drift in", "x-num"), ("Tandem", ""))  # fmt: skip
    head = "".join(f'<th scope="col" class="{classes}">{name}</th>' for name, classes in heads)
    rows = "".join(_judgement(one, zone) for one in found[:ROWS])
    more = f'<p class="m-more">and {len(found) - ROWS} more</p>' if len(found) > ROWS else ""
    return (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Verdicts of other tools">'
        '<table class="f-table w-whose"><caption class="x-hide">What other tools say of each feature</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _judgement(one: Judgement, zone: tzinfo) -> str:
    narrowed = " · ".join(part for part in (one.version and f"version {one.version}", one.segment) if part)
    about = f"<small>{hx(narrowed, 80)}</small>" if narrowed else ""
    differ = '<small class="w-differ">they differ</small>' if one.agree is False else ""
    return (
        f'<tr><th scope="row">{hx(one.feature, 60)}{about}</th>'
        f"<td>{hx(one.source, 60)}<small>{hx(one.method, 60)}</small></td>"
        f'<td class="x-num">{_number(one.value)}<small>{hx(rule(one))}</small></td>'
        f"<td>{VERDICTS[one.drift]}<small>{hx(text.moment(int(one.ts), zone))}</small></td>"
        f'<td class="x-num">{text.count(one.found)} of {text.count(one.times)}{hidden(" looks")}</td>'
        f"<td>{_own(one)}{differ}</td></tr>"
    )


def rule(one: Judgement) -> str:
    """When a tool says drift, in its own numbers."""
    if one.direction == "told" or (one.threshold is None and one.lower is None):
        return "by its own rule"
    if one.direction == "outside":
        low, high = (NONE if end is None else f"{end:.4g}" for end in (one.lower, one.threshold))
        return f"drift outside {low} to {high}"
    return f"drift if {one.direction} {one.threshold:.4g}"


def _number(value: float | None) -> str:
    return NONE if value is None else text.digits(value, 3)


def _own(one: Judgement) -> str:
    if one.own is None:
        return '<span class="x-muted">cannot judge: it holds no distribution of it</span>'
    effect = f"<small>effect {text.digits(one.own_effect, 2)}</small>" if one.own_effect is not None else ""
    return f"{hx(OWN.get(one.own, one.own))}{effect}"


def counting_list(found: Sequence[Counting]) -> str:
    """For each signal that several sources have: which one counts and why, and how far the others are from it."""
    return f'<ul class="w-counting">{"".join(map(_counting, found))}</ul>'


def _counting(one: Counting) -> str:
    share = text.share(one.value) if one.value is not None else NONE
    of = f" of {text.count(one.total)}" if one.total is not None else ""
    others = "; ".join(_witness(witness) for witness in one.witnesses)
    return (
        f"<li><b>{hx(one.title)}</b>: {hx(one.source, 60)} counts, {share}{of} "
        f'<span class="x-muted">({hx(one.why)})</span>; {others}</li>'
    )


def _witness(one: Witness) -> str:
    if one.value is None:
        return f"{hx(one.source, 60)} counted nothing in this window"
    said = f"{hx(one.source, 60)} bears witness with {text.share(one.value)} of {text.count(one.total or 0)}"
    if one.difference is None:
        return said
    sign = "+" if one.difference > 0 else "−" if one.difference < 0 else "±"
    return f"{said}, {sign}{text.digits(abs(one.difference) * 100, 2)} points"
