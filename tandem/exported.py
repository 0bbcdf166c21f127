"""Exported files: what there is, whether it changed, and which source it belongs to."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem import connect
from tandem.config import Config, Source
from tandem.connect import Common, Connector, Given, Item, SourceRefused


def walk(path: Path, given: Given, recognised: Callable[[Item], bool]) -> Iterator[Item]:
    """Every file and recognised folder under `path`; raises SourceRefused for `path` itself."""
    found: Iterator[Item] = importlib.import_module("connectors._files").walk(path, given, recognised)
    return found


def relative(item: Item, folder: Path) -> str:
    """The item's name below its folder, "." for the folder itself."""
    return item.path.relative_to(folder).as_posix() if item.path != folder else "."


def stamp(item: Item) -> str:
    """What changes when an item's bytes change: its size and time, and those of everything in it."""
    if item.path.is_file():
        state = item.path.stat()
        return f"{state.st_size}:{state.st_mtime_ns}"
    digest = hashlib.sha256()
    for entry in item.entries:
        state = (item.path / entry).stat()
        digest.update(f"{entry}:{state.st_size}:{state.st_mtime_ns};".encode())
    return digest.hexdigest()


@dataclass(frozen=True)
class Recognised:
    """An item and the source it belongs to; or why it is refused."""

    item: Item | None
    name: str
    source: Source | None = None
    refused: str = ""


def recognise(paths: Sequence[Path], config: Config, given: Given, connector: str | None) -> Iterator[Recognised]:
    """Every item under `paths` with the source that reads it, decided by content; what nobody reads says why."""
    modules = {name: connect.load(name) for name in ([connect.canonical(connector)] if connector else connect.names())}

    def known(item: Item) -> bool:
        return any(module.recognise(item) for module in modules.values())

    for path in paths:
        try:
            for item in walk(path, given, known):
                yield _owner(item, modules, config, given)
        except SourceRefused as no:
            yield Recognised(None, str(path), refused=str(no))


def _owner(item: Item, modules: dict[str, Connector], config: Config, given: Given) -> Recognised:
    readers = [name for name, module in modules.items() if module.recognise(item) or _configured(item, module, config)]
    if len(readers) > 1:  # who reads a format of many systems leaves a file to who knows its system
        readers = [name for name in readers if not getattr(modules[name], "GENERAL", False)] or readers
    if not readers:
        return Recognised(item, item.name, refused=_unread(item, modules, given))
    if len(readers) > 1:
        choice = ", ".join(readers)
        return Recognised(
            item, item.name, refused=f"{item.name} could be read by {choice}; say which with --connector NAME."
        )
    try:
        return Recognised(item, item.name, _source_for(item, readers[0], modules[readers[0]], config, given))
    except SourceRefused as no:
        return Recognised(item, item.name, refused=str(no))


def _configured(item: Item, module: Connector, config: Config) -> list[Source]:
    """The sources of a connector that say of themselves that a file is theirs."""
    belongs = getattr(module, "belongs", None)
    return [one for one in config.sources if belongs and one.connector is module and belongs(item, one.config)]


def _unread(item: Item, modules: dict[str, Connector], given: Given) -> str:
    """Why nobody reads an item, with a block to fill in where a connector could make one."""
    guesses = [module.guess for module in modules.values() if hasattr(module, "guess")]
    offers = [offer for guess in guesses if (offer := guess(item, _common("", item, given)))]
    return offers[0] if offers else f"{item.name} is nothing that Tandem reads; see `tandem sources --known`."


def _source_for(item: Item, name: str, module: Connector, config: Config, given: Given) -> Source:
    """The configured source of that connector whose objects these are, or one made for the file."""
    configured = [one for one in config.sources if one.connector is module]
    if hasattr(module, "belongs"):
        configured = _configured(item, module, config)
    if given.component:
        configured = [one for one in configured if given.component in one.common.component] or []
    if len(configured) == 1:
        return configured[0]
    if len(configured) > 1:
        names = ", ".join(one.name for one in configured)
        raise SourceRefused(f"{item.name} could belong to {names}; import it with --component NAME.")
    common = _common(name, item, given)
    configure = getattr(module, "configure", None)
    if configure is not None:
        return Source(common, module, configure(item, common))
    try:
        return Source(common, module, module.Config(common=common))
    except TypeError:
        raise SourceRefused(
            f'{item.name} needs a [[source]] with connector = "{name}" in tandem.toml to say what it means; '
            f"`tandem init --connector {name}` prints one."
        ) from None


def _common(name: str, item: Item, given: Given) -> Common:
    return Common(
        connector=name, name=f"import:{name}", component=(given.component,) if given.component else (),
        environment=given.environment or "production", timezone=given.timezone, folder=item.path.parent,
        discover=not given.component,
    )  # fmt: skip
