"""Prediction logs (Parquet, CSV, JSON Lines): outcomes, scores, errors, features and data quality of a model.

A slice is one file of the log, named by its path below the log's folder. Three kinds of empty slices remember, in the
store and not in a state that may be lost, what a name alone cannot tell:
- "content:HASH" names the file that counts these bytes, so that a copy or a moved file is known at once;
- a file that is such a copy has a slice with digest "as:NAME" and no facts;
- "reference" holds the ranges and the window of the reference.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from tandem import times
from tandem.bins import Layout, digits_of, error_layout
from tandem.child import Child, Refused
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting
from tandem.records import Baseline, Batch, Finding, Histogram, Page, Record, Series, Slice
from tandem.summarise import (
    NO_HASHES,
    VERSION,
    Feature,
    Identity,
    Join,
    Look,
    Spec,
    category_layout,
    column_values,
    digest_of_labels,
    extent,
    identify,
    look,
    number_layout,
    summarise,
    text_of,
)
from tandem.values import normal

Array = np.ndarray[Any, Any]

AT_ONCE = 4_000_000
"""Ids whose hashes (16 bytes each) are held together; a larger log is gone through in shares."""
REFERENCE_ROWS = 4_000_000
"""Rows that layouts are made of; of a larger log, parts spread over all files."""
VALUES = 8_000_000
"""Values held together while layouts are made."""
ENOUGH = 1_000
"""Values from which a layout stays."""
CELLS = 1_000_000
"""Filled cells per page."""
STATE = 900_000
_SUFFIX = re.compile(r"\.(parquet|pq|csv|jsonl|ndjson|json)(\.(gz|bz2|xz|zst))?$", re.IGNORECASE)
_TRUTHS = ({"0", "1"}, {"true", "false"})

ABOUT = About(
    reads="Prediction logs as Parquet, CSV or JSON Lines: a file, a folder or a glob; plain, gzip, bzip2, xz or zstd.",
    signals=("outcome", "error", "score", "feature", "prediction", "volume", "valid_rows", "label_coverage"),
    files=("*.parquet", "*.csv", "*.jsonl", "*.ndjson", "and these compressed"),
    limits=(
        "No ids are stored: repeated ids are found among the files that are there.",
        "Repeated ids count once, by their first row in file and row order; their last label wins.",
        "A file that vanishes keeps its contribution; a byte-identical copy counts once; a changed file is restated.",
        'Labels and ids compare as normalised text: 1, 1.0 and "1" are one, True and true are one.',
        "Ids compare by 128 bits of hash: below 1e-20 that two of a billion ids are taken for one.",
        'valid_rows named "<feature>:<reason>" counts only the rows with that fault: its denominator is volume.',
        "A number is out of range a tenth of the reference's range outside it, and wherever its sign is a new one.",
        "score of a multiclass model is the score of the predicted class: one histogram, not one per class.",
        "A reader takes at most 2 GB of memory and 20 s of CPU, and 1 s more for every 2 MB of the file.",
    ),
    aliases=("prediction_log",),
    side="model",
    example="""\
