"""DVC, dvclive and GTO: trainings, versions of data, evaluations and promotions, out of a git repository.

DVC itself is never run: its files are read as they stand in every commit.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from connectors import _dvc, _git, _yaml
from connectors._dvc_history import Folder, History, Look
from connectors._dvc_telling import Made, Telling, Unit
from connectors._files import item as item_of
from connectors._git import Commit
from connectors._git_program import Repository
from connectors._said import Said
from tandem.connect import About, Common, Given, Item, Pull, SourceRefused, setting
from tandem.records import DAY, Covered, Event, Finding, Page, Record, Sample, Slice, labels_of

TAGS_KNOWN = 5_000
TIPS_KNOWN = 2_000
_GONE = "gone"
_FOREVER = 1 << 40
_BATCH = 200
_AHEAD = DAY
_LIVE = "plots/metrics/"

ABOUT = About(
    reads="DVC repositories: dvc.lock, .dvc files, metrics and plots of every commit, dvclive's folders, GTO's tags.",
    signals=("outcome", "correct"),
    events=("training", "data_version", "release", "promotion"),
    labels={
        "stage": "the stage of dvc.yaml, or the folder of dvclive",
        "path": "the folder of the dvc.lock, empty for the root",
        "file": "the file of metrics or the plot; of a version of data the dvc.lock or .dvc file",
        "data": "the path of the data (on data_version), and bytes its size",
        "model": "the artifact of dvc.yaml or of GTO's tag",
        "alias": "the stage that a version was assigned to (on promotions)",
        "from": "the version that had it before, and removed the one that has it no more (on promotions)",
        "param.<name>": "a parameter of the stage, the first 30 by name (on training)",
        "time_of": '"tag", or "commit" for a lightweight tag, which has no time of its own',
        "said": "what says the outcome: committed (on training)",
    },
    files=(
        "a clone that holds dvc.yaml, dvc.lock or .dvc, with its whole history",
        "such a folder without git, or a folder of dvclive: as it is now",
    ),
    limits=(
        "DVC does not say when a stage was run: the time of the commit counts, and no duration is known.",
        "dvc.lock holds only runs that succeeded: the share of finished trainings says nothing of failed ones.",
        "Trainings are the stages called *train*, *fit* or *tune*; where a dvc.lock has none of them, all of its.",
        "The same run, data or counts of a run in several commits count once, from where they were first seen.",
        "Data is what a stage reads that git itself does not hold, and what .dvc files track.",
        "Metrics that DVC keeps in its cache are not in git; set cache: false, which is DVC's own advice.",
        "A metric without a step is of step 0; of the plots those by step are read, and confusion matrices by rows.",
        "Names beginning with train are of stage training, all others of stage evaluation.",
        "GTO's tags say their time exactly; the version of a promotion is that registered at the same commit.",
        "What a force-push or a deleted tag removes is taken back, unless its commits are pruned already.",
        "Of a shallow clone the oldest commits are left out: what they changed is not known.",
        "Experiments that were not committed to a branch (refs/exps) are not read; nothing is fetched.",
        "DVC's files need PyYAML (pip install 'tandem-health[openslo]').",
    ),
    status={"committed": "good"},
    aliases=("dvclive", "gto"),
    side="model",
    example="""\
