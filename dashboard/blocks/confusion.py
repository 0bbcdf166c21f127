"""Actual against predicted."""

from __future__ import annotations

from collections.abc import Mapping

from dashboard import text
from dashboard.blocks.marks import hidden
from dashboard.text import hx


def confusion_table(cells: Mapping[tuple[str, str], int], most: int = 8) -> str:
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
