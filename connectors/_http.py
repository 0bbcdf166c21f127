"""The one HTTP seam: opens clients, with their token, to servers, sockets and recordings that may be asked."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

from connectors._http_client import Client, Clock, Form, Sign
from connectors._http_messages import UNIX, Limits, Reply, TooLarge, Transport, origin
from connectors._http_recording import Recording
from connectors._http_wire import Wire, check_address, links
from tandem.connect import SourceRefused

__all__ = [
    "Client",
    "Clock",
    "Form",
    "Limits",
    "Reply",
    "Sign",
    "TooLarge",
    "check_address",
    "next_link",
    "open_client",
]

REAL = Clock()
"""The clock of every client that is given none; looked up when the client opens, so a test may replace it."""
LIMITS = Limits()
"""The limits of every client; looked up when the client opens."""


def open_client(
    config: Any,
    base: str,
    *,
    headers: Mapping[str, str] | None = None,
    token_header: str = "Authorization",  # noqa: S107 - the name of a header
    token_prefix: str = "Bearer ",  # noqa: S107 - a word of the protocol
    token: tuple[str, str] | None = None,
    user: str = "",
    identity: tuple[Path, Path] | None = None,
    ca_file: Path | None = None,
    sign: Sign | None = None,
    secrets: Sequence[str] = (),
    clock: Clock | None = None,
) -> Client:
    """A client of the origin of `base`, to be used with `with`.

    The token is `config.common.token_env`'s or the first line of `token_file` (mode 0600) and goes to that origin
    only; `token` gives another one and says where it came from. With `user` both are sent as a basic login.
    `identity` is a client certificate and its key, `ca_file` stands in for the source's. `sign` makes more headers of
    each request, and `secrets` are never said either. `file:DIR` answers from
    DIR/requests.jsonl, `unix:///PATH` is a socket of this machine. Raises SourceRefused for a URL or a token that
    cannot be used.
    """
    secret, origin_of_token = _token(config.common) if token is None else (_usable(*token), token[1])
    sent = {"User-Agent": "tandem-health", **(headers or {})}
    login = base64.b64encode(f"{user}:{secret}".encode()).decode() if user and secret else ""
    if secret:
        sent[token_header] = f"Basic {login}" if login else token_prefix + secret
    limits = LIMITS
    transport: Transport
    if base.startswith("file:"):
        transport, base = Recording(Path(base.removeprefix("file:").removeprefix("//"))), ""
    elif base.startswith("unix:"):
        path = _socket_path(base)
        transport, base = Wire(None, limits, path=path), UNIX + quote(path, safe="")
    else:
        _check_base(base)
        transport = Wire(ca_file or config.common.ca_file, limits, identity)
    return Client(
        transport, base.rstrip("/"), sent, secret, origin_of_token, clock or REAL, limits, [login, *secrets], sign
    )


def next_link(reply: Reply) -> str | None:
    """The rel="next" of a Link header, None where there is none or where it leads to another server."""
    for part in links(reply.headers.get("link", "")):
        if part.get("rel") != "next" or not part.get("url"):
            continue
        target = urljoin(reply.url, part["url"])
        recorded = not urlsplit(reply.url).netloc
        return target if recorded or origin(target) == origin(reply.url) else None
    return None


def _token(common: Any) -> tuple[str, str]:
    """The token and the words for where it came from."""
    if common.token_env:
        token, place = os.environ.get(common.token_env, ""), f"the environment variable {common.token_env}"
        if not token:
            raise SourceRefused(f"{place} is not set; set it to the token, or remove token_env.")
    elif common.token_file:
        token, place = _token_in(Path(common.token_file)), f"the file {common.token_file}"
    else:
        return "", ""
    return _usable(token, place), place


def _usable(token: str, place: str) -> str:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise SourceRefused(f"{place} does not hold a token (one word of printable characters); correct it.")
    return token


def _socket_path(base: str) -> str:
    """The path of unix:///PATH, as DOCKER_HOST spells it."""
    path = base.removeprefix("unix:").removeprefix("//")
    if not path.startswith("/") or not path.isprintable() or len(path.encode()) > 107:
        raise SourceRefused(f'the url "{base}" should be unix:// and the whole path of a socket, unix:///run/x.sock.')
    return path


def _token_in(path: Path) -> str:
    try:
        if path.stat().st_mode & 0o077:
            raise SourceRefused(f"{path} can be read by other users; run chmod 600 on it.")
        lines = path.read_text("utf-8").split()
    except (OSError, UnicodeDecodeError):
        raise SourceRefused(f"{path} cannot be read; check token_file.") from None
    if len(lines) != 1:
        raise SourceRefused(f"{path} should hold one token and nothing else.")
    return lines[0]


def _check_base(base: str) -> None:
    parts = urlsplit(base)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SourceRefused(f'the url "{_without_user(base)}" should begin with http://, https:// or file:.')
    if "@" in parts.netloc:
        raise SourceRefused(f'the url "{_without_user(base)}" holds a user or password; use token_env instead.')
    if parts.query or parts.fragment:
        raise SourceRefused(f'the url "{base.split("?")[0]}" should end before its "?" or "#".')
    with contextlib.suppress(ValueError):
        check_address(str(ipaddress.ip_address(parts.hostname)), parts.hostname)


def _without_user(url: str) -> str:
    return re.sub(r"//[^/]*@", "//", url)