connector = "predictions"
name = "fraud-log"
path = "exports/fraud/*.parquet"          # a file, a folder or a glob
# labels = "exports/fraud-labels/*.parquet"   # a second log joined by id, where labels come later
component = "fraud-detector"
task = "binary"                           # binary, multiclass or regression
id = "prediction_id"
time = "ts"
prediction = "predicted"
score = "score"                           # binary: of the positive class
label = "label"
version = "model_version"
# segments = ["country", ["country", "channel"]]
# features = ["amount", "age_days"]       # left out: every column not otherwise named
""",
)


@dataclass(frozen=True)
class Config:
    """One prediction log, and the log of its labels."""

    common: Common
    path: str = setting("File, folder or glob of the log.", example="exports/fraud/*.parquet")
    task: Literal["binary", "multiclass", "regression"] = setting("What the model predicts.", example="binary")
    id: str = setting("Column that identifies a prediction.", example="prediction_id")
    time: str = setting("Column with the time of the prediction.", example="ts")
    prediction: str = setting("Column with the predicted class or value.", example="predicted")
    version: str | None = setting("Column with the model's version.", default=None, example="model_version")
    score: str | None = setting(
        "Column with the score: binary, of the positive class; multiclass, of the predicted one.",
        default=None,
        example="score",
    )
    label: str | None = setting("Column with the true class or value.", default=None, example="label")
    labels: str | None = setting(
        "File, folder or glob of a log of labels, joined by id.", default=None, example="exports/fraud-labels/*.parquet"
    )
    labels_id: str | None = setting("The id column of the labels, where it has another name.", default=None)
    label_time: str | None = setting("Column of the labels with the time each became known.", default=None)
    segments: tuple[str | tuple[str, ...], ...] = setting(
        "Columns, or lists of columns, to cut every number by.", default=(), example=["country", ["country", "channel"]]
    )
    features: tuple[str, ...] | None = setting(
        "Feature columns; left out, every column not otherwise named.", default=None, example=["amount", "age_days"]
    )
    positive: str | None = setting('The positive class; left out "1", "true", or the greater one.', default=None)
    time_unit: Literal["s", "ms", "us", "ns"] | None = setting("Unit of times that are numbers.", default=None)
    reference: Mapping[str, str] | None = setting(
        "The window (from, to) whose values make the bins; left out, all there is at first.", default=None
    )

    @property
    def margins(self) -> tuple[tuple[str, ...], ...]:
        """The segments, each as a tuple of columns."""
        return tuple((one,) if isinstance(one, str) else tuple(one) for one in self.segments)


def scope(config: Config) -> str:
    """The log's path, absolute and normalised."""
    return os.path.normpath(config.common.folder.absolute() / config.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """A piece per file of the log that has changed, or whose labels or settings have."""
    yield from _Reading(config, pull).pages(_files(scope(config), config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The log with this file in it, as if nothing had been counted yet."""
    far = 2**40
    yield from parse_with(item, config, Pull(since=0, until=far, now=far))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The log with this file in it: repeated ids, labels and layouts concern all of its files."""
    found = _files(scope(config), config.path) if glob.has_magic(config.path) or Path(scope(config)).exists() else []
    if not any(one.path.resolve() == item.path.resolve() for one in found):
        found.append(_File(_below(item.path, Path(scope(config))), item.path))
    found.sort(key=lambda one: one.name)
    yield from _Reading(config, pull).pages(found)


def belongs(item: Item, config: Config) -> bool:
    """Whether a file is one of the log's."""
    whole = scope(config)
    path = os.path.normpath(item.path.absolute())
    return path == whole or path.startswith(whole + os.sep) or fnmatch.fnmatch(path, whole)


# -- the files of a log


@dataclass(eq=False)
class _File:
    """One file of a log; `refused` says why it cannot be read."""

    name: str
    path: Path
    content: str = ""
    look: Look | None = None
    identity: Identity | None = None
    refused: str = ""


def _below(path: Path, whole: Path) -> str:
    root = _root(str(whole))
    path = path.absolute()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.name


def _root(whole: str) -> Path:
    """The folder below which files have their names: the last one without a wildcard."""
    if glob.has_magic(whole):
        parts = Path(whole).parts
        plain = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        return Path(*parts[:plain])
    return Path(whole) if Path(whole).is_dir() else Path(whole).parent


def _files(whole: str, said: str) -> list[_File]:
    """The files of a path, folder or glob in the order of their names; links out of the folder are refused."""
    root = _root(whole)
    if glob.has_magic(whole):
        paths = [Path(one) for one in glob.glob(whole, recursive=True)]  # noqa: PTH207 (the pattern is absolute)
    elif Path(whole).is_dir():
        paths = [one for one in Path(whole).rglob("*") if _SUFFIX.search(one.name) and one.name[0] not in "._"]
    else:
        paths = [Path(whole)]
    found = [_File(one.relative_to(root).as_posix(), one) for one in paths if one.is_file()]
    if not found:
        raise SourceRefused(f'"{said}" matches no file below {root}; check path.')
    for one in found:
        if one.path.is_symlink() and not one.path.resolve().is_relative_to(root.resolve()):
            one.refused = "is a link to a file outside of its folder; name that folder in the source"
    return sorted(found, key=lambda one: one.name)


def _hash(path: Path) -> str:
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:32]


# -- one pull


@dataclass
class _Reading:
    """One pull of a log."""

    config: Config
    pull: Pull
    findings: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    stamps: dict[str, list[Any]] = field(default_factory=dict)

    def pages(self, files: list[_File]) -> Iterator[Page]:
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
                self._refuse(one, one.refused)
        quiet = self._quiet(files, label_files)
        ahead = state.get("next")
        if state.get("quiet") == quiet and (ahead is None or self.pull.until <= ahead):
            yield Page()
            return
        counted = _Slices(self.pull)
        yield from counted.settle([one for one in files if not one.refused])
        with Child() as child:
            yield from self._read(child, counted, label_files)
        yield Page(state=self._state(quiet, counted, label_files, files), findings=self._told())

    def _label_files(self) -> list[_File]:
        if not self.config.labels:
            return []
        whole = os.path.normpath(self.config.common.folder.absolute() / self.config.labels)
        try:
            return _files(whole, self.config.labels)
        except SourceRefused as none:
            self.findings["remark", f"no labels yet: {none}", self.config.labels] += 1
            return []

    def _stamp(self, one: _File, key: str, known: Mapping[str, Any]) -> None:
        """The hash of a file's bytes; taken from the last pull where size and time are the same."""
        if one.refused:
            return
        try:
            now = one.path.stat()
            kept = known.get(key)
            same = isinstance(kept, list) and kept[:2] == [now.st_size, now.st_mtime_ns]
            one.content = str(kept[2]) if same else _hash(one.path)  # type: ignore[index]
        except OSError:
            one.refused = "cannot be read; check that it is there and its permissions"
            return
        self.stamps[key] = [now.st_size, now.st_mtime_ns, one.content]

    def _quiet(self, files: Sequence[_File], labels: Sequence[_File]) -> str:
        """Changes when anything does that this pull reads."""
        told = [[one.name, one.content, one.refused] for one in (*files, *labels)]
        return _short(json.dumps([self._settings(), told]))

    def _settings(self) -> str:
        """A hash of what the configuration says of the numbers."""
        config = self.config
        named = {one.name: getattr(config, one.name) for one in fields(config) if one.name not in ("common", "path")}
        common = [config.common.component, config.common.environment, config.common.timezone, config.common.shift_days]
        return _short(json.dumps([VERSION, common, named], sort_keys=True, default=list))

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

    def _refuse(self, one: _File, why: str) -> None:
        one.refused = why
        self.findings["reject", f"{one.name} {why}.", one.name] += 1

    def _read(self, child: Child, counted: _Slices, label_files: list[_File]) -> Iterator[Page]:
        spec = self._spec()
        bodies = counted.bodies
        for one in bodies:
            self._look(child, one)
        join = self._joined(child, spec, [one for one in bodies if not one.refused], label_files)
        good = [one for one in bodies if not one.refused]
        spec = replace(spec, classes=join.classes, positive=self._positive(join.classes))
        made = _Layouts(self, child, spec, good, join)
        spec, pages = made.make()
        yield from pages
        layouts = _short(json.dumps([text_of(spec)[key] for key in ("features", "predicted", "error", "target")]))
        if join.labels_without_prediction:
            self.findings["remark", "labels without a prediction", self.config.labels or ""] += (
                join.labels_without_prediction
            )
        broken_labels = any(one.refused for one in label_files)
        for number, one in enumerate(good):
            self.pull.progress(f"reading {one.name}", number / len(good))
            left_out = join.left_out(number)
            marks = [one.content, _short(json.dumps([self._settings(), layouts, spec.positive])),
                     digest_of_labels(join.labels[number], join.classes, left_out)]  # fmt: skip
            if counted.has(one, marks, labels_count=not broken_labels):
                continue
            piece = Slice(counted.slice_of(one), ":".join(marks))
            yield from self._piece(child, spec, one, piece, left_out, join.labels[number])

    def _look(self, child: Child, one: _File) -> None:
        try:
            one.look = look(child, one.path)
        except Refused as no:
            self._refuse(one, str(no))

    def _joined(self, child: Child, spec: Spec, files: list[_File], label_files: list[_File]) -> Join:
        """Who counts and with which label. A file that turns out to be unusable is left out."""
        label_spec = replace(
            self._spec(), id=self.config.labels_id or self.config.id, time=self.config.label_time or "", prediction="",
            version="", score="", label=self.config.label or "", segments=(),
        )  # fmt: skip
        if self.config.labels and not self.config.label:
            raise SourceRefused(f'{self.config.common.name} names labels but not their column; set label = "NAME".')
        for one in label_files:
            if one.refused:
                self._refuse(one, one.refused)
            else:
                self._look(child, one)
        specs = {id(one): self._spec_of(one, spec) for one in files} | {id(one): label_spec for one in label_files}
        shares = 1 + sum(one.look.rows for one in (*files, *label_files) if one.look) // AT_ONCE
        for number, one in enumerate((*files, *label_files)):
            if not one.refused:
                self._identify(child, one, specs[id(one)], shares, labels=number >= len(files))
        log = [one for one in files if one.identity]
        truths = [one for one in label_files if one.identity]
        join = Join([_identity(one) for one in log], [_identity(one) for one in truths], spec.task)
        for share in range(shares):
            hashes = [
                _identity(one).hashes
                if share == 0
                else identify(child, one.path, specs[id(one)], share=share, shares=shares, labels=one in truths).hashes
                for one in (*log, *truths)
            ]
            join.take(hashes[: len(log)], hashes[len(log) :])
            for one in (*log, *truths):
                _identity(one).hashes = NO_HASHES
        for number, one in enumerate(log):
            repeats = join.repeats(number)
            if repeats.size:
                where = f"{one.name} (first: row {int(repeats.min()) + 1})"
                self.findings["remark", "repeated ids, counted once", where] += repeats.size
        return join

    def _spec_of(self, one: _File, spec: Spec) -> Spec:
        """Beside a log of labels, the log may have labels of its own."""
        own = self.config.label or ""
        return replace(spec, label=own) if self.config.labels and one.look and own in one.look.kinds else spec

    def _identify(self, child: Child, one: _File, spec: Spec, shares: int, *, labels: bool) -> None:
        try:
            one.identity = identify(child, one.path, spec, shares=shares, labels=labels)
        except Refused as no:
            self._refuse(one, str(no))
            return
        for reason, (count, first) in one.identity.rejected.items():
            self.findings["reject", f"rows with {reason}", f"{one.name} (first: row {first})"] += count

    def _positive(self, classes: Sequence[str]) -> str:
        if self.config.positive is not None:
            return normal(self.config.positive) or self.config.positive
        for pair in _TRUTHS:
            if pair & set(classes):
                return max(pair)
        return max(classes, default="1")

    def _piece(
        self, child: Child, spec: Spec, one: _File, piece: Slice, left_out: Array, labels: Array
    ) -> Iterator[Page]:
        """The pages of one file; nothing of a file that turns out to be unusable on the way."""
        of = Series("", component=self.config.common.component[0])
        kept: list[list[Batch]] = [[]]
        cells = 0
        try:
            for batch in summarise(child, one.path, spec, of, left_out, labels):
                kept[-1].append(batch)
                cells += len(batch.columns["ts"])
                if cells > CELLS:
                    kept.append([])
                    cells = 0
        except Refused as no:
            self._refuse(one, str(no))
            return
        for part, batches in enumerate(kept):
            yield Page(batches, slice=replace(piece, part=part))

    def _state(self, quiet: str, counted: _Slices, labels: Sequence[_File], files: Sequence[_File]) -> dict[str, Any]:
        ahead = [one.identity.next for one in (*counted.bodies, *labels) if one.identity and one.identity.next]
        changed = any(one.refused.startswith("changed while") for one in files)
        state = {"quiet": "" if changed else quiet, "next": min(ahead, default=None), "files": self.stamps}
        if len(json.dumps(state)) > STATE:
            state["files"] = {}
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


def _identity(one: _File) -> Identity:
    assert one.identity is not None
    return one.identity


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass
class _Slices:
    """Which slice every file counts in, decided from what the store has counted already."""

    pull: Pull
    bodies: list[_File] = field(default_factory=list)
    """The files that count, in order; copies of others are not among them."""
    names: dict[str, str] = field(default_factory=dict)

    def settle(self, files: Sequence[_File]) -> Iterator[Page]:
        """Give each file its slice, and say so in empty slices where a name alone would not tell."""
        present = {one.name: one for one in files}
        claimed: dict[str, _File] = {}
        waiting: list[_File] = []
        for one in files:
            mine = self.pull.taken(one.name)
            if mine is None or mine.startswith("as:"):
                waiting.append(one)
            else:
                claimed[one.name] = one
        for one in waiting:
            self._claim(one, present, claimed)
        by_content: dict[str, str] = {}
        for name in sorted(claimed, key=lambda name: claimed[name].name):
            one = claimed[name]
            first = by_content.setdefault(one.content, name)
            if first != name:
                yield Page(slice=Slice(name, f"{one.content}:as:{first}"))
                continue
            self.names[one.name] = name
            self.bodies.append(one)
            if self.pull.taken(f"content:{one.content}") != name:
                yield Page(slice=Slice(f"content:{one.content}", name))
        for one in waiting:
            name = next((name for name, by in claimed.items() if by is one), by_content.get(one.content, ""))
            if name and name != one.name and self.pull.taken(one.name) != f"as:{name}":
                yield Page(slice=Slice(one.name, f"as:{name}"))
        self.bodies.sort(key=lambda one: one.name)

    def _claim(self, one: _File, present: Mapping[str, _File], claimed: dict[str, _File]) -> None:
        """A file without a slice of its own: a copy of a counted file, that file under a new name, or a new file."""
        told = self.pull.taken(one.name)
        holder = told.removeprefix("as:") if told else self.pull.taken(f"content:{one.content}")
        if holder and holder not in present and holder not in claimed:
            counted = self.pull.taken(holder)
            if counted and (told or counted.partition(":")[0] == one.content):
                claimed[holder] = one
                return
        if any(by.content == one.content for by in claimed.values()):
            return
        claimed[one.name] = one

    def slice_of(self, one: _File) -> str:
        """The name of the slice that a file counts in."""
        return self.names[one.name]

    def has(self, one: _File, marks: Sequence[str], *, labels_count: bool) -> bool:
        """Whether just this was counted; where a labels log cannot be read, labels are no reason to count again."""
        told = (self.pull.taken(self.slice_of(one)) or "").split(":")
        return told == list(marks) if labels_count else told[:2] == list(marks[:2])


@dataclass
class _Layouts:
    """The layouts in force, and those that have to be made in this pull."""

    reading: _Reading
    child: Child
    spec: Spec
    files: list[_File]
    join: Join
    window: str = ""
    made: list[str] | None = field(default_factory=list)
    """Layouts made of this reference; None where the store does not say, and all in force are taken for it."""
    ranges: dict[str, list[float]] = field(default_factory=dict)
    numbers: dict[str, list[Any]] = field(default_factory=dict)
    counts: dict[str, Counter[str]] = field(default_factory=dict)
    baselines: list[tuple[str, str, Histogram]] = field(default_factory=list)

    def make(self) -> tuple[Spec, list[Page]]:
        """The spec with its layouts, and the pages that make them stay."""
        config = self.reading.config
        self.window = json.dumps(dict(config.reference), sort_keys=True) if config.reference else ""
        self._remember()
        kinds = self._columns()
        predicted = "number" if config.task == "regression" else "category"
        asked = {("feature", name): (name, kind) for name, kind in kinds.items()}
        asked["prediction", ""] = (config.prediction, predicted)
        found = {key: self._in_force(*key) for key in asked}
        self._read({name: kind for key, (name, kind) in asked.items() if found[key] is None})
        features = tuple(
            self._feature("feature", name, name, kind, found["feature", name]) for name, kind in kinds.items()
        )
        one = self._feature("prediction", "", config.prediction, predicted, found["prediction", ""])
        error, target = self._errors()
        spec = replace(self.spec, features=features, predicted=one, error=error, target=target)
        return spec, self._pages()

    def _remember(self) -> None:
        """What the store knows of the reference: its window, which layouts were made of it, and their ranges."""
        told = self.reading.pull.taken("reference")
        known = json.loads(told) if told else {"window": "", "made": None, "ranges": {}}
        if known["window"] == self.window:
            self.made = known["made"]
            self.ranges = known["ranges"]

    def _in_force(self, signal: str, name: str) -> Layout | None:
        if self.made is not None and f"{signal}:{name}" not in self.made:
            return None
        return self.reading.pull.layout(self.reading.config.common.component[0], signal, name)

    def _columns(self) -> dict[str, str]:
        """The feature columns with "number" or "category"; of files that differ the first that knows decides."""
        config = self.reading.config
        seen: dict[str, str] = {}
        for one in self.files:
            for name, kind in (one.look.kinds if one.look else {}).items():
                if seen.get(name, "empty") == "empty":
                    seen[name] = kind
        named = set(self.spec.columns) | {config.label}
        chosen = config.features if config.features is not None else [name for name in seen if name not in named]
        found: dict[str, str] = {}
        for name in chosen:
            kind = seen.get(name, "absent")
            if kind in ("number", "text", "boolean", "empty"):
                found[name] = "number" if kind == "number" else "category"
            elif kind == "absent" and self.files:
                self.reading.findings["reject", "a feature that no file has", name] += 1
            elif self.files:
                self.reading.findings["remark", "a column that is neither number, text nor boolean", name] += 1
        return found

    def _read(self, columns: Mapping[str, str]) -> None:
        """The values of columns, some columns at a time so that memory stays bounded."""
        if not columns:
            return
        rows = sum(_identity(one).rows for one in self.files)
        stride = max(1, -(-rows // REFERENCE_ROWS))
        at_once = max(1, VALUES // max(1, min(rows, REFERENCE_ROWS)))
        for begin in range(0, len(columns), at_once):
            some = dict(list(columns.items())[begin : begin + at_once])
            self.reading.pull.progress("making bins of " + ", ".join(some), None)
            for number, one in enumerate(self.files):
                left_out = self.join.left_out(number)
                try:
                    for name, values in column_values(
                        self.child, one.path, self.spec, some, left_out, stride, number % stride
                    ):
                        self._keep(name, values)
                except Refused as no:
                    self.reading._refuse(one, str(no))

    def _keep(self, name: str, values: Any) -> None:
        if isinstance(values, Counter):
            self.counts.setdefault(name, Counter()).update(values)
        else:
            self.numbers.setdefault(name, []).append(values)

    def _feature(self, signal: str, name: str, column: str, kind: str, layout: Layout | None) -> Feature:
        key = f"{signal}:{name}"
        if layout is not None:
            # The store keeps categories in the order of their arrival; the same ones are the same layout.
            layout = replace(layout, values=tuple(sorted(layout.values)))
            low, high = _room(*self.ranges[key]) if key in self.ranges else (None, None)
            return Feature(column, layout, low, high, judged=True)
        if kind == "number":
            values = np.concatenate(self.numbers.pop(column, [np.zeros(0)]))
            if not values.size:
                return Feature(column, Layout(digits=12))
            layout, histogram, least, greatest = number_layout(values)
            count = values.size
            self.ranges[key] = [least, greatest]
            low, high = _room(least, greatest)
        else:
            counts = self.counts.pop(column, Counter())
            layout, histogram = category_layout(counts)
            count, low, high = sum(counts.values()), None, None
        if count < ENOUGH:
            self.ranges.pop(key, None)
            return Feature(column, layout)
        self.baselines.append((signal, name, histogram))
        return Feature(column, layout, low, high, judged=True)

    def _errors(self) -> tuple[Layout | None, Layout | None]:
        if self.spec.task != "regression":
            return None, None
        error, target = self._in_force("error", ""), self._in_force("error", "target")
        if error is not None and target is not None:
            return error, target
        found = []
        for number, one in enumerate(self.files):
            try:
                left_out, labels = self.join.left_out(number), self.join.labels[number]
                found.append(extent(self.child, one.path, self.spec, left_out, labels))
            except Refused as no:
                self.reading._refuse(one, str(no))
        largest = [pair for pair in found if pair]
        if not largest:
            return None, None
        error = error_layout(max(pair[0] for pair in largest))
        target = Layout(digits=digits_of(max(pair[1] for pair in largest)))
        self.baselines += [("error", "", Histogram(error, {}, {})), ("error", "target", Histogram(target, {}, {}))]
        return error, target

    def _pages(self) -> list[Page]:
        if not self.baselines:
            return []
        seen = [(_identity(one).since, _identity(one).until) for one in self.files]
        since = min((low for low, _ in seen if low is not None), default=0)
        until = max((high for _, high in seen if high is not None), default=0)
        if self.spec.reference is not None:
            since, until = self.spec.reference
        component = self.reading.config.common.component[0]
        records: list[Record] = [
            Baseline(Series(signal, component=component, name=name), histogram, since, until)
            for signal, name, histogram in self.baselines
        ]
        made = sorted({*(self.made or ()), *(f"{signal}:{name}" for signal, name, _ in self.baselines)})
        told = json.dumps({"window": self.window, "made": made, "ranges": self.ranges}, sort_keys=True)
        return [Page(slice=Slice("reference", told)), Page(records)]


def _room(least: float, greatest: float) -> tuple[float, float]:
    """The range that numbers may lie in: a tenth wider than the reference's, but never across zero."""
    room = (greatest - least) / 10
    low = max(least - room, 0.0) if least >= 0 else least - room
    high = min(greatest + room, 0.0) if greatest <= 0 else greatest + room
    return low, high


# -- import without a configuration

_USUAL: Mapping[str, tuple[str, ...]] = {
    "id": ("prediction_id", "id", "request_id", "event_id"),
    "time": ("ts", "timestamp", "time", "predicted_at", "created_at"),
    "prediction": ("predicted", "prediction", "y_pred"),
    "score": ("score", "y_pred_proba", "probability", "proba"),
    "label": ("label", "target", "actual", "y_true"),
    "version": ("model_version", "version"),
}


def recognise(item: Item) -> bool:
    """Whether the columns hold something like an id, a time and a prediction."""
    if item.entries or not item.head:
        return False
    return _usual(_names(item)).keys() >= {"id", "time", "prediction"}


def _names(item: Item) -> list[str]:
    """The column names of a file, as far as its beginning (or a Parquet footer) tells them."""
    if item.head.startswith(b"PAR1"):
        return _names_of_parquet(item)
    line = item.head.removeprefix(b"\xef\xbb\xbf").lstrip().split(b"\n", 1)[0]
    try:
        text = line.decode("utf-8").strip()
        if text.startswith("{"):
            found = json.loads(text)
            return list(found) if isinstance(found, dict) else []
    except (ValueError, RecursionError):
        return []
    return [name.strip().strip('"') for name in text.split(",")] if "," in text and text[:1] not in "[<#" else []


def _names_of_parquet(item: Item) -> list[str]:
    with Child() as child:
        try:
            return list(look(child, item.path).kinds)
        except Refused:
            return []


def _usual(names: Sequence[str]) -> dict[str, str]:
    """The column for each meaning, by its usual names."""
    lower = {name.lower(): name for name in reversed(names)}
    found = {}
    for meaning, words in _USUAL.items():
        hit = next((lower[word] for word in words if word in lower), None)
        if hit is not None:
            found[meaning] = hit
    return found


def configure(item: Item, common: Common) -> Config:
    """A configuration of a file by the usual names of its columns.

    Raises SourceRefused with a [[source]] block to fill in.
    """
    found = _usual(_names(item))
    missing = [meaning for meaning in ("id", "time", "prediction") if meaning not in found]
    if missing or not common.component:
        raise SourceRefused(guess(item, common))
    with Child() as child:
        try:
            task = _task(child, item.path, found)
        except Refused as no:
            raise SourceRefused(f"{item.name} {no}.") from None
    return Config(
        common=replace(common, folder=item.path.absolute().parent),
        path=glob.escape(item.path.name),
        task=task,
        id=found["id"],
        time=found["time"],
        prediction=found["prediction"],
        version=found.get("version"),
        score=found.get("score"),
        label=found.get("label"),
    )


def _task(child: Child, path: Path, found: Mapping[str, str]) -> Literal["binary", "multiclass", "regression"]:
    """What a log's predictions look like: two classes, several, or numbers with fractions or many of them."""
    columns = {found[meaning]: "category" for meaning in ("prediction", "label") if meaning in found}
    spec = Spec("multiclass", "", "", "")
    texts: set[str] = set()
    for _, counts in column_values(child, path, spec, columns, np.zeros(0, np.int64), 1, 0):
        texts.update(counts)
        if len(texts) > 1000:
            break
    fractions = any(re.fullmatch(r"-?\d+\.\d+(e-?\d+)?", text) for text in texts)
    if fractions or (len(texts) > 20 and all(re.fullmatch(r"-?\d+(\.\d+)?(e[+-]?\d+)?", text) for text in texts)):
        return "regression"
    return "binary" if len(texts) <= 2 else "multiclass"


def guess(item: Item, common: Common) -> str:
    """Why a file cannot be imported as it is, with a [[source]] block that says what its columns mean.

    "" where it is no table that could be a log.
    """
    names = _names(item)
    found = _usual(names)
    missing = [meaning for meaning in ("id", "time", "prediction") if meaning not in found]
    if len(names) < 3 or (missing and not _SUFFIX.search(item.path.name)):
        return ""
    why = f"no column is known to be its {' or '.join(missing)}" if missing else "it does not say of which component"
    lines = [
        "[[source]]",
        'connector = "predictions"',
        f"name = {_toml(item.path.name.partition('.')[0])}",
        f"path = {_toml(glob.escape(str(item.path)))}",
        f"component = {_toml(common.component[0] if common.component else 'MODEL')}",
        *_said_task(item, found),
        *(f"{meaning} = {_toml(found.get(meaning, 'COLUMN'))}" for meaning in ("id", "time", "prediction")),
        *(f"{meaning} = {_toml(found[meaning])}" for meaning in ("version", "score", "label") if meaning in found),
        f"# columns: {', '.join(_toml(name) for name in names[:40])}",
    ]
    hint = "" if missing else " or import it with --component NAME"
    return (
        f"{item.name} needs to be told what its columns mean ({why}); put this into tandem.toml{hint}:\n"
        + "\n".join(lines)
    )


def _said_task(item: Item, found: Mapping[str, str]) -> list[str]:
    """The task as far as the predictions tell it."""
    other = 'task = "binary"   # or multiclass, regression'
    if "prediction" not in found:
        return [other]
    with Child() as child:
        try:
            return [f'task = "{_task(child, item.path, found)}"']
        except Refused:
            return [other]


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