connector = "dvc"
name = "fraud-pipeline"
path = "/srv/git/fraud.git"                # a clone that something else fetches
component = "fraud-detector"
# branches = ["main"]                      # left out: the default branch
# stages = ["train"]                       # which stages are trainings (globs)
# models = ["fraud*"]                      # models of GTO's tags (globs)
""",
)


@dataclass(frozen=True)
class Config:
    """One repository."""

    common: Common
    path: Path | None = setting("A clone, or a folder of DVC.", default=None, example="/srv/git/fraud.git")
    branches: tuple[str, ...] = setting(
        "Globs of branches whose commits are read.", default=(), example=("main", "exp/*")
    )
    stages: tuple[str, ...] = setting(
        "Globs of stages that are trainings.", default=("*train*", "*fit*", "*tune*"), example=("train",)
    )
    models: tuple[str, ...] = setting("Models of GTO's tags (globs).", default=("*",), example=("fraud*",))
    training: tuple[str, ...] = setting(
        "Globs of metrics of stage training; all others are of stage evaluation.",
        default=("train", "train[._/-]*", "training[._/-]*"), example=("train.*", "loss"),
    )  # fmt: skip
    labels: tuple[str, ...] = setting(
        "The classes of a confusion_matrix that does not say them, in the order of its rows.", default=(),
        example=("0", "1"),
    )  # fmt: skip
    version: str = setting("The version that is described, where it is always one.", default="", example="7")


class _Said(Said):
    meanings = ABOUT.status


def scope(config: Config) -> str:
    """The path of the repository."""
    return str(config.path or "")


def configure(item: Item, common: Common) -> Config:
    """The configuration of a repository that belongs to no configured source."""
    return Config(common, path=item.path)


def recognise(item: Item) -> bool:
    """A folder with a dvc.yaml, a dvc.lock or DVC's settings at its top, or a folder that dvclive wrote."""
    names = set(item.entries)
    return bool({"dvc.yaml", "dvc.lock", ".dvc/config"} & names) or (
        "metrics.json" in names and any(name.startswith(_LIVE) and name.endswith(".tsv") for name in names)
    )


def parse(item: Item, config: Config) -> Iterator[Page]:
    """All of one repository, or of one folder without its history."""
    yield from parse_with(item, config, Pull(since=0, until=_FOREVER, now=_FOREVER, first=True))


