"""The change lanes: what happened to components over a window, one change however many sources saw it."""

from __future__ import annotations

from collections.abc import Sequence

from tandem import changes
from tandem.measure import Measures
from tandem.records import HOUR, Event
from tandem.shown import Change, Window
from tandem.store.read import step_for

CHANGES = 400
"""Changes drawn at most; more are counted."""
SPARK = 90
"""Steps of a window in which drift is looked for."""
LANES = {
    "incident": "Incident", "alert": "Incident", "maintenance": "Incident", "drift": "Drift", "validation": "Model",
    "promotion": "Model", "training": "Model", "data_version": "Model", "approval": "Deploy", "deployment": "Deploy",
    "rollback": "Deploy", "release": "Deploy", "config": "Deploy", "infrastructure": "Deploy", "restart": "Deploy",
    "traffic": "Deploy", "schema_change": "Deploy", "build": "Build",
}  # fmt: skip


def changed(measures: Measures, window: Window, components: Sequence[str], environment: str) -> list[Change]:
    """Everything that happened to the components inside the window, and where drift began, by time."""
    if not components:
        return []
    events = measures.reader.events(window.since, window.until, components=components, environment=environment,
                                    newest=True)  # fmt: skip
    models = {one.name for one in measures.components if one.kind == "model"}
    drawn = [(source, event) for source, event in events if event.kind in LANES]
    told = [(measures.source_name(source), event) for source, event in drawn]
    found = [_change(measures, [drawn[place] for place in some], models)
             for some in changes.groups(told, measures.config.delivery.apart)]  # fmt: skip
    found += _drift_changes(measures, window, components)
    return sorted(found, key=lambda change: (change.ts, change.kind, change.key))


def _change(measures: Measures, told: Sequence[tuple[int, Event]], models: set[str]) -> Change:
    """What one or more sources saw of one change; the first in order that knows a result says most of it."""
    ordered = sorted(told, key=lambda pair: measures.rank(pair[0]))
    events = [event for _, event in ordered]
    event = next((one for one in events if one.outcome in ("good", "bad")), events[0])
    lane = "Model" if event.kind in ("release", "approval") and models & set(event.components) else LANES[event.kind]
    return Change(
        lane=lane, kind="rollback" if any(one.kind == "rollback" for one in events) else event.kind,
        ts=min(one.ts for one in events), until=event.ts_latest,
        ended=max((one.ended for one in events if one.ended is not None), default=None),
        title=event.title or " ".join(filter(None, (event.kind, event.version or event.key))),
        components=tuple(dict.fromkeys(name for one in events for name in one.components)), outcome=event.outcome,
        version=event.version, source=", ".join(dict.fromkeys(measures.source_name(number) for number, _ in ordered)),
        url=event.url, key=event.key,
    )  # fmt: skip


def _drift_changes(measures: Measures, window: Window, components: Sequence[str]) -> list[Change]:
    """Where data drift of a feature began inside the window: the first of its feature-hours that drifted."""
    step = max(HOUR, step_for(window.since, window.until, SPARK))
    pairs = [(one, name) for one in components for name in measures.names(one, "drift") if name]
    groups = {kept.id: place for place, (one, name) in enumerate(pairs)
              for kept in measures.series(one, "drift", name)}  # fmt: skip
    found: list[Change] = []
    drifting = dict.fromkeys(range(len(pairs)), False)
    rows = measures.reader.steps("ratio", groups, window.since - step, window.until, step)
    for place, start, good, total in rows:
        bad = total > 0 and good * 2 < total
        if bad and not drifting[place] and start >= window.since:
            model, feature = pairs[place]
            found.append(Change("Drift", "drift", start, None, None, f"{model} {feature}", (model,), "bad", "", "",
                                "", f"{model}/{feature}/{start}"))  # fmt: skip
        if total:
            drifting[place] = bad
    return found
