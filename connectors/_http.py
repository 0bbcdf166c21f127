"""The one HTTP seam: retries, deadlines, size caps, redirects, redaction; the only module that imports requests."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import json as json_module
import os
import random
import re
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urljoin, urlsplit

import requests  # noqa: TID251 - this is the one module that may
import urllib3
from requests.adapters import HTTPAdapter  # noqa: TID251 - as above

from connectors._json import BadJson, BrokenJson, strict
from tandem.connect import SourceDown, SourceRefused

Pairs = Sequence[tuple[str, str]] | Mapping[str, str]
Form = bool | Literal["lines", "or page", "nan", "bytes"]
"""How a body is read: as one JSON document, as text (False), as one JSON document per line, as one JSON document of a
server whose refusals (any status but 200) are HTML, or of one that writes NaN and infinity, which become null, or not
at all: the bytes as they are stored."""
Sign = Callable[[str, str, float], Mapping[str, str]]
"""(method, url, now) -> headers that prove who asks; made again for every try, because such a proof soon expires."""
_UNIX = "http+unix://"


@dataclass(frozen=True)
class Clock:
    """What waits and what time it is; tests give a virtual one. Seconds; `now` since the epoch."""

    now: Callable[[], float] = time.time
    sleep: Callable[[float], None] = time.sleep
    random: Callable[[], float] = random.random


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


REAL = Clock()
"""The clock of every client that is given none; looked up when the client opens, so a test may replace it."""
LIMITS = Limits()
"""The limits of every client; looked up when the client opens."""

_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})
_PATTERNS = re.compile(r"(?i)\b(bearer|basic|token|private-token|api[-_]?key)([=:]?\s+|[=:])[A-Za-z0-9._~+/=-]{8,}")


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
class _Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Request:
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


class _Again(Exception):
    """This attempt failed in a way that may pass; `wait` is how long the server asks to wait, if it does."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class _Transport(Protocol):
    def send(self, request: _Request) -> _Answer: ...
    def close(self) -> None: ...


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
    transport: _Transport
    if base.startswith("file:"):
        transport, base = _Recording(Path(base.removeprefix("file:").removeprefix("//"))), ""
    elif base.startswith("unix:"):
        path = _socket_path(base)
        transport, base = _Wire(None, limits, path=path), _UNIX + quote(path, safe="")
    else:
        _check_base(base)
        transport = _Wire(ca_file or config.common.ca_file, limits, identity)
    return Client(
        transport, base.rstrip("/"), sent, secret, origin_of_token, clock or REAL, limits, [login, *secrets], sign
    )


