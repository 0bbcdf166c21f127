"""What MLflow holds, as records: trainings, samples, data versions, evaluations, validations, releases, promotions."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import quote

from connectors._mlflow_counts import Counted
from connectors._mlflow_environment import Environment
from connectors._mlflow_objects import Dataset, Logged, Model, Point, Run, Version, in_order
from tandem.connect import About, Pull, status_of
from tandem.records import (
    DAY,
    Confusion,
    Event,
    Fact,
    Finding,
    Outcome,
    Page,
    Ratio,
    Record,
    Sample,
    Series,
    Slice,
    Stage,
    bucket_of,
    labels_of,
)

_PARAMS = 30
_INPUTS = 10
_TEXT = 200
_FIRST_MS, _LAST_MS = 365 * DAY * 1000, 253_402_300_799_999
"""What lies in 1970 is no time but an absent one, or seconds taken for milliseconds; the last is the year 9999."""
_EVALUATED = ("eval", "val", "valid", "test", "holdout")
"""How the context of a data set begins that a run did not learn from."""


@dataclass(frozen=True)
class Registry:
    """The registered models and versions that the config lets through, as of one look."""

    models: tuple[Model, ...]
    versions: Mapping[tuple[str, str], Version]
    of_run: Mapping[str, Version]
    """The version that was made from a run, the newest where there are several."""
    of_model: Mapping[str, Version]
    """The same by the logged model that it was made of."""

    def version_of(self, run: Run) -> Version | None:
        """The version that a run made, or that it evaluated where it made none."""
        used = [self.of_model[one] for one in run.used if one in self.of_model] if run.evaluates else []
        return self.of_run.get(run.id) or (used[0] if len(used) == 1 else None)

    def aliased(self) -> list[Version]:
        """The versions that an alias points to."""
        targets = ((model.name, version) for model in self.models for version in model.aliases.values())
        return [self.versions[target] for target in targets if target in self.versions]


def registry_of(
    models: Iterable[Model], versions: Iterable[Version], logged: Iterable[Logged], config: Any, until: int | None
) -> Registry:  # fmt: skip
    """The registry; a version that states no run has that of its logged model."""
    made = {one.id: one.run for one in logged}
    chosen = tuple(model for model in models if matches(model.name, config.models))
    known = {
        (version.model, version.version): version if version.run else replace(version, run=made.get(version.logged, ""))
        for version in versions
        if matches(version.model, config.models) and not later(version.created, until)
    }
    newest_last = sorted(known.values(), key=lambda v: (v.created or 0, v.model, v.version.zfill(12)))
    of_run = {version.run: version for version in newest_last if version.run}
    return Registry(chosen, known, of_run, {one.logged: one for one in newest_last if one.logged})


@dataclass(frozen=True)
class Seen:
    """When something changed, as far as is known, what it was before, and what tells it in its key.

    Of two looks at one change that of the higher `rank` counts, whichever arrives first.
    """

    since: int
    until: int
    before: str
    mark: str
    rank: int

    @property
    def latest(self) -> int | None:
        """The end of the interval, None for an exact time."""
        return self.until if self.until > self.since else None


@dataclass(frozen=True)
class Writer:
    """Turns what MLflow holds into records, under one config; `made` is the run of each logged model, as known."""

    config: Any
    about: About
    registry: Registry
    until: int | None
    made: Mapping[str, str]

    # -- runs

    def run(self, run: Run, environment: Environment, *, opened: bool = False) -> tuple[list[Event], list[Finding]]:
        """The training or the evaluation that a run was, and the versions of data it read; none without a start.

        `opened`: it was told as a training that is open, before it said that it evaluates.
        """
        findings: list[Finding] = []
        start, end = seconds(run.start), seconds(run.end)
        if start is None:
            return [], [Finding("reject", "a run without a time of its start", f"run {run.id}")]
        if end is not None and self.until is not None and end >= self.until:
            run, end = replace(run, status="RUNNING"), None
        if end is not None and end < start:
            findings.append(Finding("remark", "a run that ends before it starts; its end is left out", f"run {run.id}"))
            end = None
        outcome = status_of(self.config, self.about, run.status)
        if outcome is None:
            findings.append(Finding("remark", f'unknown status "{run.status[:50]}", left out', f"run {run.id}"))
        event = self._ran(run, start, end, outcome or "excluded")
        if not run.evaluates:
            return [self._training(run, event, environment), *self._data(run, start)], findings
        told = [self._evaluation(run, event), *self._data(run, start)]
        if opened:
            told.append(replace(event, kind="training", outcome="excluded", ended=None, version=""))
        return told, findings

    def _ran(self, run: Run, start: int, end: int | None, outcome: Outcome) -> Event:
        settled = outcome != "open"
        version = self.registry.version_of(run)
        return Event(
            kind="training", key=run.id, ts=start, started=start, ended=end if settled else None, outcome=outcome,
            version=version.version if version else "", run=run.id,
            trigger=run.tags.get(self.config.trigger, "")[:_TEXT], actor=run.user or run.tags.get("mlflow.user", ""),
            title=run.name or run.id,
            url=self.link(f"experiments/{quote(run.experiment_id)}/runs/{quote(run.id)}"),
            labels=labels_of({**self._labels(run), "parent": run.tags.get("mlflow.parentRunId"), **_params(run),
                              **_inputs(run.datasets)}),
            # A finished state beats a running one that was read at the same second.
            revision=(end if settled and end is not None else start) + settled,
        )  # fmt: skip

    def _training(self, run: Run, event: Event, environment: Environment) -> Event:
        image = run.tags.get("mlflow.docker.image.id") or run.tags.get("mlflow.docker.image.uri")
        told = {"python": environment.python, "packages": environment.packages, "image": image}
        return replace(
            event, commit=run.tags.get("mlflow.source.git.commit", ""), data_version=data_version(run),
            labels=labels_of({**dict(event.labels), **told}),
        )  # fmt: skip

    def _evaluation(self, run: Run, event: Event) -> Event:
        """A run that evaluated a model: passed where at_least is set and reached, else it only happened."""
        bounds = self.config.at_least or {}
        latest = newest(run.latest)
        missed = [f"{name} {_said(latest.get(name))}, not {bound:g}" for name, bound in bounds.items()
                  if latest.get(name, float("-inf")) < bound]  # fmt: skip
        outcome: Outcome = "open" if event.outcome == "open" else "excluded"
        if bounds and event.outcome == "good":
            outcome = "bad" if missed else "good"
        version = self.registry.version_of(run)
        made = version.run if version else next((self.made[one] for one in run.used if one in self.made), "")
        labels = {**dict(event.labels), "evaluation_run": run.id, "status": run.status,
                  "missed": ", ".join(missed) if outcome == "bad" else ""}  # fmt: skip
        title = f"{event.title}: {', '.join(missed)}" if outcome == "bad" else event.title
        return replace(event, kind="validation", outcome=outcome, run=made, title=title[:_TEXT],
                       labels=labels_of(labels))  # fmt: skip

    def _data(self, run: Run, start: int) -> Iterator[Event]:
        """The versions of data that a run read; of several runs that read one, the first says when it is known."""
        version = self.registry.version_of(run)
        for one in {one.title: one for one in run.datasets}.values():
            told = {"experiment": run.experiment, "model": version.model if version else "", "dataset": one.name,
                    "source": one.source, "source_type": one.source_type, "context": one.context,
                    "rows": one.rows}  # fmt: skip
            yield Event(
                "data_version", f"{run.experiment_id}/{one.title}", start, data_version=one.digest, digest=one.digest,
                title=f"{one.name} is {one.digest}"[:_TEXT], labels=labels_of(told), revision=-start,
            )  # fmt: skip

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
            elif seconds(point.at) is None:
                rejects["a metric without a time", point.key] += 1
            elif point.value is None:
                rejects["a metric that is no finite number", point.key] += 1
            elif later(point.at, self.until):
                whole_history = False
            else:
                found.append(Sample(self._series(run, point.key), point.at / 1000, point.value, run.id, point.step))
        findings = [
            Finding("reject", reason, f'run {run.id}, metric "{key}"', n)
            for (reason, key), n in sorted(rejects.items())
        ]
        return found, findings, whole_history

    def evaluations(self, run: Run, counted: Counted, pull: Pull | None) -> tuple[list[Page], list[Finding]]:
        """What a run's evaluations count, as a piece that is replaced when they change; nothing told twice."""
        findings = [Finding("remark", remark, f"run {run.id}") for remark in sorted(set(counted.remarks))]
        ts = seconds(run.end) or seconds(run.start)
        if ts is None or (self.until is not None and ts >= self.until):
            return [], findings
        version = self.registry.version_of(run)
        facts: list[Record] = []
        for prefix, one in sorted(counted.found.items()):
            labels = labels_of({**self._labels(run), "evaluation": prefix})
            series = Series("outcome" if one.cells else "correct", labels,
                            version=version.version if version else "", stage="evaluation")  # fmt: skip
            value = Confusion(dict(one.cells)) if one.cells else Ratio(*(one.correct or (0, 0)))
            facts.append(Fact(series, bucket_of(ts), value))
        name = f"evaluation:{run.id}"
        digest = hashlib.sha256(repr(facts).encode("utf-8", "replace")).hexdigest()[:24] if facts else "none"
        known = pull.taken(name) if pull else None
        if known == digest or (known is None and not facts):
            return [], findings
        return [Page(facts, slice=Slice(name, digest))], findings

    # -- versions

    def release(self, version: Version, run: Run | None) -> tuple[Event | None, list[Finding]]:
        """The event of a version of a registered model; None for one that says no time."""
        where = f"model {version.model}, version {version.version}"
        created = seconds(version.created)
        if created is None:
            return None, [Finding("reject", "a version without a time of its creation", where)]
        outcome = status_of(self.config, self.about, version.status) if version.status else "good"
        unknown = [Finding("remark", f'unknown status "{version.status[:50]}", left out', where)]
        event = Event(
            kind="release", key=f"{version.model}/{version.version}", ts=created, outcome=outcome or "excluded",
            actor=version.user, title=f"{version.model} {version.version}",
            labels=labels_of({"model": version.model, "stage": _stage(version)}),
            revision=seconds(version.updated) or created, **self._made_of(version, run),
        )  # fmt: skip
        return event, [] if outcome else unknown

    def promotion(self, alias: str, target: Version, run: Run | None, seen: Seen) -> Event:
        """The event of an alias that points to a version and did not before."""
        model = target.model
        return Event(
            kind="promotion", key=f"{model}@{alias}:{target.version}:{seen.mark}", ts=seen.since,
            ts_latest=seen.latest, title=f"{model}: {alias} is version {target.version}",
            labels=labels_of({"model": model, "alias": alias, "from": seen.before}),
            revision=seen.rank, **self._made_of(target, run),
        )  # fmt: skip

    def removal(self, model: str, alias: str, seen: Seen) -> Event:
        """The event of an alias that points to nothing any more."""
        what = f"version {seen.before}" if seen.before else "the model"
        told = {"model": model, "alias": alias, "from": seen.before, "removed": seen.before or "unknown"}
        return Event(
            kind="promotion", key=f"{model}@{alias}::{seen.mark}", ts=seen.since, ts_latest=seen.latest,
            title=f"{model}: {alias} was removed from {what}", url=self.link(f"models/{quote(model, safe='')}"),
            labels=labels_of(told), revision=seen.rank,
        )  # fmt: skip

    def validation(self, tag: str, value: str, target: Version, run: Run | None, seen: Seen) -> Event | None:
        """The event of a tag that says how a version was validated; None for a word that says: not yet."""
        outcome = self.validated(value)
        if outcome == "open":
            return None
        return Event(
            kind="validation", key=f"{target.model}/{target.version}:{tag}={value[:_TEXT]}{seen.mark}", ts=seen.since,
            ts_latest=seen.latest, outcome=outcome or "excluded",
            title=f"{target.model} {target.version}: {tag} is {value}"[:_TEXT],
            labels=labels_of({"model": target.model, "tag": tag, "said": value[:_TEXT], "from": seen.before[:_TEXT]}),
            revision=seen.rank, **self._made_of(target, run),
        )  # fmt: skip

    def validated(self, value: str) -> Outcome | None:
        """What the value of such a tag means, however it is spelt; None for an unknown one."""
        word = value.strip().lower().replace(" ", "_")
        return status_of(self.config, self.about, value) or status_of(self.config, self.about, word)

    # -- what it is called

    def reads(self, key: str) -> bool:
        """Whether a metric is wanted."""
        return matches(key, self.config.metrics) and not matches(key, self.config.ignore)

    def print_of(self, run: Run) -> str:
        """A short text that changes when anything of it that is told changes, as far as the list of runs shows it."""
        told, _ = self.run(run, Environment())
        version = self.registry.version_of(run)
        values = [[p.key, self._evaluates(run, p.key), p.at, p.step, p.value] for p in run.latest if self.reads(p.key)]
        asked = [self.config.artifacts, self.config.model_files]
        parts = [version and (version.model, version.version), sorted(values, key=repr), asked, *told]
        return hashlib.sha256(repr(parts).encode("utf-8", "replace")).hexdigest()[:12]

    def link(self, place: str) -> str:
        """The address of a page of the server, "" for files."""
        return f"{self.config.url.rstrip('/')}/#/{place}" if self.config.url.startswith("http") else ""

    def _series(self, run: Run, key: str) -> Series:
        version = self.registry.version_of(run)
        stage: Stage = "evaluation" if self._evaluates(run, key) else "training"
        number_of = version.version if version else ""
        return Series("sample", labels_of(self._labels(run)), name=key, version=number_of, stage=stage)

    def _evaluates(self, run: Run, key: str) -> bool:
        return run.evaluates or matches(key.lower(), tuple(glob.lower() for glob in self.config.evaluation))

    def _labels(self, run: Run) -> dict[str, str]:
        version = self.registry.version_of(run)
        return {"experiment": run.experiment, "run_name": run.name, "model": version.model if version else ""}

    def _made_of(self, version: Version, run: Run | None) -> dict[str, Any]:
        return {
            "version": version.version,
            "run": version.run,
            "commit": run.tags.get("mlflow.source.git.commit", "") if run else "",
            "data_version": data_version(run) if run else "",
            "url": self.link(f"models/{quote(version.model, safe='')}/versions/{quote(version.version)}"),
        }


