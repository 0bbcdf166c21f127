"""Runs of Kubeflow Pipelines as trainings, validations, samples and counted evaluations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from connectors._fields import Raw, finite, inside, rows_of, text_of, whole
from connectors._kubeflow import FINAL, REUSED, Artifact, Run, Task, text_of_value
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import Confusion, Event, Fact, Outcome, Page, Sample, Series, Slice, Stage, bucket_of, labels_of

STATUS: Mapping[str, Outcome] = {
    "SUCCEEDED": "good",
    "FAILED": "bad",
    "SKIPPED": "excluded",
    "CANCELED": "excluded",
    "CACHED": "excluded",
    "PENDING": "open",
    "RUNNING": "open",
    "CANCELING": "open",
    "PAUSED": "open",
    "RUNTIME_STATE_UNSPECIFIED": "open",
    "Succeeded": "good",
    "Failed": "bad",
    "Error": "bad",
    "Terminated": "excluded",
    "Skipped": "excluded",
    "Omitted": "excluded",
    "Pending": "open",
    "Running": "open",
}
"""The states of the API, and behind them the phases of a workflow."""
FOREVER = 1 << 40
_PARAMS = 30
_LISTED = 10
_TEXT = 200
_CLASSES = 1000
_DATA, _MADE = ("Dataset",), ("Dataset", "Model")
_SCALAR, _MATRIX, _SLICED = "Metric", "ClassificationMetric", "SlicedClassificationMetric"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a run: whoever retries a run gives it another."""

    number: int
    word: str
    started: int | None
    ended: int | None


def attempts(run: Run) -> list[Attempt]:
    """The attempts of a run by its history: after a final state another begins with a state that is not."""
    pieces: list[list[tuple[int, str]]] = [[]]
    for ts, word in run.history:
        if pieces[-1] and pieces[-1][-1][1] in FINAL and word not in FINAL:
            pieces.append([])
        pieces[-1].append((ts, word))
    found = []
    for place, piece in enumerate(pieces):
        last = place == len(pieces) - 1
        word = run.word if last else piece[-1][1]
        ended = next((ts for ts, said in reversed(piece) if said == word), None)
        if last and run.finished is not None:
            ended = run.finished
        found.append(Attempt(place + 1, word, _begun(run, piece, place), ended))
    return found


def _begun(run: Run, piece: Sequence[tuple[int, str]], place: int) -> int | None:
    running = next((ts for ts, word in piece if word == "RUNNING"), None)
    if running is None and place > 0:
        return piece[0][0]
    if running is None:
        running = min((task.started for task in run.tasks or () if task.started is not None), default=None)
    return running


@dataclass(frozen=True, slots=True)
class Data:
    """What a run read and what it wrote."""

    read: tuple[Artifact, ...]
    written: tuple[Artifact, ...]

    @property
    def version(self) -> str:
        """The versions that are stated of the data that was read."""
        stated = {one.version for one in self.read if one.kind in _DATA}
        return ",".join(sorted(stated - {""}))[:_TEXT]

    @property
    def digest(self) -> str:
        """The digest of the one model that was written; "" where none or several are stated."""
        stated = {one.digest for one in self.written if one.kind == "Model"} - {""}
        return stated.pop() if len(stated) == 1 else ""


def data_of(run: Run) -> Data:
    """What no task of this run wrote was read: what an importer brought in, and what came from the cache."""
    written: dict[str, Artifact] = {}
    read: dict[str, Artifact] = {}
    for task in run.tasks or ():
        mine = written if task.kind != "IMPORTER" and task.word not in REUSED else read
        mine.update((one.id or one.place, one) for one in task.outputs if one.kind in _MADE)
    for task in run.tasks or ():
        read.update((one.id or one.place, one) for one in task.inputs if one.kind in _DATA)
    kept = [one for key, one in read.items() if key not in written]
    order = lambda one: (one.place, one.id)  # noqa: E731
    return Data(tuple(sorted(kept, key=order)), tuple(sorted(written.values(), key=order)))


