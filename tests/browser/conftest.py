# ruff: noqa: E501
"""A server per kind of engine, one browser, one context per test; everything that goes wrong on the way is collected."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ARGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
HARMLESS = ("/_stcore/health", "/_stcore/host-config")
"""What Streamlit asks for below a page's own path before it falls back to the root."""


@dataclass
class Seen:
    """A page under test and what its browser said."""

    page: Any
    base: str
    errors: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)

    def open(self, path: str) -> None:
        self.page.goto(self.base + path)
        self.settled()

    def settled(self) -> None:
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
        self.page.wait_for_selector("[data-testid=stSkeleton]", state="detached", timeout=60_000)
        self.page.wait_for_selector("h1", timeout=60_000)

    def address(self) -> str:
        found: str = self.page.evaluate("location.pathname + location.search")
        return found

    def until_address(self, wanted: str) -> None:
        for _ in range(200):
            if self.address() == wanted:
                break
            self.page.wait_for_timeout(50)
        assert self.address() == wanted
        for _ in range(2):  # the rerun that follows an address begins a moment after it
            self.page.wait_for_timeout(250)
            self.settled()
        assert self.address() == wanted


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def started(kind: str) -> tuple[subprocess.Popen[bytes], str]:
    port = free_port()
    command = [sys.executable, "-m", "tests.browser.serve", str(port), kind]
    # Another working folder, so that the configuration must be found where it is shipped.
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(command, cwd="/", env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    base = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 90
    while server.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"{base}/_stcore/health", timeout=1):
                return server, base
        except OSError:
            time.sleep(0.05)
    server.kill()
    raise AssertionError("the server did not answer")


@pytest.fixture(scope="session")
def serving() -> Iterator[Callable[[str], str]]:
    running: dict[str, tuple[subprocess.Popen[bytes], str]] = {}

    def base(kind: str) -> str:
        if kind not in running:
            running[kind] = started(kind)
        return running[kind][1]

    yield base
    for server, _ in running.values():
        server.terminate()
        server.wait(20)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    path = shutil.which("chromium")
    if not path:
        pytest.skip("Debian's chromium is not installed")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as player:
        browser = player.chromium.launch(executable_path=path, args=ARGS)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, serving: Callable[[str], str]) -> Iterator[Callable[..., Seen]]:
    contexts = []

    def visited(path: str = "/", kind: str = "full", width: int = 1440, scheme: str = "light", **more: Any) -> Seen:
        base = serving(kind)
        context = chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme, **more)
        contexts.append(context)
        seen = Seen(context.new_page(), base)
        page = seen.page

        def said(message: Any) -> None:
            if message.type == "error" and "404" not in message.text:
                seen.errors.append(message.text)

        def answered(response: Any) -> None:
            if response.status >= 400 and not response.url.split("?")[0].endswith(HARMLESS):
                seen.errors.append(f"{response.status} {response.url}")

        def asked(request: Any) -> None:
            if not request.url.startswith((base, "data:", "blob:", base.replace("http", "ws"))):
                seen.foreign.append(request.url)

        page.on("console", said)
        page.on("pageerror", lambda error: seen.errors.append(str(error)))
        page.on("response", answered)
        page.on("request", asked)
        seen.open(path)
        return seen

    yield visited
    for context in contexts:
        context.close()
