"""Objectives written as OpenSLO v1 YAML, which `openslo.read` reads again as they were."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from typing import Any

from tandem.objectives import Objective, OwnRule
from tandem.openslo import MARK, NOTES, PERIODS


def text(some: Sequence[Objective], meanings: Mapping[str, str]) -> str:
    """Objectives as OpenSLO v1 YAML, a document each; `meanings` are the sentences of the signals.

    Annotations keep what OpenSLO has no word for, so that `read` gives the same objectives again.
    """
    names: dict[str, int] = {}
    return "---\n".join("".join(_lines(_document(one, _unique(one, names), meanings))) for one in some)


def _unique(one: Objective, names: dict[str, int]) -> str:
    """A name of lower-case letters, digits and dashes, at most 63 of them, that no other has."""
    plain = (
        re.sub(r"[^a-z0-9]+", "-", f"{one.component}-{one.name or one.signal}".lower()).strip("-")[:56] or "objective"
    )
    names[plain] = names.get(plain, 0) + 1
    return plain if names[plain] == 1 else f"{plain}-{names[plain]}"


def _document(one: Objective, name: str, meanings: Mapping[str, str]) -> dict[str, Any]:
    limit = one.threshold if one.threshold is not None else one.tolerance
    notes = {f"{MARK}signal": one.signal}
    notes |= {f"{MARK}bound-of": "tolerance"} if one.tolerance is not None else {}
    plain = Objective("", "")
    notes |= {f"{MARK}{key.rstrip('_')}": str(getattr(one, key)) for key in NOTES
              if getattr(one, key) != getattr(plain, key)}  # fmt: skip
    source = {"type": "tandem", "spec": {"component": one.component, "signal": one.signal}}
    metric: dict[str, Any] = {"thresholdMetric": {"metricSource": source}}
    if limit is None:
        counts = {key: {"metricSource": source | {"spec": {**source["spec"], "count": key}}}  # type: ignore[dict-item]
                  for key in ("good", "total")}  # fmt: skip
        metric = {"ratioMetric": {"counter": False, **counts}}
    goal: dict[str, Any] = {"displayName": one.name or name, "target": _plain(one.target)}
    goal |= {"op": "lte", "value": _plain(limit)} if limit is not None else {}
    goal |= {"timeSliceTarget": _plain(one.slice_target), "timeSliceWindow": one.slice} if one.slice else {}
    return {
        "apiVersion": "openslo/v1",
        "kind": "SLO",
        "metadata": {"name": name, "displayName": one.name or name, "annotations": notes},
        "spec": {
            "description": meanings.get(one.stored, ""),
            "service": one.component,
            "indicator": {"metadata": {"name": f"{name}-indicator"[:63]}, "spec": metric},
            "timeWindow": [_written_window(one)],
            "budgetingMethod": "Timeslices" if one.slice else "Occurrences",
            "objectives": [goal],
            "alertPolicies": [_policy(name, one.rule)] if one.rule else [],
        },
    }


def _written_window(one: Objective) -> dict[str, Any]:
    if not one.calendar:
        return {"duration": one.window, "isRolling": True}
    letters = {period: letter for letter, period in PERIODS.items()}
    start = "2024-01-01 00:00:00"  # a Monday, the first of a month, a quarter and a year
    return {"duration": letters[one.calendar], "isRolling": False,
            "calendar": {"startTime": start, "timeZone": one.timezone or "UTC"}}  # fmt: skip


def _policy(name: str, rules: Sequence[OwnRule]) -> dict[str, Any]:
    conditions = [
        {"kind": "AlertCondition", "metadata": {"name": f"{name[:50]}-{number}"},
         "spec": {"severity": rule.severity, "condition": {
             "kind": "burnrate", "op": "gt", "threshold": _plain(rule.factor), "lookbackWindow": rule.long,
             "alertAfter": rule.short}}}
        for number, rule in enumerate(rules, 1)
    ]  # fmt: skip
    spec = {"alertWhenBreaching": True, "conditions": conditions, "notificationTargets": []}
    return {"kind": "AlertPolicy", "metadata": {"name": f"{name[:55]}-burn"}, "spec": spec}


def _plain(value: Fraction | None) -> int | float | None:
    """A fraction as a number of JSON; those of a configuration are decimals, which floats keep."""
    if value is None:
        return None
    return value.numerator if value.denominator == 1 else float(value)


def _lines(value: Any, depth: int = 0, lead: str = "") -> Iterator[str]:
    """YAML of tables, lists and scalars; texts stand in double quotes."""
    pad = "  " * depth
    if isinstance(value, dict) and value:
        for place, (key, inner) in enumerate(value.items()):
            start = lead if place == 0 and lead else pad
            if isinstance(inner, (dict, list)) and inner:
                yield f"{start}{json.dumps(key) if not re.fullmatch('[A-Za-z]+', key) else key}:\n"
                yield from _lines(inner, depth + 1)
            else:
                yield f"{start}{json.dumps(key) if not re.fullmatch('[A-Za-z]+', key) else key}: {_scalar(inner)}\n"
    elif isinstance(value, list):
        for inner in value:
            yield from _lines(inner, depth + 1, f"{pad}- ")
    else:
        yield f"{lead or pad}{_scalar(value)}\n"


def _scalar(value: Any) -> str:
    if not isinstance(value, str):
        return json.dumps(value)
    plain = value.replace("\\", "\\\\").replace('"', '\\"')
    # Escaped one by one: JSON's pairs of surrogates are no characters of YAML.
    return '"' + "".join(one if " " <= one <= "~" else f"\\U{ord(one):08x}" for one in plain) + '"'