@dataclass
class Words(Said):
    """What the source says, as it stood just before `until` (epoch seconds)."""

    until: int = FOREVER
    meanings = STATUS

    def goes_on(self, run: Run) -> bool:
        """Whether more is to come; a state that nobody knows is final."""
        return self.meaning(run.word) == "open"

    def over(self, run: Run) -> bool:
        """Whether all that a run says happened before `until`."""
        times = [run.finished, *(ts for ts, _ in run.history)]
        for task in run.tasks or ():
            times += [task.ended, *(one.created for one in task.outputs)]
        return all(ts is None or ts < self.until for ts in times)

    # -- events

    def trainings(self, run: Run) -> Iterator[Event]:
        """One event per attempt of a run."""
        data, told = data_of(run), attempts(run)
        for attempt in told:
            if run.created < self.until and (attempt.number == 1 or (attempt.started or 0) < self.until):
                yield self._training(run, attempt, data if attempt is told[-1] else Data(data.read, ()))

    def _training(self, run: Run, attempt: Attempt, data: Data) -> Event:
        outcome, started, ended = self._stood(attempt.word, run.created, attempt.started, attempt.ended)
        return Event(
            "training",
            run.id,
            run.created,
            started=started,
            ended=ended,
            outcome=outcome,
            attempt=attempt.number,
            commit=run.version.commit,
            digest=data.digest if outcome == "good" else "",
            run=run.id,
            data_version=self._data_version(run, data),
            # Nothing tells whether a person or a program asked for a run that no schedule made.
            trigger="schedule" if run.recurring else "manual",
            title=(run.title or run.id)[:_TEXT],
            url=self.page(run),
            labels=labels_of({**self._labels(run), **_written(run, data), "status": self._status(attempt, outcome)}),
            revision=4 * max(run.created, started or 0, ended or 0) + 2 * (outcome != "open") + run.detailed,
        )

    def _stood(
        self, word: str, created: int, started: int | None, ended: int | None
    ) -> tuple[Outcome, int | None, int | None]:
        """Outcome, beginning and end as they stood before `until`."""
        outcome = self.outcome(word)
        if ended is not None and ended >= self.until and outcome != "open":
            outcome = "open"
        started = started if started is not None and created <= started < self.until else None
        if outcome == "open" or (ended is not None and ended < (started or created)):
            ended = None
        return outcome, started, ended

    def _status(self, attempt: Attempt, outcome: Outcome) -> str:
        return attempt.word if outcome != "open" else ""

    def validations(self, run: Run) -> Iterator[Event]:
        """The tasks that the configuration calls validations, once they have ended."""
        data = data_of(run)
        for task in run.tasks or ():
            begun = task.created or task.started
            if not task.id or begun is None or begun >= self.until or not self._validates(task):
                continue
            outcome, started, ended = self._stood(task.word, begun, task.started, task.ended)
            yield Event(
                "validation",
                f"{run.id}/{task.id}",
                begun,
                started=started,
                ended=ended,
                outcome=outcome,
                attempt=task.attempt,
                commit=run.version.commit,
                run=run.id,
                data_version=self._data_version(run, data),
                title=f"{task.name}: {run.title or run.id}"[:_TEXT],
                url=self.page(run),
                labels=labels_of({**self._labels(run), "task": task.name, "status": task.word}),
                revision=4 * max(begun, started or 0, ended or 0) + 2 * (outcome != "open") + run.detailed,
            )

    def _validates(self, task: Task) -> bool:
        return not task.name.endswith("-driver") and fits([task.name], self.config.validations)

    def _data_version(self, run: Run, data: Data) -> str:
        return data.version or text_of_value(run.parameters.get("data_version", ""))[:_TEXT]

    def _labels(self, run: Run) -> dict[str, object]:
        return {
            "pipeline": run.pipeline or run.pipeline_id,
            "pipeline_version": run.version.name,
            "experiment": run.experiment or run.experiment_id,
            "namespace": run.namespace or self.config.namespace,
        }

    def page(self, run: Run) -> str:
        """Where people see a run."""
        base = (self.config.web or self.config.url).rstrip("/")
        return f"{base}/#/runs/details/{run.id}" if base.startswith("http") else ""

    # -- numbers

    def samples(self, run: Run) -> Iterator[Sample]:
        """The scalar metrics of a run; what came from the cache belongs to the run that made it."""
        for task, one in _results(run, _SCALAR):
            ts = self._time(run, task, one)
            if ts is None or ts >= self.until:
                continue
            for name, value in _numbers(one):
                number = finite(value)
                if number is None:
                    self.reject(f'the metric "{name[:60]}" is no finite number')
                    continue
                series = self._series("sample", run, task, name, default="training")
                yield Sample(series, ts, number, run.id)

    def outcomes(self, run: Run) -> list[Fact]:
        """The confusion matrices of a run that hold counts, each series of a bucket once."""
        found: dict[tuple[Series, int], Confusion] = {}
        for task, one in [*_results(run, _MATRIX), *_results(run, _SLICED)]:
            ts = self._time(run, task, one)
            if ts is None or ts >= self.until:
                continue
            for segment, matrix in _matrices(one):
                cells = self._cells(matrix, one)
                if cells is None:
                    continue
                series = self._series("outcome", run, task, one.key or one.name, segment, default="evaluation")
                key = (series, bucket_of(ts))
                found[key] = found.get(key, Confusion({})) + cells
        return [Fact(series, ts, cells) for (series, ts), cells in found.items()]

    def _series(
        self, signal: str, run: Run, task: Task, name: str, segment: str = "", default: Stage = "training"
    ) -> Series:
        labels = {**self._labels(run), "task": task.name}
        labels.pop("pipeline_version")
        place = f"{task.name}/{name}".lower()
        stage = default
        if fits([place], [glob.lower() for glob in self.config.evaluation]):
            stage = "evaluation"
        elif fits([place], [glob.lower() for glob in self.config.training]):
            stage = "training"
        if signal == "sample":
            return Series(signal, labels_of(labels), name=name, stage=stage)
        return Series(signal, labels_of({**labels, "metrics": name}), segment=segment, stage=stage)

    def _time(self, run: Run, task: Task, one: Artifact) -> int | None:
        known = (one.created, task.ended, run.finished)
        return next((ts for ts in known if ts is not None), None)

    def _cells(self, matrix: Raw, one: Artifact) -> Confusion | None:
        """The counts of a matrix whose rows are the actual classes; None where it holds no counts."""
        classes = [text_of(spec, "displayName") for spec in rows_of(matrix, "annotationSpecs")]
        rows = [row.get("row") for row in rows_of(matrix, "rows")]
        if not classes or len(set(classes)) != len(classes) or len(classes) > _CLASSES or len(rows) != len(classes):
            self.reject(f'the confusion matrix "{(one.key or one.name)[:60]}" has other rows than classes')
            return None
        cells: dict[tuple[str, str], int] = {}
        for actual, row in zip(classes, rows, strict=True):
            counts = [whole(cell) for cell in row] if isinstance(row, list) and len(row) == len(classes) else [None]
            if None in counts:
                self.reject(f'the confusion matrix "{(one.key or one.name)[:60]}" holds no counts; shares do not add')
                return None
            cells.update(((actual, predicted), n) for predicted, n in zip(classes, counts, strict=True) if n)
        return Confusion(cells) if cells else None


