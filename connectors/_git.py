"""What a git history says: commits, tags, which release brought which commits, and what was reverted."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

import numpy as np

from connectors._said import Said
from tandem import times
from tandem.bins import DURATION, codes, quanta
from tandem.records import DAY, Event, Fact, Histogram, Series, bucket_of, labels_of

FORMAT = "%H%x00%P%x00%at%x00%ct%x00%an%x00%s%x00%b"
"""One commit, for `git log -z`: no text of a commit can hold a NUL, so none can forge a field."""
FIELDS = 7
REFS = "%(refname)%1f%(objecttype)%1f%(objectname)%1f%(*objectname)%1f%(creatordate:unix)%1f%(taggerdate:unix)"
"""One branch or tag, for `git for-each-ref`: no name of a ref can hold a control character."""
LOG_ARGUMENTS = ("log", "-z", "--no-patch", "--no-show-signature", "--no-decorate", "--no-color", "--no-notes",
                  "--encoding=UTF-8", "--full-history", "--stdin")  # fmt: skip
_SHA = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_REVERTS = re.compile(r"^This reverts commit ([0-9a-f]{7,64})\b", re.MULTILINE)
_AGAIN = re.compile(r'(?i)(?:revert "(?:revert|reapply)\b|reapply\b)')
_NUMBER = re.compile(r"-?\d{1,15}")
_YEAR = 366 * DAY
_TEXT = 200


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit; times are epoch seconds, `authored` None where it is absent."""

    sha: str
    parents: tuple[str, ...]
    authored: int | None
    committed: int
    author: str = ""
    subject: str = ""
    body: str = ""


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag: the commit it names, and when it was made; a lightweight one is as old as its commit."""

    name: str
    commit: str
    ts: int
    annotated: bool


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a history counts: globs of tags, prefixes of paths."""

    tags: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()

    @property
    def prefixes(self) -> tuple[str, ...]:
        """The prefixes, "" for the whole repository where none is set."""
        return self.paths or ("",)


# -- reading


