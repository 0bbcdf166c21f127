"""What every command shares: the group, its options, errors as one sentence, talk, and asking who owns the store."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from tandem import api, checking, printed, times
from tandem import config as configuration
from tandem.config import Config, ConfigError
from tandem.owner import Reading, StoreLocked, StoreRefused, reached
from tandem.remote import Gone, Refused, Remote, sentence_of

FAILED = 1
DEFAULT = "tandem.toml"


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


def known_paths(config: Config) -> list[str]:
    """The configuration's file as a parameter of the API; nothing where it was never written."""
    return [str(config.path)] if config.path.exists() else []


def say(sentence: str) -> None:
    """One line of talk; a block of configuration below it stays ready to paste."""
    line, mark, block = sentence.partition("\n[[source]]\n")
    shown = [line, *(["[[source]]", *block.split("\n")] if mark else [])]
    click.echo("\n".join(printed.unarmed(printed.clean(one, 4000)) for one in shown), err=True)


def time_of(text: str) -> int:
    """Epoch seconds of an option; raises Misused for what is no time."""
    try:
        return times.parse(text, int(time.time()))
    except ValueError as bad:
        raise Misused(str(bad)) from None


def handed(
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


def asked(config: Config, path: str, params: Mapping[str, Sequence[str]]) -> bytes:
    """The body of a good answer, of the running owner or from the store itself; raises Refused for any other."""

    def own() -> tuple[int, bytes]:
        with Reading.open(config, time.time) as reading:
            status, _, body = api.answer(reading, "GET", path, params, {})
            return status, body

    status, body = reached(config.store, lambda remote: remote.get(path, params), own)
    if status != 200:
        raise Refused(status, sentence_of(body))
    return body


def params_of(given: Mapping[str, str | None]) -> dict[str, list[str]]:
    """The parameters of the API that options stand for."""
    names = {"since": "from", "until": "to"}
    return {names.get(name, name): [value] for name, value in given.items() if value}


def write(path: Path, content: bytes) -> None:
    """Write a file that was asked for; raises Sorry where it cannot be."""
    try:
        path.write_bytes(content)
    except OSError as error:
        raise Sorry(f"{path} cannot be written: {error.strerror}.") from None


def checked(body: bytes) -> checking.Check:
    """The answer to a check; raises Sorry where another Tandem says what this one does not know."""
    try:
        return checking.parsed(body)
    except ValueError as bad:
        raise Sorry(f"The running Tandem cannot be understood: {bad}.") from None
