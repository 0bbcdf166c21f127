"""The one owner of a store: it holds the file, collects, and answers everybody else on this machine."""

from __future__ import annotations

import http.server
import json
import os
import secrets
import shutil
import socketserver
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import parse_qs, urlsplit

from tandem import api, collect, exported
from tandem import config as configuration
from tandem.collect import Outcome, Say
from tandem.config import Config, ConfigError, Source
from tandem.connect import Given, SourceDown
from tandem.remote import Ending, Gone, Remote, owner_file, owner_of
from tandem.store import backup
from tandem.store.file import Store, StoreBroken, StoreLocked, StoreRefused, open_store

T = TypeVar("T")
Clock = Callable[[], float]
WAIT = 10.0
"""Seconds for which a command waits for a store that somebody holds who does not answer."""
LOOK = 2.0
"""Seconds between two looks at the configuration file."""
TRIES = 20
"""How often an owner may break off before its caller gives up."""
AGAIN = 60.0
"""Seconds after which a store that could not be written is tried again."""
LEAVE = 5.0
"""Seconds in which pulls that run are waited for at the end."""


def silent(source: str, what: str, share: float | None) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Taken:
    """How one imported file ended; `connector` is "" where nobody could read it."""

    file: str
    connector: str
    outcome: Outcome


@dataclass(frozen=True)
class Reading:
    """A store that is open only to be read, for as long as one answer takes."""

    config: Config
    store: Store
    clock: Clock
    token: str = ""
    first_done: bool = True
    local: bool = True
    """Who opens the file needs no signed link."""

    def now(self) -> int:
        """The present in epoch seconds."""
        return int(self.clock())

    @classmethod
    @contextmanager
    def open(cls, config: Config, clock: Clock) -> Iterator[Reading]:
        """Open the store of a configuration, which must exist; raises StoreLocked or StoreRefused at once."""
        with open_store(config.store, wait=0, read_only=True) as store:
            yield cls(config, store, clock)


