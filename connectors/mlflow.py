"""MLflow: runs, metric histories, registered models, versions and aliases; server, sqlite file or mlruns folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import chain
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, unquote, urlsplit

from connectors._http import open_client
from connectors._mlflow_files import Database, Folder, mlruns_in
from connectors._mlflow_objects import Model, Point, Run, Version, in_order
from connectors._mlflow_server import RUNS, Server
from connectors._sqlite import MAGIC, plain
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting, status_of
from tandem.records import DAY, Covered, Event, Finding, Page, Record, Sample, Series, Stage, labels_of

_EVALUATION = tuple(f"{word}{mark}*" for word in ("val", "valid", "validation", "eval", "test") for mark in "_/.-")
_RECORDS = 20_000
"""A page is sent on when it holds this many."""
_REMEMBERED = 10_000
"""Runs whose newest metrics are remembered; with their ids this stays below 1 MiB."""
_RUNS_OF_A_FILE = 10
"""Runs whose histories are held at once; one run can have a million points."""
_PARAMS = 30
_TEXT = 200
_FIRST_MS, _LAST_MS = 365 * DAY * 1000, 253_402_300_799_999
"""What lies in 1970 is no time but an absent one, or seconds taken for milliseconds; the last is the year 9999."""


@dataclass(frozen=True)
class Config:
    """One MLflow server, or a folder of its files."""

    common: Common
    url: str = setting(
        "Address of the tracking server, with its static prefix if it has one, or file:DIR.",
        default="",
        example="http://127.0.0.1:5000",
    )
    models: tuple[str, ...] = setting("Registered models that are read (globs).", default=("*",), example=("fraud*",))
    experiments: tuple[str, ...] = setting(
        "Experiments whose runs are read (globs).", default=("*",), example=("fraud-*",)
    )
    metrics: tuple[str, ...] = setting("Metrics that are read (globs).", default=("*",), example=("accuracy", "val_*"))
    ignore: tuple[str, ...] = setting(
        "Metrics that are left out (globs).", default=("system/*",), example=("system/*", "grad_*")
    )
    evaluation: tuple[str, ...] = setting(
        "Metrics of stage evaluation (globs); all others are of stage training.",
        default=_EVALUATION,
        example=("val_*", "holdout/*"),
    )
    max_points: int = setting("Most points of one metric of one run; it is said where there are more.",
                              default=100_000, example=100_000)  # fmt: skip
    auth: Literal["bearer", "basic"] = setting(
        'How the token is sent; for "basic" it is the base64 of user:password.', default="bearer", example="basic"
    )


ABOUT = About(
    reads="MLflow tracking servers (runs, parameters, metric histories) and their model registry (versions, aliases)",
    events=("training", "release", "promotion"),
    labels={
        "model": "the registered model; of a run, the one that was made from it",
        "experiment": "the experiment of a run",
        "run_name": "the name of a run",
        "parent": "the id of the run that a run is nested in",
        "param.<name>": "a parameter of a run, the first 30 by name",
        "stage": "the stage of a version, where the registry still uses stages",
        "alias": "the alias that was moved",
        "from": "the version that an alias pointed to before",
        "removed": "the version that a removed alias pointed to",
    },
    files=(
        "the sqlite database of a server (mlflow.db), also compressed",
        "an mlruns folder of the file store, or the folder that holds nothing but it",
    ),
    horizon=30 * DAY,
    limits=(
        "MLflow records no time for the move of an alias: a promotion has the interval between two pulls.",
        "In a file, a promotion has the interval from the creation of the version to the time of the file.",
        "A metric logged late is found at the next pull for runs of the last day and those under an alias.",
        "A metric logged late is found at the daily sweep for runs of the last 30 days.",
        "Values without a finite number (NaN, infinity) are rejected and counted.",
        "What is deleted in MLflow stays in Tandem.",
    ),
    status={
        "FINISHED": "good",
        "FAILED": "bad",
        "KILLED": "excluded",
        "RUNNING": "open",
        "SCHEDULED": "open",
        "READY": "good",
        "FAILED_REGISTRATION": "bad",
        "PENDING_REGISTRATION": "open",
    },
    once=("promotion",),
    side="model",
    example="""\
