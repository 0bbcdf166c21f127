"""A process of its own, with limits on memory and CPU, for work on files that may be hostile.

What goes between the two processes is JSON and plain arrays, never pickles.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.abc import MetaPathFinder
from types import TracebackType
from typing import IO, Any, BinaryIO

import numpy as np

Array = np.ndarray[Any, Any]
Frame = tuple[dict[str, Any], dict[str, Array]]

MEMORY = 2_000_000_000
"""Bytes a child may take beyond what it starts with."""
CPU = 20
"""Seconds of CPU for a call, beside what the caller adds for the size of its file."""

_FRUGAL = {
    "OPENBLAS_NUM_THREADS": "1",
    # Arrays of the same sizes come with every part of a file: memory that was given back would be cleared again.
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_MMAP_THRESHOLD_": str(64 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(256 << 20),
}


class Refused(Exception):
    """The child could not do it; the text says why, without the file's name."""


class Child:
    """A process that is asked, one call at a time; started at the first call, and again after a call killed it."""

    def __init__(self, memory: int = MEMORY) -> None:
        self._memory = memory
        self._process: subprocess.Popen[bytes] | None = None

    def ask(
        self, call: str, given: Mapping[str, Any], arrays: Mapping[str, Array] | None = None, seconds: int = CPU
    ) -> Iterator[Frame]:
        """The frames that "module:function" yields in the child; raises Refused, also when a limit killed it.

        `seconds` is the CPU the call may use. An iterator that is not read to its end stops the child.
        """
        process = self._started()
        done = False
        try:
            if not _sent(process, {"call": call, "seconds": seconds, "given": dict(given)}, arrays or {}):
                raise Refused(self._death(seconds))
            while True:
                frame = receive(_pipe(process.stdout))
                if frame is None:
                    raise Refused(self._death(seconds))
                if "end" in frame[0]:
                    done = not frame[0].get("last")
                    if frame[0]["end"]:
                        raise Refused(str(frame[0]["end"]))
                    return
                yield frame
        finally:
            if not done:
                self.close()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(  # noqa: S603 (this interpreter, and nothing from outside)
                [sys.executable, "-c", f"from tandem.child import serve; serve({self._memory})"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**os.environ, **_FRUGAL, "PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)},
            )
        return self._process

    def _death(self, seconds: int) -> str:
        process = self._process
        code = process.wait() if process else 0
        if code == -signal.SIGXCPU:
            return f"took more than {seconds} s of CPU and was given up"
        if code == -signal.SIGKILL:
            return "was given up because its reader was killed, perhaps for want of memory"
        return f"stopped its reader (exit {code}); it is damaged or of a kind that cannot be read"

    def close(self) -> None:
        """Stop the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            if stream is not None:
                _close(stream)

    def __enter__(self) -> Child:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _close(stream: Any) -> None:
    try:
        stream.close()
    except BrokenPipeError:
        return  # what could not be flushed was for a process that is gone


def _pipe(stream: Any) -> BinaryIO:
    assert stream is not None
    found: BinaryIO = stream
    return found


def _sent(process: subprocess.Popen[bytes], head: Mapping[str, Any], arrays: Mapping[str, Array]) -> bool:
    try:
        send(_pipe(process.stdin), head, arrays)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def send(stream: IO[bytes], head: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
    """Write a frame: the length of a JSON line, the line, and the bytes of its arrays one after another."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    told = [[name, array.dtype.str, int(array.size)] for name, array in whole.items()]
    line = json.dumps({"head": head, "arrays": told}).encode()
    stream.write(len(line).to_bytes(8, "little") + line)
    for array in whole.values():
        stream.write(array.data)
    stream.flush()


def receive(stream: IO[bytes]) -> Frame | None:
    """The next frame that `send` wrote; None at the end."""
    size = stream.read(8)
    if len(size) < 8:
        return None
    line = stream.read(int.from_bytes(size, "little"))
    if len(line) < int.from_bytes(size, "little"):
        return None
    told = json.loads(line)
    arrays: dict[str, Array] = {}
    for name, kind, count in told["arrays"]:
        dtype = np.dtype(kind)
        array = np.empty(count, dtype=dtype)
        if count and stream.readinto(array.view(np.uint8).data) != array.nbytes:  # type: ignore[attr-defined]
            return None
        arrays[name] = array
    return told["head"], arrays


class _WithoutPandas(MetaPathFinder):
    """Pyarrow loads pandas unasked where it is installed, for a quarter of a second and 60 MB."""

    def find_spec(self, fullname: str, *_: object) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname, name=fullname)


def serve(memory: int) -> None:
    """The child's loop: take a call, send its frames, until the parent goes."""
    sys.meta_path.insert(0, _WithoutPandas())
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # a library that prints must not break into the frames
    limited = False
    while (frame := receive(sys.stdin.buffer)) is not None:
        head, arrays = frame
        module, _, name = head["call"].partition(":")
        function = getattr(importlib.import_module(module), name)
        if not limited:
            _limit_memory(memory)
            limited = True
        _limit_cpu(head["seconds"])
        try:
            for found, columns in function(head["given"], arrays):
                send(out, found, columns)
        except Refused as error:
            send(out, {"end": str(error)}, {})
        except MemoryError:
            send(out, {"end": f"needs more than {memory / 1e9:.1f} GB of memory and was given up", "last": True}, {})
            return
        else:
            send(out, {"end": ""}, {})


def _limit_memory(extra: int) -> None:
    if sys.platform != "linux":
        return  # elsewhere the address space says little about memory
    import resource

    with open("/proc/self/statm", "rb") as told:  # noqa: PTH123 (before anything else is imported)
        now = int(told.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + extra, now + extra))


def _limit_cpu(seconds: int) -> None:
    if sys.platform == "win32":
        return
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    spent = int(used.ru_utime + used.ru_stime)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (spent + seconds + 1, hard))
