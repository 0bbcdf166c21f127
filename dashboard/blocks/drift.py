"""Features by effect, and what the two colours of a distribution are."""

from __future__ import annotations

from collections.abc import Sequence

from dashboard import text
from dashboard.blocks.marks import link
from dashboard.text import hx
from dashboard.view import View
from tandem.shown import FeatureDrift


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


def pair_legend(reference: int, current: int) -> str:
    """What the two colours of a distribution are."""
    return (
        f'<div class="s-legend"><span><span class="d-ref"></span>Reference, {text.count(reference)} rows</span>'
        f'<span><span class="d-now"></span>This window, {text.count(current)} rows</span></div>'
    )
