"""One process for pages, health, JSON and metrics: Streamlit's ASGI app with Tandem's own routes beside it."""

from __future__ import annotations

import gc
import threading
import time
import urllib.request
import webbrowser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import streamlit as st
import uvicorn
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from tandem import api, saving

SCRIPT = Path(__file__).with_name("app.py")
ROUTES = ("/healthz", "/metrics", "/badge/{name:path}", "/api/v1/{name:path}")
UNKNOWN = "No answer of that name is kept here: the link may be cut off, or it was made over another store.\n"
LOCAL = ("127.0.0.1", "localhost", "::1")
# 'unsafe-inline' styles and blob: modules are how Streamlit shows elements; scripts come from this server only.
POLICY = (
    "default-src 'self'; script-src 'self' blob: 'unsafe-inline' 'wasm-unsafe-eval'; worker-src 'self' blob:; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self' ws: wss:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"same-origin",
    b"x-frame-options": b"SAMEORIGIN",
    b"content-security-policy": POLICY.encode("ascii"),
}


def _host(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
    return given.rpartition(":")[0].strip("[]") if given.rpartition(":")[2].isdigit() else given.strip("[]")


class Guarded:
    """Adds the headers that Streamlit does not send; what has no caching rule of its own is not kept by anybody.

    With `hosts`, other names of this machine are refused: a foreign page that resolves its own name to this address
    must not read the numbers. Streamlit checks the same for its websocket only.
    """

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...] = ()) -> None:
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on; only the beginning of an HTTP answer is changed."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.hosts and _host(scope) not in self.hosts:
            await Response("This server answers only to localhost.\n", 403, media_type="text/plain")(
                scope, receive, send
            )
            return

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = list(message.get("headers", ()))
                have = {name.lower() for name, _ in headers}
                headers += [(name, value) for name, value in HEADERS.items() if name not in have]
                if b"cache-control" not in have:
                    headers.append((b"cache-control", b"no-store"))
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, sending)


def short(context: Any, name: str) -> Response:
    """Where the short link of a kept answer leads."""
    answer = saving.taken(context.store, name)
    if answer is None:
        return Response(UNKNOWN, 404, media_type="text/plain")
    place = "" if answer.page == "overview" else answer.page
    return RedirectResponse(f"/{place}?{urlencode({**answer.query, 'saved': answer.id})}", 302)


def asgi(context: Any, host: str = "127.0.0.1") -> Any:
    """The ASGI app for `context`; Streamlit finds its configuration beside the script, from any working folder."""

    def answered(request: Request) -> Response:
        params = {key: request.query_params.getlist(key) for key in request.query_params}
        status, kind, body = api.answer(context, request.method, request.url.path, params, dict(request.headers))
        return Response(body, status, media_type=kind)

    routes = [Route(path, answered, methods=["GET", "POST"]) for path in ROUTES]

    def shortened(request: Request) -> Response:
        return short(context, request.path_params["name"])

    routes.append(Route("/s/{name}", shortened, methods=["GET"]))
    hosts = LOCAL if host in LOCAL else ()
    app = st.App(SCRIPT, routes=routes, middleware=[Middleware(Guarded, hosts=hosts)])
    config.get_config_options(force_reparse=True)
    if not hosts:
        config.set_option("server.allowedHosts", [])
    return app


def run(context: Any, host: str = "127.0.0.1", port: int = 8501, open_browser: bool = False) -> None:
    """Serve until interrupted; opens a browser once the server answers, if asked to."""
    app = asgi(context, host)
    # What is loaded now lives as long as the process: it need not be looked at by every collection.
    gc.collect()
    gc.freeze()
    if open_browser:
        threading.Thread(
            target=_open, args=(f"http://{'localhost' if host in LOCAL else host}:{port}",), daemon=True
        ).start()
    try:
        uvicorn.run(
            app, host=host, port=port, log_level="warning", access_log=False, ws_max_size=2**20, server_header=False
        )
    finally:
        gc.unfreeze()  # or what is still frozen at the end is reported as leaked


def _open(address: str) -> None:
    for _ in range(100):
        try:
            with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):  # noqa: S310 - our own address
                webbrowser.open(address)
                return
        except OSError:
            time.sleep(0.1)
