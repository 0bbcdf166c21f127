"""OpenTelemetry: requests, latency, builds and deployments from the files that a collector writes.

A slice is a stretch of a file, named by how the file begins and where the stretch begins: "KEY@OFFSET". Its digest
tells where it ends, so a reading that lost its state finds the same stretches again.
"""

from __future__ import annotations

import fnmatch
import glob
import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from connectors._json import BadJson, BrokenJson, strict
from connectors._otlp_counting import METRICS, Counted, Memory
from connectors._otlp_data import Telemetry, is_foreign, telemetry
from connectors._otlp_files import (
    MARK,
    Line,
    TelemetryFile,
    files_of,
    framed_head,
    lines,
    paths_of,
)
from connectors._otlp_runs import STATUS
from tandem import place
from tandem.connect import About, Common, Item, Pull, SourceRefused, setting, status_of
from tandem.records import Finding, Page, Series, Slice

PIECE = 4_000_000
"""Bytes of a file that are counted and stored at once."""
_SECOND = 1_000_000_000
_SKEW = 300
_FAR = 1 << 40
_SAMPLES = 50

ABOUT = About(
    reads="What an OpenTelemetry collector's file exporter writes (OTLP as JSON): a file, a folder or a glob.",
    signals=(
        "request_success",
        "latency",
        "build_success",
        "build_duration",
        "deploy_success",
        "deploy_duration",
    ),
    events=("build", "deployment"),
    labels={
        "service.name": "the service, from the resource",
        "service.namespace": "its namespace",
        "service.version": "its version",
        "deployment.environment": "deployment.environment.name or deployment.environment of the resource",
        "cicd.pipeline.name": "the pipeline of a build or deployment",
        "cicd.pipeline.task.name": "the task that deployed",
        "vcs.repository.name": "the repository that was built",
        "vcs.repository.url.full": "its address",
        "vcs.ref.head.name": "the branch or tag that was built",
        "deployment.name": "the name of the deployment",
        "result": "how it ended, in the words of the conventions",
        "error.type": "what went wrong: a failure of the code or an error of the machinery",
    },
    files=(
        "JSON Lines of the collector's file exporter, growing, rotated, or compressed as a whole (gzip, zstd)",
        "the same with compression: zstd, each document compressed by itself",
        "one saved ExportMetricsServiceRequest or ExportTraceServiceRequest as JSON",
    ),
    limits=(
        "Of a service's histograms of request durations one counts; where it has none, its server spans count.",
        "Spans count as they are written: where traces are sampled, so are the requests.",
        "A cumulative histogram's first point counts only if its series began within what was read.",
        "Nothing is bridged over more than 10 minutes; that stretch is missing coverage.",
        "Histograms with negative values are rejected; scales above 4 are merged to it, exactly.",
        "Exponential histograms in milliseconds keep their bins as bounds in seconds.",
        "Builds are spans with cicd.pipeline.run.id, which appear when a run ends; metrics of pipelines are not read.",
        "What is sent again is known among the last 5,000 spans and the last 8 points of a series.",
        "A run that runs again under its id is another attempt, as long as it is among the last 2,000 runs.",
        "What is kept between pulls holds about 5,000 series; of the rest the first point after a pull counts nothing.",
        "Files in the proto format are refused.",
    ),
    status=STATUS,
    aliases=("opentelemetry",),
    side="system",
    example="""\
connector = "otlp"
name = "telemetry"
path = "/var/log/otelcol"                  # a file, a folder or a glob of the collector's file exporter
# requests = "auto"                        # or "metrics", "spans": what requests are counted from
# segments = ["http.route"]                # attributes whose values are segments
# discover = true                          # a component for each service.name
  [[source.map]]
  component = "checkout-api"
  match = { "service.name" = "checkout" }
  environment = "production"
""",
)


@dataclass(frozen=True)
class Config:
    """The files of one collector."""

    common: Common
    path: str = setting("File, folder or glob that the file exporter writes.", example="/var/log/otelcol")
    requests: Literal["auto", "metrics", "spans"] = setting(
        "What requests are counted from; auto: a service's metric, and its server spans where it has none.",
        default="auto",
        example="auto",
    )
    metrics: tuple[str, ...] = setting(
        "Names of histograms of request durations, the best first; left out, those of the semantic conventions.",
        default=METRICS,
        example=METRICS[:2],
    )
    segments: tuple[str, ...] = setting(
        "Attributes of requests whose values are segments.", default=(), example=("http.route",)
    )


def scope(config: Config) -> str:
    """The path, absolute and normalised."""
    return os.path.normpath(config.common.folder.absolute() / config.path)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What was written since the last pull, file by file."""
    yield from _Reading(config, pull, Memory.of(pull.state)).pages(paths_of(scope(config), config.path))


def parse(item: Item, config: Config) -> Iterator[Page]:
    """All of one file, or of a folder whose files belong together."""
    yield from parse_with(item, config, Pull(since=0, until=_FAR, now=_FAR))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same in the stretches in which it was counted before."""
    paths = [item.path / entry for entry in item.entries] if item.entries else [item.path]
    if not all(path.is_file() for path in paths):
        raise SourceRefused(f"{item.name} lies in an archive; unpack it first.")
    for page in _Reading(config, pull, Memory()).pages(paths):
        yield replace(page, state=None)


