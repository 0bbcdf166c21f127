"""The answer of `tandem drift`: plain values with fixed keys, and the same as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem import printed, times, whose
from tandem.shown import Drifts, FeatureDrift, Half

MEASURES = {"js": "JS", "wasserstein": "W"}


def answer(found: Drifts) -> dict[str, Any]:
    """What `tandem drift --json` prints; null where a measure has no meaning or nothing was counted."""
    return {
        "model": found.model,
        "window": _half(found.current) | _narrowed(found.current),
        "reference": {"kind": found.reference.kind} | _half(found.reference) | _narrowed(found.reference),
        "as_of": found.as_of,
        "features": [_row(row) for row in found.rows],
        "concept_drift": found.concept or None,
        "remarks": list(found.remarks),
        "judgements": [whose.json(one) for one in found.judgements],
    }


def _half(half: Half) -> dict[str, Any]:
    assert half.window is not None
    return {"from": times.text(half.window.since), "to": times.text(half.window.until)}


def _narrowed(half: Half) -> dict[str, Any]:
    return {"version": half.version or None, "segment": half.segment or None, "stage": half.stage,
            "environment": half.environment}  # fmt: skip


def _row(row: FeatureDrift) -> dict[str, Any]:
    return {
        "feature": row.feature, "drift": row.drift, "type": row.type, "n_reference": row.n_reference,
        "n_current": row.n_current, "psi": row.psi, "js": row.js, "ks": row.ks, "wasserstein": row.wasserstein,
        "chi_square_p": row.chi_square_p, "p": row.p, "noise_floor": row.noise_floor, "verdict": row.verdict,
        "severity": row.severity, "bound": row.bound, "wasserstein_bound": row.wasserstein_bound,
        "measure": measure(row), "effect": row.effect, "hellinger": row.hellinger,
        "total_variation": row.total_variation, "l_infinity": row.l_infinity,
        "missing_reference": row.missing_reference, "missing_current": row.missing_current,
        "new_categories": [{"value": value, "n": n} for value, n in row.fresh],
        "vanished_categories": [{"value": value, "n": n} for value, n in row.vanished],
        "reason": row.reason or None,
    }  # fmt: skip


def measure(row: FeatureDrift) -> str | None:
    """Which measure the effect is."""
    if row.effect is None:
        return None
    return "js" if row.wasserstein is None else "wasserstein"


# -- on a terminal


def text(found: Mapping[str, Any]) -> str:
    """The answer as a table, worst first, with its two sides above and what came and went below."""
    head = f"{found['model']}: {_side(found['window'])}, load {found['as_of']}\n"
    head += f"against {_of(found['reference'])}\n"
    columns = ("feature", "drift", "verdict", "effect", "noise floor", "PSI", "JS", "KS", "W", "n", "n reference", "")
    rows = [_printed(row) for row in found["features"]]
    said = head + printed.table(columns, rows)
    if found["judgements"]:
        heads = ("feature", "judged by", "method", "value", "rule", "verdict", "drift in", "Tandem")
        said += "\nwhat other tools say\n" + printed.table(heads, [_judged(one) for one in found["judgements"]])
    if found["concept_drift"]:
        said += "\n" + printed.clean(found["concept_drift"]) + "\n"
    return said


def _side(half: Mapping[str, Any]) -> str:
    narrowed = [f"version {half['version']}" if half["version"] else "", half["segment"] or "",
                f"{half['stage']} stage" if half["stage"] != "production" else ""]  # fmt: skip
    return ", ".join([f"{half['from']} to {half['to']}", *(printed.clean(one, 80) for one in narrowed if one)])


def _of(reference: Mapping[str, Any]) -> str:
    stored = "the stored reference, " if reference["kind"] == "baseline" else ""
    return stored + _side(reference)


def _printed(row: Mapping[str, Any]) -> tuple[str, ...]:
    verdict = row["verdict"] + (f", {row['severity']}" if row["severity"] != "none" else "")
    effect = "" if row["effect"] is None else f"{row['effect']:.4f} {MEASURES[row['measure']]}"
    numbers = [row[name] for name in ("psi", "js", "ks", "wasserstein")]
    return (
        row["feature"], row["drift"], verdict, effect, _number(row["noise_floor"]), *map(_number, numbers),
        f"{row['n_current']:,}", f"{row['n_reference']:,}", "; ".join(_notes(row)),
    )  # fmt: skip


def _judged(one: Mapping[str, Any]) -> tuple[str, ...]:
    bounds = [f"{one[name]:.4g}" for name in ("lower_threshold", "threshold") if one[name] is not None]
    value = "" if one["value"] is None else f"{one['value']:.4g}"
    return (
        one["feature"], one["source"], one["method"], value, f"{one['direction']} {' to '.join(bounds)}".strip(),
        one["verdict"] or "not told", f"{one['drifting']} of {one['judged']}", one["tandem"] or "cannot judge",
    )  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _notes(row: Mapping[str, Any]) -> list[str]:
    """What came, what went, what is missing, and why there is nothing to say."""
    notes = [row["reason"]] if row["reason"] else []
    for key, word in (("new_categories", "new"), ("vanished_categories", "gone")):
        if row[key]:
            notes.append(f"{word}: " + ", ".join(f"{one['value']} ({one['n']:,})" for one in row[key][:4]))
    if row["missing_reference"] or row["missing_current"]:
        notes.append(f"missing {row['missing_current']:,}, in the reference {row['missing_reference']:,}")
    return notes
