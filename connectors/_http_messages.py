"""Requests and answers of HTTP, and what the headers of an answer say."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from tandem.connect import SourceRefused

UNIX = "http+unix://"
"""Stands before the quoted path of a socket where other requests name a host."""


@dataclass(frozen=True)
class Limits:
    """Seconds to connect, between two bytes and for one whole answer; bytes of a decompressed body; tries; waits.

    `wait` caps all waiting within one call: a server that asks for more is down until the next pull.
    """

    connect: float = 5.0
    read: float = 60.0
    total: float = 120.0
    bytes: int = 50_000_000
    tries: int = 6
    backoff: float = 60.0
    wait: float = 900.0
    redirects: int = 3


@dataclass(frozen=True)
class Reply:
    """One answer; header names in lower case. `data` is the parsed JSON, `text` the body where none was parsed.

    `body` is the body as it came, where bytes were asked for.
    """

    status: int
    headers: Mapping[str, str]
    data: Any
    text: str
    url: str
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """An answer as it came, header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Request:
    """One request, whole."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = None
    form: tuple[tuple[str, str], ...] = ()
    stored: bool = False
    """Whether the body is wanted as it is stored: not compressed for the way, and not decompressed."""

    @property
    def name(self) -> str:
        """The request as people may read it: without its query, which may be long or private."""
        parts = urlsplit(self.url)
        origin = f"{parts.scheme}://{unquote(parts.netloc)}" if parts.netloc else ""
        return f"{self.method} {origin}{parts.path}"


class TooLarge(SourceRefused):
    """The answer is over the byte cap: a connector that can ask for less does, for others it is a refusal."""


class Again(Exception):
    """This attempt failed in a way that may pass; `wait` is how long the server asks to wait, if it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Transport(Protocol):
    """What sends a request once and gives the answer, whatever it is."""

    def send(self, request: Request) -> Answer:
        """The answer; raises Again for trouble that may pass, SourceRefused for what cannot be asked."""
        ...

    def close(self) -> None:
        """Let go of what is held open."""
        ...


def origin(url: str) -> str:
    """Scheme, host and port of an address, "" where it names no host."""
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    return f"{parts.scheme}://{parts.hostname or ''}:{port}" if parts.hostname else ""


def asked_wait(answer: Answer, now: float) -> float | None:
    """Seconds the server asks to wait: Retry-After in seconds or as a date, else the reset of a used-up limit."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked[:9])
    until = moment(asked)
    if until is not None:
        return max(0.0, until - now)
    if answer.status not in (403, 429) or _header(answer, "remaining") != "0":
        return None
    reset = _header(answer, "reset")
    if not reset.isdigit():
        return None
    seconds = float(reset[:12])
    return max(0.0, seconds - now) if seconds > 1e8 else seconds


def _header(answer: Answer, what: str) -> str:
    return answer.headers.get(f"x-ratelimit-{what}", answer.headers.get(f"ratelimit-{what}", "")).strip()


def moment(text: str) -> float | None:
    """Epoch seconds of a date as headers write it; None for what is none."""
    if not text:
        return None
    try:
        stated = parsedate_to_datetime(text)
        # "-0000" is UTC too, and comes back without a zone: it would be read in the zone of this process.
        return (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def is_html(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether an answer is a page for people."""
    return "text/html" in headers.get("content-type", "").lower() or body[:512].lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    )


def decoded(headers: Mapping[str, str], body: bytes) -> str:
    """The text of a body, in the encoding that its headers name."""
    named = re.search(r"charset=[\"']?([\w-]+)", headers.get("content-type", ""))
    try:
        return body.decode(named[1] if named else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
