"""DVC's files through git: what each commit changed in them, and what they hold; or a folder without its history."""

from __future__ import annotations

import contextlib
import posixpath
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from connectors import _git
from connectors._git import FORMAT, LOG_ARGUMENTS, Commit
from connectors._git_program import Repository
from connectors._said import Said
from tandem.connect import Item, SourceDown

LARGEST = 8_000_000
"""Most bytes of one file that is read."""
_ENDS = (".json", ".yaml", ".yml", ".toml", ".tsv", ".csv", ".dvc", ".lock")
_ABSENT = "0" * 40


@dataclass(frozen=True)
class Change:
    """A file that a commit changed: its content, and what it was in each parent; names for `contents`."""

    path: str
    blob: str
    before: tuple[str, ...] = ()
    changed: bool = True
    """False for a file that a commit may have made anew just as it was."""


@dataclass(frozen=True)
class Look:
    """One commit, or a folder at one time, and what is new in it; `sha` "" for a folder."""

    sha: str
    ts: int
    changes: tuple[Change, ...]
    actor: str = ""
    title: str = ""

    def file(self, path: str) -> str:
        """The name, for `contents`, of a file as it was then."""
        return f"{self.sha}:{path}"


class Files(Protocol):
    """Where contents come from."""

    large: int

    def there(self, names: Iterable[str]) -> set[str]:
        """Those of some names that are files."""
        ...

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are files, except of very large ones."""
        ...


@dataclass
class History:
    """A clone."""

    repository: Repository
    said: Said
    large: int = 0

    def commits(self, tips: Iterable[str], without: Iterable[str]) -> list[Commit]:
        """The commits that `tips` hold and `without` do not, parents first."""
        given = [*dict.fromkeys(tips), *(f"^{sha}" for sha in dict.fromkeys(without))]
        if not any(not one.startswith("^") for one in given):
            return []
        pieces = self.repository.pieces(*LOG_ARGUMENTS, "--topo-order", f"--format={FORMAT}", given=given)
        return list(_git.commits(_git.split(pieces), self.said))[::-1]

    def looks(self, commits: Sequence[Commit]) -> Iterator[Look]:
        """What some commits changed in files that DVC may have; those that changed none are left out.

        A merge changed what it has from none of its parents.
        """
        known = {commit.sha: commit for commit in commits}
        asked = ("diff-tree", "--stdin", "-z", "-r", "-c", "--root", "--no-renames", "--no-abbrev", "--raw")
        sha, changes = "", list[Change]()
        texts = _git.split(self.repository.pieces(*asked, given=[commit.sha for commit in commits]))
        for text in texts:
            if text.startswith(":"):
                changes += self._change(text, next(texts, ""))
                continue
            if changes:
                yield self._look(known[sha], changes)
            sha, changes = text, []
        if changes:
            yield self._look(known[sha], changes)

    def _look(self, commit: Commit, changes: Sequence[Change]) -> Look:
        return Look(commit.sha, commit.committed, tuple(changes), commit.author, commit.subject)

    def _change(self, told: str, path: str) -> Iterator[Change]:
        """A change of `git diff-tree --raw`: as many colons as parents, modes, contents, and what happened."""
        parents = len(told) - len(told.lstrip(":"))
        fields = told[parents:].split(" ")
        if not path.endswith(_ENDS) or len(fields) < 2 * parents + 2 or fields[parents][:3] == "120":
            return
        if not path.isprintable():
            self.said.reject("a file whose name holds a control character")
            return
        blobs = fields[parents + 1 : 2 * parents + 2]
        if not blobs[-1].startswith(_ABSENT):
            yield Change(path, blobs[-1], tuple(blob for blob in blobs[:-1] if not blob.startswith(_ABSENT)))

    def there(self, names: Iterable[str]) -> set[str]:
        """Those of some names that are files or folders of git."""
        return set(self._sizes(names))

    def _sizes(self, names: Iterable[str]) -> dict[str, tuple[str, int]]:
        """(content, bytes) of each of some names that is a file; a folder has no bytes and no content."""
        asked = [name for name in dict.fromkeys(names) if "\n" not in name]
        if not asked:
            return {}
        said = self.repository.text(
            "cat-file", "--batch-check=%(objecttype) %(objectname) %(objectsize)", given=asked
        ).split("\n")
        found = {}
        for name, line in zip(asked, said, strict=False):
            kind, _, rest = line.partition(" ")
            blob, _, size = rest.partition(" ")
            if kind in ("blob", "tree") and size.isdigit():
                found[name] = (blob if kind == "blob" else "", int(size))
        return found

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are files, except of very large ones."""
        sizes = {name: one for name, one in self._sizes(names).items() if one[0]}
        self.large += sum(size > LARGEST for _, size in sizes.values())
        blobs = list(dict.fromkeys(blob for blob, size in sizes.values() if size <= LARGEST))
        if not blobs:
            return {}
        data = b"".join(self.repository.pieces("cat-file", "--batch", "--buffer", given=blobs))
        found, at = {}, 0
        for blob in blobs:
            end = data.find(b"\n", at)
            head = data[at:end].split(b" ")
            if end < 0 or len(head) != 3:
                raise SourceDown("git ended within a file; it is asked again later.")
            size = int(head[2])
            found[blob] = data[end + 1 : end + 1 + size]
            at = end + size + 2
        return {name: found[blob] for name, (blob, _) in sizes.items() if blob in found}


@dataclass
class Folder:
    """A folder of DVC without git: what lies in it now."""

    item: Item
    below: str = ""
    """What stands before the names in it: that of the folder, where it is one of dvclive itself."""
    large: int = 0
    _held: dict[str, bytes] = field(default_factory=dict)

    def look(self) -> Look:
        """The folder as it is; its time is that of its newest file of DVC, unless one is given."""
        changes, newest = [], 0
        for entry in self.item.entries:
            if not entry.endswith(_ENDS) or entry.startswith((".git/", ".dvc/")):
                continue
            one = self.item.child(entry)
            newest = max(newest, one.modified)
            with contextlib.closing(one.open()) as opened:
                data = opened.read(LARGEST + 1)
            if len(data) > LARGEST:
                self.large += 1
                continue
            path = posixpath.join(self.below, entry)
            self._held[f":{path}"] = data
            changes.append(Change(path, f":{path}"))
        at = self.item.given.at
        return Look("", newest if at is None else at, tuple(changes))

    def there(self, names: Iterable[str]) -> set[str]:
        """Without git nobody says what git would hold: code is what looks like it."""
        return {name for name in names if posixpath.splitext(name)[1] in _CODE}

    def contents(self, names: Iterable[str]) -> dict[str, bytes]:
        """The contents of those that are there."""
        return {name: self._held[name] for name in names if name in self._held}


_CODE = (".py", ".ipynb", ".sh", ".r", ".R", ".jl", ".yaml", ".yml", ".toml", ".cfg", ".sql", ".txt", ".json")
