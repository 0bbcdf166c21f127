"""One look at one target over the network: how far it came, how long each phase took, and what was wrong.

Beside `_http` there is only this module that opens connections, because a probe needs what that seam hides: the
phases apart (name, connection, TLS, first byte), one try without retries, and a broken answer as a finding instead
of an error. It knows sockets and nothing of Tandem's records, sends no secret, and reads little: at most `HEAD` bytes
of headers and `BODY` of a body, within one deadline for everything. A redirect is followed on the same server only,
so every address that is asked stands in the configuration.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import http.client
import io
import ipaddress
import queue
import select
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from connectors import _http
from tandem.connect import SourceRefused

HEAD = 65_536
"""Most bytes before a body begins."""
BODY = 1_000_000
"""Most bytes of a body that are read, and most that they may unpack to."""
LOOK_UPS = 200
"""Most look-ups of names at once: one that hangs outlives the look that asked for it."""
HOPS = 5
"""Most redirects that are followed."""
SCHEMES = {"http": 80, "https": 443, "tcp": 0}

Result = Literal[
    "answered", "name not found", "slow name", "unreachable", "refused", "reset", "slow connect", "slow tls",
    "tls failed", "certificate expired", "certificate not trusted", "slow first byte", "slow body", "not http",
    "wrong status", "wrong text", "redirect loop", "redirected away",
]  # fmt: skip
REACHED: frozenset[Result] = frozenset({
    "answered", "wrong status", "wrong text", "redirect loop", "redirected away", "not http", "tls failed",
    "certificate expired", "certificate not trusted",
})  # fmt: skip
"""Results that show that the network leads somewhere, whatever was said there."""

_look_ups = threading.Semaphore(LOOK_UPS)
_OURS = frozenset({
    errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EACCES, errno.EPERM,
})  # fmt: skip
_EXPIRED = frozenset({10})
"""OpenSSL's X509_V_ERR_CERT_HAS_EXPIRED."""
_SLOW: Mapping[str, Result] = {
    "dns": "slow name", "connect": "slow connect", "tls": "slow tls", "first_byte": "slow first byte",
    "body": "slow body",
}  # fmt: skip


class NotMeasured(Exception):
    """This machine could not look, so nothing is known of the target; the reason is a phrase."""


@dataclass(frozen=True)
class Target:
    """What is asked, and what answer is good: any 2xx where `statuses` is empty; `timeout` in seconds for all."""

    url: str
    timeout: float = 5.0
    statuses: frozenset[int] = frozenset()
    text: str = ""
    ca_file: Path | None = None


@dataclass(frozen=True)
class Look:
    """What was seen; times in seconds, `ends` when the certificate does (epoch seconds), `trusted` None without TLS."""

    result: Result
    said: str = ""
    phases: Mapping[str, float] = field(default_factory=dict)
    total: float = 0.0
    ends: int | None = None
    trusted: bool | None = None


class _Bad(Exception):
    """The target is not well: the result, and the words for it."""

    def __init__(self, result: Result, said: str) -> None:
        super().__init__(said)
        self.result: Result = result


def problem(url: str) -> str:
    """What is wrong with a target's address, as the end of a sentence; "" for one that can be probed."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "is no address"
    if parts.scheme not in SCHEMES or not parts.hostname:
        return "should begin with http://, https:// or tcp:// and name a host"
    if "@" in parts.netloc:
        return "holds a user or password, which a probe never sends"
    if parts.fragment:
        return 'should end before its "#"'
    if parts.scheme == "tcp" and (not port or parts.path.strip("/") or parts.query):
        return "should be tcp://HOST:PORT and no more"
    return "" if _ascii(parts.hostname) else "names a host that no name server knows"


def look(target: Target, clock: Callable[[], float] = time.perf_counter) -> Look:
    """Look at a target once; raises NotMeasured where this machine itself could not."""
    seen = _Seen(target, clock, clock())
    try:
        if urlsplit(target.url).scheme == "tcp":
            _greeted(seen)
        else:
            _asked(seen)
    except _Bad as bad:
        return seen.look(bad.result, str(bad))
    return seen.look("answered")


class _Enough(Exception):
    """So much of a body has come that no more of it is read."""


@dataclass
class _Seen:
    """One look on its way."""

    target: Target
    clock: Callable[[], float]
    begun: float
    phase: str = "dns"
    phases: dict[str, float] = field(default_factory=dict)
    ends: int | None = None
    trusted: bool | None = None

    def left(self) -> float:
        """Seconds that are left for everything; raises _Bad where there are none."""
        left = self.begun + self.target.timeout - self.clock()
        if left <= 0:
            raise self.late()
        return left

    def late(self) -> _Bad:
        return _Bad(_SLOW[self.phase], f"did not come through within {self.target.timeout:g} s")

    @contextlib.contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Adds the time inside to a phase; a redirect goes through them again."""
        begun, self.phase = self.clock(), phase
        yield
        self.phases[phase] = self.phases.get(phase, 0.0) + self.clock() - begun

    def look(self, result: Result, said: str = "") -> Look:
        return Look(result, said, dict(self.phases), self.clock() - self.begun, self.ends, self.trusted)


