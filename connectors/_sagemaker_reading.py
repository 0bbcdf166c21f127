"""One pull of SageMaker's files: which hours have changed, and what they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from connectors import _sagemaker_capture as capture
from connectors import _sagemaker_events as events
from connectors._fields import Unusable
from connectors._files import load_json
from connectors._judged import Drifting
from connectors._profiled import Column, Profiling, Table
from connectors._s3_listing import Stored, resume_of
from connectors._s3_mirror import Unread
from connectors._sagemaker import STATUS, Hour, Job, columns_of, hour_of, job_of, judgements, quality_of, violations_of
from connectors._sagemaker_metrics import requests
from connectors._sagemaker_places import Folder, Place
from connectors._said import Said
from connectors._sketched import REFERENCE
from tandem.connect import Item, Pull, SourceRefused
from tandem.records import Confusion, Fact, Finding, Page, Record, Sample, Series, Slice, labels_of

if TYPE_CHECKING:
    from connectors.sagemaker import Config

STATISTICS, CONSTRAINTS = "statistics.json", "constraints.json"
VIOLATIONS = ("constraint_violations.json", "constraints_violations.json")
"""AWS' documents spell it both ways."""
_ABSENT = object()


class Words(Said):
    """What is to be said of SageMaker's files."""

    meanings = STATUS


@dataclass
class _Read:
    """What the three files of one hour say."""

    hour: Hour
    changed: list[Stored]
    documents: dict[str, Any]
    columns: Sequence[Column] = ()

    @property
    def statistics(self) -> Stored | None:
        return next((one for one in self.changed if _file(one.key) == STATISTICS), None)

    @property
    def violations(self) -> Any:
        return next((self.documents[name] for name in VIOLATIONS if name in self.documents), _ABSENT)


