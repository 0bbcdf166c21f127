"""Side A against side B: both read, their numbers side by side, and for a model its drift and mix or real."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from tandem import against, apart, comparing, drifting, segmented
from tandem.compared import Comparison
from tandem.config import Component
from tandem.measure import Asked, Measures
from tandem.records import DAY
from tandem.shown import Change, Half, Mixed, Unreadable, Window

CUT = ("outcome", "error", "request_success", "availability", "latency", "valid_rows")
"""Signals whose change is split into mix and real, where segments cut them."""
BACK = 14 * DAY
"""How long before A changes are offered to compare before and after."""
OFFERED = 40
Changes = Callable[[Measures, Window, Sequence[str]], list[Change]]
"""The changes of components in a window."""


def answer(
    measures: Measures, b: Half, components: Sequence[Component], changes: Changes, *, feature: str = "",
    change: str = "", newest: int | None = None,
) -> Comparison:  # fmt: skip
    """What `measures` shows is A; one component has its drift, mix and choices too."""
    filters = measures.filters
    a = Half("window", measures.window, filters.version, filters.segment, filters.stage, filters.environment)
    b = replace(b, window=b.window or measures.window)
    then = against.other(measures, b)
    names = [one.name for one in components]
    found = Comparison(
        a=a, b=b, as_of=measures.reader.as_of, now=measures.now, newest=newest,
        rows=comparing.differences(measures, then, components), remarks=_overlap(a, b),
    )  # fmt: skip
    found = _choices(found, measures, names, changes, change)
    if len(components) != 1:
        return found
    if components[0].kind == "model":
        found = _model(found, measures, names[0], feature)
        still = comparing.arriving(components[0], measures, then)
        found = replace(found, remarks=(*found.remarks, *filter(None, [still])))
    return replace(found, mixed=_mixed(measures, then, names[0]))


def _overlap(a: Half, b: Half) -> tuple[str, ...]:
    """What is counted on both sides makes the intervals of a difference wrong, and is said."""
    assert a.window is not None
    assert b.window is not None
    apart_in_time = a.window.until <= b.window.since or b.window.until <= a.window.since
    apart_otherwise = any(mine and theirs and mine != theirs for mine, theirs in
                          ((a.version, b.version), (a.segment, b.segment)))  # fmt: skip
    if apart_in_time or apart_otherwise or a.stage != b.stage:
        return ()
    same = (a.window, a.version, a.segment) == (b.window, b.version, b.segment)
    return ("A and B are the same numbers.",) if same else (
        "A and B share rows: each counts on both sides, so that intervals are only a guide.",)  # fmt: skip


def _choices(found: Comparison, measures: Measures, names: Sequence[str], changes: Changes, chosen: str) -> Comparison:
    """What else could be compared, and the change that was chosen."""
    since = measures.window.since
    offered = changes(measures, Window(since - BACK, measures.window.until), names)
    mine = [one for one in offered if one.lane in ("Deploy", "Model", "Incident") and one.outcome != "open"]
    at = next((one for one in reversed(mine) if f"{one.kind}/{one.key}" == chosen), None)
    if len(names) != 1:
        return replace(found, changes=tuple(mine[-OFFERED:]), change=at)
    placed = [kept.placed for kept in measures.reader.series(component=names[0])
              if kept.placed.environment == measures.filters.environment]  # fmt: skip
    return replace(
        found, changes=tuple(mine[-OFFERED:]), change=at,
        versions=tuple(sorted({one.version for one in placed} - {""}, key=lambda text: (len(text), text))),
        segments=tuple(sorted({one.segment for one in placed if "," not in one.segment} - {""})),
    )  # fmt: skip


def _model(found: Comparison, measures: Measures, model: str, feature: str) -> Comparison:
    """The drift of a model from B to A, and one row of it as it is on both sides."""
    try:
        pair = apart.pair(measures.reader, measures.config, model, found.a, found.b, measures.now)
    except Unreadable as no:
        return replace(found, remarks=(*found.remarks, f"Drift: {no}"))
    drifts = apart.drifts(pair)
    return replace(
        found, drifts=drifts, distribution=drifting.distribution(pair, drifts.rows, feature),
        remarks=(*found.remarks, *drifts.remarks, *filter(None, [drifts.concept])),
    )  # fmt: skip


def _mixed(now: Measures, then: Measures, component: str) -> Mapping[str, tuple[Mixed, ...]]:
    """Mix or real of every ratio that segments cut; nothing where a side is one segment."""
    if now.filters.segment or then.filters.segment:
        return {}
    first: dict[str, Asked] = {}
    for one in now.asked([component], CUT):
        first.setdefault(one.signal.name, one)
    found = {name: segmented.mixed(now, then, one) for name, one in first.items()}
    return {name: some for name, some in found.items() if some}