connector = "mlflow"
name = "registry"
url = "http://127.0.0.1:5000"        # or "file:exports/mlflow": a sqlite database or an mlruns folder
# token_env = "MLFLOW_TOKEN"         # sent as bearer token; with auth = "basic" the base64 of user:password
# experiments = ["fraud-*"]
# models = ["fraud*"]
# evaluation = ["val_*", "test_*"]   # metrics of stage evaluation; all others are of stage training
  [[source.map]]
  component = "fraud-detector"
  match = { model = "fraud" }        # or experiment, run_name, "param.<name>"
""",
)


def scope(config: Config) -> str:
    """The server's address or the folder, and what the filters leave of it."""
    folder = _folder(config.url)
    parts = urlsplit(config.url)
    place = str(folder.absolute()) if folder else f"{parts.scheme}://{parts.netloc.lower()}{parts.path}".rstrip("/")
    for word, globs in (("models", config.models), ("experiments", config.experiments)):
        if globs != ("*",):
            place += f" {word}={','.join(sorted(globs))}"
    return place


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """Pages of a server; raises SourceDown or SourceRefused."""
    if not config.url:
        raise SourceRefused('the source has no url; give the address of the server or "file:DIR".')
    with open_client(config, config.url, token_prefix="Basic " if config.auth == "basic" else "Bearer ") as client:
        yield from _from_server(Server(client), config, pull)


def parse(item: Item, config: Config) -> Iterator[Page]:
    """Pages of a sqlite database or an mlruns folder; raises SourceRefused for one that is broken."""
    with _opened(item) as export:
        yield from _read(export, config, item.given.at or item.modified)


def recognise(item: Item) -> bool:
    """Whether it is a tracking database or an mlruns folder."""
    if item.path.is_dir():
        below = all(entry.startswith(("mlruns/", "mlartifacts/")) for entry in item.entries)
        pattern = re.compile(
            r"(?:mlruns/)?(?:\d+|models/[^/]+)/meta\.yaml" if below else r"(?:\d+|models/[^/]+)/meta\.yaml"
        )
        return any(pattern.fullmatch(entry) for entry in item.entries)
    if not item.head.startswith(MAGIC):
        return False
    with contextlib.suppress(SourceRefused), _opened(item) as export:
        return isinstance(export, Database) and export.holds_runs()
    return False


# What is found, as records


@dataclass(frozen=True)
class _Registry:
    """The registered models and versions that the config lets through, as of one look."""

    models: tuple[Model, ...]
    versions: Mapping[tuple[str, str], Version]
    of_run: Mapping[str, Version]
    """The version that was made from a run, the newest where there are several."""


def _registry(models: Iterable[Model], versions: Iterable[Version], config: Config, until: int | None) -> _Registry:
    chosen = tuple(model for model in models if _matches(model.name, config.models))
    known = {
        (version.model, version.version): version
        for version in versions
        if _matches(version.model, config.models) and not _later(version.created, until)
    }
    newest_last = sorted(known.values(), key=lambda v: (v.created or 0, v.model, v.version.zfill(12)))
    return _Registry(chosen, known, {version.run: version for version in newest_last if version.run})


