"""What commits that changed DVC's files tell: trainings, versions of data, values and counts, and GTO's tags."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from connectors import _dvc, _dvc_values, _yaml
from connectors._dvc import PARAMS, Held, Kind, Pipeline, Stage
from connectors._dvc_history import Change, Files, Look
from connectors._dvc_values import Unreadable, Values
from connectors._said import Said
from tandem.connect import SourceRefused
from tandem.records import Confusion, Event, Fact, Ratio, Record, Sample, Series, bucket_of, labels_of

if TYPE_CHECKING:
    from connectors.dvc import Config

_TEXT = 200
_REMEMBERED = 200
_LOCK, _YAML, _DATA = "dvc.lock", "dvc.yaml", ".dvc"


@dataclass(frozen=True)
class Unit:
    """Records that count once under a name, wherever else they are told again; "" for values, which repeat."""

    name: str
    records: tuple[Record, ...]


@dataclass(frozen=True)
class Made:
    """What a model comes from: a run, the data it was run on, and the hash of what it made; "" where unknown."""

    run: str = ""
    data_version: str = ""
    digest: str = ""


@dataclass
class Then:
    """DVC's files at one time: what is declared, and every stage as it was run last."""

    declared: dict[str, Pipeline] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)
    files: list[tuple[Change, Kind]] = field(default_factory=list)
    """Metrics and plots that are new, and those of the stages of a new dvc.lock, which may have come out the same."""

    def model(self, stage: Stage) -> str:
        """The artifact that a stage makes."""
        outs = {one.path for one in stage.outs}
        names = (name for one in self.declared.values() for name, path in one.models.items() if path in outs)
        return next(names, "")


