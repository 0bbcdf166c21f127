"""The command line: stdout is data, stderr is talk, and every error is one sentence."""

from __future__ import annotations

import sys

from tandem.commands import asking, carrying, checking, collecting, serving  # noqa: F401  each adds its commands
from tandem.commands.line import main

__all__ = ["main"]

if __name__ == "__main__":
    sys.exit(main())
