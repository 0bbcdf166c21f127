"""Git: releases from tags, the lead time of the commits in them, and reverts, from a clone or from its saved logs."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from connectors import _git
from connectors._files import item as item_of
from connectors._files import lines
from connectors._git import FORMAT, LOG_ARGUMENTS, REFS, Choice, Commit, Tag
from connectors._git_program import Repository
from connectors._said import Said
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Fact, Page, Slice

TAGS_KNOWN = 5_000
"""Tags whose names are kept, to take back what one of them told once it is deleted."""
TIPS_KNOWN = 2_000
_PIECE = 1000
_AHEAD = DAY
"""Seconds by which a commit's time may lie ahead before it is no time at all."""
_LOG = re.compile(rb"\s*[0-9a-f]{40,64}[\0\x1f][0-9a-f ]*[\0\x1f]-?\d+[\0\x1f]\d+[\0\x1f]")
_TAGS = re.compile(rb"\s*[^\s\x1f]+\x1f(?:commit|tag|tree|blob)\x1f[0-9a-f]{40,64}\x1f")
_FOREVER = 1 << 40

ABOUT = About(
    reads="Releases, lead times and reverts of one git repository, from a clone (which it never fetches) or its logs.",
    signals=("lead_time",),
    events=("release", "rollback", "commit"),
    labels={
        "branch": "the branch, of commits and reverts",
        "path": "the prefix out of paths that a commit touches",
        "tag": "the tag, of releases and lead times",
        "commits": "how many commits a release brought, merges left out (on releases)",
        "committed_at": "when the commit of a release was written (on releases)",
        "time_of": '"tag", or "commit" for a lightweight tag, which has no time of its own (on releases)',
        "reverts": "the commit that a revert takes back",
    },
    files=(
        "a bare clone, or the .git folder of one",
        f"git log -z --format={FORMAT} main --tags > git-log.z",
        f"git for-each-ref --format='{REFS}' refs/tags > git-tags.txt (both in one folder: then lead times too)",
    ),
    limits=(
        "A lead time runs from when a commit was written (author date) to the first release tag that holds it.",
        "A tag is not yet a deployment: the lead times of deployments are those of delivery.",
        "The commits of the first release count no lead time: which of them ran before is not known.",
        "Merges count no lead time; a commit that says it was written after its release counts none and is named.",
        "A revert is a rollback from when it was committed, and one change with a deployment of it within 15 minutes.",
        "Set reverts = false where reverts are deployed later than that, or another source tells of rollbacks.",
        "Where another source tells of deployments, commits = true gives each of them its commit's time.",
        "A clone vouches for the time until it was fetched last; nothing is fetched here.",
        "Of a shallow clone only those releases count lead times whose commits it holds.",
        "What a force-push or a deleted tag removes is taken back; reverts stay whose commits are pruned already.",
        "Saved logs do not say which branch a commit is on nor which paths it touches.",
    ),
    aliases=("git_log",),
    side="system",
    example="""\
connector = "git"
name = "checkout-history"
path = "/srv/git/checkout.git"             # a clone that something else fetches, or the folder of its saved logs
component = "checkout-api"
# tags = ["v*"]                            # which tags are releases; left out: all
# branches = ["main", "release/*"]         # for reverts and commits; left out: the default branch
# paths = ["services/checkout"]            # prefixes of a monorepo, the label "path"; left out: the whole repository
# commits = true                           # commits as events, so that each deployment's lead time begins with one
""",
)


@dataclass(frozen=True)
class Config:
    """One repository."""

    common: Common
    path: Path | None = setting(
        "A clone, or a folder or file with its saved logs.", default=None, example="/srv/git/checkout.git"
    )
    tags: tuple[str, ...] = setting("Globs of tags that are releases.", default=(), example=("v*",))
    branches: tuple[str, ...] = setting(
        "Globs of branches whose reverts and commits count.", default=(), example=("main",)
    )
    paths: tuple[str, ...] = setting(
        "Prefixes of paths that are told apart.", default=(), example=("services/checkout",)
    )
    reverts: bool = setting("Whether reverts count as rollbacks.", default=True)
    commits: bool = setting("Whether every commit is an event.", default=False)


def scope(config: Config) -> str:
    """The path of the clone or of its logs."""
    return str(config.path or "")


