"""What lies in a bucket: pages of ListObjectsV2, and from where the next pull has to list again.

Keys come in the order of their UTF-8 bytes. Where they sort by time, as with a folder per day or hour, a pull lists
from the first folder that was written to lately; what was written elsewhere the daily sweep finds, which lists all.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_plus
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from connectors._http import Client, Reply
from tandem.connect import SourceDown, SourceRefused

PAGE = 1000
"""Objects of a page; S3 gives no more at once."""
LATELY = 3 * 3600
"""Seconds before the newest object within which everything is listed again."""
ACCEPT = (200, 206, 301, 304, 400, 403, 404, 412, 416)
"""Statuses whose answer says more than its number."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An object as the bucket lists it; `modified`: epoch seconds."""

    key: str
    etag: str
    size: int
    modified: int
    archived: bool = False


@dataclass(frozen=True)
class Bucket:
    """A bucket behind a client; `path` goes before its keys, `region` and `place` are for what is said of it."""

    client: Client
    path: str
    region: str
    place: str

    def listed(self, prefix: str, after: str) -> Iterator[Stored]:
        """The objects whose keys begin with `prefix` and come after `after`; raises SourceDown and SourceRefused."""
        given = {"list-type": "2", "encoding-type": "url", "max-keys": str(PAGE), "prefix": prefix}
        token, seen = "", set()
        while True:
            more = {"continuation-token": token} if token else {"start-after": after} if after else {}
            reply = self.client.get(self.path or "/", {**given, **more}, accept=ACCEPT, json="bytes", check=_check_page)
            if reply.status != 200:
                raise self.refusal(reply, "listed")
            page = _page(reply)
            yield from _objects(page)
            if _text(page, "IsTruncated") != "true":
                return
            token = _text(page, "NextContinuationToken")
            if not token or token in seen:
                raise SourceDown(f"{self.place} lists in a circle; it is asked again at the next pull.")
            seen.add(token)

    def object_path(self, key: str) -> str:
        """Where an object is asked for."""
        return f"{self.path}/{quote(key, safe='/-_.~')}"

    def refusal(self, reply: Reply, done: str) -> SourceRefused:
        """Why the bucket or an object cannot be read, in one sentence."""
        code, region = _said(reply)
        if region and region != self.region:
            return SourceRefused(f'{self.place} lies in the region {region}; set region = "{region}".')
        if code == "NoSuchBucket":
            return SourceRefused(f"{self.place} is not there; check bucket and endpoint.")
        if code in ("SignatureDoesNotMatch", "InvalidAccessKeyId"):
            return SourceRefused(f"{self.place} refuses the keys ({code}); check those of credentials.")
        if code in ("ExpiredToken", "InvalidToken", "ExpiredTokenException"):
            return SourceRefused(f"{self.place} says that the keys have expired; sign in again.")
        if code == "RequestTimeTooSkewed":
            return SourceRefused(f"{self.place} says that the clock of this machine is wrong by a quarter of an hour.")
        if reply.status == 403:
            need = "s3:ListBucket on the bucket" if done == "listed" else "s3:GetObject on its objects"
            return SourceRefused(f"{self.place} may not be {done}; allow {need}, or check credentials.")
        return SourceRefused(f"{self.place} cannot be {done} ({reply.status} {code}); check bucket and endpoint.")


def _said(reply: Reply) -> tuple[str, str]:
    """The code of an error, and the region that it names."""
    region = reply.headers.get("x-amz-bucket-region", "")
    try:
        error = _xml(reply.body)
    except ValueError:
        return "", region
    code = _text(error, "Code")
    return (code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else ""), _text(error, "Region") or region


def _xml(body: bytes) -> Element:
    try:
        root: Element = fromstring(body, forbid_dtd=True)
    except (ParseError, DefusedXmlException, UnicodeDecodeError, LookupError):
        raise ValueError("answered with something that is no list of objects, perhaps cut off") from None
    return root


def _check_page(reply: Reply) -> None:
    """Raises ValueError for a page that is no list, or that lists fewer objects than it says."""
    if reply.status != 200:
        return
    page = _xml(reply.body)
    if _name(page) != "ListBucketResult":
        raise ValueError("answered with something that is no list of objects")
    found = sum(_name(one) == "Contents" for one in page)
    stated = _text(page, "KeyCount")
    if stated and stated != str(found):
        raise ValueError(f"lists {found} objects where it says {stated}")
    try:
        list(_objects(page))
    except (ValueError, TypeError, OverflowError):
        raise ValueError("lists an object without its size or time") from None


