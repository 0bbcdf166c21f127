"""The sample company in a folder of its own, moved by whole weeks so that its exports reach past now."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path

from tandem.records import DAY
from tandem.remote import owner_of

WEEK = 7 * DAY
LEAST = DAY
"""Seconds of exports that must lie ahead of now at a start."""


def default_folder(environ: Mapping[str, str]) -> Path:
    """The user data folder of the demo."""
    given = environ.get("XDG_DATA_HOME", "")
    return (Path(given) if given else Path.home() / ".local" / "share") / "tandem-demo"


def prepare(folder: Path, now: int) -> tuple[Path, list[str]]:
    """(path of the demo's tandem.toml, what to say of it): as it is while its exports last, else made new.

    A store whose exports have less than a day left is moved aside, never removed.
    """
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    path, store = folder / "tandem.toml", folder / "tandem.duckdb"
    end = _end()
    text = written(end, now)
    if path.exists() and (path.read_text(encoding="utf-8") == text or owner_of(store)):
        return path, []
    told = []
    if path.exists() and _same_but_days(path.read_text(encoding="utf-8"), text) and _left(path, end, now) >= LEAST:
        return path, []
    if store.exists():
        aside = _aside(store, now)
        told.append(f"The exports of the last demo have come to their end; its store is now {aside.name}.")
    path.write_text(text, encoding="utf-8")
    return path, [*told, f"The sample company is collected into {folder}."]


def shift_days(end: int, now: int) -> int:
    """The whole weeks, in days, that leave between one and eight days of exports ahead of `now`."""
    return -((end - LEAST - now) // WEEK) * 7


def written(end: int, now: int) -> str:
    """The sample's tandem.toml, with its files named where they lie and every source shifted."""
    package = files("sample_data")
    text = package.joinpath("tandem.toml").read_text(encoding="utf-8")
    where = str(package.joinpath("files")).replace("\\", "/")
    text = re.sub(r'"(file:)?files/', lambda found: f'"{found.group(1) or ""}{where}/', text)
    return re.sub(r"(?m)^connector = .*$", lambda found: f"{found.group()}\nshift_days = {shift_days(end, now)}", text)


def _end() -> int:
    truth = tomllib.loads(files("sample_data").joinpath("truth.toml").read_text(encoding="utf-8"))
    found: datetime = truth["end"]
    return int(found.astimezone(UTC).timestamp())


_DAYS = re.compile(r"(?m)^shift_days = (-?\d+)$")


def _same_but_days(one: str, other: str) -> bool:
    return _DAYS.sub("", one) == _DAYS.sub("", other)


def _left(path: Path, end: int, now: int) -> int:
    """Seconds of exports ahead of now, as the file has shifted them."""
    found = _DAYS.search(path.read_text(encoding="utf-8"))
    return end + (int(found.group(1)) * DAY if found else 0) - now


def _aside(store: Path, now: int) -> Path:
    """Move a store and its log aside under a name that is free."""
    day = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d")
    number, aside = 1, store.with_name(f"{store.name}.old-{day}")
    while aside.exists():
        number += 1
        aside = store.with_name(f"{store.name}.old-{day}-{number}")
    for ending in ("", ".wal"):
        if Path(f"{store}{ending}").exists():
            Path(f"{store}{ending}").replace(f"{aside}{ending}")
    return aside
