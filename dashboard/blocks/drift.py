"""Rows of drift by effect, and what the two colours of a distribution are."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.marks import link
from dashboard.blocks.why import why
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import FeatureDrift

SHAPES = {"drift": "▲", "above noise, small": "≈", "no drift": "=", "not enough data": "○"}
"""A shape for each verdict, beside its word; major drift has MAJOR, as on the map."""
MAJOR = "◆"
NAMED = 3
"""New or vanished categories that are named in a row."""


def drift_table(features: Sequence[FeatureDrift], view: View, chosen: str = "", most: int = 40, whose: str = "") -> str:
    """Rows by effect, each with its noise floor and verdict; a name selects it. Rows without data are hatched.

    The numbers explain themselves where they are those of the model `whose` over the page's window.
    """
    rows = "".join(_row(one, view, chosen, whose) for one in features[:most])
    titles = ("Row", "Drift", "Effect", "Noise floor", "PSI", "Rows", "Verdict")
    heads = "".join(f'<th scope="col"{" class=x-num" if i in (2, 3, 4, 5) else ""}>{t}</th>'
                    for i, t in enumerate(titles))  # fmt: skip
    more = f'<p class="m-more">and {len(features) - most} more rows</p>' if len(features) > most else ""
    return (
        '<div class="f-scroll" tabindex="0" role="region" aria-label="Drift of each row">'
        '<table class="f-table ab-drift"><caption class="x-hide">Drift of each row</caption>'
        f"<thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div>{more}"
    )


def _row(one: FeatureDrift, view: View, chosen: str, whose: str) -> str:
    effect, named = _effect(one)
    lacking = one.verdict == "not enough data"
    return (
        f"<tr{' aria-current=true' if one.feature == chosen else ''}{' class=ab-lacking' if lacking else ''}>"
        f'<th scope="row">{link(view.link(view.page, selected=one.feature), text.clean(one.feature, 60))}</th>'
        f"<td>{hx(one.drift, 40)}</td>"
        f'<td class="x-num" title="{hx(named, 120)}">{_told(effect, one, "effect", whose)}</td>'
        f'<td class="x-num">{_told(_brief(one.noise_floor), one, "noise_floor", whose)}</td>'
        f'<td class="x-num">{_told(_brief(one.psi), one, "psi", whose)}</td>'
        f'<td class="x-num" title="{text.count(one.n_reference)} in the reference">'
        f"{_told(text.count(one.n_current), one, 'n_current', whose)}</td>"
        f"<td>{_verdict(one)}</td></tr>"
    )


def _brief(value: float | None) -> str:
    return "–" if value is None else text.digits(value, 2)


def _told(shown: str, one: FeatureDrift, number: str, whose: str) -> str:
    """A number that explains itself, where it can."""
    if not whose or shown == "–" or (number == "effect" and one.effect is None):
        return shown
    return why(shown, component=whose, feature=one.feature, number=number)


def _verdict(one: FeatureDrift) -> str:
    severity = f", {one.severity}" if one.severity not in ("", "none") else ""
    mark = MAJOR if one.severity == "major" else SHAPES.get(one.verdict, "")
    shape = f'<span aria-hidden="true">{mark}</span> '
    notes = [one.reason] if one.reason else []
    for word, some in (("new", one.fresh), ("gone", one.vanished)):
        if some:
            listed = ", ".join(f"{value} ({text.count(n)})" for value, n in some[:NAMED])
            notes.append(f"{word}: {listed}{f' and {len(some) - NAMED} more' if len(some) > NAMED else ''}")
    if one.missing_current or one.missing_reference:
        notes.append(f"missing {text.count(one.missing_current)}, before {text.count(one.missing_reference)}")
    told = f'<small class="ab-note x-muted">{hx("; ".join(notes), 240)}</small>' if notes else ""
    return f"{shape}{hx(one.verdict)}{hx(severity)}{told}"


def _effect(one: FeatureDrift) -> tuple[str, str]:
    """The measure that decides, and what it is with its bound."""
    value, named = (
        (one.js, "Jensen-Shannon, base 2") if one.wasserstein is None else (one.wasserstein, "normed Wasserstein")
    )
    if value is None:
        value, named = one.psi, "PSI"
    if one.wasserstein is not None and one.wasserstein_bound is not None:
        named += f", at most {text.digits(one.wasserstein_bound, 2)} off by the bins"
    if one.ks is not None and one.bound is not None:
        named += f"; KS {text.digits(one.ks)}, at most {text.digits(one.bound, 2)} more"
    return ("–" if value is None else text.digits(value)), named


def pair_legend(reference: int, current: int, names: tuple[str, str] | None = None) -> str:
    """What the two colours of a distribution are; `names` are those of two sides that are compared."""
    was, now = names or ("Reference", "This window")
    first, second = ("ab-b", "ab-a") if names else ("d-ref", "d-now")
    return (
        f'<div class="s-legend"><span><span class="{first}"></span>{hx(was, 40)}, {text.count(reference)} rows</span>'
        f'<span><span class="{second}"></span>{hx(now, 40)}, {text.count(current)} rows</span></div>'
    )