@dataclass(frozen=True)
class _Writer:
    """Turns what MLflow holds into records, under one config."""

    config: Config
    registry: _Registry
    until: int | None

    def training(self, run: Run) -> tuple[Event | None, list[Finding]]:
        """The event of a run; None for a run that says no start."""
        findings: list[Finding] = []
        start, end = _seconds(run.start), _seconds(run.end)
        if start is None:
            return None, [Finding("reject", "a run without a time of its start", f"run {run.id}")]
        if end is not None and self.until is not None and end >= self.until:
            run, end = replace(run, status="RUNNING"), None
        if end is not None and end < start:
            findings.append(Finding("remark", "a run that ends before it starts; its end is left out", f"run {run.id}"))
            end = None
        outcome = status_of(self.config, ABOUT, run.status)
        if outcome is None:
            findings.append(Finding("remark", f'unknown status "{run.status[:50]}", left out', f"run {run.id}"))
        settled = outcome != "open"
        version = self.registry.of_run.get(run.id)
        event = Event(
            kind="training",
            key=run.id,
            ts=start,
            started=start,
            ended=end if settled else None,
            outcome=outcome or "excluded",
            version=version.version if version else "",
            commit=run.tags.get("mlflow.source.git.commit", ""),
            run=run.id,
            data_version=_data_version(run),
            actor=run.user or run.tags.get("mlflow.user", ""),
            title=run.name or run.id,
            url=self._link(f"experiments/{quote(run.experiment_id)}/runs/{quote(run.id)}"),
            labels=labels_of({**self._labels(run), "parent": run.tags.get("mlflow.parentRunId"), **_params(run)}),
            # A finished state beats a running one that was read at the same second.
            revision=(end if settled and end is not None else start) + settled,
        )
        return event, findings

    def samples(self, run: Run, points: Iterable[Point]) -> tuple[list[Sample], list[Finding], bool]:
        """The samples of a run's histories, what was rejected, and whether nothing lies at or after `until`."""
        rejects: Counter[tuple[str, str]] = Counter()
        read: Counter[str] = Counter()
        found: list[Sample] = []
        whole_history = True
        for point in in_order(points):
            if not self.reads(point.key):
                continue
            read[point.key] += 1
            if read[point.key] > self.config.max_points:
                rejects["a metric with more points than max_points", point.key] += 1
            elif _seconds(point.at) is None:
                rejects["a metric without a time", point.key] += 1
            elif point.value is None:
                rejects["a metric that is no finite number", point.key] += 1
            elif _later(point.at, self.until):
                whole_history = False
            else:
                found.append(Sample(self._series(run, point.key), point.at / 1000, point.value, run.id, point.step))
        findings = [
            Finding("reject", reason, f'run {run.id}, metric "{key}"', n)
            for (reason, key), n in sorted(rejects.items())
        ]
        return found, findings, whole_history

    def release(self, version: Version, run: Run | None) -> tuple[Event | None, list[Finding]]:
        """The event of a version of a registered model; None for one that says no time."""
        where = f"model {version.model}, version {version.version}"
        created = _seconds(version.created)
        if created is None:
            return None, [Finding("reject", "a version without a time of its creation", where)]
        outcome = status_of(self.config, ABOUT, version.status) if version.status else "good"
        unknown = [Finding("remark", f'unknown status "{version.status[:50]}", left out', where)]
        event = Event(
            kind="release",
            key=f"{version.model}/{version.version}",
            ts=created,
            outcome=outcome or "excluded",
            actor=version.user,
            title=f"{version.model} {version.version}",
            labels=labels_of({"model": version.model, "stage": _stage(version)}),
            revision=_seconds(version.updated) or created,
            **self._made_of(version, run),
        )
        return event, [] if outcome else unknown

    def promotion(self, model: str, alias: str, target: Version, run: Run | None, seen: _Seen) -> Event:
        """The event of an alias that points to a version and did not before."""
        return Event(
            kind="promotion",
            key=f"{model}@{alias}:{target.version}:{seen.mark}",
            ts=seen.since,
            ts_latest=seen.until,
            title=f"{model}: {alias} is version {target.version}",
            labels=labels_of({"model": model, "alias": alias, "from": seen.before}),
            # Two looks at one move: the tighter interval counts, whichever arrives first.
            revision=-seen.until,
            **self._made_of(target, run),
        )

    def removal(self, model: str, alias: str, seen: _Seen) -> Event:
        """The event of an alias that points to nothing any more."""
        return Event(
            kind="promotion",
            key=f"{model}@{alias}::{seen.mark}",
            ts=seen.since,
            ts_latest=seen.until,
            title=f"{model}: {alias} was removed from version {seen.before}",
            url=self._link(f"models/{quote(model, safe='')}"),
            labels=labels_of({"model": model, "alias": alias, "from": seen.before, "removed": seen.before}),
            revision=-seen.until,
        )

    def reads(self, key: str) -> bool:
        """Whether a metric is wanted."""
        return _matches(key, self.config.metrics) and not _matches(key, self.config.ignore)

    def print_of(self, run: Run) -> str:
        """A short text that changes when a newest value, or what its samples are called, changes."""
        version = self.registry.of_run.get(run.id)
        told = [
            [version.model, version.version] if version else None,
            [run.experiment, run.name],
            sorted([p.key, self._evaluates(p.key), p.at, p.step, p.value] for p in run.latest if self.reads(p.key)),
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:12]

    def _series(self, run: Run, key: str) -> Series:
        version = self.registry.of_run.get(run.id)
        stage: Stage = "evaluation" if self._evaluates(key) else "training"
        number_of = version.version if version else ""
        return Series("sample", labels_of(self._labels(run)), name=key, version=number_of, stage=stage)

    def _evaluates(self, key: str) -> bool:
        return _matches(key.lower(), tuple(glob.lower() for glob in self.config.evaluation))

    def _labels(self, run: Run) -> dict[str, str]:
        version = self.registry.of_run.get(run.id)
        return {"experiment": run.experiment, "run_name": run.name, "model": version.model if version else ""}

    def _made_of(self, version: Version, run: Run | None) -> dict[str, Any]:
        return {
            "version": version.version,
            "run": version.run,
            "commit": run.tags.get("mlflow.source.git.commit", "") if run else "",
            "data_version": _data_version(run) if run else "",
            "url": self._link(f"models/{quote(version.model, safe='')}/versions/{quote(version.version)}"),
        }

    def _link(self, place: str) -> str:
        return f"{self.config.url.rstrip('/')}/#/{place}" if self.config.url.startswith("http") else ""


