"""Objectives as other tools write them: OpenSLO v1 both ways, Sloth and Pyrra files in, with factors of their own.

Only what an objective promises is read; where the numbers come from is the business of Tandem's own sources.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from fnmatch import fnmatchcase
from fractions import Fraction
from pathlib import Path
from typing import Any

from tandem import slo, strict, times
from tandem.objectives import GAPS, Objective, OwnRule
from tandem.records import BUCKET

LARGEST = 1 << 20
"""Bytes of a file that are read at most."""
MARK = "tandem/"
"""What the names of our own annotations begin with."""
PERIODS = {"1d": "day", "1w": "week", "1M": "month", "1Q": "quarter", "1Y": "year"}
_PAGES = ("page", "critical", "high", "sev1", "sev2", "1")
_SLOTH = (("page", "1h", "5m", "14.4"), ("page", "6h", "30m", "6"), ("ticket", "1d", "2h", "3"),
          ("ticket", "3d", "6h", "1"))  # fmt: skip
_PYRRA: tuple[tuple[slo.Severity, int, int, int], ...] = (
    ("page", 3600, 300, 14),
    ("page", 21600, 1800, 7),
    ("ticket", 86400, 7200, 2),
    ("ticket", 345600, 21600, 1),
)
"""Factors, and look-backs of a window of 28 days, with which they scale."""
_EDGE = re.compile(r'\ble="([0-9.eE+-]+)"')


@dataclass(frozen=True)
class Mapped:
    """One [[slo.map]]: what the objectives are of whose `service` and `name` match the globs; the first match wins.

    `factors` puts the standard or reachable rules in the place of those that the file brings.
    """

    component: str = ""
    signal: str = ""
    match: Mapping[str, str] = field(default_factory=dict)
    threshold: Fraction | None = None
    factors: slo.Factors = ""


@dataclass(frozen=True)
class Imported:
    """The [slo] table: files of objectives, relative and with globs, and what they are of."""

    files: tuple[str, ...] = ()
    map: tuple[Mapped, ...] = ()


def objectives(given: Imported, folder: Path, known: Sequence[str]) -> tuple[Objective, ...]:
    """The objectives of all files; raises ValueError with one sentence that names the file.

    `known` are the components, of which a file's services are found by name.
    """
    found: list[Objective] = []
    for number, one in enumerate(given.map, 1):
        strict.known(one.match, ("service", "name"), f"[[slo.map]] number {number}: match")
    for pattern in given.files:
        paths = sorted(folder.glob(pattern)) if not Path(pattern).is_absolute() else [Path(pattern)]
        if not paths:
            raise ValueError(f"[slo]: files: there is no {strict.quoted(pattern)}; name YAML files.")
        for path in paths:
            try:
                found += [_mapped(one, given.map, known) for one in read(path.read_bytes())]
            except OSError as error:
                raise ValueError(f"[slo]: {path.name} cannot be read: {error.strerror}.") from None
            except ValueError as refused:
                raise ValueError(f"[slo]: {path.name}: {refused}") from None
    return tuple(found)


def _mapped(one: Objective, rules: Sequence[Mapped], known: Sequence[str]) -> Objective:
    labels = {"service": one.component, "name": one.name}
    rule = next((rule for rule in rules
                 if all(fnmatchcase(labels[key], glob) for key, glob in rule.match.items())), Mapped())  # fmt: skip
    made = replace(
        one, component=rule.component or one.component, signal=rule.signal or one.signal,
        threshold=rule.threshold if rule.threshold is not None else one.threshold,
        rule=() if rule.factors else one.rule, factors=rule.factors or one.factors,
    )  # fmt: skip
    if known and made.component not in known:
        raise ValueError(f"{strict.quoted(one.name)} is of {strict.quoted(made.component)}, which is no component;"
                         f" {strict.nearest(made.component, tuple(known))}: name it by [[slo.map]].")  # fmt: skip
    return made


def read(content: bytes) -> list[Objective]:
    """The objectives of one file, their services as components; raises ValueError with one sentence."""
    documents = _documents(content)
    old = next((str(one["apiVersion"]) for one in documents if str(one.get("apiVersion", "")).startswith("openslo")
                and one["apiVersion"] != "openslo/v1"), "")  # fmt: skip
    if old:
        raise ValueError(f"{strict.quoted(old)} is not read; write openslo/v1.")
    objects = {(one.get("kind"), _text(_table(one, "metadata"), "name")): one for one in documents
               if one.get("apiVersion") == "openslo/v1"}  # fmt: skip
    found: list[Objective] = []
    for one in documents:
        version = str(one.get("apiVersion") or one.get("version") or "")
        if version == "openslo/v1":
            found += _of_openslo(one, objects) if one.get("kind") == "SLO" else []
        elif version == "prometheus/v1":
            found += _of_sloth(one, _text(one, "service"), "objective")
        elif version.startswith("sloth.slok.dev/"):
            found += _of_sloth(_table(one, "spec"), _text(_table(one, "spec"), "service"), "objective")
        elif version.startswith("pyrra.dev/"):
            found.append(_of_pyrra(one))
        else:
            raise ValueError("it is neither OpenSLO v1 nor a file of Sloth or Pyrra: apiVersion or version says which.")
    return found


def _documents(content: bytes) -> list[dict[str, Any]]:
    try:
        import yaml
    except ImportError:
        raise ValueError("reading it needs PyYAML: run `pip install 'tandem-health[openslo]'`.") from None
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB, which no file of objectives is.")
    try:
        found = [one for one in yaml.safe_load_all(content.decode()) if one is not None]
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"it is not YAML: {error.problem or 'unreadable'} in line {line}.") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError):
        raise ValueError("it is not YAML text in UTF-8.") from None
    flat = [part for one in found for part in (one if isinstance(one, list) else [one])]
    if not flat or not all(isinstance(one, dict) for one in flat):
        raise ValueError("it holds no objects, each with apiVersion, kind, metadata and spec.")
    return flat


# -- OpenSLO


def _of_openslo(one: Mapping[str, Any], objects: Mapping[tuple[Any, str], Mapping[str, Any]]) -> Iterator[Objective]:
    meta, spec = _table(one, "metadata"), _table(one, "spec")
    name = _text(meta, "displayName", _text(meta, "name"))
    notes = {str(key).removeprefix(MARK): str(value) for key, value in _table(meta, "annotations", {}).items()
             if str(key).startswith(MARK)}  # fmt: skip
    window, zone = _window(spec, name)
    method = spec.get("budgetingMethod", "Occurrences")
    if method not in ("Occurrences", "Timeslices"):
        raise ValueError(f"{strict.quoted(name)}: budgetingMethod {strict.quoted(str(method))} is not counted; write"
                         " Occurrences or Timeslices.")  # fmt: skip
    indicator = _indicator(spec, objects, name)
    rules = tuple(_rules(spec, objects, name))
    goals = _list(spec, "objectives")
    for number, goal in enumerate(goals, 1):
        if goal.get("compositeWeight") is not None or goal.get("indicator") or goal.get("indicatorRef"):
            raise ValueError(f"{strict.quoted(name)} is a composite; write an objective for each of its parts.")
        said = _text(goal, "displayName", name if len(goals) == 1 else f"{name} {number}")
        sliced = method == "Timeslices"
        made = Objective(
            component=_text(spec, "service"), signal=notes.get("signal", "latency" if _is_quantity(indicator) else
            "request_success"), target=_goal(goal, name), name=said, window=window, timezone=zone,
            slice=str(goal.get("timeSliceWindow", "")) if sliced else "",
            slice_target=_number(goal, "timeSliceTarget", name) if sliced else None, rule=rules,
            **_quantity(goal, indicator, notes, name),
        )  # fmt: skip
        yield replace(made, **_noted(notes, name))


def _indicator(
    spec: Mapping[str, Any], objects: Mapping[tuple[Any, str], Mapping[str, Any]], name: str
) -> Mapping[str, Any]:
    if "indicatorRef" in spec:
        found = objects.get(("SLI", str(spec["indicatorRef"])))
        if found is None:
            missing = strict.quoted(str(spec["indicatorRef"]))
            raise ValueError(f"{strict.quoted(name)} refers to the SLI {missing}, which is not in the same file.")
        return _table(found, "spec")
    return _table(_table(spec, "indicator"), "spec")


def _is_quantity(indicator: Mapping[str, Any]) -> bool:
    return "thresholdMetric" in indicator


def _quantity(
    goal: Mapping[str, Any], indicator: Mapping[str, Any], notes: Mapping[str, str], name: str
) -> dict[str, Any]:
    """The threshold of a quantity; a tolerance where the annotations say so."""
    if not _is_quantity(indicator):
        return {}
    if goal.get("op") not in ("lte", "lt"):
        raise ValueError(f"{strict.quoted(name)}: op must be lte or lt: good is what lies at or under its value.")
    of = "tolerance" if notes.get("bound-of") == "tolerance" else "threshold"
    return {of: _number(goal, "value", name)}


def _window(spec: Mapping[str, Any], name: str) -> tuple[str, str]:
    """The window as Tandem writes it, and the time zone of a calendar one."""
    some = _list(spec, "timeWindow")
    if len(some) != 1:
        raise ValueError(f"{strict.quoted(name)}: timeWindow must be a list of one.")
    given = _text(some[0], "duration")
    if some[0].get("isRolling"):
        return _duration(given, name), ""
    if given not in PERIODS:
        raise ValueError(f"{strict.quoted(name)}: a window of the calendar must be one of {', '.join(PERIODS)}.")
    calendar = _table(some[0], "calendar")
    _check_start(str(calendar.get("startTime", "")), PERIODS[given], name)
    return PERIODS[given], _text(calendar, "timeZone", "UTC")


def _check_start(text: str, period: str, name: str) -> None:
    """Raise ValueError for a period that begins elsewhere than the calendar's own."""
    try:
        begin = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{strict.quoted(name)}: startTime must be a time such as 2026-01-01 00:00:00.") from None
    midnight = begin.hour == begin.minute == begin.second == 0
    first = {
        "day": True, "week": begin.weekday() == 0, "month": begin.day == 1,
        "quarter": begin.day == 1 and begin.month % 3 == 1, "year": (begin.month, begin.day) == (1, 1),
    }  # fmt: skip
    if not (midnight and first[period]):
        raise ValueError(f"{strict.quoted(name)}: a {period} that begins at {text} is none of the calendar; Tandem"
                         " counts from midnight, weeks from Monday, months from the 1st.")  # fmt: skip


