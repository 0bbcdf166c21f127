"""A process that serves the screens with a made-up engine: python -m tests.browser.serve PORT KIND."""

from __future__ import annotations

import sys

from tests import screens


def main() -> None:
    port, kind = int(sys.argv[1]), sys.argv[2]
    more = {"components": ()} if kind == "empty" else {}
    if kind == "hostile":
        more = {"components": screens.components(tuple((bad, bad, f"{bad}m", "") for bad in screens.HOSTILE))}
    screens.install(screens.context(**more), screens.Engine(kind))
    from dashboard import server

    server.run(None, "127.0.0.1", port, False)


if __name__ == "__main__":
    main()