def configure(item: Item, common: Common) -> Config:
    """The configuration of a clone or a log that belongs to no configured source."""
    return Config(common, path=item.path)


def belongs(item: Item, config: Config) -> bool:
    """Whether an item is this source's: its own path or something in it."""
    own = config.path is None or item.path.resolve().is_relative_to(config.path.resolve())
    return own and recognise(item)


def recognise(item: Item) -> bool:
    """A bare clone, a saved log of commits or tags, or a folder of nothing but such logs."""
    if item.entries:
        few = len(item.entries) <= 10 and not any("/" in entry for entry in item.entries)
        return _is_clone(item) or (few and all(recognise(item.child(entry)) for entry in item.entries))
    return _LOG.match(item.head) is not None or _TAGS.match(item.head) is not None


def parse(item: Item, config: Config) -> Iterator[Page]:
    """The releases, lead times and reverts of one clone, one log, or a folder with both logs."""
    yield from parse_with(item, config, Pull(since=0, until=_FOREVER, now=_FOREVER, first=True))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, leaving out what was not yet by `pull.until`."""
    if _is_clone(item):
        own = replace(pull, first=True, state=None, taken=lambda name: None)
        for page in _Clone(Repository(item.path.resolve()), config, own).pages():
            yield replace(page, state=None, covered=())
        return
    yield from _logs([item.child(entry) for entry in item.entries] if item.entries else [item], config, pull)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the tags and branches tell that they did not tell before, oldest first; then what they tell no more."""
    if config.path is None:
        raise SourceRefused(f'set path = "CLONE" for the source "{config.common.name}".')
    path = config.path.resolve()
    if not path.exists():
        raise SourceRefused(f"{path} is not there; set path to a clone or to its saved logs.")
    if (path / ".git").exists() or (path / "HEAD").exists():
        yield from _Clone(Repository(path), config, pull).pages()
        return
    saved = item_of(path, Given())
    if not recognise(saved):
        raise SourceRefused(f"{path} is no git repository; set path to a clone or to its saved logs.")
    yield from parse_with(saved, config, pull)


def _is_clone(item: Item) -> bool:
    """The folder that git itself keeps: that of a bare clone, or .git."""
    names = item.entries
    return (
        "HEAD" in names and "config" in names and item.path.is_dir()
        and any(name.startswith("objects/") for name in names)
    )  # fmt: skip


# -- a clone


