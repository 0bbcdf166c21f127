"""The sqlite store of ML Metadata: executions, what they read and wrote, and in which pipeline, run and node.

Who writes to it are the pipelines themselves, with the clocks of their machines.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors import _sqlite
from connectors._fields import FAR, YEAR
from tandem.connect import SourceRefused

EXECUTION_STATES = ("UNKNOWN", "NEW", "RUNNING", "COMPLETE", "FAILED", "CACHED", "CANCELED")
ARTIFACT_STATES = ("UNKNOWN", "PENDING", "LIVE", "MARKED_FOR_DELETION", "DELETED", "ABANDONED", "REFERENCE")
INPUT, OUTPUT = frozenset({2, 3, 7}), frozenset({1, 4, 6, 8})
"""Types of events: declared, plain, internal and pending ones."""
_TABLES = {"Artifact": {"id", "type_id", "uri"}, "Execution": {"id", "type_id"}, "Event": {"artifact_id", "type"},
           "Type": {"id", "name", "type_kind"}}  # fmt: skip
_VALUES = ("int_value", "double_value", "string_value", "bool_value")
_ALIKE = {"FAIL": "FAILED", "CANCELLED": "CANCELED", "COMPLETED": "COMPLETE"}
_BATCH = 500
_RUN, _PIPELINE, _NODE = "pipeline_run", "pipeline", "node"


@dataclass(frozen=True)
class Thing:
    """An execution or an artifact; times in milliseconds since the epoch, 0 where none is told."""

    id: int
    kind: str
    """The name of its type."""
    kinds: Sequence[str]
    """That name and those of the types that it is built on."""
    state: str
    created: int
    updated: int
    name: str = ""
    uri: str = ""
    properties: Mapping[str, int | float | str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """A property as text, "" where there is none."""
        found = self.properties.get(name)
        return "" if found is None else str(found)

    @property
    def short(self) -> str:
        """The last part of the name of its type: tfx.components.trainer.component.Trainer is Trainer."""
        return self.kind.rpartition(".")[2]


@dataclass(frozen=True)
class Where:
    """The pipeline, its run and the node that an execution belongs to; "" where it is not told."""

    pipeline: str = ""
    run: str = ""
    node: str = ""


class Metadata(_sqlite.Database):
    """One store, read as far as it is asked for."""

    def __init__(self, path: Path, name: str) -> None:
        super().__init__(path, name)
        self._kinds: dict[int, tuple[str, ...]] = {}
        self._executions: dict[int, Thing] = {}
        self._artifacts: dict[int, Thing] = {}
        self._events: dict[int, list[tuple[int, int, int]]] = {}
        self._makers: dict[int, list[int]] = {}
        self._of: dict[int, set[int]] | None = None
        self._in: dict[int, set[int]] = defaultdict(set)
        self._contexts: dict[int, tuple[str, str]] = {}

    def is_one(self) -> bool:
        """Whether this is a store of ML Metadata."""
        return bool(self.has("MLMDEnv")) and all(columns <= self.has(table) for table, columns in _TABLES.items())

    def check(self) -> None:
        """Raises SourceRefused where it is another database."""
        if not self.is_one():
            raise SourceRefused(f"{self._name} is a sqlite database, but no store of ML Metadata.")

    # -- what has changed

    def newest(self) -> int:
        """The newest time of a change, in milliseconds; 0 in an empty store."""
        found = 0
        for table in ("Execution", "Artifact"):
            for row in self.rows(table, ("last_update_time_since_epoch",)):
                found = max(found, row["last_update_time_since_epoch"] or 0)
        return found

    def changed(self, since: int) -> tuple[list[int], list[int]]:
        """The executions and the artifacts that were changed at `since` (milliseconds) or later.

        Those that made a changed artifact, or one that a changed execution read, are among the executions.
        """
        column = "last_update_time_since_epoch"
        executions, artifacts = (
            {int(row["id"]) for row in self.rows(table, ("id",), since=(column, since) if since else None)}
            for table in ("Execution", "Artifact")
        )
        self._load_events(executions)
        artifacts |= {one for each in executions for _, one, _ in self._events[each]}
        self._load_makers(artifacts)
        executions |= {maker for one in artifacts for maker in self._makers[one]}
        self._load("Execution", executions, self._executions)
        self._load("Artifact", artifacts, self._artifacts)
        self._load_events(executions)
        return sorted(executions), sorted(artifacts)

    # -- things

    def execution(self, number: int) -> Thing | None:
        """An execution by its id."""
        self._load("Execution", [number], self._executions)
        return self._executions.get(number)

    def artifact(self, number: int) -> Thing | None:
        """An artifact by its id."""
        self._load("Artifact", [number], self._artifacts)
        return self._artifacts.get(number)

    def inputs(self, execution: int) -> list[Thing]:
        """What an execution read, by id."""
        return self._side(execution, INPUT)

    def outputs(self, execution: int) -> list[Thing]:
        """What an execution wrote, by id."""
        return self._side(execution, OUTPUT)

    def _side(self, execution: int, types: frozenset[int]) -> list[Thing]:
        self._load_events([execution])
        ids = sorted({artifact for kind, artifact, _ in self._events[execution] if kind in types})
        return [found for one in ids if (found := self.artifact(one)) is not None]

    def written(self, execution: int) -> int:
        """When an execution had written the last of its outputs, in milliseconds; 0 where that is not told."""
        self._load_events([execution])
        return max((at for kind, _, at in self._events[execution] if kind in OUTPUT), default=0)

    def maker(self, artifact: int) -> Thing | None:
        """The execution that wrote an artifact first; one that only reused it came later."""
        self._load_makers([artifact])
        return next((found for one in self._makers[artifact] if (found := self.execution(one)) is not None), None)

    def readers(self, artifact: int) -> list[Thing]:
        """The executions that read an artifact, by id."""
        rows = self.rows("Event", ("execution_id", "type"), {"artifact_id": [artifact]})
        ids = sorted({int(row["execution_id"]) for row in list(rows) if row["type"] in INPUT})
        return [found for one in ids if (found := self.execution(one)) is not None]

    def where(self, execution: Thing) -> Where:
        """Where an execution belongs; older stores tell it by properties."""
        told: dict[str, str] = {}
        for context in sorted(self._belongs().get(execution.id, ())):
            kind, name = self._contexts[context]
            told.setdefault(kind, name)
        pipeline = told.get(_PIPELINE) or execution.text("pipeline_name")
        node = told.get(_NODE, "").removeprefix(f"{pipeline}.") or execution.text("component_id")
        return Where(pipeline, told.get(_RUN) or execution.text("run_id"), node or execution.short)

    def attempt(self, execution: Thing) -> int:
        """Which try of its node in its run an execution is, counted from 1."""
        mine = [one for one in self._belongs().get(execution.id, ()) if self._contexts[one][0] == _RUN]
        nodes = [one for one in self._belongs()[execution.id] if self._contexts[one][0] == _NODE] if mine else []
        if not mine:
            return 1
        alike = set.intersection(*(self._in[one] for one in (*mine, *nodes)))
        self._load("Execution", alike, self._executions)
        node = self.where(execution).node
        some = [found for one in alike if (found := self._executions.get(one)) and found.kind == execution.kind
                and self.where(found).node == node]  # fmt: skip
        return sum((one.created, one.id) <= (execution.created, execution.id) for one in some)

    # -- tables

    def _belongs(self) -> dict[int, set[int]]:
        if self._of is None:
            kinds = {number: names[0] for number, names in self._types().items()}
            for row in self.rows("Context", ("id", "type_id", "name")):
                kind = kinds.get(row["type_id"], "")
                if kind in (_RUN, _PIPELINE, _NODE):
                    self._contexts[int(row["id"])] = kind, str(row["name"] or "")
            self._of = {}
            for row in self.rows("Association", ("context_id", "execution_id")):
                if row["context_id"] in self._contexts:
                    self._of.setdefault(int(row["execution_id"]), set()).add(int(row["context_id"]))
                    self._in[int(row["context_id"])].add(int(row["execution_id"]))
        return self._of

    def _types(self) -> dict[int, tuple[str, ...]]:
        """The names of each type: its own, then those of the types that it is built on."""
        if not self._kinds:
            names = {int(row["id"]): str(row["name"] or "") for row in self.rows("Type", ("id", "name"))}
            parents: dict[int, list[int]] = defaultdict(list)
            for row in self.rows("ParentType", ("type_id", "parent_type_id")):
                parents[int(row["type_id"])].append(int(row["parent_type_id"]))
            for number, name in names.items():
                self._kinds[number] = (name, *(names[one] for one in parents[number] if one in names))
        return self._kinds

    def _load(self, table: str, ids: Iterable[int], known: dict[int, Thing]) -> None:
        for some in _batches(one for one in ids if one not in known):
            properties: dict[int, dict[str, Any]] = defaultdict(dict)
            owner = f"{table.lower()}_id"
            columns = (owner, "name", "is_custom_property", *_VALUES)
            rows = sorted(self.rows(f"{table}Property", columns, {owner: some}),
                          key=lambda row: not row["is_custom_property"])  # fmt: skip
            for row in rows:  # a declared property wins over a custom one of its name
                value = next((row[one] for one in _VALUES if row[one] is not None), None)
                if value is not None:
                    properties[int(row[owner])][str(row["name"])] = value
            names = ("id", "type_id", "name", "uri", "state", "last_known_state", "create_time_since_epoch",
                     "last_update_time_since_epoch")  # fmt: skip
            for row in self.rows(table, names, {"id": some}):
                known[int(row["id"])] = self._thing(table, row, properties[int(row["id"])])

    def _thing(self, table: str, row: Mapping[str, Any], properties: Mapping[str, Any]) -> Thing:
        kinds = self._types().get(row["type_id"], ("",))
        if table == "Execution":
            state = _state(row["last_known_state"], EXECUTION_STATES, properties.get("state"))
        else:
            state = _state(row["state"], ARTIFACT_STATES, properties.get("state"))
        created, updated = (_ms(row[f"{word}_time_since_epoch"]) for word in ("create", "last_update"))
        return Thing(int(row["id"]), kinds[0], kinds, state, created, updated, str(row["name"] or ""),
                     str(row["uri"] or ""), properties)  # fmt: skip

    def _load_events(self, executions: Iterable[int]) -> None:
        for some in _batches(one for one in executions if one not in self._events):
            self._events.update((one, []) for one in some)
            columns = ("execution_id", "artifact_id", "type", "milliseconds_since_epoch")
            for row in self.rows("Event", columns, {"execution_id": some}):
                told = int(row["type"] or 0), int(row["artifact_id"]), _ms(row["milliseconds_since_epoch"])
                self._events[int(row["execution_id"])].append(told)

    def _load_makers(self, artifacts: Iterable[int]) -> None:
        for some in _batches(one for one in artifacts if one not in self._makers):
            self._makers.update((one, []) for one in some)
            for row in self.rows("Event", ("execution_id", "artifact_id", "type"), {"artifact_id": some}):
                if row["type"] in OUTPUT:
                    self._makers[int(row["artifact_id"])].append(int(row["execution_id"]))
            for one in some:
                self._makers[one].sort()


def _state(number: object, names: Sequence[str], said: object) -> str:
    """The word of a state; where the number says nothing, what older stores say as a property."""
    if isinstance(number, int) and number > 0:
        return names[number] if number < len(names) else f"state {number}"
    word = str(said or "UNKNOWN").upper()
    return _ALIKE.get(word, word)


def _ms(value: object) -> int:
    usable = isinstance(value, int) and YEAR * 1000 <= value < FAR * 1000
    return int(value) if usable else 0  # type: ignore[call-overload]


def _batches(ids: Iterable[int]) -> Iterator[list[int]]:
    some = sorted(set(ids))
    for begin in range(0, len(some), _BATCH):
        yield some[begin : begin + _BATCH]