def split(pieces: Iterable[bytes], mark: bytes = b"\0") -> Iterator[str]:
    """The texts between marks; what follows the last mark is left out unless it holds something."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(mark)
        for one in whole:
            yield one.decode("utf-8", "replace")
    if rest.strip():
        yield rest.decode("utf-8", "replace")


def commits(texts: Iterable[str], said: Said) -> Iterator[Commit]:
    """Commits of fields as FORMAT has them; what begins like none is left out up to the next that does."""
    fields: list[str] = []
    for text in texts:
        fields.append(text if fields else text.lstrip("\n"))
        if len(fields) == 1 and not _SHA.fullmatch(fields[0]):
            said.reject("a piece of the log is no commit; save it with the format that the reference names")
            fields.clear()
        elif len(fields) == FIELDS:
            yield from _commit(fields, said)
            fields.clear()
    if fields:
        said.reject("the log ends within a commit; save it again")


def commits_of_text(texts: Iterable[str], said: Said) -> Iterator[Commit]:
    """Commits of records that end with the byte 1e, fields apart by 1f; numbers of changed lines are passed over."""
    for text in texts:
        if not text.strip():
            continue
        fields = text.split("\x1f")
        fields[0] = fields[0].rpartition("\n")[2]
        if "\x1f" not in text:  # the changed lines of the last commit
            continue
        if len(fields) not in (FIELDS - 1, FIELDS) or not _SHA.fullmatch(fields[0]):
            said.reject("a piece of the log is no commit; save it with the format that the reference names")
            continue
        yield from _commit([*fields, ""][:FIELDS], said)


def _commit(fields: Sequence[str], said: Said) -> Iterator[Commit]:
    sha, parents, authored, committed, author, subject, body = fields
    above = tuple(parents.split())
    when = _time(committed)
    if when is None or not all(_SHA.fullmatch(one) for one in above):
        said.reject("a commit has no time of its commit or no proper parents")
        return
    yield Commit(sha, above, _time(authored), when, author, subject, body)


def _time(text: str) -> int | None:
    """Epoch seconds; None for what is no time, and for the year 1970, which stands for "absent"."""
    value = int(text) if _NUMBER.fullmatch(text.strip()) else 0
    return value if _YEAR <= value <= times.LAST else None


def tags(lines: Iterable[str], said: Said) -> list[Tag]:
    """The tags among the lines of `git for-each-ref`, in the order of their times."""
    found: dict[str, Tag] = {}
    for line in lines:
        fields = line.rstrip("\r").split("\x1f")
        if len(fields) < 6 or not (_SHA.fullmatch(fields[2]) or not line.strip()):
            if line.strip():
                said.reject("a line is no tag; save it with the format that the reference names")
            continue
        name, kind, own, peeled, created, tagged = fields[:6]
        if name.startswith(("refs/heads/", "refs/remotes/")):
            continue
        ts = _time(tagged or created)
        if (kind not in ("tag", "commit")) or (kind == "tag" and not _SHA.fullmatch(peeled)) or ts is None:
            said.reject("a tag names no commit or has no time")
            continue
        short = name.removeprefix("refs/tags/")
        found[short] = Tag(short, peeled if kind == "tag" else own, ts, kind == "tag")
    return sorted(found.values(), key=lambda tag: (tag.ts, tag.name))


def tips(refs: Iterable[Sequence[str]], branches: Sequence[str], said: Said) -> dict[str, str]:
    """The tips of the branches that count, by their names; what was fetched counts before what is checked out.

    `refs`: the fields of REFS, then %(HEAD) and %(symref). Without `branches` the default branch counts.
    """
    found: dict[str, str] = {}
    usual = ""
    for name, _, sha, _, _, _, head, target in refs:
        if name.startswith("refs/remotes/") and name.endswith("/HEAD"):
            usual = target.removeprefix("refs/remotes/").partition("/")[2]
        elif name.startswith("refs/remotes/"):
            found[name.removeprefix("refs/remotes/").partition("/")[2]] = sha
        elif name.startswith("refs/heads/"):
            found.setdefault(name.removeprefix("refs/heads/"), sha)
            usual = usual or (name.removeprefix("refs/heads/") if head == "*" else "")
    globs = branches or ((usual,) if usual in found else ("main", "master"))
    some = {name: sha for name, sha in found.items() if any(fnmatchcase(name, glob) for glob in globs)}
    if not some:
        said.remark(f"no branch is called like {', '.join(globs)}: what happened on branches is not seen")
    return some


def chosen(found: Sequence[Tag], globs: Sequence[str], until: int) -> list[Tag]:
    """The releases among tags, in the order in which they were made; those at or after `until` are not yet."""
    return [tag for tag in found if tag.ts < until and (not globs or any(fnmatchcase(tag.name, g) for g in globs))]


def marks(releases: Sequence[Tag], choice: Choice) -> list[str]:
    """For each release what changes when it brings other commits: it and all before it."""
    found, before = [], repr(choice)
    for one in releases:
        before = hashlib.sha256(f"{before}\0{one.name}\0{one.commit}\0{one.ts}".encode()).hexdigest()
        found.append(before)
    return found


def brought(history: Mapping[str, Commit], releases: Sequence[Tag]) -> Iterator[tuple[Tag, list[Commit], bool]]:
    """(release, what it holds that none before held, whether all of that is known), merges among it."""
    taken: set[str] = set()
    for release in releases:
        found: list[Commit] = []
        whole, waiting = True, [release.commit]
        while waiting:
            sha = waiting.pop()
            if sha in taken:
                continue
            commit = history.get(sha)
            if commit is None:
                whole = False
                continue
            taken.add(sha)
            found.append(commit)
            waiting += commit.parents
        yield release, found, whole


# -- telling


def lead_times(release: Tag, of: Iterable[Commit], said: Said) -> list[int]:
    """Seconds from when each commit was written to its release; merges bring nothing of their own."""
    found = []
    for commit in of:
        if len(commit.parents) > 1:
            continue
        if commit.authored is None:
            said.reject("a released commit has no time of its author")
        elif commit.authored > release.ts:
            said.reject("a commit says it was written after its release; its lead time is not known")
        else:
            found.append(release.ts - commit.authored)
    return found


def fact(release: Tag, prefix: str, seconds: Sequence[int]) -> Fact:
    """The lead times of one release, in the bucket of its tag."""
    values = np.asarray(seconds, dtype=np.float64)
    counts: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for place, amount in zip(codes(DURATION, values).tolist(), quanta(values, DURATION.digits or 0).tolist(),
                             strict=True):  # fmt: skip
        counts[place] += 1
        sums[place] += amount
    series = Series("lead_time", labels_of({"tag": release.name, "path": prefix}))
    return Fact(series, bucket_of(release.ts), Histogram(DURATION, dict(counts), dict(sums)))


def release_event(release: Tag, prefix: str, tagged: Commit | None, n: int | None) -> Event:
    """The release itself; `n` is how many commits it brought, None where that is not known."""
    known = tagged.authored if tagged is not None else None
    told = {
        "tag": release.name, "path": prefix, "commits": n,
        "committed_at": times.text(known) if known is not None and known <= release.ts else None,
        "time_of": "tag" if release.annotated else "commit",
    }  # fmt: skip
    return Event("release", keyed(release.name, prefix), release.ts, version=release.name, commit=release.commit,
                 title=release.name, labels=labels_of(told))  # fmt: skip


def commit_event(commit: Commit, branch: str, prefix: str) -> Event:
    """A commit, from when it was written where that is known and believable."""
    begun = commit.authored if commit.authored is not None and commit.authored <= commit.committed else None
    return Event("commit", keyed(commit.sha, prefix), commit.committed if begun is None else begun, commit=commit.sha,
                 actor=commit.author[:_TEXT], title=commit.subject[:_TEXT],
                 labels=labels_of({"branch": branch, "path": prefix}))  # fmt: skip


def reverted(commit: Commit) -> str:
    """The commit that a commit takes back; "" for one that takes none back, or brings back what was taken back."""
    found = _REVERTS.search(commit.body)
    return found[1] if found and not _AGAIN.match(commit.subject) else ""


def rollback_event(commit: Commit, branch: str, prefix: str) -> Event:
    """A revert, from when it was committed."""
    told = {"branch": branch, "path": prefix, "reverts": reverted(commit)}
    return Event("rollback", keyed(commit.sha, prefix), commit.committed, commit=commit.sha, trigger="revert",
                 actor=commit.author[:_TEXT], title=commit.subject[:_TEXT], labels=labels_of(told))  # fmt: skip


def keyed(name: str, prefix: str) -> str:
    """The key of an object of one prefix."""
    return f"{name}:{prefix}" if prefix else name
