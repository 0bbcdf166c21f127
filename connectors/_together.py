"""Folders whose files belong together: what one says is completed by what another says."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from connectors._files import documents, files_at
from tandem.connect import Given, Item, Pull, SourceRefused
from tandem.records import Finding

MOST = 1000
"""Most files of a folder that are read as one."""


def parts(item: Item, most: int = MOST) -> list[Item]:
    """The files of a folder without notes to people, or the file itself; none where there are folders in it."""
    return [item.child(entry) for entry in _names(item, most)] if item.entries else [item]


def all_are(item: Item, recognised: Callable[[Item], bool], most: int = MOST) -> bool:
    """Whether a folder holds nothing but files that are recognised; looks no further than the first that is not."""
    found = _names(item, most)
    return bool(found) and all(recognised(item.child(entry)) for entry in found)


def among(path: Path | None, name: str, recognised: Callable[[Item], bool]) -> list[Item]:
    """The files that the path of the source `name` names, and of those it does not name alone the recognised ones.

    Raises SourceRefused where there is no path, or nothing at it.
    """
    if path is None:
        raise SourceRefused(f'set path = "FILE, FOLDER or GLOB" for the source "{name}".')
    return [one for one, alone in files_at(path, Given()) if alone or recognised(one)]


def each_document(found: Iterable[Item], pull: Pull, take: Callable[[Any], None]) -> list[Finding]:
    """Gives every JSON document of the files to `take`; what stands behind a broken place is a finding."""
    refused = []
    for one in found:
        pull.progress(one.name, None)
        try:
            for document in documents(one):
                take(document)
        except SourceRefused as error:
            refused.append(Finding("reject", str(error), one.name))
    return refused


def _names(folder: Item, most: int) -> list[str]:
    if len(folder.entries) > most or any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith(".") and not entry.endswith(".md")]
