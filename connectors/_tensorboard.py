"""One pull of training logs: what is new in each file, what a restart has made void, and what became of each run.

A file is read from the byte at which it ended before. Where a later file of the same run begins a tag anew at a step,
what was logged before at that step or later is void, as in TensorBoard: it is not told, or taken back.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from connectors._attempted import Entry, Thinning, Void, attempts
from connectors._fields import FAR, YEAR, finite
from connectors._files import item, text
from connectors._first_seen import seen
from connectors._logdir import LogFile, rows_of
from connectors._mlflow_folder import yaml_pairs
from connectors._otlp_files import open_from
from connectors._protobuf import BadMessage
from connectors._said import Said
from connectors._tfevents import Logged, read
from connectors._tfrecord import BrokenFraming, records
from tandem.connect import Given, Pull, SourceRefused
from tandem.records import Event, Page, Record, Sample, Series, Slice, Stage, labels_of

if TYPE_CHECKING:
    from connectors.tensorboard import Config

PAGE = 20_000
"""A page is sent on when it holds this many samples."""
KNOWN = 10_000
"""Files that are remembered; with what is known of them they stay below 1 MiB. One that is forgotten is read again."""
SKEW = 300
"""Seconds by which a time may lie in the future before it is rejected."""
PARAMS, TEXT = 30, 200
"""Parameters of a run that are labels, and the letters of each."""
_MARK = 40


@dataclass
class Reading:
    """One pull of the logs of a folder."""

    config: Config
    pull: Pull
    said: Said
    alone: bool = False
    entries: dict[str, Entry] = field(default_factory=dict)
    bytes_read: int = 0
    _series: dict[tuple[str, str], Series | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        state = self.pull.state if isinstance(self.pull.state, dict) and self.pull.state.get("form") == 1 else {}
        self.entries = {key: Entry.of(told) for key, told in dict(state.get("files", {})).items()}
        self._open = {event.key for event in self.pull.open if event.kind == "training"}

    def pages(self, found: Sequence[LogFile]) -> Iterator[Page]:
        """All that is new, run by run."""
        runs: dict[str, list[LogFile]] = {}
        for one in found:
            runs.setdefault(one.run, []).append(one)
        for number, (run, files) in enumerate(runs.items()):
            self.pull.progress(run, number / len(runs))
            yield from self._run(run, files)
        present = {_key(one.name) for one in found}
        self.entries = {key: entry for key, entry in self.entries.items() if key in present}
        yield Page(state=self._state(), findings=self.said.findings(self.config.common.name))

    def _is_open(self, run: str) -> bool:
        return any(key == run or key.startswith(f"{run} (") for key in self._open)

    def _state(self) -> Any:
        if self.alone:
            return None
        kept = sorted(self.entries.items(), key=lambda pair: -pair[1].last)[:KNOWN]
        return {"form": 1, "files": {key: entry.plain() for key, entry in kept}}

    def _run(self, run: str, files: Sequence[LogFile]) -> Iterator[Page]:
        tables = [one for one in files if one.kind == "table"]
        if tables:
            yield from self._table(tables[0])
            return
        before = {one.name: self.entries.get(_key(one.name), Entry()) for one in files}
        changed = [one for one in files if before[one.name].stamp != one.stamp]
        if not changed and not self._is_open(run):
            return
        after: dict[str, Entry] = {}
        params: dict[str, str] = {}
        void = Void()
        for one in sorted(files, key=lambda one: (self._begins(one, before[one.name]), one.name), reverse=True):
            entry = after[one.name] = self._entry(one, before[one.name])
            if void.reaches(entry):
                yield from self._taken_back(one, entry, void)
            if one in changed:
                voiding = Void(min(void.since, self._begins(one, entry)), dict(void.steps), void.every)
                for page in self._new(one, entry, void, voiding, params):
                    if len(files) == 1:  # of several what is void must be known before any counts as read
                        self.entries[_key(one.name)] = entry
                        page = replace(page, state=self._state())
                    yield page
                void = voiding
        self.entries |= {_key(name): entry for name, entry in after.items()}
        yield from self._told(run, list(after.values()), params)

    # -- event files

    def _entry(self, one: LogFile, known: Entry) -> Entry:
        """What is known of a file, if it still begins as it did."""
        if known.stamp != one.stamp and known.offset and _mark_of(one, known.offset) != known.mark:
            self.said.remark("an event file was written anew; it is read from its beginning")
            return Entry()
        return replace(known)

    def _begins(self, one: LogFile, entry: Entry) -> float:
        """The time of the first record of a file; 0 where it holds none yet."""
        if entry.first:
            return entry.first
        try:
            with open_from(one.path, 0) as opened:
                found = next(records(opened), [])
            return next((at for each in found if each.data and (at := read(each.data).wall) >= YEAR), 0.0)
        except (BadMessage, BrokenFraming, SourceRefused):
            return 0.0

    def _new(self, one: LogFile, entry: Entry, void: Void, voiding: Void, params: dict[str, str]) -> Iterator[Page]:
        """What was appended to a file; `void` are the later files, `voiding` learns what this one makes void."""
        samples: list[Record] = []
        thinning = Thinning(self.config.max_points)
        whole = True
        try:
            for logged, end in self._logged(one, entry.offset):
                if logged is not None and logged.wall >= self.pull.until and logged.wall < self.pull.until + SKEW:
                    whole = False
                    break
                if logged is not None:
                    samples += self._samples(one, logged, entry, (void, voiding), thinning)
                    params.update(logged.params)
                entry.offset = end
                if len(samples) >= PAGE:
                    entry.mark = entry.mark or _mark_of(one, entry.offset)
                    yield Page(samples)
                    samples = []
        except BrokenFraming as broken:
            self._refuse(f"{one.name} cannot be read on: {broken}; copy it again.")
        except SourceRefused as no:
            self._refuse(str(no))
            whole = False
        entry.stamp, entry.mark = one.stamp if whole else "", _mark_of(one, entry.offset)
        if thinning.left_out:
            reason = f"values of tags with more than {self.config.max_points:,} at one reading are thinned out"
            self.said.remark(reason, thinning.left_out - len(thinning.held))
        yield Page([*samples, *thinning.held.values()])

    def _refuse(self, why: str) -> None:
        if self.alone:
            raise SourceRefused(why)
        self.said.reject(why)

    def _logged(self, one: LogFile, begin: int) -> Iterator[tuple[Logged | None, int]]:
        """The records of a file from a byte on, each with the byte behind it."""
        with open_from(one.path, begin) as opened:
            for some in records(opened, begin):
                self.bytes_read += some[-1].end - begin
                begin = some[-1].end
                for framed in some:
                    yield self._read(one, framed.data, framed.why), framed.end

    def _read(self, one: LogFile, data: bytes | None, why: str) -> Logged | None:
        if data is None:
            self.said.reject(f"a record of {one.name} has {why}")
            return None
        try:
            return read(data)
        except BadMessage as bad:
            self.said.reject(f"a record of {one.name} is no event of TensorBoard ({bad})")
            return None

    def _samples(
        self, one: LogFile, logged: Logged, entry: Entry, void: tuple[Void, Void], thinning: Thinning
    ) -> Iterator[Sample]:
        if not YEAR <= logged.wall < FAR or logged.wall >= self.pull.until:
            if logged.scalars:
                self.said.reject("a value at a time that is absent or in the future")
            return
        later, voiding = void
        entry.saw(logged, logged.wall)
        if logged.status == "STOP" or logged.ended is not None:
            entry.status = logged.status  # one without a time of its end is written by PyTorch when a run begins
        if logged.started is not None:
            voiding.every = logged.started if voiding.every is None else min(voiding.every, logged.started)
        for tag, value in logged.scalars:
            series = self.series(one.run, tag)
            if series is None:
                continue
            voiding.steps[tag] = min(voiding.steps.get(tag, logged.step), logged.step)
            if finite(value) is None:
                self.said.reject(f'a value of "{tag[:60]}" that is no finite number')
            elif not later.holds(tag, logged.step, logged.wall):
                sample = Sample(series, logged.wall, value, one.run, logged.step)
                if thinning.keeps(tag, sample):
                    yield sample

    def _taken_back(self, one: LogFile, entry: Entry, void: Void) -> Iterator[Page]:
        """What was told of a file before and is void now."""
        samples: list[Record] = []
        for logged, end in self._logged(one, 0):
            if logged is None or end > entry.offset:
                continue
            for tag, _ in logged.scalars:
                series = self.series(one.run, tag)
                if series is not None and void.holds(tag, logged.step, logged.wall):
                    samples.append(Sample(series, logged.wall, None, one.run, logged.step))
            if len(samples) >= PAGE:
                yield Page(samples)
                samples = []
        yield Page(samples)

    def series(self, run: str, tag: str) -> Series | None:
        """The series of a tag of a run; None for a tag that is not wanted."""
        key = run, tag
        if key not in self._series:
            wanted = _matches(tag, self.config.tags) and not _matches(tag, self.config.ignore)
            stage: Stage = "evaluation" if _matches(tag, self.config.evaluation) else "training"
            self._series[key] = Series("sample", _labels(run), name=tag, stage=stage) if wanted else None
        return self._series[key]

    # -- what became of a run

    def _told(self, run: str, entries: Sequence[Entry], params: Mapping[str, str]) -> Iterator[Page]:
        """The attempts of a run; its parameters are remembered, for they stand only where it begins."""
        found = attempts([entry for entry in entries if entry.first])
        name = f"params:{run}"
        known = self.pull.taken(name)
        if params:
            known = json.dumps(_few(params), sort_keys=True)
            yield Page(slice=Slice(name, known))
        labels = {**dict(_labels(run)), **json.loads(known or "{}")}
        events = []
        for number, some in enumerate(found, 1):
            status = next((entry.status for entry in reversed(some) if entry.status), "")
            first, last = some[0].first, max(entry.last for entry in some)
            is_newest = number == len(found)
            events.append(self._event(run, number, (first, last), status, labels, is_newest=is_newest))
        yield Page(events)

    def _event(
        self, run: str, attempt: int, span: tuple[float, float], status: str, labels: Mapping[str, str],
        *, is_newest: bool = True,
    ) -> Event:  # fmt: skip
        began, last = int(span[0]), int(span[1])
        quiet = self.pull.now - last >= self.config.quiet or not is_newest
        word = status or ("quiet" if quiet else "writing")
        outcome = self.said.outcome(word)
        return Event(
            "training", run, began, started=began, ended=None if outcome == "open" else last, outcome=outcome,
            attempt=attempt, run=run, title=run, labels=labels_of({**labels, "said": word}),
            revision=last * 2 + (outcome != "open"),
        )  # fmt: skip

    # -- tables

    def _table(self, one: LogFile) -> Iterator[Page]:
        """A table of metrics, which says no times: of each row the time counts at which it was first seen."""
        key = _key(one.name)
        entry = self.entries.get(key, Entry())
        if (entry.stamp == one.stamp and not self._is_open(one.run)) or one.modified >= self.pull.until:
            return
        found = item(one.path, Given())
        try:
            rows = list(rows_of(found))
        except SourceRefused as no:
            self._refuse(str(no))
            self.entries[key] = Entry(stamp=one.stamp)
            return
        told = seen(self.pull, f"rows:{one.name}", [row.mark for row in rows], one.modified)
        if told is None:
            return
        self.said.remark("a table of metrics says no times; of its rows the time counts at which they were seen first")
        run = told.name(one.run)
        yield Page(slice=told.mark)
        for stretch in told.stretches:
            if stretch.is_new or self.pull.first or self.alone:
                some = rows[stretch.begin : stretch.end]
                yield Page(list(self._cells(run, some, stretch.ts)), slice=stretch.slice)
        begun, params = _beside(one)
        labels = {**dict(_labels(run)), **_few(params)}
        began = min(told.since, begun or told.since)
        yield Page([self._event(run, 1, (began, told.until), "", labels)])
        self.entries[key] = Entry(stamp=one.stamp, first=began, last=told.until)

    def _cells(self, run: str, rows: Sequence[Any], ts: int) -> Iterator[Sample]:
        for row in rows:
            for tag, value in row.values:
                series = self.series(run, tag)
                if series is None:
                    continue
                if value is None:
                    self.said.reject(f'a value of "{tag[:60]}" that is no finite number')
                else:
                    yield Sample(series, ts, value, run, row.step)


def _beside(one: LogFile) -> tuple[int | None, dict[str, str]]:
    """When the run of a table began and its parameters, where Lightning wrote them beside it."""
    path = one.path.parent / "hparams.yaml"
    if not one.path.name.startswith("metrics.csv") or not path.is_file() or path.is_symlink():
        return None, {}
    return int(path.stat().st_mtime), yaml_pairs(text(item(path, Given())))


def _few(params: Mapping[str, str]) -> dict[str, str]:
    return {f"param.{name}": params[name][:TEXT] for name in sorted(params)[:PARAMS]}


def _labels(run: str) -> tuple[tuple[str, str], ...]:
    return labels_of({"run": run, "experiment": run.rpartition("/")[0]})


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _key(name: str) -> str:
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def _mark_of(one: LogFile, offset: int) -> int:
    """A short hash of the first record, which says when the file was begun."""
    if not offset:
        return 0
    with open_from(one.path, 0) as opened:
        return zlib.crc32(opened.read(min(offset, _MARK)))
