"""What files of statistics and anomalies come to: distributions, valid rows, distances, and validations of data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import PurePath
from typing import TYPE_CHECKING

from connectors import _tfdv, _tfdv_messages, _tfx_files
from connectors._files import item as item_of
from connectors._judged import Drifting, onset, who_of
from connectors._junit import FAILING_NAMES
from connectors._profiled import Profiling, Table
from connectors._said import Said
from connectors._sketched import REFERENCE
from connectors._tfx_files import Told
from tandem.connect import Given, Pull, SourceRefused
from tandem.records import Event, Labels, Page, Record, Series, Slice, labels_of

if TYPE_CHECKING:
    from connectors.tfx import Config

_TEXT = 200


@dataclass
class Counting:
    """The files of one pull, oldest first."""

    config: Config
    pull: Pull
    said: Said
    alone: bool = False
    profiling: Profiling = field(init=False)
    drifting: Drifting = field(init=False)
    _allowed: _tfdv.Domains | None = None

    def __post_init__(self) -> None:
        self.profiling = Profiling(self.pull, self.said, self.config.common, self.config.features)
        self.drifting = Drifting(self.pull)

    def pages(self, found: Iterable[Told]) -> Iterator[Page]:
        """All that the files say; bins are made of the statistics of the first days."""
        self._allowed = self._domains()
        newest: dict[tuple[str, str], Told] = {}
        for one in sorted(found, key=lambda one: (one.made, one.name)):
            newest[one.kind, one.name] = one
        waiting: list[tuple[Told, list[Table]]] | None = []
        first: int | None = None
        for one in sorted(newest.values(), key=lambda one: (one.ts, one.name)):
            self.pull.progress(one.item.name, None)
            if one.kind == "anomalies":
                yield from self._anomalies(one)
                continue
            tables = self._tables(one)
            first = one.ts if first is None else first
            if waiting is None:
                yield from self._counted(one, tables)
                continue
            waiting.append((one, tables))
            if one.ts >= first + REFERENCE:
                yield from self._learnt(waiting)
                waiting = None
        if waiting:
            yield from self._learnt(waiting)
        yield from self.drifting.pages()
        self.profiling.bins.remark()

    def _domains(self) -> _tfdv.Domains | None:
        if self.config.schema is None:
            return None
        one = item_of(self.config.schema, Given())
        kind = _tfdv_messages.kind_of(one.head, one.name)
        if kind != "schema":
            raise SourceRefused(f"{self.config.schema} is no schema.pbtxt of TFDV; correct schema.")
        return _tfdv.domains(_tfdv_messages.read(one, "schema"))

    def _refuse(self, why: str) -> None:
        if self.alone:
            raise SourceRefused(why)
        self.said.reject(why)

    def _labels(self, one: Told, split: str) -> Labels:
        return labels_of({"pipeline": one.pipeline, "node": one.node, "span": one.span, "split": split,
                          "file": PurePath(one.item.name).name})  # fmt: skip

    # -- statistics

    def _tables(self, one: Told) -> list[Table]:
        """The datasets of a file that are no slice of another one."""
        try:
            message = _tfdv_messages.read(one.item, "statistics")
            found = list(_tfdv.datasets(message, self._allowed))
        except SourceRefused as no:
            self._refuse(str(no))
            return []
        whole = [each for each in found if each.name in _tfdv.WHOLE]
        if whole and len(whole) < len(found):
            self.said.remark("slices of statistics are left out; what is not sliced counts", len(found) - len(whole))
        tables = []
        for each in whole or found:
            for why in each.wrong:
                self.said.reject(why)
            split = one.split or ("" if each.name in _tfdv.WHOLE else each.name)
            stage = _tfx_files.stage(self.config, one, split)
            if each.rows:
                tables.append(Table(one.ts, self._labels(one, split), each.columns, stage))
            else:
                self.said.remark("statistics of no example count nothing")
        return tables

    def _learnt(self, some: list[tuple[Told, list[Table]]]) -> Iterator[Page]:
        references = self.profiling.references(table for _, tables in some for table in tables)
        if references:
            yield Page(references)
        for one, tables in some:
            yield from self._counted(one, tables)

    def _counted(self, one: Told, tables: list[Table]) -> Iterator[Page]:
        """The facts of one file under its own name: what is made again takes the place of what was before."""
        facts: list[Record] = [fact for table in tables for fact in self.profiling.facts(table)]
        name = f"statistics:{one.name}"
        taken = self.pull.taken(name)
        digest = f"{one.made}:{hashlib.sha256(repr(facts).encode('utf-8', 'replace')).hexdigest()[:24]}"
        if taken is not None and _made(taken) > one.made:
            self.said.remark("older statistics of a span and split that are counted already are left out")
        elif tables and taken != digest:
            yield Page(facts, slice=Slice(name, digest))

    # -- anomalies

    def _anomalies(self, one: Told) -> Iterator[Page]:
        try:
            found = _tfdv.anomalies(_tfdv_messages.read(one.item, "anomalies"))
        except SourceRefused as no:
            self._refuse(str(no))
            return
        stage = _tfx_files.stage(self.config, one, one.split)
        series = Series("sample", self._labels(one, one.split), stage=stage)
        judged = [each for each in found.judgements if self._wants(each.feature)]
        records: list[Record] = [sample for each in judged for sample in each.samples(series, one.ts)]
        yield Page([self._validation(one, found), *records])
        if stage == "production":
            began = self.drifting.begun(who_of(series, self.config.common), one.ts, judged)
            begun = onset(f"tfdv:{one.name}", one.ts, began, series, self.pull)
            if begun is not None:
                yield begun

    def _wants(self, feature: str) -> bool:
        return not self.config.features or any(fnmatchcase(feature, glob) for glob in self.config.features)

    def _validation(self, one: Told, found: _tfdv.Anomalies) -> Event:
        word = found.word
        faults = [f"{each.feature}: {', '.join(each.reasons)}" if each.feature else ", ".join(each.reasons)
                  for each in found.faults]  # fmt: skip
        names = sorted({each.feature for each in found.faults if each.feature})
        what = " ".join(part for part in (f"span {one.span}" if one.span else "", one.split) if part) or "data"
        return Event(
            "validation", f"anomalies:{one.name}", one.ts, outcome=self.said.outcome(word), run=one.run,
            data_version=one.data_version, title=f"{what}: {'; '.join(faults) or word}"[:_TEXT],
            labels=labels_of({
                **dict(self._labels(one, one.split)), "said": word, "anomalies": len(faults) or "",
                "features": ", ".join(name[:_TEXT] for name in names[:FAILING_NAMES]),
            }), revision=one.made or one.item.modified,
        )  # fmt: skip


def _made(taken: str) -> int:
    head = taken.partition(":")[0]
    return int(head) if head.isdigit() else 0