# -- connections


def _greeted(seen: _Seen) -> None:
    """A TCP connection, and the text it greets with where one is expected."""
    parts = urlsplit(seen.target.url)
    with contextlib.closing(_connected(seen, parts)) as line:
        wanted = seen.target.text.encode()
        if not wanted:
            return
        wire, said = _Wire(line, seen, BODY), b""
        seen.phase = "first_byte"
        while wanted not in said:
            piece = wire.read(4096)
            if not piece:
                raise _Bad("wrong text", "did not greet with the expected text")
            said += piece
            seen.phase = "body"
        if wire.first is not None:
            seen.phases["first_byte"] = wire.first - wire.begun


def _connected(seen: _Seen, parts: SplitResult) -> socket.socket:
    host, port = _ascii(parts.hostname or ""), parts.port or SCHEMES[parts.scheme]
    addresses = _resolved(seen, host, port)
    with seen.timed("connect"):
        worst: _Bad | None = None
        for place, (family, address) in enumerate(addresses):
            share = seen.left() / (len(addresses) - place)
            try:
                return _opened(seen, family, address, share)
            except _Bad as bad:
                worst = bad if worst is None or bad.result != "unreachable" else worst
        raise worst or _Bad("name not found", "has a name without an address")


def _resolved(seen: _Seen, host: str, port: int) -> Sequence[tuple[int, Any]]:
    """(family, address) of a host in the order of the system; a number is no look-up."""
    with contextlib.suppress(ValueError):
        ip = ipaddress.ip_address(host)
        _permitted(host, host)
        return [(socket.AF_INET6, (host, port, 0, 0)) if ip.version == 6 else (socket.AF_INET, (host, port))]
    with seen.timed("dns"):
        found = _looked_up(seen, host, port)
    addresses = list(dict.fromkeys((int(family), address) for family, _, _, _, address in found))
    for _, address in addresses:
        _permitted(str(address[0]), host)
    return addresses