@dataclass(frozen=True)
class _Seen:
    """When an alias moved, as far as is known, and what it pointed to before."""

    since: int
    until: int
    before: str
    mark: int
    """The time in the key; that of the version's creation where it is the first move there."""


def _params(run: Run) -> dict[str, str]:
    return {f"param.{key}": run.params[key][:_TEXT] for key in sorted(run.params)[:_PARAMS]}


def _data_version(run: Run) -> str:
    return ",".join(run.datasets) or run.params.get("data_version") or run.tags.get("data_version", "")


def _stage(version: Version) -> str:
    return "" if version.stage == "None" else version.stage


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _seconds(ms: int | None) -> int | None:
    """Epoch seconds, None for a time that is absent."""
    return ms // 1000 if ms is not None and _FIRST_MS <= ms <= _LAST_MS else None


def _later(ms: int | None, until: int | None) -> bool:
    return ms is not None and until is not None and ms >= until * 1000


# From a server


@dataclass(frozen=True)
class _State:
    """What is remembered between two pulls; `polled`, the last look, is None before the first.

    `began` is the first look, and `past` has every version that an alias was seen at since.
    """

    polled: int | None = None
    began: int | None = None
    aliases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    past: frozenset[tuple[str, str, str]] = frozenset()
    runs: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def of(given: Any) -> _State:
        if not isinstance(given, dict) or given.get("form") != 1:
            return _State()
        past = frozenset((model, alias, version) for model, alias, version in given["past"])
        return _State(given["polled"], given["began"], given["aliases"], past, given["runs"])

    def json(self) -> dict[str, Any]:
        newest = dict(list(self.runs.items())[-_REMEMBERED:])
        past = sorted(self.past)
        return {"form": 1, "polled": self.polled, "began": self.began, "aliases": self.aliases, "past": past,
                "runs": newest}  # fmt: skip


