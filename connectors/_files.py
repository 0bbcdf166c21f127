"""Exported files and folders: decompressed under a cap, never extracted, never followed out of their folder."""

from __future__ import annotations

import bz2
import glob
import gzip
import hashlib
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast
from xml.etree.ElementTree import Element, ParseError

import zstandard
from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from connectors._json import BadJson, BrokenJson, first, strict
from tandem.connect import Given, Item, SourceRefused

HEAD = 65_536
"""Bytes of `Item.head`."""
ENTRIES = 10_000
"""Most entries of a folder that are looked at."""
MEMBERS = 1_000
"""Most members of a zip archive."""
CAP = 200_000_000
"""Most bytes of a decompressed file."""
RATIO = 100
"""Most bytes a member of a zip archive may grow to, per compressed byte."""
XML_CAP = 20_000_000
XML_DEPTH = 100
LINE_CAP = 16_000_000
"""Most bytes of one line."""

_MAGIC: tuple[tuple[bytes, str], ...] = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
)
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_BROKEN = (EOFError, OSError, zlib.error, lzma.LZMAError, zstandard.ZstdError, zipfile.BadZipFile, NotImplementedError)
_BOMS: tuple[tuple[bytes, str], ...] = (
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)


@dataclass
class FileItem:
    """One file; `open` gives its bytes without the compression."""

    name: str
    path: Path
    modified: int
    head: bytes
    entries: Sequence[str]
    given: Given

    def open(self) -> BinaryIO:
        """The decompressed bytes; raises SourceRefused over the cap and for a broken archive."""
        return _opened(self.path, self.name, CAP)

    def child(self, entry: str) -> Item:
        """A file has no entries: raises SourceRefused."""
        raise SourceRefused(f"{self.name} is a file and holds no {entry}.")


@dataclass
class FolderItem:
    """A folder; its `entries` are the files in it and below, links out of it left out."""

    name: str
    path: Path
    modified: int
    head: bytes
    entries: Sequence[str]
    given: Given

    def open(self) -> BinaryIO:
        """A folder has no bytes: raises SourceRefused."""
        raise SourceRefused(f"{self.name} is a folder; name a file in it.")

    def child(self, entry: str) -> Item:
        """The file of that entry; raises SourceRefused for a name that is not among the entries."""
        if entry not in self.entries:
            raise SourceRefused(f"{self.name} holds no {entry}.")
        return item(self.path / entry, self.given)


@dataclass
class ZipItem:
    """A zip archive as a folder; its members are read by name and never extracted."""

    name: str
    path: Path
    modified: int
    head: bytes
    entries: Sequence[str]
    given: Given

    def open(self) -> BinaryIO:
        """The archive's own bytes."""
        return self.path.open("rb")

    def child(self, entry: str) -> Item:
        """The member of that name; raises SourceRefused for a name that is not among the entries."""
        if entry not in self.entries:
            raise SourceRefused(f"{self.name} holds no {entry}.")
        return _headed(MemberItem(entry, self.path, self.modified, b"", (), self.given))


@dataclass
class MemberItem:
    """One member of a zip archive."""

    name: str
    path: Path
    modified: int
    head: bytes
    entries: Sequence[str]
    given: Given

    def open(self) -> BinaryIO:
        """The member's bytes under the cap; raises SourceRefused for an archive inside the archive."""
        where = f"{self.path.name}:{self.name}"
        try:
            archive = zipfile.ZipFile(self.path)
            told = archive.getinfo(self.name)
            stream: Any = archive.open(told)
        except (*_BROKEN, KeyError, RuntimeError) as error:
            raise _broken(where, error) from None
        cap = min(CAP, RATIO * max(told.compress_size, 1024))
        opened = io.BufferedReader(_Capped(stream, where, cap, told.compress_size), HEAD)
        begin = opened.peek(8)[:8]
        if _packed(begin) or begin[:4] in _ZIP:
            raise SourceRefused(f"{where} is an archive inside an archive; unpack the outer one first.")
        return cast("BinaryIO", opened)

    def child(self, entry: str) -> Item:
        """A member has no entries: raises SourceRefused."""
        raise SourceRefused(f"{self.name} is a file and holds no {entry}.")


