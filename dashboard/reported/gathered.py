"""What a report is made of: the engine's answers for one window, and the view that the blocks draw them with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from dashboard.view import View, compact, view
from tandem import report, times
from tandem.delivered import Delivered
from tandem.shown import Detail, Overview, Sources, SourceState, Unreadable, Window
from tandem.traced import Lineage

DAYS = 7
"""Days of a report where no window is given: what a team looks back on once a week."""
Told = Callable[[str, float], None]
"""Is told what is being read and how much of it is done, as a share."""


@dataclass(frozen=True)
class Asked:
    """What a report is about; `as_of` is a load, None for the newest."""

    window: Window
    environment: str = "production"
    product: str = ""
    component: str = ""
    as_of: int | None = None


@dataclass(frozen=True)
class Gathered:
    """All answers of one report, as of one load."""

    view: View
    overview: Overview
    delivered: Delivered
    details: tuple[Detail, ...]
    sources: tuple[SourceState, ...]
    made: int
    as_of: int
    lineages: Mapping[str, Lineage] = field(default_factory=dict)
    """Where the version that serves each model comes from."""


def window_of(since: str, until: str, now: int) -> Window:
    """The window of two texts, the last DAYS days where nothing is said; raises ValueError."""
    end = times.parse(until, now) if until else now
    start = times.parse(since, now) if since else end - DAYS * 86400
    return Window(*times.window(start, min(end, now), now))


def gathered(context: Any, asked: Asked, now: int, told: Told = lambda what, done: None) -> Gathered:
    """Every answer, in the order of the file; raises Unreadable for an unknown name, or where nothing can be read."""
    shown = _view(context, asked, now)
    load: dict[str, Any] = {"as_of": asked.as_of if asked.as_of is not None else context.store.version(), "now": now}
    narrowed: dict[str, Any] = {
        "environment": asked.environment, "product": asked.product, "component": asked.component,
    }  # fmt: skip
    told("both sides", 0.0)
    overview = report.overview(context, shown.window, **narrowed, **load)
    told("delivery", 0.1)
    delivered = report.delivery(context, shown.window, **narrowed, **load)
    names = [part.component for part in delivered.parts]
    details = []
    for place, name in enumerate(names):
        told(name, 0.2 + 0.7 * place / len(names))
        details.append(report.detail(context, name, shown.window, environment=asked.environment, **load))
    models = [part.component for part in delivered.parts if part.kind == "model"]
    lineages = {name: report.lineage(context, name, shown.window, environment=asked.environment, **load)
                for name in models}  # fmt: skip
    told("sources", 0.9)
    sources = report.sources(context, shown.window, **load)
    return Gathered(shown, overview, delivered, tuple(details), _seen(sources, details, asked), now, overview.as_of,
                    lineages)  # fmt: skip


def _seen(sources: Sources, details: list[Detail], asked: Asked) -> tuple[SourceState, ...]:
    """Every source; of a part of the house only those whose numbers stand in the report."""
    if not (asked.product or asked.component):
        return sources.sources
    named = {cell.source for detail in details for cell in detail.cells}
    named |= {name for detail in details for change in detail.changes for name in change.source.split(", ")}
    return tuple(one for one in sources.sources if one.name in named)


def _view(context: Any, asked: Asked, now: int) -> View:
    given: dict[str, str] = {
        "from": compact(asked.window.since), "to": compact(asked.window.until), "live": "0",
        "environment": asked.environment, "product": asked.product, "component": asked.component,
    }  # fmt: skip
    known: Mapping[str, tuple[str, ...]] = {
        "environments": report.environments(context),
        "products": tuple(sorted({one.product for one in context.config.components if one.product})),
        "components": tuple(one.name for one in context.config.components),
    }
    shown = view("overview", {key: value for key, value in given.items() if value}, now, **known,
                 zone=_zone(context.config.timezone), context=context)  # fmt: skip
    for key in ("environment", "product", "component"):
        if key in shown.ignored:
            names = ", ".join(known[f"{key}s"]) or "none"
            raise Unreadable(f"there is no {key} {given[key]!r}; known are {names}.")
    if shown.ignored:
        raise Unreadable(f"the window from {given['from']} to {given['to']} cannot be shown; give a shorter past one.")
    return shown


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