def recognise(item: Item) -> bool:
    """Documents of the protocol; a folder when all of its files are such."""
    if item.entries:
        if any("/" in entry for entry in item.entries):
            return False
        some = item.entries[:: 1 + len(item.entries) // _SAMPLES]
        return all(not one.entries and recognise(one) for one in map(item.child, some))
    head = (framed_head(item) or item.head).lstrip(b"\xef\xbb\xbf \t\r\n")
    return head.startswith(b"{") and MARK.search(head[:4096]) is not None


def belongs(item: Item, config: Config) -> bool:
    """Whether a file is one of those that the source reads."""
    whole, path = scope(config), os.path.normpath(item.path.absolute())
    return path == whole or path.startswith(whole + os.sep) or fnmatch.fnmatch(path, whole)


def configure(item: Item, common: Common) -> Config:
    """A configuration of files by themselves."""
    return Config(common=replace(common, folder=item.path.absolute().parent), path=glob.escape(item.path.name))


@dataclass
class _Piece:
    """The lines of one slice."""

    begin: int
    end: int
    found: list[Telemetry] = field(default_factory=list)
    digest: Any = field(default_factory=hashlib.sha256)
    findings: list[Finding] = field(default_factory=list)


@dataclass
class _Reading:
    """One pull, or one import."""

    config: Config
    pull: Pull
    memory: Memory
    bytes_read: int = 0

    def pages(self, paths: Iterable[Path]) -> Iterator[Page]:
        files, refused = files_of(paths)
        findings = [Finding("reject", reason, name) for name, reason in refused]
        if not files and refused:
            raise SourceRefused(refused[0][1])
        for number, one in enumerate(files):
            self.pull.progress(f"reading {one.name}", number / len(files))
            if self.memory.files.get(one.key, [0, ""])[1] != one.stamp:
                yield from self._file(one)
        self.memory.files = {one.key: self.memory.files[one.key] for one in files if one.key in self.memory.files}
        yield Page(state=self.memory.plain(), covered=(), findings=findings)

    def _file(self, one: TelemetryFile) -> Iterator[Page]:
        begin = int(self.memory.files.get(one.key, [0, ""])[0])
        whole = True
        try:
            for piece, is_last in self._pieces(one, begin):
                whole = is_last
                yield self._page(one, piece)
                begin = piece.end
        except SourceRefused as no:
            yield Page(covered=(), findings=[Finding("reject", str(no), one.name)])
        # A file whose end lies ahead of this pull is looked at again though it does not change.
        self.memory.files[one.key] = [begin, one.stamp if whole else ""]

    def _pieces(self, one: TelemetryFile, begin: int) -> Iterator[tuple[_Piece, bool]]:
        """The slices from `begin` on, where they were cut before; and whether anything was held back behind one."""
        piece, until = _Piece(begin, begin), self._end(one, begin)
        for line in lines(one, begin):
            self.bytes_read += len(line.raw)
            found, late = self._read(one, line, piece)
            if late:
                yield piece, False
                return
            piece.found += found
            piece.end = line.end
            piece.digest.update(line.raw.rstrip(b"\r\n") + b"\n")
            if piece.end - piece.begin >= PIECE if until is None else piece.end >= until:
                yield piece, True
                piece = _Piece(line.end, line.end)
                until = self._end(one, line.end)
        if piece.end > piece.begin:
            yield piece, True

    def _end(self, one: TelemetryFile, begin: int) -> int | None:
        told = self.pull.taken(f"{one.key}@{begin}")
        end = told.partition(":")[0] if told else ""
        return int(end) if end.isdigit() else None

    def _read(self, one: TelemetryFile, line: Line, piece: _Piece) -> tuple[list[Telemetry], bool]:
        """What a line says, and whether it lies ahead of this pull."""
        where = f"{one.name} from byte {line.begin}"
        if not line.raw.strip():
            return [], False
        try:
            document = strict(line.raw, constants=float)
        except (BadJson, BrokenJson):
            piece.findings.append(Finding("reject", "a line is no JSON that can be used", where))
            return [], False
        if not MARK.search(line.raw[:65536]):
            piece.findings.append(Finding("reject", "a line is no document of the protocol", where))
            return [], False
        if is_foreign(line.raw):
            piece.findings.append(Finding("remark", "has enumerations by name; they are read all the same", one.name))
        found = list(telemetry(document, frozenset(self.config.metrics)))
        latest = max((at for each in found for at in _times(each)), default=0)
        ahead = latest >= self.pull.until * _SECOND
        if ahead and self.config.common.shift_days is None and latest > (self.pull.until + _SKEW) * _SECOND:
            piece.findings.append(Finding("reject", "a line lies in the future", where))
            return [], False
        return found, ahead

    def _page(self, one: TelemetryFile, piece: _Piece) -> Page:
        if not self.memory.horizon:
            self.memory.horizon = one.first
        counted = Counted(
            self.config.requests,
            self.config.metrics,
            self.config.segments,
            self.memory,
            self._components,
            lambda word: status_of(self.config, ABOUT, word),
        )
        counted.add(piece.found)
        facts = counted.facts()
        self.memory.files[one.key] = [piece.end, ""]
        findings = (*piece.findings, *counted.findings(one.name))
        if piece.end == piece.begin:
            return Page(covered=(), findings=findings)
        return Page(
            [*facts, *counted.events.values()],
            state=self.memory.plain(),
            covered=counted.covered(),
            slice=Slice(f"{one.key}@{piece.begin}", f"{piece.end}:{piece.digest.hexdigest()[:32]}"),
            findings=findings,
        )

    def _components(self, series: Series) -> Sequence[str]:
        found = [one.component for one in place.series_of(series, self.config.common)]
        return found or ()


def _times(found: Telemetry) -> Iterator[int]:
    yield from (point.time for point in found.points)
    yield from (span.end for span in found.spans)