@dataclass
class _Clone:
    """One pull of a clone."""

    repository: Repository
    config: Config
    pull: Pull
    said: Said = field(init=False)
    floor: int = 0
    """What happened before it is left out, in every pull: the beginning of the first one."""
    low: int = _FOREVER
    held: bool = False
    """Whether something lies ahead of `until`: then the next pull must see it again."""

    def __post_init__(self) -> None:
        self.said = Said(self.config)

    def pages(self) -> Iterator[Page]:
        refs = self.repository.refs()
        before = self.pull.state if isinstance(self.pull.state, dict) and not self.pull.first else {}
        self.floor = int(before.get("since", self.pull.since))
        choice = Choice(self.config.tags, self.config.paths)
        found = _git.tags(["\x1f".join(ref) for ref in refs if ref[0].startswith("refs/tags/")], self.said)
        cut = self._cut()
        releases = _git.chosen(found, self.config.tags, self.pull.until)
        yield from self._releases(releases, choice, cut)
        yield from self._gone(set(before.get("tags", ())) - {tag.name for tag in releases})
        tips = self._branches(refs)
        yield from self._changes(tips, {str(k): str(v) for k, v in dict(before.get("tips", {})).items()}, choice)
        covered = self._covered(cut, before.get("seen"))
        kept = {
            "since": self.floor,
            "seen": covered[0].until if covered else before.get("seen"),
            "tags": [tag.name for tag in releases[-TAGS_KNOWN:]],
            "tips": dict(list((before.get("tips", {}) if self.held else tips).items())[:TIPS_KNOWN]),
        }
        yield Page(state=kept, covered=covered, findings=self.said.findings(self.config.common.name))

    def _log(self, tips: Sequence[str], without: Sequence[str], prefix: str = "") -> Iterator[Commit]:
        """The commits that `tips` hold and `without` do not, newest first."""
        given = [*dict.fromkeys(tips), *(f"^{sha}" for sha in dict.fromkeys(without))]
        limited = ["--", f":(top,literal){prefix}"] if prefix else []
        pieces = self.repository.pieces(*LOG_ARGUMENTS, f"--format={FORMAT}", *limited, given=given)
        return _git.commits(_git.split(pieces), self.said)

    # Releases

    def _releases(self, releases: Sequence[Tag], choice: Choice, cut: Mapping[str, int]) -> Iterator[Page]:
        marks = _git.marks(releases, replace(choice, tags=(*choice.tags, *sorted(cut))))
        for place, (release, mark) in enumerate(zip(releases, marks, strict=True)):
            name = f"git:{release.name}"
            taken = self.pull.taken(name)
            if release.ts >= self.floor and (self.pull.first or taken != mark):
                self.pull.progress(f"release {release.name}", place / len(releases))
                self.low = min(self.low, release.ts)
                records = self._release(release, releases[:place], choice, cut)
                if taken is not None:
                    told = {record.key for record in records if isinstance(record, Event)}
                    records += [one for one in self._no_more(release.name, release.ts) if one.key not in told]
                yield Page(records, covered=(), slice=Slice(name, mark))

    def _release(
        self, release: Tag, before: Sequence[Tag], choice: Choice, cut: Mapping[str, int]
    ) -> list[Fact | Event]:
        tagged = next(self._one(release.commit), None)
        whole = self._log([release.commit], [tag.commit for tag in before])
        # Without a release before it, or with its beginning cut off, nobody knows what a release brought.
        known = bool(before) and not (cut and any(commit.sha in cut for commit in whole))
        if not known:
            reason = "first release" if not before else "release that reaches beyond a shallow clone"
            self.said.remark(f"the {reason} counts no lead times: what it brought is not known")
        found: list[Fact | Event] = []
        for prefix in choice.prefixes:
            mine = self._log([release.commit], [tag.commit for tag in before], prefix) if known else iter(())
            found += _told(release, prefix, tagged, list(mine) if known else None, self.said)
        return found

    def _one(self, sha: str) -> Iterator[Commit]:
        pieces = self.repository.pieces(*LOG_ARGUMENTS, "--no-walk", f"--format={FORMAT}", given=[sha])
        return _git.commits(_git.split(pieces), self.said)

    def _gone(self, names: set[str]) -> Iterator[Page]:
        """Tags that were deleted: what they brought belongs to the releases after them."""
        for name in sorted(names):
            self.said.remark("a deleted tag is a release no more")
            yield Page(self._no_more(name, self.pull.since), covered=(), slice=Slice(f"git:{name}", "deleted"))

    def _no_more(self, name: str, ts: int) -> list[Event]:
        return [Event("release", _git.keyed(name, prefix), ts, outcome="excluded", version=name, title=name)
                for prefix in self.config.paths or ("",)]  # fmt: skip

    # Branches

    def _branches(self, refs: Sequence[Sequence[str]]) -> dict[str, str]:
        """The tips of the branches that count, by their names; what was fetched counts before what is checked out."""
        if not (self.config.reverts or self.config.commits):
            return {}
        return _git.tips(refs, self.config.branches, self.said)

    def _changes(self, tips: Mapping[str, str], old: Mapping[str, str], choice: Choice) -> Iterator[Page]:
        """The reverts and commits that are new, and those that a force-push removed."""
        if dict(tips) == dict(old):
            return
        there, missing = self.repository.there(sorted(set(old.values())))
        if missing:
            self.said.remark("a rewritten branch was read again from its beginning; its old commits are pruned")
        for prefix in choice.prefixes:
            if there:
                lost = self._log(there, list(tips.values()), prefix) if tips else iter(())
                yield from self._events(lost, "", prefix, gone=True)
            told: list[str] = [] if missing else list(there)
            for branch, tip in tips.items():
                yield from self._events(self._log([tip], told, prefix), branch, prefix)
                told.append(tip)

    def _events(self, found: Iterator[Commit], branch: str, prefix: str, *, gone: bool = False) -> Iterator[Page]:
        events: list[Event] = []
        for commit in found:
            for event in self._of(commit, branch, prefix):
                events.append(replace(event, outcome="excluded") if gone else event)
                self.low = min(self.low, event.ts)
            if len(events) >= _PIECE:
                yield Page(events, covered=())
                events = []
        yield Page(events, covered=())

    def _of(self, commit: Commit, branch: str, prefix: str) -> Iterator[Event]:
        if commit.committed >= self.pull.until + _AHEAD:
            self.said.reject("a commit says it was made in the future")
        elif commit.committed >= self.pull.until:
            self.held = True
        elif commit.committed >= self.floor:
            yield from _happened(commit, branch, prefix, self.config)

    # What was seen

    def _cut(self) -> dict[str, int]:
        """The commits at which a shallow clone ends, with their times."""
        shas = self.repository.shallow()
        if not shas:
            return {}
        self.said.remark("the clone is shallow: what lies before its oldest commits is unknown")
        return {sha: commit.committed for sha in shas for commit in self._one(sha)}

    def _covered(self, cut: Mapping[str, int], seen: int | None) -> tuple[Covered, ...]:
        """From the first thing told to when the clone was fetched last, or to now where it fetches from nobody."""
        begin = min(self.low, self.pull.until) if self.pull.first else min(self.pull.since, seen or _FOREVER)
        begin = max(begin, *cut.values()) if cut else begin
        end = min(self.pull.until, self.repository.fetched() or _FOREVER)
        return (Covered(begin, end),) if begin < end else ()


