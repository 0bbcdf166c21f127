"""The files of an OpenTelemetry collector: found, told apart by how they begin, and read line by line from an offset.

The collector's file exporter writes one JSON document per line, or, with `compression: zstd`, documents that are each
compressed and preceded by four bytes of length. A file may also be compressed as a whole after its rotation. Offsets
count decompressed bytes, with one line feed behind every document, so they hold through rotation and compression.
"""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from connectors import _files
from connectors._json import BadJson, BrokenJson, strict
from tandem.connect import Given, Item, SourceRefused

SUFFIX = re.compile(r"\.(json|jsonl|ndjson|otlp|zst|zstd|gz)$", re.IGNORECASE)
MARK = re.compile(rb'"resource(?:Metrics|Spans|Logs|_metrics|_spans|_logs)"\s*:')
"""What stands near the beginning of every document of the protocol."""
_TIME = re.compile(rb'"(?:timeUnixNano|endTimeUnixNano)"\s*:\s*"?(\d{1,20})')
_ZSTD = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class TelemetryFile:
    """One file; `key` is the same for its rotated and compressed forms, `stamp` changes when its bytes do."""

    name: str
    path: Path
    key: str
    stamp: str
    is_packed: bool
    is_whole: bool
    """Whether it is one document over several lines."""
    size: int
    has_metrics: bool
    first: int
    """Nanoseconds of the first time that stands in it."""


@dataclass(frozen=True)
class Line:
    """One document; [begin, end) is its place in the file."""

    begin: int
    end: int
    raw: bytes


def paths_of(whole: str, said: str) -> list[Path]:
    """The files of a path, folder or glob; raises SourceRefused where nothing is there."""
    paths = _paths(whole)
    if not paths:
        raise SourceRefused(f'"{said}" matches no file; check path.')
    return paths


def files_of(paths: Iterable[Path]) -> tuple[list[TelemetryFile], list[tuple[str, str]]]:
    """The files in the order of what they hold, those of metrics first, and (name, reason) of those left out.

    Of several forms of one file (itself and its compressed copy) the longer one is read.
    """
    found: dict[str, TelemetryFile] = {}
    refused: list[tuple[str, str]] = []
    for path in paths:
        try:
            one = look(path)
        except SourceRefused as no:
            refused.append((path.name, str(no)))
            continue
        if one is not None:
            known = found.setdefault(one.key, one)
            if (not one.is_packed, one.size) > (not known.is_packed, known.size):
                found[one.key] = one
    return sorted(found.values(), key=lambda one: (not one.has_metrics, one.first, one.name)), refused


def _paths(whole: str) -> list[Path]:
    if glob.has_magic(whole):
        found = [Path(one) for one in glob.glob(whole, recursive=True)]  # noqa: PTH207 (the pattern is absolute)
    elif Path(whole).is_dir():
        found = [one for one in Path(whole).rglob("*") if SUFFIX.search(one.name) and one.name[0] not in "._"]
    else:
        found = [Path(whole)]
    root = _root(whole).resolve()
    return sorted(one for one in found if one.is_file() and one.resolve().is_relative_to(root))


def _root(whole: str) -> Path:
    """The folder that files must lie in: the last one without a wildcard."""
    if glob.has_magic(whole):
        parts = Path(whole).parts
        return Path(*parts[: next(index for index, part in enumerate(parts) if glob.has_magic(part))])
    return Path(whole) if Path(whole).is_dir() else Path(whole).resolve().parent


def look(path: Path) -> TelemetryFile | None:
    """What a file is; None while its first document is not written to its end. Raises SourceRefused for others."""
    state = path.stat()
    stamp = f"{state.st_size}:{state.st_mtime_ns}"
    with open_from(path, 0) as opened:
        first = opened.readline(_files.LINE_CAP + 1)
    if not first:
        return None
    packed = _is_packed(path)
    if is_document(first):
        key = hashlib.sha256(first.rstrip(b"\r\n")).hexdigest()[:32]
        return TelemetryFile(path.name, path, key, stamp, packed, False, state.st_size, *_beginning(first))
    if not first.endswith(b"\n") and first.lstrip()[:1] == b"{" and MARK.search(first[:4096]):
        return None
    with open_from(path, 0) as opened:
        everything = opened.read(_files.CAP)
    if not MARK.search(everything[:65536]) or first.strip() not in (b"{", b"["):
        raise SourceRefused(f"{path.name} is no OTLP JSON; the collector's file exporter needs format: json.")
    key = hashlib.sha256(everything).hexdigest()[:32]
    return TelemetryFile(path.name, path, key, stamp, packed, True, state.st_size, *_beginning(everything))


