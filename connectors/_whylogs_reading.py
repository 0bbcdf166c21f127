"""One pull of whylogs' profiles: which of them count, the bins of their features, and what they come to."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from connectors import _whylogs
from connectors._fields import Unusable
from connectors._files import text
from connectors._profiled import Profiling, Table
from connectors._said import Said
from connectors._whylogs import Profile, documents_of, is_binary, is_told, is_views, of_csv, of_told
from tandem import times
from tandem.connect import Item, Pull, SourceRefused
from tandem.records import (
    Confusion,
    Fact,
    Finding,
    Labels,
    Moments,
    Page,
    Record,
    Series,
    Slice,
    bucket_of,
    labels_of,
)

if TYPE_CHECKING:
    from connectors.whylogs import Config

BATCH = 50
"""Binary profiles that whylogs' Python reads in one run."""
LARGEST = 50_000_000
"""Most bytes of a profile."""
SEEN = 5_000
"""Files that are remembered; one that is forgotten is read again."""
_DIGITS = 9


@dataclass
class _One:
    """One profile of a file."""

    profile: Profile
    item: Item
    file: str
    """The hash of the file's bytes."""
    number: int
    dataset: str
    timed: bool
    """Whether it says its time itself."""

    @property
    def digest(self) -> str:
        """What tells it from every other."""
        return f"{self.file[:24]}{self.number or ''}"

    @property
    def rank(self) -> tuple[int, str]:
        """Of several of one time the greatest counts."""
        return self.profile.made, self.digest


