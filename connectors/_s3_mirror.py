"""Copies of a bucket's objects on this machine: each is fetched once, and again when it was written again.

A source of rows needs all of its files whenever one changes (an id counts once over all of them), so they stay in a
folder of the source; it may be removed at any time, which costs requests and never a number. What other formats read is
fetched, read and removed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from connectors._http import Client, Reply
from connectors._s3_listing import ACCEPT, Stored, checksum, is_hash, same_bytes
from tandem.connect import SourceDown

PIECE = 16_000_000
"""Bytes that are asked for at once."""
LARGEST = 5_000_000_000
"""Bytes of the largest object that is read."""
_LONGEST = 200
_SAVED_EVERY = 50

Refusal = Callable[[Reply, str], Exception]


class Unread(Exception):
    """One object is left out; the text says why, without its key. `again`: the next pull may find it otherwise."""

    def __init__(self, why: str, *, again: bool = False) -> None:
        super().__init__(why)
        self.again = again


def relative(key: str, prefix: str) -> Path:
    """Where a copy lies below its folder; raises Unread for a key that no file can be called."""
    parts = key[prefix.rfind("/") + 1 :].split("/")
    bad = any(part in ("", ".", "..") or len(part.encode()) > _LONGEST or "\\" in part for part in parts)
    if bad or not all(part.isprintable() for part in parts):
        raise Unread("has a key that no file can be called; copy it to another")
    return Path(*parts)


def fetch_to(client: Client, path: str, stored: Stored, to: Path, refusal: Refusal) -> None:
    """Write an object to a file, a piece at a time.

    Raises Unread where it changed or vanished meanwhile, SourceDown where its bytes are not those of its hash, and
    what `refusal` makes of any other answer.
    """
    if stored.size > LARGEST:
        raise Unread(f"holds more than {LARGEST / 1e9:g} GB; write smaller objects")
    if stored.archived:
        raise Unread("is archived (Glacier); restore it, or leave it out by its prefix")
    try:
        to.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with to.open("wb") as opened:
            digest = hashlib.md5(usedforsecurity=False)
            headers: dict[str, str] = {}
            for begin in range(0, stored.size, PIECE):
                reply = _piece(client, path, stored, begin, refusal)
                headers = dict(reply.headers)
                digest.update(reply.body)
                opened.write(reply.body)
        os.utime(to, (stored.modified, stored.modified))
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Unread("is called as a folder of other objects is; copy it to another key") from None
    except OSError as full:
        raise SourceDown(f"{to.parent} cannot hold a copy ({full.strerror}); make room, or set cache.") from None
    if stored.size > PIECE and is_hash(stored, headers) and digest.hexdigest() != stored.etag:
        raise SourceDown(f"{stored.key.rpartition('/')[2]} came other than it is stored; it is asked for again.")


def _piece(client: Client, path: str, stored: Stored, begin: int, refusal: Refusal) -> Reply:
    end = min(begin + PIECE, stored.size)
    whole = stored.size <= PIECE
    headers = {"If-Match": f'"{stored.etag}"'} if stored.etag else {}
    if not whole:
        headers["Range"] = f"bytes={begin}-{end - 1}"

    def check(reply: Reply) -> None:
        if reply.status not in (200, 206):
            return
        good = same_bytes(stored, reply.body, reply.headers) if whole else len(reply.body) == end - begin
        if not good or (not whole and reply.status != 206):
            raise ValueError("answered with other bytes than the object that is listed")

    reply = client.get(path, headers=headers, accept=ACCEPT, json="bytes", check=check)
    if reply.status in (404, 412):
        raise Unread("changed or vanished while it was read; it is read at the next pull", again=True)
    if reply.status == 403 and b"InvalidObjectState" in reply.body[:2000]:
        raise Unread("is archived; restore it, or leave it out by its prefix")
    if reply.status not in (200, 206):
        raise refusal(reply, "read")
    return reply


@dataclass
class Mirror:
    """The copies of one source; `known`: by key the ETag and size of what lies there."""

    folder: Path
    known: dict[str, list[Any]] = field(default_factory=dict)
    unsaved: int = 0

    @property
    def data(self) -> Path:
        """The folder of the copies."""
        return self.folder / "objects"

    def open(self) -> None:
        """Read what is known; a mirror that is not whole begins again."""
        try:
            self.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
        except OSError as no:
            raise SourceDown(f"{self.folder} cannot hold copies ({no.strerror}); set cache.") from None
        with suppress(OSError, ValueError):
            told = json.loads((self.folder / "index.json").read_text("utf-8"))
            self.known = {str(key): list(of) for key, of in told.items()}

    def has(self, stored: Stored, at: Path) -> bool:
        """Whether the copy of an object is there, as it is listed."""
        if self.known.get(stored.key) != [stored.etag, stored.size]:
            return False
        path = self.data / at
        return path.is_file() and path.stat().st_size == stored.size

    def take(self, client: Client, path: str, stored: Stored, at: Path, refusal: Refusal) -> None:
        """Fetch an object in place of its copy."""
        coming = self.folder / "coming"
        fetch_to(client, path, stored, coming, refusal)
        try:
            (self.data / at).parent.mkdir(parents=True, exist_ok=True)
            coming.replace(self.data / at)
        except OSError:
            raise Unread("is called as a folder of other objects is; copy it to another key") from None
        self.known[stored.key] = [stored.etag, stored.size]
        self.unsaved += 1
        if self.unsaved >= _SAVED_EVERY:
            self.save()

    def drop(self, key: str, at: Path) -> None:
        """Remove the copy of an object that is not in the bucket any more."""
        (self.data / at).unlink(missing_ok=True)
        self.known.pop(key, None)
        self.unsaved += 1

    def save(self) -> None:
        """Write down what is known."""
        if not self.unsaved:
            return
        new = self.folder / "index.new"
        new.write_text(json.dumps(self.known), "utf-8")
        new.replace(self.folder / "index.json")
        self.unsaved = 0


def folder_of(scope: str, cache: Path | None) -> Path:
    """Where the copies of a source lie: in `cache`, else in this user's folder for what can be fetched again."""
    base = cache or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tandem" / "s3"
    return base / checksum(scope)