def item(path: Path, given: Given) -> Item:
    """The item of a file, folder or zip archive.

    The `head` of a broken file is as much as can be read; its `open`, or reading on, says why. Raises SourceRefused
    for a path that is not there, a folder with too many entries, and anything that is neither file nor folder.
    """
    try:
        state = path.stat()
    except OSError:
        raise SourceRefused(f"{path} is not there or cannot be read; check the path.") from None
    modified = int(state.st_mtime)
    if stat.S_ISDIR(state.st_mode):
        return FolderItem(path.name, path, modified, b"", tuple(_entries(path)), given)
    if not stat.S_ISREG(state.st_mode):
        raise SourceRefused(f"{path} is neither a file nor a folder.")
    members = _members(path)
    if members is not None:
        return ZipItem(path.name, path, modified, b"", members, given)
    return _headed(FileItem(path.name, path, modified, b"", (), given))


def items(path: Path, given: Given) -> Iterator[Item]:
    """The item of `path`, and after it those of all files in it, if it is a folder."""
    whole = item(path, given)
    yield whole
    for entry in whole.entries:
        yield whole.child(entry)


def files_at(path: Path, given: Given) -> Iterator[tuple[Item, bool]]:
    """The files that a path, folder or glob names, each with whether the path names it alone.

    Raises SourceRefused where the path itself is not there; a glob may find nothing.
    """
    hits = [path] if path.exists() else [Path(hit) for hit in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
    if not hits and not glob.has_magic(str(path)):
        raise SourceRefused(f"{path} is not there; check the path.")
    for hit in hits:
        for one in items(hit, given):
            if not one.entries and not one.path.is_dir():
                yield one, hits == [one.path]


def digest_of(item: Item) -> str:
    """The SHA-256 of the decompressed bytes."""
    digest = hashlib.sha256()
    with item.open() as opened:
        while piece := opened.read(1 << 16):
            digest.update(piece)
    return digest.hexdigest()


def stamp(found: Iterable[Item]) -> str:
    """What changes when one of the files comes, goes, grows or is written again."""
    digest = hashlib.sha256()
    for one in found:
        state = one.path.stat()
        digest.update(f"{one.path}:{one.name}:{state.st_size}:{state.st_mtime_ns};".encode("utf-8", "replace"))
    return digest.hexdigest()


def walk(path: Path, given: Given, recognised: Callable[[Item], bool]) -> Iterator[Item]:
    """What there is to import at `path`: every file, and in place of a folder's files the folder, if recognised.

    A folder nobody recognises is entered and not yielded itself. Raises SourceRefused for `path` itself only.
    """
    whole = item(path, given)
    if not isinstance(whole, FolderItem | ZipItem) or recognised(whole):
        yield whole
    elif isinstance(whole, ZipItem):
        yield from (whole.child(entry) for entry in whole.entries)
    else:
        yield from _inside(whole, recognised)


def _inside(folder: FolderItem, recognised: Callable[[Item], bool]) -> Iterator[Item]:
    done = ""
    for entry in folder.entries:
        if done and entry.startswith(done):
            continue
        part, slash, _ = entry.partition("/")
        if not slash:
            yield from walk(folder.path / part, folder.given, recognised)
            continue
        done = f"{part}/"
        yield from walk(folder.path / part, folder.given, recognised)


def lines(item: Item, *, ends: bool = False) -> Iterator[str]:
    """The lines of a UTF-8 text without their ends; with `ends` whole ones keep a newline, a cut-off last one has none.

    Raises SourceRefused, with the line, for another encoding.
    """
    with item.open() as opened:
        for number, raw in enumerate(_raw_lines(item, opened), 1):
            line = _decoded(item, raw, number)
            yield line + "\n" if ends and raw.endswith(b"\n") else line


def text(item: Item) -> str:
    """The whole UTF-8 text; raises SourceRefused over the cap, and with the line for another encoding."""
    with item.open() as opened:
        raw = opened.read(CAP + 1)
    if len(raw) > CAP:
        raise SourceRefused(f"{item.name} holds more than {CAP / 1e6:g} MB; split it.")
    _check_bom(item, raw)
    try:
        return raw.removeprefix(b"\xef\xbb\xbf").decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(item, raw.count(b"\n", 0, error.start) + 1) from None


def load_json(item: Item, constants: Callable[[str], Any] | None = None) -> Any:
    """The one JSON document of a file, read strictly (see `_json.strict`); raises SourceRefused with the line."""
    try:
        return strict(text(item), constants)
    except BadJson as error:
        raise SourceRefused(f"{item.name} cannot be used: {error}.") from None
    except BrokenJson as error:
        raise _no_json(item, error.line) from None


def load_yaml(item: Item) -> Any:
    """The one document of a YAML file; raises SourceRefused without PyYAML and for what is no YAML."""
    try:
        import yaml
    except ImportError:
        raise SourceRefused(
            f"{item.name} is YAML, which needs PyYAML: run `pip install 'tandem-health[openslo]'`."
        ) from None
    try:
        return yaml.safe_load(text(item))
    except (yaml.YAMLError, RecursionError, ValueError):
        raise SourceRefused(f"{item.name} is no sound YAML; export it again.") from None


def documents(item: Item, constants: Callable[[str], Any] | None = None) -> Iterator[Any]:
    """Every JSON document of a file: one, several behind one another, or one per line (read line by line).

    What stands before a broken place is yielded before SourceRefused says where it is.
    """
    with item.open() as opened:
        source = enumerate(_raw_lines(item, opened), 1)
        for number, raw in source:
            line = _decoded(item, raw, number)
            if not line.strip():
                continue
            try:
                document = strict(line, constants)
            except BadJson as error:
                raise SourceRefused(f"{item.name} line {number} cannot be used: {error}.") from None
            except BrokenJson:
                rest = "\n".join([line, *(_decoded(item, more, at) for at, more in source)])
                yield from _concatenated(item, rest, number, constants)
                return
            yield document


def documents_so_far(item: Item, remark: Callable[[str], None]) -> Iterator[Any]:
    """The documents of a file as far as it was written: a run that was killed leaves half a line."""
    read = 0
    try:
        for document in documents(item):
            read += 1
            yield document
    except SourceRefused as broken:
        if not read:
            raise
        remark(f"{str(broken).rstrip('.')}; what stands before it is counted")


def _concatenated(item: Item, rest: str, at: int, constants: Callable[[str], Any] | None) -> Iterator[Any]:
    place = 0
    while True:
        while place < len(rest) and rest[place].isspace():
            place += 1
        if place == len(rest):
            return
        try:
            document, place = first(rest, place, constants)
        except BadJson as error:
            raise SourceRefused(f"{item.name} cannot be used: {error}.") from None
        except BrokenJson as error:
            raise _no_json(item, at + error.line - 1) from None
        yield document


def xml(item: Item) -> Iterator[tuple[str, Element]]:
    """("start" or "end", element) of an XML file, as it is read; no DTD, no entities, at most 20 MB and 100 deep.

    Raises SourceRefused with the line where the file stops being usable.
    """
    depth = 0
    with item.open() as opened:
        capped = io.BufferedReader(_Capped(opened, item.name, XML_CAP, None))
        try:
            for event, element in iterparse(capped, events=("start", "end"), forbid_dtd=True):
                depth += 1 if event == "start" else -1
                if depth > XML_DEPTH:
                    raise SourceRefused(f"{item.name} nests elements more than {XML_DEPTH} deep; it is not read.")
                yield event, element
        except DefusedXmlException:
            raise SourceRefused(f"{item.name} declares a DTD or entities; export it without them.") from None
        except ParseError as error:
            line = error.position[0]
            raise SourceRefused(f"{item.name} line {line} is not well-formed XML, perhaps cut off.") from None


class _Capped(io.RawIOBase):
    """Bytes of another stream, counted; over the cap and for a broken stream it raises SourceRefused."""

    def __init__(self, stream: Any, name: str, cap: int, compressed: int | None) -> None:
        super().__init__()
        self._stream = stream
        self._name = name
        self._cap = cap
        self._compressed = compressed
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            piece = self._stream.read1(len(buffer))
        except _BROKEN as error:
            raise _broken(self._name, error) from None
        self._count += len(piece)
        if self._count > self._cap:
            raise SourceRefused(f"{self._name} holds more than {self._cap / 1e6:g} MB{self._ratio()}; split it.")
        buffer[: len(piece)] = piece
        return len(piece)

    def _ratio(self) -> str:
        if not self._compressed:
            return ""
        return f", over {self._cap / self._compressed:.0f} times its {self._compressed:,} compressed bytes"

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def _opened(path: Path, name: str, cap: int) -> BinaryIO:
    try:
        plain = path.open("rb")
    except OSError:
        raise SourceRefused(f"{name} cannot be read; check its permissions.") from None
    begin = plain.read(8)
    plain.seek(0)
    if begin[:4] in _ZIP:
        plain.close()
        raise _unusable_zip(path)
    packed = _packed(begin)
    if not packed:
        return plain
    capped = _Capped(_unpacked(packed, plain), name, cap, os.fstat(plain.fileno()).st_size)
    return cast("BinaryIO", io.BufferedReader(capped, HEAD))


def _packed(magic: bytes) -> str:
    return next((kind for begin, kind in _MAGIC if magic.startswith(begin)), "")


def _unpacked(kind: str, plain: BinaryIO) -> Any:
    if kind == "gzip":
        return gzip.GzipFile(fileobj=plain)
    if kind == "bzip2":
        return bz2.BZ2File(plain)
    if kind == "xz":
        return lzma.LZMAFile(plain)
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(plain, read_across_frames=True)


def _headed(found: FileItem | MemberItem) -> Item:
    pieces = b""
    try:
        with found.open() as opened:
            while len(pieces) < HEAD and (piece := opened.read1(HEAD - len(pieces))):  # type: ignore[attr-defined]
                pieces += piece
    except SourceRefused:
        pass
    found.head = pieces
    return found


def _entries(folder: Path) -> list[str]:
    """The names of the regular files below `folder`, sorted; links are followed only to files inside it."""
    root = folder.resolve()
    found: list[str] = []
    for at, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not (Path(at) / name).is_symlink())
        found += [
            (Path(at) / name).relative_to(folder).as_posix() for name in files if _is_inside(Path(at) / name, root)
        ]
        if len(found) > ENTRIES:
            raise SourceRefused(f"{folder} holds more than {ENTRIES:,} files; import the folders in it one by one.")
    return sorted(found)


