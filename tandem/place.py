"""From the labels a system gave to the components of the configuration."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase

from tandem.connect import Common, Rule
from tandem.records import Event, Labels, Series

MARGIN = 20
"""Values of a segment's columns that are kept apart; all later ones are "other"."""


def rule_for(common: Common, labels: Labels) -> Rule | None:
    """The first rule whose globs all match, or the source's own component."""
    given = dict(labels)
    for rule in common.map:
        if all(fnmatchcase(given.get(label, ""), glob) for label, glob in rule.match.items()):
            return rule
    return Rule(common.component) if common.component else None


def discovered(labels: Labels) -> str:
    """The component that `discover = true` makes of the labels of a record."""
    given = dict(labels)
    for label in ("component", "service", "service.name", "model", "repository", "job", "app", "name", "suite"):
        if label in given:
            return given[label]
    return labels[0][1] if labels else ""


def series_of(series: Series, common: Common) -> list[Series]:
    """The series under its components, one for each; [] where nothing matches."""
    if series.component:
        return [replace(series, environment=series.environment or common.environment)]
    rule = rule_for(common, series.labels) or _found(series.labels, common)
    if rule is None:
        return []
    version = dict(series.labels).get(rule.version, "") if rule.version else series.version
    environment = rule.environment or series.environment or common.environment
    return [replace(series, component=one, version=version, environment=environment) for one in rule.component]


def event_of(event: Event, common: Common) -> Event | None:
    """The event with its components and environment; None where nothing matches."""
    if event.components:
        return replace(event, environment=event.environment or common.environment)
    rule = rule_for(common, event.labels) or _found(event.labels, common)
    if rule is None:
        return None
    version = dict(event.labels).get(rule.version, "") if rule.version else event.version
    environment = rule.environment or event.environment or common.environment
    return replace(event, components=rule.component, environment=environment, version=version)


def _found(labels: Labels, common: Common) -> Rule | None:
    name = discovered(labels) if common.discover else ""
    return Rule((name,)) if name else None


def columns_of(segment: str) -> str:
    """The columns of a segment: "country" of "country=DE", "country,channel" of "country=DE,channel=web"."""
    return ",".join(part.partition("=")[0] for part in segment.split(","))


def other(columns: str) -> str:
    """The segment that takes all values after the first MARGIN."""
    return ",".join(f"{column}=other" for column in columns.split(","))
