"""Commands that print what is known, or write it down as a report."""

from __future__ import annotations

import io
import sys
import time
import zipfile
from pathlib import Path, PurePath

import click
import orjson

from tandem import api, connect, drifts, lineage_json, printed, template, times
from tandem.commands.line import (
    Misused,
    asked,
    config_option,
    from_option,
    json_option,
    loaded,
    main,
    params_of,
    say,
    to_option,
    write,
)


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
        of = {"component": [component]} if component else {}
        click.echo(asked(loaded(file), "/api/v1/openslo", of), nl=False)
        return
    params = params_of(given)
    params |= {"segment": list(segment)} if segment else {}
    body = asked(loaded(file), "/api/v1/show", params | ({"component": [component]} if component else {}))
    if as_json:
        click.echo(body, nl=False)
        return
    answer = orjson.loads(body)
    click.echo(printed.shown(answer if isinstance(answer, list) else [answer]), nl=False)


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
    body = asked(loaded(file), "/api/v1/drift", params_of(given) | {"model": [model]})
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
    params = params_of(given) | {"model": [model]} | ({"compare": list(compare)} if compare else {})
    body = asked(loaded(file), "/api/v1/lineage", params)
    click.echo(body if as_json else lineage_json.text(orjson.loads(body)), nl=False)


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
    params = params_of(given)
    if tables is not None and "as_of" not in params and config.store.exists():
        params["as_of"] = [str(orjson.loads(asked(config, "/api/v1/sources", {}))["as_of"])]
    if sys.stderr.isatty():
        say("Reading the numbers of the report…")
    page = asked(config, "/api/v1/report", params)
    packed = asked(config, "/api/v1/report/tables", params) if tables is not None else b""
    write(output, page)
    if tables is not None:
        _unpack(packed, tables)
    click.echo(f"{output}: {len(page):,} bytes")


def _unpack(packed: bytes, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(io.BytesIO(packed)) as files:
        for name in files.namelist():
            write(folder / PurePath(name).name, files.read(name))


@main.command()
@config_option
@click.option("--known", is_flag=True, help="List every connector there is.")
@json_option
def sources(file: str | None, known: bool, as_json: bool) -> None:
    """How each source is doing, and what to do next."""
    if known:
        _known(as_json)
        return
    body = asked(loaded(file), "/api/v1/sources", {})
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