def counted(run: Run, words: Words, pull: Pull) -> Iterator[Page]:
    """The counts of a run, as a piece of its own: other runs of the same five minutes add to them."""
    facts = words.outcomes(run)
    told = sorted(repr((fact.series, fact.ts, sorted(fact.value.cells.items()))) for fact in facts
                  if isinstance(fact.value, Confusion))  # fmt: skip
    digest = hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()[:24] if told else "none"
    before = pull.taken(f"run:{run.id}")
    if before != digest and (facts or before is not None):
        yield Page(facts, slice=Slice(f"run:{run.id}", digest))


def fits(names: Sequence[str], globs: Sequence[str]) -> bool:
    """Whether any of the names matches any of the globs."""
    return any(fnmatchcase(name, glob) for name in names for glob in globs)


def _results(run: Run, kind: str) -> Iterator[tuple[Task, Artifact]]:
    """The artifacts of a kind that tasks of this run made, each once: what holds a task repeats its outputs."""
    seen: set[str] = set()
    tasks = sorted(run.tasks or (), key=lambda task: task.kind in ("ROOT", "DAG", "LOOP", "CONDITION_BRANCH"))
    for task in tasks:
        for one in task.outputs if task.word not in REUSED else ():
            if one.kind == kind and (not one.id or one.id not in seen):
                seen.add(one.id)
                yield task, one


def _numbers(one: Artifact) -> Iterator[tuple[str, Any]]:
    """Name and value of a metric; an older one holds several numbers as its metadata."""
    if one.value is not None:
        yield one.name or one.key, one.value
        return
    for name, value in sorted(one.metadata.items()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield name, value


def _matrices(one: Artifact) -> Iterator[tuple[str, Raw]]:
    """Segment and confusion matrix; in ML Metadata a list and an object lie within one more object."""
    if one.kind == _MATRIX:
        matrix = _bare(one.metadata, "confusionMatrix", "struct")
        if matrix:
            yield "", matrix
        return
    slices = one.metadata.get("evaluationSlices")
    if isinstance(slices, dict):
        slices = slices.get("list")
    for told in slices if isinstance(slices, list) else ():
        matrix = _bare(inside(told, "sliceClassificationMetrics"), "confusionMatrix", "struct")
        name = text_of(told, "slice") if isinstance(told, dict) else ""
        if matrix and name:
            yield f"slice={name}", matrix


def _bare(raw: Raw, name: str, wrapper: str) -> Raw:
    found = inside(raw, name)
    return inside(found, wrapper) or found


def _written(run: Run, data: Data) -> dict[str, object]:
    """Labels of a training: its parameters, its data, its images, and what plugins say."""
    labels: dict[str, object] = {"recurring_run": run.recurring}
    for name in sorted(run.parameters)[:_PARAMS]:
        labels[f"param.{name}"] = text_of_value(run.parameters[name])[:_TEXT]
    for word, some in (("input", [one for one in data.read if one.kind in _DATA]), ("output", data.written)):
        labels[f"{word}s"] = len(some) or None
        for place, one in enumerate(some[:_LISTED], 1):
            labels[f"{word}.{place}"] = one.place[:_TEXT]
            labels[f"{word}.{place}.version"] = one.version[:_TEXT]
    images = run.version.images
    # Only an image with a digest is the same tomorrow.
    pinned = bool(images) and all("@sha256:" in image for image in images)
    labels["image" if pinned else "images"] = ", ".join(images)[: 2 * _TEXT]
    for name in sorted(run.plugins)[:_LISTED]:
        labels[f"plugin.{name}"] = run.plugins[name][:_TEXT]
    return labels
