"""Commands that end with an exit code: whether objectives hold, whether everything is as it should be."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import orjson

from tandem import annotated, checking, printed, verdicts
from tandem import config as configuration
from tandem import owner as owning
from tandem.commands.line import (
    FAILED,
    Misused,
    Sorry,
    asked,
    checked,
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
from tandem.config import Config
from tandem.remote import Gone, Refused, public, sentence_of


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
    params = params_of(given) | ({"component": list(components)} if components else {})
    path = "/api/v1/check"
    config = loaded(file) if server is None else None
    body = asked(config, path, params) if config is not None else _served(server or "", path, params)
    found = checked(body)
    page = server or _page(config)
    if as_json or found.ruled:
        told = annotated.unarmed_json(body) if github else body
        click.echo(told if as_json else verdicts.text(found, explain=explain), nl=False)
    for path_of, content in ((junit, verdicts.junit), (gitlab, lambda one: annotated.gitlab(one, page))):
        if path_of is not None:
            write(path_of, content(found))
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


@main.command()
@config_option
def doctor(file: str | None) -> None:
    """Look whether everything is as it should be; each finding is a sentence, each note worth knowing."""
    config = loaded(file)
    findings = [f"{source} needs the environment variable {variable}, which is not set."
                for source, variable in configuration.missing_environment(config, os.environ)]  # fmt: skip
    notes: Sequence[str] = ()
    if config.store.exists():
        findings += orjson.loads(asked(config, "/api/v1/doctor", {}))["findings"]
        notes = verdicts.notes(checked(asked(config, "/api/v1/check", {})))
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
