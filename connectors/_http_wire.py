"""HTTP on the wire: deadlines, size caps and checked addresses; the only module that imports requests."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from collections.abc import Iterator, Mapping
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests  # noqa: TID251 - this is the one module that may
import urllib3
from requests.adapters import HTTPAdapter  # noqa: TID251 - as above

from connectors._http_messages import UNIX, Again, Answer, Limits, Request, TooLarge
from tandem.connect import SourceRefused

_METADATA = frozenset({ipaddress.ip_address("fd00:ec2::254"), ipaddress.ip_address("100.100.100.200")})


class Wire:
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

    def send(self, request: Request) -> Answer:
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
                    answer = Answer(response.status_code, {k.lower(): v for k, v in response.headers.items()}, body)
            except (
                requests.exceptions.InvalidURL,
                requests.exceptions.InvalidHeader,
                requests.exceptions.MissingSchema,
            ):
                raise SourceRefused(f"{request.name} cannot be asked for; check the url.") from None
            except requests.exceptions.SSLError as error:
                if "CERTIFICATE_VERIFY_FAILED" not in str(error):
                    raise Again(_trouble(request, error, late.is_set(), self._limits.total)) from None
                raise SourceRefused(
                    f"{request.name} has a certificate that cannot be verified; put its authority's in ca_file."
                ) from None
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
                raise Again(_trouble(request, error, late.is_set(), self._limits.total)) from None
        if late.is_set():
            raise Again(_trouble(request, None, True, self._limits.total))
        return answer

    def _address(self, url: str) -> str:
        """Where requests is told to go: behind a socket every server is called localhost."""
        return "http://localhost" + url.removeprefix(UNIX + quote(self._path, safe="")) if self._path else url

    def _body(self, request: Request, response: requests.Response) -> bytes:
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


def check_address(address: str, host: str) -> None:
    """Raises SourceRefused for an address that is never read: link-local, multicast, metadata of a cloud."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    ip = getattr(ip, "ipv4_mapped", None) or ip
    if ip.is_link_local or ip.is_multicast or ip in _METADATA or (ip.is_unspecified and host != address):
        raise SourceRefused(f"{host} is {ip}, an address that is never read (link-local, multicast or metadata).")


def links(header: str) -> Iterator[Mapping[str, str]]:
    """The links of a Link header: each with its url and what else is said of it."""
    yield from requests.utils.parse_header_links(header)


def _trouble(request: Request, error: Exception | None, late: bool, total: float) -> str:
    if late:
        return f"{request.name} did not answer within {total:g} s"
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return f"{request.name} did not answer in time"
    if isinstance(error, requests.exceptions.ConnectionError | requests.exceptions.ChunkedEncodingError):
        return f"{request.name} could not be reached or broke off"
    if isinstance(error, urllib3.exceptions.ProtocolError):
        return f"{request.name} broke off in the middle of its answer"
    return f"{request.name} gave an answer that cannot be read"