@dataclass
class Telling:
    """Reads looks in batches."""

    config: Config
    files: Files
    said: Said
    _known: dict[str, bytes] = field(default_factory=dict)
    _code: set[str] = field(default_factory=set)
    _read: dict[bytes, object] = field(default_factory=dict)
    """Documents by their bytes: of one commit's dvc.lock the next one asks again."""

    def of(self, looks: Sequence[Look]) -> Iterator[tuple[Look, list[Unit]]]:
        """What each look tells."""
        self._known = self.files.contents(
            look.file(posixpath.join(folder, name))
            for look in looks for folder in _folders(look) for name in (_LOCK, _YAML)
        )  # fmt: skip
        thens = [self._then(look, _folders(look)) for look in looks]
        self._known |= self.files.contents(
            name for look, then in zip(looks, thens, strict=True) for name in _wanted(look, then)
        )
        self._code = self.files.there(
            look.file(one.path) for look, then in zip(looks, thens, strict=True)
            for stage in then.stages for one in (*stage.deps, *stage.outs)
        )  # fmt: skip
        for look, then in zip(looks, thens, strict=True):
            yield look, list(self._units(look, then))

    # -- as it was then

    def _then(self, look: Look, folders: Iterable[str]) -> Then:
        found = Then()
        for folder in folders:
            raw = self._document(look.file(posixpath.join(folder, _YAML)), posixpath.join(folder, _YAML))
            found.declared[folder] = _dvc.pipeline(raw, folder)
            found.stages += self._stages(look.file(posixpath.join(folder, _LOCK)), folder, found.declared[folder])
        changed = {change.path for change in look.changes}
        locked = [stage for stage in found.stages if posixpath.join(stage.folder, _LOCK) in changed]
        same = [Change(one.path, look.file(one.path), changed=False)
                for stage in locked for one in stage.outs if one.path not in changed]  # fmt: skip
        for change in (*look.changes, *same):
            kind = _dvc.kind_of(change.path, found.declared.values())
            if kind is not None:
                found.files.append((change, kind))
        return found

    def _stages(self, name: str, folder: str, declared: Pipeline) -> list[Stage]:
        return _dvc.stages(self._document(name, posixpath.join(folder, _LOCK)), folder, declared)

    def _document(self, name: str, path: str) -> object:
        data = self._known.get(name)
        if not data:
            return None
        if data not in self._read:
            if len(self._read) >= _REMEMBERED:
                self._read.clear()
            try:
                self._read[data] = _yaml.document(data.decode("utf-8", "replace"), path[:_TEXT])
            except SourceRefused as no:
                self.said.reject(str(no).rstrip("."))
                self._read[data] = None
        return self._read[data]

    # -- what is new in it

    def _units(self, look: Look, then: Then) -> Iterator[Unit]:
        training = _dvc.trainings(then.stages, self.config.stages)
        trained: set[str] = set()
        for change in look.changes:
            folder, base = posixpath.split(change.path)
            if base == _LOCK:
                new = self._new(change, folder, then)
                for stage in new:
                    if stage in training:
                        trained.add(stage.run)
                        yield self._training(look, stage, then)
                yield from self._data(look, self._data_of(look, new, training), change.path)
            elif base.endswith(_DATA) and self._known.get(change.blob):
                held = _dvc.tracked(self._document(change.blob, change.path), folder)
                yield from self._data(look, held, change.path)
        if not trained:
            yield from self._live(look, then)
        yield from self._values(look, then, training, trained)

    def _new(self, change: Change, folder: str, then: Then) -> list[Stage]:
        """The stages of a dvc.lock that were run anew: they are as in none of its parents."""
        declared = then.declared.get(folder, Pipeline())
        before = {one.run for name in change.before for one in self._stages(name, folder, declared)}
        return [one for one in then.stages if one.folder == folder and one.run not in before]

    def _held(self, look: Look, some: Iterable[Held]) -> list[Held]:
        """Those that git itself does not hold: data and models."""
        return [one for one in some if look.file(one.path) not in self._code]

    def _inputs(self, look: Look, stage: Stage) -> list[Held]:
        return self._held(look, stage.deps)

    def _data_of(self, look: Look, new: Sequence[Stage], training: Sequence[Stage]) -> list[Held]:
        """What new stages read, and what they made for others; but no model."""
        made = {one.path for stage in training for one in stage.outs}
        read = [one for stage in new for one in stage.deps]
        return [one for one in self._held(look, read) if one.path not in made]

    def _data(self, look: Look, some: Iterable[Held], file: str) -> Iterator[Unit]:
        for one in some:
            labels = labels_of({"data": one.path, "bytes": one.size, "file": file})
            event = Event("data_version", one.key, look.ts, commit=look.sha, data_version=one.hash,
                          actor=look.actor[:_TEXT], title=f"{one.path} is {one.hash[:12]}"[:_TEXT],
                          labels=labels)  # fmt: skip
            yield Unit(f"data_version:{one.key}", (event,))

    def _training(self, look: Look, stage: Stage, then: Then) -> Unit:
        params = {f"param.{name}": value for name, value in sorted(stage.params.items())[:PARAMS]}
        told = {"stage": stage.name, "path": stage.folder, "model": then.model(stage), "said": "committed", **params}
        made = self._made(look, stage, then)
        event = Event(
            "training", stage.run, look.ts, outcome=self.said.outcome("committed"), commit=look.sha, run=stage.run,
            version=self.config.version, actor=look.actor[:_TEXT], title=_title(stage.name, look),
            data_version=made.data_version, digest=made.digest, labels=labels_of(told),
        )  # fmt: skip
        return Unit(f"training:{event.key}", (event,))

    def _made(self, look: Look, stage: Stage, then: Then) -> Made:
        """The data that a stage was run on, and the hash of the model that it made, where it made one."""
        versions = sorted({one.hash for one in self._inputs(look, stage)})
        made = self._held(look, stage.outs)
        paths = {path for one in then.declared.values() for path in one.models.values()}
        named = [one for one in made if one.path in paths] or made
        return Made(stage.run, ",".join(versions)[:_TEXT], named[0].hash if len(named) == 1 else "")

    def _live(self, look: Look, then: Then) -> Iterator[Unit]:
        """A training that only dvclive tells of: no stage of a dvc.lock was run for it."""
        for change, kind in then.files:
            data = self._known.get(change.blob)
            if kind.plot is None and kind.live and data is not None and not _stage_of(change.path, then.stages):
                run = _live_run(kind.live, data)
                params = self._document(look.file(f"{kind.live}/params.yaml"), f"{kind.live}/params.yaml")
                labels = {"stage": posixpath.basename(kind.live), "path": posixpath.dirname(kind.live),
                          "said": "committed",
                          **{f"param.{name}": value for name, value in sorted(_dvc.flat(params))[:PARAMS]}}  # fmt: skip
                event = Event("training", run, look.ts, outcome=self.said.outcome("committed"), commit=look.sha,
                              run=run, version=self.config.version, actor=look.actor[:_TEXT],
                              title=_title(kind.live, look), labels=labels_of(labels))  # fmt: skip
                yield Unit(f"training:{run}", (event,))

    # -- values

    def _values(self, look: Look, then: Then, training: Sequence[Stage], trained: Collection[str]) -> Iterator[Unit]:
        read: list[tuple[Change, str, Kind, Values]] = []
        for change, kind in then.files:
            data = self._known.get(change.blob)
            run = self._run(look, change, kind, then, training)
            if not change.changed and run not in trained:
                continue
            try:
                if data is not None:
                    read.append((change, run, kind, _dvc_values.values(change.path, data, kind, self.config.labels)))
            except Unreadable as no:
                self.said.reject(f"{change.path[:_TEXT]} is passed over: {no}")
        known: set[tuple[str, str, int]] = set()
        counted: set[tuple[int, int]] = set()
        for file in sorted(read, key=lambda one: not one[3].told.cells):
            yield from self._counts(look, file, then, counted)
        # Histories first: the last value of each stands again in the metrics.
        for change, run, kind, found in sorted(read, key=lambda one: (one[2].plot is None, one[0].path)):
            labels = self._labels(change, kind, then)
            samples = [self._sample(look, labels, point, run) for point in found.points
                       if (run, point.name, point.step) not in known]  # fmt: skip
            known |= {(run, point.name, point.step) for point in found.points}
            if found.absent:
                self.said.reject(f"{change.path[:_TEXT]} holds values that are no finite number")
            if samples:
                yield Unit("", tuple(samples))

    def _labels(self, change: Change, kind: Kind, then: Then) -> dict[str, str]:
        """Of a value of dvclive those of its metrics: the last of a history is the same value again."""
        stage = _stage_of(change.path, then.stages)
        if kind.live:
            named = {"file": f"{kind.live}/metrics.json", "stage": posixpath.basename(kind.live)}
            return {**named, "path": posixpath.dirname(kind.live)}
        return {"file": change.path, "stage": stage.name if stage else "",
                "path": stage.folder if stage else posixpath.dirname(change.path)}  # fmt: skip

    def _sample(self, look: Look, labels: dict[str, str], point: _dvc_values.Point, run: str) -> Sample:
        trains = any(fnmatchcase(point.name.lower(), glob.lower()) for glob in self.config.training)
        series = Series("sample", labels_of(labels), name=point.name, version=self.config.version,
                        stage="training" if trains else "evaluation")  # fmt: skip
        return Sample(series, look.ts if point.ms is None else point.ms / 1000, point.value, run, point.step)

    def _counts(
        self, look: Look, file: tuple[Change, str, Kind, Values], then: Then, counted: set[tuple[int, int]]
    ) -> Iterator[Unit]:
        change, run, kind, found = file
        told = found.told
        for remark in told.remarks:
            self.said.remark(f"{change.path[:_TEXT]}: {remark}")
        if not told.counted[0]:
            return
        if told.counted in counted:
            self.said.remark("two files of one commit tell the same counts; they count once")
            return
        counted.add(told.counted)
        series = Series("outcome", labels_of(self._labels(change, kind, then)), version=self.config.version,
                        stage="evaluation")  # fmt: skip
        value = Confusion(dict(told.cells)) if told.cells else Ratio(*(told.correct or (0, 0)))
        fact = Fact(series if told.cells else replace(series, signal="correct"), bucket_of(look.ts), value)
        by = "" if run == look.sha else run
        yield Unit(f"counts:{change.path}:{by}:{_short(self._known[change.blob])}", (fact,))

    def _run(self, look: Look, change: Change, kind: Kind, then: Then, training: Sequence[Stage]) -> str:
        """The training that a file is of: that of its stage, or the only one there is; else its commit."""
        stage = _stage_of(change.path, then.stages)
        mine = [stage] if stage is not None and stage in training else training
        if len(mine) == 1:
            return mine[0].run
        data = self._known.get(look.file(f"{kind.live}/metrics.json")) if kind.live else None
        return _live_run(kind.live, data) if data is not None else look.sha or change.path

    # -- GTO

    def at_tag(self, sha: str, model: str) -> Made:
        """The run, the data and the hash of a model as of a commit, as far as its dvc.lock tells."""
        folder, colon, name = model.rpartition(":")
        look = Look(sha, 0, ())
        self._known = self.files.contents(look.file(posixpath.join(folder, one)) for one in (_LOCK, _YAML))
        then = self._then(look, [folder])
        path = then.declared[folder].models.get(name if colon else model)
        training = _dvc.trainings(then.stages, self.config.stages)
        stage = _stage_of(path, then.stages) if path else None
        if stage is None and len(training) == 1:
            stage = training[0]
        if stage is None:
            return Made()
        self._code = self.files.there(look.file(one.path) for one in (*stage.deps, *stage.outs))
        return self._made(look, stage, then)


def _folders(look: Look) -> list[str]:
    """The folders in which a pipeline may stand: those above what changed."""
    found: dict[str, None] = {"": None}
    for change in look.changes:
        parts = change.path.split("/")[:-1]
        found |= {"/".join(parts[:n]): None for n in range(1, min(len(parts), 8) + 1)}
    return list(found)


def _wanted(look: Look, then: Then) -> Iterator[str]:
    for change in look.changes:
        if posixpath.basename(change.path) == _LOCK:
            yield from change.before
        elif change.path.endswith(_DATA):
            yield change.blob
    for change, kind in then.files:
        yield change.blob
        if kind.live:
            yield from (look.file(f"{kind.live}/{name}") for name in ("params.yaml", "metrics.json"))


def _stage_of(path: str, stages: Iterable[Stage]) -> Stage | None:
    """The stage that makes a file, or the folder that it lies in."""
    for stage in stages:
        if any(path == one.path or path.startswith(f"{one.path}/") for one in stage.outs):
            return stage
    return None


def _title(name: str, look: Look) -> str:
    return (f"{name}: {look.title}" if look.title else name)[:_TEXT]


def _live_run(folder: str, data: bytes) -> str:
    return f"{folder}@{_short(data)}"


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]