# -- saved logs


def _logs(items: Sequence[Item], config: Config, pull: Pull) -> Iterator[Page]:
    """What one or two saved logs tell."""
    if config.paths:
        raise SourceRefused(f'"{config.common.name}": paths needs the clone itself; saved logs do not tell of them.')
    said, history = Said(config), dict[str, Commit]()
    found: list[Tag] = []
    for one in items:
        if _LOG.match(one.head):
            yield from _happenings(one, config, history, pull, said)
        else:
            found += _git.tags(lines(one), said)
    releases = _git.chosen(sorted(found, key=lambda tag: (tag.ts, tag.name)), config.tags, pull.until)
    digest = hashlib.sha256("".join(sorted(history)).encode()).hexdigest()[:16]
    marks = _git.marks(releases, Choice(config.tags, (digest,)))
    for number, (release, mine, whole) in enumerate(_git.brought(history, releases)):
        known = mine if number and whole else None
        if history and known is None:
            said.remark("a release counts no lead times: what it brought is not known")
        # Apart from the clone's own: a log that holds less must not take its place.
        records = _told(release, "", history.get(release.commit), known, said)
        yield Page(records, covered=(), slice=Slice(f"git:{release.name}", marks[number]) if history else None)
    yield Page(covered=(), findings=said.findings(items[0].name if items else ""))


def _happenings(
    item: Item, config: Config, history: dict[str, Commit], pull: Pull, said: Said
) -> Iterator[Page]:  # fmt: skip
    events: list[Event] = []
    for commit in _read(item, said):
        history[commit.sha] = replace(commit, subject="", body="", author="")
        if commit.committed < pull.until:
            events += _happened(commit, "", "", config)
        if len(events) >= _PIECE:
            yield Page(events, covered=())
            events = []
    yield Page(events, covered=())


def _read(item: Item, said: Said) -> Iterator[Commit]:
    with item.open() as opened:
        pieces = iter(lambda: opened.read(1 << 16), b"")
        if b"\0" in item.head:
            yield from _git.commits(_git.split(pieces), said)
        else:
            yield from _git.commits_of_text(_git.split(pieces, b"\x1e"), said)


# -- both


def _told(
    release: Tag, prefix: str, tagged: Commit | None, brought: Sequence[Commit] | None, said: Said
) -> list[Fact | Event]:
    """A release and its lead times; of a prefix that it did not touch, nothing. `brought` None: not known."""
    own = None if brought is None else [commit for commit in brought if len(commit.parents) < 2]
    if prefix and own is not None and not own:
        return []
    found: list[Fact | Event] = [_git.release_event(release, prefix, tagged, None if own is None else len(own))]
    seconds = _git.lead_times(release, own or (), said)
    if seconds:
        found.append(_git.fact(release, prefix, seconds))
    return found


def _happened(commit: Commit, branch: str, prefix: str, config: Config) -> Iterator[Event]:
    if config.commits:
        yield _git.commit_event(commit, branch, prefix)
    if config.reverts and _git.reverted(commit):
        yield _git.rollback_event(commit, branch, prefix)