def _looked_up(seen: _Seen, host: str, port: int) -> list[Any]:
    """What the system's resolver says; it takes no deadline, so it is asked in a thread that nobody waits for."""
    answers: queue.SimpleQueue[Any] = queue.SimpleQueue()
    slots = _look_ups
    if not slots.acquire(blocking=False):
        raise NotMeasured(f"{LOOK_UPS} look-ups of names hang already")

    def ask() -> None:
        try:
            answers.put(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except (OSError, UnicodeError) as error:
            answers.put(error)
        finally:
            slots.release()

    threading.Thread(target=ask, daemon=True, name="look-up").start()
    try:
        answer = answers.get(timeout=seen.left())
    except queue.Empty:
        raise seen.late() from None
    if isinstance(answer, OSError | UnicodeError):
        raise _Bad("name not found", "has a name that no name server knows")
    found: list[Any] = answer
    return found


def _permitted(address: str, host: str) -> None:
    try:
        _http.check_address(address, host)
    except SourceRefused:
        raise NotMeasured("it leads to an address that is never read (link-local, multicast or metadata)") from None


def _opened(seen: _Seen, family: int, address: Any, seconds: float) -> socket.socket:
    try:
        line = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise _refusal(error) from None
    try:
        line.setblocking(False)
        status = line.connect_ex(address)
        if status in (errno.EINPROGRESS, errno.EWOULDBLOCK):
            if not _ready(line, select.POLLOUT, seconds):
                raise seen.late()
            status = line.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if status:
            raise _refusal(OSError(status, "")) from None
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except BaseException:
        line.close()
        raise
    return line


def _refusal(error: OSError) -> Exception:
    """What an error of the system says of the target, or of this machine."""
    if error.errno in _OURS:
        return NotMeasured(f"this machine could not open a connection ({errno.errorcode.get(error.errno, '?')})")
    if isinstance(error, ConnectionRefusedError):
        return _Bad("refused", "refused the connection")
    if isinstance(error, ConnectionError):
        return _Bad("reset", "broke the connection off")
    if error.errno == errno.ETIMEDOUT:
        return _Bad("slow connect", "did not come through")
    return _Bad("unreachable", f"cannot be reached ({errno.errorcode.get(error.errno or 0, 'no route')})")


def _ready(line: socket.socket, event: int, seconds: float) -> bool:
    """Wait until a socket is ready; `poll`, because `select` knows no descriptor above 1,023."""
    poll = select.poll()
    poll.register(line, event)
    return bool(poll.poll(max(0.0, seconds) * 1000))


class _Wire(io.RawIOBase):
    """The bytes of a connection, each wait within what is left of the look; `first` is when the first one came."""

    def __init__(self, line: socket.socket, seen: _Seen, cap: int) -> None:
        super().__init__()
        self.line = line
        self.seen = seen
        self.cap = cap
        self.begun = seen.clock()
        self.first: float | None = None

    def readable(self) -> bool:
        return True

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What `http.client` reads from."""
        return io.BufferedReader(self, 16_384)

    def readinto(self, buffer: Any) -> int:
        if self.cap <= 0:
            raise _Enough if self.seen.phase == "body" else _Bad("not http", "sends headers without end")
        got = self._tried(lambda: self.line.recv_into(buffer, min(len(buffer), self.cap)))
        if got and self.first is None:
            self.first = self.seen.clock()
        self.cap -= got
        return got

    def send(self, data: bytes) -> None:
        """Send everything."""
        sent = 0
        while sent < len(data):
            sent += self._tried(partial(self.line.send, data[sent:]))

    def shake(self) -> None:
        """The handshake of TLS."""
        self._tried(lambda: self.line.do_handshake() or 0)  # type: ignore[attr-defined]

    def _tried(self, act: Callable[[], int]) -> int:
        while True:
            try:
                return act()
            except (BlockingIOError, ssl.SSLWantReadError):
                event = select.POLLIN
            except ssl.SSLWantWriteError:
                event = select.POLLOUT
            except ssl.SSLError as error:
                raise _tls_trouble(self.seen, error) from None
            except OSError as error:
                raise _refusal(error) from None
            if not _ready(self.line, event, self.seen.left()):
                raise self.seen.late()


# -- TLS


@lru_cache(maxsize=32)
def _context(ca_file: Path | None, _changed: int) -> ssl.SSLContext:
    """Reading the authorities takes longer than a look, so they are read again only when their file has changed."""
    return ssl.create_default_context(cafile=str(ca_file) if ca_file else None)


def _secured(seen: _Seen, line: socket.socket, host: str) -> socket.socket:
    ca_file = seen.target.ca_file
    try:
        context = _context(ca_file, ca_file.stat().st_mtime_ns if ca_file else 0)
    except (OSError, ssl.SSLError):
        raise NotMeasured(f"ca_file {ca_file} cannot be read") from None
    with seen.timed("tls"):
        secure = context.wrap_socket(line, server_hostname=host, do_handshake_on_connect=False)
        try:
            _Wire(secure, seen, HEAD).shake()
        except BaseException:
            secure.close()
            raise
    seen.trusted = True
    ends = (secure.getpeercert() or {}).get("notAfter")
    seen.ends = int(ssl.cert_time_to_seconds(ends)) if isinstance(ends, str) else None
    return secure


def _tls_trouble(seen: _Seen, error: ssl.SSLError) -> _Bad:
    if not isinstance(error, ssl.SSLCertVerificationError):
        if isinstance(error, ssl.SSLEOFError) and seen.phase != "tls":
            return _Bad("reset", "broke the connection off")
        return _Bad("tls failed", "could not agree on TLS")
    seen.trusted = False
    if error.verify_code in _EXPIRED:
        return _Bad("certificate expired", "has a certificate that has expired")
    return _Bad("certificate not trusted", f"has a certificate that cannot be verified ({error.verify_message})")


# -- HTTP


def _asked(seen: _Seen) -> None:
    """A GET, with the redirects of the same server."""
    url, known = seen.target.url, set[str]()
    for _ in range(HOPS + 1):
        known.add(url)
        onward = _hop(seen, url)
        if onward is None:
            return
        if _server(onward) != _server(url) and not _upgrade(url, onward):
            # Where to is not repeated: a target could fill the store with ever new names.
            raise _Bad("redirected away", "redirects to another server, which is not asked")
        if onward in known:
            raise _Bad("redirect loop", "redirects in a circle")
        url = onward
    raise _Bad("redirect loop", f"redirects more than {HOPS} times")


def _hop(seen: _Seen, url: str) -> str | None:
    """Ask one address; where it redirects to, None where it gave the good answer."""
    parts = urlsplit(url)
    line = _connected(seen, parts)
    try:
        if parts.scheme == "https":
            line = _secured(seen, line, _ascii(parts.hostname or ""))
        wire = _Wire(line, seen, HEAD)
        with seen.timed("first_byte"):
            wire.send(_request(parts))
            answer = _begun(wire)
        return _judged(seen, wire, answer, url)
    finally:
        line.close()


def _request(parts: SplitResult) -> bytes:
    host = _ascii(parts.hostname or "")
    host = f"[{host}]" if ":" in host else host
    own = f":{parts.port}" if parts.port and parts.port != SCHEMES[parts.scheme] else ""
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    query = f"?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else ""
    lines = (
        f"GET {path}{query} HTTP/1.1", f"Host: {host}{own}", "User-Agent: tandem-health-probe", "Accept: */*",
        "Accept-Encoding: identity", "Connection: close", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode("ascii")


def _begun(wire: _Wire) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(wire, method="GET")  # type: ignore[arg-type]  # it only calls makefile
    try:
        answer.begin()
    except http.client.RemoteDisconnected:
        raise _Bad("reset", "closed the connection without an answer") from None
    except (http.client.HTTPException, ValueError):
        raise _Bad("not http", "answered with something that is not HTTP") from None
    return answer


def _judged(seen: _Seen, wire: _Wire, answer: http.client.HTTPResponse, url: str) -> str | None:
    seen.phase, wire.cap = "body", 2 * BODY  # the framing of chunks counts too
    target, status = seen.target, answer.status
    good = status in target.statuses if target.statuses else 200 <= status < 300
    location = answer.getheader("Location")
    if not good and status in (301, 302, 303, 307, 308) and location:
        return _onward(url, location)
    if not good:
        raise _Bad("wrong status", f"answered {status}")
    body = _body(answer)
    if target.text and not _holds(body, answer, target.text):
        raise _Bad("wrong text", "answered without the expected text")
    return None


def _onward(url: str, location: str) -> str:
    try:
        onward = urljoin(url, location).partition("#")[0]
        return onward if not problem(onward) else "elsewhere:"
    except ValueError:
        return "elsewhere:"


def _body(answer: http.client.HTTPResponse) -> bytes:
    """The body, or as much of it as is read of any."""
    pieces: list[bytes] = []
    size = 0
    try:
        while size < BODY:
            piece = answer.read1(min(65_536, BODY - size))
            if not piece:
                break
            pieces.append(piece)
            size += len(piece)
    except _Enough:
        return b"".join(pieces)
    except http.client.IncompleteRead:
        raise _Bad("reset", "broke off in the middle of its answer") from None
    except (http.client.HTTPException, ValueError):
        raise _Bad("not http", "answered with something that is not HTTP") from None
    if size < BODY and answer.length:
        raise _Bad("reset", "broke off in the middle of its answer")
    return b"".join(pieces)


def _holds(body: bytes, answer: http.client.HTTPResponse, wanted: str) -> bool:
    plain = _unpacked(body, (answer.getheader("Content-Encoding") or "").strip().lower())
    return any(wanted in plain.decode(name, "replace") for name in _encodings(plain, answer))


def _unpacked(body: bytes, encoding: str) -> bytes:
    """The beginning of a packed body: a server may pack one that nobody asked to be packed."""
    if encoding not in ("gzip", "x-gzip", "deflate"):
        return body
    for bits in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(bits).decompress(body, BODY)
    return b""


def _encodings(body: bytes, answer: http.client.HTTPResponse) -> Iterator[str]:
    """In which the text may be read: the stated one, the one that its first bytes mark, UTF-8, Latin-1."""
    stated = answer.headers.get_content_charset()
    with contextlib.suppress(LookupError):
        if stated:
            yield codecs.lookup(stated).name
    for mark, name in ((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")):
        if body.startswith(mark):
            yield name
    yield from ("utf-8", "latin-1")


# -- addresses


def _ascii(host: str) -> str:
    try:
        return host if host.isascii() else host.encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def _server(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or SCHEMES.get(parts.scheme, 0)


def _upgrade(url: str, onward: str) -> bool:
    """Whether a redirect only leads from HTTP to HTTPS of the same host, each at its usual port."""
    return _server(url)[1:] == (_server(onward)[1], 80) and _server(onward)[::2] == ("https", 443)


def day_of(ends: int) -> str:
    """The day on which a certificate ends."""
    return datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d")
