"""A server on 127.0.0.1 that does to each connection what a test says, in every bad way a probe must tell apart."""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

TLS = Path(__file__).parent / "payloads" / "tls"
Act = Callable[[socket.socket, threading.Event], None]
"""What is done with one connection; the event is set when the test is over."""


@contextlib.contextmanager
def serving(act: Act, certificate: str = "") -> Iterator[int]:
    """The port of a server that gives each connection to `act`, behind TLS where a certificate is named."""
    over = threading.Event()
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(TLS / f"{certificate}.pem")
    with socket.create_server(("127.0.0.1", 0), backlog=128) as server:
        server.settimeout(0.05)

        def one(plain: socket.socket) -> None:
            with contextlib.suppress(OSError), plain:
                plain.settimeout(10)
                if context is None:
                    act(plain, over)
                else:
                    with context.wrap_socket(plain, server_side=True) as secure:
                        act(secure, over)

        def accept() -> None:
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    threading.Thread(target=one, args=(server.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            over.set()
            thread.join()


def asked(line: socket.socket) -> str:
    """The head of a request."""
    got = b""
    while b"\r\n\r\n" not in got:
        piece = line.recv(65_536)
        if not piece:
            break
        got += piece
    return got.decode("latin-1")


def answering(body: bytes = b"all is well", status: str = "200 OK", *headers: str, wait: float = 0.0) -> Act:
    """A whole answer, after a while."""

    def act(line: socket.socket, over: threading.Event) -> None:
        asked(line)
        if not over.wait(wait):
            head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""])
            line.sendall(head.encode("latin-1") + body)

    return act


def saying(*pieces: bytes, each: float = 0.0) -> Act:
    """Raw bytes after the request, one piece after the other."""

    def act(line: socket.socket, over: threading.Event) -> None:
        asked(line)
        for piece in pieces:
            line.sendall(piece)
            if over.wait(each):
                return

    return act


def forever(head: bytes, piece: bytes, each: float = 0.0) -> Act:
    """The same piece again and again, until nobody listens."""

    def act(line: socket.socket, over: threading.Event) -> None:
        asked(line)
        line.sendall(head)
        while not over.wait(each):
            line.sendall(piece)

    return act


def silent(line: socket.socket, over: threading.Event) -> None:
    """Takes the connection and says nothing."""
    over.wait(10)


def closing(line: socket.socket, over: threading.Event) -> None:
    """Reads the request and closes without an answer."""
    asked(line)


def resetting(line: socket.socket, over: threading.Event) -> None:
    """Reads the request and resets the connection."""
    asked(line)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def greeting(text: bytes) -> Act:
    """Greets without being asked, as mail and shell servers do."""

    def act(line: socket.socket, over: threading.Event) -> None:
        line.sendall(text)
        over.wait(0.05)

    return act


def circling(line: socket.socket, over: threading.Event) -> None:
    """Redirects from /a to /b and from /b to /a."""
    where = "/b" if asked(line).startswith("GET /a") else "/a"
    line.sendall(f"HTTP/1.1 302 Found\r\nLocation: {where}\r\nContent-Length: 0\r\n\r\n".encode())


def leading_on(line: socket.socket, over: threading.Event) -> None:
    """Redirects to a new address of the same server each time."""
    path = asked(line).split(" ")[1]
    line.sendall(f"HTTP/1.1 302 Found\r\nLocation: {path}x\r\nContent-Length: 0\r\n\r\n".encode())


def moved(line: socket.socket, over: threading.Event) -> None:
    """Redirects / to /there, where a good answer is."""
    if asked(line).startswith("GET /there"):
        line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nhere")
    else:
        line.sendall(b"HTTP/1.1 301 Moved\r\nLocation: /there#top\r\nContent-Length: 0\r\n\r\n")


def bomb() -> bytes:
    """60 MB of zeros in 60 kB."""
    return gzip.compress(bytes(60_000_000), 9)


@contextlib.contextmanager
def refusing() -> Iterator[int]:
    """A port that nobody listens on, and that nobody else can take meanwhile."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@contextlib.contextmanager
def deaf() -> Iterator[int]:
    """A port whose queue of connections is full, so that a further one hangs."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(server.getsockname())
        try:
            yield server.getsockname()[1]
        finally:
            for one in waiting:
                one.close()
