"""The reference in the README, made of what the code says of itself: `python -m tests.reference` writes it again."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

import click

from tandem import catalog, config, connect, gates, lineage, objectives, openslo, template
from tandem.changes import Apart
from tandem.linking import Amendment, Rules

README = Path(__file__).parent.parent / "README.md"
BEGIN, END = "<!-- reference: python -m tests.reference -->\n", "<!-- end of reference -->\n"


def commands() -> dict[str, click.Command]:
    """The commands of the command line by name; raises ModuleNotFoundError where there is none."""
    module = importlib.import_module("tandem.cli")
    group = next(value for value in vars(module).values() if isinstance(value, click.Group))
    return {name: command for name, command in sorted(group.commands.items()) if not command.hidden}


def text() -> str:
    """The whole reference as Markdown."""
    parts = [*_commands(), *_config(), *_connectors(), *_signals()]
    return "\n".join(parts) + "\n"


def stands_in(readme: str) -> str:
    """The reference that a README holds."""
    return readme.partition(BEGIN)[2].partition(END)[0]


def _commands() -> Iterator[str]:
    yield "### Commands\n"
    for name, command in commands().items():
        context = click.Context(command, info_name=f"tandem {name}")
        usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
        yield f"**`{usage}`** {_cell(command.help)}\n"
        rows = [_option(one) for one in command.params if isinstance(one, click.Option) and not one.hidden]
        yield from (f"- {row}" for row in rows)
        if rows:
            yield ""


def _option(option: click.Option) -> str:
    value = "" if option.is_flag else f" {option.metavar or option.type.name.upper()}"
    names = " / ".join([*option.opts, *option.secondary_opts])
    return f"`{names}{value}` {_cell(option.help)}".rstrip()


def _config() -> Iterator[str]:
    yield "### tandem.toml\n"
    yield "Top level: `store`, `timezone` (for display, and for the days of calendar windows), `maintenance`, `page`"
    yield "(the address of the dashboard, which links in annotations and reports begin with), and these tables.\n"
    for table, cls in (
        ("[[component]]", config.Component), ("[component.lineage]", lineage.Numbering),
        ("[[component.version]]", lineage.Made), ("[[objective]]", objectives.Objective),
        ("[[objective.rule]]", objectives.OwnRule), ("[[product]]", objectives.Product),
        ("[[correction]]", objectives.Correction), ("[[gate]]", gates.Gate),
        ("[slo]", openslo.Imported), ("[[slo.map]]", openslo.Mapped),
        ("[[signal]]", catalog.Signal),
    ):  # fmt: skip
        keys = ", ".join(f"`{one.name.rstrip('_')}`" for one in dataclasses.fields(cls))
        yield f"- `{table}`: {keys}"
    for table, rules in (("[delivery]", Rules), ("[[delivery.link]]", Amendment), ("[[delivery.apart]]", Apart)):
        keys = ", ".join(f"`{one.name}`" for one in dataclasses.fields(rules) if one.name not in ("link", "apart"))
        yield f"- `{table}`: {keys}"
    yield "- `[[source]]`: `connector`, `name`, the keys below, and those of its connector"
    rule = ", ".join(f"`{one.name}`" for one in dataclasses.fields(connect.Rule))
    yield f"- `[[source.map]]`: {rule}\n"
    shared = ((f"`{key}`", doc) for key, (doc, _) in template.COMMON.items())
    yield from _table(("key of every source", "meaning"), shared)


def _connectors() -> Iterator[str]:
    yield "### Connectors\n"
    for name in connect.names():
        module = connect.load(name)
        about = module.ABOUT
        yield f"#### {name}\n"
        yield f"{template.sentence(about.reads)}\n"
        for word, values in (
            ("Also called", about.aliases), ("Signals", about.signals), ("Events", about.events),
            ("Labels", about.labels), ("Files", about.files),
        ):  # fmt: skip
            if values:
                yield f"- {word}: {_listed(values, code=word != 'Files')}"
        yield from (f"- {template.sentence(limit)}" for limit in about.limits)
        yield ""
        yield from _table(("key", "meaning"), ((f"`{key}`", doc) for key, doc in keys(module.Config)))


def keys(cls: Any, before: str = "") -> Iterator[tuple[str, str]]:
    """(dotted key, its meaning) of a Config, and of the tables in it."""
    hints = get_type_hints(cls)
    for one in dataclasses.fields(cls):
        if one.name == "common":
            continue
        key = before + one.name.rstrip("_")
        yield key, str(one.metadata.get("doc", ""))
        for inner in (hints[one.name], *get_args(hints[one.name])):
            if dataclasses.is_dataclass(inner):
                yield from keys(inner, f"{key}.")


def _listed(values: Iterable[str], *, code: bool) -> str:
    return (", " if code else "; ").join(f"`{value}`" if code else value for value in values)


def _signals() -> Iterator[str]:
    yield "### Signals\n"
    rows = ((f"`{one.name}`", one.side, one.meaning, _objective(one)) for one in catalog.built_in().values())
    yield from _table(("signal", "side", "meaning", "objective where nothing is said"), rows)
    yield f"An objective may also name a measure of `outcome`: {_listed(config.MEASURES, code=True)}.\n"


def _objective(signal: catalog.Signal) -> str:
    if signal.target is None:
        return ""
    bound = f" within {float(signal.threshold):g} {signal.unit}" if signal.threshold is not None else ""
    return f"{float(signal.target * 100):g} %{bound}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    body = list(rows)
    if body:
        yield from (f"| {' | '.join(map(_cell, row))} |" for row in (head, ("---",) * len(head), *body))
        yield ""


def _cell(text: str | None) -> str:
    return " ".join((text or "").replace("|", "\\|").replace("\b", "").split())


def main() -> None:
    """Write the README with the reference of today."""
    readme = README.read_text(encoding="utf-8")
    before, _, rest = readme.partition(BEGIN)
    README.write_text(before + BEGIN + text() + END + rest.partition(END)[2], encoding="utf-8")


if __name__ == "__main__":
    main()