def _page(reply: Reply) -> Element:
    return _xml(reply.body)


def _objects(page: Element) -> Iterator[Stored]:
    encoded = _text(page, "EncodingType") == "url"
    for one in page:
        if _name(one) != "Contents":
            continue
        told = {_name(part): part.text or "" for part in one}
        key = unquote_plus(told.get("Key", "")) if encoded else told.get("Key", "")
        modified = datetime.fromisoformat(told.get("LastModified", ""))
        yield Stored(
            key, told.get("ETag", "").strip('"'), int(told.get("Size", "")), int(modified.timestamp()),
            archived=told.get("StorageClass") in ("GLACIER", "DEEP_ARCHIVE"),
        )  # fmt: skip


def _name(element: Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _text(element: Element, name: str) -> str:
    return next((one.text or "" for one in element if _name(one) == name), "")


def is_hash(stored: Stored, headers: Mapping[str, str]) -> bool:
    """Whether an ETag is the MD5 of the bytes: not of an object in parts, nor of one encrypted with its own key."""
    own = "x-amz-server-side-encryption-customer-algorithm" in headers
    managed = "kms" in headers.get("x-amz-server-side-encryption", "")
    return bool(re.fullmatch(r"[0-9a-f]{32}", stored.etag)) and not own and not managed


def same_bytes(stored: Stored, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether bytes are those of the object: by their number, and by its hash where the ETag is one."""
    if len(body) != stored.size:
        return False
    return not is_hash(stored, headers) or hashlib.md5(body, usedforsecurity=False).hexdigest() == stored.etag


# -- from where to list again


@dataclass(frozen=True)
class Resume:
    """From where the next pull lists; `depth`: how many folders of a key sort by time, 0 where they do not."""

    after: str = ""
    depth: int = 0

    def told(self) -> list[Any]:
        """As a JSON value."""
        return [self.after, self.depth]


def resume_of(told: Any) -> Resume:
    """What `Resume.told` wrote; from the beginning for anything else."""
    if isinstance(told, list) and len(told) == 2 and isinstance(told[0], str) and isinstance(told[1], int):
        return Resume(told[0], told[1])
    return Resume()


def resume(objects: Sequence[Stored], last: Resume, *, whole: bool) -> Resume:
    """From where the next pull lists, after one that listed `objects`: all there are, or those after `last`."""
    ordered = sorted(objects, key=lambda one: one.key.encode())
    depth = _depth(ordered) if whole else last.depth
    if not depth or not ordered:
        return last if not whole else Resume("", depth)
    newest = max(one.modified for one in ordered)
    recent = next(one for one in ordered if one.modified >= newest - LATELY)
    group = _group(recent.key, depth)
    if group.endswith("/"):
        return Resume(group if whole else max(last.after, group), depth)
    before = [one.key for one in ordered if one.key < recent.key]
    return Resume(before[-1] if before else last.after, depth)


def _depth(ordered: Sequence[Stored]) -> int:
    """The most folders by which keys can be grouped so that the groups were written one after the other.

    Files within a folder are never taken to be in the order of time: a few of them may be so by chance.
    """
    deepest = max((one.key.count("/") for one in ordered), default=0)
    return next((depth for depth in range(deepest, 0, -1) if _in_time(ordered, depth)), 0)


def _in_time(ordered: Sequence[Stored], depth: int) -> bool:
    newest_before = newest = groups = 0
    group = ""
    for one in ordered:
        of = _group(one.key, depth)
        if of != group:
            group, newest_before, groups = of, newest, groups + 1
        if one.modified < newest_before - LATELY:
            return False
        newest = max(newest, one.modified)
    return groups > 1  # a single one says nothing of what comes before or after it


def _group(key: str, depth: int) -> str:
    parts = key.split("/")
    return key if len(parts) <= depth else "/".join(parts[:depth]) + "/"


def checksum(text: str) -> str:
    """A short name for a text, of letters that every file system knows."""
    return base64.b32encode(hashlib.sha256(text.encode()).digest()).decode()[:20].lower()
