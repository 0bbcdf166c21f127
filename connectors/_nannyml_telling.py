"""What the chunks of NannyML become: counts, samples and events; of two runs of one chunk the newer counts."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from connectors._judged import Drifting, Judgement, digest, onset, who_of
from connectors._nannyml import WHOLE, Chunk, Family, Metric, Result, cells_of
from connectors._said import Said
from tandem.connect import Pull
from tandem.records import Confusion, Event, Fact, Page, Ratio, Record, Sample, Series, Slice, bucket_of
from tandem.told import Direction

ALL = "(all features)"
"""What a method judges that looks at all features together."""
KINDS: dict[Family, str] = {"data": "data drift", "performance": "performance", "estimate": "estimated performance"}
METHOD: dict[Family, str] = {"performance": "realised", "estimate": "estimate"}
_COUNTED = ("true_", "false_")
COUNTS = ("outcome", "labels", "accuracy")
FEW = "a confusion matrix that is not whole counts of the chunk's labelled rows is left out"
OLDER = "an older run of a chunk that a newer one was counted for; its counts are left out"


@dataclass(frozen=True)
class Run:
    """The result of one file; `made` is when it was written."""

    made: int
    series: Series
    result: Result


@dataclass
class _Line:
    """All chunks of one family and series, each by its newest run."""

    family: Family
    series: Series
    who: str
    chunks: dict[int, tuple[int, Chunk]] = field(default_factory=dict)

    def add(self, run: Run) -> None:
        """Take a newer run in: where it looked, its chunks stand in place of those before."""
        new = run.result.chunks
        if not new:
            return
        since, until = new[0].start, max(one.end for one in new)
        kept = {start: one for start, one in self.chunks.items() if not since <= start <= until}
        self.chunks = dict(sorted({**kept, **{one.start: (run.made, one) for one in new}}.items()))


@dataclass
class Teller:
    """Turns the results of several files into pages, under one config."""

    config: Any
    pull: Pull
    said: Said
    _drifting: Drifting = field(init=False)

    def __post_init__(self) -> None:
        self._drifting = Drifting(self.pull)

    def pages(self, runs: Sequence[Run]) -> Iterator[Page]:
        """What all runs say together, line by line."""
        lines: dict[tuple[str, str], _Line] = {}
        for run in sorted(runs, key=lambda one: one.made):
            who = who_of(run.series, self.config.common)
            line = lines.setdefault((run.result.family, who), _Line(run.result.family, run.series, who))
            line.add(run)
            for reason in run.result.rejected:
                self.said.reject(reason)
        for (family, who), line in sorted(lines.items()):
            # Realised values stand in results of both families; those of the calculator of performance count.
            counts = family == "performance" or (family == "estimate" and not self._calculated(lines, who))
            yield from self._of(line, counts)
        yield from self._drifting.pages()

    def _calculated(self, lines: Mapping[tuple[str, str], _Line], who: str) -> bool:
        """Whether performance was calculated, by these results or by ones before."""
        return ("performance", who) in lines or self.pull.taken(f"chunks:performance:{who}") is not None

    def _of(self, line: _Line, counts: bool) -> Iterator[Page]:
        told = [(made, one) for made, one in line.chunks.values() if one.start < self.pull.until]
        for made, chunk in told:
            yield Page(list(self._samples(line, chunk, counts)))
            if counts:
                yield from self._counted(line, made, chunk)
            judged = [*self._judged(line, chunk)]
            began = self._drifting.begun(f"{line.family}:{line.who}", chunk.start, judged)
            yield from self._begun(line, chunk.start, chunk.end, began)
        if told:
            yield from self._gone(line, [chunk for _, chunk in told], counts)

    # -- samples

    def _samples(self, line: _Line, chunk: Chunk, counts: bool) -> Iterator[Sample]:
        if line.family == "data":
            for judged in self._judged(line, chunk):
                yield from judged.samples(line.series, chunk.start)
            return
        estimated = replace(line.series, stage="estimated")
        for metric in chunk.metrics:
            if line.family == "estimate":
                yield _sample(estimated, metric, "value", chunk.start)
                if counts and metric.number("realized") is not None:
                    yield _sample(line.series, metric, "realized", chunk.start)
            else:
                yield _sample(line.series, metric, "value", chunk.start)

    # -- counts

    def _counted(self, line: _Line, made: int, chunk: Chunk) -> Iterator[Page]:
        """What a chunk counts, and an end of what an older run of it counted and this one does not."""
        told = set()
        for kind, records, content in self._counts(line, chunk):
            told.add(kind)
            yield from self._slice(f"{kind}:{line.who}:{chunk.start}", made, records, content)
        for kind in COUNTS:
            name = f"{kind}:{line.who}:{chunk.start}"
            if kind not in told and self.pull.taken(name) is not None:
                yield from self._slice(name, made, [], "gone")

    def _counts(self, line: _Line, chunk: Chunk) -> Iterator[tuple[str, list[Record], Any]]:
        """(kind, facts, content) of what a chunk counts."""
        at = bucket_of(chunk.start)
        if chunk.missing is not None and chunk.n:
            labelled = chunk.n - chunk.missing
            fact = Fact(replace(line.series, signal="label_coverage"), at, Ratio(labelled, chunk.n))
            yield "labels", [fact], [labelled, chunk.n]
        which = "realized" if line.family == "estimate" else "value"
        cells = cells_of(chunk.metrics, self.config.positive, self.config.negative, which)
        if cells is not None and not _fits(cells, chunk):
            self.said.remark(FEW)
            cells = None
        if cells is not None:
            counted: Record = Fact(replace(line.series, signal="outcome"), at, Confusion(cells))
            yield "outcome", [counted], sorted(cells.items())
        elif self.config.accuracy_signal:
            yield from self._derived(line, chunk, which, at)

    def _derived(self, line: _Line, chunk: Chunk, which: str, at: int) -> Iterator[tuple[str, list[Record], Any]]:
        """Right ones out of all of them, from the accuracy and the rows, where no matrix tells them."""
        share = next((metric.number(which) for metric in chunk.metrics if metric.name == "accuracy"), None)
        if share is None or not chunk.n or (line.family == "performance" and chunk.missing is None):
            return
        total = chunk.n - (chunk.missing or 0)
        good = round(share * total)
        if not total or abs(share - good / total) > 1e-9:
            self.said.remark("an accuracy that is no share of the chunk's labelled rows is left out")
            return
        fact = Fact(replace(line.series, signal=self.config.accuracy_signal), at, Ratio(good, total))
        yield "accuracy", [fact], [good, total]

    def _slice(self, name: str, made: int, records: Sequence[Record], content: Any) -> Iterator[Page]:
        known = self.pull.taken(name)
        if known is not None and int(known.partition(":")[0]) > made:
            self.said.remark(OLDER)
            return
        yield Page(records, slice=Slice(name, f"{made}:{digest(content)}"))

    def _gone(self, line: _Line, told: Sequence[Chunk], counts: bool) -> Iterator[Page]:
        """Take back the chunks of an older run where a newer one cut the same time into others."""
        name = f"chunks:{line.family}:{line.who}"
        known: list[int] = json.loads(self.pull.taken(name) or "[]")
        starts = {one.start for one in told}
        since, until = min(starts), max(one.end for one in told)
        gone = [start for start in known if since <= start <= until and start not in starts]
        made = max(made for made, _ in line.chunks.values())
        told_of = {one.series for chunk in told for one in self._samples(line, chunk, counts)}
        for start in gone:
            yield Page([Sample(series, start, None) for series in sorted(told_of, key=repr)])
            yield from self._begun(line, start, start, [])
            for kind in COUNTS if counts else ():
                one = f"{kind}:{line.who}:{start}"
                if self.pull.taken(one) is not None:
                    yield from self._slice(one, made, [], "gone")
        left = json.dumps(sorted({*starts, *(start for start in known if start not in gone)}))
        if left != self.pull.taken(name):
            yield Page(slice=Slice(name, left))

    # -- verdicts

    def _judged(self, line: _Line, chunk: Chunk) -> Iterator[Judgement]:
        for metric in chunk.metrics:
            if line.family == "data":
                # Its verdict by chi2 is by a p-value that it does not write.
                direction: Direction = "told" if metric.name == "chi2" else "outside"
                yield _judgement(ALL if metric.name in WHOLE else metric.feature, metric.name, direction, metric)
            elif not metric.name.startswith(_COUNTED):
                yield _judgement(metric.name, METHOD[line.family], "outside", metric)

    def _begun(self, line: _Line, start: int, end: int, began: Sequence[Judgement]) -> Iterator[Page]:
        key, kind = f"{line.family}:{start}:{line.who}", KINDS[line.family]
        page = onset(key, start, began, line.series, self.pull, kind, {"segment": line.series.segment})
        if page is None:
            return
        # It began somewhere in the chunk.
        latest = max(start, min(end, self.pull.until - 1))
        records = [replace(one, ts_latest=latest) if isinstance(one, Event) else one for one in page.records]
        yield replace(page, records=records)


def _judgement(feature: str, method: str, direction: Direction, metric: Metric) -> Judgement:
    return Judgement(feature, method, direction, metric.number("value"), metric.number("upper_threshold"),
                     metric.number("lower_threshold"), metric.alert)  # fmt: skip


def _fits(cells: dict[tuple[str, str], int], chunk: Chunk) -> bool:
    """Whether the counts are those of the labelled rows."""
    total = sum(cells.values())
    if chunk.n is None:
        return True
    return total == chunk.n - chunk.missing if chunk.missing is not None else total <= chunk.n


def _sample(series: Series, metric: Metric, which: str, ts: int) -> Sample:
    """A value; where there is none, what an older run said of the chunk is taken back."""
    return Sample(replace(series, name=metric.name), ts, metric.number(which))
