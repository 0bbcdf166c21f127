"""The columns of a Delta table as its schema states them, and how they changed from version to version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from connectors._delta_log import Commit
from connectors._json import BrokenJson, strict
from tandem.connect import SourceRefused
from tandem.records import Event, labels_of

_WORDS: Mapping[str, str] = {
    "long": "integer",
    "integer": "integer",
    "short": "integer",
    "byte": "integer",
    "float": "number",
    "double": "number",
    "string": "text",
    "boolean": "boolean",
    "timestamp": "time",
    "timestamp_ntz": "local time",
}


@dataclass(frozen=True)
class Column:
    """A column: its name, its type as Delta calls it, and how data files hold it."""

    name: str
    type: str
    physical: str
    id: int | None

    @property
    def word(self) -> str:
        """What it holds, as `tandem.pieces` says it."""
        base = self.type.partition("(")[0]
        return {"decimal": "number", "char": "text", "varchar": "text"}.get(base, _WORDS.get(base, "other"))


def columns_of(metadata: Mapping[str, Any]) -> list[Column]:
    """The columns of a table's metadata in order; raises SourceRefused for a schema that cannot be read."""
    try:
        schema = strict(str(metadata.get("schemaString")))
        fields = [one for one in schema["fields"] if one["type"] != "void"]
        return [_column(one, mode_of(metadata)) for one in fields]
    except (BrokenJson, ValueError, KeyError, TypeError):
        raise SourceRefused("the Delta table's log states a schema that cannot be read; it is damaged.") from None


def mode_of(metadata: Mapping[str, Any]) -> str:
    """How columns are found in data files: by their own "name", by a physical one ("name mapped"), or by "id"."""
    said = str((metadata.get("configuration") or {}).get("delta.columnMapping.mode", "none"))
    return {"name": "name mapped", "id": "id"}.get(said, "name")


def _column(field: Mapping[str, Any], mode: str) -> Column:
    more = field.get("metadata") or {}
    of = field["type"]
    name = str(field["name"])
    physical = str(more.get("delta.columnMapping.physicalName", name)) if mode != "name" else name
    number = more.get("delta.columnMapping.id") if mode == "id" else None
    return Column(name, of if isinstance(of, str) else str(of["type"]), physical, number)


@dataclass(frozen=True)
class Known:
    """The columns at a version, by the name that stays when a column is renamed; `ts`: when, epoch seconds."""

    version: int
    ts: int
    columns: Mapping[str, tuple[str, str]]

    def told(self) -> dict[str, Any]:
        """As a JSON value."""
        return {"version": self.version, "ts": self.ts, "columns": {key: list(of) for key, of in self.columns.items()}}


def known_of(told: Any) -> Known | None:
    """What `Known.told` wrote; None for anything else."""
    if not isinstance(told, Mapping) or not {"version", "ts", "columns"} <= told.keys():
        return None
    return Known(told["version"], told["ts"], {key: (of[0], of[1]) for key, of in told["columns"].items()})


def at_version(metadata: Mapping[str, Any], version: int, ts: int) -> Known:
    """The columns of a table's metadata at a version."""
    return Known(version, ts, {one.physical: (one.name, one.type) for one in columns_of(metadata)})


def changes(commits: Sequence[Commit], now: Known, before: Known | None, component: str) -> list[Event]:
    """One event per column that appeared, vanished, was renamed or got another type, since a version that is known.

    Where the commit that did it is gone, only an interval is known: from what was known last to the present.
    """
    found: list[Event] = []
    last = before
    for commit in commits:
        if commit.metadata is None or (last is not None and commit.version <= last.version):
            continue
        at = at_version(commit.metadata, commit.version, commit.ts)
        if last is not None:
            found += [_event(*one, at.ts, at, component) for one in _apart(last, at)]
        last = at
    if last is not None:
        found += [_event(*one, last.ts, now, component) for one in _apart(last, now)]
    return found


def _apart(was: Known, now: Known) -> list[tuple[str, str, str]]:
    """(column, what it was, what it is) of what changed; "" where it is not there."""
    found = []
    for key in sorted({*was.columns, *now.columns}):
        (name, of), (name_now, of_now) = was.columns.get(key, ("", "")), now.columns.get(key, ("", ""))
        if name and name_now and name != name_now:
            found.append((name, "named " + name, "named " + name_now))
        if of != of_now:
            found.append((name_now or name, of, of_now))
    return found


def _event(column: str, was: str, now: str, earliest: int, at: Known, component: str) -> Event:
    said = f"{was} became {now}" if was and now else "appeared" if now else "vanished"
    return Event(
        kind="schema_change",
        key=f"{at.version}:{column}:{was}>{now}",
        ts=min(earliest, at.ts),
        ts_latest=at.ts,
        components=(component,),
        version="",
        title=f"column {column}: {said}",
        labels=labels_of({"column": column, "from": was, "to": now, "table_version": at.version}),
    )