def first_told(events: Iterable[Event], seen: dict[str, int]) -> list[Event]:
    """The events without data versions that a run as old or older told already; `seen` are their times by key."""
    found = [one for one in events if one.kind != "data_version" or one.ts < seen.get(one.key, one.ts + 1)]
    seen |= {one.key: one.ts for one in found if one.kind == "data_version"}
    return found


def data_version(run: Run) -> str:
    """The digests of the data that a run learned from, else what it calls its data itself."""
    learned = [one for one in run.datasets if one.context.lower().startswith("train")]
    learned = learned or [one for one in run.datasets if not one.context.lower().startswith(_EVALUATED)]
    told = ",".join(sorted({one.digest for one in learned}))
    return told or run.params.get("data_version") or run.tags.get("data_version", "")


def newest(points: Iterable[Point]) -> dict[str, float]:
    """The newest finite value of each metric: that of the last step, then time."""
    last = sorted((point for point in points if point.value is not None), key=lambda p: (p.step, p.at))
    return {point.key: point.value for point in last if point.value is not None}


def matches(name: str, globs: Sequence[str]) -> bool:
    """Whether a name is one of the globs."""
    return any(fnmatchcase(name, glob) for glob in globs)


def seconds(ms: int | None) -> int | None:
    """Epoch seconds, None for a time that is absent."""
    return ms // 1000 if ms is not None and _FIRST_MS <= ms <= _LAST_MS else None


def later(ms: int | None, until: int | None) -> bool:
    """Whether a time in milliseconds lies at or after `until`."""
    return ms is not None and until is not None and ms >= until * 1000


def _params(run: Run) -> dict[str, str]:
    return {f"param.{key}": run.params[key][:_TEXT] for key in sorted(run.params)[:_PARAMS]}


def _inputs(datasets: Iterable[Dataset]) -> dict[str, str]:
    titles = sorted({one.title for one in datasets})[:_INPUTS]
    return {f"input.{number}": title[:_TEXT] for number, title in enumerate(titles, 1)}


def _stage(version: Version) -> str:
    return "" if version.stage == "None" else version.stage


def _said(value: float | None) -> str:
    return "is not told" if value is None else f"is {value:.4g}"