class Owner:
    """Owns the store of a configuration: collects into it and serves it, until the `with` block ends.

    `trouble` is a sentence for everybody to see: what keeps it from collecting, or from taking over a changed
    configuration; "" when there is none. `first_done` is whether the first collection has committed.
    """

    def __init__(self, config: Config, store: Store, clock: Clock, command: str, page: str = "") -> None:
        self.path = config.path
        self.config = config
        self.store = store
        self.clock = clock
        self.command = command
        self.page = page
        self.token = secrets.token_urlsafe(32)
        self.first_done = store.version() > 0 or not config.sources
        self.broken = ""
        self.misread = ""
        self._try_again = 0.0
        self._stamp = _stamp(config.path)
        self._stop = threading.Event()
        self._at_work = threading.Condition()
        self._jobs = 0
        self._ending = False
        self._busy: dict[str, threading.Lock] = {}
        self._small = threading.Lock()
        self._at_once = threading.Semaphore(collect.AT_ONCE)
        self._pulling: dict[str, threading.Thread] = {}
        self._server = _Loopback(self)

    @classmethod
    def open(cls, config: Config, clock: Clock, command: str = "sync", page: str = "", wait: float = WAIT) -> Owner:
        """Open the store of `config` and begin to answer; raises StoreLocked or StoreRefused."""
        owner = cls(config, open_store(config.store, wait=wait), clock, command, page)
        owner._server.begin()
        _announce(owner)
        return owner

    def __enter__(self) -> Owner:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(hurry=kind is not None)

    def close(self, *, hurry: bool = False) -> None:
        """Finish what others asked for, let go of the store, and be found no more."""
        if hurry or self._pulling:
            self._stop.set()
        idle = self._settled()
        self._stop.set()
        if idle:
            self.store.close()
        _withdraw(self.config.store, self.token)
        self._server.end()

    def _settled(self) -> bool:
        """Wait until nothing is being done, for a short while where the end was asked for; then take nothing on."""
        with self._at_work:
            end = time.monotonic() + LEAVE
            while self._jobs and not (self._stop.is_set() and time.monotonic() >= end):
                self._at_work.wait(0.2 if self._stop.is_set() else 1)
            self._ending = True
            return not self._jobs

    def now(self) -> int:
        """The present in epoch seconds."""
        return int(self.clock())

    def version(self) -> int:
        """The highest load committed."""
        return self.store.version()

    @property
    def url(self) -> str:
        """The address of the loopback API."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def trouble(self) -> str:
        """What everybody should know, or ""."""
        return self.broken or self.misread

    @contextmanager
    def working(self) -> Iterator[None]:
        """Keeps the owner from ending while somebody is answered; raises Gone where it is ending."""
        with self._at_work:
            if self._ending:
                raise Gone("it is ending")
            self._jobs += 1
        try:
            yield
        finally:
            with self._at_work:
                self._jobs -= 1
                self._at_work.notify_all()

    # -- configuration

    def reload(self) -> None:
        """Take over the configuration file where it has changed; one that cannot be read leaves the old one."""
        stamp = _stamp(self.path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            fresh = configuration.load(self.path)
        except ConfigError as bad:
            self.misread = f"{bad} Tandem goes on with what the file said before."
            return
        if fresh.store != self.config.store:
            self.misread = f"{self.path} names another store; start Tandem again to use it."
            return
        self.config, self.misread = fresh, ""

    def _configured(self, path: Path | None) -> Config:
        """The configuration that a command was given: this owner's, or another one of the same store."""
        self.reload()
        return self.config if path is None or path == self.path else configuration.load(path)

    # -- collecting

    def sync(
        self, names: Sequence[str] = (), *, since: int | None = None, say: Say = silent, config: Path | None = None
    ) -> list[Outcome]:
        """Pull the named sources, or all, each as soon as nobody else is pulling it; never raises for a source."""
        with self.working():
            using = self._configured(config)
            chosen = [source for source in using.sources if not names or source.name in names]
            outcomes = self._each(chosen, lambda one: self._pull(one, since, say))
            self.first_done = True
            return outcomes

    def _each(self, sources: Sequence[Source], pull: Callable[[Source], Outcome]) -> list[Outcome]:
        """Pull several at the same time, in threads that keep nobody from ending."""
        outcomes: dict[str, Outcome] = {}

        def run(source: Source) -> None:
            # Counted for itself: an interrupted caller is gone before the pulls that it began.
            with suppress(Gone), self.working(), self._turn(source):
                outcomes[source.name] = pull(source)

        threads = [threading.Thread(target=run, args=(one,), daemon=True, name=f"sync {one.name}") for one in sources]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [outcomes.get(one.name, Outcome(one.name, error=f"{one.name} stopped on a fault in Tandem; see above."))
                for one in sources]  # fmt: skip

    def take(
        self, paths: Sequence[Path], given: Given, *, connector: str | None = None, say: Say = silent,
        config: Path | None = None,
    ) -> list[Taken]:  # fmt: skip
        """Import every file under `paths` that a connector recognises; what is refused says why."""
        with self.working():
            using = self._configured(config)
            return [self._import(found, say) for found in exported.recognise(paths, using, given, connector)]

    def restore(self, folder: Path) -> dict[str, int]:
        """Merge a bundle into the store: the rows that it brought, and the highest load; raises StoreRefused."""
        with self.working():
            if not self._healed():
                raise StoreRefused(self.broken)
            try:
                rows = backup.restored(folder, self.store, self.now())
            except StoreBroken as error:
                raise StoreRefused(self._break(error)) from error
            return {"rows": rows, "load": self.store.version()}

    def _pull(self, source: Source, since: int | None, say: Say) -> Outcome:
        with self._alone(source.name):
            if not self._healed():
                return Outcome(source.name, error=self.broken)
            say = self._until_stopped(source.name, say)
            try:
                return collect.pull(self.store, source, self.now(), since=since, say=say)
            except StoreBroken as error:
                return Outcome(source.name, error=self._break(error))

    def _import(self, found: exported.Recognised, say: Say) -> Taken:
        if found.source is None or found.item is None:
            return Taken(found.name, "", Outcome(found.name, refused=(found.refused,)))
        with self._alone(found.source.name):
            name = found.source.common.connector
            if not self._healed():
                return Taken(found.name, name, Outcome(found.source.name, error=self.broken))
            say = self._until_stopped(found.source.name, say)
            try:
                outcome = collect.import_item(self.store, found.source, found.item, self.now(), say=say)
            except StoreBroken as error:
                outcome = Outcome(found.source.name, error=self._break(error))
            return Taken(found.name, name, outcome)

    @contextmanager
    def _alone(self, source: str) -> Iterator[None]:
        with self._small:
            lock = self._busy.setdefault(source, threading.Lock())
        with lock:
            yield

    def _until_stopped(self, name: str, say: Say) -> Say:
        """`say`, that ends the pull at its next word once Tandem is asked to end."""
        told = threading.Event()

        def saying(source: str, what: str, share: float | None) -> None:
            if self._stop.is_set() and share != 1.0 and not told.is_set():
                told.set()
                raise SourceDown(f"{name} was left off because Tandem was stopped; the next pull goes on from there.")
            say(source, what, share)

        return saying

    def _healed(self) -> bool:
        """Whether the store can be written, perhaps again: where there is room, that is tried once a minute."""
        with self._small:
            if self.broken and time.monotonic() >= self._try_again:
                self._try_again = time.monotonic() + AGAIN
                if shutil.disk_usage(self.store.path.parent).free > 2 * self.store.size():
                    self.store, self.broken = self.store.reopened(read_only=False), ""
            return not self.broken

    def _break(self, error: Exception) -> str:
        """The store cannot be written any more: show what is in it, and say why nothing is collected."""
        with self._small:
            if not self.broken:
                why = str(error).splitlines()[0]
                self.broken = (
                    f"{self.config.store} cannot be written ({why}); nothing is collected, and what is in it is "
                    "shown. Make room on the disk; Tandem tries again every minute."
                )
                self.store = self.store.reopened(read_only=True)
                self._try_again = time.monotonic() + AGAIN
            return self.broken

    def collect(self, say: Say = silent) -> None:
        """Begin to pull every source in the background: at once, and then as often as it says."""
        threading.Thread(target=self._watch, args=(say,), daemon=True, name="collector").start()

    def _watch(self, say: Say) -> None:
        """Start a thread for each source, also for those that a changed configuration brings."""
        first = [self._started(source.name, say) for source in self.config.sources]
        for one in first:
            one.wait()
        self.first_done = True
        while not self._stop.wait(LOOK):
            before = self.misread
            self.reload()
            if self.misread and self.misread != before:
                say("tandem.toml", self.misread, 1.0)
            for source in self.config.sources:
                if source.name not in self._pulling:
                    self._started(source.name, say)

    def _started(self, name: str, say: Say) -> threading.Event:
        done = threading.Event()
        thread = threading.Thread(
            target=self._again_and_again, args=(name, say, done), daemon=True, name=f"pull {name}"
        )
        self._pulling[name] = thread
        thread.start()
        return done

    def _turn(self, source: Source) -> AbstractContextManager[object]:
        """What a pull waits for: few sources at the same time, but for those that look at the present."""
        return nullcontext() if source.connector.ABOUT.polled else self._at_once

    def _pause(self, source: Source, begun: float) -> float:
        """Seconds until the next pull; one look at the present comes at the beginning of the time it stands for."""
        if source.connector.ABOUT.polled:
            return source.every - self.clock() % source.every
        return max(0.0, begun + source.every - time.monotonic())

    def _again_and_again(self, name: str, say: Say, done: threading.Event) -> None:
        """Pull one source until it is configured no more."""
        try:
            while (source := self.config.source(name)) is not None:
                begun = time.monotonic()
                try:
                    with self._turn(source), self.working():
                        self._pull(source, None, say)
                except Gone:
                    return
                done.set()
                if self._stop.wait(self._pause(source, begun)):
                    return
        finally:
            done.set()
            self._pulling.pop(name, None)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        state = path.stat()
    except OSError:
        return None
    return state.st_size, state.st_mtime_ns