def _is_inside(path: Path, root: Path) -> bool:
    try:
        state = path.stat()
    except OSError:
        return False
    return stat.S_ISREG(state.st_mode) and (not path.is_symlink() or path.resolve().is_relative_to(root))


def _members(path: Path) -> tuple[str, ...] | None:
    """The names in a zip archive; None for any other file, and for a zip that is broken or over the caps."""
    try:
        with path.open("rb") as opened:
            if opened.read(4) not in _ZIP:
                return None
        told = _directory(path)
    except _BROKEN:
        return None
    if len(told) > MEMBERS or sum(info.file_size for info in told) > CAP:
        return None
    return tuple(sorted({info.filename for info in told}))


def _directory(path: Path) -> list[zipfile.ZipInfo]:
    with zipfile.ZipFile(path) as archive:
        return [info for info in archive.infolist() if not info.is_dir()]


def _unusable_zip(path: Path) -> SourceRefused:
    try:
        told = _directory(path)
    except _BROKEN as error:
        return _broken(path.name, error)
    if len(told) > MEMBERS:
        return SourceRefused(f"{path.name} holds more than {MEMBERS:,} files; unpack it and import the folder.")
    return SourceRefused(f"{path.name} holds more than {CAP / 1e6:g} MB; unpack it and import the folder.")