@dataclass
class Reading:
    """One pull of profiles."""

    config: Config
    pull: Pull
    alone: bool = False
    said: Said = field(init=False)
    profiling: Profiling = field(init=False)
    seen: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.said = Said(self.config)
        config = self.config
        self.profiling = Profiling(self.pull, self.said, config.common, config.features, config.prediction)

    def pages(self, found: Iterable[Item]) -> Iterator[Page]:
        """All pages of the pull."""
        state = self.pull.state if isinstance(self.pull.state, dict) else {}
        known = {} if state.get("provisional") else dict(state.get("seen") or {})
        some = self._chosen(sorted(self._profiles(found, known), key=lambda one: (one.profile.ts, one.digest)))
        references = self.profiling.references(self._table(one) for one in some)
        if references:
            yield Page(references)
        for one in some:
            page = self._page(one)
            if page is not None:
                yield page
        self.profiling.bins.remark()
        self.seen = dict(list((known | self.seen).items())[-SEEN:])
        provisional = self.profiling.bins.provisional or bool(state.get("provisional") and not some)
        left = None if self.alone else {"seen": self.seen, "provisional": provisional}
        yield Page(state=left, findings=(*self.findings, *self.said.findings(self.config.common.name)))

    # -- from files to profiles

    def _profiles(self, found: Iterable[Item], known: dict[str, str]) -> Iterator[_One]:
        waiting: list[tuple[Item, str, bytes]] = []
        digests: set[str] = set()
        for item in sorted(found, key=lambda one: (one.modified, one.name)):
            self.pull.progress(item.name, None)
            try:
                data = self._bytes(item)
                digest = hashlib.sha256(data).hexdigest()
                counted = digest in known and self.pull.taken(known[digest]) is not None
                if digest in digests or counted:  # a copy counts once, wherever it lies
                    continue
                digests.add(digest)
                if is_binary(item.head):
                    waiting.append((item, digest, data))
                else:
                    yield from self._timed(item, digest, self._read(item))
            except SourceRefused as error:
                self._refuse(item, str(error))
            if len(waiting) == BATCH:
                yield from self._binary(waiting)
                waiting = []
        yield from self._binary(waiting)

    def _bytes(self, item: Item) -> bytes:
        with item.open() as opened:
            data = opened.read(LARGEST + 1)
        if len(data) > LARGEST:
            raise SourceRefused(f"{item.name} is larger than {LARGEST / 1e6:g} MB; profile fewer columns at once.")
        return data

    def _read(self, item: Item) -> list[Profile]:
        if is_views(item.head):
            return of_csv(item)
        if not is_told(item.head):
            raise SourceRefused(f"{item.name} is no profile of whylogs, nor a CSV of its view.")
        return self._told(item, list(documents_of(text(item))))

    def _told(self, item: Item, documents: Sequence[Any]) -> list[Profile]:
        found = []
        for document in documents:
            try:
                found.append(of_told(document))
            except (Unusable, TypeError, ValueError, KeyError, IndexError) as error:
                why = str(error) if isinstance(error, Unusable) else "does not hold what a profile should"
                raise SourceRefused(f"{item.name} {why}.") from None
        return found

    def _binary(self, waiting: Sequence[tuple[Item, str, bytes]]) -> Iterator[_One]:
        """Binary profiles, read by the Python that has whylogs."""
        if not waiting:
            return
        if self.config.python is None:
            for item, *_ in waiting:
                self._refuse(item, f"{item.name} is a binary profile: set python to one that has whylogs, or export "
                                   "it as CSV (view.to_pandas().to_csv).")  # fmt: skip
            return
        answers = _whylogs.read(self.config.python, [data for *_, data in waiting])
        for (item, digest, _), answer in zip(waiting, answers, strict=True):
            try:
                yield from self._timed(item, digest, self._told(item, [answer]))
            except SourceRefused as error:
                self._refuse(item, str(error))

    def _refuse(self, item: Item, why: str) -> None:
        if self.alone:
            raise SourceRefused(why)
        self.findings.append(Finding("reject", why, item.name))

    def _timed(self, item: Item, digest: str, profiles: Sequence[Profile]) -> Iterator[_One]:
        """Profiles with a time and the name of their data set."""
        for number, one in enumerate(profiles):
            if any(tag.startswith(("whylogs.tag.", "segp_")) for tag in one.tags):
                self.said.reject("a profile of one segment; profile the whole data set too")
                continue
            for why in one.wrong:
                self.said.reject(why)
            ts = one.ts or self._time(item)
            dataset = one.tags.get("dataset") or item.path.absolute().parent.name
            timed = bool(one.ts or item.given.at or self.config.named)
            yield _One(replace(one, ts=ts, made=one.made or item.modified), item, digest, number, dataset, timed)

    def _time(self, item: Item) -> int:
        if item.given.at is not None:
            return item.given.at
        if self.config.named is not None:
            return self._by_name(item, self.config.named)
        self.said.remark("the profile says no time; when its file was changed last is taken, or set named")
        return item.modified

    def _by_name(self, item: Item, pattern: str) -> int:
        stem = PurePath(item.name).name
        while PurePath(stem).suffix in (".csv", ".gz", ".zst", ".xz", ".bz2"):
            stem = PurePath(stem).stem
        try:
            when = datetime.strptime(stem, pattern)  # noqa: DTZ007  its zone follows
        except ValueError:
            raise SourceRefused(f"{item.name} does not tell its time as {pattern}; correct named.") from None
        try:
            return times.iso(when.isoformat(timespec="seconds"), item.given.timezone or self.config.common.timezone)
        except ValueError as wrong:
            raise SourceRefused(f"{item.name}: {wrong}") from None

    # -- from profiles to records

    def _chosen(self, some: Sequence[_One]) -> list[_One]:
        """Of profiles of one data set and time the one made last, unless they add up."""
        newest: dict[str, _One] = {}
        later: set[str] = set()
        for one in some:
            if one.profile.ts >= self.pull.until:
                later.add(one.file)
                continue
            name = self._name(one)
            self.seen[one.file] = name
            before = newest.get(name)
            if before is not None and before.digest != one.digest:
                self.said.remark("several profiles of one data set and time; the one made last counts")
            if before is None or one.rank >= before.rank:
                newest[name] = one
        self.seen = {file: name for file, name in self.seen.items() if file not in later}
        return sorted(newest.values(), key=lambda one: (one.profile.ts, one.dataset))

    def _name(self, one: _One) -> str:
        if self.config.several == "add" or not one.timed:
            return f"profile:{one.dataset}:{one.digest}"
        return f"profile:{one.dataset}:{one.profile.ts}"

    def _table(self, one: _One) -> Table:
        own = {key: value for key, value in one.profile.tags.items() if not key.startswith(("whylogs.", "whylabs."))}
        labels = labels_of({**own, "dataset": one.dataset, "file": PurePath(one.item.name).name})
        return Table(one.profile.ts, labels, one.profile.columns)

    def _page(self, one: _One) -> Page | None:
        table = self._table(one)
        records: list[Record] = [*self.profiling.facts(table)]
        records += self._performance(one, table.labels)
        name, digest = self._name(one), self._digest(one, records)
        taken = self.pull.taken(name)
        if taken is not None and self.config.several == "newest" and _made(taken) > one.profile.made:
            self.said.remark("an older profile of a data set and time that is counted already is left out")
            return None
        return None if taken == digest else Page(records, slice=Slice(name, digest))

    def _digest(self, one: _One, records: Sequence[Record]) -> str:
        """Changes with the content, and with the bins and names it is counted under."""
        said = repr([record for record in records if isinstance(record, Fact)])
        return f"{one.profile.made}:{one.digest}:{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:16]}"

    def _performance(self, one: _One, labels: Labels) -> Iterator[Fact]:
        ts = bucket_of(one.profile.ts)
        cells: dict[tuple[str, str], int] = {}
        for actual, predicted, n in one.profile.confusion:
            if actual is None or predicted is None:
                self.said.remark("predictions or labels that are missing stand in no confusion matrix", n)
            elif n > 0:
                cells[actual, predicted] = cells.get((actual, predicted), 0) + n
        if cells:
            yield Fact(Series("outcome", labels), ts, Confusion(cells))
        told = one.profile.regression
        if told:
            squares = round(told["squares"] * 10 ** (2 * _DIGITS))
            for name, key in (("error", "sum"), ("absolute", "absolute")):
                total = round(told[key] * 10**_DIGITS)
                yield Fact(Series("error", labels, name=name), ts, Moments(int(told["n"]), total, squares, _DIGITS))


def _made(taken: str) -> int:
    head = taken.partition(":")[0]
    return int(head) if head.isdigit() else 0