class Client:
    """Requests to one origin. Every message it raises is one sentence without the token."""

    def __init__(
        self,
        transport: _Transport,
        base: str,
        headers: Mapping[str, str],
        token: str,
        origin_of_token: str,
        clock: Clock,
        limits: Limits,
        secrets: Sequence[str] = (),
        sign: Sign | None = None,
    ) -> None:
        self.requests_made = 0
        self.skew: float | None = None
        self._transport = transport
        self._base = base
        self._headers = headers
        self._token = token
        self._secrets = tuple(secret for secret in (*secrets, token) if secret)
        self._sign = sign
        self._origin_of_token = origin_of_token
        self._clock = clock
        self._limits = limits

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._transport.close()

    def get(
        self,
        path_or_url: str,
        params: Pairs = (),
        *,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
        json: Form = True,
        check: Callable[[Reply], None] | None = None,
    ) -> Reply:
        """The answer to a GET; a status in `accept` is returned, any other raises SourceDown or SourceRefused.

        `check` raises ValueError with what is wrong with an answer that is not whole: it is asked for again.
        """
        url = self._url(path_or_url, params)
        request = _Request("GET", url, {**self._headers, **(headers or {})}, stored=json == "bytes")
        return self._ask(request, accept, json, check)

    def post(
        self,
        path_or_url: str,
        *,
        form: Sequence[tuple[str, str]] | None = None,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        accept: Collection[int] = (200,),
        json: Form = True,
    ) -> Reply:
        """As `get`, with a form or a JSON body. It is retried too: a connector posts queries, never changes."""
        sent = {**self._headers, **(headers or {})}
        data: bytes | None = None
        if form is not None:
            data = urlencode(form).encode()
            sent["Content-Type"] = "application/x-www-form-urlencoded"
        elif body is not None:
            data = json_module.dumps(body, separators=(",", ":"), allow_nan=False).encode()
            sent["Content-Type"] = "application/json"
        request = _Request("POST", self._url(path_or_url, ()), sent, data, tuple(form or ()))
        return self._ask(request, accept, json)

    def _url(self, path_or_url: str, params: Pairs) -> str:
        pairs = list(params.items() if isinstance(params, Mapping) else params)
        if path_or_url.startswith(("http://", "https://")):
            url = path_or_url
            if self._base and _origin(url) != _origin(self._base):
                raise SourceRefused(
                    f"{_origin(self._base)} points to another server, {_origin(url)}; that is not read."
                )
        else:
            url = f"{self._base}/{path_or_url.lstrip('/')}"
        if pairs:
            url += ("&" if "?" in url else "?") + urlencode(pairs, quote_via=quote)
        return url

    def _ask(
        self, request: _Request, accept: Collection[int], json: Form, check: Callable[[Reply], None] | None = None
    ) -> Reply:
        waited = 0.0
        for attempt in range(self._limits.tries):
            try:
                return self._once(request, accept, json, check)
            except _Again as again:
                reason = self.redacted(str(again))
                wait = again.wait
            if attempt + 1 == self._limits.tries:
                break
            if wait is None:
                wait = min(self._limits.backoff, 2.0**attempt) * self._clock.random()
            if waited + wait > self._limits.wait:
                raise SourceDown(f"{reason} and asks to wait {wait:.0f} s; it is asked again at the next pull.")
            self._clock.sleep(wait)
            waited += wait
        raise SourceDown(f"{reason}, {self._limits.tries} times in a row; check that the server is up.")

    def _once(
        self, request: _Request, accept: Collection[int], json: Form, check: Callable[[Reply], None] | None
    ) -> Reply:
        answer = self._followed(request, accept)
        if answer.status not in accept:
            raise self._failure(request, answer)
        reply = self._reply(request, answer, json)
        if check is not None:
            try:
                check(reply)
            except ValueError as wrong:
                raise _Again(f"{request.name} {wrong}") from None
        return reply

    def _followed(self, request: _Request, accept: Collection[int]) -> _Answer:
        for _ in range(self._limits.redirects + 1):
            self.requests_made += 1
            answer = self._transport.send(self._signed(request))
            self._note_skew(answer)
            if answer.status in accept or answer.status not in _MOVED:
                return answer
            request = self._moved(request, answer)
        raise SourceRefused(f"{request.name} redirects more than {self._limits.redirects} times; check the url.")

    def _signed(self, request: _Request) -> _Request:
        if self._sign is None:
            return request
        more = self._sign(request.method, request.url, self._clock.now())
        return replace(request, headers={**request.headers, **more})

    def _moved(self, request: _Request, answer: _Answer) -> _Request:
        target = urljoin(request.url, answer.headers.get("location", ""))
        if _origin(target) != _origin(request.url):
            raise SourceRefused(
                f"{request.name} redirects to another server, {self.redacted(_origin(target))}, perhaps a login page; "
                "put the address it should be read from in url."
            )
        if request.method != "GET" and answer.status not in (307, 308):
            raise SourceRefused(f"{request.name} redirects a query; put the address behind the redirect in url.")
        return replace(request, url=target)

    def _failure(self, request: _Request, answer: _Answer) -> Exception:
        status, said = answer.status, self._said(answer)
        wait = _asked_wait(answer, self._clock.now())
        if status in _AGAIN or (status == 403 and wait is not None):
            return _Again(f"{request.name} answered {status}{said}", wait)
        if status in (401, 403):
            return SourceRefused(f"{request.name} answered {status}{said}: {self._token_advice()}.")
        if status >= 500:
            return SourceDown(f"{request.name} answered {status}{said}; check that the server is up.")
        return SourceRefused(f"{request.name} answered {status}{said}; check the url and what is asked for.")

    def _token_advice(self) -> str:
        if self._token:
            return f"the token was refused; check {self._origin_of_token}"
        return "it wants a token; set token_env or token_file for this source"

    def _said(self, answer: _Answer) -> str:
        """What the server says of its refusal, short and without the token."""
        text = self._clear(answer.body).decode("utf-8", "replace").strip()
        if not text or _is_html(answer.headers, answer.body):
            return ""
        with contextlib.suppress(ValueError):
            data = strict(text)
            if isinstance(data, dict):
                text = str(next((data[k] for k in ("message", "error", "detail", "error_code") if k in data), text))
        text = "".join(c if c.isprintable() else " " for c in text)[:200]
        return f' ("{self.redacted(text)}")'

    def _reply(self, request: _Request, answer: _Answer, json: Form) -> Reply:
        if json == "bytes":
            return Reply(answer.status, answer.headers, None, "", request.url, answer.body)
        body = self._clear(answer.body)
        if not json or not body.strip():
            if json in (True, "or page", "nan") and answer.status == 200:
                raise _Again(f"{request.name} answered with nothing")
            data: Any = [] if json == "lines" else None
            return Reply(answer.status, answer.headers, data, _text(answer.headers, body), request.url)
        if _is_html(answer.headers, body):
            if json == "or page" and answer.status != 200:
                return Reply(answer.status, answer.headers, None, "", request.url)
            raise SourceRefused(
                f"{request.name} answered with a login page instead of JSON (it is HTML); "
                f"check the url, and {self._token_advice()}."
            )
        try:
            nothing = (lambda word: None) if json == "nan" else None
            data = (
                [strict(one) for one in body.splitlines() if one.strip()] if json == "lines" else strict(body, nothing)
            )
            return Reply(answer.status, answer.headers, data, "", request.url)
        except BadJson as error:
            raise SourceRefused(f"{request.name} answered with JSON that cannot be used: {error}.") from None
        except BrokenJson:
            if answer.status != 200:
                return Reply(answer.status, answer.headers, None, _text(answer.headers, body), request.url)
            raise _Again(f"{request.name} answered with something that is not JSON, perhaps cut off") from None

    def _clear(self, body: bytes) -> bytes:
        for secret in self._secrets:
            body = body.replace(secret.encode(), b"***")
        return body

    def redacted(self, text: str) -> str:
        """`text` without the token of this client, and without anything that looks like one."""
        for secret in self._secrets:
            text = text.replace(secret, "***").replace(quote(secret, safe=""), "***")
        return _PATTERNS.sub(r"\1\2***", text)

    def _note_skew(self, answer: _Answer) -> None:
        stated = _date(answer.headers.get("date", ""))
        if stated is not None:
            self.skew = stated - self._clock.now()


