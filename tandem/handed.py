"""tandem.toml as it may be handed on: what it means, without anything that is secret."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from tandem import toml_text
from tandem.config import Config
from tandem.objectives import Objective, OwnRule

REMOVED = "REMOVED"
"""What stands in place of a secret."""
HEAD = "# Written by `tandem export`: what the configuration means, without its secrets and comments.\n\n"
SECRET = re.compile(
    r"(?i)(?:^|_)(?:password|passwd|passphrase|secret|token|api_?key|authorization|cookie|credentials?)$"
)
"""Keys whose value nobody hands on; `token_env` and `token_file` only say where one is."""
TOKENS = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|hf_\w{20,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]*|NRAK-\w{20,}|glsa_\w{20,}|pul-\w{20,})|(?<=[Bb]earer )[\w.~+/=-]{8,}"
)
"""Text that has the form of a token, wherever it stands."""
SHORTEST = 6
"""Letters of a secret of the environment from which it is looked for in texts."""


def text(config: Config, environ: Mapping[str, str]) -> str:
    """The configuration as TOML without secrets; what it gathers from other files stands in it."""
    tables: dict[str, Any] = {}
    if config.path.exists():
        tables = tomllib.loads(config.path.read_text(encoding="utf-8"), parse_float=Decimal)
    secrets = sorted(_secrets(tables, config.folder, environ), key=len, reverse=True)
    made = _complete(config, tables)
    found: dict[str, Any] = _scrubbed(made, secrets)
    return HEAD + toml_text.text(found)


def _complete(config: Config, tables: Mapping[str, Any]) -> dict[str, Any]:
    """The tables with what only this machine knows said in them: components that sources name, objectives of files."""
    store = PurePath(str(tables.get("store", "tandem.duckdb")))
    own = store if not store.is_absolute() and ".." not in store.parts else PurePath(store.name)
    made = {**tables, "store": own.as_posix()}
    declared = [one.get("name") for one in tables.get("component", ())]
    implied = [{"name": one.name, "kind": one.kind} for one in config.components if one.name not in declared]
    if implied:
        made["component"] = [*tables.get("component", ()), *implied]
    imported = config.objectives[len(tables.get("objective", ())) :]
    if imported:
        made["objective"] = [*tables.get("objective", ()), *map(_table, imported)]
    made.pop("slo", None)
    return made


def _table(one: Objective | OwnRule) -> dict[str, Any]:
    """An objective, or a rule of it, as a table."""
    said: dict[str, Any] = {}
    for key in fields(one):
        value = getattr(one, key.name)
        if value is not None and (key.default is MISSING or value != key.default):
            said[key.name.rstrip("_")] = [_table(rule) for rule in value] if isinstance(value, tuple) else _plain(value)
    return said


def _plain(value: Any) -> Any:
    if not isinstance(value, Fraction):
        return value
    return value.numerator if value.denominator == 1 else Decimal(value.numerator) / Decimal(value.denominator)


# -- secrets


def _secrets(tables: Any, folder: Path, environ: Mapping[str, str]) -> Iterator[str]:
    """The secrets that the configuration points to, in the environment and in files."""
    for key, value in _entries(tables):
        found = ""
        if key.endswith("_env"):
            found = environ.get(value, "")
        elif key.endswith("token_file"):
            found = _read(folder / value)
        if len(found) >= SHORTEST:
            yield found


def _entries(given: Any) -> Iterator[tuple[str, str]]:
    """Every key whose value is a text, however deep."""
    if isinstance(given, Mapping):
        for key, value in given.items():
            if isinstance(value, str):
                yield key, value
            else:
                yield from _entries(value)
    elif isinstance(given, list):
        for one in given:
            yield from _entries(one)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def _scrubbed(given: Any, secrets: list[str]) -> Any:
    if isinstance(given, Mapping):
        return {key: REMOVED if SECRET.search(key) and not isinstance(value, bool) else _scrubbed(value, secrets)
                for key, value in given.items()}  # fmt: skip
    if isinstance(given, list):
        return [_scrubbed(one, secrets) for one in given]
    return _of_text(given, secrets) if isinstance(given, str) else given


def _of_text(given: str, secrets: list[str]) -> str:
    for secret in secrets:
        given = given.replace(secret, REMOVED)
    given = TOKENS.sub(REMOVED, given)
    return re.sub(r"\b[a-z][a-z0-9+.-]*://[^\s\"']+", lambda found: _of_address(found.group()), given)


def _of_address(given: str) -> str:
    """An address without who logs in, and without the values of parameters that are named as secrets are."""
    try:
        address = urlsplit(given)
    except ValueError:
        return REMOVED
    pairs = parse_qsl(address.query, keep_blank_values=True)
    query = urlencode([(name, REMOVED if _opens(name) else one) for name, one in pairs])
    query = query if any(_opens(name) for name, _ in pairs) else address.query
    return urlunsplit(address._replace(netloc=address.netloc.rpartition("@")[2], query=query))


def _opens(name: str) -> bool:
    """Whether a parameter of that name lets somebody in."""
    return bool(SECRET.search(name)) or name.lower() in ("sig", "signature", "key", "auth")


def environment() -> Mapping[str, str]:
    """The environment of this process, in which secrets are looked for so that none of them leaves."""
    return os.environ
