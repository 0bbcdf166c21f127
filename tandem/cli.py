"""The command line: stdout is data, stderr is talk, and every error is one sentence."""

from __future__ import annotations

import importlib
import io
import os
import signal
import socket
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path, PurePath
from typing import Any, TypeVar
from urllib.parse import urlencode

import click
import orjson

from tandem import (
    annotated,
    api,
    bundle,
    checking,
    connect,
    drifts,
    lineage_json,
    printed,
    signing,
    template,
    times,
    verdicts,
)
from tandem import config as configuration
from tandem import demo as sample
from tandem import owner as owning
from tandem.config import Config, ConfigError
from tandem.connect import Given, SourceRefused
from tandem.owner import Owner, Reading, StoreLocked, StoreRefused, reached
from tandem.remote import Gone, Refused, Remote, public, sentence_of
from tandem.store import backup

FAILED = 1
DEFAULT = "tandem.toml"
T = TypeVar("T")


class Sorry(click.ClickException):
    """Something failed: one sentence, exit code 1."""

    def format_message(self) -> str:
        """The sentence on one line: what others said must not look like a command to a runner of pipelines."""
        return printed.unarmed(printed.clean(self.message, 4000))


class Misused(Sorry):
    """The command line, the configuration or a name in them is wrong: one sentence, exit code 2."""

    exit_code = 2


@contextmanager
def sentences() -> Iterator[None]:
    """Everything that is known to go wrong, as one sentence."""
    try:
        yield
    except ConfigError as error:
        raise Misused(str(error)) from None
    except Refused as error:
        raise (Misused if error.status in (400, 404) else Sorry)(str(error)) from None
    except (StoreLocked, StoreRefused) as error:
        raise Sorry(str(error)) from None
    except Gone as error:
        raise Sorry(f"The running Tandem breaks off each time it is asked ({error}); see what it says.") from None


class Commands(click.Group):
    """The commands, with errors as sentences and an orderly end when the process is asked to stop."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the chosen command."""
        signal.signal(signal.SIGTERM, _stop)
        with sentences():
            return super().invoke(ctx)


def _stop(number: int, frame: object) -> None:
    del frame
    raise SystemExit(128 + number)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="tandem-health", prog_name="tandem")
def main() -> None:
    """System health and model health, side by side."""