def next_link(reply: Reply) -> str | None:
    """The rel="next" of a Link header, None where there is none or where it leads to another server."""
    for part in requests.utils.parse_header_links(reply.headers.get("link", "")):
        if part.get("rel") != "next" or not part.get("url"):
            continue
        target = urljoin(reply.url, part["url"])
        recorded = not urlsplit(reply.url).netloc
        return target if recorded or _origin(target) == _origin(reply.url) else None
    return None


class _Wire:
    """requests, with everything off that follows, remembers or looks into the environment by itself."""

    def __init__(
        self, ca_file: Path | None, limits: Limits, identity: tuple[Path, Path] | None = None, path: str = ""
    ) -> None:
        self._limits = limits
        self._path = path
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.verify = str(ca_file) if ca_file else True
        self._session.cert = (str(identity[0]), str(identity[1])) if identity else None
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.clear()
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(path, max_retries=0, pool_connections=1, pool_maxsize=1))

    def close(self) -> None:
        self._session.close()

    def send(self, request: _Request) -> _Answer:
        coding = "identity" if request.stored else "gzip, deflate"
        headers = {"Accept-Encoding": coding, "Accept": "*/*", **request.headers}
        with _deadline(self._limits.total) as late:
            try:
                with self._session.request(
                    request.method,
                    self._address(request.url),
                    headers=headers,
                    data=request.body,
                    allow_redirects=False,
                    stream=True,
                    timeout=(self._limits.connect, self._limits.read),
                ) as response:
                    body = self._body(request, response)
                    answer = _Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)
            except (
                requests.exceptions.InvalidURL,
                requests.exceptions.InvalidHeader,
                requests.exceptions.MissingSchema,
            ):
                raise SourceRefused(f"{request.name} cannot be asked for; check the url.") from None
            except requests.exceptions.SSLError as error:
                if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                    raise _Again(_trouble(request, error, late.is_set(), self._limits.total)) from None
                raise SourceRefused(
                    f"{request.name} has a certificate that cannot be verified; put its authority's in ca_file."
                ) from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise _Again(_trouble(request, error, late.is_set(), self._limits.total)) from None
        if late.is_set():
            raise _Again(_trouble(request, None, True, self._limits.total))
        return answer

    def _address(self, url: str) -> str:
        """Where requests is told to go: behind a socket every server is called localhost."""
        return "http://localhost" + url.removeprefix(_UNIX + quote(self._path, safe="")) if self._path else url

    def _body(self, request: _Request, response: requests.Response) -> bytes:
        pieces: list[bytes] = []
        size = 0
        for piece in response.raw.stream(65536, decode_content=not request.stored):
            size += len(piece)
            if size > self._limits.bytes:
                raise TooLarge(
                    f"{request.name} answered with more than {self._limits.bytes / 1e6:g} MB; ask for less at once."
                )
            pieces.append(piece)
        return b"".join(pieces)


