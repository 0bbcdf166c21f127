"""MLflow's files, read whole: the database of a server, an mlruns folder, and bodies that it posted to a webhook."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from connectors import _mlflow_moves as moves
from connectors._files import documents
from connectors._mlflow_counts import USUAL, Columns, counted
from connectors._mlflow_database import Database
from connectors._mlflow_deliveries import Deliveries, matching, read
from connectors._mlflow_environment import Environment, environment_of
from connectors._mlflow_folder import Folder, mlruns_in
from connectors._mlflow_moves import State
from connectors._mlflow_objects import Point, Run, Version
from connectors._mlflow_telling import Registry, Writer, first_told, matches, newest, registry_of, seconds
from connectors._mlflow_walk import RECORDS, chunks, releases
from connectors._sqlite import plain
from tandem.connect import About, Item, SourceRefused
from tandem.records import Covered, Finding, Page, Record

_RUNS = 10
"""Runs whose histories are held at once; one run can have a million points."""


def pages_of(export: Database | Folder, config: Any, about: About, modified: int) -> Iterator[Page]:
    """Everything in an export; its aliases stood so when it was written, which was not before what it holds."""
    versions, runs = export.versions(), export.runs()
    asked = {version.logged for version in versions if not version.run} | {one for run in runs for one in run.used}
    logged = export.logged(sorted(asked - {""}))
    registry = registry_of(export.models(), versions, logged, config, None)
    made = {one: run.id for run in runs for one in run.made} | {one.id: one.run for one in logged}
    writer = Writer(config, about, registry, None, made)
    times = _times(runs, registry.versions.values())
    seen = max([modified, *times])
    covered = [Covered(min(times), seen)] if times and min(times) < seen else []
    data: dict[str, int] = {}
    for batch in chunks([run for run in runs if matches(run.experiment, config.experiments)], _RUNS):
        points = export.points(batch, config.max_points)
        for page in _batch(export, writer, batch, points, data):
            yield Page(page.records, covered=covered, findings=page.findings, slice=page.slice)
    by_id = {run.id: run for run in runs}
    told, findings = releases(writer, registry.versions.values(), by_id)
    moved, _ = moves.changes(writer, State(), by_id, seen)
    yield Page([*told, *moved], covered=covered, findings=findings)


def deliveries_of(item: Item, config: Any, about: About) -> Iterator[Page]:
    """What was delivered: aliases and tags at their second, and versions as they were made."""
    found = read(documents(item))
    writer = Writer(config, about, Registry((), {}, {}, {}), None, {})
    changes = matching(found.changes, config.models, config.validation, matches)
    made = [Version(one.model, one.version, one.at * 1000, None, "", "", one.run)
            for one in found.created if matches(one.model, config.models)]  # fmt: skip
    told, findings = releases(writer, made, {})
    # What the registry itself says of a version counts more than how it began.
    told = [replace(event, revision=0) for event in told]
    yield Page([*told, *moves.events_of(writer, changes)], findings=[*findings, *_said(found, item)])


@contextlib.contextmanager
def opened(item: Item) -> Iterator[Database | Folder]:
    """The database or the folder of an item; raises SourceRefused."""
    if item.path.is_dir():
        root = mlruns_in(item.path)
        if root is None:
            raise SourceRefused(f"{item.name} holds no experiment of MLflow; name the mlruns folder itself.")
        yield Folder(root)
        return
    with plain(item) as path, contextlib.closing(Database(path, item.name)) as database:
        if not database.holds_runs():
            raise SourceRefused(f"{item.name} is a sqlite database, but not one of an MLflow server.")
        yield database


def _batch(
    export: Database | Folder, writer: Writer, batch: Sequence[Run], points: Mapping[str, Sequence[Point]],
    data: dict[str, int],
) -> Iterator[Page]:  # fmt: skip
    records: list[Record] = []
    findings: list[Finding] = []
    for run in batch:
        mine = points.get(run.id, ())
        run = _with_newest(run, mine)
        told, said = writer.run(run, _environment(export, run))
        samples, rejects, _ = writer.samples(run, mine)
        pages, remarks = _evaluations(export, writer, run)
        records += [*first_told(told, data), *samples]
        findings += [*said, *rejects, *remarks]
        yield from pages
        if len(records) >= RECORDS:
            yield Page(records, findings=findings)
            records, findings = [], []
    yield Page(records, findings=findings)


def _with_newest(run: Run, points: Iterable[Point]) -> Run:
    last: dict[str, Point] = {}
    for point in points:
        known = last.get(point.key)
        if known is None or (point.step, point.at) >= (known.step, known.at):
            last[point.key] = point
    return replace(run, latest=tuple(last.values()))


def _evaluations(export: Database | Folder, writer: Writer, run: Run) -> tuple[list[Page], list[Finding]]:
    config = writer.config
    wanted = config.artifacts or USUAL
    files = export.artifacts(run, wanted, config.max_artifact) if isinstance(export, Folder) else ()
    columns = Columns(config.actual, config.predicted, config.classes)
    found = counted(files, newest(run.latest), columns, config.max_artifact)
    return writer.evaluations(run, found, None)


def _environment(export: Database | Folder, run: Run) -> Environment:
    if not isinstance(export, Folder) or run.evaluates:
        return Environment()
    return environment_of(export.model_files(run, export.logged(run.made)))


def _said(found: Deliveries, item: Item) -> list[Finding]:
    said = []
    if found.others:
        said.append(Finding("remark", "deliveries that tell of no version, alias or tag of a model are left out",
                            item.name, found.others))  # fmt: skip
    reasons = {reason: found.broken.count(reason) for reason in found.broken}
    return [*said, *(Finding("reject", reason, item.name, count) for reason, count in sorted(reasons.items()))]


def _times(runs: Iterable[Run], versions: Iterable[Version]) -> list[int]:
    given = [ms for run in runs for ms in (run.start, run.end)]
    given += [ms for version in versions for ms in (version.created, version.updated)]
    return [told for told in map(seconds, given) if told is not None]
