"""What reports of Evidently of one time become: samples, counts, and events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import Any

from connectors._evidently import Contents, Head
from connectors._judged import Drifting, digest, onset, who_of
from connectors._junit import FAILING_NAMES
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import (
    Confusion,
    Event,
    Fact,
    Outcome,
    Page,
    Ratio,
    Record,
    Sample,
    Series,
    Slice,
    bucket_of,
    labels_of,
)

METADATA = 20
"""Fields of a report's metadata that are labels."""
_TEXT = 100

Rank = tuple[int, str]


@dataclass(frozen=True)
class Told:
    """One report that was read; `rank` grows with the making of reports."""

    rank: Rank
    ts: int
    head: Head
    labels: Mapping[str, str]
    contents: Contents

    @property
    def identity(self) -> str:
        """What the report is counted under: its time, unless that is only its file's."""
        return self.head.identity or str(self.ts)


@dataclass
class _Newest:
    """What the reports of one time and one component say together, each metric by the newest of them."""

    who: str
    series: Series
    counted: Told
    rows: Told
    judged: Told
    contents: Contents = field(default_factory=Contents)
    suites: dict[str, Told] = field(default_factory=dict)

    @property
    def ts(self) -> int:
        return self.counted.ts

    def add(self, told: Told) -> None:
        if told.contents.confusion:
            self.counted = told
        if told.contents.rows is not None:
            self.rows = told
        if told.contents.judgements:
            self.judged = told
        if told.contents.tests:
            self.suites[f"{told.identity}:{self.who}:{digest(sorted(told.contents.tests))}"] = told
        self.contents.newer(told.contents)


@dataclass
class Teller:
    """Turns reports into pages, oldest time first, under one config."""

    config: Any
    pull: Pull
    said: Said
    _drifting: Drifting = field(init=False)

    def __post_init__(self) -> None:
        self._drifting = Drifting(self.pull)

    def pages(self, reports: Iterable[Told]) -> Iterator[Page]:
        """What the reports of one time say, in the order in which they were made."""
        groups: dict[str, _Newest] = {}
        for told in reports:
            series = self._series(told)
            who = who_of(series, self.config.common)
            groups.setdefault(who, _Newest(who, series, told, told, told)).add(told)
        for one in groups.values():
            yield Page([*self._samples(one), *self._validations(one)])
            yield from self._counts(one)
            began = self._drifting.begun(one.who, one.ts, one.contents.judgements.values())
            begun = onset(
                f"{one.judged.identity}:{one.who}", one.ts, began, one.series, self.pull, url=one.judged.head.url
            )
            if begun is not None:
                yield begun

    def ending(self) -> Iterator[Page]:
        """What the next pull is to know of drift."""
        yield from self._drifting.pages()

    def _series(self, told: Told) -> Series:
        metadata = {f"metadata.{name}": value[:_TEXT] for name, value in sorted(told.head.metadata.items())[:METADATA]}
        given = {**told.labels, "tag": ",".join(told.head.tags), "report": told.head.name, **metadata}
        return Series("sample", labels_of(given), version=told.head.metadata.get(self.config.version, ""))

    # -- numbers

    def _reads(self, name: str) -> bool:
        chosen = any(fnmatchcase(name, glob) for glob in self.config.metrics)
        return chosen and not any(fnmatchcase(name, glob) for glob in self.config.ignore)

    def _samples(self, one: _Newest) -> Iterator[Sample]:
        for name, value in one.contents.numbers.items():
            if self._reads(name):
                yield Sample(replace(one.series, name=name), one.ts, value)
        for judged in one.contents.judgements.values():
            if self._reads(f"drift[{judged.feature}]"):
                yield from judged.samples(one.series, one.ts)

    # -- counts

    def _counts(self, one: _Newest) -> Iterator[Page]:
        at, found = bucket_of(one.ts), one.contents
        if found.confusion:
            fact = Fact(replace(one.series, signal="outcome"), at, Confusion(found.confusion))
            yield from self._slice(
                f"outcome:{one.counted.identity}:{one.who}", one.counted.rank, [fact], sorted(found.confusion.items())
            )
        if found.rows is None or not (found.faults or found.valid is not None):
            return
        series = replace(one.series, signal="valid_rows")
        facts = [Fact(replace(series, name=f"{column}:{reason}"), at, Ratio(0, n))
                 for (column, reason), n in sorted(found.faults.items()) if n]  # fmt: skip
        if found.valid is not None and 0 <= found.valid <= found.rows:
            facts.append(Fact(series, at, Ratio(found.valid, found.rows)))
        content = [found.rows, found.valid, sorted(found.faults.items())]
        yield from self._slice(f"rows:{one.rows.identity}:{one.who}", one.rows.rank, facts, content)

    def _slice(self, name: str, rank: Rank, records: Sequence[Record], content: Any) -> Iterator[Page]:
        """The counts of one report, in place of those of an older one of the same time, never of a newer one."""
        known = self.pull.taken(name)
        if known is not None and int(known.partition(":")[0]) > rank[0]:
            self.said.remark("an older report of a time that a newer one was counted for; its counts are left out")
            return
        yield Page(records, slice=Slice(name, f"{rank[0]}:{digest(content)}"))

    # -- tests

    def _validations(self, one: _Newest) -> Iterator[Event]:
        for key, of in sorted(one.suites.items()):
            tests = list(of.contents.tests.values())
            told = [(test, self.said.outcome(test.status)) for test in tests]
            failed = [test.name for test, outcome in told if outcome == "bad"]
            ran = sum(outcome in ("good", "bad") for _, outcome in told)
            labels = labels_of({
                **dict(one.series.labels), "checks": ran, "failed": len(failed),
                "warned": sum(test.status == "WARNING" for test in tests), "skipped": len(tests) - ran,
                "failed_checks": ", ".join(failed[:FAILING_NAMES]),
            })  # fmt: skip
            outcome: Outcome = "excluded" if not ran else "bad" if failed else "good"
            title = f"{len(failed)} of {ran} tests failed" if failed else f"{ran} tests passed"
            yield Event("validation", key, one.ts, outcome=outcome, version=one.series.version, title=title,
                        labels=labels, revision=of.rank[0], url=of.head.url)  # fmt: skip