_sockets = threading.local()


@contextlib.contextmanager
def _deadline(seconds: float) -> Iterator[threading.Event]:
    """Shuts this thread's socket down after `seconds`: timeouts of a socket are per read, never in total."""
    late = threading.Event()
    holder: list[socket.socket] = []
    _sockets.opened = holder

    def stop() -> None:
        late.set()
        for opened in holder:
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(seconds, stop)
    timer.daemon = True
    timer.start()
    try:
        yield late
    finally:
        timer.cancel()


class _Checked:
    """A connection that never reaches link-local, multicast or metadata addresses, whatever the name resolves to."""

    host: str

    def _new_conn(self) -> socket.socket:
        with contextlib.suppress(OSError):
            for found in socket.getaddrinfo(self.host, None, type=socket.SOCK_STREAM):
                check_address(str(found[4][0]), self.host)
        opened: socket.socket = super()._new_conn()  # type: ignore[misc]
        check_address(str(opened.getpeername()[0]), self.host)
        return opened


class _Timed:
    """A connection whose socket the deadline of this thread can shut down."""

    def request(self, *args: Any, **kwargs: Any) -> Any:
        if getattr(self, "sock", None) is None:
            self.connect()  # type: ignore[attr-defined]
        _sockets.opened.append(self.sock)  # type: ignore[attr-defined]
        return super().request(*args, **kwargs)  # type: ignore[misc]


class _Connection(_Checked, _Timed, urllib3.connection.HTTPConnection):
    pass


class _SecureConnection(_Checked, _Timed, urllib3.connection.HTTPSConnection):
    pass