def parse_with(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """The same, leaving out what was not yet by `pull.until`, or is counted already."""
    _yaml.document("", item.name)
    if (item.path / ".git").exists():
        own = replace(pull, since=0, first=True, state=None)
        for page in _Clone(Repository(item.path.resolve()), config, own).pages():
            yield replace(page, state=None, covered=())
    else:
        yield from _folder(item, config, pull)


def fetch(config: Config, pull: Pull) -> Iterator[Page]:
    """What the commits and tags tell that are new, oldest first; then what they tell no more."""
    if config.path is None:
        raise SourceRefused(f'set path = "CLONE" for the source "{config.common.name}".')
    path = config.path.resolve()
    if not path.exists():
        raise SourceRefused(f"{path} is not there; set path to a clone.")
    _yaml.document("", str(path))
    if (path / ".git").exists() or (path / "HEAD").exists():
        yield from _Clone(Repository(path), config, pull).pages()
        return
    if not path.is_dir() or not recognise(folder := item_of(path, Given())):
        raise SourceRefused(f"{path} is neither a git repository nor a folder of DVC; set path to a clone.")
    yield from _folder(folder, config, pull)


def _folder(item: Item, config: Config, pull: Pull) -> Iterator[Page]:
    """A folder without git, as it is now."""
    said, files = _Said(config), Folder(item)
    if not {"dvc.yaml", "dvc.lock", ".dvc/config"} & set(item.entries):
        name = item.path.absolute().name
        files = Folder(item, below=name if name.startswith("dvclive") else f"dvclive-{name}")
    look = files.look()
    if look.ts < pull.until:
        if item.given.at is None:
            said.remark("a folder without git says no times; that of its newest file is taken, or give --at")
        for _, units in Telling(config, files, said).of([look]):
            yield from (_page(unit, "folder") for unit in units if not _told(pull, unit.name))
    yield Page(covered=None if look.ts < pull.until else (), findings=_findings(said, files.large, config))


def _page(unit: Unit, digest: str) -> Page:
    return Page(unit.records, covered=(), slice=Slice(unit.name, digest) if unit.name else None)


def _told(pull: Pull, name: str) -> bool:
    return bool(name) and pull.taken(name) not in (None, _GONE)


def _findings(said: Said, large: int, config: Config) -> tuple[Finding, ...]:
    if large:
        said.remark(f"{large:,} very large files are not read", large)
    return said.findings(config.common.name)


@dataclass
class _Clone:
    """One pull of a clone."""

    repository: Repository
    config: Config
    pull: Pull
    said: Said = field(init=False)
    history: History = field(init=False)
    telling: Telling = field(init=False)
    floor: int = 0
    """What happened before it is left out, in every pull: the beginning of the first one."""
    low: int = _FOREVER
    held: bool = False
    """Whether something lies ahead of `until`: then the next pull must see it again."""
    takes_back: bool = False
    """Whether commits are gone: then what the others tell has to be known."""
    cut: set[str] = field(default_factory=set)
    told: set[str] = field(default_factory=set)
    values: set[tuple[object, ...]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.said = _Said(self.config)
        self.history = History(self.repository, self.said)
        self.telling = Telling(self.config, self.history, self.said)

    def pages(self) -> Iterator[Page]:
        refs = self.repository.refs()
        before = self.pull.state if isinstance(self.pull.state, dict) and not self.pull.first else {}
        self.floor = int(before.get("since", self.pull.since))
        tips = _git.tips(refs, self.config.branches, self.said)
        old = {str(name): str(sha) for name, sha in dict(before.get("tips", {})).items()}
        if tips != old:
            yield from self._changes(list(tips.values()), sorted(set(old.values())))
        names: list[str] = []
        yield from self._tags(refs, set(before.get("tags", ())), names)
        covered = self._covered(before.get("seen"))
        state = {
            "since": self.floor, "seen": covered[0].until if covered else before.get("seen"),
            "tags": names[-TAGS_KNOWN:], "tips": dict(list((old if self.held else tips).items())[:TIPS_KNOWN]),
        }  # fmt: skip
        yield Page(state=state, covered=covered, findings=_findings(self.said, self.history.large, self.config))

    # -- branches

    def _changes(self, tips: Sequence[str], old: Sequence[str]) -> Iterator[Page]:
        """What new commits tell; after a force-push all of them are read again, and the lost ones taken back."""
        there, missing = self.repository.there(old)
        lost = self.history.commits(there, tips)
        if missing:
            self.said.remark("a rewritten branch was read again from its beginning; its old commits are pruned")
        self.takes_back = bool(lost)
        self.cut = set(self.repository.shallow())
        if self.cut:
            self.said.remark("the clone is shallow: what its oldest commits changed is unknown, and left out")
        again = self.pull.first or missing or bool(lost) or not old
        for look, units in self._looks(self.history.commits(tips, () if again else there)):
            self.low = min(self.low, look.ts) if units else self.low
            yield from self._new(look, units, again=again)
        for _, units in self._looks(lost):
            yield from self._gone(units)

    def _looks(self, commits: Sequence[Commit]) -> Iterator[tuple[Look, list[Unit]]]:
        looks = self.history.looks([one for one in commits if self._counts(one)])
        done = 0
        while batch := list(islice(looks, _BATCH)):
            done += len(batch)
            self.pull.progress(f"{done} commits", None)
            yield from self.telling.of(batch)

    def _counts(self, commit: Commit) -> bool:
        if commit.committed >= self.pull.until + _AHEAD:
            self.said.reject("a commit says it was made in the future")
        elif commit.committed >= self.pull.until:
            self.held = True
        return commit.sha not in self.cut and self.floor <= commit.committed < self.pull.until

    def _new(self, look: Look, units: Sequence[Unit], *, again: bool) -> Iterator[Page]:
        for unit in units:
            if not unit.name:
                self.values |= {_place(one) for one in unit.records
                                if self.takes_back and isinstance(one, Sample)}  # fmt: skip
                yield _page(unit, "")
            elif unit.name not in self.told and (again or not _told(self.pull, unit.name)):
                self.told.add(unit.name)
                yield _page(unit, look.sha)

    def _gone(self, units: Sequence[Unit]) -> Iterator[Page]:
        """What a commit told that no branch holds any more, except what another one tells too."""
        for unit in units:
            if not unit.name:
                samples = [replace(one, value=None) for one in unit.records
                           if isinstance(one, Sample) and _place(one) not in self.values]  # fmt: skip
                yield Page(samples, covered=())
            elif unit.name not in self.told:
                self.told.add(unit.name)
                self.said.remark("what a force-push removed is taken back")
                yield Page(_excluded(unit.records), covered=(), slice=Slice(unit.name, _GONE))

    # -- tags

    def _tags(self, refs: Sequence[Sequence[str]], before: set[str], names: list[str]) -> Iterator[Page]:
        """Registrations and assignments by GTO's tags; `names` gets those that count."""
        tags = _git.tags(["\x1f".join(ref) for ref in refs if ref[0].startswith("refs/tags/")], self.said)
        found = [one for one in _dvc.registry(_git.chosen(tags, (), self.pull.until))
                 if any(fnmatchcase(one.model, glob) for glob in self.config.models)]  # fmt: skip
        versions = _dvc.versions(found)
        gone = {(one.model, one.version) for one in found if one.version and one.undone}
        current: dict[tuple[str, str], str] = {}
        for one in found:
            names.append(one.tag.name)
            if one.version:
                if not one.undone:
                    yield from self._release(one, withdrawn=(one.model, one.version) in gone)
                continue
            version = "" if one.undone else versions.get((one.model, one.tag.commit), "")
            yield from self._promotion(one, version, current.get((one.model, one.stage), ""))
            current[one.model, one.stage] = version
        for name in sorted(before - set(names)):
            for kind in ("release", "promotion"):
                if _told(self.pull, f"{kind}:{name}"):
                    self.said.remark("a deleted tag is taken back")
                    event = Event(kind, name, self.pull.since, outcome="excluded", title=name)
                    yield Page([event], covered=(), slice=Slice(f"{kind}:{name}", _GONE))

    def _release(self, one: _dvc.Said, *, withdrawn: bool) -> Iterator[Page]:
        event = Event("release", one.tag.name, one.tag.ts, outcome="excluded" if withdrawn else "good",
                      version=one.version, commit=one.tag.commit, title=f"{one.model} {one.version}",
                      labels=labels_of({"model": one.model, "time_of": _time_of(one)}))  # fmt: skip
        yield from self._tagged(one, event)

    def _promotion(self, one: _dvc.Said, version: str, old: str) -> Iterator[Page]:
        told = {"model": one.model, "alias": one.stage, "from": old, "removed": old if one.undone else "",
                "time_of": _time_of(one)}  # fmt: skip
        if not version and not one.undone:
            self.said.remark("a promotion of a commit at which no version is registered; it says no version")
        said = f"was removed from version {old}" if one.undone else f"is version {version or 'unknown'}"
        event = Event("promotion", one.tag.name, one.tag.ts, version=version, commit=one.tag.commit,
                      title=f"{one.model}: {one.stage} {said}", labels=labels_of(told))  # fmt: skip
        yield from self._tagged(one, event)

    def _tagged(self, one: _dvc.Said, event: Event) -> Iterator[Page]:
        """An event with what its commit's dvc.lock says of the model, unless it was told as it is."""
        name, mark = f"{event.kind}:{event.key}", hashlib.sha256(repr(event).encode()).hexdigest()[:24]
        if event.ts >= self.floor and (self.pull.first or self.pull.taken(name) != mark):
            self.low = min(self.low, event.ts)
            made = Made() if one.undone else self.telling.at_tag(one.tag.commit, one.model)
            whole = replace(event, run=made.run, data_version=made.data_version, digest=made.digest)
            yield Page([whole], covered=(), slice=Slice(name, mark))

    # -- what was seen

    def _covered(self, seen: int | None) -> tuple[Covered, ...]:
        """From the first thing told to when the clone was fetched last, or to now where it fetches from nobody."""
        begin = min(self.low, self.pull.until) if self.pull.first else min(self.pull.since, seen or _FOREVER)
        end = min(self.pull.until, self.repository.fetched() or _FOREVER)
        return (Covered(begin, end),) if begin < end else ()


def _excluded(records: Sequence[Record]) -> list[Record]:
    """What takes the place of what is gone: events that do not count, and no facts."""
    return [replace(one, outcome="excluded") for one in records if isinstance(one, Event)]


def _place(one: Sample) -> tuple[object, ...]:
    return one.series, one.ts, one.run, one.step


def _time_of(one: _dvc.Said) -> str:
    return "tag" if one.tag.annotated else "commit"
