"""One pull of a prediction log."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any

import numpy as np

from connectors._prediction_files import LogFile, Slices, files_of, hash_of, identity_of, short
from connectors._prediction_layouts import Layouts
from connectors._prediction_schema import changes, remembered, tables, taken_back
from tandem import times
from tandem.child import Child, Refused
from tandem.connect import Pull, SourceDown, SourceRefused
from tandem.records import Batch, Finding, Page, Series, Slice
from tandem.summarise import VERSION, Hashes, Join, Spec, digest_of_labels, identify, look, summarise, text_of
from tandem.values import normal, same_classes

if TYPE_CHECKING:
    from connectors.predictions import Config

Array = np.ndarray[Any, Any]

CELLS = 1_000_000
"""Filled cells per page."""
STATE = 900_000
_TRUTHS = ({"0", "1"}, {"true", "false"})


@dataclass
class Reading:
    """One pull of a log."""

    config: Config
    pull: Pull
    findings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stamps: dict[str, list[Any]] = field(default_factory=dict)
    schema: dict[str, Any] = field(default_factory=dict)

    def pages(self, files: list[LogFile]) -> Iterator[Page]:
        """All pages of the pull."""
        if len(self.config.common.component) != 1:
            raise SourceRefused(f'{self.config.common.name} needs one component = "NAME", the model of the log.')
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        known = state.get("files", {}) if isinstance(state.get("files"), dict) else {}
        label_files = self._label_files()
        for kind, group in (("log", files), ("labels", label_files)):
            for one in group:
                self._stamp(one, f"{kind}/{one.name}", known)
        for one in files:
            if one.refused:
                self.refuse(one, one.refused)
        quiet = self._quiet(files, label_files)
        ahead = state.get("next")
        if state.get("quiet") == quiet and (ahead is None or self.pull.until <= ahead):
            yield from self._unchanged()
            return
        counted = self._slices()
        yield from counted.settle([one for one in files if not one.refused])
        with Child() as child:
            yield from self._read(child, counted, label_files)
        yield Page(state=self._state(quiet, counted, label_files, files), findings=self._told())

    def _unchanged(self) -> Iterator[Page]:
        """What is said where nothing has changed that is counted."""
        yield Page()

    def _slices(self) -> Slices:
        """Which slice every file counts in."""
        return Slices(self.pull)

    def _label_files(self) -> list[LogFile]:
        if not self.config.labels:
            return []
        whole = os.path.normpath(self.config.common.folder.absolute() / self.config.labels)
        try:
            return files_of(whole, self.config.labels)
        except SourceRefused as none:
            self.findings["remark", f"no labels yet: {none}", self.config.labels] += 1
            return []

    def _stamp(self, one: LogFile, key: str, known: Mapping[str, Any]) -> None:
        """The hash of a file's bytes; taken from the last pull where size and time are the same."""
        if one.refused or one.content:
            return
        try:
            now = one.path.stat()
            kept = known.get(key)
            same = isinstance(kept, list) and kept[:2] == [now.st_size, now.st_mtime_ns]
            one.content = str(kept[2]) if same else hash_of(one.path)  # type: ignore[index]
        except OSError:
            one.refused = "cannot be read; check that it is there and its permissions"
            return
        self.stamps[key] = [now.st_size, now.st_mtime_ns, one.content]

    def _quiet(self, files: Sequence[LogFile], labels: Sequence[LogFile]) -> str:
        """Changes when anything does that this pull reads."""
        told = [[one.name, one.content, one.refused] for one in (*files, *labels)]
        return short(json.dumps([self._settings(), told]))

    def _settings(self) -> str:
        """A hash of what the configuration says of the numbers."""
        config = self.config
        named = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in ("common", "path")}
        common = [config.common.component, config.common.environment, config.common.timezone, config.common.shift_days]
        return short(json.dumps([VERSION, common, named], sort_keys=True, default=list))

    def _spec(self) -> Spec:
        config = self.config
        return Spec(
            task=config.task,
            id=config.id,
            time=config.time,
            prediction=config.prediction,
            version=config.version or "",
            score=config.score or "",
            label="" if config.labels else config.label or "",
            segments=config.margins,
            timezone=config.common.timezone,
            time_unit=config.time_unit,
            until=self.pull.until,
            now=self.pull.now,
            shifted=config.common.shift_days is not None,
            reference=_reference(config),
        )

    def refuse(self, one: LogFile, why: str) -> None:
        """Leave a file out, and say why."""
        one.refused = why
        self.findings["reject", f"{one.name} {why}.", one.name] += 1

    def _read(self, child: Child, counted: Slices, label_files: list[LogFile]) -> Iterator[Page]:
        bodies = counted.bodies
        for one in bodies:
            self._look(child, one)
        self._decide(child, [one for one in bodies if not one.refused])
        spec = self._spec()
        join = self._joined(child, spec, [one for one in bodies if not one.refused], label_files)
        good = [one for one in bodies if not one.refused]
        yield from self._schema(good)
        spec = replace(spec, classes=join.classes, positive=self._positive(join.classes))
        made = Layouts(self, child, spec, good, join)
        spec, pages = made.make()
        yield from pages
        layouts = short(json.dumps([text_of(spec)[key] for key in ("features", "predicted", "error", "target")]))
        if join.labels_without_prediction:
            self.findings["remark", "labels without a prediction", self.config.labels or ""] += (
                join.labels_without_prediction
            )
        broken_labels = any(one.refused for one in label_files)
        for number, one in enumerate(good):
            if one.refused:
                continue
            self.pull.progress(f"reading {one.name}", number / len(good))
            left_out = join.left_out(number)
            marks = [one.content, short(json.dumps([self._settings(), layouts, spec.positive])),
                     digest_of_labels(join.labels[number], join.classes, left_out, join.known[number])]  # fmt: skip
            if counted.has(one, marks, labels_count=not broken_labels):
                continue
            piece = Slice(counted.slice_of(one), ":".join(marks))
            yield from self._piece(child, spec, one, piece, left_out, join.labels[number], join.known[number])

    def _decide(self, child: Child, files: Sequence[LogFile]) -> None:
        """What only the columns of the files can tell; a file that is not the log's is refused."""

    def is_feature(self, column: str) -> bool:  # noqa: ARG002 (of a plain log all are)
        """Whether a column that has no other meaning is a feature."""
        return True

    def _schema(self, files: Sequence[LogFile]) -> Iterator[Page]:
        """The columns that changed from file to file."""
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        before, component = state.get("schema"), self.config.common.component[0]
        some = tables(files, before)
        found = changes(some, component)
        self.schema = remembered(some, found)
        events = [*found, *taken_back(before, found, component)]
        if events:
            yield Page(events)

    def _look(self, child: Child, one: LogFile) -> None:
        try:
            one.look = look(child, one.where)
        except Refused as no:
            self.refuse(one, str(no))

    def _joined(self, child: Child, spec: Spec, files: list[LogFile], label_files: list[LogFile]) -> Join:
        """Who counts and with which label. A file that turns out to be unusable is left out."""
        label_spec = replace(
            self._spec(), id=self.config.labels_id or self.config.id, time=self.config.label_time or "", prediction="",
            version="", score="", label=self.config.label or "", segments=(),
        )  # fmt: skip
        if self.config.labels and not self.config.label:
            raise SourceRefused(f'{self.config.common.name} names labels but not their column; set label = "NAME".')
        for one in label_files:
            if one.refused:
                self.refuse(one, one.refused)
            else:
                self._look(child, one)
        of_log, of_labels = Hashes(), Hashes()
        try:
            for number, one in enumerate(files):
                self._identify(child, one, self._spec_of(one, spec), of_log, number)
            for number, one in enumerate(label_files):
                self._identify(child, one, label_spec, of_labels, number, labels=True)
            log = [one for one in files if one.identity]
            join = Join(
                [identity_of(one) for one in log], [identity_of(one) for one in label_files if one.identity], spec.task
            )
            join.take_all(of_log, of_labels)
        except OSError as full:
            raise self._without_room(full) from None
        finally:
            of_log.close()
            of_labels.close()
        for number, one in enumerate(log):
            repeats = join.repeats(number)
            if repeats.size:
                where = f"{one.name} (first: row {int(repeats.min()) + 1})"
                self.findings["remark", "repeated ids, counted once", where] += repeats.size
        return join

    def _without_room(self, full: OSError) -> SourceDown:
        return SourceDown(f"{self.config.common.name} needs room in {gettempdir()} ({full.strerror}); make some.")

    def _spec_of(self, one: LogFile, spec: Spec) -> Spec:
        """Beside a log of labels, the log may have labels of its own."""
        own = self.config.label or ""
        return replace(spec, label=own) if self.config.labels and one.look and own in one.look.kinds else spec

    def _identify(
        self, child: Child, one: LogFile, spec: Spec, hashes: Hashes, number: int, *, labels: bool = False
    ) -> None:
        if one.refused:
            return
        try:
            one.identity = identify(child, one.where, spec, hashes, number, labels=labels)
        except Refused as no:
            self.refuse(one, str(no))
            return
        for reason, (count, first) in one.identity.rejected.items():
            self.findings["reject", f"rows with {reason}", f"{one.name} (first: row {first})"] += count

    def _positive(self, classes: Sequence[str]) -> str:
        if self.config.positive is not None:
            said = normal(self.config.positive) or self.config.positive
            return said if said in classes else same_classes({said, *classes}).get(said, said)
        for pair in _TRUTHS:
            if pair & set(classes):
                return max(pair)
        return max(classes, default="1")

    def _piece(
        self, child: Child, spec: Spec, one: LogFile, piece: Slice, left_out: Array, labels: Array, known: Array
    ) -> Iterator[Page]:
        """The pages of one file; nothing of a file that turns out to be unusable on the way."""
        of = Series("", component=self.config.common.component[0])
        batches: list[Batch] = []
        cells = part = 0
        try:
            for batch in summarise(child, one.where, spec, of, left_out, labels, known):
                batches.append(batch)
                cells += len(batch.columns["ts"])
                if cells > CELLS:
                    yield Page(batches, slice=replace(piece, part=part))
                    batches, cells, part = [], 0, part + 1
        except Refused as no:  # always before the first page
            self.refuse(one, str(no))
            return
        except OSError as full:
            raise self._without_room(full) from None
        yield Page(batches, slice=replace(piece, part=part))

    def _state(
        self, quiet: str, counted: Slices, labels: Sequence[LogFile], files: Sequence[LogFile]
    ) -> dict[str, Any]:
        ahead = [one.identity.next for one in (*counted.bodies, *labels) if one.identity and one.identity.next]
        changed = any(one.refused.startswith("changed while") for one in files)
        state = {"quiet": "" if changed else quiet, "next": min(ahead, default=None), "files": self.stamps}
        state["schema"] = self.schema
        for least in ("schema", "files"):
            if len(json.dumps(state)) > STATE:
                state[least] = {}
        return state

    def _told(self) -> list[Finding]:
        return [
            Finding("reject" if kind == "reject" else "remark", reason, where, count)
            for (kind, reason, where), count in self.findings.items()
        ]


def _reference(config: Config) -> tuple[int, int] | None:
    """The window of the reference in epoch seconds; raises SourceRefused."""
    if config.reference is None:
        return None
    if set(config.reference) != {"from", "to"}:
        raise SourceRefused(
            f'{config.common.name}: reference needs from and to, such as {{ from = "2026-01-01T00:00Z" }}.'
        )
    try:
        since, until = (times.iso(config.reference[name], config.common.timezone) for name in ("from", "to"))
    except ValueError as wrong:
        raise SourceRefused(f"{config.common.name}: reference: {wrong}") from None
    if since >= until:
        raise SourceRefused(f"{config.common.name}: reference must begin before it ends.")
    return since, until
