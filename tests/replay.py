"""A small HTTP server on 127.0.0.1 that answers as a test says, and remembers what it was asked."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit


@dataclass(frozen=True)
class Asked:
    """One request; `query` are its parameters, `form` the pairs of a posted form, header names in lower case."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def form(self) -> tuple[tuple[str, str], ...]:
        if "urlencoded" not in self.headers.get("content-type", ""):
            return ()
        return tuple(parse_qsl(self.body.decode(), keep_blank_values=True))

    def parameters(self) -> dict[str, str]:
        return dict([*self.query, *self.form])


@dataclass(frozen=True)
class Answer:
    """What is sent back; `body` is bytes, text, or anything JSON can say.

    `length` overrides Content-Length, `sent` the bytes that really go out before the connection is closed,
    `each` is how many seconds pass before each byte, `wait` before the first.
    """

    body: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    length: int | None = None
    sent: int | None = None
    each: float = 0.0
    wait: float = 0.0

    def data(self) -> bytes:
        if isinstance(self.body, bytes):
            return self.body
        return (self.body if isinstance(self.body, str) else json.dumps(self.body)).encode()

    def content_type(self) -> str:
        return "text/plain" if isinstance(self.body, bytes | str) else "application/json"


Route = Callable[[Asked], Answer]


@dataclass
class Server:
    """A running server: its address and what it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


def table(routes: Mapping[tuple[str, str], Answer | Route]) -> Route:
    """Routes by (method, path); anything else is 404."""

    def answer(asked: Asked) -> Answer:
        known = routes.get((asked.method, asked.path))
        if known is None:
            return Answer({"message": "Not Found"}, 404)
        return known if isinstance(known, Answer) else known(asked)

    return answer


@contextlib.contextmanager
def serve(routes: Route | Mapping[tuple[str, str], Answer | Route]) -> Iterator[Server]:
    """Serve `routes` on a free port until the block ends."""
    route = routes if callable(routes) else table(routes)
    stopping = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body go out apart: without it every answer waits 40 ms

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            asked = Asked(
                self.command,
                parts.path,
                tuple(parse_qsl(parts.query, keep_blank_values=True)),
                {name.lower(): value for name, value in self.headers.items()},
                self.rfile.read(int(self.headers.get("Content-Length", 0))),
            )
            server.asked.append(asked)
            with contextlib.suppress(OSError):
                self._send(route(asked))

        def _send(self, answer: Answer) -> None:
            data = answer.data()
            if stopping.wait(answer.wait):
                return
            if answer.sent == 0:
                self.close_connection = True
                self.connection.close()
                return
            self.send_response_only(answer.status)
            if not any(name.lower() == "content-type" for name in answer.headers):
                self.send_header("Content-Type", answer.content_type())
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data) if answer.length is None else answer.length))
            self.end_headers()
            if answer.sent is not None or answer.length is not None:
                self.close_connection = True
            data = data[: answer.sent]
            if not answer.each:
                self.wfile.write(data)
                return
            for place in range(len(data)):
                if stopping.wait(answer.each):
                    return
                self.wfile.write(data[place : place + 1])

        do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _answer

        def log_message(self, *args: Any) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    running.daemon_threads = True
    server = Server(f"http://127.0.0.1:{running.server_port}")
    thread = threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        stopping.set()
        running.shutdown()
        running.server_close()
        thread.join()
