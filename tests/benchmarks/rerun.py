"""Server CPU of a rerun of each screen and the bytes it sends, beside an empty page, over a raw websocket.

Run: python -m tests.benchmarks.rerun [--components N] [--days N] [--visitors N] [--reruns N]

The real server (`dashboard.server`) in a process of its own, over a generated store; visitors press one after another,
and each waits for the end of its run. Counted is the user and system time of the whole server process, all threads,
over the reruns. "known": windows that were asked before (the answer is kept until the data changes); "new": a window
nobody asked before, so that the engine reads the store too.
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from tandem.store.file import open_store
from tests.benchmarks import estate

EMPTY = """import streamlit as st
chosen = st.segmented_control("Time range", ["6h", "24h"], default="24h", required=True)
st.write(f"shown {chosen}")
"""


def serve(path: Path, components: int, port: int, empty: bool) -> None:
    """The server process: says its own CPU seconds for every line it gets."""
    import threading

    from dashboard import server
    from tandem import owner

    def answer() -> None:
        for _ in sys.stdin:
            print(time.process_time(), flush=True)

    threading.Thread(target=answer, daemon=True).start()
    if empty:
        script = path.parent / "empty.py"
        script.write_text(EMPTY)
        server.SCRIPT = script
    with open_store(path) as store:
        context = SimpleNamespace(
            store=store, config=estate.config(path.parent, components), now=lambda: estate.END, version=store.version,
            first_done=True, trouble="", url=f"http://127.0.0.1:{port}", sync=lambda *given, **more: None,
        )  # fmt: skip
        owner.hold(context)
        server.run(context, port=port)


@contextmanager
def served(path: Path, components: int, empty: bool) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.benchmarks.rerun", "--serve", str(path), "--port", str(port),
               "--components", str(components), *(["--empty"] if empty else [])]  # fmt: skip
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            for _ in range(300):
                try:
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            yield port, process
        finally:
            process.terminate()


def spent(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


class Visitor:
    """One browser, as far as the server can tell."""

    def __init__(self, port: int) -> None:
        from websockets.sync.client import connect

        self.open = connect(
            f"ws://127.0.0.1:{port}/_stcore/stream", origin=f"http://127.0.0.1:{port}",
            subprotocols=["streamlit"], max_size=None, compression=None,
        )  # fmt: skip
        self.socket = self.open.__enter__()

    def run(self, query: str, page: str = "") -> tuple[int, bool]:
        """Ask for a run; bytes received until it ended, and whether it went well."""
        from streamlit.proto.BackMsg_pb2 import BackMsg
        from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

        asked = BackMsg()
        asked.rerun_script.query_string = query
        asked.rerun_script.page_name = page
        self.socket.send(asked.SerializeToString())
        received, fine = 0, True
        while True:
            data = self.socket.recv(timeout=60)
            received += len(data)
            message = ForwardMsg.FromString(data)
            if message.WhichOneof("type") == "delta" and message.delta.new_element.HasField("exception"):
                fine = False
            if message.WhichOneof("type") == "script_finished":
                return received, fine


def queries(number: int, known: bool) -> str:
    until = estate.END - (0 if known else 300 * (1 + number))
    since = until - (2 + number % 3) * 8 * 3600
    return f"from={since * 1000}&to={until * 1000}"


def figures(
    port: int, process: subprocess.Popen[str], visitors: int, reruns: int, known: bool, page: str = "", more: str = ""
) -> tuple[float, int]:
    """CPU milliseconds and bytes per rerun."""
    crowd = [Visitor(port) for _ in range(visitors)]
    for number, one in enumerate(crowd):
        one.run(queries(number, True) + more, page)
    for number in range(3):
        crowd[0].run(queries(number, True) + more, page)
    before, received = spent(process), []
    for number in range(reruns):
        size, fine = crowd[number % visitors].run(queries(number, known) + more, page)
        assert fine, "the page shows an exception"
        received.append(size)
    milliseconds = 1000 * (spent(process) - before) / reruns
    for one in crowd:
        one.open.__exit__(None, None, None)
    return milliseconds, int(statistics.median(received))


SCREENS = (("Overview", "", ""), ("Services", "services", ""), ("Models", "models", ""),
           ("one service", "services", "service"), ("one model", "models", "model"), ("Delivery", "delivery", ""),
           ("Compare", "compare", ""), ("Sources", "sources", ""))  # fmt: skip
"""Name, page, and the kind of component whose own page it is."""


def show(name: str, milliseconds: float, size: int) -> None:
    print(f"{name:28}{milliseconds:18.1f}{size:12,}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=10)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--visitors", type=int, default=5)
    parser.add_argument("--reruns", type=int, default=60)
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--empty", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.components, given.port, given.empty)
        return
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tandem.duckdb"
        estate.build(path, given.components, given.days)
        print(f"{given.components} components, {given.days} days, {given.visitors} visitors, {given.reruns} reruns")
        print(f"{'':28}{'CPU ms per rerun':>18}{'bytes':>12}")
        with served(path, given.components, True) as (port, process):
            show("empty page", *figures(port, process, given.visitors, given.reruns, True))
        for name, page, kind in SCREENS:
            mine = [one.name for one in estate.config(path.parent, given.components).components if one.kind == kind]
            more = f"&component={mine[0]}" if mine else ""
            for known in (True, False):
                with served(path, given.components, False) as (port, process):
                    found = figures(port, process, given.visitors, given.reruns, known, page, more)
                show(f"{name}, {'known' if known else 'new'} window", *found)


if __name__ == "__main__":
    main()
