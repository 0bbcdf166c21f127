"""Columns of a prediction log that appear, vanish or change their type from one file to the next, as dated events."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors._prediction_files import LogFile, short
from tandem.records import Event, labels_of

FILES = 400
"""Files that are remembered; of older ones no column is compared any more."""
UNKNOWN = "empty"
"""Kind of a column without a value: it may be anything."""


@dataclass(frozen=True)
class Table:
    """The columns of one file, and when its predictions were made; half-open, epoch seconds."""

    name: str
    format: str
    since: int
    until: int
    kinds: Mapping[str, str]


def tables(files: Sequence[LogFile], before: Any) -> list[Table]:
    """The tables of the files that count, and those remembered of files that are gone, in order of time."""
    found = {one.name: one for one in _remembered(before)}
    for file in files:
        look, identity = file.look, file.identity
        if look is not None and identity is not None and identity.since is not None and identity.until is not None:
            found[file.name] = Table(file.name, look.format, identity.since, identity.until, dict(look.kinds))
    return sorted(found.values(), key=lambda one: (one.since, one.name))[-FILES:]


def _remembered(before: Any) -> Iterator[Table]:
    """What a state says; nothing where it was lost."""
    if not isinstance(before, Mapping):
        return
    kinds = before.get("kinds", {})
    for name, (form, since, until, alike) in before.get("files", {}).items():
        yield Table(name, form, since, until, kinds.get(alike, {}))


def remembered(some: Sequence[Table], changes: Sequence[Event]) -> dict[str, Any]:
    """The state that `tables` and `taken_back` read; files with the same columns share them."""
    named = {one.name: short(json.dumps(one.kinds, sort_keys=True)) for one in some}
    return {
        "files": {one.name: [one.format, one.since, one.until, named[one.name]] for one in some},
        "kinds": {named[one.name]: dict(one.kinds) for one in some},
        "events": {event.key: event.ts for event in changes},
    }


def changes(some: Sequence[Table], component: str) -> list[Event]:
    """One event per column and file in which it is another than before, in order of time.

    A file is compared with those of its own format: another format has other types. It happened between the last
    prediction of the file before and the first of this one. In JSON Lines a column may be left out of a row, so none
    vanishes there.
    """
    found: list[Event] = []
    known: dict[str, dict[str, str]] = {}
    last: dict[str, Table] = {}
    for table in some:
        columns = known.setdefault(table.format, {})
        if table.format in last:
            found += [_event(*one, last[table.format], table, component) for one in _apart(columns, table)]
        if table.format != "json":
            columns = {name: kind for name, kind in columns.items() if name in table.kinds}
        kinds = {name: columns.get(name, kind) if kind == UNKNOWN else kind for name, kind in table.kinds.items()}
        known[table.format] = {**columns, **kinds}
        last[table.format] = table
    return found


def _apart(before: Mapping[str, str], table: Table) -> Iterator[tuple[str, str, str]]:
    """(column, kind before, kind now) of what changed; "" where it is not there."""
    for name in sorted({*before, *table.kinds}):
        was, now = before.get(name, ""), table.kinds.get(name, "")
        if was == now or (was and now and UNKNOWN in (was, now)) or (not now and table.format == "json"):
            continue
        yield name, was, now


def _event(column: str, was: str, now: str, before: Table, table: Table, component: str) -> Event:
    said = f"{was} became {now}" if was and now else "appeared" if now else "vanished"
    earliest = min(before.until, table.since)
    return Event(
        kind="schema_change",
        key=f"{column}:{was}>{now}:{table.name}",
        ts=earliest,
        ts_latest=table.since,
        components=(component,),
        title=f"column {column}: {said}",
        labels=labels_of({"column": column, "from": was, "to": now, "file": table.name}),
    )


def taken_back(before: Any, now: Sequence[Event], component: str) -> list[Event]:
    """What was said once and holds no more, because a file came in between: the same events, not counted."""
    said = before.get("events", {}) if isinstance(before, Mapping) else {}
    gone = sorted(set(said) - {event.key for event in now})
    return [Event(kind="schema_change", key=key, ts=said[key], outcome="excluded", components=(component,))
            for key in gone]  # fmt: skip
