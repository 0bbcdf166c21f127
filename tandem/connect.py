"""What a connector is: one module with `Config`, `ABOUT`, `scope`, `fetch`, `parse` and `recognise`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, BinaryIO, Literal, Protocol, cast

from tandem.bins import Layout
from tandem.records import Event, Outcome, Page


class SourceDown(Exception):
    """The source did not answer, or answered with something that may pass: try again later."""


class SourceRefused(Exception):
    """The source said no, or its answer cannot be used: trying again changes nothing until somebody acts."""


def setting(doc: str, *, default: Any = MISSING, example: Any = None) -> Any:
    """A field of a connector's Config: one sentence of meaning, its default, and an example for `tandem init`."""
    metadata = {"doc": doc, "example": example}
    if default is MISSING:
        return field(metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class Rule:
    """One [[source.map]]: records whose labels match every glob belong to `component`."""

    component: tuple[str, ...]
    match: Mapping[str, str] = field(default_factory=dict)
    environment: str = ""
    version: str = ""


@dataclass(frozen=True)
class Common:
    """The keys of every source; a connector reads them as `config.common`."""

    connector: str
    name: str
    component: tuple[str, ...] = ()
    environment: str = "production"
    timezone: str | None = None
    every: int = 300
    since: int | None = None
    overlap: int | None = None
    horizon: int | None = None
    primary: bool = False
    combine: Literal["", "sum"] = ""
    deletions: Literal["keep", "restate"] = "keep"
    maintenance_time: Literal["", "leave out", "count"] = ""
    shift_days: int | None = None
    ca_file: Path | None = None
    token_env: str | None = None
    token_file: Path | None = None
    discover: bool = False
    status: Mapping[str, Outcome] = field(default_factory=dict)
    map: tuple[Rule, ...] = ()
    folder: Path = Path()


@dataclass(frozen=True)
class Pull:
    """What a connector is asked for. All times are epoch seconds, UTC; [since, until) is half-open.

    A source with `shift_days` lives in the time of its files: the core shifts `since`, `until` and `now` back and
    the records forth. Records at or after `until` are dropped by the core as "not yet".
    """

    since: int
    until: int
    now: int
    state: Any = None
    open: tuple[Event, ...] = ()
    taken: Callable[[str], str | None] = lambda name: None
    layout: Callable[[str, str, str], Layout | None] = lambda component, signal, name: None
    """(component, signal, name) -> the layout in force, or None where none is made yet."""
    sweep: bool = False
    first: bool = False
    progress: Callable[[str, float | None], None] = lambda said, share: None
    """Say what is being done, and the share of it that is done (None: unknown)."""


@dataclass(frozen=True)
class Given:
    """What the command line adds to an imported file."""

    component: str = ""
    environment: str = ""
    at: int | None = None
    timezone: str | None = None


class Item(Protocol):
    """One exported file or folder."""

    name: str
    path: Path
    modified: int
    head: bytes
    """The first 64 KiB, decompressed; b"" for a folder."""
    entries: Sequence[str]
    """The names in a folder, relative and with "/", at most 10,000; () for a file."""
    given: Given

    def open(self) -> BinaryIO:
        """The decompressed bytes, capped; raises SourceRefused over the cap or for a broken archive."""
        ...

    def child(self, entry: str) -> Item:
        """The item of one entry of a folder."""
        ...


@dataclass(frozen=True)
class About:
    """What a connector reads, as data; docs and `tandem init --connector` are made of it."""

    reads: str
    signals: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    horizon: int | None = None
    """Seconds in which a finished object may reopen; the daily sweep reads it again."""
    limits: tuple[str, ...] = ()
    status: Mapping[str, Outcome] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    restates: bool = False
    """Whether every pull tells all of its window, so that what is missing in it has vanished (`deletions`)."""
    once: tuple[str, ...] = ()
    """Event kinds that are seen to happen and cannot be read again."""
    polled: bool = False
    """Whether a pull is one look at the present that stands for all the time until the next: it comes on the ticks of
    its interval, waits for no other source, and what it covers may reach past now, to the next look."""
    side: Literal["system", "model", "both"] = "system"
    example: str = ""
    """The body of a [[source]] block for `tandem init`, with comments; loads under the strict config."""


class Connector(Protocol):
    """The public names of a connector's module."""

    ABOUT: About
    Config: type[Any]

    def scope(self, config: Any) -> str:
        """What is read, whatever the source is called: the same scope is the same source."""
        ...

    def fetch(self, config: Any, pull: Pull) -> Iterator[Page]:
        """Pages of [pull.since, pull.until), oldest first, repeatable; raises SourceDown or SourceRefused only."""
        ...

    def parse(self, item: Item, config: Any) -> Iterator[Page]:
        """Pages of one exported file or folder."""
        ...

    def recognise(self, item: Item) -> bool:
        """Whether `parse` reads this item; looks at `head` and `entries` only."""
        ...


def status_of(config: Any, about: About, status: str) -> Outcome | None:
    """The outcome of a status word: [source.status] first, then ABOUT's table; None for an unknown one."""
    own: Mapping[str, Outcome] = config.common.status
    return own.get(status, about.status.get(status))


def names() -> tuple[str, ...]:
    """Every connector that can be loaded: built-in modules first, then entry points."""
    package = importlib.import_module("connectors")
    built_in = {m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")}
    return tuple(sorted(built_in | {entry.name for entry in entry_points(group="tandem.connectors")}))


def load(name: str) -> Connector:
    """The connector of that name or alias; raises SourceRefused naming the known ones."""
    known = names()
    if name in known:
        return _module(name)
    for candidate in known:
        if name in _module(candidate).ABOUT.aliases:
            return _module(candidate)
    raise SourceRefused(f'there is no connector "{name}"; known are {", ".join(known)}.')


def canonical(name: str) -> str:
    """The connector's own name for a name or alias."""
    return str(vars(load(name))["__name__"]).rpartition(".")[2]


def _module(name: str) -> Connector:
    for entry in entry_points(group="tandem.connectors"):
        if entry.name == name:
            return cast("Connector", entry.load())
    return cast("Connector", importlib.import_module(f"connectors.{name}"))