def _from_server(server: Server, config: Config, pull: Pull) -> Iterator[Page]:
    state, since = _State.of(pull.state), _since(config, pull)
    pull.progress("experiments and models", None)
    experiments = server.experiments()
    chosen = [key for key, name in experiments.items() if _matches(name, config.experiments)]
    registry = _registry(server.models(), server.versions(), config, pull.until)
    writer = _Writer(config, registry, pull.until)
    all_of_them = state.polled is None or pull.first or pull.sweep
    changed = [v for v in registry.versions.values() if all_of_them or (_seconds(v.updated) or since) >= since]
    wanted = {version.run for version in (*changed, *_aliased(registry))}
    wanted |= {event.key for event in pull.open if event.kind == "training"}
    runs = {run.id: run for run in server.runs_of(wanted, experiments)}
    releases, findings = _releases(writer, changed, runs)
    moves, now = _moves(writer, state, runs, pull.now)
    findings += [*server.findings(), *_unmatched(config, bool(chosen), bool(registry.models))]
    yield Page([*releases, *moves], now.json(), findings=findings)
    remembered = dict(state.runs)
    earlier = [run for run in runs.values() if run.experiment_id in chosen and (_seconds(run.start) or 0) < since]
    listed = server.runs_between({key: experiments[key] for key in chosen}, since * 1000, pull.until * 1000)
    done = 0
    for batch in chain(_chunks(sorted(earlier, key=_age)), listed):
        done += len(batch)
        pull.progress(f"{done} runs", None)
        for records, said in _trainings(server, writer, batch, remembered, pull.sweep):
            yield Page(records, replace(now, runs=remembered).json(), findings=[*said, *server.findings()])


def _trainings(
    server: Server, writer: _Writer, batch: Sequence[Run], remembered: dict[str, str], sweep: bool
) -> Iterator[tuple[list[Record], list[Finding]]]:
    """The runs of a batch with those histories that may have changed; what was read whole is remembered."""
    records: list[Record] = []
    findings: list[Finding] = []
    for run in batch:
        event, said = writer.training(run)
        records += [event] if event else []
        findings += said
        known, mark = remembered.pop(run.id, None), writer.print_of(run)
        if known != mark or sweep:
            points, complete = server.histories(run, writer.reads, writer.config.max_points)
            samples, said, all_seen = writer.samples(run, points)
            records += samples
            findings += said
            known = mark if complete and all_seen else None
        if known:
            remembered[run.id] = known
        if len(records) >= _RECORDS:
            yield records, findings
            records, findings = [], []
    yield records, findings


def _since(config: Config, pull: Pull) -> int:
    """Where the list of runs begins: metrics are logged late, so earlier than was asked for."""
    if pull.first:
        return pull.since
    overlap = DAY if config.common.overlap is None else config.common.overlap
    horizon = config.common.horizon or ABOUT.horizon or 0
    since = min(pull.since - overlap, pull.until - horizon) if pull.sweep else pull.since - overlap
    return max(0, since)


def _aliased(registry: _Registry) -> list[Version]:
    targets = ((model.name, version) for model in registry.models for version in model.aliases.values())
    return [registry.versions[target] for target in targets if target in registry.versions]


def _releases(
    writer: _Writer, versions: Iterable[Version], runs: Mapping[str, Run]
) -> tuple[list[Event], list[Finding]]:
    events: list[Event] = []
    findings: list[Finding] = []
    for version in sorted(versions, key=lambda v: (v.created or 0, v.model, v.version)):
        event, said = writer.release(version, runs.get(version.run))
        events += [event] if event else []
        findings += said
    return events, findings


