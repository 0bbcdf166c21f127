"""Columns that appear, vanish or change their type from one run to the next, as dated events of their dataset.

Each job is compared with itself only, for two tools name the types of one table differently; a change that several
jobs see counts once.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from connectors._fields import Raw, rows_of, text_of
from connectors._judged import digest
from connectors._openlineage import Dataset, Name, Run, Told
from tandem.connect import Pull
from tandem.records import Event, Page, Record, Slice, labels_of

_JOBS = 20
"""Jobs of which a dataset's columns are remembered."""
_POINTS = 20
"""Observations of a job that are remembered of a dataset."""
_TOLD = 200
"""Changes of a dataset that are remembered, so that they can be taken back."""
_DEPTH = 20


@dataclass(frozen=True)
class Seen:
    """The columns of a dataset as one job told them; `at` in epoch seconds."""

    at: int
    who: str
    wrote: bool
    columns: Mapping[str, str]
    job: Name = ("", "")


@dataclass(frozen=True)
class _Change:
    """A column that is another than before; `since`: when it was still as before."""

    at: int
    since: int
    who: str
    column: str
    was: str
    now: str
    job: Name = ("", "")

    @property
    def key(self) -> str:
        return f"{self.at}:{self.column}:{self.was}>{self.now}"


@dataclass
class Schemas:
    """The schemas of all datasets, gathered run by run."""

    pull: Pull
    alone: bool = False
    """Whether nothing is to be remembered."""
    _seen: dict[Name, list[Seen]] = field(default_factory=dict)

    def take(self, run: Run) -> None:
        """What a run says of the columns of its datasets."""
        for wrote, datasets in ((False, run.inputs), (True, run.outputs)):
            for one in datasets.values():
                self._take(one, run.job, wrote)

    def lasting(self, told: Iterable[Told]) -> None:
        """What is said of datasets without a run."""
        for event in told:
            for name, facets in event.outputs:
                one = Dataset(name)
                one.take(event.at, facets)
                self._take(one, ("", ""), False)

    def _take(self, one: Dataset, job: Name, wrote: bool) -> None:
        at, facet = one.facets.get("schema", (0.0, {}))
        columns = dict(_columns(facet, "", _DEPTH))
        if columns:
            who = digest([*job, wrote])[:8]
            self._seen.setdefault(one.name, []).append(Seen(int(at), who, wrote, columns, job))

    def pages(self) -> Iterator[Page]:
        """The changes of each dataset, and what the next pull is to know of it."""
        for name, seen in sorted(self._seen.items()):
            memory = f"openlineage:schema:{digest(list(name))}"
            before = _remembered(self.pull.taken(memory))
            history = _history([*before.seen, *seen])
            kept, found, gone = _compared(history, before.told)
            records: list[Record] = [_event(name, one, "good") for one in found]
            records += [_event(name, one, "excluded") for one in gone]
            if records:
                yield Page(records)
            text = _written(history, [*kept, *found])
            if not self.alone and text != self.pull.taken(memory):
                yield Page(slice=Slice(memory, text))


def _columns(raw: Raw, path: str, depth: int) -> Iterator[tuple[str, str]]:
    """(column, type), those of nested fields by their path."""
    for one in rows_of(raw, "fields"):
        name = text_of(one, "name")
        if name:
            yield path + name, text_of(one, "type") or "unknown"
            if depth:
                yield from _columns(one, f"{path}{name}.", depth - 1)


@dataclass(frozen=True)
class _Known:
    """What was remembered of a dataset."""

    seen: Sequence[Seen]
    told: Sequence[_Change]


def _remembered(text: str | None) -> _Known:
    raw = json.loads(text) if text else {"tables": [], "seen": [], "told": []}
    seen = [Seen(at, who, wrote, raw["tables"][of], (space, name)) for at, who, wrote, of, space, name in raw["seen"]]
    told = [_Change(at, since, who, column, was, now, (space, name))
            for at, since, who, column, was, now, space, name in raw["told"]]  # fmt: skip
    return _Known(seen, told)


