"""Asking a running Tandem over its own API, with the standard library only."""

from __future__ import annotations

import http.client
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

QUICK = 5.0
"""Seconds in which a running Tandem says that it is there."""
READING = 120.0
"""Seconds that a read may take."""
WORKING = 3600.0
"""Seconds between two lines of a running collection."""


class Gone(Exception):
    """The Tandem that was running ended, or is ending: look again."""


class Ending(Gone):
    """The Tandem that is running takes on nothing more, and lets go of the store soon."""


class Refused(Exception):
    """The running Tandem said no; the sentence is its own."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclass(frozen=True)
class Remote:
    """A running Tandem: `command` is what it was started as, `page` the address of its dashboard or ""."""

    url: str
    token: str
    pid: int
    command: str
    page: str = ""

    def answers(self) -> bool:
        """Whether it is there and takes this token."""
        try:
            status, _ = self.get("/healthz", {}, timeout=QUICK)
        except Ending:
            return True
        except Gone:
            return False
        return status in (200, 503)

    def get(self, path: str, params: Mapping[str, Sequence[str]], timeout: float = READING) -> tuple[int, bytes]:
        """(status, body) of a GET; raises Gone where nobody answers."""
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        with self._sent("GET", path + query, None, timeout) as response:
            return response.status, response.read()

    def post(self, path: str, params: Mapping[str, Sequence[str]]) -> Iterator[dict[str, Any]]:
        """The JSON lines of a POST, as they come; raises Gone where it ends before its last line, and Refused."""
        with self._sent("POST", path, urlencode(params, doseq=True), WORKING) as response:
            if response.status != 200:
                raise Refused(response.status, sentence_of(response.read()))
            for line in response:
                told: dict[str, Any] = json.loads(line)
                if "error" in told:
                    raise Refused(500, told["error"])
                yield told
                if "outcomes" in told:
                    return
            raise Gone("it ended before it was done")

    @contextmanager
    def _sent(self, method: str, target: str, body: str | None, timeout: float) -> Iterator[http.client.HTTPResponse]:
        address = urlsplit(self.url)
        connect = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
        connection = connect(address.hostname or "", address.port, timeout=timeout)
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if body is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        try:
            connection.request(method, address.path + target, body, headers)
            response = connection.getresponse()
            if response.status == 503 and response.headers.get("X-Tandem") == "ending":
                raise Ending("it is ending")
            yield response
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            raise Gone(str(error)) from error
        finally:
            connection.close()


def public(url: str) -> Remote:
    """Whoever answers at the address of a dashboard, asked without a token; raises ValueError where it is none."""
    try:
        address = urlsplit(url)
        given = address.hostname and (address.hostname.encode("idna"), address.port)
    except ValueError:
        given = None
    if not given or address.scheme not in ("http", "https") or "@" in address.netloc or address.query:
        raise ValueError(f"{url[:200]!r} is not the address of a Tandem: write one such as http://127.0.0.1:8501.")
    return Remote(f"{address.scheme}://{address.netloc}{address.path.rstrip('/')}", "", 0, "")


def sentence_of(body: bytes) -> str:
    """The sentence of an error's body."""
    try:
        return str(json.loads(body)["error"])
    except (ValueError, KeyError, TypeError):
        return "The running Tandem answered something that is not Tandem's."


def owner_file(store: Path) -> Path:
    """Where the owner of a store says how to reach it."""
    return Path(f"{store}.state") / "owner.json"


def owner_of(store: Path) -> Remote | None:
    """The running owner of a store; None where nobody owns it, or the file was left by one that died."""
    try:
        told = json.loads(owner_file(store).read_text(encoding="utf-8"))
        found = Remote(str(told["url"]), str(told["token"]), int(told["pid"]), str(told["command"]), str(told["page"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not found.url.startswith("http://127.0.0.1:") or not _alive(found.pid):
        return None
    return found if found.answers() else None


def _alive(pid: int) -> bool:
    if sys.platform == "win32":
        return True  # there is no question without a signal; the token decides
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True
