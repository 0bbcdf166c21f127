"""Commands that bring numbers in: from sources, and from exported files."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tandem import config as configuration
from tandem import connect, printed, times
from tandem.commands.line import (
    DEFAULT,
    FAILED,
    Misused,
    config_option,
    handed,
    known_paths,
    loaded,
    main,
    say,
    time_of,
)
from tandem.config import Config
from tandem.connect import Given, SourceRefused
from tandem.owner import Owner, reached


@main.command()
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@config_option
@click.option("--since", metavar="T", help="Read again from this time on.")
@click.option("--watch", type=click.IntRange(1), metavar="SECONDS", help="Do it again so many seconds after the last.")
def sync(sources: tuple[str, ...], file: str | None, since: str | None, watch: int | None) -> None:
    """Pull the named sources, or all; one that fails does not stop the others."""
    config = loaded(file)
    _check_sources(config, sources)
    begin = time_of(since) if since else None
    while True:
        failed = _synced(config, sources, begin)
        if watch is None:
            break
        time.sleep(watch)
        begin = None
    if failed:
        raise SystemExit(FAILED)


def _check_sources(config: Config, names: Sequence[str]) -> None:
    if not config.sources:
        raise Misused(f"{config.path} names no source; `tandem init --connector NAME` prints a block to add.")
    known = [source.name for source in config.sources]
    for name in names:
        if name not in known:
            raise Misused(f"There is no source {name!r} in {config.path}; known are {', '.join(known)}.")


def _synced(config: Config, sources: Sequence[str], since: int | None) -> bool:
    """Pull, by the running owner or as one; whether anything failed."""
    with _progress() as progress:

        def own() -> list[Mapping[str, Any]]:
            with Owner.open(config, time.time, wait=0) as owner:
                return [asdict(one) for one in owner.sync(sources, since=since, say=progress)]

        params = {"source": list(sources), "config": known_paths(config), "since": [str(since)] if since else []}
        found = reached(config.store, handed("/api/v1/sync", params, progress), own)
    for one in found:
        _tell(one["source"], one)
    return any(one["error"] or one["refused"] for one in found)


@contextmanager
def _progress() -> Iterator[printed.Progress]:
    progress = printed.Progress()
    try:
        yield progress
    finally:
        progress.clear()


def _tell(name: str, found: Mapping[str, Any]) -> None:
    """What a pull or a file brought on stdout, what it did not on stderr."""
    if found["error"] or found["refused"]:
        for sentence in found["refused"] or [found["error"]]:
            say(sentence if found["refused"] or sentence.startswith(name) else f"{name}: {sentence}")
    else:
        click.echo(printed.outcome(name, found))
    for remark in found["remarks"]:
        say(f"{name}: {remark}")


@main.command("import")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.option("--component", metavar="NAME", default="", help="What the files are about.")
@click.option("--connector", metavar="NAME", help="How to read them, where that is not plain.")
@click.option("--timezone", metavar="Z", help="Zone of times without an offset, such as Europe/Berlin.")
@click.option("--at", metavar="T", help="When the files were made, where they do not say.")
@config_option
def import_(
    paths: tuple[str, ...], component: str, connector: str | None, timezone: str | None, at: str | None,
    file: str | None,
) -> None:  # fmt: skip
    """Read exported files and folders; each is recognised by its content."""
    config = _for_import(file)
    places = [Path(path).absolute() for path in paths]
    for path in places:
        if not path.exists():
            raise Misused(f"There is no {path}; name a file or a folder.")
    given = Given(component=component, at=time_of(at) if at else None, timezone=_zone(timezone))
    name = _connector(connector)
    with _progress() as progress:

        def own() -> list[Mapping[str, Any]]:
            with Owner.open(config, time.time, command="import", wait=0) as owner:
                return [asdict(one) for one in owner.take(places, given, connector=name, say=progress)]

        params = {
            "path": [str(path) for path in places], "config": known_paths(config),
            "component": [component] if component else [], "connector": [name] if name else [],
            "timezone": [timezone] if timezone else [], "at": [str(given.at)] if given.at is not None else [],
        }  # fmt: skip
        found = reached(config.store, handed("/api/v1/import", params, progress), own)
    for one in found:
        _tell(f"{one['file']} ({one['connector']})" if one["connector"] else one["file"], one["outcome"])
    if not found:
        say("There was nothing to read in what was named.")
    if not found or any(one["outcome"]["error"] or one["outcome"]["refused"] for one in found):
        raise SystemExit(FAILED)


def _for_import(file: str | None) -> Config:
    if file is None and not Path(DEFAULT).exists():
        say(f"There is no {DEFAULT} here; what is read goes into ./tandem.duckdb.")
        return configuration.parse("", Path(DEFAULT).absolute())
    return configuration.load(Path(file or DEFAULT))


def _zone(name: str | None) -> str | None:
    try:
        if name is not None:
            times.zone(name)
    except ValueError as bad:
        raise Misused(str(bad)) from None
    return name


def _connector(name: str | None) -> str | None:
    try:
        return None if name is None else connect.canonical(name)
    except SourceRefused as no:
        raise Misused(str(no)) from None