def _beginning(raw: bytes) -> tuple[bool, int]:
    """Whether metrics stand in a document, and the first time in it."""
    found = _TIME.search(raw)
    return b'"resourceMetrics"' in raw[:65536], int(found[1]) if found else 0


def is_document(raw: bytes) -> bool:
    """Whether a line is a whole document of the protocol."""
    if not MARK.search(raw[:65536]):
        return False
    try:
        return isinstance(strict(raw, constants=float), dict)
    except (BadJson, BrokenJson):
        return False


def lines(one: TelemetryFile, begin: int) -> Iterator[Line]:
    """The documents from `begin` on; a last one that is cut off is left for later.

    Raises SourceRefused for a line over the cap and a broken archive.
    """
    with open_from(one.path, begin) as opened:
        if one.is_whole:
            raw = opened.read(_files.CAP)
            if raw:
                yield Line(begin, begin + len(raw), raw)
            return
        while raw := opened.readline(_files.LINE_CAP + 1):
            if len(raw) > _files.LINE_CAP:
                raise SourceRefused(f"{one.name} has a line of more than {_files.LINE_CAP / 1e6:g} MB; it is not read.")
            if not raw.endswith(b"\n"):
                if is_document(raw):
                    yield Line(begin, begin + len(raw) + 1, raw)
                return
            yield Line(begin, begin + len(raw), raw)
            begin += len(raw)


def open_from(path: Path, begin: int) -> BinaryIO:
    """The decompressed bytes from `begin` on; a plain file is not read before it."""
    opened: BinaryIO
    if is_framed(path):
        opened = io.BufferedReader(_Framed(path))
    else:
        opened = _files.item(path, Given()).open()
    if begin and not _is_packed(path):
        opened.seek(begin)
        return opened
    while begin > 0:
        piece = opened.read(min(begin, 1 << 20))
        if not piece:
            break
        begin -= len(piece)
    return opened


def _is_packed(path: Path) -> bool:
    with path.open("rb") as opened:
        magic = opened.read(8)
    return magic[4:8] == _ZSTD or magic[:4] == _ZSTD or magic[:2] == b"\x1f\x8b"


def is_framed(path: Path) -> bool:
    """Whether each document of a file is compressed by itself, with its length before it."""
    with path.open("rb") as opened:
        return opened.read(8)[4:8] == _ZSTD


def framed_head(item: Item) -> bytes:
    """The first document of a file whose documents are each compressed; b"" where that cannot be read."""
    head = item.head
    if head[4:8] != _ZSTD:
        return b""
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(io.BytesIO(head[4:]))
        return bytes(reader.read(_files.HEAD))
    except zstandard.ZstdError:
        return b""


class _Framed(io.RawIOBase):
    """Documents that are each compressed, one after another, with a line feed behind each."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._plain = path.open("rb")
        self._name = path.name
        self._left = b""
        self._size = os.fstat(self._plain.fileno()).st_size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            self._left = self._next()
        piece = self._left[: len(buffer)]
        self._left = self._left[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def _next(self) -> bytes:
        told = self._plain.read(4)
        length = int.from_bytes(told, "big")
        if len(told) < 4 or self._plain.tell() + length > self._size:
            return b""
        try:
            decompressor = zstandard.ZstdDecompressor(max_window_size=1 << 27)
            with decompressor.stream_reader(io.BytesIO(self._plain.read(length))) as reader:
                document = reader.read(_files.LINE_CAP + 1)
        except zstandard.ZstdError:
            raise SourceRefused(f"{self._name} is broken and cannot be unpacked; export it again.") from None
        return bytes(document) + b"\n"

    def close(self) -> None:
        if not self.closed:
            self._plain.close()
        super().close()