# -- being found


def _announce(owner: Owner) -> None:
    """Write the owner file, readable by this user only."""
    place = owner_file(owner.config.store)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    told = {
        "pid": os.getpid(), "url": owner.url, "token": owner.token, "started": owner.now(), "command": owner.command,
        "page": owner.page,
    }  # fmt: skip
    draft = place.with_name(f".owner.{secrets.token_hex(8)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(told, file)
    draft.replace(place)


def _withdraw(store: Path, token: str) -> None:
    """Remove the owner file, unless somebody else has written it since."""
    place = owner_file(store)
    try:
        if json.loads(place.read_text(encoding="utf-8")).get("token") == token:
            place.unlink()
    except (OSError, ValueError, AttributeError):
        return


@dataclass
class _Held:
    """The owner of this process."""

    owner: Any = None
    lock: threading.Lock = field(default_factory=threading.Lock)


_held = _Held()


def hold(owner: Any) -> None:
    """Make `owner` the one whose numbers this process shows."""
    with _held.lock:
        _held.owner = owner


def current() -> Any:
    """The owner whose numbers this process shows; raises RuntimeError where there is none."""
    if _held.owner is None:
        raise RuntimeError("Tandem is not being served by this process; start it with `tandem serve`.")
    return _held.owner


# -- the loopback API


class _Loopback(socketserver.ThreadingMixIn, http.server.HTTPServer):
    """Answers this machine only, and only who holds the token."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, owner: Owner) -> None:
        super().__init__(("127.0.0.1", 0), _Asked)
        self.owner = owner

    def begin(self) -> None:
        """Answer from now on, in a thread of its own."""
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True, name="loopback").start()

    def end(self) -> None:
        """Answer no more."""
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is nobody's fault."""


class _Asked(http.server.BaseHTTPRequestHandler):
    """One request to the loopback API."""

    server: _Loopback
    server_version = "Tandem"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        """Answer a question."""
        self._guarded(lambda path, params: self._answer(path, params))

    def do_POST(self) -> None:
        """Do what is asked, and tell about it line by line."""
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > 1 << 24:
            self._send(413, api.JSON, api.dumps({"error": "The request names no length below 16 MiB."}))
            return
        body = self.rfile.read(int(length)).decode("utf-8", "replace")
        self._guarded(lambda path, params: self._work(path, {**params, **parse_qs(body, keep_blank_values=True)}))

    def _guarded(self, reply: Callable[[str, Mapping[str, list[str]]], None]) -> None:
        owner = self.server.owner
        if self.headers.get("Host") != f"127.0.0.1:{self.server.server_address[1]}":
            self._send(421, api.JSON, api.dumps({"error": "This address is answered under 127.0.0.1 only."}))
            return
        if not api.permitted(owner, dict(self.headers)):
            self._send(401, api.JSON, api.dumps({"error": "The token is not that of the running Tandem."}))
            return
        asked = urlsplit(self.path)
        try:
            with owner.working():
                reply(asked.path, parse_qs(asked.query, keep_blank_values=True))
        except Gone:
            self._send(503, api.JSON, api.dumps({"error": "Tandem is ending."}), ending=True)

    def _answer(self, path: str, params: Mapping[str, list[str]]) -> None:
        self._send(*api.answer(self.server.owner, "GET", path, params, dict(self.headers)))

    def _work(self, path: str, params: Mapping[str, list[str]]) -> None:
        if path not in api.WORK:
            self._send(404, api.JSON, api.dumps({"error": "There is nothing to do at this address."}))
            return
        try:
            lines = api.work(self.server.owner, path, params)
        except (api.BadQuestion, ConfigError) as bad:
            self._send(400, api.JSON, api.dumps({"error": str(bad)}))
            return
        self.send_response(200)
        self.send_header("Content-Type", api.LINES)
        self.end_headers()
        for line in lines:
            self.wfile.write(line)
            self.wfile.flush()

    def _send(self, status: int, kind: str, body: bytes, *, ending: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if ending:
            self.send_header("X-Tandem", "ending")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Requests of this machine are not worth a line."""


# -- finding one, or becoming it


def reached(store: Path, ask: Callable[[Remote], T], own: Callable[[], T], *, wait: float = WAIT) -> T:
    """What the running owner answers to `ask`, or what `own` makes of the store where nobody owns it.

    Goes on for as long as owners come and go; raises StoreLocked where somebody holds the store for `wait` seconds
    and does not answer, and Gone where an owner breaks off time and again.
    """
    end = time.monotonic() + wait
    broken_off = 0
    while True:
        found = owner_of(store)
        try:
            return own() if found is None else ask(found)
        except Ending:
            end = time.monotonic() + wait
        except Gone:
            broken_off += 1
            end = time.monotonic() + wait
            if broken_off == TRIES:
                raise
        except StoreLocked:
            if time.monotonic() >= end:
                raise
        time.sleep(0.1)


__all__ = [
    "Owner", "Reading", "StoreLocked", "StoreRefused", "Taken", "current", "hold", "owner_of", "reached", "silent",
]  # fmt: skip
