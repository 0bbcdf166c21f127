"""Commands that set up, and that carry things to others: a configuration, a signed link, a bundle."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

from tandem import bundle, printed, signing, template, times
from tandem import config as configuration
from tandem import owner as owning
from tandem.commands.line import DEFAULT, Misused, config_option, handed, loaded, main, say
from tandem.config import Config
from tandem.connect import SourceRefused
from tandem.owner import Owner, Reading, reached
from tandem.remote import Remote
from tandem.store import backup


@main.command()
@click.argument(
    "folder", metavar="[DIR]", required=False, default=".", type=click.Path(file_okay=False, path_type=Path)
)
@click.option("--connector", metavar="NAME", help="Print the block of one connector and write nothing.")
def init(folder: Path, connector: str | None) -> None:
    """Write a commented tandem.toml to begin with."""
    if connector is not None:
        try:
            click.echo(template.block(connector), nl=False)
        except SourceRefused as no:
            raise Misused(str(no)) from None
        return
    path = folder / DEFAULT
    if path.exists():
        raise Misused(f"{path} exists already; edit it, or name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(template.init_text(), encoding="utf-8")
    say(f"{path} is written. Take the # off a [[source]] block, then run `tandem sync` and `tandem serve` there.")


@main.command()
@click.option("--expires", metavar="D", default="30d", help="How long it opens: 12h, 30d; 30 days if left out.")
@click.option("--lock", "locks", metavar="KEY=VALUE", multiple=True,
              help="Narrow it for good to a product, component, environment, version or segment.")  # fmt: skip
@config_option
def share(expires: str, locks: tuple[str, ...], file: str | None) -> None:
    """Print a signed link, where `[share] require_signature = true` lets nobody in without one."""
    config = loaded(file)
    if not config.share.require_signature:
        raise Misused("Links are open here; set `require_signature = true` under [share] in tandem.toml to sign them.")
    now = int(time.time())
    try:
        until = now + times.duration(expires)
        locked = {name: value for name, _, value in (one.partition("=") for one in locks)}
        _check_locks(config, locked)
        query = signing.signed(signing.secret(config.store), locked, until)
    except ValueError as bad:
        raise Misused(str(bad)) from None
    running = owning.owner_of(config.store)
    page = config.page or (running.page if running else "") or "http://localhost:8501"
    click.echo(f"{page.rstrip('/')}/?{urlencode(query)}")


def _check_locks(config: Config, locked: Mapping[str, str]) -> None:
    some = config.components
    known = {"component": [one.name for one in some], "product": [one.product for one in some]}
    for name, names in known.items():
        if name in locked and locked[name] not in names:
            raise ValueError(f"There is no {name} {locked[name]!r}; known are {', '.join(dict.fromkeys(names))}.")


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@config_option
def export(folder: Path, file: str | None) -> None:
    """Write a bundle: all summaries and events as Parquet, the configuration without secrets, and their hashes."""
    config = loaded(file)
    place = folder.absolute()

    def own() -> Mapping[str, Any]:
        with Reading.open(config, time.time) as reading:
            return bundle.export(reading.store, config, place, reading.now())

    def ask(remote: Remote) -> Mapping[str, Any]:
        [found] = handed("/api/v1/export", {"folder": [str(place)]}, printed.Progress())(remote)
        return found

    found = reached(config.store, ask, own)
    rows = sum(table["rows"] for table in found["tables"].values())
    click.echo(f"{place}: {rows:,} rows of {len(found['tables'])} tables, load {found['load']}")


@main.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--into", metavar="FOLDER", type=click.Path(file_okay=False, path_type=Path),
              help="The folder that it goes into; this one if left out.")  # fmt: skip
@config_option
def restore(folder: Path, into: Path | None, file: str | None) -> None:
    """Take a bundle in: a store that is there is merged with it, and a tandem.toml that is there is left alone.

    Every hash is checked before anything is written. Where both say something of the same, the later pull counts.
    """
    if into is not None and file is not None:
        raise Misused("--into names a folder and --config a file in one; give one of them.")
    place, target = folder.absolute(), (into / DEFAULT if into else Path(file or DEFAULT)).absolute()
    bundle.verified(place)
    store = bundle.store_of(place, target)
    if not store.exists():
        said = f"as it stood after load {backup.restore(place, store)}"
    else:
        said = _merged(place, target, store)
    click.echo(f"{store}: {said}")
    if bundle.give_config(place, target):
        say(f"{target} is written; secrets are not in a bundle, so set the environment variables that it names.")


def _merged(place: Path, target: Path, store: Path) -> str:
    """Merge a bundle into a store that is there, by its owner or as one."""
    config = configuration.load(target) if target.exists() else configuration.parse("", target)
    config = replace(config, store=store)

    def own() -> Mapping[str, Any]:
        with Owner.open(config, time.time, command="restore", wait=0) as owner:
            return owner.restore(place)

    def ask(remote: Remote) -> Mapping[str, Any]:
        [found] = handed("/api/v1/restore", {"folder": [str(place)]}, printed.Progress())(remote)
        return found

    found = reached(store, ask, own)
    return f"{found['rows']:,} rows merged, load {found['load']}" if found["rows"] else "nothing new"