def _written(history: Sequence[Seen], told: Sequence[_Change]) -> str:
    """The text that `_remembered` reads; observations with the same columns share them."""
    tables = {json.dumps(one.columns, sort_keys=True): one.columns for one in history}
    places = {text: place for place, text in enumerate(sorted(tables))}
    seen = [[one.at, one.who, one.wrote, places[json.dumps(one.columns, sort_keys=True)], *one.job] for one in history]
    changes = [[one.at, one.since, one.who, one.column, one.was, one.now, *one.job] for one in told[-_TOLD:]]
    return json.dumps({"tables": [tables[text] for text in sorted(tables)], "seen": seen, "told": changes})


def _history(seen: Iterable[Seen]) -> list[Seen]:
    """By time the first and last time that each job saw the same columns in a row, as far back as is remembered."""
    by_job: dict[str, list[Seen]] = {}
    for one in sorted({(one.at, one.who): one for one in seen}.values(), key=lambda one: one.at):
        some = by_job.setdefault(one.who, [])
        if len(some) > 1 and some[-2].columns == some[-1].columns == one.columns:
            some.pop()
        some.append(one)
    newest = sorted(by_job.values(), key=lambda some: (some[-1].at, some[-1].who))[-_JOBS:]
    return sorted((one for some in newest for one in some[-_POINTS:]), key=lambda one: (one.at, one.who))


def _compared(history: Sequence[Seen], told: Sequence[_Change]) -> tuple[list[_Change], list[_Change], list[_Change]]:
    """(told before and not to be told again, what is told now, told before and no more so)."""
    first: dict[str, int] = {}
    for one in history:
        first.setdefault(one.who, one.at)
    # What lies before the history of its job cannot be found again, and stands.
    kept = [one for one in told if one.at <= first.get(one.who, one.at)]
    found = _once(history, kept)
    keys = {one.key for one in [*kept, *found]}
    return kept, found, [one for one in told if one.key not in keys]


def _once(seen: Sequence[Seen], kept: Sequence[_Change]) -> list[_Change]:
    """The changes between what each job saw, without those that another job or an earlier pull told before."""
    last: dict[str, Seen] = {}
    told: list[tuple[int, int, _Change]] = [(one.at, 0, one) for one in kept]
    for one in seen:
        was = last.get(one.who)
        last[one.who] = one
        told += [(one.at, 1, change) for change in (_apart(was, one) if was else [])]
    standing: dict[str, str] = {}
    found = []
    for _, new, change in sorted(told, key=lambda each: (each[0], each[1], each[2].column)):
        known = standing.get(change.column)
        again = known is not None and (known.casefold() == change.now.casefold() or bool(not change.was and known))
        standing[change.column] = change.now
        if new and not again:
            found.append(change)
    return found


def _apart(was: Seen, now: Seen) -> list[_Change]:
    since = now.at if now.wrote else was.at
    return [
        _Change(now.at, since, now.who, column, was.columns.get(column, ""), now.columns.get(column, ""), now.job)
        for column in sorted({*was.columns, *now.columns})
        if was.columns.get(column, "") != now.columns.get(column, "")
    ]


def _event(dataset: Name, one: _Change, outcome: Any) -> Event:
    said = f"{one.was} became {one.now}" if one.was and one.now else "appeared" if one.now else "vanished"
    return Event(
        "schema_change", f"{' '.join(dataset)}:{one.key}", one.since,
        ts_latest=one.at if one.at > one.since else None, outcome=outcome,
        title=f"{dataset[1]}: column {one.column}: {said}"[:200],
        labels=labels_of({"dataset": dataset[1], "dataset_namespace": dataset[0], "job": one.job[1],
                          "namespace": one.job[0], "column": one.column, "from": one.was, "to": one.now}),
    )  # fmt: skip