class _UnixConnection(_Timed, urllib3.connection.HTTPConnection):
    """A connection to a socket in the file system; raises SourceRefused where this user may not open it."""

    def __init__(self, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._path = path

    def _new_conn(self) -> socket.socket:
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            opened.settimeout(self.timeout if isinstance(self.timeout, int | float) else None)
            opened.connect(self._path)
        except PermissionError:
            opened.close()
            raise SourceRefused(
                f"{self._path} may not be opened by this user; give it to a group that Tandem runs in."
            ) from None
        except OSError as error:
            opened.close()
            raise urllib3.exceptions.NewConnectionError(self, f"{self._path}: {error}") from None
        return opened


class _Pool(urllib3.HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _UnixPool(urllib3.HTTPConnectionPool):
    def __init__(self, path: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ConnectionCls = partial(_UnixConnection, path)  # type: ignore[assignment]


class _Adapter(HTTPAdapter):
    """Connections that are checked and timed; with a `path` all of them go to that socket."""

    def __init__(self, path: str, **kwargs: Any) -> None:
        self._path = path
        super().__init__(**kwargs)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        plain: Any = partial(_UnixPool, self._path) if self._path else _Pool
        self.poolmanager.pool_classes_by_scheme = {"http": plain, "https": _SecurePool}


@dataclass
class _Recording:
    """Answers from a folder's requests.jsonl; the same request again gets its next recorded answer, then the last."""

    folder: Path
    answers: dict[tuple[str, str, str], list[_Answer]] = field(default_factory=lambda: defaultdict(list))

    def __post_init__(self) -> None:
        path = self.folder / "requests.jsonl"
        try:
            lines = path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SourceRefused(f"{path} cannot be read; record requests there or give a server as url.") from None
        for number, line in enumerate(lines, 1):
            if line.strip():
                self._add(path, number, line)

    def _add(self, path: Path, number: int, line: str) -> None:
        try:
            told = strict(line, constants=float)
            body = told.get("body")
            text = body if isinstance(body, str) else json_module.dumps(body)
            headers = {str(k).lower(): str(v) for k, v in told.get("headers", {}).items()}
            answer = _Answer(int(told.get("status", 200)), headers, text.encode() if body is not None else b"")
            query = sorted((str(k), str(v)) for k, v in told.get("query", []))
            self.answers[(told.get("method", "GET"), told["path"], urlencode(query))].append(answer)
        except (ValueError, TypeError, KeyError, AttributeError):
            raise SourceRefused(f"{path} line {number} is no recorded request; correct or remove it.") from None

    def send(self, request: _Request) -> _Answer:
        parts = urlsplit(request.url)
        query = sorted([*parse_qsl(parts.query, keep_blank_values=True), *request.form])
        known = self.answers.get((request.method, parts.path, urlencode(query)))
        if not known:
            asked = f"{request.method} {parts.path}" + (f"?{urlencode(query)}" if query else "")
            raise SourceRefused(f"{self.folder / 'requests.jsonl'} holds no answer to {asked}; record it there.")
        return known.pop(0) if len(known) > 1 else known[0]

    def close(self) -> None:
        """Nothing is held open."""


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


def check_address(address: str, host: str) -> None:
    """Raises SourceRefused for an address that is never read: link-local, multicast, metadata of a cloud."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_link_local or ip.is_multicast or ip in _METADATA or (ip.is_unspecified and host != address):
        raise SourceRefused(f"{host} is {ip}, an address that is never read (link-local, multicast or metadata).")


def _origin(url: str) -> str:
    parts = urlsplit(url)
    try:
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme)
    except ValueError:
        port = None
    return f"{parts.scheme}://{parts.hostname or ''}:{port}" if parts.hostname else ""


def _trouble(request: _Request, error: Exception | None, late: bool, total: float) -> str:
    if late:
        return f"{request.name} did not answer within {total:g} s"
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return f"{request.name} did not answer in time"
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return f"{request.name} could not be reached or broke off"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return f"{request.name} broke off in the middle of its answer"
    return f"{request.name} gave an answer that cannot be read"


def _asked_wait(answer: _Answer, now: float) -> float | None:
    """Seconds the server asks to wait: Retry-After in seconds or as a date, else the reset of a used-up limit."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isdigit():
        return float(asked[:9])
    until = _date(asked)
    if until is not None:
        return max(0.0, until - now)
    if answer.status not in (403, 429) or _header(answer, "remaining") != "0":
        return None
    reset = _header(answer, "reset")
    if not reset.isdigit():
        return None
    seconds = float(reset[:12])
    return max(0.0, seconds - now) if seconds > 1e8 else seconds


def _header(answer: _Answer, what: str) -> str:
    return answer.headers.get(f"x-ratelimit-{what}", answer.headers.get(f"ratelimit-{what}", "")).strip()


def _date(text: str) -> float | None:
    if not text:
        return None
    try:
        stated = parsedate_to_datetime(text)
        # "-0000" is UTC too, and comes back without a zone: it would be read in the zone of this process.
        return (stated if stated.tzinfo else stated.replace(tzinfo=UTC)).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None


def _is_html(headers: Mapping[str, str], body: bytes) -> bool:
    return "text/html" in headers.get("content-type", "").lower() or body[:512].lstrip().lower().startswith(
        (b"<!doctype html", b"<html")
    )


def _text(headers: Mapping[str, str], body: bytes) -> str:
    named = re.search(r"charset=[\"']?([\w-]+)", headers.get("content-type", ""))
    try:
        return body.decode(named[1] if named else "utf-8", "replace")
    except LookupError:
        return body.decode("utf-8", "replace")
