"""Commands that show the dashboard: of a configuration, of a bundle, of the sample company."""

from __future__ import annotations

import importlib
import os
import socket
import time
from pathlib import Path

import click

from tandem import bundle, printed
from tandem import config as configuration
from tandem import demo as sample
from tandem import owner as owning
from tandem.commands.line import Misused, Sorry, browser_option, config_option, loaded, main, port_option, say
from tandem.config import Config
from tandem.owner import Owner, reached
from tandem.remote import Remote


@main.command()
@config_option
@port_option
@browser_option
@click.option("--bundle", "folder", metavar="DIR", type=click.Path(path_type=Path),
              help="Show a bundle, read only, with nothing else and no network.")  # fmt: skip
def serve(file: str | None, port: int, no_browser: bool, folder: Path | None) -> None:
    """Collect in the background and show the dashboard."""
    if folder is None:
        _serve(loaded(file), port, not no_browser)
        return
    if file is not None:
        raise Misused("A bundle has a configuration of its own; leave --config out.")
    with bundle.shown(folder) as opened:
        _check_port(port)
        owning.hold(opened)
        say(f"The bundle {folder} is at http://localhost:{port}, read only (stop it with Ctrl-C).")
        importlib.import_module("dashboard.server").run(opened, port=port, open_browser=not no_browser)


@main.command()
@port_option
@browser_option
@click.option("--dir", "folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Where the demo lives; a user data folder if left out.")  # fmt: skip
def demo(port: int, no_browser: bool, folder: Path | None) -> None:
    """Show the sample company, as if its months of exports reached until now."""
    path, told = sample.prepare(folder or sample.default_folder(os.environ), int(time.time()))
    for sentence in told:
        say(sentence)
    _serve(configuration.load(path), port, not no_browser)


def _serve(config: Config, port: int, browser: bool) -> None:
    page = f"http://localhost:{port}"
    with _owned(config, port, page) as owner:
        owning.hold(owner)
        say(f"Tandem is at {page} (stop it with Ctrl-C).")
        # First: a module that collecting and the dashboard both import for the first time may be met half made.
        server = importlib.import_module("dashboard.server")
        owner.collect(printed.Progress())
        server.run(owner, port=port, open_browser=browser)


def _owned(config: Config, port: int, page: str) -> Owner:
    """Become the owner, after a running sync or import; another `tandem serve` keeps the store."""
    said: list[str] = []

    def wait(remote: Remote) -> Owner:
        if remote.command == "serve":
            raise Sorry(f"Tandem runs already at {remote.page} (process {remote.pid}) and owns {config.store}.")
        if not said:
            said.append(f"Waiting for a running `tandem {remote.command}` (process {remote.pid}) to end.")
            say(said[0])
        time.sleep(0.2)
        raise _Busy

    def own() -> Owner:
        _check_port(port)
        return Owner.open(config, time.time, command="serve", page=page, wait=0)

    while True:
        try:
            return reached(config.store, wait, own)
        except _Busy:
            continue


class _Busy(Exception):
    """Somebody else still owns the store."""


def _check_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise Sorry(f"Port {port} is in use; name another one with --port.") from None
