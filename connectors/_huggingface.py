"""One pull of what Hugging Face's tools leave in folders: output folders of a Trainer, and model cards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from connectors import _trainer
from connectors._files import load_json, text
from connectors._first_seen import Seen, seen
from connectors._model_card import Result, front_of, results_of
from connectors._said import Said
from connectors._trainer import (
    Point,
    Run,
    State,
    is_result,
    is_state,
    model_of,
    points_of,
    runs_of,
    state_of,
)
from tandem.connect import Item, Pull, SourceRefused
from tandem.records import Event, Fact, Page, Ratio, Record, Sample, Series, Slice, bucket_of, labels_of

if TYPE_CHECKING:
    from connectors.huggingface import Config


def is_card(head: bytes) -> bool:
    """Whether a file is a card with results in its front matter, and not of scikit-learn."""
    if not head.startswith(b"---"):
        return False
    front = head[3:].partition(b"\n---")[0]
    lines = [line.strip() for line in front.splitlines()]
    libraries = [line.partition(b":")[2].strip(b" \"'") for line in lines if line.startswith(b"library_name:")]
    return b"model-index:" in lines and not {b"sklearn", b"scikit-learn", b"skops"} & set(libraries)


@dataclass(frozen=True)
class _Told:
    """What is said of a run: its name, its labels, and the step that it reached."""

    run: str
    labels: Mapping[str, str]
    step: int = 0


@dataclass
class Reading:
    """One pull of output folders and cards."""

    config: Config
    pull: Pull
    said: Said
    alone: bool = False
    stamps: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        self.stamps = dict(state.get("stamps", {}))

    def pages(self, found: list[Item]) -> Iterator[Page]:
        """What is new in them."""
        for one in found:
            if one.path.is_dir():
                yield from self._folder(one)
            else:
                yield from self._file(one)
        state = None if self.alone else {"stamps": self.stamps}
        yield Page(state=state, findings=self.said.findings(self.config.common.name))

    def _folder(self, whole: Item) -> Iterator[Page]:
        for run in runs_of(whole.entries):
            name = whole.path.absolute().name if run.folder == "." else run.folder
            self.pull.progress(name, None)
            yield from self._new(whole, run, name)
        for entry in whole.entries:
            if PurePosixPath(entry).name == "README.md":
                one = whole.child(entry)
                if is_card(one.head) and self._changed(str(one.path), [one]):
                    yield from self._fenced(self._card(one))

    def _file(self, one: Item) -> Iterator[Page]:
        folder = _folder_of(one)
        if is_state(one.head):
            yield from self._run([one], [], _Told(folder, {"run": folder}))
        elif is_result(one.head):
            yield from self._run([], [one], _Told(folder, {"run": folder}))
        else:
            yield from self._card(one)

    def _changed(self, place: str, files: Sequence[Item]) -> bool:
        """Whether any of some files is not as it was when they were read last; that is remembered."""
        states = [one.path.stat() for one in files]
        stamp = ";".join(f"{state.st_size}:{state.st_mtime_ns}" for state in states)
        key, digest = _short(place), _short(stamp)
        if any(one.modified >= self.pull.until for one in files) or self.stamps.get(key) == digest:
            return False
        self.stamps[key] = digest
        return True

    def _fenced(self, pages: Iterator[Page]) -> Iterator[Page]:
        """Pages up to where a file cannot be used, which is counted."""
        try:
            yield from pages
        except SourceRefused as no:
            self.said.reject(str(no))

    # -- output folders

    def _new(self, whole: Item, run: Run, name: str) -> Iterator[Page]:
        """What is new of one output folder."""
        states, results = [whole.child(one) for one in run.states], [whole.child(one) for one in run.results]
        is_open = any(event.key == name or event.key.startswith(f"{name} (") for event in self.pull.open)
        if self._changed(str(whole.path / run.folder), [*states, *results]) or is_open:
            told = _Told(name, {"run": name, "model": self._model(whole, run)})
            pages = self._run(states, results, told)
            yield from pages if self.alone else self._fenced(pages)

    def _model(self, whole: Item, run: Run) -> str:
        entry = "config.json" if run.folder == "." else f"{run.folder}/config.json"
        if entry not in whole.entries:
            return ""
        try:
            return model_of(load_json(whole.child(entry)))
        except SourceRefused:
            return ""

    def _run(self, states: Sequence[Item], results: Sequence[Item], told: _Told) -> Iterator[Page]:
        found = [(state, one) for one in states if (state := self._state(one)) is not None]
        if found:
            state, one = max(found, key=lambda pair: (pair[0].step, len(pair[0].history), pair[1].modified))
            known = seen(self.pull, f"log:{told.run}", state.rows(), _time(one))
            if known is not None:
                told = replace(told, run=known.name(told.run), step=state.step)
                yield from self._log(state, known, told)
        yield from self._results(results, told)

    def _log(self, state: State, known: Seen, told: _Told) -> Iterator[Page]:
        """The log of the state that went furthest, and what became of the training."""
        self.said.remark("the log of a Trainer says no times; of its entries the time counts at which they were seen")
        yield Page(slice=known.mark)
        for stretch in known.stretches:
            if stretch.is_new or self.pull.first or self.alone:
                points = [point for row in state.history[stretch.begin : stretch.end] for point in points_of(row)]
                yield Page(list(self._samples(points, stretch.ts, told)), slice=stretch.slice)
        yield Page([self._training(state, known.since, known.until, told)])

    def _state(self, one: Item) -> State | None:
        try:
            return state_of(load_json(one, _undefined))
        except SourceRefused as no:
            if self.alone:
                raise
            self.said.reject(str(no))
            return None

    def _samples(self, points: Sequence[Point], ts: int, told: _Told) -> Iterator[Sample]:
        for point in points:
            if point.value is None:
                self.said.reject(f'a value of "{point.name[:60]}" that is no finite number')
            else:
                series = Series("sample", labels_of(told.labels), name=point.name, version=self.config.version)
                yield Sample(replace(series, stage=point.stage), ts, point.value, told.run, point.step or told.step)

    def _training(self, state: State, since: int, last: int, told: _Told) -> Event:
        runtime = state.runtime
        word = "quiet" if self.pull.now - last >= self.config.quiet else "writing"
        word = word if runtime is None else "finished"
        outcome = self.said.outcome(word)
        began = since if runtime is None else last - round(runtime)
        params = {f"param.{name}": value[:200] for name, value in state.params.items()}
        return Event(
            "training", told.run, began, started=None if runtime is None else began,
            ended=None if runtime is None else last, outcome=outcome, run=told.run, version=self.config.version,
            title=f"{told.run}: {state.step} steps", labels=labels_of({**told.labels, **params, "said": word}),
            revision=last * 2 + (outcome != "open"),
        )  # fmt: skip

    # -- results

    def _results(self, files: Sequence[Item], told: _Told) -> Iterator[Page]:
        """The results of a run, each number once: all_results.json holds what the other files do."""
        known: set[tuple[str, float | None]] = set()
        counted: set[str] = set()
        for one in sorted(files, key=lambda one: one.name):
            found = _trainer.results_of(load_json(one, _undefined))
            if found is None:
                raise SourceRefused(f"{one.name} holds no results of a Trainer.")
            for remark in found.remarks:
                self.said.remark(f"{PurePosixPath(one.name).name}: {remark}")
            for word, counts in found.correct.items():
                series = Series("correct", labels_of(told.labels), version=self.config.version, stage="evaluation")
                # The same numbers in another file of the run are the same evaluation.
                name = f"{word}:{told.run}:{counts[0]}:{counts[1]}"
                if name not in counted:
                    counted.add(name)
                    yield Page([Fact(series, bucket_of(_time(one)), Ratio(*counts))], slice=Slice(name, "1"))
            fresh = [point for point in found.points if (point.name, point.value) not in known]
            known |= {(point.name, point.value) for point in fresh}
            if fresh:
                digest = _short(repr([(point.name, point.value) for point in fresh]))
                samples = list(self._samples(fresh, _time(one), told))
                yield Page(samples, slice=Slice(f"results:{told.run}:{digest}", digest))

    # -- cards

    def _card(self, one: Item) -> Iterator[Page]:
        """The results of a card; raises SourceRefused where it has none."""
        written = text(one)
        found = list(results_of(front_of(written, one.name)))
        if not found:
            raise SourceRefused(f"{one.name} has no results in its front matter.")
        run = _folder_of(one)
        self.said.remark("a card says no time; that of its file is taken, or give --at")
        records: list[Record] = [sample for result in found for sample in self._result(result, run, _time(one))]
        digest = _short(written)
        yield Page(records, slice=Slice(f"card:{run}:{digest}", digest))

    def _result(self, result: Result, run: str, ts: int) -> Iterator[Sample]:
        if result.note:
            self.said.remark(f'a card writes "{result.note[:30]}" behind a number; the number stays as it is')
        if result.value is None:
            self.said.reject(f'the metric "{result.metric[:60]}" of a card is no number')
            return
        labels = labels_of({"run": run, "model": result.model, "task": result.task, "dataset": result.dataset,
                            "split": result.split})  # fmt: skip
        series = Series("sample", labels, name=result.title, version=self.config.version, stage="evaluation")
        yield Sample(series, ts, result.value, run)


def _folder_of(one: Item) -> str:
    """The folder that a file lies in; of one in an archive the folder there, else the archive."""
    if one.path.name == PurePosixPath(one.name).name:
        return one.path.absolute().parent.name
    return PurePosixPath(one.name).parent.name or one.path.stem


def _time(one: Item) -> int:
    return one.given.at if one.given.at is not None else one.modified


def _short(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


def _undefined(word: str) -> None:
    """A number that is none is written as NaN."""
