"""The files of a payload log, read on from where they were read to, in stretches that are counted once."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from connectors import _files
from connectors._json import BadJson, BrokenJson, strict
from connectors._otlp_files import open_from
from connectors._serving_payloads import Log
from tandem.connect import SourceRefused
from tandem.records import HOUR, Covered, Page, Slice

PIECE = 4_000_000
"""Bytes that are counted and stored at once."""
Stop = Literal["cut", "end", "held back"]
KEPT = 48
"""Hours in which responses that come late still raise the share that was logged."""


@dataclass
class Logged:
    """What is remembered of the log: how far each file was read, the newest events, and how many there were.

    `files`: [offset, stamp where all of it was read] by key. `logged` and `asked`: responses in the log and requests
    that the metrics counted as answered well, by component and hour.
    """

    files: dict[str, list[Any]] = field(default_factory=dict)
    recent: list[str] = field(default_factory=list)
    logged: dict[str, dict[str, int]] = field(default_factory=dict)
    asked: dict[str, dict[str, int]] = field(default_factory=dict)

    def note(self, where: dict[str, dict[str, int]], counted: Counter[tuple[str, int]]) -> None:
        """Add counts by component and hour; old hours are forgotten."""
        for (component, hour), n in counted.items():
            own = where.setdefault(component, {})
            own[str(hour)] = own.get(str(hour), 0) + n
            for old in sorted(own, key=int)[:-KEPT]:
                del own[old]

    def covered(self, until: int) -> Iterator[Covered]:
        """The share of each finished hour's requests that the log holds, as that share of the hour."""
        for component, hours in sorted(self.asked.items()):
            for hour, asked in sorted(hours.items()):
                share = min(1.0, self.logged.get(component, {}).get(hour, 0) / asked) if asked else 0.0
                if share and int(hour) + HOUR <= until:
                    yield Covered(int(hour), int(hour) + int(share * HOUR), component, "prediction")


@dataclass
class Logs:
    """One reading of the files of a log; `fresh` makes what a stretch adds up to."""

    fresh: Callable[[], Log]
    memory: Logged
    taken: Callable[[str], str | None]
    until: int

    def pages(self, paths: list[Path]) -> Iterator[Page]:
        """The stretches that were not read before; the last page remembers."""
        for path in paths:
            begin = _beginning(path)
            if begin is None:
                continue
            key = hashlib.sha256(begin).hexdigest()[:32]
            state = path.stat()
            stamp = f"{state.st_size}:{state.st_mtime_ns}"
            offset, read_to = self.memory.files.get(key, [0, ""])
            if read_to != stamp:
                yield from self._file(path, key, offset, stamp)

    def _file(self, path: Path, key: str, begin: int, stamp: str) -> Iterator[Page]:
        stopped: Stop = "cut"
        while stopped == "cut":
            log = self.fresh()
            log.recent = list(self.memory.recent)
            end, digest, stopped = self._stretch(path, key, begin, log)
            self.memory.files[key] = [end, stamp if stopped == "end" else ""]
            if end == begin:
                findings = log.said.findings(path.name)
                if findings:
                    yield Page(covered=(), findings=findings)
                return
            baselines = log.count()
            if baselines:
                yield Page(baselines, covered=())
            self.memory.recent = log.recent
            if self.taken(f"log:{key}@{begin}") is None:
                self.memory.note(self.memory.logged, log.logged)
            yield Page(
                log.added.facts(),
                covered=(),
                slice=Slice(f"log:{key}@{begin}", f"{end}:{digest}"),
                findings=(*log.said.findings(path.name), *log.added.findings()),
            )
            begin = end

    def _stretch(self, path: Path, key: str, begin: int, log: Log) -> tuple[int, str, Stop]:
        """(end, digest, why it ends) of a stretch, cut where it was cut before."""
        told = (self.taken(f"log:{key}@{begin}") or "").partition(":")[0]
        until = int(told) if told.isdigit() else None
        digest, end = hashlib.sha256(), begin
        with open_from(path, begin) as opened:
            while raw := opened.readline(_files.LINE_CAP + 1):
                if len(raw) > _files.LINE_CAP:
                    limit = f"{_files.LINE_CAP / 1e6:g} MB"
                    raise SourceRefused(f"{path.name} has a line of more than {limit}; it is not read.")
                if not raw.endswith(b"\n") and not _is_whole(raw):
                    break  # it is still being written
                if raw.strip() and not log.take(raw, self.until):
                    return end, digest.hexdigest()[:32], "held back"
                digest.update(raw.rstrip(b"\r\n") + b"\n")
                end += len(raw) + (not raw.endswith(b"\n"))
                if end - begin >= PIECE if until is None else end >= until:
                    return end, digest.hexdigest()[:32], "cut"
        return end, digest.hexdigest()[:32], "end"


def _is_whole(raw: bytes) -> bool:
    """Whether a last line without an end is a whole document all the same."""
    try:
        return isinstance(strict(raw), dict)
    except (BadJson, BrokenJson):
        return False


def _beginning(path: Path) -> bytes | None:
    """The first line of a file; None while it is not written to its end."""
    with open_from(path, 0) as opened:
        first = opened.readline(_files.LINE_CAP + 1)
    return first.rstrip(b"\r\n") if first.endswith(b"\n") or _is_whole(first) else None