@dataclass
class Reading:
    """One pull."""

    config: Config
    pull: Pull
    words: Words = field(init=False)
    profiling: Profiling = field(init=False)
    counting: capture.Counting = field(init=False)
    drifting: Drifting = field(init=False)
    findings: list[Finding] = field(default_factory=list)
    jobs: dict[Hour, Job] = field(default_factory=dict)
    """Jobs that were described, by the hour that they wrote; without those whose hour was told."""
    again: bool = False
    """Whether some feature had too few values for bins that stay: then its hours are read again."""

    def __post_init__(self) -> None:
        config = self.config
        self.words = Words(config)
        self.profiling = Profiling(self.pull, self.words, config.common, config.features, config.prediction)
        self.counting = capture.Counting(self.pull, config.common)
        self.drifting = Drifting(self.pull)

    def pages(self, place: Place) -> Iterator[Page]:
        """All pages of the pull."""
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        self.again = bool(state.get("provisional"))
        last = resume_of(state.get("list"))
        whole = self.pull.sweep or not last.after or self.again
        objects = list(place.objects("" if whole else last.after))
        if not objects and not state:
            raise SourceRefused(f"{self.config.common.name} finds no file there; check path, or bucket and prefix.")
        hours, captured, others = self._sorted(objects)
        for one in others:
            yield from self._other(place, one)
        yield from self._hours(place, hours)
        yield from self._captured(place, captured)
        yield from self._end({
            "list": place.resume(objects, last, whole=whole).told(),
            "provisional": self.profiling.bins.provisional or self.counting.provisional,
        })  # fmt: skip

    def _end(self, state: Any = None) -> Iterator[Page]:
        for job in self.jobs.values():
            yield Page([events.validation(job.hour, None, self.words, job.ended, job)])
        yield from self.drifting.pages()
        self.profiling.bins.remark()
        yield Page(state=state, findings=(*self.findings, *self.words.findings(self.config.common.name)))

    def _sorted(
        self, objects: Sequence[Stored]
    ) -> tuple[dict[Hour, dict[str, Stored]], list[tuple[Hour, Stored]], list[Stored]]:
        """The monitor's files by hour, captured data, and what lies in no folder of an hour."""
        hours: dict[Hour, dict[str, Stored]] = {}
        captured: list[tuple[Hour, Stored]] = []
        others: list[Stored] = []
        for one in objects:
            found = hour_of(one.key)
            if found is None:
                others += [one] if one.key.endswith(".json") else []
            elif found[0].ts < self.pull.until and self._wanted(found[0].place.partition("/")[0]):
                if found[1] in (STATISTICS, CONSTRAINTS, *VIOLATIONS):
                    hours.setdefault(found[0], {})[found[1]] = one
                elif found[1].endswith(".jsonl"):
                    captured.append((found[0], one))
        return hours, sorted(captured, key=lambda pair: (pair[0], pair[1].key)), others

    def _wanted(self, endpoint: str) -> bool:
        globs = self.config.endpoints
        return not globs or any(fnmatchcase(endpoint, glob) for glob in globs)

    # -- which objects are new

    def _mark(self, one: Stored) -> str:
        """What an object's slice is marked with, before what was made of it."""
        common, config = self.config.common, self.config
        told = repr((common.component, common.map, common.environment, common.discover, common.status,
                     config.features, config.prediction, config.columns))  # fmt: skip
        return f"{one.etag}:{one.size}:{hashlib.sha256(told.encode()).hexdigest()[:12]}:"

    def _changed(self, one: Stored) -> bool:
        return not (self.pull.taken(f"object:{one.key}") or "").startswith(self._mark(one))

    def _slice(self, one: Stored, records: Sequence[Record] = ()) -> Slice:
        said = hashlib.sha256(repr([*records]).encode("utf-8", "replace")).hexdigest()[:12]
        return Slice(f"object:{one.key}", self._mark(one) + said)

    # -- the monitor's hours

    def _hours(self, place: Place, hours: dict[Hour, dict[str, Stored]]) -> Iterator[Page]:
        """Every hour in which a file has changed; bins are made of the first week's."""
        first: int | None = None
        waiting: list[_Read] | None = []
        for hour in sorted(hours):
            changed = [one for one in hours[hour].values()
                       if self._changed(one) or (self.again and _file(one.key) == STATISTICS)]  # fmt: skip
            if not changed:
                continue
            self.pull.progress(hour.key, None)
            found = self._read(place, hour, hours[hour], changed)
            if found is None:
                continue
            first = hour.ts if first is None else first
            if waiting is not None and hour.ts < first + REFERENCE:
                waiting.append(found)
                continue
            if waiting is not None:
                yield from self._learnt(waiting)
                waiting = None
            yield from self._told(found)
        if waiting:
            yield from self._learnt(waiting)

    def _learnt(self, some: Sequence[_Read]) -> Iterator[Page]:
        tables = (self._table(one) for one in some if one.statistics is not None)
        references = self.profiling.references(tables)
        if references:
            yield Page(references)
        for one in some:
            yield from self._told(one)

    def _read(self, place: Place, hour: Hour, files: dict[str, Stored], changed: list[Stored]) -> _Read | None:
        """The files of an hour; None where one of them cannot be had, so that the next pull reads it again."""
        documents: dict[str, Any] = {}
        for name, one in files.items():
            try:
                found = self._opened(place, one, lambda item: load_json(item, lambda word: None))
            except Unread:
                return None
            if found is not None:
                documents[name] = found
        return self._understood(hour, changed, documents)

    def _opened(self, place: Place, one: Stored, read: Callable[[Item], Any]) -> Any:
        """What a reader makes of an object, None where it cannot be used; raises Unread where it may be later."""
        try:
            with place.reading(one) as item:
                try:
                    return read(item)
                except SourceRefused as no:
                    self.findings.append(Finding("reject", str(no), one.key))
        except Unread as no:
            self.findings.append(Finding("reject", f"{_file(one.key)} {no}.", one.key))
            if no.again:
                raise
        return None

    def _understood(self, hour: Hour, changed: list[Stored], documents: dict[str, Any]) -> _Read:
        wrong: list[str] = []
        columns = columns_of(documents.get(STATISTICS), wrong)
        for why in wrong:
            self.words.reject(why)
        return _Read(hour, changed, documents, columns)

    def _table(self, one: _Read) -> Table:
        columns = () if self.config.columns else one.columns
        return Table(one.hour.ts, one.hour.labels("schedule"), columns)

    def _told(self, one: _Read) -> Iterator[Page]:
        """The pages of one hour: numbers as slices, verdicts as events."""
        if one.statistics is not None:
            facts: list[Record] = [*self.profiling.facts(self._table(one)), *self._quality(one)]
            mark = self._slice(one.statistics, facts)
            if self.pull.taken(mark.name) != mark.digest:
                yield Page(facts, slice=mark)
        yield from self._verdicts(one)
        for stored in one.changed:
            if stored is not one.statistics:
                yield Page(slice=self._slice(stored))

    def _quality(self, one: _Read) -> Iterator[Record]:
        try:
            found = quality_of(one.documents.get(STATISTICS))
        except Unusable as error:
            self.words.reject(f"model quality cannot be used: {error}")
            return
        if found is None:
            return
        labels = one.hour.labels("schedule")
        if found.cells:
            yield Fact(Series("outcome", labels), one.hour.ts, Confusion(found.cells))
        for name, value in sorted(found.metrics.items()):
            yield Sample(Series("sample", labels, name=name), one.hour.ts, value, run=one.hour.key)

    def _verdicts(self, one: _Read) -> Iterator[Page]:
        revision = max((stored.modified for stored in one.changed), default=0)
        document, job = one.violations, self.jobs.get(one.hour)
        if document is _ABSENT:
            if one.statistics is not None:
                self.jobs.pop(one.hour, None)
                revision = max(revision, job.ended) if job else revision
                yield Page([events.validation(one.hour, None, self.words, revision, job)])
            return
        self.jobs.pop(one.hour, None)  # what it left says more
        try:
            found = violations_of(document)
        except Unusable as error:
            self.words.reject(str(error))
            return
        yield Page([events.validation(one.hour, found, self.words, revision)])
        said = list(judgements(found, one.documents.get(CONSTRAINTS), one.columns))
        yield from events.drift(one.hour, said, self.drifting, self.pull)

    # -- captured data

    def _captured(self, place: Place, some: Sequence[tuple[Hour, Stored]]) -> Iterator[Page]:
        waiting: list[tuple[Stored, capture.Captured]] | None = []
        rows = 0
        for hour, one in some:
            if not self._changed(one) and not self.again:
                continue
            self.pull.progress(one.key, None)
            try:
                found = self._opened(place, one, partial(self._captured_in, hour=hour))
            except Unread:
                continue
            if found is None:
                yield Page(slice=self._slice(one))
                continue
            rows += found.rows
            if waiting is not None:
                waiting.append((one, found))
                if rows < capture.LEARNED:
                    continue
                yield from self._captures(waiting)
                waiting = None
                continue
            yield self._counted(one, found)
        if waiting:
            yield from self._captures(waiting)

    def _captures(self, some: Sequence[tuple[Stored, capture.Captured]]) -> Iterator[Page]:
        references = self.counting.learn(found for _, found in some)
        if references:
            yield Page(references)
        for one, found in some:
            yield self._counted(one, found)

    def _counted(self, one: Stored, found: capture.Captured) -> Page:
        facts = self.counting.facts(found)
        return Page(facts, slice=self._slice(one, facts))

    def _captured_in(self, item: Item, hour: Hour) -> capture.Captured:
        return capture.read(item, hour.labels("variant"), self.config.columns, self.pull.until, self.words)

    # -- what the command line of AWS prints

    def _other(self, place: Place, one: Stored) -> Iterator[Page]:
        if not self._changed(one):
            return
        try:
            document = self._opened(place, one, load_json)
        except Unread:
            return
        yield from self._printed(document, one.key)
        yield Page(slice=self._slice(one))

    def _printed(self, document: Any, where: str) -> Iterator[Page]:
        kind = events.kind_of(document)
        try:
            if kind == "packages":
                found = list(events.approvals(document, self.words))
                if found:
                    yield Page(found)
            elif kind == "endpoint" and self._wanted(str(document.get("EndpointName"))):
                page = events.promotion(document, self.words, self.pull)
                if page is not None:
                    yield page
            elif kind == "metrics":
                endpoint, variant = ["", "", *where.split("/")[:-1]][-2:]
                if self._wanted(endpoint):
                    yield Page(
                        requests(document, labels_of({"endpoint": endpoint, "variant": variant}), self.pull.until)
                    )
            elif kind == "job":
                job = job_of(document)
                self.jobs[job.hour] = max(job, self.jobs.get(job.hour, job), key=lambda one: one.ended)
        except Unusable as error:
            self.findings.append(Finding("reject", f"{_file(where)} cannot be used: {error}.", where))

    # -- one file

    def alone(self, item: Item) -> Iterator[Page]:
        """One file, with the monitor's others beside it where they are there."""
        path = item.path.absolute() if item.name == item.path.name else item.path.absolute() / item.name
        one = Stored(path.as_posix(), str(item.modified), len(item.head), item.modified)
        if item.name.endswith(".json") and PurePath(item.name).name not in (STATISTICS, CONSTRAINTS, *VIOLATIONS):
            yield from self._printed(load_json(item), one.key)
            yield from self._end()
            return
        found = hour_of(one.key)
        if found is None:
            raise SourceRefused(f"{item.name} lies in no folder ENDPOINT/SCHEDULE/YYYY/MM/DD/HH; import it from there.")
        if found[1].endswith(".jsonl"):
            yield from self._captures([(one, self._captured_in(item, found[0]))])
        else:
            yield from self._learnt([self._beside(item, found[0], one)])
        yield from self._end()

    def _beside(self, item: Item, hour: Hour, one: Stored) -> _Read:
        documents = {_file(one.key): load_json(item, lambda word: None)}
        folder = item.path.parent
        if folder.is_dir() and item.name == item.path.name:
            near = Folder(folder)
            for other in near.objects(""):
                if other.key in (STATISTICS, CONSTRAINTS, *VIOLATIONS) and other.key not in documents:
                    with near.reading(other) as beside:
                        documents[other.key] = load_json(beside, lambda word: None)
        return self._understood(hour, [one], documents)


def _file(key: str) -> str:
    return key.rpartition("/")[2]