def _moves(writer: _Writer, state: _State, runs: Mapping[str, Run], now: int) -> tuple[list[Event], _State]:
    """What the aliases did since the last look, and the state after this one."""
    events: list[Event] = []
    current: dict[str, dict[str, str]] = {}
    for model in writer.registry.models:
        before = state.aliases.get(model.name, {})
        here: dict[str, str] = {}
        current[model.name] = here
        for alias, version in sorted(model.aliases.items()):
            target = writer.registry.versions.get((model.name, version))
            created = _seconds(target.created) if target else None
            if target is None or created is None:
                # It was made between two requests: the next look has both.
                here.update({alias: before[alias]} if alias in before else {})
                continue
            here[alias] = version
            if before.get(alias) != version:
                since = max(created, state.polled or created)
                until = now if model.settled is None else -(-model.settled // 1000)
                first = _is_first(state, created, (model.name, alias, version))
                seen = _Seen(since, max(since, until), before.get(alias, ""), created if first else since)
                events.append(writer.promotion(model.name, alias, target, runs.get(target.run), seen))
    events += _removals(writer, state, now)
    at = frozenset((model, alias, version) for model, told in current.items() for alias, version in told.items())
    began = now if state.began is None else state.began
    return events, _State(now, began, current, state.past | at, state.runs)


def _is_first(state: _State, created: int, place: tuple[str, str, str]) -> bool:
    """Whether an alias is at a version for the first time: then the event has the key of a first sight.

    So a promotion that was seen to happen is the same event for an import, and after the state was lost.
    """
    return state.began is None or (created >= state.began and place not in state.past)


def _removals(writer: _Writer, state: _State, now: int) -> list[Event]:
    present = {(model.name, alias) for model in writer.registry.models for alias in model.aliases}
    since = now if state.polled is None else min(state.polled, now)
    return [
        writer.removal(model, alias, _Seen(since, now, version, since))
        for model, aliases in state.aliases.items()
        for alias, version in sorted(aliases.items())
        if (model, alias) not in present
    ]


def _unmatched(config: Config, experiments: bool, models: bool) -> list[Finding]:
    found = []
    if not experiments and config.experiments != ("*",):
        found.append(Finding("remark", f"no experiment matches {', '.join(config.experiments)}", "experiments"))
    if not models and config.models != ("*",):
        found.append(Finding("remark", f"no registered model matches {', '.join(config.models)}", "models"))
    return found


def _chunks(runs: Sequence[Run], size: int = RUNS) -> Iterator[Sequence[Run]]:
    for start in range(0, len(runs), size):
        yield runs[start : start + size]


def _age(run: Run) -> tuple[int, str]:
    return (run.start or 0, run.id)


# From files


def _read(export: Database | Folder, config: Config, modified: int) -> Iterator[Page]:
    """Everything in an export; its aliases stood so when it was written, which was not before what it holds."""
    registry = _registry(export.models(), export.versions(), config, None)
    writer = _Writer(config, registry, None)
    runs = export.runs()
    times = _times(runs, registry.versions.values())
    seen = max([modified, *times])
    covered = [Covered(min(times), seen)] if times and min(times) < seen else []
    for batch in _chunks([run for run in runs if _matches(run.experiment, config.experiments)], _RUNS_OF_A_FILE):
        points = export.points(batch, config.max_points)
        for records, findings in _with_points(writer, batch, points):
            yield Page(records, covered=covered, findings=findings)
    by_id = {run.id: run for run in runs}
    releases, findings = _releases(writer, registry.versions.values(), by_id)
    moves, _ = _moves(writer, _State(), by_id, seen)
    yield Page([*releases, *moves], covered=covered, findings=findings)


def _with_points(
    writer: _Writer, batch: Sequence[Run], points: Mapping[str, Sequence[Point]]
) -> Iterator[tuple[list[Record], list[Finding]]]:
    records: list[Record] = []
    findings: list[Finding] = []
    for run in batch:
        event, said = writer.training(run)
        samples, rejects, _ = writer.samples(run, points.get(run.id, ()))
        records += [*([event] if event else []), *samples]
        findings += [*said, *rejects]
        if len(records) >= _RECORDS:
            yield records, findings
            records, findings = [], []
    yield records, findings


def _times(runs: Iterable[Run], versions: Iterable[Version]) -> list[int]:
    given = [ms for run in runs for ms in (run.start, run.end)]
    given += [ms for version in versions for ms in (version.created, version.updated)]
    return [seconds for seconds in map(_seconds, given) if seconds is not None]


@contextlib.contextmanager
def _opened(item: Item) -> Iterator[Database | Folder]:
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


def _folder(url: str) -> Path | None:
    return Path(unquote(url.removeprefix("file:"))) if url.startswith("file:") else None
