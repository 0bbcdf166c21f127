"""The program `git`: fixed arguments, no shell, hooks, network or foreign settings, and an end to time and output."""

from __future__ import annotations

import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from connectors._git import REFS
from tandem.connect import SourceDown, SourceRefused

SECONDS = 120.0
"""Longest time of one call."""
CAP = 400_000_000
"""Most bytes that one call may answer."""
_PIECE = 1 << 16
_OPTIONS = (
    "--no-pager", "--no-replace-objects",
    # A repository's own settings name programs to run and places to fetch from; none of them is wanted here.
    "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "protocol.allow=never",
    "-c", "log.showSignature=false", "-c", "log.mailmap=false", "-c", "core.quotePath=false",
    # The configuration names this folder: whose it is does not matter where nothing in it is run.
    "-c", "safe.directory=*",
)  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """One run of the program."""

    process: subprocess.Popen[bytes]
    answer: IO[bytes]
    said: IO[bytes]
    late: threading.Event = field(default_factory=threading.Event)

    def stop(self) -> None:
        """End it, because it takes too long."""
        self.late.set()
        self.process.kill()


@dataclass(frozen=True)
class Repository:
    """A clone, a bare one, or the .git folder of one."""

    path: Path
    seconds: float = SECONDS
    cap: int = CAP

    def text(self, *arguments: str, given: Sequence[str] = ()) -> str:
        """All that a call says; raises SourceDown and SourceRefused."""
        return b"".join(self.pieces(*arguments, given=given)).decode("utf-8", "replace")

    def refs(self) -> list[list[str]]:
        """The branches and tags, by the fields of `_git.REFS`, %(HEAD) and %(symref)."""
        asked = f"--format={REFS}%1f%(HEAD)%1f%(symref)"
        said = self.text("for-each-ref", asked, "refs/tags", "refs/heads", "refs/remotes")
        return [line.split("\x1f") for line in said.split("\n") if line]

    def there(self, shas: Sequence[str]) -> tuple[list[str], bool]:
        """Those of some commits that the clone still holds, and whether one is missing."""
        if not shas:
            return [], False
        said = self.text("cat-file", "--batch-check=%(objectname) %(objecttype)", given=shas)
        found = [line.split(" ")[0] for line in said.splitlines() if line.endswith(" commit")]
        return found, len(found) < len(shas)

    def inside(self, name: str) -> Path:
        """The place of one of git's own files."""
        return self.path / self.text("rev-parse", "--git-path", name).strip()

    def shallow(self) -> list[str]:
        """The commits at which a shallow clone ends."""
        try:
            return self.inside("shallow").read_text().split()
        except OSError:
            return []

    def fetched(self) -> int | None:
        """When it was fetched last, epoch seconds; None for one that fetches from nobody."""
        if not self.text("remote").strip():
            return None
        for name in ("FETCH_HEAD", "packed-refs", "config"):
            place = self.inside(name)
            if place.exists():
                return int(place.stat().st_mtime)
        return None

    def pieces(self, *arguments: str, given: Sequence[str] = ()) -> Iterator[bytes]:
        """What a call says, piece by piece; `given` are the lines of its standard input."""
        with tempfile.TemporaryFile() as asked:
            asked.write("".join(f"{line}\n" for line in given).encode())
            asked.seek(0)
            with self._running(arguments, asked) as call:
                yield from self._read(call.answer)
                if call.process.wait() or call.late.is_set():
                    raise self._failure(call)

    def _read(self, answer: IO[bytes]) -> Iterator[bytes]:
        read = 0
        while piece := answer.read(_PIECE):
            read += len(piece)
            if read > self.cap:
                raise SourceRefused(f"git says more than {self.cap / 1e6:g} MB of {self.path}; narrow its tags.")
            yield piece

    @contextmanager
    def _running(self, arguments: Sequence[str], asked: IO[bytes]) -> Iterator[_Call]:
        with tempfile.TemporaryFile() as said:
            process = self._started(arguments, asked, said)
            assert process.stdout is not None
            call = _Call(process, process.stdout, said)
            timer = threading.Timer(self.seconds, call.stop)
            timer.daemon = True
            timer.start()
            try:
                yield call
            finally:
                timer.cancel()
                process.kill()
                process.wait()
                call.answer.close()

    def _started(self, arguments: Sequence[str], asked: IO[bytes], said: IO[bytes]) -> subprocess.Popen[bytes]:
        command = ["git", *_OPTIONS, "-C", str(self.path), *arguments]
        try:
            return subprocess.Popen(  # noqa: S603 (no shell; every argument is ours, what is foreign comes by stdin)
                command, stdin=asked, stdout=subprocess.PIPE, stderr=said, env=self._environment(), close_fds=True
            )
        except FileNotFoundError:
            raise SourceRefused(
                f"the program git is not there to read {self.path}; install it, or save its two logs and read those."
            ) from None
        except (OSError, ValueError) as error:
            raise SourceRefused(f"git could not be started for {self.path} ({type(error).__name__}).") from None

    def _environment(self) -> dict[str, str]:
        """What the program sees: nothing that could send it elsewhere, and messages that can be told apart."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        return {
            **kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1",
            "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull,
            # A folder of exports inside some repository is not that repository.
            "GIT_CEILING_DIRECTORIES": str(self.path.parent),
        }  # fmt: skip

    def _failure(self, call: _Call) -> SourceDown | SourceRefused:
        if call.late.is_set():
            return SourceDown(f"git took more than {self.seconds:g} s over {self.path}; it is asked again later.")
        call.said.seek(0)
        text = call.said.read(4000).decode("utf-8", "replace")
        if "not a git repository" in text:
            return SourceRefused(f"{self.path} is no git repository; set path to a clone or to its saved logs.")
        first = " ".join((text.strip().splitlines() or ["no reason given"])[0].split())[:200].rstrip(".")
        return SourceDown(f"git could not read {self.path}: {first}.")