config_option = click.option("--config", "file", metavar="F", help=f"The configuration; ./{DEFAULT} if left out.")
from_option = click.option("--from", "since", metavar="T", help="Begin of the window: now-7d, 2026-11-20, ISO, epoch.")
to_option = click.option("--to", "until", metavar="T", help="End of the window; now if left out.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
port_option = click.option("--port", type=click.IntRange(1, 65535), default=8501, metavar="N", help="Port of the page; 8501 if left out.")  # fmt: skip # noqa: E501
browser_option = click.option("--no-browser", is_flag=True, help="Do not open a browser.")


def loaded(file: str | None) -> Config:
    """The configuration that was named, else ./tandem.toml, else that of a store made by imports alone."""
    if file is None and not Path(DEFAULT).exists() and Path("tandem.duckdb").exists():
        return configuration.parse("", Path(DEFAULT).absolute())
    return configuration.load(Path(file or DEFAULT))


def _known_paths(config: Config) -> list[str]:
    return [str(config.path)] if config.path.exists() else []


def say(sentence: str) -> None:
    """One line of talk; a block of configuration below it stays ready to paste."""
    line, mark, block = sentence.partition("\n[[source]]\n")
    shown = [line, *(["[[source]]", *block.split("\n")] if mark else [])]
    click.echo("\n".join(printed.unarmed(printed.clean(one, 4000)) for one in shown), err=True)


# -- setting up


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


# -- collecting


@main.command()
@click.argument("sources", metavar="[SOURCE]...", nargs=-1)
@config_option
@click.option("--since", metavar="T", help="Read again from this time on.")
@click.option("--watch", type=click.IntRange(1), metavar="SECONDS", help="Do it again so many seconds after the last.")
def sync(sources: tuple[str, ...], file: str | None, since: str | None, watch: int | None) -> None:
    """Pull the named sources, or all; one that fails does not stop the others."""
    config = loaded(file)
    _check_sources(config, sources)
    begin = _time(since) if since else None
    while True:
        failed = _synced(config, sources, begin)
        if watch is None:
            break
        time.sleep(watch)
        begin = None
    if failed:
        raise SystemExit(FAILED)


def _time(text: str) -> int:
    try:
        return times.parse(text, int(time.time()))
    except ValueError as bad:
        raise Misused(str(bad)) from None


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

        params = {"source": list(sources), "config": _known_paths(config), "since": [str(since)] if since else []}
        found = reached(config.store, _handed("/api/v1/sync", params, progress), own)
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


def _handed(
    path: str, params: Mapping[str, Sequence[str]], progress: printed.Progress
) -> Callable[[Remote], list[Mapping[str, Any]]]:
    """Let the running Tandem do it, and show how far it is."""

    def ask(remote: Remote) -> list[Mapping[str, Any]]:
        for line in remote.post(path, params):
            if "outcomes" in line:
                return list(line["outcomes"])
            progress(*line["say"])
        raise Gone("it ended before it was done")

    return ask


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
    given = Given(component=component, at=_time(at) if at else None, timezone=_zone(timezone))
    name = _connector(connector)
    with _progress() as progress:

        def own() -> list[Mapping[str, Any]]:
            with Owner.open(config, time.time, command="import", wait=0) as owner:
                return [asdict(one) for one in owner.take(places, given, connector=name, say=progress)]

        params = {
            "path": [str(path) for path in places], "config": _known_paths(config),
            "component": [component] if component else [], "connector": [name] if name else [],
            "timezone": [timezone] if timezone else [], "at": [str(given.at)] if given.at is not None else [],
        }  # fmt: skip
        found = reached(config.store, _handed("/api/v1/import", params, progress), own)
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


# -- serving


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


# -- asking


@main.command()
@click.argument("component", metavar="[COMPONENT]", required=False, default="")
@config_option
@from_option
@to_option
@click.option("--as-of", metavar="N", help="The numbers as they stood after load N.")
@click.option("--environment", metavar="E", help="Another environment than production.")
@click.option("--version", metavar="V", help="One version only.")
@click.option("--segment", metavar="K=V", multiple=True, help="One segment only, such as country=DE.")
@click.option("--stage", metavar="S", help="production, evaluation, training or estimated.")
@json_option
@click.option("--openslo", is_flag=True, help="Print its objectives as OpenSLO v1 YAML instead.")
def show(
    component: str, file: str | None, as_json: bool, openslo: bool, segment: tuple[str, ...], **given: str | None
) -> None:
    """What is known of one component, or of all, over a window: the last 24 hours where nothing is said.

    Of one model also what followed each onset of drift or breach: whether it was trained again, and what then.
    """
    if openslo:
        if as_json or segment or any(given.values()):
            raise Misused("--openslo prints what is promised, which has no window or filter; leave the others out.")
        asked = {"component": [component]} if component else {}
        click.echo(_asked(loaded(file), "/api/v1/openslo", asked), nl=False)
        return
    params = _params(given)
    params |= {"segment": list(segment)} if segment else {}
    body = _asked(loaded(file), "/api/v1/show", params | ({"component": [component]} if component else {}))
    if as_json:
        click.echo(body, nl=False)
        return
    answer = orjson.loads(body)
    click.echo(printed.shown(answer if isinstance(answer, list) else [answer]), nl=False)


def _params(given: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The parameters of the API that options stand for."""
    names = {"since": "from", "until": "to"}
    return {names.get(name, name): [value] for name, value in given.items() if value}


@main.command()
@click.argument("model", metavar="MODEL")
@config_option
@from_option
@to_option
@click.option("--reference-from", metavar="T", help="Begin of another window to compare with.")
@click.option("--reference-to", metavar="T", help="Its end.")
@click.option("--reference-version", metavar="V", help="Another version, over the same window.")
@click.option("--reference-segment", metavar="K=V", help="Another segment, over the same window.")
@click.option("--reference-stage", metavar="S", help="Another stage, such as training, over the same window.")
@click.option("--version", metavar="V", help="One version only; beside --reference-version the newest if left out.")
@click.option("--segment", metavar="K=V", help="One segment only, such as country=DE.")
@click.option("--stage", metavar="S", help="production, evaluation, training or estimated.")
@click.option("--environment", metavar="E", help="Another environment than production.")
@click.option("--as-of", metavar="N", help="The numbers as they stood after load N.")
@json_option
def drift(model: str, file: str | None, as_json: bool, **given: str | None) -> None:
    """How far a model's features, predictions and labels have moved, against the stored reference or another side."""
    body = _asked(loaded(file), "/api/v1/drift", _params(given) | {"model": [model]})
    found = orjson.loads(body)
    for remark in found["remarks"]:
        say(remark)
    click.echo(body if as_json else drifts.text(found), nl=False)


@main.command()
@click.argument("model", metavar="MODEL")
@config_option
@click.option("--version", metavar="V", help="Of this version; of the one that serves if left out.")
@click.option("--compare", metavar="RUN RUN", nargs=2, help="Two training runs side by side, by id or SOURCE:ID.")
@from_option
@to_option
@click.option("--environment", metavar="E", help="Another environment than production.")
@click.option("--as-of", metavar="N", help="The numbers as they stood after load N.")
@json_option
def lineage(
    model: str, file: str | None, compare: tuple[str, str] | None, as_json: bool, **given: str | None
) -> None:  # fmt: skip
    """Where a model's version comes from: commit, training run, data, validation, promotion, serving, and each join.

    Only configuration, digest, run id and commit join; what carries the same name only is shown as that.
    """
    params = _params(given) | {"model": [model]} | ({"compare": list(compare)} if compare else {})
    body = _asked(loaded(file), "/api/v1/lineage", params)
    click.echo(body if as_json else lineage_json.text(orjson.loads(body)), nl=False)


@main.command()
@click.option("--component", "components", metavar="NAME", multiple=True,
              help="Its objectives only; may be said again. All objectives if left out.")  # fmt: skip
@click.option("--gate", metavar="NAME", help="What a [[gate]] of the configuration asks for.")
@config_option
@from_option
@to_option
@click.option("--as-of", metavar="N", help="The numbers as they stood after load N.")
@click.option("--environment", metavar="E", help="Another environment than production.")
@click.option("--version", metavar="V", help="One version only, such as one that is to be promoted.")
@click.option("--server", metavar="URL", help="Ask a running Tandem, such as http://127.0.0.1:8501.")
@click.option("--explain", is_flag=True, help="Say the reason and the arithmetic of each.")
@click.option("--dry-run", is_flag=True, help="Print the same, and end with exit code 0 whatever holds.")
@json_option
@click.option("--junit", metavar="F", type=click.Path(dir_okay=False, path_type=Path), help="Write JUnit XML as well.")
@click.option("--github", is_flag=True, help="Say what does not hold as annotations of a GitHub workflow.")
@click.option("--gitlab", metavar="F", type=click.Path(dir_okay=False, path_type=Path),
              help="Write a report of GitLab's kind annotations: links to what does not hold.")  # fmt: skip
def check(
    components: tuple[str, ...], file: str | None, server: str | None, explain: bool, dry_run: bool, as_json: bool,
    junit: Path | None, github: bool, gitlab: Path | None, **given: str | None,
) -> None:  # fmt: skip
    """Whether every objective holds, each over its own window: the exit code is 0, 1 if one is breached, 3 if unknown.

    With --from, the share over that window is held against the target instead.
    """
    params = _params(given) | ({"component": list(components)} if components else {})
    path = "/api/v1/check"
    config = loaded(file) if server is None else None
    body = _asked(config, path, params) if config is not None else _served(server or "", path, params)
    found = _checked(body)
    page = server or _page(config)
    if as_json or found.ruled:
        told = annotated.unarmed_json(body) if github else body
        click.echo(told if as_json else verdicts.text(found, explain=explain), nl=False)
    for path_of, content in ((junit, verdicts.junit), (gitlab, lambda one: annotated.gitlab(one, page))):
        if path_of is not None:
            _write(path_of, content(found))
    if gitlab is not None and not page:
        say("GitLab shows links with an address only; set page in tandem.toml to the address of the dashboard.")
    if github:
        click.echo("\n".join(annotated.github(found, page)), err=True)
    else:
        _remark(found, page, brief=as_json or explain)
    if not dry_run:
        raise SystemExit(verdicts.code(found))


def _page(config: Config | None) -> str:
    """The address under which links are found: the configured one, or that of a running `tandem serve`."""
    if config is None or config.page:
        return config.page if config else ""
    running = owning.owner_of(config.store)
    return running.page if running is not None else ""


def _remark(found: checking.Check, page: str, *, brief: bool) -> None:
    """Say what does not hold, and what was named and has no rule; only that where the rest is printed already."""
    if not found.ruled and not found.lacking:
        say("There is no objective to check; add an [[objective]] to tandem.toml, or collect with `tandem sync`.")
    for sentence in found.lacking if brief else annotated.sentences(found, page):
        say(sentence)


def _served(url: str, path: str, params: Mapping[str, Sequence[str]]) -> bytes:
    """The body of a good answer of a Tandem that runs anywhere; raises Refused for any other."""
    try:
        status, body = public(url).get(path, params)
    except ValueError as bad:
        raise Misused(str(bad)) from None
    except Gone as gone:
        raise Sorry(f"Nobody answers at {url} ({gone}); start `tandem serve` there or name another --server.") from None
    if status != 200:
        raise Refused(status, sentence_of(body))
    return body


def _checked(body: bytes) -> checking.Check:
    try:
        return checking.parsed(body)
    except ValueError as bad:
        raise Sorry(f"The running Tandem cannot be understood: {bad}.") from None


def _write(path: Path, content: bytes) -> None:
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Sorry(f"{path} cannot be written: {error.strerror}.") from None


@main.command()
@click.option("--output", metavar="F.html", required=True, type=click.Path(dir_okay=False, path_type=Path),
              help="Where the report is written.")  # fmt: skip
@click.option("--tables", metavar="DIR", type=click.Path(file_okay=False, path_type=Path),
              help="Write every table as CSV and JSON into a folder as well.")  # fmt: skip
@config_option
@from_option
@to_option
@click.option("--as-of", metavar="N", help="The numbers as they stood after load N.")
@click.option("--environment", metavar="E", help="Another environment than production.")
@click.option("--product", metavar="NAME", help="One product only.")
@click.option("--component", metavar="NAME", help="One component only.")
def report(output: Path, tables: Path | None, file: str | None, **given: str | None) -> None:
    """Write both sides as one HTML file that needs no network: the last seven days where nothing is said."""
    config = loaded(file)
    # One moment and one load for all that is written, however long reading takes.
    now = int(time.time())
    given = {"until": times.text(now), **{name: value for name, value in given.items() if value}}
    params = _params(given)
    if tables is not None and "as_of" not in params and config.store.exists():
        params["as_of"] = [str(orjson.loads(_asked(config, "/api/v1/sources", {}))["as_of"])]
    if sys.stderr.isatty():
        say("Reading the numbers of the report…")
    page = _asked(config, "/api/v1/report", params)
    packed = _asked(config, "/api/v1/report/tables", params) if tables is not None else b""
    _write(output, page)
    if tables is not None:
        _unpack(packed, tables)
    click.echo(f"{output}: {len(page):,} bytes")


def _unpack(packed: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        for name in files.namelist():
            _write(folder / PurePath(name).name, files.read(name))


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
@config_option
@click.option("--known", is_flag=True, help="List every connector there is.")
@json_option
def sources(file: str | None, known: bool, as_json: bool) -> None:
    """How each source is doing, and what to do next."""
    if known:
        _known(as_json)
        return
    body = _asked(loaded(file), "/api/v1/sources", {})
    click.echo(body if as_json else printed.sources(orjson.loads(body)), nl=False)


def _known(as_json: bool) -> None:
    abouts = [(name, connect.load(name).ABOUT) for name in connect.names()]
    if as_json:
        listed = [
            {"connector": name, "reads": about.reads, "signals": about.signals, "events": about.events,
             "files": about.files, "aliases": about.aliases, "side": about.side}
            for name, about in abouts
        ]  # fmt: skip
        click.echo(api.dumps(listed), nl=False)
        return
    rows = [(name, template.sentence(about.reads)) for name, about in abouts]
    click.echo(printed.table(("connector", "reads"), rows), nl=False)


def _asked(config: Config, path: str, params: Mapping[str, Sequence[str]]) -> bytes:
    """The body of a good answer, of the running owner or from the store itself; raises Refused for any other."""

    def own() -> tuple[int, bytes]:
        with Reading.open(config, time.time) as reading:
            status, _, body = api.answer(reading, "GET", path, params, {})
            return status, body

    status, body = reached(config.store, lambda remote: remote.get(path, params), own)
    if status != 200:
        raise Refused(status, sentence_of(body))
    return body


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
        [found] = _handed("/api/v1/export", {"folder": [str(place)]}, printed.Progress())(remote)
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
        [found] = _handed("/api/v1/restore", {"folder": [str(place)]}, printed.Progress())(remote)
        return found

    found = reached(store, ask, own)
    return f"{found['rows']:,} rows merged, load {found['load']}" if found["rows"] else "nothing new"


@main.command()
@config_option
def doctor(file: str | None) -> None:
    """Look whether everything is as it should be; each finding is a sentence, each note worth knowing."""
    config = loaded(file)
    findings = [f"{source} needs the environment variable {variable}, which is not set."
                for source, variable in configuration.missing_environment(config, os.environ)]  # fmt: skip
    notes: Sequence[str] = ()
    if config.store.exists():
        findings += orjson.loads(_asked(config, "/api/v1/doctor", {}))["findings"]
        notes = verdicts.notes(_checked(_asked(config, "/api/v1/check", {})))
    else:
        findings.append(f"{config.store} does not exist yet; `tandem sync` makes it from the sources.")
    click.echo(f"config  {config.path}: {len(config.components)} components, {len(config.sources)} sources")
    found = owning.owner_of(config.store)
    click.echo(f"store   {config.store}")
    click.echo(f"owner   {f'tandem {found.command}, process {found.pid}' if found else 'none'}")
    for note in notes:
        click.echo(f"note    {printed.clean(note, 4000)}")
    for finding in findings:
        click.echo(f"finding {printed.clean(finding)}")
    if findings:
        raise SystemExit(FAILED)
    click.echo("all well")


if __name__ == "__main__":
    sys.exit(main())