def _raw_lines(item: Item, opened: BinaryIO) -> Iterator[bytes]:
    begun = False
    while raw := opened.readline(LINE_CAP + 1):
        if len(raw) > LINE_CAP:
            raise SourceRefused(f"{item.name} has a line of more than {LINE_CAP / 1e6:g} MB; it is not read.")
        if not begun:
            _check_bom(item, raw)
            raw = raw.removeprefix(b"\xef\xbb\xbf")
            begun = True
        yield raw


def _decoded(item: Item, raw: bytes, number: int) -> str:
    try:
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise _not_utf8(item, number) from None


def _check_bom(item: Item, raw: bytes) -> None:
    for mark, encoding in _BOMS:
        if raw.startswith(mark):
            raise SourceRefused(f"{item.name} is {encoding}; save it as UTF-8.")


def _not_utf8(item: Item, line: int) -> SourceRefused:
    return SourceRefused(f"{item.name} line {line} is not UTF-8 (perhaps Latin-1); save the file as UTF-8.")


def _no_json(item: Item, line: int) -> SourceRefused:
    return SourceRefused(f"{item.name} line {line} is not JSON, perhaps cut off; export it again.")


def _broken(name: str, error: Exception) -> SourceRefused:
    if isinstance(error, RuntimeError) and not isinstance(error, NotImplementedError):
        return SourceRefused(f"{name} is encrypted; export it without a password.")
    return SourceRefused(f"{name} is broken or cut off and cannot be unpacked; export it again.")
