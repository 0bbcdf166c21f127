"""Folders whose files belong together: what one says is completed by what another says."""

from __future__ import annotations

from collections.abc import Callable

from tandem.connect import Item

MOST = 1000
"""Most files of a folder that are read as one."""


def parts(item: Item, most: int = MOST) -> list[Item]:
    """The files of a folder without notes to people, or the file itself; none where there are folders in it."""
    return [item.child(entry) for entry in _names(item, most)] if item.entries else [item]


def all_are(item: Item, recognised: Callable[[Item], bool], most: int = MOST) -> bool:
    """Whether a folder holds nothing but files that are recognised; looks no further than the first that is not."""
    found = _names(item, most)
    return bool(found) and all(recognised(item.child(entry)) for entry in found)


def _names(folder: Item, most: int) -> list[str]:
    if len(folder.entries) > most or any("/" in entry for entry in folder.entries):
        return []
    return [entry for entry in folder.entries if not entry.startswith(".") and not entry.endswith(".md")]