def _duration(text: str, name: str) -> str:
    try:
        return times.spelled(times.duration(text))
    except ValueError:
        raise ValueError(f"{strict.quoted(name)}: {strict.quoted(text)} is not a rolling window; write days, such as"
                         " 28d.") from None  # fmt: skip


def _goal(goal: Mapping[str, Any], name: str) -> Fraction:
    if "targetPercent" in goal:
        return _number(goal, "targetPercent", name) / 100
    return _number(goal, "target", name)


def _rules(
    spec: Mapping[str, Any], objects: Mapping[tuple[Any, str], Mapping[str, Any]], name: str
) -> Iterator[OwnRule]:
    """The burn rules of the alert policies, each with a short window of one twelfth of its look-back."""
    for policy in _resolved(_list(spec, "alertPolicies", []), "alertPolicyRef", "AlertPolicy", objects):
        for condition in _resolved(_list(_table(policy, "spec"), "conditions", []), "conditionRef", "AlertCondition",
                                   objects):  # fmt: skip
            inside = _table(condition, "spec")
            rule = _table(inside, "condition")
            if rule.get("kind") != "burnrate":
                continue
            try:
                long = times.duration(_text(rule, "lookbackWindow"))
            except ValueError as refused:
                raise ValueError(f"{strict.quoted(name)}: lookbackWindow: {refused}") from None
            severity: slo.Severity = "page" if str(inside.get("severity", "")).lower() in _PAGES else "ticket"
            yield _own(severity, long, long // 12, _number(rule, "threshold", name))


def _resolved(
    some: Sequence[Mapping[str, Any]], ref: str, kind: str, objects: Mapping[tuple[Any, str], Mapping[str, Any]]
) -> Iterator[Mapping[str, Any]]:
    """What stands there, or is named there and stands in the same file; what stands elsewhere is left out."""
    for one in some:
        found = objects.get((kind, str(one[ref]))) if ref in one else one
        if found is not None:
            yield found


def _own(severity: slo.Severity, long: int, short: int, factor: Fraction) -> OwnRule:
    """A rule on the grid of buckets."""
    width = max(BUCKET, math.ceil(long / BUCKET) * BUCKET)
    return OwnRule(severity, times.spelled(width), times.spelled(max(BUCKET, round(short / BUCKET) * BUCKET)), factor)


def _one_of(*words: str) -> Callable[[str], str]:
    def read_(text: str) -> str:
        if text not in words:
            raise ValueError
        return text

    return read_


NOTES: Mapping[str, Callable[[str], Any]] = {
    "stage": _one_of("production", "evaluation", "training", "estimated"), "class_": str, "segment": str,
    "gap": _one_of(*GAPS), "bound": Fraction, "expected": int, "base": Fraction,
    "factors": _one_of("standard", "reachable"), "evidence": int,
}  # fmt: skip
"""Keys that OpenSLO has no word for, kept as annotations."""


def _noted(notes: Mapping[str, str], name: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, read_ in NOTES.items():
        note = notes.get(key.rstrip("_"))
        try:
            found |= {} if note is None else {key: read_(note)}
        except (ValueError, ZeroDivisionError):
            raise ValueError(f"{strict.quoted(name)}: the annotation {MARK}{key.rstrip('_')} cannot be"
                             f" {strict.quoted(str(note))}.") from None  # fmt: skip
    return found


# -- Sloth and Pyrra


def _of_sloth(spec: Mapping[str, Any], service: str, key: str) -> Iterator[Objective]:
    """Sloth looks back over 30 days unless its command line says otherwise."""
    for one in _list(spec, "slos"):
        name = _text(one, "name")
        alerting = _table(one, "alerting", {})
        off = [severity for severity in ("page", "ticket") for form in ("_alert", "Alert")
               if _table(alerting, severity + form, {}).get("disable")]  # fmt: skip
        rules = tuple(OwnRule(severity, long, short, Fraction(factor))  # type: ignore[arg-type]
                      for severity, long, short, factor in _SLOTH if severity not in off)  # fmt: skip
        yield Objective(service, "request_success", _number(one, key, name) / 100, name, window="30d", rule=rules)


def _of_pyrra(one: Mapping[str, Any]) -> Objective:
    meta, spec = _table(one, "metadata"), _table(one, "spec")
    name, labels = _text(meta, "name"), _table(meta, "labels", {})
    service = str(labels.get("pyrra.dev/service") or labels.get("service") or name)
    window = _duration(_text(spec, "window"), name)
    indicator = _table(spec, "indicator")
    signal, threshold = "request_success", None
    if "bool_gauge" in indicator or "boolGauge" in indicator:
        signal = "availability"
    elif "latency" in indicator:
        signal = "latency"
        edge = _EDGE.search(str(_table(_table(indicator, "latency"), "success").get("metric", "")))
        if edge is None:
            raise ValueError(f'{strict.quoted(name)}: its latency names no le="...", which is the threshold.')
        threshold = Fraction(edge[1])
    elif "latencyNative" in indicator:
        signal, threshold = "latency", _seconds(str(_table(indicator, "latencyNative").get("latency", "")), name)
    rules = tuple(_scaled(times.duration(window), *rule) for rule in _PYRRA)
    return Objective(service, signal, _number(spec, "target", name) / 100, name, threshold, window=window,
                     rule=() if _table(spec, "alerting", {}).get("disabled") else rules)  # fmt: skip


def _scaled(window: int, severity: slo.Severity, long: int, short: int, factor: int) -> OwnRule:
    """A rule of Pyrra's whose look-backs scale with the window, here to whole buckets."""
    share = Fraction(window, 28 * 86400)
    made = _own(severity, int(long * share), int(short * share), Fraction(factor))
    return made if made.short != made.long else replace(made, long=times.spelled(2 * BUCKET))


def _seconds(text: str, name: str) -> Fraction:
    match = re.fullmatch(r"([0-9.]+)(ms|s|m)", text)
    if match is None:
        raise ValueError(f"{strict.quoted(name)}: {strict.quoted(text)} is no latency; write 200ms or 1s.")
    return Fraction(match[1]) * {"ms": Fraction(1, 1000), "s": Fraction(1), "m": Fraction(60)}[match[2]]


# -- what stands in a file


def _table(one: Mapping[str, Any], key: str, default: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    found = one.get(key, default)
    if found is None and default is not None:
        return default
    if not isinstance(found, Mapping):
        raise ValueError(f"{key} must be a table.")
    return found


def _list(one: Mapping[str, Any], key: str, default: list[Any] | None = None) -> list[Mapping[str, Any]]:
    found = one.get(key, default)
    if not isinstance(found, list) or not all(isinstance(part, Mapping) for part in found):
        raise ValueError(f"{key} must be a list of tables.")
    return found


def _text(one: Mapping[str, Any], key: str, default: str = "") -> str:
    found = one.get(key) or default
    if not isinstance(found, str) or not found:
        raise ValueError(f"{key} must be text.")
    return found


def _number(one: Mapping[str, Any], key: str, name: str) -> Fraction:
    """A number as it is written: 99.9 is 999 tenths."""
    found = one.get(key)
    try:
        if isinstance(found, bool) or found is None:
            raise ValueError
        return Fraction(str(found))
    except (ValueError, ZeroDivisionError):
        raise ValueError(f"{strict.quoted(name)}: {key} must be a number.") from None
