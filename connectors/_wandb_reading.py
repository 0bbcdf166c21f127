"""One pull of a project of W&B: what its models did, then the runs that were heard of and what is new in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from connectors._said import Said
from connectors._wandb_aliases import Aliases, promotion
from connectors._wandb_objects import Artifact, Row, Run
from connectors._wandb_server import Listed, Server, since_filter
from connectors._wandb_telling import BLOCK, Telling, blocks, matches, only_wanted
from tandem.connect import Pull
from tandem.records import DAY, Page, Record

if TYPE_CHECKING:
    from connectors.wandb import Config

HORIZON = 30 * DAY
"""Seconds since a run was made in which the daily sweep reads it again."""
_RECORDS = 20_000
"""A page is sent on when it holds this many."""
_REMEMBERED = 5_000
"""Runs of which it is remembered how far they were read; with the bins this stays below 1 MiB."""


@dataclass
class Reading:
    """One pull of a project."""

    config: Config
    pull: Pull
    server: Server
    registry: Server
    said: Said
    telling: Telling = field(init=False)
    runs: dict[str, list[Any]] = field(init=False)
    aliases: Aliases = field(init=False)

    def __post_init__(self) -> None:
        state = self.pull.state if isinstance(self.pull.state, dict) and self.pull.state.get("form") == 1 else {}
        self.runs = dict(state.get("runs", {}))
        self.aliases = Aliases.of(state.get("aliases", {}))
        bins = {name: tuple(float(edge) for edge in edges) for name, edges in state.get("bins", {}).items()}
        self.telling = Telling(self.config, self.pull, self.said, bins=bins)

    def pages(self) -> Iterator[Page]:
        """What the models did, then the runs that were heard of."""
        self.pull.progress("models", None)
        records = self._models()
        yield Page(records, self._state())
        done = 0
        for batch in self.server.runs(self._filter()):
            done += len(batch)
            self.pull.progress(f"{done} runs", None)
            events = [event for run in batch for event in [self.telling.training(run)] if event]
            data = [event for run in batch for event in self.telling.data_versions(run)]
            yield Page([*events, *data, *(one for run in batch for one in self._summary(run))])
            for run in batch:
                yield from self._history(run)
            yield Page((), self._state())
        self.telling.remark()
        yield Page((), self._state(), findings=self.telling.said.findings(self.config.project))

    def _filter(self) -> dict[str, Any]:
        horizon = self.config.common.horizon or HORIZON
        made = self.pull.until - horizon if self.pull.sweep and not self.pull.first else None
        still_open = sorted(event.key for event in self.pull.open if event.kind == "training")
        return since_filter(self.pull.since, made, still_open)

    def _state(self) -> dict[str, Any]:
        newest = dict(list(self.runs.items())[-_REMEMBERED:])
        return {"form": 1, "runs": newest, "aliases": self.aliases.plain(), "bins": self.telling.remembered_bins()}

    def _models(self) -> list[Record]:
        whole = self.pull.sweep or self.pull.first or self.pull.state is None
        listed = Listed()
        for kind in self.config.types:
            found = self.registry.collections(kind, self._wants_model, self.aliases.totals, whole=whole)
            listed.versions += found.versions
            listed.totals |= found.totals
            listed.whole |= found.whole
        self.telling.made = {one.id: one for one in listed.versions}
        new = [one for one in listed.versions if whole or (one.created or 0) >= self.pull.since]
        releases = [event for one in sorted(new, key=_age) for event in [self.telling.release(one)] if event]
        moves = self.aliases.look(listed, self._wants_alias, self.pull.now)
        return [*releases, *(promotion(move, self.telling.where(), self.telling.model_link) for move in moves)]

    def _wants_model(self, name: str) -> bool:
        return matches(name, self.config.models)

    def _wants_alias(self, name: str) -> bool:
        return matches(name, self.config.aliases) and not matches(name, self.config.ignore_aliases)

    def _summary(self, run: Run) -> Iterator[Record]:
        if run.keys is not None or not run.lines:
            yield from self.telling.summary(run, run.keys or ())

    def _history(self, run: Run) -> Iterator[Page]:
        """What is new in the history of a run, from the beginning of the block of steps in which it ended before."""
        known, mark = self.runs.pop(run.id, None), self._mark(run)
        begin = 0
        if known and known[2] == mark and known[1] <= run.lines:
            if known[1] == run.lines:
                self.runs[run.id] = known
                return
            begin = known[0] // BLOCK * BLOCK
        elif known and known[1] > run.lines:
            self.telling.said.remark("a history is shorter than it was; it is read anew, what was removed stays")
        if not run.lines or (run.keys is not None and not any(map(self.telling.wants, run.keys))):
            return
        taken = _Taken(begin)
        yield from self._rows(run, begin, taken)
        self.runs[run.id] = [taken.next, run.lines if taken.whole else -1, mark]
        if taken.whole and not begin and taken.rows < run.lines:
            self.telling.said.remark("a history came with fewer rows than W&B counts; it is read again at the sweep")
            self.runs[run.id] = [0, -1, mark]

    def _rows(self, run: Run, begin: int, taken: _Taken) -> Iterator[Page]:
        held: list[Record] = []
        with_histograms: list[Row] = []
        for rows in self.server.history(run, begin):
            some = taken.before(rows, self.pull.until)
            held += self.telling.samples(run, some)
            with_histograms += [
                one for row in some for one in [only_wanted(row, self.telling)] if one.histograms or one.broken
            ]
            ready = [row for row in with_histograms if row.step // BLOCK < taken.next // BLOCK]
            with_histograms = with_histograms[len(ready) :]
            yield from self._told(run, ready)
            if len(held) >= _RECORDS:
                yield Page(held)
                held = []
            if not taken.whole:
                break
        yield Page(held)
        yield from self._told(run, with_histograms)

    def _told(self, run: Run, rows: Sequence[Row]) -> Iterator[Page]:
        for block, some in blocks(rows):
            page = self.telling.histograms(run, block, some)
            if page is not None:
                yield page

    def _mark(self, run: Run) -> str:
        """A short text that changes when what the samples of a run are called does."""
        model = self.telling.labels(run)
        return hashlib.sha256(json.dumps(model, sort_keys=True).encode()).hexdigest()[:12]


@dataclass
class _Taken:
    """How far a history was taken: the step after the last row, and whether nothing was left for later."""

    next: int
    rows: int = 0
    whole: bool = True

    def before(self, rows: Sequence[Row], until: int) -> list[Row]:
        """The rows before the first one that is not yet."""
        kept: list[Row] = []
        for row in rows:
            if row.at is not None and row.at >= until:
                self.whole = False
                break
            kept.append(row)
            self.next = max(self.next, row.step + 1)
        self.rows += len(kept)
        return kept


def _age(one: Artifact) -> tuple[int, str, str]:
    return (one.created or 0, one.collection, one.version)
