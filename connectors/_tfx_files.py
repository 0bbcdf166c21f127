"""Where a pipeline's files lie: by the addresses of their artifacts, or by the names of folders.

Nothing outside of the folder is read, whatever a store says.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from connectors._files import item as item_of
from connectors._sqlite import MAGIC
from connectors._tfdv_messages import kind_of
from tandem.connect import Given, Item, SourceRefused
from tandem.records import Stage

if TYPE_CHECKING:
    from connectors.tfx import Config

DATABASE = re.compile(r"[^/]+\.(?:db|sqlite|sqlite3)")
_DEEPEST = 3
"""Folders below the path in which a store is looked for."""
_SPLIT = re.compile(r"Split-(.+)")
_SPAN = re.compile(r"(?:^|[-_])span[-_=]?(\d{1,9})(?=$|[-_])", re.IGNORECASE)
_MOST = 100


@dataclass(frozen=True)
class Told:
    """One file of statistics or anomalies, with what is known of it.

    `name`: what it is counted under. `made` grows whenever it is made again as another artifact; 0 of a file that is
    written anew. `dated`: whether its time is told, and is not that of the file.
    """

    kind: str
    item: Item
    name: str
    ts: int
    made: int
    split: str = ""
    span: str = ""
    pipeline: str = ""
    node: str = ""
    run: str = ""
    data_version: str = ""
    dated: bool = True


def stage(config: Config, told: Told, split: str) -> Stage:
    """Whose data it is: production by name or by span, else evaluation by the split, else that of training."""
    names = (told.pipeline, told.node, split)
    if any(name and fnmatchcase(name, glob) for name in names for glob in config.production):
        return "production"
    if config.production_from is not None and told.span.isdigit() and int(told.span) >= config.production_from:
        return "production"
    return "evaluation" if any(fnmatchcase(split, glob) for glob in config.evaluation) else "training"


def databases(folder: Path) -> list[Path]:
    """The sqlite files in a folder and not too far below it; links are not followed."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder):
        here = Path(place)
        depth = len(here.relative_to(folder).parts)
        folders[:] = sorted(one for one in folders if depth < _DEEPEST and not one.startswith("."))
        for name in sorted(files):
            path = here / name
            if DATABASE.fullmatch(name) and not path.is_symlink() and _begins(path):
                found.append(path)
    return found


def _begins(path: Path) -> bool:
    try:
        with path.open("rb") as opened:
            return opened.read(len(MAGIC)) == MAGIC
    except OSError:
        return False


def of_artifact(root: Path | None, uri: str, split: str, kind: str) -> Item | None:
    """The file of one split of an artifact; None where it is not there.

    The address may be of another machine or of a store of objects: its longest end that is there below `root` counts.
    """
    if root is None or "/" in split:
        return None
    try:
        place = _below(root, uri)
        return _in(place, split, kind) if place is not None else None
    except (OSError, ValueError):  # a folder that may not be read, or an address that is none
        return None


def _in(place: Path, split: str, kind: str) -> Item | None:
    for folder in (place / f"Split-{split}", place / split, *([place] if not split else [])):
        for path in sorted(folder.iterdir())[:_MOST] if folder.is_dir() and not folder.is_symlink() else ():
            if path.is_file() and not path.is_symlink() and not path.name.startswith("."):
                found = item_of(path, Given())
                if kind_of(found.head, found.name) == kind:
                    return found
    return None


def _below(root: Path, uri: str) -> Path | None:
    parts = [part for part in PurePath(unquote(urlsplit(uri).path)).parts if part not in ("/", "..", ".")]
    base = root.resolve()
    for begin in range(len(parts)):
        place = base.joinpath(*parts[begin:])
        # One name alone, such as "7", says too little.
        if len(parts) - begin > 1 and place.is_dir() and place.resolve().is_relative_to(base):
            return place
    return None


def of_folder(found: Sequence[Item], config: Config) -> Iterator[Told]:
    """Files without a store: what folders and names tell of their splits and spans."""
    for one in found:
        kind = kind_of(one.head, one.name)
        if kind not in ("statistics", "anomalies"):
            continue
        parts = PurePath(place_of(one, config)).parts
        split = next((match[1] for part in reversed(parts[:-1]) if (match := _SPLIT.fullmatch(part))), "")
        span = next((match[1] for part in reversed(parts) if (match := _SPAN.search(PurePath(part).stem))), "")
        at = one.given.at if one.given.at is not None else day_of(config, span)
        yield Told(kind, one, "/".join(parts), at if at is not None else one.modified, 0, split, span,
                   dated=at is not None)  # fmt: skip


def day_of(config: Config, span: str) -> int | None:
    """The first second of the day that a span is; None where spans are no days."""
    return int(span) * 86_400 if config.spans == "days" and span.isdigit() and int(span) > 0 else None


def place_of(one: Item, config: Config) -> str:
    """The name of a file below the path of the source."""
    if one.path.name != PurePath(one.name).name:  # it lies in an archive
        return f"{one.path.name}/{one.name}"
    root = config.path
    if root is not None and root.is_dir() and one.path.is_relative_to(root):
        return one.path.relative_to(root).as_posix()
    return "/".join(one.path.absolute().parts[-4:]).lstrip("/")


def one_of(found: Sequence[Path], where: Path) -> Path | None:
    """The only store; raises SourceRefused where there are several."""
    if len(found) > 1:
        names = ", ".join(one.name for one in found[:3])
        raise SourceRefused(f"{where} holds several stores of ML Metadata ({names}); name one of them in path.")
    return found[0] if found else None
