"""A pull of an MLflow server: what changed, runs of the last days, and the sweep over older ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

from connectors import _mlflow_moves as moves
from connectors._files import documents, item
from connectors._mlflow_artifacts import Artifacts
from connectors._mlflow_counts import Columns, counted
from connectors._mlflow_deliveries import Change, matching, read
from connectors._mlflow_environment import Environment, environment_of
from connectors._mlflow_moves import State
from connectors._mlflow_objects import Run, Version, model_paths
from connectors._mlflow_server import RUNS, Server
from connectors._mlflow_telling import Registry, Writer, first_told, matches, newest, registry_of, seconds
from tandem.connect import About, Given, Pull, SourceRefused
from tandem.records import DAY, Event, Finding, Page, Record

SWEPT = 1_000
"""Unchanged runs whose histories one sweep reads again, so that it stays bounded however many there are."""
RECORDS = 20_000
"""A page is sent on when it holds this many."""


@dataclass(frozen=True)
class Reading:
    """One pull of one server."""

    server: Server
    artifacts: Artifacts
    config: Any
    about: About
    pull: Pull

    def pages(self) -> Iterator[Page]:
        """The registry and its changes first, then runs, oldest first."""
        config, pull, server = self.config, self.pull, self.server
        state, since = State.of(pull.state), _since(config, self.about, pull)
        pull.progress("experiments and models", None)
        experiments = server.experiments()
        chosen = {key: name for key, name in experiments.items() if matches(name, config.experiments)}
        registry = self._registry(experiments)
        writer = Writer(config, self.about, registry, pull.until, {})
        all_of_them = state.polled is None or pull.first or pull.sweep
        changed = [v for v in registry.versions.values() if all_of_them or (seconds(v.updated) or since) >= since]
        wanted = {version.run for version in (*changed, *registry.aliased(), *_retagged(registry, state, config))}
        opened = {event.key for event in pull.open if event.kind == "training"}
        wanted |= opened | {event.key for event in pull.open if event.kind == "validation"}
        runs = {run.id: run for run in server.runs_of(wanted, experiments)}
        told, findings = releases(writer, changed, runs)
        delivered, unread = self._delivered()
        moved, now = moves.changes(writer, state, runs, pull.now, delivered)
        findings += [*unread, *server.findings(), *_unmatched(config, bool(chosen), bool(registry.models))]
        yield Page([*told, *moved], now.json(), findings=findings)
        earlier = [run for run in runs.values() if run.experiment_id in chosen and (seconds(run.start) or 0) < since]
        listed = server.runs_between(chosen, since * 1000, pull.until * 1000)
        batches = chain(chunks(sorted(earlier, key=_age)), listed)
        yield from self._runs(writer, batches, now, opened, experiments)

    def _registry(self, experiments: Mapping[str, str]) -> Registry:
        models, versions = self.server.models(), self.server.versions()
        lacking = {version.logged for version in versions if version.logged and not version.run}
        logged = self.server.logged(lacking, experiments)
        return registry_of(models, versions, logged, self.config, self.pull.until)

    def _delivered(self) -> tuple[list[Change], list[Finding]]:
        """What webhooks delivered before the end of this pull, and what could not be read of it."""
        path = self.config.deliveries
        if path is None:
            return [], []
        if not path.exists():
            raise SourceRefused(f"{path} is not there; check deliveries.")
        changes: list[Change] = []
        findings: list[Finding] = []
        for file in sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]:
            found = read(documents(item(file, Given())))
            changes += found.changes
            findings += [Finding("reject", reason, file.name) for reason in found.broken]
        wanted = matching(changes, self.config.models, self.config.validation, matches)
        return [change for change in wanted if change.at < self.pull.until], findings

    def _runs(
        self, writer: Writer, batches: Iterable[Sequence[Run]], now: State, opened: set[str],
        experiments: Mapping[str, str],
    ) -> Iterator[Page]:  # fmt: skip
        """The runs with those histories that may have changed; what was read whole is remembered.

        A sweep lists all runs of the last days, which shows what changed of them but a metric that was logged below
        its newest point: so it reads as many histories again as it may, those first that were not read for longest.
        """
        remembered = dict(now.runs)
        due = set(list(remembered)[:SWEPT]) if self.pull.sweep else set()
        listed: set[str] = set()
        data: dict[str, int] = {}
        done = 0
        for batch in batches:
            done += len(batch)
            self.pull.progress(f"{done} runs", None)
            listed |= {run.id for run in batch}
            made = self._made(writer.registry, batch, experiments)
            for page in self._batch(replace(writer, made=made), batch, remembered, due, data, opened, experiments):
                # A piece of its own comes before the page that makes its run known.
                yield page if page.slice else replace(page, state=replace(now, runs=remembered).json())
        if self.pull.sweep:  # what it does not list any more is too old to be listed again
            kept = {run: mark for run, mark in remembered.items() if run in listed}
            yield Page((), replace(now, runs=kept).json())

    def _made(self, registry: Registry, batch: Sequence[Run], experiments: Mapping[str, str]) -> dict[str, str]:
        """The runs of the logged models that runs evaluated and that are in no registry."""
        known = {model: run.id for run in batch for model in run.made}
        used = {one for run in batch if run.evaluates for one in run.used} - set(known) - set(registry.of_model)
        return known | {one.id: one.run for one in self.server.logged(used, experiments)}

    def _batch(
        self, writer: Writer, batch: Sequence[Run], remembered: dict[str, str], due: set[str], data: dict[str, int],
        opened: set[str], experiments: Mapping[str, str],
    ) -> Iterator[Page]:  # fmt: skip
        """What is told of the runs that are not known as they are."""
        records: list[Record] = []
        findings: list[Finding] = []
        marks = {run.id: writer.print_of(run) for run in batch}
        again = [run for run in batch if self.pull.first or run.id in due or remembered.get(run.id) != marks[run.id]]
        environments = self._environments(again, experiments)
        for run, points, complete in self.server.histories(again, writer.reads, writer.config.max_points):
            told, said = writer.run(run, environments.get(run.id, Environment()), opened=run.id in opened)
            samples, rejects, all_seen = writer.samples(run, points)
            pages, remarks = self._evaluations(writer, run)
            yield from pages
            records += [*first_told(told, data), *samples]
            findings += [*said, *rejects, *remarks]
            remembered.pop(run.id, None)
            if complete and all_seen:
                remembered[run.id] = marks[run.id]
            if len(records) >= RECORDS:
                yield Page(records, findings=[*findings, *self.server.findings(), *self.artifacts.findings()])
                records, findings = [], []
        yield Page(records, findings=[*findings, *self.server.findings(), *self.artifacts.findings()])

    def _evaluations(self, writer: Writer, run: Run) -> tuple[list[Page], list[Finding]]:
        config = self.config
        wanted = config.artifacts if _is_over(run) else ()
        files = self.artifacts.artifacts(run, wanted, config.max_artifact) if wanted else ()
        columns = Columns(config.actual, config.predicted, config.classes)
        found = counted(files, newest(run.latest), columns, config.max_artifact)
        return writer.evaluations(run, found, self.pull)

    def _environments(self, runs: Sequence[Run], experiments: Mapping[str, str]) -> dict[str, Environment]:
        """What the models of these runs were made with, where that is asked for."""
        made = [run for run in runs if not run.evaluates and (run.made or model_paths(run)) and _is_over(run)]
        if not self.config.model_files or not made:
            return {}
        logged = {one.id: one for one in self.server.logged({one for run in made for one in run.made}, experiments)}
        return {
            run.id: environment_of(self.artifacts.model_files(run, [logged[one] for one in run.made if one in logged]))
            for run in made
        }


def _is_over(run: Run) -> bool:
    return run.status not in ("RUNNING", "SCHEDULED")


def releases(writer: Writer, versions: Iterable[Version], runs: Mapping[str, Run]) -> tuple[list[Event], list[Finding]]:
    """The events of versions, oldest first."""
    events: list[Event] = []
    findings: list[Finding] = []
    for version in sorted(versions, key=lambda v: (v.created or 0, v.model, v.version)):
        event, said = writer.release(version, runs.get(version.run))
        events += [event] if event else []
        findings += said
    return events, findings


def chunks(runs: Sequence[Run], size: int = RUNS) -> Iterator[Sequence[Run]]:
    """Runs in batches."""
    for start in range(0, len(runs), size):
        yield runs[start : start + size]


def _since(config: Any, about: About, pull: Pull) -> int:
    """Where the list of runs begins: metrics are logged late, so earlier than was asked for."""
    if pull.first:
        return pull.since
    overlap = DAY if config.common.overlap is None else config.common.overlap
    horizon = config.common.horizon or about.horizon or 0
    since = min(pull.since - overlap, pull.until - horizon) if pull.sweep else pull.since - overlap
    return max(0, since)


def _retagged(registry: Registry, state: State, config: Any) -> list[Version]:
    """Versions with a tag of validation that another look did not see so: their run says more of them."""
    return [
        version
        for version in registry.versions.values()
        for key, value in version.tags.items()
        if matches(key, config.validation)
        and list(state.told.get(f"{version.model}/{version.version}:{key}", ()))[-1:] != [value]
    ]


def _unmatched(config: Any, experiments: bool, models: bool) -> list[Finding]:
    found = []
    if not experiments and config.experiments != ("*",):
        found.append(Finding("remark", f"no experiment matches {', '.join(config.experiments)}", "experiments"))
    if not models and config.models != ("*",):
        found.append(Finding("remark", f"no registered model matches {', '.join(config.models)}", "models"))
    return found


def _age(run: Run) -> tuple[int, str]:
    return (run.start or 0, run.id)
